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
