package atm

import (
	"math/bits"
	"testing"
)

// power is x^n divided by the generator, bit by bit.
func power(n int, generator uint64, degree int) uint64 {
	return remainder([]byte{1}, n, generator, degree, 0)
}

// product of polynomials.
func product(a, b uint64) (hi, lo uint64) {
	for i := range 64 {
		if b>>i&1 != 0 {
			lo ^= a << i
			hi ^= a >> (64 - i)
		}
	}
	return hi, lo
}

// The constants of the assembly are what the polynomials make them: powers of x, the quotient of a power of x, an inverse.
func TestConstants(t *testing.T) {
	powers := func(what string, got []uint64, generator uint64, degree, shift int, n ...int) {
		t.Helper()
		for i, n := range n {
			if want := power(n, generator, degree) << shift; got[i] != want {
				t.Errorf("%s: x^%d = %x, want %x", what, n, got[i], want)
			}
		}
	}
	// quotient is right if its product with the generator is x^n but for less than the generator.
	quotient := func(what string, q, generator uint64, degree, n int) {
		t.Helper()
		hi, lo := product(q, generator)
		if n >= 64 {
			hi ^= 1 << (n - 64)
		} else {
			lo ^= 1 << n
		}
		if hi != 0 || bits.Len64(lo) > degree {
			t.Errorf("%s: x^%d/%x is not %x", what, n, generator, q)
		}
	}

	const g10, g32 = 0x633, 0x104c11db7
	powers("CRC-10, sender", crc10Division[:], g10, 10, 54, 256, 320, 128, 192, 0, 64)
	powers("CRC-10, receiver", crc10Divisibility[:], g10, 10, 0, 256, 320, 128, 192, 384, 64)
	quotient("CRC-10", crc10Division[6], g10, 10, 73)
	if got, want := crc10Division[7], uint64(g10&0x3ff)<<54; got != want {
		t.Errorf("CRC-10: generator times x^54 is %x, want %x", got, want)
	}
	if _, one := product(crc10Divisibility[6], crc10Divisibility[7]); one != 1 || crc10Divisibility[7] != g10 {
		t.Errorf("CRC-10: %x times %x is %x modulo x^64, want 1", crc10Divisibility[6], crc10Divisibility[7], one)
	}

	for zeros, k := range map[int]*crc32Constants{32: crc32Register, 0: crc32Whole} {
		for n, pair := range map[int][2]uint64{
			512: k.fold512, 128: k.fold128, zeros: k.last, 2048: k.fold2048, 1536: k.fold1536, 1024: k.fold1024,
		} {
			powers("CRC-32", pair[:], g32, 32, 0, n, n+64)
		}
		for i, pair := range k.lanes {
			powers("CRC-32 lanes", pair[:], g32, 32, 0, 384-128*i, 448-128*i)
		}
		powers("CRC-32", k.upper32[1:], g32, 32, 0, 64)
		quotient("CRC-32", k.barrett[0], g32, 32, 64)
		if k.barrett[1] != g32 || k.upper32[0] != 0 {
			t.Errorf("CRC-32: generator %x, want %x; %x, want 0", k.barrett[1], uint64(g32), k.upper32[0])
		}
	}
}
