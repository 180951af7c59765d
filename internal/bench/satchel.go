package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"satchel/internal/ident"
)

// satchel is this server as a peer, whose clients are in this process.
type satchel struct{ b *bench }

func (s satchel) load(ctx context.Context, of shape) (*world, time.Duration, error) {
	w, took, err := s.b.buildAs(ctx, s.b.dir, of)
	if err != nil {
		return nil, 0, err
	}
	return w, took, s.b.restart(ctx)
}

// An area comes with its clients, and everybody has more than assets: names,
// areas, their own record and devices.
func (satchel) traits() traits { return traits{perArea: clientsPerArea, beside: true} }

func (s satchel) restart(ctx context.Context) error          { return s.b.restart(ctx) }
func (s satchel) memory(ctx context.Context) (memory, error) { return s.b.server.memory(ctx) }
func (s satchel) spent(ctx context.Context) (spent, error)   { return s.b.server.spent(ctx) }
func (s satchel) close() error                               { return s.b.stop() }

// account finds a device's sign-in: the users' own ones come first, then those
// that are fresh, one user after the other.
func (s satchel) account(person, n int) (*account, error) {
	w := s.b.world
	list, i := w.all, n
	switch {
	case person == managerNo:
	case n < len(w.phones[person]):
		list = w.phones[person]
	default:
		list, i = w.fresh, (n-len(w.phones[person]))*len(w.people)+person
	}
	if i >= len(list) {
		return nil, errors.New("no device is fresh any more")
	}
	return list[i], nil
}

func (s satchel) reader(_ context.Context, person, n int) (reader, error) {
	a, err := s.account(person, n)
	if err != nil {
		return nil, err
	}
	r := &satchelReader{b: s.b, limit: firstLimit}
	if person == managerNo {
		r.limit = fullLimit
	}
	r.access, err = s.b.http.token(a)
	return r, err
}

// satchelReader is a device that speaks with the server.
type satchelReader struct {
	b          *bench
	access     string
	limit      int
	checkpoint string
	p          *phone
}

func (r *satchelReader) sync(_ context.Context, encoding string) (fetched, error) {
	got, err := r.b.http.sync(r.access, encoding, r.limit)
	r.checkpoint = got.checkpoint
	return fetched{got.records, int64(got.wire)}, err
}

func (r *satchelReader) follow(ctx context.Context, tell func(news)) error {
	p, err := connect(ctx, r.b.server.address, r.access, r.checkpoint)
	if err != nil {
		return err
	}
	onPage := func(_ *phone, got page, at time.Time) {
		tell(news{at: at, changed: got.records, removed: got.removed, mark: got.mark})
	}
	onEnd := func(err error) { tell(news{at: time.Now(), lost: err}) }
	p.onPage.Store(&onPage)
	p.onEnd.Store(&onEnd)
	select {
	case <-p.done: // before it could be told
		onEnd(p.failed)
	default:
	}
	r.p = p
	return nil
}

func (r *satchelReader) close(context.Context) error {
	if r.p != nil {
		r.p.close()
		r.p = nil
	}
	return nil
}

func (s satchel) writer(_ context.Context, n int) (writer, error) {
	access, err := s.b.http.token(s.b.world.writers[n])
	return satchelWriter{s.b, access}, err
}

func (s satchel) admin(context.Context) (admin, error) {
	access, err := s.b.http.token(s.b.world.admin)
	return satchelWriter{s.b, access}, err
}

// satchelWriter is a sign-in without a device.
type satchelWriter struct {
	b      *bench
	access string
}

func (w satchelWriter) write(_ context.Context, id ident.RecordID, notes string) error {
	return w.b.http.send(http.MethodPatch, assetPath(id), w.access, fmt.Appendf(nil, `{"notes":"%s"}`, notes), nil)
}

func (w satchelWriter) remove(_ context.Context, id ident.RecordID) error {
	return w.b.http.send(http.MethodDelete, assetPath(id), w.access, nil, nil)
}

func (w satchelWriter) assign(_ context.Context, user int, own bool) error {
	body := []byte(`{"salesAreas":` + w.b.world.areasOf(user, own) + `}`)
	return w.b.http.send(http.MethodPatch, "/v1/admin/employees/"+string(w.b.world.people[user]), w.access, body, nil)
}
