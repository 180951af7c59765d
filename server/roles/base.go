package roles

import (
	"satchel/internal/entity"
	"satchel/internal/policy"
	"satchel/server/module/admin"
	"satchel/server/module/attach"
	"satchel/server/module/crm"
	"satchel/server/module/everyone"
)

// Base is what everybody has who can sign in, whatever roles they hold: their
// own affairs, and the names that go with what they see. All of it is
// personal: it puts no app into anybody's menu. Client visibility is not part
// of it; nobody is told what is hidden from them.
var Base = &policy.Role{
	Key: "base", Title: "Everybody", App: entity.Everyone,
	Clauses: policy.Clauses{
		// One's own employee record, to read.
		policy.May(policy.View).On(admin.Employee).In(policy.Self("id")).
			Through(entity.Core, entity.FacetAdmin).Self().As("BASE-1"),

		// The directory: a name for each person that a visible record names.
		policy.May(policy.View).On(admin.Employee).In(policy.Mentioned()).Only("name").Self().As("BASE-2"),

		// Client staff know their colleagues.
		policy.May(policy.View).On(admin.Employee).In(policy.OwnClient()).Only("name").Self().As("BASE-3"),

		// One's own devices; a lost one can be cut off by its owner.
		policy.May(policy.View, "revoke").On(admin.Device).In(policy.Self("employee")).Self().As("BASE-4"),

		// One's own notifications, to read and to mark as read.
		policy.May(policy.View, "read").On(everyone.Notification).In(policy.Self("recipient")).Self().As("BASE-5"),

		// One's own settings; the roles that may write nothing have them too.
		policy.May(policy.View, policy.Create, policy.Edit, policy.Delete).On(everyone.Preference).
			In(policy.Self("owner")).Self().As("BASE-6"),

		// The names of areas and skills, for the tenant's own people.
		policy.May(policy.View).On(crm.SalesArea, crm.GeoArea, admin.SchedulingRole).InHouse().Self().As("BASE-7"),

		// One's own tags and filters, and where one put the tags.
		policy.May(policy.View, policy.Create, policy.Edit, policy.Delete, "bulk-attach", "bulk-detach").On(crm.Tag).
			In(policy.And(policy.Self("owner"), policy.Where("visibility", attach.Private))).Self().As("BASE-8"),
		policy.May(policy.View, policy.Create, policy.Edit, policy.Delete).On(crm.Filter).
			In(policy.And(policy.Self("owner"), policy.Where("visibility", attach.Private))).Self().As("BASE-8/filters"),
		policy.May(policy.View, policy.Create, policy.Delete).On(crm.Tagging).
			In(policy.And(policy.Self("owner"), policy.Where("visibility", attach.Private))).Self().As("BASE-8/taggings"),

		// Whom one lets act for oneself, and for whom one acts.
		policy.May(policy.View, policy.Create, policy.Edit, policy.Delete).On(everyone.Delegation).
			In(policy.Self("delegator")).Self().As("BASE-9"),
		policy.May(policy.View).On(everyone.Delegation).In(policy.Self("delegate")).Self().As("BASE-9/for"),

		// The reports there are; what they show is what their reader may see.
		policy.May(policy.View).On(admin.Report).InHouse().Self().As("BASE-10"),

		// What one typed offline into a field that somebody else had changed. To
		// keep it is an edit of the record, which takes the right to that.
		policy.May(policy.View, everyone.KeepMine, everyone.KeepTheirs, everyone.KeepEdited).On(everyone.Conflict).
			In(policy.Self("author")).Self().As("BASE-11"),
	},
}
