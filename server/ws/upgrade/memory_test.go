package upgrade

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// holdEnv makes the test binary a client: "COUNT ADDRESS".
const holdEnv = "UPGRADE_TEST_HOLD"

// holdConnections opens connections, says so and keeps them until its
// standard input ends. It is a process of its own so that the clients' memory
// is not measured with the server's.
func holdConnections(spec string) {
	count, addr, _ := strings.Cut(spec, " ")
	n, _ := strconv.Atoi(count)
	conns := make([]net.Conn, n)
	for i := range conns {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			fmt.Println(err)
			return
		}
		_, _ = io.WriteString(c, rawHandshake+"\r\n")
		r := bufio.NewReader(c)
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			fmt.Println(err, resp)
			return
		}
		// One message there and back, so that stacks have the size they get.
		_, _ = io.WriteString(c, "\x81\x82\x00\x00\x00\x00{}")
		if _, err := io.ReadFull(r, make([]byte, 4)); err != nil {
			fmt.Println(err)
			return
		}
		conns[i] = c
	}
	fmt.Println("open")
	_, _ = io.Copy(io.Discard, os.Stdin)
	for _, c := range conns {
		_ = c.Close()
	}
}

type footprint struct {
	heap, stack, resident uint64
	goroutines            int
}

func measure() footprint {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	f := footprint{heap: m.HeapInuse, stack: m.StackInuse, goroutines: runtime.NumGoroutine()}
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		var size, pages uint64
		_, _ = fmt.Sscan(string(b), &size, &pages)
		f.resident = pages * uint64(os.Getpagesize())
	}
	return f
}

// idleCost opens n connections and returns what each adds.
func idleCost(tb testing.TB, n int) (heapKB, stackKB, residentKB, goroutines float64) {
	s := start(tb, Options{}, echo)
	s.dial(tb) // what is allocated once
	eventually(tb, "the first connection", func() bool { return s.reg.Len() == 1 })
	before := measure()

	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s", holdEnv, n, s.addr))
	stop, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	defer func() {
		_ = stop.Close()
		_ = cmd.Wait()
		eventually(tb, "all are gone", func() bool { return s.reg.Len() <= 1 })
	}()
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "open\n" {
		tb.Fatalf("the client says %q", line)
	}
	eventually(tb, "all are open", func() bool { return s.reg.Len() == n+1 })
	after := measure()
	per := func(a, b uint64) float64 { return float64(int64(b)-int64(a)) / float64(n) / 1024 }
	return per(before.heap, after.heap), per(before.stack, after.stack), per(before.resident, after.resident),
		float64(after.goroutines-before.goroutines) / float64(n)
}

func TestIdleConnectionCost(t *testing.T) {
	heap, stack, resident, goroutines := idleCost(t, 1000)
	t.Logf("per idle connection: %.1f KB heap, %.1f KB stack, %.1f KB resident, %.2f goroutines", heap, stack, resident, goroutines)
	if goroutines > 2.05 {
		t.Errorf("%.2f goroutines a connection", goroutines)
	}
	if !raceEnabled && heap+stack > 20 {
		t.Errorf("%.1f KB a connection", heap+stack)
	}
}

func BenchmarkIdleConnection(b *testing.B) {
	for b.Loop() {
		heap, stack, resident, goroutines := idleCost(b, 1000)
		b.ReportMetric(heap+stack, "KB/conn")
		b.ReportMetric(resident, "residentKB/conn")
		b.ReportMetric(goroutines, "goroutines/conn")
	}
}

func BenchmarkEcho(b *testing.B) {
	s := start(b, Options{}, echo)
	ws := s.dial(b)
	frame := make([]byte, 300)
	for b.Loop() {
		if err := ws.WriteMessage(1, frame); err != nil {
			b.Fatal(err)
		}
		if _, _, err := ws.ReadMessage(); err != nil {
			b.Fatal(err)
		}
	}
}
