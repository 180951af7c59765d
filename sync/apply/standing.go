package apply

import (
	"satchel/internal/ident"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/subject"
)

// standing is what was found of sessions and devices in the committed state, for
// the many pulls that are answered from it without an entry: no entry since has
// written to what it was read from. Whether a session has run out is judged
// each time. Entries read for themselves.
type standing struct {
	writes   uint64 // to sessions
	sessions map[ident.SessionID]Session
	devices  map[ident.DeviceID]struct{} // that are there and not revoked
	// pages are the tokens that were last found to be a device's own. What vouches
	// for them is the tenant's secret, with which all of this is forgotten, and the
	// epoch.
	epoch uint64
	pages map[ident.DeviceID]pageToken
}

// pageToken is a page's checkpoint and its number.
type pageToken struct {
	token  string
	number uint64
}

func (k *standing) forget() { k.sessions, k.devices, k.pages = nil, nil, nil }

// page returns the number of the page whose token is known to be the device's.
func (k *standing) page(epoch uint64, d ident.DeviceID, token string) (n uint64, ok bool) {
	if k.epoch != epoch {
		return 0, false
	}
	p := k.pages[d]
	return p.number, p.number != 0 && p.token == token
}

func (k *standing) notePage(epoch uint64, d ident.DeviceID, token string, n uint64) {
	if k.epoch != epoch || k.pages == nil || len(k.pages) >= maxRemembered {
		k.epoch, k.pages = epoch, map[ident.DeviceID]pageToken{}
	}
	k.pages[d] = pageToken{token, n}
}

// after forgets what an entry may have changed.
func (k *standing) after(writes uint64, touched []state.Touch) {
	if k.writes != writes {
		k.writes, k.sessions = writes, nil
	}
	if k.devices == nil {
		return
	}
	for _, x := range touched {
		if x.Type.Name == subject.Device {
			k.devices = nil
			return
		}
	}
}

func (k *standing) good(id ident.DeviceID) bool {
	_, ok := k.devices[id]
	return ok
}

func (k *standing) noteDevice(id ident.DeviceID) {
	if k.devices == nil || len(k.devices) >= maxRemembered {
		k.devices = map[ident.DeviceID]struct{}{}
	}
	k.devices[id] = struct{}{}
}

// session reads the session of who asks.
func (r *run) session(id ident.SessionID) (Session, bool) {
	if !r.brief {
		return r.sessions.Read(&r.w.Reader, id)
	}
	k := &r.standing
	// A pull that turns out to need an entry may have written meanwhile.
	if s, ok := k.sessions[id]; ok && k.writes == r.w.Writes(store.Sessions) {
		return s, true
	}
	s, ok := r.sessions.Read(&r.w.Reader, id)
	if ok && k.writes == r.w.Writes(store.Sessions) {
		if k.sessions == nil || len(k.sessions) >= maxRemembered {
			k.sessions = map[ident.SessionID]Session{}
		}
		k.sessions[id] = s
	}
	return s, ok
}
