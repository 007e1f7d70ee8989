package clients

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"carnet/access"
	"carnet/internal/allowance"
	"carnet/internal/audit"
	"carnet/internal/clients/rows"
	"carnet/internal/db"
	"carnet/internal/id"
	"carnet/internal/text"
)

// Client is a program that asks people for tokens.
type Client struct {
	ID           string
	Name         string // as it calls itself
	Host         string // of the document that describes it; empty for one that registered, which anybody may
	RedirectURIs []string
	AuthMethod   string // none, client_secret_post or client_secret_basic (RFC 7591 section 2)

	secretDigest []byte
}

// NameLimit is how long the name of a client can be, in characters.
const NameLimit = 100

// The methods by which clients prove who they are.
const (
	authNone  = "none"
	authPost  = "client_secret_post"
	authBasic = "client_secret_basic"
)

// AuthMethods are the methods that there are, for metadata.
func AuthMethods() []string { return []string{authNone, authPost, authBasic} }

// Registration is what a client registers (RFC 7591 section 2), as far as it matters here.
type Registration struct {
	RedirectURIs    []string `json:"redirect_uris"`
	Name            string   `json:"client_name"`
	AuthMethod      string   `json:"token_endpoint_auth_method"`
	URI             string   `json:"client_uri"`
	ApplicationType string   `json:"application_type"`
	Scope           string   `json:"scope"`
}

// Registered answers a registration (RFC 7591 section 3.2.1): what holds, which may differ from what was asked for.
type Registered struct {
	ID              string   `json:"client_id"`
	IssuedAt        int64    `json:"client_id_issued_at"`
	Secret          string   `json:"client_secret,omitempty"`
	SecretExpiresAt *int64   `json:"client_secret_expires_at,omitempty"`
	Name            string   `json:"client_name"`
	URI             string   `json:"client_uri,omitempty"`
	ApplicationType string   `json:"application_type,omitempty"`
	RedirectURIs    []string `json:"redirect_uris"`
	GrantTypes      []string `json:"grant_types"`
	ResponseTypes   []string `json:"response_types"`
	AuthMethod      string   `json:"token_endpoint_auth_method"`
	Scope           string   `json:"scope,omitempty"`
}

// Register takes a client in, whoever it is. One that registers the same again, without a secret, is the same client.
// Scopes and metadata that are not known are left out; only redirect URIs that do not hold are refused, and new clients
// beyond what an hour has room for.
func (s *Service) Register(ctx context.Context, r Registration) (Registered, error) {
	if len(r.RedirectURIs) == 0 || len(r.RedirectURIs) > mostRedirects {
		return Registered{}, refuse(InvalidRedirectURI, fmt.Sprintf("Register 1 to %d redirect_uris.", mostRedirects))
	}
	for i, uri := range r.RedirectURIs {
		if !registrable(uri) {
			return Registered{}, refuse(InvalidRedirectURI, fmt.Sprintf("redirect_uris[%d] must be https, http on 127.0.0.1, [::1] or localhost, or a native callback that is known here; without fragment, user or wildcard.", i))
		}
	}
	switch r.AuthMethod {
	case "":
		r.AuthMethod = authNone
	case authNone, authPost, authBasic:
	default:
		return Registered{}, refuse(InvalidClientMetadata, "token_endpoint_auth_method must be none, client_secret_post or client_secret_basic.")
	}
	out := Registered{
		Name: nameOf(r.Name), RedirectURIs: r.RedirectURIs, AuthMethod: r.AuthMethod, Scope: scopesIn(r.Scope).String(),
		URI: text.Label(r.URI, redirectLimit), ApplicationType: text.Label(r.ApplicationType, 20),
		GrantTypes: []string{"authorization_code"}, ResponseTypes: []string{"code"},
	}
	now := s.Now()
	fingerprint := fingerprintOf(out)
	err := s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		out.ID, out.Secret, out.SecretExpiresAt = "", "", nil // of a former try
		if err := s.DB.Hold(ctx, tx, "client:"+string(fingerprint)); err != nil {
			return err
		}
		q := rows.New(tx)
		if out.AuthMethod == authNone {
			same, err := q.PublicClientLike(ctx, fingerprint)
			if err == nil {
				out.ID = same.ID
				return q.RenewClient(ctx, rows.RenewClientParams{CreatedAt: db.Micros(now), ID: same.ID})
			}
			if !errors.Is(err, sql.ErrNoRows) {
				return fmt.Errorf("look for the same client: %w", err)
			}
		}
		if err := s.countNew(ctx, tx); err != nil {
			return err
		}
		out.ID = id.New(id.Client)
		var digest []byte
		if out.AuthMethod != authNone {
			never := int64(0)
			out.Secret, out.SecretExpiresAt = secret(), &never
			digest = digestOf(out.Secret)
		}
		uris, err := json.Marshal(out.RedirectURIs)
		if err != nil {
			return fmt.Errorf("store a client: %w", err)
		}
		err = q.InsertClient(ctx, rows.InsertClientParams{
			ID: out.ID, Name: out.Name, RedirectUris: string(uris), AuthMethod: out.AuthMethod, SecretDigest: digest, Fingerprint: fingerprint, CreatedAt: db.Micros(now),
		})
		if err != nil {
			return fmt.Errorf("store a client: %w", err)
		}
		return s.Audit.Record(ctx, tx, access.Caller{}, audit.Event{Action: "client.registered", Resource: out.ID, Detail: map[string]any{"name": out.Name, "redirect_hosts": hostsOf(out.RedirectURIs)}})
	})
	out.IssuedAt = now.Unix()
	return out, err
}

// countNew counts a client that was not known, and refuses those beyond the allowance. One that was known is not counted: it
// adds nothing, and whoever repeats it must not keep others out.
func (s *Service) countNew(ctx context.Context, tx *sql.Tx) error {
	all := allowance.Allowance{Source: "register", Most: s.NewClientsPerHour, Period: time.Hour}
	room, err := all.Take(ctx, tx, s.Now(), 1)
	if err != nil || room {
		return err
	}
	return &Error{Code: TooManyRequests, Description: "Too many programs register here now. Wait a moment, then try again.", RetryAfter: all.Wait()}
}

// fingerprintOf is what makes two registrations the same.
func fingerprintOf(r Registered) []byte {
	sum := sha256.New()
	for _, part := range append([]string{r.Name, r.AuthMethod, r.URI, r.ApplicationType}, r.RedirectURIs...) {
		fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	return sum.Sum(nil)
}

// nameOf returns a name that can be shown anywhere.
func nameOf(name string) string {
	name = strings.TrimSpace(text.Label(name, NameLimit))
	if name == "" {
		return "Unnamed client"
	}
	return name
}

func hostsOf(uris []string) []string {
	var hosts []string
	for _, uri := range uris {
		if host := hostOf(uri); !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// scopesIn returns the scopes that a scope parameter names (RFC 6749 section 3.3). Clients ask for more than there is; what is
// not known is left out.
func scopesIn(parameter string) access.Scopes {
	return access.KnownScopes(strings.Fields(parameter)...)
}

// client returns the client of an id, whose document may be fetched for it. It is invalid_client when there is none.
func (s *Service) client(ctx context.Context, q db.Queryer, clientID string) (Client, error) {
	if isAddress(clientID) {
		return s.described(ctx, clientID)
	}
	return registered(ctx, q, clientID)
}

// isAddress reports whether a client's id is where its document is.
func isAddress(clientID string) bool { return strings.HasPrefix(clientID, "https://") }

func registered(ctx context.Context, q db.Queryer, clientID string) (Client, error) {
	unknown := refuse(InvalidClient, "The client is not known here, or was forgotten because it was not used. It registers again by itself when it is connected anew.")
	if !id.Valid(id.Client, clientID) {
		return Client{}, unknown
	}
	row, err := rows.New(q).ClientByID(ctx, clientID)
	if errors.Is(err, sql.ErrNoRows) {
		return Client{}, unknown
	}
	if err != nil {
		return Client{}, fmt.Errorf("read a client: %w", err)
	}
	c := Client{ID: row.ID, Name: row.Name, AuthMethod: row.AuthMethod, secretDigest: row.SecretDigest}
	if err := json.Unmarshal([]byte(row.RedirectUris), &c.RedirectURIs); err != nil {
		return Client{}, fmt.Errorf("read a client: %w", err)
	}
	return c, nil
}

// Credentials are how a client says who it is (RFC 6749 section 2.3.1): an id, and a secret where it has one.
type Credentials struct {
	ID, Secret string
	Basic      bool // in the Authorization header
}

// authenticate returns the client that the credentials are of. It is invalid_client when they do not hold. Nothing is
// fetched for it: a client that has a code or a token was known when a person let it in.
func (s *Service) authenticate(ctx context.Context, q db.Queryer, c Credentials) (client Client, err error) {
	if isAddress(c.ID) {
		client, err = s.remembered(ctx, q, c.ID)
	} else {
		client, err = registered(ctx, q, c.ID)
	}
	if err != nil {
		return Client{}, err
	}
	wrong := refuse(InvalidClient, "The client's secret is wrong, or missing.")
	if client.AuthMethod == authNone {
		if c.Secret != "" {
			return Client{}, wrong
		}
		return client, nil
	}
	// Whichever of the two ways a secret comes is as good: clients confuse them.
	if subtle.ConstantTimeCompare(digestOf(c.Secret), client.secretDigest) != 1 {
		return Client{}, wrong
	}
	return client, nil
}
