// Package everyone declares the records that belong to a person rather than
// to an app. It is imported by server/module and by server/roles.
package everyone

import (
	"satchel/internal/entity"
	"satchel/server/module/attach"
)

var app = []entity.App{entity.Everyone}

// Notification tells one person of one event. It belongs to the client of
// the record it is about, so that hiding the client hides it too; only the
// system makes one.
var Notification = &entity.Type{
	No: 1000, Name: "notification", Apps: app, Rank: 80, Root: "about",
	Fields: []*entity.Field{
		entity.To(1, "recipient", "employee").Fixed().System(),
		entity.Str(2, "event").UpTo(60).System(),
		entity.To(3, "about").Fixed().System(),
		entity.Str(4, "aboutType").UpTo(40).System(),
		entity.Str(5, "text").UpTo(500).System(),
		entity.At(6, "readAt").System(),
	},
	Actions: []*entity.Action{{Name: "read", App: entity.Everyone, Bulk: true, Stamps: []string{"readAt"}}},
}

// Preference is a setting of one person; clients choose keys and values.
var Preference = &entity.Type{
	No: 1001, Name: "preference", Apps: app, Rank: 80,
	Fields: []*entity.Field{
		entity.To(1, "owner", "employee").Need().Fixed(),
		entity.Str(2, "key").Need().Fixed().UpTo(80),
		entity.Long(3, "value"),
	},
	Drafted: func(c entity.Context, r *entity.Record) { attach.Author(c, r, "owner") },
}

// Delegation lets one person act for another for a time: the delegate has the
// delegator's rights beside the own ones, less what is hidden from either.
var Delegation = &entity.Type{
	No: 1002, Name: "delegation", Apps: []entity.App{entity.Everyone, entity.Admin}, Rank: 70,
	Fields: []*entity.Field{
		entity.To(1, "delegator", "employee").Need().Fixed(),
		entity.To(2, "delegate", "employee").Need().Fixed(),
		entity.At(3, "from"),
		entity.At(4, "until").Need(),
		entity.Str(5, "reason"),
	},
	Drafted: func(c entity.Context, r *entity.Record) { attach.Author(c, r, "delegator") },
	Check:   func(_ entity.Context, _, after *entity.Record) error { return attach.InOrder(after, "from", "until") },
}

// Types lists the package's types.
func Types() []*entity.Type { return []*entity.Type{Notification, Preference, Delegation} }
