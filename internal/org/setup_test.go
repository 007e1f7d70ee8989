package org_test

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carnet/internal/org"
	"carnet/internal/problem"
)

// link asks for a set-up link and returns its code.
func (w *world) link() string {
	w.t.Helper()
	link, ok, err := w.org.SetupLink(w.t.Context())
	if err != nil || !ok {
		w.t.Fatalf("no set-up link: %v", err)
	}
	u, err := url.Parse(link)
	if err != nil || !strings.HasPrefix(link, "https://carnet.example/setup?code=") {
		w.t.Fatalf("the link is %s", link)
	}
	return u.Query().Get("code")
}

func setup(code string) org.Setup {
	return org.Setup{Code: code, Name: "Ada", Email: "ada@example.com", Password: "correct horse battery", OrganizationName: "Acme", Slug: "acme"}
}

func TestSetUpMakesTheFirstOwnerAndOrganization(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		code := w.link()
		wrong := setup(code)
		wrong.Slug, wrong.OrganizationName = "A", ""
		_, err := w.org.SetUp(t.Context(), wrong)
		fieldsAre(t, err, "body.slug", "body.organization_name")
		wrong = setup(code)
		wrong.Password = "short"
		_, err = w.org.SetUp(t.Context(), wrong)
		fieldsAre(t, err, "body.password")
		wrong.Code = "made up"
		_, err = w.org.SetUp(t.Context(), wrong)
		want(t, "a made-up code with a bad password", err, problem.CodeInvalid)
		user, err := w.org.SetUp(t.Context(), setup(code)) // none of this used the code up
		if err != nil {
			t.Fatal(err)
		}
		if n := w.count(`SELECT count(*) FROM memberships m JOIN organizations o ON o.id = m.organization_id WHERE m.user_id = $1 AND m.role = 'owner' AND o.slug = 'acme' AND o.name = 'Acme'`, user); n != 1 {
			t.Error("the user does not own the organization")
		}
		again := setup(code)
		again.Email, again.Slug = "ben@example.com", "beta"
		_, err = w.org.SetUp(t.Context(), again)
		want(t, "the same link again", err, problem.CodeInvalid)
		if link, ok, err := w.org.SetupLink(t.Context()); ok || link != "" || err != nil {
			t.Errorf("with a user there is a link: %q, %v", link, err)
		}
		if actions := w.actions(); len(actions) != 2 || !strings.HasPrefix(actions[0], fmt.Sprintf("account.created by %q", user)) || !strings.HasPrefix(actions[1], fmt.Sprintf("organization.created by %q", user)) {
			t.Errorf("recorded %v", actions)
		}
	})
}

func TestSetupLinkDiesAfterAnHour(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		code := w.link()
		w.pass(org.SetupLife - time.Second)
		if err := w.accounts.CheckCode(t.Context(), "setup", code); err != nil {
			t.Errorf("within the hour: %v", err)
		}
		w.pass(time.Second)
		_, err := w.org.SetUp(t.Context(), setup(code))
		want(t, "after an hour", err, problem.CodeInvalid)
	})
}

func TestNewSetupLinkVoidsTheFormer(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		former, current := w.link(), w.link()
		_, err := w.org.SetUp(t.Context(), setup(former))
		want(t, "the former link", err, problem.CodeInvalid)
		_, err = w.org.SetUp(t.Context(), setup(current))
		want(t, "the current link", err, "")
	})
}

func TestSetupLinkDiesWhenThereIsAnyUser(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		code := w.link()
		w.user("someone")
		_, err := w.org.SetUp(t.Context(), setup(code))
		want(t, "with a user", err, problem.CodeInvalid)
		if n := w.count(`SELECT count(*) FROM users`); n != 1 {
			t.Errorf("%d users", n)
		}
	})
}

func TestSetUpIsAllOrNothing(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.exec(`INSERT INTO organizations (id, slug, name, plan, created_at) VALUES ('org_x', 'acme', 'x', 'free', 1)`)
		code := w.link()
		_, err := w.org.SetUp(t.Context(), setup(code))
		want(t, "a slug that is taken", err, problem.Conflict)
		if n := w.count(`SELECT count(*) FROM users`); n != 0 {
			t.Errorf("%d users without an organization", n)
		}
		other := setup(code)
		other.Slug = "other"
		_, err = w.org.SetUp(t.Context(), other)
		want(t, "the same link with another slug", err, "")
	})
}

func TestOfManyWhoSetUpAtOnceOneDoes(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		code := w.link()
		var racing sync.WaitGroup
		var won atomic.Int64
		start := make(chan struct{})
		for i := range 64 {
			racing.Go(func() {
				<-start
				input := setup(code)
				input.Email, input.Slug = fmt.Sprintf("ada%d@example.com", i), fmt.Sprintf("acme-%d", i)
				_, err := w.org.SetUp(t.Context(), input)
				switch {
				case err == nil:
					won.Add(1)
				case problem.Is(err, problem.CodeInvalid):
				case problem.Is(err, problem.RateLimited): // a busy machine hashes only so many passwords
				default:
					t.Error(err)
				}
			})
		}
		close(start)
		racing.Wait()
		if users, organizations := w.count(`SELECT count(*) FROM users`), w.count(`SELECT count(*) FROM organizations`); won.Load() != 1 || users != 1 || organizations != 1 {
			t.Errorf("%d won, %d users, %d organizations", won.Load(), users, organizations)
		}
	})
}
