package rest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/internal/testworld"
	"satchel/server/rest"
	"satchel/server/session/token"
	"satchel/sync/apply"
	"satchel/sync/tenant"
	"satchel/sync/wire"
)

const whatIf = "/v1/admin/what-if"

type counted struct {
	Total int
	Types map[string]int
}

type whatIfEffect struct {
	Device, Employee struct{ ID, Name string }
	Arrives, Leaves  counted
	Changed, Devices int
}

type whatIfAnswer struct {
	Accepted bool
	Refusal  *struct {
		Index                int
		Code, Field, Message string
	}
	Total           struct{ People, Devices int }
	People, Devices []json.RawMessage
	Next            string
}

func (a *whatIfAnswer) person(t *testing.T, id ident.RecordID) (e whatIfEffect) {
	t.Helper()
	for _, raw := range a.People {
		if err := json.Unmarshal(raw, &e); err != nil {
			t.Fatal(err)
		}
		if e.Employee.ID == string(id) {
			return e
		}
	}
	return whatIfEffect{}
}

// phone is an office device that pulls.
type phone struct {
	t      *testing.T
	w      *world
	who    ident.RecordID
	claims token.Claims
	device ident.DeviceID
	cp     string
}

// syncing signs a person in on a device of their own.
func syncing(t *testing.T, w *world, who ident.RecordID) *phone {
	t.Helper()
	claims, err := w.Signer.Verify(w.DeviceToken(who, "phone"), ident.MillisOf(w.Clock()))
	if err != nil {
		t.Fatal(err)
	}
	return &phone{t: t, w: w, who: who, claims: claims, device: claims.Device}
}

// pull takes the next page, which acknowledges the one before.
func (p *phone) pull() (out wire.Page) {
	p.t.Helper()
	page, err := p.w.World.Tenant.Pull(context.Background(), &command.Command{
		Actor: p.who, Session: p.claims.Session, Device: p.device, Pull: &command.Pull{Checkpoint: p.cp},
	}, apply.ToldSmall)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := json.Unmarshal(page.JSON, &out); err != nil {
		p.t.Fatal(err)
	}
	p.cp = out.Checkpoint
	return out
}

type deviceEffect struct {
	Device, Employee struct{ ID, Name string }
	Arrives, Leaves  counted
	Changed          int
}

func (a *whatIfAnswer) device(t *testing.T, id ident.DeviceID) (e deviceEffect) {
	t.Helper()
	for _, raw := range a.Devices {
		if err := json.Unmarshal(raw, &e); err != nil {
			t.Fatal(err)
		}
		if e.Device.ID == string(id) {
			return e
		}
	}
	return deviceEffect{}
}

// ask asks what a change would lead to, and checks that asking did nothing.
func ask(t *testing.T, w *world, who ident.RecordID, change string) *whatIfAnswer {
	t.Helper()
	w.Token(who)
	before := applied(t, w)
	res := w.HTTP(who, "POST", whatIf, `{"change":`+change+`}`).Want(t, 200, "")
	var a whatIfAnswer
	if err := json.Unmarshal(res.Body, &a); err != nil {
		t.Fatal(err)
	}
	if applied(t, w) != before {
		t.Error("asking made an entry")
	}
	return &a
}

func applied(t *testing.T, w *world) (p ident.Position) {
	t.Helper()
	if err := w.World.Tenant.Read(func(v *tenant.View) error {
		p = v.Position()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestWhatIf: what is foretold is what comes.
func TestWhatIf(t *testing.T) {
	w := newWorld(t)
	p := syncing(t, w, testworld.Guest)
	p.pull()
	p.pull()
	change := `{"op":"create","type":"individualPermission","fields":{"employee":"emp-guest","effect":"denial","verb":"view","entityType":"job"}}`
	a := ask(t, w, testworld.Admin, change)
	person, device := a.person(t, testworld.Guest), a.device(t, p.device)
	if !a.Accepted || person.Leaves.Types["job"] != 4 || device.Leaves.Types["job"] != 4 || device.Arrives.Types["job"] != 0 || device.Employee.Name != "guest" || person.Devices != 1 {
		t.Errorf("accepted %v, person %+v, device %+v", a.Accepted, person, device)
	}
	if a.Total.People != len(a.People) || a.Total.Devices != len(a.Devices) || a.Next != "" {
		t.Errorf("%+v", a.Total)
	}
	w.HTTP(testworld.Admin, "POST", "/v1/admin/individual-permissions",
		testworld.Object("employee", testworld.Guest, "effect", "denial", "verb", "view", "entityType", "job")).Want(t, 201, "")
	got := p.pull()
	removed := 0
	for _, r := range got.Removed {
		if r.Type == "job" {
			removed++
		}
	}
	if removed != 4 || len(got.Removed) != device.Leaves.Total {
		t.Errorf("%d jobs of %d records are removed, %d were foretold", removed, len(got.Removed), device.Leaves.Total)
	}
}

// TestWhatIfRefused: the change gets the refusal that it would get, and the
// place in the list; nothing is counted.
func TestWhatIfRefused(t *testing.T) {
	w := newWorld(t)
	give := `{"op":"create","type":"roleAssignment","fields":{"employee":"emp-basic","role":"service.guest"}}`
	for _, c := range []struct {
		change string
		index  int
		code   string
	}{
		{`{"op":"action","type":"employee","id":"emp-admin","action":"disable"}`, 0, "last_administrator"},
		{`[` + give + `,{"op":"delete","type":"roleAssignment","id":"never-was-1"}]`, 1, "not_found"},
		{`[` + give + `,` + strings.Replace(give, "service.guest", "stock.guest", 1) + `,{"op":"create","type":"roleAssignment","fields":{"employee":"emp-basic","role":"no.such"}}]`, 2, "bad_value"},
		{`{"op":"create","type":"job","fields":{"client":"client-acme","title":"x"}}`, 0, "not_allowed"},
		{`{"op":"create","type":"nothing","fields":{}}`, 0, "bad_parameter"},
		{`{"op":"create","type":"roleAssignment","id":"my-own-role","fields":{"employee":"emp-basic","role":"service.guest"}}`, 0, "bad_id"},
		{`{"op":"patch","type":"employee","id":"emp-basic","fields":{"NAME":"x"}}`, 0, "unknown_field"},
		{`{"op":"create","type":"visibilityRule","fields":{"visibility":"$never","client":"client-acme"}}`, 0, "bad_value"},
	} {
		a := ask(t, w, testworld.Admin, c.change)
		if a.Accepted || a.Refusal == nil || a.Refusal.Index != c.index || a.Refusal.Code != c.code || a.Refusal.Message == "" || a.Total.People != 0 || len(a.People)+len(a.Devices) != 0 {
			t.Errorf("%s: %+v %+v", c.change, a, a.Refusal)
		}
	}
}

// TestWhatIfBadInput: what is no question is refused as such.
func TestWhatIfBadInput(t *testing.T) {
	w := newWorld(t)
	one := `{"op":"delete","type":"roleAssignment","id":"role-basic-1"}`
	for _, c := range []struct {
		body   any
		status int
		code   string
	}{
		{nil, 400, "malformed_json"},
		{`{}`, 422, "missing_field"},
		{`[]`, 422, "bad_value"},
		{`{"change":[]}`, 422, "bad_value"},
		{`{"change":null}`, 422, "bad_value"},
		{`{"change":7}`, 422, "bad_value"},
		{`{"change":{"op":"delete","type":"roleAssignment","id":"role-basic-1"},"more":1}`, 400, "unknown_field"},
		{`{"change":{"op":"drop","type":"roleAssignment"}}`, 422, "bad_value"},
		{`{"change":{"op":"delete","Type":"roleAssignment"}}`, 400, "unknown_field"},
		{`{"change":{"op":"delete","type":"roleAssignment","as":"x"}}`, 422, "bad_value"},
		{`{"change":{"op":"create","type":"roleAssignment","as":"no name"}}`, 422, "bad_value"},
		{`{"change":[` + strings.TrimSuffix(strings.Repeat(one+",", 51), ",") + `]}`, 422, "bad_value"},
		{`{"change":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, 400, "too_deep"},
	} {
		w.HTTP(testworld.Admin, "POST", whatIf, c.body).Want(t, c.status, c.code)
	}
	w.HTTP(testworld.Admin, "POST", whatIf+"?sort=x", `{"change":`+one+`}`).Want(t, 400, "bad_parameter")
	w.HTTP(testworld.Admin, "POST", whatIf+"?cursor=x", `{"change":`+one+`}`).Want(t, 400, "bad_parameter")
	for _, who := range testworld.People() {
		if who != testworld.Admin {
			w.HTTP(who, "POST", whatIf, `{"change":`+one+`}`).Want(t, 403, "not_allowed")
		}
	}
}

// TestWhatIfNames: changes refer to what those before them would make.
func TestWhatIfNames(t *testing.T) {
	w := newWorld(t)
	p := syncing(t, w, testworld.Manager)
	p.pull()
	p.pull()
	a := ask(t, w, testworld.Admin, `[{"op":"create","type":"clientVisibility","as":"v","fields":{"employee":"emp-manager","mode":"all-but"}},
		{"op":"create","type":"visibilityRule","fields":{"visibility":"$v","client":"client-blue"}},
		{"op":"patch","type":"clientVisibility","id":"$v","fields":{"mode":"only"}}]`)
	d := a.device(t, p.device)
	if !a.Accepted || d.Leaves.Types["client"] != 3 {
		t.Errorf("%+v %+v %+v", a.Accepted, a.Refusal, d)
	}
}

// TestWhatIfPages: pages are of people, with the totals on each.
func TestWhatIfPages(t *testing.T) {
	w := newWorld(t)
	change := `{"op":"patch","type":"organizationalRole","id":"orgrole-1","fields":{"baseRoles":["stock.guest"]}}`
	for _, p := range []ident.RecordID{testworld.Nobody, testworld.Basic, testworld.DebtOps} {
		w.Give(p, "orgrole-1")
	}
	all := ask(t, w, testworld.Admin, change)
	if all.Total.People < 3 {
		t.Fatalf("%+v", all.Total)
	}
	var got []string
	cursor := ""
	for range all.Total.People + 1 {
		res := w.HTTP(testworld.Admin, "POST", whatIf+"?limit=1&cursor="+cursor, `{"change":`+change+`}`).Want(t, 200, "")
		var a whatIfAnswer
		if err := json.Unmarshal(res.Body, &a); err != nil || a.Total != all.Total || len(a.People) != 1 {
			t.Fatalf("%v %s", err, res.Body)
		}
		got = append(got, string(a.People[0]))
		if cursor = a.Next; cursor == "" {
			break
		}
	}
	if len(got) != len(all.People) {
		t.Fatalf("%d people on pages, %d at once", len(got), len(all.People))
	}
	for i := range got {
		if got[i] != string(all.People[i]) {
			t.Errorf("page %d: %s, at once %s", i, got[i], all.People[i])
		}
	}
	// A cursor is of one question.
	res := w.HTTP(testworld.Admin, "POST", whatIf+"?limit=1", `{"change":`+change+`}`)
	next := res.Object(t)["next"].(string)
	w.HTTP(testworld.Admin, "POST", whatIf+"?limit=1&cursor="+next, `{"change":{"op":"delete","type":"organizationalRole","id":"orgrole-1"}}`).Want(t, 400, "bad_parameter")
}

// TestWhatIfHides: to an administrator from whom a client is hidden the answer
// is the same with its records and without them.
func TestWhatIfHides(t *testing.T) {
	answer := func(with bool) []byte {
		w := newWorld(t)
		w.Person("emp-second", "level.customer-administrator")
		w.Hide("emp-second", testworld.Blue)
		if with {
			w.Import(testworld.Row("job", "job-blue-9", "client", testworld.Blue, "title", "Nine"),
				testworld.Row("employee", "emp-blue-staff", "name", "Bea", "email", "bea@example.com", "kind", "client-staff", "client", testworld.Blue, "status", "Active"),
				testworld.Row("roleAssignment", "role-blue-staff", "employee", "emp-blue-staff", "role", "orgrole-1"))
		}
		w.Give(testworld.Nobody, "orgrole-1")
		return w.HTTP("emp-second", "POST", whatIf, `{"change":{"op":"patch","type":"organizationalRole","id":"orgrole-1","fields":{"baseRoles":["stock.guest"]}}}`).Want(t, 200, "").Body
	}
	a, b := answer(false), answer(true)
	if !bytes.Equal(a, b) || !bytes.Contains(a, []byte("emp-nobody")) {
		t.Errorf("%s\n%s", a, b)
	}
}

// TestWhatIfOperator: the operator is bound by no right, or asks as somebody.
func TestWhatIfOperator(t *testing.T) {
	w := newWorld(t)
	body := []byte(`{"change":{"op":"delete","type":"roleAssignment","id":"role-manager-1"}}`)
	a, err := rest.WhatIf(w.World.Tenant, "", body)
	if err != nil || !a.Accepted || a.Total.People == 0 || a.Next != "" {
		t.Errorf("%v %+v", err, a)
	}
	a, err = rest.WhatIf(w.World.Tenant, testworld.Guest, body)
	if err != nil || a.Accepted || a.Refusal.Code != "not_found" {
		t.Errorf("%v %+v", err, a)
	}
	if _, err = rest.WhatIf(w.World.Tenant, "", []byte(`{"change":`)); err == nil {
		t.Error("half a question was taken")
	}
}
