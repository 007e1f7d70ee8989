package mail_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"carnet/internal/mail"
)

func numbered(n int) mail.Message {
	return mail.Message{To: "ada@example.com", Subject: fmt.Sprintf("Mail %d", n), Text: secret}
}

var errBusy = errors.New("the server is busy")

func TestDeliveryIsTriedThreeTimes(t *testing.T) {
	t.Parallel()
	for failures, arrives := range map[int]bool{0: true, 1: true, 2: true, 3: false} {
		synctest.Test(t, func(t *testing.T) {
			log, tries := &lines{}, 0
			began := time.Now()
			var at []time.Duration
			s := mail.NewSenderForTest(log.logger(), func(context.Context, string) error {
				at = append(at, time.Since(began))
				if tries++; tries <= failures {
					return errBusy
				}
				return nil
			})
			s.Post(numbered(1))
			synctest.Wait()
			time.Sleep(time.Minute) // on the bubble's clock
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			want := []time.Duration{0, mail.RetryAfter, 2 * mail.RetryAfter}[:min(failures+1, mail.Tries)]
			if !slices.Equal(at, want) {
				t.Errorf("with %d failures it was tried at %v, not %v", failures, at, want)
			}
			if logged := log.String(); arrives != (logged == "") || !arrives && !strings.Contains(logged, errBusy.Error()) || strings.Contains(logged, secret) || strings.Contains(logged, "ada@") {
				t.Errorf("with %d failures logged is %q", failures, logged)
			}
		})
	}
}

// A mail that cannot be sent stands in nobody's way.
func TestMailsGoOutInTheirOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var sent []string
		s := mail.NewSenderForTest((&lines{}).logger(), func(_ context.Context, subject string) error {
			sent = append(sent, subject)
			if subject == "Mail 1" {
				return errBusy
			}
			return nil
		})
		for n := range 4 {
			s.Post(numbered(n))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if want := []string{"Mail 0", "Mail 1", "Mail 1", "Mail 1", "Mail 2", "Mail 3"}; !slices.Equal(sent, want) {
			t.Errorf("sent is %q, not %q", sent, want)
		}
	})
}

// Posting waits for nothing, whatever the mail server does; what does not fit is dropped and logged without its content.
func TestPostingNeverWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, release, sent := &lines{}, make(chan struct{}), 0
		s := mail.NewSenderForTest(log.logger(), func(context.Context, string) error {
			<-release
			sent++
			return nil
		})
		began := time.Now()
		s.Post(numbered(0))
		synctest.Wait() // it is being sent
		var all sync.WaitGroup
		for n := range mail.QueueLimit + 5 {
			all.Go(func() { s.Post(numbered(n + 1)) })
		}
		all.Wait()
		if waited := time.Since(began); waited != 0 {
			t.Errorf("posting waited %s", waited)
		}
		if logged := log.String(); strings.Count(logged, "was dropped") != 5 || strings.Contains(logged, secret) || strings.Contains(logged, "ada@") {
			t.Errorf("logged is %q", logged)
		}
		close(release)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if sent != mail.QueueLimit+1 {
			t.Errorf("%d mails were sent", sent)
		}
	})
}

func TestClosedSenderTakesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		s := mail.NewSenderForTest((&lines{}).logger(), func(context.Context, string) error { sent++; return nil })
		var all sync.WaitGroup
		for n := range 20 {
			all.Go(func() { s.Post(numbered(n)) })
		}
		all.Go(func() { _ = s.Close() })
		all.Wait()
		before := sent
		for range 2 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		s.Post(numbered(21))
		synctest.Wait()
		if sent != before {
			t.Error("a closed sender sent a mail")
		}
	})
}

// Closing sends what is queued, but not for ever.
func TestClosingWaitsForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tried := 0
		s := mail.NewSenderForTest((&lines{}).logger(), func(ctx context.Context, _ string) error {
			tried++
			<-ctx.Done()
			return ctx.Err()
		})
		for n := range 3 {
			s.Post(numbered(n))
		}
		began := time.Now()
		if err := s.Close(); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("closing ends with %v", err)
		}
		if waited := time.Since(began); waited != mail.DrainLimit {
			t.Errorf("closing took %s", waited)
		}
		if tried == 0 || tried > 3 {
			t.Errorf("%d deliveries were tried", tried)
		}
	})
}

// silent is a mail server, over a pipe, that goes silent before the command that begins with what, and counts its
// connections.
func silent(what string, connections *int) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		*connections++
		here, there := net.Pipe()
		go func() {
			defer func() { _ = there.Close() }()
			c := &conversation{conn: there, in: bufio.NewReader(there)}
			if what != "" {
				c.greet()
				c.obey(map[string]string{what: ""})
			}
			_, _ = io.Copy(io.Discard, c.in) // until the other side gives up
		}()
		return here, nil
	}
}

// A mail server that takes a connection and then says nothing, at whatever point, costs a limited time, and its
// connections are closed.
func TestServerThatGoesSilentIsGivenUp(t *testing.T) {
	t.Parallel()
	for what, address := range map[string]string{
		"": "smtp://mail.test", "NOOP": "smtp://mail.test", "MAIL": "smtp://mail.test", "RCPT": "smtp://mail.test", "DATA": "smtp://mail.test",
		".": "smtp://mail.test", "RSET": "smtp://mail.test", "QUIT": "smtp://mail.test", "TLS": "smtps://mail.test",
	} {
		t.Run("before "+what, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { // which fails when a connection is left open
				log, connections := &lines{}, 0
				s, err := mail.NewSender(address, "", log.logger())
				if err != nil {
					t.Fatal(err)
				}
				s.DialForTest(silent(strings.TrimPrefix(what, "TLS"), &connections))
				began, took := time.Now(), what == "RSET" || what == "QUIT"
				err = s.DeliverForTest(t.Context(), verification)
				if waited := time.Since(began); waited != mail.SendTimeout || took != (err == nil) {
					t.Errorf("after %s it ends with %v", waited, err)
				}
				keepsSecrets(t, err)

				s.Post(verification)
				synctest.Wait()
				began = time.Now()
				err = s.Close()
				if waited := time.Since(began); waited != mail.DrainLimit || err == nil {
					t.Errorf("after %s closing ends with %v", waited, err)
				}
				if connections != 2 || took != (log.String() == "") {
					t.Errorf("there were %d connections, and logged is %s", connections, log)
				}
			})
		})
	}
}
