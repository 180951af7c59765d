package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"runtime/debug"
	"slices"
	"testing"

	bolt "go.etcd.io/bbolt"

	"satchel/sync/bits"
)

// TestTree: in trees of one to four levels, of keys that are dense, sparse and in
// heaps, of values that fill pages unevenly or run over several, and of which much
// was deleted, a tree finds what bbolt finds.
func TestTree(t *testing.T) {
	rows := 150_000
	if testing.Short() {
		rows = 20_000
	}
	r := rand.New(rand.NewPCG(7, 9))
	for name, key := range map[string]func(i int) uint32{
		"one":    func(int) uint32 { return 77 },
		"few":    func(i int) uint32 { return uint32(i % 40) },
		"dense":  func(i int) uint32 { return uint32(i) },
		"sparse": func(int) uint32 { return r.Uint32() },
		"heaps":  func(i int) uint32 { return uint32(i%7)<<29 | uint32(i) },
		"edges":  func(i int) uint32 { return uint32(i&1)*(1<<32-1) ^ uint32(i) },
	} {
		t.Run(name, func(t *testing.T) {
			b := mustOpen(t, filepath.Join(t.TempDir(), "t.db"), Options{NoSync: true})
			keys := make([]uint32, rows)
			for i := range keys {
				keys[i] = key(i)
			}
			slices.Sort(keys) // bbolt takes half a minute for what comes in another order
			change := func(fn func(w Writer) error) {
				t.Helper()
				if err := errors.Join(b.Update(fn), b.fold()); err != nil {
					t.Fatal(err)
				}
			}
			change(func(w Writer) error {
				for _, k := range keys {
					n := 1 + r.IntN(60)
					if r.IntN(1000) == 0 {
						n = 9000
					}
					if err := w.Put(Records, binary.BigEndian.AppendUint32(nil, k), bytes.Repeat([]byte{byte(k)}, n)); err != nil {
						return err
					}
				}
				return nil
			})
			judgeTree(t, b, keys, r)
			change(func(w Writer) error {
				for i, k := range keys {
					if i%10_000 < 6000 || r.IntN(3) == 0 {
						if err := w.Delete(Records, binary.BigEndian.AppendUint32(nil, k)); err != nil {
							return err
						}
					}
				}
				return nil
			})
			judgeTree(t, b, keys, r)
		})
	}
}

func judgeTree(t *testing.T, b *Bolt, keys []uint32, r *rand.Rand) {
	t.Helper()
	s, err := b.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in := &s.(*boltSnapshot).layers
	bucket := in.tx.Bucket(bucketName(Records))
	tr, ok := in.tree(Records)
	if !ok {
		if bucket.Root() != 0 {
			t.Fatal("no tree")
		}
		return
	}
	var asked []uint32
	for range 5000 {
		k := keys[r.IntN(len(keys))]
		asked = append(asked, k, k+uint32(r.IntN(5))-2, r.Uint32())
	}
	asked = append(asked, 0, 1<<32-1)
	values := make([][]byte, len(asked))
	tr.getAll(asked, values)
	for i, k := range asked {
		row := binary.BigEndian.AppendUint32(nil, k)
		want := bucket.Get(row)
		if !bytes.Equal(values[i], want) || (values[i] == nil) != (want == nil) {
			t.Fatalf("key %d among others: %d bytes, want %d", k, len(values[i]), len(want))
		}
		if got := tr.get(row); !bytes.Equal(got, want) || (got == nil) != (want == nil) {
			t.Fatalf("key %d by itself: %d bytes, want %d", k, len(got), len(want))
		}
	}
}

// FuzzTree: damaged pages are found by a panic, or lead to a wrong value or to none; no
// lookup goes on for ever or reads beyond the file.
func FuzzTree(f *testing.F) {
	path := filepath.Join(f.TempDir(), "t.db")
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoSync: true, PageSize: pageSize})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = db.Close() })
	if err := db.Update(func(tx *bolt.Tx) error {
		bk, err := tx.CreateBucket(bucketName(Records))
		for i := range 5000 {
			err = errors.Join(err, bk.Put(binary.BigEndian.AppendUint32(nil, uint32(3*i)), bytes.Repeat([]byte{byte(i)}, 100)))
		}
		return err
	}); err != nil {
		f.Fatal(err)
	}
	tx, err := db.Begin(false)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = tx.Rollback() })
	whole := mapped(tx)
	root := uint64(tx.Bucket(bucketName(Records)).Root())
	f.Add(uint32(root*pageSize+10), []byte{0xff, 0xff}, uint32(30))
	f.Add(uint32(root*pageSize+pageHeader), []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, uint32(0))
	f.Add(uint32(root*pageSize+pageHeader+8), binary.NativeEndian.AppendUint64(nil, root), uint32(1))
	f.Fuzz(func(_ *testing.T, at uint32, patch []byte, key uint32) {
		file := bytes.Clone(whole)
		copy(file[int(at)%len(file):], patch)
		tr := tree{file, root}
		values := make([][]byte, 40)
		keys := make([]uint32, len(values))
		for i := range keys {
			keys[i] = key + uint32(i*i)
		}
		for _, look := range []func(){
			func() { tr.getAll(keys, values) },
			func() { tr.get(binary.BigEndian.AppendUint32(nil, key)) },
		} {
			func() {
				defer func() {
					if p := recover(); p != nil {
						if _, ok := p.(error); !ok {
							panic(string(debug.Stack()))
						}
					}
				}()
				look()
			}()
		}
	})
}

// TestLongRecordsMigration: a store from before the indexes of long records has
// them once it is opened.
func TestLongRecordsMigration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.db")
	b, err := openBolt(path, Options{NoSync: true}, migrations[:6])
	if err != nil {
		t.Fatal(err)
	}
	lengths := map[uint32]int{1: 419, 2: 420, 3: 2097, 70_000: 2098, 70_001: 1, 140_000: 9000}
	err = b.Update(func(w Writer) error {
		for o, n := range lengths {
			if err := w.Put(Records, binary.BigEndian.AppendUint32(nil, o), make([]byte, n)); err != nil {
				return err
			}
		}
		return w.Put(Index, []byte{'T', 0, 1, 0, 0}, []byte("stays"))
	})
	if err = errors.Join(err, b.Close()); err != nil {
		t.Fatal(err)
	}
	b = mustOpen(t, path, Options{NoSync: true})
	got := map[string][]uint32{}
	if err := b.view(func(r Reader) error {
		r.Scan(Index, nil, func(k, v []byte) bool {
			if k[0] == 'T' {
				got[string(k)] = nil
				return true
			}
			s, err := bits.Decode(func(yield func(uint16, []byte) bool) { yield(binary.BigEndian.Uint16(k[2:]), v) })
			if err != nil {
				t.Errorf("row %x: %v", k, err)
			}
			got[string(k)] = s.Slice()
			return true
		})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want := map[string][]uint32{
		"T\x00\x01\x00\x00": nil,
		"L\x00\x00\x00":     {2, 3}, "L\x00\x00\x01": {70_000}, "L\x00\x00\x02": {140_000},
		"L\x01\x00\x01": {70_000}, "L\x01\x00\x02": {140_000},
	}
	if !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("%v, want %v", got, want)
	}
}
