// Package archtest holds the floors of the house: who may import whom.
package archtest

import (
	"os/exec"
	"strings"
	"testing"
)

// floors lists, lowest first, the packages by path prefix. A package may
// import its own floor and those beneath it. The longest prefix counts.
var floors = []struct {
	prefix string
	level  int
}{
	{"satchel/internal/mutant", 0},
	{"satchel/internal/fault", 0},
	{"satchel/internal/durable", 0},
	{"satchel/internal/ident", 0},
	{"satchel/sync/wire", 0},
	{"satchel/mobile-api/wire", 0},
	{"satchel/internal/strictjson", 1},
	{"satchel/internal/refresh", 1},
	{"satchel/internal/entity", 1},
	{"satchel/internal/calendar", 1},
	{"satchel/internal/command", 2},
	{"satchel/internal/policy", 2},
	{"satchel/sync/bits", 2},
	{"satchel/sync/store", 2},
	{"satchel/sync/oplog", 3},
	{"satchel/sync/audit", 3},
	{"satchel/sync/outbox", 3},
	{"satchel/sync/state", 3},
	{"satchel/sync/project", 3},
	{"satchel/sync/subject", 4},
	{"satchel/sync/scope", 4},
	{"satchel/sync/column", 4},
	{"satchel/sync/pull", 5},
	{"satchel/sync/apply", 6},
	{"satchel/sync/verify", 7},
	{"satchel/sync/tenant", 7},
	{"satchel/server/session/token", 7},
	{"satchel/server/session/limit", 7},
	{"satchel/server/session/password", 7},
	{"satchel/server/ws/upgrade", 7},
	{"satchel/server/edge", 8},
	{"satchel/server", 9},
	{"satchel/mobile-api", 9},
	{"satchel/internal/demo", 10},
	{"satchel/internal/oracle", 10},
	{"satchel/internal/simtest", 11},
	{"satchel/internal/testworld", 11},
	{"satchel/internal/app", 11},
	{"satchel/internal/bench", 12},
	{"satchel/internal/crashtest", 12},
	{"satchel/internal/e2e", 12},
	{"satchel/internal/history", 12},
	{"satchel/internal/badinput", 12},
	{"satchel/internal/canary", 12},
	{"satchel/internal/mutant/mutanttest", 12},
	{"satchel/internal/archtest", 13},
	{"satchel/cmd", 13},
}

// apart are packages that must not reach certain others at all.
var apart = map[string][]string{
	// The client is for other people's programs: nothing of the server's.
	"satchel/mobile-api/client": {"satchel/internal/", "satchel/server/", "satchel/sync/apply", "satchel/sync/store", "satchel/sync/tenant"},
	// The judge shares no code with what it judges.
	"satchel/internal/oracle": {
		"satchel/internal/policy", "satchel/internal/command", "satchel/sync/scope", "satchel/sync/pull", "satchel/sync/project",
		"satchel/sync/state", "satchel/sync/subject", "satchel/sync/apply", "satchel/sync/bits", "satchel/server/",
	},
	// The core knows no server: app hands it catalogue and roles.
	"satchel/sync/": {"satchel/server/", "satchel/mobile-api/", "satchel/internal/app"},
}

func level(path string) (int, bool) {
	best, at := -1, 0
	for _, f := range floors {
		if (path == f.prefix || strings.HasPrefix(path, f.prefix+"/")) && len(f.prefix) > best {
			best, at = len(f.prefix), f.level
		}
	}
	return at, best >= 0
}

func TestFloors(t *testing.T) {
	cmd := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "satchel/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	n := 0
	for line := range strings.Lines(string(out)) {
		parts := strings.Fields(line)
		from := parts[0]
		lf, known := level(from)
		if !known {
			t.Errorf("%s stands on no floor: give it one", from)
			continue
		}
		n++
		for _, to := range parts[1:] {
			if !strings.HasPrefix(to, "satchel/") {
				continue
			}
			if lt, ok := level(to); ok && lt > lf {
				t.Errorf("%s (floor %d) imports %s (floor %d)", from, lf, to, lt)
			}
			for prefix, bad := range apart {
				if from != strings.TrimSuffix(prefix, "/") && !strings.HasPrefix(from, strings.TrimSuffix(prefix, "/")+"/") {
					continue
				}
				for _, b := range bad {
					if strings.HasPrefix(to, b) {
						t.Errorf("%s imports %s, which it must not know", from, to)
					}
				}
			}
		}
	}
	if n < 20 {
		t.Fatalf("only %d packages seen", n)
	}
}
