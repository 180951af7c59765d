// Package notify declares who is told of what: the events of every module, as
// rules that the core runs in the transaction of a change. It decides nothing
// about who may know: the core asks that of everybody a rule names, when it
// happens and again at each attempt to send. It imports the modules'
// declarations; server/suite hands the rules down.
//
// An event is named by a type and what befell it. Preferences of a person name
// events, so that names are never changed.
package notify

import (
	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/server/module/crm"
	"satchel/sync/outbox"
)

// Roles whose holders are told of what is nobody's own.
const (
	serviceManager = "service.manager"
	ticketManager  = "level.ticket-manager"
	onsiteManager  = "level.onsite-manager"
	approver       = "billing.administrator"
	biller         = "billing.agent"
	administrator  = "level.customer-administrator"
)

// Rules returns the checked rules of all modules.
func Rules() (*outbox.Rules, error) {
	var all []*outbox.Rule
	for _, list := range [][]*outbox.Rule{work(), tickets(), tasks(), stockAndMoney(), people()} {
		all = append(all, list...)
	}
	return outbox.NewRules(all...)
}

// say is a phrase in the languages of the product.
func say(en, de, fr string) map[string]string {
	return map[string]string{"en": en, "de": de, "fr": fr}
}

// made is the creation of a record.
func made(_ outbox.Context, x outbox.Change) bool { return x.Before == nil }

// became is a status reached by a change, not one that a record began with.
func became(status string) func(outbox.Context, outbox.Change) bool {
	return func(_ outbox.Context, x outbox.Change) bool {
		return x.Before != nil && x.After != nil && x.After.StatusText() == status && x.Before.StatusText() != status
	}
}

// status is the field that an event about a status looks at.
var status = []string{"status"}

// named are the people a field names, of the record as it is or was.
func named(field string) func(outbox.Context, outbox.Change) []ident.RecordID {
	return func(_ outbox.Context, x outbox.Change) []ident.RecordID {
		return []ident.RecordID{x.Record().Get(field).Ref()}
	}
}

// former are the people whom a field named before.
func former(field string) func(outbox.Context, outbox.Change) []ident.RecordID {
	return func(_ outbox.Context, x outbox.Change) []ident.RecordID {
		return []ident.RecordID{x.Before.Get(field).Ref()}
	}
}

// holding are those who hold one of the roles.
func holding(roles ...string) func(outbox.Context, outbox.Change) []ident.RecordID {
	return func(c outbox.Context, _ outbox.Change) []ident.RecordID { return c.Holding(roles...) }
}

// open reports whether there is something left to do: a record whose type has
// no such statuses is open as long as it is there.
func open(r *entity.Record) bool {
	if r.Type.Status == nil || r.Type.Status.Open == nil {
		return true
	}
	s := r.StatusText()
	for _, o := range r.Type.Status.Open {
		if o == s {
			return true
		}
	}
	return false
}

// Schedule of work that is given to one person: how it comes to them, moves and
// goes. Each of the rules looks at one type.
type schedule struct {
	typ      *entity.Type
	who      string   // the field that names the person
	when     []string // the fields that say when
	category outbox.Category
	high     bool
}

// assigned tells whoever is given the work.
func (s schedule) assigned(text map[string]string) *outbox.Rule {
	return &outbox.Rule{
		Event: s.typ.Name + ".assigned", Type: s.typ, Category: s.category, High: s.high, Text: text,
		Channels: outbox.InApp | outbox.Push, Fields: []string{s.who},
		When: func(_ outbox.Context, x outbox.Change) bool {
			return x.After != nil && !x.After.Get(s.who).IsNull() && open(x.After) &&
				(x.Before == nil || string(x.Before.Get(s.who)) != string(x.After.Get(s.who)))
		},
		People: named(s.who),
	}
}

// moved tells whoever has the work that it is at another time.
func (s schedule) moved(text map[string]string) *outbox.Rule {
	return &outbox.Rule{
		Event: s.typ.Name + ".moved", Type: s.typ, Category: s.category, High: s.high, Text: text,
		Channels: outbox.InApp | outbox.Push, Fields: s.when,
		When: func(_ outbox.Context, x outbox.Change) bool {
			return x.Before != nil && x.After != nil && open(x.After) &&
				string(x.Before.Get(s.who)) == string(x.After.Get(s.who))
		},
		People: named(s.who),
	}
}

// removed tells whoever had the work that it is gone, and nothing else: they
// may know no more of it. Those from whom it is hidden by now, and always was
// for all they know, are told nothing.
func (s schedule) removed() *outbox.Rule {
	return &outbox.Rule{
		Event: s.typ.Name + ".removed", Type: s.typ, Category: s.category, High: s.high, Nameless: true, Former: true,
		Text:     say("Something was removed from your schedule.", "Etwas wurde aus Ihrem Plan genommen.", "Quelque chose a été retiré de votre planning."),
		Channels: outbox.InApp | outbox.Push, Fields: []string{s.who},
		When: func(_ outbox.Context, x outbox.Change) bool {
			return x.Before != nil && !x.Before.Get(s.who).IsNull() && open(x.Before) &&
				(x.After == nil || string(x.Before.Get(s.who)) != string(x.After.Get(s.who)))
		},
		People: former(s.who),
	}
}

// queued tells those who hold a role that the core took the work from somebody
// who may not know of its client any more.
func (s schedule) queued(text map[string]string, roles ...string) *outbox.Rule {
	return &outbox.Rule{
		Event: s.typ.Name + ".queued", Type: s.typ, Category: s.category, Text: text, Channels: outbox.InApp,
		Fields: []string{s.who},
		When: func(c outbox.Context, x outbox.Change) bool {
			return c.Actor() == "" && x.Before != nil && x.After != nil && open(x.After) &&
				!x.Before.Get(s.who).IsNull() && x.After.Get(s.who).IsNull()
		},
		People: holding(roles...),
	}
}

// deadline is the time of a record by which it is to be done, while it is not.
func deadline(field string, left func(*entity.Record) bool) func(*entity.Record) (ident.Millis, bool) {
	return func(r *entity.Record) (ident.Millis, bool) {
		at, ok := r.Get(field).Time()
		return at, ok && left(r)
	}
}

// How long before a deadline it is near: two hours, or the last quarter of the
// time there was, where that is less.
const (
	near    ident.Millis = 2 * 60 * 60 * 1000
	quarter ident.Millis = 4
)

// ahead is when a deadline comes near.
func ahead(due func(*entity.Record) (ident.Millis, bool)) func(*entity.Record) (ident.Millis, bool) {
	return func(r *entity.Record) (ident.Millis, bool) {
		at, ok := due(r)
		if !ok {
			return 0, false
		}
		made, _ := r.Value(entity.NoCreatedAt).Time()
		return at - min(near, max(0, at-made)/quarter), true
	}
}

// agreed are the two rules about a time that was agreed on.
func agreed(s schedule, due func(*entity.Record) (ident.Millis, bool), people func(outbox.Context, outbox.Change) []ident.RecordID) []*outbox.Rule {
	rule := func(event string, at func(*entity.Record) (ident.Millis, bool), text map[string]string) *outbox.Rule {
		return &outbox.Rule{
			Event: s.typ.Name + event, Type: s.typ, Category: s.category, High: true, Urgent: true, Text: text,
			Channels: outbox.InApp | outbox.Push | outbox.Mail, At: at, People: people,
		}
	}
	soon := rule(".sla-near", ahead(due), say("An agreed time is near.", "Eine vereinbarte Zeit rückt näher.", "Un délai convenu approche."))
	soon.Until = due
	return []*outbox.Rule{soon, rule(".sla-breached", due, say("An agreed time has passed.", "Eine vereinbarte Zeit ist überschritten.", "Un délai convenu est dépassé."))}
}

func tasks() []*outbox.Rule {
	task := schedule{typ: crm.Task, who: "assignee", when: []string{"due"}, category: outbox.Jobs}
	call := schedule{typ: crm.Activity, who: "owner", when: []string{"when"}, category: outbox.Jobs}
	return []*outbox.Rule{
		task.assigned(say("A task was assigned to you.", "Ihnen wurde eine Aufgabe zugewiesen.", "Une tâche vous a été attribuée.")),
		task.removed(),
		{
			Event: "task.due", Type: crm.Task, Category: outbox.Jobs, Channels: outbox.InApp | outbox.Push,
			Text: say("A task is due.", "Eine Aufgabe ist fällig.", "Une tâche est à faire maintenant."),
			At:   deadline("due", open), People: named("assignee"),
		},
		call.assigned(say("An activity was assigned to you.", "Ihnen wurde eine Aktivität zugewiesen.", "Une activité vous a été attribuée.")),
		call.moved(say("An activity of yours was moved.", "Eine Ihrer Aktivitäten wurde verlegt.", "Une de vos activités a été déplacée.")),
		call.removed(),
	}
}
