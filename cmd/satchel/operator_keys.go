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

Links and addresses in mails (invitations, resets, to be unsubscribed by, where
mail comes back to) are made with a key of the whole folder, which a running
server takes over likewise:

  keys rotate --mail        a new key; what stands in mails sent before is good
                            for thirty days more
  keys rotate --mail --void what stands in mails sent before is void at once

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
	void, mail := false, false
	turn := &cobra.Command{
		Use: "rotate", Short: "Change the key of access tokens, with --mail of mails, or with --tenant a tenant's secret", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case rotate.tenant != "" && (void || mail):
				return usageError{errors.New("--void and --mail are of the whole folder, and no tenant's")}
			case mail:
				return rotate.mailKey(c.Context(), void)
			case rotate.tenant != "":
				return rotate.open(func(t *tenant.Tenant) error { return rotate.rekey(c.Context(), t) })
			}
			return rotate.changeKeys(c.Context(), func() ([]token.KeyInfo, error) {
				return app.RotateAccessKeys(rotate.data, rand.Reader, time.Now(), void)
			})
		},
	}
	turn.Flags().BoolVar(&void, "void", false, "make all access tokens, or what stands in mails, void at once")
	turn.Flags().BoolVar(&mail, "mail", false, "change the key of links and addresses in mails")
	turn.Flags().StringVar(&rotate.tenant, "tenant", "", "change the secret of this tenant")
	cmd.AddCommand(rotate.flags(turn, false), remove.flags(&cobra.Command{
		Use: "remove KID", Short: "Make the tokens of an earlier key void at once", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return remove.changeKeys(c.Context(), func() ([]token.KeyInfo, error) { return app.RemoveAccessKey(remove.data, args[0]) })
		},
	}, false))
	return cmd
}

// changeKeys changes the keys of access tokens, which leaves a row in the trail
// of every tenant.
func (f *folder) changeKeys(ctx context.Context, change func() ([]token.KeyInfo, error)) error {
	var keys []token.KeyInfo
	err := app.ActOnAll(ctx, f.data, actOf(f.cmd), operatorName(), func() (err error) {
		keys, err = change()
		return err
	})
	return f.keys(keys, err)
}

// mailKey changes the key of what stands in mails, likewise.
func (f *folder) mailKey(ctx context.Context, void bool) error {
	err := app.ActOnAll(ctx, f.data, actOf(f.cmd)+" mail", operatorName(), func() error {
		return app.RotateMailKey(f.data, rand.Reader, time.Now(), void)
	})
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("no key of mails in %s; a server that sends mail makes it when it first starts", f.data)
	case err != nil:
		return err
	}
	text := "mails have a new key; what stands in those sent before is good for thirty days\n"
	if void {
		text = "mails have a new key; what stands in those sent before is void\n"
	}
	return f.print(map[string]bool{"void": void}, text)
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
