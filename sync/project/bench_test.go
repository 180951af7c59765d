package project_test

import (
	"fmt"
	"testing"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/sync/project"
)

// stored returns records of several fields that two people wrote, as bytes.
func stored(n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		r := &entity.Record{Type: wide, ID: ident.NewRecordID([15]byte{byte(i), byte(i >> 8), 3}), Ord: ident.Ordinal(i)}
		for no := range uint8(8) {
			r.Put(no+1, entity.StringValue(fmt.Sprintf("value %d of %d", no, i)))
		}
		r.Put(entity.NoCreatedAt, entity.TimeValue(1_700_000_000_000))
		r.Put(entity.NoCreatedBy, entity.StringValue("rabcdefghijklmnopqrstuvwx"))
		r.Seal(entity.Stamp{Pos: 1, At: 1_700_000_000_000 + ident.Millis(i), By: "rabcdefghijklmnopqrstuvwx"})
		if i%2 == 0 {
			r.Put(3, entity.StringValue("changed"))
			r.Seal(entity.Stamp{Pos: 2, At: 1_700_000_100_000 + ident.Millis(i), By: "rbbcdefghijklmnopqrstuvwx"})
		}
		out[i] = r.Append(nil)
	}
	return out
}

var wide = &entity.Type{
	No: 8, Name: "wideThing", Apps: []entity.App{entity.CRM}, Archivable: true,
	Fields: []*entity.Field{
		entity.Str(1, "name"), entity.Str(2, "serial"), entity.Str(3, "status"), entity.Str(4, "place"),
		entity.Str(5, "notes"), entity.Str(6, "maker"), entity.Str(7, "secret").In(entity.FacetBilling), entity.Str(8, "model"),
	},
}

var _ = func() *entity.Catalogue {
	c, err := entity.NewCatalogue(wide)
	if err != nil {
		panic(err)
	}
	return c
}()

// BenchmarkProject reads one record.
func BenchmarkProject(b *testing.B) {
	raws := stored(256)
	mask := wide.FacetMask(entity.Core)
	var p project.Projector
	run := func(name string, f func(raw []byte) error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := f(raws[i%len(raws)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	dst := make([]byte, 0, 4096)
	run("AppendStored", func(raw []byte) error { _, _, err := p.AppendStored(dst, raw, wide, mask, false); return err })
	run("RevOf", func(raw []byte) error { _, err := p.RevOf(raw, mask); return err })
	run("Glance", func(raw []byte) error { _, _, err := p.Glance(raw, mask); return err })
}
