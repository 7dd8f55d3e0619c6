package atm

import (
	"fmt"
	"testing"
)

// A receiver that does what a node does with a cell, short of the memory.
type decoder struct {
	n    int
	fail error
}

func (d *decoder) Receive(c *Cell) {
	if _, ok := c.Header(); !ok {
		d.fail = ErrSegmentType
	}
	m, err := DecodeSSM(c)
	if err != nil {
		d.fail = err
	}
	d.n += len(m.Payload)
}

// path is two nodes at a switch; it returns what sends to the decoder.
func path(t testing.TB, d Receiver) *Link {
	t.Helper()
	s := NewSwitch(2)
	if err := s.Attach(1, NewLink(d)); err != nil {
		t.Fatal(err)
	}
	connect(t, s, 0, VC{0, 100}, 1, VC{5, 777})
	return NewLink(s.Port(0))
}

func TestNoAllocation(t *testing.T) { eachWay(t, testNoAllocation) }

func testNoAllocation(t *testing.T) {
	d := &decoder{}
	link := path(t, d)
	var c Cell
	word, data := make([]byte, 4), make([]byte, 40)
	circuit := Header{VC: VC{0, 100}}.Octets()
	if n := testing.AllocsPerRun(100, func() {
		c.SetHeader(Header{VC: VC{0, 100}})
		if err := EncodeSSM(&c, 1, 2, word, data); err != nil {
			t.Fatal(err)
		}
		link.Receive(&c)
		if err := circuit.EncodeSSM(&c, 1, 2, 3, data); err != nil {
			t.Fatal(err)
		}
		link.Receive(&c)
	}); n != 0 {
		t.Errorf("a cell through the switch: %v allocations, want 0", n)
	}
	if d.fail != nil || d.n == 0 {
		t.Errorf("the cells did not arrive: %v", d.fail)
	}

	var s Segmenter
	r := NewReassembler(MaxPDU)
	head, body := make([]byte, 16), make([]byte, 65000)
	pdus := 0
	if n := testing.AllocsPerRun(20, func() {
		if err := s.Begin(Header{VC: VC{0, 101}}, 0, head, body); err != nil {
			t.Fatal(err)
		}
		for s.Next(&c) {
			if _, ok, err := r.Add(&c); err != nil {
				t.Fatal(err)
			} else if ok {
				pdus++
			}
		}
	}); n != 0 || pdus != 21 {
		t.Errorf("an AAL5 PDU: %v allocations, want 0; %d arrived", n, pdus)
	}
}

// One 40-octet operation: header, HEC, AAL3/4 with CRC-10, and all of it checked again.
func BenchmarkCell(b *testing.B) {
	d := &decoder{}
	var c Cell
	word, data := make([]byte, 4), make([]byte, 40)
	b.ReportAllocs()
	b.SetBytes(40)
	for i := 0; b.Loop(); i++ {
		c.SetHeader(Header{VC: VC{0, 100}})
		if err := EncodeSSM(&c, uint8(i), uint16(i>>4), word, data); err != nil {
			b.Fatal(err)
		}
		d.Receive(&c)
	}
	if d.fail != nil {
		b.Fatal(d.fail)
	}
}

// The same as a circuit does it: the header is made once, the word and the data are written where they belong.
func BenchmarkCellCircuit(b *testing.B) {
	for _, n := range []int{40, 8} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			d := &decoder{}
			var c Cell
			h := Header{VC: VC{0, 100}}.Octets()
			data := make([]byte, n)
			b.ReportAllocs()
			b.SetBytes(int64(n))
			for i := 0; b.Loop(); i++ {
				if err := h.EncodeSSM(&c, uint8(i), uint16(i>>4), uint32(i), data); err != nil {
					b.Fatal(err)
				}
				d.Receive(&c)
			}
			if d.fail != nil {
				b.Fatal(d.fail)
			}
		})
	}
}

// Its halves. The sender's cells are 16 in turn.
func BenchmarkCellEncode(b *testing.B) {
	var cells [16]Cell
	h := Header{VC: VC{0, 100}}.Octets()
	data := make([]byte, 40)
	b.ReportAllocs()
	b.SetBytes(40)
	for i := 0; b.Loop(); i++ {
		if err := h.EncodeSSM(&cells[i%16], uint8(i), uint16(i>>4), uint32(i), data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCellDecode(b *testing.B) {
	d := &decoder{}
	var cells [16]Cell
	for i := range cells {
		cells[i].SetHeader(Header{VC: VC{0, 100}})
		if err := EncodeSSM(&cells[i], uint8(i), 0, make([]byte, 44)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.SetBytes(40)
	for i := 0; b.Loop(); i++ {
		d.Receive(&cells[i%16])
	}
	if d.fail != nil {
		b.Fatal(d.fail)
	}
}

// The same through link, switch and link.
func BenchmarkCellSwitched(b *testing.B) {
	d := &decoder{}
	link := path(b, d)
	var c Cell
	word, data := make([]byte, 4), make([]byte, 40)
	b.ReportAllocs()
	b.SetBytes(40)
	for i := 0; b.Loop(); i++ {
		c.SetHeader(Header{VC: VC{0, 100}})
		if err := EncodeSSM(&c, uint8(i), uint16(i>>4), word, data); err != nil {
			b.Fatal(err)
		}
		link.Receive(&c)
	}
	if d.fail != nil {
		b.Fatal(d.fail)
	}
}

// The switch alone.
func BenchmarkSwitch(b *testing.B) {
	link := path(b, new(counter))
	var c Cell
	b.ReportAllocs()
	for b.Loop() {
		c.SetHeader(Header{VC: VC{0, 100}})
		link.Receive(&c)
	}
}

// Blocks as AAL5 PDUs of up to 64 KiB less a header: both sides, and each by itself. The cells of the longest PDU take 72 KiB, which is
// more than a first-level cache.
func BenchmarkBlock(b *testing.B) {
	const most = 65448
	head := make([]byte, 16)
	h := Header{VC: VC{0, 101}}
	for _, block := range []struct {
		name string
		size int
	}{{"100B", 100}, {"64KiB", most}, {"1MiB", 1 << 20}} {
		body, full := make([]byte, block.size), min(block.size, most)
		run := func(side string, pdu func(body []byte)) {
			b.Run(side+"/"+block.name, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(body)))
				for b.Loop() {
					for left := body; len(left) > 0; left = left[min(full, len(left)):] {
						pdu(left[:min(full, len(left))])
					}
				}
			})
		}
		var s Segmenter
		var c Cell
		r := NewReassembler(MaxPDU)
		run("both", func(body []byte) {
			if err := s.Begin(h, 0, head, body); err != nil {
				b.Fatal(err)
			}
			for s.Next(&c) {
				if _, _, err := r.Add(&c); err != nil {
					b.Fatal(err)
				}
			}
		})
		cells := make([]Cell, (MaxPDU+trailerSize+maxPad)/PayloadSize+1)
		run("segment", func(body []byte) {
			if err := s.Begin(h, 0, head, body); err != nil {
				b.Fatal(err)
			}
			for i := 0; s.Next(&cells[i]); i++ {
			}
		})
		whole, last := segment(b, h, 0, head, body[:full]), segment(b, h, 0, head, body[:block.size%full])
		run("reassemble", func(body []byte) {
			cells := whole
			if len(body) < full {
				cells = last
			}
			for i := range cells {
				if _, _, err := r.Add(&cells[i]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
