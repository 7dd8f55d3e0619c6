//go:build linux && amd64

package trap

import (
	"bytes"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"rmemrun/decode"
)

const (
	maxInstruction = 9  // bytes of the longest of our encodings
	maxFetched     = 40 // bytes of source that are read together with an instruction: one cell's

	illIllopn = 2 // ILL_ILLOPN: how Linux on x86-64 reports #UD; signals that were sent have codes ≤ 0

	userCS = 0x33 // the selector of 64-bit user code
)

// What the engine itself answers, in the numbers of docs/isa.md.
const (
	errInval   = -8
	errNoSpace = -13
)

// site is what is known of the instruction at an address.
type site struct {
	inst decode.Instruction
	code [maxInstruction]byte
}

// trapped handles a SIGILL. It returns false if the signal is none of our
// business: sent by somebody, or raised by bytes that are not exactly ours.
func (e *engine) trapped(t *Thread) bool {
	var start time.Time
	if e.Resumed != nil {
		start = time.Now()
	}
	var si siginfo
	if errno := getSiginfo(t.tid, &si); errno != 0 {
		return errno == unix.ESRCH
	}
	// A SIGILL that was sent before, while it was blocked, swallows the kernel's
	// own: the thread has room for one. It could not come but by a trap.
	merged := si.code != illIllopn && t.blocked&bit(unix.SIGILL) != 0
	if si.code != illIllopn && !merged {
		return false
	}
	if errno := getRegs(t.tid, &t.regs); errno != 0 {
		return errno == unix.ESRCH
	}
	s := t.space
	if t.regs.Cs != userCS || !s.ready {
		return false
	}
	st, n, again := e.locate(t)
	if st == nil && !again {
		return false
	}
	if t.disturbed(unix.SIGILL) {
		e.restoreSignal(t, unix.SIGILL)
	}
	if merged {
		e.sendAgain(t, &si)
	}
	if again {
		e.check(t, "set the registers", setRegs(t.tid, &t.regs))
		t.displaced = false
		e.settle(t)
		e.proceed(t)
		return true
	}
	if e.Resumed != nil {
		t.call.Stopped = start
	}
	e.begin(t, st, n)
	return true
}

// locate finds out what has trapped: an instruction, which is at the program counter or, if
// it was replaced, beside a trampoline that leads to it; n is the number of bytes of its
// source that were read with it. again says that the thread has only to go on, with the
// registers that are in t.regs. If neither, the trap is the guest's own affair.
func (e *engine) locate(t *Thread) (st *site, n int, again bool) {
	s := t.space
	if r := s.regionAt(t.regs.Rip); r != nil {
		return e.locateInRegion(t, r)
	}
	if p := s.patches[t.regs.Rip]; p != nil && e.jumped(t, p) {
		return nil, 0, true // another thread trapped here before
	}
	st, n = s.fetch(t)
	return st, n, false
}

// begin has an instruction carried out. The thread's registers, with the program counter at
// the instruction, are in t.regs.
func (e *engine) begin(t *Thread, st *site, n int) {
	c := &t.call
	c.Space, c.Inst, c.PC, c.Code = t.space, st.inst, t.regs.Rip, st.code[:st.inst.Len]
	c.Cause, c.Deadline = First, time.Time{}
	c.operands(&t.regs)
	c.memory = Memory{fetchedAt: c.V, fetched: t.code[maxInstruction : maxInstruction+n]}
	if t.staged != 0 {
		source, processor := e.patcher.Staged(t.space, t.staged, c.C)
		if c.memory.fetched = source; source != nil {
			e.follow(processor)
		}
	}
	if len(t.interrupted) > 0 {
		t.resumeInterrupted()
	}
	if e.Resumed != nil {
		c.Decoded = time.Now()
	}
	e.execute(t)
}

// fetch reads the instruction at the thread's program counter, and the source of a
// short write with it, and decodes it unless it is known. n is the number of
// source bytes that were read.
func (s *Space) fetch(t *Thread) (st *site, n int) {
	pc := t.regs.Rip
	code := t.code[:maxInstruction]
	st = s.sites[pc]
	if st != nil {
		l := int(st.inst.Len)
		source, at := t.source(st)
		got := readTwo(t.tid, code[:l], pc, source, at)
		if got >= l && bytes.Equal(code[:l], st.code[:l]) {
			return st, got - l
		}
		delete(s.sites, pc) // the guest has written other code there
	}
	// An instruction may end where its page does, and the next be missing.
	got := readTwo(t.tid, code, pc, nil, 0)
	if got < maxInstruction {
		if rest := int(pageSize - pc%pageSize); rest < maxInstruction {
			got = readTwo(t.tid, code[:rest], pc, nil, 0)
		}
	}
	if got == 0 && !s.unreadable {
		s.unreadable = true
		s.engine.Log.Warn("the guest's code cannot be read, so no remote-memory instruction in it is carried out; has it called prctl(PR_SET_DUMPABLE, 0)? rmemrun as root could", "pid", t.process.pid)
	}
	inst, err := decode.AMD64(code[:got])
	if err != nil {
		return nil, 0
	}
	st = &site{inst: inst}
	copy(st.code[:], code[:inst.Len])
	if len(s.sites) >= maxSites {
		clear(s.sites)
	}
	s.sites[pc] = st
	return st, 0
}

// source is where the source of a short write goes, and where it is.
func (t *Thread) source(st *site) (p []byte, at uint64) {
	if st.inst.Op != decode.Write {
		return nil, 0
	}
	n := min(register(&t.regs, st.inst.Arch.Implied(decode.FieldC)), maxFetched)
	return t.code[maxInstruction:][:n], register(&t.regs, st.inst.V)
}

// maxSites bounds the decode cache of an address space: a guest that makes code
// as it goes must not fill our memory.
const maxSites = 1 << 16

// execute calls the handler and does what it decides.
func (e *engine) execute(t *Thread) {
	c := &t.call
	c.outcome = undecided
	var seen uint32
	w := t.alarm.Load()
	if w == nil {
		w = t.giveAlarm()
	}
	if w != nil {
		seen = atomic.LoadUint32(w)
	}
	t.serving = true
	e.Handler.Execute(c)
	e.attend(t)
	e.carryOut(t.space, t)
	t.serving = false
	if t.lost {
		return // killed while the handler had it make system calls
	}
	switch c.outcome {
	case returned, returnedOld:
		e.finish(t)
	case asleep:
		e.sleep(t, seen)
	default:
		if c.Cause != Interrupted {
			e.Log.Error("an instruction was neither done nor put to sleep; it fails", "instruction", c.Inst.String())
			c.Return(errInval)
			e.finish(t)
			return
		}
		e.restart(t)
	}
}

// finish writes the results into the thread's registers and sets it going behind
// the instruction.
func (e *engine) finish(t *Thread) {
	c := &t.call
	if e.patch(t); t.lost {
		return
	}
	r := &t.regs
	next := c.PC + uint64(c.Inst.Len)
	if c.outcome == returned && r.Rax == uint64(c.Result) && !t.displaced {
		// The result register holds the result already, as it often does: one
		// register to write instead of all.
		r.Rip = next
		e.check(t, "set the program counter", setRIP(t.tid, next))
	} else {
		r.Rax = uint64(c.Result)
		if c.outcome == returnedOld {
			old := c.Old
			if c.Inst.Width == 4 {
				old = uint64(uint32(old))
			}
			setRegister(r, c.Inst.V, old)
		}
		r.Rip = next
		e.check(t, "set the registers", setRegs(t.tid, r))
	}
	t.displaced = false
	e.unstage(t)
	e.settle(t)
	e.proceed(t)
	if e.Resumed != nil {
		e.Resumed(c)
	}
}

// unstage gives back what the source of the thread's instruction was staged in.
func (e *engine) unstage(t *Thread) {
	if t.staged != 0 {
		e.patcher.Unstage(t.space, t.staged)
		t.staged = 0
	}
}

// operands reads the values of the operands that the operation has.
func (c *Call) operands(r *unix.PtraceRegs) {
	c.V, c.A, c.P, c.C, c.D = 0, 0, 0, 0, 0
	for _, o := range c.Inst.Op.Operands() {
		v := register(r, c.Inst.Reg(o.Field))
		switch o.Field {
		case decode.FieldV:
			c.V = v
		case decode.FieldA:
			c.A = v
		case decode.FieldP:
			c.P = v
		case decode.FieldC:
			c.C = v
		case decode.FieldD:
			c.D = v
		}
	}
}

// register returns the value of a register by its number in the encoding.
func register(r *unix.PtraceRegs, n decode.Reg) uint64 { return *slot(r, n) }

func setRegister(r *unix.PtraceRegs, n decode.Reg, v uint64) { *slot(r, n) = v }

func slot(r *unix.PtraceRegs, n decode.Reg) *uint64 {
	switch n {
	case 0:
		return &r.Rax
	case 1:
		return &r.Rcx
	case 2:
		return &r.Rdx
	case 3:
		return &r.Rbx
	case 4:
		return &r.Rsp
	case 5:
		return &r.Rbp
	case 6:
		return &r.Rsi
	case 7:
		return &r.Rdi
	case 8:
		return &r.R8
	case 9:
		return &r.R9
	case 10:
		return &r.R10
	case 11:
		return &r.R11
	case 12:
		return &r.R12
	case 13:
		return &r.R13
	case 14:
		return &r.R14
	}
	return &r.R15
}
