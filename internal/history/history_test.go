package history

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/sync/state"
	"satchel/sync/tenant"
)

// The size of a run.
const (
	workers    = 16
	admins     = 3
	window     = 10 // tasks that are worked on at a time
	perTask    = 90 // operations, about, before the next takes its place
	perAdmin   = 60 // operations of workers to one of each administrator
	levels     = 12
	payments   = 8
	inPayment  = 20_000
	inLevel    = 5
	invoiceSum = 1_000_000_000
)

func id(kind string, n int) string { return fmt.Sprintf("%s-%04d", kind, n) }

// seed is what there is before the clients come.
func seed() (rows []command.Row, people []ident.RecordID) {
	rows = append(rows, row("salesArea", "area-north", "name", "North"), row("client", "client-one", "name", "One", "salesArea", "area-north"),
		row("warehouse", "warehouse-one", "name", "Main", "kind", "warehouse"))
	person := func(p ident.RecordID, keys ...string) {
		people = append(people, p)
		rows = append(rows, row("employee", p, "name", string(p), "email", email(p), "kind", "in-house", "status", "Active"))
		for i, k := range keys {
			rows = append(rows, row("roleAssignment", ident.RecordID(fmt.Sprintf("role-%s-%d", p, i)), "employee", p, "role", k))
		}
	}
	for i := range admins {
		person(ident.RecordID(id("admin", i)), "level.customer-administrator")
	}
	for i := range workers {
		person(ident.RecordID(id("worker", i)), "crm.administrator", "stock.administrator", "debtors.administrator")
	}
	for i := range levels {
		p := ident.RecordID(id("product", i))
		rows = append(rows, row("product", p, "name", string(p)), row("stockLevel", ident.RecordID(id("level", i)), "product", p, "warehouse", "warehouse-one", "quantity", inLevel))
	}
	euro := func(n int) map[string]any { return map[string]any{"amount": n, "currency": "EUR"} }
	rows = append(rows, row("invoice", "invoice-one", "client", "client-one", "number", "INV-1", "issued", "2026-01-01", "due", "2026-12-31", "status", "Sent",
		"lines", []any{map[string]any{"id": "1", "text": "Work", "quantity": 1, "unitPrice": euro(invoiceSum)}}))
	for i := range payments {
		rows = append(rows, row("payment", ident.RecordID(id("payment", i)), "client", "client-one", "received", "2026-01-02", "amount", euro(inPayment), "method", "cash"))
	}
	return rows, people
}

// worker does what chance says.
type worker struct {
	*client
	tasks func() []string // those worked on at present
	// Its allocations, by payment, with their sums.
	allocated map[string]map[string]int
	tried     map[string]bool // tasks that it has begun to make
}

// own reports whether a task is the worker's to make.
func (w *worker) own(key string) bool { return strings.HasPrefix(key, w.prefix) }

func (w *worker) step() {
	switch k := w.rnd.IntN(100); {
	case k < 70:
		w.task()
	case k < 74:
		w.pull(w.tasks())
	case k < 90:
		w.level()
	default:
		w.payment()
	}
}

func (w *worker) task() {
	now := w.tasks()
	key := now[w.rnd.IntN(len(now))]
	// Whoever is to make one does so soon.
	if i := slices.IndexFunc(now, func(k string) bool { return w.own(k) && !w.tried[k] }); i >= 0 && w.rnd.IntN(3) == 0 {
		key = now[i]
	}
	path := "/v1/crm/tasks/" + key
	title := fmt.Sprintf("t-%d-%d", w.no, w.made)
	w.made++
	keyed := w.rnd.IntN(4) == 0
	seen, known := w.seen[key]
	in := input{key: key, text: title}
	if known && w.rnd.IntN(2) == 0 {
		in.rev = seen.rev
	}
	switch k := w.rnd.IntN(200); {
	case w.own(key) && (!w.tried[key] || k < 2):
		w.tried[key] = true
		in.kind, in.rev = "create", ""
		w.see(key, w.change("tasks", in, keyed, "POST", "/v1/crm/tasks", map[string]any{"id": key, "title": title, "client": "client-one"}))
	case k < 90:
		in = input{key: key, kind: "read"}
		if out, ok := w.read("tasks", in, path); ok {
			w.see(key, out)
		}
	case k < 130:
		in.kind = "patch"
		w.see(key, w.change("tasks", in, keyed, "PATCH", path, map[string]any{"title": title}))
	case k < 156:
		in.kind, in.rev, in.was = "push", "", seen.title
		if !known {
			in.was = "a title of nobody's"
		}
		w.push(in)
	case k < 198:
		in.kind, in.text = []string{"complete", "reopen"}[w.rnd.IntN(2)], ""
		w.see(key, w.change("tasks", in, keyed, "POST", path+"/"+in.kind, nil))
	default:
		in.kind, in.text = "delete", ""
		w.change("tasks", in, keyed, "DELETE", path, nil)
	}
}

// see remembers an answer, to be expected of the task later.
func (w *worker) see(key string, out output) {
	if out.code == "" && !out.unknown && !out.again && out.rev != "" {
		w.seen[key] = out
	}
}

func (w *worker) level() {
	n := w.rnd.IntN(levels)
	in := input{key: id("level", n), kind: "read"}
	if w.rnd.IntN(5) < 2 {
		w.read("levels", in, "/v1/stock/stock-levels/"+in.key)
		return
	}
	in.kind, in.n = "adjust", 1+w.rnd.IntN(9)
	if w.rnd.IntN(2) == 0 {
		in.n = -in.n
	}
	w.change("levels", in, w.rnd.IntN(2) == 0, "POST", "/v1/stock/adjustments", map[string]any{
		"warehouse": "warehouse-one", "product": id("product", n), "change": in.n, "reason": "correction",
	})
}

func (w *worker) payment() {
	in := input{key: id("payment", w.rnd.IntN(payments)), kind: "read"}
	mine := w.allocated[in.key]
	if mine == nil {
		mine = map[string]int{}
		w.allocated[in.key] = mine
	}
	switch k := w.rnd.IntN(10); {
	case k < 3:
		w.read("payments", in, "/v1/debtors/payments/"+in.key)
	case k < 6 && len(mine) > 0:
		in.kind = "release"
		in.id = slices.Min(slices.Collect(maps.Keys(mine)))
		in.n = mine[in.id]
		out := w.change("payments", in, false, "DELETE", "/v1/debtors/allocations/"+in.id, nil)
		if !out.unknown {
			delete(mine, in.id)
		}
	default:
		in.kind, in.id, in.n = "allocate", w.newID(), 1+w.rnd.IntN(9000)
		out := w.change("payments", in, w.rnd.IntN(2) == 0, "POST", "/v1/debtors/allocations", map[string]any{
			"id": in.id, "payment": in.key, "invoice": "invoice-one", "amount": map[string]any{"amount": in.n, "currency": "EUR"},
		})
		if out.unknown || out.code == "" {
			mine[in.id] = in.n
		}
	}
}

// administer grants and takes the level of administrators, from each other and from
// themselves.
func administer(c *client, known *sync.Map) {
	in := input{key: "admins", who: string(c.who)}
	// All of them are about one thing, and what may have been done at any time
	// costs the most to judge: nearly all are sent until they are answered.
	keyed := c.rnd.IntN(20) > 0
	const base = "/v1/admin/role-assignments"
	switch k := c.rnd.IntN(10); {
	case k < 4:
		in.kind, in.id, in.text = "grant", c.newID(), id("admin", c.rnd.IntN(admins))
		out := c.change("admins", in, keyed, "POST", base, map[string]any{"id": in.id, "employee": in.text, "role": "level.customer-administrator"})
		if out.unknown || out.code == "" {
			known.Store(in.id, true)
		}
	default:
		var all []string
		known.Range(func(k, _ any) bool { all = append(all, k.(string)); return true })
		if len(all) == 0 {
			return
		}
		slices.Sort(all)
		in.kind, in.id = "revoke", all[c.rnd.IntN(len(all))]
		out := c.change("admins", in, keyed, "DELETE", base+"/"+in.id, nil)
		if !out.unknown && out.code == "" {
			known.Delete(in.id)
		}
	}
}

// run is one history: by class, its operations and the model they must fit.
type run struct {
	ops    map[string][]porcupine.Operation
	models map[string]porcupine.Model
	total  int
}

func models() map[string]porcupine.Model {
	var first []string
	for i := range admins {
		first = append(first, fmt.Sprintf("role-%s-0=%s;", id("admin", i), id("admin", i)))
	}
	slices.Sort(first)
	start := ""
	for _, f := range first {
		start += f
	}
	return map[string]porcupine.Model{
		"tasks":    model(func(string) any { return task{} }, taskStep),
		"levels":   model(func(string) any { return inLevel }, levelStep),
		"payments": model(func(string) any { return payment{open: inPayment} }, paymentStep),
		"admins":   model(func(string) any { return start }, adminsStep),
	}
}

// play lets the clients loose and gathers what they saw.
func play(t *testing.T, total int, cut int64, restarts int, seedOf uint64) (*run, *server, *proxy, []*client) {
	t.Helper()
	rows, people := seed()
	s := newServer(t, rows, people...)
	p := newProxy(t, s, seedOf)
	url, start := "http://"+p.l.Addr().String(), time.Now()
	var all []*client
	for i := range workers + admins {
		who := id("worker", i)
		if i >= workers {
			who = id("admin", i-workers)
		}
		c := newClient(t, i, ident.RecordID(who), url, seedOf, start)
		c.signIn()
		c.pull(nil)
		all = append(all, c)
	}
	// The tasks, each of somebody's making.
	var ids []string
	for i := range total/perTask + window + 1 {
		c := all[i%workers]
		ids = append(ids, fmt.Sprintf("%stask%04d", c.prefix, i))
	}
	var done atomic.Int64
	present := func() []string {
		at := min(int(done.Load())/perTask, len(ids)-window)
		return ids[at : at+window]
	}
	p.oneIn.Store(cut)
	var wg sync.WaitGroup
	for _, c := range all[:workers] {
		w := &worker{c, present, map[string]map[string]int{}, map[string]bool{}}
		wg.Go(func() {
			for done.Add(1) <= int64(total) {
				w.step()
			}
		})
	}
	var known sync.Map
	for i := range admins {
		known.Store(fmt.Sprintf("role-%s-0", id("admin", i)), true)
	}
	for _, c := range all[workers:] {
		wg.Go(func() {
			// They are few and all want the same, so they go at the others' pace.
			for step := int64(0); done.Load() < int64(total); step++ {
				administer(c, &known)
				for done.Load() < min(step*perAdmin, int64(total)) {
					time.Sleep(200 * time.Microsecond)
				}
			}
		})
	}
	over := make(chan struct{})
	go func() {
		wg.Wait()
		close(over)
	}()
	for i := range restarts {
		for at := int64(total * (i + 1) / (restarts + 1)); done.Load() < at; time.Sleep(time.Millisecond) {
			if t.Failed() {
				break
			}
		}
		p.cutAll() // whoever waits for an answer gets none
		s.halt()
		s.boot()
	}
	select {
	case <-over:
	case <-time.After(3 * time.Minute):
		t.Fatal("the clients never finish")
	}
	p.oneIn.Store(0)
	for _, c := range all[:workers] { // what there is in the end counts too
		c.pull(ids)
	}
	r := &run{ops: map[string][]porcupine.Operation{}, models: models()}
	end := all[0].now() + 1
	for _, c := range all {
		for class, ops := range c.ops {
			r.ops[class] = append(r.ops[class], ops...)
			r.total += len(ops)
		}
	}
	for _, ops := range r.ops {
		for i := range ops {
			if ops[i].Output.(output).unknown {
				ops[i].Return = end
			}
		}
	}
	return r, s, p, all
}

// check holds a history against its model.
func check(m porcupine.Model, ops []porcupine.Operation) (porcupine.CheckResult, porcupine.LinearizationInfo) {
	return porcupine.CheckOperationsVerbose(m, ops, 60*time.Second)
}

// TestLinearizable: whatever sixteen clients with devices and three
// administrators do at once, through connections that break and a server that
// ends, there is an order in which each of them saw what was so.
func TestLinearizable(t *testing.T) {
	total := 14_000
	if testing.Short() {
		total = 3_000
	}
	start := time.Now()
	r, s, p, all := play(t, total, 300, 2, 1)
	took := time.Since(start)
	start = time.Now()
	for _, class := range slices.Sorted(maps.Keys(r.models)) {
		got, info := check(r.models[class], r.ops[class])
		if got != porcupine.Ok {
			t.Errorf("the history of %s (%d operations) is %s; see %s", class, len(r.ops[class]), got, draw(t, class, r.models[class], info))
		}
	}
	judged := time.Since(start)
	unknown, retried, pulls, pushes := 0, 0, 0, 0
	codes := map[string]int{}
	for _, c := range all {
		unknown, retried, pulls, pushes = unknown+c.unknown, retried+c.retried, pulls+c.pulls, pushes+c.pushes
	}
	for class, ops := range r.ops {
		for _, op := range ops {
			i, o := op.Input.(input), op.Output.(output)
			if o.unknown {
				o.code = "unknown"
			}
			codes[class+" "+i.kind+" "+o.code]++
		}
	}
	for _, k := range slices.Sorted(maps.Keys(codes)) {
		t.Logf("%7d %s", codes[k], k)
	}
	t.Logf("%d operations in %v, judged in %v; %d pushes, %d pulls, %d repeated, %d without an answer; cut %d before, %d within, %d after",
		r.total, took.Round(time.Millisecond), judged.Round(time.Millisecond), pushes, pulls, retried, unknown, p.before.Load(), p.within.Load(), p.after.Load())
	// A run that met none of this has shown nothing.
	if unknown == 0 || retried == 0 || p.before.Load() == 0 || p.after.Load() == 0 {
		t.Error("nothing was cut")
	}
	for _, k := range []string{
		"tasks patch rev_mismatch", "tasks complete wrong_status", "tasks push conflict", "tasks push ", "tasks read not_found", "tasks delete ",
		"levels adjust insufficient_stock", "payments allocate bad_value", "payments release ", "admins revoke last_administrator",
	} {
		if codes[k] == 0 && !testing.Short() {
			t.Errorf("it never came to %q", k)
		}
	}
	balance(t, s)
	s.sound()
}

// balance demands that levels and payments come to what was moved and
// allocated.
func balance(t *testing.T, s *server) {
	t.Helper()
	s.read(func(v *tenant.View) {
		each := func(typ string, f func(get func(field string) (int64, string))) {
			for o := range v.Index(state.TypeKey(v.Cat.Type(typ).No)).All() {
				rec, ok := v.LoadOrd(o)
				if !ok {
					t.Fatalf("%s without a record", typ)
				}
				f(func(field string) (int64, string) {
					val := rec.Get(field)
					switch {
					case val.IsNull():
						return 0, ""
					case val[0] == '{':
						var n int64
						if _, err := fmt.Sscanf(string(val), `{"amount":%d`, &n); err != nil {
							t.Fatal(err)
						}
						return n, ""
					case val[0] == '"':
						return 0, val.Text()
					}
					return val.Int(), ""
				})
			}
		}
		moved, allocated, sum := map[string]int64{}, map[string]int64{}, int64(0)
		each("adjustment", func(get func(string) (int64, string)) {
			_, product := get("product")
			n, _ := get("change")
			moved[product] += n
		})
		each("stockLevel", func(get func(string) (int64, string)) {
			_, product := get("product")
			if n, _ := get("quantity"); n != inLevel+moved[product] || n < 0 {
				t.Errorf("of %s there are %d, moved were %d", product, n, moved[product])
			}
		})
		each("allocation", func(get func(string) (int64, string)) {
			_, of := get("payment")
			n, _ := get("amount")
			allocated[of] += n
			sum += n
		})
		each("payment", func(get func(string) (int64, string)) {
			open, _ := get("open")
			used, _ := get("allocated")
			if open+used != inPayment || open < 0 {
				t.Errorf("a payment has %d open and %d allocated", open, used)
			}
			allocated[""] += used
		})
		each("invoice", func(get func(string) (int64, string)) {
			if open, _ := get("open"); open != invoiceSum-sum {
				t.Errorf("the invoice has %d open, allocated are %d", open, sum)
			}
		})
		if allocated[""] != sum {
			t.Errorf("payments say %d are allocated, allocations %d", allocated[""], sum)
		}
	})
}

// draw writes a picture of a history that makes no sense, to be opened in a
// browser, and returns where.
func draw(t *testing.T, class string, m porcupine.Model, info porcupine.LinearizationInfo) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "satchel-history-")
	if err != nil {
		return err.Error()
	}
	path := filepath.Join(dir, class+".html")
	if err := porcupine.VisualizePath(m, info, path); err != nil {
		return err.Error()
	}
	return path
}

// TestViolationsAreFound is the control: histories of a real run, with one
// answer that can't have been, are found out, each class by its model.
func TestViolationsAreFound(t *testing.T) {
	r, _, _, _ := play(t, 2_500, 0, 0, 2)
	for class, ops := range r.ops {
		if got, _ := check(r.models[class], ops); got != porcupine.Ok {
			t.Fatalf("%s is %s as it is", class, got)
		}
	}
	for _, c := range []struct {
		name, class string
		// spoil changes an answer, and reports whether it is one to be spoilt.
		spoil func(i input, o *output) bool
	}{
		{"a stale read", "tasks", func(i input, o *output) bool {
			if i.kind != "read" || o.code != "" {
				return false
			}
			o.title = "an older title"
			return true
		}},
		{"a rev that was not", "tasks", func(i input, o *output) bool {
			if i.kind != "patch" || o.code != "" || i.rev == "" {
				return false
			}
			o.rev = i.rev
			o.again = false
			return true
		}},
		{"a lost write", "tasks", func(i input, o *output) bool {
			if i.kind != "patch" || o.code != "rev_mismatch" {
				return false
			}
			o.code, o.title, o.rev = "", i.text, "0123456789abcdef"
			return true
		}},
		{"a task that is not there", "tasks", func(i input, o *output) bool {
			if i.kind != "read" || o.code != "not_found" {
				return false
			}
			o.code, o.title, o.rev = "", "a title of nobody's", "0123456789abcdef"
			return true
		}},
		{"a status twice", "tasks", func(i input, o *output) bool {
			if i.kind != "complete" || o.code != "wrong_status" {
				return false
			}
			o.code, o.again = "", true
			return true
		}},
		{"an edit over another's", "tasks", func(i input, o *output) bool {
			if i.kind != "push" || o.code != "conflict" {
				return false
			}
			o.code, o.again = "", true
			return true
		}},
		{"a level one too high", "levels", func(i input, o *output) bool {
			if i.kind != "read" {
				return false
			}
			o.n++
			return true
		}},
		{"a move that was too much", "levels", func(i input, o *output) bool {
			if o.code != "insufficient_stock" {
				return false
			}
			o.code = ""
			return true
		}},
		{"a payment spent twice", "payments", func(i input, o *output) bool {
			if i.kind != "allocate" || o.code != "bad_value" {
				return false
			}
			o.code = ""
			return true
		}},
		{"an allocation taken back twice", "payments", func(i input, o *output) bool {
			if i.kind != "read" {
				return false
			}
			o.n += 10
			return true
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			// Some answers could have been otherwise: a rev that nobody was told
			// may be any. Of a few one must not.
			tried := 0
			for k := range r.ops[c.class] {
				ops := slices.Clone(r.ops[c.class])
				out := ops[k].Output.(output)
				if tried == 20 || !c.spoil(ops[k].Input.(input), &out) {
					continue
				}
				tried++
				ops[k].Output = out
				got, info := check(r.models[c.class], ops)
				if got != porcupine.Illegal {
					continue
				}
				path := draw(t, c.class, r.models[c.class], info)
				if b, err := os.ReadFile(path); err != nil || len(b) < 1000 {
					t.Errorf("no picture at %s: %v", path, err)
				}
				if err := os.RemoveAll(filepath.Dir(path)); err != nil {
					t.Error(err)
				}
				return
			}
			t.Fatalf("%d answers were spoilt, and nobody noticed", tried)
		})
	}
}
