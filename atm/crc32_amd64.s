#include "textflag.h"

// See clmul_amd64.go for the method and crc32_amd64.go for the constants.

// The octets of a block of 16, last first: the stream's first bit becomes the highest.
DATA reverse<>+0(SB)/8, $0x08090a0b0c0d0e0f
DATA reverse<>+8(SB)/8, $0x0001020304050607
GLOBL reverse<>(SB), RODATA|NOPTR, $16

// FOLD adds to the block to, which comes behind it, the block x times the constants k. x and t are lost.
#define FOLD(x, k, to, t) \
	MOVO      x, t;        \
	PCLMULQDQ $0x00, k, x; \
	PCLMULQDQ $0x11, k, t; \
	PXOR      x, to;       \
	PXOR      t, to

// FINISH takes in the blocks of 16 octets that are left, CX octets at AX, behind the block in X0, divides by the generator, and returns.
// The constants are at BX; X7 is reverse.
//
// The last 128 bits come to 96, these to 64; the quotient of them, times the generator, is taken away (Barrett).
#define FINISH(rest, reduce) \
	MOVOU 16(BX), X5;        \
rest:                        \
	CMPQ  CX, $16;           \
	JB    reduce;            \
	MOVOU 0(AX), X1;         \
	PSHUFB X7, X1;           \
	FOLD(X0, X5, X1, X8);    \
	MOVO  X1, X0;            \
	ADDQ  $16, AX;           \
	SUBQ  $16, CX;           \
	JMP   rest;              \
reduce:                      \
	MOVOU 32(BX), X5;        \
	MOVOU 48(BX), X6;        \
	MOVO  X0, X1;            \
	PCLMULQDQ $0x00, X5, X0; \
	PCLMULQDQ $0x11, X5, X1; \
	PXOR  X1, X0;            \
	MOVO  X0, X1;            \
	PCLMULQDQ $0x11, X6, X1; \
	PXOR  X1, X0;            \
	MOVOU 64(BX), X6;        \
	MOVO  X0, X1;            \
	PCLMULQDQ $0x00, X6, X1; \
	PCLMULQDQ $0x11, X6, X1; \
	PXOR  X1, X0;            \
	MOVQ  X0, AX;            \
	MOVL  AX, ret+32(FP);    \
	RET

// func crc32CLMUL(r uint32, p *byte, n int, constants *crc32Constants) uint32
TEXT ·crc32CLMUL(SB), NOSPLIT, $0-36
	MOVL   r+0(FP), DX
	MOVQ   p+8(FP), AX
	MOVQ   n+16(FP), CX
	MOVQ   constants+24(FP), BX
	MOVOU  reverse<>(SB), X7
	SHLQ   $32, DX
	MOVQ   DX, X6
	PSLLO  $8, X6 // the register lies over the first 32 bits
	MOVOU  0(AX), X0
	PSHUFB X7, X0
	PXOR   X6, X0
	CMPQ   CX, $128
	JB     one

	// Four blocks at a time, each carried 512 places on.
	MOVOU  0(BX), X6
	MOVOU  16(AX), X1
	MOVOU  32(AX), X2
	MOVOU  48(AX), X3
	PSHUFB X7, X1
	PSHUFB X7, X2
	PSHUFB X7, X3
	ADDQ   $64, AX
	SUBQ   $64, CX

four:
	MOVOU  0(AX), X8
	MOVOU  16(AX), X9
	MOVOU  32(AX), X10
	MOVOU  48(AX), X11
	PSHUFB X7, X8
	PSHUFB X7, X9
	PSHUFB X7, X10
	PSHUFB X7, X11
	FOLD(X0, X6, X8, X12)
	FOLD(X1, X6, X9, X13)
	FOLD(X2, X6, X10, X14)
	FOLD(X3, X6, X11, X15)
	MOVO   X8, X0
	MOVO   X9, X1
	MOVO   X10, X2
	MOVO   X11, X3
	ADDQ   $64, AX
	SUBQ   $64, CX
	CMPQ   CX, $64
	JAE    four

	// The four become one, each carried 128 places into the next.
	MOVOU 16(BX), X5
	FOLD(X0, X5, X1, X8)
	FOLD(X1, X5, X2, X8)
	FOLD(X2, X5, X3, X8)
	MOVO  X3, X0
	JMP   finish

one:
	ADDQ $16, AX
	SUBQ $16, CX

finish:
	FINISH(rest, reduce)

// VFOLD is FOLD for four blocks at once; y are the blocks behind. The sum is in y.
#define VFOLD(x, k, y, t) \
	VPCLMULQDQ $0x00, k, x, t;  \
	VPCLMULQDQ $0x11, k, x, x;  \
	VPTERNLOGQ $0x96, t, x, y

// func crc32VCLMUL(r uint32, p *byte, n int, constants *crc32Constants) uint32
TEXT ·crc32VCLMUL(SB), NOSPLIT, $0-36
	MOVL            r+0(FP), DX
	MOVQ            p+8(FP), AX
	MOVQ            n+16(FP), CX
	MOVQ            constants+24(FP), BX
	VBROADCASTI32X4 reverse<>(SB), Z7
	SHLQ            $32, DX
	VMOVQ           DX, X6
	VPSLLDQ         $8, X6, X6 // the register lies over the first 32 bits
	VMOVDQU64       0(AX), Z0
	VPSHUFB         Z7, Z0, Z0
	VPXORQ          Z6, Z0, Z0
	VBROADCASTI32X4 0(BX), Z4
	ADDQ            $64, AX
	SUBQ            $64, CX
	CMPQ            CX, $448
	JB              four

	// Sixteen blocks at a time, each carried 2048 places on.
	VBROADCASTI32X4 80(BX), Z6
	VMOVDQU64       0(AX), Z1
	VMOVDQU64       64(AX), Z2
	VMOVDQU64       128(AX), Z3
	VPSHUFB         Z7, Z1, Z1
	VPSHUFB         Z7, Z2, Z2
	VPSHUFB         Z7, Z3, Z3
	ADDQ            $192, AX
	SUBQ            $192, CX

sixteen:
	VMOVDQU64 0(AX), Z8
	VMOVDQU64 64(AX), Z9
	VMOVDQU64 128(AX), Z10
	VMOVDQU64 192(AX), Z11
	VPSHUFB   Z7, Z8, Z8
	VPSHUFB   Z7, Z9, Z9
	VPSHUFB   Z7, Z10, Z10
	VPSHUFB   Z7, Z11, Z11
	VPCLMULQDQ $0x00, Z6, Z0, Z12
	VPCLMULQDQ $0x11, Z6, Z0, Z0
	VPCLMULQDQ $0x00, Z6, Z1, Z13
	VPCLMULQDQ $0x11, Z6, Z1, Z1
	VPCLMULQDQ $0x00, Z6, Z2, Z14
	VPCLMULQDQ $0x11, Z6, Z2, Z2
	VPCLMULQDQ $0x00, Z6, Z3, Z15
	VPCLMULQDQ $0x11, Z6, Z3, Z3
	VPTERNLOGQ $0x96, Z8, Z12, Z0
	VPTERNLOGQ $0x96, Z9, Z13, Z1
	VPTERNLOGQ $0x96, Z10, Z14, Z2
	VPTERNLOGQ $0x96, Z11, Z15, Z3
	ADDQ      $256, AX
	SUBQ      $256, CX
	CMPQ      CX, $256
	JAE       sixteen

	// They become the last four.
	VBROADCASTI32X4 96(BX), Z8
	VBROADCASTI32X4 112(BX), Z9
	VFOLD(Z0, Z8, Z3, Z10)
	VFOLD(Z1, Z9, Z3, Z11)
	VFOLD(Z2, Z4, Z3, Z12)
	VMOVDQA64 Z3, Z0

four:
	CMPQ      CX, $64
	JB        lanes
	VMOVDQU64 0(AX), Z1
	VPSHUFB   Z7, Z1, Z1
	VFOLD(Z0, Z4, Z1, Z2)
	VMOVDQA64 Z1, Z0
	ADDQ      $64, AX
	SUBQ      $64, CX
	JMP       four

lanes:
	VMOVDQU64      128(BX), Z6
	VPCLMULQDQ     $0x00, Z6, Z0, Z1
	VPCLMULQDQ     $0x11, Z6, Z0, Z0
	VPXORQ         Z1, Z0, Z0
	VEXTRACTI64X4  $1, Z0, Y1
	VPXOR          Y1, Y0, Y0
	VEXTRACTI128   $1, Y0, X1
	VPXOR          X1, X0, X0
	VZEROUPPER
	FINISH(rest, reduce)
