package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"satchel/internal/command"
	"satchel/sync/tenant"
)

// outgoing are the commands that hand out what a tenant has: they leave their
// row in its audit trail before they begin, so that none is handed out without.
var outgoing = map[string]bool{"backup": true, "export": true}

// changing are the commands that change a tenant: they leave a row once they
// have, beside those of the records they changed, which bear no name.
var changing = map[string]bool{
	"compact": true, "erase": true, "import": true, "keys rotate": true, "restore": true, "role grant": true,
	"user add": true, "user forget": true, "user invite": true, "user password": true,
}

// actOf is what the trail calls a command: as it is typed, without flags.
func actOf(cmd *cobra.Command) string {
	if cmd == nil {
		return ""
	}
	_, name, _ := strings.Cut(cmd.CommandPath(), " ")
	return name
}

// operatorName is the operator's account on this machine.
func operatorName() string {
	name := "uid " + strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil {
		name = cmp.Or(u.Username, name)
	}
	if by := os.Getenv("SUDO_USER"); by != "" && by != name {
		name = by + " as " + name
	}
	name = strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == 0xfffd {
			return '?'
		}
		return c
	}, strings.ToValidUTF8(name, "?"))
	if len(name) > 64 {
		name = strings.ToValidUTF8(name[:64], "")
	}
	return name
}

// act leaves a row in a tenant's audit trail.
func act(t *tenant.Tenant, name string) error {
	_, err := t.Submit(context.Background(), &command.Command{Act: &command.Act{Name: name, By: operatorName()}})
	if err != nil {
		return fmt.Errorf("%s could not be noted in the audit trail: %w", name, err)
	}
	return nil
}

// noted does what a command does to a tenant, and leaves its row.
func (f *folder) noted(t *tenant.Tenant, fn func(*tenant.Tenant) error) error {
	name := actOf(f.cmd)
	if outgoing[name] {
		if err := act(t, name); err != nil {
			if name != "backup" {
				return err
			}
			// A tenant that can't be written to needs its copy all the more.
			fmt.Fprintln(os.Stderr, "satchel:", err)
		}
	}
	if err := fn(t); err != nil || !changing[name] {
		return err
	}
	return act(t, name)
}
