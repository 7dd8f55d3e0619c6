package rmem

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rmemrun/atm"
)

// window is how many requests of a circuit may be unanswered. Far less than half of the sequence
// numbers, so that an old one is never taken for a new one.
const window = 64

// An initiator is the importer's end of a circuit: what is behind a descriptor.
//
//	        CONNECT granted            silent for too long, reply EDOWN, peer down
//	(none) -----------------> working --------------------------------------------> failed
//	                             |                                                     |
//	                             | Release, Space.Close                                |
//	                             v                                                     v
//	                           closed <------------------------------------------------+
//
// Requests wait in a queue, are sent in its order, and are in flight until they are answered.
type initiator struct {
	node    *Node
	space   *Space
	peer    *peer
	name    string // of the segment, for the log
	vc      atm.VC // the lower of the two
	remote  atm.VC // the same at the peer
	connect uint32 // the id of its CONNECT
	mine    mark   // of requests
	rights  Rights // granted
	size    uint64 // of the segment
	reaches Record // the segment

	// send is held while requests leave, which keeps them in order. On a
	// network that delivers at once, replies come while it is held.
	send   sync.Mutex
	cell   atm.Cell
	parts  parts
	prompt bool // a reply has come before the network's Send returned

	// resume asks whoever holds send to look at the queue again.
	resume atomic.Bool

	// replied is answered, for whoever does not hold replies.
	replied atomic.Uint64

	replies   sync.Mutex // guards what follows; never held while a cell is sent
	theirs    mark       // of replies
	state     circuitState
	blocked   bool       // the queue waits for the window
	head      *Operation // the queue
	tail      *Operation
	issued    uint64 // requests sent
	answered  uint64 // all of these before this one have been answered
	inFlight  [window]flight
	weight    int // bytes of the blocks in flight, asked for or sent
	credit    credit
	again     int  // requests in flight that are to be sent again
	loose     int  // requests in flight that only a fence waits for
	thank     bool // the target keeps what has arrived, and is to be told
	fences    []fence
	err       Error            // the first error that no fence has reported
	errSeq    uint64           // of which request
	errTime   uint64           // when it came, on the space's clock
	assembler *atm.Reassembler // nil: no block is under way
	timer     timer
	heard     time.Duration // when something new came from the target
	inVain    int           // time-outs since
	disturbed time.Duration // when something was last sent again
	direct    *Direct       // nil: there is none
	outward   *Outward      // nil: there is none
}

type circuitState uint8

const (
	working circuitState = iota
	failed
	closed
)

// A flight is a request that is in the window, with all that is needed to send it again.
//
//	        Send has returned                    its time is up, or
//	sending -----------------> waiting for the  <--------------------> again
//	   |                           reply          sent once more         |
//	   |                             |                                   |
//	   +-----------------------------+--------------> answered <---------+
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

	seq      uint64
	form     form
	answered bool
	sending  bool // its bytes are being sent
	again    bool // they are to be sent again
	asked    bool // the other end will say what it has of the block
	held     bool // the target has it, and waits for one before it
	timed    bool // the times are known: the reply did not come before Send returned
	tries    uint8
	passed   uint8         // how often the target has dealt with later ones
	first    time.Duration // when it was sent first
	sent     time.Duration // and last, or when the target last said that it has it
	weight   int           // of a block: bytes, as both ends count them
	from     int           // of a block: all data before are at their end
	mosaic   *mosaic       // of a reply in parts; nil: none

	header  header                   // block
	body    []byte                   // block: its data, if any
	stage   *stage                   // that they are in; nil: body is a buffer of its own
	partly  bool                     // dst may be written in part
	size    int                      // single: octets of message
	message [wordSize + MaxCell]byte // single
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

// leave releases c.send, and does what others have left to whoever holds it.
func (c *initiator) leave() {
	c.send.Unlock()
	c.catchUp()
}

// pump has sent what can be sent now. It is called by who receives, who must not send himself: if
// somebody is sending, he looks at the queue again when he leaves; if not, the clock is asked to.
func (c *initiator) pump() {
	c.resume.Store(true)
	if c.send.TryLock() {
		c.send.Unlock()
		c.node.clock.AfterFunc(0, c.catchUp)
	}
}

func (c *initiator) catchUp() {
	for c.resume.Load() && c.send.TryLock() {
		c.resume.Store(false)
		c.replies.Lock()
		c.drain()
		c.send.Unlock()
	}
}

// drain sends what is to be sent again, and then what is queued, as far as the window allows. c.send is held;
// c.replies is held at the beginning and not at the end.
func (c *initiator) drain() {
	for {
		if c.thank {
			c.thank = false
			seq := c.answered
			c.replies.Unlock()
			c.sendHave(seq)
			c.replies.Lock()
		}
		if c.again > 0 {
			if f := c.overdue(); f != nil {
				from, tries := f.from, f.tries
				c.replies.Unlock()
				c.transmitAgain(f, from, tries)
				c.watch(f)
				c.replies.Lock()
				continue
			}
		}
		if c.head == nil {
			break
		}
		if c.state == working && !c.open(c.head) {
			c.blocked = true
			break
		}
		f, a := c.prepare(c.head)
		more := c.head != nil // nobody adds to the queue without c.send
		c.replies.Unlock()
		a.call()
		if f != nil {
			c.transmit(f)
			c.watch(f)
		}
		if !more {
			return // who has found something to send again has set resume
		}
		c.replies.Lock()
	}
	c.replies.Unlock()
}

type form uint8

const (
	single form = iota + 1
	block
)

// heavy is how many bytes the next request of o counts as a block, 0: none. At most bytes are requested at once.
func (o *Operation) heavy(most uint64) int {
	n := min(o.n-o.pos, most)
	switch {
	case o.op == OpWrite && (o.n > MaxCell || o.offset+o.pos > maxCellOffset), o.op == OpRead && n > MaxCell:
		return int(n)
	}
	return 0
}

// open reports whether the window has room for the next request of o. c.replies is held.
func (c *initiator) open(o *Operation) bool {
	inFlight := c.issued - c.answered
	if inFlight == 0 {
		return true
	}
	if inFlight >= window || inFlight > uint64(c.credit.requests) {
		return false
	}
	w := o.heavy(uint64(c.peer.path.part()))
	if inFlight+uint64(c.weight+w)/MaxCell >= uint64(c.peer.path.window()) {
		return false
	}
	return w == 0 || c.weight == 0 || c.weight+w <= min(blockWindow, int(c.credit.kilobytes)<<10)
}

// prepare makes the next request of o, the first in the queue, and takes o off
// the queue if it is the last. nil: there is none to be sent. The alarm is due for who waits for no reply. c.replies and c.send are held.
func (c *initiator) prepare(o *Operation) (*flight, alarm) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state.Load() != active { // cancelled a moment ago
		c.pop()
		return nil, nil
	}
	if c.state != working {
		return nil, c.abandon(o, c.gone())
	}
	if o.result != OK { // refused by the far side in part
		return nil, c.abandon(o, o.result)
	}

	f := &c.inFlight[c.issued%window]
	most := uint64(MaxBlock)
	if o.op == OpRead || o.op == OpWrite {
		if o.n-o.pos > MaxCell {
			most = uint64(c.peer.path.part())
		}
	}
	f.op, f.swab, f.offset, f.n = o.op, o.swab, o.offset+o.pos, min(o.n-o.pos, most)
	f.tag, f.o, f.use, f.dst, f.pos = o.Tag, o, o.use, o.dst, o.pos
	f.seq, f.form, f.weight = c.issued, single, o.heavy(most)
	f.answered, f.again, f.asked, f.held, f.timed, f.tries, f.passed, f.from = false, false, false, false, false, 0, 0, 0
	f.header.op, f.header.low, f.header.key = o.op, c.mine.number(f.seq), c.mine.key
	f.header.offset, f.header.length = f.offset, o.n-o.pos
	if f.offset > maxCellOffset || o.op == OpWrite && o.n > MaxCell {
		f.form = block
	} else if o.op == OpWrite && o.n <= maxShort {
		f.header.op = OpWriteShort
	}
	var data []byte
	switch {
	case f.form == single:
		data = f.message[f.header.op.lead():]
	case o.stage == nil:
		f.body = newBody(int(max(f.n, MaxCell)))
		data = f.body
	}
	switch o.op {
	case OpWrite:
		if data = o.fetch(f, data); data == nil {
			f.freeBody()
			f.o, f.dst = nil, nil
			return nil, c.abandon(o, EFAULT)
		}
		swab(data, o.swab)
	case OpRead:
		f.partly = o.n > MaxBlock
		f.header.length = f.n
		data = data[:0]
		if f.form == single {
			data = binary.BigEndian.AppendUint32(data, uint32(f.n))
		}
	case OpNotify:
		data = data[:0]
	case OpCAS:
		data = putNumber(putNumber(data[:0], o.width, o.expected), o.width, o.operand)
	default:
		data = putNumber(data[:0], o.width, o.operand)
	}
	o.pos += f.n
	last := o.pos == o.n
	f.header.notify = o.notify && last
	if f.form == block {
		f.body = data
		f.sending = true
	} else {
		f.size = f.header.op.lead() + len(data)
		c.mine.put(f.message[:], f.header.op, opWord(f.header.op, f.header.notify, uint32(f.offset)))
	}
	var a alarm
	if last {
		c.pop()
	}
	switch {
	case o.awaited:
		o.left++
	case o.op == OpWrite, o.op == OpNotify, o.async:
		f.o = nil
		c.loose++
		c.tell()
		if last {
			a = o.finish(OK)
		}
	default:
		o.left++
	}
	c.weight += f.weight
	c.issued++
	return f, a
}

// abandon takes o, of which no more is to be sent, off the queue, and finishes
// it unless replies are still to come. c.replies and o.mu are held.
func (c *initiator) abandon(o *Operation, e Error) alarm {
	c.pop()
	if o.awaited && o.op.posted() {
		c.record(e, c.issued)
	}
	if o.left == 0 {
		return o.finish(e)
	}
	o.result, o.pos = e, o.n
	return nil
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

// transmit sends f, which may be answered while it does. c.send is held.
func (c *initiator) transmit(f *flight) {
	if f.form == single {
		c.cell.SetHeader(atm.Header{VC: c.vc})
		sealCell(&c.cell, c.mine.number(f.seq), f.message[:f.size])
		c.sendCell(f)
		return
	}
	c.parts.send(&c.cell, upperVC(c.vc), f.header, f.body, 0, MaxBlock, maxBurst, func() { c.sendCell(f) })
}

// transmitAgain sends f once more: of a block, what the target is not known to have, or not all of that. c.send is held.
func (c *initiator) transmitAgain(f *flight, from int, tries uint8) {
	p := &c.peer.path
	switch {
	case f.form == block && len(f.body) > 0:
		c.parts.send(&c.cell, upperVC(c.vc), f.header, f.body, from, p.part(), p.window()>>(tries-1), func() { c.sendCell(f) })
	case f.weight > 0: // a read
		h := f.header
		h.low |= uint32(from/8) << seqBits
		h.put(&c.parts.header)
		if c.parts.cutter.Begin(atm.Header{VC: upperVC(c.vc)}, 0, c.parts.header[:], nil) != nil {
			return // it is never too long
		}
		for c.parts.cutter.Next(&c.cell) {
			c.sendCell(f)
		}
	default:
		c.transmit(f)
	}
}

// sendCell sends c.cell, which belongs to f.
func (c *initiator) sendCell(f *flight) {
	if c.node.observer != nil {
		c.observe(&Event{Kind: Sent, ID: c.id(f.seq), Tag: f.tag, Cell: &c.cell, Op: f.header.op, Offset: f.header.offset, Len: f.n})
	}
	c.node.network.Send(&c.cell)
}

// receive is an end's.
func (c *initiator) receive(cell *atm.Cell, upper bool) {
	c.replies.Lock()
	if upper {
		c.receiveBlock(cell)
	} else {
		c.receiveCell(cell)
	}
	c.received()
}

// received does what follows when replies have come, and releases c.replies.
func (c *initiator) received() {
	down := c.state != working
	resume := c.blocked && (down || c.head == nil || c.open(c.head)) || c.again > 0 || c.thank
	if resume {
		c.blocked = false
	}
	reached := len(c.fences) > 0 && c.fences[0].target <= c.answered
	c.replies.Unlock()
	switch {
	case resume && down:
		c.flush()
	case resume:
		c.pump()
	}
	if reached {
		c.release()
	}
}

// flush ends what is queued on a circuit that has failed; nothing is sent.
func (c *initiator) flush() {
	c.resume.Store(true)
	c.catchUp()
}

// receiveCell takes a reply in one cell. c.replies is held.
func (c *initiator) receiveCell(cell *atm.Cell) {
	m, err := atm.DecodeSSM(cell)
	if err != nil {
		c.drop(cell, ssmReason(err))
		return
	}
	if !c.theirs.on(m.Payload) {
		c.drop(cell, Misinserted)
		return
	}
	word, number := binary.BigEndian.Uint32(m.Payload), number14(m)
	op, seq := Op(word>>opShift), c.theirs.seq(number)
	data := m.Payload[op.lead():]
	switch {
	case op == OpData:
		c.reply(cell, op, 0, seq, data)
	case word&notifyBit != 0, word&seqMask != number, op != OpHave && word&replyZero != 0:
		c.drop(cell, Malformed)
	case op == OpHave:
		h := header{low: word & offsetMask}
		c.have(cell, h.position(), seq, data)
	default:
		c.reply(cell, op, uint8(word>>statusShift), seq, data)
	}
}

// receiveBlock takes a cell of a reply in a block. c.replies is held.
func (c *initiator) receiveBlock(cell *atm.Cell) {
	pdu, reason := c.node.assemble(&c.assembler, c.peer, cell)
	if reason != 0 {
		c.drop(cell, reason)
		return
	}
	if pdu.Payload == nil {
		c.observeCell(cell)
		return
	}
	defer c.node.recycle(&c.assembler, c.peer)
	head := min(blockHeader, len(pdu.Payload))
	c.takeBlock(cell, pdu.UU, pdu.Payload[:head], pdu.Payload[head:])
}

// takeBlock takes a PDU, of which cell is the last. c.replies is held.
func (c *initiator) takeBlock(cell *atm.Cell, uu uint8, head, data []byte) {
	h, ok := parseHeader(head)
	if ok && h.key != c.theirs.key {
		c.drop(cell, Misinserted)
		return
	}
	if !ok || h.notify || h.op != OpData || h.offset != 0 || uu&^partBits != 0 {
		c.drop(cell, Malformed)
		return
	}
	seq, at, last := c.theirs.seq(h.low), h.position(), uu&morePart == 0
	f := c.awaited(seq)
	switch {
	case f == nil:
		c.drop(cell, Unasked)
	case h.length != f.n || at+len(data) > int(f.n) || f.op != OpRead || last != (at+len(data) == int(f.n)):
		c.drop(cell, Malformed)
	case at == 0 && last:
		c.peer.freeMosaic(&f.mosaic)
		c.reply(cell, h.op, 0, seq, data)
	case !c.peer.mosaicOf(&f.mosaic):
		c.drop(cell, Overflow)
	case !f.mosaic.add(h, at, data, last):
		c.drop(cell, Malformed)
	default:
		if whole := f.mosaic.whole(); whole != nil {
			c.reply(cell, h.op, 0, seq, whole)
			c.peer.freeMosaic(&f.mosaic)
			return
		}
		if from := f.mosaic.missing(); from > f.from {
			f.from, f.tries = from, 1
			c.hear()
		}
		if f.asked && (last || uu&pausePart != 0) && !f.again && !f.sending {
			c.resend(f)
		}
		c.observeCell(cell)
	}
}

// awaited is the request in flight of a number; nil: there is none, or it is answered. c.replies is held.
func (c *initiator) awaited(seq uint32) *flight {
	ahead := uint64((seq - uint32(c.answered)) & seqMask)
	if ahead >= c.issued-c.answered {
		return nil
	}
	if f := &c.inFlight[(c.answered+ahead)%window]; !f.answered {
		return f
	}
	return nil
}

// reply takes a reply. c.replies is held.
func (c *initiator) reply(cell *atm.Cell, op Op, status uint8, seq uint32, data []byte) {
	f := c.awaited(seq)
	if f == nil {
		c.drop(cell, Unasked)
		return
	}
	e := statusError(status)
	if !f.answeredBy(op, e, len(data)) {
		c.drop(cell, Malformed)
		return
	}
	if c.node.observer != nil {
		id := c.id(f.seq)
		c.observe(&Event{Kind: Received, Cell: cell, ID: id, Tag: f.tag, Op: f.op, Offset: f.offset, Len: f.n, Status: e})
		defer c.observe(&Event{Kind: Completed, ID: id, Tag: f.tag, Op: f.op, Offset: f.offset, Len: f.n, Status: e})
	}
	if e == EDOWN {
		c.fail(EDOWN)
		return
	}
	if op == OpAck {
		c.credit = parseCredit(data)
	}
	if f.timed {
		c.timely(f)
	}
	if f.seq != c.answered {
		c.passOver(f.seq)
	}
	c.settle(f, e, data)
	for c.answered < c.issued && c.inFlight[c.answered%window].answered {
		c.weight -= c.inFlight[c.answered%window].weight
		c.answered++
	}
	c.replied.Store(c.answered)
	c.thank = c.thank || c.answered == c.issued && f.op == OpRead && f.n > smallBody
}

// settle ends a flight. c.replies is held.
func (c *initiator) settle(f *flight, e Error, data []byte) {
	f.answered = true
	if f.again {
		f.again = false
		c.again--
	}
	if !f.sending {
		f.freeBody()
	}
	c.land(f, e, data)
}

// answeredBy reports whether a reply can be one to f.
func (f *flight) answeredBy(op Op, e Error, n int) bool {
	if e != OK {
		return op == OpAck && n == creditSize
	}
	if op != f.op.reply() {
		return false
	}
	switch op {
	case OpAck:
		return n == creditSize
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
		c.loose--
		if e == OK && dst != nil {
			e = deliver(dst, data[:f.n], f)
		}
		c.record(e, f.seq)
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
	if e != OK && o.op.posted() { // of an Outward
		c.record(e, f.seq)
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
	if w, ok := dst.(PartWriterAt); ok && f.partly {
		if n, err := w.WritePartAt(data, int64(f.pos)); err != nil || n != len(data) {
			return EFAULT
		}
		return OK
	}
	if n, err := dst.WriteAt(data, int64(f.pos)); err != nil || n != len(data) {
		return EFAULT
	}
	return OK
}

func (c *initiator) drop(cell *atm.Cell, why Reason) {
	c.node.drop(Event{Peer: c.peer.number, Cell: cell, ID: c.id(c.answered), Reason: why})
}

// fail ends the circuit: what is in flight or queued ends with e. c.replies is held.
func (c *initiator) fail(e Error) {
	if c.state == working {
		c.state = failed
	}
	if c.direct != nil {
		c.direct.fail()
	}
	if c.outward != nil {
		c.outward.watcher.Failed()
	}
	for s := c.answered; s < c.issued; s++ {
		f := &c.inFlight[s%window]
		if !f.answered {
			c.settle(f, e, nil)
		}
		c.peer.freeMosaic(&f.mosaic)
	}
	c.answered, c.weight, c.thank = c.issued, 0, false
	c.replied.Store(c.answered)
	c.timer.stop()
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
	c.flush()
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
	e.Node, e.Peer = c.node.id, c.peer.number
	c.node.observer.Observe(e)
}

// observeCell tells of a cell that is a part of a block of which more is to come.
func (c *initiator) observeCell(cell *atm.Cell) {
	if c.node.observer != nil {
		c.observe(&Event{Kind: Received, Cell: cell, ID: c.id(c.answered)})
	}
}

// sealCell makes a message the payload of c. The number is SN, its low 4 bits, and MID.
func sealCell(c *atm.Cell, number uint32, message []byte) {
	// The only error is a length outside 8..44, which no message has.
	_ = atm.EncodeSSM(c, uint8(number&0xf), uint16(number>>4)&0x3ff, message)
}

// number14 is the number of a cell.
func number14(m atm.SSM) uint32 { return uint32(m.MID)<<4 | uint32(m.SN) }

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
