package courier_test

import (
	"strings"
	"testing"

	tw "satchel/internal/testworld"
)

// TestUnsubscribe: one click takes its receiver off one kind of mail, at an
// address that nobody else can make; looking at it does nothing, and warnings
// have none.
func TestUnsubscribe(t *testing.T) {
	w := newWorld(t)
	ask := func() []string {
		t.Helper()
		w.does(tw.Staff, "POST", "/v1/helpdesk/tickets/ticket-acme-3/request-update")
		w.send()
		_, ls := w.to.taken()
		var links []string
		for _, l := range ls {
			if l.To == "engineer@example.com" {
				links = append(links, l.Unsubscribe)
			}
		}
		return links
	}
	links := ask()
	if len(links) != 1 || !strings.HasPrefix(links[0], "https://satchel.example/v1/unsubscribe/") || strings.Contains(links[0], "engineer") {
		t.Fatalf("%v", links)
	}
	path := strings.TrimPrefix(links[0], "https://satchel.example")
	if res := w.HTTP("", "GET", path, nil); res.Status != 200 || !strings.Contains(string(res.Body), `method="post"`) {
		t.Errorf("%d %s", res.Status, res.Body)
	}
	if links := ask(); len(links) != 1 {
		t.Errorf("looking at the address was enough: %v", links)
	}
	for _, other := range []string{path + "A", path[:len(path)-1], "/v1/unsubscribe/x"} {
		w.HTTP("", "POST", other, nil).Want(t, 404, "not_found")
	}
	w.off.Rekey([][32]byte{{8}, {7}}) // mails of before a rotation have it still
	for range 2 {
		if res := w.HTTP("", "POST", path, nil); res.Status != 200 {
			t.Fatalf("%d %s", res.Status, res.Body)
		}
	}
	if links := ask(); len(links) != 0 {
		t.Errorf("mail goes on: %v", links)
	}
	// It is a preference like any other: the person takes it back.
	ids := w.HTTP(tw.Engineer, "GET", "/v1/me/preferences?filter=key%20contains%20notify", nil).IDs(t)
	if len(ids) != 1 {
		t.Fatalf("%v", ids)
	}
	w.does(tw.Engineer, "PATCH", "/v1/me/preferences/"+ids[0], "value", "on")
	if links := ask(); len(links) != 1 {
		t.Errorf("mail does not come back: %v", links)
	}
	// A warning can't be turned off.
	w.DeviceToken(tw.Engineer, "stolen")
	w.send()
	if _, ls := w.to.taken(); len(ls) != 1 || ls[0].Unsubscribe != "" {
		t.Errorf("%+v", ls)
	}
}
