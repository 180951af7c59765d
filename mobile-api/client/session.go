package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"satchel/sync/wire"
)

// session is what a sign-in gave.
type session struct {
	Access  string    `json:"access"`
	Refresh string    `json:"refresh"`
	Renew   time.Time `json:"renew"` // when to refresh without being told
}

type loginDevice struct {
	Installation string `json:"installation"`
	Incarnation  string `json:"incarnation"`
	Name         string `json:"name"`
	Platform     string `json:"platform"`
	PushToken    string `json:"pushToken,omitempty"`
}

type loginRequest struct {
	Tenant   string      `json:"tenant"`
	Email    string      `json:"email"`
	Password string      `json:"password"`
	Device   loginDevice `json:"device"`
}

type refreshRequest struct {
	RefreshToken string `json:"refreshToken"`
	Nonce        string `json:"nonce"`
}

type loginAnswer struct {
	AccessToken  string          `json:"accessToken"`
	RefreshToken string          `json:"refreshToken"`
	ExpiresIn    int64           `json:"expiresIn"` // seconds
	User         json.RawMessage `json:"user"`
	Device       *struct {
		ID       string `json:"id"`
		IDPrefix string `json:"idPrefix"`
	} `json:"device"`
	RecoveryCodes []string `json:"recoveryCodes"`
}

// userID is the id in the answer's user, which is an object with an id or the
// id itself; "" for neither.
func (a *loginAnswer) userID() string {
	var s string
	if json.Unmarshal(a.User, &s) == nil {
		return s
	}
	var o struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(a.User, &o) == nil {
		return o.ID
	}
	return ""
}

func (p *Phone) sessionOf(a *loginAnswer) session {
	life := time.Duration(a.ExpiresIn) * time.Second
	return session{Access: a.AccessToken, Refresh: a.RefreshToken, Renew: p.now().Add(life - min(30*time.Second, life/10))}
}

// Login signs the device in. If the store began a new incarnation, or the
// server no longer knows the device, unsent work gets new numbers and ids made
// here get the new prefix. Signing in as somebody else removes the other
// person's records; it is refused with ErrOtherUser while unsent work of
// theirs is here. A refusal is an *Error (invalid_credentials,
// second_factor_required, for which see ChallengeOf, …).
func (p *Phone) Login(ctx context.Context, email, password string) error {
	_, err := p.signIn(ctx, "/v1/auth/login", email, func(d loginDevice) any {
		return loginRequest{Tenant: p.opts.Tenant, Email: email, Password: password, Device: d}
	})
	return err
}

// signIn opens a session by what request makes of the device, and adopts it;
// user names the person where the answer does not. It returns the recovery
// codes that the answer holds, if any.
func (p *Phone) signIn(ctx context.Context, path, user string, request func(loginDevice) any) ([]string, error) {
	release, err := p.acquire(ctx, p.syncing)
	if err != nil {
		return nil, err
	}
	defer release()
	var incarnation string
	err = p.st.view(func(t tx) error {
		incarnation = string(t.get(bucketMeta, keyIncarnation))
		return nil
	})
	if err != nil {
		return nil, err
	}
	var a loginAnswer
	err = p.send(ctx, path, "", request(loginDevice{
		Installation: p.installation, Incarnation: incarnation,
		Name: p.opts.Name, Platform: p.opts.Platform, PushToken: p.opts.PushToken,
	}), &a)
	if err != nil {
		return nil, p.judge(err, "")
	}
	return a.RecoveryCodes, p.adopt(ctx, user, &a)
}

// adopt takes over the session and the device of a sign-in's answer.
func (p *Phone) adopt(ctx context.Context, fallback string, a *loginAnswer) error {
	if a.AccessToken == "" || a.Device == nil || a.Device.ID == "" || a.Device.IDPrefix == "" {
		return &Error{Code: codeBadAnswer, Detail: "the sign-in's answer lacks tokens or device"}
	}
	user := a.userID()
	if user == "" {
		user = fallback
	}
	d := device{ID: a.Device.ID, Prefix: a.Device.IDPrefix, Owner: p.opts.Tenant + "/" + user}
	p.applying.Lock()
	defer p.applying.Unlock()
	other := false
	err := p.st.update(func(t tx) error {
		old, err := readDevice(t)
		if err != nil {
			return err
		}
		if other = old.Owner != "" && old.Owner != d.Owner; other {
			unsent := false
			if err := t.scan(bucketOutbox, nil, func(_, _ []byte) error { unsent = true; return errStop }); err != nil {
				return err
			}
			if unsent {
				return ErrOtherUser
			}
			// Nothing of the other person's may stay to be seen.
			for b := bucketRecords; b <= lastBucket; b++ {
				if err := t.clear(b); err != nil {
					return err
				}
			}
			for _, k := range [][]byte{keySettings, keyState} {
				if err := t.del(bucketMeta, k); err != nil {
					return err
				}
			}
			if err := p.noteSchema(t); err != nil {
				return err
			}
		}
		if err := p.adoptDevice(t, d); err != nil {
			return err
		}
		return errors.Join(putJSON(t, keySession, p.sessionOf(a)), t.del(bucketMeta, keyNonce))
	})
	if errors.Is(err, ErrOtherUser) {
		// The session just opened is of no use; that it ends is a courtesy.
		if lerr := p.logout(ctx, p.sessionOf(a)); lerr != nil {
			p.log.Warn("could not end the unused session", "error", lerr)
		}
		return err
	}
	if err == nil {
		if other {
			p.emptied.Add(1)
		}
		clear(p.sums)
		p.poke()
	}
	return err
}

// Logout ends the session on the server and here. Records and unsent work
// stay, for the same person to sign in again; see Erase for handing the phone
// on. The session here is gone even where the server could not be reached, in
// which case that is the error.
func (p *Phone) Logout(ctx context.Context) error {
	// The server ends a session for a token that is good. Where none can be had
	// it is tried with the one there is.
	if _, err := p.token(ctx); errors.Is(err, ErrSignedOut) || errors.Is(err, ErrWiped) {
		return err
	}
	s, err := p.session()
	if err != nil {
		return err
	}
	if err := p.dropSession(s.Access); err != nil {
		return err
	}
	return p.logout(ctx, s)
}

func (p *Phone) logout(ctx context.Context, s session) error {
	body := struct {
		RefreshToken string `json:"refreshToken"`
	}{s.Refresh}
	return p.send(ctx, "/v1/auth/logout", s.Access, body, nil)
}

// session returns the session, or ErrSignedOut.
func (p *Phone) session() (s session, err error) {
	err = p.st.view(func(t tx) error { return getJSON(t, keySession, &s) })
	if err == nil && s.Access == "" {
		err = ErrSignedOut
	}
	return s, err
}

// dropSession forgets the session if it is still the one with this access
// token.
func (p *Phone) dropSession(access string) error {
	return p.st.update(func(t tx) error {
		var s session
		if err := getJSON(t, keySession, &s); err != nil || s.Access != access {
			return err
		}
		return errors.Join(t.del(bucketMeta, keySession), t.del(bucketMeta, keyNonce))
	})
}

// token returns an access token, refreshed first where its time is over.
func (p *Phone) token(ctx context.Context) (string, error) {
	s, err := p.session()
	if err != nil {
		return "", err
	}
	if p.now().Before(s.Renew) {
		return s.Access, nil
	}
	fresh, err := p.refresh(ctx, s.Access)
	if err != nil && !errors.Is(err, ErrSignedOut) && !errors.Is(err, ErrWiped) && ctx.Err() == nil {
		// The phone's clock may be wrong; let the server judge the token.
		return s.Access, nil
	}
	return fresh, err
}

// refresh exchanges the session's tokens, once however many ask: if the
// access token is no longer the stale one, somebody else has done it. The
// nonce is stored before it is sent and kept until an answer was, so that the
// server can tell the repetition after a lost answer from a stolen token.
func (p *Phone) refresh(ctx context.Context, stale string) (string, error) {
	release, err := p.acquire(ctx, p.refreshing)
	if err != nil {
		return "", err
	}
	defer release()
	s, err := p.session()
	if err != nil {
		return "", err
	}
	if s.Access != stale {
		return s.Access, nil
	}
	var nonce string
	err = p.st.update(func(t tx) error {
		if v := t.get(bucketMeta, keyNonce); v != nil {
			nonce = string(v)
			return nil
		}
		nonce = randomText(p.opts.Random, 15)
		return t.put(bucketMeta, keyNonce, []byte(nonce))
	})
	if err != nil {
		return "", err
	}
	var a loginAnswer
	err = p.send(ctx, "/v1/auth/refresh", "", refreshRequest{s.Refresh, nonce}, &a)
	if err != nil {
		var e *Error
		if errors.As(err, &e) && e.Status == http.StatusUnauthorized && e.Code != codeUnexpectedReply {
			return "", p.signedOut(e, s.Access)
		}
		return "", p.judge(err, s.Access)
	}
	if a.AccessToken == "" || a.RefreshToken == "" {
		return "", &Error{Code: codeBadAnswer, Detail: "the refresh's answer lacks tokens"}
	}
	next := p.sessionOf(&a)
	err = p.st.update(func(t tx) error {
		var now session
		if err := getJSON(t, keySession, &now); err != nil {
			return err
		}
		if now.Access != s.Access { // signed out or in meanwhile
			return ErrSignedOut
		}
		return errors.Join(putJSON(t, keySession, next), t.del(bucketMeta, keyNonce))
	})
	if err != nil {
		return "", err
	}
	return next.Access, nil
}

func (p *Phone) signedOut(e *Error, access string) error {
	if err := p.dropSession(access); err != nil {
		return errors.Join(e, err)
	}
	return fmt.Errorf("%w: %w", ErrSignedOut, e)
}

// judge acts on refusals that end the session or the device. access is the
// token that the refused request carried, "" for a sign-in; an answer to a
// session that is no longer the current one changes nothing.
func (p *Phone) judge(err error, access string) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	switch {
	case e.Code == codeDeviceRevoked && e.Wipe:
		if access != "" {
			if s, serr := p.session(); serr != nil || s.Access != access {
				return err
			}
		}
		if werr := p.wipe(); werr != nil {
			return errors.Join(e, werr)
		}
		return fmt.Errorf("%w: %w", ErrWiped, e)
	case e.Code == codeDeviceRevoked, e.Code == codeSessionRevoked:
		if access != "" {
			return p.signedOut(e, access)
		}
	}
	return err
}

// orWiped returns err, or ErrWiped where there had been fewer wipes when what
// ended so began: another request was told to wipe the device meanwhile, and all
// that this one may have noticed is that there is no session any more.
func (p *Phone) orWiped(wipes int64, err error) error {
	gone := err == nil || errors.Is(err, ErrSignedOut) || hasCode(err, codeDeviceRevoked)
	if !gone || errors.Is(err, ErrWiped) || p.wipes.Load() == wipes {
		return err
	}
	return fmt.Errorf("%w: another request was told first", ErrWiped)
}

func (p *Phone) wipe() error {
	p.wipes.Add(1)
	if p.opts.OnWipe != nil {
		var unsent []wire.Mutation
		err := p.st.view(func(t tx) error {
			return eachEdit(t, func(e edit) error {
				if !e.settled {
					unsent = append(unsent, e.Mutation)
				}
				return nil
			})
		})
		if err != nil {
			p.log.Error("unsent work could not be read before the wipe", "error", err)
		}
		p.opts.OnWipe(unsent)
	}
	return p.Erase()
}

// acquire takes a lock, or gives up with the context or the phone.
func (p *Phone) acquire(ctx context.Context, lock chan struct{}) (release func(), err error) {
	select {
	case <-p.closed:
		return nil, ErrClosed
	default:
	}
	select {
	case lock <- struct{}{}:
		return func() { <-lock }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.closed:
		return nil, ErrClosed
	}
}
