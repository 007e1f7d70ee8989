package web

import "time"

// gatePage is sign-up, sign-in and what else stands before the door.
type gatePage struct {
	Form  form
	Next  string
	Code  string
	Dead  bool    // the link does not work
	Empty bool    // nobody has an account yet
	Asks  *asking // what signing in leads on to decide about
}

// asking is a program that asks to be let in, as anybody may have called it.
type asking struct {
	Name        string
	DescribedBy string // the host of its document; empty when nobody vouches for its name
	LeadsTo     string
}

// againPage asks for the password again, and carries on what was under way.
type againPage struct {
	Form                             form
	Why, Action, Button, Back, Email string
	Kept                             []kept
}

// profilePage is Settings → Profile.
type profilePage struct{ Form form }

// securityPage is Settings → Security.
type securityPage struct {
	Form     form
	Sessions []sessionView
}

// sessionView is one place where somebody is signed in.
type sessionView struct {
	ID, Label, Client, CreatedFrom, LastUsedIP string
	CreatedAt                                  time.Time
	LastUsedAt                                 *time.Time
	Current                                    bool
}

// errorPage says what went wrong and where to go.
type errorPage struct {
	Status                               int
	Heading, Text, Href, Link, RequestID string
}
