package rmem

import (
	"math"
	"time"
	"unsafe"
)

// Desc is a descriptor: an imported segment of a node.
type Desc int32

// Every, to fence, stands for all descriptors of the process.
const Every Desc = math.MaxInt32

// Import connects to the segment that a node exports by name, for the rights
// asked. A node may import from itself. It waits for the export as long as timeout
// says; 0 is not at all.
// Errors: EINVAL (node number, name, rights), ENOENT (not there, timeout 0),
// ETIMEDOUT, EPERM (the exporter does not grant these rights), EDOWN, ENOSPC.
func Import(name string, node int, rights Rights, timeout time.Duration) (Desc, error) {
	guard()
	if node < 0 || node > math.MaxInt32 {
		return 0, EINVAL
	}
	result := insnImport(milliseconds(timeout), uint32(node),
		unsafe.Pointer(unsafe.StringData(name)), uint64(len(name)), uint32(rights))
	if result < 0 {
		return 0, Error(result)
	}
	return Desc(result), nil
}

// Release ends the descriptor. It waits for what was posted on it, and returns what
// Fence would. Errors: also EDESC.
func (d Desc) Release() error {
	guard()
	return failure(insnRelease(int32(d)))
}

// Write writes p to the segment at off. Up to 40 bytes travel in one cell. When it
// returns, p may be reused; the data need not have arrived. Operations of one
// goroutine through one descriptor take effect in order, so a flag that is written
// after the data needs no fence between. An empty p does nothing and notifies
// nobody.
// Errors at once: EDESC, EPERM, EALIGN, ERANGE, EFAULT, EINVAL. What the far side
// refuses (ESTALE, EINHIBIT, EDOWN) is reported by the next Fence.
func (d Desc) Write(off uint64, p []byte, flags Flags) error {
	guard()
	src, n := unsafe.Pointer(unsafe.SliceData(p)), uint64(len(p))
	switch flags {
	case 0:
		return failure(insnWrite(src, off, int32(d), n))
	case Swab16:
		return failure(insnWriteSwab16(src, off, int32(d), n))
	case Swab32:
		return failure(insnWriteSwab32(src, off, int32(d), n))
	case Swab64:
		return failure(insnWriteSwab64(src, off, int32(d), n))
	case Notify:
		return failure(insnWriteNotify(src, off, int32(d), n))
	case Notify | Swab16:
		return failure(insnWriteSwab16Notify(src, off, int32(d), n))
	case Notify | Swab32:
		return failure(insnWriteSwab32Notify(src, off, int32(d), n))
	case Notify | Swab64:
		return failure(insnWriteSwab64Notify(src, off, int32(d), n))
	}
	return EINVAL
}

// Read reads len(p) bytes of the segment at off into p. flags is 0 or a Swab.
// Errors: as for Write, those of the far side at once too.
func (d Desc) Read(off uint64, p []byte, flags Flags) error {
	guard()
	dst, n := unsafe.Pointer(unsafe.SliceData(p)), uint64(len(p))
	switch flags {
	case 0:
		return failure(insnRead(dst, off, int32(d), n))
	case Swab16:
		return failure(insnReadSwab16(dst, off, int32(d), n))
	case Swab32:
		return failure(insnReadSwab32(dst, off, int32(d), n))
	case Swab64:
		return failure(insnReadSwab64(dst, off, int32(d), n))
	}
	return EINVAL
}

// ReadAsync posts a read and returns at once. The data is in p after the next
// Fence; until then its contents are undefined and the program must keep a
// reference to it.
func (d Desc) ReadAsync(off uint64, p []byte, flags Flags) error {
	guard()
	dst, n := unsafe.Pointer(unsafe.SliceData(p)), uint64(len(p))
	switch flags {
	case 0:
		return failure(insnReadAsync(dst, off, int32(d), n))
	case Swab16:
		return failure(insnReadSwab16Async(dst, off, int32(d), n))
	case Swab32:
		return failure(insnReadSwab32Async(dst, off, int32(d), n))
	case Swab64:
		return failure(insnReadSwab64Async(dst, off, int32(d), n))
	}
	return EINVAL
}

// CAS compares the 8-byte word at off with expected and, if they are equal, makes
// it desired: so it did if old == expected.
//
// Every atomic needs the word aligned at the owner, by offset and by address. It is
// atomic against all others and against the owner's own atomic instructions. It
// returns what the word held before, and 0 with an error.
// Errors, all at once: EDESC, EPERM, EALIGN, ERANGE, ESTALE, EINHIBIT, EDOWN.
func (d Desc) CAS(off, expected, desired uint64) (old uint64, err error) {
	guard()
	return before(insnCAS(desired, off, int32(d), expected))
}

// FAdd adds addend to the 8-byte word at off, modulo 2^64.
func (d Desc) FAdd(off, addend uint64) (old uint64, err error) {
	guard()
	return before(insnFAdd(addend, off, int32(d)))
}

// Swap stores value in the 8-byte word at off.
func (d Desc) Swap(off, value uint64) (old uint64, err error) {
	guard()
	return before(insnSwap(value, off, int32(d)))
}

// CAS32 is CAS on a 4-byte word.
func (d Desc) CAS32(off uint64, expected, desired uint32) (old uint32, err error) {
	guard()
	return before32(insnCAS32(uint64(desired), off, int32(d), uint64(expected)))
}

// FAdd32 is FAdd on a 4-byte word, modulo 2^32.
func (d Desc) FAdd32(off uint64, addend uint32) (old uint32, err error) {
	guard()
	return before32(insnFAdd32(uint64(addend), off, int32(d)))
}

// Swap32 is Swap on a 4-byte word.
func (d Desc) Swap32(off uint64, value uint32) (old uint32, err error) {
	guard()
	return before32(insnSwap32(uint64(value), off, int32(d)))
}

func before(result int64, old uint64) (uint64, error) {
	if result < 0 {
		return 0, Error(result)
	}
	return old, nil
}

func before32(result int64, old uint64) (uint32, error) {
	v, err := before(result, old)
	return uint32(v), err
}

// Fence waits until everything this process posted on the descriptor, or on Every,
// has taken effect or was refused, and returns the first error since the last
// fence, which is thereby reported. Errors: also EDESC.
func (d Desc) Fence() error {
	guard()
	return failure(insnFence(int32(d)))
}

// Notify notifies the exporter with no data; off, within the segment, is handed to
// it. It is in order with the writes before it; errors as for Write.
func (d Desc) Notify(off uint64) error {
	guard()
	return failure(insnNotify(off, int32(d)))
}
