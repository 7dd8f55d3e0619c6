package atm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// refMessage is the payloads of the cells of one AAL3/4 message, from the definitions of I.363.3 and nothing of the package.
func refMessage(mid uint16, sn, tag uint8, payload []byte) (cells [][]byte) {
	n := len(payload)
	pdu := binary.BigEndian.AppendUint16([]byte{0, tag}, uint16(n))
	pdu = append(pdu, payload...)
	for len(pdu)%4 != 0 {
		pdu = append(pdu, 0)
	}
	pdu = binary.BigEndian.AppendUint16(append(pdu, 0, tag), uint16(n))
	for i := 0; i < len(pdu); i += 44 {
		chunk := pdu[i:min(i+44, len(pdu))]
		st := 0
		switch first, last := i == 0, i+44 >= len(pdu); {
		case first && last:
			st = 3
		case first:
			st = 2
		case last:
			st = 1
		}
		cell := binary.BigEndian.AppendUint16(nil, uint16(st)<<14|uint16(sn&15)<<10|mid)
		cell = append(cell, chunk...)
		for len(cell) < 46 {
			cell = append(cell, 0)
		}
		cell = append(cell, byte(len(chunk))<<2, 0)
		seal(cell)
		cells = append(cells, cell)
		sn++
	}
	return cells
}

// asCells puts payloads into cells.
func asCells(payloads [][]byte) []Cell {
	cells := make([]Cell, len(payloads))
	for i, p := range payloads {
		cells[i].SetHeader(Header{VC: VC{0, 100}})
		copy(cells[i].Payload()[:], p)
	}
	return cells
}

// segment34 gives all cells of one message.
func segment34(t testing.TB, s *Segmenter34, mid uint16, payload []byte) (cells []Cell) {
	t.Helper()
	if err := s.Begin(Header{VC: VC{0, 100}}, mid, payload[:len(payload)/3], payload[len(payload)/3:]); err != nil {
		t.Fatal(err)
	}
	var c Cell
	for s.Next(&c) {
		cells = append(cells, c)
	}
	return cells
}

// Messages made for this project; all fields and the CRC-10 were shown and called correct by Wireshark 4.0.17.
func TestKnownMessages(t *testing.T) {
	for _, k := range []struct {
		name    string
		tag     uint8
		mid     uint16
		payload []byte
		cells   []string
	}{
		{"BOM and EOM", 0x5a, 0, count(40), []string{
			"8000 005a0028 0102030405060708090a0b0c0d0e0f10 1112131415161718191a1b1c1d1e1f20 2122232425262728 b2fe",
			"4400 005a0028 00*40 127d",
		}},
		{"SSM", 1, 5, count(32), []string{knownSSM}},
	} {
		s := Segmenter34{tag: k.tag}
		r := NewReassembler34(Limits34{PDU: 100, MIDs: 1})
		got := segment34(t, &s, k.mid, k.payload)
		if len(got) != len(k.cells) {
			t.Fatalf("%s: %d cells", k.name, len(got))
		}
		for i, want := range k.cells {
			if !bytes.Equal(got[i].Payload()[:], unhex(t, want)) {
				t.Errorf("%s, cell %d: %x, want %s", k.name, i, got[i].Payload()[:], want)
			}
			copy(got[i].Payload()[:], unhex(t, want))
			m, ok, err := r.Add(&got[i])
			if last := i == len(k.cells)-1; err != nil || ok != last || ok && (m.MID != k.mid || !bytes.Equal(m.Payload, k.payload)) {
				t.Errorf("%s, cell %d: %+v, %v, %v", k.name, i, m, ok, err)
			}
		}
	}
}

func TestAAL34RoundTrip(t *testing.T) {
	r := NewReassembler34(Limits34{PDU: MaxPDU, MIDs: 4}) // one for all: nothing may stay from the message before
	var s Segmenter34
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.IntRange(1, 200), rapid.IntRange(1, MaxPDU)).Draw(t, "length")
		payload := make([]byte, n)
		start := rapid.Byte().Draw(t, "start")
		for i := range payload {
			payload[i] = start + byte(i*7) + byte(i>>8)
		}
		mid := uint16(rapid.IntRange(0, 1023).Draw(t, "mid"))
		cut := rapid.IntRange(0, n).Draw(t, "cut")
		h := drawHeader(t)
		want := refMessage(mid, s.sn, s.tag, payload)
		if err := s.Begin(h, mid, payload[:cut], payload[cut:]); err != nil {
			t.Fatal(err)
		}
		h.PT = PTUser
		c := Cell{}
		for i := range c {
			c[i] = 0xa5 // what was there before must not show
		}
		for i := range want {
			if !s.Next(&c) {
				t.Fatalf("%d cells, want %d", i, len(want))
			}
			if got, ok := c.Header(); got != h || !ok {
				t.Fatalf("header %+v, %v, want %+v", got, ok, h)
			}
			if !bytes.Equal(c.Payload()[:], want[i]) {
				t.Fatalf("cell %d:\n%x, want\n%x", i, c.Payload()[:], want[i])
			}
			m, ok, err := r.Add(&asCells(want[i : i+1])[0])
			if last := i == len(want)-1; err != nil || ok != last || ok && (m.MID != mid || !bytes.Equal(m.Payload, payload)) {
				t.Fatalf("cell %d: Add = %v, %v, MID %d, %d octets", i, ok, err, m.MID, len(m.Payload))
			}
		}
		if s.Next(&c) {
			t.Fatal("a cell too many")
		}
	})
}

// Messages of many MIDs, their cells mixed in any way, come out whole.
func TestAAL34Interleaving(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "messages")
		r := NewReassembler34(Limits34{PDU: 2000, MIDs: n})
		streams, payloads := make([][]Cell, n), make([][]byte, n)
		for i := range n {
			payloads[i] = rapid.SliceOfN(rapid.Byte(), 1, 500).Draw(t, "payload")
			streams[i] = asCells(refMessage(uint16(i*100), rapid.Byte().Draw(t, "sn")&15, rapid.Byte().Draw(t, "tag"), payloads[i]))
		}
		for left := n; left > 0; {
			i := rapid.IntRange(0, n-1).Draw(t, "next")
			if len(streams[i]) == 0 {
				for i = range n {
					if len(streams[i]) > 0 {
						break
					}
				}
			}
			m, ok, err := r.Add(&streams[i][0])
			streams[i] = streams[i][1:]
			if err != nil || ok != (len(streams[i]) == 0) {
				t.Fatalf("message %d: %v, %v", i, ok, err)
			}
			if ok {
				left--
				if m.MID != uint16(i*100) || !bytes.Equal(m.Payload, payloads[i]) {
					t.Fatalf("message %d came as MID %d, %d octets", i, m.MID, len(m.Payload))
				}
			}
		}
		if r.Partial() != 0 || r.made > n {
			t.Fatalf("%d left, %d buffers", r.Partial(), r.made)
		}
	})
}

// All single and double bit errors in one cell of a message are seen, and only other messages arrive.
func TestAAL34BitErrors(t *testing.T) {
	cells := asCells(refMessage(3, 0, 0, count(100)))
	r := NewReassembler34(Limits34{PDU: 200, MIDs: 2})
	for i := range PayloadSize * 8 {
		for j := i; j < PayloadSize*8; j++ {
			d := cells[1]
			flip(d.Payload()[:], i)
			if j != i {
				flip(d.Payload()[:], j)
			}
			if _, ok, err := r.Add(&d); ok || err != ErrCRC10 {
				t.Fatalf("bits %d and %d wrong: %v, %v, want ErrCRC10", i, j, ok, err)
			}
		}
	}
}

// What a network can do to the cells of a message is seen, and the next message arrives.
func TestAAL34CellErrors(t *testing.T) {
	payload := make([]byte, 900)
	for i := range payload {
		payload[i] = byte(i * 31)
	}
	var s Segmenter34
	good := segment34(t, &s, 9, payload)
	next := segment34(t, &s, 9, payload)
	if len(good) != 21 {
		t.Fatalf("%d cells, want 21", len(good))
	}
	r := NewReassembler34(Limits34{PDU: 1000, MIDs: 1})
	expect := func(what string, cells []Cell, want error) {
		t.Helper()
		var first error
		for i := range cells {
			if _, ok, err := r.Add(&cells[i]); ok {
				t.Errorf("%s: a message came out", what)
			} else if first == nil {
				first = err
			}
		}
		if first != want {
			t.Errorf("%s: error %v, want %v", what, first, want)
		}
		got := 0
		for i := range next {
			if m, ok, err := r.Add(&next[i]); err != nil || ok && !bytes.Equal(m.Payload, payload) {
				t.Errorf("after %s: %v, %v", what, ok, err)
			} else if ok {
				got++
			}
		}
		if got != 1 || r.Partial() != 0 {
			t.Errorf("after %s: %d messages, %d under way", what, got, r.Partial())
		}
	}
	last := len(good) - 1
	for i := range good {
		want := ErrSequence
		switch i {
		case 0:
			want = ErrNoBeginning
		case last:
			want = nil // the next one begins
		}
		expect("one lost", append(append([]Cell{}, good[:i]...), good[i+1:]...), want)
		if i > 0 && i < last {
			expect("one twice", append(append([]Cell{}, good[:i+1]...), good[i:]...), ErrSequence)
			swapped := append([]Cell{}, good...)
			swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
			expect("two swapped", swapped, ErrSequence)
		}
	}
	if r.Unended() != 1 {
		t.Errorf("%d not ended, want 1", r.Unended())
	}
	// Sixteen in a row lost: the sequence numbers fit, the Length does not.
	expect("sixteen lost", append(append([]Cell{}, good[:2]...), good[18:]...), ErrPDULength)
	// The end of the one and the beginning of the other lost: the sequence numbers may fit.
	other := asCells(refMessage(9, good[5].Payload()[0]>>2-5, 200, payload))
	expect("two joined", append(append([]Cell{}, good[:5]...), other[5:]...), ErrTags)
}

// cell34 makes one cell with any fields and a right CRC-10.
func cell34(st, sn byte, mid uint16, li int, data ...byte) *Cell {
	var c Cell
	c.SetHeader(Header{VC: VC{0, 100}})
	p := c.Payload()
	binary.BigEndian.PutUint16(p[:], uint16(st)<<14|uint16(sn)<<10|mid)
	copy(p[2:46], data)
	p[46] = byte(li) << 2
	seal(p[:])
	return &c
}

func TestAAL34Fields(t *testing.T) {
	const bom, com, eom, ssm = 2, 0, 1, 3
	type cells = []*Cell
	for _, tt := range []struct {
		what  string
		cells cells
		want  error // of the last; the others have none
	}{
		{"SSM", cells{cell34(ssm, 0, 1, 12, 0, 7, 0, 3, 1, 2, 3, 0, 0, 7, 0, 3)}, nil},
		{"BASize more than Length, as in streaming mode", cells{cell34(ssm, 0, 1, 12, 0, 7, 0, 50, 1, 2, 3, 0, 0, 7, 0, 3)}, nil},
		{"BASize less than Length", cells{cell34(ssm, 0, 1, 12, 0, 7, 0, 2, 1, 2, 3, 0, 0, 7, 0, 3)}, ErrPDULength},
		{"BASize beyond the limit", cells{cell34(ssm, 0, 1, 12, 0, 7, 0, 101, 1, 2, 3, 0, 0, 7, 0, 3)}, ErrOversize},
		{"tags", cells{cell34(ssm, 0, 1, 12, 0, 7, 0, 3, 1, 2, 3, 0, 0, 8, 0, 3)}, ErrTags},
		{"CPI", cells{cell34(ssm, 0, 1, 12, 1, 7, 0, 3, 1, 2, 3, 0, 0, 7, 0, 3)}, ErrCPI},
		{"AL", cells{cell34(ssm, 0, 1, 12, 0, 7, 0, 3, 1, 2, 3, 0, 1, 7, 0, 3)}, ErrAL},
		{"no payload", cells{cell34(ssm, 0, 1, 8, 0, 7, 0, 0, 0, 7, 0, 0)}, ErrPDULength},
		{"too much padding", cells{cell34(ssm, 0, 1, 16, 0, 7, 0, 4, 1, 2, 3, 4, 0, 0, 0, 0, 0, 7, 0, 4)}, ErrPDULength},
		{"SSM too short", cells{cell34(ssm, 0, 1, 7)}, ErrSegmentLength},
		{"SSM too long", cells{cell34(ssm, 0, 1, 45)}, ErrSegmentLength},
		{"SSM with the LI of an abort", cells{cell34(ssm, 0, 1, 63)}, ErrSegmentLength},
		{"BOM too short", cells{cell34(bom, 0, 1, 43)}, ErrSegmentLength},
		{"COM without beginning", cells{cell34(com, 0, 1, 44)}, ErrNoBeginning},
		{"EOM without beginning", cells{cell34(eom, 0, 1, 8)}, ErrNoBeginning},
		{"abort without beginning", cells{cell34(eom, 0, 1, 63)}, ErrNoBeginning},
		{"COM too short", cells{cell34(bom, 15, 1, 44, 0, 1, 0, 90), cell34(com, 0, 1, 40)}, ErrSegmentLength},
		{"EOM too short", cells{cell34(bom, 15, 1, 44, 0, 1, 0, 90), cell34(eom, 0, 1, 3)}, ErrSegmentLength},
		{"EOM too long", cells{cell34(bom, 15, 1, 44, 0, 1, 0, 90), cell34(eom, 0, 1, 62)}, ErrSegmentLength},
		{"abort", cells{cell34(bom, 15, 1, 44, 0, 1, 0, 90), cell34(eom, 0, 1, 63)}, ErrAborted},
		{"abort out of sequence", cells{cell34(bom, 15, 1, 44, 0, 1, 0, 90), cell34(eom, 1, 1, 63)}, ErrSequence},
		{"more than BASize", cells{cell34(bom, 3, 1, 44, 0, 1, 0, 50), cell34(com, 4, 1, 44)}, ErrPDULength},
		{"more messages than allowed", cells{cell34(bom, 3, 1, 44, 0, 1, 0, 50), cell34(bom, 3, 2, 44, 0, 1, 0, 50), cell34(bom, 3, 3, 44, 0, 1, 0, 50)}, ErrMIDs},
	} {
		r := NewReassembler34(Limits34{PDU: 100, MIDs: 2})
		for i, c := range tt.cells {
			m, ok, err := r.Add(c)
			var want error
			last := i == len(tt.cells)-1
			if last {
				want = tt.want
			}
			if !errors.Is(err, want) || ok != (last && want == nil) || ok && string(m.Payload) != "\x01\x02\x03" {
				t.Errorf("%s, cell %d: %+v, %v, %v, want error %v", tt.what, i, m, ok, err, want)
			}
		}
		if n := r.Partial(); n != 0 && tt.want != ErrMIDs {
			t.Errorf("%s: %d messages under way", tt.what, n)
		}
	}
	r := NewReassembler34(Limits34{})
	for pt := PT(4); pt < 8; pt++ {
		c := cell34(ssm, 0, 1, 12, 0, 7, 0, 3, 1, 2, 3, 0, 0, 7, 0, 3)
		c.SetHeader(Header{PT: pt})
		if _, ok, err := r.Add(c); ok || err != ErrNotUser {
			t.Errorf("PT %03b: %v, %v", pt, ok, err)
		}
	}
}

func TestAAL34Timeout(t *testing.T) {
	clock := NewSimClock()
	r := NewReassembler34(Limits34{PDU: 500, MIDs: 2, Clock: clock, Timeout: time.Second})
	cells := func(mid uint16) []Cell { return asCells(refMessage(mid, 0, 0, count(200))) } // five cells
	wait := func(d time.Duration) {
		clock.AfterFunc(d, func() {})
		clock.Run(Forever)
	}
	send := func(c []Cell) (got bool, err error) {
		for i := range c {
			_, ok, e := r.Add(&c[i])
			if got = got || ok; e != nil {
				err = e
			}
		}
		return got, err
	}
	a, b, c := cells(1), cells(2), cells(3)
	_, _ = send(a[:4])
	wait(time.Second)
	if got, err := send(a[4:]); !got || err != nil {
		t.Errorf("just in time: %v, %v", got, err)
	}
	_, _ = send(a[:4])
	wait(time.Second + 1)
	if got, err := send(a[4:]); got || err != ErrNoBeginning || r.Timeouts() != 1 {
		t.Errorf("too late: %v, %v, %d time-outs", got, err, r.Timeouts())
	}
	// What is overdue makes room.
	_, _ = send(a[:4])
	wait(time.Second / 2)
	_, _ = send(b[:4])
	if _, err := send(c[:1]); err != ErrMIDs {
		t.Errorf("no room: %v", err)
	}
	wait(time.Second/2 + 1)
	if got, err := send(c); !got || err != nil || r.Timeouts() != 2 || r.Partial() != 1 {
		t.Errorf("room of an overdue message: %v, %v, %d time-outs, %d under way", got, err, r.Timeouts(), r.Partial())
	}
	if r.Expire() != 0 {
		t.Error("expired too early")
	}
	wait(time.Second)
	if r.Expire() != 1 || r.Partial() != 0 || r.Timeouts() != 3 || r.Reset() != 0 {
		t.Errorf("Expire: %d under way, %d time-outs", r.Partial(), r.Timeouts())
	}
	_, _ = send(a[:4])
	if r.Reset() != 1 || r.made > 3 {
		t.Errorf("Reset; %d buffers", r.made)
	}
}

func TestSegmenter34(t *testing.T) {
	var s Segmenter34
	var c, zero Cell
	if s.Next(&c) || s.Abort(&c) || c != zero {
		t.Error("the zero Segmenter34 made a cell")
	}
	for _, n := range []int{0, MaxPDU + 1} {
		if err := s.Begin(Header{}, 1, nil, make([]byte, n)); err != ErrSDULength || s.Next(&c) {
			t.Errorf("Begin with %d octets: %v", n, err)
		}
	}
	r := NewReassembler34(Limits34{PDU: 1000, MIDs: 1})
	for sent := range 4 {
		if err := s.Begin(Header{VC: VC{1, 99}}, 0xfc05, nil, make([]byte, 300)); err != nil {
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
		if made := s.Abort(&c); made != (sent > 0) {
			t.Fatalf("Abort after %d cells: %v", sent, made)
		} else if made {
			if _, ok, err := r.Add(&c); ok || err != ErrAborted || c.VC() != (VC{1, 99}) {
				t.Errorf("abort after %d cells: %v, %v, want ErrAborted", sent, ok, err)
			}
		}
		if s.Next(&c) || s.Abort(&c) {
			t.Error("a cell after Abort")
		}
	}
}

func TestAAL34NoAllocation(t *testing.T) {
	var s Segmenter34
	var c Cell
	r := NewReassembler34(Limits34{PDU: 1000, MIDs: 1})
	body := make([]byte, 900)
	if n := testing.AllocsPerRun(100, func() {
		if err := s.Begin(Header{VC: VC{0, 101}}, 3, nil, body); err != nil {
			t.Fatal(err)
		}
		for s.Next(&c) {
			if _, _, err := r.Add(&c); err != nil {
				t.Fatal(err)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// Any stream of cells keeps the memory within its bounds, and what is accepted is a right CPCS-PDU.
func FuzzReassembler34(f *testing.F) {
	stream := func(cells []Cell) (raw []byte) {
		for _, c := range cells {
			raw = append(raw, c.Payload()[:]...)
		}
		return raw
	}
	mixed := append(asCells(refMessage(1, 3, 9, count(100)))[:2], asCells(refMessage(2, 0, 1, count(60)))...)
	f.Add(uint16(100), uint8(2), stream(mixed))
	f.Add(uint16(10), uint8(1), stream(asCells(refMessage(1, 0, 0, count(10)))))
	f.Add(uint16(100), uint8(1), stream([]Cell{*cell34(2, 0, 1, 44, 0, 1, 0, 90), *cell34(1, 1, 1, 63)}))
	f.Fuzz(func(t *testing.T, limit uint16, mids uint8, raw []byte) {
		clock := NewSimClock()
		r := NewReassembler34(Limits34{PDU: int(limit), MIDs: int(mids), Clock: clock, Timeout: 10})
		for len(raw) > 0 {
			var c Cell
			c.SetHeader(Header{VC: VC{0, 100}})
			raw = raw[copy(c.Payload()[:], raw):]
			seal(c.Payload()[:])
			clock.AfterFunc(time.Duration(c[20]&3), func() {})
			clock.Run(Forever)
			m, ok, err := r.Add(&c)
			if ok && err != nil || !ok && m.Payload != nil {
				t.Fatal(m, ok, err)
			}
			if n := len(m.Payload); ok && (n < 1 || n > r.limits.PDU || m.MID > 1023) {
				t.Fatalf("accepted %+v", m)
			}
			if r.Partial() > r.limits.MIDs || r.made > r.limits.MIDs+1 || len(r.free) > r.made {
				t.Fatalf("%d under way, %d buffers of which %d are free, limit %d", r.Partial(), r.made, len(r.free), r.limits.MIDs)
			}
		}
	})
}
