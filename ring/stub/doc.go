// Package stub is the code that guests run in place of instructions that trap: machine code for x86-64, which package trap puts into
// their memory, and what has to be known of it.
//
// # How an instruction runs
//
// In place of the instruction there is a jump to a trampoline of its own, which jumps to enter:
//
//	instruction ─▶ trampoline ─▶ enter ─▶ stub_write, stub_read, ... ─▶ exit ─▶ behind the instruction
//	                                                                      └───▶ the instruction, moved here: it traps
//
// enter saves the registers in a frame on the guest's stack, below the red zone, exit restores them: the results are what the C code
// has stored in the frame. A stub handles what is common and succeeds. For all else it returns SLOW, as long as nothing has happened, and the trap does
// what the stub would not. So no stub finds an error, but those that a reply reports.
//
// # What it touches
//
// Memory of rings and of the board, and staging memory, see layout.h; what the instruction names; and, where it serves requests of others, segments of its own address
// space. It makes two system calls: sched_yield where it waits, and futex, to wake the agent. It uses xmm0 to xmm2, in crc10, which keeps what was there.
// There are no string instructions, as the guest may have set the direction flag; and behind a claim no access that is not aligned,
// as it may have set AC.
//
// # Being stopped
//
// A signal must find a thread before or behind an instruction. How far it has come is in frame.state; the labels in enter.S say where its
// registers are. Faults are no errors of the stub's: the engine sends the thread to the label fault, and what is BEFORE goes to the trap.
//
// # Building
//
// The image and the offsets are generated, see generate.sh, and kept in the tree: rmemrun builds without a C compiler. A test builds them
// again and compares.
package stub
