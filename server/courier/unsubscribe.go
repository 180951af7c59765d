package courier

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/server/edge"
	"satchel/sync/subject"
	"satchel/sync/tenant"
)

// unsubscribePath is where mail programs send people's wish to be told no more
// of an event by mail (RFC 8058, one click).
const unsubscribePath = "/v1/unsubscribe/"

// allMail stands for all mail but warnings, in place of an event.
const allMail = "*"

// Unsubscriber makes the addresses by which people are taken off a kind of mail
// and answers at them. Who holds the address of a mail is taken to be its
// receiver: it can do this one thing and tells nothing.
type Unsubscriber struct {
	keys    atomic.Pointer[[]wishKey] // the one that addresses are made with first
	base    string
	tenants edge.Tenants
}

// wishKey is what addresses are made with, of one key.
type wishKey struct {
	aead   cipher.AEAD
	nonces [32]byte // key of the nonces
}

// NewUnsubscriber returns one for addresses beneath base, which must be https:
// mail programs ask no others. The key must outlive the mails; whoever has it
// can take anybody off any mail.
func NewUnsubscriber(key [32]byte, base string, tenants edge.Tenants) *Unsubscriber {
	u := &Unsubscriber{base: strings.TrimRight(base, "/"), tenants: tenants}
	u.Rekey([][32]byte{key})
	return u
}

// Rekey has addresses made with the first of some keys, and answers at those that
// were made with any of them. It may be called at any time.
func (u *Unsubscriber) Rekey(keys [][32]byte) {
	list := make([]wishKey, len(keys))
	for i, k := range keys {
		list[i] = newWishKey(k)
	}
	u.keys.Store(&list)
}

func newWishKey(key [32]byte) wishKey {
	derive := func(what string) (k [32]byte) {
		m := hmac.New(sha256.New, key[:])
		m.Write([]byte(what))
		return [32]byte(m.Sum(nil))
	}
	seal := derive("unsubscribe: seal")
	block, err := aes.NewCipher(seal[:])
	if err != nil { // a key of 32 bytes always fits
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return wishKey{aead, derive("unsubscribe: nonce")}
}

// seal seals a wish, the same one always in the same way: what is mailed again
// after a crash is the same letter. The nonce is a function of what is sealed,
// so that no two wishes share one.
func (u *Unsubscriber) seal(b []byte) string {
	k := (*u.keys.Load())[0]
	m := hmac.New(sha256.New, k.nonces[:])
	m.Write(b)
	nonce := m.Sum(nil)[:k.aead.NonceSize()]
	return base64.RawURLEncoding.EncodeToString(k.aead.Seal(nonce, nonce, b, nil))
}

func (u *Unsubscriber) unseal(s string) ([]byte, bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, false
	}
	for _, k := range *u.keys.Load() {
		n := k.aead.NonceSize()
		if len(raw) < n {
			return nil, false
		}
		if b, err := k.aead.Open(nil, raw[:n], raw[n:], nil); err == nil {
			return b, true
		}
	}
	return nil, false
}

// wish is what an address stands for.
type wish struct {
	Tenant ident.TenantID `json:"t"`
	Person ident.RecordID `json:"p"`
	Event  string         `json:"e"`
}

// link is the address that takes a person off mail of an event; "" where mail
// programs could not use it.
func (u *Unsubscriber) link(t ident.TenantID, person ident.RecordID, event string) string {
	if u == nil || !strings.HasPrefix(u.base, "https://") {
		return ""
	}
	b, err := json.Marshal(wish{t, person, event})
	if err != nil {
		return ""
	}
	return u.base + unsubscribePath + u.seal(b)
}

// Mount answers at the addresses. A GET changes nothing, because programs that
// look at mails follow links: it shows a page with a button.
func (u *Unsubscriber) Mount(app *fiber.App) {
	app.Get(unsubscribePath+":wish", func(c *fiber.Ctx) error {
		if _, err := u.open(c); err != nil {
			return err
		}
		c.Set(fiber.HeaderContentSecurityPolicy, "default-src 'none'; form-action 'self'; frame-ancestors 'none'")
		c.Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
		return c.SendString(`<!doctype html><meta charset="utf-8"><title>Mail</title><form method="post"><p>No more mail of this kind?</p><button>Stop it</button></form>`)
	})
	app.Post(unsubscribePath+":wish", func(c *fiber.Ctx) error {
		w, err := u.open(c)
		if err != nil {
			return err
		}
		if err := u.stop(w); err != nil {
			return err
		}
		c.Set(fiber.HeaderContentType, fiber.MIMETextPlainCharsetUTF8)
		return c.SendString("It is noted.\n")
	})
}

func (u *Unsubscriber) open(c *fiber.Ctx) (w wish, err error) {
	raw, ok := u.unseal(c.Params("wish"))
	if !ok || json.Unmarshal(raw, &w) != nil {
		return w, fault.New(fault.NotFoundCode)
	}
	return w, nil
}

// stop writes the preference in the person's name. Somebody who is gone, or
// who is no longer active, gets no mail anyway.
func (u *Unsubscriber) stop(w wish) error {
	t, err := u.tenants.Tenant(w.Tenant)
	if edge.Passes(err) {
		return err
	} else if err != nil {
		return fault.New(fault.NotFoundCode)
	}
	key, value := wishPrefix+w.Event+".mail", wishOff
	if w.Event == allMail {
		key, value = wishMail, mailOff
	}
	change := &command.Write{Op: "create", Type: typeWishes, Fields: command.Object{"key": json.RawMessage(entity.StringValue(key)), "value": json.RawMessage(entity.StringValue(value))}}
	active := false
	err = t.Read(func(v *tenant.View) error {
		emp, ok := v.Load(w.Person)
		active = ok && emp.Type.Name == subject.Employee && emp.StatusText() == subject.Active
		typ := v.Cat.Type(typeWishes)
		for o := range v.Referring(typ, typ.Field("owner").No, w.Person).All() {
			if r, ok := v.LoadOrd(o); ok && r.Get("key").Text() == key {
				change.Op, change.ID = "patch", r.ID
				change.Fields = command.Object{"value": json.RawMessage(entity.StringValue(value))}
			}
		}
		return nil
	})
	if err != nil || !active {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, err = t.Submit(ctx, &command.Command{Actor: w.Person, Write: change})
	return err
}
