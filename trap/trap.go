package trap

import (
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"rmemrun/decode"
)

// A Handler carries out the instructions that an engine has trapped. All its
// methods are called on the engine's own OS thread, one at a time, and must not
// block: what takes time is begun, and the guest's thread put to sleep.
type Handler interface {
	// Begin announces a new address space: the program started, executed another
	// program, or forked.
	Begin(*Space)

	// Execute carries out one instruction, or goes on with one that slept; the
	// Call's Cause tells which. It ends with Call.Return, Call.ReturnOld or
	// Call.Sleep.
	Execute(*Call)

	// End announces that the last thread of an address space is gone. What was
	// shared with it is still mapped and has to be given back.
	End(*Space)
}

// Cause tells why Handler.Execute is called.
//
//	First ──Sleep──▶ (asleep) ──Wake──────▶ Woken ───────Sleep or Return
//	                     │────deadline────▶ Expired ─────Return
//	                     │────signal──────▶ Interrupted ─Return, or nothing: once
//	                     │                  the signal is handled, First again
//	                     └────death───────▶ Gone ────────nothing
type Cause uint8

// The causes.
const (
	First       Cause = iota // the instruction has just trapped
	Woken                    // Thread.Wake was called, perhaps for an earlier operation: look again
	Expired                  // the deadline that was given to Sleep has passed
	Interrupted              // a signal waits: return if the operation is done, else undo it; the instruction will run again
	Gone                     // the thread died or executed another program while it slept: undo the operation
)

// ErrNoStub is what Config.Patched is told of operations that always trap.
var ErrNoStub = errors.New("there is no stub for this operation")

// Errors of Space.Share. Each is wrapped with the range and the mapping that
// caused it.
var (
	ErrUnmapped = errors.New("memory is not mapped")
	ErrStack    = errors.New("memory is a stack")
	ErrForeign  = errors.New("memory is shared with other processes or belongs to a device")
	ErrAccess   = errors.New("memory is not accessible as the rights require")
	ErrWrap     = errors.New("range wraps around the address space")
	ErrNoSpace  = errors.New("the guest has no descriptor or memory left for the mapping")
	ErrGone     = errors.New("the guest's process is gone")
)

// Errors of Space.Map, besides ErrNoSpace and ErrGone.
var (
	ErrAlign   = errors.New("not whole pages")
	ErrForbids = errors.New("the guest's process does not let the memory be mapped and guarded")
)

// Command is the program that an engine runs.
type Command struct {
	Path                  string   // of the file to execute; no search
	Args                  []string // argv, the program's own name first
	Env                   []string
	Dir                   string // "" for the current one
	Stdin, Stdout, Stderr *os.File
}

// Config is what an engine is made with.
type Config struct {
	Handler Handler
	Log     hclog.Logger // nil for none

	// Exited, if not nil, is called on the engine's thread when the root process
	// has ended; others of its tree may still run.
	Exited func(syscall.WaitStatus)

	// Stopped, if not nil, is called on the engine's thread when the root process
	// has been stopped by a signal (SIGSTOP, SIGTSTP, SIGTTIN or SIGTTOU), and with
	// false when it goes on.
	Stopped func(yes bool)

	// Started, if not nil, is called with the root's process id before the first
	// instruction of its program runs.
	Started func(pid int)

	// Patched, if not nil, is called once for each instruction that has been carried
	// out and was then replaced by a jump to a stub, or left to the trap for a reason.
	Patched func(c *Call, why error)

	// Resumed, if not nil, is called after the guest's thread was set going again
	// behind an instruction. It also makes the engine take Call.Stopped and
	// Call.Decoded.
	Resumed func(*Call)
}

// Engine runs one guest: a program with all its threads and descendants.
type Engine interface {
	// Run starts the command and carries out its instructions until the whole
	// process tree has ended. It returns the wait status of the root process. The
	// error, if any, says why the program could not be started or supervised; it
	// wraps the syscall.Errno of execve where that failed. Run is called once.
	Run(Command) (syscall.WaitStatus, error)

	// Signal sends a signal to the root process, or, when that has ended or the
	// signal is SIGKILL, to every process of the tree. Safe from any goroutine.
	Signal(syscall.Signal)
}

// A Call is one instruction that a thread is executing. It belongs to the thread
// and is used again for the next one.
type Call struct {
	Thread *Thread
	Space  *Space
	Inst   decode.Instruction
	PC     uint64 // address of the instruction
	Code   []byte // its bytes

	V, A, P, C, D uint64 // values of the operands; 0 where the operation has none

	Cause    Cause
	Deadline time.Time // the handler's; zero at First, unless a signal interrupted the instruction and it now runs again
	State    any       // the handler's; stays with the thread

	Stopped time.Time // when the engine learned of the trap; only with Config.Resumed
	Decoded time.Time // when the instruction was decoded; only with Config.Resumed

	Result int64  // after Return: what the guest finds in the result register
	Old    uint64 // after ReturnOld: what it finds in V

	outcome     outcome
	restartable bool
	memory      Memory
}

type outcome uint8

const (
	undecided outcome = iota
	returned
	returnedOld
	asleep
)

// Return ends the instruction with a result: not negative, or an error code.
func (c *Call) Return(result int64) {
	c.Result, c.outcome = result, returned
}

// ReturnOld ends an atomic instruction: with its result, and the word that was
// found in V.
func (c *Call) ReturnOld(result int64, old uint64) {
	c.Result, c.Old, c.outcome = result, old, returnedOld
}

// Sleep puts the thread to sleep until Thread.Wake or the deadline; a zero
// deadline is none. A restartable instruction is interrupted by signals and runs
// again after them; one that is not holds them off until it is done.
func (c *Call) Sleep(deadline time.Time, restartable bool) {
	c.Deadline, c.restartable, c.outcome = deadline, restartable, asleep
}

// Memory returns the guest's memory from addr on. The value is the Call's own and
// valid until the next use of Memory; see Space.Memory for one that lasts.
func (c *Call) Memory(addr uint64) *Memory {
	c.memory.space, c.memory.addr = c.Space, addr
	return &c.memory
}
