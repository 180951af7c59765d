package syncapi

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"weak"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/policy"
	mobile "satchel/mobile-api/wire"
	"satchel/server/edge"
	"satchel/sync/scope"
	"satchel/sync/tenant"
)

// follows are the types whose changes move the status of others by a rule. A
// device that has unsent changes of the one can't tell the other's status.
var follows = map[string][]string{
	"job":           {"jobActivity"},
	"jobActivity":   {"job"},
	"invoice":       {"allocation", "payment", "creditNote", "billingRun"},
	"payment":       {"allocation", "invoice"},
	"creditNote":    {"allocation", "invoice"},
	"contract":      {"billingRun", "invoice"}, // a deleted draft lets one run again
	"purchaseOrder": {"receipt"},
	"accrual":       {"jobActivity", "agentInvoice", "invoice", "payment", "allocation"},
	"agentInvoice":  {"accrual"},
	"partOrder":     {"jobActivity", "job", "ticket"},
}

// typeComment is the type that the verb comment lets people create beneath
// records of other types.
const typeComment = "comment"

// rulesOf renders what the person may enter. It reads nothing of the state: the
// rules are the person's grants and the catalogue alone.
func rulesOf(cat *entity.Catalogue, sub *policy.Subject) *mobile.Rules {
	out := &mobile.Rules{Schema: cat.Edition(), Types: []mobile.TypeRules{}}
	if sub.Mobile {
		w := scope.DefaultWindow(0)
		out.Field = &mobile.FieldProfile{BackDays: -int(w.From.Day()), AheadDays: int(w.To.Day()) - 1}
	}
	comments := slices.ContainsFunc(cat.Types, func(t *entity.Type) bool { return len(sub.Grants(t, policy.Comment)) > 0 })
	for _, t := range cat.Types {
		tr, ok := typeRules(t, sub)
		if t.Name == typeComment && comments {
			tr.Through = true
			ok = true
		}
		if ok {
			out.Types = append(out.Types, tr)
		} else {
			out.Others = append(out.Others, t.Name)
		}
	}
	b, err := json.Marshal(out)
	if err != nil { // text, numbers and flags always marshal
		panic(err)
	}
	sum := sha256.Sum256(b)
	out.Version = hex.EncodeToString(sum[:12])
	return out
}

// typeRules renders one type; ok is false where the person neither sees nor
// writes any record of it.
func typeRules(t *entity.Type, sub *policy.Subject) (out mobile.TypeRules, ok bool) {
	var some entity.Mask
	always := t.All()
	views := sub.Grants(t, policy.View)
	for _, g := range views {
		some |= g.Mask
		always &= g.Mask
	}
	if len(views) == 0 {
		always = 0
	}
	gone, all := sub.Denied(t, policy.View)
	if all {
		return out, false
	}
	known := sub.Knows(t)
	some, always = some&^gone, always&^gone
	out = mobile.TypeRules{Type: t.Name, Archivable: t.Archivable, NoDelete: t.NoDelete}
	for no := range uint8(64) {
		f := t.FieldNo(no)
		if f == nil || !known.Has(no) {
			continue
		}
		fr := fieldRules(f)
		switch {
		case always.Has(no):
			fr.Seen = mobile.SeenAlways
		case some.Has(no):
			fr.Seen = mobile.SeenSometimes
		}
		// Whose it is, hooks fill in: the person who writes.
		hooked := t.Drafted != nil || t.Created != nil
		fr.Filled = f.Required && hooked && f.Kind == entity.Ref && slices.Contains(f.Targets, "employee")
		out.Fields = append(out.Fields, fr)
	}
	out.Create = grants(t, sub, policy.Create, known)
	out.Edit = grants(t, sub, policy.Edit, known)
	if !t.NoDelete {
		out.Delete = grants(t, sub, policy.Delete, known)
	}
	if t.Status != nil {
		out.Status = &mobile.Status{
			Field: t.Status.Field, Initial: t.Status.Initial, States: t.Status.States, Follows: follows[t.Name],
		}
	}
	for _, a := range t.Actions {
		out.Actions = append(out.Actions, action(t, a, sub, known, some))
	}
	return out, known != 0
}

func fieldRules(f *entity.Field) mobile.FieldRules {
	out := mobile.FieldRules{
		Name: f.Name, Kind: f.Kind.String(), Required: f.Required, Immutable: f.Immutable, ReadOnly: f.ReadOnly,
		Max: f.Max, Min: f.Min, Values: f.Values, Targets: f.Targets,
	}
	for _, it := range f.Items {
		out.Lines = append(out.Lines, fieldRules(it))
	}
	return out
}

// action renders an action; of one that nothing gives the person only what
// tells it from none. What is written to a field that the person never sees is
// no argument to them.
func action(t *entity.Type, a *entity.Action, sub *policy.Subject, known, seen entity.Mask) mobile.Action {
	out := mobile.Action{
		Name: a.Name, From: a.From, To: a.To, WhenArchived: a.WhenArchived, Derived: a.Do != nil,
		May: grants(t, sub, policy.Verb(a.Name), known),
	}
	for _, names := range [][]string{a.Stamps, a.Clears} {
		out.Writes = append(out.Writes, names...)
	}
	for _, f := range a.Args {
		if t.Field(f.Name) != nil {
			out.Writes = append(out.Writes, f.Name)
		}
	}
	if len(out.May) == 0 {
		return out
	}
	out.Assigns = a.Assigns
	for _, f := range a.Args {
		switch tf := t.Field(f.Name); {
		case tf == nil || seen.Has(tf.No):
			out.Args = append(out.Args, fieldRules(f))
		case f.Required:
			out.Lacks = append(out.Lacks, f.Name)
		}
	}
	return out
}

// grants renders the person's grants of a verb, those left out that can reach
// no record. Denied fields are taken from each.
func grants(t *entity.Type, sub *policy.Subject, v policy.Verb, known entity.Mask) []mobile.Grant {
	gone, all := sub.Denied(t, v)
	if all {
		return nil
	}
	var out []mobile.Grant
	for _, g := range sub.Grants(t, v) {
		if t.Root == "" && !t.IsClient && !sub.Admits(g) {
			continue // records without a client lie beyond the person's ceiling
		}
		m := mobile.Grant{Reach: reach(g), Scope: scopeOf(g)}
		switch mask := g.Mask &^ gone & known; {
		case mask == 0:
			m.None = true
		case mask != known:
			for no := range uint8(64) {
				if mask.Has(no) {
					m.Fields = append(m.Fields, t.FieldNo(no).Name)
				}
			}
		}
		for _, c := range g.While {
			m.While = append(m.While, mobile.Condition{Path: c.Path, OneOf: c.OneOf})
		}
		for _, u := range g.Unless {
			m.Unless = append(m.Unless, mobile.Condition{Path: u.Path, OneOf: u.OneOf})
		}
		if !slices.ContainsFunc(out, func(o mobile.Grant) bool { return same(o, m) }) {
			out = append(out, m)
		}
	}
	return out
}

// same reports whether two grants say the same to a device, though different
// roles give them.
func same(a, b mobile.Grant) bool {
	x, err := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err == nil && err2 == nil && string(x) == string(y)
}

// scopeOf renders a grant's scope as far as a device can judge it. Lent rights
// are read with another person's eyes, and what is bounded to certain clients
// must not name them.
func scopeOf(g *policy.Grant) *mobile.Scope {
	if g.By != nil || g.Clients != nil {
		return &mobile.Scope{Op: mobile.ScopeOther}
	}
	if g.Scope.Op == policy.OpAll {
		return nil
	}
	s := toScope(g.Scope)
	return &s
}

func toScope(s *policy.Scope) mobile.Scope {
	of := func(op string) mobile.Scope {
		out := mobile.Scope{Op: op}
		for _, x := range s.Subs {
			out.Of = append(out.Of, toScope(x))
		}
		return out
	}
	switch s.Op {
	case policy.OpAll:
		return mobile.Scope{Op: mobile.ScopeAnd} // in all of none
	case policy.OpSelf:
		return mobile.Scope{Op: mobile.ScopeSelf, Field: s.Field}
	case policy.OpWhere:
		return mobile.Scope{Op: mobile.ScopeWhere, Field: s.Field, Values: s.Values}
	case policy.OpAnd:
		return of(mobile.ScopeAnd)
	case policy.OpOr:
		return of(mobile.ScopeOr)
	case policy.OpUnder:
		out := of(mobile.ScopeUnder)
		out.Field, out.Type = s.Field, s.Type
		return out
	case policy.OpAreas, policy.OpOwnClient, policy.OpOnsite, policy.OpFrom, policy.OpMentioned, policy.OpWindow, policy.OpUnset:
	}
	return mobile.Scope{Op: mobile.ScopeOther}
}

// reach says in words whose records a grant reaches.
func reach(g *policy.Grant) string {
	switch {
	case g.By != nil:
		return "those of a person you act for"
	case g.Clients != nil:
		return "those of certain clients"
	}
	return words(g.Scope)
}

func words(s *policy.Scope) string {
	list := func(sep string) string {
		var parts []string
		for _, x := range s.Subs {
			if w := words(x); !slices.Contains(parts, w) {
				parts = append(parts, w)
			}
		}
		return strings.Join(parts, sep)
	}
	switch s.Op {
	case policy.OpAll:
		return "all"
	case policy.OpSelf:
		if s.Field == "id" {
			return "your own"
		}
		return "those with you as " + s.Field
	case policy.OpWhere:
		return "those whose " + s.Field + " is " + strings.Join(s.Values, " or ")
	case policy.OpAreas:
		return "those in your sales areas"
	case policy.OpOwnClient:
		return "those of your own client"
	case policy.OpOnsite:
		return "those of clients you are onsite for"
	case policy.OpAnd:
		return list(", of these ")
	case policy.OpOr:
		return list(", or ")
	case policy.OpUnder:
		return "those beneath a " + s.Type + ": " + words(s.Subs[0])
	case policy.OpFrom:
		return "those that a " + s.Type + " refers to: " + words(s.Subs[0])
	case policy.OpMentioned, policy.OpWindow, policy.OpUnset:
	}
	return "those named by what you see"
}

// rulesCache remembers the version of each person's rules; the rules themselves
// are rendered anew for the few who have another version. Most people hold one of
// few sets of roles, which decide alone what their rules are: those are rendered
// once, so that a change of rights or a start with thousands of devices costs
// little.
type rulesCache struct {
	mu     sync.Mutex
	of     map[rulesKey]rulesEntry
	common map[commonKey]string
}

type rulesKey struct {
	tenant ident.TenantID
	person ident.RecordID
}

type rulesEntry struct {
	// One per person and version of the policy; not kept for those who are gone,
	// nor for tenants that are closed.
	sub     weak.Pointer[policy.Subject]
	version string
}

// commonKey is all that rulesOf reads of people without grants or denials of
// their own. It keeps nothing of a tenant that is closed.
type commonKey struct {
	cat    *entity.Catalogue
	held   weak.Pointer[policy.Holding]
	kind   string
	mobile bool
}

// maxRules bounds the versions remembered of people, maxCommon those of sets of
// roles.
const (
	maxRules  = 20_000
	maxCommon = 1000
)

func (c *rulesCache) version(t *tenant.Tenant, sub *policy.Subject) string {
	k := rulesKey{t.ID(), sub.ID}
	c.mu.Lock()
	e, ok := c.of[k]
	c.mu.Unlock()
	if ok && e.sub == weak.Make(sub) {
		return e.version
	}
	return c.put(k, sub, c.render(t.Catalogue(), sub))
}

// render returns the version of rulesOf.
func (c *rulesCache) render(cat *entity.Catalogue, sub *policy.Subject) string {
	held := sub.Common()
	if held == nil {
		return rulesOf(cat, sub).Version
	}
	k := commonKey{cat, weak.Make(held), sub.Kind, sub.Mobile}
	c.mu.Lock()
	version, ok := c.common[k]
	c.mu.Unlock()
	if ok {
		return version
	}
	version = rulesOf(cat, sub).Version
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.common == nil || len(c.common) >= maxCommon {
		c.common = map[commonKey]string{}
	}
	c.common[k] = version
	return version
}

func (c *rulesCache) put(k rulesKey, sub *policy.Subject, version string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil || len(c.of) >= maxRules {
		c.of = map[rulesKey]rulesEntry{}
	}
	c.of[k] = rulesEntry{weak.Make(sub), version}
	return version
}

// serveRules answers the rules of the device's person, or that they are the
// ones it has.
func (s *Server) serveRules(c *fiber.Ctx) error {
	caller, err := s.device(c)
	if err != nil {
		return err
	}
	var sub *policy.Subject
	err = caller.Read(func(_ *tenant.View, of *policy.Subject) error { sub = of; return nil })
	if err != nil {
		return err
	}
	version := s.rules.version(caller.Tenant, sub)
	tag := `"` + version + `"`
	c.Set(fiber.HeaderETag, tag)
	for one := range strings.SplitSeq(c.Get(fiber.HeaderIfNoneMatch), ",") {
		if one = strings.TrimPrefix(strings.TrimSpace(one), "W/"); one == tag || one == "*" {
			return c.SendStatus(fiber.StatusNotModified)
		}
	}
	body, err := json.Marshal(rulesOf(caller.Tenant.Catalogue(), sub))
	if err != nil {
		return err
	}
	return edge.JSON(c, fiber.StatusOK, body)
}

// withRules adds the version of the person's rules to a page that completes a
// round.
func (s *Server) withRules(caller *edge.Caller, page []byte) ([]byte, error) {
	version, err := s.rulesVersion(caller)
	if err != nil {
		return nil, err
	}
	return appendRules(page, version), nil
}

func (s *Server) rulesVersion(caller *edge.Caller) (version string, err error) {
	err = caller.Read(func(_ *tenant.View, sub *policy.Subject) error {
		version = s.rules.version(caller.Tenant, sub)
		return nil
	})
	return version, err
}

func appendRules(page []byte, version string) []byte {
	page = append(page[:len(page)-1], `,"rules":"`...)
	return append(append(page, version...), `"}`...)
}

// rulesNews returns the version of the person's rules if it is another than the
// device was told on this connection, "" otherwise. Where rights have not
// changed it looks at nothing.
func (l *liveConn) rulesNews() (string, error) {
	if !l.live.Rights() {
		return "", nil
	}
	version, err := l.s.rulesVersion(l.caller)
	if err != nil || version == l.rules {
		return "", err
	}
	l.rules = version
	return version, nil
}
