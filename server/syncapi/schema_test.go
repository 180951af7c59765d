package syncapi_test

import (
	"encoding/json"
	"maps"
	"testing"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/entity"
	"satchel/internal/ident"
	. "satchel/internal/testworld" //nolint:revive // its names are people
	"satchel/server/edge"
	"satchel/server/syncapi"
	"satchel/server/ws/upgrade"
	"satchel/sync/apply"
	"satchel/sync/tenant"
	"satchel/sync/wire"
)

// later is a second version of the types, as it might have come to be.
var later = entity.Edition{
	Version: 2,
	Fields:  map[string][]string{"jobActivity": {"note"}, "signature": {"activity", "signedBy", "signedAt", "drawing", "note"}},
	Values:  map[string][]string{"jobActivity.status": {"Paused"}},
	Renamed: map[string]string{"jobActivity.workDone": "work"},
	RenamedActions: map[string]string{
		"jobActivity.clear": "finish",
	},
	Gone: []string{"jobActivity.vanish"},
}

// evolved is a world whose types have a second version, for this test alone.
func evolved(t *testing.T) *World {
	t.Helper()
	var cat *entity.Catalogue
	t.Cleanup(func() { // after the world is closed
		if err := cat.Evolve(); err != nil {
			t.Error(err)
		}
	})
	w := New(t, func(app *fiber.App, auth *edge.Auth, _ *entity.Catalogue) {
		(&syncapi.Server{Auth: auth, Sockets: upgrade.New(upgrade.Options{})}).Mount(app)
	})
	cat = w.Cat
	if err := cat.Evolve(later); err != nil {
		t.Fatal(err)
	}
	return w
}

// device is a phone that speaks a version of the types.
type device struct {
	t      *testing.T
	w      *World
	who    ident.RecordID
	name   string
	schema int
	cp     string
	held   map[string]wire.Record
	// changes counts the records of which it got the changed fields alone.
	changes int
}

func (d *device) post(path string, body map[string]any, into any) *Response {
	d.t.Helper()
	res := d.w.Send(d.w.DeviceToken(d.who, d.name), "POST", path, body, "Prefer", "fields=changed").Want(d.t, 200, "")
	if applied := res.Header.Get("Preference-Applied") != ""; applied && (d.schema == 1 || path != "/sync/v1/pull") {
		d.t.Errorf("%s: %s follows a preference that it can't", d.name, path)
	}
	if err := json.Unmarshal(res.Body, into); err != nil {
		d.t.Fatal(err)
	}
	return res
}

// pull takes all pages and returns how many records they had.
func (d *device) pull() (n int) {
	d.t.Helper()
	for {
		var pg wire.Page
		body := map[string]any{"checkpoint": d.cp, "profile": "office"}
		if d.cp == "" {
			body["schema"] = d.schema
		}
		d.post("/sync/v1/pull", body, &pg)
		for _, r := range pg.Records {
			d.take(r)
		}
		for _, r := range pg.Removed {
			delete(d.held, r.Type+"/"+r.ID)
		}
		d.cp = pg.Checkpoint
		n += len(pg.Records)
		if !pg.More && len(pg.Records)+len(pg.Removed) == 0 {
			return n
		}
	}
}

// take takes a record, which may be the changed fields of one. Where names are of
// another version those would not be laid over what the device has.
func (d *device) take(r wire.Record) {
	d.t.Helper()
	ref := r.Type + "/" + r.ID
	if r.Check != "" {
		if d.schema == 1 {
			d.t.Errorf("%s: only the changed fields of %s", d.name, ref)
		}
		fields := maps.Clone(d.held[ref].Fields)
		wire.Lay(fields, r.Fields)
		if r.Fields = fields; wire.Check(fields) != r.Check {
			d.t.Errorf("%s: the changed fields of %s come to another record", d.name, ref)
		}
		d.changes++
	}
	d.held[ref] = r
}

// agrees demands that the server expects what the device has, by revs.
func (d *device) agrees() {
	d.t.Helper()
	types := map[string]wire.Summary{}
	var pg wire.Page
	d.post("/sync/v1/pull", map[string]any{"checkpoint": d.cp}, &pg)
	if pg.Complete == nil {
		d.t.Fatal("no complete page")
	}
	counts := map[string]int{}
	for _, r := range d.held {
		counts[r.Type]++
	}
	for typ, sum := range pg.Complete.Types {
		types[typ] = sum
		if counts[typ] != sum.Count {
			d.t.Errorf("%s has %d %s, the server says %d", d.name, counts[typ], typ, sum.Count)
		}
	}
	var v wire.Verified
	d.post("/sync/v1/verify", map[string]any{"types": types}, &v)
	if !v.OK {
		d.t.Errorf("%s: %v differ", d.name, v.Types)
	}
}

func (d *device) push(acked int, ms ...map[string]any) []wire.Result {
	d.t.Helper()
	for _, m := range ms {
		m["at"] = "2026-03-02T09:00:00Z"
	}
	var r wire.Results
	d.post("/sync/v1/push", map[string]any{"acked": acked, "now": "2026-03-02T10:00:00Z", "mutations": ms}, &r)
	return r.Results
}

func (d *device) field(ref, name string) string { return string(d.held[ref].Fields[name]) }

// TestOlderSchema: a phone of the first version gets the records in the words of
// then, nothing for what it doesn't know, and its work arrives.
func TestOlderSchema(t *testing.T) {
	w := evolved(t)
	w.Import(Row("jobActivity", "act-acme-1", "status", "Paused", "note", "gate", "workDone", "half"))
	then := &device{t, w, Engineer, "then", 1, "", map[string]wire.Record{}, 0}
	now := &device{t, w, Engineer, "now", 2, "", map[string]wire.Record{}, 0}
	w.DeviceToken(Engineer, "then") // each sees the other's device
	w.DeviceToken(Engineer, "now")
	then.pull()
	now.pull()
	const act = "jobActivity/act-acme-1"
	for name, want := range map[string]string{"status": `"Working"`, "note": "", "work": `"half"`, "workDone": "", "title": `"Visit acme"`} {
		if got := then.field(act, name); got != want {
			t.Errorf("then: %s is %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{"status": `"Paused"`, "note": `"gate"`, "work": "", "workDone": `"half"`} {
		if got := now.field(act, name); got != want {
			t.Errorf("now: %s is %q, want %q", name, got, want)
		}
	}
	if _, ok := then.held["signature/sign-acme-1"]; ok || now.held["signature/sign-acme-1"].ID == "" {
		t.Error("a type that is new is known then, or unknown now")
	}
	then.agrees()
	now.agrees()

	// A write to what it doesn't know is none to it.
	w.Import(Row("jobActivity", "act-acme-1", "note", "other gate"))
	w.Import(Row("signature", "sign-acme-2", "activity", "act-acme-1", "signedBy", "A", "signedAt", "2026-03-02T09:00:00Z"))
	if n := then.pull(); n != 0 {
		t.Errorf("then: %d records for what it doesn't know", n)
	}
	if n := now.pull(); n != 2 {
		t.Errorf("now: %d records, want 2", n)
	}
	w.Import(Row("jobActivity", "act-acme-1", "title", "Another visit"))
	if n := then.pull(); n != 1 || then.field(act, "title") != `"Another visit"` {
		t.Errorf("then: %d records, %s", n, then.field(act, "title"))
	}
	then.agrees()
	now.pull()
	if now.changes == 0 || now.field(act, "title") != `"Another visit"` {
		t.Errorf("now: %d records in part, %s", now.changes, now.field(act, "title"))
	}

	res := then.push(0,
		map[string]any{"n": 1, "op": "patch", "type": "jobActivity", "id": "act-acme-1", "fields": map[string]any{"work": "most"}, "was": map[string]any{"work": "half"}},
		map[string]any{"n": 2, "op": "patch", "type": "jobActivity", "id": "act-acme-1", "fields": map[string]any{"work": "all"}, "was": map[string]any{"work": "half"}},
		map[string]any{"n": 3, "op": "action", "type": "jobActivity", "id": "act-acme-1", "action": "vanish"},
		map[string]any{"n": 4, "op": "patch", "type": "jobActivity", "id": "act-acme-1", "fields": map[string]any{"work": "a", "workDone": "b"}, "was": map[string]any{"work": "most"}},
		map[string]any{"n": 5, "op": "action", "type": "jobActivity", "id": "act-acme-1", "action": "finish", "args": map[string]any{}},
	)
	want := []struct{ status, code string }{
		{"applied", ""}, {"conflict", "conflict"}, {"refused", "schema_not_supported"}, {"refused", "schema_not_supported"}, {"applied", ""},
	}
	for i, r := range res {
		if r.Status != want[i].status || r.Code != want[i].code {
			t.Errorf("mutation %d: %+v, want %v", r.N, r, want[i])
		}
	}
	if c := res[1].Conflicts; len(c) != 1 || c[0].Field != "work" || string(c[0].Theirs) != `"most"` {
		t.Errorf("in conflict: %+v", c)
	}
	// A repetition is one: the hash is of what was sent.
	if again := then.push(0, map[string]any{"n": 1, "op": "patch", "type": "jobActivity", "id": "act-acme-1", "fields": map[string]any{"work": "most"}, "was": map[string]any{"work": "half"}}); again[0].Status != "applied" {
		t.Errorf("again: %+v", again)
	}
	// What could not be said is kept as it was sent.
	kept := map[uint64]apply.Quarantined{}
	err := w.Tenant.Read(func(v *tenant.View) error {
		apply.EachQuarantined(v.Reader, func(q apply.Quarantined) bool { kept[q.Mutation.N] = q; return true })
		return nil
	})
	if err != nil || len(kept) != 3 || kept[3].Mutation.Action != "vanish" || string(kept[4].Mutation.Fields["work"]) != `"a"` {
		t.Errorf("kept %+v %v", kept, err)
	}
	then.pull()
	if then.field(act, "status") != `"Cleared"` || then.field(act, "work") != `"most"` {
		t.Errorf("at last %s", then.held[act].Fields)
	}
	then.agrees()

	// The app is updated: it says so and gets what it now knows.
	then.schema = 2
	var pg wire.Page
	then.post("/sync/v1/pull", map[string]any{"checkpoint": then.cp, "schema": 2}, &pg)
	for _, r := range pg.Records {
		then.take(r)
	}
	then.cp = pg.Checkpoint
	then.pull()
	if then.field(act, "note") != `"other gate"` || then.held["signature/sign-acme-2"].ID == "" {
		t.Errorf("updated: %s", then.held[act].Fields)
	}
	then.agrees()
}

// TestOneSchema: while there is one version, whoever names another newer one is
// spoken to all the same, and nonsense is refused.
func TestOneSchema(t *testing.T) {
	w := New(t, func(app *fiber.App, auth *edge.Auth, _ *entity.Catalogue) {
		(&syncapi.Server{Auth: auth, Sockets: upgrade.New(upgrade.Options{})}).Mount(app)
	})
	d := &device{t, w, Manager, "ahead", 7, "", map[string]wire.Record{}, 0}
	if d.pull() == 0 {
		t.Error("nothing for a phone that is ahead")
	}
	d.agrees()
	tok := w.DeviceToken(Manager, "ahead")
	w.Send(tok, "POST", "/sync/v1/pull", map[string]any{"schema": -1}).Want(t, 400, "bad_parameter")
	w.Send(tok, "POST", "/sync/v1/push", map[string]any{"acked": 0, "now": "2026-03-02T10:00:00Z", "schema": -1, "mutations": []any{}}).Want(t, 400, "bad_parameter")
}
