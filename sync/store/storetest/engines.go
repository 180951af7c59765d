package storetest

import (
	"fmt"
	"sync"

	"satchel/sync/store"
)

// Faulty is an engine whose commits fail on demand and which then refuses
// everything, as a [store.Engine] must.
type Faulty struct {
	store.Engine
	// Fail, where not nil, is asked before each commit; an error is reported
	// as a failed commit of which nothing is kept.
	Fail func() error
	// Lose, where not nil, is asked after each commit; an error is reported as
	// a failed commit although everything is kept.
	Lose func() error

	mu     sync.Mutex
	broken error
}

// Update implements [store.Engine].
func (f *Faulty) Update(fn func(store.Writer) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return f.broken
	}
	failed := false
	err := f.Engine.Update(func(w store.Writer) error {
		err := fn(w)
		if err == nil && f.Fail != nil {
			err = f.Fail()
			failed = err != nil
		}
		return err
	})
	if err == nil && f.Lose != nil {
		err = f.Lose()
		failed = err != nil
	}
	if failed {
		f.broken = fmt.Errorf("%w: %w", store.ErrUnknown, err)
		return f.broken
	}
	return err
}

// Snapshot implements [store.Engine].
func (f *Faulty) Snapshot() (store.Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return nil, f.broken
	}
	return f.Engine.Snapshot()
}

// Staged is an engine that makes every write through a [store.Stage].
type Staged struct{ store.Engine }

// Update implements [store.Engine].
func (s Staged) Update(fn func(store.Writer) error) error {
	return s.Engine.Update(func(w store.Writer) error {
		sw := &stageWriter{Stage: store.NewStage(w)}
		defer func() { sw.ended = true }()
		if err := fn(sw); err != nil {
			return err
		}
		return sw.Flush(w)
	})
}

// stageWriter gives a stage the methods of a Writer.
type stageWriter struct {
	*store.Stage
	ended bool
}

func (w *stageWriter) Put(b store.Bucket, k, v []byte) error {
	return w.write(func() { w.Stage.Put(b, k, v) })
}

func (w *stageWriter) Delete(b store.Bucket, k []byte) error {
	return w.write(func() { w.Stage.Delete(b, k) })
}

func (w *stageWriter) write(fn func()) (err error) {
	if w.ended {
		return store.ErrEnded
	}
	defer func() {
		if r := recover(); r != nil {
			err = r.(error)
		}
	}()
	fn()
	return nil
}
