package state_test

import (
	"testing"

	"satchel/internal/ident"
	"satchel/sync/state"
	"satchel/sync/store"
)

// entry folds nothing at a position, in an epoch, and returns tenant time.
func entry(t *testing.T, eng store.Engine, pos ident.Position, epoch uint64, at ident.Millis) (now ident.Millis) {
	t.Helper()
	w := state.NewWriter(cat)
	if err := eng.Update(func(tx store.Writer) error {
		w.Begin(tx, pos, at)
		w.Enter(epoch)
		now = w.Now()
		_, err := w.Flush(tx)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	snap, err := eng.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	if kept := state.NewReader(cat, snap).Now(); kept != now {
		t.Fatalf("tenant time is %d, %d was stored", now, kept)
	}
	return now
}

// Whatever the clock says, histories that go on from one backup go on at
// instants of their own.
func TestTimeOfNewEpochs(t *testing.T) {
	eng := store.NewMem()
	for pos, at := range []ident.Millis{1000, 2000, 1500} {
		if now := entry(t, eng, ident.Position(pos+1), 7, at); now != max(at, ident.Millis(1000*min(pos+1, 2))) {
			t.Fatalf("entry %d is at %d", pos+1, now)
		}
	}
	met := map[ident.Millis]bool{2000: true}
	for epoch := uint64(8); epoch < 40; epoch++ {
		restored := eng.Clone()
		now := entry(t, restored, 4, epoch, 1500)
		if met[now] || now < 2000 || now > 2000+1<<16 {
			t.Fatalf("epoch %d begins at %d", epoch, now)
		}
		met[now] = true
		if next := entry(t, restored, 5, epoch, 1500); next != now {
			t.Fatalf("epoch %d goes on at %d", epoch, next)
		}
	}
	if now := entry(t, eng, 4, 8, 5_000_000); now != 5_000_000 {
		t.Fatalf("a clock that is right is not followed: %d", now)
	}
}
