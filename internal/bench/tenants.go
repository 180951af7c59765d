package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"satchel/internal/ident"
	"satchel/sync/tenant"
)

const (
	// smallRecords and smallUsers are a small tenant's.
	smallRecords, smallUsers = 200, 4
	// openTogether is how many tenants this process has open while it adds
	// sign-ins.
	openTogether = 50
	// openWait bounds how long a server takes to open all its tenants.
	openWait = 5 * time.Minute
)

// lodger is one of the tenants and a person's device in it.
type lodger struct {
	id ident.TenantID
	a  *account
}

// tenants is the work of that name: a server with very many small tenants.
func (b *bench) tenants(ctx context.Context) (err error) {
	one := &bench{Config: b.Config, dir: filepath.Join(b.Folder, "tenants")}
	one.Serve = append(one.Serve[:len(one.Serve):len(one.Serve)], "--trusted-proxy", "127.0.0.0/8")
	lodgers, err := one.buildTenants(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, one.stop()) }()
	if err := one.enter(ctx, lodgers); err != nil {
		return err
	}
	if err := one.untouched(ctx, b, len(lodgers)); err != nil {
		return err
	}
	if err := one.touched(ctx, b, lodgers); err != nil {
		return err
	}
	one.Serve = append(one.Serve, "--tenant-idle", tenantIdle.String())
	return one.asleep(ctx, b, lodgers)
}

// tenantIdle is after how long the server of asleep closes a tenant.
const tenantIdle = 500 * time.Millisecond

// asleep has every device sync and waits until the server has closed the tenants,
// which nobody uses any more; then it asks each something.
func (b *bench) asleep(ctx context.Context, to *bench, lodgers []*lodger) error {
	var woken, resident, anonymous []float64
	for run := range b.Runs {
		b.say("tenants: idle %d of %d", run+1, b.Runs)
		if err := b.enter(ctx, lodgers); err != nil {
			return err
		}
		for _, l := range lodgers {
			if _, err := b.http.syncFrom(l.a.from, l.a.access, "", firstLimit); err != nil {
				return fmt.Errorf("%s: %w", l.id, err)
			}
		}
		if err := b.waitOpen(ctx, func(open int) bool { return open == 0 }); err != nil {
			return err
		}
		m, err := b.server.memory(ctx)
		if err != nil {
			return err
		}
		resident, anonymous = append(resident, m.resident/1e6), append(anonymous, m.anonymous/1e6)
		for _, l := range lodgers {
			sent := time.Now()
			if err := b.http.sendFrom(l.a.from, http.MethodGet, "/v1/service/assets?limit=10", l.a.access, "", nil, nil); err != nil {
				return fmt.Errorf("%s: %w", l.id, err)
			}
			woken = append(woken, ms(time.Since(sent)))
		}
	}
	to.many("tenants.woken", "ms", woken)
	to.many("tenants.rssidle", "MB", resident)
	to.many("tenants.anonidle", "MB", anonymous)
	return nil
}

// buildTenants makes one tenant and copies of its file, and signs a device in
// to each: sign-ins name their tenant.
func (b *bench) buildTenants(ctx context.Context) ([]*lodger, error) {
	b.say("tenants: building %d", b.Tenants)
	model := filepath.Join(b.Folder, "tenants-model")
	w, _, err := b.buildAs(ctx, model, shape{records: smallRecords, users: smallUsers})
	if err != nil {
		return nil, err
	}
	if err := b.copies(model); err != nil {
		return nil, err
	}
	lodgers := make([]*lodger, 0, b.Tenants)
	for len(lodgers) < b.Tenants {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		more, err := b.signInAll(ctx, w, len(lodgers), min(len(lodgers)+openTogether, b.Tenants))
		if err != nil {
			return nil, err
		}
		lodgers = append(lodgers, more...)
	}
	return lodgers, nil
}

func tenantName(n int) ident.TenantID { return ident.TenantID(fmt.Sprintf("%s-%04d", slug, n)) }

// copies copies the model's file for every tenant.
func (b *bench) copies(model string) (err error) {
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return err
	}
	from, err := b.Open(model)
	if err != nil {
		return err
	}
	source := from.Path(slug)
	if err := from.Close(); err != nil {
		return err
	}
	to, err := b.Open(b.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	for n := range b.Tenants {
		if err := copyFile(to.Path(tenantName(n)), source); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(to, from string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // only read
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// signInAll signs a device in to each of the tenants from number first up to
// before end.
func (b *bench) signInAll(ctx context.Context, w *world, first, end int) (out []*lodger, err error) {
	folder, err := b.Open(b.dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	for n := first; n < end; n++ {
		t, err := folder.Tenant(tenantName(n))
		if err != nil {
			return nil, err
		}
		a, err := signInTo(ctx, t, w)
		if err != nil {
			return nil, err
		}
		out = append(out, &lodger{t.ID(), a})
	}
	return out, nil
}

func signInTo(ctx context.Context, t *tenant.Tenant, w *world) (*account, error) {
	l := &loader{ctx: ctx, t: t, room: make(chan struct{}, 1)}
	s, err := newSignIns(l, t.ID(), w.hash)
	if err != nil {
		return nil, err
	}
	a := s.add(w.people[0], true)
	return a, errors.Join(s.failed, l.flush())
}

// enter gets everybody an access token, which outlives the server that gave
// it.
func (b *bench) enter(ctx context.Context, lodgers []*lodger) error {
	if err := b.restart(ctx); err != nil {
		return err
	}
	accounts := make([]*account, len(lodgers))
	for i, l := range lodgers {
		accounts[i] = l.a
	}
	spread(accounts)
	return each(ctx, 8, accounts, func(a *account) error {
		_, err := b.http.token(a)
		return err
	})
}

// untouched starts the server and waits until it has opened every tenant by
// itself.
func (b *bench) untouched(ctx context.Context, to *bench, n int) error {
	var ready, begun, opened, resident, anonymous []float64
	for run := range b.Runs {
		b.say("tenants: start %d of %d", run+1, b.Runs)
		if err := b.restart(ctx); err != nil {
			return err
		}
		began := time.Now().Add(-b.server.ready)
		rss, err := b.server.status("VmRSS:")
		if err != nil {
			return err
		}
		if err := b.allOpen(ctx, n); err != nil {
			return err
		}
		opened = append(opened, ms(time.Since(began)))
		m, err := b.server.memory(ctx)
		if err != nil {
			return err
		}
		ready, begun = append(ready, ms(b.server.ready)), append(begun, rss/1e6)
		resident, anonymous = append(resident, m.resident/1e6), append(anonymous, m.anonymous/1e6)
	}
	to.many("tenants.start", "ms", ready)
	to.many("tenants.opened", "ms", opened)
	to.many("tenants.startrss", "MB", begun)
	to.many("tenants.rss", "MB", resident)
	to.many("tenants.anon", "MB", anonymous)
	return nil
}

// allOpen waits until the server has so many tenants open.
func (b *bench) allOpen(ctx context.Context, n int) error {
	return b.waitOpen(ctx, func(open int) bool { return open >= n })
}

// waitOpen waits until the number of tenants is right of which the server says how
// large they are: the open ones.
func (b *bench) waitOpen(ctx context.Context, right func(open int) bool) error {
	ctx, cancel := context.WithTimeout(ctx, openWait)
	defer cancel()
	for {
		figures, err := get(ctx, b.server.admin+"/metrics")
		if err != nil {
			return err
		}
		open := bytes.Count(figures, []byte("\nsatchel_store_bytes{"))
		if right(open) {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%d tenants are open: %w", open, ctx.Err())
		}
	}
}

// touched starts the server and asks each tenant something at once, one after
// the other in no order: the server may not have opened it. Then again, and
// then each device pulls.
func (b *bench) touched(ctx context.Context, to *bench, lodgers []*lodger) error {
	var first, again, pulled, resident, anonymous []float64
	mixed := rand.New(rand.NewPCG(1, uint64(len(lodgers))))
	for run := range b.Runs {
		b.say("tenants: first answers %d of %d", run+1, b.Runs)
		if err := b.enter(ctx, lodgers); err != nil { // tokens that last
			return err
		}
		if err := b.restart(ctx); err != nil {
			return err
		}
		mixed.Shuffle(len(lodgers), func(i, j int) { lodgers[i], lodgers[j] = lodgers[j], lodgers[i] })
		for _, waits := range []*[]float64{&first, &again} {
			for _, l := range lodgers {
				if err := ctx.Err(); err != nil {
					return err
				}
				sent := time.Now()
				if err := b.http.sendFrom(l.a.from, http.MethodGet, "/v1/service/assets?limit=10", l.a.access, "", nil, nil); err != nil {
					return fmt.Errorf("%s: %w", l.id, err)
				}
				*waits = append(*waits, ms(time.Since(sent)))
			}
		}
		for _, l := range lodgers {
			got, err := b.http.syncFrom(l.a.from, l.a.access, "", firstLimit)
			if err != nil {
				return fmt.Errorf("%s: %w", l.id, err)
			}
			if got.records < publicAssets {
				return fmt.Errorf("%s: %d records came", l.id, got.records)
			}
			pulled = append(pulled, ms(got.took))
		}
		m, err := b.server.memory(ctx)
		if err != nil {
			return err
		}
		resident, anonymous = append(resident, m.resident/1e6), append(anonymous, m.anonymous/1e6)
	}
	to.many("tenants.first", "ms", first)
	to.many("tenants.again", "ms", again)
	to.many("tenants.sync", "ms", pulled)
	to.many("tenants.rssall", "MB", resident)
	to.many("tenants.anonall", "MB", anonymous)
	return nil
}
