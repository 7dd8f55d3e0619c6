package rmem

import (
	"encoding/binary"
	"math/bits"
)

// swab reverses the bytes of each word of b, which is a multiple of width: 2, 4
// or 8; 1 changes nothing.
func swab(b []byte, width uint8) {
	e := binary.NativeEndian
	switch width {
	case 2:
		for ; len(b) >= 2; b = b[2:] {
			e.PutUint16(b, bits.ReverseBytes16(e.Uint16(b)))
		}
	case 4:
		for ; len(b) >= 4; b = b[4:] {
			e.PutUint32(b, bits.ReverseBytes32(e.Uint32(b)))
		}
	case 8:
		for ; len(b) >= 8; b = b[8:] {
			e.PutUint64(b, bits.ReverseBytes64(e.Uint64(b)))
		}
	}
}
