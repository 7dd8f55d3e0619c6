// Package trap runs guest programs and stops them at remote-memory
// instructions.
//
// No processor has these instructions: each raises an invalid-opcode exception,
// which Linux turns into SIGILL, which an engine sees before the guest does. The
// engine decodes the bytes at the program counter, hands the instruction to its
// Handler, writes the result into the guest's registers and lets it go on behind
// the instruction. Everything else that happens to a guest happens as if nobody
// watched.
//
// # The ptrace engine
//
// One OS thread, locked for the purpose, is the tracer of a guest's whole process
// tree: the root process, its threads, its children and theirs. It waits for one
// event after another and never hands work to another goroutine between a trap
// and the resumption of the thread that trapped. Several engines may run in one
// process; each waits for its own tracees only (__WNOTHREAD).
//
//	       PTRACE_EVENT_CLONE, _FORK, _VFORK
//	            │ first stop
//	            ▼
//	┌──────▶ running ──── SIGILL at one of our opcodes ──▶ stopped: Handler.Execute
//	│         │  │  ▲                                        │ Return      │ Sleep
//	│         │  │  └────────────────────────────────────────┘             ▼
//	│         │  └─ any other signal: delivered as it came              sleeping: a futex
//	│         │                                                        wait in the guest,
//	│         └─ group stop ──▶ listening ── SIGCONT ──┐               put there by us
//	│                                                  │                   │ wake, deadline, signal
//	└──────────────────────────────────────────────────┴───────────────────┘ Handler.Execute again
//
// A thread that has to wait sleeps in the kernel, in a futex system call that the
// engine made it execute, so that an idle guest costs nothing and signals, stops
// and death reach it as they reach any thread that sleeps. Thread.Wake may be
// called from any goroutine.
//
// The engine has one mapping in each guest, the foothold: read-only and executable there,
// written only from here. It holds a system-call instruction for the calls that
// are made on the guest's behalf and the futex words.
//
// A small seccomp filter stops the guest at the few system calls that would
// otherwise escape notice: those that change whether SIGILL is blocked or handled
// (the kernel resets both when a trap happens while SIGILL is blocked or ignored,
// and the engine has to put them back), and the call by which a program asks
// whether it runs here.
//
// Memory is exported by Space.Share: the pages are moved into a memory file that
// both the guest and this process map, at the guest's old address, while all
// threads of the address space are stopped. A forked child gets private copies.
//
// # The patch engine
//
// It is the ptrace engine, which besides replaces an instruction that has trapped by a
// jump to a stub (package ring/stub), and takes threads out of stubs before they are
// given a signal. What the stubs share with the Handler, which is a Patcher, is the
// Handler's business:
//
//	     SIGILL at the instruction
//	              │ carried out, then replaced: patch.go
//	              ▼
//	instruction ──jmp──▶ trampoline ──▶ stub ──▶ behind the instruction
//	      ▲             region.go        │ │
//	      │                              │ └─ the instruction itself, at the trampoline ── SIGILL: carried out as ever
//	      └──────── signal: roll.go ─────┘
//
// There are two of these traps: at the second the stub has copied the source of a write to memory that the Patcher knows. It is the
// stub's, by the address of its frame, until the instruction is done or the thread is put back: from when the stub takes it until Patcher.Unstage it is that
// one instruction's, and other stubs leave their sources to the engine; Patcher.Staged only looks at it, and changes nothing of whose it is.
//
// Space.Map maps such a memory file into another guest, whose engine may be another
// one. Mapping.Revoke, from whatever goroutine, asks that engine to take it away again, which it
// does between two events, or before it lets a thread go on behind an instruction; a signal makes its wait4 return.
//
// # Locks
//
// The engine's state belongs to its OS thread and has no lock, except the table
// of processes that Signal uses, the list of what Mapping.Revoke asks, and a thread's futex word, which Thread.Wake uses.
// None of these locks is held while another is taken. Memory and Space.Read and Space.Write use
// atomics only.
package trap
