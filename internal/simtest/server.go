package simtest

import (
	"bytes"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"slices"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/sync/apply"
	"satchel/sync/audit"
	"satchel/sync/oplog"
	"satchel/sync/store"
	"satchel/sync/verify"
)

// commit appends the entry under a fault. It returns false where nothing
// happened at all, so that there is nothing to look at.
func (s *sim) commit(befalls string, d oplog.Draft, reqs []request) bool {
	if befalls == "" {
		must(s.append(d))
		return true
	}
	var phones []*phone
	for _, r := range reqs {
		s.count(befalls + " of " + kindOf(r.cmd))
		if r.from != nil {
			phones = append(phones, r.from)
		}
	}
	if len(reqs) > 1 {
		s.count(befalls + " of several commands")
	}
	s.met(befalls, phones...)
	if befalls == tornWrite {
		return s.torn(d, reqs)
	}
	mem := s.eng.(*store.Mem)
	_, last := s.log.Bounds()
	switch befalls {
	case diskFull:
		mem.Refuse = func() error { return store.ErrDiskFull }
	case writeFails:
		n := s.rng.IntN(30)
		mem.FailWrite = func() error {
			if n--; n < 0 {
				return errCrash
			}
			return nil
		}
	case crashBefore, unknownLost:
		mem.FailCommit = func() error { return errCrash }
	case crashAfter, unknownKept:
		mem.LoseCommit = func() error { return errCrash }
	}
	err := s.append(d)
	mem.Refuse, mem.FailWrite, mem.FailCommit, mem.LoseCommit = nil, nil, nil, nil
	switch befalls {
	case diskFull:
		if !errors.Is(err, store.ErrDiskFull) || fault.Of(err).Code != fault.DiskFull {
			s.fail("a full disk was told as %v", err)
		}
		return s.refused(last, reqs)
	case writeFails:
		if err == nil { // it wrote less than that
			return true
		}
		if !errors.Is(err, errCrash) || errors.Is(err, store.ErrUnknown) {
			s.fail("a write that failed was told as %v", err)
		}
		if s.chance(50) { // the tenant is stopped, and opened again
			s.eng = mem.Clone()
			s.open()
		}
		if s.chance(50) {
			return s.refused(last, reqs)
		}
		must(s.append(d))
		return true
	}
	if !errors.Is(err, store.ErrUnknown) {
		s.fail("a failed commit was told as %v", err)
	}
	if _, err := mem.Snapshot(); !errors.Is(err, store.ErrUnknown) {
		s.fail("an engine whose last commit is unknown is read: %v", err)
	}
	if err := s.append(d); !errors.Is(err, oplog.ErrHalted) {
		s.fail("a log whose last entry is unknown takes another: %v", err)
	}
	s.folded = false
	s.eng = mem.Clone()
	if s.planted == plantLoss {
		s.eng = s.base.Clone()
	}
	s.open()
	s.reopened()
	kept := befalls == crashAfter || befalls == unknownKept
	if _, now := s.log.Bounds(); (now != last) != kept {
		s.fail("after %s the log ends at %d, before at %d", befalls, now, last)
	}
	if befalls == crashBefore || befalls == crashAfter {
		// Whoever proposed the entry proposes it again: it is there once.
		must(s.append(d))
		if s.folded == kept {
			s.fail("after %s the retried draft was folded: %v", befalls, s.folded)
		}
	} else {
		s.newProposer()
	}
	return true
}

// refused is the end of a commit that left nothing: the number was not used,
// and whoever asked is told to try again.
func (s *sim) refused(last ident.Position, reqs []request) bool {
	if _, now := s.log.Bounds(); now != last {
		s.fail("an entry that was refused is in the log")
	}
	s.number--
	for _, r := range reqs {
		s.unanswered(r)
	}
	return false
}

// unanswered: whoever asked knows nothing of what became of it.
func (s *sim) unanswered(r request) {
	s.count("unanswered: " + kindOf(r.cmd))
	if r.from == nil && r.cmd.Write != nil && r.cmd.Write.Key != "" && s.chance(70) {
		s.under = append(s.under, r.repeated())
	}
}

// torn cuts the commit short at sectors of the file, as a power cut does, and
// opens what is left: the state before or the state after.
func (s *sim) torn(d oplog.Draft, reqs []request) bool {
	_, last := s.log.Bounds()
	path := s.eng.(*store.Bolt).Path()
	before, err := os.ReadFile(path)
	must(err)
	must(s.append(d))
	after, err := os.ReadFile(path)
	must(err)
	whole, err := s.eng.Snapshot()
	must(err)
	defer whole.Close()
	must(s.log.Close())
	s.dead = append(s.dead, s.eng)
	next := s.path()
	// Dice of their own: how many are thrown depends on where in the file bbolt put
	// its pages, which is not the same twice. Whether the commit was kept is.
	dice := rand.New(rand.NewPCG(s.rng.Uint64(), 0))
	must(os.WriteFile(next, store.Torn(before, after, dice.IntN), 0o600))
	s.eng = s.openBolt(next)
	must(s.eng.(*store.Bolt).Check())
	s.folded = false
	s.open()
	_, now := s.log.Bounds()
	kept := now != last
	snap, err := s.eng.Snapshot()
	must(err)
	defer snap.Close()
	want, name := store.Reader(s.snap), "before"
	if kept {
		want, name = whole, "after"
	}
	if diff := differ(want, snap); diff != "" {
		s.fail("a torn write left something between: not as %s, %s", name, diff)
	}
	s.count(tornWrite + ", the commit " + map[bool]string{true: "kept", false: "lost"}[kept])
	s.reopened()
	if s.chance(50) {
		must(s.append(d))
	} else {
		s.newProposer()
	}
	if !kept && !s.folded {
		s.count("unanswered after a torn write")
	}
	_ = reqs
	return true
}

// differ compares all rows of two states and names one that differs.
func differ(a, b store.Reader) string {
	for _, bk := range store.Buckets() {
		rows := map[string][]byte{}
		a.Scan(bk, nil, func(k, v []byte) bool {
			rows[string(k)] = bytes.Clone(v)
			return true
		})
		bad := ""
		b.Scan(bk, nil, func(k, v []byte) bool {
			if old, ok := rows[string(k)]; !ok || !bytes.Equal(old, v) {
				bad = bk.String() + " " + string(k)
				return false
			}
			delete(rows, string(k))
			return true
		})
		if bad == "" && len(rows) > 0 {
			bad = bk.String() + " lacks " + sortedKeys(rows)[0]
		}
		if bad != "" {
			return bad
		}
	}
	return ""
}

// reopened looks at a store that was opened again after something went wrong.
func (s *sim) reopened() {
	snap, err := s.eng.Snapshot()
	must(err)
	defer snap.Close()
	s.kept(snap)
	if s.dice.IntN(6) == 0 {
		s.verified(snap)
	}
}

// kept: what was acknowledged is there, or was deleted since.
func (s *sim) kept(snap store.Reader) {
	for id := range s.made {
		if snap.Get(store.IDs, []byte(id)) == nil {
			s.fail("I1: %s, whose creation was acknowledged, is gone", id)
		}
	}
}

// verified runs what `satchel verify` runs.
func (s *sim) verified(snap store.Reader) {
	s.count("store verified")
	rep := verify.Run(s.cat, snap, nil)
	verify.Log(s.log, rep)
	if !rep.OK() {
		s.fail("verify: %v", rep.Problems)
	}
}

// restart opens the store again, as a server that was stopped would.
func (s *sim) restart() {
	s.note("restart")
	s.met(restarted, s.phones...)
	s.reopen(func(path string) string { return path })
	s.look()
}

// reopen closes store and log and opens them again; the file may be made
// another meanwhile.
func (s *sim) reopen(replace func(path string) string) {
	must(s.log.Close())
	switch eng := s.eng.(type) {
	case *store.Mem:
		must(eng.Close())
		s.eng = eng.Clone()
	case *store.Bolt:
		// A snapshot keeps the file open, and what the world was read from is
		// what the reopened store must have.
		if s.snap != nil {
			s.snap.Close()
			s.snap = nil
		}
		must(eng.Close())
		s.eng = s.openBolt(replace(eng.Path()))
	}
	s.open()
	s.newProposer()
	snap, err := s.eng.Snapshot()
	must(err)
	s.kept(snap)
	snap.Close()
}

// compact takes the free pages out of a bolt store.
func (s *sim) compact() {
	if _, ok := s.eng.(*store.Bolt); !ok {
		return
	}
	s.note("compact")
	s.met(compacted, s.phones...)
	was, err := s.rows().Snapshot()
	must(err)
	s.reopen(func(path string) string {
		next := s.path()
		must(store.Compact(path, next, nil))
		must(os.Remove(path))
		return next
	})
	s.look()
	if diff := differ(was, s.snap); diff != "" {
		s.fail("compaction changed a row: %s", diff)
	}
	s.verified(s.snap)
}

// rows copies the latest commit's rows into an engine of their own.
func (s *sim) rows() *store.Mem {
	if mem, ok := s.eng.(*store.Mem); ok {
		return mem.Clone()
	}
	snap, err := s.eng.Snapshot()
	must(err)
	defer snap.Close()
	mem := store.NewMem()
	must(mem.Update(func(w store.Writer) error { return copyRows(w, snap) }))
	return mem
}

func copyRows(w store.Writer, r store.Reader) (err error) {
	for _, b := range store.Buckets() {
		r.Scan(b, nil, func(k, v []byte) bool {
			if b != store.Meta || string(k) != "format" {
				err = w.Put(b, k, v)
			}
			return err == nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// backup is what a backup of the server is of, and what is known of it.
type backup struct {
	mem    *store.Mem // nil where it is a file
	path   string
	base   *store.Mem
	baseAt ident.Position
	eras   []era
	cfg    apply.Config
	made   map[ident.RecordID]bool
	keyed  map[string]keyUse
}

func (s *sim) backup() {
	b := backup{base: s.base, baseAt: s.baseAt, eras: slices.Clone(s.eras), cfg: s.cfg, made: maps.Clone(s.made), keyed: maps.Clone(s.keyed)}
	switch eng := s.eng.(type) {
	case *store.Mem:
		b.mem = eng.Clone()
	case *store.Bolt:
		b.path = s.path()
		f, err := os.Create(b.path)
		must(err)
		_, err = eng.Backup(f)
		must(errors.Join(err, f.Close()))
	}
	s.backups = append(s.backups, b)
	if len(s.backups) > 3 {
		s.backups = s.backups[1:]
	}
	s.note("backup")
}

// restore puts the server back to an earlier backup: phones are ahead of it.
func (s *sim) restore() {
	if len(s.backups) == 0 {
		return
	}
	i := s.rng.IntN(len(s.backups))
	b := s.backups[i]
	s.note("restore backup %d of %d", i, len(s.backups))
	s.met(restored, s.phones...)
	must(s.log.Close())
	if b.mem != nil {
		s.eng = b.mem.Clone()
	} else {
		s.dead = append(s.dead, s.eng)
		raw, err := os.ReadFile(b.path)
		must(err)
		next := s.path()
		must(os.WriteFile(next, raw, 0o600))
		s.eng = s.openBolt(next)
	}
	s.backups = s.backups[:i+1]
	s.now++
	_, err := oplog.BumpEpoch(s.eng, s.now, s.rng.Uint32())
	must(err)
	s.base, s.baseAt, s.eras, s.made, s.keyed = b.base, b.baseAt, slices.Clone(b.eras), maps.Clone(b.made), maps.Clone(b.keyed)
	s.open()
	s.newProposer()
	if n := len(s.eras); n == 0 || s.eras[n-1].cfg.Roles != s.cfg.Roles {
		s.choose(s.grown(), s.altered) // the program is the one of today
	}
	s.world = nil
	s.look()
	s.told = map[toldKey]string{}
	for _, p := range s.phones {
		p.restored()
	}
}

// rebase begins the entries that are replayed in the end anew: what was done to
// the store is in no entry.
func (s *sim) rebase() {
	s.base = s.rows()
	_, s.baseAt = s.log.Bounds()
}

// cutTrail takes old rows from the audit trail, as the operator's command does
// while nothing is served.
func (s *sim) cutTrail() {
	s.note("cut the audit trail")
	s.met(trailCut, s.phones...)
	head, _ := audit.ReadHead(s.snap)
	before := s.world.Now - ident.Millis(s.rng.IntN(300_000))
	must(s.log.Close())
	must(s.eng.Update(func(w store.Writer) error {
		_, n, _, err := audit.Cut(w, before)
		s.counters["rows cut from the audit trail"] += n
		return err
	}))
	s.open()
	s.newProposer()
	s.look()
	s.verified(s.snap)
	if cut, _ := audit.ReadCut(s.snap); cut.Pos < head.Pos {
		must(audit.Contains(s.snap, head))
	}
	s.rebase()
}

// truncate cuts the far end of the log.
func (s *sim) truncate() {
	s.note("truncate the log")
	s.met(logTruncated, s.phones...)
	floor, last := s.log.Bounds()
	to := floor + ident.Position(s.rng.IntN(int(last-floor)+2))
	must(s.log.Truncate(to))
	s.look()
	s.verified(s.snap)
	s.rebase()
}

// program restarts the server with other roles, or with record types that
// have grown.
func (s *sim) program(grown, altered bool) {
	s.note("restart as another program: second edition %v, other roles %v", grown, altered)
	must(s.log.Close())
	if mem, ok := s.eng.(*store.Mem); ok {
		s.eng = mem.Clone()
	}
	s.choose(grown, altered)
	s.open()
	s.newProposer()
	s.look()
}

// jump sets the server's clock, by years.
func (s *sim) jump(name string, by ident.Millis) {
	s.note("%s", name)
	s.met(name, s.phones...)
	s.now += by
	s.submit(s.fault(), request{cmd: &command.Command{Tick: &command.Tick{}}, what: said("tick")})
}

// checkReplay folds the log into a store of its own, on machines that are
// opened anew now and then, and compares every row.
func (s *sim) checkReplay() {
	s.count("log replayed")
	other := s.base.Clone()
	var m *apply.Machine
	cfg := s.suites.plain
	eras := s.eras
	for len(eras) > 0 && eras[0].after <= s.baseAt {
		cfg, eras = eras[0].cfg, eras[1:]
	}
	must(s.log.Entries(s.baseAt+1, func(e oplog.Entry) (bool, error) {
		for len(eras) > 0 && eras[0].after < e.Pos {
			cfg, eras, m = eras[0].cfg, eras[1:], nil
		}
		if m == nil || s.dice.IntN(20) == 0 {
			m = apply.New(cfg)
		}
		err := other.Update(func(w store.Writer) error { return m.Fold(w, e) })
		m.Committed(e)
		return true, err
	}))
	snap, err := other.Snapshot()
	must(err)
	defer snap.Close()
	for _, b := range store.Buckets() {
		if b == store.Log {
			continue
		}
		rows := map[string][]byte{}
		kept := func(k []byte) bool {
			return b != store.Meta || !bytes.HasPrefix(k, []byte("log/")) && string(k) != "format"
		}
		s.snap.Scan(b, nil, func(k, v []byte) bool {
			if kept(k) {
				rows[string(k)] = bytes.Clone(v)
			}
			return true
		})
		snap.Scan(b, nil, func(k, v []byte) bool {
			if !kept(k) {
				return true
			}
			if old, ok := rows[string(k)]; !ok || !bytes.Equal(old, v) {
				s.fail("replay: bucket %s, row %q: %q was written, replayed it is %q", b, k, old, v)
			}
			delete(rows, string(k))
			return true
		})
		for k, v := range rows {
			s.fail("replay: bucket %s, row %q: %q was written, replayed it is not there", b, k, v)
		}
	}
}
