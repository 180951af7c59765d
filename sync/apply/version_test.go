package apply_test

import (
	"fmt"
	"strings"
	"testing"

	"satchel/internal/command"
	"satchel/internal/policy"
	"satchel/server/module"
	"satchel/server/roles"
	"satchel/sync/apply"
	"satchel/sync/oplog"
	"satchel/sync/state"
	"satchel/sync/subject"
)

// TestInForce: what an entry was applied by stands in it and in the state. A
// server whose roles say something else refuses the entry and changes nothing.
func TestInForce(t *testing.T) {
	w := field(t)
	var before uint64
	w.reader(func(rd *state.Reader) { before = rd.InForce() })
	if before != w.m.InForce() || before>>48 != apply.Version {
		t.Fatalf("%x stands in the state, in force is %x", before, w.m.InForce())
	}
	cat, err := module.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	other := func(change func(*policy.Role)) *apply.Machine {
		compiled, err := roles.Compiled(cat)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range roles.All() {
			if r.Key == "service.engineer" {
				c := *r
				change(&c)
				if compiled[r.Key], err = policy.Compile(cat, &c); err != nil {
					t.Fatal(err)
				}
			}
		}
		rs, err := subject.NewRoles(cat, compiled)
		if err != nil {
			t.Fatal(err)
		}
		return apply.New(apply.Config{Cat: cat, Roles: rs})
	}
	same, cut := other(func(*policy.Role) {}), other(func(r *policy.Role) { r.Cut = []string{"jobActivity.note"} })
	if same.InForce() == cut.InForce() {
		t.Fatal("a field that a role loses makes no difference")
	}
	raw, err := command.Encode(&command.Command{Tick: &command.Tick{}})
	if err != nil {
		t.Fatal(err)
	}
	draft := oplog.Draft{Time: w.now + 1, Version: w.m.InForce(), Proposer: "p", Number: w.n + 1, Commands: [][]byte{raw}}
	stands := func() (out string) {
		w.reader(func(rd *state.Reader) {
			out = fmt.Sprintf("entry %d at %d by %x", rd.Position(), rd.Now(), rd.InForce())
		})
		return out
	}
	was := stands()
	log, err := oplog.Open(w.eng, cut, oplog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append(t.Context(), draft); err == nil || !strings.Contains(err.Error(), "types and roles") {
		t.Fatalf("an entry of another server is applied: %v", err)
	}
	if is := stands(); is != was {
		t.Errorf("the refused entry leaves %s, was %s", is, was)
	}
	draft.Version = cut.InForce()
	if _, err := log.Append(t.Context(), draft); err != nil {
		t.Fatal(err)
	}
	w.reader(func(rd *state.Reader) {
		if rd.InForce() != cut.InForce() {
			t.Errorf("%x stands in the state, in force is %x", rd.InForce(), cut.InForce())
		}
	})
}
