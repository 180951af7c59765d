package command_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"satchel/internal/command"
	"satchel/internal/ident"
)

// texts are what people and programs send, and what an encoding may trip over.
var texts = rapid.OneOf(
	rapid.SampledFrom([]string{
		"", "job-acme-1", "Level 7, by gate 7", `says "no"`, `a\b`, "<b>&c</b>", "Grüße", "a\u2028b", "tab\tand\nline", "\x7f", "\xff", "\x00",
	}),
	rapid.String(),
	rapid.StringMatching(`[a-z]{1,12}`),
)

// raws are values as they are sent, and some that are none.
var raws = rapid.OneOf(
	rapid.Map(texts, func(s string) json.RawMessage { b, _ := json.Marshal(s); return b }),
	rapid.Map(texts, func(s string) json.RawMessage { return json.RawMessage(`"` + s + `"`) }),
	rapid.SampledFrom([]json.RawMessage{
		json.RawMessage("null"), json.RawMessage("true"), json.RawMessage("false"), json.RawMessage("0"), json.RawMessage("-0.5e-7"),
		json.RawMessage("01"), json.RawMessage("1."), json.RawMessage("-"), json.RawMessage("1e"), json.RawMessage("+1"), json.RawMessage("tru"),
		json.RawMessage(`["a", "b"]`), json.RawMessage(`{ "add" : [ ] }`), json.RawMessage(` "a" `), json.RawMessage(`"\u003c\ud800\/"`),
		json.RawMessage(`"\x"`), json.RawMessage(`"\u12"`), json.RawMessage(`"a`), json.RawMessage(`"a"b`), json.RawMessage(""), nil,
	}),
)

var objects = rapid.MapOfN(texts, raws, 0, 4)

// write draws a command with a write of any kind.
func write(t *rapid.T) *command.Command {
	text := func(name string) string { return texts.Draw(t, name) }
	bits := func(name string) []byte { return rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, name) }
	object := func(name string) command.Object {
		o := command.Object{}
		for k, v := range objects.Draw(t, name) {
			o[k] = v
		}
		return o
	}
	return &command.Command{
		Actor: ident.RecordID(text("actor")), Session: ident.SessionID(text("session")), Device: ident.DeviceID(text("device")), Seed: bits("seed"),
		Write: &command.Write{
			Op: text("op"), App: text("app"), Type: text("type"), ID: ident.RecordID(text("id")), Fields: object("fields"), Action: text("action"),
			Args: object("args"), IfMatch: text("ifMatch"), At: ident.Millis(rapid.Int64().Draw(t, "at")), Mobile: rapid.Bool().Draw(t, "mobile"),
			Key: text("key"), KeyHash: bits("keyHash"),
		},
	}
}

// alike fails where bytes are read otherwise than encoding/json reads them.
func alike(t interface {
	Helper()
	Fatalf(string, ...any)
}, b []byte,
) {
	t.Helper()
	got, err := command.Decode(b)
	var want command.Command
	werr := json.Unmarshal(b, &want)
	if (err == nil) != (werr == nil) || err == nil && !reflect.DeepEqual(got, &want) {
		t.Fatalf("%q is read as\n%+v, %v\nwhere encoding/json says\n%+v, %v", b, got, err, want, werr)
	}
}

// TestWritesAreEncodedAsJSON: a write stands in the log as encoding/json has it,
// and what stands there, damaged or not, is read as encoding/json reads it.
func TestWritesAreEncodedAsJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := write(t)
		want, werr := json.Marshal(c)
		got, err := command.Encode(c)
		if (err == nil) != (werr == nil) || !bytes.Equal(got, want) {
			t.Fatalf("written as\n%s, %v\nwhere encoding/json says\n%s, %v", got, err, want, werr)
		}
		if err != nil {
			return
		}
		alike(t, got)
		// One byte is lost, doubled or another.
		i := rapid.IntRange(0, len(got)-1).Draw(t, "at")
		alike(t, slices.Delete(slices.Clone(got), i, i+1))
		alike(t, slices.Insert(slices.Clone(got), i, got[i]))
		other := slices.Clone(got)
		other[i] = rapid.SampledFrom([]byte(`"\{}[],:u0-.e tn`+"\n\xe2")).Draw(t, "byte")
		alike(t, other)
		alike(t, got[:i])
	})
}

// TestOnlyWritesAreShort: whatever stands in a command beside a write is written,
// of members that are yet to come too, and so is every member of a write.
func TestOnlyWritesAreShort(t *testing.T) {
	same := func(name string, c *command.Command) {
		want, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := command.Encode(c); err != nil || !bytes.Equal(got, want) {
			t.Errorf("with %s: %s, %v; encoding/json says %s", name, got, err, want)
		}
		alike(t, want)
	}
	for i := range reflect.TypeFor[command.Command]().NumField() {
		c := &command.Command{Write: &command.Write{Op: "patch", Type: "job"}}
		same(reflect.TypeFor[command.Command]().Field(i).Name, filled(t, c, i))
	}
	for i := range reflect.TypeFor[command.Write]().NumField() {
		w := filled(t, &command.Write{Op: "patch", Type: "job"}, i)
		same(reflect.TypeFor[command.Write]().Field(i).Name, &command.Command{Write: w})
	}
}

// filled gives a field a value that is not its zero.
func filled[T any](t *testing.T, of *T, i int) *T {
	f := reflect.ValueOf(of).Elem().Field(i)
	switch {
	case !f.IsZero():
	case f.Kind() == reflect.Pointer:
		f.Set(reflect.New(f.Type().Elem()))
	case f.Kind() == reflect.String:
		f.SetString("x")
	case f.Kind() == reflect.Int64:
		f.SetInt(7)
	case f.Kind() == reflect.Bool:
		f.SetBool(true)
	case f.Type() == reflect.TypeFor[[]byte]():
		f.SetBytes([]byte{1})
	case f.Type() == reflect.TypeFor[command.Object]():
		f.Set(reflect.ValueOf(command.Object{"a": json.RawMessage("1")}))
	default:
		t.Fatalf("no value of %s is known", f.Type())
	}
	return of
}

func BenchmarkWrite(b *testing.B) {
	c := &command.Command{
		Actor: "d6h1qk3o0001kt8g2vg000000", Session: "s6h1qk3o0001kt8g2vg000000", Seed: make([]byte, 16),
		Write: &command.Write{
			Op: "patch", App: "service", Type: "asset", ID: "a6h1qk3o0001kt8g2vg000000",
			Fields: command.Object{"notes": json.RawMessage(`"mark-12-1785000000000000000"`)},
		},
	}
	raw, err := command.Encode(c)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := command.Encode(c); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := command.Decode(raw); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(c); err != nil {
				b.Fatal(err)
			}
			if err := json.Unmarshal(raw, new(command.Command)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
