package syncapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/strictjson"
	"satchel/sync/pull"
	"satchel/sync/wire"
)

// refused fails the test where an error is anything but a refusal of what was
// sent.
func refused(t *testing.T, err error) {
	t.Helper()
	if k := fault.Of(err).Code.Kind(); k != fault.Invalid && k != fault.Unprocessable && k != fault.TooLarge && k != fault.Outdated {
		t.Fatalf("refused as %v", err)
	}
}

// written fails the test where a command can't be put into the log and read
// from it as the same.
func written(t *testing.T, c *command.Command) {
	t.Helper()
	b, err := command.Encode(c)
	if err != nil {
		t.Fatalf("can't be written: %v", err)
	}
	back, err := command.Decode(b)
	if err != nil {
		t.Fatalf("can't be read back: %v", err)
	}
	if again, err := command.Encode(back); err != nil || !bytes.Equal(b, again) {
		t.Fatalf("read back as another: %v\n%s\n%s", err, b, again)
	}
}

func checkPull(t *testing.T, p *command.Pull) {
	t.Helper()
	if p.Limit < 0 || p.Limit > pull.MaxLimit || len(p.Checkpoint) > 200 || p.Schema < 0 {
		t.Fatalf("out of bounds: %+v", p)
	}
	if p.Pins != nil {
		for _, r := range *p.Pins {
			if !r.ID.Valid() {
				t.Fatalf("pin %+v", r)
			}
		}
	}
	if w := p.Window; w != nil && (w.From.Time().Year() < 1899 || w.To.Time().Year() > 10_000) {
		t.Fatalf("window %+v", w)
	}
	written(t, &command.Command{Pull: p})
}

func FuzzPull(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"checkpoint":"1.ab","limit":5,"profile":"field","schema":1}`, `{"window":{"from":"2026-01-01T00:00:00Z","to":"2026-02-01T00:00:00+02:00"}}`,
		`{"pins":[{"type":"client","id":"client-acme"}]}`, `{"reconcile":{"types":{"job":{"count":1,"digest":"ab"}}},"heal":["job"]}`, `{"pins":null,"limit":10001}`, `{"limit":0}`, `{"limit":null}`,
		`{"window":{"from":"0001-01-01T00:00:00Z","to":"9999-12-31T23:59:59-14:00"}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := readPull(raw)
		if err != nil {
			refused(t, err)
			return
		}
		checkPull(t, p)
	})
}

func FuzzFrame(f *testing.F) {
	for _, s := range []string{
		`{"kind":"auth","token":"a.b.c"}`, `{"kind":"pull","checkpoint":"x","pins":[]}`, `{"kind":"push","acked":1,"now":"2026-01-01T00:00:00Z","mutations":[{"n":1}]}`,
		`{"kind":"pull","token":"x"}`, `{"kind":"pull","\u006bind":"push"}`, `{"kind":null}`, `{}`,
		`{"kind":"pull","checkpoint":"x","schema":7}`, `{"kind":"pull","checkpoint":"\u0078"}`, `{"kind":"pull","checkpoint":"","schema":01}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		fr, err := readFrame(raw)
		if _, _, plain := plainPull(raw); plain {
			if slow, serr := decodeFrame(raw); err != nil || serr != nil || !reflect.DeepEqual(fr, slow) {
				t.Fatalf("%+v, %v; decoded %+v, %v", fr, err, slow, serr)
			}
		}
		if err != nil {
			refused(t, err)
			return
		}
		// Read leniently, what was let through has the members of its kind and
		// no other, each of them once.
		var all map[string]json.RawMessage
		if err := json.Unmarshal(raw, &all); err != nil {
			t.Fatal(err)
		}
		allowed, ok := members[fr.Kind]
		for k := range all {
			if !ok || k != "kind" && !slices.Contains(allowed, k) {
				t.Fatalf("a frame %q with %q", fr.Kind, k)
			}
		}
		if p, err := pullCommand(fr.pull()); err == nil {
			checkPull(t, p)
		} else {
			refused(t, err)
		}
		for _, m := range fr.Mutations {
			checkMutation(t, m)
		}
	})
}

// checkMutation holds one mutation, valid JSON, to what must be true of any.
func checkMutation(t *testing.T, raw json.RawMessage) {
	t.Helper()
	m, err := mutation(raw)
	if err != nil {
		refused(t, err)
		return
	}
	if m.N == 0 || len(m.Hash) != sha256.Size {
		t.Fatalf("%+v", m)
	}
	if m.Refuse == "" && (m.Op == wire.OpPatch && m.Was == nil || m.At == 0 && !bytes.Contains(raw, []byte("1970"))) {
		t.Fatalf("let through: %+v", m)
	}
	if m.Refuse != "" && (m.Refuse.Kind() == fault.Internal || m.RefuseText == "") {
		t.Fatalf("refused as %q %q", m.Refuse, m.RefuseText)
	}
	if len(raw) > maxMutation && (m.Refuse == "" || m.Fields != nil || m.Args != nil || m.Was != nil) {
		t.Fatalf("%d bytes are kept", len(raw))
	}
	written(t, &command.Command{Push: &command.Push{Mutations: []command.Mutation{m}}})
	// The same content in another form is the same mutation, where it has a
	// canonical form.
	if _, err := strictjson.Canonical(raw); err != nil {
		return
	}
	var wide bytes.Buffer
	if err := json.Indent(&wide, raw, " ", "\t"); err != nil {
		t.Fatal(err)
	}
	again, err := mutation(wide.Bytes())
	if err != nil || !bytes.Equal(m.Hash, again.Hash) || m.N != again.N {
		t.Fatalf("written in another form it is another: %v %+v %+v", err, m, again)
	}
}

// TestPlainPull: a frame that is taken for a plain pull is one, and what the
// clients send is.
func TestPlainPull(t *testing.T) {
	for raw, want := range map[string]bool{
		`{"kind":"pull","checkpoint":"1.ab"}`: true, `{"kind":"pull","checkpoint":""}`: true, `{"kind":"pull","checkpoint":"1.ab","schema":12}`: true,
		`{"kind":"pull","checkpoint":"1.ab","schema":0}`: false, `{"kind":"pull","checkpoint":"1.ab","schema":}`: false,
		`{"kind":"pull","checkpoint":"1.ab","schema":1234567890}`: false, `{"kind":"pull","checkpoint":"1.ab","schema":1.5}`: false,
		`{"kind":"pull","checkpoint":"1.ab"} `: false, `{"kind":"pull","checkpoint":"1.ab","limit":7}`: false,
		`{"kind":"pull","checkpoint":"1\u002eab"}`: false, `{"kind":"pull","checkpoint":"ä"}`: false, `{"kind":"pull","checkpoint":"1`: false,
		`{"kind":"pull","checkpoint":"` + strings.Repeat("x", 500) + `"}`: false, ``: false,
	} {
		if _, _, ok := plainPull([]byte(raw)); ok != want {
			t.Errorf("%.60s: %v", raw, ok)
		}
	}
	// Frames like it, and what a byte makes of them, are read as they always were.
	rnd := rand.New(rand.NewPCG(1, 2))
	plain := 0
	for range 20_000 {
		raw := fmt.Appendf(nil, `{"kind":"pull","checkpoint":"%x.%x"`, rnd.Uint32(), rnd.Uint32())
		if rnd.IntN(2) == 0 {
			raw = fmt.Appendf(raw, `,"schema":%d`, rnd.IntN(20)-1)
		}
		raw = append(raw, '}')
		if rnd.IntN(2) == 0 {
			raw[rnd.IntN(len(raw))] = byte(rnd.IntN(256))
		}
		cp, schema, ok := plainPull(raw)
		if !ok {
			continue
		}
		plain++
		slow, err := decodeFrame(raw)
		if err != nil || !reflect.DeepEqual(slow, &frame{Kind: wire.KindPull, Checkpoint: string(cp), Schema: schema}) {
			t.Fatalf("%q: %+v, %v", raw, slow, err)
		}
	}
	if plain < 5000 {
		t.Errorf("only %d were plain", plain)
	}
}

func BenchmarkFrame(b *testing.B) {
	raw := []byte(`{"kind":"pull","checkpoint":"17.0123456789abcdef.1234.5678"}`)
	for name, read := range map[string]func([]byte) (*frame, error){"plain": readFrame, "decoded": decodeFrame} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := read(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func FuzzMutation(f *testing.F) {
	for _, s := range []string{
		`{"n":1,"op":"create","type":"job","id":"dabcdefgh0001","fields":{"title":"x"},"at":"2026-01-01T00:00:00Z"}`,
		`{"n":2,"op":"patch","type":"job","id":"job-acme-1","fields":{"title":"x"},"was":{"title":"y"},"after":[1],"at":"2026-01-01T00:00:00+01:00"}`,
		`{"n":3,"op":"action","action":"assign","args":{"assignee":null},"at":""}`, `{"n":4,"fields":{"x":1e400}}`, `{"n":1e0}`, `{"n":5,"N":6}`, `{"n":0}`, `{"n":7,"op":1,"more":{"deep":[[]]}}`,
		`{"n":8,"fields":7,"op":"patch"}`, `{"n":9,"fields":{"fields":1},"extra":2}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if strictjson.Check(raw, strictjson.Limits{}) != nil {
			return // a push with it is refused as a whole
		}
		checkMutation(t, bytes.TrimSpace(raw))
	})
}

// FuzzPushBody: the mutations of a body that was read are each valid JSON, as
// reading them one by one relies on.
func FuzzPushBody(f *testing.F) {
	f.Add([]byte(`{"acked":1,"now":"2026-01-01T00:00:00Z","schema":2,"mutations":[{"n":1},2,null,[]]}`))
	f.Add([]byte(`{"mutations":[{"n":1,"n":2}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var b pushBody
		if err := strictjson.Decode(raw, &b); err != nil {
			refused(t, err)
			return
		}
		for _, m := range b.Mutations {
			if strictjson.Check(m, strictjson.Limits{}) != nil {
				t.Fatalf("%q of %q", m, raw)
			}
			checkMutation(t, m)
		}
		if at, err := instant("now", b.Now); err == nil && at.Time().Year() < 1899 {
			t.Fatalf("%q is %v", b.Now, ident.Millis(at).RFC3339())
		}
	})
}
