package rest

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/server/edge"
	"satchel/sync/apply"
	"satchel/sync/bits"
	"satchel/sync/scope"
	"satchel/sync/state"
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
	n := named{ID: id}
	if rec, ok := v.Load(id); ok {
		if f := rec.Type.Field("name"); f != nil && sub.View(rec, v.Reader).Mask.Has(f.No) {
			n.Name = rec.Value(f.No).Text()
		}
	}
	return n
}

// holder is a device that has, or may have, records of a client.
type holder struct {
	Device   named  `json:"device"`
	Employee named  `json:"employee"`
	Status   string `json:"status"`
	LastSeen string `json:"lastSeen,omitempty"`
	// Records counts what the device has or may have; Unsure those of them of
	// which it is not known.
	Records int `json:"records"`
	Unsure  int `json:"unsure,omitempty"`
	// ToRemove counts records that the device must give up: the person no
	// longer sees them, and no removal has been acknowledged. Removing counts
	// those of them whose removal was sent.
	ToRemove int `json:"toRemove,omitempty"`
	Removing int `json:"removing,omitempty"`
}

// holders answers which devices have records of a client.
func (s *Server) holders(c *fiber.Ctx, caller *edge.Caller) error {
	p, err := parameters(c, "client", "limit", "cursor")
	if err != nil {
		return err
	}
	out := struct {
		Items []holder `json:"items"`
		Next  string   `json:"next,omitempty"`
	}{Items: []holder{}}
	err = caller.Read(func(v *tenant.View, sub *policy.Subject) error {
		if err := administrator(sub); err != nil {
			return err
		}
		if p["client"] == "" {
			return badParameter("client", "client is required.")
		}
		g, err := s.paging(caller, p, "holders", p["client"])
		if err != nil {
			return err
		}
		client, _, err := see(v, sub, v.Cat.Type(policy.TypeClient), ident.RecordID(p["client"]))
		if err != nil {
			return err
		}
		of := v.Index(state.ClientKey(client.Ord))
		classes := apply.Classes(v.Reader)
		visible := map[ident.RecordID]bits.Set{}
		apply.EachDevice(v.Reader, func(id ident.DeviceID) bool {
			if string(id) <= g.after {
				return true
			}
			h, ok := hold(v, sub, classes, id, of, visible)
			if !ok {
				return true
			}
			if len(out.Items) == g.limit {
				out.Next = g.next(string(out.Items[g.limit-1].Device.ID))
				return false
			}
			out.Items = append(out.Items, h)
			return true
		})
		return nil
	})
	if err != nil {
		return err
	}
	return c.JSON(out)
}

func hold(v *tenant.View, sub *policy.Subject, classes []scope.Class, id ident.DeviceID, of bits.Set, visible map[ident.RecordID]bits.Set) (holder, bool) {
	rec, ok := v.Load(id)
	d := apply.ReadDevice(v.Reader, classes, id)
	if !ok || d == nil || sub.View(rec, v.Reader).Mask == 0 {
		return holder{}, false
	}
	has := bits.And(d.Sync.Holds(), of)
	if has.IsEmpty() {
		return holder{}, false
	}
	sees, known := visible[d.Employee]
	if !known {
		if who := v.Subject(d.Employee); who != nil {
			sees = scope.Visible(v.Reader, who).All()
		}
		visible[d.Employee] = sees
	}
	lost := bits.AndNot(has, sees)
	h := holder{
		Device: named{id, rec.Get("name").Text()}, Employee: nameOf(v, sub, d.Employee), Status: rec.StatusText(),
		LastSeen: rec.Get("lastSeen").Text(), Records: has.Len(), ToRemove: lost.Len(),
	}
	sure := d.Sync.Held.All()
	if p := d.Sync.Pending; p != nil {
		h.Removing = bits.AndLen(lost, p.Removed)
	}
	h.Unsure = bits.AndNot(has, bits.AndNot(sure, d.Sync.Unsure)).Len()
	return h, true
}

// quarantined is one piece of refused offline work.
type quarantined struct {
	Device   named              `json:"device"`
	Author   named              `json:"author"`
	Received string             `json:"received"`
	PhoneNow string             `json:"phoneNow"`
	Status   string             `json:"status"`
	Code     fault.Code         `json:"code,omitempty"`
	Message  string             `json:"message,omitempty"`
	Root     uint64             `json:"root"`
	Mutation quarantineMutation `json:"mutation"`
}

type quarantineMutation struct {
	N      uint64         `json:"n"`
	Op     string         `json:"op"`
	Type   string         `json:"type"`
	ID     ident.RecordID `json:"id"`
	Fields command.Object `json:"fields,omitempty"`
	Was    command.Object `json:"was,omitempty"`
	Action string         `json:"action,omitempty"`
	Args   command.Object `json:"args,omitempty"`
	After  []uint64       `json:"after,omitempty"`
	At     string         `json:"at"`
}

// quarantine answers a customer administrator the refused offline work that is
// kept; work on clients hidden from the administrator is left out.
func (s *Server) quarantine(c *fiber.Ctx, caller *edge.Caller) error {
	p, err := parameters(c, "limit", "cursor")
	if err != nil {
		return err
	}
	out := struct {
		Items []quarantined `json:"items"`
		Next  string        `json:"next,omitempty"`
	}{Items: []quarantined{}}
	err = caller.Read(func(v *tenant.View, sub *policy.Subject) error {
		if err := administrator(sub); err != nil {
			return err
		}
		g, err := s.paging(caller, p, "quarantine")
		if err != nil {
			return err
		}
		device, number, _ := strings.Cut(g.after, "\x00")
		last, _ := strconv.ParseUint(number, 10, 64)
		apply.EachQuarantined(v.Reader, func(q apply.Quarantined) bool {
			if d := string(q.Device); d < device || (d == device && q.Mutation.N <= last) || s.conceals(v, sub, q.Mutation) {
				return true
			}
			if len(out.Items) == g.limit {
				at := out.Items[g.limit-1]
				out.Next = g.next(string(at.Device.ID) + "\x00" + strconv.FormatUint(at.Mutation.N, 10))
				return false
			}
			m := q.Mutation
			out.Items = append(out.Items, quarantined{
				Device: nameOf(v, sub, q.Device), Author: nameOf(v, sub, q.Author),
				Received: q.Received.RFC3339(), PhoneNow: q.PhoneNow.RFC3339(),
				Status: q.Status, Code: q.Code, Message: q.Message, Root: q.Root,
				Mutation: quarantineMutation{m.N, m.Op, m.Type, m.ID, m.Fields, m.Was, m.Action, m.Args, m.After, m.At.RFC3339()},
			})
			return true
		})
		return nil
	})
	if err != nil {
		return err
	}
	return c.JSON(out)
}

// conceals reports whether a mutation concerns a client that is hidden from
// the reader: by its record, or by a record it refers to. To a reader from
// whom anything is hidden, work whose client can't be told is concealed too.
func (s *Server) conceals(v *tenant.View, sub *policy.Subject, m command.Mutation) bool {
	placed := false
	hides := func(id ident.RecordID) bool {
		rec, ok := v.Load(id)
		placed = placed || (ok && rec.Client() != "")
		return ok && sub.Hides(rec.Client())
	}
	if hides(m.ID) {
		return true
	}
	if t := s.cat.Type(m.Type); t != nil {
		for _, f := range t.Fields {
			var id string
			if raw, ok := m.Fields[f.Name]; ok && json.Unmarshal(raw, &id) == nil && hides(ident.RecordID(id)) {
				return true
			}
		}
	}
	return !placed && (sub.Only || len(sub.Clients) > 0)
}
