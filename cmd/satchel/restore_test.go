package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"satchel/sync/store"
)

// TestRestoreBesideJournal: a backup takes the place of a tenant whose journal does
// not belong to its file, or whose file is gone, and what the journal has is given
// up by --force alone.
func TestRestoreBesideJournal(t *testing.T) {
	data, other := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "other")
	at := "--data=" + data
	satchel(t, 0, "init", at, "--email=ada@example.com")
	backup := filepath.Join(t.TempDir(), "main.backup")
	satchel(t, 0, "backup", at, "--to="+backup)
	path := filepath.Join(data, "tenants", "main.db")
	journal := segmentOfAnother(t, other)
	leave := func() {
		t.Helper()
		if err := os.WriteFile(store.SegmentPaths(path)[0], journal, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	restored := func() {
		t.Helper()
		satchel(t, 0, "restore", at, "--from="+backup, "--force")
		if store.HasJournal(path) {
			t.Error("the journal of what stood there is left")
		}
		satchel(t, 0, "verify", at)
	}

	leave()
	if out := satchel(t, 1, "verify", at); !strings.Contains(out, "journal") {
		t.Errorf("opened with another's journal: %s", out)
	}
	restored()

	leave()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if out := satchel(t, 1, "restore", at, "--from="+backup); !strings.Contains(out, "--force") {
		t.Errorf("%s", out)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a file was put beside the journal")
	}
	restored()
}

// segmentOfAnother returns a segment that holds a commit of a store's in the folder.
func segmentOfAnother(t *testing.T, dir string) []byte {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "another.db")
	b, err := store.OpenBolt(path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first goes into the file
		if err := b.Update(func(w store.Writer) error { return w.Put(store.Records, []byte("row"), nil) }); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(store.SegmentPaths(path)[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return raw
}
