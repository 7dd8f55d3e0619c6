package rmem

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// storeWords copies n words of 8 bytes to dst, which is aligned to them, ascending, each by one store or together with the next. It is in
// assembly because Go promises neither for plain assignments, and its atomic
// stores are locked instructions, which buy nothing where stores become
// visible in their order (Intel SDM, volume 3, "Memory Ordering").
//
//go:noescape
func storeWords(dst, src unsafe.Pointer, n int)

// loadWords copies n words of 8 bytes from src, which is aligned to them, ascending, each by one load or together with the next.
//
//go:noescape
func loadWords(dst, src unsafe.Pointer, n int)

// pairs: aligned 16 bytes are loaded and stored as one, which processors that have AVX guarantee (Intel SDM, volume 3, "Guaranteed Atomic Operations";
// AMD APM, volume 2, "Access Atomicity").
var pairs = cpu.X86.HasAVX
