package simtest

import (
	"bytes"
	"encoding/json"
	"fmt"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/refresh"
	"satchel/server/session/token"
	"satchel/sync/apply"
	"satchel/sync/store"
)

// The edge as far as it matters to the core: access tokens that run out, and
// refresh tokens as server/session/token makes them. What the core says to a
// request is held against the raw row of its session.

// over reports whether the access token that a request carries has run out.
func (s *sim) over(r request) bool { return r.good != 0 && s.now >= r.good }

// turnedAway is what the edge does with a request whose access token has run
// out: it never gets to the log.
func (s *sim) turnedAway(r request) bool {
	if !s.over(r) {
		return false
	}
	s.count("turned away: " + kindOf(r.cmd))
	s.met(tokenOver, r.from)
	s.note("turned away: %s", r.what)
	if r.cmd.Session == r.from.session && r.fate != answerLost {
		r.from.expired = true
	}
	return true
}

// refreshing exchanges the phone's tokens. The nonce is kept until there is an
// answer, so that the repetition after a lost one is told from a theft.
func (p *phone) refreshing() request {
	s := p.s
	if p.nonce == "" {
		s.serial++
		p.nonce = fmt.Sprintf("n-%d-%d", s.step+1, s.serial)
	}
	return p.exchange(p.refresh, p.nonce)
}

// exchange presents a refresh token.
func (p *phone) exchange(presented, nonce string) request {
	s := p.s
	attempt, successor, err := s.key.Attempt(presented, nonce)
	must(err)
	session, _, err := token.Parse(presented)
	must(err)
	c := &command.Command{Refresh: &command.Refresh{Session: session, Attempt: attempt}}
	return request{cmd: c, from: p, what: said("%s refreshes", p.name), read: func(res *apply.Result) func() {
		err, good := res.Err, s.now+token.Lifetime
		if err == nil {
			err = res.Refused
		}
		return func() {
			if p.refresh != presented || p.session != session {
				s.count("answer to an older refresh token")
				return
			}
			switch {
			case err == nil:
				p.access, p.refresh, p.nonce, p.expired = good, successor, "", false
			case fault.Is(err, fault.DeviceRevoked):
				s.count("wipe ordered")
				p.wipe()
			default:
				p.signOut()
			}
		}
	}}
}

// thief presents a token that was stolen from the phone.
func (p *phone) thief() {
	s := p.s
	s.serial++
	r := p.exchange(p.stolen, fmt.Sprintf("thief-%d-%d", s.step+1, s.serial))
	r.from, r.what = nil, said("somebody else refreshes with the token of %s", p.name)
	read := r.read
	r.read = func(res *apply.Result) func() {
		read(res)
		s.count(map[bool]string{true: "thief served", false: "thief refused"}[res.Err == nil && res.Refused == nil])
		return nil
	}
	p.stolen = ""
	s.submit(s.fault(), r)
}

// sessionRow is what is stored of a session, as far as it is judged by.
type sessionRow struct {
	there    bool
	Employee ident.RecordID `json:"employee"`
	Device   ident.DeviceID `json:"device"`
	Strong   bool           `json:"strong"`
	Family   struct {
		Current       refresh.Digest `json:"current"`
		Previous      refresh.Digest `json:"previous"`
		PreviousNonce string         `json:"previousNonce"`
		RotatedAt     ident.Millis   `json:"rotatedAt"`
		ExpiresAt     ident.Millis   `json:"expiresAt"`
		IdleExpiresAt ident.Millis   `json:"idleExpiresAt"`
		Revoked       bool           `json:"revoked"`
	} `json:"family"`
	cut bool // its device was revoked
}

// session reads the row of a session.
func (s *sim) session(id ident.SessionID) (row sessionRow) {
	v := s.snap.Get(store.Sessions, append([]byte{'s'}, id...))
	if v == nil {
		return row
	}
	row, ok := s.parsed[string(v)]
	if !ok {
		must(json.Unmarshal(v, &row))
		row.there = true
		s.parsed[string(v)] = row
	}
	if d, ok := s.world.Record(row.Device); ok {
		row.cut = d.Text("status") == "Revoked"
	}
	return row
}

// over reports whether the session counts for nothing at an instant.
func (row sessionRow) over(now ident.Millis) bool {
	return !row.there || row.Family.Revoked || now >= row.Family.ExpiresAt || now >= row.Family.IdleExpiresAt
}

// remember notes what is stored before an entry of what its requests concern.
func (s *sim) remember(reqs []request) {
	if s.snap == nil {
		return
	}
	clear(s.sessions)
	clear(s.floor)
	for _, r := range reqs {
		if r.cmd.Push != nil {
			if s.floor == nil {
				s.floor = map[ident.DeviceID]uint64{}
			}
			s.floor[r.cmd.Device] = s.deviceRow(r.cmd.Device).Processed
		}
		for _, id := range []ident.SessionID{r.cmd.Session, sessionOf(r.cmd)} {
			if id != "" {
				s.sessions[id] = s.session(id)
			}
		}
	}
	if len(reqs) == 1 && reqs[0].cmd.Pull != nil {
		return // ends no session
	}
	for _, p := range s.phones {
		if p.session != "" {
			if _, ok := s.sessions[p.session]; !ok {
				s.sessions[p.session] = s.session(p.session)
			}
		}
	}
}

func sessionOf(c *command.Command) ident.SessionID {
	if c.Refresh != nil {
		return c.Refresh.Session
	}
	return ""
}

// judgeSession holds what a session was answered against its row before the
// entry and after it: one that is over is refused, and told to wipe where its
// device was revoked; one that is good is not.
func (s *sim) judgeSession(c *command.Command, res apply.Result) {
	if c.Session == "" || c.Actor == "" {
		return
	}
	now := s.world.Now
	was, is := s.sessions[c.Session], s.session(c.Session)
	if c.Pull != nil {
		was = is // pulls come after all else of their entry
	}
	active := func(before bool) bool {
		w := s.world
		if before && s.prev != nil && c.Pull == nil {
			w = s.prev
		}
		return w.Active(c.Actor)
	}
	served := !fault.Is(res.Err, fault.SessionRevoked) && !fault.Is(res.Err, fault.DeviceRevoked)
	switch {
	case was.there && is.there && was.cut && is.cut:
		s.count("request of a revoked device")
		if !fault.Is(res.Err, fault.DeviceRevoked) || fault.Of(res.Err).Extra["wipe"] != true {
			s.fail("I6: %s of a revoked device is answered %v, not with the order to wipe", kindOf(c), res.Err)
		}
	case was.over(now) && is.over(now):
		s.count("request of a session that is over")
		if was.there && !was.Family.Revoked {
			s.count("request of a session that has expired")
		}
		if served {
			s.fail("I6: %s of a session that is over was served: %v", kindOf(c), res.Err)
		}
	case !active(true) && !active(false):
		if served {
			s.fail("I6: %s of somebody who is out was served: %v", kindOf(c), res.Err)
		}
	case !was.over(now) && !is.over(now) && active(true) && active(false) && !is.cut:
		if !served {
			s.fail("%s of a session that is good is answered %v", kindOf(c), res.Err)
		}
	}
}

// judgeEnded: whatever session an entry ended, its socket is closed with it.
func (s *sim) judgeEnded() {
	if !s.folded {
		return
	}
	for id, was := range s.sessions {
		if !was.there || was.Family.Revoked {
			continue
		}
		if is := s.session(id); is.there && is.Family.Revoked {
			s.count("session ended")
			if _, told := s.effects.Ended[id]; !told {
				s.fail("I6: session %s was ended and its socket would live on", id)
			}
		}
	}
}

// sessionKept is how long a session that is over is remembered.
const sessionKept = 30 * day

// demandsFactor reports whether administrators need a second factor.
func (s *sim) demandsFactor() bool {
	return apply.FactorDemanded(s.reader())
}

// judgeRefresh holds the outcome of a refresh against the rule, said once more
// here: the current token is good, the one before it as well where the attempt
// is the same, and any other that was issued ends the session.
func (s *sim) judgeRefresh(c *command.Command, res apply.Result) {
	a, now := c.Refresh.Attempt, s.world.Now
	was, is := s.sessions[c.Refresh.Session], s.session(c.Refresh.Session)
	f := was.Family
	same := func(d refresh.Digest) bool { return !d.IsZero() && bytes.Equal(d[:], a.Presented[:]) }
	current, previous := same(f.Current), same(f.Previous)
	want, what := fault.Code(""), ""
	switch {
	case !was.there, !is.there && now >= f.ExpiresAt+sessionKept: // swept before, or with this entry
		want, what = fault.InvalidToken, "of a session that is not there"
	case was.cut:
		want, what = fault.DeviceRevoked, "of a revoked device"
	case !current && !previous && !a.Issued:
		want, what = fault.InvalidToken, "that was never issued"
	case was.over(now):
		want, what = fault.SessionRevoked, "of a session that is over"
	case current:
		what = "current"
	case previous && a.Nonce == f.PreviousNonce && a.Nonce != "":
		what = "used again for a lost answer"
	default:
		want, what = fault.SessionRevoked, "used twice"
	}
	if want == "" && (s.prev != nil && !s.prev.Active(was.Employee) || !s.world.Active(was.Employee)) {
		want, what = fault.SessionRevoked, "of somebody who is out"
	}
	if want == "" && !was.Strong && s.world.Administers(was.Employee) && s.demandsFactor() {
		want, what = fault.SessionRevoked, "without a second factor"
	}
	s.count("refresh token " + what)
	got := fault.Code("")
	for _, err := range []error{res.Err, res.Refused} {
		if err != nil {
			got = fault.Of(err).Code
		}
	}
	if got != want {
		s.fail("a refresh token %s is answered %q, not %q", what, got, want)
	}
	switch {
	case what == "used twice" && !is.Family.Revoked:
		s.fail("I6: a refresh token used twice left its session alive")
	case want == "" && !bytes.Equal(is.Family.Current[:], a.Successor[:]):
		s.fail("a refresh did not make its successor the current token")
	case want != "" && what != "used twice" && what != "without a second factor" && was.there && is.there && is.Family.Revoked != f.Revoked:
		s.fail("a refresh token %s changed the session", what)
	}
}
