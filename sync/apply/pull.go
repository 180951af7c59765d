package apply

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

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
	page, after, moved := pull.Compute(&r.w.Reader, d.Sync, now, req)
	d.Sync = after
	out := &Page{Page: page, From: p.Checkpoint, Checkpoint: p.Checkpoint, Processed: d.Processed, MobileEnded: ended, Device: d.ID}
	if !page.Empty() {
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
	stored.now, stored.nowView, stored.nowDay = d.now, d.nowView, d.nowDay
	// The same records, in sets that are shared with others.
	stored.Sync.Held = d.Sync.Held
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
	if d.nowView == v && (d.Window != nil || d.nowDay == day || mutant.On(mutant.WindowStands)) {
		return d.now
	}
	d.now = known(r.cfg.Cat, scope.Carried(&r.w.Reader, r.sub, v.sets, d.Profile(r.w.Now()), r.cfg.Field), d.Schema)
	d.nowView, d.nowDay = v, day
	return d.now
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

var emptyDigest = hex.EncodeToString(sha256.New().Sum(nil))

// Digest summarises a sync set's records of a type: how many, and the hex
// SHA-256 over "id\0rev\n" of each, sorted by id.
func Digest(rd *state.Reader, sets scope.Sets, typ uint16) (int, string) {
	n := 0
	for _, p := range sets {
		if p.Type == typ {
			n += p.Set.Len()
		}
	}
	lines := make([][]byte, 0, n)
	room := make([]byte, 0, n*(len(ident.NewRecordID([15]byte{}))+len("\x000123456789abcdef\n")))
	var pr project.Projector
	for _, p := range sets {
		if p.Type != typ {
			continue
		}
		rd.Each(p.Set, func(_ ident.Ordinal, raw []byte) bool {
			rev, err := pr.RevOf(raw, p.Mask)
			if err != nil {
				panic(err)
			}
			at := len(room) // where it outgrows the room, earlier lines keep theirs
			room = append(append(room, pr.ID()...), 0)
			room = append(rev.Append(room), '\n')
			lines = append(lines, room[at:])
			return true
		})
	}
	slices.SortFunc(lines, bytes.Compare)
	h := sha256.New()
	for _, l := range lines {
		h.Write(l)
	}
	return len(lines), hex.EncodeToString(h.Sum(nil))
}

// Digests summarises all types that a sync set has records of.
func Digests(rd *state.Reader, sets scope.Sets) map[string]wire.Summary {
	out := map[string]wire.Summary{}
	for _, p := range sets {
		t := rd.Cat.TypeNo(p.Type)
		if _, done := out[t.Name]; done {
			continue
		}
		n, d := Digest(rd, sets, p.Type)
		out[t.Name] = wire.Summary{Count: n, Digest: d}
	}
	return out
}

// Encode appends the page as JSON, read from the snapshot of the commit that
// made it.
func (p *Page) Encode(rd *state.Reader, dst []byte, digests map[string]wire.Summary) ([]byte, error) {
	// Beside its fields a record has about 130 bytes, a removal 60; pages are
	// too large to be copied over and over as they grow.
	dst = slices.Grow(dst, p.Size+130*len(p.Items)+60*p.Removed.Len()+1024)
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
	out, err := p.encodeRecords(rd, b.Bytes())
	if err != nil {
		return nil, err
	}
	b = bytes.NewBuffer(out)
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
	return b.Bytes(), nil
}

// encodeRecords reads dense runs of ordinals in one sweep each.
func (p *Page) encodeRecords(rd *state.Reader, dst []byte) ([]byte, error) {
	var pr project.Projector
	var err error
	first := true
	for i := 0; i < len(p.Items); {
		n := i + 1
		for n < len(p.Items) && p.Items[n].Ord > p.Items[n-1].Ord && p.Items[n].Class.Type == p.Items[i].Class.Type {
			n++
		}
		run := p.Items[i:n]
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
