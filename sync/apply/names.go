package apply

import (
	"bytes"
	"encoding/binary"
	"slices"

	"satchel/internal/entity"
	"satchel/sync/state"
	"satchel/sync/store"
)

// metaNames stands in the Meta bucket: the fields whose texts the index of
// names has, each as u16 type, u8 field. A field that became unique with a
// later version of the program is indexed by its first entry.
const metaNames = "names"

// uniqueBytes is what one field takes in the row.
const uniqueBytes = 3

func uniqueField(t *entity.Type, f *entity.Field) []byte {
	return append(binary.BigEndian.AppendUint16(nil, t.No), f.No)
}

// eachUnique calls fn for every unique field of the catalogue, in its order.
func eachUnique(cat *entity.Catalogue, fn func(*entity.Type, *entity.Field)) {
	for _, t := range cat.Types {
		for _, f := range t.Fields {
			if f.Unique {
				fn(t, f)
			}
		}
	}
}

// catchUpNames indexes the texts of fields that are unique since this version,
// and forgets those of fields that are so no more.
func (m *Machine) catchUpNames() {
	var want []byte
	eachUnique(m.cfg.Cat, func(t *entity.Type, f *entity.Field) { want = append(want, uniqueField(t, f)...) })
	have := m.w.Get(store.Meta, []byte(metaNames))
	if have != nil && bytes.Equal(have, want) {
		return
	}
	m.w.Put(store.Meta, []byte(metaNames), want)
	var stale [][]byte
	for key := range slices.Chunk(have, uniqueBytes) {
		if hasField(want, key) {
			continue
		}
		store.ScanPrefix(m.w.Stage, store.Names, key, func(k, _ []byte) bool {
			stale = append(stale, bytes.Clone(k))
			return true
		})
	}
	for _, k := range stale {
		m.w.Delete(store.Names, k)
	}
	eachUnique(m.cfg.Cat, func(t *entity.Type, f *entity.Field) {
		if hasField(have, uniqueField(t, f)) {
			return
		}
		for o := range m.w.Index(state.TypeKey(t.No)).All() {
			if rec, ok := m.w.LoadOrd(o); ok {
				m.w.IndexName(rec, f)
			}
		}
	})
}

// hasField reports whether a row of unique fields has one.
func hasField(row, key []byte) bool {
	for one := range slices.Chunk(row, uniqueBytes) {
		if bytes.Equal(one, key) {
			return true
		}
	}
	return false
}

// NamesIndexed reports whether the index of names has the texts of a field: the
// first entry after a new version's start adds what is missing.
func NamesIndexed(rd *state.Reader, t *entity.Type, f *entity.Field) bool {
	return hasField(rd.KV().Get(store.Meta, []byte(metaNames)), uniqueField(t, f))
}
