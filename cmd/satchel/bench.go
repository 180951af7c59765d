package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"satchel/internal/app"
	"satchel/internal/bench"
)

func benchCommand() *cobra.Command {
	cfg := bench.Config{Growth: bench.DefaultGrowth(), Link: bench.BadLink()}
	var asJSON, skipLarge bool
	var roundTrip time.Duration
	var rate int
	var farthest, crowd amount
	var keep, peer string
	var list strings.Builder
	for _, w := range bench.Works() {
		mark := ' '
		if w.Anywhere {
			mark = '*'
		}
		fmt.Fprintf(&list, " %c%-9s %s\n", mark, w.Name, w.Does)
	}
	cmd := &cobra.Command{
		Use:   "bench all|NAME…",
		Short: "Measure a server over HTTP and WebSockets on this machine",
		Long: "Measure a server that is started for it, on a tenant that is made for it.\n\nNames (* for any server):\n" +
			list.String() + "\n" + bench.Protocol,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 1 || args[0] != "all" {
				cfg.Works = args
			} else if skipLarge {
				for _, w := range bench.Works() {
					if !w.Large && (w.Anywhere || peer == "") {
						cfg.Works = append(cfg.Works, w.Name)
					}
				}
			}
			if cfg.Peer = strings.Fields(peer); len(cfg.Peer) == 0 && c.Flags().Changed("peer") {
				return usageError{errors.New("--peer needs a command")}
			}
			cfg.Link.Latency, cfg.Link.Up, cfg.Link.Down = roundTrip/2, rate, rate
			if farthest > 0 {
				cfg.Growth.Records = append(cfg.Growth.Records, int(farthest))
			}
			if crowd > 0 {
				cfg.Growth.Users = append(cfg.Growth.Users, int(crowd))
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
	f.IntVar(&cfg.Large, "large", 1_000_000, "records of the tenants of start1M, whatif, areas and everything")
	f.IntVar(&cfg.Sockets, "sockets", 10_000, "devices of storm and soak")
	f.DurationVar(&cfg.SoakTime, "for", 5*time.Minute, "how long a soak lasts")
	f.IntVar(&cfg.SoakRate, "rate", 200, "records that a soak changes a second")
	f.DurationVar(&roundTrip, "rtt", 2*cfg.Link.Latency, "round trip of the bad link")
	f.IntVar(&rate, "kbits", cfg.Link.Down, "rate of the bad link each way in kbit/s, 0 for boundless")
	f.Float64Var(&cfg.Link.Loss, "loss", cfg.Link.Loss, "share of segments that the bad link loses")
	f.Var(&farthest, "largest", "let growth go on to so many records, as 5M")
	f.Var(&crowd, "most-users", "let growth go on to so many users, as 10k")
	f.StringVar(&cfg.Charts, "charts", "", "folder for the drawings of growth and growth.json")
	f.IntVar(&cfg.Tenants, "tenants", 1000, "tenants of tenants")
	f.BoolVar(&skipLarge, "skip-large", false, "leave what makes tenants of its own out of all")
	f.DurationVar(&cfg.WriteTime, "write-time", 5*time.Second, "how long a run of B writes")
	f.StringVar(&peer, "peer", "", "measure another server by the adapter that this command starts; its words are separated by spaces")
	f.DurationVar(&cfg.PeerWait, "peer-wait", 2*time.Minute, "how long an adapter may take to answer a request")
	f.StringVar(&keep, "keep", "", "folder to make the data in and to leave it in; it must be absent or empty")
	return cmd
}

// amount is a flag's number, which may end in k or M.
type amount int

// String implements pflag.Value.
func (a *amount) String() string { return strconv.Itoa(int(*a)) }

// Set implements pflag.Value.
func (a *amount) Set(s string) error {
	times := 1
	if digits, ok := strings.CutSuffix(s, "k"); ok {
		s, times = digits, 1000
	} else if digits, ok := strings.CutSuffix(s, "M"); ok {
		s, times = digits, 1_000_000
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > math.MaxInt/times {
		return errors.New("it must be a number above 0, as 5000, 50k or 5M")
	}
	*a = amount(n * times)
	return nil
}

// Type implements pflag.Value.
func (a *amount) Type() string { return "number" }

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
	cfg.Open = func(dir string) (bench.DataFolder, error) {
		ts, err := app.NewTenants(dir, nil, time.Now)
		if err != nil {
			return nil, err
		}
		return ts, nil
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
