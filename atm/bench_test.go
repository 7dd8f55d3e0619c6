package atm

import "testing"

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

func TestNoAllocation(t *testing.T) {
	d := &decoder{}
	link := path(t, d)
	var c Cell
	word, data := make([]byte, 4), make([]byte, 40)
	if n := testing.AllocsPerRun(100, func() {
		c.SetHeader(Header{VC: VC{0, 100}})
		if err := EncodeSSM(&c, 1, 2, word, data); err != nil {
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

// One AAL5 PDU of 64 KiB less a header: segmented, reassembled, checked.
func BenchmarkBlock(b *testing.B) {
	var s Segmenter
	var c Cell
	r := NewReassembler(MaxPDU)
	head, body := make([]byte, 16), make([]byte, 65448)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if err := s.Begin(Header{VC: VC{0, 101}}, 0, head, body); err != nil {
			b.Fatal(err)
		}
		for s.Next(&c) {
			if _, _, err := r.Add(&c); err != nil {
				b.Fatal(err)
			}
		}
	}
}
