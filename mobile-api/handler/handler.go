// Package handler is the Mobile Service Agent module over HTTP: what a phone
// asks for in one request where the module API would take ten, and the steps of
// a day's work. It has no rules of its own: reads are projected from one
// committed state with the rights of that state, writes are commands that the
// core decides. It is imported by internal/app; DESIGN.md tells the rest.
package handler

import (
	"context"
	"fmt"
	"hash/maphash"
	"runtime/debug"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/server/edge"
	"satchel/sync/tenant"
)

// Options are what the module lets be chosen.
type Options struct {
	// SubmitTimeout bounds how long a write waits to be taken; 0 for 30 s.
	SubmitTimeout time.Duration
}

// Steps are the actions by which whoever has an activity moves it along.
var Steps = []string{"accept", "travel", "arrive", "start", "pause", "resume", "await-parts", "clear"}

// Names of the types the module speaks of.
const (
	typeActivity  = "jobActivity"
	typeTicket    = "ticket"
	typeUpdate    = "ticketUpdate"
	typeAnswer    = "checklistAnswer"
	typeTime      = "timeEntry"
	typePart      = "partUsed"
	typeSignature = "signature"
	typeComment   = "comment"
	typeDocument  = "document"
	typeWarehouse = "warehouse"
	typeAgent     = "serviceAgent"
	typeEmployee  = "employee"
)

// Server answers the routes beneath /mobile/v1.
type Server struct {
	auth    *edge.Auth
	cat     *entity.Catalogue
	timeout time.Duration

	// upserts keep two answers to one item of a checklist from becoming two
	// records; by a hash of activity and item.
	seed    maphash.Seed
	upserts [64]sync.Mutex
}

// Mount puts the module on the application. An error is a fault of the
// catalogue: a type that the module speaks of is not in it.
func Mount(app *fiber.App, auth *edge.Auth, cat *entity.Catalogue, opts Options) (*Server, error) {
	for _, name := range []string{
		typeActivity, typeTicket, typeUpdate, typeAnswer, typeTime, typePart, typeSignature, typeComment, typeDocument,
		typeWarehouse, typeAgent, typeEmployee,
	} {
		if cat.Type(name) == nil {
			return nil, fmt.Errorf("handler: the catalogue has no type %s", name)
		}
	}
	for _, step := range Steps {
		if cat.Type(typeActivity).Action(step) == nil {
			return nil, fmt.Errorf("handler: an activity has no step %s", step)
		}
	}
	s := &Server{auth: auth, cat: cat, timeout: opts.SubmitTimeout, seed: maphash.MakeSeed()}
	if s.timeout == 0 {
		s.timeout = 30 * time.Second
	}
	capabilities := edge.Capabilities(cat)
	app.Get("/sync/v1/capabilities", capabilities)
	app.Get("/mobile/v1/capabilities", capabilities)

	get := func(path string, h reader) { app.Get("/mobile/v1"+path, s.called(s.answer(h))) }
	post := func(path string, h writer) { app.Post("/mobile/v1"+path, s.called(h)) }

	get("/me/day", s.day)
	get("/me/week", s.week)
	get("/dispatch", s.dispatch)
	get("/activities/:id", s.activity)
	for _, step := range append([]string{"assign", "unassign"}, Steps...) {
		post("/activities/:id/"+step, s.act(typeActivity, step))
	}
	post("/activities/:id/time-entries", s.beneath(typeTime, "activity", nil))
	post("/activities/:id/parts", s.beneath(typePart, "activity", s.fromVan))
	post("/activities/:id/checklist-answers", s.check)
	post("/activities/:id/signature", s.beneath(typeSignature, "activity", signedNow))
	post("/activities/:id/comments", s.beneath(typeComment, "parent", nil))
	post("/activities/:id/documents", s.beneath(typeDocument, "parent", nil))

	get("/tickets", s.tickets)
	post("/tickets", s.open)
	get("/tickets/:id", s.ticket)
	get("/tickets/:id/assignees", s.assignees)
	for _, action := range []string{"assign", "unassign", "request-update", "start", "wait", "resolve", "close", "reopen"} {
		post("/tickets/:id/"+action, s.act(typeTicket, action))
	}
	post("/tickets/:id/reply", s.reply)
	post("/tickets/:id/documents", s.beneath(typeDocument, "parent", nil))
	return s, nil
}

// reader answers a request from one committed state.
type reader func(c *fiber.Ctx, v *view) (any, error)

// writer answers a request that changes something.
type writer func(c *fiber.Ctx, caller *edge.Caller) error

// view is a committed state with the rights of whoever asks.
type view struct {
	*tenant.View
	sub   *policy.Subject
	clock ident.Millis
	// etag, where a reader sets it, names the version of what is answered.
	etag string
}

// now is the present: tenant time stands still while nothing happens.
func (v *view) now() ident.Millis { return max(v.clock, v.Now()) }

// called makes a handler of one that knows its caller, who must speak a known
// protocol. A panic is an internal error of this request alone.
func (s *Server) called(h writer) fiber.Handler {
	return func(c *fiber.Ctx) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fault.New(fault.InternalError).Because(fmt.Errorf("handler: panic: %v\n%s", p, debug.Stack()))
			}
		}()
		if err := edge.Speak(c); err != nil {
			return err
		}
		caller, err := s.auth.Caller(c)
		if err != nil {
			return err
		}
		return h(c, caller)
	}
}

// read calls f with the latest state and the caller's rights, who must have the
// Mobile module.
func read(caller *edge.Caller, f func(v *view) error) error {
	return caller.Read(func(v *tenant.View, sub *policy.Subject) error {
		if !sub.Mobile {
			return fault.New(fault.MobileModuleRequired)
		}
		return f(&view{View: v, sub: sub, clock: caller.Tenant.Now()})
	})
}

// answer makes a writer of a reader.
func (s *Server) answer(h reader) writer {
	return func(c *fiber.Ctx, caller *edge.Caller) error {
		var out any
		var tag string
		err := read(caller, func(v *view) (err error) {
			out, err = h(c, v)
			tag = v.etag
			return err
		})
		if err != nil {
			return err
		}
		if tag != "" {
			c.Set(fiber.HeaderETag, `"`+tag+`"`)
		}
		return sendJSON(c, fiber.StatusOK, out)
	}
}

// background is the context of a write: the request's own ends with the
// connection's buffers, and what was taken is carried out in any case.
func (s *Server) background() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), s.timeout)
}

func (s *Server) lock(activity ident.RecordID, item string) func() {
	m := &s.upserts[maphash.String(s.seed, string(activity)+"\x00"+item)%uint64(len(s.upserts))]
	m.Lock()
	return m.Unlock
}
