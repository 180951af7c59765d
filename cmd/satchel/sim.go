package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"satchel/internal/simtest"
)

func simCommand() *cobra.Command {
	var o simtest.Options
	var replay string
	var tries int
	cmd := &cobra.Command{
		Use: "sim", Short: "Play random histories against the core and let the oracle judge each step", Args: cobra.NoArgs,
		Long: `Play random histories against the core and let the oracle judge each step.

Each seed is one history of a small tenant that is mostly about one part of the
business (service, selling, stock, money, agents): people, phones,
reassignments, hidden clients, roles that come and go, people who act for
others; and under faults that differ from seed to seed: requests and answers
that are lost, late or doubled, crashes, torn writes, full disks, restored
servers, cloned and restored phones, clocks that are years off.

The counters say how often what happened, the matrix how often which fault met
a phone in which state of the protocol. A run of at least 100,000 steps in all
fails where something that it should have met is at zero.

The first violation is shortened, by leaving out steps for as long as it still
shows, and written to a file of the folder one is in, satchel-sim-SEED.replay,
which --replay plays again. The exit code is then 1.`,
		RunE: func(*cobra.Command, []string) error {
			if replay != "" {
				return playReplay(replay)
			}
			if o.Seeds < 1 || o.Steps < 1 {
				return usageError{errors.New("--seeds and --steps must be at least 1")}
			}
			if o.Out, o.Shrink = os.Stdout, tries; tries <= 0 {
				o.Shrink = -1
			}
			step, end := progress("seeds")
			o.Progress = func(done, total int) { step(int64(done), int64(total)) }
			rep := simtest.Run(o)
			end()
			if !rep.OK() {
				if err := writeReplay(rep.History); err != nil {
					return err
				}
				return quietError{errors.New(rep.Violation)}
			}
			if missing := rep.Missing(); rep.Long() && len(missing) > 0 {
				fmt.Printf("never met: %s\n", strings.Join(missing, "; "))
				return quietError{errors.New("the run met less than it should")}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Seeds, "seeds", 100, "histories to play")
	f.IntVar(&o.Steps, "steps", 300, "steps of each")
	f.Int64Var(&o.Seed, "seed", 1, "seed of the first history")
	f.IntVar(&o.Workers, "workers", 0, "histories played beside each other, 0 for one a processor")
	f.BoolVar(&o.Twins, "twins", false, "play each seed in two worlds that differ only in what one person may not see, and compare what that person is told")
	f.IntVar(&tries, "shrink", 100, "shorter histories to try when one fails, 0 for none")
	f.StringVar(&replay, "replay", "", "play the history in this file instead")
	return cmd
}

// playReplay plays the history in a file.
func playReplay(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	r, err := simtest.ReadReplay(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	rep := simtest.Play(r)
	rep.Write(os.Stdout)
	if !rep.OK() {
		return quietError{errors.New(rep.Violation)}
	}
	return nil
}

// writeReplay writes what shows a violation again to the folder one is in.
func writeReplay(r simtest.Replay) error {
	f, err := os.Create(r.File())
	if err != nil {
		return err
	}
	_, err = r.WriteTo(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	fmt.Printf("replay: satchel sim --replay %s\n", r.File())
	return nil
}
