package session

import (
	"crypto/rand"
	"encoding/json"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/internal/refresh"
	"satchel/internal/strictjson"
	"satchel/server/edge"
	"satchel/server/session/limit"
	"satchel/server/session/sealed"
	"satchel/server/session/totp"
	"satchel/sync/apply"
	"satchel/sync/subject"
	"satchel/sync/tenant"
)

// How long a challenge, and a second factor that was shown and not confirmed,
// wait for a code, in milliseconds; and how many codes a challenge takes.
const (
	challengeLifetime ident.Millis = 5 * 60 * 1000
	enrolLifetime     ident.Millis = 10 * 60 * 1000
	maxTries                       = 5
)

// maxChallenges is how many challenges are tried at once.
const maxChallenges = 100_000

// What the boxes of this file seal for.
const (
	forChallenge = "challenge"
	forEnrolment = "enrolment"
)

// challenge is a sign-in whose password was right, as its holder hands it back
// sealed.
type challenge struct {
	ID         string         `json:"i"`
	Tenant     ident.TenantID `json:"t"`
	Employee   ident.RecordID `json:"e"`
	Credential string         `json:"c"` // names the stored hash that the password was checked by
	Device     limit.Key      `json:"d"`
	Rehash     string         `json:"h,omitempty"`
	Until      ident.Millis   `json:"u"`
	// Secret is of the second factor that is being chosen, where the person
	// needs one and has none.
	Secret []byte `json:"s,omitempty"`
}

// key names the installation that a sign-in is on.
func (d *deviceBody) key() limit.Key {
	if d == nil {
		return limit.KeyOf("no device")
	}
	return limit.KeyOf("device", d.Installation, d.Incarnation)
}

// issuerName is what an authenticator app shows.
func issuerName(t ident.TenantID) string { return "Satchel " + string(t) }

// challenged answers a sign-in that a second factor is wanted of.
func (s *Service) challenged(t *tenant.Tenant, p *proof, d *deviceBody) error {
	x := challenge{
		ID: rand.Text(), Tenant: t.ID(), Employee: p.employee, Credential: p.credential, Device: d.key(), Rehash: p.rehash,
		Until: t.Now() + challengeLifetime,
	}
	f := fault.New(fault.SecondFactor).With("expiresIn", int64(challengeLifetime/1000))
	if !p.factor {
		secret := totp.New()
		x.Secret = secret.Bytes()
		f = f.With("enrol", map[string]string{"secret": secret.Text(), "uri": secret.URI(issuerName(t.ID()), p.email)})
	}
	raw, err := json.Marshal(x)
	if err != nil {
		return err
	}
	return f.With("challenge", s.box.SealText(raw, forChallenge))
}

type secondFactorBody struct {
	Tenant    string      `json:"tenant"`
	Challenge string      `json:"challenge"`
	Code      string      `json:"code"`
	Recovery  string      `json:"recoveryCode"`
	Device    *deviceBody `json:"device"`
}

// Bounds of what is looked at, in bytes.
const (
	maxSealed = 2048
	maxDigits = 64
)

func (b *secondFactorBody) valid() error {
	switch {
	case b.Tenant == "" || len(b.Tenant) > 40:
		return fault.New(fault.MissingField).OnField("tenant")
	case b.Challenge == "" || len(b.Challenge) > maxSealed:
		return fault.New(fault.MissingField).OnField("challenge")
	}
	if err := oneCode(b.Code, b.Recovery); err != nil {
		return err
	}
	return b.Device.valid()
}

// oneCode demands a code or a recovery code.
func oneCode(code, recovery string) error {
	switch {
	case code == "" && recovery == "", len(code) > maxDigits:
		return fault.New(fault.MissingField).OnField("code")
	case code != "" && recovery != "", len(recovery) > maxDigits:
		return fault.New(fault.BadValue).OnField("recoveryCode")
	}
	return nil
}

// secondFactor opens the session of a sign-in that was challenged.
func (s *Service) secondFactor(c *fiber.Ctx) error {
	var b secondFactorBody
	in, err := s.enter(c, &b)
	if err != nil {
		return err
	}
	var x challenge
	t, err := s.Auth.Tenants.Tenant(ident.TenantID(b.Tenant))
	if edge.Passes(err) {
		return in.settle(err)
	}
	opened, ok := s.box.OpenText(b.Challenge, forChallenge)
	if err != nil || !ok || json.Unmarshal(opened, &x) != nil || x.Tenant != t.ID() || x.Device != b.Device.key() || t.Now() >= x.Until {
		if err := in.atSite(); err != nil {
			return err
		}
		return in.settle(fault.New(fault.ChallengeOver))
	}
	known, err := knownDevice(t, x.Employee, b.Device)
	if err != nil {
		return err
	}
	if err := in.withCode(t.ID(), x.Employee, known, b.Recovery != ""); err != nil {
		return err
	}
	if n, ok := s.tries.Add(limit.KeyOf(x.ID), 1, x.Until.Time()); !ok || n > maxTries {
		return in.settle(fault.New(fault.ChallengeOver))
	}
	return in.settle(s.pass(c, t, &b, &x))
}

// pass judges the code and opens the session.
func (s *Service) pass(c *fiber.Ctx, t *tenant.Tenant, b *secondFactorBody, x *challenge) error {
	var f apply.Factor
	var has bool
	var box *sealed.Box
	var stored string
	err := t.Read(func(v *tenant.View) error {
		f, has = apply.ReadFactor(v.Reader, x.Employee)
		stored = apply.Credential(v.Reader, x.Employee)
		box = factorBox(v)
		return nil
	})
	if err != nil {
		return err
	}
	// The password, or whether there is a factor, may have changed since.
	if stored == "" || apply.CredentialDigest(stored) != x.Credential || has == (x.Secret != nil) {
		return fault.New(fault.ChallengeOver)
	}
	l, first, err := s.opening(c, t, x.Employee, b.Device)
	if err != nil {
		return err
	}
	l.Credential, l.Rehash, l.First = x.Credential, x.Rehash, refresh.Hash(first)
	var codes []string
	if has {
		l.Factor, err = use(box, &f, x.Employee, t.Now(), b.Code, b.Recovery)
	} else {
		l.Enrol, codes, err = enrolling(box, x.Secret, x.Employee, t.Now(), b.Code)
	}
	if err != nil {
		return err
	}
	res, err := t.Submit(c.Context(), &command.Command{Login: l})
	switch {
	case fault.Is(err, fault.InvalidCredentials), fault.Is(err, fault.WrongStatus), fault.Is(err, fault.SecondFactor):
		return fault.New(fault.ChallengeOver) // disabled, or changed, a moment ago
	case err != nil:
		return err
	}
	// It has served.
	s.tries.Add(limit.KeyOf(x.ID), maxTries, x.Until.Time())
	return s.answer(c, t, res.Login, first, codes)
}

// factorBox seals the secrets of a tenant's second factors.
func factorBox(v *tenant.View) *sealed.Box {
	return sealed.New(apply.DerivedKey(v.Reader, factorPurpose))
}

// use judges a code by the stored factor.
func use(box *sealed.Box, f *apply.Factor, person ident.RecordID, now ident.Millis, code, recovery string) (*command.FactorUse, error) {
	u := &command.FactorUse{Key: f.Key()}
	if recovery != "" {
		var ok bool
		if u.Recovery, ok = totp.RecoveryDigest(recovery); !ok {
			return nil, fault.New(fault.InvalidCode)
		}
		return u, nil
	}
	raw, ok := box.Open(f.Sealed, string(person))
	secret, whole := totp.Parse(raw)
	if !ok || !whole {
		return nil, fault.Newf(fault.InternalError, "The second factor can't be read.")
	}
	if u.Step, ok = secret.Match(code, now); !ok {
		return nil, fault.New(fault.InvalidCode)
	}
	return u, nil
}

// enrolling judges the first code of a new factor, and makes its recovery
// codes.
func enrolling(box *sealed.Box, raw []byte, person ident.RecordID, now ident.Millis, code string) (*command.NewFactor, []string, error) {
	secret, ok := totp.Parse(raw)
	if !ok {
		return nil, nil, fault.New(fault.ChallengeOver)
	}
	step, ok := secret.Match(code, now)
	if !ok {
		return nil, nil, fault.New(fault.InvalidCode)
	}
	codes, digests := recoveries()
	return &command.NewFactor{Sealed: box.Seal(raw, string(person)), Step: step, Recovery: digests}, codes, nil
}

// recoveries makes recovery codes, and what is stored of them.
func recoveries() (codes []string, digests [][]byte) {
	codes = totp.NewRecovery()
	for _, c := range codes {
		d, _ := totp.RecoveryDigest(c)
		digests = append(digests, d)
	}
	return codes, digests
}

// knownDevice returns the device where the person has signed in on it before,
// nil otherwise.
func knownDevice(t *tenant.Tenant, person ident.RecordID, d *deviceBody) (known *deviceBody, err error) {
	if d == nil {
		return nil, nil
	}
	err = t.Read(func(v *tenant.View) error {
		if apply.KnownDevice(v.Reader, person, d.Installation, d.Incarnation) {
			known = d
		}
		return nil
	})
	return known, err
}

// member is a signed-in person at work on their own way of signing in.
type member struct {
	*edge.Caller
	in *guest
	// of the caller's state
	email, stored string
	factor        apply.Factor
	has           bool
	box           *sealed.Box
}

// own begins a request of a signed-in person about their own password or second
// factor. Wrong passwords and codes count against the session.
func (s *Service) own(c *fiber.Ctx, body any) (*member, error) {
	in, err := s.gate.enter(c)
	if err != nil {
		return nil, err
	}
	m := &member{in: in}
	if m.Caller, err = s.Auth.Caller(c); err != nil {
		return nil, err
	}
	raw, err := edge.Body(c)
	if err != nil {
		return nil, err
	}
	if err := strictjson.Decode(raw, body); err != nil {
		return nil, err
	}
	err = m.Read(func(v *tenant.View, sub *policy.Subject) error {
		if e, ok := v.Load(sub.ID); ok {
			m.email = e.Get("email").Text()
		}
		m.stored = apply.Credential(v.Reader, sub.ID)
		m.factor, m.has = apply.ReadFactor(v.Reader, sub.ID)
		m.box = factorBox(v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return m, in.take(
		taken{s.gate.device, limit.KeyOf(string(m.Tenant.ID()), "session", string(m.Session))},
		taken{s.gate.code, limit.KeyOf(string(m.Tenant.ID()), "session", string(m.Session))})
}

// password checks the person's password.
func (m *member) password(c *fiber.Ctx, s *Service, pw string) error {
	if m.stored == "" {
		if err := s.Hasher.Dummy(c.Context(), pw); err != nil {
			return err
		}
		return fault.New(fault.InvalidCredentials)
	}
	ok, _, err := s.Hasher.Verify(c.Context(), m.stored, pw)
	if err != nil {
		return err
	}
	if !ok {
		return fault.New(fault.InvalidCredentials)
	}
	return nil
}

// change submits a change of the person's second factor.
func (m *member) change(c *fiber.Ctx, f *command.Factor) error {
	cmd := m.Command()
	cmd.Factor = f
	_, err := m.Tenant.Submit(c.Context(), cmd)
	return err
}

// enrolment is a second factor that was shown and waits for its first code.
type enrolment struct {
	Tenant  ident.TenantID  `json:"t"`
	Session ident.SessionID `json:"n"`
	Secret  []byte          `json:"s"`
	Until   ident.Millis    `json:"u"`
}

type enrolBody struct {
	Password string `json:"password"`
}

// enrol shows a person who has no second factor the secret of one. Nothing is
// stored before a code has come back.
func (s *Service) enrol(c *fiber.Ctx) error {
	var b enrolBody
	m, err := s.own(c, &b)
	if err != nil {
		return err
	}
	if err := m.in.settle(m.password(c, s, b.Password)); err != nil {
		return err
	}
	if m.has {
		return fault.Newf(fault.WrongStatus, "There is a second factor already.")
	}
	secret := totp.New()
	raw, err := json.Marshal(enrolment{m.Tenant.ID(), m.Session, secret.Bytes(), m.Tenant.Now() + enrolLifetime})
	if err != nil {
		return err
	}
	body, err := json.Marshal(struct {
		Secret    string `json:"secret"`
		URI       string `json:"uri"`
		Enrolment string `json:"enrolment"`
		ExpiresIn int64  `json:"expiresIn"` // seconds
	}{secret.Text(), secret.URI(issuerName(m.Tenant.ID()), m.email), s.box.SealText(raw, forEnrolment), int64(enrolLifetime / 1000)})
	if err != nil {
		return err
	}
	return edge.JSON(c, fiber.StatusOK, body)
}

type confirmBody struct {
	Enrolment string `json:"enrolment"`
	Code      string `json:"code"`
}

// confirm takes the first code of a second factor, which is in force from then
// on, and tells its recovery codes, this once.
func (s *Service) confirm(c *fiber.Ctx) error {
	var b confirmBody
	m, err := s.own(c, &b)
	if err != nil {
		return err
	}
	var x enrolment
	raw, ok := s.box.OpenText(b.Enrolment, forEnrolment)
	if !ok || json.Unmarshal(raw, &x) != nil || x.Tenant != m.Tenant.ID() || x.Session != m.Session || m.Tenant.Now() >= x.Until {
		return m.in.settle(fault.New(fault.ChallengeOver))
	}
	n, codes, err := enrolling(m.box, x.Secret, m.Employee, m.Tenant.Now(), b.Code)
	if err == nil {
		err = m.change(c, &command.Factor{Enrol: n})
	}
	if err := m.in.settle(err); err != nil {
		return err
	}
	return tellRecoveries(c, codes)
}

func tellRecoveries(c *fiber.Ctx, codes []string) error {
	body, err := json.Marshal(map[string][]string{"recoveryCodes": codes})
	if err != nil {
		return err
	}
	return edge.JSON(c, fiber.StatusOK, body)
}

type provenBody struct {
	Password string `json:"password"`
	Code     string `json:"code"`
	Recovery string `json:"recoveryCode"`
}

// proved takes password and code of a person who has a second factor.
func (s *Service) proved(c *fiber.Ctx) (*member, *command.FactorUse, error) {
	var b provenBody
	m, err := s.own(c, &b)
	if err != nil {
		return nil, nil, err
	}
	if err := oneCode(b.Code, b.Recovery); err != nil {
		return nil, nil, m.in.settle(err)
	}
	if err := m.password(c, s, b.Password); err != nil {
		return nil, nil, m.in.settle(err)
	}
	if !m.has {
		return nil, nil, m.in.settle(fault.Newf(fault.WrongStatus, "There is no second factor."))
	}
	u, err := use(m.box, &m.factor, m.Employee, m.Tenant.Now(), b.Code, b.Recovery)
	if err != nil {
		return nil, nil, m.in.settle(err)
	}
	return m, u, nil
}

// disable removes a person's second factor.
func (s *Service) disable(c *fiber.Ctx) error {
	m, u, err := s.proved(c)
	if err != nil {
		return err
	}
	if err := m.in.settle(m.change(c, &command.Factor{Use: u})); err != nil {
		return err
	}
	return c.SendStatus(fiber.StatusNoContent)
}

// renew gives a person other recovery codes in place of those there were.
func (s *Service) renew(c *fiber.Ctx) error {
	m, u, err := s.proved(c)
	if err != nil {
		return err
	}
	codes, digests := recoveries()
	if err := m.in.settle(m.change(c, &command.Factor{Use: u, Recovery: digests})); err != nil {
		return err
	}
	return tellRecoveries(c, codes)
}

// forget answers an administrator who takes somebody's second factor or tie to
// an identity provider's account.
func (s *Service) forget(what command.Forget) fiber.Handler {
	return func(c *fiber.Ctx) error {
		caller, employee, err := s.about(c)
		if err != nil {
			return err
		}
		cmd := caller.Command()
		f := what
		f.Employee = employee
		cmd.Forget = &f
		if _, err := caller.Tenant.Submit(c.Context(), cmd); err != nil {
			return err
		}
		return c.SendStatus(fiber.StatusNoContent)
	}
}

// owes reports whether an employee needs a second factor and has none.
func owes(v *tenant.View, id ident.RecordID) bool {
	if !apply.FactorDemanded(v.Reader) {
		return false
	}
	sub := v.Subject(id)
	return sub != nil && sub.Holds(subject.Administrator)
}
