package nodes_test

import (
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// standing is what decides about a token: the state of the model. A life is the history of one token and its user, from
// the token's creation to its revocation; no other life touches it, so that each is judged by itself.
type standing struct {
	role      string // of the user in the organization; "" for none
	suspended bool
	scopes    string // of the token, as GET /me tells them
	revoked   bool
}

// change is a call that changes who may do what.
type change struct {
	kind  string // revoke, narrow, role or suspend
	value string // the new scopes; the new role, "" for being removed; "yes" or "no"
}

// seen is what a verification told.
type seen struct {
	code   string // token_revoked or token_inert; "" when it was let in
	role   string
	scopes string
}

// model says what may be seen after what. A call whose outcome is not known is recorded as one that never returned: it
// may take effect at any moment, or after all that was seen.
var model = porcupine.Model{
	Init: func() any { return standing{} },
	Step: func(state, input, output any) (bool, any) {
		s, _ := state.(standing)
		switch in := input.(type) {
		case standing: // the beginning
			return true, in
		case change:
			return true, s.after(in)
		default:
			got, _ := output.(seen)
			return got == s.view(), s
		}
	},
	Equal: func(a, b any) bool { return a == b },
	DescribeOperation: func(input, output any) string {
		return fmt.Sprintf("%+v -> %+v", input, output)
	},
}

func (s standing) after(c change) standing {
	switch c.kind {
	case "revoke":
		s.revoked = true
	case "narrow":
		s.scopes = c.value
	case "role":
		s.role = c.value
	case "suspend":
		s.suspended = c.value == "yes"
	}
	return s
}

// view is what a verification must tell. State: revoked before inert (contract).
func (s standing) view() seen {
	switch {
	case s.revoked:
		return seen{code: "token_revoked"}
	case s.role == "" || s.suspended:
		return seen{code: "token_inert"}
	default:
		return seen{role: s.role, scopes: s.scopes}
	}
}

// record collects a life while it goes on.
type record struct {
	began      time.Time // of the run
	mu         sync.Mutex
	operations []porcupine.Operation
}

func newRecord(began time.Time, first standing) *record {
	r := &record{began: began}
	at := time.Since(began).Nanoseconds()
	r.operations = append(r.operations, porcupine.Operation{Input: first, Call: at, Return: at})
	return r
}

func (r *record) add(client int, called time.Time, in, out any, known bool) {
	returned := int64(math.MaxInt64)
	if known {
		returned = time.Since(r.began).Nanoseconds()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.operations = append(r.operations, porcupine.Operation{
		ClientId: client, Input: in, Output: out, Call: called.Sub(r.began).Nanoseconds(), Return: returned,
	})
}

// judgement is what came of checking lives.
type judgement struct {
	mu                              sync.Mutex
	lives, operations, unknown, bad int
	violations                      []string
}

// judge checks a life, in the background. It is short enough for that to take no time.
func (j *judgement) judge(t *testing.T, name string, r *record) {
	t.Helper()
	r.mu.Lock()
	operations := r.operations
	r.mu.Unlock()
	verdict, info := porcupine.CheckOperationsVerbose(model, operations, 20*time.Second)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lives++
	j.operations += len(operations)
	switch verdict {
	case porcupine.Unknown:
		j.unknown++
	case porcupine.Illegal:
		j.bad++
		if j.bad > 3 {
			return
		}
		file := t.ArtifactDir() + "/violation-" + name + ".html"
		if err := porcupine.VisualizePath(model, info, file); err == nil {
			t.Logf("drawn in %s", file)
		}
		j.violations = append(j.violations, describe(operations))
	case porcupine.Ok:
	}
}

// describe shows what was wrong in the plainest case: something was let in that began after a change had returned.
func describe(operations []porcupine.Operation) string {
	for _, c := range operations {
		in, ok := c.Input.(change)
		if !ok || c.Return == math.MaxInt64 {
			continue
		}
		for _, v := range operations {
			got, isSeen := v.Output.(seen)
			if isSeen && v.Call > c.Return && in.kind == "revoke" && got.code != "token_revoked" {
				return fmt.Sprintf("%s returned at %.3f s; a verification that began %.3f ms later saw %+v",
					in.kind, float64(c.Return)/1e9, float64(v.Call-c.Return)/1e6, got)
			}
		}
	}
	text := "no order of these explains what was seen:"
	for _, o := range operations {
		if _, isSeen := o.Output.(seen); !isSeen {
			text += fmt.Sprintf("\n  %+v from %.3f to %.3f s", o.Input, float64(o.Call)/1e9, float64(o.Return)/1e9)
		}
	}
	return text
}
