package session

import (
	"fmt"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/server/session/sealed"
	"satchel/sync/apply"
	"satchel/sync/tenant"
)

// Rekey makes the command that gives a tenant another secret, with its second
// factors sealed by what derives from that. One that can't be opened, as no
// factor of this program's making is, is an error that names its owner.
func Rekey(v *tenant.View, secret [32]byte) (*command.Rekey, error) {
	from, to := factorBox(v), sealed.New(apply.DeriveFrom(secret[:], factorPurpose))
	out := &command.Rekey{Secret: secret[:]}
	var bad error
	apply.EachFactor(v.Reader, func(id ident.RecordID, f apply.Factor) {
		raw, ok := from.Open(f.Sealed, string(id))
		if !ok {
			bad = fmt.Errorf("session: the second factor of %s can't be opened", id)
			return
		}
		out.Factors = append(out.Factors, command.Resealed{Employee: id, Key: f.Key(), Sealed: to.Seal(raw, string(id))})
	})
	return out, bad
}

// factorPurpose is what the key that seals second factors derives for.
const factorPurpose = "second factor"
