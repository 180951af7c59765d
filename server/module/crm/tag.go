package crm

import (
	"slices"
	"strings"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/server/module/attach"
)

// taggable names the types whose records can bear tags.
var taggable = []string{"client", "contact", "site", "activity", "task", "opportunity", "campaign"}

// Tag is a word that records are marked with: everybody's, or its maker's
// alone. Which it is was decided when it was made.
var Tag = &entity.Type{
	No: 110, Name: "tag", Apps: selling, Rank: 7,
	Everything: []entity.Bound{{Field: "visibility", Value: attach.Public}},
	PersonalIf: &entity.Bound{Field: "visibility", Value: attach.Private},
	Fields: []*entity.Field{
		entity.Str(1, "name").Need().UpTo(60).Searched(),
		// A client that doesn't know a visibility must take it for private.
		entity.OneOf(2, "visibility", attach.Public, attach.Private).Else(attach.Private).Need().Fixed(),
		entity.To(3, "owner", "employee").Fixed().OfPerson(),
		entity.Str(4, "color").UpTo(20),
	},
	Actions: []*entity.Action{
		{
			Name: "bulk-attach", App: entity.CRM, Also: sales, Bulk: true, Each: "records",
			Args: []*entity.Field{entity.ToMany(1, "records").UpTo(500).Need()},
			Do:   attachTag,
		},
		{
			Name: "bulk-detach", App: entity.CRM, Also: sales, Bulk: true, Each: "records",
			Args: []*entity.Field{entity.ToMany(1, "records").UpTo(500).Need()},
			Do:   detachTag,
		},
	},
	Drafted: func(c entity.Context, r *entity.Record) { attach.Author(c, r, "owner") },
}

// Tagging is one tag on one record, with whose client it goes. It is for whom
// the tag is for.
var Tagging = &entity.Type{
	No: 111, Name: "tagging", Apps: selling, Rank: 63, Root: attach.Parent, Falls: true,
	Everything: []entity.Bound{{Field: "visibility", Value: attach.Public}},
	Fields: []*entity.Field{
		entity.To(1, "tag", "tag").Need().Fixed(),
		entity.To(2, attach.Parent).Need().Fixed().OfPerson(),
		entity.OneOf(3, attach.ParentType, taggable...).System(),
		entity.OneOf(4, "visibility", attach.Public, attach.Private).Else(attach.Private).System(),
		entity.To(5, "owner", "employee").System(),
	},
	Drafted: likeItsTag,
	Check: func(c entity.Context, _, after *entity.Record) error {
		tag, ok := c.Load(after.Get("tag").Ref())
		if ok && after.Get("visibility").Text() != tag.Get("visibility").Text() {
			return fault.Newf(fault.BadValue, "A tagging is for whom its tag is for.").OnField("visibility")
		}
		return nil
	},
	Created: func(c entity.Context, r *entity.Record) error {
		likeItsTag(c, r)
		if r.Get(attach.ParentType).IsNull() {
			return fault.Newf(fault.BadReference, "%s must be one of: %s.", attach.Parent, strings.Join(taggable, ", ")).OnField(attach.Parent)
		}
		for _, o := range taggings(c, r.Get("tag").Ref(), r.Get(attach.Parent).Ref()) {
			if o.ID != r.ID {
				return fault.Newf(fault.Duplicate, "The record already has this tag.").OnField("tag")
			}
		}
		return nil
	},
}

// likeItsTag notes the type of the record tagged, and whose and for whom the
// tag is: by these the right to attach it is judged.
func likeItsTag(c entity.Context, r *entity.Record) {
	attach.Drafted(c, r)
	if tag, ok := c.Load(r.Get("tag").Ref()); ok && tag.Type.Name == "tag" {
		r.Set("visibility", tag.Get("visibility"))
		r.Set("owner", tag.Get("owner"))
	}
}

// taggings returns where the record has the tag: one tagging or none.
func taggings(c entity.Context, tag, record ident.RecordID) []*entity.Record {
	var out []*entity.Record
	c.Referring("tagging", attach.Parent, record, func(o *entity.Record) bool {
		if o.Get("tag").Ref() == tag {
			out = append(out, o)
		}
		return true
	})
	return out
}

// attachTag puts the tag on the records that don't have it yet.
func attachTag(c entity.Context, tag *entity.Record, args entity.Args) error {
	return eachTaggable(c, args, func(id ident.RecordID) error {
		if len(taggings(c, tag.ID, id)) > 0 {
			return nil
		}
		_, err := c.Create("tagging", map[string]entity.Value{"tag": entity.RefValue(tag.ID), attach.Parent: entity.RefValue(id)})
		return err
	})
}

// detachTag takes the tag off the records that have it.
func detachTag(c entity.Context, tag *entity.Record, args entity.Args) error {
	return eachTaggable(c, args, func(id ident.RecordID) error {
		for _, o := range taggings(c, tag.ID, id) {
			if err := c.Delete(o); err != nil {
				return err
			}
		}
		return nil
	})
}

// eachTaggable calls f for each of the records that the action names, which
// the core found the actor to see. One that can bear no tags is refused like
// one that is not there.
func eachTaggable(c entity.Context, args entity.Args, f func(id ident.RecordID) error) error {
	for _, s := range args["records"].Set() {
		id := ident.RecordID(s)
		if p, ok := c.Load(id); !ok || !slices.Contains(taggable, p.Type.Name) {
			return fault.New(fault.BadReference).OnField("records")
		}
		if err := f(id); err != nil {
			return err
		}
	}
	return nil
}
