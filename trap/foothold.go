//go:build linux && amd64

package trap

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// foothold is a memory file that is mapped into a guest, read-only and executable, and
// into this process, writable. The guest cannot map it writable: the file is
// sealed against it. A forked child inherits the mapping, so that one foothold serves
// several address spaces.
//
//	  0   syscall instruction
//	 64   the seccomp filter's program, then reused for a struct sigaction
//	512   one line a thread: +0 futex word, +16 struct timespec
type foothold struct {
	addr    uint64 // in the guest
	mapping []byte // here
	users   int    // address spaces
	free    []int  // offsets of lines that are free again
	next    int    // offset of the first line that was never used
}

const (
	footholdSize    = 4 << 20 // sparse; lines for 65,528 threads
	footholdScratch = 64
	footholdLines   = 512
	footholdLine    = 64

	offWord     = 0
	offTimespec = 16
)

// gadget is the address of the system-call instruction in the guest.
func (s *foothold) gadget() uint64 { return s.addr }

// scratch copies b to where the guest can read it and returns its address there.
func (s *foothold) scratch(b []byte) uint64 {
	copy(s.mapping[footholdScratch:footholdLines], b)
	return s.addr + footholdScratch
}

// drop gives up one use of the foothold.
func (s *foothold) drop() {
	if s.users--; s.users == 0 {
		_ = unix.Munmap(s.mapping)
	}
}

// giveAlarm gives the thread a futex word of its own, or nil if no line is left,
// with which the thread cannot sleep.
func (t *Thread) giveAlarm() *uint32 {
	s := t.space.foothold
	var at int
	switch n := len(s.free); {
	case n > 0:
		at, s.free = s.free[n-1], s.free[:n-1]
	case s.next+footholdLine <= footholdSize:
		at = s.next
		s.next += footholdLine
	default:
		return nil
	}
	w := word(s.mapping, at+offWord)
	t.foothold, t.line = s, at
	s.users++ // the word may be touched by Wake as long as the thread is known
	t.alarm.Store(w)
	return w
}

// dropAlarm takes the thread's futex word from it.
func (t *Thread) dropAlarm() {
	if t.foothold == nil {
		return
	}
	// A Wake that has come late must not touch the word when it is another's or
	// not mapped any more.
	t.waking.Lock()
	defer t.waking.Unlock()
	t.alarm.Store(nil)
	t.foothold.free = append(t.foothold.free, t.line)
	t.foothold.drop()
	t.foothold = nil
}

// prepare equips a stopped thread's address space, which has only this thread and
// no foothold yet: the foothold, and the filter unless the process has inherited it. The
// thread must be in a stop from which it returns to user mode with its registers
// untouched. It returns false if the thread is gone.
func (e *engine) prepare(t *Thread) bool {
	s := t.space
	if errno := getRegs(t.tid, &t.regs); errno != 0 {
		return false
	}
	if t.regs.Cs != userCS {
		e.Log.Warn("a 32-bit program runs as it is: remote-memory instructions are for 64-bit code", "pid", t.process.pid)
		return true
	}
	st, err := e.plant(t)
	if err == nil {
		s.foothold = st
		err = e.equip(t)
	}
	if err == ErrGone {
		return false
	}
	if err != nil {
		e.Log.Warn("remote-memory instructions are not available in this program", "pid", t.process.pid, "reason", err)
	} else {
		s.ready = true
	}
	return e.check(t, "restore the registers", setRegs(t.tid, &t.regs))
}

// plant maps a new foothold. There is no system-call instruction of ours in the guest
// yet, so one is lent by the program's first instruction.
func (e *engine) plant(t *Thread) (*foothold, error) {
	var saved [16]byte
	entry := t.regs.Rip
	if err := peek(t.tid, entry, saved[:]); err != nil {
		return nil, fmt.Errorf("read the program's entry: %w", err)
	}
	lent := [16]byte{0x0f, 0x05, 8: 'r', 'm', 'e', 'm', 'r', 'u', 'n'}
	if err := poke(t.tid, entry, lent[:]); err != nil {
		return nil, fmt.Errorf("write the program's entry: %w", err)
	}
	st, err := e.plantAt(t, entry)
	if errPoke := poke(t.tid, entry, saved[:]); err == nil && errPoke != nil {
		err = errPoke
	}
	return st, err
}

func (e *engine) plantAt(t *Thread, gadget uint64) (*foothold, error) {
	name := gadget + 8
	fd, err := e.syscallAt(t, gadget, unix.SYS_MEMFD_CREATE, name, memfdFlags|unix.MFD_EXEC)
	if err == syscall.EINVAL {
		fd, err = e.syscallAt(t, gadget, unix.SYS_MEMFD_CREATE, name, memfdFlags)
	}
	if err != nil {
		return nil, wrapGone("make a memory file in the guest", err)
	}
	st, err := newFoothold(t.tid, fd)
	if err == nil {
		st.addr, err = e.syscallAt(t, gadget, unix.SYS_MMAP, 0, footholdSize, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_SHARED, fd, 0)
		if err != nil {
			st.drop()
			err = wrapGone("map the foothold in the guest", err)
		}
	}
	if _, errClose := e.syscallAt(t, gadget, unix.SYS_CLOSE, fd); err == nil && errClose != nil {
		err = wrapGone("close the memory file in the guest", errClose)
	}
	if err != nil {
		return nil, err
	}
	return st, nil
}

// newFoothold maps the guest's memory file here and seals it.
func newFoothold(tid int, guestFd uint64) (*foothold, error) {
	fd, err := takeFile(tid, guestFd)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, footholdSize); err != nil {
		return nil, fmt.Errorf("ftruncate the foothold: %w", err)
	}
	mapping, err := unix.Mmap(fd, 0, footholdSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the foothold: %w", err)
	}
	const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_FUTURE_WRITE | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		_ = unix.Munmap(mapping)
		return nil, fmt.Errorf("seal the foothold: %w", err)
	}
	copy(mapping, []byte{0x0f, 0x05})
	return &foothold{mapping: mapping, users: 1, next: footholdLines}, nil
}

func wrapGone(what string, err error) error {
	if err == ErrGone {
		return err
	}
	return fmt.Errorf("%s: %w", what, err)
}
