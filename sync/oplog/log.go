package oplog

import (
	"context"
	"errors"
	"fmt"

	"satchel/internal/ident"
	"satchel/sync/store"
)

// The limits of an entry, in bytes.
const (
	MaxEntryBytes    = 1 << 20   // of an encoded entry
	MaxCommandBytes  = 256 << 10 // of one command; larger content is staged elsewhere
	MaxProposerBytes = 64        // of a proposer's name
)

// Entry is one step of a tenant's history.
type Entry struct {
	Epoch    uint64         // of the log when the entry was made; never falls
	Pos      ident.Position // dense from 1
	Time     ident.Millis   // the proposer's clock
	Version  uint64         // what was in force, see [satchel/sync/apply.Machine.InForce]
	Proposer string         // one start of one server: its incarnation
	Number   uint64         // the proposer's own count, dense from 1
	Commands [][]byte       // what to apply, in order; opaque here; may be none
}

// Draft is an entry as a proposer hands it in: the log adds epoch and position.
type Draft struct {
	Time     ident.Millis
	Version  uint64
	Proposer string   // 1 to MaxProposerBytes bytes
	Number   uint64   // one more than the proposer's last, from 1
	Commands [][]byte // at most MaxCommandBytes each; the log's from now on
}

// Folder turns entries into state. The log calls it from one goroutine at a
// time, in order of positions. It must not change the entry's commands.
type Folder interface {
	// Fold makes the entry's changes inside the transaction that makes the
	// entry durable on this node. An error leaves neither entry nor changes.
	Fold(w store.Writer, e Entry) error
	// Committed is called after that commit and before any later Fold.
	Committed(e Entry)
	// Aborted is called when Fold erred or panicked, or the commit failed:
	// nothing of e is there, unless err is [store.ErrUnknown], when that is
	// known only after reopening.
	Aborted(e Entry, err error)
}

// Log is an ordered, durable sequence of entries, each folded on this node in
// the commit that makes it durable here.
type Log interface {
	// Append adds an entry and returns its position once it is folded and
	// durable here. It is called by one goroutine at a time. A draft whose
	// (Proposer, Number) the log has had is not added again: Append returns the
	// position it got then, or [ErrTruncated] when that can't be told any more.
	//
	// A draft that breaks a limit is refused with [ErrTooLarge] or [ErrDraft], a
	// number that leaves a gap with [ErrGap]; nothing was done then. After any
	// other error but ctx's and [store.ErrDiskFull], the log may be halted
	// ([ErrHalted]) and has to be reopened; appending the same draft again then
	// adds it exactly once in all.
	Append(ctx context.Context, d Draft) (ident.Position, error)
	// Entries calls fn for the entries at from and above that were there when
	// it was called, in order, until fn returns false or an error, which it
	// returns. From 0 is from the floor; from below the floor is
	// [ErrTruncated], also when the floor overtakes it. It may run beside
	// Append. The entries' commands are fn's own.
	Entries(from ident.Position, fn func(Entry) (bool, error)) error
	// Bounds returns the lowest position that is kept and the last one; floor
	// is last+1 when no entry is kept. A new log has floor 1, last 0.
	Bounds() (floor, last ident.Position)
	// Epoch returns the log's epoch, from 1. It changes when a log is restored
	// to an earlier point, so that two histories can't be taken for one.
	Epoch() uint64
	// Truncate deletes the entries below floor, at most last+1. A floor that
	// has been passed already is no error and changes nothing.
	Truncate(floor ident.Position) error
	// Close waits for the append under way and ends the log, not the engine.
	Close() error
}

// The errors of logs, for errors.Is.
var (
	ErrTooLarge  = errors.New("oplog: entry too large")
	ErrDraft     = errors.New("oplog: draft refused")
	ErrGap       = errors.New("oplog: a number of this proposer is missing")
	ErrTruncated = errors.New("oplog: below the log's floor")
	ErrEpoch     = errors.New("oplog: epoch mismatch")
	ErrCorrupt   = errors.New("oplog: log damaged")
	ErrHalted    = errors.New("oplog: halted")
	ErrClosed    = errors.New("oplog: closed")
)

// Options say how a log is opened.
type Options struct {
	// Epoch is the epoch that the log must have; 0 takes what is there. A new
	// log gets it, or 1.
	Epoch uint64
}

// checkDraft refuses what no log takes, before anything is done.
func checkDraft(d Draft) error {
	switch {
	case d.Proposer == "" || len(d.Proposer) > MaxProposerBytes:
		return fmt.Errorf("%w: a proposer's name has 1 to %d bytes, not %d", ErrDraft, MaxProposerBytes, len(d.Proposer))
	case d.Number == 0:
		return fmt.Errorf("%w: numbers begin at 1", ErrDraft)
	}
	for i, c := range d.Commands {
		if len(c) > MaxCommandBytes {
			return fmt.Errorf("%w: command %d has %d bytes, at most %d may be", ErrTooLarge, i, len(c), MaxCommandBytes)
		}
	}
	if n := Size(d); n > MaxEntryBytes {
		return fmt.Errorf("%w: up to %d bytes, at most %d may be", ErrTooLarge, n, MaxEntryBytes)
	}
	return nil
}
