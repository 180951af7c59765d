package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"satchel/internal/ident"
)

// Limits that the clients of A1 and A2 ask for.
const (
	firstLimit = 2_000
	fullLimit  = 10_000
)

func assetPath(id ident.RecordID) string { return "/v1/service/assets/" + string(id) }

// start starts the server again and again.
func (b *bench) start(ctx context.Context) error {
	var ready, first, resident []float64
	for range b.Runs {
		r, f, m, err := b.startOnce(ctx)
		if err != nil {
			return err
		}
		ready, first, resident = append(ready, r), append(first, f), append(resident, m)
	}
	b.many("start", "ms", ready)
	b.many("startfirst", "ms", first)
	b.many("rss", "MB", resident)
	return nil
}

// startOnce measures until /readyz answers, until the first answer that needs
// the tenant, and the memory after a device has pulled.
func (b *bench) startOnce(ctx context.Context) (ready, first, resident float64, err error) {
	if err := b.restart(ctx); err != nil {
		return 0, 0, 0, err
	}
	a := b.world.phones[0][0]
	a.until = time.Time{}
	began := time.Now()
	access, err := b.http.token(a)
	if err != nil {
		return 0, 0, 0, err
	}
	first = ms(b.server.ready + time.Since(began))
	if _, err := b.http.sync(access, "", firstLimit); err != nil {
		return 0, 0, 0, err
	}
	m, err := b.server.memory(ctx)
	return ms(b.server.ready), first, m.resident / 1e6, err
}

// startLarge does the same with a large tenant.
func (b *bench) startLarge(ctx context.Context) error {
	large := &bench{Config: b.Config, dir: filepath.Join(b.Folder, "large")}
	b.say("start1M: building %d records", b.Large)
	w, took, err := large.build(ctx, large.dir, b.Large)
	if err != nil {
		return err
	}
	b.one("load1M", "s", took.Seconds())
	large.world = w
	ready, first, resident, err := large.startOnce(ctx)
	if err == nil {
		b.one("start1M", "ms", ready)
		b.one("startfirst1M", "ms", first)
		b.one("rss1M", "MB", resident)
	}
	return errors.Join(err, large.stop())
}

// firstSync is A1, once for each encoding that devices accept.
func (b *bench) firstSync(ctx context.Context) error {
	want := (b.world.records-publicAssets)/len(b.world.areas) + publicAssets
	for _, e := range []struct{ encoding, suffix string }{{"", ""}, {"gzip", "gzip"}, {"zstd", "zstd"}} {
		var took []float64
		var last synced
		for range b.Runs {
			if err := ctx.Err(); err != nil {
				return err
			}
			if b.fresh == len(b.world.fresh) {
				return errors.New("no device is fresh any more")
			}
			access, err := b.http.token(b.world.fresh[b.fresh])
			if err != nil {
				return err
			}
			b.fresh++
			if last, err = b.http.sync(access, e.encoding, firstLimit); err != nil {
				return err
			}
			if last.records < want {
				return fmt.Errorf("%d records came, at least %d should", last.records, want)
			}
			took = append(took, ms(last.took))
		}
		b.many("A1"+e.suffix, "ms", took)
		b.one("A1bytes"+e.suffix, "bytes", float64(last.wire))
		if e.encoding == "" {
			b.one("A1records", "records", float64(last.records))
		}
	}
	return nil
}

// fullSync is A2.
func (b *bench) fullSync(ctx context.Context) error {
	var took []float64
	for range b.Runs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if b.full == len(b.world.all) {
			return errors.New("no device is fresh any more")
		}
		access, err := b.http.token(b.world.all[b.full])
		if err != nil {
			return err
		}
		b.full++
		got, err := b.http.sync(access, "", fullLimit)
		if err != nil {
			return err
		}
		if got.records < b.world.records-b.spent {
			return fmt.Errorf("%d records came, at least %d should", got.records, b.world.records-b.spent)
		}
		took = append(took, ms(got.took))
	}
	b.many("A2", "ms", took)
	return nil
}

// writes is B: so many writers, each over a connection of its own and with a
// sign-in of its own, change one field of random records.
func (b *bench) writes(ctx context.Context, at int) error {
	tokens := make([]string, at)
	for i := range tokens {
		var err error
		if tokens[i], err = b.http.token(b.world.writers[i]); err != nil {
			return err
		}
	}
	var rates, waits, server, client, batch []float64
	for range b.Runs {
		before, err := b.server.spent(ctx)
		if err != nil {
			return err
		}
		own := processorTime()
		rate, ws, err := b.writeOnce(ctx, tokens)
		if err != nil {
			return err
		}
		client = append(client, (processorTime()-own).Seconds()*1e6/float64(len(ws)))
		after, err := b.server.spent(ctx)
		if err != nil {
			return err
		}
		rates, waits = append(rates, rate), append(waits, ws...)
		server = append(server, (after.processor-before.processor)*1e6/float64(len(ws)))
		batch = append(batch, float64(len(ws))/max(after.entries-before.entries, 1))
	}
	name := fmt.Sprintf("B%d", at)
	b.many(name, "writes/s", rates)
	b.many(name+"server", "µs", server)
	b.many(name+"client", "µs", client)
	b.many(name+"batch", "writes", batch)
	slices.Sort(waits)
	p99 := quantile(waits, 0.99)
	b.Report(Line{name + "p99", "ms", p99, quantile(waits, 0.5), p99, len(waits)})
	return nil
}

func (b *bench) writeOnce(ctx context.Context, tokens []string) (rate float64, waits []float64, err error) {
	var wait sync.WaitGroup
	var failed atomic.Pointer[error]
	all := make([][]float64, len(tokens))
	began := time.Now()
	for i, access := range tokens {
		wait.Go(func() {
			for n := 0; time.Since(began) < b.WriteTime && ctx.Err() == nil && failed.Load() == nil; n++ {
				a := b.world.areas[rand.IntN(len(b.world.areas))]
				id := a.assets[rand.IntN(len(a.assets))]
				body := fmt.Appendf(nil, `{"notes":"Level %d, by writer %d, %d"}`, rand.IntN(1000), i, n)
				sent := time.Now()
				if err := b.http.send(http.MethodPatch, assetPath(id), access, body, nil); err != nil {
					failed.Store(&err)
					return
				}
				all[i] = append(all[i], ms(time.Since(sent)))
			}
		})
	}
	wait.Wait()
	took := time.Since(began)
	if err := failed.Load(); err != nil {
		return 0, nil, *err
	}
	for _, ws := range all {
		waits = append(waits, ws...)
	}
	return float64(len(waits)) / took.Seconds(), waits, ctx.Err()
}

// idle is E. The devices are up to date before the server starts, so that
// what it holds for a first sync does not count.
func (b *bench) idle(ctx context.Context) error {
	if b.live != nil {
		b.disconnect()
	}
	type device struct {
		a          *account
		checkpoint string
	}
	var devices []*device
	for _, own := range b.world.phones {
		for _, a := range own {
			devices = append(devices, &device{a: a})
		}
	}
	err := each(ctx, 4, devices, func(d *device) error {
		access, err := b.http.token(d.a)
		if err != nil {
			return err
		}
		got, err := b.http.sync(access, "", firstLimit)
		d.checkpoint = got.checkpoint
		return err
	})
	if err != nil {
		return err
	}
	if err := b.restart(ctx); err != nil {
		return err
	}
	join := func(ds []*device) error {
		return each(ctx, 16, ds, func(d *device) error {
			p, err := connect(ctx, b.server.address, d.a.access, d.checkpoint)
			if err != nil {
				return err
			}
			b.keep(p)
			return nil
		})
	}
	// The first opens the tenant and fills what all clients share.
	if err := join(devices[:1]); err != nil {
		return err
	}
	before, err := b.server.memory(ctx)
	if err != nil {
		return err
	}
	if err := join(devices[1:]); err != nil {
		return err
	}
	time.Sleep(500 * time.Millisecond)
	after, err := b.server.memory(ctx)
	if err != nil {
		return err
	}
	n := float64(len(devices) - 1)
	b.one("E", "KB", (after.anonymous-before.anonymous)/n/1024)
	b.one("Einuse", "KB", (after.inUse-before.inUse)/n/1024)
	b.disconnect()
	return nil
}
