package mail_test

import (
	"bytes"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"mime"
	"mime/quotedprintable"
	netmail "net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"carnet/internal/mail"
)

// secret stands in the text of the tests' messages, as a code stands in the link of a real one.
const secret = "SECRETCODEOFTHELINK234567A"

var verification = mail.Message{
	To: "ada@example.com", Subject: "Verify your e-mail address for Carnet",
	Text: "Open this link:\n\n  https://carnet.example/verify-email?code=" + secret + "\n\n.\n.. a line that begins with dots\n",
}

// lines is a log that tests read.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// outbox sends the messages into an outbox and returns the files' contents, in the order of their names.
func outbox(t testing.TB, dir string, log *lines, messages ...mail.Message) (files []string) {
	t.Helper()
	sender, err := mail.NewSender("", dir, log.logger())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		sender.Post(m)
	}
	if err := sender.Close(); err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(dir, "outbox", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range found {
		if filepath.Ext(path) != ".eml" {
			t.Errorf("%s is left in the outbox", path)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, string(content))
	}
	return files
}

// parsed is a message as its reader sees it.
type parsed struct {
	header netmail.Header
	text   string
}

func parse(t testing.TB, content string) parsed {
	t.Helper()
	m, err := netmail.ReadMessage(strings.NewReader(content))
	if err != nil {
		t.Fatalf("%v: %q", err, content)
	}
	body := m.Body
	if strings.EqualFold(m.Header.Get("Content-Transfer-Encoding"), "quoted-printable") {
		body = quotedprintable.NewReader(body)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return parsed{header: m.Header, text: strings.ReplaceAll(string(text), "\r\n", "\n")}
}

func (p parsed) subject(t testing.TB) string {
	t.Helper()
	subject, err := new(mime.WordDecoder).DecodeHeader(p.header.Get("Subject"))
	if err != nil {
		t.Fatal(err)
	}
	return subject
}

func TestOutboxHoldsMailsThatAnyProgramReads(t *testing.T) {
	t.Parallel()
	dir, log := t.TempDir(), &lines{}
	second := mail.Message{To: "zoë@example.com", Subject: "Grüße, 世界: 🦔", Text: "Żółw — " + strings.Repeat("long line ", 200) + "\nFrom here on\n= and =3D\n"}
	files := outbox(t, dir, log, verification, second, verification)
	if len(files) != 3 {
		t.Fatalf("there are %d files", len(files))
	}
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []mail.Message{verification, second, verification} {
		p := parse(t, files[i])
		to, err := p.header.AddressList("To")
		if err != nil || len(to) != 1 || to[0].Address != want.To {
			t.Errorf("it goes to %v: %v", to, err)
		}
		from, err := p.header.AddressList("From")
		if err != nil || len(from) != 1 || *from[0] != (netmail.Address{Name: "Carnet", Address: "carnet@localhost"}) {
			t.Errorf("it comes from %v: %v", from, err)
		}
		if at, err := p.header.Date(); err != nil || time.Since(at).Abs() > time.Minute {
			t.Errorf("it is of %v: %v", at, err)
		}
		if p.subject(t) != want.Subject || p.text != want.Text {
			t.Errorf("it says %q: %q", p.subject(t), p.text)
		}
		if p.header.Get("Auto-Submitted") != "auto-generated" || !strings.HasSuffix(p.header.Get("Message-Id"), "@localhost>") {
			t.Errorf("the header is %v", p.header)
		}
		if len(hostname) > 3 && strings.Contains(files[i], hostname) {
			t.Error("it names this machine")
		}
		for line := range strings.SplitSeq(files[i], "\r\n") {
			if len(line) > 998 {
				t.Errorf("a line has %d bytes", len(line))
			}
		}
	}
	if one, other := parse(t, files[0]).header.Get("Message-Id"), parse(t, files[2]).header.Get("Message-Id"); one == other {
		t.Error("two mails have one id")
	}
	if logged := log.String(); strings.Contains(logged, secret) || strings.Contains(logged, "ada@") || strings.Count(logged, ".eml") != 3 {
		t.Errorf("logged is %s", logged)
	}
}

// The outbox holds links that anybody who reads them can use.
func TestOutboxIsForItsOwnerAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	outbox(t, dir, &lines{}, verification)
	err := filepath.WalkDir(filepath.Join(dir, "outbox"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if entry.IsDir() {
			want = 0o700
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, not %o", path, got, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestLineBreakInAnAddressOrSubjectIsRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*mail.Message){
		"a header after the subject": func(m *mail.Message) { m.Subject += "\r\nBcc: eve@example.com" },
		"a bare line feed":           func(m *mail.Message) { m.Subject += "\nBcc: eve@example.com" },
		"a bare carriage return":     func(m *mail.Message) { m.Subject += "\rBcc: eve@example.com" },
		"a body after the subject":   func(m *mail.Message) { m.Subject += "\r\n\r\nhello eve@example.com" },
		"a NUL":                      func(m *mail.Message) { m.Subject += "\x00eve@example.com" },
		"a header after the address": func(m *mail.Message) { m.To += "\r\nBcc: eve@example.com" },
		"two addresses":              func(m *mail.Message) { m.To += ", eve@example.com" },
		"a group":                    func(m *mail.Message) { m.To = "all: ada@example.com, eve@example.com;" },
		"no address":                 func(m *mail.Message) { m.To = "" },
		"half an address":            func(m *mail.Message) { m.To = "eve@example.com@" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, log := verification, &lines{}
			change(&m)
			files := outbox(t, t.TempDir(), log, m, verification)
			if len(files) != 1 {
				t.Fatalf("there are %d files", len(files))
			}
			if strings.Contains(files[0], "eve@") {
				t.Errorf("it is %q", files[0])
			}
			if logged := log.String(); !strings.Contains(logged, "a mail could not be sent") || strings.Contains(logged, secret) {
				t.Errorf("logged is %s", logged)
			}
		})
	}
}

// Whatever stands in a subject and a text comes out as it went in, but for blanks in a subject, and makes no header of
// its own.
func TestAnySubjectAndTextComeOutAsTheyWentIn(t *testing.T) {
	t.Parallel()
	known := slices.Sorted(maps.Keys(parse(t, outbox(t, t.TempDir(), &lines{}, verification)[0]).header))
	rapid.Check(t, func(r *rapid.T) {
		piece := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"Bcc: eve@example.com", ": ", "\u0085", "\u2028", "\x1b[31m", "\t", " ", ".", "=", "é", "世界", strings.Repeat("x", 300)}))
		pieces := rapid.SliceOfN(piece, 1, 6)
		drop := func(r rune) rune {
			if r == '\r' || r == '\n' || r == 0 {
				return -1
			}
			return r
		}
		m := mail.Message{
			To: "ada@example.com", Subject: "S" + strings.Map(drop, strings.Join(pieces.Draw(r, "subject"), "")) + "E",
			Text: strings.ReplaceAll(strings.Join(pieces.Draw(r, "lines"), "\n"), "\r", "") + "\n",
		}
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			r.Fatal(err)
		}
		p := parse(t, outbox(t, dir, &lines{}, m)[0])
		if got := slices.Sorted(maps.Keys(p.header)); !slices.Equal(got, known) {
			r.Fatalf("the headers are %q", got)
		}
		if p.text != m.Text {
			r.Fatalf("the text is %q, was %q", p.text, m.Text)
		}
		// Long subjects are folded at blanks, of which some are lost.
		dense := strings.NewReplacer(" ", "", "\t", "")
		if got := p.subject(t); dense.Replace(got) != dense.Replace(m.Subject) {
			r.Fatalf("the subject is %q, was %q", got, m.Subject)
		}
	})
}

// An outbox that cannot be written costs that mail, and says so without what was in it.
func TestOutboxThatCannotBeWrittenIsLogged(t *testing.T) {
	t.Parallel()
	dir, log := t.TempDir(), &lines{}
	if err := os.WriteFile(filepath.Join(dir, "outbox"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	sender, err := mail.NewSender("", dir, log.logger())
	if err != nil {
		t.Fatal(err)
	}
	if err := sender.DeliverForTest(t.Context(), verification); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("the error is %v", err)
	}
	if err := sender.Close(); err != nil {
		t.Fatal(err)
	}
}
