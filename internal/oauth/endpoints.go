package oauth

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"carnet/internal/allowance"
	"carnet/internal/clients"
	"carnet/internal/request"
)

// token gives a client its token for a code (RFC 6749 section 4.1.3).
func (d *Door) token(w http.ResponseWriter, r *http.Request) {
	values, err := form(r)
	if err == nil {
		err = d.limit(r, allowance.Allowance{Source: "token:" + request.From(r.Context()).Network(), Most: d.Limits.TokenRequestsPerMinute, Period: time.Minute})
	}
	var who clients.Credentials
	if err == nil {
		who, err = credentials(r, values)
	}
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	fetched, err := d.Clients.Exchange(r.Context(), clients.Exchange{
		Credentials: who, GrantType: values.Get("grant_type"), Code: values.Get("code"), RedirectURI: values.Get("redirect_uri"),
		Verifier: values.Get("code_verifier"), Resource: values["resource"],
	})
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	answer(w, http.StatusOK, fetched)
}

// revoke ends a token (RFC 7009 section 2).
func (d *Door) revoke(w http.ResponseWriter, r *http.Request) {
	values, err := form(r)
	if err == nil {
		err = d.limit(r, allowance.Allowance{Source: "token:" + request.From(r.Context()).Network(), Most: d.Limits.TokenRequestsPerMinute, Period: time.Minute})
	}
	var who clients.Credentials
	if err == nil {
		who, err = credentials(r, values)
	}
	if err == nil {
		err = d.Clients.Revoke(r.Context(), who, values.Get("token"))
	}
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}

const registrationLimit = 64 << 10

// register takes a client in (RFC 7591 section 3). What it says about itself in kinds that are not expected is left out,
// but for its redirect URIs.
func (d *Door) register(w http.ResponseWriter, r *http.Request) {
	err := d.limit(r, allowance.Allowance{Source: "register:" + request.From(r.Context()).Network(), Most: d.Limits.RegistrationsPerHour, Period: time.Hour})
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	registration, err := readRegistration(w, r)
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	registered, err := d.Clients.Register(r.Context(), registration)
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	answer(w, http.StatusCreated, registered)
}

func readRegistration(w http.ResponseWriter, r *http.Request) (clients.Registration, error) {
	malformed := &clients.Error{Code: clients.InvalidClientMetadata, Description: "Send one JSON object, at most 64 KiB."}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, registrationLimit))
	if err != nil {
		return clients.Registration{}, malformed
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return clients.Registration{}, malformed
	}
	var out clients.Registration
	if raw, ok := fields["redirect_uris"]; ok && json.Unmarshal(raw, &out.RedirectURIs) != nil {
		return out, &clients.Error{Code: clients.InvalidRedirectURI, Description: "redirect_uris must be a list of texts."}
	}
	var wrong []error
	for name, into := range map[string]*string{
		"client_name": &out.Name, "token_endpoint_auth_method": &out.AuthMethod, "client_uri": &out.URI, "application_type": &out.ApplicationType, "scope": &out.Scope,
	} {
		if raw, ok := fields[name]; ok && json.Unmarshal(raw, into) != nil && name == "token_endpoint_auth_method" {
			wrong = append(wrong, &clients.Error{Code: clients.InvalidClientMetadata, Description: "token_endpoint_auth_method must be a text."})
		}
	}
	return out, errors.Join(wrong...)
}
