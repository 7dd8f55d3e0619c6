//go:build linux && amd64

package trap

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cloned handles the event by which a thread tells of its child: a thread or a
// process. The child is stopped, or will be, before its first instruction.
func (e *engine) cloned(t *Thread, what int) {
	msg, errno := eventMessage(t.tid)
	var si siginfo
	if errno != 0 || getSiginfo(t.tid, &si) != 0 || si.code != int32(what)<<8|int32(unix.SIGTRAP) {
		// The thread was killed meanwhile, and the message may be that of its end.
		// That is its next event, which will look for the child.
		return
	}
	flags := cloneFlags(t.tid)
	if e.threads[int(msg)] == nil && !e.born(t, int(msg), flags) {
		return
	}
	if flags&unix.CLONE_VFORK != 0 {
		t.vforking = true
	}
	e.resume(t, 0)
}

// born makes a child of the thread known and sets it going. It returns false if
// there are no tracees any more.
func (e *engine) born(t *Thread, tid int, flags uint64) bool {
	p, s := t.process, t.space
	if flags&unix.CLONE_THREAD == 0 {
		p = &process{pid: tid, filtered: p.filtered, guarded: p.guarded, signals: p.signals}
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
	ws, early := e.orphans[tid]
	delete(e.orphans, tid)
	child.stopped = early || e.queued(tid)
	if fork {
		// The parent waits until its child has memory of its own.
		if !early {
			if ws, early = e.await(child); !early {
				return false
			}
		}
		if s.ready && len(t.space.extents)+len(t.space.views) > 0 && ws.Stopped() && eventOf(ws) != unix.PTRACE_EVENT_EXIT {
			e.separate(child, t.space)
		}
		e.Handler.Begin(s)
	}
	if early {
		e.dispatch(event{tid, ws})
	}
	return true
}

// bereave looks for the children of a thread that has been killed before it told
// of them: traced from birth, they would stay stopped for ever. The thread is in
// its last stop.
func (e *engine) bereave(t *Thread) {
	var r unix.PtraceRegs
	if getRegs(t.tid, &r) != 0 {
		return
	}
	switch r.Orig_rax {
	case unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_CLONE, unix.SYS_CLONE3:
	default:
		return // not even in the call
	}
	flags := cloneFlags(t.tid)
	dir, parent := "/proc", t.process.pid
	switch {
	case flags&unix.CLONE_THREAD != 0:
		dir, parent = fmt.Sprintf("/proc/%d/task", t.process.pid), statusNumber(t.process.pid, "PPid")
	case flags&unix.CLONE_PARENT != 0:
		parent = statusNumber(t.process.pid, "PPid")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		e.Log.Error("children of a killed process may be left behind", "pid", t.process.pid, "error", err)
		return
	}
	tracer := unix.Gettid()
	for _, entry := range entries {
		tid, err := strconv.Atoi(entry.Name())
		if err != nil || e.threads[tid] != nil || statusNumber(tid, "TracerPid") != tracer || statusNumber(tid, "PPid") != parent {
			continue
		}
		if !e.born(t, tid, flags) {
			return
		}
	}
}

// statusNumber returns a numeric field of /proc/TID/status, or -1.
func statusNumber(tid int, field string) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	if err != nil {
		return -1
	}
	_, rest, _ := strings.Cut(string(b), "\n"+field+":\t")
	value, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(value)
	if err != nil {
		return -1
	}
	return n
}

// arrived handles the first stop of a tracee that nobody has told of yet. Its
// parent's event is to follow, unless the parent asked for CLONE_UNTRACED and
// CLONE_PTRACE together: then the child is traced and there is no event.
func (e *engine) arrived(tid int, ws unix.WaitStatus) {
	e.orphans[tid] = ws
	flags := cloneFlags(tid)
	if flags&unix.CLONE_UNTRACED == 0 {
		return
	}
	parent := e.parentOf(tid)
	if parent == nil || flags&unix.CLONE_PARENT != 0 {
		// Whose memory it has cannot be told. It goes as CLONE_UNTRACED says.
		delete(e.orphans, tid)
		_ = ptrace(unix.PTRACE_DETACH, tid, 0, 0)
		return
	}
	if flags&unix.CLONE_VFORK != 0 {
		parent.vforking = true
	}
	e.born(parent, tid, flags)
}

// parentOf returns the thread whose child a tracee is, or one of the process that
// a thread belongs to; nil if it is not known.
func (e *engine) parentOf(tid int) *Thread {
	pid := statusNumber(tid, "Tgid")
	if pid == tid {
		pid = statusNumber(tid, "PPid")
	}
	var parent *Thread
	for _, t := range e.threads {
		if t.process.pid != pid {
			continue
		}
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, t.tid))
		if parent == nil || slices.Contains(strings.Fields(string(children)), strconv.Itoa(tid)) {
			parent = t
		}
	}
	return parent
}

// cloneFlags returns what a thread, stopped behind the creation of a child, asked
// the kernel for. The child, which has its parent's registers, gives the same.
func cloneFlags(tid int) uint64 {
	var r unix.PtraceRegs
	if errno := getRegs(tid, &r); errno != 0 {
		return 0
	}
	switch r.Orig_rax {
	case unix.SYS_VFORK:
		return unix.CLONE_VM | unix.CLONE_VFORK
	case unix.SYS_CLONE:
		return r.Rdi
	case unix.SYS_CLONE3:
		var flags [8]byte
		if readTwo(tid, flags[:], r.Rdi, nil, 0) == len(flags) {
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
