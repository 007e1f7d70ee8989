package token_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"testing/cryptotest"
	"unicode"

	"carnet/token"
)

var kinds = []token.Kind{token.Personal, token.Agent, token.Session}

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func TestMintedValueHasTheFormat(t *testing.T) {
	t.Parallel()
	format := regexp.MustCompile(`^carnet_(pat|agt|ses)_[0-9A-Za-z]{12}_[0-9A-Za-z]{32}[0-9A-Za-z]{6}$`)
	for _, kind := range kinds {
		v := token.Mint(kind)
		text := v.Reveal()
		if !format.MatchString(text) || len(text) != token.ValueLength || !strings.HasPrefix(text, kind.Prefix()) {
			t.Errorf("a minted value of kind %s has another format", kind.Prefix())
		}
		parsed, err := token.Parse(text)
		if err != nil || parsed.Kind() != kind || parsed.Reveal() != text || parsed.Digest() != v.Digest() || parsed.Lookup() != v.Lookup() {
			t.Errorf("a minted value of kind %s is not read back: %v", kind.Prefix(), err)
		}
		if want := text[:len("carnet_pat_")+12]; v.Prefix() != want || token.PrefixOf(kind, v.Lookup().String()) != want {
			t.Errorf("the prefix is %s, not %s", v.Prefix(), want)
		}
	}
}

func TestPatternFindsValuesInText(t *testing.T) {
	t.Parallel()
	finder := regexp.MustCompile(token.Pattern)
	a, b := token.Mint(token.Personal).Reveal(), token.Mint(token.Agent).Reveal()
	text := fmt.Sprintf(`curl -H "Authorization: Bearer %s" # and %s, then carnet_pat_ alone`, a, b)
	found := finder.FindAllString(text, -1)
	if len(found) != 2 || found[0] != a || found[1] != b {
		t.Errorf("found %d values instead of two", len(found))
	}
	if token.Mint(token.Session).Prefix() == "" || finder.MatchString(token.Mint(token.Session).Prefix()) {
		t.Error("the pattern finds prefixes, which are no secrets")
	}
}

func TestMintedValuesAreAllDifferent(t *testing.T) {
	t.Parallel()
	lookups := map[token.LookupID]bool{}
	for range 20_000 {
		v := token.Mint(token.Personal)
		if lookups[v.Lookup()] {
			t.Fatal("a lookup id came twice")
		}
		lookups[v.Lookup()] = true
	}
}

// The characters come from crypto/rand alone, so a fixed source gives fixed values.
func TestMintTakesItsRandomnessFromTheSystemOnly(t *testing.T) {
	mint := func(seed uint64) string {
		cryptotest.SetGlobalRandom(t, seed)
		return token.Mint(token.Personal).Reveal()
	}
	a, again, b := mint(1), mint(1), mint(2)
	if a != again || a == b {
		t.Error("a value depends on something else than the system's random source")
	}
}

// TestEveryCharacterIsEquallyLikely compares how often each character came with how often it should have (chi-squared,
// 61 degrees of freedom: mean 61, deviation 11). Taking bytes modulo 62 without drawing again gives about 1,100 here.
func TestEveryCharacterIsEquallyLikely(t *testing.T) {
	t.Parallel()
	const values = 4_000
	counts := map[byte]float64{}
	for range values {
		text := token.Mint(token.Personal).Reveal()
		random := text[token.KindLength:token.PrefixLength] + text[token.PrefixLength+1:token.ValueLength-token.ChecksumLength]
		for i := range len(random) {
			counts[random[i]]++
		}
	}
	expected := float64(values*(token.LookupLength+token.SecretLength)) / 62
	var chi float64
	for i := range len(base62) {
		difference := counts[base62[i]] - expected
		chi += difference * difference / expected
	}
	if chi > 160 {
		t.Errorf("chi-squared is %.0f", chi)
	}
}

func TestMintPanicsOnAnUnknownKind(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("a value of no kind was made")
		}
	}()
	token.Mint(0)
}

// refuse fails the test when text is taken for a value, or the error repeats any of it.
func refuse(t *testing.T, what, text string) {
	t.Helper()
	v, err := token.Parse(text)
	if err == nil {
		t.Errorf("accepted: %s", what)
		return
	}
	if !errors.Is(err, token.ErrMalformed) || v != (token.Value{}) {
		t.Errorf("%s: refused with %q and a value", what, err)
	}
}

// GO-2026-4573: a token that was cut to its first 80 characters still counted.
func TestEveryChangeCutAndExtensionIsRefused(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		text := token.Mint(kind).Reveal()
		for i := range len(text) {
			for b := range 256 {
				if byte(b) == text[i] {
					continue
				}
				changed := []byte(text)
				changed[i] = byte(b)
				refuse(t, fmt.Sprintf("character %d changed to %q", i, byte(b)), string(changed))
			}
			refuse(t, fmt.Sprintf("cut to %d characters", i), text[:i])
			refuse(t, fmt.Sprintf("without character %d", i), text[:i]+text[i+1:])
			refuse(t, fmt.Sprintf("with character %d twice", i), text[:i+1]+text[i:])
			if i > 0 {
				refuse(t, fmt.Sprintf("from character %d", i), text[i:])
			}
			if i > 0 && text[i-1] != text[i] {
				swapped := []byte(text)
				swapped[i-1], swapped[i] = swapped[i], swapped[i-1]
				refuse(t, fmt.Sprintf("characters %d and %d exchanged", i-1, i), string(swapped))
			}
		}
		for b := range 256 {
			refuse(t, fmt.Sprintf("%q behind it", byte(b)), text+string([]byte{byte(b)}))
			refuse(t, fmt.Sprintf("%q before it", byte(b)), string([]byte{byte(b)})+text)
		}
		refuse(t, "in upper case", strings.ToUpper(text))
		refuse(t, "in lower case", strings.ToLower(text))
		refuse(t, "in exchanged case", strings.Map(exchangeCase, text))
		refuse(t, "twice", text+text)
		refuse(t, "its prefix", text[:token.PrefixLength])
		for _, other := range kinds {
			if other != kind {
				refuse(t, "as another kind", other.Prefix()+text[token.KindLength:])
			}
		}
	}
}

func exchangeCase(r rune) rune {
	if unicode.IsUpper(r) {
		return unicode.ToLower(r)
	}
	return unicode.ToUpper(r)
}

func TestParsePrefixReadsPrefixesOnly(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		v := token.Mint(kind)
		got, lookup, err := token.ParsePrefix(v.Prefix())
		if err != nil || got != kind || lookup != v.Lookup() {
			t.Errorf("the prefix of a %s value is read as %d, %v", kind.Prefix(), got, err)
		}
		for _, text := range []string{"", v.Reveal(), v.Prefix() + "_", v.Prefix()[1:], kind.Prefix(), strings.ToUpper(v.Prefix()), v.Prefix()[:token.PrefixLength-1] + "-"} {
			if _, _, err := token.ParsePrefix(text); !errors.Is(err, token.ErrMalformed) {
				t.Errorf("%d characters that are no prefix: %v", len(text), err)
			}
		}
	}
	if token.Kind(0).Prefix() != "" || token.Kind(9).Prefix() != "" {
		t.Error("an unknown kind has a prefix")
	}
}

// holder is what a careless author would print: fmt does not ask the methods of unexported fields.
type holder struct {
	open   token.Value
	Public token.Value
	list   []token.Value
	byName map[string]token.Value
	to     *token.Value
}

func TestPrintingNeverShowsTheSecret(t *testing.T) {
	t.Parallel()
	v := token.Mint(token.Personal)
	text := v.Reveal()
	h := holder{open: v, Public: v, list: []token.Value{v}, byName: map[string]token.Value{"a": v}, to: &v}
	var outputs []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%c", "%U", "%o", "%p", "%T", "%10.80v", "%e"} {
		for _, what := range []any{v, &v, h, &h, []holder{h}, struct{ v token.Value }{v}, error(wrapped{v})} {
			outputs = append(outputs, fmt.Sprintf(verb, what))
		}
	}
	for _, what := range []any{v, &v, h, map[string]any{"v": v}, []token.Value{v}} {
		encoded, err := json.Marshal(what)
		if err != nil {
			t.Fatal(err)
		}
		outputs = append(outputs, string(encoded))
	}
	var log bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&log, nil), slog.NewTextHandler(&log, nil)} {
		slog.New(handler).Info("m", "value", v, "pointer", &v, "holder", h, "group", slog.GroupValue(slog.Any("v", v)))
	}
	outputs = append(outputs, log.String(), fmt.Sprint(v), fmt.Sprintln(&v))
	secret := text[token.PrefixLength+1:]
	for _, out := range outputs {
		for _, form := range []string{secret, secret[:8], fmt.Sprintf("%x", secret[:8]), fmt.Sprintf("%X", secret[:8]), strings.Trim(fmt.Sprintf("%d", []byte(secret[:8])), "[]")} {
			if strings.Contains(out, form) {
				t.Fatalf("the secret is in what is printed: %s", strings.ReplaceAll(out, secret, "SECRET"))
			}
		}
	}
	if !strings.Contains(v.String(), v.Prefix()) || fmt.Sprint(v) != v.String() {
		t.Errorf("a value prints as %s, which does not identify it", v)
	}
}

type wrapped struct{ v token.Value }

func (w wrapped) Error() string { return fmt.Sprintf("could not use %+v", w.v) }

func TestZeroValueIsHarmless(t *testing.T) {
	t.Parallel()
	var v token.Value
	if v.Reveal() != "" || v.Prefix() != "" || v.String() != "" || fmt.Sprintf("%+v", v) != "" || v.Kind() != 0 {
		t.Error("the zero value is something")
	}
}

func TestDigestEqual(t *testing.T) {
	t.Parallel()
	d := token.Mint(token.Personal).Digest()
	if !d.Equal(d[:]) {
		t.Error("a digest differs from itself")
	}
	for i := range len(d) {
		other := d
		other[i] ^= 1
		if d.Equal(other[:]) {
			t.Errorf("a digest that differs in byte %d is the same", i)
		}
	}
	for _, stored := range [][]byte{nil, {}, d[:31], append(d[:], 0)} {
		if d.Equal(stored) {
			t.Errorf("%d bytes are the same as a digest", len(stored))
		}
	}
}

func TestVerificationOfAValueDoesNotAllocate(t *testing.T) {
	text := token.Mint(token.Personal).Reveal()
	stored := token.Mint(token.Agent).Digest()
	allocations := testing.AllocsPerRun(100, func() {
		v, err := token.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		digest := v.Digest()
		_, _ = v.Lookup(), digest.Equal(stored[:])
		_, _, _ = token.ParsePrefix(v.Prefix())
		_, _ = token.Parse(text[1:])
	})
	if allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
}

func FuzzParse(f *testing.F) {
	for _, v := range readVectors(f).Valid {
		f.Add(v.Value)
	}
	for _, v := range readVectors(f).Malformed {
		f.Add(v.Value)
	}
	whole := regexp.MustCompile("^" + token.Pattern + "$")
	f.Fuzz(func(t *testing.T, text string) {
		v, err := token.Parse(text)
		if err != nil {
			if !errors.Is(err, token.ErrMalformed) || v != (token.Value{}) {
				t.Fatalf("refused with %q and a value", err)
			}
			return
		}
		if v.Reveal() != text || !whole.MatchString(text) {
			t.Fatal("accepted something else than it was given")
		}
		kind, lookup, err := token.ParsePrefix(v.Prefix())
		if err != nil || kind != v.Kind() || lookup != v.Lookup() {
			t.Fatal("its prefix is not read back")
		}
		if referenceChecksum(text[:token.ValueLength-token.ChecksumLength]) != text[token.ValueLength-token.ChecksumLength:] {
			t.Fatal("accepted with a wrong checksum")
		}
	})
}
