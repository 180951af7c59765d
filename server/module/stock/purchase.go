package stock

import (
	"slices"
	"time"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/server/module/lines"
)

// purchaseChecked keeps the sums of an order as its lines are, and what was
// ordered as it was approved. Where it is to be delivered may still be said
// then, unless it was.
func purchaseChecked(c entity.Context, before, after *entity.Record) error {
	fast := []string{"number", "lines"}
	if before != nil && !before.Get("warehouse").IsNull() {
		fast = append(fast, "warehouse")
	}
	if err := settled(before, after, fast...); err != nil {
		return err
	}
	if err := lines.Typed(c, before, after, purchaseOrders); err != nil {
		return err
	}
	return lines.Sum(after)
}

// cancelPurchase ends an order of which nothing more will come.
func cancelPurchase(c entity.Context, r *entity.Record, _ entity.Args) error {
	if came(c, r.ID) {
		r.Set("status", entity.StringValue(Received))
		r.Set("receivedAt", entity.TimeValue(c.At()))
	}
	return nil
}

// came reports whether there are receipts against an order.
func came(c entity.Context, order ident.RecordID) (is bool) {
	c.Referring(typeReceipt, "purchaseOrder", order, func(*entity.Record) bool {
		is = true
		return false
	})
	return is
}

// approvePurchase sees that there is something to order.
func approvePurchase(c entity.Context, r *entity.Record, _ entity.Args) error {
	if r.Get("lines").IsNull() {
		return fault.Newf(fault.MissingField, "An order without lines can't be approved.").OnField("lines")
	}
	lines.Number(c, r, purchaseOrders)
	return nil
}

// receiveAll takes in all that has not come yet, by a receipt into the order's
// warehouse.
func receiveAll(c entity.Context, r *entity.Record, _ entity.Args) error {
	open := outstanding(c, r)
	if len(open) == 0 {
		return nil
	}
	if err := needs(r, "warehouse"); err != nil {
		return err
	}
	if _, err := c.Create(typeReceipt, map[string]entity.Value{
		"purchaseOrder": entity.RefValue(r.ID), "warehouse": r.Get("warehouse"), "lines": lineUp(c, open),
	}); err != nil {
		return err
	}
	// The last receipt has completed the order by itself; that is the order to
	// go on with, not the one from before.
	if now, ok := c.Load(r.ID); ok && now.StatusText() == Received {
		*r = *now.Clone()
	}
	return nil
}

// lineUp makes lines of pieces.
func lineUp(c entity.Context, ps []piece) entity.Value {
	b := []byte{'['}
	for i, p := range ps {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"id":`...)
		b = append(b, entity.RefValue(c.FreshID())...)
		b = append(b, `,"product":`...)
		b = append(b, entity.RefValue(p.product)...)
		b = append(b, `,"quantity":`...)
		b = append(b, entity.IntValue(p.quantity)...)
		b = append(b, '}')
	}
	return append(b, ']')
}

// outstanding returns what of an order no receipt has brought yet, in the
// order's order.
func outstanding(c entity.Context, order *entity.Record) []piece {
	open := listed(order)
	c.Referring(typeReceipt, "purchaseOrder", order.ID, func(got *entity.Record) bool {
		for _, p := range listed(got) {
			if i := slices.IndexFunc(open, func(o piece) bool { return o.product == p.product }); i >= 0 {
				open[i].quantity -= p.quantity
			}
		}
		return true
	})
	return slices.DeleteFunc(open, func(p piece) bool { return p.quantity <= 0 })
}

// purchaseChanged keeps an order of which something came in.
func purchaseChanged(c entity.Context, before, after *entity.Record) error {
	if after != nil {
		return nil
	}
	if came(c, before.ID) {
		return fault.Newf(fault.HasDependents, "There are receipts against this order.")
	}
	return nil
}

// receiptCreated dates a receipt that says no day.
func receiptCreated(c entity.Context, r *entity.Record) error {
	if r.Get("received").IsNull() && !history(c) {
		r.Set("received", entity.StringValue(c.At().Time().Format(time.DateOnly)))
	}
	return nil
}

// receiptChecked takes in against an order only what is on it, once it is
// approved and until everything has come. More than was ordered may come.
func receiptChecked(c entity.Context, before, after *entity.Record) error {
	id := after.Get("purchaseOrder").Ref()
	if before != nil || id == "" || history(c) {
		return nil
	}
	order, ok := c.Load(id)
	if !ok {
		return fault.New(fault.BadReference).OnField("purchaseOrder")
	}
	if order.StatusText() != Approved {
		return fault.Newf(fault.WrongStatus, "Only against an approved order can goods be received.").OnField("purchaseOrder")
	}
	ordered := listed(order)
	for _, p := range listed(after) {
		if !slices.ContainsFunc(ordered, func(o piece) bool { return o.product == p.product }) {
			return fault.Newf(fault.BadValue, "A product was not ordered. Receive it without an order.").OnField("lines.product")
		}
	}
	return nil
}

// receiptChanged puts what came in into the warehouse, and completes the order
// of which nothing is outstanding any more.
func receiptChanged(c entity.Context, before, after *entity.Record) error {
	if before != nil || history(c) {
		return nil
	}
	for _, p := range listed(after) {
		if err := move(c, p.product, after.Get("warehouse").Ref(), p.quantity, after, after.Type.Name); err != nil {
			return err
		}
	}
	order, ok := c.Load(after.Get("purchaseOrder").Ref())
	if !ok || len(outstanding(c, order)) > 0 {
		return nil
	}
	order = order.Clone()
	order.Set("status", entity.StringValue(Received))
	order.Set("receivedAt", entity.TimeValue(c.At()))
	return c.Save(order)
}
