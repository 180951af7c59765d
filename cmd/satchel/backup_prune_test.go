package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"satchel/internal/app"
	"satchel/internal/command"
)

// shelfOf is a backup folder as prune finds it: made of names and what
// manifests say, without a server.
type shelfOf struct {
	t   *testing.T
	dir string
}

func (s *shelfOf) write(name, content string, age time.Duration) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	at := time.Now().Add(-age)
	if err := os.Chtimes(path, at, at); err != nil {
		s.t.Fatal(err)
	}
}

// digestOf is a name for content of one letter.
func digestOf(c string) string { return strings.Repeat(c, 64) }

// backup puts one there, made on a day, that names content of one letter each.
func (s *shelfOf) backup(tenantID, day, contents string) {
	s.t.Helper()
	name := tenantID + "-202603" + day + "T100000.000Z"
	m := manifest{Format: manifestFormat, Tenant: tenantID, Records: recorded{File: name + ".db", Size: 7}, Content: app.ContentHere, Files: []contained{}}
	for _, c := range strings.Split(contents, "") {
		m.Files = append(m.Files, contained{digestOf(c), 1})
		s.write(filepath.Join("content", tenantID, digestOf(c)[:2], digestOf(c)), c, 0)
	}
	raw, err := json.Marshal(m)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write(m.Records.File, "records", 48*time.Hour)
	s.write(name+".json", string(raw), 48*time.Hour)
}

// has lists what the folder has, in order; content by its first letter.
func (s *shelfOf) has() (out []string) {
	s.t.Helper()
	err := filepath.WalkDir(s.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(s.dir, path)
		if inside, ok := strings.CutPrefix(rel, "content/"); ok {
			rel = filepath.Dir(filepath.Dir(inside)) + "/" + filepath.Base(inside)[:1]
		}
		out = append(out, strings.ReplaceAll(strings.ReplaceAll(rel, "-202603", "-"), "T100000.000Z", ""))
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

// TestPrune: what stays and what goes, case by case.
func TestPrune(t *testing.T) {
	old := 25 * time.Hour
	for name, x := range map[string]struct {
		more      func(*shelfOf)
		made      string // day; "" for the newest
		keep      int
		backups   int
		contents  int
		fails     bool
		gone      string // of what shelfOf.has lists, and what is there besides:
		appearing string
	}{
		"one":              {keep: 1, backups: 2, contents: 2, gone: "acme-01.db acme-01.json acme-02.db acme-02.json acme/a acme/b"},
		"two":              {keep: 2, backups: 1, contents: 1, gone: "acme-01.db acme-01.json acme/a"},
		"more than it has": {keep: 9},
		"never the one that was just made, whatever the clock said": {
			made: "01", keep: 2, backups: 1, contents: 1, gone: "acme-02.db acme-02.json acme/b",
		},
		"another's, whose name begins alike": {
			more: func(s *shelfOf) { s.backup("acme-two", "01", "a"); s.backup("acme-two", "02", "z") },
			keep: 1, backups: 2, contents: 2, gone: "acme-01.db acme-01.json acme-02.db acme-02.json acme/a acme/b",
		},
		"content that is named by one with a name of its own": {
			more: func(s *shelfOf) {
				if err := os.Rename(filepath.Join(s.dir, "acme-20260301T100000.000Z.json"), filepath.Join(s.dir, "before-the-move.json")); err != nil {
					s.t.Fatal(err)
				}
			},
			keep: 1, backups: 1, contents: 1, gone: "acme-01.json acme-02.db acme-02.json acme/b", appearing: "before-the-move.json",
		},
		"what is not whole does not count": {
			more: func(s *shelfOf) { s.write("acme-20260302T100000.000Z.db", "cut", old) },
			keep: 2,
		},
		"a manifest that can't be read": {
			more: func(s *shelfOf) { s.write("acme-20260301T100000.000Z.json", "{", old) },
			keep: 1, fails: true,
		},
		"half-made ones of long ago": {
			more: func(s *shelfOf) {
				s.write(".new-1.db", "half", old)
				s.write("acme-20260304T100000.000Z.db", "records", old)
			},
			keep: 2, backups: 1, contents: 1, gone: "acme-01.db acme-01.json acme/a",
		},
		"one that is being made needs content that nothing names yet": {
			more: func(s *shelfOf) { s.write(".new-1.db", "half", time.Minute) },
			keep: 2, backups: 1, gone: "acme-01.db acme-01.json", appearing: ".new-1.db",
		},
		"one whose manifest is yet to be written": {
			more: func(s *shelfOf) { s.write("acme-20260304T100000.000Z.db", "records", time.Minute) },
			keep: 2, backups: 1, gone: "acme-01.db acme-01.json", appearing: "acme-04.db",
		},
		"content that nothing ever named": {
			more: func(s *shelfOf) {
				s.write(filepath.Join("content", "acme", digestOf("f")[:2], digestOf("f")), "f", 0)
			},
			keep: 3, contents: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &shelfOf{t, t.TempDir()}
			s.backup("acme", "01", "ae")
			s.backup("acme", "02", "be")
			s.backup("acme", "03", "ce")
			before := s.has()
			if x.more != nil {
				x.more(s)
			}
			made := x.made
			if made == "" {
				made = "03"
			}
			backups, contents, err := prune(t.Context(), s.dir, "acme", filepath.Join(s.dir, "acme-202603"+made+"T100000.000Z.json"), x.keep)
			if backups != x.backups || contents != x.contents || (err != nil) != x.fails {
				t.Errorf("%d backups and %d contents went, %v; want %d and %d", backups, contents, err, x.backups, x.contents)
			}
			var want []string
			for _, n := range before {
				if !slices.Contains(strings.Fields(x.gone), n) {
					want = append(want, n)
				}
			}
			want = append(want, strings.Fields(x.appearing)...)
			slices.Sort(want)
			got := slices.DeleteFunc(s.has(), func(n string) bool { return strings.HasPrefix(n, "acme-two") })
			if !slices.Equal(got, want) {
				t.Errorf("left %v\nwant %v", got, want)
			}
			if name == "another's, whose name begins alike" && len(s.has())-len(got) != 6 {
				t.Errorf("of the other tenant: %v", s.has())
			}
		})
	}
}

// TestPruneBreaksOff: wherever a prune breaks off, each manifest that is left
// names what is there, and the next prune ends it.
func TestPruneBreaksOff(t *testing.T) {
	s := &shelfOf{t, t.TempDir()}
	s.backup("acme", "01", "ae")
	s.backup("acme", "02", "be")
	made := filepath.Join(s.dir, "acme-20260302T100000.000Z.json")
	// After the manifest was removed, before anything else was.
	if err := os.Remove(filepath.Join(s.dir, "acme-20260301T100000.000Z.json")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := prune(t.Context(), s.dir, "acme", made, 1); err != nil {
		t.Fatal(err)
	}
	if got, want := s.has(), []string{"acme-02.db", "acme-02.json", "acme/b", "acme/e"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	// While content is removed.
	s.backup("acme", "01", "ade")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := prune(ended, s.dir, "acme", made, 1); err == nil {
		t.Error("went on")
	}
	if got, want := s.has(), []string{"acme-02.db", "acme-02.json", "acme/a", "acme/b", "acme/d", "acme/e"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if _, n, err := prune(t.Context(), s.dir, "acme", made, 1); err != nil || n != 2 {
		t.Error(n, err)
	}
}

// TestBackupKeep: on the command line, with a real tenant: what is left can be
// restored.
func TestBackupKeep(t *testing.T) {
	f := newFiled(t)
	f.document("the first", false)
	to := filepath.Join(t.TempDir(), "backups")
	backup := func(flags ...string) report {
		t.Helper()
		return reported(t, satchel(t, 0, append([]string{"backup", "--data=" + f.data, "--to=" + to, "--json"}, flags...)...))
	}
	first := backup()
	gone := f.document("a passing note", false)
	second := backup()
	f.submit(&command.Command{Write: &command.Write{Op: "delete", Type: "document", ID: "document-2"}})
	if r := backup("--keep=2"); r.Pruned != 1 || r.PrunedContent != 0 {
		t.Errorf("%+v", r)
	}
	if _, err := os.Stat(first.Manifest); !os.IsNotExist(err) {
		t.Errorf("the oldest: %v", err)
	}
	if _, err := os.Stat(second.Manifest); err != nil {
		t.Error(err)
	}
	if r := backup("--keep=1"); r.Pruned != 2 || r.PrunedContent != 1 {
		t.Errorf("%+v", r)
	}
	if _, err := os.Stat(contentAt(filepath.Join(to, "content"), gone)); !os.IsNotExist(err) {
		t.Errorf("content that only older backups name: %v", err)
	}
	data := filepath.Join(t.TempDir(), "restored")
	satchel(t, 0, "restore", "--data="+data, "--from="+to)
	satchel(t, 0, "verify", "--data="+data, "--deep")
	for _, args := range [][]string{{"--to=x", "--keep=0"}, {"--to=x", "--keep=-1"}, {"--out=x", "--keep=2"}} {
		satchel(t, 2, append([]string{"backup", "--data=" + f.data}, args...)...)
	}
}
