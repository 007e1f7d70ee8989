package mutation_test

const (
	rolesFile    = "access/role.go"
	scopesFile   = "access/scope.go"
	decideFile   = "access/access.go"
	reachFile    = "access/filter.go"
	filterFile   = "internal/db/filter.go"
	storeFile    = "internal/db/sqlite.go"
	triggersFile = "internal/db/migrations/sqlite/00002_epoch_triggers.sql"
	nodesFile    = "internal/db/migrations/sqlite/00003_nodes.sql"
	verifyFile   = "internal/verify/verify.go"
	readFile     = "internal/verify/read.go"
	cacheFile    = "internal/verify/cache.go"
	doorFile     = "internal/api/operation.go"
	createFile   = "internal/tokens/create.go"
	listFile     = "internal/tokens/list.go"
	pauseFile    = "internal/tokens/pause.go"
	overseeFile  = "internal/tokens/oversight.go"
	policyFile   = "access/policy.go"
	orgFile      = "internal/org/policy.go"
	writesFile   = "internal/work/work.go"
	agentsFile   = "internal/db/migrations/sqlite/00004_agents.sql"
	sourceFile   = "internal/work/source.go"
	toolFile     = "internal/mcp/tool.go"
	mcpGateFile  = "internal/mcp/gate.go"
	directory    = "internal/org/members.go"
)

var mutations = []mutation{
	// The tables of the rules.
	{"a member sees private projects", rolesFile, "if visibility == OrganizationVisible && given < Contributor {", "if given < Contributor {"},
	{"a member only views what the organization sees", rolesFile, "given < Contributor {\n			return Contributor", "given < Contributor {\n			return Viewer"},
	{"a guest only views", rolesFile, "case Guest:\n		return given", "case Guest:\n		return min(given, Viewer)"},
	{"a manager is no lead", rolesFile, "case Owner, Admin, Manager:\n		return Lead\n	case Member:", "case Owner, Admin:\n		return Lead\n	case Manager, Member:"},
	{"a viewer changes tasks", rolesFile, "Viewer:      PermissionSet(ProjectsRead, TasksRead, CommentsRead)", "Viewer:      PermissionSet(ProjectsRead, TasksRead, CommentsRead, TasksWrite)"},
	{"a contributor changes the project", rolesFile, "Contributor: PermissionSet(ProjectsRead,", "Contributor: PermissionSet(ProjectsWrite, ProjectsRead,"},
	{"a lead cannot delete others' comments", rolesFile, "ProjectsShare, CommentsModerate)", "ProjectsShare)"},
	{"a guest creates projects", rolesFile, "Guest:   PermissionSet(MembersRead, OrganizationRead)", "Guest:   PermissionSet(MembersRead, OrganizationRead, ProjectsCreate)"},
	{"a member administers", rolesFile, "Member:  PermissionSet(MembersRead,", "Member:  PermissionSet(OrganizationAdminister, MembersRead,"},
	{"a manager reads the audit log", rolesFile, "Manager: PermissionSet(MembersRead,", "Manager: PermissionSet(AuditRead, MembersRead,"},
	{"tasks:read writes", scopesFile, "Covers:      PermissionSet(TasksRead),", "Covers:      PermissionSet(TasksRead, TasksWrite),"},
	{"tasks:write does not read", scopesFile, "Covers:      PermissionSet(TasksRead, TasksWrite, TasksDelete),", "Covers:      PermissionSet(TasksWrite, TasksDelete),"},
	{"comments:read writes", scopesFile, "Covers:      PermissionSet(CommentsRead),", "Covers:      PermissionSet(CommentsRead, CommentsWrite),"},
	{"projects:read lists members", scopesFile, "Covers:      PermissionSet(ProjectsRead),", "Covers:      PermissionSet(ProjectsRead, MembersRead),"},

	// The decision.
	{"tokens pass where a sign-in is needed", decideFile, "if p.Interactive() {", "if p.Interactive() && c.Purpose == Agent {"},
	{"scopes are not looked at", decideFile, "if !c.Scopes.Covers().Has(p) {", "if c.Scopes.Empty() && !c.Scopes.Covers().Has(p) {"},
	{"agents do what their organization keeps from them", decideFile, "if c.Purpose == Agent && c.Withheld.Has(p) {", "if c.Purpose == Agent && c.Withheld.Len() == 0 {"},
	{"the project role is not looked at", decideFile, "if !role.Permissions().Has(p) {", "if c.Kind == SessionCaller && !role.Permissions().Has(p) {"},
	{"the organization role is not looked at", decideFile, "if !c.Role.OrganizationPermissions().Has(p) {", "if c.Role == NoRole {"},
	{"a restricted token creates projects", decideFile, "unrestrictedOnly.Has(p) && c.Projects.Restricted()", "unrestrictedOnly.Has(p) && !c.Projects.Restricted() && c.Role == NoRole"},
	{"any membership serves for any organization", decideFile, "if m.Slug == slug && m.Role != NoRole {", "if m.Role != NoRole {"},

	// The filters.
	{"the filter forgets the token's projects", reachFile, "		f.Projects = c.Projects\n", ""},
	{"members reach all projects", reachFile, "	case Member:\n		return ReachOwnAndOpen", "	case Member:\n		return ReachOrganization"},
	{"guests reach open projects", reachFile, "	case Guest:\n		return ReachOwn\n", "	case Guest:\n		return ReachOwnAndOpen\n"},
	{"the query forgets the restriction", filterFile, "if f.Projects.Restricted() {", "if f.Projects.Restricted() && f.Reach == access.ReachNothing {"},
	{"the query forgets the organization", filterFile, `conditions := []string{alias + ".organization_id = " + args.Add(f.Organization)}`, `conditions := []string{args.Add(f.Organization) + " <> ''"}`},
	{"the query takes anybody's membership", filterFile, `" AND visible.project_id = " + alias + ".id AND visible.user_id = " + args.Add(f.User) + ")"`, `" AND visible.project_id = " + alias + ".id AND " + args.Add(f.User) + " <> '')"`},
	{"tasks of deleted projects are listed", sourceFile, "s := projectsIn(f, present, now)", "s := projectsIn(f, either, now)"},
	{"comments on deleted tasks are listed", sourceFile, "s := tasksIn(f, present, now)", "s := tasksIn(f, either, now)"},
	{"guests list all members of the organization", directory, "if filter.Reach < access.ReachOwnAndOpen || filter.Projects.Restricted() {", "if filter.Projects.Restricted() {"},
	{"somebody else's token is one's own", listFile, "WHERE t.user_id = $1 AND t.id = $2", "WHERE $1 <> '' AND t.id = $2"},

	// Creation.
	{"a token takes projects that its user does not see", createFile, "if len(found) != len(set.IDs()) {", "if len(found) == 0 {"},
	{"a token takes scopes that the role lacks", createFile, "if len(lacking) > 0 && how == strict {", "if len(lacking) > 1 && how == strict {"},

	// What organizations let agents do.
	{"agents destroy whatever their organization says", policyFile, "coverable&^p.Scopes.Covers() | destructive&^p.Destructive", "coverable&^p.Scopes.Covers()"},
	{"the scopes that agents may use are not read", readFile, "Scopes: access.ScopesFromBits(row.AgentScopes)}", "Scopes: access.AllScopes()}"},
	{"agents that are off verify", readFile, "case row.AgentsOff != 0 && g.Caller.Purpose == access.Agent:", "case row.AgentsOff != 0 && row.RevokedAt.Valid:"},
	{"an agent takes scopes that the policy keeps", createFile, "if len(kept) > 0 && how == strict {", "if len(kept) > 9 && how == strict {"},
	{"agents are created where they are off", createFile, "if !policy.Enabled && how == strict {", "if !policy.Enabled && how == strict && policy.Scopes == nil {"},
	{"agents write as often as they like", writesFile, "caller.WriteRate == 0 ||", "caller.WriteRate >= 0 ||"},
	{"a change of what agents may use is not stored", orgFile, "		p.Scopes = set.Names()\n", "		_ = set\n"},
	{"a change of policy moves nothing", agentsFile, "AFTER UPDATE OF slug, name, plan, agents_off, agent_scopes, agent_destructive, agent_max_days, agent_write_rate ON", "AFTER UPDATE OF slug, name, plan ON"},

	// Oversight.
	{"personal tokens are listed as agents", overseeFile, `"t.purpose = 'agent'"}`, `"t.purpose <> ''"}`},
	{"personal tokens are overseen", overseeFile, `" AND t.purpose = 'agent'"`, `" AND t.purpose <> ''"`},
	{"agents of all organizations are listed", overseeFile, `"t.organization_id = " + args.Add(caller.Organization),`, `args.Add(caller.Organization) + " <> ''",`},
	{"agents of all organizations are overseen", overseeFile, `" WHERE t.organization_id = " + args.Add(organizationID)`, `" WHERE " + args.Add(organizationID) + " <> ''"`},
	{"all agents are a member's", overseeFile, `"t.user_id = "+args.Add(which.Member))`, `args.Add(which.Member)+" <> ''")`},
	{"names of other clients are a client's", overseeFile, "return !wanted[like] && !wanted[Family(like)]", "return len(wanted) == 0 && !wanted[Family(like)]"},
	{"owners resume what an admin paused", pauseFile, "if !paused && before.paused && !before.pausedBy(caller.UserID) {", "if !paused && before.paused && before.pausedBy(\"\") {"},
	{"owners take an admin's pause over", pauseFile, "(!paused || !overseen || t.pausedBy(caller.UserID))", "(!paused || t.pausedBy(caller.UserID))"},
	{"personal tokens are paused", pauseFile, "if before.purpose != access.Agent {", "if before.purpose != access.Agent && before.paused {"},

	// Tools.
	{"every tool is listed to everybody", toolFile, "c != nil && t != nil && t.usable(&c.caller)", "c != nil && t != nil"},
	{"a scope that a tool lacks is no challenge", mcpGateFile, "if !ok || m.Method != \"tools/call\" {", "if !ok || m.Method != \"\" {"},
	{"sessions call tools", mcpGateFile, "if err == nil && grant.Caller.Kind != access.TokenCaller {", "if err == nil && grant == nil {"},

	// Verification: state and freshness.
	{"revoked tokens verify", readFile, "if row.RevokedAt.Valid {", "if row.RevokedAt.Valid && row.PausedAt.Valid {"},
	{"expired tokens verify", verifyFile, "if g.expiresAt != 0 && now >= g.expiresAt {", "if g.expiresAt != 0 && now >= g.expiresAt+1e12 {"},
	{"tokens of suspended users verify", readFile, "case row.SuspendedAt.Valid:", "case row.SuspendedAt.Valid && row.PausedAt.Valid:"},
	{"tokens of former members verify", readFile, "case g.Caller.Role == access.NoRole:", "case g.Caller.Role == access.NoRole && row.PausedAt.Valid:"},
	{"paused tokens verify", readFile, "case row.PausedAt.Valid:", "case row.PausedAt.Valid && row.RevokedAt.Valid:"},
	{"ended sessions verify", readFile, "if row.EndedAt.Valid || row.SuspendedAt.Valid {", "if row.SuspendedAt.Valid {"},
	{"sessions of suspended users verify", readFile, "if row.EndedAt.Valid || row.SuspendedAt.Valid {", "if row.EndedAt.Valid {"},
	{"another organization's header is ignored", doorFile, "if len(named) == 1 && named[0] != c.caller.OrganizationSlug {", "if len(named) == 1 && named[0] == \"\" {"},
	{"changes do not reach the cache", storeFile, "			subscriber.Apply(epoch, changes)", "			subscriber.Apply(epoch, changes[:0])"},
	{"the cache keeps what a change touched", cacheFile, "			g.dead.Store(true)\n			c.unindex(k, g)\n			c.grants.Invalidate(k)\n		}\n	}\n}\n\n// Drop", "			_, _ = k, g\n		}\n	}\n}\n\n// Drop"},
	{"a change of role moves nothing", triggersFile, "AFTER UPDATE OF organization_id, user_id, role ON memberships", "AFTER UPDATE OF organization_id, user_id ON memberships"},
	{"a removal moves nothing", triggersFile, "CREATE TRIGGER memberships_delete AFTER DELETE ON memberships", "CREATE TRIGGER memberships_delete AFTER DELETE ON memberships WHEN OLD.user_id = ''"},
	{"a suspension moves nothing", triggersFile, "UPDATE OF name, email, email_verified_at, suspended_at ON users", "UPDATE OF name, email, email_verified_at ON users"},
	{"a revocation moves nothing", nodesFile, "expires_at, revoked_at, paused_at, resting_since ON tokens", "expires_at, paused_at, resting_since ON tokens"},
}
