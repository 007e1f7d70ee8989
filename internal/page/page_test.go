package page_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"carnet/access"
	"carnet/internal/page"
	"carnet/internal/problem"
)

type place struct {
	Value string
	ID    string
}

func TestCursorComesBackWhole(t *testing.T) {
	t.Parallel()
	cursors := page.New([]byte("a key"))
	for _, want := range []place{{}, {"Straße & <b>", "tsk_1"}, {strings.Repeat("語", 200), "tsk_2"}} {
		var got place
		if err := cursors.Open("list", cursors.Seal("list", want), &got); err != nil || got != want {
			t.Errorf("got %+v and %v, want %+v", got, err, want)
		}
	}
}

func TestForeignAndTamperedCursorsAreInvalid(t *testing.T) {
	t.Parallel()
	cursors := page.New([]byte("a key"))
	good := cursors.Seal("list", place{"v", "tsk_1"})
	cases := map[string]string{
		"empty":          "",
		"not base64":     "!!!",
		"padded":         good + "=",
		"line break":     good[:8] + "\n" + good[8:],
		"trailing break": good + "\r\n",
		"oversize":       good + strings.Repeat("A", 9000),
		"other key":      page.New([]byte("another")).Seal("list", place{"v", "tsk_1"}),
		"other binding":  cursors.Seal("lis", place{"v", "tsk_1"}),
		"other type":     cursors.Seal("list", 7),
	}
	for name, cursor := range cases {
		if err := cursors.Open("list", cursor, &place{}); !problem.Is(err, problem.CursorInvalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for i := range len(good) {
		if err := cursors.Open("list", good[:i], &place{}); !problem.Is(err, problem.CursorInvalid) {
			t.Errorf("truncated to %d: got %v", i, err)
		}
		changed := []byte(good)
		changed[i] = map[bool]byte{true: 'B', false: 'A'}[changed[i] == 'A']
		if err := cursors.Open("list", string(changed), &place{}); !problem.Is(err, problem.CursorInvalid) {
			t.Errorf("changed at %d: got %v", i, err)
		}
	}
}

func TestBindingCannotBorrowFromThePosition(t *testing.T) {
	t.Parallel()
	cursors := page.New([]byte("a key"))
	raw, err := base64.RawURLEncoding.DecodeString(cursors.Seal("list1", 2))
	if err != nil {
		t.Fatal(err)
	}
	shifted := append(raw[:len(raw)-1], "12"...)
	var got int
	if err := cursors.Open("list", base64.RawURLEncoding.EncodeToString(shifted), &got); !problem.Is(err, problem.CursorInvalid) {
		t.Errorf("got %d, %v", got, err)
	}
}

func TestBindingIsUnambiguous(t *testing.T) {
	t.Parallel()
	a := access.Caller{UserID: "u", CredentialID: "c", Organization: "o"}
	seen := map[string]string{}
	for name, binding := range map[string]string{
		"plain":             page.Binding(a, "tasks"),
		"other user":        page.Binding(access.Caller{UserID: "u2", CredentialID: "c", Organization: "o"}, "tasks"),
		"other credential":  page.Binding(access.Caller{UserID: "u", CredentialID: "c2", Organization: "o"}, "tasks"),
		"other org":         page.Binding(access.Caller{UserID: "u", CredentialID: "c", Organization: "o2"}, "tasks"),
		"shifted":           page.Binding(access.Caller{UserID: "uc", CredentialID: "", Organization: "o"}, "tasks"),
		"other list":        page.Binding(a, "projects"),
		"one filter":        page.Binding(a, "tasks", "ab"),
		"two filters":       page.Binding(a, "tasks", "a", "b"),
		"digits":            page.Binding(a, "tasks", "1:a"),
		"empty filter":      page.Binding(a, "tasks", ""),
		"two empty filters": page.Binding(a, "tasks", "", ""),
		"values apart":      page.Binding(a, "tasks", page.Filter("x", "a"), page.Filter("y", "b")),
		"values together":   page.Binding(a, "tasks", page.Filter("x", "a", "b"), page.Filter("y")),
	} {
		if other, taken := seen[binding]; taken {
			t.Errorf("%s and %s have the same binding", name, other)
		}
		seen[binding] = name
	}
}

func FuzzOpen(f *testing.F) {
	cursors := page.New([]byte("a key"))
	good := cursors.Seal("list", place{"v", "tsk_1"})
	f.Add("list", good)
	f.Add("list", "")
	f.Add("", good)
	f.Add("list", good+"A")
	f.Add("list", strings.ToUpper(good))
	f.Fuzz(func(t *testing.T, binding, cursor string) {
		var got place
		err := cursors.Open(binding, cursor, &got)
		if err == nil && (binding != "list" || cursor != good || got != (place{"v", "tsk_1"})) {
			t.Fatalf("opened a cursor that was never sealed: %q for %q", cursor, binding)
		}
		if err != nil && !problem.Is(err, problem.CursorInvalid) {
			t.Fatalf("got %v", err)
		}
		if again := cursors.Seal(binding, got); len(again) > 0 {
			if err := cursors.Open(binding, again, &got); err != nil {
				t.Fatalf("what was sealed does not open: %v", err)
			}
		}
	})
}
