package fcm

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"firebase.google.com/go/v4/messaging"
)

// Message is one push for one device. Nothing in it but the token, the
// collapse key, the flags and a digest of Key reaches the carrier.
type Message struct {
	// Token is the device's registration token.
	Token string
	// Category names what the message is about, for logs and metrics: lower-case
	// letters, digits, dots, underscores and hyphens, at most 40. It is not sent.
	Category string
	// Key identifies this delivery: the same at every attempt, 1 to 200 bytes.
	// The device gets ID(Key), by which it can tell a repeated delivery.
	Key string
	// CollapseKey is "sync", "jobs", "tickets" or "access" (a carrier keeps the
	// last message per key for a device that is away, and four keys), or empty
	// for a message that must not be replaced by another.
	CollapseKey string
	// High asks for delivery at once, waking the device. Carriers demote
	// applications whose urgent messages show nothing, so it counts only
	// together with Visible.
	High bool
	// TTL is how long the carrier keeps the message for a device that is away:
	// 0 (now or never) to 28 days. Fractions of a second are cut off.
	TTL time.Duration
	// Visible adds a line for the person to see, always a general one.
	Visible bool
	// Language is the person's language as a tag ("de", "fr-CA"); other
	// languages than those of the table get English.
	Language string
	// Attempt counts the earlier failed attempts; it sets the back-off.
	Attempt int
}

// The collapse keys.
const (
	CollapseSync    = "sync"
	CollapseJobs    = "jobs"
	CollapseTickets = "tickets"
	CollapseAccess  = "access"
)

// Bounds of a message. FCM takes 4,096 bytes of payload; a test holds ours
// beneath half of that.
const (
	maxPayload  = 2048
	maxToken    = 1024
	maxKey      = 200
	maxCategory = 40
	maxTTL      = 28 * 24 * time.Hour
)

// ID is what the device sees of a delivery's key: 22 characters of base64url,
// a digest, so that neither the key nor its length tells anything.
func ID(key string) string {
	sum := sha256.Sum256([]byte("satchel push\x00" + key))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// check returns the reason to reject a message before it is sent, or "". The
// SDK refuses a whole call for one message it finds wrong, and Google answers
// a malformed token with an error that looks like our own mistake.
func check(m *Message) string {
	switch {
	case !wellFormedToken(m.Token):
		return ReasonToken
	case m.Category == "" || len(m.Category) > maxCategory || !only(m.Category, "._-"):
		return ReasonCategory
	case m.Key == "" || len(m.Key) > maxKey:
		return ReasonKey
	case m.TTL < 0 || m.TTL > maxTTL:
		return ReasonTTL
	}
	switch m.CollapseKey {
	case "", CollapseSync, CollapseJobs, CollapseTickets, CollapseAccess:
		return ""
	default:
		return ReasonCollapseKey
	}
}

// wellFormedToken tells whether a string can be a registration token: 8 to
// 1,024 letters, digits and the few other characters they are made of.
func wellFormedToken(t string) bool {
	return len(t) >= 8 && len(t) <= maxToken && only(strings.ToLower(t), ":-_.=%~")
}

// only tells whether s has nothing but lower-case letters, digits and the
// characters of also.
func only(s, also string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && strings.IndexByte(also, c) < 0 {
			return false
		}
	}
	return true
}

// payload makes what goes over the wire. now is the time of the whole Send, so
// that the one field derived from the clock is the same for all its messages.
func (s *Sender) payload(m *Message, now time.Time) *messaging.Message {
	ttl := m.TTL.Truncate(time.Second)
	seconds := strconv.FormatInt(int64(ttl/time.Second), 10)
	high := m.High && m.Visible
	android := &messaging.AndroidConfig{CollapseKey: m.CollapseKey, Priority: "normal", TTL: &ttl}
	// Expiration 0 is Apple's "now or never".
	apns := map[string]string{"apns-priority": "5", "apns-push-type": "background", "apns-expiration": "0"}
	web := map[string]string{"TTL": seconds, "Urgency": "normal"}
	if ttl > 0 {
		apns["apns-expiration"] = strconv.FormatInt(now.Add(ttl).Unix(), 10)
	}
	if m.CollapseKey != "" {
		apns["apns-collapse-id"] = m.CollapseKey
		web["Topic"] = m.CollapseKey
	}
	aps := &messaging.Aps{ContentAvailable: true}
	out := &messaging.Message{
		Token: m.Token,
		Data:  map[string]string{"s": "1", "id": ID(m.Key)},
	}
	if m.Visible {
		apns["apns-priority"], apns["apns-push-type"] = "10", "alert"
		out.Notification = &messaging.Notification{Title: s.title, Body: line(m.CollapseKey, m.Language)}
		// One tag per collapse key: a new line takes the place of the last.
		android.Notification = &messaging.AndroidNotification{Tag: m.CollapseKey}
	}
	if high {
		android.Priority, web["Urgency"], aps.Sound = "high", "high", "default"
	}
	out.Android = android
	out.APNS = &messaging.APNSConfig{Headers: apns, Payload: &messaging.APNSPayload{Aps: aps}}
	out.Webpush = &messaging.WebpushConfig{Headers: web}
	return out
}
