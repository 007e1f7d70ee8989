package web

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"carnet/access"
	"carnet/internal/optional"
	"carnet/internal/page"
	"carnet/internal/problem"
	"carnet/internal/work"
)

func (d *Door) projectRoutes() map[string]handler {
	const all = "/organizations/{slug}/projects"
	const one = all + "/{project}"
	return map[string]handler{
		"GET " + all:                             d.listProjects,
		"GET " + all + "/new":                    d.askProject,
		"POST " + all + "/new":                   d.createProject,
		"GET " + one:                             d.showProject,
		"GET " + one + "/edit":                   d.askEditProject,
		"POST " + one + "/edit":                  d.editProject,
		"GET " + one + "/delete":                 d.askDeleteProject,
		"POST " + one + "/delete":                d.deleteProject,
		"POST " + one + "/restore":               d.restoreProject,
		"GET " + one + "/members":                d.listProjectMembers,
		"POST " + one + "/members":               d.shareProject,
		"GET " + one + "/members/{user}/remove":  d.askUnshare,
		"POST " + one + "/members/{user}/remove": d.unshareProject,
	}
}

// projectsOf returns the address of an organization's projects.
func projectsOf(slug string) string { return "/organizations/" + url.PathEscape(slug) + "/projects" }

// site is where a page of a project stands: the caller in its organization, the project, and what the caller may do.
type site struct {
	caller  access.Caller
	place   place
	project work.Project
	base    string
	held    access.Permissions
}

// site reads the project that the path names.
func (v *visit) site() (site, error) {
	caller, o, err := v.in()
	if err != nil {
		return site{}, err
	}
	p, err := v.d.Work.Project(v.ctx(), caller, v.r.PathValue("project"))
	if err != nil {
		return site{}, err
	}
	return site{caller: caller, place: o, project: p, base: projectsOf(o.Slug) + "/" + p.ID, held: caller.ProjectPermissions(p.Resource())}, nil
}

// crumbs are the way to the project, and from there on.
func (s site) crumbs(further ...crumb) []crumb {
	list := []crumb{{"Projects", projectsOf(s.place.Slug)}, {s.project.Name, s.base}}
	if len(further) == 0 {
		list[1].Href = ""
	}
	return append(list, further...)
}

func projectViewOf(p work.Project) projectView {
	return projectView{
		ID: p.ID, Key: p.Key, Name: p.Name, Description: p.Description, Status: string(p.Status), Private: p.Visibility == access.Private.String(),
	}
}

// text returns an input with the line ends that are kept; browsers send others.
func (v *visit) text(name string) string { return strings.ReplaceAll(v.posted(name), "\r\n", "\n") }

// version returns the version that a form was made from, nil when it does not say.
func (v *visit) version() *int64 {
	n, err := strconv.ParseInt(v.posted("version"), 10, 64)
	if err != nil {
		return nil
	}
	return &n
}

// overtaken lets a form that somebody else was quicker than be sent again, knowingly.
func overtaken(f *form, err error, version int64) {
	if problem.Is(err, problem.VersionStale) {
		f.Failure = "Somebody else changed this while you were at it. Nothing was saved. Save again to replace what they wrote with what stands below."
		f.Values.Set("version", strconv.FormatInt(version, 10))
	}
}

// listProjects shows the projects that the person sees, or the recycle bin.
func (d *Door) listProjects(v *visit) error {
	caller, o, err := v.in()
	if err != nil {
		return err
	}
	query := v.r.URL.Query()
	deleted := query.Get("deleted") == "true"
	listed, err := d.Work.ListProjects(v.ctx(), caller, work.ProjectQuery{Request: page.Request{Cursor: query.Get("cursor"), Sort: "name"}, Deleted: deleted})
	if err != nil {
		return err
	}
	counts, err := d.Work.CountTasks(v.ctx(), caller, work.TaskFilter{})
	if err != nil {
		return err
	}
	open := map[string]int{}
	for _, c := range counts.ByProject {
		open[c.ProjectID] = int(c.Total - c.ByStatus[work.Done])
	}
	p := projectsPage{MayCreate: caller.OrganizationPermissions().Has(access.ProjectsCreate), Deleted: deleted, Base: projectsOf(o.Slug)}
	for _, one := range listed.Items {
		card := projectCard{projectView: projectViewOf(one), Tasks: !deleted, Open: open[one.ID], DeletedAt: one.DeletedAt}
		card.MayRestore = deleted && caller.ProjectPermissions(one.Resource()).Has(access.ProjectsWrite)
		p.Projects = append(p.Projects, card)
	}
	p.Pager = pages(v.r.URL, listed.NextCursor)
	return v.show(http.StatusOK, "projects", "Projects", "projects", p)
}

// pages links a list to its next page and back to its first one, keeping the filters.
func pages(here *url.URL, next string) pager {
	var p pager
	query := here.Query()
	query.Del("done")
	if query.Has("cursor") {
		query.Del("cursor")
		p.First = here.Path + "?" + query.Encode()
	}
	if next != "" {
		query.Set("cursor", next)
		p.Next = here.Path + "?" + query.Encode()
	}
	return p
}

func named[T ~string](values []T) []option {
	var list []option
	for _, value := range values {
		list = append(list, option{Value: string(value), Label: titles[string(value)]})
	}
	return list
}

func projectForm(f form) workForm {
	return workForm{Form: f, Statuses: named(work.ProjectStatuses()), Visibilities: named([]string{"organization", "private"})}
}

func (d *Door) askProject(v *visit) error {
	return v.newProjectForm(newForm(url.Values{"status": {string(work.Active)}}), http.StatusOK)
}

func (v *visit) newProjectForm(f form, status int) error {
	_, o, err := v.in()
	if err != nil {
		return err
	}
	p := projectForm(f)
	p.Crumbs = []crumb{{"Projects", projectsOf(o.Slug)}, {"New project", ""}}
	p.Action, p.Back = projectsOf(o.Slug)+"/new", projectsOf(o.Slug)
	return v.show(status, "project-form", "New project", "projects", p)
}

// projectFields reads the form. Keys are capitals; what was typed in small letters means the same.
func (v *visit) projectFields() work.ProjectFields {
	return work.ProjectFields{
		Key: optional.Of(strings.ToUpper(strings.TrimSpace(v.posted("key")))), Name: optional.Of(v.posted("name")),
		Description: optional.Of(v.text("description")), Status: optional.Of(v.posted("status")), Visibility: optional.Of(v.posted("visibility")),
	}
}

// createProject makes a project that the person leads.
func (d *Door) createProject(v *visit) error {
	caller, o, err := v.in()
	if err != nil {
		return err
	}
	made, err := d.Work.CreateProject(v.ctx(), caller, work.NewProject{ProjectFields: v.projectFields()})
	if err == nil {
		return v.leave(projectsOf(o.Slug)+"/"+made.ID, "project-created")
	}
	f := v.typed()
	if err := refused(&f, err, nil); err != nil {
		return err
	}
	return v.newProjectForm(f, http.StatusUnprocessableEntity)
}

func (d *Door) askEditProject(v *visit) error {
	s, err := v.site()
	if err == nil {
		err = problem.Require(&s.caller, access.ProjectsWrite, s.project.Resource())
	}
	if err != nil {
		return err
	}
	p := s.project
	return v.editProjectForm(s, newForm(url.Values{
		"name": {p.Name}, "key": {p.Key}, "description": {p.Description}, "status": {string(p.Status)}, "visibility": {p.Visibility},
		"version": {strconv.FormatInt(p.Version, 10)},
	}), http.StatusOK)
}

func (v *visit) editProjectForm(s site, f form, status int) error {
	p := projectForm(f)
	p.Crumbs, p.Editing = s.crumbs(crumb{"Edit", ""}), true
	p.Action, p.Back, p.Delete = s.base+"/edit", s.base, s.base+"/delete"
	return v.show(status, "project-form", "Edit "+s.project.Name, "projects", p)
}

// editProject changes a project.
func (d *Door) editProject(v *visit) error {
	s, err := v.site()
	if err != nil {
		return err
	}
	_, err = d.Work.UpdateProject(v.ctx(), s.caller, s.project.ID, work.ProjectChange{ProjectFields: v.projectFields(), Precondition: work.Precondition{IfMatch: v.version()}})
	if err == nil {
		return v.leave(s.base, "project-saved")
	}
	f := v.typed()
	if err := refused(&f, err, nil); err != nil {
		return err
	}
	overtaken(&f, err, s.project.Version)
	return v.editProjectForm(s, f, http.StatusUnprocessableEntity)
}

func (d *Door) askDeleteProject(v *visit) error {
	s, err := v.site()
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "confirm", "Delete "+s.project.Name, "projects", confirmPage{
		Crumbs: s.crumbs(crumb{"Delete", ""}), Form: newForm(nil), Heading: "Delete “" + s.project.Name + "”?",
		Text:   "Its tasks and comments go out of sight with it, for everybody and every token. It stays in the recycle bin for 30 days.",
		Action: s.base + "/delete", Button: "Delete the project", Back: s.base, BackLabel: "Keep it",
	})
}

// deleteProject puts a project into the recycle bin.
func (d *Door) deleteProject(v *visit) error {
	caller, o, err := v.in()
	if err != nil {
		return err
	}
	if err := d.Work.DeleteProject(v.ctx(), caller, v.r.PathValue("project"), work.Precondition{}); err != nil {
		return err
	}
	return v.leave(projectsOf(o.Slug), "project-deleted")
}

// restoreProject takes a project out of the recycle bin.
func (d *Door) restoreProject(v *visit) error {
	caller, o, err := v.in()
	if err != nil {
		return err
	}
	p, err := d.Work.RestoreProject(v.ctx(), caller, v.r.PathValue("project"))
	if err != nil {
		return err
	}
	return v.leave(projectsOf(o.Slug)+"/"+p.ID, "project-restored")
}

func (d *Door) listProjectMembers(v *visit) error {
	s, err := v.site()
	if err != nil {
		return err
	}
	return v.projectMembers(s, newForm(url.Values{"role": {"contributor"}}), http.StatusOK)
}

func projectRoleOptions(chosen string) []option {
	var list []option
	for _, role := range access.ProjectRoles() {
		list = append(list, option{Value: role.String(), Label: titles[role.String()], Chosen: role.String() == chosen})
	}
	return list
}

func (v *visit) projectMembers(s site, f form, status int) error {
	query := work.MemberQuery{Request: page.Request{Limit: page.MaxLimit, Cursor: v.r.URL.Query().Get("cursor")}}
	listed, err := v.d.Work.ProjectMembers(v.ctx(), s.caller, s.project.ID, query)
	if err != nil {
		return err
	}
	everybody, err := v.people(s.caller)
	if err != nil {
		return err
	}
	p := projectMembersPage{Crumbs: s.crumbs(crumb{"Members", ""}), Base: s.base, Project: projectViewOf(s.project), Form: f, Roles: projectRoleOptions("contributor"), Pager: pages(v.r.URL, listed.NextCursor)}
	members := map[string]bool{}
	for _, m := range listed.Items {
		members[m.UserID] = true
		p.Members = append(p.Members, memberView{
			ID: m.UserID, Name: m.Name, Email: m.Email, Role: m.Role, Self: m.UserID == v.caller.UserID, Suspended: m.Suspended, Roles: projectRoleOptions(m.Role),
		})
	}
	for _, m := range everybody.list {
		if !members[m.UserID] && !m.Suspended {
			p.Candidates = append(p.Candidates, option{Value: m.UserID, Label: m.Name + " (" + m.Email + ")"})
		}
	}
	return v.show(status, "project-members", "Members of "+s.project.Name, "projects", p)
}

// shareProject gives somebody a role in the project.
func (d *Door) shareProject(v *visit) error {
	s, err := v.site()
	if err != nil {
		return err
	}
	_, err = d.Work.PutProjectMember(v.ctx(), s.caller, s.project.ID, v.posted("user"), work.NewMember{Role: optional.Of(v.posted("role"))})
	if err == nil {
		return v.leave(s.base+"/members", "shared")
	}
	f := v.typed()
	if err := refused(&f, err, map[string]string{"user_id": "user"}); err != nil {
		return err
	}
	return v.projectMembers(s, f, http.StatusUnprocessableEntity)
}

func (d *Door) askUnshare(v *visit) error {
	s, err := v.site()
	if err == nil {
		err = problem.Require(&s.caller, access.ProjectsShare, s.project.Resource())
	}
	if err != nil {
		return err
	}
	everybody, err := v.people(s.caller)
	if err != nil {
		return err
	}
	text := "They keep what their role in the organization gives them here."
	if s.project.Visibility == access.Private.String() {
		text = "Unless their role in the organization lets them see every project, they and their tokens no longer see that it exists."
	}
	return v.show(http.StatusOK, "confirm", "Unshare "+s.project.Name, "projects", confirmPage{
		Crumbs: s.crumbs(crumb{"Members", s.base + "/members"}, crumb{"Unshare", ""}), Form: newForm(nil),
		Heading: "Unshare “" + s.project.Name + "” with " + everybody.name(v.r.PathValue("user")) + "?", Text: text + " It holds from their next request on.",
		Action: v.r.URL.Path, Button: "Unshare the project", Back: s.base + "/members", BackLabel: "Keep sharing",
	})
}

// unshareProject takes somebody's role in the project away.
func (d *Door) unshareProject(v *visit) error {
	s, err := v.site()
	if err != nil {
		return err
	}
	if err := d.Work.RemoveProjectMember(v.ctx(), s.caller, s.project.ID, v.r.PathValue("user")); err != nil {
		return err
	}
	if v.r.PathValue("user") == v.caller.UserID {
		return v.leave(projectsOf(s.place.Slug), "unshared") // they may not see the project any more
	}
	return v.leave(s.base+"/members", "unshared")
}
