//go:build unix

package main

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup has cmd run in a process group of its own, so that it can be ended
// together with what it starts.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// endGroup asks the group to end.
func endGroup(leader *os.Process) error { return syscall.Kill(-leader.Pid, syscall.SIGTERM) }

// killGroup ends what is left of the group. There is mostly nothing.
func killGroup(leader *os.Process) { _ = syscall.Kill(-leader.Pid, syscall.SIGKILL) }
