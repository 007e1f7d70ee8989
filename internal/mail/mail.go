// Package mail sends messages: by SMTP, or into files of an outbox folder where no mail server is configured.
//
// A message is handed over with [Sender.Post], which returns at once: whether and how fast a message goes out must not
// show in the answer to the request that caused it, or strangers could tell known addresses from unknown ones. One
// goroutine sends what is queued; [Sender.Close] waits for it.
package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/mail"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	gomail "github.com/wneessen/go-mail"

	"carnet/internal/id"
)

// Message is a mail to one person, in plain text.
type Message struct {
	To      string // an e-mail address
	Subject string
	Text    string
}

// Limits of sending.
const (
	queueLimit  = 1000 // messages that wait
	sendTimeout = 30 * time.Second
	drainLimit  = 15 * time.Second // how long Close waits for what is queued
	tries       = 3
	retryAfter  = 2 * time.Second
	codeLeast   = 12 // how long a word is that may be a code
)

// transport puts a rendered message on its way.
type transport interface {
	deliver(ctx context.Context, m *gomail.Msg) error
}

// Sender sends messages, in the order in which they were posted. It is safe for concurrent use.
type Sender struct {
	transport transport
	from      string
	domain    string
	log       *slog.Logger

	mu     sync.Mutex // guards closed, and that nothing is queued after it
	closed bool
	queue  chan Message
	done   chan struct{}
	stop   context.CancelFunc
}

// NewSender returns a sender for an address such as smtp://user:password@mail.example.com:587?from=carnet@example.com
// (smtps:// for TLS from the start; smtp:// uses STARTTLS where the server offers it, and insists on it when there is a
// password). With an empty address it writes messages as .eml files into the folder outbox below dir.
func NewSender(address, dir string, log *slog.Logger) (*Sender, error) {
	s := newSender(log)
	if address == "" {
		s.transport = outbox{dir: filepath.Join(dir, "outbox"), log: log}
	} else if err := s.useSMTP(address); err != nil {
		return nil, err
	}
	s.start()
	return s, nil
}

func newSender(log *slog.Logger) *Sender {
	return &Sender{from: "carnet@localhost", domain: "localhost", log: log, queue: make(chan Message, queueLimit), done: make(chan struct{})}
}

func (s *Sender) start() {
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go s.run(ctx)
}

// CheckURL says what is wrong with an address for [NewSender], nil when nothing is.
func CheckURL(address string) error {
	if address == "" {
		return nil
	}
	return new(Sender).useSMTP(address)
}

// Post queues a message. One that does not fit any more is dropped, and logged without its content: whoever waits for
// it can ask for another.
func (s *Sender) Post(m Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	select {
	case s.queue <- m:
	default:
		s.log.Error("a mail was dropped, because too many are waiting", "subject", m.Subject)
	}
}

// Close sends what is queued, for a while, and ends the sender. It is safe to call twice.
func (s *Sender) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.queue)
	}
	s.mu.Unlock()
	defer s.stop()
	select {
	case <-s.done:
		return nil
	case <-time.After(drainLimit):
		s.stop()
		<-s.done
		return errors.New("some mails could not be sent before the end")
	}
}

func (s *Sender) run(ctx context.Context) {
	defer close(s.done)
	for m := range s.queue {
		if err := s.send(ctx, m); err != nil {
			s.log.Error("a mail could not be sent", "subject", m.Subject, "error", err)
		}
	}
}

func (s *Sender) send(ctx context.Context, m Message) error {
	message, err := s.render(m)
	if err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		limited, cancel := context.WithTimeout(ctx, sendTimeout)
		err = s.deliver(limited, m, message)
		cancel()
		if err == nil || attempt == tries || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(retryAfter):
		case <-ctx.Done():
		}
	}
}

// deliver tries once. Some servers repeat in their refusal what they refuse, and the error goes into the log: it keeps
// nothing that the text says, where the links have their codes.
func (s *Sender) deliver(ctx context.Context, m Message, rendered *gomail.Msg) error {
	err := s.transport.deliver(ctx, rendered)
	if err == nil {
		return nil
	}
	kept := err.Error()
	for _, word := range strings.FieldsFunc(m.Text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		if len(word) >= codeLeast {
			kept = strings.ReplaceAll(kept, word, "…")
		}
	}
	if kept == err.Error() {
		return err
	}
	return errors.New(kept)
}

func (s *Sender) render(m Message) (*gomail.Msg, error) {
	if strings.ContainsAny(m.To+m.Subject, "\r\n\x00") {
		return nil, errors.New("an address or subject with a line break")
	}
	message := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	if err := message.FromFormat("Carnet", s.from); err != nil {
		return nil, fmt.Errorf("set the sender: %w", err)
	}
	if err := message.To(m.To); err != nil {
		return nil, errors.New("set the recipient: not an address that mail can be sent to")
	}
	message.Subject(m.Subject)
	message.SetDate()
	message.SetMessageIDWithValue(id.New("msg") + "@" + s.domain) // the library's own would name this machine
	message.SetGenHeader("Auto-Submitted", "auto-generated")
	message.SetBodyString(gomail.TypeTextPlain, m.Text)
	return message, nil
}

// outbox writes messages into files.
type outbox struct {
	dir string
	log *slog.Logger
}

func (o outbox) deliver(_ context.Context, m *gomail.Msg) error {
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return fmt.Errorf("make the outbox: %w", err)
	}
	// The name sorts by time and tells nothing; ".eml" appears only once the message is whole.
	path := filepath.Join(o.dir, time.Now().UTC().Format("20060102T150405.000000000")+"-"+id.New("msg")[4:12]+".eml")
	file, err := os.OpenFile(path+".partial", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("make a file in the outbox: %w", err)
	}
	_, err = m.WriteTo(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("write a file in the outbox: %w", err)
	}
	if err := os.Rename(path+".partial", path); err != nil {
		return fmt.Errorf("finish a file in the outbox: %w", err)
	}
	o.log.Info("a mail was written to the outbox, because no mail server is configured", "file", path)
	return nil
}

// smtp sends messages to a mail server.
type smtp struct {
	host     string
	options  []gomail.Option
	implicit bool // TLS from the start
	tls      *tls.Config
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
}

// deliver holds the connection itself, because the library looks at ctx only until it is connected, and leaves a
// connection open on which it came to nothing.
func (t smtp) deliver(ctx context.Context, m *gomail.Msg) error {
	letGo := func() {}
	defer func() { letGo() }()
	dial := func(dialing context.Context, network, address string) (net.Conn, error) {
		conn, err := t.dial(dialing, network, address)
		if err != nil {
			return nil, err
		}
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		letGo = func() {
			stop()
			_ = conn.Close()
		}
		if !t.implicit {
			return conn, nil
		}
		secured := tls.Client(conn, t.tls)
		if err := secured.HandshakeContext(dialing); err != nil {
			return nil, err
		}
		return secured, nil
	}
	client, err := gomail.NewClient(t.host, append(slices.Clip(t.options), gomail.WithTLSConfig(t.tls), gomail.WithDialContextFunc(dial))...)
	if err != nil {
		return fmt.Errorf("prepare the mail server: %w", err)
	}
	err = client.DialAndSendWithContext(ctx, m)
	if err != nil && !m.IsDelivered() { // once the server took it, a rude good-bye is no reason to send it again
		return fmt.Errorf("hand a mail to the mail server: %w", err)
	}
	return nil
}

func (s *Sender) useSMTP(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.Scheme != "smtp" && u.Scheme != "smtps" {
		// The address may hold a password, so it is not repeated.
		return errors.New("the mail server's address must look like smtp://mail.example.com:587 or smtps://mail.example.com")
	}
	password, authenticates := u.User.Password()
	options := []gomail.Option{gomail.WithTimeout(sendTimeout), gomail.WithHELO("carnet")}
	switch {
	case u.Scheme == "smtps":
		// To the library this is a connection that turns out to be encrypted: it asks for no more.
		options = append(options, gomail.WithTLSPolicy(gomail.TLSOpportunistic), gomail.WithPort(gomail.DefaultPortSSL))
	case authenticates:
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	default:
		options = append(options, gomail.WithTLSPolicy(gomail.TLSOpportunistic))
	}
	if text := u.Port(); text != "" {
		port, err := strconv.Atoi(text)
		if err != nil {
			return errors.New("the mail server's port must be a number")
		}
		options = append(options, gomail.WithPort(port))
	}
	if authenticates {
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(u.User.Username()), gomail.WithPassword(password))
	}
	if _, err := gomail.NewClient(u.Hostname(), options...); err != nil {
		return fmt.Errorf("prepare the mail server: %w", err)
	}
	s.domain, s.from = u.Hostname(), "carnet@"+u.Hostname()
	if from := u.Query().Get("from"); from != "" {
		parsed, err := mail.ParseAddress(from)
		if err != nil {
			return errors.New("the from of the mail server's address must be an e-mail address")
		}
		s.from = parsed.Address
		s.domain = parsed.Address[strings.LastIndexByte(parsed.Address, '@')+1:]
	}
	s.transport = smtp{
		host: u.Hostname(), options: options, implicit: u.Scheme == "smtps", tls: &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12},
		dial: new(net.Dialer).DialContext,
	}
	return nil
}

var _ io.Closer = (*Sender)(nil)
