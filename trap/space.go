//go:build linux && amd64

package trap

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

var pageSize = uint64(os.Getpagesize())

// Space is one address space of a guest: of a process, or of several after vfork
// or clone with CLONE_VM. A fork makes a new one, and so does executing a program.
type Space struct {
	User any // the handler's

	engine   *engine
	id       uint64
	threads  map[*Thread]struct{}
	reader   atomic.Int32 // a living thread, for access to the memory
	sites    map[uint64]*site
	foothold *foothold
	ready    bool // our instructions can be carried out here
	dead     bool // no thread is left

	unreadable bool // its code could not be read, which was said

	extents []*extent // memory that is shared with this process, by address
	own     windows   // the same, for whoever copies

	// Instructions that were replaced, or are to be left alone, by address; and the
	// stubs that carry them out.
	patches map[uint64]*patch
	regions []*region
	board   uint64 // where the stubs look for their rings; in a child, before it is boarded, where its parent's is
	boarded bool   // it is there
	apart   uint64 // where the next mapping of ours goes, if it may be anywhere; 0: none is there yet
	retired bool   // no further instruction is replaced, and the stubs leave all to the trap

	views  []*Mapping // memory of others that is mapped here, blank ones too
	doomed []*Mapping // those that are to be blank before a thread runs
}

func (e *engine) newSpace() *Space {
	e.spaces++
	return &Space{engine: e, id: e.spaces, threads: map[*Thread]struct{}{}, sites: map[uint64]*site{}, patches: map[uint64]*patch{}}
}

// inherit takes over what a fork leaves in a child's address space.
func (s *Space) inherit(parent *Space) {
	s.ready, s.foothold = parent.ready, parent.foothold
	if s.foothold != nil {
		s.foothold.users++
	}
	s.inheritPatches(parent)
}

func (s *Space) enter(t *Thread) {
	s.threads[t] = struct{}{}
	s.chooseReader()
	if s.boarded && len(s.threads) == 2 {
		s.engine.patcher.Threaded(s)
	}
}

// chooseReader makes sure that the reader is a thread that is not about to end: a
// leader that has ended stays for as long as its process, but without memory.
func (s *Space) chooseReader() {
	now := int(s.reader.Load())
	for t := range s.threads {
		if t.tid == now && !t.exiting {
			return
		}
	}
	for t := range s.threads {
		if !t.exiting {
			s.reader.Store(int32(t.tid))
			return
		}
	}
}

// free gives back what is held for an address space that has ended.
func (s *Space) free() {
	if s.foothold != nil {
		s.foothold.drop()
		s.foothold = nil
	}
	for _, x := range s.extents {
		x.file.drop()
	}
	s.extents = nil
	s.own.close()
	for _, r := range s.regions {
		r.drop()
	}
	s.regions = nil
}

// ID returns a number that no other address space of the engine had or will have.
func (s *Space) ID() uint64 { return s.id }

// PID returns the id of a thread that has the address space.
func (s *Space) PID() int { return int(s.reader.Load()) }

// Memory returns the guest's memory from addr on.
func (s *Space) Memory(addr uint64) *Memory { return &Memory{space: s, addr: addr} }

// Read fills p from the guest's memory at addr. It returns how much it could
// read, and an error if that is not all. Safe from any goroutine.
func (s *Space) Read(addr uint64, p []byte) (int, error) {
	if s.own.copy(false, addr, p) {
		return len(p), nil
	}
	return s.copy("read", unix.SYS_PROCESS_VM_READV, addr, p)
}

// readable is Memory.Readable.
func (s *Space) readable(addr, n uint64) bool { return s.own.readable(addr, n) }

// Write writes p to the guest's memory at addr, or nothing, and an error says why
// not. Safe from any goroutine.
//
// The kernel writes the pages before the first one that it cannot. So what is there is read before, and put
// back if that happens. To try each page instead costs two system calls a page, and more than reading them all.
func (s *Space) Write(addr uint64, p []byte) (int, error) {
	if addr%pageSize+uint64(len(p)) <= pageSize {
		return s.WritePart(addr, p)
	}
	if s.own.copy(true, addr, p) {
		return len(p), nil
	}
	old := newBackup(len(p))
	defer freeBackup(old)
	if _, err := s.Read(addr, *old); err != nil {
		return 0, err
	}
	n, err := s.WritePart(addr, p)
	if err != nil && n > 0 {
		_, _ = s.WritePart(addr, (*old)[:n])
		n = 0
	}
	return n, err
}

// WritePart writes as much of p to the guest's memory at addr as can be written, from the beginning. It returns how much that is, and an error if it is not
// all. Safe from any goroutine.
func (s *Space) WritePart(addr uint64, p []byte) (int, error) {
	if s.own.copy(true, addr, p) {
		return len(p), nil
	}
	return s.copy("write", unix.SYS_PROCESS_VM_WRITEV, addr, p)
}

// backups holds buffers for what is in memory that is written.
var backups = sync.Pool{New: func() any { b := make([]byte, 0, 64<<10); return &b }}

func newBackup(n int) *[]byte {
	b := backups.Get().(*[]byte)
	if cap(*b) < n {
		*b = make([]byte, n)
	}
	*b = (*b)[:n]
	return b
}

func freeBackup(b *[]byte) { backups.Put(b) }

func (s *Space) copy(what string, call uintptr, addr uint64, p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, errno := transfer(call, int(s.reader.Load()), addr+uint64(done), p[done:])
		if errno == unix.ESRCH {
			return done, ErrGone
		}
		if errno != 0 {
			return done, fmt.Errorf("%s guest memory at %#x: %w", what, addr+uint64(done), errno)
		}
		if n == 0 {
			return done, fmt.Errorf("%s guest memory at %#x: %w", what, addr+uint64(done), unix.EFAULT)
		}
		done += n
	}
	return done, nil
}

// peek and poke access memory regardless of its protection, as a debugger does.
func peek(tid int, addr uint64, p []byte) error {
	_, err := unix.PtracePeekText(tid, uintptr(addr), p)
	return err
}

func poke(tid int, addr uint64, p []byte) error {
	_, err := unix.PtracePokeText(tid, uintptr(addr), p)
	return err
}
