package rest_test

import (
	"bytes"
	"testing"

	"satchel/internal/testworld"
)

// TestDependentsDontTellOfHiddenClients: whether records of a hidden client
// belong to a campaign does not show by whether it can be deleted.
func TestDependentsDontTellOfHiddenClients(t *testing.T) {
	w := newWorld(t)
	w.Person("emp-half-blind", "sales.administrator")
	w.Hide("emp-half-blind", testworld.Dune)
	w.Import(testworld.Row("campaign", "campaign-empty-1", "name", "Empty"))
	empty := w.HTTP("emp-half-blind", "DELETE", "/v1/sales/campaigns/campaign-empty-1", nil).Want(t, 409, "has_dependents")
	south := w.HTTP("emp-half-blind", "DELETE", "/v1/sales/campaigns/campaign-south-1", nil).Want(t, 409, "has_dependents") // Dune's alone
	if !bytes.Equal(empty.Body, south.Body) {
		t.Errorf("%s / %s", empty.Body, south.Body)
	}
	// What belongs to one client can be deleted as ever.
	w.Import(testworld.Row("task", "task-plain-1", "title", "x", "client", testworld.Acme))
	w.HTTP("emp-half-blind", "DELETE", "/v1/sales/tasks/task-plain-1", nil).Want(t, 204, "")
	// And who sees every client deletes what nothing belongs to.
	w.HTTP(testworld.SalesAdmin, "DELETE", "/v1/sales/campaigns/campaign-south-1", nil).Want(t, 409, "has_dependents")
	w.HTTP(testworld.SalesAdmin, "DELETE", "/v1/sales/campaigns/campaign-empty-1", nil).Want(t, 204, "")
}

// TestTagsGoWithWhatTheyAreOn: a tag on a record, private ones of others too,
// never keeps the record from being deleted, and goes with it; so do the
// taggings of a tag.
func TestTagsGoWithWhatTheyAreOn(t *testing.T) {
	w := newWorld(t)
	w.Import(
		testworld.Row("task", "task-tagged-1", "title", "x", "assignee", testworld.SalesRep, "client", testworld.Acme),
		testworld.Row("tagging", "tagging-hidden", "tag", "tag-secret-rep", "parent", "task-tagged-1"),
		testworld.Row("tagging", "tagging-shown", "tag", "tag-key-1", "parent", "task-tagged-1"),
	)
	w.HTTP(testworld.SalesRep, "DELETE", "/v1/sales/tasks/task-tagged-1", nil).Want(t, 204, "")
	w.HTTP(testworld.CRMRep, "GET", "/v1/crm/taggings/tagging-hidden", nil).Want(t, 404, "not_found")
	w.HTTP(testworld.CRMAdmin, "GET", "/v1/crm/taggings/tagging-shown", nil).Want(t, 404, "not_found")
	w.HTTP(testworld.CRMRep, "DELETE", "/v1/crm/tags/tag-secret-rep", nil).Want(t, 204, "")
	w.HTTP(testworld.CRMRep, "GET", "/v1/crm/taggings/tagging-secret-rep", nil).Want(t, 404, "not_found")
}
