package web

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"carnet/access"
	"carnet/internal/problem"
	"carnet/internal/request"
)

// visit is one request of a person.
type visit struct {
	d      *Door
	w      http.ResponseWriter
	r      *http.Request
	info   *request.Info
	caller access.Caller // anonymous when nobody is signed in
	viewer *viewer       // nil when nobody is signed in
}

func (d *Door) visit(w http.ResponseWriter, r *http.Request) *visit {
	return &visit{d: d, w: w, r: r, info: request.From(r.Context())}
}

// identify finds out who is calling. A cookie that does not hold (any more) is as good as none.
func (v *visit) identify(needed bool) error {
	grant, err := v.d.Identify(v.r)
	switch {
	case err == nil:
	case problem.Is(err, problem.VerificationUnavailable), problem.CodeOf(err) == problem.Internal:
		return err
	case needed:
		return errSignIn
	default:
		return nil
	}
	caller := grant.Caller
	if caller.Kind != access.SessionCaller {
		if !needed {
			return nil
		}
		return problem.RequireMay(&caller, access.AccountManage)
	}
	v.caller = caller
	return v.look()
}

// look reads what every page shows about the person.
func (v *visit) look() error {
	profile, err := v.d.Account.Account(v.ctx(), v.caller)
	if err != nil {
		return err
	}
	v.viewer = &viewer{ID: profile.ID, Name: profile.Name, Email: profile.Email, Verified: profile.EmailVerified}
	for _, m := range v.caller.Memberships {
		if m.Role != access.NoRole {
			v.viewer.Organizations = append(v.viewer.Organizations, v.placeOf(m))
		}
	}
	return nil
}

func (v *visit) placeOf(m access.Membership) place {
	acting, _ := v.caller.In(m.Slug)
	return place{
		Slug: m.Slug, Name: m.Name, Role: m.Role.String(), Plan: m.Plan.String(),
		Administers: acting.OrganizationPermissions().Has(access.OrganizationAdminister),
	}
}

// parse reads the form of a POST. Its nonce becomes the idempotency key, so that the same form sent twice does its work
// once.
func (v *visit) parse() error {
	if v.r.Method != http.MethodPost {
		return nil
	}
	if err := v.r.ParseForm(); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return problem.New(problem.TooLarge, "What was sent is too large.")
		}
		return problem.New(problem.RequestMalformed, "The form could not be read. Go back and send it again.")
	}
	nonce := v.r.PostForm.Get("nonce")
	if nonce == "" {
		return nil
	}
	info := *v.info
	info.IdempotencyKey, info.Target = nonce, v.r.Method+" "+v.r.URL.Path
	info.Fingerprint = sha256.Sum256([]byte(withoutSecrets(v.r.PostForm).Encode()))
	v.info = &info
	v.r = v.r.WithContext(request.With(v.r.Context(), &info))
	return nil
}

// withoutSecrets returns the form without the passwords in it: they are no part of what is asked for, and are kept and
// sent back nowhere.
func withoutSecrets(values url.Values) url.Values {
	kept := url.Values{}
	for name, list := range values {
		if !strings.Contains(name, "password") && name != "current" && name != "new" && name != "username" {
			kept[name] = list
		}
	}
	return kept
}

// typed returns a form that shows again what was typed, passwords excepted.
func (v *visit) typed() form { return newForm(withoutSecrets(v.r.PostForm)) }

// posted returns one input of the form.
func (v *visit) posted(name string) string { return v.r.PostForm.Get(name) }

// in returns the caller acting in the organization that the path names.
func (v *visit) in() (access.Caller, place, error) {
	slug := v.r.PathValue("slug")
	caller, ok := v.caller.In(slug)
	if !ok {
		return access.Caller{}, place{}, problem.Absent()
	}
	for _, p := range v.viewer.Organizations {
		if p.Slug == slug {
			return caller, p, nil
		}
	}
	return access.Caller{}, place{}, problem.Absent()
}

// frame fills in what the layout needs.
func (v *visit) frame(title, section string, data any) frame {
	p := frame{Title: title, Section: section, Path: v.here(), Theme: themeOf(v.r), Viewer: v.viewer, Flash: flashes[v.r.URL.Query().Get("done")], Data: data}
	if v.viewer != nil && len(v.viewer.Organizations) > 0 {
		p.Organization = &v.viewer.Organizations[0]
		slug := v.r.PathValue("slug")
		for i, o := range v.viewer.Organizations {
			if o.Slug == slug {
				p.Organization = &v.viewer.Organizations[i]
			}
		}
	}
	return p
}

// show draws a page.
func (v *visit) show(status int, template, title, section string, data any) error {
	return v.d.pages.render(v.w, v.r, status, template, v.frame(title, section, data))
}

// again draws a form again, with what is wrong with it.
func (v *visit) again(template, title, section string, data any) error {
	return v.show(http.StatusUnprocessableEntity, template, title, section, data)
}

// leave sends the person on after a POST, with a word about what was done.
func (v *visit) leave(path, done string) error {
	if done != "" {
		separator := "?"
		if strings.Contains(path, "?") {
			separator = "&"
		}
		path += separator + "done=" + done
	}
	v.w.Header().Set("Cache-Control", "no-store")
	http.Redirect(v.w, v.r, path, http.StatusSeeOther) //nolint:gosec // made here, or by localPath
	return nil
}

// here is the path of a page that the person can come back to: this one, or for a POST the page of the same address.
func (v *visit) here() string {
	path := v.r.URL.Path
	if v.r.Method == http.MethodGet {
		query := v.r.URL.Query()
		query.Del("done") // a word about what was done is said once
		if encoded := query.Encode(); encoded != "" {
			path += "?" + encoded
		}
	} else if _, pattern := v.d.mux.Handler(&http.Request{Method: http.MethodGet, URL: v.r.URL, Host: v.r.Host}); pattern == "/" {
		path = "/"
	}
	if secretPaths[v.r.URL.Path] {
		return v.r.URL.Path // their queries carry codes
	}
	return localPath(path)
}

// secretPaths are pages whose address carries a code of a mail, or what a client sent along.
var secretPaths = map[string]bool{"/verify-email": true, "/setup": true, "/oauth/authorize": true}

// localPath returns the path when it leads to a page of this server, and "/" for anything else: an address of another
// one, however it is disguised ("//host", "/\host"), and what cannot be an address.
func localPath(path string) string {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.Contains(path, `\`) {
		return "/"
	}
	if strings.ContainsFunc(path, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) {
		return "/"
	}
	u, err := url.Parse(path)
	if err != nil || u.Scheme != "" || u.Host != "" || u.Opaque != "" || strings.HasPrefix(u.Path, "//") {
		return "/"
	}
	return path
}

// flashes are what can be said after something was done; the address names one, so that nothing else can be said.
var flashes = map[string]string{
	"verified":          "Your e-mail address is confirmed.",
	"verification-sent": "A new link is on its way. Check your mail.",
	"profile":           "Your profile is saved.",
	"password":          "Your password is changed, and your other sessions are ended. Your tokens go on working.",
	"session-ended":     "The session is ended.",
	"sessions-ended":    "All your other sessions are ended. Your tokens go on working.",
	"signed-out":        "You are signed out. Your tokens go on working.",
	"narrowed":          "The token is changed. It holds from its next request on.",
	"agent-changed":     "The agent's grant is changed. It holds for its next call.",
	"agent-paused":      "The agent is paused. It is refused from its next call on.",
	"agent-resumed":     "The agent is resumed. Its next call goes through.",
	"policy-saved":      "The policy is saved. It holds for the next call of every agent.",
	"member-added":      "The member is added.",
	"role-changed":      "The role is changed. It holds for the next request.",
	"member-removed":    "The member is removed. Their tokens for this organization rest.",
	"left":              "You have left the organization.",
	"shared":            "The project is shared. It holds for the next request.",
	"unshared":          "The project is no longer shared with them. It holds for their next request, and their tokens'.",
	"project-created":   "The project is created. You lead it.",
	"project-saved":     "The project is saved.",
	"project-deleted":   "The project is in the recycle bin for 30 days.",
	"project-restored":  "The project is back.",
	"task-created":      "The task is created.",
	"task-saved":        "The task is saved.",
	"task-restored":     "The task is back.",
	"task-deleted":      "The task is in the recycle bin for 30 days.",
	"comment-added":     "The comment is added.",
	"comment-saved":     "The comment is saved.",
	"comment-deleted":   "The comment is deleted.",
	"organization":      "The organization is created. You own it.",
}

// refused sorts an error out: one that the form can show beside its inputs is filed there and nil comes back; any other
// comes back as it is.
func refused(f *form, err error, inputs map[string]string) error {
	var e *problem.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code {
	case problem.ValidationFailed, problem.Conflict, problem.IdempotencyConflict, problem.VersionStale, problem.WideningRefused,
		problem.RateLimited, problem.CredentialsWrong, problem.CodeInvalid, problem.EmailUnverified, problem.PolicyDenied:
		f.refuse(e, inputs)
		return nil
	default:
		return err
	}
}

// freshen lets a sensitive change go ahead after the person entered their password again on the page that asked for it.
func (v *visit) freshen() error {
	password := v.posted(againInput)
	if password == "" {
		return nil
	}
	if err := v.d.Account.Reauthenticate(v.ctx(), v.caller, password, nil); err != nil {
		return &againError{err}
	}
	// What is known of the caller is a moment old: their sign-in is fresh now.
	return v.identify(true)
}

// againInput is the input of the page that asks for the password again.
const againInput = "reauthenticate_password"
