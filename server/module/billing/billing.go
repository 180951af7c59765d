// Package billing declares the invoice, which Billing, Service and Debtors
// share. It is imported by server/module and by server/roles.
package billing

import (
	"encoding/json"
	"fmt"
	"math/big"

	"satchel/internal/entity"
	"satchel/internal/fault"
)

// Statuses of an invoice.
const (
	Draft    = "Draft"
	Approved = "Approved"
	Sent     = "Sent"
	Paid     = "Paid"
	Void     = "Void"
)

var states = []string{Draft, Approved, Sent, Paid, Void}

// Issued lists the statuses in which an invoice's content stands fast.
func Issued() []string { return Invoice.Status.Past(Draft) }

// Invoice is drafted by Service or Billing, approved and sent by Billing,
// settled or voided by Debtors. It is never deleted.
var Invoice = &entity.Type{
	No: 500, Name: "invoice", Apps: []entity.App{entity.Billing, entity.Service, entity.Debtors},
	Rank: 51, Root: "client", NoDelete: true,
	Fields: []*entity.Field{
		entity.To(1, "client", "client").Need().Fixed(),
		entity.Str(2, "number").UpTo(60).Searched(),
		entity.To(3, "job", "job"),
		entity.On(4, "issued"),
		entity.On(5, "due"),
		entity.List(6, "lines",
			entity.Str(1, "text").Need(),
			entity.To(2, "product", "product"),
			entity.Decimal(3, "quantity").Need(),
			entity.Amount(4, "unitPrice").Need(),
			entity.Decimal(5, "taxPercent"),
		),
		entity.Long(7, "remarks"),
		entity.OneOf(8, "status", states...).Else(Approved).System(),
		// The sums are fixed when the invoice is approved.
		entity.Amount(9, "net").System(),
		entity.Amount(10, "tax").System(),
		entity.Amount(11, "total").System(),
		entity.At(12, "approvedAt").System(),
		entity.At(13, "sentAt").System(),
		entity.At(14, "paidAt").System(),
		entity.At(15, "voidedAt").System(),
		entity.Str(16, "voidReason").System(),
		entity.To(17, "contract", "contract").Fixed(),
		entity.To(18, "billingRun", "billingRun").Fixed().In(entity.FacetBilling),
		entity.To(19, "owner", "employee"),
		entity.Long(20, "approvalNotes").In(entity.FacetBilling),
		// What allocations and credit notes have covered, and what is left.
		entity.Amount(21, "settled").System(),
		entity.Amount(22, "open").System(),
		entity.Long(30, "collectionNotes").In(entity.FacetDebtors),
	},
	Status: &entity.Lifecycle{Field: "status", Initial: Draft, States: states},
	Actions: []*entity.Action{
		{Name: "approve", App: entity.Billing, From: []string{Draft}, To: Approved, Stamps: []string{"approvedAt"}, Do: approve},
		{Name: "send", App: entity.Billing, From: []string{Approved}, To: Sent, Stamps: []string{"sentAt"}},
		{
			Name: "void", App: entity.Debtors, From: []string{Draft, Approved, Sent}, To: Void, Stamps: []string{"voidedAt"},
			Args: []*entity.Field{entity.Str(16, "voidReason")},
		},
	},
	Check: check,
}

// check keeps what was approved as it was.
func check(_ entity.Context, before, after *entity.Record) error {
	if before == nil || before.StatusText() == Draft {
		return nil
	}
	for _, f := range []string{"number", "job", "issued", "due", "lines"} {
		if string(before.Get(f)) != string(after.Get(f)) {
			return fault.Newf(fault.WrongStatus, "An invoice that was approved can't be changed.").OnField(f)
		}
	}
	return nil
}

func approve(_ entity.Context, r *entity.Record, _ entity.Args) error {
	net, tax, currency, err := sums(r.Get("lines"))
	if err != nil {
		return err
	}
	for _, sum := range []struct {
		field  string
		amount int64
	}{{"net", net}, {"tax", tax}, {"total", net + tax}} {
		r.Set(sum.field, entity.Value(fmt.Sprintf(`{"amount":%d,"currency":%q}`, sum.amount, currency)))
	}
	return nil
}

// maxSum bounds sums to what money holds.
const maxSum = 1 << 53

// sums adds up lines in minor units: each line is rounded half away from
// zero, its tax likewise.
func sums(lines entity.Value) (net, tax int64, currency string, err error) {
	var rows []struct {
		Quantity   json.Number `json:"quantity"`
		TaxPercent json.Number `json:"taxPercent"`
		UnitPrice  struct {
			Amount   int64  `json:"amount"`
			Currency string `json:"currency"`
		} `json:"unitPrice"`
	}
	if lines.IsNull() {
		return 0, 0, "", fault.Newf(fault.MissingField, "An invoice without lines can't be approved.").OnField("lines")
	}
	if err := json.Unmarshal(lines, &rows); err != nil || len(rows) == 0 {
		return 0, 0, "", fault.New(fault.BadValue).OnField("lines").Because(err)
	}
	for _, row := range rows {
		switch currency {
		case "", row.UnitPrice.Currency:
			currency = row.UnitPrice.Currency
		default:
			return 0, 0, "", fault.Newf(fault.BadValue, "All lines must be in one currency.").OnField("lines")
		}
		sum, ok := times(row.UnitPrice.Amount, row.Quantity, 1)
		part, ok2 := int64(0), true
		if ok && row.TaxPercent != "" {
			part, ok2 = times(sum, row.TaxPercent, 100)
		}
		net, tax = net+sum, tax+part
		if total := net + tax; !ok || !ok2 || max(net, -net, tax, -tax, total, -total) > maxSum {
			return 0, 0, "", fault.Newf(fault.BadValue, "The sum of the lines is too large.").OnField("lines")
		}
	}
	return net, tax, currency, nil
}

// times returns amount × factor ÷ by, rounded half away from zero; false
// where that is more than money holds.
func times(amount int64, factor json.Number, by int64) (int64, bool) {
	x, ok := new(big.Rat).SetString(factor.String())
	if !ok {
		return 0, false
	}
	x.Mul(x, big.NewRat(amount, by))
	twice := new(big.Int).Mul(x.Num(), big.NewInt(2))
	sign := int64(x.Sign())
	twice.Add(twice, new(big.Int).Mul(x.Denom(), big.NewInt(sign)))
	twice.Quo(twice, new(big.Int).Mul(x.Denom(), big.NewInt(2)))
	if !twice.IsInt64() || twice.Int64() > maxSum || twice.Int64() < -maxSum {
		return 0, false
	}
	return twice.Int64(), true
}

// Types lists the package's types.
func Types() []*entity.Type { return []*entity.Type{Invoice, Contract, CreditNote, Run} }
