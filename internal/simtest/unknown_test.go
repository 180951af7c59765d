package simtest

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/sync/store"
	"satchel/sync/tenant"
	"satchel/sync/verify"
)

// TestUnknownOutcome: a commit of which the disk does not say whether it took
// hold stops the tenant; everybody is told to try again. Opened again it is whole,
// with the change or without, and the same request does it once.
func TestUnknownOutcome(t *testing.T) {
	w := worlds()
	opened := byte(0)
	open := func(eng store.Engine) *tenant.Tenant {
		opened++ // each start of a server has a name of its own
		ten, err := tenant.Open(tenant.Options{
			ID: "acme", Cat: w.plain.Cat, Roles: w.plain.Roles, Field: w.plain.Field, Rules: w.plain.Rules, Engine: eng,
			Clock: func() time.Time { return time.UnixMilli(int64(start)) }, Random: rand.NewChaCha8([32]byte{opened}),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ten.Close() })
		return ten
	}
	for name, kept := range map[string]bool{"kept": true, "lost": false} {
		t.Run(name, func(t *testing.T) {
			s := newSim(0)
			t.Cleanup(s.close)
			mem := s.template().Clone()
			ten := open(mem)
			create := func() *command.Command {
				return &command.Command{Actor: "emp-svcmgr", Write: &command.Write{
					Op: "create", Type: "comment", Fields: obj("parent", "client-aa", "text", "once"), Key: "key-1", KeyHash: []byte("hash"),
				}}
			}
			if kept {
				mem.LoseCommit = func() error { return errors.New("fsync failed") }
			} else {
				mem.FailCommit = func() error { return errors.New("fsync failed") }
			}
			for range 2 {
				_, err := ten.Submit(context.Background(), create())
				if !fault.Is(err, fault.TenantStopped) || fault.Of(err).Code.Kind() != fault.Unavailable {
					t.Fatalf("answered %v, not to try again", err)
				}
			}
			if !errors.Is(ten.Failed(), store.ErrUnknown) {
				t.Fatalf("stopped by %v", ten.Failed())
			}
			again := open(mem.Clone())
			err := again.Read(func(v *tenant.View) error {
				if rep := verify.Run(w.plain.Cat, v.KV(), nil); !rep.OK() {
					t.Errorf("opened again: %v", rep.Problems)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			first, err := again.Submit(context.Background(), create())
			if err != nil || first.Replayed != kept {
				t.Fatalf("tried again: %v, told of the first %v", err, first.Replayed)
			}
			if second, err := again.Submit(context.Background(), create()); err != nil || !second.Replayed || second.ID != first.ID {
				t.Fatalf("once more: %v, %s after %s", err, second.ID, first.ID)
			}
		})
	}
}
