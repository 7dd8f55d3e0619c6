//go:build ignore

// What crc10 in cell.h multiplies by, computed by the assembler from the generator of CRC-10 (I.363.3, clause 9.1.2).
	.set generator, 0x633 // x^10 + x^9 + x^5 + x^4 + x + 1
	.set degree, 10

// power n: the remainder of x^n, times x^54: so what has to be divided is the upper word of a sum of products.
	.macro power n
	.set r, 1
	.rept \n
	.set r, (r << 1) ^ ((r >> (degree - 1)) * generator)
	.endr
	.quad r << (64 - degree)
	.endm

	.section .rodata
	.balign 16
	.globl crc10_reverse, crc10_powers, crc10_barrett
// The octets of two words, last first: the stream's first bit becomes the highest.
crc10_reverse:
	.byte 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0
// Words 1 to 6 of a slot end 336, 272, ... 16 bits before the end of the cell. Of each pair the later one is the lower word.
crc10_powers:
	power 272
	power 336
	power 144
	power 208
	power 16
	power 80
crc10_barrett:
	// x^73 / generator has 64 bits: what is divided is multiplied by x first, for x^74 would give 65.
	.set r, 0
	.set q, 0
	.set bit, 73
	.rept 74
	.set r, (r << 1) | ((bit == 73) & 1)
	.set q, (q << 1) | ((r >> degree) & 1)
	.set r, r ^ ((r >> degree) * generator)
	.set bit, bit - 1
	.endr
	.quad q
	.quad (generator << (64 - degree)) & 0xffffffffffffffff

	.section .note.GNU-stack, "", @progbits
