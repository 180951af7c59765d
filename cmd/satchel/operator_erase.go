package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/server/rest"
	"satchel/sync/apply"
	"satchel/sync/subject"
	"satchel/sync/tenant"
)

// eraseCommand takes a person out of a tenant.
func eraseCommand() *cobra.Command {
	var f folder
	var person string
	var dry bool
	cmd := &cobra.Command{
		Use: "erase", Short: "Erase a person: an employee, a contact, or another record that stands for one", Args: cobra.NoArgs,
		Long: `Erase a person: an employee, or another record that stands for one (a contact,
an agent, a client of kind person with its contacts and sites, a supplier).

Personal fields, ways to sign in, what is theirs alone, offline work that waits
and the values in the audit trail go. What they wrote about the business stays,
by a record without a name. --dry-run counts what would go. It can't be undone.

The file keeps deleted bytes, and its log what was said, until satchel compact.
Backups made before keep all of it: erase again after restoring one.`,
		RunE: func(c *cobra.Command, _ []string) error {
			if person == "" {
				return usageError{errors.New("--person ID or an employee's e-mail address is required")}
			}
			if dry {
				f.cmd = nil // nothing is done that a row should tell of
			}
			return f.open(func(t *tenant.Tenant) error { return f.erase(c.Context(), t, person, dry) })
		},
	}
	cmd.Flags().StringVar(&person, "person", "", "id of the record, or e-mail address of an employee")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "count what would go, and change nothing")
	return f.flags(cmd, true)
}

// personOf finds whom an operator means: the id of a record, or the address of
// an employee, whatever the status.
func personOf(t *tenant.Tenant, given string) (id ident.RecordID, err error) {
	err = t.Read(func(v *tenant.View) error {
		if _, ok := v.Identify(ident.RecordID(given)); ok {
			id = ident.RecordID(given)
			return nil
		}
		for _, o := range v.Named(v.Cat.Type(subject.Employee), "email", given) {
			if rec, ok := v.LoadOrd(o); ok {
				id = rec.ID
				return nil
			}
		}
		return fmt.Errorf("there is no record %q, and no employee with that address", given)
	})
	return id, err
}

func (f *folder) erase(ctx context.Context, t *tenant.Tenant, given string, dry bool) error {
	id, err := personOf(t, given)
	if err != nil {
		return err
	}
	if dry {
		out, err := rest.SurveyPerson(func(fn func(*tenant.View) error) error { return t.Read(fn) }, id)
		if err != nil {
			return err
		}
		return f.print(out, "would go:\n"+erasureText(&out))
	}
	out, err := rest.Erase(ctx, t, &command.Command{Erase: &command.Erase{Person: id}})
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%s is erased\n", id)
	if !out.Done {
		text = fmt.Sprintf("%s is being erased; start the server, or run this again, to have it end\n", id)
	}
	return f.print(out, text+erasureText(out)+"Until satchel compact the file keeps deleted bytes and the log.\n")
}

// erasureText lists the counts.
func erasureText(e *apply.Erasure) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  %6d records that stood for the person, %d of them deleted\n", e.Former, e.Removed)
	for _, k := range slices.Sorted(maps.Keys(e.Records)) {
		fmt.Fprintf(&b, "  %6d %s\n", e.Records[k], k)
	}
	for _, k := range slices.Sorted(maps.Keys(e.Counts)) {
		fmt.Fprintf(&b, "  %6d %s\n", e.Counts[k], k)
	}
	return b.String()
}
