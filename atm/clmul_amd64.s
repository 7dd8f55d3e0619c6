#include "textflag.h"

// Multiplication without carries divides by generators: a block of 64 bits that stands n places further left is worth itself times
// x^n, and x^n may be replaced by its remainder. See clmul_amd64.go for the constants.

// The octets of a block of 16, last first: the stream's first bit becomes the highest.
DATA reverse<>+0(SB)/8, $0x08090a0b0c0d0e0f
DATA reverse<>+8(SB)/8, $0x0001020304050607
GLOBL reverse<>(SB), RODATA|NOPTR, $16

// func crc10CLMUL(p *[48]byte, powers *[8]uint64) uint16
TEXT ·crc10CLMUL(SB), NOSPLIT, $0-18
	MOVQ p+0(FP), AX
	MOVQ powers+8(FP), BX
	MOVOU reverse<>(SB), X7
	MOVOU 0(BX), X3  // x^320, x^256
	MOVOU 16(BX), X4 // x^192, x^128
	MOVOU 32(BX), X5 // x^64, 1, all times x^54
	MOVOU 48(BX), X6 // generator times x^54, inverse
	MOVOU 0(AX), X0
	MOVOU 16(AX), X1
	MOVOU 32(AX), X2
	PSHUFB X7, X0
	PSHUFB X7, X1
	PSHUFB X7, X2

	// The sum of six words, each times its power and x^54: 127 bits, of which the upper 63 are for the quotient.
	MOVO X0, X8
	MOVO X1, X9
	MOVO X2, X10
	PCLMULQDQ $0x00, X3, X0
	PCLMULQDQ $0x11, X3, X8
	PCLMULQDQ $0x00, X4, X1
	PCLMULQDQ $0x11, X4, X9
	PCLMULQDQ $0x00, X5, X2
	PCLMULQDQ $0x11, X5, X10
	PXOR X8, X0
	PXOR X9, X1
	PXOR X10, X2
	PXOR X1, X0
	PXOR X2, X0

	// The quotient, times the generator and x^54, taken away (Barrett). Times x first: x^73/generator has 64 bits, x^74 would make it 65.
	MOVO X0, X1
	PADDQ X1, X1
	PCLMULQDQ $0x01, X6, X1
	PCLMULQDQ $0x11, X6, X1
	PXOR X1, X0
	MOVQ X0, AX
	SHRQ $54, AX
	MOVW AX, ret+16(FP)
	RET

// func crc32CLMUL(r uint32, p *byte, n int, powers *[10]uint64) uint32
TEXT ·crc32CLMUL(SB), NOSPLIT, $0-36
	MOVL r+0(FP), DX
	MOVQ p+8(FP), AX
	MOVQ n+16(FP), CX
	MOVQ powers+24(FP), BX
	MOVOU reverse<>(SB), X7
	MOVOU 16(BX), X5 // x^192, x^128
	SHLQ $32, DX
	MOVQ DX, X6
	PSLLDQ $8, X6 // the register lies over the first 32 bits
	MOVOU 0(AX), X0
	PSHUFB X7, X0
	PXOR X6, X0
	CMPQ CX, $128
	JB   one

	// Four blocks at a time, each carried 512 places on.
	MOVOU 0(BX), X6 // x^576, x^512
	MOVOU 16(AX), X1
	MOVOU 32(AX), X2
	MOVOU 48(AX), X3
	PSHUFB X7, X1
	PSHUFB X7, X2
	PSHUFB X7, X3
	ADDQ $64, AX
	SUBQ $64, CX

four:
	MOVO X0, X8
	MOVO X1, X9
	MOVO X2, X10
	MOVO X3, X11
	PCLMULQDQ $0x00, X6, X0
	PCLMULQDQ $0x11, X6, X8
	PCLMULQDQ $0x00, X6, X1
	PCLMULQDQ $0x11, X6, X9
	PCLMULQDQ $0x00, X6, X2
	PCLMULQDQ $0x11, X6, X10
	PCLMULQDQ $0x00, X6, X3
	PCLMULQDQ $0x11, X6, X11
	PXOR X8, X0
	PXOR X9, X1
	PXOR X10, X2
	PXOR X11, X3
	MOVOU 0(AX), X8
	MOVOU 16(AX), X9
	MOVOU 32(AX), X10
	MOVOU 48(AX), X11
	PSHUFB X7, X8
	PSHUFB X7, X9
	PSHUFB X7, X10
	PSHUFB X7, X11
	PXOR X8, X0
	PXOR X9, X1
	PXOR X10, X2
	PXOR X11, X3
	ADDQ $64, AX
	SUBQ $64, CX
	CMPQ CX, $64
	JAE  four

	// The four become one, each carried 128 places into the next.
	MOVO X0, X8
	PCLMULQDQ $0x00, X5, X0
	PCLMULQDQ $0x11, X5, X8
	PXOR X0, X1
	PXOR X8, X1
	MOVO X1, X8
	PCLMULQDQ $0x00, X5, X1
	PCLMULQDQ $0x11, X5, X8
	PXOR X1, X2
	PXOR X8, X2
	MOVO X2, X0
	PCLMULQDQ $0x00, X5, X2
	PCLMULQDQ $0x11, X5, X0
	PXOR X2, X0
	PXOR X3, X0
	JMP  rest

one:
	ADDQ $16, AX
	SUBQ $16, CX

rest:
	CMPQ CX, $16
	JB   reduce
	MOVO X0, X8
	PCLMULQDQ $0x00, X5, X0
	PCLMULQDQ $0x11, X5, X8
	MOVOU 0(AX), X1
	PSHUFB X7, X1
	PXOR X8, X0
	PXOR X1, X0
	ADDQ $16, AX
	SUBQ $16, CX
	JMP  rest

reduce:
	// 128 bits times x^32: the upper half times x^96, the lower times x^32, 96 bits.
	MOVOU 32(BX), X5 // x^96, x^32
	MOVOU 48(BX), X6 // x^64, -
	MOVO X0, X1
	PCLMULQDQ $0x00, X5, X0
	PCLMULQDQ $0x11, X5, X1
	PXOR X1, X0

	// The upper 32 of them times x^64: 64 bits.
	MOVO X0, X1
	PCLMULQDQ $0x11, X6, X1
	PXOR X1, X0

	// The quotient, times the generator, taken away (Barrett).
	MOVOU 64(BX), X6 // generator, inverse
	MOVO X0, X1
	PCLMULQDQ $0x00, X6, X1
	PCLMULQDQ $0x11, X6, X1
	PXOR X1, X0
	MOVQ X0, AX
	MOVL AX, ret+32(FP)
	RET
