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
	"sync"
	"sync/atomic"
	"time"

	"satchel/internal/durable"
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
	if n, err = groupRate(filepath.Join(b.Folder, "group.db"), 64); err != nil {
		return err
	}
	b.one("group64", "updates/s", n)
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

// groupRate updates random rows of 300 bytes in a store of 100,000, so many to
// a commit.
func groupRate(path string, group int) (rate float64, err error) {
	e, err := store.OpenBolt(path, store.Options{})
	if err != nil {
		return 0, err
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
			return 0, err
		}
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
			return 0, err
		}
		n += group
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
