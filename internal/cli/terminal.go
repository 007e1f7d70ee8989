package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
	"unicode"

	"golang.org/x/term"

	"carnet/token"
)

// Terminal is everything that a command touches besides its arguments: the streams, the person, the environment, the
// clock and the network. [NewTerminal] returns the real one; tests make their own.
type Terminal struct {
	In  io.Reader
	Out io.Writer // results
	Err io.Writer // everything else that people read

	Interactive bool // a person sits in front of In and can be asked
	Screen      bool // Out is a terminal, so that what goes there is dressed for people
	Colour      bool // Err and Out understand colours, and the person did not decline them

	Secret    func(ctx context.Context) (string, error) // reads a line from the person without echo
	Getenv    func(string) string
	ConfigDir string // where sessions are kept; "" when the system names no such folder
	Now       func() time.Time
	HTTP      http.RoundTripper
	Version   string // of this program

	lines *bufio.Reader
}

// NewTerminal returns the process's own terminal. version is that of the program.
func NewTerminal(version string) *Terminal {
	in, out, errs := int(os.Stdin.Fd()), int(os.Stdout.Fd()), int(os.Stderr.Fd())
	configDir, err := os.UserConfigDir()
	if err == nil {
		configDir = filepath.Join(configDir, "carnet")
	}
	return &Terminal{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Interactive: term.IsTerminal(in) && term.IsTerminal(errs),
		Screen:      term.IsTerminal(out),
		Colour:      term.IsTerminal(out) && term.IsTerminal(errs) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb",
		Secret:      func(ctx context.Context) (string, error) { return readSecret(ctx, in) },
		Getenv:      os.Getenv,
		ConfigDir:   configDir,
		Now:         time.Now,
		HTTP:        http.DefaultTransport,
		Version:     version,
	}
}

// readSecret reads a line without echo. The reading itself cannot be interrupted, so it happens aside, and the
// terminal is put back as it was when the person gives up.
func readSecret(ctx context.Context, fd int) (string, error) {
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("read the terminal's state: %w", err)
	}
	type line struct {
		text []byte
		err  error
	}
	read := make(chan line, 1)
	go func() {
		text, err := term.ReadPassword(fd)
		read <- line{text, err}
	}()
	select {
	case l := <-read:
		return string(l.text), l.err
	case <-ctx.Done():
		_ = term.Restore(fd, before)
		return "", ctx.Err()
	}
}

// note writes a line for people to standard error.
func (t *Terminal) note(format string, args ...any) {
	_, _ = fmt.Fprintln(t.Err, printable(fmt.Sprintf(format, args...)))
}

// ask shows a prompt and reads a line. What a person leaves empty becomes the fallback.
func (t *Terminal) ask(prompt, fallback string) (string, error) {
	if fallback != "" {
		prompt += " [" + fallback + "]"
	}
	_, _ = fmt.Fprint(t.Err, printable(prompt)+": ")
	answer, err := t.line()
	if err != nil {
		return "", err
	}
	if answer = strings.TrimSpace(answer); answer == "" {
		return fallback, nil
	}
	return answer, nil
}

// askSecret shows a prompt and reads a line without echo.
func (t *Terminal) askSecret(ctx context.Context, prompt string) (string, error) {
	_, _ = fmt.Fprint(t.Err, printable(prompt)+": ")
	secret, err := t.Secret(ctx)
	_, _ = fmt.Fprintln(t.Err)
	if err != nil {
		return "", fmt.Errorf("read from the terminal: %w", err)
	}
	return secret, nil
}

// maxLine bounds what is read from standard input as one line: longer than any password or value.
const maxLine = 4096

// line reads one line from standard input, without its end.
func (t *Terminal) line() (string, error) {
	if t.lines == nil {
		t.lines = bufio.NewReaderSize(t.In, maxLine)
	}
	line, err := t.lines.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", Usage("The line on standard input is too long.")
	case errors.Is(err, io.EOF) && len(line) == 0:
		return "", Usage("Nothing came on standard input.")
	case err != nil && !errors.Is(err, io.EOF):
		return "", fmt.Errorf("read standard input: %w", err)
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}

// printJSON writes one JSON document to standard output, indented for people and machines alike.
func (t *Terminal) printJSON(v any) error {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	return t.print(printableJSON(b.String()))
}

func (t *Terminal) print(text string) error {
	if _, err := io.WriteString(t.Out, text); err != nil {
		return fmt.Errorf("write to standard output: %w", err)
	}
	return nil
}

// The colours in use, as SGR parameters.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	faint  = "2"
)

func (t *Terminal) paint(colour, text string) string {
	if !t.Colour {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// printable returns text with everything that a terminal would obey rather than show written as \uXXXX: control
// characters, and those that reorder what people read (Trojan Source, CVE-2021-42574). Line breaks count: a server must
// not be able to forge a line of ours.
func printable(text string) string { return escape(text, obeyed) }

// printableJSON is printable for a JSON document, whose own line breaks stay. The result is the same JSON: inside a
// string, where alone such characters stand, \uXXXX means the character itself.
func printableJSON(text string) string {
	return escape(text, func(r rune) bool { return obeyed(r) && r != '\n' })
}

func obeyed(r rune) bool {
	return unicode.IsControl(r) || r == 0x200e || r == 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0xfeff
}

func escape(text string, escaped func(rune) bool) string {
	text = strings.ToValidUTF8(text, "\ufffd")
	if !strings.ContainsFunc(text, escaped) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if escaped(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

var values = regexp.MustCompile(token.Pattern)

// redact replaces every credential in text by its prefix, which may be shown.
func redact(text string) string {
	return values.ReplaceAllStringFunc(text, func(value string) string { return value[:token.PrefixLength] + "_…" })
}
