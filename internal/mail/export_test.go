package mail

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"

	gomail "github.com/wneessen/go-mail"
)

// The limits that tests wait for, on a clock of theirs.
const (
	SendTimeout = sendTimeout
	DrainLimit  = drainLimit
	QueueLimit  = queueLimit
	Tries       = tries
	RetryAfter  = retryAfter
)

// DeliverForTest sends a message at once and a single time.
func (s *Sender) DeliverForTest(ctx context.Context, m Message) error {
	rendered, err := s.render(m)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	return s.deliver(limited, m, rendered)
}

// TLSForTest sets how connections to the mail server are secured. Call it before anything is posted.
func (s *Sender) TLSForTest(c *tls.Config) {
	t := s.transport.(smtp)
	t.tls = c
	s.transport = t
}

// DialForTest sets how the mail server is reached. Call it before anything is posted.
func (s *Sender) DialForTest(dial func(ctx context.Context, network, address string) (net.Conn, error)) {
	t := s.transport.(smtp)
	t.dial = dial
	s.transport = t
}

// NewSenderForTest returns a sender that hands each message's text to deliver.
func NewSenderForTest(log *slog.Logger, deliver func(ctx context.Context, subject string) error) *Sender {
	s := newSender(log)
	s.transport = fake(deliver)
	s.start()
	return s
}

type fake func(ctx context.Context, subject string) error

func (f fake) deliver(ctx context.Context, m *gomail.Msg) error {
	return f(ctx, m.GetGenHeader(gomail.HeaderSubject)[0])
}
