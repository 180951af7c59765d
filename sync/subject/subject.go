// Package subject builds what a person may do, a policy.Subject, from the
// records that say so: employee, role assignments, individual permissions,
// client visibility, onsite clients. Those records are ordinary ones; this
// package knows their names. Apply and the read paths of the edges use it.
package subject

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/internal/policy"
	"satchel/sync/state"
)

// Names of the types the policy is kept in.
const (
	Employee       = "employee"
	RoleAssignment = "roleAssignment"
	Permission     = "individualPermission"
	Visibility     = "clientVisibility"
	VisibilityRule = "visibilityRule"
	OnsiteClient   = "onsiteClient"
	Organizational = "organizationalRole"
	RoleClient     = "organizationalRoleClient"
	Delegation     = "delegation"
	Setting        = "setting"
	Device         = "device"
)

// Keys of roles the core itself knows.
const (
	BaseRole      = "base" // held by everybody
	MobileRole    = "mobile.service-agent-user"
	Administrator = "level.customer-administrator"
)

// Statuses of an employee.
const (
	Invited  = "Invited"
	Active   = "Active"
	Disabled = "Disabled"
)

// Roles is the set of roles a server knows.
type Roles struct {
	cat     *entity.Catalogue
	shipped map[string]*policy.Compiled
	// variants stand in for shipped roles, by key, while a setting is on.
	variants map[string]policy.Variant

	hash func() [sha256.Size]byte

	// holdings are what sets of shipped roles come to, as a set of the server's
	// own roles never changes.
	mu       sync.Mutex
	holdings map[string]*policy.Holding
}

// maxHoldings bounds the sets of roles that are kept; a company has a few
// dozen.
const maxHoldings = 1024

// NewRoles checks that the catalogue has the types the policy is kept in and
// that the roles the core knows are there. A role has one variant at most.
func NewRoles(cat *entity.Catalogue, compiled map[string]*policy.Compiled, variants ...policy.Variant) (*Roles, error) {
	for name, fields := range map[string][]string{
		Employee:       {"name", "email", "kind", "client", "salesAreas", "schedulingRoles", "status"},
		RoleAssignment: {"employee", "role", "from", "until"},
		Permission:     {"employee", "effect", "verb", "entityType", "field", "app", "from", "until"},
		Visibility:     {"employee", "mode"},
		VisibilityRule: {"visibility", "client"},
		OnsiteClient:   {"employee", "client"},
		Organizational: {"name", "baseRoles", "apps", "cutFields", "limitClients"},
		RoleClient:     {"role", "client"},
		Delegation:     {"delegator", "delegate", "from", "until"},
		Setting:        {"key", "on"},
		Device:         {"employee", "name", "platform", "status"},
		"client":       {"salesArea"},
	} {
		t := cat.Type(name)
		if t == nil {
			return nil, fmt.Errorf("subject: the catalogue has no type %s", name)
		}
		for _, f := range fields {
			if t.Field(f) == nil {
				return nil, fmt.Errorf("subject: type %s has no field %s", name, f)
			}
		}
	}
	for _, k := range []string{BaseRole, MobileRole, Administrator} {
		if compiled[k] == nil {
			return nil, fmt.Errorf("subject: no role %s", k)
		}
	}
	rs := &Roles{cat: cat, shipped: compiled, variants: map[string]policy.Variant{}, holdings: map[string]*policy.Holding{}}
	for _, v := range variants {
		key := v.Role.Role.Key
		if _, twice := rs.variants[key]; twice || compiled[key] == nil {
			return nil, fmt.Errorf("subject: a variant of role %s, which is not there or has one", key)
		}
		rs.variants[key] = v
	}
	rs.hash = sync.OnceValue(rs.sum)
	return rs, nil
}

// Hash names the record types and all that decides what the roles mean.
func (rs *Roles) Hash() [sha256.Size]byte { return rs.hash() }

func (rs *Roles) sum() [sha256.Size]byte {
	b := &strings.Builder{}
	b.WriteString(rs.cat.Golden())
	for _, key := range slices.Sorted(maps.Keys(rs.shipped)) {
		b.WriteString(rs.shipped[key].Golden())
		if v, ok := rs.variants[key]; ok {
			b.WriteString("while " + v.Setting + " " + v.Role.Golden())
		}
	}
	return sha256.Sum256([]byte(b.String()))
}

// asRead returns a shipped role as the tenant's settings have it read, nil for
// none.
func (rs *Roles) asRead(rd *state.Reader, key string) *policy.Compiled {
	v, ok := rs.variants[key]
	if !ok {
		return rs.shipped[key]
	}
	t := rs.cat.Type(Setting)
	for o := range rd.Index(state.ValueKey(t.No, t.Field("key").No, v.Setting)).All() {
		if r, ok := rd.LoadOrd(o); ok && r.Get("on").Bool() {
			return v.Role
		}
	}
	return rs.shipped[key]
}

// Each calls f for every role that comes with the server, and for what stands in
// for one while a setting is on, in no order.
func (rs *Roles) Each(f func(*policy.Compiled)) {
	for _, c := range rs.shipped {
		f(c)
	}
	for _, v := range rs.variants {
		f(v.Role)
	}
}

// Shipped returns a role that comes with the server, nil for none.
func (rs *Roles) Shipped(key string) *policy.Compiled { return rs.shipped[key] }

// Keys returns the keys of the shipped roles, sorted.
func (rs *Roles) Keys() []string {
	var ks []string
	for k := range rs.shipped {
		if k != BaseRole {
			ks = append(ks, k)
		}
	}
	slices.Sort(ks)
	return ks
}

// Decides reports whether records of the type decide somebody's rights.
func Decides(t *entity.Type) bool {
	switch t.Name {
	case Employee, RoleAssignment, Permission, Visibility, VisibilityRule, OnsiteClient, Organizational, RoleClient, Delegation, Setting:
		return true
	}
	return false
}

// Build builds the subject of an employee as of tenant time; ok is false
// where there is no such employee.
func (rs *Roles) Build(rd *state.Reader, id ident.RecordID) (*policy.Subject, bool) {
	s, ok := rs.build(rd, id, false)
	if !ok {
		return nil, false
	}
	rs.each(rd, Delegation, "delegate", id, func(r *entity.Record) {
		if !inForce(s, r, rd.Now()) {
			return
		}
		by, ok := rs.build(rd, r.Get("delegator").Ref(), true)
		if !ok || s.Lender(by.ID) != nil {
			return
		}
		if by.Until != 0 && (s.Until == 0 || by.Until < s.Until) {
			s.Until = by.Until
		}
		s.Lend(by)
	})
	return s, true
}

// build builds a person's own rights; lent leaves out what can't be delegated:
// running the tenant. Who may decide about rights is decided by name.
func (rs *Roles) build(rd *state.Reader, id ident.RecordID, lent bool) (*policy.Subject, bool) {
	emp, ok := rd.Load(id)
	if !ok || emp.Type.Name != Employee {
		return nil, false
	}
	now := rd.Now()
	s := &policy.Subject{
		ID: id, Kind: emp.Get("kind").Text(), Active: emp.StatusText() == Active,
		Areas: ids(emp.Get("salesAreas").Set()), Scheduling: ids(emp.Get("schedulingRoles").Set()),
	}
	if s.Kind == policy.ClientStaff {
		s.Client = emp.Client()
	}
	var roles, personal []*policy.Compiled
	roles = append(roles, rs.shipped[BaseRole])
	held := map[string]bool{}
	rs.each(rd, RoleAssignment, "employee", id, func(r *entity.Record) {
		key := r.Get("role").Text()
		if !inForce(s, r, now) || held[key] || (lent && key == Administrator && !mutant.On(mutant.LendAdministrator)) {
			return
		}
		c := rs.Role(rd, key)
		if c == nil {
			return
		}
		held[key] = true
		s.Roles = append(s.Roles, key)
		roles = append(roles, c)
	})
	slices.Sort(s.Roles)
	s.Mobile = held[MobileRole]
	var denials []policy.Denial
	rs.each(rd, Permission, "employee", id, func(r *entity.Record) {
		if !inForce(s, r, now) {
			return
		}
		if r.Get("effect").Text() == "denial" {
			denials = append(denials, DenialOf(r))
			return
		}
		if c := rs.grant(r); c != nil {
			personal = append(personal, c)
		}
	})
	rs.each(rd, OnsiteClient, "employee", id, func(r *entity.Record) {
		s.Onsite = append(s.Onsite, r.Client())
	})
	rs.clients(rd, id, s)
	for _, l := range []*[]ident.RecordID{&s.Onsite, &s.Clients} {
		slices.Sort(*l)
		*l = slices.Compact(*l)
	}
	return s.Build(rs.hold(roles, s.Outside()), personal, denials), true
}

// hold returns what a set of roles comes to, the same for all who hold it
// where the roles are the server's own.
func (rs *Roles) hold(roles []*policy.Compiled, outside bool) *policy.Holding {
	var name strings.Builder
	if outside {
		name.WriteByte('!')
	}
	slices.SortFunc(roles, func(a, b *policy.Compiled) int { return cmp.Compare(a.Role.Key, b.Role.Key) })
	for _, c := range roles {
		switch k := c.Role.Key; {
		case rs.shipped[k] == c:
			name.WriteString(k)
		case rs.variants[k].Role == c:
			name.WriteString(k + "~")
		default:
			return policy.Hold(roles, outside)
		}
		name.WriteByte(' ')
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	h := rs.holdings[name.String()]
	if h == nil {
		if len(rs.holdings) >= maxHoldings {
			clear(rs.holdings)
		}
		h = policy.Hold(roles, outside)
		rs.holdings[name.String()] = h
	}
	return h
}

// Unbounded reports whether a person is active, of the house and sees every
// client, as those are who can run a tenant without help.
func (rs *Roles) Unbounded(rd *state.Reader, id ident.RecordID) bool {
	emp, ok := rd.Load(id)
	if !ok || emp.Type.Name != Employee || emp.StatusText() != Active || emp.Get("kind").Text() == policy.ClientStaff {
		return false
	}
	s := &policy.Subject{}
	rs.clients(rd, id, s)
	return !s.Only && len(s.Clients) == 0
}

// clients reads which clients a person sees.
func (rs *Roles) clients(rd *state.Reader, id ident.RecordID, s *policy.Subject) {
	rs.each(rd, Visibility, "employee", id, func(v *entity.Record) {
		s.Only = s.Only || v.Get("mode").Text() == "only"
		rs.each(rd, VisibilityRule, "visibility", v.ID, func(r *entity.Record) {
			s.Clients = append(s.Clients, r.Client())
		})
	})
}

// DenialOf reads an individual permission whose effect is a denial.
func DenialOf(r *entity.Record) policy.Denial {
	return policy.Denial{
		ID: r.ID, Verb: policy.Verb(r.Get("verb").Text()), Type: r.Get("entityType").Text(),
		Field: r.Get("field").Text(), App: entity.App(r.Get("app").Text()),
	}
}

// Role returns a shipped or a tenant-made role, nil for none.
func (rs *Roles) Role(rd *state.Reader, key string) *policy.Compiled {
	if c := rs.asRead(rd, key); c != nil {
		return c
	}
	r, ok := rd.Load(ident.RecordID(key))
	if !ok || r.Type.Name != Organizational {
		return nil
	}
	var clients []ident.RecordID
	if r.Get("limitClients").Bool() && !mutant.On(mutant.ForgetRoleLimit) {
		// Without a row it reaches no client: taking the last one away must not
		// open them all.
		clients = []ident.RecordID{}
		rs.each(rd, RoleClient, "role", r.ID, func(one *entity.Record) { clients = append(clients, one.Client()) })
		slices.Sort(clients)
	}
	c, err := rs.organizational(rd, r, clients)
	if err != nil {
		return nil
	}
	return c
}

// organizational compiles a tenant-made role: its base roles' clauses, less
// the apps and fields it cuts, of the given clients alone; nil for all.
func (rs *Roles) organizational(rd *state.Reader, r *entity.Record, clients []ident.RecordID) (*policy.Compiled, error) {
	out := &policy.Compiled{Role: &policy.Role{Key: string(r.ID), Title: r.Get("name").Text()}}
	var apps []entity.App
	for _, a := range r.Get("apps").Set() {
		apps = append(apps, entity.App(a))
	}
	for _, k := range r.Get("baseRoles").Set() {
		base := rs.asRead(rd, k)
		if base == nil || k == Administrator || k == BaseRole {
			return nil, fmt.Errorf("subject: role %q can't be built on", k)
		}
		role := *base.Role
		role.Key = string(r.ID)
		role.Apps, role.Cut, role.Clients = apps, r.Get("cutFields").Set(), clients
		c, err := policy.Compile(rs.cat, &role)
		if err != nil {
			return nil, err
		}
		out.Merge(c)
	}
	return out, nil
}

// Check judges a record that is to decide somebody's rights: one that names
// what is not there would give or take nothing, silently.
func (rs *Roles) Check(rd *state.Reader, r *entity.Record) error {
	bad := func(field, format string, args ...any) error {
		return fault.Newf(fault.BadValue, format, args...).OnField(field)
	}
	switch r.Type.Name {
	case Organizational:
		if _, err := rs.organizational(rd, r, nil); err != nil {
			return fault.Of(bad("", "A role is built on roles of the manual and cuts fields that there are, as type.field.")).Because(err)
		}
	case RoleAssignment:
		key := r.Get("role").Text()
		if key == BaseRole || rs.Role(rd, key) == nil {
			return bad("role", "There is no role %q.", key)
		}
		// The tenant is run by nobody of a client.
		if emp, ok := rd.Load(r.Get("employee").Ref()); ok && key == Administrator && emp.Get("kind").Text() == policy.ClientStaff {
			return bad("role", "Client staff can't be customer administrators.")
		}
	case Employee:
		if r.Get("kind").Text() != policy.ClientStaff || r.Ord == 0 {
			return nil
		}
		held := false
		rs.each(rd, RoleAssignment, "employee", r.ID, func(a *entity.Record) { held = held || a.Get("role").Text() == Administrator })
		if held {
			return bad("kind", "Client staff can't be customer administrators.")
		}
	case Permission:
		return rs.checkPermission(r, bad)
	case Delegation:
		if r.Get("delegator").Ref() == r.Get("delegate").Ref() {
			return bad("delegate", "Nobody acts for themselves.")
		}
		// The record goes with the delegate's client; it may name nobody of
		// another.
		if by, ok := rd.Load(r.Get("delegator").Ref()); ok && by.Client() != "" && by.Client() != r.Client() {
			return fault.New(fault.BadReference).OnField("delegate")
		}
	}
	return nil
}

func (rs *Roles) checkPermission(r *entity.Record, bad func(field, format string, args ...any) error) error {
	types := rs.cat.Types
	if n := r.Get("entityType").Text(); n != "" {
		t := rs.cat.Type(n)
		if t == nil {
			return bad("entityType", "There is no type %q.", n)
		}
		if f := r.Get("field").Text(); f != "" && t.Field(f) == nil {
			return bad("field", "%s has no field %q.", n, f)
		}
		types = []*entity.Type{t}
	}
	verb := policy.Verb(r.Get("verb").Text())
	switch verb {
	case policy.View, policy.Create, policy.Edit, policy.Delete, policy.Comment, policy.AnyAction:
		return nil
	case "":
		if r.Get("effect").Text() == "grant" {
			return fault.Newf(fault.MissingField, "A grant names what it allows.").OnField("verb")
		}
		return nil
	}
	for _, t := range types {
		if t.Action(string(verb)) != nil {
			return nil
		}
	}
	return bad("verb", "There is no action %q.", verb)
}

// grant compiles an individual grant: a role of one clause.
func (rs *Roles) grant(r *entity.Record) *policy.Compiled {
	role := &policy.Role{Key: "individual", App: entity.App(r.Get("app").Text())}
	verb := policy.Verb(r.Get("verb").Text())
	c := policy.May(verb).As(string(r.ID))
	if n := r.Get("entityType").Text(); n != "" {
		t := rs.cat.Type(n)
		if t == nil {
			return nil
		}
		// A grant opens what people share, never what is somebody's own.
		c.On(t).WithinApp(role.App == "")
		if role.App == "" {
			role.App = t.Apps[0]
		}
		if f := r.Get("field").Text(); f != "" {
			c.Only(f)
		}
	}
	out, err := policy.Compile(rs.cat, &policy.Role{Key: role.Key, App: role.App, Clauses: []*policy.Clause{c}})
	if err != nil {
		return nil
	}
	return out
}

func (rs *Roles) each(rd *state.Reader, typ, field string, id ident.RecordID, f func(*entity.Record)) {
	t := rs.cat.Type(typ)
	for o := range rd.Referring(t, t.Field(field).No, id).All() {
		if r, ok := rd.LoadOrd(o); ok {
			f(r)
		}
	}
}

// inForce judges a time-bound record and notes in s when that changes next.
// It is in force from "from" (inclusive) until "until" (exclusive).
func inForce(s *policy.Subject, r *entity.Record, now ident.Millis) bool {
	next := func(m ident.Millis) {
		if m > now && (s.Until == 0 || m < s.Until) {
			s.Until = m
		}
	}
	in := true
	if from, ok := r.Get("from").Time(); ok {
		next(from)
		in = from <= now
	}
	if until, ok := r.Get("until").Time(); ok {
		next(until)
		in = in && (now < until || mutant.On(mutant.GrantNeverEnds))
	}
	return in
}

func ids(ss []string) []ident.RecordID {
	var out []ident.RecordID
	for _, s := range ss {
		out = append(out, ident.RecordID(s))
	}
	slices.Sort(out)
	return out
}

// Delegates returns those who act, or are to act, for an employee.
func (rs *Roles) Delegates(rd *state.Reader, id ident.RecordID) []ident.RecordID {
	var out []ident.RecordID
	rs.each(rd, Delegation, "delegator", id, func(r *entity.Record) { out = append(out, r.Get("delegate").Ref()) })
	return out
}

// Affected returns the employees whose rights a changed record decides, those
// to whom they delegated them among them. all is set where that may be
// anybody.
func (rs *Roles) Affected(rd *state.Reader, r *entity.Record) (who []ident.RecordID, all bool) {
	if who, all = rs.affected(rd, r); all {
		return nil, true
	}
	for _, id := range slices.Clone(who) {
		who = append(who, rs.Delegates(rd, id)...)
	}
	return who, false
}

func (rs *Roles) affected(rd *state.Reader, r *entity.Record) (who []ident.RecordID, all bool) {
	switch r.Type.Name {
	case Employee:
		return []ident.RecordID{r.ID}, false
	case RoleAssignment, Permission, Visibility, OnsiteClient:
		return []ident.RecordID{r.Get("employee").Ref()}, false
	case VisibilityRule:
		if v, ok := rd.Load(r.Get("visibility").Ref()); ok {
			return []ident.RecordID{v.Get("employee").Ref()}, false
		}
		return nil, true
	case Delegation:
		return []ident.RecordID{r.Get("delegate").Ref()}, false
	case Organizational, RoleClient, Setting:
		return nil, true
	}
	return nil, false
}
