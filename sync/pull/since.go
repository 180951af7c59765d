package pull

import (
	"cmp"
	"slices"

	"satchel/internal/ident"
	"satchel/sync/bits"
	"satchel/sync/scope"
)

// MaxArrivals bounds the arrivals that are kept of a device apart from each
// other.
const MaxArrivals = 64

// Arrival is records that went to a device at one time and that it has, or may
// have, had ever since.
type Arrival struct {
	// At is the tenant time of the page: no later than the device had them.
	At  ident.Millis
	Set bits.Set
}

// arrived returns the arrivals of a device that stood at d and stands at after,
// now that its pending page p counts as applied or, where applied is false, as
// perhaps applied. What the device has or may have keeps the time it first went
// out; what it has not any more is forgotten; what is new to it bears the
// page's time. A page that brings updates alone changes nothing.
func (d *Device) arrived(p *Pending, after *Device, applied bool) []Arrival {
	sent := p.Sent.All()
	fresh := bits.AndNot(sent, d.Unsure)
	var gone bits.Set
	if p.Reset {
		// All is counted anew: what was dropped goes with the reset.
		fresh = bits.AndNot(fresh, d.Held.All())
		gone = bits.AndNot(bits.Or(d.Held.All(), d.Unsure), bits.Or(after.Held.All(), after.Unsure))
	} else {
		// A record never changes its type: it is held, if at all, in a class of
		// the type that it is sent in.
		for _, h := range d.Held {
			if slices.ContainsFunc(p.Sent, func(s scope.Part) bool { return s.Type == h.Type }) {
				fresh = bits.AndNot(fresh, h.Set)
			}
		}
		if applied {
			gone = bits.AndNot(p.Removed, sent)
		}
	}
	out := without(d.Arrivals, gone)
	if fresh.IsEmpty() || p.At == 0 { // of a page from before times were kept
		return out
	}
	return with(out, Arrival{p.At, fresh})
}

// without takes records from the arrivals they came with. Where there are none
// of them it returns the list as it is.
func without(list []Arrival, gone bits.Set) []Arrival {
	if gone.IsEmpty() {
		return list
	}
	var out []Arrival
	for i, a := range list {
		if bits.Intersects(a.Set, gone) {
			if out == nil {
				out = append(make([]Arrival, 0, len(list)), list[:i]...)
			}
			if a.Set = bits.AndNot(a.Set, gone); a.Set.IsEmpty() {
				continue
			}
		}
		if out != nil {
			out = append(out, a)
		}
	}
	if out == nil {
		return list
	}
	return out
}

// with adds an arrival to a list that ascends by time. Where there are too many
// the two that lie closest together become one, of the earlier time: a time
// that is told is never later than the true one, and what lay far apart stays
// apart.
func with(list []Arrival, a Arrival) []Arrival {
	i, same := slices.BinarySearchFunc(list, a.At, func(x Arrival, at ident.Millis) int { return cmp.Compare(x.At, at) })
	if same {
		out := slices.Clone(list)
		out[i].Set = bits.Or(out[i].Set, a.Set)
		return out
	}
	out := slices.Insert(slices.Clone(list), i, a)
	if len(out) <= MaxArrivals {
		return out
	}
	near := 1
	for j := 2; j < len(out); j++ {
		if out[j].At-out[j-1].At < out[near].At-out[near-1].At {
			near = j
		}
	}
	out[near-1].Set = bits.Or(out[near-1].Set, out[near].Set)
	return slices.Delete(out, near, near+1)
}

// Since returns when the device first got one of the records without having
// given it up since, as far as it has or may have any; ok is false where it has
// none, or where it got them before times were kept. The time is never later
// than the true one, see Arrival and MaxArrivals.
func (d *Device) Since(of bits.Set) (at ident.Millis, ok bool) {
	for _, a := range d.Arrivals {
		if bits.Intersects(a.Set, of) {
			return a.At, true
		}
	}
	if p := d.Pending; p != nil {
		had := bits.Or(d.Held.All(), d.Unsure)
		if bits.Intersects(bits.AndNot(p.Sent.All(), had), of) {
			return p.At, true
		}
	}
	return 0, false
}
