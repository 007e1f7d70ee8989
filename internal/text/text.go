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
// one and limit characters that are not all blank. It returns the text in NFC without blanks around it, and a field
// that says what is wrong, nil when nothing is.
func Line(location, value string, limit int) (string, *problem.Field) {
	value = strings.TrimSpace(norm.NFC.String(value))
	switch {
	case !utf8.ValidString(value):
		return "", &problem.Field{Location: location, Message: "must be valid UTF-8"}
	case value == "":
		return "", &problem.Field{Location: location, Message: "must not be empty"}
	case utf8.RuneCountInString(value) > limit:
		return "", tooLong(location, limit)
	case strings.ContainsFunc(value, func(r rune) bool { return forbidden(r) || r == '\n' || r == '\t' || r == '\r' }):
		return "", &problem.Field{Location: location, Message: "must not contain control characters"}
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

// Label shortens a text from outside for display and logs, such as a User-Agent: printable characters only, at most
// limit of them.
func Label(value string, limit int) string {
	var b strings.Builder
	n := 0
	for _, r := range value {
		if n == limit {
			break
		}
		if r == utf8.RuneError || forbidden(r) || !unicode.IsPrint(r) {
			continue
		}
		b.WriteRune(r)
		n++
	}
	return strings.TrimSpace(b.String())
}

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
