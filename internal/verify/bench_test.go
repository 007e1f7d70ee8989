package verify_test

import (
	"context"
	"crypto/sha256"
	"net/netip"
	"testing"
	"time"

	"carnet/access"
	"carnet/internal/lastuse"
)

// The bar of docs/performance.md: verify and decide, expiry and last use included, within 3.5 times one SHA-256 of the
// value, without allocating. The two benchmarks are read side by side.

func BenchmarkSHA256OfOneValue(b *testing.B) {
	f := newFixture(b)
	value := []byte(f.token(b, tokenRow{}).Reveal())
	b.ReportAllocs()
	for b.Loop() {
		sum := sha256.Sum256(value)
		_ = sum
	}
}

func BenchmarkVerifyAndDecide1000HotTokens(b *testing.B) {
	f := newFixture(b)
	values := f.hot(b, 1000)
	from := lastuse.Origin{Address: netip.MustParseAddr("192.0.2.7"), Client: "bench/1.0"}
	project := access.Resource{Organization: f.organization, Project: f.project, Visibility: access.OrganizationVisible}
	ctx := context.Background()
	for _, v := range values {
		if _, err := f.verify.Verify(ctx, v, from); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		g, err := f.verify.Verify(ctx, values[i], from)
		if err != nil || access.Decide(&g.Caller, access.TasksRead, project) != access.Allowed {
			b.Fatal(err)
		}
		if i++; i == len(values) {
			i = 0
		}
	}
}

func BenchmarkVerifyCold(b *testing.B) {
	f := newFixture(b)
	values := f.hot(b, 1000)
	i := 0
	for b.Loop() {
		f.verify.DropCacheForTest()
		if _, err := f.verify.Verify(context.Background(), values[i%len(values)], lastuse.Origin{}); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func TestVerificationDoesNotAllocateOnTheHotPath(t *testing.T) {
	f := newFixture(t)
	value := f.token(t, tokenRow{ExpiresAt: time.Now().Add(time.Hour)}).Reveal()
	from := lastuse.Origin{Address: netip.MustParseAddr("192.0.2.7"), Client: "test/1.0"}
	project := access.Resource{Organization: f.organization, Project: f.project, Visibility: access.OrganizationVisible}
	allocations := testing.AllocsPerRun(1000, func() {
		g, err := f.verify.Verify(context.Background(), value, from)
		if err != nil || access.Decide(&g.Caller, access.TasksRead, project) != access.Allowed {
			t.Fatal(err)
		}
	})
	if allocations != 0 {
		t.Errorf("a hot verification with its decision allocates %v times, want 0", allocations)
	}
}
