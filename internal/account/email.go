package account

import (
	"net/mail"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"carnet/internal/problem"
	"carnet/internal/text"
)

// emailLimit is the longest address that mail can be sent to (RFC 5321 section 4.5.3.1.3, less the angle brackets).
const emailLimit = 254

// checkEmail returns the address as it is kept, and what is wrong with it, nil when nothing is. It takes plain
// addresses only: no display names, comments or quoted parts, which mail servers read differently.
//
// Nor does it take letters that [emailKey] makes into others, such as a long s into an s. To a mail server they are
// another mailbox, to us they would be the same account, and its link would go to whoever owns the other mailbox.
func checkEmail(location, value string) (string, *problem.Field) {
	wrong := &problem.Field{Location: location, Message: "must be an e-mail address, such as ada@example.com"}
	value = norm.NFC.String(strings.TrimSpace(value))
	if text.Fold(value) != strings.ToLower(value) {
		return "", wrong
	}
	if len(value) > emailLimit || strings.ContainsFunc(value, func(r rune) bool {
		return unicode.IsControl(r) || unicode.IsSpace(r) || r == '"' || r == '<' || r == '>' || r == ',' || r == '('
	}) {
		return "", wrong
	}
	parsed, err := mail.ParseAddress(value)
	if err != nil || parsed.Address != value || parsed.Name != "" {
		return "", wrong
	}
	local, domain, _ := strings.Cut(value, "@")
	if local == "" || domain == "" || strings.Contains(domain, "@") || strings.HasPrefix(domain, "[") {
		return "", wrong
	}
	return value, nil
}

// emailKey is the form in which addresses are compared.
func emailKey(email string) string { return text.Fold(strings.TrimSpace(email)) }

// contextOf returns the words of an account that a password must not be made of.
func contextOf(email, name string) []string {
	local, domain, _ := strings.Cut(email, "@")
	host, _, _ := strings.Cut(domain, ".")
	words := append([]string{local, host, name}, strings.Fields(name)...)
	return append(words, strings.FieldsFunc(local, func(r rune) bool { return !unicode.IsLetter(r) })...)
}
