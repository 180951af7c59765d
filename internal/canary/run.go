package canary

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/internal/testworld"
	"satchel/server/rest"
	"satchel/server/sheet"
)

// Crawl starts a server with the world of a seed, lets everybody ask for
// everything, and judges whatever leaves it. deep asks every route for more
// records each; otherwise other ones come up with each seed.
func Crawl(tb testing.TB, seed int64, deep bool) *Report {
	tb.Helper()
	s := Start(tb, seed)
	k := s.crawling(seed)
	sessions := map[string]*Session{}
	for _, p := range s.World.People {
		sessions[p.Key] = s.SignIn(p.Key, "installation-"+p.Key)
	}
	k.files(sessions["manager"])
	walkers := map[string]*walker{}
	for key, c := range sessions {
		walkers[key] = k.walker(key, c)
	}
	together := func(f func(*walker)) {
		k.refresh()
		work := make(chan *walker, len(walkers))
		for _, key := range slices.Sorted(maps.Keys(walkers)) {
			work <- walkers[key]
		}
		close(work)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for w := range work {
					f(w)
				}
			})
		}
		wg.Wait()
	}
	together(func(w *walker) {
		w.reads(deep)
		w.personal()
		w.documents()
		if w.c.Person.Mobile || len(w.key)%3 == 0 {
			w.mobile()
		}
	})
	together((*walker).sync)
	for _, key := range slices.Sorted(maps.Keys(walkers)) {
		// What one changes the next may see.
		k.later([]*walker{walkers[key]}, func() {
			walkers[key].push()
			walkers[key].writes(deep)
		})
	}
	together(func(w *walker) { w.personal() }) // with refused work, and a longer trail
	k.later(slices.Collect(maps.Values(walkers)), func() { k.events(walkers) })
	k.export(walkers["half-admin"])
	k.system(walkers["nobody"])
	k.unasked()
	return k.rep
}

// later judges what people get while f runs by what they may know before or
// after.
func (k *crawl) later(who []*walker, f func()) {
	var people []*Person
	for _, w := range who {
		people = append(people, w.c.Person)
		w.late = &[]finding{}
	}
	k.refresh(people...)
	f()
	k.refresh(people...)
	for _, w := range who {
		late := *w.late
		w.late = nil
		for _, f := range late {
			w.judge(f)
		}
	}
}

// files gives documents of a client that everybody sees and of one that many
// don't a text and a picture, with tokens in them.
func (k *crawl) files(by *Session) {
	k.s.tb.Helper()
	for _, client := range []int{acme, blue} {
		job := k.s.World.of("job", client)
		for _, make := range []func(string) []byte{
			func(t string) []byte { return []byte("A text with " + t + " in it.") },
			picture,
		} {
			token := k.s.World.m.word()
			content := make(token)
			a := by.Ask("POST", "/v1/service/documents", map[string]any{"parent": job, "name": "File " + k.s.World.m.word()})
			var doc struct{ ID ident.RecordID }
			if err := json.Unmarshal(a.Body, &doc); err != nil || a.Status != http.StatusCreated {
				k.s.tb.Fatalf("no document: %d %s", a.Status, a.Body)
			}
			a = by.upload(doc.ID, k.s.World.m.word()+".txt", content)
			if a.Status != http.StatusCreated {
				k.s.tb.Fatalf("no upload: %d %s", a.Status, a.Body)
			}
			k.content[token], k.holder[token] = fmt.Sprintf("%x", sha256.Sum256(content)), doc.ID
		}
	}
}

// of returns a record of a client.
func (w *World) of(typ string, client int) ident.RecordID {
	for _, x := range w.by[typ] {
		if x.client == client {
			return x.id
		}
	}
	panic("canary: no " + typ)
}

// upload sends the content of a document.
func (c *Session) upload(document ident.RecordID, name string, content []byte) *Answer {
	c.s.tb.Helper()
	b64 := base64.StdEncoding.EncodeToString
	return c.Ask("POST", "/files", content, "Tus-Resumable", "1.0.0", "Upload-Length", fmt.Sprint(len(content)), "Content-Type", "application/offset+octet-stream",
		"Upload-Metadata", "type "+b64([]byte("document"))+",document "+b64([]byte(document))+",filename "+b64([]byte(name)))
}

// documents asks for the content of documents, seen and hidden.
func (w *walker) documents() {
	mine := w.sights[w.key]
	ids := append(w.some(mine.hidden["document"], 2), w.some(mine.seen["document"], 1)...)
	for token := range w.content {
		ids = append(ids, w.holder[token])
	}
	for _, id := range ids {
		apps := w.s.suite.Cat.Type("document").Apps
		if w.key != "admin" {
			at := w.r.IntN(len(apps) - 1)
			apps = apps[at : at+2]
		}
		for _, app := range apps {
			base := "/v1/" + string(app) + "/documents/{id}"
			w.ask("file", base+"/content", "GET", strings.Replace(base, "{id}", string(id), 1)+"/content", nil)
			w.ask("thumbnail", base+"/thumbnail", "GET", strings.Replace(base, "{id}", string(id), 1)+"/thumbnail?size=96", nil)
		}
		w.ask("file", "/v1/service/documents/{id}/content", "HEAD", "/v1/service/documents/"+string(id)+"/content", nil)
	}
	// Someone else's upload, and one on a document that is hidden.
	w.ask("upload", "/files/{id}", "HEAD", "/files/"+strings.Repeat("a", 26), nil)
	for _, id := range w.some(mine.hidden["document"], 1) {
		w.mu.Lock()
		w.told[w.key+" "+wordIn(string(id))] = true // the trail says that they did
		w.mu.Unlock()
		a := w.c.upload(id, "x.txt", []byte("nothing of interest"))
		w.judge(finding{channel: "upload", request: "POST /files for " + string(id), sent: []byte(id), body: a.raw()})
	}
}

// events has things happen to every client and everything of it, and looks at
// what comes of it: on sockets, as pushes, in mails, at once and the next day.
func (k *crawl) events(walkers map[string]*walker) {
	s := k.s
	open := map[string]*socket{}
	for key, w := range walkers {
		if w.c.Device == "" || !w.c.Person.Mobile && len(key)%2 == 0 {
			continue
		}
		open[key] = w.c.live()
		k.rep.Routes["GET /sync/v1/live"]++
	}
	quiet := func(patience time.Duration) {
		for key, sock := range open {
			w := walkers[key]
			for {
				b, ok := sock.frame(patience)
				if !ok {
					break
				}
				w.judge(finding{channel: "live", request: "GET /sync/v1/live", body: b})
				var f struct{ Kind, Checkpoint string }
				if json.Unmarshal(b, &f) == nil && f.Kind == "page" {
					if err := sock.say(map[string]any{"kind": "pull", "checkpoint": f.Checkpoint}); err != nil {
						s.tb.Error(err)
					}
				}
			}
		}
	}
	for _, sock := range open {
		if err := sock.say(map[string]any{"kind": "pull", "checkpoint": "", "profile": "office"}); err != nil {
			s.tb.Error(err)
		}
	}
	quiet(200 * time.Millisecond)
	s.change()
	quiet(150 * time.Millisecond)
	for _, sock := range open { // the rest is told to those who are away
		if err := sock.ws.Close(); err != nil {
			s.tb.Error(err)
		}
		for range sock.frames {
		}
	}
	s.refuseOne()
	s.change()
	s.settle()
	s.nextDay()
	for i := range s.World.People {
		s.send("", "POST", "/v1/auth/reset", map[string]any{"tenant": slug, "email": s.World.People[i].Email})
	}
	time.Sleep(300 * time.Millisecond) // mails of the sign-in, and devices that are told to pull
	s.settle()
	s.mu.Lock()
	defer s.mu.Unlock()
	who := map[string]*walker{}
	for _, w := range walkers {
		who[w.c.Person.Email] = w
		if w.c.Push != "" {
			who[w.c.Push] = w
		}
	}
	for _, m := range s.mails {
		if w := who[m.to]; w != nil {
			w.judge(finding{channel: "mail", request: "a mail", body: m.raw})
		} else {
			s.tb.Errorf("a mail to %s, who is nobody", m.to)
		}
	}
	for _, p := range s.pushes {
		if w := who[p.to]; w != nil {
			// The token is the device's own, and of no record.
			w.judge(finding{channel: "carrier", request: "a push", body: bytes.ReplaceAll(p.raw, []byte(p.to), nil), nobody: true})
		} else {
			s.tb.Errorf("a push to %q, which is nobody's", p.to)
		}
	}
}

func (k *crawl) control(channel string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if t := k.rep.Channels[channel]; t != nil {
		t.Controls++
	}
}

// refuseOne has the mail server refuse somebody.
func (s *Server) refuseOne() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse[s.World.Person("engineer").Email] = true
}

// change changes something of every client.
func (s *Server) change() {
	s.tb.Helper()
	do := func(w *command.Write) {
		// Not all of it can be done in every state.
		_, _ = s.tenant().Submit(context.Background(), &command.Command{Write: w})
	}
	for c := range clients {
		for _, f := range []struct{ typ, field string }{
			{"client", "city"},
			{"client", "accessNotes"},
			{"client", "debtorNotes"},
			{"job", "title"},
			{"jobActivity", "note"},
			{"ticket", "subject"},
			{"invoice", "approvalNotes"},
			{"invoice", "remarks"},
			{"contact", "name"},
			{"site", "name"},
			{"asset", "name"},
			{"opportunity", "name"},
			{"task", "title"},
			{"salesOrder", "notes"},
			{"payment", "notes"},
			{"accrual", "text"},
		} {
			for _, x := range s.World.by[f.typ] {
				if x.client == c {
					do(&command.Write{Op: "patch", Type: f.typ, ID: x.id, Fields: testworld.Object(f.field, s.World.m.word())})
				}
			}
		}
		act := func(typ, action string, args ...any) {
			for _, x := range s.World.by[typ] {
				if x.client == c {
					do(&command.Write{Op: "action", Type: typ, ID: x.id, Action: action, Args: testworld.Object(args...)})
				}
			}
		}
		act("ticket", "request-update", "message", s.World.m.word())
		for _, x := range s.World.by["ticket"] {
			if x.client == c {
				for _, v := range []string{"public", "internal"} {
					do(&command.Write{Op: "create", Type: "ticketUpdate", Fields: testworld.Object("ticket", x.id, "visibility", v, "kind", "reply", "text", s.World.m.word())})
				}
			}
		}
		do(&command.Write{Op: "create", Type: "ticket", Fields: testworld.Object("client", s.World.Clients[c], "subject", s.World.m.word())})
		do(&command.Write{Op: "create", Type: "invoice", Fields: testworld.Object("client", s.World.Clients[c], "number", s.World.m.word(), "owner", s.World.Person("biller").ID,
			"lines", json.RawMessage(fmt.Sprintf(`[{"id":"l","text":%q,"quantity":1,"unitPrice":{"amount":%s,"currency":"EUR"}}]`, s.World.m.word(), s.World.m.number())))})
		act("contract", "activate")
		act("jobActivity", "start")
		act("jobActivity", "clear", "workDone", s.World.m.word())
		act("partOrder", "order")
		act("invoice", "void", "voidReason", s.World.m.word())
		do(&command.Write{Op: "patch", Type: "ticket", ID: s.World.of("ticket", c), Fields: testworld.Object("due", s.Now().Add(3*time.Hour))})
		do(&command.Write{Op: "patch", Type: "job", ID: s.World.of("job", c), Fields: testworld.Object("due", s.Now().Add(3*time.Hour))})
		do(&command.Write{Op: "create", Type: "onsiteClient", Fields: testworld.Object("employee", s.World.Person("ticketer").ID, "client", s.World.Clients[c])})
	}
}

// export writes what an administrator who does not see everything may take
// along, as the command line does.
func (k *crawl) export(w *walker) {
	k.refresh()
	for i, t := range k.s.suite.Cat.Types {
		var b bytes.Buffer
		format := []string{sheet.CSV, sheet.XLSX}[i%2]
		out, err := sheet.New(&b, format, t.Name)
		if err != nil {
			k.s.tb.Fatal(err)
		}
		if _, err := rest.Export(k.s.tenant(), w.c.Person.ID, t, nil, true, out); err != nil {
			b.Reset()
			b.WriteString(err.Error())
		} else if err := out.Close(); err != nil {
			k.s.tb.Fatal(err)
		}
		w.judge(finding{channel: "operator's export", request: "export " + t.Name, body: b.Bytes(), root: true})
	}
}

// system looks at what is nobody's: the log, the metrics, the documents.
func (k *crawl) system(w *walker) {
	for _, p := range []string{
		"/healthz", "/readyz", "/openapi.json", "/docs", "/v1/nowhere", "/" + string(k.s.World.Clients[blue]), "/v1/auth/oidc/authorize",
		"/v1/auth/oidc/callback/{tenant}", "/v1/unsubscribe/{wish}",
	} {
		a := k.s.send("", "GET", strings.NewReplacer("{tenant}", string(slug), "{wish}", "none").Replace(p), nil)
		w.judge(finding{channel: "documents", request: p, sent: []byte(p), body: a.raw()})
		k.rep.Routes["GET "+p]++
	}
	k.s.mu.Lock()
	log := bytes.Clone(k.s.logs.Bytes())
	k.s.mu.Unlock()
	for line := range bytes.Lines(log) {
		w.judge(finding{channel: "log", request: string(clip(line)), body: named.ReplaceAll(line, nil), nobody: true})
	}
	a := k.s.to(k.s.admin, "", "GET", "/metrics", nil)
	w.judge(finding{channel: "metrics", request: "/metrics", body: a.raw(), nobody: true})
	for _, channel := range []string{"log", "metrics", "documents", "carrier"} { // planted leaks
		for t := range w.sc.Find(fmt.Appendf(nil, "%s{client=%q} 1", channel, k.s.World.Clients[blue])) {
			if k.all.at[t] != nil {
				k.control(channel)
			}
		}
	}
}

// named is how the log names whom, or which file, a line is about, so that the
// operator can find it: by an id that says nothing by itself.
var named = regexp.MustCompile(`"(?:person":"[a-z0-9_-]+|key":"[0-9a-f]{64})"`)

// unasked notes the reading addresses that nobody was let ask, second names of
// collections apart.
func (k *crawl) unasked() {
	second := map[string]bool{}
	for _, r := range k.routes {
		second[r.Path] = r.Same != ""
	}
	for p, methods := range k.paths {
		if slices.Contains(methods, "get") && !second[p] && k.rep.Routes["GET "+p] == 0 {
			k.rep.Unasked = append(k.rep.Unasked, p)
		}
	}
	slices.Sort(k.rep.Unasked)
}
