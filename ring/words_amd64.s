#include "textflag.h"

// func store64(p *uint64, v uint64)
TEXT ·store64(SB), NOSPLIT, $0-16
	MOVQ p+0(FP), DI
	MOVQ v+8(FP), AX
	MOVQ AX, (DI)
	RET

// func store32(p *uint32, v uint32)
TEXT ·store32(SB), NOSPLIT, $0-12
	MOVQ p+0(FP), DI
	MOVL v+8(FP), AX
	MOVL AX, (DI)
	RET

// func take(c *atm.Cell, s *slot, seq uint32) bool
//
// The header and the octet in front of it are word 0 and the beginning of word 1 of the slot, whose end is the payload's beginning.
TEXT ·take(SB), NOSPLIT, $0-25
	MOVQ  c+0(FP), DI
	MOVQ  s+8(FP), SI
	MOVL  seq+16(FP), AX
	CMPL  AX, 0(SI)
	JNE   not
	MOVL  5(SI), AX
	MOVBLZX 9(SI), BX
	MOVOU 10(SI), X0
	MOVOU 26(SI), X1
	MOVOU 42(SI), X2
	MOVL  AX, 0(DI)
	MOVB  BX, 4(DI)
	MOVOU X0, 5(DI)
	MOVOU X1, 21(DI)
	MOVOU X2, 37(DI)
	MOVB  $1, ret+24(FP)
	RET

not:
	MOVB $0, ret+24(FP)
	RET

// func put(s *slot, c *atm.Cell, seq uint32)
TEXT ·put(SB), NOSPLIT, $0-20
	MOVQ  s+0(FP), DI
	MOVQ  c+8(FP), SI
	MOVL  seq+16(FP), AX
	MOVL  0(SI), BX
	MOVBLZX 4(SI), CX
	MOVOU 5(SI), X0
	MOVOU 21(SI), X1
	MOVOU 37(SI), X2
	MOVL  BX, 5(DI)
	MOVB  CX, 9(DI)
	MOVOU X0, 10(DI)
	MOVOU X1, 26(DI)
	MOVOU X2, 42(DI)
	MOVL  AX, 0(DI)
	RET
