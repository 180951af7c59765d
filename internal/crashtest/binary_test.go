package crashtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"satchel/internal/app"
	"satchel/internal/ident"
	"satchel/sync/tenant"
)

// built is the real binary, made once for all tests.
var built = sync.OnceValues(func() (Binary, error) {
	dir, err := os.MkdirTemp("", "satchel-binary-*")
	if err != nil {
		return Binary{}, err
	}
	path := filepath.Join(dir, "satchel")
	if out, err := exec.Command("go", "build", "-o", path, "satchel/cmd/satchel").CombinedOutput(); err != nil {
		return Binary{}, errors.Join(fmt.Errorf("go build: %w\n%s", err, out), os.RemoveAll(dir))
	}
	return Binary{Args: []string{path}}, nil
})

func TestMain(m *testing.M) {
	if path := os.Getenv(storeEnv); path != "" {
		os.Exit(serveStore(path, os.Stdin, os.Stdout))
	}
	code := m.Run()
	if usedBinary {
		if b, err := built(); err == nil {
			_ = os.RemoveAll(filepath.Dir(b.Args[0]))
		}
	}
	os.Exit(code)
}

// usedBinary keeps TestMain from building what no test asked for.
var usedBinary bool

// program is the real binary; short runs do without what needs it.
func program(t *testing.T) Binary {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the program")
	}
	usedBinary = true
	b, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// open makes a tenant in a folder.
func open(dir string, slug ident.TenantID) (*tenant.Tenant, func() error, error) {
	ts, err := app.NewTenants(dir, nil, time.Now)
	if err != nil {
		return nil, nil, err
	}
	t, err := ts.Create(slug)
	return t, ts.Close, err
}

// reopen opens the tenant of a folder again.
func reopen(dir string) (*tenant.Tenant, func() error, error) {
	ts, err := app.NewTenants(dir, nil, time.Now)
	if err != nil {
		return nil, nil, err
	}
	t, err := ts.Tenant(slug)
	return t, ts.Close, err
}
