package testworld

import (
	"encoding/json"
	"fmt"
	"strings"

	"satchel/internal/command"
	"satchel/internal/ident"
)

// seedStock is what the world has of Stock beside the rows that Service needs:
// a second warehouse with valves and hoses in it, and for each client c
//
//	sale-c-1 (Draft, two valves)    sale-c-2 (Approved, two valves)
//	sale-c-3 (Shipped, one hose)    movement-c-1 (of sale-c-3)
//	parts-c-1 (Requested, for job-c-1)    parts-c-2 (Ordered, for ticket-c-1)
//
// The approved orders have eight of the thirty valves reserved. Of
// order-two-1, an approved order of ten valves and five hoses, receipt-two-1
// has brought two hoses. adjust-two-1 was made; shift-two-1 and count-two-1
// are drafts. What happened was before the levels were counted.
func seedStock() []command.Row {
	rows := []command.Row{
		Row("product", "product-valve", "name", "Valve", "number", "P-3", "cost", json.RawMessage(`{"amount":450,"currency":"EUR"}`)),
		Row("product", "product-hose", "name", "Hose", "number", "P-4"),
		Row("productRelationship", "relation-one", "product", "product-valve", "related", "product-hose", "kind", "accessory"),
		Row("warehouse", "warehouse-two", "name", "Second", "kind", "warehouse"),
		Row("stockLevel", "level-two-valve", "product", "product-valve", "warehouse", "warehouse-two", "quantity", 30),
		Row("stockLevel", "level-two-hose", "product", "product-hose", "warehouse", "warehouse-two", "quantity", 12),
		Row("purchaseOrder", "order-two-1", "supplier", "supplier-one", "warehouse", "warehouse-two", "number", "PO-2", "status", "Approved",
			"lines", Pieces("product-valve", 10, "product-hose", 5)),
		Row("receipt", "receipt-two-1", "purchaseOrder", "order-two-1", "warehouse", "warehouse-two", "received", "2026-02-27",
			"lines", Pieces("product-hose", 2)),
		Row("transfer", "shift-two-1", "source", "warehouse-two", "target", "van-engineer", "lines", Pieces("product-hose", 3)),
		Row("count", "count-two-1", "warehouse", "warehouse-two", "lines",
			json.RawMessage(`[{"id":"1","product":"product-hose","counted":11}]`)),
		Row("adjustment", "adjust-two-1", "warehouse", "warehouse-two", "product", "product-hose", "change", -1, "reason", "damaged"),
	}
	for _, c := range []string{"acme", "blue", "corp", "dune"} {
		id := func(s string) ident.RecordID { return ident.RecordID(strings.ReplaceAll(s, "*", c)) }
		rows = append(rows,
			Row("salesOrder", id("sale-*-1"), "client", id("client-*"), "warehouse", "warehouse-two", "lines", Pieces("product-valve", 2)),
			Row("salesOrder", id("sale-*-2"), "client", id("client-*"), "warehouse", "warehouse-two", "number", "S-"+c+"-2",
				"status", "Approved", "lines", Pieces("product-valve", 2)),
			Row("salesOrder", id("sale-*-3"), "client", id("client-*"), "warehouse", "warehouse-two", "number", "S-"+c+"-3",
				"status", "Shipped", "lines", Pieces("product-hose", 1)),
			Row("stockMovement", id("movement-*-1"), "product", "product-hose", "warehouse", "warehouse-two", "change", -1,
				"cause", id("sale-*-3"), "causeType", "salesOrder", "at", "2026-02-26T10:00:00Z"),
			Row("partOrder", id("parts-*-1"), "client", id("client-*"), "job", id("job-*-1"), "product", "product-pump", "quantity", 1),
			Row("partOrder", id("parts-*-2"), "client", id("client-*"), "ticket", id("ticket-*-1"), "product", "product-pump", "quantity", 2,
				"status", "Ordered"),
		)
	}
	return rows
}

// Pieces makes the lines of an order, receipt or transfer of products and how
// many of each, which follow each other.
func Pieces(kv ...any) json.RawMessage {
	var b strings.Builder
	for i := 0; i+1 < len(kv); i += 2 {
		fmt.Fprintf(&b, `,{"id":"%d","product":"%s","quantity":%d}`, i/2+1, kv[i], kv[i+1])
	}
	return json.RawMessage("[" + strings.TrimPrefix(b.String(), ",") + "]")
}
