package apply

import (
	"encoding/json"
	"fmt"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/sync/bits"
	"satchel/sync/scope"
	"satchel/sync/state"
	"satchel/sync/store"
)

// known takes from a sync set the fields that a device of the schema version
// doesn't know: they count neither for what is sent nor for revs and digests,
// so that a field which is new, or written, sends such a device nothing. Classes
// that differ in such fields alone become one; a type of which nothing is known
// is left out.
func known(cat *entity.Catalogue, sets scope.Sets, schema int) scope.Sets {
	if len(cat.After(schema)) == 0 {
		return sets
	}
	var out scope.Sets
	at := map[scope.Class]int{}
	for _, p := range sets {
		t := cat.TypeNo(p.Type)
		p.Mask &^= cat.NewerThan(t, schema)
		if p.Mask == 0 || novel(cat, t, schema) {
			continue
		}
		if i, ok := at[p.Class]; ok {
			out[i].Set = bits.Or(out[i].Set, p.Set)
			continue
		}
		at[p.Class] = len(out)
		out = append(out, p)
	}
	return out
}

// novel reports whether the type itself is newer than the schema version: all
// its own fields are.
func novel(cat *entity.Catalogue, t *entity.Type, schema int) bool {
	newer := cat.NewerThan(t, schema)
	for _, f := range t.Fields {
		if !newer.Has(f.No) {
			return false
		}
	}
	return true
}

// SchemaOf returns the schema version that a device told with a pull, 0 where
// it told none.
func SchemaOf(rd *state.Reader, id ident.DeviceID) int {
	v := rd.KV().Get(store.Devices, deviceKey(id))
	if v == nil {
		return 0
	}
	var row struct {
		Schema int `json:"schema"`
	}
	if err := json.Unmarshal(v, &row); err != nil {
		panic(fmt.Errorf("%w: device %s: %w", state.ErrDamaged, id, err))
	}
	return row.Schema
}
