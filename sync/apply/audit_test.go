package apply_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/sync/audit"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/verify"
)

// trail returns the newest rows of the audit trail, as many as asked for,
// newest first.
func (w *world) trail(n int) (rows []*audit.Row) {
	w.t.Helper()
	w.reader(func(rd *state.Reader) {
		err := audit.Back(rd.KV(), audit.Last, func(r *audit.Row) bool {
			rows = append(rows, r)
			return len(rows) < n
		})
		if err != nil {
			w.t.Fatal(err)
		}
	})
	return rows
}

// told renders what a row says, without what depends on the world's clock.
func told(r *audit.Row) string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %s by %s", r.Op, r.Name, r.ID, r.Actor))
}

// verified fails the test where the state or its trail is not whole.
func (w *world) verified() {
	w.t.Helper()
	w.reader(func(rd *state.Reader) {
		if rep := verify.Run(w.cat, rd.KV(), nil); !rep.OK() {
			w.t.Fatalf("%q", rep.Problems)
		}
	})
}

func (w *world) wantTrail(want ...string) {
	w.t.Helper()
	rows := w.trail(len(want))
	for i, r := range rows {
		if got := told(r); got != want[i] {
			w.t.Errorf("row %d from the end: %q, want %q", i, got, want[i])
		}
	}
	if len(rows) < len(want) {
		w.t.Errorf("%d rows", len(rows))
	}
	w.verified()
}

// retraced walks every record's changes back to its beginning: the values that
// the rows tell must be those it has, and before the first it must have none.
func (w *world) retraced(t rapid.TB) {
	w.reader(func(rd *state.Reader) {
		if rep := verify.Run(w.cat, rd.KV(), nil); !rep.OK() {
			t.Fatalf("%q", rep.Problems)
		}
		for _, typ := range w.cat.Types {
			for o := range rd.Index(state.TypeKey(typ.No)).All() {
				rec, _ := rd.LoadOrd(o)
				now := map[uint8]string{}
				for _, c := range rec.Cells {
					if !c.Value.IsNull() {
						now[c.No] = string(c.Value)
					}
				}
				n, whole := 0, true
				err := audit.Of(rd.KV(), o, audit.Key{Pos: rec.Last(^entity.Mask(0)).Pos, N: audit.Last.N}, func(row *audit.Row) bool {
					n++
					cs, err := row.Changes()
					if err != nil || row.State != audit.Kept {
						whole = false
						return false
					}
					for _, c := range cs {
						if now[c.No] != string(c.After) {
							t.Fatalf("%s: field %d is %s, %s says %s", rec.ID, c.No, now[c.No], row.Key, c.After)
						}
						if delete(now, c.No); c.Before != nil {
							now[c.No] = string(c.Before)
						}
					}
					return true
				})
				if err != nil || n == 0 || (whole && len(now) > 0) {
					t.Fatalf("%s: %d rows, left over %v, %v", rec.ID, n, now, err)
				}
			}
		}
	})
}

// TestTrailRetraces: after any changes the chain holds, and every record can
// be followed back to its creation, value by value.
func TestTrailRetraces(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := field(t)
		phones := []*phone{w.signIn("emp-eng-1", "i1"), w.signIn("emp-mgr-1", "i3")}
		for range rapid.IntRange(1, 15).Draw(rt, "steps") {
			var cs []*command.Command
			for range rapid.IntRange(1, 4).Draw(rt, "commands") {
				p := rapid.SampledFrom(phones).Draw(rt, "phone")
				id := rapid.SampledFrom([]ident.RecordID{"act-one-1", "act-two-1"}).Draw(rt, "act")
				text := rapid.SampledFrom([]string{"x", "y", ""}).Draw(rt, "text")
				switch rapid.IntRange(0, 5).Draw(rt, "what") {
				case 0:
					cs = append(cs, p.pushing(act("jobActivity", id, rapid.SampledFrom([]string{"accept", "travel", "unassign", "cancel"}).Draw(rt, "action"), nil)))
				case 1:
					cs = append(cs, p.pushing(patch("jobActivity", id, obj("note", text), obj("note", "x")), patch("jobActivity", id, obj("note", "z"), obj("note", text))))
				case 2:
					cs = append(cs, write("emp-mgr-1", command.Write{Op: "action", Type: "jobActivity", ID: id, Action: "assign", Args: obj("assignee", "emp-eng-2")}))
				case 3:
					cs = append(cs, write("emp-mgr-1", command.Write{Op: "create", Type: "comment", Fields: obj("parent", string(id), "parentType", "jobActivity", "text", "hm")}))
				case 4:
					cs = append(cs, rows(row("client", "client-one", "name", "one "+text), row("client", "client-one", "name", text+text)))
				case 5:
					cs = append(cs, write("emp-ada-1", command.Write{Op: "action", Type: "employee", ID: "emp-ada-1", Action: "disable"}))
				}
			}
			w.entry(cs...)
		}
		w.retraced(rt)
	})
}

func TestTrailTells(t *testing.T) {
	w := field(t)
	p := w.signIn("emp-eng-1", "i1")
	w.wantTrail("signIn device emp-eng-1 by emp-eng-1", "rule  "+string(p.id)+" by", "passwordSet  emp-eng-1 by")
	if r := w.trail(1)[0]; r.Device != p.id || r.Session != p.sess {
		t.Errorf("%+v", r)
	}
	// The same phone again: the session before it ends.
	again := w.login("emp-eng-1", "i1")
	w.wantTrail("signIn  emp-eng-1 by emp-eng-1", "rule  "+string(p.id)+" by", "sessionEnded  emp-eng-1 by")
	if r := w.trail(3)[2]; r.Session != p.sess || r.Device != p.id {
		t.Errorf("%+v", r)
	}
	again.n = p.n

	// An assignment, with the values before and after.
	w.ok(write("emp-mgr-1", command.Write{Op: "action", Type: "jobActivity", ID: "act-one-1", Action: "assign", Args: obj("assignee", "emp-eng-2")}))
	rows := w.trail(20)
	var found *audit.Row
	for _, r := range rows {
		if told(r) == "action assign act-one-1 by emp-mgr-1" {
			found = r
		}
	}
	if found == nil {
		t.Fatal("no row of the assignment")
	}
	cs, err := found.Changes()
	assignee := w.cat.Type("jobActivity").Field("assignee").No
	seen := ""
	for _, c := range cs {
		if c.No == assignee {
			seen = string(c.Before) + string(c.After)
		}
	}
	if err != nil || seen != `"emp-eng-1""emp-eng-2"` || found.Client != "client-one" {
		t.Errorf("%s, %v, %+v", seen, err, found)
	}

	// Offline work: device, and when it was done.
	at := w.now - 3_600_000
	m := patch("jobActivity", "act-two-1", obj("note", "done"), obj("note", ""))
	m.At, m.Was = at, command.Object{"note": []byte("null")}
	want(t, again.push(m)[0], "applied", "")
	if r := w.trail(1)[0]; told(r) != "patch  act-two-1 by emp-eng-1" || r.Device != p.id || r.Done >= r.At-3_500_000 || r.Session != "" {
		t.Errorf("%s %+v", told(r), r)
	}

	// A refusal leaves nothing; one that would leave no administrator is told,
	// whichever way it comes.
	n := len(w.trail(1 << 20))
	w.refused(fault.NotFoundCode, write("emp-eng-2", command.Write{Op: "patch", Type: "employee", ID: "emp-eng-1", Fields: obj("name", "x")}))
	if got := len(w.trail(1 << 20)); got != n {
		t.Errorf("a refusal left %d rows", got-n)
	}
	w.refused(fault.LastAdministrator, write("emp-ada-1", command.Write{Op: "action", Type: "employee", ID: "emp-ada-1", Action: "disable"}))
	w.wantTrail("refused last_administrator emp-ada-1 by emp-ada-1", "patch  act-two-1 by emp-eng-1")
	ada := w.signIn("emp-ada-1", "i9")
	want(t, ada.push(act("employee", "emp-ada-1", "disable", nil))[0], "refused", fault.LastAdministrator)
	w.wantTrail("refused last_administrator emp-ada-1 by emp-ada-1")
	if r := w.do(disabling("emp-ada-1")); len(r.Count.Rejected) != 1 {
		t.Errorf("%+v", r.Count)
	}
	w.wantTrail("refused last_administrator emp-ada-1 by")

	// What follows from something is no one's deed.
	w.load(row("clientVisibility", "vis-eng-2", "employee", "emp-eng-2", "mode", "all-but"),
		row("visibilityRule", "rule-eng-2", "visibility", "vis-eng-2", "client", "client-one"))
	rule := false
	for _, r := range w.trail(10) {
		rule = rule || told(r) == "rule  act-one-1 by"
	}
	if !rule {
		t.Error("work that went back to the queue left no row")
	}
	w.verified()
}

// disabling disables an employee by an import.
func disabling(id ident.RecordID) *command.Command {
	return rows(row("employee", id, "status", "Disabled"))
}

// TestTrailOfImports: a few rows keep their values, many only their hash, which
// still proves what the records hold.
func TestTrailOfImports(t *testing.T) {
	w := field(t)
	w.load(row("client", "client-few", "name", "few", "salesArea", "area-north"))
	if r := w.trail(1)[0]; told(r) != "import  client-few by" || r.State != audit.Kept {
		t.Errorf("%s %v", told(r), r.State)
	}
	var rs []command.Row
	for i := range 30 {
		rs = append(rs, row("client", ident.RecordID(fmt.Sprintf("client-many-%d", i)), "name", "many", "salesArea", "area-north"))
	}
	w.load(rs...)
	r := w.trail(1)[0]
	if told(r) != "import  client-many-29 by" || r.State != audit.HashOnly {
		t.Errorf("%s %v", told(r), r.State)
	}
	rs = rs[:25]
	for i := range rs {
		rs[i].Fields = obj("name", "more")
	}
	w.load(rs...)
	w.verified()
}

// TestVerifyHoldsRecordsAgainstTheTrail changes stored records behind the
// trail's back.
func TestVerifyHoldsRecordsAgainstTheTrail(t *testing.T) {
	w := field(t)
	var rs []command.Row
	for i := range 30 {
		rs = append(rs, row("client", ident.RecordID(fmt.Sprintf("client-many-%d", i)), "name", "many", "salesArea", "area-north"))
	}
	w.load(rs...)
	w.ok(write("emp-mgr-1", command.Write{Op: "patch", Type: "job", ID: "job-one-1", Fields: obj("title", "Pump")}))
	w.verified()
	for _, x := range []struct {
		id     ident.RecordID
		change func(*entity.Record)
	}{
		{"job-one-1", func(r *entity.Record) { cell(r, "title").Value = entity.StringValue("Forged") }},
		{"client-many-7", func(r *entity.Record) { cell(r, "name").Value = entity.StringValue("forged") }},
		{"job-one-1", func(r *entity.Record) { r.Stamps[cell(r, "title").Stamp].By = "emp-other-1" }},
		{"job-one-1", func(r *entity.Record) { r.Stamps[cell(r, "title").Stamp].At -= 5 }},
	} {
		var problems []string
		w.reader(func(rd *state.Reader) {
			rec, _ := rd.Load(x.id)
			rec = rec.Clone()
			x.change(rec)
			forged := w.eng.(*store.Mem).Clone()
			if err := forged.Update(func(wr store.Writer) error {
				return wr.Put(store.Records, binary.BigEndian.AppendUint32(nil, rec.Ord), rec.Append(nil))
			}); err != nil {
				t.Fatal(err)
			}
			snap, err := forged.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			defer snap.Close()
			problems = verify.Run(w.cat, snap, nil).Problems
		})
		if len(problems) == 0 || !strings.Contains(strings.Join(problems, "\n"), string(x.id)) {
			t.Errorf("%s: %q", x.id, problems)
		}
	}
}

func cell(r *entity.Record, field string) *entity.Cell {
	no := r.Type.Field(field).No
	for i := range r.Cells {
		if r.Cells[i].No == no {
			return &r.Cells[i]
		}
	}
	panic("no such field")
}

// TestTrailTellsForWhom: a right that was delegated is told with whose it was.
func TestTrailTellsForWhom(t *testing.T) {
	w := field(t)
	w.load(person("emp-sub-1")...)
	w.load(row("delegation", "deleg-1-1", "delegator", "emp-mgr-1", "delegate", "emp-sub-1", "until", "2030-01-01T00:00:00Z"))
	w.ok(write("emp-sub-1", command.Write{Op: "patch", Type: "job", ID: "job-one-1", Fields: obj("title", "Pump")}))
	if r := w.trail(1)[0]; told(r) != "patch  job-one-1 by emp-sub-1" || r.For != "emp-mgr-1" {
		t.Errorf("%s for %q", told(r), r.For)
	}
}
