package contract_test

import (
	"strings"
	"sync"
	"testing"
)

// owners: an organization always has an owner who can act.
func (w *world) owners(t *testing.T) {
	const kim, lee, slug = "kim@example.com", "lee@example.com", "upwind"
	w.server.CreateUser(kim, "Kim Larsen")
	w.server.CreateUser(lee, "Lee Duarte")
	w.server.CreateOrganization(slug, "Upwind", kim, "free")
	w.server.AddMember(slug, lee, "admin")
	asKim, asLee := w.signIn(t, kim, slug), w.signIn(t, lee, slug)
	idOf := func(as who) string { return w.get(t, as, "/account").text(t, "id") }
	kimID, leeID := idOf(asKim), idOf(asLee)
	members := "/organizations/" + slug + "/members"
	member := func(id string) string { return members + "/" + id }
	listed := func() string { return string(w.get(t, asKim, members).body) }
	refused := func(args ...string) {
		t.Helper()
		before := listed()
		out, errs, code := w.server.TryOperate(args...)
		if code == 0 || !strings.Contains(errs, "last owner") {
			t.Errorf("%v: exit %d\n%s%s", args, code, out, errs)
		}
		if after := listed(); after != before {
			t.Errorf("%v has changed the members to %s", args, after)
		}
	}
	alone := func(why string) {
		t.Helper()
		before := listed()
		var attempts []attempt
		for _, role := range []string{"admin", "manager", "member", "guest"} {
			attempts = append(attempts, attempt{name: why + ": becomes " + role, as: asKim, method: "PATCH", path: member(kimID), body: map[string]any{"role": role}, status: 409, code: "conflict"})
		}
		attempts = append(attempts, attempt{name: why + ": leaves", as: asKim, method: "DELETE", path: member(kimID), status: 409, code: "conflict"})
		w.refuse(t, attempts)
		refused("set-role", "--org", slug, "--email", kim, "--role", "member")
		refused("remove-member", "--org", slug, "--email", kim)
		refused("suspend-user", "--email", kim)
		if after := listed(); after != before {
			t.Errorf("%s: the members are now %s", why, after)
		}
	}
	alone("the only owner")
	w.refuse(t, []attempt{
		{name: "an admin dismisses the owner", as: asLee, method: "PATCH", path: member(kimID), body: `{"role":"member"}`, status: 403, code: "role_insufficient"},
		{name: "an admin removes the owner", as: asLee, method: "DELETE", path: member(kimID), status: 403, code: "role_insufficient"},
		{name: "an admin makes themselves owner", as: asLee, method: "PATCH", path: member(leeID), body: `{"role":"owner"}`, status: 403, code: "role_insufficient"},
		{name: "an admin adds an owner", as: asLee, method: "POST", path: members, body: map[string]any{"email": kim, "role": "owner"}, status: 403, code: "role_insufficient"},
		{name: "a role that is none", as: asKim, method: "PATCH", path: member(leeID), body: `{"role":"root"}`, status: 422, code: "validation_failed", fields: []string{"body.role"}},
		{name: "a member twice", as: asKim, method: "POST", path: members, body: map[string]any{"email": lee, "role": "member"}, status: 409, code: "conflict"},
	})

	// A second owner who is suspended does not count.
	w.send(t, asKim, "PATCH", member(leeID), `{"role":"owner"}`).want(t, 200)
	w.server.Operate("", "suspend-user", "--email", lee)
	w.refuse(t, []attempt{{name: "the suspended owner's session", as: asLee, method: "GET", path: members, status: 401, code: "session_ended"}})
	alone("the other owner is suspended")
	w.server.Operate("", "restore-user", "--email", lee)
	asLee = w.signIn(t, lee, slug)

	// Two owners who dismiss each other at the same moment: one stays.
	var done sync.WaitGroup
	statuses := make([]int, 2)
	done.Go(func() { statuses[0] = w.send(t, asKim, "PATCH", member(leeID), `{"role":"member"}`).status })
	done.Go(func() { statuses[1] = w.send(t, asLee, "PATCH", member(kimID), `{"role":"member"}`).status })
	done.Wait()
	if ok := (statuses[0] == 200) != (statuses[1] == 200); !ok || strings.Count(listed(), `"role":"owner"`) != 1 {
		t.Errorf("two owners who dismissed each other got %v, and the members are %s", statuses, listed())
	}
}
