package rmem

import (
	"io"
	"sync/atomic"
)

// A Space is what one address space of the guest has: the segments it exports and the
// descriptors it imported. Its methods may be called by several goroutines at once.
//
// A method with an Operation begins it and returns without waiting. If the
// operation is Done then, its results are there; if not, Wake will be called.
type Space struct {
	node        *Node
	segments    handles[segment]
	descriptors handles[initiator]
	clock       atomic.Uint64 // counts errors that wait for a fence
}

// Export makes mem, memory of the guest that is mapped here too, a segment
// that others can import by name and reach with at most the rights r.
// EINVAL: the name has not 1 to 255 bytes, mem is empty or larger than
// MaxSegment, r has unknown bits or no right at all. EEXIST: the node exports a segment of that name. ENOSPC: the
// table is full.
func (s *Space) Export(name string, mem []byte, r Rights) (Seg, Error) {
	if !validName(name) || len(mem) == 0 || uint64(len(mem)) > MaxSegment || r&access == 0 || r&^(access|Quiet) != 0 {
		return 0, EINVAL
	}
	n := s.node
	g := &segment{name: name, rights: r, mem: mem, size: uint64(len(mem)), space: s}
	g.handle.Store(-1)
	n.enroll(g)
	if e := n.directory.Publish(n.id, name, g.record); e != OK {
		n.strike(g)
		return 0, e
	}
	h, ok := s.segments.add(g)
	if !ok {
		n.directory.Withdraw(n.id, name)
		n.retire(g)
		return 0, ENOSPC
	}
	g.handle.Store(h)
	return Seg(h), OK
}

func validName(name string) bool { return len(name) >= 1 && len(name) <= 255 }

// Revoke ends a segment and all descriptors of it, wherever they are. When it
// returns, nothing touches the memory any more. EDESC: there is no such segment.
func (s *Space) Revoke(seg Seg) Error {
	g := s.segments.remove(int32(seg))
	if g == nil {
		return EDESC
	}
	s.node.directory.Withdraw(s.node.id, g.name)
	s.node.retire(g)
	return OK
}

// Inhibit refuses writes and atomics on a segment with EINHIBIT, or permits them
// again; reads and notifications pass. When it returns, no write that was permitted is under way.
// EDESC: there is no such segment.
func (s *Space) Inhibit(seg Seg, on bool) Error {
	g := s.segments.get(int32(seg))
	if g == nil {
		return EDESC
	}
	g.inhibit(on)
	return OK
}

// Mem is the memory that was given to Export. EDESC: there is no such segment.
func (s *Space) Mem(seg Seg) ([]byte, Error) {
	g := s.segments.get(int32(seg))
	if g == nil {
		return nil, EDESC
	}
	if mem := g.memory(); mem != nil {
		return mem, OK
	}
	return nil, EDESC
}

// Wait finishes o with the oldest notification of a segment, as soon as there is one.
// EDESC: there is no such segment. ESTALE: it was revoked meanwhile. EDOWN: there is
// no notification, and all other nodes are down.
func (s *Space) Wait(o *Operation, seg Seg) {
	g := s.segments.get(int32(seg))
	if g == nil {
		o.refuse(EDESC)
		return
	}
	g.wait(o, s.node.alone)
}

// Import makes a descriptor for a segment of a node, which may be the own one,
// with the rights r; Operation.Handle has it. If there is no such segment,
// it waits for one, or does not. EINVAL: there is no such node, the name has not 1 to 255 bytes, r has
// unknown bits or no right at all. ENOENT: no such segment. EPERM: not all of r is granted. EDOWN: the node is gone.
// ENOSPC: there are no circuits or no descriptors left.
func (s *Space) Import(o *Operation, name string, node int, r Rights, wait bool) {
	if node < 0 || node >= len(s.node.down) || !validName(name) || r == 0 || r&^access != 0 {
		o.refuse(EINVAL)
		return
	}
	use := o.begin()
	im := &importing{space: s, o: o, use: use, name: name, node: node, rights: r, wait: wait}
	o.parked = im
	im.try()
	o.settle(use)
}

// newInitiator opens a circuit to where a segment is.
func (s *Space) newInitiator(im *importing) (*initiator, Error) {
	local, remote, err := s.node.network.Open(im.node)
	if err != nil {
		s.node.log.Debug("no circuit for an import", "segment", im.name, "node", im.node, "error", err)
		return nil, ENOSPC
	}
	c := &initiator{node: s.node, space: s, peer: s.node.peer(im.node), name: im.name, vc: local, remote: remote}
	c.credit = credit{window, creditKilobytes}
	c.parts.whole = s.node.frames(local)
	c.timer = timer{clock: s.node.clock, expire: c.expire}
	if !s.node.adopt(c) {
		s.node.network.Close(local)
		s.node.log.Error("the network gave out a circuit that is in use", "vc", local.String(), "node", im.node)
		return nil, ENOSPC
	}
	return c, OK
}

// Release gives a descriptor back, after all that was asked for through it
// has been answered; the result is as that of Fence. EDESC: there is no such descriptor. Operations
// that others begin meanwhile end with EDESC.
func (s *Space) Release(o *Operation, d Desc) {
	c := s.descriptors.get(int32(d))
	if c == nil {
		o.refuse(EDESC)
		return
	}
	use := o.begin()
	o.barrier = barrier{d, true}
	s.await(o, use, c)
}

// Fence finishes o when all that was asked for through d, or through Every
// descriptor of the space, has taken effect or been refused. The result is the first error
// that was not reported yet: of writes and notifications that the far side refused, of
// asynchronous reads. Errors of several descriptors are reported by one fence each, the
// oldest first. EDESC: there is no such descriptor.
func (s *Space) Fence(o *Operation, d Desc) {
	if d == Every {
		use := o.begin()
		o.barrier = barrier{d, false}
		s.await(o, use, s.circuits()...)
		return
	}
	c := s.descriptors.get(int32(d))
	if c == nil {
		o.refuse(EDESC)
		return
	}
	if e, quiet := c.quiet(); quiet {
		o.refuse(e)
		return
	}
	use := o.begin()
	o.barrier = barrier{d, false}
	s.await(o, use, c)
}

// request checks what is the same for all operations through a descriptor, and returns its circuit.
func (s *Space) request(o *Operation, d Desc, need Rights, notify bool) *initiator {
	c := s.descriptors.get(int32(d))
	switch {
	case c == nil:
		o.refuse(EDESC)
	case need&^c.rights != 0, notify && c.rights&Quiet != 0:
		o.refuse(EPERM)
	default:
		return c
	}
	return nil
}

// bulk checks the arguments of a read or write; false: o is done.
func (c *initiator) bulk(o *Operation, off, n uint64, width uint8) bool {
	switch {
	case width != 1 && width != 2 && width != 4 && width != 8:
		o.refuse(EINVAL)
	case n%uint64(width) != 0:
		o.refuse(EALIGN)
	case n == 0:
		o.refuse(OK)
	case !inside(off, n, c.size):
		o.refuse(ERANGE)
	default:
		return true
	}
	return false
}

// Write copies n bytes of src to offset off of the segment behind d; the bytes of
// each word of swab bytes, 2, 4 or 8, are reversed; 1: none. If notify is
// true, the segment's owner is notified afterwards.
//
// It is done when src may be changed again: what the far side refuses is
// reported by the next Fence. Up to MaxCell bytes travel in one cell and are
// deposited together. A longer write that is refused changes nothing either, with one
// exception: if the segment is revoked or inhibited, or the
// circuit fails, while it is under way, what was deposited by then stays. The same holds if it is cancelled.
//
// EDESC: there is no such descriptor. EPERM: the right Write was not granted, or notify is true
// and the segment is Quiet. EALIGN: n is not a multiple of swab. ERANGE: not within the
// segment. EDOWN: the circuit has failed. EFAULT: src failed. EINVAL: no such swab.
func (s *Space) Write(o *Operation, d Desc, off uint64, src io.ReaderAt, n uint64, swab uint8, notify bool) {
	c := s.request(o, d, Write, notify)
	if c == nil || !c.bulk(o, off, n, swab) {
		return
	}
	var first *stage
	if n > MaxBlock && !c.down() {
		if first = newStage(src, n); first == nil {
			o.refuse(EFAULT)
			return
		}
	}
	o.request = request{op: OpWrite, offset: off, n: n, src: src, stage: first, swab: swab, notify: notify}
	c.start(o)
}

// Read copies n bytes at offset off of the segment behind d to dst, with the
// bytes of each word reversed as Write does. If async is true, it is done
// when it is posted, and the next Fence waits for the data and reports the error; dst is written until then.
//
// The errors are those of Write, with the right Read; EFAULT: dst failed. ESTALE: the segment was revoked.
// A long read that fails may have changed dst in part.
func (s *Space) Read(o *Operation, d Desc, off uint64, dst io.WriterAt, n uint64, swab uint8, async bool) {
	c := s.request(o, d, Read, false)
	if c == nil || !c.bulk(o, off, n, swab) {
		return
	}
	o.request = request{op: OpRead, offset: off, n: n, dst: dst, swab: swab, async: async}
	c.start(o)
}

// CAS compares the word of width bytes, 4 or 8, at offset off with expected and, if
// they are equal, replaces it by desired, atomically; Operation.Old is what was there. Of a word
// of 4 bytes, the lower half of the arguments counts. Only if it
// was carried out, equal or not, and notify is true, the owner is notified.
//
// EDESC, EPERM: as Write, with the right Atomic. EALIGN: off, or its address at the
// owner, is no multiple of width. ERANGE, EDOWN, ESTALE, EINHIBIT as Write, but reported at once. EINVAL: no such width.
func (s *Space) CAS(o *Operation, d Desc, off uint64, width uint8, expected, desired uint64, notify bool) {
	s.atomic(o, d, request{op: OpCAS, offset: off, width: width, expected: expected, operand: desired, notify: notify})
}

// FAdd adds addend to a word atomically; otherwise it is as CAS.
func (s *Space) FAdd(o *Operation, d Desc, off uint64, width uint8, addend uint64, notify bool) {
	s.atomic(o, d, request{op: OpFAdd, offset: off, width: width, operand: addend, notify: notify})
}

// Swap replaces a word by value atomically; otherwise it is as CAS.
func (s *Space) Swap(o *Operation, d Desc, off uint64, width uint8, value uint64, notify bool) {
	s.atomic(o, d, request{op: OpSwap, offset: off, width: width, operand: value, notify: notify})
}

func (s *Space) atomic(o *Operation, d Desc, r request) {
	c := s.request(o, d, Atomic, r.notify)
	if c == nil {
		return
	}
	r.n = uint64(r.width)
	switch {
	case r.width != 4 && r.width != 8:
		o.refuse(EINVAL)
	case r.offset%r.n != 0:
		o.refuse(EALIGN)
	case !inside(r.offset, r.n, c.size):
		o.refuse(ERANGE)
	default:
		o.request = r
		c.start(o)
	}
}

// Notify notifies the owner of the segment behind d, naming the offset off, and changes
// nothing. It is done when it is sent; what the far side refuses is reported by the next Fence.
// EDESC, EDOWN: as Write. EPERM: the segment is Quiet. ERANGE: off is behind the end of the segment.
func (s *Space) Notify(o *Operation, d Desc, off uint64) {
	c := s.request(o, d, 0, true)
	switch {
	case c == nil:
	case !inside(off, 0, c.size):
		o.refuse(ERANGE)
	default:
		o.request = request{op: OpNotify, offset: off, notify: true}
		c.start(o)
	}
}

// Close ends the address space: all segments are revoked, all descriptors
// released without waiting, and errors that no fence has reported are logged.
// Operations that are not Done end with EDESC or, those that wait, ESTALE.
func (s *Space) Close() {
	s.segments.close()
	s.descriptors.close()
	for _, h := range s.segments.all() {
		s.Revoke(Seg(h.handle))
	}
	for _, h := range s.descriptors.all() {
		if c := s.descriptors.remove(h.handle); c != nil {
			s.unreported(c, c.discard())
		}
	}
	s.node.mu.Lock()
	delete(s.node.spaces, s)
	s.node.mu.Unlock()
}
