package calendar_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"satchel/internal/calendar"
	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/server/module"
)

// role makes a record with a calendar, of names and values.
func role(t *testing.T, kv ...any) *entity.Record {
	t.Helper()
	cat, err := module.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	r := &entity.Record{Type: cat.Type("schedulingRole")}
	for i := 0; i < len(kv); i += 2 {
		raw, err := json.Marshal(kv[i+1])
		if err != nil {
			t.Fatal(err)
		}
		v, err := r.Type.Field(kv[i].(string)).Normalize(raw)
		if err != nil {
			t.Fatal(err)
		}
		r.Set(kv[i].(string), v)
	}
	return r
}

type line map[string]string

func at(t *testing.T, s string) *ident.Millis {
	t.Helper()
	x, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	m := ident.MillisOf(x)
	return &m
}

// TestWithin: work begins and ends in the hours of the local day, whatever lies
// between; a night shift goes on past midnight.
func TestWithin(t *testing.T) {
	// 2026-03-02 is a Monday.
	office := []any{
		"hours",
		[]line{
			{"id": "1", "day": "monday", "from": "08:00", "until": "12:00"},
			{"id": "2", "day": "monday", "from": "13:00", "until": "17:00"},
			{"id": "3", "day": "tuesday", "from": "08:00", "until": "17:00"},
		},
		"utcOffset", 60, "daysOff",
		[]string{"2026-03-03"},
	}
	night := []any{"hours", []line{
		{"id": "1", "day": "sunday", "from": "22:00", "until": "24:00"}, {"id": "2", "day": "monday", "from": "00:00", "until": "06:00"},
	}, "utcOffset", -300}
	for _, c := range []struct {
		of       []any
		from, to string
		want     bool
	}{
		{office, "2026-03-02T07:00:00Z", "", true},
		{office, "2026-03-02T06:59:59Z", "", false},
		{office, "2026-03-02T11:00:00Z", "", false}, // noon, when they stop
		{office, "", "2026-03-02T11:00:00Z", true},
		{office, "", "2026-03-02T07:00:00Z", false},                    // done before they begin
		{office, "2026-03-02T10:00:00Z", "2026-03-02T13:00:00Z", true}, // over lunch
		{office, "2026-03-02T10:00:00Z", "2026-03-02T16:00:01Z", false},
		{office, "2026-03-03T10:00:00Z", "", false}, // a day off
		{office, "2026-03-10T10:00:00Z", "", true},
		{office, "2026-03-04T10:00:00Z", "", false}, // no Wednesdays
		{office, "", "", true},                      // not scheduled
		{night, "2026-03-02T04:59:00Z", "2026-03-02T05:00:00Z", true},
		{night, "2026-03-02T03:00:00Z", "2026-03-02T11:00:00Z", true},
		{night, "2026-03-02T03:00:00Z", "2026-03-02T11:00:01Z", false},
		{[]any{"daysOff", []string{"2026-03-03"}}, "2026-03-02T23:00:00Z", "", true},
		{[]any{"daysOff", []string{"2026-03-03"}}, "2026-03-03T23:00:00Z", "", false},
		{nil, "1969-12-28T23:00:00Z", "", true},
		{[]any{"hours", []line{{"id": "1", "day": "sunday", "from": "22:00", "until": "24:00"}}}, "1969-12-28T23:00:00Z", "", true},
		{[]any{"hours", []line{{"id": "1", "day": "monday", "from": "22:00", "until": "24:00"}}}, "1969-12-28T23:00:00Z", "", false},
	} {
		cal, err := calendar.Of(role(t, c.of...))
		if err != nil {
			t.Fatal(err)
		}
		var from, to *ident.Millis
		if c.from != "" {
			from = at(t, c.from)
		}
		if c.to != "" {
			to = at(t, c.to)
		}
		if got := cal.Within(from, to); got != c.want {
			t.Errorf("%v: %s to %s: %v", c.of, c.from, c.to, got)
		}
	}
}

// TestSpans: hours within a span are cut to it, and those that meet are one.
func TestSpans(t *testing.T) {
	cal, err := calendar.Of(role(t, "hours", []line{
		{"id": "1", "day": "tuesday", "from": "00:00", "until": "06:00"},
		{"id": "2", "day": "monday", "from": "22:00", "until": "24:00"},
		{"id": "3", "day": "monday", "from": "08:00", "until": "12:00"},
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := []calendar.Span{
		{From: *at(t, "2026-03-02T10:00:00Z"), To: *at(t, "2026-03-02T12:00:00Z")},
		{From: *at(t, "2026-03-02T22:00:00Z"), To: *at(t, "2026-03-03T05:00:00Z")},
	}
	if got := cal.Spans(calendar.Span{From: *at(t, "2026-03-02T10:00:00Z"), To: *at(t, "2026-03-03T05:00:00Z")}); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestFaults: what is no calendar is told by its field.
func TestFaults(t *testing.T) {
	hours := func(day, from, until string) []any {
		return []any{"hours", []line{{"id": "1", "day": day, "from": from, "until": until}}}
	}
	for _, c := range []struct {
		field string
		of    []any
	}{
		{"hours", hours("monday", "8:00", "12:00")},
		{"hours", hours("monday", "08:00", "24:01")},
		{"hours", hours("monday", "12:00", "12:00")},
		{"hours", hours("monday", "22:00", "06:00")},
		{"hours", hours("monday", "24:00", "24:00")},
		{"daysOff", []any{"daysOff", []string{"2026-02-30"}}},
		{"daysOff", []any{"daysOff", []string{"Christmas"}}},
		{"utcOffset", []any{"utcOffset", 841}},
	} {
		_, err := calendar.Of(role(t, c.of...))
		var f *calendar.Fault
		if !errors.As(err, &f) || f.Field != c.field || f.Error() == "" {
			t.Errorf("%v: %v", c.of, err)
		}
	}
}
