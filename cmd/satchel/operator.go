package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"satchel/internal/app"
	"satchel/internal/command"
	"satchel/internal/durable"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/server/rest"
	"satchel/server/session"
	"satchel/server/session/password"
	"satchel/server/suite"
	"satchel/sync/apply"
	"satchel/sync/audit"
	"satchel/sync/oplog"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/subject"
	"satchel/sync/tenant"
	"satchel/sync/verify"
)

func operatorCommands() []*cobra.Command {
	return append(answerCommands(),
		initCommand(), tenantCommand(), userCommand(), roleCommand(), backupCommand(), restoreCommand(),
		compactCommand(), verifyCommand(), explainCommand(), importCommand(), exportCommand(), simCommand(), tortureCommand(), keysCommand(), eraseCommand(),
	)
}

// folder is the flags of a command that works on a data folder by itself. The
// server must not be running on it.
type folder struct {
	data   string
	tenant string
	json   bool
	cmd    *cobra.Command // that works on it, for the audit trail
}

func (f *folder) flags(cmd *cobra.Command, withTenant bool) *cobra.Command {
	f.cmd = cmd
	cmd.Flags().StringVar(&f.data, "data", "./data", "data folder")
	cmd.Flags().BoolVar(&f.json, "json", false, "answer in JSON")
	if withTenant {
		cmd.Flags().StringVar(&f.tenant, "tenant", "main", "tenant")
	}
	return cmd
}

// tenants opens the folder and calls f.
func (f *folder) tenants(fn func(*app.Tenants) error) error {
	if _, err := os.Stat(f.data); err != nil {
		return fmt.Errorf("no data folder at %s; make one with satchel init", f.data)
	}
	ts, err := app.NewTenants(f.data, nil, time.Now)
	if err != nil {
		return err
	}
	return errors.Join(fn(ts), ts.Close())
}

func (f *folder) open(fn func(*tenant.Tenant) error) error {
	return f.tenants(func(ts *app.Tenants) error {
		if _, err := os.Stat(ts.Path(ident.TenantID(f.tenant))); err != nil {
			return fmt.Errorf("there is no tenant %q in %s", f.tenant, f.data)
		}
		t, err := ts.Tenant(ident.TenantID(f.tenant))
		if err != nil {
			return fmt.Errorf("tenant %s can't be opened (is the server running on this folder?): %w", f.tenant, err)
		}
		return f.noted(t, fn)
	})
}

// print shows a value as JSON, or text where no program reads it.
func (f *folder) print(v any, text string) error {
	if !f.json {
		_, err := fmt.Print(text)
		return err
	}
	e := json.NewEncoder(os.Stdout)
	return e.Encode(v)
}

// progress is a bar on a terminal and nothing elsewhere.
func progress(label string) (step func(done, total int64), end func()) {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return func(int64, int64) {}, func() {}
	}
	bar := progressbar.NewOptions64(1, progressbar.OptionSetDescription(label), progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionShowCount(), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	return func(done, total int64) {
			bar.ChangeMax64(max(total, 1))
			_ = bar.Set64(done) // a bar that can't be drawn is no failure
		}, func() {
			_ = bar.Finish()
		}
}

// readPassword takes a password from the terminal, from a pipe, or makes one.
func readPassword(generate bool) (pw string, made bool, err error) {
	if generate {
		pw, err = app.NewPassword()
		return pw, true, err
	}
	if term.IsTerminal(int(os.Stdin.Fd())) {
		fmt.Fprint(os.Stderr, "password: ")
		b, err := term.ReadPassword(int(os.Stdin.Fd()))
		fmt.Fprintln(os.Stderr)
		return string(b), false, err
	}
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", false, err
	}
	return strings.TrimRight(line, "\r\n"), false, nil
}

// announce shows what was done, with a password only if it was made here.
func (f *folder) announce(out map[string]any, text, pw string, made bool) error {
	if made {
		out["password"] = pw
		text += "password: " + pw + "\n"
	}
	return f.print(out, text)
}

func initCommand() *cobra.Command {
	var f folder
	var admin app.Administrator
	var generate bool
	cmd := &cobra.Command{
		Use: "init", Short: "Set up a data folder with a tenant and its first customer administrator", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := durable.MkdirAll(f.data); err != nil {
				return err
			}
			return f.create(c.Context(), admin, generate)
		},
	}
	administratorFlags(cmd, &admin, &generate)
	return f.flags(cmd, true)
}

func administratorFlags(cmd *cobra.Command, admin *app.Administrator, generate *bool) {
	cmd.Flags().StringVar(&admin.Name, "name", "Administrator", "the administrator's name")
	cmd.Flags().StringVar(&admin.Email, "email", "", "the administrator's e-mail address")
	cmd.Flags().BoolVar(generate, "generate-password", false, "make a password and print it, rather than ask for one")
	_ = cmd.MarkFlagRequired("email") // the flag is there
}

func (f *folder) create(ctx context.Context, admin app.Administrator, generate bool) error {
	pw, made, err := readPassword(generate)
	if err != nil {
		return err
	}
	admin.Password = pw
	hasher, err := password.New(password.Default, 0)
	if err != nil {
		return err
	}
	return f.tenants(func(ts *app.Tenants) error {
		if _, err := ts.SetUp(ctx, ident.TenantID(f.tenant), admin, hasher); err != nil {
			return err
		}
		return f.announce(map[string]any{"tenant": f.tenant, "email": admin.Email},
			fmt.Sprintf("tenant %s is set up; %s is its customer administrator\n", f.tenant, admin.Email), pw, made)
	})
}

func tenantCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "tenant", Short: "Tenants of a data folder"}
	var list, add folder
	cmd.AddCommand(list.flags(&cobra.Command{
		Use: "list", Short: "List the tenants", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return list.tenants(func(ts *app.Tenants) error {
				ids, err := ts.List()
				if err != nil {
					return err
				}
				text := ""
				for _, id := range ids {
					text += string(id) + "\n"
				}
				return list.print(ids, text)
			})
		},
	}, false))
	var admin app.Administrator
	var generate bool
	create := &cobra.Command{
		Use: "create SLUG", Short: "Make a tenant with its first customer administrator", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			add.tenant = args[0]
			return add.create(c.Context(), admin, generate)
		},
	}
	administratorFlags(create, &admin, &generate)
	cmd.AddCommand(add.flags(create, false), reopenCommand())
	return cmd
}

func reopenCommand() *cobra.Command {
	var f folder
	var admin string
	cmd := &cobra.Command{
		Use: "reopen SLUG", Short: "Have a running server check a tenant that it closed, and open it where it is sound", Args: cobra.ExactArgs(1),
		Long: `Have a running server check a tenant that it closed, and open it where it is sound.

A server closes a tenant when storing failed, and opens it again by itself where
it is sound. One that it finds damaged stays closed: put a backup in its place
(satchel restore --force, which needs no stop for a tenant that is closed), then
have it opened.`,
		RunE: func(c *cobra.Command, args []string) error {
			res, err := running{admin, args[0]}.ask(c.Context(), http.MethodPost, "/tenants/"+args[0]+"/reopen")
			if err != nil {
				return err
			}
			if err := res.Body.Close(); err != nil {
				return err
			}
			return f.print(map[string]any{"tenant": args[0]}, fmt.Sprintf("tenant %s is checked and open\n", args[0]))
		},
	}
	cmd.Flags().StringVar(&admin, "admin", "", "admin address of the server, like http://127.0.0.1:9090")
	_ = cmd.MarkFlagRequired("admin") // the flag is there
	cmd.Flags().BoolVar(&f.json, "json", false, "answer in JSON")
	return cmd
}

// submitRow writes one record as the system.
func submitRow(ctx context.Context, t *tenant.Tenant, typ string, fields map[string]any) (ident.RecordID, error) {
	var b [15]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	o := command.Object{}
	for k, v := range fields {
		raw, err := json.Marshal(v)
		if err != nil {
			return "", err
		}
		o[k] = raw
	}
	row := command.Row{Type: typ, ID: ident.NewRecordID(b), Fields: o}
	res, err := t.Submit(ctx, &command.Command{Import: &command.Import{Rows: []command.Row{row}}})
	if err != nil {
		return "", err
	}
	if len(res.Count.Rejected) > 0 {
		return "", res.Count.Rejected[0].Err
	}
	return row.ID, nil
}

func userCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "user", Short: "People who sign in"}
	var list, add, pass folder
	cmd.AddCommand(list.flags(&cobra.Command{
		Use: "list", Short: "List the people", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return list.open(list.users) },
	}, true))
	var name, kind string
	var roles []string
	var generate bool
	create := &cobra.Command{
		Use: "add EMAIL", Short: "Add a person who may sign in at once", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return add.open(func(t *tenant.Tenant) error { return add.addUser(c.Context(), t, args[0], name, kind, roles, generate) })
		},
	}
	create.Flags().StringVar(&name, "name", "", "the person's name")
	create.Flags().StringVar(&kind, "kind", policy.InHouse, "in-house, inside-it, programmer or subcontractor")
	create.Flags().StringSliceVar(&roles, "role", nil, "role to give; may be repeated")
	create.Flags().BoolVar(&generate, "generate-password", false, "make a password and print it")
	cmd.AddCommand(add.flags(create, true))
	var made bool
	change := &cobra.Command{
		Use: "password EMAIL", Short: "Give a person a new password; their sessions end", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			pw, gen, err := readPassword(made)
			if err != nil {
				return err
			}
			hasher, err := password.New(password.Default, 0)
			if err != nil {
				return err
			}
			return pass.open(func(t *tenant.Tenant) error {
				if err := app.SetPassword(c.Context(), t, args[0], pw, hasher); err != nil {
					return err
				}
				return pass.announce(map[string]any{"email": args[0]}, "password changed\n", pw, gen)
			})
		},
	}
	change.Flags().BoolVar(&made, "generate-password", false, "make a password and print it")
	cmd.AddCommand(pass.flags(change, true), inviteCommand(), forgetCommand())
	return cmd
}

func inviteCommand() *cobra.Command {
	var f folder
	var name, kind string
	var roles []string
	cmd := &cobra.Command{
		Use: "invite EMAIL", Short: "Make a token by which a person chooses a password; a new person is added", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.open(func(t *tenant.Tenant) error { return f.invite(c.Context(), t, args[0], name, kind, roles) })
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "the name of a new person")
	cmd.Flags().StringVar(&kind, "kind", policy.InHouse, "of a new person: in-house, inside-it, programmer or subcontractor")
	cmd.Flags().StringSliceVar(&roles, "role", nil, "role to give; may be repeated")
	return f.flags(cmd, true)
}

// invite makes an invitation and shows its token, this once.
func (f *folder) invite(ctx context.Context, t *tenant.Tenant, email, name, kind string, roles []string) error {
	if err := knownRoles(t, roles); err != nil {
		return err
	}
	var id ident.RecordID
	var known bool
	if err := t.Read(func(v *tenant.View) error {
		id, known = apply.FindInvitable(v.Reader, email)
		return nil
	}); err != nil {
		return err
	}
	if !known {
		// An address of somebody disabled is refused here as one that is taken.
		if name == "" {
			name, _, _ = strings.Cut(email, "@")
		}
		var err error
		if id, err = submitRow(ctx, t, subject.Employee, map[string]any{"name": name, "email": email, "kind": kind}); err != nil {
			return err
		}
	}
	if err := giveRoles(ctx, t, id, roles); err != nil {
		return err
	}
	in, err := session.Invite(ctx, t, &command.Command{}, id, nil)
	if err != nil {
		return err
	}
	return f.print(in, fmt.Sprintf("%s is invited until %s\ntoken: %s\npath: %s\n", email, in.Expires, in.Token, in.Path))
}

// knownRoles refuses a key that is no role's.
func knownRoles(t *tenant.Tenant, keys []string) error {
	for _, r := range keys {
		if t.Roles().Shipped(r) == nil {
			return fmt.Errorf("there is no role %q; satchel role list names them", r)
		}
	}
	return nil
}

// giveRoles assigns roles to an employee.
func giveRoles(ctx context.Context, t *tenant.Tenant, id ident.RecordID, keys []string) error {
	for _, r := range keys {
		if _, err := submitRow(ctx, t, subject.RoleAssignment, map[string]any{"employee": id, "role": r}); err != nil {
			return err
		}
	}
	return nil
}

type userLine struct {
	ID     ident.RecordID `json:"id"`
	Email  string         `json:"email"`
	Name   string         `json:"name"`
	Kind   string         `json:"kind"`
	Status string         `json:"status"`
	Roles  []string       `json:"roles"`
}

func (f *folder) users(t *tenant.Tenant) error {
	var out []userLine
	err := t.Read(func(v *tenant.View) error {
		for o := range v.Index(state.TypeKey(v.Cat.Type(subject.Employee).No)).All() {
			r, ok := v.LoadOrd(o)
			if !ok {
				continue
			}
			u := userLine{r.ID, r.Get("email").Text(), r.Get("name").Text(), r.Get("kind").Text(), r.StatusText(), []string{}}
			if s := v.Subject(r.ID); s != nil {
				u.Roles = append(u.Roles, s.Roles...)
			}
			out = append(out, u)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(out, func(a, b userLine) int { return strings.Compare(a.Email, b.Email) })
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, u := range out {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", u.Email, u.Name, u.Kind, u.Status, strings.Join(u.Roles, " "))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.print(out, b.String())
}

func (f *folder) addUser(ctx context.Context, t *tenant.Tenant, email, name, kind string, roles []string, generate bool) error {
	if err := knownRoles(t, roles); err != nil {
		return err
	}
	pw, made, err := readPassword(generate)
	if err != nil {
		return err
	}
	if err := password.Acceptable(pw); err != nil {
		return err
	}
	if name == "" {
		name, _, _ = strings.Cut(email, "@")
	}
	id, err := submitRow(ctx, t, subject.Employee, map[string]any{"name": name, "email": email, "kind": kind, "status": subject.Active})
	if err != nil {
		return err
	}
	if err := giveRoles(ctx, t, id, roles); err != nil {
		return err
	}
	hasher, err := password.New(password.Default, 0)
	if err != nil {
		return err
	}
	if err := app.SetPassword(ctx, t, email, pw, hasher); err != nil {
		return err
	}
	return f.announce(map[string]any{"id": id, "email": email, "roles": roles}, fmt.Sprintf("%s added as %s\n", email, id), pw, made)
}

func roleCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "role", Short: "Roles and who holds them"}
	var list, grant folder
	cmd.AddCommand(list.flags(&cobra.Command{
		Use: "list", Short: "List the roles that come with the server", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			all, err := suite.Load()
			if err != nil {
				return err
			}
			type line struct{ Key, Title string }
			var out []line
			text := ""
			for _, k := range all.Roles.Keys() {
				l := line{k, all.Roles.Shipped(k).Role.Title}
				out = append(out, l)
				text += fmt.Sprintf("%-34s %s\n", l.Key, l.Title)
			}
			return list.print(out, text)
		},
	}, false))
	var until string
	give := &cobra.Command{
		Use: "grant EMAIL ROLE", Short: "Give a person a role", Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return grant.open(func(t *tenant.Tenant) error {
				if t.Roles().Shipped(args[1]) == nil {
					return fmt.Errorf("there is no role %q; satchel role list names them", args[1])
				}
				var id ident.RecordID
				if err := t.Read(func(v *tenant.View) error {
					var ok bool
					if id, ok = apply.FindEmployee(v.Reader, args[0]); !ok {
						return fmt.Errorf("no active employee has the address %q", args[0])
					}
					return nil
				}); err != nil {
					return err
				}
				fields := map[string]any{"employee": id, "role": args[1]}
				if until != "" {
					fields["until"] = until
				}
				row, err := submitRow(c.Context(), t, subject.RoleAssignment, fields)
				if err != nil {
					return err
				}
				return grant.print(map[string]any{"id": row}, fmt.Sprintf("%s holds %s\n", args[0], args[1]))
			})
		},
	}
	give.Flags().StringVar(&until, "until", "", "end of the role, like 2026-12-31T00:00:00Z")
	cmd.AddCommand(grant.flags(give, true))
	return cmd
}

func backupCommand() *cobra.Command {
	var f folder
	var admin, out, to, config string
	var rehash bool
	var keep int
	cmd := &cobra.Command{
		Use: "backup", Short: "Write a consistent copy of a tenant, of a running server (--admin) or a folder", Args: cobra.NoArgs,
		Long: `Write a consistent copy of a tenant, of a running server (--admin) or a folder.

With --to a folder gets the records, the content of files that it does not have
yet, and a manifest, by which restore knows the backup and checks it. Backups
may share a folder; what they have in common is kept once. Content in a bucket
stays there, and only its keys are noted: turn on the bucket's versioning.

With --keep the tenant's newest backups stay, so many with this one; the older
ones go, then the content that none of the others names, and what backups that
broke off left more than a day ago.

With --out a file gets the records alone.`,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case (out == "") == (to == ""):
				return usageError{errors.New("either --to FOLDER or --out FILE is required")}
			case c.Flags().Changed("keep") && (keep < 1 || to == ""):
				return usageError{errors.New("--keep is at least 1, and goes with --to")}
			case to != "":
				return f.backup(c.Context(), admin, to, config, rehash, keep)
			}
			return writeWhole(out, func(w io.Writer) error {
				if admin != "" {
					_, err := running{admin, f.tenant}.records(c.Context(), w)
					return err
				}
				return f.open(func(t *tenant.Tenant) error {
					_, err := resting{t: t}.records(c.Context(), w)
					return err
				})
			})
		},
	}
	cmd.Flags().StringVar(&admin, "admin", "", "admin address of a running server, like http://127.0.0.1:9090")
	cmd.Flags().StringVar(&to, "to", "", "folder to add the backup to")
	cmd.Flags().StringVar(&out, "out", "", "file to write the records to, without the content of files")
	cmd.Flags().StringVar(&config, "config", "", "the server's configuration file, where it says where content is kept; not with --admin")
	cmd.Flags().BoolVar(&rehash, "rehash", false, "read the content that the folder has already, and copy anew what is damaged")
	cmd.Flags().IntVar(&keep, "keep", 0, "how many backups of the tenant to leave in the folder, this one among them; all by default")
	return f.flags(cmd, true)
}

// writeWhole writes a file whole or not at all, durably.
func writeWhole(path string, fn func(io.Writer) error) error { return durable.Write(path, fn) }

func restoreCommand() *cobra.Command {
	var f folder
	var from, config string
	var force, partial bool
	cmd := &cobra.Command{
		Use: "restore", Short: "Put a backup in a tenant's place, after checking it", Args: cobra.NoArgs,
		Long: `Put a backup in a tenant's place, after checking it.

--from is a backup folder, of which the tenant's newest backup is taken, the
manifest of one of its backups, or a file that has the records alone.`,
		RunE: func(c *cobra.Command, _ []string) error {
			if from == "" {
				return usageError{errors.New("--from is required")}
			}
			path, err := findManifest(from, f.tenant)
			if err != nil {
				return err
			}
			if path != "" {
				return f.restoreWith(c.Context(), path, config, force, partial)
			}
			return f.restore(from, force)
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "backup folder, manifest, or file of records")
	cmd.Flags().StringVar(&config, "config", "", "the server's configuration file, where it says where content is kept")
	cmd.Flags().BoolVar(&force, "force", false, "replace a tenant that is there")
	cmd.Flags().BoolVar(&partial, "partial", false, "restore although some content is damaged or lost")
	return f.flags(cmd, true)
}

// replaceable refuses to restore over a tenant that is there or being served.
func (f *folder) replaceable(force bool) error {
	path := filepath.Join(f.data, "tenants", f.tenant+".db")
	if _, err := os.Stat(path); err != nil {
		return f.orphaned(path, force)
	}
	if !force {
		return fmt.Errorf("tenant %s is there already; --force replaces it", f.tenant)
	}
	old, err := store.OpenBolt(path, store.Options{Timeout: time.Second})
	switch {
	case err == nil:
		return old.Close()
	case !errors.Is(err, store.ErrCorrupt):
		return fmt.Errorf("tenant %s can't be opened (is the server running on this folder?): %w", f.tenant, err)
	}
	return nil
}

// orphaned refuses to restore beside the journal of a tenant's file that is not
// there: it may hold what that file does not have.
func (f *folder) orphaned(path string, force bool) error {
	if store.HasJournal(path) && !force {
		return fmt.Errorf("tenant %s has a journal and no file: put the file back that stood there, or --force removes the journal", f.tenant)
	}
	return nil
}

// restore checks a copy of the backup before it takes the tenant's place. The
// log gets a new epoch, so that phones which are ahead of the backup are
// noticed and reconciled.
func (f *folder) restore(from string, force bool) error {
	if err := durable.MkdirAll(filepath.Join(f.data, "tenants")); err != nil {
		return err
	}
	all, err := suite.Load()
	if err != nil {
		return err
	}
	path := filepath.Join(f.data, "tenants", f.tenant+".db")
	if _, err := os.Stat(path); err == nil {
		if !force {
			return fmt.Errorf("tenant %s is there already; --force replaces it", f.tenant)
		}
		old, err := store.OpenBolt(path, store.Options{Timeout: time.Second})
		if err == nil {
			defer old.Close() //nolint:errcheck // about to be replaced
		} else if !errors.Is(err, store.ErrCorrupt) {
			return fmt.Errorf("tenant %s can't be opened (is the server running on this folder?): %w", f.tenant, err)
		}
	} else if err := f.orphaned(path, force); err != nil {
		return err
	}
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close() //nolint:errcheck // only read
	tmp, err := os.CreateTemp(filepath.Join(f.data, "tenants"), ".restore-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // gone after the rename
	if _, err := io.Copy(tmp, src); err != nil {
		return errors.Join(err, tmp.Close())
	}
	if err := errors.Join(tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if _, err := store.Unseal(tmp.Name()); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	eng, err := store.OpenBolt(tmp.Name(), store.Options{Timeout: time.Second})
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	rep, err := check(all, eng)
	if err == nil && !rep.OK() {
		err = fmt.Errorf("%s is damaged: %s", from, rep.Problems[0])
	}
	if err == nil {
		var random [4]byte
		_, _ = rand.Read(random[:]) // never fails
		_, err = oplog.BumpEpoch(eng, ident.MillisOf(time.Now()), binary.BigEndian.Uint32(random[:]))
	}
	if err := errors.Join(err, eng.Close()); err != nil {
		return err
	}
	// Of the tenant that was there, where it could not be opened or its disk is full.
	// In this order: until the journal is gone nobody opens the new file, and none
	// that somebody begins afterwards is taken for it.
	journal := store.HasJournal(path)
	if err := durable.Rename(tmp.Name(), path); err != nil {
		return err
	}
	if journal {
		if err := store.RemoveJournal(path); err != nil {
			return err
		}
	}
	// What it was is what it is again, but for this.
	if err := f.open(func(*tenant.Tenant) error { return nil }); err != nil {
		return err
	}
	return f.print(rep, fmt.Sprintf("tenant %s restored: %d records, %d devices\n", f.tenant, rep.Records, rep.Devices))
}

func check(all *suite.Suite, eng *store.Bolt) (*verify.Report, error) {
	if err := eng.Check(); err != nil {
		return nil, err
	}
	snap, err := eng.Snapshot()
	if err != nil {
		return nil, err
	}
	defer snap.Close()
	step, end := progress("checking")
	defer end()
	return verify.Run(all.Cat, snap, func(done, total int) { step(int64(done), int64(total)) }), nil
}

func compactCommand() *cobra.Command {
	var f folder
	var auditDays int
	var config string
	cmd := &cobra.Command{
		Use: "compact", Short: "Rewrite a tenant's file without its free pages", Args: cobra.NoArgs,
		Long: `Rewrite a tenant's file without its free pages, in which deleted bytes stand.

Where somebody was erased since it was done last, the log entries up to then go
with it, and so do their uploads and all content of files that nothing refers to.`,
		RunE: func(c *cobra.Command, _ []string) error {
			path := filepath.Join(f.data, "tenants", f.tenant+".db")
			before, err := os.Stat(path)
			if err != nil {
				return fmt.Errorf("there is no tenant %q in %s", f.tenant, f.data)
			}
			out, text, shorter := map[string]any{}, "", false
			if c.Flags().Changed("audit-days") {
				if auditDays < 1 {
					return usageError{errors.New("--audit-days must be at least 1")}
				}
				var cut auditCut
				if cut, text, err = cutAudit(path, time.Now().AddDate(0, 0, -auditDays)); err != nil {
					return err
				}
				out["audit"], shorter = cut, cut.Removed > 0
			}
			all, err := suite.Load()
			if err != nil {
				return err
			}
			blobs, err := blobsOf(f.data, config)
			if err != nil {
				return err
			}
			took, err := purge(c.Context(), all.Cat, path, filepath.Join(f.data, "uploads", f.tenant), kept{blobs, ident.TenantID(f.tenant)})
			if err != nil {
				return err
			}
			out["erased"], text = took, text+took.text()
			shorter = shorter || took != (purged{})
			tmp := path + ".compact"
			step, end := progress("compacting")
			err = store.Compact(path, tmp, step)
			end()
			if err != nil {
				return errors.Join(err, os.RemoveAll(tmp))
			}
			after, err := os.Stat(tmp)
			if err != nil {
				return err
			}
			if err := durable.Rename(tmp, path); err != nil {
				return err
			}
			if shorter { // otherwise nothing is as it was not before
				if err := f.open(func(*tenant.Tenant) error { return nil }); err != nil {
					return err
				}
			}
			out["before"], out["after"] = before.Size(), after.Size()
			return f.print(out, text+fmt.Sprintf("%d -> %d bytes\n", before.Size(), after.Size()))
		},
	}
	cmd.Flags().IntVar(&auditDays, "audit-days", 0, "take rows from the audit trail that are older than so many days; it stays provable from there on")
	cmd.Flags().StringVar(&config, "config", "", "the server's configuration file, where it says that files are kept elsewhere")
	return f.flags(cmd, true)
}

// auditCut says what was taken from an audit trail. Head is the last row that
// went: whoever keeps it can prove that what is left follows from it.
type auditCut struct {
	Removed int    `json:"removed"`
	Head    string `json:"head,omitempty"`
}

// cutAudit shortens the audit trail in a store's file. A damaged one is left as
// it is: the cut would hide the damage.
func cutAudit(path string, before time.Time) (out auditCut, text string, err error) {
	eng, err := store.OpenBolt(path, store.Options{Timeout: time.Second})
	if err != nil {
		return out, "", err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	snap, err := eng.Snapshot()
	if err != nil {
		return out, "", err
	}
	var problem error
	audit.Check(snap, func(format string, args ...any) {
		if problem == nil {
			problem = fmt.Errorf("nothing was cut: "+format, args...)
		}
	})
	if snap.Close(); problem != nil {
		return out, "", problem
	}
	for more := true; more; {
		err := eng.Update(func(w store.Writer) (err error) {
			var head audit.Head
			var n int
			if head, n, more, err = audit.Cut(w, ident.MillisOf(before)); n > 0 {
				out.Removed, out.Head = out.Removed+n, head.String()
			}
			return err
		})
		if err != nil {
			return out, "", err
		}
	}
	text = fmt.Sprintf("audit: %d rows taken", out.Removed)
	if out.Head != "" {
		text += ", the last was " + out.Head
	}
	return out, text + "\n", nil
}

func verifyCommand() *cobra.Command {
	var f folder
	var every, deep bool
	var head, config string
	cmd := &cobra.Command{
		Use: "verify", Short: "Check every index, held set, log entry, file and the audit trail of a tenant against its records", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var known *audit.Head
			if head != "" {
				h, err := audit.ParseHead(head)
				if err != nil || every {
					return usageError{errors.Join(err, errors.New("--head HASH@POSITION is the head of one tenant's audit trail, as verify prints it"))}
				}
				known = &h
			}
			all, err := suite.Load()
			if err != nil {
				return err
			}
			blobs, err := blobsOf(f.data, config)
			if err != nil {
				return err
			}
			return f.tenants(func(ts *app.Tenants) error {
				ids := []ident.TenantID{ident.TenantID(f.tenant)}
				if every {
					if ids, err = ts.List(); err != nil {
						return err
					}
				}
				bad := false
				for _, id := range ids {
					rep, err := f.verifyOne(c.Context(), all, ts.Path(id), known, kept{blobs, id}, deep)
					if err != nil {
						return fmt.Errorf("tenant %s: %w", id, err)
					}
					bad = bad || !rep.OK()
					text := fmt.Sprintf("%s: %d records, %d indexes, %d devices, %d log entries: ", id, rep.Records, rep.Indexes, rep.Devices, rep.Entries)
					if rep.OK() {
						text += "all agree\n"
					} else {
						text += "damaged\n  " + strings.Join(rep.Problems, "\n  ") + "\n"
					}
					text += auditText(rep.Audit) + contentText(rep.Content)
					if err := f.print(map[string]any{"tenant": id, "report": rep, "ok": rep.OK()}, text); err != nil {
						return err
					}
				}
				if bad {
					return quietError{errors.New("damaged")}
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&every, "all", false, "every tenant of the folder")
	cmd.Flags().StringVar(&head, "head", "", "head of the audit trail that was kept elsewhere: it must still lie on the trail")
	cmd.Flags().BoolVar(&deep, "deep", false, "read the content of every file and compare its hash")
	cmd.Flags().StringVar(&config, "config", "", "the server's configuration file, where it says that files are kept elsewhere")
	return f.flags(cmd, true)
}

// auditText says in a line what there is of an audit trail.
func auditText(a verify.Audit) string {
	if a.Head == "" {
		return ""
	}
	text := fmt.Sprintf("  audit: %d rows, head %s", a.Rows, a.Head)
	if a.Cut != "" {
		text += ", cut behind " + a.Cut
	}
	return text + "\n"
}

// discard folds nothing: the log is only read.
type discard struct{}

func (discard) Fold(store.Writer, oplog.Entry) error { return errors.New("the log is only read") }
func (discard) Committed(oplog.Entry)                {}
func (discard) Aborted(oplog.Entry, error)           {}

func (f *folder) verifyOne(ctx context.Context, all *suite.Suite, path string, known *audit.Head, content kept, deep bool) (rep *verify.Report, err error) {
	if _, err := os.Stat(path); err != nil {
		return nil, errors.New("there is no such tenant")
	}
	eng, err := store.OpenBolt(path, store.Options{Timeout: time.Second})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	if rep, err = check(all, eng); err != nil {
		return nil, err
	}
	snap, err := eng.Snapshot()
	if err != nil {
		return nil, err
	}
	if known != nil {
		verify.Head(snap, *known, rep)
	}
	err = verify.Content(ctx, all.Cat, snap, content, deep, rep)
	if snap.Close(); err != nil {
		return nil, err
	}
	log, err := oplog.Open(eng, discard{}, oplog.Options{})
	if err != nil {
		return nil, err
	}
	verify.Log(log, rep)
	return rep, log.Close()
}

func explainCommand() *cobra.Command {
	var f folder
	var user, action, record string
	cmd := &cobra.Command{
		Use: "explain", Short: "Say why a person may or may not do something to a record", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return f.open(func(t *tenant.Tenant) error {
				return t.Read(func(v *tenant.View) error { return f.explain(v, user, action, record) })
			})
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "e-mail address")
	cmd.Flags().StringVar(&action, "action", "view", "view, create, edit, delete, comment or the name of an action")
	cmd.Flags().StringVar(&record, "record", "", "TYPE/ID")
	return f.flags(cmd, true)
}

func (f *folder) explain(v *tenant.View, user, action, record string) error {
	typ, id, ok := strings.Cut(record, "/")
	if !ok {
		return usageError{errors.New("--record TYPE/ID is required")}
	}
	emp, ok := apply.FindEmployee(v.Reader, user)
	if !ok {
		return fmt.Errorf("no active employee has the address %q", user)
	}
	e, err := rest.Explain(v, emp, action, typ, id)
	if err != nil {
		return err
	}
	return f.print(e, e.Text+"\n")
}
