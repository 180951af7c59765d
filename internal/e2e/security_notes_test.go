package e2e_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// named is how SECURITY.md names a test: the package's folder, a point, the
// function.
var named = regexp.MustCompile("`((?:cmd|internal|mobile-api|server|sync)(?:/[a-z0-9]+)*)\\.((?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9]*)`")

// TestSecurityNotes: every test that SECURITY.md names is there.
func TestSecurityNotes(t *testing.T) {
	root := filepath.Join("..", "..")
	notes, err := os.ReadFile(filepath.Join(root, "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	sources := map[string]string{}
	source := func(dir string) string {
		if s, ok := sources[dir]; ok {
			return s
		}
		files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(dir), "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		var all strings.Builder
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(b)
		}
		sources[dir] = all.String()
		return sources[dir]
	}
	n := 0
	for _, m := range named.FindAllStringSubmatch(string(notes), -1) {
		n++
		if !strings.Contains(source(m[1]), "\nfunc "+m[2]+"(") {
			t.Errorf("%s has no %s", m[1], m[2])
		}
	}
	// What looks like a test's name stands in that form, so that it is checked.
	if loose := len(regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9]*\b`).FindAllString(string(notes), -1)); loose-n > 1 { // -run TestRevoked…
		t.Errorf("%d names of tests are not in the form `package.Test`", loose-n)
	}
	if n < 80 {
		t.Errorf("only %d tests are named", n)
	}
}
