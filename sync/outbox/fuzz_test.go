package outbox_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"satchel/internal/ident"
	"satchel/sync/outbox"
	"satchel/sync/store"
)

// rows is a bucket in memory.
type rows map[string][]byte

func (r rows) Get(_ store.Bucket, key []byte) []byte { return r[string(key)] }
func (r rows) Put(_ store.Bucket, k, v []byte)       { r[string(k)] = append([]byte{}, v...) }
func (r rows) Delete(_ store.Bucket, k []byte)       { delete(r, string(k)) }

// FuzzIntent: a stored row is an intent or none, and an intent that was read
// is stored as one that is read as the same, once, however often.
func FuzzIntent(f *testing.F) {
	id := outbox.NewID(1, [15]byte{1})
	good, err := json.Marshal(outbox.Intent{ID: id})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(id, good, int64(5))
	f.Add(id, []byte(`{"id":"x","notBefore":-1}`), int64(-1))
	f.Add("", []byte(`{}`), int64(0))
	f.Add("a\x00b", []byte(`null`), int64(1<<62))
	f.Fuzz(func(t *testing.T, id string, raw []byte, later int64) {
		in, ok := outbox.Read(rows{"i" + id: raw}, id)
		if !ok {
			return
		}
		kv := rows{}
		outbox.Put(kv, in)
		if in.ID == "" || len(in.ID) > 64 {
			return // a row that says so was never written by this program
		}
		back, ok := outbox.Read(kv, in.ID)
		a, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := json.Marshal(back); !ok || err != nil || !bytes.Equal(a, b) {
			t.Fatalf("%v %v\n%s\n%s", ok, err, a, b)
		}
		back.NotBefore = ident.Millis(later)
		outbox.Put(kv, back)
		if len(kv) != 2 {
			t.Fatalf("%d rows of one intent", len(kv))
		}
		outbox.Delete(kv, back)
		if len(kv) != 0 {
			t.Fatalf("%d rows of none", len(kv))
		}
	})
}
