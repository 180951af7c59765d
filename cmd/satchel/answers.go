package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"satchel/internal/ident"
	"satchel/server/rest"
	"satchel/server/sheet"
	"satchel/sync/apply"
	"satchel/sync/subject"
	"satchel/sync/tenant"
)

// answerCommands are the questions an operator asks of a folder beside
// explain: what a change would lead to, who holds what, who may do what.
func answerCommands() []*cobra.Command {
	return []*cobra.Command{whatIfCommand(), holdersCommand(), accessReviewCommand()}
}

// employee finds a person by id or e-mail address.
func employee(v *tenant.View, who string) (ident.RecordID, error) {
	if rec, ok := v.Load(ident.RecordID(who)); ok && rec.Type.Name == subject.Employee {
		return rec.ID, nil
	}
	if id, ok := apply.FindEmployee(v.Reader, who); ok {
		return id, nil
	}
	return "", fmt.Errorf("nobody has the id or, being active, the address %q", who)
}

// found is employee on a tenant of its own; "" stays "".
func found(t *tenant.Tenant, who string) (id ident.RecordID, err error) {
	if who == "" {
		return "", nil
	}
	err = t.Read(func(v *tenant.View) error {
		id, err = employee(v, who)
		return err
	})
	return id, err
}

// maxChangeFile bounds a file of changes, in bytes.
const maxChangeFile = 8 << 20

func whatIfCommand() *cobra.Command {
	var f folder
	var file, as string
	cmd := &cobra.Command{
		Use: "what-if", Short: "Say what a change would bring to people and devices, without making it", Args: cobra.NoArgs,
		Long: `Say what a change would bring to people and devices, without making it.

The change is JSON like {"op":"patch","type":"employee","id":"…","fields":{"salesAreas":["…"]}}, or a list of such; op is create,
patch, delete or action (with action and args). A create may bear "as":"x"; "$x" then stands for its id in what follows.`,
		RunE: func(*cobra.Command, []string) error {
			change, err := readChange(file)
			if err != nil {
				return err
			}
			return f.open(func(t *tenant.Tenant) error { return f.whatIf(t, as, change) })
		},
	}
	cmd.Flags().StringVar(&file, "change", "", "file with the change, - for standard input")
	cmd.Flags().StringVar(&as, "as", "", "judge the change as this person's (e-mail address or id); nobody's right binds it otherwise")
	return f.flags(cmd, true)
}

func readChange(file string) ([]byte, error) {
	in := io.Reader(os.Stdin)
	switch file {
	case "":
		return nil, usageError{errors.New("--change FILE is required")}
	case "-":
	default:
		fd, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer fd.Close() //nolint:errcheck // only read
		in = fd
	}
	b, err := io.ReadAll(io.LimitReader(in, maxChangeFile+1))
	if err == nil && len(b) > maxChangeFile {
		err = fmt.Errorf("a change has at most %d MiB", maxChangeFile>>20)
	}
	return b, err
}

func (f *folder) whatIf(t *tenant.Tenant, as string, change []byte) error {
	who, err := found(t, as)
	if err != nil {
		return err
	}
	out, err := rest.WhatIf(t, who, slices.Concat([]byte(`{"change":`), change, []byte{'}'}))
	if err != nil {
		return err
	}
	var b strings.Builder
	if !out.Accepted {
		fmt.Fprintf(&b, "refused: change %d: %s (%s)\n", out.Refusal.Index+1, out.Refusal.Message, out.Refusal.Code)
		return f.print(out, b.String())
	}
	fmt.Fprintf(&b, "accepted: something changes for %d people and on %d devices\n", out.Total.People, out.Total.Devices)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "person\tdevice\tarrive\tleave\tchange\t")
	for _, p := range out.People {
		fmt.Fprintf(w, "%s\t\t%s\t%s\t%d\t\n", label(p.Employee.ID, p.Employee.Name), counts(p.Arrives.Total, p.Arrives.Types), counts(p.Leaves.Total, p.Leaves.Types), p.Changed)
		for _, d := range out.Devices {
			if d.Employee.ID == p.Employee.ID {
				fmt.Fprintf(w, "\t%s\t%s\t%s\t%d\t\n", label(d.Device.ID, d.Device.Name), counts(d.Arrives.Total, d.Arrives.Types), counts(d.Leaves.Total, d.Leaves.Types), d.Changed)
			}
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.print(out, b.String())
}

func label(id ident.RecordID, name string) string {
	if name == "" {
		return string(id)
	}
	return name + " (" + string(id) + ")"
}

func counts(total int, types map[string]int) string {
	if total == 0 {
		return "0"
	}
	var parts []string
	for _, t := range slices.Sorted(maps.Keys(types)) {
		parts = append(parts, fmt.Sprintf("%s %d", t, types[t]))
	}
	return fmt.Sprintf("%d (%s)", total, strings.Join(parts, ", "))
}

func holdersCommand() *cobra.Command {
	var f folder
	var client, device, who string
	cmd := &cobra.Command{
		Use: "holders", Short: "Say which devices have records of a client, or of which clients devices have any", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return f.open(func(t *tenant.Tenant) error {
				return t.Read(func(v *tenant.View) error {
					q := rest.Held{Client: ident.RecordID(client), Device: ident.RecordID(device)}
					if who != "" {
						id, err := employee(v, who)
						if err != nil {
							return err
						}
						q.Employee = id
					}
					return f.holders(v, q)
				})
			})
		},
	}
	cmd.Flags().StringVar(&client, "client", "", "id of a client: who holds records of it")
	cmd.Flags().StringVar(&device, "device", "", "id of a device: of which clients it holds records")
	cmd.Flags().StringVar(&who, "employee", "", "e-mail address or id: the same for all devices of the person")
	return f.flags(cmd, true)
}

func (f *folder) holders(v *tenant.View, q rest.Held) error {
	out, err := rest.Holders(v, q)
	if err != nil {
		return err
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "person\tdevice\tclient\trecords\tsince\tto remove\t")
	for _, h := range out {
		client := string(q.Client)
		if h.Client != nil {
			client = label(h.Client.ID, h.Client.Name)
		}
		since := h.Since
		if since == "" {
			since = "unknown"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%d\t\n", label(h.Employee.ID, h.Employee.Name), label(h.Device.ID, h.Device.Name), client, h.Records, since, h.ToRemove)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.print(out, b.String())
}

func accessReviewCommand() *cobra.Command {
	var f folder
	var who, client, format string
	cmd := &cobra.Command{
		Use: "access-review", Short: "Say what a person may do and by what, who sees a client, or what everybody may do", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if f.json {
				format = "json"
			}
			if format != "json" && format != sheet.CSV {
				return usageError{errors.New("--format must be csv or json")}
			}
			return f.open(func(t *tenant.Tenant) error {
				id, err := found(t, who)
				if err != nil {
					return err
				}
				return f.accessReview(t, rest.Asked{Employee: id, Client: ident.RecordID(client)}, format)
			})
		},
	}
	cmd.Flags().StringVar(&who, "employee", "", "e-mail address or id: what this person may do")
	cmd.Flags().StringVar(&client, "client", "", "id of a client: who sees it")
	cmd.Flags().StringVar(&format, "format", sheet.CSV, "csv or json")
	return f.flags(cmd, true)
}

func (f *folder) accessReview(t *tenant.Tenant, q rest.Asked, format string) error {
	if format == "json" {
		out, err := rest.AccessReview(t, q)
		if err != nil {
			return err
		}
		f.json = true
		return f.print(out, "")
	}
	w, err := sheet.New(os.Stdout, sheet.CSV, "access-review")
	if err != nil {
		return err
	}
	if err := rest.WriteAccessReview(t, q, w); err != nil {
		return err
	}
	return w.Close()
}
