package web

import (
	"html/template"

	"carnet/internal/clients"
)

// consentPage asks a person what a client may do.
type consentPage struct {
	tokenForm
	Asked clients.Asked
	Here  string
	agentTerms
}

// consentedPage leads back to the client.
type consentedPage struct {
	Client  string
	Host    string
	Granted bool
	Why     string // the request was refused before the person was asked, "" otherwise
	To      template.URL
}

// newConsentedPage takes an address that was checked when the client registered it, and may have a scheme of its own.
func newConsentedPage(asked clients.Asked, to string, granted bool) consentedPage {
	return consentedPage{Client: asked.Client.Name, Host: asked.RedirectHost, Granted: granted, To: template.URL(to)} //nolint:gosec // see above
}
