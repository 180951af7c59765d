package apply_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/sync/apply"
)

// TestTaggingMany: a bulk action on tags judges each of the records it names by
// itself. One that is hidden, absent, out of reach or bears no tags is one
// answer, which keeps nothing from being done to the others.
func TestTaggingMany(t *testing.T) {
	w := tagging(t)
	w.load(
		row("tag", "tag-key-2", "name", "Late", "visibility", "public"),
		row("tag", "tag-mine-1", "name", "Mine", "visibility", "private", "owner", "emp-rep-1"),
	)
	many := func(action, key string, tags []ident.RecordID, records ...string) *command.Command {
		raw, err := json.Marshal(records)
		if err != nil {
			t.Fatal(err)
		}
		return &command.Command{Actor: "emp-ops-1", Bulk: &command.Bulk{
			App: "sales", Type: "tag", Action: action, IDs: tags, Key: key, KeyHash: []byte(action), Args: command.Object{"records": raw},
		}}
	}
	both := []ident.RecordID{"tag-key-1", "tag-mine-1", "tag-key-2"}
	want := map[ident.RecordID]fault.Code{
		"client-one": "", "client-two": fault.NotFoundCode, "never-was-1": fault.NotFoundCode, "task-loose-1": fault.NotFoundCode,
		"job-one-1": fault.NotFoundCode, "task-one-1": "",
	}
	list := []string{"never-was-1", "task-one-1", "client-two", "client-one", "task-loose-1", "job-one-1", "client-one"}
	judge := func(action string, res apply.Result) {
		t.Helper()
		if len(res.Bulk) != 3 || !fault.Is(res.Bulk[1].Err, fault.NotFoundCode) || res.Bulk[1].Each != nil {
			t.Fatalf("%s: %v", action, res.Bulk)
		}
		for _, tag := range []apply.BulkItem{res.Bulk[0], res.Bulk[2]} {
			if tag.Err != nil || len(tag.Each) != len(want) || tag.Each[0].ID != "never-was-1" || tag.Each[1].ID != "task-one-1" {
				t.Fatalf("%s: %v", action, tag)
			}
			for _, it := range tag.Each {
				if f := fault.Of(it.Err); (f == nil) != (want[it.ID] == "") || f != nil && (f.Code != want[it.ID] || f.Message != fault.NotFoundCode.Text()) {
					t.Errorf("%s of %s: %v, want %q", action, it.ID, it.Err, want[it.ID])
				}
			}
		}
	}
	judge("attached", w.ok(many("bulk-attach", "once", both, list...)))
	for _, tag := range []ident.RecordID{"tag-key-1", "tag-key-2"} {
		if got := w.referring("tagging", "tag", tag); len(got) != 2 {
			t.Errorf("%s is on %v", tag, got)
		}
	}
	again := w.ok(many("bulk-attach", "once", both, list...))
	if judge("told again", again); !again.Replayed {
		t.Error("the key is not remembered")
	}
	judge("detached", w.ok(many("bulk-detach", "", both, list...)))
	if got := w.referring("tagging", "tag", "tag-key-1"); len(got) != 0 {
		t.Errorf("the tag is left on %v", got)
	}
	// Where nothing could be done, nothing was.
	if res := w.ok(many("bulk-attach", "", both[:1], "never-was-1")); !fault.Is(res.Bulk[0].Err, fault.NotFoundCode) || len(res.Bulk[0].Each) != 1 {
		t.Errorf("of nothing that is there: %v", res.Bulk)
	}
	// A list that can't be read is no record's fault.
	if res := w.ok(many("bulk-attach", "", both[:1], "x")); !fault.Is(res.Bulk[0].Err, fault.BadValue) || res.Bulk[0].Each != nil {
		t.Errorf("of what is no id: %v", res.Bulk)
	}
	var tags []ident.RecordID
	for i := range 500 {
		tags = append(tags, ident.RecordID(fmt.Sprintf("tag-none-%03d", i)))
	}
	var records []string
	for i := range 21 {
		records = append(records, fmt.Sprintf("never-was-%03d", i))
	}
	w.refused(fault.BadValue, many("bulk-attach", "", tags, records...))
}
