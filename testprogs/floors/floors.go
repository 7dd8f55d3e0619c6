// Package floors holds programs that say how fast something could be at best
// on this machine, for rmemrun bench to run beside the real thing.
package floors

import _ "embed"

// Tracer is a C program: a minimal ptrace tracer that serves the remote-memory instructions
// of a guest with the system calls that rmemrun's ptrace engine needs for it, and
// does nothing else. Its own head says the rest.
//
//go:embed tracer/tracer.c
var Tracer string

// The floors that programs with package bench's batch.h measure; which items each has stands in its head.
var (
	//go:embed src/shm.c
	Memory string // stores, copies and ping-pong in shared memory
	//go:embed src/vm.c
	CrossMemory string // process_vm_writev and process_vm_readv
	//go:embed src/traps.c
	Traps string // system call, SIGILL, SIGTRAP, SIGSEGV
	//go:embed src/net.c
	Net string // sockets of the loopback, futex
)
