package simtest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/oracle"
	"satchel/internal/policy"
	"satchel/sync/apply"
	"satchel/sync/bits"
	"satchel/sync/oplog"
	"satchel/sync/scope"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/wire"
)

// encode renders a page as it leaves the server and judges every byte of it.
func (s *sim) encode(pg *apply.Page) *wire.Page {
	rd := s.reader()
	raw, err := pg.Encode(rd, nil, apply.Digests(rd, pg.Now))
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

func (s *sim) phoneOf(id ident.DeviceID) *phone {
	for _, p := range s.phones {
		if p.device == id {
			return p
		}
	}
	return nil
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

func (s *sim) judgePage(pg *apply.Page, out *wire.Page) {
	dev, ok, err := s.world.Device(pg.Device)
	must(err)
	if !ok {
		s.fail("a page for device %s, which there is not", pg.Device)
	}
	want := s.world.Holds(dev)
	p := s.phoneOf(pg.Device)
	seen := map[string]bool{}
	for _, r := range out.Records {
		w, ok := want[ident.RecordID(r.ID)]
		if !ok {
			s.fail("a page for %s carries %s/%s, which it is not to have", dev.Employee, r.Type, r.ID)
		}
		got := map[ident.RecordID]oracle.Shown{w.ID: shown(r)}
		if diff := oracle.Differences(map[ident.RecordID]oracle.Shown{w.ID: w}, got); len(diff) > 0 {
			s.fail("a page for %s: %q", dev.Employee, diff)
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
			p.given[w.ID] = true
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
	if pg.Complete != (out.Complete != nil) || out.More == pg.Complete {
		s.fail("more and complete disagree")
	}
	if out.Complete != nil {
		s.count("complete page")
		sums := oracle.Summarise(want)
		for t, w := range sums {
			if g := out.Complete.Types[t]; g.Count != w.Count || g.Digest != w.Digest {
				s.fail("complete for %s: %d %s, not %d", dev.Employee, g.Count, t, w.Count)
			}
		}
		for t, g := range out.Complete.Types {
			if _, ok := sums[t]; !ok && g.Count != 0 {
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
		if s.world.Mobile(dev.Employee) {
			s.fail("mobileEnded for %s, who has the role", dev.Employee)
		}
	}
}

// judgeResult looks at what one command was answered.
func (s *sim) judgeResult(r request, res apply.Result, alone bool) {
	c := r.cmd
	if fault.Is(res.Err, fault.InternalError) {
		s.fail("%s: %v", r.what, res.Err)
	}
	if p := s.phoneOf(c.Device); p != nil && c.Pull != nil {
		p.quiet = false
	}
	// I6: nobody who is out gets in.
	if c.Session != "" {
		if p := s.phoneOf(c.Device); p != nil && p.ended[c.Session] && res.Err == nil {
			s.fail("I6: a session that had ended was served: %s", r.what)
		}
	}
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
		if s.prev == nil || !s.prev.Active(c.Actor) {
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
	if c.Actor == "" {
		return
	}
	if res.Err == nil {
		id := w.ID
		if w.Op == "create" {
			id = res.ID
		}
		s.judgeRight(c.Actor, id, w.Type)
	}
	if w.Op != "create" && s.prev != nil {
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
	if actor == "" || s.prev == nil {
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
			s.judgeEffect(m, r, alone)
			if alone && len(c.Push.Mutations) == 1 {
				s.judgeConflicts(c, &m, r)
			}
			if r.Status == wire.Applied && alone && len(c.Push.Mutations) == 1 {
				s.judgeRight(c.Actor, m.ID, m.Type)
			}
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

// processed returns, by device, the last mutation in effect.
func (s *sim) processed() map[ident.DeviceID]uint64 {
	out := map[ident.DeviceID]uint64{}
	apply.EachDevice(s.reader(), func(id ident.DeviceID) bool {
		var row struct {
			Processed uint64 `json:"processed"`
		}
		must(json.Unmarshal(s.snap.Get(store.Devices, append([]byte{'d'}, id...)), &row))
		out[id] = row.Processed
		return true
	})
	return out
}

// ackedBy returns the highest number that a device has said it has the result
// of, as the server has it.
func (s *sim) ackedBy(id ident.DeviceID) uint64 {
	var row struct {
		Acked uint64 `json:"acked"`
	}
	if v := s.snap.Get(store.Devices, append([]byte{'d'}, id...)); v != nil {
		must(json.Unmarshal(v, &row))
	}
	return row.Acked
}

// judgeEffect: what was applied is there.
func (s *sim) judgeEffect(m command.Mutation, r wire.Result, alone bool) {
	rec, live := s.world.Record(m.ID)
	if r.Status == wire.Refused || !alone {
		if m.Op == wire.OpCreate && live && r.Status == wire.Refused && alone && s.prev != nil {
			if _, before := s.prev.Record(m.ID); !before {
				s.fail("I1: refused creation of %s is there", m.ID)
			}
		}
		return
	}
	if m.Op == wire.OpCreate && live {
		for k, v := range m.Fields {
			if rec.Type.Field(k).Kind == entity.Text && rec.Text(k) != "" {
				var want string
				_ = json.Unmarshal(v, &want)
				if got := rec.Text(k); got != want && k == "key" {
					s.fail("I1: created %s has %s %q, not %q", m.ID, k, got, want)
				}
			}
		}
	}
}

// afterCommit holds the state against the judge's own reading of it.
func (s *sim) afterCommit() {
	for _, p := range s.phones {
		if p.session == "" || p.device == "" {
			continue
		}
		dev, ok, err := s.world.Device(p.device)
		must(err)
		if !s.world.Active(p.who) || (ok && dev.Revoked) {
			if !p.ended[p.session] {
				s.count("session ended by a change of rights")
			}
			p.ended[p.session] = true
		}
	}
	if !s.begun {
		return
	}
	switch s.rng.IntN(4) {
	case 0:
		s.checkPerson(s.somebody())
	case 1:
		s.checkDevice(pick(s.rng, s.phones))
	}
	if s.rng.IntN(30) == 0 {
		s.checkIndexes()
	}
	s.checkQuiet()
}

// checkQuiet asks, as the live sockets do, which devices may have something to
// pull after the entry: one that had nothing before and is not named must
// still have nothing.
func (s *sim) checkQuiet() {
	var watched []apply.Watched
	var quiet []*phone
	for _, p := range s.phones {
		if p.quiet && p.session != "" && !p.ended[p.session] {
			watched = append(watched, apply.Watched{Device: p.device, Employee: p.who})
			quiet = append(quiet, p)
		}
		if p.session == "" || p.ended[p.session] || !s.folded { // what a lost entry did is not known
			p.quiet = false
		}
	}
	if len(watched) == 0 || !s.folded {
		return
	}
	s.m.Rest(s.snap)
	defer s.m.Leave()
	named := map[int]bool{}
	s.m.Touched(s.effects, watched, func(i int) { named[i] = true })
	newDay := s.prev == nil || s.prev.Now.Day() != s.world.Now.Day()
	for i, p := range quiet {
		if named[i] || newDay {
			p.quiet = false
			continue
		}
		// Of a device that has nothing at all, and whose user sees nothing, a pull
		// from nothing is never answered without an entry.
		if s.rng.IntN(3) > 0 || p.cp == "" {
			continue
		}
		c := p.command()
		c.Pull = &command.Pull{Checkpoint: p.cp}
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
			s.fail("%s has something to pull (%v, %s) and was not named among those touched", p.installation, res.Err, what)
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
			if s.rng.IntN(8) == 0 {
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
	if !ok {
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
	want := s.world.Holds(dev)
	for _, part := range apply.Current(rd, sub, d, s.cfg.Field) {
		for o := range part.Set.All() {
			_, id := rd.Name(o)
			got[id] = true
			if w, ok := want[id]; !ok || w.Context != part.Context {
				s.fail("%s's %s is to carry %s (context %v): the judge says %v %v", p.who, p.installation, id, part.Context, ok, w.Context)
			}
		}
	}
	for id := range want {
		if !got[id] {
			s.fail("%s's %s is not to carry %s/%s: the judge says it is", p.who, p.installation, want[id].Type, id)
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
	changes := map[string]bool{}
	s.snap.Scan(store.Records, nil, func(k, v []byte) bool {
		o := binary.BigEndian.Uint32(k)
		r, err := s.cat.Decode(o, v)
		must(err)
		add(state.TypeKey(r.Type.No), o)
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
		row := binary.BigEndian.AppendUint64(nil, uint64(r.Last(^entity.Mask(0)).Pos))
		changes[string(binary.BigEndian.AppendUint32(row, o))] = true
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
	n := 0
	s.snap.Scan(store.Changes, nil, func(k, _ []byte) bool {
		n++
		if !changes[string(k)] {
			s.fail("the change index has a row too many")
		}
		return true
	})
	if n != len(changes) {
		s.fail("the change index has %d rows, not %d", n, len(changes))
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
	for _, p := range s.phones {
		p.reliable, p.late, p.under = true, nil, nil
	}
	for round := range 6 {
		for _, p := range s.phones {
			for range 3 {
				if p.session == "" {
					s.submit("", p.login())
				}
				if p.session != "" && (len(p.outbox) > 0 || round == 0) {
					s.submit("", p.push())
				}
			}
		}
	}
	s.still = true
	for _, p := range s.phones {
		s.sync(p)
	}
	for _, p := range s.phones {
		s.converged(p)
	}
	s.checkIndexes()
	for _, who := range s.people {
		s.checkPerson(who)
	}
	s.checkReplay()
}

// sync pulls until the phone is told that it is complete.
func (s *sim) sync(p *phone) {
	for range 400 {
		if p.session == "" {
			s.submit("", p.login())
		}
		if p.session == "" {
			return
		}
		r := p.pull()
		r.cmd.Pull.Profile, r.cmd.Pull.Window, r.cmd.Pull.Pins, r.cmd.Pull.Heal = "", nil, nil, nil
		done := false
		take := r.done
		r.done = func(res *apply.Result) {
			done = res.Err != nil || (res.Page.Complete && res.Page.Empty())
			take(res)
		}
		s.submit("", r)
		if done {
			return
		}
	}
	s.fail("I3: %s does not come to an end of pulling", p.installation)
}

func (s *sim) converged(p *phone) {
	if p.session == "" {
		if s.world.Active(p.who) {
			s.fail("%s, who is active, can't sign in on %s", p.who, p.installation)
		}
		s.count("person who is out")
		return
	}
	dev, ok, err := s.world.Device(p.device)
	must(err)
	if !ok {
		s.fail("%s has no device", p.installation)
	}
	if diff := oracle.Differences(s.world.Holds(dev), p.store); len(diff) > 0 {
		s.fail("I3: %s of %s: %q", p.installation, p.who, diff)
	}
	if len(p.outbox) > 0 {
		s.fail("%s still has %d mutations to push, from number %d", p.installation, len(p.outbox), p.outbox[0].N)
	}
	s.count("device in step")
}

// checkReplay folds the whole log into a store of its own, on machines that
// are opened anew now and then, and compares every row.
func (s *sim) checkReplay() {
	s.count("log replayed")
	other := store.NewMem()
	m := apply.New(s.cfg)
	must(s.log.Entries(0, func(e oplog.Entry) (bool, error) {
		if s.rng.IntN(10) == 0 {
			m = apply.New(s.cfg)
		}
		err := other.Update(func(w store.Writer) error { return m.Fold(w, e) })
		m.Committed(e)
		return true, err
	}))
	snap, err := other.Snapshot()
	must(err)
	defer snap.Close()
	rows := func(r store.Reader, b store.Bucket) (keys [][]byte, vals map[string][]byte) {
		vals = map[string][]byte{}
		r.Scan(b, nil, func(k, v []byte) bool {
			if b == store.Meta && (bytes.HasPrefix(k, []byte("log/")) || string(k) == "format") {
				return true
			}
			keys = append(keys, slices.Clone(k))
			vals[string(k)] = slices.Clone(v)
			return true
		})
		return keys, vals
	}
	for _, b := range store.Buckets() {
		if b == store.Log {
			continue
		}
		ks, vs := rows(s.snap, b)
		ks2, vs2 := rows(snap, b)
		for _, k := range append(ks, ks2...) {
			if !bytes.Equal(vs[string(k)], vs2[string(k)]) || (vs[string(k)] == nil) != (vs2[string(k)] == nil) {
				s.fail("replay: bucket %s, row %q: %q was written, replayed it is %q", b, k, vs[string(k)], vs2[string(k)])
			}
		}
	}
}
