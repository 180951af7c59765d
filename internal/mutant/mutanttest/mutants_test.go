package mutanttest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"satchel/internal/mutant"
)

// TestMutants plants every fault and has the first of its killers that can find
// it do so.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("plants every fault")
	}
	// Another build of everything and some minutes; what is left of the test
	// binary's time bounds it.
	ctx := context.Background()
	if at, ok := t.Deadline(); ok {
		var stop func()
		ctx, stop = context.WithDeadline(ctx, at.Add(-10*time.Second))
		defer stop()
	}
	rep := Run(ctx, Options{})
	var b bytes.Buffer
	if err := rep.Write(&b); err != nil {
		t.Fatal(err)
	}
	if !rep.OK() {
		t.Fatal(b.String())
	}
	t.Log(b.String())
	if len(rep.Rows) < 40 {
		t.Errorf("only %d faults were planted", len(rep.Rows))
	}
}

// faults reads the table as a build with the switch prints it.
func faults(t *testing.T, dir string) []mutant.Fault {
	t.Helper()
	bin := filepath.Join(dir, "list.test")
	command(t, "go", "test", "-c", "-tags", tag, "-o", bin, "satchel/internal/mutant")
	cmd := exec.Command(bin)
	cmd.Env = append(os.Environ(), "SATCHEL_MUTANT=list")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []mutant.Fault
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func command(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return out
}

// TestProductHasNoSwitch builds the program without the tag and looks for
// anything of the switch in it: names of faults, the variable, symbols. The same
// search finds all of that in a build with the tag.
func TestProductHasNoSwitch(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program twice")
	}
	dir := t.TempDir()
	all := faults(t, dir)
	if len(all) < 40 {
		t.Fatalf("the table has %d faults", len(all))
	}
	traces := func(path string) (found []string) {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if bytes.Contains(raw, []byte(f.Name)) {
				found = append(found, f.Name)
			}
		}
		// The program can run the tests of a build with the switch (satchel
		// torture), so it knows how a fault is asked for and what a table of them
		// looks like. It must not hold the table, nor anything that asks it.
		for _, s := range []string{"satchel/internal/mutant.On", "internal/mutant/on.go", "internal/mutant/table.go"} {
			if bytes.Contains(raw, []byte(s)) {
				found = append(found, s)
			}
		}
		for line := range strings.Lines(string(command(t, "go", "tool", "nm", path))) {
			fields := strings.Fields(line) // address, kind, name
			name, ok := strings.CutPrefix(fields[len(fields)-1], "satchel/internal/mutant.")
			if ok && !strings.HasPrefix(name, "Killer.") && !strings.HasPrefix(name, "(*Killer).") {
				found = append(found, "symbol "+name)
			}
		}
		return found
	}
	product, switched := filepath.Join(dir, "product"), filepath.Join(dir, "switched")
	command(t, "go", "build", "-o", product, "satchel/cmd/satchel")
	if found := traces(product); len(found) > 0 {
		t.Errorf("the product has of the switch: %q", found)
	}
	command(t, "go", "build", "-tags", tag, "-o", switched, "satchel/cmd/satchel")
	if found := traces(switched); len(found) < len(all)+3 {
		t.Errorf("of %d faults only %q are found where they must be", len(all), found)
	}

	t.Run("serves nobody", func(t *testing.T) {
		data := filepath.Join(dir, "data")
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		out, err := exec.CommandContext(ctx, switched, "serve", "--data", data, "--listen", "127.0.0.1:0").CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || ctx.Err() != nil || !strings.Contains(string(out), tag) {
			t.Errorf("serve of a build with the switch: %v\n%s", err, out)
		}
		if _, err := os.Stat(data); err == nil {
			t.Error("it has made its folder")
		}
	})
	t.Run("knows its faults", func(t *testing.T) {
		cmd := exec.Command(switched, "sim", "--seeds", "1", "--steps", "1")
		cmd.Env = append(os.Environ(), "SATCHEL_MUTANT=no/such-fault")
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 3 || !strings.Contains(string(out), "no/such-fault") {
			t.Errorf("an unknown fault: %v\n%s", err, out)
		}
	})
}

var (
	named   = regexp.MustCompile(`^[a-z]+/[a-z]+(-[a-z]+)*$`)
	breaks  = regexp.MustCompile(`^I[1-6](, I[1-6])*: \S.*[^.]$`)
	planted = regexp.MustCompile(`mutant\.On\(mutant\.(\w+)\)`)
	listed  = regexp.MustCompile(`(?m)^\t\tID:\s+(\w+),`)
)

// TestTable holds the table against the sources: every fault has one name, is
// planted where the table says and nowhere else, and names killers that are
// there.
func TestTable(t *testing.T) {
	all := faults(t, t.TempDir())
	top, err := root()
	if err != nil {
		t.Fatal(err)
	}
	at := map[string][]string{} // identifier -> files
	err = filepath.WalkDir(top, func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != top || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir(), !strings.HasSuffix(path, ".go"), strings.Contains(filepath.ToSlash(path), "/internal/mutant/"):
			return nil
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		for _, m := range planted.FindAllStringSubmatch(string(raw), -1) {
			if files := at[m[1]]; len(files) == 0 || files[len(files)-1] != filepath.ToSlash(rel) {
				at[m[1]] = append(files, filepath.ToSlash(rel))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile(filepath.Join(top, "internal", "mutant", "table.go"))
	if err != nil {
		t.Fatal(err)
	}
	ids := listed.FindAllStringSubmatch(string(table), -1)
	if len(ids) != len(all) {
		t.Fatalf("the table has %d faults, %d are listed", len(ids), len(all))
	}
	names := map[string]bool{}
	for i, f := range all {
		id := ids[i][1]
		if !named.MatchString(f.Name) || names[f.Name] {
			t.Errorf("%s is called %q", id, f.Name)
		}
		names[f.Name] = true
		if f.Broken == "" || !breaks.MatchString(f.Breaks) {
			t.Errorf("%s: broken %q, breaks %q", f.Name, f.Broken, f.Breaks)
		}
		file, where, ok := strings.Cut(f.Where, ": ")
		if !ok || where == "" || len(at[id]) != 1 || at[id][0] != file {
			t.Errorf("%s is said to be planted in %q, it is in %q", f.Name, f.Where, at[id])
		}
		delete(at, id)
		if len(f.Killers) == 0 {
			t.Errorf("%s has no killer", f.Name)
		}
		for _, k := range f.Killers {
			switch k.Kind {
			case mutant.Simulation, mutant.Twins:
			case mutant.Directed:
				if !hasTest(t, filepath.Join(top, filepath.FromSlash(k.Package)), k.Test) {
					t.Errorf("%s: there is no %s", f.Name, k)
				}
			default:
				t.Errorf("%s has a killer of kind %q", f.Name, k.Kind)
			}
		}
	}
	for id, files := range at {
		t.Errorf("%s is planted in %q and not in the table", id, files)
	}
}

// hasTest reports whether a folder's test files have a test.
func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(raw, []byte("\nfunc "+name+"(t *testing.T) {")) {
			return true
		}
	}
	return false
}

// TestRefusals: what can't be found out is said, and is no success.
func TestRefusals(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	if rep := Run(t.Context(), Options{Only: []string{"no/such-fault"}}); rep.OK() || !strings.Contains(rep.Err.Error(), "no/such-fault") {
		t.Errorf("an unknown fault: %v", rep.Err)
	}
	if rep := Run(t.Context(), Options{Root: t.TempDir()}); rep.OK() {
		t.Error("a folder without sources")
	}
	over, stop := context.WithCancel(t.Context())
	stop()
	if rep := Run(over, Options{}); rep.OK() {
		t.Error("a context that is over")
	}
}
