package token

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/refresh"
)

const (
	day      = ident.Millis(24 * 60 * 60 * 1000)
	absolute = 90 * day
	idle     = 30 * day
)

var tenantKey = RefreshKey(seed(7))

func first(t testing.TB, session ident.SessionID) string {
	t.Helper()
	token, err := tenantKey.NewRefresh(seed(50), session)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// use presents a token to the family and returns what a device would get.
func use(t testing.TB, f *refresh.Family, token, nonce string, at ident.Millis) (string, refresh.Outcome, error) {
	t.Helper()
	a, next, err := tenantKey.Attempt(token, nonce)
	if err != nil {
		t.Fatal(err)
	}
	before := *f
	o, err := f.Rotate(a, at)
	switch o {
	case refresh.Rotated, refresh.Retried:
		if err != nil {
			t.Fatalf("%v with %v", o, err)
		}
		return next, o, nil
	case refresh.Unknown, refresh.Expired, refresh.Ended:
		if *f != before {
			t.Fatalf("%v changed the family", o)
		}
	}
	if err == nil {
		t.Fatalf("%v without an error", o)
	}
	return "", o, err
}

func want(t testing.TB, got, want refresh.Outcome) {
	t.Helper()
	if got != want {
		t.Fatalf("outcome %v, want %v", got, want)
	}
}

func open(t testing.TB) (refresh.Family, string) {
	t.Helper()
	token := first(t, "s1")
	return refresh.NewFamily(refresh.Hash(token), now, absolute, idle), token
}

func TestRefreshTokenFormat(t *testing.T) {
	token := first(t, "Sess_1-x")
	if !strings.HasPrefix(token, "rt1.Sess_1-x.") || len(token) != len("rt1.Sess_1-x.")+43 {
		t.Errorf("token %s", token)
	}
	session, secret, err := Parse(token)
	if err != nil || session != "Sess_1-x" || secret == ([32]byte{}) {
		t.Errorf("parsed as %s, %x, %v", session, secret, err)
	}
	again, _ := tenantKey.Successor(token, "n")
	same, _ := tenantKey.Successor(token, "n")
	if again != same || again == token {
		t.Error("the successor isn't stable")
	}
	seen := map[string]string{token: "the token", again: "the successor"}
	other, _ := RefreshKey(seed(8)).Successor(token, "n")
	nonce, _ := tenantKey.Successor(token, "m")
	none, _ := tenantKey.Successor(token, "")
	elsewhere, _ := tenantKey.NewRefresh(seed(50), "Sess_1-y")
	twice, _ := tenantKey.Successor(again, "n")
	for name, s := range map[string]string{"other key": other, "other nonce": nonce, "no nonce": none, "other session": elsewhere, "second": twice} {
		_, text, _ := strings.Cut(s[4:], ".")
		if was, ok := seen[text]; ok {
			t.Errorf("%s and %s share a secret", name, was)
		}
		seen[text] = name
	}
	for _, s := range []ident.SessionID{"", "a.b", "a b", "ä", "a\n", ident.SessionID(strings.Repeat("a", MaxSession+1))} {
		if _, err := tenantKey.NewRefresh(seed(1), s); !fault.Is(err, fault.InternalError) {
			t.Errorf("session %q: %v", s, err)
		}
	}
	if _, err := tenantKey.Successor(token, strings.Repeat("n", MaxNonce+1)); !fault.Is(err, fault.InvalidToken) {
		t.Errorf("long nonce: %v", err)
	}
}

func TestIssued(t *testing.T) {
	token := first(t, "s1")
	for i := range 200 {
		if !tenantKey.Issued(token) {
			t.Fatalf("token %d of the session isn't recognised", i)
		}
		token, _ = tenantKey.Successor(token, fmt.Sprint(i))
	}
	if RefreshKey(seed(8)).Issued(token) {
		t.Error("recognised under another tenant's key")
	}
	if tenantKey.Issued(strings.Replace(token, "rt1.s1.", "rt1.s2.", 1)) {
		t.Error("recognised for another session")
	}
	for _, s := range []string{"", "rt1.s1." + strings.Repeat("A", 43), "nonsense"} {
		if tenantKey.Issued(s) {
			t.Errorf("%q is recognised", s)
		}
	}
	for i := range 43 {
		b := []byte(token)
		at := len(token) - 43 + i
		b[at] = "AB"[map[bool]int{true: 1}[b[at] == 'A']]
		if tenantKey.Issued(string(b)) {
			t.Errorf("recognised with character %d changed", i)
		}
	}
}

func FuzzParse(f *testing.F) {
	good := first(f, "s1")
	for _, s := range []string{good, "", "rt1.", "rt1..", "rt1.s1.", "rt2" + good[3:], good + "=", good + "\n", good[:20] + "\n" + good[20:], " " + good, strings.ToUpper(good), "rt1.a.b." + good[7:], good[:len(good)-1], good[:len(good)-1] + "_", "rt1." + strings.Repeat("s", 1<<16) + good[6:]} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		session, secret, err := Parse(token)
		if err != nil {
			if !fault.Is(err, fault.InvalidToken) || session != "" || secret != ([32]byte{}) {
				t.Fatalf("%q: %q, %x, %v", token, session, secret, err)
			}
			return
		}
		if back := "rt1." + string(session) + "." + b64.EncodeToString(secret[:]); back != token {
			t.Fatalf("%q has another spelling: %q", token, back)
		}
		if token != good && tenantKey.Issued(token) {
			t.Fatalf("%q counts as issued", token)
		}
		next, err := tenantKey.Successor(token, "n")
		if err != nil || !tenantKey.Issued(next) {
			t.Fatalf("%q: successor %q, %v", token, next, err)
		}
	})
}

func TestParseRefuses(t *testing.T) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	good := first(t, "s1")
	for _, s := range []string{
		"", "rt1", "rt1.", "rt1..", "rt1.s1", "rt1.s1.", "rt2" + good[3:], "RT1" + good[3:], good + "=", good + "A", good[:len(good)-1], good + "\n", good[:20] + "\n" + good[20:len(good)-1], " " + good,
		"rt1.." + good[7:], "rt1.a.b." + good[7:], "rt1.s 1." + good[7:], "rt1.ſ1." + good[7:], strings.Replace(good, "rt1.s1.", "rt1.s1.+/", 1)[:len(good)], "rt1." + strings.Repeat("s", MaxSession+1) + good[6:],
		good[:len(good)-1] + string(alphabet[strings.IndexByte(alphabet, good[len(good)-1])+1]), // its last two bits mean nothing
	} {
		if _, _, err := Parse(s); !fault.Is(err, fault.InvalidToken) {
			t.Errorf("%.80q: %v", s, err)
		}
	}
}

func TestLostResponse(t *testing.T) {
	f, r0 := open(t)
	r1, o, _ := use(t, &f, r0, "n1", now)
	want(t, o, refresh.Rotated)
	// The answer is lost; the phone tries again, far from any network for days.
	for _, after := range []ident.Millis{1, day, 29 * day, 50 * day} {
		again, o, _ := use(t, &f, r0, "n1", now+after)
		want(t, o, refresh.Retried)
		if again != r1 {
			t.Fatal("the retry got another token")
		}
	}
	r2, o, _ := use(t, &f, r1, "n2", now+50*day)
	want(t, o, refresh.Rotated)
	// The first attempt again, after its answer was used: that is no retry.
	_, o, err := use(t, &f, r0, "n1", now+50*day+1)
	want(t, o, refresh.ReuseRevoked)
	if !fault.Is(err, fault.SessionRevoked) {
		t.Error(err)
	}
	_, o, err = use(t, &f, r2, "n3", now+50*day+2)
	want(t, o, refresh.Ended)
	if !fault.Is(err, fault.SessionRevoked) {
		t.Error(err)
	}
}

func TestRacingRetries(t *testing.T) {
	f, r0 := open(t)
	var got []string
	counts := map[refresh.Outcome]int{}
	for i := range 50 {
		next, o, _ := use(t, &f, r0, "same", now+ident.Millis(i))
		counts[o]++
		got = append(got, next)
	}
	if counts[refresh.Rotated] != 1 || counts[refresh.Retried] != 49 {
		t.Errorf("outcomes %v", counts)
	}
	for _, next := range got {
		if next != got[0] {
			t.Fatal("two successors of one attempt")
		}
	}
	if _, o, _ := use(t, &f, got[0], "next", now+60); o != refresh.Rotated {
		t.Errorf("the successor gives %v", o)
	}
}

func TestTheftNoticedByTheOwner(t *testing.T) {
	// The thief uses the token first, and however often before the owner
	// comes back, the owner's use ends it.
	for _, uses := range []int{1, 2, 100} {
		f, r0 := open(t)
		stolen := r0
		for i := range uses {
			var o refresh.Outcome
			stolen, o, _ = use(t, &f, stolen, fmt.Sprint("thief", i), now)
			want(t, o, refresh.Rotated)
		}
		_, o, _ := use(t, &f, r0, "owner", now+1)
		want(t, o, refresh.ReuseRevoked)
		_, o, _ = use(t, &f, stolen, "thief", now+2)
		want(t, o, refresh.Ended)
	}
}

func TestTheftNoticedByTheThief(t *testing.T) {
	// The owner uses the token first, with 1 to 100 rotations since.
	for _, uses := range []int{1, 2, 100} {
		f, r0 := open(t)
		token := r0
		for i := range uses {
			token, _, _ = use(t, &f, token, fmt.Sprint("owner", i), now)
		}
		got, o, _ := use(t, &f, r0, "thief", now+1)
		want(t, o, refresh.ReuseRevoked)
		if got != "" {
			t.Error("the thief got a token")
		}
		_, o, _ = use(t, &f, token, "owner", now+2)
		want(t, o, refresh.Ended)
	}
}

func TestWithoutANonceARetryMustBePrompt(t *testing.T) {
	f, r0 := open(t)
	r1, o, _ := use(t, &f, r0, "", now)
	want(t, o, refresh.Rotated)
	again, o, _ := use(t, &f, r0, "", now+refresh.Grace)
	want(t, o, refresh.Retried)
	if again != r1 {
		t.Error("another token")
	}
	g := f
	_, o, _ = use(t, &g, r0, "x", now+1)
	want(t, o, refresh.ReuseRevoked)
	_, o, _ = use(t, &f, r0, "", now+refresh.Grace+1)
	want(t, o, refresh.ReuseRevoked)
	// And with a nonce first, none doesn't pass for it.
	f, r0 = open(t)
	_, _, _ = use(t, &f, r0, "n", now)
	_, o, _ = use(t, &f, r0, "", now+1)
	want(t, o, refresh.ReuseRevoked)
}

func TestStrangersCantEndASession(t *testing.T) {
	f, r0 := open(t)
	r1, _, _ := use(t, &f, r0, "n", now)
	for i := range byte(100) {
		raw := seed(i)
		forged := "rt1.s1." + b64.EncodeToString(raw[:])
		_, o, err := use(t, &f, forged, "n", now+1)
		want(t, o, refresh.Unknown)
		if !fault.Is(err, fault.InvalidToken) {
			t.Fatal(err)
		}
	}
	other, _ := RefreshKey(seed(99)).NewRefresh(seed(1), "s1")
	_, o, _ := use(t, &f, other, "n", now+1)
	want(t, o, refresh.Unknown)
	foreign := strings.Replace(first(t, "s2"), "rt1.s2.", "rt1.s1.", 1)
	_, o, _ = use(t, &f, foreign, "n", now+1)
	want(t, o, refresh.Unknown)
	_, o, _ = use(t, &f, r1, "n2", now+2)
	want(t, o, refresh.Rotated)
	// Nor learn whether it has ended.
	f.Revoked = true
	_, o, _ = use(t, &f, foreign, "n", now+3)
	want(t, o, refresh.Unknown)
	// A digest of nothing is nobody's.
	fresh, _ := open(t)
	o, err := fresh.Rotate(refresh.Attempt{Successor: refresh.Hash("x")}, now)
	if o != refresh.Unknown || err == nil {
		t.Errorf("the zero digest: %v, %v", o, err)
	}
	o, err = fresh.Rotate(refresh.Attempt{Presented: fresh.Current, Issued: true}, now)
	if o != refresh.Unknown || err == nil || fresh.Revoked {
		t.Errorf("no successor: %v, %v", o, err)
	}
}

func TestExpiry(t *testing.T) {
	f, r0 := open(t)
	g := f
	_, o, _ := use(t, &g, r0, "n", now+idle-1)
	want(t, o, refresh.Rotated)
	g = f
	_, o, err := use(t, &g, r0, "n", now+idle)
	want(t, o, refresh.Expired)
	if !fault.Is(err, fault.SessionRevoked) {
		t.Error(err)
	}
	// Use moves the idle end along, never past the absolute one.
	token, at := r0, now
	for i := 0; ; i++ {
		at += idle - 1
		if at >= now+absolute {
			break
		}
		token, o, _ = use(t, &f, token, fmt.Sprint(i), at)
		want(t, o, refresh.Rotated)
		if f.IdleExpiresAt > f.ExpiresAt {
			t.Fatal("idle end beyond the absolute one")
		}
	}
	g = f
	_, o, _ = use(t, &g, token, "n", now+absolute-1)
	want(t, o, refresh.Rotated)
	_, o, _ = use(t, &f, token, "n", now+absolute)
	want(t, o, refresh.Expired)
	// A retry is no way round it.
	f, r0 = open(t)
	_, _, _ = use(t, &f, r0, "n", now)
	_, o, _ = use(t, &f, r0, "n", now+idle)
	want(t, o, refresh.Expired)
	// An absolute end before the idle one counts.
	short := refresh.NewFamily(refresh.Hash(r0), now, 10, idle)
	if short.IdleExpiresAt != now+10 {
		t.Errorf("idle until %d", short.IdleExpiresAt-now)
	}
}

func TestRetryAcrossANewTenantKey(t *testing.T) {
	f, r0 := open(t)
	_, o, _ := use(t, &f, r0, "n", now)
	want(t, o, refresh.Rotated)
	a, next, err := RefreshKey(seed(8)).Attempt(r0, "n")
	if err != nil {
		t.Fatal(err)
	}
	if o, err := f.Rotate(a, now+1); o != refresh.Retried || err != nil {
		t.Fatalf("%v, %v", o, err)
	}
	_, o, _ = use(t, &f, next, "n2", now+2)
	want(t, o, refresh.Rotated)
}

func TestFamilyJSON(t *testing.T) {
	f, r0 := open(t)
	check := func() {
		t.Helper()
		data, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		var back refresh.Family
		if err := json.Unmarshal(data, &back); err != nil || !reflect.DeepEqual(f, back) {
			t.Fatalf("%s: %v", data, err)
		}
		if len(data) > 400 {
			t.Errorf("%d bytes: %s", len(data), data)
		}
		_, secret, _ := strings.Cut(r0[4:], ".")
		if strings.Contains(string(data), secret) {
			t.Error("a token is stored")
		}
	}
	check()
	_, _, _ = use(t, &f, r0, "nonce", now)
	check()
	f.Revoked = true
	check()
	for _, text := range []string{"", "AA", strings.Repeat("A", 44), strings.Repeat("A", 42) + "B", strings.Repeat("A", 42) + "\n"} {
		if err := new(refresh.Digest).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q taken for a digest", text)
		}
	}
}

// TestRotationModel plays any mix of owner, thief, stranger and lost answers,
// and holds the family to what must always be so.
func TestRotationModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		token, err := tenantKey.NewRefresh(seed(50), "s1")
		if err != nil {
			t.Fatal(err)
		}
		f := refresh.NewFamily(refresh.Hash(token), now, absolute, idle)
		at, issued, used := now, []string{token}, map[string]bool{}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			at += ident.Millis(rapid.Int64Range(0, int64(day)).Draw(t, "pause"))
			presented := issued[rapid.IntRange(max(0, len(issued)-4), len(issued)-1).Draw(t, "token")]
			if rapid.IntRange(0, 5).Draw(t, "stranger") == 0 {
				raw := [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "guess"))
				presented = "rt1.s1." + b64.EncodeToString(raw[:])
			}
			nonce := rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "nonce")
			a, next, err := tenantKey.Attempt(presented, nonce)
			if err != nil {
				t.Fatal(err)
			}
			before := f
			replay := f
			o, err := f.Rotate(a, at)
			if o2, err2 := replay.Rotate(a, at); o2 != o || (err == nil) != (err2 == nil) || replay != f {
				t.Fatal("a replay differs")
			}
			good := o == refresh.Rotated || o == refresh.Retried
			if good != (err == nil) {
				t.Fatalf("%v with %v", o, err)
			}
			latest := issued[len(issued)-1]
			switch {
			case before.Revoked && good:
				t.Fatal("a revoked family gave a token")
			case good && f.Current != refresh.Hash(next):
				t.Fatal("the token handed out isn't the current one")
			case o == refresh.Rotated && presented != latest:
				t.Fatal("rotated by a token that isn't the current one")
			case o == refresh.Retried && (next != latest || used[latest]):
				t.Fatal("retried after the successor was used")
			case !a.Issued && o != refresh.Unknown:
				t.Fatalf("a stranger got %v", o)
			case f.Revoked && !before.Revoked && (o != refresh.ReuseRevoked || presented == latest):
				t.Fatal("revoked for another reason than reuse")
			}
			if o == refresh.Rotated {
				used[presented] = true
				issued = append(issued, next)
			}
		}
	})
}

func BenchmarkAttempt(b *testing.B) {
	token := first(b, "s1")
	for b.Loop() {
		if _, _, err := tenantKey.Attempt(token, "nonce"); err != nil {
			b.Fatal(err)
		}
	}
}
