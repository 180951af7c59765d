package apply

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"sync"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/internal/policy"
	"satchel/sync/bits"
	"satchel/sync/project"
	"satchel/sync/pull"
	"satchel/sync/scope"
	"satchel/sync/state"
	"satchel/sync/wire"
)

// Profiles, as named in pulls.
const (
	ProfileOffice = "office"
	ProfileField  = "field"
)

// maxPins bounds a device's pins.
const maxPins = 1000

// own returns the device of the session that asks.
func (r *run) own() (*Device, error) {
	if r.cmd.Device == "" {
		return nil, fault.New(fault.DeviceRequired)
	}
	rec, ok := r.w.Load(r.cmd.Device)
	d := r.loadDevice(r.cmd.Device)
	if !ok || d == nil || d.Employee != r.cmd.Actor {
		return nil, fault.New(fault.DeviceRequired)
	}
	if rec.StatusText() == deviceRevoked {
		return nil, fault.New(fault.DeviceRevoked).With("wipe", true)
	}
	return d, nil
}

// prefix is what ids made by the client start with: nothing where it signed
// in without a device.
func (r *run) prefix() string {
	if r.cmd.Device == "" {
		return ""
	}
	if d := r.loadDevice(r.cmd.Device); d != nil {
		return d.Prefix
	}
	return ""
}

func (r *run) pull(p *command.Pull) Result {
	stored, err := r.own()
	if err != nil {
		return Result{Err: err}
	}
	d := *stored
	changed, err := r.profile(&d, p)
	if err != nil {
		return Result{Err: err}
	}
	now := r.now(&d)
	req := pull.Request{Limit: p.Limit}
	if p.Checkpoint == "" {
		req.Fresh = true
	} else {
		req.Number, req.Known = r.pageNumber(d.ID, p.Checkpoint)
	}
	ended := d.Field && !r.sub.Mobile
	// A device at another page than it is known to be at, as a copy of it is, may
	// well hold something, and is told to drop that first.
	settled := req.Fresh || req.Known && req.Number == d.Sync.Ack
	if ended && settled && d.Sync.Pending == nil && d.Sync.Holds().IsEmpty() {
		return Result{Err: fault.New(fault.MobileModuleRequired)}
	}
	if len(p.Reconcile) > 0 && !req.Known && !req.Fresh {
		req.Agreed = r.agreed(now, p.Reconcile)
	}
	for _, name := range p.Heal {
		if t := r.cfg.Cat.Type(name); t != nil {
			req.Heal = append(req.Heal, t.No)
		}
	}
	if !d.Field {
		req.First = func() bits.Set {
			return scope.OwnWork(&r.w.Reader, r.sub, r.visible(r.sub).sets, d.Profile(r.w.Now()).Window, r.cfg.Field)
		}
	}
	if p.Since != nil {
		req.Since = &pull.Mark{Pos: p.Since.Pos, Ord: p.Since.Ord}
	}
	if !changed { // what the device says of itself is stored with a page of its own
		req.Ahead = p.Ahead
	}
	if d.Sync.Pending != nil {
		d = *r.complete(&d)
	}
	page, after, moved := pull.Compute(&r.w.Reader, d.Sync, now, req)
	d.Sync = after
	out := &Page{Page: page, From: p.Checkpoint, Checkpoint: p.Checkpoint, Processed: d.Processed, MobileEnded: ended, Device: d.ID}
	if !page.Empty() && !page.Ahead {
		out.Checkpoint = r.checkpoint(d.ID, page.N)
	}
	if moved || changed {
		r.storeDevice(&d)
	} else {
		r.keep(stored, &d)
	}
	return Result{Page: out}
}

// keep remembers what was computed of a device whose state did not change.
func (r *run) keep(stored, d *Device) {
	stored.now, stored.nowView, stored.nowMoves, stored.nowDay = d.now, d.nowView, d.nowMoves, d.nowDay
	// The same records, in sets that are shared with others.
	if !scope.Same(stored.Sync.Held, d.Sync.Held) {
		stored.Sync.Held = d.Sync.Held
		r.watch.changed(d.ID)
	}
}

// profile takes over what the request says about the device.
func (r *run) profile(d *Device, p *command.Pull) (changed bool, err error) {
	switch p.Profile {
	case "":
	case ProfileOffice:
		changed = d.Field
		d.Field = false
	case ProfileField:
		if !d.Field && !r.sub.Mobile {
			return false, fault.New(fault.MobileModuleRequired)
		}
		changed = !d.Field
		d.Field = true
	default:
		return false, fault.Newf(fault.BadParameter, "profile must be office or field.").OnField("profile")
	}
	if p.Window != nil {
		if p.Window.To <= p.Window.From {
			return false, fault.Newf(fault.BadParameter, "window must end after it begins.").OnField("window")
		}
		if d.Window == nil || *d.Window != *p.Window {
			w := *p.Window
			d.Window, changed = &w, true
		}
	}
	if p.Pins != nil {
		if len(*p.Pins) > maxPins {
			return false, fault.Newf(fault.BadParameter, "A device pins at most %d records.", maxPins).OnField("pins")
		}
		if !slices.Equal(*p.Pins, d.Pins) {
			d.Pins, changed = slices.Clone(*p.Pins), true
		}
	}
	if p.Schema != 0 && p.Schema != d.Schema {
		d.Schema, changed = p.Schema, true
	}
	if changed {
		d.nowView = nil
	}
	return changed, nil
}

// now returns what the device should hold as of the present state.
func (r *run) now(d *Device) scope.Sets {
	v := r.visible(r.sub)
	day := r.w.Now().Day()
	if !d.Field && len(d.Pins) == 0 {
		d.now, d.nowView = nil, nil
		return r.office(d, v)
	}
	if d.nowView == v && d.nowMoves == v.moves && (d.Window != nil || d.nowDay == day || mutant.On(mutant.WindowStands)) {
		return d.now
	}
	d.now, d.nowView, d.nowMoves, d.nowDay = r.carried(d, v), v, v.moves, day
	return d.now
}

// office returns what a device without pins carries in an office: what the person
// sees decides that alone, so that all such devices share it.
func (r *run) office(d *Device, v *view) scope.Sets {
	out, ok := v.office[d.Schema]
	if !ok {
		if v.office == nil || len(v.office) >= maxSchemas {
			v.office = map[int]scope.Sets{}
		}
		out = r.carried(d, v)
		v.office[d.Schema] = out
	}
	return out
}

// maxSchemas bounds the schema versions that a person's devices share sets of.
const maxSchemas = 4

func (r *run) carried(d *Device, v *view) scope.Sets {
	return known(r.cfg.Cat, scope.Carried(&r.w.Reader, r.sub, v.sets, d.Profile(r.w.Now()), r.cfg.Field), d.Schema)
}

// Profile returns the device's profile for the sync set.
func (d *Device) Profile(now ident.Millis) scope.Profile {
	p := scope.Profile{Field: d.Field, Window: scope.DefaultWindow(now)}
	if d.Window != nil {
		p.Window = scope.Window{From: d.Window.From, To: d.Window.To}
	}
	for _, pin := range d.Pins {
		p.Pins = append(p.Pins, pin.ID)
	}
	return p
}

// Current returns what a device should hold as of a state, for readers of
// snapshots.
func Current(rd *state.Reader, sub *policy.Subject, d *Device, sel []policy.Selection) scope.Sets {
	return known(rd.Cat, scope.Carried(rd, sub, scope.Visible(rd, sub), d.Profile(rd.Now()), sel), d.Schema)
}

// agreed returns the types of which the device says it holds exactly what it
// may see now.
func (r *run) agreed(now scope.Sets, says map[string]command.Summary) []uint16 {
	var out []uint16
	for _, t := range r.cfg.Cat.Types {
		said, ok := says[t.Name]
		if !ok {
			said = command.Summary{Digest: emptyDigest}
		}
		n, digest := Digest(&r.w.Reader, now, t.No)
		if n == said.Count && (digest == said.Digest || mutant.On(mutant.AgreeByCount)) {
			out = append(out, t.No)
		}
	}
	return out
}

// manyRecords is how many records a page sends or sums up for two goroutines to
// be worth while.
const manyRecords = 1000

// Large reports whether Encode has use for a second reader: pages of many
// records, and those that end a round of several, after which all that the device
// has is summed up.
func (p *Page) Large() bool {
	return len(p.Items) >= manyRecords || p.Complete && p.Later && p.Now.Len() >= manyRecords
}

// Encode returns the page as JSON, read from the snapshot of the commit that made
// it, with the digests of the types, as they stand in Now; without any where the
// page is not complete. Another goroutine does half of it where twin, which may
// be nil, reads the same snapshot.
func (p *Page) Encode(rd, twin *state.Reader, types []uint16) ([]byte, error) {
	sums := newSummary(p.Now, types, twin != nil)
	half := len(p.Items)
	if twin != nil {
		half /= 2
	}
	dst := p.appendHead(rd, nil, len(types))
	from := len(dst)
	rest := spares.Get().(*[]byte)
	defer spares.Put(rest)
	*rest = (*rest)[:0]
	var err, restErr error
	together(twin != nil, func() {
		dst, err = p.encodeRecords(rd, dst, p.Items[:half])
		sums.read(rd)
	}, func() {
		*rest, restErr = p.encodeRecords(twin, slices.Grow(*rest, p.room(len(p.Items)-half)), p.Items[half:])
		sums.read(twin)
	})
	if err = cmp.Or(err, restErr); err != nil {
		return nil, err
	}
	if len(dst) > from && len(*rest) > 0 {
		dst = append(dst, ',')
	}
	var digests map[string]wire.Summary
	if p.Complete {
		digests = sums.digests(rd.Cat)
	}
	return p.appendTail(rd, append(dst, *rest...), digests), nil
}

// spares are kept between pages: half of a large one takes megabytes.
var spares = sync.Pool{New: func() any { return new([]byte) }}

// together runs f, and with it g in another goroutine if both is set. It returns
// when all have ended; a panic of either is its own.
func together(both bool, f, g func()) {
	if !both {
		f()
		return
	}
	var failed any
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { failed = recover() }()
		g()
	}()
	func() {
		defer func() { <-done }()
		f()
	}()
	if failed != nil {
		panic(failed)
	}
}

// room is about how many bytes so many of the page's records have as JSON: beside
// its fields each has its type, id, rev, time and writer, and commas. Pages are
// too large to be copied over and over as they grow.
func (p *Page) room(records int) int {
	if records == 0 {
		return 0
	}
	return (p.Size/len(p.Items) + 180) * records
}

// appendHead appends what stands before the records, with room for all that
// comes after it, so many digests among it.
func (p *Page) appendHead(rd *state.Reader, dst []byte, digests int) []byte {
	const removal, digest = 60, 130
	dst = slices.Grow(dst, p.room(len(p.Items))+removal*p.Removed.Len()+digest*digests+1024)
	b := bytes.NewBuffer(dst)
	b.WriteString(`{"from":`)
	b.Write(encode(p.From))
	b.WriteString(`,"checkpoint":`)
	b.Write(encode(p.Checkpoint))
	b.WriteString(`,"removed":[`)
	sep := ""
	for o := range p.Removed.All() {
		t, id := rd.Name(o)
		if t == nil {
			continue
		}
		b.WriteString(sep)
		b.WriteString(`{"type":"` + t.Name + `","id":"` + string(id) + `"}`)
		sep = ","
	}
	b.WriteString(`],"records":[`)
	return b.Bytes()
}

// appendTail appends what stands after the records.
func (p *Page) appendTail(rd *state.Reader, dst []byte, digests map[string]wire.Summary) []byte {
	b := bytes.NewBuffer(dst)
	b.WriteString(`],"processed":`)
	b.Write(encode(p.Processed))
	b.WriteString(`,"more":`)
	b.Write(encode(p.More))
	if p.Reset && !mutant.On(mutant.ResetNotSaid) {
		b.WriteString(`,"reset":true`)
		if p.ResetTypes != nil {
			var names []string
			for _, no := range p.ResetTypes {
				names = append(names, rd.Cat.TypeNo(no).Name)
			}
			b.WriteString(`,"resetTypes":["` + strings.Join(names, `","`) + `"]`)
		}
	}
	if p.Complete && digests != nil {
		b.WriteString(`,"complete":`)
		b.Write(encode(wire.Types{Types: digests}))
	}
	if p.MobileEnded {
		b.WriteString(`,"mobileEnded":true`)
	}
	b.WriteByte('}')
	return b.Bytes()
}

// encodeRecords appends some of the page's records. It reads dense runs of
// ordinals in one sweep each.
func (p *Page) encodeRecords(rd *state.Reader, dst []byte, items []pull.Item) ([]byte, error) {
	var pr project.Projector
	var err error
	first := true
	for i := 0; i < len(items); {
		n := i + 1
		for n < len(items) && items[n].Ord > items[n-1].Ord && items[n].Class.Type == items[i].Class.Type {
			n++
		}
		run := items[i:n]
		var b bits.Builder
		for _, it := range run {
			b.Add(it.Ord)
		}
		at := 0
		rd.Each(b.Set(), func(o ident.Ordinal, raw []byte) bool {
			for run[at].Ord != o {
				at++
			}
			it := run[at]
			if !first {
				dst = append(dst, ',')
			}
			first = false
			t := rd.Cat.TypeNo(it.Class.Type)
			dst, err = pr.AppendStored(dst, raw, t, it.Class.Mask, it.Class.Context && !mutant.On(mutant.ContextFlagLost))
			return err == nil
		})
		if err != nil {
			return nil, err
		}
		i = n
	}
	return dst, nil
}
