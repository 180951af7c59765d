package rest_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/server/rest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestOpenAPIGolden makes every change of the interface a visible one.
func TestOpenAPIGolden(t *testing.T) {
	w := newWorld(t)
	var b bytes.Buffer
	if err := json.Indent(&b, w.rest.OpenAPI(), "", " "); err != nil {
		t.Fatal(err)
	}
	b.WriteByte('\n')
	path := filepath.Join("testdata", "openapi.json")
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, b.Bytes()) {
		a, b := strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")
		i := 0
		for i < min(len(a), len(b)) && a[i] == b[i] {
			i++
		}
		t.Errorf("the interface changed from line %d on; if that is meant, run with -update: %v", i+1, b[i:min(i+5, len(b))])
	}
}

var placeholder = regexp.MustCompile(`\{([^}]+)\}`)

// TestOpenAPIIsSound holds the document against the rules of OpenAPI 3.1 that
// a reader of it relies on, and against the routes and types it describes.
func TestOpenAPIIsSound(t *testing.T) {
	w := newWorld(t)
	served := w.HTTP("", "GET", "/openapi.json", nil).Want(t, 200, "")
	var doc map[string]any
	if err := json.Unmarshal(served.Body, &doc); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(served.Body, w.rest.OpenAPI()) || doc["openapi"] != "3.1.0" {
		t.Error("another document is served")
	}
	resolve := func(ref string) any {
		rest, ok := strings.CutPrefix(ref, "#/")
		if !ok {
			return nil
		}
		var at any = doc
		for part := range strings.SplitSeq(rest, "/") {
			part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
			m, ok := at.(map[string]any)
			if !ok {
				return nil
			}
			at = m[part]
		}
		return at
	}
	types := []string{"string", "integer", "number", "boolean", "array", "object", "null"}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case []any:
			for _, x := range v {
				walk(path+"/[]", x)
			}
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				if resolve(ref) == nil {
					t.Errorf("%s: %s leads nowhere", path, ref)
				}
			}
			if pattern, ok := v["pattern"].(string); ok {
				if _, err := regexp.Compile(pattern); err != nil {
					t.Errorf("%s: %v", path, err)
				}
			}
			// A schema's type, not a property named so.
			if typ, ok := v["type"].(string); ok && !strings.HasSuffix(path, "/properties") && !strings.Contains(path, "securitySchemes") && !slices.Contains(types, typ) {
				t.Errorf("%s: type %q", path, typ)
			}
			if props, ok := v["properties"].(map[string]any); ok {
				need, _ := v["required"].([]any)
				for _, n := range need {
					if props[n.(string)] == nil {
						t.Errorf("%s requires %v, which it does not have", path, n)
					}
				}
			}
			if v["type"] == "array" && v["items"] == nil && !strings.HasSuffix(path, "/properties") {
				t.Errorf("%s: a list of what?", path)
			}
			for k, x := range v {
				walk(path+"/"+k, x)
			}
		}
	}
	walk("", doc)
	components := doc["components"].(map[string]any)
	ids := map[string]bool{}
	paths := doc["paths"].(map[string]any)
	for path, raw := range paths {
		item := raw.(map[string]any)
		if item["$ref"] != nil {
			continue
		}
		for method, raw := range item {
			if method == "parameters" {
				continue
			}
			op := raw.(map[string]any)
			id, _ := op["operationId"].(string)
			if id == "" || ids[id] {
				t.Errorf("%s %s: operationId %q", method, path, id)
			}
			ids[id] = true
			if op["summary"] == nil || len(op["responses"].(map[string]any)) == 0 {
				t.Errorf("%s %s: no summary or no responses", method, path)
			}
			for status, r := range op["responses"].(map[string]any) {
				res := r.(map[string]any)
				if ref, ok := res["$ref"].(string); ok {
					res, _ = resolve(ref).(map[string]any)
				}
				if res["description"] == nil || (status != "default" && !regexp.MustCompile(`^[1-5]\d\d$`).MatchString(status)) {
					t.Errorf("%s %s: response %s", method, path, status)
				}
			}
		}
	}
	for _, r := range w.rest.Routes() {
		if r.Kind == rest.Document {
			continue
		}
		item, _ := paths[r.Path].(map[string]any)
		if ref, ok := item["$ref"].(string); ok {
			item, _ = resolve(ref).(map[string]any)
		}
		if item[strings.ToLower(r.Method)] == nil {
			t.Errorf("%s %s is not described", r.Method, r.Path)
		}
		if want := placeholder.FindAllString(r.Path, -1); len(want) > 0 && item["parameters"] == nil {
			t.Errorf("%s: no parameters for %v", r.Path, want)
		}
	}
	for _, path := range []string{"/sync/v1/pull", "/sync/v1/push", "/sync/v1/live", "/sync/v1/verify", "/sync/v1/rules", "/sync/v1/push-token", "/v1/auth/login", "/v1/auth/refresh", "/v1/auth/logout", "/healthz", "/readyz"} {
		if paths[path] == nil {
			t.Errorf("%s is not described", path)
		}
	}
	// Every field of every type, with what it may hold.
	schemas := components["schemas"].(map[string]any)
	for _, typ := range w.Cat.Types {
		name := strings.ToUpper(typ.Name[:1]) + typ.Name[1:]
		read := schemas[name].(map[string]any)["properties"].(map[string]any)
		create := schemas[name+"Create"].(map[string]any)
		change := schemas[name+"Patch"].(map[string]any)["properties"].(map[string]any)
		need, _ := create["required"].([]any)
		for _, f := range typ.Fields {
			p, _ := read[f.Name].(map[string]any)
			if p == nil {
				t.Errorf("%s.%s is not described", typ.Name, f.Name)
				continue
			}
			if f.Kind == entity.Enum && len(p["enum"].([]any)) != len(f.Values) {
				t.Errorf("%s.%s: %v", typ.Name, f.Name, p["enum"])
			}
			if (p["readOnly"] == true) != f.ReadOnly {
				t.Errorf("%s.%s: readOnly %v", typ.Name, f.Name, p["readOnly"])
			}
			inCreate := create["properties"].(map[string]any)[f.Name] != nil
			if inCreate == f.ReadOnly || slices.Contains(need, any(f.Name)) != (f.Required && !f.ReadOnly) || (change[f.Name] != nil) == (f.ReadOnly || f.Immutable) {
				t.Errorf("%s.%s: create %v, required %v, patch %v", typ.Name, f.Name, inCreate, need, change[f.Name] != nil)
			}
		}
	}
	codes := schemas["ProblemCode"].(map[string]any)["enum"].([]any)
	n := 0
	fault.Codes(func(c fault.Code, _ fault.Kind, _ string) {
		n++
		if !slices.Contains(codes, any(string(c))) {
			t.Errorf("the code %s is not described", c)
		}
	})
	if n != len(codes) {
		t.Errorf("%d codes, described %d", n, len(codes))
	}
}

// TestDocs: the page loads nothing from elsewhere, and its policy lets exactly
// its own parts run.
func TestDocs(t *testing.T) {
	w := newWorld(t)
	res := w.HTTP("", "GET", "/docs", nil).Want(t, 200, "")
	page, policy := string(res.Body), res.Header.Get("Content-Security-Policy")
	if !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") || strings.Contains(page, "{{") {
		t.Errorf("%s", res.Header.Get("Content-Type"))
	}
	for _, tag := range []string{"script", "style"} {
		m := regexp.MustCompile(`(?s)<` + tag + `>(.*?)</` + tag + `>`).FindStringSubmatch(page)
		if m == nil {
			t.Fatalf("no %s", tag)
		}
		sum := sha256.Sum256([]byte(m[1]))
		if !strings.Contains(policy, tag+"-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
			t.Errorf("the policy does not name the %s: %s", tag, policy)
		}
	}
	if regexp.MustCompile(`(?i)(src=|https?://|innerHTML|eval\(|\son\w+=")`).MatchString(page) || strings.Contains(policy, "unsafe") || !strings.Contains(policy, "default-src 'none'") {
		t.Errorf("the page or its policy lets more in: %s", policy)
	}
}
