//go:build linux && amd64

package trap

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// MapFile maps a file of this process into the guest, shared, and returns where. The
// guest can write there only if write is true: it gets a descriptor of its own for
// the moment, opened for no more than that. A forked child does not inherit the
// mapping.
//
// It may be called only within Handler.Execute, for the space of the call. The guest
// opens the file by its name in /proc, so it must see the same /proc as this process
// and be allowed to look at this process there.
func (s *Space) MapFile(fd int, off int64, length uint64, write bool) (uint64, error) {
	t := s.current()
	if t == nil {
		return 0, ErrGone
	}
	prot := uint64(unix.PROT_READ)
	if write {
		prot |= unix.PROT_WRITE
	}
	addr, err := s.engine.mapFile(t, fd, off, length, 0, prot)
	if err == nil {
		if err = s.engine.unshared(t, addr, length); err != nil {
			s.engine.unmap(t, addr, length)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("map a file of rmemrun into process %d: %w", s.PID(), err)
	}
	return addr, nil
}

// UnmapFile ends what MapFile did. It may be called only within Handler.Execute, for
// the space of the call.
func (s *Space) UnmapFile(addr, length uint64) {
	if t := s.current(); t != nil {
		s.engine.unmap(t, addr, length)
	}
}

// apart is where mappings of ours go that may be anywhere: where neither programs nor the
// kernel put theirs. The kernel, asked to choose, takes the hole that the guest has just made
// by munmap, in which the guest may expect to fault.
const apart = 0x2000_0000_0000

// mapFile has a stopped thread map a file of this process: at an address where nothing
// may be mapped yet, or, if at is 0, apart from what is the guest's.
func (e *engine) mapFile(t *Thread, fd int, off int64, length, at, prot uint64) (uint64, error) {
	how := uint64(unix.O_RDONLY)
	if prot&unix.PROT_WRITE != 0 {
		how = unix.O_RDWR
	}
	name := t.space.foothold.scratch(fmt.Appendf(nil, "/proc/%d/fd/%d\x00", os.Getpid(), fd))
	theirs, err := e.syscall(t, unix.SYS_OPENAT, ^uint64(0), name, how|unix.O_CLOEXEC)
	if err != nil {
		return 0, wrapGone("open it in the guest, by its name in /proc", err)
	}
	addr, err := e.mapAt(t, theirs, off, length, at, prot)
	if err == ErrGone {
		return 0, err
	}
	if _, errClose := e.syscall(t, unix.SYS_CLOSE, theirs); errClose == ErrGone {
		return 0, errClose
	}
	if err != nil {
		return 0, wrapGone("mmap in the guest", err)
	}
	return addr, nil
}

// mapAt is mapFile for a file that is open in the guest.
func (e *engine) mapAt(t *Thread, fd uint64, off int64, length, at, prot uint64) (uint64, error) {
	const guard, stride, tries = 1 << 16, 1 << 30, 64
	s := t.space
	try := at
	for n := 0; ; n++ {
		if at == 0 {
			try = max(s.apart, apart)
		}
		addr, err := e.syscall(t, unix.SYS_MMAP, try, length, prot, unix.MAP_SHARED|unix.MAP_FIXED_NOREPLACE, fd, uint64(off))
		if err == nil && addr != try { // a kernel before 4.17 takes the address for a hint
			e.unmap(t, addr, length)
			err = syscall.EEXIST
		}
		switch {
		case at != 0:
			return addr, err
		case err == nil:
			s.apart = addr + (length+pageSize-1)&^(pageSize-1) + guard
			return addr, nil
		case err != syscall.EEXIST || n == tries:
			return 0, err
		}
		s.apart = try + stride
	}
}

// unmap has a stopped thread give up a mapping that it made for us.
func (e *engine) unmap(t *Thread, addr, length uint64) {
	_, _ = e.syscall(t, unix.SYS_MUNMAP, addr, length)
}

// unshared keeps a mapping from children that are forked.
func (e *engine) unshared(t *Thread, addr, length uint64) error {
	_, err := e.syscall(t, unix.SYS_MADVISE, addr, length, unix.MADV_DONTFORK)
	return err
}
