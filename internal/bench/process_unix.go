//go:build unix

package bench

import (
	"os/exec"
	"syscall"
)

// ownGroup keeps the signals of the terminal from a server: the benchmark
// stops it in its turn.
func ownGroup(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
