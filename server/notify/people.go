package notify

import (
	"satchel/internal/ident"
	"satchel/server/module/admin"
	"satchel/server/module/everyone"
	"satchel/sync/outbox"
)

// people is what happens to people's rights, devices and offline work.
func people() []*outbox.Rule {
	rights := func(r outbox.Rule) *outbox.Rule {
		// A push that shows nothing: the phone pulls, and what is gone is gone.
		// Which client it is about is told to nobody who loses it.
		r.Event, r.Category, r.Channels, r.Nameless, r.ToActor = "access.changed", outbox.Access, outbox.Silent, true, true
		r.Text = say("What you may see has changed.", "Ihre Rechte haben sich geändert.", "Vos droits ont changé.")
		r.When = func(outbox.Context, outbox.Change) bool { return true }
		return &r
	}
	and := func(who func(outbox.Context, outbox.Change) []ident.RecordID) func(outbox.Context, outbox.Change) []ident.RecordID {
		return func(c outbox.Context, x outbox.Change) []ident.RecordID {
			return append(who(c, x), c.Holding(administrator)...)
		}
	}
	return []*outbox.Rule{
		rights(outbox.Rule{Type: admin.RoleAssignment, People: and(named("employee"))}),
		rights(outbox.Rule{Type: admin.IndividualPermission, People: and(named("employee"))}),
		rights(outbox.Rule{Type: admin.ClientVisibility, People: and(named("employee"))}),
		rights(outbox.Rule{Type: admin.OnsiteClient, People: and(named("employee"))}),
		rights(outbox.Rule{Type: everyone.Delegation, People: and(named("delegate"))}),
		rights(outbox.Rule{Type: admin.VisibilityRule, People: and(func(c outbox.Context, x outbox.Change) []ident.RecordID {
			v, ok := c.Load(x.Record().Get("visibility").Ref())
			if !ok {
				return nil
			}
			return []ident.RecordID{v.Get("employee").Ref()}
		})}),
		{
			Event: "device.added", Type: admin.Device, Category: outbox.Access, Channels: outbox.Mail, ToActor: true,
			Text: say("Somebody signed in with your name on a new device.", "Unter Ihrem Namen hat sich ein neues Gerät angemeldet.", "Un nouvel appareil s'est connecté à votre nom."),
			When: made, People: named("employee"),
		},
		{
			Event: outbox.LastAdmin, Category: outbox.Access, Channels: outbox.Mail, Nameless: true, ToActor: true, Urgent: true,
			Text: say("Somebody tried what would have left no customer administrator.", "Jemand hat versucht, was keinen Administrator übrig gelassen hätte.", "Quelqu'un a tenté ce qui n'aurait laissé aucun administrateur."),
		},
		{
			Event: outbox.OfflineRefused, Category: outbox.Sync, Channels: outbox.InApp | outbox.Push, ToActor: true,
			Text: say("A change you made offline could not be applied.", "Eine offline gemachte Änderung wurde nicht übernommen.", "Une modification faite hors ligne n'a pas été appliquée."),
		},
		{
			Event: outbox.OfflineConflict, Category: outbox.Sync, Channels: outbox.InApp | outbox.Push, ToActor: true,
			Text: say("A change you made offline clashes with another.", "Eine offline gemachte Änderung widerspricht einer anderen.", "Une modification faite hors ligne en contredit une autre."),
		},
	}
}
