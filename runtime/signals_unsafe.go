package runtime

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A disposition is what happens on a signal: a struct sigaction, as the kernel has it, or more than that.
type disposition [8]uint64

// setDefault makes a signal do what it does by default and returns what it did before. The package os/signal cannot: after
// Reset, Go's own handler is still there and ignores SIGTSTP.
func setDefault(sig syscall.Signal) *disposition {
	var byDefault, old disposition
	_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&byDefault)), uintptr(unsafe.Pointer(&old)), sigsetSize, 0, 0)
	return &old
}

// restore makes the signal do again what it did.
func (d *disposition) restore(sig syscall.Signal) {
	_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(d)), 0, sigsetSize, 0, 0)
}

// sigsetSize is the size in bytes of the kernel's signal sets.
const sigsetSize = 8
