package ring

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A Bell is a futex that the agent sleeps on, and that any guest can wake it by, which maps it read-only:
//
//	guest                                        agent
//	publish a request                            attended = 0
//	                                             Barrier
//	attended? done: it will be seen              a request? attended = 1, serve it
//	until somebody was woken, or                 Sleep, unless the bell has been changed
//	attended, or the head has moved: wake
//
// What the guest stores and then loads, the processor may do in the other order; then both would see nothing. The barrier of the agent is one for
// all processors that run guests, as if each had a fence at that moment, so that the guests, who go this way far more often, need none.
//
// A guest's wake that comes just before the agent sleeps wakes nobody, which the guest is told, and tries again.
type Bell struct {
	file *file
	word *uint32
}

// NewBell makes a bell.
func NewBell() (*Bell, error) {
	f, err := newFile(page)
	if err != nil {
		return nil, err
	}
	return &Bell{f, wordAt(f.memory)}, nil
}

// File is the file to be mapped into guests, read-only, and its length. The bell is at its beginning.
func (b *Bell) File() (fd int, length uint64) { return b.file.fd, uint64(len(b.file.memory)) }

// Changes is how often Ring was called. To be asked before one looks for work.
func (b *Bell) Changes() uint32 { return atomic.LoadUint32(b.word) }

// Sleep sleeps until a guest wakes us, or Ring is called, unless that has happened since changes.
func (b *Bell) Sleep(changes uint32) { sleep(b.word, changes) }

// Ring wakes the agent, or keeps it from sleeping.
func (b *Bell) Ring() {
	atomic.AddUint32(b.word, 1)
	wake(b.word)
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
