package billing

import (
	"time"

	"satchel/internal/entity"
)

// The calendar is reckoned in dates alone, YYYY-MM-DD, with no time zone: a
// date is read as midnight UTC and never compared with an instant.

// today is the day of the entry in UTC.
func today(c entity.Context) entity.Value { return day(c.Now().Time()) }

func day(t time.Time) entity.Value { return entity.StringValue(t.Format(time.DateOnly)) }

// farthest is the last year a date may lie in.
const farthest = 9999

// plusDays returns the date n days later; false beyond the calendar.
func plusDays(date entity.Value, n int64) (entity.Value, bool) {
	t, err := time.Parse(time.DateOnly, date.Text())
	if err != nil || n < 0 || n > farthest*366 {
		return nil, false
	}
	t = t.AddDate(0, 0, int(n))
	return day(t), t.Year() <= farthest
}

// plusMonths returns the date that lies n months after the first one, on the
// same day of the month or on the month's last where it is shorter; false
// beyond the calendar.
func plusMonths(first entity.Value, n int) (entity.Value, bool) {
	t, err := time.Parse(time.DateOnly, first.Text())
	if err != nil {
		return nil, false
	}
	y, m, d := t.Date()
	last := time.Date(y, m+time.Month(n)+1, 0, 0, 0, 0, 0, time.UTC)
	t = last.AddDate(0, 0, min(d, last.Day())-last.Day())
	return day(t), t.Year() <= farthest
}

// monthsBetween returns how many months after the month of the first date
// that of the second lies.
func monthsBetween(first, second entity.Value) int {
	a, err := time.Parse(time.DateOnly, first.Text())
	b, err2 := time.Parse(time.DateOnly, second.Text())
	if err != nil || err2 != nil {
		return 0
	}
	return (b.Year()-a.Year())*12 + int(b.Month()) - int(a.Month())
}

// dayBefore returns the date before.
func dayBefore(date entity.Value) entity.Value {
	t, err := time.Parse(time.DateOnly, date.Text())
	if err != nil {
		return nil
	}
	return day(t.AddDate(0, 0, -1))
}
