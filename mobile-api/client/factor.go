package client

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
)

// Challenge is what a sign-in with a right password is answered with where a
// second factor is wanted. It is good for a few minutes and a few codes.
type Challenge struct {
	Token string // for SecondFactor
	// Enrol is set where the person needs a second factor and has none: it is
	// chosen by putting it into an authenticator app and sending its code.
	Enrol *Enrolment
}

// Enrolment is a second factor to be put into an authenticator app.
type Enrolment struct {
	Secret string `json:"secret"` // base32, to be typed
	URI    string `json:"uri"`    // otpauth://…, to be shown as a QR code
}

// ChallengeOf returns the challenge in a refusal of Login; ok is false where
// it is no such refusal.
func ChallengeOf(err error) (c Challenge, ok bool) {
	var e *Error
	if !errors.As(err, &e) || e.Code != codeSecondFactor || json.Unmarshal(e.Extra["challenge"], &c.Token) != nil {
		return Challenge{}, false
	}
	if raw := e.Extra["enrol"]; raw != nil {
		c.Enrol = &Enrolment{}
		if json.Unmarshal(raw, c.Enrol) != nil {
			return Challenge{}, false
		}
	}
	return c, c.Token != ""
}

type secondFactorRequest struct {
	Tenant    string      `json:"tenant"`
	Challenge string      `json:"challenge"`
	Code      string      `json:"code,omitempty"`
	Recovery  string      `json:"recoveryCode,omitempty"`
	Device    loginDevice `json:"device"`
}

// SecondFactor finishes a Login that was answered with a challenge. code is the
// authenticator app's, or one of the person's recovery codes. A refusal is an
// *Error: invalid_code may be tried again with the same challenge, after
// challenge_expired Login starts anew. Where the second factor was chosen by
// this, recovery are its recovery codes, told this once.
func (p *Phone) SecondFactor(ctx context.Context, c Challenge, code string) (recovery []string, err error) {
	return p.signIn(ctx, "/v1/auth/second-factor", "", func(d loginDevice) any {
		r := secondFactorRequest{Tenant: p.opts.Tenant, Challenge: c.Token, Device: d}
		if strings.ContainsFunc(code, func(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' }) {
			r.Recovery = code
		} else {
			r.Code = code
		}
		return r
	})
}
