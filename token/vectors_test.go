package token_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"hash/crc32"
	"math/big"
	"os"
	"strings"
	"testing"

	"carnet/token"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew")

// vectors is the file that other implementations (secret scanners, clients) can test against.
type vectors struct {
	About     string      `json:"about"`
	Pattern   string      `json:"pattern"`
	Valid     []valid     `json:"valid"`
	Malformed []malformed `json:"malformed"`
}

type valid struct {
	Value  string `json:"value"`
	Kind   string `json:"kind"`
	Prefix string `json:"prefix"`
	Lookup string `json:"lookup_id"`
	SHA256 string `json:"sha256"` // hexadecimal
}

type malformed struct {
	Value string `json:"value"`
	Why   string `json:"why"`
}

const vectorsPath = "testdata/vectors.json"

func readVectors(tb testing.TB) vectors {
	tb.Helper()
	text, err := os.ReadFile(vectorsPath)
	if err != nil {
		tb.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(text, &v); err != nil {
		tb.Fatal(err)
	}
	return v
}

// referenceChecksum is the checksum as the format describes it, with nothing of the package: CRC-32 (IEEE) as a number
// in base 62, digits before upper before lower case, to six characters.
func referenceChecksum(text string) string {
	digits := new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE([]byte(text)))).Text(62)
	// math/big has lower before upper case.
	swapped := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return exchangeCase(r)
	}, digits)
	return strings.Repeat("0", token.ChecksumLength-len(swapped)) + swapped
}

func compose(prefix, lookup, secret string) string {
	text := prefix + lookup + "_" + secret
	return text + referenceChecksum(text)
}

func makeVectors() vectors {
	v := vectors{
		About:   "Made-up credentials that no server issued, to test implementations of the format with. The checksum is CRC-32 (IEEE) of everything before it, in base 62 (0-9, A-Z, a-z), six characters, the most significant first.",
		Pattern: token.Pattern,
	}
	for _, k := range []struct{ name, prefix string }{{"personal", "carnet_pat_"}, {"agent", "carnet_agt_"}, {"session", "carnet_ses_"}} {
		for _, parts := range [][2]string{
			{"000000000000", "00000000000000000000000000000000"},
			{"zzzzzzzzzzzz", "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"},
			{"ExampleOnly1", "ThisIsNotASecretItIsAnExample000"},
			{"0123456789AB", "CDEFGHIJKLMNOPQRSTUVWXYZabcdefgh"},
		} {
			value := compose(k.prefix, parts[0], parts[1])
			digest := sha256.Sum256([]byte(value))
			v.Valid = append(v.Valid, valid{
				Value: value, Kind: k.name, Prefix: k.prefix + parts[0], Lookup: parts[0], SHA256: hex.EncodeToString(digest[:]),
			})
		}
	}
	good := compose("carnet_pat_", "ExampleOnly1", "ThisIsNotASecretItIsAnExample000")
	bare := good[:len(good)-token.ChecksumLength]
	v.Malformed = []malformed{
		{"", "empty"},
		{bare, "no checksum"},
		{bare + "000000", "wrong checksum"},
		{bare + strings.Map(exchangeCase, good[len(bare):]), "checksum with digits in another order"},
		{good[:40], "cut"},
		{good + "0", "longer"},
		{" " + good, "space before it"},
		{good + "\n", "line break behind it"},
		{strings.ToUpper(good), "upper case"},
		{compose("carnet_xyz_", "ExampleOnly1", "ThisIsNotASecretItIsAnExample000"), "unknown kind, right checksum"},
		{compose("CARNET_PAT_", "ExampleOnly1", "ThisIsNotASecretItIsAnExample000"), "prefix in upper case, right checksum"},
		{compose("carnet_pat_", "ExampleOnly-", "ThisIsNotASecretItIsAnExample000"), "character outside the alphabet in the lookup id, right checksum"},
		{compose("carnet_pat_", "ExampleOnly1", "ThisIsNotASecretItIsAnExample0é"), "character outside ASCII in the secret, right checksum"},
		{compose("carnet_pat_", "ExampleOnl", "ThisIsNotASecretItIsAnExample00000"), "separator at another place, right checksum"},
		{compose("carnet_pat_", "ExampleOnly1", "ThisIsNotASecret"), "short secret, right checksum"},
	}
	return v
}

func TestVectors(t *testing.T) {
	t.Parallel()
	made, err := json.MarshalIndent(makeVectors(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	made = append(made, '\n')
	if *update {
		if err := os.WriteFile(vectorsPath, made, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(vectorsPath)
	if err != nil {
		t.Fatal(err)
	}
	if string(kept) != string(made) {
		t.Errorf("%s is not what the format's description gives: run go test ./token -run Vectors -update", vectorsPath)
	}
	names := map[token.Kind]string{token.Personal: "personal", token.Agent: "agent", token.Session: "session"}
	v := readVectors(t)
	for _, want := range v.Valid {
		got, err := token.Parse(want.Value)
		if err != nil {
			t.Errorf("%s: %v", want.Prefix, err)
			continue
		}
		digest := got.Digest()
		if names[got.Kind()] != want.Kind || got.Prefix() != want.Prefix || got.Lookup().String() != want.Lookup || hex.EncodeToString(digest[:]) != want.SHA256 {
			t.Errorf("%s is read differently", want.Prefix)
		}
	}
	for _, bad := range v.Malformed {
		refuse(t, bad.Why, bad.Value)
	}
}
