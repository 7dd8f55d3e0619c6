// Package decode turns the bytes at a program counter into a remote-memory
// instruction, and an instruction into bytes.
//
// The instructions are reserved opcodes: encodings that both processor vendors
// promise never to define, so that every processor, for ever, raises an
// invalid-opcode trap on them. On x86-64 the opcode is UD1 with a memory
// operand, whose fields name the registers and whose displacement holds the
// operation; on arm64 it is a pair of UDF words. amd64.go and arm64.go draw the
// bits; docs/isa.md is the reference for what each instruction does.
//
// One rule governs the package: bytes that are not exactly ours are [ErrForeign].
// UBSan, the kernel and language run-times put UD1, UD2 and UDF into programs for
// their own ends, and those traps must reach the program untouched. So there is
// one way to write each instruction for a given choice of registers, every field
// that an instruction does not use must be zero, and [Encode] is the inverse of
// [AMD64] and [ARM64].
//
// The package knows nothing of processes or networks. Its functions keep no
// state and may be called from any goroutine.
package decode
