package link

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"rmemrun/atm"
)

// unhex reads hexadecimal digits; blanks do not count.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// cell is a cell on a circuit, its payload 48 times the same octet.
func cell(h atm.Header, fill byte) *atm.Cell {
	var c atm.Cell
	copy(c[atm.HeaderSize:], bytes.Repeat([]byte{fill}, atm.PayloadSize))
	c.SetHeader(h)
	return &c
}

func octets(fill string) string { return strings.Repeat(fill+" ", atm.PayloadSize) }

// What lies in datagrams, octet by octet.
func TestGolden(t *testing.T) {
	user := cell(atm.Header{VC: atm.VC{VPI: 5, VCI: 777}}, 0xaa)
	last := cell(atm.Header{VC: atm.VC{VPI: 0, VCI: 100}, PT: atm.PTUserEnd, CLP: true}, 0xbb)
	tests := []struct {
		name  string
		form  Form
		label uint32
		seq   uint16
		cells []*atm.Cell
		want  string
	}{
		{
			// RFC 3032, 2.1: label 1000, TC 0, bottom of stack, TTL 255. RFC 4717, control word: 0000, flags 0, length 0 although the
			// packet is shorter than 64 octets, since N-to-one mode does not use it; N-to-one service encapsulation: header of 4 octets, payload of 48.
			"one cell", MPLS, DefaultLabel, 1, []*atm.Cell{user},
			"003e81ff 00000001 00503090" + octets("aa"),
		},
		{
			// RFC 4717: cells one behind the other; PTI and C (CLP) as they are in the cell. RFC 4385, 4.1: numbers reach 65535.
			"two cells", MPLS, MaxLabel, 65535, []*atm.Cell{user, last},
			"fffff1ff 0000ffff 00503090" + octets("aa") + "00000643" + octets("bb"),
		},
		{
			// Dynamips sends 00 50 30 90 71 for VPI 5, VCI 777: the cell with its HEC, nothing else.
			"bare", Bare, 0, 0, []*atm.Cell{user},
			"0050309071" + octets("aa"),
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			want := unhex(t, test.want)
			b := make([]byte, 0, maxUDP)
			for _, c := range test.cells {
				b = test.form.append(b, test.label, c)
			}
			if test.form == MPLS {
				putMPLSHeader(b, test.label, test.seq)
			}
			if !bytes.Equal(b, want) {
				t.Errorf("encoded\n%x, want\n%x", b, want)
			}
			seq, cells, err := test.form.parse(want, test.label)
			if err != nil || seq != test.seq {
				t.Fatalf("parse: number %d, error %v", seq, err)
			}
			for _, c := range test.cells {
				var got atm.Cell
				cells = test.form.next(&got, cells)
				if got != *c {
					t.Errorf("decoded %x, want %x", got, *c)
				}
			}
			if len(cells) != 0 {
				t.Errorf("%d octets left", len(cells))
			}
		})
	}
}

// What is not a packet of the pseudowire.
func TestParseMPLSErrors(t *testing.T) {
	one := octets("aa")
	tests := []struct {
		name, datagram string
		want           error
	}{
		{"empty", "", errShort},
		{"no control word", "003e81ff 000000", errShort},
		{"another label behind", "003e80ff 003e81ff 00000001 00503090" + one, errStack},
		{"other label", "003e91ff 00000001 00503090" + one, errLabel},
		{"TTL 0", "003e8100 00000001 00503090" + one, errExpired},
		{"associated channel", "003e81ff 10000021 00503090" + one, errChannel},
		{"an IPv4 packet", "003e81ff 45000001 00503090" + one, errChannel},
		{"no cells", "003e81ff 00000001", errCells},
		{"51 octets", "003e81ff 00000001 503090" + one, errCells},
		{"53 octets", "003e81ff 00000001 0050309071" + one, errCells},
		{"another length", "003e81ff 00370001 00503090" + one, errLength},
		{"its length", "003e81ff 00380001 00503090" + one, nil}, // the MUST be 0 of the RFC is the sender's
		{"flags and reserved", "003e81ff 0fc00001 00503090" + one, nil},
		{"any TTL and traffic class", "003e8f02 00000000 00503090" + one, nil},
	}
	for _, test := range tests {
		if _, _, err := parseMPLS(unhex(t, test.datagram), DefaultLabel); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
}

func TestParseBareErrors(t *testing.T) {
	for _, n := range []int{0, 1, 52, 54, 106} { // all dropped by Dynamips
		if _, _, err := Bare.parse(make([]byte, n), 0); !errors.Is(err, errBare) {
			t.Errorf("%d octets: %v", n, err)
		}
	}
}

// Numbers in a row, as RFC 4385, clause 4.2, judges them.
func TestOrder(t *testing.T) {
	type step struct {
		seq     uint16
		inOrder bool
		missing int
	}
	tests := []struct {
		name  string
		steps []step
	}{
		{"in a row", []step{{1, true, 0}, {2, true, 0}, {3, true, 0}}},
		{"a gap", []step{{1, true, 0}, {4, true, 2}, {5, true, 0}}},
		{"the first lost", []step{{3, true, 2}}},
		{"late", []step{{1, true, 0}, {3, true, 1}, {2, false, 0}, {4, true, 0}}},
		{"twice", []step{{1, true, 0}, {1, false, 0}, {2, true, 0}}},
		{"not counted", []step{{1, true, 0}, {0, true, 0}, {0, true, 0}, {2, true, 0}}},
		{"0 is left out", []step{{30000, true, 29999}, {60000, true, 29999}, {65535, true, 5534}, {1, true, 0}, {2, true, 0}}},
		{"65535 and 1 lost", []step{{30000, true, 29999}, {60000, true, 29999}, {65534, true, 5533}, {2, true, 2}}},
		{"late over the end", []step{{30000, true, 29999}, {60000, true, 29999}, {1, true, 5535}, {65535, false, 0}}},
		{"farthest ahead", []step{{32768, true, 32767}}},
		{"too far ahead", []step{{32769, false, 0}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var o order
			for i, s := range test.steps {
				if inOrder, missing := o.take(s.seq); inOrder != s.inOrder || missing != s.missing {
					t.Fatalf("step %d, number %d: in order %t, missing %d; want %t, %d", i+1, s.seq, inOrder, missing, s.inOrder, s.missing)
				}
			}
		})
	}
}

// However packets are lost, what is taken and what is missing make up all that were sent before the last.
func TestOrderCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var o order
		seq, sent, taken, missing, trailing := uint16(0), 0, 0, 0, 0
		for _, run := range rapid.SliceOfN(rapid.IntRange(0, 20000), 1, 5).Draw(t, "runs") {
			lose := rapid.Bool().Draw(t, "lose") && trailing+run < 1<<15-1
			for range run {
				seq = nextSequence(seq)
				sent++
				if lose {
					trailing++
					continue
				}
				trailing = 0
				ok, n := o.take(seq)
				if !ok {
					t.Fatalf("packet %d, number %d, is out of order", sent, seq)
				}
				taken++
				missing += n
			}
		}
		if taken+missing != sent-trailing {
			t.Fatalf("%d taken, %d missing of %d sent", taken, missing, sent-trailing)
		}
	})
}

func FuzzParse(f *testing.F) {
	one := octets("aa")
	f.Add(unhex(f, "003e81ff 00000001 00503090"+one), uint8(MPLS))
	f.Add(unhex(f, "003e81ff 00380001 00503090"+one+"00000643"+one), uint8(MPLS))
	f.Add(unhex(f, "003e81ff 10000021"), uint8(MPLS))
	f.Add(unhex(f, "0050309071"+one), uint8(Bare))
	f.Fuzz(func(t *testing.T, b []byte, form uint8) {
		f := Form(form % 2)
		seq, cells, err := f.parse(b, DefaultLabel)
		if err != nil {
			return
		}
		again := make([]byte, 0, len(b)+mplsHeaderSize)
		n := 0
		for ; len(cells) > 0; n++ {
			var c atm.Cell
			cells = f.next(&c, cells)
			if _, ok := c.Header(); !ok && f == MPLS {
				t.Fatalf("cell %d: its HEC is wrong", n)
			}
			again = f.append(again, DefaultLabel, &c)
		}
		if f == MPLS {
			putMPLSHeader(again, DefaultLabel, seq)
			copy(again[:labelSize], b)                                          // traffic class and TTL are the sender's
			again[labelSize], again[labelSize+1] = b[labelSize], b[labelSize+1] // so are flags and length
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("%x was read as %x", b, again)
		}
	})
}
