package rest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"

	"satchel/internal/command"
	"satchel/internal/ident"
)

// tablets numbers the installations that synced makes.
var tablets atomic.Uint64

// synced requires that a device of the person, one that had nothing, has the
// records of these ids when it has pulled everything, and none of those.
func synced(who ident.RecordID, has, lacks []string) step {
	return do(func(t *testing.T, w *world) {
		t.Helper()
		token := w.DeviceToken(who, fmt.Sprintf("tablet-%d", tablets.Add(1)))
		claims, err := w.Signer.Verify(token, ident.MillisOf(w.Clock()))
		if err != nil {
			t.Fatal(err)
		}
		held := map[string]bool{}
		for checkpoint, more := "", true; more; {
			got, err := w.Tenant.Pull(context.Background(), &command.Command{
				Actor: who, Session: claims.Session, Device: claims.Device, Pull: &command.Pull{Checkpoint: checkpoint},
			}, false)
			if err != nil {
				t.Errorf("%s pulls: %v", who, err)
				return
			}
			var page struct{ Records []struct{ ID string } }
			if err := json.Unmarshal(got.JSON, &page); err != nil {
				t.Fatal(err)
			}
			for _, r := range page.Records {
				held[r.ID] = true
			}
			checkpoint, more = got.Checkpoint, got.More
		}
		for _, id := range has {
			if !held[id] {
				t.Errorf("%s's device lacks %s", who, id)
			}
		}
		for _, id := range lacks {
			if held[id] {
				t.Errorf("%s's device has %s", who, id)
			}
		}
	})
}
