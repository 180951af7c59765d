package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"satchel/internal/bench/shaper"
	"satchel/internal/command"
	"satchel/internal/demo"
	"satchel/internal/ident"
	mobile "satchel/mobile-api/client"
	"satchel/server/session/password"
	"satchel/sync/apply"
	"satchel/sync/tenant"
	"satchel/sync/wire"
)

const (
	// goesOut is whose phone is measured, and manages who changes what it holds.
	goesOut = "Nina Park"
	manages = "service.manager"
	// daysVisits of the phone's activities change in a day away, each with its job,
	// and newVisits are added.
	daysVisits = 20
	newVisits  = 3
	// linkEvents is how many live changes, and edits, a run of link makes.
	linkEvents = 10
	// smallPage is a page for those who want to show something soon.
	smallPage = 50
	// linkWait bounds how long one thing takes over the link.
	linkWait = 5 * time.Minute
)

// BadLink is the link that link takes by default: a phone at the edge of its
// network.
func BadLink() shaper.Link {
	return shaper.Link{Latency: 150 * time.Millisecond, Up: 200, Down: 200, Loss: 0.05, Seed: 1}
}

// linkCase is one way to use a link.
type linkCase struct {
	name, encoding string
	page           int // records, 0 for as the server likes
	live           bool
}

var linkCases = []linkCase{
	{"gzip", "gzip", 0, true},
	{"zstd", "zstd", 0, false},
	{"small", "gzip", smallPage, false},
}

// badLink is link: the phone of somebody who goes out, with the demo tenant's
// work, over a link without delay and over the bad one.
func (b *bench) badLink(ctx context.Context) error {
	for _, l := range []struct {
		name string
		link shaper.Link
	}{{"link0", shaper.Link{}}, {"link", b.Link}} {
		for _, c := range linkCases {
			if err := b.linkCase(ctx, l.name+"."+c.name, l.link, c); err != nil {
				return fmt.Errorf("%s.%s: %w", l.name, c.name, err)
			}
		}
	}
	return nil
}

// linkCase does the runs of one case. Each leaves a few records behind, so that
// every case has a tenant of its own.
func (b *bench) linkCase(ctx context.Context, name string, link shaper.Link, c linkCase) (err error) {
	one := &bench{Config: b.Config, dir: filepath.Join(b.Folder, name)}
	b.say("%s: building the demo tenant", name)
	f, err := one.buildDemo(ctx)
	if err != nil {
		return err
	}
	if err := one.restart(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, one.stop()) }()
	f.http, f.address = one.http, one.server.address
	if err := f.signIn(); err != nil {
		return err
	}
	runs := &linkRuns{}
	for n := range b.Runs {
		b.say("%s: run %d of %d", name, n+1, b.Runs)
		way := link
		way.Seed += uint64(n) // other losses each time, the same for every case
		if err := f.run(ctx, way, c, n, runs); err != nil {
			return err
		}
	}
	runs.report(b, name)
	return nil
}

// linkRuns are the figures of a case's runs, by name, in the order of their
// first mention.
type linkRuns struct {
	names  []string
	values map[string][]float64
	units  map[string]string
}

func (r *linkRuns) add(name, unit string, v float64) {
	if r.values == nil {
		r.values, r.units = map[string][]float64{}, map[string]string{}
	}
	if _, ok := r.values[name]; !ok {
		r.names = append(r.names, name)
	}
	r.values[name], r.units[name] = append(r.values[name], v), unit
}

func (r *linkRuns) report(b *bench, prefix string) {
	for _, n := range r.names {
		b.many(prefix+"."+n, r.units[n], r.values[n])
	}
}

// fieldwork is the demo tenant as the measured phone and its manager know it.
type fieldwork struct {
	http    *client
	address string
	now     time.Time

	email, person string
	today         []string // ids of the person's activities of today
	open          []visited
	client        string // some job's
	manager       string // e-mail address
	access        string // the manager's
}

// visited is an activity that the manager may change, and its job.
type visited struct{ activity, job string }

// buildDemo makes the demo tenant, arranged around now.
func (b *bench) buildDemo(ctx context.Context) (f *fieldwork, err error) {
	t, closing, err := b.create(b.dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closing()) }()
	hasher, err := password.New(password.Default, 0)
	if err != nil {
		return nil, err
	}
	setup := &command.Setup{Secret: make([]byte, 32)}
	if _, err := rand.Read(setup.Secret); err != nil {
		return nil, err
	}
	if _, err := t.Submit(ctx, &command.Command{Setup: setup}); err != nil {
		return nil, err
	}
	now := time.Now()
	if err := loadDemo(ctx, t, hasher, now); err != nil {
		return nil, err
	}
	return fieldworkOf(now)
}

func loadDemo(ctx context.Context, t *tenant.Tenant, hasher *password.Hasher, now time.Time) error {
	submit := func(ctx context.Context, c *command.Command) (apply.Result, error) { return t.Submit(ctx, c) }
	hash := func(pw string) (string, error) { return hasher.Hash(ctx, pw) }
	return demo.Load(ctx, submit, hash, ident.MillisOf(now), nil)
}

// fieldworkOf finds the person's work among the demo's rows.
func fieldworkOf(now time.Time) (*fieldwork, error) {
	f := &fieldwork{now: now}
	for _, s := range demo.Signins() {
		if s.Name == goesOut {
			f.email = s.Email
		}
		if f.manager == "" && slices.Equal(s.Roles, []string{manages}) {
			f.manager = s.Email
		}
	}
	rows := demo.Rows(ident.MillisOf(now))
	for i := range rows {
		if rows[i].Type == "employee" && textOf(&rows[i], "email") == f.email {
			f.person = string(rows[i].ID)
		}
	}
	for i := range rows {
		if rows[i].Type == "jobActivity" && textOf(&rows[i], "assignee") == f.person {
			if err := f.note(&rows[i]); err != nil {
				return nil, err
			}
		}
		if rows[i].Type == "job" && f.client == "" && len(f.open) > 0 && string(rows[i].ID) != f.open[0].job {
			f.client = textOf(&rows[i], "client")
		}
	}
	if f.email == "" || f.person == "" || f.manager == "" || f.client == "" || len(f.today) == 0 || len(f.open) == 0 {
		return nil, errors.New("the demo tenant has no work for the phone")
	}
	f.open = f.open[:min(len(f.open), daysVisits)]
	return f, nil
}

// note takes in one activity of the person's.
func (f *fieldwork) note(r *command.Row) error {
	start, err := time.Parse(time.RFC3339, textOf(r, "scheduledStart"))
	if err != nil {
		return err
	}
	if ident.MillisOf(start).Day() == ident.MillisOf(f.now).Day() {
		f.today = append(f.today, string(r.ID))
	}
	if s := textOf(r, "status"); s == "Assigned" || s == "Accepted" {
		f.open = append(f.open, visited{string(r.ID), textOf(r, "job")})
	}
	return nil
}

// textOf is a row's field, "" where it is no text.
func textOf(r *command.Row, field string) string {
	var s string
	if json.Unmarshal(r.Fields[field], &s) != nil {
		return ""
	}
	return s
}

// signIn signs the manager in.
func (f *fieldwork) signIn() error {
	body, err := json.Marshal(map[string]string{"tenant": slug, "email": f.manager, "password": demo.Password})
	if err != nil {
		return err
	}
	return f.http.send(http.MethodPost, "/v1/auth/login", "", body, func(b []byte) error {
		var out struct {
			Access string `json:"accessToken"`
		}
		err := json.Unmarshal(b, &out)
		f.access = out.Access
		return err
	})
}

// write makes a change as the manager, beside the link. It returns the id of
// the record.
func (f *fieldwork) write(method, path string, fields map[string]string) (id string, err error) {
	body, err := json.Marshal(fields)
	if err != nil {
		return "", err
	}
	err = f.http.send(method, path, f.access, body, func(b []byte) error {
		var out struct {
			ID string `json:"id"`
		}
		err := json.Unmarshal(b, &out)
		id = out.ID
		return err
	})
	return id, err
}

// run is one phone's life: it signs in, syncs, is away for a day, and is live.
func (f *fieldwork) run(ctx context.Context, link shaper.Link, c linkCase, n int, runs *linkRuns) (err error) {
	ctx, cancel := context.WithTimeout(ctx, linkWait)
	defer cancel()
	way, err := shaper.Listen(f.address, link)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, way.Close()) }()
	h := &handset{way: way, carry: newCoded(c.encoding), work: f, runs: runs}
	defer h.carry.close()
	h.phone, err = mobile.OpenMemory(mobile.NewMemory(), mobile.Options{
		Server: "http://" + way.Address(), Tenant: slug, Installation: fmt.Sprintf("link-%d", time.Now().UnixNano()),
		Name: "Phone", Platform: "android", Transport: h.carry, PageLimit: c.page, Timeout: linkWait,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.phone.Close()) }()
	if err := h.phone.SetProfile(mobile.ProfileField); err != nil {
		return err
	}
	began := time.Now()
	if err := h.phone.Login(ctx, f.email, demo.Password); err != nil {
		return err
	}
	runs.add("login", "s", time.Since(began).Seconds())
	if err := h.sync(ctx, "first", f.today); err != nil {
		return fmt.Errorf("first sync: %w", err)
	}
	if err := h.day(ctx, n); err != nil {
		return fmt.Errorf("the day away: %w", err)
	}
	if !c.live {
		return nil
	}
	return h.live(ctx, 2*link.Latency+pause)
}

// handset is a phone at its link.
type handset struct {
	phone *mobile.Phone
	way   *shaper.Proxy
	carry *coded
	work  *fieldwork
	runs  *linkRuns
}

// sync brings the phone up to date and says when its person could work: when
// the activities named are there.
func (h *handset) sync(ctx context.Context, name string, useful []string) error {
	before := h.way.Traffic()
	began := time.Now()
	screen := time.Duration(0)
	look := func() {
		if screen == 0 && h.shows(useful) {
			screen = time.Since(began)
		}
	}
	// Each request is made when what came before has been applied.
	h.carry.before = look
	rep, err := h.phone.Sync(ctx)
	h.carry.before = nil
	if err != nil {
		return err
	}
	took := time.Since(began)
	look()
	if screen == 0 || !rep.Complete {
		return fmt.Errorf("complete is %v, and the activities of today are not all there", rep.Complete)
	}
	after := h.way.Traffic()
	h.runs.add(name+".screen", "s", screen.Seconds())
	h.runs.add(name, "s", took.Seconds())
	h.runs.add(name+".bytes", "bytes", float64(after.Down-before.Down))
	h.runs.add(name+".up", "bytes", float64(after.Up-before.Up))
	h.runs.add(name+".records", "records", float64(rep.Records))
	return nil
}

// shows reports whether the activities are there with what their screen tells:
// the job, whose it is, where, who to ask for and what is to be mended.
func (h *handset) shows(activities []string) bool {
	for _, id := range activities {
		a, err := h.phone.Get("jobActivity", id)
		if err != nil {
			return false
		}
		job, err := h.phone.Get("job", a.Text("job"))
		if err != nil {
			return false
		}
		for _, name := range []string{"client", "site", "contact", "asset"} {
			id := job.Text(name)
			if id == "" {
				continue
			}
			if _, err := h.phone.Get(name, id); err != nil {
				return false
			}
		}
	}
	return true
}

// day changes what the phone holds, and lets it catch up.
func (h *handset) day(ctx context.Context, n int) error {
	f := h.work
	for _, v := range f.open {
		if _, err := f.write(http.MethodPatch, "/v1/service/job-activities/"+v.activity, map[string]string{"instructions": fmt.Sprintf("Ask for the key at the counter, day %d of %s.", n, v.activity)}); err != nil {
			return err
		}
		if _, err := f.write(http.MethodPatch, "/v1/service/jobs/"+v.job, map[string]string{"description": fmt.Sprintf("It stopped again on day %d; the spare part is at the depot.", n)}); err != nil {
			return err
		}
	}
	var added []string
	for k := range newVisits {
		id, err := f.visit(n, k)
		if err != nil {
			return err
		}
		added = append(added, id)
	}
	if err := h.sync(ctx, "day", added); err != nil {
		return err
	}
	// Out of the phone's window: the next one begins with as much as this one.
	for _, id := range added {
		later := map[string]string{
			"scheduledStart": f.now.AddDate(1, 0, 0).UTC().Format(time.RFC3339), "scheduledEnd": f.now.AddDate(1, 0, 0).Add(time.Hour).UTC().Format(time.RFC3339),
		}
		if _, err := f.write(http.MethodPatch, "/v1/service/job-activities/"+id, later); err != nil {
			return err
		}
	}
	return nil
}

// visit adds a job with an activity of the person's.
func (f *fieldwork) visit(n, k int) (string, error) {
	title := fmt.Sprintf("Visit %d of day %d", k, n)
	job, err := f.write(http.MethodPost, "/v1/service/jobs", map[string]string{"client": f.client, "title": title})
	if err != nil {
		return "", err
	}
	start := f.now.Add(time.Duration(24+k) * time.Hour).UTC()
	return f.write(http.MethodPost, "/v1/service/job-activities", map[string]string{
		"job": job, "title": title, "assignee": f.person,
		"scheduledStart": start.Format(time.RFC3339), "scheduledEnd": start.Add(time.Hour).Format(time.RFC3339),
	})
}

// inARow is how many changes of others follow each other for the figure row, each
// rowPause after the one before.
const (
	inARow   = 5
	rowPause = 20 * time.Millisecond
)

// live times changes that others make until the phone has them, and edits of
// its own until they are answered. breath is left before each, for the acknowledgement of what came before.
func (h *handset) live(ctx context.Context, breath time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	changes := make(chan mobile.Change, 64)
	done := make(chan error, 1)
	began := time.Now()
	go func() {
		done <- h.phone.Live(ctx, func(c mobile.Change) {
			select {
			case changes <- c:
			case <-ctx.Done():
			}
		})
	}()
	err := h.events(ctx, changes, began, breath)
	cancel()
	if ended := <-done; !errors.Is(ended, context.Canceled) {
		err = errors.Join(err, ended)
	}
	return err
}

func (h *handset) events(ctx context.Context, changes <-chan mobile.Change, began time.Time, breath time.Duration) error {
	await := func(what string, f func(mobile.Change) bool) (time.Duration, error) {
		for {
			select {
			case c := <-changes:
				if f(c) {
					return time.Since(began), nil
				}
			case <-ctx.Done():
				return 0, fmt.Errorf("waiting for %s: %w", what, ctx.Err())
			}
		}
	}
	connected, err := await("the connection", func(c mobile.Change) bool { return c.Complete })
	if err != nil {
		return err
	}
	h.runs.add("connect", "s", connected.Seconds())
	f := h.work
	instruct := func(activity string) error {
		began = time.Now()
		_, err := f.write(http.MethodPatch, "/v1/service/job-activities/"+activity, map[string]string{"instructions": fmt.Sprintf("Ring first, %d.", began.UnixNano())})
		return err
	}
	awaitRecord := func(id string) (time.Duration, error) {
		return await("a live change", func(c mobile.Change) bool {
			return slices.ContainsFunc(c.Records, func(r wire.Ref) bool { return r.ID == id })
		})
	}
	for n := range linkEvents {
		v := f.open[n%len(f.open)]
		time.Sleep(breath)
		if err := instruct(v.activity); err != nil {
			return err
		}
		took, err := awaitRecord(v.activity)
		if err != nil {
			return err
		}
		h.runs.add("live", "ms", ms(took))
		time.Sleep(breath)
		last := ""
		for k := range min(inARow, len(f.open)) {
			time.Sleep(rowPause)
			last = f.open[(n+k)%len(f.open)].activity
			if err := instruct(last); err != nil {
				return err
			}
		}
		if took, err = awaitRecord(last); err != nil {
			return err
		}
		h.runs.add("row", "ms", ms(took))
		time.Sleep(breath)
		began = time.Now()
		if err := h.phone.Patch("jobActivity", v.activity, map[string]any{"note": fmt.Sprintf("Seen, %d.", began.UnixNano())}); err != nil {
			return err
		}
		if took, err = await("the answer to an edit", func(c mobile.Change) bool { return len(c.Results) > 0 }); err != nil {
			return err
		}
		h.runs.add("edit", "ms", ms(took))
	}
	return nil
}

// coded is a transport that asks for an encoding and undoes it, whatever the
// client asks for.
type coded struct {
	next     *http.Transport
	encoding string
	before   func() // called before each request, nil for nothing
}

func newCoded(encoding string) *coded {
	return &coded{next: &http.Transport{DisableCompression: true}, encoding: encoding}
}

func (c *coded) close() { c.next.CloseIdleConnections() }

// RoundTrip implements http.RoundTripper.
func (c *coded) RoundTrip(req *http.Request) (*http.Response, error) {
	if c.before != nil {
		c.before()
	}
	req = req.Clone(req.Context())
	req.Header.Set("Accept-Encoding", c.encoding)
	res, err := c.next.RoundTrip(req)
	if err != nil || !strings.EqualFold(res.Header.Get("Content-Encoding"), c.encoding) {
		return res, err
	}
	raw, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return nil, err
	}
	if raw, err = decode(c.encoding, raw); err != nil {
		return nil, err
	}
	res.Header.Del("Content-Encoding")
	res.Body, res.ContentLength, res.Uncompressed = io.NopCloser(bytes.NewReader(raw)), int64(len(raw)), true
	return res, nil
}
