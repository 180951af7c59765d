package main

import (
	"bufio"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"satchel/server/push"
	"satchel/server/push/fcm"
)

func TestFCMEmulatorCommand(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	cmd := fcmCommand()
	cmd.SetOut(w)
	cmd.SetArgs([]string{"--listen", "127.0.0.1:0"})
	done := make(chan error, 1)
	go func() { done <- cmd.ExecuteContext(ctx) }()
	in := bufio.NewScanner(r)
	if !in.Scan() {
		t.Fatal("no first line")
	}
	base, ok := strings.CutPrefix(in.Text(), "listening on ")
	if !ok {
		t.Fatalf("first line %q", in.Text())
	}
	s, err := fcm.New(ctx, fcm.Config{Project: "demo", Endpoint: base, Random: rand.Float64})
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1)
	go func() {
		in.Scan()
		lines <- in.Text()
		_, _ = io.Copy(io.Discard, r)
	}()
	out := s.Send(ctx, []fcm.Message{{Token: "phone-of-someone-far-away", Category: "work", Key: "1", CollapseKey: "jobs", TTL: time.Hour, High: true, Visible: true}})
	if out[0].Kind != push.Sent {
		t.Fatalf("%+v", out)
	}
	line := <-lines
	for _, want := range []string{"200 delivered", "phone-of-som…", "jobs", "high", "visible", `"s":"1"`} {
		if !strings.Contains(line, want) {
			t.Errorf("%q lacks %q", line, want)
		}
	}
	if strings.Contains(line, "far-away") {
		t.Errorf("%q has the whole token", line)
	}
	resp, err := http.Get(base + "/emulator/tokens/phone-of-someone-far-away")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if !strings.Contains(string(b), fcm.ID("1")) {
		t.Errorf("the token's page lacks the message: %s", b)
	}
	s.Close()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestFCMEmulatorRefusesBadFlags(t *testing.T) {
	for _, args := range [][]string{{"--latency", "-1s"}, {"--listen", "nowhere:99999"}, {"extra"}} {
		cmd := fcmCommand()
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetArgs(args)
		if err := cmd.ExecuteContext(t.Context()); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
}
