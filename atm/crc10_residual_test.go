package atm

import (
	"math"
	"testing"
)

// What the CRC-10 of an AAL3/4 or OAM cell does not find, as docs/protocol.md says it. An error is not found if its pattern is itself a code
// word. The 384 bits of a payload make a code that, by MacWilliams' identity, is as well known as its dual, which has 1024 words: all
// are counted.
func TestCRC10Residual(t *testing.T) {
	const bits = 8 * PayloadSize
	var syndrome [bits]uint16 // of an error in one bit
	for i := range syndrome {
		var c Cell
		c[HeaderSize+i/8] = 0x80 >> (i % 8)
		if syndrome[i] = crc10Update(0, c[HeaderSize:]) >> 6; syndrome[i] == 0 {
			t.Fatalf("an error in bit %d is not found", i)
		}
	}

	// Of two bits none, of three none, of four those that are two pairs with the same syndrome: each of them in three ways.
	var pairs [1024]int
	one := map[uint16]bool{}
	for i := range syndrome {
		one[syndrome[i]] = true
		for k := range i {
			pairs[syndrome[i]^syndrome[k]]++
		}
	}
	four := 0
	for s, n := range pairs {
		if n > 0 && (s == 0 || one[uint16(s)]) {
			t.Fatalf("there is an error of 2 or 3 bits that is not found")
		}
		four += n * (n - 1) / 2
	}
	if four /= 3; four != 1752074 {
		t.Errorf("%d errors of 4 bits are not found", four)
	}
	if all := bits * (bits - 1) * (bits - 2) * (bits - 3) / 24; all/four != 509 {
		t.Errorf("one of %d errors of 4 bits is not found", all/four)
	}

	// Where bits are seldom turned, others than those of 4 bits do not count.
	if got := float64(four) * math.Pow(1e-5, 4) * math.Pow(1-1e-5, bits-4); math.Abs(got/1.75e-14-1) > 0.005 {
		t.Errorf("bits turned with probability 1e-5: not found in %.3g of cells", got)
	}

	// The probability that a payload is damaged and the damage not found, bits being turned independently with probability p.
	var dual [bits + 1]int // words of the dual code, by weight
	for y := range uint16(1024) {
		weight := 0
		for _, s := range syndrome {
			weight += parity(s & y)
		}
		dual[weight]++
	}
	for p, want := range map[float64]float64{1e-4: 1.69e-10, 1e-3: 1.20e-6, 1e-2: 6.29e-4, 0.5: 1.0 / 1024} {
		sum := 0.0
		for j, n := range dual {
			sum += float64(n) * math.Pow(1-2*p, float64(j))
		}
		// To 0.5 %: at 1e-4 the two terms are nearly the same, and 15 digits are what a float64 has.
		if got := sum/1024 - math.Pow(1-p, bits); math.Abs(got/want-1) > 0.005 {
			t.Errorf("bits turned with probability %g: not found in %.3g of cells, want %.3g", p, got, want)
		}
	}
	if dual[0] != 1 || dual[bits] != 1 { // the generator has the factor x+1
		t.Errorf("errors of an odd number of bits: %d, %d", dual[0], dual[bits])
	}
}

// parity is 1 if the number of ones is odd.
func parity(x uint16) (odd int) {
	for ; x != 0; x &= x - 1 {
		odd ^= 1
	}
	return odd
}
