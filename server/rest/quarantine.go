package rest

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/internal/strictjson"
	"satchel/server/edge"
	"satchel/server/sheet"
	"satchel/sync/apply"
	"satchel/sync/tenant"
)

// typeConflict is the type of one field's conflict; conflicts are the name under
// which those of a record stand beneath it.
const (
	typeConflict = "conflict"
	conflicts    = "conflicts"
)

// States of kept work.
const (
	stateOpen   = "open"
	stateClosed = "closed"
	stateAll    = "all"
)

// quarantined is one piece of refused offline work.
type quarantined struct {
	// Bundle names what it is dealt with together with.
	Bundle   string             `json:"bundle"`
	Device   named              `json:"device"`
	Author   named              `json:"author"`
	Received string             `json:"received"`
	PhoneNow string             `json:"phoneNow"`
	Typed    string             `json:"typed"` // by the phone's clock put right
	Status   string             `json:"status"`
	Code     fault.Code         `json:"code,omitempty"`
	Message  string             `json:"message,omitempty"`
	Root     uint64             `json:"root"`
	Mutation quarantineMutation `json:"mutation"`
	Conflict []contended        `json:"conflicts,omitempty"`
	// Present are the values that the fields have on the record now, as far as
	// the reader sees them; of one bundle alone.
	Present map[string]json.RawMessage `json:"present,omitempty"`
	Closed  *closing                   `json:"closed,omitempty"`
	Erased  bool                       `json:"erased,omitempty"`
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

// contended is a field in conflict; How is "" while it is open.
type contended struct {
	ID    ident.RecordID  `json:"id,omitempty"`
	Field string          `json:"field"`
	Mine  json.RawMessage `json:"mine"`
	How   string          `json:"how,omitempty"`
}

type closing struct {
	How    string `json:"how"`
	At     string `json:"at"`
	By     *named `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// keeper reads the quarantine for an administrator: nothing of clients that are
// hidden from them, nor of fields that they are denied.
type keeper struct {
	v     *tenant.View
	sub   *policy.Subject
	state string
	names map[ident.RecordID]named
}

func newKeeper(v *tenant.View, sub *policy.Subject, state string) (*keeper, error) {
	state = cmp.Or(state, stateOpen)
	if state != stateOpen && state != stateClosed && state != stateAll {
		return nil, badParameter("state", "state must be open, closed or all.")
	}
	return &keeper{v, sub, state, map[ident.RecordID]named{}}, nil
}

func (k *keeper) wants(q *apply.Quarantined) bool {
	if k.state != stateAll && (k.state == stateOpen) != (q.Closed == nil) {
		return false
	}
	return !apply.Conceals(k.v.Reader, k.sub, q)
}

func (k *keeper) name(id ident.RecordID) named {
	n, ok := k.names[id]
	if !ok {
		n = nameOf(k.v, k.sub, id)
		k.names[id] = n
	}
	return n
}

// shown drops the members about fields that the reader can't know of.
func (k *keeper) shown(t *entity.Type, o command.Object) command.Object {
	if t == nil || len(o) == 0 {
		return o
	}
	known := k.sub.Knows(t)
	if known == 0 {
		return nil
	}
	out := command.Object{}
	for name, v := range o {
		if f := t.Field(name); f == nil || known.Has(f.No) {
			out[name] = v
		}
	}
	return out
}

func (k *keeper) render(q *apply.Quarantined) quarantined {
	m := q.Mutation
	t := k.v.Cat.Type(m.Type)
	out := quarantined{
		Bundle: apply.BundleID(q.Bundle()), Device: k.name(q.Device), Author: k.name(q.Author),
		Received: q.Received.RFC3339(), PhoneNow: q.PhoneNow.RFC3339(), Typed: q.Typed().RFC3339(),
		Status: q.Status, Code: q.Code, Message: q.Message, Root: q.Root, Erased: q.Erased,
		Mutation: quarantineMutation{
			m.N, m.Op, m.Type, m.ID, k.shown(t, m.Fields), k.shown(t, m.Was), m.Action, k.shown(t, m.Args), m.After, m.At.RFC3339(),
		},
	}
	for _, c := range q.Conflicts {
		if len(k.shown(t, command.Object{c.Field: c.Mine})) > 0 {
			out.Conflict = append(out.Conflict, contended{c.ID, c.Field, c.Mine, c.How})
		}
	}
	if c := q.Closed; c != nil {
		out.Closed = &closing{How: c.How, At: c.At.RFC3339(), Reason: c.Reason}
		if c.By != "" {
			by := k.name(c.By)
			out.Closed.By = &by
		}
	}
	return out
}

// present returns what the record has now where the mutation wrote.
func (k *keeper) present(q *apply.Quarantined) map[string]json.RawMessage {
	rec, ok := k.v.Load(q.Mutation.ID)
	if !ok || rec.Type.Name != q.Mutation.Type {
		return nil
	}
	out := map[string]json.RawMessage{}
	mask := k.sub.Sees(rec, k.v.Reader).Mask
	for name := range q.Mutation.Fields {
		if f := rec.Type.Field(name); f != nil && mask.Has(f.No) {
			out[name] = slices.Clone(orNull(rec.Value(f.No)))
		}
	}
	return out
}

// page reads kept work from behind a place, and the place that the next page
// begins behind; "" where there is no more.
func (k *keeper) page(after string, limit int) (items []quarantined, next string) {
	device, number, _ := strings.Cut(after, "\x00")
	last, _ := strconv.ParseUint(number, 10, 64)
	items = []quarantined{}
	apply.QuarantinedAfter(k.v.Reader, ident.DeviceID(device), last, func(q apply.Quarantined) bool {
		if !k.wants(&q) {
			return true
		}
		if len(items) == limit {
			at := items[limit-1]
			next = string(at.Device.ID) + "\x00" + strconv.FormatUint(at.Mutation.N, 10)
			return false
		}
		items = append(items, k.render(&q))
		return true
	})
	return items, next
}

// quarantine answers a customer administrator the refused offline work that is
// kept.
func (s *Server) quarantine(c *fiber.Ctx, caller *edge.Caller) error {
	p, err := parameters(c, "state", "limit", "cursor")
	if err != nil {
		return err
	}
	var out struct {
		Items []quarantined `json:"items"`
		Next  string        `json:"next,omitempty"`
	}
	err = caller.Read(func(v *tenant.View, sub *policy.Subject) error {
		if err := administrator(sub); err != nil {
			return err
		}
		k, err := newKeeper(v, sub, p["state"])
		if err != nil {
			return err
		}
		g, err := s.paging(caller, p, "quarantine", k.state)
		if err != nil {
			return err
		}
		var next string
		if out.Items, next = k.page(g.after, g.limit); next != "" {
			out.Next = g.next(next)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.JSON(out)
}

// bundled is what is dealt with together.
type bundled struct {
	ID     string        `json:"id"`
	Author named         `json:"author"`
	Device named         `json:"device"`
	State  string        `json:"state"` // open while anything of it is
	Items  []quarantined `json:"items"`
}

// bundleOf reads the bundle that the address names.
func bundleOf(c *fiber.Ctx) (command.Bundle, error) {
	b, ok := apply.ParseBundleID(c.Params("id"))
	if !ok {
		return b, notFound()
	}
	return b, nil
}

// quarantinedBundle answers a customer administrator one bundle, in the order
// in which it was done.
func (s *Server) quarantinedBundle(c *fiber.Ctx, caller *edge.Caller) error {
	if _, err := parameters(c); err != nil {
		return err
	}
	var out bundled
	err := caller.Read(func(v *tenant.View, sub *policy.Subject) error {
		if err := administrator(sub); err != nil {
			return err
		}
		b, err := bundleOf(c)
		if err != nil {
			return err
		}
		k, err := newKeeper(v, sub, stateAll)
		if err != nil {
			return err
		}
		all := apply.InBundle(v.Reader, b)
		if len(all) == 0 {
			return notFound()
		}
		out = bundled{ID: apply.BundleID(b), Author: k.name(all[0].Author), Device: k.name(b.Device), State: stateClosed, Items: []quarantined{}}
		for i := range all {
			if !k.wants(&all[i]) {
				return notFound()
			}
			if all[i].Closed == nil {
				out.State = stateOpen
			}
			item := k.render(&all[i])
			item.Present = k.present(&all[i])
			out.Items = append(out.Items, item)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.JSON(out)
}

// replayBody corrects what is wrong in a bundle.
type replayBody struct {
	Mutations []correction `json:"mutations"`
}

type correction struct {
	N      uint64                     `json:"n"`
	Fields map[string]json.RawMessage `json:"fields"`
}

// replayBundle does a bundle after all, with corrections where the body has
// any.
func (s *Server) replayBundle(c *fiber.Ctx, caller *edge.Caller) error {
	cmd := &command.Replay{}
	body, err := s.onBundle(c, caller, &cmd.Bundle, true)
	if err != nil {
		return err
	}
	if body != nil {
		var b replayBody
		if err := strictjson.Decode(body, &b); err != nil {
			return err
		}
		cmd.Fields = map[uint64]command.Object{}
		for _, m := range b.Mutations {
			if _, twice := cmd.Fields[m.N]; twice {
				return fault.Newf(fault.BadValue, "Mutation %d is corrected twice.", m.N).OnField("mutations")
			}
			cmd.Fields[m.N] = command.Object(m.Fields)
		}
	}
	if cmd.Key, cmd.KeyHash, err = idempotency(c, body); err != nil {
		return err
	}
	full := caller.Command()
	full.Replay = cmd
	res, err := s.submit(caller, full)
	if err != nil {
		return err
	}
	return c.JSON(res.Replay)
}

// discardBundle gives a bundle up.
func (s *Server) discardBundle(c *fiber.Ctx, caller *edge.Caller) error {
	cmd := &command.Discard{}
	body, err := s.onBundle(c, caller, &cmd.Bundle, false)
	if err != nil {
		return err
	}
	var b struct {
		Reason string `json:"reason"`
	}
	if err := strictjson.Decode(body, &b); err != nil {
		return err
	}
	if !utf8.ValidString(b.Reason) || strings.ContainsFunc(b.Reason, func(r rune) bool { return r < ' ' }) {
		return fault.New(fault.BadValue).OnField("reason")
	}
	cmd.Reason = strings.TrimSpace(b.Reason)
	full := caller.Command()
	full.Discard = cmd
	if _, err := s.submit(caller, full); err != nil {
		return err
	}
	return c.SendStatus(fiber.StatusNoContent)
}

// onBundle reads a request about a bundle; who is no administrator is told so,
// whatever else is wrong.
func (s *Server) onBundle(c *fiber.Ctx, caller *edge.Caller, b *command.Bundle, optional bool) ([]byte, error) {
	if err := caller.Read(func(_ *tenant.View, sub *policy.Subject) error { return administrator(sub) }); err != nil {
		return nil, err
	}
	if _, err := parameters(c); err != nil {
		return nil, err
	}
	var err error
	if *b, err = bundleOf(c); err != nil {
		return nil, err
	}
	_, body, err := members(c, optional)
	return body, err
}

// exportQuarantine answers a customer administrator all kept work: as JSON, or
// as a table with a row for each value that was typed.
func (s *Server) exportQuarantine(c *fiber.Ctx, caller *edge.Caller) error {
	p, err := parameters(c, "format", "bom", "state")
	if err != nil {
		return err
	}
	format, err := formatOf(p["format"], "json")
	if err != nil {
		return err
	}
	each := func(f func(quarantined) error) error {
		for after, first := "", true; first || after != ""; first = false {
			err := caller.Read(func(v *tenant.View, sub *policy.Subject) error {
				if err := administrator(sub); err != nil {
					return err
				}
				k, err := newKeeper(v, sub, p["state"])
				if err != nil {
					return err
				}
				var items []quarantined
				items, after = k.page(after, exportPage)
				for i := range items {
					if err := f(items[i]); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
	if format != "json" {
		return s.sendSheet(c, p, format, "quarantine", func(w sheet.Writer) error { return writeQuarantine(w, sheet.MaxRows(format), each) })
	}
	items := []quarantined{}
	if err := each(func(q quarantined) error { items = append(items, q); return nil }); err != nil {
		return err
	}
	c.Set(fiber.HeaderContentDisposition, `attachment; filename=quarantine.json`)
	return c.JSON(fiber.Map{"items": items})
}

// writeQuarantine writes a row for each value that was typed, and one for work
// without any.
func writeQuarantine(w sheet.Writer, limit int, each func(func(quarantined) error) error) error {
	if err := w.Row([]sheet.Cell{
		"bundle", "author", "author.name", "device", "device.name", "typed", "received", "status", "code", "message",
		"n", "op", "type", "id", "action", "field", "value", "was", "closed", "closedAt", "reason",
	}); err != nil {
		return err
	}
	rows := 0
	return each(func(q quarantined) error {
		m := &q.Mutation
		row := func(field string, value, was json.RawMessage) error {
			if rows++; rows > limit {
				return fault.Newf(fault.TooBig, "The export has more than %d rows.", limit)
			}
			cells := []sheet.Cell{
				q.Bundle, string(q.Author.ID), q.Author.Name, string(q.Device.ID), q.Device.Name, q.Typed, q.Received, q.Status, string(q.Code), q.Message,
				strconv.FormatUint(m.N, 10), m.Op, m.Type, string(m.ID), m.Action, field, plain(value), plain(was), nil, nil, nil,
			}
			if q.Closed != nil {
				copy(cells[18:], []sheet.Cell{q.Closed.How, q.Closed.At, q.Closed.Reason})
			}
			return w.Row(cells)
		}
		if len(m.Fields)+len(m.Args) == 0 {
			return row("", nil, nil)
		}
		for _, o := range []command.Object{m.Fields, m.Args} {
			for _, name := range slices.Sorted(maps.Keys(o)) {
				if err := row(name, o[name], m.Was[name]); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// plain is a JSON value as a cell: a text as it is, anything else as JSON.
func plain(v json.RawMessage) sheet.Cell {
	var text string
	switch {
	case len(v) == 0 || string(v) == "null":
		return nil
	case json.Unmarshal(v, &text) == nil:
		return text
	}
	return string(v)
}

// refusedWork is a piece of the caller's own work that was refused. It says what
// they typed and what they were told, nothing of records, and no more of what
// became of it than that somebody has dealt with it.
type refusedWork struct {
	Device    ident.DeviceID     `json:"device"`
	Received  string             `json:"received"`
	Status    string             `json:"status"`
	Code      fault.Code         `json:"code,omitempty"`
	Message   string             `json:"message,omitempty"`
	Root      uint64             `json:"root"`
	Mutation  quarantineMutation `json:"mutation"`
	Conflicts []contended        `json:"conflicts,omitempty"`
	Closed    bool               `json:"closed,omitempty"`
	Erased    bool               `json:"erased,omitempty"`
}

// refused answers the caller's own refused work.
func (s *Server) refused(c *fiber.Ctx, caller *edge.Caller) error {
	p, err := parameters(c, "limit", "cursor")
	if err != nil {
		return err
	}
	out := struct {
		Items []refusedWork `json:"items"`
		Next  string        `json:"next,omitempty"`
	}{Items: []refusedWork{}}
	err = caller.Read(func(v *tenant.View, _ *policy.Subject) error {
		g, err := s.paging(caller, p, "refused")
		if err != nil {
			return err
		}
		device, number, _ := strings.Cut(g.after, "\x00")
		last, _ := strconv.ParseUint(number, 10, 64)
		for _, id := range devicesOf(v, caller.Employee) {
			if string(id) < device {
				continue
			}
			apply.DeviceQuarantined(v.Reader, id, func(q apply.Quarantined) bool {
				m := q.Mutation
				if string(id) == device && m.N <= last {
					return true
				}
				if len(out.Items) == g.limit {
					at := out.Items[g.limit-1]
					out.Next = g.next(string(at.Device) + "\x00" + strconv.FormatUint(at.Mutation.N, 10))
					return false
				}
				one := refusedWork{
					Device: id, Received: q.Received.RFC3339(), Status: q.Status, Code: q.Code, Message: q.Message, Root: q.Root,
					Mutation: quarantineMutation{m.N, m.Op, m.Type, m.ID, m.Fields, m.Was, m.Action, m.Args, m.After, m.At.RFC3339()},
					Closed:   q.Closed != nil, Erased: q.Erased,
				}
				for _, x := range q.Conflicts {
					one.Conflicts = append(one.Conflicts, contended{ID: x.ID, Field: x.Field, Mine: x.Mine})
				}
				out.Items = append(out.Items, one)
				return true
			})
			if out.Next != "" {
				break
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.JSON(out)
}

// conflictItem is a conflict as it is shown with its record.
type conflictItem struct {
	ID     ident.RecordID  `json:"id"`
	Rev    string          `json:"rev"`
	Field  string          `json:"field"`
	Author named           `json:"author"`
	At     string          `json:"at"`
	Mine   json.RawMessage `json:"mine"`
	Was    json.RawMessage `json:"was"`
	// Theirs is what the record has now, where the reader sees the field.
	Theirs    json.RawMessage `json:"theirs,omitempty"`
	Status    string          `json:"status"`
	How       string          `json:"how,omitempty"`
	SettledBy *named          `json:"settledBy,omitempty"`
	SettledAt string          `json:"settledAt,omitempty"`
}

// conflicts answers the conflicts of a record: one's own, and those of fields
// that one may see and edit.
func (s *Server) conflicts(c *fiber.Ctx, caller *edge.Caller, t *entity.Type) error {
	p, err := parameters(c, "state", "limit", "cursor")
	if err != nil {
		return err
	}
	state := cmp.Or(p["state"], stateOpen)
	if state != stateOpen && state != stateClosed && state != stateAll {
		return badParameter("state", "state must be open, closed or all.")
	}
	id := ident.RecordID(c.Params("id"))
	out := struct {
		Items []conflictItem `json:"items"`
		Next  string         `json:"next,omitempty"`
	}{Items: []conflictItem{}}
	err = caller.Read(func(v *tenant.View, sub *policy.Subject) error {
		rec, sight, err := see(v, sub, t, id)
		if err != nil {
			return err
		}
		g, err := s.paging(caller, p, conflicts, string(id), state)
		if err != nil {
			return err
		}
		last, _ := strconv.ParseUint(g.after, 10, 32)
		ct := v.Cat.Type(typeConflict)
		var at ident.Ordinal
		for o := range v.Referring(ct, ct.Field("record").No, id).All() {
			x, ok := v.LoadOrd(o)
			if uint64(o) <= last || !ok || (state != stateAll && (state == stateOpen) != (x.StatusText() == ct.Status.Initial)) {
				continue
			}
			if sub.Sees(x, v.Reader).Mask == 0 && !apply.EditsContended(v.Reader, sub, x) {
				continue
			}
			if len(out.Items) == g.limit {
				out.Next = g.next(strconv.FormatUint(uint64(at), 10))
				break
			}
			out.Items, at = append(out.Items, conflictOf(v, sub, rec, sight, x)), o
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.JSON(out)
}

func conflictOf(v *tenant.View, sub *policy.Subject, rec *entity.Record, sight policy.Sight, x *entity.Record) conflictItem {
	it := conflictItem{
		ID: x.ID, Rev: apply.ConflictRev(x), Field: x.Get("field").Text(), Author: nameOf(v, sub, x.Get("author").Ref()), At: x.Get("at").Text(),
		Mine: json.RawMessage(x.Get("mine").Text()), Was: json.RawMessage(cmp.Or(x.Get("was").Text(), "null")),
		Status: x.StatusText(), How: x.Get("how").Text(), SettledAt: x.Get("settledAt").Text(),
	}
	if f := rec.Type.Field(it.Field); f != nil && sight.Mask.Has(f.No) {
		it.Theirs = slices.Clone(orNull(rec.Value(f.No)))
	}
	if by := x.Get("settledBy").Ref(); by != "" {
		n := nameOf(v, sub, by)
		it.SettledBy = &n
	}
	return it
}

func stateParameter() schema {
	return schema{
		"name": "state", "in": "query", "description": "open is the default",
		"schema": schema{"type": "string", "enum": []string{stateOpen, stateClosed, stateAll}},
	}
}

// aboutQuarantine describes the routes of refused work.
func aboutQuarantine(r Route, op schema, pages []any) {
	switch r.Path {
	case "/v1/me/refused":
		op["summary"] = "The caller's own refused offline work"
		op["description"] = "What they typed and were told; nothing of records."
		op["parameters"] = pages
		op["responses"] = answers("200", "A page.", pageOf(ref("schemas", "RefusedWork")))
	case "/v1/admin/quarantine":
		op["summary"] = "Refused offline work that is kept"
		op["parameters"] = append([]any{stateParameter()}, pages...)
		op["responses"] = answers("200", "A page.", pageOf(ref("schemas", "Quarantined")), "403")
	case "/v1/admin/quarantine:export":
		op["summary"] = "All refused offline work that is kept"
		op["parameters"] = []any{stateParameter(), schema{
			"name": "format", "in": "query", "description": "json is the default; a table has a row for each value that was typed",
			"schema": schema{"type": "string", "enum": []string{"json", sheet.CSV, sheet.XLSX}},
		}}
		op["responses"] = answers("200", "The work.", pageOf(ref("schemas", "Quarantined")), "403")
		for _, f := range []string{sheet.CSV, sheet.XLSX} {
			op["responses"].(schema)["200"].(schema)["content"].(schema)[sheet.ContentType(f)] = schema{"schema": schema{"type": "string"}}
		}
	case "/v1/admin/quarantine/{id}":
		op["summary"] = "A bundle of refused work, with what the records have now"
		op["responses"] = answers("200", "The bundle.", ref("schemas", "QuarantineBundle"), "403", "404")
	case "/v1/admin/quarantine/{id}:replay":
		op["summary"] = "Do a bundle of refused work after all, whole or not at all"
		op["description"] = "It is judged by the rights of the caller, and done for its author. Fields of a correction take the place of what was typed " +
			"(of an action, of its arguments) and are written whatever the record has; null for a name that is no field drops it. Where one piece can't be " +
			"done nothing is, and done is false."
		op["parameters"] = []any{ref("parameters", "idempotencyKey")}
		op["requestBody"] = schema{"required": false, "content": jsonBody(ref("schemas", "QuarantineCorrections"))}
		op["responses"] = answers("200", "What became of each piece.", ref("schemas", "QuarantineReplay"), "403", "404", "409")
	case "/v1/admin/quarantine/{id}:discard":
		op["summary"] = "Give a bundle of refused work up"
		op["requestBody"] = schema{"required": true, "content": jsonBody(schema{
			"type": "object", "required": []string{"reason"}, "additionalProperties": false,
			"properties": schema{"reason": schema{"type": "string", "minLength": 1, "maxLength": 500}},
		})}
		op["responses"] = answers("204", "It is given up.", nil, "403", "404", "409", "422")
	}
}

// quarantineSchemas describes refused work and conflicts.
func quarantineSchemas() schema {
	text, whole, flag := schema{"type": "string"}, schema{"type": "integer"}, schema{"type": "boolean"}
	when := schema{"type": "string", "format": "date-time"}
	who := ref("schemas", "Named")
	of := func(required []string, props schema) schema {
		return schema{"type": "object", "required": required, "properties": props}
	}
	list := func(item any) schema { return schema{"type": "array", "items": item} }
	with := func(a, b schema) schema {
		out := maps.Clone(a)
		maps.Copy(out, b)
		return out
	}
	told := schema{
		"received": when, "status": schema{"enum": []string{"refused", "conflict"}}, "code": ref("schemas", "ProblemCode"), "message": text,
		"root": schema{"type": "integer", "description": "The lowest number of what is kept together."}, "mutation": ref("schemas", "Mutation"),
		"erased": schema{"const": true, "description": "What was typed was taken out."},
		"conflicts": list(of([]string{"field", "mine"}, schema{
			"id": text, "field": text, "mine": schema{}, "how": schema{"type": "string", "description": "How it was settled; absent while it is open."},
		})),
	}
	result := of([]string{"n", "status"}, schema{
		"n": whole, "status": schema{"enum": []string{"applied", "conflict", "refused"}}, "code": ref("schemas", "ProblemCode"), "message": text,
		"rev": text, "id": schema{"type": "string", "description": "The record's, which may be another than the device gave it."}, "field": text,
		"conflicts": list(of([]string{"field", "mine", "theirs"}, schema{"field": text, "mine": schema{}, "theirs": schema{}})),
	})
	closed := of([]string{"how", "at"}, schema{
		"how": schema{"enum": []string{apply.HowReplayed, apply.HowDiscarded, apply.HowSettled}}, "at": when, "by": who, "reason": text,
	})
	return schema{
		"Quarantined": of([]string{"bundle", "device", "author", "received", "phoneNow", "typed", "status", "root", "mutation"}, with(told, schema{
			"bundle": schema{"type": "string", "description": "Names what it is dealt with together with."}, "device": who, "author": who,
			"phoneNow": when, "typed": schema{"type": "string", "format": "date-time", "description": "By the phone's clock put right."}, "closed": closed,
			"present": schema{"type": "object", "description": "What the record has now where the mutation wrote; of one bundle alone."},
		})),
		"QuarantineBundle": of([]string{"id", "author", "device", "state", "items"}, schema{
			"id": text, "author": who, "device": who, "state": schema{"enum": []string{stateOpen, stateClosed}}, "items": list(ref("schemas", "Quarantined")),
		}),
		"QuarantineCorrections": schema{
			"type": "object", "additionalProperties": false, "properties": schema{"mutations": list(schema{
				"type": "object", "required": []string{"n", "fields"}, "additionalProperties": false,
				"properties": schema{"n": whole, "fields": schema{"type": "object"}},
			})},
		},
		"QuarantineReplay": of([]string{"done", "results"}, schema{"done": flag, "results": list(result)}),
		"RefusedWork": of([]string{"device", "received", "status", "root", "mutation"}, with(told, schema{
			"device": text, "closed": schema{"const": true, "description": "Somebody has dealt with it."},
		})),
		"RecordConflict": of([]string{"id", "rev", "field", "author", "at", "mine", "was", "status"}, schema{
			"id": text, "rev": text, "field": text, "author": who, "at": when, "mine": schema{"description": "what was typed"},
			"was": schema{"description": "what it was typed over"}, "theirs": schema{"description": "what the record has now"},
			"status": schema{"enum": []string{"Open", "Settled"}}, "how": schema{"enum": []string{"mine", "theirs", "edited"}},
			"settledBy": who, "settledAt": when,
		}),
	}
}
