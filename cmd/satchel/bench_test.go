package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestAmount(t *testing.T) {
	for s, want := range map[string]int{"1": 1, "5000": 5000, "50k": 50_000, "5M": 5_000_000} {
		var a amount
		if err := a.Set(s); err != nil || int(a) != want {
			t.Errorf("%s is %d, %v", s, a, err)
		}
	}
	for _, s := range []string{"", "k", "0", "-5", "1.5M", "5G", "9223372036854775807M", "5 k"} {
		var a amount
		if err := a.Set(s); err == nil {
			t.Errorf("%q was taken for %d", s, a)
		}
	}
}

// TestBenchRefuses: what can't be measured is refused before anything is
// built.
func TestBenchRefuses(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"nothing-of-the-kind", "no work"},
		{"link --loss 1", "loss"},
		{"link --kbits -1", "rate"},
		{"growth --largest many", "5M"},
		{"growth --largest 1050", "1050 records"},
		{"tenants --tenants 0", "tenant"},
	} {
		cmd := benchCommand()
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		cmd.SetArgs(strings.Fields(c.args))
		if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want something about %q", c.args, err, c.want)
		}
	}
}
