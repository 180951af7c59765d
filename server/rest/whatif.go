package rest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/internal/strictjson"
	"satchel/server/edge"
	"satchel/sync/apply"
	"satchel/sync/state"
	"satchel/sync/tenant"
)

const (
	// maxChanges bounds what is tried at once.
	maxChanges = 50
	// trialWait is how long a question waits for the one before it: each takes
	// a processor to itself.
	trialWait = 10 * time.Second
)

// proposed is one change to be tried, like a write.
type proposed struct {
	Op   string         `json:"op"`
	Type string         `json:"type"`
	ID   ident.RecordID `json:"id"`
	// As is what later changes call the record that this one creates: "$" and
	// the name stand for its id.
	As     string         `json:"as"`
	Fields command.Object `json:"fields"`
	Action string         `json:"action"`
	Args   command.Object `json:"args"`
}

var madeUpName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,39}$`)

// changes reads the body of a what-if: {"change": one or a list}.
func changes(body []byte) ([]proposed, error) {
	f, err := strictjson.Object(body)
	if err != nil {
		return nil, err
	}
	raw, ok := f.Get("change")
	if !ok {
		return nil, fault.Newf(fault.MissingField, "change is required.").OnField("change")
	}
	if len(f) > 1 {
		for _, m := range f {
			if m.Key != "change" {
				return nil, fault.Newf(fault.UnknownField, "There is no field %q.", m.Key).OnField(m.Key)
			}
		}
	}
	if raw = bytes.TrimSpace(raw); len(raw) > 0 && raw[0] != '[' {
		raw = slices.Concat([]byte{'['}, raw, []byte{']'})
	}
	// Decode takes objects alone.
	var in struct {
		Change []proposed `json:"change"`
	}
	if err := strictjson.Decode(slices.Concat([]byte(`{"change":`), raw, []byte{'}'}), &in); err != nil {
		return nil, err
	}
	out := in.Change
	if len(out) == 0 || len(out) > maxChanges {
		return nil, fault.Newf(fault.BadValue, "change is one change or a list of 1 to %d.", maxChanges).OnField("change")
	}
	names := map[string]bool{}
	for _, p := range out {
		if !slices.Contains([]string{"create", "patch", "delete", "action"}, p.Op) {
			return nil, fault.Newf(fault.BadValue, "op must be create, patch, delete or action.").OnField("op")
		}
		if p.As == "" {
			continue
		}
		if p.Op != "create" || !madeUpName.MatchString(p.As) || names[p.As] {
			return nil, fault.Newf(fault.BadValue, "as names what a create makes: a letter, then up to 39 letters, digits, _ or -, each name once.").OnField("as")
		}
		names[p.As] = true
	}
	return out, nil
}

// write is the change as a write, with the ids of what was made before.
func (p *proposed) write(made map[string]ident.RecordID) *command.Write {
	id := p.ID
	if n, ok := strings.CutPrefix(string(id), "$"); ok && made[n] != "" {
		id = made[n]
	}
	return &command.Write{Op: p.Op, Type: p.Type, ID: id, Fields: meant(p.Fields, made), Action: p.Action, Args: meant(p.Args, made)}
}

// meant puts ids in the place of names, in members and in lists.
func meant(o command.Object, made map[string]ident.RecordID) command.Object {
	if len(made) == 0 || o == nil {
		return o
	}
	id := func(s string) string {
		if n, ok := strings.CutPrefix(s, "$"); ok && made[n] != "" {
			return string(made[n])
		}
		return s
	}
	out := make(command.Object, len(o))
	for k, raw := range o {
		out[k] = raw
		if !bytes.Contains(raw, []byte(`"$`)) {
			continue
		}
		var v any
		var one string
		var list []string
		switch {
		case json.Unmarshal(raw, &one) == nil:
			v = id(one)
		case json.Unmarshal(raw, &list) == nil:
			for i := range list {
				list[i] = id(list[i])
			}
			v = list
		default:
			continue
		}
		if b, err := json.Marshal(v); err == nil {
			out[k] = b
		}
	}
	return out
}

// counted is a number of records, in all and by type.
type counted struct {
	Total int            `json:"total"`
	Types map[string]int `json:"types,omitempty"`
}

// effect is what a change does to what somebody sees or a device carries.
type effect struct {
	// Arrives counts records that come because of the change, Leaves those that
	// go because of it, Changed those that stay and of which other fields are
	// seen.
	Arrives counted `json:"arrives"`
	Leaves  counted `json:"leaves"`
	Changed int     `json:"changed"`
}

// WhatIfDevice is what a change does to a device.
type WhatIfDevice struct {
	Device   named `json:"device"`
	Employee named `json:"employee"`
	effect
}

// WhatIfPerson is what a change does to what a person may see, on devices or
// without any.
type WhatIfPerson struct {
	Employee named `json:"employee"`
	// Devices counts those of the person to which the change does something.
	Devices int `json:"devices"`
	effect
}

// Refusal is why a change would not be made.
type Refusal struct {
	// Index is the change's place in the list, from 0.
	Index   int        `json:"index"`
	Code    fault.Code `json:"code"`
	Message string     `json:"message"`
	Field   string     `json:"field,omitempty"`
}

// WhatIfAnswer says what a change would lead to.
type WhatIfAnswer struct {
	// Accepted: the change would be made. Otherwise Refusal says why not, and
	// nothing is counted.
	Accepted bool     `json:"accepted"`
	Refusal  *Refusal `json:"refusal,omitempty"`
	// Total counts the people and devices for whom something changes; People
	// and Devices tell of those of this page.
	Total struct {
		People  int `json:"people"`
		Devices int `json:"devices"`
	} `json:"total"`
	People  []WhatIfPerson `json:"people"`
	Devices []WhatIfDevice `json:"devices"`
	Next    string         `json:"next,omitempty"`
}

// whatIf answers a customer administrator what a change would lead to. Nothing
// is written, and writes go on meanwhile.
func (s *Server) whatIf(c *fiber.Ctx, caller *edge.Caller) error {
	p, err := parameters(c, "limit", "cursor")
	if err != nil {
		return err
	}
	// Who may not ask is told so, whatever the body.
	if err := caller.Read(func(_ *tenant.View, sub *policy.Subject) error { return administrator(sub) }); err != nil {
		return err
	}
	raw, err := edge.Body(c)
	if err != nil {
		return err
	}
	list, err := changes(bytes.Clone(raw))
	if err != nil {
		return err
	}
	sum := sha256.Sum256(raw)
	g, err := s.paging(caller, p, "what-if", hex.EncodeToString(sum[:]))
	if err != nil {
		return err
	}
	wait := time.NewTimer(trialWait)
	defer wait.Stop()
	select {
	case s.trials <- struct{}{}:
		defer func() { <-s.trials }()
	case <-wait.C:
		return fault.New(fault.Busy)
	}
	var out *WhatIfAnswer
	err = caller.Read(func(v *tenant.View, sub *policy.Subject) error {
		if err := administrator(sub); err != nil {
			return err
		}
		out, err = try(caller.Tenant, v, caller.Command(), sub, list, g)
		return err
	})
	if err != nil {
		return err
	}
	return c.JSON(out)
}

// WhatIf tells an operator what a change would lead to: the body of the request
// of the same name, judged as what employee asks for or, where that is "", as
// the operator's own, whom no right binds. The answer has no pages.
func WhatIf(t *tenant.Tenant, employee ident.RecordID, body []byte) (*WhatIfAnswer, error) {
	list, err := changes(body)
	if err != nil {
		return nil, err
	}
	var out *WhatIfAnswer
	err = t.Read(func(v *tenant.View) error {
		out, err = try(t, v, &command.Command{Actor: employee}, nil, list, paging{})
		return err
	})
	return out, err
}

// try makes the changes of a trial and pages through what they do. sub is who
// asks, nil for the operator.
func try(t *tenant.Tenant, v *tenant.View, as *command.Command, sub *policy.Subject, list []proposed, g paging) (*WhatIfAnswer, error) {
	out := &WhatIfAnswer{People: []WhatIfPerson{}, Devices: []WhatIfDevice{}}
	tr := apply.NewTrial(apply.Config{Cat: t.Catalogue(), Roles: t.Roles(), Field: t.Field()}, v.KV(), t.Now())
	made := map[string]ident.RecordID{}
	for i := range list {
		cmd := *as
		cmd.Seed = make([]byte, 16)
		t.Random(cmd.Seed)
		cmd.Write = list[i].write(made)
		res := tr.Do(&cmd)
		if res.Err != nil {
			var f *fault.Error
			if !errors.As(res.Err, &f) || f.Code == fault.InternalError {
				return nil, res.Err
			}
			out.Refusal = &Refusal{Index: i, Code: f.Code, Message: f.Message, Field: f.Field}
			return out, nil
		}
		if list[i].As != "" {
			made[list[i].As] = res.ID
		}
	}
	out.Accepted = true
	asker := ident.RecordID("")
	if sub != nil {
		asker = sub.ID
	}
	people, err := tr.Compare(asker)
	if err != nil {
		return nil, err
	}
	out.Total.People = len(people)
	last := ""
	for _, p := range people {
		out.Total.Devices += len(p.Devices)
		if string(p.ID) <= g.after {
			continue
		}
		if g.limit > 0 && len(out.People) == g.limit {
			if out.Next == "" {
				out.Next = g.next(last)
			}
			continue
		}
		last = string(p.ID)
		who := nameIn(tr.After(), sub, p.ID)
		out.People = append(out.People, WhatIfPerson{who, len(p.Devices), shown(tr.After(), &p.Effect)})
		for _, d := range p.Devices {
			out.Devices = append(out.Devices, WhatIfDevice{nameIn(tr.After(), sub, d.ID), who, shown(tr.After(), &d.Effect)})
		}
	}
	return out, nil
}

// shown names the types of an effect.
func shown(rd *state.Reader, e *apply.Effect) effect {
	count := func(by map[uint16]int) counted {
		c := counted{}
		for no, n := range by {
			if c.Types == nil {
				c.Types = map[string]int{}
			}
			c.Types[rd.Cat.TypeNo(no).Name] = n
			c.Total += n
		}
		return c
	}
	return effect{count(e.Arrives), count(e.Leaves), e.Changed}
}

// whatIfSchemas describes the question and its answer.
func whatIfSchemas() schema {
	text, whole := schema{"type": "string"}, schema{"type": "integer"}
	fields := schema{"type": "object", "additionalProperties": true}
	change := schema{
		"type": "object", "required": []string{"op", "type"}, "additionalProperties": false,
		"properties": schema{
			"op": schema{"enum": []string{"create", "patch", "delete", "action"}}, "type": text, "id": text, "fields": fields, "action": text, "args": fields,
			"as": schema{"type": "string", "pattern": madeUpName.String(), "description": "Of a create: what later changes call its record; $ and the name stand for the id."},
		},
	}
	counted := schema{"type": "object", "required": []string{"total"}, "properties": schema{
		"total": whole, "types": schema{"type": "object", "additionalProperties": whole},
	}}
	with := func(required []string, props schema) schema {
		props["arrives"], props["leaves"], props["changed"] = counted, counted, whole
		return schema{"type": "array", "items": schema{"type": "object", "required": append(required, "arrives", "leaves", "changed"), "properties": props}}
	}
	who := ref("schemas", "Named")
	return schema{
		"Change": change,
		"WhatIf": schema{
			"type": "object", "required": []string{"change"}, "additionalProperties": false,
			"properties": schema{"change": schema{"oneOf": []any{
				ref("schemas", "Change"), schema{"type": "array", "minItems": 1, "maxItems": maxChanges, "items": ref("schemas", "Change")},
			}}},
		},
		"WhatIfAnswer": schema{
			"type": "object", "required": []string{"accepted", "total", "people", "devices"},
			"properties": schema{
				"accepted": schema{"type": "boolean"}, "next": text,
				"refusal": schema{"type": "object", "required": []string{"index", "code", "message"}, "properties": schema{
					"index": whole, "code": ref("schemas", "ProblemCode"), "message": text, "field": text,
				}},
				"total":   schema{"type": "object", "required": []string{"people", "devices"}, "properties": schema{"people": whole, "devices": whole}},
				"people":  with([]string{"employee", "devices"}, schema{"employee": who, "devices": whole}),
				"devices": with([]string{"device", "employee"}, schema{"device": who, "employee": who}),
			},
		},
	}
}
