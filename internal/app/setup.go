package app

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"satchel/internal/command"
	"satchel/internal/durable"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/server/session/password"
	"satchel/sync/apply"
	"satchel/sync/tenant"
)

// Administrator is the first person of a new tenant.
type Administrator struct {
	Name, Email, Password string
}

// SetUp makes a new tenant with its first customer administrator; without an
// e-mail address it has nobody yet.
func (ts *Tenants) SetUp(ctx context.Context, id ident.TenantID, admin Administrator, hasher *password.Hasher) (*tenant.Tenant, error) {
	setup := &command.Setup{Name: admin.Name, Email: admin.Email, Secret: make([]byte, 32)}
	if _, err := rand.Read(setup.Secret); err != nil {
		return nil, err
	}
	if admin.Email != "" {
		if err := password.Acceptable(admin.Password); err != nil {
			return nil, err
		}
		hash, err := hasher.Hash(ctx, admin.Password)
		if err != nil {
			return nil, err
		}
		setup.Hash = hash
		var b [15]byte
		if _, err := rand.Read(b[:]); err != nil {
			return nil, err
		}
		setup.Employee = ident.NewRecordID(b)
	}
	return ts.begin(ctx, id, &command.Command{Setup: setup})
}

// sweep removes what a process that was killed left of a file that was being
// made, and of what it was made from.
func sweep(partial string) error {
	dir, name := filepath.Split(partial)
	list, err := os.ReadDir(dir)
	for _, e := range list {
		if strings.HasPrefix(e.Name(), name) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// begin makes a new tenant's file beside its place, with what a command puts
// into it, and moves it there when it is whole: a tenant that is there is one
// that people can sign in to.
func (ts *Tenants) begin(ctx context.Context, id ident.TenantID, first *command.Command) (*tenant.Tenant, error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if err := ts.vacant(id); err != nil {
		return nil, err
	}
	partial := ts.Path(id) + ".new"
	if err := sweep(partial); err != nil {
		return nil, err
	}
	eng, err := ts.engine(partial)
	if err != nil {
		return nil, err
	}
	t, err := ts.tenant(id, eng)
	if err == nil {
		_, err = t.Submit(ctx, first)
		err = errors.Join(err, t.Close())
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(partial))
	}
	if err := durable.Rename(partial, ts.Path(id)); err != nil {
		return nil, err
	}
	return ts.start(id)
}

// firstTenant is the slug of the tenant that a new data folder is given.
const firstTenant = "main"

// NewPassword makes a password that can be read out.
func NewPassword() (string, error) {
	var b [10]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	return strings.ToLower(base32.StdEncoding.EncodeToString(b[:])), nil
}

// FirstTenant gives a data folder that has no tenant its first and tells how to
// sign in; the password is shown this once. One with a tenant is left as it is.
func (a *App) FirstTenant(ctx context.Context) (string, error) {
	list, err := a.tenants.List()
	if err != nil || len(list) > 0 {
		return "", err
	}
	pw, err := NewPassword()
	if err != nil {
		return "", err
	}
	admin := Administrator{Name: "Administrator", Email: "admin@example.com", Password: pw}
	if _, err := a.tenants.SetUp(ctx, firstTenant, admin, a.hasher); err != nil {
		return "", err
	}
	return fmt.Sprintf("new data folder; sign in as tenant %s, %s, password %s (shown once; change it)\n", firstTenant, admin.Email, pw), nil
}

// SetPassword gives an employee a password, as an operator does.
func SetPassword(ctx context.Context, t *tenant.Tenant, email, pw string, hasher *password.Hasher) error {
	if err := password.Acceptable(pw); err != nil {
		return err
	}
	var id ident.RecordID
	err := t.Read(func(v *tenant.View) error {
		var ok bool
		if id, ok = apply.FindEmployee(v.Reader, email); !ok {
			return fault.Newf(fault.NotFoundCode, "No active employee has the address %q.", email)
		}
		return nil
	})
	if err != nil {
		return err
	}
	hash, err := hasher.Hash(ctx, pw)
	if err != nil {
		return err
	}
	_, err = t.Submit(ctx, &command.Command{Secret: &command.Secret{Employee: id, Hash: hash}})
	return err
}
