package db

import (
	"strconv"
	"strings"

	"carnet/access"
)

// Args collects the parameters of a query that is put together from parts, and names their places.
type Args struct{ values []any }

// Add appends a parameter and returns its place holder, such as "$3".
func (a *Args) Add(value any) string {
	a.values = append(a.values, value)
	return "$" + strconv.Itoa(len(a.values))
}

// AddAll appends the values and returns their place holders, separated by commas.
func (a *Args) AddAll(values []string) string {
	places := make([]string, len(values))
	for i, v := range values {
		places[i] = a.Add(v)
	}
	return strings.Join(places, ", ")
}

// Values returns the parameters, in order.
func (a *Args) Values() []any { return a.values }

// Visible returns the SQL condition that holds for the rows of projects (under the given alias) that the filter lets
// through. Every query over what lies in projects carries it. Whether a project is deleted is not its business.
func Visible(f access.Filter, alias string, args *Args) string {
	ids := f.Projects.IDs()
	if f.Organization == "" || f.Reach == access.ReachNothing || f.Projects.Restricted() && len(ids) == 0 {
		return "1 = 0"
	}
	conditions := []string{alias + ".organization_id = " + args.Add(f.Organization)}
	belongs := func() string {
		return "EXISTS (SELECT 1 FROM project_members visible WHERE visible.organization_id = " + alias + ".organization_id" +
			" AND visible.project_id = " + alias + ".id AND visible.user_id = " + args.Add(f.User) + ")"
	}
	switch f.Reach {
	case access.ReachOrganization:
	case access.ReachOwnAndOpen:
		conditions = append(conditions, "("+alias+".visibility = 'organization' OR "+belongs()+")")
	default:
		conditions = append(conditions, belongs())
	}
	if f.Projects.Restricted() {
		conditions = append(conditions, alias+".id IN ("+args.AddAll(ids)+")")
	}
	return strings.Join(conditions, " AND ")
}
