// Package token is the value of a Carnet credential: how it is made, recognized, checked and stored.
//
// A value is one word that a double-click selects and one regular expression finds:
//
//	carnet_pat_ k3J9x0QeT4Vb _ 7fR…32 characters… 04hQzP
//	kind        lookup id       secret             checksum
//
// The lookup id finds the stored row and is safe to show; kind and lookup id together are the prefix, which identifies
// a credential and proves nothing. The secret carries 190 bits from the operating system's generator. The checksum is
// CRC-32 over everything before it, so that a typing error or a made-up value is refused before any lookup; it proves
// nothing either, since its algorithm is public.
//
// Only [Value.Digest] is ever stored. It is a plain SHA-256: a slow hash protects guessable secrets, and this one is
// not. Compare digests with [Digest.Equal], which takes the same time wherever they differ.
//
// The package does no I/O and depends on nothing of Carnet, so that secret scanners can import it.
package token

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"regexp"
	"strings"
	"unsafe"
)

// Kind says what sort of credential a value is. It is readable in the value itself.
type Kind uint8

// The kinds of credential.
const (
	Personal Kind = iota + 1 // a personal access token, carnet_pat_
	Agent                    // an agent connection's token, carnet_agt_
	Session                  // a signed-in session, carnet_ses_
)

// The lengths of the parts of a value, in characters (all ASCII).
const (
	KindLength     = len("carnet_pat_")
	LookupLength   = 12
	SecretLength   = 32
	ChecksumLength = 6
	PrefixLength   = KindLength + LookupLength
	ValueLength    = PrefixLength + 1 + SecretLength + ChecksumLength
)

// Pattern is a regular expression (RE2 syntax) that finds values in text, for secret scanners and redaction. A match is
// worth a [Parse], which verifies the checksum.
const Pattern = `carnet_(?:pat|agt|ses)_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}`

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// ErrMalformed is returned for text that no Carnet server ever issued: wrong length, alphabet, kind or checksum.
var ErrMalformed = errors.New("not a Carnet credential")

// Prefix returns the fixed start of values of kind k, such as "carnet_pat_", or "" for an unknown kind.
func (k Kind) Prefix() string {
	switch k {
	case Personal:
		return "carnet_pat_"
	case Agent:
		return "carnet_agt_"
	case Session:
		return "carnet_ses_"
	default:
		return ""
	}
}

// LookupID is the public part of a value under which its digest is stored. It is comparable and serves as a map key.
type LookupID [LookupLength]byte

// String returns the lookup id as text.
func (id LookupID) String() string { return string(id[:]) }

// Digest is the SHA-256 of a whole value: the only trace of it that may be stored.
type Digest [sha256.Size]byte

// Equal reports in constant time whether the stored digest, given as bytes, is d.
func (d Digest) Equal(stored []byte) bool { return subtle.ConstantTimeCompare(d[:], stored) == 1 }

// Value is a well-formed credential. The zero Value is not one. Printing one shows its prefix only: [Value.Reveal] is
// the single way to the secret.
type Value struct {
	// first is where the text starts; it is always ValueLength long. A pointer rather than a string, because package fmt
	// prints the unexported fields of a struct that holds a Value without asking the Value how.
	first *byte
	kind  Kind
}

func valueOf(text string, kind Kind) Value { return Value{first: unsafe.StringData(text), kind: kind} }

// Mint makes a new value of kind k from the operating system's random generator. It panics on an unknown kind.
func Mint(k Kind) Value {
	prefix := k.Prefix()
	if prefix == "" {
		panic("token: mint of an unknown kind")
	}
	buf := make([]byte, 0, ValueLength)
	buf = append(buf, prefix...)
	buf = appendRandom(buf, LookupLength)
	buf = append(buf, '_')
	buf = appendRandom(buf, SecretLength)
	buf = appendChecksum(buf)
	return valueOf(string(buf), k)
}

// Parse recognizes a value. It returns [ErrMalformed], and never any part of text, when text is not exactly one.
// It does not allocate.
func Parse(text string) (Value, error) {
	kind, _, ok := Glance(text)
	if !ok {
		return Value{}, ErrMalformed
	}
	if !isBase62(text[KindLength:PrefixLength]) || !isBase62(text[PrefixLength+1:]) {
		return Value{}, ErrMalformed
	}
	if checksum(text[:ValueLength-ChecksumLength]) != [ChecksumLength]byte([]byte(text[ValueLength-ChecksumLength:])) {
		return Value{}, ErrMalformed
	}
	return valueOf(text, kind), nil
}

// Glance returns the kind and lookup id that text claims, looking at its shape only: neither its alphabet nor its
// checksum. It serves to find a stored digest, which [DigestOf] text must then equal; text without one needs a [Parse].
func Glance(text string) (kind Kind, lookup LookupID, ok bool) {
	if len(text) != ValueLength || text[PrefixLength] != '_' {
		return 0, LookupID{}, false
	}
	switch text[:KindLength] {
	case "carnet_pat_":
		kind = Personal
	case "carnet_agt_":
		kind = Agent
	case "carnet_ses_":
		kind = Session
	default:
		return 0, LookupID{}, false
	}
	copy(lookup[:], text[KindLength:PrefixLength])
	return kind, lookup, true
}

// DigestOf returns the digest of text that has the length of a value, whether or not it is one. It does not allocate.
func DigestOf(text string) Digest {
	var fixed [ValueLength]byte // on the stack
	n := copy(fixed[:], text)
	return sha256.Sum256(fixed[:n])
}

// ParsePrefix recognizes a prefix as [Value.Prefix] returns it, and gives the kind and lookup id that it names.
func ParsePrefix(text string) (Kind, LookupID, error) {
	if len(text) != PrefixLength || !isBase62(text[KindLength:]) {
		return 0, LookupID{}, ErrMalformed
	}
	for _, kind := range []Kind{Personal, Agent, Session} {
		if text[:KindLength] == kind.Prefix() {
			return kind, LookupID([]byte(text[KindLength:])), nil
		}
	}
	return 0, LookupID{}, ErrMalformed
}

// PrefixOf returns the prefix that a value of kind k with lookup id id shows.
func PrefixOf(k Kind, id string) string { return k.Prefix() + id }

// Kind returns the kind of credential.
func (v Value) Kind() Kind { return v.kind }

// Reveal returns the whole value, "" for the zero Value. It is shown to its owner once and stored nowhere.
func (v Value) Reveal() string {
	if v.first == nil {
		return ""
	}
	return unsafe.String(v.first, ValueLength)
}

// Prefix returns the part that may be shown and logged: the kind and the lookup id.
func (v Value) Prefix() string {
	if v.first == nil {
		return ""
	}
	return v.Reveal()[:PrefixLength]
}

// Lookup returns the lookup id. It panics on the zero Value.
func (v Value) Lookup() LookupID { return LookupID([]byte(v.Reveal()[KindLength:PrefixLength])) }

// Digest returns the SHA-256 of the whole value.
func (v Value) Digest() Digest { return DigestOf(v.Reveal()) }

// Format writes the prefix only, whatever the verb, so that a value that reaches a log by accident says nothing.
func (v Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, v.String()) }

// String returns the prefix only, for the same reason as [Value.Format].
func (v Value) String() string {
	if v.first == nil {
		return ""
	}
	return v.Prefix() + "_…"
}

// MarshalText returns the prefix only, for the same reason as [Value.Format]; JSON encoders and loggers use it.
func (v Value) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

var pattern = regexp.MustCompile(Pattern)

// Redact returns text with every value in it cut to its prefix, for logs and messages that could hold one by accident.
func Redact(text string) string {
	if !strings.Contains(text, "carnet_") {
		return text
	}
	return pattern.ReplaceAllStringFunc(text, func(found string) string { return found[:PrefixLength] + "_…" })
}

// appendRandom appends n characters drawn evenly from the alphabet. Bytes of 248 and above are drawn again: 248 is the
// largest multiple of 62 that fits, and keeping the rest would make the first eight characters likelier.
func appendRandom(buf []byte, n int) []byte {
	var random [64]byte
	for n > 0 {
		_, _ = rand.Read(random[:]) // never fails: crypto/rand ends the process instead
		for _, b := range random {
			if b < 248 && n > 0 {
				buf = append(buf, alphabet[b%62])
				n--
			}
		}
	}
	return buf
}

func appendChecksum(buf []byte) []byte {
	sum := checksum(string(buf))
	return append(buf, sum[:]...)
}

// checksum is the CRC-32 (IEEE) of text in six base62 characters, the most significant first.
func checksum(text string) [ChecksumLength]byte {
	// The bytes of the text itself, which crc32 only reads: a copy would be moved to the heap on every verification,
	// because crc32 calls its implementation through a variable.
	sum := crc32.ChecksumIEEE(unsafe.Slice(unsafe.StringData(text), len(text)))
	var out [ChecksumLength]byte
	for i := ChecksumLength - 1; i >= 0; i-- {
		out[i] = alphabet[sum%62]
		sum /= 62
	}
	return out
}

func isBase62(text string) bool {
	for i := range len(text) {
		if !base62[text[i]] {
			return false
		}
	}
	return true
}

var base62 = func() (set [256]bool) {
	for i := range len(alphabet) {
		set[alphabet[i]] = true
	}
	return set
}()
