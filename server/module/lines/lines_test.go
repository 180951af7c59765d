package lines

import (
	"fmt"
	"testing"

	"satchel/internal/entity"
	"satchel/internal/fault"
)

func line(id, quantity, price, currency, tax string) string {
	s := fmt.Sprintf(`{"id":%q,"quantity":%s`, id, quantity)
	if price != "" {
		s += fmt.Sprintf(`,"unitPrice":{"amount":%s,"currency":%q}`, price, currency)
	}
	if tax != "" {
		s += `,"taxPercent":` + tax
	}
	return s + "}"
}

func TestTotals(t *testing.T) {
	for _, c := range []struct {
		lines    string
		net, tax int64
		currency string
	}{
		{"", 0, 0, ""},
		{"[" + line("1", "3", "", "", "20") + "]", 0, 0, ""},
		{"[" + line("1", "2", "1050", "EUR", "20") + "]", 2100, 420, "EUR"},
		{"[" + line("1", "0.5", "101", "EUR", "") + "]", 51, 0, "EUR"},
		{"[" + line("1", "-0.5", "101", "EUR", "") + "]", -51, 0, "EUR"},
		{"[" + line("1", "2.5", "1", "EUR", "") + "," + line("2", "9", "", "", "") + "]", 3, 0, "EUR"},
		{"[" + line("1", "0.1", "5", "EUR", "0") + "," + line("2", "0.1", "4", "EUR", "0") + "]", 1, 0, "EUR"}, // each for itself
		{"[" + line("1", "1", "9007199254740991", "JPY", "") + "]", 9007199254740991, 0, "JPY"},
		{"[" + line("1", "3", "1000000000000001", "EUR", "") + "]", 3000000000000003, 0, "EUR"}, // no float holds the product's way
		{"[" + line("1", "0.333", "100", "EUR", "7.5") + "]", 33, 2, "EUR"},
	} {
		net, tax, currency, err := Totals(entity.Value(c.lines))
		if err != nil || net != c.net || tax != c.tax || currency != c.currency {
			t.Errorf("%s: %d %d %q %v, want %d %d %q", c.lines, net, tax, currency, err, c.net, c.tax, c.currency)
		}
	}
}

func TestTotalsRefuse(t *testing.T) {
	for name, lines := range map[string]string{
		"two currencies":   "[" + line("1", "1", "1", "EUR", "") + "," + line("2", "1", "1", "USD", "") + "]",
		"too large a line": "[" + line("1", "1000000", "9007199254740992", "EUR", "") + "]",
		"too large in all": "[" + line("1", "1", "9007199254740992", "EUR", "") + "," + line("2", "1", "1", "EUR", "") + "]",
		"too large by tax": "[" + line("1", "1", "9007199254740992", "EUR", "100") + "]",
		"endless quantity": "[" + line("1", "1e300", "1", "EUR", "") + "]",
		"negative tax":     "[" + line("1", "1", "1", "EUR", "-1") + "]",
		"no quantity":      `[{"id":"1","unitPrice":{"amount":1,"currency":"EUR"}}]`,
		"no lines at all":  `{"id":"1"}`,
	} {
		if _, _, _, err := Totals(entity.Value(lines)); !fault.Is(err, fault.BadValue) || fault.Of(err).Field != "lines" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMoney(t *testing.T) {
	if v := Money(-5, "EUR"); string(v) != `{"amount":-5,"currency":"EUR"}` {
		t.Errorf("-5 EUR is %s", v)
	}
	if v := Money(5, ""); !v.IsNull() {
		t.Errorf("a sum in no currency is %s", v)
	}
	for _, v := range []entity.Value{nil, entity.Value("null"), entity.Value("[]")} {
		if n, c := Amount(v); n != 0 || c != "" {
			t.Errorf("%q is %d %q", v, n, c)
		}
	}
	if n, c := Amount(Money(1<<53, "USD")); n != 1<<53 || c != "USD" {
		t.Errorf("%d %s", n, c)
	}
}

func TestSum(t *testing.T) {
	typ := &entity.Type{
		No: 1, Name: "bill", Apps: []entity.App{entity.Billing},
		Fields: []*entity.Field{
			entity.List(1, "lines", entity.Decimal(1, "quantity"), entity.Amount(2, "unitPrice"), entity.Decimal(3, "taxPercent")),
			entity.Amount(2, "net").System(), entity.Amount(3, "tax").System(), entity.Amount(4, "total").System(),
		},
	}
	if _, err := entity.NewCatalogue(typ); err != nil {
		t.Fatal(err)
	}
	r := &entity.Record{Type: typ, ID: "bill-0001"}
	r.Set("lines", entity.Value("["+line("1", "2", "1050", "EUR", "20")+"]"))
	if err := Sum(r); err != nil || string(r.Get("total")) != `{"amount":2520,"currency":"EUR"}` {
		t.Errorf("%s %v", r.Get("total"), err)
	}
	r.Set("lines", nil)
	if err := Sum(r); err != nil || !r.Get("net").IsNull() || !r.Get("tax").IsNull() || !r.Get("total").IsNull() {
		t.Errorf("the sums of no lines are %s %s %s, %v", r.Get("net"), r.Get("tax"), r.Get("total"), err)
	}
}
