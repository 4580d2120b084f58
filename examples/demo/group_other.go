//go:build !unix

package main

import (
	"os"
	"os/exec"
)

// Without process groups only the program itself is ended.

func ownGroup(*exec.Cmd) {}

func endGroup(leader *os.Process) error { return leader.Kill() }

func killGroup(*os.Process) {}
