package emulator

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// call posts a body and returns the status and the decoded answer.
func call(t *testing.T, h http.Handler, method, path, body string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	b, _ := io.ReadAll(w.Result().Body)
	return w.Code, string(b)
}

func send(t *testing.T, e *Emulator, message string) (int, string) {
	t.Helper()
	return call(t, e, "POST", "/v1/projects/p/messages:send", `{"message":`+message+`}`)
}

func TestJudgesMessagesAsGoogle(t *testing.T) {
	big := strings.Repeat("x", 4097)
	for _, c := range []struct {
		name, message, in string // in: what the answer names
		status            int
	}{
		{"least", `{"token":"abcdefgh"}`, "projects/p/messages/", 200},
		{"camel case", `{"token":"abcdefgh","android":{"collapseKey":"k","directBootOk":true}}`, "projects/p/", 200},
		{"topic", `{"topic":"news"}`, "projects/p/", 200},
		{"full", `{"token":"abcdefgh","data":{"a":"b"},"notification":{"title":"t","body":"b"},"android":{"priority":"high","ttl":"3600s"},` +
			`"apns":{"headers":{"apns-priority":"10","apns-push-type":"alert"},"payload":{"aps":{"sound":"default"},"x":{"y":1}}},` +
			`"webpush":{"headers":{"TTL":"60","Urgency":"high","Topic":"jobs"}}}`, "projects/p/", 200},
		{"no target", `{"data":{"a":"b"}}`, "Recipient of the message is not set", 400},
		{"empty target", `{"token":""}`, "Recipient", 400},
		{"two targets", `{"token":"abcdefgh","topic":"news"}`, "oneof", 400},
		{"unknown field", `{"token":"abcdefgh","dta":{}}`, `Unknown name \"dta\" at 'message'`, 400},
		{"unknown nested", `{"token":"abcdefgh","android":{"prio":"high"}}`, "at 'message.android'", 400},
		{"data not strings", `{"token":"abcdefgh","data":{"a":1}}`, "message.data", 400},
		{"data not object", `{"token":"abcdefgh","data":["a"]}`, "message.data", 400},
		{"reserved key", `{"token":"abcdefgh","data":{"from":"x"}}`, "Invalid data payload key: from", 400},
		{"reserved prefix", `{"token":"abcdefgh","data":{"google.x":"x"}}`, "google.x", 400},
		{"too big", `{"token":"abcdefgh","data":{"a":"` + big + `"}}`, "too big", 400},
		{"too big together", `{"token":"abcdefgh","data":{"a":"` + big[:3000] + `"},"notification":{"body":"` + big[:1200] + `"}}`, "too big", 400},
		{"apns too big", `{"token":"abcdefgh","apns":{"payload":{"a":"` + big + `"}}}`, "APNs payload", 400},
		{"bad token", `{"token":"a b"}`, "registration token is not a valid", 400},
		{"ttl form", `{"token":"abcdefgh","android":{"ttl":"1h"}}`, "message.android.ttl", 400},
		{"ttl range", `{"token":"abcdefgh","android":{"ttl":"2419201s"}}`, "2419200", 400},
		{"priority", `{"token":"abcdefgh","android":{"priority":"urgent"}}`, "message.android.priority", 400},
		{"apns priority", `{"token":"abcdefgh","apns":{"headers":{"apns-priority":"7"}}}`, "apns-priority", 400},
		{"urgent background", `{"token":"abcdefgh","apns":{"headers":{"apns-priority":"10","apns-push-type":"background"}}}`, "apns-push-type", 400},
		{"showing background", `{"token":"abcdefgh","notification":{"title":"x"},"apns":{"headers":{"apns-push-type":"background"}}}`, "apns-push-type", 400},
		{"collapse id", `{"token":"abcdefgh","apns":{"headers":{"apns-collapse-id":"` + big[:65] + `"}}}`, "apns-collapse-id", 400},
		{"urgency", `{"token":"abcdefgh","webpush":{"headers":{"Urgency":"max"}}}`, "Urgency", 400},
		{"web ttl", `{"token":"abcdefgh","webpush":{"headers":{"TTL":"soon"}}}`, "TTL", 400},
		{"web topic", `{"token":"abcdefgh","webpush":{"headers":{"Topic":"a b"}}}`, "Topic", 400},
		{"link", `{"token":"abcdefgh","webpush":{"fcm_options":{"link":"http://x"}}}`, "https", 400},
		{"not json", `{`, "Invalid JSON", 400},
		{"null", `null`, "not set", 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, body := send(t, New(Options{}), c.message)
			if status != c.status || !strings.Contains(body, c.in) {
				t.Errorf("%d %s, want %d with %q", status, body, c.status, c.in)
			}
		})
	}
}

func TestErrorsHaveGooglesForm(t *testing.T) {
	e := New(Options{})
	e.Set("deadtoken", State{Dead: true})
	e.Set("othertoken", State{Mismatch: true})
	if err := e.Fail(Fault{Token: "quotatoken", Status: 429, RetryAfter: "7"}); err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string][3]string{
		"deadtoken": {"404", "NOT_FOUND", "UNREGISTERED"}, "othertoken": {"403", "PERMISSION_DENIED", "SENDER_ID_MISMATCH"},
		"quotatoken": {"429", "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"},
	} {
		status, body := send(t, e, `{"token":"`+token+`"}`)
		var got struct {
			Error struct {
				Code            int
				Message, Status string
				Details         []map[string]string
			}
		}
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatal(err)
		}
		g := got.Error
		if fmt.Sprint(status) != want[0] || g.Code != status || g.Status != want[1] || g.Message == "" || len(g.Details) != 1 ||
			g.Details[0]["@type"] != "type.googleapis.com/google.firebase.fcm.v1.FcmError" || g.Details[0]["errorCode"] != want[2] {
			t.Errorf("%s: %d %s", token, status, body)
		}
	}
	// The fault is used up.
	if status, _ := send(t, e, `{"token":"quotatoken"}`); status != 200 {
		t.Errorf("after its fault: %d", status)
	}
}

func TestDeviceThatIsAway(t *testing.T) {
	now := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	e := New(Options{Now: func() time.Time { return now }})
	const tok = "phonephone"
	put := func(key, ttl, n string) {
		t.Helper()
		m := fmt.Sprintf(`{"token":%q,"data":{"n":%q},"android":{"collapse_key":%q,"ttl":%q}}`, tok, n, key, ttl)
		if status, body := send(t, e, m); status != 200 {
			t.Fatal(body)
		}
	}
	ns := func(ds []Delivery) string {
		var out []string
		for _, d := range ds {
			out = append(out, d.Data["n"])
		}
		return strings.Join(out, " ")
	}
	put("jobs", "60s", "here")
	e.Set(tok, State{Away: true})
	put("jobs", "600s", "1")
	put("sync", "600s", "2")
	put("jobs", "600s", "3") // takes the place of 1
	put("", "600s", "4")
	put("", "60s", "5")
	put("", "0s", "never")
	got := e.Token(tok)
	if ns(got.Delivered) != "here" || ns(got.Stored) != "2 3 4 5" {
		t.Fatalf("delivered %q, stored %q", ns(got.Delivered), ns(got.Stored))
	}
	// Four keys: with a fifth the oldest goes.
	put("tickets", "600s", "6")
	put("access", "600s", "7")
	put("more", "600s", "8")
	if s := ns(e.Token(tok).Stored); s != "3 4 5 6 7 8" {
		t.Fatalf("five keys: %q", s)
	}
	now = now.Add(2 * time.Minute)
	e.Set(tok, State{})
	got = e.Token(tok)
	if ns(got.Delivered) != "here 3 4 6 7 8" || len(got.Stored) != 0 {
		t.Fatalf("back: delivered %q, stored %q", ns(got.Delivered), ns(got.Stored))
	}
	if d := got.Delivered[1]; !d.Arrived.Equal(now) || !d.Sent.Before(now) {
		t.Errorf("times %v %v", d.Sent, d.Arrived)
	}
}

func TestAHundredThenAllAreDropped(t *testing.T) {
	e := New(Options{})
	e.Set("phonephone", State{Away: true})
	for i := range 101 {
		if i == 100 && len(e.Token("phonephone").Stored) != 100 {
			t.Fatal("not a hundred are stored")
		}
		if status, body := send(t, e, `{"token":"phonephone"}`); status != 200 {
			t.Fatal(body)
		}
	}
	if got := e.Token("phonephone"); len(got.Stored) != 0 || got.Deleted != 1 {
		t.Errorf("%d stored, %d times deleted", len(got.Stored), got.Deleted)
	}
}

func TestControlOverHTTP(t *testing.T) {
	var seen []Event
	e := New(Options{Seen: func(ev Event) { seen = append(seen, ev) }})
	for _, c := range []struct {
		method, path, body string
		status             int
		in                 string
	}{
		{"PUT", "/emulator/tokens/abcdefgh", `{"away":true}`, 200, `"away":true`},
		{"PUT", "/emulator/tokens/abcdefgh", `{"awya":true}`, 400, "unknown field"},
		{"POST", "/emulator/faults", `{"status":418}`, 400, "418"},
		{"POST", "/emulator/faults", `{"status":500,"count":-1}`, 400, "negative"},
		{"POST", "/emulator/faults", `{"status":500,"count":2,"code":"-"}`, 204, ""},
		{"POST", "/v1/projects/p/messages:send", `{"message":{"token":"abcdefgh"}}`, 500, `"status":"INTERNAL"`},
		{"POST", "/v1/projects/p/messages:send", `{"message":{"token":"abcdefgh"}}`, 500, "INTERNAL"},
		{"POST", "/v1/projects/p/messages:send", `{"message":{"token":"abcdefgh"},"validate_only":true}`, 200, "fake_message_id"},
		{"POST", "/v1/projects/p/messages:send", `{"message":{"token":"abcdefgh"}}`, 200, "projects/p/messages/1"},
		{"GET", "/emulator/tokens/abcdefgh", "", 200, `"stored":[{`},
		{"GET", "/emulator/stats", "", 200, `{"requests":4,"accepted":1,"peak":1}`},
		{"GET", "/v1/projects/p/messages:send", "", 405, ""},
		{"DELETE", "/emulator", "", 204, ""},
		{"GET", "/emulator/tokens/abcdefgh", "", 200, `"stored":[]`},
	} {
		status, body := call(t, e, c.method, c.path, c.body)
		if status != c.status || !strings.Contains(body, c.in) {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, status, body)
		}
	}
	if len(seen) != 4 || seen[3].Outcome != "stored" {
		t.Errorf("%+v", seen)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"message":{"token":"abcdefgh","android":{"ttl":"1.5s"},"apns":{"payload":{"aps":{}}}}}`))
	f.Add([]byte(`{"message":{"data":{"a":null},"token":"x"}}`))
	f.Add([]byte(`{"message":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, bad, _ := parse(b)
		if bad == nil && (p.token == "") == !p.toMany {
			t.Fatalf("taken without a target: %q", b)
		}
		if bad == nil && (p.ttl < 0 || p.ttl > maxTTL) {
			t.Fatalf("ttl %v: %q", p.ttl, b)
		}
	})
}
