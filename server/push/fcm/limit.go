package fcm

import (
	"hash/maphash"
	"sync"
	"time"
)

// Limits are the carrier's limits, kept on our side so that we are delayed
// rather than throttled. A zero field means Google's published figure.
type Limits struct {
	// DevicePerMinute and DevicePerHour bound all messages to one device
	// (240 and 5,000).
	DevicePerMinute, DevicePerHour int
	// CollapseBurst messages with a collapse key may go to a device at once
	// (20); one more is granted each CollapseEvery (3 minutes).
	CollapseBurst int
	CollapseEvery time.Duration
	// ProjectPerMinute bounds all messages of this process (600,000). Where
	// several processes send for one project, each gets its share.
	ProjectPerMinute int
}

func (l Limits) orGoogle() Limits {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&l.DevicePerMinute, 240)
	set(&l.DevicePerHour, 5000)
	set(&l.CollapseBurst, 20)
	set(&l.ProjectPerMinute, 600_000)
	if l.CollapseEvery <= 0 {
		l.CollapseEvery = 3 * time.Minute
	}
	return l
}

// bucket is a token bucket that holds capacity tokens and gets one each every.
// Its state is one instant (the generic cell rate algorithm's theoretical
// arrival time): the bucket is full once that has passed.
type bucket struct {
	capacity int64
	every    time.Duration
}

// inWindow returns a bucket that lets at most n through in any span of the
// window's length: capacity and refill share the window's n tokens.
func inWindow(n int, window time.Duration, capacity int) bucket {
	capacity = max(1, capacity)
	refill := max(1, n-capacity)
	// Rounded up, so that rounding never lets one more through.
	every := (window + time.Duration(refill) - 1) / time.Duration(refill)
	return bucket{capacity: int64(capacity), every: every}
}

// wait returns how long until a token is there, 0 for now.
func (b bucket) wait(full, now int64) time.Duration {
	next := max(full, now) + int64(b.every)
	return time.Duration(max(0, next-now-b.capacity*int64(b.every)))
}

func (b bucket) take(full *int64, now int64) { *full = max(*full, now) + int64(b.every) }
func (b bucket) giveBack(full *int64)        { *full -= int64(b.every) }

// device is the state of one device's three buckets, in Unix nanoseconds.
type device struct{ minute, hour, collapse int64 }

// limiter decides message by message. Devices whose buckets are all full again
// are as good as unknown and are dropped now and then, so memory follows
// the devices that got something within the hour.
type limiter struct {
	minute, hour, collapse, project bucket
	seed                            maphash.Seed

	mu      sync.Mutex
	sent    int64 // of the project's bucket
	devices map[uint64]device
	sweepAt int
}

const leastSweep = 4096

func newLimiter(l Limits) *limiter {
	l = l.orGoogle()
	return &limiter{
		minute:   inWindow(l.DevicePerMinute, time.Minute, l.DevicePerMinute/2),
		hour:     inWindow(l.DevicePerHour, time.Hour, l.DevicePerHour/2),
		collapse: bucket{capacity: int64(l.CollapseBurst), every: l.CollapseEvery},
		// A second's worth at once: a project's stream should be even.
		project: inWindow(l.ProjectPerMinute, time.Minute, l.ProjectPerMinute/60),
		seed:    maphash.MakeSeed(),
		devices: map[uint64]device{},
		sweepAt: leastSweep,
	}
}

// take takes a token of every bucket that applies, or none of them and
// returns how long to wait.
func (l *limiter) take(token string, collapsible bool, at time.Time) time.Duration {
	// Two devices with one hash would share their limits: a delay, no harm.
	key, now := maphash.String(l.seed, token), at.UnixNano()
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.devices[key]
	wait := max(l.project.wait(l.sent, now), l.minute.wait(d.minute, now), l.hour.wait(d.hour, now))
	if collapsible {
		wait = max(wait, l.collapse.wait(d.collapse, now))
	}
	if wait > 0 {
		return wait
	}
	l.project.take(&l.sent, now)
	l.minute.take(&d.minute, now)
	l.hour.take(&d.hour, now)
	if collapsible {
		l.collapse.take(&d.collapse, now)
	}
	l.devices[key] = d
	if len(l.devices) >= l.sweepAt {
		l.sweep(now)
	}
	return 0
}

// giveBack returns the tokens of a message that was not taken by the carrier;
// otherwise an hour's outage would leave every device at the slow rate.
func (l *limiter) giveBack(token string, collapsible bool) {
	key := maphash.String(l.seed, token)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.project.giveBack(&l.sent)
	d, ok := l.devices[key]
	if !ok {
		return
	}
	l.minute.giveBack(&d.minute)
	l.hour.giveBack(&d.hour)
	if collapsible {
		l.collapse.giveBack(&d.collapse)
	}
	l.devices[key] = d
}

func (l *limiter) sweep(now int64) {
	for k, d := range l.devices {
		if d.minute <= now && d.hour <= now && d.collapse <= now {
			delete(l.devices, k)
		}
	}
	l.sweepAt = max(leastSweep, 2*len(l.devices))
}
