package text_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"carnet/internal/text"
)

func TestLine(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"Deploy":                  "Deploy",
		"  Deploy  ":              "Deploy",
		"e\u0301":                 "é", // NFC
		"日本語 🚀":                   "日本語 🚀",
		"👩\u200d👩\u200d👧":         "👩\u200d👩\u200d👧", // joined by zero-width joiners, which people type
		"<b>&\"'":                 "<b>&\"'",
		strings.Repeat("é", 10):   strings.Repeat("é", 10),
		strings.Repeat("🚀", 10):   strings.Repeat("🚀", 10),
		" \u00a0x\u00a0":          "x",
		"a\u00a0b":                "a\u00a0b",
		strings.Repeat(" ", 50):   "",
		"":                        "",
		"\t":                      "",
		strings.Repeat("x", 11):   "",
		"a\nb":                    "",
		"a\rb":                    "",
		"a\tb":                    "",
		"a\x00b":                  "",
		"a\x1b[31mb":              "",
		"a\u007fb":                "",
		"a\u0085b":                "",
		"a\u202eb":                "", // CVE-2021-42574
		"a\u2066b":                "",
		"a\u2069b":                "",
		"a\u2028b":                "", // a line of its own, to some
		"a\u2029b":                "",
		"\ufeffa":                 "",
		"a\uffffb":                "",
		"a\xffb":                  "",
		"\xc3":                    "",
		"\xed\xa0\x80":            "", // half of a surrogate pair
		strings.Repeat("\xff", 5): "",
		// Nothing to see.
		"\u200b": "", "\u200d\u200c": "", "\u00ad": "", "\u034f": "", "\u3164": "", "\u2800 \u2800": "", "\ufe0f": "", "\U000e0041": "", "\u115f\u1160\uffa0": "",
		// Something, with what emoji and Persian need.
		"❤\ufe0f": "❤\ufe0f", "می\u200cخواهم": "می\u200cخواهم", "a\u00ad": "a\u00ad", "\u0301": "\u0301",
	} {
		got, wrong := text.Line("body.name", value, 10)
		if got != want || (wrong == nil) != (want != "") {
			t.Errorf("%q became %q, %v", value, got, wrong)
		}
		if wrong != nil && (wrong.Location != "body.name" || wrong.Message == "") {
			t.Errorf("%q: %+v", value, wrong)
		}
		if wrong != nil && len(value) > 3 && strings.Contains(wrong.Message, value) {
			t.Errorf("the message repeats %q", value)
		}
	}
}

func TestBlock(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{"": "", "a\r\nb\rc\n": "a\nb\nc\n", "\ta": "\ta", " a ": " a "} {
		if got, wrong := text.Block("body.description", value, 10); got != want || wrong != nil {
			t.Errorf("%q became %q, %v", value, got, wrong)
		}
	}
	for _, value := range []string{"a\x00", "a\x1b", "a\u202e", "\xff", strings.Repeat("x", 11)} {
		if got, wrong := text.Block("body.description", value, 10); got != "" || wrong == nil || wrong.Location != "body.description" {
			t.Errorf("%q became %q, %v", value, got, wrong)
		}
	}
}

func FuzzLine(f *testing.F) {
	for _, seed := range []string{"a", "e\u0301", "a\u202eb", "\xff", " a ", "a\nb"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got, wrong := text.Line("l", value, 20)
		if wrong != nil {
			if got != "" {
				t.Fatalf("refused, and %q", got)
			}
			return
		}
		if got == "" || !utf8.ValidString(got) || utf8.RuneCountInString(got) > 20 || strings.ContainsFunc(got, unicode.IsControl) {
			t.Fatalf("%q became %q", value, got)
		}
		if again, wrong := text.Line("l", got, 20); wrong != nil || again != got {
			t.Fatalf("%q is not what it becomes: %q, %v", got, again, wrong)
		}
	})
}

func TestFoldComparesWithoutRegardToCase(t *testing.T) {
	t.Parallel()
	for _, same := range [][2]string{{"ADA@EXAMPLE.COM", "ada@example.com"}, {"Straße", "STRASSE"}, {"e\u0301", "É"}, {"ΣΊΣΥΦΟΣ", "σίσυφος"}} {
		if text.Fold(same[0]) != text.Fold(same[1]) {
			t.Errorf("%q and %q differ: %q, %q", same[0], same[1], text.Fold(same[0]), text.Fold(same[1]))
		}
	}
	for _, other := range [][2]string{{"a", "b"}, {"e", "é"}, {"l", "1"}, {"ı", "i"}} {
		if text.Fold(other[0]) == text.Fold(other[1]) {
			t.Errorf("%q and %q are the same", other[0], other[1])
		}
	}
}

func FuzzFold(f *testing.F) {
	for _, seed := range []string{"A", "ß", "É", "\u0345", "ŉ", "ﬀ"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if !utf8.ValidString(value) {
			return
		}
		if once := text.Fold(value); text.Fold(once) != once {
			t.Fatalf("%q folds to %q, and that to %q", value, once, text.Fold(once))
		}
	})
}

func TestLabelKeepsWhatCanBeShown(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"curl/8.5.0":              "curl/8.5.0",
		"a\r\nSet-Cookie: x":      "aSet-Cookie: x",
		"\x1b[31mred\x1b[0m":      "[31mred[0m",
		"a\u202eb\xff\x00c":       "abc",
		" a ":                     "a",
		strings.Repeat("é", 1000): strings.Repeat("é", 20),
		"":                        "",
		"a \t  \u00a0\u3000 b":    "a b",
		"\u2003a\u2028b\u3000":    "a b",
		"12345678901234567890 x":  "12345678901234567890",
		"1234567890123456789 xy":  "1234567890123456789",
		" \u200b \u3164 ":         "",
		"👩\u200d👧 ❤\ufe0f":        "👩👧 ❤",
	} {
		if got := text.Label(value, 20); got != want {
			t.Errorf("%q became %q", value, got)
		}
	}
}

// Names that look the same are the same: whatever shows nothing is left out, every kind of it.
func TestLabelLeavesOutWhatShowsNothing(t *testing.T) {
	t.Parallel()
	for _, span := range [][2]rune{
		{0x00ad, 0x00ad}, {0x034f, 0x034f}, {0x061c, 0x061c}, {0x115f, 0x1160}, {0x17b4, 0x17b5}, {0x180b, 0x180f}, {0x200b, 0x200f}, {0x202a, 0x202e}, {0x2060, 0x206f}, {0x2800, 0x2800},
		{0x3164, 0x3164}, {0xfe00, 0xfe0f}, {0xfeff, 0xfeff}, {0xffa0, 0xffa0}, {0xfff0, 0xfffb}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
	} {
		for r := span[0]; r <= span[1]; r++ {
			if got := text.Label("Claude"+string(r)+" Code", 20); got != "Claude Code" {
				t.Errorf("%U stays: %q", r, got)
			}
			if got, wrong := text.Line("l", string(r), 20); wrong == nil {
				t.Errorf("%U alone is a name: %q", r, got)
			}
		}
	}
	for _, blank := range "\u0020\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000" {
		if got := text.Label("Claude"+string(blank)+string(blank)+"Code", 20); got != "Claude Code" {
			t.Errorf("%U is no blank: %q", blank, got)
		}
	}
}

func TestLikenessIsTheSameOfNamesThatLookTheSame(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Claude Code (x)", "claude code (X)", " Claude\u00a0 Code\u3000(x) ", "Claude\u200b Code (x\u00ad)", "Ｃｌａｕｄｅ Code （x）"} {
		if got := text.Likeness(name); got != "claude code (x)" {
			t.Errorf("%q is like %q", name, got)
		}
	}
	for _, name := range []string{"Claude", "Claude Code", "ClaudeCode (x)", "Claude Code (y)", ""} {
		if text.Likeness(name) == "claude code (x)" {
			t.Errorf("%q is like another", name)
		}
	}
}
