package app_test

import (
	"context"
	"io"
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
		case <-time.After(time.Minute):
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

// TestEndsBesideSilentConnections: a connection that has sent nothing, or half of
// a request, does not keep a server from ending in good order.
func TestEndsBesideSilentConnections(t *testing.T) {
	a, err := app.New(app.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := a.Listen(ctx); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	for _, sent := range []string{"", "GET /healthz HTT", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"} {
		c, err := net.Dial("tcp", a.Address())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, sent); err != nil {
			t.Fatal(err)
		}
		if len(sent) > 20 {
			// It is answered, so the ones before it were taken in.
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("still running")
	}
}
