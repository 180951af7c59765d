package apply_test

import (
	"encoding/json"
	"testing"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/sync/state"
	"satchel/sync/wire"
)

// TestAddAndRemove: a change of a set by its members starts from the value
// that the writer changed, where told, and merges with what others did since;
// where not told it starts from the present value.
func TestAddAndRemove(t *testing.T) {
	w := field(t)
	raw := func(s string) command.Object { return command.Object{"phones": json.RawMessage(s)} }
	p := w.signIn("emp-mgr-1", "i1")
	for _, c := range []struct{ now, was, change, want string }{
		// Told: 1 and 2 were there, the other side has added 3 and taken 1.
		{`["2","3"]`, `["1","2"]`, `{"add":["4"],"remove":["2"]}`, `["3","4"]`},
		{`["2","3"]`, `["1","2"]`, `{"add":["1"]}`, `["2","3"]`}, // it was there: nothing of mine was added
		{`["2","3"]`, `["1","2"]`, `{}`, `["2","3"]`},
		{`["1","2"]`, `["1","2"]`, `{"remove":["1","2"]}`, ""},
		{`["1"]`, `null`, `{"add":["2"]}`, `["1","2"]`},
		// Not told.
		{`["2","3"]`, "", `{"add":["4"],"remove":["2"]}`, `["3","4"]`},
		{`["2","3"]`, "", `{"remove":["9"]}`, `["2","3"]`},
		{`["2"]`, "", `{"add":["2"],"remove":["2"]}`, ""},
	} {
		w.load(command.Row{Type: "client", ID: "client-one", Fields: raw(c.now)})
		was := command.Object{}
		if c.was != "" {
			was = raw(c.was)
		}
		want(t, p.push(patch("client", "client-one", raw(c.change), was))[0], wire.Applied, "")
		var got string
		w.reader(func(rd *state.Reader) {
			r, _ := rd.Load("client-one")
			got = string(r.Get("phones"))
		})
		if got != c.want {
			t.Errorf("%s from %s by %s is %s, want %s", c.now, c.was, c.change, got, c.want)
		}
	}
	for _, bad := range []string{`{"add":["1"],"drop":["2"]}`, `{"ADD":["1"]}`, `{"add":"1"}`, `{"add":[null]}`, `{"add":[""]}`} {
		w.refused(fault.BadValue, write("emp-mgr-1", command.Write{Op: "patch", Type: "client", ID: "client-one", Fields: raw(bad)}))
	}
	// Only a patch of a set takes it; a field that is not known stays unknown.
	w.refused(fault.BadValue, write("emp-mgr-1", command.Write{Op: "patch", Type: "client", ID: "client-one", Fields: command.Object{"name": json.RawMessage(`{"add":["1"]}`)}}))
	w.refused(fault.UnknownField, write("emp-mgr-1", command.Write{Op: "patch", Type: "client", ID: "client-one", Fields: command.Object{"nothing": json.RawMessage(`{"add":["1"]}`)}}))
	w.refused(fault.BadValue, write("emp-mgr-1", command.Write{Op: "create", Type: "client", Fields: command.Object{
		"name": json.RawMessage(`"x"`), "salesArea": json.RawMessage(`"area-north"`), "phones": json.RawMessage(`{"add":["1"]}`),
	}}))
}
