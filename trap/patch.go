//go:build linux && amd64

package trap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"rmemrun/ring/stub"
)

// patch is what has become of one instruction of an address space.
type patch struct {
	site
	trampoline uint64 // 0: it is left to the trap
	writes     int    // how often the jump was written
	settled    bool   // it is left to the trap for good, or is replaced
	spent      bool   // it was once more to be replaced when writes was at its end
}

const (
	// maxWrites bounds how often an instruction is replaced again: a guest may drop its
	// copy of the page (MADV_DONTNEED), or load other code there, as often as it likes.
	maxWrites = 8

	// maxPatches bounds what is kept of an address space.
	maxPatches = 1 << 16
)

// Why an instruction is left to the trap. Each is said once an instruction, to
// Config.Patched.
var (
	errProcessor  = errors.New("the processor has no carry-less multiplication (PCLMULQDQ), which the stubs use")
	errStraddles  = errors.New("the jump would straddle an aligned 8-byte word, which other processors may see half written: emit the instruction after .p2align 3, as rmem.h does")
	errStepped    = errors.New("the thread is being single-stepped")
	errFiltered   = errors.New("the guest has a seccomp filter of its own, which may forbid what stubs do")
	errRestarts   = errors.New("the instruction is in a restartable sequence (rseq)")
	errNotText    = errors.New("the code is not a file's private, read-only text: who made it may move it")
	errManyWrites = errors.New("its page has been dropped or replaced too often")
	errManySites  = errors.New("too many instructions of this program were replaced")
	errNoBoard    = errors.New("no circuit of this run goes past its node")
	errBusySite   = errors.New("another thread was inside the instruction")
	errOtherCode  = errors.New("other code has taken its place")
)

// patch replaces the instruction that a thread has just carried out, if that is
// possible and was not tried before. The thread's registers are in t.regs and have to be
// written by the caller.
func (e *engine) patch(t *Thread) {
	s, c := t.space, &t.call
	if e.patcher == nil || s.retired {
		return
	}
	p := s.patches[c.PC]
	writes := 0
	if p != nil && !bytes.Equal(p.code[:p.inst.Len], c.Code) { // of what was here before
		if writes = p.writes; writes >= maxWrites {
			return
		}
		p = nil
	}
	if p != nil && p.settled {
		return
	}
	if p == nil {
		if len(s.patches) >= maxPatches {
			return
		}
		p = &patch{site: site{inst: c.Inst}, writes: writes}
		copy(p.code[:], c.Code)
		s.patches[c.PC] = p
	}
	err := e.replaceSite(t, c.PC, p)
	if err == errBusySite || errors.Is(err, ErrGone) {
		return // another time
	}
	p.settled = true
	if err == errFiltered {
		e.retire(s)
	}
	if e.Patched != nil {
		e.Patched(c, err)
	}
	if err != nil {
		e.Log.Debug("an instruction is left to the trap", "pid", t.process.pid, "at", fmt.Sprintf("%#x", c.PC), "instruction", c.Inst.String(), "reason", err)
	}
}

// retire ends the use of stubs in an address space.
func (e *engine) retire(s *Space) {
	if e.patcher != nil && !s.retired {
		s.retired = true
		e.patcher.Retire(s)
	}
}

// replaceSite writes a trampoline for the instruction at pc, and the jump to it.
func (e *engine) replaceSite(t *Thread, pc uint64, p *patch) error {
	s := t.space
	entry, ok := stub.Entry(p.inst.Op)
	switch {
	case !stub.Supported():
		return errProcessor
	case !ok:
		return ErrNoStub
	case pc%8 > 8-jumpSize:
		return errStraddles
	case t.regs.Eflags&trapFlag != 0:
		return errStepped
	case statusNumber(t.tid, "Seccomp_filters") > ownFilters()+t.process.filters():
		return errFiltered
	case p.writes >= maxWrites:
		return errManyWrites
	}
	if err := s.isText(pc, int(p.inst.Len)); err != nil {
		return err
	}
	if restartable, err := s.inRestartable(t, pc); err != nil || restartable {
		return errors.Join(err, errRestarts)
	}
	if err := e.bringBoard(t); err != nil {
		return err
	}
	if p.trampoline == 0 {
		r, err := e.regionFor(t, pc)
		if err != nil {
			return err
		}
		if p.trampoline, ok = r.add(pc, &p.site, entry, s.board); !ok {
			return errManySites
		}
	}
	return e.writeJump(t, pc, p)
}

// ownFilters is how many seccomp filters this process runs under, and so all its guests.
var ownFilters = sync.OnceValue(func() int { return max(statusNumber(os.Getpid(), "Seccomp_filters"), 0) })

// filters is how many the engine has given a process.
func (p *process) filters() int {
	n := 0
	if p.filtered {
		n++
	}
	if p.guarded {
		n++
	}
	return n
}

// trapFlag is TF in the flags register.
const trapFlag = 1 << 8

// writeJump replaces the instruction by the jump to its trampoline, with all other
// threads of the address space stopped and none inside it. The bytes that change lie in
// one aligned 8-byte word, which is written at once.
func (e *engine) writeJump(t *Thread, pc uint64, p *patch) error {
	s := t.space
	if !e.halt(s, t) {
		return ErrGone
	}
	defer e.release(s)
	for u := range s.threads {
		if u == t || !u.stopped {
			continue // in a system call, or on its way out of one
		}
		var r unix.PtraceRegs
		if getRegs(u.tid, &r) == 0 && r.Rip > pc && r.Rip < pc+jumpSize {
			return errBusySite
		}
	}
	var word [8]byte
	at := pc &^ 7
	if err := peek(t.tid, at, word[:]); err != nil {
		return fmt.Errorf("read the instruction: %w", err)
	}
	off := int(pc % 8)
	if n := min(8-off, int(p.inst.Len)); !bytes.Equal(word[off:off+n], p.code[:n]) {
		return errOtherCode
	}
	jump(word[off:], pc, p.trampoline)
	if errno := ptrace(unix.PTRACE_POKETEXT, t.tid, uintptr(at), uintptr(binary.LittleEndian.Uint64(word[:]))); errno != 0 {
		if errno == unix.ESRCH {
			return ErrGone
		}
		return fmt.Errorf("write the jump: %w", errno)
	}
	p.writes++
	return nil
}

// isText tells whether an instruction is where code stays: in a private mapping of a
// file that the guest cannot write. Code that a program makes it may also move, and a
// jump that is moved leads astray.
func (s *Space) isText(pc uint64, length int) error {
	all, err := mappings(s.PID(), pc, pc+uint64(length))
	if err != nil {
		return fmt.Errorf("look at the guest's mappings: %w", err)
	}
	i := slices.IndexFunc(all, func(m mapping) bool { return m.start <= pc && pc < m.end })
	if i < 0 {
		return errOtherCode
	}
	m := all[i]
	if m.shared || m.inode == 0 || m.prot != unix.PROT_READ|unix.PROT_EXEC ||
		strings.HasPrefix(m.name, "/memfd:") || strings.HasPrefix(m.name, "/dev/") {
		return fmt.Errorf("%w (%v)", errNotText, m)
	}
	return nil
}

// bringBoard maps the board into the address space, unless it is there.
func (e *engine) bringBoard(t *Thread) error {
	s := t.space
	if s.boarded {
		return nil
	}
	fd, length := e.patcher.Board(s)
	if fd < 0 {
		return errNoBoard
	}
	// A child has its own board where its parent's was, which its trampolines name.
	addr, err := e.mapFile(t, fd, 0, length, s.board, unix.PROT_READ)
	if err != nil {
		return fmt.Errorf("map the board into process %d: %w", s.PID(), err)
	}
	if err := e.unshared(t, addr, length); err != nil {
		e.unmap(t, addr, length)
		return fmt.Errorf("keep the board from children of process %d: %w", s.PID(), err)
	}
	const registerGlobalExpedited = 1 << 2
	_, err = e.syscall(t, unix.SYS_MEMBARRIER, registerGlobalExpedited, 0, 0)
	if err == ErrGone {
		return err
	}
	s.board, s.boarded = addr, true
	e.patcher.Placed(s, addr, err == nil)
	if len(s.threads) > 1 {
		e.patcher.Threaded(s)
	}
	return nil
}

// inRestartable tells whether pc is inside the restartable sequence that the thread is
// in, if it is in one: the kernel would find it elsewhere and not restart it.
func (s *Space) inRestartable(t *Thread, pc uint64) (bool, error) {
	area, ok := rseqArea(t.tid)
	if !ok {
		return false, nil
	}
	const offCS = 8 // of rseq_cs in struct rseq
	var b [8]byte
	if _, err := s.Read(area+offCS, b[:]); err != nil {
		return false, nil // unregistered meanwhile
	}
	at := binary.LittleEndian.Uint64(b[:])
	if at == 0 {
		return false, nil
	}
	var cs [32]byte // struct rseq_cs: version, flags, start_ip, post_commit_offset, abort_ip
	if _, err := s.Read(at, cs[:]); err != nil {
		return false, nil
	}
	start, length := binary.LittleEndian.Uint64(cs[8:]), binary.LittleEndian.Uint64(cs[16:])
	return pc-start < length, nil
}

// jumped handles a SIGILL at an instruction that was replaced while the thread trapped
// there. It returns false if the instruction is not replaced any more.
func (e *engine) jumped(t *Thread, p *patch) bool {
	if p.trampoline == 0 {
		return false
	}
	var code, jmp [jumpSize]byte
	jump(jmp[:], t.regs.Rip, p.trampoline)
	if readTwo(t.tid, code[:], t.regs.Rip, nil, 0) == jumpSize && code == jmp {
		return true
	}
	// The guest has dropped the page, or loaded the code again.
	p.settled, p.spent = p.spent, p.writes >= maxWrites
	return false
}

// inheritPatches takes over what a fork leaves in a child's address space: the jumps and
// what they lead to, but not the board.
func (s *Space) inheritPatches(parent *Space) {
	s.retired, s.board = parent.retired, parent.board
	for _, r := range parent.regions {
		r.users++
	}
	s.regions = slices.Clone(parent.regions)
	for pc, p := range parent.patches {
		own := *p
		s.patches[pc] = &own
	}
}
