package mail_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"carnet/internal/mail"
)

const smtpPassword = "hunter2-and-more"

// received is a message as a mail server took it.
type received struct {
	from, user, helo string
	to               []string
	secured          bool
	parsed
}

// server is a real mail server that keeps what it takes.
type server struct {
	address string
	mu      sync.Mutex
	mails   []received
}

func (s *server) all() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mails
}

// serve starts a mail server on this machine. With a certificate it offers STARTTLS, or TLS from the start when implicit.
func serve(t *testing.T, certificate *tls.Certificate, implicit bool) *server {
	t.Helper()
	s := &server{}
	running := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &session{t: t, server: s, conn: c}, nil
	}))
	running.Domain, running.ErrorLog = "mail.test", quiet{}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = listener.Addr().String()
	if certificate != nil {
		running.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*certificate}, MinVersion: tls.VersionTLS12}
	}
	if implicit {
		listener = tls.NewListener(listener, running.TLSConfig)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = running.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = running.Close()
		<-done
	})
	return s
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// session is one connection to the server.
type session struct {
	t      *testing.T
	server *server
	conn   *smtp.Conn
	mail   received
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "carnet" || password != smtpPassword {
			return errors.New("who are you?")
		}
		s.mail.user = user
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	_, secured := s.conn.TLSConnectionState()
	s.mail.from, s.mail.helo, s.mail.secured = from, s.conn.Hostname(), secured
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.mail.to = append(s.mail.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.mail.parsed = parse(s.t, string(content))
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.mails = append(s.server.mails, s.mail)
	return nil
}

func (s *session) Reset()        {}
func (s *session) Logout() error { return nil }

// certify makes a certificate for this machine and the pool that vouches for it.
func certify(t *testing.T) (*tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// sender returns a sender for the address that trusts the pool.
func sender(t *testing.T, address string, log *lines, pool *x509.CertPool) *mail.Sender {
	t.Helper()
	s, err := mail.NewSender(address, t.TempDir(), log.logger())
	if err != nil {
		t.Fatal(err)
	}
	if pool != nil {
		s.TLSForTest(&tls.Config{RootCAs: pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12})
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the sender: %v", err)
		}
	})
	return s
}

func TestMailServerTakesWhatWasPosted(t *testing.T) {
	t.Parallel()
	server, log := serve(t, nil, false), &lines{}
	s := sender(t, "smtp://"+server.address+"?from=no-reply@carnet.example", log, nil)
	s.Post(verification)
	second := verification
	second.To, second.Subject = "eve@example.com", "Zweite Nachricht: äöü"
	s.Post(second)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	mails := server.all()
	if len(mails) != 2 {
		t.Fatalf("it took %d mails: %s", len(mails), log)
	}
	for i, want := range []mail.Message{verification, second} {
		got := mails[i]
		if got.from != "no-reply@carnet.example" || len(got.to) != 1 || got.to[0] != want.To || got.helo != "carnet" || got.secured || got.user != "" {
			t.Errorf("the envelope is %+v", got)
		}
		if got.text != want.Text || got.subject(t) != want.Subject || !strings.Contains(got.header.Get("From"), "<no-reply@carnet.example>") || !strings.HasSuffix(got.header.Get("Message-Id"), "@carnet.example>") {
			t.Errorf("it says %+v", got.parsed)
		}
	}
	if log.String() != "" {
		t.Errorf("logged is %s", log)
	}
}

func TestPasswordGoesOverSecuredConnectionsOnly(t *testing.T) {
	t.Parallel()
	certificate, pool := certify(t)
	other, _ := certify(t)
	for name, c := range map[string]struct {
		server  *server
		scheme  string
		user    string
		pool    *x509.CertPool
		arrives bool
		secured bool
	}{
		"no password and no STARTTLS":               {serve(t, nil, false), "smtp", "", nil, true, false},
		"no password, STARTTLS where it is offered": {serve(t, certificate, false), "smtp", "", pool, true, true},
		"no password, nobody vouches for STARTTLS":  {serve(t, other, false), "smtp", "", nil, false, false},
		"a password and STARTTLS":                   {serve(t, certificate, false), "smtp", "carnet:" + smtpPassword + "@", pool, true, true},
		"a password and no STARTTLS":                {serve(t, nil, false), "smtp", "carnet:" + smtpPassword + "@", pool, false, false},
		"a password, nobody vouches":                {serve(t, other, false), "smtp", "carnet:" + smtpPassword + "@", nil, false, false},
		"a wrong password":                          {serve(t, certificate, false), "smtp", "carnet:wrong-and-secret@", pool, false, false},
		"TLS from the start":                        {serve(t, certificate, true), "smtps", "carnet:" + smtpPassword + "@", pool, true, true},
		"TLS from the start, nobody vouches":        {serve(t, other, true), "smtps", "carnet:" + smtpPassword + "@", nil, false, false},
		"TLS from the start where there is none":    {serve(t, nil, false), "smtps", "carnet:" + smtpPassword + "@", pool, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := sender(t, c.scheme+"://"+c.user+c.server.address, &lines{}, c.pool).DeliverForTest(t.Context(), verification)
			mails := c.server.all()
			if c.arrives != (err == nil) || c.arrives != (len(mails) == 1) {
				t.Fatalf("%d mails arrived: %v", len(mails), err)
			}
			if c.arrives && (mails[0].secured != c.secured || (mails[0].user != "") != (c.user != "") || mails[0].text != verification.Text) {
				t.Errorf("it arrived as %+v", mails[0])
			}
			keepsSecrets(t, err)
		})
	}
}

// keepsSecrets fails the test when the error holds the password of the server's address or a part of the message's text.
func keepsSecrets(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	for _, s := range []string{smtpPassword, "wrong-and-secret", secret} {
		if strings.Contains(err.Error(), s) {
			t.Errorf("the error holds %q: %v", s, err)
		}
	}
}

// talk starts a mail server that says what the script says, and returns its address and what it has heard, which may be
// asked for once the sender is done.
func talk(t *testing.T, script func(c *conversation)) (address string, heard func() string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var text strings.Builder
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer func() { _ = conn.Close() }()
				c := &conversation{conn: conn, in: bufio.NewReader(conn)}
				script(c)
				mu.Lock()
				defer mu.Unlock()
				text.WriteString(c.heard.String())
			})
		}
	})
	heard = sync.OnceValue(func() string {
		_ = listener.Close()
		all.Wait()
		return text.String()
	})
	t.Cleanup(func() { heard() })
	return listener.Addr().String(), heard
}

// conversation is the server's side of a connection.
type conversation struct {
	conn  net.Conn
	in    *bufio.Reader
	heard strings.Builder
}

func (c *conversation) say(text string) { _, _ = io.WriteString(c.conn, text+"\r\n") }

// hear reads a line; ok is false when the other side has hung up.
func (c *conversation) hear() (line string, ok bool) {
	line, err := c.in.ReadString('\n')
	c.heard.WriteString(line)
	return strings.TrimRight(line, "\r\n"), err == nil
}

// greet opens the connection, and answers the greeting with these extensions.
func (c *conversation) greet(extensions ...string) {
	c.say("220 mail.test")
	c.hear()
	for _, e := range append([]string{"mail.test"}, extensions...) {
		c.say("250-" + e)
	}
	c.say("250 8BITMIME")
}

// obey answers every command as servers do, but those that the answers list. An empty answer hangs up.
func (c *conversation) obey(answers map[string]string) {
	for {
		line, ok := c.hear()
		if !ok {
			return
		}
		command, _, _ := strings.Cut(strings.ToUpper(line), " ")
		if answer, listed := answers[command]; listed {
			if answer == "" {
				return
			}
			c.say(answer)
			continue
		}
		switch command {
		case "DATA":
			c.say("354 go on")
			for line, ok := c.hear(); ok && line != "."; line, ok = c.hear() {
			}
			end, listed := answers["."]
			if listed && end == "" {
				return
			}
			if !listed {
				end = "250 taken"
			}
			c.say(end)
		case "QUIT":
			c.say("221 bye")
			return
		default:
			c.say("250 fine")
		}
	}
}

// Whatever a mail server does, the error says so and keeps the secrets.
func TestFaultsOfTheMailServer(t *testing.T) {
	t.Parallel()
	answering := func(answers map[string]string) func(*conversation) {
		return func(c *conversation) { c.greet(); c.obey(answers) }
	}
	for name, c := range map[string]struct {
		script  func(*conversation)
		arrives bool
		says    string // what the operator needs to know
	}{
		"takes it":                        {answering(nil), true, ""},
		"hangs up at once":                {func(*conversation) {}, false, "EOF"},
		"wants nobody":                    {func(c *conversation) { c.say("554 no service") }, false, "554"},
		"speaks another protocol":         {func(c *conversation) { c.say("HTTP/1.1 400 Bad Request"); c.hear() }, false, ""},
		"refuses the greeting":            {func(c *conversation) { c.say("220 x"); c.hear(); c.say("501 no"); c.hear(); c.say("501 no") }, false, "501"},
		"refuses the sender":              {answering(map[string]string{"MAIL": "550 not you"}), false, `550 "not you`},
		"refuses the recipient":           {answering(map[string]string{"RCPT": "550 5.1.1 no such user"}), false, `550 "5.1.1 no such user`},
		"is full":                         {answering(map[string]string{"DATA": "452 full"}), false, `452 "full`},
		"refuses the text":                {answering(map[string]string{".": "554 5.7.1 spam"}), false, `554 "5.7.1 spam`},
		"repeats the text it refuses":     {answering(map[string]string{".": "554 5.7.1 blocked: https://carnet.example/verify-email?code=" + secret}), false, `554 "5.7.1 blocked`},
		"repeats the code alone":          {answering(map[string]string{".": "554 5.7.1 found <" + secret + ">"}), false, `554 "5.7.1 found`},
		"hangs up at the sender":          {answering(map[string]string{"MAIL": ""}), false, ""},
		"hangs up at the text":            {answering(map[string]string{"DATA": ""}), false, ""},
		"hangs up after the text":         {answering(map[string]string{".": ""}), false, ""},
		"hangs up after it took it":       {answering(map[string]string{"RSET": ""}), true, ""},
		"hangs up instead of a good-bye":  {answering(map[string]string{"QUIT": ""}), true, ""},
		"answers the good-bye with error": {answering(map[string]string{"QUIT": "500 what?"}), true, ""},
		"offers a STARTTLS that it lacks": {func(c *conversation) { c.greet("STARTTLS"); c.obey(map[string]string{"STARTTLS": "454 not now"}) }, false, "454"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, heard := talk(t, c.script)
			err := sender(t, "smtp://"+address, &lines{}, nil).DeliverForTest(t.Context(), verification)
			if c.arrives != (err == nil) {
				t.Errorf("it ends with %v", err)
			}
			if err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("the error is %v, and says nothing of %q", err, c.says)
			}
			keepsSecrets(t, err)
			if text := heard(); c.arrives != strings.Contains(text, secret) && !strings.Contains(name, "text") && !strings.Contains(name, "repeats") {
				t.Errorf("the server heard %q", text)
			}
		})
	}
}

// The password is for a server that proved who it is: one that cannot is told nothing, whatever it asks for.
func TestServerWithoutTLSIsNotToldThePassword(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]func(*conversation){
		"offers to log in": func(c *conversation) { c.greet("AUTH PLAIN LOGIN CRAM-MD5"); c.obey(map[string]string{"AUTH": "334 "}) },
		"says that STARTTLS is there": func(c *conversation) {
			c.greet("STARTTLS", "AUTH PLAIN LOGIN")
			c.obey(map[string]string{"STARTTLS": "454 not now"})
		},
		"begins TLS with plain text": func(c *conversation) {
			c.greet("STARTTLS", "AUTH PLAIN")
			c.obey(map[string]string{"STARTTLS": "220 go on\r\n250 fine"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, heard := talk(t, script)
			err := sender(t, "smtp://carnet:"+smtpPassword+"@"+address, &lines{}, nil).DeliverForTest(t.Context(), verification)
			if err == nil {
				t.Error("it was sent")
			}
			keepsSecrets(t, err)
			if text := heard(); strings.Contains(strings.ToUpper(text), "AUTH") || strings.Contains(text, secret) {
				t.Errorf("the server heard %q", text)
			}
		})
	}
}

func TestServerThatIsNotThere(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	err = sender(t, "smtp://carnet:"+smtpPassword+"@"+address, &lines{}, nil).DeliverForTest(t.Context(), verification)
	if err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("the error is %v", err)
	}
	keepsSecrets(t, err)
}

func TestDeliveryEndsWithItsContext(t *testing.T) {
	t.Parallel()
	address, _ := talk(t, func(c *conversation) { c.greet() })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := sender(t, "smtp://"+address, &lines{}, nil).DeliverForTest(ctx, verification); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

func TestAddressOfTheMailServerIsCheckedAndNeverRepeated(t *testing.T) {
	t.Parallel()
	for address, ok := range map[string]bool{
		"smtp://mail.example.com":                                    true,
		"smtp://mail.example.com:587":                                true,
		"smtps://carnet:" + smtpPassword + "@mail.example.com":       true,
		"smtp://carnet:" + smtpPassword + "@mail.example.com:25":     true,
		"smtp://mail.example.com?from=carnet@example.com":            true,
		"smtp://mail.example.com?from=Carnet%20%3Cc@example.com%3E":  true,
		"smtp://[::1]:25?from=carnet@example.com":                    true,
		"smtp://carnet:" + smtpPassword + "@":                        false,
		"http://carnet:" + smtpPassword + "@mail.example.com":        false,
		"carnet:" + smtpPassword + "@mail.example.com":               false,
		"mail.example.com:587":                                       false,
		"smtp://carnet:" + smtpPassword + "@mail.example.com:many":   false,
		"smtp://carnet:" + smtpPassword + "@mail.example.com:0":      false,
		"smtp://carnet:" + smtpPassword + "@mail.example.com:99999":  false,
		"smtp://carnet:" + smtpPassword + "%zz@mail.example.com":     false,
		"smtp://carnet:" + smtpPassword + "/x@mail.example.com":      false,
		"smtp://carnet:" + smtpPassword + "@mail.test?from=nonsense": false,
		" smtp://carnet:" + smtpPassword + "@mail.example.com":       false,
	} {
		s, err := mail.NewSender(address, t.TempDir(), (&lines{}).logger())
		if ok != (err == nil) {
			t.Errorf("%s: %v", address, err)
		}
		if s != nil {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		keepsSecrets(t, err)
		if err != nil && strings.Contains(err.Error(), "mail.test") {
			t.Errorf("the error repeats the address: %v", err)
		}
	}
}
