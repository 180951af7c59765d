package command

import "satchel/internal/ident"

// Bundle names offline work that is kept together: the device that it came
// from and the number of the mutation that was refused first.
type Bundle struct {
	Device ident.DeviceID `json:"device"`
	Root   uint64         `json:"root"`
}

// Replay does a bundle of refused offline work after all, whole or not at all,
// in the actor's name and for its author.
type Replay struct {
	Bundle
	// Fields are corrections by number of the mutation: values that take the
	// place of what was typed, of fields or of an action's arguments. A field
	// that is corrected is written as it is, whatever it was changed from; null
	// for a name that is no field drops it.
	Fields map[uint64]Object `json:"fields,omitempty"`
	// Key is the Idempotency-Key with the hash of the request it came with.
	Key     string `json:"key,omitempty"`
	KeyHash []byte `json:"keyHash,omitempty"`
}

// Discard gives a bundle of refused offline work up.
type Discard struct {
	Bundle
	Reason string `json:"reason"`
}
