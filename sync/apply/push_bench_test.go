package apply_test

import (
	"context"
	"fmt"
	"testing"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/sync/oplog"
	"satchel/sync/wire"
)

// BenchmarkPush applies pushes of 500 mutations each; ns/op is of one push.
func BenchmarkPush(b *testing.B) {
	for _, kind := range []string{"applied", "conflict", "refused", "depends"} {
		b.Run(kind, func(b *testing.B) {
			w := field(b)
			var rs []command.Row
			for i := range 500 {
				rs = append(rs, row("jobActivity", ident.RecordID(fmt.Sprintf("act-x-%06d", i)), "job", "job-one-1", "title", "Visit", "assignee", "emp-eng-1", "note", "n0"))
			}
			w.load(rs...)
			p := w.signIn("emp-eng-1", "i1")
			round := 0
			b.ReportAllocs()
			for b.Loop() {
				round++
				var ms []command.Mutation
				for i := range 500 {
					p.n++
					id := ident.RecordID(fmt.Sprintf("act-x-%06d", i))
					m := patch("jobActivity", id, obj("note", fmt.Sprint("n", round)), obj("note", fmt.Sprint("n", round-1)))
					switch kind {
					case "conflict":
						m.Was = obj("note", fmt.Sprint("other", round))
					case "refused":
						m.Fields, m.Was = obj("title", "x"), obj("noSuch", "y")
					case "depends":
						m = command.Mutation{Op: wire.OpCreate, Type: "timeEntry", ID: ident.RecordID(fmt.Sprintf("%s%06d", p.pre, p.n)), Fields: obj("activity", "act-one-1")}
						if i > 0 {
							m.Fields = obj("activity", string(ms[0].ID))
						}
					}
					m.N, m.Hash = p.n, fmt.Append(nil, p.n)
					ms = append(ms, m)
				}
				c := p.cmd()
				c.Push = &command.Push{Now: w.now, Acked: p.n - 500, Mutations: ms}
				c.Seed = fmt.Append(nil, p.n)
				raw, err := command.Encode(c)
				if err != nil {
					b.Fatal(err)
				}
				w.n++
				w.now++
				if _, err := w.log.Append(context.Background(), oplog.Draft{Time: w.now, Version: w.m.InForce(), Proposer: "p", Number: w.n, Commands: [][]byte{raw}}); err != nil {
					b.Fatal(err)
				}
				if w.res[0].Err != nil {
					b.Fatal(w.res[0].Err)
				}
			}
		})
	}
}
