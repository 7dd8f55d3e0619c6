package rmem

import (
	"os"
	"sync/atomic"
	"syscall"
)

// prctlGuard is an operation of prctl that no kernel knows, "RMEM". Under rmemrun
// it returns 1.
const prctlGuard = 0x524d454d

var ready atomic.Bool

// guard makes sure that there is somebody to carry out the instructions: without
// rmemrun they would end the program by SIGILL, with no word about why.
func guard() {
	if !ready.Load() {
		first()
	}
}

func first() {
	result, _, _ := syscall.RawSyscall6(syscall.SYS_PRCTL, prctlGuard, 0, 0, 0, 0, 0)
	if result == 1 {
		ready.Store(true)
		return
	}
	program := os.Args[0]
	os.Stderr.WriteString(program + ": uses remote-memory instructions; run it as: rmemrun -n N " + program + " ...\n")
	os.Exit(126)
}
