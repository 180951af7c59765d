package apply

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/sync/audit"
	"satchel/sync/bits"
	"satchel/sync/outbox"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/subject"
)

// Of the Meta bucket: "erase/" person -> erasure as JSON; "erased/" record ->
// the person with whom it was erased; "erasedAt" -> position u64 of the last
// entry that erased something: entries up to it may hold what was erased.
const (
	metaErasure = "erase/"
	metaErased  = "erased/"
	metaErasing = "erasedAt"
)

// dueErasure is the kind of due rows for persons of whom a part is yet to be
// erased.
const dueErasure = 'e'

// How much of an erasure one entry does.
const (
	maxErasedRecords = 200    // deleted
	maxErasedRows    = 2_000  // of the audit trail, emptied
	maxErasedLooked  = 20_000 // of the audit trail, read
	// maxPeople bounds the records that stand for one person, with those that
	// belong to it; they become tombstones in one entry.
	maxPeople = 2_000
)

// Kinds of what goes with a person beside records.
const (
	GoneAuditRows     = "auditRows"       // whose values were taken out
	GoneContents      = "contents"        // of files, in the documents that were deleted
	GoneCredentials   = "credentials"     // passwords and second factors
	GoneDeliveries    = "deliveries"      // messages that were to be sent
	GoneDevices       = "devices"         // revoked, to be wiped at their next contact
	GoneInvitations   = "invitations"     // and resets of forgotten passwords
	GoneKeys          = "idempotencyKeys" // answers to repeated requests
	GoneOfflineWork   = "offlineWork"     // in the quarantine, whose words were taken out
	GoneResults       = "offlineResults"  // of offline work, that devices can ask for again
	GoneSessions      = "sessions"
	GoneWaitingFiles  = "waitingFiles" // content that came before its document
	GoneLeftInPlace   = "leftInPlace"  // records that should have gone and could not
	erasedAddressPart = "@erased.invalid"
)

// Erasure says what goes, or went, with a person. It holds counts and no
// content.
type Erasure struct {
	Person ident.RecordID `json:"person"`
	Type   string         `json:"type"`
	// Done is false while parts of it are yet to come: they come by themselves.
	Done bool `json:"done"`
	// Former counts the records that stood for the person, and for what belongs
	// to a client that is one; Removed those of them that nothing refers to, so
	// that they are gone, as far as it has come to that.
	Former  int `json:"former"`
	Removed int `json:"removed"`
	// Records counts the records that went whole, by type; Counts what else
	// did, by the kinds above.
	Records map[string]int `json:"records"`
	Counts  map[string]int `json:"counts"`
}

func (e *Erasure) count(kind string, n int) {
	if n == 0 {
		return
	}
	if e.Counts == nil {
		e.Counts = map[string]int{}
	}
	e.Counts[kind] += n
}

// Summary renders the counts for people, without content: "records 12,
// sessions 2".
func (e *Erasure) Summary() string {
	records := 0
	for _, n := range e.Records {
		records += n
	}
	parts := []string{"former " + strconv.Itoa(e.Former), "removed " + strconv.Itoa(e.Removed), "records " + strconv.Itoa(records)}
	for _, k := range slices.Sorted(maps.Keys(e.Counts)) {
		parts = append(parts, k+" "+strconv.Itoa(e.Counts[k]))
	}
	return strings.Join(parts, ", ")
}

// Stages of an erasure, in order. The first is done with the command.
const (
	eraseRecords = iota + 1 // those that go whole
	eraseTrail
	eraseKept // offline work, results, keys, deliveries, waiting files
	eraseEnd
	eraseDone
)

// erasure is an Erasure as stored, with how far it has come.
type erasure struct {
	Erasure
	By    ident.RecordID   `json:"by,omitempty"` // who asked for it, "" for an operator
	Stage int              `json:"stage"`
	At    audit.Key        `json:"at"`              // the last row of the trail that was looked at
	All   []ident.RecordID `json:"all"`             // the records that stood for the person, the person first
	Gone  []byte           `json:"gone,omitempty"`  // ordinals of records that went whole
	Stuck []byte           `json:"stuck,omitempty"` // ordinals of those that could not
	gone  bits.Set
	stuck bits.Set
	// people are the ordinals of All and of people's devices: of their rows in the
	// trail those go that have a personal value.
	people bits.Set
	absent map[ident.Ordinal]bool // removed records that are none of the person's
}

func erasureRow(id ident.RecordID) []byte { return append([]byte(metaErasure), id...) }

func erasedRow(id ident.RecordID) []byte { return append([]byte(metaErased), id...) }

// readErasure returns the erasure of a person that was asked for; ok is false
// where none was.
func readErasure(rd *state.Reader, id ident.RecordID) (x *erasure, ok bool) {
	v := rd.KV().Get(store.Meta, erasureRow(id))
	if v == nil {
		return nil, false
	}
	x = &erasure{}
	if err := json.Unmarshal(v, x); err != nil {
		panic(fmt.Errorf("%w: erasure of %s: %w", state.ErrDamaged, id, err))
	}
	x.gone, x.stuck = parse(x.Gone), parse(x.Stuck)
	x.known(rd)
	return x, true
}

// known finds the ordinals of the people.
func (x *erasure) known(rd *state.Reader) {
	t := rd.Cat.Type(subject.Device)
	for _, id := range x.All {
		x.people = x.people.With(rd.Ordinal(id))
		for o := range rd.Referring(t, t.Field("employee").No, id).All() {
			x.people = x.people.With(o)
		}
	}
}

// ErasedUpTo returns the position of the last log entry that erased something
// of a person, 0 for none: entries up to it may hold what was erased.
func ErasedUpTo(rd *state.Reader) ident.Position {
	v := rd.KV().Get(store.Meta, []byte(metaErasing))
	if len(v) != 8 {
		return 0
	}
	return ident.Position(binary.BigEndian.Uint64(v))
}

// EachErased calls f with every person who was erased or is being erased, in the
// order of ids.
func EachErased(rd *state.Reader, f func(Erasure)) {
	store.ScanPrefix(rd.KV(), store.Meta, []byte(metaErasure), func(k, _ []byte) bool {
		if x, ok := readErasure(rd, ident.RecordID(k[len(metaErasure):])); ok {
			f(x.Erasure)
		}
		return true
	})
}

// ErasedRecords returns the records that stood for people who were erased, with
// those that went with them.
func ErasedRecords(rd *state.Reader) map[ident.RecordID]bool {
	out := map[ident.RecordID]bool{}
	store.ScanPrefix(rd.KV(), store.Meta, []byte(metaErased), func(k, _ []byte) bool {
		out[ident.RecordID(k[len(metaErased):])] = true
		return true
	})
	return out
}

// WasErased reports whether the person whom a record stood for was erased.
func WasErased(rd *state.Reader, id ident.RecordID) bool {
	return rd.KV().Get(store.Meta, erasedRow(id)) != nil
}

// errErased refuses to give an erased person personal values again.
func errErased() error {
	return fault.Newf(fault.WrongStatus, "Whom this record stood for was erased.")
}

// erasable returns the type of a record that stands for a person; gone says
// that the record itself is there no more.
func erasable(rd *state.Reader, id ident.RecordID) (t *entity.Type, gone bool, err error) {
	what, ok := rd.Identify(id)
	if !ok {
		return nil, false, notFound()
	}
	if t = rd.Cat.TypeNo(what.TypeNo); t == nil || t.Former == "" {
		return nil, false, notFound()
	}
	rec, ok := rd.LoadOrd(what.Ord)
	if !ok {
		return t, true, nil
	}
	if !t.IsPersonal(rec) {
		return nil, false, fault.Newf(fault.WrongStatus, "Of this kind of record only one whose %s is %s stands for a person.", t.PersonalIf.Field, t.PersonalIf.Value)
	}
	for _, f := range sameAs(t) {
		if other := rec.Value(f.No).Ref(); other != "" && !WasErased(rd, other) {
			if _, there := rd.Load(other); there {
				return nil, false, fault.Newf(fault.WrongStatus, "This is the same person as %s. Erase that one, and both go.", other).OnField(f.Name)
			}
		}
	}
	return t, false, nil
}

// sameAs returns the fields by which a record says that it stands for the same
// person as the one it names: references that no other record of the type may
// have.
func sameAs(t *entity.Type) (out []*entity.Field) {
	for _, f := range t.Fields {
		if t.Former != "" && f.Kind == entity.Ref && f.Unique {
			out = append(out, f)
		}
	}
	return out
}

// peopleOf returns the records that stand for a person, the one named first:
// those that say they are the same, and of a client what stands for people
// among what belongs to it.
func peopleOf(rd *state.Reader, id ident.RecordID) (out []ident.RecordID, err error) {
	out = append(out, id)
	for i := 0; i < len(out); i++ {
		rec, ok := rd.Load(out[i])
		if !ok {
			continue
		}
		for _, t := range rd.Cat.Types {
			if t.Former == "" {
				continue
			}
			fields := sameAs(t)
			if root := t.Field(t.Root); rec.Type.IsClient && root != nil {
				fields = append(fields, root)
			}
			for _, f := range fields {
				if !slices.Contains(f.Targets, rec.Type.Name) {
					continue
				}
				for o := range rd.Referring(t, f.No, rec.ID).All() {
					other, ok := rd.LoadOrd(o)
					if !ok || slices.Contains(out, other.ID) || (!t.IsPersonal(other) && f.Name != t.Root) {
						continue
					}
					if out = append(out, other.ID); len(out) > maxPeople {
						return nil, fault.Newf(fault.TooBig, "More than %d records belong to this person. Erase some of them first.", maxPeople)
					}
				}
			}
		}
	}
	return out, nil
}

// PeopleOf returns the records that stand for the person whom a record stands
// for, that one first. It refuses one that stands for nobody.
func PeopleOf(rd *state.Reader, id ident.RecordID) ([]ident.RecordID, error) {
	if _, _, err := erasable(rd, id); err != nil && !WasErased(rd, id) {
		return nil, err
	}
	return peopleOf(rd, id)
}

// OwnRecords calls f for each record that goes whole with a person's record,
// what falls with those included, until f returns false.
func OwnRecords(rd *state.Reader, id ident.RecordID, f func(*entity.Record) bool) {
	recordsOf(rd, id, func(rec *entity.Record) bool {
		if !f(rec) {
			return false
		}
		for _, one := range falling(rd, rec) {
			if !f(one) {
				return false
			}
		}
		return true
	})
}

// Sessions returns an employee's sessions, ended ones included until they are
// swept, in the order of their ids.
func Sessions(rd *state.Reader, employee ident.RecordID) (out []Session) {
	for _, id := range sessionsOf(rd, employee) {
		if s, ok := ReadSession(rd, id); ok {
			out = append(out, s)
		}
	}
	return out
}

// recordsOf calls f for each record that goes whole with a person's record,
// until f returns false.
func recordsOf(rd *state.Reader, id ident.RecordID, f func(*entity.Record) bool) bool {
	what, ok := rd.Identify(id)
	if !ok || rd.Cat.TypeNo(what.TypeNo) == nil {
		return true
	}
	name := rd.Cat.TypeNo(what.TypeNo).Name
	for _, t := range rd.Cat.Types {
		for _, field := range t.RefsTo(name) {
			if !field.Personal {
				continue
			}
			for o := range rd.Index(state.RefKey(t.No, field.No, what.Ord)).All() {
				if rec, ok := rd.LoadOrd(o); ok && t.IsPersonal(rec) && !f(rec) {
					return false
				}
			}
		}
	}
	return true
}

// SurveyErasure says what would go with a person, without the rows of the audit
// trail, which TrailOf counts. It changes nothing.
func SurveyErasure(rd *state.Reader, id ident.RecordID) (Erasure, error) {
	if x, ok := readErasure(rd, id); ok {
		return x.Erasure, nil
	}
	t, _, err := erasable(rd, id)
	if err != nil {
		return Erasure{}, err
	}
	all, err := peopleOf(rd, id)
	if err != nil {
		return Erasure{}, err
	}
	x := &erasure{Erasure: Erasure{Person: id, Type: t.Name, Records: map[string]int{}, Counts: map[string]int{}}, All: all}
	x.known(rd)
	for _, id := range all {
		if _, ok := rd.Load(id); ok {
			x.Former++
		}
		x.signIn(rd, id)
	}
	x.doomed(rd)
	x.kept(rd, nil)
	return x.Erasure, nil
}

// doomed counts the records that are to go whole, with what falls with them.
func (x *erasure) doomed(rd *state.Reader) {
	var doom func(rec *entity.Record)
	doom = func(rec *entity.Record) {
		if !x.gone.Contains(rec.Ord) && !x.people.Contains(rec.Ord) {
			x.removed(rec)
			for _, one := range falling(rd, rec) {
				doom(one)
			}
		}
	}
	for _, id := range x.All {
		recordsOf(rd, id, func(rec *entity.Record) bool {
			doom(rec)
			return true
		})
	}
}

// removed counts a record that goes whole.
func (x *erasure) removed(rec *entity.Record) {
	if x.people.Contains(rec.Ord) {
		return // it stood for the person; that is counted apart
	}
	x.gone = x.gone.With(rec.Ord)
	x.Records[rec.Type.Name]++
	if rec.Type.Name == TypeDocument && !rec.Get("sha256").IsNull() {
		x.count(GoneContents, 1)
	}
}

// signIn counts what somebody signs in with.
func (x *erasure) signIn(rd *state.Reader, id ident.RecordID) {
	if Credential(rd, id) != "" {
		x.count(GoneCredentials, 1)
	}
	if _, has := ReadFactor(rd, id); has {
		x.count(GoneCredentials, 1)
	}
	for _, row := range [][]byte{invitedRow(id), resetRow(id)} {
		if rd.KV().Get(store.Sessions, row) != nil {
			x.count(GoneInvitations, 1)
		}
	}
	x.count(GoneSessions, len(sessionsOf(rd, id)))
	t := rd.Cat.Type(subject.Device)
	x.count(GoneDevices, rd.Referring(t, t.Field("employee").No, id).Len())
}

// sessionsOf returns the sessions of an employee, ended ones included until
// they are swept.
func sessionsOf(rd *state.Reader, employee ident.RecordID) (ids []ident.SessionID) {
	p := employeeSessions(employee)
	store.ScanPrefix(rd.KV(), store.Sessions, p, func(k, _ []byte) bool {
		ids = append(ids, ident.SessionID(k[len(p):]))
		return true
	})
	return ids
}

// erase begins a person's erasure, or goes on with it. Erasing what was erased
// finds what came since.
func (r *run) erase(e *command.Erase) Result {
	if err := r.mayErase(e.Person); err != nil {
		return Result{Err: err}
	}
	r.sub = nil // what goes is not a matter of what the administrator may edit
	x, begun := readErasure(&r.w.Reader, e.Person)
	switch {
	case !begun || (x.Stage == eraseDone && x.again(&r.w.Reader)):
		if err := r.beginErasure(e.Person); err != nil {
			return Result{Err: err}
		}
	case x.Stage != eraseDone:
		if err := r.goOn(x); err != nil {
			return Result{Err: err}
		}
	}
	if x, _ = readErasure(&r.w.Reader, e.Person); x == nil {
		return Result{Err: fault.New(fault.InternalError)}
	}
	return Result{ID: e.Person, Erased: &x.Erasure}
}

// again reports whether something came since that would have gone.
func (x *erasure) again(rd *state.Reader) bool {
	more := false
	for _, id := range x.All {
		recordsOf(rd, id, func(rec *entity.Record) bool {
			more = more || !x.stuck.Contains(rec.Ord)
			return !more
		})
	}
	return more
}

// mayErase judges who may have a person erased: the operator, and customer
// administrators from whom nothing is hidden, as they alone can answer for what
// goes.
func (r *run) mayErase(id ident.RecordID) error {
	if r.sub == nil {
		return nil
	}
	if !Unhindered(r.sub) || r.denied(r.sub.ID) {
		return fault.New(fault.NotAllowed)
	}
	if rec, ok := r.w.Load(id); ok && r.sub.Sees(rec, &r.w.Reader).Mask == 0 || !ok && !WasErased(&r.w.Reader, id) {
		return notFound()
	}
	return nil
}

// Unhindered reports whether somebody is a customer administrator from whom no
// client is hidden.
func Unhindered(sub *policy.Subject) bool {
	return sub != nil && sub.Holds(subject.Administrator) && !sub.Only && len(sub.Clients) == 0 && sub.Kind != policy.ClientStaff
}

// beginErasure does what must take effect at once: the person has no name, no
// rights and no way in from then on. The rest follows with later entries.
func (r *run) beginErasure(id ident.RecordID) error {
	t, gone, err := erasable(&r.w.Reader, id)
	if err != nil {
		return err
	}
	all, err := peopleOf(&r.w.Reader, id)
	if err != nil {
		return err
	}
	x := &erasure{
		Erasure: Erasure{Person: id, Type: t.Name, Records: map[string]int{}, Counts: map[string]int{}},
		By:      r.cmd.Actor, Stage: eraseRecords, All: all,
	}
	if old, ok := readErasure(&r.w.Reader, id); ok { // what belongs to it and went before is part of it
		for _, other := range old.All {
			if !slices.Contains(x.All, other) {
				x.All = append(x.All, other)
			}
		}
		x.gone = old.gone
	}
	x.known(&r.w.Reader)
	r.erasing = x
	defer func() { r.erasing = nil }()
	for _, one := range x.All {
		r.w.Put(store.Meta, erasedRow(one), []byte(id))
		if rec, ok := r.w.Load(one); ok {
			x.Former++
			if err := r.bury(rec); err != nil {
				return err
			}
		}
	}
	if gone && x.Former == 0 {
		x.Removed = 1
	}
	if err := r.settle(); err != nil {
		return err
	}
	r.putErasure(x)
	return nil
}

func (r *run) putErasure(x *erasure) {
	x.Gone, x.Stuck = nil, nil
	if !x.gone.IsEmpty() {
		x.Gone = x.gone.AppendTo(nil)
	}
	if !x.stuck.IsEmpty() {
		x.Stuck = x.stuck.AppendTo(nil)
	}
	x.Done = x.Stage == eraseDone
	r.w.Put(store.Meta, erasureRow(x.Person), encode(x))
	r.markErased()
	due := dueRow(r.w.Now(), dueErasure, x.Person)
	if x.Done {
		r.w.Delete(store.Due, due)
	} else {
		r.w.Put(store.Due, due, nil)
	}
}

// markErased notes that log entries up to this one may hold what was erased.
func (r *run) markErased() {
	r.w.Put(store.Meta, []byte(metaErasing), binary.BigEndian.AppendUint64(nil, uint64(r.w.Pos())))
}

// bury leaves of a person's record what others' records refer to: that there
// was one. What nothing refers to is deleted in the end.
func (r *run) bury(rec *entity.Record) error {
	x, t := r.erasing, rec.Type
	what := r.doing
	r.doing = doing{op: audit.Erasure, id: rec.ID}
	defer func() { r.doing = what }()
	after := rec.Clone()
	for _, f := range t.Fields {
		switch {
		case !f.Personal || f.Kind == entity.Ref:
		case f.Required && f.Unique:
			after.Put(f.No, entity.StringValue(string(rec.ID)+erasedAddressPart))
		case f.Required:
			after.Put(f.No, entity.StringValue(t.Former))
		default:
			after.Put(f.No, nil)
		}
	}
	if t.Name != subject.Employee {
		return r.save(rec, after)
	}
	x.signIn(&r.w.Reader, rec.ID)
	r.w.Delete(store.Credentials, []byte(rec.ID))
	r.w.Delete(store.Credentials, factorRow(rec.ID))
	r.endInvitation(rec.ID)
	r.w.Delete(store.Outbox, comingBackRow(rec.ID)) // the digest of an address tells it to who tries them all
	r.endSessions(rec.ID, closeRevoked)
	if err := r.buryDevices(rec.ID); err != nil {
		return err
	}
	r.doing.id = rec.ID
	for _, id := range sessionsOf(&r.w.Reader, rec.ID) {
		// By the session of a device it learns that it is to wipe itself.
		if s, ok := ReadSession(&r.w.Reader, id); ok && s.Device == "" {
			r.w.Delete(store.Sessions, sessionRow(id))
			r.w.Delete(store.Sessions, append(employeeSessions(rec.ID), id...))
		}
	}
	var rights []*entity.Record
	recordsOf(&r.w.Reader, rec.ID, func(one *entity.Record) bool {
		if subject.Decides(one.Type) {
			rights = append(rights, one)
		}
		return true
	})
	for _, one := range rights {
		if _, there := r.w.LoadOrd(one.Ord); !there {
			continue // with another one
		}
		if err := r.Delete(one); err != nil {
			return err
		}
	}
	after.Set("status", entity.StringValue(subject.Disabled))
	return r.save(rec, after)
}

// buryDevices revokes a person's devices, so that they wipe themselves at their
// next contact, and forgets what they said of themselves. Their held sets stay:
// who has what is a question until then.
func (r *run) buryDevices(employee ident.RecordID) error {
	t := r.cfg.Cat.Type(subject.Device)
	for o := range r.w.Referring(t, t.Field("employee").No, employee).All() {
		rec, ok := r.w.LoadOrd(o)
		if !ok {
			continue
		}
		r.doing.id = rec.ID
		after := rec.Clone()
		for _, f := range t.Fields {
			if f.Personal {
				after.Put(f.No, nil)
			}
		}
		if rec.StatusText() != deviceRevoked {
			after.Set("status", entity.StringValue(deviceRevoked))
			after.Set("revokedAt", entity.TimeValue(r.w.Now()))
		}
		if err := r.save(rec, after); err != nil {
			return err
		}
		stored := r.loadDevice(rec.ID)
		if stored == nil {
			continue
		}
		r.takeToken(rec.ID, "")
		d := *r.loadDevice(rec.ID)
		r.dropRows(&d)
		r.w.Delete(store.Devices, installationRow(employee, d.Installation, d.Incarnation))
		d.Installation, d.Incarnation, d.PushToken, d.Window, d.Pins, d.Failed = "", "", "", nil, nil, nil
		d.nowView = nil
		r.storeDevice(&d)
	}
	return nil
}

// erasePart goes on with an erasure that is due.
func (m *Machine) erasePart(id ident.RecordID) {
	x, ok := readErasure(&m.w.Reader, id)
	if !ok || x.Stage == eraseDone {
		return
	}
	mark := m.w.Mark()
	// There is no command whose randomness could be used.
	seed := binary.BigEndian.AppendUint64(append(append(slices.Clone(m.secret), "erasure"...), id...), uint64(m.w.Pos()))
	r := m.start(&command.Command{Actor: x.By, Seed: seed})
	defer func() {
		if p := recover(); p != nil {
			_ = m.panicked(p) // logged; whoever asks again is answered
			m.rollback(mark, r, 0, 0)
		}
	}()
	if err := r.goOn(x); err != nil {
		m.rollback(mark, r, 0, 0)
		m.w.Put(store.Due, dueRow(m.w.Now()+eraseAgain, dueErasure, id), nil)
		return
	}
	m.join(r)
}

// eraseAgain is how long a part of an erasure that failed waits, in
// milliseconds.
const eraseAgain ident.Millis = 60 * 60 * 1000

// goOn does the next part of an erasure.
func (r *run) goOn(x *erasure) error {
	r.erasing = x
	defer func() { r.erasing = nil }()
	switch x.Stage {
	case eraseRecords:
		r.eraseRecords(x)
	case eraseTrail:
		if err := r.eraseTrail(x); err != nil {
			return err
		}
	case eraseKept:
		x.kept(&r.w.Reader, r)
		x.Stage++
	default:
		r.endErasure(x)
	}
	if err := r.settle(); err != nil {
		return err
	}
	r.putErasure(x)
	return nil
}

// eraseRecords deletes records that go whole.
func (r *run) eraseRecords(x *erasure) {
	var list []*entity.Record
	for _, id := range x.All {
		if !recordsOf(&r.w.Reader, id, func(rec *entity.Record) bool {
			if !x.stuck.Contains(rec.Ord) {
				list = append(list, rec)
			}
			return len(list) < maxErasedRecords
		}) {
			break
		}
	}
	if len(list) == 0 {
		x.Stage++
		return
	}
	for _, next := range list {
		if _, there := r.w.LoadOrd(next.Ord); !there {
			continue // gone with another one
		}
		mark, before := r.savepoint(), *x
		before.Records, before.Counts = maps.Clone(x.Records), maps.Clone(x.Counts)
		r.doing = doing{op: audit.Erasure, id: next.ID}
		err := r.Delete(next)
		r.doing = doing{}
		if err != nil {
			r.undo(mark)
			*x = before
			x.stuck = x.stuck.With(next.Ord)
			x.count(GoneLeftInPlace, 1)
		}
	}
}

// eraseTrail takes values out of the audit trail: of rows of the person's
// records that have a personal one, and of all rows of records that went whole,
// now or earlier.
func (r *run) eraseTrail(x *erasure) error {
	var rows []audit.Key
	at, more, err := x.trail(&r.w.Reader, x.At, maxErasedLooked, maxErasedRows, func(k audit.Key) { rows = append(rows, k) })
	if err != nil {
		return err
	}
	for _, k := range rows {
		took, err := audit.Erase(r.w.Stage, k)
		if err != nil {
			return err
		}
		if took {
			x.count(GoneAuditRows, 1)
		}
	}
	if x.At = at; !more {
		x.Stage++
	}
	return nil
}

// trail calls f for rows of the trail behind a place that the erasure takes the
// values from, until it has looked at so many or found so many. It returns how
// far it came and whether there is more.
func (x *erasure) trail(rd *state.Reader, behind audit.Key, look, find int, f func(audit.Key)) (at audit.Key, more bool, err error) {
	at = behind
	var failed error
	looked, found := 0, 0
	err = audit.Forward(rd.KV(), behind, func(row *audit.Row) bool {
		if looked == look || found == find {
			more = true
			return false
		}
		looked++
		at = row.Key
		// Rows of the erasure itself have no values from before it.
		if row.Ord == 0 || row.Op == audit.Erasure || (row.State != audit.Kept && row.State != audit.HashOnly) {
			return true
		}
		var takes bool
		if takes, failed = x.takes(rd, row); takes {
			found++
			f(row.Key)
		}
		return failed == nil
	})
	if failed != nil {
		err = failed
	}
	return at, more, err
}

// takes reports whether the values of a row go.
func (x *erasure) takes(rd *state.Reader, row *audit.Row) (bool, error) {
	t := rd.Cat.TypeNo(row.Type)
	switch {
	case t == nil:
		return false, nil
	case x.people.Contains(row.Ord):
		return row.Removed || row.Fields&t.PersonalValues() != 0, nil
	case x.gone.Contains(row.Ord):
		return true, nil
	case len(t.PersonalRefs()) == 0 || x.absent[row.Ord]:
		return false, nil
	}
	if rd.Bytes(row.Ord) != nil {
		return false, nil // it is there and none of those that go
	}
	// It was removed earlier: how it stood last tells whose it was.
	last, err := audit.Gone(rd.KV(), row.Ord)
	if err != nil {
		return false, err
	}
	if last != nil {
		if rec, ok := last.Was(rd.Cat); ok && t.IsPersonal(rec) {
			for _, f := range t.PersonalRefs() {
				if slices.Contains(x.All, rec.Value(f.No).Ref()) {
					x.gone = x.gone.With(row.Ord)
					return true, nil
				}
			}
		}
	}
	if x.absent == nil {
		x.absent = map[ident.Ordinal]bool{}
	}
	x.absent[row.Ord] = true
	return false, nil
}

// TrailOf counts the rows of the audit trail whose values would go with a
// person, a part of the trail at a time: it looks behind a place, and returns
// how far it came and whether there is more. The caller reads each part from a
// state of its own.
func TrailOf(rd *state.Reader, id ident.RecordID, behind audit.Key) (n int, at audit.Key, more bool, err error) {
	all, err := peopleOf(rd, id)
	if err != nil {
		return 0, behind, false, err
	}
	x := &erasure{All: all}
	x.known(rd)
	x.Records = map[string]int{}
	x.doomed(rd)
	at, more, err = x.trail(rd, behind, maxErasedLooked, maxErasedLooked, func(audit.Key) { n++ })
	return n, at, more, err
}

// kept counts, and takes where r is given, what is kept of a person beside
// records and their history.
func (x *erasure) kept(rd *state.Reader, r *run) {
	people := map[ident.RecordID]bool{}
	for _, id := range x.All {
		people[id] = true
	}
	about := func(id ident.RecordID) bool {
		return people[id] || id != "" && x.gone.Contains(rd.Ordinal(id))
	}
	drop := func(b store.Bucket, rows [][]byte) {
		for _, k := range rows {
			if r != nil {
				r.w.Delete(b, k)
			}
		}
	}
	// Offline work: what the person typed, and what others typed of the person.
	takes := func(q *Quarantined) bool { return people[q.Author] || about(q.Mutation.ID) }
	if r != nil {
		x.count(GoneOfflineWork, EraseQuarantine(r.w, takes))
	} else {
		EachQuarantined(rd, func(q Quarantined) bool {
			if !q.Erased && takes(&q) {
				x.count(GoneOfflineWork, 1)
			}
			return true
		})
	}
	// The person's own devices are to be wiped and ask for nothing any more.
	t := rd.Cat.Type(subject.Device)
	for _, id := range x.All {
		for o := range rd.Referring(t, t.Field("employee").No, id).All() {
			var rows [][]byte
			_, dev := rd.Name(o)
			store.ScanPrefix(rd.KV(), store.Results, append([]byte(dev), 0), func(k, _ []byte) bool {
				rows = append(rows, bytes.Clone(k))
				return true
			})
			x.count(GoneResults, len(rows))
			drop(store.Results, rows)
		}
	}
	x.keys(rd, r, people)
	var sent []outbox.Intent
	outbox.Each(rd.KV(), func(in outbox.Intent) bool {
		if people[in.Person] || about(in.About) || people[in.By] {
			sent = append(sent, in)
		}
		return true
	})
	x.count(GoneDeliveries, len(sent))
	for _, in := range sent {
		if r != nil {
			outbox.Delete(r.w, in)
		}
	}
	var waiting [][]byte
	EachWaitingFile(rd, func(w WaitingFile) bool {
		if people[w.Author] || about(w.File.Document) {
			waiting = append(waiting, fileRow(w.File.Document, w.Author))
		}
		return true
	})
	x.count(GoneWaitingFiles, len(waiting))
	drop(store.Files, waiting)
}

// keys takes the answers to repeated requests: the person's own, and of others'
// the words that answers to replayed work hold.
func (x *erasure) keys(rd *state.Reader, r *run, people map[ident.RecordID]bool) {
	type answer struct {
		k   []byte
		row keyRow
	}
	var own [][]byte
	var others []answer
	mine := func(k []byte) bool {
		who, _, ok := strings.Cut(string(k[1:]), "\x00")
		return ok && people[ident.RecordID(who)]
	}
	store.ScanPrefix(rd.KV(), store.Keys, []byte{'k'}, func(k, v []byte) bool {
		if mine(k) {
			own = append(own, bytes.Clone(k))
			return true
		}
		var row keyRow
		if bytes.Contains(v, []byte(`"replay"`)) && json.Unmarshal(v, &row) == nil && row.Replay != nil {
			others = append(others, answer{bytes.Clone(k), row})
		}
		return true
	})
	x.count(GoneKeys, len(own))
	if r == nil {
		return
	}
	store.ScanPrefix(rd.KV(), store.Keys, []byte{'t'}, func(k, _ []byte) bool {
		if len(k) > 9 && mine(k[9:]) {
			own = append(own, bytes.Clone(k))
		}
		return true
	})
	for _, k := range own {
		r.w.Delete(store.Keys, k)
	}
	for _, a := range others {
		for i := range a.row.Replay.Results {
			res := &a.row.Replay.Results[i]
			res.Message = fault.Code(res.Code).Text()
			for j := range res.Conflicts {
				res.Conflicts[j].Mine, res.Conflicts[j].Theirs = json.RawMessage("null"), json.RawMessage("null")
			}
		}
		r.w.Put(store.Keys, a.k, encode(a.row))
	}
}

// endErasure deletes those of the person's records that nothing refers to, and
// leaves the row that tells what went.
func (r *run) endErasure(x *erasure) {
	for _, id := range slices.Backward(x.All) { // what belongs to a client before it
		rec, ok := r.w.Load(id)
		if !ok || r.named(rec) {
			continue
		}
		mark := r.savepoint()
		r.doing = doing{op: audit.Erasure, id: id}
		err := r.Delete(rec)
		r.doing = doing{}
		if err != nil {
			r.undo(mark)
			continue
		}
		x.Removed++
	}
	x.Stage = eraseDone
	row := r.entered(audit.Erasure)
	row.ID, row.Name = x.Person, x.Summary()
	if what, ok := r.w.Identify(x.Person); ok {
		row.Type = what.TypeNo
	}
	r.trail = append(r.trail, row)
}

// named reports whether any other record refers to this one.
func (r *run) named(rec *entity.Record) (yes bool) {
	r.w.Naming(rec.ID, func(other *entity.Record, _ uint8) bool {
		yes = other.ID != rec.ID
		return !yes
	})
	return yes
}
