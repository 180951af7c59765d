package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"satchel/internal/command"
	"satchel/internal/durable"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/strictjson"
	"satchel/sync/store"
	"satchel/sync/tenant"
)

// What an operator does to a whole data folder belongs into the trail of each of
// its tenants, which a server may have open at that time. So it is left beside
// them first, as DIR/acts/SLUG.RANDOM.json, and whoever has the tenant open, or
// opens it next, writes the row and then removes the file: at least one row, two
// after a crash in between.

// actsFolder is where a data folder has what is yet to be written into trails.
const actsFolder = "acts"

// lockTime is how long it is waited for a tenant that a server may have open.
const lockTime = 100 * time.Millisecond

type owedAct struct {
	Name string `json:"name"`
	By   string `json:"by"`
}

// ActOnAll does what an operator does to a whole data folder, and sees to it
// that each of its tenants gets a row of that in its audit trail: at once, or
// from the server that runs on the folder, or when the tenant is opened next.
// name and by are as in [command.Act]. It returns the error of do as it is.
func ActOnAll(ctx context.Context, dir, name, by string, do func() error) error {
	owed, err := owe(dir, owedAct{name, by})
	if err == nil {
		err = do()
	}
	if err != nil {
		for _, path := range owed {
			err = errors.Join(err, os.Remove(path))
		}
		return err
	}
	if err := settle(ctx, dir); err != nil {
		return fmt.Errorf("it is done, and not in every audit trail yet: %w", err)
	}
	return nil
}

// owe leaves an act for all tenants of a folder, and returns the files of it.
func owe(dir string, act owedAct) (paths []string, err error) {
	ids, err := tenantsIn(dir)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	b, err := json.Marshal(act)
	if err != nil {
		return nil, err
	}
	if err := durable.MkdirAll(filepath.Join(dir, actsFolder)); err != nil {
		return nil, err
	}
	for _, id := range ids {
		var random [8]byte
		_, _ = rand.Read(random[:]) // never fails
		path := filepath.Join(dir, actsFolder, string(id)+"."+hex.EncodeToString(random[:])+".json")
		if err := durable.WriteFile(path, b); err != nil {
			return paths, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// settle writes what is owed to the tenants of a folder that no server has open.
func settle(ctx context.Context, dir string) error {
	ts, err := NewTenants(dir, nil, time.Now)
	if err != nil {
		return err
	}
	ts.engine = func(path string) (store.Engine, error) { return store.OpenBolt(path, store.Options{Timeout: lockTime}) }
	ids, err := ts.List()
	for _, id := range ids {
		// One that a server found damaged is closed, and still none of ours: while
		// a server has any, all are its own.
		eng, err := ts.engine(ts.Path(id))
		if errors.Is(err, store.ErrInUse) {
			return ts.Close()
		} else if err == nil {
			err = eng.Close()
		}
		if err != nil {
			ts.log.Warn("a tenant can't be opened", slog.String("tenant", string(id)), slog.String("error", err.Error()))
		}
	}
	for _, id := range ids {
		if err = errors.Join(err, ctx.Err()); err != nil {
			break
		}
		if len(owedTo(dir, id)) == 0 {
			continue
		}
		if _, err := ts.Tenant(id); err != nil {
			continue // it gets its row once it can be opened
		}
		ts.mending.work.Wait()
		if err = ts.closeOne(id); err != nil {
			break
		}
	}
	return errors.Join(err, ts.Close())
}

// owedTo lists the files of what is owed to a tenant.
func owedTo(dir string, id ident.TenantID) (paths []string) {
	names, err := os.ReadDir(filepath.Join(dir, actsFolder))
	if err != nil {
		return nil // most folders never have one
	}
	for _, n := range names {
		if of, _, ok := strings.Cut(n.Name(), "."); ok && of == string(id) && strings.HasSuffix(n.Name(), ".json") {
			paths = append(paths, filepath.Join(dir, actsFolder, n.Name()))
		}
	}
	return paths
}

// pay writes what is owed to an open tenant into its trail. What it can't take
// now stays for the next time.
func (ts *Tenants) pay(t *tenant.Tenant) {
	ts.paying.Lock()
	defer ts.paying.Unlock()
	for _, path := range owedTo(ts.dir, t.ID()) {
		if err := ts.payOne(t, path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			ts.log.Warn("an operator's act is not in the audit trail yet", slog.String("tenant", string(t.ID())), slog.String("error", err.Error()))
		}
	}
}

func (ts *Tenants) payOne(t *tenant.Tenant, path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var act owedAct
	err = strictjson.Decode(b, &act)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), actTime)
		defer cancel()
		_, err = t.Submit(ctx, &command.Command{Act: &command.Act{Name: act.Name, By: act.By}})
		if err != nil && !fault.Is(err, fault.BadValue) {
			return err
		}
	}
	// What is no act will be none later.
	return errors.Join(err, os.Remove(path))
}
