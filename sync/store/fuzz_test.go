package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// oneRow is a store with one row in Meta.
type oneRow struct {
	Reader
	key, value []byte
}

func (r oneRow) Get(b Bucket, key []byte) []byte {
	if b == Meta && bytes.Equal(key, r.key) {
		return r.value
	}
	return nil
}

// FuzzFormat: the row that says a store's format is a number or an error, and
// never format 0, which no store has.
func FuzzFormat(f *testing.F) {
	f.Add([]byte{3})
	f.Add(binary.AppendUvarint(nil, 1<<63))
	f.Add([]byte{0x80})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, v []byte) {
		n, err := readFormat(oneRow{key: []byte(formatKey), value: v})
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		back, err := readFormat(oneRow{key: []byte(formatKey), value: binary.AppendUvarint(nil, n)})
		if err != nil || back != n || n == 0 {
			t.Fatalf("%x is %d and then %d, %v", v, n, back, err)
		}
	})
}

// FuzzOpen: a file that was damaged, cut or made by somebody else opens or is
// refused as corrupt; it never takes the process down or hangs, and what opens
// can be read.
func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	good := filepath.Join(dir, "good.db")
	b, err := OpenBolt(good, Options{NoSync: true})
	if err != nil {
		f.Fatal(err)
	}
	err = b.Update(func(w Writer) error {
		for i := range 300 {
			if err := w.Put(Records, binary.BigEndian.AppendUint32(nil, uint32(i)), bytes.Repeat([]byte{byte(i)}, 100)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		f.Fatal(err)
	}
	if err := b.Close(); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint32(0), []byte{}, uint32(0), false)
	f.Add(uint32(16), []byte{0, 0, 0, 0}, uint32(0), false)
	f.Add(uint32(pageSize+16), []byte("noise"), uint32(0), true)
	f.Add(uint32(2*pageSize), []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, uint32(0), false)
	f.Add(uint32(0), []byte{}, uint32(5000), false)
	f.Add(uint32(48), binary.NativeEndian.AppendUint64(nil, 1<<60), uint32(0), true)
	f.Fuzz(func(t *testing.T, at uint32, patch []byte, cut uint32, sum bool) {
		file := bytes.Clone(whole)
		// The head pages alone: they say where everything is. What is damaged
		// beneath them is for verify and compact to find.
		copy(file[at%(2*pageSize):2*pageSize], patch)
		if sum { // a head page that is damaged and whole
			for p := range 2 {
				head := file[p*pageSize+pageHeader:][:metaLength]
				h := fnv.New64a()
				_, _ = h.Write(head[:metaLength-8])
				binary.NativeEndian.PutUint64(head[metaLength-8:], h.Sum64())
			}
		}
		if cut > 0 {
			file = file[:int(cut)%len(file)]
		}
		path := filepath.Join(t.TempDir(), "t.db")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		eng, err := OpenBolt(path, Options{NoSync: true, Timeout: time.Second})
		if err != nil {
			return
		}
		defer eng.Close()
		snap, err := eng.Snapshot()
		if err != nil {
			return
		}
		defer snap.Close()
		func() {
			// Of pages that are damaged below the head bbolt says so by a panic;
			// the tenant stops at one.
			defer func() { _ = recover() }()
			for _, bucket := range Buckets() {
				n := 0
				snap.Scan(bucket, nil, func(_, _ []byte) bool { n++; return n < 1000 })
			}
		}()
	})
}
