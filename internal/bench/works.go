package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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

// startDemo does the same with the demo tenant, whose people have passwords: the
// first answer is a sign-in.
func (b *bench) startDemo(ctx context.Context) (err error) {
	one := &bench{Config: b.Config, dir: filepath.Join(b.Folder, "demo")}
	f, err := one.buildDemo(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, one.stop()) }()
	var ready, first, resident []float64
	for range b.Runs {
		if err := one.restart(ctx); err != nil {
			return err
		}
		f.http = one.http
		began := time.Now()
		if err := f.signIn(); err != nil {
			return err
		}
		ready, first = append(ready, ms(one.server.ready)), append(first, ms(one.server.ready+time.Since(began)))
		m, err := one.server.memory(ctx)
		if err != nil {
			return err
		}
		resident = append(resident, m.resident/1e6)
	}
	b.many("startdemo", "ms", ready)
	b.many("startfirstdemo", "ms", first)
	b.many("rssdemo", "MB", resident)
	return nil
}

// firstSync is A1, once for each encoding that devices accept.
func (b *bench) firstSync(ctx context.Context) error {
	for _, encoding := range []string{"", "gzip", "zstd"} {
		err := b.firstSyncs(ctx, encoding)
		if why, yes := unsupported(err); yes && encoding != "" {
			b.missing("A1"+encoding, why)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) firstSyncs(ctx context.Context, encoding string) error {
	var took []float64
	var last fetched
	for range b.Runs {
		if err := ctx.Err(); err != nil {
			return err
		}
		user, n := b.fresh%b.world.users, devicesPerUser+b.fresh/b.world.users
		b.fresh++
		var d time.Duration
		var err error
		if last, d, err = b.syncOnce(ctx, user, n, encoding); err != nil {
			return err
		}
		if err := b.complete(last.records, len(b.world.areaOf(user).assets)+publicAssets); err != nil {
			return err
		}
		took = append(took, ms(d))
	}
	b.many("A1"+encoding, "ms", took)
	if last.bytes > 0 {
		b.one("A1bytes"+encoding, "bytes", float64(last.bytes))
	}
	if encoding == "" {
		b.one("A1records", "records", float64(last.records))
	}
	return nil
}

// syncOnce is the first sync of a person's nth device.
func (b *bench) syncOnce(ctx context.Context, person, n int, encoding string) (fetched, time.Duration, error) {
	r, err := b.peer.reader(ctx, person, n)
	if err != nil {
		return fetched{}, 0, err
	}
	began := time.Now()
	got, err := r.sync(ctx, encoding)
	took := time.Since(began)
	return got, took, apart(err, r.close(ctx))
}

// fullSync is A2.
func (b *bench) fullSync(ctx context.Context) error {
	want := len(b.world.public.assets)
	for _, a := range b.world.areas {
		want += len(a.assets)
	}
	var took []float64
	for range b.Runs {
		if err := ctx.Err(); err != nil {
			return err
		}
		b.full++
		got, d, err := b.syncOnce(ctx, managerNo, b.full-1, "")
		if err != nil {
			return err
		}
		if err := b.complete(got.records, want); err != nil {
			return err
		}
		took = append(took, ms(d))
	}
	b.many("A2", "ms", took)
	return nil
}

// writes is B: so many writers, each over a connection of its own and with a
// sign-in of its own, change one field of random records.
func (b *bench) writes(ctx context.Context, at int) error {
	hands := make([]writer, at)
	for i := range hands {
		var err error
		if hands[i], err = b.peer.writer(ctx, i); err != nil {
			return err
		}
	}
	var rates, waits []float64
	var costs writeCosts
	for range b.Runs {
		before, err := b.spentSoFar(ctx)
		if err != nil {
			return err
		}
		rate, ws, err := b.writeOnce(ctx, hands)
		if err != nil {
			return err
		}
		after, err := b.spentSoFar(ctx)
		if err != nil {
			return err
		}
		rates, waits = append(rates, rate), append(waits, ws...)
		costs.add(before, after, len(ws))
	}
	name := fmt.Sprintf("B%d", at)
	b.many(name, "writes/s", rates)
	if _, ok := b.peer.(meter); ok {
		b.many(name+"server", "µs", costs.server)
		b.many(name+"client", "µs", costs.client)
		b.many(name+"batch", "writes", costs.batch)
	}
	slices.Sort(waits)
	p99 := quantile(waits, 0.99)
	b.Report(Line{Name: name + "p99", Unit: "ms", Value: p99, P50: quantile(waits, 0.5), P99: p99, Runs: len(waits)})
	return nil
}

// writeCosts is what writes took of the processors, in µs, and how many were
// made durable together.
type writeCosts struct{ server, client, batch []float64 }

// costsSoFar is what server and client have used up.
type costsSoFar struct {
	spent
	own time.Duration
}

// spentSoFar asks a server that can say it.
func (b *bench) spentSoFar(ctx context.Context) (c costsSoFar, err error) {
	if m, ok := b.peer.(meter); ok {
		c.spent, err = m.spent(ctx)
	}
	c.own = processorTime()
	return c, err
}

func (c *writeCosts) add(before, after costsSoFar, writes int) {
	n := float64(writes)
	c.server = append(c.server, (after.processor-before.processor)*1e6/n)
	c.client = append(c.client, (after.own-before.own).Seconds()*1e6/n)
	c.batch = append(c.batch, n/max(after.entries-before.entries, 1))
}

func (b *bench) writeOnce(ctx context.Context, hands []writer) (rate float64, waits []float64, err error) {
	var wait sync.WaitGroup
	var failed atomic.Pointer[error]
	all := make([][]float64, len(hands))
	began := time.Now()
	for i, w := range hands {
		wait.Go(func() {
			for n := 0; time.Since(began) < b.WriteTime && ctx.Err() == nil && failed.Load() == nil; n++ {
				a := b.world.areas[rand.IntN(len(b.world.areas))]
				id := a.assets[rand.IntN(len(a.assets))]
				notes := fmt.Sprintf("Level %d, by writer %d, %d", rand.IntN(1000), i, n)
				sent := time.Now()
				if err := w.write(ctx, id, notes); err != nil {
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
func (b *bench) idle(ctx context.Context) (err error) {
	if err := b.disconnect(ctx); err != nil {
		return err
	}
	var devices []*live
	defer func() {
		b.live = nil
		err = apart(err, each(ctx, 8, devices, func(l *live) error { return l.end(ctx) }))
	}()
	for u := range b.world.users {
		for n := range devicesPerUser {
			devices = append(devices, &live{user: u, n: n})
		}
	}
	err = each(ctx, 4, devices, func(l *live) (err error) {
		if l.reader, err = b.peer.reader(ctx, l.user, l.n); err != nil {
			return err
		}
		_, err = l.sync(ctx, "")
		return err
	})
	if err != nil {
		return err
	}
	if err := b.peer.restart(ctx); err != nil {
		return err
	}
	join := func(list []*live) error {
		return each(ctx, 16, list, func(l *live) error { return b.goLive(ctx, l) })
	}
	// The first opens the tenant and fills what all clients share.
	if err := join(devices[:1]); err != nil {
		return err
	}
	before, err := b.peer.memory(ctx)
	if err != nil {
		return err
	}
	if err := join(devices[1:]); err != nil {
		return err
	}
	time.Sleep(500 * time.Millisecond)
	after, err := b.peer.memory(ctx)
	if err != nil {
		return err
	}
	n := float64(len(devices) - 1)
	b.one("E", "KB", (after.anonymous-before.anonymous)/n/1024)
	if after.inUse > 0 {
		b.one("Einuse", "KB", (after.inUse-before.inUse)/n/1024)
	}
	return nil
}
