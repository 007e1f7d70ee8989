package revocation_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"carnet/test/harness"
)

// Every change of a project concerns everybody in its organization, so that writers who are under way are overtaken and
// begin again. However many change projects at the same time, each of them is served.
func TestCrowdThatChangesProjectsAtOnceIsServed(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Args("--no-access-log"))
	s.CreateUser("olga@example.com", "Olga")
	s.CreateOrganization("acme", "Acme", "olga@example.com", "free")
	session := s.SignIn("olga@example.com").In("acme")
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			for k := range 4 {
				body := map[string]any{"key": fmt.Sprintf("P%dX%d", i, k), "name": "A project"}
				answer, err := session.Try("POST", "/projects", body)
				if err != nil || answer.Status != http.StatusCreated {
					t.Errorf("a project: %v, %v", answer, err)
					continue
				}
				if answer, err := session.Try("POST", "/projects/"+answer.Text("id")+"/tasks", map[string]any{"title": "A task"}); err != nil || answer.Status != http.StatusCreated {
					t.Errorf("a task: %v, %v", answer, err)
				}
			}
		})
	}
	all.Wait()
}
