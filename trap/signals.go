//go:build linux && amd64

package trap

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// When a processor exception raises a signal while the thread blocks it or the process
// ignores it, the kernel unblocks it and sets its disposition to the default before it
// asks the tracer (force_sig_info_to_task). It would be the guest's death if the exception
// were its own; it must not be noticed where it is ours: SIGILL by an instruction, SIGSEGV
// or SIGBUS by a stub that finds no memory. So the engine knows at any time what the guest
// has asked for, from the system calls that the filter shows it and from the signals that it
// delivers, and puts both back afterwards.

// forced are the signals that exceptions of ours raise.
const forced = 1<<(unix.SIGILL-1) | 1<<(unix.SIGSEGV-1) | 1<<(unix.SIGBUS-1)

// dispositions is what the engine knows of a signal table. Processes share it
// where the kernel lets them (CLONE_SIGHAND).
type dispositions struct {
	actions [64]action // by signal number - 1
}

// action is what happens when a signal is delivered.
type action struct {
	handled bool            // it has a handler
	blocks  uint64          // signals of forced that are blocked while that runs
	whole   kernelSigaction // of signals of forced; else zero
}

func bit(sig unix.Signal) uint64 { return 1 << (uint(sig) - 1) }

// of returns what happens when a signal is delivered.
func (d *dispositions) of(sig unix.Signal) *action { return &d.actions[sig-1] }

// set notes what rt_sigaction does.
func (d *dispositions) set(sig unix.Signal, act *kernelSigaction) {
	a := action{}
	if forced&bit(sig) != 0 {
		a.whole = *act
	}
	if act.handler > sigIgn {
		a.handled, a.blocks = true, act.mask&forced
		if act.flags&saNodefer == 0 {
			a.blocks |= bit(sig) & forced
		}
	}
	*d.of(sig) = a
}

// executed notes what execve does: handlers are gone, ignored signals stay so.
func (d *dispositions) executed() *dispositions {
	n := &dispositions{}
	for i := range d.actions {
		if d.actions[i].whole.handler == sigIgn {
			n.actions[i].whole.handler = sigIgn
		}
	}
	return n
}

// deliver passes a signal on to a thread.
func (e *engine) deliver(t *Thread, sig unix.Signal) {
	if t.slept == nil {
		t.signal = sig
		if e.rollForSignal(t) {
			e.proceed(t)
		}
		return
	}
	if t.call.restartable {
		t.signal = sig
		e.again(t, Interrupted)
		return
	}
	// Everything that can be blocked is: this is SIGSTOP, and the thread sleeps on
	// after SIGCONT.
	e.resume(t, sig)
}

// proceed sets a thread going with the signal that waits for it, if one does.
func (e *engine) proceed(t *Thread) {
	sig := t.signal
	t.signal = 0
	if sig != 0 {
		a := t.process.signals.of(sig)
		if mask, errno := getSigmask(t.tid); errno == 0 {
			t.blocked = mask & forced
		}
		t.blocked |= a.blocks
		if a.whole.flags&saResethand != 0 {
			*a = action{}
		}
	}
	e.resume(t, sig)
}

// disturbed tells whether an exception of ours has changed how the guest handles a signal.
func (t *Thread) disturbed(sig unix.Signal) bool {
	return t.blocked&bit(sig) != 0 || t.process.signals.of(sig).whole.handler == sigIgn
}

// restoreSignal puts the guest's handling of a signal back after an exception of ours that came
// while it was blocked or ignored.
func (e *engine) restoreSignal(t *Thread, sig unix.Signal) {
	a := t.process.signals.of(sig)
	if a.whole.handler != sigDfl {
		e.borrow(t)
		act := t.space.foothold.scratch(a.whole.bytes())
		if _, err := e.syscall(t, unix.SYS_RT_SIGACTION, uint64(sig), act, 0, 8); err != nil && err != ErrGone {
			e.Log.Error("the guest's handler of a signal could not be restored", "tid", t.tid, "signal", sig, "error", err)
		}
	}
	if t.blocked&bit(sig) == 0 {
		return
	}
	if t.borrowed {
		t.mask |= bit(sig)
	} else if mask, errno := getSigmask(t.tid); errno == 0 {
		setSigmask(t.tid, mask|bit(sig))
	}
}

// sendAgain makes a thread send itself the signal that an exception of ours consumed, as it was.
// It is blocked, so it stays pending as before.
func (e *engine) sendAgain(t *Thread, si *siginfo) {
	e.borrow(t)
	info := t.space.foothold.scratch(si.bytes())
	if _, err := e.syscall(t, unix.SYS_RT_TGSIGQUEUEINFO, uint64(t.process.pid), uint64(t.tid), uint64(si.signo), info); err != nil && err != ErrGone {
		e.Log.Error("a pending signal of the guest is lost", "tid", t.tid, "signal", si.signo, "error", err)
	}
}

// observed handles a system call that the filter shows: the thread is about to
// enter it.
func (e *engine) observed(t *Thread) {
	if t.slept != nil {
		e.resume(t, 0) // a call of ours
		return
	}
	var r unix.PtraceRegs
	if errno := getRegs(t.tid, &r); errno != 0 {
		e.resume(t, 0)
		return
	}
	switch r.Orig_rax {
	case unix.SYS_RT_SIGACTION:
		var act kernelSigaction
		if sig := unix.Signal(r.Rdi); r.Rdi >= 1 && r.Rdi <= 64 && sig != unix.SIGKILL && sig != unix.SIGSTOP && r.R10 == 8 {
			if n, err := t.space.Read(r.Rsi, act.bytes()); err == nil && n == len(act.bytes()) {
				t.process.signals.set(sig, &act)
			}
		}
	case unix.SYS_RT_SIGPROCMASK:
		var set [8]byte
		if r.R10 != 8 {
			break
		}
		if _, err := t.space.Read(r.Rsi, set[:]); err != nil {
			break
		}
		has := binary.LittleEndian.Uint64(set[:]) & forced
		switch int32(r.Rdi) {
		case unix.SIG_BLOCK:
			t.blocked |= has
		case unix.SIG_UNBLOCK:
			t.blocked &^= has
		case unix.SIG_SETMASK:
			t.blocked = has
		}
	case unix.SYS_RT_SIGRETURN:
		// The stack pointer is behind the frame's return address, at the struct
		// ucontext.
		const offSigmask = 296
		var mask [8]byte
		if _, err := t.space.Read(r.Rsp+offSigmask, mask[:]); err == nil {
			t.blocked = binary.LittleEndian.Uint64(mask[:]) & forced
		}
	case unix.SYS_MREMAP, unix.SYS_REMAP_FILE_PAGES:
		// Of a process that has mapped memory of another guest. The call is skipped.
		if t.space.viewed(r.Rdi, r.Rsi) {
			r.Orig_rax = ^uint64(0)
			eperm := -int64(unix.EPERM)
			r.Rax = uint64(eperm)
			e.check(t, "refuse", setRegs(t.tid, &r))
		}
	case unix.SYS_SECCOMP:
		if r.Rdi <= unix.SECCOMP_SET_MODE_FILTER {
			e.retire(t.space) // its filter may forbid what stubs do
		}
	case unix.SYS_PRCTL:
		if r.Rdi != Ask {
			e.retire(t.space)
			break
		}
		// The question whether anyone carries out remote-memory instructions
		// here. The call itself is skipped.
		r.Orig_rax = ^uint64(0)
		r.Rax = 1
		if !t.space.ready {
			einval := -int64(unix.EINVAL)
			r.Rax = uint64(einval)
		}
		e.check(t, "answer", setRegs(t.tid, &r))
	}
	e.resume(t, 0)
}

// pending tells whether a signal waits for the thread or its process.
func pending(tid int, sig unix.Signal) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	if err != nil {
		return false
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		field, value, _ := strings.Cut(line, ":\t")
		if field != "SigPnd" && field != "ShdPnd" {
			continue
		}
		var set uint64
		if _, err := fmt.Sscanf(value, "%x", &set); err == nil && set&bit(sig) != 0 {
			return true
		}
	}
	return false
}
