package apply

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Version is the apply version: it changes whenever the same entry would
// lead to another state by the same record types and roles.
const Version = 7

// InForce names what decides which state an entry leads to: the apply version
// and a hash of the record types, the roles and the field profile. It stands in
// every entry and, as of the last one, in the state, so that it changes by a log
// entry: a server that is built otherwise refuses to apply the entry rather than
// part from the others unnoticed.
func (m *Machine) InForce() uint64 { return m.inForce }

// hashBits are how many bits of what is in force are the hash; the version
// stands above them. Entries from before there was a hash have the version alone.
const hashBits = 48

func inForce(cfg Config) uint64 {
	var b bytes.Buffer
	roles := cfg.Roles.Hash()
	b.Write(roles[:])
	for _, s := range cfg.Field {
		fmt.Fprintf(&b, "%s %s %t\n", s.Type.Name, s.Scope, s.First)
	}
	sum := sha256.Sum256(b.Bytes())
	return Version<<hashBits | binary.BigEndian.Uint64(sum[:])>>(64-hashBits)
}

// force is what is in force, in words.
func force(v uint64) string {
	if v>>hashBits == 0 {
		return fmt.Sprintf("apply version %d", v)
	}
	return fmt.Sprintf("apply version %d with types and roles %012x", v>>hashBits, v&(1<<hashBits-1))
}
