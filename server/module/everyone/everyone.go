// Package everyone declares the records that belong to a person rather than
// to an app. It is imported by server/module and by server/roles.
package everyone

import (
	"satchel/internal/entity"
	"satchel/server/module/attach"
)

var app = []entity.App{entity.Everyone}

// Notification tells one person of one event. It belongs to the client of
// the record it is about, so that hiding the client hides it too, and goes with
// that record; only the system makes one. Its text is a general one: what the
// record says, each reads with the own rights.
var Notification = &entity.Type{
	No: 1000, Name: "notification", Apps: app, Rank: 80, Root: "about", Falls: true,
	Fields: []*entity.Field{
		entity.To(1, "recipient", "employee").Fixed().System().OfPerson(),
		entity.Str(2, "event").UpTo(60).System(),
		entity.To(3, "about").Fixed().System().OfPerson(),
		entity.Str(4, "aboutType").UpTo(40).System(),
		entity.Str(5, "text").UpTo(500).System(),
		entity.At(6, "readAt").System(),
	},
	Actions: []*entity.Action{{Name: "read", App: entity.Everyone, Bulk: true, Stamps: []string{"readAt"}}},
}

// Preference is a setting of one person; clients choose keys and values.
var Preference = &entity.Type{
	No: 1001, Name: "preference", Apps: app, Rank: 80, Falls: true,
	Fields: []*entity.Field{
		entity.To(1, "owner", "employee").Need().Fixed().OfPerson(),
		entity.Str(2, "key").Need().Fixed().UpTo(80),
		entity.Long(3, "value"),
	},
	Drafted: func(c entity.Context, r *entity.Record) { attach.Author(c, r, "owner") },
}

// Delegation lets one person act for another for a time: the delegate has the
// delegator's rights beside the own ones, less what is hidden from either.
var Delegation = &entity.Type{
	No: 1002, Name: "delegation", Apps: []entity.App{entity.Everyone, entity.Admin}, Rank: 70, Root: "delegate", Falls: true,
	Fields: []*entity.Field{
		entity.To(1, "delegator", "employee").Need().Fixed().OfPerson(),
		entity.To(2, "delegate", "employee").Need().Fixed().OfPerson(),
		entity.At(3, "from"),
		entity.At(4, "until").Need(),
		entity.Str(5, "reason"),
	},
	Drafted: func(c entity.Context, r *entity.Record) { attach.Author(c, r, "delegator") },
	Check:   func(_ entity.Context, _, after *entity.Record) error { return attach.InOrder(after, "from", "until") },
}

// What became of a conflict, and how.
const (
	Open    = "Open"
	Settled = "Settled"

	KeptMine   = "mine"
	KeptTheirs = "theirs"
	KeptEdited = "edited"
)

// Actions that settle a conflict.
const (
	KeepMine   = "keep-mine"
	KeepTheirs = "keep-theirs"
	KeepEdited = "keep-edited"
)

var conflictStates = []string{Open, Settled}

// Conflict is one field of a record that somebody changed offline and somebody
// else in the meantime: the record has the other's value, this has what was
// typed. The record's own value is not in it; whoever may see that sees it on
// the record. Only the core makes conflicts and carries their actions out:
// keeping anything but theirs is an edit of the record by whoever settles it.
//
// A conflict goes with its record, so that whether there is one never keeps a
// record from being deleted; what was typed stays in the quarantine then.
var Conflict = &entity.Type{
	No: 1003, Name: "conflict", Apps: app, Rank: 80, Root: "record", Falls: true, NoDelete: true,
	Fields: []*entity.Field{
		entity.To(1, "author", "employee").Fixed().System().OfPerson(),
		entity.To(2, "record").Fixed().System().OfPerson(),
		entity.Str(3, "recordType").UpTo(40).System(),
		entity.Str(4, "field").UpTo(60).System(),
		// Values of the field as JSON text: what was typed, and what it was
		// typed over.
		entity.Long(5, "mine").UpTo(262_144).System(),
		entity.Long(6, "was").UpTo(262_144).System(),
		entity.To(7, "device", "device").System(),
		entity.Integer(8, "mutation").System(), // its number on the device
		entity.At(9, "at").System(),            // when it was typed, by the phone's clock put right
		entity.OneOf(10, "status", conflictStates...).Else(Settled).System(),
		entity.OneOf(11, "how", KeptMine, KeptTheirs, KeptEdited).System(),
		entity.To(12, "settledBy", "employee").System(),
		entity.At(13, "settledAt").System(),
	},
	Status: &entity.Lifecycle{Field: "status", Initial: Open, States: conflictStates},
	Actions: []*entity.Action{
		{Name: KeepMine, App: entity.Everyone, From: []string{Open}, To: Settled},
		{Name: KeepTheirs, App: entity.Everyone, From: []string{Open}, To: Settled},
		// The value is of the field's own kind.
		{Name: KeepEdited, App: entity.Everyone, From: []string{Open}, To: Settled, Args: []*entity.Field{entity.Long(1, "value").UpTo(262_144)}},
	},
}

// Types lists the package's types.
func Types() []*entity.Type { return []*entity.Type{Notification, Preference, Delegation, Conflict} }
