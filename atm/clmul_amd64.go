package atm

import "golang.org/x/sys/cpu"

// PCLMULQDQ multiplies 64 bits by 64 bits without carries. A block of a message that stands n bits further left counts x^n times;
// with x^n replaced by its remainder all blocks are multiplied side by side and added ("Fast CRC computation for generic polynomials using
// PCLMULQDQ", Gopal and others, Intel 2009). VPCLMULQDQ does so with four pairs of words at once. What is left is divided by Barrett's method: the
// upper half of its product by the generator's inverse, x^n/generator, is the quotient. Bits are in the order of the stream, first one highest, as for
// any CRC that is not reflected.
//
// The tables are the oracle: tests compare all, and processors that cannot multiply so use them.
var (
	hasCLMUL  = cpu.X86.HasPCLMULQDQ && cpu.X86.HasSSSE3
	hasVCLMUL = hasCLMUL && cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VPCLMULQDQ
)

// xPower is the remainder of x^n divided by the generator g.
func xPower(n int, g uint64, degree int) uint64 {
	r := uint64(1)
	for range n {
		if r <<= 1; r>>degree != 0 {
			r ^= g
		}
	}
	return r
}

// xQuotient is the quotient of x^n divided by the generator g.
func xQuotient(n int, g uint64, degree int) (q uint64) {
	r := uint64(1)
	for range n {
		r <<= 1
		q <<= 1
		if r>>degree != 0 {
			r ^= g
			q |= 1
		}
	}
	return q
}

// xInverse is the polynomial by which g, whose last term is 1, must be multiplied to give 1 modulo x^64.
func xInverse(g uint64) (inverse uint64) {
	product := uint64(0)
	for i := range 64 {
		if (product^1)>>i&1 != 0 {
			inverse |= 1 << i
			product ^= g << i
		}
	}
	return inverse
}
