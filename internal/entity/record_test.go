package entity

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"satchel/internal/fault"
	"satchel/internal/ident"
)

// sample returns a catalogue of its own, since types are indexed in place.
func sample(t testing.TB) *Catalogue {
	t.Helper()
	c, err := NewCatalogue(
		&Type{
			No: 1, Name: "client", Apps: []App{CRM}, IsClient: true, Archivable: true,
			Aliases: map[App]string{CRM: "accounts"},
			Fields:  []*Field{Str(1, "name").Need(), Long(2, "notes").In(FacetCRM)},
		},
		&Type{
			No: 2, Name: "jobActivity", Plural: "job-activities", Apps: []App{Service}, Root: "client",
			Fields: []*Field{
				To(1, "client", "client").Need().Fixed(), Str(2, "title"), Integer(3, "size"),
				OneOf(4, "status", "New", "Open", "Done").System(), At(5, "doneAt").System(),
			},
			Status:  &Lifecycle{Field: "status", Initial: "New", States: []string{"New", "Open", "Done"}},
			Actions: []*Action{{Name: "finish", App: Service, From: []string{"Open"}, To: "Done", Stamps: []string{"doneAt"}}},
		},
		&Type{No: 3, Name: "employee", Apps: []App{Admin}, Fields: []*Field{Str(1, "name")}},
	)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRecordSurvivesItsBytes(t *testing.T) {
	cat := sample(t)
	typ := cat.Type("jobActivity")
	rapid.Check(t, func(t *rapid.T) {
		r := &Record{Type: typ, ID: "rec-0001", Ord: 7}
		want := map[uint8]string{}
		counts := map[uint8]uint32{}
		stamps := map[uint8]ident.Position{}
		for pos := 1; pos <= rapid.IntRange(1, 12).Draw(t, "commits"); pos++ {
			touched := map[uint8]bool{}
			for range rapid.IntRange(0, 4).Draw(t, "writes") {
				no := rapid.SampledFrom([]uint8{1, 2, 3, 5, NoCreatedAt}).Draw(t, "no")
				v := Value(rapid.SampledFrom([]string{"", `"a"`, `"b"`, "3"}).Draw(t, "v"))
				if changed := r.Put(no, v); changed != (want[no] != string(v)) {
					t.Fatalf("field %d: Put(%s) over %q says %v", no, v, want[no], changed)
				}
				if want[no] != string(v) {
					want[no], touched[no] = string(v), true
				}
			}
			var m Mask
			for no := range touched {
				m |= 1 << no
				counts[no]++
				stamps[no] = ident.Position(pos)
			}
			if r.Dirty() != m {
				t.Fatalf("dirty %b, want %b", r.Dirty(), m)
			}
			r.Seal(Stamp{Pos: ident.Position(pos), At: ident.Millis(pos * 10), By: "writer-1"})
			b := r.Append(nil)
			got, err := cat.Decode(7, b)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(r, got, cmpopts.IgnoreFields(Record{}, "Type"), cmpopts.EquateEmpty()); d != "" {
				t.Fatalf("decoded (-want +got):\n%s", d)
			}
			r = got
			for no, v := range want {
				if string(r.Value(no)) != v {
					t.Fatalf("field %d is %s, want %s", no, r.Value(no), v)
				}
			}
			for _, c := range r.Cells {
				if c.Count != counts[c.No] || r.Stamps[c.Stamp].Pos != stamps[c.No] || r.Last(1<<c.No).Pos != stamps[c.No] {
					t.Fatalf("field %d: count %d at %d, want %d at %d", c.No, c.Count, r.Stamps[c.Stamp].Pos, counts[c.No], stamps[c.No])
				}
			}
			used := map[uint8]bool{}
			for _, c := range r.Cells {
				used[c.Stamp] = true
			}
			if len(used) != len(r.Stamps) {
				t.Fatalf("%d stamps for %d in use", len(r.Stamps), len(used))
			}
		}
	})
}

// TestReader: counts and lengths about those that need more than one byte, and
// who wrote what, are read as they were written.
func TestReader(t *testing.T) {
	client := sample(t).Type("client")
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{0, 1, 110, 116, 117, 118, 119, 120, 300, 20_000})
		count := rapid.SampledFrom([]uint32{1, 127, 128, 129, 1 << 20, 1<<32 - 1})
		r := &Record{Type: client, ID: "client-01", Stamps: []Stamp{{Pos: 1, At: 5, By: "emp-a"}, {Pos: 300, At: 1 << 41}}}
		for no := range uint8(2) {
			v := StringValue(strings.Repeat("x", size.Draw(t, "size")))
			r.Cells = append(r.Cells, Cell{No: no + 1, Stamp: no, Count: count.Draw(t, "count"), Value: v})
		}
		var rd Reader
		raw := r.Append(nil)
		if err := rd.Read(raw, false); err != nil || rd.Len() != len(raw) || string(rd.ID) != "client-01" || rd.TypeNo != client.No {
			t.Fatalf("%v: %+v", err, rd)
		}
		for i, want := range r.Cells {
			c, ok, err := rd.Next()
			segment := `"` + client.byNo[want.No].Name + `":` + string(want.Value)
			if !ok || err != nil || c.No != want.No || c.Stamp != want.Stamp || c.Count != want.Count || string(c.Segment) != segment {
				t.Fatalf("cell %d: %+v, want %+v, %v", i, c, want, err)
			}
			if s := r.Stamps[c.Stamp]; string(rd.Writer(c.Stamp)) != string(s.By) || rd.Stamps[c.Stamp].Pos != s.Pos || rd.Stamps[c.Stamp].At != s.At {
				t.Fatalf("stamp %d: %+v by %q, want %+v", c.Stamp, rd.Stamps[c.Stamp], rd.Writer(c.Stamp), s)
			}
		}
		if _, ok, err := rd.Next(); ok || err != nil {
			t.Fatalf("one cell more: %v", err)
		}
		for n := range min(len(raw), 400) { // cut short anywhere
			for err := rd.Read(raw[:n], false); err == nil; {
				_, ok, next := rd.Next()
				if err = next; err == nil && !ok {
					t.Fatalf("%d of %d bytes are a record", n, len(raw))
				}
			}
		}
	})
}

func TestCloneIsApart(t *testing.T) {
	r := &Record{Type: sample(t).Type("jobActivity"), ID: "rec-0001"}
	r.Set("title", StringValue("a"))
	c := r.Clone()
	c.Set("title", StringValue("b"))
	if r.Get("title").Text() != "a" || c.Get("title").Text() != "b" {
		t.Error("a clone shares its cells")
	}
}

func TestDecodeRefuses(t *testing.T) {
	cat := sample(t)
	r := &Record{Type: cat.Type("jobActivity"), ID: "rec-0001"}
	r.Set("title", StringValue("a"))
	r.Set("size", IntValue(3))
	r.Seal(Stamp{Pos: 1, At: 1, By: "writer-1"})
	good := r.Append(nil)
	for n := range good {
		if _, err := cat.Decode(1, good[:n]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut at %d of %d: %v", n, len(good), err)
		}
	}
	if _, err := cat.Decode(1, append(slices.Clone(good), 0)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a byte too many: %v", err)
	}
	version := slices.Clone(good)
	version[0] = 2
	if _, err := cat.Decode(1, version); !errors.Is(err, ErrCorrupt) {
		t.Errorf("another version: %v", err)
	}
	typ := slices.Clone(good)
	typ[1] = 99
	if _, err := cat.Decode(1, typ); !errors.Is(err, ErrCorrupt) {
		t.Errorf("an unknown type: %v", err)
	}
}

// FuzzDecode: whatever bytes come, decoding refuses them or makes a record
// that encodes and decodes to itself.
func FuzzDecode(f *testing.F) {
	cat := sample(f)
	r := &Record{Type: cat.Type("jobActivity"), ID: "rec-0001"}
	f.Add(r.Append(nil))
	r.Set("title", StringValue("a"))
	r.Seal(Stamp{Pos: 1, At: 1, By: "writer-1"})
	r.Set("size", IntValue(3))
	r.Seal(Stamp{Pos: 300, At: 70000})
	f.Add(r.Append(nil))
	f.Add([]byte{1, 2, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := cat.Decode(1, b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		for _, c := range got.Cells {
			got.Last(1 << c.No)
		}
		again, err := cat.Decode(1, got.Append(nil))
		if err != nil {
			t.Fatalf("its own bytes are refused: %v", err)
		}
		if d := cmp.Diff(got, again, cmpopts.IgnoreFields(Record{}, "Type"), cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("not the same again:\n%s", d)
		}
	})
}

func TestCatalogue(t *testing.T) {
	c := sample(t)
	if c.Type("client").Plural != "clients" || c.Collection(CRM, "accounts") != c.Type("client") ||
		c.Collection(CRM, "clients") != c.Type("client") || c.Collection(Service, "clients") != nil || c.TypeNo(9) != nil {
		t.Error("collections are found wrongly")
	}
	client := c.Type("client")
	if m := client.FacetMask(Core); m.Has(2) || !m.Has(1) || !m.Has(NoClientID) || !m.Has(NoArchived) {
		t.Errorf("core facet is %b", m)
	}
	if client.All() != client.FacetMask(CRM.Opens()...) || client.All() == client.FacetMask(Service.Opens()...) {
		t.Error("facets open wrongly")
	}
	if client.Action("archive") == nil || c.Type("jobActivity").Action("archive") != nil {
		t.Error("archive stands at the wrong types")
	}
	if c.Type("jobActivity").Field("archivedAt") != nil || c.Type("employee").Field("clientId") != nil {
		t.Error("system fields stand at the wrong types")
	}
	if c.Type("jobActivity").FieldNo(200) != nil {
		t.Error("a field number beyond the last is found")
	}
	if h := c.Hash(); h != sample(t).Hash() || len(h) != 16 {
		t.Errorf("hash %q differs between equal catalogues", h)
	}
	l := c.Type("jobActivity").Status
	if !slices.Equal(l.Past("Open"), []string{"Done"}) || !slices.Equal(l.UpTo("Open"), []string{"New", "Open"}) {
		t.Error("statuses are ordered wrongly")
	}
}

func TestNewCatalogueRefuses(t *testing.T) {
	status := func() *Field { return OneOf(1, "status", "A", "B").System() }
	life := func() *Lifecycle { return &Lifecycle{Field: "status", Initial: "A", States: []string{"A", "B"}} }
	client := func() *Type { return &Type{No: 1, Name: "client", Apps: []App{CRM}, IsClient: true} }
	for name, typ := range map[string]*Type{
		"no number":            {Name: "x", Apps: []App{CRM}},
		"number of another":    {No: 1, Name: "x", Apps: []App{CRM}},
		"name of another":      {No: 2, Name: "client", Apps: []App{CRM}},
		"no app":               {No: 2, Name: "x"},
		"kebab name":           {No: 2, Name: "x-y", Apps: []App{CRM}},
		"field without number": {No: 2, Name: "x", Apps: []App{CRM}, Fields: []*Field{Str(0, "a")}},
		"field number too big": {No: 2, Name: "x", Apps: []App{CRM}, Fields: []*Field{Str(56, "a")}},
		"field number twice":   {No: 2, Name: "x", Apps: []App{CRM}, Fields: []*Field{Str(1, "a"), Str(1, "b")}},
		"field name twice":     {No: 2, Name: "x", Apps: []App{CRM}, Fields: []*Field{Str(1, "a"), Str(2, "a")}},
		"system's field name":  {No: 2, Name: "x", Apps: []App{CRM}, Fields: []*Field{Str(1, "rev")}},
		"no kind":              {No: 2, Name: "x", Apps: []App{CRM}, Fields: []*Field{{No: 1, Name: "a"}}},
		"unknown target":       {No: 2, Name: "x", Apps: []App{CRM}, Fields: []*Field{To(1, "a", "nothing")}},
		"empty enumeration":    {No: 2, Name: "x", Apps: []App{CRM}, Fields: []*Field{OneOf(1, "a")}},
		"lines in lines":       {No: 2, Name: "x", Apps: []App{CRM}, Fields: []*Field{List(1, "a", List(1, "b"))}},
		"root that is no ref":  {No: 2, Name: "x", Apps: []App{CRM}, Root: "a", Fields: []*Field{Str(1, "a").Fixed()}},
		"root that changes":    {No: 2, Name: "x", Apps: []App{CRM}, Root: "a", Fields: []*Field{To(1, "a", "client")}},
		"second client":        {No: 2, Name: "x", Apps: []App{CRM}, Root: "a", Fields: []*Field{To(1, "a", "client").Fixed(), To(2, "b", "client")}},
		"status anyone writes": {No: 2, Name: "x", Apps: []App{CRM}, Status: life(), Fields: []*Field{OneOf(1, "status", "A", "B")}},
		"status with others":   {No: 2, Name: "x", Apps: []App{CRM}, Status: life(), Fields: []*Field{OneOf(1, "status", "A").System()}},
		"action to nowhere": {
			No: 2, Name: "x", Apps: []App{CRM}, Status: life(), Fields: []*Field{status()},
			Actions: []*Action{{Name: "go", App: CRM, To: "C"}},
		},
		"action without app":    {No: 2, Name: "x", Apps: []App{CRM}, Actions: []*Action{{Name: "go"}}},
		"action without status": {No: 2, Name: "x", Apps: []App{CRM}, Actions: []*Action{{Name: "go", App: CRM, To: "A"}}},
		"action twice":          {No: 2, Name: "x", Apps: []App{CRM}, Actions: []*Action{{Name: "go", App: CRM}, {Name: "go", App: CRM}}},
		"stamp on a text": {
			No: 2, Name: "x", Apps: []App{CRM}, Fields: []*Field{Str(1, "a")},
			Actions: []*Action{{Name: "go", App: CRM, Stamps: []string{"a"}}},
		},
		"argument of another kind": {
			No: 2, Name: "x", Apps: []App{CRM}, Fields: []*Field{Str(1, "a")},
			Actions: []*Action{{Name: "go", App: CRM, Args: []*Field{Integer(1, "a")}}},
		},
		"assigns an unknown field": {No: 2, Name: "x", Apps: []App{CRM}, Actions: []*Action{{Name: "go", App: CRM, Assigns: "a"}}},
	} {
		employee := &Type{No: 3, Name: "employee", Apps: []App{Admin}}
		if _, err := NewCatalogue(client(), employee, typ); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestArchiveAndRestore(t *testing.T) {
	typ := sample(t).Type("client")
	r := &Record{Type: typ, ID: "client-1"}
	c := clock{}
	if err := typ.Action("restore").Do(c, r, nil); !fault.Is(err, fault.NotArchived) {
		t.Errorf("restoring what is not archived: %v", err)
	}
	if err := typ.Action("archive").Do(c, r, nil); err != nil || !r.Archived() {
		t.Errorf("archiving: %v, %v", err, r.Archived())
	}
	if err := typ.Action("archive").Do(c, r, nil); !fault.Is(err, fault.Archived) {
		t.Errorf("archiving twice: %v", err)
	}
	if err := typ.Action("restore").Do(c, r, nil); err != nil || r.Archived() {
		t.Errorf("restoring: %v, %v", err, r.Archived())
	}
}

// clock is a context of which only the time is asked.
type clock struct{ Context }

func (clock) Now() ident.Millis { return 1_000 }
