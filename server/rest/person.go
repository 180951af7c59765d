package rest

import (
	"archive/zip"
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/internal/strictjson"
	"satchel/server/edge"
	"satchel/sync/apply"
	"satchel/sync/audit"
	"satchel/sync/project"
	"satchel/sync/subject"
	"satchel/sync/tenant"
)

// OpenContent reads the content of a document, by its SHA-256 in lowercase hex.
type OpenContent func(ctx context.Context, t ident.TenantID, digest string) (io.ReadCloser, error)

// How much of an export of a person is read from one state.
const (
	personRecords = 20_000
	personRows    = 20_000
)

// maxErasing bounds how long a request waits for an erasure to end; it goes on
// by itself.
const maxErasing = 20 * time.Second

// PersonExport says what an export of a person holds.
type PersonExport struct {
	Person ident.RecordID `json:"person"`
	Type   string         `json:"type"`
	// Records counts the records in it whole: those that stand for the person and
	// those that would go with them.
	Records int `json:"records"`
	// Named counts the records that name the person, Authored those that the
	// person made, Rows the rows of the audit trail, OfflineWork what is in the
	// quarantine, Files the contents of files.
	Named       int `json:"named"`
	Authored    int `json:"authored"`
	Rows        int `json:"rows"`
	OfflineWork int `json:"offlineWork"`
	Files       int `json:"files"`
}

// dossier writes all that is held of a person into a ZIP. Each part is read from
// a state of its own, with the rights of the reader in it.
type dossier struct {
	read    func(func(*tenant.View, *policy.Subject) error) error
	tenant  *tenant.Tenant
	content OpenContent // nil: files are listed without their content
	person  ident.RecordID
	own     bool // it is for the person
	zip     *zip.Writer
	out     PersonExport
	people  map[ident.RecordID]bool // the records that stand for the person, and their devices
	whole   map[ident.RecordID]bool // the records that are in it whole
	files   []personFile
}

// personFile is content to be put into the export.
type personFile struct {
	Entry     string         `json:"entry,omitempty"` // in the ZIP; "" where the content is not in it
	Document  ident.RecordID `json:"document"`
	Name      string         `json:"name,omitempty"`
	MediaType string         `json:"mediaType,omitempty"`
	Size      int64          `json:"size"`
	SHA256    string         `json:"sha256"`
}

// personRecord is a record as it is exported.
type personRecord struct {
	Type   string          `json:"type"`
	Fields json.RawMessage `json:"record"`
}

// personSession is a sign-in, without its secrets.
type personSession struct {
	Device  ident.DeviceID `json:"device,omitempty"`
	Strong  bool           `json:"secondFactor,omitempty"`
	Ended   bool           `json:"ended"`
	Expires string         `json:"expires"`
}

// personDevice is what the server knows of a device beside its record.
type personDevice struct {
	ID           ident.DeviceID `json:"id"`
	Installation string         `json:"installation,omitempty"`
	Incarnation  string         `json:"incarnation,omitempty"`
	Pushes       bool           `json:"pushes"` // it has an address for pushes
	Holds        int            `json:"holds"`  // records that it has or may have
}

// personHead is what stands in person.json.
type personHead struct {
	Exported string          `json:"exported"`
	Person   ident.RecordID  `json:"person"`
	Type     string          `json:"type"`
	Records  []personRecord  `json:"records"`
	SignIn   *personSignIn   `json:"signIn,omitempty"`
	Sessions []personSession `json:"sessions,omitempty"`
	Devices  []personDevice  `json:"devices,omitempty"`
	Files    []personFile    `json:"files,omitempty"`
	Named    []personMention `json:"named,omitempty"`
}

// personSignIn is what there is to sign in with.
type personSignIn struct {
	Password     bool `json:"password"`
	SecondFactor bool `json:"secondFactor"`
}

// personMention is a record that names the person, or that the person made.
type personMention struct {
	Type  string         `json:"type"`
	ID    ident.RecordID `json:"id"`
	Field string         `json:"field,omitempty"` // that names the person
	At    string         `json:"at,omitempty"`    // when it was made
}

// ExportPerson writes everything that is held of a person, for the operator. It
// refuses what stands for no person with not_found.
func ExportPerson(ctx context.Context, t *tenant.Tenant, person ident.RecordID, content OpenContent, w io.Writer) (PersonExport, error) {
	d := dossier{
		read: func(f func(*tenant.View, *policy.Subject) error) error {
			return t.Read(func(v *tenant.View) error { return f(v, nil) })
		},
		tenant: t, content: content, person: person,
	}
	err := d.write(ctx, w)
	return d.out, err
}

// write fills the ZIP.
func (d *dossier) write(ctx context.Context, w io.Writer) error {
	d.zip = zip.NewWriter(w)
	for _, part := range []func() error{d.head, d.authored, d.trail, d.offline, func() error { return d.contents(ctx) }} {
		if err := errors.Join(part(), ctx.Err()); err != nil {
			return err
		}
	}
	return d.zip.Close()
}

// sight is what the reader sees of a record; an operator sees all of it.
func sightOf(v *tenant.View, sub *policy.Subject, rec *entity.Record) policy.Sight {
	if sub == nil {
		return policy.Sight{Mask: rec.Type.All()}
	}
	return sub.Sees(rec, v.Reader)
}

// record adds a record to the list, as far as the reader sees it.
func (d *dossier) record(v *tenant.View, sub *policy.Subject, rec *entity.Record, to *[]personRecord) error {
	s := sightOf(v, sub, rec)
	if s.Mask == 0 || d.whole[rec.ID] {
		return nil
	}
	var p project.Projector
	raw, _, err := p.AppendREST(nil, v.Bytes(rec.Ord), rec.ID, s.Mask, s.Context)
	if err != nil {
		return err
	}
	d.whole[rec.ID] = true
	*to = append(*to, personRecord{rec.Type.Name, raw})
	d.out.Records++
	if digest := rec.Type.Field("sha256"); rec.Type.Name == apply.TypeDocument && s.Mask.Has(digest.No) && !rec.Value(digest.No).IsNull() {
		d.file(personFile{
			Document: rec.ID, Name: rec.Get("name").Text(), MediaType: rec.Get("mediaType").Text(), Size: rec.Get("size").Int(), SHA256: rec.Get("sha256").Text(),
		})
	}
	return nil
}

// file notes content for the end.
func (d *dossier) file(f personFile) {
	if d.content != nil {
		f.Entry = fmt.Sprintf("files/%d-%s", len(d.files)+1, f.Document)
	}
	d.files = append(d.files, f)
}

// head writes person.json: the records that stand for the person, those that
// would go with them, and how they sign in.
func (d *dossier) head() error {
	var h personHead
	// By the clock: the time of the state tells when somebody last did something.
	now := d.tenant.Now()
	err := d.read(func(v *tenant.View, sub *policy.Subject) error {
		h = personHead{Exported: now.RFC3339(), Person: d.person}
		d.people, d.whole, d.files, d.out = map[ident.RecordID]bool{}, map[ident.RecordID]bool{}, nil, PersonExport{Person: d.person}
		all, err := apply.PeopleOf(v.Reader, d.person)
		if err != nil {
			return err
		}
		what, _ := v.Identify(d.person)
		h.Type = v.Cat.TypeNo(what.TypeNo).Name
		d.out.Type = h.Type
		if rec, ok := v.Load(d.person); ok && sightOf(v, sub, rec).Mask == 0 || !ok && sub != nil {
			return notFound()
		}
		devices := v.Cat.Type(subject.Device)
		for _, id := range all {
			rec, ok := v.Load(id)
			if !ok {
				d.people[id] = true
				continue
			}
			if sightOf(v, sub, rec).Mask == 0 {
				continue
			}
			d.people[id] = true
			if err := d.record(v, sub, rec, &h.Records); err != nil {
				return err
			}
			var failed error
			apply.OwnRecords(v.Reader, id, func(own *entity.Record) bool {
				failed = d.record(v, sub, own, &h.Records)
				return failed == nil
			})
			for o := range v.Referring(devices, devices.Field("employee").No, id).All() {
				if dev, ok := v.LoadOrd(o); ok && failed == nil && sightOf(v, sub, dev).Mask != 0 {
					d.people[dev.ID] = true
					failed = d.record(v, sub, dev, &h.Records)
					h.Devices = append(h.Devices, deviceOf(v, dev.ID))
				}
			}
			if failed != nil {
				return failed
			}
			if rec.Type.Name == subject.Employee {
				_, factor := apply.ReadFactor(v.Reader, id)
				h.SignIn = &personSignIn{apply.Credential(v.Reader, id) != "", factor}
				for _, s := range apply.Sessions(v.Reader, id) {
					h.Sessions = append(h.Sessions, personSession{s.Device, s.Strong, s.Ended(now), s.Family.ExpiresAt.RFC3339()})
				}
			}
			v.Naming(id, func(other *entity.Record, no uint8) bool {
				if s := sightOf(v, sub, other); s.Mask.Has(no) && !d.whole[other.ID] {
					h.Named = append(h.Named, personMention{Type: other.Type.Name, ID: other.ID, Field: other.Type.FieldNo(no).Name})
				}
				return true
			})
		}
		apply.EachWaitingFile(v.Reader, func(w apply.WaitingFile) bool {
			if d.people[w.Author] {
				d.file(personFile{Document: w.File.Document, Name: w.File.Name, MediaType: w.File.MediaType, Size: w.File.Size, SHA256: w.File.SHA256})
			}
			return true
		})
		h.Files, d.out.Named = d.files, len(h.Named)
		return nil
	})
	if err != nil {
		return err
	}
	w, err := d.zip.Create("person.json")
	if err != nil {
		return err
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(h)
}

// deviceOf tells what is known of a device beside its record.
func deviceOf(v *tenant.View, id ident.DeviceID) personDevice {
	out := personDevice{ID: id}
	if d := apply.ReadDevice(v.Reader, apply.Classes(v.Reader), id); d != nil {
		out.Installation, out.Incarnation, out.Pushes, out.Holds = d.Installation, d.Incarnation, d.PushToken != "", d.Sync.Holds().Len()
	}
	return out
}

// lines writes one JSON value a line, page by page.
func (d *dossier) lines(name string, page func(v *tenant.View, sub *policy.Subject, put func(any) error) (more bool, err error)) error {
	entry, err := d.zip.Create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(entry)
	for more := true; more; {
		var rows [][]byte // written once the state is left
		err := d.read(func(v *tenant.View, sub *policy.Subject) (err error) {
			more, err = page(v, sub, func(x any) error {
				b, err := json.Marshal(x)
				rows = append(rows, b)
				return err
			})
			return err
		})
		if err != nil {
			return err
		}
		for _, b := range rows {
			if _, err := w.Write(append(b, '\n')); err != nil {
				return err
			}
		}
	}
	return w.Flush()
}

// authored lists what the person made: ids, types and times.
func (d *dossier) authored() error {
	next := ident.Ordinal(1)
	return d.lines("authored.jsonl", func(v *tenant.View, sub *policy.Subject, put func(any) error) (bool, error) {
		last := v.LastOrdinal()
		for n := 0; n < personRecords && next <= last; n, next = n+1, next+1 {
			rec, ok := v.LoadOrd(next)
			if !ok || !d.people[rec.Value(entity.NoCreatedBy).Ref()] || !sightOf(v, sub, rec).Mask.Has(entity.NoCreatedBy) {
				continue
			}
			d.out.Authored++
			if err := put(personMention{Type: rec.Type.Name, ID: rec.ID, At: rec.Value(entity.NoCreatedAt).Text()}); err != nil {
				return false, err
			}
		}
		return next <= last, nil
	})
}

// trail writes the rows of the audit trail about the person and by them, newest
// first.
func (d *dossier) trail() error {
	from, skip := audit.Last, audit.Key{}
	return d.lines("trail.jsonl", func(v *tenant.View, sub *policy.Subject, put func(any) error) (more bool, err error) {
		a := &auditor{v, sub, map[ident.RecordID]entity.Mask{}, map[ident.RecordID]named{}}
		n := 0
		var failed error
		err = audit.Back(v.KV(), from, func(r *audit.Row) bool {
			if r.Key == skip {
				return true
			}
			if n++; n > personRows {
				more = true
				return false
			}
			from, skip = r.Key, r.Key
			if !d.concerns(r) {
				return true
			}
			mask := ^entity.Mask(0)
			if sub != nil {
				if mask, failed = a.mask(r); failed != nil {
					return false
				}
				if mask == 0 || (r.Fields != 0 && r.Fields&mask == 0) {
					return true
				}
			}
			var row auditRow
			if row, failed = a.render(r, mask); failed == nil {
				if d.own && !d.people[r.Actor] {
					row.Device, row.For = nil, nil // by what others did it is theirs
				}
				d.out.Rows++
				failed = put(row)
			}
			return failed == nil
		})
		if failed != nil {
			err = failed
		}
		return more, err
	})
}

// concerns reports whether a row of the trail is about the person or by them.
// The person themselves is not told how others dealt with their offline work,
// nor what operators did.
func (d *dossier) concerns(r *audit.Row) bool {
	switch by := d.people[r.Actor]; {
	case by:
		return true
	case d.own && (r.Op == audit.Replayed || r.Op == audit.Discarded || r.Op == audit.Operator):
		return false
	}
	return d.people[r.ID] || d.whole[r.ID] || (!d.own && d.people[r.For])
}

// offline writes what is kept of the person's refused offline work, and of
// others' about the person.
func (d *dossier) offline() error {
	return d.lines("offline.jsonl", func(v *tenant.View, sub *policy.Subject, put func(any) error) (bool, error) {
		var failed error
		apply.EachQuarantined(v.Reader, func(q apply.Quarantined) bool {
			mine := d.people[q.Author]
			if !mine && (!d.people[q.Mutation.ID] || sub != nil && !apply.Unhindered(sub)) {
				return true // of others' work its author and administrators know
			}
			if sub != nil && sub.ID != q.Author && apply.Conceals(v.Reader, sub, &q) {
				return true
			}
			d.out.OfflineWork++
			failed = put(struct {
				Author   ident.RecordID   `json:"author"`
				Device   ident.DeviceID   `json:"device"`
				Received string           `json:"received"`
				Status   string           `json:"status"`
				Code     fault.Code       `json:"code,omitempty"`
				Message  string           `json:"message,omitempty"`
				Mutation command.Mutation `json:"mutation"`
			}{q.Author, q.Device, q.Received.RFC3339(), q.Status, q.Code, q.Message, q.Mutation})
			return failed == nil
		})
		return false, failed
	})
}

// contents copies the files.
func (d *dossier) contents(ctx context.Context) error {
	for _, f := range d.files {
		if f.Entry == "" {
			continue
		}
		r, err := d.content(ctx, d.tenant.ID(), f.SHA256)
		if err != nil {
			// What is lost must not keep the rest from whose it is.
			if err := d.missing(f, err); err != nil {
				return err
			}
			continue
		}
		w, err := d.zip.Create(f.Entry)
		if err == nil {
			_, err = io.Copy(w, r)
		}
		if err := errors.Join(err, r.Close()); err != nil {
			return err
		}
		d.out.Files++
	}
	return nil
}

// missing says in the place of a file that it can't be read.
func (d *dossier) missing(f personFile, _ error) error {
	w, err := d.zip.Create(f.Entry + ".missing.txt")
	if err == nil {
		_, err = io.WriteString(w, "The content of this file can't be read at the moment.\n")
	}
	return err
}

// sendPerson writes an export into a file and sends that. One is made
// at a time: it reads the whole trail.
func (s *Server) sendPerson(c *fiber.Ctx, caller *edge.Caller, person ident.RecordID, own bool) error {
	select {
	case s.persons <- struct{}{}:
		defer func() { <-s.persons }()
	default:
		return fault.New(fault.Busy)
	}
	read := caller.Read
	if !own {
		read = func(f func(*tenant.View, *policy.Subject) error) error {
			return caller.Read(func(v *tenant.View, sub *policy.Subject) error {
				if err := unhindered(sub); err != nil {
					return err
				}
				return f(v, sub)
			})
		}
	}
	d := dossier{read: read, tenant: caller.Tenant, content: s.content, person: person, own: own}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	return s.sendFile(c, "application/zip", "person.zip", func(f io.Writer) error { return d.write(ctx, f) })
}

// unhindered refuses whoever is no customer administrator from whom nothing is
// hidden: others could neither answer for what goes with a person, nor tell
// whether what they hand out is all.
func unhindered(sub *policy.Subject) error {
	if !apply.Unhindered(sub) {
		return fault.New(fault.NotAllowed)
	}
	return nil
}

// exportMe answers the caller all that is held of them, as far as they may see
// it.
func (s *Server) exportMe(c *fiber.Ctx, caller *edge.Caller) error {
	if _, err := parameters(c); err != nil {
		return err
	}
	return s.sendPerson(c, caller, caller.Employee, true)
}

// exportPerson answers an administrator all that is held of a person.
func (s *Server) exportPerson(c *fiber.Ctx, caller *edge.Caller) error {
	person := ident.RecordID(c.Params("id"))
	err := caller.Read(func(v *tenant.View, sub *policy.Subject) error {
		if err := unhindered(sub); err != nil {
			return err
		}
		if _, ok := v.Identify(person); !ok { // before there is any waiting for others
			return notFound()
		}
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := parameters(c); err != nil {
		return err
	}
	return s.sendPerson(c, caller, person, false)
}

// surveyPerson answers what would go if a person were erased. Nothing is
// written.
func (s *Server) surveyPerson(c *fiber.Ctx, caller *edge.Caller) error {
	id := ident.RecordID(c.Params("id"))
	read := func(f func(*tenant.View) error) error {
		return caller.Read(func(v *tenant.View, sub *policy.Subject) error {
			if err := unhindered(sub); err != nil {
				return err
			}
			if rec, ok := v.Load(id); ok && sub.Sees(rec, v.Reader).Mask == 0 || !ok && !apply.WasErased(v.Reader, id) {
				return notFound()
			}
			return f(v)
		})
	}
	if err := read(func(*tenant.View) error { return nil }); err != nil && !fault.Is(err, fault.NotFoundCode) {
		return err
	}
	if _, err := parameters(c); err != nil {
		return err
	}
	out, err := SurveyPerson(read, id)
	if err != nil {
		return err
	}
	return c.JSON(out)
}

// SurveyPerson says what would go if a person were erased. read calls its
// argument with one state, each time it is called with the latest.
func SurveyPerson(read func(func(*tenant.View) error) error, id ident.RecordID) (out apply.Erasure, err error) {
	begun := false
	err = read(func(v *tenant.View) error {
		out, err = apply.SurveyErasure(v.Reader, id)
		begun = apply.WasErased(v.Reader, id)
		return err
	})
	if err != nil || begun {
		return out, err
	}
	var at audit.Key
	for more := true; more; {
		err = read(func(v *tenant.View) error {
			n, place, rest, err := apply.TrailOf(v.Reader, id, at)
			if n > 0 {
				out.Counts[apply.GoneAuditRows] += n
			}
			at, more = place, rest
			return err
		})
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// erasePerson erases a person. Where it takes long the answer is 202: the rest
// follows by itself.
func (s *Server) erasePerson(c *fiber.Ctx, caller *edge.Caller) error {
	if err := caller.Read(func(_ *tenant.View, sub *policy.Subject) error { return unhindered(sub) }); err != nil {
		return err
	}
	if _, err := parameters(c); err != nil {
		return err
	}
	_, body, err := members(c, true)
	if err != nil {
		return err
	}
	var none struct{}
	if len(body) > 0 {
		if err := strictjson.Decode(body, &none); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), min(maxErasing, s.timeout))
	defer cancel()
	cmd := caller.Command()
	cmd.Erase = &command.Erase{Person: ident.RecordID(c.Params("id"))}
	out, err := Erase(ctx, caller.Tenant, cmd)
	switch {
	case out == nil:
		return err
	case !out.Done:
		return c.Status(fiber.StatusAccepted).JSON(out)
	}
	return c.JSON(out)
}

// Erase hands in the erasure of a person until it has come to its end, or can't
// be waited for; then it goes on by itself. The erasure is nil only where it was
// refused.
func Erase(ctx context.Context, t *tenant.Tenant, cmd *command.Command) (*apply.Erasure, error) {
	var last *apply.Erasure
	for {
		one := *cmd
		one.Seed = nil
		res, err := t.Submit(ctx, &one)
		if err != nil {
			return last, err // an administrator who has gone can't ask again
		}
		if last = res.Erased; last.Done || ctx.Err() != nil {
			return last, nil
		}
	}
}

// mountPersons mounts the routes about what is held of people.
func (s *Server) mountPersons(app *fiber.App) {
	for _, r := range []struct {
		method, path string
		kind         Kind
		h            fiber.Handler
	}{
		{fiber.MethodGet, "/v1/me/export", Personal, s.called(s.exportMe)},
		{fiber.MethodGet, "/v1/admin/persons/{id}/export", Admin, s.called(s.exportPerson)},
		{fiber.MethodGet, "/v1/admin/persons/{id}/erasure", Admin, s.called(s.surveyPerson)},
		{fiber.MethodPost, "/v1/admin/persons/{id}:erase", Admin, s.called(s.erasePerson)},
	} {
		s.on(app, Route{Method: r.method, Path: r.path, Kind: r.kind}, r.h)
	}
}

// aboutPersons describes those routes; it returns false for any other.
func aboutPersons(r Route, op schema) bool {
	zipped := func(refused ...string) schema {
		m := answers("200", "A ZIP: person.json with the records, sign-ins, devices and files; authored.jsonl, trail.jsonl and offline.jsonl with an object a line; the files' content.", nil, refused...)
		m["200"].(schema)["content"] = schema{"application/zip": schema{"schema": schema{"type": "string", "format": "binary"}}}
		return m
	}
	switch r.Path {
	case "/v1/me/export":
		op["summary"] = "All that is held of me, as far as I may see it"
		op["description"] = "One export is made at a time; busy asks to try again."
		op["responses"] = zipped()
	case "/v1/admin/persons/{id}/export":
		op["summary"] = "All that is held of a person: an employee, a contact, or another record that stands for one"
		op["description"] = "For customer administrators from whom no client is hidden. One export is made at a time; busy asks to try again."
		op["responses"] = zipped("403", "404")
	case "/v1/admin/persons/{id}/erasure":
		op["summary"] = "What would go if a person were erased, or how far that has come"
		op["description"] = "For customer administrators from whom no client is hidden. Nothing is written."
		op["responses"] = answers("200", "Counts, by kind.", ref("schemas", "Erasure"), "403", "404", "409")
	case "/v1/admin/persons/{id}:erase":
		op["summary"] = "Erase a person"
		op["description"] = "For customer administrators from whom no client is hidden. Personal fields, ways to sign in, what is theirs alone and its history go; " +
			"what they wrote about the business stays, by nobody. It can't be taken back. Repeated, it answers how far it has come."
		op["responses"] = answers("200", "It is done.", ref("schemas", "Erasure"), "403", "404", "409")
		op["responses"].(schema)["202"] = schema{"description": "It has begun, and goes on by itself.", "content": jsonBody(ref("schemas", "Erasure"))}
	default:
		return false
	}
	return true
}

// personSchemas describes erasures.
func personSchemas() schema {
	text, whole := schema{"type": "string"}, schema{"type": "integer"}
	counts := func(about string) schema {
		return schema{"type": "object", "additionalProperties": whole, "description": about}
	}
	return schema{"Erasure": schema{
		"type": "object", "required": []string{"person", "type", "done", "former", "removed", "records", "counts"},
		"properties": schema{
			"person": text, "type": text, "done": schema{"type": "boolean"},
			"former":  schema{"type": "integer", "description": "Records that stood for the person."},
			"removed": schema{"type": "integer", "description": "Those of them that nothing refers to, and that are gone."},
			"records": counts("Records that go whole, by type."), "counts": counts("What else goes, by kind."),
		},
	}}
}
