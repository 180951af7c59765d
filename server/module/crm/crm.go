// Package crm declares the client and what every app hangs on it: contacts,
// sites, sales areas and geo areas. It is imported by server/module and by
// server/roles.
package crm

import (
	"slices"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/server/module/sla"
)

// everywhere lists the apps that work with clients, contacts and sites.
var everywhere = []entity.App{entity.CRM, entity.Sales, entity.Billing, entity.Service, entity.Stock, entity.Debtors, entity.Helpdesk}

// customers are the names by which the apps know clients in their URLs.
var customers = map[entity.App]string{
	entity.CRM: "accounts", entity.Sales: "accounts",
	entity.Billing: "customers", entity.Service: "customers", entity.Stock: "customers",
	entity.Debtors: "customers", entity.Helpdesk: "customers", entity.Agents: "customers",
}

// Client is the customer company or person: an account in CRM and Sales, a
// customer in the other apps, one record in all of them. Its areas are chosen
// when it is created; afterwards only set-area moves it, because the sales
// area decides who sees the client and all that belongs to it.
var Client = &entity.Type{
	No: 100, Name: "client", Apps: append(slices.Clone(everywhere), entity.Agents), Aliases: customers, Rank: 10,
	IsClient: true, Archivable: true, Former: "Former client", PersonalIf: &entity.Bound{Field: "kind", Value: "person"},
	Fields: []*entity.Field{
		entity.Str(1, "name").Need().Searched().OfPerson(),
		entity.Str(2, "number").UpTo(60).Searched(),
		entity.OneOf(3, "kind", "company", "person", "public-body").Else("company"),
		entity.To(4, "salesArea", "salesArea").Need().Fixed(),
		entity.To(5, "geoArea", "geoArea").Fixed(),
		entity.To(6, "owner", "employee"),
		entity.Set(7, "phones").UpTo(20).OfPerson(),
		entity.Set(8, "emails").UpTo(20).OfPerson(),
		entity.Str(9, "street").OfPerson(),
		entity.Str(10, "city").Searched().OfPerson(),
		entity.Str(11, "postalCode").UpTo(20).OfPerson(),
		entity.Str(12, "region").OfPerson(),
		entity.Str(13, "country"),
		entity.Position(14, "position").OfPerson(),

		entity.Str(20, "industry").In(entity.FacetCRM).OfPerson(),
		entity.Str(21, "website").In(entity.FacetCRM).OfPerson(),
		entity.Str(22, "source").In(entity.FacetCRM).OfPerson(),
		entity.Long(23, "accountNotes").In(entity.FacetCRM).OfPerson(),

		entity.OneOf(27, "serviceLevel", sla.Levels...).Else("standard").In(entity.FacetService),
		entity.Long(28, "accessNotes").In(entity.FacetService).OfPerson(),

		entity.Integer(32, "paymentTermDays").AtLeast(0).In(entity.FacetBilling),
		entity.Str(33, "taxNumber").UpTo(60).In(entity.FacetBilling).OfPerson(),
		entity.Str(34, "billingEmail").In(entity.FacetBilling).OfPerson(),
		entity.Long(35, "billingNotes").In(entity.FacetBilling).OfPerson(),

		entity.To(39, "carrier", "carrier").In(entity.FacetStock),
		entity.Long(40, "deliveryNotes").In(entity.FacetStock).OfPerson(),

		entity.Amount(44, "creditLimit").In(entity.FacetDebtors),
		entity.Flag(45, "dunningHold").In(entity.FacetDebtors),
		entity.Long(46, "debtorNotes").In(entity.FacetDebtors).OfPerson(),
	},
	Actions: []*entity.Action{{
		Name: "set-area", App: entity.CRM, Also: []entity.App{entity.Sales},
		Args: []*entity.Field{
			entity.To(4, "salesArea", "salesArea"),
			entity.To(5, "geoArea", "geoArea"),
		},
		Do: setArea,
	}},
}

// setArea only has to see that there is something to do: the arguments were
// written to the fields of their names.
func setArea(_ entity.Context, _ *entity.Record, args entity.Args) error {
	if !args.Has("salesArea") && !args.Has("geoArea") {
		return fault.Newf(fault.MissingField, "Say which sales area or geo area the client moves to.").OnField("salesArea")
	}
	return nil
}

// Contact is a person at a client who is no user of the system.
var Contact = &entity.Type{
	No: 101, Name: "contact", Apps: everywhere, Rank: 21, Root: "client", Archivable: true, Former: "Former contact",
	Fields: []*entity.Field{
		entity.To(1, "client", "client").Need().Fixed(),
		entity.Str(2, "name").Need().Searched().OfPerson(),
		entity.Str(3, "title").OfPerson(),
		entity.To(4, "site", "site"),
		entity.Set(5, "phones").UpTo(20).OfPerson(),
		entity.Set(6, "emails").UpTo(20).OfPerson(),
		entity.Long(7, "notes").OfPerson(),
	},
}

// Site is a place of a client where work is done; of a client that is a person,
// perhaps where they live.
var Site = &entity.Type{
	No: 102, Name: "site", Apps: everywhere, Rank: 20, Root: "client", Archivable: true, Former: "Former site",
	Fields: []*entity.Field{
		entity.To(1, "client", "client").Need().Fixed(),
		entity.Str(2, "name").Need().Searched().OfPerson(),
		entity.Str(3, "street").Searched().OfPerson(),
		entity.Str(4, "city").OfPerson(),
		entity.Str(5, "postalCode").UpTo(20).OfPerson(),
		entity.Str(6, "region").OfPerson(),
		entity.Str(7, "country"),
		entity.Position(8, "position").OfPerson(),
		entity.To(9, "geoArea", "geoArea"),
		entity.Long(10, "accessNotes").OfPerson(),
	},
}

// SalesArea is the territory that scopes what people see.
var SalesArea = &entity.Type{
	No: 103, Name: "salesArea", Apps: []entity.App{entity.CRM, entity.Sales}, Rank: 0, Archivable: true,
	Fields: []*entity.Field{
		entity.Str(1, "name").Need().Only().Searched(),
		entity.Str(2, "code").UpTo(20),
		entity.Str(3, "group"),
	},
}

// GeoArea is a physical region for routing; it scopes nothing.
var GeoArea = &entity.Type{
	No: 104, Name: "geoArea", Apps: []entity.App{entity.CRM, entity.Sales}, Rank: 1, Archivable: true,
	Fields: []*entity.Field{
		entity.Str(1, "name").Need().Only().Searched(),
		entity.Str(2, "code").UpTo(20),
	},
}

// Types lists the package's types.
func Types() []*entity.Type {
	return []*entity.Type{
		Client, Contact, Site, SalesArea, GeoArea,
		Activity, Task, Opportunity, Campaign, CampaignMember, Tag, Tagging, Filter,
	}
}
