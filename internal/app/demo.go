package app

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"satchel/internal/command"
	"satchel/internal/demo"
	"satchel/internal/durable"
	"satchel/internal/ident"
	"satchel/sync/apply"
)

// LoadDemo loads the demo tenant where it is not there yet, writes its
// sign-ins to DIR/demo-signins.json and returns them as a table.
func (a *App) LoadDemo(ctx context.Context, dir string) (string, error) {
	list, err := a.tenants.List()
	if err != nil {
		return "", err
	}
	there := false
	for _, id := range list {
		there = there || id == demo.Tenant
	}
	if !there {
		if err := a.loadDemo(ctx); err != nil {
			return "", err
		}
	}
	signins := demo.Signins()
	b, err := json.MarshalIndent(signins, "", "  ")
	if err != nil {
		return "", err
	}
	if err := durable.WriteFile(filepath.Join(dir, "demo-signins.json"), append(b, '\n')); err != nil {
		return "", err
	}
	var out strings.Builder
	fmt.Fprintf(&out, "\ndemo tenant %q, password %s for everybody:\n\n", demo.Tenant, demo.Password)
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	for _, s := range signins {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", s.Email, s.Name, strings.Join(s.Roles, " "))
	}
	if err := w.Flush(); err != nil {
		return "", err
	}
	return out.String() + "\n", nil
}

// loadDemo makes the tenant beside its place and moves it there when it is
// whole, so that a start that breaks off leaves no half of it.
func (a *App) loadDemo(ctx context.Context) error {
	const partial = demo.Tenant + "-loading"
	path := a.tenants.Path(partial)
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	t, err := a.tenants.SetUp(ctx, partial, Administrator{}, a.hasher)
	if err != nil {
		return err
	}
	submit := func(ctx context.Context, c *command.Command) (apply.Result, error) { return t.Submit(ctx, c) }
	hash := func(pw string) (string, error) { return a.hasher.Hash(ctx, pw) }
	if err := demo.Load(ctx, submit, hash, ident.MillisOf(a.cfg.Clock()), nil); err != nil {
		return err
	}
	if err := a.tenants.closeOne(partial); err != nil {
		return err
	}
	return durable.Rename(path, a.tenants.Path(demo.Tenant))
}
