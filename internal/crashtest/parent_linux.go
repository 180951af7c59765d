package crashtest

import (
	"os/exec"
	"syscall"
)

// endWithParent has a process killed when this one is gone, and keeps an
// interrupt at the terminal, which is meant for this one, away from it.
func endWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
