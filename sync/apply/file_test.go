package apply_test

import (
	"fmt"
	"strings"
	"testing"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/sync/apply"
	"satchel/sync/state"
	"satchel/sync/wire"
)

func sum(c string) string { return strings.Repeat(c, 64) }

func file(by, document ident.RecordID, sha string) *command.Command {
	return &command.Command{Actor: by, File: &command.File{Document: document, Upload: "u", SHA256: sha, Size: 7, MediaType: "image/png", Name: "photo.png"}}
}

func (w *world) waiting() (out []string) {
	w.t.Helper()
	w.reader(func(rd *state.Reader) {
		apply.EachWaitingFile(rd, func(f apply.WaitingFile) bool {
			out = append(out, fmt.Sprintf("%s %s %s", f.File.Document, f.Author, f.File.SHA256[:1]))
			return true
		})
	})
	return out
}

func (w *world) waits(want ...string) {
	w.t.Helper()
	if got := w.waiting(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		w.t.Fatalf("waiting: %q, want %q", got, want)
	}
}

// content demands what a document refers to, "" for nothing.
func (w *world) content(id ident.RecordID, sha string) {
	w.t.Helper()
	size, media := "", ""
	if sha != "" {
		size, media = "7", "image/png"
	}
	w.reader(func(rd *state.Reader) {
		rec, ok := rd.Load(id)
		if !ok {
			w.t.Fatalf("no %s", id)
		}
		if rec.Get("sha256").Text() != sha || string(rec.Get("size")) != size || rec.Get("mediaType").Text() != media {
			w.t.Fatalf("%s has %s %s %s, want %q", id, rec.Get("sha256"), rec.Get("size"), rec.Get("mediaType"), sha)
		}
	})
}

func document(by, id, parent ident.RecordID) *command.Command {
	return write(by, command.Write{Op: "create", Type: "document", ID: id, Fields: obj("parent", string(parent), "name", "photo")})
}

// TestFileBeforeAndAfter: content finds its document in whichever order the
// two come.
func TestFileBeforeAndAfter(t *testing.T) {
	w := field(t)
	p := w.signIn("emp-eng-1", "one")
	make := func(id ident.RecordID) wire.Result {
		return p.push(command.Mutation{Op: wire.OpCreate, Type: "document", ID: id, Fields: obj("parent", "act-one-1", "name", "photo")})[0]
	}
	id := func(s string) ident.RecordID { return ident.RecordID(p.pre + s) }
	// Record first.
	want(t, make(id("doc-a")), wire.Applied, "")
	w.content(id("doc-a"), "")
	w.ok(file("emp-eng-1", id("doc-a"), sum("a")))
	w.content(id("doc-a"), sum("a"))
	w.waits()
	// Content first.
	w.ok(file("emp-eng-1", id("doc-b"), sum("b")))
	w.waits(string(id("doc-b")) + " emp-eng-1 b")
	want(t, make(id("doc-b")), wire.Applied, "")
	w.content(id("doc-b"), sum("b"))
	w.waits()
	// Told twice: no second change, nothing waits.
	w.ok(file("emp-eng-1", id("doc-b"), sum("b")))
	w.content(id("doc-b"), sum("b"))
	w.waits()
	// Other content for a document that has some changes nothing, and is kept.
	w.ok(file("emp-eng-1", id("doc-b"), sum("c")))
	w.content(id("doc-b"), sum("b"))
	w.waits(string(id("doc-b")) + " emp-eng-1 c")
	// Of two that wait the last one counts.
	w.ok(file("emp-eng-1", id("doc-d"), sum("d")))
	w.ok(file("emp-eng-1", id("doc-d"), sum("e")))
	want(t, make(id("doc-d")), wire.Applied, "")
	w.content(id("doc-d"), sum("e"))
	// What the system found out is written by nobody else.
	for _, f := range []string{"sha256", "mediaType"} {
		w.refused(fault.ReadOnlyField, write("emp-mgr-1", command.Write{Op: "create", Type: "document", Fields: obj("parent", "client-one", "name", "x", f, sum("f"))}))
		w.refused(fault.ReadOnlyField, write("emp-mgr-1", command.Write{Op: "patch", Type: "document", ID: id("doc-a"), Fields: obj(f, "x")}))
	}
	// The device that has the document learns of its content.
	if res := w.ok(p.pulling(command.Pull{Profile: "office"})); !strings.Contains(w.encode(res.Page), `"sha256":"`+sum("a")) {
		t.Error("the content is not on the page")
	}
}

// TestFileOfOthers: content is taken from whoever created the document or may
// edit it, and the answer never tells.
func TestFileOfOthers(t *testing.T) {
	w := field(t)
	w.load(person("emp-guest-1", "service.guest")...)
	w.load(row("document", "doc-sys-1", "parent", "job-one-1", "name", "plan"), row("document", "doc-sys-2", "parent", "act-one-1", "name", "plan"),
		row("document", "doc-sys-3", "parent", "job-one-1", "name", "old", "archivedAt", "2023-01-01T00:00:00Z"))
	// A guest sees it and may not edit it; nobody ever made the other.
	w.ok(file("emp-guest-1", "doc-sys-1", sum("a")))
	w.ok(file("emp-guest-1", "doc-none-1", sum("a")))
	w.content("doc-sys-1", "")
	w.waits("doc-none-1 emp-guest-1 a", "doc-sys-1 emp-guest-1 a")
	// The manager may edit it, and the guest's is still there.
	w.ok(file("emp-mgr-1", "doc-sys-1", sum("b")))
	w.content("doc-sys-1", sum("b"))
	w.waits("doc-none-1 emp-guest-1 a", "doc-sys-1 emp-guest-1 a")
	// An archived one takes none.
	w.ok(file("emp-mgr-1", "doc-sys-3", sum("b")))
	w.content("doc-sys-3", "")
	// The engineer's own, by the right to edit while the activity is open.
	w.ok(file("emp-eng-2", "doc-sys-2", sum("c"))) // not hers: hidden
	w.content("doc-sys-2", "")
	w.ok(file("emp-eng-1", "doc-sys-2", sum("d")))
	w.content("doc-sys-2", sum("d"))
	// Somebody else's content for a document that comes later: the creator's
	// own goes first; a guest's is not taken.
	w.ok(file("emp-ada-1", "doc-none-1", sum("e")))
	w.ok(document("emp-mgr-1", "", "job-one-1"))
	p := w.signIn("emp-mgr-1", "one")
	d := ident.RecordID(p.pre + "doc-z")
	w.ok(file("emp-eng-1", d, sum("1")))
	w.ok(file("emp-guest-1", d, sum("2")))
	w.ok(file("emp-mgr-1", d, sum("3")))
	want(t, p.push(command.Mutation{Op: wire.OpCreate, Type: "document", ID: d, Fields: obj("parent", "act-one-1", "name", "x")})[0], wire.Applied, "")
	w.content(d, sum("3"))
	d = ident.RecordID(p.pre + "doc-y")
	w.ok(file("emp-guest-1", d, sum("2")))
	want(t, p.push(command.Mutation{Op: wire.OpCreate, Type: "document", ID: d, Fields: obj("parent", "act-one-1", "name", "x")})[0], wire.Applied, "")
	w.content(d, "")
	d = ident.RecordID(p.pre + "doc-x")
	w.ok(file("emp-eng-1", d, sum("1"))) // may edit it: of an own activity
	want(t, p.push(command.Mutation{Op: wire.OpCreate, Type: "document", ID: d, Fields: obj("parent", "act-one-1", "name", "x")})[0], wire.Applied, "")
	w.content(d, sum("1"))
}

// TestFileRefused: what can't be is refused, and who may not act leaves
// nothing.
func TestFileRefused(t *testing.T) {
	w := field(t)
	bad := func(code fault.Code, change func(*command.File)) {
		t.Helper()
		c := file("emp-eng-1", "doc-one-1", sum("a"))
		change(c.File)
		w.refused(code, c)
	}
	bad(fault.BadID, func(f *command.File) { f.Document = "../x" })
	bad(fault.BadValue, func(f *command.File) { f.SHA256 = sum("A") })
	bad(fault.BadValue, func(f *command.File) { f.SHA256 = "ab" })
	bad(fault.BadValue, func(f *command.File) { f.Size = -1 })
	bad(fault.BadValue, func(f *command.File) { f.MediaType = "" })
	bad(fault.BadValue, func(f *command.File) { f.MediaType = strings.Repeat("x", 121) })
	w.refused(fault.NotAllowed, file("", "doc-one-1", sum("a")))
	w.refused(fault.SessionRevoked, file("emp-none-1", "doc-one-1", sum("a")))
	p := w.signIn("emp-eng-1", "one")
	w.ok(&command.Command{Actor: "emp-eng-1", Session: p.sess, Device: p.id, Logout: &command.Logout{Session: p.sess}})
	c := file("emp-eng-1", "doc-one-1", sum("a"))
	c.Session, c.Device = p.sess, p.id
	w.refused(fault.SessionRevoked, c)
	w.waits()
}

// TestFileOutlivesRefusal: content of a document whose creation was refused
// waits as long as the quarantine is looked at, and no longer.
func TestFileOutlivesRefusal(t *testing.T) {
	w := field(t)
	p := w.signIn("emp-eng-1", "one")
	d := ident.RecordID(p.pre + "doc-a")
	w.ok(file("emp-eng-1", d, sum("a")))
	first := w.now
	want(t, p.push(command.Mutation{Op: wire.OpCreate, Type: "document", ID: d, Fields: obj("parent", "nothing-here", "name", "x")})[0], wire.Refused, fault.BadReference)
	w.waits(string(d) + " emp-eng-1 a")
	// Sent again in between it waits from then on.
	w.now = first + apply.FileLifetime/2
	w.ok(file("emp-eng-1", d, sum("a")))
	w.now = first + apply.FileLifetime
	w.ok(&command.Command{Tick: &command.Tick{}})
	w.waits(string(d) + " emp-eng-1 a")
	want(t, p.push(command.Mutation{Op: wire.OpCreate, Type: "document", ID: d, Fields: obj("parent", "act-one-1", "name", "x")})[0], wire.Applied, "")
	w.content(d, sum("a"))
	w.ok(file("emp-eng-1", "doc-late-1", sum("a")))
	w.now += apply.FileLifetime - 2000
	w.ok(&command.Command{Tick: &command.Tick{}})
	w.waits("doc-late-1 emp-eng-1 a")
	w.ok(&command.Command{Tick: &command.Tick{}})
	w.waits()
}
