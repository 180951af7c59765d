package client

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"satchel/sync/wire"
)

// Record is a record as this device shows it: what the server sent last with
// the unsent edits laid over.
type Record struct {
	Type string
	ID   string
	// Rev is the server's revision, "" for a record that only exists here.
	Rev string
	// Context marks a record delivered only to be shown beneath its pinned
	// parent; it does not belong in lists of its type (see Root).
	Context bool
	// Pending: edits to it are not yet in effect on the server, or not yet
	// confirmed by a page.
	Pending bool
	// Fields are the values as JSON. The map is the caller's own.
	Fields map[string]json.RawMessage
}

// Root reports whether a record belongs in a list of its type. It can be
// passed to List.
func Root(r Record) bool { return !r.Context }

// Decode unmarshals a field into v. A field that is absent or null leaves v as
// it is.
func (r Record) Decode(field string, v any) error {
	raw, ok := r.Fields[field]
	if !ok || isNull(raw) {
		return nil
	}
	return json.Unmarshal(raw, v)
}

// Text returns a string field, "" where it is absent or no string.
func (r Record) Text(field string) string {
	var s string
	if r.Decode(field, &s) != nil {
		return ""
	}
	return s
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// recordKey joins type and id; neither contains a zero byte (checkRef).
func recordKey(typ, id string) []byte {
	k := make([]byte, 0, len(typ)+1+len(id)+9)
	k = append(k, typ...)
	k = append(k, 0)
	return append(k, id...)
}

func typePrefix(typ string) []byte { return append([]byte(typ), 0) }

func splitKey(k []byte) (typ, id string) {
	t, i, _ := bytes.Cut(k, []byte{0})
	return string(t), string(i)
}

func numberKey(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func touchedKey(typ, id string, n uint64) []byte {
	return binary.BigEndian.AppendUint64(append(recordKey(typ, id), 0), n)
}

// splitTouched takes a key of touchedKey apart: the record's key and the number.
func splitTouched(k []byte) (record []byte, n uint64, err error) {
	at := len(k) - 9 // a zero byte and the number
	if at < 0 || k[at] != 0 {
		return nil, 0, fmt.Errorf("client: the edits of a record: %w", errNumber)
	}
	n, err = numberOf(k[at+1:])
	return k[:at], n, err
}

func checkRef(typ, id string) error {
	if typ == "" || id == "" || strings.IndexByte(typ, 0) >= 0 || strings.IndexByte(id, 0) >= 0 {
		return fmt.Errorf("client: %q/%q can't name a record", typ, id)
	}
	return nil
}

// A stored record: one flag byte, the length of rev, rev, the fields as the
// server wrote them. Digests need only rev, so fields stay unparsed.
const flagContext = 1

var errDamaged = errors.New("client: a stored record is damaged")

func encodeRecord(rev string, context bool, fields []byte) []byte {
	v := make([]byte, 0, 1+binary.MaxVarintLen16+len(rev)+len(fields))
	var flags byte
	if context {
		flags |= flagContext
	}
	v = append(v, flags)
	v = binary.AppendUvarint(v, uint64(len(rev)))
	v = append(v, rev...)
	return append(v, fields...)
}

func decodeRecord(v []byte) (rev []byte, context bool, fields []byte, err error) {
	if len(v) < 2 {
		return nil, false, nil, errDamaged
	}
	n, w := binary.Uvarint(v[1:])
	if w <= 0 || n > uint64(len(v)-1-w) {
		return nil, false, nil, errDamaged
	}
	at := 1 + w + int(n)
	return v[1+w : at], v[0]&flagContext != 0, v[at:], nil
}

// summarize is the device's side of a type: count, and digest over the lines
// "id 0 rev newline" in order of ids, which is the order of the keys.
func summarize(t tx, typ string) (wire.Summary, error) {
	h := sha256.New()
	n := 0
	var line []byte
	prefix := typePrefix(typ)
	err := t.scan(bucketRecords, prefix, func(k, v []byte) error {
		rev, _, _, err := decodeRecord(v)
		if err != nil {
			return err
		}
		line = append(line[:0], k[len(prefix):]...)
		line = append(line, 0)
		line = append(line, rev...)
		line = append(line, '\n')
		h.Write(line)
		n++
		return nil
	})
	return wire.Summary{Count: n, Digest: hex.EncodeToString(h.Sum(nil))}, err
}

// heldTypes returns the types with at least one record, sorted.
func heldTypes(t tx) ([]string, error) {
	var types []string
	err := t.scan(bucketCounts, nil, func(k, v []byte) error {
		n, err := readCount(string(k), v)
		if n > 0 {
			types = append(types, string(k))
		}
		return err
	})
	return types, err
}

// summaries has those of all types that are held. One of which a record can't be
// read has a count and no digest, which is no type's.
func summaries(t tx) (wire.Types, error) {
	types, err := heldTypes(t)
	out := wire.Types{Types: make(map[string]wire.Summary, len(types))}
	if err != nil {
		return out, err
	}
	for _, typ := range types {
		sum, err := summarize(t, typ)
		if errors.Is(err, errDamaged) {
			var n uint64
			n, err = count(t, typ)
			sum = wire.Summary{Count: int(n)}
		}
		if err != nil {
			return out, err
		}
		out.Types[typ] = sum
	}
	return out, nil
}

func readCount(typ string, v []byte) (uint64, error) {
	n, err := numberOf(v)
	if err != nil {
		return 0, fmt.Errorf("client: the count of %s: %w", typ, err)
	}
	return n, nil
}

func count(t tx, typ string) (uint64, error) {
	v := t.get(bucketCounts, []byte(typ))
	if v == nil {
		return 0, nil
	}
	return readCount(typ, v)
}

func addCount(t tx, typ string, by int64) error {
	had, err := count(t, typ)
	if err != nil {
		return err
	}
	n := int64(had) + by
	if n <= 0 {
		return t.del(bucketCounts, []byte(typ))
	}
	return t.put(bucketCounts, []byte(typ), numberKey(uint64(n)))
}

// edit is a mutation that is still laid over the server's records.
type edit struct {
	wire.Mutation
	settled bool // in effect on the server, kept until a page shows it
}

func readEdit(t tx, n uint64) (e edit, ok bool, err error) {
	key := numberKey(n)
	v := t.get(bucketOutbox, key)
	if v == nil {
		if v = t.get(bucketSettled, key); v == nil {
			return edit{}, false, nil
		}
		e.settled = true
	}
	if err := json.Unmarshal(v, &e.Mutation); err != nil {
		return edit{}, false, fmt.Errorf("client: stored mutation %d is damaged: %w", n, err)
	}
	return e, true, nil
}

// editsByID returns the edits of a type's records, or of one record where id
// is not "", by id and in their order.
func editsByID(t tx, typ, id string) (map[string][]edit, error) {
	prefix := typePrefix(typ)
	if id != "" {
		prefix = append(recordKey(typ, id), 0)
	}
	var out map[string][]edit
	err := t.scan(bucketTouched, prefix, func(k, _ []byte) error {
		of, n, err := splitTouched(k)
		if err != nil {
			return err
		}
		e, ok, err := readEdit(t, n)
		if err != nil || !ok {
			return err
		}
		if out == nil {
			out = map[string][]edit{}
		}
		_, eid := splitKey(of)
		out[eid] = append(out[eid], e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return layOver(t, typ, id, out)
}

// overlay computes what a record looks like here. base is the stored value or
// nil. It reports false for a record that is not to be seen: never held and
// not made here, taken away, or deleted here.
func overlay(typ, id string, base []byte, hidden bool, edits []edit) (Record, bool, error) {
	r := Record{Type: typ, ID: id, Pending: len(edits) > 0}
	if hidden {
		return r, false, nil
	}
	present := base != nil
	if present {
		rev, context, fields, err := decodeRecord(base)
		if err != nil {
			return r, false, err
		}
		r.Rev, r.Context = string(rev), context
		if err := json.Unmarshal(fields, &r.Fields); err != nil {
			return r, false, fmt.Errorf("client: %s/%s: %w", typ, id, err)
		}
	}
	if r.Fields == nil {
		r.Fields = map[string]json.RawMessage{}
	}
	for _, e := range edits {
		switch e.Op {
		case wire.OpCreate:
			if base == nil { // what the server holds is newer than the create
				present = true
				for f, v := range e.Fields {
					r.Fields[f] = v
				}
			}
		case wire.OpPatch:
			for f, v := range e.Fields {
				r.Fields[f] = laidOver(r.Fields[f], v)
			}
		case wire.OpDelete:
			present = false
		}
	}
	return r, present, nil
}

// SetChange is the value of a Patch that adds members to and removes members
// from a set field (tags, watchers) without replacing the rest, so that two
// people who change the same set at once do not collide.
type SetChange struct {
	Add    []any `json:"add,omitempty"`
	Remove []any `json:"remove,omitempty"`
}

// laidOver is the field's value after a patch with v.
func laidOver(old, v json.RawMessage) json.RawMessage {
	if len(v) == 0 || v[0] != '{' || !isNull(old) && old[0] != '[' {
		return v
	}
	var change struct {
		Add    []json.RawMessage `json:"add"`
		Remove []json.RawMessage `json:"remove"`
	}
	dec := json.NewDecoder(bytes.NewReader(v))
	dec.DisallowUnknownFields()
	if dec.Decode(&change) != nil || change.Add == nil && change.Remove == nil {
		return v // an ordinary object
	}
	var set []json.RawMessage
	if !isNull(old) && json.Unmarshal(old, &set) != nil {
		return v
	}
	has := func(list []json.RawMessage, x json.RawMessage) bool {
		return slices.ContainsFunc(list, func(y json.RawMessage) bool { return bytes.Equal(x, y) })
	}
	set = slices.DeleteFunc(set, func(x json.RawMessage) bool { return has(change.Remove, x) })
	for _, x := range change.Add {
		if !has(set, x) {
			set = append(set, x)
		}
	}
	if set == nil {
		return json.RawMessage("[]")
	}
	out, err := json.Marshal(set)
	if err != nil {
		return v
	}
	return out
}

func viewRecord(t tx, typ, id string) (Record, bool, error) {
	edits, err := editsByID(t, typ, id)
	if err != nil {
		return Record{}, false, err
	}
	key := recordKey(typ, id)
	return overlay(typ, id, t.get(bucketRecords, key), t.get(bucketHidden, key) != nil, edits[id])
}

// Get returns one record, or ErrNotFound where the device has none to show. It
// and all that shows records are ErrLocked while the device is locked.
func (p *Phone) Get(typ, id string) (Record, error) {
	if err := checkRef(typ, id); err != nil {
		return Record{}, err
	}
	if err := p.unlocked(); err != nil {
		return Record{}, err
	}
	var r Record
	err := p.st.view(func(t tx) error {
		var ok bool
		var err error
		if r, ok, err = viewRecord(t, typ, id); err == nil && !ok {
			err = fmt.Errorf("%w: %s/%s", ErrNotFound, typ, id)
		}
		return err
	})
	if err != nil {
		return Record{}, err
	}
	return r, nil
}

// List returns the records of a type that filter accepts, all where filter is
// nil, sorted by id. filter runs outside of any transaction and may use the
// phone.
func (p *Phone) List(typ string, filter func(Record) bool) ([]Record, error) {
	if err := p.unlocked(); err != nil {
		return nil, err
	}
	var out []Record
	err := p.st.view(func(t tx) error {
		edits, err := editsByID(t, typ, "")
		if err != nil {
			return err
		}
		add := func(id string, base []byte, es []edit) error {
			hidden := len(es) > 0 && t.get(bucketHidden, recordKey(typ, id)) != nil
			r, ok, err := overlay(typ, id, base, hidden, es)
			if ok {
				out = append(out, r)
			}
			return err
		}
		prefix := typePrefix(typ)
		err = t.scan(bucketRecords, prefix, func(k, v []byte) error {
			id := string(k[len(prefix):])
			es := edits[id]
			delete(edits, id)
			return add(id, v, es)
		})
		for id, es := range edits { // what only exists here
			if err == nil {
				err = add(id, nil, es)
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	sort.Slice(out, func(i, j int) bool { return out[i].ID < out[j].ID })
	if filter != nil {
		out = slices.DeleteFunc(out, func(r Record) bool { return !filter(r) })
	}
	return out, nil
}

// Types returns the names of the types of which the device holds records or
// has made some, sorted.
func (p *Phone) Types() ([]string, error) {
	if err := p.unlocked(); err != nil {
		return nil, err
	}
	var types []string
	err := p.st.view(func(t tx) error {
		var err error
		if types, err = heldTypes(t); err != nil {
			return err
		}
		return eachEdit(t, func(e edit) error {
			if e.Op == wire.OpCreate {
				types = append(types, e.Type)
			}
			return nil
		})
	})
	slices.Sort(types)
	return slices.Compact(types), err
}

// eachEdit visits settled and unsent mutations, each in order of n.
func eachEdit(t tx, f func(edit) error) error {
	for _, b := range []bucket{bucketSettled, bucketOutbox} {
		err := t.scan(b, nil, func(_, v []byte) error {
			e := edit{settled: b == bucketSettled}
			if err := json.Unmarshal(v, &e.Mutation); err != nil {
				return fmt.Errorf("client: a stored mutation is damaged: %w", err)
			}
			return f(e)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
