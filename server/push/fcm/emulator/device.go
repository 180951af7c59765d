package emulator

import (
	"encoding/json"
	"slices"
	"time"
)

// State is how a token behaves; the zero value is a device that is there.
type State struct {
	// Away: nothing arrives; messages are stored by FCM's rules until it is back.
	Away bool `json:"away,omitempty"`
	// Dead: the application was removed; sends answer UNREGISTERED.
	Dead bool `json:"dead,omitempty"`
	// Mismatch: the token belongs to another project; SENDER_ID_MISMATCH.
	Mismatch bool `json:"mismatch,omitempty"`
}

// Delivery is one message as a device got it, or will when it is back.
type Delivery struct {
	// Name is what the sender was answered: projects/P/messages/N.
	Name string `json:"name"`
	// Sent is when FCM took it, Arrived when the device got it (zero if not yet).
	Sent        time.Time `json:"sent"`
	Arrived     time.Time `json:"arrived,omitzero"`
	CollapseKey string    `json:"collapseKey,omitempty"`
	// TTL is in nanoseconds from Sent.
	TTL     time.Duration     `json:"ttl"`
	High    bool              `json:"high,omitempty"`
	Visible bool              `json:"visible,omitempty"`
	Data    map[string]string `json:"data,omitempty"`
	// Message is the message's JSON as the sender wrote it.
	Message json.RawMessage `json:"message"`
}

// Token is what the emulator knows of one registration token.
type Token struct {
	Token string `json:"token"`
	State
	// Delivered are the messages that arrived, oldest first; the last 1,000.
	Delivered []Delivery `json:"delivered"`
	// Stored wait for a device that is away.
	Stored []Delivery `json:"stored"`
	// Deleted counts how often more than 100 messages without a collapse key
	// were waiting, so that all of them were dropped; the application is told.
	Deleted int `json:"deleted"`
}

// What FCM stores for a device that is away, and what the emulator remembers.
const (
	maxKeys         = 4
	maxUncollapsed  = 100
	maxRemembered   = 1000
	maxTokens       = 100_000
	maxFaultsQueued = 1000
)

// device is the state behind a token.
type device struct {
	State
	delivered, stored []Delivery
	deleted           int
}

// take delivers a message or stores it, and says which.
func (d *device) take(m Delivery, now time.Time) string {
	if !d.Away {
		d.arrive(m, now)
		return "delivered"
	}
	if m.TTL == 0 {
		return "dropped"
	}
	d.expire(now)
	if m.CollapseKey != "" {
		d.stored = slices.DeleteFunc(d.stored, func(o Delivery) bool { return o.CollapseKey == m.CollapseKey })
		var keys []string
		for _, o := range d.stored {
			if o.CollapseKey != "" {
				keys = append(keys, o.CollapseKey)
			}
		}
		if len(keys) >= maxKeys {
			// FCM keeps four keys and doesn't promise which: here the oldest goes.
			d.stored = slices.DeleteFunc(d.stored, func(o Delivery) bool { return o.CollapseKey == keys[0] })
		}
		d.stored = append(d.stored, m)
		return "stored"
	}
	single := 0
	for _, o := range d.stored {
		if o.CollapseKey == "" {
			single++
		}
	}
	if single >= maxUncollapsed {
		d.stored = nil
		d.deleted++
		return "dropped"
	}
	d.stored = append(d.stored, m)
	return "stored"
}

func (d *device) arrive(m Delivery, now time.Time) {
	m.Arrived = now
	d.delivered = append(d.delivered, m)
	if len(d.delivered) > maxRemembered {
		d.delivered = slices.Clone(d.delivered[len(d.delivered)-maxRemembered:])
	}
}

// expire drops what waited longer than its TTL.
func (d *device) expire(now time.Time) {
	d.stored = slices.DeleteFunc(d.stored, func(m Delivery) bool { return now.Sub(m.Sent) >= m.TTL })
}

// back delivers what is stored.
func (d *device) back(now time.Time) {
	d.expire(now)
	for _, m := range d.stored {
		d.arrive(m, now)
	}
	d.stored = nil
}
