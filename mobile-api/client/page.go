package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"satchel/sync/wire"
)

// page is wire.Page with the records' fields left as the server wrote them.
type page struct {
	From        string       `json:"from"`
	Checkpoint  string       `json:"checkpoint"`
	Removed     []wire.Ref   `json:"removed"`
	Records     []pageRecord `json:"records"`
	Processed   uint64       `json:"processed"`
	More        bool         `json:"more"`
	Reset       bool         `json:"reset"`
	ResetTypes  []string     `json:"resetTypes"`
	Complete    *wire.Types  `json:"complete"`
	Rules       string       `json:"rules"`
	Lease       int64        `json:"lease"`
	MobileEnded bool         `json:"mobileEnded"`
	Ack         string       `json:"ack"`
}

type pageRecord struct {
	Type    string          `json:"type"`
	ID      string          `json:"id"`
	Rev     string          `json:"rev"`
	Context bool            `json:"context"`
	Fields  json.RawMessage `json:"fields"`
	Check   string          `json:"check"` // as in wire.Record
}

// check refuses what can't be stored, before anything of it is.
func (pg *page) check() error {
	bad := func(format string, args ...any) error {
		return &Error{Code: codeBadAnswer, Detail: fmt.Sprintf(format, args...)}
	}
	if pg.Checkpoint == "" {
		return bad("a page without a checkpoint")
	}
	for _, r := range pg.Removed {
		if checkRef(r.Type, r.ID) != nil {
			return bad("a removal names %q/%q", r.Type, r.ID)
		}
	}
	for i := range pg.Records {
		r := &pg.Records[i]
		if checkRef(r.Type, r.ID) != nil {
			return bad("a record is named %q/%q", r.Type, r.ID)
		}
		if isNull(r.Fields) {
			r.Fields = json.RawMessage("{}")
		}
		if r.Fields[0] != '{' {
			return bad("the fields of %s/%s are no object", r.Type, r.ID)
		}
	}
	return nil
}

func (pg *page) empty() bool {
	return len(pg.Records) == 0 && len(pg.Removed) == 0 && !pg.Reset && !pg.More
}

// applied says what became of a page.
type applied struct {
	ok bool // false: it did not start from this device's checkpoint
	// differ are the types whose digest is not the server's, on a page that
	// ends a round.
	differ []string
	// requeued: the server had lost work that it had confirmed; it is in the
	// outbox again.
	requeued bool
	// waiting: the page ended a round, and work that the server has done is laid
	// over the records until the next one ends.
	waiting bool
}

// applyHow says how a page was asked for.
type applyHow struct {
	// reconciled: it answers a pull that carried digests, after the server
	// refused the checkpoint, and may start from nothing.
	reconciled bool
	// settings is the settings' version that the server had when it made the
	// page.
	settings uint64
	// live: it came over the socket, where a completed page may name only
	// some types and comes often.
	live bool
	// touched: a completed page may name only the types that it touched.
	touched bool
	// emptied is how often the store had been emptied when it was asked for.
	emptied int64
}

// Over the socket every change completes a round; digests of types with more
// records than this are then checked at most once a minute.
const (
	alwaysChecked = 2000
	checkEvery    = time.Minute
)

// applyPage applies a page and its token in one transaction, if it starts from
// this device's checkpoint, and the store was not emptied since it was asked
// for: a page that was on its way when the device was wiped, or somebody else
// signed in, must not bring back what went.
func (p *Phone) applyPage(pg *page, how applyHow) (applied, error) {
	if err := pg.check(); err != nil {
		return applied{}, err
	}
	p.applying.Lock()
	defer p.applying.Unlock()
	if p.emptied.Load() != how.emptied {
		return applied{}, nil
	}
	var out applied
	var sums map[string]wire.Summary // computed here, valid if the transaction is
	var granted lease
	wrong := false // it brought changed fields of what is not here
	err := p.st.update(func(t tx) error {
		out = applied{}
		sums = map[string]wire.Summary{}
		own := string(t.get(bucketMeta, keyCheckpoint))
		fromNothing := pg.From == "" && (own == "" || how.reconciled && pg.Reset && len(pg.ResetTypes) == 0)
		if pg.From != own && !fromNothing {
			return errStop
		}
		out.ok = true
		touched, astray, err := p.applyRecords(t, pg, fromNothing)
		if err != nil {
			return err
		}
		if touched == nil {
			clear(p.sums)
		}
		for typ := range touched {
			delete(p.sums, typ)
		}
		if out.requeued, out.waiting, err = applySettled(t, pg, how.reconciled, astray); err != nil {
			return err
		}
		if err := noteSettled(t, pg); err != nil {
			return err
		}
		var was state
		if err := getJSON(t, keyState, &was); err != nil {
			p.log.Warn("what the last page said is not known", "error", err)
		}
		if pg.Complete != nil && !pg.More {
			var all bool
			if out.differ, all, err = p.compare(t, pg.Complete.Types, how, sums); err != nil {
				return err
			}
			if all && len(out.differ) == 0 {
				was.Checked = p.now().UTC()
			}
			if err := changeProblems(t, func(pr *storedProblem) bool {
				if !pr.Doubtful {
					return false
				}
				pr.Doubtful = false
				if t.get(bucketRecords, recordKey(pr.Mutation.Type, pr.Mutation.ID)) == nil {
					pr.hide()
				}
				return true
			}); err != nil {
				return err
			}
		}
		for _, typ := range astray {
			if !slices.Contains(out.differ, typ) {
				out.differ = append(out.differ, typ)
			}
		}
		if wrong = len(astray) > 0; len(out.differ) > 0 {
			was.Checked = time.Time{} // until all agree again all are asked for
		}
		if !pg.More {
			if granted, err = p.renewLease(t, pg.Lease, how.live); err != nil {
				return err
			}
		}
		return errors.Join(
			ackSettings(t, how.settings),
			putJSON(t, keyState, state{
				Complete:    pg.Complete != nil && !pg.More && len(out.differ) == 0,
				MobileEnded: pg.MobileEnded, At: p.now().UTC(), Checked: was.Checked,
			}),
			putNumber(t, keyProcessed, pg.Processed),
			t.put(bucketMeta, keyCheckpoint, []byte(pg.Checkpoint)))
	})
	if errors.Is(err, errStop) {
		return applied{}, nil
	}
	if err != nil {
		clear(p.sums) // whatever happened, compute them anew
		return applied{}, err
	}
	for typ, s := range sums {
		p.sums[typ] = s
	}
	for _, typ := range out.differ {
		delete(p.checked, typ) // also where it does not come to being healed on this connection
	}
	if wrong {
		p.astray.Add(1)
	}
	if !pg.More {
		p.lease.renewed(granted)
	}
	return out, nil
}

// applyRecords makes the page's resets, removals and records. It returns the
// types it touched, nil for all, and those of which it brought changed fields of
// what is not here, or not as the server takes it to be.
func (p *Phone) applyRecords(t tx, pg *page, fromNothing bool) (touched map[string]bool, astray []string, err error) {
	touched = map[string]bool{}
	switch {
	case fromNothing || pg.Reset && len(pg.ResetTypes) == 0:
		if err := dropAll(t); err != nil {
			return nil, nil, err
		}
		touched = nil
	case pg.Reset:
		for _, typ := range pg.ResetTypes {
			touched[typ] = true
			if err := dropType(t, typ); err != nil {
				return nil, nil, err
			}
		}
	}
	touch := func(typ string) {
		if touched != nil {
			touched[typ] = true
		}
	}
	grown := map[string]int64{}
	removed := make(map[wire.Ref]bool, len(pg.Removed))
	for _, r := range pg.Removed {
		removed[r] = true
		touch(r.Type)
		key := recordKey(r.Type, r.ID)
		if t.get(bucketRecords, key) != nil {
			grown[r.Type]--
			if err := t.del(bucketRecords, key); err != nil {
				return nil, nil, err
			}
		}
		if err := hideTouched(t, r.Type, r.ID); err != nil {
			return nil, nil, err
		}
	}
	if len(removed) > 0 {
		err := changeProblems(t, func(pr *storedProblem) bool {
			if !removed[wire.Ref{Type: pr.Mutation.Type, ID: pr.Mutation.ID}] {
				return false
			}
			pr.hide()
			return true
		})
		if err != nil {
			return nil, nil, err
		}
	}
	for i := range pg.Records {
		r := &pg.Records[i]
		touch(r.Type)
		key := recordKey(r.Type, r.ID)
		was := t.get(bucketRecords, key)
		fields := []byte(r.Fields)
		if r.Check != "" {
			if fields = laid(was, r); fields == nil {
				p.log.Error("changed fields of a record are not of the one that is here", "type", r.Type, "id", r.ID)
				astray = append(astray, r.Type)
				continue
			}
		}
		if was == nil {
			grown[r.Type]++
		}
		if err := t.put(bucketRecords, key, encodeRecord(r.Rev, r.Context, fields)); err != nil {
			return nil, nil, err
		}
		if t.get(bucketHidden, key) != nil {
			if err := t.del(bucketHidden, key); err != nil {
				return nil, nil, err
			}
		}
	}
	for _, typ := range sortedKeys(grown) {
		if err := addCount(t, typ, grown[typ]); err != nil {
			return nil, nil, err
		}
	}
	return touched, astray, nil
}

// laid lays the changed fields of a record over the stored one, as in
// [wire.Record]. It returns nil where what comes of it is not what the server has.
func laid(stored []byte, r *pageRecord) []byte {
	_, _, was, err := decodeRecord(stored)
	if err != nil {
		return nil
	}
	var fields, changed map[string]json.RawMessage
	if json.Unmarshal(was, &fields) != nil || json.Unmarshal(r.Fields, &changed) != nil || fields == nil {
		return nil
	}
	wire.Lay(fields, changed)
	if wire.Check(fields) != r.Check {
		return nil
	}
	return joined(fields, len(was)+len(r.Fields))
}

// joined is an object of the members, of about so many bytes. Their values stay
// as the server wrote them.
func joined(fields map[string]json.RawMessage, room int) []byte {
	out := append(make([]byte, 0, room), '{')
	for i, name := range sortedKeys(fields) {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(append(out, '"'), name...), '"', ':'), fields[name]...)
	}
	return append(out, '}')
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// hideTouched keeps a record that was taken away from showing up again through
// edits that still wait.
func hideTouched(t tx, typ, id string) error {
	waiting := false
	err := t.scan(bucketTouched, append(recordKey(typ, id), 0), func(_, _ []byte) error {
		waiting = true
		return errStop
	})
	if err != nil || !waiting {
		return err
	}
	return t.put(bucketHidden, recordKey(typ, id), []byte{})
}

// dropType and dropAll remove records for a reset; edits to them and problems
// with them are hidden until the records are sent again.
func dropType(t tx, typ string) error {
	if err := doubt(t, typ); err != nil {
		return err
	}
	var keys [][]byte
	err := t.scan(bucketRecords, typePrefix(typ), func(k, _ []byte) error {
		keys = append(keys, slices.Clone(k))
		return nil
	})
	for _, k := range keys {
		if err == nil {
			err = t.del(bucketRecords, k)
		}
	}
	if err != nil {
		return err
	}
	return t.del(bucketCounts, []byte(typ))
}

func dropAll(t tx) error {
	return errors.Join(doubt(t, ""), t.clear(bucketRecords), t.clear(bucketCounts))
}

// doubt prepares the drop of a type, of all where typ is "".
func doubt(t tx, typ string) error {
	var hidden [][]byte
	var prefix []byte
	if typ != "" {
		prefix = typePrefix(typ)
	}
	err := t.scan(bucketTouched, prefix, func(k, _ []byte) error {
		of, _, err := splitTouched(k)
		if err != nil {
			return err
		}
		key := slices.Clone(of)
		if t.get(bucketRecords, key) != nil {
			hidden = append(hidden, key)
		}
		return nil
	})
	for _, key := range hidden {
		if err == nil {
			err = t.put(bucketHidden, key, []byte{})
		}
	}
	if err != nil {
		return err
	}
	return changeProblems(t, func(pr *storedProblem) bool {
		if typ != "" && pr.Mutation.Type != typ || t.get(bucketRecords, recordKey(pr.Mutation.Type, pr.Mutation.ID)) == nil {
			return false
		}
		pr.Doubtful = true
		return true
	})
}

// applySettled ends the laying over of mutations whose effect the records now
// show: at once where the page brings or removes the record, for the others
// when a round ends that began with them in effect. Without the second half of
// that rule an old value would show between a page that is cut and the next. Of
// the types that are astray the records do not show it before they are healed.
func applySettled(t tx, pg *page, reconciled bool, astray []string) (requeued, waiting bool, err error) {
	// The server did not know the checkpoint: it was restored, perhaps to a time
	// before what it had confirmed. What it has all the same it answers again.
	anew := reconciled || pg.Reset && len(pg.ResetTypes) == 0
	start, open, err := getNumber(t, keyRound)
	if err != nil {
		return false, false, err
	}
	if open = open && !anew; !open {
		start = pg.Processed
	}
	if pg.More {
		if !open {
			if err := putNumber(t, keyRound, start); err != nil {
				return false, false, err
			}
		}
	} else {
		if err := t.del(bucketMeta, keyRound); err != nil {
			return false, false, err
		}
	}
	if anew {
		if requeued, err = requeue(t, pg.Processed+1); err != nil {
			return false, false, err
		}
	}
	var settled []wire.Mutation
	err = eachEdit(t, func(e edit) error {
		if e.settled && e.N <= pg.Processed {
			settled = append(settled, e.Mutation)
		}
		return nil
	})
	if err != nil || len(settled) == 0 {
		return requeued, false, err
	}
	named := make(map[wire.Ref]bool, len(pg.Removed)+len(pg.Records))
	for _, r := range pg.Removed {
		named[r] = true
	}
	for i := range pg.Records {
		named[wire.Ref{Type: pg.Records[i].Type, ID: pg.Records[i].ID}] = true
	}
	for i := range settled {
		m := &settled[i]
		switch {
		case slices.Contains(astray, m.Type):
			waiting = waiting || !pg.More
		case named[wire.Ref{Type: m.Type, ID: m.ID}] || !pg.More && m.N <= start:
			if err := unsettle(t, m); err != nil {
				return requeued, false, err
			}
		case !pg.More:
			waiting = true
		}
	}
	return requeued, waiting, nil
}

// compare returns the types in which the store is not what the server says,
// sorted, and whether all that is held was compared. Digests that it computes are
// put into sums.
func (p *Phone) compare(t tx, theirs map[string]wire.Summary, how applyHow, sums map[string]wire.Summary) (differ []string, all bool, err error) {
	all = true
	for _, typ := range sortedKeys(theirs) {
		want := theirs[typ]
		n, err := count(t, typ)
		if err != nil {
			return nil, false, err
		}
		if uint64(want.Count) != n {
			differ = append(differ, typ)
			continue
		}
		if n == 0 {
			continue
		}
		have, known := p.sums[typ]
		if !known {
			if how.live && n > alwaysChecked {
				now := p.now()
				if now.Sub(p.checked[typ]) < checkEvery {
					all = false
					continue
				}
				p.checked[typ] = now
			}
			switch have, err = summarize(t, typ); {
			case errors.Is(err, errDamaged):
				differ = append(differ, typ) // it comes anew
				continue
			case err != nil:
				return nil, false, err
			}
			sums[typ] = have
		}
		if have != want {
			differ = append(differ, typ)
		}
	}
	held, err := heldTypes(t)
	for _, typ := range held {
		if _, ok := theirs[typ]; ok {
			continue
		}
		if all = false; !how.live && !how.touched { // every type held is named
			differ = append(differ, typ)
		}
	}
	slices.Sort(differ)
	return differ, all, err
}
