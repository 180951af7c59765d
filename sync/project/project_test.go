package project_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/sync/project"
)

var typ = &entity.Type{
	No: 7, Name: "thing", Apps: []entity.App{entity.CRM}, Archivable: true,
	Fields: []*entity.Field{
		entity.Str(1, "name"), entity.Integer(2, "count"), entity.Str(3, "secret").In(entity.FacetBilling),
		entity.Long(4, "text"), entity.Flag(5, "done"),
	},
}

// A type is indexed when it joins a catalogue.
var _ = func() *entity.Catalogue {
	c, err := entity.NewCatalogue(typ)
	if err != nil {
		panic(err)
	}
	return c
}()

var core, billing = typ.FacetMask(entity.Core), typ.FacetMask(entity.Core, entity.FacetBilling)

func sample() *entity.Record {
	r := &entity.Record{Type: typ, ID: "thing-0001", Ord: 1}
	r.Set("name", entity.StringValue(`A "B" <c>`))
	r.Set("count", entity.IntValue(3))
	r.Put(entity.NoCreatedAt, entity.TimeValue(1_700_000_000_000))
	r.Seal(entity.Stamp{Pos: 1, At: 1_700_000_000_000, By: "emp-a"})
	r.Set("secret", entity.StringValue("s"))
	r.Seal(entity.Stamp{Pos: 2, At: 1_700_000_001_000, By: "emp-b"})
	return r
}

func page(t *testing.T, r *entity.Record, m entity.Mask, context bool) string {
	t.Helper()
	var p project.Projector
	b, _, err := p.AppendStored([]byte("|"), r.Append(nil), typ, m, context)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestGolden pins the bytes that devices and digests rely on; a change of a
// rev makes every device heal.
func TestGolden(t *testing.T) {
	const name = `"name":"A \"B\" \u003cc\u003e"`
	for _, c := range []struct{ got, want string }{
		{page(t, sample(), core, false), `|{"type":"thing","id":"thing-0001","rev":"44732ea47fd28e64","fields":{` + name +
			`,"count":3,"createdAt":"2023-11-14T22:13:20.000Z","updatedAt":"2023-11-14T22:13:20.000Z","updatedBy":"emp-a"}}`},
		{page(t, sample(), billing, true), `|{"type":"thing","id":"thing-0001","rev":"3f6944c02203189c","context":true,"fields":{` + name +
			`,"count":3,"secret":"s","createdAt":"2023-11-14T22:13:20.000Z","updatedAt":"2023-11-14T22:13:21.000Z","updatedBy":"emp-b"}}`},
		{page(t, sample(), 1<<4, false), `|{"type":"thing","id":"thing-0001","rev":"b831d2a7ecf9934d","fields":{}}`},
	} {
		if c.got != c.want {
			t.Errorf("got  %s\nwant %s", c.got, c.want)
		}
	}
	var p project.Projector
	b, rev, err := p.AppendREST(nil, sample().Append(nil), "thing-0001", 1<<1, false)
	if want := `{"id":"thing-0001","rev":"` + rev.String() + `",` + name + `,"updatedAt":"2023-11-14T22:13:20.000Z","updatedBy":"emp-a"}`; err != nil || string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
	if b, rev, err = p.AppendREST(nil, sample().Append(nil), "thing-0001", 1<<4, false); err != nil || string(b) != `{"id":"thing-0001","rev":"`+rev.String()+`"}` {
		t.Errorf("got %s, %v", b, err)
	}
}

// TestHiddenWrites: whatever is written to fields outside a mask, what the
// mask shows stays the same to the byte; a write inside moves the rev.
func TestHiddenWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mask := entity.Mask(rapid.Uint64Range(0, 63).Draw(t, "mask")) &^ 1
		r := sample()
		var p project.Projector
		show := func() (string, project.Rev, int, ident.Position) {
			raw := r.Append(nil)
			b, _, err := p.AppendStored(nil, raw, typ, mask, false)
			if err != nil || !json.Valid(b) {
				t.Fatalf("%s: %v", b, err)
			}
			rev, err := p.RevOf(raw, mask)
			if err != nil || rev != project.RevOfRecord(r, mask) || string(p.ID()) != string(r.ID) {
				t.Fatalf("rev %s, of the record %s: %v", rev, project.RevOfRecord(r, mask), err)
			}
			size, at, err := p.Glance(raw, mask)
			if err != nil {
				t.Fatal(err)
			}
			return string(b), rev, size, at
		}
		body, rev, size, at := show()
		revs := map[project.Rev]bool{rev: true}
		for i := range rapid.IntRange(1, 12).Draw(t, "writes") {
			no := rapid.Uint8Range(1, 5).Draw(t, "field")
			v := entity.StringValue(fmt.Sprint(i))
			switch {
			case rapid.Bool().Draw(t, "clear"):
				v = nil
			case no == 2:
				v = entity.IntValue(int64(i) + 100)
			case no == 5:
				v = entity.BoolValue(i%2 == 0)
			}
			changed := r.Put(no, v)
			r.Seal(entity.Stamp{Pos: ident.Position(i + 3), At: ident.Millis(i), By: "emp-c"})
			b2, rev2, size2, at2 := show()
			if hidden := !changed || !mask.Has(no); hidden && (b2 != body || rev2 != rev || size2 != size || at2 != at) {
				t.Fatalf("a write to field %d shows through mask %b:\n%s\n%s", no, mask, body, b2)
			} else if !hidden && (revs[rev2] || at2 != ident.Position(i+3)) {
				t.Fatalf("a visible write left rev %s at %d", rev2, at2)
			}
			body, rev, size, at = b2, rev2, size2, at2
			revs[rev] = true
		}
	})
}

func FuzzProjector(f *testing.F) {
	f.Add(sample().Append(nil), uint64(billing))
	f.Fuzz(func(t *testing.T, raw []byte, mask uint64) {
		var p project.Projector
		m := entity.Mask(mask)
		b, _, err := p.AppendStored(nil, raw, typ, m, true)
		_, err2 := p.RevOf(raw, m)
		_, _, err3 := p.Glance(raw, m)
		if (err == nil) != (err2 == nil) || (err == nil) != (err3 == nil) {
			t.Fatalf("%v, %v, %v", err, err2, err3)
		}
		_ = b
	})
}

// TestRevTellsHistoriesApart: a server that was put back to a backup counts
// the same writes again, with other values at another time.
func TestRevTellsHistoriesApart(t *testing.T) {
	write := func(v string, at ident.Millis) string {
		r := sample()
		r.Set("name", entity.StringValue(v))
		r.Seal(entity.Stamp{Pos: 3, At: at, By: "emp-a"})
		return project.RevOfRecord(r, core).String()
	}
	if write("lost", 1_700_000_002_000) == write("kept", 1_700_000_009_000) {
		t.Error("two values of two histories have one rev")
	}
}

// TestInstants: times stand in pages as everywhere else, whatever the order they
// are read in.
func TestInstants(t *testing.T) {
	var p project.Projector
	r := sample()
	show := func(at ident.Millis) {
		r.Set("name", entity.StringValue(fmt.Sprint(at)))
		r.Seal(entity.Stamp{Pos: 9, At: at, By: "emp-a"})
		b, rev, err := p.AppendREST(nil, r.Append(nil), r.ID, 1<<1, false)
		if want := `"updatedAt":"` + at.RFC3339() + `","updatedBy":"emp-a"}`; err != nil || !strings.HasSuffix(string(b), want) {
			t.Fatalf("got %s, want %s, %v", b, want, err)
		}
		if want := project.RevOfRecord(r, 1<<1); rev != want {
			t.Fatalf("rev %s, want %s", rev, want)
		}
	}
	const day = 24 * 60 * 60 * 1000
	for _, at := range []ident.Millis{0, 1, -1, day - 1, day, -day, -day - 1, 1_709_164_799_999, 1_709_164_800_000, 253_402_300_799_999, 1 << 47, 1 << 48} {
		show(at)
	}
	rapid.Check(t, func(t *rapid.T) {
		show(ident.Millis(rapid.Int64Range(-1<<45, 1<<47).Draw(t, "at")))
	})
}

// plainRev is the rev as Rev describes it, byte by byte.
func plainRev(id string, cells ...[3]uint64) project.Rev {
	h := uint64(14695981039346656037)
	fold := func(v uint64, n int) {
		for range n {
			h = (h ^ v&0xff) * 1099511628211
			v >>= 8
		}
	}
	for i := range len(id) {
		fold(uint64(id[i]), 1)
	}
	for _, c := range cells {
		fold(c[0], 1)
		fold(c[1], 4)
		fold(c[2], 8)
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return project.Rev(h ^ h>>33)
}

// TestRevOfAnyCount: counts and instants of any size are folded byte by byte.
func TestRevOfAnyCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]uint64{1, 255, 256, 1 << 16, 1<<32 - 1})
		count := min(size.Draw(t, "count"), 1<<32-1)
		at := size.Draw(t, "at") * rapid.SampledFrom([]uint64{1, 1 << 15, 1 << 16, 1 << 31}).Draw(t, "times")
		r := &entity.Record{
			Type: typ, ID: "thing-0001", Stamps: []entity.Stamp{{Pos: 1, At: ident.Millis(at), By: "emp-a"}},
			Cells: []entity.Cell{{No: 1, Count: uint32(count), Value: entity.StringValue("a")}},
		}
		var p project.Projector
		got, err := p.RevOf(r.Append(nil), core)
		if want := plainRev("thing-0001", [3]uint64{1, count, at}); err != nil || got != want {
			t.Fatalf("count %d at %d: %s, want %s, %v", count, at, got, want, err)
		}
	})
}
