package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"satchel/internal/app"
	"satchel/internal/bench"
	"satchel/sync/tenant"
)

func benchCommand() *cobra.Command {
	cfg := bench.Config{}
	var asJSON, skipLarge bool
	var keep string
	var list strings.Builder
	for _, w := range bench.Works() {
		fmt.Fprintf(&list, "  %-8s %s\n", w.Name, w.Does)
	}
	cmd := &cobra.Command{
		Use:   "bench all|NAME…",
		Short: "Measure a server over HTTP and WebSockets on this machine",
		Long:  "Measure a server that is started for it, on a tenant that is made for it.\n\nNames:\n" + list.String(),
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 1 || args[0] != "all" {
				cfg.Works = args
			} else if skipLarge {
				for _, w := range bench.Works() {
					if !w.Large {
						cfg.Works = append(cfg.Works, w.Name)
					}
				}
			}
			if err := cfg.Check(); err != nil {
				return usageError{err}
			}
			return runBench(c, cfg, asJSON, keep)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&asJSON, "json", false, "write a line of JSON for each figure")
	f.IntVar(&cfg.Runs, "runs", 5, "how often each work is done")
	f.IntVar(&cfg.Records, "records", 100_010, "records of the tenant, ten of them public")
	f.IntVar(&cfg.Users, "users", 100, "people who look at them, one sales area each")
	f.IntVar(&cfg.Large, "large", 1_000_000, "records of the tenants of start1M, whatif and areas")
	f.IntVar(&cfg.Sockets, "sockets", 10_000, "devices of storm and soak")
	f.DurationVar(&cfg.SoakTime, "for", 5*time.Minute, "how long a soak lasts")
	f.IntVar(&cfg.SoakRate, "rate", 200, "records that a soak changes a second")
	f.BoolVar(&skipLarge, "skip-large", false, "leave start1M, whatif and areas out of all")
	f.DurationVar(&cfg.WriteTime, "write-time", 5*time.Second, "how long a run of B writes")
	f.StringVar(&keep, "keep", "", "folder to make the data in and to leave it in; it must be absent or empty")
	return cmd
}

func runBench(c *cobra.Command, cfg bench.Config, asJSON bool, keep string) (err error) {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	// What is measured is how much the server can do, not how much it lets one
	// person ask for.
	unlimited, err := os.CreateTemp("", "satchel-bench-*.json")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(unlimited.Name())) }()
	_, werr := unlimited.WriteString(`{"limits":{"off":true,"socketsPerPerson":1000000}}`)
	if err := errors.Join(werr, unlimited.Close()); err != nil {
		return err
	}
	cfg.Serve = []string{self, "serve", "--config", unlimited.Name()}
	cfg.Log = os.Stderr
	if keep == "" {
		if cfg.Folder, err = os.MkdirTemp("", "satchel-bench-*"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(cfg.Folder)) }()
	} else {
		if left, rerr := os.ReadDir(keep); rerr == nil && len(left) > 0 {
			return usageError{fmt.Errorf("--keep %s: the folder is not empty", keep)}
		}
		cfg.Folder = keep
	}
	cfg.Open = func(dir string) (*tenant.Tenant, func() error, error) {
		ts, err := app.NewTenants(dir, nil, time.Now)
		if err != nil {
			return nil, nil, err
		}
		t, err := ts.Create("bench")
		return t, ts.Close, err
	}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		cfg.Progress = func(s string) { fmt.Fprintf(os.Stderr, "\r\x1b[K%s", s) }
		defer func() { _, _ = io.WriteString(os.Stderr, "\r\x1b[K") }()
	}
	if asJSON {
		cfg.Report = bench.JSON(c.OutOrStdout())
		return bench.Run(c.Context(), cfg)
	}
	report, end := bench.Table(c.OutOrStdout())
	cfg.Report = report
	return errors.Join(bench.Run(c.Context(), cfg), end())
}
