package badinput

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"satchel/internal/entity"
	"satchel/sync/state"
	"satchel/sync/tenant"
)

// told are the types whose records a refusal may make or touch: what a person
// is told of it, what is kept to be settled, and when a device was last heard.
var told = map[string]bool{"notification": true, "conflict": true, "device": true}

// business names the records of all types but those that tell of refusals.
func (w *world) business() map[string]string {
	w.t.Helper()
	out := map[string]string{}
	err := w.Tenant.Read(func(v *tenant.View) error {
		for _, t := range w.Cat.Types {
			if told[t.Name] {
				continue
			}
			h := sha256.New()
			for o := range v.Index(state.TypeKey(t.No)).All() {
				b := v.Bytes(o)
				h.Write(lengths(nil, b))
				h.Write(b)
			}
			out[t.Name] = hex.EncodeToString(h.Sum(nil))
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// mutations are the members, beside n and at, of offline work that can't be
// done.
func mutations(cat *entity.Catalogue, prefix string) (out []string) {
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, op := range []string{``, `"op":1`, `"op":null`, `"op":"PATCH"`, `"op":"upsert"`, `"op":["patch"]`, `"op":"patch\u0000"`} {
		add(`%s`, strings.Trim(op+`,"type":"job","id":"job-acme-1","fields":{},"was":{}`, ","))
	}
	for _, typ := range []string{`1`, `null`, `""`, `"Job"`, `"nothing"`, `"job\u0000"`, `[]`} {
		add(`"op":"patch","type":%s,"id":"job-acme-1","fields":{"title":"x"},"was":{}`, typ)
		add(`"op":"create","type":%s,"id":"%snew1","fields":{}`, typ, prefix)
		add(`"op":"delete","type":%s,"id":"job-acme-1"`, typ)
		add(`"op":"action","type":%s,"id":"job-acme-1","action":"cancel"`, typ)
	}
	for _, id := range []string{`1`, `null`, `""`, `"x"`, `"../../etc/passwd"`, `"JOB-ACME-1"`, `"job-acme-1\u0000"`, `"job-blue-1"`, `"no-such-record-1"`, `[]`, `"` + strings.Repeat("a", 41) + `"`, `"\ud83d\ude00aaaaaaaa"`} {
		add(`"op":"create","type":"job","id":%s,"fields":{"client":"client-acme","title":"x"}`, id)
		if id != `"job-blue-1"` {
			add(`"op":"patch","type":"job","id":%s,"fields":{"title":"x"},"was":{"title":"y"}`, id)
			add(`"op":"delete","type":"job","id":%s`, id)
			add(`"op":"action","type":"job","id":%s,"action":"cancel"`, id)
		}
	}
	for _, f := range []string{`1`, `[]`, `"x"`, `{"title":1}`, `{"TITLE":"x"}`, `{"no such field":1}`, `{"rev":"x"}`, `{"id":"x"}`, `{"clientId":"client-blue"}`, `{"status":"Closed"}`, `{"title":null}`, `{"client":"client-blue"}`} {
		add(`"op":"patch","type":"job","id":"job-acme-1","fields":%s,"was":{"title":"x","client":"client-acme"}`, f)
		add(`"op":"create","type":"job","id":"%snew2","fields":%s`, prefix, f)
	}
	for _, was := range []string{`1`, `[]`, `"x"`} {
		add(`"op":"patch","type":"job","id":"job-acme-1","fields":{"title":"x"},"was":%s`, was)
	}
	add(`"op":"patch","type":"job","id":"job-acme-1","fields":{"title":"x"}`)
	for _, a := range []string{`1`, `null`, `""`, `"explode"`, `"CANCEL"`, `["cancel"]`} {
		add(`"op":"action","type":"job","id":"job-acme-1","action":%s`, a)
	}
	for _, a := range []string{`1`, `[]`, `{"no such argument":1}`, `{"cancelReason":1}`} {
		add(`"op":"action","type":"job","id":"job-acme-1","action":"cancel","args":%s`, a)
	}
	for _, after := range []string{`1`, `"1"`, `[0.5]`, `["1"]`, `[-1]`, `[{}]`, `[18446744073709551616]`, `{}`} {
		add(`"op":"patch","type":"job","id":"job-acme-1","fields":{"title":"x"},"was":{"title":"y"},"after":%s`, after)
	}
	add(`"op":"patch","type":"job","id":"job-acme-1","fields":{"title":"x"},"was":{"title":"y"},"no such member":1`)
	add(`"op":"patch","type":"job","id":"job-acme-1","fields":{"title":"x"},"was":{"title":"y"},"Fields":{}`)
	add(`"op":"patch","type":"job","id":"job-acme-1","fields":{"description":"%s"},"was":{}`, strings.Repeat("x", 170<<10))
	// Every field of every type, made of something it does not take.
	for _, t := range cat.Types {
		for i, f := range t.Fields {
			for k, v := range wrongs(f) {
				if v.code == badValue && k%7 == i%7 && len(v.raw) < 2000 {
					add(`"op":"create","type":%s,"id":"%snew3","fields":{%s:%s}`, quote(t.Name), prefix, quote(f.Name), v.raw)
				}
			}
		}
	}
	return out
}

// TestBadMutations pushes offline work that can't be done: each is refused
// alone under its number, with a documented code, and no record is any other
// than before.
func TestBadMutations(t *testing.T) {
	w := newWorld(t)
	served := w.served()
	prefix := w.Prefix(super, "phone-1")
	list := mutations(w.Cat, prefix)
	before := w.business()
	const at = `"at":"2026-03-02T10:00:00Z"`
	times := []string{`"at":1`, `"at":"yesterday"`, `"at":null`, `"at":"1026-01-01T00:00:00Z"`, `"at":"2026-02-30T00:00:00Z"`}
	var all []string
	for _, m := range list {
		all = append(all, m+","+at)
	}
	for _, when := range append(times, ``) {
		all = append(all, strings.TrimSuffix(`"op":"patch","type":"job","id":"job-acme-1","fields":{"title":"x"},"was":{"title":"Mend boiler of acme"},`+when, ","))
	}
	type result struct {
		N            int
		Status, Code string
	}
	push := func(first int, members []string) (out []result) {
		t.Helper()
		var b strings.Builder
		fmt.Fprintf(&b, `{"acked":%d,"now":"2026-03-02T10:00:00Z","mutations":[`, first-1)
		for i, m := range members {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `{"n":%d,%s}`, first+i, m)
		}
		a, err := w.send(&request{method: "POST", path: "/sync/v1/push", body: []byte(b.String() + "]}"), token: w.device})
		if err != nil || a.status != 200 {
			t.Fatalf("a push of %d: %v %d %.300s", len(members), err, a.status, a.body)
		}
		var got struct{ Results []result }
		if err := json.Unmarshal(a.body, &got); err != nil {
			t.Fatal(err)
		}
		return got.Results
	}
	n := 1
	for len(all) > 0 {
		some := all[:min(100, len(all))]
		all = all[len(some):]
		results := push(n, some)
		if len(results) != len(some) {
			t.Fatalf("%d answers to %d mutations", len(results), len(some))
		}
		for i, r := range results {
			if r.N != n+i || r.Status != "refused" && r.Status != "conflict" || r.Status == "refused" && !served[r.Code] || r.Code == "internal_error" {
				t.Errorf("%.300s: %+v", some[i], r)
			}
		}
		n += len(some)
	}
	if n < 400 {
		t.Errorf("only %d mutations", n)
	}
	if diff := differences(before, w.business()); len(diff) > 0 {
		t.Errorf("changed: %v", diff)
	}
	// The control: one that can be done is, and is seen.
	r := push(n, []string{`"op":"patch","type":"job","id":"job-corp-1","fields":{"title":"x"},"was":{"title":"Mend boiler of corp"},` + at})
	if len(r) != 1 || r[0].Status != "applied" {
		t.Fatalf("a good one: %+v", r)
	}
	if diff := differences(before, w.business()); len(diff) == 0 || diff[0] != "job" {
		t.Errorf("a good one changed %v", diff)
	}
	// What was kept can be looked at, whatever it was.
	for _, path := range []string{"/v1/admin/quarantine?limit=200", "/v1/admin/quarantine:export", "/v1/me/refused"} {
		if a, err := w.send(&request{method: "GET", path: path, token: w.token}); err != nil || a.status != 200 || !strings.HasSuffix(path, "export") && !json.Valid(a.body) {
			t.Errorf("%s: %v %d %.300s", path, err, a.status, a.body)
		}
	}
	t.Logf("%d mutations", n)
}
