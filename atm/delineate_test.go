package atm

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// collector keeps what it receives.
type collector struct{ cells []Cell }

func (c *collector) Receive(cell *Cell) {
	c.cells = append(c.cells, *cell)
	*cell = Cell{} // as a receiver may
}

// refScramble is x^43 + 1 bit by bit: each bit sent is the sum of the one given
// and the one sent 43 before.
func refScramble(history []byte, payload []byte) (sent, newHistory []byte) {
	for i := range len(payload) * 8 {
		bit := payload[i/8]>>(7-i%8)&1 ^ history[0]
		history = append(history[1:], bit)
		if i%8 == 0 {
			sent = append(sent, 0)
		}
		sent[i/8] |= bit << (7 - i%8)
	}
	return sent, history
}

// refDescramble undoes refScramble, bit by bit.
func refDescramble(history []byte, sent []byte) (payload, newHistory []byte) {
	for i := range len(sent) * 8 {
		bit := sent[i/8] >> (7 - i%8) & 1
		if i%8 == 0 {
			payload = append(payload, 0)
		}
		payload[i/8] |= (bit ^ history[0]) << (7 - i%8)
		history = append(history[1:], bit)
	}
	return payload, history
}

func TestScramblerAgainstReference(t *testing.T) {
	r := rand.New(rand.NewPCG(*seed, 5))
	var s Scrambler
	var d Descrambler
	sent, received := make([]byte, 43), make([]byte, 43)
	for range 2000 {
		var p [PayloadSize]byte
		fill(r, p[:])
		q, want := p, []byte(nil)
		want, sent = refScramble(sent, p[:])
		if s.Scramble(&q); !bytes.Equal(q[:], want) {
			t.Fatalf("Scramble(%x) = %x, want %x", p, q, want)
		}
		fill(r, q[:]) // the descrambler is judged alone
		want, received = refDescramble(received, q[:])
		if d.Descramble(&q); !bytes.Equal(q[:], want) {
			t.Fatalf("Descramble = %x, want %x", q, want)
		}
	}
}

// One octet of 80 hex and nothing else: the scrambler repeats its bit every 43 bits, which is
// what 1/(x^43+1) is.
func TestScramblerImpulse(t *testing.T) {
	var s Scrambler
	p := [PayloadSize]byte{0x80}
	s.Scramble(&p)
	for i := range PayloadSize * 8 {
		if got, want := p[i/8]>>(7-i%8)&1 == 1, i%43 == 0; got != want {
			t.Fatalf("bit %d is %v, want %v", i, got, want)
		}
	}
}

// A descrambler that starts with any state agrees after 43 bits; one wrong bit
// on the line makes two wrong bits 43 apart.
func TestDescramblerSynchronises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Scrambler{last: rapid.Uint64().Draw(t, "sender")}
		d := Descrambler{last: rapid.Uint64().Draw(t, "receiver")}
		wrong := rapid.IntRange(0, PayloadSize*8-1).Draw(t, "bit")
		p := [2][PayloadSize]byte{}
		for i := range p {
			copy(p[i][:], rapid.SliceOfN(rapid.Byte(), PayloadSize, PayloadSize).Draw(t, "payload"))
		}
		q := p
		for i := range q {
			s.Scramble(&q[i])
		}
		first := d
		r := q
		d.Descramble(&r[0])
		d.Descramble(&r[1])
		if r[1] != p[1] || !bytes.Equal(r[0][6:], p[0][6:]) || (r[0][5]^p[0][5])&0x1f != 0 {
			t.Fatalf("descrambled %x, want %x", r, p)
		}
		flip(q[0][:], wrong)
		damaged := q
		first.Descramble(&damaged[0])
		first.Descramble(&damaged[1])
		all, want := append(damaged[0][:], damaged[1][:]...), append(r[0][:], r[1][:]...)
		flip(want, wrong)
		flip(want, wrong+43)
		if !bytes.Equal(all, want) {
			t.Fatalf("bit %d wrong: %x, want %x", wrong, all, want)
		}
	})
}

// testCells makes n user cells that differ.
func testCells(r *rand.Rand, n int) []Cell {
	cells := make([]Cell, n)
	for i := range cells {
		fill(r, cells[i].Payload()[:])
		cells[i].SetHeader(Header{VC: VC{uint8(r.Uint32()), uint16(32 + r.IntN(1000))}, PT: PT(r.IntN(8)), CLP: r.IntN(2) == 0})
	}
	return cells
}

// transmit is the stream of cells with idle ones between them.
func transmit(r *rand.Rand, cells []Cell) []byte {
	var tx Transmitter
	var stream []byte
	for i := range cells {
		stream = tx.Append(stream, &cells[i])
		if r != nil {
			stream = tx.AppendIdle(stream, r.IntN(3))
		}
	}
	return stream
}

func equalCells(t testing.TB, got, want []Cell) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d cells arrived, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("cell %d arrived as %x, want %x", i, got[i], want[i])
		}
	}
}

// Whatever the pieces are in which the stream comes, the cells come out of it.
func TestDelineatorRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		cells := testCells(r, rapid.IntRange(0, 40).Draw(t, "cells"))
		stream := transmit(r, cells)
		var got collector
		d := NewDelineator(&got)
		for rest := stream; len(rest) > 0; {
			n := rapid.IntRange(1, 200).Draw(t, "piece")
			n = min(n, len(rest))
			if k, err := d.Write(rest[:n]); k != n || err != nil {
				t.Fatalf("Write = %d, %v", k, err)
			}
			rest = rest[n:]
		}
		equalCells(t2(t), got.cells, cells)
		c := d.Counters()
		if len(cells) == 0 {
			return
		}
		if d.State() != Sync || c.Confirming != preamble || c.Skipped != 0 || c.Lost != 0 || c.Discarded != 0 ||
			(c.Cells+c.Idle+c.Confirming)*CellSize != uint64(len(stream)) {
			t.Fatalf("state %v, counters %+v", d.State(), c)
		}
	})
}

// t2 gives a rapid.T to helpers that take a testing.TB.
func t2(t *rapid.T) testing.TB { return rapidTB{T: t} }

type rapidTB struct {
	testing.TB
	T *rapid.T
}

func (r rapidTB) Helper()                      {}
func (r rapidTB) Fatalf(f string, args ...any) { r.T.Fatalf(f, args...) }
func (r rapidTB) Fatal(args ...any)            { r.T.Fatal(args...) }

// Readers that give one octet, half of what is asked for, or data together with
// the end.
func TestDelineatorReadFrom(t *testing.T) {
	r := rand.New(rand.NewPCG(*seed, 6))
	cells := testCells(r, 1500)
	stream := transmit(r, cells)
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"whole": func(r io.Reader) io.Reader { return r }, "one by one": iotest.OneByteReader,
		"half": iotest.HalfReader, "data with the end": iotest.DataErrReader,
	} {
		var got collector
		n, err := NewDelineator(&got).ReadFrom(wrap(bytes.NewReader(stream)))
		if n != int64(len(stream)) || err != nil {
			t.Errorf("%s: ReadFrom = %d, %v, want %d, nil", name, n, err, len(stream))
		}
		equalCells(t, got.cells, cells)
	}
	if _, err := NewDelineator(&collector{}).ReadFrom(iotest.TimeoutReader(iotest.OneByteReader(bytes.NewReader(stream)))); !errors.Is(err, iotest.ErrTimeout) {
		t.Errorf("an error of the reader: %v, want it back", err)
	}
}

// A golden stream: the machine's states, cell by cell. Each letter is a cell: g has a right header, b a wrong
// one with several bits wrong, s one with a single bit wrong. What is expected
// after each: h hunt, p presync, s sync; * behind it: the cell was handed on.
func TestDelineatorStates(t *testing.T) {
	for _, tt := range []struct{ name, cells, want string }{
		{"confirmed by δ", "ggggggggg", "p p p p p p s s*s*"},
		{"one wrong in presync", "ggggb", "p p p p h "},
		{"a wrong bit in presync is not corrected", "ggs", "p p h "},
		{"alone wrong bits are corrected in sync", "gggggggsgsg", "p p p p p p s s*s*s*s*"},
		{"a second one is not", "gggggggssg", "p p p p p p s s*s s*"},
		{"nor is one behind several", "gggggggbsgs", "p p p p p p s s s s*s*"},
		{"α-1 wrong", "gggggggbbbbbbg", "p p p p p p s s s s s s s s*"},
		{"α wrong", "gggggggbbbbbbb", "p p p p p p s s s s s s s h "},
		{"a right one between", "gggggggbbbbbbgbbbbbbg", "p p p p p p s s s s s s s s*s s s s s s s*"},
		{"and back again", "gggggggbbbbbbbggggggggg", "p p p p p p s s s s s s s h p p p p p p s s*s*"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got collector
			d := NewDelineator(&got)
			var states []byte
			for _, kind := range tt.cells {
				var c Cell // 0 on the line holds no right header by chance
				c.SetHeader(Header{VC: VC{0, 100}})
				switch kind {
				case 'b':
					flip(c[:], 3)
					flip(c[:], 30)
				case 's':
					flip(c[:], 17)
				}
				before := len(got.cells)
				_, _ = d.Write(c[:])
				handed := byte(' ')
				if len(got.cells) > before {
					handed = '*'
					if h, ok := got.cells[before].Header(); !ok || h.VC != (VC{0, 100}) {
						t.Errorf("handed on with header %+v, %v", h, ok)
					}
				}
				states = append(states, d.State().String()[0], handed)
			}
			if string(states) != tt.want {
				t.Errorf("cells %s\n got %q\nwant %q", tt.cells, states, tt.want)
			}
		})
	}
}

// A receiver that comes in anywhere, or loses octets on the way, finds the
// cells again.
func TestDelineatorFindsAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		cells := testCells(r, 60)
		var tx Transmitter
		var stream []byte
		for i := range cells[:30] {
			stream = tx.Append(stream, &cells[i])
		}
		from := rapid.IntRange(0, len(stream)).Draw(t, "from")
		gone := rapid.IntRange(0, len(stream)-from).Draw(t, "gone")
		stream = append(stream[:from], stream[from+gone:]...)
		// False boundaries in random payloads are found out, so that 60 cells
		// are more than enough.
		for range 60 {
			stream = tx.AppendIdle(stream, 1)
		}
		for i := range cells[30:] {
			stream = tx.Append(stream, &cells[30+i])
		}
		var got collector
		d := NewDelineator(&got)
		_, _ = d.Write(stream)
		if d.State() != Sync || len(got.cells) < 30 {
			t.Fatalf("state %v, %d cells", d.State(), len(got.cells))
		}
		equalCells(t2(t), got.cells[len(got.cells)-30:], cells[30:])
	})
}

// All single and double bit errors in the header of a cell in sync: the single
// ones are corrected, of the double ones no cell comes out.
func TestDelineatorBitErrors(t *testing.T) {
	r := rand.New(rand.NewPCG(*seed, 7))
	cells := testCells(r, 3)
	stream := transmit(nil, cells)
	at := (preamble + 1) * CellSize * 8
	for i := range HeaderSize * 8 {
		for j := i; j < HeaderSize*8; j++ {
			damaged := bytes.Clone(stream)
			flip(damaged, at+i)
			want := cells
			if j != i {
				flip(damaged, at+j)
				want = []Cell{cells[0], cells[2]}
			}
			var got collector
			_, _ = NewDelineator(&got).Write(damaged)
			equalCells(t, got.cells, want)
		}
	}
}

func TestDelineatorEmptyCells(t *testing.T) {
	var tx Transmitter
	var c Cell
	c.SetUnassigned()
	stream := tx.Append(nil, &c)
	c.setWord(0x00000009) // OAM of the physical layer
	stream = tx.Append(stream, &c)
	stream = tx.AppendIdle(stream, 2)
	c.setWord(0xa000000e) // unassigned, with other GFC and PT
	stream = tx.Append(stream, &c)
	var got collector
	d := NewDelineator(&got)
	_, _ = d.Write(stream)
	if n := d.Counters(); len(got.cells) != 0 || n.Unassigned != 2 || n.Idle != 3 || n.Confirming != preamble {
		t.Errorf("%d cells, counters %+v", len(got.cells), n)
	}
}

func TestDelineatorNoAllocation(t *testing.T) {
	r := rand.New(rand.NewPCG(*seed, 8))
	cells := testCells(r, 100)
	var n counter
	var tx Transmitter
	d := NewDelineator(&n)
	buf := tx.Resync(make([]byte, 0, 200*CellSize))
	_, _ = d.Write(buf)
	if allocs := testing.AllocsPerRun(10, func() {
		buf = buf[:0]
		for i := range cells {
			buf = tx.Append(buf, &cells[i])
		}
		for rest := buf; len(rest) > 0; {
			k, _ := d.Write(rest[:min(len(rest), 71)])
			rest = rest[k:]
		}
	}); allocs != 0 {
		t.Errorf("%v allocations, want 0", allocs)
	}
}

// Any octets: no panic, every octet is accounted for, cells handed on have a
// right header, and a stream that follows is found.
func FuzzDelineator(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 9))
	f.Add(transmit(r, testCells(r, 20)), uint8(53))
	f.Add(bytes.Repeat([]byte{0x55, 0, 0, 0, 0}, 100), uint8(1))
	f.Add(bytes.Repeat([]byte{0, 0, 0, 1, 0x52}, 100), uint8(7))
	f.Fuzz(func(t *testing.T, stream []byte, piece uint8) {
		var got collector
		d := NewDelineator(&got)
		for rest := stream; len(rest) > 0; {
			k, err := d.Write(rest[:min(len(rest), int(piece)+1)])
			if k == 0 || err != nil {
				t.Fatal(k, err)
			}
			rest = rest[k:]
		}
		n := d.Counters()
		whole := (n.Cells + n.Discarded + n.Idle + n.Unassigned + n.Confirming) * CellSize
		if whole+n.Skipped+uint64(d.n) != uint64(len(stream)) {
			t.Fatalf("%d octets, counters %+v", len(stream), n)
		}
		for _, c := range got.cells {
			if c[4] != refHEC(c[:4]) || c.empty() {
				t.Fatalf("handed on: %x", c)
			}
		}
		want := testCells(rand.New(rand.NewPCG(1, 10)), 10)
		var tx Transmitter
		tail := tx.AppendIdle(nil, 100)
		for i := range want {
			tail = tx.Append(tail, &want[i])
		}
		_, _ = d.Write(tail)
		if len(got.cells) < 10 {
			t.Fatalf("%d cells behind 100 idle ones", len(got.cells))
		}
		equalCells(t, got.cells[len(got.cells)-10:], want)
	})
}
