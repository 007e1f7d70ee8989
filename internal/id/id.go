// Package id makes and checks the ids of stored things, in the TypeID form: a type prefix, an underscore, and a UUIDv7
// (RFC 9562 section 5.7) in 26 characters of base32. They sort by creation time. They are names, not secrets.
package id

import (
	"strings"

	"github.com/google/uuid"
)

// The prefixes, one for each type of thing.
const (
	User         = "usr"
	Organization = "org"
	Project      = "prj"
	Task         = "tsk"
	Comment      = "cmt"
	Token        = "tok"
	Session      = "ses"
	Invitation   = "inv"
	Event        = "evt"
	Request      = "req"
	Client       = "cli"
)

// alphabet is Crockford's base32 in lower case, as the TypeID specification (v0.3) has it.
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

const suffixLength = 26

// New returns a fresh id of the type, greater than every id that this process made before in an earlier millisecond.
func New(prefix string) string {
	u, err := uuid.NewV7()
	if err != nil { // crypto/rand does not fail on the systems that we run on; uuid's signature is older than that promise
		panic("id: no randomness: " + err.Error())
	}
	return prefix + "_" + encode(u)
}

// Valid reports whether text has the form of an id of the type. It says nothing about existence.
func Valid(prefix, text string) bool {
	suffix, found := strings.CutPrefix(text, prefix+"_")
	if !found || len(suffix) != suffixLength || suffix[0] > '7' {
		return false
	}
	for i := range len(suffix) {
		if strings.IndexByte(alphabet, suffix[i]) < 0 {
			return false
		}
	}
	return true
}

// encode writes 128 bits as 26 characters of five bits, the first of which carries only three.
func encode(u uuid.UUID) string {
	var out [suffixLength]byte
	var bits, have uint
	position := suffixLength - 1
	for i := len(u) - 1; i >= 0; i-- {
		bits |= uint(u[i]) << have
		have += 8
		for have >= 5 {
			out[position] = alphabet[bits&31]
			position--
			bits >>= 5
			have -= 5
		}
	}
	out[0] = alphabet[bits&31]
	return string(out[:])
}
