package strictjson

import (
	"encoding/json"
	"testing"
)

type mutation struct {
	N      uint64                     `json:"n"`
	Op     string                     `json:"op"`
	Type   string                     `json:"type"`
	ID     string                     `json:"id"`
	Fields map[string]json.RawMessage `json:"fields,omitempty"`
	Was    map[string]json.RawMessage `json:"was,omitempty"`
	After  []uint64                   `json:"after,omitempty"`
	At     string                     `json:"at"`
}

type push struct {
	Acked     uint64     `json:"acked"`
	Now       string     `json:"now"`
	Mutations []mutation `json:"mutations"`
}

// pushBody is a push of n mutations as a phone sends them, about 330 bytes
// each.
func pushBody(n int) []byte {
	p := push{Acked: 17, Now: "2026-05-04T09:30:00.000Z"}
	for i := range n {
		p.Mutations = append(p.Mutations, mutation{
			N: uint64(i + 18), Op: "patch", Type: "jobActivity", ID: "dabcdefgh00000017",
			Fields: map[string]json.RawMessage{
				"status": json.RawMessage(`"in-progress"`), "notes": json.RawMessage(`"Filter replaced, pressure \"2.1 bar\"; größer als vorher"`),
				"minutes": json.RawMessage(`45`), "parts": json.RawMessage(`[{"productId":"r0123456789","quantity":2},{"productId":"r9876543210","quantity":1}]`),
			},
			Was: map[string]json.RawMessage{"status": json.RawMessage(`"planned"`), "notes": json.RawMessage(`null`)},
			At:  "2026-05-04T09:12:33.120Z",
		})
	}
	b, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	return b
}

func run(b *testing.B, data []byte, f func() error) {
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := f(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPush500(b *testing.B) {
	data := pushBody(500)
	b.Run("Check", func(b *testing.B) { run(b, data, func() error { return Check(data, Limits{}) }) })
	b.Run("Decode", func(b *testing.B) { run(b, data, func() error { return Decode(data, new(push)) }) })
	b.Run("encoding/json", func(b *testing.B) { run(b, data, func() error { return json.Unmarshal(data, new(push)) }) })
	b.Run("Canonical", func(b *testing.B) { run(b, data, func() error { _, err := Canonical(data); return err }) })
	b.Run("Normalize", func(b *testing.B) { run(b, data, func() error { _, err := Normalize(data); return err }) })
}

func BenchmarkObject(b *testing.B) {
	var p struct{ Mutations []json.RawMessage }
	if err := json.Unmarshal(pushBody(1), &p); err != nil {
		b.Fatal(err)
	}
	data := p.Mutations[0]
	b.Run("Object", func(b *testing.B) { run(b, data, func() error { _, err := Object(data); return err }) })
	b.Run("encoding/json", func(b *testing.B) {
		run(b, data, func() error { var m map[string]json.RawMessage; return json.Unmarshal(data, &m) })
	})
}
