package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestProgressIsOneLineOnATerminalAndALineForEachTableElsewhere(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bar  progressBar
		want string
	}{
		"a terminal": {progressBar{redrawn: true}, "\r\x1b[K[..............................]   0 %  0 of 200  users" +
			"\r\x1b[K[###############...............]  50 %  100 of 200  users\r\x1b[K[##############################] 100 %  200 of 200  tokens\r\x1b[K"},
		"a file":         {progressBar{}, "users (0 of 200)\ntokens (200 of 200)\n"},
		"nobody, --json": {progressBar{quiet: true}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			c.bar.out = &out
			c.bar.show("users", 0, 200)
			c.bar.show("users", 100, 200)
			c.bar.show("tokens", 200, 200)
			c.bar.end()
			if out.String() != c.want {
				t.Errorf("it shows %q, want %q", out.String(), c.want)
			}
		})
	}
	var empty bytes.Buffer
	(&progressBar{out: &empty, redrawn: true}).show("nothing", 0, 0)
	if !strings.Contains(empty.String(), "100 %") {
		t.Errorf("of nothing it shows %q", empty.String())
	}
}
