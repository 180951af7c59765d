package app

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/server/blob"
	"satchel/server/rest"
	"satchel/sync/tenant"
)

// OperatorHeader says who an operator is who asks for something on the admin
// listener: the account on the operator's machine, as the command line sends it.
const OperatorHeader = "X-Satchel-Operator"

// actTime bounds how long an operator's request waits for its row in the trail.
const actTime = 10 * time.Second

// acted leaves a row in the tenant's audit trail of what an operator asks for on
// the admin listener. A tenant that can't be written to can be copied all the
// same: that it was is logged then.
func (a *App) acted(r *http.Request, t *tenant.Tenant, name string) {
	by := strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == 0xfffd {
			return -1
		}
		return c
	}, r.Header.Get(OperatorHeader))
	if len(by) > 64 {
		by = ""
	}
	by = cmp.Or(by, "somebody on the admin listener")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), actTime)
	defer cancel()
	if _, err := t.Submit(ctx, &command.Command{Act: &command.Act{Name: name, By: by}}); err != nil {
		a.cfg.Log.Warn("an operator's act is not in the audit trail",
			slog.String("tenant", string(t.ID())), slog.String("act", name), slog.String("error", err.Error()))
	}
}

// contentOf opens the content of documents.
func contentOf(from blob.Store) rest.OpenContent {
	return func(ctx context.Context, t ident.TenantID, digest string) (io.ReadCloser, error) {
		return from.Open(ctx, t, blob.Key(digest), 0, -1)
	}
}
