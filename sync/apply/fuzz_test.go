package apply

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"testing"

	"satchel/internal/ident"
	"satchel/sync/bits"
	"satchel/sync/state"
	"satchel/sync/store"
)

// damaged runs f, which may panic with state.ErrDamaged, and reports whether it
// did. Any other panic is one.
func damaged(t *testing.T, f func()) (was bool) {
	t.Helper()
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		err, ok := p.(error)
		if !ok || !errors.Is(err, state.ErrDamaged) {
			panic(p)
		}
		was = true
	}()
	f()
	return false
}

// FuzzDevice: a device's stored rows (its own, a chunk of what it holds, an
// arrival, a projection class) are read or found damaged, by name.
func FuzzDevice(f *testing.F) {
	set := bits.Of(1, 2, 70_000).AppendTo(nil)
	var chunk []byte
	for _, c := range bits.Of(1, 2).Chunks() {
		chunk = c.Bytes()
	}
	row, err := json.Marshal(deviceRow{Device: Device{Ord: 7}, Pending: &pendingRow{N: 1, Sent: []partRow{{Class: 1, Set: set}}}})
	if err != nil {
		f.Fatal(err)
	}
	class := append(binary.BigEndian.AppendUint64([]byte{0, 1}, 3), 1)
	key := []byte{0, 0, 0, 7, 0, 1, 0, 0}
	f.Add(row, key, chunk, class, set)
	f.Add([]byte(`{"ord":7,"pending":{"sent":[{"c":9,"s":""}],"removed":"AA=="}}`), []byte{0, 0, 0, 7}, chunk, class[:4], set[:3])
	f.Add([]byte(`{"Ord":7}`), []byte{0, 0, 0, 7, 0, 9, 0, 0}, []byte{1}, []byte{}, []byte{})
	f.Add([]byte(`null`), []byte{0, 0, 0, 0, 0, 0, 0}, []byte{}, class, []byte{0xff})
	f.Fuzz(func(t *testing.T, row, key, chunk, class, arrived []byte) {
		eng := store.NewMem()
		defer eng.Close()
		var d Device
		_ = json.Unmarshal(row, &d) // for its ordinal alone
		err := eng.Update(func(w store.Writer) error {
			if len(key) > 0 {
				if err := w.Put(store.Held, key, chunk); err != nil {
					return err
				}
			}
			return errors.Join(
				w.Put(store.Devices, deviceKey("dev-00001"), row), w.Put(store.Classes, []byte{0, 1}, class), w.Put(store.Devices, arrivalRow(d.Ord, 5), arrived),
			)
		})
		if err != nil {
			return // a key that no store takes
		}
		snap, err := eng.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		defer snap.Close()
		rd := state.NewReader(nil, snap)
		damaged(t, func() {
			got := ReadDevice(rd, Classes(rd), "dev-00001")
			if got == nil || got.ID != "dev-00001" {
				t.Fatalf("%+v", got)
			}
			for _, part := range got.Sync.Held {
				_ = part.Set.Len()
			}
			for _, a := range got.Sync.Arrivals {
				_ = a.Set.Len()
			}
		})
	})
}

// FuzzBundleID: a bundle has one name.
func FuzzBundleID(f *testing.F) {
	f.Add("dev-00001.5")
	f.Add("dev-00001.05")
	f.Add("dev-00001.0")
	f.Add(".1")
	f.Add("dev-00001.18446744073709551616")
	f.Add("dev-00001.5.5")
	f.Fuzz(func(t *testing.T, s string) {
		b, ok := ParseBundleID(s)
		if !ok {
			return
		}
		if BundleID(b) != s || b.Root == 0 || !ident.RecordID(b.Device).Valid() {
			t.Fatalf("%q is %+v", s, b)
		}
	})
}

// FuzzRows: what else stands in rows as JSON is read, found absent or found
// damaged, by name.
func FuzzRows(f *testing.F) {
	f.Add([]byte(`{"mutation":{"n":1}}`))
	f.Add([]byte(`{}`))
	f.Add([]byte(`[]`))
	f.Add([]byte{0xff})
	f.Fuzz(func(t *testing.T, v []byte) {
		damaged(t, func() {
			q := readQuarantined([]byte("k"), v)
			_ = q.Typed()
		})
		damaged(t, func() { _ = readFile(v) })
		_, _ = keyUsed(v)
	})
}
