package tenant_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/sync/apply"
	"satchel/sync/store"
)

// BenchmarkAlike is what a change costs that all live devices see: 100 people
// with five devices each, one record. A device is given its page and says
// nothing, as one does that has another under way.
func BenchmarkAlike(b *testing.B) {
	eng, err := store.OpenBolt(filepath.Join(b.TempDir(), "t.db"), store.Options{NoSync: true})
	if err != nil {
		b.Fatal(err)
	}
	w := small(b, eng)
	const people, each = 100, 5
	var phones []*phone
	for i := range people {
		who := ident.RecordID(fmt.Sprintf("emp-many-%03d", i))
		w.person(who, "service.manager")
		for n := range each {
			p := w.login(who, fmt.Sprint("i", n), fmt.Sprintf("s-%d-%d", i, n))
			p.sync("")
			phones = append(phones, p)
		}
	}
	w.load(sites(1000)...)
	for _, p := range phones {
		p.sync("")
	}
	pull := func(p *phone) {
		c := p.cmd()
		c.Pull = &command.Pull{Checkpoint: p.cp}
		e, err := w.ten.Pull(context.Background(), c, apply.ToldSmall)
		if err != nil {
			b.Error(err)
		}
		p.cp = e.Checkpoint
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		w.ok(title(fmt.Sprint("Boiler ", i)))
		var all sync.WaitGroup
		for _, p := range phones {
			all.Go(func() { pull(p) })
		}
		all.Wait()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(phones)), "µs/device")
}
