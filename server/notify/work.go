package notify

import (
	"slices"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/server/module/helpdesk"
	"satchel/server/module/service"
	"satchel/sync/outbox"
)

// work is what happens to job activities and jobs.
func work() []*outbox.Rule {
	visit := schedule{
		typ: service.JobActivity, who: "assignee", when: []string{"scheduledStart", "scheduledEnd"}, category: outbox.Jobs, high: true,
	}
	return append([]*outbox.Rule{
		visit.assigned(say("Work was assigned to you.", "Ihnen wurde Arbeit zugewiesen.", "Un travail vous a été attribué.")),
		visit.moved(say("Work of yours was moved.", "Ihre Arbeit wurde verlegt.", "Un de vos travaux a été déplacé.")),
		visit.removed(),
		visit.queued(say("Work is back in the queue.", "Arbeit ist zurück in der Warteschlange.", "Un travail est de retour dans la file."), serviceManager),
		{
			Event: "jobActivity.cancelled", Type: service.JobActivity, Category: outbox.Jobs, High: true, Urgent: true,
			Text:     say("Work of yours was cancelled.", "Ihre Arbeit wurde abgesagt.", "Un de vos travaux a été annulé."),
			Channels: outbox.InApp | outbox.Push, Fields: status, When: became(service.Cancelled), People: named("assignee"),
		},
		{
			Event: "jobActivity.cleared", Type: service.JobActivity, Category: outbox.Jobs,
			Text:     say("Work was cleared.", "Arbeit wurde abgeschlossen gemeldet.", "Un travail a été déclaré terminé."),
			Channels: outbox.InApp | outbox.Digest, Fields: status, When: became(service.Cleared), People: holding(serviceManager),
		},
	}, agreed(schedule{typ: service.Job, category: outbox.Jobs}, deadline("due", unfinished), func(c outbox.Context, x outbox.Change) []ident.RecordID {
		var who []ident.RecordID
		c.Referring(service.JobActivity.Name, "job", x.After.ID, func(a *entity.Record) bool {
			if open(a) {
				who = append(who, a.Get("assignee").Ref())
			}
			return true
		})
		return append(who, c.Holding(serviceManager)...)
	})...)
}

// unfinished reports whether a job is yet to be done.
func unfinished(job *entity.Record) bool {
	return !slices.Contains([]string{service.JobCompleted, service.JobClosed, service.JobCancelled}, job.StatusText())
}

// tickets is what happens to tickets and in their conversations.
func tickets() []*outbox.Rule {
	ticket := schedule{typ: helpdesk.Ticket, who: "assignee", when: []string{"due"}, category: outbox.Tickets, high: true}
	ofTicket := func(fields ...string) func(outbox.Context, outbox.Change) []ident.RecordID {
		return func(c outbox.Context, x outbox.Change) (who []ident.RecordID) {
			t, ok := c.Load(x.After.Get("ticket").Ref())
			if !ok {
				return nil
			}
			for _, n := range fields {
				if t.Type.Field(n).Kind == entity.Ref {
					who = append(who, t.Get(n).Ref())
					continue
				}
				for _, id := range t.Get(n).Set() {
					who = append(who, ident.RecordID(id))
				}
			}
			return who
		}
	}
	said := func(kind string) func(outbox.Context, outbox.Change) bool {
		return func(_ outbox.Context, x outbox.Change) bool {
			return x.Before == nil && x.After.Get("kind").Text() == kind
		}
	}
	return append([]*outbox.Rule{
		{
			Event: "ticket.opened", Type: helpdesk.Ticket, Category: outbox.Tickets,
			Text:     say("A ticket was opened.", "Ein Ticket wurde eröffnet.", "Un ticket a été ouvert."),
			Channels: outbox.InApp | outbox.Push, When: made,
			People: func(c outbox.Context, x outbox.Change) []ident.RecordID {
				return append(c.Holding(ticketManager), onsite(c, x.After.Client())...)
			},
		},
		ticket.assigned(say("A ticket was assigned to you.", "Ihnen wurde ein Ticket zugewiesen.", "Un ticket vous a été attribué.")),
		ticket.moved(say("A ticket of yours is due at another time.", "Eines Ihrer Tickets ist zu einer anderen Zeit fällig.", "L'échéance d'un de vos tickets a changé.")),
		ticket.removed(),
		ticket.queued(say("A ticket is back in the queue.", "Ein Ticket ist zurück in der Warteschlange.", "Un ticket est de retour dans la file."), ticketManager),
		{
			// Work that is called off before anybody resolved it.
			Event: "ticket.cancelled", Type: helpdesk.Ticket, Category: outbox.Tickets, High: true, Urgent: true,
			Text:     say("A ticket of yours was closed.", "Eines Ihrer Tickets wurde geschlossen.", "Un de vos tickets a été fermé."),
			Channels: outbox.InApp | outbox.Push, People: named("assignee"),
			Fields: status,
			When: func(c outbox.Context, x outbox.Change) bool {
				return became(helpdesk.Closed)(c, x) && open(x.Before)
			},
		},
		{
			Event: "ticket.update-requested", Type: helpdesk.Update, Category: outbox.Tickets,
			Text:     say("Somebody asks for an update on a ticket of yours.", "Jemand fragt nach dem Stand eines Ihrer Tickets.", "On demande des nouvelles d'un de vos tickets."),
			Channels: outbox.InApp | outbox.Push | outbox.Mail, When: said(helpdesk.UpdateRequest), People: ofTicket("assignee"),
		},
		{
			Event: "ticket.replied", Type: helpdesk.Update, Category: outbox.Tickets,
			Text:     say("There is a reply on a ticket of yours.", "Zu einem Ihrer Tickets gibt es eine Antwort.", "Un de vos tickets a reçu une réponse."),
			Channels: outbox.InApp | outbox.Push | outbox.Mail, When: said(helpdesk.Reply), People: ofTicket("requester", "watchers"),
		},
	}, agreed(ticket, deadline("due", open), func(c outbox.Context, x outbox.Change) []ident.RecordID {
		return append(c.Holding(serviceManager, ticketManager), x.After.Get("assignee").Ref())
	})...)
}

// onsite are the managers who are onsite at a client.
func onsite(c outbox.Context, client ident.RecordID) []ident.RecordID {
	managers := c.Holding(onsiteManager)
	if len(managers) == 0 {
		return nil
	}
	var out []ident.RecordID
	c.Referring("onsiteClient", "client", client, func(r *entity.Record) bool {
		if who := r.Get("employee").Ref(); slices.Contains(managers, who) {
			out = append(out, who)
		}
		return true
	})
	return out
}
