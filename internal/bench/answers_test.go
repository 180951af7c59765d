package bench

import (
	"encoding/json"
	"slices"
	"testing"
)

// TestLargeWorks: those that make a tenant of their own are told apart, so that
// they can be left out.
func TestLargeWorks(t *testing.T) {
	var large []string
	for _, w := range Works() {
		if w.Large {
			large = append(large, w.Name)
		}
	}
	for _, n := range []string{"start1M", "whatif", "areas", "everything"} {
		if !slices.Contains(large, n) {
			t.Errorf("%s is not large: %v", n, large)
		}
	}
	if slices.Contains(large, "explain") {
		t.Error("explain needs no tenant of its own")
	}
}

// TestForetold reads what the server answers.
func TestForetold(t *testing.T) {
	var f foretold
	err := json.Unmarshal([]byte(`{"accepted":true,"total":{"people":1,"devices":2},"people":[{"employee":{"id":"x"},"devices":2,`+
		`"arrives":{"total":0},"leaves":{"total":7,"types":{"asset":7}},"changed":3}],"devices":[]}`), &f)
	if err != nil || !f.Accepted || f.Total.Devices != 2 || f.People[0].Leaves.Types["asset"] != 7 || f.People[0].Changed != 3 {
		t.Errorf("%v %+v", err, f)
	}
}
