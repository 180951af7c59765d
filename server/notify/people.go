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
		// Which client it is about is told to nobody who loses it. Administrators
		// from whom the client is hidden are not told that anything is about it.
		r.Event, r.Category, r.Channels, r.Nameless, r.ToActor = "access.changed", outbox.Access, outbox.Silent, true, true
		r.Text = say("What you may see has changed.", "Ihre Rechte haben sich geändert.", "Vos droits ont changé.")
		r.When = func(outbox.Context, outbox.Change) bool { return true }
		r.Overseers = holding(administrator)
		return &r
	}
	return []*outbox.Rule{
		rights(outbox.Rule{Type: admin.RoleAssignment, People: named("employee")}),
		rights(outbox.Rule{Type: admin.IndividualPermission, People: named("employee")}),
		rights(outbox.Rule{Type: admin.ClientVisibility, People: named("employee")}),
		rights(outbox.Rule{Type: admin.OnsiteClient, People: named("employee")}),
		rights(outbox.Rule{Type: everyone.Delegation, People: named("delegate")}),
		rights(outbox.Rule{Type: admin.VisibilityRule, People: func(c outbox.Context, x outbox.Change) []ident.RecordID {
			v, ok := c.Load(x.Record().Get("visibility").Ref())
			if !ok {
				return nil
			}
			return []ident.RecordID{v.Get("employee").Ref()}
		}}),
		{
			Event: "device.added", Type: admin.Device, Category: outbox.Access, Channels: outbox.Mail, ToActor: true,
			Text: say("Somebody signed in with your name on a new device.", "Unter Ihrem Namen hat sich ein neues Gerät angemeldet.", "Un nouvel appareil s'est connecté à votre nom."),
			When: made, People: named("employee"),
		},
		{
			Event: outbox.FileRefused, Category: outbox.Sync, Channels: outbox.InApp | outbox.Push, ToActor: true,
			Text: say("A file you sent was refused and deleted.", "Eine von Ihnen gesendete Datei wurde abgelehnt und gelöscht.", "Un fichier que vous avez envoyé a été refusé et supprimé."),
		},
		{
			// Nothing that was typed is told, and not how it was settled: whoever may
			// know sees it on the conflict.
			Event: "conflict.settled", Type: everyone.Conflict, Category: outbox.Sync, Channels: outbox.InApp,
			Text:   say("Somebody has settled a conflict of yours.", "Jemand hat einen Ihrer Konflikte geklärt.", "Quelqu'un a réglé un de vos conflits."),
			Fields: status, When: became(everyone.Settled), People: named("author"),
		},
		{
			Event: "mail.refused", Type: admin.Employee, Category: outbox.Access, Channels: outbox.InApp,
			Text:   say("Mail to your address comes back. Nothing more is sent there until you confirm it.", "E-Mails an Ihre Adresse kommen zurück. Es wird keine mehr gesendet, bis Sie die Adresse bestätigen.", "Les messages à votre adresse reviennent. Plus rien n'y est envoyé tant que vous ne la confirmez pas."),
			Fields: []string{"mailStatus"},
			When: func(_ outbox.Context, x outbox.Change) bool {
				return x.Before != nil && x.After != nil && x.Before.Get("mailStatus").IsNull() && !x.After.Get("mailStatus").IsNull()
			},
			People: func(_ outbox.Context, x outbox.Change) []ident.RecordID { return []ident.RecordID{x.After.ID} },
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
