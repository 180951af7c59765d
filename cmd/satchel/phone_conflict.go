package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"satchel/mobile-api/client"
)

func (f *phone) conflictsCommand() *cobra.Command {
	var all bool
	cmd := f.command("conflicts", "Own changes that somebody else's came before, and what stands there now", cobra.NoArgs, func(r *phoneRun, _ []string) error {
		return r.conflicts(all)
	})
	cmd.Flags().BoolVar(&all, "all", false, "those that are settled, too")
	return cmd
}

func (r *phoneRun) conflicts(all bool) error {
	list, err := r.Conflicts()
	if err != nil {
		return err
	}
	out := []client.Conflict{}
	for _, c := range list {
		if all || c.Open {
			out = append(out, c)
		}
	}
	if r.f.json {
		return r.print(out)
	}
	for i := range out {
		fmt.Fprintln(r.out, conflictText(&out[i]))
	}
	return nil
}

func conflictText(c *client.Conflict) string {
	theirs := "the record is not on this device"
	if c.Theirs != nil {
		theirs = "the server has " + printable(string(c.Theirs))
	}
	s := fmt.Sprintf("%s\t%s %s: you wrote %s, %s", c.ID, refText(c.Record), c.Field, printable(string(c.Mine)), theirs)
	switch {
	case !c.Open:
		return s + "; settled: " + c.How
	case c.Choice != "":
		return s + "; settled here: " + c.Choice
	}
	return s
}

// settle settles a conflict: mine, theirs, or value=….
func (f *phone) settle(r *phoneRun, args []string) error {
	var keep client.Keep
	switch text, given := strings.CutPrefix(args[1], "value="); {
	case given:
		keep = client.KeepValue(value(text))
	case args[1] == "mine":
		keep = client.KeepMine
	case args[1] == "theirs":
		keep = client.KeepTheirs
	default:
		return usageError{fmt.Errorf("%q: write mine, theirs or value=VALUE", args[1])}
	}
	err := r.Settle(args[0], keep, f.how()...)
	if errors.Is(err, client.ErrSettled) {
		return fmt.Errorf("conflict %s is settled already", args[0])
	}
	if err != nil {
		return err
	}
	return r.say(map[string]string{"settled": args[0]}, "Settled %s. It leaves with the next sync.\n", args[0])
}
