//go:build linux && amd64

package trap

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Thread is one thread of a guest.
type Thread struct {
	User any // the handler's

	tid     int
	process *process
	space   *Space
	call    Call
	regs    unix.PtraceRegs // as of the last stop at an instruction
	code    [maxInstruction + maxFetched]byte

	// What the thread is doing, as far as its last event tells.
	stopped   bool // in a ptrace stop, or its event waits in the queue
	listening bool // in a group stop
	vforking  bool // in vfork, until the child has executed a program or ended
	exiting   bool // runs no more code of its own
	held      bool // stopped by halt
	lost      bool // died while it made a system call for us, or was on its way out of a stub; its last event follows

	// The thread's real registers are not the ones in regs: it makes, or made, a
	// system call for us.
	displaced bool

	// While the thread makes system calls for us all its signals are blocked; its
	// own mask is kept here.
	borrowed  bool
	mask      uint64
	swallowed bool // a SIGSTOP came meanwhile

	ran bool // it was let run on to the end of a stub

	staged uint64 // the frame of the stub that has staged the source of the thread's instruction; 0: none has

	signal unix.Signal // to be delivered when the thread proceeds; 0 is none

	serving  bool                   // the handler runs for it
	slept    *nap                   // asleep in a futex wait of ours
	alarm    atomic.Pointer[uint32] // its futex word in the foothold; nil before its first instruction
	waking   sync.Mutex             // held while the word is touched by Wake or given back
	foothold *foothold              // that the word is in
	line     int                    // offset of the thread's line there
	blocked  uint64                 // SIGILL is in the thread's signal mask

	interrupted []interruption // instructions that a signal interrupted, oldest first
}

// interruption is an instruction that will run again. It is known by its address
// and stack pointer: a signal handler that runs the same instruction does so on a
// stack of its own.
type interruption struct {
	pc, sp   uint64
	deadline time.Time
}

// maxInterrupted bounds the list: a guest may leave its signal handlers by longjmp
// and never come back to the instruction.
const maxInterrupted = 16

// TID returns the thread's id.
func (t *Thread) TID() int { return t.tid }

// PID returns the id of the thread's process.
func (t *Thread) PID() int { return t.process.pid }

// Wake makes Handler.Execute be called again for the instruction that the thread
// sleeps in. If the thread is about to sleep, it will not; if it does nothing of
// the kind, nothing happens. Safe from any goroutine.
func (t *Thread) Wake() {
	t.waking.Lock()
	defer t.waking.Unlock()
	if w := t.alarm.Load(); w != nil {
		atomic.AddUint32(w, 1)
		futexWake(w)
	}
}

// process is a thread group.
type process struct {
	pid      int
	threads  int // that are known
	signals  *dispositions
	filtered bool // has the seccomp filter
	guarded  bool // has the guard filter
}

// adopt makes a thread known.
func (e *engine) adopt(tid int, p *process, s *Space) *Thread {
	t := &Thread{tid: tid, process: p, space: s}
	t.call.Thread = t
	e.threads[tid] = t
	p.threads++
	s.enter(t)
	if p.threads == 1 {
		e.processes.Lock()
		e.processes.live[p.pid] = struct{}{}
		e.processes.Unlock()
	}
	return t
}

// forget removes a thread that has no more events. What it slept in is undone.
func (e *engine) forget(t *Thread) {
	if t.slept != nil {
		e.abandon(t)
	}
	t.dropAlarm()
	delete(e.threads, t.tid)
	if e.last == t {
		e.last = nil
	}
	t.process.threads--
	if t.process.threads == 0 {
		e.processes.Lock()
		delete(e.processes.live, t.process.pid)
		e.processes.Unlock()
	}
	e.leave(t)
}

// leave takes the thread out of its address space, which ends with its last one.
func (e *engine) leave(t *Thread) {
	s := t.space
	e.unstage(t)
	delete(s.threads, t)
	if len(s.threads) > 0 {
		s.chooseReader()
		return
	}
	s.dead = true
	e.Handler.End(s)
	s.free()
}

// gone handles the exit status of a thread.
func (e *engine) gone(t *Thread, ws unix.WaitStatus) {
	if t.tid == e.root {
		e.rootStatus = ws
		e.processes.Lock()
		e.processes.root = 0
		e.processes.Unlock()
	}
	e.forget(t)
	if t.tid == e.root && e.Exited != nil {
		e.Exited(waitStatus(ws))
	}
}

// halt stops all threads of an address space but one, which is in a stop. The events
// of threads that stopped for reasons of their own stay in the queue. It returns false
// if the excepted thread is gone: it was killed, or another thread of its process
// executes a program.
//
// A thread that executes a program stops only when all others of its process are gone,
// so those that report their end meanwhile must be let go at once.
func (e *engine) halt(s *Space, except *Thread) bool {
	for t := range s.threads {
		// A thread that listens or sleeps for us runs no code of its own until
		// we have heard of it.
		if t == except || t.stopped || t.listening || t.vforking || t.exiting || t.slept != nil {
			continue
		}
		if ptrace(unix.PTRACE_INTERRUPT, t.tid, 0, 0) == 0 {
			t.held = true
		}
	}
	for i := 0; e.awaits(s); {
		if i == len(e.queue) {
			ev, ok := e.wait(0)
			if !ok {
				return false
			}
			e.queue = append(e.queue, ev)
		}
		ev := e.queue[i]
		t := e.thread(ev.tid)
		switch {
		case t != nil && t == except: // only death ends its stop
			t.lost = true
			e.held(s)
			e.release(s)
			return false
		case t != nil && ev.status.Stopped() && eventOf(ev.status) == unix.PTRACE_EVENT_EXIT:
			t.held = false
			e.queue = append(e.queue[:i], e.queue[i+1:]...)
			e.dispatch(ev)
			i = 0 // dispatch may take others out
		default:
			i++
		}
	}
	e.held(s)
	return true
}

// awaits reports whether a thread that halt interrupted has not stopped yet. Threads
// that vanish when another one executes a program will not.
func (e *engine) awaits(s *Space) bool {
	for t := range s.threads {
		if t.held && !t.stopped && !slices.ContainsFunc(e.queue, func(ev event) bool {
			return ev.tid == t.process.pid && isExec(ev.status)
		}) {
			return true
		}
	}
	return false
}

// held ends halt: it takes the stops that halt asked for out of the queue, and leaves
// those threads alone that have not stopped, or for a reason of their own.
func (e *engine) held(s *Space) {
	kept := e.queue[:0]
	for _, ev := range e.queue {
		t := e.thread(ev.tid)
		if t != nil && t.held && t.space == s {
			if ev.status.Stopped() && eventOf(ev.status) == unix.PTRACE_EVENT_STOP && ev.status.StopSignal() == unix.SIGTRAP {
				continue
			}
			t.held = false
		}
		kept = append(kept, ev)
	}
	e.queue = kept
	for t := range s.threads {
		t.held = t.held && t.stopped
	}
}

// release lets the threads go on that halt stopped.
func (e *engine) release(s *Space) {
	for t := range s.threads {
		if t.held {
			t.held = false
			if t.stopped {
				e.resume(t, 0)
			}
		}
	}
}
