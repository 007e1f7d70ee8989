package tokens

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

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
	Client  []string // names of clients or of their families; any of them
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
	listing, err := s.agentListing(caller, query)
	if err != nil {
		return none, err
	}
	listed, err := page.List(ctx, s.DB.Read(), listing)
	if err != nil {
		return none, err
	}
	return listed, s.addOverseenProjects(ctx, s.DB.Read(), listed.Items)
}

// agentListing lists agents of the organization that the caller acts in.
func (s *Service) agentListing(caller access.Caller, query AgentQuery) (page.Listing[Overseen], error) {
	args := &db.Args{}
	selected := s.overseenSelect(args)
	conditions := []string{"t.organization_id = " + args.Add(caller.Organization), "t.purpose = 'agent'"}
	if len(query.Member) > 0 {
		conditions = append(conditions, "t.user_id IN ("+args.AddAll(query.Member)+")")
	}
	if len(query.Client) > 0 {
		var named []string
		for _, name := range query.Client {
			named = append(named, "t.client_name = "+args.Add(name))
			if name == "" {
				continue
			}
			named = append(named, "substr(t.client_name, 1, "+args.Add(utf8.RuneCountInString(name)+len(clientSuffix))+") = "+args.Add(name+clientSuffix))
		}
		conditions = append(conditions, "("+strings.Join(named, " OR ")+")")
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

// clientSuffix begins what programs add to their name for where they are set up, such as "Claude Code (carnet)".
const clientSuffix = " ("

// Family returns what a client is called without what it adds to its name for where it is set up. A name stands for its
// family wherever agents are chosen by their client.
func Family(client string) string {
	if name, more, found := strings.Cut(client, clientSuffix); found && name != "" && strings.HasSuffix(more, ")") {
		return name
	}
	return client
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
	Member, Client string // a user id; the name of a client or of its family
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
	n, err := rows.New(s.DB.Read()).CountAgentsToEnd(ctx, rows.CountAgentsToEndParams{
		OrganizationID: caller.Organization, UserID: which.Member, ClientName: which.Client, ExpiresAt: sql.NullInt64{Int64: db.Micros(s.Now()), Valid: true},
	})
	if err != nil {
		return 0, fmt.Errorf("count agents: %w", err)
	}
	return n, nil
}

// removalBatch is how many agents one transaction ends, so that nobody waits for it.
const removalBatch = 100

// RevokeAgents ends all agents that the selection names and that have not ended. When it returns, none of them is
// accepted any more. Each owner gets one mail. Without a selection it is request_malformed.
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
		ids, err := rows.New(tx).AgentsToEnd(ctx, rows.AgentsToEndParams{
			OrganizationID: acting.Organization, UserID: which.Member, ClientName: which.Client, Limit: removalBatch,
			ExpiresAt: sql.NullInt64{Int64: db.Micros(s.Now()), Valid: true},
		})
		if err != nil {
			return fmt.Errorf("find agents: %w", err)
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
