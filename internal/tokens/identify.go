package tokens

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"carnet/access"
	"carnet/internal/audit"
	"carnet/internal/db"
	"carnet/internal/problem"
	"carnet/internal/tokens/rows"
	"carnet/token"
)

// Identification is a value or a prefix whose token is sought: exactly one of them.
type Identification struct {
	Value, Prefix string
	Invalid       error // what the door could not read
}

// Identify returns the caller's own token that the value or the prefix belongs to, values that a rotation replaced
// included. Whatever is not theirs is absent, whether or not it exists.
func (s *Service) Identify(ctx context.Context, caller access.Caller, what Identification) (Token, error) {
	if err := problem.RequireMay(&caller, access.TokensManage); err != nil {
		return Token{}, err
	}
	if what.Invalid != nil {
		return Token{}, what.Invalid
	}
	if (what.Value == "") == (what.Prefix == "") {
		return Token{}, problem.InvalidFields(
			problem.Field{Location: "body.value", Message: "give either this or prefix"},
			problem.Field{Location: "body.prefix", Message: "give either this or value"})
	}
	var lookup token.LookupID
	var kind token.Kind
	var digest *token.Digest
	if what.Value != "" {
		value, err := token.Parse(what.Value)
		if err != nil {
			return Token{}, problem.Absent()
		}
		d := value.Digest()
		lookup, kind, digest = value.Lookup(), value.Kind(), &d
	} else {
		var err error
		if kind, lookup, err = token.ParsePrefix(what.Prefix); err != nil {
			return Token{}, problem.Absent()
		}
	}
	found, err := rows.New(s.DB.Read()).TokenOfLookup(ctx, rows.TokenOfLookupParams{LookupID: lookup.String(), UserID: caller.UserID})
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Token{}, problem.Absent()
	case err != nil:
		return Token{}, fmt.Errorf("identify a token: %w", err)
	case found.KindPrefix != kind.Prefix(), digest != nil && !digest.Equal(found.Digest):
		return Token{}, problem.Absent()
	}
	return s.own(ctx, s.DB.Read(), caller, found.TokenID)
}

// Activity is what a token did.
type Activity struct {
	Token      Token     `json:"token"`
	CallsByDay []Day     `json:"calls_by_day"` // days with calls, oldest first
	Values     []Value   `json:"values"`       // the current one first
	LateUses   []LateUse `json:"late_uses"`    // of replaced values after their end; latest first

	people map[string]string
	did    []audit.Past
	became []audit.Past
}

// Did returns what was done with the token, for pages: the latest first, not all of it.
func (a Activity) Did() []audit.Past { return a.did }

// Became returns how the token was paused, resumed and changed, for pages: the latest first, not all of it.
func (a Activity) Became() []audit.Past { return a.became }

// NameOf returns the name of somebody who did something to the token, for pages; "" when nobody of that id did.
func (a Activity) NameOf(userID string) string { return a.people[userID] }

// Day counts the calls of a UTC day.
type Day struct {
	Day   string `json:"day"` // YYYY-MM-DD
	Calls int64  `json:"calls"`
}

// Value is one of the values that a token has had.
type Value struct {
	Prefix     string     `json:"prefix"`
	CreatedAt  time.Time  `json:"created_at"`
	ValidUntil *time.Time `json:"valid_until"` // null: the current one
}

// LateUse tells that somebody used a replaced value after its end. It was refused and harmed nothing.
type LateUse struct {
	Prefix     string    `json:"prefix"`
	Uses       int64     `json:"uses"`
	LastUsedAt time.Time `json:"last_used_at"`
	IP         string    `json:"last_used_ip"`
	Client     string    `json:"last_used_client"`
}

// deedsShown is how many of the latest deeds are looked up.
const deedsShown = 20

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// activityDays is how far back calls are counted by day.
const activityDays = 90

// Activity returns what one of the caller's own tokens did: its last use, its calls by day over the last 90 days, and
// the late uses of values that were replaced.
func (s *Service) Activity(ctx context.Context, caller access.Caller, tokenID string) (Activity, error) {
	if err := problem.RequireMay(&caller, access.TokensManage); err != nil {
		return Activity{}, err
	}
	// What is still in memory counts as well: an owner who looks wants to see the call of a second ago.
	if err := s.FlushUses(ctx, true); err != nil {
		s.Log.Warn("last uses could not be written", "error", err)
	}
	t, err := s.own(ctx, s.DB.Read(), caller, tokenID)
	if err != nil {
		return Activity{}, err
	}
	return s.activity(ctx, t)
}

func (s *Service) activity(ctx context.Context, t Token) (Activity, error) {
	q := rows.New(s.DB.Read())
	a := Activity{Token: t, CallsByDay: []Day{}, Values: []Value{}, LateUses: []LateUse{}, people: map[string]string{}}
	var err error
	if a.did, err = s.Audit.ByToken(ctx, s.DB.Read(), t.organizationID, t.ID, deedsShown); err != nil {
		return Activity{}, err
	}
	if a.became, err = s.Audit.OfToken(ctx, s.DB.Read(), t.organizationID, t.ID, deedsShown); err != nil {
		return Activity{}, err
	}
	acted := []string{deref(t.RevokedBy), deref(t.PausedBy)}
	for _, e := range a.became {
		acted = append(acted, e.Actor)
	}
	for _, by := range acted {
		if _, known := a.people[by]; known || by == "" {
			continue
		}
		person, err := q.Person(ctx, by)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return Activity{}, fmt.Errorf("read who did something to a token: %w", err)
		}
		a.people[by] = person.Name
	}
	since := s.Now().UTC().AddDate(0, 0, -activityDays).Format(time.DateOnly)
	days, err := q.Days(ctx, rows.DaysParams{OrganizationID: t.organizationID, TokenID: t.ID, Day: since})
	if err != nil {
		return Activity{}, fmt.Errorf("read the calls of a token: %w", err)
	}
	for _, d := range days {
		a.CallsByDay = append(a.CallsByDay, Day{Day: d.Day, Calls: d.Calls})
	}
	kind := t.Prefix[:token.KindLength]
	values, err := q.Values(ctx, rows.ValuesParams{OrganizationID: t.organizationID, TokenID: t.ID})
	if err != nil {
		return Activity{}, fmt.Errorf("read the values of a token: %w", err)
	}
	for _, v := range values {
		a.Values = append(a.Values, Value{Prefix: kind + v.LookupID, CreatedAt: db.Time(v.CreatedAt), ValidUntil: db.NullTime(v.ValidUntil)})
	}
	late, err := q.LateUses(ctx, rows.LateUsesParams{OrganizationID: t.organizationID, TokenID: t.ID})
	if err != nil {
		return Activity{}, fmt.Errorf("read the late uses of a token: %w", err)
	}
	for _, l := range late {
		a.LateUses = append(a.LateUses, LateUse{
			Prefix: kind + l.LookupID, Uses: l.Uses, LastUsedAt: db.Time(l.LastUsedAt), IP: l.Address, Client: l.Client,
		})
	}
	return a, nil
}
