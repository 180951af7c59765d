package rest

import (
	"slices"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/server/edge"
	"satchel/sync/apply"
	"satchel/sync/bits"
	"satchel/sync/scope"
	"satchel/sync/state"
	"satchel/sync/subject"
	"satchel/sync/tenant"
)

// paging is the part of a query string that leafs through a list.
type paging struct {
	limit   int
	after   string // what the cursor holds; "" for the first page
	sealer  *sealer
	binding string
}

func (s *Server) paging(caller *edge.Caller, p map[string]string, what ...string) (paging, error) {
	g := paging{limit: defaultLimit, sealer: s.sealer}
	g.binding = strings.Join(append([]string{string(caller.Tenant.ID()), string(caller.Employee)}, what...), "\x00")
	if l, ok := p["limit"]; ok {
		n, err := strconv.Atoi(l)
		if err != nil || n < 1 || n > maxLimit || strconv.Itoa(n) != l {
			return g, badParameter("limit", "limit must be 1 to %d.", maxLimit)
		}
		g.limit = n
	}
	if cur := p["cursor"]; cur != "" {
		raw, err := g.sealer.open(cur, g.binding)
		if err != nil {
			return g, err
		}
		g.after = string(raw)
	}
	return g, nil
}

// next is the cursor of the page that begins after this.
func (g *paging) next(after string) string { return g.sealer.seal([]byte(after), g.binding) }

// named is a record with its name, as far as the reader sees it.
type named struct {
	ID   ident.RecordID `json:"id"`
	Name string         `json:"name,omitempty"`
}

func nameOf(v *tenant.View, sub *policy.Subject, id ident.RecordID) named {
	return nameIn(v.Reader, sub, id)
}

// labels lists the fields by which people know a record, the best first.
var labels = []string{"name", "title", "subject", "number"}

// nameIn is nameOf for any state; a reader who is nil sees every name.
func nameIn(rd *state.Reader, sub *policy.Subject, id ident.RecordID) named {
	n := named{ID: id}
	rec, ok := rd.Load(id)
	if !ok {
		return n
	}
	sight := policy.Sight{Mask: rec.Type.All()}
	if sub != nil {
		sight = sub.View(rec, rd)
	}
	for _, k := range labels {
		if f := rec.Type.Field(k); n.Name == "" && f != nil && sight.Mask.Has(f.No) {
			n.Name = rec.Value(f.No).Text()
		}
		if sight.Context { // such as people, whom a record names by their names
			break
		}
	}
	return n
}

// Holder is a device that has, or may have, records of a client.
type Holder struct {
	Device   named `json:"device"`
	Employee named `json:"employee"`
	// Client is set where the question was not about one client.
	Client   *named `json:"client,omitempty"`
	Status   string `json:"status"`
	LastSeen string `json:"lastSeen,omitempty"`
	// Since is when the device first got one of these records without having
	// given it up since. The true time may be a little later, never earlier:
	// arrivals that lie close together are kept as one. It is absent where the
	// records came before times were kept.
	Since string `json:"since,omitempty"`
	// Records counts what the device has or may have; Unsure those of them of
	// which it is not known.
	Records int `json:"records"`
	Unsure  int `json:"unsure,omitempty"`
	// ToRemove counts records that the device must give up: the person no
	// longer sees them, and no removal has been acknowledged. Removing counts
	// those of them whose removal was sent.
	ToRemove int `json:"toRemove,omitempty"`
	Removing int `json:"removing,omitempty"`
	// Acknowledged: the device owes no removal; it confirmed each that was due.
	Acknowledged bool `json:"acknowledged"`
}

// HolderPage is a page of holders.
type HolderPage struct {
	Items []Holder `json:"items"`
	Next  string   `json:"next,omitempty"`
}

// Held is a question about what devices hold: by a client, which devices hold
// records of it; by a device or by a person, of which clients their devices
// hold any. One of the three is set.
type Held struct{ Client, Device, Employee ident.RecordID }

// holders answers which devices have records of a client, or of which clients
// devices have records.
func (s *Server) holders(c *fiber.Ctx, caller *edge.Caller) error {
	p, err := parameters(c, "client", "device", "employee", "limit", "cursor")
	if err != nil {
		return err
	}
	q := Held{ident.RecordID(p["client"]), ident.RecordID(p["device"]), ident.RecordID(p["employee"])}
	var out *HolderPage
	err = caller.Read(func(v *tenant.View, sub *policy.Subject) error {
		if err := administrator(sub); err != nil {
			return err
		}
		g, err := s.paging(caller, p, "holders", p["client"], p["device"], p["employee"])
		if err != nil {
			return err
		}
		out, err = q.answer(v, sub, g)
		return err
	})
	if err != nil {
		return err
	}
	return c.JSON(out)
}

// Holders answers an operator, who may know of everything, on one page.
func Holders(v *tenant.View, q Held) ([]Holder, error) {
	page, err := q.answer(v, nil, paging{})
	if err != nil {
		return nil, err
	}
	return page.Items, nil
}

// spot returns a record of the type that the reader sees; one who is nil sees
// everything.
func spot(v *tenant.View, sub *policy.Subject, typ string, id ident.RecordID) (*entity.Record, error) {
	t := v.Cat.Type(typ)
	if sub != nil {
		rec, _, err := see(v, sub, t, id)
		return rec, err
	}
	if rec, ok := v.Load(id); ok && rec.Type == t {
		return rec, nil
	}
	return nil, notFound()
}

func (q Held) answer(v *tenant.View, sub *policy.Subject, g paging) (*HolderPage, error) {
	given := 0
	for _, id := range []ident.RecordID{q.Client, q.Device, q.Employee} {
		if id != "" {
			given++
		}
	}
	if given != 1 {
		return nil, badParameter("client", "One of client, device and employee is required.")
	}
	l := &holding{v: v, sub: sub, g: g, classes: apply.Classes(v.Reader), visible: map[ident.RecordID]bits.Set{}, out: HolderPage{Items: []Holder{}}}
	if q.Client != "" {
		client, err := spot(v, sub, policy.TypeClient, q.Client)
		if err != nil {
			return nil, err
		}
		l.holders(v.Index(state.ClientKey(client.Ord)))
		return &l.out, nil
	}
	var devices []ident.DeviceID
	if q.Device != "" {
		if _, err := spot(v, sub, subject.Device, q.Device); err != nil {
			return nil, err
		}
		devices = append(devices, q.Device)
	} else {
		emp, err := spot(v, sub, subject.Employee, q.Employee)
		if err != nil {
			return nil, err
		}
		devices = devicesOf(v, emp.ID)
	}
	l.clients(devices)
	return &l.out, nil
}

// devicesOf returns a person's devices, sorted by id.
func devicesOf(v *tenant.View, employee ident.RecordID) []ident.DeviceID {
	t := v.Cat.Type(subject.Device)
	var out []ident.DeviceID
	for o := range v.Referring(t, t.Field("employee").No, employee).All() {
		_, id := v.Name(o)
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// holding is a page of holders being made.
type holding struct {
	v       *tenant.View
	sub     *policy.Subject // nil for the operator
	g       paging
	classes []scope.Class
	visible map[ident.RecordID]bits.Set // by person, what they see
	out     HolderPage
	last    string // where the last item stands
}

// add puts an item on the page, or the cursor of the next page where this one
// is full; then it returns false.
func (l *holding) add(h Holder, at string) bool {
	if l.g.limit > 0 && len(l.out.Items) == l.g.limit {
		l.out.Next = l.g.next(l.last)
		return false
	}
	l.out.Items = append(l.out.Items, h)
	l.last = at
	return true
}

// holders lists the devices that have some of the records.
func (l *holding) holders(of bits.Set) {
	apply.EachDevice(l.v.Reader, func(id ident.DeviceID) bool {
		if string(id) <= l.g.after {
			return true
		}
		d := l.device(id)
		if d == nil {
			return true
		}
		h, ok := d.of(of)
		return !ok || l.add(h, string(id))
	})
}

// clients lists, device by device, the clients of which they have records.
func (l *holding) clients(devices []ident.DeviceID) {
	from, number, _ := strings.Cut(l.g.after, "\x00")
	last, _ := strconv.ParseUint(number, 10, 32)
	all := l.v.Index(state.TypeKey(l.v.Cat.Type(policy.TypeClient).No))
	for _, id := range devices {
		if string(id) < from {
			continue
		}
		d := l.device(id)
		if d == nil {
			continue
		}
		for o := range all.All() {
			if string(id) == from && uint64(o) <= last {
				continue
			}
			h, ok := d.of(l.v.Index(state.ClientKey(o)))
			if !ok {
				continue
			}
			client, ok := l.v.LoadOrd(o)
			if !ok || (l.sub != nil && l.sub.View(client, l.v.Reader).Mask == 0) {
				continue
			}
			name := nameIn(l.v.Reader, l.sub, client.ID)
			h.Client = &name
			if !l.add(h, string(id)+"\x00"+strconv.FormatUint(uint64(o), 10)) {
				return
			}
		}
	}
}

// heldBy is a device with what decides about the records it has.
type heldBy struct {
	Holder
	d         *apply.Device
	has, sees bits.Set
	sure      bits.Set // held and not unsure
}

// device reads a device, nil where there is none for the reader.
func (l *holding) device(id ident.DeviceID) *heldBy {
	rec, ok := l.v.Load(id)
	if !ok || (l.sub != nil && l.sub.View(rec, l.v.Reader).Mask == 0) {
		return nil
	}
	d := apply.ReadDevice(l.v.Reader, l.classes, id)
	if d == nil {
		return nil
	}
	h := &heldBy{d: d, has: d.Sync.Holds(), sure: bits.AndNot(d.Sync.Held.All(), d.Sync.Unsure)}
	if h.has.IsEmpty() {
		return nil
	}
	sees, known := l.visible[d.Employee]
	if !known {
		if who := l.v.Subject(d.Employee); who != nil {
			sees = scope.Visible(l.v.Reader, who).All()
		}
		l.visible[d.Employee] = sees
	}
	h.sees = sees
	h.Holder = Holder{
		Device: nameIn(l.v.Reader, l.sub, id), Employee: nameIn(l.v.Reader, l.sub, d.Employee), Status: rec.StatusText(), LastSeen: rec.Get("lastSeen").Text(),
	}
	return h
}

// of says what the device has of a set; ok is false where it has nothing.
func (d *heldBy) of(set bits.Set) (h Holder, ok bool) {
	has := bits.And(d.has, set)
	if has.IsEmpty() {
		return h, false
	}
	h = d.Holder
	lost := bits.AndNot(has, d.sees)
	h.Records, h.ToRemove = has.Len(), lost.Len()
	h.Unsure = bits.AndNot(has, d.sure).Len()
	if p := d.d.Sync.Pending; p != nil {
		h.Removing = bits.AndLen(lost, p.Removed)
	}
	h.Acknowledged = h.ToRemove == 0
	if at, ok := d.d.Sync.Since(has); ok {
		h.Since = at.RFC3339()
	}
	return h, true
}

// holderSchemas describes who holds what.
func holderSchemas() schema {
	text, whole := schema{"type": "string"}, schema{"type": "integer"}
	who := ref("schemas", "Named")
	return schema{"Holder": schema{
		"type": "object", "required": []string{"device", "employee", "status", "records", "acknowledged"},
		"properties": schema{
			"device": who, "employee": who, "client": who, "status": text, "lastSeen": schema{"type": "string", "format": "date-time"},
			"since": schema{
				"type": "string", "format": "date-time",
				"description": "No later than the device had the first of these records without having given it up since; absent where that was before times were kept.",
			},
			"records": whole, "unsure": whole, "toRemove": whole, "removing": whole,
			"acknowledged": schema{"type": "boolean", "description": "The device confirmed every removal that it owed."},
		},
	}}
}
