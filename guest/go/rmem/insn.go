package rmem

import "unsafe"

// One function for each instruction, in insn_$GOARCH.s. The parameters are in the
// order V, A, P, C, D of the operands that the instruction has; the result is the
// result register, and old is V after an atomic.
//
// Those that wait for another node tell the scheduler, as a system call does: while
// they wait the stack is not moved, so that the memory they are given may be on it.
// What is used after the function has returned must not be, hence no noescape for
// the asynchronous reads and for export.

func insnNode() (result int64)

func insnNodes() (result int64)

func insnPoll() (result int64)

func insnMap(off uint64, desc int32, n uint64, rights uint32) (result int64)

func insnUnmap(base uintptr) (result int64)

func insnExport(base unsafe.Pointer, n uint64, name unsafe.Pointer, nameLen uint64, rights uint32) (result int64)

func insnRevoke(seg int32) (result int64)

func insnInhibit(on, seg int32) (result int64)

//go:noescape
func insnImport(timeout int32, node uint32, name unsafe.Pointer, nameLen uint64, rights uint32) (result int64)

func insnRelease(desc int32) (result int64)

//go:noescape
func insnWrite(src unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)

//go:noescape
func insnWriteSwab16(src unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)

//go:noescape
func insnWriteSwab32(src unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)

//go:noescape
func insnWriteSwab64(src unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)

//go:noescape
func insnWriteNotify(src unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)

//go:noescape
func insnWriteSwab16Notify(src unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)

//go:noescape
func insnWriteSwab32Notify(src unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)

//go:noescape
func insnWriteSwab64Notify(src unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)

//go:noescape
func insnRead(dst unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)

//go:noescape
func insnReadSwab16(dst unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)

//go:noescape
func insnReadSwab32(dst unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)

//go:noescape
func insnReadSwab64(dst unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)

func insnReadAsync(dst unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)

func insnReadSwab16Async(dst unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)

func insnReadSwab32Async(dst unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)

func insnReadSwab64Async(dst unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)

func insnCAS(desired, off uint64, desc int32, expected uint64) (result int64, old uint64)

func insnFAdd(addend, off uint64, desc int32) (result int64, old uint64)

func insnSwap(value, off uint64, desc int32) (result int64, old uint64)

func insnCAS32(desired, off uint64, desc int32, expected uint64) (result int64, old uint64)

func insnFAdd32(addend, off uint64, desc int32) (result int64, old uint64)

func insnSwap32(value, off uint64, desc int32) (result int64, old uint64)

func insnFence(desc int32) (result int64)

func insnNotify(off uint64, desc int32) (result int64)

//go:noescape
func insnWait(event unsafe.Pointer, timeout, seg int32) (result int64)
