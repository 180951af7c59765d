package outbox_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/sync/outbox"
	"satchel/sync/store"
)

// stage is an empty state to write to.
func stage(t interface{ Fatal(...any) }) *store.Stage {
	snap, err := store.NewMem().Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return store.NewStage(snap)
}

// TestRows: whatever is put, put off and deleted, each intent is due once, in
// the order of its time, and nothing is left behind of those that are gone.
func TestRows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		st := stage(t)
		want := map[string]outbox.Intent{}
		for n := range rapid.IntRange(1, 40).Draw(t, "steps") {
			ids := make([]string, 0, len(want))
			for id := range want {
				ids = append(ids, id)
			}
			slices.Sort(ids)
			at := ident.Millis(rapid.Int64Range(-5, 20).Draw(t, "at"))
			if len(ids) == 0 || rapid.IntRange(0, 2).Draw(t, "what") == 0 {
				in := outbox.Intent{ID: outbox.NewID(ident.Millis(n), [15]byte{byte(n)}), Person: "emp-one-1", Created: ident.Millis(n), NotBefore: at}
				outbox.Put(st, in)
				want[in.ID] = in
				continue
			}
			in := want[rapid.SampledFrom(ids).Draw(t, "id")]
			if rapid.Bool().Draw(t, "delete") {
				outbox.Delete(st, in)
				delete(want, in.ID)
				continue
			}
			in.NotBefore, in.Attempts = at, in.Attempts+1
			outbox.Put(st, in)
			want[in.ID] = in
		}
		now := ident.Millis(rapid.Int64Range(-6, 21).Draw(t, "now"))
		var got []outbox.Intent
		next, ok := outbox.Due(st, now, func(in outbox.Intent) bool { got = append(got, in); return true })
		const never ident.Millis = 1 << 40
		later, due := never, 0
		for _, in := range want {
			if in.NotBefore <= now {
				due++
			} else {
				later = min(later, in.NotBefore)
			}
		}
		if ok != (later != never) || (ok && next != later) || len(got) != due {
			t.Fatalf("%d due, next %d %v; want %d, %d", len(got), next, ok, due, later)
		}
		if !slices.IsSortedFunc(got, func(a, b outbox.Intent) int { return int(a.NotBefore - b.NotBefore) }) {
			t.Fatal("not in the order of their time")
		}
		for _, in := range got {
			if w := want[in.ID]; w.Attempts != in.Attempts || w.NotBefore != in.NotBefore {
				t.Fatalf("%+v, want %+v", in, w)
			}
		}
		rows := 0
		st.Scan(store.Outbox, nil, func(_, _ []byte) bool { rows++; return true })
		if n, _ := outbox.Backlog(st); n != len(want) || rows != 2*n {
			t.Fatalf("%d intents in %d rows, want %d", n, rows, len(want))
		}
	})
}

// TestBacklogOldest: the oldest is the one that was made first, however often
// it was put off.
func TestBacklogOldest(t *testing.T) {
	st := stage(t)
	for _, at := range []ident.Millis{1_700_000_000_000, 1_600_000_000_000, 1_800_000_000_000} {
		outbox.Put(st, outbox.Intent{ID: outbox.NewID(at, [15]byte{9}), Created: at, NotBefore: 2_000_000_000_000 - at})
	}
	if n, oldest := outbox.Backlog(st); n != 3 || oldest != 1_600_000_000_000 {
		t.Errorf("%d, oldest %d", n, oldest)
	}
	if _, ok := outbox.Read(st, strings.Repeat("x", 1000)); ok {
		t.Error("an id of any length is read")
	}
}

// TestRules: rules that could tell nobody anything, or too much, are refused.
func TestRules(t *testing.T) {
	typ := &entity.Type{No: 1, Name: "thing", Apps: []entity.App{entity.CRM}}
	when := func(outbox.Context, outbox.Change) bool { return true }
	who := func(outbox.Context, outbox.Change) []ident.RecordID { return nil }
	good := outbox.Rule{Event: "thing.made", Type: typ, When: when, People: who, Channels: outbox.Push, Category: outbox.Jobs, Text: map[string]string{"en": "x"}}
	core := func() (out []*outbox.Rule) {
		for _, e := range []string{outbox.OfflineRefused, outbox.OfflineConflict, outbox.LastAdmin, outbox.FileRefused} {
			out = append(out, &outbox.Rule{Event: e, Channels: outbox.Mail, Category: outbox.Sync, Text: map[string]string{"en": "x"}})
		}
		return out
	}
	if _, err := outbox.NewRules(append(core(), &good)...); err != nil {
		t.Fatal(err)
	}
	if _, err := outbox.NewRules(&good); err == nil {
		t.Error("the core's own events may be missing")
	}
	for name, change := range map[string]func(*outbox.Rule){
		"no name":            func(r *outbox.Rule) { r.Event = "" },
		"no phrase":          func(r *outbox.Rule) { r.Text = map[string]string{"de": "x"} },
		"no channel":         func(r *outbox.Rule) { r.Channels = 0 },
		"unknown channel":    func(r *outbox.Rule) { r.Channels = 64 },
		"unknown category":   func(r *outbox.Rule) { r.Category = "news" },
		"wakes and is blank": func(r *outbox.Rule) { r.High, r.Channels = true, outbox.Silent },
		"nobody":             func(r *outbox.Rule) { r.People = nil },
		"never":              func(r *outbox.Rule) { r.When = nil },
		"of no type":         func(r *outbox.Rule) { r.Type = nil },
		"former and named":   func(r *outbox.Rule) { r.Former = true },
		"same event, other words": func(r *outbox.Rule) {
			r.Event, r.Text = outbox.LastAdmin, map[string]string{"en": "y"}
		},
	} {
		bad := good
		change(&bad)
		if _, err := outbox.NewRules(append(core(), &bad)...); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if got := good.Phrase("de-AT"); got != "x" {
		t.Errorf("phrase %q", got)
	}
}
