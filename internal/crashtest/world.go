package crashtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/mobile-api/client"
	"satchel/server/session/password"
	"satchel/sync/tenant"
	"satchel/sync/wire"
)

// Open makes a tenant in a data folder that is not served, and gives it with
// what closes it.
type Open func(dir string, slug ident.TenantID) (*tenant.Tenant, func() error, error)

// The tenant of a served world and its people. Ada writes through the module
// API, so does Mia, who uploads files too; Eve and Eddie have phones.
const (
	slug     = ident.TenantID("crash")
	ada      = ident.RecordID("emp-ada-1")
	mia      = ident.RecordID("emp-mia-1")
	eve      = ident.RecordID("emp-eve-1")
	eddie    = ident.RecordID("emp-eddie-1")
	adaMail  = "ada@example.com"
	passWord = "correct horse battery"
)

func mailOf(person ident.RecordID) string {
	return strings.Split(string(person), "-")[1] + "@example.com"
}

// activityOf is the activity that a person with a phone works on.
func activityOf(person ident.RecordID) ident.RecordID {
	return ident.RecordID("act-" + strings.Split(string(person), "-")[1] + "-1")
}

// populate makes a data folder with the tenant.
func populate(ctx context.Context, dir string, open Open) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	hasher, err := password.New(password.Default, 0)
	if err != nil {
		return err
	}
	hash, err := hasher.Hash(ctx, passWord)
	if err != nil {
		return err
	}
	t, end, err := open(dir, slug)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	row := func(typ string, id ident.RecordID, kv ...any) command.Row {
		return command.Row{Type: typ, ID: id, Fields: object(kv...)}
	}
	rows := []command.Row{
		row("salesArea", "area-north", "name", "North"),
		row("employee", mia, "name", "Mia", "email", mailOf(mia), "kind", "in-house", "status", "Active"),
		row("roleAssignment", "role-mia-1", "employee", mia, "role", "service.manager"),
		row("client", "client-one", "name", "One", "salesArea", "area-north"),
		row("job", "job-one-1", "client", "client-one", "title", "Boiler"),
	}
	for _, p := range []ident.RecordID{eve, eddie} {
		rows = append(rows,
			row("employee", p, "name", mailOf(p), "email", mailOf(p), "kind", "in-house", "status", "Active"),
			row("roleAssignment", "role-a-"+p, "employee", p, "role", "service.engineer"),
			row("roleAssignment", "role-b-"+p, "employee", p, "role", "mobile.service-agent-user"),
			row("jobActivity", activityOf(p), "job", "job-one-1", "title", "Visit", "assignee", p))
	}
	random := make([]byte, 32)
	if _, err := rand.Read(random); err != nil {
		return err
	}
	cmds := []*command.Command{
		{Setup: &command.Setup{Name: "Ada", Email: adaMail, Employee: ada, Hash: hash, Secret: random}},
		{Import: &command.Import{Rows: rows}},
	}
	for _, p := range []ident.RecordID{mia, eve, eddie} {
		cmds = append(cmds, &command.Command{Secret: &command.Secret{Employee: p, Hash: hash}})
	}
	for _, c := range cmds {
		res, err := t.Submit(ctx, c)
		if err != nil {
			return err
		}
		for _, r := range res.Count.Rejected {
			return r.Err
		}
	}
	return nil
}

// unlimited writes a configuration for a server that lets people ask for as much
// as they like.
func unlimited(dir string) (path string, err error) {
	path = filepath.Join(dir, "serve.json")
	return path, os.WriteFile(path, []byte(`{"limits":{"off":true}}`), 0o600)
}

// requestWait bounds one request. A server that is killed ends connections at
// once; this is for one that hangs, which is a fault.
const requestWait = 30 * time.Second

// errUnanswered says that a request had no answer: whether it was done is not
// known.
var errUnanswered = errors.New("no answer")

// api is somebody who is signed in without a device.
type api struct {
	http    *http.Client
	base    string
	access  string
	refresh string
	nonce   int
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) String() string { return fmt.Sprintf("%d %.300s", a.status, a.body) }

// do sends one request. An answer that broke off is no answer.
func (a *api) do(ctx context.Context, method, path string, body []byte, headers ...string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestWait)
	defer cancel()
	if !strings.HasPrefix(path, "http") {
		path = a.base + path
	}
	req, err := http.NewRequestWithContext(ctx, method, path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if a.access != "" {
		req.Header.Set("Authorization", "Bearer "+a.access)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	// A request that is done again has to be done again here, not beneath.
	req.GetBody = nil
	res, err := a.http.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("%w: %w", errUnanswered, err)
	}
	defer res.Body.Close() //nolint:errcheck // read to its end or failed
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{}, fmt.Errorf("%w: %w", errUnanswered, err)
	}
	return answer{res.StatusCode, res.Header, b}, nil
}

type tokens struct {
	Access  string `json:"accessToken"`
	Refresh string `json:"refreshToken"`
}

// login signs a person in.
func (a *api) login(ctx context.Context, email string) error {
	body, err := json.Marshal(map[string]string{"tenant": string(slug), "email": email, "password": passWord})
	if err != nil {
		return err
	}
	r, err := a.do(ctx, http.MethodPost, "/v1/auth/login", body)
	return a.take(r, err)
}

// renew takes the next tokens. After a lost answer it comes with the same token
// and nonce again, which has to succeed.
func (a *api) renew(ctx context.Context) error {
	body, err := json.Marshal(map[string]string{"refreshToken": a.refresh, "nonce": fmt.Sprintf("nonce-%010d", a.nonce)})
	if err != nil {
		return err
	}
	access := a.access
	a.access = ""
	r, err := a.do(ctx, http.MethodPost, "/v1/auth/refresh", body)
	a.access = access
	if err := a.take(r, err); err != nil {
		return err
	}
	a.nonce++
	return nil
}

func (a *api) take(r answer, err error) error {
	if err != nil {
		return err
	}
	var t tokens
	if r.status != http.StatusOK || json.Unmarshal(r.body, &t) != nil || t.Access == "" || t.Refresh == "" {
		return broke("signing in was answered %v", r)
	}
	a.access, a.refresh = t.Access, t.Refresh
	return nil
}

// write is one request with an Idempotency-Key, which is sent until it is
// answered.
type write struct {
	key, method, path, name string
	body                    []byte
}

// send sends the write; the answer has to be a success.
func (a *api) send(ctx context.Context, w *write) (answer, error) {
	r, err := a.do(ctx, w.method, w.path, w.body, "Idempotency-Key", w.key)
	if err != nil {
		return r, err
	}
	if r.status < 200 || r.status > 299 {
		return r, broke("%s %s %s was answered %v", w.method, w.path, w.body, r)
	}
	return r, nil
}

// idOf reads the id of a record in an answer.
func idOf(r answer) (ident.RecordID, error) {
	var rec struct {
		ID ident.RecordID `json:"id"`
	}
	if err := json.Unmarshal(r.body, &rec); err != nil || rec.ID == "" {
		return "", broke("no record in %v", r)
	}
	return rec.ID, nil
}

// upload is one file on its way to a document.
type upload struct {
	create   write
	document ident.RecordID // once made
	content  []byte
	url      string // once begun
	sent     int    // bytes that were acknowledged
	done     bool
}

// tus are the headers of the protocol for uploads.
func tus(more ...string) []string { return append([]string{"Tus-Resumable", "1.0.0"}, more...) }

// step takes an upload one request further.
func (u *upload) step(ctx context.Context, a *api) error {
	switch {
	case u.document == "":
		r, err := a.send(ctx, &u.create)
		if err != nil {
			return err
		}
		u.document, err = idOf(r)
		return err
	case u.url == "":
		r, err := a.do(ctx, http.MethodPost, "/files", nil, tus("Upload-Length", fmt.Sprint(len(u.content)),
			"Upload-Metadata", "document "+base64.StdEncoding.EncodeToString([]byte(u.document)))...)
		if err != nil {
			return err // a second one is begun
		}
		if r.status != http.StatusCreated {
			return broke("an upload was answered %v", r)
		}
		u.url = r.header.Get("Location")
		return nil
	}
	to := min(len(u.content), u.sent+len(u.content)/3+1)
	r, err := a.do(ctx, http.MethodPatch, u.url, u.content[u.sent:to], tus("Content-Type", "application/offset+octet-stream", "Upload-Offset", fmt.Sprint(u.sent))...)
	if err != nil {
		return err
	}
	if r.status != http.StatusNoContent {
		return broke("a part of an upload was answered %v", r)
	}
	u.sent = to
	u.done = to == len(u.content)
	return nil
}

// resume finds out how far an upload came: no less far than was acknowledged.
func (u *upload) resume(ctx context.Context, a *api) error {
	if u.url == "" || u.done {
		return nil
	}
	r, err := a.do(ctx, http.MethodHead, u.url, nil, tus()...)
	if err != nil {
		return err
	}
	var offset int
	if _, err := fmt.Sscan(r.header.Get("Upload-Offset"), &offset); r.status != http.StatusOK || err != nil {
		return broke("how far an upload came was answered %v", r)
	}
	if offset < u.sent || offset > len(u.content) {
		return broke("an upload stands at %d, acknowledged was %d of %d", offset, u.sent, len(u.content))
	}
	u.sent, u.done = offset, offset == len(u.content)
	return nil
}

// phone is a device with what its owner typed.
type phone struct {
	*client.Phone
	person ident.RecordID
	mu     sync.Mutex // guards what follows
	// typed are the notes of time entries by their ids, acknowledged those of
	// which the server said that they were applied.
	typed        map[ident.RecordID]string
	acknowledged map[ident.RecordID]bool
	byNumber     map[uint64]ident.RecordID
	number       uint64
}

func newPhone(ctx context.Context, base string, tr http.RoundTripper, person ident.RecordID, profile string) (*phone, error) {
	c, err := client.OpenMemory(client.NewMemory(), client.Options{
		Server: base, Tenant: string(slug), Name: mailOf(person), Transport: tr, Timeout: requestWait,
	})
	if err != nil {
		return nil, err
	}
	p := &phone{
		Phone: c, person: person, typed: map[ident.RecordID]string{}, acknowledged: map[ident.RecordID]bool{},
		byNumber: map[uint64]ident.RecordID{},
	}
	if err := p.Login(ctx, mailOf(person), passWord); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return p, p.SetProfile(profile)
}

// enter makes a time entry on the phone.
func (p *phone) enter(note string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, err := p.Create("timeEntry", map[string]any{
		"activity": activityOf(p.person), "employee": p.person, "kind": "work", "start": "2026-01-05T08:00:00Z", "note": note,
	})
	if err != nil {
		return err
	}
	p.number++
	p.typed[ident.RecordID(id)], p.byNumber[p.number] = note, ident.RecordID(id)
	return nil
}

// take notes what the server said of offline work: nothing typed here may be
// refused or clash.
func (p *phone) take(results []wire.Result) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range results {
		id, ok := p.byNumber[r.N]
		if !ok || r.Status != wire.Applied {
			return broke("mutation %d of %s (%s) was answered %+v", r.N, p.person, id, r)
		}
		p.acknowledged[id] = true
	}
	return nil
}

// sync does one sync; what the network did to it is no error.
func (p *phone) sync(ctx context.Context) (complete bool, err error) {
	rep, err := p.Sync(ctx)
	if terr := p.take(rep.Results); terr != nil {
		return false, terr
	}
	var told *client.Error
	if errors.As(err, &told) || errors.Is(err, client.ErrSignedOut) || errors.Is(err, client.ErrWiped) ||
		errors.Is(err, client.ErrDiverged) || errors.Is(err, client.ErrStale) {
		return false, broke("%s synchronises: %v", p.person, err)
	}
	return err == nil && rep.Complete, nil
}

// copyTree copies a data folder as it stands.
func copyTree(from, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	return filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil || path == from {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		return copySparse(path, filepath.Join(to, rel))
	})
}

// copySparse copies a file without making zeros of its holes: stores are made
// longer than what is in them.
func copySparse(from, to string) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close() //nolint:errcheck // only read
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	st, err := src.Stat()
	if err != nil {
		return err
	}
	length := st.Size()
	if strings.HasSuffix(from, ".db") && length > headBytes {
		im, err := readImage(src)
		if err != nil {
			return err
		}
		length = int64(len(im.used))
	}
	if _, err := io.CopyN(dst, src, length); err != nil {
		return err
	}
	return dst.Truncate(st.Size())
}
