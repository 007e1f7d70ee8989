// Package page cuts long lists into pages that neither skip nor repeat, whatever is added or removed while somebody
// reads on.
//
// A page ends with a cursor: the place of its last item in the order of the list (keyset pagination), not a count of
// items. A cursor is authenticated, so that no one can make one up and hand the store a place of their choosing, and
// bound to its caller and its query, so that it is worth nothing to anybody else.
package page

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"strconv"
	"strings"

	"carnet/access"
	"carnet/internal/problem"
)

// How many items a page has.
const (
	DefaultLimit = 50
	MaxLimit     = 200
)

// Request is what a caller asks of a list. The zero Limit means DefaultLimit.
type Request struct {
	Limit  int
	Cursor string
	Sort   string // "field" or "-field"; empty for the list's own order
}

// Page is a part of a list.
type Page[T any] struct {
	Items      []T    // never nil
	NextCursor string // empty on the last page
}

// Cursors makes and checks cursors. It is safe for concurrent use.
type Cursors struct{ key []byte }

// New returns cursors that are authenticated with key.
func New(key []byte) *Cursors { return &Cursors{key: append([]byte(nil), key...)} }

// The form of a cursor: version, HMAC-SHA-256, position, all in base64url.
const (
	version    = 1
	headLength = 1 + sha256.Size
	// cursorLimit leaves room for the longest position that we make, that of a title of 200 characters.
	cursorLimit = 8192
)

// Strict, because otherwise the last character of a cursor could be changed without changing what it decodes to.
var encoding = base64.RawURLEncoding.Strict()

// Seal returns a cursor that carries position, as JSON, for the holder of binding.
func (c *Cursors) Seal(binding string, position any) string {
	body, err := json.Marshal(position)
	if err != nil {
		panic("page: a position that JSON cannot carry: " + err.Error())
	}
	return encoding.EncodeToString(append(c.head(binding, body), body...))
}

// Open puts the position of a cursor that was sealed for binding into into. Every other text is cursor_invalid, without
// a hint what is wrong with it.
func (c *Cursors) Open(binding, cursor string, into any) error {
	if len(cursor) > cursorLimit {
		return invalid()
	}
	raw, err := encoding.DecodeString(cursor)
	// The decoder passes over line breaks, so what it read is compared with what was sent.
	if err != nil || len(raw) < headLength || encoding.EncodeToString(raw) != cursor {
		return invalid()
	}
	body := raw[headLength:]
	if !hmac.Equal(raw[:headLength], c.head(binding, body)) {
		return invalid()
	}
	if err := json.Unmarshal(body, into); err != nil {
		return invalid()
	}
	return nil
}

// head returns the version and the authenticator of a body. Binding is preceded by its length, so that no part of it
// can pass for a part of the body.
func (c *Cursors) head(binding string, body []byte) []byte {
	mac := hmac.New(sha256.New, c.key)
	prefix := binary.BigEndian.AppendUint64([]byte{version}, uint64(len(binding)))
	mac.Write(prefix)
	mac.Write([]byte(binding))
	mac.Write(body)
	return mac.Sum([]byte{version})
}

func invalid() error {
	return problem.New(problem.CursorInvalid, "The cursor does not belong to this list, these filters and this credential. Start again without a cursor.")
}

// Binding returns the text that ties cursors to a caller (user, credential, organization), a list and the query that is
// made of it: all its filters and its sort. Different arguments never give the same text. A filter that can have several
// values goes through [Filter].
func Binding(caller access.Caller, list string, query ...string) string {
	return joined(append([]string{caller.UserID, caller.CredentialID, caller.Organization, list}, query...))
}

// Filter returns one filter and its values as a single text for [Binding].
func Filter(name string, values ...string) string { return joined(append([]string{name}, values...)) }

// joined writes each part after its length, so that no two lists of parts give the same text.
func joined(parts []string) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(strconv.Itoa(len(p)))
		b.WriteByte(':')
		b.WriteString(p)
	}
	return b.String()
}
