package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"satchel/internal/app"
	"satchel/internal/ident"
	"satchel/sync/audit"
	"satchel/sync/tenant"
)

// acts lists what operators did, as the trail of a tenant has it.
func acts(t *testing.T, data string, id ident.TenantID) (out []string) {
	t.Helper()
	ts, err := app.NewTenants(data, nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	ten, err := ts.Tenant(id)
	if err != nil {
		t.Fatal(err)
	}
	err = ten.Read(func(v *tenant.View) error {
		return audit.Forward(v.KV(), audit.Key{}, func(r *audit.Row) bool {
			if r.Op == audit.Operator {
				out = append(out, strings.TrimSuffix(r.Name, " by "+operatorName()))
			}
			return true
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := ts.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

// owed counts the acts that are in no trail yet.
func owed(t *testing.T, data string) int {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(data, "acts", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// TestKeysInTheTrail: changing the keys of a folder leaves a row in the trail of
// each of its tenants, whether a server has them open or not, and after a crash.
func TestKeysInTheTrail(t *testing.T) {
	f := newFiled(t)
	at := "--data=" + f.data
	satchel(t, 0, "tenant", "create", "other", at, "--email=eve@example.com")
	_, end := f.serving()
	satchel(t, 0, "keys", "rotate", at)
	for until := time.Now().Add(30 * time.Second); owed(t, f.data) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("the server wrote nothing into the trails")
		}
	}
	end()
	satchel(t, 0, "keys", "rotate", at, "--void")
	satchel(t, 1, "keys", "remove", at, "no-such-key")
	satchel(t, 1, "keys", "rotate", at, "--mail") // no mail was ever sent
	if err := os.WriteFile(filepath.Join(f.data, "mail.key"), make([]byte, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	satchel(t, 0, "keys", "rotate", at, "--mail")
	satchel(t, 0, "keys", "rotate", at, "--mail", "--void")
	satchel(t, 2, "keys", "rotate", at, "--mail", "--tenant=main")
	if n := owed(t, f.data); n > 0 {
		t.Errorf("%d acts are in no trail although nobody else has the tenants", n)
	}
	// As a process that was killed leaves it.
	left := filepath.Join(f.data, "acts", "other.0123456789abcdef.json")
	if err := os.WriteFile(left, []byte(`{"name":"keys remove","by":"`+operatorName()+`"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	want := []string{"keys rotate", "keys rotate", "keys rotate mail", "keys rotate mail"}
	if got := acts(t, f.data, "main"); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	_ = acts(t, f.data, "other") // opened: from now on it is there
	if got := acts(t, f.data, "other"); !slices.Equal(got, append(want, "keys remove")) {
		t.Errorf("%v", got)
	}
	if n := owed(t, f.data); n > 0 {
		t.Errorf("%d left", n)
	}
}

// TestReopenCommand: a running server is asked to open a tenant again, which is in
// the tenant's trail.
func TestReopenCommand(t *testing.T) {
	f := newFiled(t)
	admin, end := f.serving()
	if out := satchel(t, 0, "tenant", "reopen", "main", "--admin="+admin); !strings.Contains(out, "main is checked and open") {
		t.Error(out)
	}
	if out := satchel(t, 1, "tenant", "reopen", "nobody", "--admin="+admin); !strings.Contains(out, "no such tenant") {
		t.Error(out)
	}
	satchel(t, 1, "tenant", "reopen", "main")
	end()
	if got := acts(t, f.data, "main"); !slices.Equal(got, []string{"tenant reopen"}) {
		t.Errorf("%v", got)
	}
}
