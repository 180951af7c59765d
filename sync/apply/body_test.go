package apply_test

import (
	"bytes"
	"testing"

	"satchel/internal/command"
	"satchel/sync/apply"
	"satchel/sync/pull"
	"satchel/sync/state"
)

// TestBodyAbandoned: where whoever was to make a body does not, those who wait are
// told, and the next who asks makes it.
func TestBodyAbandoned(t *testing.T) {
	var bodies apply.Bodies
	p := &apply.Page{Page: &pull.Page{Content: new(pull.Content)}}
	first, mine := bodies.Of(p, apply.ToldSmall)
	if !mine {
		t.Fatal("nobody makes the first")
	}
	if other, mine := bodies.Of(p, apply.ToldSmall); other != first || mine {
		t.Fatal("it is made twice")
	}
	first.Abandon()
	if err := first.Wait(); err == nil {
		t.Error("what was abandoned counts as made")
	}
	if other, mine := bodies.Of(p, apply.ToldSmall); other == first || !mine {
		t.Error("what was abandoned is handed on")
	}
}

// TestAppendWith: a page encoded in room that is there already is the same, and
// takes that room where it is enough.
func TestAppendWith(t *testing.T) {
	w := field(t)
	p := w.signIn("emp-eng-1", "i1")
	p.sync()
	w.load(row("jobActivity", "act-one-1", "title", "Later"))
	page := w.do(p.pulling(command.Pull{})).Page
	b := apply.NewBody()
	w.reader(func(rd *state.Reader) { b.Make(page, rd, nil, apply.ToldNone) })
	if err := b.Wait(); err != nil {
		t.Fatal(err)
	}
	want := page.EncodeWith(w.cat, b)
	for _, n := range []int{0, 1, len(want), 10_000} {
		room := bytes.Repeat([]byte{'#'}, n)
		got := page.AppendWith(room[:0], w.cat, b)
		if !bytes.Equal(got, want) {
			t.Errorf("in %d bytes: %s", n, got)
		}
		if n == 10_000 && &got[0] != &room[0] {
			t.Error("the room was not taken")
		}
	}
}
