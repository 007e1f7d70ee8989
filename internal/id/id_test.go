package id_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"carnet/internal/id"
)

var prefixes = []string{id.User, id.Organization, id.Project, id.Task, id.Token, id.Session, id.Invitation, id.Event, id.Request, "cmt"}

func TestNewIDsAreValidForTheirTypeOnly(t *testing.T) {
	t.Parallel()
	for _, prefix := range prefixes {
		text := id.New(prefix)
		for _, other := range prefixes {
			if id.Valid(other, text) != (other == prefix) {
				t.Errorf("%s is valid as %s: %t", text, other, id.Valid(other, text))
			}
		}
	}
}

// decode reads the suffix as the TypeID specification has it, with nothing of the package.
func decode(suffix string) (u uuid.UUID) {
	const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
	var high, low uint64
	for _, c := range suffix {
		high = high<<5 | low>>59
		low = low<<5 | uint64(strings.IndexRune(alphabet, c))
	}
	for i := range 8 {
		u[i], u[8+i] = byte(high>>(56-8*i)), byte(low>>(56-8*i))
	}
	return u
}

func TestSuffixIsAUUIDv7InBase32(t *testing.T) {
	t.Parallel()
	// The specification's own example: prefix_01h455vb4pex5vsknk084sn02q is 01890a5d-ac96-774b-bcce-b302099a8057.
	if got := decode("01h455vb4pex5vsknk084sn02q").String(); got != "01890a5d-ac96-774b-bcce-b302099a8057" {
		t.Fatalf("this test reads %s", got)
	}
	for range 1000 {
		_, suffix, _ := strings.Cut(id.New(id.Task), "_")
		if u := decode(suffix); u.Version() != 7 || u.Variant() != uuid.RFC4122 {
			t.Fatalf("%s is version %d", suffix, u.Version())
		}
	}
}

func TestIDsSortByCreationAndDiffer(t *testing.T) {
	t.Parallel()
	ids := make([]string, 10_000)
	for i := range ids {
		ids[i] = id.New(id.Task)
	}
	if !slices.IsSorted(ids) {
		t.Error("ids that were made one after the other are not in order")
	}
	if len(slices.Compact(slices.Sorted(slices.Values(ids)))) != len(ids) {
		t.Error("an id came twice")
	}
}

func TestWhatIsNoIDIsNotValid(t *testing.T) {
	t.Parallel()
	good := id.New(id.Task)
	for _, text := range []string{
		"", "tsk", "tsk_", good + "0", good[:len(good)-1], "prj" + good[3:], strings.ToUpper(good), " " + good, good + "\n", good[4:],
		"tsk_8zzzzzzzzzzzzzzzzzzzzzzzzz", // more than 128 bits
		"tsk_" + strings.Repeat("l", 26), "tsk_0000000000000000000000000é", "tsk__" + strings.Repeat("0", 25), "tsk-" + strings.Repeat("0", 26),
	} {
		if id.Valid(id.Task, text) {
			t.Errorf("%q is valid", text)
		}
	}
	for _, text := range []string{"tsk_" + strings.Repeat("0", 26), "tsk_7" + strings.Repeat("z", 25)} {
		if !id.Valid(id.Task, text) {
			t.Errorf("%q is not valid", text)
		}
	}
}
