//go:build linux && amd64

package trap

import (
	"sync/atomic"
	"unsafe"

	"rmemrun/decode"
)

// atomicallyAt carries out an atomic on a word of shared memory, of 4 or 8 bytes, and returns what was there.
func atomicallyAt(op decode.Op, b []byte, expected, operand uint64) uint64 {
	if len(b) == 4 {
		p := (*uint32)(unsafe.Pointer(&b[0]))
		switch op {
		case decode.FAdd:
			return uint64(atomic.AddUint32(p, uint32(operand)) - uint32(operand))
		case decode.Swap:
			return uint64(atomic.SwapUint32(p, uint32(operand)))
		}
		for {
			old := atomic.LoadUint32(p)
			if old != uint32(expected) || atomic.CompareAndSwapUint32(p, old, uint32(operand)) {
				return uint64(old)
			}
		}
	}
	p := (*uint64)(unsafe.Pointer(&b[0]))
	switch op {
	case decode.FAdd:
		return atomic.AddUint64(p, operand) - operand
	case decode.Swap:
		return atomic.SwapUint64(p, operand)
	}
	for {
		old := atomic.LoadUint64(p)
		if old != expected || atomic.CompareAndSwapUint64(p, old, operand) {
			return old
		}
	}
}
