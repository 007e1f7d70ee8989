package contract_test

import (
	"slices"
	"strings"
	"testing"

	"carnet/token"
)

// described is what the document says of an operation.
func (d *document) described(r route) map[string]any {
	paths, _ := d.raw["paths"].(map[string]any)
	item, _ := paths[r.path].(map[string]any)
	operation, _ := item[strings.ToLower(r.method)].(map[string]any)
	return operation
}

// takes reports whether the document names a header among an operation's parameters.
func takes(operation map[string]any, header string) bool {
	parameters, _ := operation["parameters"].([]any)
	return slices.ContainsFunc(parameters, func(p any) bool {
		parameter, _ := p.(map[string]any)
		return parameter["in"] == "header" && parameter["name"] == header
	})
}

// everywhere: what the contract says of all routes holds on each route that the document knows.
func (w *world) everywhere(t *testing.T) {
	all := []string{"projects:write", "tasks:write", "comments:write", "members:read", "audit:read"}
	_, mighty := w.issue(t, w.owner, nil, all...)
	_, audits := w.issue(t, w.owner, nil, "audit:read")
	bodies := map[string]any{}
	for _, route := range w.writes() {
		fields, _ := route.body.(string)
		if r := w.document.find(route.method, "/api/v1"+route.path); r != nil {
			bodies[r.method+r.path] = "{" + fields + "}"
		}
	}
	comment := w.made(t, w.owner, "/tasks/"+w.task+"/comments", map[string]any{"body": "Stays."})
	session := w.get(t, w.member, "/account/sessions").text(t, "items", 0, "id")

	var attempts []attempt
	tokens, people := 0, 0
	for _, r := range w.document.routes {
		actual := map[string]string{"/projects": w.project, "/tasks": w.task, "/comments": comment, "/tokens": w.tokenID, "/account/sessions": session}
		before, _, _ := strings.Cut(r.path, "/{")
		c := attempt{method: r.method, path: strings.NewReplacer("{id}", actual[before], "{slug}", ours, "{user_id}", w.memberID, "{token_id}", w.agentID).Replace(r.path), body: bodies[r.method+r.path]}
		add := func(name string, as who, status int, code string, headers ...string) {
			c := c
			c.name, c.as, c.status, c.code, c.headers = r.method+" "+r.path+": "+name, as, status, code, headers
			attempts = append(attempts, c)
		}
		if r.method != "GET" {
			add("from another site", w.owner, 403, "cross_origin", "Sec-Fetch-Site", "cross-site", "Origin", "https://"+mark+".example")
			add("from another site, in an old browser", w.owner, 403, "cross_origin", "Origin", "https://"+mark+".example")
			add("from a page without an origin", w.owner, 403, "cross_origin", "Origin", "null")
		}
		operation := w.document.described(r)
		security, _ := operation["security"].([]any)
		forTokens := slices.ContainsFunc(security, func(s any) bool { scheme, _ := s.(map[string]any); return scheme["token"] != nil })
		forSessions := slices.ContainsFunc(security, func(s any) bool { scheme, _ := s.(map[string]any); return scheme["session"] != nil })
		if !forTokens && !forSessions {
			continue
		}
		add("nobody", who{organization: ours}, 401, "credential_missing")
		add("an unknown token", who{token.Mint(token.Agent).Reveal(), ours}, 401, "token_invalid")
		add("two credentials", who{organization: ours}, 401, "token_invalid", "Authorization", "Bearer "+w.owner.credential, "Authorization", "Bearer "+w.owner.credential)
		if forTokens {
			tokens++
			if scopes, _ := operation["x-carnet-scopes"].([]any); len(scopes) > 0 {
				add("a token without the scope", who{credential: audits}, 403, "scope_missing")
			}
		} else {
			people++
			add("a token with every scope", who{credential: mighty}, 403, "signin_required")
		}
		if takes(operation, "Carnet-Organization") {
			if forTokens {
				add("a token in another organization", who{mighty, theirs}, 404, "not_found")
				add("a session without an organization", w.owner.without(), 400, "organization_required")
			}
			add("a session in another organization", who{w.owner.credential, theirs}, 404, "not_found")
		}
		if takes(operation, "Idempotency-Key") {
			add("a key that is too long", w.owner, 422, "validation_failed", "Idempotency-Key", strings.Repeat("k", 256))
		}
		if takes(operation, "If-Match") {
			add("a version that never was", w.owner, 412, "version_stale", "If-Match", `"12345"`)
		}
	}
	if tokens < 15 || people < 15 {
		t.Fatalf("only %d routes for tokens and %d for people were found", tokens, people)
	}
	w.refuse(t, attempts)
}
