package ring

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rmemrun/atm"
)

// What is laid over shared memory, and the system calls that take an address of it. The mappings are whole pages, and
// of the size of what they are seen as.

const (
	requestsSize = unsafe.Sizeof(requests{})
	repliesSize  = unsafe.Sizeof(replies{})
	boardSize    = unsafe.Sizeof(board{})
	stagingSize  = unsafe.Sizeof(staging{})
)

func requestsAt(memory []byte, i int) *requests {
	return (*requests)(unsafe.Pointer(unsafe.SliceData(memory[uintptr(i)*requestsSize:][:requestsSize])))
}

func repliesAt(memory []byte, i int) *replies {
	return (*replies)(unsafe.Pointer(unsafe.SliceData(memory[uintptr(i)*repliesSize:][:repliesSize])))
}

func boardAt(memory []byte) *board {
	return (*board)(unsafe.Pointer(unsafe.SliceData(memory[:boardSize])))
}

func stagingAt(memory []byte) *staging {
	return (*staging)(unsafe.Pointer(unsafe.SliceData(memory[:stagingSize])))
}

// aligned is a slot as package atm has it.
func (s *slot) aligned() *atm.Aligned { return (*atm.Aligned)(unsafe.Pointer(s)) }

func wordAt(memory []byte) *uint32 { return (*uint32)(unsafe.Pointer(unsafe.SliceData(memory[:4]))) }

const (
	futexWait = 0
	futexWake = 1
)

// sleep sleeps until the word is woken, unless it is not value; or for the time d, if that is not 0. The scheduler is told, so that the collector
// does not wait for who sleeps.
func sleep(word *uint32, value uint32, d time.Duration) {
	t := unix.NsecToTimespec(int64(d))
	limit := &t
	if d == 0 {
		limit = nil
	}
	_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWait, uintptr(value), uintptr(unsafe.Pointer(limit)), 0, 0)
}

// wake wakes all who sleep on the word.
func wake(word *uint32) {
	_, _, _ = unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWake, 1<<31-1, 0, 0, 0)
}
