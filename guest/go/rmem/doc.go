// Package rmem is the remote-memory instructions for programs in Go: reads,
// writes and atomics on the memory of another node, by opcodes that no processor
// has and that rmemrun traps and carries out. It is rmem.h in Go: the same
// operations, numbers and errors, without cgo.
//
//	seg, err := rmem.Export("box", box, rmem.Write)   // node 1
//	event, err := seg.Wait(rmem.Forever)
//
//	d, err := rmem.Import("box", 1, rmem.Write, rmem.Forever) // node 0
//	err = d.Write(0, message, rmem.Notify)
//	err = d.Fence()
//
// # Memory
//
// Exported memory is a slice on the heap, in a global, or from syscall.Mmap with
// MAP_PRIVATE. The garbage collector of Go moves no heap object, and Export keeps
// a reference until Revoke, so that the memory is not freed either. What other
// nodes write appears in it as if another goroutine had written it without
// synchronisation: read flags and counters through sync/atomic. The race
// detector does not see such writes.
//
// # Blocking
//
// An operation that waits for another node (all but Write, ReadAsync, Notify, Poll, Node
// and Nodes) runs as a system call does: the scheduler gives the processor to other goroutines
// meanwhile, and the garbage collector need not wait for it. A goroutine that
// polls memory should call Poll as it does, and runtime.Gosched if other goroutines need its
// processor.
//
// # Guard
//
// The first operation of a program that runs without rmemrun prints one line on
// standard error and ends the program with status 126. Importing the package does
// nothing.
//
// It works on linux/amd64 and linux/arm64. The instructions are in insn_amd64.s
// and insn_arm64.s; docs/isa.md is their reference.
package rmem
