package policy

import (
	"slices"

	"satchel/internal/entity"
	"satchel/internal/ident"
)

// maxParents bounds how far a context-only record looks for a parent that can
// be seen.
const maxParents = 4

// Sees returns what the person sees of a record that is asked for by itself.
// It is View, except that of a context-only record nothing shows where the
// person sees no parent of it: then it is absent, to be read and to be written.
func (s *Subject) Sees(r *entity.Record, look Lookup) Sight {
	sight := s.View(r, look)
	if sight.Context && !s.parented(r, sight, look, maxParents) {
		return Sight{}
	}
	return sight
}

// parented reports whether the person sees a parent of a context-only record:
// one of those its type names or, where that names none, any record but a
// person that it refers to.
func (s *Subject) parented(r *entity.Record, sight Sight, look Lookup, depth int) bool {
	visible := func(id ident.RecordID) bool {
		p, ok := look.Load(id)
		if !ok {
			return false
		}
		above := s.View(p, look)
		return above.Mask != 0 && (!above.Context || (depth > 0 && s.parented(p, above, look, depth-1)))
	}
	if above := r.Type.Above(); len(above) > 0 {
		return slices.ContainsFunc(above, func(f *entity.Field) bool {
			id := r.Value(f.No).Ref()
			return id != "" && visible(id)
		})
	}
	for _, f := range r.Type.Fields {
		if f.Kind != entity.Ref || !sight.Mask.Has(f.No) || len(f.Targets) == 0 || f.Targets[0] == "employee" {
			continue
		}
		if id := r.Value(f.No).Ref(); id != "" && visible(id) {
			return true
		}
	}
	return false
}
