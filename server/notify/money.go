package notify

import (
	"time"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/server/module/billing"
	"satchel/server/module/lines"
	"satchel/server/module/stock"
	"satchel/sync/outbox"
)

// expiringAhead is how long before its end a contract is told to expire.
const expiringAhead ident.Millis = 30 * 24 * 60 * 60 * 1000

// stockAndMoney is what happens to part orders, invoices and contracts.
func stockAndMoney() []*outbox.Rule {
	return []*outbox.Rule{
		{
			Event: "partOrder.moved", Type: stock.PartOrder, Category: outbox.Jobs,
			Text:     say("A part you asked for has moved on.", "Ein von Ihnen angefordertes Teil ist einen Schritt weiter.", "Une pièce que vous avez demandée a avancé."),
			Channels: outbox.InApp | outbox.Push, People: named("requestedBy"),
			Fields: status,
			When: func(_ outbox.Context, x outbox.Change) bool {
				return x.Before != nil && x.After != nil && x.Before.StatusText() != x.After.StatusText()
			},
		},
		{
			// What a billing run drafts is told of once, with the run.
			Event: "invoice.awaiting-approval", Type: billing.Invoice, Category: outbox.Sync,
			Text:     say("An invoice awaits approval.", "Eine Rechnung wartet auf Freigabe.", "Une facture attend d'être approuvée."),
			Channels: outbox.InApp | outbox.Mail, People: holding(approver),
			Fields: []string{"status", "total"},
			When: func(_ outbox.Context, x outbox.Change) bool {
				return x.After != nil && x.After.StatusText() == billing.Draft && x.After.Get("billingRun").IsNull() &&
					charges(x.After) && (x.Before == nil || !charges(x.Before))
			},
		},
		{
			Event: "billingRun.done", Type: billing.Run, Category: outbox.Sync,
			Text:     say("A billing run has drafted invoices.", "Ein Abrechnungslauf hat Rechnungen entworfen.", "Une facturation a préparé des factures."),
			Channels: outbox.InApp | outbox.Mail, People: holding(approver), Fields: status, When: became(billing.Done),
		},
		{
			Event: "invoice.approved", Type: billing.Invoice, Category: outbox.Sync,
			Text:     say("An invoice of yours was approved.", "Eine Ihrer Rechnungen wurde freigegeben.", "Une de vos factures a été approuvée."),
			Channels: outbox.InApp | outbox.Mail, People: named("owner"),
			Fields: status,
			When: func(_ outbox.Context, x outbox.Change) bool {
				return x.Before != nil && x.After != nil && x.Before.StatusText() == billing.Draft && x.After.StatusText() == billing.Approved
			},
		},
		{
			Event: "invoice.voided", Type: billing.Invoice, Category: outbox.Sync,
			Text:     say("An invoice of yours was voided.", "Eine Ihrer Rechnungen wurde storniert.", "Une de vos factures a été annulée."),
			Channels: outbox.InApp | outbox.Mail, People: named("owner"), Fields: status, When: became(billing.Void),
		},
		{
			Event: "contract.activated", Type: billing.Contract, Category: outbox.Sync,
			Text:     say("A contract was activated.", "Ein Vertrag wurde aktiviert.", "Un contrat a été activé."),
			Channels: outbox.Digest, People: contractors, Fields: status, When: became(billing.Active),
		},
		{
			Event: "contract.expiring", Type: billing.Contract, Category: outbox.Sync,
			Text:     say("A contract is about to expire.", "Ein Vertrag läuft bald aus.", "Un contrat arrive bientôt à échéance."),
			Channels: outbox.Digest, People: contractors, Until: ends,
			At: func(r *entity.Record) (ident.Millis, bool) {
				at, ok := ends(r)
				return at - expiringAhead, ok
			},
		},
	}
}

// charges reports whether an invoice is for something.
func charges(r *entity.Record) bool {
	n, _ := lines.Amount(r.Get("total"))
	return n > 0
}

// ends is when a contract that runs will have ended: with its last day, as UTC
// has it.
func ends(r *entity.Record) (ident.Millis, bool) {
	if r.StatusText() != billing.Active {
		return 0, false
	}
	day, err := time.Parse(time.DateOnly, r.Get("ends").Text())
	if err != nil {
		return 0, false
	}
	return ident.MillisOf(day.AddDate(0, 0, 1)), true
}

// contractors are the owners of a contract and of its client, and those who
// bill.
func contractors(c outbox.Context, x outbox.Change) []ident.RecordID {
	who := []ident.RecordID{x.After.Get("owner").Ref()}
	if client, ok := c.Load(x.After.Client()); ok {
		who = append(who, client.Get("owner").Ref())
	}
	return append(who, c.Holding(approver, biller)...)
}
