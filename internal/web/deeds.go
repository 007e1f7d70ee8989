package web

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"carnet/access"
	"carnet/internal/audit"
	"carnet/internal/tokens"
	"carnet/internal/work"
)

// tellWho fills in the names of who revoked and paused the token.
func (t *tokenView) tellWho(activity tokens.Activity) {
	t.RevokedBy, t.PausedBy = activity.NameOf(deref(activity.Token.RevokedBy)), activity.NameOf(deref(activity.Token.PausedBy))
}

// deeds gathers what a token did.
func (v *visit) deeds(t tokenView, activity tokens.Activity) (deeds, error) {
	calls := map[string]int{}
	for _, day := range activity.CallsByDay {
		calls[day.Day] = int(day.Calls)
	}
	did := deeds{Life: life(t, activity.Values, v.steps(activity)), Calls: newCallChart(calls, v.d.Now(), callsShown)}
	for _, use := range activity.LateUses {
		did.LateUses = append(did.LateUses, lateUse{Prefix: use.Prefix, Uses: int(use.Uses), LastUsedAt: use.LastUsedAt, Address: use.IP, Client: use.Client})
	}
	var err error
	did.Changed, err = v.changedBy(t, activity.Did())
	return did, err
}

// steps tells how a token was paused, resumed and changed.
func (v *visit) steps(activity tokens.Activity) []lifeEvent {
	var events []lifeEvent
	for _, e := range activity.Became() {
		step := lifeEvent{Title: "Resumed", At: &e.At, Text: "by " + whoever(e.Actor == v.caller.UserID, activity.NameOf(e.Actor))}
		switch e.Action {
		case "token.paused":
			step.Title = "Paused"
			if reason, _ := e.Detail["reason"].(string); reason != "" {
				step.Text += ": “" + reason + "”"
			}
		case "token.changed":
			step.Title = changeTitle(e.Detail)
			for _, what := range changeWords(e.Detail) {
				step.Text += "; " + what
			}
		}
		events = append(events, step)
	}
	return events
}

// changeTitle says in a word how a grant changed.
func changeTitle(detail map[string]any) string {
	if detail["widened"] == true {
		return "Given more"
	}
	for _, field := range []string{"scopes", "projects", "expires_at"} {
		if fmt.Sprint(detail[field]) != fmt.Sprint(detail[field+"_before"]) {
			return "Narrowed"
		}
	}
	return "Renamed"
}

// changeWords say what a grant lost and got.
func changeWords(detail map[string]any) (words []string) {
	before, after := textsOf(detail["scopes_before"]), textsOf(detail["scopes"])
	missing := func(from, in []string) []string { // writing includes reading
		held := access.KnownScopes(in...)
		return slices.DeleteFunc(slices.Clone(from), func(s string) bool { return access.KnownScopes(s).Within(held) })
	}
	if lost := missing(before, after); len(lost) > 0 {
		words = append(words, "without "+strings.Join(lost, ", "))
	}
	if got := missing(after, before); len(got) > 0 {
		words = append(words, "with "+strings.Join(got, ", "))
	}
	if fmt.Sprint(detail["projects"]) != fmt.Sprint(detail["projects_before"]) {
		if list := textsOf(detail["projects"]); list == nil {
			words = append(words, "all projects")
		} else {
			words = append(words, "limited to "+plural(len(list), "project"))
		}
	}
	if end, _ := detail["expires_at"].(string); end != fmt.Sprint(detail["expires_at_before"]) {
		switch at, err := time.Parse(time.RFC3339Nano, end); {
		case err == nil:
			words = append(words, "ends "+exact(at))
		case detail["expires_at_before"] != nil:
			words = append(words, "never ends")
		}
	}
	return words
}

// textsOf returns the texts of a list in the detail of an event; nil for anything else.
func textsOf(list any) []string {
	items, ok := list.([]any)
	if !ok {
		return nil
	}
	texts := make([]string, 0, len(items))
	for _, item := range items {
		texts = append(texts, fmt.Sprint(item))
	}
	return texts
}

// fieldWords are what people call fields that are called otherwise inside.
var fieldWords = strings.NewReplacer("assignee_id", "assignee", "due_on", "due date")

// deedWords say what a token did, by the name of the event.
var deedWords = map[string]string{
	"project.created": "Made the project", "project.updated": "Changed the project", "project.deleted": "Deleted the project", "project.restored": "Restored the project",
	"task.created": "Made", "task.updated": "Changed", "task.deleted": "Deleted", "task.restored": "Restored",
	"comment.created": "Commented on", "comment.updated": "Changed a comment on", "comment.deleted": "Deleted a comment on",
}

// changedBy says what a token changed, the latest first. What the person does not see, or what is gone, is not named.
func (v *visit) changedBy(t tokenView, did []audit.Past) ([]deed, error) {
	taskOf := func(e audit.Past) string {
		if strings.HasPrefix(e.Action, "comment.") {
			task, _ := e.Detail["task"].(string)
			return task
		}
		return e.Resource
	}
	names := map[string]work.TaskName{}
	projects := map[string]projectName{}
	if caller, member := v.caller.In(t.Organization); member && len(did) > 0 {
		var ids []string
		for _, e := range did {
			ids = append(ids, taskOf(e))
		}
		var err error
		if names, err = v.d.Work.TaskNames(v.ctx(), caller, ids); err != nil {
			return nil, err
		}
		if projects, err = v.projectNames().in(t.Organization); err != nil {
			return nil, err
		}
	}
	var list []deed
	for _, e := range did {
		shown := deed{At: e.At, Words: cmp.Or(deedWords[e.Action], e.Action)}
		if fields := textsOf(e.Detail["fields"]); len(fields) > 0 && e.Action == "task.updated" {
			shown.Words = "Changed " + fieldWords.Replace(strings.Join(fields, ", ")) + " of"
		} else if len(fields) > 0 {
			shown.Words = "Changed " + strings.Join(fields, ", ") + " of the project"
		}
		if task, ok := names[taskOf(e)]; ok {
			base := projectsOf(t.Organization) + "/" + task.ProjectID
			shown.Ref, shown.Name, shown.Href = task.Ref, task.Title, base+"/tasks/"+taskOf(e)
			if shown.Deleted = task.Deleted; task.Deleted {
				shown.Href = base + "?deleted=true"
			}
		} else if project, ok := projects[e.Resource]; ok {
			shown.Ref, shown.Name, shown.Href = project.Key, project.Name, projectsOf(t.Organization)+"/"+project.ID
		} else {
			shown.Words += " what you do not see, or what is gone"
		}
		list = append(list, shown)
	}
	return list, nil
}

// life tells what happened to a token, in its order. values are those that it has had, the current one first.
func life(t tokenView, values []tokens.Value, steps []lifeEvent) []lifeEvent {
	events := []lifeEvent{{Title: "Created", At: &t.CreatedAt, Class: "good"}}
	if t.CreatedFrom != "" {
		events[0].Text = "from " + t.CreatedFrom
	}
	events = append(events, steps...)
	for i := range values {
		// A value that replaced another one was made by a rotation.
		if i+1 < len(values) {
			old := values[i+1]
			text := old.Prefix + " was replaced"
			if old.ValidUntil != nil && old.ValidUntil.Sub(values[i].CreatedAt) > time.Second {
				verb := ", and worked on until "
				if old.ValidUntil.After(t.now) {
					verb = ", and works on until "
				}
				text += verb + exact(*old.ValidUntil)
			}
			events = append(events, lifeEvent{Title: "Rotated", At: &values[i].CreatedAt, Text: text})
		}
	}
	if t.LastUsedAt != nil {
		text := ""
		if t.LastUsedIP != "" {
			text = "from " + t.LastUsedIP
		}
		if t.LastUsedClient != "" {
			text += " with " + t.LastUsedClient
		}
		events = append(events, lifeEvent{Title: "Last used", At: t.LastUsedAt, Text: text, Class: "good"})
	} else {
		events = append(events, lifeEvent{Title: "Never used"})
	}
	switch {
	case t.State == "revoked":
		text := "by " + t.Revoker()
		if t.RevokeReason != "" {
			text += ": “" + t.RevokeReason + "”"
		}
		events = append(events, lifeEvent{Title: "Revoked", At: t.RevokedAt, Text: text, Class: "bad"})
	case t.State == "expired":
		events = append(events, lifeEvent{Title: "Expired", At: t.ExpiresAt, Class: "bad"})
	case t.ExpiresAt != nil:
		events = append(events, lifeEvent{Title: "Expires", At: t.ExpiresAt, Class: "ahead"})
	default:
		events = append(events, lifeEvent{Title: "Never expires", Class: "ahead"})
	}
	slices.SortStableFunc(events, func(a, b lifeEvent) int {
		if a.At == nil || b.At == nil {
			return 0
		}
		return a.At.Compare(*b.At)
	})
	return events
}
