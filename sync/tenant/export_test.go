package tenant

import "satchel/internal/ident"

// Unforeseen has no page computed before it is asked for until restored.
func Unforeseen() (restore func()) {
	for range cap(places) {
		places <- struct{}{}
	}
	return func() {
		for range cap(places) {
			<-places
		}
	}
}

// Foresees waits until the page that a device is presumed to ask for next is
// computed and encoded. It reports whether there is one.
func (t *Tenant) Foresees(id ident.DeviceID) bool {
	t.foresights.mu.Lock()
	x := t.foresights.of[id]
	t.foresights.mu.Unlock()
	if x == nil {
		return false
	}
	<-x.computed
	return x.page != nil && x.page.Body.Wait() == nil
}

// OfferedAtOnce is how many pages are worked out in one turn of the loop.
const OfferedAtOnce = offeredAtOnce
