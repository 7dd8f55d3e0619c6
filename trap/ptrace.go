//go:build linux && amd64

package trap

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// engine is the ptrace engine. Its fields belong to the OS thread of Run, but for
// processes.
type engine struct {
	Config
	patcher Patcher // nil: every instruction traps every time

	threads map[int]*Thread
	last    *Thread // whose event came last: mostly the next one's too

	// Events that were read while waiting for another. Their tracees are stopped.
	queue []event

	turn uint // counts events

	calls calls // what other goroutines ask for

	// First stops of children whose parent's event has not come yet.
	orphans map[int]unix.WaitStatus

	root       int // process id
	rootStatus unix.WaitStatus
	spaces     uint64 // address spaces so far

	processes struct {
		sync.Mutex
		live    map[int]struct{} // process ids
		root    int              // 0 when it has ended
		started bool
		killed  bool // SIGKILL was asked for before the start
	}
}

// fairness is how many events a thread may have in a row while others wait.
const fairness = 16

// event is one report of wait4.
type event struct {
	tid    int
	status unix.WaitStatus
}

// NewPtrace returns an engine that supervises its guest by ptrace(2) and never changes
// its code: each instruction traps each time.
func NewPtrace(c Config) Engine { return newEngine(c) }

// NewPatch returns an engine that is as NewPtrace's, and replaces an instruction that has
// trapped by a jump to a stub, which carries it out without a trap. Its Handler is a
// Patcher. An instruction that cannot be replaced goes on trapping; Config.Patched
// is told why.
func NewPatch(c Config) Engine {
	e := newEngine(c)
	e.patcher = c.Handler.(Patcher)
	return e
}

func newEngine(c Config) *engine {
	if c.Log == nil {
		c.Log = hclog.NewNullLogger()
	}
	e := &engine{Config: c, threads: map[int]*Thread{}, orphans: map[int]unix.WaitStatus{}}
	e.processes.live = map[int]struct{}{}
	return e
}

// Run implements Engine.
func (e *engine) Run(c Command) (syscall.WaitStatus, error) {
	// The thread is not unlocked: it ends with the goroutine, so that no other
	// goroutine inherits what is tied to it.
	runtime.LockOSThread()
	quietChildStops()
	e.calls.tid = unix.Gettid()
	defer e.calls.end()
	if err := e.start(c); err != nil {
		return 0, err
	}
	for {
		ev, ok := e.next()
		if !ok {
			return syscall.WaitStatus(e.rootStatus), nil
		}
		e.dispatch(ev)
	}
}

// Signal implements Engine.
func (e *engine) Signal(sig syscall.Signal) {
	p := &e.processes
	p.Lock()
	defer p.Unlock()
	switch {
	case !p.started:
		p.killed = p.killed || sig == syscall.SIGKILL || sig == syscall.SIGTERM
	case p.root != 0 && sig != syscall.SIGKILL:
		_ = syscall.Kill(p.root, sig) // ESRCH: it has just ended
	default:
		for pid := range p.live {
			_ = syscall.Kill(pid, sig)
		}
	}
}

// next returns the next event; ok is false when no tracee is left.
func (e *engine) next() (ev event, ok bool) {
	e.attend(nil)
	if len(e.queue) == 0 {
		ev, ok = e.wait(waitForCalls)
		if !ok && e.calls.asked() {
			return e.next()
		}
		e.turn++
		if !ok || len(e.threads) == 1 || e.turn%fairness != 0 {
			return ev, ok
		}
		// The kernel looks for events in the same order each time, so a thread
		// that traps all the time would keep the others' from us. Take what is
		// there, then serve it in turn.
		e.queue = append(e.queue, ev)
		for len(e.queue) < 2*len(e.threads) {
			ev, ok := e.wait(unix.WNOHANG)
			if !ok {
				break
			}
			e.queue = append(e.queue, ev)
		}
	}
	ev = e.queue[0]
	e.queue = e.queue[:copy(e.queue, e.queue[1:])]
	return ev, true
}

// waitForCalls makes wait return when another goroutine asks for something.
const waitForCalls = 1 << 16

// wait takes one event from the kernel. It returns ok false when there are no
// tracees, with WNOHANG when there is no event, and with waitForCalls when it was called.
func (e *engine) wait(flags int) (event, bool) {
	for {
		var status unix.WaitStatus
		tid, errno := wait4(-1, &status, unix.WALL|unix.WNOTHREAD|flags&^waitForCalls)
		switch {
		case errno == unix.EINTR && (flags&waitForCalls == 0 || !e.calls.asked()):
			continue
		case errno != 0 || tid == 0:
			return event{}, false
		}
		if t := e.thread(tid); t != nil {
			t.stopped = true
		}
		return event{tid, status}, true
	}
}

// await returns the next event of one thread and queues those of others. It
// returns false if the thread is gone without one: another thread of its process
// has executed a program; or the process was killed while the thread was stopped, so that
// it went on from its last stop, unseen, when we thought it went on from another. The
// first thread of a process then has no event more before the others have ended, which
// wait for us.
func (e *engine) await(t *Thread) (unix.WaitStatus, bool) {
	ending := false // another thread of the process
	for i, ev := range e.queue {
		if ev.tid == t.tid {
			e.queue = append(e.queue[:i], e.queue[i+1:]...)
			return ev.status, true
		}
		ending = ending || e.endsBeside(t, ev)
	}
	for {
		flags := 0
		if ending {
			flags = unix.WNOHANG
		}
		ev, ok := e.wait(flags)
		switch {
		case ok && ev.tid == t.tid:
			return ev.status, true
		case ok:
			e.queue = append(e.queue, ev)
			ending = ending || e.endsBeside(t, ev)
			if isExec(ev.status) && ev.tid == t.process.pid {
				return 0, false
			}
		case !ending || t.dead():
			return 0, false
		default:
			time.Sleep(endingNap)
		}
	}
}

// endingNap is between looks at a thread that may be dying.
const endingNap = 100 * time.Microsecond

// endsBeside reports whether the event is that another thread of t's process ends.
func (e *engine) endsBeside(t *Thread, ev event) bool {
	u := e.thread(ev.tid)
	return u != nil && u.process == t.process && ev.status.Stopped() && eventOf(ev.status) == unix.PTRACE_EVENT_EXIT
}

// dead reports whether the thread has ended, be it that its status is still to come.
func (t *Thread) dead() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/stat", t.process.pid, t.tid))
	if err != nil {
		return true
	}
	state := bytes.TrimSpace(stat[bytes.LastIndexByte(stat, ')')+1:]) // behind the name, which may contain anything
	return len(state) == 0 || state[0] == 'Z' || state[0] == 'X'
}

// putBack makes an event the next one of its thread.
func (e *engine) putBack(t *Thread, ws unix.WaitStatus) {
	e.queue = append([]event{{t.tid, ws}}, e.queue...)
}

func isExec(ws unix.WaitStatus) bool {
	return ws.Stopped() && eventOf(ws) == unix.PTRACE_EVENT_EXEC
}

// eventOf returns the PTRACE_EVENT_ of a stop; 0 is none.
func eventOf(ws unix.WaitStatus) int { return int(ws) >> 16 }

func (e *engine) thread(tid int) *Thread {
	if e.last != nil && e.last.tid == tid {
		return e.last
	}
	t := e.threads[tid]
	if t != nil {
		e.last = t
	}
	return t
}

// dispatch handles one event and sets its thread going again, unless it waits.
func (e *engine) dispatch(ev event) {
	t := e.thread(ev.tid)
	ws := ev.status
	if t == nil {
		// A child whose parent has not told of it, or the last word of a thread
		// that vanished when another one executed a program.
		if ws.Stopped() {
			e.arrived(ev.tid, ws)
		}
		return
	}
	if ws.Exited() || ws.Signaled() {
		e.gone(t, ws)
		return
	}
	sig := ws.StopSignal()
	switch what := eventOf(ws); {
	case sig == unix.SIGTRAP|0x80:
		e.atSyscall(t)
	case what == 0:
		if t.slept == nil && (sig == unix.SIGILL && e.trapped(t) || (sig == unix.SIGSEGV || sig == unix.SIGBUS) && e.faulted(t, sig)) {
			return
		}
		e.deliver(t, sig)
	case what == unix.PTRACE_EVENT_STOP && sig == unix.SIGTRAP:
		// The first stop of a child, the end of a group stop, or a trap that
		// halt asked for after the thread had stopped for another reason.
		if t.listening {
			e.tellStopped(t, false)
		}
		if len(t.space.doomed) > 0 {
			e.carryOutBy(t)
		}
		e.resume(t, 0)
	case what == unix.PTRACE_EVENT_STOP:
		// A group stop: the thread stays stopped until SIGCONT, of which we
		// will hear.
		if t.slept == nil && !e.rollBeforeStop(t) {
			return
		}
		t.listening = true
		e.tellStopped(t, true)
		e.check(t, "listen", ptrace(unix.PTRACE_LISTEN, t.tid, 0, 0))
	case what == unix.PTRACE_EVENT_FORK, what == unix.PTRACE_EVENT_VFORK, what == unix.PTRACE_EVENT_CLONE:
		e.cloned(t, what)
	case what == unix.PTRACE_EVENT_VFORK_DONE:
		t.vforking = false
		e.resume(t, 0)
	case what == unix.PTRACE_EVENT_EXEC:
		e.executed(t)
	case what == unix.PTRACE_EVENT_SECCOMP:
		e.observed(t)
	case what == unix.PTRACE_EVENT_EXIT:
		t.exiting = true
		t.space.chooseReader()
		e.bereave(t)
		e.unstageKilled(t)
		e.resume(t, 0)
	default:
		e.resume(t, 0)
	}
}

// tellStopped tells of the root process that it has been stopped, or goes on.
func (e *engine) tellStopped(t *Thread, yes bool) {
	if e.Stopped != nil && t.tid == e.root {
		e.Stopped(yes)
	}
}

// resume sets a stopped thread going, with a signal or 0.
func (e *engine) resume(t *Thread, sig unix.Signal) {
	t.stopped, t.listening = false, false
	if len(t.space.doomed) > 0 && t.slept == nil && !t.exiting {
		_ = ptrace(unix.PTRACE_INTERRUPT, t.tid, 0, 0) // it stops again before it executes an instruction
	}
	request := unix.PTRACE_CONT
	if t.slept != nil {
		request = unix.PTRACE_SYSCALL
	}
	e.check(t, "resume", ptrace(request, t.tid, 0, uintptr(sig)))
}

// check logs the errors of ptrace that should not happen. ESRCH is not one of
// them: the thread was killed.
func (e *engine) check(t *Thread, what string, errno syscall.Errno) bool {
	if errno != 0 && errno != unix.ESRCH {
		e.Log.Error("ptrace failed", "attempt", what, "tid", t.tid, "error", errno)
	}
	return errno == 0
}
