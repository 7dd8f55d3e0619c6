// Package bench holds the C programs that rmemrun bench measures remote memory with, and what they and the programs of packages
// floors and peers share.
package bench

import _ "embed"

// Header is batch.h, which all of these programs include: arguments, CPUs, clock, batches, and the lines that they print.
//
//go:embed src/batch.h
var Header string

// Guest is the guest that measures, on two nodes or more.
//
//go:embed src/guest.c
var Guest string

// Start is a program that says when it began.
//
//go:embed src/start.c
var Start string
