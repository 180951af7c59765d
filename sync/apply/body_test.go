package apply_test

import (
	"testing"

	"satchel/sync/apply"
	"satchel/sync/pull"
)

// TestBodyAbandoned: where whoever was to make a body does not, those who wait are
// told, and the next who asks makes it.
func TestBodyAbandoned(t *testing.T) {
	var bodies apply.Bodies
	p := &apply.Page{Page: &pull.Page{Content: new(pull.Content)}}
	first, mine := bodies.Of(p, false)
	if !mine {
		t.Fatal("nobody makes the first")
	}
	if other, mine := bodies.Of(p, false); other != first || mine {
		t.Fatal("it is made twice")
	}
	first.Abandon()
	if err := first.Wait(); err == nil {
		t.Error("what was abandoned counts as made")
	}
	if other, mine := bodies.Of(p, false); other == first || !mine {
		t.Error("what was abandoned is handed on")
	}
}
