//go:build linux && amd64

package trap

import (
	"encoding/binary"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// setTimespec writes a deadline of CLOCK_MONOTONIC for the thread's futex wait and
// returns its address in the guest; 0 for none.
func (t *Thread) setTimespec(deadline time.Time) uint64 {
	if deadline.IsZero() {
		return 0
	}
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // cannot fail
	at := now.Nano() + max(0, time.Until(deadline).Nanoseconds())
	ts := t.foothold.mapping[t.line+offTimespec:]
	binary.LittleEndian.PutUint64(ts, uint64(at/1e9))
	binary.LittleEndian.PutUint64(ts[8:], uint64(at%1e9))
	return t.foothold.addr + uint64(t.line) + offTimespec
}

// nap is a futex wait that we put a thread into.
type nap struct {
	seen uint32 // value of the futex word for which the thread sleeps
}

// sleep puts a stopped thread to sleep until its futex word is no longer as it was
// seen, or the deadline of its call.
func (e *engine) sleep(t *Thread, seen uint32) {
	w := t.alarm.Load()
	if w == nil {
		e.Log.Error("too many threads sleep in remote-memory instructions; one fails", "limit", (footholdSize-footholdLines)/footholdLine)
		e.fail(t)
		return
	}
	if atomic.LoadUint32(w) != seen {
		e.again(t, Woken)
		return
	}
	const futexWaitBitset, matchAny = 9, 1<<32 - 1
	t.slept, t.displaced = &nap{seen}, true
	r := t.regs
	r.Rip = t.space.foothold.gadget()
	setCall(&r, unix.SYS_FUTEX, t.foothold.addr+uint64(t.line)+offWord, futexWaitBitset, uint64(seen),
		t.setTimespec(t.call.Deadline), 0, matchAny)
	if t.call.restartable {
		e.settle(t)
	} else {
		e.borrow(t)
	}
	e.check(t, "put the thread to sleep", setRegs(t.tid, &r))
	e.resume(t, 0)
}

// atSyscall handles a syscall-stop: only threads that sleep have them.
func (e *engine) atSyscall(t *Thread) {
	op, result, errno := syscallStop(t.tid)
	if t.slept == nil || errno != 0 || op != unix.PTRACE_SYSCALL_INFO_EXIT {
		e.resume(t, 0)
		return
	}
	w := t.alarm.Load()
	switch {
	case atomic.LoadUint32(w) != t.slept.seen:
		e.again(t, Woken)
	case syscall.Errno(-result) == unix.ETIMEDOUT:
		e.again(t, Expired)
	case unable(result):
		e.Log.Warn("an instruction fails: the guest's thread cannot sleep", "tid", t.tid, "futex", result)
		e.fail(t)
	case result == 0 || !t.call.restartable:
		// Woken by nobody of ours; or stopped by SIGSTOP, after which it shall
		// sleep on.
		e.again(t, Woken)
	default:
		e.again(t, Interrupted)
	}
}

// fail ends the instruction of a thread that cannot sleep.
func (e *engine) fail(t *Thread) {
	t.slept = nil
	t.call.Cause = Gone
	e.Handler.Execute(&t.call)
	t.call.Return(errNoSpace)
	e.finish(t)
}

// unable tells whether a futex wait returned what the kernel's own never does: a
// filter of the guest forbids it. Interrupted, it returns EINTR or, before the signal
// is delivered, one of the kernel's ERESTART codes.
func unable(result int64) bool {
	const erestartsys, erestartRestartblock = 512, 516
	switch errno := syscall.Errno(-result); errno {
	case 0, unix.EAGAIN, unix.ETIMEDOUT, unix.EINTR:
		return false
	default:
		return errno < erestartsys || errno > erestartRestartblock
	}
}

// again has the handler look once more at the instruction in which a thread
// sleeps, or slept.
func (e *engine) again(t *Thread, why Cause) {
	t.slept = nil
	t.call.Cause = why
	e.execute(t)
}

// abandon tells the handler that a sleeping thread has died.
func (e *engine) abandon(t *Thread) {
	t.slept = nil
	t.call.Cause = Gone
	e.Handler.Execute(&t.call)
}

// restart puts the thread back before the instruction in which it slept and lets
// the signal come that interrupted it.
func (e *engine) restart(t *Thread) {
	t.interrupted = append(t.interrupted, interruption{t.call.PC, t.regs.Rsp, t.call.Deadline})
	if len(t.interrupted) > maxInterrupted {
		t.interrupted = append(t.interrupted[:0], t.interrupted[1:]...)
	}
	e.check(t, "put the thread back", setRegs(t.tid, &t.regs))
	t.displaced = false
	e.unstage(t)
	e.settle(t)
	e.proceed(t)
}

// resumeInterrupted gives an instruction that runs again its old deadline.
func (t *Thread) resumeInterrupted() {
	for i := len(t.interrupted) - 1; i >= 0; i-- {
		if in := t.interrupted[i]; in.pc == t.call.PC && in.sp == t.regs.Rsp {
			t.call.Deadline = in.deadline
			t.interrupted = t.interrupted[:i]
			return
		}
	}
}
