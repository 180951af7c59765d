package syncapi

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/gorilla/websocket"

	"satchel/internal/command"
	. "satchel/internal/testworld" //nolint:revive // its names are people
	"satchel/server/ws/upgrade"
	"satchel/sync/wire"
)

// sparing is a device that pulls over HTTP, with preferences perhaps.
type sparing struct {
	t            *testing.T
	w            *World
	name         string
	prefer, used string // as it asks, and as it is answered
	cp           string
	held         map[string]wire.Record
	partial      int // records of which it got the changed fields
}

// pull takes one page; settings stand beside the checkpoint.
func (d *sparing) pull(settings map[string]any) *wire.Page {
	d.t.Helper()
	body := map[string]any{"checkpoint": d.cp}
	maps.Copy(body, settings)
	var headers []string
	if d.prefer != "" {
		headers = []string{"Prefer", d.prefer}
	}
	res := d.w.Send(d.w.DeviceToken(Manager, d.name), "POST", "/sync/v1/pull", body, headers...).Want(d.t, 200, "")
	if got := res.Header.Get("Preference-Applied"); got != d.used {
		d.t.Errorf("%s: %q is applied, want %q", d.name, got, d.used)
	}
	var pg wire.Page
	if err := json.Unmarshal(res.Body, &pg); err != nil {
		d.t.Fatal(err)
	}
	if pg.Reset && pg.ResetTypes == nil {
		clear(d.held)
	}
	for _, r := range pg.Removed {
		delete(d.held, r.Type+"/"+r.ID)
	}
	for _, r := range pg.Records {
		if r.Check != "" {
			d.partial++
		}
		ref := r.Type + "/" + r.ID
		d.held[ref] = laid(d.t, d.held[ref], r)
	}
	d.cp = pg.Checkpoint
	return &pg
}

// laid lays what a page says of a record over what a device has of it.
func laid(t *testing.T, was, r wire.Record) wire.Record {
	t.Helper()
	if r.Check == "" {
		return r
	}
	fields := maps.Clone(was.Fields)
	wire.Lay(fields, r.Fields)
	if got := wire.Check(fields); got != r.Check {
		t.Fatalf("%v over %v has the checksum %s", r, was, got)
	}
	r.Fields, r.Check = fields, ""
	return r
}

func types(pg *wire.Page) []string {
	if pg.Complete == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(pg.Complete.Types))
}

// TestChangedFields: a device that prefers it gets of what it holds the changed
// fields alone, over HTTP and on its socket, and the digests of what was touched;
// others get everything, and all have the same in the end.
func TestChangedFields(t *testing.T) {
	w := newLiveWorld(t, upgrade.Options{})
	device := func(name, prefer, used string) *sparing {
		return &sparing{t: t, w: w.World, name: name, prefer: prefer, used: used, held: map[string]wire.Record{}}
	}
	all := []*sparing{
		device("plain", "", ""), device("other", "fields=all, digests, handling=lenient", ""),
		device("changed", "respond-async, fields=changed", "fields=changed"), device("touched", `Digests="touched"; by=type`, "digests=touched"),
		device("both", "fields=changed, digests=touched", "fields=changed, digests=touched"),
	}
	plain, changed, touched, both := all[0], all[2], all[3], all[4]
	for _, d := range all {
		w.DeviceToken(Manager, d.name) // each sees the others' devices
	}
	ws, res, err := websocket.DefaultDialer.Dial("ws://"+w.addr+"/sync/v1/live", http.Header{
		"Authorization": {"Bearer " + w.DeviceToken(Manager, "socket")}, "Prefer": {"fields=changed"},
	})
	if err != nil {
		t.Fatal(err, res)
	}
	defer ws.Close()
	live := &liveDevice{Conn: ws, w: w}
	live.pull()
	if err := live.catchUp(); err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		first := d.pull(nil)
		if d.partial != 0 || len(types(first)) < 10 {
			t.Errorf("%s: the first page has %d records in part, digests of %v", d.name, d.partial, types(first))
		}
		want := len(types(first))
		if d == touched || d == both {
			want = 0
		}
		if pg := d.pull(nil); len(types(pg)) != want || len(pg.Records) != 0 {
			t.Errorf("%s: the acknowledgement is answered with digests of %v, and %d records", d.name, types(pg), len(pg.Records))
		}
	}
	same := func() {
		t.Helper()
		for _, d := range all[1:] {
			if !maps.EqualFunc(d.held, plain.held, func(a, b wire.Record) bool {
				return a.Rev == b.Rev && maps.EqualFunc(a.Fields, b.Fields, func(x, y json.RawMessage) bool { return string(x) == string(y) })
			}) {
				t.Errorf("%s has others than plain", d.name)
			}
		}
	}
	same()

	// One field; one that is cleared; one record that is new.
	w.Import(Row("client", Acme, "name", "Acme", "street", "Long Lane 17, by the river", "city", "Smalltown"))
	for _, d := range all {
		d.pull(nil)
		d.partial = 0
	}
	if err := live.page(); err != nil {
		t.Fatal(err)
	}
	live.acknowledge()
	w.Do(&command.Command{Actor: Manager, Session: w.Session(Manager), Write: &command.Write{
		Op: "patch", Type: "client", ID: Acme, Fields: command.Object{"city": json.RawMessage(`"Bigtown"`), "street": json.RawMessage("null")},
	}})
	for _, d := range all {
		pg := d.pull(nil)
		if len(pg.Records) != 1 {
			t.Fatalf("%s: %+v", d.name, pg.Records)
		}
		r := pg.Records[0]
		if part := d == changed || d == both; part != (r.Check != "") || part != (len(r.Fields) == 4) || part && string(r.Fields["street"]) != "null" {
			t.Errorf("%s: %+v", d.name, r)
		}
		if got := types(pg); (d == touched || d == both) != slices.Equal(got, []string{"client"}) {
			t.Errorf("%s: digests of %v", d.name, got)
		}
	}
	if err := live.page(); err != nil || len(live.last.Records) != 1 || live.last.Records[0].Check == "" {
		t.Errorf("on the socket: %v %+v", err, live.last.Records)
	}
	same()
	w.Import(Row("client", "client-new", "name", "New", "salesArea", "area-north", "city", "Smalltown"))
	for _, d := range all {
		if pg := d.pull(nil); len(pg.Records) != 1 || pg.Records[0].Check != "" {
			t.Errorf("%s: %+v", d.name, pg.Records)
		}
	}
	same()

	// A round of several pages tells of everything, whatever is preferred; a type
	// that is healed comes whole.
	w.Import(Row("client", Acme, "city", "Here"), Row("client", "client-new", "city", "There"))
	for _, d := range all {
		if pg := d.pull(map[string]any{"limit": 1}); !pg.More || pg.Complete != nil {
			t.Fatalf("%s: %+v", d.name, pg)
		}
		if pg := d.pull(map[string]any{"limit": 1}); pg.More || len(types(pg)) < 10 {
			t.Errorf("%s: the last page of the round has digests of %v", d.name, types(pg))
		}
	}
	same()
	for _, d := range all {
		d.pull(nil)
		d.partial = 0
		if pg := d.pull(map[string]any{"heal": []string{"client"}}); len(pg.Records) < 2 || d.partial != 0 {
			t.Errorf("%s: healed by %d records, %d of them in part", d.name, len(pg.Records), d.partial)
		}
	}
	same()
}
