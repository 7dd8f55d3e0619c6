//go:build !amd64

package rmem

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"
)

// storeWords copies n words of 8 bytes, ascending, each by one store.
func storeWords(dst, src unsafe.Pointer, n int) {
	to, from := unsafe.Slice((*uint64)(dst), n), unsafe.Slice((*[8]byte)(src), n)
	for i := range to {
		atomic.StoreUint64(&to[i], binary.NativeEndian.Uint64(from[i][:]))
	}
}

// loadWords copies n words of 8 bytes, ascending, each by one load.
func loadWords(dst, src unsafe.Pointer, n int) {
	to, from := unsafe.Slice((*[8]byte)(dst), n), unsafe.Slice((*uint64)(src), n)
	for i := range from {
		binary.NativeEndian.PutUint64(to[i][:], atomic.LoadUint64(&from[i]))
	}
}
