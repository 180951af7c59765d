//go:build satchel_mutants

package mutant

import "testing"

// TestOne: every fault stands in the table once, and only the chosen one is
// planted.
func TestOne(t *testing.T) {
	if len(table) != int(end)-1 {
		t.Fatalf("%d faults, %d in the table", end-1, len(table))
	}
	for i, f := range table {
		if f.ID != ID(i+1) {
			t.Errorf("%s stands where fault %d should", f.Name, i+1)
		}
	}
	if choose("") != None || choose(table[3].Name) != table[3].ID {
		t.Error("another fault is chosen than the one named")
	}
	for id := None + 1; id < end; id++ {
		if On(id) != (id == chosen) {
			t.Errorf("fault %d is planted: %v, chosen is %d", id, On(id), chosen)
		}
	}
	if Refuse() == nil {
		t.Error("a build with the switch may serve")
	}
}
