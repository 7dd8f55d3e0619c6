package rmem

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"testing"

	"rmemrun/atm"
)

// A flood is what somebody who can send anything on every circuit to a node sends to it.
type flood struct {
	pair   *pair
	victim *Node
	vc     atm.VC   // of the circuit behind pair.d, at the victim
	mark   mark     // of requests on it
	many   []atm.VC // of more circuits than there are buffers for
	marks  []mark
	random *rand.Rand
}

func newFlood(t *testing.T) *flood {
	p := newPair(t, 4096, access, seeded(1))
	f := &flood{pair: p, victim: p.f.nodes[1], random: rand.New(rand.NewPCG(1, 2))}
	circuit := func(d Desc) (atm.VC, mark) {
		c := p.a.descriptors.get(int32(d))
		return c.remote, c.mine
	}
	f.vc, f.mark = circuit(p.d)
	for range maxPartial + 50 {
		vc, m := circuit(mustImport(t, p.a, "seg", 1, access))
		f.many, f.marks = append(f.many, vc), append(f.marks, m)
	}
	return f
}

// heap is how many bytes are in use, after two collections: buffers that nobody uses stay in their pool for one.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Limits of what a flood may make a node keep, in bytes.
const (
	// Nothing is kept but what is already there: what differs is what tests and runtime do besides.
	noFlood = 1 << 20
	// A reservation is a buffer for a block and what belongs to it, at most 80 KiB.
	blockFlood = noFlood + maxPartial*80<<10
	// A circuit keeps a window of requests that came early.
	earlyFlood = noFlood + (maxPartial+50)*window*512
)

// TestFloods floods a node with a million cells of each kind that is no good. Its memory stays within what is said above, as many blocks
// as it may reassemble at a time are under way and no more, every cell that is dropped is counted by its reason, and afterwards
// the circuit that was flooded works, and so does a new one.
func TestFloods(t *testing.T) {
	cells := 1_000_000
	if testing.Short() {
		cells = 100_000
	}
	sealed := func(c *atm.Cell, vc atm.VC, number uint32, message []byte) {
		c.SetHeader(atm.Header{VC: vc})
		sealCell(c, number, message)
	}
	// sar puts an AAL3/4 cell with a right CRC-10 together, bit by bit: ST, SN, MID and LI may be anything.
	sar := func(c *atm.Cell, vc atm.VC, head uint16, li uint8) {
		c.SetHeader(atm.Header{VC: vc})
		p := c.Payload()
		binary.BigEndian.PutUint16(p[0:], head)
		binary.BigEndian.PutUint16(p[46:], uint16(li)<<10)
		var r uint16
		for bit := range 8*48 - 10 {
			carry := r>>9 ^ uint16(p[bit/8]>>(7-bit%8)&1)
			r = r<<1&0x3ff ^ carry*0x233
		}
		binary.BigEndian.PutUint16(p[46:], uint16(li)<<10|r)
	}
	message := make([]byte, 44)
	control := atm.VC{VCI: ControlVCI(0)}
	var cutter atm.Segmenter
	whole := func(c *atm.Cell, vc atm.VC, pdu []byte) { // of one cell
		if cutter.Begin(atm.Header{VC: vc}, 0, pdu, nil) == nil {
			cutter.Next(c)
		}
	}
	for _, k := range []struct {
		name    string
		limit   int64
		make    func(f *flood, i int, c *atm.Cell)
		reasons []Reason // all cells are dropped, for these
		kept    bool     // some are not dropped, but kept, or wait for more
	}{
		{name: "bad HEC", limit: noFlood, reasons: []Reason{BadHEC}, make: func(f *flood, i int, c *atm.Cell) {
			c.SetHeader(atm.Header{VC: f.vc})
			c[4] ^= byte(1 + i%255)
		}},
		{name: "unknown VCs", limit: noFlood, reasons: []Reason{NoCircuit}, make: func(f *flood, i int, c *atm.Cell) {
			c.SetHeader(atm.Header{VC: atm.VC{VPI: uint8(1 + i%255), VCI: uint16(i)}})
		}},
		{name: "OAM and resource management", limit: noFlood, reasons: []Reason{NotUser}, make: func(f *flood, i int, c *atm.Cell) {
			c.SetHeader(atm.Header{VC: f.vc, PT: atm.PT(4 + i%4)})
		}},
		{name: "bad CRC-10", limit: noFlood, reasons: []Reason{BadCRC10}, make: func(f *flood, i int, c *atm.Cell) {
			sealed(c, f.vc, f.mark.number(uint64(i)), message)
			c[atm.HeaderSize+i%48] ^= byte(1 + i%255)
		}},
		{name: "wrong LI", limit: noFlood, reasons: []Reason{BadSegment}, make: func(f *flood, i int, c *atm.Cell) {
			sar(c, f.vc, 3<<14|uint16(f.random.Uint32()&0x3fff), []uint8{0, 1, 7, 45, 46, 62, 63}[i%7])
		}},
		{name: "AAL3/4 messages of unknown MIDs, begun and not ended", limit: noFlood, reasons: []Reason{BadSegment}, make: func(f *flood, i int, c *atm.Cell) {
			sar(c, f.many[i%len(f.many)], []uint16{2, 0, 1}[i%3]<<14|uint16(i&0x3fff), 44)
		}},
		{name: "requests with a wrong key", limit: noFlood, reasons: []Reason{Misinserted}, make: func(f *flood, i int, c *atm.Cell) {
			sealed(c, f.vc, f.mark.number(f.random.Uint64()), append(u32(word(OpFAdd, 0)), append(u32(f.mark.key+1), message[:8]...)...))
		}},
		{name: "requests out of the window", limit: noFlood, reasons: []Reason{Gap, Duplicate}, make: func(f *flood, i int, c *atm.Cell) {
			sealed(c, f.vc, f.mark.number(uint64(window+i%(seqMask-window))), append(u32(word(OpWrite, 0)), message[:40]...))
		}},
		{name: "requests that came early", limit: earlyFlood, reasons: []Reason{Duplicate}, kept: true, make: func(f *flood, i int, c *atm.Cell) {
			k := i % len(f.many)
			sealed(c, f.many[k], f.marks[k].number(uint64(1+f.random.IntN(window-1))), append(u32(word(OpWrite, 0)), message[:40]...))
		}},
		{name: "blocks with a wrong CRC-32", limit: blockFlood, reasons: []Reason{BadPDU}, make: func(f *flood, i int, c *atm.Cell) {
			c.SetHeader(atm.Header{VC: upperVC(f.many[i%len(f.many)]), PT: atm.PTUserEnd})
			c[atm.HeaderSize+i%48] ^= 1
		}},
		{name: "blocks that never end", limit: blockFlood, reasons: []Reason{Overflow}, kept: true, make: func(f *flood, i int, c *atm.Cell) {
			c.SetHeader(atm.Header{VC: upperVC(f.many[i%len(f.many)])})
		}},
		{name: "blocks that end late", limit: blockFlood, reasons: []Reason{BadPDU}, kept: true, make: func(f *flood, i int, c *atm.Cell) {
			h := atm.Header{VC: upperVC(f.many[i/5000%len(f.many)])}
			if i%5000 == 4999 {
				h.PT = atm.PTUserEnd
			}
			c.SetHeader(h)
		}},
		{name: "parts of blocks that never become whole", limit: blockFlood + earlyFlood, reasons: []Reason{Overflow}, kept: true, make: func(f *flood, i int, c *atm.Cell) {
			k := i % len(f.many)
			var b [blockHeader + 8]byte
			header{op: OpWrite, low: uint32(1+i%8000)<<seqBits | f.marks[k].number(uint64(i%window)), key: f.marks[k].key, length: MaxBlock}.put((*[blockHeader]byte)(b[:]))
			if cutter.Begin(atm.Header{VC: upperVC(f.many[k])}, morePart, b[:], nil) == nil {
				cutter.Next(c)
			}
		}},
		{name: "blocks with a wrong key", limit: blockFlood, reasons: []Reason{Misinserted}, make: func(f *flood, i int, c *atm.Cell) {
			var b [blockHeader + 8]byte
			k := i % len(f.many)
			header{op: OpWrite, low: f.marks[k].number(0), key: f.random.Uint32()&^1 | ^f.marks[k].key&1, length: 8}.put((*[blockHeader]byte)(b[:]))
			whole(c, upperVC(f.many[k]), b[:])
		}},
		{name: "control cells of noise", limit: noFlood, reasons: []Reason{BadPDU}, make: func(f *flood, i int, c *atm.Cell) {
			c.SetHeader(atm.Header{VC: control, PT: atm.PTUserEnd})
			for j := range 6 {
				binary.NativeEndian.PutUint64(c.Payload()[8*j:], f.random.Uint64())
			}
		}},
		{name: "control messages of noise", limit: noFlood, reasons: []Reason{Malformed, Unasked, Stranger}, make: func(f *flood, i int, c *atm.Cell) {
			var b [controlSize]byte
			for j := range 5 {
				binary.NativeEndian.PutUint64(b[8*j:], f.random.Uint64())
			}
			whole(c, control, b[:])
		}},
		{name: "control messages that end late", limit: noFlood, reasons: []Reason{BadPDU}, kept: true, make: func(f *flood, i int, c *atm.Cell) {
			h := atm.Header{VC: control}
			if i%5000 == 4999 {
				h.PT = atm.PTUserEnd
			}
			c.SetHeader(h)
		}},
		{name: "control messages of other nodes", limit: noFlood, reasons: []Reason{Misinserted}, make: func(f *flood, i int, c *atm.Cell) {
			m := controlMessage(i)
			m.to = uint16(2 + i%1000)
			var b [controlSize]byte
			m.put(&b)
			whole(c, control, b[:])
		}},
		{name: "CONNECTs of circuits there are none of", limit: noFlood, reasons: []Reason{Stranger}, make: func(f *flood, i int, c *atm.Cell) {
			m := controlMessage(i)
			var b [controlSize]byte
			m.put(&b)
			whole(c, control, b[:])
		}},
	} {
		t.Run(k.name, func(t *testing.T) {
			f := newFlood(t)
			f.pair.f.ports[1].tamper = func(*atm.Cell) bool { return false } // whom it answers does not listen
			p := f.victim.peer(0)
			before, drops := heap(), f.victim.Drops()
			var most int64
			var partial int32
			for i := range cells {
				var c atm.Cell
				k.make(f, i, &c)
				f.victim.Receive(&c)
				if i%1024 == 0 {
					partial = max(partial, p.partial.Load())
				}
				if i%(cells/4) == cells/4-1 {
					most = max(most, heap()-before)
				}
			}
			if most > k.limit {
				t.Errorf("it holds %d bytes more than before, at most %d may be", most, k.limit)
			}
			if partial > maxPartial {
				t.Errorf("%d blocks are under way at a time, at most %d may be", partial, maxPartial)
			}
			var counted, all uint64
			for r, n := range f.victim.Drops() {
				n -= drops[r]
				all += n
				for _, reason := range k.reasons {
					if r == int(reason) {
						counted += n
						if n == 0 {
							t.Errorf("none was dropped: %v", reason)
						}
					}
				}
			}
			if counted != all || k.kept == (all == uint64(cells)) || all > uint64(cells) {
				t.Errorf("of %d cells %d were dropped, %d for the right reasons", cells, all, counted)
			}
			t.Logf("%d bytes, %d blocks, %d of %d cells dropped", most, partial, all, cells)

			f.pair.f.ports[1].tamper = nil
			works := func(d Desc) {
				t.Helper()
				if e := written(f.pair.a, d, 8, pattern(40)); e != OK || fenced(f.pair.a, d) != OK {
					t.Errorf("write: %v", e)
				}
				back := make([]byte, 40)
				if e := readBack(f.pair.a, d, 8, back); e != OK || string(back) != string(pattern(40)) {
					t.Errorf("read: %v, % x", e, back)
				}
			}
			works(f.pair.d)
			works(mustImport(t, f.pair.a, "seg", 1, access))
			f.victim.PeerDown(0)
			if n := p.partial.Load(); n != 0 {
				t.Errorf("%d buffers are left when the peer is gone", n)
			}
			if left := heap() - before; left > noFlood {
				t.Errorf("%d bytes are left when the peer is gone", left)
			}
			runtime.KeepAlive(f)
		})
	}
}

// controlMessage is a CONNECT from node 0 to node 1 that is right but for its circuit.
func controlMessage(i int) message {
	return message{op: OpConnect, version: Version, id: uint32(i), rights: Read, remote: atm.VC{VPI: 9, VCI: uint16(i)}, to: 1}
}
