#include "textflag.h"

// func storeWords(dst, src unsafe.Pointer, n int)
TEXT ·storeWords(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
	SUBQ $4, CX
	JLT  rest

four:
	MOVQ 0(SI), R8
	MOVQ 8(SI), R9
	MOVQ 16(SI), R10
	MOVQ 24(SI), R11
	MOVQ R8, 0(DI)
	MOVQ R9, 8(DI)
	MOVQ R10, 16(DI)
	MOVQ R11, 24(DI)
	ADDQ $32, SI
	ADDQ $32, DI
	SUBQ $4, CX
	JGE  four

rest:
	ADDQ $4, CX
	JEQ  end

one:
	MOVQ (SI), R8
	MOVQ R8, (DI)
	ADDQ $8, SI
	ADDQ $8, DI
	DECQ CX
	JNE  one

end:
	RET
