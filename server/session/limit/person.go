package limit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"
	"time"
)

// Class is a kind of request of somebody who has signed in.
type Class uint8

// The classes.
const (
	// Read is anything that changes nothing and is none of the others.
	Read Class = iota
	// Write is a change through the module API or the mobile module, bulk
	// actions included.
	Write
	// Sync is a pull, a push or a verify, over HTTP or a socket.
	Sync
	// Changes are the mutations of pushes, each for itself.
	Changes
	// Export is a list as a table, a report's result, an access review.
	Export
	// Upload is a request that sends a part of a file.
	Upload
	classes
)

// String names the class as the configuration does.
func (c Class) String() string {
	if c >= classes {
		return fmt.Sprintf("Class(%d)", uint8(c))
	}
	return [...]string{"read", "write", "sync", "changes", "export", "upload"}[c]
}

// Quota is how much of a class one person may ask for with all their devices
// together, and one device, which for a session without one is the session.
type Quota struct{ Person, Device Rate }

// Quotas bound what people who have signed in may ask of the server.
type Quotas struct {
	Of [classes]Quota
	// Site are all requests with a token from one address, good or not.
	Site Rate
	// Off lets everything through: for measuring.
	Off bool
}

// DefaultQuotas are those of a server that is not told others. They are far
// above what people and programs do that behave: a device that comes back with
// tens of thousands of unsent changes, and one that fetches a tenant's every
// record in small pages, stay beneath them.
func DefaultQuotas() Quotas {
	q := Quotas{Site: Rate{Burst: 20_000, Every: time.Millisecond}}
	q.Of[Read] = Quota{Rate{2000, 10 * time.Millisecond}, Rate{1000, 20 * time.Millisecond}}
	q.Of[Write] = Quota{Rate{1000, 20 * time.Millisecond}, Rate{500, 25 * time.Millisecond}}
	q.Of[Sync] = Quota{Rate{6000, 20 * time.Millisecond}, Rate{3000, 50 * time.Millisecond}}
	q.Of[Changes] = Quota{Rate{100_000, 10 * time.Millisecond}, Rate{50_000, 20 * time.Millisecond}}
	q.Of[Export] = Quota{Rate{60, 10 * time.Second}, Rate{30, 20 * time.Second}}
	q.Of[Upload] = Quota{Rate{4000, 50 * time.Millisecond}, Rate{2000, 100 * time.Millisecond}}
	return q
}

// minChanges is the least burst of Changes: what one push may bring.
const minChanges = 500

// Check reports the first rate that can't be one.
func (q *Quotas) Check() error {
	if q.Off {
		return nil
	}
	bad := func(name string, r Rate) error {
		if r.Burst < 1 || r.Every <= 0 {
			return fmt.Errorf("limit: %s: at least one at once and one each some time", name)
		}
		return nil
	}
	errs := []error{bad("site", q.Site)}
	for c, of := range q.Of {
		errs = append(errs, bad(Class(c).String()+" of a person", of.Person), bad(Class(c).String()+" of a device", of.Device))
	}
	if c := q.Of[Changes]; c.Person.Burst < minChanges || c.Device.Burst < minChanges {
		errs = append(errs, fmt.Errorf("limit: changes: a push of %d must fit the burst", minChanges))
	}
	return errors.Join(errs...)
}

// maxPeople is how many people, devices and addresses are told apart, in
// each generation of each class.
const maxPeople = 20_000

// People are Quotas at work. They are safe for concurrent use.
type People struct {
	off   bool
	of    [classes]struct{ person, device *Buckets }
	site  *Buckets
	seeds [2]maphash.Seed
}

// NewPeople makes quotas that nobody has used yet. q is what Check lets pass.
func NewPeople(q Quotas, now func() time.Time) *People {
	p := &People{off: q.Off, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
	if q.Off {
		return p
	}
	p.site = NewBuckets(q.Site, maxPeople, now)
	for c, of := range q.Of {
		p.of[c].person, p.of[c].device = NewBuckets(of.Person, maxPeople, now), NewBuckets(of.Device, maxPeople, now)
	}
	return p
}

// key mixes two names into a key. It is a process's own: nobody outside can
// know which names share one.
func (p *People) key(tenant, name string) (k Key) {
	for i, s := range p.seeds {
		var h maphash.Hash
		h.SetSeed(s)
		_, _ = h.WriteString(tenant) // never fails
		_ = h.WriteByte(0)
		_, _ = h.WriteString(name)
		binary.LittleEndian.PutUint64(k[8*i:], h.Sum64())
	}
	return k
}

// Take takes n tokens of the class from a person's bucket and the device's, or
// from neither. Where there are too few, ok is false and wait says when there
// will be enough. A nil receiver lets everything through.
func (p *People) Take(c Class, n int, tenant, person, device string) (wait time.Duration, ok bool) {
	if p == nil || p.off {
		return 0, true
	}
	of := &p.of[c]
	own := p.key(tenant, device)
	if wait, ok := of.device.TakeN(own, n); !ok {
		return wait, false
	}
	if wait, ok = of.person.TakeN(p.key(tenant, person), n); !ok {
		of.device.ReturnN(own, n)
	}
	return wait, ok
}

// At takes a token of an address.
func (p *People) At(a netip.Addr) (wait time.Duration, ok bool) {
	if p == nil || p.off {
		return 0, true
	}
	a = a.Unmap()
	k := Key(a.As16())
	if a.Is6() { // the /64 that one subscriber has
		clear(k[8:])
	}
	return p.site.Take(k)
}
