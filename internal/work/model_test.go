package work_test

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"carnet/access"
	"carnet/internal/optional"
	"carnet/internal/page"
	"carnet/internal/work"
)

// model is a world and everything that is in it, kept by the test in the plainest form.
type model struct {
	*world
	callers  []access.Caller // people of every role, in two organizations
	projects []modelProject
	tasks    []modelTask
	times    []time.Time
}

type modelProject struct {
	work.Project
	organization string
	members      map[string]bool // user ids
	deleted      bool
}

type modelTask struct {
	work.Task
	project int
	deleted bool
}

// newModel fills a world at random. What the rules say about it is worked out below without asking package access.
func newModel(t *testing.T, w *world, seed uint64) *model {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 0))
	m := &model{world: w}
	for range 2 {
		org := w.organization()
		owner := w.user(org, access.Owner)
		var people []access.Caller
		for _, role := range append(access.Roles(), access.Member, access.Guest) {
			people = append(people, w.user(org, role))
		}
		m.callers = append(m.callers, people...)
		for range 6 {
			m.addProject(random, owner, people)
		}
	}
	for range 150 {
		w.pass(time.Duration(random.IntN(2)) * time.Second) // many are made at the same moment
		m.addTask(random)
	}
	for i, p := range m.projects {
		if m.projects[i].deleted = i%6 == 5; m.projects[i].deleted {
			if err := w.DeleteProject(ctx, m.ownerOf(p.organization), p.ID, work.Precondition{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return m
}

func (m *model) ownerOf(org string) access.Caller {
	for _, c := range m.callers {
		if c.Organization == org && c.Role == access.Owner {
			return c
		}
	}
	panic("no owner")
}

func (m *model) addProject(random *rand.Rand, owner access.Caller, people []access.Caller) {
	p := m.project(owner, access.Visibility(random.IntN(2)))
	members := map[string]bool{owner.UserID: true}
	for _, c := range people {
		if random.IntN(3) == 0 {
			m.share(owner, p.ID, c, access.ProjectRoles()[random.IntN(3)])
			members[c.UserID] = true
		}
	}
	m.projects = append(m.projects, modelProject{Project: p, organization: owner.Organization, members: members})
}

func (m *model) addTask(random *rand.Rand) {
	i := random.IntN(len(m.projects))
	p := m.projects[i]
	owner := m.ownerOf(p.organization)
	pick := func(words ...string) string { return words[random.IntN(len(words))] }
	in := titled(pick("Zebra", "apple", "Äpfel", "apple pie", "ÄPFEL"))
	in.Description = optional.Of(pick("", "ripe", "RIPE and red", "50%"))
	in.Status = optional.Of(string(work.Statuses()[random.IntN(5)]))
	in.Priority = optional.Of(string(work.Priorities()[random.IntN(4)]))
	if random.IntN(3) > 0 {
		in.DueOn = optional.Of(pick("2026-01-01", "2026-01-02", "2026-01-03", "2027-01-01"))
	}
	if random.IntN(3) == 0 {
		in.AssigneeID = optional.Of(owner.UserID)
	}
	task := m.task(owner, p.ID, in)
	mt := modelTask{Task: task, project: i}
	if random.IntN(6) == 0 {
		if err := m.DeleteTask(ctx, owner, task.ID, work.Precondition{}); err != nil {
			m.t.Fatal(err)
		}
		mt.deleted = true
		mt.Version++
	}
	m.times = append(m.times, task.UpdatedAt)
	m.tasks = append(m.tasks, mt)
}

// sees says whether a caller sees a project, in the words of the product's description.
func sees(c access.Caller, p modelProject) bool {
	if p.deleted || p.organization != c.Organization {
		return false
	}
	if c.Kind == access.TokenCaller && c.Projects.Restricted() && !slices.Contains(c.Projects.IDs(), p.ID) {
		return false
	}
	switch c.Role {
	case access.Owner, access.Admin, access.Manager:
		return true
	case access.Member:
		return p.Visibility == "organization" || p.members[c.UserID]
	default:
		return p.members[c.UserID]
	}
}

// matches says whether a filter means a task.
func matches(c access.Caller, f work.TaskFilter, t modelTask) bool {
	due := func(ok func(day string) bool) bool { return t.DueOn != nil && ok(*t.DueOn) }
	in := func(values []string, v string) bool { return len(values) == 0 || slices.Contains(values, v) }
	assignee := ""
	if t.AssigneeID != nil {
		assignee = *t.AssigneeID
	}
	for _, word := range strings.Fields(f.Q) {
		if !strings.Contains(strings.ToLower(t.Title+"\n"+t.Description), strings.ToLower(word)) {
			return false
		}
	}
	return t.deleted == f.Deleted &&
		(f.Project == "" || f.Project == t.ProjectID) && in(f.Projects, t.ProjectID) && in(f.Statuses, string(t.Status)) &&
		(in(f.Assignees, assignee) || slices.Contains(f.Assignees, "me") && assignee == c.UserID) &&
		(f.DueBefore == "" || due(func(day string) bool { return day <= f.DueBefore })) &&
		(f.DueAfter == "" || due(func(day string) bool { return day >= f.DueAfter })) &&
		(f.UpdatedSince == nil || !t.UpdatedAt.Before(*f.UpdatedSince))
}

// inOrder compares two tasks in a sort: nulls last, ties by id.
func inOrder(sort string) func(a, b modelTask) int {
	field, descending := strings.CutPrefix(sort, "-")
	sign := 1
	if descending {
		sign = -1
	}
	return func(a, b modelTask) int {
		order := 0
		switch field {
		case "created_at":
			order = a.CreatedAt.Compare(b.CreatedAt)
		case "updated_at":
			order = a.UpdatedAt.Compare(b.UpdatedAt)
		case "priority":
			order = cmp.Compare(slices.Index(work.Priorities(), a.Priority), slices.Index(work.Priorities(), b.Priority))
		case "title":
			order = strings.Compare(strings.ToLower(a.Title), strings.ToLower(b.Title))
		case "due_on":
			switch {
			case a.DueOn == nil && b.DueOn == nil:
			case a.DueOn == nil:
				return 1
			case b.DueOn == nil:
				return -1
			default:
				order = strings.Compare(*a.DueOn, *b.DueOn)
			}
		}
		return sign * cmp.Or(order, strings.Compare(a.ID, b.ID))
	}
}

// expected returns the ids of the tasks that a caller should get.
func (m *model) expected(c access.Caller, f work.TaskFilter, sort string) (ids []string, tasks []modelTask) {
	for _, t := range m.tasks {
		if sees(c, m.projects[t.project]) && matches(c, f, t) {
			tasks = append(tasks, t)
		}
	}
	slices.SortFunc(tasks, inOrder(sort))
	for _, t := range tasks {
		ids = append(ids, t.ID)
	}
	return ids, tasks
}

func (m *model) drawCaller(t *rapid.T) access.Caller {
	c := rapid.SampledFrom(m.callers).Draw(t, "caller")
	switch rapid.IntRange(0, 2).Draw(t, "kind") {
	case 0:
		return c
	case 1:
		return token(c)
	default:
		projects := []string{}
		for range rapid.IntRange(0, 4).Draw(t, "projects") { // also of the other organization
			projects = append(projects, rapid.SampledFrom(m.projects).Draw(t, "project").ID)
		}
		return token(c, projects...)
	}
}

func (m *model) drawFilter(t *rapid.T) (f work.TaskFilter) {
	often := func(name string) bool { return rapid.IntRange(0, 3).Draw(t, name) == 0 }
	if often("by projects") {
		for range rapid.IntRange(1, 4).Draw(t, "n") {
			f.Projects = append(f.Projects, rapid.SampledFrom(m.projects).Draw(t, "project").ID)
		}
	}
	if often("by status") {
		f.Statuses = rapid.SliceOfN(rapid.SampledFrom([]string{"todo", "in_progress", "review", "blocked", "done"}), 1, 3).Draw(t, "statuses")
	}
	if often("by assignee") {
		f.Assignees = rapid.SliceOfN(rapid.SampledFrom([]string{"me", m.callers[0].UserID, m.tasks[0].CreatedBy, "nobody"}), 1, 2).Draw(t, "assignees")
	}
	days := rapid.SampledFrom([]string{"", "", "", "2026-01-01", "2026-01-02", "2026-12-31"})
	f.DueBefore, f.DueAfter = days.Draw(t, "before"), days.Draw(t, "after")
	if often("since") {
		since := rapid.SampledFrom(m.times).Draw(t, "since")
		f.UpdatedSince = &since
	}
	f.Q = rapid.SampledFrom([]string{"", "", "", "apple", "ÄPFEL", "ripe app", "%", "none"}).Draw(t, "q")
	f.Deleted = often("deleted")
	return f
}

func TestListsAndCountsAreWhatTheCallerSeesAndNothingElse(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		m := newModel(t, w, seed)
		rapid.Check(t, func(t *rapid.T) {
			c, f := m.drawCaller(t), m.drawFilter(t)
			request := page.Request{Limit: rapid.SampledFrom([]int{1, 3, 7, 200}).Draw(t, "limit")}
			sorts := []string{"created_at", "updated_at", "due_on", "priority", "title"}
			request.Sort = rapid.SampledFrom([]string{"", "-"}).Draw(t, "direction") + rapid.SampledFrom(sorts).Draw(t, "sort")
			want, tasks := m.expected(c, f, request.Sort)

			var got []string
			for {
				p, err := w.ListTasks(ctx, c, work.TaskQuery{Request: request, TaskFilter: f})
				if err != nil {
					t.Fatal(err)
				}
				for _, k := range p.Items {
					got = append(got, k.ID)
				}
				if request.Cursor = p.NextCursor; request.Cursor == "" {
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%s %+v by %s\ngot  %v\nwant %v", c.Role, f, request.Sort, got, want)
			}
			m.checkCounts(t, c, f, tasks)
			m.checkOne(t, c)
		})
	})
}

func (m *model) checkCounts(t *rapid.T, c access.Caller, f work.TaskFilter, tasks []modelTask) {
	counts, err := m.CountTasks(ctx, c, f)
	if err != nil {
		t.Fatal(err)
	}
	byStatus, byProject := map[work.Status]int64{}, map[string]int64{}
	for _, k := range tasks {
		byStatus[k.Status]++
		byProject[k.ProjectID]++
	}
	if counts.Total != int64(len(tasks)) || len(counts.ByProject) != len(byProject) || len(counts.ByStatus) != 5 {
		t.Fatalf("counted %+v, want %d in %v", counts, len(tasks), byProject)
	}
	for status, n := range counts.ByStatus {
		if n != byStatus[status] {
			t.Fatalf("counted %d %s, want %d", n, status, byStatus[status])
		}
	}
	for _, p := range counts.ByProject {
		if p.Total != byProject[p.ProjectID] {
			t.Fatalf("counted %d in %s, want %d", p.Total, p.ProjectID, byProject[p.ProjectID])
		}
	}
}

// checkOne looks at one random task and one random project, and at the list of projects.
func (m *model) checkOne(t *rapid.T, c access.Caller) {
	k := rapid.SampledFrom(m.tasks).Draw(t, "task")
	seen := sees(c, m.projects[k.project]) && !k.deleted
	if _, err := m.Task(ctx, c, k.ID); (err == nil) != seen {
		t.Fatalf("task: got %v, seen %v", err, seen)
	}
	p := rapid.SampledFrom(m.projects).Draw(t, "one")
	if _, err := m.Project(ctx, c, p.ID); (err == nil) != sees(c, p) {
		t.Fatalf("project: got %v, seen %v", err, sees(c, p))
	}
	if _, err := m.ListTasks(ctx, c, work.TaskQuery{TaskFilter: work.TaskFilter{Project: p.ID}}); (err == nil) != sees(c, p) {
		t.Fatalf("tasks of a project: got %v, seen %v", err, sees(c, p))
	}
	var want, got []string
	for _, p := range m.projects {
		if sees(c, p) {
			want = append(want, p.ID)
		}
	}
	list, err := m.ListProjects(ctx, c, work.ProjectQuery{Request: page.Request{Sort: "created_at"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list.Items {
		got = append(got, p.ID)
	}
	if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Fatalf("projects: got %v, want %v", got, want)
	}
}
