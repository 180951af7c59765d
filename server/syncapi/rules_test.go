package syncapi

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/server/module"
	"satchel/server/roles"
)

// staff makes people of random kinds and roles: most with nothing but what their
// roles give, some with a role, a denial or the rights of another to themselves.
type staff struct {
	testing.TB
	rnd      *rand.Rand
	cat      *entity.Catalogue
	compiled map[string]*policy.Compiled
	keys     []string
	holdings map[string]*policy.Holding
	n        int
}

func newStaff(t testing.TB) *staff {
	cat, err := module.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	compiled, err := roles.Compiled(cat)
	if err != nil {
		t.Fatal(err)
	}
	return &staff{
		TB: t, rnd: rand.New(rand.NewPCG(1, 2)), cat: cat, compiled: compiled,
		keys: slices.Sorted(maps.Keys(compiled)), holdings: map[string]*policy.Holding{},
	}
}

func (s *staff) some(n int) (out []*policy.Compiled) {
	for range n {
		out = append(out, s.compiled[s.keys[s.rnd.IntN(len(s.keys))]])
	}
	return out
}

// person makes somebody; apart says that there is more to them than their roles.
func (s *staff) person() (sub *policy.Subject, apart bool) {
	s.n++
	sub = &policy.Subject{
		ID: ident.RecordID(fmt.Sprintf("person-%d", s.n)), Active: true, Mobile: s.rnd.IntN(2) == 0,
		Kind: []string{policy.InHouse, policy.ClientStaff, "agent"}[s.rnd.IntN(3)],
	}
	var held []*policy.Compiled
	if s.rnd.IntN(4) > 0 {
		held = []*policy.Compiled{s.compiled[s.keys[s.rnd.IntN(6)]]} // of few, so that people have them in common
	} else {
		held = s.some(1 + s.rnd.IntN(3))
	}
	name := fmt.Sprint(sub.Outside())
	for _, c := range held {
		name += " " + c.Role.Key
	}
	if s.holdings[name] == nil {
		s.holdings[name] = policy.Hold(held, sub.Outside())
	}
	var personal []*policy.Compiled
	var denials []policy.Denial
	switch s.rnd.IntN(6) {
	case 0:
		personal = s.some(1)
	case 1:
		t := s.cat.Types[s.rnd.IntN(len(s.cat.Types))]
		denials = []policy.Denial{{ID: "denial", Type: t.Name}, {ID: "denial-too", App: entity.CRM, Verb: policy.Edit}}[s.rnd.IntN(2):]
	}
	sub.Build(s.holdings[name], personal, denials)
	return sub, len(personal) > 0 || len(denials) > 0
}

// TestRulesInCommon: the version that is remembered for all who hold the same
// roles is the one that each person's own rules have.
func TestRulesInCommon(t *testing.T) {
	s := newStaff(t)
	var cache rulesCache
	common := 0
	for range 400 {
		sub, apart := s.person()
		if by, _ := s.person(); s.rnd.IntN(5) == 0 {
			sub.Lend(by)
			apart = true
		}
		if apart && sub.Common() != nil {
			t.Fatalf("%s has something of their own, and all in common", sub.ID)
		}
		before := len(cache.common)
		if got, want := cache.render(s.cat, sub), rulesOf(s.cat, sub).Version; got != want {
			t.Fatalf("%s, %s: version %s, not %s", sub.ID, sub.Kind, got, want)
		}
		if sub.Common() != nil && len(cache.common) == before {
			common++
		}
	}
	if common < 50 || len(cache.common) < 10 {
		t.Errorf("%d of 400 had what was remembered, of %d", common, len(cache.common))
	}
}

func BenchmarkRulesVersion(b *testing.B) {
	s := newStaff(b)
	sub := (&policy.Subject{ID: "person", Kind: policy.InHouse, Active: true}).Build(policy.Hold([]*policy.Compiled{s.compiled["service.sales-representative"]}, false), nil, nil)
	b.Run("own", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			rulesOf(s.cat, sub)
		}
	})
	b.Run("common", func(b *testing.B) {
		var cache rulesCache
		b.ReportAllocs()
		for b.Loop() {
			cache.render(s.cat, sub)
		}
	})
}
