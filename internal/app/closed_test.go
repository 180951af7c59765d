package app

import (
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

// TestClosedTenants: operators are told of a tenant that can't be opened by name,
// strangers without; once its file is mended it is opened when an operator asks.
func TestClosedTenants(t *testing.T) {
	a, srv := copied(t, t.TempDir())
	path := a.tenants.Path("main")
	if err := a.tenants.closeOne("main"); err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method, path string, headers ...string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(b)
	}
	if code, b := ask("GET", "/readyz"); code != 200 || b != `{"closed":[]}`+"\n" {
		t.Errorf("%d %s", code, b)
	}
	if err := os.WriteFile(path, sound[:4096], 0o600); err != nil {
		t.Fatal(err)
	}
	if code, b := ask("POST", "/tenants/main/reopen"); code != 503 || !strings.Contains(b, "damaged") {
		t.Errorf("%d %s", code, b)
	}
	if code, b := ask("GET", "/readyz"); code != 503 || !strings.Contains(b, `"tenant":"main","why":"unopened"`) {
		t.Errorf("%d %s", code, b)
	}
	if _, b := ask("GET", "/metrics"); !strings.Contains(b, `satchel_tenant_closed{tenant="main",why="unopened"} 1`) {
		t.Error("no metric")
	}
	if code, b := ask("GET", "/backup/main"); code != 503 || !strings.Contains(b, "damaged") {
		t.Errorf("a backup of it: %d %s", code, b)
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", "/readyz", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if res, err := a.fiber.Test(req); err != nil {
		t.Error(err)
	} else if b, err := io.ReadAll(res.Body); err != nil || strings.Contains(string(b), "main") {
		t.Errorf("strangers are told: %s %v", b, err)
	}
	if err := os.WriteFile(path, sound, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, b := ask("POST", "/tenants/main/reopen", "Sec-Fetch-Site", "cross-site"); code != 403 {
		t.Errorf("from a page elsewhere: %d %s", code, b)
	}
	if code, b := ask("POST", "/tenants/main/reopen"); code != 200 || b != `{"tenant":"main"}`+"\n" {
		t.Errorf("%d %s", code, b)
	}
	if code, b := ask("GET", "/readyz"); code != 200 {
		t.Errorf("%d %s", code, b)
	}
	if code, _ := ask("POST", "/tenants/nobody/reopen"); code != 404 {
		t.Errorf("nobody: %d", code)
	}
}
