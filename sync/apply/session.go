package apply

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"sync"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/internal/policy"
	"satchel/internal/refresh"
	"satchel/sync/audit"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/subject"
	"satchel/sync/wire"
)

// How long a session lasts, in milliseconds: whatever happens, and unused.
const (
	SessionLifetime ident.Millis = 180 * 24 * 60 * 60 * 1000
	SessionIdle     ident.Millis = 60 * 24 * 60 * 60 * 1000
)

const (
	closeRevoked    = wire.CloseRevoked
	closeSuperseded = wire.CloseSuperseded
	deviceRevoked   = "Revoked"
	deviceActive    = "Active"
)

// Session is one sign-in.
type Session struct {
	Employee ident.RecordID `json:"employee"`
	Device   ident.DeviceID `json:"device,omitempty"`
	Family   refresh.Family `json:"family"`
	// Strong: it was opened with a second factor, or an identity provider
	// vouched for the person.
	Strong bool `json:"strong,omitempty"`
}

// Ended reports whether the session counts for nothing at the instant.
func (s *Session) Ended(now ident.Millis) bool {
	return s.Family.Revoked || now >= s.Family.ExpiresAt || now >= s.Family.IdleExpiresAt
}

// sessionKept is how long a session that is over is remembered, in
// milliseconds, so that a late use of its tokens is told apart from nonsense.
const sessionKept ident.Millis = 30 * 24 * 60 * 60 * 1000

// The Sessions bucket: 's' session id -> Session as JSON; 'e' employee id, 0,
// session id -> nothing; 't' instant, session id -> nothing, for the sweep. What
// it holds of invitations stands at invitationRow.
func sessionRow(id ident.SessionID) []byte { return append([]byte{'s'}, id...) }

func employeeSessions(id ident.RecordID) []byte { return append(append([]byte{'e'}, id...), 0) }

// ReadSession returns a session, ended ones included until they are swept.
func ReadSession(rd *state.Reader, id ident.SessionID) (Session, bool) {
	var s Session
	v := rd.KV().Get(store.Sessions, sessionRow(id))
	if v == nil || json.Unmarshal(v, &s) != nil {
		return Session{}, false
	}
	return s, true
}

// SessionCache remembers how rows of sessions read: every request reads one, few
// change. It goes by what the rows say, so that it is never behind.
type SessionCache struct {
	mu sync.Mutex
	of map[ident.SessionID]readSession
}

// readSession is a session and the hash of the row that says so.
type readSession struct {
	row [sha256.Size]byte
	s   Session
}

// maxCachedSessions bounds a cache; a full one begins anew.
const maxCachedSessions = 20_000

// Read is [ReadSession].
func (c *SessionCache) Read(rd *state.Reader, id ident.SessionID) (Session, bool) {
	v := rd.KV().Get(store.Sessions, sessionRow(id))
	if v == nil {
		return Session{}, false
	}
	row := sha256.Sum256(v)
	c.mu.Lock()
	defer c.mu.Unlock()
	if got, ok := c.of[id]; ok && got.row == row {
		return got.s, true
	}
	var s Session
	if json.Unmarshal(v, &s) != nil {
		return Session{}, false
	}
	if c.of == nil || len(c.of) >= maxCachedSessions {
		c.of = map[ident.SessionID]readSession{}
	}
	c.of[id] = readSession{row, s}
	return s, true
}

func (r *run) putSession(id ident.SessionID, s Session) {
	r.w.Put(store.Sessions, sessionRow(id), encode(s))
}

// encode renders a row as JSON; the types it is used with always can be.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// Login answers a sign-in.
type Login struct {
	Employee ident.RecordID
	Session  ident.SessionID
	Device   ident.DeviceID
	Prefix   string
}

// Credential returns an employee's stored password hash, "" for none.
func Credential(rd *state.Reader, employee ident.RecordID) string {
	return string(rd.KV().Get(store.Credentials, []byte(employee)))
}

// CredentialDigest names a stored hash without telling it.
func CredentialDigest(stored string) string {
	h := sha256.Sum256([]byte(stored))
	return hex.EncodeToString(h[:])
}

// FindEmployee returns the active employee with the e-mail address, as the
// edge needs it to check a password.
func FindEmployee(rd *state.Reader, email string) (ident.RecordID, bool) {
	t := rd.Cat.Type(subject.Employee)
	for _, o := range rd.Named(t, "email", email) {
		if e, ok := rd.LoadOrd(o); ok && e.StatusText() == subject.Active {
			return e.ID, true
		}
	}
	return "", false
}

func (r *run) login(l *command.Login) Result {
	emp, err := r.proven(l)
	if err != nil {
		return Result{Err: err}
	}
	// The identity provider asked for what it demands.
	strong := l.Identity != nil
	if !strong {
		if strong, err = r.pass(emp, l); err != nil {
			return Result{Err: err}
		}
	}
	if l.Rehash != "" {
		r.w.Put(store.Credentials, []byte(l.Employee), []byte(l.Rehash))
	}
	out := &Login{Employee: l.Employee, Session: l.Session}
	row := r.concerning(audit.SignIn, l.Employee)
	row.Actor, row.Session = l.Employee, l.Session
	if l.Device != nil {
		last := r.w.LastOrdinal()
		d, err := r.device(l)
		if err != nil {
			return Result{Err: err}
		}
		if row.Device = d.ID; d.Ord > last {
			row.Name = "device"
		}
		out.Device, out.Prefix = d.ID, d.Prefix
	}
	r.trail = append(r.trail, row)
	r.putSession(l.Session, Session{
		Employee: l.Employee, Device: out.Device,
		Family: refresh.NewFamily(l.First, r.w.Now(), SessionLifetime, SessionIdle), Strong: strong,
	})
	r.w.Put(store.Sessions, append(employeeSessions(l.Employee), l.Session...), nil)
	r.w.Put(store.Sessions, sweepRow(r.w.Now()+SessionLifetime+sessionKept, []byte(l.Session)), nil)
	return Result{Login: out}
}

// KnownDevice reports whether a person has signed in on the installation
// before, and may again.
func KnownDevice(rd *state.Reader, employee ident.RecordID, installation, incarnation string) bool {
	id := rd.KV().Get(store.Devices, installationRow(employee, installation, incarnation))
	if id == nil {
		return false
	}
	rec, ok := rd.Load(ident.RecordID(id))
	return ok && rec.StatusText() == deviceActive
}

// device finds or makes the device of (principal, installation, incarnation)
// and gives it to the new session; an older session of it ends.
func (r *run) device(l *command.Login) (*Device, error) {
	t := r.cfg.Cat.Type(subject.Device)
	if err := checkDevice(l.Device); err != nil {
		return nil, err
	}
	name, err := t.Field("name").Normalize(encode(entity.Unturned(l.Device.Name)))
	if err != nil {
		return nil, err
	}
	platform, err := t.Field("platform").Normalize(encode(entity.Unturned(l.Device.Platform)))
	if err != nil {
		return nil, err
	}
	row := installationRow(l.Employee, l.Device.Installation, l.Device.Incarnation)
	if id := r.w.Get(store.Devices, row); id != nil {
		rec, ok := r.w.Load(ident.RecordID(id))
		if !ok {
			return nil, fault.New(fault.InternalError)
		}
		if rec.StatusText() == deviceRevoked {
			return nil, fault.New(fault.DeviceRevoked).With("wipe", true)
		}
		r.endSession(r.loadDevice(rec.ID).Session, closeSuperseded)
		d := *r.loadDevice(rec.ID)
		d.Session = l.Session
		r.setToken(&d, l.Device.PushToken)
		r.storeDevice(&d)
		after := rec.Clone()
		after.Set("lastSeen", entity.TimeValue(r.w.Now()))
		if !name.IsNull() {
			after.Set("name", name)
		}
		return &d, r.save(rec, after)
	}
	draft := &entity.Record{Type: t, ID: r.freshID()}
	draft.Set("employee", entity.RefValue(l.Employee))
	draft.Set("name", name)
	draft.Set("platform", platform)
	draft.Set("status", entity.StringValue(deviceActive))
	draft.Set("lastSeen", entity.TimeValue(r.w.Now()))
	if err := r.belong(draft); err != nil {
		return nil, err
	}
	rec, err := r.insert(draft)
	if err != nil {
		return nil, err
	}
	d := &Device{
		ID: rec.ID, Ord: rec.Ord, Employee: l.Employee, Session: l.Session,
		Installation: l.Device.Installation, Incarnation: l.Device.Incarnation, Prefix: r.freePrefix(l.Prefix),
	}
	r.w.Put(store.Devices, row, []byte(rec.ID))
	r.w.Put(store.Devices, prefixRow(d.Prefix), []byte(rec.ID))
	r.setToken(d, l.Device.PushToken)
	r.storeDevice(d)
	return d, nil
}

// Limits of what a device says of itself, in bytes.
const (
	maxInstallation = 200
	maxPushToken    = 4096
)

// checkDevice refuses names that would not make a key of their own.
func checkDevice(d *command.Device) error {
	for _, part := range []struct{ field, value string }{{"installation", d.Installation}, {"incarnation", d.Incarnation}} {
		if part.value == "" || len(part.value) > maxInstallation || strings.IndexByte(part.value, 0) >= 0 {
			return fault.Newf(fault.BadValue, "%s must have 1 to %d characters.", part.field, maxInstallation).OnField(part.field)
		}
	}
	if len(d.PushToken) > maxPushToken {
		return fault.Newf(fault.BadValue, "pushToken may have at most %d characters.", maxPushToken).OnField("pushToken")
	}
	return nil
}

// freePrefix returns the proposed prefix or, should another device have it,
// one derived from the command's randomness.
func (r *run) freePrefix(proposed string) string {
	for p := proposed; ; {
		if len(p) == ident.PrefixLength && r.w.Get(store.Devices, prefixRow(p)) == nil {
			return p
		}
		p = "d" + string(r.freshID()[1:ident.PrefixLength])
	}
}

func (r *run) refresh(f *command.Refresh) Result {
	s, ok := ReadSession(&r.w.Reader, f.Session)
	if !ok {
		return Result{Err: fault.New(fault.InvalidToken)}
	}
	if r.revoked(s.Device) {
		return Result{Err: fault.New(fault.DeviceRevoked).With("wipe", true)}
	}
	outcome, err := s.Family.Rotate(f.Attempt, r.w.Now())
	if outcome == refresh.ReuseRevoked && !mutant.On(mutant.ReuseUnnoticed) {
		// The one refusal that leaves something: the family is dead.
		r.endSession(f.Session, closeRevoked)
		return Result{Refused: err}
	}
	if err != nil {
		return Result{Err: err}
	}
	if emp, ok := r.w.Load(s.Employee); !ok || emp.StatusText() != subject.Active {
		return Result{Err: fault.New(fault.SessionRevoked)}
	}
	if !s.Strong && r.needsFactor(s.Employee) {
		// It was opened before a second factor was demanded.
		r.endSession(f.Session, closeRevoked)
		return Result{Refused: fault.New(fault.SessionRevoked)}
	}
	r.putSession(f.Session, s)
	out := &Login{Employee: s.Employee, Session: f.Session, Device: s.Device}
	if s.Device != "" {
		out.Prefix = r.loadDevice(s.Device).Prefix
	}
	return Result{Login: out}
}

func (r *run) logout(l *command.Logout) Result {
	s, ok := ReadSession(&r.w.Reader, l.Session)
	if !ok || s.Employee != r.cmd.Actor {
		return Result{Err: fault.New(fault.SessionRevoked)}
	}
	r.endSession(l.Session, closeRevoked)
	return Result{}
}

func (r *run) endSession(id ident.SessionID, code int) {
	s, ok := ReadSession(&r.w.Reader, id)
	if !ok {
		return
	}
	if !s.Family.Revoked {
		s.Family.Revoked = true
		r.putSession(id, s)
		row := r.concerning(audit.SessionEnded, s.Employee)
		row.Session, row.Device = id, s.Device
		r.trail = append(r.trail, row)
	}
	if d := r.loadDevice(s.Device); d != nil && d.Session == id {
		r.takeToken(d.ID, "")
	}
	if r.eff.Ended == nil {
		r.eff.Ended = map[ident.SessionID]int{}
	}
	r.eff.Ended[id] = code
}

// endSessions ends all sessions of an employee, with the invitation of one who
// is disabled.
func (r *run) endSessions(employee ident.RecordID, code int) {
	if e, ok := r.w.Load(employee); ok && e.StatusText() == subject.Disabled {
		r.endInvitation(employee)
	}
	var ids []ident.SessionID
	p := employeeSessions(employee)
	store.ScanPrefix(r.w.Stage, store.Sessions, p, func(k, _ []byte) bool {
		ids = append(ids, ident.SessionID(k[len(p):]))
		return true
	})
	for _, id := range ids {
		if s, ok := ReadSession(&r.w.Reader, id); ok && !s.Family.Revoked {
			r.endSession(id, code)
		}
	}
}

// revoked reports whether the device is one that was revoked; "" is none.
func (r *run) revoked(id ident.DeviceID) bool {
	rec, ok := r.w.Load(id)
	return ok && rec.StatusText() == deviceRevoked
}

func (r *run) revokeDevice(id ident.DeviceID) {
	if d := r.loadDevice(id); d != nil {
		r.endSession(d.Session, closeRevoked)
	}
}

func (r *run) setSecret(s *command.Secret) Result {
	if r.cmd.Actor != "" {
		if err := r.signedIn(); err != nil {
			return Result{Err: err}
		}
		if r.cmd.Actor != s.Employee {
			return Result{Err: fault.New(fault.NotAllowed)}
		}
	}
	emp, ok := r.w.Load(s.Employee)
	if !ok || emp.Type.Name != subject.Employee {
		return Result{Err: notFound()}
	}
	r.putCredential(s.Employee, s.Hash)
	return Result{ID: s.Employee}
}

// putCredential gives an employee a password. Whoever knew the old one is
// signed out, and can't choose another by an invitation.
func (r *run) putCredential(employee ident.RecordID, hash string) {
	r.w.Put(store.Credentials, []byte(employee), []byte(hash))
	r.trail = append(r.trail, r.concerning(audit.PasswordSet, employee))
	r.endInvitation(employee)
	r.endSessions(employee, closeRevoked)
}

// metaSecret is the tenant's key for the tokens that apply makes.
const metaSecret = "secret"

func (r *run) setup(s *command.Setup) Result {
	if r.w.Get(store.Meta, []byte(metaSecret)) != nil {
		return Result{Err: fault.Newf(fault.Duplicate, "The tenant is set up already.")}
	}
	r.w.Put(store.Meta, []byte(metaSecret), s.Secret)
	r.load()
	if s.Email == "" {
		return Result{}
	}
	emp := &entity.Record{Type: r.cfg.Cat.Type(subject.Employee), ID: s.Employee}
	emp.Set("name", entity.StringValue(s.Name))
	emp.Set("email", entity.StringValue(s.Email))
	emp.Set("kind", entity.StringValue(policy.InHouse))
	emp.Set("status", entity.StringValue(subject.Active))
	rec, err := r.insert(emp)
	if err != nil {
		return Result{Err: err}
	}
	role := &entity.Record{Type: r.cfg.Cat.Type(subject.RoleAssignment), ID: r.freshID()}
	role.Set("employee", entity.RefValue(rec.ID))
	role.Set("role", entity.StringValue(subject.Administrator))
	if _, err := r.insert(role); err != nil {
		return Result{Err: err}
	}
	r.w.Put(store.Credentials, []byte(rec.ID), []byte(s.Hash))
	return Result{ID: rec.ID, Err: r.settle()}
}

// load reads what the machine keeps in memory of the tenant.
func (m *Machine) load() {
	if m.secret == nil {
		if v := m.w.Get(store.Meta, []byte(metaSecret)); v != nil {
			m.secret = append([]byte(nil), v...)
		}
	}
	if m.table.ids == nil {
		m.table.load(m.w.Stage)
	}
}

// checkpoint renders a page's number as a token: opaque, of this device and
// this epoch of the log alone. A server restored from a backup starts a new
// epoch, so that no token from before the restore is taken for one of its own.
func (m *Machine) checkpoint(d ident.DeviceID, n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 36) + "." + string(m.checkpointTag(d, n))
}

// checkpointTag is valid until the next.
func (m *Machine) checkpointTag(d ident.DeviceID, n uint64) []byte {
	msg := append(m.mac.message(), "checkpoint"...)
	if !mutant.On(mutant.EpochForgotten) {
		msg = binary.BigEndian.AppendUint64(msg, m.epoch)
	}
	msg = binary.BigEndian.AppendUint64(msg, n)
	if !mutant.On(mutant.ForeignCheckpoint) {
		msg = append(msg, d...)
	}
	return m.mac.tag(m.secret, msg, 10)
}

// pageNumber reads a token; known is false where it is not this device's.
func (m *Machine) pageNumber(d ident.DeviceID, token string) (n uint64, known bool) {
	if n, ok := m.standing.page(m.epoch, d, token); ok {
		return n, true
	}
	num, tag, ok := strings.Cut(token, ".")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(num, 36, 64)
	if err != nil || n == 0 || !hmac.Equal([]byte(tag), m.checkpointTag(d, n)) {
		return 0, false
	}
	m.standing.notePage(m.epoch, d, token, n)
	return n, true
}

// DerivedKey derives a key for one purpose from the tenant's secret.
func DerivedKey(rd *state.Reader, purpose string) [32]byte {
	return DeriveFrom(derivedSecret(rd), purpose)
}

// DeriveFrom derives a key for one purpose from a secret.
func DeriveFrom(secret []byte, purpose string) [32]byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte("satchel key " + purpose))
	return [32]byte(h.Sum(nil))
}
