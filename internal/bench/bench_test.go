package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"satchel/internal/ident"
)

func TestQuantile(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(i + 1)
	}
	for _, c := range []struct {
		vs   []float64
		q    float64
		want float64
	}{
		{nil, 0.5, 0},
		{[]float64{3}, 0.99, 3},
		{[]float64{1, 2, 3}, 0.5, 2},
		{[]float64{1, 2}, 0.5, 1},
		{hundred, 0.5, 50},
		{hundred, 0.99, 99},
		{hundred, 1, 100},
	} {
		if got := quantile(c.vs, c.q); got != c.want {
			t.Errorf("quantile %v of %d values is %v, want %v", c.q, len(c.vs), got, c.want)
		}
	}
	if l := line("x", "ms", []float64{9, 1, 5}); l.Value != 5 || l.P50 != 5 || l.P99 != 9 || l.Runs != 3 {
		t.Errorf("line %+v", l)
	}
}

func TestScan(t *testing.T) {
	got, err := scan([]byte(`{"kind":"page","from":"","checkpoint":"1.ab","removed":[{"type":"asset","id":"a"},{"type":"asset","id":"b"}],` +
		`"records":[{"type":"asset","id":"c","rev":"0123456789abcdef","fields":{"name":"more"}}],"processed":0,"more":false,` +
		`"complete":{"types":{"asset":{"count":1,"digest":"00"}}}}`))
	if err != nil || got != (page{checkpoint: "1.ab", removed: 2, records: 1, complete: true}) {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = scan([]byte(`{"from":"1.ab","checkpoint":"2.cd","removed":[],"records":[],"processed":7,"more":true}`))
	if err != nil || got != (page{checkpoint: "2.cd", more: true}) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", `{"kind":"error"}`, `{"checkpoint":"x`, `{"checkpoint":"x","removed":[`, `{"checkpoint":"x","removed":[],"records":[`} {
		if _, err := scan([]byte(bad)); err == nil {
			t.Errorf("%q was taken for a page", bad)
		}
	}
}

// TestMarkIn: the first mark is found, and what looks like the end of one is none.
func TestMarkIn(t *testing.T) {
	for page, want := range map[string]string{
		`{"records":[{"id":"a-mark-7","fields":{"notes":"mark-1-9","serial":"SN-1"}},{"fields":{"notes":"mark-2"}}]}`: "1-9",
		`{"records":[{"fields":{"notes":"a mark-1","serial":"mark-"}}]}`:                                              "",
		`{"records":[{"fields":{"notes":"marks-1"}}]}`:                                                                "",
		`-`: "",
		``:  "",
	} {
		if got := markIn([]byte(page)); got != want {
			t.Errorf("%s: %q, not %q", page, got, want)
		}
	}
}

// plainScan is what scan counts, found in the plainest way.
func plainScan(b []byte) (records int) {
	for i := range b {
		if bytes.HasPrefix(b[i:], []byte(`","rev":"`)) {
			records++
		}
	}
	return records
}

// recordsOf is a page of so many records as the tenant has them.
func recordsOf(n int) []byte {
	b := []byte(`{"from":"","checkpoint":"1.ab","removed":[],"records":[`)
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		id := key("record %d", i)
		b = fmt.Appendf(b, `{"type":"%s","id":"%s","rev":"%016x","fields":{"name":"%s","serial":"%s","place":{"type":"point","x":1},"createdAt":"2026-01-31T08:00:00.000Z","notes":"%s"}}`,
			[]string{"asset", "client", "employee"}[i%3], id, i, nameOf(i), serialOf(i), noteOf(i))
	}
	return append(b, `],"processed":0,"more":false,"complete":{"types":{}}}`...)
}

// TestCountRecords: records are counted, not the objects in them.
func TestCountRecords(t *testing.T) {
	for n := range 70 {
		b := recordsOf(n)
		got, err := scan(b)
		if err != nil || got.records != n || plainScan(b) != n || !got.complete {
			t.Fatalf("%d records: %+v, %v", n, got, err)
		}
	}
}

func BenchmarkScan(b *testing.B) {
	page := recordsOf(1129)
	b.Run("scan", func(b *testing.B) {
		b.SetBytes(int64(len(page)))
		for b.Loop() {
			if p, err := scan(page); err != nil || p.records != 1129 {
				b.Fatal(p, err)
			}
		}
	})
	b.Run("mark", func(b *testing.B) {
		b.SetBytes(int64(len(page)))
		for b.Loop() {
			if markIn(page) != "" {
				b.Fatal("a mark")
			}
		}
	})
}

// TestEvent: it is over when the last of those concerned has everything, and
// pages at others are counted.
func TestEvent(t *testing.T) {
	near, far := &live{user: 1}, &live{user: 2}
	b := &bench{live: []*live{near, far}}
	e := &event{concern: func(l *live) bool { return l.user == 1 }, count: changed, mark: "m", need: 3}
	b.watch(e)
	e.began = time.Now()
	near.hear(news{changed: 2, mark: "m", at: e.began.Add(time.Millisecond)})
	near.hear(news{changed: 7, mark: "of another", at: e.began.Add(time.Millisecond)})
	select {
	case <-e.done:
		t.Fatal("over before all of it came")
	default:
	}
	near.hear(news{changed: 1, mark: "m", at: e.began.Add(2 * time.Millisecond)})
	<-e.done
	near.hear(news{changed: 9, mark: "m", at: e.began.Add(time.Second)})
	if err := e.check(); err != nil || !slices.Equal(e.waits, []float64{2}) {
		t.Errorf("waits %v, %v", e.waits, err)
	}
	far.hear(news{changed: 1, at: e.began})
	if err := e.check(); err == nil || !strings.Contains(err.Error(), "user 2") {
		t.Errorf("news at another: %v", err)
	}
	// It is the next event that finds what came after the check.
	err := b.happen(t.Context(), &event{}, func() error { return errors.New("it happened") })
	if err == nil || !strings.Contains(err.Error(), "user 2") {
		t.Errorf("the next event: %v", err)
	}
}

// TestEventLost: an event does not wait for a client that is gone.
func TestEventLost(t *testing.T) {
	l := &live{}
	b := &bench{live: []*live{l}}
	e := &event{concern: everybody, count: changed, need: 1}
	err := b.happen(t.Context(), e, func() error {
		go l.hear(news{lost: errors.New("cut off")})
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Error(err)
	}
	if err := b.connectAll(t.Context()); err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("the next work: %v", err)
	}
}

func TestCheck(t *testing.T) {
	good := Config{Runs: 1, Records: 100, Users: 10, Large: 100, WriteTime: time.Second, Sockets: 20, SoakTime: time.Second, SoakRate: 1, Growth: DefaultGrowth(), Link: BadLink(), Tenants: 1}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*Config){
		"no work": func(c *Config) { c.Works = []string{"A9"} }, "no run": func(c *Config) { c.Runs = 0 },
		"odd": func(c *Config) { c.Users = 9 }, "few records": func(c *Config) { c.Records = 9 },
		"no time": func(c *Config) { c.WriteTime = 0 }, "few sockets": func(c *Config) { c.Sockets = 19 }, "no soak": func(c *Config) { c.SoakTime = 0 }, "no rate": func(c *Config) { c.SoakRate = 0 },
		"no tenants": func(c *Config) { c.Tenants = 0 }, "no link": func(c *Config) { c.Link.Loss = 1 }, "no growth": func(c *Config) { c.Growth.Share = 0 },
		"few large": func(c *Config) { c.Large = 1 },
	} {
		c := good
		spoil(&c)
		if c.Check() == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

// TestAsset: records have the size that the peers were measured with, and no
// quotes that scan would stumble over.
func TestAsset(t *testing.T) {
	total := 0
	const n = 1000
	for i := range n {
		id, client := key("asset %d", i), key("client %d", i)
		r := asset(id, client, i)
		fields, err := json.Marshal(r.Fields)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(fields), `\`) || !id.Valid() {
			t.Fatalf("record %s %s", id, fields)
		}
		// What a page adds to the fields as given.
		total += len(fields) + len(`{"type":"asset","id":"","rev":"0123456789abcdef","fields":,"clientId":"","createdAt":"2026-01-31T08:00:00.000Z","updatedAt":"2026-01-31T08:00:00.000Z"}`) +
			len(id) + len(client)
	}
	if mean := total / n; mean < 300 || mean > 340 {
		t.Errorf("records have %d bytes, want about 316", mean)
	}
	if a, again := key("a"), key("a"); a == key("b") || a != again || key("a") == ident.RecordID("") {
		t.Error("ids")
	}
}

func TestReports(t *testing.T) {
	l := Line{Name: "A1", Unit: "ms", Value: 1.23456, P50: 1.23456, P99: 2, Runs: 5}
	var b bytes.Buffer
	JSON(&b)(l)
	if got := b.String(); got != `{"name":"A1","unit":"ms","value":1.235,"p50":1.235,"p99":2,"runs":5}`+"\n" {
		t.Errorf("JSON %s", got)
	}
	b.Reset()
	report, end := Table(&b)
	report(l)
	if err := end(); err != nil || !strings.Contains(b.String(), "1.235") || !strings.Contains(b.String(), "p99") {
		t.Errorf("table %q, %v", b.String(), err)
	}
}

func TestMeters(t *testing.T) {
	if n := kilobytes([]byte("VmRSS:\t   1200 kB\nRssAnon:\t 80 kB\n"), "RssAnon:"); n != 80*1024 {
		t.Errorf("%v bytes", n)
	}
	if n := metric([]byte("# HELP a b\na_bytes 1.5e+06\na 3\n"), "a"); n != 3 {
		t.Errorf("metric %v", n)
	}
	if n, err := syncRate(t.TempDir() + "/f"); err != nil || n <= 0 {
		t.Errorf("%v, %v", n, err)
	}
}

// TestJobs: the tenants of lists have what the lists look for.
func TestJobs(t *testing.T) {
	const n = 10_000
	numbers, clients, common := map[string]bool{}, map[string]int{}, 0
	for j := range n {
		r := jobRow(j, n)
		numbers[string(r.Fields["number"])] = true
		clients[string(r.Fields["client"])]++
		if strings.Contains(strings.ToLower(string(r.Fields["title"])), commonWord) {
			common++
		}
	}
	if len(numbers) != n || !numbers[`"`+rareWord+`"`] {
		t.Errorf("%d numbers, %s is there: %v", len(numbers), rareWord, numbers[`"`+rareWord+`"`])
	}
	if len(clients) != listAreas*listClients || common < n/7 || common > n/5 {
		t.Errorf("%d clients, %d jobs with %s", len(clients), common, commonWord)
	}
	for n, want := range map[int]string{10_000: "10k", 1_000_000: "1M", 123: "123"} {
		if got := short(n); got != want {
			t.Errorf("%d is %s", n, got)
		}
	}
}
