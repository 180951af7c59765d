package client

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestDamagedRows: whatever a row of the store has become, no method panics, and
// those that need the row say that it is damaged.
func TestDamagedRows(t *testing.T) {
	short := [][]byte{{}, {0}, {0, 0, 0, 0, 0, 0, 1}, []byte("123456789")}
	places := map[string]struct {
		put   func(t tx, v []byte) error
		tells []string // methods that say so
	}{
		"count": {
			func(t tx, v []byte) error { return t.put(bucketCounts, []byte("job"), v) }, []string{"Types", "Verify", "Sync"},
		},
		"next number":     {func(t tx, v []byte) error { return t.put(bucketMeta, keyNext, v) }, []string{"Create", "Patch"}},
		"last problem":    {func(t tx, v []byte) error { return t.put(bucketMeta, keyProblemSeq, v) }, nil},
		"round":           {func(t tx, v []byte) error { return t.put(bucketMeta, keyRound, v) }, []string{"Sync"}},
		"create":          {func(t tx, v []byte) error { return t.put(bucketCreates, []byte("job1"), v) }, []string{"Patch"}},
		"edits":           {func(t tx, v []byte) error { return t.put(bucketTouched, v, nil) }, nil},
		"edits of a type": {func(t tx, v []byte) error { return t.put(bucketTouched, append(typePrefix("job"), v...), nil) }, []string{"List"}},
		"edits of a record": {func(t tx, v []byte) error {
			return t.put(bucketTouched, append(recordKey("job", "job1"), append([]byte{0}, v...)...), nil)
		}, []string{"Get", "List"}},
		"number of the sent": {func(t tx, v []byte) error { return t.put(bucketOutbox, v, []byte(`{}`)) }, []string{"Sync"}},
		"mutation":           {func(t tx, v []byte) error { return t.put(bucketOutbox, numberKey(1), v) }, []string{"Pending"}},
		"problem":            {func(t tx, v []byte) error { return t.put(bucketProblems, numberKey(1), v) }, []string{"Problems"}},
		"record":             {func(t tx, v []byte) error { return t.put(bucketRecords, recordKey("job", "job1"), v) }, []string{"Get", "List"}},
	}
	for name, place := range places {
		for _, row := range short {
			if name == "number of the sent" && len(row) == 0 {
				continue // no store has an empty key
			}
			if name == "record" && len(row) > 1 {
				continue // some other record
			}
			t.Run(fmt.Sprintf("%s %x", name, row), func(t *testing.T) {
				s := newFake()
				s.put("job", "job1", map[string]any{"i": 1})
				p, _, _ := signedIn(t, s)
				must(t, p.st.update(func(x tx) error { return place.put(x, row) }))
				s.put("job", "job2", map[string]any{"i": 2})
				said := methods(p)
				for _, m := range place.tells {
					if said[m] == nil || !strings.Contains(said[m].Error(), "damaged") {
						t.Errorf("%s: %v", m, said[m])
					}
				}
			})
		}
	}
}

// methods calls what reads and writes the store, and returns what each says.
func methods(p *Phone) map[string]error {
	out := map[string]error{}
	note := func(name string, err error) { out[name] = errors.Join(out[name], err) }
	_, err := p.Get("job", "job1")
	note("Get", err)
	_, err = p.List("job", nil)
	note("List", err)
	_, err = p.Types()
	note("Types", err)
	_, err = p.Pending()
	note("Pending", err)
	_, err = p.Problems()
	note("Problems", err)
	_, err = p.Conflicts()
	note("Conflicts", err)
	_, err = p.Status()
	note("Status", err)
	_, err = p.Verify(ctx)
	note("Verify", err)
	_, err = p.Sync(ctx)
	note("Sync", err)
	_, err = p.Create("job", map[string]any{"i": 3})
	note("Create", err)
	note("Patch", p.Patch("job", "job1", map[string]any{"i": 4}))
	note("Dismiss", p.Dismiss(1))
	note("Delete", p.Delete("job", "job1"))
	_, err = p.Sync(ctx)
	note("Sync", err)
	return out
}
