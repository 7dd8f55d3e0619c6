package atm

import "encoding/binary"

// CRC-32 of AAL5 (I.363.5, clause 9.2.1): the generator of IEEE 802.3, but
// most significant bit first, initial value all ones, complemented at the end.
// hash/crc32 computes the reflected form and cannot be used.
const crc32Poly = 0x04c11db7

// crc32Residue is the register after a whole undamaged CPCS-PDU, its CRC
// included, before the complement.
const crc32Residue = 0xc704dd7b

// crc32Table[k][b] is the register after the octet b and k octets of 0; see
// crc10Table.
var crc32Table = func() (t [16][256]uint32) {
	for b := range 256 {
		r := uint32(b) << 24
		for k := range t {
			for range 8 {
				carry := r >> 31
				r = r<<1 ^ carry*crc32Poly
			}
			t[k][b] = r
		}
	}
	return t
}()

// crc32UpdateTables is crc32Update by tables.
func crc32UpdateTables(r uint32, p []byte) uint32 {
	t := &crc32Table
	for len(p) >= 16 {
		hi := binary.BigEndian.Uint64(p[:8]) ^ uint64(r)<<32
		lo := binary.BigEndian.Uint64(p[8:16])
		r = t[15][hi>>56] ^ t[14][hi>>48&0xff] ^ t[13][hi>>40&0xff] ^ t[12][hi>>32&0xff] ^
			t[11][hi>>24&0xff] ^ t[10][hi>>16&0xff] ^ t[9][hi>>8&0xff] ^ t[8][hi&0xff] ^
			t[7][lo>>56] ^ t[6][lo>>48&0xff] ^ t[5][lo>>40&0xff] ^ t[4][lo>>32&0xff] ^
			t[3][lo>>24&0xff] ^ t[2][lo>>16&0xff] ^ t[1][lo>>8&0xff] ^ t[0][lo&0xff]
		p = p[16:]
	}
	for _, b := range p {
		r = r<<8 ^ t[0][byte(r>>24)^b]
	}
	return r
}

// CRC32 is the CRC-32 of AAL5 of p, as it is sent behind p.
func CRC32(p []byte) uint32 { return ^crc32Update(^uint32(0), p) }
