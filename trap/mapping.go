//go:build linux && amd64

package trap

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Mapping is memory that one guest shares, mapped into another one: the same pages, which
// the guest reads and writes by its own instructions.
//
//	         Space.Unmap, munmap by the guest
//	   ┌──────────────────────────────────────────┐
//	   │                                          ▼
//	shown ── Space.Blank ──────────▶ blank ──▶ (nothing)
//	   │                              ▲
//	   └─ Revoke ──▶ doomed ──────────┘
//	                 no thread of the guest runs before it is blank
//
// An access to a blank mapping raises SIGBUS. Its addresses stay taken until Unmap.
type Mapping struct {
	addr, length uint64
	space        *Space
	shows        []shown // its parts, in order
	blank        bool
}

// shown is a part of a mapping: where its first byte is in which memory file.
type shown struct {
	at    uint64 // in the guest
	inode uint64
	off   uint64
}

// Addr returns the guest's address of the mapping.
func (m *Mapping) Addr() uint64 { return m.addr }

// piece is a part of a Shared that lies in one memory file. Unlike an extent it never
// changes: whatever the guest maps in place of shared memory, the Shared stays what it was.
type piece struct {
	start, end uint64 // in the guest that shares it
	file       *file
	off        int64 // of start in the file
}

// Addr returns the address of the memory in the guest that shares it.
func (sh *Shared) Addr() uint64 { return sh.addr }

// Map maps length bytes at offset off of what another guest, or this one, shares, into
// the guest's address space: whole pages, to be read, or with write to be written too,
// which the guest then cannot widen. It may be called only within Handler.Execute, for the
// space of the call; sh may be of any engine of this process, and the caller sees to it
// that Unshare does not come before Map has returned: if it does, Map may fail.
//
// What is mapped beside the range in the memory file is nobody's business here. The
// kernel would let the guest move the mapping along the file (remap_file_pages), and make
// it longer or double (mremap). So its process gets a filter that shows us both calls.
//
// The errors are ErrAlign, ErrForbids, ErrNoSpace and ErrGone.
func (s *Space) Map(sh *Shared, off, length uint64, write bool) (*Mapping, error) {
	t := s.current()
	if t == nil {
		return nil, ErrGone
	}
	if size := sh.length; length == 0 || length%pageSize != 0 || (sh.addr+off)%pageSize != 0 || off > size || length > size-off {
		return nil, fmt.Errorf("map %d bytes at %#x of the owner: %w", length, sh.addr+off, ErrAlign)
	}
	e := s.engine
	if err := e.canBeCalled(); err != nil {
		return nil, err
	}
	if err := e.guard(t); err != nil {
		return nil, err
	}
	if !e.halt(s, t) {
		return nil, ErrGone
	}
	defer e.release(s)
	m := &Mapping{space: s, length: length}
	if err := e.show(t, m, sh.cut(sh.addr+off, length), write); err != nil {
		return nil, err
	}
	s.views = append(s.views, m)
	return m, nil
}

// cut returns the pieces of a range.
func (sh *Shared) cut(start, length uint64) []piece {
	var parts []piece
	for _, p := range sh.pieces {
		from, to := max(p.start, start), min(p.end, start+length)
		if from < to {
			parts = append(parts, piece{from, to, p.file, p.off + int64(from-p.start)})
		}
	}
	return parts
}

// show makes the thread map the pieces side by side. The files are closed in the guest before it goes on.
func (e *engine) show(t *Thread, m *Mapping, parts []piece, write bool) (err error) {
	addr, err := e.syscall(t, unix.SYS_MMAP, 0, m.length, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE, ^uint64(0), 0)
	if err != nil {
		return shareError("reserve addresses for the mapping", err)
	}
	m.addr = addr
	opened := map[*file]uint64{}
	defer func() {
		for _, fd := range opened {
			_, _ = e.syscall(t, unix.SYS_CLOSE, fd)
		}
		if err != nil {
			_, _ = e.syscall(t, unix.SYS_MUNMAP, m.addr, m.length)
		}
	}()
	flags, prot := uint64(unix.O_RDONLY|unix.O_CLOEXEC), uint64(unix.PROT_READ)
	if write {
		flags, prot = unix.O_RDWR|unix.O_CLOEXEC, prot|unix.PROT_WRITE
	}
	at := addr
	for _, p := range parts {
		fd, ok := opened[p.file]
		if !ok {
			if fd, err = e.lend(t, p.file, flags); err != nil {
				return err
			}
			opened[p.file] = fd
		}
		size := p.end - p.start
		if _, err = e.syscall(t, unix.SYS_MMAP, at, size, prot, unix.MAP_SHARED|unix.MAP_FIXED, fd, uint64(p.off)); err != nil {
			return shareError("map the owner's memory", err)
		}
		m.shows = append(m.shows, shown{at, p.file.inode, uint64(p.off)})
		at += size
	}
	return nil
}

// lend opens a memory file of ours in the guest. Opened for reading alone, it cannot be
// mapped to be written, nor a mapping of it be made so by mprotect.
func (e *engine) lend(t *Thread, f *file, flags uint64) (uint64, error) {
	const atFDCWD = ^uint64(99) // -100
	path := t.space.foothold.scratch(fmt.Appendf(nil, "/proc/%d/fd/%d\x00", os.Getpid(), f.fd))
	fd, err := e.syscall(t, unix.SYS_OPENAT, atFDCWD, path, flags)
	if err != nil {
		err = shareError("open rmemrun's memory file in the guest", err)
		if !errors.Is(err, ErrGone) && !errors.Is(err, ErrNoSpace) {
			err = fmt.Errorf("%w: %w", ErrForbids, err)
		}
		return 0, err
	}
	// The guest may see another /proc than we do.
	var st unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d/fd/%d", t.tid, fd), &st); err != nil || st.Ino != f.inode {
		_, _ = e.syscall(t, unix.SYS_CLOSE, fd)
		return 0, fmt.Errorf("%w: the guest's /proc is not rmemrun's", ErrForbids)
	}
	return fd, nil
}

// Unmap takes a mapping, blank or not, out of the guest's address space, as far as the
// guest still has it. It may be called only within Handler.Execute, for the space of the call.
func (s *Space) Unmap(m *Mapping) {
	s.take(m, func(e *engine, t *Thread) error {
		return e.replaceShown(t, m, func(from, length uint64) error {
			_, err := e.syscall(t, unix.SYS_MUNMAP, from, length)
			return err
		})
	})
	s.views = slices.DeleteFunc(s.views, func(v *Mapping) bool { return v == m })
	m.blank = true
}

// Blank makes accesses to the mapping raise SIGBUS. It may be called only within
// Handler.Execute, for the space of the call.
func (s *Space) Blank(m *Mapping) {
	if !m.blank {
		s.take(m, func(e *engine, t *Thread) error { return e.blank(t, m) })
	}
}

// take does something to a mapping while nobody can use it.
func (s *Space) take(m *Mapping, do func(*engine, *Thread) error) {
	t, e := s.current(), s.engine
	if t == nil || !e.halt(s, t) {
		return // with the process its mappings are gone
	}
	if err := do(e, t); err != nil {
		e.condemn(t, err)
	}
	e.release(s)
}

// blank makes the thread replace what its address space still shows of the mapping by pages
// behind the end of an empty file.
func (e *engine) blank(t *Thread, m *Mapping) error {
	name := t.space.foothold.scratch([]byte("rmemrun revoked\x00"))
	fd, errEmpty := e.syscall(t, unix.SYS_MEMFD_CREATE, name, unix.MFD_CLOEXEC)
	err := e.replaceShown(t, m, func(from, length uint64) error {
		if errEmpty == nil {
			if _, err := e.syscall(t, unix.SYS_MMAP, from, length, unix.PROT_READ|unix.PROT_WRITE,
				unix.MAP_SHARED|unix.MAP_FIXED|unix.MAP_NORESERVE, fd, 0); err == nil {
				return nil
			}
		}
		// It cannot have an empty file. Then it has nothing there, and gets SIGSEGV.
		_, err := e.syscall(t, unix.SYS_MUNMAP, from, length)
		return err
	})
	if errEmpty == nil {
		_, _ = e.syscall(t, unix.SYS_CLOSE, fd)
	}
	if m.space == t.space && !t.lost {
		m.blank = true
	}
	return err
}

// replaceShown calls replace for each part of the mapping that is still there: the guest
// may have unmapped it, and have other memory there.
func (e *engine) replaceShown(t *Thread, m *Mapping, replace func(from, length uint64) error) error {
	all, err := mappings(t.tid, m.addr, m.addr+m.length)
	if err != nil {
		return hereError("look at the guest's mappings", err)
	}
	for _, v := range all {
		from, to := max(v.start, m.addr), min(v.end, m.addr+m.length)
		if v.name != revokedName && !m.shownBy(v) {
			continue
		}
		if err := replace(from, to-from); err != nil {
			return err
		}
	}
	return nil
}

// revokedName is how the kernel names the empty file in /proc/PID/maps.
const revokedName = "/memfd:rmemrun revoked (deleted)"

// shownBy tells whether a mapping of the guest shows a file of m. The guest cannot
// have moved it along the file.
func (m *Mapping) shownBy(v mapping) bool {
	return v.shared && slices.ContainsFunc(m.shows, func(s shown) bool { return s.inode == v.inode })
}

// condemn ends a process that would go on with memory that is not its own any more.
func (e *engine) condemn(t *Thread, err error) {
	if errors.Is(err, ErrGone) {
		return
	}
	e.Log.Error("a guest is killed: memory of another that it has mapped cannot be taken from it", "pid", t.process.pid, "error", err)
	_ = syscall.Kill(t.process.pid, unix.SIGKILL)
}

// Revoke blanks the mapping from whatever goroutine. Done is called when no instruction
// of the guest can reach the memory any more: on the engine's thread, or, if the engine
// has ended, at once. It must not block.
func (m *Mapping) Revoke(done func()) {
	e := m.space.engine
	late := time.AfterFunc(patience, func() {
		pid := m.space.PID()
		e.Log.Error("a guest is killed: its threads do not stop, so that memory of another that it has mapped cannot be taken from it", "pid", pid)
		_ = syscall.Kill(pid, unix.SIGKILL)
	})
	e.calls.post(m, func() {
		late.Stop()
		done()
	})
}

// patience is how long the threads of a guest have to stop when a mapping is revoked. A thread that the kernel does not let
// stop, since it waits for a child that it has hidden from us, or for its own userfaultfd(2), must not keep the owner of the memory waiting.
const patience = 10 * time.Second

// calls are what other goroutines ask of an engine.
type calls struct {
	mu     sync.Mutex
	list   []revocation
	closed bool // the engine has ended
	tid    int  // of its OS thread
	rings  bool // somebody rings

	some atomic.Bool // the list is not empty
}

type revocation struct {
	mapping *Mapping
	done    func()
}

// post asks the engine to revoke a mapping.
func (c *calls) post(m *Mapping, done func()) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		done()
		return
	}
	c.list = append(c.list, revocation{m, done})
	c.some.Store(true)
	ring := !c.rings
	c.rings = true
	c.mu.Unlock()
	if ring {
		go c.ring()
	}
}

// asked tells whether anything is asked.
func (c *calls) asked() bool { return c.some.Load() }

// answer returns what was asked.
func (c *calls) answer() []revocation {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.list
	c.list = nil
	c.some.Store(false)
	return list
}

// end makes post answer at once from now on.
func (c *calls) end() {
	c.mu.Lock()
	c.closed = true
	list := c.list
	c.list = nil
	c.mu.Unlock()
	for _, r := range list {
		r.done()
	}
}

// attend does what other goroutines have asked for. t is nil, or a stopped thread that
// can make system calls for us, whose registers are in t.regs.
func (e *engine) attend(t *Thread) {
	if !e.calls.asked() {
		return
	}
	for _, r := range e.calls.answer() {
		if m := r.mapping; !m.blank && !m.space.dead {
			m.space.doomed = append(m.space.doomed, m)
			e.carryOut(m.space, t)
		}
		r.done()
	}
}

// carryOut blanks the doomed mappings of an address space. If it cannot, since no thread
// is in a state in which it can make system calls, then none runs either, and resume
// makes sure that the first one that is to run comes here again.
//
//	thread                               of use
//	runs                                 yes: PTRACE_INTERRUPT stops it
//	stopped, its event in our queue      no, until that is dispatched
//	asleep in an instruction             no, until it is woken
//	in a group stop                      no, until SIGCONT
//	in vfork                             no; its child is another thread of the space
func (e *engine) carryOut(s *Space, t *Thread) {
	if len(s.doomed) == 0 || s.dead {
		return
	}
	if t != nil && t.space != s {
		t = nil
	}
	if !e.halt(s, t) {
		return
	}
	defer e.release(s)
	if t != nil {
		e.blankAll(s, t)
		return
	}
	for _, u := range e.usable(s) {
		if len(s.doomed) > 0 {
			e.lendItself(s, u)
		}
	}
}

// usable returns the threads that halt has stopped.
func (e *engine) usable(s *Space) []*Thread {
	var list []*Thread
	for t := range s.threads {
		if t.held && t.stopped {
			list = append(list, t)
		}
	}
	return list
}

// restartSyscall changes registers of a thread that was stopped within a system call,
// which the kernel would restart as it leaves the stop, so that it is restarted from another stop too.
func restartSyscall(r *unix.PtraceRegs) {
	const (
		restartSys, restartNoIntr, restartNoHand, restartBlock = -512, -513, -514, -516

		sysRestart = 219 // restart_syscall(2)
	)
	switch int64(r.Rax) {
	case restartSys, restartNoIntr, restartNoHand:
		r.Rax = r.Orig_rax
	case restartBlock:
		r.Rax = sysRestart
	default:
		return
	}
	r.Rip -= 2 // the length of the instruction
	r.Orig_rax = ^uint64(0)
}

// blankAll has a thread blank the doomed mappings of its address space.
func (e *engine) blankAll(s *Space, t *Thread) {
	for len(s.doomed) > 0 {
		m := s.doomed[0]
		if !m.blank {
			if err := e.blank(t, m); err != nil {
				if t.lost {
					return
				}
				e.condemn(t, err)
			}
		}
		s.doomed = s.doomed[1:]
	}
	s.doomed = nil
}

// withhold takes from a forked child, which is stopped before its first instruction,
// what its parent has mapped of others.
func (e *engine) withhold(child *Thread, parent *Space) {
	for _, m := range parent.views {
		if m.blank {
			continue
		}
		if err := e.blank(child, m); err != nil {
			e.condemn(child, err)
			return
		}
	}
}

// viewed tells whether a range of the guest touches memory of others that it has mapped.
func (s *Space) viewed(start, length uint64) bool {
	end := start + max(length, 1)
	return slices.ContainsFunc(s.views, func(m *Mapping) bool {
		return !m.blank && start < m.addr+m.length && (end < start || end > m.addr)
	})
}

// carryOutBy carries out what is doomed by a thread that is about to run: it is in the stop
// that resume has asked for, or one like it.
func (e *engine) carryOutBy(t *Thread) {
	if !e.halt(t.space, t) {
		return
	}
	e.lendItself(t.space, t)
	e.release(t.space)
}

// lendItself has a thread that was stopped anywhere blank the doomed mappings of its address
// space, and makes it as it was.
func (e *engine) lendItself(s *Space, t *Thread) {
	if errno := getRegs(t.tid, &t.regs); errno != 0 || t.regs.Cs != userCS {
		return // killed; or in 32-bit code, from which it cannot be sent to ours
	}
	if int64(t.regs.Orig_rax) >= 0 {
		restartSyscall(&t.regs)
	} else {
		abortSequence(t, &t.regs)
	}
	e.blankAll(s, t)
	if t.lost {
		return
	}
	if e.check(t, "restore the registers", setRegs(t.tid, &t.regs)) {
		t.displaced = false
	}
	e.settle(t)
}
