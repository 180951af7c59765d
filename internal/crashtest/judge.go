package crashtest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/server/suite"
	"satchel/sync/oplog"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/verify"
)

// expected is what a data folder must have. Names are unique.
type expected struct {
	// made are the records of scheduling roles and time entries that were
	// asked for, by what they are called; those that were acknowledged are true.
	roles, entries map[string]bool
	// entryIDs are the ids under which time entries were made, by their notes.
	entryIDs map[string]ident.RecordID
	// counters are records that are counted up: the last value acknowledged and
	// the last one sent.
	counters map[ident.RecordID][2]int
	// contents are documents with the content that arrived for them.
	contents map[ident.RecordID][]byte
}

// roleName begins the names of scheduling roles that are made here.
const roleName = "Kill "

// verified looks a tenant's file through as satchel verify does, and calls f
// with its state.
func verified(all *suite.Suite, path string, f func(*state.Reader) error) (err error) {
	eng, err := store.OpenBolt(path, store.Options{})
	if err != nil {
		return broke("%v", err)
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	if err := eng.Check(); err != nil {
		return broke("%v", err)
	}
	snap, err := eng.Snapshot()
	if err != nil {
		return err
	}
	defer snap.Close()
	rep := verify.Run(all.Cat, snap, nil)
	log, err := oplog.Open(eng, unfolded{}, oplog.Options{})
	if err != nil {
		return broke("the log: %v", err)
	}
	verify.Log(log, rep)
	if err := log.Close(); err != nil {
		return err
	}
	if !rep.OK() {
		return broke("verify finds %d problems: %s", len(rep.Problems), rep.Problems[0])
	}
	return f(state.NewReader(all.Cat, snap))
}

// unfolded folds nothing: the log is only read.
type unfolded struct{}

func (unfolded) Fold(store.Writer, oplog.Entry) error { return errors.New("the log is only read") }
func (unfolded) Committed(oplog.Entry)                {}
func (unfolded) Aborted(oplog.Entry, error)           {}

// judge holds a data folder that no process uses against what it must have.
func judge(all *suite.Suite, dir string, want *expected) error {
	return verified(all, filepath.Join(dir, "tenants", string(slug)+".db"), func(rd *state.Reader) error {
		err := errors.Join(
			once(all.Cat, rd, "schedulingRole", "name", want.roles, nil),
			once(all.Cat, rd, "timeEntry", "note", want.entries, want.entryIDs),
			counted(rd, want.counters),
		)
		if err == nil {
			err = contents(rd, dir, want.contents)
		}
		if err == nil {
			err = files(dir)
		}
		return err
	})
}

// once checks that everything acknowledged is there once, what was only asked
// for at most once, and nothing else.
func once(cat *entity.Catalogue, rd *state.Reader, typ, field string, asked map[string]bool, ids map[string]ident.RecordID) error {
	seen := map[string]bool{}
	for o := range rd.Index(state.TypeKey(cat.Type(typ).No)).All() {
		r, ok := rd.LoadOrd(o)
		if !ok {
			return broke("record %d of %s is in the index and not there", o, typ)
		}
		name := r.Get(field).Text()
		if !strings.HasPrefix(name, roleName) {
			continue
		}
		if _, ok := asked[name]; !ok {
			return broke("%s %q was never asked for", typ, name)
		}
		if seen[name] {
			return broke("%s %q is there twice", typ, name)
		}
		seen[name] = true
		if id := ids[name]; ids != nil && id != r.ID {
			return broke("%s %q is %s, it was made as %s", typ, name, r.ID, id)
		}
	}
	for name, acknowledged := range asked {
		if acknowledged && !seen[name] {
			return broke("%s %q was acknowledged and is not there", typ, name)
		}
	}
	return nil
}

// counted checks that counters are between what was acknowledged and what was
// sent.
func counted(rd *state.Reader, counters map[ident.RecordID][2]int) error {
	for id, c := range counters {
		r, ok := rd.Load(id)
		if !ok {
			return broke("%s was acknowledged and is not there", id)
		}
		_, number, ok := strings.Cut(r.Get("name").Text(), "#")
		var n int
		if _, err := fmt.Sscan(number, &n); !ok || err != nil || n < c[0] || n > c[1] {
			return broke("%s is at %q, acknowledged was %d, sent %d", id, r.Get("name").Text(), c[0], c[1])
		}
	}
	return nil
}

// contents checks that documents have what arrived for them.
func contents(rd *state.Reader, dir string, want map[ident.RecordID][]byte) error {
	for id, content := range want {
		r, ok := rd.Load(id)
		if !ok {
			return broke("document %s was acknowledged and is not there", id)
		}
		sum := sha256.Sum256(content)
		key := hex.EncodeToString(sum[:])
		if got := r.Get("sha256").Text(); got != key {
			return broke("the content of document %s arrived whole, and it refers to %q", id, got)
		}
		if _, err := os.Stat(filepath.Join(dir, "blobs", string(slug), key[:2], key)); err != nil {
			return broke("the content of document %s arrived whole: %v", id, err)
		}
	}
	return nil
}

// files checks that every file is what its name says: content whole, what is
// known of uploads readable.
func files(dir string) error {
	blobs := filepath.Join(dir, "blobs", string(slug))
	err := filepath.WalkDir(blobs, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || len(d.Name()) != hex.EncodedLen(sha256.Size) {
			return ignoreMissing(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != d.Name() {
			return broke("%s has other content than its name says", path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	list, err := os.ReadDir(filepath.Join(dir, "uploads", string(slug)))
	if err != nil {
		return ignoreMissing(err)
	}
	for _, e := range list {
		if !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, "uploads", string(slug), e.Name()))
		if err != nil {
			return err
		}
		if !json.Valid(b) {
			return broke("%s is half written: %.200q", e.Name(), b)
		}
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
