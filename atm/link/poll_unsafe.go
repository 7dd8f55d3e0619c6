package link

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// These do not tell the scheduler, as they never wait. Package unix would come to the same calls by two functions more, which show where a socket is looked at again and again.

// receiveDatagram takes a datagram from a socket that is connected.
func receiveDatagram(fd int, b []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

// sendDatagram sends one.
func sendDatagram(fd int, b []byte) syscall.Errno {
	_, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	return errno
}
