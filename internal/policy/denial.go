package policy

import (
	"slices"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/mutant"
)

// Denial takes a verb on a type, or a field of it, from one person. One that
// names an app takes what comes by way of that app: a record that several apps
// share stays as far as another of them gives it.
type Denial struct {
	ID    ident.RecordID
	Verb  Verb   // "" or "*": all
	Type  string // "" : all types
	Field string // with a type: only this field
	App   entity.App
}

// Takes reports whether the denial takes the verb on the type, or a field of
// it, from who has it by way of the denial's app.
func (d Denial) Takes(t *entity.Type, v Verb) bool {
	return (d.App == "" || t.In(d.App)) && d.means(t, v)
}

// means reports whether the denial speaks of the verb on the type.
func (d Denial) means(t *entity.Type, v Verb) bool {
	if (d.Type != "" && d.Type != t.Name) || mutant.On(mutant.IgnoreDenial) {
		return false
	}
	// What may not be seen may not be changed either.
	return d.Verb == "" || d.Verb == AnyAction || d.Verb == v || (d.Verb == View && !mutant.On(mutant.ChangeUnseen))
}

// Denied returns the fields of the type that denials take from the verb,
// whatever app it comes by, and whether they take all of it. What they take of
// an app is not among the person's grants.
func (s *Subject) Denied(t *entity.Type, v Verb) (fields entity.Mask, all bool) {
	for _, d := range s.denials {
		if d.App != "" || !d.means(t, v) {
			continue
		}
		if d.Field == "" {
			return t.All(), true
		}
		if f := t.Field(d.Field); f != nil {
			fields |= 1 << f.No
		}
	}
	return fields, false
}

// taken is a grant that a denial of its app took, or a part of.
type taken struct {
	grant  *Grant
	denial ident.RecordID
}

// limit takes from the person's grants what comes by way of apps that are
// denied. The lists of grants may be shared with others; they are replaced.
func (s *Subject) limit() {
	if !slices.ContainsFunc(s.denials, func(d Denial) bool { return d.App != "" }) {
		return
	}
	left := make(map[key][]*Grant, len(s.grants))
	for k, gs := range s.grants {
		for _, d := range s.denials {
			if d.App == "" {
				continue
			}
			var rest []*Grant
			for _, g := range gs {
				if !slices.Contains(g.Apps, d.App) || !d.means(g.Type, k.verb) {
					rest = append(rest, g)
					continue
				}
				if s.taken == nil {
					s.taken = map[key][]taken{}
				}
				s.taken[k] = append(s.taken[k], taken{g, d.ID})
				rest = append(rest, d.leaves(g)...)
			}
			gs = rest
		}
		if len(gs) > 0 {
			left[k] = gs
		}
	}
	s.grants = left
}

// leaves returns what the denial leaves of a grant that belongs to its app,
// perhaps among others.
func (d Denial) leaves(g *Grant) (out []*Grant) {
	var fields entity.Mask
	if d.Field != "" {
		if f := g.Type.Field(d.Field); f != nil {
			fields = 1 << f.No
		}
		whole := *g
		if whole.Mask &^= fields; whole.Mask != 0 {
			out = append(out, &whole)
		}
	} else {
		fields = g.Type.All()
	}
	if other := g.without(d.App); other != nil {
		if other.Mask &= fields; other.Mask != 0 {
			out = append(out, other)
		}
	}
	return out
}

// without returns what the grant gives by way of its other apps, nil for
// nothing.
func (g *Grant) without(app entity.App) *Grant {
	apps := slices.DeleteFunc(slices.Clone(g.Apps), func(a entity.App) bool { return a == app })
	if !slices.ContainsFunc(apps, g.Type.In) {
		return nil
	}
	c := *g.from.clause
	c.Apps = apps
	out := *g
	out.Apps = apps
	out.Mask &= mask(g.from.role, &c, g.Type)
	if c.Types == nil || c.Within {
		out.Scope = bounded(g.from.cat, g.from.role, &c, g.Type)
	}
	return &out
}

// denying returns the denial of an app but for which the person might do verb
// to the record, "" for none.
func (s *Subject) denying(k key, r *entity.Record, look Lookup) ident.RecordID {
	for _, x := range s.taken[k] {
		if s.reaches(x.grant, r, look) {
			return x.denial
		}
	}
	return ""
}
