package courier

import (
	"context"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/sync/state"
)

// Die sends what is due and ends before it is reported, as a crash does.
func (c *Courier) Die(ctx context.Context) {
	c.launch(ctx)
	c.sending.Wait()
}

// Quiet and DigestAfter are what an employee's wishes come to.
func Quiet(rd *state.Reader, employee *entity.Record, at ident.Millis) (ident.Millis, bool) {
	return readWishes(rd, employee).quiet(at)
}

// DigestAfter is when the first digest after the instant goes out.
func DigestAfter(rd *state.Reader, employee *entity.Record, at ident.Millis) ident.Millis {
	return readWishes(rd, employee).digestAfter(at)
}
