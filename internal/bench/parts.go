package bench

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	mrand "math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"satchel/internal/durable"
	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/sync/bits"
	"satchel/sync/project"
	"satchel/sync/store"
)

// partTime is how long each part is measured.
const partTime = time.Second

// partsOf measures what the other figures can't exceed.
func (b *bench) partsOf(ctx context.Context) error {
	n, err := syncRate(filepath.Join(b.Folder, "fdatasync"))
	if err != nil {
		return err
	}
	b.one("fdatasync", "1/s", n)
	group, lookups, err := storeRates(filepath.Join(b.Folder, "group.db"), 64)
	if err != nil {
		return err
	}
	b.one("group64", "updates/s", group)
	b.one("lookup", "records/s", lookups)
	b.one("bitmap", "µs", bitmapTime())
	if n, err = spliceRate(); err != nil {
		return err
	}
	b.one("splice", "records/s", n)
	for _, at := range []int{16, 64} {
		n, err := b.httpRate(ctx, at)
		if err != nil {
			return err
		}
		b.one(map[int]string{16: "http16", 64: "http64"}[at], "requests/s", n)
	}
	return nil
}

// syncRate overwrites single pages of a file and makes each durable.
func syncRate(path string) (rate float64, err error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(path)) }()
	const pages = 4096
	page := make([]byte, 4096)
	for range pages {
		if _, err := rand.Read(page); err != nil {
			return 0, err
		}
		if _, err := f.Write(page); err != nil {
			return 0, err
		}
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	began, n := time.Now(), 0
	for time.Since(began) < partTime {
		if _, err := f.WriteAt(page, int64(mrand.IntN(pages))*4096); err != nil {
			return 0, err
		}
		if err := durable.Data(f); err != nil {
			return 0, err
		}
		n++
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

// storeRates makes a store of 100,000 rows of 300 bytes, and looks some up at random, a
// first sync's worth at once, and updates some, so many to a commit.
func storeRates(path string, group int) (updates, lookups float64, err error) {
	e, err := store.OpenBolt(path, store.Options{})
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, e.Close(), os.Remove(path)) }()
	const rows = 100_000
	value := make([]byte, 300)
	put := func(w store.Writer, i int) error {
		return w.Put(store.Records, binary.BigEndian.AppendUint32(nil, uint32(i)), value)
	}
	for i := 0; i < rows; i += rows / 10 {
		err := e.Update(func(w store.Writer) error {
			for j := range rows / 10 {
				if err := put(w, i+j); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return 0, 0, err
		}
	}
	if lookups, err = lookupRate(e, rows); err != nil {
		return 0, 0, err
	}
	began, n := time.Now(), 0
	for time.Since(began) < partTime {
		err := e.Update(func(w store.Writer) error {
			for range group {
				if err := put(w, mrand.IntN(rows)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return 0, 0, err
		}
		n += group
	}
	return float64(n) / time.Since(began).Seconds(), lookups, nil
}

// lookupRate looks up rows that lie apart, in one goroutine.
func lookupRate(e store.Engine, rows int) (float64, error) {
	keys, values := make([]uint32, 1000), make([][]byte, 1000)
	s, err := e.Snapshot()
	if err != nil {
		return 0, err
	}
	defer s.Close()
	began, n := time.Now(), 0
	for time.Since(began) < partTime {
		for i := range keys {
			keys[i] = uint32(mrand.IntN(rows))
		}
		store.GetAll(s, store.Records, keys, values)
		if slices.ContainsFunc(values, func(v []byte) bool { return v == nil }) {
			return 0, errors.New("a row of the store is not there")
		}
		n += len(keys)
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

// bitmapTime is how long it takes, in microseconds, to find what half a million
// ordinals out of a million have that half a million others don't: the algebra of a
// device that may see everything, if nothing of it were shared.
func bitmapTime() float64 {
	var b [2]bits.Builder
	for o := range uint32(1_000_000) {
		b[mrand.IntN(2)].Add(o)
		if o%4 == 0 {
			b[0].Add(o)
		}
	}
	held, now := b[0].Set(), b[1].Set()
	began, n := time.Now(), 0
	for time.Since(began) < partTime {
		runtime.KeepAlive(bits.AndNot(held, now))
		n++
	}
	return time.Since(began).Seconds() * 1e6 / float64(n)
}

// spliceRate renders stored records like those of the tenant as their readers see
// them, in one goroutine.
func spliceRate() (float64, error) {
	typ := &entity.Type{
		No: 1, Name: "asset", Apps: []entity.App{entity.Service}, Root: "client",
		Fields: []*entity.Field{entity.To(1, "client", "client").Need().Fixed(), entity.Str(2, "name"), entity.Str(3, "serial"), entity.Long(4, "notes")},
	}
	client := &entity.Type{No: 2, Name: "client", Apps: []entity.App{entity.Service}, IsClient: true, Fields: []*entity.Field{entity.To(1, "salesArea")}}
	if _, err := entity.NewCatalogue(typ, client); err != nil {
		return 0, err
	}
	by := ident.NewRecordID([15]byte{1})
	raws := make([][]byte, 1000)
	for i := range raws {
		r := &entity.Record{Type: typ, ID: ident.NewRecordID([15]byte{2, byte(i), byte(i >> 8)}), Ord: uint32(i)}
		for no, v := range []entity.Value{
			entity.RefValue(by), entity.StringValue(nameOf(i)), entity.StringValue(serialOf(i)), entity.StringValue(noteOf(i)),
		} {
			r.Put(uint8(no+1), v)
		}
		r.Put(entity.NoClientID, entity.RefValue(by))
		r.Put(entity.NoCreatedAt, entity.TimeValue(1_700_000_000_000))
		r.Seal(entity.Stamp{Pos: 1, At: 1_700_000_000_000, By: by})
		raws[i] = r.Append(nil)
	}
	var p project.Projector
	dst := make([]byte, 0, 1<<20)
	began, n := time.Now(), 0
	for time.Since(began) < partTime {
		out := dst
		for _, raw := range raws {
			var err error
			if out, _, err = p.AppendStored(out, raw, typ, typ.All(), false); err != nil {
				return 0, err
			}
		}
		n += len(raws)
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

// httpRate asks the server for what costs it nothing.
func (b *bench) httpRate(ctx context.Context, at int) (float64, error) {
	var n atomic.Int64
	var wait sync.WaitGroup
	var failed atomic.Pointer[error]
	began := time.Now()
	for range at {
		wait.Go(func() {
			for time.Since(began) < partTime && ctx.Err() == nil {
				if err := b.http.send(http.MethodGet, "/healthz", "", nil, nil); err != nil {
					failed.Store(&err)
					return
				}
				n.Add(1)
			}
		})
	}
	wait.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return float64(n.Load()) / time.Since(began).Seconds(), ctx.Err()
}
