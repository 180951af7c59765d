package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"satchel/internal/app"
)

// serveFile is what --config may hold; flags win over it.
type serveFile struct {
	Data        string   `json:"data"`
	Listen      string   `json:"listen"`
	AdminListen string   `json:"adminListen"`
	Origins     []string `json:"origins"`
	MaxSockets  int      `json:"maxSockets"`
	LogLevel    string   `json:"logLevel"`
}

func serveCommand() *cobra.Command {
	var cfg serveFile
	var file string
	var demo bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the tenants of a data folder",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if file != "" {
				if err := readConfig(c, file, &cfg); err != nil {
					return err
				}
			}
			return serve(c.Context(), cfg, demo)
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Data, "data", "./data", "data folder; a new one is set up")
	f.StringVar(&cfg.Listen, "listen", "127.0.0.1:8080", "address to listen on; port 0 picks a free one")
	f.StringVar(&cfg.AdminListen, "admin-listen", "", "address for metrics and profiles; none by default")
	f.StringSliceVar(&cfg.Origins, "origin", nil, "web origin that may open live sockets, besides the server's own")
	f.IntVar(&cfg.MaxSockets, "max-sockets", 20_000, "live sockets at once")
	f.StringVar(&cfg.LogLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&file, "config", "", "JSON file with the same settings")
	f.BoolVar(&demo, "demo", false, "load the demo tenant")
	return cmd
}

// readConfig fills in what the command line left open.
func readConfig(c *cobra.Command, path string, cfg *serveFile) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return usageError{err}
	}
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	from := *cfg
	if err := d.Decode(&from); err != nil {
		return usageError{fmt.Errorf("%s: %w", path, err)}
	}
	given := c.Flags().Changed
	for flag, keep := range map[string]func(){
		"data": func() { from.Data = cfg.Data }, "listen": func() { from.Listen = cfg.Listen },
		"admin-listen": func() { from.AdminListen = cfg.AdminListen }, "origin": func() { from.Origins = cfg.Origins },
		"max-sockets": func() { from.MaxSockets = cfg.MaxSockets }, "log-level": func() { from.LogLevel = cfg.LogLevel },
	} {
		if given(flag) {
			keep()
		}
	}
	*cfg = from
	return nil
}

func serve(ctx context.Context, cfg serveFile, demo bool) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		return usageError{fmt.Errorf("--log-level %q: debug, info, warn or error", cfg.LogLevel)}
	}
	_, err := os.Stat(cfg.Data)
	fresh := errors.Is(err, fs.ErrNotExist)
	a, err := app.New(app.Config{
		Dir: cfg.Data, Listen: cfg.Listen, AdminListen: cfg.AdminListen, Origins: cfg.Origins, MaxSockets: cfg.MaxSockets,
		Out: os.Stdout, Log: slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	})
	if err != nil {
		return err
	}
	var table string
	switch {
	case demo:
		if table, err = a.LoadDemo(ctx, cfg.Data); err != nil {
			return errors.Join(err, a.Tenants().Close())
		}
	case fresh:
		if table, err = a.FirstTenant(ctx); err != nil {
			return errors.Join(err, a.Tenants().Close())
		}
	}
	if err := a.Listen(ctx); err != nil {
		return errors.Join(err, a.Tenants().Close())
	}
	fmt.Fprint(os.Stdout, table)
	return a.Run(ctx)
}
