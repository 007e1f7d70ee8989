package org_test

import (
	"strings"
	"testing"

	"carnet/internal/org"
	"carnet/internal/problem"
)

func TestOperators(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx, operators := t.Context(), w.org.Operators()
		w.user("ada")
		w.user("ben")
		created, err := operators.CreateOrganization(ctx, org.Founding{Slug: "acme", Name: "Acme", OwnerEmail: " ADA@example.com", Plan: "enterprise"})
		if err != nil || created != (org.Organization{Slug: "acme", Name: "Acme", Plan: "enterprise", CreatedAt: w.clock()}) {
			t.Fatalf("founded %+v, %v", created, err)
		}
		organization := ""
		if err := w.db.Read().QueryRowContext(ctx, `SELECT id FROM organizations`).Scan(&organization); err != nil {
			t.Fatal(err)
		}
		if w.role(organization, "ada") != "owner" {
			t.Error("ada is no owner")
		}
		_, err = operators.CreateOrganization(ctx, org.Founding{Slug: "acme", Name: "Acme", OwnerEmail: "ben@example.com"})
		want(t, "the same slug", err, problem.Conflict)
		_, err = operators.CreateOrganization(ctx, org.Founding{Slug: "beta", Name: "Beta", OwnerEmail: "nobody@example.com"})
		want(t, "an owner without an account", err, problem.NotFound)
		_, err = operators.CreateOrganization(ctx, org.Founding{Slug: "Beta", Name: "", OwnerEmail: "ben@example.com"})
		fieldsAre(t, err, "slug", "name")
		_, err = operators.CreateOrganization(ctx, org.Founding{Slug: "beta", Name: "Beta", OwnerEmail: "ben@example.com", Plan: "gold"})
		fieldsAre(t, err, "plan")

		want(t, "add ben", operators.AddMember(ctx, "acme", "ben@example.com", "guest"), "")
		want(t, "add ben again", operators.AddMember(ctx, "acme", "ben@example.com", "guest"), problem.Conflict)
		want(t, "add nobody", operators.AddMember(ctx, "acme", "nobody@example.com", "guest"), problem.NotFound)
		want(t, "add to nothing", operators.AddMember(ctx, "nothing", "ben@example.com", "guest"), problem.NotFound)
		fieldsAre(t, operators.AddMember(ctx, "acme", "ben@example.com", "boss"), "role")
		want(t, "make ben a manager", operators.SetRole(ctx, "acme", "ben@example.com", "manager"), "")
		if w.role(organization, "ben") != "manager" {
			t.Errorf("ben is %s", w.role(organization, "ben"))
		}
		want(t, "suspend ben", operators.SuspendUser(ctx, "ben@example.com"), "")
		_, err = operators.CreateOrganization(ctx, org.Founding{Slug: "beta", Name: "Beta", OwnerEmail: "ben@example.com"})
		want(t, "a suspended owner", err, problem.Conflict)
		want(t, "restore ben", operators.RestoreUser(ctx, "BEN@example.com"), "")
		want(t, "suspend nobody", operators.SuspendUser(ctx, "nobody@example.com"), problem.NotFound)
		want(t, "restore nobody", operators.RestoreUser(ctx, "nobody@example.com"), problem.NotFound)
		want(t, "remove ben", operators.RemoveMember(ctx, "acme", "ben@example.com"), "")
		want(t, "remove ben again", operators.RemoveMember(ctx, "acme", "ben@example.com"), problem.NotFound)
		want(t, "change ben's role", operators.SetRole(ctx, "acme", "ben@example.com", "guest"), problem.NotFound)
		want(t, "plan of nothing", operators.SetPlan(ctx, "nothing", "team"), problem.NotFound)
		fieldsAre(t, operators.SetPlan(ctx, "acme", ""), "plan")
		for _, action := range w.actions() {
			if !strings.Contains(action, `by "" `) || !strings.HasPrefix(action, "account.") && !strings.Contains(action, `"operator":true`) {
				t.Errorf("recorded %s", action)
			}
		}
		if n := w.count(`SELECT count(*) FROM organizations`); n != 1 {
			t.Errorf("%d organizations", n)
		}
	})
}
