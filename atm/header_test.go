package atm

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The first four octets of a header by its definition, bit after bit.
func refHeaderBits(fields ...[2]uint32) (out [4]byte) {
	at := 0
	for _, f := range fields {
		value, width := f[0], int(f[1])
		for i := width - 1; i >= 0; i-- {
			out[at/8] |= byte(value>>i&1) << (7 - at%8)
			at++
		}
	}
	return out
}

// Headers at the NNI with a VPI of more than 8 bits: Dynamips 0.2.24 carries VPI 4095. The HECs are those of the same 32
// bits among the known headers.
var knownNNI = []struct {
	hex  string
	hec  byte
	want NNIHeader
}{
	{"fff00010", 0x98, NNIHeader{VPI: 4095, VCI: 1}},
	{"0ffffff0", 0xa5, NNIHeader{VPI: 255, VCI: 65535}},
	{"00503093", 0x78, NNIHeader{VPI: 5, VCI: 777, PT: PTUserEnd, CLP: true}},
	{"0220d050", 0x37, NNIHeader{VPI: 34, VCI: 3333}},
}

func TestKnownNNI(t *testing.T) {
	for _, k := range knownNNI {
		var c Cell
		c.SetNNIHeader(k.want)
		if [4]byte(c[:4]) != [4]byte(unhex(t, k.hex)) || c[4] != k.hec {
			t.Errorf("SetNNIHeader(%+v) wrote %x, want %s%02x", k.want, c[:5], k.hex, k.hec)
		}
		copy(c[:], unhex(t, k.hex))
		c[4] = k.hec
		if got, ok := c.NNIHeader(); got != k.want || !ok {
			t.Errorf("NNIHeader of %s = %+v, %v, want %+v", k.hex, got, ok, k.want)
		}
	}
}

func TestNNIRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := NNIHeader{
			VPI: uint16(rapid.IntRange(0, MaxNNIVPI).Draw(t, "vpi")),
			VCI: rapid.Uint16().Draw(t, "vci"),
			PT:  PT(rapid.IntRange(0, 7).Draw(t, "pt")),
			CLP: rapid.Bool().Draw(t, "clp"),
		}
		clp := uint32(0)
		if h.CLP {
			clp = 1
		}
		want := refHeaderBits([2]uint32{uint32(h.VPI), 12}, [2]uint32{uint32(h.VCI), 16}, [2]uint32{uint32(h.PT), 3}, [2]uint32{clp, 1})
		var c, ref Cell
		c.SetNNIHeader(h)
		copy(ref[:], want[:])
		ref[4] = refHEC(want[:])
		if c != ref {
			t.Fatalf("SetNNIHeader(%+v) wrote %x, want %x", h, c[:5], ref[:5])
		}
		if got, ok := ref.NNIHeader(); got != h || !ok {
			t.Fatalf("NNIHeader = %+v, %v, want %+v", got, ok, h)
		}
		// At the UNI the upper four bits of the VPI are the GFC.
		u, ok := ref.Header()
		if !ok || u != (Header{GFC: uint8(h.VPI >> 8), VC: VC{uint8(h.VPI), h.VCI}, PT: h.PT, CLP: h.CLP}) {
			t.Fatalf("Header = %+v, %v of %+v", u, ok, h)
		}
	})
	var c Cell
	c.SetNNIHeader(NNIHeader{VPI: 0xffff, PT: 0xff})
	if got, ok := c.NNIHeader(); got != (NNIHeader{VPI: 4095, PT: 7}) || !ok {
		t.Errorf("fields too wide: %+v, %v", got, ok)
	}
}

// The states of I.432.1: each letter is a header: g right, s one bit wrong, b two bits wrong; wanted: v valid, c
// corrected, d discarded.
func TestHECReceiverStates(t *testing.T) {
	for _, tt := range []struct{ headers, want string }{
		{"ggg", "vvv"},
		{"gsg", "vcv"},
		{"sgs", "cvc"},
		{"ss", "cd"},
		{"ssss", "cddd"},
		{"ssgs", "cdvc"},
		{"bs", "dd"},
		{"bgs", "dvc"},
		{"bbb", "ddd"},
		{"sbgsbg", "cdvcdv"},
	} {
		var r HECReceiver
		var got strings.Builder
		for _, kind := range tt.headers {
			var c Cell
			c.SetHeader(Header{VC: VC{5, 777}, PT: PTUserEnd, CLP: true})
			right := c
			switch kind {
			case 's':
				flip(c[:], 11)
			case 'b':
				flip(c[:], 11)
				flip(c[:], 36)
			}
			sent := c
			v := r.Check(&c)
			got.WriteByte(v.String()[0])
			if want := kind != 'g'; r.Detecting() != want {
				t.Errorf("%s: detecting %v after %c", tt.headers, r.Detecting(), kind)
			}
			if v == HECDiscarded && c != sent || v != HECDiscarded && c != right {
				t.Errorf("%s: %v, but the header is %x", tt.headers, v, c[:5])
			}
		}
		if got.String() != tt.want {
			t.Errorf("%s: got %s, want %s", tt.headers, got.String(), tt.want)
		}
	}
	if s := HECVerdict(9).String(); s != "HECVerdict(9)" {
		t.Errorf("String = %q", s)
	}
}

// All single bits of any header are corrected, no two are.
func TestHECReceiverBitErrors(t *testing.T) {
	for _, k := range knownHeaders {
		var right Cell
		right.SetHeader(k.want)
		for i := range HeaderSize * 8 {
			for j := i; j < HeaderSize*8; j++ {
				c := right
				flip(c[:], i)
				want := HECCorrected
				if j != i {
					flip(c[:], j)
					want = HECDiscarded
				}
				var r HECReceiver
				if got := r.Check(&c); got != want || want == HECCorrected && c != right {
					t.Fatalf("header %x, bits %d and %d: %v, %x", right[:5], i, j, got, c[:5])
				}
			}
		}
	}
}

func FuzzHECReceiver(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0x52, 0, 0, 0, 1, 0x53})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var r HECReceiver
		detecting := false
		for len(raw) >= HeaderSize {
			var c Cell
			copy(c[:HeaderSize], raw)
			raw = raw[HeaderSize:]
			sent := c
			v := r.Check(&c)
			right := sent[4] == refHEC(sent[:4])
			bits := 0
			for i := range HeaderSize {
				for d := c[i] ^ sent[i]; d != 0; d &= d - 1 {
					bits++
				}
			}
			ok := false
			switch v {
			case HECValid:
				ok = right && bits == 0
			case HECCorrected:
				ok = !right && !detecting && bits == 1 && c[4] == refHEC(c[:4])
			case HECDiscarded:
				ok = !right && bits == 0
			}
			if !ok || r.Detecting() == right {
				t.Fatalf("%x: %v, %x, detecting %v", sent[:5], v, c[:5], r.Detecting())
			}
			detecting = !right
		}
	})
}

// Marks change what they should, and a right HEC stays right; a wrong one stays wrong by the same bits.
func TestMarks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHeader(t)
		wrong := rapid.Byte().Draw(t, "wrong")
		var c Cell
		c.SetHeader(h)
		c[4] ^= wrong
		if c.EFCI() != (h.PT == 2 || h.PT == 3) || c.CLP() != h.CLP {
			t.Fatalf("%+v: EFCI %v, CLP %v", h, c.EFCI(), c.CLP())
		}
		want := h
		if h.PT < 4 {
			want.PT |= 2
		}
		c.MarkEFCI()
		for range 2 { // once more changes nothing
			c.TagCLP()
			c.MarkEFCI()
		}
		want.CLP = true
		got, ok := c.Header()
		if got != want || ok != (wrong == 0) || c[4] != refHEC(c[:4])^wrong {
			t.Fatalf("%+v marked: %+v, %v", h, got, ok)
		}
	})
	// I.361: 000 becomes 010, 001 becomes 011. The headers are known ones.
	var c Cell
	c.SetHeader(Header{VC: VC{0, 100}})
	c.MarkEFCI()
	if [5]byte(c[:5]) != [5]byte{0, 0, 6, 0x44, 0xf0} {
		t.Errorf("0/100 marked: %x, want 00000644f0", c[:5])
	}
	c.SetHeader(Header{VC: VC{0, 100}, PT: PTUserEnd})
	c.TagCLP()
	if [5]byte(c[:5]) != [5]byte{0, 0, 6, 0x43, 0xe5} {
		t.Errorf("0/100 tagged: %x, want 00000643e5", c[:5])
	}
}

func TestEmptyCells(t *testing.T) {
	var c Cell
	c.SetIdle()
	want := append([]byte{0, 0, 0, 1, 0x52}, unhex(t, "6a*48")...) // I.432.1, clause 4.4
	if string(c[:]) != string(want) || !c.Physical() || c.Unassigned() {
		t.Errorf("SetIdle wrote %x", c)
	}
	c.SetUnassigned()
	if string(c[:]) != string(append([]byte{0, 0, 0, 0, 0x55}, make([]byte, 48)...)) || !c.Unassigned() || c.Physical() {
		t.Errorf("SetUnassigned wrote %x", c)
	}
	for _, tt := range []struct {
		h                    Header
		unassigned, physical bool
	}{
		{Header{GFC: 3, PT: 5}, true, false},
		{Header{PT: 4, CLP: true}, false, true}, // 00000009, OAM of the physical layer
		{Header{VC: VC{0, 1}}, false, false},
		{Header{VC: VC{1, 0}, CLP: true}, false, false},
	} {
		c.SetHeader(tt.h)
		if c.Unassigned() != tt.unassigned || c.Physical() != tt.physical {
			t.Errorf("%+v: unassigned %v, physical %v", tt.h, c.Unassigned(), c.Physical())
		}
	}
}
