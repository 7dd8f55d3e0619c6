package rmem

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"rmemrun/atm"
)

// window is how many requests of a circuit may be unanswered. Far less than half of the sequence
// numbers, so that an old one is never taken for a new one.
const window = 64

// An initiator is the importer's end of a circuit: what is behind a descriptor.
//
//	        CONNECT granted            reply EDOWN, lost reply, peer down
//	(none) -----------------> working -----------------------------------> failed
//	                             |                                            |
//	                             | Release, Space.Close                       |
//	                             v                                            v
//	                           closed <---------------------------------------+
//
// Requests wait in a queue, are sent in its order, are in flight, and are answered in the same order.
type initiator struct {
	node   *Node
	space  *Space
	peer   int
	name   string // of the segment, for the log
	vc     atm.VC // the lower of the two
	remote atm.VC // the same at the peer
	rights Rights // granted
	size   uint64 // of the segment

	// send is held while requests leave, which keeps them in order. On a
	// network that delivers at once, replies come while it is held.
	send    sync.Mutex
	cell    atm.Cell
	message [wordSize + MaxCell]byte
	cutter  atm.Segmenter

	// resume asks whoever holds send to look at the queue again.
	resume atomic.Bool

	replies   sync.Mutex // guards what follows; never held while a cell is sent
	state     circuitState
	blocked   bool       // the queue waits for the window
	head      *Operation // the queue
	tail      *Operation
	issued    uint64 // requests sent; the next one's sequence number
	answered  uint64 // of these, have been answered
	inFlight  [window]flight
	fences    []fence
	err       Error            // the first error that no fence has reported
	errTime   uint64           // when it came, on the space's clock
	assembler *atm.Reassembler // nil: no block is under way
}

type circuitState uint8

const (
	working circuitState = iota
	failed
	closed
)

// A flight is a request that has not been answered.
type flight struct {
	op     Op
	swab   uint8
	offset uint64
	n      uint64
	tag    uint64

	o   *Operation  // who waits for the reply; nil: nobody, an error is kept for the fence
	use uint64      //
	dst io.WriterAt // where data read go
	pos uint64      // and at which place there
}

// start begins o, a request, and sends as much of it as the window allows.
func (c *initiator) start(o *Operation) {
	c.send.Lock()
	use := o.begin()
	c.replies.Lock()
	c.push(o)
	c.drain()
	c.leave()
	o.settle(use)
}

// leave releases c.send, and does what pump has left to whoever holds it.
func (c *initiator) leave() {
	c.send.Unlock()
	c.catchUp()
}

// pump sends what has been waiting for the window, unless somebody is sending
// anyway, who then looks at the queue again when he leaves.
func (c *initiator) pump() {
	c.resume.Store(true)
	c.catchUp()
}

func (c *initiator) catchUp() {
	for c.resume.Load() && c.send.TryLock() {
		c.resume.Store(false)
		c.replies.Lock()
		c.drain()
		c.send.Unlock()
	}
}

// drain sends what is queued, as far as the window allows. c.send is held;
// c.replies is held at the beginning and not at the end.
func (c *initiator) drain() {
	for c.head != nil {
		if c.state == working && c.issued-c.answered == window {
			c.blocked = true
			break
		}
		p := c.prepare(c.head)
		more := c.head != nil // nobody adds to the queue without c.send
		c.replies.Unlock()
		p.alarm.call()
		switch p.form {
		case single:
			c.sendCell(&p)
		case block:
			c.sendBlock(&p)
		}
		if !more {
			return
		}
		c.replies.Lock()
	}
	c.replies.Unlock()
}

// A packet is a request that is ready to be sent.
type packet struct {
	form   form
	header header
	seq    uint64
	tag    uint64
	size   uint64 // bytes of the segment concerned
	n      int    // bytes of data, in message behind the word, or in body
	body   *[MaxBlock]byte
	alarm  alarm // who waits for no reply can go on
}

type form uint8

const (
	nothing form = iota
	single
	block
)

// prepare makes the next packet of o, the first in the queue, and takes o off
// the queue if it is the last. c.replies and c.send are held.
func (c *initiator) prepare(o *Operation) (p packet) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state.Load() != active { // cancelled a moment ago
		c.pop()
		return p
	}
	if c.state != working {
		c.abandon(o, &p, c.gone())
		return p
	}
	if o.result != OK { // refused by the far side in part
		c.abandon(o, &p, o.result)
		return p
	}

	f := flight{
		op: o.op, swab: o.swab, offset: o.offset + o.pos, n: min(o.n-o.pos, MaxBlock),
		tag: o.Tag, o: o, use: o.use, dst: o.dst, pos: o.pos,
	}
	p.form, p.seq, p.tag = single, c.issued, o.Tag
	p.header = header{op: o.op, offset: f.offset, length: o.n - o.pos}
	if f.offset > maxCellOffset || o.op == OpWrite && o.n > MaxCell {
		p.form = block
	}
	p.size = f.n
	data := c.message[wordSize:]
	if p.form == block {
		p.body = bodies.Get().(*[MaxBlock]byte)
		data = p.body[:]
	}
	switch o.op {
	case OpWrite:
		data = data[:f.n]
		if !readFull(o.src, data, o.pos) {
			p.free()
			p = packet{}
			c.abandon(o, &p, EFAULT)
			return p
		}
		swab(data, o.swab)
		if p.form == single {
			data = c.short(&p, data)
		}
	case OpRead:
		p.header.length = f.n
		data = data[:0]
		if p.form == single {
			data = binary.BigEndian.AppendUint32(data, uint32(f.n))
		}
	case OpNotify:
		data = data[:0]
		if p.form == single {
			data = append(data, 0, 0, 0, 0)
		}
	case OpCAS:
		data = putNumber(putNumber(data[:0], o.width, o.expected), o.width, o.operand)
	default:
		data = putNumber(data[:0], o.width, o.operand)
	}
	p.n = len(data)
	o.pos += f.n
	last := o.pos == o.n
	p.header.notify = o.notify && last
	if last {
		c.pop()
	}
	switch {
	case o.op == OpWrite, o.op == OpNotify, o.async:
		f.o = nil
		if last {
			p.alarm = o.finish(OK)
		}
	default:
		o.left++
	}
	c.inFlight[c.issued%window] = f
	c.issued++
	return p
}

// short turns a write of less than 4 bytes, which no cell can carry, into the form for it.
func (c *initiator) short(p *packet, data []byte) []byte {
	n := len(data)
	if n >= minData {
		return data
	}
	p.header.op = OpWriteShort
	var b [minData]byte
	b[0] = byte(n)
	copy(b[1:], data)
	return append(data[:0], b[:]...)
}

// abandon takes o, of which no more is to be sent, off the queue, and finishes
// it unless replies are still to come. c.replies and o.mu are held.
func (c *initiator) abandon(o *Operation, p *packet, e Error) {
	c.pop()
	if o.left == 0 {
		p.alarm = o.finish(e)
		return
	}
	o.result, o.pos = e, o.n
}

// gone is why the circuit takes no more requests. c.replies is held.
func (c *initiator) gone() Error {
	if c.state == closed {
		return EDESC
	}
	return EDOWN
}

func (c *initiator) push(o *Operation) {
	o.next = nil
	o.parked = c
	if c.head == nil {
		c.head = o
	} else {
		c.tail.next = o
	}
	c.tail = o
}

func (c *initiator) pop() {
	c.head = c.head.next
	if c.head == nil {
		c.tail = nil
	}
}

// forget is a parker's.
func (c *initiator) forget(o *Operation, use uint64) {
	c.replies.Lock()
	defer c.replies.Unlock()
	c.fences = slices.DeleteFunc(c.fences, func(f fence) bool { return f.o == o && f.use == use })
	var before *Operation
	for q := c.head; q != nil; before, q = q, q.next {
		if q != o {
			continue
		}
		if before == nil {
			c.head = q.next
		} else {
			before.next = q.next
		}
		if c.tail == q {
			c.tail = before
		}
		return
	}
}

// sendCell sends a request as one AAL3/4 single segment message. c.send is held.
func (c *initiator) sendCell(p *packet) {
	binary.BigEndian.PutUint32(c.message[:], opWord(p.header.op, p.header.notify, uint32(p.header.offset)))
	c.cell.SetHeader(atm.Header{VC: c.vc})
	sealCell(&c.cell, p.seq, c.message[:wordSize+p.n])
	if c.node.observer != nil {
		c.observeSent(p)
	}
	c.node.network.Send(&c.cell)
}

// sendBlock sends a request as an AAL5 PDU. c.send is held.
func (c *initiator) sendBlock(p *packet) {
	defer p.free()
	p.header.low = uint32(p.seq) & seqMask
	p.header.put((*[blockHeader]byte)(c.message[:]))
	if c.cutter.Begin(atm.Header{VC: upperVC(c.vc)}, 0, c.message[:blockHeader], p.body[:p.n]) != nil {
		return // header and body are never too long
	}
	for c.cutter.Next(&c.cell) {
		if c.node.observer != nil {
			c.observeSent(p)
		}
		c.node.network.Send(&c.cell)
	}
}

func (p *packet) free() {
	if p.body != nil {
		bodies.Put(p.body)
		p.body = nil
	}
}

// bodies holds the data of blocks while they are cut into cells.
var bodies = sync.Pool{New: func() any { return new([MaxBlock]byte) }}

// receive is an end's.
func (c *initiator) receive(cell *atm.Cell, upper bool) {
	c.replies.Lock()
	if upper {
		c.receiveBlock(cell)
	} else {
		c.receiveCell(cell)
	}
	resume := c.blocked && (c.state != working || c.issued-c.answered < window)
	if resume {
		c.blocked = false
	}
	reached := len(c.fences) > 0 && c.fences[0].target <= c.answered
	c.replies.Unlock()
	if resume {
		c.pump()
	}
	if reached {
		c.release()
	}
}

// receiveCell takes a reply in one cell. c.replies is held.
func (c *initiator) receiveCell(cell *atm.Cell) {
	m, err := atm.DecodeSSM(cell)
	if err != nil {
		c.lost(cell, ssmReason(err))
		return
	}
	word := binary.BigEndian.Uint32(m.Payload)
	seq := uint32(m.MID)<<4 | uint32(m.SN)
	if word&(notifyBit|replyZero) != 0 || word&seqMask != seq {
		c.lost(cell, Malformed)
		return
	}
	c.reply(cell, Op(word>>opShift), uint8(word>>statusShift), seq, m.Payload[wordSize:])
}

// receiveBlock takes a cell of a reply in a block. c.replies is held.
func (c *initiator) receiveBlock(cell *atm.Cell) {
	pdu, reason := c.node.assemble(&c.assembler, c.peer, cell)
	if reason != 0 {
		c.lost(cell, reason)
		return
	}
	if pdu == nil {
		if c.node.observer != nil {
			c.observe(&Event{Kind: Received, Cell: cell, ID: c.id(c.answered)})
		}
		return
	}
	defer c.node.recycle(&c.assembler, c.peer)
	h, ok := parseHeader(pdu)
	if !ok || h.notify || h.low&replyZero != 0 || h.length != uint64(len(pdu)-blockHeader) || h.offset != 0 {
		c.lost(cell, Malformed)
		return
	}
	c.reply(cell, h.op, uint8(h.low>>statusShift), h.low&seqMask, pdu[blockHeader:])
}

// reply takes a reply. c.replies is held.
func (c *initiator) reply(cell *atm.Cell, op Op, status uint8, seq uint32, data []byte) {
	if c.issued == c.answered || seq != uint32(c.answered)&seqMask {
		behind := (seq - uint32(c.answered)) & seqMask
		if uint64(behind) < c.issued-c.answered {
			c.lost(cell, Gap)
		} else {
			c.drop(cell, Unasked)
		}
		return
	}
	f := &c.inFlight[c.answered%window]
	e := statusError(status)
	if !f.answeredBy(op, e, len(data)) {
		c.lost(cell, Malformed)
		return
	}
	if c.node.observer != nil {
		id := c.id(c.answered)
		c.observe(&Event{Kind: Received, Cell: cell, ID: id, Tag: f.tag, Op: f.op, Offset: f.offset, Len: f.n, Status: e})
		defer c.observe(&Event{Kind: Completed, ID: id, Tag: f.tag, Op: f.op, Offset: f.offset, Len: f.n, Status: e})
	}
	if e == EDOWN {
		c.fail(EDOWN)
		return
	}
	c.answered++
	c.land(f, e, data)
}

// answeredBy reports whether a reply can be one to f.
func (f *flight) answeredBy(op Op, e Error, n int) bool {
	if e != OK {
		return op == OpAck && n == minData
	}
	if op != f.op.reply() {
		return false
	}
	switch op {
	case OpAck:
		return n == minData
	case OpData:
		return uint64(n) == max(f.n, minData)
	}
	return uint64(n) == f.n
}

// land gives a reply, an error or the data, to whoever waits for it. c.replies is held.
func (c *initiator) land(f *flight, e Error, data []byte) {
	o, use, dst := f.o, f.use, f.dst
	f.o, f.dst = nil, nil
	if o == nil {
		if e == OK && dst != nil {
			e = deliver(dst, data[:f.n], f)
		}
		c.record(e)
		return
	}
	o.mu.Lock()
	if !o.is(use) {
		o.mu.Unlock()
		return
	}
	switch {
	case e != OK:
	case dst != nil:
		e = deliver(dst, data[:f.n], f)
	default:
		o.old = number(data)
	}
	if o.result == OK {
		o.result = e
	}
	o.left--
	var a alarm
	if o.left == 0 && o.pos == o.n {
		a = o.finish(o.result)
	}
	o.mu.Unlock()
	a.call()
}

// deliver puts data read where they are wanted.
func deliver(dst io.WriterAt, data []byte, f *flight) Error {
	swab(data, f.swab)
	if n, err := dst.WriteAt(data, int64(f.pos)); err != nil || n != len(data) {
		return EFAULT
	}
	return OK
}

// lost drops a cell whose loss, or the loss of something before it, means that the circuit
// cannot go on. c.replies is held.
func (c *initiator) lost(cell *atm.Cell, why Reason) {
	c.drop(cell, why)
	c.fail(EDOWN)
}

func (c *initiator) drop(cell *atm.Cell, why Reason) {
	c.node.drop(Event{Peer: c.peer, Cell: cell, ID: c.id(c.answered), Reason: why})
}

// fail ends the circuit: what is in flight or queued ends with e. c.replies is held.
func (c *initiator) fail(e Error) {
	if c.state == working {
		c.state = failed
	}
	for ; c.answered < c.issued; c.answered++ {
		c.land(&c.inFlight[c.answered%window], e, nil)
	}
	c.node.recycle(&c.assembler, c.peer)
	c.blocked = c.head != nil
}

// shut is fail from outside of the circuit, for good if it is closed.
func (c *initiator) shut(e Error, s circuitState) {
	c.replies.Lock()
	c.fail(e)
	c.state = max(c.state, s)
	c.blocked = false
	c.replies.Unlock()
	c.pump()
	c.release()
}

// down reports whether the circuit has failed.
func (c *initiator) down() bool {
	c.replies.Lock()
	defer c.replies.Unlock()
	return c.state != working
}

func (c *initiator) id(seq uint64) OpID {
	return OpID{Node: uint16(c.node.id), VCI: c.vc.VCI, Seq: seq}
}

func (c *initiator) observe(e *Event) {
	e.Node, e.Peer = c.node.id, c.peer
	c.node.observer.Observe(e)
}

func (c *initiator) observeSent(p *packet) {
	c.observe(&Event{Kind: Sent, ID: c.id(p.seq), Tag: p.tag, Cell: &c.cell, Op: p.header.op, Offset: p.header.offset, Len: p.size})
}

// sealCell makes a message the payload of c.
func sealCell(c *atm.Cell, seq uint64, message []byte) {
	// The only error is a length outside 8..44, which no message has.
	_ = atm.EncodeSSM(c, uint8(seq&0xf), uint16(seq>>4)&0x3ff, message)
}

// ssmReason is why a cell held no single segment message.
func ssmReason(err error) Reason {
	if errors.Is(err, atm.ErrCRC10) {
		return BadCRC10
	}
	return BadSegment
}

// putNumber appends a number of width bytes, 4 or 8.
func putNumber(b []byte, width uint8, v uint64) []byte {
	if width == 4 {
		return binary.BigEndian.AppendUint32(b, uint32(v))
	}
	return binary.BigEndian.AppendUint64(b, v)
}

// number reads a number of 4 or 8 bytes.
func number(b []byte) uint64 {
	if len(b) == 4 {
		return uint64(binary.BigEndian.Uint32(b))
	}
	return binary.BigEndian.Uint64(b)
}

// readFull fills b from src at pos.
func readFull(src io.ReaderAt, b []byte, pos uint64) bool {
	n, err := src.ReadAt(b, int64(pos))
	return n == len(b) && (err == nil || err == io.EOF)
}
