package token_test

import (
	"crypto/sha256"
	"testing"

	"carnet/token"
)

// BenchmarkSHA256 is the yardstick: one SHA-256 of a value, which no verification can do without.
func BenchmarkSHA256(b *testing.B) {
	text := []byte(token.Mint(token.Personal).Reveal())
	b.ReportAllocs()
	for b.Loop() {
		_ = sha256.Sum256(text)
	}
}

func BenchmarkParse(b *testing.B) {
	text := token.Mint(token.Personal).Reveal()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := token.Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseAndDigest(b *testing.B) {
	text := token.Mint(token.Personal).Reveal()
	b.ReportAllocs()
	for b.Loop() {
		v, err := token.Parse(text)
		if err != nil {
			b.Fatal(err)
		}
		_ = v.Digest()
	}
}

func BenchmarkMint(b *testing.B) {
	for b.Loop() {
		_ = token.Mint(token.Personal)
	}
}
