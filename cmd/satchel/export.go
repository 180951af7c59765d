package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"satchel/internal/ident"
	"satchel/server/module"
	"satchel/server/rest"
	"satchel/server/sheet"
	"satchel/sync/apply"
	"satchel/sync/tenant"
)

func exportCommand() *cobra.Command {
	var f folder
	var typ, user, format, out, filter, sort, person, config string
	var names bool
	cmd := &cobra.Command{
		Use: "export", Short: "Write the records of a type as a table, or all that is held of a person", Args: cobra.NoArgs,
		Long: "Write the records of a type as CSV or XLSX: all of them or, with --user, those that the person may see, field by field.\n" +
			"With --person, write a ZIP of all that is held of a person: records, sign-ins, devices, files, what they made, their rows of the audit trail.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if person != "" {
				for _, name := range []string{"type", "user", "format", "filter", "sort", "names"} {
					if cmd.Flags().Changed(name) {
						return usageError{fmt.Errorf("--person goes with --out alone, not with --%s", name)}
					}
				}
				return f.exportPerson(cmd.Context(), person, out, config)
			}
			cat, err := module.Catalogue()
			if err != nil {
				return err
			}
			t := cat.Type(typ)
			if t == nil {
				return usageError{fmt.Errorf("there is no type %q", typ)}
			}
			if format != sheet.CSV && format != sheet.XLSX {
				return usageError{errors.New("--format must be csv or xlsx")}
			}
			params := map[string]string{}
			if filter != "" {
				params["filter"] = filter
			}
			if sort != "" {
				params["sort"] = sort
			}
			return f.open(func(ten *tenant.Tenant) error {
				var who ident.RecordID
				if user != "" {
					err := ten.Read(func(v *tenant.View) error {
						emp, ok := apply.FindEmployee(v.Reader, user)
						if !ok {
							return fmt.Errorf("no active employee has the address %q", user)
						}
						who = emp
						return nil
					})
					if err != nil {
						return err
					}
				}
				n := 0
				write := func(w io.Writer) error {
					s, err := sheet.New(w, format, t.Plural)
					if err != nil {
						return err
					}
					if n, err = rest.Export(ten, who, t, params, names, s); err != nil {
						return err
					}
					return s.Close()
				}
				if out == "-" {
					return write(cmd.OutOrStdout())
				}
				if err := writeWhole(out, write); err != nil {
					return err
				}
				return f.print(map[string]any{"file": out, "records": n}, fmt.Sprintf("%d records in %s\n", n, out))
			})
		},
	}
	cmd.Flags().StringVar(&typ, "type", "", "name of the type, as in client or jobActivity")
	cmd.Flags().StringVar(&user, "user", "", "e-mail address of the person whose rights bound it")
	cmd.Flags().StringVar(&format, "format", sheet.CSV, "csv or xlsx")
	cmd.Flags().StringVar(&out, "out", "-", "file to write; - for standard output")
	cmd.Flags().StringVar(&filter, "filter", "", "as the filter parameter of a list")
	cmd.Flags().StringVar(&sort, "sort", "", "as the sort parameter of a list")
	cmd.Flags().StringVar(&person, "person", "", "id of a record that stands for a person, or e-mail address of an employee")
	cmd.Flags().StringVar(&config, "config", "", "with --person: the server's configuration file, where it says that files are kept elsewhere")
	cmd.Flags().BoolVar(&names, "names", false, "put the name of what a reference names beside its id")
	return f.flags(cmd, true)
}
