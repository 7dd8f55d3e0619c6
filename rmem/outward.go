package rmem

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"rmemrun/atm"
)

// An Outward is a circuit whose other end is anywhere, for requests that a guest has written, one cell each, into memory that it shares with us. They
// are taken out of these cells, checked, and go the way of all requests: through the initiator's window, over the network, with numbers of the
// circuit's own. What comes back is put into cells for the guest.
//
// The cells between guest and Outward have numbers of their own, which begin with 0, and the keys and the VC of the circuit at this end.
//
//	Carry          the window has room       answered              Carried
//	-------> waiting -------------------> under way ---------> done ------->
//
// A fence of the guest's knows what the ring has acknowledged, and nothing of requests that have come by other ways. While some of those are under way, that only a fence waits
// for, the Watcher is told that something waits for a fence, as if it were an error.
//
// It implements ring.Carrier. Its lock is the first of this node's.
type Outward struct {
	c       *initiator
	watcher Watcher
	wake    func()
	rights  Rights
	header  atm.HeaderOctets // of all cells
	answers answers          // to the guest
	theirs  mark             // of requests, from it
	mu      sync.Mutex
	places  [window]freight
	news    atomic.Bool // since Begin, a request was answered

	// Guarded by mu.
	first, next uint64 // requests that are carried
}

// A freight is a request that is carried.
type freight struct {
	o    Operation
	op   Op
	n    int // bytes
	e    Error
	sent bool // o was begun; else e is what becomes of the request
	data contents
}

// Contents are the bytes that a request brings or fetches.
type contents [MaxCell]byte

var errContents = errors.New("a cell has no more bytes")

// ReadAt is an io.ReaderAt's.
func (c *contents) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 || off > int64(len(c)) {
		return 0, io.EOF
	}
	return copy(b, c[off:]), nil
}

// WriteAt is an io.WriterAt's.
func (c *contents) WriteAt(b []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(b)) > int64(len(c)) {
		return 0, errContents
	}
	return copy(c[off:], b), nil
}

// Outward makes an Outward of the descriptor d. It has to be closed. Wake is called when requests were answered, from any goroutine, with locks held: it must be
// quick. EDESC: there is no such descriptor. EDOWN: the circuit has failed. EINVAL: somebody observes the node, and is to see what the guest does; or
// the descriptor has an Outward, or a Direct, already.
func (s *Space) Outward(d Desc, w Watcher, wake func()) (*Outward, Error) {
	c := s.descriptors.get(int32(d))
	switch {
	case c == nil:
		return nil, EDESC
	case s.node.observer != nil:
		return nil, EINVAL
	}
	x := &Outward{
		c: c, watcher: w, wake: wake, rights: c.rights, header: atm.Header{VC: c.vc}.Octets(),
		answers: answers{atm.Header{VC: c.vc}.Octets(), mark{key: c.theirs.key}}, theirs: mark{key: c.mine.key},
	}
	for i := range x.places {
		x.places[i].o.Wake = x.answered
	}
	c.replies.Lock()
	defer c.replies.Unlock()
	switch {
	case c.state != working:
		return nil, EDOWN
	case c.direct != nil, c.outward != nil:
		return nil, EINVAL
	}
	c.outward = x
	c.tell()
	return x, OK
}

// Close ends it. The ring must not be served any more. What is under way is answered all the same, and an error is kept for the fence.
func (x *Outward) Close() {
	x.c.replies.Lock()
	defer x.c.replies.Unlock()
	x.c.outward = nil
}

// Fail fails the circuit, as its guest has written nonsense. Locks of Begin must not be held.
func (x *Outward) Fail() {
	x.fault(EDOWN)
	x.c.shut(EDOWN, failed)
}

// Circuit describes the circuit, but for the exporter's end of it.
func (x *Outward) Circuit() Circuit {
	return Circuit{
		Importer: x.c.node.id, Exporter: x.c.peer.number, Local: x.c.vc, Segment: -1,
		Rights: x.rights, Length: x.c.size, Limit: min(x.c.size, maxCellOffset+1),
		Requests: x.header, Replies: x.header, RequestKey: x.theirs.key, ReplyKey: x.answers.mark.key,
	}
}

// answered is an Operation's Wake.
func (x *Outward) answered() {
	x.news.Store(true)
	x.wake()
}

// News reports whether a request was answered since Begin was called last.
func (x *Outward) News() bool { return x.news.Load() }

// Begin takes the lock, End releases it.
func (x *Outward) Begin() {
	x.mu.Lock()
	x.news.Store(false)
}

// End releases the lock.
func (x *Outward) End() { x.mu.Unlock() }

// Room reports whether another request can be carried.
func (x *Outward) Room() bool { return x.next-x.first < window }

// Carry takes a request, and sends it as soon as the window has room. There must be Room.
func (x *Outward) Carry(index uint64, request *atm.Cell) {
	p := &x.places[x.next%window]
	x.next++
	p.sent = false
	var d demand
	if p.e = x.parse(index, request, &d); p.e == OK {
		p.e = x.begin(p, &d)
	}
	p.op = d.op
	if !p.sent && d.op.posted() {
		x.fault(p.e)
	}
}

// Waiting reports whether of the requests that are carried some have not been sent yet: what is to come behind them must not be begun as if they had.
func (x *Outward) Waiting() bool {
	for i := x.next; i != x.first; i-- {
		if p := &x.places[(i-1)%window]; p.sent {
			return p.o.queued() // those before are sent before
		}
	}
	return false
}

// queued reports whether nothing was sent yet of a request that is over when it is answered.
func (o *Operation) queued() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state.Load() == active && o.left == 0
}

// posted reports whether nobody waits for the reply of a request of a guest's.
func (op Op) posted() bool { return op.reply() == OpAck }

// parse checks a request, and reads it.
func (x *Outward) parse(index uint64, request *atm.Cell, d *demand) Error {
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
	return OK
}

// drop notes that a cell was discarded.
func (x *Outward) drop(request *atm.Cell, why Reason) Error {
	x.c.node.drop(Event{Peer: x.c.peer.number, Cell: request, ID: OpID{Node: uint16(x.c.node.id), VCI: x.c.vc.VCI}, Reason: why})
	return EINVAL
}

// begin makes the same checks as an instruction that traps, and begins the request.
func (x *Outward) begin(p *freight, d *demand) Error {
	right := d.op.right()
	switch {
	case right&^x.rights != 0, d.notify && x.rights&Quiet != 0:
		return EPERM
	case right == Atomic && d.offset%d.n != 0:
		return EALIGN
	case !inside(d.offset, d.n, x.c.size):
		return ERANGE
	}
	r := request{op: d.op, offset: d.offset, n: d.n, swab: 1, notify: d.notify, awaited: true}
	switch d.op {
	case OpWrite:
		copy(p.data[:], d.data)
		r.src = &p.data
	case OpRead:
		clear(p.data[:minData])
		r.dst = &p.data
	case OpNotify:
	default:
		r.width, r.expected, r.operand = uint8(d.n), d.expected, d.operand
	}
	p.n, p.sent = int(d.n), true
	p.o.request = r
	x.c.start(&p.o)
	return OK
}

// Carried looks at the oldest request that is carried, of that index, and forgets it if it is done with. Replied says whether reply has an answer for the
// guest: to all but writes and notifications that have succeeded.
func (x *Outward) Carried(index uint64, reply *atm.Cell) (done, replied bool) {
	if x.first == x.next {
		return false, false
	}
	p := &x.places[x.first%window]
	if p.sent {
		if !p.o.Done() {
			return false, false
		}
		p.e = p.o.Result()
	}
	x.first++
	switch {
	case p.e != OK:
		x.refuse(index, p.e, reply)
	case p.op.posted():
		return true, false
	case p.op == OpRead:
		x.answers.data(index, p.data[:max(p.n, minData)], reply)
	default:
		x.answers.old(index, p.n, p.o.Old(), reply)
	}
	return true, true
}

// Refuse makes the answer that says that the circuit has failed, and leaves that with the descriptor, too.
func (x *Outward) Refuse(index uint64, reply *atm.Cell) {
	x.fault(EDOWN)
	x.refuse(index, EDOWN, reply)
}

// fault leaves an error with the descriptor, behind all that was issued.
func (x *Outward) fault(e Error) {
	x.c.replies.Lock()
	x.c.record(e, x.c.issued)
	x.c.replies.Unlock()
}

// refuse makes the answer that says what was the matter with a request.
func (x *Outward) refuse(index uint64, e Error, reply *atm.Cell) {
	x.answers.refusal(index, e, 0, reply)
}

// Serve is for who carries nothing; see ring.Carrier.
func (x *Outward) Serve(index uint64, _, reply *atm.Cell) bool {
	x.Refuse(index, reply)
	return true
}
