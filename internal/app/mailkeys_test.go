package app

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"satchel/internal/ident"
)

// TestMailKeys: keys of before count for thirty days more, in the order in which
// they were made, and with void not at all; what a folder of an earlier version has
// is one key.
func TestMailKeys(t *testing.T) {
	dir := t.TempDir()
	day := func(n int) time.Time { return time.Date(2026, 3, 1+n, 0, 0, 0, 0, time.UTC) }
	good := func(n int) [][32]byte {
		t.Helper()
		keys, err := readMailKeys(dir)
		if err != nil {
			t.Fatal(err)
		}
		return keys.good(ident.MillisOf(day(n)))
	}
	if err := RotateMailKey(dir, rand.Reader, day(0), false); !os.IsNotExist(err) {
		t.Errorf("no key: %v", err)
	}
	first := [32]byte(bytes.Repeat([]byte{1}, 32))
	if err := os.WriteFile(filepath.Join(dir, "mail.key"), first[:], 0o600); err != nil {
		t.Fatal(err)
	}
	turn := func(seed byte, n int, void bool) [32]byte {
		t.Helper()
		key := [32]byte(bytes.Repeat([]byte{seed}, 32))
		if err := RotateMailKey(dir, bytes.NewReader(key[:]), day(n), void); err != nil {
			t.Fatal(err)
		}
		return key
	}
	second := turn(2, 0, false)
	third := turn(3, 20, false)
	for n, want := range map[int][][32]byte{20: {third, second, first}, 30: {third, second, first}, 31: {third, second}, 50: {third, second}, 51: {third}} {
		if got := good(n); !slices.Equal(got, want) {
			t.Errorf("day %d: %d keys, want %d", n, len(got), len(want))
		}
	}
	fourth := turn(4, 40, false)
	if keys, err := readMailKeys(dir); err != nil || len(keys.Keys) != 3 {
		t.Errorf("the first is kept: %d %v", len(keys.Keys), err)
	}
	fifth := turn(5, 40, true)
	if got := good(40); !slices.Equal(got, [][32]byte{fifth}) || fourth == fifth {
		t.Errorf("void: %d keys", len(got))
	}
	if st, err := os.Stat(filepath.Join(dir, "mail.key")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	for _, bad := range []string{"", "short", "{}", `{"keys":[]}`, `{"keys":[{"key":"AAAA"}]}`, `{"keys":[{"key":"` + string(bytes.Repeat([]byte("A"), 43)) + `=","retired":5}]}`} {
		if err := os.WriteFile(filepath.Join(dir, "mail.key"), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readMailKeys(dir); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
