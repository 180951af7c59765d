package handler

import (
	"bytes"
	"encoding/json"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/server/booking"
	"satchel/server/edge"
	"satchel/sync/apply"
	"satchel/sync/wire"
)

// submit makes the change and answers the record as its author now sees it, with
// warnings where there are any.
func (s *Server) submit(c *fiber.Ctx, caller *edge.Caller, w *command.Write, b *body, warnings func(*view, ident.RecordID) []wire.Warning) error {
	w.Mobile, w.At = true, b.at
	cmd := caller.Command()
	cmd.Write = w
	ctx, cancel := s.background()
	defer cancel()
	res, err := caller.Tenant.Submit(ctx, cmd)
	if err != nil {
		return err
	}
	if res.Body == nil {
		return c.SendStatus(fiber.StatusNoContent)
	}
	out, err := warned(caller, res, warnings)
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderETag, `"`+res.Rev+`"`)
	status := fiber.StatusOK
	if w.Op == wire.OpCreate {
		status = fiber.StatusCreated
	}
	return edge.JSON(c, status, out)
}

// warned adds to an answer what deserves a look.
func warned(caller *edge.Caller, res apply.Result, warnings func(*view, ident.RecordID) []wire.Warning) ([]byte, error) {
	if warnings == nil {
		return res.Body, nil
	}
	var list []wire.Warning
	// What was done stays done if this can't be told.
	if err := read(caller, func(v *view) error { list = warnings(v, res.ID); return nil }); err != nil || len(list) == 0 {
		return res.Body, nil
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	out := append(bytes.Clone(res.Body[:len(res.Body)-1]), `,"warnings":`...)
	return append(append(out, raw...), '}'), nil
}

// taken are the times at which whoever now has the work has other work.
func taken(v *view, id ident.RecordID) []wire.Warning { return booking.Warnings(v.Reader, id) }

// act makes an action of the record that the address names: a step of an
// activity, a change of a ticket. What stands in the body beside at and now are
// its arguments.
func (s *Server) act(typ, action string) writer {
	assigns := s.cat.Type(typ).Action(action).Assigns != ""
	return func(c *fiber.Ctx, caller *edge.Caller) error {
		if _, err := parameters(c); err != nil {
			return err
		}
		b, err := members(c, caller, true)
		if err != nil {
			return err
		}
		w := &command.Write{Op: wire.OpAction, Type: typ, ID: ident.RecordID(c.Params("id")), Action: action, Args: b.fields}
		if w.IfMatch, err = ifMatch(c); err != nil {
			return err
		}
		if w.Key, w.KeyHash, err = idempotency(c, b); err != nil {
			return err
		}
		if assigns {
			return s.submit(c, caller, w, b, taken)
		}
		return s.submit(c, caller, w, b, nil)
	}
}

// parentOf says of which types the records are that something is added to by an
// address.
func (s *Server) parentOf(c *fiber.Ctx) string {
	if bytes.HasPrefix([]byte(c.Path()), []byte("/mobile/v1/tickets/")) {
		return typeTicket
	}
	return typeActivity
}

// beneath creates a record beneath the one that the address names: field refers
// to it. prepare, which may be nil, fills in what was left out.
func (s *Server) beneath(typ, field string, prepare func(*view, *body) error) writer {
	return func(c *fiber.Ctx, caller *edge.Caller) error {
		if _, err := parameters(c); err != nil {
			return err
		}
		b, err := members(c, caller, false)
		if err != nil {
			return err
		}
		w := &command.Write{Op: wire.OpCreate, Type: typ, Fields: b.fields}
		if w.Key, w.KeyHash, err = idempotency(c, b); err != nil {
			return err
		}
		parent := ident.RecordID(c.Params("id"))
		err = read(caller, func(v *view) error {
			if err := s.above(c, v, parent, w.Key); err != nil {
				return err
			}
			if prepare == nil {
				return nil
			}
			return prepare(v, b)
		})
		if err != nil {
			return err
		}
		if err := hang(w, field, parent); err != nil {
			return err
		}
		return s.submit(c, caller, w, b, nil)
	}
}

// above demands that the record which the address names is there for the person
// and, where If-Match says so, as they saw it last. A request that bears an
// idempotency key may be the repetition of one that has changed it.
func (s *Server) above(c *fiber.Ctx, v *view, id ident.RecordID, key string) error {
	match, err := ifMatch(c)
	if err != nil {
		return err
	}
	parent, err := v.find(s.parentOf(c), id)
	if err != nil {
		return err
	}
	if match != "" && key == "" && match != parent.rev {
		return fault.New(fault.RevMismatch)
	}
	return nil
}

// hang makes the record belong to the one that the address names, and takes an
// id that the device made.
func hang(w *command.Write, field string, parent ident.RecordID) error {
	if _, said := w.Fields[field]; said {
		return fault.Newf(fault.UnknownField, "The address says to what this belongs.").OnField(field)
	}
	w.Fields[field] = json.RawMessage(entity.RefValue(parent))
	return clientID(w)
}

func clientID(w *command.Write) error {
	raw, ok := w.Fields["id"]
	if !ok {
		return nil
	}
	var id string
	if json.Unmarshal(raw, &id) != nil || id == "" {
		return fault.New(fault.BadID).OnField("id")
	}
	delete(w.Fields, "id")
	w.ID = ident.RecordID(id)
	return nil
}

// check records the answer to one item of a checklist: the first one is created,
// a later one changes it.
func (s *Server) check(c *fiber.Ctx, caller *edge.Caller) error {
	if _, err := parameters(c); err != nil {
		return err
	}
	b, err := members(c, caller, false)
	if err != nil {
		return err
	}
	w := &command.Write{Op: wire.OpCreate, Type: typeAnswer, Fields: b.fields}
	if w.Key, w.KeyHash, err = idempotency(c, b); err != nil {
		return err
	}
	var list, item string
	for _, part := range []struct {
		name string
		into *string
	}{{"checklist", &list}, {"item", &item}} {
		raw, ok := b.fields[part.name]
		if !ok || json.Unmarshal(raw, part.into) != nil || *part.into == "" {
			return fault.Newf(fault.MissingField, "%s is required.", part.name).OnField(part.name)
		}
	}
	activity := ident.RecordID(c.Params("id"))
	defer s.lock(activity, list+"\x00"+item)()
	err = read(caller, func(v *view) error {
		if err := s.above(c, v, activity, w.Key); err != nil {
			return err
		}
		if _, said := b.fields["answeredAt"]; !said {
			b.fields["answeredAt"] = json.RawMessage(entity.TimeValue(b.when(v)))
		}
		for _, x := range v.under(typeAnswer, "activity", activity) {
			if string(x.get("checklist").Ref()) == list && x.get("item").Text() == item {
				w.Op, w.ID = wire.OpPatch, x.rec.ID
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if w.Op == wire.OpPatch {
		delete(b.fields, "checklist")
		delete(b.fields, "item")
		return s.submit(c, caller, w, b, nil)
	}
	if err := hang(w, "activity", activity); err != nil {
		return err
	}
	return s.submit(c, caller, w, b, nil)
}
