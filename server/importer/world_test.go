package importer_test

import (
	"context"
	"crypto/rand"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/server/importer"
	"satchel/server/module"
	"satchel/server/suite"
	"satchel/sync/apply"
	"satchel/sync/store"
	"satchel/sync/tenant"
)

// world is a tenant to import into.
type world struct {
	t   testing.TB
	ten *tenant.Tenant
	// batches is how many were submitted; fail, if set, is asked before each.
	batches int
	fail    func(n int) error
}

func catalogue(t testing.TB) *entity.Catalogue {
	t.Helper()
	cat, err := module.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	return cat
}

func newWorld(t testing.TB, engine store.Engine) *world {
	t.Helper()
	all, err := suite.Load()
	if err != nil {
		t.Fatal(err)
	}
	ten, err := tenant.Open(tenant.Options{
		ID: "test", Cat: all.Cat, Roles: all.Roles, Field: all.Field, Engine: engine, Clock: time.Now, Random: rand.Reader,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ten.Close() })
	return &world{t: t, ten: ten}
}

func (w *world) Submit(ctx context.Context, batch *command.Import) (apply.ImportCount, error) {
	w.batches++
	if w.fail != nil {
		if err := w.fail(w.batches); err != nil {
			return apply.ImportCount{}, err
		}
	}
	if n := len(batch.Rows); n == 0 || n > importer.MaxBatchRows {
		w.t.Errorf("a batch of %d rows", n)
	}
	res, err := w.ten.Submit(ctx, &command.Command{Import: batch})
	return res.Count, err
}

// run imports and returns the report and the rejects.
func (w *world) run(m *importer.Mapping, from fs.FS) (*importer.Report, string, error) {
	var rejects strings.Builder
	rep, err := importer.Run(context.Background(), importer.Options{
		Mapping: m, Catalogue: catalogue(w.t), From: from, To: w, Rejects: &rejects,
	})
	return rep, rejects.String(), err
}

// fields returns a record's fields as text, by name.
func (w *world) fields(id string) map[string]string {
	w.t.Helper()
	out := map[string]string{}
	err := w.ten.Read(func(v *tenant.View) error {
		r, ok := v.Load(ident.RecordID(id))
		if !ok {
			return nil
		}
		for _, f := range r.Type.Fields {
			if val := r.Get(f.Name); !val.IsNull() {
				s := val.Text()
				if s == "" {
					s = string(val)
				}
				out[f.Name] = s
			}
		}
		if m := r.Get("createdAt"); !m.IsNull() {
			out["createdAt"] = m.Text()
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func (w *world) want(id string, kv ...string) {
	w.t.Helper()
	got := w.fields(id)
	if len(got) == 0 {
		w.t.Errorf("there is no %s", id)
		return
	}
	for i := 0; i < len(kv); i += 2 {
		if got[kv[i]] != kv[i+1] {
			w.t.Errorf("%s: %s is %q, want %q", id, kv[i], got[kv[i]], kv[i+1])
		}
	}
}

func load(t testing.TB, name string) *importer.Mapping {
	t.Helper()
	m, err := importer.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func files(kv ...string) fstest.MapFS {
	out := fstest.MapFS{}
	for i := 0; i < len(kv); i += 2 {
		out[kv[i]] = &fstest.MapFile{Data: []byte(kv[i+1])}
	}
	return out
}

// shared returns a folder of the full data sets, which stand outside the
// project; SATCHEL_SHARED names the folder that has them under data.
func shared(t testing.TB, set string) fs.FS {
	t.Helper()
	root := os.Getenv("SATCHEL_SHARED")
	if root == "" {
		t.Skip("SATCHEL_SHARED is not set")
	}
	dir := filepath.Join(root, "data", set)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no full data set: %v", err)
	}
	return os.DirFS(dir)
}
