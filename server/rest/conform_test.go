package rest_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"satchel/internal/ident"
	"satchel/internal/testworld"
	"satchel/server/rest"
)

// contract holds answers against the document that is served.
type contract struct {
	t        *testing.T
	doc      map[string]any
	compiler *jsonschema.Compiler
	compiled map[string]*jsonschema.Schema
	checked  int
}

const contractURL = "https://satchel.example/openapi.json"

func newContract(t *testing.T, w *world) *contract {
	t.Helper()
	raw := w.HTTP("", "GET", "/openapi.json", nil).Want(t, 200, "").Body
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource(contractURL, doc); err != nil {
		t.Fatal(err)
	}
	return &contract{t: t, doc: doc.(map[string]any), compiler: c, compiled: map[string]*jsonschema.Schema{}}
}

// follow resolves references within the document; it returns what is there and
// the pointer to it.
func (c *contract) follow(at any, pointer string) (map[string]any, string) {
	m, _ := at.(map[string]any)
	for m != nil {
		ref, ok := m["$ref"].(string)
		if !ok {
			break
		}
		pointer = strings.TrimPrefix(ref, "#")
		var here any = c.doc
		for _, part := range strings.Split(strings.TrimPrefix(pointer, "/"), "/") {
			part, _ = url.PathUnescape(strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~"))
			o, _ := here.(map[string]any)
			here = o[part]
		}
		m, _ = here.(map[string]any)
	}
	return m, pointer
}

func escape(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "~", "~0"), "/", "~1")
}

// judge requires that the document describes the answer of a path's method:
// its status, and what its body looks like.
func (c *contract) judge(method, path string, res *testworld.Response) {
	c.t.Helper()
	item, at := c.follow(c.doc["paths"].(map[string]any)[path], "/paths/"+escape(path))
	op, at := c.follow(item[strings.ToLower(method)], at+"/"+strings.ToLower(method))
	responses, _ := op["responses"].(map[string]any)
	status := strconv.Itoa(res.Status)
	answer, ok := responses[status]
	if !ok && res.Status >= 400 {
		status = "default"
		answer, ok = responses[status]
	}
	if !ok {
		c.t.Errorf("%s %s: the document knows no answer %d: %s", method, path, res.Status, res.Body)
		return
	}
	described, at := c.follow(answer, at+"/responses/"+status)
	content, _ := described["content"].(map[string]any)
	kind, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
	if len(res.Body) == 0 {
		if content != nil && res.Status != 304 {
			c.t.Errorf("%s %s: %d has no body", method, path, res.Status)
		}
		return
	}
	if _, ok := content[kind]; !ok {
		c.t.Errorf("%s %s: the document knows no answer %d of %s", method, path, res.Status, kind)
		return
	}
	if !strings.HasSuffix(kind, "json") {
		return
	}
	pointer := contractURL + "#" + at + "/content/" + escape(kind) + "/schema"
	s := c.compiled[pointer]
	if s == nil {
		var err error
		if s, err = c.compiler.Compile(pointer); err != nil {
			c.t.Fatalf("%s %s: %v", method, path, err)
		}
		c.compiled[pointer] = s
	}
	body, err := jsonschema.UnmarshalJSON(bytes.NewReader(res.Body))
	if err != nil {
		c.t.Errorf("%s %s: %v", method, path, err)
		return
	}
	if err := s.Validate(body); err != nil {
		c.t.Errorf("%s %s: %d does not look as described: %v\n%.400s", method, path, res.Status, err, res.Body)
	}
	c.checked++
}

// TestAnswersAreAsDescribed asks the running server by every route that reads,
// as people with all sorts of rights, and by a refusal of each that writes, and
// holds every answer against the OpenAPI document it serves.
func TestAnswersAreAsDescribed(t *testing.T) {
	w := newWorld(t)
	c := newContract(t, w)
	one := func(typ string) string { return cmp.Or(sample[typ], "never-was-1") }
	for n, who := range testworld.People() {
		for i, r := range w.rest.Routes() {
			if r.Type == nil || r.Same != "" || (n > 2 && (i+n)%7 != 0) || (i+n)%sparse(13) != 0 {
				continue
			}
			path := strings.Replace(r.Path, "{id}", one(r.Type.Name), 1)
			switch {
			case r.Method == "GET" && r.Kind != rest.Table:
				c.judge(r.Method, r.Path, w.HTTP(who, r.Method, path, nil))
			case r.Kind == rest.Table:
				c.judge(r.Method, r.Path, w.HTTP(who, r.Method, path+"?filter=id%20eq%20never-was-1", nil))
			default: // refused: the body has a member that nothing takes
				c.judge(r.Method, r.Path, w.HTTP(who, r.Method, path, json.RawMessage(`{"noSuchMember":1}`)))
			}
		}
	}
	// What writes and succeeds.
	for _, s := range []struct {
		who          ident.RecordID
		method, path string
		at           string
		body         any
	}{
		{testworld.Manager, "POST", "/v1/service/jobs", "/v1/service/jobs", testworld.Object("client", "client-acme", "title", "x", "due", "2026-04-01T00:00:00Z")},
		{testworld.Manager, "PATCH", "/v1/service/jobs/{id}", "/v1/service/jobs/job-acme-1", testworld.Object("priority", "high")},
		{testworld.Manager, "POST", "/v1/service/job-activities/{id}/assign", "/v1/service/job-activities/act-acme-2/assign", testworld.Object("assignee", testworld.Engineer)},
		{testworld.Manager, "POST", "/v1/me/notifications:read", "/v1/me/notifications:read", testworld.Object("ids", []string{"note-manager", "never-was-1"})},
		{testworld.BillAdmin, "POST", "/v1/billing/invoices/{id}/approve", "/v1/billing/invoices/invoice-acme/approve", nil},
		{testworld.StockAdmin, "DELETE", "/v1/stock/sales-orders/{id}", "/v1/stock/sales-orders/sale-acme-1", nil},
		{testworld.Admin, "POST", "/v1/admin/what-if", "/v1/admin/what-if", json.RawMessage(`{"change":{"op":"create","type":"roleAssignment","fields":{"employee":"emp-nobody","role":"service.guest"}}}`)},
		{testworld.Admin, "GET", "/v1/admin/holders", "/v1/admin/holders?client=client-acme", nil},
		{testworld.Admin, "GET", "/v1/admin/audit", "/v1/admin/audit?limit=50", nil},
		{testworld.Admin, "GET", "/v1/admin/access-review", "/v1/admin/access-review?client=client-acme", nil},
		{testworld.Admin, "GET", "/v1/admin/explain", "/v1/admin/explain?principal=emp-engineer&action=edit&type=jobActivity&id=act-acme-1", nil},
		{testworld.Engineer, "GET", "/v1/explain", "/v1/explain?action=edit&type=jobActivity&id=act-acme-1", nil},
		{testworld.Engineer, "GET", "/v1/me", "/v1/me", nil},
		{testworld.Admin, "GET", "/v1/admin/quarantine", "/v1/admin/quarantine", nil},
	} {
		res := w.HTTP(s.who, s.method, s.at, s.body)
		if res.Status >= 300 {
			t.Errorf("%s %s: %d %s", s.method, s.at, res.Status, res.Body)
		}
		c.judge(s.method, s.path, res)
	}
	if c.checked < 500/sparse(5) {
		t.Errorf("only %d answers were looked at", c.checked)
	}
	t.Logf("%d answers", c.checked)
}

// sample is a record of a type, for routes that name one.
var sample = map[string]string{
	"client": "client-acme", "contact": "contact-acme", "site": "site-acme", "asset": "asset-acme", "job": "job-acme-1", "jobActivity": "act-acme-1",
	"ticket": "ticket-acme-1", "ticketUpdate": "update-acme-1", "document": "document-acme-1", "comment": "comment-acme-1", "invoice": "invoice-acme-2",
	"product": "product-seal", "warehouse": "warehouse-main", "stockLevel": "level-main-seal", "supplier": "supplier-one", "carrier": "carrier-one",
	"purchaseOrder": "order-two-1", "salesOrder": "sale-acme-2", "partOrder": "parts-acme-1", "receipt": "receipt-two-1", "transfer": "shift-two-1",
	"count": "count-two-1", "adjustment": "adjust-two-1", "stockMovement": "movement-acme-1", "productRelationship": "relation-one",
	"contract": "contract-acme-1", "creditNote": "credit-acme-1", "billingRun": "run-march", "payment": "payment-acme-1", "allocation": "allocation-acme-1",
	"statement": "statement-acme-1", "collectionNote": "collection-acme-1", "agent": "paid-engineer", "rateCard": "rates-one",
	"accountAssignment": "looks-acme", "accrual": "accrual-acme", "agentInvoice": "payout-one", "agentStatement": "statement-one",
	"activity": "activity-acme-1", "task": "task-acme-1", "opportunity": "opportunity-acme-1", "campaign": "campaign-wide-1",
	"campaignMember": "member-wide-acme", "tag": "tag-key-1", "tagging": "tagging-acme-1", "filter": "filter-crm-1",
	"employee": "emp-engineer", "organizationalRole": "orgrole-1", "salesArea": "area-north", "geoArea": "geo-west-1", "checklist": "checklist-one",
	"timeEntry": "time-acme-1", "partUsed": "part-acme-1", "signature": "sign-acme-1", "checklistAnswer": "answer-acme-1", "serviceAgent": "agent-engineer",
	"schedulingRole": "skill-gas-1", "onsiteClient": "onsite-row-1", "clientVisibility": "visible-blind", "visibilityRule": "rule-blind",
}
