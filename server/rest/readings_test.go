package rest_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	. "satchel/internal/testworld" //nolint:revive // its names are people
	"satchel/sync/apply"
)

const (
	crmAccounts = "/v1/crm/accounts"
	salesTasks  = "/v1/sales/tasks"
	crmTasks    = "/v1/crm/tasks"
	deals       = "/v1/crm/opportunities"
	campaigns   = "/v1/crm/campaigns"
	billed      = "/v1/billing/invoices"
	owed        = "/v1/debtors/invoices"
	orders      = "/v1/stock/sales-orders"
	delegations = "/v1/me/delegations"
	crmSites    = "/v1/crm/sites"
	skills      = "/v1/admin/scheduling-roles"
)

// later lets time pass.
func later(d time.Duration) step { return do(func(_ *testing.T, w *world) { w.Advance(d) }) }

// denied takes something from one person, by name.
func denied(who ident.RecordID, kv ...any) step {
	return do(func(_ *testing.T, w *world) { w.Permit(who, "denial", kv...) })
}

func granted(who ident.RecordID, kv ...any) step {
	return do(func(_ *testing.T, w *world) { w.Permit(who, "grant", kv...) })
}

func given(who ident.RecordID, role string, kv ...any) step {
	return do(func(_ *testing.T, w *world) { w.Give(who, role, kv...) })
}

// readings are cases of what the manual leaves open and how it is read here, by
// the number of the reading.
var readings = map[int][]step{
	1: { // rank: hiding, denial, grants and roles, nothing
		get(Guest, jobs).shows("job-acme-1"),
		denied(Guest, "verb", "view", "entityType", "job"),
		granted(Guest, "verb", "view", "entityType", "job"),
		get(Guest, jobs).forbidden(),
		granted(Blind, "verb", "view", "entityType", "client"),
		asAbsent(Blind, "GET", nil, customers+"/client-blue"),
		patch(Rep, customers+"/client-acme", "name", "x").forbidden(),
		given(Rep, "service.manager"),
		patch(Rep, customers+"/client-acme", "name", "Acme anew"),
	},
	2: { // apps share the record of a client, and see their own facets of it
		get(CRMGuestMgr, crmAccounts+"/client-acme").shows("accountNotes").hides("billingNotes", "accessNotes", "debtorNotes", "deliveryNotes"),
		get(BillGuest, "/v1/billing/customers/client-acme").shows("billingNotes").hides("accountNotes", "accessNotes", "debtorNotes"),
		get(StockGuest, "/v1/stock/customers/client-acme").shows("deliveryNotes").hides("accountNotes", "billingNotes"),
		seek(BillGuest, "/v1/billing/customers", "filter", "accountNotes contains crm").no(400, fault.UnknownField),
		seek(BillGuest, "/v1/billing/customers", "sort", "accountNotes").no(400, fault.UnknownField),
		post(CRMAdmin, crmAccounts+"/client-acme/archive"),
		get(Manager, customers+"/client-acme").shows("archivedAt"),
		get(Manager, customers).hides("client-acme"),
		post(BillAdmin, "/v1/billing/customers/client-acme/restore"),
		get(Manager, customers).shows("client-acme"),
		// An individual denial of an app takes what comes by way of that app: a
		// record that another app shares stays as far as that one shows it.
		given(Manager, "crm.representative"), rows(Row("employee", Manager, "salesAreas", []string{"area-north"})),
		get(Manager, customers+"/client-acme").shows("accessNotes", "accountNotes"), get(Manager, jobs).shows("job-acme-1"),
		takesAway(Manager, []string{"client-corp", "job-acme-1", "asset-acme", "comment-acme-3"}, []string{"client-acme", "comment-task-acme", "task-acme-1"},
			denied(Manager, "app", "service")),
		get(Manager, crmAccounts+"/client-acme").shows("accountNotes").hides("accessNotes"),
		get(Manager, crmAccounts).shows("client-acme", "client-blue").hides("client-corp"),
		get(Manager, inCRM.comments).shows("comment-task-acme").hides("comment-acme-3"),
		patch(Manager, crmAccounts+"/client-acme", "accountNotes", "Likes coffee"),
		patch(Manager, crmAccounts+"/client-acme", "accessNotes", "x").no(400, fault.UnknownField),
		patch(Manager, crmAccounts+"/client-corp", "name", "x").absent(),
		get(Manager, customers).forbidden(), get(Manager, jobs).forbidden(), get(Manager, invoices).forbidden(),
		do(func(t *testing.T, w *world) {
			e := w.HTTP(Admin, "GET", "/v1/admin/explain?principal=emp-manager&action=view&type=job&id=job-acme-1", nil).Want(t, 200, "").Object(t)
			if e["reason"] != "denied" || e["denial"] == nil {
				t.Errorf("explained: %v", e)
			}
		}),
		// Of a role about several apps it takes the one.
		denied(Ticketer, "app", "service"),
		get(Ticketer, "/v1/helpdesk/customers/client-acme").shows("name", "deliveryNotes").hides("accessNotes"),
		get(Ticketer, "/v1/stock/products").shows("product-seal"), get(Ticketer, jobs).forbidden(),
		get(Ticketer, tickets).shows("ticket-acme-1"),
	},
	3: { // operations have any area for crmAccounts alone
		get(CRMOps, crmAccounts).shows(everyClient...),
		get(CRMOps, crmTasks).shows("task-crm-ops").hides("task-acme-1", "task-corp-1", "task-crm-rep"),
		get(CRMOps, crmAccounts+"/client-acme/tasks").hides("task-acme-1", "task-acme-2"),
		get(CRMOps, crmTasks+"/task-acme-1").absent(),
		synced(CRMOps, []string{"client-acme", "client-dune", "task-crm-ops"}, []string{"task-acme-1", "task-crm-rep"}),
	},
	4: { // context: beneath a parent, never in a list, search or count
		get(CRMGuest, crmTasks).shows("task-crm-guest").hides("task-acme-1"),
		seek(CRMGuest, crmTasks, "q", "acme").hides("task-acme-1"),
		seek(CRMGuest, crmTasks, "filter", "id in (task-acme-1, task-crm-guest)").shows("task-crm-guest").hides("task-acme-1"),
		get(CRMGuest, crmTasks+":export?format=csv").quiet("task-acme-1"),
		get(CRMGuest, crmAccounts+"/client-acme/tasks").shows("task-acme-1"),
		get(CRMGuest, deals+"/opportunity-acme-1/tasks").shows("task-acme-2"),
		get(CRMGuest, campaigns+"/campaign-wide-1/activities").shows("activity-wide-1"),
		get(CRMGuest, crmTasks+"/task-acme-1").shows("context", "title"),
		get(CRMGuest, crmTasks+"/task-loose-1").absent(),
		do(func(t *testing.T, w *world) {
			id := report(t, w, "name", "Tasks", "app", "crm", "entityType", "task")
			if got := w.HTTP(CRMGuest, "GET", reports+"/"+id+"/result", nil).Want(t, 200, "").Body; string(got) != `{"groups":[],"total":{"count":2}}` {
				t.Errorf("context-only records are counted: %s", got)
			}
		}),
		synced(CRMGuest, []string{"client-acme", "task-crm-guest"}, []string{"task-acme-1", "activity-wide-1"}),
		pinned(CRMGuest, "client", Acme, []string{"task-acme-1", "opportunity-acme-1"}, []string{"task-blue-1", "task-loose-1", "activity-wide-1"}),
	},
	5: { // four roles of one name: none implies another
		get(Rep, jobs).shows("job-acme-1"), get(Rep, "/v1/billing/contracts").forbidden(), get(Rep, orders).forbidden(), get(Rep, salesTasks).forbidden(),
		get(BillRep, billed).shows("invoice-acme"), get(BillRep, jobs).forbidden(), get(BillRep, orders).forbidden(),
		get(StockRep, orders).shows("sale-acme-1"), get(StockRep, billed).forbidden(), get(StockRep, jobs).forbidden(),
		get(SalesRep, salesTasks).shows("task-sales-representative"), get(SalesRep, jobs).forbidden(), get(SalesRep, billed).forbidden(),
	},
	6: { // Cleared is still the engineer's, what comes after is not; a manager reopens
		do(func(t *testing.T, w *world) {
			want := []string{
				"New", "Assigned", "Accepted", "Travelling", "On Site", "Working", "Paused", "Awaiting Parts", "Cleared", "Reviewed", "Completed",
				"Invoiced", "Closed", "Cancelled",
			}
			if got := w.Cat.Type("jobActivity").Status.States; !slices.Equal(got, want) {
				t.Errorf("%v", got)
			}
		}),
		post(Engineer, activities+"/act-acme-1/start"), post(Engineer, activities+"/act-acme-1/clear"),
		patch(Engineer, activities+"/act-acme-1", "workDone", "All of it"),
		post(Manager, activities+"/act-acme-1/review"),
		patch(Engineer, activities+"/act-acme-1", "workDone", "More").forbidden(),
		post(Engineer, activities+"/act-acme-1/reopen").forbidden(),
		post(Manager, activities+"/act-acme-1/reopen"),
		patch(Engineer, activities+"/act-acme-1", "workDone", "More"),
		post(Manager, activities+"/act-acme-1/cancel"),
		patch(Engineer, activities+"/act-acme-1", "workDone", "Yet more").forbidden(),
	},
	7: { // the sales area scopes, the geo area does not; a client needs an area
		get(Rep, jobs).shows("job-acme-1").hides("job-corp-1"),
		rows(Row("client", Corp, "geoArea", "geo-west-1")),
		get(Rep, jobs).hides("job-corp-1"),
		create(SvcAdmin, customers, "name", "Nowhere").no(422, fault.MissingField),
		patch(Admin, employees+"/emp-sales-rep", "salesAreas", []string{"area-north", "area-south"}),
		get(Rep, jobs).shows("job-acme-1", "job-corp-1"),
	},
	8: { // what is beneath a client follows it; catalogue rows are for all, orders at suppliers are not
		get(BillRep, billed).shows("invoice-acme", "invoice-blue-2").hides("invoice-corp", "invoice-corp-2"),
		get(BillRep, "/v1/billing/contracts").shows("contract-acme-1").hides("contract-corp-1"),
		get(StockRep, "/v1/stock/products").shows("product-seal"), get(StockRep, "/v1/stock/warehouses").shows("warehouse-main"),
		get(StockRep, "/v1/stock/carriers").shows("carrier-one"), get(StockRep, "/v1/stock/suppliers").shows("supplier-one"),
		get(StockRep, "/v1/stock/purchase-orders").forbidden(),
		get(StockRep, orders).shows("sale-acme-2").hides("sale-corp-2"),
		post(CRMAdmin, crmAccounts+"/client-acme/set-area", "salesArea", "area-south"),
		get(StockRep, orders).hides("sale-acme-2"), get(BillRep, billed).hides("invoice-acme"),
		// What was moved for a hidden client's order is not there; the level is.
		do(func(_ *testing.T, w *world) { w.Hide(StockGuest, Blue) }),
		get(StockGuest, "/v1/stock/stock-movements").shows("movement-acme-1").hides("movement-blue-1"),
		get(StockGuest, "/v1/stock/stock-levels").shows("level-two-hose"),
	},
	9: { // a manager moves an own account out of the area and sees it no more
		post(CRMManager, crmAccounts+"/client-corp/set-area", "salesArea", "area-north").absent(),
		post(CRMManager, crmAccounts+"/client-acme/set-area", "salesArea", "area-south").status204(),
		get(CRMManager, crmAccounts).shows("client-blue").hides("client-acme"),
		get(CRMManager, crmAccounts+"/client-acme").absent(),
	},
	10: { // archived: out of lists, not to be edited, restored by whoever archives; deleting is for few
		post(CRMAdmin, crmAccounts+"/client-acme/archive"),
		get(CRMAdmin, crmAccounts).hides("client-acme"), get(CRMAdmin, crmAccounts+"?archived=true").shows("client-acme"),
		patch(CRMAdmin, crmAccounts+"/client-acme", "name", "x").no(409, fault.Archived),
		post(CRMRep, crmAccounts+"/client-acme/restore").forbidden(),
		post(CRMManager, crmAccounts+"/client-acme/restore"),
		patch(CRMAdmin, crmAccounts+"/client-acme", "name", "Acme again"),
		remove(CRMRep, crmTasks+"/task-loose-crm-rep"),
		remove(CRMRep, crmTasks+"/task-acme-1").forbidden(),
		remove(StockOrders, orders+"/sale-acme-1").forbidden(), remove(StockCtrl, orders+"/sale-acme-1"),
		remove(DebtOps, "/v1/debtors/collection-notes/collection-acme-1").forbidden(), remove(DebtAdmin, "/v1/debtors/collection-notes/collection-acme-1"),
	},
	11: { // private tags and filters are their maker's alone, and a guest may keep them
		create(CRMGuest, "/v1/crm/tags", "name", "Mine", "visibility", "private"),
		create(CRMGuest, "/v1/crm/tags", "name", "Ours", "visibility", "public").forbidden(),
		create(CRMGuest, "/v1/crm/filters", "name", "Mine", "visibility", "private", "app", "crm", "entityType", "client"),
		get(CRMAdmin, "/v1/crm/tags").shows("tag-key-1", "tag-secret-admin").hides("tag-secret-rep"),
		get(CRMAdmin, "/v1/crm/taggings").hides("tagging-secret-rep"), get(Admin, "/v1/crm/filters").hides("filter-secret-rep"),
		get(CRMRep, "/v1/crm/taggings").shows("tagging-secret-rep"),
		seek(CRMRep, "/v1/crm/accounts", "saved", "filter-crm-1").shows("client-acme").hides("client-corp"),
		seek(CRMAdmin, "/v1/crm/accounts", "saved", "filter-crm-1").shows("client-acme", "client-corp"),
	},
	12: { // the engineer: header of the job, agent, no invoices; all customers online, own ones on the phone
		rows(Row("job", "job-acme-1", "closedAt", "2026-03-01T10:00:00Z")),
		get(Engineer, jobs+"/job-acme-1").shows("title", "contact").hides("closedAt"),
		get(Engineer, "/v1/service/service-agents").shows("agent-engineer"),
		get(Engineer, invoices).forbidden(), get(Engineer, customers).shows(everyClient...),
		pulled(Engineer, "field", []string{"act-acme-1", "job-acme-1", "client-acme", "van-engineer"}, []string{"client-dune", "job-dune-1", "invoice-acme"}),
	},
	13: { // a scheduling role bounds who is assigned, when and by whom, and gives no rights
		rows(Row("jobActivity", "act-gas-001", "job", "job-acme-1", "title", "Gas", "schedulingRole", "skill-gas-1")),
		post(Manager, activities+"/act-gas-001/assign", "assignee", Colleague).no(422, fault.AssigneeNotEligible),
		rows(Row("employee", Colleague, "schedulingRoles", []string{"skill-gas-1"}), Row("employee", Nobody, "schedulingRoles", []string{"skill-gas-1"})),
		post(Manager, activities+"/act-gas-001/assign", "assignee", Colleague),
		get(Nobody, activities).forbidden(), get(Nobody, jobs).forbidden(),
		// Nor can it be asked for where whoever has the work lacks it.
		post(Manager, activities+"/act-acme-2/assign", "assignee", Engineer),
		patch(Manager, activities+"/act-acme-2", "schedulingRole", "skill-gas-1").no(422, fault.AssigneeNotEligible),
		patch(Manager, activities+"/act-acme-2", "title", "Gas as well"),
		// Its working calendar: Mondays from 8 to 16 where it is an hour later than UTC.
		patch(Admin, skills+"/skill-gas-1", "hours", []map[string]string{{"id": "1", "day": "monday", "from": "08:00", "until": "07:00"}}).no(422, fault.BadValue),
		patch(Admin, skills+"/skill-gas-1", "daysOff", []string{"2026-02-30"}).no(422, fault.BadValue),
		patch(Admin, skills+"/skill-gas-1", "hours", []map[string]string{{"id": "1", "day": "monday", "from": "08:00", "until": "16:00"}},
			"utcOffset", 60, "daysOff", []string{"2026-03-09"}, "skills", []string{"boilers", "leaks"}),
		post(Manager, activities+"/act-gas-001/assign", "assignee", Colleague, "scheduledStart", "2026-03-16T14:00:00Z", "scheduledEnd", "2026-03-16T15:30:00Z").
			no(422, fault.AssigneeNotEligible),
		post(Manager, activities+"/act-gas-001/assign", "assignee", Colleague, "scheduledStart", "2026-03-09T09:00:00Z").no(422, fault.AssigneeNotEligible),
		post(Manager, activities+"/act-gas-001/assign", "assignee", Colleague, "scheduledStart", "2026-03-16T07:00:00Z", "scheduledEnd", "2026-03-16T15:00:00Z"),
		create(Manager, activities, "job", "job-acme-1", "title", "By night", "assignee", Colleague, "scheduledStart", "2026-03-16T22:00:00Z").
			no(422, fault.AssigneeNotEligible),
		create(Manager, activities, "job", "job-acme-1", "title", "By day", "assignee", Colleague, "scheduledStart", "2026-03-16T12:00:00Z"),
		get(Manager, activities+"/act-acme-2/assignees?scheduledStart=2026-03-16T12:00:00Z").shows(string(Engineer), string(Colleague)),
		get(Manager, activities+"/act-acme-2/assignees?scheduledStart=2026-03-16T22:00:00Z").shows(string(Engineer)).hides(string(Colleague)),
		// Who may be dispatched by whom.
		rows(Row("schedulingRole", "skill-lead-1", "name", "Lead"), Row("schedulingRole", "skill-gas-1", "dispatchedBy", []string{"skill-lead-1"})),
		post(Manager, activities+"/act-gas-001/assign", "assignee", Colleague).no(422, fault.AssigneeNotEligible),
		get(Manager, activities+"/act-gas-001/assignees").hides(string(Colleague)),
		do(func(t *testing.T, w *world) {
			p := w.handset(t, Manager)
			p.pull("office")
			assign := func(n int) string {
				return p.push(map[string]any{"n": n, "op": "action", "type": "jobActivity", "id": "act-gas-001", "action": "assign", "args": map[string]any{"assignee": Colleague}})
			}
			if got := assign(1); got != "refused assignee_not_eligible" {
				t.Errorf("pushed by who may not dispatch: %s", got)
			}
			w.Import(Row("employee", Manager, "schedulingRoles", []string{"skill-lead-1"}))
			if got := assign(2); got != "applied" {
				t.Errorf("pushed by who may: %s", got)
			}
			if got := p.push(map[string]any{
				"n": 3, "op": "action", "type": "jobActivity", "id": "act-gas-001", "action": "assign",
				"args": map[string]any{"assignee": Colleague, "scheduledStart": "2026-03-16T17:00:00Z", "scheduledEnd": "2026-03-16T18:00:00Z"},
			}); got != "refused assignee_not_eligible" {
				t.Errorf("pushed after hours: %s", got)
			}
		}).as(onDevices | allowing | refusing),
		get(Manager, activities+"/act-gas-001/assignees").shows(string(Colleague)),
	},
	14: { // the last administrator stays
		post(Admin, employees+"/emp-admin/disable").no(409, fault.LastAdministrator),
		create(Admin, visible, "employee", Admin, "mode", "only").no(409, fault.LastAdministrator),
		create(Admin, assigned, "employee", Manager, "role", "level.customer-administrator"),
		post(Admin, employees+"/emp-admin/disable").status204(),
	},
	15: { // a client hidden from whoever has work there: back to the queue, off the phone, kept
		rows(Row("ticket", "ticket-blue-9", "client", Blue, "subject", "Cold", "requester", Basic, "assignee", Engineer)),
		do(func(t *testing.T, w *world) {
			p := w.handset(t, Engineer)
			p.pull("field")
			if !p.has("act-blue-1") || !p.has("ticket-blue-9") {
				t.Fatal("the phone lacks its work")
			}
			list := made(t, w, Admin, visible, "employee", Engineer, "mode", "all-but")
			made(t, w, Admin, rules, "visibility", list, "client", Blue)
			got := p.push(map[string]any{"n": 1, "op": "patch", "type": "jobActivity", "id": "act-blue-1", "fields": map[string]any{"workDone": "typed in the cellar"}, "was": map[string]any{"workDone": nil}})
			if got != `refused not_found` {
				t.Errorf("the edit is %s", got)
			}
			p.pull("")
			if p.has("act-blue-1") || p.has("ticket-blue-9") || p.has("client-blue") || !p.has("act-acme-1") {
				t.Error("the phone has what is hidden")
			}
			res := w.HTTP(Admin, "GET", "/v1/admin/quarantine", nil).Want(t, 200, "")
			if !slices.Contains(words(res.Body), "typed in the cellar") {
				t.Errorf("the text is lost: %s", res.Body)
			}
		}),
		get(Manager, activities+"/act-blue-1").blank("assignee"),
		get(Ticketer, tickets+"/ticket-blue-9").shows("status").blank("assignee"),
		seek(Ticketer, "/v1/me/notifications", "filter", "event eq ticket.queued and about eq ticket-blue-9").some(1),
		seek(Manager, "/v1/me/notifications", "filter", "event eq jobActivity.queued and about eq act-blue-1").some(1),
		seek(Engineer, "/v1/me/notifications", "filter", "event eq ticket.queued").some(0),
		get(Engineer, activities+"/act-blue-1").absent(),
		get(Engineer, "/v1/admin/quarantine").forbidden(),
	},
	16: { // an administrator belongs to the tenant
		create(Admin, assigned, "employee", Staff, "role", "level.customer-administrator").no(422, fault.BadValue),
		create(Admin, assigned, "employee", Manager, "role", "level.customer-administrator"),
		get(Staff, employees).hides("emp-manager"),
	},
	17: { // what has an end is over without a write
		given(Nobody, "service.guest", "until", "2026-03-02T12:00:00Z"),
		granted(Basic, "verb", "view", "entityType", "supplier", "until", "2026-03-02T12:00:00Z"),
		get(Nobody, jobs).shows("job-acme-1"), get(Basic, "/v1/stock/suppliers").shows("supplier-one"),
		later(3 * time.Hour),
		get(Nobody, jobs).forbidden(), get(Basic, "/v1/stock/suppliers").forbidden(),
	},
	18: { // the ceiling of client staff, and what outside workers don't see
		given(Staff, "service.manager"),
		get(Staff, jobs).shows("job-acme-1").hides("job-blue-1", "job-corp-1"),
		get(Staff, "/v1/stock/products").hides("product-seal"),
		given(Contractor, "stock.guest"), given(Contractor, "level.ticket-manager"),
		get(Contractor, "/v1/stock/suppliers").hides("supplier-one"),
		get(Contractor, updates).shows("update-acme-1").hides("update-acme-2"),
		granted(Contractor, "verb", "view", "entityType", "supplier"),
		get(Contractor, "/v1/stock/suppliers").shows("supplier-one"),
	},
	19: { // campaigns by assignment or by a member; of the members only those in reach
		get(CRMManager, campaigns).shows("campaign-wide-1", "campaign-crm-manager").hides("campaign-south-1", "campaign-crm-ops"),
		get(CRMManager, "/v1/crm/campaign-members").shows("member-wide-acme").hides("member-wide-corp", "member-south-dune"),
		get(CRMManager, campaigns+"/campaign-wide-1/campaign-members").shows("member-wide-acme").hides("member-wide-corp"),
		remove(CRMAdmin, "/v1/crm/campaign-members/member-wide-acme"),
		get(CRMManager, campaigns).hides("campaign-wide-1"),
	},
	20: { // what an own activity brings along
		get(Engineer, "/v1/service/time-entries").shows("time-acme-1").hides("time-dune-1"),
		get(Engineer, "/v1/stock/stock-levels").shows("level-van-seal").hides("level-main-seal"),
		create(Engineer, times, "activity", "act-acme-1", "kind", "work", "start", "2026-03-02T09:00:00Z"),
		create(Engineer, times, "activity", "act-dune-1", "kind", "work", "start", "2026-03-02T09:00:00Z").no(422, fault.BadReference),
		create(Engineer, documents, "parent", "act-acme-1", "name", "photo.jpg"),
		create(Engineer, documents, "parent", "job-acme-1", "name", "photo.jpg").forbidden(),
	},
	21: { // the guest agent's jobs, all of them or, if the tenant chose so, the own
		get(GuestAgent, jobs).shows("job-acme-1", "job-blue-1", "job-dune-1"),
		synced(GuestAgent, []string{"job-acme-1"}, []string{"client-acme", "asset-acme", "act-blue-3"}),
		create(Manager, "/v1/admin/settings", "key", "guest-agent-own-jobs", "on", true).forbidden(),
		create(Admin, "/v1/admin/settings", "key", "guest-agent-own-jobs", "on", true),
		create(Admin, "/v1/admin/settings", "key", "guest-agent-own-jobs", "on", false).no(409, fault.Duplicate),
		get(GuestAgent, jobs).shows("job-blue-1").hides("job-acme-1", "job-dune-1"),
		synced(GuestAgent, []string{"job-blue-1"}, []string{"job-acme-1"}),
	},
	22: { // own work under a client outside one's reach shows, the client does not
		get(CRMRep, crmTasks+"/task-crm-rep").shows("title", "client"),
		get(CRMRep, crmAccounts).hides("client-corp"), get(CRMRep, crmAccounts+"/client-corp").absent(),
		// Where the work is shows by its name, and no other site of that client.
		get(CRMRep, crmSites+"/site-corp").absent(),
		rows(Row("site", "site-corp", "street", "Far 1"), Row("site", "site-corp-9", "client", Corp, "name", "Elsewhere"),
			Row("task", "task-crm-rep", "site", "site-corp")),
		get(CRMRep, crmTasks+"/task-crm-rep").shows("site"),
		get(CRMRep, crmSites+"/site-corp").shows("name").hides("client", "clientId", "street"),
		get(CRMRep, crmSites+"/site-corp-9").absent(),
		carries(CRMRep, "site-corp", []string{"name"}, []string{"client", "clientId", "street"}),
		synced(CRMRep, []string{"task-crm-rep", "site-corp"}, []string{"client-corp", "site-corp-9"}),
		patch(CRMRep, crmSites+"/site-corp", "name", "Mine").forbidden(),
		takesAway(CRMRep, []string{"site-corp", "task-crm-rep"}, []string{"client-acme"},
			do(func(_ *testing.T, w *world) { w.Hide(CRMRep, Corp) })),
		get(CRMRep, crmTasks+"/task-crm-rep").absent(),
		get(CRMRep, crmSites+"/site-corp").absent(),
		// So it does for a guest agent, who sees no client at all.
		rows(Row("job", "job-blue-1", "site", "site-blue"), Row("site", "site-blue", "street", "Far 2")),
		get(GuestAgent, jobs+"/job-blue-1").shows("clientId", "site"), get(GuestAgent, customers+"/client-blue").absent(),
		get(GuestAgent, "/v1/service/sites/site-blue").shows("name").hides("client", "clientId", "street"),
		get(GuestAgent, jobs+"/job-acme-1").hides("site"), get(GuestAgent, "/v1/service/sites/site-acme").absent(),
		carries(GuestAgent, "site-blue", []string{"name"}, []string{"client", "clientId", "street"}),
		takesAway(GuestAgent, []string{"site-blue"}, []string{"job-blue-1"}, post(Manager, activities+"/act-blue-3/unassign")),
	},
	23: { // statuses change by the app that owns them
		post(DebtAdmin, owed+"/invoice-acme/approve").forbidden(), post(BillAdmin, billed+"/invoice-acme-2/void").forbidden(),
		post(SvcAdmin, invoices+"/invoice-acme/approve").forbidden(),
		post(BillAdmin, billed+"/invoice-acme/approve"), post(DebtAdmin, owed+"/invoice-acme-2/void", "voidReason", "Twice"),
	},
	24: { // an account is made in an own area; that is no moving
		create(CRMRep, crmAccounts, "name", "New", "salesArea", "area-north", "geoArea", "geo-west-1"),
		create(CRMRep, crmAccounts, "name", "New", "salesArea", "area-south").forbidden(),
		post(CRMRep, crmAccounts+"/client-acme/set-area", "geoArea", "geo-west-1").forbidden(),
	},
	25: { // delegation: within the delegator's rights, less what either may not know
		get(Guest, customers+"/client-acme").shows("name"),
		patch(Guest, customers+"/client-acme", "name", "x").forbidden(),
		create(Blind, delegations, "delegate", Guest, "until", "2026-03-03T10:00:00Z"),
		patch(Guest, customers+"/client-acme", "name", "Acme for Blind"),
		patch(Guest, customers+"/client-blue", "name", "x").forbidden(),
		create(Guest, delegations, "delegator", Manager, "delegate", Guest, "until", "2026-03-03T10:00:00Z").forbidden(),
		later(25 * time.Hour),
		patch(Guest, customers+"/client-acme", "name", "x").forbidden(),
	},
	26: { // who may write nothing still has what is their own
		create(Guest, "/v1/me/preferences", "key", "rows", "value", "50"),
		post(Guest, "/v1/me/notifications/note-guest/read"),
		create(Guest, "/v1/service/filters", "name", "Mine", "visibility", "private", "app", "service", "entityType", "job"),
		do(func(t *testing.T, w *world) { // a device, to pin on and to cut off; another's is not theirs
			pinned(Guest, "job", "job-acme-1", nil, nil).take(t, w)
			own, other := w.Device(Guest, "lost"), w.Device(Manager, "lost")
			post(Guest, "/v1/admin/devices/"+string(own)+"/revoke").take(t, w)
			asAbsent(Guest, "POST", nil, "/v1/admin/devices/"+string(other)+"/revoke").take(t, w)
		}).as(allowing | refusing | onDevices),
		synced(Guest, []string{"job-acme-1"}, []string{"ticket-acme-1"}),
		patch(Guest, jobs+"/job-acme-1", "title", "x").forbidden(),
	},
	27: { // the directory
		rows(Row("employee", Engineer, "salesAreas", []ident.RecordID{AreaNorth})),
		get(Manager, employees+"/emp-engineer").shows("name").hides("email", "phone", "salesAreas"),
		get(Staff, employees).shows("emp-liaison").hides("emp-crm-admin"),
		get(Staff, employees+"/emp-liaison").shows("name").hides("phone"),
		get(Staff, employees).shows("emp-engineer"), // assigned to a ticket of theirs
		get(Manager, activities+"/act-blue-2/assignees").shows("emp-engineer").hides("emp-blind"),
	},
	28: { // an assignment with an end can't be the last administrator's
		do(func(t *testing.T, w *world) {
			for _, it := range w.HTTP(Admin, "GET", assigned+"?filter=employee%20eq%20emp-admin", nil).IDs(t) {
				patch(Admin, assigned+"/"+it, "until", "2026-04-01T00:00:00Z").no(409, fault.LastAdministrator).take(t, w)
			}
		}),
		create(Admin, assigned, "employee", Manager, "role", "level.customer-administrator", "until", "2026-04-01T00:00:00Z"),
		post(Admin, employees+"/emp-admin/disable").no(409, fault.LastAdministrator),
	},
	29: { // only customer administrators write what decides rights; an archive counts in all apps
		create(SvcAdmin, assigned, "employee", Nobody, "role", "service.guest").forbidden(),
		create(Manager, visible, "employee", Nobody, "mode", "only").forbidden(),
		create(CRMAdmin, permits, "employee", Nobody, "effect", "grant", "verb", "view", "entityType", "client").forbidden(),
		create(Admin, assigned, "employee", Nobody, "role", "service.guest"),
		post(SvcAdmin, customers+"/client-acme/archive"),
		get(CRMAdmin, crmAccounts).hides("client-acme"), get(BillAdmin, "/v1/billing/customers").hides("client-acme"),
	},
	30: { // a tenant's role adds, and cuts only what it grants itself
		create(Admin, orgRoles, "name", "Slim", "baseRoles", []string{"service.guest"}, "cutFields", []string{"job.title"}),
		do(func(t *testing.T, w *world) {
			ids := w.HTTP(Admin, "GET", orgRoles+"?filter=name%20eq%20Slim", nil).IDs(t)
			w.Give(Nobody, ids[0])
			get(Nobody, jobs+"/job-acme-1").shows("number").hides("title").take(t, w)
			seek(Nobody, jobs, "filter", "title contains boiler").no(400, fault.UnknownField).take(t, w)
			seek(Nobody, jobs, "sort", "title").no(400, fault.UnknownField).take(t, w)
			w.Give(Nobody, "service.guest")
			get(Nobody, jobs+"/job-acme-1").shows("number", "title").take(t, w)
		}).as(allowing | refusing),
	},
	31: { // administrators look at every app and edit none
		get(Admin, jobs).shows("job-acme-1"), get(Admin, billed).shows("invoice-corp"), get(Admin, orders).shows("sale-dune-1"),
		get(Admin, crmAccounts+"/client-acme").shows("accountNotes", "billingNotes", "debtorNotes"),
		patch(Admin, crmAccounts+"/client-acme", "name", "x").forbidden(), create(Admin, jobs, "client", "client-acme", "title", "x").forbidden(),
		post(Admin, billed+"/invoice-acme/approve").forbidden(),
	},
	32: { // onsite managers are the tenant's own or the client's
		post(Liaison, tickets+"/ticket-acme-1/assign", "assignee", Staff),
		post(Onsite, tickets+"/ticket-acme-2/assign", "assignee", Onsite),
		get(Liaison, tickets).shows("ticket-acme-1").hides("ticket-blue-1"),
		post(Onsite, tickets+"/ticket-blue-1/assign", "assignee", Onsite).absent(),
	},
	33: { // areas and owner are core; CRM and Sales open one facet; contacts and sites follow the client
		rows(Row("client", Acme, "owner", CRMRep)),
		get(BillGuest, "/v1/billing/customers/client-acme").shows("salesArea", "owner"),
		get(SalesGuestMgr, "/v1/sales/accounts/client-acme").shows("accountNotes").hides("billingNotes"),
		get(CRMRep, "/v1/crm/contacts").shows("contact-acme").hides("contact-corp"),
		get(CRMRep, "/v1/crm/sites").shows("site-blue").hides("site-dune"),
		patch(CRMRep, "/v1/crm/contacts/contact-acme", "title", "Ms"), patch(CRMRep, "/v1/crm/contacts/contact-corp", "title", "Ms").absent(),
	},
	34: { // basic people
		get(Basic, tickets).shows("ticket-acme-1").hides("ticket-acme-2"),
		rows(Row("ticket", "ticket-acme-2", "watchers", []ident.RecordID{Basic})),
		get(Basic, tickets).shows("ticket-acme-2"),
		get(Basic, "/v1/helpdesk/customers/client-acme").shows("name").hides("accessNotes", "billingNotes"),
		get(Basic, documents).hides("document-acme-1", "document-acme-2"),
		get(Staff, "/v1/helpdesk/customers").shows("client-acme").hides("client-blue"),
	},
	35: { // Service drafts invoices, Billing approves, Debtors voids
		create(Manager, invoices, "client", "client-acme"), patch(Manager, invoices+"/invoice-acme", "remarks", "Thanks"),
		patch(Manager, invoices+"/invoice-acme-2", "remarks", "x").forbidden(),
		post(Manager, invoices+"/invoice-acme/approve").forbidden(),
		post(BillAdmin, billed+"/invoice-acme/approve"),
		get(DebtOps, owed).shows("invoice-acme"), get(Manager, invoices+"/invoice-acme-2").shows("number").hides("approvalNotes", "collectionNotes"),
	},
	36: { // picking, without editing the order
		post(StockOps, orders+"/sale-acme-2/pick"),
		patch(StockOps, orders+"/sale-acme-1", "notes", "x").forbidden(), post(StockOps, orders+"/sale-acme-1/approve").forbidden(),
	},
	37: { // past Cleared comments go on, all else is closed
		post(Engineer, activities+"/act-acme-1/start"), post(Engineer, activities+"/act-acme-1/clear"), post(Manager, activities+"/act-acme-1/review"),
		create(Engineer, comments, "parent", "act-acme-1", "text", "One more thing"),
		get(Engineer, activities+"/act-acme-1").shows("title"),
		create(Engineer, times, "activity", "act-acme-1", "kind", "work", "start", "2026-03-02T09:00:00Z").forbidden(),
		patch(Engineer, "/v1/service/parts-used/part-acme-1", "quantity", 3).forbidden(),
		patch(Engineer, "/v1/service/checklist-answers/answer-acme-1", "answer", "no").forbidden(),
		create(Engineer, "/v1/service/signatures", "activity", "act-acme-1", "signedBy", "X", "signedAt", "2026-03-02T09:00:00Z").forbidden(),
		create(Engineer, documents, "parent", "act-acme-1", "name", "late.jpg").forbidden(),
	},
	38: { // losing the Mobile role: the field set empties, the rest is kept
		do(func(t *testing.T, w *world) {
			p := w.handset(t, Engineer)
			p.pull("field")
			if !p.has("act-acme-1") {
				t.Fatal("the phone lacks its work")
			}
			for _, id := range w.HTTP(Admin, "GET", assigned+"?filter=employee%20eq%20emp-engineer%20and%20role%20eq%20mobile.service-agent-user", nil).IDs(t) {
				remove(Admin, assigned+"/"+id).take(t, w)
			}
			if got := p.push(map[string]any{"n": 1, "op": "patch", "type": "jobActivity", "id": "act-acme-1", "fields": map[string]any{"workDone": "typed too late"}, "was": map[string]any{"workDone": nil}}); got != "refused mobile_module_required" {
				t.Errorf("the edit is %s", got)
			}
			p.pull("")
			if len(p.held) != 0 {
				t.Errorf("the phone still has %v", p.held)
			}
			p.pull("") // acknowledges the removals
			if err := p.tryPull(""); !fault.Is(err, fault.MobileModuleRequired) {
				t.Errorf("with nothing left a pull is answered by %v", err)
			}
			if res := w.HTTP(Admin, "GET", "/v1/admin/quarantine", nil).Want(t, 200, ""); !slices.Contains(words(res.Body), "typed too late") {
				t.Errorf("the text is lost: %s", res.Body)
			}
		}).as(refusing | onDevices),
		synced(Engineer, []string{"act-acme-1"}, nil),
	},
	39: { // one refusal for whoever can't be assigned; who makes public tags and filters
		do(func(t *testing.T, w *world) {
			var bodies []string
			for _, who := range []ident.RecordID{Blind, Leaver, Contractor, "never-was-1"} {
				res := w.HTTP(Manager, "POST", activities+"/act-blue-2/assign", Object("assignee", who))
				res.Want(t, 422, "assignee_not_eligible")
				bodies = append(bodies, string(res.Body))
			}
			if len(slices.Compact(bodies)) != 1 {
				t.Errorf("%v", bodies)
			}
		}),
		create(CRMManager, "/v1/crm/tags", "name", "Ours", "visibility", "public"), create(CRMRep, "/v1/crm/tags", "name", "Ours too", "visibility", "public"),
		create(CRMOps, "/v1/crm/tags", "name", "No", "visibility", "public").forbidden(),
		create(DebtOps, "/v1/debtors/filters", "name", "Late", "visibility", "public", "app", "debtors", "entityType", "invoice"),
		create(CRMManager, "/v1/crm/filters", "name", "No", "visibility", "public", "app", "crm", "entityType", "client").forbidden(),
	},
	40: { // no last administrator with hidden clients; the guest agent's menu
		create(Admin, assigned, "employee", Blind, "role", "level.customer-administrator"),
		post(Admin, employees+"/emp-admin/disable").no(409, fault.LastAdministrator),
		get(GuestAgent, "/v1/me").quiet("customers", "assets", "job-activities"),
		do(func(t *testing.T, w *world) {
			if got := show(w.HTTP(GuestAgent, "GET", "/v1/me", nil).Object(t)["apps"]); got != `[{"app":"service","menu":["jobs"]}]` {
				t.Errorf("the menu is %s", got)
			}
		}),
	},
}

// TestReadings takes the cases R1 to R40.
func TestReadings(t *testing.T) {
	for n := 1; n <= 40; n++ {
		t.Run(fmt.Sprintf("R%d", n), func(t *testing.T) {
			t.Parallel()
			if readings[n] == nil {
				t.Fatal("no case")
			}
			if !slices.ContainsFunc(readings[n], step.allows) || !slices.ContainsFunc(readings[n], step.refuses) {
				t.Error("the case allows nothing or refuses nothing")
			}
			w := newWorld(t)
			for _, s := range readings[n] {
				s.take(t, w)
			}
		})
	}
}

// words are the texts in a JSON answer.
func words(body []byte) []string {
	var out []string
	var walk func(v any)
	walk = func(v any) {
		switch x := v.(type) {
		case string:
			out = append(out, x)
		case []any:
			for _, e := range x {
				walk(e)
			}
		case map[string]any:
			for _, e := range x {
				walk(e)
			}
		}
	}
	var v any
	if json.Unmarshal(body, &v) == nil {
		walk(v)
	}
	return out
}

// handset is a device before the tenant, as bare as can be.
type handset struct {
	t          *testing.T
	w          *world
	cmd        command.Command
	checkpoint string
	held       map[string]bool
}

func (w *world) handset(t *testing.T, who ident.RecordID) *handset {
	t.Helper()
	claims, err := w.Signer.Verify(w.DeviceToken(who, "phone-of-a-reading"), ident.MillisOf(w.Clock()))
	if err != nil {
		t.Fatal(err)
	}
	return &handset{t: t, w: w, cmd: command.Command{Actor: who, Session: claims.Session, Device: claims.Device}, held: map[string]bool{}}
}

func (p *handset) has(id string) bool { return p.held[id] }

func (p *handset) pull(profile string) {
	p.t.Helper()
	if err := p.tryPull(profile); err != nil {
		p.t.Fatal(err)
	}
}

// tryPull pulls until there is no more, and acknowledges it.
func (p *handset) tryPull(profile string) error {
	for more := true; more; profile = "" {
		c := p.cmd
		c.Pull = &command.Pull{Checkpoint: p.checkpoint, Profile: profile}
		got, err := p.w.Tenant.Pull(p.t.Context(), &c, apply.ToldSmall)
		if err != nil {
			return err
		}
		var page struct {
			Records, Removed []struct{ ID string }
		}
		if err := json.Unmarshal(got.JSON, &page); err != nil {
			return err
		}
		for _, r := range page.Removed {
			delete(p.held, r.ID)
		}
		for _, r := range page.Records {
			p.held[r.ID] = true
		}
		p.checkpoint, more = got.Checkpoint, got.More
	}
	return nil
}

// pulled is synced with a profile.
func pulled(who ident.RecordID, profile string, has, lacks []string) step {
	return do(func(t *testing.T, w *world) {
		t.Helper()
		p := w.handset(t, who)
		p.pull(profile)
		for _, id := range has {
			if !p.has(id) {
				t.Errorf("%s's device lacks %s", who, id)
			}
		}
		for _, id := range lacks {
			if p.has(id) {
				t.Errorf("%s's device has %s", who, id)
			}
		}
		w.were(t, lacks...)
	}).as(onDevices | allowing.when(len(has) > 0) | refusing.when(len(lacks) > 0))
}

// push sends one mutation and says what came of it.
func (p *handset) push(m map[string]any) string {
	p.t.Helper()
	raw, err := json.Marshal(m)
	if err != nil {
		p.t.Fatal(err)
	}
	var mutation command.Mutation
	if err := json.Unmarshal(raw, &mutation); err != nil {
		p.t.Fatal(err)
	}
	hash := sha256.Sum256(raw)
	now := ident.MillisOf(p.w.Clock())
	mutation.Hash, mutation.At = hash[:], now
	c := p.cmd
	c.Push = &command.Push{Now: now, Mutations: []command.Mutation{mutation}}
	res, err := p.w.Tenant.Submit(p.t.Context(), &c)
	if err != nil {
		p.t.Fatal(err)
	}
	one := res.Push.Results[0]
	return strings.TrimSpace(string(one.Status) + " " + string(one.Code))
}
