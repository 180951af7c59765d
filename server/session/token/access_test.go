package token

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"satchel/internal/fault"
	"satchel/internal/ident"
)

const (
	issuer   = "https://satchel.example"
	audience = "satchel"
	now      = ident.Millis(1_777_777_777_123)
)

func seed(b byte) (s [32]byte) {
	for i := range s {
		s[i] = b + byte(i)
	}
	return s
}

func signer(t testing.TB, keys KeySet, remember int) *Signer {
	t.Helper()
	s, err := NewSigner(issuer, audience, keys, remember)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func someone() Claims {
	return Claims{Tenant: "acme", Principal: "remployee000001", Session: "sess-1", Device: "rdevice00000001", ID: "jti-1"}
}

func mint(t testing.TB, s *Signer, c Claims) string {
	t.Helper()
	token, err := s.Mint(c, now)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestMintAndVerify(t *testing.T) {
	for _, remember := range []int{0, 16} {
		s := signer(t, NewKeySet(seed(1)), remember)
		for _, device := range []ident.DeviceID{"rdevice00000001", ""} {
			c := someone()
			c.Device = device
			token := mint(t, s, c)
			want := c
			want.IssuedAt = now / 1000 * 1000
			want.ExpiresAt = want.IssuedAt + Lifetime
			for range 3 {
				if got, err := s.Verify(token, now); err != nil || got != want {
					t.Fatalf("got %+v, %v, want %+v", got, err, want)
				}
			}
			for _, at := range []ident.Millis{want.ExpiresAt - 1, now - 3_600_000} {
				if _, err := s.Verify(token, at); err != nil {
					t.Errorf("at %d: %v", at, err)
				}
			}
			for range 2 {
				for _, at := range []ident.Millis{want.ExpiresAt, want.ExpiresAt + 1, want.ExpiresAt + 1<<40} {
					if _, err := s.Verify(token, at); !fault.Is(err, fault.TokenExpired) {
						t.Errorf("at %d: %v", at, err)
					}
				}
			}
		}
	}
}

func TestTokensSayNothingOfRights(t *testing.T) {
	token := mint(t, signer(t, NewKeySet(seed(1)), 0), someone())
	for i, want := range []string{"alg kid typ", "aud did exp iat iss jti sid sub tid"} {
		text, _ := b64.DecodeString(strings.Split(token, ".")[i])
		var m map[string]any
		if err := json.Unmarshal(text, &m); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(slices.Sorted(maps.Keys(m)), " "); got != want {
			t.Errorf("part %d holds %s, want %s", i, got, want)
		}
	}
}

func TestMintRefuses(t *testing.T) {
	s := signer(t, NewKeySet(seed(1)), 0)
	for name, change := range map[string]func(*Claims){
		"tenant": func(c *Claims) { c.Tenant = "" }, "principal": func(c *Claims) { c.Principal = "" },
		"session": func(c *Claims) { c.Session = "" }, "id": func(c *Claims) { c.ID = "" },
		"size": func(c *Claims) { c.ID = strings.Repeat("x", MaxSize) },
	} {
		c := someone()
		change(&c)
		if token, err := s.Mint(c, now); !fault.Is(err, fault.InternalError) || token != "" {
			t.Errorf("%s: %q, %v", name, token, err)
		}
	}
	for _, f := range []func() (*Signer, error){
		func() (*Signer, error) { return NewSigner("", audience, NewKeySet(seed(1)), 0) },
		func() (*Signer, error) { return NewSigner(issuer, "", NewKeySet(seed(1)), 0) },
		func() (*Signer, error) { return NewSigner(issuer, audience, KeySet{}, 0) },
	} {
		if _, err := f(); err == nil {
			t.Error("a signer without what it needs")
		}
	}
}

// forge signs any header and payload with the key, as EdDSA.
func forge(k key, header, payload string) string {
	text := b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString([]byte(payload))
	return text + "." + b64.EncodeToString(ed25519.Sign(k.private, []byte(text)))
}

func edit(t testing.TB, text string, change map[string]any) string {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	for k, v := range change {
		if v == nil {
			delete(m, k)
		} else {
			m[k] = v
		}
	}
	out, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// mutants returns more than 200 tokens, by name, that must all be refused.
func mutants(t testing.TB) map[string]string {
	keys := NewKeySet(seed(1))
	k := keys.keys[0]
	good := mint(t, signer(t, keys, 0), someone())
	parts := strings.Split(good, ".")
	head, body := fmt.Sprintf(`{"alg":"EdDSA","kid":%q,"typ":"at+jwt"}`, k.id), ""
	if b, err := b64.DecodeString(parts[1]); err == nil {
		body = string(b)
	}
	if _, err := signer(t, keys, 0).Verify(forge(k, head, body), now); err != nil {
		t.Fatalf("the forger's own pattern is refused: %v", err)
	}
	out := map[string]string{}
	public := k.private.Public().(ed25519.PublicKey)
	hs256 := func(secret []byte) string {
		text := b64.EncodeToString([]byte(edit(t, head, map[string]any{"alg": "HS256"}))) + "." + parts[1]
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(text))
		return text + "." + b64.EncodeToString(mac.Sum(nil))
	}
	out["HS256 with the public key"] = hs256(public)
	out["HS256 with an empty key"] = hs256(nil)
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rs := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{"iss": issuer, "aud": audience})
	rs.Header["typ"], rs.Header["kid"] = "at+jwt", k.id
	if out["RS256"], err = rs.SignedString(private); err != nil {
		t.Fatal(err)
	}
	for _, alg := range []string{"none", "None", "NONE", "nOnE", "", "eddsa", "EDDSA", "Ed25519", "HS256", "HS512", "RS256", "PS256", "ES256", "EdDSA ", "EdDSA\x00"} {
		h := edit(t, head, map[string]any{"alg": alg})
		out["alg "+alg] = forge(k, h, body)
		out["alg "+alg+" unsigned"] = b64.EncodeToString([]byte(h)) + "." + parts[1] + "."
	}
	for name, change := range map[string]map[string]any{
		"no alg": {"alg": nil}, "no typ": {"typ": nil}, "no kid": {"kid": nil}, "typ JWT": {"typ": "JWT"}, "typ at+JWT": {"typ": "at+JWT"}, "typ application": {"typ": "application/at+jwt"},
		"kid unknown": {"kid": "nobody"}, "kid empty": {"kid": ""}, "kid path": {"kid": "../../dev/null"}, "kid number": {"kid": 1}, "alg list": {"alg": []string{"EdDSA"}},
		"jwk": {"jwk": map[string]any{"kty": "OKP", "crv": "Ed25519", "x": b64.EncodeToString(public)}}, "jku": {"jku": "https://evil.example/keys"}, "x5u": {"x5u": "https://evil.example/cert"},
		"x5c": {"x5c": []string{"AA"}}, "crit": {"crit": []string{"exp"}}, "crit empty": {"crit": []string{}}, "b64": {"b64": false}, "zip": {"zip": "DEF"}, "cty": {"cty": "JWT"}, "ALG": {"ALG": "EdDSA"}, "Typ": {"Typ": "at+jwt"},
	} {
		out["header "+name] = forge(k, edit(t, head, change), body)
	}
	expired := int64(now/1000) - 1
	for name, change := range map[string]map[string]any{
		"no iss": {"iss": nil}, "no aud": {"aud": nil}, "no sub": {"sub": nil}, "no tid": {"tid": nil}, "no sid": {"sid": nil}, "no jti": {"jti": nil}, "no exp": {"exp": nil}, "no iat": {"iat": nil},
		"iss other": {"iss": "https://evil.example"}, "iss prefix": {"iss": issuer + "/"}, "iss case": {"iss": strings.ToUpper(issuer)}, "aud other": {"aud": "other"}, "aud list": {"aud": []string{audience}}, "aud lists": {"aud": []string{audience, "x"}},
		"sub empty": {"sub": ""}, "sub number": {"sub": 1}, "tid empty": {"tid": ""}, "tid list": {"tid": []string{"acme"}}, "exp string": {"exp": "9999999999"}, "exp fraction": {"exp": 1777778377.5}, "exp negative": {"exp": -1},
		"exp far": {"exp": 1 << 40}, "exp max": {"exp": int64(1<<63 - 1)}, "exp max iat min": {"exp": int64(1<<63 - 1), "iat": int64(-1 << 63)}, "exp past": {"exp": expired}, "exp past long": {"exp": expired, "iat": expired - 3600}, "exp before iat": {"exp": expired, "iat": expired + 1},
		"nbf past": {"nbf": 1}, "nbf future": {"nbf": 1 << 40}, "roles": {"roles": []string{"admin"}}, "scope": {"scope": "all"}, "TID": {"TID": "other"}, "SUB": {"SUB": "other"}, "Exp": {"Exp": 1 << 40}, "cnf": {"cnf": map[string]any{}},
	} {
		out["claim "+name] = forge(k, head, edit(t, body, change))
	}
	out["duplicate claim"] = forge(k, head, strings.Replace(body, `"tid":"acme"`, `"tid":"acme","tid":"other"`, 1))
	out["duplicate escaped claim"] = forge(k, head, strings.Replace(body, `"tid":"acme"`, `"tid":"acme","t\u0069d":"other"`, 1))
	out["duplicate header"] = forge(k, strings.Replace(head, `"alg"`, `"alg":"none","alg"`, 1), body)
	out["payload null"] = forge(k, head, "null")
	out["payload list"] = forge(k, head, "[]")
	out["payload empty"] = forge(k, head, "")
	out["payload trailing"] = forge(k, head, body+"{}")
	out["payload BOM"] = forge(k, head, "\ufeff"+body)
	out["payload deep"] = forge(k, head, strings.Repeat("[", 1000))
	out["header null"] = forge(k, "null", body)
	out["header trailing"] = forge(k, head+" x", body)
	out["another key, this kid"] = forge(newKey(seed(2)), head, body)
	out["another key, its kid"] = forge(newKey(seed(2)), edit(t, head, map[string]any{"kid": newKey(seed(2)).id}), body)
	out["zero signature"] = parts[0] + "." + parts[1] + "." + b64.EncodeToString(make([]byte, 64))
	out["padded"] = good + "=="
	for name, s := range map[string]string{
		"empty": "", "dot": ".", "dots": "..", "three dots": "...", "one part": parts[0], "two parts": parts[0] + "." + parts[1], "four parts": good + "." + parts[2], "trailing dot": good + ".",
		"no header": "." + parts[1] + "." + parts[2], "no payload": parts[0] + ".." + parts[2], "no signature": parts[0] + "." + parts[1] + ".", "swapped": parts[1] + "." + parts[0] + "." + parts[2],
		"space before": " " + good, "space after": good + " ", "newline after": good + "\n", "newline within": good[:10] + "\n" + good[10:], "CR in signature": good[:len(good)-4] + "\r" + good[len(good)-4:], "NUL": good + "\x00",
		"bearer": "Bearer " + good, "unicode": good + "é", "full-width dot": strings.ReplaceAll(good, ".", "．"), "BOM": "\ufeff" + good, "bad UTF-8": good + "\xff", "twice": good + good, "standard base64": strings.NewReplacer("-", "+", "_", "/").Replace(good) + "+",
		"oversized": good + strings.Repeat("A", MaxSize), "huge": strings.Repeat("A.", 1<<20),
	} {
		out[name] = s
	}
	out["oversized but signed"] = forge(k, head, edit(t, body, map[string]any{"jti": strings.Repeat("x", MaxSize)}))
	// Two bits of every character; a flip out of the alphabet is as bad as one
	// within it.
	for i := range len(good) * 2 {
		b := []byte(good)
		b[i/2] ^= 1 << ((i%2)*4 + i/2%4)
		out[fmt.Sprintf("bit %d.%d", i/2, i%2)] = string(b)
	}
	return out
}

func TestMutantsAreRefused(t *testing.T) {
	all := mutants(t)
	if len(all) < 200 {
		t.Fatalf("only %d mutants", len(all))
	}
	for _, remember := range []int{0, 1024} {
		s := signer(t, NewKeySet(seed(1)), remember)
		good := mint(t, s, someone())
		for range 2 { // what was refused must not be remembered
			if _, err := s.Verify(good, now); err != nil {
				t.Fatal(err)
			}
			for name, token := range all {
				if c, err := s.Verify(token, now); !fault.Is(err, fault.InvalidToken) || c != (Claims{}) {
					t.Errorf("%s: %+v, %v", name, c, err)
				}
			}
		}
		if s.ring.Load().cache != nil && len(s.ring.Load().cache.entries) != 1 {
			t.Errorf("%d tokens remembered", len(s.ring.Load().cache.entries))
		}
	}
	t.Logf("%d mutants", len(all))
}

func TestExpiryIsToldOnlyOfGoodTokens(t *testing.T) {
	keys := NewKeySet(seed(1))
	s := signer(t, keys, 4)
	good := mint(t, s, someone())
	late := now + Lifetime
	for name, token := range map[string]string{
		"bad signature": good[:len(good)-8] + "AAAAAAAA",
		"other issuer": func() string {
			o, _ := NewSigner("https://evil.example", audience, keys, 0)
			return mint(t, o, someone())
		}(),
	} {
		if _, err := s.Verify(token, late); !fault.Is(err, fault.InvalidToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Verify(good, late); !fault.Is(err, fault.TokenExpired) {
		t.Errorf("got %v", err)
	}
}

func TestRotationOfKeys(t *testing.T) {
	first := NewKeySet(seed(1))
	old := mint(t, signer(t, first, 0), someone())
	second := first.Rotate(seed(2), now)
	if second.Current() == first.Current() || len(second.keys) != 2 || first.keys[0].retired != 0 {
		t.Fatalf("%+v", second)
	}
	s := signer(t, second, 0)
	fresh := mint(t, s, someone())
	for _, token := range []string{old, fresh} {
		if _, err := s.Verify(token, now); err != nil {
			t.Error(err)
		}
	}
	if _, err := signer(t, first, 0).Verify(fresh, now); !fault.Is(err, fault.InvalidToken) {
		t.Errorf("a key to come: %v", err)
	}
	third := second.Rotate(seed(3), now+Lifetime+1)
	if len(third.keys) != 2 {
		t.Errorf("%d keys after the first one's tokens died", len(third.keys))
	}
	if _, err := signer(t, third, 0).Verify(old, now); !fault.Is(err, fault.InvalidToken) {
		t.Errorf("a dropped key: %v", err)
	}
	if _, err := signer(t, NewKeySet(seed(9)), 0).Verify(old, now); !fault.Is(err, fault.InvalidToken) {
		t.Errorf("a new set: %v", err)
	}
	for i := range byte(100) {
		third = third.Rotate(seed(i), now)
	}
	if len(third.keys) > maxKeys {
		t.Errorf("%d keys", len(third.keys))
	}
}

func TestKeySetJSON(t *testing.T) {
	set := NewKeySet(seed(1)).Rotate(seed(2), now)
	data, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	var back KeySet
	if err := json.Unmarshal(data, &back); err != nil || !reflect.DeepEqual(set, back) {
		t.Fatalf("%v", err)
	}
	for _, form := range []string{"%v", "%+v", "%#v", "%s"} {
		shown := fmt.Sprintf(form, struct{ K any }{set}) + fmt.Sprintf(form, &set) + fmt.Sprintf(form, RefreshKey(seed(1)))
		if strings.Contains(shown, b64.EncodeToString(set.keys[0].private.Seed())) || strings.Contains(shown, "2, 3, 4, 5") || strings.Contains(shown, "2 3 4 5") {
			t.Errorf("%s shows a secret: %s", form, shown)
		}
	}
	a, b := set.keys[0], set.keys[1]
	render := func(keys ...keyJSON) string { out, _ := json.Marshal(keySetJSON{keys}); return string(out) }
	ja, jb := keyJSON{a.id, b64.EncodeToString(a.private.Seed()), 0}, keyJSON{b.id, b64.EncodeToString(b.private.Seed()), 5}
	two := jb
	two.Retired = 0
	wrong := ja
	wrong.ID = b.id
	short := ja
	short.Seed = short.Seed[:42]
	for name, text := range map[string]string{
		"empty": `{"keys":[]}`, "null": `{"keys":null}`, "not an object": `[]`, "unknown field": `{"keys":[],"x":1}`, "two current": render(ja, two), "none current": render(jb), "current last": render(jb, ja),
		"wrong id": render(wrong), "short seed": render(short), "line break in seed": strings.Replace(render(ja), `"seed":"`, `"seed":"\n`, 1), "twice": render(ja, keyJSON{ja.ID, ja.Seed, 5}),
	} {
		var into KeySet
		if err := json.Unmarshal([]byte(text), &into); err == nil {
			t.Errorf("%s taken", name)
		} else if strings.Contains(err.Error(), ja.Seed[:20]) {
			t.Errorf("%s: the error quotes a seed: %v", name, err)
		}
	}
}

func TestCacheIsBoundedAndForgetsTheOldest(t *testing.T) {
	s := signer(t, NewKeySet(seed(1)), 3)
	tokens := make([]string, 5)
	for i := range tokens {
		c := someone()
		c.ID = fmt.Sprint("jti-", i)
		tokens[i] = mint(t, s, c)
	}
	verify := func(i int) {
		t.Helper()
		if c, err := s.Verify(tokens[i], now); err != nil || c.ID != fmt.Sprint("jti-", i) {
			t.Fatalf("%+v, %v", c, err)
		}
	}
	held := func() (out []int) {
		for i, token := range tokens {
			if _, ok := s.ring.Load().cache.entries[sha256.Sum256([]byte(token))]; ok {
				out = append(out, i)
			}
		}
		return out
	}
	for _, i := range []int{0, 1, 2, 0, 3, 0, 4} {
		verify(i)
	}
	if got := held(); !slices.Equal(got, []int{0, 3, 4}) {
		t.Errorf("held %v", got)
	}
	if _, err := s.Verify(tokens[0], now+Lifetime); !fault.Is(err, fault.TokenExpired) {
		t.Error(err)
	}
	if got := held(); !slices.Equal(got, []int{3, 4}) {
		t.Errorf("held %v after one expired", got)
	}
	var n int
	for e := s.ring.Load().cache.ring.next; e != &s.ring.Load().cache.ring; e = e.next {
		n++
	}
	if n != 2 {
		t.Errorf("%d in the ring", n)
	}
}

// TestCacheForgetsTheExpired: tokens that expired make room by themselves, so that
// what is remembered are those that are good, and a few.
func TestCacheForgetsTheExpired(t *testing.T) {
	s := signer(t, NewKeySet(seed(1)), 10_000)
	held := func() int { return len(s.ring.Load().cache.entries) }
	n := 0
	verify := func(at ident.Millis) {
		t.Helper()
		n++
		c := someone()
		c.ID = fmt.Sprint("jti-", n)
		token, err := s.Mint(c, at)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Verify(token, at); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		verify(now)
	}
	if held() != 100 {
		t.Fatalf("%d are held", held())
	}
	for range 50 {
		verify(now + 2*Lifetime)
	}
	if held() != 50 {
		t.Errorf("%d are held once those of before expired", held())
	}
}

func TestVerifyIsSafeForConcurrentUse(t *testing.T) {
	s := signer(t, NewKeySet(seed(1)), 4)
	var wg sync.WaitGroup
	for g := range 8 {
		c := someone()
		c.ID = fmt.Sprint(g)
		token := mint(t, s, c)
		wg.Go(func() {
			for i := range 50 {
				at := now
				if i%10 == 9 {
					at += Lifetime
				}
				if got, err := s.Verify(token, at); err == nil && got.ID != c.ID {
					t.Errorf("got %s, want %s", got.ID, c.ID)
				}
			}
		})
	}
	wg.Wait()
}

func FuzzVerify(f *testing.F) {
	s := signer(f, NewKeySet(seed(1)), 8)
	good := mint(f, s, someone())
	f.Add(good)
	for _, token := range mutants(f) {
		if len(token) < 1000 {
			f.Add(token)
		}
	}
	f.Fuzz(func(t *testing.T, token string) {
		c, err := s.Verify(token, now)
		switch {
		case err == nil && token != good:
			t.Fatalf("taken: %q as %+v", token, c)
		case err != nil && !fault.Is(err, fault.InvalidToken):
			t.Fatalf("%q: %v", token, err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	for name, remember := range map[string]int{"remembered": 4096, "signature": 0} {
		b.Run(name, func(b *testing.B) {
			s := signer(b, NewKeySet(seed(1)), remember)
			token := mint(b, s, someone())
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Verify(token, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("Mint", func(b *testing.B) {
		s := signer(b, NewKeySet(seed(1)), 0)
		for b.Loop() {
			mint(b, s, someone())
		}
	})
}
