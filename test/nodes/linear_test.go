package nodes_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carnet/internal/org"
	"carnet/internal/problem"
	"carnet/test/harness"
)

// people have a life at a time each, and four clients that verify.
const people = 16

// run is one run of the suite.
type run struct {
	*cluster
	began time.Time
	until time.Time
	judgement

	owner struct {
		sync.Mutex
		session *harness.Client
	}
	answers, refusals, unavailable, lost atomic.Int64
	changes                              sync.Map // by kind: *atomic.Int64
	slow                                 struct {
		sync.Mutex
		took []time.Duration // of answers that a verification is not possible
	}
	faults sync.Map // by name: *atomic.Int64
}

func count(m *sync.Map, key string) {
	n, _ := m.LoadOrStore(key, &atomic.Int64{})
	counter, _ := n.(*atomic.Int64)
	counter.Add(1)
}

func counts(m *sync.Map) string {
	var all []string
	m.Range(func(k, v any) bool {
		n, _ := v.(*atomic.Int64)
		all = append(all, fmt.Sprintf("%v %d", k, n.Load()))
		return true
	})
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// TestP6NobodyAcceptsWhatWasTakenAwayOnAnyNode records what 64 clients are told by three nodes while roles change, tokens
// are narrowed and revoked and accounts suspended, and faults happen, and has a checker look for an order of it all in
// which every answer is right.
func TestP6NobodyAcceptsWhatWasTakenAwayOnAnyNode(t *testing.T) {
	c := newCluster(t, 3)
	length := 2 * time.Minute
	if os.Getenv("CARNET_SOAK") != "" {
		length = 31 * time.Minute
	}
	if asked, err := time.ParseDuration(os.Getenv("CARNET_NODES_TIME")); err == nil {
		length = asked
	}
	for i := range people {
		c.createUser(person(i))
	}
	r := &run{cluster: c, began: time.Now(), until: time.Now().Add(length)}
	var all sync.WaitGroup
	stop := make(chan struct{})
	var faults sync.WaitGroup
	faults.Go(func() { r.breakThings(stop) })
	for i := range people {
		all.Go(func() { r.live(i) })
	}
	all.Wait()
	close(stop)
	faults.Wait()
	r.report(t)
}

func person(i int) string { return fmt.Sprintf("person%d@example.com", i) }

func (r *run) report(t *testing.T) {
	t.Helper()
	slices.Sort(r.slow.took)
	at := func(q float64) time.Duration {
		if len(r.slow.took) == 0 {
			return 0
		}
		return r.slow.took[int(q*float64(len(r.slow.took)-1))]
	}
	t.Logf("%s: %d lives, %d recorded operations, %d let in, %d refused, %d told that it cannot be told (p50 %v, p99 %v, slowest %v), %d without an answer",
		time.Since(r.began).Round(time.Second), r.lives, r.operations, r.answers.Load(), r.refusals.Load(), r.unavailable.Load(),
		at(.5).Round(time.Millisecond), at(.99).Round(time.Millisecond), at(1).Round(time.Millisecond), r.lost.Load())
	t.Logf("changes: %s", counts(&r.changes))
	t.Logf("faults: %s", counts(&r.faults))
	t.Logf("violations: %d; lives that could not be checked in time: %d", r.bad, r.unknown)
	for _, v := range r.violations {
		t.Errorf("%s", v)
	}
	if r.bad > 0 || r.unknown > 0 {
		t.Errorf("%d violations, %d lives unchecked", r.bad, r.unknown)
	}
	if r.lives < people || r.answers.Load() == 0 || r.refusals.Load() == 0 {
		t.Errorf("only %d lives were lived", r.lives)
	}
}

// operate does what operators do, again while the database is away.
func (c *cluster) operate(do func(ctx context.Context) error) error {
	var err error
	for range 40 {
		if err = do(context.Background()); err == nil || !problem.Is(err, problem.Overloaded) {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

// anyNode returns one of the nodes.
func (r *run) anyNode() *node { return r.nodes[rand.IntN(len(r.nodes))] }

// life is a token of a person, from its making to its end.
type life struct {
	*run
	*record
	i         int
	session   *harness.Client
	user      string // id of the person
	id, value string
	asked     time.Time // when a revocation was first asked for whose outcome is not known
	state     standing  // as far as the one who changes it knows
	ended     atomic.Bool
	rounds    [8]atomic.Int64 // verifications on each node so far
}

// live lives one life of a person after another.
func (r *run) live(i int) {
	var session *harness.Client
	var user string
	for n := 0; time.Now().Before(r.until); n++ {
		l := &life{run: r, i: i, session: session, user: user}
		if !l.begin() {
			session = nil
			time.Sleep(50 * time.Millisecond)
			continue
		}
		var clients sync.WaitGroup
		for k := range 4 {
			clients.Go(func() { l.verify(k) })
		}
		l.pass()
		l.ended.Store(true)
		clients.Wait()
		r.judge(r.t, fmt.Sprintf("%d-%d", i, n), l.record)
		session, user = l.session, l.user
	}
}

// begin puts the person where every life begins, and makes a token.
func (l *life) begin() bool {
	operators := l.operator.Org.Operators()
	email := person(l.i)
	err := l.operate(func(ctx context.Context) error {
		if err := operators.RestoreUser(ctx, email); err != nil {
			return err
		}
		err := operators.AddMember(ctx, organization, email, "member")
		if problem.Is(err, problem.Conflict) {
			err = operators.SetRole(ctx, organization, email, "member")
		}
		return err
	})
	if err != nil {
		l.t.Errorf("prepare %s: %v", email, err)
		return false
	}
	if l.session == nil && !l.signIn() {
		return false
	}
	body := map[string]any{"name": "A life", "organization": organization, "scopes": []string{"tasks:write", "projects:read", "comments:read"}}
	answer, err := l.session.Through(l.anyNode().URL).Try("POST", "/tokens", body)
	if err != nil || answer.Status != http.StatusCreated {
		return false
	}
	l.id, l.value = answer.Text("token", "id"), answer.Text("value")
	l.state = standing{role: "member", scopes: scopesOf(answer, "token", "scopes")}
	l.record = newRecord(l.run.began, l.state)
	return true
}

func (l *life) signIn() bool {
	c := l.anyNode().base
	answer, err := c.Try("POST", "/auth/sign-in", map[string]any{"email": person(l.i), "password": harness.Password, "as": "bearer"})
	if err != nil || answer.Status != http.StatusOK {
		return false
	}
	l.session, l.user = c.With(answer.Text("session", "value")), answer.Text("user", "id")
	return true
}

func scopesOf(answer *harness.Answer, path ...any) string {
	list, _ := answer.At(path...).([]any)
	names := make([]string, len(list))
	for i, name := range list {
		names[i], _ = name.(string)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// verify asks nodes again and again who the token is, until its life has ended. The first three clients have a node each,
// so that every cache is warm.
func (l *life) verify(k int) {
	clients := make([]*harness.Client, len(l.nodes))
	for i, n := range l.nodes {
		clients[i] = n.base.With(l.value)
	}
	for last := false; !last; {
		last = l.ended.Load()
		n := k
		if n >= len(l.nodes) {
			n = rand.IntN(len(l.nodes))
		}
		called := time.Now()
		answer, err := clients[n].Try("GET", "/me", nil)
		switch {
		case err != nil:
			l.lost.Add(1)
		case answer.Status == http.StatusServiceUnavailable:
			l.unavailable.Add(1)
			l.slow.Lock()
			l.slow.took = append(l.slow.took, time.Since(called))
			l.slow.Unlock()
		case answer.Status == http.StatusOK:
			l.answers.Add(1)
			l.rounds[n].Add(1)
			role, _ := answer.At("role").(string)
			l.add(l.i*8+k, called, nil, seen{role: role, scopes: scopesOf(answer, "token", "scopes")}, true)
		default:
			l.refusals.Add(1)
			l.rounds[n].Add(1)
			l.add(l.i*8+k, called, nil, seen{code: answer.Code()}, true)
		}
		time.Sleep(time.Duration(2+rand.IntN(25)) * time.Millisecond)
	}
}

// pass changes the standing of the token a few times, and at the end revokes it.
func (l *life) pass() {
	if rand.IntN(4) > 0 { // one in four is revoked while it is looked up for the first time
		l.warm()
		for range rand.IntN(5) {
			l.change()
			l.warm()
		}
	}
	for tries := 0; !l.revoke(); tries++ {
		if tries > 200 {
			l.t.Errorf("token %s could not be revoked", l.id)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(time.Duration(50+rand.IntN(150)) * time.Millisecond)
}

// warm waits until every node has verified the token anew, or seems not to be able to.
func (l *life) warm() {
	var before [8]int64
	for i := range l.nodes {
		before[i] = l.rounds[i].Load()
	}
	for deadline := time.Now().Add(300 * time.Millisecond); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		warm := true
		for i := range l.nodes {
			warm = warm && l.rounds[i].Load() > before[i]
		}
		if warm {
			return
		}
	}
}

// attempt makes a call that changes something, and records it unless it was refused.
func (l *life) attempt(c change, call func() (done, refused bool)) bool {
	called := time.Now()
	done, refused := call()
	if refused {
		return false
	}
	if done {
		count(&l.changes, c.kind)
	} else {
		count(&l.changes, c.kind+" (outcome unknown)")
	}
	l.add(l.i*8+7, called, c, nil, done)
	return done
}

// judgeCall says what a call came to: it did what was asked, or certainly nothing, or nobody knows.
func judgeCall(answer *harness.Answer, err error) (done, refused bool) {
	if err != nil {
		return false, false
	}
	return answer.Status < 300, answer.Status >= 400 && answer.Status < 500 || answer.Code() == "verification_unavailable"
}

// byOperator makes a change that only operators can make.
func (l *life) byOperator(c change, do func(ctx context.Context, operators org.Operators, email string) error) bool {
	return l.attempt(c, func() (done, refused bool) {
		err := l.operate(func(ctx context.Context) error { return do(ctx, l.operator.Org.Operators(), person(l.i)) })
		return err == nil, err != nil && !problem.Is(err, problem.Overloaded)
	})
}

// change does one thing to the standing of the token.
func (l *life) change() {
	switch dice := rand.IntN(10); {
	case l.state.suspended:
		l.restore()
	case l.session == nil:
		l.signIn()
	case dice == 0:
		suspended := change{kind: "suspend", value: "yes"}
		l.byOperator(suspended, func(ctx context.Context, o org.Operators, email string) error { return o.SuspendUser(ctx, email) })
		l.state.suspended, l.session = true, nil
	case dice < 4 && strings.Contains(l.state.scopes, " "):
		l.narrow()
	default:
		l.changeRole()
	}
}

func (l *life) restore() bool {
	restored := change{kind: "suspend", value: "no"}
	if !l.byOperator(restored, func(ctx context.Context, o org.Operators, email string) error { return o.RestoreUser(ctx, email) }) {
		return false
	}
	l.state.suspended = false
	return true
}

func (l *life) narrow() {
	fewer := strings.Fields(l.state.scopes)
	if i := slices.Index(fewer, "tasks:write"); i >= 0 {
		fewer[i] = "tasks:read"
	} else {
		fewer = fewer[1:]
	}
	narrowed := change{kind: "narrow", value: strings.Join(fewer, " ")}
	l.attempt(narrowed, func() (bool, bool) {
		done, refused := judgeCall(l.session.Through(l.anyNode().URL).Try("PATCH", "/tokens/"+l.id, map[string]any{"scopes": fewer}))
		if !refused {
			l.state.scopes = narrowed.value
		}
		return done, refused
	})
}

func (l *life) changeRole() {
	roles := []string{"guest", "member", "manager", "admin"}
	next := change{kind: "role", value: roles[rand.IntN(len(roles))]}
	switch {
	case l.state.role == "":
		l.byOperator(next, func(ctx context.Context, o org.Operators, email string) error {
			err := o.AddMember(ctx, organization, email, next.value)
			if problem.Is(err, problem.Conflict) { // the removal has not happened
				err = o.SetRole(ctx, organization, email, next.value)
			}
			return err
		})
	case rand.IntN(3) == 0:
		next.value = ""
		l.byOwner(next, "DELETE", nil)
	default:
		l.byOwner(next, "PATCH", map[string]any{"role": next.value})
	}
	l.state.role = next.value
}

// byOwner has the owner of the organization change the membership.
func (l *life) byOwner(c change, method string, body any) {
	l.attempt(c, func() (done, refused bool) {
		return judgeCall(l.ownerOn(l.anyNode()).Try(method, "/organizations/"+organization+"/members/"+l.user, body))
	})
}

func (r *run) ownerOn(n *node) *harness.Client {
	r.owner.Lock()
	defer r.owner.Unlock()
	if r.owner.session == nil {
		for tries := 0; ; tries++ {
			answer, err := n.base.Try("POST", "/auth/sign-in", map[string]any{"email": owner, "password": harness.Password, "as": "bearer"})
			if err == nil && answer.Status == http.StatusOK {
				r.owner.session = n.base.With(answer.Text("session", "value"))
				break
			}
			if tries > 100 {
				r.t.Error("the owner cannot sign in")
				return n.base
			}
			n = r.anyNode()
			time.Sleep(100 * time.Millisecond)
		}
	}
	return r.owner.session.Through(n.URL)
}

// revoke ends the token, by its owner's session. It returns true once a call has said that it is done.
func (l *life) revoke() bool {
	if l.state.suspended && !l.restore() || l.session == nil && !l.signIn() {
		return false
	}
	called := time.Now()
	answer, err := l.session.Through(l.anyNode().URL).Try("DELETE", "/tokens/"+l.id, nil)
	done, refused := judgeCall(answer, err)
	switch {
	case done:
		// All tries are one call: each of them may have done it, and to do it again changes nothing.
		if l.asked.IsZero() {
			l.asked = called
		}
		count(&l.changes, "revoke")
		l.add(l.i*8+7, l.asked, change{kind: "revoke"}, nil, true)
	case refused && answer.Status == http.StatusUnauthorized:
		l.session = nil // a suspension whose answer got lost has ended it
	case !refused && l.asked.IsZero():
		l.asked = called
	}
	return done
}
