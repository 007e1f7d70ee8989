// Package request carries what every feature may want to know about the request that it serves, for records and
// limits: its id, where it came from, and the idempotency key that its sender chose. Nothing here decides anything.
package request

import (
	"context"
	"net/netip"
)

// Info describes a request. The zero Info describes work that nobody outside asked for, such as a clean-up.
type Info struct {
	ID      string     // the X-Request-Id
	Method  string     // HTTP method
	Route   string     // the pattern that matched, never the raw path, which may carry secrets
	Address netip.Addr // the client's, as the trusted proxies report it
	Client  string     // the User-Agent, shortened and free of control characters

	// UserID and Credential say who was identified: a user's id, and the prefix of the token or session. Empty before.
	UserID, Credential string

	// Standing says whether what the sender may do has changed since they were identified; nil when nobody was. A write
	// asks once nothing else can write any more. It becomes nil with the request's own first write.
	Standing Standing

	// IdempotencyKey is the sender's Idempotency-Key, empty when it sent none. Target is what it is bound to besides
	// the caller: method and path. Fingerprint is a digest of the body that came with it.
	IdempotencyKey string
	Target         string
	Fingerprint    [32]byte
}

// Standing is what the authority of an identified sender rests on.
type Standing interface {
	// Overtaken reports whether any of it has changed, or may have, since the sender was identified.
	Overtaken() bool
	// Subjects names all of it, each as kind:id.
	Subjects() []string
}

type contextKey struct{}

// With returns a context that carries info.
func With(ctx context.Context, info *Info) context.Context {
	return context.WithValue(ctx, contextKey{}, info)
}

// From returns the context's info; never nil.
func From(ctx context.Context) *Info {
	if info, ok := ctx.Value(contextKey{}).(*Info); ok {
		return info
	}
	return &Info{}
}

// AddressText returns the client's address as text, "" when unknown.
func (i *Info) AddressText() string {
	if !i.Address.IsValid() {
		return ""
	}
	return i.Address.String()
}

// Network returns the client's network as text, "" when unknown: its address, or for IPv6, where a customer has 2^64 of
// them, the first half of it.
func (i *Info) Network() string {
	if a := i.Address.Unmap(); a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return i.AddressText()
}
