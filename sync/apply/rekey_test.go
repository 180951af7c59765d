package apply_test

import (
	"bytes"
	"testing"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/sync/apply"
	"satchel/sync/state"
)

// TestRekey: a tenant's derived keys change with every sealed factor or not at
// all, and only for an operator; checkpoints stay good.
func TestRekey(t *testing.T) {
	w := field(t)
	const eve, rep = ident.RecordID("emp-eng-1"), ident.RecordID("emp-rep-1")
	enrol := func(who ident.RecordID, sealed string) {
		w.ok(&command.Command{Secret: &command.Secret{Employee: who, Hash: "h"}})
		w.ok(&command.Command{Actor: who, Factor: &command.Factor{Enrol: newFactor(sealed, 10, "r1")}})
	}
	enrol(eve, "one")
	derived := func() (k [32]byte) {
		w.reader(func(rd *state.Reader) { k = apply.DerivedKey(rd, "refresh") })
		return k
	}
	before := derived()
	secret := bytes.Repeat([]byte{7}, 32)
	one := command.Resealed{Employee: eve, Key: keyOf("one"), Sealed: []byte("one anew")}
	for name, c := range map[string]struct {
		cmd  *command.Command
		code fault.Code
	}{
		"by a person":            {&command.Command{Actor: eve, Rekey: &command.Rekey{Secret: secret, Factors: []command.Resealed{one}}}, fault.NotAllowed},
		"a short secret":         {&command.Command{Rekey: &command.Rekey{Secret: secret[:31], Factors: []command.Resealed{one}}}, fault.NotAllowed},
		"a factor left out":      {&command.Command{Rekey: &command.Rekey{Secret: secret}}, fault.WrongStatus},
		"a factor of another":    {&command.Command{Rekey: &command.Rekey{Secret: secret, Factors: []command.Resealed{one, {Employee: rep, Key: keyOf("two"), Sealed: []byte("x")}}}}, fault.WrongStatus},
		"a factor since changed": {&command.Command{Rekey: &command.Rekey{Secret: secret, Factors: []command.Resealed{{Employee: eve, Key: keyOf("two"), Sealed: []byte("x")}}}}, fault.WrongStatus},
		"an empty factor":        {&command.Command{Rekey: &command.Rekey{Secret: secret, Factors: []command.Resealed{{Employee: eve, Key: keyOf("one")}}}}, fault.WrongStatus},
	} {
		t.Run(name, func(*testing.T) { w.refused(c.code, c.cmd) })
	}
	if derived() != before {
		t.Fatal("a refusal changed the key")
	}
	w.ok(&command.Command{Rekey: &command.Rekey{Secret: secret, Factors: []command.Resealed{one}}})
	if got := derived(); got == before || got != apply.DeriveFrom(secret, "refresh") {
		t.Error("the key is not the new one")
	}
	w.reader(func(rd *state.Reader) {
		f, ok := apply.ReadFactor(rd, eve)
		if !ok || string(f.Sealed) != "one anew" || f.Step != 10 || len(f.Recovery) != 1 {
			t.Errorf("%+v", f)
		}
	})
	// Once more, with none left out.
	w.ok(&command.Command{Rekey: &command.Rekey{Secret: bytes.Repeat([]byte{8}, 32), Factors: []command.Resealed{{Employee: eve, Key: keyOf("one anew"), Sealed: []byte("third")}}}})
}
