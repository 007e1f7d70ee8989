package tokens

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/page"
	"carnet/internal/problem"
	"carnet/internal/tokens/rows"
)

// Query says which tokens to list.
type Query struct {
	page.Request
	Organization []string // slugs; any of them
	Purpose      []string
	State        []string
	Invalid      error // what the door could not read
}

// own returns the caller's own token of that id, as it stands in q.
func (s *Service) own(ctx context.Context, q db.Queryer, caller access.Caller, id string) (Token, error) {
	t, err := s.scan(q.QueryRowContext(ctx, "SELECT "+tokenColumns+tokenTables+" WHERE t.user_id = $1 AND t.id = $2", caller.UserID, id))
	if errors.Is(err, sql.ErrNoRows) {
		return Token{}, problem.Absent()
	}
	if err != nil {
		return Token{}, fmt.Errorf("read token: %w", err)
	}
	list := []Token{t}
	if err := s.addOwnProjects(ctx, q, caller.UserID, list); err != nil {
		return Token{}, err
	}
	return list[0], nil
}

// addOwnProjects fills in the projects of a user's tokens.
func (s *Service) addOwnProjects(ctx context.Context, q db.Queryer, userID string, list []Token) error {
	return addProjects(list, func(first, last string) ([]rows.ProjectsOfTokensRow, error) {
		return rows.New(q).ProjectsOfTokens(ctx, rows.ProjectsOfTokensParams{UserID: userID, First: first, Last: last})
	})
}

// addProjects fills in the projects of restricted tokens, all with one query, which returns those of the tokens from the
// first id to the last.
func addProjects(list []Token, query func(first, last string) ([]rows.ProjectsOfTokensRow, error)) error {
	first, last := "", ""
	places := map[string]int{}
	for i := range list {
		if !list[i].restricted {
			continue
		}
		list[i].Projects = []string{}
		places[list[i].ID] = i
		if first == "" || list[i].ID < first {
			first = list[i].ID
		}
		last = max(last, list[i].ID)
	}
	if first == "" {
		return nil
	}
	found, err := query(first, last)
	if err != nil {
		return fmt.Errorf("read the projects of tokens: %w", err)
	}
	for _, r := range found {
		if i, ok := places[r.TokenID]; ok {
			list[i].Projects = append(list[i].Projects, r.ProjectID)
		}
	}
	return nil
}

// sorts are the orders in which tokens can be listed.
var sorts = page.Sorts{
	"created_at":   {Column: "t.created_at"},
	"name":         {Column: "t.name_key"},
	"expires_at":   {Column: "t.expires_at", Nullable: true},
	"last_used_at": {Column: "l.last_used_at", Nullable: true},
}

// Tokens lists the caller's own tokens in all organizations, those that they have left included.
func (s *Service) Tokens(ctx context.Context, caller access.Caller, query Query) (page.Page[Token], error) {
	var none page.Page[Token]
	if err := problem.RequireMay(&caller, access.TokensManage); err != nil {
		return none, err
	}
	if query.Invalid != nil {
		return none, query.Invalid
	}
	if err := few(map[string][]string{"organization": query.Organization, "purpose": query.Purpose, "state": query.State}); err != nil {
		return none, err
	}
	args := &db.Args{}
	conditions := []string{"t.user_id = " + args.Add(caller.UserID)}
	if len(query.Organization) > 0 {
		conditions = append(conditions, "o.slug IN ("+args.AddAll(query.Organization)+")")
	}
	for _, p := range query.Purpose {
		if _, ok := access.ParsePurpose(p); !ok {
			return none, problem.Invalid("query.purpose", "must be personal or agent")
		}
	}
	if len(query.Purpose) > 0 {
		conditions = append(conditions, "t.purpose IN ("+args.AddAll(query.Purpose)+")")
	}
	if len(query.State) > 0 {
		condition, err := s.stateCondition(query.State, args)
		if err != nil {
			return none, err
		}
		conditions = append(conditions, condition)
	}
	listed, err := page.List(ctx, s.DB.Read(), page.Listing[Token]{
		Cursors: s.Cursors,
		Binding: page.Binding(caller, "tokens", page.Filter("organization", query.Organization...), page.Filter("purpose", query.Purpose...), page.Filter("state", query.State...)),
		Request: query.Request, Sorts: sorts, Default: "-created_at", ID: "t.id",
		Select: "SELECT " + tokenColumns + tokenTables, Where: strings.Join(conditions, " AND "), Args: args,
		Scan: func(r page.Row) (Token, error) { return s.scan(r) },
	})
	return s.withProjects(ctx, caller, listed, err)
}

// withProjects adds what one query cannot.
func (s *Service) withProjects(ctx context.Context, caller access.Caller, p page.Page[Token], err error) (page.Page[Token], error) {
	if err != nil {
		return page.Page[Token]{}, err
	}
	if err := s.addOwnProjects(ctx, s.DB.Read(), caller.UserID, p.Items); err != nil {
		return page.Page[Token]{}, err
	}
	return p, nil
}

// Calls7Days returns how often each of the caller's own agents was used in the last seven days, by its id. What is not in
// it was not used.
func (s *Service) Calls7Days(ctx context.Context, caller access.Caller) (map[string]int64, error) {
	if err := problem.RequireMay(&caller, access.TokensManage); err != nil {
		return nil, err
	}
	list, err := rows.New(s.DB.Read()).CallsSince(ctx, rows.CallsSinceParams{UserID: caller.UserID, Day: s.aWeekAgo()})
	if err != nil {
		return nil, fmt.Errorf("count the calls of agents: %w", err)
	}
	calls := make(map[string]int64, len(list))
	for _, row := range list {
		calls[row.TokenID] = row.Calls
	}
	return calls, nil
}

// few refuses filters with more values than a query should have.
func few(filters map[string][]string) error {
	var wrong []problem.Field
	for name, values := range filters {
		if len(values) > FilterLimit {
			wrong = append(wrong, problem.Field{Location: "query." + name, Message: fmt.Sprintf("must have at most %d values", FilterLimit)})
		}
	}
	if len(wrong) > 0 {
		return problem.InvalidFields(wrong...)
	}
	return nil
}

// stateCondition is the SQL of [stateOf], for any of the named states.
func (s *Service) stateCondition(states []string, args *db.Args) (string, error) {
	now := args.Add(db.Micros(s.Now()))
	state := "CASE WHEN t.revoked_at IS NOT NULL THEN 'revoked'" +
		" WHEN t.expires_at IS NOT NULL AND t.expires_at <= " + now + " THEN 'expired'" +
		" WHEN m.role IS NULL OR u.suspended_at IS NOT NULL OR t.resting_since IS NOT NULL OR o.agents_off <> 0 AND t.purpose = 'agent' THEN 'inert'" +
		" WHEN t.paused_at IS NOT NULL THEN 'paused' ELSE 'live' END"
	for _, name := range states {
		switch State(name) {
		case Live, Expired, Revoked, Inert, Paused:
		default:
			return "", problem.Invalid("query.state", "must be live, expired, revoked, inert or paused")
		}
	}
	return state + " IN (" + args.AddAll(states) + ")", nil
}
