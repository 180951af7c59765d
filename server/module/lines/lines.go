// Package lines adds up documents: invoices, contracts, credit notes and
// orders have lines with a quantity, a unit price and a tax rate, and fields
// net, tax and total for their sums. Only the module packages import it.
//
// All sums are integers in minor units of one currency. They are exact up to
// 2^53, what a money field holds; more is refused, never rounded away.
package lines

import (
	"encoding/json"
	"fmt"
	"math/big"

	"satchel/internal/entity"
	"satchel/internal/fault"
)

// Largest is the most that a sum may be in either direction, in minor units:
// what a money field holds.
const Largest = 1 << 53

// Totals adds up the lines of a document: net and tax in minor units of the
// currency. value is what a Lines field holds; of each line it reads quantity,
// unitPrice and taxPercent, which may be whole numbers or decimals. The net
// sum of each line is rounded half away from zero, its tax likewise. A line
// without unitPrice counts nothing, and where no line has one there is no
// currency. A line without taxPercent bears no tax.
//
// It refuses lines in several currencies, a negative taxPercent, a line
// without quantity and sums beyond Largest with bad_value on lines.
func Totals(value entity.Value) (net, tax int64, currency string, err error) {
	if value.IsNull() {
		return 0, 0, "", nil
	}
	var rows []struct {
		Quantity   json.Number `json:"quantity"`
		TaxPercent json.Number `json:"taxPercent"`
		UnitPrice  *struct {
			Amount   int64  `json:"amount"`
			Currency string `json:"currency"`
		} `json:"unitPrice"`
	}
	if err := json.Unmarshal(value, &rows); err != nil {
		return 0, 0, "", fault.New(fault.BadValue).OnField("lines").Because(err)
	}
	for _, row := range rows {
		if row.UnitPrice == nil {
			continue
		}
		switch currency {
		case "", row.UnitPrice.Currency:
			currency = row.UnitPrice.Currency
		default:
			return 0, 0, "", fault.Newf(fault.BadValue, "All lines must be in one currency.").OnField("lines")
		}
		quantity, ok := new(big.Rat).SetString(row.Quantity.String())
		if !ok {
			return 0, 0, "", fault.Newf(fault.BadValue, "Each line needs a quantity.").OnField("lines")
		}
		sum, ok := times(row.UnitPrice.Amount, quantity, 1)
		part, ok2 := int64(0), true
		if row.TaxPercent != "" {
			percent, isNumber := new(big.Rat).SetString(row.TaxPercent.String())
			if !isNumber || percent.Sign() < 0 {
				return 0, 0, "", fault.Newf(fault.BadValue, "A tax rate can't be negative.").OnField("lines")
			}
			part, ok2 = times(sum, percent, 100)
		}
		net, tax = net+sum, tax+part
		if total := net + tax; !ok || !ok2 || max(net, -net, tax, -tax, total, -total) > Largest {
			return 0, 0, "", fault.Newf(fault.BadValue, "The sum of the lines is too large.").OnField("lines")
		}
	}
	return net, tax, currency, nil
}

// times returns amount × factor ÷ by, rounded half away from zero; false
// where that is more than money holds.
func times(amount int64, factor *big.Rat, by int64) (int64, bool) {
	x := new(big.Rat).Mul(factor, big.NewRat(amount, by))
	twice := new(big.Int).Mul(x.Num(), big.NewInt(2))
	twice.Add(twice, new(big.Int).Mul(x.Denom(), big.NewInt(int64(x.Sign()))))
	twice.Quo(twice, new(big.Int).Mul(x.Denom(), big.NewInt(2)))
	if !twice.IsInt64() || twice.Int64() > Largest || twice.Int64() < -Largest {
		return 0, false
	}
	return twice.Int64(), true
}

// Put writes the fields net, tax and total of a document; they are null where
// there is no currency.
func Put(r *entity.Record, net, tax int64, currency string) {
	r.Set("net", Money(net, currency))
	r.Set("tax", Money(tax, currency))
	r.Set("total", Money(net+tax, currency))
}

// Sum adds up a document's field lines and writes net, tax and total; it
// refuses what Totals refuses.
func Sum(r *entity.Record) error {
	net, tax, currency, err := Totals(r.Get("lines"))
	if err != nil {
		return err
	}
	Put(r, net, tax, currency)
	return nil
}

// Money encodes a sum in minor units for a money field; without a currency
// there is no value.
func Money(amount int64, currency string) entity.Value {
	if currency == "" {
		return nil
	}
	return entity.Value(fmt.Appendf(nil, `{"amount":%d,"currency":"%s"}`, amount, currency))
}

// Amount decodes a money field: minor units and the currency, 0 and "" for no
// value.
func Amount(v entity.Value) (amount int64, currency string) {
	if v.IsNull() {
		return 0, ""
	}
	var m struct {
		Amount   int64  `json:"amount"`
		Currency string `json:"currency"`
	}
	if json.Unmarshal(v, &m) != nil { // stored values are normalised
		return 0, ""
	}
	return m.Amount, m.Currency
}
