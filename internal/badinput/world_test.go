package badinput

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/recover"
	"go.uber.org/goleak"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/testworld"
	"satchel/mobile-api/handler"
	"satchel/server/blob"
	"satchel/server/courier"
	"satchel/server/edge"
	"satchel/server/files"
	"satchel/server/rest"
	"satchel/server/session"
	"satchel/server/session/limit"
	"satchel/server/session/oidc"
	"satchel/server/session/password/passwordtest"
	"satchel/server/syncapi"
	"satchel/server/ws/upgrade"
	"satchel/sync/bits"
	"satchel/sync/state"
	"satchel/sync/store"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

// super holds every role there is, so that what is sent in their name is
// judged for what it says and not for who says it.
const super ident.RecordID = "emp-super-1"

// keyed is a person who signs in with a password.
const keyed ident.RecordID = "emp-keyed-1"

const keyedPass = "correct horse battery"

// world is a tenant behind every edge of the server, on a real listener.
type world struct {
	*testworld.World
	t      testing.TB
	addr   string
	url    string
	http   *http.Transport
	rest   *rest.Server
	panics atomic.Int64
	token  string // of super, without a device
	device string // of super, with one
	keyed  string // of a person who has a password
}

// wide are limits that no corpus meets: what is refused for coming too often is
// not looked at.
func wide() *session.Limits {
	l := session.DefaultLimits()
	for v, i := reflect.ValueOf(&l).Elem(), 0; i < v.NumField(); i++ {
		if f := v.Field(i); f.Type() == reflect.TypeFor[limit.Rate]() {
			f.Set(reflect.ValueOf(limit.Rate{Burst: 1_000_000, Every: time.Millisecond}))
		}
	}
	return &l
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, http: &http.Transport{MaxIdleConnsPerHost: 8, DisableCompression: true}}
	dir := t.TempDir()
	sockets := upgrade.New(upgrade.Options{OnPanic: func(_ net.Addr, v any, stack []byte) {
		w.panics.Add(1)
		t.Errorf("a socket panicked: %v\n%s", v, stack)
	}})
	var svc *session.Service
	w.World = testworld.New(t, func(app *fiber.App, auth *edge.Auth, cat *entity.Catalogue) {
		files.Configure(app)
		app.Use(recover.New(recover.Config{EnableStackTrace: true, StackTraceHandler: func(_ *fiber.Ctx, v any) {
			w.panics.Add(1)
			t.Errorf("a request panicked: %v", v)
		}}))
		ids, err := oidc.New(oidc.Options{PublicURL: "https://satchel.example", Clock: auth.Clock, Tenants: map[ident.TenantID]oidc.Config{
			testworld.Slug: {Issuer: "https://idp.invalid", ClientID: "satchel", ClientSecret: "a secret of the provider's", RedirectURIs: []string{"https://app.example/callback"}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		svc = &session.Service{Auth: auth, Hasher: passwordtest.New(t), OIDC: ids, Limits: wide(), Log: slog.New(slog.DiscardHandler)}
		svc.Mount(app)
		(&syncapi.Server{Auth: auth, Sockets: sockets}).Mount(app)
		if _, err := files.Mount(app, auth, cat, files.Options{
			Dir: filepath.Join(dir, "uploads"), Blobs: blob.NewFolder(filepath.Join(dir, "blobs"), auth.Clock), Clock: auth.Clock,
		}); err != nil {
			t.Fatal(err)
		}
		if w.rest, err = rest.Mount(app, auth, cat, rest.Options{}); err != nil {
			t.Fatal(err)
		}
		courier.NewUnsubscriber([32]byte{7}, "https://satchel.example", auth.Tenants).Mount(app)
		if _, err := handler.Mount(app, auth, cat, handler.Options{}); err != nil {
			t.Fatal(err)
		}
	})
	w.Person(super, w.Roles.Keys()...)
	w.Person(keyed, "service.engineer")
	hash, err := svc.Hasher.Hash(context.Background(), keyedPass)
	if err != nil {
		t.Fatal(err)
	}
	w.Do(&command.Command{Secret: &command.Secret{Employee: keyed, Hash: hash}})
	w.token, w.device = w.Token(super), w.DeviceToken(super, "phone-1")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = l.Addr().String()
	w.url = "http://" + w.addr
	served := make(chan error, 1)
	go func() { served <- w.App.Listener(l) }()
	w.keyed = w.signIn()
	t.Cleanup(func() {
		w.http.CloseIdleConnections()
		end, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := sockets.Shutdown(end); err != nil {
			t.Error(err)
		}
		if err := w.App.ShutdownWithTimeout(10 * time.Second); err != nil {
			t.Error(err)
		}
		_ = l.Close()
		<-served
		svc.Close()
	})
	return w
}

// signIn opens a session of keyed's.
func (w *world) signIn() string {
	w.t.Helper()
	body, err := json.Marshal(map[string]any{"tenant": testworld.Slug, "email": strings.TrimPrefix(string(keyed), "emp-") + "@example.com", "password": keyedPass})
	if err != nil {
		w.t.Fatal(err)
	}
	a, err := w.send(&request{method: "POST", path: "/v1/auth/login", body: body})
	if err != nil {
		w.t.Fatal(err)
	}
	var got struct {
		Token string `json:"accessToken"`
	}
	if err := json.Unmarshal(a.body, &got); err != nil || got.Token == "" {
		w.t.Fatalf("sign-in: %d %s", a.status, a.body)
	}
	return got.Token
}

// moves are the buckets that a refused request may write to: every command is
// an entry of the log, and who attempted what they may not is in the audit
// trail.
var moves = []store.Bucket{store.Log, store.Audit}

// movesMeta are the rows of the bucket Meta that say how far those two are.
func movesMeta(name string) bool {
	return name == "audit" || name == "applied" || strings.HasPrefix(name, "log/")
}

// read reads the state as it stands.
func (w *world) read(f func(*state.Reader)) {
	w.t.Helper()
	snap, err := w.Engine.Snapshot()
	if err != nil {
		w.t.Fatal(err)
	}
	defer snap.Close()
	f(state.NewReader(w.Cat, snap))
}

// position is that of the last entry of the log.
func (w *world) position() (at ident.Position) {
	w.t.Helper()
	w.read(func(r *state.Reader) { at = r.Position() })
	return at
}

// touched counts the records that entries after a position changed, by the change
// index. It fails where so many entries have followed that their rows may have
// been joined with older ones.
func (w *world) touched(after ident.Position) (n int) {
	w.t.Helper()
	w.read(func(r *state.Reader) {
		if entries := r.Position() - after; entries > state.ChangeBlock {
			w.t.Fatalf("%d entries since it was looked", entries)
		}
		r.Changes(after, func(c state.ChangedIn) bool {
			if c.First > after {
				n += c.Set.Len()
			}
			return true
		})
	})
	return n
}

// digest names the state by bucket, but for what may move. Of the change index it
// has which records it tells of at all: its rows are joined as the log grows, also
// by entries that change nothing. What changed since is for touched to tell.
func (w *world) digest() map[string]string {
	w.t.Helper()
	snap, err := w.Engine.Snapshot()
	if err != nil {
		w.t.Fatal(err)
	}
	defer snap.Close()
	out := map[string]string{}
	for _, b := range store.Buckets() {
		if slices.Contains(moves, b) {
			continue
		}
		if b == store.Changes {
			out[b.String()] = everChanged(w.t, snap)
			continue
		}
		h := sha256.New()
		snap.Scan(b, nil, func(k, v []byte) bool {
			if b == store.Meta {
				if !movesMeta(string(k)) {
					out["meta/"+string(k)] = hex.EncodeToString(v)
				}
				return true
			}
			h.Write(lengths(k, v))
			h.Write(k)
			h.Write(v)
			return true
		})
		if b != store.Meta {
			out[b.String()] = hex.EncodeToString(h.Sum(nil))
		}
	}
	return out
}

// everChanged names the records that the change index tells of.
func everChanged(t testing.TB, kv store.Reader) string {
	t.Helper()
	var parts []bits.Set
	kv.Scan(store.Changes, nil, func(k, v []byte) bool {
		c, err := state.ParseChanges(k, v)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, c.Set)
		return true
	})
	return hex.EncodeToString(bits.OrAll(parts...).AppendTo(nil))
}

func lengths(k, v []byte) []byte {
	return []byte{byte(len(k) >> 8), byte(len(k)), byte(len(v) >> 24), byte(len(v) >> 16), byte(len(v) >> 8), byte(len(v))}
}

// differences names what differs between two digests.
func differences(a, b map[string]string) (out []string) {
	for k, v := range a {
		if b[k] != v {
			out = append(out, k)
		}
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}
