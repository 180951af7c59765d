package stock

import (
	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/server/module/lines"
)

// salesChecked keeps the sums of an order as its lines are, and what was
// ordered as it was approved.
func salesChecked(c entity.Context, before, after *entity.Record) error {
	if err := settled(before, after, "number", "warehouse", "lines"); err != nil {
		return err
	}
	if err := lines.Typed(c, before, after, salesOrders); err != nil {
		return err
	}
	return lines.Sum(after)
}

// approveSale sees that everything that is ordered can be reserved.
func approveSale(c entity.Context, r *entity.Record, _ entity.Args) error {
	if err := needs(r, "lines", "warehouse"); err != nil {
		return err
	}
	for _, p := range listed(r) {
		if err := available(c, p, r.Get("warehouse").Ref()); err != nil {
			return err
		}
	}
	lines.Number(c, r, salesOrders)
	return nil
}

// pick takes what an order has reserved out of its warehouse.
func pick(c entity.Context, r *entity.Record, _ entity.Args) error {
	if err := needs(r, "lines", "warehouse"); err != nil {
		return err
	}
	for _, p := range listed(r) {
		if err := move(c, p.product, r.Get("warehouse").Ref(), -p.quantity, r, r.Type.Name); err != nil {
			return err
		}
	}
	return nil
}

// cancelSale puts back what was picked and not shipped.
func cancelSale(c entity.Context, r *entity.Record, _ entity.Args) error {
	if was, ok := c.Load(r.ID); !ok || was.StatusText() != Picked {
		return nil
	}
	for _, p := range listed(r) {
		if err := move(c, p.product, r.Get("warehouse").Ref(), p.quantity, r, r.Type.Name); err != nil {
			return err
		}
	}
	return nil
}

// salesChanged reserves what an order holds from the moment it is approved
// until it is picked, cancelled or deleted, whichever way it got there.
func salesChanged(c entity.Context, before, after *entity.Record) error {
	was, is := holding(before), holding(after)
	if was == is {
		return nil
	}
	if was != "" {
		for _, p := range listed(before) {
			if err := reserve(c, piece{p.product, -p.quantity}, was); err != nil {
				return err
			}
		}
	}
	if is != "" {
		for _, p := range listed(after) {
			if err := reserve(c, p, is); err != nil {
				return err
			}
		}
	}
	return nil
}

// holding returns the warehouse in which an order has its pieces reserved, ""
// for none.
func holding(r *entity.Record) ident.RecordID {
	if r == nil || r.StatusText() != Approved {
		return ""
	}
	return r.Get("warehouse").Ref()
}
