package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"satchel/internal/ident"
)

// peer is a server under measurement, with everybody who uses it. satchel is
// one, adapter stands for every other. The works know servers by this alone,
// where they are done with any (work.anywhere), and take the times themselves.
type peer interface {
	// load fills an empty server with a tenant and serves it. It returns what is
	// in the tenant and how long the records took.
	load(ctx context.Context, s shape) (*world, time.Duration, error)
	traits() traits
	// reader signs a person in on their nth device. A device that was closed
	// comes back as if it were new.
	reader(ctx context.Context, person, n int) (reader, error)
	// writer signs the manager in for the nth of the writers; again is cheap.
	writer(ctx context.Context, n int) (writer, error)
	// admin signs the administrator in; again is cheap.
	admin(ctx context.Context) (admin, error)
	// restart ends the server and starts it anew; every live client is gone then.
	restart(ctx context.Context) error
	// memory collects garbage and then looks at the server.
	memory(ctx context.Context) (memory, error)
	// close ends the server. Live clients end with it.
	close() error
}

// managerNo is the number of the person who sees and writes everything, where
// the others are the users'.
const managerNo = -1

// traits are what a work has to know of a server.
type traits struct {
	// cannot has the works that the server can't do, and why.
	cannot map[string]string
	// perArea is how many records come and go with an area beside those of the
	// plan.
	perArea int
	// beside: a first sync brings more than the records of the plan.
	beside bool
}

// reader is a person's device.
type reader interface {
	// sync pulls on a device that has nothing, until it knows that it has
	// everything.
	sync(ctx context.Context, encoding string) (fetched, error)
	// follow makes the device live and up to date. From then on each change is
	// told in its turn; what comes last, unless the device is closed, is lost.
	follow(ctx context.Context, tell func(news)) error
	close(ctx context.Context) error
}

// fetched is what a first sync brought.
type fetched struct {
	records int
	bytes   int64 // of bodies as sent, 0 where the client can't know
}

// news is what a live client found in one message of the server.
type news struct {
	at time.Time
	// changed counts the records that came, new to the client or not, removed
	// those that left.
	changed, removed int
	mark             string // of the first record that came and has one
	lost             error  // why nothing comes any more
}

// writer changes records, one after the other. What was answered survives a
// power cut.
type writer interface {
	write(ctx context.Context, id ident.RecordID, notes string) error
	remove(ctx context.Context, id ident.RecordID) error
}

// admin changes rights.
type admin interface {
	// assign lets a user see the records of the own area and the public ones, or
	// of the public one alone.
	assign(ctx context.Context, user int, own bool) error
}

// meter is a peer whose own figures of what it did can be read.
type meter interface {
	spent(ctx context.Context) (spent, error)
}

// pinger is a peer between which and the works something stands that takes
// time of its own.
type pinger interface {
	ping(ctx context.Context) error
}

// unsupportedError is the answer of a peer that can't do something. The work
// is left out and said to be, which is no failure.
type unsupportedError struct{ why string }

func (e *unsupportedError) Error() string { return "unsupported: " + e.why }

// unsupported returns why a peer could not do something, where err says that.
func unsupported(err error) (why string, yes bool) {
	var e *unsupportedError
	if errors.As(err, &e) {
		return e.why, true
	}
	return "", false
}

// missing reports a figure that a peer can't give.
func (b *bench) missing(name, why string) { b.Report(Line{Name: name, Unsupported: why}) }

// complete reports whether a device that should have so many records has them.
func (b *bench) complete(got, want int) error {
	if got < want || got > want && !b.peer.traits().beside {
		return fmt.Errorf("%d records came, %d should", got, want)
	}
	return nil
}

// pings is how many empty requests pipe is made of.
const pings = 1000

// pipe measures what stands between the works and a peer.
func (b *bench) pipe(ctx context.Context) error {
	p, ok := b.peer.(pinger)
	if !ok {
		return nil
	}
	var took []float64
	for range pings {
		sent := time.Now()
		if err := p.ping(ctx); err != nil {
			return err
		}
		took = append(took, ms(time.Since(sent)))
	}
	b.many("pipe", "ms", took)
	return nil
}
