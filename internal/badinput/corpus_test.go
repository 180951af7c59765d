package badinput

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"satchel/internal/fault"
)

// request is one that must be refused.
type request struct {
	// kind groups requests for the report.
	kind, name   string
	method, path string
	body         []byte
	header       []string // names and values
	token        string
	// route is the pattern of the route that is meant, "" for none.
	route string
	// codes are those that it may be refused with; none: any there are.
	codes []fault.Code
	// field is what the problem must point at, or at something within; "" for
	// anything or nothing.
	field string
	// unless the refusal has one of these codes: then codes and field don't
	// count, since the request was stopped before what is wrong was looked at.
	unless []fault.Code
}

func (r *request) String() string {
	body := string(r.body)
	if len(body) > 120 {
		body = fmt.Sprintf("%s… (%d bytes)", body[:120], len(body))
	}
	return fmt.Sprintf("%s: %s: %s %.200s %q %q", r.kind, r.name, r.method, r.path, r.header, body)
}

// answered is what came back.
type answered struct {
	status int
	header http.Header
	body   []byte
}

// corpus gathers requests.
type corpus struct {
	w    *world
	list []*request
}

func (c *corpus) add(r request) {
	if r.token == "" {
		r.token = c.w.token
	}
	if r.token == "-" {
		r.token = ""
	}
	c.list = append(c.list, &r)
}

// served are the codes of the served document: no refusal has another.
func (w *world) served() map[string]bool {
	w.t.Helper()
	var doc struct {
		Components struct {
			Schemas struct {
				Code struct {
					Enum []string `json:"enum"`
				} `json:"ProblemCode"`
			} `json:"schemas"`
		} `json:"components"`
	}
	a, err := w.send(&request{method: "GET", path: "/openapi.json"})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := json.Unmarshal(a.body, &doc); err != nil {
		w.t.Fatal(err)
	}
	out := map[string]bool{}
	for _, code := range doc.Components.Schemas.Code.Enum {
		out[code] = true
	}
	if len(out) < 40 {
		w.t.Fatalf("the served document lists %d codes", len(out))
	}
	return out
}

func (w *world) send(r *request) (*answered, error) {
	var rd io.Reader
	if r.body != nil {
		rd = bytes.NewReader(r.body)
	}
	req, err := http.NewRequest(r.method, w.url+"/", rd)
	if err != nil {
		return nil, err
	}
	// What is wrong with an address goes out as it is.
	req.URL.Opaque = "//" + w.addr + r.path
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	for i := 0; i < len(r.header); i += 2 {
		req.Header.Set(r.header[i], r.header[i+1])
	}
	client := http.Client{Transport: w.http, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return &answered{res.StatusCode, res.Header, b}, err
}

// judge says what is wrong with an answer, "" for nothing.
func judge(r *request, a *answered, served map[string]bool) (code fault.Code, wrong string) {
	if a.status < 400 || a.status > 499 {
		return "", fmt.Sprintf("answered %d", a.status)
	}
	if r.method == http.MethodHead { // the problem has no body
		return "", ""
	}
	if ct := a.header.Get("Content-Type"); ct != "application/problem+json" {
		return "", fmt.Sprintf("answered %d as %q", a.status, ct)
	}
	var p struct {
		Type, Title, Code, Detail, Field string
		Status                           int
	}
	if err := json.Unmarshal(a.body, &p); err != nil {
		return "", fmt.Sprintf("answered %d with no problem document: %v", a.status, err)
	}
	code = fault.Code(p.Code)
	switch {
	case !served[p.Code]:
		return code, fmt.Sprintf("the code %q is not documented", p.Code)
	case p.Status != a.status && a.status != 423 && a.status != 460: // the upload protocol's own
		return code, fmt.Sprintf("the document says %d, the answer %d", p.Status, a.status)
	case p.Title == "" || p.Type == "":
		return code, "no title or type"
	case slices.Contains(r.unless, code):
		return code, ""
	case len(r.codes) > 0 && !slices.Contains(r.codes, code):
		return code, fmt.Sprintf("%d %s, want %v", a.status, p.Code, r.codes)
	case r.field != "" && p.Field != r.field && !strings.HasPrefix(p.Field, r.field+".") && !strings.HasPrefix(p.Field, r.field+"["):
		return code, fmt.Sprintf("%s points at %q, want %q", p.Code, p.Field, r.field)
	}
	return code, ""
}

// shown is how many failures are told one by one.
const shown = 60

// part is how many requests are sent between two looks at the change index: they
// make fewer entries than are kept apart there.
const part = 500

// run sends the corpus and returns how often each code came back.
func (c *corpus) run(t *testing.T) map[fault.Code]int {
	t.Helper()
	served := c.w.served()
	seen := map[fault.Code]int{}
	failed := 0
	for some := range slices.Chunk(c.list, part) {
		at := c.w.position()
		failed += send(t, c.w, some, served, seen, shown-failed)
		if n := c.w.touched(at); n > 0 {
			t.Errorf("%d records are changed by requests such as %v", n, some[0])
		}
	}
	if failed > shown {
		t.Errorf("and %d more", failed-shown)
	}
	return seen
}

// send sends requests, a few at a time, counts the codes that come back, and
// returns how many answers were wrong, of which it tells so many.
func send(t *testing.T, w *world, list []*request, served map[string]bool, seen map[fault.Code]int, tell int) (failed int) {
	t.Helper()
	const workers = 4
	jobs := make(chan *request)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for r := range jobs {
				a, err := w.send(r)
				var code fault.Code
				wrong := ""
				if err != nil {
					wrong = err.Error()
				} else {
					code, wrong = judge(r, a, served)
				}
				mu.Lock()
				seen[code]++
				if wrong != "" {
					if failed++; failed <= tell {
						text := ""
						if a != nil {
							text = string(a.body[:min(len(a.body), 300)])
						}
						t.Errorf("%v\n\t%s\n\t%s", r, wrong, text)
					}
				}
				mu.Unlock()
			}
		})
	}
	for _, r := range list {
		jobs <- r
	}
	close(jobs)
	wg.Wait()
	return failed
}

// report logs what the corpus has of each kind and how it was answered.
func (c *corpus) report(t *testing.T, seen map[fault.Code]int) {
	kinds := map[string]int{}
	for _, r := range c.list {
		kinds[r.kind]++
	}
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		t.Logf("%6d %s", kinds[k], k)
	}
	for _, k := range slices.Sorted(maps.Keys(seen)) {
		t.Logf("%6d answered %s", seen[k], k)
	}
}
