package atm

import (
	"testing"

	"pgregory.net/rapid"
)

func drawHeader(t *rapid.T) Header {
	return Header{
		GFC: uint8(rapid.IntRange(0, 15).Draw(t, "gfc")),
		VC:  drawVC(t, "vc"),
		PT:  PT(rapid.IntRange(0, 7).Draw(t, "pt")),
		CLP: rapid.Bool().Draw(t, "clp"),
	}
}

func drawVC(t *rapid.T, name string) VC {
	return VC{rapid.Uint8().Draw(t, name+".vpi"), rapid.Uint16().Draw(t, name+".vci")}
}

func TestHeaderRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHeader(t)
		var c Cell
		c.SetHeader(h)
		if got, ok := c.Header(); got != h || !ok {
			t.Fatalf("Header = %+v, %v, want %+v", got, ok, h)
		}
		if c[4] != refHEC(c[:4]) {
			t.Fatalf("HEC of %x = %02x, want %02x", c[:4], c[4], refHEC(c[:4]))
		}
	})
}

// The distance of the HEC is 4: every error of up to three bits is seen. All
// of the single and double ones are tried on some headers; the code is linear, so
// that others behave alike.
func TestHeaderBitErrors(t *testing.T) {
	for _, k := range knownHeaders {
		var c Cell
		c.SetHeader(k.want)
		for i := range HeaderSize * 8 {
			for j := i; j < HeaderSize*8; j++ {
				d := c
				flip(d[:HeaderSize], i)
				if j != i {
					flip(d[:HeaderSize], j)
				}
				if _, ok := d.Header(); ok {
					t.Fatalf("header %x with bits %d and %d wrong: %x passes", c[:5], i, j, d[:5])
				}
			}
		}
	}
}

func flip(p []byte, bit int) { p[bit/8] ^= 0x80 >> (bit % 8) }

func TestHeaderFieldsTooWide(t *testing.T) {
	var c Cell
	c.SetHeader(Header{GFC: 0xff, PT: 0xff})
	want := Header{GFC: 0xf, PT: 7}
	if got, ok := c.Header(); got != want || !ok {
		t.Errorf("Header = %+v, %v, want %+v", got, ok, want)
	}
}

func TestPT(t *testing.T) {
	for pt := range PT(8) {
		if got, want := pt.User(), pt < 4; got != want {
			t.Errorf("PT %03b: User = %v", pt, got)
		}
		if got, want := pt.End(), pt == 0b001 || pt == 0b011; got != want {
			t.Errorf("PT %03b: End = %v", pt, got)
		}
	}
}

func TestVCString(t *testing.T) {
	if got := (VC{5, 777}).String(); got != "5/777" {
		t.Errorf("String = %q, want 5/777", got)
	}
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0x52})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var c Cell
		copy(c[:HeaderSize], raw)
		h, ok := c.Header()
		if want := c[4] == refHEC(c[:4]); ok != want {
			t.Fatalf("Header of %x: ok = %v, want %v", c[:5], ok, want)
		}
		var d Cell
		d.SetHeader(h)
		if [4]byte(d[:4]) != [4]byte(c[:4]) {
			t.Fatalf("SetHeader(Header(%x)) = %x", c[:4], d[:4])
		}
	})
}
