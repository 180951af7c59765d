package client

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"io"
)

// fileIdentity tells a store file from a copy of it. Inode and device where
// the system has them, the path otherwise and as a second witness.
type fileIdentity struct {
	Device uint64 `json:"device,omitempty"`
	Inode  uint64 `json:"inode,omitempty"`
	Path   string `json:"path"`
}

// same reports whether both are one file. Device numbers may change when a
// machine starts anew, and a file may be moved; a copy has another inode.
func (f fileIdentity) same(o fileIdentity) bool {
	if f.Inode == 0 || o.Inode == 0 {
		return f.Path == o.Path
	}
	return f.Inode == o.Inode && (f.Device == o.Device || f.Path == o.Path)
}

// storeLabel stands beside the store file. The stamp is changed at each Open and
// Close, in the store and here, so an older state of the file put back in its
// place is noticed although it is the same file.
type storeLabel struct {
	Installation string       `json:"installation"`
	File         fileIdentity `json:"file"`
	Stamp        string       `json:"stamp"`
	// Next is the stamp about to be written to the store: whichever of the
	// two the store has after a crash is right.
	Next string `json:"next,omitempty"`
}

func readLabel(st store) (l storeLabel, ok bool, err error) {
	b, err := st.label()
	if err != nil || b == nil {
		return storeLabel{}, false, err
	}
	if json.Unmarshal(b, &l) != nil {
		return storeLabel{}, false, nil // damaged counts as absent
	}
	return l, true, nil
}

func writeLabel(st store, l storeLabel) error {
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return st.setLabel(b)
}

var lower32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// randomText returns n random bytes as lower-case base32; from is crypto/rand
// where nil. A source that fails is a programming error of whoever injected it.
func randomText(from io.Reader, n int) string {
	b := make([]byte, n)
	if from == nil {
		from = rand.Reader
	}
	if _, err := io.ReadFull(from, b); err != nil {
		panic("client: source of randomness failed: " + err.Error())
	}
	return lower32.EncodeToString(b)
}
