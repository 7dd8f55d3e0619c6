package rmem

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"
)

// Segments are shared with the processes of their owner, which read and write
// them at any moment and with which no lock can be agreed. What is promised
// to them is what one processor promises to another: an aligned word of up to
// 8 bytes is read and written by one instruction, words are written in
// ascending order, and an atomic is one locked instruction. Here, and only here, memory
// is reached in that way. Callers check bounds and alignment beforehand.

// address is where mem begins.
func address(mem []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(mem))) }

// deposit copies src over the beginning of dst, which is no shorter, each time in the largest
// word that dst is aligned to and that is still left.
func deposit(dst, src []byte) {
	_ = dst[:len(src)]
	d, s := unsafe.Pointer(unsafe.SliceData(dst)), unsafe.Pointer(unsafe.SliceData(src))
	if (uintptr(d)|uintptr(len(src)))%8 == 0 {
		storeWords(d, s, len(src)/8)
		return
	}
	for n := len(src); n > 0; {
		var size int
		switch a := uintptr(d); {
		case a%8 == 0 && n >= 8:
			size = n &^ 7
			storeWords(d, s, n/8)
		case a%4 == 0 && n >= 4:
			size = 4
			atomic.StoreUint32((*uint32)(d), binary.NativeEndian.Uint32((*[4]byte)(s)[:]))
		case a%2 == 0 && n >= 2:
			size = 2
			*(*uint16)(d) = binary.NativeEndian.Uint16((*[2]byte)(s)[:])
		default:
			size = 1
			*(*byte)(d) = *(*byte)(s)
		}
		n -= size
		if n > 0 { // a pointer must not point behind what it belongs to
			d, s = unsafe.Add(d, size), unsafe.Add(s, size)
		}
	}
}

// collect copies the beginning of src, which is no shorter, over dst, each time in the largest
// word that src is aligned to and that is still left.
func collect(dst, src []byte) {
	src = src[:len(dst)]
	s := unsafe.Pointer(unsafe.SliceData(src))
	for len(dst) > 0 {
		var size int
		switch a := uintptr(s); {
		case a%8 == 0 && len(dst) >= 8:
			size = len(dst) &^ 7
			loadWords(unsafe.Pointer(unsafe.SliceData(dst)), s, size/8)
		case a%4 == 0 && len(dst) >= 4:
			size = 4
			binary.NativeEndian.PutUint32(dst, atomic.LoadUint32((*uint32)(s)))
		case a%2 == 0 && len(dst) >= 2:
			size = 2
			binary.NativeEndian.PutUint16(dst, *(*uint16)(s))
		default:
			size = 1
			dst[0] = *(*byte)(s)
		}
		dst = dst[size:]
		if len(dst) > 0 {
			s = unsafe.Add(s, size)
		}
	}
}

// atomically does an atomic on the first 4 or 8 bytes of mem, which are aligned, and
// returns what was there.
func atomically(op Op, mem []byte, width int, expected, operand uint64) (old uint64) {
	if width == 4 {
		return uint64(atomically4(op, (*uint32)(unsafe.Pointer(&mem[:4][0])), uint32(expected), uint32(operand)))
	}
	return atomically8(op, (*uint64)(unsafe.Pointer(&mem[:8][0])), expected, operand)
}

func atomically4(op Op, p *uint32, expected, operand uint32) (old uint32) {
	switch op {
	case OpFAdd:
		return atomic.AddUint32(p, operand) - operand
	case OpSwap:
		return atomic.SwapUint32(p, operand)
	}
	for {
		if old = atomic.LoadUint32(p); old != expected || atomic.CompareAndSwapUint32(p, expected, operand) {
			return old
		}
	}
}

func atomically8(op Op, p *uint64, expected, operand uint64) (old uint64) {
	switch op {
	case OpFAdd:
		return atomic.AddUint64(p, operand) - operand
	case OpSwap:
		return atomic.SwapUint64(p, operand)
	}
	for {
		if old = atomic.LoadUint64(p); old != expected || atomic.CompareAndSwapUint64(p, expected, operand) {
			return old
		}
	}
}
