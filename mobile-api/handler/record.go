package handler

import (
	"cmp"
	"encoding/json"
	"slices"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/sync/bits"
	"satchel/sync/project"
	"satchel/sync/state"
)

// most bounds what stands beneath one record in one answer; the module API has
// the rest.
const most = 500

// shown is a record as the person sees it.
type shown struct {
	rec   *entity.Record
	sight policy.Sight
	raw   []byte // {"id","rev",…}
	rev   string
}

// MarshalJSON renders the record.
func (s *shown) MarshalJSON() ([]byte, error) { return s.raw, nil }

// bundle is a record and what is told along with it, each under its name.
type bundle []member

type member struct {
	name string
	v    any
}

// add adds a member; nothing for a record that is not there.
func (b *bundle) add(name string, v any) {
	if one, ok := v.(*shown); ok && one == nil {
		return
	}
	*b = append(*b, member{name, v})
}

// MarshalJSON renders {"name":…,…} in the order in which members were added.
func (b bundle) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, m := range b {
		if i > 0 {
			out = append(out, ',')
		}
		v, err := json.Marshal(m.v)
		if err != nil {
			return nil, err
		}
		out = append(append(append(out, '"'), m.name...), `":`...)
		out = append(out, v...)
	}
	return append(out, '}'), nil
}

// get returns a field's value as the person sees it, nil for none.
func (s *shown) get(name string) entity.Value {
	f := s.rec.Type.Field(name)
	if f == nil || !s.sight.Mask.Has(f.No) {
		return nil
	}
	return s.rec.Value(f.No)
}

// time returns an instant as the person sees it.
func (s *shown) time(name string) (ident.Millis, bool) { return s.get(name).Time() }

// show returns a record as the person sees it; nil where they don't.
func (v *view) show(rec *entity.Record) *shown {
	sight := v.sub.Sees(rec, v.Reader)
	if sight.Mask == 0 {
		return nil
	}
	var p project.Projector
	raw, rev, err := p.AppendREST(nil, v.Bytes(rec.Ord), rec.ID, sight.Mask, sight.Context)
	if err != nil {
		panic(err) // stored by this program
	}
	return &shown{rec: rec, sight: sight, raw: raw, rev: rev.String()}
}

// find returns a record of the type; hidden, absent and of another type are one
// answer.
func (v *view) find(typ string, id ident.RecordID) (*shown, error) {
	rec, ok := v.Load(id)
	if ok && rec.Type.Name == typ {
		if s := v.show(rec); s != nil {
			return s, nil
		}
	}
	return nil, fault.New(fault.NotFoundCode)
}

// named returns the record that a field names, as far as the person sees both.
func (v *view) named(s *shown, field string) *shown {
	if s == nil {
		return nil
	}
	id := s.get(field).Ref()
	if id == "" {
		return nil
	}
	rec, ok := v.Load(id)
	if !ok {
		return nil
	}
	return v.show(rec)
}

// under returns the records of the type whose field refers to id, as far as the
// person sees them and that they refer to it, oldest first.
func (v *view) under(typ, field string, id ident.RecordID) []*shown {
	t := v.Cat.Type(typ)
	f := t.Field(field)
	out := []*shown{}
	for o := range v.Referring(t, f.No, id).All() {
		rec, ok := v.LoadOrd(o)
		if !ok {
			continue
		}
		if s := v.show(rec); s != nil && s.sight.Mask.Has(f.No) {
			out = append(out, s)
		}
		if len(out) == most {
			break
		}
	}
	return out
}

// having returns the records of the type in which a field names one of the
// people.
func (v *view) having(t *entity.Type, field string, people []ident.RecordID) bits.Set {
	var sets []bits.Set
	for _, p := range people {
		sets = append(sets, v.Referring(t, t.Field(field).No, p))
	}
	return bits.OrAll(sets...)
}

// self is the person and those for whom the person acts.
func (v *view) self() []ident.RecordID { return append([]ident.RecordID{v.sub.ID}, v.sub.For...) }

// brought is an activity with what it brings along: its job, and the job's
// client, site, contact and asset.
func (v *view) brought(a *shown) bundle {
	var out bundle
	out.add(activityName, a)
	job := v.named(a, "job")
	out.add("job", job)
	for _, name := range []string{"client", "site", "contact", "asset"} {
		out.add(name, v.named(job, name))
	}
	return out
}

// activityName is what an activity is called in answers.
const activityName = "activity"

// all brings along what each activity of a list does.
func (v *view) all(list []*shown) []bundle {
	out := make([]bundle, len(list))
	for i, a := range list {
		out[i] = v.brought(a)
	}
	return out
}

// byTime orders activities by when they are scheduled, the unscheduled last.
func byTime(list []*shown) {
	slices.SortStableFunc(list, func(a, b *shown) int {
		x, ok := a.time("scheduledStart")
		y, ok2 := b.time("scheduledStart")
		switch {
		case ok && ok2:
			return cmp.Or(cmp.Compare(x, y), cmp.Compare(a.rec.ID, b.rec.ID))
		case ok:
			return -1
		case ok2:
			return 1
		}
		return cmp.Compare(a.rec.ID, b.rec.ID)
	})
}

// valued returns the records of the type whose enumerated field has one of the
// values.
func (v *view) valued(t *entity.Type, field string, values []string) bits.Set {
	var sets []bits.Set
	for _, s := range values {
		sets = append(sets, v.Index(state.ValueKey(t.No, t.Field(field).No, s)))
	}
	return bits.OrAll(sets...)
}
