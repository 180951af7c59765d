package rest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/internal/testworld"
	"satchel/server/rest"
	"satchel/sync/state"
	"satchel/sync/tenant"
)

// sights is what each person sees of each record that is asked for, by the
// point decision: the lists are computed by sets, so that the two readings
// check each other.
func sights(t *testing.T, w *world, who ident.RecordID) map[string]map[ident.RecordID]policy.Sight {
	t.Helper()
	out := map[string]map[ident.RecordID]policy.Sight{}
	if err := w.World.Tenant.Read(func(v *tenant.View) error {
		sub := v.Subject(who)
		for _, typ := range w.Cat.Types {
			out[typ.Name] = map[ident.RecordID]policy.Sight{}
			for o := range v.Index(state.TypeKey(typ.No)).All() {
				rec, _ := v.LoadOrd(o)
				out[typ.Name][rec.ID] = sub.Sees(rec, v.Reader)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// through reports whether a person works with records of the type by way of the
// app.
func (w *world) through(t *testing.T, who ident.RecordID, typ *entity.Type, app entity.App) (yes bool) {
	t.Helper()
	if err := w.Tenant.Read(func(v *tenant.View) error {
		yes = v.Subject(who).Through(typ, app)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return yes
}

// sparse is n in a short run, as the one of the race detector, else 1: of what is
// alike and made by going through all there is, routes by people by records, one
// in so many is enough to see what runs at the same time.
func sparse(n int) int {
	if testing.Short() {
		return n
	}
	return 1
}

// TestForeignRecords asks every route that names a record for records that the
// person does not see, for one of another type and for one that never was: the
// answers must be the same, byte for byte, and change nothing.
func TestForeignRecords(t *testing.T) {
	w := newWorld(t)
	asked := 0
	for n, who := range testworld.People() {
		seen := sights(t, w, who)
		for i, r := range w.rest.Routes() {
			// Under a second name of the collection a few people will do.
			if !strings.Contains(r.Path, "{id}") || r.Type == nil || (r.Same != "" && (i+n)%8 != 0) || (i+n)%sparse(60) != 0 {
				continue
			}
			ask := func(id ident.RecordID) *testworld.Response {
				var body any
				if r.Method != "GET" && r.Method != "DELETE" {
					body = "{}"
				}
				asked++
				res := w.HTTP(who, r.Method, strings.Replace(r.Path, "{id}", string(id), 1), body)
				res.Header.Del("Date")
				return res
			}
			never := ask("never-was-1")
			// Through an app that is not theirs nobody gets anywhere, whatever id
			// they name.
			elsewhere := !w.through(t, who, r.Type, r.App)
			if elsewhere != (never.Code() == "not_allowed") || (!elsewhere && (never.Status != 404 || never.Code() != "not_found")) {
				t.Errorf("%s %s: absent is %d %s", r.Method, r.Path, never.Status, never.Body)
				continue
			}
			foreign := []ident.RecordID{"carrier-one"}
			if r.Type.Name == "carrier" {
				foreign[0] = "supplier-one"
			}
			hidden := 0
			for id, s := range seen[r.Type.Name] {
				if s.Mask == 0 && hidden < 2 {
					foreign = append(foreign, id)
					hidden++
				}
			}
			for _, id := range foreign {
				if got := ask(id); got.Status != never.Status || !bytes.Equal(got.Body, never.Body) || fmt.Sprint(got.Header) != fmt.Sprint(never.Header) {
					t.Errorf("%s: %s %s %s: %d %s %v, absent: %d %s %v", who, r.Method, r.Path, id, got.Status, got.Body, got.Header, never.Status, never.Body, never.Header)
				}
			}
		}
	}
	t.Logf("%d requests", asked)
}

// TestListsShowWhatIsSeen reads every list and record as every person and
// holds it against the point decision: no record and no field more or less.
func TestListsShowWhatIsSeen(t *testing.T) {
	w := newWorld(t)
	own := []string{"id", "rev", "updatedAt", "updatedBy", "context"}
	fields := func(who ident.RecordID, typ *entity.Type, raw json.RawMessage, s policy.Sight) {
		var o map[string]json.RawMessage
		if err := json.Unmarshal(raw, &o); err != nil {
			t.Fatal(err)
		}
		for name := range o {
			if f := typ.Field(name); !slices.Contains(own, name) && (f == nil || !s.Mask.Has(f.No)) {
				t.Errorf("%s is shown %s of %s", who, name, raw)
			}
		}
		if _, marked := o["context"]; marked != s.Context {
			t.Errorf("%s: context is marked %v: %s", who, marked, raw)
		}
	}
	for n, who := range testworld.People() {
		seen := sights(t, w, who)
		for i, r := range w.rest.Routes() {
			if r.Same != "" || (r.Kind != rest.List && r.Kind != rest.Get) || (i+n)%sparse(12) != 0 {
				continue
			}
			if !w.through(t, who, r.Type, r.App) {
				w.HTTP(who, "GET", strings.Replace(r.Path, "{id}", "never-was-1", 1), nil).Want(t, 403, "not_allowed")
				continue
			}
			switch r.Kind {
			case rest.List:
				res := w.HTTP(who, "GET", r.Path+"?limit=200&archived=true", nil)
				var page struct {
					Items []json.RawMessage `json:"items"`
				}
				if res.Status == 200 {
					if err := json.Unmarshal(res.Body, &page); err != nil {
						t.Fatal(err)
					}
				} else if res.Code() != "not_allowed" {
					t.Fatalf("%s: %s: %d %s", who, r.Path, res.Status, res.Body)
				}
				listed := map[ident.RecordID]bool{}
				for _, raw := range page.Items {
					var it struct{ ID ident.RecordID }
					_ = json.Unmarshal(raw, &it)
					s := seen[r.Type.Name][it.ID]
					if s.Mask == 0 || s.Context || listed[it.ID] {
						t.Errorf("%s: %s lists %s", who, r.Path, it.ID)
					}
					listed[it.ID] = true
					fields(who, r.Type, raw, s)
				}
				for id, s := range seen[r.Type.Name] {
					if s.Mask != 0 && !s.Context && !listed[id] {
						t.Errorf("%s: %s lacks %s", who, r.Path, id)
					}
				}
			case rest.Get:
				for id, s := range seen[r.Type.Name] {
					res := w.HTTP(who, "GET", strings.Replace(r.Path, "{id}", string(id), 1), nil)
					if (res.Status == 200) != (s.Mask != 0) || (res.Status != 200 && res.Status != 404) {
						t.Errorf("%s: %s: %d", who, id, res.Status)
					}
					if res.Status == 200 {
						fields(who, r.Type, res.Body, s)
					}
				}
			}
		}
	}
}

// TestRoutes: each mounted route is listed, each listed one is mounted, and
// none but the documents answers without a token.
func TestRoutes(t *testing.T) {
	w := newWorld(t)
	listed := map[string]bool{}
	for _, r := range w.rest.Routes() {
		key := r.Method + " " + r.Path
		if listed[key] {
			t.Errorf("%s stands twice", key)
		}
		listed[key] = true
		path := strings.Replace(r.Path, "{id}", "job-acme-1", 1)
		res := w.Send("", r.Method, path, nil)
		if want := map[bool]int{true: 200, false: 401}[r.Kind == rest.Document]; res.Status != want {
			t.Errorf("%s without a token: %d", key, res.Status)
		}
		if res.Header.Get("X-Content-Type-Options") != "nosniff" || res.Header.Get("Content-Security-Policy") == "" {
			t.Errorf("%s: headers %v", key, res.Header)
		}
	}
	for _, r := range w.App.GetRoutes(true) {
		path := strings.ReplaceAll(strings.ReplaceAll(r.Path, ":id", "{id}"), `\:`, ":")
		if key := r.Method + " " + path; r.Method != "HEAD" && !listed[key] {
			t.Errorf("%s is mounted and not listed", key)
		}
	}
	for _, path := range []string{"/v1/nowhere/jobs", "/v1/service/nothings", "/v1/service/Jobs", "/v1/service/jobs/", "/v1/service/tickets", "/v1/service", "/v1"} {
		w.HTTP(testworld.Admin, "GET", path, nil).Want(t, 404, "not_found")
	}
	w.HTTP(testworld.Admin, "PUT", "/v1/service/jobs", "{}").Want(t, 405, "method_not_allowed")
	w.HTTP(testworld.Admin, "POST", "/v1/service/jobs/job-acme-1", "{}").Want(t, 405, "method_not_allowed")
}

// TestHead: HEAD answers everywhere as GET does, with no content and the length
// of the one that is left out.
func TestHead(t *testing.T) {
	w := newWorld(t)
	some, refused := 0, 0
	for i, r := range w.rest.Routes() {
		if r.Method != "GET" || i%sparse(8) != 0 {
			continue
		}
		path := strings.Replace(r.Path, "{id}", "job-acme-1", 1)
		for _, who := range []ident.RecordID{testworld.Admin, testworld.Guest, ""} {
			get, head := w.HTTP(who, "GET", path, nil), w.HTTP(who, "HEAD", path, nil)
			if head.Status != get.Status || len(head.Body) > 0 {
				t.Errorf("%q HEAD %s: %d %q, GET %d", who, path, head.Status, head.Body, get.Status)
			}
			if length := head.Header.Get("Content-Length"); length != strconv.Itoa(len(get.Body)) {
				t.Errorf("%q HEAD %s: a length of %q, of GET %d", who, path, length, len(get.Body))
			}
			get.Header.Del("Date")
			head.Header.Del("Date")
			if !maps.EqualFunc(head.Header, get.Header, slices.Equal) {
				t.Errorf("%q HEAD %s: %v, GET %v", who, path, head.Header, get.Header)
			}
			if get.Status == 200 {
				some++
			} else {
				refused++
			}
		}
	}
	if least := 100 / sparse(20); some < least || refused < least {
		t.Errorf("%d answers, %d refusals", some, refused)
	}
	w.HTTP(testworld.Admin, "HEAD", "/v1/service/nothings", nil).Want(t, 404, "")
	if res := w.HTTP(testworld.Admin, "HEAD", "/v1/admin/what-if", nil); res.Status != 405 {
		t.Errorf("where there is no GET: %d", res.Status)
	}
}

// TestBulkTellsNothing: hidden and absent ids have one answer.
func TestBulkTellsNothing(t *testing.T) {
	w := newWorld(t)
	res := w.HTTP(testworld.Guest, "POST", "/v1/me/notifications:read", testworld.Object("ids", []string{"note-guest", "note-basic", "never-was-1", "job-acme-1"})).Want(t, 200, "")
	var got struct {
		Results []struct{ ID, Status, Code, Message string }
	}
	if err := json.Unmarshal(res.Body, &got); err != nil || len(got.Results) != 4 {
		t.Fatalf("%s", res.Body)
	}
	if got.Results[0].Status != "applied" {
		t.Errorf("%+v", got.Results[0])
	}
	for _, r := range got.Results[1:] {
		if r.Status != "refused" || r.Code != "not_found" || r.Message != got.Results[1].Message {
			t.Errorf("%+v", r)
		}
	}
}
