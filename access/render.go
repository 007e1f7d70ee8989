package access

import (
	"fmt"
	"strings"
)

// meanings say to people what each permission lets them do.
var meanings = [permissionCount]string{
	ProjectsRead:           "see the project and its details",
	ProjectsWrite:          "change and restore the project",
	ProjectsDelete:         "put the project into the recycle bin",
	ProjectsShare:          "see and change who belongs to the project",
	TasksRead:              "list, search, count and read tasks",
	TasksWrite:             "create, change and restore tasks",
	TasksDelete:            "put tasks into the recycle bin",
	CommentsRead:           "read comments",
	CommentsWrite:          "write comments, and edit their own",
	CommentsDelete:         "delete their own comments",
	CommentsModerate:       "delete the comments of others",
	ProjectsCreate:         "create projects, of which they become a lead",
	MembersRead:            "see names, e-mail addresses and roles of members",
	AuditRead:              "read the audit log",
	OrganizationRead:       "see the organization itself",
	OrganizationAdminister: "change its name and its members other than owners",
	OrganizationOwn:        "appoint and dismiss owners, change the plan, delete it",
	AccountManage:          "manage their own account",
	TokensManage:           "create, list, change and revoke their own tokens",
}

// RoleTables returns the rules of this package as Markdown: who may do what in an organization and in a project, and
// what each scope lets through. It is computed from what [Decide] uses, so that the document cannot say anything else.
func RoleTables() string {
	var b strings.Builder
	b.WriteString("## Roles in an organization\n\n")
	organizationTable(&b)
	b.WriteString("\n## Roles in a project\n\n")
	projectTable(&b)
	b.WriteString("\n## What everybody may do with what is theirs\n\n")
	accountTable(&b)
	b.WriteString("\n## Scopes of a token\n\n")
	scopeTable(&b)
	return b.String()
}

func organizationTable(b *strings.Builder) {
	header, reach, acts := []string{"may"}, []string{"which projects"}, []string{"acts in them as"}
	for _, r := range Roles() {
		header = append(header, r.String())
		reach = append(reach, r.reach().words())
		acts = append(acts, actsAs(r))
	}
	writeHeader(b, header)
	writeRow(b, reach)
	writeRow(b, acts)
	for p := range permissionCount {
		if !organizationLevel.Has(p) {
			continue
		}
		row := []string{describe(p)}
		for _, r := range Roles() {
			cell := yesNo(r.OrganizationPermissions().Has(p))
			if p == MembersRead && cell == "yes" && r.reach() == ReachOwn {
				cell = "members of their projects"
			}
			row = append(row, cell)
		}
		writeRow(b, row)
	}
}

func projectTable(b *strings.Builder) {
	header := []string{"may"}
	for _, r := range ProjectRoles() {
		header = append(header, r.String())
	}
	writeHeader(b, header)
	for p := range permissionCount {
		if !projectLevel.Has(p) {
			continue
		}
		row := []string{describe(p)}
		for _, r := range ProjectRoles() {
			row = append(row, yesNo(r.Permissions().Has(p)))
		}
		writeRow(b, row)
	}
}

func accountTable(b *strings.Builder) {
	writeHeader(b, []string{"may", "signed in", "token"})
	for p := range permissionCount {
		if accountLevel.Has(p) {
			writeRow(b, []string{describe(p), "yes", yesNo(!p.Interactive())})
		}
	}
}

func scopeTable(b *strings.Builder) {
	writeHeader(b, []string{"scope", "lets the token", "permissions", "risk", "of use to"})
	for _, e := range catalogue {
		var roles []string
		for _, r := range e.Scope.Roles() {
			roles = append(roles, r.String())
		}
		writeRow(b, []string{
			"`" + e.Name + "`", e.Description, "`" + strings.Join(e.Covers.Names(), "`, `") + "`", string(e.Risk), strings.Join(roles, ", "),
		})
	}
}

// words says the reach as the organization table does.
func (r Reach) words() string {
	switch r {
	case ReachOrganization:
		return "all"
	case ReachOwnAndOpen:
		return "organization-visible ones, and those they belong to"
	case ReachOwn:
		return "those they belong to"
	default:
		return "none"
	}
}

// actsAs says what [EffectiveProjectRole] makes of an organization role.
func actsAs(r Role) string {
	alone := EffectiveProjectRole(r, Private, NoProjectRole)
	open := EffectiveProjectRole(r, OrganizationVisible, NoProjectRole)
	switch {
	case alone != NoProjectRole:
		return alone.String()
	case open != NoProjectRole:
		return "the higher of their project role and, where organization-visible, " + open.String()
	default:
		return "their project role"
	}
}

func describe(p Permission) string {
	text := fmt.Sprintf("`%s`: %s", p, meanings[p])
	if p.Interactive() {
		text += " (no token can)"
	}
	return text
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func writeHeader(b *strings.Builder, cells []string) {
	writeRow(b, cells)
	b.WriteString("|" + strings.Repeat("---|", len(cells)) + "\n")
}

func writeRow(b *strings.Builder, cells []string) {
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}
