package atm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// segment gives all cells of one PDU.
func segment(t testing.TB, h Header, uu uint8, head, body []byte) []Cell {
	t.Helper()
	var s Segmenter
	if err := s.Begin(h, uu, head, body); err != nil {
		t.Fatal(err)
	}
	var cells []Cell
	var c Cell
	for s.Next(&c) {
		cells = append(cells, c)
	}
	return cells
}

// add gives cells to r, of which only the last may complete or fail a PDU.
func add(t testing.TB, r *Reassembler, cells []Cell) (pdu PDU, ok bool, err error) {
	t.Helper()
	for i := range cells {
		if ok || err != nil {
			t.Fatalf("cell %d of %d ended the PDU: %v", i-1, len(cells), err)
		}
		pdu, ok, err = r.Add(&cells[i])
	}
	return pdu, ok, err
}

func TestAAL5RoundTrip(t *testing.T) { eachWay(t, testAAL5RoundTrip) }

func testAAL5RoundTrip(t *testing.T) {
	r := NewReassembler(MaxPDU) // one for all: nothing may stay from the PDU before
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.IntRange(1, 200), rapid.IntRange(1, MaxPDU)).Draw(t, "length")
		start := rapid.Byte().Draw(t, "start")
		payload := make([]byte, n)
		for i := range payload {
			payload[i] = start + byte(i*7) + byte(i>>8)
		}
		cut := rapid.IntRange(0, n).Draw(t, "cut")
		uu := rapid.Byte().Draw(t, "uu")
		h := drawHeader(t)

		var s Segmenter
		if err := s.Begin(h, uu, payload[:cut], payload[cut:]); err != nil {
			t.Fatal(err)
		}
		want := refPDU(uu, payload)
		var c Cell
		for s.Next(&c) {
			h.PT = PTUser
			if len(want) == PayloadSize {
				h.PT = PTUserEnd
			}
			if got, ok := c.Header(); got != h || !ok {
				t.Fatalf("header %+v, %v, want %+v", got, ok, h)
			}
			if !bytes.Equal(c.Payload()[:], want[:PayloadSize]) {
				t.Fatalf("cell with %d octets to go:\n%x, want\n%x", len(want), c.Payload()[:], want[:PayloadSize])
			}
			want = want[PayloadSize:]
			pdu, ok, err := r.Add(&c)
			if err != nil || ok != (len(want) == 0) {
				t.Fatalf("Add = %v, %v with %d octets to go", ok, err, len(want))
			}
			if ok && (pdu.UU != uu || !bytes.Equal(pdu.Payload, payload)) {
				t.Fatalf("PDU arrived changed: UU %d, %d octets", pdu.UU, len(pdu.Payload))
			}
		}
		if len(want) != 0 {
			t.Fatalf("%d octets were not sent", len(want))
		}
	})
}

// All single and double bit errors in a PDU of two cells are seen, as they
// are in any up to the longest (the order of the generator is 2^32 - 1).
func TestAAL5BitErrors(t *testing.T) {
	cells := segment(t, Header{}, 0, nil, count(60))
	r := NewReassembler(100)
	var pdu [2 * PayloadSize]byte
	for i := range len(pdu) * 8 {
		for j := i; j < len(pdu)*8; j++ {
			copy(pdu[:], cells[0].Payload()[:])
			copy(pdu[PayloadSize:], cells[1].Payload()[:])
			flip(pdu[:], i)
			if j != i {
				flip(pdu[:], j)
			}
			r.Reset()
			r.buf = append(r.buf, pdu[:]...)
			if _, err := r.check(); err != ErrCRC32 {
				t.Fatalf("bits %d and %d wrong: error %v, want ErrCRC32", i, j, err)
			}
		}
	}
}

// What a network can do to the cells of a PDU is seen, and the next PDU
// arrives.
func TestAAL5CellErrors(t *testing.T) {
	payload := make([]byte, 500)
	for i := range payload {
		payload[i] = byte(i * 31)
	}
	good := segment(t, Header{}, 7, payload[:16], payload[16:])
	if len(good) != 11 {
		t.Fatalf("%d cells, want 11", len(good))
	}
	last := len(good) - 1
	r := NewReassembler(1000)
	expect := func(what string, cells []Cell, want error) {
		t.Helper()
		if _, ok, err := add(t, r, cells); ok || err != want {
			t.Errorf("%s: %v, error %v, want %v", what, ok, err, want)
		}
		if pdu, ok, err := add(t, r, good); !ok || err != nil || !bytes.Equal(pdu.Payload, payload) {
			t.Errorf("after %s: %v, %v", what, ok, err)
		}
	}
	for i := range last {
		expect("one lost", append(append([]Cell{}, good[:i]...), good[i+1:]...), ErrCRC32)
		expect("one twice", append(append([]Cell{}, good[:i+1]...), good[i:]...), ErrCRC32)
		if i > 0 {
			swapped := append([]Cell{}, good...)
			swapped[i-1], swapped[i] = swapped[i], swapped[i-1]
			expect("two swapped", swapped, ErrCRC32)
		}
	}
	expect("last one alone", good[last:], ErrCRC32)
	// A lost last cell joins two PDUs: both go.
	expect("end lost", append(append([]Cell{}, good[:last]...), good...), ErrCRC32)
}

// trailer makes the single cell of a PDU with any fields and a right CRC-32.
func trailer(payload []byte, uu, cpi byte, length uint16) *Cell {
	var c Cell
	c.SetHeader(Header{PT: PTUserEnd})
	p := c.Payload()
	copy(p[:40], payload)
	p[40], p[41], p[42], p[43] = uu, cpi, byte(length>>8), byte(length)
	crc := refCRC32(p[:44])
	p[44], p[45], p[46], p[47] = byte(crc>>24), byte(crc>>16), byte(crc>>8), byte(crc)
	return &c
}

func TestAAL5Trailer(t *testing.T) {
	for _, tt := range []struct {
		what   string
		cpi    byte
		length uint16
		want   error
	}{
		{"full cell", 0, 40, nil},
		{"most padding in one cell", 0, 1, nil},
		{"abort", 0, 0, ErrAborted},
		{"longer than its cell", 0, 41, ErrPDULength},
		{"far too long", 0, 65535, ErrPDULength},
		{"reserved CPI", 1, 40, ErrCPI},
	} {
		r := NewReassembler(100)
		pdu, ok, err := r.Add(trailer(count(40), 3, tt.cpi, tt.length))
		if err != tt.want || ok != (tt.want == nil) || ok && (pdu.UU != 3 || !bytes.Equal(pdu.Payload, count(int(tt.length)))) {
			t.Errorf("%s: %+v, %v, %v, want error %v", tt.what, pdu, ok, err, tt.want)
		}
	}
	// Two cells with the length of one: 48 octets of padding.
	r := NewReassembler(100)
	var first Cell
	p := append(make([]byte, 48), trailer(nil, 0, 0, 40).Payload()[:44]...)
	crc := refCRC32(p)
	second := trailer(nil, 0, 0, 40)
	copy(second.Payload()[44:], []byte{byte(crc >> 24), byte(crc >> 16), byte(crc >> 8), byte(crc)})
	if _, ok, err := r.Add(&first); ok || err != nil {
		t.Fatal(ok, err)
	}
	if _, _, err := r.Add(second); err != ErrPDULength {
		t.Errorf("too much padding: error %v, want ErrPDULength", err)
	}
}

func TestAAL5Oversize(t *testing.T) {
	for _, limit := range []int{1, 39, 40, 41, 88, 100, 500} {
		r := NewReassembler(limit)
		size := cap(r.buf)
		for n := 1; n < 1200; n += 3 {
			cells := segment(t, Header{}, 0, nil, make([]byte, n))
			_, ok, err := add(t, r, cells)
			if want := n <= limit; ok != want || !ok && err != ErrOversize {
				t.Errorf("limit %d, PDU of %d: %v, %v", limit, n, ok, err)
			}
			if _, ok, err := r.Add(trailer(count(1), 0, 0, 1)); !ok || err != nil {
				t.Errorf("limit %d, after a PDU of %d: %v, %v", limit, n, ok, err)
			}
		}
		if cap(r.buf) != size || size >= limit+trailerSize+PayloadSize {
			t.Errorf("limit %d: the buffer has %d octets, had %d", limit, cap(r.buf), size)
		}
	}
	for _, limit := range []int{-5, 0, MaxPDU + 1} {
		if r := NewReassembler(limit); r.max < 1 || r.max > MaxPDU {
			t.Errorf("NewReassembler(%d) takes %d", limit, r.max)
		}
	}
}

func TestSegmenterRefuses(t *testing.T) {
	var s Segmenter
	var c, zero Cell
	if s.Next(&c) || s.Abort(&c) || c != zero {
		t.Error("the zero Segmenter made a cell")
	}
	for _, n := range []int{0, MaxPDU + 1} {
		if err := s.Begin(Header{}, 0, nil, make([]byte, n)); !errors.Is(err, ErrSDULength) {
			t.Errorf("Begin with %d octets: %v, want ErrSDULength", n, err)
		}
		if s.Next(&c) {
			t.Errorf("a cell after Begin with %d octets", n)
		}
	}
}

func TestSegmenterAbort(t *testing.T) {
	// The checksum runs ahead of the cells: what it has taken in and they have not is to be taken back.
	const ahead = stride / PayloadSize
	r := NewReassembler(4 * stride)
	for _, sent := range []int{0, 1, 2, 3, ahead - 1, ahead, ahead + 1, ahead + 2, 2 * ahead, 2*ahead + 1, 3 * ahead} {
		var s Segmenter
		var c Cell
		if err := s.Begin(Header{VC: VC{1, 99}}, 5, count(20), make([]byte, 3*stride)); err != nil {
			t.Fatal(err)
		}
		for range sent {
			if !s.Next(&c) {
				t.Fatal("no cell")
			}
			if _, ok, err := r.Add(&c); ok || err != nil {
				t.Fatal(ok, err)
			}
		}
		if !s.Abort(&c) {
			t.Fatal("Abort made no cell")
		}
		if h, ok := c.Header(); !ok || h.VC != (VC{1, 99}) || h.PT != PTUserEnd {
			t.Errorf("abort cell has header %+v", h)
		}
		if _, ok, err := r.Add(&c); ok || err != ErrAborted {
			t.Errorf("abort after %d cells: %v, %v, want ErrAborted", sent, ok, err)
		}
		if s.Next(&c) || s.Abort(&c) {
			t.Error("a cell after Abort")
		}
	}
}

func TestReassemblerRefusesManagement(t *testing.T) {
	cells := segment(t, Header{}, 0, nil, count(200))
	r := NewReassembler(200)
	for i := range cells {
		for pt := PT(4); pt < 8; pt++ {
			var c Cell
			c.SetHeader(Header{PT: pt})
			if _, ok, err := r.Add(&c); ok || err != ErrNotUser {
				t.Fatalf("PT %03b: %v, %v, want ErrNotUser", pt, ok, err)
			}
		}
		if pdu, ok, err := r.Add(&cells[i]); err != nil || ok && !bytes.Equal(pdu.Payload, count(200)) {
			t.Fatal(ok, err)
		}
	}
}

func TestReassemblerReset(t *testing.T) {
	r := NewReassembler(200)
	cells := segment(t, Header{}, 0, nil, count(200))
	add(t, r, cells[:3])
	if n := r.Reset(); n != 3*PayloadSize {
		t.Errorf("Reset = %d, want %d", n, 3*PayloadSize)
	}
	if _, ok, err := add(t, r, cells); !ok || err != nil {
		t.Errorf("after Reset: %v, %v", ok, err)
	}
}

// Any stream of cells keeps the buffer within its bounds, and what is accepted
// is a right CPCS-PDU.
func FuzzReassembler(f *testing.F) {
	stream := func(cells []Cell) (raw []byte) {
		for _, c := range cells {
			raw = append(raw, c[3]>>1&7)
			raw = append(raw, c.Payload()[:]...)
		}
		return raw
	}
	f.Add(uint16(100), stream(segment(f, Header{}, 1, nil, count(90))))
	f.Add(uint16(10), stream(segment(f, Header{}, 1, nil, count(200))))
	f.Add(uint16(0), stream([]Cell{*trailer(nil, 0, 0, 0), *trailer(count(40), 0, 1, 40)}))
	f.Fuzz(func(t *testing.T, limit uint16, raw []byte) {
		r := NewReassembler(int(limit))
		size := cap(r.buf)
		var whole []byte
		for len(raw) > 0 {
			var c Cell
			c.SetHeader(Header{PT: PT(raw[0])})
			raw = raw[1+copy(c.Payload()[:], raw[1:]):]
			pdu, ok, err := r.Add(&c)
			if ok && err != nil || cap(r.buf) != size {
				t.Fatalf("ok %v, error %v, buffer %d", ok, err, cap(r.buf))
			}
			if !c.PT().User() {
				continue
			}
			whole = append(whole, c.Payload()[:]...)
			if c.PT().End() {
				if ok {
					n := len(whole)
					crc := binary.BigEndian.Uint32(whole[n-4:])
					length := int(binary.BigEndian.Uint16(whole[n-6:]))
					if crc != refCRC32(whole[:n-4]) || length != len(pdu.Payload) || length > r.max ||
						n-8-length > 47 || !bytes.HasPrefix(whole, pdu.Payload) || pdu.UU != whole[n-8] {
						t.Fatalf("accepted %x as %+v", whole, pdu)
					}
				}
				if !ok && err == nil {
					t.Fatal("an end cell neither completed nor failed its PDU")
				}
				whole = whole[:0]
			}
		}
	})
}

// Loss priority is that of any cell, congestion that of the last (I.363.5, clause 8.1.2).
func TestAAL5Marks(t *testing.T) {
	r := NewReassembler(200)
	cells := segment(t, Header{}, 0, nil, count(130)) // three cells
	for tag := -1; tag < 3; tag++ {
		for congested := -1; congested < 3; congested++ {
			marked := append([]Cell{}, cells...)
			if tag >= 0 {
				marked[tag].TagCLP()
			}
			if congested >= 0 {
				marked[congested].MarkEFCI()
			}
			pdu, ok, err := add(t, r, marked)
			if !ok || err != nil || pdu.CLP != (tag >= 0) || pdu.EFCI != (congested == 2) {
				t.Errorf("cell %d tagged, cell %d congested: %+v, %v, %v", tag, congested, pdu, ok, err)
			}
		}
	}
}

func TestAAL5Timeout(t *testing.T) {
	clock := NewSimClock()
	r := NewReassembler(500)
	r.SetTimeout(clock, time.Second)
	cells := segment(t, Header{}, 0, nil, count(200)) // five cells
	wait := func(d time.Duration) {
		clock.AfterFunc(d, func() {})
		clock.Run(Forever)
	}
	for _, tt := range []struct {
		what     string
		waits    [5]time.Duration // before each cell
		lost     int              // cell that does not come, -1: none
		timeouts uint64
		ok       bool
	}{
		{"at once", [5]time.Duration{}, -1, 0, true},
		{"just in time", [5]time.Duration{9 * time.Second, time.Second / 2, 0, 0, time.Second / 2}, -1, 0, true},
		{"too late", [5]time.Duration{0, 0, 0, 0, time.Second + 1}, -1, 1, false},
		{"each in time, all together not", [5]time.Duration{0, 400e6, 400e6, 400e6, 400e6}, -1, 1, false},
	} {
		before := r.Timeouts()
		var ok bool
		for i := range cells {
			wait(tt.waits[i])
			_, ok, _ = r.Add(&cells[i])
		}
		if n := r.Timeouts() - before; ok != tt.ok || n != tt.timeouts {
			t.Errorf("%s: complete %v, %d time-outs, want %v, %d", tt.what, ok, n, tt.ok, tt.timeouts)
		}
	}
	// The last cell is lost: with the time-out the next PDU is not lost too.
	add(t, r, cells[:4])
	if r.Expire() {
		t.Error("expired at once")
	}
	wait(time.Second + 1)
	if _, ok, err := add(t, r, cells); !ok || err != nil {
		t.Errorf("after a lost last cell: %v, %v", ok, err)
	}
	add(t, r, cells[:4])
	wait(time.Second + 1)
	if !r.Expire() || r.Expire() || r.Reset() != 0 || r.Timeouts() != 4 {
		t.Errorf("Expire left something; %d time-outs", r.Timeouts())
	}
	if NewReassembler(10).Expire() {
		t.Error("expired without a time-out")
	}
}
