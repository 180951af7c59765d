package apply_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/server/suite"
	"satchel/sync/apply"
)

// trial tries commands on the committed state.
func (w *world) trial(asker ident.RecordID, cs ...*command.Command) (out []apply.PersonEffect, refused error) {
	w.t.Helper()
	all, err := suite.Load()
	if err != nil {
		w.t.Fatal(err)
	}
	snap, err := w.eng.Snapshot()
	if err != nil {
		w.t.Fatal(err)
	}
	defer snap.Close()
	was := dump(snap)
	tr := apply.NewTrial(apply.Config{Cat: w.cat, Roles: all.Roles, Field: all.Field}, snap, w.now+1000)
	for i, c := range cs {
		c.Seed = []byte{1, byte(i)}
		if r := tr.Do(c); r.Err != nil {
			return nil, r.Err
		}
	}
	if out, err = tr.Compare(asker); err != nil {
		w.t.Fatal(err)
	}
	if now, _ := w.eng.Snapshot(); !bytes.Equal(was, dump(now)) {
		w.t.Fatal("a trial wrote something")
	}
	return out, nil
}

// values is obj, but for lists, which are JSON as they are.
func values(kv ...string) command.Object {
	o := obj(kv...)
	for i := 0; i < len(kv); i += 2 {
		if strings.HasPrefix(kv[i+1], "[") {
			o[kv[i]] = json.RawMessage(kv[i+1])
		}
	}
	return o
}

// of returns somebody's effect and that on a device; neither is nil.
func of(list []apply.PersonEffect, who ident.RecordID, dev ident.DeviceID) (p apply.PersonEffect, d apply.DeviceEffect) {
	for _, p = range list {
		if p.ID != who {
			continue
		}
		for _, d := range p.Devices {
			if d.ID == dev {
				return p, d
			}
		}
		return p, apply.DeviceEffect{}
	}
	return apply.PersonEffect{}, apply.DeviceEffect{}
}

func total(m map[uint16]int) (n int) {
	for _, x := range m {
		n += x
	}
	return n
}

// carrier is a phone with what it carries.
type carrier struct {
	*phone
	has map[string]bool
}

// catchUp pulls to the end and acknowledges; it returns how many records came
// that were not there, how many went, and how many came that were. ok is false
// where the phone was cut off.
func (c *carrier) catchUp(x command.Pull) (arrived, left, again int, ok bool) {
	for {
		r := c.w.do(c.pulling(x))
		switch {
		case fault.Is(r.Err, fault.MobileModuleRequired):
			return arrived, left, again, true
		case fault.Is(r.Err, fault.SessionRevoked):
			return 0, 0, 0, false
		}
		pg := c.page(r)
		for _, r := range pg.Records {
			if c.has[r.ID] {
				again++
			} else {
				arrived++
			}
			c.has[r.ID] = true
		}
		for _, r := range pg.Removed {
			left++
			delete(c.has, r.ID)
		}
		if !pg.More && len(pg.Records)+len(pg.Removed) == 0 {
			return arrived, left, again, true
		}
		x = command.Pull{}
	}
}

// TestTrialForetells makes random changes: what a trial says of each device is
// what then comes to it and leaves it, and it is refused what a trial is.
func TestTrialForetells(t *testing.T) {
	changed, refused := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		w := field(t)
		var rs []command.Row
		rs = append(rs, command.Row{Type: "organizationalRole", ID: "role-desk-1", Fields: values("name", "Desk", "baseRoles", `["service.guest"]`)})
		rs = append(rs, person("emp-rep-1", "service.sales-representative")...)
		rs = append(rs, person("emp-desk-1", "role-desk-1")...)
		rs = append(rs, person("emp-desk-2", "role-desk-1", "level.basic")...)
		rs = append(rs, row("clientVisibility", "vis-eng-1", "employee", "emp-eng-1", "mode", "all-but"))
		rs = append(rs, row("ticket", "ticket-one-1", "client", "client-one", "subject", "Help", "requester", "emp-desk-2"))
		w.load(rs...)
		w.ok(write("emp-ada-1", command.Write{Op: "patch", Type: "employee", ID: "emp-rep-1", Fields: values("salesAreas", `["area-north"]`)}))
		people := []ident.RecordID{"emp-ada-1", "emp-mgr-1", "emp-eng-1", "emp-eng-2", "emp-rep-1", "emp-desk-1", "emp-desk-2"}
		var phones []*carrier
		for i, p := range people {
			c := &carrier{w.signIn(p, fmt.Sprint("i", i)), map[string]bool{}}
			first := command.Pull{}
			switch p {
			case "emp-eng-1":
				first.Profile = "field"
			case "emp-eng-2", "emp-desk-1":
				first.Pins = &[]ident.Ref{{Type: "client", ID: "client-one"}}
			}
			phones = append(phones, c)
			c.catchUp(first)
		}
		for _, c := range phones { // the devices that signed in since
			c.catchUp(command.Pull{})
		}
		roles := []string{"service.guest", "stock.guest", "level.basic", "service.guest-agent"}
		pickP := func() ident.RecordID { return rapid.SampledFrom(people).Draw(rt, "person") }
		list := func(from []string, label string) string {
			return `["` + rapid.SampledFrom(from).Draw(rt, label) + `"]`
		}
		for range rapid.IntRange(1, 4).Draw(rt, "changes") {
			var c command.Write
			switch rapid.IntRange(0, 12).Draw(rt, "what") {
			case 0:
				c = command.Write{Op: "patch", Type: "organizationalRole", ID: "role-desk-1", Fields: values("baseRoles", list(roles, "base"))}
			case 1:
				c = command.Write{Op: "patch", Type: "organizationalRole", ID: "role-desk-1", Fields: values("cutFields", list([]string{"client.name", "job.title", "asset.serial"}, "cut"))}
			case 2:
				c = command.Write{Op: "create", Type: "roleAssignment", Fields: obj("employee", string(pickP()), "role", rapid.SampledFrom(append(roles, "crm.administrator")).Draw(rt, "role"))}
			case 3:
				c = command.Write{Op: "delete", Type: "roleAssignment", ID: ident.RecordID(fmt.Sprintf("ra-%s-0", pickP()))}
			case 4:
				c = command.Write{Op: "create", Type: "visibilityRule", Fields: obj("visibility", "vis-eng-1", "client", rapid.SampledFrom([]string{"client-one", "client-two"}).Draw(rt, "client"))}
			case 5:
				c = command.Write{Op: "patch", Type: "clientVisibility", ID: "vis-eng-1", Fields: obj("mode", rapid.SampledFrom([]string{"only", "all-but"}).Draw(rt, "mode"))}
			case 6:
				c = command.Write{Op: "create", Type: "individualPermission", Fields: obj("employee", string(pickP()), "effect", rapid.SampledFrom([]string{"denial", "grant"}).Draw(rt, "effect"), "verb", "view",
					"entityType", rapid.SampledFrom([]string{"job", "client", "ticket", "invoice"}).Draw(rt, "type"))}
			case 7:
				c = command.Write{Op: "patch", Type: "employee", ID: "emp-rep-1", Fields: values("salesAreas", list([]string{"area-north", "area-south"}, "areas"))}
			case 8:
				c = command.Write{Op: "action", Type: "employee", ID: pickP(), Action: "disable"}
			case 9:
				c = command.Write{Op: "create", Type: "delegation", Fields: obj("delegator", string(pickP()), "delegate", string(pickP()), "from", "2020-01-01T00:00:00Z", "until", "2999-01-01T00:00:00Z")}
			case 10:
				c = command.Write{Op: "create", Type: "onsiteClient", Fields: obj("employee", string(pickP()), "client", "client-two")}
			case 11:
				// Work changes hands: no right is touched. Only the system may here.
				who := rapid.SampledFrom([]string{"emp-eng-1", "emp-eng-2"}).Draw(rt, "assignee")
				c = command.Write{Op: "action", Type: "jobActivity", ID: "act-two-1", Action: "assign", Args: obj("assignee", who)}
			case 12:
				c = command.Write{Op: "action", Type: "client", ID: "client-two", Action: "set-area", Args: obj("salesArea", rapid.SampledFrom([]string{"area-north", "area-south"}).Draw(rt, "area"))}
			}
			actor := ident.RecordID("emp-ada-1")
			if c.Type == "jobActivity" || c.Type == "client" {
				actor = ""
			}
			said, err := w.trial("", write(actor, c))
			r := w.do(write(actor, c))
			if (err == nil) != (r.Err == nil) || err != nil && fault.Of(err).Code != fault.Of(r.Err).Code {
				rt.Fatalf("%+v: tried %v, done %v", c, err, r.Err)
			}
			if err != nil {
				refused++
			}
			for _, p := range phones {
				_, want := of(said, p.who, p.id)
				arrived, left, again, ok := p.catchUp(command.Pull{})
				if !ok {
					continue
				}
				if arrived != total(want.Arrives) || left != total(want.Leaves) || again < want.Changed {
					rt.Fatalf("%s %s %v, phone of %s: %d arrived, %d left, %d again; foretold %+v", c.Op, c.Type, c.Fields, p.who, arrived, left, again, want)
				}
				if !want.IsZero() {
					changed++
				}
			}
		}
		// Each history ends with a change that is refused: of a person who is not
		// there.
		none := write("emp-ada-1", command.Write{Op: "create", Type: "roleAssignment", Fields: obj("employee", "never-was-1", "role", "service.guest")})
		if _, err := w.trial("", none); err == nil || fault.Of(err).Code != fault.Of(w.do(none).Err).Code {
			rt.Fatalf("a trial of what is refused: %v", err)
		}
		refused++
	})
	if changed == 0 || refused == 0 {
		t.Errorf("%d devices changed, %d changes were refused", changed, refused)
	}
}

// TestTrialLeavesOut: what would come or go anyway is not counted, and a device
// gives up only what it has.
func TestTrialLeavesOut(t *testing.T) {
	w := field(t)
	p := w.signIn("emp-mgr-1", "i1")
	take := write("emp-ada-1", command.Write{Op: "delete", Type: "roleAssignment", ID: "ra-emp-mgr-1-0"})
	said, err := w.trial("emp-ada-1", take)
	if err != nil {
		t.Fatal(err)
	}
	person, dev := of(said, "emp-mgr-1", p.id)
	if total(person.Leaves) == 0 || total(dev.Leaves) != 0 {
		t.Errorf("nothing was pulled: person %+v, device %+v", person, dev)
	}
	p.sync()
	said, _ = w.trial("emp-ada-1", take)
	person, dev = of(said, "emp-mgr-1", p.id)
	if n := total(dev.Leaves); n == 0 || n != total(person.Leaves) || len(dev.Arrives) != 0 {
		t.Errorf("all was pulled: person %+v, device %+v", person, dev)
	}
	// With the role gone the device has to give all up; hiding a client takes
	// nothing more, and giving the role again brings back what never left.
	w.ok(take)
	hide := []*command.Command{
		rows(row("clientVisibility", "vis-mgr-1", "employee", "emp-mgr-1", "mode", "all-but"), row("visibilityRule", "rule-mgr-1", "visibility", "vis-mgr-1", "client", "client-one")),
	}
	said, err = w.trial("", hide...)
	if _, dev = of(said, "emp-mgr-1", p.id); err != nil || len(dev.Leaves) != 0 {
		t.Errorf("%v, %+v", err, dev)
	}
	give := write("emp-ada-1", command.Write{Op: "create", Type: "roleAssignment", Fields: obj("employee", "emp-mgr-1", "role", "service.manager")})
	said, _ = w.trial("emp-ada-1", give)
	person, dev = of(said, "emp-mgr-1", p.id)
	if total(person.Arrives) == 0 || total(dev.Arrives) != 0 {
		t.Errorf("given back: person %+v, device %+v", person, dev)
	}
}

// TestTrialSeveral: the commands of a trial stand on each other, also where
// the last takes back what the first gave.
func TestTrialSeveral(t *testing.T) {
	w := field(t)
	p := w.signIn("emp-eng-2", "i1")
	p.sync()
	give := write("emp-ada-1", command.Write{Op: "create", Type: "roleAssignment", ID: "", Fields: obj("employee", "emp-eng-2", "role", "service.guest")})
	deny := write("emp-ada-1", command.Write{Op: "create", Type: "individualPermission", Fields: obj("employee", "emp-eng-2", "effect", "denial", "verb", "view", "entityType", "job")})
	one, _ := w.trial("emp-ada-1", give)
	both, _ := w.trial("emp-ada-1", give, deny)
	job := w.cat.Type("job").No
	_, a := of(one, "emp-eng-2", p.id)
	_, b := of(both, "emp-eng-2", p.id)
	if a.Arrives[job] != 2 || b.Arrives[job] != 0 {
		t.Errorf("jobs: %d arrive, then %d", a.Arrives[job], b.Arrives[job])
	}
	if !slices.Contains(slices.Collect(maps.Keys(b.Arrives)), w.cat.Type("invoice").No) && total(b.Arrives) != total(a.Arrives)-2 {
		t.Errorf("%v, %v", a.Arrives, b.Arrives)
	}
	// Refused ones leave nothing.
	last := write("emp-ada-1", command.Write{Op: "action", Type: "employee", ID: "emp-ada-1", Action: "disable"})
	if _, err := w.trial("emp-ada-1", last); !fault.Is(err, fault.LastAdministrator) {
		t.Errorf("%v", err)
	}
}

// TestTrialHides: what the asker may not know of is in no count and no list.
func TestTrialHides(t *testing.T) {
	w := field(t)
	w.load(person("emp-bob-1", "level.customer-administrator")...)
	w.load(row("clientVisibility", "vis-bob-1", "employee", "emp-bob-1", "mode", "all-but"), row("visibilityRule", "rule-bob-1", "visibility", "vis-bob-1", "client", "client-two"),
		row("employee", "emp-sta-1", "name", "Sta", "email", "sta@example.com", "kind", "client-staff", "client", "client-two", "status", "Active"),
		row("roleAssignment", "ra-sta-1", "employee", "emp-sta-1", "role", "level.basic"))
	give := func(who string) *command.Command {
		return write("", command.Write{Op: "create", Type: "roleAssignment", Fields: obj("employee", who, "role", "service.guest")})
	}
	job := w.cat.Type("job").No
	for asker, want := range map[ident.RecordID]int{"": 2, "emp-ada-1": 2, "emp-bob-1": 1} {
		said, err := w.trial(asker, give("emp-eng-2"))
		person, _ := of(said, "emp-eng-2", "")
		if err != nil || person.Arrives[job] != want {
			t.Errorf("%q: %v, %d jobs, want %d", asker, err, person.Arrives[job], want)
		}
		said, _ = w.trial(asker, give("emp-sta-1"))
		if person, _ := of(said, "emp-sta-1", ""); (person.ID == "") != (asker == "emp-bob-1") {
			t.Errorf("%q is told of staff: %+v", asker, person)
		}
	}
	// Not even by a change that would unhide it.
	said, err := w.trial("emp-bob-1", write("", command.Write{Op: "delete", Type: "clientVisibility", ID: "vis-bob-1"}))
	if person, _ := of(said, "emp-bob-1", ""); err != nil || person.Arrives[job] != 0 {
		t.Errorf("%v, %+v", err, person)
	}
	said, err = w.trial("emp-bob-1", write("", command.Write{Op: "delete", Type: "visibilityRule", ID: "rule-bob-1"}))
	if person, _ := of(said, "emp-bob-1", ""); err != nil || person.Arrives[job] != 0 {
		t.Errorf("%v, %+v", err, person)
	}
}

// BenchmarkTrial tries a change of a role that a hundred people hold, each with
// 300 activities of their own among 30,000, on field devices and on office ones.
func BenchmarkTrial(b *testing.B) {
	for _, profile := range []string{"office", "field"} {
		b.Run(profile, func(b *testing.B) {
			w := field(b)
			w.load(command.Row{Type: "organizationalRole", ID: "role-desk-1", Fields: values("name", "Desk", "baseRoles", `["service.engineer"]`)})
			var rs []command.Row
			add := func(r ...command.Row) {
				if rs = append(rs, r...); len(rs) > 500 {
					w.load(rs...)
					rs = nil
				}
			}
			const people, each = 100, 300
			for c := range 300 {
				client := fmt.Sprintf("client-%05d", c)
				add(row("client", ident.RecordID(client), "name", client, "salesArea", "area-north"),
					row("site", ident.RecordID("site-"+client), "client", client, "name", "Yard"))
			}
			for p := range people {
				id := fmt.Sprintf("emp-%05d", p)
				add(person(ident.RecordID(id), "role-desk-1", "mobile.service-agent-user")...)
			}
			add(rs...)
			w.load(rs...)
			rs = nil
			for j := range people * each / 3 {
				job, client := fmt.Sprintf("job-%06d", j), fmt.Sprintf("client-%05d", j%300)
				add(row("job", ident.RecordID(job), "client", client, "title", "Boiler", "site", "site-"+client))
				for k := range 3 {
					add(row("jobActivity", ident.RecordID(fmt.Sprintf("act-%06d-%d", j, k)), "job", job, "title", "Visit", "assignee", fmt.Sprintf("emp-%05d", (j*3+k)%people)))
				}
			}
			w.load(rs...)
			for p := range people {
				ph := w.signIn(ident.RecordID(fmt.Sprintf("emp-%05d", p)), "i")
				ph.page(w.do(ph.pulling(command.Pull{Profile: profile})))
				ph.pull()
			}
			all, err := suite.Load()
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				snap, err := w.eng.Snapshot()
				if err != nil {
					b.Fatal(err)
				}
				tr := apply.NewTrial(apply.Config{Cat: w.cat, Roles: all.Roles, Field: all.Field}, snap, w.now)
				if r := tr.Do(write("emp-ada-1", command.Write{Op: "patch", Type: "organizationalRole", ID: "role-desk-1", Fields: values("cutFields", `["jobActivity.note","client.name"]`)})); r.Err != nil {
					b.Fatal(r.Err)
				}
				if got, err := tr.Compare("emp-ada-1"); err != nil || len(got) < people {
					b.Fatalf("%v, %d people", err, len(got))
				}
				snap.Close()
			}
		})
	}
}
