package ring

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A Bell is a futex that the agent sleeps on, and that any guest can wake it by, which maps it read-only. Its lowest bit says that the agent sleeps, or is about
// to:
//
//	guest                                      agent
//	publish a request                          attended = 0; Doze: the bit is set
//	attended? done: it will be seen            Barrier, if a ring was attended
//	fence                                      look at all rings: something? Wake, serve it
//	the bit is clear? done: it will be seen    Sleep, unless Ring was called since Doze
//	until somebody was woken: wake             Wake: the bit is clear
//
// Each side stores and then loads, which a processor may do in the other order; then neither would see what the other has done. A guest whose
// ring is attended has no fence in between, as it goes that way far more often than the agent sleeps. For it, the agent has a barrier on all
// processors that run guests, as if each had a fence at that moment.
//
// A guest's wake that comes after the agent's last look and before it sleeps wakes nobody, which the guest is told, and tries again.
type Bell struct {
	file *file
	word *uint32
}

// The word of a bell: the agent sleeps, or is about to; and how often Ring was called.
const (
	sleeps = 1
	rung   = 2
)

// NewBell makes a bell.
func NewBell() (*Bell, error) {
	f, err := newFile("bell", page)
	if err != nil {
		return nil, err
	}
	return &Bell{f, wordAt(f.memory)}, nil
}

// File is the file to be mapped into guests, read-only, and its length. The bell is at its beginning.
func (b *Bell) File() (fd int, length uint64) { return b.file.fd, uint64(len(b.file.memory)) }

// Doze says to the guests that they have to ring, and returns what Sleep is to be given. It is a fence.
func (b *Bell) Doze() uint32 { return atomic.OrUint32(b.word, sleeps) | sleeps }

// Sleep sleeps until a guest wakes us, or Ring is called, unless that has happened since Doze; or for the time d, if that is not 0.
func (b *Bell) Sleep(dozed uint32, d time.Duration) { sleep(b.word, dozed, d) }

// Wake says to the guests that they need not ring.
func (b *Bell) Wake() { atomic.AndUint32(b.word, ^uint32(sleeps)) }

// Ring wakes the agent, or keeps it from sleeping.
func (b *Bell) Ring() {
	atomic.AddUint32(b.word, rung)
	wake(b.word)
}

// Call wakes the agent if it sleeps, or is about to. What it is to see was stored before, atomically.
func (b *Bell) Call() {
	if atomic.LoadUint32(b.word)&sleeps != 0 {
		b.Ring()
	}
}

// Close gives up the bell.
func (b *Bell) Close() { b.file.close() }

// Barrier is a full memory barrier on all processors that run threads of processes that are registered for it, and here: membarrier(2),
// MEMBARRIER_CMD_GLOBAL_EXPEDITED. The error says that the kernel has none.
func Barrier() error {
	_, _, errno := unix.RawSyscall(unix.SYS_MEMBARRIER, membarrierGlobalExpedited, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

const membarrierGlobalExpedited = 1 << 1 // enum membarrier_cmd of linux/membarrier.h
