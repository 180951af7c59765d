package mail

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"satchel/server/push"
)

// TestRelayRefusesEverybody: a refusal is believed of an address once it is said
// again while others' mail is taken, or often enough; where several addresses in a
// row are refused alike it is the relay's trouble, which costs no address anything
// and is logged once.
func TestRelayRefusesEverybody(t *testing.T) {
	type step struct {
		to      string
		attempt int
		want    string // reason, "" for taken
	}
	for name, x := range map[string]struct {
		steps []step
		logs  int
	}{
		"said again, others are taken": {steps: []step{
			{"ann", 0, ""}, {"unknown", 0, ReasonUnconfirmed}, {"ann", 0, ""}, {"unknown", 1, ReasonAddressRefused},
		}},
		"nothing taken in between": {steps: []step{
			{"ann", 0, ""}, {"unknown", 0, ReasonUnconfirmed}, {"unknown", 1, ReasonUnconfirmed}, {"unknown", 2, ReasonAddressRefused},
		}},
		"after a restart nothing is known of the relay": {steps: []step{
			{"unknown", 7, ReasonUnconfirmed}, {"unknown", 8, ReasonUnconfirmed}, {"unknown", 9, ReasonAddressRefused},
		}},
		"everybody, until somebody is taken": {logs: 2, steps: []step{
			{"ann", 0, ""},
			{"unknown", 0, ReasonUnconfirmed},
			{"gone", 0, ReasonUnconfirmed},
			{"left", 0, ReasonRelayRefuses},
			{"moved", 0, ReasonRelayRefuses},
			{"unknown", 1, ReasonRelayRefuses},
			{"UNKNOWN", 2, ReasonRelayRefuses},
			{"unknown", 9, ReasonRelayRefuses},
			{"ann", 1, ""},
			{"unknown", 3, ReasonAddressRefused},
			{"gone", 5, ReasonAddressRefused},
			{"left", 5, ReasonRelayRefuses},
		}},
		"different answers": {steps: []step{
			{"unknown", 0, ReasonUnconfirmed}, {"full", 0, ReasonMailboxRefused}, {"spam", 0, ReasonMessageRefused}, {"gone", 0, ReasonUnconfirmed},
		}},
		"for reasons of policy": {logs: 1, steps: []step{
			{"elsewhere", 0, ReasonRelayRefuses}, {"elsewhere", 5, ReasonRelayRefuses},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			srv := serve(t, STARTTLS)
			cfg := srv.config(STARTTLS)
			var log bytes.Buffer
			cfg.Log = slog.New(slog.NewJSONHandler(&log, nil))
			s := sender(t, cfg)
			for i, st := range x.steps {
				m := to(st.to)
				m.Attempt = st.attempt
				o := one(t, s, m)
				if o.Reason != st.want {
					t.Errorf("step %d, %s: %+v, want %q", i, st.to, o, st.want)
				}
				if retry := st.want == ReasonUnconfirmed || st.want == ReasonRelayRefuses; retry != (o.Kind == push.Retry) || retry && o.After < 2*time.Minute {
					t.Errorf("step %d, %s: %+v", i, st.to, o)
				}
				if o.Carrier != (st.want == ReasonRelayRefuses) {
					t.Errorf("step %d, %s: %+v", i, st.to, o)
				}
			}
			if n := strings.Count(log.String(), "whoever it is for"); n != x.logs || strings.Contains(log.String(), "example.org") {
				t.Errorf("%d lines, want %d: %s", n, x.logs, log.String())
			}
		})
	}
}
