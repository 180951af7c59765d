package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"satchel/internal/durable"
	"satchel/internal/ident"
	"satchel/server/session/token"
)

// keysFile is where a data folder has the keys of access tokens.
const keysFile = "keys.json"

// watchEvery is how often it is looked whether keys or the certificate were
// changed: what was withdrawn counts for nothing a moment later.
const watchEvery = 250 * time.Millisecond

// watch takes over changed signing keys and certificates until ctx ends, and
// notes the time. What can't be read is left as it was, and logged.
func (a *App) watch(ctx context.Context) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if a.clock != nil {
			a.clock.noteSometimes()
		}
		if a.keys.changed() {
			keys, err := readKeys(a.cfg.Dir)
			if err == nil {
				err = a.signer.Replace(keys)
			}
			a.reloaded("signing keys", err)
		}
		if a.letters.keys.changed() {
			a.reloaded("keys of mails", a.letters.reload())
		}
		if a.acts.changed() {
			a.tenants.Each(a.tenants.pay)
		}
		for _, c := range []*certificate{a.cert, a.letters.cert} {
			if c != nil && c.watched.changed() {
				a.reloaded("TLS certificate", c.read())
			}
		}
	}
}

func (a *App) reloaded(what string, err error) {
	if err != nil {
		a.cfg.Log.Error("reload failed", slog.String("what", what), slog.String("error", err.Error()))
		return
	}
	a.cfg.Log.Info("reloaded", slog.String("what", what))
}

func readKeys(dir string) (keys token.KeySet, err error) {
	path := filepath.Join(dir, keysFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return keys, err
	}
	if err := json.Unmarshal(b, &keys); err != nil {
		return keys, fmt.Errorf("%s: %w", path, err)
	}
	return keys, nil
}

func writeKeys(dir string, keys token.KeySet) error {
	b, err := json.Marshal(keys)
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(dir, keysFile), b)
}

// signingKeys reads the server's signing keys, making them in a new folder.
func signingKeys(dir string, from io.Reader) (token.KeySet, error) {
	keys, err := readKeys(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return keys, err
	}
	var random [32]byte
	if _, err := io.ReadFull(from, random[:]); err != nil {
		return keys, err
	}
	keys = token.NewKeySet(random)
	return keys, writeKeys(dir, keys)
}

// AccessKeys returns the keys that a data folder signs access tokens with.
func AccessKeys(dir string) ([]token.KeyInfo, error) {
	keys, err := readKeys(dir)
	return keys.List(), err
}

// RotateAccessKeys makes a key of 32 bytes from random the one that new access
// tokens are signed with. The keys before it verify until their last token has
// expired; with void they go at once, and everybody has to refresh. A server
// that runs on the folder takes the change over by itself.
func RotateAccessKeys(dir string, random io.Reader, now time.Time, void bool) ([]token.KeyInfo, error) {
	keys, err := readKeys(dir)
	if err != nil {
		return nil, err
	}
	var seed [32]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return nil, err
	}
	if void {
		keys = token.NewKeySet(seed)
	} else {
		keys = keys.Rotate(seed, ident.MillisOf(now))
	}
	return keys.List(), writeKeys(dir, keys)
}

// RemoveAccessKey makes the tokens of an earlier key void.
func RemoveAccessKey(dir, id string) ([]token.KeyInfo, error) {
	keys, err := readKeys(dir)
	if err != nil {
		return nil, err
	}
	next, ok := keys.Remove(id)
	if !ok {
		return nil, fmt.Errorf("%q is no key that can be removed; the current one is replaced by rotating", id)
	}
	return next.List(), writeKeys(dir, next)
}
