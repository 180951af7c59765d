package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// only reports what is in a folder, with its content.
func only(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if w, ok := want[e.Name()]; !ok || err != nil || string(b) != w {
			t.Errorf("%s: %q %v, want %q", e.Name(), b, err, w)
		}
	}
	if len(list) != len(want) {
		t.Errorf("%v, want %v", list, want)
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	for _, content := range []string{"one", "", "three"} {
		if err := WriteFile(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		only(t, dir, map[string]string{"a": content})
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	if err := WriteFile(filepath.Join(dir, "none", "a"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in no folder: %v", err)
	}
}

// TestWriteBreaksOff: a writer that fails half way leaves what was there, and
// nothing beside it.
func TestWriteBreaksOff(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	if err := WriteFile(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	err := Write(path, func(w io.Writer) error {
		_, err := io.WriteString(w, strings.Repeat("new", 10_000))
		return errors.Join(err, broken)
	})
	if !errors.Is(err, broken) {
		t.Error(err)
	}
	only(t, dir, map[string]string{"a": "old"})
}

func TestRename(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	for path, content := range map[string]string{filepath.Join(a, "x"): "x", filepath.Join(b, "y"): "y"} {
		if err := WriteFile(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := Rename(filepath.Join(a, "x"), filepath.Join(b, "y")); err != nil {
		t.Fatal(err)
	}
	only(t, a, nil)
	only(t, b, map[string]string{"y": "x"})
	if err := Rename(filepath.Join(a, "x"), filepath.Join(b, "z")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestMkdirAll(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b", "c")
	for range 2 {
		if err := MkdirAll(deep); err != nil {
			t.Fatal(err)
		}
	}
	if st, err := os.Stat(deep); err != nil || !st.IsDir() || st.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", st, err)
	}
	if err := WriteFile(filepath.Join(deep, "f"), nil); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(deep, "f"), filepath.Join(deep, "f", "g")} {
		if err := MkdirAll(path); err == nil {
			t.Errorf("%s was made over a file", path)
		}
	}
}
