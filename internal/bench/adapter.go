package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"satchel/internal/ident"
)

// What an adapter is asked to do.
const (
	doHello   = "hello"
	doPing    = "ping"
	doAreas   = "loadAreas"
	doPeople  = "loadPeople"
	doRecords = "loadRecords"
	doLoaded  = "loaded"
	doSignIn  = "signIn"
	doSync    = "sync"
	doLive    = "live"
	doClose   = "close"
	doWrite   = "write"
	doDelete  = "delete"
	doAssign  = "assign"
	doMemory  = "memory"
	doRestart = "restart"
	doEnd     = "end"
)

// Protocol says in short how an adapter is spoken with.
const Protocol = `The works for any server are done with another one by --peer COMMAND, a
program that runs that server and is its clients (an adapter). It reads a
request a line of JSON from its standard input and answers with a line on its
standard output, in any order, {"id":N,...} with what is said here, or
{"id":N,"error":"..."}, or {"id":N,"unsupported":"..."}:

  hello        version folder            version name [cannot perArea beside]
  loadAreas    rows {id name}
  loadPeople   rows {id name role areas}
  loadRecords  rows {id area name notes ...}, up to 16 requests at once
  loaded                                 (durable, indexed, serving)
  signIn       as person device          (a device has nothing yet)
  sync         as accept                 records [bytes]
  live         as                        (from then on news)
  write        as record notes           (survives a power cut)
  delete       as record
  assign       as person areas
  close        as
  memory                                 processes, or bytes
  restart  ping  end

News of a live client: {"as":"...","changed":N,"removed":N,"mark":"its notes"},
or {"as":"...","lost":"why"}. What the adapter can't do is "-" among the figures.
internal/bench/DESIGN.md has every message.`

// protocolVersion is that of the messages.
const protocolVersion = 1

// recordBytes is how long a record is in JSON, as it is given to an adapter.
const recordBytes = 316

// People's roles: a user sees the records of some areas, the manager sees and
// writes all, the administrator assigns areas.
const (
	roleUser    = "user"
	roleManager = "manager"
	roleAdmin   = "admin"
)

type areaRow struct {
	ID   ident.RecordID `json:"id"`
	Name string         `json:"name"`
}

type personRow struct {
	ID    ident.RecordID   `json:"id"`
	Name  string           `json:"name"`
	Role  string           `json:"role"`
	Areas []ident.RecordID `json:"areas,omitempty"`
}

// recordRow has about as much to say in every field as the server's own
// records.
type recordRow struct {
	ID      ident.RecordID `json:"id"`
	Area    ident.RecordID `json:"area"`
	Client  ident.RecordID `json:"client"`
	Name    string         `json:"name"`
	Serial  string         `json:"serial"`
	Notes   string         `json:"notes"`
	Created string         `json:"createdAt"`
	Updated string         `json:"updatedAt"`
	Filler  string         `json:"filler"`
}

// rowOf renders a record, filled up to recordBytes.
func rowOf(r record) recordRow {
	const at = "2026-01-31T08:00:00.000Z"
	row := recordRow{r.id, r.area, r.client, nameOf(r.n), serialOf(r.n), noteOf(r.n), at, at, ""}
	rest := recordBytes - len(`{"id":"","area":"","client":"","name":"","serial":"","notes":"","createdAt":"","updatedAt":"","filler":""}`)
	for _, s := range []string{string(r.id), string(r.area), string(r.client), row.Name, row.Serial, row.Notes, at, at} {
		rest -= len(s)
	}
	filler := string(key("filler %s", r.id))
	row.Filler = strings.Repeat(filler, max(rest, 0)/len(filler)+1)[:max(rest, 0)]
	return row
}

// markOf is the mark of a record with such notes.
func markOf(notes string) string {
	mark, _ := strings.CutPrefix(notes, markPrefix)
	return mark
}

// adapter is another server as a peer, by a program that runs it and is its
// clients.
type adapter struct {
	*lines
	is      traits
	name    string // of the server
	world   *world
	writers map[int]writer // that are signed in
	office  admin
}

// startAdapter starts an adapter and hears what it can do.
func startAdapter(ctx context.Context, cfg Config) (*adapter, error) {
	folder, err := filepath.Abs(filepath.Join(cfg.Folder, "peer"))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	l, err := startLines(cfg.Peer, cfg.PeerWait, cfg.Log)
	if err != nil {
		return nil, err
	}
	a := &adapter{lines: l, writers: map[int]writer{}}
	if err := a.hello(ctx, folder); err != nil {
		return nil, apart(err, a.close())
	}
	return a, nil
}

func (a *adapter) hello(ctx context.Context, folder string) error {
	m, err := a.call(ctx, ask{Do: doHello, Version: protocolVersion, Folder: folder})
	switch {
	case err != nil:
		return err
	case m.Version != protocolVersion:
		return fmt.Errorf("the adapter speaks version %d, not %d", m.Version, protocolVersion)
	case m.PerArea < 0:
		return fmt.Errorf("the adapter says that an area brings %d more records", m.PerArea)
	}
	for name := range m.Cannot {
		if !slices.ContainsFunc(works, func(w work) bool { return w.name == name && w.anywhere }) {
			return fmt.Errorf("the adapter can't do %q, which is no work", name)
		}
	}
	a.name, a.is = m.Name, traits{cannot: m.Cannot, perArea: m.PerArea, beside: m.Beside}
	return nil
}

func (a *adapter) traits() traits { return a.is }

// do asks for something that has no answer but that it was done.
func (a *adapter) do(ctx context.Context, q ask) error {
	_, err := a.call(ctx, q)
	return err
}

func (a *adapter) ping(ctx context.Context) error    { return a.do(ctx, ask{Do: doPing}) }
func (a *adapter) restart(ctx context.Context) error { return a.do(ctx, ask{Do: doRestart}) }

func (a *adapter) load(ctx context.Context, s shape) (*world, time.Duration, error) {
	w := plan(s)
	areas := []areaRow{{w.public.id, "Everywhere"}}
	for i := range w.areas {
		areas = append(areas, areaRow{w.areas[i].id, areaName(i)})
	}
	people := []personRow{{ID: managerID(), Name: "Max Manager", Role: roleManager}, {ID: adminID(), Name: "Ada Admin", Role: roleAdmin}}
	for u, id := range w.people {
		people = append(people, personRow{id, userName(u), roleUser, w.areasFor(u, true)})
	}
	for _, q := range []ask{{Do: doAreas, Rows: areas}, {Do: doPeople, Rows: people}} {
		if err := a.do(ctx, q); err != nil {
			return nil, 0, err
		}
	}
	records := slices.Collect(w.inOrder())
	began := time.Now()
	err := each(ctx, importsAtOnce, slices.Collect(slices.Chunk(records, rowsPerImport)), func(some []record) error {
		rows := make([]recordRow, len(some))
		for i, r := range some {
			rows[i] = rowOf(r)
		}
		return a.do(ctx, ask{Do: doRecords, Rows: rows})
	})
	if err != nil {
		return nil, 0, err
	}
	if err := a.do(ctx, ask{Do: doLoaded}); err != nil {
		return nil, 0, err
	}
	a.world = w
	return w, time.Since(began), nil
}

func (a *adapter) signIn(ctx context.Context, as string, person ident.RecordID, device bool) error {
	return a.do(ctx, ask{Do: doSignIn, As: as, Person: string(person), Device: &device})
}

func (a *adapter) reader(ctx context.Context, person, n int) (reader, error) {
	as, id := fmt.Sprintf("manager.%d", n), managerID()
	if person != managerNo {
		as, id = fmt.Sprintf("user-%d.%d", person, n), a.world.people[person]
	}
	return adapterClient{a, as}, a.signIn(ctx, as, id, true)
}

func (a *adapter) writer(ctx context.Context, n int) (writer, error) {
	if w, ok := a.writers[n]; ok {
		return w, nil
	}
	w := adapterClient{a, fmt.Sprintf("writer-%d", n)}
	if err := a.signIn(ctx, w.as, managerID(), false); err != nil {
		return nil, err
	}
	a.writers[n] = w
	return w, nil
}

func (a *adapter) admin(ctx context.Context) (admin, error) {
	if a.office != nil {
		return a.office, nil
	}
	w := adapterClient{a, roleAdmin}
	if err := a.signIn(ctx, w.as, adminID(), false); err != nil {
		return nil, err
	}
	a.office = w
	return w, nil
}

// memory is that of the processes which the adapter names, or what it says
// itself of a server that runs elsewhere.
func (a *adapter) memory(ctx context.Context) (memory, error) {
	q := ask{Do: doMemory}
	m, err := a.call(ctx, q)
	out := memory{inUse: m.InUse}
	switch {
	case err != nil:
		return out, err
	case m.Bytes != nil:
		out.anonymous = float64(*m.Bytes)
		return out, nil
	case len(m.Processes) == 0:
		return out, errors.New("memory: the answer has neither processes nor bytes")
	}
	for _, pid := range m.Processes {
		anonymous, err := statusOf(pid, "RssAnon:")
		if err != nil {
			return out, fmt.Errorf("memory of process %d: %w", pid, err)
		}
		out.anonymous += anonymous
	}
	return out, nil
}

// adapterClient is somebody who is signed in.
type adapterClient struct {
	a  *adapter
	as string
}

func (c adapterClient) sync(ctx context.Context, encoding string) (fetched, error) {
	m, err := c.a.call(ctx, ask{Do: doSync, As: c.as, Accept: &encoding})
	if err != nil {
		return fetched{}, err
	}
	if m.Records == nil {
		return fetched{}, errors.New("sync: the answer has no records")
	}
	out := fetched{records: *m.Records}
	if m.Bytes != nil {
		out.bytes = *m.Bytes
	}
	return out, nil
}

func (c adapterClient) follow(ctx context.Context, tell func(news)) error {
	c.a.listen(c.as, tell)
	return c.a.do(ctx, ask{Do: doLive, As: c.as})
}

func (c adapterClient) close(ctx context.Context) error {
	return c.a.do(ctx, ask{Do: doClose, As: c.as})
}

func (c adapterClient) write(ctx context.Context, id ident.RecordID, notes string) error {
	return c.a.do(ctx, ask{Do: doWrite, As: c.as, Record: string(id), Notes: notes})
}

func (c adapterClient) remove(ctx context.Context, id ident.RecordID) error {
	return c.a.do(ctx, ask{Do: doDelete, As: c.as, Record: string(id)})
}

func (c adapterClient) assign(ctx context.Context, user int, own bool) error {
	var areas []string
	for _, id := range c.a.world.areasFor(user, own) {
		areas = append(areas, string(id))
	}
	return c.a.do(ctx, ask{Do: doAssign, As: c.as, Person: string(c.a.world.people[user]), Areas: areas})
}
