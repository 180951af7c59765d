package oracle

import (
	"encoding/binary"
	"errors"
	"testing"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/server/module"
	"satchel/sync/store"
)

// state writes records by the documented format.
type state struct {
	t   testing.TB
	cat *entity.Catalogue
	eng *store.Mem
	ord uint32
}

func newState(t testing.TB) *state {
	cat, err := module.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	return &state{t: t, cat: cat, eng: store.NewMem()}
}

func (s *state) put(typ, id, client string, kv ...string) {
	s.t.Helper()
	s.ord++
	r := &entity.Record{Type: s.cat.Type(typ), ID: ident.RecordID(id), Ord: s.ord}
	if client != "" {
		r.Put(entity.NoClientID, entity.StringValue(client))
	}
	for i := 0; i < len(kv); i += 2 {
		v := entity.StringValue(kv[i+1])
		if k := r.Type.Field(kv[i]).Kind; k == entity.Refs || k == entity.Strings {
			v = entity.SetValue([]string{kv[i+1]})
		}
		r.Set(kv[i], v)
	}
	r.Seal(entity.Stamp{Pos: ident.Position(s.ord), At: 1000})
	err := s.eng.Update(func(w store.Writer) error {
		k := binary.BigEndian.AppendUint32(nil, s.ord)
		return errors.Join(
			w.Put(store.Records, k, r.Append(nil)),
			w.Put(store.Ordinals, k, append(binary.BigEndian.AppendUint16(nil, r.Type.No), id...)),
			w.Put(store.Meta, []byte("time"), binary.BigEndian.AppendUint64(nil, 1_700_000_000_000)))
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *state) person(id, kind, client string, roles ...string) {
	kv := []string{"name", id, "email", id + "@example.com", "kind", kind, "status", "Active"}
	if client != "" {
		kv = append(kv, "client", client)
	}
	s.put("employee", id, client, kv...)
	for i, r := range roles {
		s.put("roleAssignment", id+"-role-"+string(rune('a'+i)), "", "employee", id, "role", r)
	}
}

func (s *state) look() *World {
	s.t.Helper()
	snap, err := s.eng.Snapshot()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(snap.Close)
	w, err := New(s.cat).Look(snap)
	if err != nil {
		s.t.Fatal(err)
	}
	return w
}

// TestManual holds the judge itself against plain sentences of the manual.
func TestManual(t *testing.T) {
	s := newState(t)
	s.put("salesArea", "area-north", "", "name", "North")
	s.put("salesArea", "area-south", "", "name", "South")
	s.put("client", "client-aa", "client-aa", "name", "A", "salesArea", "area-north", "accessNotes", "gate", "billingNotes", "secret")
	s.put("client", "client-bb", "client-bb", "name", "B", "salesArea", "area-south")
	s.put("job", "job-aaaa", "client-aa", "client", "client-aa", "title", "Boiler", "ticket", "ticket-a")
	s.put("jobActivity", "act-aaaa", "client-aa", "job", "job-aaaa", "title", "Visit", "assignee", "engineer", "status", "Assigned")
	s.put("ticket", "ticket-a", "client-aa", "client", "client-aa", "subject", "Help", "requester", "staff-aa")
	s.put("ticketUpdate", "upd-publ", "client-aa", "ticket", "ticket-a", "visibility", "public", "kind", "note", "text", "x", "author", "ticketer")
	s.put("ticketUpdate", "upd-intl", "client-aa", "ticket", "ticket-a", "visibility", "internal", "kind", "note", "text", "x")
	s.put("checklist", "check-aa", "", "name", "Gas")
	s.person("engineer", "in-house", "", "service.engineer", "mobile.service-agent-user")
	s.person("engineer-hid", "in-house", "", "service.engineer")
	s.put("clientVisibility", "vis-hidd", "", "employee", "engineer-hid", "mode", "all-but")
	s.put("visibilityRule", "rule-hid", "client-aa", "visibility", "vis-hidd", "client", "client-aa")
	s.person("rep-north", "in-house", "", "service.sales-representative")
	s.put("employee", "rep-south", "", "name", "S", "kind", "in-house", "status", "Active", "salesAreas", "area-south")
	s.put("roleAssignment", "role-south", "", "employee", "rep-south", "role", "service.sales-representative")
	s.person("guest-ag", "in-house", "", "service.guest-agent")
	s.person("staff-aa", "client-staff", "client-aa", "level.basic", "service.guest")
	s.person("staff-bb", "client-staff", "client-bb", "level.basic")
	s.person("ticketer", "in-house", "", "level.ticket-manager")
	s.person("outsider", "subcontractor", "", "service.guest", "level.ticket-manager")
	s.put("roleAssignment", "role-over", "", "employee", "rep-north", "role", "service.manager", "until", "2023-11-14T22:13:20.000Z")
	s.person("denied-1", "in-house", "", "service.guest")
	s.put("individualPermission", "deny-fld", "", "employee", "denied-1", "effect", "denial", "verb", "view", "entityType", "client", "field", "accessNotes")
	w := s.look()
	for _, c := range []struct {
		who, id string
		sees    bool
		fields  []string // that must be there; with ! that must not
		clause  string
	}{
		{"engineer", "client-aa", true, []string{"name", "accessNotes", "!billingNotes"}, "SVC-ENG-1"},
		{"engineer", "job-aaaa", true, []string{"title", "ticket", "!createdBy"}, "SVC-ENG-5"},
		{"engineer", "ticket-a", false, nil, "SVC-ENG-5: not assigned"},
		{"engineer-hid", "client-aa", false, nil, "BM-CLIENT-2"},
		{"engineer-hid", "client-bb", true, nil, "BM-CLIENT-2"},
		{"engineer-hid", "act-aaaa", false, nil, "SVC-ENG-5"},
		{"rep-north", "client-aa", false, nil, "SVC-REP-1, and an assignment that has ended"},
		{"rep-south", "client-bb", true, nil, "SVC-REP-1"},
		{"rep-south", "client-aa", false, nil, "SVC-REP-1"},
		{"rep-south", "check-aa", true, nil, "reading 8"},
		{"guest-ag", "job-aaaa", true, []string{"title", "!description", "!ticket"}, "SVC-GAGENT-1"},
		{"guest-ag", "client-aa", false, nil, "reading 21"},
		{"staff-aa", "client-aa", true, nil, "BM-BASIC-5"},
		{"staff-aa", "client-bb", false, nil, "BM-BASIC-5"},
		{"staff-aa", "check-aa", false, nil, "reading 18"},
		{"staff-aa", "upd-publ", true, nil, "BM-BASIC-1"},
		{"staff-aa", "upd-intl", false, nil, "reading 18"},
		{"staff-aa", "ticketer", true, []string{"name", "!email", "!kind"}, "reading 27"},
		{"staff-bb", "ticketer", false, nil, "reading 27"},
		{"staff-bb", "ticket-a", false, nil, "BM-BASIC-5"},
		{"ticketer", "upd-intl", true, nil, "BM-TMGR-1"},
		{"outsider", "upd-intl", false, nil, "reading 18"},
		{"outsider", "ticket-a", true, nil, "BM-TMGR-1"},
		{"outsider", "check-aa", false, nil, "reading 18"},
		{"denied-1", "client-aa", true, []string{"name", "!accessNotes"}, "BM-IND-1"},
	} {
		got, ok := w.Sees(ident.RecordID(c.who), ident.RecordID(c.id))
		if ok != c.sees {
			t.Errorf("%s: %s sees %s: %v", c.clause, c.who, c.id, ok)
			continue
		}
		for _, f := range c.fields {
			want := f[0] != '!'
			if !want {
				f = f[1:]
			}
			if _, has := got.Fields[f]; has != want {
				t.Errorf("%s: %s sees %s.%s: %v", c.clause, c.who, c.id, f, has)
			}
		}
	}
}

// TestContext: an activity of a guest agent is there beneath a pinned job
// only, marked.
func TestContext(t *testing.T) {
	s := newState(t)
	s.put("salesArea", "area-north", "", "name", "North")
	s.put("client", "client-aa", "client-aa", "name", "A", "salesArea", "area-north")
	s.put("job", "job-aaaa", "client-aa", "client", "client-aa", "title", "Boiler")
	s.put("jobActivity", "act-aaaa", "client-aa", "job", "job-aaaa", "title", "Visit", "assignee", "guest-ag")
	s.person("guest-ag", "in-house", "", "service.guest-agent")
	w := s.look()
	d := &Device{Employee: "guest-ag"}
	if _, ok := w.Holds(d)["act-aaaa"]; ok {
		t.Error("the activity stands in a list of its own")
	}
	d.Pins = []ident.RecordID{"job-aaaa"}
	if got := w.Holds(d)["act-aaaa"]; !got.Context {
		t.Errorf("beneath its pinned job: %+v", got)
	}
	d.Field = true
	if got := w.Holds(d); len(got) != 0 {
		t.Errorf("a field device without the Mobile role holds %v", got)
	}
}

// TestDamage: rows that are not as documented are told, not guessed at.
func TestDamage(t *testing.T) {
	s := newState(t)
	s.put("salesArea", "area-north", "", "name", "North")
	snap, _ := s.eng.Snapshot()
	good := append([]byte(nil), snap.Get(store.Records, []byte{0, 0, 0, 1})...)
	for n := range good {
		if _, err := decode(s.cat, 1, good[:n]); !errors.Is(err, ErrRow) {
			t.Errorf("%d of %d bytes: %v", n, len(good), err)
		}
	}
	if _, err := decode(s.cat, 1, append(good, 0)); !errors.Is(err, ErrRow) {
		t.Errorf("a byte too many: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	s := newState(f)
	s.put("salesArea", "area-north", "", "name", "North")
	snap, err := s.eng.Snapshot()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append([]byte(nil), snap.Get(store.Records, []byte{0, 0, 0, 1})...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if r, err := decode(s.cat, 1, raw); err != nil && !errors.Is(err, ErrRow) {
			t.Errorf("%v %v", r, err)
		}
	})
}
