// Package admin declares people and everything that decides what they may do.
// The core reads these types by their names to build each person's rights, so
// names and meanings here are fixed. It is imported by server/module and by
// server/roles.
package admin

import (
	"strings"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
)

var app = []entity.App{entity.Admin}

// Kinds of employees.
const (
	InHouse       = "in-house"
	InsideIT      = "inside-it"
	ClientStaff   = "client-staff"
	Programmer    = "programmer"
	Subcontractor = "subcontractor"
)

// Statuses of employees and devices.
const (
	Invited  = "Invited"
	Active   = "Active"
	Disabled = "Disabled"
	Revoked  = "Revoked"
)

// TOTP is the second factor there is: codes of an authenticator app.
const TOTP = "totp"

// MailRefused is the status of an address that takes no mail.
const MailRefused = "refused"

var (
	employeeStates = []string{Invited, Active, Disabled}
	deviceStates   = []string{Active, Revoked}
)

// Employee is a person who signs in, whoever pays them. Client staff belong to
// a client, and with it disappear for those from whom the client is hidden.
// Only the name and the client are core; the rest is for administrators and
// the person. Whoever any work names is disabled; somebody that nothing names
// can be deleted, with their rights.
var Employee = &entity.Type{
	No: 900, Name: "employee", Apps: app, Rank: 3, Root: "client", Kept: true, Former: "Former employee",
	Fields: []*entity.Field{
		entity.Str(1, "name").Need().Searched().OfPerson(),
		entity.Str(2, "email").Need().Only().In(entity.FacetAdmin).Searched().OfPerson(),
		entity.OneOf(3, "kind", InHouse, InsideIT, ClientStaff, Programmer, Subcontractor).In(entity.FacetAdmin).Need(),
		entity.To(4, "client", "client").Fixed(),
		entity.ToMany(5, "salesAreas", "salesArea").In(entity.FacetAdmin),
		entity.ToMany(6, "schedulingRoles", "schedulingRole").In(entity.FacetAdmin).OfPerson(),
		entity.Str(7, "title").In(entity.FacetAdmin).OfPerson(),
		entity.Str(8, "phone").UpTo(60).In(entity.FacetAdmin).OfPerson(),
		entity.Str(9, "timeZone").UpTo(60).In(entity.FacetAdmin).OfPerson(),
		entity.OneOf(10, "status", employeeStates...).Else(Disabled).In(entity.FacetAdmin).System(),
		entity.At(11, "invitedAt").In(entity.FacetAdmin).System().OfPerson(),
		// The account of the company's identity provider: issuer, a space,
		// subject. The first sign-in by it ties the two.
		entity.Str(12, "oidcSubject").UpTo(600).Only().In(entity.FacetAdmin).System().OfPerson(),
		// Which second factor the person has, none where there is no value.
		entity.OneOf(13, "secondFactor", TOTP).In(entity.FacetAdmin).System().OfPerson(),
		// Whether mail to the address comes back, and since when; without a value
		// it does not, as far as anybody knows. Nothing is mailed there then.
		entity.OneOf(14, "mailStatus", MailRefused).In(entity.FacetAdmin).System().OfPerson(),
		entity.At(15, "mailRefusedAt").In(entity.FacetAdmin).System().OfPerson(),
	},
	Status: &entity.Lifecycle{Field: "status", Initial: Invited, States: employeeStates},
	Actions: []*entity.Action{
		// Whoever may invite is given tokens for people by the session interface,
		// which notes the time likewise; the action alone makes none.
		{Name: "invite", App: entity.Admin, From: []string{Invited}, Stamps: []string{"invitedAt"}},
		{Name: "enable", App: entity.Admin, From: []string{Invited, Disabled}, To: Active},
		{Name: "disable", App: entity.Admin, From: []string{Invited, Active}, To: Disabled},
		// An administrator knows that the address takes mail again; the person says
		// so by the preference mail-address.
		{Name: "confirm-mail", App: entity.Admin, Clears: []string{"mailStatus", "mailRefusedAt"}, Bulk: true},
	},
	// Nothing is known of another address.
	Changed: func(c entity.Context, before, after *entity.Record) error {
		if before == nil || after == nil || after.Get("mailStatus").IsNull() || before.Get("email").Text() == after.Get("email").Text() {
			return nil
		}
		other := after.Clone()
		other.Set("mailStatus", nil)
		other.Set("mailRefusedAt", nil)
		return c.Save(other)
	},
	Check: func(_ entity.Context, before, after *entity.Record) error {
		staff, of := after.Get("kind").Text() == ClientStaff, !after.Get("client").IsNull()
		switch {
		case staff && !of:
			return fault.Newf(fault.MissingField, "Client staff need a client.").OnField("client")
		case of && !staff:
			return fault.Newf(fault.BadValue, "Only client staff belong to a client.").OnField("client")
		}
		return addressed(before, after)
	},
}

// addressed refuses a new address that no mail could be sent to: nobody could
// accept the invitation.
func addressed(before, after *entity.Record) error {
	email := after.Get("email").Text()
	if email == "" || before != nil && before.Get("email").Text() == email {
		return nil // of somebody who was erased there is none
	}
	local, domain, _ := strings.Cut(email, "@")
	if local == "" || domain == "" || strings.ContainsAny(email, " \t,;<>()\"") || strings.Contains(domain, "@") {
		return fault.Newf(fault.BadValue, "email must be an address like anna@acme.example.").OnField("email")
	}
	return nil
}

// RoleAssignment gives a person a role, for a time or for good. Like all that
// is about a person, it goes with the client of client staff: from whom that is
// hidden, the person's rights and devices are hidden too.
var RoleAssignment = &entity.Type{
	No: 901, Name: "roleAssignment", Apps: app, Rank: 70, Root: "employee", Falls: true,
	Fields: []*entity.Field{
		entity.To(1, "employee", "employee").Need().Fixed().OfPerson(),
		// The key of a role of the manual, or the id of an organizational role.
		entity.Str(2, "role").Need().Fixed().UpTo(80),
		entity.At(3, "from"),
		entity.At(4, "until"),
	},
	Check: checkAssignment,
}

// checkAssignment refuses a new assignment that is over already, and one that
// gives a person a role for a time in which they have it by another one: taking
// either away would change nothing, while whoever does it believes it did. What
// the system brings in may be history, and one that runs may be ended by an end
// that has come.
func checkAssignment(c entity.Context, before, after *entity.Record) error {
	if err := span(after); err != nil {
		return err
	}
	switch {
	case c.Actor() == "":
		return nil
	case !over(c, after):
	case before == nil:
		return fault.Newf(fault.BadValue, "until must not have passed.").OnField("until")
	default:
		return nil
	}
	var twice bool
	c.Referring("roleAssignment", "employee", after.Get("employee").Ref(), func(o *entity.Record) bool {
		twice = o.ID != after.ID && o.Get("role").Text() == after.Get("role").Text() && !over(c, o) && meets(o, after) && meets(after, o)
		return !twice
	})
	if twice {
		return fault.Newf(fault.Duplicate, "The person has this role in this time already.").OnField("role")
	}
	return nil
}

// over reports whether the end of a row has come.
func over(c entity.Context, r *entity.Record) bool {
	until, ok := r.Get("until").Time()
	return ok && until <= c.Now()
}

// meets reports whether a begins before b ends.
func meets(a, b *entity.Record) bool {
	from, since := a.Get("from").Time()
	until, ends := b.Get("until").Time()
	return !since || !ends || from < until
}

// Effects of an individual permission.
const (
	Grant  = "grant"
	Denial = "denial"
)

// IndividualPermission lets one person differ from their roles.
var IndividualPermission = &entity.Type{
	No: 902, Name: "individualPermission", Apps: app, Rank: 70, Root: "employee", Falls: true,
	Fields: []*entity.Field{
		entity.To(1, "employee", "employee").Need().Fixed().OfPerson(),
		entity.OneOf(2, "effect", Grant, Denial).Need(),
		entity.Str(3, "verb").UpTo(40),
		entity.Str(4, "entityType").UpTo(40),
		entity.Str(5, "field").UpTo(40),
		// A grant opens what the app has; a denial takes what comes by way of it,
		// and leaves what another app gives of a record that they share.
		entity.OneOf(6, "app", apps()...),
		entity.At(7, "from"),
		entity.At(8, "until"),
	},
	Check: func(_ entity.Context, _, after *entity.Record) error {
		if after.Get("effect").Text() == Grant {
			if after.Get("verb").IsNull() {
				return fault.Newf(fault.MissingField, "A grant names a verb.").OnField("verb")
			}
			if after.Get("entityType").IsNull() && after.Get("app").IsNull() {
				return fault.Newf(fault.MissingField, "A grant names an app or a type.").OnField("entityType")
			}
		}
		if !after.Get("field").IsNull() && after.Get("entityType").IsNull() {
			return fault.Newf(fault.MissingField, "A field needs its type.").OnField("entityType")
		}
		return span(after)
	},
}

func apps() []string {
	var s []string
	for _, a := range entity.Apps {
		if a != entity.Everyone {
			s = append(s, string(a))
		}
	}
	return s
}

// span refuses an end before the beginning.
func span(r *entity.Record) error {
	a, ok := r.Get("from").Time()
	b, ok2 := r.Get("until").Time()
	if ok && ok2 && b <= a {
		return fault.Newf(fault.BadValue, "until must be after from.").OnField("until")
	}
	return nil
}

// Modes of client visibility.
const (
	AllBut = "all-but"
	Only   = "only"
)

// ClientVisibility says how a person's visibility rules are to be read: as
// the clients hidden from them, or as the only ones they see.
var ClientVisibility = &entity.Type{
	No: 903, Name: "clientVisibility", Plural: "client-visibilities", Apps: app, Rank: 70, Root: "employee", Falls: true,
	Fields: []*entity.Field{
		entity.To(1, "employee", "employee").Need().Fixed().Only().OfPerson(),
		entity.OneOf(2, "mode", AllBut, Only).Need(),
	},
}

// once refuses a second row of the client in what the field names: taking one
// away would change nothing, while whoever does it believes it did.
func once(field string) func(entity.Context, *entity.Record) error {
	return func(c entity.Context, r *entity.Record) error {
		if o, ok := c.Pair(r.Type.Name, field, r.Get(field).Ref(), "client", r.Get("client").Ref()); ok && o.ID != r.ID {
			return fault.Newf(fault.Duplicate, "This client is among them already.").OnField("client")
		}
		return nil
	}
}

// VisibilityRule is one client in a person's client visibility.
var VisibilityRule = &entity.Type{
	No: 904, Name: "visibilityRule", Apps: app, Rank: 71, Root: "client", Falls: true,
	Fields: []*entity.Field{
		entity.To(1, "visibility", "clientVisibility").Need().Fixed(),
		entity.To(2, "client", "client").Need().Fixed(),
	},
	Created: once("visibility"),
}

// OnsiteClient says that a person works on the premises of a client.
var OnsiteClient = &entity.Type{
	No: 905, Name: "onsiteClient", Apps: app, Rank: 70, Root: "client", Falls: true,
	Fields: []*entity.Field{
		entity.To(1, "employee", "employee").Need().Fixed().OfPerson(),
		entity.To(2, "client", "client").Need().Fixed(),
		// The group that the person is of there; tickets can be for one.
		entity.Str(3, "group").UpTo(60),
	},
	Created: once("employee"),
}

// OrganizationalRole is a role that the tenant makes from the manual's roles,
// with fewer apps and fields.
var OrganizationalRole = &entity.Type{
	No: 906, Name: "organizationalRole", Apps: app, Rank: 69,
	Fields: []*entity.Field{
		entity.Str(1, "name").Need().Only().Searched(),
		entity.Set(2, "baseRoles").UpTo(40),
		entity.Set(3, "apps").UpTo(20),
		entity.Set(4, "cutFields").UpTo(500), // type.field
		// Only of the clients among its rows, which may be none.
		entity.Flag(5, "limitClients"),
	},
	Changed: func(c entity.Context, before, after *entity.Record) error {
		if after != nil {
			return nil
		}
		return unassign(c, before.ID)
	},
}

// unassign ends the assignments of a role that is no more. They are everybody's,
// also of people whom the actor may not know, so that they are no reason to keep
// the role: that would tell of them.
func unassign(c entity.Context, role ident.RecordID) error {
	var all []*entity.Record
	for _, status := range employeeStates {
		c.Each("employee", "status", status, func(e *entity.Record) bool {
			c.Referring("roleAssignment", "employee", e.ID, func(a *entity.Record) bool {
				if a.Get("role").Text() == string(role) {
					all = append(all, a)
				}
				return true
			})
			return true
		})
	}
	for _, a := range all {
		if err := c.Delete(a); err != nil {
			return err
		}
	}
	return nil
}

// OrganizationalRoleClient is one client of those that an organizational role
// is limited to.
var OrganizationalRoleClient = &entity.Type{
	No: 911, Name: "organizationalRoleClient", Apps: app, Rank: 70, Root: "client",
	Fields: []*entity.Field{
		entity.To(1, "role", "organizationalRole").Need().Fixed(),
		entity.To(2, "client", "client").Need().Fixed(),
	},
	Created: once("role"),
}

// Device is an installation that a person synchronises to. The system keeps
// it; people only revoke it.
var Device = &entity.Type{
	No: 908, Name: "device", Apps: app, Rank: 72, NoDelete: true, Root: "employee",
	Fields: []*entity.Field{
		entity.To(1, "employee", "employee").Fixed().System(),
		entity.Str(2, "name").System().OfPerson(),
		entity.Str(3, "platform").UpTo(60).System().OfPerson(),
		entity.OneOf(4, "status", deviceStates...).Else(Revoked).System(),
		entity.At(5, "lastSeen").System(),
		entity.At(6, "revokedAt").System(),
	},
	Status: &entity.Lifecycle{Field: "status", Initial: Active, States: deviceStates},
	Actions: []*entity.Action{
		{Name: "revoke", App: entity.Admin, From: []string{Active}, To: Revoked, Stamps: []string{"revokedAt"}},
	},
}

// Report is a saved question over records of one type: which, grouped how, and
// what is added up. It runs with the rights of whoever runs it.
var Report = &entity.Type{
	No: 909, Name: "report", Apps: app, Rank: 8, Archivable: true,
	Fields: []*entity.Field{
		entity.Str(1, "name").Need().Only().Searched(),
		entity.Long(2, "description").UpTo(2000),
		entity.OneOf(3, "app", apps()...).Need(),
		entity.Str(4, "entityType").Need().UpTo(40),
		entity.Str(5, "filter").UpTo(2000),
		entity.Set(6, "groupBy").UpTo(5),
		entity.Set(7, "totals").UpTo(10),
	},
}

// ImportRun is what one import did. The system writes it.
var ImportRun = &entity.Type{
	No: 910, Name: "importRun", Apps: app, Rank: 70, NoDelete: true,
	Fields: []*entity.Field{
		entity.Str(1, "mapping").Need().System(),
		entity.At(2, "started").Need().System(),
		entity.At(3, "finished").System(),
		entity.Integer(4, "created").System(),
		entity.Integer(5, "changed").System(),
		entity.Integer(6, "same").System(),
		entity.Integer(7, "rejected").System(),
	},
}

// Types lists the package's types.
func Types() []*entity.Type {
	return []*entity.Type{
		Employee, RoleAssignment, IndividualPermission, ClientVisibility, VisibilityRule, OnsiteClient,
		OrganizationalRole, OrganizationalRoleClient, SchedulingRole, Device, Report, ImportRun, Setting,
	}
}
