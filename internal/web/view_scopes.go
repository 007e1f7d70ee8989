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

// scopeRows builds the picker: every resource of the catalogue with none, read and write. What lies outside the role, or
// outside the limit, is shown and cannot be chosen.
func scopeRows(chosen access.Scopes, role access.Role, limit access.Scopes) []scopeRow {
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
		level.Disabled = !access.ScopeSet(entry.Scope).Within(limit)
		if !entry.Scope.CoveredBy(role) {
			level.Disabled = true
			row.Reason = needsRole(entry.Scope, role)
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
