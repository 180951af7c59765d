package canary

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/server/edge"
	"satchel/server/rest"
)

// Leak is a token that reached somebody who may not have it.
type Leak struct {
	Person, Channel, Request, Token string
	Places                          []Place
}

// String implements fmt.Stringer.
func (l Leak) String() string {
	return fmt.Sprintf("%s learns %v by %s (%s, %s)", l.Person, l.Places, l.Request, l.Channel, l.Token)
}

// Tally is what went through a channel.
type Tally struct {
	// Answers counts what was looked at, Bytes its size, Tokens those found that
	// may be there.
	Answers, Bytes, Tokens int
	// Controls counts planted leaks that were noticed.
	Controls int
}

// Report is what a crawl came to.
type Report struct {
	Leaks    []Leak
	Channels map[string]*Tally
	Decoded  map[string]int
	// Pardoned counts, by reason, tokens that are told on purpose.
	Pardoned map[Pardon]int
	// Routes counts answers by method and path of the interface's description.
	Routes map[string]int
	// Unasked are addresses of the interface's description that nobody asked.
	Unasked []string
	// Needles counts searches for what is hidden.
	Needles int
}

// Pardon is a reason for which a token may reach somebody whom the judge does
// not show its record.
type Pardon string

// What is told on purpose.
const (
	// Echo: whoever sent it knows it. Searches for it are compared with those
	// for what is nowhere.
	Echo Pardon = "was in the request"
	// Own: people are told who they are, by sign-in and mail, also where no role
	// shows them their own record.
	Own Pardon = "the person's own name and address"
	// Picked: the tenant's own people know their colleagues by name, and are told
	// whom they can assign work to.
	Picked Pardon = "colleagues who can be assigned"
	// Busy: whoever assigns work is told when others are taken, not by what.
	Busy Pardon = "times at which people are taken"
	// Rights: people are told the ids of what gives and takes their rights, and
	// for whom they act.
	Rights Pardon = "what decides about the person's own rights"
	// Typed: offline work that was refused is shown to its author, and to
	// administrators from whom its client is not hidden, as it was typed.
	Typed Pardon = "what the author typed"
)

// crawl is a crawl under way.
type crawl struct {
	s      *Server
	seed   int64
	all    *tokens
	sights map[string]*sight
	routes []rest.Route
	paths  map[string][]string // methods of the interface's description
	// content are tokens in files with the digests of those, holder their documents.
	content map[string]string
	holder  map[string]ident.RecordID
	// typed are tokens of offline work, with the keys of those who may have it.
	typed map[string][]string

	// told are tokens that people typed themselves, by key and token.
	told map[string]bool

	mu  sync.Mutex
	rep *Report
}

// walker is one person's way through a crawl. It is for one goroutine.
type walker struct {
	*crawl
	key string
	c   *Session
	sc  Scanner
	r   *rand.Rand
	// late are findings that are judged once it is known what the person may
	// know after them; nil where each is judged at once.
	late *[]finding
}

// table lists the routes of the module API.
func table(cat *entity.Catalogue) ([]rest.Route, error) {
	srv, err := rest.Mount(fiber.New(), &edge.Auth{}, cat, rest.Options{})
	if err != nil {
		return nil, err
	}
	return srv.Routes(), nil
}

func (s *Server) crawling(seed int64) *crawl {
	s.tb.Helper()
	k := &crawl{s: s, seed: seed, sights: map[string]*sight{}, content: map[string]string{}, holder: map[string]ident.RecordID{}, typed: map[string][]string{}, told: map[string]bool{}, rep: &Report{
		Channels: map[string]*Tally{}, Decoded: map[string]int{}, Pardoned: map[Pardon]int{}, Routes: map[string]int{},
	}}
	var err error
	if k.routes, err = table(s.suite.Cat); err != nil {
		s.tb.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(s.send("", "GET", "/openapi.json", nil).Body, &doc); err != nil {
		s.tb.Fatal(err)
	}
	k.paths = map[string][]string{}
	for p, ops := range doc.Paths {
		k.paths[p] = slices.Sorted(maps.Keys(ops))
	}
	return k
}

// refresh looks at the state anew, for the people or for all. What somebody could know once stays theirs:
// nobody loses rights in a crawl, and old values are secrets too.
func (k *crawl) refresh(who ...*Person) {
	now := k.s.inventory()
	if k.all != nil {
		for t, places := range k.all.at {
			if now.at[t] == nil {
				now.at[t] = places
			}
		}
	}
	k.all = now
	if who == nil {
		for i := range k.s.World.People {
			who = append(who, &k.s.World.People[i])
		}
	}
	for key, is := range k.s.sights(who...) {
		is.add(k.sights[key])
		for token, digest := range k.content {
			if is.all[digest] {
				is.all[token], is.root[token] = true, is.root[digest]
			}
		}
		k.sights[key] = is
	}
	for token := range k.content {
		k.all.at[token] = []Place{{"document", k.holder[token], "content"}}
	}
}

// add adds what could be known before.
func (s *sight) add(before *sight) {
	if before == nil {
		return
	}
	maps.Copy(s.all, before.all)
	maps.Copy(s.root, before.root)
	maps.Copy(s.own, before.own)
	maps.Copy(s.rights, before.rights)
}

func (k *crawl) walker(key string, c *Session) *walker {
	return &walker{crawl: k, key: key, c: c, r: rand.New(rand.NewPCG(uint64(k.seed), uint64(len(key))<<8|uint64(key[0])))}
}

// finding is something that left the server, to be judged.
type finding struct {
	channel, request string
	sent             []byte // what was asked, "" for what came by itself
	body             []byte
	root             bool // nothing that is seen beneath others alone may be in it
	nobody           bool // nothing at all may be in it
	pardons          []Pardon
}

// judge looks for tokens in what a person got.
func (w *walker) judge(f finding) {
	if w.late != nil {
		*w.late = append(*w.late, f)
		return
	}
	found := w.sc.Find(f.body)
	var echoed map[string]bool
	k := w.crawl
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.rep.Channels[f.channel]
	if t == nil {
		t = &Tally{}
		k.rep.Channels[f.channel] = t
	}
	t.Answers++
	t.Bytes += len(f.body)
	for _, token := range slices.Sorted(maps.Keys(found)) {
		places := k.all.at[token]
		who := k.typed[token]
		if places == nil && who == nil {
			continue // nobody's
		}
		if !f.nobody && k.sights[w.key].knows(token, f.root) {
			t.Tokens++
			if t.Controls == 0 {
				// A planted leak: somebody who may know of nothing gets this.
				if !(&sight{}).knows(token, f.root) {
					t.Controls++
				}
			}
			continue
		}
		if echoed == nil {
			var sc Scanner
			echoed = sc.Find(f.sent)
		}
		if p, ok := w.pardon(f, token, places, echoed); ok {
			k.rep.Pardoned[p]++
			continue
		}
		if len(k.rep.Leaks) < maxLeaks {
			k.rep.Leaks = append(k.rep.Leaks, Leak{w.key, f.channel, f.request, token, places})
		}
	}
	for enc, n := range w.sc.Decoded {
		k.rep.Decoded[enc] += n
	}
	clear(w.sc.Decoded)
}

func (s *sight) knows(token string, root bool) bool {
	if root {
		return s.root[token]
	}
	return s.all[token]
}

func (w *walker) pardon(f finding, token string, places []Place, echoed map[string]bool) (Pardon, bool) {
	if f.nobody {
		return "", false
	}
	mine := w.sights[w.key]
	every := func(ok func(Place) bool) bool {
		return len(places) > 0 && !slices.ContainsFunc(places, func(p Place) bool { return !ok(p) })
	}
	switch {
	case echoed[token]:
		return Echo, true
	case mine.own[token]:
		return Own, true
	case slices.Contains(w.typed[token], w.key) || w.told[w.key+" "+token]:
		return Typed, true
	case slices.Contains(f.pardons, Rights) && mine.rights[token]:
		return Rights, true
	case slices.Contains(f.pardons, Picked) && w.c.Person.kind == "in-house" && slices.ContainsFunc(places, func(p Place) bool {
		return p.Type == "employee" && (p.Field == "id" || p.Field == "name")
	}):
		return Picked, true
	case slices.Contains(f.pardons, Busy) && every(func(p Place) bool {
		return p.Type == "jobActivity" && (p.Field == "scheduledStart" || p.Field == "scheduledEnd") || p.Type == "ticket" && p.Field == "due"
	}):
		return Busy, true
	}
	return "", false
}

// transport is a header of all answers alike. It looks like quoted-printable.
const transport = "Strict-Transport-Security"

// ask sends a request and judges the answer.
func (w *walker) ask(channel, route, method, path string, body any, opts ...func(*finding)) *Answer {
	var sent []byte
	if body != nil {
		if b, ok := body.([]byte); ok {
			sent = b
		} else {
			sent, _ = json.Marshal(body)
			body = sent
		}
	}
	a := w.c.Ask(method, path, body)
	f := finding{channel: channel, request: method + " " + path, sent: append([]byte(path+"\n"), sent...), body: a.raw(transport)}
	if a.Status >= 400 && a.Status != 404 || a.Status == 404 && channel != "file" {
		f.channel = "error"
	}
	for _, o := range opts {
		o(&f)
	}
	w.judge(f)
	w.mu.Lock()
	w.rep.Routes[method+" "+route]++
	w.mu.Unlock()
	return a
}

func pardoned(ps ...Pardon) func(*finding) { return func(f *finding) { f.pardons = ps } }

func rooted(f *finding) { f.root = true }

// some returns up to n of the ids, others with each seed.
func (w *walker) some(ids []ident.RecordID, n int) []ident.RecordID {
	if len(ids) <= n {
		return ids
	}
	at := w.r.IntN(len(ids))
	return append(slices.Clone(ids[at:]), ids[:at]...)[:n]
}

const never ident.RecordID = "never-was-1"

// reads asks every route of the module API that only reads.
func (w *walker) reads(deep bool) {
	mine := w.sights[w.key]
	closed := map[entity.App]bool{} // apps that are none of the person's
	for i, r := range w.routes {
		if r.Method != "GET" || r.Type == nil {
			continue
		}
		skip := func(n int) bool { return !deep && w.key != "admin" && (i+int(w.seed)+len(w.key))%n != 0 }
		none := len(mine.seen[r.Type.Name]) == 0 && r.Kind != rest.List
		if (r.Same != "" && skip(31)) || (closed[r.App] && skip(37)) || (none && skip(9)) || (r.Kind == rest.Children && skip(3)) {
			continue
		}
		ids := append(slices.Clone(w.some(mine.seen[r.Type.Name], 1)), w.some(mine.hidden[r.Type.Name], 1)...)
		if deep {
			ids = append(w.some(mine.seen[r.Type.Name], 3), w.some(mine.hidden[r.Type.Name], 3)...)
		}
		if deep || len(ids) == 0 || w.r.IntN(5) == 0 {
			ids = append(ids, never)
		}
		each := func(channel, query string, opts ...func(*finding)) {
			for _, id := range ids {
				w.ask(channel, r.Path, "GET", strings.Replace(r.Path, "{id}", string(id), 1)+query, nil, opts...)
			}
		}
		switch r.Kind {
		case rest.List:
			if a := w.list(r, deep); a.Code() == "not_allowed" {
				// Whether the app is closed, or this list alone.
				closed[r.App] = w.ask("record", r.Path, "GET", r.Path+"/"+string(never), nil).Code() == "not_allowed"
			}
		case rest.Table:
			format := "csv"
			if (i+int(w.seed))%3 == 0 {
				format = "xlsx"
			}
			w.ask("export "+format, r.Path, "GET", r.Path+"?archived=true&format="+format, nil, rooted)
			// What a record names may be known beneath others alone.
			w.ask("export "+format, r.Path, "GET", r.Path+"?names=true&format="+format, nil)
		case rest.Get:
			each("record", "")
		case rest.Children:
			each("beneath", "?limit=200&archived=true")
		case rest.Assignees:
			if strings.Contains(r.Path, "{id}") {
				each("picker", "", pardoned(Picked))
			} else {
				for _, id := range append(w.some(mine.hidden["client"], 1), w.some(mine.seen["client"], 1)...) {
					w.ask("picker", r.Path, "GET", r.Path+"?under="+string(id), nil, pardoned(Picked))
				}
				w.ask("picker", r.Path, "GET", r.Path, nil, pardoned(Picked))
			}
		case rest.Result:
			for _, id := range append(slices.Clone(mine.seen["report"]), never) {
				for _, format := range []string{"json", "csv", "xlsx"} {
					w.ask("report", r.Path, "GET", strings.Replace(r.Path, "{id}", string(id), 1)+"?format="+format, nil, rooted)
				}
			}
		case rest.Conflicts:
			if !skip(4) {
				each("record", "")
			}
		case rest.Create, rest.Patch, rest.Delete, rest.Action, rest.Bulk, rest.Personal, rest.Admin, rest.Document:
		}
	}
}

// list asks for a list as it is, sorted by everything, leafed through, by
// saved filters, and for what is hidden in it.
func (w *walker) list(r rest.Route, deep bool) *Answer {
	get := func(query string) *Answer { return w.ask("list", r.Path, "GET", r.Path+query, nil, rooted) }
	a := get("?limit=200&archived=true")
	if a.Status != 200 {
		return a
	}
	var sorts []string
	for _, f := range r.Type.Fields {
		switch f.Kind {
		case entity.Text, entity.Refs, entity.Strings, entity.Point, entity.Lines:
		default:
			sorts = append(sorts, f.Name)
		}
	}
	w.r.Shuffle(len(sorts), func(i, j int) { sorts[i], sorts[j] = sorts[j], sorts[i] })
	for _, f := range sorts[:min(2, len(sorts))] {
		path := "?limit=1&sort=-" + f
		b := get(path)
		var page struct{ Next string }
		if json.Unmarshal(b.Body, &page) == nil && page.Next != "" {
			get(path + "&cursor=" + page.Next)
		}
	}
	for _, id := range w.some(w.sights[w.key].seen["filter"], 1) {
		get("?saved=" + string(id))
	}
	if deep || w.r.IntN(2) == 0 {
		w.needles(r)
	}
	return a
}

// needles searches a list for what is hidden from the person, and for something
// as long that is nowhere: the answers must be the same but for that word.
func (w *walker) needles(r rest.Route) {
	hidden := w.some(w.sights[w.key].hidden[r.Type.Name], 1)
	if len(hidden) == 0 {
		return
	}
	id := hidden[0]
	nowhere := "zq" + strings.Repeat("0", 11) + "q"
	try := func(query, word string) {
		one := w.ask("search", r.Path, "GET", r.Path+"?limit=5&"+query+url.QueryEscape(word), nil, rooted)
		two := w.ask("search", r.Path, "GET", r.Path+"?limit=5&"+query+url.QueryEscape(nowhere), nil, rooted)
		// A cursor is sealed with the request that it belongs to.
		a := cursors.ReplaceAll(bytes.ReplaceAll(one.raw("Date"), []byte(word), []byte(nowhere)), nil)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.rep.Needles++
		if b := cursors.ReplaceAll(two.raw("Date"), nil); !bytes.Equal(a, b) {
			w.rep.Leaks = append(w.rep.Leaks, Leak{w.key, "search", fmt.Sprintf("GET %s?%s: %q is not %q", r.Path, query, a, b), word, w.all.at[word]})
		}
	}
	words := w.s.worded(id)
	names := slices.Sorted(maps.Keys(words))
	w.r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, name := range names[:min(1, len(names))] {
		try("q=", words[name])
		try("filter="+name+"%20contains%20", words[name])
		try("filter="+name+"%20ne%20", words[name])
	}
	if word := wordIn(string(id)); word != "" {
		prefix := string(id)[:len(id)-len(word)]
		try("filter=id%20eq%20"+prefix, word)
		for _, f := range r.Type.Fields {
			if f.Kind != entity.Ref || len(f.Targets) == 0 || w.r.IntN(4) != 0 {
				continue
			}
			for _, other := range w.some(w.sights[w.key].hidden[f.Targets[0]], 1) {
				// What a record names that is seen may be asked for.
				if word := wordIn(string(other)); word != "" && !w.sights[w.key].all[word] {
					try("filter="+f.Name+"%20eq%20"+string(other)[:len(other)-len(word)], word)
				}
			}
		}
	}
}

var cursors = regexp.MustCompile(`,"next":"[^"]*"`)

// maxLeaks bounds what is told.
const maxLeaks = 2000

func clip(b []byte) []byte { return b[:min(len(b), 300)] }
