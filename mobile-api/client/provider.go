package client

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// ErrProvider says that a sign-in by the company's identity provider did not
// come to an end: the person or the provider refused, or what came back belongs
// to another sign-in.
var ErrProvider = errors.New("client: the sign-in by the identity provider was refused")

// LoopbackRedirect is the redirect URI of LoginByProvider, its port left out, as
// it has to stand in the server's configuration.
const LoopbackRedirect = "http://127.0.0.1/callback"

// ProviderLogin is a sign-in by the company's identity provider under way. It
// stays with the app that began it: whoever has it and the callback is signed
// in.
type ProviderLogin struct {
	// URL is to be opened in the system's browser, never in a view of the
	// app's own, which could read what is typed into it.
	URL string

	state, verifier string
}

// BeginProviderLogin begins a sign-in that ends at a redirect URI of the app's.
// Hand the address that the browser comes back to to FinishProviderLogin.
func (p *Phone) BeginProviderLogin(redirectURI string) *ProviderLogin {
	// 48 characters of base32 each: as long as RFC 7636 wants a verifier, of
	// the characters that it allows.
	l := &ProviderLogin{state: randomText(p.opts.Random, 30), verifier: randomText(p.opts.Random, 30)}
	sum := sha256.Sum256([]byte(l.verifier))
	l.URL = p.server.String() + "/v1/auth/oidc/authorize?" + url.Values{
		"tenant": {p.opts.Tenant}, "redirect_uri": {redirectURI}, "response_type": {"code"}, "state": {l.state},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}.Encode()
	return l
}

type providerRequest struct {
	Tenant   string      `json:"tenant"`
	Code     string      `json:"code"`
	Verifier string      `json:"code_verifier"`
	Device   loginDevice `json:"device"`
}

// FinishProviderLogin signs the device in with the address that the browser
// came back to, as Login does. It is refused with ErrProvider where that tells
// of an error or is of another sign-in.
func (p *Phone) FinishProviderLogin(ctx context.Context, l *ProviderLogin, callback string) error {
	u, err := url.Parse(callback)
	if err != nil {
		return fmt.Errorf("%w: no address", ErrProvider)
	}
	q := u.Query()
	if subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(l.state)) != 1 {
		return fmt.Errorf("%w: it is of another sign-in", ErrProvider)
	}
	if q.Has("error") || q.Get("code") == "" {
		return ErrProvider
	}
	_, err = p.signIn(ctx, "/v1/auth/oidc/token", "", func(d loginDevice) any {
		return providerRequest{Tenant: p.opts.Tenant, Code: q.Get("code"), Verifier: l.verifier, Device: d}
	})
	return err
}

// LoginByProvider signs the device in by the company's identity provider: show
// opens the address in the system's browser, or tells the person to; the answer
// is waited for on a port of this machine until ctx ends. The server's
// configuration has to name LoopbackRedirect.
func (p *Phone) LoginByProvider(ctx context.Context, show func(url string) error) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	redirect := strings.Replace(LoopbackRedirect, "127.0.0.1", ln.Addr().String(), 1)
	l := p.BeginProviderLogin(redirect)
	came := make(chan string, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /callback", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		// Other programs and pages may knock here as well; they don't know the state.
		if subtle.ConstantTimeCompare([]byte(r.URL.Query().Get("state")), []byte(l.state)) != 1 {
			http.Error(w, "This belongs to no sign-in.", http.StatusBadRequest)
			return
		}
		fmt.Fprintln(w, "You can close this window and go back.")
		select {
		case came <- r.URL.String():
		default:
		}
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if srv.Shutdown(end) != nil {
			_ = srv.Close() // the browser keeps its connection
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			p.log.Warn("the answer of the browser could not be waited for", "error", err)
		}
	}()
	if err := show(l.URL); err != nil {
		return err
	}
	select {
	case callback := <-came:
		return p.FinishProviderLogin(ctx, l, callback)
	case err := <-served:
		served <- err
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-p.closed:
		return ErrClosed
	}
}
