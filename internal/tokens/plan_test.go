package tokens

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/lastuse"
	"carnet/internal/page"
	"carnet/internal/storetest"
	"carnet/internal/tokens/rows"
)

func TestNoListOfAgentsWalksThroughAWholeTable(t *testing.T) {
	t.Parallel()
	storetest.EachForPlans(t, func(t *testing.T, d *db.DB, p *storetest.Planner) {
		now := func() time.Time { return time.Unix(1_800_000_000, 0) }
		s := New(Config{DB: d, Cursors: page.New([]byte("k")), Now: now, Uses: lastuse.New()})
		err := d.Write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			for _, statement := range []string{
				`INSERT INTO organizations (id, slug, name, plan, created_at) VALUES ('org', 's', '', 'free', 0)`,
				`INSERT INTO users (id, email, email_key, name, password_hash, created_at) VALUES ('usr', 'u', 'u', '', '', 0)`,
				`INSERT INTO tokens (organization_id, id, user_id, purpose, name, name_key, scopes, restricted, kind_prefix, lookup_id, created_at, created_from, created_via)
					VALUES ('org', 'a', 'usr', 'agent', '', '', 4, 1, '', 'a', 1, '', ''), ('org', 'b', 'usr', 'agent', '', '', 4, 1, '', 'b', 2, '', '')`,
			} {
				if _, err := tx.ExecContext(ctx, statement); err != nil {
					return fmt.Errorf("%s: %w", statement, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		admin := access.Caller{Kind: access.SessionCaller, UserID: "usr", CredentialID: "ses", Organization: "org", Role: access.Admin}
		for _, query := range []AgentQuery{
			{}, {Member: []string{"usr", "usr_2"}}, {Client: []string{""}}, {State: []string{"live"}}, {Member: []string{"usr"}, Client: []string{"", "x"}, State: []string{"live", "paused"}},
		} {
			storetest.TwoPages(p, fmt.Sprintf("agents %+v", query), sorts, page.Request{}, func(r page.Request) (page.Listing[Overseen], error) {
				query.Request = r
				return s.agentListing(admin, query, query.Client)
			})
		}
		q := rows.New(p)
		at := sql.NullInt64{Int64: 1, Valid: true}
		for what, ask := range map[string]func() error{
			"projects of agents": func() error {
				_, err := q.ProjectsOfAgents(t.Context(), rows.ProjectsOfAgentsParams{OrganizationID: "org", First: "a", Last: "b"})
				return err
			},
			"clients of agents": func() error { _, err := q.AgentClients(t.Context(), "org"); return err },
			"agents to end": func() error {
				_, err := s.someToEnd(t.Context(), p, "org", AgentSelection{Member: "usr"})
				return err
			},
			"agents of a client to end": func() error {
				_, err := s.someToEnd(t.Context(), p, "org", AgentSelection{Client: "x"})
				return err
			},
			"ends to announce": func() error {
				_, err := q.EndingAgents(t.Context(), rows.EndingAgentsParams{Now: at, Latest: at, Days: 7, Limit: 1})
				return err
			},
		} {
			p.What = what
			if err := ask(); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		if p.Count < 60 {
			t.Errorf("only %d plans were looked at", p.Count)
		}
	})
}
