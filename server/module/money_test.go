package module

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/server/module/billing"
	"satchel/server/module/lines"
)

func euro(n int64) string { return string(lines.Money(n, "EUR")) }

// charge is a list of one line of the sum, without tax.
func charge(n int64, currency string) string {
	return fmt.Sprintf(`[{"id":"1","text":"Work","quantity":1,"unitPrice":%s}]`, lines.Money(n, currency))
}

// bill adds an approved invoice.
func (s *state) bill(id string, n int64, kv ...string) {
	s.t.Helper()
	s.must(s.add("invoice", id, append([]string{"client", "client-1", "lines", charge(n, "EUR")}, kv...)...))
	s.must(s.act(id, "approve"))
}

// allocate runs the action with its money, which act has no words for. It must
// leave the payment to the allocation: what it changed itself would be saved
// over that.
func (s *state) allocate(payment, invoice, sum string) error {
	return s.pay(payment, "allocate", entity.Args{"invoice": entity.StringValue(invoice), "sum": entity.Value(sum)})
}

// refund does the same by the action of that name; invoice may be "".
func (s *state) refund(payment, invoice, sum string) error {
	args := entity.Args{"sum": entity.Value(sum)}
	if invoice != "" {
		args["invoice"] = entity.StringValue(invoice)
	}
	return s.pay(payment, "refund", args)
}

func (s *state) pay(payment, action string, args entity.Args) error {
	r := s.records[ident.RecordID(payment)].Clone()
	a := r.Type.Action(action)
	if !slices.Contains(a.From, r.StatusText()) {
		return fault.New(fault.WrongStatus)
	}
	before := r.Clone()
	err := a.Do(s, r, args)
	for _, f := range r.Type.Fields {
		if string(r.Get(f.Name)) != string(before.Get(f.Name)) {
			s.t.Errorf("the action changes %s", f.Name)
		}
	}
	return err
}

// delete ends a record as the core does.
func (s *state) delete(id string) error { return s.Delete(s.records[ident.RecordID(id)]) }

// try undoes what f did where f was refused.
func (s *state) try(f func() error) error {
	records, order, series := maps.Clone(s.records), slices.Clone(s.order), maps.Clone(s.series)
	err := f()
	if err != nil {
		s.records, s.order, s.series = records, order, series
	}
	return err
}

// has compares fields of a record; "" is no value.
func (s *state) has(id string, kv ...string) {
	s.t.Helper()
	for i := 0; i < len(kv); i += 2 {
		v := s.records[ident.RecordID(id)].Get(kv[i])
		got := string(v)
		if strings.HasPrefix(got, `"`) {
			got = v.Text()
		}
		if got != kv[i+1] {
			s.t.Errorf("%s of %s is %q, want %q", kv[i], id, got, kv[i+1])
		}
	}
}

func (s *state) refuses(code fault.Code, field string, err error) {
	s.t.Helper()
	if !fault.Is(err, code) || fault.Of(err).Field != field {
		s.t.Errorf("%v, want %s on %q", err, code, field)
	}
}

func TestInvoiceSumsFollowTheDraft(t *testing.T) {
	s := newState(t)
	s.must(s.add("invoice", "invoice-1", "client", "client-1", "lines", charge(500, "EUR")))
	s.has("invoice-1", "net", euro(500), "tax", euro(0), "total", euro(500), "open", "", "settled", "")
	r := s.records["invoice-1"].Clone()
	r.Set("lines", entity.Value(charge(700, "EUR")))
	s.must(s.Save(r))
	s.has("invoice-1", "total", euro(700))
	r = r.Clone()
	r.Set("lines", entity.Value(`[{"id":"1","text":"x","quantity":1,"unitPrice":{"amount":1,"currency":"EUR"}},{"id":"2","text":"x","quantity":1,"unitPrice":{"amount":1,"currency":"USD"}}]`))
	s.must(s.Save(r)) // a draft may be unfinished
	s.has("invoice-1", "total", "", "net", "", "tax", "")
	s.refuses(fault.BadValue, "lines", s.act("invoice-1", "approve"))
	for _, n := range []int64{0, -5} {
		r = r.Clone()
		r.Set("lines", entity.Value(charge(n, "EUR")))
		s.must(s.Save(r))
		s.refuses(fault.BadValue, "lines", s.act("invoice-1", "approve"))
	}
	r = r.Clone()
	r.Set("lines", nil)
	s.must(s.Save(r))
	s.refuses(fault.MissingField, "lines", s.act("invoice-1", "approve"))
}

func TestApprovingAnInvoice(t *testing.T) {
	s := newState(t)
	client := s.records["client-1"].Clone()
	client.Set("paymentTermDays", entity.IntValue(30))
	s.must(s.Save(client))
	s.bill("invoice-1", 500)
	s.has("invoice-1", "number", "INV-000001", "issued", "1970-01-01", "due", "1970-01-31", "open", euro(500), "settled", euro(0))
	s.bill("invoice-2", 500, "number", "own-7", "issued", "2024-01-31", "due", "2024-02-01")
	s.has("invoice-2", "number", "own-7", "issued", "2024-01-31", "due", "2024-02-01")
	s.bill("invoice-3", 500, "issued", "2024-02-15") // a leap year
	s.has("invoice-3", "number", "INV-000002", "due", "2024-03-16")
	s.refuses(fault.BadValue, "due", s.add("invoice", "invoice-4", "client", "client-1", "issued", "2024-02-15", "due", "2024-02-14"))

	for _, f := range []string{"number", "issued", "due", "lines", "job"} {
		r := s.records["invoice-1"].Clone()
		r.Set(f, nil)
		if f == "job" {
			r.Set(f, entity.StringValue("job-00001"))
		}
		s.refuses(fault.WrongStatus, f, s.try(func() error { return s.Save(r) }))
	}
	// A term beyond the calendar, and none.
	client = client.Clone()
	client.Set("paymentTermDays", entity.IntValue(1<<53))
	s.must(s.Save(client))
	s.must(s.add("invoice", "invoice-5", "client", "client-1", "lines", charge(1, "EUR")))
	s.refuses(fault.BadValue, "due", s.try(func() error { return s.act("invoice-5", "approve") }))
	client = client.Clone()
	client.Set("paymentTermDays", nil)
	s.must(s.Save(client))
	s.must(s.act("invoice-5", "approve"))
	s.has("invoice-5", "number", "INV-000003", "due", "")
}

func TestSettling(t *testing.T) {
	s := newState(t)
	s.bill("invoice-1", 500)
	s.must(s.act("invoice-1", "send"))
	s.bill("invoice-2", 300)
	s.must(s.add("payment", "payment-1", "client", "client-1", "received", "2026-03-01", "amount", euro(600)))
	s.has("payment-1", "allocated", euro(0), "open", euro(600), "status", "Open")
	s.must(s.allocate("payment-1", "invoice-1", euro(200)))
	s.has("invoice-1", "settled", euro(200), "open", euro(300), "status", "Sent")
	s.has("payment-1", "allocated", euro(200), "open", euro(400), "status", "Open")
	s.refuses(fault.WrongStatus, "", s.try(func() error { return s.act("invoice-1", "void") }))
	s.must(s.add("allocation", "alloc-0001", "payment", "payment-1", "invoice", "invoice-1", "amount", euro(300)))
	s.status("Paid", "invoice-1")
	s.has("invoice-1", "open", euro(0))
	if s.records["invoice-1"].Get("paidAt").IsNull() {
		t.Error("paid at no time")
	}
	s.must(s.allocate("payment-1", "invoice-2", euro(100)))
	s.status("Allocated", "payment-1")

	// Taken back, all is as it was.
	s.must(s.delete("alloc-0001"))
	s.status("Sent", "invoice-1")
	s.has("invoice-1", "open", euro(300), "paidAt", "")
	s.has("payment-1", "open", euro(300), "status", "Open")
	s.must(s.allocate("payment-1", "invoice-2", euro(200)))
	s.status("Paid", "invoice-2")
	s.must(s.act("payment-1", "reverse", "reverseReason", "bounced"))
	s.has("payment-1", "status", "Reversed", "allocated", euro(0), "open", euro(0), "reverseReason", "bounced")
	s.status("Sent", "invoice-1")
	s.status("Approved", "invoice-2") // it was never sent
	s.has("invoice-2", "open", euro(300), "settled", euro(0))
	s.must(s.act("invoice-2", "void"))
	s.has("invoice-2", "open", "", "status", "Void")
	for id, r := range s.records {
		if r.Type.Name == "allocation" {
			t.Errorf("%s is left", id)
		}
	}
	// What was reversed stands fast.
	r := s.records["payment-1"].Clone()
	r.Set("received", entity.StringValue("2026-03-02"))
	s.refuses(fault.WrongStatus, "received", s.try(func() error { return s.Save(r) }))
}

// TestRefunds: a client's credit is paid back, what is open of a payment or what
// an invoice is overpaid by, and the statement tells of it.
func TestRefunds(t *testing.T) {
	s := newState(t)
	s.must(s.add("client", "client-2", "name", "other", "salesArea", "area-0001"))
	s.bill("invoice-1", 500, "issued", "1970-01-01", "number", "A-1")
	s.bill("invoice-2", 500, "client", "client-2")
	s.bill("invoice-3", 500, "issued", "1970-02-01")
	s.must(s.add("payment", "payment-1", "client", "client-1", "received", "1970-01-01", "amount", euro(800), "reference", "R1"))
	s.must(s.allocate("payment-1", "invoice-1", euro(200)))
	s.must(s.allocate("payment-1", "invoice-1", euro(300)))
	for _, c := range []struct {
		invoice, sum string
		code         fault.Code
		field        string
	}{
		{"", euro(301), fault.BadValue, "sum"},
		{"", euro(0), fault.BadValue, "sum"},
		{"", euro(-1), fault.BadValue, "sum"},
		{"", string(lines.Money(1, "USD")), fault.BadValue, "sum"},
		{"invoice-1", euro(1), fault.BadValue, "sum"}, // it is not overpaid
		{"invoice-2", euro(1), fault.BadReference, "invoice"},
		{"invoice-9", euro(1), fault.BadReference, "invoice"},
	} {
		s.refuses(c.code, c.field, s.try(func() error { return s.refund("payment-1", c.invoice, c.sum) }))
	}
	s.must(s.refund("payment-1", "", euro(100)))
	s.has("payment-1", "open", euro(200), "refunded", euro(100), "allocated", euro(500), "status", "Open")
	s.refuses(fault.BadValue, "amount", s.try(func() error {
		return s.add("allocation", "alloc-0009", "payment", "payment-1", "invoice", "invoice-3", "amount", euro(201))
	}))
	s.must(s.refund("payment-1", "", euro(200)))
	s.has("payment-1", "open", euro(0), "refunded", euro(300), "status", "Allocated")
	s.refuses(fault.BadValue, "sum", s.try(func() error { return s.refund("payment-1", "", euro(1)) }))

	// A credit note comes after the money: the invoice is overpaid, and stays paid.
	s.must(s.add("creditNote", "note-0001", "client", "client-1", "invoice", "invoice-1", "lines", charge(250, "EUR"), "issued", "1970-01-01"))
	s.must(s.act("note-0001", "approve"))
	s.has("invoice-1", "open", euro(-250), "status", "Paid")
	s.refuses(fault.BadValue, "sum", s.try(func() error { return s.refund("payment-1", "invoice-1", euro(251)) }))
	s.must(s.refund("payment-1", "invoice-1", euro(250)))
	s.has("invoice-1", "open", euro(0), "settled", euro(500), "status", "Paid")
	s.has("payment-1", "allocated", euro(250), "refunded", euro(550), "open", euro(0), "status", "Allocated", "refunds", `[`+strings.Join([]string{
		`{"id":"1","date":"1970-01-01","amount":` + euro(100) + `}`,
		`{"id":"2","date":"1970-01-01","amount":` + euro(200) + `}`,
		`{"id":"3","date":"1970-01-01","amount":` + euro(250) + `,"invoice":"invoice-1"}`,
	}, ",")+`]`)
	s.must(s.add("statement", "statement-1", "client", "client-1", "from", "1970-01-01", "to", "1970-01-01", "currency", "EUR"))
	s.has("statement-1", "closing", euro(500-250-800+550), "lines", `[`+strings.Join([]string{
		`{"id":"1","date":"1970-01-01","text":"Invoice A-1","document":"invoice-1","debit":` + euro(500) + `}`,
		`{"id":"2","date":"1970-01-01","text":"Credit note CN-000001","document":"note-0001","credit":` + euro(250) + `}`,
		`{"id":"3","date":"1970-01-01","text":"Payment R1","document":"payment-1","credit":` + euro(800) + `}`,
		`{"id":"4","date":"1970-01-01","text":"Refund R1","document":"payment-1","debit":` + euro(100) + `}`,
		`{"id":"5","date":"1970-01-01","text":"Refund R1","document":"payment-1","debit":` + euro(200) + `}`,
		`{"id":"6","date":"1970-01-01","text":"Refund R1","document":"payment-1","debit":` + euro(250) + `}`,
	}, ",")+`]`)

	// Taken back, an allocation gives back what was not returned of it.
	s.must(s.act("payment-1", "reverse"))
	s.has("payment-1", "allocated", euro(0), "refunded", euro(550), "open", euro(0), "status", "Reversed")
	s.has("invoice-1", "open", euro(250), "settled", euro(250), "status", "Approved")
	s.refuses(fault.WrongStatus, "", s.refund("payment-1", "", euro(1)))

	// All of it paid back.
	s.must(s.add("payment", "payment-2", "client", "client-1", "received", "1970-01-01", "amount", euro(5)))
	s.must(s.refund("payment-2", "", euro(5)))
	s.has("payment-2", "status", "Refunded", "open", euro(0))
	s.refuses(fault.WrongStatus, "", s.refund("payment-2", "", euro(1)))
	s.refuses(fault.WrongStatus, "", s.allocate("payment-2", "invoice-1", euro(1)))
	s.must(s.add("payment", "payment-3", "client", "client-1", "received", "1970-01-01", "amount", euro(500)))
	for range 100 {
		s.must(s.refund("payment-3", "", euro(1)))
	}
	s.refuses(fault.BadValue, "sum", s.try(func() error { return s.refund("payment-3", "", euro(1)) }))
}

func TestAllocationsAreRefused(t *testing.T) {
	s := newState(t)
	s.must(s.add("client", "client-2", "name", "other", "salesArea", "area-0001"))
	s.bill("invoice-1", 500)
	s.bill("invoice-2", 500, "client", "client-2")
	s.must(s.add("invoice", "invoice-3", "client", "client-1", "lines", charge(500, "EUR")))
	s.must(s.add("invoice", "invoice-4", "client", "client-1", "lines", charge(500, "USD")))
	s.must(s.act("invoice-4", "approve"))
	s.must(s.add("payment", "payment-1", "client", "client-1", "received", "2026-03-01", "amount", euro(600)))
	s.must(s.add("payment", "payment-2", "client", "client-1", "received", "2026-03-01", "amount", euro(60)))
	s.must(s.add("payment", "payment-3", "client", "client-1", "received", "2026-03-01", "amount", euro(60)))
	s.must(s.act("payment-3", "reverse"))
	for _, c := range []struct {
		payment, invoice, sum string
		code                  fault.Code
		field                 string
	}{
		{"payment-1", "invoice-1", euro(501), fault.BadValue, "amount"},
		{"payment-2", "invoice-1", euro(61), fault.BadValue, "amount"},
		{"payment-1", "invoice-1", euro(0), fault.BadValue, "amount"},
		{"payment-1", "invoice-1", euro(-1), fault.BadValue, "amount"},
		{"payment-1", "invoice-1", string(lines.Money(1, "USD")), fault.BadValue, "amount"},
		{"payment-1", "invoice-4", string(lines.Money(1, "USD")), fault.BadValue, "amount"},
		{"payment-1", "invoice-4", euro(1), fault.BadValue, "amount"},
		{"payment-1", "invoice-2", euro(1), fault.BadReference, "invoice"},
		{"payment-1", "invoice-9", euro(1), fault.BadReference, "invoice"},
		{"payment-9", "invoice-1", euro(1), fault.BadReference, "payment"},
		{"payment-1", "invoice-3", euro(1), fault.WrongStatus, "invoice"},
		{"payment-3", "invoice-1", euro(1), fault.WrongStatus, "payment"},
	} {
		s.refuses(c.code, c.field, s.try(func() error {
			return s.add("allocation", "alloc-0009", "payment", c.payment, "invoice", c.invoice, "amount", c.sum)
		}))
	}
	s.refuses(fault.BadValue, "sum", s.try(func() error { return s.allocate("payment-1", "invoice-1", euro(501)) }))
	s.refuses(fault.WrongStatus, "invoice", s.try(func() error { return s.allocate("payment-1", "invoice-3", euro(1)) }))
	s.has("payment-1", "allocated", euro(0))
	s.has("invoice-1", "settled", euro(0))
	for _, n := range []int64{0, -1} {
		s.refuses(fault.BadValue, "amount", s.try(func() error {
			return s.add("payment", "payment-9", "client", "client-1", "received", "2026-03-01", "amount", euro(n))
		}))
	}
	s.must(s.add("allocation", "alloc-0001", "payment", "payment-1", "invoice", "invoice-1", "amount", euro(5)))
	r := s.records["alloc-0001"].Clone()
	r.Set("amount", entity.Value(euro(6)))
	s.refuses(fault.ImmutableField, "amount", s.try(func() error { return s.Save(r) }))
}

func TestCreditNotes(t *testing.T) {
	s := newState(t)
	s.must(s.add("client", "client-2", "name", "other", "salesArea", "area-0001"))
	s.bill("invoice-1", 500)
	s.must(s.add("invoice", "invoice-2", "client", "client-1", "lines", charge(500, "EUR")))
	note := func(id, client, invoice string, n int64, currency string) error {
		return s.try(func() error {
			return s.add("creditNote", id, "client", client, "invoice", invoice, "lines", charge(n, currency))
		})
	}
	s.refuses(fault.WrongStatus, "invoice", note("note-0009", "client-1", "invoice-2", 1, "EUR"))
	s.refuses(fault.BadReference, "invoice", note("note-0009", "client-2", "invoice-1", 1, "EUR"))
	s.refuses(fault.BadReference, "invoice", note("note-0009", "client-1", "invoice-9", 1, "EUR"))
	s.must(note("note-0001", "client-1", "invoice-1", 200, "EUR"))
	s.has("note-0001", "total", euro(200), "number", "")
	s.has("invoice-1", "open", euro(500)) // a draft counts for nothing
	s.must(s.act("note-0001", "approve"))
	s.has("note-0001", "number", "CN-000001", "issued", "1970-01-01", "status", "Approved")
	s.has("invoice-1", "open", euro(300), "settled", euro(200))
	s.refuses(fault.WrongStatus, "", s.try(func() error { return s.delete("note-0001") }))
	s.refuses(fault.WrongStatus, "", s.try(func() error { return s.act("invoice-1", "void") }))
	r := s.records["note-0001"].Clone()
	r.Set("lines", entity.Value(charge(1, "EUR")))
	s.refuses(fault.WrongStatus, "lines", s.try(func() error { return s.Save(r) }))

	approve := func(id string) error { return s.try(func() error { return s.act(id, "approve") }) }
	s.must(note("note-0002", "client-1", "invoice-1", 301, "EUR"))
	s.refuses(fault.BadValue, "lines", approve("note-0002"))
	s.must(note("note-0003", "client-1", "invoice-1", 1, "USD"))
	s.refuses(fault.BadValue, "lines", approve("note-0003"))
	s.must(note("note-0004", "client-1", "invoice-1", 0, "EUR"))
	s.refuses(fault.BadValue, "lines", approve("note-0004"))
	s.must(s.delete("note-0002"))

	// What was paid may be given back: then less than nothing is open.
	s.must(s.add("payment", "payment-1", "client", "client-1", "received", "2026-03-01", "amount", euro(300)))
	s.must(s.allocate("payment-1", "invoice-1", euro(300)))
	s.status("Paid", "invoice-1")
	s.must(note("note-0005", "client-1", "invoice-1", 300, "EUR"))
	s.must(approve("note-0005"))
	s.has("invoice-1", "open", euro(-300), "status", "Paid")
	s.must(s.act("payment-1", "reverse"))
	s.has("invoice-1", "open", euro(0), "status", "Paid")

	// A draft against what was voided since is refused.
	s.must(s.act("invoice-2", "approve"))
	s.must(note("note-0006", "client-1", "invoice-2", 1, "EUR"))
	s.must(s.act("invoice-2", "void"))
	s.refuses(fault.WrongStatus, "invoice", approve("note-0006"))
}

// TestPaidBefore: documents that were settled before the books began here.
func TestPaidBefore(t *testing.T) {
	s := newState(t)
	old := &entity.Record{Type: s.cat.Type("invoice"), ID: "invoice-1"}
	for f, v := range map[string]string{"client": `"client-1"`, "status": `"Paid"`, "total": euro(900), "lines": charge(1000, "EUR")} {
		old.Set(f, entity.Value(v))
	}
	s.must(s.Save(old))
	s.has("invoice-1", "total", euro(900), "settled", euro(900), "open", euro(0), "status", "Paid")
	s.must(s.add("creditNote", "note-0001", "client", "client-1", "invoice", "invoice-1", "lines", charge(100, "EUR")))
	s.must(s.act("note-0001", "approve"))
	s.has("invoice-1", "open", euro(-100), "status", "Paid")
	p := &entity.Record{Type: s.cat.Type("payment"), ID: "payment-1"}
	for f, v := range map[string]string{"client": `"client-1"`, "status": `"Allocated"`, "amount": euro(900), "received": `"2020-01-01"`} {
		p.Set(f, entity.Value(v))
	}
	s.must(s.Save(p))
	s.has("payment-1", "allocated", euro(900), "open", euro(0))
}

func (s *state) contract(id string, kv ...string) {
	s.t.Helper()
	s.must(s.add("contract", id, append([]string{"client", "client-1", "title", "Care", "interval", "monthly", "lines", charge(100, "EUR")}, kv...)...))
	s.must(s.act(id, "activate"))
}

// run makes a billing run through the day and returns what it drafted: the
// contract and the text of the first line of each.
func (s *state) run(id, through string) []string {
	s.t.Helper()
	s.must(s.add("billingRun", id, "name", id, "through", through))
	s.must(s.act(id, "run"))
	var out []string
	for _, o := range s.order {
		r := s.records[o]
		if r == nil || r.Type.Name != "invoice" || r.Get("billingRun").Ref() != ident.RecordID(id) {
			continue
		}
		_, text, _ := strings.Cut(string(r.Get("lines")), `"text":"`)
		text, _, _ = strings.Cut(text, `"`)
		out = append(out, string(r.Get("contract").Ref())+": "+text)
	}
	return out
}

func TestBillingRuns(t *testing.T) {
	s := newState(t)
	s.contract("contract-1", "starts", "2023-12-31", "interval", "monthly")
	s.has("contract-1", "number", "CON-000001", "nextBilling", "2023-12-31", "total", euro(100))
	s.contract("contract-2", "starts", "2024-01-01", "interval", "quarterly", "ends", "2024-05-15")
	s.contract("contract-3", "starts", "2024-02-29", "interval", "yearly", "number", "own-1")
	s.contract("contract-4", "starts", "2024-02-01", "interval", "once", "ends", "2024-12-31")
	s.contract("contract-5", "starts", "2024-04-01")
	s.must(s.add("contract", "contract-6", "client", "client-1", "title", "Draft", "starts", "2024-01-01", "lines", charge(100, "EUR")))
	got := s.run("run-00001", "2024-03-30")
	want := []string{
		"contract-1: Work (2023-12-31 – 2024-01-30)", "contract-1: Work (2024-01-31 – 2024-02-28)", "contract-1: Work (2024-02-29 – 2024-03-30)",
		"contract-2: Work (2024-01-01 – 2024-03-31)",
		"contract-3: Work (2024-02-29 – 2025-02-27)",
		"contract-4: Work (2024-02-01 – 2024-12-31)",
	}
	if !slices.Equal(got, want) {
		t.Errorf("drafted\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	s.status("Done", "run-00001")
	s.has("contract-1", "nextBilling", "2024-03-31")
	s.has("contract-3", "nextBilling", "2025-02-28", "number", "own-1")
	s.has("contract-4", "nextBilling", "")
	if got := s.run("run-00002", "2024-03-30"); len(got) != 0 {
		t.Errorf("billed twice: %v", got)
	}
	want = []string{
		"contract-1: Work (2024-03-31 – 2024-04-29)", "contract-1: Work (2024-04-30 – 2024-05-30)",
		"contract-2: Work (2024-04-01 – 2024-05-15)",
		"contract-5: Work (2024-04-01 – 2024-04-30)", "contract-5: Work (2024-05-01 – 2024-05-31)",
	}
	if got := s.run("run-00003", "2024-05-30"); !slices.Equal(got, want) {
		t.Errorf("drafted\n%s", strings.Join(got, "\n"))
	}
	if err := s.act("run-00003", "run"); !fault.Is(err, fault.WrongStatus) {
		t.Errorf("the same run again: %v", err)
	}
	for _, r := range s.records {
		if r.Type.Name == "invoice" && (r.StatusText() != "Draft" || !r.Get("number").IsNull() || string(r.Get("total")) != euro(100)) {
			t.Errorf("drafted %s %s %s", r.StatusText(), r.Get("number"), r.Get("total"))
		}
	}
	s.refuses(fault.WrongStatus, "", s.try(func() error { return s.delete("run-00003") }))
	s.refuses(fault.WrongStatus, "", s.try(func() error { return s.delete("contract-1") }))
	s.must(s.delete("contract-6"))
}

func TestContractsStandFast(t *testing.T) {
	s := newState(t)
	s.refuses(fault.BadValue, "ends", s.add("contract", "contract-9", "client", "client-1", "title", "x", "starts", "2024-01-02", "ends", "2024-01-01"))
	s.must(s.add("contract", "contract-8", "client", "client-1", "title", "x", "starts", "2024-01-02"))
	s.refuses(fault.MissingField, "lines", s.act("contract-8", "activate"))
	s.contract("contract-1", "starts", "2024-01-01", "interval", "monthly")
	change := func(f, v string) error {
		r := s.records["contract-1"].Clone()
		r.Set(f, entity.Value(v))
		return s.try(func() error { return s.Save(r) })
	}
	s.refuses(fault.WrongStatus, "lines", change("lines", charge(1, "EUR")))
	s.refuses(fault.WrongStatus, "interval", change("interval", `"yearly"`))
	s.refuses(fault.WrongStatus, "starts", change("starts", `"2024-02-01"`))
	s.refuses(fault.BadValue, "ends", change("ends", `"2023-02-01"`))
	s.must(change("ends", `"2024-02-01"`))
	s.must(change("title", `"Better care"`))
	s.must(s.act("contract-1", "expire"))
	s.refuses(fault.WrongStatus, "ends", change("ends", `"2025-02-01"`))
	s.must(change("notes", `"gone"`))
}

// TestContractsExpire: with the run after their end, once all of it is billed.
// The clock stands in January 1970.
func TestContractsExpire(t *testing.T) {
	s := newState(t)
	s.contract("contract-1", "starts", "1969-10-01", "ends", "1969-11-30")
	s.contract("contract-2", "starts", "1969-12-01", "ends", "1970-01-01")
	s.contract("contract-3", "starts", "1960-01-01", "ends", "1969-12-31")
	s.run("run-00001", "1969-10-31")
	s.status("Active", "contract-1", "contract-2", "contract-3")
	s.run("run-00002", "1970-01-31")
	s.status("Expired", "contract-1")
	s.status("Active", "contract-2", "contract-3") // the one ends today, the other is not billed to its end
	for i := range 3 {
		s.status("Active", "contract-3")
		s.run(fmt.Sprintf("run-1000%d", i), "1970-01-31")
	}
	s.status("Expired", "contract-3") // ten years are 120 periods, 24 a run
	n := 0
	for _, r := range s.records {
		if r.Type.Name == "invoice" && r.Get("contract").Ref() == "contract-3" {
			n++
		}
	}
	if n != 120 {
		t.Errorf("%d months of ten years billed", n)
	}
}

// TestRunsAreBounded: a run takes 1,000 invoices, the next one the rest.
func TestRunsAreBounded(t *testing.T) {
	s := newState(t)
	for i := range 50 {
		s.contract(fmt.Sprintf("contract-%d", i+1), "starts", "2020-01-01")
	}
	if n := len(s.run("run-00001", "2021-12-31")); n != 1000 {
		t.Errorf("%d drafted", n)
	}
	if n := len(s.run("run-00002", "2021-12-31")); n != 200 {
		t.Errorf("%d drafted after that", n)
	}
	if n := len(s.run("run-00003", "2021-12-31")); n != 0 {
		t.Errorf("%d drafted in the end", n)
	}
}

// TestDeletedDraftsAreBilledAgain: the period of a draft that was deleted is
// billed by the next run, once; periods around it of which there are invoices
// are not.
func TestDeletedDraftsAreBilledAgain(t *testing.T) {
	s := newState(t)
	s.contract("contract-1", "starts", "2024-01-01", "ends", "2024-04-30")
	s.contract("contract-2", "starts", "2024-01-01", "interval", "once")
	draft := func(contract, from string) string {
		t.Helper()
		for _, o := range s.order {
			r := s.records[o]
			if r != nil && r.Type.Name == "invoice" && r.Get("contract").Text() == contract && r.Get("periodFrom").Text() == from {
				return string(o)
			}
		}
		t.Fatalf("%s has no invoice from %s", contract, from)
		return ""
	}
	runs := 0
	billed := func(through string, want ...string) {
		t.Helper()
		runs++
		if got := s.run(fmt.Sprintf("run-%05d", runs), through); !slices.Equal(got, want) {
			t.Errorf("run %d drafted %q, want %q", runs, got, want)
		}
	}
	const jan, feb, mar, april = "contract-1: Work (2024-01-01 – 2024-01-31)", "contract-1: Work (2024-02-01 – 2024-02-29)",
		"contract-1: Work (2024-03-01 – 2024-03-31)", "contract-1: Work (2024-04-01 – 2024-04-30)"
	const once = "contract-2: Work (2024-01-01)"
	billed("2024-03-15", jan, feb, mar, once)
	s.has(draft("contract-1", "2024-02-01"), "periodTo", "2024-02-29")
	s.has("contract-1", "nextBilling", "2024-04-01", "billedUntil", "")
	s.has("contract-2", "nextBilling", "")
	billed("2024-03-15")

	// One in the middle, and the only one.
	s.must(s.delete(draft("contract-1", "2024-02-01")))
	s.must(s.delete(draft("contract-2", "2024-01-01")))
	s.has("contract-1", "nextBilling", "2024-02-01", "billedUntil", "2024-04-01")
	s.has("contract-2", "nextBilling", "2024-01-01")
	billed("2024-01-31", once)
	billed("2024-03-15", feb)
	s.has("contract-1", "nextBilling", "2024-04-01", "billedUntil", "")

	// Two, the later first; what is between stays, though it be approved.
	s.must(s.act(draft("contract-1", "2024-02-01"), "approve"))
	s.must(s.delete(draft("contract-1", "2024-03-01")))
	s.must(s.delete(draft("contract-1", "2024-01-01")))
	s.has("contract-1", "nextBilling", "2024-01-01", "billedUntil", "2024-04-01")
	billed("2024-04-01", jan, mar, april)
	s.refuses(fault.WrongStatus, "", s.try(func() error { return s.delete(draft("contract-1", "2024-02-01")) }))

	// An invoice that no run made leaves no gap.
	s.must(s.add("invoice", "invoice-by", "client", "client-1", "contract", "contract-1", "lines", charge(1, "EUR")))
	s.must(s.delete("invoice-by"))
	billed("2024-12-31")

	// A contract that had expired with its last period runs again; one that
	// somebody ended early does not.
	old := s.records["contract-1"].Clone()
	old.Set("status", entity.StringValue("Expired"))
	s.must(s.Save(old))
	s.must(s.delete(draft("contract-1", "2024-04-01")))
	s.status("Expired", "contract-1") // by the clock of this test its end is to come
	s.contract("contract-3", "starts", "1969-01-01", "ends", "1969-02-10")
	billed("1969-12-31", "contract-3: Work (1969-01-01 – 1969-01-31)", "contract-3: Work (1969-02-01 – 1969-02-10)")
	s.status("Expired", "contract-3")
	s.must(s.delete(draft("contract-3", "1969-02-01")))
	s.status("Active", "contract-3")
	s.has("contract-3", "expiredAt", "")
	billed("1969-12-31", "contract-3: Work (1969-02-01 – 1969-02-10)")
	s.status("Expired", "contract-3")
}

// TestLongTextsBilled: the period has its place in a text that is as long as
// it may be, and what can't be summed up is drafted all the same.
func TestLongTextsBilled(t *testing.T) {
	s := newState(t)
	long := strings.Repeat("ü", 200)
	s.contract("contract-1", "starts", "2020-01-01", "lines",
		fmt.Sprintf(`[{"id":"a","text":%q,"quantity":2.5,"unitPrice":{"amount":3,"currency":"EUR"},"taxPercent":19}]`, long))
	got := s.run("run-00001", "2020-01-01")
	if len(got) != 1 || !strings.HasSuffix(got[0], "ü… (2020-01-01 – 2020-01-31)") {
		t.Fatalf("drafted %v", got)
	}
	inv := s.records[s.order[len(s.order)-1]]
	if _, err := inv.Type.Field("lines").Normalize(inv.Get("lines")); err != nil || string(inv.Get("total")) != euro(10) {
		t.Errorf("total %s, %v", inv.Get("total"), err)
	}
}

func TestStatement(t *testing.T) {
	s := newState(t)
	s.must(s.add("client", "client-2", "name", "other", "salesArea", "area-0001"))
	s.bill("invoice-0", 1000, "issued", "2026-01-05", "number", "A-0")
	s.bill("invoice-1", 500, "issued", "2026-02-01", "number", "A-1")
	s.bill("invoice-2", 300, "issued", "2026-02-20", "number", "A-2")
	s.must(s.act("invoice-2", "void"))
	s.must(s.add("invoice", "invoice-3", "client", "client-1", "issued", "2026-02-03", "lines", charge(7, "EUR"))) // a draft
	s.bill("invoice-4", 77, "issued", "2026-02-04", "client", "client-2")
	s.must(s.add("invoice", "invoice-5", "client", "client-1", "issued", "2026-02-05", "lines", charge(9, "USD")))
	s.must(s.act("invoice-5", "approve"))
	s.bill("invoice-6", 50, "issued", "2026-03-01", "number", "A-6") // after the span
	s.must(s.add("creditNote", "note-0001", "client", "client-1", "invoice", "invoice-1", "lines", charge(100, "EUR"), "issued", "2026-02-28"))
	s.must(s.act("note-0001", "approve"))
	s.must(s.add("payment", "payment-1", "client", "client-1", "received", "2026-02-01", "amount", euro(400), "reference", "R <1>"))
	s.must(s.add("payment", "payment-2", "client", "client-1", "received", "2026-02-10", "amount", euro(1000)))
	r := s.records["payment-2"].Clone()
	for f, v := range map[string]string{"status": `"Reversed"`, "reversedAt": `"2026-02-12T10:00:00.000Z"`} {
		r.Set(f, entity.Value(v))
	}
	s.must(s.Save(r))
	state := func(id, from, to, currency string) error {
		return s.add("statement", id, "client", "client-1", "from", from, "to", to, "currency", currency)
	}
	s.must(state("statement-1", "2026-02-01", "2026-02-28", "EUR"))
	s.has("statement-1", "opening", euro(1000), "closing", euro(1000), "lines", `[`+strings.Join([]string{
		`{"id":"1","date":"2026-02-01","text":"Invoice A-1","document":"invoice-1","debit":` + euro(500) + `}`,
		`{"id":"2","date":"2026-02-01","text":"Payment R \u003c1\u003e","document":"payment-1","credit":` + euro(400) + `}`,
		`{"id":"3","date":"2026-02-10","text":"Payment","document":"payment-2","credit":` + euro(1000) + `}`,
		`{"id":"4","date":"2026-02-12","text":"Payment reversed","document":"payment-2","debit":` + euro(1000) + `}`,
		`{"id":"5","date":"2026-02-28","text":"Credit note CN-000001","document":"note-0001","credit":` + euro(100) + `}`,
	}, ",")+`]`)
	// What comes after stays out of it, and in the next one.
	s.must(state("statement-2", "2026-03-01", "2026-03-01", "EUR"))
	s.has("statement-2", "opening", euro(1000), "closing", euro(1050))
	s.must(state("statement-3", "2020-01-01", "2020-01-02", "EUR"))
	s.has("statement-3", "opening", euro(0), "closing", euro(0), "lines", "")
	s.refuses(fault.BadValue, "to", state("statement-9", "2026-02-02", "2026-02-01", "EUR"))
	s.refuses(fault.BadValue, "currency", state("statement-9", "2026-02-02", "2026-02-03", "eur"))
	s.refuses(fault.MissingField, "from", s.add("statement", "statement-9", "client", "client-1", "to", "2026-02-02", "currency", "EUR"))
}

func TestStatementsAreBounded(t *testing.T) {
	s := newState(t)
	for i := range 1001 {
		s.must(s.add("payment", fmt.Sprintf("payment-%d", i), "client", "client-1", "received", fmt.Sprintf("2026-01-%02d", 1+i%28),
			"amount", euro(1), "reference", strings.Repeat("x", 200)))
	}
	s.refuses(fault.BadValue, "to", s.add("statement", "statement-1", "client", "client-1", "from", "2026-01-01", "to", "2026-01-31", "currency", "EUR"))
	s.must(s.add("statement", "statement-2", "client", "client-1", "from", "2026-01-02", "to", "2026-01-31", "currency", "EUR"))
	s.has("statement-2", "opening", euro(-36), "closing", euro(-1001))
}

func TestCollectionNotes(t *testing.T) {
	s := newState(t)
	s.must(s.add("client", "client-2", "name", "other", "salesArea", "area-0001"))
	s.bill("invoice-1", 500)
	s.must(s.add("collectionNote", "note-0001", "client", "client-1", "invoice", "invoice-1", "text", "rang", "promised", euro(5), "promisedOn", "2026-03-01"))
	s.has("note-0001", "author", "person-1")
	s.refuses(fault.BadReference, "invoice", s.add("collectionNote", "note-0002", "client", "client-2", "invoice", "invoice-1", "text", "rang"))
	s.refuses(fault.BadValue, "promised", s.add("collectionNote", "note-0003", "client", "client-1", "text", "rang", "promised", euro(0)))
}

// ledger is what the sums ought to be, kept beside the records by other means.
type ledger struct {
	invoices map[string]*debt
	payments map[string]*money
	allocs   map[string]alloc
}

type debt struct {
	client, currency       string
	total, credited, drawn int64
	status                 string // Draft, Approved or Void
	sent                   bool
}

type money struct {
	client, currency string
	amount, used     int64
	refunded         int64
	reversed         bool
}

func (p *money) open() int64 { return p.amount - p.used - p.refunded }

type alloc struct {
	payment, invoice string
	sum              int64
}

func (d *debt) open() int64 { return d.total - d.credited - d.drawn }

func (d *debt) want() string {
	switch {
	case d.status != "Approved":
		return d.status
	case d.open() <= 0:
		return billing.Paid
	case d.sent:
		return billing.Sent
	}
	return billing.Approved
}

func (l *ledger) mayAllocate(a alloc, currency string) bool {
	p, d := l.payments[a.payment], l.invoices[a.invoice]
	return a.sum > 0 && !p.reversed && d.status == "Approved" && d.open() > 0 && p.client == d.client &&
		p.currency == currency && d.currency == currency && a.sum <= p.open() && a.sum <= d.open()
}

// between returns the allocations of a payment to an invoice, as they were made,
// and their sum.
func (l *ledger) between(s *state, payment, invoice string) (ids []string, sum int64) {
	for _, o := range s.order {
		if a, ok := l.allocs[string(o)]; ok && a.payment == payment && a.invoice == invoice {
			ids, sum = append(ids, string(o)), sum+a.sum
		}
	}
	return ids, sum
}

// giveBack returns of allocations what is paid back.
func (l *ledger) giveBack(ids []string, sum int64) {
	for _, id := range ids {
		a := l.allocs[id]
		part := min(sum, a.sum)
		a.sum, sum = a.sum-part, sum-part
		l.allocs[id] = a
		l.payments[a.payment].used -= part
		l.invoices[a.invoice].drawn -= part
	}
}

func (l *ledger) drop(id string) {
	a := l.allocs[id]
	l.payments[a.payment].used -= a.sum
	l.invoices[a.invoice].drawn -= a.sum
	delete(l.allocs, id)
}

// TestBooksBalance: whatever is allocated, taken back, reversed, voided and
// credited, in whatever order, the sums of payments and invoices are those of
// what stands in the books, and what would unbalance them is refused.
func TestBooksBalance(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newState(t)
		s.must(s.add("client", "client-2", "name", "other", "salesArea", "area-0001"))
		l := &ledger{map[string]*debt{}, map[string]*money{}, map[string]alloc{}}
		for i, c := range []struct{ client, currency string }{{"client-1", "EUR"}, {"client-1", "EUR"}, {"client-2", "EUR"}, {"client-1", "USD"}} {
			id := fmt.Sprintf("invoice-%d", i)
			d := &debt{client: c.client, currency: c.currency, total: rapid.Int64Range(1, 20).Draw(rt, "total"), status: "Draft"}
			l.invoices[id] = d
			s.must(s.add("invoice", id, "client", c.client, "lines", charge(d.total, c.currency)))
			pid := fmt.Sprintf("payment-%d", i)
			p := &money{client: c.client, currency: c.currency, amount: rapid.Int64Range(1, 20).Draw(rt, "amount")}
			l.payments[pid] = p
			s.must(s.add("payment", pid, "client", c.client, "received", "2026-03-01", "amount", string(lines.Money(p.amount, c.currency))))
		}
		invoices, payments := slices.Sorted(maps.Keys(l.invoices)), slices.Sorted(maps.Keys(l.payments))
		made := 0
		attempt := func(what string, may bool, f func() error) bool {
			err := s.try(f)
			if (err == nil) != may || err != nil && fault.Of(err).Code == fault.InternalError {
				rt.Fatalf("%s: %v, allowed is %v", what, err, may)
			}
			return err == nil
		}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			inv, pay := rapid.SampledFrom(invoices).Draw(rt, "invoice"), rapid.SampledFrom(payments).Draw(rt, "payment")
			d, p := l.invoices[inv], l.payments[pay]
			sum := rapid.Int64Range(-1, 12).Draw(rt, "sum")
			currency := rapid.SampledFrom([]string{p.currency, p.currency, "EUR"}).Draw(rt, "currency")
			made++
			switch op := rapid.SampledFrom([]string{"approve", "send", "allocate", "allocation", "delete", "reverse", "void", "credit", "refund", "refund invoice"}).Draw(rt, "op"); op {
			case "approve":
				if attempt(op, d.status == "Draft", func() error { return s.act(inv, op) }) {
					d.status = "Approved"
				}
			case "send":
				if attempt(op, d.want() == billing.Approved, func() error { return s.act(inv, op) }) {
					d.sent = true
				}
			case "allocate", "allocation":
				a := alloc{pay, inv, sum}
				id := fmt.Sprintf("alloc-%04d", made)
				if attempt(op, l.mayAllocate(a, currency), func() error {
					v := string(lines.Money(sum, currency))
					if op == "allocation" {
						return s.add(op, id, "payment", pay, "invoice", inv, "amount", v)
					}
					s.n = made * 10
					id = fmt.Sprintf("fresh-%03d", made*10+1)
					return s.allocate(pay, inv, v)
				}) {
					l.allocs[id] = a
					p.used, d.drawn = p.used+sum, d.drawn+sum
				}
			case "delete":
				if len(l.allocs) == 0 {
					continue
				}
				id := rapid.SampledFrom(slices.Sorted(maps.Keys(l.allocs))).Draw(rt, "allocation")
				attempt(op, true, func() error { return s.delete(id) })
				l.drop(id)
			case "reverse":
				if attempt(op, !p.reversed, func() error { return s.act(pay, op) }) {
					p.reversed = true
					for _, id := range slices.Sorted(maps.Keys(l.allocs)) {
						if l.allocs[id].payment == pay {
							l.drop(id)
						}
					}
				}
			case "refund":
				may := sum > 0 && currency == p.currency && !p.reversed && sum <= p.open()
				if attempt(op, may, func() error { return s.refund(pay, "", string(lines.Money(sum, currency))) }) {
					p.refunded += sum
				}
			case "refund invoice":
				ids, all := l.between(s, pay, inv)
				may := sum > 0 && currency == p.currency && !p.reversed && p.client == d.client && d.status == "Approved" &&
					sum <= -d.open() && sum <= all
				if attempt(op, may, func() error { return s.refund(pay, inv, string(lines.Money(sum, currency))) }) {
					l.giveBack(ids, sum)
					p.refunded += sum
				}
			case "void":
				may := d.want() != billing.Void && d.want() != billing.Paid && d.drawn == 0 && d.credited == 0
				if attempt(op, may, func() error { return s.act(inv, op) }) {
					d.status = "Void"
				}
			case "credit":
				id := fmt.Sprintf("note-%04d", made)
				may := d.status == "Approved" && sum > 0 && d.credited+sum <= d.total
				if attempt(op, may, func() error {
					if err := s.add("creditNote", id, "client", d.client, "invoice", inv, "lines", charge(sum, d.currency)); err != nil {
						return err
					}
					return s.act(id, "approve")
				}) {
					d.credited += sum
				}
			}
			l.compare(rt, s)
		}
	})
}

// compare holds the records against the ledger.
func (l *ledger) compare(rt *rapid.T, s *state) {
	n := 0
	for _, r := range s.records {
		if r.Type.Name == "allocation" {
			n++
		}
	}
	if n != len(l.allocs) {
		rt.Fatalf("%d allocations, want %d", n, len(l.allocs))
	}
	for id, d := range l.invoices {
		r := s.records[ident.RecordID(id)]
		open, settled := lines.Money(d.open(), d.currency), lines.Money(d.drawn+d.credited, d.currency)
		if d.status != "Approved" {
			open = nil
			if d.status == "Draft" || r.Get("settled").IsNull() {
				settled = nil
			}
		}
		if r.StatusText() != d.want() || string(r.Get("open")) != string(open) || string(r.Get("settled")) != string(settled) {
			rt.Fatalf("%s is %s, open %s, settled %s; want %s %s %s", id, r.StatusText(), r.Get("open"), r.Get("settled"), d.want(), open, settled)
		}
		if r.Get("paidAt").IsNull() != (d.want() != billing.Paid) {
			rt.Fatalf("%s is %s and paid at %s", id, d.want(), r.Get("paidAt"))
		}
	}
	for id, p := range l.payments {
		r := s.records[ident.RecordID(id)]
		status, open := "Open", p.open()
		switch {
		case p.reversed:
			status, open = "Reversed", 0
		case open == 0 && p.used == 0:
			status = "Refunded"
		case open == 0:
			status = "Allocated"
		}
		if got := string(r.Get("refunded")); got != string(lines.Money(p.refunded, p.currency)) {
			rt.Fatalf("%s: %s is refunded, want %d", id, got, p.refunded)
		}
		if r.StatusText() != status || string(r.Get("allocated")) != string(lines.Money(p.used, p.currency)) ||
			string(r.Get("open")) != string(lines.Money(open, p.currency)) {
			rt.Fatalf("%s is %s, allocated %s, open %s; want %s %d %d", id, r.StatusText(), r.Get("allocated"), r.Get("open"), status, p.used, open)
		}
	}
}

// TestNumbersOfTheSeries: nobody types a number that the series gives to another
// document; any other number may be typed, and what the system brings in keeps
// its own.
func TestNumbersOfTheSeries(t *testing.T) {
	s := stockState(t)
	priced := `[{"id":"1","text":"work","quantity":1,"unitPrice":{"amount":100,"currency":"EUR"}}]`
	s.must(s.set("invoice", "invoice-00", "client", `"client-1"`, "lines", priced))
	s.must(s.act("invoice-00", "approve"))
	for typ, c := range map[string]struct {
		prefix string
		kv     []string
	}{
		"invoice":       {"INV", []string{"client", `"client-1"`}},
		"contract":      {"CON", []string{"client", `"client-1"`, "title", `"care"`, "kind", `"other"`, "starts", `"2026-01-01"`, "interval", `"once"`}},
		"creditNote":    {"CN", []string{"client", `"client-1"`, "invoice", `"invoice-00"`}},
		"salesOrder":    {"SO", []string{"client", `"client-1"`}},
		"purchaseOrder": {"PO", []string{"supplier", `"supplier-1"`}},
	} {
		make := func(id, number string) error {
			return s.set(typ, id, append([]string{"number", `"` + number + `"`}, c.kv...)...)
		}
		for _, number := range []string{"-000001", "-1234567"} {
			if err := make(typ+"-no", c.prefix+number); !fault.Is(err, fault.BadValue) {
				t.Errorf("%s %s%s: %v", typ, c.prefix, number, err)
			}
		}
		s.must(make(typ+"-ok", c.prefix+"-2026-7"))
		s.must(make(typ+"-short", c.prefix+"-00001"))
		r := s.records[ident.RecordID(typ+"-ok")].Clone()
		r.Set("number", entity.StringValue(c.prefix+"-000009"))
		if err := s.Save(r); !fault.Is(err, fault.BadValue) {
			t.Errorf("%s, renumbered: %v", typ, err)
		}
		s.actor = ""
		s.must(make(typ+"-old", c.prefix+"-000002"))
		s.actor = "person-1"
		r = s.records[ident.RecordID(typ+"-old")].Clone() // is changed as it is
		s.must(s.Save(r))
	}
}
