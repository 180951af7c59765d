package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"satchel/sync/wire"
)

// Options say who the device is and how it reaches its server. Server and
// Tenant are required; everything else has a default.
type Options struct {
	// Server is the base URL, such as https://satchel.example.com.
	Server string
	// Tenant is the slug of the company's tenant.
	Tenant string
	// Installation names this installation of the app and stays the same for
	// as long as it is installed. Made and kept beside the store if empty.
	Installation string
	// Name and Platform describe the device to the person and the
	// administrators ("Ana's phone", "android").
	Name, Platform string
	// PushToken is the FCM registration token, sent at Login if not empty.
	PushToken string

	// HTTPClient sends requests; where nil, one is made around Transport
	// (http.DefaultTransport where that is nil too). Redirects are never
	// followed by a client made here.
	HTTPClient *http.Client
	Transport  http.RoundTripper
	// Dialer opens live sockets; websocket.DefaultDialer where nil, with the
	// TLS and dial settings of Transport if that is an *http.Transport.
	Dialer *websocket.Dialer
	// Clock is the phone's clock, time.Now where nil.
	Clock func() time.Time
	// Random is the source of ids, incarnations and nonces, crypto/rand where
	// nil. It must be safe for use by several goroutines.
	Random io.Reader
	// Logger gets what happens in the background; nothing is logged where nil.
	// Neither tokens nor field values are logged.
	Logger *slog.Logger

	// PageLimit asks for at most so many records a page, 0 for the server's
	// default.
	PageLimit int
	// Schema is the version of the record types that this program knows, 0
	// for the server's own.
	Schema int
	// Timeout bounds one HTTP request, one minute where 0.
	Timeout time.Duration
	// MaxResponse bounds a decompressed answer in bytes, 64 MiB where 0.
	MaxResponse int64

	// OnWipe gets the unsent mutations, in order, before a wipe that the
	// server ordered removes them. It may be called again if the program ends
	// during the wipe.
	OnWipe func(unsent []wire.Mutation)
}

// Phone is one device: a local store and its connection to a server. All
// methods are safe for use by several goroutines.
type Phone struct {
	opts   Options
	server *url.URL
	http   *http.Client
	st     store
	log    *slog.Logger

	installation string

	// Each of these is a lock that can be waited for with a context.
	syncing    chan struct{} // one Sync, Verify or Login at a time
	pushing    chan struct{} // one push on its way, over HTTP or socket
	refreshing chan struct{} // one refresh on its way

	// wake holds a token when there is something new to send.
	wake chan struct{}

	// applying is held while a page is applied, and guards sums: the digests
	// of types that have not changed since they were computed.
	applying sync.Mutex
	sums     map[string]wire.Summary
	checked  map[string]time.Time // when a large type's digest was last computed on a live page
	// astray counts the pages that brought changed fields of what was not here.
	astray atomic.Int64

	// rules are the stored ones, read; nil before they are needed.
	rules atomic.Pointer[ruleSet]

	lease leaseState

	closing sync.Once
	closed  chan struct{}

	pingEvery, pongWait    time.Duration // of the live socket
	backoffMin, backoffMax time.Duration

	wipes   atomic.Int64 // orders to wipe the store that were followed, or begun
	emptied atomic.Int64 // how often the store was emptied; written while applying is held
}

// Meta keys. They stand on disk.
var (
	keyFormat      = []byte("format")
	keyIncarnation = []byte("incarnation")
	keyStamp       = []byte("stamp")
	keyDevice      = []byte("device")     // device, JSON
	keySession     = []byte("session")    // session, JSON
	keyNonce       = []byte("nonce")      // of a refresh that may be on its way
	keyCheckpoint  = []byte("checkpoint") // token of the last page applied
	keyNext        = []byte("next")       // next mutation number
	keyProcessed   = []byte("processed")  // of the last page applied
	keyRound       = []byte("round")      // processed at the first page of the round under way
	keySettings    = []byte("settings")   // settings, JSON
	keyProblemSeq  = []byte("problems")   // last problem number
	keyState       = []byte("state")      // state, JSON
	keyRules       = []byte("rules")      // the rules as the server sent them
	keyRulesNote   = []byte("rulesNote")  // rulesNote, JSON
)

// storeFormat is the version of the store's layout.
const storeFormat = 1

// device is what the server assigned at Login.
type device struct {
	ID     string `json:"id"` // "" after a new incarnation, until Login
	Prefix string `json:"prefix"`
	Owner  string `json:"owner"` // tenant and user
}

// state is what the last page said about the whole.
type state struct {
	Complete    bool      `json:"complete"`
	MobileEnded bool      `json:"mobileEnded"`
	At          time.Time `json:"at"`
	// Checked is when the digests of all that is held last agreed, zero where some
	// were found to differ since.
	Checked time.Time `json:"checked,omitzero"`
}

// Open opens the phone whose store is the bbolt file at path, and makes it if
// there is none; the file "path.label" beside it belongs to it. A store that
// was copied from elsewhere or put back from a backup starts a new incarnation:
// records and unsent work stay, the session is gone (see ErrSignedOut). It
// fails after a second if another process has the file open.
func Open(path string, opts Options) (*Phone, error) {
	st, err := openFile(path)
	if err != nil {
		return nil, err
	}
	p, err := openOn(st, opts)
	if err != nil {
		return nil, errors.Join(err, st.close())
	}
	return p, nil
}

// OpenMemory is Open on a store in memory.
func OpenMemory(m *Memory, opts Options) (*Phone, error) { return openOn(m, opts) }

func openOn(st store, opts Options) (*Phone, error) {
	u, err := url.Parse(strings.TrimSuffix(opts.Server, "/"))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("client: %q is no server address", opts.Server)
	}
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.Timeout == 0 {
		opts.Timeout = time.Minute
	}
	if opts.MaxResponse == 0 {
		opts.MaxResponse = 64 << 20
	}
	p := &Phone{
		opts: opts, server: u, http: opts.HTTPClient, st: st, log: opts.Logger,
		syncing: make(chan struct{}, 1), pushing: make(chan struct{}, 1), refreshing: make(chan struct{}, 1),
		wake: make(chan struct{}, 1), closed: make(chan struct{}),
		sums: map[string]wire.Summary{}, checked: map[string]time.Time{},
		pingEvery: 25 * time.Second, pongWait: 60 * time.Second,
		backoffMin: time.Second, backoffMax: 2 * time.Minute,
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.http == nil {
		p.http = &http.Client{
			Transport: opts.Transport,
			// A redirect would carry the token elsewhere or turn POST into GET.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	if err := p.begin(); err != nil {
		return nil, err
	}
	return p, nil
}

// begin compares store and label, starts an incarnation where they do not
// belong together, and stamps both anew.
func (p *Phone) begin() error {
	label, labelled, err := readLabel(p.st)
	if err != nil {
		return err
	}
	var stamp string
	known := false
	err = p.st.view(func(t tx) error {
		if v := t.get(bucketMeta, keyFormat); v != nil && string(v) != fmt.Sprint(storeFormat) {
			return fmt.Errorf("client: the store has format %s, this program knows %d", v, storeFormat)
		}
		stamp = string(t.get(bucketMeta, keyStamp))
		known = t.get(bucketMeta, keyIncarnation) != nil
		return nil
	})
	if err != nil {
		return err
	}
	file := p.st.identity()
	genuine := known && labelled && label.File.same(file) && stamp != "" && (stamp == label.Stamp || stamp == label.Next)
	if !genuine {
		stamp = "" // a crash before the store is stamped must not make a copy look genuine
	}
	p.installation = p.opts.Installation
	if p.installation == "" {
		p.installation = label.Installation
	}
	if p.installation == "" {
		p.installation = randomText(p.opts.Random, 15)
	}
	return p.stamp(storeLabel{Installation: p.installation, File: file, Stamp: stamp}, func(t tx) error {
		if err := t.put(bucketMeta, keyFormat, []byte(fmt.Sprint(storeFormat))); err != nil {
			return err
		}
		if !genuine {
			if known {
				p.log.Warn("the store is a copy or was restored; a new incarnation begins")
			}
			if err := p.newIncarnation(t); err != nil {
				return err
			}
		}
		return p.noteSchema(t)
	})
}

// stamp writes a new stamp to store and label, with whatever else f does, such
// that a crash at any point leaves two that belong together.
func (p *Phone) stamp(l storeLabel, f func(tx) error) error {
	l.Next = randomText(p.opts.Random, 10)
	if err := writeLabel(p.st, l); err != nil {
		return err
	}
	err := p.st.update(func(t tx) error {
		if f != nil {
			if err := f(t); err != nil {
				return err
			}
		}
		return t.put(bucketMeta, keyStamp, []byte(l.Next))
	})
	if err != nil {
		return err
	}
	l.Stamp, l.Next = l.Next, ""
	return writeLabel(p.st, l)
}

// newIncarnation makes the store a new device in the server's eyes, to be
// signed in. Records, unsent work and settings stay; the numbers of unsent
// work and the ids of records made here change when Login has told the new
// device's prefix.
func (p *Phone) newIncarnation(t tx) error {
	if err := t.put(bucketMeta, keyIncarnation, []byte(randomText(p.opts.Random, 15))); err != nil {
		return err
	}
	for _, k := range [][]byte{keySession, keyNonce, keyCheckpoint, keyRound, keyProcessed} {
		if err := t.del(bucketMeta, k); err != nil {
			return err
		}
	}
	d, err := readDevice(t)
	if err != nil {
		return err
	}
	d.ID = ""
	return putJSON(t, keyDevice, d)
}

// Close ends the phone; Live returns. A second Close does nothing.
func (p *Phone) Close() error {
	var err error
	p.closing.Do(func() {
		close(p.closed)
		// A fresh stamp, so that a copy taken while the phone was open is
		// noticed if it is put back later.
		if l, ok, lerr := readLabel(p.st); lerr == nil && ok {
			err = p.stamp(l, nil)
		}
		err = errors.Join(err, p.st.close())
	})
	return err
}

// Erase removes everything from the device: records, unsent work, problems,
// settings, session. What comes next is a new incarnation. Use it before a
// phone is handed to somebody else.
func (p *Phone) Erase() error {
	p.applying.Lock()
	defer p.applying.Unlock()
	clear(p.sums)
	p.emptied.Add(1)
	if err := p.st.erase(); err != nil {
		return err
	}
	p.lease.forgotten()
	return p.begin()
}

// Status is the phone at a glance.
type Status struct {
	SignedIn     bool
	Installation string
	Incarnation  string
	Device       string // the server's id of this device, "" before Login
	Prefix       string // what ids made here start with
	Pending      int    // unsent mutations, also those to records taken away
	Problems     int    // conflicts and refusals not yet dismissed
	// Complete: the last page ended a round and the digests agreed.
	Complete bool
	// MobileEnded: the field set is empty because the Mobile module is no
	// longer among the person's roles.
	MobileEnded bool
	// LastPage is when the last page was applied, by the phone's clock.
	LastPage time.Time
	// Locked: nothing is shown until the next contact; see ErrLocked. Left is
	// for how long without one things will be shown, 0 where there is no end.
	Locked bool
	Left   time.Duration
}

// Status returns the phone's state.
func (p *Phone) Status() (Status, error) {
	s := Status{Installation: p.installation}
	l, err := p.leased()
	if err != nil {
		return s, err
	}
	s.Locked, s.Left = l.over(), l.left()
	err = p.st.view(func(t tx) error {
		d, err := readDevice(t)
		if err != nil {
			return err
		}
		var st state
		if err := getJSON(t, keyState, &st); err != nil {
			return err
		}
		s.SignedIn = t.get(bucketMeta, keySession) != nil
		s.Incarnation = string(t.get(bucketMeta, keyIncarnation))
		s.Device, s.Prefix = d.ID, d.Prefix
		s.Complete, s.MobileEnded, s.LastPage = st.Complete, st.MobileEnded, st.At
		one := func(n *int) func(_, _ []byte) error {
			return func(_, _ []byte) error { *n++; return nil }
		}
		return errors.Join(t.scan(bucketOutbox, nil, one(&s.Pending)), t.scan(bucketProblems, nil, one(&s.Problems)))
	})
	return s, err
}

func (p *Phone) now() time.Time { return p.opts.Clock() }

// poke tells a live connection that there is something to send.
func (p *Phone) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func getJSON(t tx, key []byte, v any) error {
	raw := t.get(bucketMeta, key)
	if raw == nil {
		return nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("client: stored %s is damaged: %w", key, err)
	}
	return nil
}

func putJSON(t tx, key []byte, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return t.put(bucketMeta, key, raw)
}

func readDevice(t tx) (d device, err error) {
	err = getJSON(t, keyDevice, &d)
	return d, err
}

func getNumber(t tx, key []byte) (n uint64, ok bool, err error) {
	v := t.get(bucketMeta, key)
	if v == nil {
		return 0, false, nil
	}
	n, err = numberOf(v)
	if err != nil {
		return 0, false, fmt.Errorf("client: stored %s: %w", key, err)
	}
	return n, true, nil
}
