package account

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/subtle"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"

	"carnet/internal/problem"
	"carnet/internal/text"
)

// Rules for passwords (NIST SP 800-63B-4 section 3.1.1.2; ASVS 5.0 6.2): long, any composition, none of the known ones.
const (
	passwordLeast = 15   // code points
	passwordMost  = 1024 // bytes, to bound the work
)

// Cost is how hard a password hash is: argon2id's parameters (RFC 9106). They are kept with each hash, so that they can
// be raised without voiding old ones.
type Cost struct {
	Memory  uint32 // KiB
	Passes  uint32
	Threads uint8
}

// DefaultCost is OWASP's recommendation: 19 MiB, two passes.
var DefaultCost = Cost{Memory: 19 * 1024, Passes: 2, Threads: 1}

const (
	saltLength = 16
	hashLength = 32
	// queuePerCore is how many hashes may wait for each that runs. More would answer too late to be of use.
	queuePerCore = 8
)

// hasher computes password hashes, no more at a time than there are cores: each takes 19 MiB and 35 ms, and sign-ins
// must not starve everything else.
type hasher struct {
	cost    Cost
	running chan struct{}
	waiting chan struct{}
	decoy   string // a hash that no password fits, for accounts that do not exist
	mu      sync.Mutex
	count   int // hashes computed, for tests
}

func newHasher(cost Cost) *hasher {
	cores := runtime.GOMAXPROCS(0)
	h := &hasher{cost: cost, running: make(chan struct{}, cores), waiting: make(chan struct{}, cores*(1+queuePerCore))}
	salt := make([]byte, saltLength+hashLength)
	_, _ = rand.Read(salt) // never fails
	h.decoy = encode(cost, salt[:saltLength], salt[saltLength:])
	return h
}

// enter waits for a turn to hash. It refuses at once when too many wait already.
func (h *hasher) enter(ctx context.Context) (leave func(), err error) {
	select {
	case h.waiting <- struct{}{}:
	default:
		return nil, &problem.Error{Code: problem.RateLimited, RetryAfter: 2, Limit: cap(h.waiting), Detail: "Too many people are signing in at this moment. Try again in a few seconds."}
	}
	select {
	case h.running <- struct{}{}:
		return func() { <-h.running; <-h.waiting }, nil
	case <-ctx.Done():
		<-h.waiting
		return nil, fmt.Errorf("wait to check a password: %w", ctx.Err())
	}
}

// hash returns the password's hash in the PHC string format.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	leave, err := h.enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	salt := make([]byte, saltLength)
	_, _ = rand.Read(salt) // never fails
	return encode(h.cost, salt, h.derive(h.cost, salt, password)), nil
}

// fits reports whether the password belongs to the stored hash. An empty hash costs the same and fits nothing.
func (h *hasher) fits(ctx context.Context, password, stored string) (bool, error) {
	leave, err := h.enter(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	known := stored != ""
	if !known {
		stored = h.decoy
	}
	cost, salt, want, err := decode(stored)
	if err != nil {
		return false, err
	}
	same := subtle.ConstantTimeCompare(h.derive(cost, salt, password), want) == 1
	return same && known, nil
}

func (h *hasher) derive(c Cost, salt []byte, password string) []byte {
	h.mu.Lock()
	h.count++
	h.mu.Unlock()
	return argon2.IDKey([]byte(norm.NFC.String(password)), salt, c.Passes, c.Memory, c.Threads, hashLength)
}

func encode(c Cost, salt, hash []byte) string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.Memory, c.Passes, c.Threads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(hash))
}

var errHash = errors.New("a stored password hash cannot be read")

func decode(stored string) (c Cost, salt, hash []byte, err error) {
	parts := strings.Split(stored, "$")
	var version int
	if len(parts) != 6 || parts[1] != "argon2id" {
		return c, nil, nil, errHash
	}
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return c, nil, nil, errHash
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &c.Memory, &c.Passes, &c.Threads); err != nil {
		return c, nil, nil, errHash
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[4])
	hash, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(hash) != hashLength {
		return c, nil, nil, errHash
	}
	return c, salt, hash, nil
}

//go:embed blocklist.txt
var blocklistText string

//go:embed known.txt
var knownText string

// blocklist holds long passwords that are known or that people make of themselves, folded and without blanks.
var blocklist = sync.OnceValue(func() map[string]bool {
	set := map[string]bool{}
	lines := bufio.NewScanner(strings.NewReader(blocklistText + knownText))
	for lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); line != "" && !strings.HasPrefix(line, "#") {
			set[squeeze(line)] = true
		}
	}
	return set
})

// contextLeast is how long a word from the account must be to count against a password that contains it.
const contextLeast = 4

// checkPassword returns what is wrong with a password, nil when nothing is. context are words that belong to the
// account: a password must not be made of them.
func checkPassword(location, password string, context ...string) *problem.Field {
	wrong := func(message string) *problem.Field { return &problem.Field{Location: location, Message: message} }
	if !utf8.ValidString(password) {
		return wrong("must be valid UTF-8")
	}
	if len(password) > passwordMost {
		return wrong(fmt.Sprintf("must be at most %d bytes", passwordMost))
	}
	if utf8.RuneCountInString(norm.NFC.String(password)) < passwordLeast {
		return wrong(fmt.Sprintf("must be at least %d characters; a few words that only you would put together are fine", passwordLeast))
	}
	squeezed := squeeze(password)
	switch {
	case blocklist()[squeezed], blocklist()[strings.TrimRightFunc(squeezed, func(r rune) bool { return !unicode.IsLetter(r) })]:
		return wrong("is on the list of known passwords, which attackers try first")
	case monotonous(squeezed):
		return wrong("repeats or counts too much to be hard to guess")
	}
	rest := squeezed
	for _, word := range append(context, "carnet", "password") {
		if word = squeeze(word); utf8.RuneCountInString(word) >= contextLeast {
			rest = strings.ReplaceAll(rest, word, "")
		}
	}
	if rest != squeezed && utf8.RuneCountInString(rest) < 8 {
		return wrong("is made of your name, your address or this product's name, which are guessed first")
	}
	return nil
}

// squeeze folds a text and leaves out blanks, which add nothing to a known password.
func squeeze(s string) string { return strings.ReplaceAll(text.Fold(s), " ", "") }

// monotonous reports passwords of few different characters, of a short piece repeated, or that run along the keyboard
// or alphabet.
func monotonous(s string) bool {
	runes := []rune(s)
	different := map[rune]bool{}
	steps := 0
	for i, r := range runes {
		different[r] = true
		if i > 0 && (r == runes[i-1] || r == runes[i-1]+1 || r == runes[i-1]-1) {
			steps++
		}
	}
	if len(different) < 5 || steps >= len(runes)*3/4 {
		return true
	}
	for period := 1; period <= 4; period++ {
		repeats := true
		for i := period; i < len(runes) && repeats; i++ {
			repeats = runes[i] == runes[i-period]
		}
		if repeats {
			return true
		}
	}
	return false
}
