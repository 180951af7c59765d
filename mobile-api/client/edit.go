package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"satchel/sync/wire"
)

// A push carries at most so many mutations and bytes of JSON; a single
// mutation must leave room for what surrounds it.
const (
	maxPushMutations = 500
	maxPushBytes     = 200 << 10
	maxMutation      = maxPushBytes - 1<<10
)

// Create makes a record on the device and queues it for the server. Values are
// anything that encoding/json can encode. It returns the record's id: the
// device's prefix and random characters. The id changes if the store begins a
// new incarnation before the record was sent. ErrSignedOut: the device was
// never signed in, so it has no prefix. *RuleError: the server would refuse it.
func (p *Phone) Create(typ string, fields map[string]any, how ...EditOption) (id string, err error) {
	raw, err := encodeFields(fields)
	if err != nil {
		return "", err
	}
	err = p.edit(how, func(t tx) (*wire.Mutation, error) {
		d, err := readDevice(t)
		if err != nil {
			return nil, err
		}
		if d.Prefix == "" {
			return nil, fmt.Errorf("%w: sign in once before creating records", ErrSignedOut)
		}
		id = d.Prefix + randomText(p.opts.Random, 15)
		return &wire.Mutation{Op: wire.OpCreate, Type: typ, ID: id, Fields: raw}, nil
	})
	if err != nil {
		return "", err
	}
	return id, nil
}

// Patch changes fields of a record, here at once and on the server when it is
// sent. What the fields held before goes along, so that the server can tell a
// change made by somebody else in the meantime: that one then stands, and this
// one's value becomes a conflict among Problems. ErrNotFound where the device
// shows no such record. A nil value clears a field; a SetChange adds to and
// removes from a set. *RuleError: the server would refuse it.
func (p *Phone) Patch(typ, id string, fields map[string]any, how ...EditOption) error {
	raw, err := encodeFields(fields)
	if err != nil {
		return err
	}
	if len(raw) == 0 {
		return nil
	}
	return p.edit(how, func(t tx) (*wire.Mutation, error) {
		r, err := shown(t, typ, id)
		if err != nil {
			return nil, err
		}
		was := make(map[string]json.RawMessage, len(raw))
		for f := range raw {
			// With earlier edits still on their way, what those leave.
			if was[f] = r.Fields[f]; was[f] == nil {
				was[f] = json.RawMessage("null")
			}
		}
		return &wire.Mutation{Op: wire.OpPatch, Type: typ, ID: id, Fields: raw, Was: was}, nil
	})
}

// Delete removes a record here and queues that for the server. What its fields
// held goes along: where somebody else has changed one of them in the meantime
// the server refuses the delete, with the code conflict, and the record is shown
// again. ErrNotFound where the device shows no such record. *RuleError: the
// server would refuse it.
func (p *Phone) Delete(typ, id string, how ...EditOption) error {
	return p.edit(how, func(t tx) (*wire.Mutation, error) {
		r, err := shown(t, typ, id)
		if err != nil {
			return nil, err
		}
		was, err := p.heldBy(t, r)
		if err != nil {
			return nil, err
		}
		return &wire.Mutation{Op: wire.OpDelete, Type: typ, ID: id, Was: was}, nil
	})
}

// maxHeld bounds what a delete tells of what was there, in bytes; fields that
// don't fit are left out.
const maxHeld = 64 << 10

// heldBy returns what the device knows that the server has in a record's fields,
// null for those that are empty. Of a record that the server has not shown yet
// it knows nothing, and nothing of what queued actions may have changed.
func (p *Phone) heldBy(t tx, r Record) (map[string]json.RawMessage, error) {
	d, err := readDevice(t)
	if err != nil {
		return nil, err
	}
	set, err := p.ruleSet(t, d)
	if err != nil {
		return nil, err
	}
	was := r.Fields
	if set != nil && set.types[r.Type] != nil {
		j := &judge{t: t, rules: set}
		f := j.facts(r.Type, r.ID)
		if f == nil || j.err != nil {
			return nil, j.err
		}
		was = f.held()
	} else if r.Pending {
		was = nil
	}
	room := maxHeld
	for _, name := range sortedKeys(was) {
		size := len(name) + len(was[name])
		if size > room {
			delete(was, name)
			continue
		}
		room -= size
	}
	return was, nil
}

// Action queues an action (a change of status, a movement of stock) on a
// record. Its effect is the server's to compute, so the record shows it only
// after the next sync; until then it is Pending. ErrNotFound where the device
// shows no such record.
func (p *Phone) Action(typ, id, action string, args map[string]any, how ...EditOption) error {
	if action == "" {
		return errors.New("client: an action needs a name")
	}
	raw, err := encodeFields(args)
	if err != nil {
		return err
	}
	return p.edit(how, func(t tx) (*wire.Mutation, error) {
		if _, err := shown(t, typ, id); err != nil {
			return nil, err
		}
		return &wire.Mutation{Op: wire.OpAction, Type: typ, ID: id, Action: action, Args: raw}, nil
	})
}

func encodeFields(fields map[string]any) (map[string]json.RawMessage, error) {
	out := make(map[string]json.RawMessage, len(fields))
	for f, v := range fields {
		raw, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("client: field %s: %w", f, err)
		}
		out[f] = raw
	}
	return out, nil
}

func shown(t tx, typ, id string) (Record, error) {
	r, ok, err := viewRecord(t, typ, id)
	if err == nil && !ok {
		err = fmt.Errorf("%w: %s/%s", ErrNotFound, typ, id)
	}
	return r, err
}

// edit queues what build returns, in one transaction with what build reads,
// unless the rules refuse it.
func (p *Phone) edit(how []EditOption, build func(tx) (*wire.Mutation, error)) error {
	if err := p.unlocked(); err != nil {
		return err
	}
	err := p.st.update(func(t tx) error {
		m, err := build(t)
		if err != nil {
			return err
		}
		if err := checkRef(m.Type, m.ID); err != nil {
			return err
		}
		if !slices.Contains(how, EditAnyway) {
			if err := p.check(t, m); err != nil {
				return err
			}
		}
		if m.N, err = nextNumber(t); err != nil {
			return err
		}
		m.At = p.now().UTC().Format(timeFormat)
		if m.After, err = dependencies(t, m); err != nil {
			return err
		}
		if err := putNumber(t, keyNext, m.N+1); err != nil {
			return err
		}
		raw, err := json.Marshal(m)
		if err != nil {
			return err
		}
		if len(raw) > maxMutation {
			return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(raw), maxMutation)
		}
		return queue(t, m)
	})
	if err == nil {
		p.poke()
	}
	return err
}

// timeFormat is RFC 3339 in UTC with milliseconds.
const timeFormat = "2006-01-02T15:04:05.000Z"

// nextNumber is what the next mutation gets; they begin with 1.
func nextNumber(t tx) (uint64, error) {
	n, ok, err := getNumber(t, keyNext)
	switch {
	case err != nil:
		return 0, err
	case !ok:
		return 1, nil
	case n == 0:
		return 0, fmt.Errorf("client: stored %s: %w", keyNext, errNumber)
	}
	return n, nil
}

func putNumber(t tx, key []byte, n uint64) error { return t.put(bucketMeta, key, numberKey(n)) }

// queue puts a mutation into the outbox and its indexes.
func queue(t tx, m *wire.Mutation) error {
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if m.Op == wire.OpCreate {
		if err := t.put(bucketCreates, []byte(m.ID), numberKey(m.N)); err != nil {
			return err
		}
	}
	if err := t.put(bucketTouched, touchedKey(m.Type, m.ID, m.N), []byte{}); err != nil {
		return err
	}
	return t.put(bucketOutbox, numberKey(m.N), raw)
}

// unqueue takes a mutation out of the outbox. The index of touched records
// goes too, unless the mutation stays laid over as a settled one.
func unqueue(t tx, m *wire.Mutation, settled bool) error {
	if err := t.del(bucketOutbox, numberKey(m.N)); err != nil {
		return err
	}
	if m.Op == wire.OpCreate {
		if v := t.get(bucketCreates, []byte(m.ID)); bytes.Equal(v, numberKey(m.N)) {
			if err := t.del(bucketCreates, []byte(m.ID)); err != nil {
				return err
			}
		}
	}
	if settled {
		return nil
	}
	return untouch(t, m)
}

// untouch removes a mutation from the index of touched records; with the last
// one the record need not be kept hidden any more.
func untouch(t tx, m *wire.Mutation) error {
	if err := t.del(bucketTouched, touchedKey(m.Type, m.ID, m.N)); err != nil {
		return err
	}
	key := recordKey(m.Type, m.ID)
	if t.get(bucketHidden, key) == nil {
		return nil
	}
	more := false
	err := t.scan(bucketTouched, append(recordKey(m.Type, m.ID), 0), func(_, _ []byte) error {
		more = true
		return errStop
	})
	if err != nil || more {
		return err
	}
	return t.del(bucketHidden, key)
}

// dependencies are the unsent creates that a mutation's record or values name.
func dependencies(t tx, m *wire.Mutation) ([]uint64, error) {
	var after []uint64
	var damaged error
	name := func(id string) {
		v := t.get(bucketCreates, []byte(id))
		if v == nil {
			return
		}
		n, err := numberOf(v)
		if err != nil {
			damaged = fmt.Errorf("client: the create of %s: %w", id, err)
		} else if n < m.N && !slices.Contains(after, n) {
			after = append(after, n)
		}
	}
	none := true
	if err := t.scan(bucketCreates, nil, func(_, _ []byte) error { none = false; return errStop }); err != nil || none {
		return nil, err
	}
	name(m.ID)
	for _, values := range []map[string]json.RawMessage{m.Fields, m.Args} {
		for _, raw := range values {
			dec := json.NewDecoder(bytes.NewReader(raw))
			for {
				tok, err := dec.Token()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					return nil, err
				}
				if s, ok := tok.(string); ok {
					name(s)
				}
			}
		}
	}
	slices.Sort(after)
	return after, damaged
}

// Pending returns the unsent mutations, in order, but not those to records
// that were taken away: these are sent without being seen, and erased then.
func (p *Phone) Pending() ([]wire.Mutation, error) {
	if err := p.unlocked(); err != nil {
		return nil, err
	}
	var out []wire.Mutation
	err := p.st.view(func(t tx) error {
		return t.scan(bucketOutbox, nil, func(_, v []byte) error {
			var m wire.Mutation
			if err := json.Unmarshal(v, &m); err != nil {
				return fmt.Errorf("client: a stored mutation is damaged: %w", err)
			}
			if !unseen(t, &m) {
				out = append(out, m)
			}
			return nil
		})
	})
	return out, err
}

// unseen reports whether a mutation is to a record that this device no longer
// has and did not make.
func unseen(t tx, m *wire.Mutation) bool {
	key := recordKey(m.Type, m.ID)
	if t.get(bucketHidden, key) != nil {
		return true
	}
	if m.Op == wire.OpCreate || t.get(bucketRecords, key) != nil {
		return false
	}
	made := false
	edits, err := editsByID(t, m.Type, m.ID)
	for _, e := range edits[m.ID] {
		made = made || e.Op == wire.OpCreate
	}
	return err != nil || !made
}
