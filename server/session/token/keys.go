package token

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"satchel/internal/ident"
	"satchel/internal/strictjson"
)

var b64 = base64.RawURLEncoding.Strict()

// maxKeys bounds a KeySet: rotation leaves one or two, so more is a mistake.
const maxKeys = 16

// KeySet holds the keys that access tokens are signed with: the current one
// and earlier ones whose tokens are still good. It is a value; its methods
// return changed copies. Its JSON holds the secret seeds:
//
//	{"keys":[{"kid":"…","seed":"<base64url of 32 bytes>","retired":0},…]}
//
// with the current key first; retired is the instant in milliseconds at which
// a key stopped being the current one.
type KeySet struct {
	keys []key
}

type key struct {
	id      string
	private ed25519.PrivateKey
	retired ident.Millis // 0 for the current key
}

// NewKeySet makes a set of one key from 32 random bytes.
func NewKeySet(random [32]byte) KeySet { return KeySet{keys: []key{newKey(random)}} }

// newKey derives a key and its id: the first 12 bytes of the SHA-256 of the
// public key.
func newKey(seed [32]byte) key {
	private := ed25519.NewKeyFromSeed(seed[:])
	sum := sha256.Sum256(private.Public().(ed25519.PublicKey))
	return key{id: b64.EncodeToString(sum[:12]), private: private}
}

// Rotate makes a key from 32 random bytes the current one. Earlier keys stay
// as long as a token of theirs may be good; those retired longer ago than that
// are dropped. To make every token out there void at once, as when a key may have
// leaked, use NewKeySet instead.
func (s KeySet) Rotate(random [32]byte, now ident.Millis) KeySet {
	next := KeySet{keys: []key{newKey(random)}}
	for _, k := range s.keys {
		if k.retired == 0 {
			k.retired = max(now, 1) // 0 would say that it is current
		}
		if now-k.retired <= Lifetime && len(next.keys) < maxKeys && k.id != next.keys[0].id {
			next.keys = append(next.keys, k)
		}
	}
	return next
}

// Remove takes an earlier key out of the set: its tokens are void at once. ok is
// false where the set has no such key, or it is the current one, of which there
// must be one: Rotate first.
func (s KeySet) Remove(id string) (next KeySet, ok bool) {
	for i, k := range s.keys {
		if k.id == id && i > 0 {
			ok = true
			continue
		}
		next.keys = append(next.keys, k)
	}
	return next, ok
}

// KeyInfo tells of a key without its secret.
type KeyInfo struct {
	ID string `json:"kid"`
	// Retired is when it stopped being the current one, 0 for the current one.
	Retired ident.Millis `json:"retired,omitempty"`
}

// List returns the keys, the current one first.
func (s KeySet) List() []KeyInfo {
	out := make([]KeyInfo, 0, len(s.keys))
	for _, k := range s.keys {
		out = append(out, KeyInfo{k.id, k.retired})
	}
	return out
}

// Current returns the id of the key that signs; "" for an empty set.
func (s KeySet) Current() string {
	if len(s.keys) == 0 {
		return ""
	}
	return s.keys[0].id
}

type keySetJSON struct {
	Keys []keyJSON `json:"keys"`
}

type keyJSON struct {
	ID      string       `json:"kid"`
	Seed    string       `json:"seed"`
	Retired ident.Millis `json:"retired"`
}

// MarshalJSON renders the set with its secrets, for storage.
func (s KeySet) MarshalJSON() ([]byte, error) {
	var out keySetJSON
	for _, k := range s.keys {
		out.Keys = append(out.Keys, keyJSON{k.id, b64.EncodeToString(k.private.Seed()), k.retired})
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote. It refuses a set without exactly
// one current key in first place, a key id that isn't its key's, and a key
// that stands twice. Its errors quote no secrets.
func (s *KeySet) UnmarshalJSON(data []byte) error {
	var in keySetJSON
	if err := strictjson.Decode(data, &in); err != nil {
		return err
	}
	if len(in.Keys) == 0 || len(in.Keys) > maxKeys {
		return fmt.Errorf("token: a key set has 1 to %d keys, not %d", maxKeys, len(in.Keys))
	}
	keys := make([]key, 0, len(in.Keys))
	for i, k := range in.Keys {
		raw, err := b64.DecodeString(k.Seed)
		if err != nil || len(raw) != ed25519.SeedSize || len(k.Seed) != b64.EncodedLen(ed25519.SeedSize) {
			return fmt.Errorf("token: key %d has no seed of %d bytes", i, ed25519.SeedSize)
		}
		made := newKey([32]byte(raw))
		made.retired = k.Retired
		if subtle.ConstantTimeCompare([]byte(made.id), []byte(k.ID)) != 1 {
			return fmt.Errorf("token: key %d is not the one its id names", i)
		}
		if (i == 0) != (k.Retired == 0) {
			return errors.New("token: the first key of a set, and no other, is the current one")
		}
		for _, other := range keys {
			if other.id == made.id {
				return fmt.Errorf("token: key %d stands twice", i)
			}
		}
		keys = append(keys, made)
	}
	s.keys = keys
	return nil
}

// String hides the secrets from %v.
func (s KeySet) String() string { return fmt.Sprintf("token.KeySet(%d keys)", len(s.keys)) }

// GoString hides the secrets from %#v.
func (s KeySet) GoString() string { return s.String() }
