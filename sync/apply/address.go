package apply

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/subject"
)

// Where a device is sent push messages: its token. A token is one device's, and
// an installation of the program has one token, so that a message never reaches
// whoever uses the phone next: a device that signs in takes the token, and the
// installation, from any other that had them. A session that ends takes the
// device's token with it.
//
// Of the Devices bucket: 'a' SHA-256 of a token -> the device it is; 'h'
// installation -> the device that has a token on it. A device whose rows say
// another has no address, whatever token stands in it.
func tokenRow(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return append([]byte{'a'}, sum[:]...)
}

func addressee(installation string) []byte { return append([]byte{'h'}, installation...) }

// setToken gives a device a token, "" for none, and takes it from others. The
// caller stores the device.
func (r *run) setToken(d *Device, token string) {
	r.dropRows(d)
	d.PushToken = token
	r.eff.Addressed = append(r.eff.Addressed, d.ID)
	here := r.w.Get(store.Devices, addressee(d.Installation))
	if here != nil {
		r.takeToken(ident.DeviceID(here), d.ID)
	}
	if token == "" {
		return
	}
	if there := r.w.Get(store.Devices, tokenRow(token)); there != nil {
		r.takeToken(ident.DeviceID(there), d.ID)
	}
	r.w.Put(store.Devices, tokenRow(token), []byte(d.ID))
	r.w.Put(store.Devices, addressee(d.Installation), []byte(d.ID))
}

// takeToken leaves a device without an address, unless it is the one that asks.
func (r *run) takeToken(id, unless ident.DeviceID) {
	stored := r.loadDevice(id)
	if id == unless || stored == nil || stored.PushToken == "" || mutant.On(mutant.FormerUserTold) {
		return
	}
	d := *stored
	r.dropRows(&d)
	d.PushToken = ""
	r.storeDevice(&d)
	r.eff.Addressed = append(r.eff.Addressed, id)
}

// dropRows deletes the rows that lead to the device.
func (r *run) dropRows(d *Device) {
	rows := [][]byte{addressee(d.Installation)}
	if d.PushToken != "" {
		rows = append(rows, tokenRow(d.PushToken))
	}
	for _, row := range rows {
		if string(r.w.Get(store.Devices, row)) == string(d.ID) {
			r.w.Delete(store.Devices, row)
		}
	}
}

// address is a device's own word on where to send its pushes.
func (r *run) address(a *command.Address) Result {
	stored, err := r.own()
	if err != nil {
		return Result{Err: err}
	}
	if len(a.Token) > maxPushToken {
		return Result{Err: fault.Newf(fault.BadValue, "pushToken may have at most %d characters.", maxPushToken).OnField("pushToken")}
	}
	if a.Token != "" && !r.sub.Mobile {
		return Result{Err: fault.New(fault.MobileModuleRequired)}
	}
	if a.Token == stored.PushToken && (a.Token == "" || string(r.w.Get(store.Devices, tokenRow(a.Token))) == string(stored.ID)) {
		return Result{}
	}
	d := *stored
	r.setToken(&d, a.Token)
	r.storeDevice(&d)
	return Result{}
}

// deadToken forgets a token that the carrier no longer knows, if the device
// still has it.
func (r *run) deadToken(x command.DeadAddress) {
	stored := r.loadDevice(x.Device)
	if stored == nil || stored.PushToken == "" || !bytes.Equal(tokenRow(stored.PushToken)[1:], x.Token) {
		return
	}
	r.takeToken(x.Device, "")
}

// Address is where a device is sent push messages.
type Address struct {
	Device   ident.DeviceID
	Employee ident.RecordID
	Token    string
}

// Digest names the token without telling it.
func (a Address) Digest() []byte { return tokenRow(a.Token)[1:] }

// ReadAddress returns where a device is sent push messages; ok is false where
// it has no token, is another's by now, or its session is over by now.
func ReadAddress(rd *state.Reader, id ident.DeviceID, now ident.Millis) (a Address, ok bool) {
	v := rd.KV().Get(store.Devices, deviceKey(id))
	if v == nil {
		return a, false
	}
	var d Device
	if err := json.Unmarshal(v, &d); err != nil {
		panic(fmt.Errorf("%w: device %s: %w", state.ErrDamaged, id, err))
	}
	if d.PushToken == "" || ((string(rd.KV().Get(store.Devices, tokenRow(d.PushToken))) != string(id) ||
		string(rd.KV().Get(store.Devices, addressee(d.Installation))) != string(id)) && !mutant.On(mutant.FormerUserTold)) {
		return a, false
	}
	if s, ok := ReadSession(rd, d.Session); !ok || s.Ended(now) || s.Device != id {
		return a, false
	}
	if rec, ok := rd.Load(id); !ok || rec.StatusText() != deviceActive {
		return a, false
	}
	return Address{id, d.Employee, d.PushToken}, true
}

// Addresses returns where a person's devices are sent push messages, in a
// fixed order.
func Addresses(rd *state.Reader, employee ident.RecordID, now ident.Millis) []Address {
	var out []Address
	t := rd.Cat.Type(subject.Device)
	for o := range rd.Referring(t, t.Field("employee").No, employee).All() {
		_, id := rd.Name(o)
		if a, ok := ReadAddress(rd, id, now); ok {
			out = append(out, a)
		}
	}
	return out
}

// EachAddressed calls f with every device that has a token.
func EachAddressed(rd *state.Reader, f func(ident.DeviceID) bool) {
	store.ScanPrefix(rd.KV(), store.Devices, []byte{'a'}, func(_, v []byte) bool { return f(ident.DeviceID(v)) })
}
