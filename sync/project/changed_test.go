package project_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/sync/project"
	"satchel/sync/wire"
)

func decoded(t rapid.TB, b []byte) wire.Record {
	t.Helper()
	var r wire.Record
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return r
}

// TestChanged: the fields that changed since any earlier version, laid over that
// version or a later one, come to the record as it is, and the checksum says so;
// they tell nothing that the mask hides.
func TestChanged(t *testing.T) {
	partial, cleared := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		mask := entity.Mask(rapid.Uint64Range(0, 63).Draw(t, "mask")) &^ 1
		r := sample()
		var p project.Projector
		whole := func() wire.Record {
			b, _, err := p.AppendStored(nil, r.Append(nil), typ, mask, true)
			if err != nil {
				t.Fatal(err)
			}
			return decoded(t, b)
		}
		versions := []wire.Record{whole()} // as of position 2 on
		for i := range rapid.IntRange(1, 10).Draw(t, "writes") {
			for range rapid.IntRange(1, 2).Draw(t, "fields") {
				no := rapid.Uint8Range(1, 5).Draw(t, "field")
				v := entity.StringValue(fmt.Sprintf("a value of some length, the %d. <&>", i))
				switch {
				case rapid.IntRange(0, 3).Draw(t, "clear") == 0:
					v = nil
				case no == 2:
					v = entity.IntValue(int64(i) + 100)
				case no == 5:
					v = entity.BoolValue(i%2 == 0)
				}
				r.Put(no, v)
			}
			r.Seal(entity.Stamp{Pos: ident.Position(i + 3), At: ident.Millis(i), By: rapid.SampledFrom([]ident.RecordID{"emp-c", ""}).Draw(t, "by")})
			versions = append(versions, whole())
		}
		want := versions[len(versions)-1]
		for k := range versions {
			b, rev, err := p.AppendChanged(nil, r.Append(nil), typ, mask, true, ident.Position(k+3))
			if err != nil {
				t.Fatal(err)
			}
			told := decoded(t, b)
			if told.Rev != want.Rev || rev.String() != want.Rev || told.Type != want.Type || told.ID != want.ID || !told.Context {
				t.Fatalf("%s is not %v", b, want)
			}
			for name := range told.Fields {
				if f := typ.Field(name); f != nil && !mask.Has(f.No) {
					t.Fatalf("%s tells of %s", b, name)
				}
			}
			if told.Check == "" {
				if !sameFields(told.Fields, want.Fields) {
					t.Fatalf("%s is not whole", b)
				}
				continue
			}
			partial++
			for _, had := range versions[k:] {
				got := maps.Clone(had.Fields)
				for name, v := range told.Fields {
					if got[name] = v; string(v) == "null" {
						delete(got, name)
						cleared++
					}
				}
				if !sameFields(got, want.Fields) || wire.Check(got) != told.Check {
					t.Fatalf("%s over %v comes to %v with %s, not %v", b, had.Fields, got, wire.Check(got), want.Fields)
				}
			}
		}
	})
	if partial == 0 || cleared == 0 { // few are drawn with -short
		t.Errorf("%d records in part, %d fields cleared", partial, cleared)
	}
}

func sameFields(a, b map[string]json.RawMessage) bool {
	return maps.EqualFunc(a, b, func(x, y json.RawMessage) bool { return string(x) == string(y) })
}

// TestChangedGolden pins what devices check.
func TestChangedGolden(t *testing.T) {
	r := sample()
	r.Set("count", nil)
	r.Set("name", entity.StringValue("A name that takes its place"))
	r.Seal(entity.Stamp{Pos: 3, At: 1_700_000_002_000})
	r.Set("text", entity.StringValue("What has been said at length of the thing"))
	r.Seal(entity.Stamp{Pos: 4, At: 1_700_000_003_000})
	var p project.Projector
	b, _, err := p.AppendChanged(nil, r.Append(nil), typ, core, false, 4)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"type":"thing","id":"thing-0001","rev":"c51b0d56d0fbeef4","fields":{"text":"What has been said at length of the thing",` +
		`"updatedAt":"2023-11-14T22:13:23.000Z","updatedBy":null},"check":"b25e3a08"}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
	if got := wire.Check(nil); got != "00000000" {
		t.Errorf("of nothing %s", got)
	}
	// Of "a":1 and of "b":"x", as computed elsewhere.
	if got := wire.Check(map[string]json.RawMessage{"a": json.RawMessage("1"), "b": json.RawMessage(`"x"`)}); got != "7931848b" {
		t.Errorf("of two members %s", got)
	}
}
