package work

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/id"
	"carnet/internal/optional"
	"carnet/internal/page"
	"carnet/internal/problem"
	"carnet/internal/work/rows"
)

// Comment is what somebody wrote about a task.
type Comment struct {
	ID         string    `json:"id"`
	ProjectID  string    `json:"project_id"`
	TaskID     string    `json:"task_id"`
	AuthorID   string    `json:"author_id"`
	Body       string    `json:"body"`             // Markdown
	CreatedVia string    `json:"created_via"`      // the session or token
	Agent      *string   `json:"created_by_agent"` // the agent that wrote it for author_id, as it was called then; null: none did
	CreatedAt  time.Time `json:"created_at"`
	UpdatedAt  time.Time `json:"updated_at"`

	deleted  bool
	resource access.Resource // its project
}

// Resource returns what [access.Decide] asks about a comment that was read for a caller: its project. The answer of a
// repeated request has none.
func (c Comment) Resource() access.Resource { return c.resource }

const commentColumns = `c.organization_id, c.id, c.project_id, c.task_id, c.author_id, c.body, c.created_via, c.agent_name, c.created_at,
	c.updated_at, c.deleted_at, p.visibility, COALESCE(g.role, '')`

func scanComment(row page.Row) (Comment, error) {
	var c Comment
	var created, updated int64
	var deleted sql.NullInt64
	var visibility, given, agent string
	err := row.Scan(&c.resource.Organization, &c.ID, &c.ProjectID, &c.TaskID, &c.AuthorID, &c.Body, &c.CreatedVia, &agent, &created,
		&updated, &deleted, &visibility, &given)
	if err != nil {
		return Comment{}, err
	}
	c.CreatedAt, c.UpdatedAt, c.deleted = db.Time(created), db.Time(updated), deleted.Valid
	c.Agent = named(agent)
	c.resource.Project = c.ProjectID
	c.resource.Visibility, _ = access.ParseVisibility(visibility)
	c.resource.Given, _ = access.ParseProjectRole(given)
	return c, nil
}

// commentSeen returns the comment that the caller sees under an id, and not_found when there is none.
func (s *Service) commentSeen(ctx context.Context, q db.Queryer, caller access.Caller, commentID string, of state) (Comment, error) {
	if !id.Valid(id.Comment, commentID) {
		return Comment{}, problem.Absent()
	}
	from := commentsIn(caller.Visible(), of, s.Now())
	from.is("c.id", commentID)
	c, err := scanComment(q.QueryRowContext(ctx, from.query(commentColumns), from.args.Values()...))
	if errors.Is(err, sql.ErrNoRows) {
		return Comment{}, problem.Absent()
	}
	if err != nil {
		return Comment{}, fmt.Errorf("read comment: %w", err)
	}
	return c, nil
}

// CommentQuery says which comments to list.
type CommentQuery struct {
	page.Request       // sort: created_at
	Invalid      error // what the door could not read
}

var commentSorts = page.Sorts{"created_at": {Column: "c.created_at"}}

// ListComments lists the comments on a task, oldest first unless asked otherwise. It needs comments:read.
func (s *Service) ListComments(ctx context.Context, caller access.Caller, taskID string, query CommentQuery) (page.Page[Comment], error) {
	var none page.Page[Comment]
	if err := problem.RequireMay(&caller, access.CommentsRead); err != nil {
		return none, err
	}
	if _, err := s.taskFor(ctx, s.DB.Read(), caller, access.CommentsRead, taskID, present); err != nil {
		return none, err
	}
	if query.Invalid != nil {
		return none, query.Invalid
	}
	return page.List(ctx, s.DB.Read(), s.commentListing(caller, taskID, query))
}

func (s *Service) commentListing(caller access.Caller, taskID string, query CommentQuery) page.Listing[Comment] {
	from := commentsIn(caller.Visible(), present, s.Now())
	from.is("c.task_id", taskID)
	return page.Listing[Comment]{
		Cursors: s.Cursors, Request: query.Request, Sorts: commentSorts, Default: "created_at", ID: "c.id",
		Binding: page.Binding(caller, "comments", taskID),
		Select:  "SELECT " + commentColumns + from.tables, Where: from.where(), Args: from.args, Scan: scanComment,
	}
}

// CommentFilter says which comments of several tasks are meant.
type CommentFilter struct {
	page.Request            // sort: created_at
	Project      string     // id; empty: all that the caller sees
	Since        *time.Time // written since then
	Invalid      error      // what the door could not read
}

// RecentComments lists the comments on tasks of all the projects that the caller sees, or of one of them, newest first. It
// needs comments:read.
func (s *Service) RecentComments(ctx context.Context, caller access.Caller, f CommentFilter) (page.Page[Comment], error) {
	var none page.Page[Comment]
	if err := mayList(&caller, access.CommentsRead); err != nil {
		return none, err
	}
	if f.Project != "" {
		if _, err := s.projectFor(ctx, s.DB.Read(), caller, access.CommentsRead, f.Project, present); err != nil {
			return none, err
		}
	}
	if f.Invalid != nil {
		return none, f.Invalid
	}
	return page.List(ctx, s.DB.Read(), s.recentComments(caller, f))
}

func (s *Service) recentComments(caller access.Caller, f CommentFilter) page.Listing[Comment] {
	from := commentsIn(caller.Visible(), present, s.Now())
	if f.Project != "" {
		from.is("c.project_id", f.Project)
	}
	since := ""
	if f.Since != nil {
		since = fmt.Sprint(db.Micros(*f.Since))
		from.and("c.created_at >= " + from.args.Add(db.Micros(*f.Since)))
	}
	return page.Listing[Comment]{
		Cursors: s.Cursors, Request: f.Request, Sorts: commentSorts, Default: "-created_at", ID: "c.id",
		Binding: page.Binding(caller, "recent comments", f.Project, since),
		Select:  "SELECT " + commentColumns + from.tables, Where: from.where(), Args: from.args, Scan: scanComment,
	}
}

// CommentText is a comment to be written, or its new text.
type CommentText struct {
	Body    optional.Value[string] `json:"body,omitzero"`
	Invalid error                  `json:"-"` // what the door could not read
}

// read returns the text, and refuses one that is missing, blank or too long.
func (in CommentText) read() (string, error) {
	if in.Invalid != nil {
		return "", in.Invalid
	}
	var c checker
	var body string
	c.required("body.body", in.Body)
	c.block("body.body", in.Body, &body, CommentLimit)
	if len(c.fields) == 0 && strings.TrimSpace(body) == "" {
		c.add("body.body", "must not be empty")
	}
	return body, c.err()
}

// CreateComment writes a comment on a task. It needs comments:write, which contributors have.
func (s *Service) CreateComment(ctx context.Context, caller access.Caller, taskID string, in CommentText) (Comment, error) {
	if err := problem.RequireMay(&caller, access.CommentsWrite); err != nil {
		return Comment{}, err
	}
	return do(ctx, s, caller,
		func(ctx context.Context, tx *sql.Tx) (Task, error) {
			return s.taskFor(ctx, tx, caller, access.CommentsWrite, taskID, present)
		},
		func(ctx context.Context, tx *sql.Tx, t Task) (Comment, error) {
			body, err := in.read()
			if err != nil {
				return Comment{}, err
			}
			now := db.Micros(s.Now())
			c := Comment{
				ID: id.New(id.Comment), ProjectID: t.ProjectID, TaskID: t.ID, AuthorID: caller.UserID, Body: body,
				CreatedVia: caller.CredentialID, Agent: agentOf(caller), CreatedAt: db.Time(now), UpdatedAt: db.Time(now), resource: t.resource,
			}
			err = rows.New(tx).InsertComment(ctx, rows.InsertCommentParams{
				OrganizationID: caller.Organization, ID: c.ID, ProjectID: c.ProjectID, TaskID: c.TaskID, AuthorID: c.AuthorID,
				Body: c.Body, CreatedVia: c.CreatedVia, AgentName: deref(c.Agent), CreatedAt: now,
			})
			if err != nil {
				return Comment{}, fmt.Errorf("create comment: %w", err)
			}
			return c, s.record(ctx, tx, caller, "comment.created", c.ProjectID, c.ID, map[string]any{"task": c.TaskID})
		})
}

// UpdateComment gives a comment a new text. It needs comments:write, and only its author may; not even a lead puts words
// into somebody's mouth.
func (s *Service) UpdateComment(ctx context.Context, caller access.Caller, commentID string, in CommentText) (Comment, error) {
	if err := problem.RequireMay(&caller, access.CommentsWrite); err != nil {
		return Comment{}, err
	}
	return do(ctx, s, caller,
		func(ctx context.Context, tx *sql.Tx) (Comment, error) {
			if err := s.DB.Hold(ctx, tx, commentID); err != nil {
				return Comment{}, err
			}
			c, err := s.commentSeen(ctx, tx, caller, commentID, present)
			if err != nil {
				return Comment{}, err
			}
			if err := problem.Require(&caller, access.CommentsWrite, c.resource); err != nil {
				return Comment{}, err
			}
			if c.AuthorID != caller.UserID {
				return Comment{}, problem.New(problem.RoleInsufficient, "Only its author can edit a comment, whatever the role of others.")
			}
			return c, nil
		},
		func(ctx context.Context, tx *sql.Tx, c Comment) (Comment, error) {
			body, err := in.read()
			if err != nil {
				return Comment{}, err
			}
			if body == c.Body {
				return c, nil
			}
			now := db.Micros(s.Now())
			err = rows.New(tx).SetComment(ctx, rows.SetCommentParams{Body: body, UpdatedAt: now, OrganizationID: caller.Organization, ID: c.ID})
			if err != nil {
				return Comment{}, fmt.Errorf("change comment: %w", err)
			}
			c.Body, c.UpdatedAt = body, db.Time(now)
			return c, s.record(ctx, tx, caller, "comment.updated", c.ProjectID, c.ID, map[string]any{"task": c.TaskID})
		})
}

// DeleteComment deletes a comment. Its author needs comments:delete, which contributors have, anybody else
// comments:moderate, which leads have.
func (s *Service) DeleteComment(ctx context.Context, caller access.Caller, commentID string) error {
	if err := problem.RequireMay(&caller, access.CommentsDelete); err != nil && access.May(&caller, access.CommentsModerate) != access.Allowed {
		return err
	}
	_, err := doUnless(ctx, s, caller,
		func(ctx context.Context, tx *sql.Tx) (Comment, error) {
			if err := s.DB.Hold(ctx, tx, commentID); err != nil {
				return Comment{}, err
			}
			// A deleted one, too: see doUnless.
			c, err := s.commentSeen(ctx, tx, caller, commentID, either)
			if err != nil {
				return Comment{}, err
			}
			needed := access.CommentsModerate
			if c.AuthorID == caller.UserID {
				needed = access.CommentsDelete
			}
			if err := problem.Require(&caller, needed, c.resource); err != nil {
				if c.deleted {
					return Comment{}, problem.Absent()
				}
				return Comment{}, err
			}
			return c, nil
		},
		func(c Comment) bool { return c.deleted },
		func(ctx context.Context, tx *sql.Tx, c Comment) (nothing, error) {
			err := rows.New(tx).SetCommentDeleted(ctx, rows.SetCommentDeletedParams{
				DeletedAt: sql.NullInt64{Int64: db.Micros(s.Now()), Valid: true}, OrganizationID: caller.Organization, ID: c.ID,
			})
			if err != nil {
				return nothing{}, fmt.Errorf("delete comment: %w", err)
			}
			return nothing{}, s.record(ctx, tx, caller, "comment.deleted", c.ProjectID, c.ID, map[string]any{"task": c.TaskID, "author": c.AuthorID})
		})
	return err
}
