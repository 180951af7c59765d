// Package sla says by when work for a client is agreed to be done: the service
// level of the client and the priority of the work make a time, counted from
// when it was asked for. It is the work's field due, which is told to people as
// it comes near and passes. Tickets and jobs take theirs from here; only the
// module packages import it.
//
// The manual names an SLA and says no more of it. What helpdesks do is done here:
// every priority of every level has a time, in hours around the clock, which a
// tenant sets by the setting [Setting]; a time that somebody types stands; one
// that was not typed follows the priority. What is imported keeps what it says.
package sla

import (
	"encoding/json"
	"slices"
	"time"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
)

// Levels are the service levels of clients; the first is that of those who have
// none.
var Levels = []string{"standard", "priority", "critical"}

// Priorities are those of tickets and jobs, in rising order; work without one is
// of the second.
var Priorities = []string{"low", "normal", "high", "urgent"}

const usual = "normal"

// Setting is the key of the setting whose targets take the place of the usual
// ones, pair by pair; off, nothing is agreed.
const Setting = "service-level-targets"

// hours are the usual targets: of each level, by priority.
var hours = map[string][]int64{
	"standard": {120, 72, 24, 8},
	"priority": {72, 24, 8, 4},
	"critical": {24, 8, 4, 2},
}

// MaxHours is the longest target.
const MaxHours = 8760

const hour = ident.Millis(time.Hour / time.Millisecond)

// latest is beyond the last time that can be stored.
var latest = ident.MillisOf(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC))

// Targets is the field of the setting.
func Targets(no uint8) *entity.Field {
	return entity.List(no, "targets",
		entity.OneOf(1, "level", Levels...).Need(),
		entity.OneOf(2, "priority", Priorities...).Need(),
		entity.Integer(3, "hours").Need().AtLeast(1),
	).UpTo(len(Levels) * len(Priorities))
}

// target is one line of the setting.
type target struct {
	Level, Priority string
	Hours           int64
}

// CheckTargets refuses two targets of one pair, and what is longer than a year.
func CheckTargets(v entity.Value) error {
	var seen [][2]string
	for _, t := range targets(v) {
		pair := [2]string{t.Level, t.Priority}
		switch {
		case slices.Contains(seen, pair):
			return fault.Newf(fault.BadValue, "targets has two lines for %s work at the level %s.", t.Priority, t.Level).OnField("targets")
		case t.Hours > MaxHours:
			return fault.Newf(fault.BadValue, "hours may be at most %d.", MaxHours).OnField("targets.hours")
		}
		seen = append(seen, pair)
	}
	return nil
}

func targets(v entity.Value) (out []target) {
	if v.IsNull() || json.Unmarshal(v, &out) != nil {
		return nil
	}
	return out
}

// agreed returns by when work is to be done that was asked for at the time in
// the field from; nothing where nothing is agreed.
func agreed(c entity.Context, work *entity.Record, from string) entity.Value {
	since, ok := work.Get(from).Time()
	client, found := c.Load(work.Get("client").Ref())
	if !ok || !found {
		return nil
	}
	level, priority := or(client.Get("serviceLevel").Text(), Levels[0]), or(work.Get("priority").Text(), usual)
	n, off := hours[level][slices.Index(Priorities, priority)], false
	c.Each("setting", "key", Setting, func(s *entity.Record) bool {
		off = !s.Get("on").Bool()
		for _, t := range targets(s.Get("targets")) {
			if t.Level == level && t.Priority == priority {
				n = t.Hours
			}
		}
		return false
	})
	due := since + ident.Millis(n)*hour
	if off || due >= latest {
		return nil
	}
	return entity.TimeValue(due)
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// Created gives work that somebody made without a time the one agreed.
func Created(c entity.Context, work *entity.Record, from string) {
	if c.Actor() != "" && work.Get("due").IsNull() {
		work.Set("due", agreed(c, work, from))
	}
}

// Changed lets a time that was not typed follow the priority.
func Changed(c entity.Context, before, after *entity.Record, from string) error {
	if c.Actor() == "" || before == nil || after == nil || before.Get("priority").Text() == after.Get("priority").Text() {
		return nil
	}
	due := before.Get("due")
	if due.IsNull() || string(due) != string(after.Get("due")) || string(due) != string(agreed(c, before, from)) {
		return nil
	}
	work := after.Clone()
	work.Set("due", agreed(c, after, from))
	return c.Save(work)
}
