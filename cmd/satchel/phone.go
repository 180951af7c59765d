package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"satchel/mobile-api/client"
	"satchel/sync/wire"
)

// phone is the flags that say which device is meant and how it is reached.
type phone struct {
	server, tenant, user string
	store, profile       string
	password             string
	passwordStdin        bool
	code                 string
	json                 bool
	anyway               bool // queue what the rules refuse
}

func phoneCommand() *cobra.Command {
	f := &phone{}
	cmd := &cobra.Command{
		Use:   "phone",
		Short: "A device on the command line: works offline, syncs, follows live",
		Long: `A device on the command line. It keeps what its user may see in a local file,
takes changes without a network, sends them when there is one, and follows
changes as they happen.

Sign in once with login; then list, show, create, edit, do, delete, pin, window,
pending, problems, conflicts and settle work without a network, and login, sync,
push, follow and verify talk to the server. --server, --tenant and --user may be
given as SATCHEL_SERVER, SATCHEL_TENANT and SATCHEL_USER.

Values are JSON where they read as JSON, and text otherwise: title=Pump is the
text "Pump", quantity=2 the number 2, note=null clears the field and
number='"2"' is the text "2".

Exit codes: 0 all went well, 1 something failed, was refused or is in conflict,
2 the command line can't be understood.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("phone has no command %q; see satchel phone --help", args[0])}
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	p := cmd.PersistentFlags()
	p.StringVar(&f.server, "server", os.Getenv("SATCHEL_SERVER"), "the server's address, such as http://127.0.0.1:8080")
	p.StringVar(&f.tenant, "tenant", os.Getenv("SATCHEL_TENANT"), "the tenant")
	p.StringVar(&f.user, "user", os.Getenv("SATCHEL_USER"), "e-mail address to sign in with")
	p.StringVar(&f.store, "store", "", "file the device is kept in; by default one per server, tenant and user in the user's configuration folder")
	p.StringVar(&f.profile, "profile", "", "what to carry: field (own work) or office (all that may be seen); kept until changed")
	p.StringVar(&f.password, "password", "", "password; SATCHEL_PASSWORD or --password-stdin keep it out of the process list")
	p.BoolVar(&f.passwordStdin, "password-stdin", false, "read the password from standard input")
	p.StringVar(&f.code, "code", os.Getenv("SATCHEL_CODE"), "code of the authenticator app, or a recovery code, where one is asked for")
	p.BoolVar(&f.json, "json", false, "answer in JSON")
	cmd.AddCommand(
		f.loginCommand(),
		f.command("logout", "Sign out; records and unsent work stay on the device", cobra.NoArgs, f.logout),
		f.command("sync", "Send what is unsent and fetch what is new", cobra.NoArgs, f.sync),
		f.command("push", "The same as sync, but tells of the sent changes alone", cobra.NoArgs, f.push),
		f.command("follow", "Stay connected and print each change until interrupted", cobra.NoArgs, f.follow),
		f.command("verify", "Compare all that is held with the server and mend what differs", cobra.NoArgs, f.verify),
		f.command("status", "How the device stands", cobra.NoArgs, f.status),
		f.listCommand(),
		f.command("show TYPE/ID", "Show one record", cobra.ExactArgs(1), f.show),
		f.editing("create TYPE FIELD=VALUE…", "Make a record", cobra.MinimumNArgs(1), f.create),
		f.editing("edit TYPE/ID FIELD=VALUE…", "Change fields of a record", cobra.MinimumNArgs(2), f.edit),
		f.editing("do TYPE/ID ACTION [ARG=VALUE…]", "Do an action on a record, such as accept", cobra.MinimumNArgs(2), f.act),
		f.editing("delete TYPE/ID", "Delete a record", cobra.ExactArgs(1), f.remove),
		f.command("pin [TYPE/ID]", "Carry a record that the profile alone would not bring; without one, list the pins", cobra.MaximumNArgs(1), f.pin),
		f.command("unpin TYPE/ID", "Take a pin back", cobra.ExactArgs(1), f.unpin),
		f.command("window FROM TO", "Carry own work scheduled between two dates or times", cobra.ExactArgs(2), f.window),
		f.command("pending", "Changes that are not sent yet", cobra.NoArgs, f.pending),
		f.problemsCommand(),
		f.conflictsCommand(),
		f.editing("settle ID mine|theirs|value=VALUE", "Settle a conflict", cobra.ExactArgs(2), f.settle),
		f.eraseCommand(),
	)
	return cmd
}

// deviceRun is a subcommand at work on an open device.
type deviceRun func(r *phoneRun, args []string) error

// phoneRun is one invocation: the open device and where its words go.
type phoneRun struct {
	*client.Phone
	ctx  context.Context
	f    *phone
	in   io.Reader
	out  io.Writer
	err  io.Writer
	wide bool // out is a terminal
}

// command makes a subcommand that opens the device and closes it again.
func (f *phone) command(use, short string, args cobra.PositionalArgs, run deviceRun) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short,
		Args: func(c *cobra.Command, a []string) error {
			if err := args(c, a); err != nil {
				return usageError{fmt.Errorf("%s: %w", c.CommandPath(), err)}
			}
			return nil
		},
		RunE: func(c *cobra.Command, a []string) (err error) {
			r, err := f.open(c)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, r.Close()) }()
			err = run(r, a)
			if errors.Is(err, client.ErrSignedOut) && r.passwordGiven() {
				// Whoever hands over a password with the command wants it done.
				if err = r.signIn(); err == nil {
					err = run(r, a)
				}
			}
			return r.plain(err)
		},
	}
}

// editing makes a subcommand that queues a change.
func (f *phone) editing(use, short string, args cobra.PositionalArgs, run deviceRun) *cobra.Command {
	cmd := f.command(use, short, args, run)
	cmd.Flags().BoolVar(&f.anyway, "anyway", false, "queue it even if the rules say that the server will refuse it")
	return cmd
}

// how is how changes are queued.
func (f *phone) how() []client.EditOption {
	if f.anyway {
		return []client.EditOption{client.EditAnyway}
	}
	return nil
}

func (f *phone) open(c *cobra.Command) (*phoneRun, error) {
	if f.server == "" || f.tenant == "" || f.user == "" {
		return nil, usageError{errors.New("say which device: --server, --tenant and --user (or SATCHEL_SERVER, SATCHEL_TENANT, SATCHEL_USER)")}
	}
	u, err := url.Parse(f.server)
	if err != nil || u.Host == "" {
		return nil, usageError{fmt.Errorf("--server %q is no address like http://127.0.0.1:8080", f.server)}
	}
	if f.profile != "" && f.profile != client.ProfileField && f.profile != client.ProfileOffice {
		return nil, usageError{fmt.Errorf("--profile %q: field or office", f.profile)}
	}
	path := f.store
	if path == "" {
		if path, err = defaultStore(u.Host, f.tenant, f.user); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	r := &phoneRun{ctx: c.Context(), f: f, in: c.InOrStdin(), out: c.OutOrStdout(), err: c.ErrOrStderr()}
	if file, ok := r.out.(*os.File); ok {
		r.wide = term.IsTerminal(int(file.Fd()))
	}
	host, err := os.Hostname()
	if err != nil {
		host = "command line"
	}
	r.Phone, err = client.Open(path, client.Options{
		Server: f.server, Tenant: f.tenant, Name: "satchel phone on " + host, Platform: "command line",
		OnWipe: func(unsent []wire.Mutation) {
			if len(unsent) > 0 {
				fmt.Fprintf(r.err, "%s that had not been sent went with it.\n", some(len(unsent), "change"))
			}
		},
	})
	if err != nil {
		if strings.HasSuffix(err.Error(), ": timeout") {
			return nil, fmt.Errorf("%s is in use by another process (a follow that is still running?)", path)
		}
		return nil, err
	}
	if f.profile != "" {
		if err := r.SetProfile(f.profile); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	return r, nil
}

// defaultStore is where a user's device is kept unless told otherwise.
func defaultStore(host, tenant, user string) (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("no folder to keep the device in, give --store: %w", err)
	}
	name := func(s string) string {
		s = url.PathEscape(strings.ToLower(s))
		if strings.Trim(s, ".") == "" {
			s = "%" + s // not "." or ".."
		}
		return s
	}
	return filepath.Join(dir, "satchel", "phones", name(host), name(tenant), name(user)+".db"), nil
}

// plain turns the client's errors into words for whoever typed the command.
func (r *phoneRun) plain(err error) error {
	var refusal *client.Error
	var rule *client.RuleError
	var unreachable *url.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, client.ErrWiped):
		return errors.New("the server has revoked this device; everything on it was removed")
	case errors.Is(err, client.ErrSignedOut):
		return errors.New("not signed in (records and unsent work are still here); run satchel phone login")
	case errors.Is(err, client.ErrOtherUser):
		return errors.New("this store holds another person's unsent work; let them sync it, or erase it")
	case errors.Is(err, client.ErrNotFound):
		return fmt.Errorf("this device has no such record: %s", lastPart(err))
	case errors.Is(err, client.ErrSuperseded):
		return errors.New("another connection of this device took over")
	case errors.As(err, &rule):
		text := rule.Message
		if rule.Field != "" && !strings.Contains(text, rule.Field) {
			text += " (" + rule.Field + ")"
		}
		return fmt.Errorf("nothing was queued, the server would refuse it: %s [%s] --anyway queues it all the same", text, rule.Code)
	case errors.As(err, &refusal):
		text := refusal.Detail
		if text == "" {
			text = refusal.Title
		}
		if refusal.Field != "" {
			text += " (" + refusal.Field + ")"
		}
		return fmt.Errorf("the server says: %s [%s]", text, refusal.Code)
	case errors.As(err, &unreachable):
		return fmt.Errorf("the server can't be reached, so nothing was exchanged: %w", unreachable.Err)
	}
	return err
}

func lastPart(err error) string {
	s := err.Error()
	return strings.TrimSpace(s[strings.LastIndex(s, ":")+1:])
}

// readPassword takes the password from where it was promised, or asks.
func (r *phoneRun) readPassword() (string, error) {
	switch {
	case r.f.password != "":
		return r.f.password, nil
	case r.f.passwordStdin:
		b, err := io.ReadAll(io.LimitReader(r.in, 4096))
		return strings.TrimRight(string(b), "\r\n"), err
	case os.Getenv("SATCHEL_PASSWORD") != "":
		return os.Getenv("SATCHEL_PASSWORD"), nil
	}
	if file, ok := r.in.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		fmt.Fprintf(r.err, "password of %s: ", r.f.user)
		b, err := term.ReadPassword(int(file.Fd()))
		fmt.Fprintln(r.err)
		return string(b), err
	}
	return "", usageError{errors.New("give the password by SATCHEL_PASSWORD, --password-stdin or --password")}
}

// passwordGiven reports whether there is a password without asking for one.
func (r *phoneRun) passwordGiven() bool {
	return r.f.password != "" || r.f.passwordStdin || os.Getenv("SATCHEL_PASSWORD") != ""
}

func (f *phone) logout(r *phoneRun, _ []string) error {
	if err := r.Logout(r.ctx); err != nil {
		return err
	}
	return r.say(map[string]bool{"signedOut": true}, "Signed out. Records and unsent work stay on this device; erase removes them.\n")
}

func (f *phone) status(r *phoneRun, _ []string) error {
	s, err := r.Status()
	if err != nil {
		return err
	}
	if f.json {
		return r.print(s)
	}
	rows := [][2]string{
		{"user", f.user + " at " + f.tenant},
		{"server", f.server},
		{"signed in", yesNo(s.SignedIn)},
		{"device", orNone(s.Device)},
		{"unsent changes", strconv.Itoa(s.Pending)},
		{"problems", strconv.Itoa(s.Problems)},
		{"complete", yesNo(s.Complete)},
	}
	if s.LastPage.IsZero() {
		rows = append(rows, [2]string{"last contact", "never"})
	} else {
		rows = append(rows, [2]string{"last contact", s.LastPage.Local().Format(time.DateTime)})
	}
	if s.MobileEnded {
		rows = append(rows, [2]string{"note", "the Mobile module is no longer among your roles; --profile office carries what you may still see"})
	}
	for _, row := range rows {
		fmt.Fprintf(r.out, "%-15s %s\n", row[0], row[1])
	}
	return nil
}

func (f *phone) eraseCommand() *cobra.Command {
	var force bool
	cmd := f.command("erase", "Remove everything from the device", cobra.NoArgs, func(r *phoneRun, _ []string) error {
		s, err := r.Status()
		if err != nil {
			return err
		}
		if s.Pending > 0 && !force {
			return fmt.Errorf("%s not sent yet would be lost; sync first, or give --force", some(s.Pending, "change"))
		}
		if err := r.Erase(); err != nil {
			return err
		}
		return r.say(map[string]bool{"erased": true}, "Everything was removed from this device.\n")
	})
	cmd.Flags().BoolVar(&force, "force", false, "erase unsent changes too")
	return cmd
}

func (f *phone) create(r *phoneRun, args []string) error {
	fields, err := pairs(args[1:])
	if err != nil {
		return err
	}
	id, err := r.Create(args[0], fields, f.how()...)
	if err != nil {
		return err
	}
	return r.queued(wire.Ref{Type: args[0], ID: id}, "Created")
}

func (f *phone) edit(r *phoneRun, args []string) error {
	ref, err := parseRef(args[0])
	if err != nil {
		return err
	}
	fields, err := pairs(args[1:])
	if err != nil {
		return err
	}
	if err := r.Patch(ref.Type, ref.ID, fields, f.how()...); err != nil {
		return err
	}
	return r.queued(ref, "Changed")
}

func (f *phone) act(r *phoneRun, args []string) error {
	ref, err := parseRef(args[0])
	if err != nil {
		return err
	}
	given, err := pairs(args[2:])
	if err != nil {
		return err
	}
	if err := r.Action(ref.Type, ref.ID, args[1], given, f.how()...); err != nil {
		return err
	}
	return r.queued(ref, "Noted: "+args[1])
}

func (f *phone) remove(r *phoneRun, args []string) error {
	ref, err := parseRef(args[0])
	if err != nil {
		return err
	}
	if err := r.Delete(ref.Type, ref.ID, f.how()...); err != nil {
		return err
	}
	return r.queued(ref, "Deleted")
}

// queued says that a change waits to be sent.
func (r *phoneRun) queued(ref wire.Ref, did string) error {
	return r.say(ref, "%s %s. It leaves with the next sync.\n", did, refText(ref))
}

func (f *phone) pin(r *phoneRun, args []string) error {
	if len(args) == 0 {
		pins, err := r.Pins()
		if err != nil {
			return err
		}
		if f.json {
			return r.print(append([]wire.Ref{}, pins...))
		}
		for _, p := range pins {
			fmt.Fprintln(r.out, refText(p))
		}
		return nil
	}
	ref, err := parseRef(args[0])
	if err != nil {
		return err
	}
	if err := r.Pin(ref.Type, ref.ID); err != nil {
		return err
	}
	return r.say(ref, "Pinned %s. It arrives with the next sync, if you may see it.\n", refText(ref))
}

func (f *phone) unpin(r *phoneRun, args []string) error {
	ref, err := parseRef(args[0])
	if err != nil {
		return err
	}
	if err := r.Unpin(ref.Type, ref.ID); err != nil {
		return err
	}
	return r.say(ref, "No longer pinned: %s.\n", refText(ref))
}

func (f *phone) window(r *phoneRun, args []string) error {
	from, err := parseTime(args[0])
	if err != nil {
		return err
	}
	to, err := parseTime(args[1])
	if err != nil {
		return err
	}
	if !from.Before(to) {
		return usageError{fmt.Errorf("the window must end after it begins: %s, %s", args[0], args[1])}
	}
	if err := r.SetWindow(from, to); err != nil {
		return err
	}
	return r.say(wire.Window{From: from.UTC().Format(time.RFC3339), To: to.UTC().Format(time.RFC3339)},
		"From the next sync on, own work between %s and %s is carried.\n", args[0], args[1])
}

func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usageError{fmt.Errorf("%q is no date or time like 2026-01-31 or 2026-01-31T08:00:00Z", s)}
}

func parseRef(s string) (wire.Ref, error) {
	typ, id, ok := strings.Cut(s, "/")
	if !ok || typ == "" || id == "" {
		return wire.Ref{}, usageError{fmt.Errorf("%q does not name a record; write TYPE/ID", s)}
	}
	return wire.Ref{Type: typ, ID: id}, nil
}

func refText(r wire.Ref) string { return r.Type + "/" + r.ID }

// pairs reads FIELD=VALUE arguments.
func pairs(args []string) (map[string]any, error) {
	out := make(map[string]any, len(args))
	for _, a := range args {
		name, text, ok := strings.Cut(a, "=")
		if !ok || name == "" {
			return nil, usageError{fmt.Errorf("%q: write FIELD=VALUE", a)}
		}
		if _, twice := out[name]; twice {
			return nil, usageError{fmt.Errorf("%s is given twice", name)}
		}
		out[name] = value(text)
	}
	return out, nil
}

// value is JSON where the text reads as JSON, and the text otherwise.
func value(text string) any {
	if json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	return text
}

// say prints v as JSON where a program reads it, the words otherwise.
func (r *phoneRun) say(v any, format string, args ...any) error {
	if r.f.json {
		return r.print(v)
	}
	_, err := fmt.Fprintf(r.out, format, args...)
	return err
}

func (r *phoneRun) print(v any) error {
	e := json.NewEncoder(r.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func orNone(s string) string {
	if s == "" {
		return "none yet"
	}
	return s
}

// some counts things in words.
func some(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

func (f *phone) problemsCommand() *cobra.Command {
	cmd := f.command("problems", "Changes that were refused or are in conflict, and why", cobra.NoArgs, f.problems)
	cmd.AddCommand(f.command("dismiss ID…", "Forget problems that were dealt with", cobra.MinimumNArgs(1), f.dismiss))
	return cmd
}

func (f *phone) problems(r *phoneRun, _ []string) error {
	list, err := r.Problems()
	if err != nil {
		return err
	}
	if f.json {
		return r.print(append([]client.Problem{}, list...))
	}
	for i := range list {
		fmt.Fprintf(r.out, "%d  %s\n", list[i].ID, problemText(&list[i]))
	}
	return nil
}

func (f *phone) dismiss(r *phoneRun, args []string) error {
	list, err := r.Problems()
	if err != nil {
		return err
	}
	for _, a := range args {
		id, err := strconv.ParseUint(a, 10, 64)
		if err != nil {
			return usageError{fmt.Errorf("%q is no problem's number", a)}
		}
		if !slices.ContainsFunc(list, func(p client.Problem) bool { return p.ID == id }) {
			return fmt.Errorf("there is no problem %d", id)
		}
		if err := r.Dismiss(id); err != nil {
			return err
		}
	}
	return nil
}

func (f *phone) pending(r *phoneRun, _ []string) error {
	list, err := r.Pending()
	if err != nil {
		return err
	}
	if f.json {
		return r.print(append([]wire.Mutation{}, list...))
	}
	for i := range list {
		fmt.Fprintf(r.out, "%d  %s\n", list[i].N, mutationText(&list[i]))
	}
	return nil
}
