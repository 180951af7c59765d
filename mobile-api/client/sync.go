package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"time"

	mobile "satchel/mobile-api/wire"
	"satchel/sync/wire"
)

// Report is what a Sync did.
type Report struct {
	Pages   int // applied
	Ignored int // that did not start from this device's checkpoint
	Records int // received
	Removed int // taken away by name; a reset is not counted
	Results []wire.Result
	Healed  []string // types sent anew because their digest differed
	// Complete: the last page ended a round, and every digest agreed.
	Complete bool

	requeued bool   // work that the server had lost is in the outbox again
	rules    string // version of the rules, as the last page told it
}

const (
	maxIgnored = 8 // stale answers in a row
	maxHeals   = 3 // of one type in one Sync or connection
	maxGaps    = 3 // changes of numbering in one Sync
	// maxAstray is how many pages may bring changed fields of what is not here,
	// while the phone is open, before it asks for whole records.
	maxAstray = 3
)

// Sync pushes what is unsent and pulls until the device has everything. After
// a round that brought something it pulls once more, so that the server knows
// it arrived. A push that fails does not keep the pull from happening: what was
// taken from the person leaves the device also when their work can't be sent.
// The report says how far it came also where there is an error.
func (p *Phone) Sync(ctx context.Context) (Report, error) {
	wipes := p.wipes.Load()
	rep, err := p.sync(ctx)
	return rep, p.orWiped(wipes, err)
}

func (p *Phone) sync(ctx context.Context) (Report, error) {
	var rep Report
	release, err := p.acquire(ctx, p.syncing)
	if err != nil {
		return rep, err
	}
	defer release()
	pushErr := p.pushAll(ctx, &rep)
	var e *Error
	if pushErr != nil && (!errors.As(pushErr, &e) || over(pushErr)) {
		return rep, pushErr // no answer at all, or no session any more
	}
	beside, cancel := context.WithCancel(ctx)
	early, join := p.earlyRules(beside)
	defer join()
	defer cancel()
	err = p.pullAll(ctx, &rep, nil, early)
	if rep.requeued && pushErr == nil && err == nil {
		if pushErr = p.pushAll(ctx, &rep); pushErr == nil {
			err = p.pullAll(ctx, &rep, nil, early)
		}
	}
	if err == nil {
		join()
		err = p.freshenRules(ctx, rep.rules)
	}
	return rep, errors.Join(pushErr, err)
}

// over reports whether an error ends all contact until a person acts.
func over(err error) bool {
	return errors.Is(err, ErrSignedOut) || errors.Is(err, ErrWiped) || errors.Is(err, ErrClosed)
}

func (p *Phone) pushAll(ctx context.Context, rep *Report) error {
	limit, gaps := maxPushMutations, 0
	for {
		more, err := p.pushChunk(ctx, rep, &limit, &gaps)
		if err != nil || !more {
			return err
		}
	}
}

// pushChunk sends the next chunk over HTTP. more is false where there was
// nothing to send.
func (p *Phone) pushChunk(ctx context.Context, rep *Report, limit, gaps *int) (more bool, err error) {
	release, err := p.acquire(ctx, p.pushing)
	if err != nil {
		return false, err
	}
	defer release()
	body, first, ok, err := p.nextPush(*limit)
	if err != nil || !ok {
		return false, err
	}
	var rs results
	if err := p.call(ctx, "/sync/v1/push", body, &rs); err != nil {
		e, content := refusesContent(err)
		switch {
		case !content:
			return false, err
		case len(body.Mutations) > 1:
			*limit = max(1, len(body.Mutations)/2) // find the one at fault
			return true, nil
		}
		r, err := p.refuseFirst(first, e)
		if err == nil {
			rep.Results = append(rep.Results, r)
			*limit = maxPushMutations
		}
		return true, err
	}
	out, err := p.storeResults(rs)
	if err != nil {
		return false, err
	}
	rep.Results = append(rep.Results, out.stored...)
	return true, p.pushed(out, gaps)
}

// pushed turns what a push came to into the error that ends pushing, or nil to
// go on.
func (p *Phone) pushed(out outcome, gaps *int) error {
	switch {
	case out.reused:
		return fmt.Errorf("%w: this store turned out to be a copy of another device's (%s); a new incarnation has begun", ErrSignedOut, codeNumberReused)
	case out.gap:
		if *gaps++; !out.moved && len(out.stored) == 0 || *gaps > maxGaps {
			return &Error{Status: http.StatusConflict, Code: codeNumberGap, Detail: "the server waits for a mutation that this device does not have"}
		}
	case len(out.stored) == 0:
		return &Error{Status: http.StatusOK, Code: codeBadAnswer, Detail: "a push was answered without results"}
	}
	return nil
}

// pullState is what successive pulls share.
type pullState struct {
	reconcile bool
	heal      []string
	healed    map[string]int
	refusals  int // bad_checkpoint in a row
	offered   bool
	// touched: the last request preferred the digests of what is touched.
	touched bool
}

// checkAll is how long after all digests agreed those of what a page touches will
// do.
const checkAll = 24 * time.Hour

// wantsChanges reports whether changed fields are asked for. Where they keep
// being of other than what is here, for whatever reason, types would be healed
// for each change, or on a socket no more: whole records mend what they replace.
func (p *Phone) wantsChanges() bool { return p.astray.Load() < maxAstray }

// prefers returns what the next request over HTTP prefers, and notes it.
func (p *Phone) prefers(s *pullState) (string, error) {
	s.touched = false
	err := p.st.view(func(t tx) error {
		var last state
		if err := getJSON(t, keyState, &last); err != nil {
			p.log.Warn("what the last page said is not known", "error", err)
			return nil
		}
		since := p.now().Sub(last.Checked)
		s.touched = last.Complete && since >= 0 && since < checkAll && !s.reconcile && len(s.heal) == 0
		return nil
	})
	var prefer []string
	if p.wantsChanges() {
		prefer = append(prefer, mobile.PreferChanges)
	}
	if s.touched {
		prefer = append(prefer, mobile.PreferTouched)
	}
	return strings.Join(prefer, ", "), err
}

// offers reports whether a page that would drop everything is to be answered
// by saying what the device holds, so that only what differs is sent again.
// It says so once; a server that resets all the same is followed.
func (s *pullState) offers(pg *page) bool {
	if !pg.Reset || len(pg.ResetTypes) > 0 || pg.From == "" || s.reconcile || s.offered {
		return false
	}
	s.reconcile, s.offered, s.heal = true, true, nil
	return true
}

// pullRequest makes the next pull, with the settings' version that it brings
// the server up to.
func (p *Phone) pullRequest(s *pullState) (req wire.Pull, version uint64, err error) {
	err = p.st.view(func(t tx) error {
		set, err := readSettings(t)
		if err != nil {
			return err
		}
		req = wire.Pull{Checkpoint: string(t.get(bucketMeta, keyCheckpoint)), Heal: s.heal}
		if p.opts.PageLimit != 0 {
			req.Limit = &p.opts.PageLimit
		}
		set.into(&req)
		version = set.Version
		if s.reconcile {
			sums, err := summaries(t)
			if err != nil {
				return err
			}
			req.Reconcile = &sums
		}
		return nil
	})
	return req, version, err
}

// refusedCheckpoint answers a bad_checkpoint: first by saying what the device
// holds, then by starting from nothing. Records stay until the first page
// arrives; unsent work stays anyway.
func (p *Phone) refusedCheckpoint(s *pullState) error {
	s.refusals++
	s.heal = nil
	switch s.refusals {
	case 1:
		s.reconcile = true
		return p.st.update(func(t tx) error { return resendSettings(t, nil) })
	case 2:
		s.reconcile = false
		return p.st.update(func(t tx) error {
			return errors.Join(t.del(bucketMeta, keyCheckpoint), t.del(bucketMeta, keyRound))
		})
	}
	return &Error{Status: http.StatusBadRequest, Code: codeBadCheckpoint, Detail: "the server refuses to start from nothing"}
}

// after notes an applied page and decides what to heal. diverged are types
// that healing does not mend.
func (s *pullState) after(out applied) (diverged []string) {
	s.heal, s.reconcile, s.refusals = nil, false, 0
	for _, typ := range out.differ {
		if s.healed == nil {
			s.healed = map[string]int{}
		}
		if s.healed[typ]++; s.healed[typ] > maxHeals {
			diverged = append(diverged, typ)
		} else {
			s.heal = append(s.heal, typ)
		}
	}
	return diverged
}

// pullAll pulls until the device has everything and the server knows. Where more is
// to come after an applied page it calls coming, which may be nil, as soon as the
// request for that has its connection: what is begun then does not take it away,
// and opening another would cost a round trip.
func (p *Phone) pullAll(ctx context.Context, rep *Report, heal []string, coming func()) error {
	call := ctx
	s := pullState{heal: heal}
	ignored, carried, acknowledged := 0, false, false
	for {
		emptied := p.emptied.Load()
		req, version, err := p.pullRequest(&s)
		if err != nil {
			return err
		}
		prefer, err := p.prefers(&s)
		if err != nil {
			return err
		}
		var pg page
		err = p.call(call, "/sync/v1/pull", req, &pg, prefer)
		if hasCode(err, codeBadCheckpoint) {
			if err := p.refusedCheckpoint(&s); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if s.offers(&pg) {
			if err := p.st.update(func(t tx) error { return resendSettings(t, nil) }); err != nil {
				return err
			}
			continue
		}
		out, err := p.applyPage(&pg, applyHow{reconciled: s.reconcile, settings: version, touched: s.touched, emptied: emptied})
		if err != nil {
			return err
		}
		if !out.ok {
			rep.Ignored++
			if ignored++; ignored > maxIgnored {
				return ErrStale
			}
			continue
		}
		ignored = 0
		rep.Pages++
		rep.Records += len(pg.Records)
		rep.Removed += len(pg.Removed)
		rep.requeued = rep.requeued || out.requeued
		if pg.Rules != "" {
			rep.rules = pg.Rules
		}
		carried = carried || !pg.empty() || out.waiting
		for _, typ := range req.Heal {
			if !slices.Contains(rep.Healed, typ) {
				rep.Healed = append(rep.Healed, typ)
			}
		}
		diverged := s.after(out)
		rep.Complete = pg.Complete != nil && !pg.More && len(out.differ) == 0
		switch {
		case len(diverged) > 0:
			return fmt.Errorf("%w: %v", ErrDiverged, diverged)
		case len(s.heal) > 0:
			p.log.Warn("digests differ, types are pulled anew", "types", s.heal)
		case pg.More:
			if coming != nil {
				call = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { coming() }})
			}
		case carried && !acknowledged:
			acknowledged = true
		default:
			return nil
		}
	}
}

// differing notes that types were found to differ: should they not be healed now,
// the next pulls ask for all digests, and none is taken as it was a moment ago.
func (p *Phone) differing(types []string) error {
	p.applying.Lock()
	defer p.applying.Unlock()
	for _, typ := range types {
		delete(p.checked, typ)
	}
	return p.st.update(func(t tx) error {
		var last state
		if err := getJSON(t, keyState, &last); err != nil {
			p.log.Warn("what the last page said is not known", "error", err)
			return nil // all are asked for then
		}
		last.Checked = time.Time{}
		return putJSON(t, keyState, last)
	})
}

// Verify computes the digests of all that the device holds, has the server
// compare them, and pulls anew what differs. It returns the types that did.
// ErrDiverged where they still differ afterwards.
func (p *Phone) Verify(ctx context.Context) (healed []string, err error) {
	release, err := p.acquire(ctx, p.syncing)
	if err != nil {
		return nil, err
	}
	defer release()
	for range 2 {
		var mine wire.Types
		err := p.st.view(func(t tx) error {
			var err error
			mine, err = summaries(t)
			return err
		})
		if err != nil {
			return healed, err
		}
		p.applying.Lock()
		clear(p.sums) // what was computed before may hide a damaged store
		p.applying.Unlock()
		var v wire.Verified
		if err := p.call(ctx, "/sync/v1/verify", mine, &v); err != nil {
			return healed, err
		}
		if v.OK || len(v.Types) == 0 {
			return healed, nil
		}
		if healed != nil {
			return healed, fmt.Errorf("%w: %v", ErrDiverged, v.Types)
		}
		healed = v.Types
		if err := p.differing(v.Types); err != nil {
			return healed, err
		}
		var rep Report
		if err := p.pullAll(ctx, &rep, v.Types, nil); err != nil {
			return healed, err
		}
	}
	return healed, nil
}
