package app

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"satchel/internal/durable"
)

// clockFile is where a data folder notes until when it was served.
const clockFile = "clock"

// Limits of what is believed of the clock. Tenant time never goes back, so
// that what a clock does that is ahead by mistake can't be undone: roles end,
// sessions and what is kept for a time are over.
const (
	// maxLeap is how far the clock may move ahead of the time that has passed
	// while the server runs. Machines that sleep, and are set right after it,
	// stay below.
	maxLeap = 31 * 24 * time.Hour
	// maxAbsence is how long a folder may have been left alone.
	maxAbsence = 366 * 24 * time.Hour
	// noteEvery is how often the time is noted.
	noteEvery = time.Hour
)

// ErrClockAhead says that the clock is so far ahead of when the data folder was
// last served that it is more likely wrong than right.
var ErrClockAhead = errors.New("the clock is far ahead of when this data folder was last served")

// steady is a clock that doesn't follow leaps into the future. While it is held
// back it goes on with the time that passes, until the clock beneath is back
// within reach.
type steady struct {
	wall    func() time.Time
	elapsed func() time.Duration // since some fixed moment, whatever the clock is set to
	log     *slog.Logger
	path    string

	mu    sync.Mutex
	at    time.Time     // what was told last
	since time.Duration // elapsed then
	held  bool
	noted time.Duration // elapsed when the time was last noted
}

// newSteady begins with the clock as it is, unless it is far ahead of what dir
// notes; accept says that it is right nevertheless.
func newSteady(dir string, wall func() time.Time, elapsed func() time.Duration, accept bool, log *slog.Logger) (*steady, error) {
	s := &steady{wall: wall, elapsed: elapsed, log: log, path: filepath.Join(dir, clockFile)}
	s.at, s.since = wall().Round(0), elapsed()
	last, err := s.last()
	if err != nil {
		return nil, err
	}
	switch away := s.at.Sub(last); {
	case last.IsZero():
	case away > maxAbsence && !accept:
		return nil, fmt.Errorf("%w: it says %s, the folder was served until %s; set it right, or start with --accept-clock if it is", ErrClockAhead, s.at.UTC().Format(time.RFC3339), last.UTC().Format(time.RFC3339))
	case away < -noteEvery:
		log.Warn("the clock is behind the time when this folder was last served; time stands still until it has caught up",
			slog.Time("clock", s.at.UTC()), slog.Time("served", last.UTC()))
		return s, nil // what is noted stays until then
	}
	return s, s.note()
}

// last reads what is noted, zero where nothing is.
func (s *steady) last() (time.Time, error) {
	b, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	at, err := time.Parse(time.RFC3339, strings.TrimSpace(string(b)))
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: %w; remove it if the clock is right", s.path, err)
	}
	return at, nil
}

// note writes down the time, unless a later one stands there.
func (s *steady) note() error {
	s.mu.Lock()
	s.noted = s.elapsed()
	s.mu.Unlock()
	now := s.Now()
	if last, err := s.last(); err == nil && last.After(now) {
		return nil
	}
	return durable.WriteFile(s.path, []byte(now.UTC().Format(time.RFC3339)+"\n"))
}

// noteSometimes is note where that is due.
func (s *steady) noteSometimes() {
	s.mu.Lock()
	due := s.elapsed()-s.noted >= noteEvery
	s.mu.Unlock()
	if !due {
		return
	}
	if err := s.note(); err != nil { // tried again in an hour
		s.log.Error("the time could not be noted", slog.String("error", err.Error()))
	}
}

// Now returns the time by which the server goes.
func (s *steady) Now() time.Time {
	now := s.wall().Round(0)
	s.mu.Lock()
	defer s.mu.Unlock()
	passed := s.elapsed()
	due := s.at.Add(passed - s.since)
	switch held := now.Sub(due) > maxLeap; {
	case held && !s.held:
		s.log.Error("the clock leapt ahead and is not followed; if it is right, start the server anew",
			slog.Time("clock", now.UTC()), slog.Time("time", due.UTC()))
		s.held = true
	case !held && s.held:
		s.log.Warn("the clock is within reach again", slog.Time("clock", now.UTC()))
		s.held = false
	}
	if s.held {
		now = due
	}
	s.at, s.since = now, passed
	return now
}

// Held reports whether the clock is ahead and not followed.
func (s *steady) Held() bool {
	s.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held
}

// monotonic counts from now on, whatever the clock is set to.
func monotonic() func() time.Duration {
	start := time.Now()
	return func() time.Duration { return time.Since(start) }
}
