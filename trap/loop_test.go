//go:build linux && amd64

package trap

import (
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rmemrun/atm"
	"rmemrun/decode"
	"rmemrun/ring"
)

// A loop is a handler with one node and no network: a guest imports what it has exported itself. Under the engine that
// replaces instructions its stubs have rings, which are served as the way says. It is as little of a node as the guests
// of testprogs/fixtures/patch need.
type loop struct {
	way     way
	mu      sync.Mutex // over the rest; not held while a ring is served
	spaces  map[*Space]*loopSpace
	names   map[string]*loopSegment
	rings   []*loopCircuit // by the number that Help is told
	bell    *ring.Bell
	serving sync.Mutex // the agent is
	awake   bool       // the agent
	closing sync.Once
	stop    chan struct{}
	ended   chan struct{}
	trapped map[decode.Op]int
	patched map[error]int // why instructions were left to the trap; nil: they were replaced
	helped  int
	staged  int // writes whose source was staged
}

// A way is how the requests in rings are served, if there are rings.
type way struct {
	name  string
	patch bool // the engine replaces instructions
	rings bool // the board has circuits
	self  bool // the guest serves its own rings while it waits
	agent bool // a goroutine serves them, and sleeps when there is nothing to do; else they are served when a stub asks for help, or by a trap
}

// ways are all there are. Guests must behave alike under all of them.
var ways = []way{
	{name: "ptrace"},
	{name: "patch, no ring", patch: true},
	{name: "patch, ring served on demand", patch: true, rings: true},
	{name: "patch, ring served by the guest", patch: true, rings: true, self: true},
	{name: "patch, ring served by an agent", patch: true, rings: true, agent: true},
}

type loopSpace struct {
	segments    []*loopSegment
	descriptors []*loopCircuit
	board       *ring.Board
	pairs       []*ring.Pair
	ins         int
	placed      bool
	belled      bool
	retired     bool
	staging     *ring.Staging
}

type loopSegment struct {
	mu      sync.Mutex // over all, and held while a request is carried out
	space   *Space
	handle  int
	base    uint64
	shared  *Shared // nil: revoked
	rights  uint64
	inhibit bool
	events  []loopEvent
	waiters []*Thread
	ins     []*ring.In
}

type loopEvent struct {
	c                  *loopCircuit
	op                 decode.Op
	offset, end, count uint64
}

// A loopCircuit is a descriptor. It is the ring.Server of its ring.
type loopCircuit struct {
	segment *loopSegment
	rights  uint64
	err     int64 // that waits for a fence; guarded by the segment's mutex
	ring    *ring.Ring
	out     *ring.Out
	in      *ring.In
}

const (
	loopRead, loopWrite, loopAtomic = 1, 2, 4

	loopEDESC, loopEPERM, loopERANGE, loopEALIGN, loopESTALE, loopEINHIBIT = -1, -2, -3, -4, -5, -6
	loopEFAULT, loopEINVAL, loopENOENT, loopEDOWN, loopETIMEDOUT           = -7, -8, -9, -11, -12

	loopKey, loopReplyKey = 0x5eed0001, 0x0badcafe
)

func newLoop(t testing.TB, w way) *loop {
	h := &loop{
		way: w, spaces: map[*Space]*loopSpace{}, names: map[string]*loopSegment{}, trapped: map[decode.Op]int{}, patched: map[error]int{},
		stop: make(chan struct{}), ended: make(chan struct{}),
	}
	var err error
	if h.bell, err = ring.NewBell(); err != nil {
		t.Fatal(err)
	}
	if !w.self {
		h.bell.Doze() // so that who has published something rings, and asks for help when nobody wakes
	}
	go h.serve()
	t.Cleanup(h.close)
	return h
}

func (h *loop) newEngine(c Config) Engine {
	if !h.way.patch {
		return NewPtrace(c)
	}
	c.Patched = func(_ *Call, why error) {
		for _, known := range []error{errStraddles, errNotText, errStepped, errFiltered, errRestarts, ErrNoStub, errManyWrites, errOtherCode} {
			if errors.Is(why, known) {
				why = known
			}
		}
		h.patched[why]++
	}
	return NewPatch(c)
}

func (h *loop) close() { h.closing.Do(h.end) }

func (h *loop) end() {
	close(h.stop)
	h.bell.Ring()
	<-h.ended
	h.bell.Close()
}

// serve is the agent.
func (h *loop) serve() {
	defer close(h.ended)
	if !h.way.agent {
		<-h.stop
		return
	}
	for idle := 0; ; idle++ {
		select {
		case <-h.stop:
			return
		default:
		}
		var dozed uint32
		if idle == 3 {
			h.attend(false)
			dozed = h.bell.Doze()
			_ = ring.Barrier()
		}
		if h.serveAll() {
			idle = 0
		} else if idle == 3 {
			h.bell.Sleep(dozed, 0)
		} else {
			runtime.Gosched()
		}
		if dozed != 0 {
			h.bell.Wake()
			h.attend(true)
			idle = 0
		}
	}
}

func (h *loop) serveAll() bool {
	h.serving.Lock()
	defer h.serving.Unlock()
	h.mu.Lock()
	rings := slices.Clone(h.rings)
	h.mu.Unlock()
	busy := false
	for _, c := range rings {
		if c != nil && c.ring.Ready() {
			n, _ := c.ring.Serve(ring.Slots)
			busy = busy || n > 0
		}
	}
	return busy
}

func (h *loop) attend(yes bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.awake = yes
	for _, c := range h.rings {
		if c != nil {
			c.out.Attend(yes)
		}
	}
}

func (h *loop) Begin(s *Space) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.spaces[s] = &loopSpace{}
}

func (h *loop) End(s *Space) {
	x := h.spaces[s]
	for _, g := range x.segments {
		h.revoke(g)
	}
	for _, c := range x.descriptors {
		if c != nil {
			h.release(x, c)
		}
	}
	if x.board != nil {
		x.board.Close()
	}
	if x.staging != nil {
		x.staging.Close()
	}
	h.serving.Lock() // the agent looks at none of these any more
	for _, p := range x.pairs {
		p.Close()
	}
	h.serving.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.spaces, s)
}

func (h *loop) Board(s *Space) (fd int, length uint64) {
	b, err := ring.NewBoard()
	if err != nil {
		return -1, 0
	}
	b.SetPatience(4, 4, 12)
	x := h.spaces[s]
	x.board = b
	return b.File()
}

func (h *loop) Placed(s *Space, addr uint64, expedited bool) {
	if !expedited {
		h.spaces[s].board.SetFenced()
	}
	h.spaces[s].placed = true
}

func (h *loop) Threaded(s *Space) {
	if b := h.spaces[s].board; b != nil {
		b.SetThreaded()
	}
}

// stage gives a guest staging memory.
func (h *loop) stage(s *Space, x *loopSpace) {
	if !h.way.rings || x.board == nil || x.staging != nil || x.retired {
		return
	}
	m, err := ring.NewStaging()
	if err != nil {
		return
	}
	fd, length := m.File()
	addr, err := s.MapFile(fd, 0, length, true)
	if err != nil {
		m.Close()
		return
	}
	x.staging = m
	for i, g := range x.segments {
		if i < ring.MaxRanges && g.shared != nil {
			x.board.SetMapped(i, g.base, g.base+uint64(len(g.shared.Bytes)))
		}
	}
	x.board.SetStaging(addr)
}

func (h *loop) Staged(s *Space, frame, n uint64) ([]byte, int) {
	m := h.spaces[s].staging
	if m == nil {
		return nil, -1
	}
	b := m.Source(frame, n)
	if b != nil {
		h.staged++
	}
	return b, m.Processor()
}

func (h *loop) Unstage(s *Space, frame uint64) {
	if m := h.spaces[s].staging; m != nil {
		m.Release(frame)
	}
}

func (h *loop) Retire(s *Space) {
	x := h.spaces[s]
	x.retired = true
	for _, c := range x.descriptors {
		if c != nil && c.out != nil {
			c.out.SetState(ring.Free)
		}
	}
	if x.board != nil {
		x.board.SetIns(0)
	}
}

func (h *loop) Help(s *Space, n uint32) {
	h.mu.Lock()
	h.helped++
	var c *loopCircuit
	if int(n) < len(h.rings) {
		c = h.rings[n]
	}
	h.mu.Unlock()
	for tries := 0; c != nil && c.ring.Ready() && tries < 1000; tries++ {
		if _, err := c.ring.Serve(ring.Slots); err != nil {
			return
		}
	}
}

// connect gives a circuit a ring, if it can have one.
func (h *loop) connect(s *Space, x *loopSpace, c *loopCircuit, place int) {
	g := c.segment
	if !h.way.rings || g.space != s || !x.placed || c.ring != nil || x.retired || place >= ring.MaxOuts || g.shared == nil {
		return
	}
	p, err := ring.NewPair()
	if err != nil {
		return
	}
	fd, length := p.Requests()
	requests, err := s.MapFile(fd, 0, length, true)
	if err != nil {
		p.Close()
		return
	}
	fd, length = p.Replies()
	replies, err := s.MapFile(fd, 0, length, true)
	if err != nil {
		p.Close()
		return
	}
	x.pairs = append(x.pairs, p)
	if !x.belled {
		fd, length := h.bell.File()
		bell, err := s.MapFile(fd, 0, length, false)
		if err != nil {
			return
		}
		x.board.SetBell(bell)
		x.belled = true
	}
	h.mu.Lock()
	number := len(h.rings)
	h.rings = append(h.rings, nil)
	h.mu.Unlock()

	octets := uint64(loopHeader(place))
	h0, h1 := octets&0xffffff<<40, octets>>24&0xffff
	r := p.Ring(0)
	o := x.board.Out(place)
	o.Handle, o.Rights, o.Limit = uint32(place), uint32(c.rights&7|g.rights&8), uint64(len(g.shared.Bytes))
	o.Header0, o.Header1, o.Reply0, o.Reply1 = h0, h1, h0, h1
	o.Key, o.ReplyKey, o.Requests, o.Replies, o.Index = loopKey, loopReplyKey, requests, replies, uint32(number)
	c.out = o
	if h.way.self && x.ins < ring.MaxIns {
		i := x.board.In(x.ins)
		i.Rights, i.Segment, i.Node, i.Base, i.Length = o.Rights, uint32(g.handle), 0, g.base, o.Limit
		i.Header0, i.Header1, i.Reply0, i.Reply1 = h0, h1, h0, h1
		i.Key, i.ReplyKey, i.Requests, i.Replies = loopKey, loopReplyKey, requests, replies
		i.SetInhibited(g.inhibit)
		i.SetEvents(len(g.events) > 0)
		x.ins++
		c.in = i
		g.ins = append(g.ins, i)
		i.SetState(ring.Live)
		x.board.SetIns(x.ins)
	}
	r.Reset(c)
	c.ring = r
	h.mu.Lock()
	o.Attend(h.awake || h.way.self)
	h.rings[number] = c
	h.mu.Unlock()
	o.SetErrors(c.err != 0)
	o.SetState(ring.Live)
}

func loopHeader(place int) atm.HeaderOctets {
	return atm.Header{VC: atm.VC{VCI: uint16(1000 + place)}}.Octets()
}

// drain serves what was posted on a circuit.
func (h *loop) drain(s *Space, c *loopCircuit) {
	if c.ring == nil {
		return
	}
	tries := 0
	err := c.ring.Drain(func(bool) bool {
		if tries++; tries%100 == 0 {
			s.Settle() // a thread that was stopped holds the lock
		}
		time.Sleep(10 * time.Microsecond)
		return tries < 10000
	})
	if err != nil {
		c.segment.mu.Lock()
		c.fail(loopEDOWN)
		c.segment.mu.Unlock()
	}
}

// fail notes an error for the next fence. The segment's mutex is held.
func (c *loopCircuit) fail(e int64) {
	if c.err == 0 {
		c.err = e
	}
	if c.out != nil {
		c.out.SetErrors(c.err != 0)
	}
}

func (h *loop) revoke(g *loopSegment) {
	if g.shared == nil {
		return
	}
	for _, i := range g.ins {
		i.SetState(ring.Free)
	}
	if !g.space.dead {
		g.space.Settle()
	}
	g.mu.Lock()
	sh := g.shared
	g.shared = nil
	waiters := g.waiters
	g.mu.Unlock()
	g.space.Unshare(sh)
	for name, other := range h.names {
		if other == g {
			delete(h.names, name)
		}
	}
	for _, t := range waiters {
		t.Wake()
	}
}

func (h *loop) release(x *loopSpace, c *loopCircuit) {
	if c.ring == nil {
		return
	}
	c.out.SetState(ring.Free)
	if c.in != nil {
		c.in.SetState(ring.Free)
	}
	h.mu.Lock()
	for i, k := range h.rings {
		if k == c {
			h.rings[i] = nil
		}
	}
	h.mu.Unlock()
	_ = c.ring.Break()
}

func (h *loop) Execute(c *Call) {
	if c.Cause == First {
		h.trapped[c.Inst.Op]++
	}
	x := h.spaces[c.Space]
	switch c.Inst.Op {
	case decode.Node, decode.Poll:
		c.Return(0)
		return
	case decode.Nodes:
		c.Return(1)
		return
	case decode.Export:
		h.export(c, x)
		return
	case decode.Import:
		h.imports(c, x)
		return
	case decode.Fence:
		if uint32(c.P) == 0x7fffffff {
			first := int64(0)
			for _, k := range x.descriptors {
				if k != nil {
					if e := h.fence(c.Space, k); first == 0 {
						first = e
					}
				}
			}
			c.Return(first)
			return
		}
	case decode.Revoke, decode.Inhibit, decode.Wait:
		n := int(int32(c.P))
		if n < 0 || n >= len(x.segments) || x.segments[n].shared == nil && c.Cause == First {
			c.Return(loopEDESC)
			return
		}
		h.own(c, x, x.segments[n])
		return
	}
	n := int(int32(c.P))
	if n < 0 || n >= len(x.descriptors) || x.descriptors[n] == nil {
		c.Return(loopEDESC)
		return
	}
	k := x.descriptors[n]
	h.drain(c.Space, k)
	h.connect(c.Space, x, k, n)
	switch c.Inst.Op {
	case decode.Fence:
		c.Return(h.fence(c.Space, k))
		return
	case decode.Release:
		e := h.fence(c.Space, k)
		c.Space.Settle()
		h.release(x, k)
		x.descriptors[n] = nil
		c.Return(e)
		return
	}
	h.transfer(c, x, k)
}

func (h *loop) fence(s *Space, k *loopCircuit) int64 {
	h.drain(s, k)
	k.segment.mu.Lock()
	defer k.segment.mu.Unlock()
	e := k.err
	k.err = 0
	if k.out != nil {
		k.out.SetErrors(false)
	}
	return e
}

func (h *loop) text(c *Call) (string, bool) {
	if c.C == 0 || c.C > 255 {
		return "", false
	}
	b := make([]byte, c.C)
	_, err := c.Memory(c.P).ReadAt(b, 0)
	return string(b), err == nil
}

func (h *loop) export(c *Call, x *loopSpace) {
	name, ok := h.text(c)
	if !ok {
		c.Return(loopEFAULT)
		return
	}
	if h.names[name] != nil {
		c.Return(-10)
		return
	}
	sh, err := c.Space.Share(c.V, c.A, c.D&(loopWrite|loopAtomic) != 0)
	if err != nil {
		c.Return(shareResult(err))
		return
	}
	g := &loopSegment{space: c.Space, handle: len(x.segments), base: c.V, shared: sh, rights: c.D}
	x.segments = append(x.segments, g)
	h.names[name] = g
	c.Return(int64(g.handle))
}

func (h *loop) imports(c *Call, x *loopSpace) {
	name, ok := h.text(c)
	g := h.names[name]
	switch {
	case !ok:
		c.Return(loopEFAULT)
	case g == nil:
		c.Return(loopENOENT)
	case c.D&^g.rights != 0:
		c.Return(loopEPERM)
	default:
		k := &loopCircuit{segment: g, rights: c.D}
		x.descriptors = append(x.descriptors, k)
		h.connect(c.Space, x, k, len(x.descriptors)-1)
		c.Return(int64(len(x.descriptors) - 1))
	}
}

// own carries out what concerns a segment of the guest itself.
func (h *loop) own(c *Call, x *loopSpace, g *loopSegment) {
	switch c.Inst.Op {
	case decode.Revoke:
		for _, k := range x.descriptors {
			if k != nil && k.segment == g {
				h.drain(c.Space, k)
			}
		}
		h.revoke(g)
		c.Return(0)
	case decode.Inhibit:
		for _, i := range g.ins {
			i.SetInhibited(uint32(c.V) != 0)
		}
		c.Space.Settle()
		g.mu.Lock()
		g.inhibit = uint32(c.V) != 0
		g.mu.Unlock()
		c.Return(0)
	case decode.Wait:
		for _, k := range x.descriptors {
			if k != nil && k.segment == g {
				h.drain(c.Space, k)
			}
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		g.waiters = slices.DeleteFunc(g.waiters, func(t *Thread) bool { return t == c.Thread })
		switch {
		case c.Cause == Gone || c.Cause == Interrupted && len(g.events) == 0:
		case g.shared == nil:
			c.Return(loopESTALE)
		case len(g.events) > 0:
			h.take(c, g)
		case c.Cause == Expired || c.Cause == First && int32(c.A) == 0:
			c.Return(loopETIMEDOUT)
		default:
			if c.Cause == First && c.Deadline.IsZero() && int32(c.A) >= 0 {
				c.Deadline = time.Now().Add(time.Duration(int32(c.A)) * time.Millisecond)
			}
			g.waiters = append(g.waiters, c.Thread)
			c.Sleep(c.Deadline, true)
		}
	}
}

// take hands the oldest event to a wait.
func (h *loop) take(c *Call, g *loopSegment) {
	e := g.events[0]
	var b [32]byte
	put := binary.LittleEndian
	put.PutUint32(b[4:], uint32(e.op))
	put.PutUint64(b[8:], e.offset)
	put.PutUint64(b[16:], e.end-e.offset)
	put.PutUint64(b[24:], e.count)
	if _, err := c.Memory(c.V).WriteAt(b[:], 0); err != nil {
		c.Return(loopEFAULT)
		return
	}
	g.events = g.events[1:]
	for _, i := range g.ins {
		i.SetEvents(len(g.events) > 0)
	}
	c.Return(0)
}

// notify notes an event. The segment's mutex is held.
func (g *loopSegment) notify(k *loopCircuit, op decode.Op, offset, n uint64) {
	i := slices.IndexFunc(g.events, func(e loopEvent) bool { return e.c == k })
	if i < 0 {
		g.events = append(g.events, loopEvent{c: k, op: op, offset: offset, end: offset + n, count: 1})
	} else {
		e := &g.events[i]
		e.op, e.offset, e.end, e.count = op, min(e.offset, offset), max(e.end, offset+n), e.count+1
	}
	for _, in := range g.ins {
		in.SetEvents(true)
	}
	for _, t := range g.waiters {
		t.Wake()
	}
}

// A loopDemand is an operation on a segment.
type loopDemand struct {
	op              decode.Op
	offset, n       uint64
	data            []byte // of a write; filled by a read
	operand, expect uint64
	notify          bool
}

// perform carries an operation out at the segment, whose mutex is held.
func (g *loopSegment) perform(k *loopCircuit, d *loopDemand) (old uint64, e int64) {
	right := map[decode.Op]uint64{decode.Write: loopWrite, decode.Read: loopRead, decode.CAS: loopAtomic, decode.FAdd: loopAtomic, decode.Swap: loopAtomic}[d.op]
	atomically := right == loopAtomic
	switch {
	case g.shared == nil:
		return 0, loopESTALE
	case right&^k.rights != 0 || d.notify && g.rights&8 != 0:
		return 0, loopEPERM
	case atomically && d.offset%d.n != 0:
		return 0, loopEALIGN
	case d.offset > uint64(len(g.shared.Bytes)) || d.n > uint64(len(g.shared.Bytes))-d.offset:
		return 0, loopERANGE
	case g.inhibit && (d.op == decode.Write || atomically):
		return 0, loopEINHIBIT
	}
	at := g.shared.Bytes[d.offset:][:d.n]
	switch {
	case d.op == decode.Write:
		copy(at, d.data)
	case d.op == decode.Read:
		copy(d.data, at)
	case atomically:
		old = atomicallyAt(d.op, at, d.expect, d.operand)
	}
	if d.notify {
		g.notify(k, d.op, d.offset, d.n)
	}
	return old, 0
}

func swab(b []byte, width int) {
	for ; width > 1 && len(b) >= width; b = b[width:] {
		slices.Reverse(b[:width])
	}
}

// transfer carries out an instruction that has trapped.
func (h *loop) transfer(c *Call, x *loopSpace, k *loopCircuit) {
	d := loopDemand{op: c.Inst.Op, offset: c.A, n: c.C, notify: c.Inst.Flags&decode.FlagNotify != 0 || c.Inst.Op == decode.Notify}
	switch c.Inst.Op {
	case decode.CAS:
		d.n, d.expect, d.operand = uint64(c.Inst.Width), c.D, c.V
	case decode.FAdd, decode.Swap:
		d.n, d.operand = uint64(c.Inst.Width), c.V
	case decode.Notify:
		d.n = 0
	case decode.Write, decode.Read:
		if d.n > 1<<20 || d.n%uint64(c.Inst.Width) != 0 {
			c.Return(loopEALIGN)
			return
		}
		d.data = make([]byte, d.n)
		if c.Inst.Op == decode.Write && d.n >= ring.MinStaged {
			h.stage(c.Space, x)
		}
		if k.segment.shared != nil && (d.offset > uint64(len(k.segment.shared.Bytes)) || d.n > uint64(len(k.segment.shared.Bytes))-d.offset) {
			c.Return(loopERANGE)
			return
		}
		if c.Inst.Op == decode.Write {
			if _, err := c.Memory(c.V).ReadAt(d.data, 0); err != nil {
				c.Return(loopEFAULT)
				return
			}
			swab(d.data, int(c.Inst.Width))
		}
	default:
		c.Return(loopEINVAL)
		return
	}
	k.segment.mu.Lock()
	old, e := k.segment.perform(k, &d)
	posted := c.Inst.Op == decode.Write || c.Inst.Op == decode.Notify
	if posted && (e == loopESTALE || e == loopEINHIBIT) {
		k.fail(e)
		e = 0
	}
	k.segment.mu.Unlock()
	switch {
	case e != 0:
		c.Return(e)
	case c.Inst.Op == decode.Read:
		swab(d.data, int(c.Inst.Width))
		if _, err := c.Memory(c.V).WriteAt(d.data, 0); err != nil {
			c.Return(loopEFAULT)
			return
		}
		c.Return(0)
	case posted:
		c.Return(0)
	default:
		c.ReturnOld(0, old)
	}
}

func (k *loopCircuit) Begin() { k.segment.mu.Lock() }
func (k *loopCircuit) End()   { k.segment.mu.Unlock() }

// Operations of a cell, docs/protocol.md.
const (
	cellWrite = 1 + iota
	cellWriteShort
	cellRead
	cellCAS
	cellFAdd
	cellSwap
	cellNotify
	cellAck
	cellData
	cellOld
)

func (k *loopCircuit) Serve(index uint64, request, reply *atm.Cell) bool {
	m, err := atm.DecodeSSM(request)
	if err != nil || len(m.Payload) < 8 || uint64(m.MID)<<4|uint64(m.SN) != index&0x3fff {
		k.Refuse(index, reply)
		k.fail(loopEINVAL)
		return true
	}
	word := binary.BigEndian.Uint32(m.Payload)
	data := m.Payload[4:]
	op, notify, offset := word>>28, word>>27&1 != 0, uint64(word&(1<<27-1))
	if op != cellWrite {
		if binary.BigEndian.Uint32(data) != loopKey {
			k.Refuse(index, reply)
			k.fail(loopEINVAL)
			return true
		}
		data = data[4:]
	}
	d := loopDemand{offset: offset, notify: notify, n: uint64(len(data)), data: data}
	number := func(b []byte) uint64 {
		if len(b) == 4 {
			return uint64(binary.BigEndian.Uint32(b))
		}
		return binary.BigEndian.Uint64(b)
	}
	switch op {
	case cellWrite, cellWriteShort:
		d.op = decode.Write
	case cellRead:
		d.op, d.n = decode.Read, uint64(binary.BigEndian.Uint32(data))
		if d.n > 40 {
			k.Refuse(index, reply)
			return true
		}
		d.data = make([]byte, d.n)
	case cellCAS:
		d.op, d.n = decode.CAS, uint64(len(data)/2)
		d.expect, d.operand = number(data[:d.n]), number(data[d.n:])
	case cellFAdd:
		d.op, d.operand = decode.FAdd, number(data)
	case cellSwap:
		d.op, d.operand = decode.Swap, number(data)
	case cellNotify:
		d.op, d.n = decode.Notify, 0
	}
	old, e := k.segment.perform(k, &d)
	switch {
	case e != 0:
		if op <= cellWriteShort || op == cellNotify {
			k.fail(e)
		}
		k.refuse(index, e, reply)
	case op == cellRead:
		padded := make([]byte, max(4, len(d.data)))
		copy(padded, d.data)
		k.seal(index, cellData<<28|loopReplyKey&(1<<28-1), padded, reply)
	case op == cellCAS || op == cellFAdd || op == cellSwap:
		b := binary.BigEndian.AppendUint32(nil, loopReplyKey)
		if d.n == 4 {
			b = binary.BigEndian.AppendUint32(b, uint32(old))
		} else {
			b = binary.BigEndian.AppendUint64(b, old)
		}
		k.seal(index, cellOld<<28|uint32(index&0x3fff), b, reply)
	default:
		return false
	}
	return true
}

func (k *loopCircuit) Refuse(index uint64, reply *atm.Cell) { k.refuse(index, loopEDOWN, reply) }

func (k *loopCircuit) refuse(index uint64, e int64, reply *atm.Cell) {
	b := binary.BigEndian.AppendUint32(nil, loopReplyKey)
	k.seal(index, cellAck<<28|uint32(-e)<<19|uint32(index&0x3fff), append(b, 0, 0, 0, 0), reply)
}

func (k *loopCircuit) seal(index uint64, word uint32, data []byte, reply *atm.Cell) {
	n := index & 0x3fff
	var h atm.HeaderOctets
	if k.out != nil {
		h = loopHeader(int(k.out.Handle))
	}
	_ = h.EncodeSSM(reply, uint8(n&0xf), uint16(n>>4), word, data)
}

// memoryFiles counts the memory files of this process that are open, and mapped.
func memoryFiles(t *testing.T) int {
	t.Helper()
	all, err := mappings(unix.Getpid(), 0, ^uint64(0))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, m := range all {
		if len(m.name) > 7 && m.name[:7] == "/memfd:" {
			n++
		}
	}
	return n
}
