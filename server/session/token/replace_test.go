package token

import (
	"slices"
	"sync"
	"testing"

	"satchel/internal/fault"
)

// TestReplace: tokens of keys that stay are good, those of a key that goes are
// not, even where they were remembered, and new ones bear the new key.
func TestReplace(t *testing.T) {
	for _, remember := range []int{0, 16} {
		keys := NewKeySet(seed(1))
		s := signer(t, keys, remember)
		old := mint(t, s, someone())
		check := func(tok string, good bool) {
			t.Helper()
			_, err := s.Verify(tok, now)
			if good != (err == nil) || !good && !fault.Is(err, fault.InvalidToken) {
				t.Fatalf("remembering %d: %v", remember, err)
			}
		}
		check(old, true)
		rotated := keys.Rotate(seed(2), now)
		if err := s.Replace(rotated); err != nil {
			t.Fatal(err)
		}
		fresh := mint(t, s, someone())
		check(old, true)
		check(fresh, true)
		first := keys.Current()
		if _, ok := rotated.Remove(rotated.Current()); ok {
			t.Fatal("the current key was removed")
		}
		if _, ok := rotated.Remove("other"); ok {
			t.Fatal("a key that is none was removed")
		}
		next, ok := rotated.Remove(first)
		if !ok || slices.ContainsFunc(next.List(), func(k KeyInfo) bool { return k.ID == first }) || next.Current() != rotated.Current() {
			t.Fatalf("%+v", next.List())
		}
		if err := s.Replace(next); err != nil {
			t.Fatal(err)
		}
		check(old, false)
		check(fresh, true)
		if err := s.Replace(KeySet{}); err == nil {
			t.Fatal("no keys at all are taken")
		}
		check(fresh, true)
	}
}

// TestReplaceWhileVerifying has many verify while keys change; whoever holds a
// token of a key that is never taken away is never refused.
func TestReplaceWhileVerifying(t *testing.T) {
	keys := NewKeySet(seed(1))
	s := signer(t, keys, 16)
	tok := mint(t, s, someone())
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := s.Verify(tok, now); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	for i := range 50 {
		if err := s.Replace(keys.Rotate(seed(byte(2+i)), now)); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}
