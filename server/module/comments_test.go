package module

import (
	"maps"
	"slices"
	"testing"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/server/module/attach"
	"satchel/server/module/service"
)

// TestCommentsOnAnyRecord: records of every type that an app has can be
// commented on, but for those that say why not.
func TestCommentsOnAnyRecord(t *testing.T) {
	cat, err := Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	not := map[string]string{
		"comment":      "is read by whoever reads what it hangs on",
		"document":     "likewise",
		"ticketUpdate": "likewise, and may be internal; a ticket has updates",
		"tag":          "may be one person's alone",
		"tagging":      "likewise",
		"filter":       "likewise",
	}
	can := service.Comment.Field(attach.ParentType).Values
	for _, typ := range cat.Types {
		if !slices.ContainsFunc(attach.Apps, typ.In) {
			continue
		}
		_, left := not[typ.Name]
		if is := slices.Contains(can, typ.Name); is == left {
			t.Errorf("comments on a %s: %v, left out: %v", typ.Name, is, left)
		}
		delete(not, typ.Name)
	}
	if len(not) > 0 {
		t.Errorf("no types of the apps: %v", slices.Collect(maps.Keys(not)))
	}
	for _, name := range can {
		if typ := cat.Type(name); typ == nil || !slices.ContainsFunc(attach.Apps, typ.In) {
			t.Errorf("comments on a %s", name)
		}
	}
}

// TestCommentsGoWithWhatRulesDelete: what was said of an allocation keeps no
// payment from being reversed, and of a statement's line no statement from
// being deleted.
func TestCommentsGoWithWhatRulesDelete(t *testing.T) {
	s := newState(t)
	s.bill("invoice-1", 500)
	s.must(s.add("payment", "payment-1", "client", "client-1", "received", "2026-03-01", "amount", euro(600)))
	s.must(s.add("allocation", "alloc-0001", "payment", "payment-1", "invoice", "invoice-1", "amount", euro(5)))
	s.must(s.add("comment", "comment-1", "parent", "alloc-0001", "text", "why?"))
	s.must(s.add("comment", "comment-2", "parent", "payment-1", "text", "stays"))
	s.must(s.act("payment-1", "reverse"))
	if s.records["comment-1"] != nil || s.records["alloc-0001"] != nil || s.records["comment-2"] == nil {
		t.Errorf("left are %v", slices.Sorted(maps.Keys(s.records)))
	}
	s.must(s.add("agent", "agent-001", "name", "a", "kind", "reseller"))
	s.must(s.add("accrual", "accrual-1", "agent", "agent-001", "client", "client-1", "amount", euro(5), "basis", "other", "earned", "2026-03-02T10:00:00Z"))
	s.must(s.add("agentStatement", "statement-1", "agent", "agent-001", "from", "2026-03-01", "to", "2026-03-31"))
	var line *entity.Record
	s.Referring("agentStatementLine", "statement", "statement-1", func(l *entity.Record) bool {
		line = l
		return false
	})
	if line == nil {
		t.Fatal("the statement has no line")
	}
	s.must(s.add("comment", "comment-3", "parent", string(line.ID), "text", "why?"))
	s.must(s.delete("statement-1"))
	if s.records["comment-3"] != nil || s.records[line.ID] != nil {
		t.Errorf("left are %v", slices.Sorted(maps.Keys(s.records)))
	}
	s.refuses(fault.BadReference, "parent", s.add("comment", "comment-4", "parent", "comment-2", "text", "x"))
}
