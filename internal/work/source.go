package work

import (
	"strings"
	"time"

	"carnet/access"
	"carnet/internal/db"
)

// source is where a query reads from: the tables, and the condition that lets through only what the caller sees. Its
// three makers take the caller's filter, and no query of this room begins anywhere else.
type source struct {
	tables     string
	conditions []string
	args       *db.Args
}

// state says which rows a source holds: those that are there, those in the recycle bin, or both.
type state int

const (
	present state = iota
	binned
	either
)

// projectsIn returns the projects p that the filter lets through, with the role g that each gives the filter's user.
func projectsIn(f access.Filter, of state, now time.Time) *source {
	s := &source{args: &db.Args{}}
	s.tables = ` FROM projects p LEFT JOIN project_members g
		ON g.organization_id = p.organization_id AND g.project_id = p.id AND g.user_id = ` + s.args.Add(f.User)
	s.and(db.Visible(f, "p", s.args))
	s.in(of, "p", now)
	return s
}

// tasksIn returns the tasks t of the projects that the filter lets through and that are not deleted.
func tasksIn(f access.Filter, of state, now time.Time) *source {
	s := projectsIn(f, present, now)
	s.tables += ` JOIN tasks t ON t.organization_id = p.organization_id AND t.project_id = p.id`
	// Follows from the join; said again so that the planner can start from the tasks.
	s.and("t.organization_id = " + s.args.Add(f.Organization))
	s.in(of, "t", now)
	return s
}

// commentsIn returns the comments c on the tasks that the filter lets through and that are not deleted.
func commentsIn(f access.Filter, of state, now time.Time) *source {
	s := tasksIn(f, present, now)
	s.tables += ` JOIN comments c ON c.organization_id = t.organization_id AND c.task_id = t.id`
	s.and("c.organization_id = " + s.args.Add(f.Organization))
	s.in(of, "c", now)
	return s
}

// and adds a condition.
func (s *source) and(condition string) { s.conditions = append(s.conditions, condition) }

// is adds the condition that a column has a value.
func (s *source) is(column string, value any) { s.and(column + " = " + s.args.Add(value)) }

// anyOf adds the condition that a column has one of the values, unless there are none to choose from.
func (s *source) anyOf(column string, values []string) {
	if len(values) > 0 {
		s.and(column + " IN (" + s.args.AddAll(values) + ")")
	}
}

// in adds the condition for being there or in the bin. What has been in the bin for longer than [Retention] is in
// neither, whether the cleaner has come by or not.
func (s *source) in(of state, alias string, now time.Time) {
	column := alias + ".deleted_at"
	recently := func() string { return column + " > " + s.args.Add(db.Micros(now.Add(-Retention))) }
	switch of {
	case present:
		s.and(column + " IS NULL")
	case binned:
		s.and(recently())
	default:
		s.and("(" + column + " IS NULL OR " + recently() + ")")
	}
}

// where returns the whole condition.
func (s *source) where() string { return strings.Join(s.conditions, " AND ") }

// query returns the statement that reads columns.
func (s *source) query(columns string) string {
	return "SELECT " + columns + s.tables + " WHERE " + s.where()
}
