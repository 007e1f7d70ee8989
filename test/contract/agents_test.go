package contract_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"carnet/internal/id"
)

// agents: what an organization lets agents do, and what its admins may do with them, is refused and done as the page says.
func (w *world) agents(t *testing.T) {
	policy, agents := "/organizations/"+ours+"/agent-policy", "/organizations/"+ours+"/agents"
	agent := agents + "/" + w.agentID
	var attempts []attempt
	for body, field := range map[string]string{
		`{"enabled":null}`: "body.enabled", `{"enabled":"yes"}`: "body.enabled", `{"enabled":1}`: "body.enabled",
		`{"scopes":null}`: "body.scopes", `{"scopes":"tasks:read"}`: "body.scopes", `{"scopes":[1]}`: "body.scopes[0]", `{"scopes":[null]}`: "body.scopes[0]",
		`{"scopes":["tasks:read","` + mark + `"]}`: "body.scopes[1]", `{"scopes":["*"]}`: "body.scopes[0]", `{"scopes":["tasks:delete"]}`: "body.scopes[0]",
		`{"scopes":[` + strings.Repeat(`"tasks:read",`, 50) + `"tasks:read"]}`: "body.scopes",
		`{"destructive":null}`: "body.destructive", `{"destructive":["` + mark + `"]}`: "body.destructive[0]", `{"destructive":["tasks:write"]}`: "body.destructive[0]",
		`{"destructive":true}`:    "body.destructive",
		`{"max_lifetime_days":0}`: "body.max_lifetime_days", `{"max_lifetime_days":3661}`: "body.max_lifetime_days", `{"max_lifetime_days":1.5}`: "body.max_lifetime_days",
		`{"max_lifetime_days":"30"}`: "body.max_lifetime_days", `{"max_lifetime_days":-1}`: "body.max_lifetime_days", `{"max_lifetime_days":1e30}`: "body",
		`{"writes_per_hour":0}`: "body.writes_per_hour", `{"writes_per_hour":1000001}`: "body.writes_per_hour", `{"writes_per_hour":[]}`: "body.writes_per_hour",
	} {
		attempts = append(attempts, attempt{name: "policy " + body[:min(len(body), 60)], as: w.owner, method: "PATCH", path: policy, body: body, status: 422, code: "validation_failed", fields: []string{field}})
	}
	long := map[string]any{"reason": strings.Repeat("x", 301)}
	attempts = append(attempts, []attempt{
		{name: "several things at once", as: w.owner, method: "PATCH", path: policy, body: `{"scopes":["x"],"destructive":["y"],"writes_per_hour":0}`, status: 422, code: "validation_failed", fields: []string{"body.destructive[0]", "body.scopes[0]", "body.writes_per_hour"}},
		{name: "a member's policy", as: w.member, method: "PATCH", path: policy, body: `{"enabled":` + mark, status: 403, code: "role_insufficient"},
		{name: "a stranger's policy", as: w.stranger, method: "PATCH", path: policy, body: `{"enabled":` + mark, status: 404, code: "not_found"},
		{name: "a stranger reads the policy", as: w.stranger, method: "GET", path: policy, status: 404, code: "not_found"},
		{name: "a member lists", as: w.member, method: "GET", path: agents, status: 403, code: "role_insufficient"},
		{name: "a guest lists", as: w.guest, method: "GET", path: agents, status: 403, code: "role_insufficient"},
		{name: "a stranger lists", as: w.stranger, method: "GET", path: agents, status: 404, code: "not_found"},
		{name: "a member lists oddly", as: w.member, method: "GET", path: agents + "?state=" + mark, status: 403, code: "role_insufficient"},
		{name: "a member reads their own agent there", as: w.member, method: "GET", path: agent, status: 403, code: "role_insufficient"},
		{name: "a member pauses their own agent there", as: w.member, method: "POST", path: agent + "/pause", status: 403, code: "role_insufficient"},
		{name: "no selection", as: w.owner, method: "DELETE", path: agents, status: 400, code: "request_malformed", says: "?all=true"},
		{name: "an empty selection", as: w.owner, method: "DELETE", path: agents + "?member=&client=&all=", status: 400, code: "request_malformed"},
		{name: "not all", as: w.owner, method: "DELETE", path: agents + "?all=false", status: 400, code: "request_malformed"},
		{name: "all, oddly", as: w.owner, method: "DELETE", path: agents + "?all=yes", status: 422, code: "validation_failed", fields: []string{"query.all"}},
		{name: "two members", as: w.owner, method: "DELETE", path: agents + "?member=" + w.memberID + "&member=" + w.ownerID, status: 422, code: "validation_failed", fields: []string{"query.member"}},
		{name: "no selection, by a member", as: w.member, method: "DELETE", path: agents, status: 403, code: "role_insufficient"},
		{name: "all, and a member", as: w.owner, method: "DELETE", path: agents + "?all=true&member=usr_x", status: 400, code: "request_malformed", says: "?all=true"},
		{name: "all, by a stranger", as: w.stranger, method: "DELETE", path: agents + "?all=true", status: 404, code: "not_found"},
		{name: "all, for a long reason", as: w.owner, method: "DELETE", path: agents + "?all=true", body: long, status: 422, code: "validation_failed", fields: []string{"body.reason"}},
		{name: "one, for a long reason", as: w.owner, method: "DELETE", path: agent, body: long, status: 422, code: "validation_failed", fields: []string{"body.reason"}},
		{name: "pause, for a long reason", as: w.owner, method: "POST", path: agent + "/pause", body: long, status: 422, code: "validation_failed", fields: []string{"body.reason"}},
		{name: "pause, for two lines", as: w.owner, method: "POST", path: agent + "/pause", body: map[string]any{"reason": "a\nb"}, status: 422, code: "validation_failed", fields: []string{"body.reason"}},
		{name: "pause a personal token", as: w.owner, method: "POST", path: "/tokens/" + w.tokenID + "/pause", status: 409, code: "conflict"},
		{name: "resume a personal token", as: w.owner, method: "POST", path: "/tokens/" + w.tokenID + "/resume", status: 409, code: "conflict"},
		{name: "pause somebody else's agent as one's own", as: w.owner, method: "POST", path: "/tokens/" + w.agentID + "/pause", status: 404, code: "not_found"},
		{name: "an agent of a client of 101", as: w.owner, method: "POST", path: "/tokens", body: draft(map[string]any{"purpose": "agent", "client": strings.Repeat("x", 101)}), status: 422, code: "validation_failed", fields: []string{"body.client"}},
		{name: "a personal token of a client", as: w.owner, method: "POST", path: "/tokens", body: draft(map[string]any{"client": "Cursor"}), status: 422, code: "validation_failed", fields: []string{"body.client"}},
		{name: "an agent destroys", as: who{credential: w.agent}, method: "DELETE", path: "/tasks/" + w.task, status: 403, code: "policy_denied", says: "tasks:delete"},
		{name: "an agent destroys what is not there", as: who{credential: w.agent}, method: "DELETE", path: "/tasks/" + id.New(id.Task), status: 403, code: "policy_denied"},
		{name: "an agent destroys what its scopes do not cover", as: who{credential: w.agent}, method: "DELETE", path: "/projects/" + w.project, status: 403, code: "scope_missing"},
	}...)
	w.refuse(t, attempts)

	before := w.state(t)
	set := func(body string) *answer { return w.send(t, w.owner, "PATCH", policy, body).want(t, 200) }
	as := who{credential: w.agent}
	denied := func(what string, attempts ...attempt) {
		t.Helper()
		for i := range attempts {
			attempts[i].name, attempts[i].as, attempts[i].status = what+": "+attempts[i].method+" "+attempts[i].path, as, codes[attempts[i].code]
		}
		w.refuse(t, attempts)
	}
	task := attempt{method: "GET", path: "/tasks/" + w.task, code: "policy_denied"}
	t.Run("a policy holds for the next call", func(t *testing.T) {
		w.get(t, as, "/tasks/"+w.task)
		set(`{"scopes":["projects:read"]}`)
		denied("a scope that is kept", task, attempt{method: "GET", path: "/tasks", code: "policy_denied"})
		w.get(t, as, "/me")
		set(`{"enabled":false}`)
		denied("off", attempt{method: "GET", path: "/me", code: "policy_denied"}, task)
		w.refuse(t, []attempt{{name: "a new agent", as: w.member, method: "POST", path: "/tokens", body: draft(map[string]any{"purpose": "agent"}), status: 403, code: "policy_denied"}})
		all := fmt.Sprintf(`["%s"]`, strings.Join([]string{"projects:write", "projects:read", "tasks:read", "tasks:write", "comments:read", "comments:write", "members:read", "audit:read"}, `","`))
		a := set(`{"enabled":true,"writes_per_hour":1,"scopes":` + all + `}`)
		if a.at("enabled") != true || a.at("writes_per_hour") != 1.0 || a.at("max_lifetime_days") != nil || len(a.at("scopes").([]any)) != 8 || len(a.at("destructive").([]any)) != 0 {
			t.Errorf("the policy is %s", a.body)
		}
		made := w.send(t, as, "POST", "/projects/"+w.project+"/tasks", map[string]any{"title": "By an agent"}).want(t, 201)
		if made.at("created_by_agent") != "Scout" || made.at("created_by") != w.memberID {
			t.Errorf("what an agent made is %s", made.body)
		}
		limited(t, w.send(t, as, "POST", "/projects/"+w.project+"/tasks", map[string]any{"title": "One more"}), 1, 3601)
		w.send(t, who{credential: w.token}, "DELETE", "/tasks/"+made.text(t, "id"), nil).want(t, 204)
		set(`{"writes_per_hour":1000}`)
	})
	t.Run("pauses", func(t *testing.T) {
		a := w.send(t, w.owner, "POST", agent+"/pause", map[string]any{"reason": "A look at it."}).want(t, 200)
		if a.at("state") != "paused" || a.at("paused_by") != w.ownerID || a.at("owner", "email") != noor {
			t.Errorf("it is %s", a.body)
		}
		task.code = "token_paused"
		denied("paused", task)
		w.refuse(t, []attempt{{name: "its owner resumes it", as: w.member, method: "POST", path: "/tokens/" + w.agentID + "/resume", status: 403, code: "role_insufficient"}})
		w.send(t, w.owner, "POST", agent+"/resume", nil).want(t, 200)
		w.get(t, as, "/me")
		w.send(t, w.member, "POST", "/tokens/"+w.agentID+"/pause", nil).want(t, 200)
		denied("paused by its owner", task)
		w.send(t, w.member, "POST", "/tokens/"+w.agentID+"/resume", nil).want(t, 200)
		w.get(t, as, "/me")
	})
	deleted := func(text string) string { // the task that was made and deleted is no matter here
		lines := strings.Split(text, "\n")
		return strings.Join(slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, "/tasks?deleted=true") }), "\n")
	}
	if after := w.state(t); deleted(after) != deleted(before) {
		t.Errorf("it is not as it was:\n%s", difference(before, after))
	}
	t.Run("revocation", func(t *testing.T) {
		one, value := w.issueAgent(t, w.member)
		receipt := w.send(t, w.owner, "DELETE", agents+"/"+one, map[string]any{"reason": "Lost."}).want(t, 200)
		if receipt.at("token", "revoke_reason") != "Lost." || receipt.at("token", "revoked_by") != w.ownerID || receipt.at("took_ms") == nil {
			t.Errorf("the receipt is %s", receipt.body)
		}
		w.refuse(t, []attempt{
			{name: "revoked", as: who{credential: value}, method: "GET", path: "/me", status: 401, code: "token_revoked"},
			{name: "pause what ended", as: w.owner, method: "POST", path: agents + "/" + one + "/pause", status: 409, code: "conflict"},
			{name: "resume what ended", as: w.owner, method: "POST", path: agents + "/" + one + "/resume", status: 409, code: "conflict"},
			{name: "pause one's own that ended", as: w.member, method: "POST", path: "/tokens/" + one + "/pause", status: 409, code: "conflict"},
		})
		if again := w.send(t, w.owner, "DELETE", agents+"/"+one, nil).want(t, 200); again.at("revoked_at") != receipt.at("revoked_at") {
			t.Errorf("again: %s", again.body)
		}
		if removed := w.send(t, w.owner, "DELETE", agents+"?client="+mark, nil).want(t, 200); removed.at("revoked") != 0.0 {
			t.Errorf("of a client that is none: %s", removed.body)
		}
		if listed := w.get(t, w.owner, agents+"?state=revoked&member="+w.memberID); listed.at("items", 0, "id") != one || strings.Contains(string(listed.body), "carnet_pat_") {
			t.Errorf("listed are %s", listed.body)
		}
		if activity := w.get(t, w.owner, agents+"/"+one+"/activity"); activity.at("token", "id") != one || activity.at("calls_by_day") == nil {
			t.Errorf("what it did is %s", activity.body)
		}
	})
}
