package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/sync/apply"
	"satchel/sync/tenant"
)

// forgetCommand frees somebody who can't sign in any more, above all the one
// administrator whom no other can free.
func forgetCommand() *cobra.Command {
	var f folder
	var what command.Forget
	cmd := &cobra.Command{
		Use: "forget EMAIL", Short: "Take from a person the second factor, or the tie to an identity provider's account", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if !what.Factor && !what.Identity {
				return usageError{errors.New("say what: --second-factor, --identity or both")}
			}
			return f.open(func(t *tenant.Tenant) error { return f.forget(c.Context(), t, args[0], what) })
		},
	}
	cmd.Flags().BoolVar(&what.Factor, "second-factor", false, "the second factor and its recovery codes")
	cmd.Flags().BoolVar(&what.Identity, "identity", false, "the tie to an identity provider's account")
	return f.flags(cmd, true)
}

func (f *folder) forget(ctx context.Context, t *tenant.Tenant, email string, what command.Forget) error {
	var known bool
	if err := t.Read(func(v *tenant.View) error {
		what.Employee, known = apply.FindInvitable(v.Reader, email)
		return nil
	}); err != nil {
		return err
	}
	if !known {
		return fmt.Errorf("no employee who may sign in has the address %q", email)
	}
	if _, err := t.Submit(ctx, &command.Command{Forget: &what}); err != nil {
		return err
	}
	out := struct {
		Employee     ident.RecordID `json:"employee"`
		SecondFactor bool           `json:"secondFactor"`
		Identity     bool           `json:"identity"`
	}{what.Employee, what.Factor, what.Identity}
	return f.print(out, fmt.Sprintf("%s signs in by password alone from now on, and may choose anew\n", email))
}
