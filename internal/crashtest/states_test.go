package crashtest

import (
	"context"
	"os"
	"testing"
)

// scratch is a folder in memory, where there is one.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "satchel-test-*")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// TestStates: whatever a power cut leaves of a commit is the state before it or
// the one after it.
func TestStates(t *testing.T) {
	n := 5000
	if testing.Short() {
		n = 500
	}
	rep, err := States(context.Background(), StatesOptions{Dir: scratch(t), States: n, Seed: 1, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", rep)
	if !rep.OK() {
		t.Error(rep.Violation)
	}
	if rep.States != n || rep.Old < n/2 || rep.New < n/20 || rep.Old+rep.New != n || rep.Continued == 0 {
		t.Errorf("%+v: states of a kind are missing", rep)
	}
	// Every other history has a journal; a short run has hardly more than one.
	if journal := rep.Appends + rep.Folds; !testing.Short() && (rep.Appends < rep.Commits/4 || rep.Folds < rep.Commits/20 || journal > 3*rep.Commits/4) {
		t.Errorf("%+v: states of a kind are missing", rep)
	}
}

// TestStatesNoticed: a store that wrote the head without waiting for the data
// would be found out, so the test above means something.
func TestStatesNoticed(t *testing.T) {
	rep, err := States(context.Background(), StatesOptions{Dir: scratch(t), States: 2000, Seed: 1, unordered: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", rep)
	if rep.OK() || rep.States == 0 {
		t.Error("nothing was noticed")
	}
}
