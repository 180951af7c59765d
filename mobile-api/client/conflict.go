package client

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"satchel/sync/wire"
)

// typeConflict is the type of conflicts, as the server sends them.
const typeConflict = "conflict"

// Conflict is one field of a record that was changed here, or on another device
// of the same person, and by somebody else before that arrived. The record has
// the other's value until the conflict is settled.
type Conflict struct {
	ID     string   `json:"id"`
	Record wire.Ref `json:"record"`
	Field  string   `json:"field"`
	// Mine is what was typed, Was what it was typed over, as JSON.
	Mine json.RawMessage `json:"mine"`
	Was  json.RawMessage `json:"was"`
	// Theirs is what the server has, as of the last sync; nil where the device
	// has not got the record.
	Theirs json.RawMessage `json:"theirs,omitempty"`
	At     string          `json:"at"` // when it was typed, RFC 3339
	// Open: the server has it as not settled. How, by whom and when says how it
	// was: mine, theirs or edited.
	Open      bool   `json:"open"`
	How       string `json:"how,omitempty"`
	SettledBy string `json:"settledBy,omitempty"` // id of the employee
	SettledAt string `json:"settledAt,omitempty"`
	// Choice is how it was settled here while the server has not confirmed that;
	// "" for not at all.
	Choice string `json:"choice,omitempty"`
}

// Keep is a way to settle a conflict.
type Keep struct {
	action string
	value  any
}

// The ways to settle a conflict: with what was typed, with what the record has,
// or with another value.
var (
	KeepMine   = Keep{action: "keep-mine"}
	KeepTheirs = Keep{action: "keep-theirs"}
)

// KeepValue settles a conflict with another value, anything that encoding/json
// can encode.
func KeepValue(v any) Keep { return Keep{action: keepEdited, value: v} }

const keepEdited = "keep-edited"

// choices are what actions on a conflict come to.
var choices = map[string]string{KeepMine.action: "mine", KeepTheirs.action: "theirs", keepEdited: "edited"}

// ErrSettled says that a conflict was settled already, here or by somebody else.
var ErrSettled = errors.New("client: the conflict is settled")

// conflictFields is a conflict as it stands in the store.
type conflictFields struct {
	Record     string `json:"record"`
	RecordType string `json:"recordType"`
	Field      string `json:"field"`
	Mine       string `json:"mine"` // JSON as text
	Was        string `json:"was"`
	At         string `json:"at"`
	Status     string `json:"status"`
	How        string `json:"how"`
	SettledBy  string `json:"settledBy"`
	SettledAt  string `json:"settledAt"`
}

func (c *conflictFields) open() bool { return c.Status == "Open" }

// readConflict returns a conflict that the device has.
func readConflict(t tx, id string) (c conflictFields, ok bool, err error) {
	v := t.get(bucketRecords, recordKey(typeConflict, id))
	if v == nil {
		return c, false, nil
	}
	_, _, fields, err := decodeRecord(v)
	if err == nil {
		err = json.Unmarshal(fields, &c)
	}
	return c, err == nil, err
}

// Conflicts returns the conflicts of this person's edits, those that were
// settled in the last weeks included, sorted by id.
func (p *Phone) Conflicts() ([]Conflict, error) {
	if err := p.unlocked(); err != nil {
		return nil, err
	}
	var out []Conflict
	err := p.st.view(func(t tx) error {
		var ids []string
		prefix := typePrefix(typeConflict)
		if err := t.scan(bucketRecords, prefix, func(k, _ []byte) error {
			ids = append(ids, string(k[len(prefix):]))
			return nil
		}); err != nil {
			return err
		}
		pending, err := settledHere(t)
		if err != nil {
			return err
		}
		for _, id := range ids {
			c, ok, err := readConflict(t, id)
			if err != nil || !ok {
				return err
			}
			one := Conflict{
				ID: id, Record: wire.Ref{Type: c.RecordType, ID: c.Record}, Field: c.Field,
				Mine: json.RawMessage(cmp.Or(c.Mine, "null")), Was: json.RawMessage(cmp.Or(c.Was, "null")),
				At: c.At, Open: c.open(), How: c.How, SettledBy: c.SettledBy, SettledAt: c.SettledAt,
			}
			if one.Open {
				one.Choice = choices[pending[id].Action]
			}
			if one.Theirs, err = heldValue(t, one.Record, c.Field); err != nil {
				return err
			}
			out = append(out, one)
		}
		return nil
	})
	return out, err
}

// heldValue is a field as the server sent it last, nil where the record is not
// there to be seen.
func heldValue(t tx, ref wire.Ref, field string) (json.RawMessage, error) {
	v := t.get(bucketRecords, recordKey(ref.Type, ref.ID))
	if v == nil {
		return nil, nil
	}
	_, _, raw, err := decodeRecord(v)
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	if fields[field] == nil {
		return json.RawMessage("null"), nil
	}
	return bytes.Clone(fields[field]), nil
}

// settledHere returns the settlings that the server has not confirmed, or that
// no page has shown yet, by the id of the conflict; of several the last.
func settledHere(t tx) (map[string]edit, error) {
	var out map[string]edit
	prefix := typePrefix(typeConflict)
	err := t.scan(bucketTouched, prefix, func(k, _ []byte) error {
		_, n, err := splitTouched(k)
		if err != nil {
			return err
		}
		e, ok, err := readEdit(t, n)
		if err != nil || !ok || e.Op != wire.OpAction || choices[e.Action] == "" {
			return err
		}
		if out == nil {
			out = map[string]edit{}
		}
		out[e.ID] = e
		return nil
	})
	return out, err
}

// layOver adds to the edits of a type's records, or of one, those that settled
// conflicts come to: what is kept shows on the record at once.
func layOver(t tx, typ, id string, edits map[string][]edit) (map[string][]edit, error) {
	if typ == typeConflict {
		return edits, nil
	}
	pending, err := settledHere(t)
	for _, conflict := range sortedKeys(pending) {
		e := pending[conflict]
		c, ok, cerr := readConflict(t, conflict)
		if err = errors.Join(err, cerr); err != nil {
			return nil, err
		}
		if !ok || !c.open() || c.RecordType != typ || (id != "" && c.Record != id) || e.Action == KeepTheirs.action {
			continue
		}
		value := json.RawMessage(cmp.Or(c.Mine, "null"))
		if e.Action == keepEdited {
			value = e.Args["value"]
		}
		if edits == nil {
			edits = map[string][]edit{}
		}
		edits[c.Record] = append(edits[c.Record], edit{settled: e.settled, Mutation: wire.Mutation{
			N: e.N, Op: wire.OpPatch, Type: typ, ID: c.Record, Fields: map[string]json.RawMessage{c.Field: value},
		}})
		slices.SortStableFunc(edits[c.Record], func(a, b edit) int { return cmp.Compare(a.N, b.N) })
	}
	return edits, err
}

// Settle settles a conflict, here at once and on the server when it is sent. To
// keep anything but theirs is an edit of the record, and a *RuleError where the
// rules refuse that, unless EditAnyway is given. Problems about it alone are
// dismissed. ErrNotFound where the device has no such conflict, ErrSettled where
// it is settled.
func (p *Phone) Settle(id string, how Keep, opts ...EditOption) error {
	if choices[how.action] == "" {
		return errors.New("client: say what to keep")
	}
	var args map[string]json.RawMessage
	if how.action == keepEdited {
		raw, err := json.Marshal(how.value)
		if err != nil {
			return fmt.Errorf("client: %w", err)
		}
		args = map[string]json.RawMessage{"value": raw}
	}
	return p.edit([]EditOption{EditAnyway}, func(t tx) (*wire.Mutation, error) {
		c, ok, err := readConflict(t, id)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, fmt.Errorf("%w: %s/%s", ErrNotFound, typeConflict, id)
		}
		pending, err := settledHere(t)
		if err != nil {
			return nil, err
		}
		if _, here := pending[id]; here || !c.open() {
			return nil, fmt.Errorf("%w: %s", ErrSettled, id)
		}
		if how.action != KeepTheirs.action && !slices.Contains(opts, EditAnyway) {
			value := args["value"]
			if how.action == KeepMine.action {
				value = json.RawMessage(cmp.Or(c.Mine, "null"))
			}
			if err := p.check(t, &wire.Mutation{
				Op: wire.OpPatch, Type: c.RecordType, ID: c.Record, Fields: map[string]json.RawMessage{c.Field: value},
			}); err != nil {
				return nil, err
			}
		}
		done := func(other string) (bool, error) {
			if _, here := pending[other]; here || other == id {
				return true, nil
			}
			x, ok, err := readConflict(t, other)
			return ok && !x.open(), err
		}
		if err := dropProblems(t, done); err != nil {
			return nil, err
		}
		return &wire.Mutation{Op: wire.OpAction, Type: typeConflict, ID: id, Action: how.action, Args: args}, nil
	})
}

// dropProblems dismisses problems of which each conflict is done with.
func dropProblems(t tx, done func(id string) (bool, error)) error {
	var drop []uint64
	err := t.scan(bucketProblems, nil, func(_, v []byte) error {
		var pr storedProblem
		if err := json.Unmarshal(v, &pr); err != nil {
			return fmt.Errorf("client: a stored problem is damaged: %w", err)
		}
		if pr.Result.Status != wire.Conflict || len(pr.Result.Conflicts) == 0 {
			return nil
		}
		for _, c := range pr.Result.Conflicts {
			if c.Conflict == "" {
				return nil
			}
			if ok, err := done(c.Conflict); err != nil || !ok {
				return err
			}
		}
		drop = append(drop, pr.ID)
		return nil
	})
	for _, id := range drop {
		if err == nil {
			err = t.del(bucketProblems, numberKey(id))
		}
	}
	return err
}

// noteSettled dismisses problems that a page shows to be settled, by whomever.
func noteSettled(t tx, pg *page) error {
	if !slices.ContainsFunc(pg.Records, func(r pageRecord) bool { return r.Type == typeConflict }) {
		return nil
	}
	return dropProblems(t, func(id string) (bool, error) {
		c, ok, err := readConflict(t, id)
		return ok && !c.open(), err
	})
}
