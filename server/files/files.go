// Package files is the edge through which files come and go: resumable uploads
// (tus 1.0) at /files/, and the content of documents. It decides nothing: what
// an upload becomes part of is decided where all changes are, and the right to
// a document is asked for anew at each download. The bytes of unfinished uploads
// stand in a folder of their own, those of finished ones in a blob.Store. It is
// imported by internal/app.
package files

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/server/blob"
	"satchel/server/edge"
	"satchel/sync/store"
	"satchel/sync/tenant"
)

// Base is where uploads are sent.
const Base = "/files"

// typeDocument is the type whose records have content.
const typeDocument = "document"

// Limits bound what is taken. A zero is the default.
type Limits struct {
	// Upload is the most bytes of one file; 512 MiB.
	Upload int64
	// OpenBytes and OpenCount bound one person's uploads that are not finished,
	// by their announced lengths; 2 GiB and 100.
	OpenBytes int64
	OpenCount int
	// TenantBytes bounds all content of a tenant's documents together with the
	// uploads that are not finished; 100 GiB.
	TenantBytes int64
	// Lifetime is how long an upload waits for its next bytes, and how long it
	// is remembered once it is finished; 7 days.
	Lifetime time.Duration
	// Grace is how long content is kept that nothing refers to any more; a day.
	// A backup of content that is made after that of the records must not take
	// longer.
	Grace time.Duration
	// Types are the media types taken; DefaultTypes.
	Types []string
}

// refusedLifetime is how long content that earlier versions found harmful is
// kept for administrators.
const refusedLifetime = 30 * 24 * time.Hour

// Options say how files are served. Dir and Blobs are required.
type Options struct {
	Dir     string // of unfinished uploads
	Blobs   blob.Store
	Limits  Limits
	Scanner Scanner // nil for none
	// Unscanned is what becomes of content that can't be judged for now; "" for
	// Hold.
	Unscanned Unscanned
	Log       *slog.Logger
	Clock     func() time.Time
	Random    io.Reader
	// Reserve is how many bytes of the disk are kept for records, a quarter of
	// what an upload has to leave free; 0 for [store.DefaultReserve].
	Reserve uint64
	// Free tells the free bytes of a folder's disk; nil for the system's.
	Free func(dir string) (uint64, error)
	// Tenants calls f for every tenant that is open, for Run.
	Tenants func(f func(*tenant.Tenant))
	// SubmitTimeout bounds how long a finished upload waits for its document to
	// be told; 0 for 30 s.
	SubmitTimeout time.Duration
}

// Server is the files of all tenants.
type Server struct {
	opts   Options
	limits Limits
	auth   *edge.Auth
	typ    *entity.Type
	log    *slog.Logger
	decode chan struct{} // pictures being decoded
	routes []Route

	mu      sync.Mutex
	ending  bool
	shelves map[ident.TenantID]*shelf
}

// Route is one address the server answers.
type Route struct {
	Method, Path string // with {id} where an id stands
	// Open routes need no sign-in.
	Open bool
}

// Mount puts the routes on an application that was prepared by Configure.
func Mount(app *fiber.App, auth *edge.Auth, cat *entity.Catalogue, opts Options) (*Server, error) {
	l := opts.Limits
	l.Upload = cmp.Or(l.Upload, 512<<20)
	l.OpenBytes = cmp.Or(l.OpenBytes, 2<<30)
	l.OpenCount = cmp.Or(l.OpenCount, 100)
	l.TenantBytes = cmp.Or(l.TenantBytes, 100<<30)
	l.Lifetime = cmp.Or(l.Lifetime, 7*24*time.Hour)
	l.Grace = cmp.Or(l.Grace, 24*time.Hour)
	if l.Types == nil {
		l.Types = DefaultTypes
	}
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.Random == nil {
		opts.Random = rand.Reader
	}
	if opts.Reserve == 0 {
		opts.Reserve = store.DefaultReserve
	}
	if opts.Free == nil {
		opts.Free = store.Free
	}
	opts.SubmitTimeout = cmp.Or(opts.SubmitTimeout, 30*time.Second)
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		opts: opts, limits: l, auth: auth, typ: cat.Type(typeDocument), log: opts.Log,
		decode: make(chan struct{}, 2), shelves: map[ident.TenantID]*shelf{},
	}
	if s.typ == nil || opts.Dir == "" || opts.Blobs == nil {
		return nil, fmt.Errorf("files: no type %s, no folder or no place for content", typeDocument)
	}
	for _, base := range []string{Base, Base + "/"} {
		s.on(app, Route{Method: fiber.MethodOptions, Path: base, Open: true}, s.options)
		s.on(app, Route{Method: fiber.MethodPost, Path: base}, s.tus(s.create))
	}
	one := Base + "/{id}"
	s.on(app, Route{Method: fiber.MethodOptions, Path: one, Open: true}, s.options)
	s.on(app, Route{Method: fiber.MethodHead, Path: one}, s.tus(s.head))
	s.on(app, Route{Method: fiber.MethodPatch, Path: one}, s.tus(s.patch))
	s.on(app, Route{Method: fiber.MethodDelete, Path: one}, s.tus(s.terminate))
	s.on(app, Route{Method: fiber.MethodPost, Path: one}, s.tus(s.override))
	for _, a := range entity.Apps {
		if !s.typ.In(a) {
			continue
		}
		names := []string{s.typ.CollectionIn(a)}
		if s.typ.Plural != names[0] {
			names = append(names, s.typ.Plural)
		}
		for _, n := range names {
			record := "/v1/" + string(a) + "/" + n + "/{id}"
			s.on(app, Route{Method: fiber.MethodGet, Path: record + "/content"}, s.called(s.content))
			s.on(app, Route{Method: fiber.MethodGet, Path: record + "/thumbnail"}, s.called(s.thumbnail))
		}
	}
	return s, nil
}

// Routes lists every route of the server. HEAD answers where GET does.
func (s *Server) Routes() []Route { return append([]Route(nil), s.routes...) }

func (s *Server) on(app *fiber.App, r Route, h fiber.Handler) {
	s.routes = append(s.routes, r)
	path := strings.Replace(r.Path, "{id}", ":id", 1)
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
				err = fault.New(fault.InternalError).Because(fmt.Errorf("files: panic: %v\n%s", p, debug.Stack()))
			}
		}()
		caller, err := s.auth.Caller(c)
		if err != nil {
			return err
		}
		return h(c, caller)
	}
}

// Interrupt asks the uploads under way to end, with what has arrived kept, and
// refuses others from then on: a server that ends does not wait for them.
func (s *Server) Interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
	for _, sh := range s.shelves {
		sh.interrupt()
	}
}

// shelf returns a tenant's uploads.
func (s *Server) shelf(t *tenant.Tenant) (*shelf, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return nil, fault.New(fault.ShuttingDown)
	}
	if sh := s.shelves[t.ID()]; sh != nil {
		return sh, nil
	}
	sh, odd, err := openShelf(filepath.Join(s.opts.Dir, string(t.ID())))
	if err != nil {
		return nil, storage(err)
	}
	for _, err := range odd {
		s.log.Error("upload left out", slog.String("error", err.Error()))
	}
	if _, sh.stored, err = references(t); err != nil {
		return nil, err
	}
	s.shelves[t.ID()] = sh
	return sh, nil
}

func (s *Server) now() ident.Millis { return ident.MillisOf(s.opts.Clock()) }

// idLength is the length of an upload's id: 128 random bits.
const idLength = 26

var lower32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func (s *Server) freshID() (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(s.opts.Random, b[:]); err != nil {
		return "", fault.New(fault.InternalError).Because(err)
	}
	return lower32.EncodeToString(b[:]), nil
}

// submitting bounds how long a command waits. It is not bound to the request:
// what was taken is carried out in any case.
func (s *Server) submitting() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), s.opts.SubmitTimeout)
}

// storing bounds how long content is judged, and how long it takes to its
// place.
func (s *Server) storing() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), storeTime)
}

const storeTime = 30 * time.Minute
