package testworld

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/server/roles"
)

// The people.
const (
	Admin      ident.RecordID = "emp-admin"
	SvcAdmin   ident.RecordID = "emp-svc-admin"
	Manager    ident.RecordID = "emp-manager"
	Engineer   ident.RecordID = "emp-engineer"
	Colleague  ident.RecordID = "emp-colleague" // an engineer without the Mobile role
	Guest      ident.RecordID = "emp-guest"
	GuestAgent ident.RecordID = "emp-guest-agent"
	Rep        ident.RecordID = "emp-sales-rep"
	Basic      ident.RecordID = "emp-basic"
	Staff      ident.RecordID = "emp-staff"
	Ticketer   ident.RecordID = "emp-ticketer"
	Onsite     ident.RecordID = "emp-onsite"
	Liaison    ident.RecordID = "emp-liaison"
	Contractor ident.RecordID = "emp-contractor"
	Blind      ident.RecordID = "emp-blind"
	Nobody     ident.RecordID = "emp-nobody" // no role at all
	MobileOnly ident.RecordID = "emp-mobile-only"
	Leaver     ident.RecordID = "emp-leaver"

	// One person for each role of the other apps. The managers and
	// representatives of CRM, and the sales representatives of every app, have
	// the north; nobody else here has an area.
	CRMAdmin      ident.RecordID = "emp-crm-admin"
	CRMManager    ident.RecordID = "emp-crm-manager"
	CRMRep        ident.RecordID = "emp-crm-rep"
	CRMOps        ident.RecordID = "emp-crm-ops"
	CRMGuestMgr   ident.RecordID = "emp-crm-guest-manager"
	CRMGuest      ident.RecordID = "emp-crm-guest"
	SalesAdmin    ident.RecordID = "emp-sales-admin"
	SalesManager  ident.RecordID = "emp-sales-manager"
	SalesRep      ident.RecordID = "emp-sales-representative"
	SalesOps      ident.RecordID = "emp-sales-ops"
	SalesGuestMgr ident.RecordID = "emp-sales-guest-manager"
	SalesGuest    ident.RecordID = "emp-sales-guest"
	BillAdmin     ident.RecordID = "emp-bill-admin"
	BillAgent     ident.RecordID = "emp-bill-agent"
	BillRep       ident.RecordID = "emp-bill-rep"
	BillGuest     ident.RecordID = "emp-bill-guest"
	StockAdmin    ident.RecordID = "emp-stock-admin"
	StockCtrl     ident.RecordID = "emp-stock-controller"
	StockOrders   ident.RecordID = "emp-stock-orders"
	StockOps      ident.RecordID = "emp-stock-warehouse"
	StockRep      ident.RecordID = "emp-stock-rep"
	StockGuest    ident.RecordID = "emp-stock-guest"
	DebtAdmin     ident.RecordID = "emp-debt-admin"
	DebtOps       ident.RecordID = "emp-debt-ops"
	AgentsAdmin   ident.RecordID = "emp-agents-admin"
)

// The sales areas and clients.
const (
	AreaNorth ident.RecordID = "area-north"
	AreaSouth ident.RecordID = "area-south"
	Acme      ident.RecordID = "client-acme"
	Blue      ident.RecordID = "client-blue"
	Corp      ident.RecordID = "client-corp"
	Dune      ident.RecordID = "client-dune"
)

// Roles are the people who can sign in, with the roles they hold.
var Roles = map[ident.RecordID][]string{
	Admin:      {"level.customer-administrator"},
	SvcAdmin:   {"service.administrator"},
	Manager:    {"service.manager"},
	Engineer:   {"service.engineer", "mobile.service-agent-user"},
	Colleague:  {"service.engineer"},
	Guest:      {"service.guest"},
	GuestAgent: {"service.guest-agent"},
	Rep:        {"service.sales-representative"},
	Basic:      {"level.basic"},
	Staff:      {"level.basic"},
	Ticketer:   {"level.ticket-manager"},
	Onsite:     {"level.onsite-manager", "mobile.service-agent-user"},
	Liaison:    {"level.onsite-manager"},
	Contractor: {"service.manager"},
	Blind:      {"service.manager"},
	Nobody:     nil,
	MobileOnly: {"mobile.service-agent-user"},

	CRMAdmin:      {"crm.administrator"},
	CRMManager:    {"crm.manager"},
	CRMRep:        {"crm.representative"},
	CRMOps:        {"crm.operations"},
	CRMGuestMgr:   {"crm.guest-manager"},
	CRMGuest:      {"crm.guest"},
	SalesAdmin:    {"sales.administrator"},
	SalesManager:  {"sales.manager"},
	SalesRep:      {"sales.representative"},
	SalesOps:      {"sales.operations"},
	SalesGuestMgr: {"sales.guest-manager"},
	SalesGuest:    {"sales.guest"},
	BillAdmin:     {"billing.administrator"},
	BillAgent:     {"billing.agent"},
	BillRep:       {"billing.sales-representative"},
	BillGuest:     {"billing.guest"},
	StockAdmin:    {"stock.administrator"},
	StockCtrl:     {"stock.controller"},
	StockOrders:   {"stock.order-administrator"},
	StockOps:      {"stock.warehouse-operations"},
	StockRep:      {"stock.sales-representative"},
	StockGuest:    {"stock.guest"},
	DebtAdmin:     {"debtors.administrator"},
	DebtOps:       {"debtors.operations"},
	AgentsAdmin:   {"agents.accounting-administrator"},
}

// northern are the people who have the northern area.
var northern = []ident.RecordID{Rep, CRMManager, CRMRep, BillRep, StockRep}

// People returns those who can sign in, sorted.
func People() []ident.RecordID { return slices.Sorted(maps.Keys(Roles)) }

// Row makes an import row from names and values; a value may be a string, a
// number, a bool, a list of strings, or json.RawMessage.
func Row(typ string, id ident.RecordID, kv ...any) command.Row {
	return command.Row{Type: typ, ID: id, Fields: Object(kv...)}
}

// Object makes the fields of a command from names and values, see Row.
func Object(kv ...any) command.Object {
	o := command.Object{}
	for i := 0; i < len(kv); i += 2 {
		b, err := json.Marshal(kv[i+1])
		if err != nil {
			panic(err)
		}
		o[kv[i].(string)] = b
	}
	return o
}

// kinds are the people who are not in-house.
var kinds = map[ident.RecordID]string{Staff: "client-staff", Liaison: "client-staff", Contractor: "subcontractor"}

// seed is the state every world starts from, but for the first administrator.
func seed() []command.Row {
	rows := []command.Row{
		Row("salesArea", AreaNorth, "name", "North"),
		Row("salesArea", AreaSouth, "name", "South"),
		Row("geoArea", "geo-west-1", "name", "West"),
		Row("schedulingRole", "skill-gas-1", "name", "Gas"),
		Row("organizationalRole", "orgrole-1", "name", "Desk", "baseRoles", []string{"service.guest"}),
	}
	clients := []struct{ name, area string }{{"acme", "area-north"}, {"blue", "area-north"}, {"corp", "area-south"}, {"dune", "area-south"}}
	for _, c := range clients {
		rows = append(rows, Row("client", ident.RecordID("client-"+c.name), "name", c.name+" ltd", "number", "no-"+c.name, "salesArea", c.area,
			"city", "Town of "+c.name, "accountNotes", "crm-"+c.name, "accessNotes", "access-"+c.name, "billingNotes", "billing-"+c.name,
			"debtorNotes", "debtors-"+c.name, "deliveryNotes", "delivery-"+c.name))
	}
	for _, p := range append(People(), Leaver) {
		kind, status := "in-house", "Active"
		if k := kinds[p]; k != "" {
			kind = k
		}
		if p == Leaver {
			status = "Disabled"
		}
		kv := []any{"name", name(p), "email", name(p) + "@example.com", "kind", kind, "status", status, "phone", "555-" + name(p)}
		if kind == "client-staff" {
			kv = append(kv, "client", Acme)
		}
		if slices.Contains(northern, p) {
			kv = append(kv, "salesAreas", []ident.RecordID{AreaNorth})
		}
		if p != Admin {
			rows = append(rows, Row("employee", p, kv...))
			for i, r := range Roles[p] {
				if !known(r) {
					continue
				}
				rows = append(rows, Row("roleAssignment", ident.RecordID(fmt.Sprintf("role-%s-%d", name(p), i+1)), "employee", p, "role", r))
			}
		}
	}
	rows = append(rows,
		Row("onsiteClient", "onsite-row-1", "employee", Onsite, "client", Acme),
		Row("onsiteClient", "onsite-row-2", "employee", Liaison, "client", Acme),
		Row("clientVisibility", "visible-contractor", "employee", Contractor, "mode", "only"),
		Row("visibilityRule", "rule-contractor", "visibility", "visible-contractor", "client", Acme),
		Row("clientVisibility", "visible-blind", "employee", Blind, "mode", "all-but"),
		Row("visibilityRule", "rule-blind", "visibility", "visible-blind", "client", Blue),
		Row("product", "product-seal", "name", "Seal", "number", "P-1", "category", "parts"),
		Row("product", "product-pump", "name", "Pump", "number", "P-2"),
		Row("warehouse", "warehouse-main", "name", "Main", "kind", "warehouse"),
		Row("warehouse", "van-engineer", "name", "Van 1", "kind", "van", "custodian", Engineer),
		Row("stockLevel", "level-main-seal", "product", "product-seal", "warehouse", "warehouse-main", "quantity", 40),
		Row("stockLevel", "level-van-seal", "product", "product-seal", "warehouse", "van-engineer", "quantity", 4),
		Row("supplier", "supplier-one", "name", "Supplies"),
		Row("carrier", "carrier-one", "name", "Wheels"),
		Row("purchaseOrder", "order-one-1", "supplier", "supplier-one", "number", "PO-1"),
		Row("checklist", "checklist-one", "name", "Safety"),
		Row("serviceAgent", "agent-engineer", "name", "Engineer", "employee", Engineer, "warehouse", "van-engineer"),
	)
	for _, cl := range clients {
		c := cl.name
		id := func(s string) ident.RecordID { return ident.RecordID(strings.ReplaceAll(s, "*", c)) }
		assignee := Engineer
		if c == "dune" {
			assignee = Colleague
		}
		rows = append(rows,
			Row("site", id("site-*"), "client", id("client-*"), "name", "Yard of "+c, "geoArea", "geo-west-1"),
			Row("contact", id("contact-*"), "client", id("client-*"), "name", "Contact of "+c),
			Row("asset", id("asset-*"), "client", id("client-*"), "name", "Boiler of "+c, "serial", "sn-"+c, "site", id("site-*"), "product", "product-pump"),
			Row("job", id("job-*-1"), "client", id("client-*"), "title", "Mend boiler of "+c, "kind", "repair", "priority", "normal", "asset", id("asset-*"),
				"site", id("site-*"), "contact", id("contact-*"), "number", "J-"+c),
			Row("jobActivity", id("act-*-1"), "job", id("job-*-1"), "title", "Visit "+c, "assignee", assignee, "status", "Accepted", "checklists", []string{"checklist-one"}),
			Row("jobActivity", id("act-*-2"), "job", id("job-*-1"), "title", "Follow-up "+c),
			Row("timeEntry", id("time-*-1"), "activity", id("act-*-1"), "employee", assignee, "kind", "work", "start", "2026-03-02T08:00:00Z"),
			Row("partUsed", id("part-*-1"), "activity", id("act-*-1"), "product", "product-seal", "quantity", 2),
			Row("signature", id("sign-*-1"), "activity", id("act-*-1"), "signedBy", "Somebody", "signedAt", "2026-03-02T09:00:00Z"),
			Row("checklistAnswer", id("answer-*-1"), "activity", id("act-*-1"), "checklist", "checklist-one", "item", "item-1", "answer", "yes"),
			Row("comment", id("comment-*-1"), "parent", id("client-*"), "text", "On the client "+c),
			Row("comment", id("comment-*-2"), "parent", id("act-*-1"), "text", "On the activity "+c),
			Row("comment", id("comment-*-3"), "parent", id("job-*-1"), "text", "On the job "+c),
			Row("invoice", id("invoice-*"), "client", id("client-*"), "number", "I-"+c, "lines", json.RawMessage(
				`[{"id":"1","text":"Work","quantity":1,"unitPrice":{"amount":1000,"currency":"EUR"}}]`)),
			Row("ticket", id("ticket-*-1"), "client", id("client-*"), "subject", "Help "+c, "requester", Basic, "priority", "normal"),
			Row("ticketUpdate", id("update-*-1"), "ticket", id("ticket-*-1"), "visibility", "public", "kind", "reply", "text", "Public "+c),
			Row("ticketUpdate", id("update-*-2"), "ticket", id("ticket-*-1"), "visibility", "internal", "kind", "note", "text", "Internal "+c),
			Row("document", id("document-*-1"), "parent", id("job-*-1"), "name", "plan-"+c+".pdf"),
			Row("document", id("document-*-2"), "parent", id("ticket-*-1"), "name", "photo-"+c+".jpg"),
		)
	}
	rows = append(rows,
		Row("jobActivity", "act-blue-3", "job", "job-blue-1", "title", "Watch", "assignee", GuestAgent),
		Row("jobActivity", "act-acme-3", "job", "job-acme-1", "title", "Assist", "assignee", Contractor),
		Row("ticket", "ticket-acme-2", "client", Acme, "subject", "Other acme"),
		Row("ticket", "ticket-blue-2", "client", Blue, "subject", "Other blue"),
		Row("ticket", "ticket-acme-3", "client", Acme, "subject", "Staff asks", "requester", Staff, "assignee", Engineer),
	)
	rows = slices.Concat(rows, seedSelling(), seedStock(), seedMoney(), seedAgents())
	for _, p := range People() {
		rows = append(rows,
			Row("preference", ident.RecordID("pref-"+name(p)), "owner", p, "key", "theme", "value", "dark"),
			Row("notification", ident.RecordID("note-"+name(p)), "recipient", p, "event", "assigned", "about", "job-acme-1", "aboutType", "job", "text", "Look"))
	}
	return rows
}

// name is what follows "emp-" in a person's id.
func name(p ident.RecordID) string { return strings.TrimPrefix(string(p), "emp-") }

// known reports whether the manual has the role.
func known(key string) bool {
	return slices.ContainsFunc(roles.All(), func(r *policy.Role) bool { return r.Key == key })
}
