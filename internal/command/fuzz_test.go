package command_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"satchel/internal/command"
	"satchel/internal/ident"
)

// FuzzDecode: whatever stands in the log is a command or an error, and a
// command has one form: written and read again it is the same bytes.
func FuzzDecode(f *testing.F) {
	for _, c := range []*command.Command{
		{Actor: "emp-engineer", Seed: []byte{1, 2}, Write: &command.Write{
			App: "service", Op: "patch", Type: "job", ID: "job-acme-1", Fields: command.Object{"title": json.RawMessage(`"x"`)}, IfMatch: "r", Key: "k", KeyHash: []byte{3},
		}},
		{Actor: "emp-engineer", Device: "dev-00001", Pull: &command.Pull{Checkpoint: "1.ab", Limit: 10, Profile: "field", Pins: &[]ident.Ref{{Type: "client", ID: "client-acme"}}}},
		{Push: &command.Push{Acked: 1, Mutations: []command.Mutation{{N: 2, Op: "create", Type: "job", ID: "dabcdefgh0001", Fields: command.Object{"a": json.RawMessage(`{"b":[1,null]}`)}, Hash: []byte{9}}}}},
		{Import: &command.Import{Rows: []command.Row{{Type: "client", ID: "client-acme", Fields: command.Object{}}}}},
		{Tick: &command.Tick{}},
	} {
		b, err := command.Encode(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"write":{"fields":{"a":null,"b":1e400,"c":"\ud800"}}}`))
	f.Add([]byte(`{"a":"emp-1","s":"s","d":"d","r":"AQI=","write":{"op":"patch","type":"job","fields":{"a":-1.5e+3,"b":"\u00e9\n","a":true},"args":{"x":null},"at":-7,"mobile":true,"keyHash":""}}`))
	f.Add([]byte(`{"WRITE":{},"write":null}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := command.Decode(raw)
		var want command.Command
		if werr := json.Unmarshal(raw, &want); (werr == nil) != (err == nil) || err == nil && !reflect.DeepEqual(c, &want) {
			t.Fatalf("read as %+v, %v; encoding/json says %+v, %v", c, err, want, werr)
		}
		if err != nil {
			return
		}
		once, err := command.Encode(c)
		if err != nil {
			t.Fatalf("a command that was read can't be written: %v", err)
		}
		if b, err := json.Marshal(c); err != nil || !bytes.Equal(once, b) {
			t.Errorf("written\n%s\nencoding/json says, %v,\n%s", once, err, b)
		}
		// A byte may come to be an escape of six; members that were not there
		// come to be empty.
		if len(once) > 6*len(raw)+2048 {
			t.Errorf("%d bytes came to be %d", len(raw), len(once))
		}
		again, err := command.Decode(once)
		if err != nil {
			t.Fatalf("a command that was written can't be read: %v", err)
		}
		if twice, err := command.Encode(again); err != nil || !bytes.Equal(once, twice) {
			t.Errorf("%v:\n%s\n%s", err, once, twice)
		}
	})
}
