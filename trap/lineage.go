//go:build linux && amd64

package trap

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// cloned handles the event by which a thread tells of its child: a thread or a
// process. The child is stopped, or will be, before its first instruction.
func (e *engine) cloned(t *Thread, what int) {
	msg, errno := eventMessage(t.tid)
	if errno != 0 {
		return
	}
	tid := int(msg)
	flags := e.cloneFlags(t)
	p, s := t.process, t.space
	if flags&unix.CLONE_THREAD == 0 {
		p = &process{pid: tid, filtered: p.filtered, signals: p.signals}
		if flags&unix.CLONE_SIGHAND == 0 {
			d := *p.signals
			p.signals = &d
			if flags&unix.CLONE_CLEAR_SIGHAND != 0 {
				p.signals = d.executed()
			}
		}
	}
	fork := flags&unix.CLONE_VM == 0
	if fork {
		s = e.newSpace()
		s.inherit(t.space)
	}
	child := e.adopt(tid, p, s)
	child.blocked = t.blocked
	if flags&unix.CLONE_VFORK != 0 {
		t.vforking = true
	}
	ws, early := e.orphans[tid]
	delete(e.orphans, tid)
	child.stopped = early || e.queued(tid)
	if fork {
		// The parent waits until its child has memory of its own.
		if !early {
			if ws, early = e.await(child); !early {
				return // there are no tracees any more
			}
		}
		if s.ready && len(t.space.extents) > 0 && ws.Stopped() && eventOf(ws) != unix.PTRACE_EVENT_EXIT {
			e.separate(child, t.space)
		}
		e.Handler.Begin(s)
	}
	e.resume(t, 0)
	if early {
		e.dispatch(event{tid, ws})
	}
}

// cloneFlags returns what the thread, stopped behind the creation of a child, asked
// the kernel for.
func (e *engine) cloneFlags(t *Thread) uint64 {
	var r unix.PtraceRegs
	if errno := getRegs(t.tid, &r); errno != 0 {
		return 0
	}
	switch r.Orig_rax {
	case unix.SYS_VFORK:
		return unix.CLONE_VM | unix.CLONE_VFORK
	case unix.SYS_CLONE:
		return r.Rdi
	case unix.SYS_CLONE3:
		var flags [8]byte
		if _, err := t.space.Read(r.Rdi, flags[:]); err == nil {
			return binary.LittleEndian.Uint64(flags[:])
		}
	}
	return 0
}

// executed handles the event by which a process tells that it executes another
// program. The thread that did so has become the leader; all others are gone.
func (e *engine) executed(t *Thread) {
	former := t.tid
	if msg, errno := eventMessage(t.tid); errno == 0 {
		former = int(msg)
	}
	p := t.process
	caller := e.threads[former]
	if caller == nil {
		caller = t
	}
	blocked := caller.blocked
	for _, u := range e.threads {
		if u.process == p && u != t {
			e.unqueue(u.tid)
			e.forget(u)
		}
	}
	// What is left of the leader belongs to the old program.
	e.unqueue(t.tid)
	p.threads++ // the process lives on
	e.forget(t)
	p.threads--
	t = e.adopt(t.tid, p, e.newSpace())
	t.stopped, t.blocked = true, blocked
	p.signals = p.signals.executed()

	// The registers can be used only when execve has returned: it would overwrite
	// them.
	if ptrace(unix.PTRACE_SYSCALL, t.tid, 0, 0) == 0 {
		t.stopped = false
		ws, ok := e.await(t)
		if !ok {
			return
		}
		t.stopped = true
		if !ws.Stopped() || ws.StopSignal() != unix.SIGTRAP|0x80 {
			e.Handler.Begin(t.space)
			e.dispatch(event{t.tid, ws})
			return
		}
	}
	if e.prepare(t) {
		t.displaced = false
		e.settle(t)
	}
	e.Handler.Begin(t.space)
	e.resume(t, 0)
}

// unqueue drops the events of a thread that has vanished.
func (e *engine) unqueue(tid int) {
	kept := e.queue[:0]
	for _, ev := range e.queue {
		if ev.tid != tid {
			kept = append(kept, ev)
		}
	}
	e.queue = kept
}

func (e *engine) queued(tid int) bool {
	for _, ev := range e.queue {
		if ev.tid == tid {
			return true
		}
	}
	return false
}
