package canary

import (
	"os"
	"strconv"
	"testing"

	"satchel/internal/command"
	"satchel/internal/testworld"
)

// TestTwins: nobody can tell two worlds apart that differ in what they may not
// see.
func TestTwins(t *testing.T) {
	t.Parallel()
	for i, g := range Groups {
		t.Run(g[0], func(t *testing.T) {
			t.Parallel()
			compare(t, int64(i+1), 12, g)
		})
	}
}

func compare(t *testing.T, seed int64, steps int, group []string) {
	t.Helper()
	rep := Twins(t, seed, steps, group...)
	for _, d := range rep.Differences {
		t.Errorf("seed %d: %s", seed, d)
	}
	if t.Failed() {
		return
	}
	hidden := 0
	for _, n := range rep.Hidden {
		hidden += n
	}
	if hidden < steps/2 || rep.Both == 0 || len(rep.Hidden) < 5 {
		t.Errorf("seed %d: the worlds hardly differ: %v; %d in both", seed, rep.Hidden, rep.Both)
	}
	for what, least := range map[string]int{
		"list": steps, "get": steps, "export": steps, "children": steps, "pull": steps, "push": steps, "live": steps, "create": steps / 2, "delete": 1, "mail": 1,
		"cursor": 1, "explain": 1, "verify": 1, "rules": 1, "upload": 1,
	} {
		if rep.Compared[what] < least {
			t.Errorf("seed %d: %d of %s were compared", seed, rep.Compared[what], what)
		}
	}
	t.Log(rep.Compared, rep.Hidden, rep.Both)
}

// TestTwinsHear: a difference that can be seen is noticed: a field of a record
// that somebody sees, how many there are, who is told.
func TestTwinsHear(t *testing.T) {
	t.Parallel()
	for name, plant := range map[string]func(*Server){
		"a field": func(s *Server) {
			s.Import(testworld.Row("client", s.World.Clients[acme], "city", "Elsewhere"))
		},
		"a record": func(s *Server) {
			s.Import(testworld.Row("contact", "contact-planted", "client", s.World.Clients[acme], "name", "Planted"))
		},
		"news": func(s *Server) {
			s.Do(&command.Command{Write: &command.Write{
				Op: "action", Type: "ticket", ID: s.World.of("ticket", acme), Action: "assign", Args: testworld.Object("assignee", s.World.Person("onsite").ID),
			}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if rep := playTwins(t, 3, 2, plant, "onsite", "contractor"); len(rep.Differences) == 0 {
				t.Errorf("nothing is noticed: %v", rep.Compared)
			}
		})
	}
}

// TestTwinsLong is the long form: CANARY_TWINS says how many seeds of each group,
// CANARY_FROM the first one.
func TestTwinsLong(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("CANARY_TWINS"))
	if err != nil {
		t.Skip("CANARY_TWINS is not set")
	}
	from, _ := strconv.ParseInt(os.Getenv("CANARY_FROM"), 10, 64)
	for seed := range n {
		for i, g := range Groups {
			t.Run(strconv.FormatInt(from+int64(seed), 10)+"/"+strconv.Itoa(i), func(t *testing.T) { compare(t, 1000+from+int64(seed), 40, g) })
		}
	}
}
