package lines

import (
	"fmt"

	"satchel/internal/entity"
)

// Number gives a document the next number of its type's series unless it has
// one: the prefix, a hyphen and six digits, or more once they are used up.
func Number(c entity.Context, r *entity.Record, prefix string) {
	if r.Get("number").IsNull() {
		r.Set("number", entity.StringValue(fmt.Sprintf("%s-%06d", prefix, c.Number(r.Type.Name))))
	}
}
