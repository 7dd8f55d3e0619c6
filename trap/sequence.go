//go:build linux && amd64

package trap

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// abortSequence does for a thread that was stopped in its own code, and is to make system calls for us, what the kernel does
// when it takes the processor from a thread within a restartable sequence (rseq(2)): sends it to the sequence's abort handler. The
// kernel itself would find it in the stub, not in the sequence, and forget that it was.
func abortSequence(t *Thread, r *unix.PtraceRegs) {
	const ( // struct rseq and struct rseq_cs of <linux/rseq.h>
		offCurrent = 8
		offStart   = 8
		sizeCS     = 32
	)
	abi := sequences(t.tid)
	if abi == 0 {
		return // the kernel has none, or the thread
	}
	var current [8]byte
	if _, err := t.space.Read(abi+offCurrent, current[:]); err != nil {
		return
	}
	at := binary.LittleEndian.Uint64(current[:])
	if at == 0 {
		return
	}
	var cs [sizeCS]byte
	if _, err := t.space.Read(at, cs[:]); err != nil {
		return
	}
	start := binary.LittleEndian.Uint64(cs[offStart:])
	length := binary.LittleEndian.Uint64(cs[offStart+8:])
	if r.Rip-start < length {
		r.Rip = binary.LittleEndian.Uint64(cs[offStart+16:])
	}
}
