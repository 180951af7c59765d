package module

import (
	"fmt"
	"testing"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/server/module/stock"
)

// set writes a record as it stands in values, which are JSON.
func (s *state) set(typ, id string, kv ...string) error {
	values := map[string]entity.Value{}
	for i := 0; i < len(kv); i += 2 {
		v, err := s.cat.Type(typ).Field(kv[i]).Normalize([]byte(kv[i+1]))
		if err != nil {
			return err
		}
		values[kv[i]] = v
	}
	_, err := s.create(typ, ident.RecordID(id), values)
	return err
}

// of counts the records of a type.
func (s *state) of(typ string) (n int) {
	for _, r := range s.records {
		if r.Type.Name == typ {
			n++
		}
	}
	return n
}

func (s *state) level(id string, quantity, reserved int64) {
	s.t.Helper()
	r := s.records[ident.RecordID(id)]
	if q, n := r.Get("quantity").Int(), r.Get("reserved").Int(); q != quantity || n != reserved {
		s.t.Errorf("%s is %d, of which %d are reserved, want %d and %d", id, q, n, quantity, reserved)
	}
}

// stockState has a warehouse with ten seals and an empty van.
func stockState(t *testing.T) *state {
	s := newState(t)
	s.must(s.add("product", "product-1", "name", "seal"))
	s.must(s.add("product", "product-2", "name", "pump"))
	s.must(s.add("supplier", "supplier-1", "name", "supplies"))
	s.must(s.add("warehouse", "warehouse-1", "name", "main", "kind", "warehouse"))
	s.must(s.add("warehouse", "warehouse-2", "name", "van", "kind", "van"))
	s.must(s.set("stockLevel", "level-001", "product", `"product-1"`, "warehouse", `"warehouse-1"`, "quantity", "10"))
	s.must(s.add("job", "job-00001", "client", "client-1", "title", "mend"))
	s.must(s.add("jobActivity", "act-00001", "job", "job-00001", "title", "go"))
	return s
}

func seals(n int) string {
	return fmt.Sprintf(`[{"id":"1","product":"product-1","quantity":%d}]`, n)
}

// TestHistoryMovesNothing: what the system brings in was there before the
// levels were counted; orders that are still open speak for their pieces.
func TestHistoryMovesNothing(t *testing.T) {
	s := stockState(t)
	s.actor = ""
	s.must(s.set("purchaseOrder", "order-001", "supplier", `"supplier-1"`, "lines", seals(5)))
	s.must(s.set("receipt", "receipt-1", "warehouse", `"warehouse-1"`, "purchaseOrder", `"order-001"`, "lines", seals(5)))
	s.must(s.set("adjustment", "adjust-01", "warehouse", `"warehouse-1"`, "product", `"product-1"`, "change", "-3", "reason", `"lost"`))
	s.must(s.set("partUsed", "part-0001", "activity", `"act-00001"`, "product", `"product-1"`, "quantity", "2", "warehouse", `"warehouse-1"`))
	s.level("level-001", 10, 0)
	if n := s.of("stockMovement"); n != 0 {
		t.Errorf("%d movements", n)
	}
	s.status("Draft", "order-001")
	s.must(s.set("salesOrder", "sale-0001", "client", `"client-1"`, "warehouse", `"warehouse-1"`, "lines", seals(4)))
	r := s.records["sale-0001"].Clone()
	r.Set("status", entity.StringValue(stock.Approved))
	s.must(s.Save(r))
	s.level("level-001", 10, 4)
	// A person's correction of it moves what is corrected.
	s.actor = "person-1"
	r = s.records["part-0001"].Clone()
	r.Set("quantity", entity.IntValue(3))
	s.must(s.Save(r))
	s.level("level-001", 9, 4)
	s.must(s.act("sale-0001", "pick"))
	s.level("level-001", 5, 0)
}

// TestReceivingAll makes one receipt of what is outstanding, and none where
// nothing is.
func TestReceivingAll(t *testing.T) {
	s := stockState(t)
	lines := `[{"id":"1","product":"product-2","quantity":2},{"id":"2","product":"product-1","quantity":3},{"id":"3","product":"product-2","quantity":1}]`
	s.must(s.set("purchaseOrder", "order-001", "supplier", `"supplier-1"`, "warehouse", `"warehouse-1"`, "lines", lines))
	s.must(s.act("order-001", "approve"))
	s.must(s.set("receipt", "receipt-1", "warehouse", `"warehouse-2"`, "purchaseOrder", `"order-001"`, "lines", seals(9)))
	s.status("Approved", "order-001")
	s.must(s.act("order-001", "receive"))
	s.status("Received", "order-001")
	s.level("level-001", 10, 0)
	if n := s.of("receipt"); n != 2 {
		t.Errorf("%d receipts", n)
	}
	var got string
	s.Referring("receipt", "purchaseOrder", "order-001", func(r *entity.Record) bool {
		got = string(r.Get("lines"))
		return true
	})
	var id string
	if n, err := fmt.Sscanf(got, `[{"id":%q,"product":"product-2","quantity":3}]`, &id); n != 1 || err != nil {
		t.Errorf("the receipt is of %s", got)
	}
	// An order whose goods were brought in by the system is completed alike.
	s.must(s.set("purchaseOrder", "order-002", "supplier", `"supplier-1"`, "lines", seals(1)))
	s.must(s.act("order-002", "approve"))
	s.actor = ""
	s.must(s.set("receipt", "receipt-2", "warehouse", `"warehouse-1"`, "purchaseOrder", `"order-002"`, "lines", seals(1)))
	s.actor = "person-1"
	s.status("Approved", "order-002")
	s.must(s.act("order-002", "receive"))
	s.status("Received", "order-002")
	if n := s.of("receipt"); n != 3 {
		t.Errorf("%d receipts", n)
	}
}

// TestStockRefuses holds what Stock refuses by itself.
func TestStockRefuses(t *testing.T) {
	s := stockState(t)
	full := fmt.Sprintf(`[{"id":"1","product":"product-1","quantity":%d},{"id":"2","product":"product-1","quantity":%d}]`, 1<<53, 1<<53)
	s.must(s.add("client", "client-2", "name", "blue", "salesArea", "area-0001"))
	s.must(s.add("job", "job-00002", "client", "client-2", "title", "mend"))
	s.must(s.add("ticket", "ticket-02", "client", "client-2", "subject", "help"))
	s.must(s.set("salesOrder", "sale-0001", "client", `"client-1"`, "warehouse", `"warehouse-2"`, "lines", full))
	s.must(s.set("salesOrder", "sale-0002", "client", `"client-1"`, "lines", seals(1)))
	s.must(s.set("salesOrder", "sale-0003", "client", `"client-1"`, "warehouse", `"warehouse-1"`))
	s.must(s.set("salesOrder", "sale-0004", "client", `"client-1"`, "warehouse", `"warehouse-1"`, "lines", seals(11)))
	s.must(s.set("transfer", "transfer-1", "source", `"warehouse-1"`, "target", `"warehouse-2"`, "lines",
		`[{"id":"1","product":"product-9","quantity":1}]`))
	s.must(s.set("count", "count-001", "warehouse", `"warehouse-1"`))
	s.must(s.set("count", "count-002", "warehouse", `"warehouse-1"`, "lines", `[{"id":"1","product":"product-1","counted":10}]`))
	s.must(s.act("count-002", "post"))
	if n := s.of("stockMovement"); n != 0 {
		t.Errorf("a count that found all as it was moved %d", n)
	}
	for _, c := range []struct {
		name string
		code fault.Code
		err  error
	}{
		{"more than a level holds, reserved", fault.BadValue, s.act("sale-0001", "approve")},
		{"an order of no warehouse", fault.MissingField, s.act("sale-0002", "approve")},
		{"an order of nothing", fault.MissingField, s.act("sale-0003", "approve")},
		{"more than is there", fault.InsufficientStock, s.act("sale-0004", "approve")},
		{"a product that is no more", fault.BadReference, s.act("transfer-1", "complete")},
		{"a count of nothing", fault.MissingField, s.act("count-001", "post")},
		{"a posted count, deleted", fault.WrongStatus, s.Delete(s.records["count-002"])},
		{"a level below nothing", fault.BadValue, s.set("stockLevel", "level-002", "product", `"product-2"`, "warehouse", `"warehouse-1"`, "quantity", "-1")},
		{"a van below nothing", "", s.set("stockLevel", "level-003", "product", `"product-2"`, "warehouse", `"warehouse-2"`, "quantity", "-1")},
		{"another client's job", fault.BadReference, s.set("partOrder", "parts-001", "client", `"client-1"`, "product", `"product-1"`, "quantity", "1", "job", `"job-00002"`)},
		{"another client's ticket", fault.BadReference, s.set("partOrder", "parts-002", "client", `"client-1"`, "product", `"product-1"`, "quantity", "1", "ticket", `"ticket-02"`)},
		{"the client's own", "", s.set("partOrder", "parts-003", "client", `"client-1"`, "product", `"product-1"`, "quantity", "1", "job", `"job-00001"`)},
		{"parts of no activity", fault.BadReference, stock.Consume(s, "act-00009", stock.Use{}, stock.Use{Product: "product-1", Warehouse: "warehouse-1", Quantity: 1})},
		{"parts from nowhere", "", stock.Consume(s, "act-00001", stock.Use{}, stock.Use{Product: "product-1", Quantity: 1})},
		{"parts put back where nothing is", "", stock.Consume(s, "act-00001", stock.Use{Product: "product-1", Warehouse: "warehouse-9", Quantity: 1}, stock.Use{})},
	} {
		if c.code == "" && c.err != nil || c.code != "" && !fault.Is(c.err, c.code) {
			t.Errorf("%s: %v, want %q", c.name, c.err, c.code)
		}
	}
	s.level("level-001", 10, 0)
	if n := s.of("stockMovement"); n != 0 {
		t.Errorf("%d movements", n)
	}
}

// TestPurchaseOrders: their sums, where they go, and how they end when not
// everything comes.
func TestPurchaseOrders(t *testing.T) {
	s := stockState(t)
	lines := `[{"id":"1","product":"product-1","quantity":3,"unitPrice":{"amount":250,"currency":"EUR"},"taxPercent":19}]`
	s.must(s.set("purchaseOrder", "order-001", "supplier", `"supplier-1"`, "lines", lines))
	for f, want := range map[string]string{"net": "750", "tax": "143", "total": "893"} {
		if got, want := string(s.records["order-001"].Get(f)), `{"amount":`+want+`,"currency":"EUR"}`; got != want {
			t.Errorf("%s is %s, want %s", f, got, want)
		}
	}
	s.must(s.act("order-001", "approve"))
	if err := s.act("order-001", "receive"); !fault.Is(err, fault.MissingField) {
		t.Errorf("received into no warehouse: %v", err)
	}
	to := func(warehouse string) error {
		r := s.records["order-001"].Clone()
		r.Set("warehouse", entity.RefValue(ident.RecordID(warehouse)))
		return s.Save(r)
	}
	s.must(to("warehouse-1"))
	if err := to("warehouse-2"); !fault.Is(err, fault.WrongStatus) {
		t.Errorf("sent elsewhere: %v", err)
	}
	s.must(s.act("order-001", "receive"))
	s.status("Received", "order-001")
	s.level("level-001", 13, 0)

	// Of which nothing came, and of which something did.
	s.must(s.set("purchaseOrder", "order-002", "supplier", `"supplier-1"`, "warehouse", `"warehouse-1"`, "lines", seals(5)))
	s.must(s.act("order-002", "approve"))
	s.must(s.act("order-002", "cancel"))
	s.status("Cancelled", "order-002")
	if err := s.set("receipt", "receipt-2", "warehouse", `"warehouse-1"`, "purchaseOrder", `"order-002"`, "lines", seals(5)); !fault.Is(err, fault.WrongStatus) {
		t.Errorf("received after all: %v", err)
	}
	s.must(s.set("purchaseOrder", "order-003", "supplier", `"supplier-1"`, "warehouse", `"warehouse-1"`, "lines", seals(5)))
	s.must(s.act("order-003", "approve"))
	s.must(s.set("receipt", "receipt-3", "warehouse", `"warehouse-1"`, "purchaseOrder", `"order-003"`, "lines", seals(2)))
	s.must(s.act("order-003", "cancel"))
	s.status("Received", "order-003")
	s.level("level-001", 15, 0)
	if err := s.act("order-003", "cancel"); !fault.Is(err, fault.WrongStatus) {
		t.Errorf("cancelled again: %v", err)
	}
}

// TestPickedAndCancelled: what was picked and is not shipped is put back.
func TestPickedAndCancelled(t *testing.T) {
	s := stockState(t)
	for id, steps := range map[string][]string{
		"sale-0001": {"approve", "pick", "cancel"}, "sale-0002": {"approve", "cancel"}, "sale-0003": {"cancel"},
	} {
		s.must(s.set("salesOrder", id, "client", `"client-1"`, "warehouse", `"warehouse-1"`, "lines", seals(4)))
		for _, step := range steps {
			s.must(s.act(id, step))
		}
		s.status("Cancelled", id)
		s.level("level-001", 10, 0)
	}
	if n := s.of("stockMovement"); n != 2 {
		t.Errorf("%d movements, want one out and one in", n)
	}
	s.must(s.set("salesOrder", "sale-0004", "client", `"client-1"`, "warehouse", `"warehouse-1"`, "lines", seals(4)))
	for _, step := range []string{"approve", "pick", "ship"} {
		s.must(s.act("sale-0004", step))
	}
	if err := s.act("sale-0004", "cancel"); !fault.Is(err, fault.WrongStatus) {
		t.Errorf("a shipped order was cancelled: %v", err)
	}
	s.level("level-001", 6, 0)
}
