package outbox

import (
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"satchel/internal/ident"
	"satchel/sync/store"
)

// Intent is something to be sent to one person. It holds no words and nothing
// of the record it is about: those are read when it is sent, with the eyes that
// the person has then.
type Intent struct {
	// ID is opaque and the same at every attempt.
	ID     string         `json:"id"`
	Person ident.RecordID `json:"person"`
	Event  string         `json:"event"`
	// About is what the person must see, "" for news that name nothing.
	About ident.RecordID `json:"about,omitempty"`
	// Notification is the record in the person's inbox, "" for none.
	Notification ident.RecordID `json:"notification,omitempty"`
	Category     Category       `json:"category"`
	High         bool           `json:"high,omitempty"`
	Urgent       bool           `json:"urgent,omitempty"`
	// Channels are those left.
	Channels Channels     `json:"channels"`
	Created  ident.Millis `json:"created"`
	// Attempts counts the failed ones.
	Attempts int `json:"attempts,omitempty"`
	// NotBefore is when it is looked at next.
	NotBefore ident.Millis `json:"notBefore"`
	// Reached are the devices that have the push already.
	Reached []ident.DeviceID `json:"reached,omitempty"`
	// By is who did it, only where that is told.
	By ident.RecordID `json:"by,omitempty"`
	// Except is a device that learns of it by other means: the one that sent
	// what was refused.
	Except ident.DeviceID `json:"except,omitempty"`
	// Nonce is what the token is derived from that a letter of the events
	// Invitation and PasswordReset carries. It is worth nothing without the
	// server's key.
	Nonce []byte `json:"nonce,omitempty"`
}

// Events of letters that carry a token. They are no news: no rule tells of
// them, no preference turns them off, and their person may not be active yet.
const (
	Invitation    = "invitation"
	PasswordReset = "password-reset"
)

var lower32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewID makes an intent's id of the instant and randomness.
func NewID(at ident.Millis, random [15]byte) string {
	return fmt.Sprintf("%012x", uint64(at)&(1<<48-1)) + lower32.EncodeToString(random[:])
}

// maxID bounds what is taken for an id.
const maxID = 64

func intentRow(id string) []byte { return append([]byte{'i'}, id...) }

func nextRow(at ident.Millis, id string) []byte {
	b := binary.BigEndian.AppendUint64([]byte{'n'}, uint64(at)^1<<63)
	return append(b, id...)
}

// Writer takes the rows of a change that is being applied.
type Writer interface {
	Get(b store.Bucket, key []byte) []byte
	Put(b store.Bucket, k, v []byte)
	Delete(b store.Bucket, k []byte)
}

// Read returns an intent; ok is false where it is done with.
func Read(kv interface {
	Get(b store.Bucket, key []byte) []byte
}, id string,
) (in Intent, ok bool) {
	if id == "" || len(id) > maxID {
		return in, false
	}
	v := kv.Get(store.Outbox, intentRow(id))
	return in, v != nil && json.Unmarshal(v, &in) == nil
}

// Put stores an intent in the place of the one with its id, if there is one.
func Put(w Writer, in Intent) {
	if old, ok := Read(w, in.ID); ok && old.NotBefore != in.NotBefore {
		w.Delete(store.Outbox, nextRow(old.NotBefore, old.ID))
	}
	b, err := json.Marshal(in)
	if err != nil {
		panic(err) // an Intent always can be
	}
	w.Put(store.Outbox, intentRow(in.ID), b)
	w.Put(store.Outbox, nextRow(in.NotBefore, in.ID), nil)
}

// Delete forgets an intent that is stored.
func Delete(w Writer, in Intent) {
	w.Delete(store.Outbox, nextRow(in.NotBefore, in.ID))
	w.Delete(store.Outbox, intentRow(in.ID))
}

// Due calls f with the intents that are to be looked at by now, those first
// that have waited longest, until f returns false. next is when the first one
// after them is to be looked at; ok is false where there is none, or f ended it.
func Due(kv store.Reader, now ident.Millis, f func(Intent) bool) (next ident.Millis, ok bool) {
	store.ScanPrefix(kv, store.Outbox, []byte{'n'}, func(k, _ []byte) bool {
		if len(k) < 10 {
			return true
		}
		if at := ident.Millis(binary.BigEndian.Uint64(k[1:]) ^ 1<<63); at > now {
			next, ok = at, true
			return false
		}
		in, there := Read(kv, string(k[9:]))
		return !there || f(in)
	})
	return next, ok
}

// Each calls f with every intent, until f returns false.
func Each(kv store.Reader, f func(Intent) bool) {
	store.ScanPrefix(kv, store.Outbox, []byte{'i'}, func(_, v []byte) bool {
		var in Intent
		return json.Unmarshal(v, &in) != nil || f(in)
	})
}

// Backlog returns how many intents there are and when the oldest was made, 0
// for none. It walks them all.
func Backlog(kv store.Reader) (n int, oldest ident.Millis) {
	store.ScanPrefix(kv, store.Outbox, []byte{'i'}, func(_, v []byte) bool {
		if n++; n == 1 {
			var in Intent
			if json.Unmarshal(v, &in) == nil {
				oldest = in.Created
			}
		}
		return true
	})
	return n, oldest
}
