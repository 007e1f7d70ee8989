package web

import (
	"net/http"
	"net/url"

	"carnet/internal/optional"
	"carnet/internal/page"
	"carnet/internal/problem"
	"carnet/internal/work"
)

// addComment writes a comment on a task.
func (d *Door) addComment(v *visit) error {
	e, err := v.errand()
	if err != nil {
		return err
	}
	made, err := d.Work.CreateComment(v.ctx(), e.caller, e.task.ID, work.CommentText{Body: optional.Of(v.text("body"))})
	if err == nil {
		return v.leave(e.base+"?done=comment-added#"+made.ID, "")
	}
	f := v.typed()
	if err := refused(&f, err, nil); err != nil {
		return err
	}
	return v.taskPage(f, http.StatusUnprocessableEntity)
}

// comment looks for the comment that the path names among those of its task.
func (v *visit) comment(e errand) (work.Comment, error) {
	asked := work.CommentQuery{Request: page.Request{Limit: page.MaxLimit}}
	for {
		listed, err := v.d.Work.ListComments(v.ctx(), e.caller, e.task.ID, asked)
		if err != nil {
			return work.Comment{}, err
		}
		for _, c := range listed.Items {
			if c.ID == v.r.PathValue("comment") {
				return c, nil
			}
		}
		if asked.Cursor = listed.NextCursor; asked.Cursor == "" {
			return work.Comment{}, problem.Absent()
		}
	}
}

func (d *Door) askEditComment(v *visit) error {
	e, err := v.errand()
	if err != nil {
		return err
	}
	c, err := v.comment(e)
	if err != nil {
		return err
	}
	return v.editCommentForm(e, newForm(url.Values{"body": {c.Body}}), http.StatusOK)
}

func (v *visit) editCommentForm(e errand, f form, status int) error {
	p := workForm{Crumbs: e.steps(crumb{"Edit comment", ""}), Form: f, Action: v.r.URL.Path, Back: e.base}
	return v.show(status, "comment-form", "Edit comment", "projects", p)
}

// editComment gives a comment another text.
func (d *Door) editComment(v *visit) error {
	e, err := v.errand()
	if err != nil {
		return err
	}
	c, err := d.Work.UpdateComment(v.ctx(), e.caller, v.r.PathValue("comment"), work.CommentText{Body: optional.Of(v.text("body"))})
	if err == nil {
		return v.leave(e.base+"?done=comment-saved#"+c.ID, "")
	}
	f := v.typed()
	if err := refused(&f, err, nil); err != nil {
		return err
	}
	return v.editCommentForm(e, f, http.StatusUnprocessableEntity)
}

func (d *Door) askDeleteComment(v *visit) error {
	e, err := v.errand()
	if err != nil {
		return err
	}
	if _, err := v.comment(e); err != nil {
		return err
	}
	return v.show(http.StatusOK, "confirm", "Delete comment", "projects", confirmPage{
		Crumbs: e.steps(crumb{"Delete comment", ""}), Form: newForm(nil), Heading: "Delete this comment?", Text: "It cannot be brought back.",
		Action: v.r.URL.Path, Button: "Delete the comment", Back: e.base, BackLabel: "Keep it",
	})
}

// deleteComment deletes a comment.
func (d *Door) deleteComment(v *visit) error {
	e, err := v.errand()
	if err != nil {
		return err
	}
	if err := d.Work.DeleteComment(v.ctx(), e.caller, v.r.PathValue("comment")); err != nil {
		return err
	}
	return v.leave(e.base, "comment-deleted")
}
