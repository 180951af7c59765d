package rest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/server/edge"
	"satchel/server/sheet"
	"satchel/sync/apply"
	"satchel/sync/bits"
	"satchel/sync/scope"
	"satchel/sync/state"
	"satchel/sync/subject"
	"satchel/sync/tenant"
)

// Review says what one person may do, and by what.
type Review struct {
	Employee named  `json:"employee"`
	Kind     string `json:"kind"`
	Status   string `json:"status"`
	// Client is that of client staff.
	Client *named  `json:"client,omitempty"`
	Areas  []named `json:"salesAreas"`
	Onsite []named `json:"onsite"`
	// Scheduling roles are skills; they give no rights.
	Scheduling  []named            `json:"schedulingRoles"`
	Roles       []ReviewRole       `json:"roles"`
	Permissions []ReviewPermission `json:"permissions"`
	Visibility  []ReviewVisibility `json:"visibility"`
	Delegations []ReviewDelegation `json:"delegations"`
	Apps        []ReviewApp        `json:"apps"`
}

// Given says since and until when a record that decides rights counts, who made
// it and when. From and Until are absent where it has no such bound.
type Given struct {
	ID      ident.RecordID `json:"id"`
	From    string         `json:"from,omitempty"`
	Until   string         `json:"until,omitempty"`
	InForce bool           `json:"inForce"`
	// By is absent where the system made it.
	By *named `json:"givenBy,omitempty"`
	At string `json:"givenAt"`
}

// ReviewRole is a role that was assigned to the person.
type ReviewRole struct {
	Role  string `json:"role"`
	Title string `json:"title,omitempty"`
	Given
}

// ReviewPermission is an individual permission; what is empty is not narrowed.
type ReviewPermission struct {
	Effect string `json:"effect"` // grant or denial
	Verb   string `json:"verb,omitempty"`
	Type   string `json:"entityType,omitempty"`
	Field  string `json:"field,omitempty"`
	App    string `json:"app,omitempty"`
	Given
}

// ReviewVisibility is the clients hidden from the person, or the only ones.
type ReviewVisibility struct {
	Mode    string  `json:"mode"` // all-but or only
	Clients []named `json:"clients"`
	Given
}

// ReviewDelegation is rights lent by one to the other, one of whom is the
// person.
type ReviewDelegation struct {
	Delegator named `json:"delegator"`
	Delegate  named `json:"delegate"`
	Given
}

// ReviewApp is what the person may do in an app.
type ReviewApp struct {
	App   entity.App   `json:"app"`
	Types []ReviewType `json:"types"`
}

// ReviewType is what the person may do to records of a type by rights of an
// app.
type ReviewType struct {
	Type string `json:"type"`
	// Visible counts the records that the person sees, whichever app's right
	// shows them; Context those among them that stand beneath a parent only.
	Visible int           `json:"visible"`
	Context int           `json:"context,omitempty"`
	Rights  []ReviewRight `json:"rights"`
}

// ReviewRight is one clause with all it allows on a type.
type ReviewRight struct {
	Verbs  []policy.Verb `json:"verbs"`
	Role   string        `json:"role"`
	Clause string        `json:"clause"`
	// Scope says in words whose records are reached.
	Scope string `json:"scope"`
	// Fields are those that are reached, where that is not all of the type.
	Fields []string `json:"fields,omitempty"`
	// Only says in words what bounds it beside the scope.
	Only string `json:"only,omitempty"`
	// For is whose right it is, where it was delegated.
	For *named `json:"for,omitempty"`
}

// ReviewPage is a page of reviews.
type ReviewPage struct {
	Items []Review `json:"items"`
	Next  string   `json:"next,omitempty"`
}

// ClientReview is what one person sees of a client, and why.
type ClientReview struct {
	Employee named `json:"employee"`
	// Sees: the person sees the client itself; by what, stand Role, Clause, Scope
	// and For, otherwise what denies it.
	Sees       bool           `json:"sees"`
	Reason     string         `json:"reason"`
	Role       string         `json:"role,omitempty"`
	Clause     string         `json:"clause,omitempty"`
	Scope      string         `json:"scope,omitempty"`
	For        *named         `json:"for,omitempty"`
	Denial     ident.RecordID `json:"denial,omitempty"`
	Visibility ident.RecordID `json:"visibility,omitempty"`
	Text       string         `json:"text"`
	// Records counts the records of the client that the person sees, the client
	// among them.
	Records int `json:"records"`
	// Devices are those of the person that have, or may have, some.
	Devices []Holder `json:"devices"`
}

// ClientReviewPage is a page of the people who see a client, from whom it is
// hidden, or whose devices have records of it.
type ClientReviewPage struct {
	Client named          `json:"client"`
	Items  []ClientReview `json:"items"`
	Next   string         `json:"next,omitempty"`
}

// Asked is the question of an access review: what a person may do, who sees a
// client, or, where both are "", what everybody may do.
type Asked struct{ Employee, Client ident.RecordID }

// accessReview answers a customer administrator who may do what, and who sees
// a client. What is hidden from the administrator is left out.
func (s *Server) accessReview(c *fiber.Ctx, caller *edge.Caller) error {
	p, err := parameters(c, "employee", "client", "format", "bom", "limit", "cursor")
	if err != nil {
		return err
	}
	format, err := formatOf(p["format"], "json")
	if err != nil {
		return err
	}
	q := Asked{ident.RecordID(p["employee"]), ident.RecordID(p["client"])}
	read := func(g *paging) (out any, err error) {
		err = caller.Read(func(v *tenant.View, sub *policy.Subject) error {
			if err := administrator(sub); err != nil {
				return err
			}
			out, err = q.answer(caller.Tenant, v, sub, g)
			return err
		})
		return out, err
	}
	g, err := s.paging(caller, p, "access-review", p["employee"], p["client"])
	if err != nil {
		return err
	}
	if format == "json" {
		out, err := read(&g)
		if err != nil {
			return err
		}
		return c.JSON(out)
	}
	if p["limit"] != "" || p["cursor"] != "" {
		return badParameter("limit", "A table has no pages.")
	}
	g.limit = reviewChunk
	return s.sendSheet(c, p, format, "access-review", func(w sheet.Writer) error { return q.write(w, &g, read) })
}

// reviewChunk is how many people a table takes from one state.
const reviewChunk = 50

// AccessReview answers an operator, who may know of everything: a *ReviewPage
// or a *ClientReviewPage without pages.
func AccessReview(t *tenant.Tenant, q Asked) (any, error) {
	var out any
	err := t.Read(func(v *tenant.View) (err error) {
		out, err = q.answer(t, v, nil, &paging{})
		return err
	})
	return out, err
}

// WriteAccessReview writes an operator's answer as a table.
func WriteAccessReview(t *tenant.Tenant, q Asked, w sheet.Writer) error {
	return q.write(w, &paging{}, func(*paging) (any, error) { return AccessReview(t, q) })
}

// answer makes the page after g.after and moves g.after to its end.
func (q Asked) answer(t *tenant.Tenant, v *tenant.View, sub *policy.Subject, g *paging) (any, error) {
	if q.Employee != "" && q.Client != "" {
		return nil, badParameter("client", "employee and client are two questions.")
	}
	r := &reviewer{t: t, v: v, sub: sub, crowd: scope.NewCrowd(v.Reader)}
	r.counted = r.crowd
	if sub != nil {
		if sub.Conceals() {
			r.counted = scope.NewCrowdFor(v.Reader, sub)
		}
		r.sees = map[uint16]bits.Set{}
		for _, s := range r.crowd.Shares(sub) {
			r.sees[s.Type.No] = s.Sets.All()
		}
	}
	if q.Client != "" {
		client, err := spot(v, sub, policy.TypeClient, q.Client)
		if err != nil {
			return nil, err
		}
		return r.client(client, g), nil
	}
	out := &ReviewPage{Items: []Review{}}
	if q.Employee != "" {
		emp, err := spot(v, sub, subject.Employee, q.Employee)
		if err != nil {
			return nil, err
		}
		out.Items = append(out.Items, r.person(emp))
		return out, nil
	}
	out.Next = r.people(g, func(emp *entity.Record) bool {
		out.Items = append(out.Items, r.person(emp))
		return true
	})
	return out, nil
}

// reviewer reads one state for an administrator or (sub nil) the operator.
type reviewer struct {
	t     *tenant.Tenant
	v     *tenant.View
	sub   *policy.Subject
	crowd *scope.Crowd
	// counted is the crowd as the administrator may be told of it.
	counted *scope.Crowd
	sees    map[uint16]bits.Set // by type, what the administrator sees; nil for all
}

// known reports whether the administrator sees a record.
func (r *reviewer) known(rec *entity.Record) bool {
	return r.sub == nil || r.sub.View(rec, r.v.Reader).Mask != 0
}

// people calls f for the employees after g.after, sorted by id, until it has
// taken as many as fit on a page; it returns the cursor of the next page and
// moves g.after to the end of this one.
func (r *reviewer) people(g *paging, f func(*entity.Record) bool) (next string) {
	var ids []ident.RecordID
	for o := range r.v.Index(state.TypeKey(r.v.Cat.Type(subject.Employee).No)).All() {
		if _, id := r.v.Name(o); string(id) > g.after {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	n := 0
	for _, id := range ids {
		emp, ok := r.v.Load(id)
		if !ok || !r.known(emp) {
			continue
		}
		if g.limit > 0 && n == g.limit {
			return g.next(g.after)
		}
		if f(emp) {
			n++
		}
		g.after = string(id)
	}
	return ""
}

func (r *reviewer) named(id ident.RecordID) named { return nameIn(r.v.Reader, r.sub, id) }

// list names records, without those the administrator does not see.
func (r *reviewer) list(ids []ident.RecordID) []named {
	out := []named{}
	for _, id := range ids {
		if rec, ok := r.v.Load(id); ok && r.known(rec) {
			out = append(out, r.named(id))
		}
	}
	return out
}

// each calls f for the records of the type whose field names id, sorted by id,
// but for those that the administrator does not see.
func (r *reviewer) each(typ, field string, id ident.RecordID, f func(*entity.Record)) {
	t := r.v.Cat.Type(typ)
	var recs []*entity.Record
	for o := range r.v.Referring(t, t.Field(field).No, id).All() {
		if rec, ok := r.v.LoadOrd(o); ok && r.known(rec) {
			recs = append(recs, rec)
		}
	}
	slices.SortFunc(recs, func(a, b *entity.Record) int { return strings.Compare(string(a.ID), string(b.ID)) })
	for _, rec := range recs {
		f(rec)
	}
}

func (r *reviewer) given(rec *entity.Record) Given {
	g := Given{ID: rec.ID, InForce: true}
	now := r.v.Now()
	if rec.Type.Field("from") != nil {
		if m, ok := rec.Get("from").Time(); ok {
			g.From, g.InForce = m.RFC3339(), m <= now
		}
	}
	if rec.Type.Field("until") != nil {
		if m, ok := rec.Get("until").Time(); ok {
			g.Until, g.InForce = m.RFC3339(), g.InForce && now < m
		}
	}
	if by := rec.Value(entity.NoCreatedBy).Ref(); by != "" {
		n := r.named(by)
		g.By = &n
	}
	if m, ok := rec.Value(entity.NoCreatedAt).Time(); ok {
		g.At = m.RFC3339()
	}
	return g
}

// person reviews one employee.
func (r *reviewer) person(emp *entity.Record) Review {
	out := Review{
		Employee: r.named(emp.ID), Kind: emp.Get("kind").Text(), Status: emp.StatusText(),
		Areas: r.list(refsOf(emp, "salesAreas")), Scheduling: r.list(refsOf(emp, "schedulingRoles")), Onsite: []named{},
		Roles: []ReviewRole{}, Permissions: []ReviewPermission{}, Visibility: []ReviewVisibility{}, Delegations: []ReviewDelegation{}, Apps: []ReviewApp{},
	}
	if c := emp.Client(); c != "" {
		n := r.named(c)
		out.Client = &n
	}
	r.each(subject.OnsiteClient, "employee", emp.ID, func(x *entity.Record) { out.Onsite = append(out.Onsite, r.named(x.Client())) })
	r.each(subject.RoleAssignment, "employee", emp.ID, func(x *entity.Record) {
		key := x.Get("role").Text()
		out.Roles = append(out.Roles, ReviewRole{key, r.title(key), r.given(x)})
	})
	r.each(subject.Permission, "employee", emp.ID, func(x *entity.Record) {
		out.Permissions = append(out.Permissions, ReviewPermission{
			x.Get("effect").Text(), x.Get("verb").Text(), x.Get("entityType").Text(), x.Get("field").Text(), x.Get("app").Text(), r.given(x),
		})
	})
	r.each(subject.Visibility, "employee", emp.ID, func(x *entity.Record) {
		vis := ReviewVisibility{x.Get("mode").Text(), []named{}, r.given(x)}
		r.each(subject.VisibilityRule, "visibility", x.ID, func(rule *entity.Record) { vis.Clients = append(vis.Clients, r.named(rule.Client())) })
		out.Visibility = append(out.Visibility, vis)
	})
	for _, side := range []string{"delegator", "delegate"} {
		r.each(subject.Delegation, side, emp.ID, func(x *entity.Record) {
			by, to := x.Get("delegator").Ref(), x.Get("delegate").Ref()
			if len(r.list([]ident.RecordID{by, to})) == 2 {
				out.Delegations = append(out.Delegations, ReviewDelegation{r.named(by), r.named(to), r.given(x)})
			}
		})
	}
	if who := r.v.Subject(emp.ID); who != nil && who.Active {
		out.Apps = r.apps(who)
	}
	return out
}

func refsOf(rec *entity.Record, field string) []ident.RecordID {
	var out []ident.RecordID
	for _, s := range rec.Get(field).Set() {
		out = append(out, ident.RecordID(s))
	}
	return out
}

// title is a role's in words.
func (r *reviewer) title(key string) string {
	if c := r.t.Roles().Shipped(key); c != nil {
		return c.Role.Title
	}
	if rec, ok := r.v.Load(ident.RecordID(key)); ok && rec.Type.Name == subject.Organizational && r.known(rec) {
		return rec.Get("name").Text()
	}
	return ""
}

// apps lists what somebody may do, by the apps whose roles give it. A right that
// speaks of several apps stands in each that has the type.
func (r *reviewer) apps(who *policy.Subject) []ReviewApp {
	shares := map[*entity.Type]scope.Sets{}
	for _, s := range r.counted.Shares(who) {
		shares[s.Type] = s.Sets
	}
	known := map[[2]string][]entity.App{}
	of := func(g *policy.Grant) []entity.App {
		k := [2]string{g.Role, ""}
		if g.Role == individual {
			k[1] = g.Clause
		}
		as, ok := known[k]
		if !ok {
			as = appsOf(r.t.Roles(), r.v, g)
			known[k] = as
		}
		return as
	}
	out := []ReviewApp{}
	for _, a := range entity.Apps {
		app := ReviewApp{App: a}
		for _, t := range r.v.Cat.Types {
			rights := r.rights(who, t, func(g *policy.Grant) bool {
				as := of(g)
				i := slices.IndexFunc(as, t.In)
				if i < 0 { // a type of another app that a clause names
					return t.Apps[0] == a
				}
				return t.In(a) && slices.Contains(as, a)
			})
			if len(rights) == 0 {
				continue
			}
			one := ReviewType{Type: t.Name, Rights: rights}
			for _, p := range shares[t] {
				n := p.Set.Len()
				if r.sees != nil {
					n = bits.AndLen(p.Set, r.sees[t.No])
				}
				one.Visible += n
				if p.Context {
					one.Context += n
				}
			}
			app.Types = append(app.Types, one)
		}
		if len(app.Types) > 0 {
			out = append(out, app)
		}
	}
	return out
}

// verbs are those that may be asked of a type, in a fixed order.
func verbs(t *entity.Type) []policy.Verb {
	out := []policy.Verb{policy.View, policy.Create, policy.Edit, policy.Delete, policy.Comment}
	for _, a := range t.Actions {
		out = append(out, policy.Verb(a.Name))
	}
	return out
}

// rights lists what grants give on a type, less what denials take, a clause
// once for all verbs that it gives alike.
func (r *reviewer) rights(who *policy.Subject, t *entity.Type, counts func(*policy.Grant) bool) []ReviewRight {
	var out []ReviewRight
	for _, v := range verbs(t) {
		gone, all := who.Denied(t, v)
		if all {
			continue
		}
		for _, g := range who.Grants(t, v) {
			mask := g.Mask &^ gone
			if mask == 0 || (t.Root == "" && !t.IsClient && !who.Admits(g)) || !counts(g) {
				continue
			}
			one := ReviewRight{Verbs: []policy.Verb{v}, Role: g.Role, Clause: g.Clause, Scope: inWords(g.Scope), Fields: fieldsOf(t, mask), Only: bounds(g)}
			if g.By != nil {
				n := r.named(g.By.ID)
				one.For = &n
			}
			i := slices.IndexFunc(out, func(x ReviewRight) bool {
				return x.Role == one.Role && x.Clause == one.Clause && x.Scope == one.Scope && x.Only == one.Only &&
					slices.Equal(x.Fields, one.Fields) && (x.For == nil) == (one.For == nil) && (x.For == nil || *x.For == *one.For)
			})
			if i < 0 {
				out = append(out, one)
			} else {
				out[i].Verbs = append(out[i].Verbs, v)
			}
		}
	}
	return out
}

// fieldsOf names the fields of a mask, none where it has all of the type's.
func fieldsOf(t *entity.Type, mask entity.Mask) []string {
	var out []string
	whole := true
	for _, f := range t.Fields {
		if mask.Has(f.No) {
			out = append(out, f.Name)
		} else {
			whole = false
		}
	}
	if whole {
		return nil
	}
	return out
}

// bounds says in words what bounds a grant beside its scope.
func bounds(g *policy.Grant) string {
	var out []string
	if g.Context {
		out = append(out, "beneath a record that is seen")
	}
	if g.Clients != nil {
		out = append(out, "of the role's own clients")
	}
	for _, c := range g.While {
		out = append(out, fmt.Sprintf("while %s is %s", c.Path, strings.Join(c.OneOf, " or ")))
	}
	for _, u := range g.Unless {
		out = append(out, fmt.Sprintf("unless %s is %s (%s)", u.Path, strings.Join(u.OneOf, " or "), u.Clause))
	}
	return strings.Join(out, "; ")
}

// inWords says whose records a scope reaches.
func inWords(s *policy.Scope) string {
	subs := func(sep string) string {
		var out []string
		for _, x := range s.Subs {
			w := inWords(x)
			if len(s.Subs) > 1 && (x.Op == policy.OpAnd || x.Op == policy.OpOr) {
				w = "(" + w + ")"
			}
			out = append(out, w)
		}
		return strings.Join(out, sep)
	}
	switch s.Op {
	case policy.OpAll:
		return "all"
	case policy.OpSelf:
		if s.Field == "id" {
			return "the person's own record"
		}
		return "the person is " + s.Field
	case policy.OpWhere:
		return s.Field + " is " + strings.Join(s.Values, " or ")
	case policy.OpAreas:
		return "clients in the person's sales areas"
	case policy.OpOwnClient:
		return "the person's own client"
	case policy.OpOnsite:
		return "clients where the person is onsite"
	case policy.OpAnd:
		return subs(" and ")
	case policy.OpOr:
		return subs(" or ")
	case policy.OpUnder:
		return fmt.Sprintf("its %s is a %s (%s)", s.Field, s.Type, subs(""))
	case policy.OpFrom:
		return fmt.Sprintf("it is the %s of a %s (%s)", s.Field, s.Type, subs(""))
	case policy.OpMentioned:
		return "named by a record that the person sees"
	case policy.OpWindow, policy.OpUnset: // of devices, never of rights
	}
	return s.String()
}

// client reviews who sees a client.
func (r *reviewer) client(client *entity.Record, g *paging) *ClientReviewPage {
	out := &ClientReviewPage{Client: r.named(client.ID), Items: []ClientReview{}}
	of := r.v.Index(state.ClientKey(client.Ord))
	h := &holding{v: r.v, sub: r.sub, classes: apply.Classes(r.v.Reader), visible: map[ident.RecordID]bits.Set{}}
	q := question{verb: policy.View, t: client.Type, id: client.ID}
	out.Next = r.people(g, func(emp *entity.Record) bool {
		one := ClientReview{Employee: r.named(emp.ID), Devices: []Holder{}}
		who := r.v.Subject(emp.ID)
		if who == nil {
			return false
		}
		h.visible[emp.ID] = r.crowd.Visible(who).All()
		for _, dev := range devicesOf(r.v, emp.ID) {
			if d := h.device(dev); d != nil {
				if x, ok := d.of(of); ok {
					one.Devices = append(one.Devices, x)
				}
			}
		}
		for _, p := range r.counted.Visible(who) {
			s := bits.And(p.Set, of)
			if r.sees != nil {
				s = bits.And(s, r.sees[p.Type])
			}
			one.Records += s.Len()
		}
		e := decide(r.v, who, q, client, client.Type.All())
		// Client staff see no client but their own: that is no hiding of this one.
		hidden := e.Reason == "hidden" && (who.Kind != policy.ClientStaff || who.Client == client.ID)
		if !e.Allowed && one.Records == 0 && len(one.Devices) == 0 && !hidden {
			return false
		}
		if e.Reason == "hidden" {
			e.hidden(r.v, r.sub, who, client)
		}
		e.withhold(r.v, r.sub)
		one.Sees, one.Reason, one.Role, one.Clause, one.Denial, one.Visibility = e.Allowed, e.Reason, e.Role, e.Clause, e.Denial, e.Visibility
		one.Text = one.Employee.Name + " " + e.Text
		if e.For != "" {
			n := r.named(e.For)
			one.For = &n
		}
		if e.Allowed {
			for _, gr := range who.Grants(client.Type, policy.View) {
				if gr.Role == e.Role && gr.Clause == e.Clause {
					one.Scope = inWords(gr.Scope)
				}
			}
		}
		out.Items = append(out.Items, one)
		return true
	})
	return out
}

// write makes a table of all pages.
func (q Asked) write(w sheet.Writer, g *paging, read func(*paging) (any, error)) error {
	head := reviewHead
	if q.Client != "" {
		head = clientHead
	}
	// The heading comes after the first page: a question that is refused is no
	// table.
	for first := true; ; first = false {
		page, err := read(g)
		if err != nil {
			return err
		}
		if first {
			if err := w.Row(head); err != nil {
				return err
			}
		}
		var rows [][]sheet.Cell
		next := ""
		switch p := page.(type) {
		case *ReviewPage:
			next = p.Next
			for i := range p.Items {
				rows = append(rows, p.Items[i].rows()...)
			}
		case *ClientReviewPage:
			next = p.Next
			for i := range p.Items {
				rows = append(rows, p.Items[i].row(p.Client))
			}
		}
		for _, r := range rows {
			if err := w.Row(r); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
	}
}

var reviewHead = []sheet.Cell{
	"employee", "employee.name", "kind", "status", "what", "role", "clause", "app", "type", "verbs", "scope", "only", "fields",
	"who", "who.name", "from", "until", "inForce", "givenBy", "givenAt", "records",
}

// rows are a person's facts, one each.
func (r *Review) rows() [][]sheet.Cell {
	var out [][]sheet.Cell
	at := map[string]int{}
	for i, h := range reviewHead {
		at[h.(string)] = i
	}
	add := func(what string, kv ...any) {
		row := make([]sheet.Cell, len(reviewHead))
		row[0], row[1], row[2], row[3], row[4] = string(r.Employee.ID), r.Employee.Name, r.Kind, r.Status, what
		for i := 0; i < len(kv); i += 2 {
			row[at[kv[i].(string)]] = kv[i+1]
		}
		out = append(out, row)
	}
	given := func(g Given, kv ...any) []any {
		kv = append(kv, "from", g.From, "until", g.Until, "inForce", g.InForce, "givenAt", g.At)
		if g.By != nil {
			kv = append(kv, "givenBy", string(g.By.ID))
		}
		return kv
	}
	who := func(n named) []any { return []any{"who", string(n.ID), "who.name", n.Name} }
	add("person")
	if r.Client != nil {
		add("client", who(*r.Client)...)
	}
	for _, n := range r.Areas {
		add("salesArea", who(n)...)
	}
	for _, n := range r.Onsite {
		add("onsite", who(n)...)
	}
	for _, x := range r.Roles {
		add("role", given(x.Given, "role", x.Role)...)
	}
	for _, x := range r.Permissions {
		add(x.Effect, given(x.Given, "verbs", x.Verb, "type", x.Type, "fields", x.Field, "app", x.App)...)
	}
	for _, x := range r.Visibility {
		add("visibility "+x.Mode, given(x.Given)...)
		for _, n := range x.Clients {
			add("visibility "+x.Mode, given(x.Given, who(n)...)...)
		}
	}
	for _, x := range r.Delegations {
		if x.Delegator.ID == r.Employee.ID {
			add("represented by", given(x.Given, who(x.Delegate)...)...)
		} else {
			add("acts for", given(x.Given, who(x.Delegator)...)...)
		}
	}
	for _, a := range r.Apps {
		for _, t := range a.Types {
			for _, x := range t.Rights {
				kv := []any{
					"role", x.Role, "clause", x.Clause, "app", string(a.App), "type", t.Type, "verbs", joined(x.Verbs), "scope", x.Scope,
					"only", x.Only, "fields", strings.Join(x.Fields, " "), "records", int64(t.Visible),
				}
				if x.For != nil {
					kv = append(kv, who(*x.For)...)
				}
				add("right", kv...)
			}
		}
	}
	return out
}

func joined(vs []policy.Verb) string {
	var out []string
	for _, v := range vs {
		out = append(out, string(v))
	}
	return strings.Join(out, " ")
}

var clientHead = []sheet.Cell{
	"client", "client.name", "employee", "employee.name", "sees", "reason", "role", "clause", "scope", "for", "denial", "visibility", "records", "devices", "held", "text",
}

func (r *ClientReview) row(client named) []sheet.Cell {
	held, by := 0, ""
	for _, d := range r.Devices {
		held += d.Records
	}
	if r.For != nil {
		by = string(r.For.ID)
	}
	return []sheet.Cell{
		string(client.ID), client.Name, string(r.Employee.ID), r.Employee.Name, r.Sees, r.Reason, r.Role, r.Clause, r.Scope, by,
		string(r.Denial), string(r.Visibility), int64(r.Records), int64(len(r.Devices)), int64(held), r.Text,
	}
}

// reviewSchemas describes the answers of an access review.
func reviewSchemas() schema {
	text, whole, flag := schema{"type": "string"}, schema{"type": "integer"}, schema{"type": "boolean"}
	when := schema{"type": "string", "format": "date-time"}
	who := ref("schemas", "Named")
	list := func(of any) schema { return schema{"type": "array", "items": of} }
	obj := func(required []string, props schema) schema {
		return schema{"type": "object", "required": required, "properties": props}
	}
	given := func(required []string, props schema) schema {
		for n, s := range (schema{"id": text, "from": when, "until": when, "inForce": flag, "givenBy": who, "givenAt": when}) {
			props[n] = s
		}
		return obj(append(required, "id", "inForce", "givenAt"), props)
	}
	right := obj([]string{"verbs", "role", "clause", "scope"}, schema{
		"verbs": list(text), "role": text, "clause": text, "scope": text, "only": text, "for": who,
		"fields": schema{"type": "array", "items": text, "description": "Absent where all of the type are reached."},
	})
	return schema{
		"Review": obj([]string{"employee", "kind", "status", "salesAreas", "onsite", "schedulingRoles", "roles", "permissions", "visibility", "delegations", "apps"}, schema{
			"employee": who, "kind": text, "status": text, "client": who, "salesAreas": list(who), "onsite": list(who), "schedulingRoles": list(who),
			"roles": list(given([]string{"role"}, schema{"role": text, "title": text})),
			"permissions": list(given([]string{"effect"}, schema{
				"effect": schema{"enum": []string{"grant", "denial"}}, "verb": text, "entityType": text, "field": text, "app": text,
			})),
			"visibility":  list(given([]string{"mode", "clients"}, schema{"mode": schema{"enum": []string{"all-but", "only"}}, "clients": list(who)})),
			"delegations": list(given([]string{"delegator", "delegate"}, schema{"delegator": who, "delegate": who})),
			"apps": list(obj([]string{"app", "types"}, schema{"app": schema{"enum": entity.Apps}, "types": list(obj([]string{"type", "visible", "rights"}, schema{
				"type": text, "visible": whole, "context": whole, "rights": list(right),
			}))})),
		}),
		"ClientReviewPage": obj([]string{"client", "items"}, schema{
			"client": who, "next": text,
			"items": list(obj([]string{"employee", "sees", "reason", "text", "records", "devices"}, schema{
				"employee": who, "sees": flag, "reason": text, "role": text, "clause": text, "scope": text, "for": who, "denial": text, "visibility": text,
				"text": text, "records": whole, "devices": list(ref("schemas", "Holder")),
			})),
		}),
	}
}
