package apply

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"satchel/internal/command"
	"satchel/internal/entity"
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
	d := r.loadDevice(r.cmd.Device)
	if r.brief && d != nil && d.Employee == r.cmd.Actor && r.standing.good(d.ID) {
		return d, nil
	}
	rec, ok := r.w.Load(r.cmd.Device)
	if !ok || d == nil || d.Employee != r.cmd.Actor {
		return nil, fault.New(fault.DeviceRequired)
	}
	if rec.StatusText() == deviceRevoked {
		return nil, fault.New(fault.DeviceRevoked).With("wipe", true)
	}
	if r.brief {
		r.standing.noteDevice(d.ID)
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
	var own *bits.Set // what comes first, where that was asked for
	req.First = func() bits.Set {
		first := r.first(&d)
		own = &first
		return first
	}
	if d.Field {
		req.Apart = worthAPage
	}
	if p.Since != nil {
		req.Since = &pull.Mark{Pos: p.Since.Pos, Ord: p.Since.Ord}
	}
	if !changed { // what the device says of itself is stored with a page of its own
		req.Ahead = p.Ahead
	}
	if r.brief {
		if changed {
			r.unfinished = true
			return Result{}
		}
		req.Brief = true
	}
	if !r.cfg.Alone {
		req.Memo = &r.memo
	}
	if f := r.expected[d.ID]; f != nil && !changed && f.stands(r) {
		req.Foreseen, own = f.Foreseen, f.from.own
	}
	if !d.Sync.Refreshes() { // what becomes of the page under way may change them
		d = *r.complete(&d)
	}
	page, after, moved := pull.Compute(&r.w.Reader, d.Sync, now, req)
	if page == nil {
		r.unfinished = true
		return Result{}
	}
	d.Sync = after
	out := &Page{
		Page: page, From: p.Checkpoint, Checkpoint: p.Checkpoint, Processed: d.Processed, MobileEnded: ended, Device: d.ID,
		// What is put into the words of another version of the record types has to be whole.
		Changes: p.Changes && page.Updates() && len(r.cfg.Cat.After(d.Schema)) == 0,
	}
	if !page.Empty() && !page.Ahead {
		out.Checkpoint = r.checkpoint(d.ID, page.N)
	}
	if page.More && len(page.Items) >= manyRecords && !d.Field {
		out.next = &next{pos: r.w.Pos(), day: r.w.Now().Day(), device: after, now: now, limit: p.Limit, own: own}
	}
	if moved || changed {
		r.storeDevice(&d)
	} else {
		r.keep(stored, &d)
	}
	return Result{Page: out}
}

// worthAPage is how many records have to follow a person's day for a new field
// device to get that on a page of its own: as many as are on their way about as
// long as the round trip that they cost, some 60 bytes each.
const worthAPage = 100

// first returns what is worth having before all else: to a field device its
// day's work and what that needs, to others all that a field device would carry.
func (r *run) first(d *Device) bits.Set {
	v := r.visible(r.sub)
	if !d.Field {
		return scope.OwnWork(&r.w.Reader, r.sub, v.sets, d.Profile(r.w.Now()).Window, r.cfg.Field)
	}
	var sel []policy.Selection
	for _, s := range r.cfg.Field {
		if s.First {
			sel = append(sel, s)
		}
	}
	p := scope.Profile{Field: true, Window: scope.DayAround(r.w.Now())}
	return scope.Carried(&r.w.Reader, r.sub, v.sets, p, sel).All()
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
// it, with the digests of the types that are to be told, as they stand in Now;
// without any where the page is not complete. Another goroutine does half of it where twin, which may
// be nil, reads the same snapshot.
func (p *Page) Encode(rd, twin *state.Reader, told Told) ([]byte, error) {
	room := p.around() + p.room(len(p.Items)) + removalBytes*p.Removed.Len()
	if p.Complete && p.Tells(told) == ToldAll {
		room += digestBytes * len(TypesOf(p.Now))
	}
	c, err := p.contents(p.appendHead(make([]byte, 0, room)), rd, twin, told)
	if err != nil {
		return nil, err
	}
	return p.appendTail(rd.Cat, c.middle, c.complete), nil
}

// About how many bytes a removal and a digest have.
const removalBytes, digestBytes = 60, 130

// contents encodes what the page brings, its middle behind what is in dst.
func (p *Page) contents(dst []byte, rd, twin *state.Reader, told Told) (c contents, err error) {
	dst, types := p.appendRemoved(rd, dst)
	types = p.summed(rd.Cat, told, types)
	left, noted := p.Now, []uint16(nil)
	if len(p.Items) >= manyShown && len(types) > 0 {
		left, noted = without(p.Now, p.Items), types
	}
	sums := newSummary(left, types, twin != nil)
	half := len(p.Items)
	if twin != nil {
		half /= 2
	}
	from := len(dst)
	rest := spares.Get().(*[]byte)
	defer spares.Put(rest)
	*rest = (*rest)[:0]
	var restErr error
	together(twin != nil, func() {
		t := sums.tally()
		dst, err = p.encodeRecords(rd, dst, 0, half, t, noted)
		t.read(rd)
		t.end()
	}, func() {
		t := sums.tally()
		*rest, restErr = p.encodeRecords(twin, slices.Grow(*rest, p.room(len(p.Items)-half)), half, len(p.Items), t, noted)
		t.read(twin)
		t.end()
	})
	if err = cmp.Or(err, restErr); err != nil {
		return contents{}, err
	}
	if len(dst) > from && len(*rest) > 0 {
		dst = append(dst, ',')
	}
	c.middle = append(append(dst, *rest...), ']')
	if p.Complete {
		c.complete = encode(wire.Types{Types: sums.digests(rd.Cat)})
	}
	return c, nil
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

// room is what is made ready for so many of the page's records. How long they are is
// known once the first are there.
func (p *Page) room(records int) int { return 600 * min(records, firstEncoded) }

// firstEncoded is how many records of a page tell how many bytes the others have:
// pages are too large to be copied over and over as they grow.
const firstEncoded = 32

// around is about how many bytes stand around what the page brings.
func (p *Page) around() int { return len(p.From) + len(p.Checkpoint) + 256 }

// appendHead appends what stands before what the page brings.
func (p *Page) appendHead(dst []byte) []byte {
	dst = appendToken(append(dst, `{"from":`...), p.From)
	dst = appendToken(append(dst, `,"checkpoint":`...), p.Checkpoint)
	return append(dst, ',')
}

// appendToken appends a checkpoint, which may be anything that a device sent, as
// JSON.
func appendToken(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return append(dst, encode(s)...)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}

// appendRemoved appends what the page removes, and how the records begin. It
// returns the types of which it removes something.
func (p *Page) appendRemoved(rd *state.Reader, dst []byte) ([]byte, []uint16) {
	dst = append(dst, `"removed":[`...)
	sep := ""
	var types []uint16
	var last *entity.Type
	rd.Names(p.Removed, func(t *entity.Type, id []byte) {
		if t != last {
			if last = t; !slices.Contains(types, t.No) {
				types = append(types, t.No)
			}
		}
		dst = append(dst, sep...)
		dst = append(append(dst, `{"type":"`...), t.Name...)
		dst = append(append(dst, `","id":"`...), id...)
		dst = append(dst, `"}`...)
		sep = ","
	})
	return append(dst, `],"records":[`...), types
}

// fewRecords returns how many records a type may have for a live page with so
// many records to carry its digest. A digest reads every record of the type:
// for a page of one record that everybody sees it would be nearly all of the
// work, while for one that brings or takes many it adds little. What a live
// page leaves out, verify and the first page of the next connection tell.
func fewRecords(items int) int { return 64 + 4*items }

// summed returns the types that a complete page tells the digests of; removed are
// those of which it removes something.
func (p *Page) summed(cat *entity.Catalogue, told Told, removed []uint16) []uint16 {
	if told = p.Tells(told); !p.Complete || told == ToldNone {
		return nil
	}
	if told == ToldAll {
		return TypesOf(p.Now)
	}
	touched := map[uint16]bool{}
	for _, no := range removed {
		touched[no] = true
	}
	for i, it := range p.Items {
		if i == 0 || it.Class.Type != p.Items[i-1].Class.Type {
			touched[it.Class.Type] = true
		}
	}
	most := fewRecords(len(p.Items) + p.Removed.Len())
	var out []uint16
	for _, typ := range cat.Types {
		if !touched[typ.No] {
			continue
		}
		n := 0
		for _, part := range p.Now {
			if part.Type == typ.No {
				n += part.Set.Len()
			}
		}
		if n <= most || told == ToldTouched {
			out = append(out, typ.No)
		}
	}
	return out
}

// appendTail appends what stands after it; complete is of the digests, nil for
// none.
func (p *Page) appendTail(cat *entity.Catalogue, dst, complete []byte) []byte {
	dst = strconv.AppendUint(append(dst, `,"processed":`...), p.Processed, 10)
	dst = strconv.AppendBool(append(dst, `,"more":`...), p.More)
	if p.Reset && !mutant.On(mutant.ResetNotSaid) {
		dst = append(dst, `,"reset":true`...)
		if p.ResetTypes != nil {
			var names []string
			for _, no := range p.ResetTypes {
				names = append(names, cat.TypeNo(no).Name)
			}
			dst = append(dst, `,"resetTypes":["`+strings.Join(names, `","`)+`"]`...)
		}
	}
	if complete != nil {
		dst = append(append(dst, `,"complete":`...), complete...)
	}
	if p.MobileEnded {
		dst = append(dst, `,"mobileEnded":true`...)
	}
	return append(dst, '}')
}

// encodeRecords appends the page's records from one place to another and notes
// those of some types for the digests. It reads dense runs of ordinals in one
// sweep each.
func (p *Page) encodeRecords(rd *state.Reader, dst []byte, from, to int, t *tally, noted []uint16) ([]byte, error) {
	e := encoder{page: p}
	items := p.Items[:to]
	start, done := len(dst), 0
	var err error
	for i := from; i < to; {
		n := i + 1
		for n < to && items[n].Ord > items[n-1].Ord && items[n].Class.Type == items[i].Class.Type {
			n++
		}
		typ := rd.Cat.TypeNo(items[i].Class.Type)
		note := slices.Contains(noted, typ.No)
		at := i
		state.EachOf(rd, items[i:n], func(it *pull.Item) ident.Ordinal { return it.Ord }, func(it *pull.Item, raw []byte) bool {
			for it != &items[at] { // those passed over are gone
				at++
			}
			if len(dst) > start {
				dst = append(dst, ',')
			}
			if done++; done == firstEncoded+1 {
				// A few long ones must not speak for all: what stands around the
				// fields of each, and those of all the page, is enough.
				each := (len(dst) - start) / firstEncoded
				dst = slices.Grow(dst, min((each+each/16)*(to-at), p.Size+180*(to-at)))
			}
			var rev project.Rev
			dst, rev, err = e.record(dst, raw, typ, at)
			if note && err == nil {
				t.list(typ.No).add(e.pr.ID(), rev)
			}
			return err == nil
		})
		if err != nil {
			return nil, err
		}
		i = n
	}
	return dst, nil
}

// encoder encodes a page's records.
type encoder struct {
	page *Page
	pr   project.Projector
}

// record appends the i-th.
func (e *encoder) record(dst, raw []byte, typ *entity.Type, i int) ([]byte, project.Rev, error) {
	cl := e.page.Items[i].Class
	context := cl.Context && !mutant.On(mutant.ContextFlagLost)
	if e.page.Changes {
		if since, ok := e.page.Lacks(i); ok {
			return e.pr.AppendChanged(dst, raw, typ, cl.Mask, context, since)
		}
	}
	return e.pr.AppendStored(dst, raw, typ, cl.Mask, context)
}
