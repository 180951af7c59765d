package rest_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"satchel/internal/ident"
	. "satchel/internal/testworld"
	"satchel/sync/apply"
)

const persons = "/v1/admin/persons/"

// unzipped reads an export: its entries, and all of their words together.
func unzipped(t *testing.T, res *Response) (files map[string]string, all string) {
	t.Helper()
	files = Unzip(t, res.Body)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		all += name + "\n" + files[name] + "\n"
	}
	return files, all
}

// TestPersonsAreForThoseWhoSeeAll: what is held of a person, and erasing it, is
// for customer administrators from whom nothing is hidden; to others it is one
// answer, whoever is named.
func TestPersonsAreForThoseWhoSeeAll(t *testing.T) {
	w := newWorld(t)
	half, _ := halfBlind(w)
	for _, who := range append(People(), half) {
		if who == Admin {
			continue
		}
		for _, id := range []ident.RecordID{Engineer, "contact-acme", "never-was-1"} {
			for _, r := range []struct{ method, path string }{{"GET", "/export"}, {"GET", "/erasure"}, {"POST", ":erase"}} {
				w.HTTP(who, r.method, persons+string(id)+r.path, nil).Want(t, 403, "not_allowed")
			}
		}
	}
	for _, id := range []ident.RecordID{"never-was-1", "job-acme-1"} {
		w.HTTP(Admin, "GET", persons+string(id)+"/export", nil).Want(t, 404, "not_found")
		w.HTTP(Admin, "GET", persons+string(id)+"/erasure", nil).Want(t, 404, "not_found")
		w.HTTP(Admin, "POST", persons+string(id)+":erase", nil).Want(t, 404, "not_found")
	}
	w.HTTP(Admin, "GET", persons+string(Engineer)+"/erasure?x=1", nil).Want(t, 400, "bad_parameter")
	w.HTTP(Admin, "POST", persons+string(Engineer)+":erase?dryRun=true", nil).Want(t, 400, "bad_parameter")
	w.HTTP(Admin, "POST", persons+string(Engineer)+":erase", Object("dryRun", true)).Want(t, 400, "unknown_field")
	if res := w.HTTP(Admin, "GET", persons+string(Engineer)+"/erasure", nil).Want(t, 200, ""); bytes.Contains(res.Body, []byte(`"done":true`)) {
		t.Error("a refused request did it")
	}
}

func TestErasePerson(t *testing.T) {
	w := newWorld(t)
	c := newContract(t, w)
	w.Device(Engineer, "inst-1")
	path := persons + string(Engineer)
	plan := w.HTTP(Admin, "GET", path+"/erasure", nil).Want(t, 200, "")
	c.judge("GET", persons+"{id}/erasure", plan)
	res := w.HTTP(Admin, "POST", path+":erase", nil).Want(t, 200, "")
	c.judge("POST", persons+"{id}:erase", res)
	var said, done apply.Erasure
	for _, x := range []struct {
		from []byte
		to   *apply.Erasure
	}{{plan.Body, &said}, {res.Body, &done}} {
		if err := json.Unmarshal(x.from, x.to); err != nil {
			t.Fatal(err)
		}
	}
	if said.Done || !done.Done || done.Counts[apply.GoneDevices] != 1 || done.Counts[apply.GoneAuditRows] != said.Counts[apply.GoneAuditRows] || done.Records["roleAssignment"] != 2 {
		t.Errorf("announced %s, done %s", plan.Body, res.Body)
	}
	if again := w.HTTP(Admin, "POST", path+":erase", Object()).Want(t, 200, ""); !bytes.Equal(again.Body, res.Body) {
		t.Errorf("again: %s", again.Body)
	}
	if got := w.HTTP(Admin, "GET", path+"/erasure", nil).Want(t, 200, ""); !bytes.Equal(got.Body, res.Body) {
		t.Errorf("asked again: %s", got.Body)
	}
	if emp := w.HTTP(Admin, "GET", employees+"/"+string(Engineer), nil).Want(t, 200, ""); !bytes.Contains(emp.Body, []byte(`"name":"Former employee"`)) {
		t.Errorf("%s", emp.Body)
	}
	if rows := w.HTTP(Admin, "GET", "/v1/admin/audit?op=erasure&limit=200", nil).Want(t, 200, ""); !bytes.Contains(rows.Body, []byte(done.Summary())) {
		t.Errorf("the trail: %.400s", rows.Body)
	}
	w.HTTP(Admin, "POST", persons+string(Admin)+":erase", nil).Want(t, 409, "last_administrator")
	w.HTTP(Admin, "POST", persons+string(Acme)+":erase", nil).Want(t, 409, "wrong_status")
}

func TestExportPerson(t *testing.T) {
	w := newWorld(t)
	w.Device(Engineer, "inst-of-engineer")
	w.HTTP(Engineer, "PATCH", "/v1/service/job-activities/act-acme-1", Object("note", "by the engineer")).Want(t, 200, "")
	res := w.HTTP(Admin, "GET", persons+string(Engineer)+"/export", nil).Want(t, 200, "")
	if ct := res.Header.Get("Content-Type"); ct != "application/zip" {
		t.Error(ct)
	}
	files, all := unzipped(t, res)
	for _, name := range []string{"person.json", "authored.jsonl", "trail.jsonl", "offline.jsonl"} {
		if _, ok := files[name]; !ok {
			t.Errorf("no %s", name)
		}
	}
	for _, word := range []string{"agent-engineer", "inst-of-engineer", `"password": true`, "roleAssignment", "act-acme-1", "signIn"} {
		if !strings.Contains(all, word) {
			t.Errorf("it lacks %s", word)
		}
	}
	for _, secret := range []string{"hash of ", "argon2", "pushToken", "digest"} {
		if strings.Contains(all, secret) {
			t.Errorf("it has %s", secret)
		}
	}
	unzipped(t, w.HTTP(Admin, "GET", persons+"emp-nobody/export", nil).Want(t, 200, ""))
}

// TestExportMe: everybody gets what is held of them, and no word of what is
// hidden from them by now.
func TestExportMe(t *testing.T) {
	w := newWorld(t)
	for _, who := range People() {
		files, _ := unzipped(t, w.HTTP(who, "GET", "/v1/me/export", nil).Want(t, 200, ""))
		if !strings.Contains(files["person.json"], string(who)) {
			t.Errorf("%s is not in their own export", who)
		}
	}
	w.HTTP(Engineer, "GET", "/v1/me/export?person="+string(Manager), nil).Want(t, 400, "bad_parameter")
	const who = ident.RecordID("emp-sees-blue")
	w.Person(who, "service.manager")
	w.HTTP(who, "PATCH", "/v1/service/jobs/job-blue-1", Object("description", "written about it")).Want(t, 200, "")
	w.HTTP(who, "POST", "/v1/service/comments", Object("parent", "job-blue-1", "text", "said about it")).Want(t, 201, "")
	if _, all := unzipped(t, w.HTTP(who, "GET", "/v1/me/export", nil)); !strings.Contains(all, "job-blue-1") || !strings.Contains(all, "written about it") {
		t.Fatal("nothing to be hidden")
	}
	w.Hide(who, Blue)
	if _, all := unzipped(t, w.HTTP(who, "GET", "/v1/me/export", nil)); strings.Contains(all, "blue-1") || strings.Contains(all, "about it") || strings.Contains(all, string(Blue)) {
		t.Errorf("it tells of what is hidden:\n%s", all)
	}
}

// TestExportTellsNoTimes: an export bears the time at which it was made, not that
// of what somebody last did in the tenant.
func TestExportTellsNoTimes(t *testing.T) {
	w := newWorld(t)
	w.Token(Engineer)
	w.Advance(time.Minute)
	files, _ := unzipped(t, w.HTTP(Engineer, "GET", "/v1/me/export", nil).Want(t, 200, ""))
	var head struct{ Exported string }
	if err := json.Unmarshal([]byte(files["person.json"]), &head); err != nil {
		t.Fatal(err)
	}
	if want := ident.MillisOf(w.Clock()).RFC3339(); head.Exported != want {
		t.Errorf("exported %s, at %s", head.Exported, want)
	}
}

// TestEraseContactOverHTTP: a customer administrator erases somebody at a client
// whom no role of theirs lets them edit.
func TestEraseContactOverHTTP(t *testing.T) {
	w := newWorld(t)
	w.HTTP(Admin, "PATCH", "/v1/crm/contacts/contact-acme", Object("name", "x")).Want(t, 403, "not_allowed")
	w.HTTP(Admin, "POST", persons+"contact-acme:erase", nil).Want(t, 200, "")
	if res := w.HTTP(Admin, "GET", "/v1/crm/contacts/contact-acme", nil); res.Status == 200 && !bytes.Contains(res.Body, []byte("Former contact")) {
		t.Errorf("%d %s", res.Status, res.Body)
	}
}
