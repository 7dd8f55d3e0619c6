#include "funcdata.h"
#include "textflag.h"

// The instruction: UD1, see docs/isa.md. V is in BX, A in SI, P in DI; a field that
// is not used is AX, number 0. C is in CX, D in DX, the result in AX.
//
// INSN(op, flags, modrm, sib), 8 bytes and aligned to 8.
#define INSN(op, flags, modrm, sib) \
	PCALIGN	$8; \
	BYTE	$0x0F; \
	BYTE	$0xB9; \
	BYTE	$modrm; \
	BYTE	$sib; \
	BYTE	$flags; \
	BYTE	$op; \
	BYTE	$0x0D; \
	BYTE	$0x5A

// ModRM: mod 10, reg V, rm 100.
#define V	0x9C
#define noV	0x84

// SIB: scale (log2 width), index P, base A.
#define noAP	0x00
#define P	0x38
#define AP	0x3E
#define AP2	0x7E
#define AP4	0xBE
#define AP8	0xFE

// What has a frame has it for the stub that may take the place of the instruction: it needs more of the stack than a function without one is sure of.

// func insnNode() (result int64)
TEXT ·insnNode(SB), NOSPLIT, $0-8
	INSN(14, 0, noV, noAP)
	MOVQ	AX, result+0(FP)
	RET

// func insnNodes() (result int64)
TEXT ·insnNodes(SB), NOSPLIT, $0-8
	INSN(15, 0, noV, noAP)
	MOVQ	AX, result+0(FP)
	RET

// func insnPoll() (result int64)
TEXT ·insnPoll(SB), 0, $1024-8
	NO_LOCAL_POINTERS
	INSN(16, 0, noV, noAP)
	MOVQ	AX, result+0(FP)
	RET

// func insnMap(off uint64, desc int32, n uint64, rights uint32) (result int64)
TEXT ·insnMap(SB), NOSPLIT, $0-40
	CALL	runtime·entersyscall(SB)
	MOVQ	off+0(FP), SI
	MOVL	desc+8(FP), DI
	MOVQ	n+16(FP), CX
	MOVL	rights+24(FP), DX
	INSN(17, 0, noV, AP)
	MOVQ	AX, result+32(FP)
	CALL	runtime·exitsyscall(SB)
	RET

// func insnUnmap(base uintptr) (result int64)
TEXT ·insnUnmap(SB), NOSPLIT, $0-16
	CALL	runtime·entersyscall(SB)
	MOVQ	base+0(FP), BX
	INSN(18, 0, V, noAP)
	MOVQ	AX, result+8(FP)
	CALL	runtime·exitsyscall(SB)
	RET

// func insnExport(base unsafe.Pointer, n uint64, name unsafe.Pointer, nameLen uint64, rights uint32) (result int64)
TEXT ·insnExport(SB), NOSPLIT, $0-48
	CALL	runtime·entersyscall(SB)
	MOVQ	base+0(FP), BX
	MOVQ	n+8(FP), SI
	MOVQ	name+16(FP), DI
	MOVQ	nameLen+24(FP), CX
	MOVL	rights+32(FP), DX
	INSN(1, 0, V, AP)
	MOVQ	AX, result+40(FP)
	CALL	runtime·exitsyscall(SB)
	RET

// func insnRevoke(seg int32) (result int64)
TEXT ·insnRevoke(SB), NOSPLIT, $0-16
	CALL	runtime·entersyscall(SB)
	MOVL	seg+0(FP), DI
	INSN(2, 0, noV, P)
	MOVQ	AX, result+8(FP)
	CALL	runtime·exitsyscall(SB)
	RET

// func insnInhibit(on, seg int32) (result int64)
TEXT ·insnInhibit(SB), NOSPLIT, $0-16
	CALL	runtime·entersyscall(SB)
	MOVL	on+0(FP), BX
	MOVL	seg+4(FP), DI
	INSN(3, 0, V, P)
	MOVQ	AX, result+8(FP)
	CALL	runtime·exitsyscall(SB)
	RET

// func insnImport(timeout int32, node uint32, name unsafe.Pointer, nameLen uint64, rights uint32) (result int64)
TEXT ·insnImport(SB), NOSPLIT, $0-40
	CALL	runtime·entersyscall(SB)
	MOVL	timeout+0(FP), BX
	MOVL	node+4(FP), SI
	MOVQ	name+8(FP), DI
	MOVQ	nameLen+16(FP), CX
	MOVL	rights+24(FP), DX
	INSN(4, 0, V, AP)
	MOVQ	AX, result+32(FP)
	CALL	runtime·exitsyscall(SB)
	RET

// func insnRelease(desc int32) (result int64)
TEXT ·insnRelease(SB), NOSPLIT, $0-16
	CALL	runtime·entersyscall(SB)
	MOVL	desc+0(FP), DI
	INSN(5, 0, noV, P)
	MOVQ	AX, result+8(FP)
	CALL	runtime·exitsyscall(SB)
	RET

// func insnWrite(src unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnWrite(SB), 0, $1024-40
	NO_LOCAL_POINTERS
	MOVQ	src+0(FP), BX
	MOVQ	off+8(FP), SI
	MOVL	desc+16(FP), DI
	MOVQ	n+24(FP), CX
	INSN(6, 0, V, AP)
	MOVQ	AX, result+32(FP)
	RET

// func insnWriteSwab16(src unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnWriteSwab16(SB), 0, $1024-40
	NO_LOCAL_POINTERS
	MOVQ	src+0(FP), BX
	MOVQ	off+8(FP), SI
	MOVL	desc+16(FP), DI
	MOVQ	n+24(FP), CX
	INSN(6, 0, V, AP2)
	MOVQ	AX, result+32(FP)
	RET

// func insnWriteSwab32(src unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnWriteSwab32(SB), 0, $1024-40
	NO_LOCAL_POINTERS
	MOVQ	src+0(FP), BX
	MOVQ	off+8(FP), SI
	MOVL	desc+16(FP), DI
	MOVQ	n+24(FP), CX
	INSN(6, 0, V, AP4)
	MOVQ	AX, result+32(FP)
	RET

// func insnWriteSwab64(src unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnWriteSwab64(SB), 0, $1024-40
	NO_LOCAL_POINTERS
	MOVQ	src+0(FP), BX
	MOVQ	off+8(FP), SI
	MOVL	desc+16(FP), DI
	MOVQ	n+24(FP), CX
	INSN(6, 0, V, AP8)
	MOVQ	AX, result+32(FP)
	RET

// func insnWriteNotify(src unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnWriteNotify(SB), 0, $1024-40
	NO_LOCAL_POINTERS
	MOVQ	src+0(FP), BX
	MOVQ	off+8(FP), SI
	MOVL	desc+16(FP), DI
	MOVQ	n+24(FP), CX
	INSN(6, 1, V, AP)
	MOVQ	AX, result+32(FP)
	RET

// func insnWriteSwab16Notify(src unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnWriteSwab16Notify(SB), 0, $1024-40
	NO_LOCAL_POINTERS
	MOVQ	src+0(FP), BX
	MOVQ	off+8(FP), SI
	MOVL	desc+16(FP), DI
	MOVQ	n+24(FP), CX
	INSN(6, 1, V, AP2)
	MOVQ	AX, result+32(FP)
	RET

// func insnWriteSwab32Notify(src unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnWriteSwab32Notify(SB), 0, $1024-40
	NO_LOCAL_POINTERS
	MOVQ	src+0(FP), BX
	MOVQ	off+8(FP), SI
	MOVL	desc+16(FP), DI
	MOVQ	n+24(FP), CX
	INSN(6, 1, V, AP4)
	MOVQ	AX, result+32(FP)
	RET

// func insnWriteSwab64Notify(src unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnWriteSwab64Notify(SB), 0, $1024-40
	NO_LOCAL_POINTERS
	MOVQ	src+0(FP), BX
	MOVQ	off+8(FP), SI
	MOVL	desc+16(FP), DI
	MOVQ	n+24(FP), CX
	INSN(6, 1, V, AP8)
	MOVQ	AX, result+32(FP)
	RET

// func insnRead(dst unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnRead(SB), 0, $1024-40
	NO_LOCAL_POINTERS
	CALL	runtime·entersyscall(SB)
	MOVQ	dst+0(FP), BX
	MOVQ	off+8(FP), SI
	MOVL	desc+16(FP), DI
	MOVQ	n+24(FP), CX
	INSN(7, 0, V, AP)
	MOVQ	AX, result+32(FP)
	CALL	runtime·exitsyscall(SB)
	RET

// func insnReadSwab16(dst unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnReadSwab16(SB), 0, $1024-40
	NO_LOCAL_POINTERS
	CALL	runtime·entersyscall(SB)
	MOVQ	dst+0(FP), BX
	MOVQ	off+8(FP), SI
	MOVL	desc+16(FP), DI
	MOVQ	n+24(FP), CX
	INSN(7, 0, V, AP2)
	MOVQ	AX, result+32(FP)
	CALL	runtime·exitsyscall(SB)
	RET

// func insnReadSwab32(dst unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnReadSwab32(SB), 0, $1024-40
	NO_LOCAL_POINTERS
	CALL	runtime·entersyscall(SB)
	MOVQ	dst+0(FP), BX
	MOVQ	off+8(FP), SI
	MOVL	desc+16(FP), DI
	MOVQ	n+24(FP), CX
	INSN(7, 0, V, AP4)
	MOVQ	AX, result+32(FP)
	CALL	runtime·exitsyscall(SB)
	RET

// func insnReadSwab64(dst unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnReadSwab64(SB), 0, $1024-40
	NO_LOCAL_POINTERS
	CALL	runtime·entersyscall(SB)
	MOVQ	dst+0(FP), BX
	MOVQ	off+8(FP), SI
	MOVL	desc+16(FP), DI
	MOVQ	n+24(FP), CX
	INSN(7, 0, V, AP8)
	MOVQ	AX, result+32(FP)
	CALL	runtime·exitsyscall(SB)
	RET

// func insnReadAsync(dst unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnReadAsync(SB), 0, $1024-40
	NO_LOCAL_POINTERS
	MOVQ	dst+0(FP), BX
	MOVQ	off+8(FP), SI
	MOVL	desc+16(FP), DI
	MOVQ	n+24(FP), CX
	INSN(7, 2, V, AP)
	MOVQ	AX, result+32(FP)
	RET

// func insnReadSwab16Async(dst unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnReadSwab16Async(SB), 0, $1024-40
	NO_LOCAL_POINTERS
	MOVQ	dst+0(FP), BX
	MOVQ	off+8(FP), SI
	MOVL	desc+16(FP), DI
	MOVQ	n+24(FP), CX
	INSN(7, 2, V, AP2)
	MOVQ	AX, result+32(FP)
	RET

// func insnReadSwab32Async(dst unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnReadSwab32Async(SB), 0, $1024-40
	NO_LOCAL_POINTERS
	MOVQ	dst+0(FP), BX
	MOVQ	off+8(FP), SI
	MOVL	desc+16(FP), DI
	MOVQ	n+24(FP), CX
	INSN(7, 2, V, AP4)
	MOVQ	AX, result+32(FP)
	RET

// func insnReadSwab64Async(dst unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnReadSwab64Async(SB), 0, $1024-40
	NO_LOCAL_POINTERS
	MOVQ	dst+0(FP), BX
	MOVQ	off+8(FP), SI
	MOVL	desc+16(FP), DI
	MOVQ	n+24(FP), CX
	INSN(7, 2, V, AP8)
	MOVQ	AX, result+32(FP)
	RET

// func insnCAS(desired, off uint64, desc int32, expected uint64) (result int64, old uint64)
TEXT ·insnCAS(SB), 0, $1024-48
	NO_LOCAL_POINTERS
	CALL	runtime·entersyscall(SB)
	MOVQ	desired+0(FP), BX
	MOVQ	off+8(FP), SI
	MOVL	desc+16(FP), DI
	MOVQ	expected+24(FP), DX
	INSN(8, 0, V, AP8)
	MOVQ	AX, result+32(FP)
	MOVQ	BX, old+40(FP)
	CALL	runtime·exitsyscall(SB)
	RET

// func insnFAdd(addend, off uint64, desc int32) (result int64, old uint64)
TEXT ·insnFAdd(SB), 0, $1024-40
	NO_LOCAL_POINTERS
	CALL	runtime·entersyscall(SB)
	MOVQ	addend+0(FP), BX
	MOVQ	off+8(FP), SI
	MOVL	desc+16(FP), DI
	INSN(9, 0, V, AP8)
	MOVQ	AX, result+24(FP)
	MOVQ	BX, old+32(FP)
	CALL	runtime·exitsyscall(SB)
	RET

// func insnSwap(value, off uint64, desc int32) (result int64, old uint64)
TEXT ·insnSwap(SB), 0, $1024-40
	NO_LOCAL_POINTERS
	CALL	runtime·entersyscall(SB)
	MOVQ	value+0(FP), BX
	MOVQ	off+8(FP), SI
	MOVL	desc+16(FP), DI
	INSN(10, 0, V, AP8)
	MOVQ	AX, result+24(FP)
	MOVQ	BX, old+32(FP)
	CALL	runtime·exitsyscall(SB)
	RET

// func insnCAS32(desired, off uint64, desc int32, expected uint64) (result int64, old uint64)
TEXT ·insnCAS32(SB), 0, $1024-48
	NO_LOCAL_POINTERS
	CALL	runtime·entersyscall(SB)
	MOVQ	desired+0(FP), BX
	MOVQ	off+8(FP), SI
	MOVL	desc+16(FP), DI
	MOVQ	expected+24(FP), DX
	INSN(8, 0, V, AP4)
	MOVQ	AX, result+32(FP)
	MOVQ	BX, old+40(FP)
	CALL	runtime·exitsyscall(SB)
	RET

// func insnFAdd32(addend, off uint64, desc int32) (result int64, old uint64)
TEXT ·insnFAdd32(SB), 0, $1024-40
	NO_LOCAL_POINTERS
	CALL	runtime·entersyscall(SB)
	MOVQ	addend+0(FP), BX
	MOVQ	off+8(FP), SI
	MOVL	desc+16(FP), DI
	INSN(9, 0, V, AP4)
	MOVQ	AX, result+24(FP)
	MOVQ	BX, old+32(FP)
	CALL	runtime·exitsyscall(SB)
	RET

// func insnSwap32(value, off uint64, desc int32) (result int64, old uint64)
TEXT ·insnSwap32(SB), 0, $1024-40
	NO_LOCAL_POINTERS
	CALL	runtime·entersyscall(SB)
	MOVQ	value+0(FP), BX
	MOVQ	off+8(FP), SI
	MOVL	desc+16(FP), DI
	INSN(10, 0, V, AP4)
	MOVQ	AX, result+24(FP)
	MOVQ	BX, old+32(FP)
	CALL	runtime·exitsyscall(SB)
	RET

// func insnFence(desc int32) (result int64)
TEXT ·insnFence(SB), 0, $1024-16
	NO_LOCAL_POINTERS
	CALL	runtime·entersyscall(SB)
	MOVL	desc+0(FP), DI
	INSN(11, 0, noV, P)
	MOVQ	AX, result+8(FP)
	CALL	runtime·exitsyscall(SB)
	RET

// func insnNotify(off uint64, desc int32) (result int64)
TEXT ·insnNotify(SB), 0, $1024-24
	NO_LOCAL_POINTERS
	MOVQ	off+0(FP), SI
	MOVL	desc+8(FP), DI
	INSN(12, 0, noV, AP)
	MOVQ	AX, result+16(FP)
	RET

// func insnWait(event unsafe.Pointer, timeout, seg int32) (result int64)
TEXT ·insnWait(SB), 0, $1024-24
	NO_LOCAL_POINTERS
	CALL	runtime·entersyscall(SB)
	MOVQ	event+0(FP), BX
	MOVL	timeout+8(FP), SI
	MOVL	seg+12(FP), DI
	INSN(13, 0, V, AP)
	MOVQ	AX, result+16(FP)
	CALL	runtime·exitsyscall(SB)
	RET
