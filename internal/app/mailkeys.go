package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"satchel/internal/durable"
	"satchel/internal/ident"
	"satchel/internal/strictjson"
)

// mailKeyFile is where a data folder has the keys of links and addresses in
// mails: one key's bytes, or since the first rotation mailKeys as JSON.
const mailKeyFile = "mail.key"

// mailOverlap is for how long what stands in mails of an earlier key is good:
// mail comes back for fifteen days, and people unsubscribe by mails of last month.
const mailOverlap ident.Millis = 30 * 24 * 60 * 60 * 1000

// maxMailKeys bounds the keys of a file; the oldest go first.
const maxMailKeys = 16

// mailKeys are the keys of mails, the one that new mails are made with first.
type mailKeys struct {
	Keys []mailKey `json:"keys"`
}

type mailKey struct {
	Key []byte `json:"key"` // 32 bytes
	// Retired is when it stopped being the first, 0 for the first.
	Retired ident.Millis `json:"retired,omitempty"`
}

// good lists the keys that count at an instant.
func (k mailKeys) good(now ident.Millis) (out [][32]byte) {
	for i, key := range k.Keys {
		if i == 0 || now-key.Retired <= mailOverlap {
			out = append(out, [32]byte(key.Key))
		}
	}
	return out
}

// rotate makes a key the first one; those before it stay for mailOverlap.
func (k mailKeys) rotate(key [32]byte, now ident.Millis) mailKeys {
	next := mailKeys{Keys: []mailKey{{Key: key[:]}}}
	for _, old := range k.Keys {
		if old.Retired == 0 {
			old.Retired = max(now, 1) // 0 would say that it is the first
		}
		if now-old.Retired <= mailOverlap && len(next.Keys) < maxMailKeys {
			next.Keys = append(next.Keys, old)
		}
	}
	return next
}

// readMailKeys reads the keys of a folder. Its errors quote no secrets.
func readMailKeys(dir string) (keys mailKeys, err error) {
	path := filepath.Join(dir, mailKeyFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return keys, err
	}
	if len(b) == 32 {
		return mailKeys{Keys: []mailKey{{Key: b}}}, nil
	}
	if err := strictjson.Decode(b, &keys); err != nil || len(keys.Keys) == 0 || len(keys.Keys) > maxMailKeys {
		return keys, fmt.Errorf("%s: %d bytes are no keys", path, len(b))
	}
	for i, k := range keys.Keys {
		if len(k.Key) != 32 || (i == 0) != (k.Retired == 0) {
			return keys, fmt.Errorf("%s: key %d is none", path, i)
		}
	}
	return keys, nil
}

// someMailKeys reads the keys of a folder, making one in a new folder. Mails are
// old when people think better of them.
func someMailKeys(dir string, from io.Reader) (keys mailKeys, err error) {
	if keys, err = readMailKeys(dir); !errors.Is(err, fs.ErrNotExist) {
		return keys, err
	}
	var key [32]byte
	if _, err := io.ReadFull(from, key[:]); err != nil {
		return keys, err
	}
	return mailKeys{Keys: []mailKey{{Key: key[:]}}}, durable.WriteFile(filepath.Join(dir, mailKeyFile), key[:])
}

// RotateMailKey makes a key of 32 bytes from random the one that links and
// addresses in new mails are made with. What stands in mails sent before is good
// for thirty days more; with void it is void at once. A server that runs on the
// folder takes the change over by itself.
func RotateMailKey(dir string, random io.Reader, now time.Time, void bool) error {
	keys, err := readMailKeys(dir)
	if err != nil {
		return err
	}
	var key [32]byte
	if _, err := io.ReadFull(random, key[:]); err != nil {
		return err
	}
	if void {
		keys = mailKeys{}
	}
	b, err := json.Marshal(keys.rotate(key, ident.MillisOf(now)))
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(dir, mailKeyFile), b)
}
