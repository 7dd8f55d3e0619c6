package runtime

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	"rmemrun/decode"
	rings "rmemrun/ring"
	"rmemrun/rmem"
	"rmemrun/trap"
)

// A space is what a node keeps of one guest address space.
type space struct {
	*rmem.Space
	party  *party // nil: it has no rings
	shared map[rmem.Seg]*trap.Shared
	views  []*view // what it has mapped of others
	// undelivered holds events whose wait named memory that could not be written. They go to the next wait.
	undelivered map[rmem.Seg]rmem.Notification
}

// An execution is the instruction that one thread is executing. It stays with the thread and is used again for its next
// instruction, so that an instruction costs no allocation.
type execution struct {
	op   rmem.Operation
	tag  uint64
	name string // the segment's, for events

	revocation *revocation // that a revoke waits for; nil: none
}

// interrupted is what an operation is cancelled with when nobody will see its result.
const interrupted = rmem.ETIMEDOUT

// Begin makes the node's side of a new address space: no segments, no descriptors.
func (n *node) Begin(s *trap.Space) {
	sp := &space{Space: n.rmem.NewSpace(), shared: map[rmem.Seg]*trap.Shared{}}
	if n.bypasses != nil {
		n.bypasses.begin(s, sp)
	}
	s.User = sp
}

// End revokes and releases all that the address space had.
func (n *node) End(s *trap.Space) {
	sp := s.User.(*space)
	if sp.party != nil {
		n.instructions += n.bypasses.leave(sp)
	}
	if n.slow {
		n.settle(sp)
	}
	n.endMappings(sp)
	sp.Close()
	for _, m := range sp.shared {
		s.Unshare(m)
	}
}

// settle waits until what an address space that has ended has written is answered: a write needs no fence to arrive. The wait ends in any case,
// as rmem gives up a peer that is silent for too long.
func (n *node) settle(sp *space) {
	answered := make(chan struct{})
	op := rmem.Operation{Wake: func() { close(answered) }}
	sp.Fence(&op, rmem.Every)
	if !op.Done() {
		<-answered
	}
	if err := op.Result(); err != rmem.OK {
		n.log.Warn("an error that no fence asked for: something sent was refused or lost", "error", err.Name(), "meaning", err)
	}
}

// Execute carries out one instruction, or goes on with one that slept.
func (n *node) Execute(c *trap.Call) {
	x := n.execution(c)
	sp := c.Space.User.(*space)
	switch c.Cause {
	case trap.First:
		n.instructions++
		if n.events != nil {
			n.trapped(c, x)
		}
		if sp.party != nil && sp.party.changed.Load() {
			n.bypasses.update(c, sp)
		}
		if result, done := n.begin(c, sp, x); done {
			c.Return(result)
			return
		}
	case trap.Woken:
	case trap.Expired:
		x.op.Cancel(rmem.ETIMEDOUT)
	case trap.Interrupted:
		if x.op.Cancel(interrupted) {
			n.instructions-- // it is counted when it runs again
			if n.events != nil {
				n.events.emit(n.guestEvent(Restart, c, time.Now()))
			}
			return
		}
	case trap.Gone:
		x.op.Cancel(interrupted)
		x.revocation = nil
		return
	}
	if r := x.revocation; r != nil {
		if !r.done.Load() {
			c.Sleep(time.Time{}, false)
			return
		}
		x.revocation = nil
		c.Return(n.revoked(c, sp, r.seg))
		return
	}
	if !x.op.Done() {
		c.Sleep(c.Deadline, restartable(c.Inst.Op))
		return
	}
	n.finish(c, sp, x)
}

// execution returns the thread's execution, making it at its first instruction.
func (n *node) execution(c *trap.Call) *execution {
	if x, ok := c.State.(*execution); ok {
		return x
	}
	x := new(execution)
	x.op.Wake = c.Thread.Wake
	c.State = x
	return x
}

// restartable reports whether an operation that sleeps may be given up for a signal and begun again: one that waits for
// other guests, for as long as they like, and whose beginning has no effect of its own. The others wait for the network
// alone, and a second beginning would be a second effect.
func restartable(op decode.Op) bool {
	return op == decode.Import || op == decode.Wait || op == decode.Fence
}

// begin begins the operation of c. Done reports that there is nothing to wait for, and result is what it returns;
// otherwise x.op is done, or will be.
func (n *node) begin(c *trap.Call, sp *space, x *execution) (result int64, done bool) {
	seg, desc := rmem.Seg(int32(c.P)), rmem.Desc(int32(c.P))
	width, notify := c.Inst.Width, c.Inst.Flags&decode.FlagNotify != 0
	o := &x.op
	if sp.party != nil {
		n.past(c, sp, seg, desc)
	}
	switch c.Inst.Op {
	case decode.Node:
		return int64(n.id), true
	case decode.Nodes:
		return int64(n.nodes), true
	case decode.Poll:
		return poll(), true
	case decode.Export:
		return n.export(c, sp), true
	case decode.Revoke:
		return n.revoke(c, sp, x, seg)
	case decode.Inhibit:
		e, on := sp.Inhibit(seg, int32(c.V) != 0), int32(c.V) != 0
		if p, ok := n.address(sp, seg); ok {
			n.commons.inhibit(p, on)
		}
		return int64(e), true
	case decode.Map:
		return n.mapSegment(c, sp), true
	case decode.Unmap:
		return n.unmap(c, sp), true

	case decode.Write:
		sp.Write(o, desc, c.A, c.Memory(c.V), c.C, width, notify)
	case decode.Read:
		if c.Inst.Flags&decode.FlagAsync != 0 { // its memory outlives the instruction
			sp.Read(o, desc, c.A, c.Space.Memory(c.V), c.C, width, true)
		} else {
			sp.Read(o, desc, c.A, c.Memory(c.V), c.C, width, false)
		}
	case decode.CAS:
		sp.CAS(o, desc, c.A, width, c.D, c.V, notify)
	case decode.FAdd:
		sp.FAdd(o, desc, c.A, width, c.V, notify)
	case decode.Swap:
		sp.Swap(o, desc, c.A, width, c.V, notify)
	case decode.Notify:
		sp.Notify(o, desc, c.A)
	case decode.Fence:
		sp.Fence(o, desc)
	case decode.Release:
		sp.Release(o, desc)

	case decode.Import:
		name, e := readName(c)
		if e != rmem.OK {
			return int64(e), true
		}
		timeout := int32(c.V)
		setDeadline(c, timeout)
		sp.Import(o, name, int(int32(c.A)), rmem.Rights(uint32(c.D)), timeout != 0)
	case decode.Wait:
		if event, ok := sp.undelivered[seg]; ok {
			delete(sp.undelivered, seg)
			if sp.party != nil {
				n.bypasses.keep(sp, seg, false)
			}
			return n.deliver(c, sp, event), true
		}
		timeout := int32(c.A)
		setDeadline(c, timeout)
		sp.Wait(o, seg)
		if timeout == 0 {
			o.Cancel(rmem.ETIMEDOUT)
		}
	default: // decode gives no other
		return int64(rmem.EINVAL), true
	}
	return 0, false
}

// past has done what the guest has posted past the node, and what stubs do at segments, before an instruction that comes after that begins.
func (n *node) past(c *trap.Call, sp *space, seg rmem.Seg, desc rmem.Desc) {
	switch c.Inst.Op {
	case decode.Write, decode.Read, decode.CAS, decode.FAdd, decode.Swap, decode.Notify:
		if c.Inst.Op == decode.Write && c.C >= rings.MinStaged {
			n.bypasses.long(c, n, sp)
		}
		if !n.bypasses.drain(c, sp, desc) {
			n.bypasses.used(c, n, sp, desc)
		}
	case decode.Fence:
		n.bypasses.drain(c, sp, desc)
	case decode.Wait:
		n.bypasses.drainTo(c, sp, seg)
	case decode.Release:
		n.instructions += n.bypasses.shut(c, sp, desc)
	case decode.Revoke:
		n.bypasses.withdraw(c, sp, seg)
	case decode.Inhibit:
		n.bypasses.inhibit(c, sp, seg, int32(c.V) != 0)
	}
}

// finish returns the result of the operation, which is done, to the guest.
func (n *node) finish(c *trap.Call, sp *space, x *execution) {
	e := x.op.Result()
	if c.Inst.Op == decode.Release && e != rmem.EDESC && len(sp.views) > 0 {
		n.blank(c, sp, rmem.Desc(int32(c.P)))
	}
	switch op := c.Inst.Op; {
	case e != rmem.OK:
		c.Return(int64(e))
	case op.Atomic():
		c.ReturnOld(0, x.op.Old())
	case op == decode.Import:
		c.Return(int64(x.op.Handle()))
	case op == decode.Wait:
		c.Return(n.deliver(c, sp, x.op.Event()))
	default:
		c.Return(0)
	}
}

// setDeadline gives an instruction that has just begun its deadline, timeout milliseconds from now, unless timeout is
// negative, for ever, or a signal has interrupted the instruction, which then keeps the deadline that it had.
func setDeadline(c *trap.Call, timeout int32) {
	if timeout > 0 && c.Deadline.IsZero() {
		c.Deadline = time.Now().Add(time.Duration(timeout) * time.Millisecond)
	}
}

// maxName is the length, in bytes, of the longest segment name.
const maxName = 255

// readName reads the name that c exports or imports.
func readName(c *trap.Call) (string, rmem.Error) {
	if c.C == 0 || c.C > maxName {
		return "", rmem.EINVAL
	}
	name := make([]byte, c.C)
	if _, err := c.Space.Read(c.P, name); err != nil {
		return "", rmem.EFAULT
	}
	return string(name), rmem.OK
}

// access is the rights that let an importer do something; an export has at least one of them.
const access = rmem.Read | rmem.Write | rmem.Atomic

// export shares the guest's memory with the node and makes it a segment.
func (n *node) export(c *trap.Call, sp *space) int64 {
	base, length, rights := c.V, c.A, rmem.Rights(uint32(c.D))
	name, e := readName(c)
	if e != rmem.OK {
		return int64(e)
	}
	if length == 0 || length > math.MaxInt64 || rights&access == 0 || rights&^(access|rmem.Quiet) != 0 {
		return int64(rmem.EINVAL)
	}
	shared, err := c.Space.Share(base, length, rights&(rmem.Write|rmem.Atomic) != 0)
	if err != nil {
		e := shareError(err)
		if !errors.Is(err, trap.ErrGone) { // nobody is left to be told
			n.log.Warn("export refused", "segment", name, "pid", c.Thread.PID(), "reason", err, "result", e.Name())
		}
		return int64(e)
	}
	seg, e := n.publish(sp, name, shared, rights)
	if e != rmem.OK {
		c.Space.Unshare(shared)
		return int64(e)
	}
	sp.shared[seg] = shared
	if sp.party != nil {
		sp.party.tellShared()
	}
	return int64(seg)
}

// shareError is what a guest is told when its memory cannot be shared.
func shareError(err error) rmem.Error {
	switch {
	case errors.Is(err, trap.ErrUnmapped), errors.Is(err, trap.ErrAccess), errors.Is(err, trap.ErrWrap), errors.Is(err, trap.ErrGone):
		return rmem.EFAULT
	case errors.Is(err, trap.ErrNoSpace):
		return rmem.ENOSPC
	default: // a stack, a shared mapping
		return rmem.EINVAL
	}
}

// eventSize is the size, in bytes, of an event in the guest's memory:
//
//	 0      4      8        16       24       32
//	+------+------+--------+--------+--------+
//	| node | op   | offset | len    | count  |   little endian
//	+------+------+--------+--------+--------+
const eventSize = 32

// deliver writes the event that a wait has taken into the guest's memory. If it cannot be written the event is kept for
// the next wait: none is ever lost.
func (n *node) deliver(c *trap.Call, sp *space, event rmem.Notification) int64 {
	var b [eventSize]byte
	binary.LittleEndian.PutUint32(b[0:], uint32(event.Node))
	binary.LittleEndian.PutUint32(b[4:], uint32(event.Op))
	binary.LittleEndian.PutUint64(b[8:], event.Offset)
	binary.LittleEndian.PutUint64(b[16:], event.Len)
	binary.LittleEndian.PutUint64(b[24:], event.Count)
	if _, err := c.Space.Write(c.V, b[:]); err != nil {
		if sp.undelivered == nil {
			sp.undelivered = map[rmem.Seg]rmem.Notification{}
		}
		sp.undelivered[rmem.Seg(int32(c.P))] = event
		if sp.party != nil {
			n.bypasses.keep(sp, rmem.Seg(int32(c.P)), true)
		}
		return int64(rmem.EFAULT)
	}
	return 0
}
