package tokens

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/mail"
	"carnet/internal/tokens/rows"
)

// notice is a mail that still needs to say who did it.
type notice struct {
	subject string
	text    func(by string) string
}

// tell mails the owner of agents what an admin did with them. Who does it to themselves knows.
func (s *Service) tell(ctx context.Context, caller access.Caller, owner Owner, n notice) {
	if owner.UserID == caller.UserID {
		return
	}
	by := "an admin"
	if person, err := rows.New(s.DB.Read()).Person(ctx, caller.UserID); err == nil {
		by = quoted(person.Name) + " (" + person.Email + ")"
	}
	s.Mail.Post(mail.Message{To: owner.Email, Subject: n.subject, Text: n.text(by) + "\nYour agents: " + s.PublicURL + "/settings/agents\n"})
}

// quoted marks what somebody chose themselves.
func quoted(text string) string { return `"` + text + `"` }

func (o Overseen) described() string {
	text := quoted(o.Name) + ", " + o.Prefix
	if o.Client != nil && o.Client.Name != "" {
		text += ", for " + quoted(o.Client.Name)
	}
	return text
}

// revokedMail tells about agents of one owner that were revoked together.
func revokedMail(list []Overseen) notice {
	organization, reason := list[0].organizationName, list[0].RevokeReason
	subject := "Your agent was revoked in " + organization
	if len(list) > 1 {
		subject = fmt.Sprintf("%d of your agents were revoked in %s", len(list), organization)
	}
	return notice{subject: subject, text: func(by string) string {
		var b strings.Builder
		fmt.Fprintf(&b, "%s, an admin of %s, revoked what acted for you there:\n\n", by, quoted(organization))
		for i, o := range list {
			if i == namedInMails {
				fmt.Fprintf(&b, "  and %d more\n", len(list)-i)
				break
			}
			b.WriteString("  " + o.described() + "\n")
		}
		if reason != "" {
			fmt.Fprintf(&b, "\nWhy: %s\n", quoted(reason))
		}
		b.WriteString("\nIt is refused since. To connect again, sign in from the client, or create a new agent token.\n")
		return b.String()
	}}
}

// namedInMails is how many agents one mail names.
const namedInMails = 20

func pausedMail(o Overseen, reason string) notice {
	return notice{subject: "Your agent was paused in " + o.organizationName, text: func(by string) string {
		text := fmt.Sprintf("%s, an admin of %s, paused what acts for you there:\n\n  %s\n", by, quoted(o.organizationName), o.described())
		if reason != "" {
			text += fmt.Sprintf("\nWhy: %s\n", quoted(reason))
		}
		return text + "\nIt is refused until an admin resumes it.\n"
	}}
}

// announcedBefore are the days before an agent's end at which its owner is told, the nearest first.
var announcedBefore = []int64{1, 7}

const announcedAtOnce = 100

// endedUntold is what is noted of an agent whose end was told afterwards, and how far back that is looked for.
const (
	endedUntold       = -1
	endedUntoldWithin = 7 * 24 * time.Hour
)

// AnnounceEnds mails the owners of agents that end within a week, and again within a day; and, where neither came before it
// ended, because the organization shortened its life or no node was running, afterwards. Each mail goes out once, however
// many nodes there are. It is called now and then.
func (s *Service) AnnounceEnds(ctx context.Context) error {
	now := s.Now()
	for _, days := range announcedBefore {
		ending, err := rows.New(s.DB.Read()).EndingAgents(ctx, rows.EndingAgentsParams{
			Now:    sql.NullInt64{Int64: db.Micros(now), Valid: true},
			Latest: sql.NullInt64{Int64: db.Micros(now.Add(time.Duration(days) * 24 * time.Hour)), Valid: true}, Days: days, Limit: announcedAtOnce,
		})
		if err != nil {
			return fmt.Errorf("find agents that end soon: %w", err)
		}
		for _, e := range ending {
			if err := s.announceEnd(ctx, e, days); err != nil {
				return err
			}
		}
	}
	ended, err := rows.New(s.DB.Read()).EndedAgents(ctx, rows.EndedAgentsParams{
		Now: sql.NullInt64{Int64: db.Micros(now), Valid: true}, Since: sql.NullInt64{Int64: db.Micros(now.Add(-endedUntoldWithin)), Valid: true}, Limit: announcedAtOnce,
	})
	if err != nil {
		return fmt.Errorf("find agents that ended: %w", err)
	}
	for _, e := range ended {
		if err := s.announceEnd(ctx, rows.EndingAgentsRow(e), endedUntold); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) announceEnd(ctx context.Context, e rows.EndingAgentsRow, days int64) error {
	var mine int64
	err := s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		mine, err = rows.New(tx).SetEndAnnounced(ctx, rows.SetEndAnnouncedParams{Days: days, OrganizationID: e.OrganizationID, ID: e.ID})
		return err
	})
	if err != nil {
		return fmt.Errorf("note that an agent's end was announced: %w", err)
	}
	if mine == 0 {
		return nil // another node told them
	}
	client := ""
	if e.ClientName != "" {
		client = " for " + quoted(e.ClientName)
	}
	subject, what := "stops working soon", "expires on %s. From then on it is refused."
	if days == endedUntold {
		subject, what = "has ended", "ended on %s, and is refused since. The organization lets agents live for less time than before, or this server was not running when it should have told you sooner."
	}
	s.Mail.Post(mail.Message{
		To: e.Email, Subject: "Your agent in " + e.OrganizationName + " " + subject,
		Text: fmt.Sprintf("Your agent %s%s in %s "+what+"\n\nTo go on, sign in again from the client, or create a new agent token: %s/settings/agents\n",
			quoted(e.Name), client, quoted(e.OrganizationName), db.Time(e.ExpiresAt.Int64).Format("2 January 2006 at 15:04 UTC"), s.PublicURL),
	})
	return nil
}
