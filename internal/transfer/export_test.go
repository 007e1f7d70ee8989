package transfer

import (
	"context"
	"log/slog"

	"carnet/internal/db"
)

// CopyDisturbed copies while something else changes the target's rows on their way in.
func CopyDisturbed(ctx context.Context, dir, url string, statements ...string) (Copied, error) {
	source, err := db.Open(ctx, db.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return Copied{}, err
	}
	defer func() { _ = source.Close() }()
	conn, err := db.ConnectPostgres(ctx, url)
	if err != nil {
		return Copied{}, err
	}
	defer func() { _ = conn.Close(ctx) }()
	c := copying{source: source.Read(), conn: conn}
	disturbed := false
	c.progress = func(step string, _, _ int64) {
		if disturbed || len(step) < 9 || step[:9] != "comparing" {
			return
		}
		disturbed = true
		if err := c.do(ctx, statements...); err != nil {
			panic(err)
		}
	}
	return c.run(ctx)
}

// Publish is what gives a backup its name.
var Publish = publish
