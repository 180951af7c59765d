package apply_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/sync/state"
	"satchel/sync/store"
)

// charged are the lines of a document.
var charged = json.RawMessage(`[{"id":"1","text":"work","quantity":1,"unitPrice":{"amount":100,"currency":"EUR"}}]`)

// paper is a document that bears a number.
func paper(typ string, id ident.RecordID, kv ...string) command.Row {
	given := map[string][]string{
		"contract":      {"client", "client-one", "title", "Care", "kind", "other", "starts", "2026-01-01", "interval", "once"},
		"creditNote":    {"client", "client-one", "invoice", "invoice-first"},
		"invoice":       {"client", "client-one"},
		"salesOrder":    {"client", "client-one"},
		"purchaseOrder": {"supplier", "supplier-one"},
	}[typ]
	r := row(typ, id, append(given, kv...)...)
	if typ == "invoice" {
		r.Fields["lines"] = charged
	}
	return r
}

// papers are the types of documents that bear numbers.
var papers = []string{"invoice", "creditNote", "contract", "salesOrder", "purchaseOrder"}

// booked is a tenant with people who write such documents.
func booked(t *testing.T) *world {
	w := field(t)
	w.load(person("emp-bill-1", "billing.administrator", "stock.administrator")...)
	w.load(person("emp-bill-2", "billing.administrator", "stock.administrator")...)
	w.load(
		row("clientVisibility", "vis-bill-2", "employee", "emp-bill-2", "mode", "all-but"),
		row("visibilityRule", "rule-bill-2", "visibility", "vis-bill-2", "client", "client-one"),
		row("supplier", "supplier-one", "name", "Parts"),
		paper("invoice", "invoice-first", "number", "FIRST", "status", "Approved"),
	)
	return w
}

// TestNumbersAreBorneOnce: two documents of a type don't bear the same number,
// typed or brought in, whatever its case.
func TestNumbersAreBorneOnce(t *testing.T) {
	w := booked(t)
	for i, typ := range papers {
		make := func(actor ident.RecordID, number string) *command.Command {
			return write(actor, command.Write{Op: "create", Type: typ, Fields: paper(typ, "", "number", number).Fields})
		}
		w.ok(make("emp-bill-1", "A-7"))
		w.refused(fault.Duplicate, make("emp-bill-1", "a-7"))
		other := w.ok(make("emp-bill-1", "A-8"))
		w.refused(fault.Duplicate, write("emp-bill-1", command.Write{Op: "patch", Type: typ, ID: other.ID, Fields: obj("number", "A-7")}))
		res := w.ok(rows(paper(typ, ident.RecordID(fmt.Sprintf("paper-old-%d", i)), "number", "A-7")))
		if len(res.Count.Rejected) != 1 || !fault.Is(res.Count.Rejected[0].Err, fault.Duplicate) {
			t.Errorf("%s brought in: %+v", typ, res.Count)
		}
	}
	// To whom the client of the one that bears it is hidden, its number is free:
	// a refusal would tell of it.
	for _, typ := range []string{"invoice", "salesOrder"} {
		w.ok(write("emp-bill-2", command.Write{Op: "create", Type: typ, Fields: ofClient(paper(typ, "", "number", "A-7"), "client-two").Fields}))
	}
	w.verified()
}

// TestSeriesLeavesOutNumbersInUse: what was brought in with numbers of the
// series never bears the same number as what is numbered later, though whoever
// approves that does not see it.
func TestSeriesLeavesOutNumbersInUse(t *testing.T) {
	w := booked(t)
	w.load(
		paper("invoice", "invoice-old-1", "number", "INV-000001", "status", "Sent"),
		paper("invoice", "invoice-old-2", "number", "inv-000002", "status", "Sent"),
		paper("invoice", "invoice-old-4", "number", "INV-000004", "status", "Draft"),
	)
	for i, want := range []string{"INV-000003", "INV-000005"} {
		id := ident.RecordID(fmt.Sprintf("invoice-new-%d", i))
		w.load(ofClient(paper("invoice", id), "client-two"))
		w.ok(write("emp-bill-2", command.Write{Op: "action", Type: "invoice", ID: id, Action: "approve"}))
		if got := w.value(id, "number"); got != want {
			t.Errorf("%s bears %s, want %s", id, got, want)
		}
	}
	w.verified()
}

// ofClient gives a document to another client.
func ofClient(r command.Row, client string) command.Row {
	r.Fields["client"] = obj("client", client)["client"]
	return r
}

// TestNumbersOfEarlierVersions: a store in which the numbers of documents were
// not indexed gets them indexed by its first entry, and forgets those of a
// field that is unique no more; until then nothing of it is wrong.
func TestNumbersOfEarlierVersions(t *testing.T) {
	w := booked(t)
	typ := w.cat.Type("invoice")
	note := w.cat.Type("ticket") // its number was unique, say
	var names []byte
	w.reader(func(rd *state.Reader) { names = bytes.Clone(rd.KV().Get(store.Meta, []byte("names"))) })
	key := func(no uint16, field uint8) []byte { return []byte{byte(no >> 8), byte(no), field} }
	at := bytes.Index(names, key(typ.No, typ.Field("number").No))
	if at < 0 || at%3 != 0 {
		t.Fatalf("the index of names does not say what it has: %x", names)
	}
	stale := append(key(note.No, note.Field("number").No), "x\x00\x00\x00\x00\x01"...)
	err := w.eng.Update(func(tx store.Writer) error {
		var rows [][]byte
		store.ScanPrefix(tx, store.Names, names[at:at+3], func(k, _ []byte) bool {
			rows = append(rows, bytes.Clone(k))
			return true
		})
		for _, k := range rows {
			if err := tx.Delete(store.Names, k); err != nil {
				return err
			}
		}
		less := append(bytes.Clone(names[:at]), names[at+3:]...)
		if err := tx.Put(store.Names, stale, nil); err != nil {
			return err
		}
		return tx.Put(store.Meta, []byte("names"), append(less, stale[:3]...))
	})
	if err != nil {
		t.Fatal(err)
	}
	w = worldAgain(t, w)
	w.verified()
	w.refused(fault.Duplicate, write("emp-bill-1", command.Write{Op: "create", Type: "invoice", Fields: paper("invoice", "", "number", "first").Fields}))
	w.ok(&command.Command{Tick: &command.Tick{}})
	w.verified()
	w.reader(func(rd *state.Reader) {
		if got := rd.KV().Get(store.Meta, []byte("names")); !bytes.Equal(got, names) {
			t.Errorf("it says %x, want %x", got, names)
		}
		if rd.KV().Get(store.Names, stale) != nil {
			t.Error("a name of a field that has none is left")
		}
	})
}
