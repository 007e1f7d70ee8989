// Package durability_test kills, starves and breaks the ordinary program under load, and then looks whether everything
// that it acknowledged is still there, and nothing is half there.
package durability_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"carnet/test/harness"
)

const (
	owner        = "maya@example.com"
	organization = "northwind"
)

// start runs a server with an owner, an organization and a project.
func start(t *testing.T, options ...harness.Option) (s *harness.Server, session *harness.Client, project string) {
	t.Helper()
	options = append(options, harness.Args("--no-access-log", "--token-limit", "1000000", "--sign-in-limit", "100000"))
	s = harness.Start(t, options...)
	s.CreateUser(owner, "Maya Lindqvist")
	s.CreateOrganization(organization, "Northwind Studio", owner, "team")
	session = s.SignIn(owner).In(organization)
	return s, session, session.CreateProject("APP", "The app", "organization")
}

// P12 and incident classes Life and Once: what was acknowledged survives a kill at any moment, what was not is there
// whole or not at all.
func TestWhatWasAcknowledgedSurvivesKill9(t *testing.T) {
	t.Parallel()
	s, session, project := start(t)
	var total harness.Tally
	n := harness.Rounds(8, 100)
	for round := range n {
		w := &harness.Witness{Sessions: []*harness.Client{session}, Organization: organization, Project: project, Round: round}
		w.Work()
		// From before the first answer to well into the load; checkpoints run meanwhile, too.
		time.Sleep(time.Duration(5+rand.IntN(600)) * time.Millisecond)
		s.Kill()
		w.Stop()
		s.Run()
		w.Check(t, session)
		total.Add(w)
		if t.Failed() {
			t.Fatalf("round %d of %d", round+1, n)
		}
	}
	t.Logf("%d kills; acknowledged and found: %s", n, &total)
	if !total.Everything() {
		t.Error("the kills came too early to show anything")
	}
	s.Stop()
	intact(t, s.Dir)
}
