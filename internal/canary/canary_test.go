package canary

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// fasthttp's clock lives as long as the process, its sweeper of idle
		// workers ends within ten seconds.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

// TestCrawl: nothing reaches anybody who may not have it. CANARY_SEED is the seed
// of another world; CANARY_DEEP asks every route for more.
func TestCrawl(t *testing.T) {
	t.Parallel()
	seed, err := strconv.ParseInt(os.Getenv("CANARY_SEED"), 10, 64)
	if err != nil {
		seed = 1
	}
	rep := Crawl(t, seed, os.Getenv("CANARY_DEEP") != "")
	said := map[string]int{}
	for _, l := range rep.Leaks {
		// One of each kind is enough to look into.
		route, _, _ := strings.Cut(l.Request, "?")
		k := fmt.Sprint(l.Person, l.Channel, route)
		for _, p := range l.Places[:min(1, len(l.Places))] {
			k += p.Type + p.Field
		}
		if said[k]++; said[k] == 1 {
			t.Errorf("%.600s", l.String())
		}
	}
	if len(said) > 0 {
		t.Errorf("%d leaks in all", len(rep.Leaks))
	}
	// Each channel was looked at, brought what may be brought, and a planted leak
	// was noticed.
	for channel, bears := range map[string]bool{
		"list": true, "record": true, "beneath": true, "search": true, "export csv": true, "export xlsx": true, "report": true, "picker": true, "personal": true,
		"admin": true, "admin csv": true, "mobile": true, "pull": true, "push": true, "live": true, "file": true, "thumbnail": false, "mail": true, "operator's export": true,
		"error": false, "write": false, "upload": false, "sync": false, "carrier": false, "personal data": true, "log": false, "metrics": false, "documents": false,
	} {
		n := rep.Channels[channel]
		if n == nil || n.Answers == 0 || n.Bytes == 0 {
			t.Errorf("nothing was seen of %s", channel)
			continue
		}
		if bears && n.Tokens == 0 {
			t.Errorf("%s brought nothing that anybody may have", channel)
		}
		if (bears || slices.Contains([]string{"log", "metrics", "documents", "carrier"}, channel)) && n.Controls == 0 {
			t.Errorf("no planted leak was noticed in %s", channel)
		}
	}
	for _, enc := range []string{"json", "zip", "mail-part", "mail-header", "quoted-printable", "base64", "base64url", "url"} {
		if rep.Decoded[enc] == 0 {
			t.Errorf("no %s was decoded", enc)
		}
	}
	for _, p := range []Pardon{Echo, Own, Picked, Rights, Typed} {
		if rep.Pardoned[p] == 0 {
			t.Errorf("%q pardoned nothing: it may go", p)
		}
	}
	if rep.Needles < 500 {
		t.Errorf("only %d searches for what is hidden", rep.Needles)
	}
	if len(rep.Unasked) > 0 {
		t.Errorf("nobody asked %d addresses: %.3000q", len(rep.Unasked), rep.Unasked)
	}
	for _, c := range slices.Sorted(maps.Keys(rep.Channels)) {
		t.Logf("%s: %+v", c, *rep.Channels[c])
	}
	t.Log(rep.Decoded, rep.Pardoned, len(rep.Routes), rep.Needles)
}

// TestWorldIsFull: every field of every type that has room for a token bears
// one, but for those of which it is said why not.
func TestWorldIsFull(t *testing.T) {
	t.Parallel()
	s := Start(t, 2)
	for i := range s.World.People {
		s.SignIn(s.World.People[i].Key, "installation")
	}
	got := s.inventory()
	for _, k := range got.empty {
		if Bare[k] == "" {
			t.Errorf("%s bears no token", k)
		}
	}
	for k := range Bare {
		if !slices.Contains(got.empty, k) {
			t.Errorf("%s bears a token after all", k)
		}
	}
	for _, typ := range s.suite.Cat.Types {
		if got.types[typ.Name] == 0 && typ.Name != "conflict" && typ.Name != "setting" {
			t.Errorf("there is no %s", typ.Name)
		}
	}
}
