package work_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"carnet/access"
	"carnet/internal/optional"
	"carnet/internal/problem"
	"carnet/internal/work"
)

// agent returns an agent's token of the caller's user, with all scopes, that may destroy and make so many writes an hour.
func agent(c access.Caller, writes int) access.Caller {
	c = token(c)
	c.Purpose, c.TokenName, c.WriteRate = access.Agent, "Scout", writes
	return c
}

// A run-away agent is stopped by what its organization lets each agent write in an hour. Nobody else is.
func TestAgentsMakeAsManyWritesInAnHourAsTheirOrganizationSays(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		owner := w.user(w.organization(), access.Owner)
		p := w.project(owner, access.Private)
		write := func(c access.Caller) error {
			_, err := w.CreateTask(context.Background(), c, p.ID, titled("t"))
			return err
		}
		limited, other, free, personal := agent(owner, 3), agent(owner, 3), agent(owner, 0), token(owner)
		personal.WriteRate = 3 // which says nothing about them
		session := owner
		session.WriteRate = 3
		for range 3 {
			expect(t, "within the limit", write(limited), "")
		}
		err := write(limited)
		expect(t, "beyond it", err, problem.RateLimited)
		var e *problem.Error
		if !errors.As(err, &e) || e.Limit != 3 || e.RetryAfter != 1201 || !strings.Contains(e.Detail, "3 writes in an hour") {
			t.Errorf("it is told %+v", e)
		}
		if n := w.one(`SELECT count(*) FROM tasks`); n != 3 {
			t.Errorf("%d tasks are there", n)
		}
		for range 5 {
			expect(t, "an agent without a limit", write(free), "")
			expect(t, "a personal token", write(personal), "")
			expect(t, "a person", write(session), "")
		}
		expect(t, "another agent of the same person", write(other), "")
		if _, err := w.ListTasks(context.Background(), limited, work.TaskQuery{}); err != nil {
			t.Errorf("reading is not limited: %v", err)
		}
		w.pass(20*time.Minute - time.Microsecond)
		expect(t, "before a third of the hour", write(limited), problem.RateLimited)
		w.pass(time.Microsecond)
		expect(t, "after a third of the hour", write(limited), "")
		expect(t, "and once more", write(limited), problem.RateLimited)
		// With a higher limit what was used up grows back faster; with none, nobody looks.
		limited.WriteRate = 1000
		expect(t, "with a higher limit, at once", write(limited), problem.RateLimited)
		w.pass(3600 * time.Millisecond)
		expect(t, "with a higher limit, after a thousandth of the hour", write(limited), "")
		limited.WriteRate = 0
		expect(t, "with none", write(limited), "")
	})
}

func TestWhatIsRefusedCountsForNoWrite(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		ctx := context.Background()
		org := w.organization()
		owner, member := w.user(org, access.Owner), w.user(org, access.Member)
		p, hidden := w.project(owner, access.OrganizationVisible), w.project(owner, access.Private)
		task := w.task(owner, p.ID, titled("t"))
		c, old := agent(member, 1), int64(7)
		for range 2 {
			_, err := w.CreateTask(ctx, c, p.ID, titled(" "))
			expect(t, "what does not hold", err, problem.ValidationFailed)
			_, err = w.CreateTask(keyed("bad"), c, p.ID, titled(" "))
			expect(t, "what does not hold, under a key", err, problem.ValidationFailed)
			_, err = w.UpdateTask(ctx, c, task.ID, work.TaskChange{TaskFields: work.TaskFields{Title: optional.Of("n")}, Precondition: work.Precondition{IfMatch: &old}})
			expect(t, "an old version", err, problem.VersionStale)
			_, err = w.CreateTask(ctx, c, hidden.ID, titled("t"))
			expect(t, "what is not seen", err, problem.NotFound)
			expect(t, "what the role does not let", w.DeleteProject(ctx, c, p.ID, work.Precondition{}), problem.RoleInsufficient)
		}
		if n := w.one(`SELECT count(*) FROM rate_limits WHERE bucket LIKE 'writes:%'`); n != 0 {
			t.Errorf("%d sources are on record", n)
		}
		first, err := w.CreateTask(keyed("good"), c, p.ID, titled("t"))
		expect(t, "the first that holds", err, "")
		again, err := w.CreateTask(keyed("good"), c, p.ID, titled("t"))
		expect(t, "its repetition", err, "")
		if again.ID != first.ID {
			t.Errorf("repeating made %s beside %s", again.ID, first.ID)
		}
		_, err = w.CreateTask(keyed("next"), c, p.ID, titled("t"))
		expect(t, "the next", err, problem.RateLimited)
		w.pass(time.Hour)
		_, err = w.CreateTask(keyed("next"), c, p.ID, titled("t"))
		expect(t, "the next under its key, an hour later", err, "")
		// Every kind of write counts.
		w.pass(time.Hour)
		comment := w.comment(agent(member, 0), task.ID, "mine")
		mine := w.project(member, access.OrganizationVisible)
		for name, write := range map[string]func() error{
			"create a project": func() error { _, err := w.CreateProject(ctx, c, newProject(access.Private)); return err },
			"change a project": func() error {
				_, err := w.UpdateProject(ctx, c, mine.ID, work.ProjectChange{ProjectFields: work.ProjectFields{Name: optional.Of(newKey())}})
				return err
			},
			"change a task": func() error {
				_, err := w.UpdateTask(ctx, c, task.ID, work.TaskChange{TaskFields: work.TaskFields{Title: optional.Of(newKey())}})
				return err
			},
			"comment":          func() error { _, err := w.CreateComment(ctx, c, task.ID, said("s")); return err },
			"change a comment": func() error { _, err := w.UpdateComment(ctx, c, comment.ID, said(newKey())); return err },
			"delete and restore a task": func() error {
				x := w.task(owner, p.ID, titled("x"))
				if err := w.DeleteTask(ctx, c, x.ID, work.Precondition{}); err != nil {
					return err
				}
				w.pass(time.Hour)
				_, err := w.RestoreTask(ctx, c, x.ID)
				return err
			},
			"delete and restore a project": func() error {
				x := w.project(member, access.Private)
				if err := w.DeleteProject(ctx, c, x.ID, work.Precondition{}); err != nil {
					return err
				}
				w.pass(time.Hour)
				_, err := w.RestoreProject(ctx, c, x.ID)
				return err
			},
			"delete a comment": func() error { return w.DeleteComment(ctx, c, w.comment(member, task.ID, "x").ID) },
		} {
			expect(t, name, write(), "")
			expect(t, "one more after "+name, write(), problem.RateLimited)
			w.pass(time.Hour)
		}
	})
}

// Who reads a task or a comment later sees that an agent made it, and how it was called then.
func TestWhatAgentsMakeIsMarked(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		ctx := context.Background()
		owner := w.user(w.organization(), access.Owner)
		p := w.project(owner, access.Private)
		personal := token(owner)
		personal.TokenName = "CI"
		for name, c := range map[string]access.Caller{"Scout": agent(owner, 0), "": owner, " ": personal} {
			marked := func(what string, got *string) {
				t.Helper()
				if name = strings.TrimSpace(name); (got == nil) != (name == "") || got != nil && *got != name {
					t.Errorf("%s of %q is marked with %v", what, name, got)
				}
			}
			task := w.task(c, p.ID, titled("t"))
			marked("the new task", task.Agent)
			comment := w.comment(c, task.ID, "c")
			marked("the new comment", comment.Agent)
			// A person's change does not take the mark away, nor an agent's add one.
			for _, by := range []access.Caller{owner, agent(owner, 0)} {
				_, err := w.UpdateTask(ctx, by, task.ID, work.TaskChange{TaskFields: work.TaskFields{Title: optional.Of(newKey())}})
				expect(t, "change the task", err, "")
				_, err = w.UpdateComment(ctx, by, comment.ID, said(newKey()))
				expect(t, "change the comment", err, "")
			}
			read, err := w.Task(ctx, owner, task.ID)
			expect(t, "read the task", err, "")
			marked("the task", read.Agent)
			listed, err := w.ListComments(ctx, owner, task.ID, work.CommentQuery{})
			expect(t, "list the comments", err, "")
			marked("the comment", listed.Items[0].Agent)
		}
	})
}

// P2: what the organization keeps from agents is refused before anything is looked up, and of a comment the part that
// concerns it.
func TestAgentsAreRefusedWhatTheirOrganizationKeepsFromThem(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		ctx := context.Background()
		org := w.organization()
		owner, member := w.user(org, access.Owner), w.user(org, access.Member)
		p, hidden := w.project(owner, access.OrganizationVisible), w.project(owner, access.Private)
		task := w.task(owner, p.ID, titled("t"))
		c := agent(member, 0)
		c.Withheld = access.DefaultAgentPolicy().Withholds()
		expect(t, "delete a task", w.DeleteTask(ctx, c, task.ID, work.Precondition{}), problem.PolicyDenied)
		expect(t, "delete a task that is not there", w.DeleteTask(ctx, c, "tsk_nothing", work.Precondition{}), problem.PolicyDenied)
		expect(t, "delete a project that its user does not see", w.DeleteProject(ctx, c, hidden.ID, work.Precondition{}), problem.PolicyDenied)
		mine, theirs := w.comment(member, task.ID, "mine"), w.comment(owner, task.ID, "theirs")
		unseen := w.comment(owner, w.task(owner, hidden.ID, titled("h")).ID, "unseen")
		for _, x := range []work.Comment{mine, theirs, unseen} {
			expect(t, "delete a comment", w.DeleteComment(ctx, c, x.ID), problem.PolicyDenied)
		}
		c.Withheld = access.PermissionSet(access.CommentsModerate)
		expect(t, "delete another's comment, where agents delete their users' own", w.DeleteComment(ctx, c, theirs.ID), problem.PolicyDenied)
		expect(t, "delete a comment that its user does not see", w.DeleteComment(ctx, c, unseen.ID), problem.NotFound)
		expect(t, "delete one's own", w.DeleteComment(ctx, c, mine.ID), "")
		mine = w.comment(member, task.ID, "mine")
		c.Withheld = access.PermissionSet(access.CommentsDelete)
		expect(t, "delete one's own, where agents moderate only", w.DeleteComment(ctx, c, mine.ID), problem.PolicyDenied)
		expect(t, "moderate without being a lead", w.DeleteComment(ctx, c, theirs.ID), problem.RoleInsufficient)
		w.share(owner, p.ID, member, access.Lead)
		expect(t, "moderate as a lead", w.DeleteComment(ctx, c, theirs.ID), "")
		// The person themselves is not bound.
		expect(t, "their person deletes the task", w.DeleteTask(ctx, member, task.ID, work.Precondition{}), "")
	})
}

// What is gone is absent, also to an agent that has no writes left: it is told nothing that one with writes is not.
func TestWhatIsGoneIsAbsentToAnAgentWithoutWrites(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		owner := w.user(w.organization(), access.Owner)
		ctx := context.Background()
		p := w.project(owner, access.Private)
		made, err := w.CreateTask(ctx, owner, p.ID, titled("t"))
		if err != nil {
			t.Fatal(err)
		}
		comment, err := w.CreateComment(ctx, owner, made.ID, work.CommentText{Body: optional.Of("c")})
		if err != nil {
			t.Fatal(err)
		}
		used := agent(owner, 1)
		_, err = w.CreateTask(ctx, used, p.ID, titled("the only one"))
		expect(t, "the only one", err, "")
		for _, step := range []struct {
			what   string
			remove func(c access.Caller) error
		}{
			{"a comment", func(c access.Caller) error { return w.DeleteComment(ctx, c, comment.ID) }},
			{"a task", func(c access.Caller) error { return w.DeleteTask(ctx, c, made.ID, work.Precondition{}) }},
			{"a project", func(c access.Caller) error { return w.DeleteProject(ctx, c, p.ID, work.Precondition{}) }},
		} {
			expect(t, step.what+" that is there", step.remove(used), problem.RateLimited)
			expect(t, step.what, step.remove(owner), "")
			expect(t, step.what+" that is gone", step.remove(used), problem.NotFound)
		}
	})
}
