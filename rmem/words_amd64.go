package rmem

import "unsafe"

// storeWords copies n words of 8 bytes, ascending, each by one store. It is in
// assembly because Go promises neither for plain assignments, and its atomic
// stores are locked instructions, which buy nothing where stores become
// visible in their order (Intel SDM, volume 3, "Memory Ordering").
//
//go:noescape
func storeWords(dst, src unsafe.Pointer, n int)

// loadWords copies n words of 8 bytes, ascending, each by one load: storeWords makes one load a word as well.
func loadWords(dst, src unsafe.Pointer, n int) { storeWords(dst, src, n) }
