package canary

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"satchel/internal/entity"
)

// mint makes tokens, each once.
type mint struct {
	r    *rand.Rand
	used map[string]bool
	days int
}

func newMint(seed int64) *mint {
	return &mint{r: rand.New(rand.NewPCG(uint64(seed), 0x63616e617279)), used: map[string]bool{}}
}

func (m *mint) fresh(make func() string) string {
	for {
		if s := make(); !m.used[s] {
			m.used[s] = true
			return s
		}
	}
}

// word is a token of letters and digits, at least one of each, so that it is no
// number and no hexadecimal text.
func (m *mint) word() string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	return m.fresh(func() string {
		b := []byte("zq")
		for range 11 {
			b = append(b, letters[m.r.IntN(len(letters))])
		}
		return string(append(b, "ghjkmnpqrstvwxyz"[m.r.IntN(16)]))
	})
}

// number is a token of twelve digits, which no format pads or shortens.
func (m *mint) number() string {
	return m.fresh(func() string { return fmt.Sprintf("73%09d%d", m.r.IntN(1_000_000_000), 1+m.r.IntN(9)) })
}

// digest is a token like the digest of a file.
func (m *mint) digest() string {
	return m.fresh(func() string {
		return fmt.Sprintf("%016x%016x%016x%016x", m.r.Uint64(), m.r.Uint64(), m.r.Uint64(), m.r.Uint64())
	})
}

// day is a token of its own in time: each is later than those before.
func (m *mint) day() time.Time {
	m.days++
	return time.Date(2060, 1, m.days, 0, 0, 0, 0, time.UTC)
}

// value makes a value with a token in it; nil for kinds that have no room for
// one, and for references.
func (m *mint) value(f *entity.Field) json.RawMessage {
	text := func(s string) json.RawMessage {
		b, err := json.Marshal(s)
		if err != nil {
			panic(err)
		}
		return b
	}
	switch f.Kind {
	case entity.String:
		return text("Né " + m.word())
	case entity.Text:
		return text("<b>Long</b> " + m.word() + "\n\"quoted\" & more")
	case entity.Strings:
		return json.RawMessage(fmt.Sprintf(`[%q,%q]`, m.word(), m.word()))
	case entity.Int:
		return json.RawMessage(m.number())
	case entity.Number:
		n := m.number()
		return json.RawMessage(n[:2] + "." + n[2:])
	case entity.Money:
		return json.RawMessage(`{"amount":` + m.number() + `,"currency":"EUR"}`)
	case entity.Point:
		lat, lng := m.number(), m.number()
		return json.RawMessage(`{"lat":` + lat[:2] + "." + lat[2:] + `,"lng":` + lng[:2] + "." + lng[2:] + `}`)
	case entity.Date:
		return text(m.day().Format(time.DateOnly))
	case entity.Time:
		return text(m.day().Add(time.Duration(m.r.IntN(86_400_000)) * time.Millisecond).Format("2006-01-02T15:04:05.000Z"))
	case entity.Bool:
		return json.RawMessage("true")
	case entity.Enum:
		return text(f.Values[m.r.IntN(len(f.Values))])
	case entity.Ref, entity.Refs, entity.Lines:
	}
	return nil
}

// bears reports whether values of the field have room for a token.
func bears(f *entity.Field) bool {
	switch f.Kind {
	case entity.Enum, entity.Bool:
		return false
	case entity.String, entity.Text, entity.Int, entity.Time, entity.Date, entity.Ref, entity.Refs, entity.Strings, entity.Money, entity.Point,
		entity.Lines, entity.Number:
	}
	return true
}
