// Package app is the only package that knows every concrete type: it wires a
// server together from configuration. cmd/satchel calls it; nothing else may.
package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/recover"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"satchel/internal/durable"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/mobile-api/handler"
	"satchel/server/blob"
	"satchel/server/courier"
	"satchel/server/edge"
	"satchel/server/files"
	"satchel/server/rest"
	"satchel/server/session"
	"satchel/server/session/limit"
	"satchel/server/session/oidc"
	"satchel/server/session/password"
	"satchel/server/session/token"
	"satchel/server/spool"
	"satchel/server/suite"
	"satchel/server/syncapi"
	"satchel/server/ws/upgrade"
	"satchel/sync/column"
	"satchel/sync/tenant"
)

// Config says how a server is run.
type Config struct {
	Dir         string
	Listen      string
	AdminListen string // "" for none
	Demo        bool
	Origins     []string // web origins that may open sockets
	MaxSockets  int
	Out         io.Writer // the lines that programs read
	Log         *slog.Logger
	// Clock is nil for the system's, which is not followed where it leaps ahead.
	Clock func() time.Time
	// AcceptClock says that the clock is right although it is years ahead of when
	// Dir was last served.
	AcceptClock bool
	Hasher      *password.Hasher // nil for one of the default strength
	// ColumnBytes bounds the memory of the columns that lists of all tenants
	// use; 0 for 256 MiB, negative for none: then every list reads records.
	ColumnBytes int64
	// PublicURL is where people's browsers reach the server, as
	// https://satchel.example.com; OIDC needs it.
	PublicURL string
	// OIDC are the identity providers of the tenants that have one.
	OIDC map[ident.TenantID]oidc.Config
	// TrustedProxies are believed about where requests come from.
	TrustedProxies limit.Proxies
	// Pusher and Letters send what people are told; nil: nothing is pushed, or
	// mailed. ByFCM and BySMTP make them.
	Pusher  courier.Pusher
	Letters courier.Mailer
	// Bounces says where reports of undeliverable mail come in; nil for nowhere.
	// It needs Letters.
	Bounces *Bounces
	// Product is what the system is called in mails, "Satchel" if empty;
	// DevicesLink where in it a person revokes devices, "" for nowhere.
	Product, DevicesLink string
	// Content is where the content of files is kept; nil for Dir/blobs. Uploads
	// that are not finished stand in Dir/uploads either way.
	Content blob.Store
	// Files bounds what files are taken; zeros are the defaults.
	Files files.Limits
	// Scanner judges files before they are kept; nil for none.
	Scanner files.Scanner
	// Unscanned is what becomes of files that Scanner can't judge for now; "" for
	// files.Hold.
	Unscanned files.Unscanned
	// Quotas bound what people who have signed in may ask for; nil for the
	// defaults.
	Quotas *limit.Quotas
	// Connections bounds what is open at once, PersonSockets how many devices
	// of one person may be live; zeros are the defaults.
	Connections   Connections
	PersonSockets int
	// ReadTimeout bounds how long a request may take to arrive, files apart, and
	// WriteTimeout its answer to be taken; 0 for those of package edge.
	ReadTimeout, WriteTimeout time.Duration
	// TLSCert and TLSKey are PEM files; "" where TLS ends in front of the server.
	// They are read again when they change.
	TLSCert, TLSKey string
	// Reserve is how many bytes of the disk are kept free of what people add: with
	// less, changes are refused, while pulling, signing in and administering go
	// on down to a quarter of it; files want four times as much. 0 for
	// [store.DefaultReserve].
	Reserve uint64
	// TenantIdle is after how long a tenant that nobody uses is closed, to be opened
	// when somebody asks for it or something falls due; 0 for [DefaultTenantIdle],
	// negative for never.
	TenantIdle time.Duration
	// Random is what new keys, tokens and ids are made of; nil for the system's
	// randomness. Another one is for tests that repeat a run to the byte. It must
	// be safe for concurrent use.
	Random io.Reader
}

// App is a server: New, then Run; Close is Run's end.
type App struct {
	cfg     Config
	clock   *steady // nil where Config.Clock is given
	tenants *Tenants
	fiber   *fiber.App
	session *session.Service
	files   *files.Server
	content blob.Store
	sockets *upgrade.Registry
	hasher  *password.Hasher
	metrics *metrics
	listen  net.Listener
	doors   *doors // beneath listen
	admin   net.Listener
	signer  *token.Signer
	keys    watched
	acts    watched
	cert    *certificate // nil where TLS ends in front of the server
	letters *letters
	copies  *copies
}

// Signing names of access tokens.
const (
	issuer   = "satchel"
	audience = "satchel-api"
)

// rememberedTokens bounds the access tokens whose signature is remembered.
const rememberedTokens = 65536

// New wires a server on a data folder, which is made where it is not there.
func New(cfg Config) (*App, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Out == nil {
		cfg.Out = io.Discard
	}
	if cfg.MaxSockets == 0 {
		cfg.MaxSockets = 20_000
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	if err := durable.MkdirAll(cfg.Dir); err != nil {
		return nil, err
	}
	var clock *steady
	if cfg.Clock == nil {
		var err error
		if clock, err = newSteady(cfg.Dir, time.Now, monotonic(), cfg.AcceptClock, cfg.Log); err != nil {
			return nil, err
		}
		cfg.Clock = clock.Now
	}
	quotas := limit.DefaultQuotas()
	if cfg.Quotas != nil {
		quotas = *cfg.Quotas
	}
	if err := quotas.Check(); err != nil {
		return nil, err
	}
	keys, err := signingKeys(cfg.Dir, cfg.Random)
	if err != nil {
		return nil, err
	}
	signer, err := token.NewSigner(issuer, audience, keys, rememberedTokens)
	if err != nil {
		return nil, err
	}
	hasher := cfg.Hasher
	if hasher == nil {
		if hasher, err = password.New(password.Default, 0); err != nil {
			return nil, err
		}
	}
	ts, err := NewTenants(cfg.Dir, cfg.Log, cfg.Clock)
	if err != nil {
		return nil, err
	}
	ts.columns, ts.random = column.NewBudget(cmp.Or(cfg.ColumnBytes, column.DefaultBytes)), cfg.Random
	ts.reserve, ts.idle.after = cfg.Reserve, cmp.Or(cfg.TenantIdle, DefaultTenantIdle)
	a := &App{
		cfg: cfg, clock: clock, tenants: ts, hasher: hasher, signer: signer, keys: watched{paths: []string{filepath.Join(cfg.Dir, keysFile)}},
		acts: watched{paths: []string{filepath.Join(cfg.Dir, actsFolder)}},
	}
	a.keys.changed()
	if cfg.TLSCert != "" || cfg.TLSKey != "" {
		if a.cert, err = newCertificate(cfg.TLSCert, cfg.TLSKey); err != nil {
			return nil, err
		}
	}
	a.metrics = newMetrics(a)
	a.sockets = upgrade.New(upgrade.Options{
		Origins: cfg.Origins, MaxConns: cfg.MaxSockets,
		OnPanic: func(_ net.Addr, _ any, stack []byte) {
			cfg.Log.Error("socket panicked", slog.String("stack", string(stack)))
		},
	})
	auth := &edge.Auth{
		Tenants: ts, Signer: signer, Clock: cfg.Clock, Proxies: cfg.TrustedProxies, Quotas: limit.NewPeople(quotas, cfg.Clock),
	}
	secure := edge.Secure
	if strings.HasPrefix(cfg.PublicURL, "https://") {
		secure = edge.SecureBehindTLS
	}
	a.fiber = edge.NewApp(a.logError)
	a.fiber.Server().ReadTimeout = cmp.Or(cfg.ReadTimeout, edge.ReadTimeout)
	a.fiber.Server().WriteTimeout = cmp.Or(cfg.WriteTimeout, edge.WriteTimeout)
	files.Configure(a.fiber)
	a.fiber.Use(a.metrics.observe, recover.New(recover.Config{
		EnableStackTrace: true,
		StackTraceHandler: func(*fiber.Ctx, any) {
			cfg.Log.Error("request panicked", slog.String("stack", string(debug.Stack())))
		},
	}), secure)
	a.fiber.Get("/healthz", func(c *fiber.Ctx) error { return c.SendString("ok\n") })
	a.fiber.Get("/readyz", a.ready)
	if a.copies, err = newCopies(cfg.Dir, cfg.Reserve); err != nil {
		return nil, err
	}
	exports, err := spool.Open(filepath.Join(cfg.Dir, "exports"), cfg.Reserve)
	if err != nil {
		return nil, err
	}
	if a.letters, err = newLetters(&a.cfg, ts); err != nil {
		return nil, err
	}
	a.session = &session.Service{Auth: auth, Hasher: hasher, Links: a.letters.links, Proxies: cfg.TrustedProxies, Log: cfg.Log}
	if len(cfg.OIDC) > 0 {
		a.session.OIDC, err = oidc.New(oidc.Options{PublicURL: cfg.PublicURL, Tenants: cfg.OIDC, Clock: cfg.Clock})
		if err != nil {
			return nil, err
		}
	}
	a.session.Mount(a.fiber)
	(&syncapi.Server{Auth: auth, Sockets: a.sockets, PersonSockets: cfg.PersonSockets}).Mount(a.fiber)
	all, err := suite.Load()
	if err != nil {
		return nil, err
	}
	if a.content = cfg.Content; a.content == nil {
		a.content = blob.NewFolder(filepath.Join(cfg.Dir, "blobs"), cfg.Clock)
	}
	a.files, err = files.Mount(a.fiber, auth, all.Cat, files.Options{
		Dir: filepath.Join(cfg.Dir, "uploads"), Blobs: a.content, Limits: cfg.Files, Scanner: cfg.Scanner, Unscanned: cfg.Unscanned,
		Log: cfg.Log, Clock: cfg.Clock, Random: cfg.Random, Tenants: ts.Each, Reserve: cfg.Reserve,
	})
	if err != nil {
		return nil, err
	}
	ts.idle.unfinished, ts.idle.sweep = a.files.Unfinished, a.files.Sweep
	var cursors [32]byte
	if _, err := io.ReadFull(cfg.Random, cursors[:]); err != nil {
		return nil, err
	}
	if _, err := rest.Mount(a.fiber, auth, all.Cat, rest.Options{CursorKey: cursors, Content: contentOf(a.content), Spool: exports}); err != nil {
		return nil, err
	}
	if a.letters.unsubscribe != nil {
		a.letters.unsubscribe.Mount(a.fiber)
	}
	if _, err := handler.Mount(a.fiber, auth, all.Cat, handler.Options{}); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *App) logError(c *fiber.Ctx, err error) {
	f := fault.Of(err)
	if f.Code.Kind() != fault.Internal || errors.As(err, new(*fiber.Error)) {
		return
	}
	a.cfg.Log.Error("request failed", slog.String("route", c.Route().Path), slog.String("error", err.Error()))
}

// ready answers 200 once requests are served and every open tenant runs.
func (a *App) ready(c *fiber.Ctx) error {
	var failed error
	a.tenants.Each(func(t *tenant.Tenant) { failed = errors.Join(failed, t.Failed()) })
	if failed != nil {
		return fault.New(fault.TenantStopped)
	}
	return c.SendString("ready\n")
}

// Tenants gives the server's tenants.
func (a *App) Tenants() *Tenants { return a.tenants }

// Hasher gives the server's password hasher.
func (a *App) Hasher() *password.Hasher { return a.hasher }

// Address returns where the server listens, once Listen was called.
func (a *App) Address() string { return a.listen.Addr().String() }

// Listen binds the listeners and says so on Out.
func (a *App) Listen(ctx context.Context) error {
	var lc net.ListenConfig
	var err error
	if a.listen, err = lc.Listen(ctx, "tcp", a.cfg.Listen); err != nil {
		return err
	}
	a.doors = newDoors(a.listen, a.cfg.Connections.or(a.cfg.MaxSockets), a.cfg.TrustedProxies)
	a.listen = a.doors
	scheme := "http"
	if a.cert != nil {
		a.listen, scheme = tls.NewListener(a.listen, a.cert.config()), "https"
	}
	fmt.Fprintf(a.cfg.Out, "listening on %s://%s\n", scheme, a.listen.Addr())
	if a.cfg.AdminListen != "" {
		if a.admin, err = lc.Listen(ctx, "tcp", a.cfg.AdminListen); err != nil {
			return errors.Join(err, a.listen.Close())
		}
		fmt.Fprintf(a.cfg.Out, "admin listening on http://%s\n", a.admin.Addr())
	}
	if err := a.letters.open(ctx, &a.cfg); err != nil {
		if a.admin != nil {
			err = errors.Join(err, a.admin.Close())
		}
		return errors.Join(err, a.listen.Close())
	}
	return nil
}

// unsentWait is how long an orderly end waits for the rest of a request that
// has not arrived whole.
const unsentWait = 2 * time.Second

// shutdownWait bounds how long an orderly end may take.
const shutdownWait = 20 * time.Second

// Run serves until ctx ends, then finishes what is acknowledged: sockets are
// told, requests under way are answered, tenants are closed.
func (a *App) Run(ctx context.Context) error {
	leave := a.attend()
	reports := make(chan error, 1)
	go func() { reports <- a.letters.serve() }()
	served := make(chan error, 1)
	go func() { served <- a.fiber.Listener(a.listen) }()
	adminServed := make(chan error, 1)
	var admin *http.Server
	if a.admin != nil {
		admin = &http.Server{
			Handler: ownHost(a.admin.Addr(), a.adminHandler()), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute,
			MaxHeaderBytes: 64 << 10,
		}
		go func() { adminServed <- admin.Serve(a.admin) }()
	}
	sweeping, stop := context.WithCancel(ctx)
	swept := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		a.watch(sweeping)
	}()
	go func() {
		defer close(swept)
		a.files.Run(sweeping)
	}()
	tended := make(chan struct{})
	go func() {
		defer close(tended)
		a.tenants.tend(sweeping)
	}()
	var failed error
	over := false
	select {
	case <-ctx.Done():
	case failed = <-served:
		over = true
	case failed = <-adminServed:
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownWait)
	defer cancel()
	stop()
	a.files.Interrupt()
	<-watched
	<-tended
	select {
	case <-swept:
	case <-end.Done():
	}
	failed = errors.Join(failed, a.sockets.Shutdown(end))
	a.doors.closeUp(unsentWait)
	failed = errors.Join(failed, a.fiber.ShutdownWithContext(end))
	// A server told to end before it began to serve knows no listener yet, and
	// would serve on with this one.
	if err := a.listen.Close(); !errors.Is(err, net.ErrClosed) {
		failed = errors.Join(failed, err)
	}
	if !over {
		select {
		case err := <-served:
			if !errors.Is(err, net.ErrClosed) {
				failed = errors.Join(failed, err)
			}
		case <-end.Done():
		}
	}
	if admin != nil {
		failed = errors.Join(failed, admin.Close())
	}
	failed = errors.Join(failed, a.letters.close(), <-reports)
	a.session.Close()
	leave()
	if a.clock != nil {
		failed = errors.Join(failed, a.clock.note())
	}
	return errors.Join(failed, a.tenants.Close())
}

// Routes lists what the main listener answers, as "METHOD path", with fiber's
// parameters in the paths.
func (a *App) Routes() []string {
	var out []string
	for _, r := range a.fiber.GetRoutes(true) {
		out = append(out, r.Method+" "+r.Path)
	}
	return out
}

// ownHost refuses what browsers send to a listener of this machine alone under
// a name that somebody made to mean this machine: it bears that name.
func ownHost(at net.Addr, next http.Handler) http.Handler {
	tcp, ok := at.(*net.TCPAddr)
	if !ok || !tcp.IP.IsLoopback() {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		a, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if host != "localhost" && (err != nil || !a.Unmap().IsLoopback()) {
			http.Error(w, "not at this name", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// adminHandler serves what operators alone may see.
func (a *App) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(a.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /readyz", a.readiness)
	mux.Handle("POST /tenants/{tenant}/reopen", http.NewCrossOriginProtection().Handler(http.HandlerFunc(a.reopen)))
	mux.HandleFunc("GET /backup/{tenant}", a.backup)
	mux.HandleFunc("GET /backup/{tenant}/content/{digest}", a.backupContent)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// metrics counts what the server does; labels are routes and codes, never
// names of people or records.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
	sends    *prometheus.CounterVec
}

func newMetrics(a *App) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "satchel_request_seconds", Help: "Time to answer requests.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"route", "status"}),
		sends: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "satchel_sends_total", Help: "Attempts to tell somebody something, by channel and what came of them.",
		}, []string{"channel", "outcome"}),
	}
	gauge := func(name, help string, f func(*tenant.Tenant) float64) {
		kind := prometheus.GaugeValue
		if strings.HasSuffix(name, "_total") {
			kind = prometheus.CounterValue
		}
		m.registry.MustRegister(&perTenant{a, prometheus.NewDesc(name, help, []string{"tenant"}, nil), kind, f})
	}
	m.registry.MustRegister(&closedTenants{a.tenants, prometheus.NewDesc("satchel_tenant_closed",
		"1 for each tenant that is not served: stopped after a storage error, found damaged, or unopened.", []string{"tenant", "why"}, nil)})
	m.registry.MustRegister(m.requests, m.sends, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	gauge("satchel_entries_total", "Log entries appended.", func(t *tenant.Tenant) float64 { return float64(t.Stats.Entries.Load()) })
	gauge("satchel_commands_total", "Commands that went through the log.", func(t *tenant.Tenant) float64 { return float64(t.Stats.Commands.Load()) })
	gauge("satchel_pages_total", "Pages sent to devices.", func(t *tenant.Tenant) float64 { return float64(t.Stats.Pages.Load()) })
	gauge("satchel_wakes_total", "Live devices told to pull.", func(t *tenant.Tenant) float64 { return float64(t.Stats.Wakes.Load()) })
	gauge("satchel_live_devices", "Devices with a live socket.", func(t *tenant.Tenant) float64 { return float64(t.LiveCount()) })
	gauge("satchel_outbox_length", "Deliveries that are yet to be made.", func(t *tenant.Tenant) float64 { n, _ := backlog(t); return float64(n) })
	gauge("satchel_outbox_oldest_seconds", "For how long the oldest delivery has waited.", func(t *tenant.Tenant) float64 { _, age := backlog(t); return age })
	gauge("satchel_store_bytes", "Size of the tenant's file.", func(t *tenant.Tenant) float64 {
		n, err := t.Engine().Size()
		if err != nil {
			return -1
		}
		return float64(n)
	})
	columns := func(name, help string, f func(column.Stats) float64) {
		get := func() float64 { return f(a.tenants.columns.Stats()) }
		if strings.HasSuffix(name, "_total") {
			m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, get))
			return
		}
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, get))
	}
	columns("satchel_columns", "Columns of records in memory, for lists.", func(s column.Stats) float64 { return float64(s.Columns) })
	columns("satchel_columns_bytes", "Memory of columns.", func(s column.Stats) float64 { return float64(s.Bytes) })
	columns("satchel_columns_built_total", "Columns built.", func(s column.Stats) float64 { return float64(s.Built) })
	columns("satchel_columns_building_seconds_total", "Time spent building columns.", func(s column.Stats) float64 { return s.Building.Seconds() })
	columns("satchel_columns_refused_total", "Columns for which there was no room.", func(s column.Stats) float64 { return float64(s.Refused) })
	columns("satchel_columns_dropped_total", "Columns that made room for others.", func(s column.Stats) float64 { return float64(s.Dropped) })
	columns("satchel_columns_mistaken_total", "Times that columns disagreed with records; never, unless the program is wrong.",
		func(s column.Stats) float64 { return float64(s.Mistaken) })
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "satchel_clock_held", Help: "1 while the clock is far ahead and not followed.",
	}, func() float64 {
		if a.clock != nil && a.clock.Held() {
			return 1
		}
		return 0
	}))
	gauge("satchel_tenant_stopped", "1 where a storage error stopped the tenant.", func(t *tenant.Tenant) float64 {
		if t.Failed() != nil {
			return 1
		}
		return 0
	})
	return m
}

// sent counts an attempt to tell somebody something.
func (m *metrics) sent(channel, outcome string) { m.sends.WithLabelValues(channel, outcome).Inc() }

func (m *metrics) observe(c *fiber.Ctx) error {
	start := time.Now()
	err := c.Next()
	status := c.Response().StatusCode()
	if err != nil { // rendered after this; the status is known from the kind
		status = fault.Of(err).Code.Kind().Status()
		var fe *fiber.Error
		if errors.As(err, &fe) {
			status = fe.Code
		}
	}
	m.requests.WithLabelValues(c.Route().Path, strconv.Itoa(status)).Observe(time.Since(start).Seconds())
	return err
}

// perTenant is a metric with a value for each open tenant.
type perTenant struct {
	app  *App
	desc *prometheus.Desc
	kind prometheus.ValueType
	get  func(*tenant.Tenant) float64
}

func (p *perTenant) Describe(ch chan<- *prometheus.Desc) { ch <- p.desc }

func (p *perTenant) Collect(ch chan<- prometheus.Metric) {
	p.app.tenants.Each(func(t *tenant.Tenant) {
		ch <- prometheus.MustNewConstMetric(p.desc, p.kind, p.get(t), string(t.ID()))
	})
}
