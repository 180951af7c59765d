package apply

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/sync/outbox"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/subject"
)

// TypeNotification is the type of the records in people's inboxes, with the
// fields recipient, event, about, aboutType, text and readAt.
const TypeNotification = "notification"

// A run answers what the rules ask.
var _ outbox.Context = (*run)(nil)

// announce runs the rules about a change that was staged. Imports tell nobody
// anything, but what falls due in what they brought does so in its time.
func (r *run) announce(before, after *entity.Record, written entity.Mask) error {
	r.keepTrack(before, after)
	if err := r.confirm(after); err != nil {
		return err
	}
	x := outbox.Change{Before: before, After: after, Written: written}
	t := x.Record().Type
	rules, timed := r.cfg.Rules.Of(t), r.cfg.Rules.Timed(t)
	if (len(rules) == 0 && len(timed) == 0) || r.trial || r.erasing != nil {
		return nil
	}
	silent := r.cmd.Import != nil || r.cmd.Setup != nil
	if after != nil {
		for _, rule := range timed {
			if err := r.expect(rule, x, silent); err != nil {
				return err
			}
		}
	}
	if silent {
		return nil
	}
	for _, rule := range rules {
		if rule.Asks(written) && rule.When(r, x) {
			if err := r.tellAll(rule, x); err != nil {
				return err
			}
		}
	}
	return nil
}

// expect notes when an event of the record is to happen.
func (r *run) expect(rule *outbox.Rule, x outbox.Change, silent bool) error {
	at, ok := rule.At(x.After)
	if !ok {
		return nil
	}
	if at > r.w.Now() {
		r.w.Put(store.Due, dueRow(at, dueNews, x.After.ID), nil)
		return nil
	}
	if x.Before != nil {
		if was, ok := rule.At(x.Before); ok && was == at {
			return nil
		}
	}
	if rule.Until == nil || silent {
		return nil
	}
	if until, ok := rule.Until(x.After); !ok || until <= r.w.Now() {
		return nil
	}
	return r.tellAll(rule, x)
}

// tellAll tells everybody concerned.
func (r *run) tellAll(rule *outbox.Rule, x outbox.Change) error {
	who := r.standIns(rule, rule.People(r, x))
	for i, id := range who {
		if id == "" || slices.Contains(who[:i], id) {
			continue
		}
		about := x.After
		if rule.Former {
			about = x.Before
		}
		if err := r.inform(rule, id, about, ""); err != nil {
			return err
		}
	}
	if rule.Overseers == nil {
		return nil
	}
	for _, id := range rule.Overseers(r, x) {
		if sub := r.subject(id); slices.Contains(who, id) || sub == nil || sub.Sees(x.Record(), &r.w.Reader).Mask == 0 {
			continue
		}
		if err := r.inform(rule, id, x.After, ""); err != nil {
			return err
		}
	}
	return nil
}

// standIns adds those who act for the people concerned: what is to be done by
// somebody who is away is news for whoever does it instead. What is said about
// the person alone stays with the person.
func (r *run) standIns(rule *outbox.Rule, who []ident.RecordID) []ident.RecordID {
	if rule.Nameless || rule.Former || rule.ToActor {
		return who
	}
	out := slices.Clone(who)
	for _, id := range who {
		if id == "" {
			continue
		}
		for _, by := range r.cfg.Roles.Delegates(&r.w.Reader, id) {
			if sub := r.subject(by); sub != nil && sub.Lender(id) != nil {
				out = append(out, by)
			}
		}
	}
	return out
}

// inform leaves a person the news of a rule: a notification, and an intent for
// whatever leaves the server. about is nil where it is gone. Who did it, who is
// not active and who may not see what it is about learn of nothing.
func (r *run) inform(rule *outbox.Rule, who ident.RecordID, about *entity.Record, except ident.DeviceID) error {
	if who == r.cmd.Actor && !rule.ToActor {
		return nil
	}
	sub := r.subject(who)
	if sub == nil || !sub.Active {
		return nil
	}
	if !rule.Nameless || rule.Former {
		if about == nil || sub.Sees(about, &r.w.Reader).Mask == 0 {
			return nil
		}
	}
	if rule.Nameless {
		about = nil
	}
	in := outbox.Intent{
		Person: who, Event: rule.Event, Category: rule.Category, High: rule.High, Urgent: rule.Urgent,
		Channels: rule.Channels &^ outbox.InApp, Created: r.w.Now(), NotBefore: r.w.Now(), Except: except,
	}
	if about != nil {
		in.About = about.ID
	}
	if rule.Channels&outbox.InApp != 0 {
		note, err := r.note(rule, who, about)
		if err != nil {
			return err
		}
		in.Notification = note
	}
	if in.Channels != 0 {
		r.post(in)
	}
	return nil
}

// note makes a notification, in nobody's name: who did it is not told by it.
func (r *run) note(rule *outbox.Rule, who ident.RecordID, about *entity.Record) (ident.RecordID, error) {
	t := r.cfg.Cat.Type(TypeNotification)
	draft := &entity.Record{Type: t}
	draft.Set("recipient", entity.RefValue(who))
	draft.Set("event", entity.StringValue(rule.Event))
	draft.Set("text", entity.StringValue(rule.Phrase("en")))
	name := who
	if about != nil {
		draft.Set("about", entity.RefValue(about.ID))
		draft.Set("aboutType", entity.StringValue(about.Type.Name))
		name += "\x00" + about.ID
	}
	draft.ID = r.noteID(rule.Event + "\x00" + string(name))
	if err := r.belong(draft); err != nil {
		return "", err
	}
	return draft.ID, r.unsigned(func() error {
		_, err := r.insert(draft)
		return err
	})
}

// noteID derives a notification's id from the command's randomness and from
// what it is: how many others a change tells of it, whom a person may not know
// of, has no part in it.
func (r *run) noteID(what string) ident.RecordID {
	for n := uint32(0); ; n++ {
		id := ident.NewRecordID(r.derive("notification", n, what))
		if _, used := r.w.Identify(id); !used {
			return id
		}
	}
}

func (r *run) derive(purpose string, n uint32, what string) (b [15]byte) {
	h := sha256.New()
	h.Write([]byte(purpose))
	h.Write(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(len(r.cmd.Seed))), n))
	h.Write(r.cmd.Seed)
	h.Write([]byte(what))
	copy(b[:], h.Sum(nil))
	return b
}

// post writes an intent, giving it its id.
func (r *run) post(in outbox.Intent) {
	for n := uint32(0); ; n++ {
		in.ID = outbox.NewID(in.Created, r.derive("outbox", n, string(in.Person)+"\x00"+in.Event))
		if _, used := outbox.Read(r.w, in.ID); !used {
			break
		}
	}
	outbox.Put(r.w, in)
	r.eff.Posted = true
}

// offline tells a person of offline work of the command that was refused or is
// in conflict: once, however much it was. about is its record.
func (r *run) offline(event string, about ident.RecordID) error {
	rule := r.cfg.Rules.Event(event)
	if rule == nil || r.trial {
		return nil
	}
	one := *rule
	rec, ok := r.w.Load(about)
	if !ok || r.sub.Sees(rec, &r.w.Reader).Mask == 0 {
		rec, one.Nameless = nil, true
	}
	return r.inform(&one, r.cmd.Actor, rec, r.cmd.Device)
}

// alarm tells the administrators that what was tried would have left none. It
// is called once that has been rolled back, and makes no record: a refused
// change touches nothing.
func (r *run) alarm(err error) {
	rule := r.cfg.Rules.Event(outbox.LastAdmin)
	if rule == nil || r.trial || !fault.Is(err, fault.LastAdministrator) {
		return
	}
	for _, id := range r.Holding(subject.Administrator) {
		r.post(outbox.Intent{
			Person: id, Event: rule.Event, Category: rule.Category, High: rule.High, Urgent: rule.Urgent,
			Channels: rule.Channels &^ outbox.InApp, Created: r.w.Now(), NotBefore: r.w.Now(), By: r.cmd.Actor,
		})
	}
}

// holder is one assignment of a role, by its ordinal.
type holder struct {
	ord ident.Ordinal
	who ident.RecordID
}

// held returns the assignments of each role. They are read once and then kept
// in step by rehold.
func (m *Machine) held() map[string][]holder {
	if m.holders == nil {
		m.holders = map[string][]holder{}
		t := m.cfg.Cat.Type(subject.RoleAssignment)
		for o := range m.w.Index(state.TypeKey(t.No)).All() {
			if a, ok := m.w.LoadOrd(o); ok {
				key := a.Get("role").Text()
				m.holders[key] = append(m.holders[key], holder{o, a.Get("employee").Ref()})
			}
		}
	}
	return m.holders
}

// rehold keeps the assignments of roles in step with a change of a record. It
// notes the change even where none were read yet: they may be before it is rolled
// back.
func (r *run) rehold(before, after *entity.Record) {
	x := reheld{assignmentOf(before), assignmentOf(after)}
	if x.before == nil && x.after == nil {
		return
	}
	r.reheld = append(r.reheld, x)
	r.Machine.rehold(x)
}

// reheld is a change of an assignment of a role; nil is none.
type reheld struct{ before, after *assignment }

// assignment is somebody's of a role.
type assignment struct {
	role string
	holder
}

func assignmentOf(rec *entity.Record) *assignment {
	if rec == nil || rec.Type.Name != subject.RoleAssignment {
		return nil
	}
	return &assignment{rec.Get("role").Text(), holder{rec.Ord, rec.Get("employee").Ref()}}
}

// rehold changes what is remembered of assignments, where that is not so already.
func (m *Machine) rehold(x reheld) {
	if m.holders == nil {
		return
	}
	at := func(a *assignment) (int, bool) {
		return slices.BinarySearchFunc(m.holders[a.role], a.ord, func(h holder, o ident.Ordinal) int { return cmp.Compare(h.ord, o) })
	}
	if a := x.before; a != nil {
		if i, ok := at(a); ok {
			m.holders[a.role] = slices.Delete(m.holders[a.role], i, i+1)
		}
	}
	if a := x.after; a != nil {
		if i, ok := at(a); !ok {
			m.holders[a.role] = slices.Insert(m.holders[a.role], i, a.holder)
		}
	}
}

// Holding implements outbox.Context.
func (r *run) Holding(roles ...string) []ident.RecordID {
	keys := slices.Clone(roles)
	org := r.cfg.Cat.Type(subject.Organizational)
	for o := range r.w.Index(state.TypeKey(org.No)).All() {
		rec, ok := r.w.LoadOrd(o)
		if ok && slices.ContainsFunc(rec.Get("baseRoles").Set(), func(k string) bool { return slices.Contains(roles, k) }) {
			keys = append(keys, string(rec.ID))
		}
	}
	var out []ident.RecordID
	all := r.held()
	for _, k := range keys {
		for _, h := range all[k] {
			if sub := r.subject(h.who); sub != nil && sub.Active && sub.Holds(k) {
				out = append(out, h.who)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// dueNews is the kind of due rows for instants in records that rules wait for.
const dueNews = 'n'

// maxNews bounds the records whose instants one entry handles; the rest follows
// with the next.
const maxNews = 200

// arrived tells of what an instant in a record brings, if the record still says
// so.
func (m *Machine) arrived(at ident.Millis, id ident.RecordID) {
	mark := m.w.Mark()
	// There is no command whose randomness could be used: the tenant's secret
	// keeps the ids from being guessed.
	r := m.start(&command.Command{Seed: binary.BigEndian.AppendUint64(append(slices.Clone(m.secret), id...), uint64(at))})
	defer func() {
		if p := recover(); p != nil {
			_ = m.panicked(p) // logged; there is nobody to answer
			m.rollback(mark, r, 0, 0)
		}
	}()
	rec, ok := m.w.Load(id)
	if !ok {
		return
	}
	for _, rule := range m.cfg.Rules.Timed(rec.Type) {
		if when, ok := rule.At(rec); !ok || when != at {
			continue
		}
		if err := r.tellAll(rule, outbox.Change{Before: rec, After: rec}); err != nil {
			m.rollback(mark, r, 0, 0)
			return
		}
	}
	m.join(r)
}

// deliver takes note of what became of what the outbox holds. It judges nothing
// but whether news are to be withdrawn; an intent that is done with already
// stays so.
func (r *run) deliver(d *command.Deliver) Result {
	if r.cmd.Actor != "" {
		return Result{Err: fault.New(fault.NotAllowed)}
	}
	for _, a := range d.Attempts {
		if err := r.attempt(a); err != nil {
			return Result{Err: err}
		}
	}
	for _, x := range d.Dead {
		r.deadToken(x)
	}
	for _, b := range d.Bounces {
		r.bounced(b)
	}
	return Result{}
}

func (r *run) attempt(a command.Attempt) error {
	in, ok := outbox.Read(r.w, a.Intent)
	if !ok {
		return nil
	}
	if a.Withdraw && !r.may(in) {
		outbox.Delete(r.w, in)
		if note, ok := r.w.Load(in.Notification); ok {
			return r.unsigned(func() error { return r.Delete(note) })
		}
		return nil
	}
	next := in
	next.Channels &^= outbox.Channels(a.Done)
	if next.Channels == 0 {
		outbox.Delete(r.w, in)
		return nil
	}
	for _, id := range a.Reached {
		if !slices.Contains(next.Reached, id) {
			next.Reached = append(slices.Clone(next.Reached), id)
		}
	}
	if a.Failed {
		next.Attempts++
	}
	next.NotBefore = max(a.NotBefore, r.w.Now())
	outbox.Put(r.w, next)
	r.eff.Posted = true // it is to be looked at again, perhaps at once
	return nil
}

// may reports whether the person may know of what the intent is about.
func (r *run) may(in outbox.Intent) bool {
	sub := r.subject(in.Person)
	if sub == nil || !sub.Active {
		return false
	}
	if in.About == "" {
		return true
	}
	rec, ok := r.w.Load(in.About)
	return ok && sub.Sees(rec, &r.w.Reader).Mask != 0
}

// metaNews stands in the Meta bucket once what tenants of earlier versions
// lack is there: rows that lead from push tokens to devices, and due rows for
// instants in records.
const metaNews = "news"

// catchUp writes those rows.
func (m *Machine) catchUp() {
	m.catchUpAges()
	m.catchUpNames()
	if m.w.Get(store.Meta, []byte(metaNews)) != nil {
		return
	}
	m.w.Put(store.Meta, []byte(metaNews), []byte{1})
	var addressed []Device
	store.ScanPrefix(m.w.Stage, store.Devices, []byte{'d'}, func(k, v []byte) bool {
		var d Device
		if err := json.Unmarshal(v, &d); err != nil {
			panic(fmt.Errorf("%w: device %s: %w", state.ErrDamaged, k[1:], err))
		}
		if d.PushToken != "" {
			d.ID = ident.DeviceID(k[1:])
			addressed = append(addressed, d)
		}
		return true
	})
	for _, d := range addressed {
		m.w.Put(store.Devices, tokenRow(d.PushToken), []byte(d.ID))
		m.w.Put(store.Devices, addressee(d.Installation), []byte(d.ID))
		m.effects.Addressed = append(m.effects.Addressed, d.ID)
	}
	for _, t := range m.cfg.Rules.Types(m.cfg.Cat) {
		for o := range m.w.Index(state.TypeKey(t.No)).All() {
			rec, ok := m.w.LoadOrd(o)
			if !ok {
				continue
			}
			for _, rule := range m.cfg.Rules.Timed(t) {
				if at, ok := rule.At(rec); ok && at > m.w.Now() {
					m.w.Put(store.Due, dueRow(at, dueNews, rec.ID), nil)
				}
			}
		}
	}
}
