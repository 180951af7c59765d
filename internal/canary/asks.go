package canary

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/server/rest"
)

// personal asks what stands alone: who one is, what one may do, what became of
// one's offline work, and everything that administrators may ask.
func (w *walker) personal() {
	mine := w.sights[w.key]
	get := func(route, query string, opts ...func(*finding)) {
		w.ask("personal", route, "GET", route+query, nil, append([]func(*finding){pardoned(Rights)}, opts...)...)
	}
	get("/v1/me", "")
	get("/v1/me/refused", "?limit=200")
	w.ask("personal data", "/v1/me/export", "GET", "/v1/me/export", nil)
	for _, typ := range []string{"employee", "contact"} {
		for _, id := range append(w.some(mine.hidden[typ], 2), w.some(mine.seen[typ], 2)...) {
			for _, what := range []string{"export", "erasure"} {
				w.ask("personal data", "/v1/admin/persons/{id}/"+what, "GET", "/v1/admin/persons/"+string(id)+"/"+what, nil)
			}
		}
	}
	var types []string
	for _, t := range w.s.suite.Cat.Types {
		types = append(types, t.Name)
	}
	w.r.Shuffle(len(types), func(i, j int) { types[i], types[j] = types[j], types[i] })
	for _, t := range types[:10] {
		for _, id := range append(w.some(mine.hidden[t], 1), w.some(mine.seen[t], 1)...) {
			for _, verb := range []string{"view", "edit"} {
				get("/v1/explain", fmt.Sprintf("?action=%s&type=%s&id=%s", verb, t, id))
			}
		}
	}
	admin := func(route, path string) {
		channel := "admin"
		if strings.Contains(path, "format=csv") || strings.Contains(path, ":export") {
			channel = "admin csv"
		}
		w.ask(channel, route, "GET", path, nil, pardoned(Rights))
	}
	admin("/v1/admin/quarantine", "/v1/admin/quarantine?state=all")
	if !slices.Contains(w.c.Person.Roles, "level.customer-administrator") {
		admin("/v1/admin/holders", "/v1/admin/holders?client="+string(w.s.World.Clients[blue]))
		admin("/v1/admin/audit", "/v1/admin/audit")
		admin("/v1/admin/access-review", "/v1/admin/access-review?employee="+string(w.c.Person.ID))
		w.ask("admin", "/v1/admin/what-if", "POST", "/v1/admin/what-if", w.trial(w.s.World.Clients[blue], w.c.Person.ID))
		return
	}
	var kept struct{ Items []struct{ Bundle string } }
	if json.Unmarshal(w.c.Ask("GET", "/v1/admin/quarantine?state=all&limit=200", nil).Body, &kept) == nil {
		for i, it := range kept.Items {
			if i%10 == 0 {
				admin("/v1/admin/quarantine/{id}", "/v1/admin/quarantine/"+it.Bundle)
			}
		}
	}
	admin("/v1/admin/audit/head", "/v1/admin/audit/head")
	admin("/v1/admin/quarantine:export", "/v1/admin/quarantine:export?state=all")
	admin("/v1/admin/quarantine:export", "/v1/admin/quarantine:export?state=all&format=xlsx")
	for _, c := range w.s.World.Clients {
		for _, q := range []string{"holders?client=", "access-review?client=", "access-review?format=csv&client=", "audit?limit=200&client=", "audit?record="} {
			route, _, _ := strings.Cut(q, "?")
			admin("/v1/admin/"+route, "/v1/admin/"+q+string(c))
		}
	}
	admin("/v1/admin/access-review", "/v1/admin/access-review?limit=200")
	admin("/v1/admin/access-review", "/v1/admin/access-review?format=csv")
	admin("/v1/admin/access-review", "/v1/admin/access-review?format=xlsx")
	for next, n := "", 0; n < 30; n++ {
		a := w.ask("admin", "/v1/admin/audit", "GET", "/v1/admin/audit?limit=200"+next, nil)
		var page struct{ Next string }
		if json.Unmarshal(a.Body, &page) != nil || page.Next == "" {
			break
		}
		next = "&cursor=" + page.Next
	}
	for i := range w.s.World.People {
		p := &w.s.World.People[i]
		admin("/v1/admin/access-review", "/v1/admin/access-review?employee="+string(p.ID))
		admin("/v1/admin/holders", "/v1/admin/holders?employee="+string(p.ID))
		for _, t := range types[:6] {
			for _, id := range append(w.some(w.sights[p.Key].hidden[t], 1), w.some(mine.hidden[t], 1)...) {
				for _, verb := range []string{"view", "edit"} {
					admin("/v1/admin/explain", fmt.Sprintf("/v1/admin/explain?principal=%s&action=%s&type=%s&id=%s", p.ID, verb, t, id))
				}
			}
		}
		w.ask("admin", "/v1/admin/what-if", "POST", "/v1/admin/what-if", w.trial(w.s.World.Clients[i%clients], p.ID))
	}
	for _, d := range append(slices.Clone(mine.hidden["device"]), mine.seen["device"]...) {
		admin("/v1/admin/holders", "/v1/admin/holders?device="+string(d))
	}
}

// trial is a question of what would be if a client were hidden from somebody.
func (w *walker) trial(client, person ident.RecordID) map[string]any {
	return map[string]any{"change": []any{
		map[string]any{"op": "create", "type": "clientVisibility", "as": "v", "fields": map[string]any{"employee": person, "mode": "all-but"}},
		map[string]any{"op": "create", "type": "visibilityRule", "fields": map[string]any{"visibility": "$v", "client": client}},
	}}
}

// mobile asks everything of the Mobile Service Agent module.
func (w *walker) mobile() {
	mine := w.sights[w.key]
	get := func(route, path string) {
		w.ask("mobile", "/mobile/v1"+route, "GET", "/mobile/v1"+path, nil, pardoned(Busy, Picked))
	}
	get("/capabilities", "/capabilities")
	get("/me/day", "/me/day")
	get("/me/week", "/me/week")
	get("/dispatch", "/dispatch")
	for _, q := range []string{"", "?which=mine&done=true", "?which=onsite", "?done=true"} {
		get("/tickets", "/tickets"+q)
	}
	for _, id := range append(w.some(mine.hidden["jobActivity"], 3), w.some(mine.seen["jobActivity"], 6)...) {
		get("/activities/{id}", "/activities/"+string(id))
	}
	for _, id := range append(w.some(mine.hidden["ticket"], 3), w.some(mine.seen["ticket"], 4)...) {
		get("/tickets/{id}", "/tickets/"+string(id))
		get("/tickets/{id}/assignees", "/tickets/"+string(id)+"/assignees")
	}
}

// sync pulls all there is, in both profiles and in small pages, with hidden
// records pinned, and asks what else devices ask.
func (w *walker) sync() {
	mine := w.sights[w.key]
	w.ask("sync", "/sync/v1/rules", "GET", "/sync/v1/rules", nil)
	w.ask("sync", "/sync/v1/capabilities", "GET", "/sync/v1/capabilities", nil)
	var pins []map[string]any
	for _, t := range []string{"client", "job", "campaign", "task", "ticket"} {
		for _, id := range append(w.some(mine.hidden[t], 2), w.some(mine.seen[t], 1)...) {
			pins = append(pins, map[string]any{"type": t, "id": id})
		}
	}
	pull := func(req map[string]any) {
		checkpoint := ""
		for range 400 {
			req["checkpoint"] = checkpoint
			a := w.ask("pull", "/sync/v1/pull", "POST", "/sync/v1/pull", req)
			var p struct {
				Checkpoint string
				More       bool
			}
			if json.Unmarshal(a.Body, &p) != nil || a.Status != 200 {
				return
			}
			checkpoint = p.Checkpoint
			if req = map[string]any{"limit": req["limit"]}; !p.More {
				break
			}
		}
		req["checkpoint"] = checkpoint
		w.ask("pull", "/sync/v1/pull", "POST", "/sync/v1/pull", req)
	}
	pull(map[string]any{"profile": "office", "limit": 60, "pins": pins})
	if w.c.Person.Mobile {
		pull(map[string]any{"profile": "field", "limit": 25, "pins": pins})
	}
	sums := map[string]any{}
	for _, t := range w.s.suite.Cat.Types {
		sums[t.Name] = map[string]any{"count": 1, "digest": strings.Repeat("0", 64)}
	}
	w.ask("sync", "/sync/v1/verify", "POST", "/sync/v1/verify", map[string]any{"types": sums})
	w.ask("pull", "/sync/v1/pull", "POST", "/sync/v1/pull", map[string]any{"checkpoint": "unknown", "reconcile": map[string]any{"types": sums}})
}

// push sends offline work that goes wrong in every way, much of it on what the
// person can't see.
func (w *walker) push() {
	mine := w.sights[w.key]
	var list []map[string]any
	// Kept work is for its author, and for administrators who may know of its
	// client and field.
	word := func(field string, about ...ident.RecordID) string {
		w.mu.Lock()
		defer w.mu.Unlock()
		t := w.s.World.m.word()
		w.typed[t] = []string{w.key, "admin"}
		placed, blind := false, field == "employee.phone"
		for _, id := range append(about, w.c.Person.ID) {
			client := w.all.of[id]
			blind = blind || client == w.s.World.Clients[blue]
			placed = placed || client != "" && id != w.c.Person.ID
		}
		if placed && !blind {
			w.typed[t] = append(w.typed[t], "half-admin")
		}
		return t
	}
	add := func(op, typ string, id ident.RecordID, more map[string]any) {
		m := map[string]any{"n": len(list) + 1, "op": op, "type": typ, "id": id, "at": w.s.Now().Format(time.RFC3339)}
		for k, v := range more {
			m[k] = v
		}
		list = append(list, m)
	}
	for _, c := range []struct{ typ, field string }{
		{"client", "city"},
		{"client", "accessNotes"},
		{"client", "billingNotes"},
		{"job", "title"},
		{"jobActivity", "note"},
		{"ticket", "subject"},
		{"invoice", "remarks"},
		{"contact", "name"},
		{"employee", "phone"},
		{"asset", "serial"},
	} {
		for _, id := range append(w.some(mine.hidden[c.typ], 1), w.some(mine.seen[c.typ], 1)...) {
			// What it was changed from is not what is there: a conflict, if anything.
			add("patch", c.typ, id, map[string]any{
				"fields": map[string]any{c.field: word(c.typ+"."+c.field, id)}, "was": map[string]any{c.field: word(c.typ+"."+c.field, id)},
			})
		}
	}
	for _, id := range append(w.some(mine.hidden["client"], 1), w.some(mine.seen["client"], 1)...) {
		add("create", "job", ident.RecordID(w.c.Prefix+fmt.Sprintf("job%05d", len(list))), map[string]any{"fields": map[string]any{"client": id, "title": word("", id)}})
		add("delete", "client", id, map[string]any{"was": map[string]any{}})
		add("action", "client", id, map[string]any{"action": "archive"})
	}
	for _, id := range append(w.some(mine.hidden["job"], 2), w.some(mine.seen["job"], 1)...) {
		add("create", "job", id, map[string]any{"fields": map[string]any{"client": w.s.World.Clients[acme], "title": word("", id, w.s.World.Clients[acme])}})
	}
	body := map[string]any{"acked": 0, "now": w.s.Now().Format(time.RFC3339), "mutations": list}
	raw, err := json.Marshal(body)
	if err != nil {
		w.s.tb.Fatal(err)
	}
	var sc Scanner
	w.mu.Lock()
	for token := range sc.plain(raw) { // ids among it
		w.told[w.key+" "+token] = true
	}
	w.mu.Unlock()
	w.ask("push", "/sync/v1/push", "POST", "/sync/v1/push", body)
	w.ask("push", "/sync/v1/push", "POST", "/sync/v1/push", body)
	w.ask("personal", "/v1/me/refused", "GET", "/v1/me/refused?limit=200", nil)
}

// writes sends every writing route something that can't be done, on records
// that the person can't see and on such that they can.
func (w *walker) writes(deep bool) {
	mine := w.sights[w.key]
	for i, r := range w.routes {
		if r.Type == nil || r.Method == "GET" || (r.Same != "" && (i+int(w.seed)+len(w.key))%41 != 0) || (!deep && (i+int(w.seed)+len(w.key))%7 != 0) {
			continue
		}
		hidden := w.some(mine.hidden[r.Type.Name], 1)
		switch r.Kind {
		case rest.Create:
			fields := map[string]any{}
			for _, f := range r.Type.Fields {
				if f.Kind == entity.Ref && len(f.Targets) > 0 {
					if ids := w.some(mine.hidden[f.Targets[0]], 1); len(ids) > 0 {
						fields[f.Name] = ids[0]
					}
				}
			}
			if len(hidden) > 0 {
				fields["id"] = hidden[0]
			}
			w.ask("write", r.Path, "POST", r.Path, fields)
		case rest.Bulk:
			w.ask("write", r.Path, "POST", r.Path, map[string]any{"ids": append(hidden, never)})
		case rest.Patch, rest.Action, rest.Delete:
			for _, id := range append(hidden, w.some(mine.seen[r.Type.Name], 1)...) {
				path := strings.Replace(r.Path, "{id}", string(id), 1)
				var body any
				if r.Kind != rest.Delete {
					body = map[string]any{}
				} else if slices.Contains(mine.seen[r.Type.Name], id) {
					continue // nothing is to go
				}
				if r.Kind == rest.Patch {
					body = map[string]any{"noSuchField": 1}
				}
				if r.Kind == rest.Action && slices.Contains(mine.seen[r.Type.Name], id) {
					body = map[string]any{"noSuchArgument": 1}
				}
				w.ask("write", r.Path, r.Method, path, body)
			}
		case rest.List, rest.Get, rest.Children, rest.Table, rest.Assignees, rest.Result, rest.Conflicts, rest.Personal, rest.Admin, rest.Document:
		}
	}
}

// socket is a live socket that notes each frame.
type socket struct {
	ws     *websocket.Conn
	frames chan []byte
}

// live opens a socket and pulls until nothing is left.
func (c *Session) live() *socket {
	c.s.tb.Helper()
	ws, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(c.s.url, "http")+"/sync/v1/live", http.Header{"Authorization": {"Bearer " + c.Token}})
	if err != nil {
		c.s.tb.Fatalf("%s: no socket: %v", c.Person.Key, err)
	}
	if err := res.Body.Close(); err != nil {
		c.s.tb.Error(err)
	}
	out := &socket{ws, make(chan []byte, 4096)}
	go func() {
		defer close(out.frames)
		for {
			_, b, err := ws.ReadMessage()
			if err != nil {
				return
			}
			out.frames <- b
		}
	}()
	return out
}

// say sends a frame.
func (k *socket) say(v any) error { return k.ws.WriteJSON(v) }

// frame waits for the next frame; ok is false where none comes.
func (k *socket) frame(patience time.Duration) ([]byte, bool) {
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case b, ok := <-k.frames:
		return b, ok
	case <-t.C:
		return nil, false
	}
}

// picture is a small PNG with a text in it.
func picture(text string) []byte {
	img := image.NewRGBA(image.Rect(0, 0, 8, 8))
	for i := range 64 {
		img.Set(i%8, i/8, color.RGBA{uint8(i * 4), 99, 7, 255})
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err)
	}
	// What follows the picture is no part of it.
	return append(b.Bytes(), text...)
}
