package apply

import "testing"

// TestRemembered: what is asked for stays, however much else comes, and not much
// more than is wanted is kept.
func TestRemembered(t *testing.T) {
	var m remembered[int, string]
	m.put(0, "zero")
	for i := 1; i <= 1000; i++ {
		m.trim(10)
		m.put(i, "other")
		if v, ok := m.get(0); !ok || v != "zero" {
			t.Fatalf("what is asked for was dropped after %d others", i)
		}
		if n := len(m.young) + len(m.old); n > 22 {
			t.Fatalf("%d are kept", n)
		}
	}
	if _, ok := m.get(1); ok {
		t.Error("what nobody asks for is kept")
	}
	m.put(0, "nought")
	if v, _ := m.get(0); v != "nought" {
		t.Errorf("%q", v)
	}
	m.drop(0)
	if _, ok := m.get(0); ok {
		t.Error("it was dropped")
	}
	m.trim(0)
	m.drop(1000)
	if _, ok := m.get(1000); ok {
		t.Error("it was dropped after a trim")
	}
	m.forget()
	if len(m.young)+len(m.old) > 0 {
		t.Error("all was to be forgotten")
	}
}
