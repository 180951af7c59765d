package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/testworld"
	"satchel/mobile-api/client"
	"satchel/mobile-api/handler"
	"satchel/server/edge"
	"satchel/server/syncapi"
	"satchel/server/ws/upgrade"
	"satchel/sync/wire"
)

// tenantWorld is a tenant behind the sync API and the Mobile module.
func tenantWorld(t testing.TB) *testworld.World {
	t.Helper()
	return testworld.New(t, func(app *fiber.App, auth *edge.Auth, cat *entity.Catalogue) {
		(&syncapi.Server{Auth: auth, Sockets: upgrade.New(upgrade.Options{})}).Mount(app)
		if _, err := handler.Mount(app, auth, cat, handler.Options{}); err != nil {
			t.Fatal(err)
		}
	})
}

// wired is the network between a phone and a world: sign-in is by name, without
// a password.
type wired struct {
	w       *testworld.World
	genuine bool                                                // the world has sign-in
	through func(*http.Request, []byte, *http.Response, []byte) // sees every exchange
}

// RoundTrip implements http.RoundTripper.
func (n *wired) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	req := r.Clone(r.Context())
	req.Body, req.RequestURI = io.NopCloser(bytes.NewReader(body)), ""
	req.Header.Del("Accept-Encoding") // what is exchanged is to be read here
	var res *http.Response
	if r.URL.Path == "/v1/auth/login" && !n.genuine {
		res = n.login(body)
	} else {
		var err error
		if res, err = n.w.App.Test(req, -1); err != nil {
			return nil, err
		}
	}
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	res.Body = io.NopCloser(bytes.NewReader(raw))
	if n.through != nil {
		n.through(req, body, res, raw)
	}
	return res, nil
}

func (n *wired) login(body []byte) *http.Response {
	var in struct {
		Email  string
		Device struct{ Installation string }
	}
	_ = json.Unmarshal(body, &in)
	who := ident.RecordID(in.Email)
	out, _ := json.Marshal(map[string]any{
		"accessToken": n.w.DeviceToken(who, in.Device.Installation), "refreshToken": "none", "expiresIn": 600, "user": map[string]any{"id": who},
		"device": map[string]any{"id": n.w.Device(who, in.Device.Installation), "idPrefix": n.w.Prefix(who, in.Device.Installation)},
	})
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(out))}
}

// phoneOf signs a person in on a new phone and syncs it.
func phoneOf(t testing.TB, w *testworld.World, who ident.RecordID, profile string, n *wired) *client.Phone {
	t.Helper()
	if n == nil {
		n = &wired{w: w}
	}
	p, err := client.OpenMemory(client.NewMemory(), client.Options{
		Server: "http://satchel.example", Tenant: string(testworld.Slug), Installation: "phone-" + profile, Transport: n, Clock: w.Clock,
		Random: bytes.NewReader(bytes.Repeat([]byte("randomness that repeats itself; "), 40_000)),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Login(context.Background(), string(who), "x"); err != nil {
		t.Fatal(err)
	}
	if err := p.SetProfile(profile); err != nil {
		t.Fatal(err)
	}
	sync(t, p)
	return p
}

func sync(t testing.TB, p *client.Phone) []wire.Result {
	t.Helper()
	rep, err := p.Sync(context.Background())
	if err != nil {
		t.Fatalf("sync: %v", err)
	}
	return rep.Results
}

// inventor makes changes up: some right, most wrong in one way or another.
type inventor struct {
	*rand.Rand
	w   *testworld.World
	p   *client.Phone
	ids map[string][]string
}

func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

// look notes what the phone shows.
func (v *inventor) look(t testing.TB) {
	v.ids = map[string][]string{}
	types, err := v.p.Types()
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range types {
		list, err := v.p.List(typ, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			v.ids[typ] = append(v.ids[typ], r.ID)
		}
	}
}

func (v *inventor) value(f *entity.Field) any {
	if v.IntN(14) == 0 {
		return pick[any](v.Rand, nil, "", "nonsense", 7, -7, true, []string{}, []string{"x"}, map[string]any{}, map[string]any{"add": []string{"one"}}, map[string]any{"put": 1}, 1.5, "\x00", "a\nb")
	}
	switch f.Kind {
	case entity.String, entity.Text:
		return pick[any](v.Rand, "short", "x", string(bytes.Repeat([]byte("ä"), v.IntN(250))))
	case entity.Int:
		return v.IntN(20) - 3
	case entity.Number:
		return pick[any](v.Rand, 1.25, -3, 1e300)
	case entity.Bool:
		return v.IntN(2) == 0
	case entity.Time:
		return pick[any](v.Rand, "2026-03-02T08:00:00Z", "2026-03-02T10:00:00+02:00", "2026-03-02T08:00:00", "0001-01-01T00:00:00Z", "2026-03-02T09:00:00.5Z")
	case entity.Date:
		return pick[any](v.Rand, "2026-03-02", "2026-3-2")
	case entity.Enum:
		return pick(v.Rand, append([]string{"never"}, f.Values...)...)
	case entity.Ref:
		return v.id(f)
	case entity.Refs:
		return []string{v.id(f), v.id(f)}
	case entity.Strings:
		return pick[any](v.Rand, []string{"a", "b"}, map[string]any{"add": []string{"c"}, "remove": []string{"a"}}, []any{"a", nil})
	case entity.Money:
		return pick[any](v.Rand, map[string]any{"amount": 100, "currency": "EUR"}, map[string]any{"amount": 1.5, "currency": "EUR"}, map[string]any{"amount": 1}, map[string]any{"amount": 1, "currency": "eur"})
	case entity.Point:
		return pick[any](v.Rand, map[string]any{"lat": 1, "lng": 2}, map[string]any{"lat": 91, "lng": 2}, map[string]any{"lat": 1})
	case entity.Lines:
		rows := []any{}
		for i := range v.IntN(3) {
			row := map[string]any{"id": fmt.Sprint(pick(v.Rand, i, 0))}
			for _, it := range f.Items {
				if v.IntN(6) > 0 {
					row[it.Name] = v.value(it)
				}
			}
			rows = append(rows, row)
		}
		return rows
	}
	return nil
}

func (v *inventor) id(f *entity.Field) string {
	targets := f.Targets
	if len(targets) == 0 {
		for _, t := range v.w.Cat.Types {
			targets = append(targets, t.Name)
		}
	}
	if list := v.ids[pick(v.Rand, targets...)]; len(list) > 0 && v.IntN(10) > 0 {
		return pick(v.Rand, list...)
	}
	return pick(v.Rand, "client-acme", "never-was-1", "Bad Id", "emp-engineer", "act-acme-1")
}

func (v *inventor) fields(t *entity.Type, required bool) map[string]any {
	out := map[string]any{}
	if !required && v.IntN(2) == 0 { // a plain edit
		for _, f := range t.Fields {
			if !f.ReadOnly && !f.Immutable && (f.Kind == entity.String || f.Kind == entity.Text || f.Kind == entity.Bool) {
				return map[string]any{f.Name: v.value(f)}
			}
		}
	}
	for _, f := range t.Fields {
		if required && f.Required && v.IntN(12) > 0 || v.IntN(len(t.Fields)+1) == 0 && (!f.ReadOnly || v.IntN(4) == 0) {
			out[f.Name] = v.value(f)
		}
	}
	if v.IntN(25) == 0 {
		out[pick(v.Rand, "zzz", "clientId", "createdAt", "id")] = "client-acme"
	}
	return out
}

// change makes a change up.
func (v *inventor) change() func(...client.EditOption) error {
	held := []string{}
	for typ, list := range v.ids {
		if len(list) > 0 {
			held = append(held, typ)
		}
	}
	slices.Sort(held)
	work := []string{"jobActivity", "ticket", "job", "timeEntry", "partUsed", "comment", "checklistAnswer", "task", "invoice", "salesOrder"}
	typ := pick(v.Rand, pick(v.Rand, work...), pick(v.Rand, work...), pick(v.Rand, held...), pick(v.Rand, v.w.Cat.Types...).Name)
	t := v.w.Cat.Type(typ)
	list := v.ids[typ]
	op := v.IntN(10)
	switch {
	case op < 4 || len(list) == 0:
		fields := v.fields(t, true)
		return func(how ...client.EditOption) error { _, err := v.p.Create(typ, fields, how...); return err }
	case op < 6 || len(t.Actions) == 0 && op < 9:
		id, fields := pick(v.Rand, list...), v.fields(t, false)
		return func(how ...client.EditOption) error { return v.p.Patch(typ, id, fields, how...) }
	case op < 9 && typ != "device" && typ != "employee": // nobody may end the phone under test
		id, a := pick(v.Rand, list...), pick(v.Rand, t.Actions...)
		args := map[string]any{}
		for _, f := range a.Args {
			if f.Required && v.IntN(8) > 0 || v.IntN(3) == 0 {
				args[f.Name] = v.value(f)
			}
		}
		name := a.Name
		if v.IntN(30) == 0 {
			name = "explode"
		}
		if v.IntN(30) == 0 {
			args["zzz"] = 1
		}
		return func(how ...client.EditOption) error { return v.p.Action(typ, id, name, args, how...) }
	}
	id := pick(v.Rand, list...)
	return func(how ...client.EditOption) error { return v.p.Delete(typ, id, how...) }
}

// judges are people of all walks, with the profiles of their phones.
var judges = []struct {
	who     ident.RecordID
	profile string
}{
	{testworld.Engineer, "field"},
	{testworld.Engineer, "office"},
	{testworld.Colleague, "office"},
	{testworld.Manager, "office"},
	{testworld.Onsite, "field"},
	{testworld.Liaison, "office"},
	{testworld.Staff, "office"},
	{testworld.Basic, "office"},
	{testworld.Contractor, "office"},
	{testworld.Blind, "office"},
	{testworld.Guest, "office"},
	{testworld.CRMManager, "office"},
	{testworld.CRMOps, "office"},
	{testworld.SalesRep, "office"},
	{testworld.BillAgent, "office"},
	{testworld.StockOps, "office"},
	{testworld.StockOrders, "office"},
	{testworld.DebtAdmin, "office"},
	{testworld.AgentsAdmin, "office"},
	{testworld.Admin, "office"},
	{testworld.Ticketer, "office"},
	{testworld.Nobody, "office"},
	{testworld.SvcAdmin, "office"},
	{testworld.CRMAdmin, "office"},
}

// narrowed are judges who may do more than they are shown: denied the view of
// fields, as type and field, that their roles' actions write, and granted to
// change whole types of which they see a part.
var narrowed = map[ident.RecordID]struct{ denied, edits [][2]string }{
	testworld.SvcAdmin: {denied: [][2]string{
		{"jobActivity", "assignee"}, {"jobActivity", "workDone"}, {"jobActivity", "position"}, {"job", "cancelReason"}, {"timeEntry", "note"},
	}},
	testworld.CRMAdmin: {
		denied: [][2]string{{"task", "assignee"}, {"opportunity", "lostReason"}, {"client", "geoArea"}},
		edits:  [][2]string{{"client", "service"}, {"client", "debtors"}},
	},
}

// narrow gives a judge what narrowed says.
func narrow(w *testworld.World, who ident.RecordID) {
	for _, d := range narrowed[who].denied {
		w.Permit(who, "denial", "verb", "view", "entityType", d[0], "field", d[1])
	}
	for _, e := range narrowed[who].edits {
		w.Permit(who, "grant", "verb", "edit", "entityType", e[0], "app", e[1])
	}
}

// later are codes that the server comes to before, or instead of, what the phone
// sees: it looks at records that the phone does not have, and puts references
// and hand-written rules in between.
var later = []string{
	"bad_reference", "assignee_not_eligible", "not_found", "duplicate", "depends_on", "bad_id", "has_dependents", "insufficient_stock",
	"last_administrator",
}

// TestRulesAgree: what a phone refuses the server refuses, with the same code
// but for those of later. The other way round the server may know better. An
// exception is a conflict, which can't be here: nobody else changes anything.
func TestRulesAgree(t *testing.T) {
	each := 70
	if testing.Short() {
		each = 20
	}
	refused, sames, missed, applied := 0, 0, 0, 0
	for i, jd := range judges {
		t.Run(string(jd.who)+"-"+jd.profile, func(t *testing.T) {
			w := tenantWorld(t)
			narrow(w, jd.who)
			v := &inventor{Rand: rand.New(rand.NewPCG(7, uint64(i))), w: w, p: phoneOf(t, w, jd.who, jd.profile, nil)}
			for range each {
				v.look(t)
				verdict := queue(t, v.change())
				results := sync(t, v.p)
				if len(results) == 0 {
					continue // nothing to queue: a patch of no field
				}
				r := results[len(results)-1]
				if verdict == nil {
					switch {
					case r.Status == wire.Applied:
						applied++
					case r.Status == wire.Refused && !slices.Contains(later, r.Code):
						missed++
					}
					dismiss(t, v.p)
					continue
				}
				refused++
				probs, err := v.p.Problems()
				if err != nil {
					t.Fatal(err)
				}
				m, _ := json.Marshal(probs)
				switch {
				case r.Status != wire.Refused:
					t.Errorf("the phone refuses, the server does not: %v: %+v %s", verdict, r, m)
				case r.Code == verdict.Code:
					sames++
				// What is left out decides about the right too: the phone says what.
				case verdict.Code == "missing_field" && r.Code == "not_allowed":
				case !slices.Contains(later, r.Code):
					t.Errorf("the phone says %v, the server %s %s: %s", verdict, r.Code, r.Message, m)
				}
				dismiss(t, v.p)
			}
		})
	}
	t.Logf("%d refused by both (%d with the same code), %d refused by the server alone, %d applied", refused, sames, missed, applied)
	if refused < each*len(judges)/4 || applied < each*len(judges)/20 || sames*10 < refused*8 {
		t.Errorf("too little is tried: %d refused, %d of them alike, %d applied", refused, sames, applied)
	}
}

// queue queues a change whatever the rules say, and returns what they say.
func queue(t testing.TB, do func(...client.EditOption) error) *client.RuleError {
	t.Helper()
	err := do()
	var refused *client.RuleError
	if err == nil {
		return nil
	}
	if !errors.As(err, &refused) {
		t.Fatal(err)
	}
	if err := do(client.EditAnyway); err != nil {
		t.Fatal(err)
	}
	return refused
}

// TestRulesAgreeOffline: with a day's work in the queue, what the phone refuses
// the server refuses when all of it arrives at once, as long as everything
// before it was done.
func TestRulesAgreeOffline(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 15
	}
	refused, long := 0, 0
	for i, jd := range judges[:5] {
		w := tenantWorld(t)
		v := &inventor{Rand: rand.New(rand.NewPCG(11, uint64(i))), w: w, p: phoneOf(t, w, jd.who, jd.profile, nil)}
		for range rounds {
			v.look(t)
			typ := pick(v.Rand, "jobActivity", "jobActivity", "ticket", "job")
			if len(v.ids[typ]) == 0 {
				continue
			}
			// Two records, so that one moves while the other waits.
			some := []string{pick(v.Rand, v.ids[typ]...), pick(v.Rand, v.ids[typ]...)}
			var verdict *client.RuleError
			for n := 0; n < 8 && verdict == nil; n++ {
				do := v.change()
				if v.IntN(5) > 0 {
					id, a := pick(v.Rand, some...), pick(v.Rand, w.Cat.Type(typ).Actions...)
					args := map[string]any{}
					for _, f := range a.Args {
						if f.Required {
							args[f.Name] = pick(v.Rand, testworld.Engineer, testworld.Onsite)
						}
					}
					do = func(how ...client.EditOption) error { return v.p.Action(typ, id, a.Name, args, how...) }
					// One that is surely refused by itself teaches nothing here.
					if errors.As(do(), new(*client.RuleError)) && v.IntN(6) > 0 {
						continue
					}
				}
				if err := do(); err != nil && !errors.As(err, &verdict) {
					if errors.Is(err, client.ErrNotFound) {
						continue
					}
					t.Fatal(err)
				}
				if verdict != nil {
					if err := do(client.EditAnyway); err != nil {
						t.Fatal(err)
					}
				}
			}
			results := sync(t, v.p)
			if verdict != nil && len(results) > 0 {
				last := len(results) - 1
				if !slices.ContainsFunc(results[:last], func(r wire.Result) bool { return r.Status != wire.Applied }) {
					refused++
					if last > 0 {
						long++
					}
					if results[last].Status != wire.Refused {
						probs, _ := v.p.Problems()
						t.Errorf("%s: the phone refuses, the server does not: %v: %+v %v", jd.who, verdict, results[last], probs)
					}
				}
			}
			dismiss(t, v.p)
		}
	}
	t.Logf("%d refused by both, %d of them behind other work", refused, long)
	if long < rounds/8 {
		t.Errorf("too little is tried: %d, %d behind other work", refused, long)
	}
}

func dismiss(t testing.TB, p *client.Phone) {
	t.Helper()
	list, err := p.Problems()
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range list {
		if err := p.Dismiss(one.ID); err != nil {
			t.Fatal(err)
		}
	}
}
