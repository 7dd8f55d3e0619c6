//go:build !(linux && amd64)

package trap

import (
	"fmt"
	"runtime"
	"syscall"
)

// NewPtrace returns an engine that cannot run guests: the ptrace engine is for
// Linux on x86-64.
func NewPtrace(Config) Engine { return unsupported{} }

// NewPatch returns an engine that cannot run guests either.
func NewPatch(Config) Engine { return unsupported{} }

type unsupported struct{}

func (unsupported) Run(c Command) (syscall.WaitStatus, error) {
	return 0, fmt.Errorf("run %s: guests run on linux/amd64 only, and this is %s/%s", c.Path, runtime.GOOS, runtime.GOARCH)
}

func (unsupported) Signal(syscall.Signal) {}

// Thread is a thread of a guest.
type Thread struct{ User any }

// TID returns the thread's id.
func (*Thread) TID() int { return 0 }

// PID returns the id of the thread's process.
func (*Thread) PID() int { return 0 }

// Wake wakes the thread.
func (*Thread) Wake() {}

// Space is an address space of a guest.
type Space struct{ User any }

// ID returns a number that no other address space of the engine had or will have.
func (*Space) ID() uint64 { return 0 }

// PID returns the id of a process that has the address space.
func (*Space) PID() int { return 0 }

// Read reads the guest's memory.
func (*Space) Read(uint64, []byte) (int, error) { return 0, ErrGone }

// Write writes the guest's memory.
func (*Space) Write(uint64, []byte) (int, error) { return 0, ErrGone }

func (*Space) readable(uint64, uint64) bool { return false }

// WritePart writes the guest's memory.
func (*Space) WritePart(uint64, []byte) (int, error) { return 0, ErrGone }

// Memory returns the guest's memory from addr on.
func (s *Space) Memory(addr uint64) *Memory { return &Memory{space: s, addr: addr} }

// Shared is guest memory that this process maps too.
type Shared struct{ Bytes []byte }

// Share maps guest memory into this process.
func (*Space) Share(addr, length uint64, write bool) (*Shared, error) { return nil, ErrGone }

// Addr returns the address of the memory in the guest.
func (*Shared) Addr() uint64 { return 0 }

// Mapping is memory of one guest that is mapped into another.
type Mapping struct{}

// Addr returns the guest's address of the mapping.
func (*Mapping) Addr() uint64 { return 0 }

// Revoke ends the mapping.
func (*Mapping) Revoke(done func()) { done() }

// Map maps what another guest shares.
func (*Space) Map(sh *Shared, off, length uint64, write bool) (*Mapping, error) { return nil, ErrGone }

// Unmap ends Map.
func (*Space) Unmap(*Mapping) {}

// Blank makes accesses to the mapping fail.
func (*Space) Blank(*Mapping) {}

// MapFile maps a file of this process into the guest.
func (*Space) MapFile(fd int, off int64, length uint64, write bool) (uint64, error) {
	return 0, ErrGone
}

// UnmapFile ends what MapFile did.
func (*Space) UnmapFile(addr, length uint64) {}

// Settle returns when no thread of the address space is inside a stub.
func (*Space) Settle() {}

// Unshare ends Share.
func (*Space) Unshare(*Shared) {}
