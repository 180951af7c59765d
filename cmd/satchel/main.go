// Command satchel is the whole product in one binary: the server, the
// operator's tools, a phone on the command line, the simulation and the
// benchmarks.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() { os.Exit(run(os.Args[1:])) }

// run runs one command line and returns the exit code: 0 for success, 1 for
// failure, 2 for a command line that can't be understood.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cmd := root()
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	var quiet quietError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &quiet):
		return 1
	}
	fmt.Fprintln(os.Stderr, "satchel:", err)
	if errors.As(err, new(usageError)) {
		return 2
	}
	return 1
}

// quietError ends with exit code 1 after the command said why itself.
type quietError struct{ error }

// usageError is a fault of the command line.
type usageError struct{ error }

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "satchel",
		Short:         "Offline-first backend of a business management system",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	cmd.CompletionOptions.HiddenDefaultCmd = true
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	cmd.AddCommand(serveCommand(), phoneCommand(), benchCommand(), fcmCommand())
	cmd.AddCommand(operatorCommands()...)
	return cmd
}
