package billing

import "satchel/internal/entity"

var app = []entity.App{entity.Billing}

// Statuses of contracts, credit notes and billing runs, beside Draft and
// Approved.
const (
	Active  = "Active"
	Expired = "Expired"
	Done    = "Done"
)

var (
	contractStates = []string{Draft, Active, Expired}
	creditStates   = []string{Draft, Approved}
	runStates      = []string{Draft, Done}
)

// priced is a list of what is charged.
func priced(no uint8) *entity.Field {
	return entity.List(no, "lines",
		entity.Str(1, "text").Need(),
		entity.To(2, "product", "product"),
		entity.Decimal(3, "quantity").Need(),
		entity.Amount(4, "unitPrice").Need(),
		entity.Decimal(5, "taxPercent"),
	)
}

// Contract is what a client pays for again and again; a billing run drafts
// the invoices of the active ones.
var Contract = &entity.Type{
	No: 501, Name: "contract", Apps: app, Rank: 43, Root: "client",
	Fields: []*entity.Field{
		entity.To(1, "client", "client").Need().Fixed(),
		entity.Str(2, "number").UpTo(60).Searched(), // given when activated, if not before
		entity.Str(3, "title").Need().Searched(),
		entity.OneOf(4, "kind", "service", "maintenance", "rental", "subscription", "other").Else("other").Need(),
		entity.On(5, "starts").Need(),
		entity.On(6, "ends"),
		entity.OneOf(7, "interval", "monthly", "quarterly", "yearly", "once").Else("monthly").Need(),
		priced(8),
		entity.Amount(9, "net").System(),
		entity.Amount(10, "tax").System(),
		entity.Amount(11, "total").System(),
		entity.OneOf(12, "status", contractStates...).Else(Active).System(),
		entity.At(13, "activatedAt").System(),
		entity.At(14, "expiredAt").System(),
		entity.To(15, "owner", "employee"),
		// The first day that no invoice covers yet.
		entity.On(16, "nextBilling").System(),
		entity.Long(17, "notes"),
	},
	Status: &entity.Lifecycle{Field: "status", Initial: Draft, States: contractStates},
	Actions: []*entity.Action{
		{Name: "activate", App: entity.Billing, From: []string{Draft}, To: Active, Stamps: []string{"activatedAt"}},
		{Name: "expire", App: entity.Billing, From: []string{Active}, To: Expired, Stamps: []string{"expiredAt"}},
	},
}

// CreditNote takes back a part of an invoice.
var CreditNote = &entity.Type{
	No: 502, Name: "creditNote", Apps: []entity.App{entity.Billing, entity.Debtors}, Rank: 53, Root: "client",
	Fields: []*entity.Field{
		entity.To(1, "client", "client").Need().Fixed(),
		entity.Str(2, "number").UpTo(60).Searched(), // given when approved, if not before
		entity.To(3, "invoice", "invoice").Need().Fixed(),
		entity.Str(4, "reason"),
		priced(5),
		entity.Amount(6, "net").System(),
		entity.Amount(7, "tax").System(),
		entity.Amount(8, "total").System(),
		entity.OneOf(9, "status", creditStates...).Else(Approved).System(),
		entity.At(10, "approvedAt").System(),
		entity.On(11, "issued"),
	},
	Status: &entity.Lifecycle{Field: "status", Initial: Draft, States: creditStates},
	Actions: []*entity.Action{
		{Name: "approve", App: entity.Billing, From: []string{Draft}, To: Approved, Stamps: []string{"approvedAt"}},
	},
}

// Run drafts an invoice for each contract that falls due up to a day. It says
// nothing of how many: the invoices name it, and each person counts those they
// see.
var Run = &entity.Type{
	No: 503, Name: "billingRun", Apps: app, Rank: 42,
	Fields: []*entity.Field{
		entity.Str(1, "name").Need().Searched(),
		entity.On(2, "through").Need(),
		entity.OneOf(3, "status", runStates...).Else(Done).System(),
		entity.At(4, "ranAt").System(),
	},
	Status: &entity.Lifecycle{Field: "status", Initial: Draft, States: runStates},
	Actions: []*entity.Action{
		{Name: "run", App: entity.Billing, From: []string{Draft}, To: Done, Stamps: []string{"ranAt"}},
	},
}
