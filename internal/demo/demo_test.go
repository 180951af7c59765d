package demo_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"satchel/internal/command"
	"satchel/internal/demo"
	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/server/roles"
	"satchel/server/suite"
	"satchel/sync/apply"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/tenant"
)

// Instants at which the demo may be loaded: an ordinary noon, the first and
// last moments of a day, a weekend.
var instants = map[string]time.Time{
	"noon":     time.Date(2026, 3, 11, 20, 15, 0, 0, time.UTC),
	"midnight": time.Date(2026, 3, 11, 0, 0, 30, 0, time.UTC),
	"late":     time.Date(2026, 3, 11, 23, 59, 0, 0, time.UTC),
	"sunday":   time.Date(2026, 3, 15, 12, 0, 0, 0, time.UTC),
}

type world struct {
	*tenant.Tenant
	count apply.ImportCount
}

func load(t *testing.T, engine store.Engine, now time.Time) *world {
	t.Helper()
	all, err := suite.Load()
	if err != nil {
		t.Fatal(err)
	}
	cat, rs := all.Cat, all.Roles
	ten, err := tenant.Open(tenant.Options{
		ID: demo.Tenant, Cat: cat, Roles: rs, Field: all.Field, Engine: engine,
		Clock: func() time.Time { return now }, Random: rand.Reader,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ten.Close() })
	w := &world{Tenant: ten}
	if _, err := ten.Submit(context.Background(), &command.Command{Setup: &command.Setup{Secret: make([]byte, 32)}}); err != nil {
		t.Fatal(err)
	}
	w.again(t, now)
	return w
}

// again loads the demo and keeps the counts.
func (w *world) again(t *testing.T, now time.Time) {
	t.Helper()
	w.count = apply.ImportCount{}
	hashes, last, total := 0, 0, 0
	err := demo.Load(context.Background(), func(ctx context.Context, c *command.Command) (apply.Result, error) {
		res, err := w.Submit(ctx, c)
		w.count.Created += res.Count.Created
		w.count.Changed += res.Count.Changed
		w.count.Same += res.Count.Same
		w.count.Rejected = append(w.count.Rejected, res.Count.Rejected...)
		return res, err
	}, func(string) (string, error) { hashes++; return "hashed", nil }, ident.MillisOf(now), func(done, all int, label string) {
		if done <= last || done > all || label == "" {
			t.Errorf("%d of %d, %q", done, all, label)
		}
		last, total = done, all
	})
	if err != nil {
		t.Fatal(err)
	}
	if hashes != 1 || last != total {
		t.Errorf("hashed %d times, ended at %d of %d", hashes, last, total)
	}
}

func TestLoad(t *testing.T) {
	for name, now := range instants {
		t.Run(name, func(t *testing.T) {
			w := load(t, store.NewMem(), now)
			t.Logf("%d created, %d changed, %d same", w.count.Created, w.count.Changed, w.count.Same)
			read(t, w, func(v *tenant.View) {
				checkWork(t, v, ident.MillisOf(now))
				checkPeople(t, v)
			})
			w.again(t, now)
			if w.count.Created+w.count.Changed > 0 {
				t.Errorf("loading again changes something: %+v", w.count)
			}
		})
	}
}

func read(t *testing.T, w *world, f func(*tenant.View)) {
	t.Helper()
	if err := w.Read(func(v *tenant.View) error { f(v); return nil }); err != nil {
		t.Fatal(err)
	}
}

// all returns the records of a type.
func all(v *tenant.View, typ string) []*entity.Record {
	var out []*entity.Record
	t := v.Cat.Type(typ)
	v.Each(v.Index(state.TypeKey(t.No)), func(o ident.Ordinal, _ []byte) bool {
		if r, ok := v.LoadOrd(o); ok {
			out = append(out, r)
		}
		return true
	})
	return out
}

// checkWork: everybody who goes out has work today, of several statuses;
// every status of an activity and of a ticket occurs; nothing happened in the
// future; nobody works where they see nothing.
func checkWork(t *testing.T, v *tenant.View, now ident.Millis) {
	t.Helper()
	today := map[ident.RecordID]map[string]bool{}
	states := map[string]bool{}
	for _, a := range all(v, "jobActivity") {
		states[a.StatusText()] = true
		who := a.Get("assignee").Ref()
		if start, _ := a.Get("scheduledStart").Time(); start.Day() == now.Day() && who != "" {
			if today[who] == nil {
				today[who] = map[string]bool{}
			}
			today[who][a.StatusText()] = true
		}
		for _, f := range []string{"createdAt", "assignedAt", "acceptedAt", "travelStart", "arrivedAt", "startedAt", "finishedAt"} {
			if at, ok := a.Get(f).Time(); ok && at > now {
				t.Errorf("%s: %s lies ahead: %s", a.ID, f, at.RFC3339())
			}
		}
		if who == "" {
			if a.StatusText() != "New" {
				t.Errorf("%s is %s and nobody's", a.ID, a.StatusText())
			}
			continue
		}
		sub := v.Subject(who)
		if sub == nil || !sub.Active || sub.Hides(a.Client()) || sub.View(a, v.Reader).Mask == 0 {
			t.Errorf("%s is assigned to %s, who doesn't see it", a.ID, who)
			continue
		}
		if skill := a.Get("schedulingRole"); !skill.IsNull() && !slices.Contains(sub.Scheduling, skill.Ref()) {
			t.Errorf("%s needs %s, which %s lacks", a.ID, skill.Ref(), who)
		}
	}
	for _, s := range v.Cat.Type("jobActivity").Status.States {
		if !states[s] {
			t.Errorf("no activity is %s", s)
		}
	}
	for _, s := range demo.Signins() {
		if !slices.Contains(s.Roles, "service.engineer") && !slices.Contains(s.Roles, "service.guest-agent") {
			continue
		}
		id, ok := apply.FindEmployee(v.Reader, s.Email)
		if !ok || !today[id]["Accepted"] || !today[id]["Assigned"] {
			t.Errorf("%s has today: %v", s.Name, today[id])
		}
	}
	tickets := map[string]bool{}
	onsite := map[ident.RecordID]int{}
	for _, k := range all(v, "ticket") {
		tickets[k.StatusText()] = true
		onsite[k.Client()]++
		for _, f := range []string{"requester", "assignee"} {
			if who := k.Get(f).Ref(); who != "" && v.Subject(who).View(k, v.Reader).Mask == 0 {
				t.Errorf("%s of ticket %s: %s doesn't see it", f, k.ID, who)
			}
		}
	}
	if len(tickets) != len(v.Cat.Type("ticket").Status.States) {
		t.Errorf("tickets are %v", tickets)
	}
	for _, o := range all(v, "onsiteClient") {
		if onsite[o.Client()] < 4 {
			t.Errorf("onsite at %s are %d tickets", o.Client(), onsite[o.Client()])
		}
	}
	jobs := map[string]bool{}
	for _, j := range all(v, "job") {
		jobs[j.StatusText()] = true
	}
	if len(jobs) != len(v.Cat.Type("job").Status.States) {
		t.Errorf("jobs are %v", jobs)
	}
	invoices := map[string]bool{}
	for _, i := range all(v, "invoice") {
		invoices[i.StatusText()] = true
	}
	if len(invoices) != len(v.Cat.Type("invoice").Status.States) {
		t.Errorf("invoices are %v", invoices)
	}
}

// checkPeople: everybody can sign in and has the roles that their line says,
// and for each role somebody has it alone.
func checkPeople(t *testing.T, v *tenant.View) {
	t.Helper()
	alone := map[string]bool{}
	for _, s := range demo.Signins() {
		id, ok := apply.FindEmployee(v.Reader, s.Email)
		if !ok || apply.Credential(v.Reader, id) != "hashed" {
			t.Errorf("%s can't sign in", s.Email)
			continue
		}
		sub := v.Subject(id)
		held := slices.Clone(sub.Roles)
		want := slices.Clone(s.Roles)
		slices.Sort(held)
		slices.Sort(want)
		held = slices.DeleteFunc(held, func(k string) bool { return k == "base" })
		if !slices.Equal(held, want) {
			t.Errorf("%s holds %v, want %v", s.Name, held, want)
		}
		if len(want) == 1 {
			alone[want[0]] = true
		}
	}
	for _, r := range roles.All() {
		if r.Key != "base" && !alone[r.Key] {
			t.Errorf("nobody holds only %s", r.Key)
		}
	}
	var only, hiding, staff, onPhone int
	for _, s := range demo.Signins() {
		id, _ := apply.FindEmployee(v.Reader, s.Email)
		sub := v.Subject(id)
		switch {
		case sub.Only:
			only++
		case len(sub.Clients) > 0:
			hiding++
		}
		if sub.Kind == policy.ClientStaff {
			staff++
		}
		if slices.Contains(s.Roles, "level.onsite-manager") && slices.Contains(s.Roles, "mobile.service-agent-user") {
			onPhone++
		}
	}
	if only == 0 || hiding < 2 || staff < 2 || onPhone < 2 {
		t.Errorf("%d allow-lists, %d with hidden clients, %d client staff, %d onsite managers with a phone", only, hiding, staff, onPhone)
	}
}

// TestRows: the same instant gives the same rows, another one others; no row
// depends on an earlier call.
func TestRows(t *testing.T) {
	noon := ident.MillisOf(instants["noon"])
	a, b := demo.Rows(noon), demo.Rows(noon)
	if !reflect.DeepEqual(a, b) {
		t.Error("two calls give different rows")
	}
	c := demo.Rows(noon + 86_400_000)
	if reflect.DeepEqual(a, c) {
		t.Error("the next day is the same day")
	}
	seen := map[ident.RecordID]string{}
	counts := map[string]int{}
	for _, r := range a {
		if typ, ok := seen[r.ID]; ok && typ != r.Type {
			t.Errorf("%s is a %s and a %s", r.ID, typ, r.Type)
		} else if !ok {
			counts[r.Type]++
		}
		seen[r.ID] = r.Type
	}
	t.Log(counts)
	for typ, least := range map[string]int{
		"salesArea": 10, "client": 2000, "contact": 635, "site": 2000, "product": 504, "warehouse": 19, "stockLevel": 1069, "supplier": 104,
		"carrier": 5, "purchaseOrder": 300, "employee": 310, "asset": 200, "job": 300, "jobActivity": 300, "ticket": 80, "ticketUpdate": 150,
		"checklist": 3, "checklistAnswer": 300, "comment": 30, "timeEntry": 300, "partUsed": 50, "signature": 50, "serviceAgent": 7,
		"onsiteClient": 6, "clientVisibility": 3, "visibilityRule": 5, "individualPermission": 2, "organizationalRole": 1, "schedulingRole": 3, "invoice": 60,
		"opportunity": 30, "task": 40, "activity": 30, "campaign": 2, "campaignMember": 20, "tag": 2, "tagging": 10, "filter": 6, "report": 2,
		"contract": 25, "payment": 5, "allocation": 5, "collectionNote": 5, "salesOrder": 40, "partOrder": 10, "receipt": 1, "transfer": 1, "count": 1,
		"adjustment": 1, "productRelationship": 5, "agent": 2, "rateCard": 1, "accountAssignment": 10, "accrual": 10, "delegation": 1,
		"organizationalRoleClient": 2,
	} {
		if counts[typ] < least {
			t.Errorf("%d of %s, want %d", counts[typ], typ, least)
		}
	}
}

// TestSigninsFile holds the sign-ins to the form of demo-signins.json.
func TestSigninsFile(t *testing.T) {
	b, err := json.Marshal(demo.Signins())
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]any
	if err := json.Unmarshal(b, &rows); err != nil {
		t.Fatal(err)
	}
	emails := map[any]bool{}
	for _, r := range rows {
		if len(r) != 5 || r["tenant"] != "demo" || r["password"] != demo.Password || r["name"] == "" || emails[r["email"]] {
			t.Errorf("%v", r)
		}
		emails[r["email"]] = true
		for _, key := range r["roles"].([]any) {
			if !slices.ContainsFunc(roles.All(), func(x *policy.Role) bool { return x.Key == key }) {
				t.Errorf("%v holds %v, which is no role", r["name"], key)
			}
		}
	}
	demo.Signins()[0].Roles[0] = "changed"
	if demo.Signins()[0].Roles[0] == "changed" {
		t.Error("the sign-ins can be changed from outside")
	}
}

// TestSize bounds what the demo adds to the program, and wants the licence.
func TestSize(t *testing.T) {
	var size int64
	err := filepath.WalkDir("data", func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		size += info.Size()
		return err
	})
	if err != nil || size > 2<<20 {
		t.Errorf("%d bytes, %v", size, err)
	}
	if !strings.Contains(demo.Licence, "MIT License") || !strings.Contains(demo.Licence, "Copyright (c) Microsoft") {
		t.Error("the licence is missing")
	}
}

// TestLoadOnDisk measures loading with durable commits.
func TestLoadOnDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	engine, err := store.OpenBolt(filepath.Join(t.TempDir(), "demo.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	load(t, engine, instants["noon"])
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %v", took)
	} else {
		t.Log(took)
	}
}

// TestLoadStops: what the tenant refuses ends the loading.
func TestLoadStops(t *testing.T) {
	now := ident.MillisOf(instants["noon"])
	rejecting := func(context.Context, *command.Command) (apply.Result, error) {
		return apply.Result{Count: apply.ImportCount{Rejected: []apply.Rejection{{Index: 0, Err: os.ErrInvalid}}}}, nil
	}
	failing := func(context.Context, *command.Command) (apply.Result, error) { return apply.Result{}, os.ErrInvalid }
	hash := func(string) (string, error) { return "x", nil }
	for name, err := range map[string]error{
		"rejected": demo.Load(context.Background(), rejecting, hash, now, nil),
		"failed":   demo.Load(context.Background(), failing, hash, now, nil),
		"unhashed": demo.Load(context.Background(), failing, func(string) (string, error) { return "", os.ErrInvalid }, now, nil),
	} {
		if err == nil || !strings.Contains(err.Error(), os.ErrInvalid.Error()) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
