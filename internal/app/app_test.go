package app_test

import (
	"context"
	"net"
	"testing"
	"time"

	"satchel/internal/app"
)

// A server that is told to end before it has begun to serve gives its port
// back.
func TestEndsBeforeItServes(t *testing.T) {
	for range 20 {
		a, err := app.New(app.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		if err := a.Listen(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		select {
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("still running")
		}
		l, err := net.Listen("tcp", a.Address())
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
