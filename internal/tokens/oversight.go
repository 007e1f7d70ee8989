package tokens

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"carnet/access"
	"carnet/internal/audit"
	"carnet/internal/db"
	"carnet/internal/page"
	"carnet/internal/problem"
	"carnet/internal/text"
	"carnet/internal/tokens/rows"
)

// ReasonLimit is how long what an admin says about a revocation can be, in characters.
const ReasonLimit = 300

// Overseen is a member's agent as the admins of its organization see it. General tokens are never seen so.
type Overseen struct {
	Token
	Owner      Owner `json:"owner"`
	Calls7Days int64 `json:"calls_7_days"`
}

// Owner is the member whom an agent acts for.
type Owner struct {
	UserID string `json:"user_id"`
	Name   string `json:"name"`
	Email  string `json:"email"`
}

// AgentQuery says which agents of an organization to list.
type AgentQuery struct {
	page.Request
	Member  []string // user ids; any of them
	Client  []string // names of clients or of their families; any of them, and what looks the same
	State   []string
	Invalid error // what the door could not read
}

// overseenColumns and overseenTables read an agent with whom it acts for and how much it did lately.
const (
	overseenColumns = tokenColumns + `, u.id, u.name, u.email,
		COALESCE((SELECT sum(d.calls) FROM token_use_days d WHERE d.organization_id = t.organization_id AND d.token_id = t.id AND d.day >= `
	overseenRest = `), 0)`
)

func (s *Service) overseenSelect(args *db.Args) string {
	return "SELECT " + overseenColumns + args.Add(s.aWeekAgo()) + overseenRest + tokenTables
}

// aWeekAgo is the first of the seven days that end today.
func (s *Service) aWeekAgo() string { return s.Now().UTC().AddDate(0, 0, -6).Format(time.DateOnly) }

// extended lets scan read what a token's columns are, and then some.
type extended struct {
	row  scanner
	more []any
}

// Scan reads the token's columns into what it is given, and the others into what e has for them.
func (e extended) Scan(into ...any) error { return e.row.Scan(append(into, e.more...)...) }

func (s *Service) scanOverseen(row scanner) (o Overseen, err error) {
	o.Token, err = s.scan(extended{row, []any{&o.Owner.UserID, &o.Owner.Name, &o.Owner.Email, &o.Calls7Days}})
	return o, err
}

// Agents lists the agents of all members of the organization that slug names, those of former members included. Its
// admins and owners may ask; for other members it is role_insufficient, for everybody else the organization is absent.
func (s *Service) Agents(ctx context.Context, caller access.Caller, slug string, query AgentQuery) (page.Page[Overseen], error) {
	var none page.Page[Overseen]
	caller, err := s.Org.Inside(caller, slug, access.OrganizationAdminister)
	if err != nil {
		return none, err
	}
	if query.Invalid != nil {
		return none, query.Invalid
	}
	if err := few(map[string][]string{"member": query.Member, "client": query.Client, "state": query.State}); err != nil {
		return none, err
	}
	named, err := clientsLike(ctx, s.DB.Read(), caller.Organization, query.Client)
	if err != nil {
		return none, err
	}
	listing, err := s.agentListing(caller, query, named)
	if err != nil {
		return none, err
	}
	listed, err := page.List(ctx, s.DB.Read(), listing)
	if err != nil {
		return none, err
	}
	return listed, s.addOverseenProjects(ctx, s.DB.Read(), listed.Items)
}

// agentListing lists agents of the organization that the caller acts in. The clients that the query asks for were found as
// named.
func (s *Service) agentListing(caller access.Caller, query AgentQuery, named []string) (page.Listing[Overseen], error) {
	args := &db.Args{}
	selected := s.overseenSelect(args)
	conditions := []string{"t.organization_id = " + args.Add(caller.Organization), "t.purpose = 'agent'"}
	if len(query.Member) > 0 {
		conditions = append(conditions, "t.user_id IN ("+args.AddAll(query.Member)+")")
	}
	if len(query.Client) > 0 {
		conditions = append(conditions, ofClients(named, args))
	}
	if len(query.State) > 0 {
		condition, err := s.stateCondition(query.State, args)
		if err != nil {
			return page.Listing[Overseen]{}, err
		}
		conditions = append(conditions, condition)
	}
	return page.Listing[Overseen]{
		Cursors: s.Cursors,
		Binding: page.Binding(caller, "agents "+caller.Organization, page.Filter("member", query.Member...), page.Filter("client", query.Client...), page.Filter("state", query.State...)),
		Request: query.Request, Sorts: sorts, Default: "-created_at", ID: "t.id",
		Select: selected, Where: strings.Join(conditions, " AND "), Args: args,
		Scan: func(r page.Row) (Overseen, error) { return s.scanOverseen(r) },
	}, nil
}

func (s *Service) addOverseenProjects(ctx context.Context, q db.Queryer, list []Overseen) error {
	tokens := make([]Token, len(list))
	for i := range list {
		tokens[i] = list[i].Token
	}
	err := addProjects(tokens, func(first, last string) ([]rows.ProjectsOfTokensRow, error) {
		found, err := rows.New(q).ProjectsOfAgents(ctx, rows.ProjectsOfAgentsParams{OrganizationID: list[0].organizationID, First: first, Last: last})
		var same []rows.ProjectsOfTokensRow
		for _, f := range found {
			same = append(same, rows.ProjectsOfTokensRow(f))
		}
		return same, err
	})
	for i := range list {
		list[i].Token = tokens[i]
	}
	return err
}

// Family returns what a client is called without what it adds to its name for where it is set up, in brackets at its end,
// such as "Claude Code (carnet)". A name stands for its family wherever agents are chosen by their client.
func Family(client string) string {
	for {
		at := strings.LastIndexAny(client, "(（")
		if at < 0 {
			return client
		}
		if closing := strings.IndexAny(client[at:], ")）"); closing >= 0 && strings.Trim(client[at+closing:], ")） ") != "" {
			return client // it is no end, but in the middle
		}
		shorter := strings.TrimSpace(client[:at])
		if shorter == "" {
			return client
		}
		client = shorter
	}
}

// clientsLike returns the names of clients of the organization's agents that the asked ones stand for: the same, those of
// the same family, and all that look like these. An agent must not get away by how its client is spelled.
func clientsLike(ctx context.Context, q db.Queryer, organizationID string, asked []string) ([]string, error) {
	if len(asked) == 0 {
		return nil, nil
	}
	names, err := rows.New(q).AgentClients(ctx, organizationID)
	if err != nil {
		return nil, fmt.Errorf("read the clients of agents: %w", err)
	}
	wanted := map[string]bool{}
	for _, name := range asked {
		wanted[text.Likeness(name)] = true
	}
	named := slices.DeleteFunc(names, func(name string) bool {
		like := text.Likeness(name)
		return !wanted[like] && !wanted[Family(like)]
	})
	if slices.Contains(asked, "") { // agents that are for no client
		named = append(named, "")
	}
	return named, nil
}

// ofClients returns the condition that holds for agents of the named clients.
func ofClients(named []string, args *db.Args) string {
	if len(named) == 0 {
		return "1 = 0"
	}
	return "t.client_name IN (" + args.AddAll(named) + ")"
}

// AgentClients returns the names of the clients that the organization's agents are for, and of their families, in order.
func (s *Service) AgentClients(ctx context.Context, caller access.Caller, slug string) ([]string, error) {
	caller, err := s.Org.Inside(caller, slug, access.OrganizationAdminister)
	if err != nil {
		return nil, err
	}
	names, err := rows.New(s.DB.Read()).AgentClients(ctx, caller.Organization)
	if err != nil {
		return nil, fmt.Errorf("read the clients of agents: %w", err)
	}
	for _, name := range names {
		names = append(names, Family(name))
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Agent returns one agent of the organization that slug names, with what it did. A personal token's id is absent.
func (s *Service) Agent(ctx context.Context, caller access.Caller, slug, tokenID string) (Overseen, Activity, error) {
	caller, err := s.Org.Inside(caller, slug, access.OrganizationAdminister)
	if err != nil {
		return Overseen{}, Activity{}, err
	}
	if err := s.FlushUses(ctx, true); err != nil {
		s.Log.Warn("last uses could not be written", "error", err)
	}
	o, err := s.overseen(ctx, s.DB.Read(), caller.Organization, tokenID)
	if err != nil {
		return Overseen{}, Activity{}, err
	}
	a, err := s.activity(ctx, o.Token)
	return o, a, err
}

// overseen returns the organization's agent of that id, as it stands in q.
func (s *Service) overseen(ctx context.Context, q db.Queryer, organizationID, tokenID string) (Overseen, error) {
	args := &db.Args{}
	query := s.overseenSelect(args) + " WHERE t.organization_id = " + args.Add(organizationID) + " AND t.id = " + args.Add(tokenID) + " AND t.purpose = 'agent'"
	o, err := s.scanOverseen(q.QueryRowContext(ctx, query, args.Values()...))
	if errors.Is(err, sql.ErrNoRows) {
		return Overseen{}, problem.Absent()
	}
	if err != nil {
		return Overseen{}, fmt.Errorf("read an agent: %w", err)
	}
	list := []Overseen{o}
	err = s.addOverseenProjects(ctx, q, list)
	return list[0], err
}

// Removal says why an admin revokes or pauses an agent. Its owner is told.
type Removal struct {
	Reason  string
	Invalid error // what the door could not read
}

func (r Removal) checked() (string, error) {
	if r.Invalid != nil || r.Reason == "" {
		return "", r.Invalid
	}
	reason, wrong := text.Line("body.reason", r.Reason, ReasonLimit)
	if wrong != nil {
		return "", problem.InvalidFields(*wrong)
	}
	return reason, nil
}

// RevokeAgent ends a member's agent for good. When it returns, no request that starts afterwards is accepted with it. Its
// owner is told by mail who it was and why. It asks for no fresh sign-in, and can be repeated.
func (s *Service) RevokeAgent(ctx context.Context, caller access.Caller, slug, tokenID string, why Removal) (Receipt, error) {
	began := s.Now()
	var after Overseen
	ended := false
	err := s.overseeing(ctx, caller, slug, tokenID, func(ctx context.Context, tx *sql.Tx, acting access.Caller, o Overseen) error {
		reason, err := why.checked()
		if err != nil {
			return err
		}
		ended, err = s.revokeOverseen(ctx, tx, acting, &o, reason)
		after = o
		return err
	})
	if err != nil {
		return Receipt{}, fmt.Errorf("revoke an agent: %w", err)
	}
	if ended {
		s.tell(ctx, caller, after.Owner, revokedMail([]Overseen{after}))
	}
	took := s.Now().Sub(began)
	s.RevocationSeconds.Observe(took.Seconds())
	return Receipt{Token: after.Token, RevokedAt: *after.RevokedAt, TookMS: float64(took.Microseconds()) / 1000}, nil
}

// overseeing runs fn in a write transaction in which the caller was found to administer the organization, with the agent
// as it stands there.
func (s *Service) overseeing(ctx context.Context, caller access.Caller, slug, tokenID string, fn func(context.Context, *sql.Tx, access.Caller, Overseen) error) error {
	if err := problem.RequireMay(&caller, access.OrganizationAdminister); err != nil {
		return err
	}
	return s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := s.DB.Hold(ctx, tx, tokenID); err != nil {
			return err
		}
		acting, err := s.Org.Acting(ctx, tx, caller, slug, access.OrganizationAdminister)
		if err != nil {
			return err
		}
		o, err := s.overseen(ctx, tx, acting.Organization, tokenID)
		if err != nil {
			return err
		}
		return fn(ctx, tx, acting, o)
	})
}

// revokeOverseen ends a live agent, and reports whether it was this call that did.
func (s *Service) revokeOverseen(ctx context.Context, tx *sql.Tx, acting access.Caller, o *Overseen, reason string) (bool, error) {
	if o.State == Revoked {
		return false, nil
	}
	at := sql.NullInt64{Int64: db.Micros(s.Now()), Valid: true}
	n, err := rows.New(tx).RevokeToken(ctx, rows.RevokeTokenParams{RevokedAt: at, RevokedBy: acting.UserID, RevokeReason: reason, OrganizationID: o.organizationID, ID: o.ID})
	if err != nil {
		return false, fmt.Errorf("store the revocation: %w", err)
	}
	if n == 0 { // its owner was faster: their moment counts
		*o, err = s.overseen(ctx, tx, o.organizationID, o.ID)
		return false, err
	}
	o.State, o.RevokedAt, o.RevokedBy, o.RevokeReason = Revoked, db.NullTime(at), &acting.UserID, reason
	return true, s.Audit.Record(ctx, tx, acting, audit.Event{
		Organization: o.organizationID, Action: "token.revoked", Resource: o.ID,
		Detail: map[string]any{"prefix": o.Prefix, "owner": o.Owner.UserID, "client": o.Client.Name, "overseen": true, "reason": reason},
	})
}

// AgentSelection names agents of an organization: all of a member, all of a client, or all that there are.
type AgentSelection struct {
	Member, Client string // a user id; the name of a client or of its family, or one that looks the same
	All            bool
	Removal
}

// Removed says how many agents were ended, and when it was done.
type Removed struct {
	Revoked   int       `json:"revoked"`
	RevokedAt time.Time `json:"revoked_at"`
}

// CountAgents returns how many agents [Service.RevokeAgents] would end now, so that people can be told before they do it.
func (s *Service) CountAgents(ctx context.Context, caller access.Caller, slug string, which AgentSelection) (int64, error) {
	caller, err := s.Org.Inside(caller, slug, access.OrganizationAdminister)
	if err != nil {
		return 0, err
	}
	args := &db.Args{}
	from, err := s.agentsToEnd(ctx, s.DB.Read(), caller.Organization, which, args)
	if err != nil {
		return 0, err
	}
	var n int64
	if err := s.DB.Read().QueryRowContext(ctx, "SELECT count(*)"+from, args.Values()...).Scan(&n); err != nil {
		return 0, fmt.Errorf("count agents: %w", err)
	}
	return n, nil
}

// agentsToEnd returns from where the agents are selected that the selection names and that have not ended.
func (s *Service) agentsToEnd(ctx context.Context, q db.Queryer, organizationID string, which AgentSelection, args *db.Args) (string, error) {
	conditions := []string{
		"t.organization_id = " + args.Add(organizationID), "t.purpose = 'agent'", "t.revoked_at IS NULL",
		"(t.expires_at IS NULL OR t.expires_at > " + args.Add(db.Micros(s.Now())) + ")",
	}
	if which.Member != "" {
		conditions = append(conditions, "t.user_id = "+args.Add(which.Member))
	}
	if which.Client != "" {
		named, err := clientsLike(ctx, q, organizationID, []string{which.Client})
		if err != nil {
			return "", err
		}
		conditions = append(conditions, ofClients(named, args))
	}
	return " FROM tokens t WHERE " + strings.Join(conditions, " AND "), nil
}

// someToEnd returns the ids of some of these agents.
func (s *Service) someToEnd(ctx context.Context, q db.Queryer, organizationID string, which AgentSelection) ([]string, error) {
	args := &db.Args{}
	from, err := s.agentsToEnd(ctx, q, organizationID, which, args)
	if err != nil {
		return nil, err
	}
	found, err := q.QueryContext(ctx, "SELECT t.id"+from+" ORDER BY t.id LIMIT "+args.Add(removalBatch), args.Values()...)
	if err != nil {
		return nil, fmt.Errorf("find agents: %w", err)
	}
	defer func() { _ = found.Close() }()
	var ids []string
	for found.Next() {
		var id string
		if err := found.Scan(&id); err != nil {
			return nil, fmt.Errorf("find agents: %w", err)
		}
		ids = append(ids, id)
	}
	if err := found.Err(); err != nil {
		return nil, fmt.Errorf("find agents: %w", err)
	}
	return ids, nil
}

// removalBatch is how many agents one transaction ends, so that nobody waits for it.
const removalBatch = 100

// RevokeAgents ends all agents that the selection names and that have not ended. When it returns, none of them is
// accepted any more. Each owner gets one mail. Without a selection, or with one that contradicts itself, it is
// request_malformed.
func (s *Service) RevokeAgents(ctx context.Context, caller access.Caller, slug string, which AgentSelection) (Removed, error) {
	if _, err := s.Org.Inside(caller, slug, access.OrganizationAdminister); err != nil {
		return Removed{}, err
	}
	if which.Invalid != nil {
		return Removed{}, which.Invalid
	}
	if which.Member == "" && which.Client == "" && !which.All {
		return Removed{}, problem.New(problem.RequestMalformed, "Say which agents: ?member= with a user id, ?client= with a client's name, or ?all=true.")
	}
	if which.All && (which.Member != "" || which.Client != "") {
		return Removed{}, problem.New(problem.RequestMalformed, "Say either ?all=true, or which member or client: it would end agents that you do not mean.")
	}
	reason, err := which.checked()
	if err != nil {
		return Removed{}, err
	}
	ended := map[string][]Overseen{}
	count := 0
	for {
		batch, more, err := s.revokeBatch(ctx, caller, slug, which, reason)
		if err != nil {
			return Removed{}, fmt.Errorf("revoke agents: %w", err)
		}
		for _, o := range batch {
			ended[o.Owner.UserID] = append(ended[o.Owner.UserID], o)
		}
		if count += len(batch); !more {
			break
		}
	}
	for _, list := range ended {
		s.tell(ctx, caller, list[0].Owner, revokedMail(list))
	}
	return Removed{Revoked: count, RevokedAt: db.Time(db.Micros(s.Now()))}, nil
}

// revokeBatch ends some of the agents, and reports whether there may be more. Of those that it found, others may have
// ended some.
func (s *Service) revokeBatch(ctx context.Context, caller access.Caller, slug string, which AgentSelection, reason string) (done []Overseen, more bool, err error) {
	err = s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		done = nil // of a former try
		acting, err := s.Org.Acting(ctx, tx, caller, slug, access.OrganizationAdminister)
		if err != nil {
			return err
		}
		ids, err := s.someToEnd(ctx, tx, acting.Organization, which)
		if err != nil {
			return err
		}
		more = len(ids) == removalBatch
		if err := s.DB.Hold(ctx, tx, ids...); err != nil {
			return err
		}
		for _, id := range ids {
			o, err := s.overseen(ctx, tx, acting.Organization, id)
			if err != nil {
				return err
			}
			if ended, err := s.revokeOverseen(ctx, tx, acting, &o, reason); err != nil {
				return err
			} else if ended {
				done = append(done, o)
			}
		}
		return nil
	})
	return done, more, err
}
