package main

import (
	"strings"
	"testing"
)

func TestReportCountsAndShowsFailuresOnly(t *testing.T) {
	t.Parallel()
	const pass = `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"quiet\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Elapsed":0.5}
`
	for name, test := range map[string]struct {
		in      string
		ok      bool
		shows   []string
		conceal []string
	}{
		"pass":    {pass, true, []string{"ok    p  0.5s", "tests: 1 passed, 0 failed, 0 skipped"}, []string{"quiet"}},
		"nothing": {"", false, []string{"tests: 0 passed"}, nil},
		"skip":    {pass + `{"Action":"skip","Package":"p","Test":"TestS"}`, true, []string{"skip  p TestS", "1 skipped"}, nil},
		"failure": {
			pass + `{"Action":"output","Package":"q","Test":"TestB","Output":"loud\n"}
{"Action":"fail","Package":"q","Test":"TestB"}
{"Action":"fail","Package":"q","Elapsed":1}
`, false, []string{"loud", "FAIL  q", "1 passed, 1 failed"}, []string{"quiet"},
		},
		"panic": {
			pass + `{"Action":"output","Package":"q","Test":"TestC","Output":"goroutine 1\n"}
{"Action":"output","Package":"q","Output":"exit status 2\n"}
{"Action":"fail","Package":"q","Elapsed":1}
`, false, []string{"goroutine 1", "exit status 2"}, nil,
		},
		"build": {
			pass + `{"ImportPath":"q [q.test]","Action":"build-output","Output":"q.go:1: undefined\n"}
{"ImportPath":"q [q.test]","Action":"build-fail"}
{"Action":"fail","Package":"q","FailedBuild":"q [q.test]"}
`, false, []string{"q.go:1: undefined", "FAIL  q"}, nil,
		},
		"both engines": {pass + `{"Action":"pass","Package":"p","Test":"TestE/sqlite"}
{"Action":"pass","Package":"p","Test":"TestE/postgres"}`, true, []string{"on both engines of the store: 1 tests"}, nil},
		"one engine skipped": {pass + `{"Action":"pass","Package":"p","Test":"TestE/sqlite"}
{"Action":"skip","Package":"p","Test":"TestE/postgres"}`, false, []string{"fail  p TestE: passed on sqlite only"}, nil},
		"one engine left out": {pass + `{"Action":"pass","Package":"p","Test":"TestE/postgres"}`, false, []string{"passed on postgres only"}, nil},
		"not JSON":            {"go: no such tool\n", false, []string{"go: no such tool"}, nil},
	} {
		var out strings.Builder
		r := newReport(&out)
		if err := r.read(strings.NewReader(test.in)); err != nil {
			t.Fatal(err)
		}
		if ok := r.finish(); ok != test.ok {
			t.Errorf("%s: ok = %v\n%s", name, ok, out.String())
		}
		for _, part := range test.shows {
			if !strings.Contains(out.String(), part) {
				t.Errorf("%s lacks %q:\n%s", name, part, out.String())
			}
		}
		for _, part := range test.conceal {
			if strings.Contains(out.String(), part) {
				t.Errorf("%s shows %q:\n%s", name, part, out.String())
			}
		}
	}
}
