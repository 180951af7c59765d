package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"satchel/internal/app"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/server/session/oidc"
	"satchel/sync/store"
)

// serveFile is what --config may hold; flags win over it.
type serveFile struct {
	Data        string   `json:"data"`
	Listen      string   `json:"listen"`
	AdminListen string   `json:"adminListen"`
	Origins     []string `json:"origins"`
	MaxSockets  int      `json:"maxSockets"`
	LogLevel    string   `json:"logLevel"`
	// ListMemory is in MiB.
	ListMemory int `json:"listMemory"`
	// Reserve is in MiB.
	Reserve uint64 `json:"reserve"`
	// TenantIdle is a time as 15m; 0 is never.
	TenantIdle string `json:"tenantIdle"`
	// AcceptClock is only on the command line: it is meant for one start.
	AcceptClock bool `json:"-"`
	// PublicURL is where people's browsers reach the server.
	PublicURL string `json:"publicUrl"`
	// TrustedProxies are addresses or networks, as 10.0.0.5 or 10.0.0.0/8.
	TrustedProxies []string `json:"trustedProxies"`
	// OIDC are the tenants' identity providers, by the tenants' slugs; only in
	// the file.
	OIDC map[ident.TenantID]provider `json:"oidc"`
	// Push and Mail say how people are told things; without them they are told
	// nothing outside of the program. Only in the file.
	Push *pushSettings `json:"push"`
	Mail *mailSettings `json:"mail"`
	// TLSCert and TLSKey are PEM files; without them TLS ends in front.
	TLSCert string `json:"tlsCert"`
	TLSKey  string `json:"tlsKey"`
	// Limits bound what people who have signed in may ask for; only in the file.
	Limits *limitSettings `json:"limits"`
	// Files bounds what files are taken; only in the file.
	Files *fileSettings `json:"files"`
	// Product is what the system is called in mails, DevicesLink where in it a
	// person revokes devices; only in the file.
	Product     string `json:"product"`
	DevicesLink string `json:"devicesLink"`
}

// provider is an identity provider, its secret in the file or in one of its
// own.
type provider struct {
	oidc.Config
	ClientSecretFile string `json:"clientSecretFile"`
}

// maxSecret bounds a file with a client's secret, in bytes.
const maxSecret = 4096

// providers reads the secrets that stand in files of their own.
func providers(in map[ident.TenantID]provider) (map[ident.TenantID]oidc.Config, error) {
	out := map[ident.TenantID]oidc.Config{}
	for slug, p := range in {
		if p.ClientSecretFile != "" {
			b, err := os.ReadFile(p.ClientSecretFile)
			switch {
			case err != nil:
				return nil, usageError{err}
			case p.ClientSecret != "" || len(b) > maxSecret:
				return nil, usageError{fmt.Errorf("oidc of %s: one client secret, of at most %d bytes", slug, maxSecret)}
			}
			p.ClientSecret = strings.TrimSpace(string(b))
		}
		out[slug] = p.Config
	}
	return out, nil
}

// proxies reads addresses and networks.
func proxies(list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, aerr := netip.ParseAddr(s)
			if aerr != nil {
				return nil, usageError{fmt.Errorf("--trusted-proxy %q: an address or a network like 10.0.0.0/8", s)}
			}
			p = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())
		}
		out = append(out, p.Masked())
	}
	return out, nil
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
			if err := mutant.Refuse(); err != nil {
				return err
			}
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
	f.IntVar(&cfg.ListMemory, "list-memory", 256, "MiB of memory by which long lists are sorted and searched; 0 for none")
	f.Uint64Var(&cfg.Reserve, "reserve", store.DefaultReserve>>20, "MiB of the disk to keep free: with less, changes are refused until there is space, with a quarter of it everything but reading")
	f.StringVar(&cfg.TenantIdle, "tenant-idle", app.DefaultTenantIdle.String(), "after how long a tenant that nobody uses is closed, until somebody asks for it or something falls due; 0 for never")
	f.BoolVar(&cfg.AcceptClock, "accept-clock", false, "the clock is right, although it is more than a year ahead of when the data folder was last served")
	f.StringVar(&cfg.PublicURL, "public-url", "", "where browsers reach this server, as https://satchel.example.com; needed for identity providers")
	f.StringSliceVar(&cfg.TrustedProxies, "trusted-proxy", nil, "address or network of a proxy in front, whose X-Forwarded-For is believed")
	f.StringVar(&cfg.TLSCert, "tls-cert", "", "PEM file with the certificate and its chain, to serve https; read again when it changes")
	f.StringVar(&cfg.TLSKey, "tls-key", "", "PEM file with the certificate's key")
	f.StringVar(&file, "config", "", "JSON file with the same settings, and the tenants' identity providers under oidc")
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
		"list-memory": func() { from.ListMemory = cfg.ListMemory }, "reserve": func() { from.Reserve = cfg.Reserve },
		"tenant-idle": func() { from.TenantIdle = cfg.TenantIdle },
		"tls-cert":    func() { from.TLSCert = cfg.TLSCert }, "tls-key": func() { from.TLSKey = cfg.TLSKey },
		"public-url": func() { from.PublicURL = cfg.PublicURL }, "trusted-proxy": func() { from.TrustedProxies = cfg.TrustedProxies },
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
	idps, err := providers(cfg.OIDC)
	if err != nil {
		return err
	}
	trusted, err := proxies(cfg.TrustedProxies)
	if err != nil {
		return err
	}
	if cfg.Reserve < 1 || cfg.Reserve > 1<<40 {
		return usageError{errors.New("--reserve must be at least 1")}
	}
	idle, err := time.ParseDuration(cfg.TenantIdle)
	if err != nil || idle < 0 {
		return usageError{fmt.Errorf("--tenant-idle %q: a time as 15m, or 0", cfg.TenantIdle)}
	}
	made := app.Config{
		Dir: cfg.Data, AcceptClock: cfg.AcceptClock, Listen: cfg.Listen, AdminListen: cfg.AdminListen, Origins: cfg.Origins, MaxSockets: cfg.MaxSockets,
		ColumnBytes: cmp.Or(int64(cfg.ListMemory)<<20, -1), PublicURL: cfg.PublicURL, OIDC: idps, TrustedProxies: trusted,
		Out: os.Stdout, Log: slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
		Product: cfg.Product, DevicesLink: cfg.DevicesLink, TLSCert: cfg.TLSCert, TLSKey: cfg.TLSKey,
		Reserve: cfg.Reserve << 20, TenantIdle: cmp.Or(idle, -1),
	}
	if (cfg.TLSCert == "") != (cfg.TLSKey == "") {
		return usageError{errors.New("--tls-cert and --tls-key go together")}
	}
	if err := limits(cfg.Limits, &made); err != nil {
		return err
	}
	if err := senders(ctx, &cfg, &made); err != nil {
		return err
	}
	if err := content(cfg.Files, &made); err != nil {
		return err
	}
	a, err := app.New(made)
	if err != nil {
		return err
	}
	var table string
	if demo {
		table, err = a.LoadDemo(ctx, cfg.Data)
	} else {
		table, err = a.FirstTenant(ctx)
	}
	if err != nil {
		return errors.Join(err, a.Tenants().Close())
	}
	if err := a.Listen(ctx); err != nil {
		return errors.Join(err, a.Tenants().Close())
	}
	fmt.Fprint(os.Stdout, table)
	return a.Run(ctx)
}
