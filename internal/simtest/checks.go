package simtest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/oracle"
	"satchel/internal/policy"
	"satchel/sync/apply"
	"satchel/sync/bits"
	"satchel/sync/scope"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/wire"
)

// encode renders a page as it leaves the server and judges every byte of it.
func (s *sim) encode(pg *apply.Page) *wire.Page {
	rd := s.reader()
	raw, err := pg.Encode(rd, nil, apply.ToldAll)
	must(err)
	var out wire.Page
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&out); err != nil {
		s.fail("a page is no page: %v: %s", err, raw)
	}
	s.judgePage(pg, &out)
	return &out
}

// phonesOf returns the phones that pass for a device: two, where one was cloned.
func (s *sim) phonesOf(id ident.DeviceID) (out []*phone) {
	for _, p := range s.phones {
		if p.device == id {
			out = append(out, p)
		}
	}
	return out
}

// phoneOf returns one of them, nil for none. What was given to a device is the
// same for all that pass for it.
func (s *sim) phoneOf(id ident.DeviceID) *phone {
	if ps := s.phonesOf(id); len(ps) > 0 {
		return ps[0]
	}
	return nil
}

// holds is what a device must hold once it is in step, as the judge says, less
// what its app does not know.
func (s *sim) holds(dev *oracle.Device) map[ident.RecordID]oracle.Shown {
	want, ok := s.held[dev.ID]
	if ok {
		return want
	}
	want = s.world.Holds(dev)
	for t, fields := range s.newerThan(s.deviceRow(dev.ID).Schema) {
		var mask uint64
		for _, f := range fields {
			mask |= 1 << s.cat.Type(t).Field(f).No
		}
		for id, w := range want {
			if w.Type != t {
				continue
			}
			if m, _ := s.world.Mask(dev.Employee, id); m&^mask == 0 {
				delete(want, id) // nothing of it is known
				continue
			}
			w.Fields = maps.Clone(w.Fields)
			for _, f := range fields {
				delete(w.Fields, f)
			}
			want[id] = w
		}
	}
	s.held[dev.ID] = want
	return want
}

// differences holds what a device has, or is given, against what the judge
// says. Of a type that an older app knows in part, what is worked out over all
// that is known is taken as it is.
func (s *sim) differences(dev *oracle.Device, want, got map[ident.RecordID]oracle.Shown) []string {
	newer := s.newerThan(s.deviceRow(dev.ID).Schema)
	if newer != nil {
		want = maps.Clone(want)
		for id, w := range want {
			g, ok := got[id]
			if newer[w.Type] == nil || !ok {
				continue
			}
			w.Rev, w.Fields = g.Rev, maps.Clone(w.Fields)
			for _, f := range []string{"updatedAt", "updatedBy"} {
				delete(w.Fields, f)
				if v, ok := g.Fields[f]; ok {
					w.Fields[f] = v
				}
			}
			want[id] = w
		}
	}
	return oracle.Differences(want, got)
}

// lostPage notes what was on a page that the server can't know not to have
// sent: it crashed between the commit and the answer.
func (s *sim) lostPage(id ident.DeviceID) {
	rd := s.reader()
	d, p := apply.ReadDevice(rd, apply.Classes(rd), id), s.phoneOf(id)
	if d == nil || p == nil || d.Sync.Pending == nil {
		return
	}
	for o := range d.Sync.Pending.Sent.All().All() {
		_, name := rd.Name(o)
		p.given[name] = true
	}
}

// saysOf is what a page says of a record: all of it, or so much of it as it says,
// where that is changed fields, beside what it is to be.
func (s *sim) saysOf(dev *oracle.Device, want oracle.Shown, r wire.Record) oracle.Shown {
	out := shown(r)
	if r.Check == "" {
		return out
	}
	s.count("changed fields sent")
	for name, v := range want.Fields {
		if _, named := out.Fields[name]; !named {
			out.Fields[name] = v
		}
	}
	mask, _ := s.world.Mask(dev.Employee, ident.RecordID(r.ID))
	for name, v := range out.Fields {
		if v != "null" {
			continue
		}
		if f := s.cat.Type(r.Type).Field(name); f != nil && mask&(1<<f.No) == 0 {
			s.fail("I2: a page for %s tells that %s of %s/%s has nothing, which they are not to see", dev.Employee, name, r.Type, r.ID)
		}
		if _, has := want.Fields[name]; !has {
			delete(out.Fields, name)
		}
	}
	return out
}

func (s *sim) judgePage(pg *apply.Page, out *wire.Page) {
	dev, ok, err := s.world.Device(pg.Device)
	must(err)
	if !ok {
		s.fail("a page for device %s, which there is not", pg.Device)
	}
	var want map[ident.RecordID]oracle.Shown
	exact := !s.altered && !s.passed
	if exact {
		want = s.holds(dev)
	}
	p := s.phoneOf(pg.Device)
	seen := map[string]bool{}
	for _, r := range out.Records {
		id := ident.RecordID(r.ID)
		w, ok := want[id]
		if !ok && exact {
			s.fail("I2: a page for %s carries %s/%s, which it is not to have", dev.Employee, r.Type, r.ID)
		}
		if exact {
			got := map[ident.RecordID]oracle.Shown{id: s.saysOf(dev, w, r)}
			if diff := s.differences(dev, map[ident.RecordID]oracle.Shown{id: w}, got); len(diff) > 0 {
				s.fail("I2: a page for %s: %q", dev.Employee, diff)
			}
		}
		if s.passed && !s.altered {
			if _, ok := s.world.Sees(dev.Employee, id); !ok {
				s.fail("I2: a page for %s carries %s/%s, which they do not see", dev.Employee, r.Type, r.ID)
			}
		}
		if seen[r.ID] {
			s.fail("a page for %s carries %s twice", dev.Employee, r.ID)
		}
		seen[r.ID] = true
		if r.Context {
			s.count("context record sent")
			s.count("context record sent: " + r.Type)
		}
		if p != nil {
			p.given[id] = true
		}
	}
	for _, r := range out.Removed {
		s.count("removal")
		if seen[r.ID] {
			s.fail("a page for %s removes and carries %s", dev.Employee, r.ID)
		}
		if _, ok := want[ident.RecordID(r.ID)]; ok {
			s.fail("a page for %s removes %s/%s, which it is to have", dev.Employee, r.Type, r.ID)
		}
		if p != nil && !p.given[ident.RecordID(r.ID)] {
			s.fail("I4: a page for %s removes %s/%s, which the device was never given", dev.Employee, r.Type, r.ID)
		}
	}
	if n := s.deviceRow(pg.Device).Processed; out.Processed != n {
		s.fail("a page for %s says that %d mutations are in effect, and %d are", dev.Employee, out.Processed, n)
	}
	if pg.Complete != (out.Complete != nil) || out.More == pg.Complete {
		s.fail("more and complete disagree")
	}
	if out.Complete != nil {
		s.count("complete page")
		sums := oracle.Summarise(want)
		if !exact {
			sums = nil
		}
		newer := s.newerThan(s.deviceRow(pg.Device).Schema)
		for t, w := range sums {
			g := out.Complete.Types[t]
			if newer[t] != nil {
				w.Digest = g.Digest
			}
			if g.Count != w.Count || g.Digest != w.Digest {
				s.fail("complete for %s: %d %s, not %d", dev.Employee, g.Count, t, w.Count)
			}
		}
		for t, g := range out.Complete.Types {
			if _, ok := sums[t]; !ok && g.Count != 0 && exact {
				s.fail("complete for %s: %d %s, not none", dev.Employee, g.Count, t)
			}
		}
	}
	if out.Reset && out.ResetTypes == nil {
		s.count("reset page")
	} else if out.Reset {
		s.count("reset page of some types")
	}
	if out.MobileEnded {
		s.count("mobile ended")
		if s.world.Mobile(dev.Employee) && !s.altered {
			s.fail("mobileEnded for %s, who has the role", dev.Employee)
		}
	}
}

// judgeResult looks at what one command was answered.
func (s *sim) judgeResult(r request, res apply.Result, alone bool) {
	c := r.cmd
	if fault.Is(res.Err, fault.InternalError) {
		s.fail("%s: %v", r.what(), res.Err)
	}
	if c.Pull != nil {
		for _, p := range s.phonesOf(c.Device) {
			p.quiet = false
		}
	}
	s.judgeSession(c, res)
	if c.Refresh != nil && alone {
		s.judgeRefresh(c, res)
	}
	s.judgeKeyed(c, res, alone)
	if c.Write != nil && alone {
		s.judgeWrite(c, res)
	}
	if c.Bulk != nil && alone {
		s.judgeBulk(c, res)
	}
	if alone {
		s.judgeKept(c, res)
	}
	if res.Push != nil {
		s.judgePush(c, res.Push, alone)
	}
}

// judgeKeyed: what an idempotency key was used for once is done once, and told
// again.
func (s *sim) judgeKeyed(c *command.Command, res apply.Result, alone bool) {
	if res.Err == nil && c.Write != nil && c.Write.Op == "create" {
		s.made[res.ID] = true
	}
	if c.Write == nil || c.Write.Key == "" {
		return
	}
	key := string(c.Actor) + " " + c.Write.Key
	use, again := s.keyed[key]
	had := use.id
	if again && !res.Replayed && s.world.Now-use.at >= day {
		again = false // remembered for so long
	}
	switch {
	case res.Replayed:
		s.count("write with a key told again")
		if again && had != res.ID {
			s.fail("I5: a key that stood for %s stands for %s", had, res.ID)
		}
		if touched := s.touched(); alone && len(touched) > 0 {
			s.fail("I1: a write told again by its key touched %s", touched)
		}
	case res.Err == nil && again:
		s.fail("I1: a write with a key was done twice: %s, then %s", had, res.ID)
	case res.Err == nil:
		s.keyed[key] = keyUse{res.ID, s.world.Now}
	}
}

// judgeBulk holds the answers of a bulk action, one a record, against what its
// actor sees.
func (s *sim) judgeBulk(c *command.Command, res apply.Result) {
	if res.Err != nil {
		s.count("bulk refused: " + string(fault.Of(res.Err).Code))
		return
	}
	if len(res.Bulk) != len(c.Bulk.IDs) {
		s.fail("a bulk action on %d records has %d answers", len(c.Bulk.IDs), len(res.Bulk))
	}
	for i, it := range res.Bulk {
		if it.ID != c.Bulk.IDs[i] {
			s.fail("answer %d of a bulk action is about %s, not %s", i, it.ID, c.Bulk.IDs[i])
		}
		if it.Err == nil {
			s.count("bulk item done")
			s.judgeRight(c.Actor, it.ID, c.Bulk.Type)
		} else {
			s.count("bulk item refused: " + string(fault.Of(it.Err).Code))
		}
		if s.prev == nil || !s.prev.Active(c.Actor) || s.altered {
			continue
		}
		_, saw := s.prev.Sees(c.Actor, it.ID)
		if _, sees := s.world.Sees(c.Actor, it.ID); !saw && !sees {
			s.mustBeNotFound(it.Err, c.Actor, it.ID)
		}
	}
}

// judgeWrite holds the answer of a write against what its actor sees, and a
// refusal against what the actor may know.
func (s *sim) judgeWrite(c *command.Command, res apply.Result) {
	w := c.Write
	if res.Err != nil {
		if touched := s.touched(); len(touched) > 0 {
			s.fail("a refused write touched %s", touched)
		}
		s.count("write refused: " + string(fault.Of(res.Err).Code))
	} else {
		s.count("write done: " + w.Op)
		if w.Op == "create" || w.Op == "action" {
			s.count("done: " + w.Type + " " + w.Op + " " + w.Action)
		}
	}
	if res.Err == nil && !res.Replayed && (w.Op == "create" || w.Op == "patch") {
		s.stands(res.ID, w.Fields)
	}
	if c.Actor == "" || s.altered {
		return
	}
	if res.Err == nil && !res.Replayed {
		id := w.ID
		if w.Op == "create" {
			id = res.ID
		}
		s.judgeRight(c.Actor, id, w.Type)
	}
	if w.Op != "create" && s.prev != nil && !res.Replayed {
		_, saw := s.prev.Sees(c.Actor, w.ID)
		_, sees := s.world.Sees(c.Actor, w.ID)
		if !saw && !sees && s.prev.Active(c.Actor) && s.world.Active(c.Actor) && !s.settlesAsEditor(c.Actor, w.ID) {
			s.mustBeNotFound(res.Err, c.Actor, w.ID)
		}
	}
	if res.Body != nil {
		var m map[string]json.RawMessage
		if err := json.Unmarshal(res.Body, &m); err != nil {
			s.fail("a write's body: %v", err)
		}
		got := oracle.Shown{Type: res.Type.Name, ID: res.ID, Rev: res.Rev, Fields: map[string]string{}}
		for k, v := range m {
			switch k {
			case "id", "rev":
			case "context":
				got.Context = true
			default:
				got.Fields[k] = string(v)
			}
		}
		want, ok := s.world.Sees(c.Actor, res.ID)
		if !ok {
			s.fail("I2: %s is shown %s after a write", c.Actor, res.ID)
		}
		one := func(x oracle.Shown) map[ident.RecordID]oracle.Shown { return map[ident.RecordID]oracle.Shown{x.ID: x} }
		if diff := oracle.Differences(one(want), one(got)); len(diff) > 0 {
			s.fail("I2: %s after a write: %q", c.Actor, diff)
		}
	}
}

// judgeRight holds what somebody did to a record against what nobody may do:
// write with roles that only look, or write of a client hidden from them.
func (s *sim) judgeRight(actor, id ident.RecordID, typ string) {
	if actor == "" || s.prev == nil || s.altered {
		return
	}
	if !s.prev.MayWrite(actor, typ) && !s.world.MayWrite(actor, typ) {
		s.fail("%s, who may write nothing, has written %s/%s", actor, typ, id)
	}
	for _, w := range []*oracle.World{s.prev, s.world} {
		r, ok := w.Record(id)
		if !ok {
			continue
		}
		if c := ident.RecordID(r.Text("clientId")); s.prev.Hides(actor, c) && s.world.Hides(actor, c) {
			s.fail("%s has written %s/%s of a client hidden from them", actor, typ, id)
		}
	}
	s.count("right to write judged")
}

// mustBeNotFound: what one can't see is not there, whatever is tried.
func (s *sim) mustBeNotFound(err error, who, id ident.RecordID) {
	s.count("write to what is not seen")
	if !fault.Is(err, fault.NotFoundCode) {
		s.fail("I2: %s, who does not see %s, is answered %v", who, id, err)
	}
	if f := fault.Of(err); f.Message != fault.NotFoundCode.Text() || len(f.Extra) > 0 || f.Field != "" {
		s.fail("I2: a not_found tells more: %v %v", f, f.Extra)
	}
}

// judgePush: each mutation has one outcome, told the same whenever it is told.
func (s *sim) judgePush(c *command.Command, res *wire.Results, alone bool) {
	if len(res.Results) != len(c.Push.Mutations) {
		s.fail("I1: %d results for %d mutations", len(res.Results), len(c.Push.Mutations))
	}
	fresh := 0
	for i, r := range res.Results {
		m := c.Push.Mutations[i]
		if r.N != m.N {
			s.fail("I1: result %d answers mutation %d", r.N, m.N)
		}
		switch r.Code {
		case string(fault.NumberGap), string(fault.NumberReused):
			s.count("push: " + r.Code)
			continue
		case string(fault.InternalError):
			s.fail("mutation %d: %s %s/%s: internal error", m.N, m.Op, m.Type, m.ID)
		}
		key := toldKey{c.Device, m.N}
		told, _ := json.Marshal([]any{r.Status, r.Code, r.Message, m.Hash})
		again := false
		if before, ok := s.told[key]; ok {
			if before != string(told) && m.N > c.Push.Acked && m.N > s.ackedBy(c.Device) {
				s.fail("I5: mutation %d of %s was told %s and is told %s", m.N, c.Device, before, told)
			}
			again = true
			s.count("result told again")
		} else if m.N <= s.floor[c.Device] {
			again = true // told where the answer was lost, or before a backup was made
			s.told[key] = string(told)
		} else {
			fresh++
			s.told[key] = string(told)
			s.count("mutation " + r.Status + " " + r.Code)
			s.judgeEffect(m, r, alone, alone && len(c.Push.Mutations) == 1)
			if alone && len(c.Push.Mutations) == 1 {
				s.judgeConflicts(c, &m, r)
			}
			if alone && byItself(c.Push.Mutations, i) {
				s.judgeMerge(c, &m, r)
			}
			if r.Status == wire.Applied && alone && len(c.Push.Mutations) == 1 {
				s.judgeRight(c.Actor, m.ID, m.Type)
			}
		}
		if r.Status == wire.Applied && m.Op == wire.OpCreate && !again {
			s.made[m.ID] = true
		}
		if r.Status != wire.Applied && !again {
			s.judgeSetAside(c.Device, &m)
		}
		if s.altered {
			continue
		}
		if r.Rev != "" && alone && len(c.Push.Mutations) == 1 {
			if w, ok := s.world.Sees(c.Actor, m.ID); !ok {
				s.fail("I2: a result tells the rev of %s, which %s does not see", m.ID, c.Actor)
			} else if w.Rev != r.Rev {
				s.fail("I2: a result tells rev %s of %s, %s sees %s", r.Rev, m.ID, c.Actor, w.Rev)
			}
		}
		for _, x := range r.Conflicts {
			w, ok := s.world.Sees(c.Actor, m.ID)
			if theirs := string(x.Theirs); alone && theirs != "null" && (!ok || w.Fields[x.Field] != theirs) && len(c.Push.Mutations) == 1 {
				s.fail("I2: a conflict tells %s of %s.%s", theirs, m.ID, x.Field)
			}
			s.count("conflict on a field")
		}
		// What was told once is told again as it was.
		if alone && i == 0 && !again && m.Op != wire.OpCreate && r.Code != "" && s.prev != nil {
			_, saw := s.prev.Sees(c.Actor, m.ID)
			if _, sees := s.world.Sees(c.Actor, m.ID); !saw && !sees && m.ID.Valid() {
				switch r.Code {
				case string(fault.NotFoundCode), string(fault.DependsOn), string(fault.MobileModuleRequired):
					s.count("mutation of what is not seen")
				default:
					if _, told := s.prev.Record(m.ID); told {
						s.fail("I2: %s, who does not see %s/%s, is answered %s", c.Actor, m.Type, m.ID, r.Code)
					}
				}
			}
		}
	}
	if touched := s.touched(); fresh == 0 && alone && len(touched) > 0 {
		s.fail("I1: a push that brings nothing new touched %s", touched)
	}
}

// judgeSetAside: what was refused or is in conflict is kept as it was typed.
func (s *sim) judgeSetAside(id ident.DeviceID, m *command.Mutation) {
	kept := false
	apply.QuarantinedAfter(s.reader(), id, m.N-1, func(q apply.Quarantined) bool {
		kept = q.Mutation.N == m.N && bytes.Equal(q.Mutation.Hash, m.Hash)
		return false
	})
	if !kept {
		s.fail("mutation %d of %s was not done, and what was typed is kept nowhere", m.N, id)
	}
	s.count("work set aside is kept")
}

// ackedBy returns the highest number that a device has said it has the result
// of, as the server has it.
func (s *sim) ackedBy(id ident.DeviceID) uint64 { return s.deviceRow(id).Acked }

// judgeEffect: what was applied is there.
func (s *sim) judgeEffect(m command.Mutation, r wire.Result, alone, single bool) {
	_, live := s.world.Record(m.ID)
	if r.Status == wire.Refused || !alone {
		if m.Op == wire.OpCreate && live && r.Status == wire.Refused && alone && s.prev != nil {
			if _, before := s.prev.Record(m.ID); !before {
				s.fail("I1: refused creation of %s is there", m.ID)
			}
		}
		return
	}
	if r.Status == wire.Applied && single && (m.Op == wire.OpCreate || m.Op == wire.OpPatch) {
		s.stands(m.ID, m.Fields)
	}
}

// stands: what was told done is there as it was said, as far as it is a text
// that nothing else has.
func (s *sim) stands(id ident.RecordID, said command.Object) {
	rec, ok := s.world.Record(id)
	if !ok {
		s.fail("I1: %s, which was told written, is not there", id)
	}
	for _, k := range sortedKeys(said) {
		f := rec.Type.Field(k)
		if f == nil || f.Kind != entity.Text && f.Kind != entity.String {
			continue
		}
		var want string
		if json.Unmarshal(said[k], &want) == nil && strings.HasPrefix(want, "v") && rec.Text(k) != want {
			s.fail("I1: %s.%s was told written as %q and is %q", id, k, want, rec.Text(k))
		}
	}
	s.count("what was told written stands")
}

// afterCommit holds the state against the judge's own reading of it.
func (s *sim) afterCommit() {
	s.judgeEnded()
	if !s.begun {
		return
	}
	if !s.altered {
		switch s.dice.IntN(12) {
		case 0:
			s.checkPerson(pick(s.dice, s.people))
		case 1, 2:
			s.checkDevice(pick(s.dice, s.phones))
		}
	}
	if s.dice.IntN(60) == 0 {
		s.checkIndexes()
	}
	s.checkStamps()
	s.checkQuiet()
}

// checkStamps: nothing that an entry wrote bears a time that has not come,
// whatever phones take for now.
func (s *sim) checkStamps() {
	if !s.folded {
		return
	}
	for _, t := range s.effects.Touched {
		raw := s.snap.Get(store.Records, binary.BigEndian.AppendUint32(nil, t.Ord))
		if raw == nil {
			continue
		}
		rec, err := s.cat.Decode(t.Ord, raw)
		must(err)
		if last := rec.Last(^entity.Mask(0)); last.At > s.world.Now {
			s.fail("%s/%s was changed at %d, which is later than now, %d", t.Type.Name, rec.ID, last.At, s.world.Now)
		}
	}
}

// checkQuiet asks, as the live sockets do, which devices may have something to
// pull after the entry: one that had nothing before and is not named must
// still have nothing.
func (s *sim) checkQuiet() {
	var watched []apply.Watched
	var quiet []*phone
	for _, p := range s.phones {
		if p.session == "" || !s.folded { // what a lost entry did is not known
			p.quiet = false
		}
		if p.quiet {
			watched = append(watched, apply.Watched{Device: p.device, Employee: p.who})
			quiet = append(quiet, p)
		}
	}
	if len(watched) == 0 {
		return
	}
	s.m.Rest(s.snap)
	defer s.m.Leave()
	named := map[int]bool{}
	at := map[ident.DeviceID]int{}
	for i, w := range watched {
		at[w.Device] = i
		s.m.Watch(w)
	}
	s.m.TouchedWatched(s.effects, func(id ident.DeviceID) {
		if i, ok := at[id]; ok {
			named[i] = true
		}
	})
	asleep := map[int]bool{}
	s.m.Touched(s.effects, watched, func(i int) { asleep[i] = true })
	if !maps.Equal(named, asleep) {
		s.fail("an entry concerns other devices of those that are watched, %v, than of those that sleep, %v, of %v", named, asleep, watched)
	}
	newDay := s.prev == nil || s.prev.Now.Day() != s.world.Now.Day()
	for i, p := range quiet {
		if (named[i] && s.planted != plantWake) || newDay {
			p.quiet = false
			if p.live && named[i] {
				if s.befalls(wakeLost) {
					s.met(wakeLost, p)
				} else {
					p.dirty = true
				}
			}
			continue
		}
		// Of a device that has nothing at all, and whose user sees nothing, a pull
		// from nothing is never answered without an entry.
		if s.dice.IntN(3) > 0 || p.cp == "" || s.session(p.session).over(s.world.Now) || !s.world.Active(p.who) {
			continue
		}
		c := p.command()
		c.Pull = &command.Pull{Checkpoint: p.cp}
		s.ahead.Before(c)
		res, done := s.m.Peek(c)
		if fault.Is(res.Err, fault.MobileModuleRequired) {
			continue // none is left
		}
		if res.Err != nil || !done || !res.Page.Empty() {
			what := "a change of what is stored"
			if res.Page != nil && !res.Page.Empty() {
				what = fmt.Sprintf("%d removals and %d records", res.Page.Removed.Len(), len(res.Page.Items))
				for o := range res.Page.Removed.All() {
					t, id := s.m.Reader().Name(o)
					what += fmt.Sprintf(" -%s/%s", t, id)
				}
				for _, it := range res.Page.Items {
					t, id := s.m.Reader().Name(it.Ord)
					what += fmt.Sprintf(" +%s/%s", t, id)
				}
			}
			s.fail("%s has something to pull (%v, %s) and was not named among those touched", p.name, res.Err, what)
		}
		s.count("quiet device left alone")
	}
}

// checkPerson holds the set reading and the point reading of a person's
// rights against the judge's.
func (s *sim) checkPerson(who ident.RecordID) {
	rd := s.reader()
	sub, ok := s.cfg.Roles.Build(rd, who)
	if !ok {
		return
	}
	s.count("person compared")
	if len(sub.For) > 0 {
		s.count("person compared who acts for another")
	}
	sets := scope.Visible(rd, sub)
	by := map[ident.Ordinal]scope.Class{}
	for _, part := range sets {
		for o := range part.Set.All() {
			if _, twice := by[o]; twice {
				s.fail("%s: ordinal %d stands in two classes", who, o)
			}
			by[o] = part.Class
		}
	}
	n := 0
	for _, t := range s.cat.Types {
		for _, r := range s.world.Records(t.Name) {
			mask, context := s.world.Mask(who, r.ID)
			c := by[r.Ord]
			if uint64(c.Mask) != mask || (mask != 0 && c.Context != context) {
				s.fail("%s sees of %s/%s: set %s context %v, judge %s context %v", who, t.Name, r.ID, names(t, c.Mask), c.Context, names(t, entity.Mask(mask)), context)
			}
			if mask != 0 {
				n++
			}
			if s.dice.IntN(8) == 0 {
				rec, ok := rd.LoadOrd(r.Ord)
				if !ok {
					s.fail("record %s can't be loaded", r.ID)
				}
				if sight := sub.View(rec, rd); uint64(sight.Mask) != mask || (mask != 0 && sight.Context != context) {
					s.fail("%s sees of %s/%s: point %s context %v, judge %s context %v", who, t.Name, r.ID, names(t, sight.Mask), sight.Context, names(t, entity.Mask(mask)), context)
				}
				if mask == 0 && sub.Decide(policy.Delete, rec, rd).Allowed {
					s.count("may delete what is not seen")
				}
			}
		}
	}
	if n != len(by) {
		s.fail("%s: the set has %d records, the judge sees %d", who, len(by), n)
	}
}

func names(t *entity.Type, m entity.Mask) string {
	var out []string
	for no := range uint8(64) {
		if m.Has(no) && t.FieldNo(no) != nil {
			out = append(out, t.FieldNo(no).Name)
		}
	}
	return fmt.Sprint(out)
}

// checkDevice holds what a device should carry against the judge's reading.
func (s *sim) checkDevice(p *phone) {
	dev, ok, err := s.world.Device(p.device)
	must(err)
	if !ok || p.device == "" {
		return
	}
	rd := s.reader()
	sub, ok := s.cfg.Roles.Build(rd, p.who)
	if !ok {
		return
	}
	s.count("device compared")
	d := apply.ReadDevice(rd, apply.Classes(rd), p.device)
	got := map[ident.RecordID]bool{}
	want := s.holds(dev)
	for _, part := range apply.Current(rd, sub, d, s.cfg.Field) {
		for o := range part.Set.All() {
			_, id := rd.Name(o)
			got[id] = true
			if w, ok := want[id]; !ok || w.Context != part.Context {
				s.fail("%s's %s is to carry %s (context %v): the judge says %v %v", p.who, p.name, id, part.Context, ok, w.Context)
			}
		}
	}
	for id := range want {
		if !got[id] {
			s.fail("%s's %s is not to carry %s/%s: the judge says it is", p.who, p.name, want[id].Type, id)
		}
	}
}

// checkIndexes works every scope index out anew from the raw records.
func (s *sim) checkIndexes() {
	s.count("indexes compared")
	rd := s.reader()
	want := map[state.Key]map[ident.Ordinal]bool{}
	add := func(k state.Key, o ident.Ordinal) {
		if want[k] == nil {
			want[k] = map[ident.Ordinal]bool{}
		}
		want[k][o] = true
	}
	changed := map[uint64][]ident.Ordinal{} // by position
	s.snap.Scan(store.Records, nil, func(k, v []byte) bool {
		o := binary.BigEndian.Uint32(k)
		r, err := s.cat.Decode(o, v)
		must(err)
		add(state.TypeKey(r.Type.No), o)
		if len(v) > 419 {
			add("L\x00", o)
		}
		if len(v) > 2097 {
			add("L\x01", o)
		}
		if c := r.Client(); c == "" {
			add(state.NoClientKey, o)
		} else {
			add(state.ClientKey(rd.Ordinal(c)), o)
			if cl, ok := rd.Load(c); ok {
				if a := cl.Get("salesArea").Ref(); a != "" {
					add(state.AreaKey(rd.Ordinal(a)), o)
				}
			}
		}
		if r.Archived() {
			add(state.ArchivedKey, o)
		}
		for _, f := range r.Type.Indexed() {
			for _, k := range state.FieldKeys(rd, r, f) {
				add(k, o)
			}
		}
		p := uint64(r.Last(^entity.Mask(0)).Pos)
		changed[p] = append(changed[p], o)
		return true
	})
	got := map[state.Key]bits.Set{}
	s.snap.Scan(store.Index, nil, func(k, _ []byte) bool {
		key := state.Key(k[:len(k)-2])
		got[key] = rd.Index(key)
		return true
	})
	for k, set := range want {
		if g := got[k]; g.Len() != len(set) {
			s.fail("index %q has %d records, %d belong there", string(k), g.Len(), len(set))
		}
		for o := range set {
			if !got[k].Contains(o) {
				s.fail("index %q lacks record %d", string(k), o)
			}
		}
	}
	for k, g := range got {
		if len(want[k]) == 0 {
			s.fail("index %q has %d records, none belong there", string(k), g.Len())
		}
	}
	var before uint64
	s.snap.Scan(store.Changes, nil, func(k, v []byte) bool {
		last := binary.BigEndian.Uint64(k)
		first, n := binary.Uvarint(v)
		if n <= 0 || first <= before || last < first {
			s.fail("a row of the change index speaks of %d to %d, the one before it ends at %d", first, last, before)
			return true
		}
		if last > first {
			s.count("change index: rows joined")
		}
		before = last
		set, err := bits.Parse(v[n:])
		must(err)
		for p := first; p <= last; p++ {
			for _, o := range changed[p] {
				if !set.Contains(o) {
					s.fail("record %d changed at %d, the row of the change index does not say so", o, p)
				}
			}
			delete(changed, p)
		}
		return true
	})
	for p, ords := range changed {
		s.fail("the change index has nothing of %d, when records %v changed", p, ords)
	}
	s.checkHeld()
}

// checkHeld reads every device's held set: disjoint classes, of ordinals that
// have a name.
func (s *sim) checkHeld() {
	rd := s.reader()
	classes := apply.Classes(rd)
	apply.EachDevice(rd, func(id ident.DeviceID) bool {
		d := apply.ReadDevice(rd, classes, id)
		seen := map[ident.Ordinal]bool{}
		for _, part := range d.Sync.Held {
			for o := range part.Set.All() {
				if t, _ := rd.Name(o); t == nil || t.No != part.Type || seen[o] {
					s.fail("device %s: ordinal %d is held as type %d, twice: %v", id, o, part.Type, seen[o])
				}
				seen[o] = true
			}
		}
		return true
	})
}

// settle lets the faults stop and everybody come into step, and then judges
// what everybody holds.
func (s *sim) settle() {
	s.weather = weather{}
	if s.altered {
		s.program(s.grown(), false)
	}
	for _, r := range s.under {
		s.submit("", r)
	}
	s.under = nil
	for _, p := range s.phones {
		p.reliable, p.late, p.under = true, nil, nil
	}
	// Everybody sends what they have, until nobody has any more.
	for range 8 {
		for _, p := range s.phones {
			for range 3 {
				if s.signedIn(p) && len(p.outbox) > 0 {
					s.submit("", p.push())
				}
			}
		}
	}
	s.still = true
	// Two that pass for one device end each other's sessions: each is in step
	// when it has pulled, until the other has.
	for _, p := range s.phones {
		if s.shared(p) {
			s.sync(p)
			s.converged(p)
		}
	}
	// Whoever signs in or sends something changes what others have.
	for changes := -1; changes != s.changes; {
		changes = s.changes
		for _, p := range s.phones {
			if !s.shared(p) {
				s.sync(p)
			}
		}
	}
	for _, p := range s.phones {
		if !s.shared(p) {
			s.converged(p)
		}
	}
	s.checkIndexes()
	for _, who := range s.people {
		if s.dice.IntN(2) == 0 {
			s.checkPerson(who)
		}
	}
	s.kept(s.snap)
	s.verified(s.snap)
	if s.seed%3 == 0 {
		s.checkReplay()
	}
}

// sync pulls until the phone is told that it is complete.
func (s *sim) sync(p *phone) {
	for range 400 {
		if !s.signedIn(p) {
			if p.session == "" && !s.world.Active(p.who) {
				return
			}
			continue
		}
		if len(p.outbox) > 0 {
			s.submit("", p.push())
			continue
		}
		r := p.pull()
		r.cmd.Pull.Profile, r.cmd.Pull.Window, r.cmd.Pull.Pins, r.cmd.Pull.Heal = "", nil, nil, nil
		done := false
		take := r.read
		r.read = func(res *apply.Result) func() {
			done = fault.Is(res.Err, fault.MobileModuleRequired) || (res.Err == nil && res.Page.Complete && res.Page.Empty())
			return take(res)
		}
		s.submit("", r)
		if done {
			return
		}
	}
	s.fail("I3: %s does not come to an end of pulling", p.name)
}

func (s *sim) converged(p *phone) {
	if p.session == "" {
		if s.world.Active(p.who) {
			s.fail("%s, who is active, can't sign in on %s", p.who, p.name)
		}
		s.count("person who is out")
		return
	}
	dev, ok, err := s.world.Device(p.device)
	must(err)
	if !ok {
		s.fail("%s has no device", p.name)
	}
	if dev.Revoked {
		s.fail("I6: %s was revoked and has not been told to wipe", p.name)
	}
	if diff := s.differences(dev, s.holds(dev), p.store); len(diff) > 0 {
		s.fail("I3: %s of %s: %q", p.name, p.who, diff)
	}
	if len(p.outbox) > 0 {
		s.fail("%s still has %d mutations to push, from number %d", p.name, len(p.outbox), p.outbox[0].N)
	}
	s.count("device in step")
	if s.shared(p) {
		s.count("clone in step")
	}
}
