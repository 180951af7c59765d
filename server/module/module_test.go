package module

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestCatalogueGolden makes every change of a type, a field or an action a
// visible one: phones and files rely on the numbers.
func TestCatalogueGolden(t *testing.T) {
	cat, err := Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "catalogue.txt")
	got := cat.Golden()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("the catalogue changed; if that is meant, run with -update (-want +got):\n%s", d)
	}
}
