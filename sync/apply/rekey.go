package apply

import (
	"bytes"
	"encoding/json"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/sync/state"
	"satchel/sync/store"
)

// metaDerived is the secret that keys derive from, in place of metaSecret, once
// it was changed. Checkpoints stay with metaSecret: with another, every device
// would be asked what it has.
const metaDerived = "derived"

// rekeyLength is the length of a secret that keys derive from, in bytes.
const rekeyLength = 32

// derivedSecret returns what keys derive from.
func derivedSecret(rd *state.Reader) []byte {
	if v := rd.KV().Get(store.Meta, []byte(metaDerived)); v != nil {
		return v
	}
	return rd.KV().Get(store.Meta, []byte(metaSecret))
}

// EachFactor calls f for every second factor of the tenant, in the order of
// their owners' ids.
func EachFactor(rd *state.Reader, f func(employee ident.RecordID, factor Factor)) {
	p := factorRow("")
	store.ScanPrefix(rd.KV(), store.Credentials, p, func(k, v []byte) bool {
		var x Factor
		if json.Unmarshal(v, &x) == nil {
			f(ident.RecordID(k[len(p):]), x)
		}
		return true
	})
}

// rekey changes what keys derive from, with all that was sealed by them or with
// nothing: a factor that was left behind could never be opened again.
func (r *run) rekey(c *command.Rekey) Result {
	if r.cmd.Actor != "" || len(c.Secret) != rekeyLength {
		return Result{Err: fault.New(fault.NotAllowed)}
	}
	fresh := make(map[ident.RecordID]*command.Resealed, len(c.Factors))
	for i := range c.Factors {
		fresh[c.Factors[i].Employee] = &c.Factors[i]
	}
	type change struct {
		employee ident.RecordID
		to       Factor
	}
	var changes []change
	whole := true
	EachFactor(&r.w.Reader, func(id ident.RecordID, f Factor) {
		x := fresh[id]
		if x == nil || len(x.Sealed) == 0 || !bytes.Equal(x.Key, f.Key()) {
			whole = false
			return
		}
		f.Sealed = x.Sealed
		changes = append(changes, change{id, f})
	})
	if !whole || len(changes) != len(c.Factors) {
		return Result{Err: fault.Newf(fault.WrongStatus, "Second factors have changed meanwhile. Try again.")}
	}
	for _, x := range changes {
		r.w.Put(store.Credentials, factorRow(x.employee), encode(x.to))
	}
	r.w.Put(store.Meta, []byte(metaDerived), c.Secret)
	return Result{}
}
