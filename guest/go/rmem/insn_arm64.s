#include "textflag.h"

// The instruction: two UDF words, see docs/isa.md. V is in R3, A in R4, P in R5; a
// field that is not used is R0, number 0. C is in R1, D in R2, the result in R0.
//
// INSN(op, flag, log2w, operands), 8 bytes and aligned to 8.
#define INSN(op, flag, log2w, operands) \
	PCALIGN	$8; \
	WORD	$(0xB500 + op*8 + flag*4 + log2w); \
	WORD	$(0x8000 + operands)

#define noVAP	0
#define V	(3*1024)
#define P	5
#define AP	(4*32 + 5)
#define VP	(3*1024 + 5)
#define VAP	(3*1024 + 4*32 + 5)

// func insnNode() (result int64)
TEXT ·insnNode(SB), NOSPLIT, $0-8
	INSN(14, 0, 0, noVAP)
	MOVD	R0, result+0(FP)
	RET

// func insnNodes() (result int64)
TEXT ·insnNodes(SB), NOSPLIT, $0-8
	INSN(15, 0, 0, noVAP)
	MOVD	R0, result+0(FP)
	RET

// func insnPoll() (result int64)
TEXT ·insnPoll(SB), NOSPLIT, $0-8
	INSN(16, 0, 0, noVAP)
	MOVD	R0, result+0(FP)
	RET

// func insnMap(off uint64, desc int32, n uint64, rights uint32) (result int64)
TEXT ·insnMap(SB), NOSPLIT, $0-40
	BL	runtime·entersyscall(SB)
	MOVD	off+0(FP), R4
	MOVW	desc+8(FP), R5
	MOVD	n+16(FP), R1
	MOVWU	rights+24(FP), R2
	INSN(17, 0, 0, AP)
	MOVD	R0, result+32(FP)
	BL	runtime·exitsyscall(SB)
	RET

// func insnUnmap(base uintptr) (result int64)
TEXT ·insnUnmap(SB), NOSPLIT, $0-16
	BL	runtime·entersyscall(SB)
	MOVD	base+0(FP), R3
	INSN(18, 0, 0, V)
	MOVD	R0, result+8(FP)
	BL	runtime·exitsyscall(SB)
	RET

// func insnExport(base unsafe.Pointer, n uint64, name unsafe.Pointer, nameLen uint64, rights uint32) (result int64)
TEXT ·insnExport(SB), NOSPLIT, $0-48
	BL	runtime·entersyscall(SB)
	MOVD	base+0(FP), R3
	MOVD	n+8(FP), R4
	MOVD	name+16(FP), R5
	MOVD	nameLen+24(FP), R1
	MOVWU	rights+32(FP), R2
	INSN(1, 0, 0, VAP)
	MOVD	R0, result+40(FP)
	BL	runtime·exitsyscall(SB)
	RET

// func insnRevoke(seg int32) (result int64)
TEXT ·insnRevoke(SB), NOSPLIT, $0-16
	BL	runtime·entersyscall(SB)
	MOVW	seg+0(FP), R5
	INSN(2, 0, 0, P)
	MOVD	R0, result+8(FP)
	BL	runtime·exitsyscall(SB)
	RET

// func insnInhibit(on, seg int32) (result int64)
TEXT ·insnInhibit(SB), NOSPLIT, $0-16
	BL	runtime·entersyscall(SB)
	MOVW	on+0(FP), R3
	MOVW	seg+4(FP), R5
	INSN(3, 0, 0, VP)
	MOVD	R0, result+8(FP)
	BL	runtime·exitsyscall(SB)
	RET

// func insnImport(timeout int32, node uint32, name unsafe.Pointer, nameLen uint64, rights uint32) (result int64)
TEXT ·insnImport(SB), NOSPLIT, $0-40
	BL	runtime·entersyscall(SB)
	MOVW	timeout+0(FP), R3
	MOVWU	node+4(FP), R4
	MOVD	name+8(FP), R5
	MOVD	nameLen+16(FP), R1
	MOVWU	rights+24(FP), R2
	INSN(4, 0, 0, VAP)
	MOVD	R0, result+32(FP)
	BL	runtime·exitsyscall(SB)
	RET

// func insnRelease(desc int32) (result int64)
TEXT ·insnRelease(SB), NOSPLIT, $0-16
	BL	runtime·entersyscall(SB)
	MOVW	desc+0(FP), R5
	INSN(5, 0, 0, P)
	MOVD	R0, result+8(FP)
	BL	runtime·exitsyscall(SB)
	RET

// func insnWrite(src unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnWrite(SB), NOSPLIT, $0-40
	MOVD	src+0(FP), R3
	MOVD	off+8(FP), R4
	MOVW	desc+16(FP), R5
	MOVD	n+24(FP), R1
	INSN(6, 0, 0, VAP)
	MOVD	R0, result+32(FP)
	RET

// func insnWriteSwab16(src unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnWriteSwab16(SB), NOSPLIT, $0-40
	MOVD	src+0(FP), R3
	MOVD	off+8(FP), R4
	MOVW	desc+16(FP), R5
	MOVD	n+24(FP), R1
	INSN(6, 0, 1, VAP)
	MOVD	R0, result+32(FP)
	RET

// func insnWriteSwab32(src unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnWriteSwab32(SB), NOSPLIT, $0-40
	MOVD	src+0(FP), R3
	MOVD	off+8(FP), R4
	MOVW	desc+16(FP), R5
	MOVD	n+24(FP), R1
	INSN(6, 0, 2, VAP)
	MOVD	R0, result+32(FP)
	RET

// func insnWriteSwab64(src unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnWriteSwab64(SB), NOSPLIT, $0-40
	MOVD	src+0(FP), R3
	MOVD	off+8(FP), R4
	MOVW	desc+16(FP), R5
	MOVD	n+24(FP), R1
	INSN(6, 0, 3, VAP)
	MOVD	R0, result+32(FP)
	RET

// func insnWriteNotify(src unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnWriteNotify(SB), NOSPLIT, $0-40
	MOVD	src+0(FP), R3
	MOVD	off+8(FP), R4
	MOVW	desc+16(FP), R5
	MOVD	n+24(FP), R1
	INSN(6, 1, 0, VAP)
	MOVD	R0, result+32(FP)
	RET

// func insnWriteSwab16Notify(src unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnWriteSwab16Notify(SB), NOSPLIT, $0-40
	MOVD	src+0(FP), R3
	MOVD	off+8(FP), R4
	MOVW	desc+16(FP), R5
	MOVD	n+24(FP), R1
	INSN(6, 1, 1, VAP)
	MOVD	R0, result+32(FP)
	RET

// func insnWriteSwab32Notify(src unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnWriteSwab32Notify(SB), NOSPLIT, $0-40
	MOVD	src+0(FP), R3
	MOVD	off+8(FP), R4
	MOVW	desc+16(FP), R5
	MOVD	n+24(FP), R1
	INSN(6, 1, 2, VAP)
	MOVD	R0, result+32(FP)
	RET

// func insnWriteSwab64Notify(src unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnWriteSwab64Notify(SB), NOSPLIT, $0-40
	MOVD	src+0(FP), R3
	MOVD	off+8(FP), R4
	MOVW	desc+16(FP), R5
	MOVD	n+24(FP), R1
	INSN(6, 1, 3, VAP)
	MOVD	R0, result+32(FP)
	RET

// func insnRead(dst unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnRead(SB), NOSPLIT, $0-40
	BL	runtime·entersyscall(SB)
	MOVD	dst+0(FP), R3
	MOVD	off+8(FP), R4
	MOVW	desc+16(FP), R5
	MOVD	n+24(FP), R1
	INSN(7, 0, 0, VAP)
	MOVD	R0, result+32(FP)
	BL	runtime·exitsyscall(SB)
	RET

// func insnReadSwab16(dst unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnReadSwab16(SB), NOSPLIT, $0-40
	BL	runtime·entersyscall(SB)
	MOVD	dst+0(FP), R3
	MOVD	off+8(FP), R4
	MOVW	desc+16(FP), R5
	MOVD	n+24(FP), R1
	INSN(7, 0, 1, VAP)
	MOVD	R0, result+32(FP)
	BL	runtime·exitsyscall(SB)
	RET

// func insnReadSwab32(dst unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnReadSwab32(SB), NOSPLIT, $0-40
	BL	runtime·entersyscall(SB)
	MOVD	dst+0(FP), R3
	MOVD	off+8(FP), R4
	MOVW	desc+16(FP), R5
	MOVD	n+24(FP), R1
	INSN(7, 0, 2, VAP)
	MOVD	R0, result+32(FP)
	BL	runtime·exitsyscall(SB)
	RET

// func insnReadSwab64(dst unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnReadSwab64(SB), NOSPLIT, $0-40
	BL	runtime·entersyscall(SB)
	MOVD	dst+0(FP), R3
	MOVD	off+8(FP), R4
	MOVW	desc+16(FP), R5
	MOVD	n+24(FP), R1
	INSN(7, 0, 3, VAP)
	MOVD	R0, result+32(FP)
	BL	runtime·exitsyscall(SB)
	RET

// func insnReadAsync(dst unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnReadAsync(SB), NOSPLIT, $0-40
	MOVD	dst+0(FP), R3
	MOVD	off+8(FP), R4
	MOVW	desc+16(FP), R5
	MOVD	n+24(FP), R1
	INSN(7, 1, 0, VAP)
	MOVD	R0, result+32(FP)
	RET

// func insnReadSwab16Async(dst unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnReadSwab16Async(SB), NOSPLIT, $0-40
	MOVD	dst+0(FP), R3
	MOVD	off+8(FP), R4
	MOVW	desc+16(FP), R5
	MOVD	n+24(FP), R1
	INSN(7, 1, 1, VAP)
	MOVD	R0, result+32(FP)
	RET

// func insnReadSwab32Async(dst unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnReadSwab32Async(SB), NOSPLIT, $0-40
	MOVD	dst+0(FP), R3
	MOVD	off+8(FP), R4
	MOVW	desc+16(FP), R5
	MOVD	n+24(FP), R1
	INSN(7, 1, 2, VAP)
	MOVD	R0, result+32(FP)
	RET

// func insnReadSwab64Async(dst unsafe.Pointer, off uint64, desc int32, n uint64) (result int64)
TEXT ·insnReadSwab64Async(SB), NOSPLIT, $0-40
	MOVD	dst+0(FP), R3
	MOVD	off+8(FP), R4
	MOVW	desc+16(FP), R5
	MOVD	n+24(FP), R1
	INSN(7, 1, 3, VAP)
	MOVD	R0, result+32(FP)
	RET

// func insnCAS(desired, off uint64, desc int32, expected uint64) (result int64, old uint64)
TEXT ·insnCAS(SB), NOSPLIT, $0-48
	BL	runtime·entersyscall(SB)
	MOVD	desired+0(FP), R3
	MOVD	off+8(FP), R4
	MOVW	desc+16(FP), R5
	MOVD	expected+24(FP), R2
	INSN(8, 0, 3, VAP)
	MOVD	R0, result+32(FP)
	MOVD	R3, old+40(FP)
	BL	runtime·exitsyscall(SB)
	RET

// func insnFAdd(addend, off uint64, desc int32) (result int64, old uint64)
TEXT ·insnFAdd(SB), NOSPLIT, $0-40
	BL	runtime·entersyscall(SB)
	MOVD	addend+0(FP), R3
	MOVD	off+8(FP), R4
	MOVW	desc+16(FP), R5
	INSN(9, 0, 3, VAP)
	MOVD	R0, result+24(FP)
	MOVD	R3, old+32(FP)
	BL	runtime·exitsyscall(SB)
	RET

// func insnSwap(value, off uint64, desc int32) (result int64, old uint64)
TEXT ·insnSwap(SB), NOSPLIT, $0-40
	BL	runtime·entersyscall(SB)
	MOVD	value+0(FP), R3
	MOVD	off+8(FP), R4
	MOVW	desc+16(FP), R5
	INSN(10, 0, 3, VAP)
	MOVD	R0, result+24(FP)
	MOVD	R3, old+32(FP)
	BL	runtime·exitsyscall(SB)
	RET

// func insnCAS32(desired, off uint64, desc int32, expected uint64) (result int64, old uint64)
TEXT ·insnCAS32(SB), NOSPLIT, $0-48
	BL	runtime·entersyscall(SB)
	MOVD	desired+0(FP), R3
	MOVD	off+8(FP), R4
	MOVW	desc+16(FP), R5
	MOVD	expected+24(FP), R2
	INSN(8, 0, 2, VAP)
	MOVD	R0, result+32(FP)
	MOVD	R3, old+40(FP)
	BL	runtime·exitsyscall(SB)
	RET

// func insnFAdd32(addend, off uint64, desc int32) (result int64, old uint64)
TEXT ·insnFAdd32(SB), NOSPLIT, $0-40
	BL	runtime·entersyscall(SB)
	MOVD	addend+0(FP), R3
	MOVD	off+8(FP), R4
	MOVW	desc+16(FP), R5
	INSN(9, 0, 2, VAP)
	MOVD	R0, result+24(FP)
	MOVD	R3, old+32(FP)
	BL	runtime·exitsyscall(SB)
	RET

// func insnSwap32(value, off uint64, desc int32) (result int64, old uint64)
TEXT ·insnSwap32(SB), NOSPLIT, $0-40
	BL	runtime·entersyscall(SB)
	MOVD	value+0(FP), R3
	MOVD	off+8(FP), R4
	MOVW	desc+16(FP), R5
	INSN(10, 0, 2, VAP)
	MOVD	R0, result+24(FP)
	MOVD	R3, old+32(FP)
	BL	runtime·exitsyscall(SB)
	RET

// func insnFence(desc int32) (result int64)
TEXT ·insnFence(SB), NOSPLIT, $0-16
	BL	runtime·entersyscall(SB)
	MOVW	desc+0(FP), R5
	INSN(11, 0, 0, P)
	MOVD	R0, result+8(FP)
	BL	runtime·exitsyscall(SB)
	RET

// func insnNotify(off uint64, desc int32) (result int64)
TEXT ·insnNotify(SB), NOSPLIT, $0-24
	MOVD	off+0(FP), R4
	MOVW	desc+8(FP), R5
	INSN(12, 0, 0, AP)
	MOVD	R0, result+16(FP)
	RET

// func insnWait(event unsafe.Pointer, timeout, seg int32) (result int64)
TEXT ·insnWait(SB), NOSPLIT, $0-24
	BL	runtime·entersyscall(SB)
	MOVD	event+0(FP), R3
	MOVW	timeout+8(FP), R4
	MOVW	seg+12(FP), R5
	INSN(13, 0, 0, VAP)
	MOVD	R0, result+16(FP)
	BL	runtime·exitsyscall(SB)
	RET
