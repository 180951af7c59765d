package courier

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/sync/apply"
	"satchel/sync/subject"
	"satchel/sync/tenant"
)

// Returns makes the addresses that undeliverable mail comes back to, one for
// each mail, and finds out which mail it was that came back to one. An address
// says nothing to anybody but its maker, and nobody else can make one: who
// could would have other people's mail stopped.
type Returns struct {
	keys    atomic.Pointer[[]*returnKey] // the one that addresses are made with first
	domain  string
	tenants ReturnTenants
	now     func() time.Time
}

// returnKey is what addresses are made with, of one key.
type returnKey struct {
	block cipher.Block
	mac   []byte
	names []byte // key of the short names in an address
}

// ReturnTenants finds the tenant that a mail was sent for.
type ReturnTenants interface {
	Tenant(ident.TenantID) (*tenant.Tenant, error)
	List() ([]ident.TenantID, error)
}

// lower32 is letters and digits alone: servers on the way may change their case.
var lower32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// An address is returnPrefix, 35 bytes in base32, and the domain. SMTP allows 64
// characters before the @, in letters of either case, and this takes 63:
//
//	tag 15 | sealed: tenant 4, person 4, address 4, mail 6, last day 2
//
// The tag authenticates what is sealed and is the nonce of the sealing, so that
// the same mail always has the same address and no two share a nonce. Tenant,
// address and mail are keyed digests, the person an ordinal.
const (
	returnPrefix = "bounce+"
	returnTag    = 15
	returnBody   = 20

	// returnDays is for how long mail may come back: servers give up after five
	// days, some later.
	returnDays = 15
)

// NewReturns returns one for addresses at a domain whose mail server hands what
// comes there to mail.Inbound. The key must outlive the mails.
func NewReturns(key [32]byte, domain string, tenants ReturnTenants, now func() time.Time) *Returns {
	r := &Returns{domain: domain, tenants: tenants, now: now}
	r.Rekey([][32]byte{key})
	return r
}

// Rekey has addresses made with the first of some keys, and takes those that were
// made with any of them. It may be called at any time.
func (r *Returns) Rekey(keys [][32]byte) {
	list := make([]*returnKey, len(keys))
	for i, k := range keys {
		list[i] = newReturnKey(k)
	}
	r.keys.Store(&list)
}

func newReturnKey(key [32]byte) *returnKey {
	derive := func(what string) []byte {
		m := hmac.New(sha256.New, key[:])
		m.Write([]byte(what))
		return m.Sum(nil)
	}
	block, err := aes.NewCipher(derive("bounce: seal"))
	if err != nil { // a key of 32 bytes always fits
		panic(err)
	}
	return &returnKey{block, derive("bounce: tag"), derive("bounce: names")}
}

// returned is what an address stands for.
type returned struct {
	key     *returnKey // that it was made with, and its names
	tenant  [4]byte
	person  ident.Ordinal
	address [4]byte
	mail    [6]byte
	last    uint16 // UTC day after which nothing comes back
}

func (r *returnKey) name(kind string, parts ...string) []byte {
	m := hmac.New(sha256.New, r.names)
	for _, p := range append([]string{kind}, parts...) {
		m.Write(binary.BigEndian.AppendUint32(nil, uint32(len(p))))
		m.Write([]byte(p))
	}
	return m.Sum(nil)
}

func (r *returnKey) tenantName(t ident.TenantID) [4]byte {
	return [4]byte(r.name("tenant", string(t)))
}

func (r *returnKey) addressName(t ident.TenantID, address string) [4]byte {
	return [4]byte(r.name("address", string(t), string(apply.AddressDigest(address))))
}

// stream hides or reveals what is sealed.
func (r *returnKey) stream(tag, b []byte) []byte {
	iv := make([]byte, aes.BlockSize)
	copy(iv, tag)
	out := make([]byte, len(b))
	cipher.NewCTR(r.block, iv).XORKeyStream(out, b)
	return out
}

func (r *returnKey) tag(b []byte) []byte {
	m := hmac.New(sha256.New, r.mac)
	m.Write(b)
	return m.Sum(nil)[:returnTag]
}

// address returns where the mail with a key, which was begun at an instant,
// comes back to; "" where nothing does.
func (r *Returns) address(t ident.TenantID, person ident.Ordinal, to, key string, at ident.Millis) string {
	if r == nil {
		return ""
	}
	k := (*r.keys.Load())[0]
	x := returned{k, k.tenantName(t), person, k.addressName(t, to), [6]byte(k.name("mail", string(t), key)), uint16(at.Day() + returnDays)}
	var b []byte
	b = append(b, x.tenant[:]...)
	b = binary.BigEndian.AppendUint32(b, x.person)
	b = append(append(b, x.address[:]...), x.mail[:]...)
	b = binary.BigEndian.AppendUint16(b, x.last)
	tag := k.tag(b)
	return returnPrefix + lower32.EncodeToString(append(tag, k.stream(tag, b)...)) + "@" + r.domain
}

// open reads an address that is ours and not too old.
func (r *Returns) open(address string) (x returned, ok bool) {
	local, domain, _ := strings.Cut(strings.ToLower(address), "@")
	sealed, ours := strings.CutPrefix(local, returnPrefix)
	if !ours || domain != strings.ToLower(r.domain) || len(sealed) != lower32.EncodedLen(returnTag+returnBody) {
		return x, false
	}
	raw, err := lower32.DecodeString(sealed)
	if err != nil || len(raw) != returnTag+returnBody {
		return x, false
	}
	if x, ok = unsealed(*r.keys.Load(), raw); !ok {
		return x, false
	}
	return x, ident.MillisOf(r.now()).Day() <= ident.Day(x.last)
}

// unsealed reads what was sealed with one of some keys.
func unsealed(keys []*returnKey, raw []byte) (x returned, ok bool) {
	tag := raw[:returnTag]
	for _, k := range keys {
		b := k.stream(tag, raw[returnTag:])
		if !hmac.Equal(tag, k.tag(b)) {
			continue
		}
		return returned{
			key: k, tenant: [4]byte(b[:4]), person: binary.BigEndian.Uint32(b[4:]), address: [4]byte(b[8:12]),
			mail: [6]byte(b[12:18]), last: binary.BigEndian.Uint16(b[18:]),
		}, true
	}
	return x, false
}

// Knows reports whether an address was made here for a mail that may still come
// back. It reads no state.
func (r *Returns) Knows(address string) bool {
	_, ok := r.open(address)
	return ok
}

// Take notes that the mail which bore the address was not delivered; permanent
// says that nothing sent there will be. Whoever is gone, or has another address
// by now, is not concerned. An error says that it is to be told again.
func (r *Returns) Take(ctx context.Context, address string, permanent bool) error {
	x, ok := r.open(address)
	if !ok {
		return nil
	}
	all, err := r.tenants.List()
	if err != nil {
		return fmt.Errorf("courier: %w", err)
	}
	for _, id := range all {
		// Two tenants may have one short name: the address tells them apart.
		if x.key.tenantName(id) != x.tenant {
			continue
		}
		if err := r.note(ctx, id, x, permanent); err != nil {
			return fmt.Errorf("courier: %w", err)
		}
	}
	return nil
}

func (r *Returns) note(ctx context.Context, id ident.TenantID, x returned, permanent bool) error {
	t, err := r.tenants.Tenant(id)
	if fault.Is(err, fault.InvalidCredentials) { // gone since it was listed
		return nil
	} else if err != nil {
		return err
	}
	var b *command.Bounce
	err = t.Read(func(v *tenant.View) error {
		emp, ok := v.LoadOrd(x.person)
		if !ok || emp.Type.Name != subject.Employee {
			return nil
		}
		if to := emp.Get("email").Text(); x.key.addressName(id, to) == x.address {
			b = &command.Bounce{Person: emp.ID, Address: apply.AddressDigest(to), Mail: hex.EncodeToString(x.mail[:]), Permanent: permanent}
		}
		return nil
	})
	if err != nil || b == nil {
		return err
	}
	_, err = t.Submit(ctx, &command.Command{Deliver: &command.Deliver{Bounces: []command.Bounce{*b}}})
	return err
}
