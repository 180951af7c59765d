package importer

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/ident"
)

// record is one record to be sent, with the rows that it is made of.
type record struct {
	row   command.Row
	from  *row // the first
	more  []*row
	lines []*row
}

// build makes records of rows by one rule.
type build struct {
	*run
	rule *Rule
}

// joins is what a row's rule has looked up.
type joins map[string]*row

func looker(r *row, j joins) func(string) string {
	return func(name string) string {
		if as, column, dotted := strings.Cut(name, "."); dotted {
			if joined, known := j[as]; known {
				return joined.get(column)
			}
		}
		return r.get(name)
	}
}

func met(cs []Condition, look func(string) string) (bool, error) {
	for i := range cs {
		c := &cs[i]
		v, _, err := c.value.eval(look)
		if err != nil {
			return false, err
		}
		ok := false
		switch {
		case c.Set != nil:
			ok = (v != "") == *c.Set
		case c.In != nil:
			ok = slices.Contains(c.In, fold(v))
		default:
			ok = !slices.Contains(c.NotIn, fold(v))
		}
		if !ok {
			return false, nil
		}
	}
	return true, nil
}

// join looks up what the rule goes with.
func (b *build) join(r *row) (joins, error) {
	j := joins{}
	for i := range b.rule.With {
		w := &b.rule.With[i]
		key, _, err := w.equals.eval(looker(r, j))
		if err != nil {
			return nil, err
		}
		j[w.As] = nil
		src := b.sources[w.Source]
		if key != "" {
			for _, cand := range src.lookup(w.Column, key) {
				ok, err := met(w.Where, cand.get)
				if err != nil {
					return nil, err
				}
				if ok {
					j[w.As] = cand
					break
				}
			}
		}
		if j[w.As] == nil && !w.Optional {
			return nil, fmt.Errorf("no row of %s has %s %q", strings.Join(src.Files, ", "), w.Column, key)
		}
	}
	return j, nil
}

// wants reports whether the rule is about the row, and how it looks columns
// up.
func (b *build) wants(r *row) (look func(string) string, ok bool, err error) {
	if ok, err = met(b.rule.When, r.get); err != nil || !ok {
		return nil, false, err
	}
	j, err := b.join(r)
	if err != nil {
		return nil, true, err
	}
	look = looker(r, j)
	ok, err = met(b.rule.Where, look)
	return look, ok, err
}

// record makes the row's record.
func (b *build) record(r *row, look func(string) string) (*record, error) {
	id, full, err := b.rule.id.eval(look)
	switch {
	case err != nil:
		return nil, err
	case id == "" || !full:
		return nil, fmt.Errorf("nothing to make the id of the %s from", b.rule.Type)
	case !ident.RecordID(id).Valid():
		return nil, fmt.Errorf("%q can't be the id of a record", id)
	}
	rec := &record{from: r, row: command.Row{Type: b.rule.Type, ID: ident.RecordID(id), Fields: command.Object{}}}
	if c := b.rule.Created; c != nil {
		v, err := b.value(c, look)
		if err != nil {
			return nil, fmt.Errorf("created: %w", err)
		}
		if at, ok := v.Time(); ok {
			rec.row.At = at
		}
	}
	var notes []string
	for _, name := range b.rule.names {
		f := b.rule.Fields[name]
		ok, err := met(f.When, look)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if !ok {
			continue
		}
		var v entity.Value
		if f.Lines != nil {
			v, err = b.documentLines(f.Lines, look, rec)
		} else {
			v, err = b.value(f, look)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if v.IsNull() {
			continue
		}
		if f.NotBefore != "" {
			before := entity.Value(rec.row.Fields[f.NotBefore])
			if !before.IsNull() && before.Text() > v.Text() { // both are in UTC, of one form
				text := fmt.Sprintf("%s %s lies before %s %s", name, v.Text(), f.NotBefore, before.Text())
				if f.Disorder == "reject" {
					return nil, fmt.Errorf("%s", text)
				}
				b.note(r, text)
				if f.Note != "" {
					notes = append(notes, f.Note, "Left out on import: "+text+".")
				}
				continue
			}
		}
		rec.row.Fields[name] = json.RawMessage(v)
	}
	for i := 0; i < len(notes); i += 2 {
		text := entity.Value(rec.row.Fields[notes[i]]).Text()
		if text != "" {
			text += "\n"
		}
		rec.row.Fields[notes[i]] = json.RawMessage(entity.StringValue(text + notes[i+1]))
	}
	return rec, nil
}

// texts evaluates a value's templates; sets may have several. Of an id or a
// position half is nothing.
func (b *build) texts(v *Value, look func(string) string) ([]string, error) {
	var out []string
	for _, t := range v.templates {
		s, full, err := t.eval(look)
		if err != nil {
			return nil, err
		}
		if !full && slices.Contains([]entity.Kind{entity.Ref, entity.Refs, entity.Point}, v.field.Kind) {
			s = ""
		}
		if v.Map != "" {
			if s, err = b.mapping.mapped(v.Map, s); err != nil {
				return nil, err
			}
		}
		if s == "" {
			continue
		}
		out = append(out, s)
		if v.All == nil {
			break
		}
	}
	return out, nil
}

// value turns a value's text into what the field's kind has in JSON.
func (b *build) value(v *Value, look func(string) string) (entity.Value, error) {
	texts, err := b.texts(v, look)
	if err != nil || len(texts) == 0 {
		return nil, err
	}
	s := texts[0]
	switch v.field.Kind {
	case entity.String, entity.Text, entity.Enum, entity.Ref:
		return entity.StringValue(s), nil
	case entity.Refs, entity.Strings:
		return entity.SetValue(texts), nil
	case entity.Int:
		n, err := whole(s)
		if err != nil {
			return nil, err
		}
		return entity.IntValue(n), nil
	case entity.Number:
		x, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsInf(x, 0) || math.IsNaN(x) {
			return nil, fmt.Errorf("%q is no number", s)
		}
		return entity.Value(strconv.AppendFloat(nil, x, 'f', -1, 64)), nil
	case entity.Bool:
		switch fold(s) {
		case "1", "true", "yes", "y":
			return entity.BoolValue(true), nil
		case "0", "false", "no", "n":
			return entity.BoolValue(false), nil
		}
		return nil, fmt.Errorf("%q is neither yes nor no", s)
	case entity.Time, entity.Date:
		t, err := b.mapping.instant(s)
		if err != nil {
			return nil, err
		}
		if v.field.Kind == entity.Date {
			return entity.StringValue(t.Format(time.DateOnly)), nil
		}
		return entity.TimeValue(ident.MillisOf(t)), nil
	case entity.Money:
		n, err := minor(s)
		if err != nil {
			return nil, err
		}
		return entity.Value(fmt.Sprintf(`{"amount":%d,"currency":%q}`, n, v.Currency)), nil
	case entity.Point:
		return position(v.grid, s)
	}
	return nil, fmt.Errorf("a value of kind %s can't be imported", v.field.Kind)
}

// documentLines makes a document's lines of the rows that belong to it.
func (b *build) documentLines(l *Lines, look func(string) string, rec *record) (entity.Value, error) {
	key, _, err := l.equals.eval(look)
	if err != nil || key == "" {
		return nil, err
	}
	var lines []map[string]json.RawMessage
	for _, r := range b.sources[l.Source].lookup(l.Column, key) {
		if r.rejected {
			continue
		}
		id, _, err := l.id.eval(r.get)
		if err == nil && id == "" {
			err = fmt.Errorf("nothing to make the id of the line from")
		}
		out := map[string]json.RawMessage{"id": json.RawMessage(entity.StringValue(id))}
		for _, name := range l.names {
			if err != nil {
				break
			}
			var v entity.Value
			if v, err = b.value(l.Fields[name], r.get); err != nil {
				err = fmt.Errorf("%s: %w", name, err)
				break
			}
			switch {
			case !v.IsNull():
				out[name] = json.RawMessage(v)
			case l.Fields[name].field.Required:
				err = fmt.Errorf("%s is missing", name)
			}
		}
		if err != nil {
			// The line alone is lost; its document goes on.
			b.reject(r, err.Error())
			continue
		}
		lines = append(lines, out)
		rec.lines = append(rec.lines, r)
	}
	if len(lines) == 0 {
		return nil, nil
	}
	raw, err := json.Marshal(lines)
	return entity.Value(raw), err
}

// whole reads an integer, which some sources write with decimals of zero.
func whole(s string) (int64, error) {
	if head, tail, ok := strings.Cut(s, "."); ok && strings.Trim(tail, "0") == "" {
		s = head
		if s == "" || s == "-" {
			s += "0"
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no whole number", s)
	}
	return n, nil
}

// minor reads an amount of money as hundredths, rounded half away from zero.
func minor(s string) (int64, error) {
	bad := fmt.Errorf("%q is no amount of money", s)
	digits, negative := strings.CutPrefix(s, "-")
	units, cents, _ := strings.Cut(digits, ".")
	if units == "" {
		units = "0"
	}
	if strings.Trim(units+cents, "0123456789") != "" || digits == "" || digits == "." {
		return 0, bad
	}
	up := len(cents) > 2 && cents[2] >= '5'
	n, err := strconv.ParseInt(units+(cents + "00")[:2], 10, 64)
	if err != nil {
		return 0, bad
	}
	if up {
		n++
	}
	if negative {
		n = -n
	}
	return n, nil
}

// instant reads a time by the mapping's layouts, in its zone.
func (m *Mapping) instant(s string) (time.Time, error) {
	for _, l := range m.Layouts {
		if t, err := time.ParseInLocation(l, s, m.zone); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time that the mapping knows", s)
}

// position reads "x y" in the grid. The origin of a grid is how sources say
// that they don't know.
func position(g *Grid, s string) (entity.Value, error) {
	xs, ys, ok := strings.Cut(s, " ")
	x, err := strconv.ParseFloat(xs, 64)
	y, err2 := strconv.ParseFloat(strings.TrimSpace(ys), 64)
	if !ok || err != nil || err2 != nil {
		return nil, fmt.Errorf("%q is no position", s)
	}
	if x == 0 || y == 0 {
		return nil, nil
	}
	lat, lng := g.degrees(x, y)
	if !(math.Abs(lat) <= 90 && math.Abs(lng) <= 180) {
		return nil, fmt.Errorf("%q lies nowhere", s)
	}
	round := func(v float64) string { return strconv.FormatFloat(math.Round(v*1e6)/1e6, 'f', -1, 64) }
	return entity.Value(`{"lat":` + round(lat) + `,"lng":` + round(lng) + `}`), nil
}
