package password_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"satchel/internal/fault"
	"satchel/server/session/password"
	"satchel/server/session/password/internal/insecure"
	"satchel/server/session/password/passwordtest"
)

var ctx = context.Background()

func mustNew(t testing.TB, p password.Params, parallel int) *password.Hasher {
	t.Helper()
	h, err := password.New(p, parallel)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestHashAndVerify(t *testing.T) {
	h := mustNew(t, password.Default, 0)
	encoded, err := h.Hash(ctx, "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(encoded, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("encoded as %s", encoded)
	}
	parts := strings.Split(encoded, "$")
	salt, _ := base64.RawStdEncoding.DecodeString(parts[4])
	if want := base64.RawStdEncoding.EncodeToString(argon2.IDKey([]byte("correct horse"), salt, 2, 19*1024, 1, 32)); parts[5] != want {
		t.Errorf("hash %s, want %s", parts[5], want)
	}
	for pw, want := range map[string]bool{"correct horse": true, "Correct horse": false, "correct horse ": false, "": false, "correct horse\x00": false} {
		if ok, rehash, err := h.Verify(ctx, encoded, pw); ok != want || rehash || err != nil {
			t.Errorf("Verify(%q) = %v, %v, %v", pw, ok, rehash, err)
		}
	}
	if again, _ := h.Hash(ctx, "correct horse"); again == encoded {
		t.Error("two hashes share a salt")
	}
}

func TestRehash(t *testing.T) {
	weak := passwordtest.New(t)
	encoded, err := weak.Hash(ctx, "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if ok, rehash, err := weak.Verify(ctx, encoded, "correct horse"); !ok || rehash || err != nil {
		t.Errorf("same parameters: %v, %v, %v", ok, rehash, err)
	}
	h := mustNew(t, password.Default, 0)
	if ok, rehash, err := h.Verify(ctx, encoded, "correct horse"); !ok || !rehash || err != nil {
		t.Errorf("upgraded: %v, %v, %v", ok, rehash, err)
	}
	if ok, rehash, err := h.Verify(ctx, encoded, "wrong"); ok || rehash || err != nil {
		t.Errorf("wrong password: %v, %v, %v", ok, rehash, err)
	}
}

func TestFloor(t *testing.T) {
	d := password.Default
	for _, p := range []password.Params{
		{}, {d.Memory - 1, d.Time, 1}, {d.Memory, d.Time - 1, 1}, {d.Memory, d.Time, 0}, {1 << 30, d.Time, 1}, {d.Memory, 1000, 1}, {d.Memory, d.Time, 255},
	} {
		if _, err := password.New(p, 1); err == nil {
			t.Errorf("%+v taken", p)
		}
	}
}

const salt, key = "c29tZXNhbHRzb21lc2FsdA", "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo"

var hostile = []string{
	"", "$", "$$$$$", "plaintext", "$2a$10$abcdefghijklmnopqrstuv",
	"$argon2id$v=19$m=4294967295,t=2,p=1$" + salt + "$" + key,
	"$argon2id$v=19$m=99999999999999999999,t=2,p=1$" + salt + "$" + key,
	"$argon2id$v=19$m=262145,t=2,p=1$" + salt + "$" + key,
	"$argon2id$v=19$m=8,t=4294967295,p=1$" + salt + "$" + key,
	"$argon2id$v=19$m=8,t=17,p=1$" + salt + "$" + key,
	"$argon2id$v=19$m=8,t=0,p=1$" + salt + "$" + key,
	"$argon2id$v=19$m=8,t=1,p=0$" + salt + "$" + key,
	"$argon2id$v=19$m=8,t=1,p=257$" + salt + "$" + key,
	"$argon2id$v=19$m=8,t=1,p=2$" + salt + "$" + key,
	"$argon2id$v=19$m=0,t=1,p=1$" + salt + "$" + key,
	"$argon2id$v=19$m=-8,t=1,p=1$" + salt + "$" + key,
	"$argon2id$v=19$m=+8,t=1,p=1$" + salt + "$" + key,
	"$argon2id$v=19$m=08,t=1,p=1$" + salt + "$" + key,
	"$argon2id$v=19$t=1,m=8,p=1$" + salt + "$" + key,
	"$argon2id$v=19$m=8,t=1,p=1,x=1$" + salt + "$" + key,
	"$argon2id$v=19$m=8,t=1$" + salt + "$" + key,
	"$argon2id$v=16$m=8,t=1,p=1$" + salt + "$" + key,
	"$argon2i$v=19$m=8,t=1,p=1$" + salt + "$" + key,
	"$argon2d$v=19$m=8,t=1,p=1$" + salt + "$" + key,
	"x$argon2id$v=19$m=8,t=1,p=1$" + salt + "$" + key,
	"$argon2id$v=19$m=8,t=1,p=1$" + salt + "$" + key + "$",
	"$argon2id$v=19$m=8,t=1,p=1$" + salt + "$" + key + "=",
	"$argon2id$v=19$m=8,t=1,p=1$" + salt + "$" + key + "\n",
	"$argon2id$v=19$m=8,t=1,p=1$" + salt + "$",
	"$argon2id$v=19$m=8,t=1,p=1$" + salt + "$qqqq",
	"$argon2id$v=19$m=8,t=1,p=1$$" + key,
	"$argon2id$v=19$m=8,t=1,p=1$!!!!$" + key,
	"$argon2id$v=19$m=8,t=1,p=1$" + salt + "$" + strings.Repeat("q", 88),
	"$argon2id$v=19$m=8,t=1,p=1$" + strings.Repeat("q", 1<<20) + "$" + key,
}

func TestHostileHashesAreRefused(t *testing.T) {
	h := passwordtest.New(t)
	for _, encoded := range hostile {
		var ok, rehash bool
		var err error
		took := time.Hour // the least of several is what it costs
		for range 5 {
			start := time.Now()
			ok, rehash, err = h.Verify(ctx, encoded, "x")
			took = min(took, time.Since(start))
		}
		if ok || rehash || !fault.Is(err, fault.InternalError) {
			t.Errorf("%.60q: %v, %v, %v", encoded, ok, rehash, err)
		}
		if took > 100*time.Millisecond {
			t.Errorf("%.60q took %v", encoded, took)
		}
		if err != nil && len(encoded) > 8 && strings.Contains(err.Error(), encoded) {
			t.Errorf("the error quotes the hash: %v", err)
		}
	}
	if _, _, err := h.Verify(ctx, "$argon2id$v=19$m=8,t=1,p=1$"+salt+"$"+key, "x"); err != nil {
		t.Errorf("the table's pattern itself is refused: %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	for _, s := range hostile {
		f.Add(s, "pw")
	}
	f.Add("$argon2id$v=19$m=8,t=1,p=1$"+salt+"$"+key, "pw")
	h := password.NewBelowFloor(insecure.Permit{}, password.Params{Memory: 8, Time: 1, Threads: 1}, 2)
	f.Fuzz(func(t *testing.T, encoded, pw string) {
		if ok, _, _ := h.Verify(ctx, encoded, pw); ok {
			t.Fatalf("%q matches %q", encoded, pw)
		}
	})
}

func TestWaitingRespectsTheContext(t *testing.T) {
	h := mustNew(t, password.Params{Memory: 256 * 1024, Time: 4, Threads: 1}, 1)
	var over atomic.Bool
	var ended atomic.Int32
	var busy sync.WaitGroup
	busy.Go(func() {
		for !over.Load() {
			_ = h.Dummy(ctx, "slow")
			ended.Add(1)
		}
	})
	// Not judged: a try that found the place free, or during which it became free.
	var err error
	atOnce := false
	for tries := 0; !atOnce && tries < 20; tries++ {
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		before := ended.Load()
		_, err = h.Hash(short, "waits")
		atOnce = err != nil && ended.Load() == before
		cancel()
	}
	over.Store(true)
	if !atOnce {
		t.Error("waits for the place beyond its time")
	}
	if !fault.Is(err, fault.Busy) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	busy.Wait()
	// The slot is free again, but a caller that is gone doesn't get it.
	gone, cancel := context.WithDeadline(ctx, time.Now())
	defer cancel()
	if err := h.Dummy(gone, "gone"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if err := passwordtest.New(t).Dummy(ctx, "x"); err != nil {
		t.Error(err)
	}
}

func TestParallelSignInsAreBoundedInMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("200 real hashes")
	}
	h := mustNew(t, password.Default, 2)
	encoded, err := h.Hash(ctx, "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	stop, peak := make(chan struct{}), uint64(0)
	var watch, work sync.WaitGroup
	watch.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapInuse)
			}
		}
	})
	var matched atomic.Int32
	for i := range 200 {
		work.Go(func() {
			pw := "correct horse"
			if i%2 == 1 {
				pw = "wrong horse"
			}
			if ok, _, err := h.Verify(ctx, encoded, pw); err == nil && ok {
				matched.Add(1)
			}
		})
	}
	work.Wait()
	close(stop)
	watch.Wait()
	if matched.Load() != 100 {
		t.Errorf("%d of 100 matched", matched.Load())
	}
	// Two at work, two finished that the collector has not seen, and slack;
	// unbounded it would be 3.8 GB.
	if grown := int64(peak) - int64(before.HeapInuse); grown > 160<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}

func TestUnknownPersonTakesTheSameTime(t *testing.T) {
	h := mustNew(t, password.Default, 1)
	encoded, err := h.Hash(ctx, "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 1<<20)
	works := map[string]func(){
		"known person":                  func() { _, _, _ = h.Verify(ctx, encoded, "wrong horse") },
		"unknown person":                func() { _ = h.Dummy(ctx, "wrong horse") },
		"known person, long password":   func() { _, _, _ = h.Verify(ctx, encoded, long) },
		"unknown person, long password": func() { _ = h.Dummy(ctx, long) },
	}
	// The least of several runs is what the work costs without the noise. The
	// works take turns and go on until each has had a quiet moment: a machine that
	// is busy for a second must not look like a way of answering that is slower.
	least := map[string]time.Duration{}
	differ := func() []string {
		var out []string
		for name, d := range least {
			if ratio := float64(d) / float64(least["known person"]); ratio < 0.6 || ratio > 1.6 {
				out = append(out, fmt.Sprintf("%s: %v, known person %v", name, d, least["known person"]))
			}
		}
		return out
	}
	for round := 0; round < 5 || (round < 100 && differ() != nil); round++ {
		for name, work := range works {
			start := time.Now()
			work()
			if d := time.Since(start); least[name] == 0 || d < least[name] {
				least[name] = d
			}
		}
	}
	for _, difference := range differ() {
		t.Error(difference)
	}
}

func TestAcceptable(t *testing.T) {
	for pw, ok := range map[string]bool{
		"correct horse": true, "1234567890123": true,
		"12345678": false, "20260131": false, "password": false, "Password1": false, "P@ssw0rd!": false, "passwordpassword": false, "Welcome2026!": false,
		"qwertyuiop": false, "1q2w3e4r5t": true, "changeme123": false, "!!!dragon!!!": false, "Sommer2026": false, "letmein1": false, "testtest": false,
		"the password of my dog": true, "satchel-demo-1": true, "long enough": true, "qwertz likes tea": true, "dragonfly wings": true,
		"äöüßäöüß": true, "😀😀😀😀😀😀😀😁": true, "        x": true,
		strings.Repeat("ab", 128): true, strings.Repeat("😀😁", 128): true,
		"": false, "1234567": false, "äöüßäöü": false, "aaaaaaaa": false, "😀😀😀😀😀😀😀😀": false,
		strings.Repeat("ab", 129): false, strings.Repeat("😀😁", 129): false, strings.Repeat("ab", 1<<20): false, "abcdefgh\xff": false,
	} {
		err := password.Acceptable(pw)
		if (err == nil) != ok {
			t.Errorf("%.40q: %v", pw, err)
		}
		if err != nil && (!fault.Is(err, fault.BadValue) || fault.Of(err).Field != "password") {
			t.Errorf("%.40q: %v", pw, err)
		}
		if _, err := passwordtest.New(t).Hash(ctx, pw); ok && err != nil {
			t.Errorf("%.40q is acceptable but not hashed: %v", pw, err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	h := mustNew(b, password.Default, 0)
	b.ReportAllocs()
	for b.Loop() {
		_ = h.Dummy(ctx, "correct horse")
	}
}
