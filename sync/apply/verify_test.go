package apply_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/sync/bits"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/verify"
)

// synced is a tenant with a phone that holds something and a file that waits.
func synced(t *testing.T) (*world, *phone) {
	w := field(t)
	p := w.signIn("emp-eng-1", "i1")
	p.sync()
	w.ok(write("emp-mgr-1", command.Write{Op: "patch", Type: "job", ID: "job-one-1", Fields: obj("title", "Other")}))
	w.load(row("job", "job-late-1", "client", "client-two", "title", "Late"), row("jobActivity", "act-late-1", "job", "job-late-1", "title", "Visit", "assignee", "emp-eng-1"))
	p.sync()
	p.pull() // acknowledges the last page
	w.ok(&command.Command{Actor: p.who, Session: p.sess, Device: p.id, File: &command.File{
		Document: "doc-waiting", Upload: "u1", SHA256: strings.Repeat("ab", 32), Size: 3, MediaType: "image/png",
	}})
	w.verified()
	return w, p
}

// TestVerifyFinds damages what says since when devices have what, held sets of
// nobody and files that wait: each is found, and named.
func TestVerifyFinds(t *testing.T) {
	whole, p := synced(t)
	var dev ident.Ordinal
	var rows, values [][]byte
	whole.reader(func(rd *state.Reader) {
		dev = rd.Ordinal(p.id)
		store.ScanPrefix(rd.KV(), store.Devices, binary.BigEndian.AppendUint32([]byte{'s'}, dev), func(k, v []byte) bool {
			rows, values = append(rows, bytes.Clone(k)), append(values, bytes.Clone(v))
			return true
		})
	})
	if len(rows) < 2 {
		t.Fatalf("%d arrivals", len(rows))
	}
	at := func(m ident.Millis) []byte {
		return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32([]byte{'s'}, dev), uint64(m)^1<<63)
	}
	waiting := append(append([]byte("fdoc-waiting"), 0), "emp-eng-1"...)
	for _, x := range []struct {
		name, finds string
		damage      func(w store.Writer) error
	}{
		{"twice", "arrived before, too", func(w store.Writer) error { return w.Put(store.Devices, rows[0], values[1]) }},
		{"not held", "it does not have", func(w store.Writer) error {
			return w.Put(store.Devices, rows[0], bits.Of(1).AppendTo(nil))
		}},
		{"of the future", "yet to come", func(w store.Writer) error {
			return errors.Join(w.Delete(store.Devices, rows[0]), w.Put(store.Devices, at(whole.now+1_000_000), values[0]))
		}},
		{"unreadable", "reading stopped", func(w store.Writer) error { return w.Put(store.Devices, rows[0], []byte("xx")) }},
		{"of no device", "is no device's", func(w store.Writer) error {
			return w.Put(store.Devices, append([]byte{'s', 0, 0, 0, 1}, rows[0][5:]...), values[0])
		}},
		{"arrivals cut short", "is no device's", func(w store.Writer) error { return w.Put(store.Devices, rows[0][:9], values[0]) }},
		{"held by nobody", "held set: row", func(w store.Writer) error {
			return w.Put(store.Held, []byte{0, 0, 0, 1, 0, 1, 0, 0}, bits.Of(1).AppendTo(nil))
		}},
		{"a held row cut short", "held set: row", func(w store.Writer) error { return w.Put(store.Held, []byte{0, 0, 0}, nil) }},
		{"a file that can't be read", "can't be read", func(w store.Writer) error { return w.Put(store.Files, waiting, []byte("{")) }},
		{"a file in another's place", "is of document", func(w store.Writer) error {
			v := bytes.Clone(w.Get(store.Files, waiting))
			return errors.Join(w.Delete(store.Files, waiting), w.Put(store.Files, append(append([]byte("fdoc-other"), 0), "emp-eng-1"...), v))
		}},
		{"a file of nobody", "never was", func(w store.Writer) error {
			v := bytes.ReplaceAll(w.Get(store.Files, waiting), []byte("emp-eng-1"), []byte("emp-eng-9"))
			return errors.Join(w.Delete(store.Files, waiting), w.Put(store.Files, append(append([]byte("fdoc-waiting"), 0), "emp-eng-9"...), v))
		}},
		{"a file never swept", "never swept", func(w store.Writer) error {
			var k []byte
			store.ScanPrefix(w, store.Files, []byte{'t'}, func(kk, _ []byte) bool { k = bytes.Clone(kk); return false })
			return w.Delete(store.Files, k)
		}},
		{"a stray row", "is none", func(w store.Writer) error { return w.Put(store.Files, []byte("x"), nil) }},
	} {
		t.Run(x.name, func(t *testing.T) {
			eng := whole.eng.(*store.Mem).Clone()
			if err := eng.Update(x.damage); err != nil {
				t.Fatal(err)
			}
			snap, err := eng.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			defer snap.Close()
			if rep := verify.Run(whole.cat, snap, nil); !strings.Contains(strings.Join(rep.Problems, "\n"), x.finds) {
				t.Errorf("found %q", rep.Problems)
			}
		})
	}
}

// shelf keeps content in memory.
type shelf map[string]string

func (s shelf) Open(_ context.Context, digest string) (io.ReadCloser, error) {
	v, ok := s[digest]
	if !ok {
		return nil, verify.ErrNoContent
	}
	return io.NopCloser(strings.NewReader(v)), nil
}

func (s shelf) Each(_ context.Context, f func(digest, variant string, size int64) error) error {
	for k, v := range s {
		digest, variant, _ := strings.Cut(k, ".")
		if err := f(digest, variant, int64(len(v))); err != nil {
			return err
		}
	}
	return nil
}

func TestVerifyContent(t *testing.T) {
	digest := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return hex.EncodeToString(sum[:])
	}
	w := field(t)
	for id, text := range map[string]string{"doc-one-11": "one", "doc-two-11": "two"} {
		r := row("document", ident.RecordID(id), "parent", "job-one-1", "name", id, "sha256", digest(text))
		r.Fields["size"] = []byte("3")
		w.load(r)
	}
	p := w.signIn("emp-eng-1", "i1")
	w.ok(&command.Command{Actor: p.who, Session: p.sess, Device: p.id, File: &command.File{
		Document: "doc-waiting", Upload: "u1", SHA256: digest("wait"), Size: 4, MediaType: "image/png",
	}})
	whole := shelf{digest("one"): "one", digest("two"): "two", digest("wait"): "wait", digest("one") + ".t96": "small", digest("loose"): "loose"}
	check := func(s verify.Contents, deep bool) (rep *verify.Report) {
		t.Helper()
		w.reader(func(rd *state.Reader) {
			rep = verify.Run(w.cat, rd.KV(), nil)
			if err := verify.Content(context.Background(), w.cat, rd.KV(), s, deep, rep); err != nil {
				t.Fatal(err)
			}
		})
		return rep
	}
	rep := check(whole, true)
	if want := (verify.Stored{Documents: 2, Kept: 4, Derived: 1, Orphans: 1, Hashed: 4}); !rep.OK() || *rep.Content != want || rep.Waiting != 1 {
		t.Fatalf("%+v %+v", rep, rep.Content)
	}
	for _, x := range []struct {
		name, finds string
		change      func(s shelf)
		deep        bool
	}{
		{"lost", "document/doc-one-11: its content " + digest("one") + " is not there", func(s shelf) { delete(s, digest("one")) }, false},
		{"a waiting file's lost", "doc-waiting: its content", func(s shelf) { delete(s, digest("wait")) }, false},
		{"cut", "document/doc-two-11: its content has 2 bytes, 3 are due", func(s shelf) { s[digest("two")] = "tw" }, false},
		{"another's", "has the hash " + digest("owt"), func(s shelf) { s[digest("two")] = "owt" }, true},
		{"of no document", "has the hash", func(s shelf) { s[digest("loose")] = "tight" }, true},
	} {
		s := shelf{}
		for k, v := range whole {
			s[k] = v
		}
		x.change(s)
		if rep := check(s, x.deep); len(rep.Problems) != 1 || !strings.Contains(rep.Problems[0], x.finds) {
			t.Errorf("%s: %q", x.name, rep.Problems)
		}
		if x.deep && !check(s, false).OK() {
			t.Errorf("%s: found without reading", x.name)
		}
	}
	broken := errors.New("the disk is gone")
	w.reader(func(rd *state.Reader) {
		if err := verify.Content(context.Background(), w.cat, rd.KV(), failing{broken}, false, verify.Run(w.cat, rd.KV(), nil)); !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
	})
}

// failing can't be read.
type failing struct{ err error }

func (f failing) Open(context.Context, string) (io.ReadCloser, error) { return nil, f.err }

func (f failing) Each(context.Context, func(string, string, int64) error) error { return f.err }
