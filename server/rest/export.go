package rest

import (
	"cmp"
	"errors"
	"io"
	"maps"
	"mime"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/internal/policy"
	"satchel/server/edge"
	"satchel/server/sheet"
	"satchel/sync/column"
	"satchel/sync/scope"
	"satchel/sync/state"
	"satchel/sync/tenant"
)

// exportPage is how many records are read from one state: an export takes
// many, one after the other, so that it holds none open for long. What it
// writes was permitted in the state it was read from.
const exportPage = 2000

// formatOf reads a format parameter.
func formatOf(s string, other ...string) (string, error) {
	s = cmp.Or(s, append(other, sheet.CSV)[0])
	if s == sheet.CSV || s == sheet.XLSX || (len(other) > 0 && s == other[0]) {
		return s, nil
	}
	return "", badParameter("format", "format must be csv or xlsx.")
}

// marked reads a bom parameter: whether a CSV begins with the mark by which
// spreadsheets know it for UTF-8. It does unless it says otherwise, as programs
// that read the table do.
func marked(params map[string]string) (bool, error) {
	switch params["bom"] {
	case "", "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, badParameter("bom", "bom must be true or false.")
}

// wantsNames reads a names parameter.
func wantsNames(params map[string]string) (bool, error) {
	switch params["names"] {
	case "true":
		return true, nil
	case "", "false":
		return false, nil
	}
	return false, badParameter("names", "names must be true or false.")
}

// columns are the fields of an export.
type columns struct {
	fields []*entity.Field
	// names holds, by field, whether the name of what it refers to stands
	// beside the id.
	names map[uint8]bool
}

// columnsOf are the fields of the type among those known, in the order of
// their declaration.
func columnsOf(t *entity.Type, known entity.Mask, names bool) columns {
	c := columns{names: map[uint8]bool{}}
	for _, f := range t.Fields {
		if known.Has(f.No) {
			c.fields = append(c.fields, f)
			c.names[f.No] = names && f.Kind == entity.Ref
		}
	}
	for _, no := range []uint8{entity.NoCreatedAt, entity.NoCreatedBy, entity.NoArchived} {
		if f := t.FieldNo(no); f != nil && known.Has(no) {
			c.fields = append(c.fields, f)
			c.names[no] = names && f.Kind == entity.Ref
		}
	}
	return c
}

func (c columns) head() []sheet.Cell {
	row := []sheet.Cell{"id"}
	for _, f := range c.fields {
		for _, h := range sheet.Headings(f) {
			row = append(row, h)
		}
		if c.names[f.No] {
			row = append(row, f.Name+".name")
		}
	}
	return append(row, "updatedAt")
}

// row is a record as its reader sees it.
func (c columns) row(row []sheet.Cell, rec *entity.Record, mask entity.Mask, name func(ident.RecordID) string) []sheet.Cell {
	row = append(row, string(rec.ID))
	for _, f := range c.fields {
		var v entity.Value
		if mask.Has(f.No) || mutant.On(mutant.ExportUnmasked) {
			v = rec.Value(f.No)
		}
		row = sheet.Cells(row, f, v)
		if c.names[f.No] {
			var n sheet.Cell
			if !v.IsNull() {
				if s := name(v.Ref()); s != "" {
					n = s
				}
			}
			row = append(row, n)
		}
	}
	return append(row, rec.Last(mask).At.Time())
}

// export answers a list as a table: every record of it, in its order.
func (s *Server) export(c *fiber.Ctx, caller *edge.Caller, t *entity.Type) error {
	params, err := parameters(c, "format", "names", "bom", "sort", "filter", "q", "archived", "saved")
	if err != nil {
		return err
	}
	format, err := formatOf(params["format"])
	if err != nil {
		return err
	}
	names, err := wantsNames(params)
	if err != nil {
		return err
	}
	return s.sendSheet(c, params, format, t.CollectionIn(t.Apps[0]), func(w sheet.Writer) error {
		x := exporting{
			read: caller.Read, sealer: s.sealer, params: params, names: names, limit: sheet.MaxRows(format),
			visible: func(v *tenant.View, sub *policy.Subject) scope.Sets { return s.visible.of(caller.Tenant, v, sub, t) },
			least:   s.least,
		}
		if s.least >= 0 {
			x.columns = caller.Tenant.Columns()
		}
		return x.run(w, t)
	})
}

// Export writes every record of a type, as far as an employee sees them, or
// (employee "") all of them for the operator, with the parameters sort, filter
// and q of a list; it returns how many there were. Archived records are among
// them.
func Export(t *tenant.Tenant, employee ident.RecordID, typ *entity.Type, params map[string]string, names bool, w sheet.Writer) (int, error) {
	x := exporting{
		read: func(f func(*tenant.View, *policy.Subject) error) error {
			return t.Read(func(v *tenant.View) error {
				if employee == "" {
					return f(v, nil)
				}
				sub := v.Subject(employee)
				if sub == nil || !sub.Active {
					return fault.New(fault.NotAllowed)
				}
				return f(v, sub)
			})
		},
		visible: func(v *tenant.View, sub *policy.Subject) scope.Sets {
			if sub == nil {
				return scope.Sets{{Class: scope.Class{Type: typ.No, Mask: typ.All()}, Set: v.Index(state.TypeKey(typ.No))}}
			}
			return scope.VisibleOf(v.Reader, sub, typ)
		},
		sealer: newSealer([32]byte{}), params: map[string]string{"archived": "true"}, names: names, limit: sheet.MaxRows(sheet.CSV),
		columns: t.Columns(), least: defaultReadBelow,
	}
	for k, val := range params {
		x.params[k] = val
	}
	err := x.run(w, typ)
	return x.n, err
}

// exporting writes the pages of a list one after the other. The rights are
// those of the moment each is read; where there are none any more it fails.
type exporting struct {
	read    func(func(*tenant.View, *policy.Subject) error) error
	visible func(*tenant.View, *policy.Subject) scope.Sets
	sealer  *sealer
	params  map[string]string
	names   bool
	limit   int
	n       int
	// columns find the order of a sorted export; nil: records are read.
	columns *column.Store
	least   int
}

func (x *exporting) run(w sheet.Writer, t *entity.Type) error {
	var cols columns
	var cells []sheet.Cell
	next := ""
	var wants []column.Want
	settled := false
	for first := true; first || next != ""; {
		err := x.read(func(v *tenant.View, sub *policy.Subject) error {
			known, p := t.All(), maps.Clone(x.params)
			if sub != nil {
				var err error
				if known, err = listed(sub, t, false); err != nil {
					return err
				}
				if p, err = saved(v, sub, t, x.params); err != nil {
					return err
				}
			}
			p["cursor"] = next
			q, err := parse(t, known, p)
			if err != nil {
				return err
			}
			q.sealer, q.binding, q.limit = x.sealer, "export\x00"+q.request, exportPage
			if x.columns != nil && len(q.sorts) > 0 {
				q.lookup = lookup{store: x.columns, least: x.least, settled: settled}
			}
			if cols.names == nil {
				cols = columnsOf(t, known, x.names)
				if err := w.Row(cols.head()); err != nil {
					return err
				}
			}
			named := map[ident.RecordID]string{}
			name := func(id ident.RecordID) string {
				got, ok := named[id]
				if !ok {
					got = nameFor(v, sub, id)
					named[id] = got
				}
				return got
			}
			parts, hits, after, err := q.page(v, x.visible(v, sub))
			if err != nil {
				wants = q.lookup.wants
				return err
			}
			next, first = after, false
			for _, h := range hits {
				if x.n++; x.n > x.limit {
					return fault.Newf(fault.TooBig, "The export has more than %d rows; bound it with a filter.", x.limit)
				}
				rec, ok := v.LoadOrd(h.ord)
				class, in := parts.Of(h.ord)
				if !ok || !in {
					continue
				}
				cells = cols.row(cells[:0], rec, class.Mask, name)
				if err := w.Row(cells); err != nil {
					return err
				}
			}
			return nil
		})
		if errors.Is(err, errColumns) {
			// Sorted, a page would cost a look at every record; so they are
			// built, once, with no state held open.
			settled = true
			err = x.columns.Build(t, wants)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// nameFor is the name of a record as far as the reader sees it.
func nameFor(v *tenant.View, sub *policy.Subject, id ident.RecordID) string {
	return nameIn(v.Reader, sub, id).Name
}

// sendSheet writes a table into a file and sends that: whatever fails on the way
// is answered as a refusal, never by half a table.
func (s *Server) sendSheet(c *fiber.Ctx, params map[string]string, format, name string, write func(sheet.Writer) error) error {
	bom, err := marked(params)
	if err != nil {
		return err
	}
	return s.sendFile(c, sheet.ContentType(format), name+"."+format, func(f io.Writer) (err error) {
		if bom && format == sheet.CSV {
			if _, err := io.WriteString(f, sheet.BOM); err != nil {
				return fault.New(fault.DiskFull).Because(err)
			}
		}
		w, err := sheet.NewIn(s.spool.Dir(), f, format, name)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, w.Discard()) }()
		if err := write(&sparing{Writer: w, room: s.spool.Room}); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return fault.New(fault.DiskFull).Because(err)
		}
		return nil
	})
}

// sendFile sends what write writes, once it is whole.
func (s *Server) sendFile(c *fiber.Ctx, contentType, name string, write func(io.Writer) error) error {
	f, err := s.spool.Create("*", 0)
	if err != nil {
		return fault.New(fault.DiskFull).Because(err)
	}
	err = write(f)
	var size int64
	if err == nil {
		size, err = f.Rewind()
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	c.Set(fiber.HeaderContentType, contentType)
	c.Set(fiber.HeaderContentDisposition, mime.FormatMediaType("attachment", map[string]string{"filename": name}))
	return c.SendStream(f, int(size)) // closed once it was sent
}

// lookEvery is after how many rows it is looked again what the disk has left.
const lookEvery = 1024

// sparing refuses rows once the disk has no more to spare: an XLSX grows in files
// of its own before it is written.
type sparing struct {
	sheet.Writer
	room func(bytes uint64) error
	rows int
}

// Row implements [sheet.Writer].
func (s *sparing) Row(cells []sheet.Cell) error {
	if s.rows++; s.rows%lookEvery == 0 {
		if err := s.room(0); err != nil {
			return err
		}
	}
	return s.Writer.Row(cells)
}

// saved returns a list's parameters with those of the saved filter they name:
// a record must fulfil the filter's conditions and search and the list's own.
// The filter runs with the rights of whoever runs it: a field that they don't
// know is not there for it either.
func saved(v *tenant.View, sub *policy.Subject, t *entity.Type, params map[string]string) (map[string]string, error) {
	p := map[string]string{}
	for k, val := range params {
		p[k] = val
	}
	delete(p, "saved")
	id, ok := params["saved"]
	if !ok {
		return p, nil
	}
	f, _, err := see(v, sub, v.Cat.Type(typeFilter), ident.RecordID(id))
	if err != nil {
		return nil, badParameter("saved", "There is no such filter.")
	}
	if f.Get("entityType").Text() != t.Name {
		return nil, badParameter("saved", "The filter is about another type.")
	}
	query := f.Get("query").Text()
	if own := p["filter"]; own != "" && query != "" {
		query += " and " + own
	} else {
		query = cmp.Or(query, own)
	}
	p["filter"] = query
	p["sort"] = cmp.Or(p["sort"], f.Get("sort").Text())
	p[savedSearch] = f.Get("search").Text()
	return p, nil
}

// page returns the list's next records, the parts they are in, and the cursor
// behind them; "" where there are no more.
func (q *query) page(v *tenant.View, visible scope.Sets) (scope.Sets, []hit, string, error) {
	parts := q.narrow(v.Reader, visible)
	after, err := q.place(v.Reader)
	if err != nil {
		return nil, nil, "", err
	}
	hits, err := q.hits(v.Reader, parts, after)
	if err != nil {
		return nil, nil, "", err
	}
	if len(hits) <= q.limit {
		return parts, hits, "", nil
	}
	hits = hits[:q.limit]
	last := hits[len(hits)-1]
	_, id := v.Name(last.ord)
	return parts, hits, q.sealer.seal(encodePlace(id, last.key), q.binding), nil
}
