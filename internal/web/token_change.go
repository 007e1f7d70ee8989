package web

import (
	"net/http"
	"net/url"
	"slices"
	"time"

	"carnet/access"
	"carnet/internal/optional"
	"carnet/internal/problem"
	"carnet/internal/tokens"
)

// askNarrow shows a personal token's grant, to take away from.
func (d *Door) askNarrow(v *visit) error { return v.askChange("Narrow") }

// narrowToken takes away from a token.
func (d *Door) narrowToken(v *visit) error { return v.changeToken("Narrow") }

// askGrant shows an agent's grant, to change.
func (d *Door) askGrant(v *visit) error { return v.askChange("Edit grant") }

// changeGrant gives an agent another grant. One that goes beyond the old one needs a fresh sign-in, which the feature asks
// for.
func (d *Door) changeGrant(v *visit) error { return v.changeToken("Edit grant") }

func (v *visit) askChange(here string) error {
	t, err := v.ownToken()
	if err == nil {
		err = notEnded(t)
	}
	if err != nil {
		return err
	}
	values := url.Values{"name": {t.Name}}
	for _, scope := range t.scopes().List() {
		addScope(values, scope)
	}
	for _, project := range t.Projects {
		values.Add("projects", project.ID)
	}
	return v.changeForm(t, newForm(values), here, http.StatusOK)
}

func (v *visit) changeToken(here string) error {
	t, err := v.ownToken()
	if err != nil {
		return err
	}
	_, err = v.d.Tokens.Change(v.ctx(), v.caller, t.ID, v.changed(t))
	switch {
	case err == nil && t.Agent:
		return v.leave(t.Href(), "agent-changed")
	case err == nil:
		return v.leave(t.Href(), "narrowed")
	}
	f := v.typed()
	if err := refused(&f, err, nil); err != nil {
		return err
	}
	return v.changeForm(t, f, here, http.StatusUnprocessableEntity)
}

// changed reads the form. What it leaves as it was is no part of the change, and projects that the person does not see
// at the moment stay.
func (v *visit) changed(t tokenView) tokens.Change {
	values := v.r.PostForm
	change := tokens.Change{Name: optional.Of(values.Get("name"))}
	if after := chosenScopes(values); withReads(after) != withReads(t.scopes()) {
		change.Scopes = optional.Of(after.Names())
	}
	switch {
	case values.Get("reach") == "all" && t.Restricted:
		change.Projects = optional.Null[[]string]()
	case reachesSome(values), t.Restricted:
		kept := append(append([]string{}, values["projects"]...), t.hidden...)
		if !t.Restricted || !sameSet(kept, t.projectIDs()) {
			change.Projects = optional.Of(kept)
		}
	}
	if end := values.Get("expires_at"); end != "" {
		at, err := time.Parse(localMoment, end)
		if err != nil {
			change.Invalid = problem.Invalid("body.expires_at", "choose a date and an hour, or leave it empty")
		}
		change.ExpiresAt = optional.Of(at)
	}
	return change
}

func sameSet(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}

// changeForm offers what the token has. An agent is offered more: what its owner's role and the organization's policy
// permit.
func (v *visit) changeForm(t tokenView, f form, here string, status int) error {
	p := changePage{
		Crumbs: tokenCrumbs(t, here), Token: t, Action: v.r.URL.Path, Form: f, Organization: place{Slug: t.Organization, Name: t.OrganizationName},
		Chosen: reachesSome(f.Values) || t.Restricted && f.Value("reach") == "",
	}
	held := withReads(t.scopes())
	// What the role covers today is not the question: a scope that the token has may stay.
	on := offering{role: access.Owner, limit: held, kept: held}
	var err error
	if t.Agent {
		if on, err = v.agentOffering(t.Organization, t.Role); err != nil {
			return err
		}
		on.kept = held
	}
	p.Scopes = scopeRows(chosenScopes(f.Values), on)
	if t.Role != "" && (t.Agent || !t.Restricted) {
		if p.Projects, p.MoreProjects, err = v.choices(t.Organization, tokens.ProjectLimit); err != nil {
			return err
		}
	}
	for _, project := range t.Projects {
		if !slices.ContainsFunc(p.Projects, func(c projectChoice) bool { return c.ID == project.ID }) {
			p.Projects = append(p.Projects, projectChoice{projectName: project})
		}
	}
	for i := range p.Projects {
		if p.Projects[i].Chosen = f.Has("projects", p.Projects[i].ID); p.Projects[i].Chosen {
			p.ChosenCount++
		}
	}
	return v.show(status, "token-change", here+": "+t.Name, t.surface().section, p)
}
