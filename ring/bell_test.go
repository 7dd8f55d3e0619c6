package ring

import (
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

func TestBell(t *testing.T) {
	b, err := NewBell()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	dozed := b.Doze()
	b.Ring()
	b.Sleep(dozed, 0) // returns, as it was rung meanwhile
	b.Wake()
	b.Sleep(b.Doze(), 1) // returns, as the time is up
	if *b.word&sleeps == 0 {
		t.Error("who sleeps does not say so")
	}

	// A guest's wake leaves the word alone, and has to be repeated until somebody was woken.
	var awake atomic.Bool
	dozed = b.Doze()
	go func() {
		b.Sleep(dozed, 0)
		b.Wake()
		awake.Store(true)
	}()
	for {
		n, _, errno := unix.Syscall6(unix.SYS_FUTEX, uintptr(addressOf(b.word)), futexWake, 1, 0, 0, 0)
		if errno != 0 {
			t.Fatal(errno)
		}
		if n == 1 {
			break
		}
	}
	for !awake.Load() {
		unix.Nanosleep(&unix.Timespec{Nsec: 1000}, nil)
	}
	if *b.word&sleeps != 0 {
		t.Error("who is awake does not say so")
	}
}

func TestBarrier(t *testing.T) {
	if err := Barrier(); err != nil {
		t.Skipf("the kernel has no membarrier for other processes: %v", err)
	}
}

// A memory file of rings cannot be shortened: a guest that could would make others, and us, fail at an access.
func TestFilesAreSealed(t *testing.T) {
	p, err := NewPair()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	fd, length := p.Requests()
	for _, size := range []int64{0, int64(length) - 1, int64(length) + 4096} {
		if err := unix.Ftruncate(fd, size); err != unix.EPERM {
			t.Errorf("truncating to %d bytes: %v, want %v", size, err, unix.EPERM)
		}
	}
}
