package session

import (
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/strictjson"
	"satchel/server/edge"
	"satchel/server/session/limit"
)

// Limits bound what strangers may try. Attempts that turn out well give their
// tokens back, so that an office behind one address, or a busy phone, never
// meets a limit by working.
//
// An account can't be locked by failing at it: the limits are waits, they count
// for each address apart long before they count for the account as a whole, and
// a device that the person has signed in on before has a limit of its own,
// which nobody else can use up without knowing the installation's id.
type Limits struct {
	// Requests are all those of an address, whatever comes of them.
	Requests limit.Rate
	// Failures are those of an address that come to nothing.
	Failures limit.Rate
	// Account are failures for an account from one address, AccountAll from
	// all, Device from a device that is known to be the person's.
	Account, AccountAll, Device limit.Rate
	// Code are wrong codes of a person's authenticator; Recovery wrong
	// recovery codes from one address.
	Code, Recovery limit.Rate
	// Authorize are sign-ins begun at an identity provider from one address.
	Authorize limit.Rate
	// SignIns are sessions opened for an account, whatever by and from where:
	// every one leaves something in the tenant's state.
	SignIns limit.Rate
	// Mail are mails to one address, MailFrom requests for mail from one.
	Mail, MailFrom limit.Rate
}

// DefaultLimits are the limits of a server that is not told others.
func DefaultLimits() Limits {
	return Limits{
		Requests: limit.Rate{Burst: 3000, Every: 10 * time.Millisecond},
		Failures: limit.Rate{Burst: 100, Every: 2 * time.Second},
		Account:  limit.Rate{Burst: 10, Every: 30 * time.Second}, AccountAll: limit.Rate{Burst: 100, Every: 10 * time.Second},
		Device: limit.Rate{Burst: 10, Every: 30 * time.Second},
		Code:   limit.Rate{Burst: 10, Every: 5 * time.Minute}, Recovery: limit.Rate{Burst: 10, Every: time.Minute},
		Authorize: limit.Rate{Burst: 100, Every: time.Second},
		SignIns:   limit.Rate{Burst: 300, Every: 15 * time.Second},
		Mail:      limit.Rate{Burst: 3, Every: 20 * time.Minute}, MailFrom: limit.Rate{Burst: 20, Every: time.Minute},
	}
}

// How many addresses, and how many accounts and devices, are told apart.
const (
	maxSites    = 50_000
	maxAccounts = 100_000
)

// gate is Limits at work.
type gate struct {
	proxies limit.Proxies
	log     *slog.Logger
	unheard sync.Once

	requests, failures, account, accountAll, device, code, recovery, authorize, signIns, mail, mailFrom *limit.Buckets
}

func newGate(l Limits, proxies limit.Proxies, log *slog.Logger, now func() time.Time) *gate {
	sites := func(r limit.Rate) *limit.Buckets { return limit.NewBuckets(r, maxSites, now) }
	accounts := func(r limit.Rate) *limit.Buckets { return limit.NewBuckets(r, maxAccounts, now) }
	return &gate{
		proxies: proxies, log: log,
		requests: sites(l.Requests), failures: sites(l.Failures), authorize: sites(l.Authorize), mailFrom: sites(l.MailFrom),
		account: accounts(l.Account), accountAll: accounts(l.AccountAll), device: accounts(l.Device),
		code: accounts(l.Code), recovery: accounts(l.Recovery), mail: accounts(l.Mail), signIns: accounts(l.SignIns),
	}
}

// guest is a stranger's request that was let in.
type guest struct {
	g    *gate
	c    *fiber.Ctx
	site string
	// taken are the tokens to be given back if it turns out well.
	taken []taken
}

type taken struct {
	from *limit.Buckets
	key  limit.Key
}

// enter lets a request in, or refuses it where its address has sent too many.
func (g *gate) enter(c *fiber.Ctx) (*guest, error) {
	peer, ok := netip.AddrFromSlice(c.Context().RemoteIP())
	if !ok {
		peer = netip.IPv4Unspecified()
	}
	var forwarded []string
	for _, v := range c.Request().Header.PeekAll(fiber.HeaderXForwardedFor) {
		forwarded = append(forwarded, string(v))
	}
	if len(forwarded) > 0 && !g.proxies.Trusts(peer) {
		g.unheard.Do(func() {
			g.log.Warn("requests come with X-Forwarded-For from an address that is no trusted proxy; " +
				"limits by address count for that address: name the proxy in trustedProxies")
		})
	}
	in := &guest{g: g, c: c, site: limit.Site(g.proxies.Client(peer, forwarded))}
	if wait, ok := g.requests.Take(limit.KeyOf(in.site)); !ok {
		return nil, in.refuse(wait)
	}
	return in, nil
}

// refuse says when to come again.
func (in *guest) refuse(wait time.Duration) error { return edge.TooMany(in.c, wait) }

// take takes a token from each of the buckets, or from none.
func (in *guest) take(ts ...taken) error {
	for i, t := range ts {
		if wait, ok := t.from.Take(t.key); !ok {
			for _, back := range ts[:i] {
				back.from.Return(back.key)
			}
			return in.refuse(wait)
		}
	}
	in.taken = append(in.taken, ts...)
	return nil
}

// settle gives the tokens back unless err says that the attempt failed, and
// returns err.
func (in *guest) settle(err error) error {
	if err != nil {
		f := fault.Of(err)
		if f.Code.Kind() == fault.Unauthenticated && f.Code != fault.SecondFactor {
			in.taken = nil
			return err
		}
	}
	for _, t := range in.taken {
		t.from.Return(t.key)
	}
	in.taken = nil
	return err
}

// atSite counts an attempt against the address alone.
func (in *guest) atSite() error { return in.take(taken{in.g.failures, limit.KeyOf(in.site)}) }

// at counts an attempt at an account: against the device where it is known to
// be the person's, otherwise against address and account.
func (in *guest) at(t ident.TenantID, account string, known *deviceBody) error {
	account = strings.ToLower(account)
	if known != nil {
		return in.take(taken{in.g.device, limit.KeyOf(string(t), account, known.Installation)})
	}
	return in.take(
		taken{in.g.failures, limit.KeyOf(in.site)},
		taken{in.g.account, limit.KeyOf(string(t), account, in.site)},
		taken{in.g.accountAll, limit.KeyOf(string(t), account)})
}

// withCode counts an attempt with a code, or a recovery code, at a person's
// second factor.
func (in *guest) withCode(t ident.TenantID, person ident.RecordID, known *deviceBody, recovery bool) error {
	switch {
	case recovery:
		return in.take(taken{in.g.recovery, limit.KeyOf(string(t), string(person), in.site)})
	case known != nil:
		return in.take(taken{in.g.code, limit.KeyOf(string(t), string(person), known.Installation)})
	}
	return in.take(taken{in.g.code, limit.KeyOf(string(t), string(person))})
}

// opens counts a session that is about to be opened for a person, who has
// proved who they are.
func (g *gate) opens(c *fiber.Ctx, t ident.TenantID, person ident.RecordID) error {
	if wait, ok := g.signIns.Take(limit.KeyOf(string(t), string(person))); !ok {
		return edge.TooMany(c, wait)
	}
	return nil
}

// request is the body of a request that asks for entry.
type request interface{ valid() error }

// enter lets a request by somebody unknown in and reads its body into the
// request that into points to.
func (s *Service) enter(c *fiber.Ctx, into request) (*guest, error) {
	in, err := s.gate.enter(c)
	if err != nil {
		return nil, err
	}
	raw, err := edge.Body(c)
	if err != nil {
		return nil, err
	}
	if err := strictjson.Decode(raw, into); err != nil {
		return nil, err
	}
	return in, into.valid()
}
