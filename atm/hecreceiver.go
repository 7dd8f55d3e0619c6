package atm

import "fmt"

// bitSyndromes has the syndrome of each single bit of a header and its HEC, the
// last bit first: the powers of x modulo the generator. The 40 are distinct, and none is
// a sum of two others, since the distance of the code is 4.
var bitSyndromes = func() (s [HeaderSize * 8]byte) {
	s[0] = 1
	for k := 1; k < len(s); k++ {
		s[k] = s[k-1] << 1
		if s[k-1]&0x80 != 0 {
			s[k] ^= hecPoly
		}
	}
	return s
}()

// syndromes[i][b] is the sum of the syndromes of the bits of octet i when it is b: what
// a receiver adds up, where the sender divides. That of the fifth octet is
// itself.
var syndromes = func() (t [HeaderSize - 1][256]byte) {
	for i := range t {
		for b := range t[i] {
			for bit := range 8 {
				if b>>bit&1 != 0 {
					t[i][b] ^= bitSyndromes[(HeaderSize-1-i)*8+bit]
				}
			}
		}
	}
	return t
}()

// wrongBit[s] is the bit of the header, counted from its first, whose syndrome is s;
// manyBits if no single bit has it.
var wrongBit = func() (t [256]uint8) {
	for s := range t {
		t[s] = manyBits
	}
	for k, s := range bitSyndromes {
		t[s] = uint8(HeaderSize*8 - 1 - k)
	}
	return t
}()

const manyBits = 0xff

// syndrome is 0 if h is the HEC of w, else it tells which bits were damaged,
// as far as a distance of 4 allows: single bits have syndromes of their own.
func syndrome(w uint32, h byte) byte {
	return syndromes[0][w>>24] ^ syndromes[1][w>>16&0xff] ^ syndromes[2][w>>8&0xff] ^ syndromes[3][w&0xff] ^ h ^ hecCoset
}

// checkHEC reports whether the HEC of c is right.
func (c *Cell) checkHEC() bool { return syndrome(c.word(), c[4]) == 0 }

// A HECVerdict is what a receiver makes of a header.
type HECVerdict uint8

// Verdicts.
const (
	HECValid     HECVerdict = iota // no error was found
	HECCorrected                   // one bit was wrong and has been put right
	HECDiscarded                   // the cell must not be used
)

var hecVerdicts = [...]string{"valid", "corrected", "discarded"}

// String is the verdict in a word: "valid", "corrected", "discarded".
func (v HECVerdict) String() string {
	if int(v) < len(hecVerdicts) {
		return hecVerdicts[v]
	}
	return fmt.Sprintf("HECVerdict(%d)", uint8(v))
}

// A HECReceiver verifies headers in the two modes of I.432.1, clause 4.3.2.2. Single
// bits are corrected while errors come one by one; after an error the next ones are
// taken for a burst, in which a correction would most likely be wrong.
//
//	          several bits wrong: discarded
//	          one bit wrong: corrected
//	       ┌──────────────────────────────────┐
//	       │                                  v
//	┌────────────┐                     ┌─────────────┐
//	│ correction │                     │  detection  │──┐ any bits wrong:
//	└────────────┘                     └─────────────┘<─┘ discarded
//	  │ ^  ^                                  │
//	  └─┘  └──────────────────────────────────┘
//	 right            header right: valid
//
// The zero value is ready, in correction mode. It is not safe for concurrent
// use.
type HECReceiver struct {
	detection bool
}

// Check verifies the header of c, and corrects it where that is allowed.
func (r *HECReceiver) Check(c *Cell) HECVerdict {
	s := syndrome(c.word(), c[4])
	if s == 0 {
		r.detection = false
		return HECValid
	}
	bit := wrongBit[s]
	if r.detection || bit == manyBits {
		r.detection = true
		return HECDiscarded
	}
	r.detection = true
	c[bit/8] ^= 0x80 >> (bit % 8)
	return HECCorrected
}

// Detecting reports whether the receiver is in detection mode.
func (r *HECReceiver) Detecting() bool { return r.detection }
