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
	"hash/crc32"
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
	text string
	kind Kind
}

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
	return Value{text: string(buf), kind: k}
}

// Parse recognizes a value. It returns [ErrMalformed], and never any part of text, when text is not exactly one.
// It does not allocate.
func Parse(text string) (Value, error) {
	if len(text) != ValueLength || text[PrefixLength] != '_' {
		return Value{}, ErrMalformed
	}
	var kind Kind
	switch text[:KindLength] {
	case "carnet_pat_":
		kind = Personal
	case "carnet_agt_":
		kind = Agent
	case "carnet_ses_":
		kind = Session
	default:
		return Value{}, ErrMalformed
	}
	if !isBase62(text[KindLength:PrefixLength]) || !isBase62(text[PrefixLength+1:]) {
		return Value{}, ErrMalformed
	}
	if checksum(text[:ValueLength-ChecksumLength]) != [ChecksumLength]byte([]byte(text[ValueLength-ChecksumLength:])) {
		return Value{}, ErrMalformed
	}
	return Value{text: text, kind: kind}, nil
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

// Reveal returns the whole value. It is shown to its owner once and stored nowhere.
func (v Value) Reveal() string { return v.text }

// Prefix returns the part that may be shown and logged: the kind and the lookup id.
func (v Value) Prefix() string { return v.text[:PrefixLength] }

// Lookup returns the lookup id.
func (v Value) Lookup() LookupID { return LookupID([]byte(v.text[KindLength:PrefixLength])) }

// Digest returns the SHA-256 of the whole value.
func (v Value) Digest() Digest {
	var text [ValueLength]byte // on the stack: verification must not allocate
	copy(text[:], v.text)
	return sha256.Sum256(text[:])
}

// GoString returns the prefix only, for the same reason as [Value.String].
func (v Value) GoString() string { return "token.Value(" + v.safe() + ")" }

// String returns the prefix only, so that a value that reaches a log by accident says nothing.
func (v Value) String() string { return v.safe() }

// MarshalText returns the prefix only, for the same reason as [Value.String]; JSON encoders use it.
func (v Value) MarshalText() ([]byte, error) { return []byte(v.safe()), nil }

func (v Value) safe() string {
	if v.text == "" {
		return ""
	}
	return v.Prefix() + "_…"
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
	var stack [ValueLength]byte
	n := copy(stack[:], text)
	sum := crc32.ChecksumIEEE(stack[:n])
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
