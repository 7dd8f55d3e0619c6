package atm

// The header error control (I.361, clause 2.2.6, and I.432.1) is the remainder of the 32
// header bits, shifted left by 8, divided by x^8 + x^2 + x + 1; 01010101 is
// added to it so that a receiver which has lost the cell boundary does not
// find correct headers in runs of zeros. The code has distance 4.
const (
	hecPoly  = 0x07
	hecCoset = 0x55
)

// hecTable[i][b] is the remainder of octet i of the header having the value b
// and the other three being 0. The remainder is linear: the four are looked
// up independently of each other, which lets the processor do so at once.
var hecTable = func() (t [4][256]byte) {
	for b := range 256 {
		r := byte(b)
		for i := 3; i >= 0; i-- {
			for range 8 {
				carry := r >> 7
				r = r<<1 ^ carry*hecPoly
			}
			t[i][b] = r
		}
	}
	return t
}()

// hec is the HEC of a header word.
func hec(w uint32) byte {
	return hecTable[0][w>>24] ^ hecTable[1][w>>16&0xff] ^ hecTable[2][w>>8&0xff] ^ hecTable[3][w&0xff] ^ hecCoset
}

// HEC is the header error control of the four octets in front of it.
func HEC(header [4]byte) byte {
	return hec(uint32(header[0])<<24 | uint32(header[1])<<16 | uint32(header[2])<<8 | uint32(header[3]))
}
