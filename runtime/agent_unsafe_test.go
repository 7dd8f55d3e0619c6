package runtime

import (
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapped maps a file, as a guest has it mapped.
func mapped(t *testing.T, fd int, length uint64) []byte {
	t.Helper()
	m, err := unix.Mmap(fd, 0, int(length), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(m) })
	return m
}

func wordOf(m []byte, off int) *uint32 { return (*uint32)(unsafe.Pointer(&m[off])) }
func longOf(m []byte, off int) *uint64 { return (*uint64)(unsafe.Pointer(&m[off])) }

// futexWoke wakes one who sleeps on the word, and returns how many it were.
func futexWoke(word *uint32) int {
	n, _, _ := unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), 1, 1, 0, 0, 0)
	return int(n)
}

func selfPID() int { return os.Getpid() }
