package rmem

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"rmemrun/atm"

	"pgregory.net/rapid"
)

// A fickle buffer is one of which some bytes cannot be read or written.
type fickle struct {
	mem
	hole [2]int // from, to
	sure bool   // it knows what can be read
	lies bool   // and says that all can
}

func (f fickle) Readable(n uint64) bool { return f.sure && (f.lies || !f.touches(0, int(n))) }

func (f fickle) touches(at, n int) bool { return n > 0 && at < f.hole[1] && at+n > f.hole[0] }

func (f fickle) ReadAt(p []byte, off int64) (int, error) {
	if f.touches(int(off), len(p)) {
		return 0, errFault
	}
	return f.mem.ReadAt(p, off)
}

func (f fickle) WriteAt(p []byte, off int64) (int, error) {
	if f.touches(int(off), len(p)) {
		return 0, errFault
	}
	return f.mem.WriteAt(p, off)
}

// A rival is the same circuit on one of the networks that are compared.
type rival struct {
	*pair
	blocks int    // PDUs that were begun, in both directions
	at     int    // before which of them something happens
	event  func() // and what
}

func newRival(t *rapid.T, size int, options ...func(*fabric, *Config)) *rival {
	f := newFabric(nil, 2, options...)
	r := &rival{pair: &pair{f: f, a: f.nodes[0].NewSpace(), b: f.nodes[1].NewSpace(), mem: make([]byte, size+16)[:size]}}
	var e Error
	if r.seg, e = r.b.Export("seg", r.mem, access); e != OK {
		t.Fatal(e)
	}
	e, o := do(func(o *Operation) { r.a.Import(o, "seg", 1, access, true) })
	if e != OK {
		t.Fatal(e)
	}
	r.d = Desc(o.Handle())
	for _, p := range f.ports {
		within := false
		p.tamper = func(c *atm.Cell) bool {
			if h, _ := c.Header(); h.VC.VCI%2 == 1 && int(h.VC.VCI) >= atm.FirstUserVCI+len(f.nodes) {
				if !within {
					r.begun()
				}
				within = !h.PT.End()
			}
			return true
		}
		p.sight = func(*atm.Frame) bool { r.begun(); return true }
	}
	return r
}

func (r *rival) begun() {
	if r.blocks++; r.blocks == r.at && r.event != nil {
		r.event()
	}
}

// Blocks do the same whether they stay whole or go in cells: same results, same errors and when they are reported, same bytes in the segment and in the
// guest's memory, same notifications; also if the segment is revoked or inhibited between two blocks of an operation.
func TestWholeBlocksAreTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.OneOf(rapid.IntRange(41, 5000), rapid.IntRange(41, 3*MaxBlock), rapid.Just(2*stageSize+100)).Draw(t, "size")
		cells, frames := newRival(t, size), newRival(t, size, whole)
		defer cells.f.close()
		defer frames.f.close()
		both := [2]*rival{cells, frames}
		inhibited := false
		for i := range rapid.IntRange(1, 8).Draw(t, "operations") {
			n := rapid.OneOf(rapid.IntRange(0, size+5), rapid.IntRange(0, 100), rapid.Just(size), rapid.Just(min(size, MaxBlock)), rapid.Just(min(size, MaxBlock+1))).Draw(t, "length")
			off := uint64(rapid.OneOf(rapid.IntRange(0, size), rapid.IntRange(0, 8), rapid.Just(max(0, size-n))).Draw(t, "offset"))
			swab := rapid.SampledFrom([]uint8{1, 1, 1, 2, 4, 8, 3}).Draw(t, "word")
			if swab > 1 && swab != 3 {
				n -= n % int(swab)
			}
			notify, async, wait := rapid.Bool().Draw(t, "notify"), rapid.Bool().Draw(t, "async"), rapid.Bool().Draw(t, "wait")
			kind := rapid.SampledFrom([]string{"write", "read"}).Draw(t, "kind")
			event := rapid.SampledFrom([]string{"", "", "", "inhibit", "inhibit", "revoke"}).Draw(t, "event")
			when := rapid.IntRange(1, 5).Draw(t, "before block")
			buffer := pattern(max(n, 1))
			for j := range buffer {
				buffer[j] ^= byte(i * 37)
			}
			sure := rapid.Bool().Draw(t, "sure")
			var hole [2]int
			if n > 0 && rapid.IntRange(0, 3).Draw(t, "fault") == 0 {
				hole[0] = rapid.IntRange(0, n-1).Draw(t, "hole")
				hole[1] = hole[0] + 1
			}
			var outcome [2]string
			for k, r := range both {
				r.blocks, r.at, r.event = 0, when, nil
				switch event {
				case "inhibit":
					r.event = func() { r.b.Inhibit(r.seg, !inhibited) }
				case "revoke":
					r.event = func() { r.b.Revoke(r.seg) }
				}
				own := fickle{mem: bytes.Clone(buffer), hole: hole, sure: sure}
				e, _ := do(func(o *Operation) {
					if kind == "write" {
						r.a.Write(o, r.d, off, io.ReaderAt(own), uint64(n), swab, notify)
					} else {
						r.a.Read(o, r.d, off, io.WriterAt(own), uint64(n), swab, async)
					}
				})
				outcome[k] = fmt.Sprintf("%v, fence %v, %d blocks, own memory %x, segment %x", e, fenced(r.a, r.d), r.blocks, atm.CRC32(own.mem), atm.CRC32(r.mem))
				if wait {
					var o Operation
					r.b.Wait(&o, r.seg)
					if !o.Done() {
						o.Cancel(ETIMEDOUT)
					}
					outcome[k] += fmt.Sprintf(", wait %v %+v", o.Result(), o.Event())
				}
			}
			if outcome[0] != outcome[1] {
				t.Fatalf("%s of %d bytes at %d:\nin cells: %s\nwhole:    %s", kind, n, off, outcome[0], outcome[1])
			}
			if event == "inhibit" && cells.blocks >= when {
				inhibited = !inhibited
			}
		}
		if got, want := frames.f.nodes[1].Drops(), cells.f.nodes[1].Drops(); got != want {
			t.Fatalf("dropped %v, in cells %v", got, want)
		}
	})
}

// What is wrong with a frame is found as it is in cells, nothing of it reaches the memory, and it is sent again.
func TestWholeBlocksThatAreWrong(t *testing.T) {
	for _, test := range []struct {
		name  string
		wrong func(f *atm.Frame)
		why   Reason
	}{
		{"a bit of the data", func(f *atm.Frame) { f.Body[9999] ^= 4 }, BadPDU},
		{"a bit of the header", func(f *atm.Frame) { f.Head[20] ^= 1 }, BadPDU},
		{"a cell too few", func(f *atm.Frame) { f.Body = f.Body[:len(f.Body)-48] }, BadPDU},
		{"another circuit's", func(f *atm.Frame) {
			head := bytes.Clone(f.Head)
			head[4] ^= 1
			_ = f.Make(f.VC, 0, head, f.Body)
		}, Misinserted},
		{"no such operation", func(f *atm.Frame) {
			head := bytes.Clone(f.Head)
			_ = f.Make(f.VC, 8, head, f.Body)
		}, Malformed},
		{"a short header", func(f *atm.Frame) {
			whole := append(bytes.Clone(f.Head), f.Body...)
			_ = f.Make(f.VC, 0, whole[:4], whole[4:])
		}, 0}, // it is the same PDU
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPair(t, MaxBlock, access, whole)
			data := pattern(MaxBlock)
			first := true
			var at []byte
			p.f.ports[0].sight = func(f *atm.Frame) bool {
				if first {
					first = false
					at = bytes.Clone(p.mem)
					body := bytes.Clone(f.Body)
					g := *f
					g.Body, g.Head = body, bytes.Clone(f.Head)
					g.VC.VCI = p.f.ports[0].routes[f.VC.VCI].Load().vc
					test.wrong(&g)
					p.f.nodes[1].ReceiveFrame(&g)
					if test.why != 0 && !bytes.Equal(p.mem, at) {
						t.Error("the segment has changed")
					}
				}
				return true
			}
			if e := written(p.a, p.d, 0, data); e != OK {
				t.Fatal(e)
			}
			if e := fenced(p.a, p.d); e != OK {
				t.Fatal(e)
			}
			if !bytes.Equal(p.mem, data) {
				t.Error("the data are not there")
			}
			var want [ReasonCount]uint64
			if test.why != 0 {
				want[test.why] = 1
			} else {
				want[Duplicate] = 1 // it was right, and came twice
			}
			if got := p.f.nodes[1].Drops(); got != want {
				t.Errorf("drops %v, want %v", got, want)
			}
		})
	}
}

// A frame that is lost is sent again, in parts, like a block whose cells were lost.
func TestWholeBlocksThatAreLost(t *testing.T) {
	p := newPair(t, 3*MaxBlock, access, whole)
	lost := 0
	for _, port := range p.f.ports {
		port.sight = func(*atm.Frame) bool {
			lost++
			return lost%5 != 0
		}
	}
	data, back := pattern(3*MaxBlock), make([]byte, 3*MaxBlock)
	if e := written(p.a, p.d, 0, data); e != OK {
		t.Fatal(e)
	}
	if e := fenced(p.a, p.d); e != OK || !bytes.Equal(p.mem, data) {
		t.Fatal("written", e)
	}
	if e := readBack(p.a, p.d, 0, back); e != OK || !bytes.Equal(back, data) {
		t.Fatal("read", e)
	}
	if lost < 8 {
		t.Fatalf("only %d frames", lost)
	}
}

// After cells of a PDU whose last was lost, a frame is what their last cells would be: both are discarded.
func TestFrameBehindCells(t *testing.T) {
	p := newPair(t, MaxBlock, access, whole)
	r := &p.f.ports[0].routes
	first := true
	p.f.ports[0].sight = func(f *atm.Frame) bool {
		if first {
			first = false
			cut := *f
			n := 0
			cut.Cut(receiver(func(c *atm.Cell) {
				if n++; n <= 10 {
					h, _ := c.Header()
					h.VC.VCI = r[h.VC.VCI].Load().vc
					c.SetHeader(h)
					p.f.nodes[1].Receive(c)
				}
			}))
		}
		return true
	}
	data := pattern(5000)
	if e := written(p.a, p.d, 0, data); e != OK {
		t.Fatal(e)
	}
	if e := fenced(p.a, p.d); e != OK || !bytes.Equal(p.mem[:5000], data) {
		t.Fatal("written", e)
	}
	if got := p.f.nodes[1].Drops()[BadPDU]; got != 1 {
		t.Errorf("%d PDUs discarded, want 1", got)
	}
}

type receiver func(c *atm.Cell)

func (r receiver) Receive(c *atm.Cell) { r(c) }

// An observer at either end sees cells.
func TestObserverSeesCells(t *testing.T) {
	for observer := range 2 {
		cells := 0
		o := observe(func(e *Event) {
			if e.Cell != nil && (e.Kind == Sent || e.Kind == Received) {
				cells++
			}
		})
		p := newPair(t, MaxBlock, access, whole, func(f *fabric, c *Config) {
			if c.ID == observer {
				c.Observer = o
			}
		})
		cells = 0
		if e := written(p.a, p.d, 0, pattern(MaxBlock)); e != OK {
			t.Fatal(e)
		}
		if cells < 1364 {
			t.Errorf("the observer of node %d has seen %d cells, want 1364 at least", observer, cells)
		}
	}
}

type observe func(e *Event)

func (o observe) Observe(e *Event) { o(e) }

// A write of several stages finds at once that a part of its source cannot be read, wherever that is, and changes nothing.
func TestStages(t *testing.T) {
	const size = 2*stageSize + 5000
	p := newPair(t, size, access, whole)
	data := pattern(size)
	for _, hole := range []int{0, MaxBlock, stageSize - 1, stageSize, 2*stageSize + 1, size - 1} {
		src := fickle{mem: data, hole: [2]int{hole, hole + 1}, sure: hole%2 == 0}
		e, _ := do(func(o *Operation) { p.a.Write(o, p.d, 0, src, size, 1, false) })
		if e != EFAULT {
			t.Errorf("hole at %d: %v", hole, e)
		}
		if !bytes.Equal(p.mem, make([]byte, size)) {
			t.Fatalf("hole at %d: the segment has changed", hole)
		}
	}
	for i, sure := range []bool{false, true} {
		data[0] = byte(i)
		src := fickle{mem: data, sure: sure}
		e, _ := do(func(o *Operation) { p.a.Write(o, p.d, 0, src, size, 1, false) })
		if e != OK || !bytes.Equal(p.mem, data) {
			t.Errorf("sure: %v: %v, or the data are not there", sure, e)
		}
	}

	// What could be read when the write began, and then cannot.
	clear(p.mem)
	src := fickle{mem: data, hole: [2]int{size - 1, size}, sure: true, lies: true}
	e, _ := do(func(o *Operation) { p.a.Write(o, p.d, 0, src, size, 1, false) })
	if e != EFAULT {
		t.Errorf("a source that has changed: %v, want EFAULT", e)
	}
	if n := 2 * stageSize / smallStage * smallStage; !bytes.Equal(p.mem[:n], data[:n]) || p.mem[size-1] != 0 {
		t.Error("not the blocks before have been written, and none behind")
	}
	if e := written(p.a, p.d, 0, data); e != OK || fenced(p.a, p.d) != OK || !bytes.Equal(p.mem, data) {
		t.Error("the descriptor cannot be used any more", e)
	}
}

// What blocks are sent from stays as it is until they are answered, though much of it is lost and sent again.
func TestStagesAreKept(t *testing.T) {
	const size = 2*stageSize + 5000
	for _, sure := range []bool{false, true} {
		p := newPair(t, size, access, queued)
		n := 0
		p.f.ports[0].tamper = func(c *atm.Cell) bool {
			n++
			return n%1999 != 0
		}
		data := pattern(size)
		for i := range data {
			data[i] ^= byte(i / 4096)
		}
		src := fickle{mem: data, sure: sure}
		e, _ := do(func(o *Operation) { p.a.Write(o, p.d, 0, src, size, 1, false) })
		if e != OK || fenced(p.a, p.d) != OK {
			t.Fatal(e)
		}
		if !bytes.Equal(p.mem, data) {
			t.Errorf("sure: %v: other data have been written", sure)
		}
	}
}

// A stage has one user for the operation and one for each request in flight.
func TestUsersOfStages(t *testing.T) {
	p := newPair(t, 3*MaxBlock, access, whole)
	var c *initiator
	for c = range p.f.nodes[0].initiators {
	}
	var users []int32
	var stage *stage
	p.f.ports[0].sight = func(*atm.Frame) bool {
		stage = c.inFlight[(c.issued-1)%window].stage
		users = append(users, stage.users.Load())
		return true
	}
	if e := written(p.a, p.d, 0, pattern(3*MaxBlock)); e != OK {
		t.Fatal(e)
	}
	if fmt.Sprint(users) != "[2 2 1]" || stage.users.Load() != 0 { // before the last is sent the operation is over
		t.Errorf("users while blocks were sent: %v, want [2 2 1]; afterwards %d", users, stage.users.Load())
	}
}

// Bytes are swapped in what the reader has, not in what the target keeps to send it again.
func TestSwapLeavesTheReply(t *testing.T) {
	const size = smallBody // of more the target is told that it has arrived
	p := newPair(t, size, access, whole)
	copy(p.mem, pattern(size))
	var t0 *target
	for t0 = range p.f.nodes[1].targets {
	}
	back := make([]byte, size)
	seq := t0.expected
	e, _ := do(func(o *Operation) { p.a.Read(o, p.d, 0, mem(back), size, 8, false) })
	if e != OK || back[0] != p.mem[7] {
		t.Fatal(e)
	}
	if kept := t0.kept[seq%window].body; !bytes.Equal(kept, p.mem) {
		t.Errorf("the reply that is kept has %d bytes, which are not those of the segment", len(kept))
	}
}

// Blocks that stay whole allocate nothing, however long they are.
func TestBlocksDoNotAllocate(t *testing.T) {
	if raceDetector {
		t.Skip("with the race detector, sync.Pool drops some of what it is given")
	}
	const size = 1 << 20
	p := newPair(t, size, access, whole)
	var src io.ReaderAt = mem(make([]byte, size))
	var dst io.WriterAt = mem(make([]byte, size))
	var o Operation
	for _, n := range []uint64{100, 4096, MaxBlock, size} {
		for name, run := range map[string]func(){
			"write": func() { p.a.Write(&o, p.d, 0, src, n, 1, false) },
			"read":  func() { p.a.Read(&o, p.d, 0, dst, n, 1, false) },
		} {
			if allocs := testing.AllocsPerRun(100, run); allocs != 0 {
				t.Errorf("%s of %d bytes: %v allocations", name, n, allocs)
			}
			if !o.Done() || o.Result() != OK {
				t.Errorf("%s of %d bytes: %v", name, n, o.Result())
			}
		}
	}
}
