package stock

import (
	"encoding/json"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
)

// Names of types that the hooks look for; a hook stands in the declaration of
// a type and can't read it from there.
const (
	typeLevel    = "stockLevel"
	typeMovement = "stockMovement"
	typeReceipt  = "receipt"
)

// mostPieces bounds a level in either direction: what an integer field holds.
const mostPieces = 1 << 53

// levelCreated refuses a second row for a product in a warehouse, and a count
// of less than nothing where that can't be.
func levelCreated(c entity.Context, r *entity.Record) error {
	product, warehouse := r.Get("product").Ref(), r.Get("warehouse").Ref()
	if o := level(c, product, warehouse); o != nil && o.ID != r.ID {
		return fault.Newf(fault.Duplicate, "The warehouse already has a row for this product.").OnField("product")
	}
	if r.Get("quantity").Int() >= 0 {
		return nil
	}
	if w, ok := c.Load(warehouse); !ok || !boundless(w) {
		return fault.Newf(fault.BadValue, "There can't be less than nothing in this warehouse.").OnField("quantity")
	}
	return nil
}

// levelChanged keeps a level that anything was ever moved in or out of, or
// that approved orders rely on: without it its movements would add up to
// nothing.
func levelChanged(c entity.Context, before, after *entity.Record) error {
	if after != nil {
		return nil
	}
	moved := before.Get("reserved").Int() != 0
	if !moved {
		c.Referring(typeMovement, "product", before.Get("product").Ref(), func(m *entity.Record) bool {
			moved = m.Get("warehouse").Ref() == before.Get("warehouse").Ref()
			return !moved
		})
	}
	if moved {
		return fault.Newf(fault.HasDependents, "Stock was moved or is reserved here; the level stays.")
	}
	return nil
}

// warehouseChecked lets only a van have a custodian, and only an empty
// warehouse be archived: nothing can be moved out of an archived one.
func warehouseChecked(c entity.Context, before, after *entity.Record) error {
	if after.Get("kind").Text() != KindVan && !after.Get("custodian").IsNull() {
		return fault.Newf(fault.BadValue, "Only a van has a custodian.").OnField("custodian")
	}
	if before == nil || before.Archived() || !after.Archived() {
		return nil
	}
	var full bool
	c.Referring(typeLevel, "warehouse", after.ID, func(l *entity.Record) bool {
		full = l.Get("quantity").Int() != 0 || l.Get("reserved").Int() != 0
		return !full
	})
	if full {
		return fault.Newf(fault.HasDependents, "The warehouse is not empty. Move away what lies in it first.")
	}
	return nil
}

// boundless reports whether more may be taken out of a warehouse than the
// count says is there. Of a van it may: what was fitted was fitted.
func boundless(warehouse *entity.Record) bool {
	return warehouse.Get("kind").Text() == KindVan || warehouse.Get("allowNegative").Bool()
}

// level returns a copy of the row of a product in a warehouse, nil for none.
func level(c entity.Context, product, warehouse ident.RecordID) *entity.Record {
	if l, ok := c.Pair(typeLevel, "product", product, "warehouse", warehouse); ok {
		return l.Clone()
	}
	return nil
}

// place returns the warehouse, and the level of the product there, a copy or
// nil. It refuses what does not exist and a warehouse that is archived.
func place(c entity.Context, product, warehouse ident.RecordID) (w, l *entity.Record, err error) {
	w, ok := c.Load(warehouse)
	if !ok {
		return nil, nil, fault.New(fault.BadReference).OnField("warehouse")
	}
	if w.Archived() {
		return nil, nil, fault.Newf(fault.Archived, "The warehouse is archived.").OnField("warehouse")
	}
	if _, ok := c.Load(product); !ok {
		return nil, nil, fault.New(fault.BadReference).OnField("product")
	}
	return w, level(c, product, warehouse), nil
}

// move changes a level, which is made where there is none, and writes down
// the change with its cause; nothing else changes the quantity of a level that
// exists. A change that would leave less than nothing is refused with
// insufficient_stock, unless the warehouse lets it. kind is one of the values
// of the movement's causeType. The cause must be in the state already: the
// movement belongs to its client.
func move(c entity.Context, product, warehouse ident.RecordID, change int64, cause *entity.Record, kind string) error {
	if change == 0 {
		return nil
	}
	w, l, err := place(c, product, warehouse)
	if err != nil {
		return err
	}
	left := change
	if l != nil {
		left += l.Get("quantity").Int()
	}
	switch {
	case change < 0 && left < 0 && !boundless(w):
		return fault.New(fault.InsufficientStock)
	case left > mostPieces || left < -mostPieces:
		return fault.Newf(fault.BadValue, "No level holds that many pieces.").OnField("quantity")
	}
	if l == nil {
		_, err = c.Create(typeLevel, map[string]entity.Value{
			"product": entity.RefValue(product), "warehouse": entity.RefValue(warehouse), "quantity": entity.IntValue(left),
		})
	} else {
		l.Set("quantity", entity.IntValue(left))
		err = c.Save(l)
	}
	if err != nil {
		return err
	}
	_, err = c.Create(typeMovement, map[string]entity.Value{
		"product": entity.RefValue(product), "warehouse": entity.RefValue(warehouse), "change": entity.IntValue(change),
		"cause": entity.RefValue(cause.ID), "causeType": entity.StringValue(kind), "at": entity.TimeValue(c.At()),
	})
	return err
}

// available refuses with insufficient_stock to take pieces that are not there
// or that approved orders have spoken for, unless the warehouse lets it.
func available(c entity.Context, p piece, warehouse ident.RecordID) error {
	w, l, err := place(c, p.product, warehouse)
	if err != nil || boundless(w) {
		return err
	}
	var free int64
	if l != nil {
		free = l.Get("quantity").Int() - l.Get("reserved").Int()
	}
	if free < p.quantity {
		return fault.New(fault.InsufficientStock)
	}
	return nil
}

// reserve speaks for pieces in a warehouse, or frees them where quantity is
// negative.
func reserve(c entity.Context, p piece, warehouse ident.RecordID) error {
	l := level(c, p.product, warehouse)
	if l == nil {
		if p.quantity <= 0 {
			return nil
		}
		var err error
		if l, err = c.Create(typeLevel, map[string]entity.Value{
			"product": entity.RefValue(p.product), "warehouse": entity.RefValue(warehouse), "quantity": entity.IntValue(0),
		}); err != nil {
			return err
		}
		l = l.Clone()
	}
	n := max(l.Get("reserved").Int()+p.quantity, 0)
	if n > mostPieces {
		return fault.Newf(fault.BadValue, "No level holds that many pieces.").OnField("lines")
	}
	l.Set("reserved", entity.IntValue(n))
	return c.Save(l)
}

// piece is a number of pieces of one product.
type piece struct {
	product  ident.RecordID
	quantity int64
}

// row is one line of a document as it is stored.
type row struct {
	Product  ident.RecordID `json:"product"`
	Quantity int64          `json:"quantity"`
	Counted  int64          `json:"counted"`
}

// rows decodes a document's lines; stored lines are normalised.
func rows(r *entity.Record) []row {
	var out []row
	if v := r.Get("lines"); !v.IsNull() && json.Unmarshal(v, &out) != nil {
		return nil
	}
	return out
}

// listed adds up a document's lines by product, in the order in which the
// products first appear. A thousand lines of what one line holds at most are
// still less than an int64 does.
func listed(r *entity.Record) []piece {
	var out []piece
	at := map[ident.RecordID]int{}
	for _, x := range rows(r) {
		i, seen := at[x.Product]
		if !seen {
			i = len(out)
			at[x.Product] = i
			out = append(out, piece{product: x.Product})
		}
		out[i].quantity += x.Quantity
	}
	return out
}

// history reports whether what is being written was brought in by the system,
// as an import does: it happened before the levels were counted that came with
// it, and moves nothing.
func history(c entity.Context) bool { return c.Actor() == "" }

// needs refuses a document that lacks one of the fields.
func needs(r *entity.Record, fields ...string) error {
	for _, f := range fields {
		if r.Get(f).IsNull() {
			return fault.Newf(fault.MissingField, "%s is required for this.", f).OnField(f)
		}
	}
	return nil
}

// settled refuses changes of the fields of a document that is past Draft.
func settled(before, after *entity.Record, fields ...string) error {
	if before == nil || before.StatusText() == before.Type.Status.Initial {
		return nil
	}
	for _, f := range fields {
		if string(before.Get(f)) != string(after.Get(f)) {
			return fault.Newf(fault.WrongStatus, "%s can't be changed any more.", f).OnField(f)
		}
	}
	return nil
}

// Use is material that an activity took from a warehouse; the zero Use is
// none.
type Use struct {
	Product   ident.RecordID
	Warehouse ident.RecordID // "": it came from nowhere that is counted
	Quantity  int64          // pieces, not negative
}

// Consume keeps the levels in step with material that an activity uses, when
// it is noted, corrected (before and after differ) or taken back: the level
// changes by the difference. The movement's cause is the activity, since the
// note of the material itself may be deleted. It refuses what is not there
// with insufficient_stock; from a van more may be used than was counted. What
// the system brings in moves nothing.
func Consume(c entity.Context, activity ident.RecordID, before, after Use) error {
	if history(c) || before == after {
		return nil
	}
	cause, ok := c.Load(activity)
	if !ok {
		return fault.New(fault.BadReference).OnField("activity")
	}
	if before.Product == after.Product && before.Warehouse == after.Warehouse {
		after.Quantity -= before.Quantity
		before = Use{}
	}
	// Into a warehouse that is no more, nothing is put back.
	if _, there := c.Load(before.Warehouse); there {
		if err := move(c, before.Product, before.Warehouse, before.Quantity, cause, "partUsed"); err != nil {
			return err
		}
	}
	if after.Warehouse == "" {
		return nil
	}
	return move(c, after.Product, after.Warehouse, -after.Quantity, cause, "partUsed")
}
