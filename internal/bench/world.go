package bench

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"time"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/internal/refresh"
	"satchel/server/session/password"
	"satchel/server/session/token"
	"satchel/sync/apply"
	"satchel/sync/tenant"
)

// slug is the tenant's.
const slug = "bench"

const (
	publicAssets   = 10
	devicesPerUser = 10
	clientsPerArea = 4
	writers        = 64
	rowsPerImport  = 400
	importsAtOnce  = 16
)

// shape says how large a tenant is.
type shape struct {
	records, users int
	areas          int // of the records, 0 for as many as users
	devices        int // of each user
	fresh, all     int // devices that sync for the first time: of the users, of the manager
	// share is how many of the records lie in an area of their own, which one
	// more person has, with so many devices as shareDevices; 0 for none.
	share, shareDevices int
}

// world is what the clients know of the tenant.
type world struct {
	shape
	areas   []area // those of the first half have users, of nobody the others
	public  area
	share   area         // of the person after the users
	phones  [][]*account // by user
	fresh   []*account   // of one user after the other
	all     []*account   // of the manager
	writers []*account   // of the manager, without devices
	admin   *account
	people  []ident.RecordID
	hash    string // of everybody's password
}

type area struct {
	id     ident.RecordID
	assets []ident.RecordID
}

// account is a sign-in that took place earlier: its client comes back with
// the refresh token.
type account struct {
	refresh string
	access  string
	until   time.Time
	from    string // the address it comes from by a proxy's word, "" for its own
}

// key makes an id of the usual length.
func key(format string, args ...any) ident.RecordID {
	h := sha256.Sum256(fmt.Appendf(nil, format, args...))
	return ident.NewRecordID([15]byte(h[:15]))
}

func text(s string) json.RawMessage {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always can be rendered
	}
	return b
}

func row(typ string, id ident.RecordID, kv ...string) command.Row {
	f := command.Object{}
	for i := 0; i < len(kv); i += 2 {
		if strings.HasPrefix(kv[i+1], "[") {
			f[kv[i]] = json.RawMessage(kv[i+1])
			continue
		}
		f[kv[i]] = text(kv[i+1])
	}
	return command.Row{Type: typ, ID: id, Fields: f}
}

var makes = []string{"Rollfix 200", "Hydra lift", "Cold store 4", "Heat pump M", "Gate drive", "Compressor 7"}

// asset is one record; as its users see it, about 316 bytes of JSON.
func asset(id, client ident.RecordID, n int) command.Row {
	return row("asset", id,
		"client", string(client),
		"name", nameOf(n),
		"serial", serialOf(n),
		"notes", noteOf(n))
}

func nameOf(n int) string   { return fmt.Sprintf("%s no. %d", makes[n%len(makes)], n) }
func serialOf(n int) string { return fmt.Sprintf("SN-%08d", n*7919%100_000_000) }
func noteOf(n int) string   { return fmt.Sprintf("Level %d, by gate %d", n%9, n%31) }

// loader hands rows to the tenant, some commands at a time.
type loader struct {
	ctx  context.Context
	t    *tenant.Tenant
	rows []command.Row
	wait sync.WaitGroup
	room chan struct{}
	mu   sync.Mutex
	err  error
}

func (l *loader) add(rows ...command.Row) {
	for _, r := range rows {
		l.rows = append(l.rows, r)
		if len(l.rows) == rowsPerImport {
			l.send()
		}
	}
}

func (l *loader) send() {
	if len(l.rows) == 0 {
		return
	}
	c := &command.Command{Import: &command.Import{Rows: l.rows}}
	l.rows = nil
	l.submit(c)
}

func (l *loader) submit(c *command.Command) {
	l.room <- struct{}{}
	l.wait.Go(func() {
		defer func() { <-l.room }()
		res, err := l.t.Submit(l.ctx, c)
		if err == nil && len(res.Count.Rejected) > 0 {
			err = res.Count.Rejected[0].Err
		}
		if err != nil {
			l.mu.Lock()
			l.err = err
			l.mu.Unlock()
		}
	})
}

// flush waits for everything: what comes afterwards may refer to it.
func (l *loader) flush() error {
	l.send()
	l.wait.Wait()
	return l.err
}

// build fills an empty tenant. It returns how long the records took.
func build(ctx context.Context, t *tenant.Tenant, s shape) (*world, time.Duration, error) {
	hasher, err := password.New(password.Default, 0)
	if err != nil {
		return nil, 0, err
	}
	hash, err := hasher.Hash(ctx, rand.Text())
	if err != nil {
		return nil, 0, err
	}
	setup := &command.Setup{Name: "Ada Admin", Email: "admin@example.com", Employee: key("admin"), Hash: hash, Secret: make([]byte, 32)}
	t.Random(setup.Secret)
	if _, err := t.Submit(ctx, &command.Command{Setup: setup}); err != nil {
		return nil, 0, err
	}
	l := &loader{ctx: ctx, t: t, room: make(chan struct{}, importsAtOnce)}
	began := time.Now()
	w := plan(s)
	w.hash = hash
	if err := w.fill(l); err != nil {
		return nil, 0, err
	}
	took := time.Since(began)
	if err := w.staff(l); err != nil {
		return nil, 0, err
	}
	return w, took, w.signIns(l)
}

// plan names what a tenant of a shape has, whatever server it is in.
func plan(s shape) *world {
	if s.areas == 0 {
		s.areas = s.users
	}
	w := &world{shape: s, public: area{id: key("public")}}
	for n := range publicAssets {
		w.public.assets = append(w.public.assets, key("public asset %d", n))
	}
	perArea := (s.records - publicAssets - s.share) / s.areas
	of := func(id ident.RecordID, i, n int) area {
		a := area{id: id, assets: make([]ident.RecordID, n)}
		for k := range n {
			a.assets[k] = key("asset %d %d", i, k)
		}
		return a
	}
	for i := range s.areas {
		w.areas = append(w.areas, of(key("area %d", i), i, perArea))
	}
	users := s.users
	if s.share > 0 {
		w.share = of(key("share"), s.areas, s.share)
		users++
	}
	for u := range users {
		w.people = append(w.people, key("user %d", u))
	}
	return w
}

// record is an asset: whose it is, and its number, of which its text is made.
type record struct {
	id, client, area ident.RecordID
	n                int
}

// inOrder yields every record in the order in which a business grows: all areas
// at once, so that an area's records lie apart from each other.
func (w *world) inOrder() iter.Seq[record] {
	return func(yield func(record) bool) {
		for n, id := range w.public.assets {
			if !yield(record{id, key("public client"), w.public.id, n}) {
				return
			}
		}
		put := func(i, n int, a *area) bool {
			return yield(record{a.assets[n], key("client %d %d", i, n%clientsPerArea), a.id, n*len(w.areas) + i})
		}
		shared, perArea := 0, len(w.areas[0].assets)
		for n := range perArea {
			for i := range w.areas {
				if !put(i, n, &w.areas[i]) {
					return
				}
			}
			for ; shared < len(w.share.assets)*(n+1)/perArea; shared++ {
				if !put(len(w.areas), shared, &w.share) {
					return
				}
			}
		}
	}
}

func (w *world) fill(l *loader) error {
	l.add(row("salesArea", w.public.id, "name", "Everywhere"), row("geoArea", key("geo"), "name", "Middle"))
	for i := range w.areas {
		l.add(row("salesArea", w.areas[i].id, "name", areaName(i)))
	}
	if w.shape.share > 0 {
		l.add(row("salesArea", w.share.id, "name", "Share"))
	}
	if err := l.flush(); err != nil {
		return err
	}
	l.add(row("client", key("public client"), "name", "Head office", "salesArea", string(w.public.id)))
	clients := func(i int, a *area) {
		for j := range clientsPerArea {
			l.add(row("client", key("client %d %d", i, j), "name", fmt.Sprintf("Customer %d-%d", i, j),
				"salesArea", string(a.id), "street", fmt.Sprintf("High Street %d", j), "city", "Middletown"))
		}
	}
	for i := range w.areas {
		clients(i, &w.areas[i])
	}
	if w.shape.share > 0 {
		clients(len(w.areas), &w.share)
	}
	if err := l.flush(); err != nil {
		return err
	}
	for r := range w.inOrder() {
		l.add(asset(r.id, r.client, r.n))
	}
	return l.flush()
}

func areaName(i int) string { return fmt.Sprintf("Area %d", i) }
func userName(u int) string { return fmt.Sprintf("User %d", u) }

// areaOf is the area of a user, or of the person who has the share. Two users
// have one where there are as many areas as users.
func (w *world) areaOf(user int) *area {
	if user == w.users {
		return &w.share
	}
	return &w.areas[user*len(w.areas)/(2*w.users)]
}

// areasFor are a user's sales areas: the own one and the public one, or the
// public one alone.
func (w *world) areasFor(user int, own bool) []ident.RecordID {
	if !own {
		return []ident.RecordID{w.public.id}
	}
	return []ident.RecordID{w.areaOf(user).id, w.public.id}
}

// areasOf is areasFor as a JSON list.
func (w *world) areasOf(user int, own bool) string {
	b, err := json.Marshal(w.areasFor(user, own))
	if err != nil {
		panic(err) // strings always can be rendered
	}
	return string(b)
}

func (w *world) staff(l *loader) error {
	person := func(id ident.RecordID, name, role string, more ...string) {
		l.add(row("employee", id, append([]string{
			"name", name, "email", strings.ToLower(strings.ReplaceAll(name, " ", ".")) + "@example.com",
			"kind", "in-house", "status", "Active",
		}, more...)...))
		l.add(row("roleAssignment", key("role of %s", id), "employee", string(id), "role", role))
	}
	person(key("manager"), "Max Manager", "service.manager")
	ids := []ident.RecordID{key("manager")}
	for u, id := range w.people {
		person(id, userName(u), "service.sales-representative", "salesAreas", w.areasOf(u, true))
	}
	if err := l.flush(); err != nil {
		return err
	}
	for _, id := range append(ids, w.people...) {
		l.submit(&command.Command{Secret: &command.Secret{Employee: id, Hash: w.hash}})
	}
	return l.flush()
}

func (w *world) signIns(l *loader) error {
	s, err := newSignIns(l, slug, w.hash)
	if err != nil {
		return err
	}
	for i, id := range w.people {
		devices := w.shape.devices
		if i == w.users && w.shape.share > 0 {
			devices = w.shape.shareDevices
		}
		var own []*account
		for range devices {
			own = append(own, s.add(id, true))
		}
		w.phones = append(w.phones, own)
	}
	for i := range w.shape.fresh {
		// People see their own devices: few of each person's.
		w.fresh = append(w.fresh, s.add(w.people[i%len(w.people)], true))
	}
	manager := managerID()
	for range w.shape.all {
		w.all = append(w.all, s.add(manager, true))
	}
	for range writers {
		w.writers = append(w.writers, s.add(manager, false))
	}
	w.admin = s.add(adminID(), false)
	return errors.Join(s.failed, l.flush())
}

// signIns adds sign-ins to a tenant, without the passwords that they take.
type signIns struct {
	l      *loader
	tenant ident.TenantID
	hash   string
	key    token.RefreshKey
	n      int
	failed error
}

func newSignIns(l *loader, id ident.TenantID, hash string) (*signIns, error) {
	s := &signIns{l: l, tenant: id, hash: hash}
	return s, l.t.Read(func(v *tenant.View) error {
		s.key = token.RefreshKey(apply.DerivedKey(v.Reader, "refresh"))
		return nil
	})
}

// add signs a person in, on a device of its own or on none.
func (s *signIns) add(person ident.RecordID, device bool) *account {
	s.n++
	session := ident.SessionID(fmt.Sprintf("%s_session%d", s.tenant, s.n))
	var random [32]byte
	s.l.t.Random(random[:])
	first, err := s.key.NewRefresh(random, session)
	if err != nil {
		s.failed = err
		return nil
	}
	c := &command.Login{Employee: person, Credential: apply.CredentialDigest(s.hash), Session: session, First: refresh.Hash(first)}
	if device {
		c.Prefix = ident.NewPrefix([5]byte(random[:5]))
		c.Device = &command.Device{Installation: fmt.Sprintf("phone-%d", s.n), Incarnation: "1", Name: "Phone", Platform: "android"}
	}
	s.l.submit(&command.Command{Login: c})
	return &account{refresh: first}
}

func managerID() ident.RecordID { return key("manager") }
func adminID() ident.RecordID   { return key("admin") }
