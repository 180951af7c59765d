package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// silentShare of the soak's devices, in thousandths, read nothing any more;
	// flakyShare lose their connection again and again.
	silentShare, flakyShare = 10, 10
	// silentWait is when a server has closed the connection of a device that
	// reads nothing, and so answers no ping: 75 seconds, and some for a busy
	// machine.
	silentWait = 90 * time.Second
	flakyFor   = 20 * time.Second
	// publicEvery is every how many writes of a soak one is seen by all devices.
	publicEvery = 1000
	// sampleEvery is how often a soak looks at the server.
	sampleEvery = 5 * time.Second
	// renewBefore is how long before its end an access token is renewed.
	renewBefore = 2 * time.Minute
	// backoffFirst and backoffMost bound how long a device waits before it tries
	// again, as the client package does.
	backoffFirst, backoffMost = time.Second, 2 * time.Minute
)

// device is a person's device that is, or was, live.
type device struct {
	a          *account
	checkpoint string
	p          *phone
}

// crowd makes a tenant with as many devices as the soak has sockets, all of
// them up to date, and starts its server. They come from as many addresses, by
// the word of a proxy in front: what is asked from one address is limited.
func (b *bench) crowd(ctx context.Context) (*bench, []*device, error) {
	if b.multitude != nil {
		return b.multitude, b.devices, nil
	}
	c := &bench{Config: b.Config, dir: filepath.Join(b.Folder, "crowd")}
	c.Users = max(b.Sockets/devicesPerUser, 2) &^ 1
	c.Records = max(b.Records, c.Users)
	c.Serve = append(slices.Clone(b.Serve), "--trusted-proxy", "127.0.0.0/8")
	b.multitude = c
	b.say("building %d records and %d devices", c.Records, c.Users*devicesPerUser)
	w, _, err := c.build(ctx, c.dir, c.Records)
	if err != nil {
		return nil, nil, err
	}
	c.world = w
	if err := c.restart(ctx); err != nil {
		return nil, nil, err
	}
	for _, own := range w.phones {
		for _, a := range own {
			n := len(b.devices)
			a.from = fmt.Sprintf("10.%d.%d.%d", n>>16, n>>8&255, n&255)
			b.devices = append(b.devices, &device{a: a})
		}
	}
	b.say("first sync of %d devices", len(b.devices))
	err = each(ctx, 8, b.devices, func(d *device) error {
		access, err := c.http.token(d.a)
		if err != nil {
			return err
		}
		got, err := c.http.syncFrom(d.a.from, access, "", firstLimit)
		d.checkpoint = got.checkpoint
		return err
	})
	return c, b.devices, err
}

// join connects a device, trying again as a phone does: after random times under
// a growing ceiling, counted from when the server asks for it. The first time it
// comes at once, where a phone would wait for up to four seconds.
func (b *bench) join(ctx context.Context, d *device) (tries int, err error) {
	for ceiling := backoffFirst; ; ceiling = min(2*ceiling, backoffMost) {
		access, err := b.http.token(d.a)
		var p *phone
		if err == nil {
			tries++
			p, err = connectFrom(ctx, d.a.from, b.server.address, access, d.checkpoint)
		}
		if err == nil {
			d.p = p
			return tries, nil
		}
		wait := rand.N(ceiling)
		var busy *busyError
		if errors.As(err, &busy) {
			wait += busy.after
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return tries, errors.Join(err, ctx.Err())
		}
	}
}

// busyError is an answer that asks to come back later.
type busyError struct {
	status int
	after  time.Duration
}

func (e *busyError) Error() string { return fmt.Sprintf("answered %d", e.status) }

func refusedWith(res *http.Response, err error) error {
	if res == nil {
		return err
	}
	n, _ := strconv.Atoi(res.Header.Get("Retry-After"))
	return errors.Join(err, &busyError{res.StatusCode, time.Duration(n) * time.Second})
}

// together runs a task for each device, all at once.
func together(devices []*device, f func(*device) error) error {
	var wait sync.WaitGroup
	var mu sync.Mutex
	var failed error
	for _, d := range devices {
		wait.Go(func() {
			if err := f(d); err != nil {
				mu.Lock()
				failed = err // one is enough of ten thousand
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	return failed
}

// part closes every device's connection and remembers where it stands.
func part(devices []*device) {
	_ = together(devices, func(d *device) error {
		if d.p != nil {
			d.p.close()
			d.checkpoint, d.p = d.p.checkpoint, nil
		}
		return nil
	})
}

// storm is a server that was started anew: every device comes back in the same
// instant. In the second round all have something to be told.
func (b *bench) storm(ctx context.Context) error {
	c, devices, err := b.crowd(ctx)
	if err != nil {
		return err
	}
	defer part(devices)
	for _, round := range []struct {
		name  string
		write bool
	}{{"stormidle", false}, {"storm", true}} {
		var all, p99, peak, tries []float64
		for n := range b.Runs {
			part(devices)
			if err := c.restart(ctx); err != nil {
				return err
			}
			access, err := c.manager()
			if err != nil {
				return err
			}
			if round.write {
				body := fmt.Appendf(nil, `{"notes":"Before the storm, %d, %d"}`, n, time.Now().UnixNano())
				if err := c.http.send(http.MethodPatch, assetPath(c.world.public.assets[n%publicAssets]), access, body, nil); err != nil {
					return err
				}
			}
			b.say("%s: %d devices at once, %d of %d", round.name, len(devices), n+1, b.Runs)
			var mu sync.Mutex
			var waits []float64
			tried := 0
			began := time.Now()
			err = together(devices, func(d *device) error {
				k, err := c.join(ctx, d)
				mu.Lock()
				defer mu.Unlock()
				waits = append(waits, ms(time.Since(began)))
				tried += k
				return err
			})
			if err != nil {
				return err
			}
			l := line("", "", waits)
			high, err := c.server.status("VmHWM:")
			if err != nil {
				return err
			}
			all, p99, peak, tries = append(all, ms(time.Since(began))), append(p99, l.P99), append(peak, high/1e6), append(tries, float64(tried)/float64(len(devices)))
		}
		b.many(round.name, "ms", all)
		b.many(round.name+"p99", "ms", p99)
		b.many(round.name+"peak", "MB", peak)
		b.many(round.name+"tries", "per device", tries)
	}
	return nil
}

// soak keeps every device live under a stream of changes: some devices read
// nothing any more, some lose their connection again and again.
func (b *bench) soak(ctx context.Context) error {
	c, devices, err := b.crowd(ctx)
	if err != nil {
		return err
	}
	defer part(devices)
	b.say("connecting %d devices", len(devices))
	part(devices)
	if err := each(ctx, 64, devices, func(d *device) error { _, err := c.join(ctx, d); return err }); err != nil {
		return err
	}
	s := &soaking{c: c, devices: devices, meant: map[string]time.Time{}}
	ctx, cancel := context.WithTimeout(ctx, b.SoakTime)
	defer cancel()
	n := len(devices)
	silent, rest := devices[:n*silentShare/1000], devices[n*silentShare/1000:]
	flaky, steady := rest[:n*flakyShare/1000], rest[n*flakyShare/1000:]
	seen := func(_ *phone, got page, at time.Time) { s.page(got, at) }
	for _, d := range devices {
		d.p.onPage.Store(&seen)
	}
	for _, d := range silent {
		if err := d.p.deafen(); err != nil {
			return err
		}
	}
	var wait sync.WaitGroup
	for _, work := range []func(context.Context) error{
		s.write,
		func(ctx context.Context) error { return s.renew(ctx, steady) },
		func(ctx context.Context) error { return s.flap(ctx, flaky, &seen) },
		s.watch,
	} {
		wait.Go(func() {
			if err := work(ctx); err != nil && ctx.Err() == nil {
				s.failed.CompareAndSwap(nil, &err)
				cancel()
			}
		})
	}
	wait.Wait()
	if err := s.failed.Load(); err != nil {
		return *err
	}
	lost := 0
	for _, d := range steady {
		select {
		case <-d.p.done:
			lost++
		default:
		}
	}
	return s.report(b, lost, silent)
}

// soaking is a soak under way.
type soaking struct {
	c       *bench
	devices []*device
	failed  atomic.Pointer[error]
	written atomic.Int64

	mu    sync.Mutex
	meant map[string]time.Time // when what is on its way was sent, by its mark
	waits []float64
	pages int

	samples []sample
}

// sample is the server at one moment.
type sample struct {
	at         time.Duration
	heap       float64 // after a collection
	resident   float64
	goroutines float64
}

func (s *soaking) page(got page, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages++
	if sent, ok := s.meant[got.mark]; ok {
		s.waits = append(s.waits, ms(at.Sub(sent)))
	}
}

// write changes records at the rate asked for.
func (s *soaking) write(ctx context.Context) error {
	every := time.NewTicker(time.Second / time.Duration(s.c.SoakRate))
	defer every.Stop()
	room := make(chan struct{}, 64)
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
		if err := s.failed.Load(); err != nil {
			return *err
		}
		room <- struct{}{}
		go func() {
			defer func() { <-room }()
			id := s.c.world.public.assets[n/publicEvery%publicAssets]
			if n%publicEvery > 0 {
				a := s.c.world.areas[rand.IntN(s.c.world.users/2)]
				id = a.assets[rand.IntN(len(a.assets))]
			}
			s.mu.Lock()
			access, err := s.c.http.token(s.c.world.writers[n%writers])
			mark := strconv.Itoa(n)
			s.meant[mark] = time.Now()
			delete(s.meant, strconv.Itoa(n-10_000))
			s.mu.Unlock()
			if err == nil {
				err = s.c.http.send(http.MethodPatch, assetPath(id), access, []byte(`{"serial":"`+markPrefix+mark+`"}`), nil)
			}
			if err != nil {
				s.failed.CompareAndSwap(nil, &err)
				return
			}
			s.written.Add(1)
		}()
	}
}

// renew gives the sockets fresh access tokens before the old ones end.
func (s *soaking) renew(ctx context.Context, devices []*device) error {
	for {
		for _, d := range devices {
			if time.Until(d.a.until) > renewBefore {
				continue
			}
			d.a.until = time.Time{}
			access, err := s.c.http.token(d.a)
			if err != nil {
				return err
			}
			if err := d.p.write([]byte(`{"kind":"auth","token":"` + access + `"}`)); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// flap cuts some devices' connections, each about every flakyFor.
func (s *soaking) flap(ctx context.Context, flaky []*device, seen *func(*phone, page, time.Time)) error {
	if len(flaky) == 0 {
		return nil
	}
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(flakyFor / time.Duration(len(flaky))):
		}
		d := flaky[n%len(flaky)]
		d.p.close()
		d.checkpoint = d.p.checkpoint
		if _, err := s.c.join(ctx, d); err != nil {
			return err
		}
		d.p.onPage.Store(seen)
	}
}

// watch looks at the server from time to time.
func (s *soaking) watch(ctx context.Context) error {
	began := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(sampleEvery):
		}
		m, err := s.c.server.memory(ctx)
		if err != nil {
			return err
		}
		b, err := get(ctx, s.c.server.admin+"/metrics")
		if err != nil {
			return err
		}
		s.samples = append(s.samples, sample{time.Since(began), m.inUse, m.resident, metric(b, "go_goroutines")})
		s.c.say("%s: %d written, %.0f MB in use, %.0f goroutines", time.Since(began).Round(time.Second), s.written.Load(), m.inUse/1e6, metric(b, "go_goroutines"))
	}
}

// report gives the figures. The slopes are of the second half: caches have
// filled by then, where a soak is longer than access tokens last.
func (s *soaking) report(b *bench, lost int, silent []*device) error {
	half := s.samples[len(s.samples)/2:]
	if len(half) < 3 {
		return errors.New("too short a soak to say anything about memory")
	}
	heap := slope(half, func(x sample) float64 { return x.heap })
	last := half[len(half)-1]
	n := float64(len(s.devices))
	b.one("soak", "writes/s", float64(s.written.Load())/last.at.Seconds())
	s.mu.Lock()
	waits, pages := s.waits, s.pages
	s.mu.Unlock()
	b.many("soakpage", "ms", waits)
	b.one("soakpages", "pages/s", float64(pages)/last.at.Seconds())
	b.one("soakheap", "KB/device", last.heap/n/1024)
	b.one("soakslope", "%/h of heap", heap*3600/last.heap*100)
	b.one("soakgoroutines", "per device", last.goroutines/n)
	b.one("soaklost", "devices", float64(lost))
	closed := 0
	for _, d := range silent {
		if d.p.ended() {
			closed++
		}
	}
	b.one("soaksilent", "devices", float64(len(silent)))
	b.one("soaksilentclosed", "devices", float64(closed))
	if b.SoakTime > silentWait && closed < len(silent) {
		return fmt.Errorf("%d of %d devices that read nothing are connected yet after %v", len(silent)-closed, len(silent), b.SoakTime)
	}
	return nil
}

// slope is the growth of a figure per second, the median of the growths between
// any two samples (Theil and Sen): a moment in which everybody is being told
// something says nothing about what is kept.
func slope(xs []sample, of func(sample) float64) float64 {
	var all []float64
	for i, x := range xs {
		for _, y := range xs[:i] {
			all = append(all, (of(x)-of(y))/(x.at-y.at).Seconds())
		}
	}
	slices.Sort(all)
	if n := len(all); n%2 == 0 {
		return (all[n/2-1] + all[n/2]) / 2
	}
	return all[len(all)/2]
}

// status reads a figure of the process from the kernel, in bytes.
func (p *process) status(name string) (float64, error) {
	return statusOf(p.cmd.Process.Pid, name)
}

func statusOf(pid int, name string) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	return kilobytes(b, name), nil
}

// ended reports whether the server has closed the connection of a device that
// does not read, by what it finds when it writes: the first write may yet
// succeed, and is answered with a reset.
func (p *phone) ended() bool {
	ping := func() error { return p.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second)) }
	if ping() != nil {
		return true
	}
	time.Sleep(10 * time.Millisecond)
	return ping() != nil
}
