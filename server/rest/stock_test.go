package rest_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	. "satchel/internal/testworld" //nolint:revive // its names are people
)

// shelf is what lies in a warehouse and what of it is spoken for.
type shelf struct{ quantity, reserved float64 }

// holds fails the test where a level is not as it should be.
func (w *world) holds(t *testing.T, id string, want shelf) {
	t.Helper()
	l := w.HTTP(StockAdmin, "GET", levels+"/"+id, nil).Object(t)
	reserved, _ := l["reserved"].(float64)
	if got := (shelf{l["quantity"].(float64), reserved}); got != want {
		t.Errorf("%s is %v, want %v", id, got, want)
	}
}

// levelOf returns the id of a product's level in a warehouse, "" for none.
func (w *world) levelOf(t *testing.T, product, warehouse string) string {
	t.Helper()
	ids := w.HTTP(StockAdmin, "GET", levels+"?filter=product%20eq%20"+product+"%20and%20warehouse%20eq%20"+warehouse, nil).IDs(t)
	if len(ids) == 0 {
		return ""
	}
	return ids[0]
}

// made creates a record and returns its id.
func (w *world) made(t *testing.T, who ident.RecordID, path string, kv ...any) string {
	t.Helper()
	return w.HTTP(who, "POST", path, Object(kv...)).Want(t, 201, "").Object(t)["id"].(string)
}

func (w *world) steps(t *testing.T, steps ...step) {
	t.Helper()
	for _, s := range steps {
		s.take(t, w)
	}
}

// priced makes lines of valves with a price and a tax rate.
func priced(quantity, price int, currency string, tax float64) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(
		`[{"id":"1","product":"product-valve","quantity":%d,"unitPrice":{"amount":%d,"currency":%q},"taxPercent":%g}]`,
		quantity, price, currency, tax))
}

func TestSalesOrderMovesStock(t *testing.T) {
	w := newWorld(t)
	one := sales + "/" + w.made(t, StockOrders, sales, "client", Acme, "lines", priced(3, 333, "EUR", 7.5))
	sums := func(net, tax, total string) {
		t.Helper()
		o := w.HTTP(StockOrders, "GET", one, nil).Object(t)
		for f, want := range map[string]string{"net": net, "tax": tax, "total": total} {
			if got := fmt.Sprint(o[f]); got != want {
				t.Errorf("%s is %s, want %s", f, got, want)
			}
		}
	}
	sums("map[amount:999 currency:EUR]", "map[amount:75 currency:EUR]", "map[amount:1074 currency:EUR]")
	w.steps(t,
		post(StockOrders, one+"/approve").no(422, fault.MissingField),
		patch(StockOrders, one, "warehouse", "warehouse-two", "lines", priced(23, 100, "EUR", 0)),
		patch(StockOrders, one, "lines", json.RawMessage(
			`[{"id":"1","product":"product-valve","quantity":1,"unitPrice":{"amount":1,"currency":"EUR"}},`+
				`{"id":"2","product":"product-valve","quantity":1,"unitPrice":{"amount":1,"currency":"USD"}}]`)).no(422, fault.BadValue),
		patch(StockOrders, one, "net", json.RawMessage(`{"amount":1,"currency":"EUR"}`)).no(422, fault.ReadOnlyField),
	)
	sums("map[amount:2300 currency:EUR]", "map[amount:0 currency:EUR]", "map[amount:2300 currency:EUR]")

	// Of the thirty, eight are spoken for: twenty-two are to be had.
	w.steps(t, post(StockOrders, one+"/approve").no(409, fault.InsufficientStock))
	w.holds(t, "level-two-valve", shelf{30, 8})
	w.steps(t,
		// The same product on two lines counts twice.
		patch(StockOrders, one, "lines", Pieces("product-valve", 11, "product-valve", 12)),
		post(StockOrders, one+"/approve").no(409, fault.InsufficientStock),
		patch(StockOrders, one, "lines", Pieces("product-valve", 11, "product-valve", 11)),
		post(StockOrders, one+"/approve"),
	)
	w.holds(t, "level-two-valve", shelf{30, 30})
	o := w.HTTP(StockOrders, "GET", one, nil).Object(t)
	if o["number"] != "SO-000001" || o["approvedAt"] == nil {
		t.Errorf("the order is %v", o)
	}
	w.steps(t,
		post(StockOrders, one+"/approve").no(409, fault.WrongStatus),
		patch(StockOrders, one, "lines", Pieces("product-valve", 1)).no(409, fault.WrongStatus),
		patch(StockOrders, one, "warehouse", "warehouse-main").no(409, fault.WrongStatus),
		patch(StockOrders, one, "number", "SO-1").no(409, fault.WrongStatus),
		patch(StockOrders, one, "notes", "Ring first"),
		post(StockOrders, sales+"/sale-acme-1/approve").no(409, fault.InsufficientStock),
		post(StockOrders, one+"/cancel"),
	)
	w.holds(t, "level-two-valve", shelf{30, 8})
	w.steps(t, post(StockOrders, sales+"/sale-acme-1/approve"))
	w.holds(t, "level-two-valve", shelf{30, 10})
	if n := w.HTTP(StockOrders, "GET", sales+"/sale-acme-1", nil).Object(t)["number"]; n != "SO-000002" {
		t.Errorf("the second number is %v", n)
	}
	w.steps(t, post(StockOps, sales+"/sale-acme-1/pick"))
	w.holds(t, "level-two-valve", shelf{28, 8})
	w.steps(t,
		post(StockOps, sales+"/sale-acme-1/pick").no(409, fault.WrongStatus),
		post(StockOrders, sales+"/sale-acme-1/ship", "tracking", "T-1"),
		post(StockOrders, sales+"/sale-acme-1/cancel").no(409, fault.WrongStatus),
		remove(StockAdmin, sales+"/sale-acme-1").no(409, fault.HasDependents),
		// An approved order that is deleted lets go of what it held.
		remove(StockAdmin, sales+"/sale-blue-2"),
	)
	w.holds(t, "level-two-valve", shelf{28, 6})
	m := w.HTTP(StockAdmin, "GET", sales+"/sale-acme-1/stock-movements", nil).IDs(t)
	if len(m) != 1 {
		t.Fatalf("the order caused %v", m)
	}
	got := w.HTTP(StockAdmin, "GET", movements+"/"+m[0], nil).Object(t)
	for f, want := range map[string]any{
		"product": "product-valve", "warehouse": "warehouse-two", "change": -2.0, "cause": "sale-acme-1", "causeType": "salesOrder",
		"clientId": "client-acme", "at": Start.Format("2006-01-02T15:04:05.000Z"), "createdBy": string(StockOps),
	} {
		if got[f] != want {
			t.Errorf("the movement's %s is %v, want %v", f, got[f], want)
		}
	}

	// Where the count may be wrong, more may be promised and taken.
	w.steps(t,
		patch(StockAdmin, warehouses+"/warehouse-two", "allowNegative", true),
		patch(StockOrders, sales+"/sale-corp-1", "lines", Pieces("product-valve", 40)),
		post(StockOrders, sales+"/sale-corp-1/approve"),
		post(StockOps, sales+"/sale-corp-1/pick"),
	)
	w.holds(t, "level-two-valve", shelf{-12, 6})
}

func TestPurchaseOrderIsReceived(t *testing.T) {
	w := newWorld(t)
	order := purchases + "/order-two-1" // ten valves and five hoses, of which two came
	w.steps(t,
		create(StockOps, receipts, "purchaseOrder", "order-one-1", "warehouse", "warehouse-two", "lines", Pieces("product-seal", 1)).no(409, fault.WrongStatus),
		create(StockOps, receipts, "purchaseOrder", "order-two-1", "warehouse", "warehouse-two", "lines", Pieces("product-seal", 1)).no(422, fault.BadValue),
		create(StockOps, receipts, "warehouse", "warehouse-two").no(422, fault.MissingField),
	)
	w.holds(t, "level-two-valve", shelf{30, 8})
	got := w.made(t, StockOps, receipts, "purchaseOrder", "order-two-1", "warehouse", "warehouse-main", "lines", Pieces("product-valve", 12))
	main := w.levelOf(t, "product-valve", "warehouse-main")
	w.holds(t, main, shelf{12, 0})
	if r := w.HTTP(StockOps, "GET", receipts+"/"+got, nil).Object(t); r["received"] != Start.Format("2006-01-02") {
		t.Errorf("the receipt is of %v", r["received"])
	}
	status := func(want string) {
		t.Helper()
		if o := w.HTTP(StockOps, "GET", order, nil).Object(t); o["status"] != want || (o["receivedAt"] != nil) != (want == "Received") {
			t.Errorf("the order is %v, received at %v, want %s", o["status"], o["receivedAt"], want)
		}
	}
	status("Approved")
	w.steps(t,
		patch(StockOps, receipts+"/"+got, "lines", Pieces("product-valve", 1)).no(422, fault.ImmutableField),
		remove(StockAdmin, receipts+"/"+got).no(409, fault.WrongStatus),
		remove(StockAdmin, order).no(409, fault.HasDependents),
		patch(StockOrders, order, "lines", Pieces("product-valve", 1)).no(409, fault.WrongStatus),
		// The rest is one receipt, into the order's warehouse.
		post(StockOps, order+"/receive"),
	)
	status("Received")
	w.holds(t, "level-two-hose", shelf{15, 0})
	w.holds(t, "level-two-valve", shelf{30, 8})
	if ids := w.HTTP(StockOps, "GET", order+"/receipts", nil).IDs(t); len(ids) != 3 {
		t.Errorf("the receipts are %v", ids)
	}
	w.steps(t,
		post(StockOps, order+"/receive").no(409, fault.WrongStatus),
		create(StockOps, receipts, "purchaseOrder", "order-two-1", "warehouse", "warehouse-two", "lines", Pieces("product-hose", 1)).no(409, fault.WrongStatus),
	)

	// The last receipt completes an order by itself.
	last := purchases + "/" + w.made(t, StockOrders, purchases, "supplier", "supplier-one", "lines", Pieces("product-hose", 2, "product-hose", 2))
	w.steps(t,
		post(StockOrders, last+"/receive").no(409, fault.WrongStatus),
		post(StockOrders, last+"/approve"),
		post(StockOrders, last+"/receive").no(422, fault.MissingField), // where to?
		create(StockOps, receipts, "purchaseOrder", strings.TrimPrefix(last, purchases+"/"), "warehouse", "warehouse-two", "lines", Pieces("product-hose", 3)),
	)
	order = last
	status("Approved")
	if n := w.HTTP(StockOps, "GET", order, nil).Object(t)["number"]; n != "PO-000001" {
		t.Errorf("the number is %v", n)
	}
	w.steps(t, create(StockOps, receipts, "purchaseOrder", strings.TrimPrefix(last, purchases+"/"), "warehouse", "warehouse-two",
		"lines", Pieces("product-hose", 1)))
	status("Received")
	w.holds(t, "level-two-hose", shelf{19, 0})
}

func TestWarehouseWork(t *testing.T) {
	w := newWorld(t)
	w.steps(t,
		// Of thirty valves eight are reserved: they stay.
		create(StockOps, transfers, "source", "warehouse-two", "target", "warehouse-two", "lines", Pieces("product-valve", 1)).no(422, fault.BadValue),
		patch(StockOps, transfers+"/shift-two-1", "lines", Pieces("product-valve", 23)),
		post(StockOps, transfers+"/shift-two-1/complete").no(409, fault.InsufficientStock),
		patch(StockOps, transfers+"/shift-two-1", "lines", Pieces("product-valve", 12, "product-hose", 2, "product-valve", 10)),
		post(StockOps, transfers+"/shift-two-1/complete"),
		patch(StockOps, transfers+"/shift-two-1", "lines", Pieces("product-valve", 1)).no(409, fault.WrongStatus),
		patch(StockOps, transfers+"/shift-two-1", "target", "warehouse-main").no(409, fault.WrongStatus),
		post(StockOps, transfers+"/shift-two-1/cancel").no(409, fault.WrongStatus),
		remove(StockAdmin, transfers+"/shift-two-1").no(409, fault.HasDependents),
	)
	w.holds(t, "level-two-valve", shelf{8, 8})
	w.holds(t, "level-two-hose", shelf{10, 0})
	van := w.levelOf(t, "product-valve", "van-engineer")
	w.holds(t, van, shelf{22, 0})
	empty := w.made(t, StockOps, transfers, "source", "warehouse-two", "target", "warehouse-main")
	w.steps(t,
		post(StockOps, transfers+"/"+empty+"/complete").no(422, fault.MissingField),
		// A van may give what it has not been counted to have.
		patch(StockOps, transfers+"/"+empty, "source", "van-engineer", "lines", Pieces("product-valve", 25)),
		post(StockOps, transfers+"/"+empty+"/complete"),
	)
	w.holds(t, van, shelf{-3, 0})

	twice := json.RawMessage(`[{"id":"1","product":"product-hose","counted":1},{"id":"2","product":"product-hose","counted":2}]`)
	counted := json.RawMessage(`[{"id":"1","product":"product-hose","counted":9},{"id":"2","product":"product-valve","counted":8},` +
		`{"id":"3","product":"product-pump","counted":1}]`)
	w.steps(t,
		patch(StockOps, counts+"/count-two-1", "lines", twice).no(422, fault.BadValue),
		create(StockOps, counts, "warehouse", "warehouse-two", "lines", twice).no(422, fault.BadValue),
		patch(StockOps, counts+"/count-two-1", "lines", counted),
		post(StockOps, counts+"/count-two-1/post"),
		post(StockOps, counts+"/count-two-1/post").no(409, fault.WrongStatus),
		patch(StockOps, counts+"/count-two-1", "lines", json.RawMessage(`[]`)).no(409, fault.WrongStatus),
		remove(StockAdmin, counts+"/count-two-1").no(409, fault.HasDependents),
	)
	w.holds(t, "level-two-hose", shelf{9, 0})
	w.holds(t, "level-two-valve", shelf{8, 8})
	w.holds(t, w.levelOf(t, "product-pump", "warehouse-two"), shelf{1, 0})
	if ids := w.HTTP(StockOps, "GET", counts+"/count-two-1/stock-movements", nil).IDs(t); len(ids) != 2 { // what was right was not moved
		t.Errorf("the count caused %v", ids)
	}

	w.steps(t,
		create(StockOps, adjustments, "warehouse", "warehouse-two", "product", "product-hose", "change", 0, "reason", "other").no(422, fault.BadValue),
		create(StockOps, adjustments, "warehouse", "warehouse-two", "product", "product-hose", "change", -10, "reason", "lost").no(409, fault.InsufficientStock),
		create(StockOps, adjustments, "warehouse", "warehouse-two", "product", "product-hose", "change", -9, "reason", "lost"),
		create(StockOps, adjustments, "warehouse", "warehouse-two", "product", "product-hose", "change", 9007199254740992, "reason", "found"),
		create(StockOps, adjustments, "warehouse", "warehouse-two", "product", "product-hose", "change", 1, "reason", "found").no(422, fault.BadValue),
		create(StockOps, adjustments, "warehouse", "warehouse-main", "product", "product-hose", "change", -1, "reason", "lost").no(409, fault.InsufficientStock),
		patch(StockOps, adjustments+"/adjust-two-1", "change", -2).no(422, fault.ImmutableField),
		patch(StockOps, adjustments+"/adjust-two-1", "note", "Fell down"),
	)
	if id := w.levelOf(t, "product-hose", "warehouse-main"); id != "" {
		t.Errorf("what was refused left the level %s", id)
	}

	w.steps(t,
		create(StockAdmin, relations, "product", "product-seal", "related", "product-seal", "kind", "alternative").no(422, fault.BadValue),
		create(StockAdmin, relations, "product", "product-valve", "related", "product-hose", "kind", "accessory").no(409, fault.Duplicate),
		create(StockAdmin, relations, "product", "product-hose", "related", "product-valve", "kind", "accessory"),
		create(StockAdmin, relations, "product", "product-valve", "related", "product-hose", "kind", "spare-part"),
		patch(StockAdmin, relations+"/relation-one", "kind", "spare-part").no(409, fault.Duplicate),
		patch(StockOps, partOrders+"/parts-acme-1", "quantity", 2),
		post(StockOps, partOrders+"/parts-acme-1/arrive").no(409, fault.WrongStatus),
		post(StockOps, partOrders+"/parts-acme-1/order"),
		patch(StockOps, partOrders+"/parts-acme-1", "quantity", 3).no(409, fault.WrongStatus),
		patch(StockOps, partOrders+"/parts-acme-1", "supplier", "supplier-one"),
	)
}

// TestWarehouseThatIsNotEmpty: one that holds stock is not put away, and into
// one that was nothing goes.
func TestWarehouseThatIsNotEmpty(t *testing.T) {
	w := newWorld(t)
	w.steps(t,
		post(StockAdmin, warehouses+"/warehouse-two/archive").no(409, fault.HasDependents),
		remove(StockAdmin, warehouses+"/warehouse-two").no(409, fault.HasDependents),
		create(StockAdmin, adjustments, "warehouse", "van-engineer", "product", "product-seal", "change", -4, "reason", "lost"),
		post(StockAdmin, warehouses+"/van-engineer/archive"),
		create(StockAdmin, adjustments, "warehouse", "van-engineer", "product", "product-seal", "change", 1, "reason", "found").no(409, fault.Archived),
		create(StockAdmin, receipts, "warehouse", "van-engineer", "lines", Pieces("product-seal", 1)).no(409, fault.Archived),
		post(StockAdmin, warehouses+"/van-engineer/restore"),
		create(StockAdmin, receipts, "warehouse", "van-engineer", "lines", Pieces("product-seal", 1)),
		// A level that anything was moved in or out of stays; one made by mistake
		// need not.
		remove(StockAdmin, levels+"/level-van-seal").no(409, fault.HasDependents),
		remove(StockAdmin, levels+"/level-two-valve").no(409, fault.HasDependents), // reserved
		remove(StockAdmin, levels+"/level-main-seal"),
		create(StockAdmin, levels, "product", "product-seal", "warehouse", "warehouse-main", "quantity", -1).no(422, fault.BadValue),
		create(StockAdmin, levels, "product", "product-seal", "warehouse", "warehouse-main", "quantity", 7),
		create(StockAdmin, levels, "product", "product-seal", "warehouse", "warehouse-main", "quantity", 7).no(409, fault.Duplicate),
	)
}

// TestPartsUsedMoveStock: the level follows the note of what was used, from a
// van below nothing too.
func TestPartsUsedMoveStock(t *testing.T) {
	w := newWorld(t)
	const parts = "/v1/service/parts-used"
	part := w.made(t, Engineer, parts, "activity", "act-acme-1", "product", "product-seal", "quantity", 5, "warehouse", "van-engineer")
	w.holds(t, "level-van-seal", shelf{-1, 0})
	one := parts + "/" + part
	w.steps(t, patch(Engineer, one, "quantity", 3))
	w.holds(t, "level-van-seal", shelf{1, 0})
	w.steps(t, patch(Engineer, one, "note", "The old one was gone"), patch(Engineer, one, "quantity", 3))
	w.holds(t, "level-van-seal", shelf{1, 0})
	w.steps(t, patch(Manager, one, "warehouse", "warehouse-main"))
	w.holds(t, "level-van-seal", shelf{4, 0})
	w.holds(t, "level-main-seal", shelf{37, 0})
	w.steps(t,
		patch(Manager, one, "quantity", 41).no(409, fault.InsufficientStock),
		create(Manager, parts, "activity", "act-acme-1", "product", "product-pump", "quantity", 1, "warehouse", "warehouse-main").no(409, fault.InsufficientStock),
		patch(Manager, one, "product", "product-pump").no(409, fault.InsufficientStock),
	)
	w.holds(t, "level-main-seal", shelf{37, 0})
	w.steps(t, patch(Manager, one, "product", "product-pump", "warehouse", "van-engineer"))
	w.holds(t, "level-main-seal", shelf{40, 0})
	pumps := w.levelOf(t, "product-pump", "van-engineer")
	w.holds(t, pumps, shelf{-3, 0})
	w.steps(t, patch(Manager, one, "warehouse", nil))
	w.holds(t, pumps, shelf{0, 0})
	w.steps(t, patch(Manager, one, "warehouse", "van-engineer"))
	w.holds(t, pumps, shelf{-3, 0})
	w.steps(t, remove(Manager, one))
	w.holds(t, pumps, shelf{0, 0})
	// What happened is the activity's, and its client's.
	m := w.HTTP(StockAdmin, "GET", movements+"?limit=200&filter=cause%20eq%20act-acme-1", nil).IDs(t)
	if len(m) != 9 {
		t.Errorf("the activity caused %d movements", len(m))
	}
	if got := w.HTTP(StockAdmin, "GET", movements+"/"+m[0], nil).Object(t); got["clientId"] != "client-acme" || got["causeType"] != "partUsed" {
		t.Errorf("the movement is %v", got)
	}
	// What the world came with was used before the levels were counted.
	w.Import(Row("partUsed", "part-acme-9", "activity", "act-acme-1", "product", "product-seal", "quantity", 2, "warehouse", "van-engineer"))
	w.holds(t, "level-van-seal", shelf{4, 0})
}

// TestManyTakeTheSame: fifty at once want one of thirty pieces each.
func TestManyTakeTheSame(t *testing.T) {
	const many, there = 50, 30
	for _, c := range []struct {
		action, status string
		want           shelf
	}{
		{"approve", "Draft", shelf{there, there}},
		{"pick", "Approved", shelf{0, many - there}}, // promised to all of them before they came here
	} {
		t.Run(c.action, func(t *testing.T) {
			w := newWorld(t)
			seed := []command.Row{
				Row("warehouse", "warehouse-new", "name", "New", "kind", "warehouse"),
				Row("stockLevel", "level-new-1", "product", "product-seal", "warehouse", "warehouse-new", "quantity", there),
			}
			for i := range many {
				seed = append(seed, Row("salesOrder", ident.RecordID(fmt.Sprintf("sale-new-%d", i)), "client", everyClient[i%4],
					"warehouse", "warehouse-new", "status", c.status, "lines", Pieces("product-seal", 1)))
			}
			w.Import(seed...)
			w.Token(StockCtrl)
			codes := make([]string, many)
			var wg sync.WaitGroup
			for i := range many {
				wg.Go(func() {
					res := w.HTTP(StockCtrl, "POST", fmt.Sprintf("%s/sale-new-%d/%s", sales, i, c.action), Object())
					codes[i] = fmt.Sprintf("%d %s", res.Status, res.Code())
				})
			}
			wg.Wait()
			count := map[string]int{}
			for _, s := range codes {
				count[s]++
			}
			if !maps.Equal(count, map[string]int{"200 ": there, "409 insufficient_stock": many - there}) {
				t.Errorf("answered %v", count)
			}
			w.holds(t, "level-new-1", c.want)
		})
	}
}

// TestLevelsAddUp does anything that moves stock, in any order, and holds every
// level against its movements and against the orders that are approved.
func TestLevelsAddUp(t *testing.T) {
	for seed := range uint64(3) {
		w := newWorld(t)
		counted := w.shelves(t) // of before
		r := rand.New(rand.NewPCG(seed, 1))
		places := []string{"warehouse-main", "warehouse-two", "van-engineer"}
		goods := []string{"product-seal", "product-valve", "product-hose", "product-pump"}
		one := func(of []string) string { return of[r.IntN(len(of))] }
		some := func() json.RawMessage {
			kv := []any{}
			for range 1 + r.IntN(3) {
				kv = append(kv, one(goods), 1+r.IntN(9))
			}
			return Pieces(kv...)
		}
		known := map[string][]string{}
		add := func(path string, kv ...any) {
			if res := w.HTTP(StockAdmin, "POST", path, Object(kv...)); res.Status == 201 {
				known[path] = append(known[path], res.Object(t)["id"].(string))
			}
		}
		act := func(path string, actions ...string) {
			if len(known[path]) > 0 {
				w.HTTP(StockAdmin, "POST", path+"/"+one(known[path])+"/"+one(actions), Object())
			}
		}
		moved := 0
		for range 250 {
			switch r.IntN(10) {
			case 0:
				add(sales, "client", one(everyClient), "warehouse", one(places), "lines", some())
			case 1:
				add(purchases, "supplier", "supplier-one", "warehouse", one(places), "lines", some())
			case 2, 3:
				act(sales, "approve", "approve", "pick", "pick", "cancel", "ship")
			case 4:
				act(purchases, "approve", "receive")
			case 5:
				kv := []any{"warehouse", one(places), "lines", some()}
				if ids := known[purchases]; len(ids) > 0 && r.IntN(2) == 0 {
					kv = append(kv, "purchaseOrder", one(ids))
				}
				add(receipts, kv...)
			case 6:
				add(transfers, "source", one(places), "target", one(places), "lines", some())
				act(transfers, "complete", "complete", "cancel")
			case 7:
				add(counts, "warehouse", one(places), "lines", json.RawMessage(
					fmt.Sprintf(`[{"id":"1","product":%q,"counted":%d}]`, one(goods), r.IntN(40))))
				act(counts, "post")
			case 8:
				add(adjustments, "warehouse", one(places), "product", one(goods), "change", r.IntN(21)-10, "reason", "other")
			case 9:
				if ids := known[sales]; len(ids) > 0 && r.IntN(4) == 0 {
					w.HTTP(StockAdmin, "DELETE", sales+"/"+one(ids), nil)
				}
				const parts = "/v1/service/parts-used"
				kv := []any{"activity", "act-acme-2", "product", one(goods), "quantity", r.IntN(4), "warehouse", one(places)}
				switch ids := known[parts]; {
				case len(ids) == 0 || r.IntN(2) == 0:
					if res := w.HTTP(Manager, "POST", parts, Object(kv...)); res.Status == 201 {
						known[parts] = append(ids, res.Object(t)["id"].(string))
					}
				case r.IntN(2) == 0:
					w.HTTP(Manager, "DELETE", parts+"/"+one(ids), nil)
				default:
					w.HTTP(Manager, "PATCH", parts+"/"+one(ids), Object(kv[2:]...))
				}
			}
		}
		want := counted
		for _, m := range w.all(t, movements) {
			if strings.HasPrefix(m["id"].(string), "movement-") { // the world came with it
				continue
			}
			k := [2]string{m["product"].(string), m["warehouse"].(string)}
			s := want[k]
			s.quantity += m["change"].(float64)
			want[k] = s
			moved++
		}
		for k, s := range want {
			s.reserved = 0
			want[k] = s
		}
		for _, o := range w.all(t, sales) {
			lines, _ := o["lines"].([]any)
			for _, l := range lines {
				if o["status"] == "Approved" {
					line := l.(map[string]any)
					k := [2]string{line["product"].(string), o["warehouse"].(string)}
					s := want[k]
					s.reserved += line["quantity"].(float64)
					want[k] = s
				}
			}
		}
		got := w.shelves(t)
		if !maps.Equal(got, want) {
			t.Errorf("seed %d: the levels are %v, want %v", seed, got, want)
		}
		for k, s := range got {
			if s.quantity < 0 && k[1] != "van-engineer" {
				t.Errorf("seed %d: %v has %v", seed, k, s)
			}
		}
		if moved < 50 {
			t.Errorf("seed %d: only %d movements", seed, moved)
		}
	}
}

// shelves are all levels by product and warehouse.
func (w *world) shelves(t *testing.T) map[[2]string]shelf {
	t.Helper()
	out := map[[2]string]shelf{}
	for _, l := range w.all(t, levels) {
		reserved, _ := l["reserved"].(float64)
		k := [2]string{l["product"].(string), l["warehouse"].(string)}
		if _, twice := out[k]; twice {
			t.Errorf("%v has two levels", k)
		}
		out[k] = shelf{l["quantity"].(float64), reserved}
	}
	return out
}

// all reads a collection page by page.
func (w *world) all(t *testing.T, path string) []map[string]any {
	t.Helper()
	var out []map[string]any
	for cursor := ""; ; {
		var page struct {
			Items []map[string]any
			Next  string
		}
		res := w.HTTP(StockAdmin, "GET", path+"?limit=100"+cursor, nil).Want(t, 200, "")
		if err := json.Unmarshal(res.Body, &page); err != nil {
			t.Fatal(err)
		}
		out = slices.Concat(out, page.Items)
		if page.Next == "" {
			return out
		}
		cursor = "&cursor=" + page.Next
	}
}
