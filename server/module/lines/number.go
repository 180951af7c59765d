package lines

import (
	"fmt"
	"strings"

	"satchel/internal/entity"
	"satchel/internal/fault"
)

// digits is how many digits a number of a series has at least.
const digits = 6

// Number gives a document the next number of its type's series unless it has
// one: the prefix, a hyphen and six digits, or more once they are used up. A
// number that a document bears already, having been imported with it, is left
// out.
func Number(c entity.Context, r *entity.Record, prefix string) {
	for r.Get("number").IsNull() {
		number := fmt.Sprintf("%s-%0*d", prefix, digits, c.Number(r.Type.Name))
		if !c.Named(r.Type.Name, "number", number) {
			r.Set("number", entity.StringValue(number))
		}
	}
}

// Typed refuses a number that somebody gives a document by hand and that is the
// series' own to give, with bad_value: sooner or later two would bear it. It is
// for the checks of documents that are numbered when they leave their first
// status. What the system brings in keeps its numbers.
func Typed(c entity.Context, before, after *entity.Record, prefix string) error {
	if c.Actor() == "" || after.StatusText() != after.Type.Status.Initial {
		return nil
	}
	number := after.Get("number").Text()
	if before != nil && before.Get("number").Text() == number {
		return nil
	}
	rest, ours := strings.CutPrefix(number, prefix+"-")
	if !ours || len(rest) < digits || strings.Trim(rest, "0123456789") != "" {
		return nil
	}
	return fault.Newf(fault.BadValue, "Numbers like %s are given when the document is approved. Leave it empty, or choose another.", number).OnField("number")
}
