//go:build linux && amd64

package trap

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"rmemrun/decode"
	"rmemrun/ring/stub"
)

// A signal must find a thread before or behind an instruction, never in the stub that
// carries it out: the guest's handler looks at the registers, jumps out, unwinds. So a
// thread that is stopped in a region is taken out of it before anything is delivered to
// it. How far it has come is in its frame, see ring/stub/layout.h.

// roll takes a stopped thread out of the stub it is in, back to the instruction or
// forward behind it. A signal that it was stopped for can be delivered afterwards as
// before. It returns false if the thread is gone.
func (e *engine) roll(t *Thread) bool {
	s := t.space
	t.ran = false
	if len(s.regions) == 0 {
		return true
	}
	if errno := getRegs(t.tid, &t.regs); errno != 0 {
		return false
	}
	r := s.regionAt(t.regs.Rip)
	if r == nil {
		return true
	}
	var si siginfo
	errno := getSiginfo(t.tid, &si)
	if !e.unwind(t, r) {
		return false
	}
	if t.ran && errno == 0 {
		setSiginfo(t.tid, &si)
	}
	ok := e.check(t, "take the thread out of a stub", setRegs(t.tid, &t.regs))
	t.displaced = false
	e.settle(t)
	return ok
}

// rollForSignal is roll before t.signal is delivered. It returns false if the thread has
// been set going already, or is gone.
func (e *engine) rollForSignal(t *Thread) bool {
	jump := t.signal == unix.SIGTRAP && e.steppedIn(t)
	if !e.roll(t) {
		return false
	}
	if t.ran && bit(t.signal)&stopSignals != 0 && !t.process.signals.of(t.signal).handled && e.continued(t) {
		t.signal = 0 // the kernel would have dropped it, had it not seen the thread run since
	}
	if !jump {
		return true
	}
	// The guest steps through its own code, and the step was the jump, from which it was
	// taken back: it would never get on. Where nothing is replaced the instruction is no
	// step at all.
	p := t.space.patches[t.regs.Rip]
	if p == nil {
		return true
	}
	t.signal = 0
	e.begin(t, &p.site, 0)
	return false
}

// stopSignals are those that stop a process, unless a SIGCONT comes after them.
const stopSignals = 1<<(unix.SIGSTOP-1) | 1<<(unix.SIGTSTP-1) | 1<<(unix.SIGTTIN-1) | 1<<(unix.SIGTTOU-1)

// steppedIn tells whether a thread that has TF set was stopped by that in a stub.
func (e *engine) steppedIn(t *Thread) bool {
	const trapTrace = 2 // TRAP_TRACE
	var si siginfo
	return len(t.space.regions) > 0 && getRegs(t.tid, &t.regs) == 0 && t.regs.Eflags&trapFlag != 0 &&
		t.space.regionAt(t.regs.Rip) != nil && getSiginfo(t.tid, &si) == 0 && si.code == trapTrace
}

// rollBeforeStop is roll for a thread in a group stop. It returns false if the thread had
// to go on for a moment, and will come to the group stop once more; or is gone.
func (e *engine) rollBeforeStop(t *Thread) bool {
	if !e.roll(t) {
		return false
	}
	if !t.ran {
		return true
	}
	if ptrace(unix.PTRACE_INTERRUPT, t.tid, 0, 0) == 0 {
		e.resume(t, 0)
	}
	return false
}

// Settle returns when no thread of the address space is inside a stub. It may be called
// only within Handler.Execute or Handler.End, for the space of the call.
func (s *Space) Settle() {
	t := s.current()
	if t == nil || len(s.regions) == 0 || len(s.threads) == 1 {
		return
	}
	e := s.engine
	if !e.halt(s, t) {
		return
	}
	// A thread that awaits a reply is last: its request may be behind one that another
	// thread has claimed and not published yet.
	for _, last := range []bool{false, true} {
		for u := range s.threads {
			if u == t || !u.stopped || u.slept != nil || u.exiting || e.awaitsReply(u) != last {
				continue
			}
			e.settleThread(u)
		}
	}
	e.release(s)
}

// awaitsReply tells whether a stopped thread is in a stub that has published its request.
func (e *engine) awaitsReply(t *Thread) bool {
	var g unix.PtraceRegs
	if getRegs(t.tid, &g) != 0 {
		return false
	}
	r := t.space.regionAt(g.Rip)
	if r == nil {
		return false
	}
	var f frame
	at := g.Rip - r.addr
	return at > stub.Saved && !(at >= stub.Restore && at < stub.EndExit) && at < uint64(len(stub.Image)) &&
		f.read(t, g.R15) && f.word(stub.FrameState) == stub.Awaiting
}

// settleThread takes a thread out of the stub it is in, that halt has stopped, or that has stopped for a reason of its own, which is in the queue. That event is
// not to be taken for one of its way out.
func (e *engine) settleThread(t *Thread) {
	ws, queued := e.takeEvent(t)
	var si siginfo
	raised := queued && getSiginfo(t.tid, &si) == 0 && si.code > 0 // by its own code, and not sent
	e.roll(t)
	switch {
	case t.lost:
	case !t.ran:
		if queued {
			e.putBack(t, ws)
		}
	case !queued, raised: // what the stub has raised (a fault, or that it wants help) is dealt with
		t.held = true
	case eventOf(ws) != 0: // a group stop: it comes to it once more
		_ = ptrace(unix.PTRACE_INTERRUPT, t.tid, 0, 0)
		t.held = true
	default: // a signal, that is delivered to it where it is now
		e.putBack(t, ws)
	}
}

// takeEvent takes the event of a stopped thread out of the queue. It returns false if there is none.
func (e *engine) takeEvent(t *Thread) (unix.WaitStatus, bool) {
	i := slices.IndexFunc(e.queue, func(ev event) bool { return ev.tid == t.tid })
	if i < 0 {
		return 0, false
	}
	ws := e.queue[i].status
	e.queue = slices.Delete(e.queue, i, i+1)
	return ws, true
}

// unwind is roll, but leaves the registers in t.regs to the caller. What the stub has staged is nobody's then.
func (e *engine) unwind(t *Thread, r *region) bool {
	if !e.leaveStub(t, r) {
		return false
	}
	e.patcher.Unstage(t.space, t.regs.Rsp-stub.Frame)
	return true
}

// unstageKilled is for a thread in its last stop. If it was killed in a stub, what that has staged is nobody's: other processes may share the address space, and go on.
func (e *engine) unstageKilled(t *Thread) {
	s := t.space
	if len(s.regions) == 0 || len(s.threads) == 1 {
		return
	}
	var g unix.PtraceRegs
	if getRegs(t.tid, &g) != 0 || s.regionAt(g.Rip) == nil {
		return
	}
	// Its frame is where r15 says, or in assembly at the stack pointer, or just left.
	for _, frame := range [...]uint64{g.R15, g.Rsp, g.Rsp - stub.Frame} {
		e.patcher.Unstage(s, frame)
	}
}

func (e *engine) leaveStub(t *Thread, r *region) bool {
	g := &t.regs
	if n, at, ok := r.trampoline(g.Rip); ok {
		e.offTrampoline(t, r.sites[n], at)
		return true
	}
	switch at := g.Rip - r.addr; {
	case at < stub.Enter || at >= uint64(len(stub.Image)):
		return true // nobody comes here but on purpose
	case at <= stub.Saved:
		e.offEntry(t, r)
	case at >= stub.Restore && at < stub.EndExit:
		var f frame
		if f.read(t, g.Rsp) {
			e.offExit(t, r, &f, f.word(stub.FrameOutcome) == stub.Fast)
		}
	default:
		return e.out(t, r)
	}
	return true
}

// offTrampoline takes a thread off a trampoline: where its entry has only begun or its exit
// is not complete, the registers are those of the guest but for sp and perhaps rax.
func (e *engine) offTrampoline(t *Thread, i *placed, at int) {
	g := &t.regs
	switch {
	case at == 0:
		g.Rip = i.pc
	case at <= atEnter:
		if at == atEnter {
			var rax [8]byte
			if _, err := t.space.Read(g.Rsp, rax[:]); err == nil {
				g.Rax = binary.LittleEndian.Uint64(rax[:])
			}
		}
		g.Rsp += stub.Frame
		g.Rip = i.pc
	case at == atFast:
		g.Rsp += stub.Frame
		g.Rip = i.behind()
	case at == atBack:
		g.Rip = i.behind()
	case at == atSlow, at == atStaged:
		g.Rsp += stub.Frame
		g.Rip = i.pc
	case at == atTrap, at == atHop, at == atTaken:
		g.Rip = i.pc
	}
}

// offEntry puts a thread back to its instruction from where its registers are being saved:
// none but rax and sp has changed.
func (e *engine) offEntry(t *Thread, r *region) {
	var f frame
	if !f.read(t, t.regs.Rsp) {
		return
	}
	i := r.siteOf(t.regs.Rax)
	if i == nil { // it is in the frame by now, and rax was used for something else
		if i = r.siteOf(f.site()); i == nil {
			return
		}
	}
	t.regs.Rax = f.register(0)
	t.regs.Rsp += stub.Frame
	t.regs.Rip = i.pc
}

// offExit completes the way out of a stub: behind the instruction, or back to it if the
// stub has left it to the trap.
func (e *engine) offExit(t *Thread, r *region, f *frame, done bool) {
	i := r.siteOf(f.site())
	if i == nil {
		return
	}
	f.registers(&t.regs)
	t.regs.Rip = i.pc
	if done {
		t.regs.Rip = i.behind()
	}
}

// out takes a thread out of the midst of a stub.
func (e *engine) out(t *Thread, r *region) bool {
	var f frame
	at := t.regs.R15
	if !f.read(t, at) {
		return true
	}
	if r.siteOf(f.site()) == nil {
		return true // no frame of ours: the guest has come here by itself
	}
	switch f.word(stub.FrameState) {
	case stub.Before:
		e.offExit(t, r, &f, false)
		return true
	case stub.Awaiting:
		e.patcher.Help(t.space, f.word(stub.FrameIndex))
	}
	var left [8]byte
	binary.LittleEndian.PutUint64(left[:], r.addr+stub.Left)
	for off, b := range map[int][]byte{stub.FrameFast: left[:], stub.FrameSlow: left[:], stub.FrameLeave: {1, 0, 0, 0}} {
		if _, err := t.space.Write(at+uint64(off), b); err != nil {
			return true
		}
	}
	if !e.runToLeft(t, r) {
		return false
	}
	if t.regs.Rip == r.addr+stub.Left && f.read(t, t.regs.Rsp) {
		e.offExit(t, r, &f, f.word(stub.FrameOutcome) == stub.Fast)
	}
	return true
}

// runToLeft lets a thread run until it traps where a stub ends that was told to leave, with
// all signals blocked but those that its own code raises. On the way, the ring that it
// asks to be served is served, and a fault makes the stub give up. It returns false if the
// thread is gone.
func (e *engine) runToLeft(t *Thread, r *region) bool {
	mask, errno := getSigmask(t.tid)
	if errno != 0 {
		return false
	}
	t.ran = true
	if !t.borrowed {
		t.mask, t.borrowed = mask, true
	}
	setSigmask(t.tid, ^uint64(bit(unix.SIGILL)|bit(unix.SIGSEGV)|bit(unix.SIGBUS)))
	for {
		if ptrace(unix.PTRACE_CONT, t.tid, 0, 0) != 0 {
			return false
		}
		t.stopped, t.listening = false, false
		ws, ok := e.await(t)
		if !ok {
			t.lost = true
			return false
		}
		t.stopped = true
		sig := ws.StopSignal()
		switch {
		case !ws.Stopped() || isExec(ws) || eventOf(ws) == unix.PTRACE_EVENT_EXIT:
			e.putBack(t, ws)
			t.lost = true
			return false
		case eventOf(ws) == unix.PTRACE_EVENT_STOP && sig == unix.SIGTRAP:
			continue // what halt asked for before
		case eventOf(ws) != 0 || sig == unix.SIGSTOP:
			t.swallowed = true
			continue
		}
		if errno := getRegs(t.tid, &t.regs); errno != 0 {
			return false
		}
		switch {
		case sig == unix.SIGILL && t.regs.Rip == r.addr+stub.Left:
			return true
		case sig == unix.SIGILL && t.regs.Rip == r.addr+stub.Help:
			e.help(t)
			if setRIP(t.tid, t.regs.Rip+helpSize) != 0 {
				return false
			}
		case (sig == unix.SIGSEGV || sig == unix.SIGBUS) && r.contains(t.regs.Rip) && e.giveUp(t, r):
		default:
			// Not what a stub does. It gets its signal where it is.
			e.putBack(t, ws)
			return true
		}
	}
}

// giveUp sends a thread whose stub has faulted to where the stub gives up. It returns
// false if the fault was not that of C code.
func (e *engine) giveUp(t *Thread, r *region) bool {
	at := t.regs.Rip - r.addr
	if at <= stub.Saved || at >= stub.Restore && at < stub.EndExit || at >= uint64(len(stub.Image)) {
		return false
	}
	return setRIP(t.tid, r.addr+stub.Fault) == 0
}

// helpSize is the size of the instruction by which a stub asks for help.
const helpSize = 2

// locateInRegion is locate for a trap in a stub: the instruction itself, or the stub asks
// for its ring to be served.
func (e *engine) locateInRegion(t *Thread, r *region) (st *site, n int, again bool) {
	if k, at, ok := r.trampoline(t.regs.Rip); ok && (at == atTrap || at == atTaken) {
		i := r.sites[k]
		t.regs.Rip = i.pc
		if at == atTaken {
			t.staged = t.regs.Rsp - stub.Frame
		} else if source, from := t.source(&i.site); len(source) > 0 {
			n = readTwo(t.tid, source, from, nil, 0)
		}
		return &i.site, n, false
	}
	if t.regs.Rip != r.addr+stub.Help {
		return nil, 0, false
	}
	e.help(t)
	e.attend(nil) // the stub may have learned that a segment has ended, of which the guest has a mapping
	t.regs.Rip += helpSize
	return nil, 0, true
}

// help serves the ring that a thread, stopped at the trap for that, waits for.
func (e *engine) help(t *Thread) {
	var index [4]byte
	if _, err := t.space.Read(t.regs.R15+stub.FrameIndex, index[:]); err == nil {
		e.patcher.Help(t.space, binary.LittleEndian.Uint32(index[:]))
	}
}

// faulted handles a SIGSEGV or SIGBUS that an instruction of a stub has raised. It
// returns false if the signal is none of that kind. The stub gives up: the instruction
// traps, and the fault becomes what it is there, RMEM_EFAULT or nothing at all.
func (e *engine) faulted(t *Thread, sig unix.Signal) bool {
	s := t.space
	if len(s.regions) == 0 {
		return false
	}
	var si siginfo
	if getSiginfo(t.tid, &si) != 0 {
		return false
	}
	merged := si.code <= 0 && t.blocked&bit(sig) != 0 // as of SIGILL, see trapped
	if si.code <= 0 && !merged || getRegs(t.tid, &t.regs) != 0 {
		return false
	}
	r := s.regionAt(t.regs.Rip)
	if r == nil {
		return false
	}
	if t.disturbed(sig) {
		e.restoreSignal(t, sig)
		if merged {
			e.sendAgain(t, &si)
		}
		if t.lost || setRegs(t.tid, &t.regs) != 0 {
			return true
		}
		t.displaced = false
	}
	if !s.boarded && s.board != 0 { // a forked child comes here for the first time
		return e.boardChild(t, r)
	}
	// Before anything has happened the stub is not asked, which may have no stack to answer: the
	// instruction itself needs none.
	var f frame
	before := f.read(t, t.regs.R15) && r.siteOf(f.site()) != nil && f.word(stub.FrameState) == stub.Before
	if !before && e.giveUp(t, r) {
		e.settle(t)
		e.resume(t, 0)
		return true
	}
	if !e.unwind(t, r) {
		return true
	}
	p := s.patches[t.regs.Rip]
	if p == nil {
		return false
	}
	t.displaced = true // it has those of the stub
	e.begin(t, &p.site, 0)
	return true
}

// boardChild gives a forked child a board of its own and lets it begin the instruction
// again.
func (e *engine) boardChild(t *Thread, r *region) bool {
	if !e.unwind(t, r) {
		return true
	}
	if err := e.bringBoard(t); err != nil {
		if err == ErrGone {
			return true
		}
		e.Log.Debug("a forked child keeps to the trap", "pid", t.process.pid, "reason", err)
		if p := t.space.patches[t.regs.Rip]; p != nil {
			t.displaced = true
			e.begin(t, &p.site, 0)
			return true
		}
	}
	e.check(t, "put the thread back", setRegs(t.tid, &t.regs))
	t.displaced = false
	e.settle(t)
	e.resume(t, 0)
	return true
}

// siteOf returns the instruction whose struct site is at an address of the guest, or nil.
func (r *region) siteOf(addr uint64) *placed {
	n, at, ok := r.trampoline(addr)
	if !ok || at != atRecord {
		return nil
	}
	return r.sites[n]
}

// frame is a copy of struct frame of ring/stub/layout.h. The guest may have written
// anything there: what it leads to is its own memory, and its own registers.
type frame [stub.FrameSize]byte

func (f *frame) read(t *Thread, at uint64) bool {
	_, err := t.space.Read(at, f[:])
	return err == nil
}

func (f *frame) word(off int) uint32   { return binary.LittleEndian.Uint32(f[off:]) }
func (f *frame) site() uint64          { return binary.LittleEndian.Uint64(f[stub.FrameSite:]) }
func (f *frame) register(n int) uint64 { return binary.LittleEndian.Uint64(f[stub.FrameR+8*n:]) }

// registers puts the guest's registers, as the frame has them, into g.
func (f *frame) registers(g *unix.PtraceRegs) {
	for n := range 16 {
		setRegister(g, decode.Reg(n), f.register(n))
	}
	// lahf: SF ZF - AF - PF - CF in ah; seto: OF in al.
	const byLahf, overflow = 0xd5, 1 << 11
	flags := f.word(stub.FrameFlags)
	g.Eflags = g.Eflags&^(byLahf|overflow) | uint64(flags>>8&byLahf)
	if flags&1 != 0 {
		g.Eflags |= overflow
	}
}
