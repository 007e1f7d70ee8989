package web

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"carnet/access"
	"carnet/internal/optional"
	"carnet/internal/problem"
	"carnet/internal/tokens"
)

const (
	customExpiry  = "custom"
	noExpiry      = "none"
	defaultExpiry = "30"
	localMoment   = "2006-01-02T15:04" // what <input type="datetime-local"> sends; read as UTC
)

// newToken shows the form, filled in from the address. Nothing is granted without the person's click.
func (d *Door) newToken(v *visit) error {
	p, err := v.tokenForm(newForm(prefilled(v.r.URL.Query(), d.Now())))
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "token-new", "New token", "developer", p)
}

// prefilled turns the public parameters of the address into inputs of the form. What it does not know it leaves out.
func prefilled(query url.Values, now time.Time) url.Values {
	values := url.Values{"name": {query.Get("name")}, "organization": {query.Get("organization")}, "expiry": {defaultExpiry}}
	for _, name := range parted(query["scopes"]) {
		if scope, ok := access.ParseScope(name); ok {
			addScope(values, scope)
		}
	}
	if ids := parted(query["projects"]); len(ids) > 0 {
		values.Set("reach", "chosen")
		values["projects"] = ids
	}
	if days, err := strconv.Atoi(query.Get("expires_in_days")); err == nil && days > 0 && days <= 366*tokens.ExpiryLimitYears {
		values.Set("expiry", strconv.Itoa(days))
		if !slices.Contains([]int{7, 30, 60, 90}, days) {
			values.Set("expiry", customExpiry)
			values.Set("expires_at", now.UTC().Add(time.Duration(days)*24*time.Hour).Format(localMoment))
		}
	}
	return values
}

// parted returns the values of a parameter that may be repeated, and of which each may be a list with commas.
func parted(values []string) []string {
	return strings.FieldsFunc(strings.Join(values, ","), func(r rune) bool { return r == ',' || r == ' ' })
}

// addScope chooses a scope in the form; write stays where both are named.
func addScope(values url.Values, scope access.Scope) {
	resource, level, _ := strings.Cut(scope.String(), ":")
	if values.Get("scope."+resource) != "write" {
		values.Set("scope."+resource, level)
	}
}

// chosenScopes returns the scopes that the form's radio buttons say.
func chosenScopes(values url.Values) access.Scopes {
	var set access.Scopes
	for _, entry := range access.Catalogue() {
		level := "read"
		if entry.Write {
			level = "write"
		}
		if values.Get("scope."+entry.Resource) == level {
			set |= access.ScopeSet(entry.Scope)
		}
	}
	return set
}

// draft reads the form.
func (v *visit) draft(values url.Values) tokens.Draft {
	d := tokens.Draft{Name: values.Get("name"), Organization: values.Get("organization"), Scopes: chosenScopes(values).Names()}
	if values.Get("reach") == "chosen" {
		d.Projects = append([]string{}, values["projects"]...)
	}
	switch expiry := values.Get("expiry"); expiry {
	case noExpiry:
	case customExpiry:
		at, err := time.Parse(localMoment, values.Get("expires_at"))
		if err != nil {
			d.Invalid = problem.Invalid("body.expires_at", "choose a date and an hour")
		}
		d.ExpiresAt = &at
	default:
		days, err := strconv.Atoi(expiry)
		if err != nil {
			d.Invalid = problem.Invalid("body.expires_at", "choose when the token ends")
		}
		d.ExpiresInDays = &days
	}
	return d
}

// tokenInputs say which input a field of the API is.
var tokenInputs = map[string]string{"expires_in_days": "expires_at"}

// createToken makes the token and shows its value, once.
func (d *Door) createToken(v *visit) error {
	issued, err := d.Tokens.Create(v.ctx(), v.caller, v.draft(v.r.PostForm))
	if err == nil {
		return v.showValue(issued, false, nil)
	}
	f := v.typed()
	if problem.Is(err, problem.NotFound) {
		f.Errors["organization"] = "Choose one of your organizations."
	} else if err := refused(&f, err, tokenInputs); err != nil {
		return err
	}
	p, err := v.tokenForm(f)
	if err != nil {
		return err
	}
	return v.again("token-new", "New token", "developer", p)
}

// previewToken shows the form again with what the token would be able to do. It makes nothing.
func (d *Door) previewToken(v *visit) error {
	p, err := v.tokenForm(v.typed())
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "token-new", "New token", "developer", p)
}

// tokenForm draws the form around what was typed or prefilled, with the preview of it.
func (v *visit) tokenForm(f form) (tokenForm, error) {
	p := tokenForm{Crumbs: []crumb{{"Developer", developer}, {"New token", ""}}, Form: f, Unverified: !v.viewer.Verified}
	if len(v.viewer.Organizations) == 0 {
		return p, nil
	}
	p.Organization = v.viewer.Organizations[0]
	for _, o := range v.viewer.Organizations {
		if o.Slug == f.Value("organization") {
			p.Organization = o
		}
	}
	for _, o := range v.viewer.Organizations {
		p.Organizations = append(p.Organizations, option{Value: o.Slug, Label: o.Name, Note: "You are " + withArticle(o.Role), Chosen: o.Slug == p.Organization.Slug})
	}
	f.Values.Set("organization", p.Organization.Slug)
	role, _ := access.ParseRole(p.Organization.Role)
	p.Presets = presets(p.Organization.Slug)
	p.Scopes = scopeRows(chosenScopes(f.Values), role, access.AllScopes())
	if err := v.offerProjects(&p, f); err != nil {
		return p, err
	}
	expiry := f.Value("expiry")
	p.Expiry, p.NoExpiry = expiryChoices(v.d.Now(), expiry), expiry == noExpiry
	return p, v.summarize(&p, f)
}

// offerProjects lists the projects of the organization to choose from. Projects that were chosen for another
// organization are forgotten.
func (v *visit) offerProjects(p *tokenForm, f form) error {
	var err error
	if p.Projects, p.MoreProjects, err = v.choices(p.Organization.Slug, tokens.ProjectLimit); err != nil {
		return err
	}
	p.Chosen = f.Value("reach") == "chosen" && len(p.Projects) > 0
	var kept []string
	for i := range p.Projects {
		if f.Has("projects", p.Projects[i].ID) {
			p.Projects[i].Chosen = true
			p.ChosenCount++
			kept = append(kept, p.Projects[i].ID)
		}
	}
	if !p.MoreProjects {
		f.Values["projects"] = kept
	}
	return nil
}

// summarize asks the feature what the token would be able to do.
func (v *visit) summarize(p *tokenForm, f form) error {
	if chosenScopes(f.Values).Empty() {
		return nil
	}
	preview, err := v.d.Tokens.Preview(v.ctx(), v.caller, v.draft(f.Values))
	if err != nil {
		wrong := newForm(nil)
		if err := refused(&wrong, err, tokenInputs); err != nil {
			return err
		}
		p.Summary = &summary{}
		for _, input := range slices.Sorted(maps.Keys(wrong.Errors)) {
			p.Summary.Wrong = append(p.Summary.Wrong, wrongInputs[input]+lowerFirst(wrong.Errors[input]))
		}
		return nil
	}
	p.Summary = &summary{Sentence: preview.Sentence, NotCovered: preview.NotCovered, ProjectsTotal: preview.Permissions.ProjectsTotal}
	for i, project := range preview.Permissions.Projects {
		if i == projectsSummed {
			break
		}
		p.Summary.Projects = append(p.Summary.Projects, projectAbility{Name: project.Name, Role: project.Role, Can: can(project.Permissions)})
	}
	return nil
}

// projectsSummed is how many projects a summary names.
const projectsSummed = 8

// wrongInputs name the inputs in the summary.
var wrongInputs = map[string]string{"name": "The name: ", "expires_at": "The expiry: ", "projects": "The projects: ", "scopes": "The scopes: ", "organization": "The organization: "}

func lowerFirst(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToLower(text[:1]) + text[1:]
}

// askNarrow shows the token's grant, to take away from.
func (d *Door) askNarrow(v *visit) error {
	t, err := v.ownToken()
	if err == nil {
		err = notEnded(t)
	}
	if err != nil {
		return err
	}
	values := url.Values{"name": {t.Name}}
	for _, s := range t.Scopes {
		if scope, ok := access.ParseScope(s.Name); ok {
			addScope(values, scope)
		}
	}
	for _, project := range t.Projects {
		values.Add("projects", project.ID)
	}
	p, err := v.narrowForm(t, newForm(values))
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "token-narrow", "Narrow "+t.Name, "developer", p)
}

// narrowToken takes away from a token.
func (d *Door) narrowToken(v *visit) error {
	t, err := v.ownToken()
	if err != nil {
		return err
	}
	_, err = d.Tokens.Change(v.ctx(), v.caller, t.ID, v.narrowing(t))
	if err == nil {
		return v.leave(developer+"/"+t.ID, "narrowed")
	}
	f := v.typed()
	if err := refused(&f, err, nil); err != nil {
		return err
	}
	p, err := v.narrowForm(t, f)
	if err != nil {
		return err
	}
	return v.again("token-narrow", "Narrow "+t.Name, "developer", p)
}

// narrowing reads the form. What it leaves as it was is no part of the change, and projects that the person does not see
// at the moment stay.
func (v *visit) narrowing(t tokenView) tokens.Change {
	values := v.r.PostForm
	change := tokens.Change{Name: optional.Of(values.Get("name"))}
	var before access.Scopes
	for _, s := range t.Scopes {
		if scope, ok := access.ParseScope(s.Name); ok {
			before |= access.ScopeSet(scope)
		}
	}
	if after := chosenScopes(values); after != before {
		change.Scopes = optional.Of(after.Names())
	}
	if t.Restricted || values.Get("reach") == "chosen" {
		kept := append([]string{}, values["projects"]...)
		if len(kept) != len(t.Projects) || !t.Restricted {
			change.Projects = optional.Of(append(kept, t.hidden...))
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

// narrowForm offers what the token has, and nothing else.
func (v *visit) narrowForm(t tokenView, f form) (narrowPage, error) {
	p := narrowPage{Crumbs: tokenCrumbs(t, "Narrow"), Token: t, Form: f, Chosen: t.Restricted || f.Value("reach") == "chosen"}
	var limit access.Scopes
	for _, s := range t.Scopes {
		if scope, ok := access.ParseScope(s.Name); ok {
			limit |= access.ScopeSet(scope)
		}
	}
	for _, scope := range limit.List() { // x:write may become x:read
		for _, entry := range access.Catalogue() {
			if access.ScopeSet(entry.Scope).Within(access.ScopeSet(scope)) {
				limit |= access.ScopeSet(entry.Scope)
			}
		}
	}
	// What the role covers today is not the question: a scope that the token has may stay.
	p.Scopes = scopeRows(chosenScopes(f.Values), access.Owner, limit)
	if t.Restricted {
		for _, project := range t.Projects {
			p.Projects = append(p.Projects, projectChoice{projectName: project})
		}
	} else if t.Role != "" {
		var err error
		if p.Projects, _, err = v.choices(t.Organization, tokens.ProjectLimit); err != nil {
			return p, err
		}
	}
	for i := range p.Projects {
		if p.Projects[i].Chosen = f.Has("projects", p.Projects[i].ID); p.Projects[i].Chosen {
			p.ChosenCount++
		}
	}
	return p, nil
}
