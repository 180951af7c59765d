package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"satchel/internal/app"
	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/server/session"
	"satchel/server/session/token"
	"satchel/sync/tenant"
)

// keysCommand changes the secrets of a data folder.
func keysCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "keys", Short: "Show and change the keys of tokens and of what is sealed",
		Long: `Show and change the keys of tokens and of what is sealed.

Access tokens are signed with keys of the whole folder. A server that runs on it
takes a change over by itself, within a second:

  keys list                 the keys, the one that signs first
  keys rotate               a new key signs; tokens of the old one live until they
                            expire, ten minutes at most, and nobody notices
  keys rotate --void        all access tokens are void at once; sessions go on,
                            every client refreshes
  keys remove KID           the tokens of an old key are void at once

Each tenant has a secret of its own, for its refresh tokens and for the second
factors that it stores. The server must be stopped:

  keys rotate --tenant SLUG sessions, devices, passwords and second factors stay;
                            a refresh token that was used up before is refused
                            from then on, and no longer ends the session it was of

After a theft of the whole folder change all of them, and have people choose new
passwords: whoever has a file has its hashes and the secrets of second factors.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	var list, rotate, remove folder
	cmd.AddCommand(list.flags(&cobra.Command{
		Use: "list", Short: "List the keys of access tokens", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			keys, err := app.AccessKeys(list.data)
			return list.keys(keys, err)
		},
	}, false))
	void := false
	turn := &cobra.Command{
		Use: "rotate", Short: "Change the key of access tokens, or with --tenant a tenant's secret", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if rotate.tenant != "" {
				if void {
					return usageError{errors.New("--void is of access tokens, which are no tenant's")}
				}
				return rotate.open(func(t *tenant.Tenant) error { return rotate.rekey(c.Context(), t) })
			}
			keys, err := app.RotateAccessKeys(rotate.data, rand.Reader, time.Now(), void)
			return rotate.keys(keys, err)
		},
	}
	turn.Flags().BoolVar(&void, "void", false, "make all access tokens void at once")
	turn.Flags().StringVar(&rotate.tenant, "tenant", "", "change the secret of this tenant")
	cmd.AddCommand(rotate.flags(turn, false), remove.flags(&cobra.Command{
		Use: "remove KID", Short: "Make the tokens of an earlier key void at once", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			keys, err := app.RemoveAccessKey(remove.data, args[0])
			return remove.keys(keys, err)
		},
	}, false))
	return cmd
}

// keys shows the keys of access tokens.
func (f *folder) keys(keys []token.KeyInfo, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("no keys in %s; a server makes them when it first starts", f.data)
	}
	if err != nil {
		return err
	}
	var text strings.Builder
	for _, k := range keys {
		state := "signs"
		if k.Retired != 0 {
			state = "retired " + k.Retired.Time().UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(&text, "%s  %s\n", k.ID, state)
	}
	return f.print(keys, text.String())
}

// rekey gives a tenant another secret.
func (f *folder) rekey(ctx context.Context, t *tenant.Tenant) error {
	var secret [32]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return err
	}
	var c *command.Rekey
	if err := t.Read(func(v *tenant.View) (err error) {
		c, err = session.Rekey(v, secret)
		return err
	}); err != nil {
		return err
	}
	if _, err := t.Submit(ctx, &command.Command{Rekey: c}); err != nil {
		return err
	}
	return f.print(struct {
		Tenant        ident.TenantID `json:"tenant"`
		SecondFactors int            `json:"secondFactors"`
	}{t.ID(), len(c.Factors)}, fmt.Sprintf("tenant %s has a new secret; %d second factors were sealed anew\n", t.ID(), len(c.Factors)))
}
