package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/server/importer"
	"satchel/sync/apply"
	"satchel/sync/tenant"
)

func importCommand() *cobra.Command {
	var f folder
	var mapping, from, rejects string
	cmd := &cobra.Command{
		Use: "import", Short: "Load a folder of CSV files by a mapping file", Args: cobra.NoArgs,
		Long: "Load a folder of CSV files by a mapping file.\n\nMappings that come along: " + strings.Join(importer.Builtin(), ", ") +
			". Rows that can't be taken go to the rejects file with\nline and reason. Running an import again adds nothing.",
		RunE: func(c *cobra.Command, _ []string) error {
			if mapping == "" || from == "" {
				return usageError{errors.New("--mapping and --from are required")}
			}
			m, err := importer.Load(mapping)
			if err != nil {
				return usageError{err}
			}
			if info, err := os.Stat(from); err != nil || !info.IsDir() {
				return usageError{fmt.Errorf("--from %s: no such folder", from)}
			}
			return f.open(func(t *tenant.Tenant) error { return f.load(c.Context(), t, m, from, rejects) })
		},
	}
	cmd.Flags().StringVar(&mapping, "mapping", "", "name of a mapping that comes along, or a mapping file")
	cmd.Flags().StringVar(&from, "from", "", "folder with the source files")
	cmd.Flags().StringVar(&rejects, "rejects", "rejects.csv", "file for the rows that can't be taken")
	return f.flags(cmd, true)
}

func (f *folder) load(ctx context.Context, t *tenant.Tenant, m *importer.Mapping, from, rejects string) error {
	var rep *importer.Report
	started := time.Now()
	err := writeWhole(rejects, func(w io.Writer) error {
		step, end := progress("importing")
		defer end()
		var err error
		rep, err = importer.Run(ctx, importer.Options{
			Mapping: m, Catalogue: t.Catalogue(), From: os.DirFS(from), Rejects: w,
			To: importer.SubmitFunc(func(ctx context.Context, batch *command.Import) (apply.ImportCount, error) {
				res, err := t.Submit(ctx, &command.Command{Import: batch})
				return res.Count, err
			}),
			Progress: func(done, total int, _ string) { step(int64(done), int64(total)) },
		})
		return err
	})
	if err != nil {
		return err
	}
	if err := recordRun(ctx, t, rep, started); err != nil {
		return err
	}
	words, err := importWords(rep, rejects)
	if err != nil {
		return err
	}
	return f.print(rep, words)
}

// importWords is the report for people: what became of the rows, and of the
// records that were made of them.
func importWords(rep *importer.Report, rejects string) (string, error) {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "source\trows\ttaken\trepeated\trejected")
	for _, c := range rep.Sources {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\n", c.Name, c.Rows, c.Taken, c.Repeated, c.Rejected)
	}
	fmt.Fprintln(w, "\ntype\tcreated\tchanged\tsame\trejected")
	for _, c := range rep.Types {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\n", c.Type, c.Created, c.Changed, c.Same, c.Rejected)
	}
	if err := w.Flush(); err != nil {
		return "", err
	}
	fmt.Fprintf(&b, "\n%d rows rejected (see %s)\n", rep.Rejected, rejects)
	if n := len(rep.Notes); n > 0 {
		fmt.Fprintf(&b, "%d notes on rows that were taken; run it again with --json to read them, it adds nothing\n", n)
	}
	if len(rep.Unread) > 0 {
		fmt.Fprintf(&b, "not read, since the mapping does not name them: %s\n", strings.Join(rep.Unread, ", "))
	}
	return b.String(), nil
}

// recordRun leaves a record of what the import did.
func recordRun(ctx context.Context, t *tenant.Tenant, rep *importer.Report, started time.Time) error {
	fields := map[string]any{
		"mapping": rep.Mapping, "started": ident.MillisOf(started).RFC3339(), "finished": ident.MillisOf(time.Now()).RFC3339(),
		"rejected": rep.Rejected,
	}
	created, changed, same := 0, 0, 0
	for _, c := range rep.Types {
		created, changed, same = created+c.Created, changed+c.Changed, same+c.Same
	}
	fields["created"], fields["changed"], fields["same"] = created, changed, same
	_, err := submitRow(ctx, t, "importRun", fields)
	return err
}
