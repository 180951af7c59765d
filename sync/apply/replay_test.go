package apply_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/server/suite"
	"satchel/sync/apply"
	"satchel/sync/oplog"
	"satchel/sync/store"
)

// dump renders every row that entries make.
func dump(kv store.Reader) []byte {
	var out []byte
	for _, b := range store.Buckets() {
		if b == store.Log {
			continue
		}
		kv.Scan(b, nil, func(k, v []byte) bool {
			out = append(out, byte(b))
			out = append(binary.AppendUvarint(out, uint64(len(k))), k...)
			out = append(binary.AppendUvarint(out, uint64(len(v))), v...)
			return true
		})
	}
	return out
}

func machine(t rapid.TB, w *world) *apply.Machine {
	all, err := suite.Load()
	if err != nil {
		t.Fatal(err)
	}
	return apply.New(apply.Config{Cat: w.cat, Roles: all.Roles, Field: all.Field, Rules: all.Rules})
}

// TestReplay: the same entries folded again, by a machine that restarts now
// and then, leave the same bytes; so does a machine that peeked in between.
func TestReplay(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := ruled(t)
		phones := []*phone{w.signIn("emp-eng-1", "i1"), w.signIn("emp-eng-2", "i2"), w.signIn("emp-mgr-1", "i3"), w.signIn("emp-ada-1", "i4")}
		visible := false
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			var cs []*command.Command
			var pulled []*phone
			for range rapid.IntRange(1, 4).Draw(rt, "commands") {
				p := rapid.SampledFrom(phones).Draw(rt, "phone")
				id := rapid.SampledFrom([]ident.RecordID{"act-one-1", "act-two-1"}).Draw(rt, "act")
				switch rapid.IntRange(0, 7).Draw(rt, "what") {
				case 0, 1, 2:
					if !containsPhone(pulled, p) {
						prof := rapid.SampledFrom([]string{"", "office"}).Draw(rt, "profile")
						if p.who == "emp-eng-1" {
							prof = rapid.SampledFrom([]string{"", "office", "field"}).Draw(rt, "profile")
						}
						cs = append(cs, p.pulling(command.Pull{Profile: prof, Limit: rapid.IntRange(0, 6).Draw(rt, "limit")}))
						pulled = append(pulled, p)
					}
				case 3:
					cs = append(cs, p.pushing(act("jobActivity", id, rapid.SampledFrom([]string{"accept", "travel", "unassign", "cancel"}).Draw(rt, "action"), nil)))
				case 4:
					cs = append(cs, p.pushing(patch("jobActivity", id, obj("note", rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "note")), obj("note", "x"))))
				case 5:
					who := rapid.SampledFrom([]string{"emp-eng-1", "emp-eng-2"}).Draw(rt, "who")
					cs = append(cs, write("emp-mgr-1", command.Write{Op: "action", Type: "jobActivity", ID: id, Action: "assign", Args: obj("assignee", who), Key: fmt.Sprint("k", w.n), KeyHash: []byte("h")}))
				case 6:
					if visible = !visible; visible {
						cs = append(cs, rows(row("clientVisibility", "vis-eng-1", "employee", "emp-eng-1", "mode", "all-but"),
							row("visibilityRule", "rule-eng-1", "visibility", "vis-eng-1", "client", "client-one")))
					} else {
						cs = append(cs, write("emp-ada-1", command.Write{Op: "delete", Type: "visibilityRule", ID: "rule-eng-1"}))
					}
				case 7:
					cs = append(cs, write("emp-ada-1", command.Write{Op: "action", Type: "employee", ID: "emp-ada-1", Action: "disable"}))
				}
			}
			if len(cs) == 0 {
				continue
			}
			if rapid.Bool().Draw(rt, "peek") {
				snap, err := w.eng.Snapshot()
				if err != nil {
					rt.Fatal(err)
				}
				w.m.Rest(snap)
				w.m.Peek(cs[0])
				w.m.Leave()
				snap.Close()
			}
			for i, r := range w.entry(cs...) {
				if cs[i].Pull != nil && r.Err == nil && rapid.Bool().Draw(rt, "applied") {
					for _, p := range phones {
						if p.id == cs[i].Device {
							p.page(r)
						}
					}
				}
			}
		}
		replayed := store.NewMem()
		m := machine(rt, w)
		log, err := oplog.Open(replayed, m, oplog.Options{})
		if err != nil {
			rt.Fatal(err)
		}
		err = w.log.Entries(0, func(e oplog.Entry) (bool, error) {
			if rapid.IntRange(0, 9).Draw(rt, "restart") == 0 {
				if err := log.Close(); err != nil {
					return false, err
				}
				m = machine(rt, w)
				if log, err = oplog.Open(replayed, m, oplog.Options{}); err != nil {
					return false, err
				}
			}
			_, err := log.Append(t.Context(), oplog.Draft{Time: e.Time, Version: e.Version, Proposer: e.Proposer, Number: e.Number, Commands: e.Commands})
			return err == nil, err
		})
		if err != nil {
			rt.Fatal(err)
		}
		a, _ := w.eng.Snapshot()
		b, _ := replayed.Snapshot()
		if !bytes.Equal(dump(a), dump(b)) {
			rt.Fatal("the replay left other bytes")
		}
	})
}

func containsPhone(ps []*phone, p *phone) bool {
	for _, x := range ps {
		if x == p {
			return true
		}
	}
	return false
}
