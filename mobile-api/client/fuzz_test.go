package client

import (
	"encoding/json"
	"errors"
	"testing"

	"satchel/sync/wire"
)

// FuzzStored: rows of a store that was damaged are refused with an error that
// says so, or read as what can be written again; no row takes the app down.
func FuzzStored(f *testing.F) {
	put := func(v any) []byte {
		b, err := json.Marshal(v)
		must(f, err)
		return b
	}
	f.Add(put(settings{Version: 3, Profile: "field"}), put(device{}), put(edit{}.Mutation), encodeRecord("rev", false, []byte(`{"record":"job-acme-1","mine":"1"}`)))
	f.Add([]byte(`{"version":-1}`), []byte(`[]`), []byte(`{"n":"x"}`), []byte{0, 1})
	f.Add([]byte(`null`), []byte(`{"pins":[null]}`), []byte(`{"fields":{"a":1}}`), []byte{2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{}, []byte{0xff}, []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, set, dev, mut, rec []byte) {
		mem := NewMemory()
		must(t, mem.update(func(t tx) error {
			return errors.Join(
				t.put(bucketMeta, keySettings, set), t.put(bucketMeta, keyDevice, dev), t.put(bucketOutbox, numberKey(1), mut),
				t.put(bucketCounts, []byte("job"), rec), t.put(bucketCreates, []byte("job-acme-1"), rec), t.put(bucketTouched, rec, nil),
				t.put(bucketTouched, append(typePrefix("job"), rec...), nil), t.put(bucketMeta, keyNext, rec), t.put(bucketProblems, numberKey(1), mut),
				t.put(bucketRecords, recordKey(typeConflict, "conflict-1"), rec), t.put(bucketRecords, recordKey("job", "job-acme-1"), rec),
			)
		}))
		must(t, mem.view(func(x tx) error {
			if s, err := readSettings(x); err == nil {
				again(t, s)
			}
			if d, err := readDevice(x); err == nil {
				again(t, d)
			}
			if e, ok, err := readEdit(x, 1); err == nil && ok {
				again(t, e.Mutation)
			}
			if c, ok, err := readConflict(x, "conflict-1"); err == nil && ok {
				again(t, c)
			}
			_, _ = summarize(x, "job") // an error is an answer
			if r, ok, err := overlay("job", "job-acme-1", rec, false, nil); err == nil && ok && (r.Type != "job" || r.ID != "job-acme-1") {
				t.Fatalf("%+v", r)
			}
			_, _, _ = getNumber(x, keySettings)
			_, _ = nextNumber(x)
			_, _ = count(x, "job")
			_, _ = summaries(x)
			_, _ = editsByID(x, "job", "")
			_, _ = editsByID(x, "job", "job-acme-1")
			_, _ = settledHere(x)
			_, _ = dependencies(x, &wire.Mutation{N: 2, ID: "job-acme-1"})
			return nil
		}))
	})
}

// again demands that what was read can be written and read as the same.
func again[T any](t *testing.T, v T) {
	t.Helper()
	a, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("%T that was read can't be written: %v", v, err)
	}
	var back T
	if err := json.Unmarshal(a, &back); err != nil {
		t.Fatalf("%T that was written can't be read: %v", v, err)
	}
	if b, err := json.Marshal(back); err != nil || string(a) != string(b) {
		t.Fatalf("%T: %s, then %s, %v", v, a, b, err)
	}
}
