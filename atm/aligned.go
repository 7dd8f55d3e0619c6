package atm

import "math/bits"

// An Aligned is a cell on a cache line of its own, so laid that what follows the first word of a single segment message is aligned to 8 octets.
//
//	 0       4   5             10    12      16                        56        58     64
//	+-------+---+-------------+-----+-------+-------------------------+---------+------+
//	| front | 0 | header, HEC | SAR | word  |          data           | LI, CRC |  0   |
//	+-------+---+-------------+-----+-------+-------------------------+---------+------+
//	             \________________________ the cell, 53 octets ______/
type Aligned [64]byte

// AlignedData is the data of an Aligned, and 8 octets of whatever follows them.
type AlignedData [48]byte

// OpenSSM copies the data of a single segment message, and returns the word in front of them and how many octets they are, 4 to 40, if
// the cell has that front and the header h, is undamaged and bears that number, whose low four bits are SN and the others MID. Otherwise, and wherever
// there is no fast way to find that out, n is 0 and the cell may be right or not: DecodeSSM says so, of another copy.
//
// Others may write to a meanwhile. Each of its octets is read once, the front first, and what is returned is what was checked.
func OpenSSM(data *AlignedData, a *Aligned, front uint32, h HeaderOctets, number uint32) (word uint32, n int) {
	sar := stSSM<<stShift | uint16(number&0xf)<<snShift | uint16(number>>4)&0x3ff
	first := uint64(front) | uint64(h)<<40
	second := uint32(uint64(h)>>24)&0xffff | uint32(bits.ReverseBytes16(sar))<<16
	return openSSM(data, a, first, second)
}
