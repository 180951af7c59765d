package crashtest

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestKill: a server that is killed at any moment has what it acknowledged,
// once, and goes on.
func TestKill(t *testing.T) {
	const rounds = 100
	rep, err := Kill(context.Background(), KillOptions{Binary: program(t), Open: open, Dir: t.TempDir(), Rounds: rounds, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", rep)
	if !rep.OK() {
		if to, err := os.MkdirTemp("", "satchel-violation-*"); err == nil && os.CopyFS(to, os.DirFS(rep.Kept)) == nil {
			t.Logf("the data is kept in %s", to)
		}
		t.Error(rep.Violation)
	}
	if rep.OK() && (rep.Rounds != rounds || rep.Writes == 0 || rep.Mutations == 0 || rep.Uploads == 0 || rep.Renewals == 0 || rep.Unanswered == 0 || rep.Starting == 0) {
		t.Error("something was never done")
	}
}

// TestKilledAtBirth: a server that is killed while it makes its data folder is
// started again and has its tenant, whole, as if nothing had been.
func TestKilledAtBirth(t *testing.T) {
	b := program(t)
	rng := rand.New(rand.NewPCG(9, 9))
	for i := range 12 {
		data := filepath.Join(t.TempDir(), "data")
		args := []string{"--data", data, "--listen", "127.0.0.1:0"}
		for range 1 + i%2 {
			s, lines, err := b.launch(args)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(rng.Int64N(int64(150 * time.Millisecond))))
			s.kill()
			for range lines { // to its end
			}
		}
		s, err := b.start(context.Background(), args...)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		if c := s.complaints(); c != "" {
			t.Errorf("the server logged: %s", c)
		}
		if out, err := b.run("verify", "--data", data, "--tenant", "main"); err != nil {
			t.Errorf("%s %v", out, err)
		}
		list, err := os.ReadDir(filepath.Join(data, "tenants"))
		if err != nil {
			t.Fatal(err)
		}
		if len(list) != 1 || list[0].Name() != "main.db" {
			t.Errorf("there are %v", list)
		}
	}
}
