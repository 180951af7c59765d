package rest_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"satchel/internal/testworld"
)

// TestBadInput sends what must be refused, each with its code, and none of it
// changes anything.
func TestBadInput(t *testing.T) {
	w := newWorld(t)
	before := w.HTTP(testworld.Manager, "GET", "/v1/service/jobs/job-acme-1", nil)
	deep := strings.Repeat("[", 40) + strings.Repeat("]", 40)
	job := "/v1/service/jobs/job-acme-1"
	for _, c := range []struct {
		name, method, path string
		body               any
		status             int
		code               string
		headers            []string
	}{
		{"no body", "POST", "/v1/service/jobs", nil, 400, "malformed_json", nil},
		{"half an object", "PATCH", job, `{"title":"x"`, 400, "malformed_json", nil},
		{"two objects", "PATCH", job, `{} {}`, 400, "malformed_json", nil},
		{"byte order mark", "PATCH", job, "\ufeff{}", 400, "malformed_json", nil},
		{"no UTF-8", "PATCH", job, []byte("{\"title\":\"\xff\"}"), 400, "malformed_json", nil},
		{"a list", "PATCH", job, `[]`, 422, "bad_value", nil},
		{"a key twice", "PATCH", job, `{"title":"x","title":"y"}`, 400, "malformed_json", nil},
		{"a key twice, escaped", "PATCH", job, `{"title":"x","\u0074itle":"y"}`, 400, "malformed_json", nil},
		{"too deep", "PATCH", job, `{"title":` + deep + `}`, 400, "too_deep", nil},
		{"too many members", "PATCH", job, `{"a":1` + manyKeys() + "}", 413, "too_large", nil},
		{"too much for a command", "PATCH", job, `{"description":"` + strings.Repeat("x", 300<<10) + `"}`, 413, "too_large", nil},
		{"unknown key", "PATCH", job, `{"nothing":1}`, 400, "unknown_field", nil},
		{"case variant", "PATCH", job, `{"TITLE":"x"}`, 400, "unknown_field", nil},
		{"case variant, Kelvin", "PATCH", job, `{"\u212aind":"repair"}`, 400, "unknown_field", nil},
		{"system field", "PATCH", job, `{"createdAt":"2026-01-01T00:00:00Z"}`, 422, "read_only_field", nil},
		{"client by hand", "PATCH", job, `{"clientId":"client-blue"}`, 422, "read_only_field", nil},
		{"status by hand", "PATCH", job, `{"status":"Closed"}`, 422, "read_only_field", nil},
		{"rev", "PATCH", job, `{"rev":"1"}`, 400, "unknown_field", nil},
		{"moved to another client", "PATCH", job, `{"client":"client-blue"}`, 422, "immutable_field", nil},
		{"field of another client", "PATCH", job, `{"site":"site-blue"}`, 422, "bad_reference", nil},
		{"reference of another type", "PATCH", job, `{"site":"asset-acme"}`, 422, "bad_reference", nil},
		{"reference that is no id", "PATCH", job, `{"site":"No!"}`, 422, "bad_value", nil},
		{"number for a text", "PATCH", job, `{"title":1}`, 422, "bad_value", nil},
		{"text too long", "PATCH", job, `{"title":"` + strings.Repeat("x", 201) + `"}`, 422, "bad_value", nil},
		{"zero byte", "PATCH", job, `{"title":"a\u0000b"}`, 422, "bad_value", nil},
		{"line break in a line", "PATCH", job, `{"title":"a\nb"}`, 422, "bad_value", nil},
		{"no such choice", "PATCH", job, `{"priority":"highest"}`, 422, "bad_value", nil},
		{"required cleared", "PATCH", job, `{"title":null}`, 422, "missing_field", nil},
		{"required missing", "POST", "/v1/service/jobs", `{"client":"client-acme"}`, 422, "missing_field", nil},
		{"time that is none", "PATCH", job, `{"due":"tomorrow"}`, 422, "bad_value", nil},
		{"an id of one's own", "POST", "/v1/service/jobs", `{"id":"my-own-job","client":"client-acme","title":"x"}`, 422, "bad_id", nil},
		{"an existing id", "POST", "/v1/service/jobs", `{"id":"job-blue-1","client":"client-acme","title":"x"}`, 422, "bad_id", nil},
		{"an id that is no text", "POST", "/v1/service/jobs", `{"id":7,"client":"client-acme","title":"x"}`, 422, "bad_id", nil},
		{"unknown argument", "POST", job + "/cancel", `{"why":"x"}`, 400, "unknown_field", nil},
		{"wrong argument", "POST", job + "/cancel", `{"cancelReason":7}`, 422, "bad_value", nil},
		{"compressed", "PATCH", job, `{}`, 415, "content_encoding_refused", []string{"Content-Encoding", "gzip"}},
		{"compressed twice", "PATCH", job, `{}`, 415, "content_encoding_refused", []string{"Content-Encoding", "identity, gzip"}},
		{"a form", "PATCH", job, `title=x`, 415, "unsupported_media_type", []string{"Content-Type", "application/x-www-form-urlencoded"}},
		{"text", "PATCH", job, `{}`, 415, "unsupported_media_type", []string{"Content-Type", "text/plain"}},
		{"query on a write", "PATCH", job + "?force=1", `{}`, 400, "bad_parameter", nil},
		{"query on one record", "GET", job + "?limit=1", nil, 400, "bad_parameter", nil},
		{"a method that is none", "FETCH", job, `{}`, 400, "method_not_allowed", nil},
		{"If-Match of two", "PATCH", job, `{"title":"x"}`, 400, "bad_parameter", []string{"If-Match", `"a", "b"`}},
		{"If-Match of another rev", "PATCH", job, `{"title":"x"}`, 412, "rev_mismatch", []string{"If-Match", `"0000000000000000"`}},
		{"idempotency key too long", "PATCH", job, `{"title":"x"}`, 400, "bad_parameter", []string{"Idempotency-Key", strings.Repeat("k", 201)}},
		{"bulk without ids", "POST", "/v1/me/notifications:read", `{}`, 422, "missing_field", nil},
		{"bulk of none", "POST", "/v1/me/notifications:read", `{"ids":[]}`, 422, "bad_value", nil},
		{"bulk of numbers", "POST", "/v1/me/notifications:read", `{"ids":[1]}`, 422, "bad_value", nil},
		{"bulk of nulls", "POST", "/v1/me/notifications:read", `{"ids":[null]}`, 422, "bad_value", nil},
		{"bulk of one twice", "POST", "/v1/me/notifications:read", `{"ids":["note-manager","note-manager"]}`, 422, "bad_value", nil},
		{"bulk of too many", "POST", "/v1/me/notifications:read", `{"ids":[` + strings.TrimSuffix(numbered(501), ",") + `]}`, 422, "bad_value", nil},
		{"bulk key too long", "POST", "/v1/me/notifications:read", `{"ids":["note-manager"]}`, 400, "bad_parameter", []string{"Idempotency-Key", strings.Repeat("k", 201)}},
		{"set of another shape", "PATCH", "/v1/service/customers/client-acme", `{"phones":{"add":["1"],"drop":["2"]}}`, 422, "bad_value", nil},
		{"set of no list", "PATCH", "/v1/service/customers/client-acme", `{"phones":{"add":"1"}}`, 422, "bad_value", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.HTTP(testworld.Manager, c.method, c.path, c.body, c.headers...).Want(t, c.status, c.code)
		})
	}
	after := w.HTTP(testworld.Manager, "GET", job, nil)
	if string(after.Body) != string(before.Body) {
		t.Errorf("changed: %s", after.Body)
	}
}

func manyKeys() string {
	var b strings.Builder
	for i := range 10_001 {
		fmt.Fprintf(&b, `,"k%d":1`, i)
	}
	return b.String()
}

func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"number-%d",`, i)
	}
	return b.String()
}

// TestBadQuery sends list requests that must be refused.
func TestBadQuery(t *testing.T) {
	w := newWorld(t)
	first := w.HTTP(testworld.Manager, "GET", "/v1/service/jobs?limit=1&sort=title", nil).Object(t)
	cursor, _ := first["next"].(string)
	if cursor == "" {
		t.Fatal("no cursor")
	}
	changed := []byte(cursor)
	changed[len(changed)/2] ^= 1
	many := strings.TrimSuffix(strings.Repeat("title eq a and ", 21), " and ")
	for _, c := range []struct{ name, query, code string }{
		{"limit 0", "limit=0", "bad_parameter"},
		{"limit 201", "limit=201", "bad_parameter"},
		{"limit text", "limit=x", "bad_parameter"},
		{"limit with a sign", "limit=%2B5", "bad_parameter"},
		{"limit twice", "limit=5&limit=6", "bad_parameter"},
		{"unknown parameter", "offset=5", "bad_parameter"},
		{"case variant", "Limit=5", "bad_parameter"},
		{"archived", "archived=yes", "bad_parameter"},
		{"no UTF-8", "q=%ff", "bad_parameter"},
		{"unknown sort", "sort=nothing", "unknown_field"},
		{"sort by text", "sort=description", "bad_parameter"},
		{"sort twice", "sort=title,-title", "bad_parameter"},
		{"sort by nothing", "sort=title,", "unknown_field"},
		{"sort case variant", "sort=Title", "unknown_field"},
		{"filter of one word", "filter=" + url.QueryEscape("title"), "bad_parameter"},
		{"no comparison", "filter=" + url.QueryEscape("title = a"), "bad_parameter"},
		{"no value", "filter=" + url.QueryEscape("title eq"), "bad_parameter"},
		{"no join", "filter=" + url.QueryEscape("title eq a title eq b"), "bad_parameter"},
		{"or", "filter=" + url.QueryEscape("title eq a or title eq b"), "bad_parameter"},
		{"dangling and", "filter=" + url.QueryEscape("title eq a and"), "bad_parameter"},
		{"open quote", "filter=" + url.QueryEscape(`title eq "a`), "bad_parameter"},
		{"bad escape", "filter=" + url.QueryEscape(`title eq "\n"`), "bad_parameter"},
		{"open list", "filter=" + url.QueryEscape("kind in (repair"), "bad_parameter"},
		{"empty list", "filter=" + url.QueryEscape("kind in ()"), "bad_parameter"},
		{"no list", "filter=" + url.QueryEscape("kind in repair"), "bad_parameter"},
		{"unknown field", "filter=" + url.QueryEscape("nothing eq a"), "unknown_field"},
		{"unknown choice", "filter=" + url.QueryEscape("status eq Nope"), "bad_parameter"},
		{"order of references", "filter=" + url.QueryEscape("client lt client-acme"), "bad_parameter"},
		{"contains on a choice", "filter=" + url.QueryEscape("kind contains rep"), "bad_parameter"},
		{"time that is none", "filter=" + url.QueryEscape("due lt soon"), "bad_parameter"},
		{"too many conditions", "filter=" + url.QueryEscape(many), "bad_parameter"},
		{"too long", "filter=" + url.QueryEscape("title eq "+strings.Repeat("a", 4000)), "bad_parameter"},
		{"search too long", "q=" + strings.Repeat("a", 201), "bad_parameter"},
		{"search of too many words", "q=" + strings.Repeat("a+", 11), "bad_parameter"},
		{"cursor of nothing", "cursor=abc", "bad_parameter"},
		{"cursor too long", "cursor=" + strings.Repeat("a", 5000), "bad_parameter"},
		{"cursor changed", "limit=1&sort=title&cursor=" + string(changed), "bad_parameter"},
		{"cursor of another sort", "limit=1&sort=-title&cursor=" + cursor, "bad_parameter"},
		{"cursor of another filter", "limit=1&sort=title&filter=title+null+false&cursor=" + cursor, "bad_parameter"},
		{"cursor of another search", "limit=1&sort=title&q=mend&cursor=" + cursor, "bad_parameter"},
		{"cursor of another mode", "limit=1&sort=title&archived=true&cursor=" + cursor, "bad_parameter"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.HTTP(testworld.Manager, "GET", "/v1/service/jobs?"+c.query, nil).Want(t, 400, c.code)
		})
	}
	w.HTTP(testworld.Manager, "GET", "/v1/service/jobs?limit=1&sort=title&cursor="+cursor, nil).Want(t, 200, "")
	// Of another person, another type, another parent.
	w.HTTP(testworld.SvcAdmin, "GET", "/v1/service/jobs?limit=1&sort=title&cursor="+cursor, nil).Want(t, 400, "bad_parameter")
	w.HTTP(testworld.Manager, "GET", "/v1/service/job-activities?limit=1&sort=title&cursor="+cursor, nil).Want(t, 400, "bad_parameter")
	w.HTTP(testworld.Manager, "GET", "/v1/service/customers/client-acme/jobs?limit=1&sort=title&cursor="+cursor, nil).Want(t, 400, "bad_parameter")

	// A field that the person sees in no record is refused as one that does
	// not exist, but for its name.
	for _, param := range []string{"filter", "sort"} {
		ask := func(field string) string {
			v := field
			if param == "filter" {
				v += " null"
			}
			res := w.HTTP(testworld.Manager, "GET", "/v1/service/customers?"+param+"="+url.QueryEscape(v), nil).Want(t, 400, "unknown_field")
			return strings.ReplaceAll(string(res.Body), field, "F")
		}
		if a, b := ask("website"), ask("nothing"); a != b {
			t.Errorf("%s / %s", a, b)
		}
	}
	for _, c := range []struct{ path, code string }{
		{"/v1/explain?action=view&type=nothing&id=job-acme-1", "bad_parameter"},
		{"/v1/explain?action=fly&type=job&id=job-acme-1", "bad_parameter"},
		{"/v1/explain?action=view&type=job", "bad_parameter"},
		{"/v1/explain?action=view&type=job&id=job-acme-1&principal=emp-basic", "bad_parameter"},
		{"/v1/me?x=1", "bad_parameter"},
	} {
		w.HTTP(testworld.Manager, "GET", c.path, nil).Want(t, 400, c.code)
	}
}
