package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"satchel/internal/simtest"
)

func simCommand() *cobra.Command {
	var o simtest.Options
	cmd := &cobra.Command{
		Use: "sim", Short: "Play random histories against the core and let the oracle judge each step", Args: cobra.NoArgs,
		Long: `Play random histories against the core and let the oracle judge each step.

Each seed is one history of a small tenant that is mostly about one part of the
business (service, selling, stock, money, agents): people, phones,
reassignments, hidden clients, roles that come and go, people who act for
others, lost and late answers, crashes. The counters say how often which fault
met which state. The first violation ends the run with exit code 1 and the
command line that shows it again.`,
		RunE: func(*cobra.Command, []string) error {
			if o.Seeds < 1 || o.Steps < 1 {
				return usageError{errors.New("--seeds and --steps must be at least 1")}
			}
			o.Out = os.Stdout
			step, end := progress("seeds")
			o.Progress = func(done, total int) { step(int64(done), int64(total)) }
			rep := simtest.Run(o)
			end()
			if !rep.OK() {
				return quietError{errors.New(rep.Violation)}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Seeds, "seeds", 100, "histories to play")
	f.IntVar(&o.Steps, "steps", 300, "steps of each")
	f.Int64Var(&o.Seed, "seed", 1, "seed of the first history")
	f.BoolVar(&o.Twins, "twins", false, "play each seed in two worlds that differ only in what one person may not see, and compare what that person is told")
	return cmd
}
