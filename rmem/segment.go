package rmem

import (
	"slices"
	"sync"
	"sync/atomic"
)

// A segment is memory of the node's guest that others may reach.
type segment struct {
	name   string
	rights Rights
	record Record
	size   uint64
	space  *Space
	handle atomic.Int32 // its Seg; -1: it has none yet

	// Requests hold mu for reading while they touch the memory. Who holds it
	// for writing knows that nobody does.
	mu        sync.RWMutex
	mem       []byte // nil once revoked
	inhibited bool

	bell    sync.Mutex
	closed  bool      // revoked: nobody may wait
	first   *ring     // what has been notified and not waited for, oldest first
	last    *ring     //
	orphans []*ring   // those of circuits that are gone, at most one a peer
	waiters []waiting // Wait, oldest first
	directs []*Direct // that lead here
}

// A ring is what one circuit has notified since somebody waited.
type ring struct {
	Notification
	queued bool
	next   *ring
}

// waiting is an operation that waits in a list, in a certain use of it.
type waiting struct {
	o   *Operation
	use uint64
}

// A demand is what a request wants of a segment.
type demand struct {
	op       Op
	notify   bool
	offset   uint64
	n        uint64 // bytes concerned
	whole    uint64 // bytes of the block from here on, n at least
	data     []byte // to be written; or, n long, for what is read
	expected uint64
	operand  uint64
}

// right is what an operation needs. A notification without data needs none in particular.
func (op Op) right() Rights {
	switch op {
	case OpWrite, OpWriteShort:
		return Write
	case OpRead:
		return Read
	case OpCAS, OpFAdd, OpSwap:
		return Atomic
	}
	return 0
}

// inside reports whether n bytes at offset are within size, without wrapping.
func inside(offset, n, size uint64) bool { return offset <= size && n <= size-offset }

// access carries out what a circuit with the given rights asks for, or refuses it and
// changes nothing. It returns what an atomic found.
func (s *segment) access(d *demand, granted Rights) (old uint64, e Error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.perform(d, granted)
}

// perform is access with s.mu held.
func (s *segment) perform(d *demand, granted Rights) (old uint64, e Error) {
	if e := s.check(d, granted); e != OK {
		return 0, e
	}
	mem := s.mem[d.offset : d.offset+d.n]
	switch d.op {
	case OpWrite, OpWriteShort:
		deposit(mem, d.data)
	case OpRead:
		collect(d.data, mem)
	case OpCAS, OpFAdd, OpSwap:
		old = atomically(d.op, mem, int(d.n), d.expected, d.operand)
	}
	return old, OK
}

// check is the check that counts: made where the memory is, under its lock, believing nothing.
func (s *segment) check(d *demand, granted Rights) Error {
	right := d.op.right()
	switch {
	case s.mem == nil:
		return ESTALE
	case right&^granted != 0, d.notify && s.rights&Quiet != 0:
		return EPERM
	case s.inhibited && right&(Write|Atomic) != 0:
		return EINHIBIT
	case right == Atomic && (d.offset%d.n != 0 || (uint64(address(s.mem))+d.offset)%d.n != 0):
		return EALIGN
	case !inside(d.offset, d.whole, s.size):
		return ERANGE
	}
	return OK
}

// inhibit refuses writes and atomics, or permits them again. When it returns,
// none that was permitted is under way.
func (s *segment) inhibit(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inhibited = on
}

// revoke ends the segment. When it returns, nothing touches the memory any more.
func (s *segment) revoke() {
	s.mu.Lock()
	s.mem = nil
	s.mu.Unlock()

	s.bell.Lock()
	defer s.bell.Unlock()
	s.closed = true
	s.first, s.last, s.orphans = nil, nil, nil
	s.tell()
	s.wake(ESTALE)
}

// memory is the segment's memory, nil once it is revoked.
func (s *segment) memory() []byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.mem
}

// The numbers of operations in Notification.Op: those of the instruction set.
var instruction = [opCount]uint32{OpWrite: 6, OpWriteShort: 6, OpCAS: 8, OpFAdd: 9, OpSwap: 10, OpNotify: 12}

// notify tells the owner of an access through r's circuit. It wakes who waits, else
// the notification is kept.
func (s *segment) notify(r *ring, peer int, op Op, offset, n uint64) {
	s.bell.Lock()
	defer s.bell.Unlock()
	if s.closed {
		return
	}
	s.ring(r, Notification{Node: uint32(peer), Op: instruction[op], Offset: offset, Len: n, Count: 1})
	for s.first != nil && len(s.waiters) > 0 {
		w := s.waiters[0]
		s.waiters = slices.Delete(s.waiters, 0, 1)
		if w.o.complete(w.use, OK, s) {
			s.pop()
		}
	}
}

// give is what a finished Wait gets. It is a result.
func (s *segment) give(o *Operation) { o.event = s.first.Notification }

// ring merges n into r, and queues r if it is not queued. s.bell is held.
func (s *segment) ring(r *ring, n Notification) {
	if r.queued {
		end := max(r.Offset+r.Len, n.Offset+n.Len)
		r.Offset = min(r.Offset, n.Offset)
		r.Len = end - r.Offset
		r.Op = n.Op
		r.Count += n.Count
		return
	}
	r.Notification, r.queued, r.next = n, true, nil
	if s.first == nil {
		s.first = r
		s.tell()
	} else {
		s.last.next = r
	}
	s.last = r
}

// pop takes the first off the queue. s.bell is held.
func (s *segment) pop() {
	r := s.first
	s.first = r.next
	if s.first == nil {
		s.tell()
	}
	r.queued, r.next = false, nil
	s.orphans = slices.DeleteFunc(s.orphans, func(o *ring) bool { return o == r })
}

// orphan keeps what a circuit has notified that is gone. However many
// circuits come and go, one ring a peer is kept.
func (s *segment) orphan(r *ring) {
	s.bell.Lock()
	defer s.bell.Unlock()
	if s.closed || !r.queued {
		return
	}
	for _, o := range s.orphans {
		if o.Node == r.Node {
			s.unlink(r)
			s.ring(o, r.Notification)
			return
		}
	}
	s.orphans = append(s.orphans, r)
}

// unlink takes r out of the queue, wherever it is. s.bell is held.
func (s *segment) unlink(r *ring) {
	var before *ring
	for q := s.first; q != r; q = q.next {
		before = q
	}
	if before == nil {
		s.first = r.next
	} else {
		before.next = r.next
	}
	if s.last == r {
		s.last = before
	}
	r.queued, r.next = false, nil
}

// wait finishes o with the oldest notification, or lets it wait for one; alone
// says whether nobody is left who could notify.
func (s *segment) wait(o *Operation, alone func() bool) {
	s.bell.Lock()
	switch {
	case s.closed:
		o.refuse(ESTALE)
	case s.first != nil:
		o.event = s.first.Notification
		s.pop()
		o.refuse(OK)
	case alone():
		o.refuse(EDOWN)
	default:
		use := o.begin()
		o.parked = s
		s.waiters = append(s.waiters, waiting{o, use})
		defer o.settle(use)
	}
	s.bell.Unlock()
}

// deserted finishes all who wait: nobody is left who could notify.
func (s *segment) deserted() {
	s.bell.Lock()
	defer s.bell.Unlock()
	s.wake(EDOWN)
}

// wake finishes all who wait with e. s.bell is held.
func (s *segment) wake(e Error) {
	for _, w := range s.waiters {
		w.o.complete(w.use, e, nil)
	}
	s.waiters = nil
}

// forget is a parker's.
func (s *segment) forget(o *Operation, use uint64) {
	s.bell.Lock()
	defer s.bell.Unlock()
	s.waiters = slices.DeleteFunc(s.waiters, func(w waiting) bool { return w.o == o && w.use == use })
}
