package oplog_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"satchel/sync/oplog"
	"satchel/sync/oplog/oplogtest"
	"satchel/sync/store"
	"satchel/sync/store/storetest"
)

var errInjected = errors.New("injected")

// once returns an error the first time after it is armed.
type once struct{ armed bool }

func (o *once) hit() error {
	if !o.armed {
		return nil
	}
	o.armed = false
	return errInjected
}

// node is a machine whose engine is opened by open and let go by drop.
type node struct {
	open       func() (store.Engine, error)
	drop       func()
	engine     *storetest.Faulty
	fail, lose once
}

func (n *node) Open(f oplog.Folder, opts oplog.Options) (oplog.Log, error) {
	if n.engine == nil {
		e, err := n.open()
		if err != nil {
			return nil, err
		}
		n.engine = &storetest.Faulty{Engine: e, Fail: n.fail.hit, Lose: n.lose.hit}
	}
	return oplog.Open(n.engine, f, opts)
}

func (n *node) Engine() store.Engine { return n.engine }

func (n *node) Crash() {
	n.drop()
	n.engine = nil
}

func (n *node) FailCommit(kept bool) {
	if kept {
		n.lose.armed = true
	} else {
		n.fail.armed = true
	}
}

func (n *node) Close() {
	if n.engine != nil {
		n.drop()
	}
}

func TestMemLog(t *testing.T) {
	oplogtest.Run(t, func(oplogtest.TB) oplogtest.Node {
		m := store.NewMem()
		return &node{
			open: func() (store.Engine, error) { return m, nil },
			drop: func() { m = m.Clone() },
		}
	})
}

func TestBoltLog(t *testing.T) {
	root := t.TempDir()
	oplogtest.Run(t, func(t oplogtest.TB) oplogtest.Node {
		dir, err := os.MkdirTemp(root, "")
		if err != nil {
			t.Fatalf("%v", err)
		}
		n := &node{}
		n.open = func() (store.Engine, error) {
			return store.OpenBolt(filepath.Join(dir, "tenant.db"), store.Options{NoSync: true})
		}
		n.drop = func() {
			if err := n.engine.Close(); err != nil {
				t.Fatalf("%v", err)
			}
		}
		return n
	})
}

type nothing struct{}

func (nothing) Fold(store.Writer, oplog.Entry) error { return nil }
func (nothing) Committed(oplog.Entry)                {}
func (nothing) Aborted(oplog.Entry, error)           {}

func BenchmarkAppend(b *testing.B) {
	e, err := store.OpenBolt(filepath.Join(b.TempDir(), "tenant.db"), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	l, err := oplog.Open(e, nothing{}, oplog.Options{})
	if err != nil {
		b.Fatal(err)
	}
	command := make([]byte, 300)
	d := oplog.Draft{Proposer: "p", Commands: [][]byte{command, command, command}}
	for b.Loop() {
		d.Number++
		if _, err := l.Append(context.Background(), d); err != nil {
			b.Fatal(err)
		}
	}
}
