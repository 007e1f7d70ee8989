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
	values := prefilled(v.r.URL.Query(), d.Now())
	if values.Get("expiry") == "" {
		values.Set("expiry", defaultExpiry)
	}
	p, err := v.tokenForm(newForm(values))
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "token-new", "New token", "developer", p)
}

// prefilled turns the public parameters of the address into inputs of the form. What it does not know it leaves out.
func prefilled(query url.Values, now time.Time) url.Values {
	values := url.Values{"name": {query.Get("name")}, "organization": {query.Get("organization")}}
	for _, scope := range access.KnownScopes(parted(query["scopes"])...).List() {
		addScope(values, scope)
	}
	if ids := parted(query["projects"]); len(ids) > 0 {
		values.Set("reach", "chosen")
		values["projects"] = ids
	}
	if days, err := strconv.Atoi(query.Get("expires_in_days")); err == nil && days > 0 && days <= 366*tokens.ExpiryLimitYears {
		values.Set("expiry", strconv.Itoa(days))
		if !slices.Contains(usualDays, days) {
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

// reachesSome reports whether the form says only some projects. One that names projects, or says what we do not know, never
// means all.
func reachesSome(values url.Values) bool {
	reach := values.Get("reach")
	return reach != "all" && (reach != "" || len(values["projects"]) > 0)
}

// draft reads the form.
func (v *visit) draft(values url.Values) tokens.Draft {
	d := tokens.Draft{Name: values.Get("name"), Organization: values.Get("organization"), Scopes: chosenScopes(values).Names()}
	if reachesSome(values) {
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
	f, err := v.refusedDraft(err)
	if err != nil {
		return err
	}
	p, err := v.tokenForm(f)
	if err != nil {
		return err
	}
	return v.again("token-new", "New token", "developer", p)
}

// refusedDraft returns what was typed with what is wrong with it; any other error comes back as it is.
func (v *visit) refusedDraft(err error) (form, error) {
	f := v.typed()
	if problem.Is(err, problem.NotFound) {
		f.Errors["organization"] = "Choose one of your organizations."
		return f, nil
	}
	return f, refused(&f, err, tokenInputs)
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
	p := tokenForm{Crumbs: []crumb{{"Developer", developer}, {"New token", ""}}, Base: developer + "/new", Button: "Create token", Form: f, Unverified: !v.viewer.Verified, Blocked: !v.viewer.Verified}
	if !v.offerOrganizations(&p, f) {
		return p, nil
	}
	p.Presets = presets(p.Base, p.Organization.Slug)
	expiry := f.Value("expiry")
	p.Expiry, p.NoExpiry = expiryChoices(v.d.Now(), expiry), expiry == noExpiry
	return p, v.offerGrant(&p, f, offering{role: p.role(), limit: access.AllScopes()}, v.draft)
}

// offerOrganizations lists the person's organizations, one of them chosen, and reports whether there are any.
func (v *visit) offerOrganizations(p *tokenForm, f form) bool {
	if len(v.viewer.Organizations) == 0 {
		return false
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
	return true
}

// offerGrant lists scopes and projects, and says what the draft of the form would be able to do.
func (v *visit) offerGrant(p *tokenForm, f form, on offering, draft func(url.Values) tokens.Draft) error {
	p.Scopes = scopeRows(chosenScopes(f.Values), on)
	if err := v.offerProjects(p, f); err != nil {
		return err
	}
	if chosenScopes(f.Values).Empty() {
		return nil
	}
	return v.summarize(p, draft(f.Values))
}

// offerProjects lists the projects of the organization to choose from. Projects that were chosen for another
// organization are forgotten.
func (v *visit) offerProjects(p *tokenForm, f form) error {
	var err error
	if p.Projects, p.MoreProjects, err = v.choices(p.Organization.Slug, tokens.ProjectLimit); err != nil {
		return err
	}
	if reachesSome(f.Values) {
		f.Values.Set("reach", "chosen")
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
func (v *visit) summarize(p *tokenForm, draft tokens.Draft) error {
	preview, err := v.d.Tokens.Preview(v.ctx(), v.caller, draft)
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
