package rest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	. "satchel/internal/testworld" //nolint:revive // its names are people
	"satchel/sync/apply"
)

// selling are the addresses of one of the two apps that share accounts and the
// work on them.
type selling struct {
	accounts, contacts, calls, tasks, deals, campaigns, members, tags, taggings, filters, comments, documents string
}

func sellingIn(app string) selling {
	b := "/v1/" + app + "/"
	return selling{
		b + "accounts", b + "contacts", b + "activities", b + "tasks", b + "opportunities", b + "campaigns", b + "campaign-members",
		b + "tags", b + "taggings", b + "filters", b + "comments", b + "documents",
	}
}

var (
	inCRM   = sellingIn("crm")
	inSales = sellingIn("sales")
)

// called is what the ids of a person's own records end in.
func called(who ident.RecordID) string { return strings.TrimPrefix(string(who), "emp-") }

// bulked does a bulk action and requires of each record the code in codes,
// "" where it was done.
func bulked(who ident.RecordID, path string, codes map[string]fault.Code, kv ...any) step {
	return do(func(t *testing.T, w *world) {
		t.Helper()
		ids := []string{}
		for id := range codes {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		res := w.HTTP(who, "POST", path, Object(append([]any{"ids", ids}, kv...)...)).Want(t, 200, "")
		var got struct {
			Results []struct {
				ID   string
				Code fault.Code
			}
		}
		if err := json.Unmarshal(res.Body, &got); err != nil || len(got.Results) != len(ids) {
			t.Fatalf("%s: %s", path, res.Body)
		}
		for _, r := range got.Results {
			if r.Code != codes[r.ID] {
				t.Errorf("%s: %s of %s: %q, want %q", who, path, r.ID, r.Code, codes[r.ID])
			}
		}
	}).as(of(codes))
}

// eachTagged does a bulk action with one tag to the records of codes and
// requires of each the code, "" where it was done.
func eachTagged(who ident.RecordID, path, tag string, codes map[string]fault.Code) step {
	return do(func(t *testing.T, w *world) {
		t.Helper()
		res := w.HTTP(who, "POST", path, Object("ids", ids(tag), "records", slices.Sorted(maps.Keys(codes)))).Want(t, 200, "")
		type item struct {
			ID, Status string
			Code       fault.Code
			Records    []item
		}
		var got struct{ Results []item }
		if err := json.Unmarshal(res.Body, &got); err != nil || len(got.Results) != 1 || got.Results[0].Status != "applied" {
			t.Fatalf("%s: %s", path, res.Body)
		}
		told := map[string]fault.Code{}
		for _, r := range got.Results[0].Records {
			if told[r.ID] = r.Code; (r.Status == "applied") != (r.Code == "") {
				t.Errorf("%s: %s is %s, %q", path, r.ID, r.Status, r.Code)
			}
		}
		if !maps.Equal(told, codes) {
			t.Errorf("%s: %s of %s: %v, want %v", who, path, tag, told, codes)
		}
	}).as(of(codes))
}

// of is what the codes of a bulk action prove.
func of(codes map[string]fault.Code) (p proof) {
	for _, c := range codes {
		p |= allowing.when(c == "") | refusing.when(c != "")
	}
	return p
}

// pinned requires that a device of the person that pins the record is sent
// marked, marked as context, and none of lacks.
func pinned(who ident.RecordID, typ string, pin ident.RecordID, marked, lacks []string) step {
	return do(func(t *testing.T, w *world) {
		t.Helper()
		claims, err := w.Signer.Verify(w.DeviceToken(who, fmt.Sprintf("pins-%d", tablets.Add(1))), ident.MillisOf(w.Clock()))
		if err != nil {
			t.Fatal(err)
		}
		pins := []ident.Ref{{Type: typ, ID: pin}}
		held := map[string]bool{}
		for checkpoint, more := "", true; more; {
			got, err := w.Tenant.Pull(context.Background(), &command.Command{
				Actor: who, Session: claims.Session, Device: claims.Device, Pull: &command.Pull{Checkpoint: checkpoint, Pins: &pins},
			}, apply.ToldSmall)
			if err != nil {
				t.Fatalf("%s pulls: %v", who, err)
			}
			var page struct {
				Records []struct {
					ID      string
					Context bool
				}
			}
			if err := json.Unmarshal(got.JSON, &page); err != nil {
				t.Fatal(err)
			}
			for _, r := range page.Records {
				held[r.ID] = r.Context
			}
			checkpoint, more = got.Checkpoint, got.More
		}
		for _, id := range marked {
			if beneath, ok := held[id]; !ok || !beneath {
				t.Errorf("%s pins %s: has %s %v, as context %v", who, pin, id, ok, beneath)
			}
		}
		for _, id := range lacks {
			if _, ok := held[id]; ok {
				t.Errorf("%s pins %s: has %s", who, pin, id)
			}
		}
		w.were(t, lacks...)
	}).as(onDevices | allowing.when(len(marked) > 0) | refusing.when(len(lacks) > 0))
}

func ids(s ...string) []string { return s }

// sellsAnything are the steps of somebody who may do everything in the app.
func sellsAnything(who ident.RecordID, app string) []step {
	a := sellingIn(app)
	other := map[string]string{"crm": "filter-sales-1", "sales": "filter-crm-1"}[app]
	return []step{
		get(who, a.accounts).shows(everyClient...),
		get(who, a.accounts+"/client-corp").shows("name", "accountNotes").hides("accessNotes", "billingNotes", "debtorNotes", "deliveryNotes"),
		get(who, a.tasks+"?limit=200").shows("task-acme-1", "task-dune-2", "task-loose-1", "task-crm-rep"),
		get(who, a.calls).shows("activity-corp-1", "activity-wide-1"),
		get(who, a.deals).shows("opportunity-dune-1", "opportunity-sales-ops"),
		get(who, a.campaigns).shows("campaign-wide-1", "campaign-south-1", "campaign-crm-rep"),
		get(who, a.members).shows("member-wide-corp", "member-south-dune"),
		get(who, a.tags).shows("tag-key-1", "tag-crm-rep-1").hides("tag-secret-rep"),
		get(who, a.taggings).shows("tagging-acme-1", "tagging-task-dune").hides("tagging-secret-rep"),
		get(who, a.filters).shows("filter-"+app+"-1").hides("filter-secret-rep", other),
		get(who, a.comments).shows("comment-corp-1", "comment-task-corp", "comment-wide-1").hides("comment-corp-3"),
		get(who, a.documents).shows("document-task-corp").hides("document-corp-1"),
		synced(who, append(ids(everyClient...), "task-loose-1", "task-crm-rep", "activity-wide-1", "opportunity-dune-1", "campaign-south-1", "member-wide-corp",
			"tag-key-1", "tagging-task-dune", "filter-"+app+"-1", "comment-task-corp", "document-task-corp"),
			ids("tag-secret-rep", "tagging-secret-rep", "filter-secret-rep", other, "comment-corp-3", "document-corp-1", "job-acme-1", "invoice-acme")),
		carries(who, "client-corp", ids("name", "accountNotes"), ids("accessNotes", "billingNotes", "debtorNotes", "deliveryNotes")),

		create(who, a.accounts, "name", "Fresh", "salesArea", "area-south"),
		create(who, a.contacts, "client", "client-dune", "name", "Somebody"),
		create(who, a.tasks, "client", "client-corp", "title", "Ring", "assignee", CRMRep),
		create(who, a.deals, "client", "client-corp", "name", "Big", "owner", SalesRep),
		create(who, a.campaigns, "name", "Autumn"),
		create(who, a.members, "campaign", "campaign-south-1", "client", "client-corp"),
		create(who, a.members, "campaign", "campaign-south-1", "client", "client-dune").no(409, fault.Duplicate),
		create(who, a.comments, "parent", "task-corp-1", "text", "Seen"),
		create(who, a.documents, "parent", "opportunity-corp-1", "name", "offer.pdf"),
		create(who, "/v1/"+app+"/sales-areas", "name", "East"),
		patch(who, a.accounts+"/client-corp", "name", "Corp anew", "accountNotes", "Likes tea"),
		patch(who, a.tasks+"/task-corp-1", "priority", "high"),
		patch(who, a.deals+"/opportunity-corp-1", "probability", 101).no(422, fault.BadValue),
		patch(who, a.campaigns+"/campaign-wide-1", "starts", "2026-03-02", "ends", "2026-03-01").no(422, fault.BadValue),
		post(who, a.tasks+"/task-corp-1/assign", "assignee", SalesOps),
		post(who, a.tasks+"/task-corp-1/complete"),
		post(who, a.deals+"/opportunity-corp-1/lose", "lostReason", "price"),
		post(who, a.deals+"/opportunity-corp-1/reopen"),
		post(who, a.campaigns+"/campaign-wide-1/start"),
		post(who, a.accounts+"/client-dune/set-area", "salesArea", "area-north"),
		post(who, a.contacts+"/contact-dune/archive"),
		remove(who, a.deals+"/opportunity-sales-representative"),

		create(who, a.tags, "name", "Hot", "visibility", "public"),
		patch(who, a.tags+"/tag-crm-rep-1", "color", "red"),
		post(who, a.tags+"/tag-crm-rep-1/bulk-attach", "records", ids("client-corp", "task-acme-1")),
		bulked(who, a.tags+":bulk-attach", map[string]fault.Code{"tag-key-1": "", "tag-crm-rep-1": "", "tag-secret-rep": fault.NotFoundCode},
			"records", ids("client-corp", "contact-corp")),
		get(who, a.accounts+"/client-corp/taggings").shows("tagging-corp-1"),
		post(who, a.tags+"/tag-key-1/bulk-detach", "records", ids("client-corp", "client-dune")),
		get(who, a.taggings).hides("tagging-corp-1", "tagging-dune-1").shows("tagging-acme-1"),
		post(who, a.tags+"/tag-key-1/bulk-attach", "records", ids("job-acme-1")).no(422, fault.BadReference),
		post(who, a.tags+"/tag-key-1/bulk-attach", "records", ids("client-acme", "never-was-1")).no(422, fault.BadReference),
		bulked(who, a.tasks+":bulk-delete", map[string]fault.Code{
			"task-loose-1": "", "task-loose-crm-rep": "", "task-acme-1": fault.HasDependents, "never-was-1": fault.NotFoundCode,
		}),
		get(who, a.tasks+"?limit=200").hides("task-loose-1", "task-loose-crm-rep").shows("task-acme-1"),

		// Other apps' things are not everything here.
		get(who, jobs).forbidden(),
		patch(who, a.accounts+"/client-corp", "accessNotes", "x").no(400, fault.UnknownField),
		get(who, comments+"/comment-corp-3").absent(),
		create(who, a.filters, "name", "x", "visibility", "public", "app", "billing", "entityType", "invoice").forbidden(),
	}
}

// sellsNothing are the refusals of somebody who only looks, on an account and
// a task that the person sees.
func sellsNothing(who ident.RecordID, a selling) []step {
	return []step{
		create(who, a.accounts, "name", "x", "salesArea", "area-north").forbidden(),
		create(who, a.tasks, "title", "x").forbidden(),
		create(who, a.tags, "name", "x", "visibility", "public").forbidden(),
		create(who, a.filters, "name", "x", "visibility", "public", "app", "crm", "entityType", "task").forbidden(),
		create(who, a.comments, "parent", "client-acme", "text", "x").forbidden(),
		create(who, a.documents, "parent", "client-acme", "name", "x").forbidden(),
		create(who, a.taggings, "tag", "tag-crm-rep-1", "parent", "client-acme").forbidden(),
		patch(who, a.accounts+"/client-acme", "name", "x").forbidden(),
		patch(who, a.tasks+"/task-acme-1", "title", "x").forbidden(),
		patch(who, a.tags+"/tag-key-1", "name", "x").forbidden(),
		remove(who, a.tasks+"/task-acme-1").forbidden(),
		post(who, a.accounts+"/client-acme/archive").forbidden(),
		post(who, a.accounts+"/client-acme/set-area", "salesArea", "area-south").forbidden(),
		post(who, a.tasks+"/task-acme-1/complete").forbidden(),
		post(who, a.tasks+"/task-acme-1/assign", "assignee", who).forbidden(),
		post(who, a.tags+"/tag-key-1/bulk-attach", "records", ids("client-acme")).forbidden(),
		post(who, a.tasks+":bulk-delete", "ids", ids("task-acme-1")).forbidden(),
		// What everybody keeps.
		create(who, "/v1/me/preferences", "owner", who, "key", "size", "value", "9"),
		create(who, a.filters, "name", "Mine", "visibility", "private", "app", "crm", "entityType", "task", "query", "status eq Open"),
		create(who, a.tags, "name", "Mine", "visibility", "private"),
	}
}

// ownAccounts: V/C/E accounts in the own sales areas, the north.
func ownAccounts(who ident.RecordID) []step {
	a := inCRM
	return []step{
		get(who, a.accounts).shows("client-acme", "client-blue").hides("client-corp", "client-dune"),
		get(who, a.accounts+"/client-acme").shows("name", "salesArea", "accountNotes").hides("accessNotes", "billingNotes", "debtorNotes"),
		get(who, a.contacts).shows("contact-acme").hides("contact-corp"),
		get(who, "/v1/crm/sites").shows("site-blue").hides("site-dune"),
		seek(who, a.accounts, "q", "corp").hides("client-corp").quiet("corp"),
		create(who, a.accounts, "name", "Fresh", "salesArea", "area-north"),
		create(who, a.accounts, "name", "x", "salesArea", "area-south").forbidden(),
		create(who, a.contacts, "client", "client-acme", "name", "Somebody"),
		create(who, a.contacts, "client", "client-corp", "name", "x").no(422, fault.BadReference),
		patch(who, a.accounts+"/client-acme", "name", "Acme anew", "accountNotes", "Likes tea"),
		patch(who, a.accounts+"/client-acme", "salesArea", "area-south").no(422, fault.ImmutableField),
		patch(who, a.accounts+"/client-acme", "creditLimit", json.RawMessage(`{"amount":1,"currency":"EUR"}`)).no(400, fault.UnknownField),
		remove(who, a.accounts+"/client-blue").forbidden(),
		asAbsent(who, "GET", nil, a.accounts+"/client-corp", a.contacts+"/contact-corp", a.accounts+"/client-corp/contacts"),
		asAbsent(who, "PATCH", Object("name", "x"), a.accounts+"/client-corp"),
		get(who, "/v1/explain?action=edit&type=client&id=client-corp").absent(),
		create(who, a.comments, "parent", "client-acme", "text", "Rang"),
		create(who, a.comments, "parent", "client-corp", "text", "x").no(422, fault.BadReference),
		create(who, a.documents, "parent", "contact-acme", "name", "card.pdf"),
		get(who, a.accounts+"/client-acme/comments").shows("comment-acme-1"),
		get(who, a.comments).hides("comment-corp-1", "comment-acme-3"),
		get(who, jobs).forbidden(),
		get(Nobody, a.accounts).forbidden(),
		synced(who, ids("client-acme", "client-blue", "contact-acme", "site-blue", "comment-acme-1", "tagging-acme-1"),
			ids("client-corp", "client-dune", "contact-corp", "comment-corp-1", "comment-acme-3", "job-acme-1", "tagging-corp-1")),
	}
}

// ownWorkAnywhere: V/C/E what is assigned to oneself, beneath Corp in the south.
func ownWorkAnywhere(who ident.RecordID) []step {
	a, n := inCRM, called(who)
	return []step{
		get(who, a.tasks).shows("task-"+n, "task-loose-"+n).hides("task-corp-1", "task-loose-1", "task-crm-guest"),
		get(who, a.calls).shows("activity-"+n).hides("activity-corp-1", "activity-wide-1"),
		get(who, a.deals).shows("opportunity-"+n).hides("opportunity-corp-1", "opportunity-crm-guest"),
		get(who, a.campaigns).shows("campaign-" + n).hides("campaign-south-1"),
		patch(who, a.tasks+"/task-"+n, "priority", "high"),
		post(who, a.tasks+"/task-"+n+"/complete"),
		post(who, a.deals+"/opportunity-"+n+"/win"),
		patch(who, a.campaigns+"/campaign-"+n, "description", "Soon"),
		post(who, a.campaigns+"/campaign-"+n+"/start"),
		create(who, a.tasks, "title", "For me"),
		create(who, a.tasks, "title", "x", "assignee", CRMGuest).forbidden(),
		create(who, a.campaigns, "name", "Mine"),
		create(who, a.campaigns, "name", "x", "owner", CRMGuest).forbidden(),
		patch(who, a.tasks+"/task-"+n, "assignee", CRMGuest).no(422, fault.ImmutableField),
		post(who, a.tasks+"/task-"+n+"/assign").no(422, fault.MissingField),
		asAbsent(who, "GET", nil, a.tasks+"/task-corp-1", a.tasks+"/task-crm-guest", a.deals+"/opportunity-corp-1", a.campaigns+"/campaign-south-1"),
		asAbsent(who, "PATCH", Object("title", "x"), a.tasks+"/task-corp-1"),
		asAbsent(who, "POST", Object(), a.tasks+"/task-corp-1/complete"),
		get(who, a.tasks+"/task-"+n+"/comments").shows("comment-" + n),
		create(who, a.comments, "parent", "task-"+n, "text", "Done"),
		create(who, a.comments, "parent", "task-corp-1", "text", "x").no(422, fault.BadReference),
		create(who, a.taggings, "tag", "tag-key-1", "parent", "opportunity-"+n),
		get(who, a.documents).shows("document-"+n).hides("document-task-corp", "document-crm-guest"),
		synced(who, ids("task-"+n, "activity-"+n, "opportunity-"+n, "campaign-"+n, "comment-"+n, "document-"+n),
			ids("task-corp-1", "activity-corp-1", "opportunity-corp-1", "task-loose-1", "task-crm-guest", "comment-task-corp", "campaign-south-1")),
		// Owners delete their own work, not campaigns.
		remove(who, a.calls+"/activity-"+n),
		remove(who, a.tasks+"/task-loose-"+n),
		remove(who, a.campaigns+"/campaign-"+n).forbidden(),
		post(who, a.tasks+"/task-"+n+"/reopen"),
	}
}

// ownWorkOutside adds to ownWorkAnywhere what goes for those with areas: of a
// client outside them the work shows, and nothing else.
func ownWorkOutside(who ident.RecordID) []step {
	a, n := inCRM, called(who)
	return join(ownWorkAnywhere(who), []step{
		get(who, a.tasks+"/task-"+n).shows("client", "title"),
		get(who, a.accounts+"/client-corp").absent(),
		get(who, a.members).hides("member-" + n),
		create(who, a.tasks, "title", "x", "client", "client-corp").no(422, fault.BadReference),
		post(who, a.tasks+"/task-"+n+"/assign", "assignee", CRMOps).status204(), // given away, it is out of sight
		get(who, a.tasks+"/task-"+n).absent(),
		get(CRMOps, a.tasks).shows("task-" + n),
		synced(who, nil, ids("client-corp", "member-"+n, "task-"+n)),
	})
}

// areaWork: V/C/E the work whose account lies in the own areas.
func areaWork(who ident.RecordID) []step {
	a := inCRM
	return []step{
		get(who, a.tasks).shows("task-acme-1", "task-blue-2").hides("task-corp-1", "task-dune-2"),
		get(who, a.calls).shows("activity-blue-1").hides("activity-dune-1", "activity-wide-1"),
		get(who, a.deals).shows("opportunity-acme-1").hides("opportunity-dune-1"),
		get(who, a.deals+"/opportunity-acme-1/tasks").shows("task-acme-2"),
		get(who, a.campaigns).shows("campaign-wide-1").hides("campaign-south-1"),
		get(who, a.members).shows("member-wide-acme").hides("member-wide-corp", "member-south-dune"),
		get(who, a.campaigns+"/campaign-wide-1/campaign-members").shows("member-wide-acme").hides("member-wide-corp"),
		patch(who, a.tasks+"/task-acme-1", "notes", "Twice"),
		post(who, a.tasks+"/task-acme-1/assign", "assignee", CRMOps),
		post(who, a.tasks+"/task-acme-1/complete"),
		post(who, a.deals+"/opportunity-blue-1/win"),
		patch(who, a.campaigns+"/campaign-wide-1", "description", "Soon"),
		create(who, a.tasks, "title", "Ring", "client", "client-blue", "assignee", CRMOps),
		create(who, a.calls, "subject", "Call", "kind", "call", "client", "client-acme", "opportunity", "opportunity-acme-1"),
		create(who, a.tasks, "title", "x", "opportunity", "opportunity-acme-1").no(422, fault.MissingField),
		create(who, a.tasks, "title", "x", "client", "client-blue", "opportunity", "opportunity-acme-1").no(422, fault.BadReference),
		create(who, a.tasks, "title", "x", "client", "client-blue", "opportunity", "opportunity-corp-1").no(422, fault.BadReference),
		create(who, a.members, "campaign", "campaign-wide-1", "client", "client-blue"),
		create(who, a.members, "campaign", "campaign-wide-1", "client", "client-corp").no(422, fault.BadReference),
		create(who, a.members, "campaign", "campaign-south-1", "client", "client-blue").no(422, fault.BadReference),
		remove(who, a.tasks+"/task-acme-2").forbidden(),
		remove(who, a.members+"/member-wide-acme").forbidden(),
		asAbsent(who, "GET", nil, a.tasks+"/task-corp-1", a.campaigns+"/campaign-south-1", a.members+"/member-wide-corp"),
		get(who, a.comments).shows("comment-task-acme", "comment-wide-1").hides("comment-task-corp"),
		create(who, a.comments, "parent", "opportunity-acme-1", "text", "Good"),
		create(who, a.comments, "parent", "campaign-wide-1", "text", "Good"),
		create(who, a.comments, "parent", "member-wide-acme", "text", "Comes"),
		create(who, a.comments, "parent", "member-wide-corp", "text", "x").no(422, fault.BadReference),
		rows(Row("comment", "comment-member-acme", "parent", "member-wide-acme", "text", "x"),
			Row("comment", "comment-member-corp", "parent", "member-wide-corp", "text", "x"),
			Row("comment", "comment-area-south", "parent", "area-south", "text", "x")),
		get(who, a.comments).shows("comment-member-acme", "comment-area-south").hides("comment-member-corp"),
		get(CRMGuest, a.comments).shows("comment-member-corp", "comment-area-south"),
		get(who, a.taggings).shows("tagging-task-acme").hides("tagging-task-corp", "tagging-secret-admin"),
		synced(who, ids("task-acme-1", "task-blue-2", "opportunity-blue-1", "campaign-wide-1", "member-wide-acme", "comment-task-acme", "document-task-blue"),
			ids("task-corp-1", "activity-wide-1", "campaign-south-1", "member-wide-corp", "member-south-dune", "comment-task-corp", "tagging-secret-admin")),
		// A member nobody may tell the person of brings no campaign along.
		rows(Row("campaign", "campaign-blue-1", "name", "For blue", "owner", SalesManager),
			Row("campaignMember", "member-blue-1", "campaign", "campaign-blue-1", "client", Blue)),
		get(who, a.campaigns).shows("campaign-blue-1"),
		do(func(t *testing.T, w *world) { t.Helper(); w.Hide(who, Blue) }),
		get(who, a.campaigns).shows("campaign-wide-1").hides("campaign-blue-1"),
		asAbsent(who, "GET", nil, a.campaigns+"/campaign-blue-1", a.tasks+"/task-blue-1"),
		synced(who, ids("task-acme-1", "campaign-wide-1"), ids("task-blue-1", "campaign-blue-1", "member-blue-1", "comment-task-blue")),
	}
}

// noBulkTagging: attaching many is refused, one by one is not, and private
// tags are everybody's own.
func noBulkTagging(who ident.RecordID, a selling) []step {
	mine := ident.RecordID("tag-mine-" + called(who))
	return []step{
		get(who, a.tags).shows("tag-key-1", "tag-crm-rep-1").hides("tag-secret-admin"),
		post(who, a.tags+"/tag-key-1/bulk-attach", "records", ids("contact-acme")).forbidden(),
		post(who, a.tags+"/tag-key-1/bulk-detach", "records", ids("client-acme")).forbidden(),
		bulked(who, a.tags+":bulk-attach", map[string]fault.Code{"tag-key-1": fault.NotAllowed, "tag-secret-admin": fault.NotFoundCode},
			"records", ids("contact-acme")),
		post(who, a.tags+"/tag-secret-admin/bulk-attach", "records", ids("contact-acme")).absent(),
		create(who, a.taggings, "tag", "tag-key-1", "parent", "contact-acme"),
		create(who, a.taggings, "tag", "tag-key-1", "parent", "client-acme").no(409, fault.Duplicate),
		create(who, a.taggings, "tag", "tag-secret-admin", "parent", "contact-acme").no(422, fault.BadReference),
		create(who, a.taggings, "tag", "tag-key-1", "parent", "never-was-1").no(422, fault.BadReference),
		remove(who, a.taggings+"/tagging-acme-1"),
		rows(Row("tag", mine, "name", "Mine", "visibility", "private", "owner", who)),
		post(who, a.tags+"/"+string(mine)+"/bulk-attach", "records", ids("client-acme", "contact-acme")),
		seek(who, a.taggings, "filter", "visibility eq private").hides("tagging-secret-admin"),
		synced(who, ids("tag-key-1", "tag-crm-rep-1", string(mine)), ids("tag-secret-admin", "tagging-secret-admin")),
		post(who, a.tags+"/"+string(mine)+"/bulk-detach", "records", ids("client-acme")),
		post(CRMAdmin, inCRM.tags+"/tag-key-1/bulk-attach", "records", ids("client-acme", "site-acme")),
		get(CRMAdmin, inCRM.tags).hides(string(mine)),
	}
}

func noBulkDelete(who ident.RecordID, a selling, task string, other ident.RecordID) []step {
	return []step{
		post(who, a.tasks+":bulk-delete", "ids", ids(task)).forbidden(),
		post(who, a.tasks+"/"+task+"/bulk-delete").forbidden(),
		bulked(other, a.tasks+":bulk-delete", map[string]fault.Code{task: ""}),
		get(who, a.tasks+"/"+task).absent(),
	}
}

func noSharedFilters(who ident.RecordID, a selling, app string, other ident.RecordID) []step {
	kv := []any{"name", "Late", "app", app, "entityType", "task", "query", "due lt 2026-03-02T00:00:00Z"}
	public, private := append(kv, "visibility", "public"), append(kv[:len(kv):len(kv)], "visibility", "private")
	elsewhere := map[string]string{"crm": "filter-sales-1", "sales": "filter-crm-1"}[app]
	return []step{
		get(who, a.filters).shows("filter-" + app + "-1"),
		rows(Row("filter", "filter-of-another", append(private[:len(private):len(private)], "owner", other)...)),
		synced(who, ids("filter-"+app+"-1"), ids(elsewhere, "filter-of-another")),
		create(who, a.filters, public...).forbidden(),
		patch(who, a.filters+"/filter-"+app+"-1", "name", "x").forbidden(),
		remove(who, a.filters+"/filter-"+app+"-1").forbidden(),
		create(who, a.filters, private...),
		create(other, a.filters, public...),
		create(who, a.filters, "name", "x", "visibility", "private", "app", app, "entityType", "job").no(422, fault.BadValue),
	}
}

func noArchiving(who ident.RecordID, a selling, other ident.RecordID) []step {
	return []step{
		get(who, a.accounts+"/client-acme").shows("name"),
		post(who, a.accounts+"/client-acme/archive").forbidden(),
		post(other, a.accounts+"/client-acme/archive"),
		post(who, a.accounts+"/client-acme/restore").forbidden(),
		patch(who, a.accounts+"/client-acme", "name", "x").no(409, fault.Archived),
	}
}

func noMoving(who ident.RecordID, a selling, other ident.RecordID) []step {
	return []step{
		post(who, a.accounts+"/client-acme/set-area", "salesArea", "area-south").forbidden(),
		post(who, a.accounts+"/client-acme/set-area", "geoArea", "geo-west-1").forbidden(),
		post(other, a.accounts+"/client-acme/set-area", "salesArea", "area-south", "geoArea", "geo-west-1"),
	}
}

func noSharedTags(who ident.RecordID, a selling) []step {
	return []step{
		create(who, a.tags, "name", "x", "visibility", "public").forbidden(),
		patch(who, a.tags+"/tag-key-1", "name", "x").forbidden(),
		create(who, a.tags, "name", "Mine", "visibility", "private"),
		create(CRMRep, inCRM.tags, "name", "Ours", "visibility", "public"),
		create(CRMRep, inCRM.tags, "name", "x", "visibility", "public", "owner", CRMAdmin).forbidden(),
		synced(who, ids("tag-key-1", "tag-crm-rep-1"), ids("tag-secret-rep", "tag-secret-admin")),
	}
}

// asideFromLists: other people's work stands in no list of its own, only
// beneath its account, opportunity or campaign.
func asideFromLists(who ident.RecordID, a selling) []step {
	n := called(who)
	return []step{
		get(who, a.tasks).shows("task-"+n, "task-loose-"+n).hides("task-acme-1", "task-corp-1", "task-crm-rep", "task-loose-1"),
		get(who, a.calls).shows("activity-"+n).hides("activity-acme-1", "activity-wide-1"),
		get(who, a.deals).shows("opportunity-" + n).hides("opportunity-acme-1"),
		seek(who, a.tasks, "q", "acme").quiet("task-acme"),
		seek(who, a.tasks, "filter", "client eq client-acme").quiet("task-acme"),
		get(who, a.comments).shows("comment-acme-1", "comment-"+n, "comment-wide-1").hides("comment-task-acme", "comment-crm-rep"),
		get(who, a.documents).shows("document-" + n).hides("document-task-acme"),
		get(who, a.taggings).shows("tagging-acme-1").hides("tagging-task-acme", "tagging-secret-admin"),

		get(who, a.accounts+"/client-acme/tasks").shows("task-acme-1", "task-acme-2").hides("task-blue-1"),
		get(who, a.accounts+"/client-acme/activities").shows("activity-acme-1"),
		get(who, a.deals+"/opportunity-acme-1/tasks").shows("task-acme-2").hides("task-acme-1"),
		get(who, a.campaigns+"/campaign-wide-1/activities").shows("activity-wide-1"),
		get(who, a.tasks+"/task-acme-1/comments").shows("comment-task-acme"),
		get(who, a.tasks+"/task-acme-1").shows("title", "context"),
		get(who, a.tasks+"/task-"+n).shows("title").hides("context"),
		get(who, a.calls+"/activity-wide-1").shows("context"),
		// Beneath nothing there is nothing to see.
		asAbsent(who, "GET", nil, a.tasks+"/task-loose-1"),
		asAbsent(who, "PATCH", Object("title", "x"), a.tasks+"/task-loose-1"),
		asAbsent(who, "DELETE", nil, a.tasks+"/task-loose-1"),
		get(who, "/v1/explain?action=view&type=task&id=task-loose-1").absent(),

		patch(who, a.tasks+"/task-acme-1", "title", "x").forbidden(),
		post(who, a.tasks+"/task-acme-1/complete").forbidden(),
		remove(who, a.tasks+"/task-acme-2").forbidden(),

		synced(who, ids("task-"+n, "task-loose-"+n, "opportunity-"+n, "comment-"+n, "comment-acme-1", "client-acme", "campaign-wide-1"),
			ids("task-acme-1", "activity-acme-1", "opportunity-acme-1", "activity-wide-1", "task-crm-rep", "comment-task-acme", "document-task-acme", "task-loose-1")),
		pinned(who, "client", Acme, ids("task-acme-1", "task-acme-2", "activity-acme-1", "opportunity-acme-1", "comment-task-acme", "document-task-acme", "tagging-task-acme"),
			ids("task-blue-1", "activity-wide-1", "task-loose-1", "tagging-secret-admin", "job-acme-1")),
		pinned(who, "campaign", "campaign-wide-1", ids("activity-wide-1"), ids("task-acme-1", "task-loose-1")),
	}
}

// keepsOwnWork: V/C/E own activities, tasks and opportunities.
func keepsOwnWork(who ident.RecordID, a selling) []step {
	n := called(who)
	return []step{
		get(who, a.tasks).shows("task-" + n),
		create(who, a.deals, "name", "Mine", "client", "client-dune"),
		create(who, a.calls, "subject", "Call", "kind", "call", "client", "client-acme"),
		create(who, a.calls, "subject", "x", "kind", "call", "client", "client-acme", "owner", SalesManager).forbidden(),
		patch(who, a.deals+"/opportunity-"+n, "stage", "proposal"),
		post(who, a.deals+"/opportunity-"+n+"/lose", "lostReason", "price"),
		post(who, a.tasks+"/task-"+n+"/complete"),
		create(who, a.comments, "parent", "task-"+n, "text", "Done"),
		create(who, a.comments, "parent", "task-acme-1", "text", "x").forbidden(),
		patch(who, a.deals+"/opportunity-acme-1", "stage", "proposal").forbidden(),
		remove(who, a.calls+"/activity-"+n),
		remove(who, a.calls+"/activity-acme-1").forbidden(),
		post(who, a.tasks+"/task-loose-"+n+"/assign", "assignee", SalesManager).status204(),
		get(who, a.tasks+"/task-loose-"+n).absent(),
		synced(who, ids("task-"+n, "opportunity-"+n), ids("task-loose-"+n, "activity-"+n)),
		get(Nobody, a.tasks).forbidden(),
	}
}

// anyAccount: V/C/E accounts of every area.
func anyAccount(who ident.RecordID, a selling) []step {
	return []step{
		get(who, a.accounts).shows(everyClient...),
		get(who, a.accounts+"/client-dune").shows("accountNotes").hides("accessNotes", "billingNotes", "debtorNotes"),
		get(who, a.contacts).shows("contact-acme", "contact-dune"),
		create(who, a.accounts, "name", "Fresh", "salesArea", "area-south"),
		create(who, a.contacts, "client", "client-dune", "name", "Somebody"),
		patch(who, a.accounts+"/client-dune", "name", "Dune anew"),
		patch(who, a.accounts+"/client-dune", "salesArea", "area-north").no(422, fault.ImmutableField),
		remove(who, a.accounts+"/client-dune").forbidden(),
		create(who, a.comments, "parent", "client-dune", "text", "Rang"),
		get(who, a.accounts+"/client-dune/comments").shows("comment-dune-1"),
		get(who, a.comments).hides("comment-dune-3"),
		get(who, jobs).forbidden(),
		get(Nobody, a.accounts).forbidden(),
		synced(who, ids("client-acme", "client-dune", "contact-corp", "site-dune", "comment-corp-1"), ids("job-corp-1", "comment-corp-3", "asset-corp")),
		do(func(t *testing.T, w *world) { t.Helper(); w.Hide(who, Blue) }),
		get(who, a.accounts).shows("client-dune").hides("client-blue"),
		asAbsent(who, "GET", nil, a.accounts+"/client-blue", a.contacts+"/contact-blue", a.accounts+"/client-blue/tasks"),
		create(who, a.taggings, "tag", "tag-crm-rep-1", "parent", "client-blue").no(422, fault.BadReference),
	}
}

// looksAtCampaigns: V campaigns, whoever they are for.
func looksAtCampaigns(who ident.RecordID, a selling) []step {
	return []step{
		get(who, a.campaigns).shows("campaign-wide-1", "campaign-south-1"),
		get(who, a.members).shows("member-wide-corp", "member-south-dune"),
		get(who, a.campaigns+"/campaign-wide-1/comments").shows("comment-wide-1"),
		create(who, a.campaigns, "name", "x").forbidden(),
		patch(who, a.campaigns+"/campaign-wide-1", "name", "x").forbidden(),
		post(who, a.campaigns+"/campaign-wide-1/start").forbidden(),
		create(who, a.comments, "parent", "campaign-wide-1", "text", "x").forbidden(),
	}
}

// sellingClauses are the cases of CRM and Sales.
var sellingClauses = map[string][]step{
	"CRM-ADMIN-1": join(sellsAnything(CRMAdmin, "crm"), []step{
		post(CRMAdmin, inCRM.accounts+"/client-acme/archive"),
		post(CRMAdmin, inCRM.accounts+"/client-acme/restore"),
		create(CRMAdmin, inCRM.filters, "name", "Ours", "visibility", "public", "app", "crm", "entityType", "task"),
		patch(CRMAdmin, inCRM.filters+"/filter-crm-1", "name", "Bigger ones"),
		get(CRMAdmin, "/v1/explain?action=archive&type=client&id=client-acme").shows("clause"),
	}),

	"CRM-MGR-1": ownAccounts(CRMManager),
	"CRM-MGR-2": ownWorkOutside(CRMManager),
	"CRM-MGR-3": areaWork(CRMManager),
	"CRM-MGR-4": {
		post(CRMManager, inCRM.accounts+"/client-acme/archive"),
		patch(CRMManager, inCRM.accounts+"/client-acme", "name", "x").no(409, fault.Archived),
		post(CRMManager, inCRM.accounts+"/client-acme/restore"),
		post(CRMManager, inCRM.contacts+"/contact-acme/archive"),
		asAbsent(CRMManager, "POST", Object(), inCRM.accounts+"/client-corp/archive", inCRM.contacts+"/contact-corp/archive"),
		post(CRMRep, inCRM.accounts+"/client-acme/archive").forbidden(),
	},
	"CRM-MGR-5": {
		post(CRMManager, inCRM.accounts+"/client-acme/set-area", "geoArea", "geo-west-1"),
		post(CRMManager, inCRM.accounts+"/client-acme/set-area").no(422, fault.MissingField),
		// Moved out of the own areas it is gone, with all that belongs to it.
		post(CRMManager, inCRM.accounts+"/client-acme/set-area", "salesArea", "area-south").status204(),
		asAbsent(CRMManager, "GET", nil, inCRM.accounts+"/client-acme", inCRM.tasks+"/task-acme-1"),
		asAbsent(CRMManager, "POST", Object("salesArea", "area-north"), inCRM.accounts+"/client-acme/set-area", inCRM.accounts+"/client-corp/set-area"),
		synced(CRMManager, ids("client-blue"), ids("client-acme", "task-acme-1", "contact-acme")),
		post(CRMRep, inCRM.accounts+"/client-blue/set-area", "salesArea", "area-south").forbidden(),
	},
	"CRM-MGR-6": join(noBulkTagging(CRMManager, inCRM), []step{
		create(CRMManager, inCRM.tags, "name", "Ours", "visibility", "public"),
		patch(CRMManager, inCRM.tags+"/tag-crm-rep-1", "name", "x").forbidden(),
		create(CRMManager, inCRM.taggings, "tag", "tag-crm-rep-1", "parent", "client-corp").no(422, fault.BadReference),
	}),
	"CRM-MGR-7": noBulkDelete(CRMManager, inCRM, "task-loose-crm-manager", CRMAdmin),
	"CRM-MGR-8": noSharedFilters(CRMManager, inCRM, "crm", CRMAdmin),

	"CRM-REP-1": ownAccounts(CRMRep),
	"CRM-REP-2": ownWorkOutside(CRMRep),
	"CRM-REP-3": areaWork(CRMRep),
	"CRM-REP-4": join(noArchiving(CRMRep, inCRM, CRMManager), []step{
		post(CRMRep, inCRM.contacts+"/contact-blue/archive").forbidden(),
	}),
	"CRM-REP-5": noMoving(CRMRep, inCRM, CRMAdmin),
	"CRM-REP-6": join(noBulkTagging(CRMRep, inCRM), []step{
		create(CRMRep, inCRM.tags, "name", "Ours", "visibility", "public"),
		patch(CRMRep, inCRM.tags+"/tag-crm-rep-1", "name", "Call back soon"),
		patch(CRMRep, inCRM.tags+"/tag-key-1", "name", "x").forbidden(),
		// Of private tags nobody else is told: no list, no record, no tagging.
		get(CRMRep, inCRM.taggings).shows("tagging-secret-rep").hides("tagging-secret-admin"),
		synced(CRMRep, ids("tag-secret-rep", "tagging-secret-rep"), ids("tag-secret-admin", "tagging-secret-admin")),
		post(CRMRep, inCRM.tags+"/tag-secret-rep/bulk-attach", "records", ids("client-corp")).no(422, fault.BadReference),
	}),
	"CRM-REP-7": noBulkDelete(CRMRep, inCRM, "task-loose-crm-rep", CRMAdmin),
	"CRM-REP-8": join(noSharedFilters(CRMRep, inCRM, "crm", CRMAdmin), []step{
		get(CRMRep, inCRM.filters).shows("filter-secret-rep").hides("filter-sales-1"),
	}),

	"CRM-OPS-1": join(anyAccount(CRMOps, inCRM), []step{
		get(CRMOps, inCRM.comments).hides("comment-task-corp"),
	}),
	"CRM-OPS-2": join(ownWorkAnywhere(CRMOps), []step{
		// Not beneath an account either.
		get(CRMOps, inCRM.accounts+"/client-corp/tasks").shows("task-crm-ops").hides("task-corp-1", "task-crm-rep"),
		create(CRMOps, inCRM.tasks, "title", "x", "client", "client-acme", "assignee", CRMRep).forbidden(),
		create(CRMOps, inCRM.deals, "name", "Mine", "client", "client-dune"),
		get(CRMOps, inCRM.members).shows("member-crm-ops").hides("member-wide-acme"),
		create(CRMOps, inCRM.members, "campaign", "campaign-crm-ops", "client", "client-acme"),
		create(CRMOps, inCRM.members, "campaign", "campaign-wide-1", "client", "client-acme").no(422, fault.BadReference),
		pinned(CRMOps, "client", Corp, nil, ids("task-corp-1", "task-crm-rep", "comment-task-corp", "member-wide-corp", "tagging-task-corp")),
		post(CRMOps, inCRM.tasks+"/task-crm-ops/assign", "assignee", CRMRep).status204(),
		get(CRMOps, inCRM.tasks+"/task-crm-ops").absent(),
	}),
	"CRM-OPS-3": noArchiving(CRMOps, inCRM, CRMAdmin),
	"CRM-OPS-4": noMoving(CRMOps, inCRM, CRMAdmin),
	"CRM-OPS-5": noSharedTags(CRMOps, inCRM),
	"CRM-OPS-6": noBulkTagging(CRMOps, inCRM),
	"CRM-OPS-7": noBulkDelete(CRMOps, inCRM, "task-loose-crm-ops", CRMAdmin),
	"CRM-OPS-8": noSharedFilters(CRMOps, inCRM, "crm", CRMAdmin),

	"CRM-GMGR-1": looksAtAll(CRMGuestMgr, inCRM, "crm"),
	"CRM-GMGR-2": sellsNothing(CRMGuestMgr, inCRM),
	"CRM-GUEST-1": {
		get(CRMGuest, inCRM.accounts).shows(everyClient...),
		get(CRMGuest, inCRM.campaigns).shows("campaign-wide-1", "campaign-crm-rep"),
		get(CRMGuest, inCRM.members).shows("member-south-dune"),
		get(CRMGuest, inCRM.tags).shows("tag-key-1").hides("tag-secret-rep"),
		get(CRMGuest, inCRM.filters).shows("filter-crm-1").hides("filter-sales-1", "filter-secret-rep"),
		get(CRMGuest, inCRM.accounts+"/client-dune").shows("accountNotes").hides("billingNotes"),
		get(CRMGuest, jobs).forbidden(),
		get(Nobody, inCRM.campaigns).forbidden(),
		synced(CRMGuest, append(ids(everyClient...), "campaign-wide-1", "member-south-dune", "tag-key-1", "filter-crm-1", "comment-acme-1"),
			ids("tag-secret-rep", "filter-sales-1", "filter-secret-rep", "job-acme-1", "comment-acme-3")),
		carries(CRMGuest, "client-dune", ids("accountNotes"), ids("billingNotes", "accessNotes", "debtorNotes")),
	},
	"CRM-GUEST-2": asideFromLists(CRMGuest, inCRM),
	"CRM-GUEST-3": join(sellsNothing(CRMGuest, inCRM), ownIsReadOnly(CRMGuest, inCRM)),

	"SAL-ADMIN-1": join(sellsAnything(SalesAdmin, "sales"), []step{
		post(SalesAdmin, inSales.accounts+"/client-acme/archive"),
		post(SalesAdmin, inSales.accounts+"/client-acme/restore"),
		create(SalesAdmin, inSales.filters, "name", "Ours", "visibility", "public", "app", "sales", "entityType", "task"),
	}),
	"SAL-MGR-1": sellsAnything(SalesManager, "sales"),
	"SAL-MGR-2": noArchiving(SalesManager, inSales, SalesAdmin),
	"SAL-MGR-3": noSharedFilters(SalesManager, inSales, "sales", SalesAdmin),

	"SAL-REP-1": keepsOwnWork(SalesRep, inSales),
	"SAL-REP-2": {
		create(SalesRep, inSales.tasks, "title", "Ring them", "client", "client-dune", "assignee", SalesOps),
		create(SalesRep, inSales.tasks, "title", "Mine"),
		create(SalesRep, inSales.deals, "name", "x", "client", "client-dune", "owner", SalesOps).forbidden(),
		create(SalesRep, inSales.calls, "subject", "x", "kind", "call", "owner", SalesOps).forbidden(),
		create(SalesRep, inSales.tasks, "title", "x", "client", "client-dune", "assignee", "never-was-1").no(422, fault.AssigneeNotEligible),
		create(SalesRep, inSales.tasks, "title", "x", "client", "client-blue", "assignee", Blind).no(422, fault.AssigneeNotEligible),
		create(SalesGuest, inSales.tasks, "title", "x", "assignee", SalesRep).forbidden(),
		// What was handed out is another's.
		rows(Row("task", "task-handed-1", "title", "Handed", "client", "client-dune", "assignee", SalesOps)),
		patch(SalesRep, inSales.tasks+"/task-handed-1", "title", "x").forbidden(),
		patch(SalesOps, inSales.tasks+"/task-handed-1", "notes", "Thanks"),
	},
	"SAL-REP-3": asideFromLists(SalesRep, inSales),
	"SAL-REP-4": noArchiving(SalesRep, inSales, SalesAdmin),
	"SAL-REP-5": noMoving(SalesRep, inSales, SalesManager),
	"SAL-REP-6": noSharedTags(SalesRep, inSales),
	"SAL-REP-7": noBulkTagging(SalesRep, inSales),
	"SAL-REP-8": noBulkDelete(SalesRep, inSales, "task-loose-sales-representative", SalesManager),
	"SAL-REP-9": join(noSharedFilters(SalesRep, inSales, "sales", SalesAdmin), []step{
		create(SalesManager, inSales.filters, "name", "x", "visibility", "public", "app", "sales", "entityType", "task").forbidden(),
	}),
	"SAL-REP-10": join(looksAtCampaigns(SalesRep, inSales), anyAccount(SalesRep, inSales)),

	"SAL-OPS-1": keepsOwnWork(SalesOps, inSales),
	"SAL-OPS-2": {
		create(SalesOps, inSales.tasks, "title", "Ring them", "client", "client-dune", "assignee", SalesRep),
		create(SalesOps, inSales.calls, "subject", "x", "kind", "call", "owner", SalesRep).forbidden(),
		create(SalesOps, inSales.tasks, "title", "x", "client", "client-blue", "assignee", Blind).no(422, fault.AssigneeNotEligible),
	},
	"SAL-OPS-3": {
		create(SalesOps, inSales.deals, "name", "Yours", "client", "client-dune", "owner", SalesRep),
		post(SalesOps, inSales.deals+"/opportunity-acme-1/assign", "owner", SalesOps).forbidden(),
		create(SalesRep, inSales.deals, "name", "x", "client", "client-dune", "owner", SalesOps).forbidden(),
	},
	"SAL-OPS-4": asideFromLists(SalesOps, inSales),
	"SAL-OPS-5": noArchiving(SalesOps, inSales, SalesAdmin),
	"SAL-OPS-6": noSharedTags(SalesOps, inSales),
	"SAL-OPS-7": noBulkDelete(SalesOps, inSales, "task-loose-sales-ops", SalesManager),
	"SAL-OPS-8": {
		post(SalesOps, inSales.accounts+"/client-acme/set-area", "salesArea", "area-south"),
		get(SalesOps, inSales.accounts+"/client-acme").shows("name"),
		post(SalesOps, inSales.tags+"/tag-key-1/bulk-attach", "records", ids("contact-acme", "task-acme-1", "task-sales-ops")),
		post(SalesOps, inSales.tags+"/tag-key-1/bulk-detach", "records", ids("client-acme")),
		get(SalesOps, inSales.taggings).hides("tagging-acme-1").shows("tagging-corp-1"),
		synced(SalesOps, ids("tag-key-1", "client-acme", "tagging-corp-1"), ids("tag-secret-rep", "tagging-acme-1", "tagging-secret-rep")),
		post(SalesOps, inSales.tags+"/tag-secret-rep/bulk-attach", "records", ids("contact-acme")).absent(),
		eachTagged(SalesOps, inSales.tags+":bulk-attach", "tag-crm-rep-1",
			map[string]fault.Code{"client-corp": "", "never-was-1": fault.NotFoundCode, "task-loose-1": fault.NotFoundCode, "task-acme-2": ""}),
		// What they can't see is not there, for a bulk action either.
		do(func(t *testing.T, w *world) {
			t.Helper()
			w.Hide(SalesOps, Blue)
			for _, action := range []string{"bulk-attach", "bulk-detach"} {
				path := inSales.tags + "/tag-crm-rep-1/" + action
				hidden := w.HTTP(SalesOps, "POST", path, Object("records", ids("client-corp", "client-blue"))).Want(t, 422, "bad_reference")
				never := w.HTTP(SalesOps, "POST", path, Object("records", ids("client-corp", "never-was-1"))).Want(t, 422, "bad_reference")
				loose := w.HTTP(SalesOps, "POST", path, Object("records", ids("task-loose-1"))).Want(t, 422, "bad_reference")
				if string(hidden.Body) != string(never.Body) || string(loose.Body) != string(never.Body) {
					t.Errorf("%s / %s / %s", hidden.Body, never.Body, loose.Body)
				}
			}
		}),
		post(SalesRep, inSales.tags+"/tag-key-1/bulk-attach", "records", ids("contact-acme")).forbidden(),
		post(SalesRep, inSales.accounts+"/client-acme/set-area", "salesArea", "area-north").forbidden(),
	},
	"SAL-OPS-9":  noSharedFilters(SalesOps, inSales, "sales", SalesAdmin),
	"SAL-OPS-10": join(looksAtCampaigns(SalesOps, inSales), anyAccount(SalesOps, inSales)),

	"SAL-GMGR-1": looksAtAll(SalesGuestMgr, inSales, "sales"),
	"SAL-GMGR-2": sellsNothing(SalesGuestMgr, inSales),
	"SAL-GUEST-1": {
		get(SalesGuest, inSales.accounts).shows(everyClient...),
		get(SalesGuest, inSales.campaigns).shows("campaign-wide-1"),
		get(SalesGuest, inSales.filters).shows("filter-sales-1").hides("filter-crm-1"),
		get(SalesGuest, inSales.tags).shows("tag-key-1").hides("tag-secret-rep"),
		get(SalesGuest, jobs).forbidden(),
		synced(SalesGuest, append(ids(everyClient...), "campaign-wide-1", "member-south-dune", "tag-key-1", "filter-sales-1", "comment-acme-1"),
			ids("tag-secret-rep", "filter-crm-1", "filter-secret-rep", "job-acme-1", "comment-acme-3")),
		carries(SalesGuest, "client-dune", ids("accountNotes"), ids("billingNotes", "accessNotes", "debtorNotes")),
	},
	"SAL-GUEST-2": asideFromLists(SalesGuest, inSales),
	"SAL-GUEST-3": join(sellsNothing(SalesGuest, inSales), ownIsReadOnly(SalesGuest, inSales)),
}

// looksAtAll: V everything, in lists of its own.
func looksAtAll(who ident.RecordID, a selling, app string) []step {
	return []step{
		get(who, a.accounts).shows(everyClient...),
		get(who, a.tasks+"?limit=200").shows("task-acme-1", "task-loose-1", "task-crm-rep"),
		get(who, a.tasks+"/task-acme-1").shows("title").hides("context"),
		get(who, a.calls).shows("activity-wide-1"), get(who, a.deals).shows("opportunity-corp-1"),
		get(who, a.campaigns).shows("campaign-south-1"), get(who, a.members).shows("member-wide-corp"),
		get(who, a.comments).shows("comment-task-corp", "comment-acme-1").hides("comment-acme-3"),
		get(who, a.tags).shows("tag-key-1").hides("tag-secret-rep", "tag-secret-admin"),
		get(who, a.taggings).shows("tagging-acme-1").hides("tagging-secret-rep", "tagging-secret-admin"),
		get(who, a.filters).shows("filter-" + app + "-1").hides("filter-secret-rep"),
		get(who, a.accounts+"/client-acme").shows("accountNotes").hides("accessNotes"),
		get(who, jobs).forbidden(),
		synced(who, ids("task-corp-1", "task-loose-1", "activity-wide-1", "comment-task-corp", "member-south-dune"),
			ids("tag-secret-rep", "tagging-secret-rep", "filter-secret-rep", "comment-acme-3", "job-acme-1")),
	}
}

// ownIsReadOnly: what is assigned to a guest is read like all else.
func ownIsReadOnly(who ident.RecordID, a selling) []step {
	n := called(who)
	return []step{
		get(who, a.tasks+"/task-"+n).shows("title"),
		patch(who, a.tasks+"/task-"+n, "title", "x").forbidden(),
		post(who, a.tasks+"/task-"+n+"/complete").forbidden(),
		remove(who, a.calls+"/activity-"+n).forbidden(),
		create(who, a.comments, "parent", "task-"+n, "text", "x").forbidden(),
	}
}
