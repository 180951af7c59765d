package rest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/testworld"
	"satchel/server/edge"
	"satchel/server/rest"
	"satchel/sync/tenant"
)

// twin is a world behind two servers: one that uses columns for every list,
// and one that never does.
type twin struct {
	*testworld.World
	plain *fiber.App
	r     *rand.Rand
}

func newTwin(t testing.TB, seed uint64) *twin {
	t.Helper()
	w := &twin{plain: fiber.New(), r: rand.New(rand.NewPCG(seed, 7))}
	w.World = testworld.New(t, func(app *fiber.App, auth *edge.Auth, cat *entity.Catalogue) {
		w.plain = edge.NewApp(func(_ *fiber.Ctx, err error) {
			if fault.Of(err).Code == fault.InternalError {
				t.Errorf("internal error: %v", err)
			}
		})
		for a, below := range map[*fiber.App]int{app: 1, w.plain: -1} {
			if _, err := rest.Mount(a, auth, cat, rest.Options{CursorKey: [32]byte{1}, ReadBelow: below}); err != nil {
				t.Fatal(err)
			}
		}
	})
	return w
}

// read asks the server without columns.
func (w *twin) read(t testing.TB, who ident.RecordID, path string) (int, string) {
	t.Helper()
	req := httptest.NewRequest("GET", path, nil)
	req.Header.Set("Authorization", "Bearer "+w.Token(who))
	res, err := w.plain.Test(req, -1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

var vocabulary = []string{
	"alpha", "Beta", "beta", "gamma ray", "Ölbrenner", `say "hi"`, "zeta\\n", "Pump no. 12", "pump no. 7", "x", "ab", "a<b>&c", "beta alpha",
	strings.Repeat("long ", 39) + "a", strings.Repeat("long ", 39) + "b",
}

// some returns a value of the field's kind as JSON, and as it stands in a
// filter.
func (w *twin) some(f *entity.Field) (value any, literal string) {
	quote := func(s string) string {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
	}
	switch f.Kind {
	case entity.Int:
		n := w.r.IntN(6)
		return n, fmt.Sprint(n)
	case entity.Number:
		x := float64(w.r.IntN(9)) / 4
		return x, fmt.Sprint(x)
	case entity.Money:
		n := w.r.IntN(9) - 4
		return json.RawMessage(fmt.Sprintf(`{"amount":%d,"currency":"EUR"}`, n)), fmt.Sprint(n)
	case entity.Bool:
		b := w.r.IntN(2) == 0
		return b, fmt.Sprint(b)
	case entity.Enum:
		s := f.Values[w.r.IntN(len(f.Values))]
		return s, quote(s)
	case entity.Time:
		s := fmt.Sprintf("2026-0%d-1%dT0%d:00:00Z", 1+w.r.IntN(3), w.r.IntN(9), w.r.IntN(2))
		return s, s
	case entity.Date:
		s := fmt.Sprintf("2026-0%d-1%d", 1+w.r.IntN(3), w.r.IntN(9))
		return s, s
	case entity.Strings:
		a, b := vocabulary[w.r.IntN(len(vocabulary))], vocabulary[w.r.IntN(len(vocabulary))]
		return []string{a, b}, quote(a)
	case entity.Ref, entity.Refs:
		s := string([]ident.RecordID{testworld.Acme, testworld.Blue, testworld.Corp, testworld.Manager, testworld.AreaNorth, "never-was-1"}[w.r.IntN(6)])
		return nil, s
	case entity.Point:
		return json.RawMessage(fmt.Sprintf(`{"lat":%d,"lng":1}`, w.r.IntN(9))), "1"
	}
	s := vocabulary[w.r.IntN(len(vocabulary))]
	if limit := f.Max; limit > 0 && len(s) > limit {
		s = s[:1]
	}
	return s, quote(s)
}

// lists are the types that twins have many records of, and where they are
// listed.
var lists = []struct {
	typ   string
	need  []any
	paths []string
}{
	{"job", []any{"title", "T"}, []string{"/v1/service/jobs", "/v1/service/customers/client-acme/jobs"}},
	{"client", []any{"name", "N"}, []string{"/v1/crm/accounts", "/v1/service/customers", "/v1/debtors/customers", "/v1/billing/customers"}},
	{"asset", []any{"name", "N"}, []string{"/v1/service/assets"}},
	{"employee", []any{"name", "N", "kind", "in-house", "status", "Active"}, []string{"/v1/admin/employees"}},
	{"supplier", []any{"name", "N"}, []string{"/v1/stock/suppliers"}},
}

// fill makes records of every type with values of all sorts.
func (w *twin) fill(n int) {
	var rows []command.Row
	for _, l := range lists {
		for i := range n {
			rows = append(rows, w.row(l.typ, l.need, ident.RecordID(fmt.Sprintf("%s-many-%04d", l.typ, i)), true))
		}
	}
	for len(rows) > 0 {
		k := min(len(rows), 200)
		w.Import(rows[:k]...)
		rows = rows[k:]
	}
}

func (w *twin) row(typ string, need []any, id ident.RecordID, fresh bool) command.Row {
	var kv []any
	t := w.Cat.Type(typ)
	if fresh {
		kv = append(kv, need...)
		if typ == "client" {
			kv = append(kv, "salesArea", []ident.RecordID{testworld.AreaNorth, testworld.AreaSouth}[w.r.IntN(2)])
		}
		if t.Root == "client" && typ != "employee" {
			kv = append(kv, "client", []ident.RecordID{testworld.Acme, testworld.Blue, testworld.Corp}[w.r.IntN(3)])
		}
		if typ == "employee" {
			kv = append(kv, "email", string(id)+"@example.com")
		}
	}
	only := t.Fields[w.r.IntN(len(t.Fields))]
	for _, f := range t.Fields {
		if f.ReadOnly || f.Unique || f.Kind == entity.Ref || f.Kind == entity.Refs || f.Kind == entity.Lines || (typ == "employee" && (f.Kind == entity.Enum || f.Kind == entity.Bool)) {
			continue
		}
		if p := w.r.IntN(10); fresh && p < 5 || !fresh && f == only {
			v, _ := w.some(f)
			kv = append(kv, f.Name, v)
		}
	}
	return testworld.Row(typ, id, kv...)
}

// ask makes up a list request.
func (w *twin) ask(t *entity.Type) url.Values {
	q := url.Values{"limit": {fmt.Sprint(1 + w.r.IntN(20))}}
	fields := append(slices.Clone(t.Fields), t.FieldNo(entity.NoCreatedAt),
		&entity.Field{Name: "id", Kind: entity.Ref}, &entity.Field{Name: "updatedAt", Kind: entity.Time}, &entity.Field{Name: "updatedAt", Kind: entity.Time})
	pick := func() *entity.Field { return fields[w.r.IntN(len(fields))] }
	var sorts, where []string
	for range w.r.IntN(3) {
		if f := pick(); f.Kind < entity.Refs && f.Kind != entity.Text || f.Kind == entity.Money || f.Kind == entity.Number || w.r.IntN(9) == 0 {
			sorts = append(sorts, []string{"", "-"}[w.r.IntN(2)]+f.Name)
		}
	}
	if w.r.IntN(6) == 0 {
		sorts = []string{[]string{"", "-"}[w.r.IntN(2)] + "updatedAt"}
	}
	for range w.r.IntN(3) {
		f := pick()
		_, x := w.some(f)
		var ops []string
		switch f.Kind {
		case entity.Ref, entity.Bool:
			ops = []string{"eq", "ne", "in"}
		case entity.Refs, entity.Strings:
			ops = []string{"eq", "ne", "in", "contains"}
		case entity.String, entity.Text:
			ops = []string{"eq", "ne", "in", "lt", "le", "gt", "ge", "contains", "contains"}
		case entity.Point, entity.Lines:
		default:
			ops = []string{"eq", "ne", "in", "lt", "le", "gt", "ge"}
		}
		ops = append(ops, "null", "null false")
		op := ops[w.r.IntN(len(ops))]
		switch op {
		case "null", "null false":
			where = append(where, f.Name+" "+op)
		case "in":
			_, y := w.some(f)
			where = append(where, f.Name+" in ("+x+", "+y+")")
		default:
			where = append(where, f.Name+" "+op+" "+x)
		}
	}
	if len(sorts) > 0 {
		q.Set("sort", strings.Join(sorts, ","))
	}
	if len(where) > 0 {
		q.Set("filter", strings.Join(where, " and "))
	}
	if w.r.IntN(3) == 0 {
		x := vocabulary[w.r.IntN(len(vocabulary))]
		from := w.r.IntN(len(x))
		q.Set("q", strings.ToValidUTF8(x[from:from+1+w.r.IntN(len(x)-from)], ""))
	}
	if w.r.IntN(4) == 0 {
		q.Set("archived", "true")
	}
	return q
}

// change edits, adds and deletes a few records.
func (w *twin) change(many bool) {
	l := lists[w.r.IntN(len(lists))]
	n := 1 + w.r.IntN(4)
	if many {
		n = 1100 // more than are read one by one
	}
	var rows []command.Row
	seen := map[ident.RecordID]bool{}
	for i := range n {
		id := ident.RecordID(fmt.Sprintf("%s-many-%04d", l.typ, i))
		if !many {
			id = ident.RecordID(fmt.Sprintf("%s-many-%04d", l.typ, w.r.IntN(60)))
		}
		if seen[id] {
			continue
		}
		seen[id] = true
		fresh := true
		if err := w.Tenant.Read(func(v *tenant.View) error { _, ok := v.Load(id); fresh = !ok; return nil }); err != nil {
			panic(err)
		}
		rows = append(rows, w.row(l.typ, l.need, id, fresh))
	}
	for len(rows) > 0 {
		k := min(len(rows), 200)
		w.Import(rows[:k]...)
		rows = rows[k:]
	}
}

// TestTwins: whoever asks for whichever list, page by page and while records
// change, gets from columns byte for byte what the records give.
func TestTwins(t *testing.T) {
	people := []ident.RecordID{
		testworld.Admin, testworld.Manager, testworld.Rep, testworld.Guest, testworld.GuestAgent, testworld.Onsite, testworld.Contractor,
		testworld.Blind, testworld.Engineer, testworld.CRMRep, testworld.DebtOps, testworld.BillGuest, testworld.StockGuest, testworld.Staff,
		"emp-mixed-jobs", "emp-mixed-clients", "emp-mixed-jobs", "emp-mixed-clients",
	}
	advanced := 0
	seeds, rounds := uint64(3), 350
	if testing.Short() {
		seeds, rounds = 1, 250
	}
	for seed := range seeds {
		w := newTwin(t, seed)
		w.fill(60)
		// People who see more of some records than of others.
		for _, p := range []struct {
			id    ident.RecordID
			roles []string
		}{
			{"emp-mixed-jobs", []string{"service.guest-agent", "service.sales-representative"}},
			{"emp-mixed-clients", []string{"service.guest", "crm.representative", "billing.sales-representative"}},
		} {
			w.Person(p.id, p.roles...)
			w.Import(testworld.Row("employee", p.id, "salesAreas", []ident.RecordID{testworld.AreaNorth}))
		}
		w.Permit(testworld.Guest, "denial", "verb", "view", "entityType", "job", "field", "priority")
		for range 60 {
			w.Advance(time.Second)
			w.change(false)
		}
		answered := 0
		for round := range rounds {
			who := people[w.r.IntN(len(people))]
			l := lists[w.r.IntN(len(lists))]
			path := l.paths[w.r.IntN(len(l.paths))]
			if status, _ := w.read(t, who, path); status != 200 {
				continue
			}
			q := w.ask(w.Cat.Type(l.typ))
			for range 4 {
				got := w.HTTP(who, "GET", path+"?"+q.Encode(), nil)
				status, want := w.read(t, who, path+"?"+q.Encode())
				if got.Status != status || string(got.Body) != want {
					t.Fatalf("seed %d round %d: %s asks %s?%s\ncolumns %d %s\nrecords %d %s", seed, round, who, path, q.Encode(), got.Status, got.Body, status, want)
				}
				var page struct {
					Next string `json:"next"`
				}
				if status != 200 || json.Unmarshal(got.Body, &page) != nil || page.Next == "" {
					break
				}
				answered++
				q.Set("cursor", page.Next)
				if w.r.IntN(3) == 0 {
					w.Advance(time.Second)
					w.change(false)
				}
			}
			if round%100 == 60 {
				w.change(true)
			}
		}
		st := w.Tenant.Columns().Budget().Stats()
		t.Logf("seed %d: %d pages led on; %+v", seed, answered, st)
		if answered < rounds/8 || st.Built < 10 || st.Mistaken > 0 {
			t.Errorf("seed %d: %d pages led on; %+v", seed, answered, st)
		}
		advanced += int(st.Advanced)
	}
	if advanced == 0 {
		t.Error("no column was ever brought forward")
	}
}

// TestListsBesideWrites: lists by several people while records are written:
// each page is in order and fulfils its conditions.
func TestListsBesideWrites(t *testing.T) {
	w := newTwin(t, 5)
	w.fill(60)
	for _, p := range []ident.RecordID{testworld.Manager, testworld.Rep, testworld.Guest} {
		w.Token(p)
	}
	var readers, writer sync.WaitGroup
	stop := make(chan struct{})
	writer.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				w.change(w.r.IntN(20) == 0)
			}
		}
	})
	for i, who := range []ident.RecordID{testworld.Manager, testworld.Rep, testworld.Guest} {
		readers.Go(func() {
			for range 60 {
				by := []string{"title", "due", "-number"}[i]
				f := strings.TrimPrefix(by, "-")
				res := w.HTTP(who, "GET", "/v1/service/jobs?limit=20&sort="+by+"&q=a&filter="+url.QueryEscape("title contains a"), nil)
				var page struct {
					Items []map[string]any `json:"items"`
				}
				if err := json.Unmarshal(res.Body, &page); err != nil || res.Status != 200 {
					t.Errorf("%d %s", res.Status, res.Body)
					return
				}
				last := ""
				for _, it := range page.Items {
					if title, ok := it["title"].(string); !ok || !strings.Contains(strings.ToLower(title), "a") {
						t.Errorf("found %v", it)
					}
					x, ok := it[f].(string)
					x = strings.ToLower(x)
					if ok && by == f && x < last || ok && by != f && last != "" && x > last {
						t.Errorf("%q behind %q by %s", x, last, by)
					}
					last = x
				}
			}
		})
	}
	readers.Wait()
	close(stop)
	writer.Wait()
}

// TestUpdatedWithinSight: what was written to a field that a person does not
// see moves no record of theirs by updatedAt.
func TestUpdatedWithinSight(t *testing.T) {
	w := newTwin(t, 6)
	id := func(i int) ident.RecordID { return ident.RecordID(fmt.Sprintf("seen-%04d", i)) }
	for i := range 60 {
		w.Advance(time.Second)
		w.Import(testworld.Row("job", id(i), "client", testworld.Acme, "title", "T"))
	}
	for i := 59; i >= 0; i -= 2 {
		w.Advance(time.Second)
		w.Import(testworld.Row("job", id(i), "description", "hidden from guest agents"))
	}
	for _, path := range []string{
		"/v1/service/jobs?limit=20&sort=-updatedAt", "/v1/service/jobs?limit=20&sort=updatedAt",
		"/v1/service/jobs?limit=20&filter=" + url.QueryEscape("updatedAt gt "+w.Clock().Add(-45*time.Second).Format(time.RFC3339)),
	} {
		own, all := "", ""
		for _, who := range []ident.RecordID{testworld.Manager, testworld.GuestAgent} {
			got := string(w.HTTP(who, "GET", path, nil).Body)
			if _, want := w.read(t, who, path); got != want {
				t.Errorf("%s asks %s\ncolumns %s\nrecords %s", who, path, got, want)
			}
			own, all = strings.Join(w.HTTP(who, "GET", path, nil).IDs(t), " "), own
		}
		if own == all && !strings.Contains(path, "=updatedAt") {
			t.Errorf("%s: both see %s", path, own)
		}
	}
}
