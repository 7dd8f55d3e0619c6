#include "textflag.h"

// See clmul_amd64.go for the method and crc10_amd64.go for the constants. Nothing that is computed here goes through memory.

// The octets of a block of 16, last first: the stream's first bit becomes the highest.
DATA reverse<>+0(SB)/8, $0x08090a0b0c0d0e0f
DATA reverse<>+8(SB)/8, $0x0001020304050607
GLOBL reverse<>(SB), RODATA|NOPTR, $16

// REMAINDER divides the 48 octets in X0, X1, X2 by the generator; the remainder is in AX. The constants are at BX; X0 to X6 and X8 to X11 are lost.
//
// Six words, each times its power and x^54, are a sum of 127 bits, of which the upper 63 are for the quotient. The quotient, times the
// generator and x^54, is taken away (Barrett); times x first: x^73/generator has 64 bits, x^74 would make it 65.
#define REMAINDER \
	MOVOU     reverse<>(SB), X6;  \
	MOVOU     0(BX), X8;          \
	MOVOU     16(BX), X9;         \
	MOVOU     32(BX), X10;        \
	MOVOU     48(BX), X11;        \
	PSHUFB    X6, X0;             \
	PSHUFB    X6, X1;             \
	PSHUFB    X6, X2;             \
	MOVO      X0, X3;             \
	MOVO      X1, X4;             \
	MOVO      X2, X5;             \
	PCLMULQDQ $0x00, X8, X0;      \
	PCLMULQDQ $0x11, X8, X3;      \
	PCLMULQDQ $0x00, X9, X1;      \
	PCLMULQDQ $0x11, X9, X4;      \
	PCLMULQDQ $0x00, X10, X2;     \
	PCLMULQDQ $0x11, X10, X5;     \
	PXOR      X3, X0;             \
	PXOR      X4, X1;             \
	PXOR      X5, X2;             \
	PXOR      X1, X0;             \
	PXOR      X2, X0;             \
	MOVO      X0, X1;             \
	PADDQ     X1, X1;             \
	PCLMULQDQ $0x01, X11, X1;     \
	PCLMULQDQ $0x11, X11, X1;     \
	PXOR      X1, X0;             \
	MOVQ      X0, AX;             \
	SHRQ      $54, AX

// func crc10CLMUL(p *[48]byte, constants *[8]uint64) uint16
TEXT ·crc10CLMUL(SB), NOSPLIT, $0-18
	MOVQ  p+0(FP), DI
	MOVQ  constants+8(FP), BX
	MOVOU 0(DI), X0
	MOVOU 16(DI), X1
	MOVOU 32(DI), X2
	REMAINDER
	MOVW  AX, ret+16(FP)
	RET

// Loaded at 16 and up to n octets further on, an index by which PSHUFB moves a block n octets to its beginning and fills with 0.
DATA ahead<>+0(SB)/8, $0x0706050403020100
DATA ahead<>+8(SB)/8, $0x0f0e0d0c0b0a0908
DATA ahead<>+16(SB)/8, $0x8080808080808080
DATA ahead<>+24(SB)/8, $0x8080808080808080
GLOBL ahead<>(SB), RODATA|NOPTR, $32

// func sealSSM(c *Cell, header, front uint64, data *byte, n int, constants *[8]uint64)
TEXT ·sealSSM(SB), NOSPLIT, $0-48
	MOVQ c+0(FP), DI
	MOVQ header+8(FP), R8
	MOVQ front+16(FP), R9
	MOVQ data+24(FP), SI
	MOVQ n+32(FP), DX
	MOVQ constants+40(FP), BX

	// The data come to X1, X3, X2: 16, 16, 8 octets, those from n on 0. Nothing outside of the data is read.
	CMPQ   DX, $40
	JNE    short
	MOVOU  0(SI), X1
	MOVOU  16(SI), X3
	MOVQ   32(SI), X2

loaded:
	// 6 + 40 + 2 octets are three blocks of 16.
	MOVQ    R9, X0
	MOVO    X1, X4
	PSLLO   $6, X4
	POR     X4, X0      // front, data[:10]
	PALIGNR $10, X3, X2 // data[26:], 0, 0
	PALIGNR $10, X1, X3 // data[10:26]
	MOVO    X3, X1
	ADDQ    $4, DX
	SHLQ    $10, DX     // LI
	MOVL    DX, AX
	ROLW    $8, AX
	PINSRW  $7, AX, X2

	// The header and the three octets behind it, then the first block over these three. A cell ends with the last block.
	SHLQ  $40, R9
	ORQ   R9, R8
	MOVQ  R8, 0(DI)
	MOVOU X0, 5(DI)
	MOVOU X1, 21(DI)
	MOVO  X2, X7
	REMAINDER
	ORL    DX, AX
	ROLW   $8, AX
	PINSRW $7, AX, X7
	MOVOU  X7, 37(DI)
	RET

	// What is left of a block is read with octets in front of it, or, if there are none, by two words that overlap.
short:
	PXOR   X3, X3
	PXOR   X2, X2
	CMPQ   DX, $16
	JB     below16
	MOVOU  0(SI), X1
	CMPQ   DX, $32
	JB     below32
	MOVOU  16(SI), X3
	MOVQ   -8(SI)(DX*1), X2
	MOVL   $40, CX
	SUBL   DX, CX
	SHLL   $3, CX
	MOVQ   CX, X4
	PSRLQ  X4, X2
	JMP    loaded

below32:
	MOVOU  -16(SI)(DX*1), X3
	LEAQ   ahead<>+32(SB), R10
	SUBQ   DX, R10
	MOVOU  (R10), X4
	PSHUFB X4, X3
	JMP    loaded

below16:
	CMPQ       DX, $8
	JB         below8
	MOVQ       0(SI), X1
	MOVQ       -8(SI)(DX*1), X5
	MOVL       $16, CX
	SUBL       DX, CX
	SHLL       $3, CX
	MOVQ       CX, X4
	PSRLQ      X4, X5
	PUNPCKLQDQ X5, X1
	JMP        loaded

below8:
	MOVL 0(SI), AX
	MOVL -4(SI)(DX*1), R10
	MOVL $8, CX
	SUBL DX, CX
	SHLL $3, CX
	SHRQ CX, R10
	SHLQ $32, R10
	ORQ  R10, AX
	MOVQ AX, X1
	JMP  loaded

// func crc10Indivisible(p *[48]byte, constants *[8]uint64) uint64
TEXT ·crc10Indivisible(SB), NOSPLIT, $0-24
	MOVQ   p+0(FP), DI
	MOVQ   constants+8(FP), BX
	MOVOU  reverse<>(SB), X6
	MOVOU  0(DI), X0
	MOVOU  16(DI), X1
	MOVOU  32(DI), X2
	PSHUFB X6, X0
	PSHUFB X6, X1
	PSHUFB X6, X2

	// A sum of 73 bits that leaves the same remainder as the 384.
	MOVOU     0(BX), X6 // x^320, x^256
	MOVO      X0, X3
	PCLMULQDQ $0x00, X6, X0
	PCLMULQDQ $0x11, X6, X3
	MOVOU     16(BX), X6 // x^192, x^128
	MOVO      X1, X4
	PCLMULQDQ $0x00, X6, X1
	PCLMULQDQ $0x11, X6, X4
	MOVOU     32(BX), X6 // x^64, -
	MOVO      X2, X5
	PCLMULQDQ $0x11, X6, X5
	MOVQ      X2, X2     // the last word as it is
	PXOR      X3, X0
	PXOR      X4, X1
	PXOR      X5, X2
	PXOR      X1, X0
	PXOR      X2, X0

	// The quotient that the lower 64 bits ask for, times the generator: has the sum the same upper bits?
	MOVOU     48(BX), X6 // generator, its inverse modulo x^64
	MOVO      X0, X1
	PCLMULQDQ $0x00, X6, X1
	PCLMULQDQ $0x10, X6, X1
	PXOR      X1, X0
	PSRLO     $8, X0
	MOVQ      X0, AX
	MOVQ      AX, ret+16(FP)
	RET

// func openAligned(data *AlignedData, a *Aligned, first uint64, second uint32) (word uint32, n int)
//
// With the octets in front of the payload taken as 0, and those behind it 0, the 64 are a multiple of the generator if the payload is.
TEXT ·openAligned(SB), NOSPLIT, $0-48
	MOVQ data+0(FP), DI
	MOVQ a+8(FP), SI
	MOVQ first+16(FP), AX
	MOVL second+24(FP), DX
	LEAQ ·crc10Divisibility(SB), BX
	CMPQ AX, 0(SI)
	JNE  wrong
	MOVQ 8(SI), CX
	CMPL CX, DX
	JNE  wrong

	MOVOU  16(SI), X0
	MOVOU  32(SI), X1
	MOVOU  48(SI), X2
	MOVO   X2, X3
	PSRLO  $8, X3
	MOVQ   X3, R8        // LI, CRC, 0
	MOVL   R8, R9
	ANDL   $0xff, R9
	SHRL   $2, R9
	SUBL   $8, R9
	CMPL   R9, $36
	JHI    wrong
	MOVQ   R8, R10
	SHRQ   $16, R10
	JNE    wrong
	MOVOU  X0, 0(DI)
	MOVOU  X1, 16(DI)
	MOVOU  X2, 32(DI)
	MOVQ   CX, R8
	SHRQ   $32, R8
	BSWAPL R8            // the word

	// A sum of 73 bits that leaves the same remainder as the 512.
	BSWAPQ    CX
	SHLQ      $16, CX
	SHRQ      $16, CX
	MOVQ      CX, X7
	MOVOU     reverse<>(SB), X6
	PSHUFB    X6, X0
	PSHUFB    X6, X1
	PSHUFB    X6, X2
	MOVOU     32(BX), X6 // x^64, x^384
	PCLMULQDQ $0x00, X6, X7
	MOVO      X2, X5
	PCLMULQDQ $0x11, X6, X5
	MOVOU     0(BX), X6  // x^320, x^256
	MOVO      X0, X3
	PCLMULQDQ $0x00, X6, X0
	PCLMULQDQ $0x11, X6, X3
	MOVOU     16(BX), X6 // x^192, x^128
	MOVO      X1, X4
	PCLMULQDQ $0x00, X6, X1
	PCLMULQDQ $0x11, X6, X4
	MOVQ      X2, X2     // the last word as it is
	PXOR      X7, X5
	PXOR      X3, X0
	PXOR      X4, X1
	PXOR      X5, X2
	PXOR      X1, X0
	PXOR      X2, X0

	// As in crc10Indivisible.
	MOVOU     48(BX), X6 // generator, its inverse modulo x^64
	MOVO      X0, X1
	PCLMULQDQ $0x00, X6, X1
	PCLMULQDQ $0x10, X6, X1
	PXOR      X1, X0
	PSRLO     $8, X0
	MOVQ      X0, AX
	TESTQ     AX, AX
	JNE       wrong
	ADDL      $4, R9
	MOVL      R8, word+32(FP)
	MOVQ      R9, n+40(FP)
	RET

wrong:
	MOVL $0, word+32(FP)
	MOVQ $0, n+40(FP)
	RET
