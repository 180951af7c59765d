package rest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"satchel/internal/command"
	"satchel/internal/ident"
	. "satchel/internal/testworld" //nolint:revive // its names are people
	"satchel/sync/outbox"
	"satchel/sync/state"
	"satchel/sync/tenant"
)

// notes returns what stands in inboxes since the world was new, as "person
// event about", sorted.
func (w *world) notes() (out []string) {
	w.tb.Helper()
	w.read(func(v *tenant.View) {
		t := w.Cat.Type("notification")
		for o := range v.Index(state.TypeKey(t.No)).All() {
			r, _ := v.LoadOrd(o)
			if !strings.HasPrefix(string(r.ID), "note-") {
				out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Get("recipient").Ref(), r.Get("event").Text(), r.Get("about").Ref())))
			}
		}
	})
	slices.Sort(out)
	return out
}

// posted returns what the outbox holds, as "person event channels", sorted.
func (w *world) posted() (out []string) {
	w.tb.Helper()
	for _, in := range w.intents() {
		out = append(out, fmt.Sprintf("%s %s %s", in.Person, in.Event, in.Channels))
	}
	slices.Sort(out)
	return out
}

func (w *world) intents() (out []outbox.Intent) {
	w.read(func(v *tenant.View) {
		outbox.Due(v.KV(), 1<<60, func(in outbox.Intent) bool { out = append(out, in); return true })
	})
	return out
}

func (w *world) read(f func(v *tenant.View)) {
	if err := w.Tenant.Read(func(v *tenant.View) error { f(v); return nil }); err != nil {
		w.tb.Fatal(err)
	}
}

// does sends a request that must be taken.
func (w *world) does(who ident.RecordID, method, path string, kv ...any) *Response {
	w.tb.Helper()
	var body any
	if len(kv) > 0 || method == "POST" {
		body = Object(kv...)
	}
	res := w.HTTP(who, method, path, body)
	if res.Status >= 300 {
		w.tb.Fatalf("%s: %s %s: %d %s", who, method, path, res.Status, res.Body)
	}
	return res
}

func same(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

var lines1 = []map[string]any{{"id": "1", "text": "Work", "quantity": 1, "unitPrice": map[string]any{"amount": 1000, "currency": "EUR"}}}

// TestNews: who is told of what through the module API, and who is not. Roles
// reach all clients unless the world says otherwise: Blue is hidden from Blind,
// Contractor sees Acme alone.
func TestNews(t *testing.T) {
	n := func(who ident.RecordID, event, about string) string {
		return strings.TrimSpace(fmt.Sprintf("%s %s %s", who, event, about))
	}
	for i, c := range []struct {
		name   string
		do     func(w *world)
		notes  []string
		posted []string // nil: not looked at
	}{
		{
			"work assigned", func(w *world) {
				w.does(Manager, "POST", "/v1/service/job-activities/act-acme-2/assign", "assignee", Engineer)
			},
			[]string{n(Engineer, "jobActivity.assigned", "act-acme-2")},
			[]string{n(Engineer, "jobActivity.assigned", "push")},
		},
		{
			"work assigned to oneself", func(w *world) {
				w.does(Manager, "POST", "/v1/service/job-activities/act-acme-2/assign", "assignee", Manager)
			},
			nil,
			[]string{},
		},
		{
			// The former assignee learns no more than that it is gone.
			"work handed on", func(w *world) {
				w.does(Manager, "POST", "/v1/service/job-activities/act-acme-1/assign", "assignee", Colleague)
			},
			[]string{n(Engineer, "jobActivity.removed", ""), n(Colleague, "jobActivity.assigned", "act-acme-1")},
			nil,
		},
		{
			"work taken back", func(w *world) { w.does(Manager, "POST", "/v1/service/job-activities/act-acme-1/unassign") },
			[]string{n(Engineer, "jobActivity.removed", "")},
			nil,
		},
		{
			"work moved", func(w *world) {
				w.does(Manager, "PATCH", "/v1/service/job-activities/act-acme-1", "scheduledStart", "2026-03-09T08:00:00Z")
			},
			[]string{n(Engineer, "jobActivity.moved", "act-acme-1")},
			nil,
		},
		{
			"work edited otherwise", func(w *world) {
				w.does(Manager, "PATCH", "/v1/service/job-activities/act-acme-1", "title", "Other")
			},
			nil,
			[]string{},
		},
		{
			"work cancelled", func(w *world) { w.does(Manager, "POST", "/v1/service/job-activities/act-acme-1/cancel") },
			[]string{n(Engineer, "jobActivity.cancelled", "act-acme-1")},
			nil,
		},
		{
			"work cancelled with its job", func(w *world) { w.does(SvcAdmin, "POST", "/v1/service/jobs/job-corp-1/cancel") },
			[]string{n(Engineer, "jobActivity.cancelled", "act-corp-1")},
			nil,
		},
		{
			"work cleared where all may see", func(w *world) { clear(w, "act-acme-1") },
			[]string{
				n(Manager, "jobActivity.cleared", "act-acme-1"), n(Blind, "jobActivity.cleared", "act-acme-1"),
				n(Contractor, "jobActivity.cleared", "act-acme-1"),
			},
			[]string{n(Manager, "jobActivity.cleared", "digest"), n(Blind, "jobActivity.cleared", "digest"), n(Contractor, "jobActivity.cleared", "digest")},
		},
		{
			"work cleared where some may not", func(w *world) { clear(w, "act-blue-1") },
			[]string{n(Manager, "jobActivity.cleared", "act-blue-1")},
			nil,
		},
		{
			"ticket opened", func(w *world) {
				w.does(Basic, "POST", "/v1/helpdesk/tickets", "client", Acme, "subject", "Cold")
			},
			[]string{n(Ticketer, "ticket.opened", "*"), n(Onsite, "ticket.opened", "*"), n(Liaison, "ticket.opened", "*")},
			[]string{n(Ticketer, "ticket.opened", "push"), n(Onsite, "ticket.opened", "push"), n(Liaison, "ticket.opened", "push")},
		},
		{
			"ticket opened elsewhere", func(w *world) {
				w.does(Basic, "POST", "/v1/helpdesk/tickets", "client", Blue, "subject", "Cold")
			},
			[]string{n(Ticketer, "ticket.opened", "*")},
			nil,
		},
		{
			"ticket assigned", func(w *world) {
				w.does(Ticketer, "POST", "/v1/helpdesk/tickets/ticket-acme-1/assign", "assignee", Engineer)
			},
			[]string{n(Engineer, "ticket.assigned", "ticket-acme-1")},
			nil,
		},
		{
			"update requested", func(w *world) { w.does(Staff, "POST", "/v1/helpdesk/tickets/ticket-acme-3/request-update") },
			[]string{n(Engineer, "ticket.update-requested", "*")},
			[]string{n(Engineer, "ticket.update-requested", "push,mail")},
		},
		{
			"replied", func(w *world) {
				w.does(Engineer, "POST", "/v1/helpdesk/ticket-updates", "ticket", "ticket-acme-3", "visibility", "public", "kind", "reply", "text", "Soon")
			},
			[]string{n(Staff, "ticket.replied", "*")},
			[]string{n(Staff, "ticket.replied", "push,mail")},
		},
		{
			"replied among one another", func(w *world) {
				w.does(Engineer, "POST", "/v1/helpdesk/ticket-updates", "ticket", "ticket-acme-3", "visibility", "internal", "kind", "reply", "text", "Never")
			},
			nil,
			[]string{},
		},
		{
			"ticket closed unresolved", func(w *world) { w.does(Ticketer, "POST", "/v1/helpdesk/tickets/ticket-acme-3/close") },
			[]string{n(Engineer, "ticket.cancelled", "ticket-acme-3")},
			nil,
		},
		{
			"part moved on", func(w *world) {
				w.Import(Row("partOrder", "part-order-1", "client", Acme, "product", "product-seal", "quantity", 1, "requestedBy", StockOps))
				w.does(StockOrders, "POST", "/v1/stock/part-orders/part-order-1/order")
			},
			[]string{n(StockOps, "partOrder.moved", "part-order-1")},
			[]string{n(StockOps, "partOrder.moved", "push")},
		},
		{
			"invoice drafted", func(w *world) {
				w.does(Manager, "POST", "/v1/service/invoices", "client", Acme, "lines", lines1)
			},
			[]string{n(BillAdmin, "invoice.awaiting-approval", "*")},
			[]string{n(BillAdmin, "invoice.awaiting-approval", "mail")},
		},
		{
			"invoice approved and voided", func(w *world) {
				w.Import(Row("invoice", "invoice-owned", "client", Acme, "owner", BillAgent, "lines", lines1))
				w.does(BillAdmin, "POST", "/v1/billing/invoices/invoice-owned/approve")
				w.does(DebtAdmin, "POST", "/v1/debtors/invoices/invoice-owned/void")
			},
			[]string{n(BillAgent, "invoice.approved", "invoice-owned"), n(BillAgent, "invoice.voided", "invoice-owned")},
			nil,
		},
		{
			"contract activated", func(w *world) {
				w.Import(Row("contract", "contract-new", "client", Acme, "title", "Care", "kind", "service", "starts", "2026-01-01", "interval", "monthly", "lines", lines1, "owner", BillGuest))
				w.does(BillAdmin, "POST", "/v1/billing/contracts/contract-new/activate")
			},
			nil,
			[]string{n(BillAgent, "contract.activated", "digest"), n(BillGuest, "contract.activated", "digest")},
		},
		{
			"task assigned", func(w *world) {
				w.does(SalesAdmin, "POST", "/v1/sales/tasks", "title", "Call", "client", Acme, "assignee", SalesRep)
			},
			[]string{n(SalesRep, "task.assigned", "*")},
			[]string{n(SalesRep, "task.assigned", "push")},
		},
		{
			"role given", func(w *world) {
				w.does(Admin, "POST", "/v1/admin/role-assignments", "employee", Nobody, "role", "service.guest")
			},
			nil,
			[]string{n(Nobody, "access.changed", "silent"), n(Admin, "access.changed", "silent")},
		},
		{
			"attempt on the last administrator", func(w *world) {
				w.HTTP(Admin, "POST", "/v1/admin/employees/emp-admin/disable", nil).Want(w.tb, 409, "last_administrator")
			},
			nil,
			[]string{n(Admin, outbox.LastAdmin, "mail")},
		},
		{
			"new device", func(w *world) { w.DeviceToken(Engineer, "phone"); w.DeviceToken(Engineer, "phone") },
			nil,
			[]string{n(Engineer, "device.added", "mail")},
		},
		{
			"import", func(w *world) {
				w.Import(
					Row("ticket", "ticket-import", "client", Acme, "subject", "Old", "assignee", Engineer),
					Row("jobActivity", "act-import", "job", "job-acme-1", "title", "Old", "assignee", Engineer),
					Row("roleAssignment", "role-import", "employee", Nobody, "role", "service.guest"),
					Row("invoice", "invoice-import", "client", Acme, "lines", lines1))
			},
			nil,
			[]string{},
		},
		{
			"refused", func(w *world) {
				w.HTTP(Guest, "POST", "/v1/service/job-activities/act-acme-2/assign", Object("assignee", Engineer)).Want(w.tb, 403, "not_allowed")
			},
			nil,
			[]string{},
		},
	} {
		if i%sparse(5) != 0 {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			for _, p := range People() { // their sign-ins are not what this is about
				w.Token(p)
			}
			c.do(w)
			got := w.notes()
			for i, s := range got {
				if f := strings.Fields(s); len(f) == 3 && strings.HasPrefix(f[2], "r") && len(f[2]) == 25 {
					got[i] = f[0] + " " + f[1] + " *"
				}
			}
			slices.Sort(got)
			same(t, "inboxes", got, c.notes...)
			if c.posted != nil {
				same(t, "outbox", w.posted(), c.posted...)
			}
		})
	}
}

func clear(w *world, act string) {
	for _, step := range []string{"travel", "arrive", "clear"} {
		w.does(Engineer, "POST", "/v1/service/job-activities/"+act+"/"+step)
	}
}

// TestNewsName: what a notification says is the same for everybody and quotes
// nothing; whom it was made for alone reads it.
func TestNewsName(t *testing.T) {
	w := newWorld(t)
	w.does(Manager, "PATCH", "/v1/service/job-activities/act-acme-2", "title", "Gold vault 17")
	w.does(Manager, "POST", "/v1/service/job-activities/act-acme-2/assign", "assignee", Engineer)
	res := w.HTTP(Engineer, "GET", "/v1/me/notifications?filter=event%20eq%20jobActivity.assigned", nil).Want(t, 200, "")
	if !strings.Contains(string(res.Body), `"about":"act-acme-2"`) || strings.Contains(string(res.Body), "Gold") || strings.Contains(string(res.Body), string(Manager)) {
		t.Errorf("%s", res.Body)
	}
	id := res.IDs(t)[0]
	w.HTTP(Colleague, "GET", "/v1/me/notifications/"+id, nil).Want(t, 404, "not_found")
	w.does(Engineer, "POST", "/v1/me/notifications/"+id+"/read")

	// What people were told never stands in the way of deleting what it was about.
	w.does(SalesAdmin, "POST", "/v1/sales/tasks", "title", "Call", "client", Acme, "assignee", SalesRep)
	list := w.HTTP(SalesRep, "GET", "/v1/me/notifications?filter=event%20eq%20task.assigned", nil).Want(t, 200, "")
	var about string
	w.read(func(v *tenant.View) {
		r, _ := v.Load(ident.RecordID(list.IDs(t)[0]))
		about = string(r.Get("about").Ref())
	})
	w.does(SalesAdmin, "DELETE", "/v1/sales/tasks/"+about)
	same(t, "inboxes", w.notes(), string(Engineer)+" jobActivity.assigned act-acme-2", string(SalesRep)+" task.removed")
}

// TestNewsInTime: what is due in a record is told when it is due, without any
// write, once, and not where the record has changed its mind.
func TestNewsInTime(t *testing.T) {
	w := newWorld(t)
	people := []ident.RecordID{Ticketer, Engineer}
	told := func(event, about string) (out []string) {
		for _, p := range people {
			out = append(out, fmt.Sprintf("%s %s %s", p, event, about))
		}
		return out
	}
	due := func(d time.Duration) string { return Start.Add(d).Format(time.RFC3339) }
	w.does(Ticketer, "PATCH", "/v1/helpdesk/tickets/ticket-acme-3", "due", due(20*time.Hour))
	w.does(Ticketer, "PATCH", "/v1/helpdesk/tickets/ticket-acme-3", "due", due(10*time.Hour))
	w.Import(
		Row("task", "task-due-1", "title", "Call", "assignee", SalesRep, "due", due(9*time.Hour)),
		Row("task", "task-due-2", "title", "Done", "assignee", SalesRep, "due", due(9*time.Hour)),
		Row("task", "task-due-3", "title", "Late", "assignee", SalesRep, "due", due(-9*time.Hour)),
		Row("contract", "contract-due", "client", Acme, "title", "Care", "kind", "service", "starts", "2026-01-01", "ends", "2026-04-02",
			"interval", "monthly", "lines", lines1, "status", "Active", "owner", BillGuest),
	)
	w.does(SalesAdmin, "POST", "/v1/sales/tasks/task-due-2/complete")
	start := []string{fmt.Sprintf("%s ticket.moved ticket-acme-3", Engineer), fmt.Sprintf("%s ticket.moved ticket-acme-3", Engineer)}
	same(t, "before", w.notes(), start...)

	w.Advance(7 * time.Hour)
	same(t, "early", w.notes(), start...)
	w.Advance(90 * time.Minute) // two hours ahead of the tenth
	// Service managers as such see no tickets.
	same(t, "near", w.notes(), append(told("ticket.sla-near", "ticket-acme-3"), start...)...)
	w.Advance(31 * time.Minute)
	w.Advance(time.Hour) // 10:01 h after the start
	w.Advance(12 * time.Hour)
	w.Advance(time.Minute)
	count := map[string]int{}
	for _, s := range w.notes() {
		count[s]++
	}
	for s, want := range map[string]int{
		string(Engineer) + " ticket.sla-near ticket-acme-3":     1,
		string(Engineer) + " ticket.sla-breached ticket-acme-3": 1,
		string(Ticketer) + " ticket.sla-breached ticket-acme-3": 1,
		string(SalesRep) + " task.due task-due-1":               1,
		string(SalesRep) + " task.due task-due-2":               0,
		string(SalesRep) + " task.due task-due-3":               0,
		string(Staff) + " ticket.sla-breached ticket-acme-3":    0,
	} {
		if count[s] != want {
			t.Errorf("%q: told %d times, want %d", s, count[s], want)
		}
	}
	if slices.ContainsFunc(w.posted(), func(s string) bool { return strings.Contains(s, "contract.expiring") }) {
		t.Error("a month ahead is not reached")
	}
	w.Advance(36 * time.Hour)
	if got := w.posted(); !slices.Contains(got, string(BillGuest)+" contract.expiring digest") || !slices.Contains(got, string(BillAgent)+" contract.expiring digest") {
		t.Errorf("%q", got)
	}
}

// TestNewsOfOfflineWork: the author is told once of what a push had refused,
// and not by the device that sent it.
func TestNewsOfOfflineWork(t *testing.T) {
	w := newWorld(t)
	dev := w.Device(Engineer, "phone")
	push := func(ms ...command.Mutation) {
		w.Do(&command.Command{Actor: Engineer, Device: dev, Push: &command.Push{Now: ident.MillisOf(w.Clock()), Mutations: ms}})
	}
	patch := func(n uint64, typ string, id ident.RecordID) command.Mutation {
		return command.Mutation{N: n, Op: "patch", Type: typ, ID: id, Fields: Object("note", "x"), Was: command.Object{"note": []byte("null")}, At: ident.MillisOf(w.Clock()), Hash: []byte{byte(n)}}
	}
	push(patch(1, "jobActivity", "act-dune-1"), patch(2, "jobActivity", "act-acme-1"), patch(3, "job", "job-acme-1"))
	same(t, "inboxes", w.notes(), string(Engineer)+" "+outbox.OfflineRefused)
	i := slices.IndexFunc(w.intents(), func(in outbox.Intent) bool { return in.Event == outbox.OfflineRefused })
	if i < 0 || w.intents()[i].Except != dev || w.intents()[i].About != "" {
		t.Errorf("%+v", w.intents())
	}
	push(patch(1, "jobActivity", "act-dune-1")) // told again, not news
	same(t, "inboxes", w.notes(), string(Engineer)+" "+outbox.OfflineRefused)
	w.does(Manager, "PATCH", "/v1/service/job-activities/act-acme-1", "note", "theirs")
	push(patch(4, "jobActivity", "act-acme-1"))
	same(t, "inboxes", w.notes(), string(Engineer)+" "+outbox.OfflineRefused, string(Engineer)+" "+outbox.OfflineConflict+" act-acme-1")
}

// TestNewsOfHiddenClients: somebody from whom a client is hidden is told of
// nothing that belongs to it, in no inbox and by no mail, from the moment that
// it is hidden; who loses work by that is told nothing either.
func TestNewsOfHiddenClients(t *testing.T) {
	all := func(w *world, who ident.RecordID) (out []string) {
		for _, s := range append(w.notes(), w.posted()...) {
			if strings.HasPrefix(s, string(who)+" ") && !strings.Contains(s, "access.changed") && !strings.Contains(s, "device.added") {
				out = append(out, s)
			}
		}
		return out
	}
	blueWork := func(w *world) {
		w.does(Basic, "POST", "/v1/helpdesk/tickets", "client", Blue, "subject", "Cold")
		clear(w, "act-blue-1")
		w.does(SvcAdmin, "PATCH", "/v1/service/job-activities/act-blue-2", "title", "Later")
	}
	t.Run("BM-CLIENT-3", func(t *testing.T) {
		w := newWorld(t)
		w.Person("emp-desk", "level.ticket-manager", "service.manager", "crm.administrator")
		w.Hide("emp-desk", Blue)
		w.Import(Row("task", "task-blue", "title", "Call", "client", Blue, "assignee", SalesRep))
		blueWork(w)
		// A task under the client can't be given to them, at that.
		w.HTTP(SalesAdmin, "POST", "/v1/sales/tasks/task-blue/assign", Object("assignee", "emp-desk")).Want(t, 422, "assignee_not_eligible")
		same(t, "told", all(w, "emp-desk"))
		// Of other clients they are told.
		w.does(Basic, "POST", "/v1/helpdesk/tickets", "client", Acme, "subject", "Cold")
		if len(all(w, "emp-desk")) != 2 {
			t.Errorf("%q", all(w, "emp-desk"))
		}
	})
	t.Run("BM-CLIENT-4", func(t *testing.T) {
		w := newWorld(t)
		w.Person("emp-watch", "level.basic")
		w.Import(Row("ticket", "ticket-watched", "client", Blue, "subject", "Cold", "requester", "emp-watch", "assignee", Engineer))
		w.Hide("emp-watch", Blue)
		w.does(Engineer, "POST", "/v1/helpdesk/ticket-updates", "ticket", "ticket-watched", "visibility", "public", "kind", "reply", "text", "Soon")
		same(t, "told", all(w, "emp-watch"))
	})
	t.Run("rights", func(t *testing.T) {
		w := newWorld(t)
		half, _ := halfBlind(w)
		told := func() (n int) {
			for _, s := range w.posted() {
				if strings.HasPrefix(s, string(half)+" access.changed") {
					n++
				}
			}
			return n
		}
		before := told()
		add := func(client ident.RecordID) ident.RecordID {
			return ident.RecordID(w.does(Admin, "POST", "/v1/admin/onsite-clients", "employee", Engineer, "client", client).Object(t)["id"].(string))
		}
		row := add(Blue)
		w.HTTP(Admin, "DELETE", "/v1/admin/onsite-clients/"+string(row), nil).Want(t, 204, "")
		w.does(Admin, "POST", "/v1/admin/role-assignments", "employee", "emp-blue-staff", "role", "level.onsite-manager")
		if n := told(); n != before {
			t.Errorf("an administrator who may not know of the client is told %d times", n-before)
		}
		add(Corp)
		if n := told(); n != before+1 {
			t.Errorf("of another client an administrator is told %d times", n-before)
		}
	})
	t.Run("in the inbox", func(t *testing.T) {
		w := newWorld(t)
		w.Person("emp-desk", "level.ticket-manager")
		blueWork(w)
		inbox := func() int {
			return len(w.HTTP("emp-desk", "GET", "/v1/me/notifications", nil).Want(t, 200, "").IDs(t))
		}
		if inbox() != 1 {
			t.Fatalf("%d in the inbox", inbox())
		}
		w.Hide("emp-desk", Blue)
		if inbox() != 0 {
			t.Errorf("%d in the inbox of somebody from whom the client is hidden", inbox())
		}
	})
	t.Run("work lost", func(t *testing.T) {
		w := newWorld(t)
		w.does(Admin, "POST", "/v1/admin/client-visibilities", "employee", Engineer, "mode", "all-but")
		var vis string
		w.read(func(v *tenant.View) {
			typ := w.Cat.Type("clientVisibility")
			for o := range v.Referring(typ, typ.Field("employee").No, Engineer).All() {
				r, _ := v.LoadOrd(o)
				vis = string(r.ID)
			}
		})
		w.does(Admin, "POST", "/v1/admin/visibility-rules", "visibility", vis, "client", Blue)
		var got []string
		for _, s := range w.notes() {
			if strings.Contains(s, "act-blue-1") {
				got = append(got, s)
			}
		}
		same(t, "queue", got, string(Manager)+" jobActivity.queued act-blue-1")
		same(t, "told", all(w, Engineer))
	})
}

// TestNewsForWhoeverActs: who acts for somebody is told what that person is
// told, as far as both may know of it and for as long as it lasts; what is about
// the person alone is not passed on.
func TestNewsForWhoeverActs(t *testing.T) {
	told := func(w *world, who ident.RecordID, event string) (n int) {
		for _, s := range w.notes() {
			if strings.HasPrefix(s, string(who)+" "+event) {
				n++
			}
		}
		return n
	}
	w := newWorld(t)
	w.Person("emp-stand-in", "level.basic")
	w.Person("emp-half-in", "level.basic")
	w.Hide("emp-half-in", Acme)
	for _, who := range []ident.RecordID{"emp-stand-in", "emp-half-in"} {
		w.does(Engineer, "POST", "/v1/me/delegations", "delegate", who, "until", "2026-03-03T10:00:00Z")
	}
	w.does(Manager, "POST", "/v1/service/job-activities/act-acme-2/assign", "assignee", Engineer)
	if a, b := told(w, "emp-stand-in", "jobActivity.assigned"), told(w, "emp-half-in", "jobActivity.assigned"); a != 1 || b != 0 {
		t.Errorf("the stand-in is told %d times, the one from whom the client is hidden %d", a, b)
	}
	w.Give(Engineer, "stock.guest")
	if told(w, "emp-stand-in", "access.changed") != 0 {
		t.Error("what is about the person alone is passed on")
	}
	w.Advance(25 * time.Hour)
	w.does(Manager, "POST", "/v1/service/job-activities/act-blue-2/assign", "assignee", Engineer)
	if told(w, "emp-stand-in", "jobActivity.assigned") != 1 {
		t.Error("it is told when the delegation is over")
	}
}
