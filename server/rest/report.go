package rest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/internal/policy"
	"satchel/server/edge"
	"satchel/server/sheet"
	"satchel/sync/scope"
	"satchel/sync/state"
	"satchel/sync/tenant"
)

// maxGroups bounds what one report answers.
const maxGroups = 10_000

// typeReport and typeFilter are the types whose records are questions.
const (
	typeReport = "report"
	typeFilter = "filter"
)

// Spans that instants and dates are grouped by.
const (
	byDay   = "day"
	byMonth = "month"
	byYear  = "year"
)

// grouping is one entry of groupBy: a field, or for instants and dates a field
// and a span, as in "due:month".
type grouping struct {
	name  string
	field *entity.Field
	cut   int // how much of the value's text names the group; 0 for all
}

// total is one entry of totals: sum, avg, min or max of a field, as in
// "sum:value".
type total struct {
	name, op string
	field    *entity.Field
}

// inquiry is a report ready to run: what is asked of one type, as far as the
// runner knows its fields.
type inquiry struct {
	list   *query
	by     []grouping
	totals []total
}

// inquire reads a report's definition. Fields that known lacks are not there.
func inquire(t *entity.Type, known entity.Mask, filter string, groupBy, totals []string) (*inquiry, error) {
	list, err := parse(t, known, map[string]string{"filter": filter})
	if err != nil {
		return nil, err
	}
	q := &inquiry{list: list}
	for _, s := range groupBy {
		name, span, has := strings.Cut(s, ":")
		f, err := list.field(name)
		if err != nil {
			return nil, err
		}
		g := grouping{name: s, field: f}
		switch f.Kind {
		case entity.Enum, entity.Bool, entity.Ref, entity.String, entity.Int:
			if has {
				return nil, badParameter("groupBy", "%s has no spans to group by.", name)
			}
		case entity.Time, entity.Date:
			cut, ok := map[string]int{byDay: 10, byMonth: 7, byYear: 4}[cmp.Or(span, byDay)]
			if !ok {
				return nil, badParameter("groupBy", "%s is grouped by day, month or year.", name)
			}
			g.cut = cut
		default:
			return nil, badParameter("groupBy", "%s can't be grouped by.", name)
		}
		q.by = append(q.by, g)
	}
	for _, s := range totals {
		op, name, _ := strings.Cut(s, ":")
		f, err := list.field(name)
		if err != nil {
			return nil, err
		}
		ok := false
		switch op {
		case "sum", "avg":
			ok = f.Kind == entity.Int || f.Kind == entity.Number || f.Kind == entity.Money
		case "min", "max":
			switch f.Kind {
			case entity.Int, entity.Number, entity.Money, entity.Time, entity.Date:
				ok = true
			}
		}
		if !ok {
			return nil, badParameter("totals", "%q is no total: write sum, avg, min or max, a colon and a field that has such.", s)
		}
		q.totals = append(q.totals, total{s, op, f})
	}
	return q, nil
}

// need is the mask of the fields that the report looks at.
func (q *inquiry) need() entity.Mask {
	m := q.list.need()
	for _, g := range q.by {
		m |= 1 << g.field.No
	}
	for _, t := range q.totals {
		m |= 1 << t.field.No
	}
	return m
}

// tally is what one total has come to, by currency; "" for what is no money.
type tally struct {
	count int64
	sum   *big.Rat
	edge  entity.Value // the least or the greatest
	key   []byte
}

// bucket is one group.
type bucket struct {
	by      []entity.Value
	names   []string // of what the values refer to, where they were asked for
	sortKey []byte
	count   int64
	tallies []map[string]*tally // by total
}

func (q *inquiry) bucket() *bucket {
	return &bucket{by: make([]entity.Value, len(q.by)), tallies: make([]map[string]*tally, len(q.totals))}
}

// add counts a record into the group.
func (b *bucket) add(q *inquiry, r *row) {
	b.count++
	for i, t := range q.totals {
		v := r.value(t.field)
		if v.IsNull() {
			continue
		}
		currency, number := "", v
		if t.field.Kind == entity.Money {
			var m struct {
				Currency string `json:"currency"`
			}
			if json.Unmarshal(v, &m) != nil {
				continue
			}
			currency, number = m.Currency, entity.Value(strconv.FormatInt(amount(v), 10))
		}
		if b.tallies[i] == nil {
			b.tallies[i] = map[string]*tally{}
		}
		one := b.tallies[i][currency]
		if one == nil {
			one = &tally{sum: new(big.Rat)}
			b.tallies[i][currency] = one
		}
		one.count++
		switch t.op {
		case "sum", "avg":
			if x, ok := new(big.Rat).SetString(string(number)); ok {
				one.sum.Add(one.sum, x)
			}
		default:
			key := appendKey(nil, t.field, v)
			if c := bytes.Compare(key, one.key); one.key == nil || (t.op == "min" && c < 0) || (t.op == "max" && c > 0) {
				one.key, one.edge = key, slices.Clone(number)
			}
		}
	}
}

// value is what the total comes to as JSON: a number or a text; null for none.
func (t *tally) value(f *entity.Field, op string) json.RawMessage {
	switch op {
	case "sum":
		return rational(t.sum)
	case "avg":
		mean := new(big.Rat).Quo(t.sum, new(big.Rat).SetInt64(t.count))
		if f.Kind == entity.Money { // whole minor units
			return json.RawMessage(mean.FloatString(0))
		}
		return rational(mean)
	}
	return json.RawMessage(t.edge)
}

// rational writes a number with up to six decimals.
func rational(x *big.Rat) json.RawMessage {
	if x.IsInt() {
		return json.RawMessage(x.Num().String())
	}
	return json.RawMessage(strings.TrimRight(strings.TrimRight(x.FloatString(6), "0"), "."))
}

// run adds up what the runner sees of the records asked for. Null stands for
// a field that a record lacks and for one that the runner doesn't see there.
func (q *inquiry) run(rd *state.Reader, visible scope.Sets) ([]*bucket, *bucket, error) {
	if mutant.On(mutant.CountHidden) {
		visible = scope.Sets{{Class: scope.Class{Type: q.list.t.No, Mask: q.list.t.All()}, Set: rd.Index(state.TypeKey(q.list.t.No))}}
	}
	parts := q.list.narrow(rd, visible)
	need := q.need()
	var rec entity.Reader
	var r row
	all := q.bucket()
	groups := map[string]*bucket{}
	var err error
	for _, p := range parts {
		rd.Each(p.Set, func(_ ident.Ordinal, raw []byte) bool {
			if need != 0 {
				if r.read(&rec, raw, q.list.t, p.Mask, need) != nil {
					panic(state.ErrDamaged)
				}
				for i := range q.list.where {
					if !q.list.where[i].holds(&r) {
						return true
					}
				}
			}
			all.add(q, &r)
			if len(q.by) == 0 {
				return true
			}
			var key []byte
			values := make([]entity.Value, len(q.by))
			for i, g := range q.by {
				v := r.value(g.field)
				if g.cut > 0 && !v.IsNull() {
					v = entity.StringValue(v.Text()[:g.cut])
				}
				values[i] = v
				key = append(binaryLength(key, len(v)), v...)
			}
			b := groups[string(key)]
			if b == nil {
				if len(groups) == maxGroups {
					err = fault.Newf(fault.TooBig, "The report has more than %d groups; bound it with a filter or group it by less.", maxGroups)
					return false
				}
				b = q.bucket()
				for i, v := range values {
					b.by[i] = slices.Clone(v)
					b.sortKey = q.by[i].append(b.sortKey, v)
				}
				groups[string(key)] = b
			}
			b.add(q, &r)
			return true
		})
	}
	if err != nil {
		return nil, nil, err
	}
	out := make([]*bucket, 0, len(groups))
	for _, b := range groups {
		out = append(out, b)
	}
	slices.SortFunc(out, func(a, b *bucket) int { return bytes.Compare(a.sortKey, b.sortKey) })
	return out, all, nil
}

func binaryLength(b []byte, n int) []byte { return append(b, byte(n>>8), byte(n)) }

// append appends a group's part of the order of groups: by value, nulls last.
func (g grouping) append(key []byte, v entity.Value) []byte {
	switch {
	case v.IsNull():
		return append(key, 2)
	case g.cut > 0:
		return append(append(append(key, 1), v...), 0)
	}
	return append(appendKey(append(key, 1), g.field, v), 0)
}

// named notes the names of what the groups refer to, as far as the runner sees
// them.
func (q *inquiry) named(v *tenant.View, sub *policy.Subject, groups []*bucket) {
	known := map[ident.RecordID]string{}
	for _, b := range groups {
		b.names = make([]string, len(q.by))
		for i, g := range q.by {
			if g.field.Kind != entity.Ref || b.by[i].IsNull() {
				continue
			}
			id := b.by[i].Ref()
			if _, ok := known[id]; !ok {
				known[id] = nameFor(v, sub, id)
			}
			b.names[i] = known[id]
		}
	}
}

// groupAnswer is one group as it is answered.
type groupAnswer struct {
	By     map[string]json.RawMessage `json:"by,omitempty"`
	Names  map[string]string          `json:"names,omitempty"`
	Count  int64                      `json:"count"`
	Totals map[string]any             `json:"totals,omitempty"`
}

func (q *inquiry) answer(b *bucket, grouped bool) groupAnswer {
	out := groupAnswer{Count: b.count}
	if grouped {
		out.By = map[string]json.RawMessage{}
		for i, g := range q.by {
			out.By[g.name] = json.RawMessage("null")
			if !b.by[i].IsNull() {
				out.By[g.name] = json.RawMessage(b.by[i])
			}
			if b.names != nil && b.names[i] != "" {
				if out.Names == nil {
					out.Names = map[string]string{}
				}
				out.Names[g.name] = b.names[i]
			}
		}
	}
	if len(q.totals) > 0 {
		out.Totals = map[string]any{}
	}
	for i, t := range q.totals {
		if t.field.Kind == entity.Money {
			sums := map[string]json.RawMessage{}
			for c, one := range b.tallies[i] {
				sums[c] = one.value(t.field, t.op)
			}
			out.Totals[t.name] = sums
			continue
		}
		out.Totals[t.name] = json.RawMessage("null")
		if one := b.tallies[i][""]; one != nil {
			out.Totals[t.name] = one.value(t.field, t.op)
		}
	}
	return out
}

// result runs a report with the rights of whoever asks.
func (s *Server) result(c *fiber.Ctx, caller *edge.Caller, t *entity.Type) error {
	p, err := parameters(c, "format", "names", "bom")
	if err != nil {
		return err
	}
	format, err := formatOf(p["format"], "json")
	if err != nil {
		return err
	}
	names, err := wantsNames(p)
	if err != nil {
		return err
	}
	var q *inquiry
	var groups []*bucket
	var all *bucket
	var name string
	err = caller.Read(func(v *tenant.View, sub *policy.Subject) error {
		rec, sight, err := see(v, sub, t, ident.RecordID(c.Params("id")))
		if err != nil {
			return err
		}
		if name = typeReport; sight.Mask.Has(t.Field("name").No) {
			name = rec.Get("name").Text()
		}
		of := s.cat.Type(rec.Get("entityType").Text())
		if of == nil {
			return fault.Newf(fault.BadValue, "The report is about a type that is not there.").OnField("entityType")
		}
		known, err := listed(sub, of, false)
		if err != nil {
			return err
		}
		q, err = inquire(of, known, rec.Get("filter").Text(), rec.Get("groupBy").Set(), rec.Get("totals").Set())
		if err != nil {
			return err
		}
		groups, all, err = q.run(v.Reader, s.visible.of(caller.Tenant, v, sub, of))
		if err == nil && names {
			q.named(v, sub, groups)
		}
		return err
	})
	if err != nil {
		return err
	}
	if format != "json" {
		return s.sendSheet(c, p, format, name, func(w sheet.Writer) error { return q.sheet(w, groups, all, names) })
	}
	out := struct {
		Groups []groupAnswer `json:"groups"`
		Total  groupAnswer   `json:"total"`
	}{Groups: []groupAnswer{}, Total: q.answer(all, false)}
	for _, b := range groups {
		out.Groups = append(out.Groups, q.answer(b, true))
	}
	return c.JSON(out)
}

// sheet writes the groups as a table, the total last; with names, the name of
// what a group refers to stands beside its id. A total of money has a column for
// each currency there is.
func (q *inquiry) sheet(w sheet.Writer, groups []*bucket, all *bucket, names bool) error {
	var head []sheet.Cell
	for _, g := range q.by {
		head = append(head, g.name)
		if names && g.field.Kind == entity.Ref {
			head = append(head, g.name+".name")
		}
	}
	head = append(head, "count")
	currencies := make([][]string, len(q.totals))
	for i, t := range q.totals {
		if t.field.Kind != entity.Money {
			currencies[i] = []string{""}
			head = append(head, t.name)
			continue
		}
		for c := range all.tallies[i] {
			currencies[i] = append(currencies[i], c)
		}
		slices.Sort(currencies[i])
		for _, c := range currencies[i] {
			head = append(head, t.name+" "+c)
		}
	}
	if err := w.Row(head); err != nil {
		return err
	}
	line := func(b *bucket, last bool) error {
		var cells []sheet.Cell
		for i, g := range q.by {
			var value, name sheet.Cell
			if !last {
				value = cellOf(entity.String, b.by[i])
			}
			if b.names != nil && b.names[i] != "" {
				name = b.names[i]
			}
			cells = append(cells, value)
			if names && g.field.Kind == entity.Ref {
				cells = append(cells, name)
			}
		}
		cells = append(cells, b.count)
		for i, t := range q.totals {
			for _, c := range currencies[i] {
				one := b.tallies[i][c]
				if one == nil {
					cells = append(cells, nil)
					continue
				}
				v := entity.Value(one.value(t.field, t.op))
				if t.field.Kind == entity.Money {
					money := entity.Value(`{"amount":` + string(v) + `,"currency":"` + c + `"}`)
					cells = append(cells, sheet.Cells(nil, t.field, money)[0])
					continue
				}
				cells = append(cells, cellOf(t.field.Kind, v))
			}
		}
		return w.Row(cells)
	}
	for _, b := range groups {
		if err := line(b, false); err != nil {
			return err
		}
	}
	return line(all, true)
}

// cellOf is a plain value as a cell.
func cellOf(k entity.Kind, v entity.Value) sheet.Cell {
	switch {
	case v.IsNull():
		return nil
	case v[0] == '"':
		return v.Text()
	case k == entity.Int || k == entity.Number || v[0] == '-' || v[0] >= '0' && v[0] <= '9':
		if x, err := strconv.ParseFloat(string(v), 64); err == nil {
			return x
		}
	}
	return string(v)
}

// examine judges a saved filter or report before it is written: a question
// that nobody could run is refused where it is made. It is judged by the
// fields there are, which are no secret; whoever runs it is judged by those
// they know.
func (s *Server) examine(caller *edge.Caller, t *entity.Type, id ident.RecordID, fields map[string]json.RawMessage) error {
	if t.Name != typeFilter && t.Name != typeReport {
		return nil
	}
	// What a patch leaves out is as it stands.
	now := map[string]entity.Value{}
	if id != "" {
		err := caller.Read(func(v *tenant.View, sub *policy.Subject) error {
			rec, _, err := see(v, sub, t, id)
			if err != nil {
				return nil // the write says so
			}
			for _, f := range t.Fields {
				now[f.Name] = slices.Clone(rec.Value(f.No))
			}
			return nil
		})
		if err != nil || len(now) == 0 {
			return err
		}
	}
	for _, f := range t.Fields {
		raw, ok := fields[f.Name]
		if !ok {
			continue
		}
		v, err := f.Normalize(raw)
		if err != nil {
			return nil //nolint:nilerr // the write says so, in its own order
		}
		now[f.Name] = v
	}
	app, of := entity.App(now["app"].Text()), s.cat.Type(now["entityType"].Text())
	if app == "" || now["entityType"].IsNull() {
		return nil // missing; the write says so
	}
	if of == nil || !of.In(app) {
		return fault.Newf(fault.BadValue, "The app has no such type.").OnField("entityType")
	}
	if t.Name == typeReport {
		_, err := inquire(of, of.All(), now["filter"].Text(), now["groupBy"].Set(), now["totals"].Set())
		return asField(err, map[string]string{})
	}
	_, err := parse(of, of.All(), map[string]string{"filter": now["query"].Text(), "sort": now["sort"].Text(), "q": now["search"].Text()})
	return asField(err, map[string]string{"filter": "query", "q": "search"})
}

// asField turns the refusal of a parameter into that of the field it stands in.
func asField(err error, names map[string]string) error {
	if err == nil {
		return nil
	}
	e := fault.Of(err)
	return fault.Newf(fault.BadValue, "%s", e.Message).OnField(cmp.Or(names[e.Field], e.Field))
}
