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
//	        CONNECT granted            DISCONNECT, importer down
//	(none) -----------------> working ---------------------------> (none)
type target struct {
	node    *Node
	peer    *peer
	vc      atm.VC // the lower of the two
	origin  uint16 // VCI at the importer, for events
	connect uint32 // the id of its CONNECT
	segment *segment
	rights  Rights
	mine    mark // of replies
	theirs  mark // of requests
	ring    ring // guarded by segment.bell

	// gone: the circuit has ended. Whoever holds recv then tidies up.
	gone atomic.Bool

	// recv is held from when a request is received until its reply has been
	// received, which keeps both in order.
	recv      sync.Mutex
	expected  uint64 // the next request: how many have been dealt with
	cell      atm.Cell
	parts     parts
	assembler *atm.Reassembler // nil: no block is under way
	kept      [window]kept     // replies to the last requests
	weight    int              // of these
	lightest  uint64           // no reply before this request has a weight
	early     *[window]early   // requests that came before their turn; nil: none ever did

	// A write longer than MaxBlock comes in several PDUs, which are refused together.
	start  uint64 // its offset
	next   uint64 // the offset of what comes next
	left   uint64 // how many bytes are to come, 0: none is under way
	status Error  // of those that have come
}

// kept is a reply that may have to be sent again: the importer has had all but the last window of them, or
// it would not have gone on.
type kept struct {
	op      Op
	status  Error
	weight  int    // of the block, as both ends count them
	from    int    // of the body: from where on it was last asked for
	inVain  int    // how often from there
	large   bool   // body is a buffer reserved with the peer
	body    []byte // of a block; nil: it is a cell
	size    int    // of the data in message; 0: there is none
	message [wordSize + MaxCell]byte
}

// early is a request that came before its turn.
type early struct {
	cell   atm.Cell // or the last of the block
	form   form     // 0: it has not come, or not all of it
	body   []byte   // of a block
	header header
	mosaic *mosaic // its parts so far; nil: none
}

// receive is an end's.
func (t *target) receive(cell *atm.Cell, upper bool) {
	t.recv.Lock()
	switch {
	case t.gone.Load():
		t.drop(cell, NoCircuit)
	case upper:
		t.receiveBlock(cell)
	default:
		t.receiveCell(cell)
	}
	t.recv.Unlock()
	if t.gone.Load() {
		t.tidy()
	}
}

// receiveCell takes a request in one cell.
func (t *target) receiveCell(cell *atm.Cell) {
	m, err := atm.DecodeSSM(cell)
	if err != nil {
		t.drop(cell, ssmReason(err))
		return
	}
	if !t.theirs.on(m.Payload) {
		t.drop(cell, Misinserted)
		return
	}
	seq := t.theirs.seq(number14(m))
	if Op(m.Payload[0]>>4) == OpHave {
		t.arrived(cell, m.Payload, seq)
		return
	}
	switch ahead := (seq - uint32(t.expected)) & seqMask; {
	case ahead == 0:
		if t.serveCell(cell, m.Payload) {
			t.goOn()
		}
	case ahead < window:
		e := t.earlyOf(ahead)
		if e.form != 0 {
			t.drop(cell, Duplicate)
		} else {
			e.form, e.cell = single, *cell
		}
		t.sendHave()
	default:
		t.repeated(cell, ahead, 0)
	}
}

// serveCell carries out the request that is next; false: not now.
func (t *target) serveCell(cell *atm.Cell, message []byte) bool {
	var d demand
	ok := d.read(message)
	if ok && !t.affordable(cell, &d) {
		return false
	}
	t.expected++
	t.left = 0
	if !ok {
		t.malformed(cell)
		return true
	}
	t.observeRequest(Received, cell, &d, OK)
	t.serve(&d)
	return true
}

// affordable reserves the buffer that the reply to a large read is kept in. If there is none, it drops the request, which then will be
// sent again.
func (t *target) affordable(cell *atm.Cell, d *demand) bool {
	if d.op != OpRead || d.n <= smallBody || t.peer.reserve() {
		return true
	}
	t.drop(cell, Overflow)
	return false
}

// read reads a request in one cell.
func (d *demand) read(message []byte) bool {
	word := binary.BigEndian.Uint32(message)
	d.op, d.notify, d.offset = Op(word>>opShift), word&notifyBit != 0, uint64(word&offsetMask)
	return d.parse(message[d.op.lead():])
}

// parse reads the data of a cell.
func (d *demand) parse(data []byte) bool {
	switch d.op {
	case OpWrite:
		if len(data) <= maxShort {
			return false
		}
		d.data = data
	case OpWriteShort:
		if len(data) == 0 {
			return false
		}
		d.op, d.data = OpWrite, data
	case OpRead:
		if len(data) != 4 {
			return false
		}
		d.n = uint64(binary.BigEndian.Uint32(data))
		return d.readable()
	case OpNotify:
		return len(data) == 0 && d.notify
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
		t.drop(cell, reason)
		return
	}
	if pdu.Payload == nil {
		t.observeCell(cell)
		return
	}
	defer t.node.recycle(&t.assembler, t.peer)
	head := min(blockHeader, len(pdu.Payload))
	t.takeBlock(cell, pdu.UU, pdu.Payload[:head], pdu.Payload[head:])
}

// takeBlock takes a PDU, of which cell is the last.
func (t *target) takeBlock(cell *atm.Cell, uu uint8, head, data []byte) {
	h, ok := parseHeader(head)
	if ok && h.key != t.theirs.key {
		t.drop(cell, Misinserted)
		return
	}
	if !ok || uu&^partBits != 0 {
		t.drop(cell, Malformed)
		return
	}
	at, last := h.position(), uu&morePart == 0
	from := 0
	if h.op == OpRead { // it says from where on the data are wanted
		from, at = at, 0
	}
	ahead := (t.theirs.seq(h.low) - uint32(t.expected)) & seqMask
	switch {
	case ahead >= window && uu == morePart:
		t.drop(cell, Duplicate) // the last part is answered
	case ahead >= window:
		t.repeated(cell, ahead, from)
	case at == 0 && last && ahead == 0:
		if t.serveWhole(cell, h, data) {
			t.goOn()
		}
	default:
		t.collect(cell, ahead, h, at, data, uu)
	}
}

// collect keeps a block that came before its turn, or a part of a block.
func (t *target) collect(cell *atm.Cell, ahead uint32, h header, at int, data []byte, uu uint8) {
	e, last := t.earlyOf(ahead), uu&morePart == 0
	switch {
	case e.form != 0:
		t.drop(cell, Duplicate)
	case at == 0 && last:
		if !t.keep(e, cell, h, data) {
			t.drop(cell, Overflow)
		}
	case !t.peer.mosaicOf(&e.mosaic):
		t.drop(cell, Overflow)
	case !e.mosaic.add(h, at, data, last):
		t.drop(cell, Malformed)
		return
	default:
		whole := e.mosaic.whole()
		switch {
		case whole == nil:
			t.observeCell(cell)
		case ahead == 0:
			if t.serveWhole(cell, h, whole) {
				t.goOn()
			}
			return
		case !t.keep(e, cell, h, whole):
			t.drop(cell, Overflow)
		}
	}
	if uu != morePart {
		t.sendHave()
	}
}

// keep takes a copy of a block for when its turn has come. No more are kept than the importer was given credit for.
func (t *target) keep(e *early, cell *atm.Cell, h header, data []byte) bool {
	if len(data) > smallBody && !t.peer.reserve() {
		return false
	}
	e.form, e.cell, e.header = block, *cell, h
	e.body = newBody(len(data))
	copy(e.body, data)
	t.peer.freeMosaic(&e.mosaic)
	return true
}

// serveWhole carries out the block that is next; false: not now.
func (t *target) serveWhole(cell *atm.Cell, h header, data []byte) bool {
	d := demand{op: h.op, notify: h.notify, offset: h.offset}
	ok := d.parseBlock(&h, data)
	if ok && !t.affordable(cell, &d) {
		return false
	}
	t.expected++
	if !ok {
		t.left = 0
		t.malformed(cell)
		return true
	}
	t.observeRequest(Received, cell, &d, OK)
	if d.op == OpWrite {
		t.serveBlock(&d)
		return true
	}
	t.left = 0
	t.serve(&d)
	return true
}

// earlyOf is the place for a request so many ahead of the one expected.
func (t *target) earlyOf(ahead uint32) *early {
	if t.early == nil {
		t.early = new([window]early)
	}
	return &t.early[(t.expected+uint64(ahead))%window]
}

// goOn carries out what has waited for the request before it.
func (t *target) goOn() {
	if t.early == nil {
		return
	}
	for {
		done := &t.early[(t.expected-1)%window] // what was left of it
		t.discard(done)
		e := &t.early[t.expected%window]
		if e.form == 0 {
			return
		}
		var served bool
		if e.form == single {
			m, _ := atm.DecodeSSM(&e.cell) // it was right when it came
			served = t.serveCell(&e.cell, m.Payload)
		} else {
			served = t.serveWhole(&e.cell, e.header, e.body)
		}
		if !served {
			t.discard(e)
			return
		}
	}
}

// discard frees what e has.
func (t *target) discard(e *early) {
	if len(e.body) > smallBody {
		t.peer.partial.Add(-1)
	}
	freeBody(&e.body)
	t.peer.freeMosaic(&e.mosaic)
	e.form = 0
}

// repeated takes a request that was dealt with before, or is nowhere near. If the importer may still wait for the
// reply, it gets it again.
func (t *target) repeated(cell *atm.Cell, ahead uint32, from int) {
	behind := seqMask + 1 - ahead
	if ahead <= seqMask/2 {
		t.drop(cell, Gap)
		return
	}
	t.drop(cell, Duplicate)
	if behind > window || uint64(behind) > t.expected {
		return
	}
	seq := t.expected - uint64(behind)
	k := &t.kept[seq%window]
	if k.body == nil {
		t.transmit(k, seq)
		return
	}
	if from >= len(k.body) {
		return
	}
	p := &t.peer.path
	if from > k.from {
		p.through((from-k.from)/MaxCell, false)
		k.inVain = 0
	} else {
		p.lost(t.node.clock.Now(), true)
		k.inVain = min(k.inVain+1, 32)
	}
	k.from = from
	t.transmitBlock(k, seq, from, p.part(), p.window()>>k.inVain)
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
	if t.node.witness != nil {
		t.testify(d, 0, e)
	}
	t.done(d, e, t.start, d.offset+d.n-t.start)
	t.weigh(t.fresh(), int(d.n))
	t.answer(e)
}

// serve carries out a request and answers it.
func (t *target) serve(d *demand) {
	k := t.fresh()
	if d.op == OpRead {
		if d.n > MaxCell {
			t.weigh(k, int(d.n))
			k.body, k.from, k.large = newBody(int(d.n)), 0, d.n > smallBody
			k.inVain = 0
			d.data = k.body
		} else {
			clear(k.message[wordSize : wordSize+minData])
			d.data = k.message[wordSize : wordSize+d.n]
		}
	}
	old, e := t.segment.access(d, t.rights)
	if t.node.witness != nil {
		t.testify(d, old, e)
	}
	t.done(d, e, d.offset, d.n)
	switch {
	case e != OK:
		t.answer(e)
	case d.op.right() == Atomic:
		t.reply(k, OpOld, OK, len(putNumber(k.message[wordSize+keySize:][:0], uint8(d.n), old)))
	case d.op != OpRead:
		t.answer(OK)
	case k.body != nil:
		k.op = OpData
		t.transmitBlock(k, t.expected-1, 0, MaxBlock, maxBurst)
	default:
		t.reply(k, OpData, OK, int(max(d.n, minData)))
	}
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
		t.segment.notify(&t.ring, t.peer.number, d.op, offset, n)
		t.observeRequest(Notified, nil, d, OK)
	}
}

// fresh is the place for the reply to the last request.
func (t *target) fresh() *kept {
	k := &t.kept[(t.expected-1)%window]
	t.forgo(k)
	return k
}

// forgo frees what k has.
func (t *target) forgo(k *kept) {
	t.weight -= k.weight
	k.weight = 0
	t.freeReply(k)
}

// freeReply frees the block that k was to be.
func (t *target) freeReply(k *kept) {
	if k.body == nil {
		return
	}
	if k.large {
		t.peer.partial.Add(-1)
	}
	k.large, k.size = false, 0
	freeBody(&k.body)
}

// weigh notes that the last request has a weight, and frees the replies that cannot be asked for any more: of
// those, the importer has had so many that it was permitted to send this one.
func (t *target) weigh(k *kept, weight int) {
	k.weight = weight
	t.weight += weight
	if t.expected > window {
		t.lightest = max(t.lightest, t.expected-window)
	}
	for last := t.expected - 1; t.weight > blockWindow && t.lightest < last; t.lightest++ {
		t.forgo(&t.kept[t.lightest%window])
	}
}

// answer sends an acknowledgement of the last request, or its refusal.
func (t *target) answer(e Error) {
	k := &t.kept[(t.expected-1)%window]
	t.freeReply(k)
	binary.BigEndian.PutUint32(k.message[wordSize+keySize:], t.credit())
	t.reply(k, OpAck, e, creditSize)
}

// credit is what the target is ready to take.
func (t *target) credit() uint32 {
	free := max(maxPartial-int(t.peer.partial.Load()), 0) // buffers of 64 KiB
	return window<<16 | uint32(min(free<<6, creditKilobytes))
}

// reply sends the reply k to the last request, with n bytes of data, in one cell.
func (t *target) reply(k *kept, op Op, e Error, n int) {
	seq := t.expected - 1
	word := replyWord(op, e, t.mine.number(seq))
	if op == OpData {
		word = uint32(op)<<opShift | t.mine.dataKey()
	}
	t.mine.put(k.message[:], op, word)
	k.op, k.status, k.size = op, e, n
	t.transmit(k, seq)
}

// transmit sends a reply in one cell.
func (t *target) transmit(k *kept, seq uint64) {
	if k.size == 0 { // it was a block, and the importer has had it
		return
	}
	t.cell.SetHeader(atm.Header{VC: t.vc})
	sealCell(&t.cell, t.mine.number(seq), k.message[:k.op.lead()+k.size])
	t.send(k.op, k.status, seq, uint64(k.size))
}

// transmitBlock sends a reply that is a block, from a byte on, in parts of the given size and in about so many cells.
func (t *target) transmitBlock(k *kept, seq uint64, from, part, room int) {
	if t.gone.Load() {
		return // the VC may be somebody else's by now
	}
	h := header{op: k.op, low: t.mine.number(seq), key: t.mine.key, length: uint64(len(k.body))}
	t.parts.send(&t.cell, upperVC(t.vc), h, k.body, from, part, room, func() {
		t.send(k.op, OK, seq, uint64(len(k.body)))
	})
}

// sendHave tells the importer which requests have come, so that it sends again what is missing.
func (t *target) sendHave() {
	var m [wordSize + keySize + haveSize]byte
	from, number := 0, t.mine.number(t.expected)
	if e := t.early[t.expected%window].mosaic; e != nil {
		from = e.missing()
	}
	t.mine.put(m[:], OpHave, opWord(OpHave, false, uint32(from/8)<<seqBits|number))
	var bits uint64
	for i := range uint64(window - 1) {
		if t.early[(t.expected+1+i)%window].form != 0 {
			bits |= 1 << i
		}
	}
	binary.BigEndian.PutUint64(m[wordSize+keySize:], bits)
	t.cell.SetHeader(atm.Header{VC: t.vc})
	sealCell(&t.cell, number, m[:])
	t.send(OpHave, OK, t.expected, 0)
}

// arrived takes what the importer says it has had: all replies to requests before seq.
func (t *target) arrived(cell *atm.Cell, message []byte, seq uint32) {
	behind := uint64((uint32(t.expected) - seq) & seqMask)
	if binary.BigEndian.Uint32(message) != opWord(OpHave, false, 0) || len(message) != OpHave.lead() || behind > t.expected || behind > window {
		t.drop(cell, Malformed)
		return
	}
	if t.node.observer != nil {
		t.observe(&Event{Kind: Received, Cell: cell, ID: t.id(t.expected - behind), Op: OpHave})
	}
	if t.expected > window {
		t.lightest = max(t.lightest, t.expected-window)
	}
	for ; t.lightest < t.expected-behind; t.lightest++ {
		t.forgo(&t.kept[t.lightest%window])
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

// malformed refuses a request that is in order and undamaged and makes no sense.
func (t *target) malformed(cell *atm.Cell) {
	t.node.drop(Event{Peer: t.peer.number, Cell: cell, ID: t.id(t.expected - 1), Reason: Malformed})
	t.fresh()
	t.answer(EINVAL)
}

func (t *target) drop(cell *atm.Cell, why Reason) {
	t.node.drop(Event{Peer: t.peer.number, Cell: cell, ID: t.id(t.expected), Reason: why})
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
		for i := range t.kept {
			t.forgo(&t.kept[i])
		}
		if t.early != nil {
			for i := range t.early {
				if e := &t.early[i]; e.form != 0 {
					t.drop(&e.cell, NoCircuit)
				}
				t.discard(&t.early[i])
			}
		}
		t.segment.orphan(&t.ring)
		t.recv.Unlock()
	}
}

func (t *target) id(seq uint64) OpID {
	return OpID{Node: uint16(t.peer.number), VCI: t.origin, Seq: seq}
}

func (t *target) observe(e *Event) {
	e.Node, e.Peer = t.node.id, t.peer.number
	t.node.observer.Observe(e)
}

// observeRequest tells of the last request.
func (t *target) observeRequest(k Kind, cell *atm.Cell, d *demand, e Error) {
	if t.node.observer != nil {
		t.observe(&Event{Kind: k, Cell: cell, ID: t.id(t.expected - 1), Op: d.op, Offset: d.offset, Len: d.n, Status: e})
	}
}

// observeCell tells of a cell that is a part of a block of which more is to come.
func (t *target) observeCell(cell *atm.Cell) {
	if t.node.observer != nil {
		t.observe(&Event{Kind: Received, Cell: cell, ID: t.id(t.expected)})
	}
}
