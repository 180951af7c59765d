package apply_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/server/suite"
	"satchel/sync/oplog"
	"satchel/sync/store"
)

// BenchmarkPatches folds entries of small patches of activities; ns/op is of
// one patch.
func BenchmarkPatches(b *testing.B) {
	for _, engine := range []string{"mem", "bolt"} {
		for _, batch := range []int{1, 16, 64, 256} {
			b.Run(fmt.Sprintf("%s/%d", engine, batch), func(b *testing.B) {
				var eng store.Engine = store.NewMem()
				if engine == "bolt" {
					e, err := store.OpenBolt(filepath.Join(b.TempDir(), "t.db"), store.Options{})
					if err != nil {
						b.Fatal(err)
					}
					defer e.Close()
					eng = e
				}
				all, err := suite.Load()
				if err != nil {
					b.Fatal(err)
				}
				w := fieldOn(b, eng, all.Rules)
				const records = 2000
				for from := 0; from < records; from += 200 {
					var rs []command.Row
					for i := range 200 {
						rs = append(rs, row("jobActivity", ident.RecordID(fmt.Sprintf("act-x-%06d", from+i)), "job", "job-one-1", "title", "Visit", "assignee", "emp-eng-1"))
					}
					w.load(rs...)
				}
				var cmds [][]byte
				n := 0
				b.ReportAllocs()
				for b.Loop() {
					raw, err := command.Encode(&command.Command{Actor: "emp-mgr-1", Seed: []byte("seed"), Write: &command.Write{
						Op: "patch", Type: "jobActivity", ID: ident.RecordID(fmt.Sprintf("act-x-%06d", n%records)), Fields: obj("note", fmt.Sprint(n)),
					}})
					if err != nil {
						b.Fatal(err)
					}
					n++
					if cmds = append(cmds, raw); len(cmds) < batch {
						continue
					}
					w.n++
					w.now++
					if _, err := w.log.Append(context.Background(), oplog.Draft{Time: w.now, Version: w.m.InForce(), Proposer: "p", Number: w.n, Commands: cmds}); err != nil {
						b.Fatal(err)
					}
					for _, r := range w.res {
						if r.Err != nil {
							b.Fatal(r.Err)
						}
					}
					cmds = cmds[:0]
				}
			})
		}
	}
}

// BenchmarkPull takes one change to an office device that holds the records,
// and finds out that there is nothing more.
func BenchmarkPull(b *testing.B) {
	for _, records := range []int{1000, 100_000} {
		w := field(b)
		for from := 0; from < records; from += 1000 {
			var rs []command.Row
			for i := range 1000 {
				rs = append(rs, row("site", ident.RecordID(fmt.Sprintf("site-%07d", from+i)), "client", "client-one", "name", "Site"))
			}
			w.load(rs...)
		}
		p := w.signIn("emp-mgr-1", "i1")
		for r := w.do(p.pulling(command.Pull{Limit: 10_000})); ; r = w.do(p.pulling(command.Pull{Limit: 10_000})) {
			if r.Err != nil {
				b.Fatal(r.Err)
			}
			p.cp = r.Page.Checkpoint
			if r.Page.Empty() {
				break
			}
		}
		b.Run(fmt.Sprintf("update/%d", records), func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n++
				w.ok(write("emp-mgr-1", command.Write{Op: "patch", Type: "site", ID: "site-0000007", Fields: obj("name", fmt.Sprint(n))}))
				p.cp = w.ok(p.pulling(command.Pull{})).Page.Checkpoint
			}
		})
		b.Run(fmt.Sprintf("arrival/%d", records), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w.ok(write("emp-mgr-1", command.Write{Op: "create", Type: "site", Fields: obj("client", "client-one", "name", "x")}))
				p.cp = w.ok(p.pulling(command.Pull{})).Page.Checkpoint
			}
		})
		b.Run(fmt.Sprintf("idle/%d", records), func(b *testing.B) {
			b.ReportAllocs()
			p.cp = w.ok(p.pulling(command.Pull{})).Page.Checkpoint
			snap, err := w.eng.Snapshot()
			if err != nil {
				b.Fatal(err)
			}
			defer snap.Close()
			w.m.Rest(snap)
			defer w.m.Leave()
			for b.Loop() {
				if _, done := w.m.Peek(p.pulling(command.Pull{})); !done {
					b.Fatal("not idle")
				}
			}
		})
	}
}
