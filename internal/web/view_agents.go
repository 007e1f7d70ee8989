package web

import (
	"html/template"
	"time"

	"carnet/internal/tokens"
)

// clientTile leads to the form that connects a client.
type clientTile struct {
	Name, Href     string
	SignIn, Bearer bool
}

// clientsPage asks which client an agent runs in.
type clientsPage struct {
	Crumbs  []crumb
	Unknown bool // the address names another one
	Clients []clientTile
}

// connectPage shows the ways to connect a client.
type connectPage struct {
	tokenForm
	Client mcpClient
	SignIn []copyable
	Link   template.URL
	agentTerms
}

// agentTerms are what the organization has to say about an agent that is to be connected.
type agentTerms struct {
	Off      bool         // no agents work there
	MostDays *int         // that an agent may live there
	Policy   string       // where that is said
	Halted   *tokens.Halt // how an admin last halted the person's agent of the same client there
}

// connection is whether an agent has made its first call.
type connection struct {
	Token   tokenView
	Address string
}

// connectionPage is the same on a page of its own.
type connectionPage struct {
	Crumbs     []crumb
	Connection connection
}

// overseenView is a member's agent as admins see it.
type overseenView struct {
	tokenView
	OwnerID, OwnerName, OwnerEmail string
	Base                           string // the agent's address among those of its organization
}

// overseenPage lists the agents of an organization.
type overseenPage struct {
	Base             string // of the organization's agents
	Any, Filtered    bool
	Show             string
	Views            []viewLink
	Members, Clients []option
	Caption          string
	Agents           []overseenView
	Pager            pager
	EmptyTitle       string
	EmptyText        string
	RevokeAll, Whose string // where all that the filters name are revoked, and whose those are
}

// oversightPage is one agent of a member.
type oversightPage struct {
	Crumbs []crumb
	Token  overseenView
	deeds
	Member, Client string // where all of the member's, and of the client's, are revoked
}

// haltPage asks once before agents are revoked or paused, and why.
type haltPage struct {
	Crumbs        []crumb
	Form          form
	Heading, Text string
	Agent         *overseenView // the one at stake
	Action        string
	Button        string
	Back          string
	BackLabel     string
	Kept          []kept
}

// removedPage says how many agents were revoked.
type removedPage struct {
	Crumbs []crumb
	Count  int
	Whose  string
	At     time.Time
	Back   string
}

// policyPage is what an organization lets agents do.
type policyPage struct {
	Crumbs      []crumb
	Base        string
	Form        form
	MayChange   bool
	Warning     string // what the policy does that has to be confirmed
	Confirmed   string // what sending it again confirms
	Enabled     bool
	Scopes      []scopeRow
	ScopeViews  []scopeView
	Destructive []destructiveChoice
}

// destructiveChoice is an operation that destroys, with what it destroys.
type destructiveChoice struct {
	Name, Title, Text string
	Chosen            bool
}
