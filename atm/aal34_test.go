package atm

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func TestSSMRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sn := uint8(rapid.IntRange(0, 15).Draw(t, "sn"))
		mid := uint16(rapid.IntRange(0, 1023).Draw(t, "mid"))
		payload := rapid.SliceOfN(rapid.Byte(), MinSSM, MaxSSM).Draw(t, "payload")
		cut := rapid.IntRange(0, len(payload)).Draw(t, "cut")
		h := drawHeader(t)

		var c Cell
		c.SetHeader(h)
		for i := range c.Payload() {
			c.Payload()[i] = 0xa5 // what was there before must not show
		}
		if err := EncodeSSM(&c, sn, mid, payload[:cut], payload[cut:]); err != nil {
			t.Fatal(err)
		}
		if got, ok := c.Header(); got != h || !ok {
			t.Fatalf("EncodeSSM changed the header to %+v", got)
		}
		if want := refSSM(sn, mid, payload); !bytes.Equal(c.Payload()[:], want) {
			t.Fatalf("EncodeSSM wrote\n%x, want\n%x", c.Payload()[:], want)
		}
		m, err := DecodeSSM(&c)
		if err != nil || m.SN != sn || m.MID != mid || !bytes.Equal(m.Payload, payload) {
			t.Fatalf("DecodeSSM = %+v, %v", m, err)
		}
		if cap(m.Payload) != len(m.Payload) {
			t.Fatal("appending to Payload would write into the cell")
		}
	})
}

// The generator of the CRC-10 is (x+1)(x^9+x^4+1): no error of one or two bits
// in 384 passes. All are tried.
func TestSSMBitErrors(t *testing.T) {
	var c Cell
	if err := EncodeSSM(&c, 9, 700, count(40)); err != nil {
		t.Fatal(err)
	}
	for i := range PayloadSize * 8 {
		for j := i; j < PayloadSize*8; j++ {
			d := c
			flip(d.Payload()[:], i)
			if j != i {
				flip(d.Payload()[:], j)
			}
			if _, err := DecodeSSM(&d); err != ErrCRC10 {
				t.Fatalf("bits %d and %d wrong: error %v, want ErrCRC10", i, j, err)
			}
		}
	}
}

func TestEncodeSSMLength(t *testing.T) {
	for n := range 60 {
		c := Cell{0: 1, 20: 2, 52: 3}
		before := c
		err := EncodeSSM(&c, 0, 0, make([]byte, n/2), make([]byte, n-n/2))
		if n >= MinSSM && n <= MaxSSM {
			if err != nil {
				t.Errorf("%d octets: %v", n, err)
			}
			continue
		}
		if err != ErrSSMLength || c != before {
			t.Errorf("%d octets: error %v, cell changed: %v", n, err, c != before)
		}
	}
}

func TestEncodeSSMFieldsTooWide(t *testing.T) {
	var c Cell
	if err := EncodeSSM(&c, 0x7b, 0xfedc, count(8)); err != nil {
		t.Fatal(err)
	}
	if m, err := DecodeSSM(&c); err != nil || m.SN != 0xb || m.MID != 0x2dc {
		t.Errorf("SN, MID = %x, %x, %v, want b, 2dc", m.SN, m.MID, err)
	}
}

// seal puts the right CRC-10 under 48 octets of test data.
func seal(p []byte) {
	p[46] &^= 3
	p[47] = 0
	crc := uint16(remainder(p[:48], 0, 0x633, 10, 0))
	p[46] |= byte(crc >> 8)
	p[47] = byte(crc)
}

func TestDecodeSSMErrors(t *testing.T) {
	for st := range uint8(4) {
		for li := range uint8(64) {
			var c Cell
			c.Payload()[0] = st << 6
			c.Payload()[46] = li << 2
			seal(c.Payload()[:])
			want := error(nil)
			switch {
			case st != 3:
				want = ErrSegmentType
			case li < 8 || li > 44:
				want = ErrSSMLength
			}
			if m, err := DecodeSSM(&c); !errors.Is(err, want) || err == nil && len(m.Payload) != int(li) {
				t.Errorf("ST %02b, LI %d: %+v, error %v, want %v", st, li, m, err, want)
			}
			c.Payload()[47] ^= 1
			if _, err := DecodeSSM(&c); err != ErrCRC10 {
				t.Errorf("ST %02b, LI %d, damaged: error %v, want ErrCRC10", st, li, err)
			}
		}
	}
}

func FuzzDecodeSSM(f *testing.F) {
	f.Add(unhex(f, knownSSM))
	f.Add(make([]byte, PayloadSize))
	f.Add(bytes.Repeat([]byte{0xff}, PayloadSize))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var c Cell
		copy(c.Payload()[:], raw)
		for range 2 { // as it came, then with the CRC put right
			m, err := DecodeSSM(&c)
			if err == nil {
				if n := len(m.Payload); n < MinSSM || n > MaxSSM || m.SN > 15 || m.MID > 1023 {
					t.Fatalf("accepted %x as %+v", c.Payload()[:], m)
				}
				var d Cell
				if err := EncodeSSM(&d, m.SN, m.MID, m.Payload); err != nil {
					t.Fatal(err)
				}
				if again, err := DecodeSSM(&d); err != nil || !bytes.Equal(again.Payload, m.Payload) {
					t.Fatalf("encoded again: %+v, %v", again, err)
				}
			} else if m.Payload != nil {
				t.Fatal("payload given with an error")
			}
			seal(c.Payload()[:])
		}
	})
}
