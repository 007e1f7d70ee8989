package audit_test

import (
	"context"
	"database/sql"
	"errors"
	"net/netip"
	"testing"
	"time"

	"carnet/access"
	"carnet/internal/audit"
	"carnet/internal/db"
	"carnet/internal/id"
	"carnet/internal/request"
	"carnet/internal/storetest"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 1000, time.UTC)

func service() *audit.Service { return audit.New(func() time.Time { return noon }) }

type row struct {
	organization, id, actor, kind, credential, purpose, action, resource, project, outcome, reason, detail string
	request, method, route, address, client                                                                string
	at                                                                                                     int64
}

func events(t *testing.T, d *db.DB) (list []row) {
	t.Helper()
	found, err := d.Read().QueryContext(t.Context(), `SELECT organization_id, id, at, actor_id, credential_kind, credential_id, purpose, action,
		resource_id, project_id, outcome, reason, detail, request_id, method, route, address, client FROM audit_events ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = found.Close() }()
	for found.Next() {
		var r row
		if err := found.Scan(&r.organization, &r.id, &r.at, &r.actor, &r.kind, &r.credential, &r.purpose, &r.action, &r.resource,
			&r.project, &r.outcome, &r.reason, &r.detail, &r.request, &r.method, &r.route, &r.address, &r.client); err != nil {
			t.Fatal(err)
		}
		list = append(list, r)
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestEventSaysWhoDidWhatFromWhere(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		ctx := request.With(t.Context(), &request.Info{ID: "req_1", Method: "POST", Route: "/tokens/{id}", Address: netip.MustParseAddr("192.0.2.7"), Client: "curl"})
		callers := []access.Caller{
			{Kind: access.TokenCaller, UserID: "usr_1", CredentialID: "tok_1", Purpose: access.Agent},
			{Kind: access.SessionCaller, UserID: "usr_1", CredentialID: "ses_1", Purpose: access.Agent},
			{},
		}
		err := d.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
			for _, c := range callers {
				e := audit.Event{Organization: "org_1", Action: "task.created", Resource: "tsk_1", Project: "prj_1", Detail: map[string]any{"to": "x"}}
				if c.Kind == access.Anonymous {
					e.Outcome, e.Reason, e.Detail = audit.Denied, "scope", nil
				}
				if err := service().Record(ctx, tx, c, e); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		want := row{
			organization: "org_1", at: noon.UnixMicro(), actor: "usr_1", kind: "token", credential: "tok_1", purpose: "agent", action: "task.created",
			resource: "tsk_1", project: "prj_1", outcome: "done", detail: `{"to":"x"}`,
			request: "req_1", method: "POST", route: "/tokens/{id}", address: "192.0.2.7", client: "curl",
		}
		session, nobody := want, want
		session.kind, session.credential, session.purpose = "session", "ses_1", ""
		nobody.actor, nobody.kind, nobody.credential, nobody.purpose, nobody.outcome, nobody.reason, nobody.detail = "", "", "", "", "denied", "scope", "{}"
		for i, got := range events(t, d) {
			if !id.Valid(id.Event, got.id) {
				t.Errorf("the event's id is %q", got.id)
			}
			got.id = ""
			if expected := []row{want, session, nobody}[i]; got != expected {
				t.Errorf("event %d is\n%+v, not\n%+v", i, got, expected)
			}
		}
	})
}

func TestEventStandsAndFallsWithItsChange(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		undo := errors.New("undo")
		err := d.Write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			if err := service().Record(ctx, tx, access.Caller{}, audit.Event{Action: "x.y"}); err != nil {
				return err
			}
			return undo
		})
		if !errors.Is(err, undo) || len(events(t, d)) != 0 {
			t.Errorf("an event of what did not happen is there, error %v", err)
		}
		// And what cannot be recorded does not happen: here because the detail cannot be written as JSON.
		err = d.Write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			return service().Record(ctx, tx, access.Caller{}, audit.Event{Action: "x.y", Detail: map[string]any{"f": func() {}}})
		})
		if err == nil {
			t.Error("what cannot be recorded went through")
		}
	})
}
