package atm

import "encoding/binary"

// CRC-10 (I.363.3, clause 9.1.2, and I.610, clause 10.1): generator
// x^10 + x^9 + x^5 + x^4 + x + 1, most significant bit first, initial value 0,
// nothing added at the end.
//
// The ten bits are kept at the top of a 16-bit register, so that whole octets
// are taken in as with any CRC-16.
const (
	crc10Generator = 0x633
	crc10Poly      = crc10Generator & 0x3ff << 6
)

// crc10Table[k][b] is the register after the octet b and k octets of 0: with
// sixteen such tables sixteen octets are taken in at a time ("slicing by 16",
// Kounavis and Berry, ISCC 2005).
var crc10Table = func() (t [16][256]uint16) {
	for b := range 256 {
		r := uint16(b) << 8
		for k := range t {
			for range 8 {
				carry := r >> 15
				r = r<<1 ^ carry*crc10Poly
			}
			t[k][b] = r
		}
	}
	return t
}()

// crc10Fold[t] is the remainder of t * x^10 for six bits t: it brings 16 bits
// down to 10.
var crc10Fold = func() (f [64]uint16) {
	for t := range f {
		r := uint16(t) << 10
		for range 6 {
			carry := r >> 15
			r = r<<1 ^ carry*crc10Poly
		}
		f[t] = r >> 6
	}
	return f
}()

func crc10Update(r uint16, p []byte) uint16 {
	for len(p) >= 16 {
		r = crc10Slice(binary.BigEndian.Uint64(p)^uint64(r)<<48, binary.BigEndian.Uint64(p[8:]))
		p = p[16:]
	}
	for _, b := range p {
		r = r<<8 ^ crc10Table[0][byte(r>>8)^b]
	}
	return r
}

// crc10Slice is the register, 0 at first, after 16 octets.
func crc10Slice(hi, lo uint64) uint16 {
	t := &crc10Table
	return t[15][hi>>56] ^ t[14][hi>>48&0xff] ^ t[13][hi>>40&0xff] ^ t[12][hi>>32&0xff] ^
		t[11][hi>>24&0xff] ^ t[10][hi>>16&0xff] ^ t[9][hi>>8&0xff] ^ t[8][hi&0xff] ^
		t[7][lo>>56] ^ t[6][lo>>48&0xff] ^ t[5][lo>>40&0xff] ^ t[4][lo>>32&0xff] ^
		t[3][lo>>24&0xff] ^ t[2][lo>>16&0xff] ^ t[1][lo>>8&0xff] ^ t[0][lo&0xff]
}

// CRC10 is the CRC-10 of p, in the low ten bits.
func CRC10(p []byte) uint16 { return crc10Update(0, p) >> 6 }

// crc10Syndromes[i][b] is the remainder of a payload that is all 0 but for octet i, which is b: the sum of those of its bits, which are powers of x.
// So a receiver adds up what the sender has divided, with 48 tables of its own.
var crc10Syndromes = func() (t [PayloadSize][256]uint16) {
	power := uint16(1) // the remainder of the bit that is looked at
	for i := PayloadSize - 1; i >= 0; i-- {
		for bit := range 8 {
			for b := range 1 << bit {
				t[i][1<<bit|b] = t[i][b] ^ power
			}
			if power <<= 1; power&(1<<10) != 0 {
				power ^= crc10Generator
			}
		}
	}
	return t
}()

// crc10Syndrome is 0 if a payload, its CRC field included, is a multiple of the generator.
func crc10Syndrome(p *[PayloadSize]byte) (s uint16) {
	t := &crc10Syndromes
	for i := 0; i < PayloadSize; i += 8 {
		s ^= t[i][p[i]] ^ t[i+1][p[i+1]] ^ t[i+2][p[i+2]] ^ t[i+3][p[i+3]] ^
			t[i+4][p[i+4]] ^ t[i+5][p[i+5]] ^ t[i+6][p[i+6]] ^ t[i+7][p[i+7]]
	}
	return s
}

// crc10RemainderTables is crc10Remainder by tables.
func crc10RemainderTables(p *[PayloadSize]byte) uint16 {
	// The first 46 octets, with two of 0 in front, which change nothing.
	word := binary.BigEndian.Uint64
	r := crc10Slice(word(p[0:])>>16, word(p[6:]))
	r = crc10Slice(word(p[14:])^uint64(r)<<48, word(p[22:]))
	r = crc10Slice(word(p[30:])^uint64(r)<<48, word(p[38:]))
	// The register holds their remainder times x^10 in its upper ten bits.
	// Read as a 16-bit number that is times x^16, the place where the last
	// two octets begin.
	w := r ^ binary.BigEndian.Uint16(p[46:])
	return crc10Fold[w>>10] ^ w&0x3ff
}
