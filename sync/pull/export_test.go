package pull

import (
	"satchel/sync/bits"
	"satchel/sync/state"
)

// Acknowledge is acknowledged, for benchmarks.
func Acknowledge(rd *state.Reader, d Device) Device {
	return d.acknowledged(func(no uint16) bits.Set { return rd.Index(state.TypeKey(no)) })
}
