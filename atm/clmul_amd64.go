package atm

import "golang.org/x/sys/cpu"

// PCLMULQDQ multiplies 64 bits by 64 bits without carries. A block of a message that stands n bits further left counts x^n times;
// with x^n replaced by its remainder all blocks are multiplied side by side and added ("Fast CRC computation for generic polynomials using
// PCLMULQDQ", Gopal and others, Intel 2009). What is left is divided by Barrett's method: the upper half of its product by
// the generator's inverse, x^n/generator, is the quotient. The powers for CRC-10 are times x^54, so that what is to be divided, all but the last ten
// bits of the sum, is its upper word. Bits are in the order of the stream, first one highest, as for any CRC that is not reflected.
//
// The tables are the oracle: tests compare both, and processors without PCLMULQDQ use them.
var hasCLMUL = cpu.X86.HasPCLMULQDQ && cpu.X86.HasSSSE3

// Pairs of constants as the assembly loads them: the lower one is for the lower word.
var (
	crc10Powers = func() [8]uint64 {
		const g, degree = 0x633, 10
		x := func(n int) uint64 { return xPower(n, g, degree) << 54 }
		return [8]uint64{
			x(256), x(320),
			x(128), x(192),
			x(0), x(64),
			xQuotient(73, g, degree), g & 0x3ff << 54,
		}
	}()
	crc32Powers = func() [10]uint64 {
		const g, degree = 1<<32 | crc32Poly, 32
		x := func(n int) uint64 { return xPower(n, g, degree) }
		return [10]uint64{
			x(512), x(576),
			x(128), x(192),
			1 << 32, x(96),
			0, x(64),
			xQuotient(64, g, degree), g,
		}
	}()
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

// crc10CLMUL divides the 384 bits at p by the generator of CRC-10; powers are crc10Powers.
//
//go:noescape
func crc10CLMUL(p *[PayloadSize]byte, powers *[8]uint64) uint16

// crc32CLMUL is crc32Update for n octets at p, where n is a multiple of 16 and not 0; powers are
// crc32Powers.
//
//go:noescape
func crc32CLMUL(r uint32, p *byte, n int, powers *[10]uint64) uint32

// crc10Remainder divides the 384 bits of a payload, its CRC field included, by
// the generator. It is 0 for an undamaged one; with the CRC field 0 it is the
// value that belongs there.
func crc10Remainder(p *[PayloadSize]byte) uint16 {
	if hasCLMUL {
		return crc10CLMUL(p, &crc10Powers)
	}
	return crc10RemainderTables(p)
}

// crc32Update is the register r after the octets of p.
func crc32Update(r uint32, p []byte) uint32 {
	if n := len(p) &^ 15; hasCLMUL && n >= minCLMUL {
		r = crc32CLMUL(r, &p[0], n, &crc32Powers)
		p = p[n:]
	}
	return crc32UpdateTables(r, p)
}

// minCLMUL is how many octets of CRC-32 are worth a multiplication.
const minCLMUL = 32
