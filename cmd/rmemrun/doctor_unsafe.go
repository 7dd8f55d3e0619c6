package main

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// seccompActionAvailable asks whether a filter may return the action; 0 if so.
func seccompActionAvailable(action *uint32) syscall.Errno {
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(action)))
	return errno
}

// addressOf is the address of a slice's bytes, as another process would name it.
func addressOf(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }
