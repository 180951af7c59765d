package pull_test

import (
	"testing"

	"satchel/internal/ident"
	"satchel/sync/bits"
	"satchel/sync/pull"
	"satchel/sync/scope"
)

// since asks of one record; 0 for no time.
func (w *world) since(o ident.Ordinal) ident.Millis {
	at, ok := w.dev.Since(bits.Of(o))
	if ok != (at != 0) {
		w.t.Fatalf("%d, %v", at, ok)
	}
	return at
}

// TestSince: the time is that of the page a record first went out on; updates
// keep it, a removal that was acknowledged ends it. Entries of these worlds
// have their position for a time.
func TestSince(t *testing.T) {
	w := newWorld(t)
	a := w.make(child, narrow, "a") // 1
	if w.since(a) != 0 {
		t.Error("held before anything was sent")
	}
	p, _ := w.pull(pull.Request{Fresh: true})
	if w.since(a) != 1 {
		t.Error("what was sent and not acknowledged may be there")
	}
	b := w.make(child, narrow, "b") // 2
	p, _ = w.pull(at(p.N))
	w.write(a, "seen") // 3
	p, _ = w.pull(at(p.N))
	p, _ = w.pull(at(p.N))
	if w.since(a) != 1 || w.since(b) != 2 || len(w.dev.Arrivals) != 2 {
		t.Errorf("a %d, b %d, %d arrivals", w.since(a), w.since(b), len(w.dev.Arrivals))
	}
	// A page that brings updates alone leaves the list as it is.
	before := w.dev.Arrivals
	w.write(b, "seen") // 4
	p, _ = w.pull(at(p.N))
	p, _ = w.pull(at(p.N))
	if &before[0] != &w.dev.Arrivals[0] {
		t.Error("an update made the list anew")
	}
	// A change of class is no arrival.
	w.entry(func() { w.now[a] = class(child, wide) }) // 5
	p, _ = w.pull(at(p.N))
	p, _ = w.pull(at(p.N))
	if w.since(a) != 1 {
		t.Errorf("a moved to another class: %d", w.since(a))
	}
	cl := w.now[a]
	w.entry(func() { delete(w.now, a) }) // 6
	p, _ = w.pull(at(p.N))
	if w.since(a) != 1 {
		t.Error("its removal is not acknowledged")
	}
	w.pull(at(p.N))
	if w.since(a) != 0 || w.since(b) != 2 {
		t.Errorf("a was given up: a %d, b %d", w.since(a), w.since(b))
	}
	w.entry(func() { w.now[a] = cl }) // 7
	w.pull(at(w.dev.Ack))
	// The answer is lost, the next asks from the same checkpoint again.
	w.entry(func() {}) // 8
	p, _ = w.pull(at(w.dev.Ack))
	p, _ = w.pull(at(p.N))
	if !p.Empty() || w.since(a) != 7 {
		t.Errorf("a came again at 7: %d", w.since(a))
	}
}

// TestSinceReset: a reset page gives up what it does not bring again.
func TestSinceReset(t *testing.T) {
	w := newWorld(t)
	a, b := w.make(child, narrow, "a"), w.make(parent, narrow, "b") // 1, 2
	p, _ := w.pull(pull.Request{Fresh: true})
	w.pull(at(p.N))
	w.entry(func() {}) // 3
	p, _ = w.pull(pull.Request{Limit: 1})
	if !p.Reset || w.since(a) != 2 || w.since(b) != 2 {
		t.Fatalf("reset %v: a %d, b %d", p.Reset, w.since(a), w.since(b))
	}
	w.entry(func() {}) // 4
	p, _ = w.pull(at(p.N))
	if w.since(b) != 2 {
		t.Errorf("the parent came with the reset itself: %d", w.since(b))
	}
	if p, _ = w.pull(at(p.N)); w.since(a) != 4 || !p.Empty() {
		t.Errorf("the child came after it: %d", w.since(a))
	}
}

// TestManyArrivals: the list is bounded, told times are never too late, and
// what lies far apart stays apart.
func TestManyArrivals(t *testing.T) {
	w := newWorld(t)
	first := w.make(child, narrow, "first")
	p, _ := w.pull(pull.Request{Fresh: true})
	w.pull(at(p.N))
	w.pos += 1_000_000
	true1 := map[ident.Ordinal]ident.Millis{}
	n := w.dev.Ack
	for range 5 * pull.MaxArrivals {
		o := w.make(child, narrow, "x")
		true1[o] = ident.Millis(w.pos)
		p, _ = w.pull(at(n))
		n = p.N
	}
	w.pos += 1_000_000
	last := w.make(child, narrow, "last")
	p, _ = w.pull(at(n))
	w.pull(at(p.N))
	if len(w.dev.Arrivals) != pull.MaxArrivals {
		t.Errorf("%d arrivals", len(w.dev.Arrivals))
	}
	if w.since(first) != 1 || w.since(last) != ident.Millis(w.pos) {
		t.Errorf("first %d, last %d of %d", w.since(first), w.since(last), w.pos)
	}
	for o, at := range true1 {
		if got := w.since(o); got > at || got < at-16 {
			t.Fatalf("record %d: since %d, truly %d", o, got, at)
		}
	}
}

// TestSinceUnknown: of what a device held before times were kept there is no
// time, and what arrives later has one.
func TestSinceUnknown(t *testing.T) {
	w := newWorld(t)
	a := w.make(child, narrow, "a")
	p, _ := w.pull(pull.Request{Fresh: true})
	w.pull(at(p.N))
	w.dev.Arrivals = nil
	b := w.make(child, narrow, "b")
	p, _ = w.pull(at(w.dev.Ack))
	w.pull(at(p.N))
	if w.since(a) != 0 || w.since(b) != 2 {
		t.Errorf("a %d, b %d", w.since(a), w.since(b))
	}
}

// BenchmarkArrived is what keeping times adds to the acknowledgement of a page,
// for a device that holds 100,000 records in 60 classes: of one update, of 2,000
// arrivals, of 1,000 removals.
func BenchmarkArrived(b *testing.B) {
	w := newWorld(b)
	var held scope.Sets
	var list []pull.Arrival
	for i := range ident.Ordinal(60) {
		c := scope.Class{Type: uint16(i + 10), Mask: narrow}
		held = append(held, scope.Part{Class: c, Set: bits.Range(1+i*1700, 1+(i+1)*1700)})
		list = append(list, pull.Arrival{At: ident.Millis(i + 1), Set: bits.Range(1+i*1700, 1+(i+1)*1700)})
	}
	for name, p := range map[string]pull.Pending{
		"update":   {Sent: scope.Sets{{Class: held[7].Class, Set: bits.Of(1 + 7*1700)}}},
		"arrivals": {Sent: scope.Sets{{Class: held[7].Class, Set: bits.Range(200_000, 202_000)}}},
		"removals": {Removed: bits.Range(5000, 6000)},
	} {
		b.Run(name, func(b *testing.B) {
			rd := &w.w.Reader
			p.N, p.At = 2, 100
			d := pull.Device{Ack: 1, Last: 2, Held: held, Arrivals: list, Pending: &p}
			for b.Loop() {
				pull.Acknowledge(rd, d)
			}
		})
	}
}
