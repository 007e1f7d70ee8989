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

// quoted marks what somebody chose themselves. It ends where the mark ends: what they chose has none of its own.
func quoted(text string) string {
	return `"` + strings.NewReplacer(`"`, "'", "“", "'", "”", "'", "\u2028", " ", "\u2029", " ").Replace(text) + `"`
}

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

// announcedAtOnce is how many agents are looked up at once.
const announcedAtOnce = 100

// endedUntold is what is noted of an agent whose end was told afterwards, and how far back that is looked for.
const (
	endedUntold       = -1
	endedUntoldWithin = 7 * 24 * time.Hour
)

// AnnounceEnds mails the owners of agents that end within a week, and again within a day; and, where neither came before it
// ended, because the organization shortened its life or no node was running, afterwards. What is to be told to somebody
// about an organization at the same time is one mail. Each end is told once, however many nodes there are. It is called now
// and then.
func (s *Service) AnnounceEnds(ctx context.Context) error {
	now := s.Now()
	moment := sql.NullInt64{Int64: db.Micros(now), Valid: true}
	q := rows.New(s.DB.Read())
	for _, days := range announcedBefore {
		latest := sql.NullInt64{Int64: db.Micros(now.Add(time.Duration(days) * 24 * time.Hour)), Valid: true}
		err := s.announceAll(ctx, days, func() ([]rows.EndingAgentsRow, error) {
			return q.EndingAgents(ctx, rows.EndingAgentsParams{Now: moment, Latest: latest, Days: days, Limit: announcedAtOnce})
		})
		if err != nil {
			return err
		}
	}
	since := sql.NullInt64{Int64: db.Micros(now.Add(-endedUntoldWithin)), Valid: true}
	return s.announceAll(ctx, endedUntold, func() (list []rows.EndingAgentsRow, err error) {
		ended, err := q.EndedAgents(ctx, rows.EndedAgentsParams{Now: moment, Since: since, Limit: announcedAtOnce})
		for _, e := range ended {
			list = append(list, rows.EndingAgentsRow(e))
		}
		return list, err
	})
}

// announceAll tells the owners of all agents that find returns, until it returns no more. What it returned is noted, so that
// it is not returned again.
func (s *Service) announceAll(ctx context.Context, days int64, find func() ([]rows.EndingAgentsRow, error)) error {
	for {
		ending, err := find()
		if err != nil {
			return fmt.Errorf("find agents that end: %w", err)
		}
		mine := map[[2]string][]rows.EndingAgentsRow{} // by owner and organization
		for _, e := range ending {
			told, err := s.noteEnd(ctx, e, days)
			if err != nil {
				return err
			}
			if told { // and no other node
				mine[[2]string{e.Email, e.OrganizationID}] = append(mine[[2]string{e.Email, e.OrganizationID}], e)
			}
		}
		for _, list := range mine {
			s.announceEnds(list, days)
		}
		if len(ending) < announcedAtOnce {
			return nil
		}
	}
}

// noteEnd notes that an agent's end is told, and reports whether it is by this node.
func (s *Service) noteEnd(ctx context.Context, e rows.EndingAgentsRow, days int64) (mine bool, err error) {
	err = s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		n, err := rows.New(tx).SetEndAnnounced(ctx, rows.SetEndAnnouncedParams{Days: days, OrganizationID: e.OrganizationID, ID: e.ID})
		mine = n > 0
		return err
	})
	if err != nil {
		return false, fmt.Errorf("note that an agent's end was announced: %w", err)
	}
	return mine, nil
}

// announceEnds tells somebody about the ends of their agents in an organization.
func (s *Service) announceEnds(list []rows.EndingAgentsRow, days int64) {
	organization := list[0].OrganizationName
	subject, what, then := "stops working soon", "expires", "From then on it is refused. To let it go on, give it a later end (Edit grant), or connect it anew"
	if days == endedUntold {
		subject, what = "has ended", "ended"
		then = "It is refused since. The organization lets agents live for less time than before, or this server was not running when it should have told you sooner. To go on, connect it anew"
	}
	who := "Your agent in " + organization + " " + subject
	if len(list) > 1 {
		who = fmt.Sprintf("%d of your agents in %s %s", len(list), organization, strings.NewReplacer("stops", "stop", "has", "have").Replace(subject))
		then = strings.NewReplacer("it is refused", "they are refused", "It is refused", "They are refused", "let it go on, give it", "let them go on, give them", "connect it", "connect them").Replace(then)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "What acts for you in %s:\n\n", quoted(organization))
	for i, e := range list {
		if i == namedInMails {
			fmt.Fprintf(&b, "  and %d more\n", len(list)-i)
			break
		}
		client := ""
		if e.ClientName != "" {
			client = ", for " + quoted(e.ClientName)
		}
		fmt.Fprintf(&b, "  %s, %s%s, %s on %s\n", quoted(e.Name), e.KindPrefix+e.LookupID, client, what, db.Time(e.ExpiresAt.Int64).Format("2 January 2006 at 15:04 UTC"))
	}
	fmt.Fprintf(&b, "\n%s: %s/settings/agents\n", then, s.PublicURL)
	s.Mail.Post(mail.Message{To: list[0].Email, Subject: who, Text: b.String()})
}
