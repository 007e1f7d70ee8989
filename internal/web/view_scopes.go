package web

import (
	"fmt"
	"strings"

	"carnet/access"
)

// scopeRow is one resource of the scope picker.
type scopeRow struct {
	Resource, Title, Text, Reason string
	Levels                        []scopeLevel
}

// scopeLevel is none, read or write of a resource.
type scopeLevel struct {
	Value, Label              string
	Offered, Chosen, Disabled bool
}

// resourceWords describe the resources of the catalogue in the picker.
var resourceWords = map[string][2]string{
	"projects": {"Projects", "Read their details; write also creates, changes and deletes."},
	"tasks":    {"Tasks", "List, search, count and read; write also creates, changes and deletes."},
	"comments": {"Comments", "Read; write also comments, and edits and deletes your own."},
	"members":  {"Members", "Names, e-mail addresses and roles."},
	"audit":    {"Audit log", "What members and their tokens did."},
}

// offering says which scopes can be chosen.
type offering struct {
	role  access.Role   // that must cover them
	limit access.Scopes // that they must lie within
	why   string        // what to say of those that do not; "" where it goes without saying
	kept  access.Scopes // that can be chosen in any case
}

// refuses reports whether a scope cannot be chosen, and why.
func (o offering) refuses(scope access.Scope) (reason string, refused bool) {
	switch {
	case access.ScopeSet(scope).Within(o.kept):
		if !access.ScopeSet(scope).Within(o.limit) && o.why != "" {
			return o.why + " What it has may stay, and is refused.", false
		}
		return "", false
	case !scope.CoveredBy(o.role):
		return needsRole(scope, o.role), true
	case !access.ScopeSet(scope).Within(o.limit):
		return o.why, true
	default:
		return "", false
	}
}

// nearest returns the scope, or reading the same where only that can be chosen; ok is false where neither can.
func (o offering) nearest(scope access.Scope) (near access.Scope, ok bool) {
	if _, refused := o.refuses(scope); !refused {
		return scope, true
	}
	for _, entry := range access.Catalogue() {
		if _, refused := o.refuses(entry.Scope); !refused && !entry.Write && access.ScopeSet(entry.Scope).Within(access.ScopeSet(scope)) {
			return entry.Scope, true
		}
	}
	return scope, false
}

// withReads returns the scopes with the reads that their writes include.
func withReads(set access.Scopes) access.Scopes {
	for _, entry := range access.Catalogue() {
		if access.ScopeSet(entry.Scope).Within(set) {
			set |= access.ScopeSet(entry.Scope)
		}
	}
	return set
}

// scopeRows builds the picker: every resource of the catalogue with none, read and write. What is not on offer is shown
// and cannot be chosen.
func scopeRows(chosen access.Scopes, on offering) []scopeRow {
	var rows []scopeRow
	index := map[string]int{}
	for _, entry := range access.Catalogue() {
		at, known := index[entry.Resource]
		if !known {
			at = len(rows)
			index[entry.Resource] = at
			w := resourceWords[entry.Resource]
			rows = append(rows, scopeRow{Resource: entry.Resource, Title: w[0], Text: w[1], Levels: []scopeLevel{
				{Value: "none", Label: "none", Offered: true, Chosen: true},
				{Value: "read", Label: "read"},
				{Value: "write", Label: "write"},
			}})
		}
		row := &rows[at]
		place := 1
		if entry.Write {
			place = 2
		}
		level := &row.Levels[place]
		level.Offered = true
		var reason string
		if reason, level.Disabled = on.refuses(entry.Scope); reason != "" && row.Reason == "" {
			row.Reason = reason
			if reason == on.why && entry.Write && !row.Levels[1].Disabled && row.Levels[1].Offered {
				row.Reason = "The organization lets agents read this, and not write it."
			}
		}
		if chosen.Has(entry.Scope) && !level.Disabled {
			for i := range row.Levels {
				row.Levels[i].Chosen = i == place
			}
		}
	}
	return rows
}

func needsRole(scope access.Scope, role access.Role) string {
	var names []string
	for _, r := range scope.Roles() {
		names = append(names, r.String())
	}
	need := strings.Join(names, " or ")
	if role == access.NoRole {
		return "Needs the role " + need + "."
	}
	return fmt.Sprintf("Needs the role %s; you are %s.", need, withArticle(role.String()))
}
