package rmem

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"rmemrun/atm"
)

// A target is the exporter's end of a circuit: what is in front of a segment.
// It can reach nothing but that segment, with the rights that were granted.
//
//	        CONNECT granted            a cell lost, damaged or missing
//	(none) -----------------> working --------------------------------> failed
//	                             |                                         |
//	                             | DISCONNECT, importer down               |
//	                             v                                         v
//	                          (none) <-------------------------------------+
type target struct {
	node    *Node
	peer    int
	vc      atm.VC // the lower of the two
	origin  uint16 // VCI at the importer, for events
	segment *segment
	rights  Rights
	ring    ring // guarded by segment.bell

	// gone: the circuit has ended. Whoever holds recv then tidies up.
	gone atomic.Bool

	// recv is held from when a request is received until its reply has been
	// received, which keeps both in order.
	recv      sync.Mutex
	failed    bool
	expected  uint64 // sequence number of the next request
	cell      atm.Cell
	message   [wordSize + MaxCell]byte
	cutter    atm.Segmenter
	assembler *atm.Reassembler // nil: no block is under way

	// A write longer than MaxBlock comes in several PDUs, which are refused together.
	start  uint64 // its offset
	next   uint64 // the offset of what comes next
	left   uint64 // how many bytes are to come, 0: none is under way
	status Error  // of those that have come
}

// receive is an end's.
func (t *target) receive(cell *atm.Cell, upper bool) {
	t.recv.Lock()
	t.take(cell, upper)
	t.recv.Unlock()
	if t.gone.Load() {
		t.tidy()
	}
}

func (t *target) take(cell *atm.Cell, upper bool) {
	switch {
	case t.gone.Load():
		t.drop(cell, NoCircuit)
	case t.failed:
		t.drop(cell, Failed)
	case upper:
		t.receiveBlock(cell)
	default:
		t.receiveCell(cell)
	}
}

// receiveCell takes a request in one cell.
func (t *target) receiveCell(cell *atm.Cell) {
	m, err := atm.DecodeSSM(cell)
	if err != nil {
		t.lost(cell, ssmReason(err))
		return
	}
	if !t.inOrder(cell, uint32(m.MID)<<4|uint32(m.SN)) {
		return
	}
	word := binary.BigEndian.Uint32(m.Payload)
	d := demand{op: Op(word >> opShift), notify: word&notifyBit != 0, offset: uint64(word & offsetMask)}
	t.left = 0
	if !d.parse(m.Payload[wordSize:]) {
		t.malformed(cell)
		return
	}
	t.observeRequest(Received, cell, &d, OK)
	t.serve(&d)
}

// parse reads what stands behind the operation word in a cell.
func (d *demand) parse(data []byte) bool {
	switch d.op {
	case OpWrite:
		d.data = data
	case OpWriteShort:
		n := data[0]
		if len(data) != minData || n < 1 || n > 3 {
			return false
		}
		for _, pad := range data[1+n:] {
			if pad != 0 {
				return false
			}
		}
		d.op, d.data = OpWrite, data[1:1+n]
	case OpRead:
		d.n = uint64(binary.BigEndian.Uint32(data))
		return len(data) == 4 && d.readable()
	case OpNotify:
		return len(data) == minData && binary.BigEndian.Uint32(data) == 0 && d.notify
	default:
		return d.operands(data)
	}
	d.n = uint64(len(d.data))
	d.whole = d.n
	return true
}

// readable checks how much a read asks for: what one reply carries.
func (d *demand) readable() bool {
	d.whole = d.n
	return d.n >= 1 && d.n <= MaxBlock && !d.notify
}

// operands reads the operands of an atomic.
func (d *demand) operands(data []byte) bool {
	n := len(data)
	if d.op == OpCAS {
		n /= 2
	}
	if n != 4 && n != 8 || d.op.right() != Atomic || d.op == OpCAS && len(data) != 2*n {
		return false
	}
	if d.op == OpCAS {
		d.expected = number(data[:n])
	}
	d.operand = number(data[len(data)-n:])
	d.n, d.whole = uint64(n), uint64(n)
	return true
}

// receiveBlock takes a cell of a request in a block.
func (t *target) receiveBlock(cell *atm.Cell) {
	pdu, reason := t.node.assemble(&t.assembler, t.peer, cell)
	if reason != 0 {
		t.lost(cell, reason)
		return
	}
	if pdu == nil {
		if t.node.observer != nil {
			t.observe(&Event{Kind: Received, Cell: cell, ID: t.id(t.expected)})
		}
		return
	}
	defer t.node.recycle(&t.assembler, t.peer)
	h, ok := parseHeader(pdu)
	if !ok || h.low&^seqMask != 0 {
		t.lost(cell, Malformed)
		return
	}
	if !t.inOrder(cell, h.low) {
		return
	}
	d := demand{op: h.op, notify: h.notify, offset: h.offset}
	if !d.parseBlock(&h, pdu[blockHeader:]) {
		t.left = 0
		t.malformed(cell)
		return
	}
	t.observeRequest(Received, cell, &d, OK)
	if d.op == OpWrite {
		t.serveBlock(&d)
		return
	}
	t.left = 0
	t.serve(&d)
}

// parseBlock reads what stands behind the header of a block.
func (d *demand) parseBlock(h *header, data []byte) bool {
	switch d.op {
	case OpWrite:
		d.data, d.n, d.whole = data, uint64(len(data)), h.length
		return d.n >= 1 && d.n <= d.whole && !(d.notify && d.n != d.whole)
	case OpRead:
		d.n = h.length
		return len(data) == 0 && d.readable()
	case OpNotify:
		return len(data) == 0 && h.length == 0 && d.notify
	}
	return d.operands(data) && d.n == h.length
}

// serveBlock carries out one PDU of a long write, unless one before it was refused.
func (t *target) serveBlock(d *demand) {
	if t.left == 0 || d.offset != t.next || d.whole != t.left {
		t.start, t.status = d.offset, OK
	}
	e := t.status
	if e == OK {
		_, e = t.segment.access(d, t.rights)
	}
	t.status, t.next, t.left = e, d.offset+d.n, d.whole-d.n
	t.done(d, e, t.start, d.offset+d.n-t.start)
	t.answer(OpAck, e, nil)
}

// serve carries out a request and answers it.
func (t *target) serve(d *demand) {
	data := t.message[wordSize : wordSize+minData]
	clear(data)
	op := OpAck
	var body *[MaxBlock]byte
	if d.op == OpRead {
		op = OpData
		switch {
		case d.n > MaxCell:
			body = bodies.Get().(*[MaxBlock]byte)
			defer bodies.Put(body)
			data = body[:d.n]
		case d.n > minData:
			data = t.message[wordSize : wordSize+d.n]
		}
		d.data = data[:d.n]
	}
	old, e := t.segment.access(d, t.rights)
	t.done(d, e, d.offset, d.n)
	switch {
	case e != OK:
		t.answer(OpAck, e, nil)
		return
	case d.op.right() == Atomic:
		op = OpOld
		data = putNumber(data[:0], uint8(d.n), old)
	}
	if body != nil {
		t.answerBlock(op, data)
		return
	}
	t.answer(op, OK, data)
}

// done tells the observer what became of a request, and the segment's owner if
// the request asks for that; offset and n are what changed.
func (t *target) done(d *demand, e Error, offset, n uint64) {
	if e != OK {
		t.observeRequest(Refused, nil, d, e)
		return
	}
	if d.op != OpNotify {
		t.observeRequest(Deposited, nil, d, OK)
	}
	if d.notify {
		t.segment.notify(&t.ring, t.peer, d.op, offset, n)
		t.observeRequest(Notified, nil, d, OK)
	}
}

// answer sends a reply to the last request in one cell; nil data are 4 bytes 0.
func (t *target) answer(op Op, e Error, data []byte) {
	t.reply(op, e, t.expected-1, data)
}

func (t *target) reply(op Op, e Error, seq uint64, data []byte) {
	n := minData
	if data != nil {
		n = copy(t.message[wordSize:], data)
	} else {
		clear(t.message[wordSize : wordSize+minData])
	}
	binary.BigEndian.PutUint32(t.message[:], replyWord(op, e, seq))
	t.cell.SetHeader(atm.Header{VC: t.vc})
	sealCell(&t.cell, seq, t.message[:wordSize+n])
	t.send(op, e, seq, uint64(n))
}

// answerBlock sends the data of a read as an AAL5 PDU.
func (t *target) answerBlock(op Op, data []byte) {
	seq := t.expected - 1
	h := header{op: op, low: uint32(seq) & seqMask, length: uint64(len(data))}
	h.put((*[blockHeader]byte)(t.message[:]))
	if t.cutter.Begin(atm.Header{VC: upperVC(t.vc)}, 0, t.message[:blockHeader], data) != nil {
		return // header and data are never too long
	}
	for t.cutter.Next(&t.cell) {
		t.send(op, OK, seq, uint64(len(data)))
	}
}

// send sends t.cell, a reply or a part of one.
func (t *target) send(op Op, e Error, seq, n uint64) {
	if t.gone.Load() {
		return // the VC may be somebody else's by now
	}
	if t.node.observer != nil {
		t.observe(&Event{Kind: Sent, Cell: &t.cell, ID: t.id(seq), Op: op, Len: n, Status: e})
	}
	t.node.network.Send(&t.cell)
}

// inOrder takes the next sequence number, and drops everything else.
func (t *target) inOrder(cell *atm.Cell, seq uint32) bool {
	switch ahead := (seq - uint32(t.expected)) & seqMask; {
	case ahead == 0:
		t.expected++
		return true
	case ahead > seqMask/2:
		t.drop(cell, Duplicate)
	default:
		t.lost(cell, Gap)
	}
	return false
}

// malformed refuses a request that is in order and undamaged and makes no sense.
func (t *target) malformed(cell *atm.Cell) {
	t.node.drop(Event{Peer: t.peer, Cell: cell, ID: t.id(t.expected - 1), Reason: Malformed})
	t.answer(OpAck, EINVAL, nil)
}

// lost drops a cell whose loss, or the loss of something before it, means that the
// circuit cannot go on, and tells the importer in place of the reply it waits for.
func (t *target) lost(cell *atm.Cell, why Reason) {
	t.drop(cell, why)
	t.failed = true
	t.node.recycle(&t.assembler, t.peer)
	t.reply(OpAck, EDOWN, t.expected, nil)
}

func (t *target) drop(cell *atm.Cell, why Reason) {
	t.node.drop(Event{Peer: t.peer, Cell: cell, ID: t.id(t.expected), Reason: why})
}

// close takes the end out of service. It does not wait for a request that is under
// way: it may be called from within the reply to it.
func (t *target) close() {
	t.gone.Store(true)
	t.tidy()
}

// finish is close, but waits for the request that is under way to be answered.
func (t *target) finish() {
	t.recv.Lock()
	t.gone.Store(true)
	t.recv.Unlock()
	t.tidy()
}

// tidy gives back what a circuit that is gone has; its notifications are kept.
func (t *target) tidy() {
	if t.recv.TryLock() { // else whoever holds it does so
		t.node.recycle(&t.assembler, t.peer)
		t.segment.orphan(&t.ring)
		t.recv.Unlock()
	}
}

func (t *target) id(seq uint64) OpID {
	return OpID{Node: uint16(t.peer), VCI: t.origin, Seq: seq}
}

func (t *target) observe(e *Event) {
	e.Node, e.Peer = t.node.id, t.peer
	t.node.observer.Observe(e)
}

// observeRequest tells of the last request.
func (t *target) observeRequest(k Kind, cell *atm.Cell, d *demand, e Error) {
	if t.node.observer != nil {
		t.observe(&Event{Kind: k, Cell: cell, ID: t.id(t.expected - 1), Op: d.op, Offset: d.offset, Len: d.n, Status: e})
	}
}
