// Package house wires the rooms together: every feature over one store, and the doors in front of them. It is the only
// place that knows them all; the program and the tests that drive the whole of it start here.
package house

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"carnet/internal/account"
	"carnet/internal/audit"
	"carnet/internal/clients"
	"carnet/internal/db"
	"carnet/internal/idempotency"
	"carnet/internal/lastuse"
	"carnet/internal/mail"
	"carnet/internal/org"
	"carnet/internal/page"
	"carnet/internal/tokens"
	"carnet/internal/verify"
	"carnet/internal/work"
)

// House is every feature, wired together over one store.
type House struct {
	DB      *db.DB
	Account *account.Service
	Org     *org.Service
	Work    *work.Service
	Tokens  *tokens.Service
	Clients *clients.Service
	Verify  *verify.Service

	keys *idempotency.Store
	log  *slog.Logger
}

// Plan says how to build a house.
type Plan struct {
	Data        string        // the data folder
	Database    string        // URL of a PostgreSQL database; empty: the store inside the data folder
	Connections int           // the most to that database; 0: its default
	PublicURL   string        // where browsers reach the server
	SMTPURL     string        // where mail goes; empty: into files in the data folder
	Patience    time.Duration // how long that database may be silent; 0: its default
	Log         *slog.Logger
	Fatal       func(error) // called when the store failed; see [db.Options]
	Limits      Limits
	CacheSize   int  // credentials that verification keeps; 0: its default
	Documents   bool // clients may describe themselves by a document, which is fetched
}

// Limits are the operator's to change. Zero means the contract's default.
type Limits struct {
	SignInsPerMinute int // sign-in tries per address
	TokensPerHour    int // tokens created per user
}

// Build opens the store and wires the rooms. The caller closes the house.
func Build(ctx context.Context, p Plan) (*House, error) {
	store, err := db.Open(ctx, db.Options{Dir: p.Data, URL: p.Database, Connections: p.Connections, Patience: p.Patience, Log: p.Log, Fatal: p.Fatal})
	if err != nil {
		return nil, err
	}
	h, err := wire(ctx, p, store)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return h, nil
}

func wire(ctx context.Context, p Plan, store *db.DB) (*House, error) {
	sender, err := mail.NewSender(p.SMTPURL, store.Dir(), p.Log)
	if err != nil {
		return nil, fmt.Errorf("prepare mail: %w", err)
	}
	key, err := store.InstanceKey(ctx, "cursors")
	if err != nil {
		return nil, err
	}
	if _, err := store.SystemID(ctx); err != nil {
		return nil, err
	}
	cursors := page.New(key)
	record := audit.New(time.Now)
	sessionUses, tokenUses, lateUses := lastuse.New(), lastuse.New(), lastuse.New()
	publicURL := strings.TrimRight(p.PublicURL, "/")

	h := &House{DB: store, log: p.Log, keys: idempotency.New(store, time.Now)}
	h.Account = account.New(account.Config{
		DB: store, Audit: record, Mail: sender, Now: time.Now, PublicURL: publicURL, Log: p.Log, Uses: sessionUses,
		SignInsPerMinute: p.Limits.SignInsPerMinute,
	})
	h.Org = org.New(org.Config{DB: store, Audit: record, Accounts: h.Account, Cursors: cursors, Now: time.Now, Log: p.Log, PublicURL: publicURL})
	h.Work = work.New(work.Config{DB: store, Audit: record, Idempotency: h.keys, Cursors: cursors, Now: time.Now})
	h.Tokens = tokens.New(tokens.Config{
		DB: store, Audit: record, Account: h.Account, Org: h.Org, Work: h.Work, Idempotency: h.keys, Cursors: cursors, Now: time.Now, Log: p.Log,
		Mail: sender, PublicURL: publicURL,
		Uses: tokenUses, LateUses: lateUses, CreationsPerHour: p.Limits.TokensPerHour,
	})
	h.Org.Agents = h.Tokens
	h.Clients = clients.New(clients.Config{DB: store, Audit: record, Org: h.Org, Tokens: h.Tokens, Now: time.Now, Log: p.Log, PublicURL: publicURL, Documents: p.Documents})
	h.Verify = verify.New(verify.Config{DB: store, Now: time.Now, TokenUses: tokenUses, SessionUses: sessionUses, LateUses: lateUses, CacheSize: p.CacheSize})
	return h, nil
}

// How often the house tends to itself.
const (
	flushEvery = 5 * time.Second
	cleanEvery = time.Hour
)

// Tend writes last uses and cleans up what retention ends, until ctx ends.
func (h *House) Tend(ctx context.Context) {
	flush, clean := time.NewTicker(flushEvery), time.NewTicker(cleanEvery)
	defer flush.Stop()
	defer clean.Stop()
	h.clean(ctx)
	h.announce(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-flush.C:
			h.flush(ctx, false)
		case <-clean.C:
			h.clean(ctx)
			h.announce(ctx)
		}
	}
}

func (h *House) flush(ctx context.Context, everything bool) {
	if err := errors.Join(h.Tokens.FlushUses(ctx, everything), h.Account.FlushUses(ctx, everything)); err != nil {
		h.log.Warn("last uses could not be written; they are kept and tried again", "error", err)
	}
}

func (h *House) announce(ctx context.Context) {
	if err := h.Tokens.AnnounceEnds(ctx); err != nil && ctx.Err() == nil {
		h.log.Warn("owners of agents that end soon could not all be told; it is tried again later", "error", err)
	}
}

func (h *House) clean(ctx context.Context) {
	now := time.Now()
	for _, room := range []interface {
		Clean(context.Context, time.Time) error
	}{h.Account, h.Work, h.Tokens, h.Clients, h.keys, h.DB} {
		if err := room.Clean(ctx, now); err != nil && ctx.Err() == nil {
			h.log.Warn("a clean-up did not finish; it is tried again later", "error", err)
		}
	}
}

// Close writes what is in memory and closes the store.
func (h *House) Close(ctx context.Context) error {
	h.flush(ctx, true)
	return errors.Join(h.Account.Close(), h.DB.Close())
}
