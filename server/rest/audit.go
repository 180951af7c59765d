package rest

import (
	"encoding/binary"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/server/edge"
	"satchel/sync/audit"
	"satchel/sync/tenant"
)

// How much of the trail one request reads. Rows that the reader may not see
// don't count towards the first: where a page ends must not tell of them. The
// second bounds the time that a snapshot is held all the same.
const (
	maxExamined = 20_000
	maxPassed   = 200_000
)

// system stands for the server itself where an actor is asked for.
const system = "system"

// auditRow is one step of the trail as the reader may see it.
type auditRow struct {
	At string `json:"at"`
	// DoneAt is when it was done on the phone, by its clock put right.
	DoneAt string          `json:"doneAt,omitempty"`
	Op     string          `json:"op"`
	Name   string          `json:"name,omitempty"`
	Actor  *named          `json:"actor,omitempty"` // nil for the server itself
	For    *named          `json:"for,omitempty"`
	Device *named          `json:"device,omitempty"`
	Record auditRecord     `json:"record"`
	Client *named          `json:"client,omitempty"`
	Values string          `json:"values,omitempty"` // notKept or erased; "" where they are there
	Change []auditedChange `json:"changes,omitempty"`
}

type auditRecord struct {
	Type string         `json:"type,omitempty"`
	ID   ident.RecordID `json:"id,omitempty"`
	Name string         `json:"name,omitempty"`
}

// auditedChange is one field; Before and After are null for no value and not
// there where the values are not.
type auditedChange struct {
	Field  string          `json:"field"`
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
}

// auditQuery is what of the trail is asked for.
type auditQuery struct {
	record   ident.RecordID
	typ      *entity.Type
	actor    string
	client   ident.RecordID
	op       audit.Op
	action   string
	from, to ident.Millis // to 0: without end
	// How many rows that the reader sees, and how many in all, are read at most.
	examined, passed int
}

func (s *Server) auditQuery(p map[string]string) (q auditQuery, err error) {
	q = auditQuery{
		record: ident.RecordID(p["record"]), actor: p["actor"], client: ident.RecordID(p["client"]),
		examined: maxExamined, passed: maxPassed,
	}
	if name := p["type"]; name != "" {
		if q.typ = s.cat.Type(name); q.typ == nil {
			return q, badParameter("type", "type must be the name of a type.")
		}
	}
	// Of a record's id it may be asked whatever it looks like: attempts at what
	// can't be are in the trail too.
	for _, name := range []string{"actor", "client"} {
		if v := p[name]; v != "" && !ident.RecordID(v).Valid() && (name != "actor" || v != system) {
			return q, badParameter(name, "%s must be the id of a record.", name)
		}
	}
	if name := p["op"]; name != "" {
		var ok bool
		if q.op, ok = audit.OpNamed(name); !ok {
			q.op, q.action = audit.Action, name
			if !slices.ContainsFunc(s.cat.Types, func(t *entity.Type) bool { return t.Action(name) != nil }) {
				return q, badParameter("op", "op must be the name of an action or one of %s.", strings.Join(audit.Ops(), ", "))
			}
		}
	}
	for _, b := range []struct {
		name string
		into *ident.Millis
	}{{"from", &q.from}, {"to", &q.to}} {
		if p[b.name] == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339Nano, p[b.name])
		if err != nil || ident.MillisOf(t) <= 0 {
			return q, badParameter(b.name, "%s must be an instant like 2026-01-31T08:00:00Z.", b.name)
		}
		*b.into = ident.MillisOf(t)
	}
	return q, nil
}

// wants reports whether a row is among what is asked for, whoever asks.
func (q *auditQuery) wants(r *audit.Row) bool {
	switch {
	case q.typ != nil && r.Type != q.typ.No,
		q.client != "" && r.Client != q.client,
		q.op != 0 && r.Op != q.op,
		q.action != "" && r.Name != q.action,
		q.to != 0 && r.At >= q.to:
		return false
	case q.actor == system:
		return r.Actor == ""
	}
	return q.actor == "" || r.Actor == ident.RecordID(q.actor)
}

// auditor is somebody reading the trail.
type auditor struct {
	v     *tenant.View
	sub   *policy.Subject
	masks map[ident.RecordID]entity.Mask
	names map[ident.RecordID]named
}

// mask returns what of the record of a row the reader may see now: of one that
// is gone, what they would see if it stood as it was last.
func (a *auditor) mask(r *audit.Row) (entity.Mask, error) {
	if a.sub.Hides(r.Client) {
		return 0, nil
	}
	if m, ok := a.masks[r.ID]; ok {
		return m, nil
	}
	m, err := a.sees(r)
	if err == nil {
		a.masks[r.ID] = m
	}
	return m, err
}

func (a *auditor) sees(r *audit.Row) (entity.Mask, error) {
	t := a.v.Cat.TypeNo(r.Type)
	what, used := a.v.Identify(r.ID)
	if !used || t == nil {
		// Of what was never made there is nothing to see but that it was tried.
		return ^entity.Mask(0), nil
	}
	if !what.Deleted {
		_, sight, err := see(a.v, a.sub, t, r.ID)
		if fault.Is(err, fault.NotFoundCode) {
			return 0, nil
		}
		return sight.Mask, err
	}
	last, err := audit.Gone(a.v.KV(), what.Ord)
	if err != nil || last == nil || a.sub.Hides(last.Client) {
		return 0, err
	}
	if rec, ok := last.Was(a.v.Cat); ok {
		return a.sub.Sees(rec, a.v.Reader).Mask, nil
	}
	return everywhere(a.sub, t), nil
}

// everywhere is what somebody sees of every record of a type that is of no
// hidden client: of one whose values are gone, nobody can tell more.
func everywhere(sub *policy.Subject, t *entity.Type) (m entity.Mask) {
	for _, g := range sub.Grants(t, policy.View) {
		if !g.Context && g.Scope.Op == policy.OpAll && g.Clients == nil && g.By == nil && sub.Admits(g) {
			m |= g.Mask
		}
	}
	gone, all := sub.Denied(t, policy.View)
	if all {
		return 0
	}
	return m &^ gone
}

func (a *auditor) name(id ident.RecordID) *named {
	if id == "" {
		return nil
	}
	n, ok := a.names[id]
	if !ok {
		n = nameOf(a.v, a.sub, id)
		a.names[id] = n
	}
	return &n
}

// render shows a row through a mask.
func (a *auditor) render(r *audit.Row, mask entity.Mask) (auditRow, error) {
	out := auditRow{
		At: r.At.RFC3339(), Op: r.Op.String(), Name: r.Name, Record: auditRecord{ID: r.ID},
		Actor: a.name(r.Actor), For: a.name(r.For), Device: a.name(r.Device), Client: a.name(r.Client),
	}
	if r.Done != r.At {
		out.DoneAt = r.Done.RFC3339()
	}
	t := a.v.Cat.TypeNo(r.Type)
	if t == nil {
		return out, nil
	}
	out.Record.Type = t.Name
	if n := a.name(r.ID); n != nil {
		out.Record.Name = n.Name
	}
	switch r.State {
	case audit.HashOnly:
		out.Values = "notKept"
	case audit.Erased:
		out.Values = "erased"
	case audit.None, audit.Kept:
	}
	cs, err := r.Changes()
	for _, c := range cs {
		f := t.FieldNo(c.No)
		if f == nil || !mask.Has(c.No) {
			continue
		}
		one := auditedChange{Field: f.Name}
		if r.State == audit.Kept {
			one.Before, one.After = orNull(c.Before), orNull(c.After)
		}
		out.Change = append(out.Change, one)
	}
	return out, err
}

func orNull(v entity.Value) json.RawMessage {
	if v.IsNull() {
		return json.RawMessage("null")
	}
	return json.RawMessage(v)
}

// auditPage is a page of the trail, newest first.
type auditPage struct {
	Items []auditRow `json:"items"`
	// Next is there where more may follow, even though the page is not full.
	Next string `json:"next,omitempty"`
}

// A cursor is the place of the last row that was read, always of one length.
func encodeKey(k audit.Key) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(k.Pos))
	return string(binary.BigEndian.AppendUint32(b, k.N))
}

func decodeKey(s string) (audit.Key, error) {
	if len(s) != 12 {
		return audit.Key{}, badCursor()
	}
	return audit.Key{
		Pos: ident.Position(binary.BigEndian.Uint64([]byte(s))), N: binary.BigEndian.Uint32([]byte(s[8:])),
	}, nil
}

// audit answers a customer administrator what was done, newest first: nothing
// of clients or fields that are hidden from the administrator.
func (s *Server) audit(c *fiber.Ctx, caller *edge.Caller) error {
	p, err := parameters(c, "record", "type", "actor", "client", "op", "from", "to", "limit", "cursor")
	if err != nil {
		return err
	}
	out := auditPage{Items: []auditRow{}}
	err = caller.Read(func(v *tenant.View, sub *policy.Subject) error {
		if err := administrator(sub); err != nil {
			return err
		}
		q, err := s.auditQuery(p)
		if err != nil {
			return err
		}
		g, err := s.paging(caller, p, "audit", p["record"], p["type"], p["actor"], p["client"], p["op"], p["from"], p["to"])
		if err != nil {
			return err
		}
		return readAudit(v, sub, &q, &g, &out)
	})
	if err != nil {
		return err
	}
	return c.JSON(out)
}

// readAudit reads a page of the trail.
func readAudit(v *tenant.View, sub *policy.Subject, q *auditQuery, g *paging, out *auditPage) error {
	a := &auditor{v, sub, map[ident.RecordID]entity.Mask{}, map[ident.RecordID]named{}}
	var start audit.Key
	var of ident.Ordinal
	var err error
	if q.record != "" {
		if of, start, err = a.newest(q.record); err != nil {
			return err
		}
	} else if start = audit.Last; q.to != 0 {
		if start, err = audit.Until(v.KV(), q.to); err != nil {
			return err
		}
	}
	var skip audit.Key
	if g.after != "" {
		if skip, err = decodeKey(g.after); err != nil {
			return err
		}
		start = skip
	}
	var at, shown audit.Key
	var failed error
	seen, passed, full := 0, 0, false
	step := func(r *audit.Row) bool {
		if r.Key == skip {
			return true
		}
		if r.At < q.from {
			return false
		}
		if passed++; seen >= q.examined || passed > q.passed {
			full = true
			return false
		}
		at = r.Key
		var mask entity.Mask
		if mask, failed = a.mask(r); failed != nil {
			return false
		}
		if mask == 0 || (r.Fields != 0 && r.Fields&mask == 0) {
			return true
		}
		if seen++; !q.wants(r) {
			return true
		}
		if len(out.Items) == g.limit {
			at, full = shown, true
			return false
		}
		var row auditRow
		row, failed = a.render(r, mask)
		out.Items, shown = append(out.Items, row), r.Key
		return failed == nil
	}
	if of != 0 {
		err = audit.Of(v.KV(), of, start, step)
	} else {
		err = audit.Back(v.KV(), start, step)
	}
	if full {
		out.Next = g.next(encodeKey(at))
	}
	if failed != nil {
		return failed
	}
	return err
}

// newest finds the latest change of a record that the reader may see, one that
// is gone included. Anything else is not there.
func (a *auditor) newest(id ident.RecordID) (ident.Ordinal, audit.Key, error) {
	what, ok := a.v.Identify(id)
	if !ok {
		return 0, audit.Key{}, notFound()
	}
	probe := &audit.Row{Type: what.TypeNo, ID: id}
	start := audit.Key{N: audit.Last.N}
	if rec, live := a.v.LoadOrd(what.Ord); live {
		probe.Client, start.Pos = rec.Client(), rec.Last(^entity.Mask(0)).Pos
	} else {
		last, err := audit.Gone(a.v.KV(), what.Ord)
		if err != nil {
			return 0, audit.Key{}, err
		}
		if last == nil {
			return 0, audit.Key{}, notFound()
		}
		probe.Client, start = last.Client, last.Key
	}
	mask, err := a.mask(probe)
	if err == nil && mask == 0 {
		err = notFound()
	}
	return what.Ord, start, err
}

// auditHead answers the end of the trail, to be kept elsewhere. It changes with
// whatever anybody does, so that it is for those from whom nothing is hidden.
func (s *Server) auditHead(c *fiber.Ctx, caller *edge.Caller) error {
	if _, err := parameters(c); err != nil {
		return err
	}
	var out struct {
		Head string `json:"head"`
		Rows uint64 `json:"rows"`
	}
	err := caller.Read(func(v *tenant.View, sub *policy.Subject) error {
		if err := administrator(sub); err != nil {
			return err
		}
		if sub.Only || len(sub.Clients) > 0 || sub.Kind == policy.ClientStaff {
			return fault.New(fault.NotAllowed)
		}
		head, ok := audit.ReadHead(v.KV())
		if !ok {
			return notFound()
		}
		out.Head, out.Rows = head.String(), head.Count
		return nil
	})
	if err != nil {
		return err
	}
	return c.JSON(out)
}
