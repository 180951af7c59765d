package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"

	"satchel/mobile-api/client"
	"satchel/sync/wire"
)

// A phone signs in, fetches what its user may see, and works on it.
func Example() {
	srv := httptest.NewServer(http.HandlerFunc(tinyServer))
	defer srv.Close()

	phone, err := client.OpenMemory(client.NewMemory(), client.Options{Server: srv.URL, Tenant: "acme"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer phone.Close()
	ctx := context.Background()
	if err := phone.Login(ctx, "ana@acme.example", "secret"); err != nil {
		fmt.Println(err)
		return
	}
	report, err := phone.Sync(ctx)
	fmt.Println(report.Records, "record,", "complete:", report.Complete, err)

	// From here on no network is needed until the next Sync.
	if err := phone.Patch("jobActivity", "activity1", map[string]any{"note": "gate code 4711"}); err != nil {
		fmt.Println(err)
	}
	activities, err := phone.List("jobActivity", client.Root)
	for _, a := range activities {
		fmt.Println(a.Text("title"), "-", a.Text("note"), "- pending:", a.Pending, err)
	}
	// Output:
	// 1 record, complete: true <nil>
	// Replace pump - gate code 4711 - pending: true <nil>
}

// tinyServer knows one record and takes nothing.
func tinyServer(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/v1/auth/login":
		fmt.Fprint(w, `{"accessToken":"a","refreshToken":"r","expiresIn":900,"user":{"id":"ana"},"device":{"id":"d1","idPrefix":"dabcdefgh"}}`)
	case "/sync/v1/pull":
		var pull wire.Pull
		_ = json.NewDecoder(r.Body).Decode(&pull)
		page := wire.Page{From: pull.Checkpoint, Checkpoint: "t1"}
		if pull.Checkpoint == "" {
			page.Records = []wire.Record{{
				Type: "jobActivity", ID: "activity1", Rev: "1",
				Fields: map[string]json.RawMessage{"title": json.RawMessage(`"Replace pump"`)},
			}}
		}
		page.Complete = &wire.Types{Types: map[string]wire.Summary{
			"jobActivity": {Count: 1, Digest: "18ea72df81bd5148c307e9991799f6894aec8d21ce69b5341173c0a0b0aa38f2"},
		}}
		_ = json.NewEncoder(w).Encode(page)
	}
}
