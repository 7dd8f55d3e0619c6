//go:build linux && amd64

package trap

import (
	"fmt"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// System calls that a guest's thread makes for us. The thread is stopped; its
// registers are set so that it executes the foothold's system-call instruction, and
// PTRACE_SYSCALL stops it when it enters and when it leaves the call. No trap
// instruction is involved, so a guest that blocks or ignores SIGTRAP is not
// disturbed. All signals are blocked meanwhile; SIGSTOP, which cannot be, is
// swallowed and sent again.

// borrow makes a stopped thread ready to make system calls for us. Its registers
// must be in t.regs.
func (e *engine) borrow(t *Thread) {
	if t.borrowed {
		return
	}
	mask, errno := getSigmask(t.tid)
	if errno != 0 {
		return // killed: the first system call will tell
	}
	t.mask, t.borrowed = mask, true
	setSigmask(t.tid, ^uint64(0))
}

// settle ends borrow: it puts the signal mask back and lets the SIGSTOP come that
// was swallowed. The registers are the caller's business.
func (e *engine) settle(t *Thread) {
	if !t.borrowed {
		return
	}
	t.borrowed = false
	setSigmask(t.tid, t.mask)
	if t.swallowed {
		t.swallowed = false
		// Unless a SIGCONT came after it, which would have removed it.
		if !e.continued(t) {
			_ = unix.Tgkill(t.process.pid, t.tid, unix.SIGSTOP)
		}
	}
}

// continued tells whether a SIGCONT has come to the thread's process that is not
// delivered yet: it waits there, or another thread has taken it.
func (e *engine) continued(t *Thread) bool {
	return pending(t.tid, unix.SIGCONT) || slices.ContainsFunc(e.queue, func(ev event) bool {
		u := e.threads[ev.tid]
		return u != nil && u.process == t.process && ev.status.Stopped() && eventOf(ev.status) == 0 && ev.status.StopSignal() == unix.SIGCONT
	})
}

// syscall makes a borrowed thread execute one system call and returns its result.
// ErrGone says that the thread has died or is about to.
func (e *engine) syscall(t *Thread, nr uintptr, args ...uint64) (uint64, error) {
	return e.syscallAt(t, t.space.foothold.gadget(), nr, args...)
}

func (e *engine) syscallAt(t *Thread, gadget uint64, nr uintptr, args ...uint64) (uint64, error) {
	if t.lost {
		return 0, ErrGone
	}
	e.borrow(t)
	t.displaced = true
	regs := t.regs
	regs.Rip = gadget
	setCall(&regs, nr, args...)
	errno := setRegs(t.tid, &regs)
	for errno == 0 {
		errno = ptrace(unix.PTRACE_SYSCALL, t.tid, 0, 0)
		if errno != 0 {
			break
		}
		t.stopped = false
		ws, ok := e.await(t)
		if !ok {
			break
		}
		t.stopped = true
		switch {
		case !ws.Stopped() || isExec(ws) || eventOf(ws) == unix.PTRACE_EVENT_EXIT:
			e.putBack(t, ws)
			errno = unix.ESRCH
		case ws.StopSignal() == unix.SIGTRAP|0x80:
			var op byte
			var result int64
			op, result, errno = syscallStop(t.tid)
			if op != unix.PTRACE_SYSCALL_INFO_EXIT {
				continue
			}
			if result < 0 && result > -4096 {
				return 0, syscall.Errno(-result)
			}
			return uint64(result), nil
		case eventOf(ws) == 0 && ws.StopSignal() == unix.SIGSTOP,
			eventOf(ws) == unix.PTRACE_EVENT_STOP && ws.StopSignal() != unix.SIGTRAP:
			t.swallowed = true
		case eventOf(ws) == 0:
			// All that can be blocked is: the call itself raised it. The guest has
			// unmapped the foothold, or a filter of its own forbids the call. The kernel
			// has made the signal fatal.
			e.putBack(t, ws)
			errno = unix.ESRCH
		}
	}
	t.lost = true
	return 0, ErrGone
}

// setCall puts a system call into registers.
func setCall(r *unix.PtraceRegs, nr uintptr, args ...uint64) {
	r.Rax, r.Orig_rax = uint64(nr), ^uint64(0)
	for i, p := range []*uint64{&r.Rdi, &r.Rsi, &r.Rdx, &r.R10, &r.R8, &r.R9} {
		*p = 0
		if i < len(args) {
			*p = args[i]
		}
	}
}

// memfdFlags are those of the memory files: MFD_EXEC, from Linux 6.3, says that
// the foothold is executable, as older kernels assume.
const memfdFlags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING

// takeFile opens a memory file of the guest here. The guest's descriptor is
// closed by the caller, when the guest has mapped it.
func takeFile(tid int, fd uint64) (int, error) {
	path := fmt.Sprintf("/proc/%d/fd/%d", tid, fd)
	n, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", path, err)
	}
	return n, nil
}
