#include "textflag.h"

// func storeWords(dst, src unsafe.Pointer, n int)
TEXT ·storeWords(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
	CMPQ CX, $5 // a full cell
	JEQ  five
	CMPQ CX, $10
	JLT  few
	CMPB ·pairs(SB), $0
	JEQ  few

	TESTQ $8, DI
	JEQ   whole
	MOVQ  (SI), R8
	MOVQ  R8, (DI)
	ADDQ  $8, SI
	ADDQ  $8, DI
	DECQ  CX

whole:
	SUBQ $8, CX

eight:
	MOVOU 0(SI), X0
	MOVOU 16(SI), X1
	MOVOU 32(SI), X2
	MOVOU 48(SI), X3
	MOVOA X0, 0(DI)
	MOVOA X1, 16(DI)
	MOVOA X2, 32(DI)
	MOVOA X3, 48(DI)
	ADDQ  $64, SI
	ADDQ  $64, DI
	SUBQ  $8, CX
	JGE   eight
	ADDQ  $8, CX

few:
	TESTQ CX, CX
	JEQ   end

one:
	MOVQ (SI), R8
	MOVQ R8, (DI)
	ADDQ $8, SI
	ADDQ $8, DI
	DECQ CX
	JNE  one

end:
	RET

five:
	MOVQ 0(SI), R8
	MOVQ 8(SI), R9
	MOVQ 16(SI), R10
	MOVQ 24(SI), R11
	MOVQ 32(SI), R12
	MOVQ R8, 0(DI)
	MOVQ R9, 8(DI)
	MOVQ R10, 16(DI)
	MOVQ R11, 24(DI)
	MOVQ R12, 32(DI)
	RET

// func loadWords(dst, src unsafe.Pointer, n int)
TEXT ·loadWords(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
	CMPQ CX, $10
	JLT  few
	CMPB ·pairs(SB), $0
	JEQ  few

	TESTQ $8, SI
	JEQ   whole
	MOVQ  (SI), R8
	MOVQ  R8, (DI)
	ADDQ  $8, SI
	ADDQ  $8, DI
	DECQ  CX

whole:
	SUBQ $8, CX

eight:
	MOVOA 0(SI), X0
	MOVOA 16(SI), X1
	MOVOA 32(SI), X2
	MOVOA 48(SI), X3
	MOVOU X0, 0(DI)
	MOVOU X1, 16(DI)
	MOVOU X2, 32(DI)
	MOVOU X3, 48(DI)
	ADDQ  $64, SI
	ADDQ  $64, DI
	SUBQ  $8, CX
	JGE   eight
	ADDQ  $8, CX

few:
	TESTQ CX, CX
	JEQ   end

one:
	MOVQ (SI), R8
	MOVQ R8, (DI)
	ADDQ $8, SI
	ADDQ $8, DI
	DECQ CX
	JNE  one

end:
	RET
