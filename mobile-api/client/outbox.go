package client

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sort"
	"strings"

	"satchel/sync/wire"
)

// Problem is a piece of offline work that the server did not take as it was:
// a refusal, or a conflict of which the server's value stands. It is kept until
// Dismiss.
type Problem struct {
	// ID is the problem's own number on this device, for Dismiss.
	ID uint64 `json:"id"`
	// Hidden: the record has been taken away from this device. The mutation's
	// values and id and the conflicting values are erased; the server keeps the
	// author's work for those who may see it.
	Hidden   bool          `json:"hidden,omitempty"`
	Mutation wire.Mutation `json:"mutation"`
	Result   wire.Result   `json:"result"`
}

// Problems returns what is not dismissed, oldest first.
func (p *Phone) Problems() ([]Problem, error) {
	if err := p.unlocked(); err != nil {
		return nil, err
	}
	var out []Problem
	err := p.st.view(func(t tx) error {
		return t.scan(bucketProblems, nil, func(_, v []byte) error {
			var pr Problem
			if err := json.Unmarshal(v, &pr); err != nil {
				return fmt.Errorf("client: a stored problem is damaged: %w", err)
			}
			out = append(out, pr)
			return nil
		})
	})
	return out, err
}

// Dismiss forgets the problem with this ID; one that is gone is no error.
func (p *Phone) Dismiss(id uint64) error {
	return p.st.update(func(t tx) error { return t.del(bucketProblems, numberKey(id)) })
}

func addProblem(t tx, pr Problem) error {
	seq, _, err := getNumber(t, keyProblemSeq)
	if err != nil {
		return err
	}
	pr.ID = seq + 1
	if err := putNumber(t, keyProblemSeq, pr.ID); err != nil {
		return err
	}
	return putProblem(t, storedProblem{Problem: pr})
}

func putProblem(t tx, pr storedProblem) error {
	raw, err := json.Marshal(pr)
	if err != nil {
		return err
	}
	return t.put(bucketProblems, numberKey(pr.ID), raw)
}

// hide leaves of a problem what may still be told.
func (pr *Problem) hide() {
	m, r := pr.Mutation, pr.Result
	pr.Hidden = true
	pr.Mutation = wire.Mutation{N: m.N, Op: m.Op, Type: m.Type, Action: m.Action, At: m.At}
	pr.Result = wire.Result{N: r.N, Status: r.Status, Code: r.Code, Message: r.Message}
}

// storedProblem adds what only the store needs to know.
type storedProblem struct {
	Problem
	// Doubtful: a reset dropped the record; if the round ends without it, the
	// problem is to be hidden.
	Doubtful bool `json:"doubtful,omitempty"`
}

// changeProblems stores the problems that change reports to have changed.
func changeProblems(t tx, change func(*storedProblem) bool) error {
	var hit []storedProblem
	err := t.scan(bucketProblems, nil, func(_, v []byte) error {
		var pr storedProblem
		if err := json.Unmarshal(v, &pr); err != nil {
			return fmt.Errorf("client: a stored problem is damaged: %w", err)
		}
		if !pr.Hidden && change(&pr) {
			hit = append(hit, pr)
		}
		return nil
	})
	for i := range hit {
		if err == nil {
			err = putProblem(t, hit[i])
		}
	}
	return err
}

// errNumber is what a number that is none comes to.
var errNumber = errors.New("a stored number is damaged")

// numberOf reads what numberKey writes.
func numberOf(b []byte) (uint64, error) {
	if len(b) != 8 {
		return 0, errNumber
	}
	return binary.BigEndian.Uint64(b), nil
}

// pushBody is wire.Push with the mutations as they stand in the outbox, so
// that a repetition has the same content to the byte.
type pushBody struct {
	Acked     uint64            `json:"acked"`
	Now       string            `json:"now"`
	Schema    int               `json:"schema,omitempty"`
	Mutations []json.RawMessage `json:"mutations"`
}

// result is wire.Result with the number that a number_gap names.
type result struct {
	wire.Result
	Expected uint64 `json:"expected"`
}

type results struct {
	Results   []result `json:"results"`
	Processed uint64   `json:"processed"`
}

// nextPush takes the next chunk from the front of the outbox; ok is false
// where there is nothing to send. first is the chunk's first number.
func (p *Phone) nextPush(limit int) (body pushBody, first uint64, ok bool, err error) {
	err = p.st.view(func(t tx) error {
		next, err := nextNumber(t)
		if err != nil {
			return err
		}
		body = pushBody{Acked: next - 1, Now: p.now().UTC().Format(timeFormat), Schema: p.opts.Schema}
		size := 256 // what surrounds the mutations
		return t.scan(bucketOutbox, nil, func(k, v []byte) error {
			size += len(v) + 1
			if len(body.Mutations) > 0 && (size > maxPushBytes || len(body.Mutations) >= limit) {
				return errStop
			}
			n, err := numberOf(k)
			if err != nil {
				return fmt.Errorf("client: the outbox: %w", err)
			}
			if first == 0 {
				first = n
				body.Acked = n - 1 // results are stored in order up to the first without one
			}
			body.Mutations = append(body.Mutations, append(json.RawMessage(nil), v...))
			return nil
		})
	})
	return body, first, len(body.Mutations) > 0, err
}

// outcome is what storing a push's results came to.
type outcome struct {
	stored []wire.Result
	// gap: the server lacks mutations before what was sent; moved: numbers
	// were changed to what it expects, so sending again makes sense.
	gap, moved bool
	// reused: the server knows this device's numbers with another content, so
	// the store is an unnoticed copy; a new incarnation has begun.
	reused bool
}

// storeResults moves answered mutations out of the outbox, in one transaction.
// Repeated and unknown results are ignored.
func (p *Phone) storeResults(rs results) (outcome, error) {
	var out outcome
	err := p.st.update(func(t tx) error {
		out = outcome{}
		for _, r := range rs.Results {
			v := t.get(bucketOutbox, numberKey(r.N))
			if v == nil {
				continue
			}
			var m wire.Mutation
			if err := json.Unmarshal(v, &m); err != nil {
				return fmt.Errorf("client: stored mutation %d is damaged: %w", r.N, err)
			}
			if r.Status == wire.Refused && r.Code == codeNumberReused {
				out.reused = true
				return p.newIncarnation(t)
			}
			if r.Status == wire.Refused && r.Code == codeNumberGap {
				expected := r.Expected
				if expected == 0 {
					expected = rs.Processed + 1
				}
				out.gap = true
				var err error
				out.moved, err = renumberFrom(t, expected)
				return err
			}
			if err := settle(t, &m, r.Result); err != nil {
				return err
			}
			out.stored = append(out.stored, r.Result)
		}
		return nil
	})
	return out, err
}

// settle stores one final result.
func settle(t tx, m *wire.Mutation, r wire.Result) error {
	gone := unseen(t, m)
	if r.Status != wire.Applied {
		pr := Problem{Mutation: *m, Result: r}
		if gone {
			pr.hide()
		}
		if err := addProblem(t, pr); err != nil {
			return err
		}
	}
	// What is in effect stays laid over until a page shows it; of a conflict
	// only the fields that were taken.
	keep := *m
	keeps := r.Status == wire.Applied && !gone
	if r.Status == wire.Conflict && m.Op == wire.OpPatch && !gone {
		keep.Fields = map[string]json.RawMessage{}
		for f, v := range m.Fields {
			if !slices.ContainsFunc(r.Conflicts, func(c wire.FieldConflict) bool { return c.Field == f }) {
				keep.Fields[f] = v
			}
		}
		keeps = len(r.Conflicts) > 0 && len(keep.Fields) > 0
	}
	if err := unqueue(t, m, keeps); err != nil || !keeps {
		return err
	}
	raw, err := json.Marshal(keep)
	if err != nil {
		return err
	}
	return t.put(bucketSettled, numberKey(m.N), raw)
}

// unsettle ends the laying over of a settled mutation.
func unsettle(t tx, m *wire.Mutation) error {
	if err := t.del(bucketSettled, numberKey(m.N)); err != nil {
		return err
	}
	return untouch(t, m)
}

// requeue puts settled mutations from number n on back into the outbox: the
// server, restored from a backup, does not know them any more.
func requeue(t tx, n uint64) (moved bool, err error) {
	var back []wire.Mutation
	err = eachEdit(t, func(e edit) error {
		if e.settled && e.N >= n {
			back = append(back, e.Mutation)
		}
		return nil
	})
	for i := range back {
		if err == nil {
			err = t.del(bucketSettled, numberKey(back[i].N))
		}
		if err == nil {
			err = queue(t, &back[i])
		}
	}
	return len(back) > 0, err
}

// renumberFrom gives the unsent mutations from expected on the dense numbers
// that the server waits for. Those numbers are free: the server has seen none
// of them.
func renumberFrom(t tx, expected uint64) (moved bool, err error) {
	if expected == 0 {
		return false, nil
	}
	if moved, err = requeue(t, expected); err != nil {
		return false, err
	}
	var ms []wire.Mutation
	low := expected
	err = eachEdit(t, func(e edit) error {
		if e.settled {
			return nil
		}
		if e.N < expected {
			return nil
		}
		ms = append(ms, e.Mutation)
		return nil
	})
	if err != nil {
		return false, err
	}
	for i := range ms {
		moved = moved || ms[i].N != low+uint64(i)
	}
	if !moved {
		return false, nil
	}
	return true, replaceOutbox(t, ms, low, nil)
}

// replaceOutbox takes the given mutations out of the outbox, and puts them
// back numbered from first on, with references among them kept and ids
// exchanged by rename (old to new, may be nil).
func replaceOutbox(t tx, ms []wire.Mutation, first uint64, rename map[string]string) error {
	numbers := make(map[uint64]uint64, len(ms))
	for i := range ms {
		numbers[ms[i].N] = first + uint64(i)
		if err := unqueue(t, &ms[i], true); err != nil {
			return err
		}
		if err := t.del(bucketTouched, touchedKey(ms[i].Type, ms[i].ID, ms[i].N)); err != nil {
			return err
		}
	}
	for i := range ms {
		m := &ms[i]
		m.N = numbers[m.N]
		var after []uint64
		for _, n := range m.After {
			if to, ok := numbers[n]; ok {
				after = append(after, to)
			} else if n < first && t.get(bucketOutbox, numberKey(n)) != nil {
				after = append(after, n)
			}
		}
		slices.Sort(after)
		m.After = after
		if rename != nil {
			if to, ok := rename[m.ID]; ok {
				m.ID = to
			}
			for _, values := range []map[string]json.RawMessage{m.Fields, m.Was, m.Args} {
				for f, raw := range values {
					out, err := renameIDs(raw, rename)
					if err != nil {
						return err
					}
					values[f] = out
				}
			}
		}
		if err := queue(t, m); err != nil {
			return err
		}
	}
	return putNumber(t, keyNext, first+uint64(len(ms)))
}

// renameIDs exchanges strings that are exactly an old id, wherever they stand
// in a JSON value.
func renameIDs(raw json.RawMessage, rename map[string]string) (json.RawMessage, error) {
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	hit := false
	var walk func(any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case string:
			if to, ok := rename[v]; ok {
				hit = true
				return to
			}
		case []any:
			for i := range v {
				v[i] = walk(v[i])
			}
		case map[string]any:
			for k := range v {
				v[k] = walk(v[k])
			}
		}
		return v
	}
	v = walk(v)
	if !hit {
		return raw, nil
	}
	return json.Marshal(v)
}

// adoptDevice makes the store the given device's. For another device than
// before everything that was agreed with the server starts anew: checkpoint,
// numbering, and the ids of what was made here and not sent.
func (p *Phone) adoptDevice(t tx, d device) error {
	old, err := readDevice(t)
	if err != nil || old == d {
		return err
	}
	if old.ID == d.ID { // the same device under a corrected prefix or owner
		return putJSON(t, keyDevice, d)
	}
	for _, k := range [][]byte{keyCheckpoint, keyRound, keyProcessed} {
		if err := t.del(bucketMeta, k); err != nil {
			return err
		}
	}
	if old.Owner != d.Owner {
		if err := dropRules(t); err != nil {
			return err
		}
	}
	var unsent, settled []wire.Mutation
	err = eachEdit(t, func(e edit) error {
		if e.settled {
			settled = append(settled, e.Mutation)
		} else {
			unsent = append(unsent, e.Mutation)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range settled {
		if old.ID == "" {
			// A new incarnation: its first round shows their effect.
			if err := unsettle(t, &settled[i]); err != nil {
				return err
			}
			continue
		}
		// The same incarnation under another id: the server was restored to a
		// time before it knew the device, and has lost them.
		if err := t.del(bucketSettled, numberKey(settled[i].N)); err != nil {
			return err
		}
		unsent = append(unsent, settled[i])
	}
	rename := map[string]string{}
	for _, m := range unsent {
		if m.Op != wire.OpCreate || strings.HasPrefix(m.ID, d.Prefix) {
			continue
		}
		to := d.Prefix + strings.TrimPrefix(m.ID, old.Prefix)
		rename[m.ID] = to
		if t.get(bucketHidden, recordKey(m.Type, m.ID)) != nil {
			err = errors.Join(err, t.del(bucketHidden, recordKey(m.Type, m.ID)), t.put(bucketHidden, recordKey(m.Type, to), []byte{}))
		}
	}
	if err != nil {
		return err
	}
	sort.Slice(unsent, func(i, j int) bool { return unsent[i].N < unsent[j].N })
	if err := replaceOutbox(t, unsent, 1, rename); err != nil {
		return err
	}
	if err := resendSettings(t, rename); err != nil {
		return err
	}
	return putJSON(t, keyDevice, d)
}

// wholeRefusals are refusals of a push as such that one of its mutations can
// cause.
var wholeRefusals = []string{"malformed_json", "unknown_field", "bad_value", "bad_parameter", "too_deep", "too_large"}

func refusesContent(err error) (*Error, bool) {
	var e *Error
	if !errors.As(err, &e) {
		return nil, false
	}
	switch e.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return e, slices.Contains(wholeRefusals, e.Code)
	}
	return nil, false
}

// refuseFirst treats a push of the single mutation n, refused as a whole, as a
// refusal of that mutation, so that one piece of work that a server can't even
// read does not hold up the rest. The server has not counted n, so those after
// it move up.
func (p *Phone) refuseFirst(n uint64, e *Error) (wire.Result, error) {
	r := wire.Result{N: n, Status: wire.Refused, Code: e.Code, Message: e.Detail}
	err := p.st.update(func(t tx) error {
		v := t.get(bucketOutbox, numberKey(n))
		if v == nil {
			return nil
		}
		var m wire.Mutation
		if err := json.Unmarshal(v, &m); err != nil {
			return err
		}
		if err := settle(t, &m, r); err != nil {
			return err
		}
		if _, err := renumberFrom(t, n); err != nil {
			return err
		}
		if t.get(bucketOutbox, numberKey(n)) == nil { // it was the last one
			return putNumber(t, keyNext, n)
		}
		return nil
	})
	return r, err
}
