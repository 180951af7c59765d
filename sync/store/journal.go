package store

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"github.com/cespare/xxhash/v2"

	"satchel/internal/durable"
	"satchel/internal/mutant"
)

// A journal is two files beside the store's, SEGMENT 0 and 1, that take commits
// until they are folded into the store's own: while what one has is folded, the
// other takes what comes. Both begin with journalMagic and the nonce of the
// journal. Records follow without gaps, numbered by commits:
//
//	length of the payload  u32
//	sum                    u64  xxHash64, seeded by the nonce, of all that follows
//	number of the commit   u64
//	payload                for each write: bucket (one byte), length of the key
//	                       (uvarint), 0 for a delete or 1 + length of the
//	                       value (uvarint), key, value
//
// Numbers are little-endian. A segment is used again from its beginning, so
// what stands behind its last record is older records, with lower numbers, or
// what a crash left of one that nobody was told of.
const (
	journalMagic = "satchel-journal1"
	nonceLength  = 16
	journalHead  = len(journalMagic) + nonceLength
	recordHead   = 4 + 8 + 8
	// keptSegment is how much of a segment is kept to be written over: blocks
	// that are there make a sync one write instead of two.
	keptSegment = 64 << 20
)

// nonce tells a journal from others of the same file's past, or of another file.
type nonce [nonceLength]byte

func (n nonce) seed() uint64 { return binary.LittleEndian.Uint64(n[:]) }

// SegmentPaths returns the names of the files beside a store's that may hold
// commits which its file does not have yet. They are there only while the store
// is open, and after a crash until it is opened again. A store's file is copied or
// replaced only without them.
func SegmentPaths(path string) []string {
	return []string{path + "-journal-0", path + "-journal-1"}
}

// HasJournal reports whether there are segments beside a store's file.
func HasJournal(path string) bool {
	for _, p := range SegmentPaths(path) {
		if _, err := os.Lstat(p); err == nil {
			return true
		}
	}
	return false
}

// RemoveJournal removes the segments beside a store's file: for whoever has put another
// file in its place. No process may have the store open.
func RemoveJournal(path string) error {
	var errs []error
	gone := false
	for _, p := range SegmentPaths(path) {
		err := os.Remove(p)
		gone = gone || err == nil
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if gone {
		errs = append(errs, durable.SyncDir(filepath.Dir(path)))
	}
	return errors.Join(errs...)
}

// syncJournal makes durable what the segments beside a store's file are read as.
func syncJournal(path string) error {
	for _, p := range SegmentPaths(path) {
		f, err := os.OpenFile(p, os.O_RDWR, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// journal is the one that an open store writes.
type journal struct {
	path  string
	nonce nonce
	segs  [2]segment
	cur   int // the segment that is written
	sum   *xxhash.Digest
}

type segment struct {
	f   *os.File // nil until it is needed
	end int64    // where the next record goes
}

func newJournal(path string, n nonce) *journal {
	return &journal{path: path, nonce: n, sum: xxhash.New()}
}

// record makes room for the head of a record; writes are appended to it.
func newRecord(buf []byte) []byte { return append(buf[:0], make([]byte, recordHead)...) }

func appendWrite(rec []byte, b Bucket, row item) []byte {
	rec = append(rec, byte(b))
	rec = binary.AppendUvarint(rec, uint64(len(row.k)))
	if row.deleted {
		rec = binary.AppendUvarint(rec, 0)
		return append(rec, row.k...)
	}
	rec = binary.AppendUvarint(rec, uint64(len(row.v))+1)
	rec = append(rec, row.k...)
	return append(rec, row.v...)
}

var (
	// errBefore wraps the error of an append that left nothing which could be taken
	// for the record.
	errBefore = errors.New("store: nothing was written")
	// errUntried wraps that of one for which nothing was written at all: it says
	// nothing about the disk.
	errUntried = errors.New("store: nothing was tried")
)

// append writes a record and returns once it is durable.
func (j *journal) append(rec []byte, number uint64) error {
	if int64(len(rec)) > math.MaxUint32 {
		return fmt.Errorf("%w: a commit of %d bytes", errUntried, len(rec))
	}
	s := &j.segs[j.cur]
	if s.f == nil {
		if err := j.create(j.cur); err != nil {
			return fmt.Errorf("%w: %w", errBefore, err)
		}
	}
	le := binary.LittleEndian
	le.PutUint32(rec, uint32(len(rec)-recordHead))
	le.PutUint64(rec[12:], number)
	le.PutUint64(rec[4:], sumOf(j.sum, j.nonce, rec))
	if n, err := s.f.WriteAt(rec, s.end); err != nil {
		if n < len(rec) {
			return fmt.Errorf("%w: %w", errBefore, err)
		}
		return err
	}
	if !mutant.On(mutant.JournalNotSynced) {
		if err := durable.Data(s.f); err != nil {
			return err
		}
	}
	s.end += int64(len(rec))
	return nil
}

// sumOf returns the sum of a record, of what stands behind it.
func sumOf(d *xxhash.Digest, n nonce, rec []byte) uint64 {
	d.ResetWithSeed(n.seed())
	_, _ = d.Write(rec[:4])
	_, _ = d.Write(rec[12:])
	return d.Sum64()
}

// create makes a segment. One that has its name is of this store's past and has
// nothing that counts: opening has seen to that.
func (j *journal) create(i int) (err error) {
	f, err := os.OpenFile(SegmentPaths(j.path)[i], os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("%w: %w", errUntried, err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	if _, err := f.WriteAt(append([]byte(journalMagic), j.nonce[:]...), 0); err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), durable.SyncDir(filepath.Dir(j.path))); err != nil {
		return err
	}
	j.segs[i] = segment{f: f, end: int64(journalHead)}
	return nil
}

// turn has the other segment written from now on, from its beginning: what it
// has must have been folded.
func (j *journal) turn() {
	if !mutant.On(mutant.TurnUnfolded) {
		j.cur ^= 1
	}
	if s := &j.segs[j.cur]; s.f != nil {
		s.end = int64(journalHead)
	}
}

// folded says that nothing of the segment which is not written counts any more.
func (j *journal) folded() {
	s := &j.segs[j.cur^1]
	if s.f != nil && s.end > keptSegment {
		// Without success it is merely larger than it need be.
		_ = s.f.Truncate(keptSegment)
	}
}

func (j *journal) close() error {
	var errs []error
	for i := range j.segs {
		if f := j.segs[i].f; f != nil {
			errs = append(errs, f.Close())
			j.segs[i].f = nil
		}
	}
	return errors.Join(errs...)
}

// replay returns what the segments beside a store's file have of the journal n
// behind commit number last, in the draft of a layer, and the number of the last
// commit. found says whether there is a segment at all. It fails where the
// segments are another journal's, or lack commits that were there.
func replay(path string, n nonce, last uint64) (d *draft, to uint64, found bool, err error) {
	var segs [][]stored
	for _, p := range SegmentPaths(path) {
		recs, there, err := readSegment(p, n, last)
		if err != nil {
			return nil, 0, true, fmt.Errorf("%s: %w", p, err)
		}
		found = found || there
		if len(recs) > 0 {
			segs = append(segs, recs)
		}
	}
	if len(segs) == 2 && segs[1][0].number < segs[0][0].number {
		segs[0], segs[1] = segs[1], segs[0]
	}
	d, to = draftOver(nil), last
	for _, recs := range segs {
		for _, r := range recs {
			switch {
			case r.number <= to:
				continue
			case r.number != to+1:
				return nil, 0, true, fmt.Errorf("%w: the journal goes on with commit %d, the file ends with %d", ErrCorrupt, r.number, to)
			}
			if err := r.into(d); err != nil {
				return nil, 0, true, err
			}
			to++
			if mutant.On(mutant.JournalCutShort) && to > last+1 {
				return d, to, found, nil
			}
		}
	}
	return d, to, found, nil
}

// stored is a record as it was read.
type stored struct {
	number  uint64
	payload []byte
}

// readSegment returns the records of a segment up to the first that is not whole
// or does not follow; there is false where there is no segment, or one that was
// being made when the machine stopped. It fails where one behind commit number
// last comes after that: a crash leaves none behind the record that it cut short,
// so what stands before it was damaged.
func readSegment(path string, n nonce, last uint64) (recs []stored, there bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, true, err
	}
	defer f.Close() //nolint:errcheck // only read
	st, err := f.Stat()
	if err != nil {
		return nil, true, err
	}
	r := bufio.NewReaderSize(f, 1<<20)
	head := make([]byte, journalHead)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, true, notTorn(err)
	}
	switch {
	case bytes.Equal(head, make([]byte, journalHead)):
		return nil, true, nil // its length was written and nothing else
	case string(head[:len(journalMagic)]) != journalMagic || nonce(head[len(journalMagic):]) != n:
		return nil, true, fmt.Errorf("%w: a journal of another store; it may hold commits of the one that stood here before. Put that one back, or move the journal away", ErrCorrupt)
	}
	sum := xxhash.New()
	at := int64(journalHead)
	for st.Size()-at >= recordHead {
		rec := make([]byte, recordHead)
		if _, err := io.ReadFull(r, rec); err != nil {
			return recs, true, notTorn(err)
		}
		size := int64(binary.LittleEndian.Uint32(rec))
		if size > st.Size()-at-recordHead {
			break
		}
		rec = append(rec, make([]byte, size)...)
		if _, err := io.ReadFull(r, rec[recordHead:]); err != nil {
			return recs, true, notTorn(err)
		}
		number := binary.LittleEndian.Uint64(rec[12:])
		if binary.LittleEndian.Uint64(rec[4:]) != sumOf(sum, n, rec) && !mutant.On(mutant.JournalSumIgnored) {
			break
		}
		if len(recs) > 0 && number != recs[len(recs)-1].number+1 {
			break // of the segment's past
		}
		recs = append(recs, stored{number, rec[recordHead:]})
		at += int64(len(rec))
	}
	rest := make([]byte, max(0, st.Size()-at))
	if _, err := f.ReadAt(rest, at); err != nil && !errors.Is(err, io.EOF) {
		return nil, true, err
	}
	if number, found := recordIn(rest, n, last); found && !mutant.On(mutant.JournalDamageCut) {
		return nil, true, fmt.Errorf("%w: the journal is damaged before commit %d, which was answered", ErrCorrupt, number)
	}
	return recs, true, nil
}

// maxSummed bounds, in bytes, what recordIn sums up of what may be a record and is
// none: it is looked for wherever it may begin.
const maxSummed = 1 << 30

// recordIn looks for a record behind commit number last. What a segment has of its
// past are others.
func recordIn(b []byte, n nonce, last uint64) (number uint64, found bool) {
	// Of a journal there are no more records than would fit into its segments.
	const most = 1 << 32
	sum := xxhash.New()
	for summed := 0; len(b) >= recordHead && summed < maxSummed; b = b[1:] {
		number = binary.LittleEndian.Uint64(b[12:])
		size := int64(binary.LittleEndian.Uint32(b))
		if number <= last || number-last > most || size > int64(len(b)-recordHead) {
			continue
		}
		rec := b[:recordHead+int(size)]
		if summed += len(rec); binary.LittleEndian.Uint64(rec[4:]) == sumOf(sum, n, rec) {
			return number, true
		}
	}
	return 0, false
}

// notTorn returns nil for the error of a file that ends early.
func notTorn(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// into makes the record's writes.
func (r stored) into(d *draft) error {
	bad := fmt.Errorf("%w: commit %d of the journal is unreadable", ErrCorrupt, r.number)
	for p := r.payload; len(p) > 0; {
		b := Bucket(p[0])
		p = p[1:]
		klen, n := binary.Uvarint(p)
		if n <= 0 || !b.Valid() {
			return bad
		}
		p = p[n:]
		vlen, n := binary.Uvarint(p)
		if n <= 0 {
			return bad
		}
		p = p[n:]
		if klen == 0 || klen > MaxKeyLength || klen > uint64(len(p)) || vlen > 0 && vlen-1 > uint64(len(p))-klen {
			return bad
		}
		row := item{k: p[:klen:klen], deleted: vlen == 0}
		p = p[klen:]
		if !row.deleted {
			row.v = p[: vlen-1 : vlen-1]
			p = p[vlen-1:]
		}
		d.set(b, row)
	}
	return nil
}
