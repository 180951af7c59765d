// Package rest is the module API: every type of the catalogue at
// /v1/{app}/{collection}, derived from its declaration alone, and the few
// addresses beside it that tell people what they may do. It decides nothing
// and stores nothing: reads are projected from one committed state with the
// rights of that state, writes are commands. It is imported by internal/app.
package rest

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/policy"
	"satchel/server/edge"
	"satchel/server/spool"
	"satchel/sync/tenant"
)

// Options are what the server lets be chosen.
type Options struct {
	// CursorKey seals list cursors. Servers that stand behind one address must
	// share it; the zero key is replaced by a random one, so that cursors end
	// with the process.
	CursorKey [32]byte
	// SubmitTimeout bounds how long a write waits to be taken; 0 for 30 s.
	SubmitTimeout time.Duration
	// ReadBelow is how many candidates a list must have for the tenant's
	// columns to be used; the records of shorter lists are read. 0 for 2,000,
	// negative for records always.
	ReadBelow int
	// Content opens the content of documents, for exports of what is held of a
	// person; nil: they list files without it.
	Content OpenContent
	// Spool is where exports stand until they were sent; nil for the system's
	// folder of temporary files.
	Spool *spool.Folder
}

// Kind is what a route does.
type Kind string

// The kinds of routes. Those of records have a Type; the others stand alone.
const (
	List      Kind = "list"
	Create    Kind = "create"
	Get       Kind = "get"
	Patch     Kind = "patch"
	Delete    Kind = "delete"
	Action    Kind = "action"
	Bulk      Kind = "bulk"
	Children  Kind = "children"
	Table     Kind = "export"    // a list as a table
	Assignees Kind = "assignees" // whom a record can be assigned to
	Result    Kind = "result"    // what a report comes to
	Conflicts Kind = "conflicts" // offline edits that met another's
	Personal  Kind = "personal"  // about the caller
	Admin     Kind = "admin"     // for customer administrators
	Document  Kind = "document"  // public
)

// Route is one address the server answers.
type Route struct {
	Method string
	// Path has {id} where a record's id stands.
	Path string
	Kind Kind
	App  entity.App
	Type *entity.Type // nil for routes that are not of one type
	// Verb is what the caller needs on the record, or some record, of the
	// type; "" where there is no type.
	Verb policy.Verb
	// Child is the type a Children route lists.
	Child *entity.Type
	// Same is the path, with the app's own words for the collections, at which
	// the same is answered; "" where that is this path.
	Same string
}

// Server is the module API of all tenants.
type Server struct {
	auth    *edge.Auth
	cat     *entity.Catalogue
	sealer  *sealer
	visible *visibleCache
	timeout time.Duration
	least   int           // candidates of a list that columns are used for
	trials  chan struct{} // what-ifs under way
	persons chan struct{} // exports of a person under way
	spool   *spool.Folder // exports on their way
	content OpenContent
	routes  []Route
	openapi []byte
}

// Mount puts the module API on the application: a route for each type, kind
// and action of the catalogue, named one by one.
func Mount(app *fiber.App, auth *edge.Auth, cat *entity.Catalogue, opts Options) (*Server, error) {
	if opts.CursorKey == [32]byte{} {
		if _, err := rand.Read(opts.CursorKey[:]); err != nil {
			return nil, fmt.Errorf("rest: %w", err)
		}
	}
	if opts.Spool == nil {
		opts.Spool = spool.Temporary()
	}
	s := &Server{
		auth: auth, cat: cat, sealer: newSealer(opts.CursorKey), visible: newVisibleCache(),
		timeout: cmp.Or(opts.SubmitTimeout, 30*time.Second), least: cmp.Or(opts.ReadBelow, defaultReadBelow), trials: make(chan struct{}, 1),
		persons: make(chan struct{}, 1), content: opts.Content, spool: opts.Spool,
	}
	s.alone(app)
	s.mountPersons(app)
	for _, a := range entity.Apps {
		for _, t := range cat.Types {
			if !t.In(a) {
				continue
			}
			own := t.CollectionIn(a)
			s.collection(app, a, t, own)
			if t.Plural != own {
				s.collection(app, a, t, t.Plural)
			}
		}
	}
	doc, err := s.document()
	if err != nil {
		return nil, err
	}
	s.openapi = doc
	return s, nil
}

// Routes lists every route of the server, in the order of mounting. HEAD answers
// where GET does.
func (s *Server) Routes() []Route { return slices.Clone(s.routes) }

// OpenAPI returns the OpenAPI 3.1 document as served.
func (s *Server) OpenAPI() []byte { return slices.Clone(s.openapi) }

// on mounts a route and notes it. HEAD answers where GET does, which RFC 9110
// asks for: the same without the content.
func (s *Server) on(app *fiber.App, r Route, h fiber.Handler) {
	s.routes = append(s.routes, r)
	// Fiber takes a colon for the beginning of a parameter.
	path := strings.ReplaceAll(r.Path, ":", `\:`)
	path = strings.ReplaceAll(path, "{id}", ":id")
	app.Add(r.Method, path, h)
	if r.Method == fiber.MethodGet {
		app.Head(path, h)
	}
}

// called makes a handler of one that knows its caller. A panic is an internal
// error of this request alone.
func (s *Server) called(h func(c *fiber.Ctx, caller *edge.Caller) error) fiber.Handler {
	return func(c *fiber.Ctx) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fault.New(fault.InternalError).Because(fmt.Errorf("rest: panic: %v\n%s", p, debug.Stack()))
			}
		}()
		caller, err := s.auth.Caller(c)
		if err != nil {
			return err
		}
		return h(c, caller)
	}
}

// alone mounts the routes that are of no type.
func (s *Server) alone(app *fiber.App) {
	for _, r := range []struct {
		path string
		kind Kind
		h    fiber.Handler
	}{
		{"/v1/me", Personal, s.called(s.me)},
		{"/v1/explain", Personal, s.called(s.explain)},
		{"/v1/admin/explain", Admin, s.called(s.adminExplain)},
		{"/v1/admin/holders", Admin, s.called(s.holders)},
		{"/v1/admin/access-review", Admin, s.called(s.accessReview)},
		{"/v1/me/refused", Personal, s.called(s.refused)},
		{"/v1/admin/quarantine", Admin, s.called(s.quarantine)},
		{"/v1/admin/quarantine:export", Admin, s.called(s.exportQuarantine)},
		{"/v1/admin/quarantine/{id}", Admin, s.called(s.quarantinedBundle)},
		{"/v1/admin/audit", Admin, s.called(s.audit)},
		{"/v1/admin/audit/head", Admin, s.called(s.auditHead)},
		{"/openapi.json", Document, s.serveOpenAPI},
		{"/docs", Document, serveDocs},
	} {
		s.on(app, Route{Method: fiber.MethodGet, Path: r.path, Kind: r.kind}, r.h)
	}
	s.on(app, Route{Method: fiber.MethodPost, Path: "/v1/admin/what-if", Kind: Admin}, s.called(s.whatIf))
	s.on(app, Route{Method: fiber.MethodPost, Path: "/v1/admin/quarantine/{id}:replay", Kind: Admin}, s.called(s.replayBundle))
	s.on(app, Route{Method: fiber.MethodPost, Path: "/v1/admin/quarantine/{id}:discard", Kind: Admin}, s.called(s.discardBundle))
}

// collection mounts the routes of one type under one name in one app.
func (s *Server) collection(app *fiber.App, a entity.App, t *entity.Type, name string) {
	base, own := "/v1/"+string(a)+"/"+name, "/v1/"+string(a)+"/"+t.CollectionIn(a)
	same := func(path, canonical string) string {
		if path == canonical {
			return ""
		}
		return canonical
	}
	route := func(method, path string, k Kind, v policy.Verb, h func(*fiber.Ctx, *edge.Caller, *entity.Type) error) {
		s.on(app, Route{Method: method, Path: path, Kind: k, App: a, Type: t, Verb: v, Same: same(path, own+path[len(base):])},
			s.called(func(c *fiber.Ctx, caller *edge.Caller) error {
				if method == fiber.MethodGet { // a write is judged with the change
					if err := through(caller, a, t); err != nil {
						return err
					}
				}
				return h(c, caller, t)
			}))
	}
	write := func(k Kind, action string) func(*fiber.Ctx, *edge.Caller, *entity.Type) error {
		return func(c *fiber.Ctx, caller *edge.Caller, t *entity.Type) error {
			return s.write(c, caller, a, t, k, action, base)
		}
	}
	route(fiber.MethodGet, base, List, policy.View, s.list)
	route(fiber.MethodGet, base+":export", Table, policy.View, s.export)
	route(fiber.MethodPost, base, Create, policy.Create, write(Create, ""))
	route(fiber.MethodGet, base+"/{id}", Get, policy.View, s.get)
	route(fiber.MethodPatch, base+"/{id}", Patch, policy.Edit, write(Patch, ""))
	route(fiber.MethodDelete, base+"/{id}", Delete, policy.Delete, write(Delete, ""))
	if assigns(t) != nil {
		route(fiber.MethodGet, base+"/{id}/assignees", Assignees, policy.View, s.assignees)
		route(fiber.MethodGet, base+":assignees", Assignees, policy.View, s.futureAssignees)
	}
	if t.Name != typeConflict {
		route(fiber.MethodGet, base+"/{id}/"+conflicts, Conflicts, policy.View, s.conflicts)
	}
	if t.Name == typeReport {
		route(fiber.MethodGet, base+"/{id}/result", Result, policy.View, s.result)
	}
	for _, act := range t.Actions {
		v := policy.Verb(act.Name)
		route(fiber.MethodPost, base+"/{id}/"+act.Name, Action, v, write(Action, act.Name))
		if act.Bulk {
			route(fiber.MethodPost, base+":"+act.Name, Bulk, v,
				func(c *fiber.Ctx, caller *edge.Caller, t *entity.Type) error {
					return s.bulk(c, caller, a, t, act.Name)
				})
		}
	}
	for _, child := range s.cat.Types {
		fields := beneath(child, t)
		if len(fields) == 0 || child.Name == typeConflict { // these stand beneath what they are about
			continue
		}
		// Beneath a record of an app that does not have the child stands what
		// stands there in an app that has both, if any does.
		in := a
		if !child.In(a) {
			if i := slices.IndexFunc(t.Apps, child.In); i >= 0 {
				in = t.Apps[i]
			}
		}
		canonical := "/v1/" + string(in) + "/" + t.CollectionIn(in) + "/{id}/" + child.CollectionIn(in)
		names := []string{child.CollectionIn(a)}
		if child.Plural != names[0] {
			names = append(names, child.Plural)
		}
		for _, n := range names {
			path := base + "/{id}/" + n
			s.on(app, Route{
				Method: fiber.MethodGet, Path: path, Kind: Children, App: a, Type: t, Verb: policy.View, Child: child,
				Same: same(path, canonical),
			}, s.called(func(c *fiber.Ctx, caller *edge.Caller) error {
				if err := through(caller, a, t); err != nil {
					return err
				}
				return s.children(c, caller, t, child, fields)
			}))
		}
	}
}

// through refuses whoever works with records of the type by way of other apps
// alone, whatever the address names.
func through(caller *edge.Caller, a entity.App, t *entity.Type) error {
	return caller.Read(func(_ *tenant.View, sub *policy.Subject) error {
		if !sub.Through(t, a) {
			return fault.New(fault.NotAllowed)
		}
		return nil
	})
}

// beneath returns the fields by which records of child stand beneath records
// of the type. A reference to any type counts where an enumeration beside it,
// named like it with "Type" behind, lists the type.
func beneath(child, parent *entity.Type) []*entity.Field {
	var out []*entity.Field
	for _, f := range child.Fields {
		if (f.Kind != entity.Ref && f.Kind != entity.Refs) || !f.Indexed() {
			continue
		}
		if len(f.Targets) == 0 {
			if kind := child.Field(f.Name + "Type"); kind != nil && slices.Contains(kind.Values, parent.Name) {
				out = append(out, f)
			}
			continue
		}
		if slices.Contains(f.Targets, parent.Name) {
			out = append(out, f)
		}
	}
	return out
}
