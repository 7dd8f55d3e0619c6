package atm

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

// Known answers. Each table names where its values come from; none was
// computed by this package.

// unhex decodes hex digits; spaces are ignored and "xx*n" means n times
// xx.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	var out []byte
	for _, f := range strings.Fields(s) {
		digits, times, found := strings.Cut(f, "*")
		n := 1
		if found {
			n = 0
			for _, c := range times {
				n = n*10 + int(c-'0')
			}
		}
		b, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatalf("bad test vector %q: %v", f, err)
		}
		out = append(out, bytes.Repeat(b, n)...)
	}
	return out
}

// count is the octets 1 to n.
func count(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i + 1)
	}
	return b
}

// The check values of the catalogue of parametrised CRC algorithms (Greg Cook,
// reveng.sourceforge.io): CRC-8/I-432-1, CRC-10/ATM and CRC-32/BZIP2 over
// "123456789", and the code words that the catalogue's strings give.
func TestCatalogue(t *testing.T) { eachWay(t, testCatalogue) }

func testCatalogue(t *testing.T) {
	check := []byte("123456789")
	crc8 := func(data []byte) (r byte) {
		for _, b := range data {
			r = hecTable[3][r^b] // the plain octet-wise CRC-8
		}
		return r ^ hecCoset
	}
	if got := crc8(check); got != 0xa1 {
		t.Errorf("CRC-8/I-432-1 check = %02x, want a1", got)
	}
	if got := CRC10(check); got != 0x199 {
		t.Errorf("CRC-10/ATM check = %03x, want 199", got)
	}
	if got := CRC32(check); got != 0xfc891918 {
		t.Errorf("CRC-32/BZIP2 check = %08x, want fc891918", got)
	}
	// Code words listed by github.com/pasztorpisti/go-crc v1.0.0: CRC8I4321, CRC10ATM, CRC32BZIP2.
	if got := crc8([]byte("CRC8I4321")); got != 0x9a {
		t.Errorf("code word of CRC8I4321 = %02x, want 9a", got)
	}
	if got := CRC10([]byte("CRC10ATM")) << 6; got != 0xdd80 {
		t.Errorf("code word of CRC10ATM = %04x, want dd80", got)
	}
	if got := CRC32([]byte("CRC32BZIP2")); got != 0x89b49246 {
		t.Errorf("code word of CRC32BZIP2 = %08x, want 89b49246", got)
	}
}

// HEC values. The idle cell's is given in I.432.1. The others were emitted by the ATM switch of Dynamips 0.2.24, or called correct
// by Wireshark 4.0.17, or both.
var knownHeaders = []struct {
	hex  string
	hec  byte
	want Header
}{
	{"00000001", 0x52, Header{CLP: true}},
	{"00000000", 0x55, Header{}},
	{"00000640", 0xec, Header{VC: VC{0, 100}}},
	{"00000642", 0xe2, Header{VC: VC{0, 100}, PT: PTUserEnd}},
	{"00000643", 0xe5, Header{VC: VC{0, 100}, PT: PTUserEnd, CLP: true}},
	{"00000644", 0xf0, Header{VC: VC{0, 100}, PT: 0b010}},
	{"00000648", 0xd4, Header{VC: VC{0, 100}, PT: PTSegmentOAM}},
	{"0000064a", 0xda, Header{VC: VC{0, 100}, PT: PTEndOAM}},
	{"0000064c", 0xc8, Header{VC: VC{0, 100}, PT: PTResource}},
	{"00503090", 0x71, Header{VC: VC{5, 777}}},
	{"00503093", 0x78, Header{VC: VC{5, 777}, PT: PTUserEnd, CLP: true}},
	{"00c0d050", 0xd5, Header{VC: VC{12, 3333}}},
	{"0220d050", 0x37, Header{VC: VC{34, 3333}}},
	{"0ffffff0", 0xa5, Header{VC: VC{255, 65535}}},
	{"fff00010", 0x98, Header{GFC: 15, VC: VC{255, 1}}},
	{"00000650", 0x9c, Header{VC: VC{0, 101}}},
	{"00000652", 0x92, Header{VC: VC{0, 101}, PT: PTUserEnd}},
	{"00000660", 0x0c, Header{VC: VC{0, 102}}},
}

func TestKnownHeaders(t *testing.T) {
	for _, k := range knownHeaders {
		raw := [4]byte(unhex(t, k.hex))
		if got := HEC(raw); got != k.hec {
			t.Errorf("HEC(%s) = %02x, want %02x", k.hex, got, k.hec)
		}
		var c Cell
		c.SetHeader(k.want)
		if got := [4]byte(c[:4]); got != raw || c[4] != k.hec {
			t.Errorf("SetHeader(%+v) wrote %x, want %s%02x", k.want, c[:5], k.hex, k.hec)
		}
		if d := (Cell{40: 1}); k.want.Octets() != c.octets() {
			t.Errorf("Octets of %+v are %010x, want %010x", k.want, k.want.Octets(), c.octets())
		} else if d.SetOctets(k.want.Octets()); [HeaderSize]byte(d[:]) != [HeaderSize]byte(c[:]) || d[40] != 1 {
			t.Errorf("SetOctets wrote %x, want %x in front", d, c[:5])
		}
		if got, ok := c.Header(); got != k.want || !ok {
			t.Errorf("Header of %s%02x = %+v, %v, want %+v, true", k.hex, k.hec, got, ok, k.want)
		}
		if c.VC() != k.want.VC || c.PT() != k.want.PT {
			t.Errorf("VC, PT of %s = %v, %v", k.hex, c.VC(), c.PT())
		}
	}
}

// OAM cells (I.610) made for this project; their CRC-10 was called correct by
// Wireshark 4.0.17.
func TestKnownCRC10(t *testing.T) { eachWay(t, testKnownCRC10) }

func testKnownCRC10(t *testing.T) {
	for _, k := range []struct{ name, hex string }{
		{"loopback", "1801cafe0001 ff*32 6a*8 02f5"},
		{"looped back", "1800cafe0001 ff*32 6a*8 000c"},
		{"AIS", "10 6a*45 03b9"},
		{"RDI", "11 6a*45 00af"},
		{"continuity check", "14 6a*45 0387"},
		// AAL3/4 segments, same provenance: a 40-octet payload as BOM and
		// EOM, and a 32-octet one as SSM.
		{"BOM", "8000 005a0028 0102030405060708090a0b0c0d0e0f10 1112131415161718191a1b1c1d1e1f20 2122232425262728 b2fe"},
		{"EOM", "4400 005a0028 00*40 127d"},
		{"SSM", knownSSM},
	} {
		p := unhex(t, k.hex)
		if len(p) != PayloadSize {
			t.Fatalf("%s: vector has %d octets", k.name, len(p))
		}
		payload := [PayloadSize]byte(p)
		if !crc10Right(&payload) {
			t.Errorf("%s: found damaged", k.name)
		}
		if got := crc10Remainder(&payload); got != 0 {
			t.Errorf("%s: remainder %03x, want 0", k.name, got)
		}
		want := uint16(payload[46]&3)<<8 | uint16(payload[47])
		payload[46] &^= 3
		payload[47] = 0
		if got := crc10Remainder(&payload); got != want {
			t.Errorf("%s: CRC-10 = %03x, want %03x", k.name, got, want)
		}
	}
}

// knownSSM is a CPCS-PDU of AAL3/4 (payload 01..20 hex, BTag 1) in one SSM, MID 5;
// ST, SN, MID, LI and CRC-10 are shown and called correct by Wireshark 4.0.17.
const knownSSM = "c005 00010020 0102030405060708090a0b0c0d0e0f10 1112131415161718191a1b1c1d1e1f20 00010020 00000000 a2e1"

func TestKnownSSM(t *testing.T) { eachWay(t, testKnownSSM) }

func testKnownSSM(t *testing.T) {
	want := unhex(t, knownSSM)
	head, tail := unhex(t, "00010020"), unhex(t, "00010020")
	var c Cell
	if err := EncodeSSM(&c, 0, 5, head, count(32), tail); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(c.Payload()[:], want) {
		t.Errorf("EncodeSSM wrote\n%x, want\n%x", c.Payload()[:], want)
	}
	m, err := DecodeSSM(&c)
	if err != nil || m.SN != 0 || m.MID != 5 || !bytes.Equal(m.Payload, want[2:42]) {
		t.Errorf("DecodeSSM = %+v, %v", m, err)
	}
}

// AAL5 examples of I.363 with 40 octets of payload, as posted by A. Tso in
// 1994 (cell-relay.com, 32bitCRC.testcases); Cambridge's Fairisle reports
// three of them too. Each fills one cell, without padding.
func TestKnownAAL5(t *testing.T) { eachWay(t, testKnownAAL5) }

func testKnownAAL5(t *testing.T) {
	for _, k := range []struct {
		payload []byte
		trailer string // UU, CPI, Length
		crc     string
	}{
		{bytes.Repeat([]byte{0}, 40), "00000028", "864d7f99"},
		{bytes.Repeat([]byte{0xff}, 40), "00000028", "c55e457a"},
		{count(40), "00000028", "bf671ed0"},
		{count(40), "11220028", "acba602a"},
	} {
		trailer, crc := unhex(t, k.trailer), unhex(t, k.crc)
		pdu := append(append([]byte{}, k.payload...), trailer...)
		if got, want := CRC32(pdu), uint32(crc[0])<<24|uint32(crc[1])<<16|uint32(crc[2])<<8|uint32(crc[3]); got != want {
			t.Errorf("CRC32 = %08x, want %08x", got, want)
		}
		pdu = append(pdu, crc...)
		var c Cell
		copy(c.Payload()[:], pdu)
		c.SetHeader(Header{VC: VC{0, 100}, PT: PTUserEnd})
		got, ok, err := NewReassembler(40).Add(&c)
		if trailer[1] != 0 {
			// The last example uses the CPI, which I.363.5 has since reserved.
			if err != ErrCPI {
				t.Errorf("CPI %02x: error %v, want ErrCPI", trailer[1], err)
			}
			continue
		}
		if !ok || err != nil || got.UU != trailer[0] || !bytes.Equal(got.Payload, k.payload) {
			t.Errorf("Add = %+v, %v, %v", got, ok, err)
		}
		var s Segmenter
		if err := s.Begin(Header{VC: VC{0, 100}}, trailer[0], k.payload[:7], k.payload[7:]); err != nil {
			t.Fatal(err)
		}
		var sent Cell
		if !s.Next(&sent) || sent != c || s.Next(&sent) {
			t.Errorf("Segmenter made\n%x, want\n%x, and no second cell", sent, c)
		}
	}
}
