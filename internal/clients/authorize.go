package clients

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"carnet/access"
	"carnet/internal/allowance"
	"carnet/internal/audit"
	"carnet/internal/clients/rows"
	"carnet/internal/db"
	"carnet/internal/problem"
	"carnet/internal/request"
	"carnet/internal/tokens"
)

// stateLimit bounds what a client has us send back.
const stateLimit = 4096

// challengeForm is an S256 code challenge (RFC 7636 section 4.2): SHA-256 in base64url.
var challengeForm = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// Begun is an authorization request that was taken in.
type Begun struct {
	// Handle leads to the request, together with the browser that it belongs to. Empty when the request was refused.
	Handle string
	// RedirectTo is where a refusal is to be told, "" otherwise.
	RedirectTo string
	// Refused is who was refused, and Why.
	Refused Asked
	Why     string
	// Site says that RedirectTo is a site and no program on the person's machine. Who registers a client can choose it
	// freely: to lead there without asking would make this server an open redirector (RFC 9700 section 4.11.2).
	Site bool
}

// beginsPerMinute is how many requests an address may begin in a minute: nobody has to be signed in for it, and each is kept
// for ten minutes.
const beginsPerMinute = 120

// Begin takes an authorization request in (RFC 6749 section 4.1.1), for the browser that sent it. Until client and redirect
// URI are known to belong together the error is a problem for a page; what is wrong afterwards is told to the client.
func (s *Service) Begin(ctx context.Context, query url.Values, browser string) (Begun, error) {
	if err := s.countBegin(ctx); err != nil {
		return Begun{}, err
	}
	client, redirectURI, err := s.sender(ctx, query)
	if err != nil {
		return Begun{}, err
	}
	state := query.Get("state")
	ask, err := s.asked(query)
	var refusal *Error
	if errors.As(err, &refusal) {
		return Begun{
			RedirectTo: s.response(redirectURI, state, url.Values{"error": {refusal.Code}, "error_description": {refusal.Description}}),
			Refused:    askedBy(client, redirectURI), Why: refusal.Description,
			Site: strings.HasPrefix(redirectURI, "https://"), // http is loopback's alone
		}, nil
	}
	if err != nil {
		return Begun{}, err
	}
	handle, now := secret(), s.Now()
	err = s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		return rows.New(tx).InsertRequest(ctx, rows.InsertRequestParams{
			Digest: digestOf(handle), Browser: digestOf(browser), ClientID: client.ID, RedirectUri: redirectURI, State: state, Challenge: ask.challenge,
			Scopes: ask.scopes.Bits(), CreatedAt: db.Micros(now), ExpiresAt: db.Micros(now.Add(requestLife)),
		})
	})
	if err != nil {
		return Begun{}, fmt.Errorf("keep an authorization request: %w", err)
	}
	return Begun{Handle: handle}, nil
}

// countBegin counts a request before anything is looked up for it: whoever sends it, a document may have to be fetched.
func (s *Service) countBegin(ctx context.Context) error {
	from := request.From(ctx).Network()
	if from == "" {
		return nil
	}
	begins := allowance.Allowance{Source: "authorize:" + from, Most: beginsPerMinute, Period: time.Minute}
	room, err := allowance.Use(ctx, s.DB, begins, s.Now())
	if err != nil || room {
		return err
	}
	e := problem.New(problem.RateLimited, "Too many programs ask to be let in from where you are. Wait a minute, then start again from yours.")
	e.RetryAfter, e.Limit = begins.Wait(), beginsPerMinute
	return e
}

// sender returns the client of a request and where its person is sent back to. Whatever is wrong with these is told to the
// person alone: sending them on would make this server an open redirector (RFC 9700 section 4.11).
func (s *Service) sender(ctx context.Context, query url.Values) (Client, string, error) {
	for _, name := range []string{"client_id", "redirect_uri"} {
		if len(query[name]) > 1 {
			return Client{}, "", problem.Newf(problem.RequestMalformed, "The program that sent you here said %s twice. Start again from there.", name)
		}
	}
	client, err := s.client(ctx, s.DB.Read(), query.Get("client_id"))
	var refusal *Error
	if errors.As(err, &refusal) {
		return Client{}, "", problem.Newf(problem.RequestMalformed, "The program that sent you here is not known. %s", refusal.Description)
	}
	if err != nil {
		return Client{}, "", err
	}
	redirectURI := query.Get("redirect_uri")
	if redirectURI == "" && len(client.RedirectURIs) == 1 {
		return client, client.RedirectURIs[0], nil
	}
	if !slices.ContainsFunc(client.RedirectURIs, func(registered string) bool { return matches(registered, redirectURI) }) {
		return Client{}, "", problem.New(problem.RequestMalformed, "The program that sent you here wants you back at an address that it did not register. It may not be what it says it is. Nothing was granted.")
	}
	return client, redirectURI, nil
}

type ask struct {
	challenge string
	scopes    access.Scopes
}

// asked reads the rest of a request.
func (s *Service) asked(query url.Values) (ask, error) {
	for name, values := range query {
		if len(values) > 1 && name != "resource" {
			return ask{}, refuse(InvalidRequest, "A parameter is given more than once.")
		}
	}
	if len(query.Get("state")) > stateLimit {
		return ask{}, refuse(InvalidRequest, "state is too long.")
	}
	if query.Get("response_type") != "code" {
		if query.Get("response_type") == "" {
			return ask{}, refuse(InvalidRequest, "response_type is missing; it must be code.")
		}
		return ask{}, refuse(UnsupportedResponseType, "response_type must be code.")
	}
	if query.Get("code_challenge_method") != "S256" || !challengeForm.MatchString(query.Get("code_challenge")) {
		return ask{}, refuse(InvalidRequest, "code_challenge with code_challenge_method S256 is needed (RFC 7636).")
	}
	if err := s.canonical(query["resource"]); err != nil {
		return ask{}, err
	}
	return ask{challenge: query.Get("code_challenge"), scopes: scopesIn(query.Get("scope"))}, nil
}

// response is what a client is told: by its redirect URI, with the issuer (RFC 9207 section 2).
func (s *Service) response(redirectURI, state string, say url.Values) string {
	if state != "" {
		say.Set("state", state)
	}
	say.Set("iss", s.Issuer())
	return withParameters(redirectURI, say)
}

// Asked is a request as a person looks at it.
type Asked struct {
	Client       Client
	RedirectHost string        // that they are sent back to
	Loopback     bool          // it is this machine: any program on it could be behind
	Scopes       access.Scopes // what the client proposes
	shown        bool
}

// Asked returns the request that a handle leads to, for the browser that it belongs to. One that is over, decided, or
// another browser's is not_found.
func (s *Service) Asked(ctx context.Context, handle, browser string) (Asked, error) {
	r, err := s.request(ctx, s.DB.Read(), handle, browser)
	if err != nil {
		return Asked{}, err
	}
	client, err := s.sought(ctx, r)
	if err != nil {
		return Asked{}, err
	}
	asked := askedBy(client, r.RedirectUri)
	asked.Scopes, asked.shown = access.ScopesFromBits(r.Scopes), r.ShownAt.Valid
	return asked, nil
}

// askedBy says who asks and where they send people back to.
func askedBy(client Client, redirectURI string) Asked {
	_, local := loopback(redirectURI)
	return Asked{Client: client, RedirectHost: hostOf(redirectURI), Loopback: local}
}

// Show is Asked for a person who looks at a request; that the first one did is recorded.
func (s *Service) Show(ctx context.Context, caller access.Caller, handle, browser string) (Asked, error) {
	asked, err := s.Asked(ctx, handle, browser)
	if err != nil || asked.shown {
		return asked, err
	}
	err = s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		first, err := rows.New(tx).MarkShown(ctx, rows.MarkShownParams{ShownAt: sql.NullInt64{Int64: db.Micros(s.Now()), Valid: true}, Digest: digestOf(handle)})
		if err != nil || first == 0 {
			return err
		}
		return s.Audit.Record(ctx, tx, caller, audit.Event{
			Action: "consent.shown", Resource: asked.Client.ID, Detail: map[string]any{"client": asked.Client.Name, "redirect_host": asked.RedirectHost, "scopes": asked.Scopes.Names()},
		})
	})
	if err != nil {
		return Asked{}, fmt.Errorf("record that a request was shown: %w", err)
	}
	return asked, nil
}

// request returns the open request that a handle leads to.
func (s *Service) request(ctx context.Context, q db.Queryer, handle, browser string) (rows.LiveRequestRow, error) {
	r, err := rows.New(q).LiveRequest(ctx, rows.LiveRequestParams{Digest: digestOf(handle), Browser: digestOf(browser), ExpiresAt: db.Micros(s.Now())})
	if errors.Is(err, sql.ErrNoRows) {
		return r, problem.New(problem.NotFound, "This request is over: it was answered, is older than ten minutes, or began in another browser. Start again from the program that sent you here.")
	}
	if err != nil {
		return r, fmt.Errorf("read an authorization request: %w", err)
	}
	return r, nil
}

// sought returns the client of a request. Never in a transaction: its document may have to be fetched.
func (s *Service) sought(ctx context.Context, r rows.LiveRequestRow) (Client, error) {
	client, err := s.client(ctx, s.DB.Read(), r.ClientID)
	var refusal *Error
	if errors.As(err, &refusal) {
		return Client{}, problem.New(problem.NotFound, "The program that sent you here is not known any more. Start again from there.")
	}
	return client, err
}

// Decision is what a person decides about a request.
type Decision struct {
	Handle, Browser string
	Organization    string // slug
	Name            string // of the token; empty: the client's
	Scopes          []string
	Projects        []string // ids; nil: not restricted
	Days            int      // until the token ends
	Replace         bool     // end the agents of the same client that they have in the organization
	Invalid         error    // what the door could not read
}

// LongestDays is how long a token lives at most that a client fetches.
const LongestDays = 90

// Approve grants what the person decided, and returns where to send them: to the client, with a code. It needs a fresh
// sign-in and a verified e-mail address, and refuses what creating a token refuses.
func (s *Service) Approve(ctx context.Context, caller access.Caller, d Decision) (string, error) {
	if err := problem.RequireMay(&caller, access.TokensManage); err != nil {
		return "", err
	}
	asked, err := s.Asked(ctx, d.Handle, d.Browser)
	if err != nil {
		return "", err
	}
	client := asked.Client
	var to string
	err = s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		r, err := s.request(ctx, tx, d.Handle, d.Browser)
		if err != nil {
			return err
		}
		if d.Invalid != nil {
			return d.Invalid
		}
		if d.Days < 1 || d.Days > LongestDays {
			return problem.Invalid("body.expires_in_days", fmt.Sprintf("must be 1 to %d days", LongestDays))
		}
		name := d.Name
		if name == "" {
			name = client.Name
		}
		approval, err := s.Tokens.Approve(ctx, tx, caller, tokens.Draft{
			Name: name, Organization: d.Organization, Scopes: d.Scopes, Projects: d.Projects, ExpiresInDays: &d.Days, Purpose: access.Agent.String(),
			Client: tokens.Client{Name: client.Name, Host: hostOf(r.RedirectUri)},
		})
		if err != nil {
			return err
		}
		if err := s.decide(ctx, tx, d); err != nil {
			return err
		}
		code := secret()
		if err := s.insertCode(ctx, tx, code, r, approval, d.Replace); err != nil {
			return err
		}
		to = s.response(r.RedirectUri, r.State, url.Values{"code": {code}})
		return s.Audit.Record(ctx, tx, caller, audit.Event{
			Organization: approval.OrganizationID, Action: "consent.approved", Resource: r.ClientID,
			Detail: map[string]any{"client": client.Name, "redirect_host": hostOf(r.RedirectUri), "scopes": approval.Scopes.Names(), "projects": approval.Projects, "expires_at": approval.ExpiresAt},
		})
	})
	return to, err
}

// decide uses a request up.
func (s *Service) decide(ctx context.Context, tx *sql.Tx, d Decision) error {
	now := sql.NullInt64{Int64: db.Micros(s.Now()), Valid: true}
	n, err := rows.New(tx).DecideRequest(ctx, rows.DecideRequestParams{DecidedAt: now, Digest: digestOf(d.Handle), Browser: digestOf(d.Browser)})
	if err != nil {
		return fmt.Errorf("note a decision: %w", err)
	}
	if n == 0 {
		return problem.New(problem.NotFound, "This request was answered already. Start again from the program that sent you here.")
	}
	return nil
}

func (s *Service) insertCode(ctx context.Context, tx *sql.Tx, code string, r rows.LiveRequestRow, a tokens.Approval, replace bool) error {
	projects, err := json.Marshal(a.Projects)
	if err != nil {
		return fmt.Errorf("store a code: %w", err)
	}
	replaces := int64(0)
	if replace {
		replaces = 1
	}
	now := s.Now()
	err = rows.New(tx).InsertCode(ctx, rows.InsertCodeParams{
		Digest: digestOf(code), ClientID: r.ClientID, RedirectUri: r.RedirectUri, Challenge: r.Challenge, UserID: a.UserID, SessionID: a.SessionID,
		OrganizationID: a.OrganizationID, Name: a.Name, ClientName: a.Client.Name, ClientHost: a.Client.Host, Scopes: a.Scopes.Bits(), Projects: string(projects),
		Replaces: replaces, TokenExpiresAt: db.Micros(a.ExpiresAt), CreatedAt: db.Micros(now), ExpiresAt: db.Micros(now.Add(codeLife)),
	})
	if err != nil {
		return fmt.Errorf("store a code: %w", err)
	}
	return nil
}

// Deny answers a request with no, and returns where to send the person: to the client, with access_denied.
func (s *Service) Deny(ctx context.Context, caller access.Caller, handle, browser string) (string, error) {
	if err := problem.RequireMay(&caller, access.TokensManage); err != nil {
		return "", err
	}
	asked, err := s.Asked(ctx, handle, browser)
	if err != nil {
		return "", err
	}
	var to string
	err = s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		r, err := s.request(ctx, tx, handle, browser)
		if err != nil {
			return err
		}
		if err := s.decide(ctx, tx, Decision{Handle: handle, Browser: browser}); err != nil {
			return err
		}
		to = s.response(r.RedirectUri, r.State, url.Values{"error": {AccessDenied}, "error_description": {"The person said no."}})
		return s.Audit.Record(ctx, tx, caller, audit.Event{
			Action: "consent.denied", Resource: r.ClientID, Detail: map[string]any{"client": asked.Client.Name, "redirect_host": hostOf(r.RedirectUri)},
		})
	})
	return to, err
}

// seconds returns how long there is until a moment, in whole seconds as clients count (RFC 6749 section 5.1).
func seconds(from, until time.Time) int64 { return int64(until.Sub(from) / time.Second) }
