package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"satchel/server/push/fcm/emulator"
)

// fcmEmulator is what the command's flags say.
type fcmEmulator struct {
	listen  string
	latency time.Duration
	asJSON  bool
}

func fcmCommand() *cobra.Command {
	var o fcmEmulator
	cmd := &cobra.Command{
		Use:   "fcm-emulator",
		Short: "Stand in for Firebase Cloud Messaging, for trying pushes without Google",
		Long: `Stand in for Firebase Cloud Messaging, for trying pushes without Google.

Takes messages as FCM HTTP v1 does, prints a line for each and keeps what
arrived. Nothing is sent anywhere and anybody who reaches the address may use it.

  GET    /emulator/tokens/TOKEN   what a device got, and what waits for it
  PUT    /emulator/tokens/TOKEN   {"away":true}, {"dead":true}, {"mismatch":true}
  POST   /emulator/faults         {"status":429,"retryAfter":"2","count":3}
  GET    /emulator/stats          requests, messages taken
  DELETE /emulator                forget everything`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.latency < 0 {
				return usageError{errors.New("--latency must not be negative")}
			}
			return o.run(c.Context(), c.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.listen, "listen", "127.0.0.1:9099", "address to listen on; port 0 picks a free one")
	f.DurationVar(&o.latency, "latency", 0, "time each answer takes, e.g. 50ms")
	f.BoolVar(&o.asJSON, "json", false, "print each message as a line of JSON")
	return cmd
}

// run serves until ctx ends. The first line it prints is the address.
func (o fcmEmulator) run(ctx context.Context, out io.Writer) error {
	seen := func(ev emulator.Event) { fmt.Fprintln(out, ev) }
	if o.asJSON {
		enc := json.NewEncoder(out)
		// A reader that went away is no reason to stop serving.
		seen = func(ev emulator.Event) { _ = enc.Encode(ev) }
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", o.listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "listening on http://%s\n", ln.Addr())
	srv := &http.Server{
		Handler:           emulator.New(emulator.Options{Latency: o.latency, Seen: seen}),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		IdleTimeout:       2 * time.Minute,
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := srv.Shutdown(stop); err != nil {
		return errors.Join(err, srv.Close())
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
