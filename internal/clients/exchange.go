package clients

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"

	"carnet/access"
	"carnet/internal/audit"
	"carnet/internal/clients/rows"
	"carnet/internal/db"
	"carnet/internal/problem"
	"carnet/internal/tokens"
)

// Exchange is a request for a token (RFC 6749 section 4.1.3).
type Exchange struct {
	Credentials
	GrantType, Code, RedirectURI, Verifier string
	Resource                               []string
}

// Fetched answers it (RFC 6749 section 5.1). There is no refresh token: the token lives as long as its person allowed, and
// revoking it ends what the client can do.
type Fetched struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"`
	Scope       string `json:"scope"`
}

// verifierForm is a code verifier (RFC 7636 section 4.1).
var verifierForm = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)

// errBurnt is the refusal of a code that does not hold, for whichever reason: to tell which would help a guesser.
var errBurnt = refuse(InvalidGrant, "The code does not hold: it is wrong, older than a minute, used before, or was given to somebody else. Sign in again.")

// Exchange gives a client its token for a code, once. A code that does not come with everything that it was given for is
// burnt. One that is used again ends the token that it was used for: somebody else has it (RFC 6749 section 4.1.2, RFC 9700
// section 4.5). Of several at once one gets the token, and the next ends it: nobody can tell which of them is the thief.
func (s *Service) Exchange(ctx context.Context, e Exchange) (Fetched, error) {
	switch {
	case e.GrantType == "":
		return Fetched{}, refuse(InvalidRequest, "grant_type is missing; it must be authorization_code.")
	case e.GrantType != "authorization_code":
		return Fetched{}, refuse(UnsupportedGrantType, "grant_type must be authorization_code.")
	case e.Code == "" || e.ID == "" || e.Verifier == "":
		return Fetched{}, refuse(InvalidRequest, "code, client_id and code_verifier are needed.")
	}
	client, err := s.authenticate(ctx, s.DB.Read(), e.Credentials)
	if err != nil {
		return Fetched{}, err
	}
	var issued tokens.Issued
	var refusal error
	err = s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		issued, refusal = tokens.Issued{}, nil // of a former try
		if err := s.DB.Hold(ctx, tx, "code:"+e.Code); err != nil {
			return err
		}
		issued, refusal, err = s.redeem(ctx, tx, client, e)
		return err
	})
	if err == nil {
		err = refusal
	}
	if err != nil {
		return Fetched{}, err
	}
	s.Tokens.TellReturned(ctx, issued.Token, issued.Owner)
	return Fetched{
		AccessToken: issued.Value.Reveal(), TokenType: "Bearer", ExpiresIn: seconds(s.Now(), *issued.Token.ExpiresAt),
		Scope: access.KnownScopes(issued.Token.Scopes...).String(),
	}, nil
}

// redeem uses a code up, in the transaction that makes the token. A refusal is told, and what burnt the code stays.
func (s *Service) redeem(ctx context.Context, tx *sql.Tx, client Client, e Exchange) (issued tokens.Issued, refusal, err error) {
	q := rows.New(tx)
	code, err := q.Code(ctx, digestOf(e.Code))
	if errors.Is(err, sql.ErrNoRows) {
		return issued, errBurnt, nil
	}
	if err != nil {
		return issued, nil, fmt.Errorf("read a code: %w", err)
	}
	if code.UsedAt.Valid {
		return issued, errBurnt, s.reused(ctx, tx, code)
	}
	n, err := q.UseCode(ctx, rows.UseCodeParams{UsedAt: sql.NullInt64{Int64: db.Micros(s.Now()), Valid: true}, Digest: digestOf(e.Code)})
	if err != nil {
		return issued, nil, fmt.Errorf("use a code: %w", err)
	}
	if n == 0 || !s.fits(code, client, e) {
		return issued, errBurnt, nil
	}
	if refusal := s.canonical(e.Resource); refusal != nil {
		return issued, refusal, nil
	}
	approval := tokens.Approval{
		UserID: code.UserID, SessionID: code.SessionID, OrganizationID: code.OrganizationID, Name: code.Name, Scopes: access.ScopesFromBits(code.Scopes),
		ExpiresAt: db.Time(code.TokenExpiresAt), Client: tokens.Client{Name: code.ClientName, Host: code.ClientHost}, ClientID: code.ClientID, Replaces: code.Replaces != 0,
	}
	if err := json.Unmarshal([]byte(code.Projects), &approval.Projects); err != nil {
		return issued, nil, fmt.Errorf("read a code: %w", err)
	}
	// What was allowed a moment ago may not be any more: the user, the membership, the role, the policy. The code stays used.
	if _, err := tx.ExecContext(ctx, "SAVEPOINT redeem"); err != nil {
		return issued, nil, fmt.Errorf("redeem a code: %w", err)
	}
	issued, err = s.Tokens.Redeem(ctx, tx, approval)
	var not *problem.Error
	switch {
	case errors.As(err, &not) && not.Code.Status() < 500:
		if _, err := tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT redeem"); err != nil {
			return issued, nil, fmt.Errorf("redeem a code: %w", err)
		}
		return tokens.Issued{}, refuse(InvalidGrant, "What was granted cannot be given any more: "+not.Words()), nil
	case err != nil:
		return issued, nil, err
	}
	if err := q.RedeemCode(ctx, rows.RedeemCodeParams{TokenID: issued.Token.ID, Digest: digestOf(e.Code)}); err != nil {
		return issued, nil, fmt.Errorf("redeem a code: %w", err)
	}
	if err := q.TouchClient(ctx, rows.TouchClientParams{LastUsedAt: sql.NullInt64{Int64: db.Micros(s.Now()), Valid: true}, ID: client.ID}); err != nil {
		return issued, nil, fmt.Errorf("note a client's use: %w", err)
	}
	return issued, nil, nil
}

// fits reports whether an exchange comes with everything that its code was given for.
func (s *Service) fits(code rows.CodeRow, client Client, e Exchange) bool {
	if !verifierForm.MatchString(e.Verifier) || db.Micros(s.Now()) >= code.ExpiresAt || code.ClientID != client.ID {
		return false
	}
	if e.RedirectURI != "" && e.RedirectURI != code.RedirectUri {
		return false
	}
	sum := sha256.Sum256([]byte(e.Verifier))
	return subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(code.Challenge)) == 1
}

// reused ends the token of a code that comes a second time.
func (s *Service) reused(ctx context.Context, tx *sql.Tx, code rows.CodeRow) error {
	if code.TokenID == "" {
		return nil
	}
	if err := s.Tokens.RevokeReused(ctx, tx, code.OrganizationID, code.TokenID); err != nil {
		return err
	}
	return s.Audit.Record(ctx, tx, access.Caller{}, audit.Event{
		Organization: code.OrganizationID, Action: "consent.code_reused", Resource: code.TokenID, Outcome: audit.Denied, Reason: "reuse",
		Detail: map[string]any{"client": code.ClientName, "user": code.UserID},
	})
}

// Revoke ends the token that a client presents (RFC 7009 section 2), when it is that client's. Anything that is no live
// token of anybody is ended already.
func (s *Service) Revoke(ctx context.Context, who Credentials, value string) error {
	if value == "" || who.ID == "" {
		return refuse(InvalidRequest, "token and client_id are needed.")
	}
	client, err := s.authenticate(ctx, s.DB.Read(), who)
	if err != nil {
		return err
	}
	err = s.Tokens.RevokeOfClient(ctx, value, client.ID)
	if problem.Is(err, problem.NotFound) {
		return refuse(UnauthorizedClient, "The token is not one that this client fetched. Its owner revokes it under Settings, Agents.")
	}
	return err
}

// MetadataURL returns where the metadata of the protected resource are (RFC 9728 section 3.1).
func (s *Service) MetadataURL() string {
	u, err := url.Parse(s.Resource())
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host + "/.well-known/oauth-protected-resource" + u.Path
}
