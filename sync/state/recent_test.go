package state

import (
	"testing"

	"pgregory.net/rapid"

	"satchel/internal/entity"
	"satchel/internal/ident"
)

// TestRecent: what is remembered of the newest changes is all that an entry in
// its reach changed, however much is let go of.
func TestRecent(t *testing.T) {
	typ := &entity.Type{No: 7}
	rapid.Check(t, func(t *rapid.T) {
		r := &recent{}
		var all []recentChange
		pos := ident.Position(rapid.IntRange(0, 5).Draw(t, "begins"))
		keep := ident.Position(rapid.IntRange(1, 40).Draw(t, "keep"))
		for range rapid.IntRange(1, 200).Draw(t, "entries") {
			pos++
			switch rapid.IntRange(0, 60).Draw(t, "what") {
			case 0:
				r.forget()
			case 1:
				pos++ // an entry that was not seen
				all = append(all, recentChange{pos - 1, 1 << 20, typ.No})
			}
			n := rapid.IntRange(0, 3).Draw(t, "changes")
			if rapid.IntRange(0, 40).Draw(t, "large") == 0 {
				n = rapid.IntRange(maxRecent/2, maxRecent+10).Draw(t, "many")
			}
			var touched []Touch
			for i := range n {
				touched = append(touched, Touch{Ord: ident.Ordinal(i), Type: typ})
				all = append(all, recentChange{pos, ident.Ordinal(i), typ.No})
			}
			r.note(pos, touched, keep)
			if len(r.list) > maxRecent+n {
				t.Fatalf("%d changes are remembered", len(r.list))
			}
			if r.last != pos || !r.reaches(pos) || r.reaches(pos+1) {
				t.Fatalf("after entry %d it reaches to %d", pos, r.last)
			}
			after := ident.Position(rapid.IntRange(0, int(pos)).Draw(t, "after"))
			if !r.reaches(after) {
				continue
			}
			got := r.after(after)
			want := 0
			for i := len(all) - 1; i >= 0 && all[i].pos > after; i-- {
				want++
			}
			if len(got) != want {
				t.Fatalf("%d changes after %d, want %d", len(got), after, want)
			}
		}
	})
}
