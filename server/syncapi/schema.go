package syncapi

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/policy"
	"satchel/internal/strictjson"
	"satchel/server/edge"
	"satchel/sync/apply"
	"satchel/sync/tenant"
	"satchel/sync/wire"
)

// older speaks the words of an older version of the record types. A device that
// says no version, or the newest, has none of it: nil does nothing.
//
// What a device doesn't know of fields the core leaves out, so that they send it
// nothing; here names and values are exchanged.
type older struct {
	cat *entity.Catalogue
	// names are the fields' names of then by "type.field" of now; back is the
	// same the other way round.
	names, back map[string]string
	// values are values the device doesn't know, by "type.field" of now.
	values map[string][]string
	// actions are the actions' names of now by "type.action" of then.
	actions map[string]string
	gone    []string // "type.action" of then
}

// speaking returns how to speak to a device of the schema version, nil for as
// it is.
func speaking(cat *entity.Catalogue, version int) *older {
	newer := cat.After(version)
	if len(newer) == 0 {
		return nil
	}
	o := &older{
		cat: cat, names: map[string]string{}, back: map[string]string{}, values: map[string][]string{}, actions: map[string]string{},
	}
	for _, e := range newer { // the oldest edition tells the name of then
		for now, then := range e.Renamed {
			if _, told := o.names[now]; !told {
				o.names[now] = then
				typ, name, _ := strings.Cut(now, ".")
				o.back[typ+"."+then] = name
			}
		}
		for now, then := range e.RenamedActions {
			typ, name, _ := strings.Cut(now, ".")
			if !slices.ContainsFunc(newer, func(f entity.Edition) bool {
				return f.Version < e.Version && f.RenamedActions[now] != ""
			}) {
				o.actions[typ+"."+then] = name
			}
		}
		for path, values := range e.Values {
			o.values[path] = append(o.values[path], values...)
		}
		o.gone = append(o.gone, e.Gone...)
	}
	return o
}

// speaks returns how to speak to the caller's device: as said in the request,
// or else as it said with a pull. While there is but one version nothing is
// looked up.
func speaks(caller *edge.Caller, said int) (*older, error) {
	cat := caller.Tenant.Catalogue()
	if cat.Edition() == 1 {
		return nil, nil
	}
	if said == 0 {
		err := caller.Read(func(v *tenant.View, _ *policy.Subject) error {
			said = apply.SchemaOf(v.Reader, caller.Device)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return speaking(cat, said), nil
}

// value is a field's value as the device knows values.
func (o *older) value(typ, name string, raw json.RawMessage) json.RawMessage {
	unknown := o.values[typ+"."+name]
	if len(unknown) == 0 {
		return raw
	}
	if v := entity.Value(raw).Text(); v != "" && slices.Contains(unknown, v) {
		return json.RawMessage(entity.StringValue(o.cat.Type(typ).Field(name).Fallback))
	}
	return raw
}

// page renders a page in the device's words.
func (o *older) page(raw []byte) ([]byte, error) {
	if o == nil {
		return raw, nil
	}
	members, err := strictjson.Object(raw)
	if err != nil {
		return nil, err
	}
	records, ok := members.Get("records")
	if !ok || bytes.Equal(records, []byte("[]")) {
		return raw, nil
	}
	var list []wire.Record
	if err := json.Unmarshal(records, &list); err != nil {
		return nil, err
	}
	for i := range list {
		r := &list[i]
		out := make(map[string]json.RawMessage, len(r.Fields))
		for name, v := range r.Fields {
			v = o.value(r.Type, name, v)
			if then, ok := o.names[r.Type+"."+name]; ok {
				name = then
			}
			out[name] = v
		}
		r.Fields = out
	}
	body := []byte{'{'}
	for i, m := range members {
		if i > 0 {
			body = append(body, ',')
		}
		v := []byte(m.Raw)
		if m.Key == "records" {
			if v, err = json.Marshal(list); err != nil {
				return nil, err
			}
		}
		body = append(append(append(body, entity.StringValue(m.Key)...), ':'), v...)
	}
	return append(body, '}'), nil
}

// mutation puts a mutation into the words of now; its hash stays that of what
// was sent. What can't be said any more is refused, and kept.
func (o *older) mutation(m *command.Mutation) {
	if o == nil || m.Refuse != "" {
		return
	}
	if m.Action != "" {
		path := m.Type + "." + m.Action
		if slices.Contains(o.gone, path) {
			m.Refuse, m.RefuseText = fault.SchemaNotSupported, fault.SchemaNotSupported.Text()
			return
		}
		if now, ok := o.actions[path]; ok {
			m.Action = now
		}
	}
	rename := func(in command.Object) (command.Object, bool) {
		if in == nil {
			return nil, true
		}
		out := make(command.Object, len(in))
		for name, v := range in {
			if now, ok := o.back[m.Type+"."+name]; ok {
				name = now
			}
			if _, both := out[name]; both {
				return nil, false
			}
			out[name] = v
		}
		return out, true
	}
	fields, ok := rename(m.Fields)
	was, ok2 := rename(m.Was)
	if !ok || !ok2 {
		m.Refuse, m.RefuseText = fault.SchemaNotSupported, fault.SchemaNotSupported.Text()
		return
	}
	m.Fields, m.Was = fields, was
}

// results renders results in the device's words; muts are those answered.
func (o *older) results(rs []wire.Result, muts []command.Mutation) {
	if o == nil {
		return
	}
	for i := range rs {
		at := slices.IndexFunc(muts, func(m command.Mutation) bool { return m.N == rs[i].N })
		if at < 0 {
			continue
		}
		typ := muts[at].Type
		for j := range rs[i].Conflicts {
			c := &rs[i].Conflicts[j]
			c.Theirs = o.value(typ, c.Field, c.Theirs)
			if then, ok := o.names[typ+"."+c.Field]; ok {
				c.Field = then
			}
		}
	}
}
