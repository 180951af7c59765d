package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"satchel/internal/ident"
	"satchel/sync/store"
)

// Report is what Check found.
type Report struct {
	Rows   int // that are kept
	Erased int // of those, the ones whose values were taken out
	// Head and Cut are as stored; Begun is false where there is no trail yet.
	Head, Cut Head
	Begun     bool

	last map[ident.Ordinal]Key
}

// Last returns the place of the last change of a record that the trail has.
func (r *Report) Last(o ident.Ordinal) (Key, bool) {
	k, ok := r.last[o]
	return k, ok
}

// checker walks a trail once.
type checker struct {
	Report
	r       store.Reader
	fail    func(format string, args ...any)
	removed int
	gone    int
	at      ident.Millis
	before  Key
	// The hashes that the next row may follow from: the one stored with the
	// row before it, and the one that row should have. They differ where that
	// row was altered, which is then told of it alone.
	stored, due Hash
	hashed      []byte
}

// Check reads the whole trail and tells what is wrong with it through fail,
// naming the row: one that was altered, that is missing, that stands in
// another's place, or that was cut off. What a head kept elsewhere proves
// beyond that, Contains tells.
func Check(r store.Reader, fail func(format string, args ...any)) *Report {
	c := &checker{r: r, fail: fail}
	c.last = map[ident.Ordinal]Key{}
	var began bool
	c.Head, c.Begun = ReadHead(r)
	c.Cut, began = ReadCut(r)
	if c.Begun != began {
		fail("audit: the trail has lost its head or its beginning")
	}
	c.before, c.stored, c.due = c.Cut.Key, c.Cut.Hash, c.Cut.Hash
	var ghosts []ident.Ordinal
	r.Scan(store.Audit, nil, func(k, v []byte) bool {
		key, ok := parseKey(k)
		switch {
		case ok && !began:
			c.Rows++
			fail("audit %s: a row of a trail that has not begun", key)
		case ok:
			c.row(key, k, v)
		case len(k) == 5 && k[0] == gonePrefix && len(v) == keyLength-1:
			c.gone++
			ghosts = append(ghosts, binary.BigEndian.Uint32(k[1:]))
		default:
			fail("audit: key %x is no row's", k)
		}
		return true
	})
	if c.Begun && (c.before != c.Head.Key || c.stored != c.Head.Hash) {
		fail("audit: the trail ends at %s, its head is %s: rows were cut off or the last was altered", c.before, c.Head.Key)
	}
	if n := c.Cut.Count + uint64(c.Rows); c.Begun && n != c.Head.Count {
		fail("audit: there are %d rows with those that were cut, its head says %d", n, c.Head.Count)
	}
	for _, o := range ghosts {
		if row, err := Gone(r, o); err != nil || row == nil || !row.Removed || row.Ord != o {
			fail("audit: the index of removals has ordinal %d, of which there is none", o)
		}
	}
	if c.removed != c.gone {
		fail("audit: %d removals, %d in the index of removals", c.removed, c.gone)
	}
	return &c.Report
}

func (c *checker) row(k Key, key, v []byte) {
	c.Rows++
	if k.Compare(c.Cut.Key) <= 0 && c.Cut.Count > 0 {
		c.fail("audit %s: lies before the cut at %s", k, c.Cut.Key)
	}
	if want := uint32(0); k.Pos == c.before.Pos && (c.Rows > 1 || c.Cut.Count > 0) {
		if want = c.before.N + 1; k.N != want {
			c.fail("audit %s: %s is missing before it", k, Key{k.Pos, want})
		}
	} else if k.N != 0 {
		c.fail("audit %s: %s is missing before it", k, Key{k.Pos, want})
	}
	s, ok := split(v)
	follow := func(from Hash) Hash {
		c.hashed = append(append(append(c.hashed[:0], from[:]...), key...), s.head...)
		return sha256.Sum256(c.hashed)
	}
	due := follow(c.stored)
	if ok && due != s.hash && c.due != c.stored {
		due = follow(c.due)
	}
	switch {
	case !ok:
		c.fail("audit %s: can't be read", k)
	case due != s.hash:
		c.fail("audit %s: does not follow from %s: it was altered, or what stood between or before it was", k, c.before)
	}
	c.before, c.stored, c.due = k, s.hash, due
	row, err := decode(k, v)
	if err != nil {
		if ok {
			c.fail("audit %s: can't be read", k)
		}
		return
	}
	c.content(row)
}

// content checks what a row says beside its place in the chain.
func (c *checker) content(row *Row) {
	if row.At < c.at {
		c.fail("audit %s: is older than the row before it", row.Key)
	}
	c.at = row.At
	switch {
	case row.State == Erased:
		c.Erased++
	case row.State == Kept && sumOf(row.salt, row.content) != row.sum:
		c.fail("audit %s: its values are not those it was written with", row.Key)
	case (row.State == HashOnly) != (row.flags&flagUnkept != 0) && row.State != None:
		c.fail("audit %s: its values are missing", row.Key)
	}
	if row.Ord == 0 {
		return
	}
	// The record's change before it must be the one this row was linked to;
	// it may lie before the cut.
	if before, ok := c.last[row.Ord]; ok && before.Pos != row.Link || !ok && row.Link > c.Cut.Pos {
		c.fail("audit %s: %s changed at %d before, the trail has %s", row.Key, row.ID, row.Link, placeOf(before, ok))
	}
	c.last[row.Ord] = row.Key
	if row.Removed {
		c.removed++
		if k := goneKey(row.Ord); string(c.r.Get(store.Audit, k)) != string(row.Key.append(nil)[1:]) {
			c.fail("audit %s: is not in the index of removals", row.Key)
		}
	}
}

func placeOf(k Key, ok bool) string {
	if !ok {
		return "no change of it"
	}
	return k.String()
}

// Contains reports why a head that was kept elsewhere does not lie on the
// trail, nil where it does. It looks at the place alone: whether what leads
// there is whole, Check tells.
func Contains(r store.Reader, h Head) error {
	if cut, ok := ReadCut(r); ok && cut.Pos == h.Pos && cut.Hash == h.Hash {
		return nil
	} else if ok && h.Pos <= cut.Pos {
		return fmt.Errorf("audit: %s lies before the cut at %d; what was there can't be told", h, cut.Pos)
	}
	var found *Row
	if err := Back(r, Key{h.Pos, Last.N}, func(row *Row) bool {
		found = row
		return false
	}); err != nil {
		return err
	}
	switch {
	case found == nil || found.Pos != h.Pos:
		return fmt.Errorf("audit: the trail has nothing at %d: it was cut off or written anew since the head was taken", h.Pos)
	case found.Hash != h.Hash:
		return fmt.Errorf("audit: at %s the trail has another hash: it was written anew since the head was taken", found.Key)
	}
	return nil
}
