package rmem

import (
	"encoding/binary"
	"slices"
	"sync/atomic"

	"rmemrun/atm"
)

// A Direct is a circuit whose two ends are in this process, for requests that come to the target neither through the network nor through
// the initiator's window: a guest has written them, one cell each, into memory that it shares with us. They are carried out as requests are
// that the network brings, by the same code, and the same cells answer those that somebody waits for. What is left out is what only losses
// and delays make necessary: nothing is sent again, nothing is kept.
//
// The requests are a sequence of their own beside that of the network, and both their numbers and those of the replies begin with 0. Whoever
// wants an order between the two sequences has to see to it that one is served dry before the other goes on.
//
// It implements ring.Taker.
type Direct struct {
	c       *initiator
	t       *target
	watcher Watcher
	header  atm.HeaderOctets // of requests
	answers answers
	theirs  mark          // of requests
	data    [MaxCell]byte // of a reply. Guarded by t.recv
	failed  atomic.Bool   // the circuit has
}

// A Watcher is told what guests must know who go past their node. It is told with locks held, and must be quick.
type Watcher interface {
	// Refused says whether an error waits with the descriptor for a fence.
	Refused(waits bool)
	// Rung says whether notifications of the segment wait in the node, which come before those that come now.
	Rung(wait bool)
	// Failed says that the circuit has failed, or is closed.
	Failed()
}

// Direct makes a Direct of the descriptor d, whose segment is of the node peer. It has to be closed. EDESC: there is no such descriptor, or it leads to another
// node. EDOWN: the circuit has failed, or is being closed. EINVAL: somebody observes a node, and is to see all cells; or there is a Direct already.
func (s *Space) Direct(d Desc, peer *Node, w Watcher) (*Direct, Error) {
	c := s.descriptors.get(int32(d))
	if c == nil || c.peer.number != peer.id {
		return nil, EDESC
	}
	if s.node.observer != nil || peer.observer != nil {
		return nil, EINVAL
	}
	a := peer.circuits.lookup(c.remote)
	if a == nil || a.block {
		return nil, EDOWN
	}
	t, ok := a.end.(*target)
	if !ok || t.peer.number != s.node.id || t.connect != c.connect || t.gone.Load() {
		return nil, EDOWN
	}
	x := &Direct{
		c: c, t: t, watcher: w,
		header: atm.Header{VC: t.vc}.Octets(), answers: answers{atm.Header{VC: c.vc}.Octets(), mark{key: t.mine.key}},
		theirs: mark{key: t.theirs.key},
	}
	if e := c.lead(x); e != OK {
		return nil, e
	}
	t.segment.watch(x)
	return x, OK
}

// lead makes x the circuit's Direct.
func (c *initiator) lead(x *Direct) Error {
	c.replies.Lock()
	defer c.replies.Unlock()
	switch {
	case c.state != working:
		return EDOWN
	case c.direct != nil, c.outward != nil:
		return EINVAL
	}
	c.direct = x
	c.tell()
	return OK
}

// Close ends it. The ring must not be served any more.
func (x *Direct) Close() {
	x.c.replies.Lock()
	x.c.direct = nil
	x.c.replies.Unlock()
	x.t.segment.unwatch(x)
}

// Fail fails the circuit, as its guests cannot be believed any more: whether what they have posted was done, nobody knows. The locks of
// Begin must not be held.
func (x *Direct) Fail() {
	x.fault(EDOWN)
	x.c.shut(EDOWN, failed)
}

// A Circuit is what the two guests have to know of a Direct.
type Circuit struct {
	Importer, Exporter int              // nodes
	Local              atm.VC           // at the importer, the lower of the two
	Space              *Space           // of the exporter
	Segment            Seg              // in that space; negative: it is just being exported
	Rights             Rights           // granted
	Length             uint64           // of the segment
	Limit              uint64           // of that, what the offset of a cell reaches
	Requests, Replies  atm.HeaderOctets // of the cells
	RequestKey         uint32           // which they bear
	ReplyKey           uint32
}

// Circuit describes the circuit.
func (x *Direct) Circuit() Circuit {
	return Circuit{
		Importer: x.c.node.id, Exporter: x.t.node.id, Local: x.c.vc,
		Space: x.t.segment.space, Segment: Seg(x.t.segment.handle.Load()),
		Rights: x.t.rights, Length: x.t.segment.size, Limit: min(x.t.segment.size, maxCellOffset+1),
		Requests: x.header, Replies: x.answers.header, RequestKey: x.theirs.key, ReplyKey: x.answers.mark.key,
	}
}

// Begin takes the locks for requests to be served: no other request of the circuit is, and the segment is neither revoked nor inhibited
// meanwhile. They are taken once for many requests, as they cost more than a request does.
func (x *Direct) Begin() {
	x.t.recv.Lock()
	x.t.segment.mu.RLock()
}

// End releases the locks.
func (x *Direct) End() {
	x.t.segment.mu.RUnlock()
	x.t.recv.Unlock()
	if x.t.gone.Load() {
		x.t.tidy()
	}
}

// Serve carries out a request. The reply, if there is one, is an answer for who waits: data, an old value, or the refusal. A
// write or notification that is refused leaves its error with the descriptor, too, and so does what is no request at all, for
// whoever has sent that.
func (x *Direct) Serve(index uint64, request, reply *atm.Cell) bool {
	var d demand
	e := x.parse(index, request, &d)
	var old uint64
	if e == OK {
		old, e = x.t.carryOut(&d)
	}
	if e == OK {
		if d.op == OpWrite {
			return false
		}
		return x.answer(index, &d, old, reply)
	}
	if d.op.reply() == OpAck {
		x.fault(e)
	}
	x.refuse(index, e, reply)
	return true
}

// Header is that of requests.
func (x *Direct) Header() atm.HeaderOctets { return x.header }

// Take carries out a request whose cell is in order, of the operation word and the data behind it, if nobody is told of it and nothing speaks against
// it. Otherwise it does nothing, and Serve finds out why.
func (x *Direct) Take(index uint64, word uint32, data []byte, reply *atm.Cell) (taken, answered bool) {
	if word&notifyBit != 0 || x.t.gone.Load() || x.failed.Load() {
		return false, false
	}
	switch op := Op(word >> opShift); {
	case op == OpWrite:
		return len(data) > maxShort && x.write(word, data), false
	case len(data) < keySize || binary.BigEndian.Uint32(data) != x.theirs.key:
		return false, false
	case op == OpWriteShort:
		return len(data) > keySize && x.write(word, data[keySize:]), false
	default:
		return x.exchange(index, op, uint64(word&offsetMask), data[keySize:], reply)
	}
}

// exchange is Take of what has an answer.
func (x *Direct) exchange(index uint64, op Op, offset uint64, data []byte, reply *atm.Cell) (taken, answered bool) {
	d := demand{op: op, offset: offset}
	if !d.parse(data) || d.n > MaxCell {
		return false, false
	}
	if op == OpRead {
		clear(x.data[:minData])
		d.data = x.data[:d.n]
	}
	old, e := x.t.segment.perform(&d, x.t.rights)
	if e != OK {
		return false, false
	}
	return true, x.answer(index, &d, old, reply)
}

// write deposits data, unless something speaks against it: what segment.check finds.
func (x *Direct) write(word uint32, data []byte) bool {
	s, offset := x.t.segment, uint64(word&offsetMask)
	if s.mem == nil || x.t.rights&Write == 0 || s.inhibited || !inside(offset, uint64(len(data)), s.size) {
		return false
	}
	deposit(s.mem[offset:], data)
	return true
}

// Refuse makes the answer that says that the circuit has failed, and leaves that with the descriptor, too.
func (x *Direct) Refuse(index uint64, reply *atm.Cell) {
	x.fault(EDOWN)
	x.refuse(index, EDOWN, reply)
}

// fault leaves an error with the descriptor, of a request of which the network knows nothing: all that it has carried was before, as it is served dry.
func (x *Direct) fault(e Error) {
	x.c.replies.Lock()
	x.c.record(e, x.c.issued)
	x.c.replies.Unlock()
}

// parse checks a request, and reads it.
func (x *Direct) parse(index uint64, request *atm.Cell, d *demand) Error {
	if x.failed.Load() || x.t.gone.Load() {
		d.op = Op(request[atm.HeaderSize+2] >> 4) // of who is told so
		return EDOWN
	}
	if binary.LittleEndian.Uint32(request[:4]) != uint32(x.header) || request[4] != byte(x.header>>32) {
		return x.drop(request, NoCircuit)
	}
	m, err := atm.DecodeSSM(request)
	switch {
	case err != nil:
		return x.drop(request, ssmReason(err))
	case number14(m) != x.theirs.number(index):
		return x.drop(request, Gap)
	case !x.theirs.on(m.Payload):
		return x.drop(request, Misinserted)
	}
	if !d.read(m.Payload) || d.n > MaxCell {
		return x.drop(request, Malformed)
	}
	if d.op == OpRead {
		clear(x.data[:minData])
		d.data = x.data[:d.n]
	}
	return OK
}

// drop notes that a cell was discarded.
func (x *Direct) drop(request *atm.Cell, why Reason) Error {
	x.t.node.drop(Event{Peer: x.t.peer.number, Cell: request, ID: OpID{Node: uint16(x.t.peer.number), VCI: x.t.origin}, Reason: why})
	return EINVAL
}

// carryOut is what serve does, of a request that no network has brought. Begin has taken the locks.
func (t *target) carryOut(d *demand) (old uint64, e Error) {
	old, e = t.segment.perform(d, t.rights)
	if d.notify && e == OK { // that takes the next lock
		t.segment.mu.RUnlock()
		t.done(d, e, d.offset, d.n)
		t.segment.mu.RLock()
	}
	return old, e
}

// answer makes the reply to a request that somebody waits for; false: nobody does.
func (x *Direct) answer(index uint64, d *demand, old uint64, reply *atm.Cell) bool {
	switch d.op {
	case OpNotify:
		return false
	case OpRead:
		x.answers.data(index, x.data[:max(d.n, minData)], reply)
	default:
		x.answers.old(index, int(d.n), old, reply)
	}
	return true
}

// refuse makes the reply that a request is refused by.
func (x *Direct) refuse(index uint64, e Error, reply *atm.Cell) {
	x.answers.refusal(index, e, x.t.credit(), reply)
}

// tell says whether an error waits. c.replies is held.
func (c *initiator) tell() {
	if c.direct != nil {
		c.direct.watcher.Refused(c.err != OK)
	}
	if c.outward != nil {
		c.outward.watcher.Refused(c.err != OK || c.loose > 0)
	}
}

// fail says that the circuit has failed. c.replies is held.
func (x *Direct) fail() {
	x.failed.Store(true)
	x.watcher.Failed()
}

// watch has x told of notifications that wait.
func (s *segment) watch(x *Direct) {
	s.bell.Lock()
	defer s.bell.Unlock()
	s.directs = append(s.directs, x)
	x.watcher.Rung(s.first != nil)
}

func (s *segment) unwatch(x *Direct) {
	s.bell.Lock()
	defer s.bell.Unlock()
	s.directs = slices.DeleteFunc(s.directs, func(y *Direct) bool { return y == x })
}

// tell says whether notifications wait. s.bell is held.
func (s *segment) tell() {
	for _, x := range s.directs {
		x.watcher.Rung(s.first != nil)
	}
}
