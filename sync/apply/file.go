package apply

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/sync/audit"
	"satchel/sync/outbox"
	"satchel/sync/state"
	"satchel/sync/store"
)

// TypeDocument is the type whose records get content by uploads, with the fields
// sha256, size and mediaType.
const TypeDocument = "document"

// FileLifetime is how long content waits for its document, in milliseconds; as
// long as refused offline work is to be expected to be dealt with.
const FileLifetime ident.Millis = 30 * 24 * 60 * 60 * 1000

// maxMediaType bounds a media type, in bytes: what waits must fit its document.
const maxMediaType = 120

// verbUpload names in the trail what gives a document its content.
const verbUpload = "upload"

// WaitingFile is content that arrived and belongs to no document: the document
// was not created yet, or its creation was refused, or its author may not give
// it content.
type WaitingFile struct {
	Author   ident.RecordID `json:"author"`
	Received ident.Millis   `json:"received"`
	File     command.File   `json:"file"`
}

// The Files bucket: 'f' document id, 0, author id -> WaitingFile as JSON; 't'
// instant, row of the first kind -> nothing, for the sweep. Of several files of
// one author for one document the last one waits.
func fileRow(document, author ident.RecordID) []byte {
	return append(append(append([]byte{'f'}, document...), 0), author...)
}

// EachWaitingFile calls f for all content that waits for its document, until f
// returns false.
func EachWaitingFile(rd *state.Reader, f func(WaitingFile) bool) {
	store.ScanPrefix(rd.KV(), store.Files, []byte{'f'}, func(_, v []byte) bool { return f(readFile(v)) })
}

func readFile(v []byte) (w WaitingFile) {
	if err := json.Unmarshal(v, &w); err != nil {
		panic(fmt.Errorf("%w: a waiting file: %w", state.ErrDamaged, err))
	}
	return w
}

// sweepFile drops what waited long enough, unless it was renewed since.
func (m *Machine) sweepFile(row []byte) {
	if v := m.w.Get(store.Files, row); v != nil && readFile(v).Received+FileLifetime <= m.w.Now() {
		m.w.Delete(store.Files, row)
	}
}

// file gives a document its content, or keeps it until the document is
// created. Which of the two is told to nobody: the answer is one and the same
// for documents that are hidden, absent, or have content.
func (r *run) file(f *command.File) Result {
	if r.sub == nil {
		return Result{Err: fault.New(fault.NotAllowed)}
	}
	switch {
	case !f.Document.Valid():
		return Result{Err: fault.New(fault.BadID).OnField("document")}
	case f.Refused != "":
		return Result{Err: r.refusedFile(f)}
	case len(f.SHA256) != 64 || strings.Trim(f.SHA256, "0123456789abcdef") != "":
		return Result{Err: fault.New(fault.BadValue).OnField("sha256")}
	case f.Size < 0:
		return Result{Err: fault.New(fault.BadValue).OnField("size")}
	case f.MediaType == "" || len(f.MediaType) > maxMediaType:
		return Result{Err: fault.New(fault.BadValue).OnField("mediaType")}
	}
	rec, _, err := r.find(r.cfg.Cat.Type(TypeDocument), f.Document)
	if err == nil {
		switch has := rec.Get("sha256"); {
		case has.Text() == f.SHA256:
			// Told twice: the first answer was lost.
			r.w.Delete(store.Files, fileRow(f.Document, r.cmd.Actor))
			return Result{}
		case has.IsNull() && !rec.Archived() && r.gives(rec, r.sub):
			if _, err := r.fill(rec, f); err != nil {
				return Result{Err: err}
			}
			r.w.Delete(store.Files, fileRow(f.Document, r.cmd.Actor))
			return Result{}
		}
	}
	row := fileRow(f.Document, r.cmd.Actor)
	r.w.Put(store.Files, row, encode(WaitingFile{Author: r.cmd.Actor, Received: r.w.Now(), File: *f}))
	r.w.Put(store.Files, sweepRow(r.w.Now()+FileLifetime, row), nil)
	return Result{}
}

// verbRefuse names in the trail that content was not taken, and maxRefusal
// bounds the code for that, in bytes.
const (
	verbRefuse = "refuse"
	maxRefusal = 40
)

// refusedFile notes that content which somebody sent was found to be none to
// keep, and tells them: they may be gone from the request by then.
func (r *run) refusedFile(f *command.File) error {
	if len(f.Refused) > maxRefusal {
		return fault.New(fault.BadValue).OnField("refused")
	}
	row := r.concerning(audit.Action, r.cmd.Actor)
	row.Name = verbRefuse + " " + f.Refused
	if what, ok := r.w.Identify(f.Document); ok && what.TypeNo == r.cfg.Cat.Type(TypeDocument).No {
		row.ID, row.Type = f.Document, what.TypeNo
	}
	r.trail = append(r.trail, row)
	return r.offline(outbox.FileRefused, f.Document)
}

// gives reports whether a person may give a document its content: whoever
// created it, since it comes with that, and whoever may edit it.
func (r *run) gives(rec *entity.Record, sub *policy.Subject) bool {
	return rec.Value(entity.NoCreatedBy).Ref() == sub.ID || sub.Decide(policy.Edit, rec, &r.w.Reader).Allowed
}

// fill writes into a document what its content is.
func (r *run) fill(rec *entity.Record, f *command.File) (*entity.Record, error) {
	was := r.doing
	r.doing = doing{op: audit.Action, name: verbUpload, id: rec.ID}
	defer func() { r.doing = was }()
	after := rec.Clone()
	for _, set := range []struct {
		field string
		json  string
	}{
		{"sha256", strconv.Quote(f.SHA256)}, {"size", strconv.FormatInt(f.Size, 10)}, {"mediaType", string(entity.StringValue(f.MediaType))},
	} {
		v, err := rec.Type.Field(set.field).Normalize([]byte(set.json))
		if err != nil {
			return nil, err
		}
		after.Set(set.field, v)
	}
	return after, r.save(rec, after)
}

// claim gives a document that was just created the content that waits for it:
// what its creator sent or, failing that, what somebody else sent who may edit
// it.
func (r *run) claim(rec *entity.Record) (*entity.Record, error) {
	if !rec.Get("sha256").IsNull() {
		return rec, nil
	}
	var found *WaitingFile
	store.ScanPrefix(r.w.Stage, store.Files, append(append([]byte{'f'}, rec.ID...), 0), func(_, v []byte) bool {
		w := readFile(v)
		mine := w.Author == rec.Value(entity.NoCreatedBy).Ref()
		if !mine && found != nil {
			return true
		}
		if sub := r.subject(w.Author); sub == nil || !sub.Active || sub.View(rec, &r.w.Reader).Mask == 0 || !r.gives(rec, sub) {
			return true
		}
		found = &w
		return !mine
	})
	if found == nil {
		return rec, nil
	}
	r.w.Delete(store.Files, fileRow(rec.ID, found.Author))
	return r.fill(rec, &found.File)
}
