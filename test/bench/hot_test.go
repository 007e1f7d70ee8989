package bench_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/lastuse"
	"carnet/internal/verify"
)

// openVerify opens the store in a folder and verification over it, without a server.
func openVerify(t *testing.T, dir string) (service *verify.Service, closeStore func()) {
	t.Helper()
	d, err := db.Open(context.Background(), db.Options{Dir: dir, Log: slog.New(slog.DiscardHandler), Fatal: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	service = verify.New(verify.Config{DB: d, Now: time.Now, TokenUses: lastuse.New(), SessionUses: lastuse.New(), LateUses: lastuse.New()})
	return service, func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

// hot compares the verification of tokens that were verified before, with a decision, with one SHA-256 of a value, in
// turns.
func hot(t *testing.T, service *verify.Service, values []string) {
	from := lastuse.Origin{Address: netip.MustParseAddr("192.0.2.7"), Client: "bench/1.0"}
	ctx := context.Background()
	once := func(value string) error {
		g, err := service.Verify(ctx, value, from)
		if err != nil {
			return err
		}
		project := access.Resource{Organization: g.Caller.Organization, Project: "prj_any", Visibility: access.OrganizationVisible}
		access.Decide(&g.Caller, access.TasksRead, project)
		return nil
	}
	for _, v := range values {
		if err := once(v); err != nil {
			t.Fatal(err)
		}
	}
	if !full {
		return
	}
	var hashes, verifications, ratios []float64
	var allocations int64
	for range 5 {
		one := []byte(values[0])
		hash := testing.Benchmark(func(b *testing.B) {
			for b.Loop() {
				sum := sha256.Sum256(one)
				_ = sum
			}
		})
		whole := testing.Benchmark(func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if err := once(values[i]); err != nil {
					b.Fatal(err)
				}
				if i++; i == len(values) {
					i = 0
				}
			}
		})
		h, v := float64(hash.T)/float64(hash.N), float64(whole.T)/float64(whole.N)
		hashes, verifications, ratios = append(hashes, h), append(verifications, v), append(ratios, v/h)
		allocations = max(allocations, whole.AllocsPerOp())
	}
	note("one SHA-256 of a token's value, in process", "", fmt.Sprintf("%.0f ns", median(hashes)))
	note(fmt.Sprintf("verify and decide, %s hot tokens, in process", count(len(values))), "≤ 3.5 × SHA-256, 0 allocations",
		fmt.Sprintf("%.0f ns = %.2f ×, %d allocations", median(verifications), median(ratios), allocations), median(ratios) <= 3.5, allocations == 0)
}
