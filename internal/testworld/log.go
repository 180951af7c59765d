package testworld

import (
	"context"
	"log/slog"
	"strings"
	"testing"
)

// ErrorLog returns a logger by which whatever a server logs as an error fails
// the test, with all that stands beside it.
func ErrorLog(t testing.TB) *slog.Logger { return slog.New(failures{slog.DiscardHandler, t}) }

type failures struct {
	slog.Handler
	t testing.TB
}

func (f failures) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelError }

func (f failures) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	r.Attrs(func(a slog.Attr) bool { b.WriteString(a.String() + "\n"); return true })
	f.t.Errorf("server logged: %s\n%s", r.Message, b.String())
	return nil
}
