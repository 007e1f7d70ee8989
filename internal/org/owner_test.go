package org_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"carnet/internal/org"
	"carnet/internal/problem"
)

func TestLastOwnerStays(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		acme := w.found("acme", "olga owner", "otto owner", "ada admin")
		w.found("beta", "olga owner", "otto owner")
		operators := w.org.Operators()
		// A suspended owner is none who can act.
		want(t, "suspend otto", operators.SuspendUser(ctx, "otto@example.com"), "")
		olga := w.as("olga")
		want(t, "the last owner leaves", w.org.Leave(ctx, olga, "acme"), problem.Conflict)
		want(t, "the last owner removes herself", w.org.RemoveMember(ctx, olga, "acme", "usr_olga"), problem.Conflict)
		_, err := w.org.ChangeRole(ctx, olga, "acme", "usr_olga", org.RoleChange{Role: "admin"})
		want(t, "the last owner demotes herself", err, problem.Conflict)
		want(t, "an operator removes the last owner", operators.RemoveMember(ctx, "acme", "olga@example.com"), problem.Conflict)
		want(t, "an operator demotes the last owner", operators.SetRole(ctx, "acme", "olga@example.com", "guest"), problem.Conflict)
		want(t, "an operator suspends the last owner", operators.SuspendUser(ctx, "olga@example.com"), problem.Conflict)
		_, err = w.org.ChangeRole(ctx, olga, "acme", "usr_olga", org.RoleChange{Role: "owner"})
		want(t, "the last owner stays what she is", err, "")
		if w.owners(acme) != 1 {
			t.Fatalf("acme has %d owners", w.owners(acme))
		}
		want(t, "appoint ada", operators.SetRole(ctx, "acme", "ada@example.com", "owner"), "")
		want(t, "suspend olga, who is the last owner of beta", operators.SuspendUser(ctx, "olga@example.com"), problem.Conflict)
		want(t, "restore otto", operators.RestoreUser(ctx, "otto@example.com"), "")
		want(t, "suspend olga", operators.SuspendUser(ctx, "olga@example.com"), "")
		want(t, "remove olga, who is suspended", operators.RemoveMember(ctx, "acme", "olga@example.com"), "")
		want(t, "otto, whose session ended, leaves", w.org.Leave(ctx, w.as("otto"), "acme"), problem.SessionEnded)
		w.exec(`UPDATE sessions SET ended_at = NULL`) // as if he signed in again
		want(t, "otto leaves", w.org.Leave(ctx, w.as("otto"), "acme"), "")
		want(t, "ada leaves", w.org.Leave(ctx, w.as("ada"), "acme"), problem.Conflict)
	})
}

// TestOfManyOwnersWhoGoAtOnceOneStays lets 64 owners leave, be demoted, removed and suspended, all at the same time.
func TestOfManyOwnersWhoGoAtOnceOneStays(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		const owners = 64
		members := make([]string, owners)
		for i := range members {
			members[i] = fmt.Sprintf("o%d owner", i)
		}
		acme := w.found("acme", members...)
		shift := rand.IntN(4)
		var going sync.WaitGroup
		var gone, stayed atomic.Int64
		start := make(chan struct{})
		for i := range owners {
			name := fmt.Sprintf("o%d", i)
			caller, ctx := w.as(name), t.Context()
			going.Go(func() {
				<-start
				var err error
				switch (i + shift) % 4 {
				case 0:
					err = w.org.Leave(ctx, caller, "acme")
				case 1:
					_, err = w.org.ChangeRole(ctx, caller, "acme", caller.UserID, org.RoleChange{Role: "member"})
				case 2:
					err = w.org.Operators().RemoveMember(ctx, "acme", name+"@example.com")
				case 3:
					err = w.org.Operators().SuspendUser(ctx, name+"@example.com")
				}
				switch {
				case err == nil:
					gone.Add(1)
				case problem.Is(err, problem.Conflict):
					stayed.Add(1)
				default:
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		close(start)
		going.Wait()
		if gone.Load() != owners-1 || stayed.Load() != 1 || w.owners(acme) != 1 {
			t.Errorf("%d went, %d stayed, %d owners are left", gone.Load(), stayed.Load(), w.owners(acme))
		}
	})
}

// Two owners who remove each other at the same moment: the one who comes second is no owner any more.
func TestOwnersWhoRemoveEachOther(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for round := range 20 {
			slug := fmt.Sprintf("acme-%d", round)
			organization := w.found(slug, "olga owner", "otto owner")
			olga, otto := w.as("olga"), w.as("otto")
			var both sync.WaitGroup
			results := make([]error, 2)
			both.Go(func() { results[0] = w.org.RemoveMember(t.Context(), olga, slug, "usr_otto") })
			both.Go(func() { results[1] = w.org.RemoveMember(t.Context(), otto, slug, "usr_olga") })
			both.Wait()
			if (results[0] == nil) == (results[1] == nil) || w.owners(organization) != 1 {
				t.Fatalf("round %d: %v and %v, %d owners are left", round, results[0], results[1], w.owners(organization))
			}
		}
	})
}
