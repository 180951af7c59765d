package apply_test

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"testing"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/server/suite"
	"satchel/sync/apply"
	"satchel/sync/state"
	"satchel/sync/store"
)

// BenchmarkFirst is what the first sync of 100,000 records is made of: the page
// worked out by the loop, its bytes, and the digests of all that the device has.
func BenchmarkFirst(b *testing.B) {
	eng, err := store.OpenBolt(filepath.Join(b.TempDir(), "t.db"), store.Options{NoSync: true})
	if err != nil {
		b.Fatal(err)
	}
	defer eng.Close()
	all, err := suite.Load()
	if err != nil {
		b.Fatal(err)
	}
	w := fieldOn(b, eng, all.Rules)
	const records = 100_000
	for from := 0; from < records; from += 1000 {
		var rs []command.Row
		for i := from; i < from+1000; i++ {
			h := sha256.Sum256(fmt.Append(nil, i))
			rs = append(rs, row("site", ident.NewRecordID([15]byte(h[:15])), "client", "client-one", "name", fmt.Sprintf("Site no. %d", i),
				"accessNotes", fmt.Sprintf("Level %d, by gate %d", i%9, i%31), "city", "Middle"))
		}
		w.load(rs...)
	}
	p := w.signIn("emp-mgr-1", "i1")
	first := w.ok(p.pulling(command.Pull{Limit: 10_000})).Page
	w.reader(func(rd *state.Reader) {
		b.Run("encode", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				body, err := first.Encode(rd, nil, apply.ToldNone)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(body)))
			}
		})
		b.Run("digest", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				apply.Digests(rd, first.Now)
			}
		})
	})
	b.Run("compute", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if page := w.ok(p.pulling(command.Pull{Limit: 10_000})).Page; len(page.Items) != len(first.Items) {
				b.Fatal("another page")
			}
		}
	})
}
