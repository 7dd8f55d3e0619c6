package atm

import (
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"testing"
)

// Reference implementations: the definitions of the standards, division of
// polynomials bit by bit, sharing nothing with the package.

// remainder divides the bits of p, followed by tail bits of 0, by the
// polynomial, whose highest power is x^degree; the first bits are inverted if
// asked for, which is what an initial value of all ones means.
func remainder(p []byte, tail int, poly uint64, degree int, invertFirst int) uint64 {
	var r uint64
	for i := range len(p)*8 + tail {
		var bit uint64
		if i < len(p)*8 {
			bit = uint64(p[i/8]>>(7-i%8)) & 1
		}
		if i < invertFirst {
			bit ^= 1
		}
		r = r<<1 | bit
		if r>>degree != 0 {
			r ^= poly
		}
	}
	return r
}

func refHEC(header []byte) byte {
	return byte(remainder(header, 8, 0x107, 8, 0)) ^ 0x55
}

func refCRC10(p []byte) uint16 { return uint16(remainder(p, 10, 0x633, 10, 0)) }

func refCRC32(p []byte) uint32 { return ^uint32(remainder(p, 32, 0x104c11db7, 32, 32)) }

// refPDU is the whole CPCS-PDU of AAL5.
func refPDU(uu byte, payload []byte) []byte {
	p := append([]byte{}, payload...)
	for (len(p)+8)%48 != 0 {
		p = append(p, 0)
	}
	p = append(p, uu, 0)
	p = binary.BigEndian.AppendUint16(p, uint16(len(payload)))
	return binary.BigEndian.AppendUint32(p, refCRC32(p))
}

// refSSM is the whole SAR-PDU of AAL3/4.
func refSSM(sn uint8, mid uint16, payload []byte) []byte {
	p := binary.BigEndian.AppendUint16(nil, 0b11<<14|uint16(sn)<<10|mid)
	p = append(p, payload...)
	for len(p) < 46 {
		p = append(p, 0)
	}
	p = append(p, byte(len(payload))<<2, 0)
	// All but the last ten bits are protected: of 48 octets with these ten bits 0, the
	// plain remainder is that of the 374 bits in front, times x^10.
	crc := uint16(remainder(p, 0, 0x633, 10, 0))
	p[46] |= byte(crc >> 8)
	p[47] = byte(crc)
	return p
}

var (
	seed   = flag.Uint64("atm.seed", 1, "seed of the random inputs")
	inputs = flag.Int("atm.inputs", 0, "random inputs for each checksum (0: 1e6, or 1e5 with -short)")
)

func randomInputs() int {
	switch {
	case *inputs > 0:
		return *inputs
	case testing.Short():
		return 1e5
	}
	return 1e6
}

func fill(r *rand.Rand, p []byte) {
	for i := range p {
		p[i] = byte(r.Uint32())
	}
}

func TestAgainstReference(t *testing.T) {
	t.Run("HEC", func(t *testing.T) {
		t.Parallel()
		r := rand.New(rand.NewPCG(*seed, 1))
		for range randomInputs() {
			var h [4]byte
			fill(r, h[:])
			if got, want := HEC(h), refHEC(h[:]); got != want {
				t.Fatalf("HEC(%x) = %02x, want %02x", h, got, want)
			}
		}
	})
	t.Run("CRC-10", func(t *testing.T) {
		t.Parallel()
		r := rand.New(rand.NewPCG(*seed, 2))
		buf := make([]byte, 64)
		for range randomInputs() {
			p := buf[:r.IntN(len(buf))]
			fill(r, p)
			if got, want := CRC10(p), refCRC10(p); got != want {
				t.Fatalf("CRC10(%x) = %03x, want %03x", p, got, want)
			}
		}
	})
}
