package oracle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sort"

	"satchel/internal/ident"
	"satchel/sync/store"
)

// Device is what the judge knows of a device: what it says about itself.
type Device struct {
	ID       ident.DeviceID
	Employee ident.RecordID
	Revoked  bool
	Field    bool
	Window   *struct{ From, To ident.Millis }
	Pins     []ident.RecordID
}

// Device reads a device's row; ok is false where there is none.
func (w *World) Device(id ident.DeviceID) (*Device, bool, error) {
	v := w.kv.Get(store.Devices, append([]byte{'d'}, id...))
	if v == nil {
		return nil, false, nil
	}
	if known, ok := w.devices[id]; ok && bytes.Equal(known.raw, v) {
		d := *known.dev
		w.state(&d)
		return &d, true, nil
	}
	var row struct {
		Employee ident.RecordID `json:"employee"`
		Field    bool           `json:"field"`
		Window   *struct {
			From ident.Millis `json:"from"`
			To   ident.Millis `json:"to"`
		} `json:"window"`
		Pins []ident.Ref `json:"pins"`
	}
	if err := json.Unmarshal(v, &row); err != nil {
		return nil, false, fmt.Errorf("%w: device %s: %w", ErrRow, id, err)
	}
	d := &Device{ID: id, Employee: row.Employee, Field: row.Field}
	if row.Window != nil {
		d.Window = &struct{ From, To ident.Millis }{row.Window.From, row.Window.To}
	}
	for _, p := range row.Pins {
		d.Pins = append(d.Pins, p.ID)
	}
	known := *d
	w.devices[id] = deviceRow{bytes.Clone(v), &known}
	w.state(d)
	return d, true, nil
}

// state reads whether the device is revoked.
func (w *World) state(d *Device) {
	r := w.byID[d.ID]
	d.Revoked = r == nil || r.Text("status") == "Revoked"
}

// sight is what a person sees of one record.
type sight struct {
	rec     *Record
	fields  fields
	context bool
}

// Holds works out what the device must hold once it is in step: for an office
// device all that stands in root lists, for a field device the own work in
// the window and what goes with it; in both, what is pinned and what stands
// beneath it.
func (w *World) Holds(d *Device) map[ident.RecordID]Shown {
	out := map[ident.RecordID]Shown{}
	p := w.person(d.Employee)
	if p == nil || !p.active || (d.Field && !p.mobile) {
		return out
	}
	var seen []sight
	by := map[ident.RecordID]sight{}
	for _, r := range w.records {
		if f, context := w.view(p, r); f != 0 {
			s := sight{r, f, context}
			seen = append(seen, s)
			by[r.ID] = s
		}
	}
	pinned := w.pinned(d, by)
	var carries func(sight) bool
	if d.Field {
		c := w.fieldSet(p, d, by)
		carries = func(s sight) bool { return c[s.rec.ID] }
	} else {
		carries = func(sight) bool { return true }
	}
	for _, s := range seen {
		if (!s.context && carries(s)) || pinned[s.rec.ID] {
			out[s.rec.ID] = s.rec.show(s.fields, s.context)
		}
	}
	if d.Field {
		// The names of the people that what is carried names.
		names := map[string]bool{}
		for id := range out {
			if s := by[id]; s.rec.Type.Name != "employee" {
				s.rec.namesIn(s.fields, names)
			}
		}
		for id := range names {
			if s, ok := by[ident.RecordID(id)]; ok && s.rec.Type.Name == "employee" && !s.context {
				out[s.rec.ID] = s.rec.show(s.fields, false)
			}
		}
	}
	return out
}

// pinned returns the pinned records and what stands beneath them: all of a
// pinned client, of others the records whose owner in the chain of owners
// they are.
func (w *World) pinned(d *Device, by map[ident.RecordID]sight) map[ident.RecordID]bool {
	tops := map[ident.RecordID]bool{}
	for _, id := range d.Pins {
		if s, ok := by[id]; ok && !s.context {
			tops[id] = true
		}
	}
	var beneath func(x *Record, depth int) bool
	beneath = func(x *Record, depth int) bool {
		if x == nil || depth > 64 {
			return false
		}
		if tops[x.ID] {
			return true
		}
		parents := x.Type.Parents
		if parents == nil && x.Type.Root != "" {
			parents = []string{x.Type.Root}
		}
		for _, p := range parents {
			// The chain of owners goes on through deleted records no further.
			if beneath(w.byID[ident.RecordID(x.Text(p))], depth+1) {
				return true
			}
		}
		return false
	}
	out := map[ident.RecordID]bool{}
	for _, r := range w.records {
		if tops[ident.RecordID(r.client())] || beneath(r, 0) {
			out[r.ID] = true
		}
	}
	return out
}

const dayMillis = 24 * 60 * 60 * 1000

// fieldSet returns what a field device carries because of its user's work, the
// names of people apart. Every step of the way leads over records that the
// person sees. Work of those whom the person acts for is own work.
func (w *World) fieldSet(p *person, d *Device, by map[ident.RecordID]sight) map[ident.RecordID]bool {
	day := int64(w.Now) / dayMillis
	from, to := ident.Millis((day-30)*dayMillis), ident.Millis((day+91)*dayMillis)
	if d.Window != nil {
		from, to = d.Window.From, d.Window.To
	}
	within := func(r *Record, field string) bool {
		at, ok := r.instant(field)
		return ok && at >= from && at < to
	}
	who, onsite := map[string]bool{p.id: true}, maps.Clone(p.onsite)
	for _, by := range p.lenders {
		who[by.id] = true
		maps.Copy(onsite, by.onsite)
	}
	own := func(r *Record, field string) bool { return who[r.Text(field)] }
	amid := func(r *Record, fields ...string) bool {
		return slices.ContainsFunc(fields, func(f string) bool {
			return own(r, f) || slices.ContainsFunc(r.List(f), func(id string) bool { return who[id] })
		})
	}
	here := func(r *Record) bool { return r.client() != "" && onsite[r.client()] }
	out := map[ident.RecordID]bool{}
	ids := map[string]map[string]bool{} // by type, what was chosen
	add := func(r *Record) {
		if r == nil || by[r.ID].rec == nil {
			return
		}
		out[r.ID] = true
		if ids[r.Type.Name] == nil {
			ids[r.Type.Name] = map[string]bool{}
		}
		ids[r.Type.Name][string(r.ID)] = true
	}
	addTyped := func(r *Record, typ string) {
		if r != nil && r.Type.Name == typ {
			add(r)
		}
	}
	each := func(typ string, ok func(*Record) bool) {
		for _, r := range w.byType[typ] {
			if ok(r) {
				add(r)
			}
		}
	}
	openActivity := []string{"New", "Assigned", "Accepted", "Travelling", "On Site", "Working", "Paused", "Awaiting Parts"}
	each("jobActivity", func(r *Record) bool {
		if !own(r, "assignee") {
			return false
		}
		return within(r, "scheduledStart") || (r.Text("scheduledStart") == "" && slices.Contains(openActivity, r.Text("status")))
	})
	openTicket := []string{"New", "Assigned", "In Progress", "Waiting"}
	each("ticket", func(r *Record) bool {
		concerned := amid(r, "assignee", "requester", "watchers") || here(r)
		return concerned && (slices.Contains(openTicket, r.Text("status")) || within(r, "opened"))
	})
	for _, a := range w.byType["jobActivity"] {
		if out[a.ID] {
			addTyped(w.to(a, "job"), "job")
			for _, id := range a.List("checklists") {
				addTyped(w.byID[ident.RecordID(id)], "checklist")
			}
			addTyped(w.to(a, "schedulingRole"), "schedulingRole")
		}
	}
	for _, typ := range []string{"job", "ticket"} {
		for _, r := range w.byType[typ] {
			if out[r.ID] {
				addTyped(w.to(r, "client"), "client")
				addTyped(w.to(r, "site"), "site")
				addTyped(w.to(r, "contact"), "contact")
				addTyped(w.to(r, "asset"), "asset")
			}
		}
	}
	for c := range onsite {
		addTyped(w.byID[ident.RecordID(c)], "client")
	}
	each("contact", func(r *Record) bool { return r.Text("site") != "" && ids["site"][r.Text("site")] })
	for _, t := range []string{"checklistAnswer", "timeEntry", "partUsed", "signature"} {
		each(t, func(r *Record) bool { return ids["jobActivity"][r.Text("activity")] })
	}
	each("comment", func(r *Record) bool { return ids["jobActivity"][r.Text("parent")] })
	each("document", func(r *Record) bool {
		return ids["jobActivity"][r.Text("parent")] || ids["ticket"][r.Text("parent")]
	})
	each("ticketUpdate", func(r *Record) bool { return ids["ticket"][r.Text("ticket")] })
	each("serviceAgent", func(r *Record) bool { return own(r, "employee") })
	each("warehouse", func(r *Record) bool { return own(r, "custodian") })
	each("stockLevel", func(r *Record) bool { return ids["warehouse"][r.Text("warehouse")] })
	for _, t := range []string{"stockLevel", "partUsed", "asset"} {
		for _, r := range w.byType[t] {
			if out[r.ID] {
				addTyped(w.to(r, "product"), "product")
			}
		}
	}
	for _, r := range w.byType["client"] {
		if out[r.ID] {
			addTyped(w.to(r, "salesArea"), "salesArea")
			addTyped(w.to(r, "geoArea"), "geoArea")
		}
	}
	each("onsiteClient", here)
	each("employee", func(r *Record) bool { return who[string(r.ID)] || here(r) })
	for _, o := range w.byType["onsiteClient"] {
		if out[o.ID] {
			addTyped(w.to(o, "employee"), "employee")
		}
	}
	each("device", func(r *Record) bool { return own(r, "employee") })
	each("notification", func(r *Record) bool { return own(r, "recipient") })
	each("preference", func(r *Record) bool { return own(r, "owner") })
	each("conflict", func(r *Record) bool { return own(r, "author") })
	return out
}

// Differences compares what should be with what is and says what differs, in
// order of ids; at most ten lines.
func Differences(want, got map[ident.RecordID]Shown) []string {
	var out []string
	ids := map[ident.RecordID]bool{}
	for id := range want {
		ids[id] = true
	}
	for id := range got {
		ids[id] = true
	}
	var order []string
	for id := range ids {
		order = append(order, string(id))
	}
	sort.Strings(order)
	for _, s := range order {
		id := ident.RecordID(s)
		a, ok := want[id]
		b, have := got[id]
		switch {
		case !have:
			out = append(out, a.Type+"/"+s+" is missing")
		case !ok:
			out = append(out, b.Type+"/"+s+" should not be there")
		default:
			out = append(out, a.differs(b)...)
		}
		if len(out) > 10 {
			return append(out[:10], "and more")
		}
	}
	return out
}

func (a Shown) differs(b Shown) []string {
	var out []string
	name := a.Type + "/" + string(a.ID)
	say := func(format string, args ...any) { out = append(out, name+": "+fmt.Sprintf(format, args...)) }
	if a.Type != b.Type || a.ID != b.ID {
		say("is %s/%s", b.Type, b.ID)
	}
	if a.Context != b.Context {
		say("context is %v", b.Context)
	}
	for _, f := range sortedKeys(a.Fields) {
		if v, ok := b.Fields[f]; !ok {
			say("lacks %s", f)
		} else if v != a.Fields[f] {
			say("%s is %s, not %s", f, v, a.Fields[f])
		}
	}
	for _, f := range sortedKeys(b.Fields) {
		if _, ok := a.Fields[f]; !ok {
			say("shows %s, which is not to be seen", f)
		}
	}
	if a.Rev != b.Rev {
		say("rev is %s, not %s", b.Rev, a.Rev)
	}
	return out
}

func sortedKeys(m map[string]string) []string {
	var ks []string
	for k := range m {
		ks = append(ks, k)
	}
	sort.Strings(ks)
	return ks
}
