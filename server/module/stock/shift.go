package stock

import (
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
)

// transferChecked wants two warehouses, and a transfer that was completed to
// stay as it was.
func transferChecked(_ entity.Context, before, after *entity.Record) error {
	if after.Get("source").Ref() == after.Get("target").Ref() {
		return fault.Newf(fault.BadValue, "A transfer needs two different warehouses.").OnField("target")
	}
	return settled(before, after, "source", "target", "lines")
}

// transfer moves the pieces over. What orders have reserved at the source
// stays there.
func transfer(c entity.Context, r *entity.Record, _ entity.Args) error {
	if err := needs(r, "lines"); err != nil {
		return err
	}
	source, target := r.Get("source").Ref(), r.Get("target").Ref()
	for _, p := range listed(r) {
		if err := available(c, p, source); err != nil {
			return err
		}
		if err := move(c, p.product, source, -p.quantity, r, r.Type.Name); err != nil {
			return err
		}
		if err := move(c, p.product, target, p.quantity, r, r.Type.Name); err != nil {
			return err
		}
	}
	return nil
}

// countChecked wants each product counted once, and a count that was posted to
// stay as it was.
func countChecked(_ entity.Context, before, after *entity.Record) error {
	seen := map[ident.RecordID]bool{}
	for _, x := range rows(after) {
		if seen[x.Product] {
			return fault.Newf(fault.BadValue, "A product is counted twice.").OnField("lines.product")
		}
		seen[x.Product] = true
	}
	return settled(before, after, "lines")
}

// postCount sets the levels to what was counted, by what is missing or too
// many. Products that were not counted stay as they are.
func postCount(c entity.Context, r *entity.Record, _ entity.Args) error {
	if err := needs(r, "lines"); err != nil {
		return err
	}
	warehouse := r.Get("warehouse").Ref()
	for _, x := range rows(r) {
		var had int64
		if l := level(c, x.Product, warehouse); l != nil {
			had = l.Get("quantity").Int()
		}
		if err := move(c, x.Product, warehouse, x.Counted-had, r, r.Type.Name); err != nil {
			return err
		}
	}
	return nil
}

// postedStays keeps a transfer or count that was done, whether or not it moved
// anything.
func postedStays(_ entity.Context, before, after *entity.Record) error {
	if after == nil && before.StatusText() == Done {
		return fault.New(fault.WrongStatus)
	}
	return nil
}

// adjustmentChecked wants an adjustment to adjust something.
func adjustmentChecked(_ entity.Context, _, after *entity.Record) error {
	if after.Get("change").Int() == 0 {
		return fault.Newf(fault.BadValue, "An adjustment changes the level.").OnField("change")
	}
	return nil
}

// adjustmentChanged moves what is adjusted.
func adjustmentChanged(c entity.Context, before, after *entity.Record) error {
	if before != nil || history(c) {
		return nil
	}
	return move(c, after.Get("product").Ref(), after.Get("warehouse").Ref(), after.Get("change").Int(), after, after.Type.Name)
}

// relationshipChecked wants two products, and one relationship of a kind
// between them.
func relationshipChecked(c entity.Context, _, after *entity.Record) error {
	product, related := after.Get("product").Ref(), after.Get("related").Ref()
	if product == related {
		return fault.Newf(fault.BadValue, "A product is not related to itself.").OnField("related")
	}
	var twice bool
	c.Referring(after.Type.Name, "product", product, func(o *entity.Record) bool {
		twice = o.ID != after.ID && o.Get("related").Ref() == related && o.Get("kind").Text() == after.Get("kind").Text()
		return !twice
	})
	if twice {
		return fault.Newf(fault.Duplicate, "The two products already have this relationship.").OnField("related")
	}
	return nil
}

// partChecked keeps a part order to its own client's jobs and tickets, and
// what was ordered as it was asked for.
func partChecked(c entity.Context, before, after *entity.Record) error {
	for _, f := range []string{"job", "ticket"} {
		id := after.Get(f).Ref()
		if id == "" {
			continue
		}
		if of, ok := c.Load(id); !ok || of.Get("client").Ref() != after.Get("client").Ref() {
			return fault.New(fault.BadReference).OnField(f)
		}
	}
	return settled(before, after, "product", "quantity")
}
