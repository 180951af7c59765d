package app

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// handClock: both hands are set by the test.
type handClock struct {
	wall   time.Time
	passed time.Duration
}

func (c *handClock) pass(d time.Duration) { c.wall, c.passed = c.wall.Add(d), c.passed+d }

func (c *handClock) steady(t *testing.T, dir string, accept bool) (*steady, error) {
	t.Helper()
	return newSteady(dir, func() time.Time { return c.wall }, func() time.Duration { return c.passed }, accept, slog.New(slog.DiscardHandler))
}

func TestLeapsAreNotFollowed(t *testing.T) {
	c := &handClock{wall: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)}
	s, err := c.steady(t, t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	c.pass(time.Hour)
	c.wall = c.wall.Add(30 * 24 * time.Hour) // slept, or set right
	if now := s.Now(); !now.Equal(c.wall) || s.Held() {
		t.Fatalf("a month was not believed: %s at %s", now, c.wall)
	}
	right := c.wall
	c.wall = c.wall.AddDate(4, 0, 0)
	for range 3 {
		if now := s.Now(); !now.Equal(right) || !s.Held() {
			t.Fatalf("four years were believed: %s at %s", now, right)
		}
		c.pass(time.Minute)
		right = right.Add(time.Minute)
	}
	c.wall = right.Add(time.Second)
	if now := s.Now(); !now.Equal(c.wall) || s.Held() {
		t.Fatalf("the clock is right again, the server says %s at %s", now, c.wall)
	}
	c.wall = right.Add(-48 * time.Hour)
	if now := s.Now(); !now.Equal(c.wall) {
		t.Fatalf("a clock that is set back is followed by all but tenant time: %s at %s", now, c.wall)
	}
}

func TestClockIsNoted(t *testing.T) {
	dir := t.TempDir()
	c := &handClock{wall: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)}
	s, err := c.steady(t, dir, false)
	if err != nil {
		t.Fatal(err)
	}
	c.pass(2 * time.Hour)
	s.noteSometimes()
	b, err := os.ReadFile(filepath.Join(dir, clockFile))
	if err != nil || string(b) != "2026-11-22T10:00:00Z\n" {
		t.Fatalf("noted %q, %v", b, err)
	}
	// The machine lost its battery: nothing is refused, the later time stays.
	old := &handClock{wall: time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)}
	if s, err = old.steady(t, dir, false); err != nil {
		t.Fatal(err)
	}
	if err := s.note(); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(filepath.Join(dir, clockFile)); err != nil || string(after) != string(b) {
		t.Fatalf("noted %q, %v", after, err)
	}
	ahead := &handClock{wall: time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)}
	if _, err := ahead.steady(t, dir, false); !errors.Is(err, ErrClockAhead) {
		t.Fatalf("a clock years ahead: %v", err)
	}
	if _, err := ahead.steady(t, dir, true); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, clockFile), []byte("soon"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ahead.steady(t, dir, true); err == nil {
		t.Fatal("an unreadable note was passed over")
	}
}
