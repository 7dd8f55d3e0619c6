package rmem

import (
	"bytes"
	"encoding/binary"
	"fmt"
	goruntime "runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"rmemrun/atm"
)

// A told notes what a Watcher was told last.
type told struct{ refused, rung, failed bool }

func (w *told) Refused(waits bool) { w.refused = waits }
func (w *told) Rung(wait bool)     { w.rung = wait }
func (w *told) Failed()            { w.failed = true }

// A bypass asks for operations as a guest's stubs do: cells that go to a Direct.
type bypass struct {
	t     testing.TB
	x     *Direct
	told  told
	index uint64
	cell  atm.Cell
	reply atm.Cell

	replied bool // to the last request
}

func newBypass(t testing.TB, s *Space, d Desc, peer *Node) *bypass {
	t.Helper()
	b := &bypass{t: t}
	var e Error
	if b.x, e = s.Direct(d, peer, &b.told); e != OK {
		t.Fatalf("direct: %v", e)
	}
	return b
}

// ask has one request carried out. It returns the data of the reply, or the status.
func (b *bypass) ask(r request, data []byte) ([]byte, Error) {
	b.t.Helper()
	circuit := b.x.Circuit()
	number := uint32(b.index) & seqMask
	op := r.op
	if op == OpWrite && len(data) <= maxShort {
		op = OpWriteShort
	}
	var message [wordSize + MaxCell]byte
	mark{key: circuit.RequestKey}.put(message[:], op, opWord(op, r.notify, uint32(r.offset)))
	n := op.lead() + copy(message[op.lead():], data)
	b.cell.SetOctets(circuit.Requests)
	sealCell(&b.cell, number, message[:n])
	b.replied = b.serve()
	if !b.replied {
		return nil, OK
	}
	if h, ok := b.reply.Header(); !ok || h.Octets() != circuit.Replies {
		b.t.Fatalf("the reply has the header %+v, its HEC is right: %v", h, ok)
	}
	m, err := atm.DecodeSSM(&b.reply)
	if err != nil {
		b.t.Fatal(err)
	}
	if number14(m) != number || !(mark{key: circuit.ReplyKey}).on(m.Payload) {
		b.t.Fatalf("reply %d to request %d: % x", number14(m), number, m.Payload)
	}
	word := binary.BigEndian.Uint32(m.Payload)
	if reply := Op(word >> opShift); reply != OpAck && reply != op.reply() {
		b.t.Fatalf("%v is answered by %v", op, reply)
	} else if reply == OpData {
		return m.Payload[wordSize:], OK
	} else if word&seqMask != number {
		b.t.Fatalf("the reply to request %d says that it is to %d", number, word&seqMask)
	}
	return m.Payload[wordSize+keySize:], statusError(uint8(word >> statusShift))
}

// serve has b.cell served as a ring does, every other time without Take.
func (b *bypass) serve() bool {
	b.x.Begin()
	defer b.x.End()
	index := b.index
	b.index++
	if index%2 == 0 {
		var slot atm.Aligned
		copy(slot[5:], b.cell[:])
		var data atm.AlignedData
		if word, n := atm.OpenSSM(&data, &slot, 0, b.x.Header(), uint32(index)); n != 0 {
			if taken, answered := b.x.Take(index, word, data[:n], &b.reply); taken {
				return answered
			}
		}
	}
	return b.x.Serve(index, &b.cell, &b.reply)
}

// An ask is an operation for both ways.
type ask struct {
	request
	data []byte
}

func drawAsk(t *rapid.T, size int) ask {
	a := ask{request: request{
		op:     rapid.SampledFrom([]Op{OpWrite, OpWrite, OpRead, OpCAS, OpFAdd, OpSwap, OpNotify}).Draw(t, "op"),
		offset: uint64(rapid.IntRange(0, size+8).Draw(t, "offset")),
		notify: rapid.Bool().Draw(t, "notify"),
	}}
	switch a.op {
	case OpWrite:
		a.data = rapid.SliceOfN(rapid.Byte(), 1, MaxCell).Draw(t, "data")
	case OpRead:
		a.n, a.notify = uint64(rapid.IntRange(1, MaxCell).Draw(t, "length")), false
	case OpNotify:
		a.notify = true
	default:
		a.width = rapid.SampledFrom([]uint8{4, 8}).Draw(t, "width")
		a.expected = uint64(rapid.IntRange(0, 2).Draw(t, "expected"))
		a.operand = uint64(rapid.IntRange(0, 2).Draw(t, "operand"))
	}
	return a
}

// throughNode asks for it in the ordinary way.
func (a ask) throughNode(s *Space, d Desc) (got []byte, e Error) {
	o := newOp()
	switch a.op {
	case OpWrite:
		s.Write(&o.Operation, d, a.offset, mem(a.data), uint64(len(a.data)), 1, a.notify)
	case OpRead:
		got = make([]byte, a.n)
		s.Read(&o.Operation, d, a.offset, mem(got), a.n, 1, false)
	case OpNotify:
		s.Notify(&o.Operation, d, a.offset)
	default:
		s.atomic(&o.Operation, d, request{op: a.op, offset: a.offset, width: a.width, expected: a.expected, operand: a.operand, notify: a.notify})
	}
	e = o.result()
	if e == OK && a.op.right() == Atomic {
		got = putNumber(nil, a.width, o.Old())
	}
	return got, e
}

// past asks for it past the node.
func (a ask) past(b *bypass) ([]byte, Error) {
	var data []byte
	switch a.op {
	case OpWrite:
		data = a.data
	case OpRead:
		data = binary.BigEndian.AppendUint32(nil, uint32(a.n))
	case OpCAS:
		data = putNumber(putNumber(nil, a.width, a.expected), a.width, a.operand)
	case OpFAdd, OpSwap:
		data = putNumber(nil, a.width, a.operand)
	}
	got, e := b.ask(a.request, data)
	if a.op == OpRead && e == OK {
		got = got[:a.n]
	}
	return got, e
}

// TestPastTheNode asks for the same in the ordinary way and past the node, in two equal worlds: memory, results, errors and notifications are the same.
func TestPastTheNode(t *testing.T) {
	for _, rights := range []Rights{access, access | Quiet, Read | Write, Read, Write, Atomic} {
		t.Run(fmt.Sprint(uint32(rights)), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) { pastTheNode(t, rt, rights) })
		})
	}
}

// worldOf is newPair, for many, each to be closed. witness is that of the segment's node.
func worldOf(t *testing.T, size int, r Rights, witness func(*Effect)) *pair {
	f := newFabric(nil, 2, func(_ *fabric, cfg *Config) {
		if cfg.ID == 1 {
			cfg.Witness = witness
		}
	})
	p := &pair{f: f, a: f.nodes[0].NewSpace(), b: f.nodes[1].NewSpace(), mem: make([]byte, size)}
	p.seg = mustExport(t, p.b, "seg", p.mem, r)
	p.d = mustImport(t, p.a, "seg", 1, r&access)
	return p
}

func pastTheNode(t *testing.T, rt *rapid.T, rights Rights) {
	const size = 104
	var heard Effect // what the witness was told last
	p, q := worldOf(t, size, rights, func(e *Effect) {
		heard = *e
		heard.Data = bytes.Clone(e.Data)
	}), worldOf(t, size, rights, nil)
	defer p.f.close()
	defer q.f.close()
	b := newBypass(t, q.a, q.d, q.f.nodes[1])
	defer b.x.Close()
	both := func(what string, f func(*pair) string) {
		if x, y := f(p), f(q); x != y {
			rt.Fatalf("%s: %s, and past the node %s", what, x, y)
		}
	}
	for range rapid.IntRange(1, 40).Draw(rt, "operations") {
		switch rapid.IntRange(0, 13).Draw(rt, "what") {
		case 0:
			both("fence", func(p *pair) string { return fenced(p.a, p.d).Error() })
			if b.told.refused {
				rt.Fatal("after a fence an error is said to wait")
			}
		case 1:
			both("wait", func(p *pair) string {
				e, o := do(func(o *Operation) {
					p.b.Wait(o, p.seg)
					o.Cancel(ETIMEDOUT)
				})
				return fmt.Sprint(e, o.Event())
			})
		case 2:
			on := rapid.Bool().Draw(rt, "inhibit")
			both("inhibit", func(p *pair) string { return p.b.Inhibit(p.seg, on).Error() })
		case 3:
			if rapid.IntRange(0, 9).Draw(rt, "revoke") == 0 {
				both("revoke", func(p *pair) string { return p.b.Revoke(p.seg).Error() })
			}
		case 4, 5: // in the ordinary way in both
			a := drawAsk(rt, size)
			both("between", func(p *pair) string {
				got, e := a.throughNode(p.a, p.d)
				return fmt.Sprintf("%x %v", got, e)
			})
		default:
			a := drawAsk(rt, size)
			before := bytes.Clone(q.mem)
			x, ex := a.throughNode(p.a, p.d)
			_, stays := q.a.Direct(q.d, q.f.nodes[1], &told{}) // EINVAL: there is one
			if ex == EPERM || ex == EALIGN || ex == ERANGE {
				// The importer's node has refused it, and no stub would ask for it. If one does, it is refused by the target.
				c := q.a.descriptors.get(int32(q.d))
				waiting := c.err
				c.err = OK
				if _, e := a.past(b); e == OK && a.op.reply() != OpAck || !bytes.Equal(before, q.mem) {
					rt.Fatalf("%v at %d is refused with %v, and not past the node", a.op, a.offset, ex)
				}
				if a.op.reply() == OpAck {
					if e := c.take(); e == OK {
						rt.Fatalf("%v at %d is refused with %v, and left no error past the node", a.op, a.offset, ex)
					}
				}
				c.err = waiting
				c.tell()
				continue
			}
			if stays != EINVAL {
				rt.Fatalf("a second Direct: %v", stays)
			}
			y, ey := a.past(b)
			reply := &b.reply
			if !b.replied {
				reply = nil
			}
			effect := b.x.Effect(ByNode, &b.cell, reply)
			if effect.Circuit.Number, heard.Circuit.Number = 0, 0; !cmp.Equal(effect, heard, cmpopts.EquateEmpty()) {
				rt.Fatalf("%v at %d: the witness is told %+v, and past the node %+v", a.op, a.offset, heard, effect)
			}
			if a.op.reply() == OpAck {
				y, ey = nil, OK // the fence tells
			}
			if ex != ey || ex == OK && !bytes.Equal(x, y) {
				rt.Fatalf("%v at %d: %x %v, and past the node %x %v", a.op, a.offset, x, ex, y, ey)
			}
		}
		if !bytes.Equal(p.mem, q.mem) {
			rt.Fatalf("memory differs:\n% x\n% x", p.mem, q.mem)
		}
		c := q.a.descriptors.get(int32(q.d))
		if b.told.refused != (c.err != OK) {
			rt.Fatalf("told that an error waits: %v; there is %v", b.told.refused, c.err)
		}
		if g := b.x.t.segment; b.told.rung != (g.first != nil) {
			rt.Fatalf("told that notifications wait: %v; there are: %v", b.told.rung, g.first != nil)
		}
	}
}

func TestDirectRefusesWhatIsNoRequest(t *testing.T) {
	p := newPair(t, 64, access)
	b := newBypass(t, p.a, p.d, p.f.nodes[1])
	good := func() {
		c := b.x.Circuit()
		var m [wordSize + MaxCell]byte
		mark{key: c.RequestKey}.put(m[:], OpFAdd, opWord(OpFAdd, false, 0))
		putNumber(m[OpFAdd.lead():][:0], 8, 1)
		b.cell.SetOctets(c.Requests)
		sealCell(&b.cell, uint32(b.index)&seqMask, m[:OpFAdd.lead()+8])
	}
	for _, c := range []struct {
		name   string
		damage func()
		reason Reason
	}{
		{"header", func() { b.cell[2] ^= 1 }, NoCircuit},
		{"HEC", func() { b.cell[4] ^= 1 }, NoCircuit},
		{"CRC-10", func() { b.cell[30] ^= 1 }, BadCRC10},
		{"number", func() { b.index++ }, Gap},
		{"key", func() {
			b.cell[11] ^= 1
			resealed(&b.cell, b.index)
		}, Misinserted},
		{"operation", func() { b.cell[7] = 0xf0; resealed(&b.cell, b.index) }, Malformed},
	} {
		good()
		if !b.serve() || p.mem[7]+p.mem[0] == 0 {
			t.Fatalf("%s: the request that is in order was not carried out", c.name)
		}
		before := bytes.Clone(p.mem)
		drops := p.f.nodes[1].Drops()[c.reason]
		good()
		c.damage()
		if !b.serve() || !bytes.Equal(before, p.mem) {
			t.Errorf("%s: carried out", c.name)
		}
		m, err := atm.DecodeSSM(&b.reply)
		if err != nil || statusError(uint8(binary.BigEndian.Uint32(m.Payload)>>statusShift)) != EINVAL {
			t.Errorf("%s: answered by % x, %v", c.name, b.reply, err)
		}
		if n := p.f.nodes[1].Drops()[c.reason]; n != drops+1 {
			t.Errorf("%s: %d drops of that reason, want one more than %d", c.name, n, drops)
		}
	}
}

// resealed makes the checksum right again.
func resealed(c *atm.Cell, index uint64) {
	const message = atm.HeaderSize + 2
	n := int(c[message+atm.MaxSSM] >> 2)
	sealCell(c, uint32(index)&seqMask, bytes.Clone(c[message:message+n]))
}

func TestDirectEndsWithItsCircuit(t *testing.T) {
	for name, end := range map[string]func(*pair){
		"released":  func(p *pair) { do(func(o *Operation) { p.a.Release(o, p.d) }) },
		"peer down": func(p *pair) { p.f.down(1) },
		"importer":  func(p *pair) { p.a.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, 64, access)
			b := newBypass(t, p.a, p.d, p.f.nodes[1])
			end(p)
			if !b.told.failed {
				t.Error("nobody was told")
			}
			if _, e := b.ask(request{op: OpFAdd}, make([]byte, 8)); e != EDOWN && e != ESTALE {
				t.Errorf("an atomic: %v", e)
			}
			if _, e := b.ask(request{op: OpWrite}, []byte{1}); e != EDOWN && e != ESTALE || p.mem[0] != 0 {
				t.Errorf("a write: %v", e)
			}
		})
	}
}

func TestDirectNeedsBothEnds(t *testing.T) {
	p := newPair(t, 64, access)
	if _, e := p.a.Direct(p.d, p.f.nodes[0], &told{}); e != EDESC {
		t.Errorf("with another node: %v", e)
	}
	if _, e := p.a.Direct(p.d+1, p.f.nodes[1], &told{}); e != EDESC {
		t.Errorf("of another descriptor: %v", e)
	}
	b := newBypass(t, p.a, p.d, p.f.nodes[1])
	if c := b.x.Circuit(); c.Space != p.b || c.Segment != p.seg || c.Importer != 0 || c.Exporter != 1 || c.Length != 64 || c.Limit != 64 || c.Rights != access {
		t.Errorf("the circuit is %+v", c)
	}
	if _, e := p.a.Direct(p.d, p.f.nodes[1], &told{}); e != EINVAL {
		t.Errorf("a second one: %v", e)
	}
	b.x.Close()
	b = newBypass(t, p.a, p.d, p.f.nodes[1])
	b.x.Fail()
	if !b.told.failed {
		t.Error("nobody was told that the circuit has failed")
	}
	if e := written(p.a, p.d, 0, []byte{1}); e != EDOWN {
		t.Errorf("a write through a circuit that has failed: %v", e)
	}
	if e := fenced(p.a, p.d); e != EDOWN {
		t.Errorf("a fence after the circuit has failed: %v", e)
	}
	q := newPair(t, 64, access, observed(&recorder{}))
	if _, e := q.a.Direct(q.d, q.f.nodes[1], &told{}); e != EINVAL {
		t.Errorf("with an observer: %v", e)
	}
}

func TestDirectDoesNotAllocate(t *testing.T) {
	p := newPair(t, 4096, access)
	b := newBypass(t, p.a, p.d, p.f.nodes[1])
	data := make([]byte, MaxCell)
	length := binary.BigEndian.AppendUint32(nil, 40)
	var w Operation
	for name, run := range map[string]func(){
		"write":            func() { b.ask(request{op: OpWrite}, data) },
		"write and notify": func() { b.ask(request{op: OpWrite, notify: true}, data); p.b.Wait(&w, p.seg) },
		"read":             func() { b.ask(request{op: OpRead}, length) },
		"cas":              func() { b.ask(request{op: OpCAS}, data[:16]) },
		"fadd":             func() { b.ask(request{op: OpFAdd}, data[:4]) },
		"refusal":          func() { b.ask(request{op: OpWrite, offset: 4090}, data) },
	} {
		if n := testing.AllocsPerRun(1000, run); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// Take takes what nobody is told of and nothing speaks against; all else it leaves as it is. That it does the same as Serve is for TestPastTheNode.
func TestDirectTake(t *testing.T) {
	const size = 4096
	p := newPair(t, size, access)
	b := newBypass(t, p.a, p.d, p.f.nodes[1])
	key := b.x.Circuit().RequestKey
	data := bytes.Repeat([]byte{0xd1}, MaxCell)
	short := func(key uint32, n int) []byte { return append(binary.BigEndian.AppendUint32(nil, key), data[:n]...) }
	length := func(key, n uint32) []byte { return binary.BigEndian.AppendUint32(short(key, 0), n) }
	for name, c := range map[string]struct {
		word uint32
		data []byte
		want int // bytes written; 0: it is left alone; -1: it is taken and answered
	}{
		"write":              {opWord(OpWrite, false, 8), data, 40},
		"to the end":         {opWord(OpWrite, false, size-40), data, 40},
		"too far":            {opWord(OpWrite, false, size-39), data, 0},
		"beyond":             {opWord(OpWrite, false, offsetMask), data, 0},
		"without its key":    {opWord(OpWrite, false, 8), data[:maxShort], 0},
		"notifies":           {opWord(OpWrite, true, 8), data, 0},
		"short":              {opWord(OpWriteShort, false, 9), short(key, 3), 3},
		"longest short":      {opWord(OpWriteShort, false, 11), short(key, maxShort), maxShort},
		"short to the end":   {opWord(OpWriteShort, false, size-3), short(key, 3), 3},
		"short, too far":     {opWord(OpWriteShort, false, size-2), short(key, 3), 0},
		"short, wrong key":   {opWord(OpWriteShort, false, 9), short(key^1, 3), 0},
		"short of nothing":   {opWord(OpWriteShort, false, 9), short(key, 0), 0},
		"short and notifies": {opWord(OpWriteShort, true, 9), short(key, 3), 0},
		"read":               {opWord(OpRead, false, size-4), length(key, 4), -1},
		"read too far":       {opWord(OpRead, false, size-4), length(key, 5), 0},
		"read of nothing":    {opWord(OpRead, false, 0), length(key, 0), 0},
		"read of a block":    {opWord(OpRead, false, 0), length(key, MaxCell+1), 0},
		"read, wrong key":    {opWord(OpRead, false, 0), length(key^1, 4), 0},
		"read and notify":    {opWord(OpRead, true, 0), length(key, 4), 0},
		"cas":                {opWord(OpCAS, false, 8), short(key, 16), -1},
		"cas of one operand": {opWord(OpCAS, false, 8), short(key, 4), 0},
		"swap, misaligned":   {opWord(OpSwap, false, 4), short(key, 8), 0},
		"fadd, too far":      {opWord(OpFAdd, false, size), short(key, 8), 0},
		"fadd and notify":    {opWord(OpFAdd, true, 0), short(key, 8), 0},
		"fadd of 5 octets":   {opWord(OpFAdd, false, 0), short(key, 5), 0},
		"a reply":            {opWord(OpData, false, 0), short(key, 8), 0},
		"notification":       {opWord(OpNotify, true, 0), short(key, 0), 0},
		"no operation":       {0, data, 0},
	} {
		clear(p.mem)
		b.x.Begin()
		taken, answered := b.x.Take(0, c.word, c.data, &b.reply)
		b.x.End()
		want := make([]byte, size)
		if c.want > 0 {
			copy(want[c.word&offsetMask:], data[:c.want])
		}
		if taken != (c.want != 0) || answered != (c.want < 0) || !bytes.Equal(p.mem, want) {
			t.Errorf("%s: taken %v, answered %v", name, taken, answered)
		}
	}

	write := func() bool {
		b.x.Begin()
		defer b.x.End()
		taken, _ := b.x.Take(0, opWord(OpWrite, false, 0), data, &b.reply)
		return taken
	}
	if e := p.b.Inhibit(p.seg, true); e != OK || write() {
		t.Errorf("inhibit: %v, or the write was taken nevertheless", e)
	}
	if e := p.b.Inhibit(p.seg, false); e != OK || !write() {
		t.Errorf("inhibit: %v, or the write was not taken afterwards", e)
	}
	b.x.Fail()
	if write() {
		t.Error("the circuit has failed, and the write was taken nevertheless")
	}
}

// A right that was not granted, and a segment that is gone.
func TestDirectTakesNothingWithoutRights(t *testing.T) {
	data := make([]byte, MaxCell)
	for name, c := range map[string]struct {
		rights  Rights
		revoke  bool
		release bool
	}{"no right": {rights: Read | Atomic}, "revoked": {rights: access, revoke: true}, "released": {rights: access, release: true}} {
		p := newPair(t, 4096, c.rights)
		b := newBypass(t, p.a, p.d, p.f.nodes[1])
		if c.revoke {
			if e := p.b.Revoke(p.seg); e != OK {
				t.Fatal(e)
			}
		}
		if c.release {
			if e, _ := do(func(o *Operation) { p.a.Release(o, p.d) }); e != OK {
				t.Fatal(e)
			}
			b.x.failed.Store(false) // the target knows, too
		}
		b.x.Begin()
		if taken, _ := b.x.Take(0, opWord(OpWrite, false, 0), data, &b.reply); taken {
			t.Errorf("%s: the write was taken nevertheless", name)
		}
		b.x.End()
	}
}

// threadTime is how long this thread has run.
func threadTime(t testing.TB) time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
		t.Fatal(err)
	}
	return time.Duration(now.Nano())
}

// Writes of 40 octets, as they are served from cells, and from what is read of a ring's slots.
func BenchmarkDirectWrite40(b *testing.B) {
	p := newPair(b, 4096, access)
	y := newBypass(b, p.a, p.d, p.f.nodes[1])
	c := y.x.Circuit()
	var cells [64]atm.Cell
	var slots [64]atm.Aligned
	for i := range cells {
		var m [wordSize + MaxCell]byte
		mark{key: c.RequestKey}.put(m[:], OpWrite, opWord(OpWrite, false, uint32(i)*40))
		cells[i].SetOctets(c.Requests)
		sealCell(&cells[i], uint32(i), m[:])
		copy(slots[i][5:], cells[i][:])
	}
	run := func(name string, serve func(i int) bool) {
		b.Run(name, func(b *testing.B) {
			goruntime.LockOSThread() // the time that the thread has run is that of nothing else
			defer goruntime.UnlockOSThread()
			before := threadTime(b)
			for b.Loop() {
				y.x.Begin()
				for i := range cells {
					if !serve(i) {
						y.x.End()
						b.Skip("refused, or there is no fast way")
					}
				}
				y.x.End()
			}
			b.ReportMetric(float64(threadTime(b)-before)/float64(b.N)/64, "cpu-ns/cell")
		})
	}
	run("cell", func(i int) bool { return !y.x.Serve(uint64(i), &cells[i], &y.reply) })
	var data atm.AlignedData
	run("slot", func(i int) bool {
		word, n := atm.OpenSSM(&data, &slots[i], 0, c.Requests, uint32(i))
		taken, _ := y.x.Take(uint64(i), word, data[:n], &y.reply)
		return n != 0 && taken
	})
}
