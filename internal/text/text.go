// Package text checks and folds what people type: names, titles, free text. The limits are counted in characters
// (Unicode code points), as people count.
package text

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"carnet/internal/problem"
)

// Line checks a text of one line, such as a name: valid UTF-8, no control or direction-changing characters, between
// one and limit characters of which one can be seen. Invisible ones between others stay: emoji and Persian need some. It
// returns the text in NFC without blanks around it, and a field that says what is wrong, nil when nothing is.
func Line(location, value string, limit int) (string, *problem.Field) {
	value = strings.TrimSpace(norm.NFC.String(value))
	switch {
	case !utf8.ValidString(value):
		return "", &problem.Field{Location: location, Message: "must be valid UTF-8"}
	case value == "":
		return "", &problem.Field{Location: location, Message: "must not be empty"}
	case utf8.RuneCountInString(value) > limit:
		return "", tooLong(location, limit)
	case strings.ContainsFunc(value, func(r rune) bool { return forbidden(r) || strings.ContainsRune("\n\t\r\u2028\u2029", r) }):
		return "", &problem.Field{Location: location, Message: "must not contain control characters"}
	case !strings.ContainsFunc(value, visible):
		return "", &problem.Field{Location: location, Message: "must have a character that can be seen"}
	}
	return value, nil
}

// Block checks a text of many lines, such as a description: as [Line], but line breaks and tabs are welcome and it may
// be empty. Line breaks are returned as \n.
func Block(location, value string, limit int) (string, *problem.Field) {
	value = norm.NFC.String(strings.ReplaceAll(strings.ReplaceAll(value, "\r\n", "\n"), "\r", "\n"))
	switch {
	case !utf8.ValidString(value):
		return "", &problem.Field{Location: location, Message: "must be valid UTF-8"}
	case utf8.RuneCountInString(value) > limit:
		return "", tooLong(location, limit)
	case strings.ContainsFunc(value, func(r rune) bool { return forbidden(r) && r != '\n' && r != '\t' }):
		return "", &problem.Field{Location: location, Message: "must not contain control characters"}
	}
	return value, nil
}

// Fold returns the form in which texts are compared, searched and sorted without regard to case.
func Fold(value string) string { return norm.NFC.String(cases.Fold().String(norm.NFC.String(value))) }

// Likeness returns the form in which names from outside are compared: those that look much the same have the same, whatever
// their case, their blanks, their width and what shows nothing in them.
func Likeness(value string) string {
	value = norm.NFKC.String(value)
	return Fold(Label(value, len(value)))
}

// Label shortens a text from outside for display and logs, such as a User-Agent: at most limit characters, all of which
// show. Blanks of any kind and number become one space.
func Label(value string, limit int) string {
	var b strings.Builder
	n, blank := 0, false
	for _, r := range value {
		if r == utf8.RuneError || forbidden(r) || unicode.Is(invisible, r) {
			continue
		}
		if unicode.IsSpace(r) {
			blank = n > 0
			continue
		}
		if !unicode.IsPrint(r) {
			continue
		}
		if blank && n < limit {
			b.WriteByte(' ')
			n++
		}
		if blank = false; n >= limit {
			break
		}
		b.WriteRune(r)
		n++
	}
	return strings.TrimSpace(b.String())
}

// invisible are the characters that show nothing: those that Unicode has ignored (Default_Ignorable_Code_Point, and what
// annotates between lines), and letters and patterns that are drawn blank. Names that differ by them look the same.
var invisible = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x00ad, Hi: 0x00ad, Stride: 1}, {Lo: 0x034f, Hi: 0x034f, Stride: 1}, {Lo: 0x061c, Hi: 0x061c, Stride: 1},
		{Lo: 0x115f, Hi: 0x1160, Stride: 1}, {Lo: 0x17b4, Hi: 0x17b5, Stride: 1}, {Lo: 0x180b, Hi: 0x180f, Stride: 1},
		{Lo: 0x200b, Hi: 0x200f, Stride: 1}, {Lo: 0x202a, Hi: 0x202e, Stride: 1}, {Lo: 0x2060, Hi: 0x206f, Stride: 1},
		{Lo: 0x2800, Hi: 0x2800, Stride: 1}, {Lo: 0x3164, Hi: 0x3164, Stride: 1}, {Lo: 0xfe00, Hi: 0xfe0f, Stride: 1},
		{Lo: 0xfeff, Hi: 0xfeff, Stride: 1}, {Lo: 0xffa0, Hi: 0xffa0, Stride: 1}, {Lo: 0xfff0, Hi: 0xfffb, Stride: 1},
	},
	R32: []unicode.Range32{
		{Lo: 0x1bca0, Hi: 0x1bca3, Stride: 1}, {Lo: 0x1d173, Hi: 0x1d17a, Stride: 1}, {Lo: 0xe0000, Hi: 0xe0fff, Stride: 1},
	},
	LatinOffset: 1,
}

// visible reports characters that people see.
func visible(r rune) bool { return !unicode.IsSpace(r) && !unicode.Is(invisible, r) }

// forbidden reports control characters, and the invisible ones that reorder what people read (Trojan Source,
// CVE-2021-42574).
func forbidden(r rune) bool {
	if unicode.IsControl(r) {
		return true
	}
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0xfeff || r == 0xfffe || r == 0xffff
}

func tooLong(location string, limit int) *problem.Field {
	return &problem.Field{Location: location, Message: fmt.Sprintf("must be at most %d characters", limit)}
}
