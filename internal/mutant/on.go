//go:build satchel_mutants

package mutant

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
)

const (
	// envName names the fault of this process, "" for none.
	envName = "SATCHEL_MUTANT"
	// envReached names a file that is made once the fault has made a
	// difference: a test that fails before that fails for another reason.
	envReached = "SATCHEL_MUTANT_REACHED"
)

var (
	chosen  = choose(os.Getenv(envName))
	reached sync.Once
)

// On reports whether the fault is planted.
func On(id ID) bool {
	if id != chosen {
		return false
	}
	reached.Do(mark)
	return true
}

func mark() {
	if path := os.Getenv(envReached); path != "" {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			stop("%s: %v", envReached, err)
		}
	}
}

// choose returns the fault of a name. A name that none has ends the process: a
// test must not pass because of a slip of the pen.
func choose(name string) ID {
	switch name {
	case "":
		return None
	case "list":
		if err := json.NewEncoder(os.Stdout).Encode(table); err != nil {
			stop("%v", err)
		}
		os.Exit(0)
	}
	for _, f := range table {
		if f.Name == name {
			fmt.Fprintf(os.Stderr, "satchel: a fault is planted: %s: %s\n", f.Name, f.Broken)
			return f.ID
		}
	}
	stop("there is no fault %q", name)
	return None
}

func stop(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "satchel: "+format+"\n", args...)
	os.Exit(3)
}

// Refuse returns an error where the build is one that must not serve.
func Refuse() error {
	return errors.New("this build has a switch for planted faults (tag satchel_mutants); it is for tests and does not serve")
}
