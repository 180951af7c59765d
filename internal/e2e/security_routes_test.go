package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"satchel/internal/app"
	"satchel/internal/ident"
	"satchel/server/session/limit"
)

// access says who gets an answer from a route that is not a refusal for being
// who they are.
type access uint8

const (
	forAll      access = iota // anybody
	forStranger               // anybody, with what they know in the body
	forSession                // whoever has signed in
	forDevice                 // whoever has signed in with a device
	forField                  // whoever has the Mobile module
	forAdmin                  // customer administrators
	byPolicy                  // judged record by record
	forSocket                 // speaks WebSocket
)

// routeClasses are the routes beside the module API, each with who may. A route of the
// running server that stands neither here nor among the module API's fails
// TestEveryRouteIsKnown.
var routeClasses = map[string]access{
	"GET /healthz": forAll, "GET /readyz": forAll, "GET /openapi.json": forAll, "GET /docs": forAll,
	"GET /sync/v1/capabilities": forAll, "GET /mobile/v1/capabilities": forAll,
	"OPTIONS /files": forAll, "OPTIONS /files/": forAll, "OPTIONS /files/:id": forAll,

	"POST /v1/auth/login": forStranger, "POST /v1/auth/refresh": forStranger, "POST /v1/auth/accept": forStranger, "POST /v1/auth/reset": forStranger,
	"POST /v1/auth/second-factor": forStranger, "POST /v1/auth/oidc/token": forStranger,
	"GET /v1/auth/oidc/authorize": forStranger, "GET /v1/auth/oidc/callback/:tenant": forStranger,

	"POST /v1/auth/logout": forSession, "POST /v1/auth/password": forSession,
	"POST /v1/me/totp": forSession, "POST /v1/me/totp/confirm": forSession, "POST /v1/me/totp/disable": forSession,
	"POST /v1/me/totp/recovery-codes": forSession,
	"GET /v1/me":                      forSession, "GET /v1/explain": forSession, "GET /v1/me/refused": forSession,
	"POST /files": forSession, "POST /files/": forSession,
	"HEAD /files/:id": forSession, "PATCH /files/:id": forSession, "DELETE /files/:id": forSession, "POST /files/:id": forSession,

	"POST /v1/auth/invitations": forAdmin, "POST /v1/auth/second-factor/reset": forAdmin, "POST /v1/auth/oidc/reset": forAdmin,
	"GET /v1/admin/explain": forAdmin, "GET /v1/admin/holders": forAdmin, "GET /v1/admin/access-review": forAdmin,
	"GET /v1/admin/quarantine": forAdmin, `GET /v1/admin/quarantine\:export`: forAdmin, "GET /v1/admin/quarantine/:id": forAdmin,
	`POST /v1/admin/quarantine/:id\:replay`: forAdmin, `POST /v1/admin/quarantine/:id\:discard`: forAdmin,
	"GET /v1/admin/audit": forAdmin, "GET /v1/admin/audit/head": forAdmin, "POST /v1/admin/what-if": forAdmin,

	"GET /v1/me/export": forSession, "GET /v1/admin/persons/:id/export": forAdmin, "GET /v1/admin/persons/:id/erasure": forAdmin,
	`POST /v1/admin/persons/:id\:erase`: forAdmin,

	"POST /sync/v1/pull": forDevice, "POST /sync/v1/push": forDevice, "POST /sync/v1/verify": forDevice,
	"PUT /sync/v1/push-token": forDevice, "GET /sync/v1/rules": forDevice, "GET /sync/v1/live": forSocket,

	"GET /mobile/v1/me/day": forField, "GET /mobile/v1/me/week": forField, "GET /mobile/v1/dispatch": forField,
	"GET /mobile/v1/tickets": forField, "POST /mobile/v1/tickets": forField,
}

// mobileRecord are the mobile module's routes of one record; the policy judges
// each.
var mobileRecord = regexp.MustCompile(`^(GET|HEAD|POST) /mobile/v1/(activities|tickets)/:id(/[a-z-]+)?$`)

// moduleRoute are the module API's: every type's, in every app that has it.
var moduleRoute = regexp.MustCompile(`^(GET|HEAD|POST|PATCH|DELETE) /v1/(crm|sales|billing|service|stock|debtors|agents|helpdesk|admin|me)/[a-z-]+(\\:[a-z-]+)?(/:id(/[a-z-]+)?)?$`)

// classes returns the running server's routes with who may; unknown ones fail
// the test. HEAD answers where GET does.
func (s *server) classes() map[string]access {
	s.t.Helper()
	out := map[string]access{}
	for _, r := range s.app.Routes() {
		a, ok := routeClasses[r]
		if !ok {
			if a, ok = routeClasses[strings.Replace(r, "HEAD ", "GET ", 1)]; !ok {
				a, ok = byPolicy, moduleRoute.MatchString(r) || mobileRecord.MatchString(r)
			}
		}
		if !ok {
			s.t.Errorf("%s: nobody has said who may use it; put it into the table", r)
			continue
		}
		out[r] = a
	}
	for r := range routeClasses {
		if _, there := out[r]; !there {
			s.t.Errorf("%s stands in the table and is no route", r)
		}
	}
	return out
}

// call sends a request to a route as fiber names it, with an id in the
// parameter's place.
func (s *server) call(route, id, token string, body any) *reply {
	s.t.Helper()
	method, path, _ := strings.Cut(route, " ")
	path = strings.ReplaceAll(path, `\:`, ":")
	for _, p := range []string{":id", ":tenant"} {
		path = strings.Replace(path, "/"+p, "/"+id, 1)
	}
	return s.send(method, path, token, body)
}

// send sends any request.
func (s *server) send(method, path, token string, body any, headers ...string) *reply {
	s.t.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			s.t.Fatal(err)
		}
		r = bytes.NewReader(raw)
	}
	req, err := http.NewRequest(method, s.url+path, r)
	if err != nil {
		s.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
			continue
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := s.http.RoundTrip(req)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return &reply{res.StatusCode, res.Header, raw}
}

// bodyFor is a body that says nothing, where a method has one.
func bodyFor(route string) any {
	if strings.HasSuffix(route, "/checklist-answers") {
		return `{"checklist":"never-was-2","item":"1","answer":"yes"}`
	}
	if strings.HasPrefix(route, "POST ") || strings.HasPrefix(route, "PATCH ") || strings.HasPrefix(route, "PUT ") {
		return "{}"
	}
	return nil
}

// TestEveryRouteIsKnown walks the running server's routes: each has its class,
// and answers nobody, and those it is not for, as its class says.
func TestEveryRouteIsKnown(t *testing.T) {
	if testing.Short() {
		t.Skip("asks every route, one after the other")
	}
	s := newServer(t, func(c *app.Config) { c.Quotas = &limit.Quotas{Off: true} })
	s.Import(Row("roleAssignment", "role-plain-1", "employee", mia, "role", "service.guest"))
	classes := s.classes()
	plain, withDevice, admin := s.signIn(mia, ""), s.signIn(mia, "desk"), s.signIn(ada, "")
	ended := s.signIn(mia, "")
	ended.post("/v1/auth/logout", "").want(t, 204, "")
	asked := 0
	for _, route := range slices.Sorted(maps.Keys(classes)) {
		if route == "POST /v1/auth/logout" {
			continue // asked last of all
		}
		head := strings.HasPrefix(route, "HEAD ")
		ask := func(token string) *reply {
			asked++
			return s.call(route, "never-was-1", token, bodyFor(route))
		}
		refused := func(who, token string, status int, code string) {
			t.Helper()
			if r := ask(token); r.status != status || !head && r.code() != code {
				t.Errorf("%s: %s: %d %s, want %d %s", route, who, r.status, r.body, status, code)
			}
		}
		class := classes[route]
		switch class {
		case forAll:
			if r := ask(""); r.status < 200 || r.status > 204 {
				t.Errorf("%s: anybody: %d %s", route, r.status, r.body)
			}
			continue
		case forStranger:
			if r := ask(""); r.status >= 500 || r.status == 200 || r.status == 403 {
				t.Errorf("%s: a stranger: %d %s", route, r.status, r.body)
			}
			continue
		case forSocket:
			if head {
				continue
			}
			if r := ask(""); r.status != http.StatusUpgradeRequired {
				t.Errorf("%s: without an upgrade: %d %s", route, r.status, r.body)
			}
			refused("a bad token", "x.y.z", 401, "invalid_token")
			refused("without a device", plain.access, 403, "device_required")
			refused("a session that ended", ended.access, 403, "device_required")
			continue
		}
		refused("nobody", "", 401, "invalid_token")
		refused("a bad token", "x.y.z", 401, "invalid_token")
		if route == "POST /v1/me/totp" || strings.Contains(route, "totp/") || route == "POST /v1/auth/password" {
			continue // they end sessions or count attempts, and have tests of their own
		}
		switch class {
		case forDevice:
			refused("without a device", plain.access, 403, "device_required")
			if r := ask(withDevice.access); r.status == 401 || r.status == 403 || r.status >= 500 {
				t.Errorf("%s: a device: %d %s", route, r.status, r.body)
			}
		case forField:
			refused("without the module", plain.access, 403, "mobile_module_required")
		case forAdmin:
			if r := ask(plain.access); r.status != 403 && r.status != 404 && r.status != 400 && r.status != 422 {
				t.Errorf("%s: no administrator: %d %s", route, r.status, r.body)
			}
			if r := ask(admin.access); r.status == 401 || r.status == 403 || r.status >= 500 {
				t.Errorf("%s: an administrator: %d %s", route, r.status, r.body)
			}
		}
		if class != forDevice && !strings.Contains(route, "/files") {
			if r := ask(ended.access); r.status != 401 && r.status != 400 && r.status != 415 && r.status != 422 {
				t.Errorf("%s: a session that ended: %d %s", route, r.status, r.body)
			}
		}
	}
	if asked < 1000 {
		t.Fatalf("only %d requests", asked)
	}
	t.Logf("%d routes, %d requests", len(classes), asked)
}

// TestForeignEverywhere asks every route of the running server that takes an id
// for a record that the person must not know of, and for one that never was: the
// answers are the same, byte for byte. TestForeignRecords in server/rest does so
// for each person and record of a larger tenant.
func TestForeignEverywhere(t *testing.T) {
	if testing.Short() {
		t.Skip("asks every route, one after the other")
	}
	s := newServer(t, func(c *app.Config) { c.Quotas = &limit.Quotas{Off: true} })
	hiddenID := map[string]string{
		"clients": "client-three", "accounts": "client-three", "customers": "client-three", "jobs": "job-three-1",
		"job-activities": "act-three-1", "activities": "act-three-1", "employees": ada, "comments": "comment-three-1",
		"documents": "document-three-1", "tickets": "ticket-three-1", "invoices": "invoice-three-1", "audit": "never-either-1",
		"devices": s.signIn(ada, "the admin's").device,
	}
	s.Import(
		Row("comment", "comment-three-1", "parent", "client-three", "text", "hidden"),
		Row("document", "document-three-1", "parent", "job-three-1", "name", "hidden.pdf"),
		Row("ticket", "ticket-three-1", "client", "client-three", "subject", "hidden"),
		Row("invoice", "invoice-three-1", "client", "client-three"),
		Row("roleAssignment", "role-ron-9", "employee", ron, "role", "mobile.service-agent-user"))
	for _, p := range []ident.RecordID{mia, eve, eddie, ron} {
		s.hide(p, "client-three")
	}
	kind := regexp.MustCompile(`/([a-z-]+)(\\:[a-z-]+)?/:id`)
	asked, hidden := 0, 0
	for _, who := range []ident.RecordID{eve, ron} {
		c := s.signIn(who, "")
		for route := range s.classes() {
			m := kind.FindStringSubmatch(route)
			if m == nil || strings.HasPrefix(route, "OPTIONS ") || strings.HasPrefix(route, "HEAD /v1/") || strings.HasPrefix(route, "HEAD /mobile/") {
				continue
			}
			id := hiddenID[m[1]]
			if id == "" {
				id = "client-three" // of another type at that
			}
			if m[1] == "employees" {
				continue // colleagues are no secret
			}
			never, there := s.call(route, "never-was-1", c.access, bodyFor(route)), s.call(route, id, c.access, bodyFor(route))
			never.header.Del("Date")
			there.header.Del("Date")
			asked += 2
			if never.status == 404 {
				hidden++
			}
			if never.status < 400 || never.status >= 500 || never.status != there.status || !bytes.Equal(never.body, there.body) ||
				fmt.Sprint(never.header) != fmt.Sprint(there.header) {
				t.Errorf("%s: %s: %s: %d %s %v\nabsent: %d %s %v", who, route, id, there.status, there.body, there.header, never.status, never.body, never.header)
			}
		}
		s.foreignInBodies(t, who)
	}
	if hidden < 100 {
		t.Fatalf("only %d of %d answers were not_found", hidden, asked)
	}
	t.Logf("%d requests", asked)
}

// foreignInBodies names what a person must not know in bodies and parameters.
func (s *server) foreignInBodies(t *testing.T, who ident.RecordID) {
	t.Helper()
	same := func(what string, ask func(id string) []byte, id string) {
		t.Helper()
		never, there := ask(strings.Repeat("z", len(id))), ask(id)
		never = bytes.ReplaceAll(never, []byte(strings.Repeat("z", len(id))), []byte("ID"))
		there = bytes.ReplaceAll(there, []byte(id), []byte("ID"))
		if !bytes.Equal(never, there) {
			t.Errorf("%s: %s: %s\nabsent: %s", who, what, there, never)
		}
	}
	plain := s.signIn(who, "")
	for _, action := range []string{"view", "edit", "delete"} {
		same("explain", func(id string) []byte {
			return plain.get("/v1/explain?action=" + action + "&type=job&id=" + id).body
		}, "job-three-1")
	}
	for _, path := range []string{"/v1/auth/invitations", "/v1/auth/second-factor/reset", "/v1/auth/oidc/reset"} {
		same(path, func(id string) []byte { return plain.post(path, map[string]any{"employee": id}).body }, string(ada))
	}
	same("a comment's parent", func(id string) []byte {
		return plain.post("/v1/service/comments", map[string]any{"parent": id, "text": "x"}).body
	}, "job-three-1")
	same("a filter", func(id string) []byte {
		return plain.get("/v1/service/jobs?filter=client+eq+" + id).body
	}, "client-three")
	n := 0
	push := func(m func(c *signIn) map[string]any) []byte {
		n++
		c := s.signIn(who, fmt.Sprintf("%s-%d", who, n))
		r := c.push(0, m(c))
		for i := range r.Results {
			r.Results[i].Message = strings.ReplaceAll(r.Results[i].Message, c.prefix, "")
		}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for what, m := range map[string]func(c *signIn, id string) map[string]any{
		"a patch": func(c *signIn, id string) map[string]any {
			return c.mutation(1, "patch", "job", id, "fields", O("title", "x"), "was", O("title", nil))
		},
		"a delete": func(c *signIn, id string) map[string]any { return c.mutation(1, "delete", "job", id) },
		"an action": func(c *signIn, id string) map[string]any {
			return c.mutation(1, "action", "job", id, "action", "archive")
		},
		"a create over it": func(c *signIn, id string) map[string]any {
			return c.mutation(1, "create", "job", id, "fields", O("title", "x", "client", "client-one"))
		},
		"a create beneath it": func(c *signIn, id string) map[string]any {
			return c.mutation(1, "create", "comment", c.prefix+"comment1", "fields", O("parent", id, "text", "x"))
		},
	} {
		same(what, func(id string) []byte { return push(func(c *signIn) map[string]any { return m(c, id) }) }, "job-three-1")
	}
	same("a pin", func(id string) []byte {
		n++
		c := s.signIn(who, fmt.Sprintf("%s-%d", who, n))
		profile := "office"
		if slices.Contains(rolesOf[who], "mobile.service-agent-user") {
			profile = "field"
		}
		pg := c.pull(map[string]any{"profile": profile, "pins": []map[string]any{{"type": "job", "id": id}}})
		var ids []string
		for _, r := range pg.Records {
			if r.Type != "device" && r.Type != "notification" {
				ids = append(ids, r.Type+"/"+r.ID+" "+r.Rev)
			}
		}
		slices.Sort(ids)
		return fmt.Appendln(nil, ids, pg.More, len(pg.Removed))
	}, "job-three-1")
}
