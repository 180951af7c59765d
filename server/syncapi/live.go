package syncapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/internal/policy"
	"satchel/internal/strictjson"
	mobile "satchel/mobile-api/wire"
	"satchel/server/edge"
	"satchel/server/session/limit"
	"satchel/server/ws/upgrade"
	"satchel/sync/apply"
	"satchel/sync/tenant"
	"satchel/sync/wire"
)

// signInWait is how long a socket opened without an Authorization header may
// take to say who it is.
const signInWait = 10 * time.Second

// frame is what a client may send: the members of the body that its kind
// names.
type frame struct {
	Kind  string `json:"kind"`
	Token string `json:"token"`

	Checkpoint string       `json:"checkpoint"`
	Limit      *int         `json:"limit"`
	Profile    string       `json:"profile"`
	Window     *wire.Window `json:"window"`
	Pins       *[]wire.Ref  `json:"pins"`
	Schema     int          `json:"schema"`
	Reconcile  *wire.Types  `json:"reconcile"`
	Heal       []string     `json:"heal"`

	Acked     uint64            `json:"acked"`
	Now       string            `json:"now"`
	Mutations []json.RawMessage `json:"mutations"`
}

// members are what a frame of each kind may have beside its kind.
var members = map[string][]string{
	wire.KindAuth: {"token"},
	wire.KindAck:  {"checkpoint"},
	wire.KindPull: {"checkpoint", "limit", "profile", "window", "pins", "schema", "reconcile", "heal"},
	wire.KindPush: {"acked", "now", "schema", "mutations"},
}

// readFrame decodes a frame and refuses members of another kind's.
func readFrame(raw []byte) (*frame, error) {
	if cp, schema, ok := plainPull(raw); ok {
		return &frame{Kind: wire.KindPull, Checkpoint: string(cp), Schema: schema}, nil
	}
	if cp, ok := plainAck(raw); ok {
		return &frame{Kind: wire.KindAck, Checkpoint: string(cp)}, nil
	}
	return decodeFrame(raw)
}

// decodeFrame is readFrame for whatever frame it may be.
func decodeFrame(raw []byte) (*frame, error) {
	f := new(frame)
	if err := strictjson.Decode(raw, f); err != nil {
		return nil, err
	}
	allowed, known := members[f.Kind]
	if !known {
		return nil, fault.Newf(fault.BadParameter, "There is no frame kind %q.", f.Kind).OnField("kind")
	}
	fields, err := strictjson.Object(raw)
	if err != nil {
		return nil, err
	}
	for _, m := range fields {
		if m.Key != "kind" && !slices.Contains(allowed, m.Key) {
			return nil, fault.New(fault.UnknownField).OnField(m.Key)
		}
	}
	return f, nil
}

// plainPull reads the frame that most frames are, a pull with nothing but a
// checkpoint and perhaps a schema, as this program's own client writes it. ok is
// false for all others, whatever they are.
func plainPull(raw []byte) (checkpoint []byte, schema int, ok bool) {
	checkpoint, rest, ok := plainCheckpoint(raw, `{"kind":"pull","checkpoint":"`)
	if !ok {
		return nil, 0, false
	}
	if digits, some := bytes.CutPrefix(rest, []byte(`,"schema":`)); some {
		n := 0
		for n < len(digits) && n < 9 && digits[n] >= '0' && digits[n] <= '9' {
			schema = schema*10 + int(digits[n]-'0')
			n++
		}
		if n == 0 || digits[0] == '0' {
			return nil, 0, false
		}
		rest = digits[n:]
	}
	return checkpoint, schema, string(rest) == "}"
}

// plainAck reads an ack frame as this program's own client writes it.
func plainAck(raw []byte) (checkpoint []byte, ok bool) {
	checkpoint, rest, ok := plainCheckpoint(raw, `{"kind":"ack","checkpoint":"`)
	return checkpoint, ok && string(rest) == "}"
}

// plainCheckpoint reads a short frame that begins with prefix and then has a
// checkpoint as JSON without anything escaped; rest is what stands behind that.
func plainCheckpoint(raw []byte, prefix string) (checkpoint, rest []byte, ok bool) {
	const longest = 512
	rest, ok = bytes.CutPrefix(raw, []byte(prefix))
	if !ok || len(raw) > longest {
		return nil, nil, false
	}
	end := bytes.IndexByte(rest, '"')
	if end < 0 {
		return nil, nil, false
	}
	for _, c := range rest[:end] {
		if c < ' ' || c > '~' || c == '\\' {
			return nil, nil, false
		}
	}
	return rest[:end], rest[end+1:], true
}

// lives are the live connections by device, so that a pull over HTTP can tell
// the socket that it no longer knows what the device has.
type lives struct {
	mu     sync.Mutex
	of     map[liveKey]*liveConn
	people map[personKey]int // connections
}

type personKey struct {
	tenant *tenant.Tenant
	person ident.RecordID
}

// liveKey names a device; ids are a tenant's own.
type liveKey struct {
	tenant *tenant.Tenant
	device ident.DeviceID
}

// join adds a connection, unless its person has most already. One that takes
// over another of its device has that one's place.
func (l *lives) join(c *liveConn, most int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of, l.people = map[liveKey]*liveConn{}, map[personKey]int{}
	}
	k, who := liveKey{c.caller.Tenant, c.caller.Device}, personKey{c.caller.Tenant, c.caller.Employee}
	if l.of[k] == nil {
		if l.people[who] >= most {
			return false
		}
		l.people[who]++
	}
	l.of[k] = c
	return true
}

func (l *lives) part(c *liveConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k := (liveKey{c.caller.Tenant, c.caller.Device}); l.of[k] == c {
		delete(l.of, k)
		who := personKey{c.caller.Tenant, c.caller.Employee}
		if l.people[who]--; l.people[who] <= 0 {
			delete(l.people, who)
		}
	}
}

// strangers counts the sockets that have not signed in, by their addresses:
// whoever opens many of them must not use up the places of those who have.
type strangers struct {
	mu    sync.Mutex
	all   int
	sites map[string]int
}

// sitesTogether is how many addresses' worth of strangers there are at most.
const sitesTogether = 16

// Defaults of Server.PersonSockets and Server.SiteStrangers.
const (
	defaultPersonSockets = 32
	defaultSiteStrangers = 64
)

func (s *strangers) enter(site string, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sites == nil {
		s.sites = map[string]int{}
	}
	if s.sites[site] >= most || s.all >= sitesTogether*most {
		return false
	}
	s.sites[site]++
	s.all++
	return true
}

func (s *strangers) leave(site string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.sites[site]--; s.sites[site] <= 0 {
		delete(s.sites, site)
	}
}

// overtake notes that a device pulls over HTTP.
func (l *lives) overtake(caller *edge.Caller) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.of[liveKey{caller.Tenant, caller.Device}]; c != nil {
		c.overtaken.Store(true)
	}
}

func (f *frame) pull() *wire.Pull {
	return &wire.Pull{
		Checkpoint: f.Checkpoint, Limit: f.Limit, Profile: f.Profile, Window: f.Window, Pins: f.Pins,
		Schema: f.Schema, Reconcile: f.Reconcile, Heal: f.Heal,
	}
}

func (s *Server) live(c *fiber.Ctx) error {
	if err := edge.Speak(c); err != nil {
		return err
	}
	wants := preferences{changes: edge.Prefers(c, mobile.PreferChanges), deferred: edge.Prefers(c, mobile.PreferDeferred)}
	if c.Get(fiber.HeaderAuthorization) != "" {
		caller, err := s.Auth.Caller(c)
		if err == nil {
			caller, err = s.admitInTurn(caller, nil)
		}
		if err != nil {
			return err
		}
		return s.Sockets.Upgrade(c, func(conn *upgrade.Conn) { s.serve(conn, caller, wants) })
	}
	site := limit.Site(s.Auth.Address(c))
	return s.Sockets.Upgrade(c, func(conn *upgrade.Conn) {
		// Counted here and not before: an upgrade that comes to nothing would
		// never be taken off the count.
		if !s.strangers.enter(site, s.SiteStrangers) {
			conn.Close(closeTryLater, string(fault.TooManyRequests))
			return
		}
		caller, ok := s.signIn(conn)
		s.strangers.leave(site)
		if ok {
			s.serve(conn, caller, wants)
		}
	})
}

// closeTryLater is the WebSocket code for a server that takes no more for now.
const closeTryLater = 1013

// admit checks that a caller's session lives and bears a device.
func (s *Server) admit(caller *edge.Caller, err error) (*edge.Caller, error) {
	if err != nil {
		return nil, err
	}
	if caller.Device == "" {
		return nil, fault.New(fault.DeviceRequired)
	}
	return caller, caller.Read(func(*tenant.View, *policy.Subject) error { return nil })
}

// admitInTurn is admit for those who come to stay: many may at once.
func (s *Server) admitInTurn(caller *edge.Caller, done <-chan struct{}) (*edge.Caller, error) {
	if !s.signIns.enter(caller.Tenant, done) {
		return nil, errGone
	}
	defer s.signIns.leave(caller.Tenant)
	return s.admit(caller, nil)
}

// serve speaks with one device. The goroutine that calls it reads, so that a
// phone that is slow to take pages is still heard, and is the only one that an
// idle device has; what is to be done for the device is done by work.
func (s *Server) serve(conn *upgrade.Conn, caller *edge.Caller, wants preferences) {
	l := &liveConn{s: s, conn: conn, caller: caller, preferences: wants, unchecked: true, arriving: true}
	l.expires.Store(int64(caller.Expires))
	// Set with a period that never passes and started afterwards: expire uses
	// the field itself.
	l.expiry = time.AfterFunc(time.Hour, l.expire)
	defer l.expiry.Stop()
	if !s.lives.join(l, s.PersonSockets) {
		conn.Close(closeTryLater, string(fault.TooManyRequests))
		return
	}
	defer s.lives.part(l)
	l.live = caller.Tenant.Follow(caller.Session, caller.Device, caller.Employee, l)
	defer caller.Tenant.Part(l.live)
	l.expiry.Reset(l.patience())
	l.start() // the check
	l.read()
	if p := l.finish(); p != nil {
		panic(p) // the registry looks after it
	}
}

// signIn takes the first frame of a browser, which can't set headers.
func (s *Server) signIn(conn *upgrade.Conn) (*edge.Caller, bool) {
	timer := time.AfterFunc(signInWait, func() { conn.Close(wire.CloseExpired, "no sign-in") })
	defer timer.Stop()
	conn.SetReadLimit(8 << 10)
	raw, err := conn.ReadJSONFrame()
	if err != nil {
		return nil, false
	}
	conn.SetReadLimit(upgrade.DefaultReadLimit)
	f, err := readFrame(raw)
	if err != nil || f.Kind != wire.KindAuth {
		conn.Close(wire.CloseExpired, "the first frame must be auth")
		return nil, false
	}
	caller, err := s.Auth.Verify(f.Token)
	if err == nil {
		caller, err = s.admitInTurn(caller, conn.Done())
	}
	if err != nil {
		closeFor(conn, err)
		return nil, false
	}
	return caller, true
}

// closeFor ends a connection whose sign-in counts for nothing.
func closeFor(conn *upgrade.Conn, err error) {
	f := fault.Of(err)
	switch f.Code {
	case fault.TokenExpired:
		conn.Close(wire.CloseExpired, string(f.Code))
	case fault.SessionRevoked, fault.DeviceRevoked, fault.InvalidToken:
		conn.Close(wire.CloseRevoked, string(f.Code))
	default:
		conn.Close(1008, string(f.Code))
	}
}

// liveConn is one device being served. It has a goroutine beside the one that
// reads only while there is something to do, and no more than one: what it does
// is done in order.
type liveConn struct {
	s      *Server
	conn   *upgrade.Conn
	caller *edge.Caller
	live   *tenant.Live
	preferences

	expires atomic.Int64 // ident.Millis, of the newest access token
	expiry  *time.Timer

	mu        sync.Mutex
	busy      bool          // work runs; what is said to be its own belongs to it, and to mu while it does not run
	unchecked bool          // whether the session lives is to be looked at
	expired   bool          // the access token has
	marked    bool          // something happened that may bring the device a page
	raw       []byte        // the frame to be handled next
	heard     bool          // the last thing done was to handle a frame
	awaited   *request      // of a device that arrives, to be answered before anything else is done
	moved     chan struct{} // closed when raw was taken and when work ends; nil where nobody waits
	panicked  any           // what work ended with

	// Of work: the checkpoint the device last named, whether it has pulled,
	// whether a page is on its way, and whether the device has not yet been
	// brought up to date.
	checkpoint string
	started    bool
	inflight   bool
	arriving   bool
	// settled is the checkpoint of the page that was sent last, if the device has
	// nothing more to pull once it has that, as far as is known; schema is what it
	// said last of its own.
	settled string
	schema  int
	// unconfirmed are the checkpoints of the pages that were sent last, of which the
	// server took for granted that they are applied.
	unconfirmed []string

	// rules is the version of the person's rules that the device was told here.
	rules string

	// overtaken: the device has pulled over HTTP since its last pull here, so
	// checkpoint may not be its own any more.
	overtaken atomic.Bool
}

// preferences of a device.
type preferences struct {
	changes  bool // the changed fields alone
	deferred bool // to acknowledge later what nothing waits for
}

// maxUnconfirmed is how many pages a device is sent before it has to say that it
// has them: what waits in the network is old when it comes.
const maxUnconfirmed = 8

// request is a pull that a device waits for, where answer is set also for a page
// with nothing to apply.
type request struct {
	pull   *wire.Pull
	answer bool
}

// Dirty implements tenant.Listener.
func (l *liveConn) Dirty() {
	l.mu.Lock()
	l.marked = true
	l.mu.Unlock()
	l.start()
}

// Offer implements tenant.Taker.
func (l *liveConn) Offer(c *command.Command) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed() {
		return false
	}
	l.marked = true
	if l.busy {
		return false
	}
	if !l.idle() {
		if l.todo() != nil {
			l.busy = true
			go l.work()
		}
		return false
	}
	l.busy, l.marked, l.heard = true, false, false
	p := c.Pull
	*c = *l.caller.Command()
	c.Pull, p.Checkpoint, p.Changes = p, l.checkpoint, l.changes
	return true
}

// idle reports whether the device has no more to do than to take a page, and it
// is known from where. The caller holds mu, and work does not run.
func (l *liveConn) idle() bool {
	return l.started && !l.inflight && !l.arriving && !l.unchecked && !l.expired && l.awaited == nil && l.raw == nil &&
		!l.overtaken.Load() && l.good() == nil
}

// Decline implements tenant.Taker.
func (l *liveConn) Decline() {
	l.mu.Lock()
	l.marked = true
	l.mu.Unlock()
	go l.work()
}

// Take implements tenant.Taker. What there is to do afterwards work does: others
// wait here for their pages.
func (l *liveConn) Take(page tenant.Encoded, err error) {
	defer func() {
		if p := recover(); p != nil {
			l.conn.Close(1011, "internal error")
			l.rest(p)
		}
	}()
	if err = l.take(page, err); err != nil && !l.failed(err) {
		l.rest(nil)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed() && l.todo() != nil {
		go l.work()
		return
	}
	l.busy = false
	l.tell()
}

func (l *liveConn) take(page tenant.Encoded, err error) error {
	if err != nil {
		return err
	}
	body, err := l.members(page, 0, false)
	if err != nil || body == nil {
		return err
	}
	return l.send(wire.KindPage, body)
}

// Ended implements tenant.Listener: the connection is closed at once, whatever
// is under way.
func (l *liveConn) Ended(code int) {
	if !mutant.On(mutant.SocketStays) {
		l.conn.Close(code, endText(code))
	}
}

// maxExpiryWait bounds how long the expiry of a token is waited for at a time,
// so that a clock that is set is noticed.
const maxExpiryWait = 30 * time.Second

func (l *liveConn) patience() time.Duration { return min(max(l.left(), 0), maxExpiryWait) }

// expire looks whether the access token has expired. A device for which
// something is being done may be slow to take it: it is not waited for.
func (l *liveConn) expire() {
	if l.closed() {
		return
	}
	if l.good() == nil {
		l.expiry.Reset(l.patience())
		return
	}
	l.mu.Lock()
	l.expired = true
	busy := l.busy
	l.mu.Unlock()
	if busy {
		l.conn.Close(wire.CloseExpired, string(fault.TokenExpired))
		return
	}
	l.start()
}

func (l *liveConn) closed() bool {
	select {
	case <-l.conn.Done():
		return true
	default:
		return false
	}
}

// read takes frames, one ahead of what is being done: a device that sends
// faster than it is served waits.
func (l *liveConn) read() {
	for {
		raw, err := l.conn.ReadJSONFrame()
		if err != nil {
			return
		}
		if l.settles(raw) {
			continue
		}
		l.mu.Lock()
		l.raw = raw
		l.mu.Unlock()
		l.start()
		if !l.taken() {
			return
		}
	}
}

// settles takes the frame that follows nearly every page: the device has it, and
// there is nothing more for it. What hear would do about that costs less than to
// have it done by work. It is false where there is more to do than that, and then
// has done nothing.
func (l *liveConn) settles(raw []byte) bool {
	checkpoint, schema, ok := plainPull(raw)
	if !ok {
		return l.confirms(raw)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy || l.unchecked || l.expired || l.awaited != nil || l.marked || !l.started || l.overtaken.Load() || l.closed() {
		return false
	}
	if l.settled == "" || string(checkpoint) != l.settled || schema != l.schema || l.good() != nil && !mutant.On(mutant.SettlesExpired) {
		return false
	}
	if _, ok := l.s.Auth.Take(limit.Sync, 1, l.caller); !ok {
		return false
	}
	l.checkpoint, l.settled, l.inflight, l.heard = l.settled, "", false, true
	l.unconfirmed = l.unconfirmed[:0]
	return true
}

// confirms is settles for a frame that says only that the device has pages.
func (l *liveConn) confirms(raw []byte) bool {
	checkpoint, ok := plainAck(raw)
	if !ok {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy || l.expired || l.unchecked || l.closed() || l.good() != nil {
		return false
	}
	if _, ok := l.s.Auth.Take(limit.Sync, 1, l.caller); !ok {
		return false
	}
	l.confirm(string(checkpoint))
	l.heard = true
	return true
}

// confirm notes that the device has the page, and those before it. One that is not
// among them it had confirmed before, or pulled since. It is work's, or is called
// with mu while that does not run.
func (l *liveConn) confirm(checkpoint string) {
	if i := slices.Index(l.unconfirmed, checkpoint); i >= 0 {
		l.unconfirmed = slices.Delete(l.unconfirmed, 0, i+1)
	}
}

// taken waits until the frame is being handled. It is false where the
// connection ends first.
func (l *liveConn) taken() bool {
	for {
		l.mu.Lock()
		if l.raw == nil {
			l.mu.Unlock()
			return true
		}
		moved := l.change()
		l.mu.Unlock()
		select {
		case <-moved:
		case <-l.conn.Done():
			return false
		}
	}
}

// finish waits for the end of work once the connection is closed and returns
// what it panicked with, nil for nothing.
func (l *liveConn) finish() any {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.busy {
		moved := l.change()
		l.mu.Unlock()
		<-moved
		l.mu.Lock()
	}
	return l.panicked
}

// change is closed when raw was taken or work ends. The caller holds mu.
func (l *liveConn) change() <-chan struct{} {
	if l.moved == nil {
		l.moved = make(chan struct{})
	}
	return l.moved
}

// tell ends the waiting for change. The caller holds mu.
func (l *liveConn) tell() {
	if l.moved != nil {
		close(l.moved)
		l.moved = nil
	}
}

// start has work done if there is any, unless it is under way.
func (l *liveConn) start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy || l.closed() || l.todo() == nil {
		return
	}
	l.busy = true
	go l.work()
}

// work does what there is to do. What it panics with goes on in the goroutine
// that reads: in this one it would end the process.
func (l *liveConn) work() {
	defer func() {
		if p := recover(); p != nil {
			l.conn.Close(1011, "internal error")
			l.rest(p)
		}
	}()
	for do := l.next(); do != nil; do = l.next() {
		err := do(l)
		if errors.Is(err, errAfresh) {
			go l.work()
			return
		}
		if err != nil && !l.failed(err) {
			l.rest(nil)
			return
		}
	}
}

// errAfresh has the work go on in a new goroutine: what may have to wait for
// long does so on a small stack.
var errAfresh = errors.New("syncapi: go on in another goroutine")

// rest notes that work ended, of its own accord or by a panic.
func (l *liveConn) rest(panicked any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy, l.panicked = false, panicked
	l.tell()
}

// next returns what to do next. Where that is nothing work has ended: what comes
// afterwards starts it again.
func (l *liveConn) next() func(*liveConn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed() {
		if do := l.todo(); do != nil {
			return do
		}
	}
	l.busy = false
	l.tell()
	return nil
}

// todo chooses what to do next, nil for nothing. A device that sends frame
// after frame does not keep itself from what happened, nor the other way about.
// The caller holds mu.
func (l *liveConn) todo() func(*liveConn) error {
	due := l.marked && l.started && !l.inflight
	switch {
	case l.unchecked:
		return (*liveConn).check
	case l.expired:
		return (*liveConn).lapse
	case l.awaited != nil:
		return (*liveConn).arrive
	case due && (l.heard || l.raw == nil):
		return (*liveConn).news
	case l.raw != nil:
		return (*liveConn).hear
	}
	return nil
}

// check notices what ended the session before the device was followed; what
// ends it afterwards is told.
func (l *liveConn) check() error {
	l.mu.Lock()
	l.unchecked = false
	l.mu.Unlock()
	if _, err := l.s.admit(l.caller, nil); err != nil {
		closeFor(l.conn, err)
	}
	return nil
}

// lapse refuses an access token that has expired.
func (l *liveConn) lapse() error {
	l.mu.Lock()
	l.expired = false
	l.mu.Unlock()
	l.expiry.Reset(l.patience()) // where it was renewed meanwhile
	return l.good()
}

// hear handles a frame.
func (l *liveConn) hear() error {
	l.mu.Lock()
	raw := l.raw
	l.raw, l.heard = nil, true
	l.tell()
	l.mu.Unlock()
	f, err := readFrame(raw)
	if err != nil {
		l.problem(err)
		l.conn.Close(1008, "a frame can't be read")
		return nil
	}
	if f.Kind == wire.KindAuth {
		return l.renew(f.Token)
	}
	if !l.pace(1, limit.Sync) {
		return errGone
	}
	if err := l.good(); err != nil {
		return err
	}
	return l.frame(f)
}

// news sends what something that happened brings the device.
func (l *liveConn) news() error {
	l.mu.Lock()
	l.marked, l.heard = false, false
	l.mu.Unlock()
	if err := l.good(); err != nil {
		return err
	}
	return l.page()
}

func endText(code int) string {
	switch code {
	case wire.CloseRevoked:
		return string(fault.SessionRevoked)
	case wire.CloseSuperseded:
		return "superseded"
	}
	return "going away"
}

// maxPace bounds how long a token of the quotas is waited for at a time.
const maxPace = time.Second

// pace waits until the person's and the device's quotas have n tokens of the
// class: a device that sends too much is heard as slowly as it may send, and
// what it has sent meanwhile waits on its side. It reports whether the
// conversation goes on.
func (l *liveConn) pace(n int, class limit.Class) bool {
	for {
		wait, ok := l.s.Auth.Take(class, n, l.caller)
		if ok {
			return true
		}
		timer := time.NewTimer(min(wait, maxPace))
		select {
		case <-timer.C:
			if err := l.good(); err != nil {
				return l.failed(err)
			}
		case <-l.conn.Done():
			timer.Stop()
			return false
		}
	}
}

// errGone says that the conversation ended while its device was being held up.
var errGone = &upgrade.CloseError{Code: closeTryLater}

// good refuses once the access token has expired.
func (l *liveConn) good() error {
	if l.left() <= 0 && !mutant.On(mutant.ServeExpired) {
		return fault.New(fault.TokenExpired)
	}
	return nil
}

// left is how long the access token is still good.
func (l *liveConn) left() time.Duration {
	return time.Duration(l.expires.Load()-int64(ident.MillisOf(l.s.Auth.Clock()))) * time.Millisecond
}

// renew takes a fresh access token of the same session.
func (l *liveConn) renew(tok string) error {
	caller, err := l.s.admit(l.s.Auth.Verify(tok))
	if err != nil {
		return err
	}
	if caller.Session != l.caller.Session || caller.Tenant != l.caller.Tenant {
		return fault.Newf(fault.InvalidToken, "The access token is of another session.")
	}
	l.expires.Store(int64(caller.Expires))
	l.expiry.Reset(l.patience())
	return nil
}

func (l *liveConn) frame(f *frame) error {
	switch f.Kind {
	case wire.KindPull:
		first := !l.started
		l.mu.Lock() // what happened until now the page will have
		quiet := !l.marked
		l.started, l.inflight, l.marked = true, false, false
		l.mu.Unlock()
		asks := first || f.Profile != "" || f.Window != nil || f.Pins != nil || f.Heal != nil || f.Reconcile != nil
		settled := l.settled != "" && f.Checkpoint == l.settled && f.Schema == l.schema
		overtaken := l.overtaken.Swap(false)
		l.checkpoint, l.settled, l.schema = f.Checkpoint, "", f.Schema
		l.unconfirmed = l.unconfirmed[:0]
		if settled && quiet && !overtaken && !asks {
			return nil // the answer would be that there is nothing, which is not sent
		}
		return l.answer(f.pull(), asks)
	case wire.KindAck:
		l.confirm(f.Checkpoint)
		return nil
	case wire.KindPush:
		raw, err := json.Marshal(pushBody{Acked: f.Acked, Now: f.Now, Schema: f.Schema, Mutations: f.Mutations})
		if err != nil {
			return err
		}
		on := true
		res, err := push(context.Background(), l.caller, raw, func(n int) bool { on = l.pace(n, limit.Changes); return on })
		if !on {
			return errGone
		}
		if err != nil {
			return err
		}
		body, err := json.Marshal(res)
		if err != nil {
			return err
		}
		return l.send(wire.KindResults, body)
	}
	return fault.New(fault.BadParameter).OnField("kind")
}

// page sends what has become due for the device, which did not ask for it.
func (l *liveConn) page() error {
	if !l.overtaken.Load() {
		return l.pull(&wire.Pull{Checkpoint: l.checkpoint}, false)
	}
	// From a checkpoint that the device has left behind, the next page would
	// be a reset. This one only says that there is more, for it to ask.
	body, err := json.Marshal(wire.Page{
		From: l.checkpoint, Checkpoint: l.checkpoint, Removed: []wire.Ref{}, Records: []wire.Record{}, More: true,
	})
	if err != nil {
		return err
	}
	l.inflight = true
	return l.send(wire.KindPage, body)
}

// answer answers a pull. Devices that arrive take turns at having their pages
// computed, not at taking them: one that is slow holds up nobody.
func (l *liveConn) answer(w *wire.Pull, anyway bool) error {
	if !l.arriving {
		return l.pull(w, anyway)
	}
	l.mu.Lock()
	l.awaited = &request{w, anyway}
	l.mu.Unlock()
	return errAfresh
}

// arrive answers the pull of a device that arrives, when it is its turn.
func (l *liveConn) arrive() error {
	l.mu.Lock()
	r := l.awaited
	l.awaited = nil
	l.mu.Unlock()
	body, err := l.computeInTurn(r.pull, r.answer)
	if err != nil || body == nil {
		return err
	}
	return l.send(wire.KindPage, body)
}

// pull computes and sends the next page. A page with nothing to apply is sent
// only where an answer is waited for.
func (l *liveConn) pull(w *wire.Pull, answer bool) error {
	body, err := l.compute(w, answer)
	if err != nil || body == nil {
		return err
	}
	return l.send(wire.KindPage, body)
}

func (l *liveConn) computeInTurn(w *wire.Pull, answer bool) ([]byte, error) {
	if !l.s.arrivals.enter(l.caller.Tenant, l.conn.Done()) {
		return nil, errGone
	}
	defer l.s.arrivals.leave(l.caller.Tenant)
	if err := l.good(); err != nil {
		return nil, err // it has waited
	}
	return l.compute(w, answer)
}

// compute makes the frame's members of the next page, nil where it is not to be
// sent.
func (l *liveConn) compute(w *wire.Pull, answer bool) ([]byte, error) {
	p, err := pullCommand(w)
	if err != nil {
		return nil, err
	}
	p.Changes = l.changes
	cmd := l.caller.Command()
	cmd.Pull = p
	told := apply.ToldSmall
	if answer {
		told = apply.ToldAll
	}
	page, err := l.caller.Tenant.Pull(context.Background(), cmd, told)
	if err != nil {
		return nil, err
	}
	return l.members(page, w.Schema, answer)
}

// members makes the frame's members of a page for a device that said the schema,
// 0 for none, nil where it is not to be sent.
func (l *liveConn) members(page tenant.Encoded, schema int, answer bool) ([]byte, error) {
	if err := l.good(); err != nil { // it may tell of what happened since the token was looked at
		return nil, err
	}
	// A page that brings nothing else goes out where the rules are others: what
	// the person may do can change with no record.
	rules := ""
	if !page.More {
		var err error
		if rules, err = l.rulesNews(); err != nil {
			return nil, err
		}
	}
	if page.Empty && !answer && rules == "" {
		return nil, nil
	}
	words, err := speaks(l.caller, schema)
	if err != nil {
		return nil, err
	}
	body, err := words.page(page.JSON)
	if err != nil {
		return nil, err
	}
	if answer && !page.More {
		if body, err = withLease(l.caller, body); err != nil {
			return nil, err
		}
	}
	if rules != "" {
		body = appendRules(body, rules)
	}
	l.inflight, l.arriving = !page.Empty, l.arriving && page.More
	if !page.Empty && !mutant.On(mutant.SettledByOthers) {
		l.settled = ""
	}
	if page.Ahead {
		l.settled = page.Checkpoint
		if l.deferred && !answer && len(l.unconfirmed) < maxUnconfirmed {
			// The next page goes on from this one. A device that does not apply it does
			// not apply that either, and says from where it wants to go on.
			l.unconfirmed = append(l.unconfirmed, page.Checkpoint)
			l.checkpoint, l.inflight = page.Checkpoint, false
			body = append(body[:len(body)-1], `,"ack":"`+wire.AckDeferred+`"}`...)
		}
	}
	return body, nil
}

// framed are what frames are put together in. They are as large as pages, and
// needed while one is written only.
var framed = sync.Pool{New: func() any { return new([]byte) }}

// maxFramed bounds the frames whose memory is kept, in bytes.
const maxFramed = 1 << 20

// send writes a frame: the body's members beside its kind.
func (l *liveConn) send(kind string, body []byte) error {
	own := framed.Get().(*[]byte) //nolint:forcetypeassert // the pool's own
	defer func() {
		if cap(*own) <= maxFramed {
			framed.Put(own)
		}
	}()
	b := slices.Grow((*own)[:0], len(body)+len(kind)+10)
	b = append(b, `{"kind":"`...)
	b = append(b, kind...)
	b = append(b, `",`...)
	b = append(b, body[1:]...)
	*own = b
	return l.conn.Write(context.Background(), b)
}

func (l *liveConn) problem(err error) {
	f := fault.Of(err)
	p := wire.Problem{
		Type: "about:blank", Title: f.Code.Text(), Status: f.Code.Kind().Status(), Code: string(f.Code), Detail: f.Message, Field: f.Field,
	}
	p.Wipe, _ = f.Extra["wipe"].(bool)
	body, merr := json.Marshal(p)
	if merr == nil {
		_ = l.send(wire.KindError, body) // the connection's end is noticed by the reader
	}
}

// failed tells the device what was refused; it reports whether the
// conversation goes on.
func (l *liveConn) failed(err error) bool {
	var ce *upgrade.CloseError
	if errors.As(err, &ce) {
		return false
	}
	l.problem(err)
	f := fault.Of(err)
	switch f.Code.Kind() {
	case fault.Unauthenticated:
		closeFor(l.conn, err)
		return false
	case fault.Internal, fault.Unavailable:
		l.conn.Close(closeTryLater, string(f.Code))
		return false
	}
	if f.Code == fault.DeviceRevoked {
		closeFor(l.conn, err)
		return false
	}
	l.inflight = false
	return true
}
