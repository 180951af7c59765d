//go:build !unix

package bench

import (
	"os/exec"
	"time"
)

// ownGroup keeps the signals of the terminal from a server, where the
// platform knows groups of processes.
func ownGroup(*exec.Cmd) {}

// killGroup ends a process.
func killGroup(c *exec.Cmd) { _ = c.Process.Kill() }

// processorTime is what this process has used of the processors: not known
// here.
func processorTime() time.Duration { return 0 }
