package web

import "time"

// projectView is a project as pages show it.
type projectView struct {
	ID, Key, Name, Description, Status string
	Private                            bool
}

// projectCard is a project in the list of an organization.
type projectCard struct {
	projectView
	Tasks      bool // whether Open is known
	Open       int
	DeletedAt  *time.Time // in the recycle bin
	MayRestore bool
}

// projectsPage lists an organization's projects.
type projectsPage struct {
	Base      string
	Deleted   bool // the recycle bin
	MayCreate bool
	Projects  []projectCard
	Pager     pager
}

// projectPage is a project with its tasks.
type projectPage struct {
	Crumbs            []crumb
	Base              string // the project's own address
	Project           projectView
	MayLead, MayWrite bool
	Any, Filtered     bool // whether it has tasks at all; whether filters hide some
	Deleted           bool // the recycle bin
	Q                 string
	Statuses, Sorts   []option
	Assignees         []option
	Tasks             []taskView
	Pager             pager
	Example           copyable
}

// taskView is a task as pages show it.
type taskView struct {
	ID, Ref, Title, Description string
	Status, Priority            string
	Assignee, Creator           string
	Due                         string // "" for none
	Overdue                     bool
	Via                         *via
	CreatedAt, UpdatedAt        time.Time
}

// via says what something was made with.
type via struct {
	Label, Href  string
	Token, Agent bool
}

// taskPage is a task with its comments.
type taskPage struct {
	Crumbs               []crumb
	Base                 string
	Project              projectView
	Task                 taskView
	MayWrite, MayComment bool
	Comments             []commentView
	Form                 form
	Pager                pager
}

// commentView is a comment as pages show it.
type commentView struct {
	ID, Author, Body   string
	CreatedAt          time.Time
	Edited             bool
	Via                *via
	MayEdit, MayDelete bool
}

// workForm is a form for a task, a project or a comment.
type workForm struct {
	Crumbs                                        []crumb
	Form                                          form
	Action, Back, Delete                          string
	Editing                                       bool
	Statuses, Priorities, Visibilities, Assignees []option
}

// confirmPage asks once before something is taken away.
type confirmPage struct {
	Crumbs                                         []crumb
	Form                                           form
	Heading, Text, Action, Button, Back, BackLabel string
	Kept                                           []kept
}

// kept is an input that a page carries on without showing it.
type kept struct{ Name, Value string }

// projectMembersPage shares and unshares a project.
type projectMembersPage struct {
	Crumbs     []crumb
	Base       string
	Project    projectView
	Form       form
	Candidates []option
	Roles      []option
	Members    []memberView
	Pager      pager
}

// memberView is somebody with a role.
type memberView struct {
	ID, Name, Email, Role string
	Self, Suspended       bool
	MayChange, MayRemove  bool
	Roles                 []option
}

// membersPage lists the members of an organization.
type membersPage struct {
	Form              form
	MayAdd, MayChange bool
	Roles             []option
	Members           []memberView
	Pager             pager
}
