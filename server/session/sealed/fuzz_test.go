package sealed_test

import (
	"bytes"
	"testing"

	"satchel/server/session/sealed"
)

// FuzzOpen: what was sealed opens for its purpose as it was; with anything
// changed, for another purpose or with another key it does not.
func FuzzOpen(f *testing.F) {
	box, other := sealed.New([32]byte{1}), sealed.New([32]byte{2})
	f.Add([]byte("what"), "purpose", "another", uint(3), byte(1))
	f.Add([]byte{}, "", "x", uint(0), byte(0x80))
	f.Fuzz(func(t *testing.T, what []byte, purpose, another string, at uint, flip byte) {
		if _, ok := box.Open(what, purpose); ok {
			t.Fatal("what nobody sealed opens")
		}
		s := box.Seal(what, purpose)
		if got, ok := box.Open(s, purpose); !ok || !bytes.Equal(got, what) {
			t.Fatalf("%q opens as %q, %v", what, got, ok)
		}
		if _, ok := box.Open(s, another); ok && another != purpose {
			t.Fatal("opens for another purpose")
		}
		if _, ok := other.Open(s, purpose); ok {
			t.Fatal("opens with another key")
		}
		if _, ok := box.Open(s[:at%uint(len(s))], purpose); ok {
			t.Fatal("opens though it is cut")
		}
		if flip != 0 {
			s[at%uint(len(s))] ^= flip
			if _, ok := box.Open(s, purpose); ok {
				t.Fatal("opens though it was changed")
			}
		}
	})
}
