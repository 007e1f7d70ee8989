package work_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/id"
	"carnet/internal/optional"
	"carnet/internal/page"
	"carnet/internal/problem"
	"carnet/internal/storetest"
	"carnet/internal/work"
)

func TestNumbersHaveNoGapsHoweverManyCreateAtOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		owner := w.user(w.organization(), access.Owner)
		a, b := w.project(owner, access.Private), w.project(owner, access.Private)
		const each = 30
		var wait sync.WaitGroup
		var mu sync.Mutex
		numbers := map[string][]int64{}
		for i := range 3 * each {
			project, title := []string{a.ID, b.ID, a.ID}[i%3], "t"
			if i%3 == 2 {
				title = "" // refused, and takes no number
			}
			wait.Go(func() {
				task, err := w.CreateTask(ctx, owner, project, titled(title))
				if title == "" {
					expect(t, "untitled", err, problem.ValidationFailed)
					return
				}
				expect(t, "create", err, "")
				mu.Lock()
				defer mu.Unlock()
				numbers[project] = append(numbers[project], task.Number)
			})
		}
		wait.Wait()
		for project, got := range numbers {
			slices.Sort(got)
			for i, n := range got {
				if n != int64(i+1) || len(got) != each {
					t.Fatalf("project %s has the numbers %v", project, got)
				}
			}
		}
	})
}

func TestDefaultsAndEveryField(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		owner := w.user(w.organization(), access.Owner)
		p, err := w.CreateProject(ctx, owner, work.NewProject{ProjectFields: work.ProjectFields{Key: optional.Of("AB"), Name: optional.Of("  Größe  ")}})
		if err != nil || p.Name != "Größe" || p.Status != work.Active || p.Visibility != "organization" || p.Version != 1 || p.CreatedBy != owner.UserID {
			t.Fatalf("got %+v, %v", p, err)
		}
		plain := w.task(owner, p.ID, titled("t"))
		if plain.Status != work.Todo || plain.Priority != work.Medium || plain.AssigneeID != nil || plain.DueOn != nil || plain.CreatedVia != owner.CredentialID {
			t.Errorf("got %+v", plain)
		}
		full := w.task(token(owner, p.ID), p.ID, work.NewTask{TaskFields: work.TaskFields{
			Title: optional.Of("t"), Description: optional.Of("a\r\nb"), Status: optional.Of("blocked"), Priority: optional.Of("critical"),
			AssigneeID: optional.Of(owner.UserID), DueOn: optional.Of("2028-02-29"),
		}})
		read, err := w.Task(ctx, owner, full.ID)
		if err != nil {
			t.Fatal(err)
		}
		if text(read) != text(full) {
			t.Errorf("created %s, read %s", text(full), text(read))
		}
		cleared, err := w.UpdateTask(ctx, owner, full.ID, work.TaskChange{TaskFields: work.TaskFields{AssigneeID: optional.Null[string](), DueOn: optional.Null[string]()}})
		if err != nil || cleared.AssigneeID != nil || cleared.DueOn != nil || cleared.Version != 2 || cleared.Description != "a\nb" {
			t.Errorf("got %s, %v", text(cleared), err)
		}
		want := `{"id":"` + plain.ID + `","project_id":"` + p.ID + `","number":1,"title":"t","description":"","status":"todo","priority":"medium",` +
			`"assignee_id":null,"due_on":null,"created_by":"` + owner.UserID + `","created_via":"` + owner.CredentialID + `","created_by_agent":null,` +
			`"created_at":"2026-03-04T05:06:07.000008Z","updated_at":"2026-03-04T05:06:07.000008Z","version":1}`
		if text(plain) != want {
			t.Errorf("got  %s\nwant %s", text(plain), want)
		}
	})
}

func text(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

func TestWhatDoesNotHoldIsNamed(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		org := w.organization()
		owner := w.user(org, access.Owner)
		p := w.project(owner, access.Private)
		task := w.task(owner, p.ID, titled("t"))
		null, of := optional.Null[string](), optional.Of[string]
		type fields = work.TaskFields
		for name, c := range map[string]struct {
			fields   fields
			location string
		}{
			"null title":           {fields{Title: null}, "body.title"},
			"empty title":          {fields{Title: of("  ")}, "body.title"},
			"long title":           {fields{Title: of(strings.Repeat("x", 201))}, "body.title"},
			"control":              {fields{Title: of("a\x07")}, "body.title"},
			"two lines":            {fields{Title: of("a\nb")}, "body.title"},
			"bad UTF-8":            {fields{Title: of("\xff")}, "body.title"},
			"null description":     {fields{Description: null}, "body.description"},
			"long description":     {fields{Description: of(strings.Repeat("x", 20_001))}, "body.description"},
			"status":               {fields{Status: of("open")}, "body.status"},
			"null status":          {fields{Status: null}, "body.status"},
			"priority":             {fields{Priority: of("")}, "body.priority"},
			"no such day":          {fields{DueOn: of("2026-02-29")}, "body.due_on"},
			"a time":               {fields{DueOn: of("2026-02-28T00:00:00Z")}, "body.due_on"},
			"year 0":               {fields{DueOn: of("0000-01-01")}, "body.due_on"},
			"unknown assignee":     {fields{AssigneeID: of(id.New(id.User))}, "body.assignee_id"},
			"malformed assignee":   {fields{AssigneeID: of("me")}, "body.assignee_id"},
			"foreign assignee":     {fields{AssigneeID: of(w.user(w.organization(), access.Owner).UserID)}, "body.assignee_id"},
			"assignee sees it not": {fields{AssigneeID: of(w.user(org, access.Member).UserID)}, "body.assignee_id"},
		} {
			_, err := w.UpdateTask(ctx, owner, task.ID, work.TaskChange{TaskFields: c.fields})
			refusedAt(t, name+", update", err, c.location)
			if !c.fields.Title.Set {
				c.fields.Title = of("t")
			}
			_, err = w.CreateTask(ctx, owner, p.ID, work.NewTask{TaskFields: c.fields})
			refusedAt(t, name+", create", err, c.location)
		}
		_, err := w.CreateTask(ctx, owner, p.ID, work.NewTask{})
		refusedAt(t, "no title", err, "body.title")
		_, err = w.UpdateTask(ctx, owner, task.ID, work.TaskChange{TaskFields: fields{Title: of(""), Status: of("x"), DueOn: of("x")}})
		refusedAt(t, "three things at once", err, "body.title", "body.status", "body.due_on")

		for _, role := range []access.Role{access.Manager, access.Admin} {
			_, err := w.UpdateTask(ctx, owner, task.ID, work.TaskChange{TaskFields: fields{AssigneeID: of(w.user(org, role).UserID)}})
			expect(t, "assign a "+role.String(), err, "")
		}
		guest := w.user(org, access.Guest)
		w.share(owner, p.ID, guest, access.Viewer)
		_, err = w.UpdateTask(ctx, owner, task.ID, work.TaskChange{TaskFields: fields{AssigneeID: of(guest.UserID)}})
		expect(t, "assign a viewer", err, "")
		if err := w.RemoveProjectMember(ctx, owner, p.ID, guest.UserID); err != nil {
			t.Fatal(err)
		}
		_, err = w.UpdateTask(ctx, owner, task.ID, work.TaskChange{TaskFields: fields{AssigneeID: of(guest.UserID), Title: of("still theirs")}})
		expect(t, "keep an assignee who sees it no more", err, "")

		for name, c := range map[string]struct {
			fields   work.ProjectFields
			location string
		}{
			"lower-case key":    {work.ProjectFields{Key: of("ab")}, "body.key"},
			"short key":         {work.ProjectFields{Key: of("A")}, "body.key"},
			"long key":          {work.ProjectFields{Key: of("ABCDEFGHIJK")}, "body.key"},
			"digit first":       {work.ProjectFields{Key: of("1A")}, "body.key"},
			"key with line end": {work.ProjectFields{Key: of("AB\n")}, "body.key"},
			"long name":         {work.ProjectFields{Name: of(strings.Repeat("x", 101))}, "body.name"},
			"status":            {work.ProjectFields{Status: of("done")}, "body.status"},
			"visibility":        {work.ProjectFields{Visibility: of("public")}, "body.visibility"},
		} {
			_, err := w.UpdateProject(ctx, owner, p.ID, work.ProjectChange{ProjectFields: c.fields})
			refusedAt(t, name, err, c.location)
		}
		_, err = w.CreateProject(ctx, owner, work.NewProject{})
		refusedAt(t, "empty project", err, "body.key", "body.name")
		for _, body := range []string{"", " \n ", strings.Repeat("x", 20_001), "\x00"} {
			_, err := w.CreateComment(ctx, owner, task.ID, said(body))
			refusedAt(t, "comment", err, "body.body")
		}
		_, err = w.CreateComment(ctx, owner, task.ID, work.CommentText{})
		refusedAt(t, "no comment", err, "body.body")
	})
}

func refusedAt(t *testing.T, what string, err error, locations ...string) {
	t.Helper()
	var e *problem.Error
	if !errors.As(err, &e) || e.Code != problem.ValidationFailed {
		t.Errorf("%s: got %v", what, err)
		return
	}
	var got []string
	for _, f := range e.Fields {
		got = append(got, f.Location)
	}
	if !slices.Equal(got, locations) {
		t.Errorf("%s: refused at %v, want %v", what, got, locations)
	}
}

func TestKeysAreUniqueInTheirOrganization(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		org := w.organization()
		owner, member := w.user(org, access.Owner), w.user(org, access.Member)
		hidden, mine := w.project(owner, access.Private), w.project(member, access.Private)
		taken := newProject(access.Private)
		taken.Key = optional.Of(hidden.Key)
		_, err := w.CreateProject(ctx, member, taken)
		expect(t, "taken", err, problem.Conflict)
		_, err = w.UpdateProject(ctx, member, mine.ID, work.ProjectChange{ProjectFields: taken.ProjectFields})
		expect(t, "taken, by a change", err, problem.Conflict)
		_, err = w.CreateProject(ctx, w.user(w.organization(), access.Owner), taken)
		expect(t, "the same in another organization", err, "")
		if err := w.DeleteProject(ctx, owner, hidden.ID, work.Precondition{}); err != nil {
			t.Fatal(err)
		}
		_, err = w.CreateProject(ctx, member, taken)
		expect(t, "taken by a deleted one", err, problem.Conflict)
	})
}

func TestVersions(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		org := w.organization()
		owner, viewer := w.user(org, access.Owner), w.user(org, access.Guest)
		p := w.project(owner, access.Private)
		w.share(owner, p.ID, viewer, access.Viewer)
		task := w.task(owner, p.ID, titled("t"))
		old, current, next := int64(1), int64(2), int64(3)
		rename := func(title string, version *int64) (work.Task, error) {
			return w.UpdateTask(ctx, owner, task.ID, work.TaskChange{TaskFields: work.TaskFields{Title: optional.Of(title)}, Precondition: work.Precondition{IfMatch: version}})
		}
		w.pass(time.Second)
		got, err := rename("u", &old)
		if err != nil || got.Version != 2 || !got.UpdatedAt.After(got.CreatedAt) {
			t.Fatalf("got %+v, %v", got, err)
		}
		_, err = rename("v", &old)
		expect(t, "stale", err, problem.VersionStale)
		_, err = rename("", &old)
		expect(t, "the body comes before the version", err, problem.ValidationFailed)
		_, err = w.UpdateTask(ctx, viewer, task.ID, work.TaskChange{TaskFields: work.TaskFields{Title: optional.Of("")}, Precondition: work.Precondition{IfMatch: &old}})
		expect(t, "the role comes before the body", err, problem.RoleInsufficient)
		got, err = rename("u", &current)
		if err != nil || got.Version != 2 {
			t.Errorf("a change that changes nothing: %+v, %v", got, err)
		}
		expect(t, "delete stale", w.DeleteTask(ctx, owner, task.ID, work.Precondition{IfMatch: &old}), problem.VersionStale)
		unread := problem.New(problem.RequestMalformed, "x")
		expect(t, "delete unread", w.DeleteTask(ctx, owner, task.ID, work.Precondition{IfMatch: &old, Invalid: unread}), problem.RequestMalformed)
		expect(t, "delete current", w.DeleteTask(ctx, owner, task.ID, work.Precondition{IfMatch: &current}), "")
		restored, err := w.RestoreTask(ctx, owner, task.ID)
		if err != nil || restored.Version != 4 || restored.DeletedAt != nil {
			t.Errorf("got %+v, %v", restored, err)
		}
		_, err = rename("w", &next)
		expect(t, "the version before the deletion", err, problem.VersionStale)

		_, err = w.UpdateProject(ctx, owner, p.ID, work.ProjectChange{ProjectFields: work.ProjectFields{Name: optional.Of("n")}, Precondition: work.Precondition{IfMatch: &next}})
		expect(t, "project, stale", err, problem.VersionStale)
		_, err = w.UpdateProject(ctx, owner, p.ID, work.ProjectChange{ProjectFields: work.ProjectFields{Name: optional.Of("n")}, Precondition: work.Precondition{IfMatch: &old}})
		expect(t, "project, current", err, "")
		expect(t, "delete project, stale", w.DeleteProject(ctx, owner, p.ID, work.Precondition{IfMatch: &old}), problem.VersionStale)
	})
}

func TestRecycleBin(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		org := w.organization()
		owner, viewer := w.user(org, access.Owner), w.user(org, access.Guest)
		at := w.target(owner, access.Private)
		w.share(owner, at.project, viewer, access.Viewer)
		lone := w.task(owner, at.project, titled("lone"))
		w.comment(owner, lone.ID, "goes with it")
		bin := func(c access.Caller) (projects, tasks int) {
			t.Helper()
			p, err := w.ListProjects(ctx, c, work.ProjectQuery{Deleted: true})
			expect(t, "list projects", err, "")
			k, err := w.ListTasks(ctx, c, work.TaskQuery{TaskFilter: work.TaskFilter{Deleted: true}})
			expect(t, "list tasks", err, "")
			return len(p.Items), len(k.Items)
		}
		if err := w.DeleteTask(ctx, owner, lone.ID, work.Precondition{}); err != nil {
			t.Fatal(err)
		}
		if p, k := bin(viewer); p != 0 || k != 1 {
			t.Errorf("the bin has %d projects and %d tasks", p, k)
		}
		_, err := w.RestoreTask(ctx, viewer, lone.ID)
		expect(t, "a viewer restores", err, problem.RoleInsufficient)
		if err := w.DeleteProject(ctx, owner, at.project, work.Precondition{}); err != nil {
			t.Fatal(err)
		}
		if p, k := bin(owner); p != 1 || k != 0 {
			t.Errorf("the bin has %d projects and %d tasks", p, k)
		}
		if p, k := bin(w.user(org, access.Member)); p != 0 || k != 0 {
			t.Errorf("a stranger's bin has %d projects and %d tasks", p, k)
		}
		_, err = w.RestoreTask(ctx, owner, lone.ID)
		expect(t, "restore a task of a deleted project", err, problem.NotFound)

		w.pass(work.Retention - time.Microsecond)
		if err := w.Clean(ctx, w.now()); err != nil {
			t.Fatal(err)
		}
		p, err := w.RestoreProject(ctx, owner, at.project)
		if err != nil || p.DeletedAt != nil || p.Version != 3 {
			t.Fatalf("got %+v, %v", p, err)
		}
		if _, err := w.ListComments(ctx, viewer, at.task, work.CommentQuery{}); err != nil {
			t.Errorf("the project came back without its tasks: %v", err)
		}
		// The task lies there longer than the project did.
		w.pass(time.Microsecond)
		_, err = w.RestoreTask(ctx, owner, lone.ID)
		expect(t, "restore too late", err, problem.NotFound)
		if _, k := bin(owner); k != 0 {
			t.Error("what is too old to be restored is still listed")
		}
		if err := w.Clean(ctx, w.now()); err != nil {
			t.Fatal(err)
		}
		if n := w.one(`SELECT count(*) FROM tasks`); n != 1 {
			t.Errorf("%d tasks left", n)
		}
		if err := w.DeleteProject(ctx, owner, at.project, work.Precondition{}); err != nil {
			t.Fatal(err)
		}
		w.pass(work.Retention)
		_, err = w.RestoreProject(ctx, owner, at.project)
		expect(t, "restore a project too late", err, problem.NotFound)
		if err := w.Clean(ctx, w.now()); err != nil {
			t.Fatal(err)
		}
		for _, table := range []string{"projects", "project_members", "project_counters", "tasks", "comments"} {
			if n := w.one(`SELECT count(*) FROM ` + table); n != 0 {
				t.Errorf("%d %s left", n, table)
			}
		}
	})
}

func TestSearchFindsEveryWordAndNothingElse(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		owner := w.user(w.organization(), access.Owner)
		p := w.project(owner, access.Private)
		for _, c := range [][2]string{{"Straße fegen", "100% sauber"}, {"a_b", `back\slash`}, {"axb", "100 percent"}, {"CAFÉ", "cafe\u0301 olé"}} {
			w.task(owner, p.ID, work.NewTask{TaskFields: work.TaskFields{Title: optional.Of(c[0]), Description: optional.Of(c[1])}})
		}
		for q, want := range map[string][]int64{
			"": {1, 2, 3, 4}, "  ": {1, 2, 3, 4}, "strasse": {1}, "FEGEN  sauber": {1}, "fegen percent": {}, "100%": {1}, "100": {1, 3}, "a_b": {2},
			"%": {1}, "_": {2}, `\`: {2}, "café": {4}, "cafe": {}, "'": {}, "fegen100": {}, "fegen\n100": {1},
		} {
			got, err := w.ListTasks(ctx, owner, work.TaskQuery{TaskFilter: work.TaskFilter{Q: q}})
			expect(t, q, err, "")
			numbers := []int64{}
			for _, k := range got.Items {
				numbers = append(numbers, k.Number)
			}
			slices.Sort(numbers)
			if !slices.Equal(numbers, want) {
				t.Errorf("%q finds %v, want %v", q, numbers, want)
			}
		}
	})
}

func TestFiltersThatDoNotHoldAreNamed(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		owner := w.user(w.organization(), access.Owner)
		for location, f := range map[string]work.TaskFilter{
			"query.status":     {Statuses: []string{"todo", "open"}},
			"query.due_before": {DueBefore: "2026-13-01"},
			"query.due_after":  {DueAfter: "yesterday"},
			"query.q":          {Q: strings.Repeat("x", work.SearchLimit+1)},
			"query.project":    {Projects: make([]string, work.FilterLimit+1)},
			"query.assignee":   {Assignees: make([]string, work.FilterLimit+1)},
		} {
			_, err := w.ListTasks(ctx, owner, work.TaskQuery{TaskFilter: f})
			refusedAt(t, "list by "+location, err, location)
			_, err = w.CountTasks(ctx, owner, f)
			refusedAt(t, "count by "+location, err, location)
		}
		_, err := w.ListProjects(ctx, owner, work.ProjectQuery{Status: []string{"todo"}, Visibility: []string{"public"}})
		refusedAt(t, "projects", err, "query.status", "query.visibility")
		_, err = w.ListTasks(ctx, owner, work.TaskQuery{TaskFilter: work.TaskFilter{Projects: []string{"\x00", "prj_"}}})
		expect(t, "ids that are none", err, "")
		unread := problem.Invalid("query.x", "m")
		_, err = w.ListTasks(ctx, owner, work.TaskQuery{TaskFilter: work.TaskFilter{Project: id.New(id.Project), Invalid: unread}})
		expect(t, "an absent project comes before the query", err, problem.NotFound)
	})
}

func TestRepeatedRequestsAreDoneOnceAndAuthorizedEachTime(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		org := w.organization()
		owner, user := w.user(org, access.Owner), w.user(org, access.Member)
		at := w.target(owner, access.Private)
		w.share(owner, at.project, user, access.Lead)
		own := w.comment(user, at.task, "mine")
		kept := newProject(access.Private)
		calls := map[string]func(ctx context.Context) (any, error){
			"CreateProject": func(ctx context.Context) (any, error) { return w.CreateProject(ctx, user, kept) },
			"UpdateProject": func(ctx context.Context) (any, error) {
				return w.UpdateProject(ctx, user, at.project, work.ProjectChange{ProjectFields: work.ProjectFields{Name: optional.Of("n")}})
			},
			"CreateTask": func(ctx context.Context) (any, error) { return w.CreateTask(ctx, user, at.project, titled("t")) },
			"UpdateTask": func(ctx context.Context) (any, error) {
				return w.UpdateTask(ctx, user, at.task, work.TaskChange{TaskFields: work.TaskFields{Title: optional.Of("t2")}})
			},
			"CreateComment": func(ctx context.Context) (any, error) { return w.CreateComment(ctx, user, at.task, said("t")) },
			"UpdateComment": func(ctx context.Context) (any, error) { return w.UpdateComment(ctx, user, own.ID, said("t")) },
			"DeleteComment": func(ctx context.Context) (any, error) { return nil, w.DeleteComment(ctx, user, at.comment) },
			"PutProjectMember": func(ctx context.Context) (any, error) {
				return w.PutProjectMember(ctx, user, at.project, at.member, work.NewMember{Role: optional.Of("viewer")})
			},
		}
		answers := map[string]string{}
		for name, call := range calls {
			got, err := call(keyed(name))
			expect(t, name, err, "")
			answers[name] = text(got)
		}
		events := w.one(`SELECT count(*) FROM audit_events`)
		repeat := func(when string, want func(name string) problem.Code) {
			t.Helper()
			for name, call := range calls {
				got, err := call(keyed(name))
				expect(t, name+" "+when, err, want(name))
				if err == nil && text(got) != answers[name] {
					t.Errorf("%s %s: answers %s, first %s", name, when, text(got), answers[name])
				}
			}
		}
		repeat("again", func(string) problem.Code { return "" })
		w.share(owner, at.project, user, access.Viewer)
		repeat("as a viewer", func(name string) problem.Code {
			switch name {
			case "CreateProject":
				return ""
			case "DeleteComment":
				return problem.NotFound // what is deleted is no news for who could not delete it
			default:
				return problem.RoleInsufficient
			}
		})
		if err := w.RemoveProjectMember(ctx, owner, at.project, user.UserID); err != nil {
			t.Fatal(err)
		}
		w.exec(`DELETE FROM project_members WHERE user_id = $1`, user.UserID)
		repeat("without the project", func(string) problem.Code { return problem.NotFound })
		w.share(owner, at.project, user, access.Lead)
		delete(calls, "CreateProject")
		repeat("with the project again", func(string) problem.Code { return "" })
		if n := w.one(`SELECT count(*) FROM audit_events`) - events; n != 3 { // shared, unshared, shared
			t.Errorf("repeating left %d events", n)
		}

		for name, call := range map[string]func(ctx context.Context) error{
			"1 DeleteTask":     func(ctx context.Context) error { return w.DeleteTask(ctx, user, at.task, work.Precondition{}) },
			"2 RestoreTask":    func(ctx context.Context) error { _, err := w.RestoreTask(ctx, user, at.task); return err },
			"3 RestoreProject": func(ctx context.Context) error { _, err := w.RestoreProject(ctx, user, at.project); return err },
		} {
			for range 2 {
				expect(t, name, call(keyed(name)), "")
			}
		}
		for range 2 {
			expect(t, "DeleteProject", w.DeleteProject(keyed("dp"), user, at.project, work.Precondition{}), "")
		}
		expect(t, "DeleteProject under another key", w.DeleteProject(keyed("dp2"), user, at.project, work.Precondition{}), problem.NotFound)
	})
}

func TestEveryChangeIsOnRecord(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		owner := w.user(w.organization(), access.Owner)
		at := w.target(owner, access.Private)
		for _, a := range actions {
			expect(t, a.name, a.run(ctx, w, owner, at), "")
			if a.name == "DeleteTask" {
				_, err := w.RestoreTask(ctx, owner, at.task)
				expect(t, "RestoreTask", err, "")
				_, err = w.UpdateComment(ctx, owner, w.comment(owner, at.task, "a secret").ID, said("another secret"))
				expect(t, "UpdateComment", err, "")
			}
		}
		_, err := w.RestoreProject(ctx, owner, at.project)
		expect(t, "RestoreProject", err, "")
		for _, what := range []string{
			"project.created", "project.updated", "project.deleted", "project.restored", "project.shared", "project.unshared",
			"task.created", "task.updated", "task.deleted", "task.restored", "comment.created", "comment.updated", "comment.deleted",
		} {
			n := w.one(`SELECT count(*) FROM audit_events WHERE action = $1 AND organization_id = $2 AND project_id = $3 AND actor_id = $4 AND resource_id <> ''`,
				what, owner.Organization, at.project, owner.UserID)
			if n == 0 {
				t.Errorf("%s is not on record", what)
			}
		}
		if n := w.one(`SELECT count(*) FROM audit_events WHERE detail LIKE '%secret%'`); n != 0 {
			t.Error("what people wrote is in the log")
		}
	})
}

func TestGrantsAndVisibleProjects(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		org := w.organization()
		owner, member := w.user(org, access.Owner), w.user(org, access.Member)
		open, closed, shared := w.project(owner, access.OrganizationVisible), w.project(owner, access.Private), w.project(owner, access.Private)
		w.share(owner, shared.ID, member, access.Viewer)
		foreign := w.project(w.user(w.organization(), access.Owner), access.OrganizationVisible)
		gone := w.project(owner, access.OrganizationVisible)
		if err := w.DeleteProject(ctx, owner, gone.ID, work.Precondition{}); err != nil {
			t.Fatal(err)
		}
		ids := []string{open.ID, open.ID, closed.ID, shared.ID, foreign.ID, gone.ID, "prj_", "\x00"}
		for name, c := range map[string]struct {
			caller access.Caller
			want   []string
		}{
			"owner":        {owner, []string{open.ID, closed.ID, shared.ID}},
			"member":       {member, []string{open.ID, shared.ID}},
			"token":        {token(member, shared.ID, closed.ID), []string{shared.ID}},
			"of nothing":   {token(member, []string{}...), []string{}},
			"anonymous":    {access.Caller{Organization: org}, []string{}},
			"wrong tenant": {w.user(w.organization(), access.Owner), []string{}},
		} {
			slices.Sort(c.want)
			f := c.caller.Visible()
			got, err := w.VisibleProjects(ctx, w.db.Read(), f, ids)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%s sees %v, %v, want %v", name, got, err, c.want)
			}
			grants, total, err := w.ProjectGrants(ctx, c.caller, 1)
			if err != nil || total != len(c.want) || len(grants) != min(1, total) {
				t.Errorf("%s: %d grants of %d, %v", name, len(grants), total, err)
			}
		}
		grants, _, err := w.ProjectGrants(ctx, token(member, shared.ID), 50)
		if err != nil || fmt.Sprint(grants) != fmt.Sprint([]work.Grant{{ID: shared.ID, Key: shared.Key, Name: "Project", Given: access.Viewer}}) {
			t.Errorf("got %+v, %v", grants, err)
		}
	})
}

func TestCursorsBelongToTheirCallerAndQuery(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		org := w.organization()
		owner := w.user(org, access.Owner)
		at, other := w.target(owner, access.OrganizationVisible), w.target(owner, access.OrganizationVisible)
		list := func(c access.Caller, f work.TaskFilter, cursor string) (string, error) {
			p, err := w.ListTasks(ctx, c, work.TaskQuery{Request: page.Request{Limit: 1, Cursor: cursor}, TaskFilter: f})
			return p.NextCursor, err
		}
		cursor, err := list(owner, work.TaskFilter{}, "")
		if err != nil || cursor == "" {
			t.Fatalf("got %q, %v", cursor, err)
		}
		_, err = list(owner, work.TaskFilter{}, cursor)
		expect(t, "its own", err, "")
		since := w.now()
		for name, f := range map[string]work.TaskFilter{
			"project": {Project: at.project}, "projects": {Projects: []string{at.project, other.project}}, "status": {Statuses: []string{"todo"}},
			"assignee": {Assignees: []string{"me"}}, "before": {DueBefore: "2026-01-01"}, "after": {DueAfter: "2026-01-01"},
			"since": {UpdatedSince: &since}, "q": {Q: "task"}, "deleted": {Deleted: true},
		} {
			_, err := list(owner, f, cursor)
			expect(t, "with another "+name, err, problem.CursorInvalid)
		}
		for name, c := range map[string]access.Caller{"user": w.user(org, access.Owner), "credential": token(owner), "organization": w.user(w.organization(), access.Owner)} {
			_, err := list(c, work.TaskFilter{}, cursor)
			expect(t, "of another "+name, err, problem.CursorInvalid)
		}
		_, err = w.ListProjects(ctx, owner, work.ProjectQuery{Request: page.Request{Cursor: cursor}})
		expect(t, "in another list", err, problem.CursorInvalid)
	})
}
