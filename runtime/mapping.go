package runtime

import (
	"errors"
	"os"
	"sync/atomic"

	"rmemrun/rmem"
	"rmemrun/trap"
)

// mappingUnit is what mappings are made of: pages, in bytes.
var mappingUnit = uint64(os.Getpagesize())

// maxMappings is how many mappings an address space can have.
const maxMappings = 1<<16 - 1

// address returns where a segment of the address space is.
func (n *node) address(sp *space, seg rmem.Seg) (address, bool) {
	r, e := sp.Record(seg)
	return address{n.id, r}, e == rmem.OK
}

// publish makes shared memory a segment, which can be mapped as soon as it can be imported.
func (n *node) publish(sp *space, name string, shared *trap.Shared, rights rmem.Rights) (rmem.Seg, rmem.Error) {
	n.commons.mu.Lock()
	defer n.commons.mu.Unlock()
	seg, e := sp.Export(name, shared.Bytes, rights)
	if e == rmem.OK {
		if p, ok := n.address(sp, seg); ok {
			n.commons.add(p, shared)
		}
	}
	return seg, e
}

// mapSegment maps a part of what a descriptor reaches into the guest's address space, and returns the address.
func (n *node) mapSegment(c *trap.Call, sp *space) int64 {
	desc, off, length, rights := rmem.Desc(int32(c.P)), c.A, c.C, rmem.Rights(uint32(c.D))
	write := rights&(rmem.Write|rmem.Atomic) != 0
	reach, e := sp.Reach(desc)
	switch {
	case e == rmem.EDESC:
		return int64(rmem.EDESC)
	case length == 0, rights == 0, rights&^access != 0:
		return int64(rmem.EINVAL)
	case rights&^reach.Rights != 0, write && reach.Rights&(rmem.Read|rmem.Atomic) == 0:
		// No processor has pages that can be written and not read.
		return int64(rmem.EPERM)
	case length%mappingUnit != 0:
		return int64(rmem.EALIGN)
	case off > reach.Size, length > reach.Size-off:
		return int64(rmem.ERANGE)
	case e != rmem.OK:
		return int64(e)
	case len(sp.views) >= maxMappings:
		return int64(rmem.ENOSPC)
	}
	v, e := n.commons.begin(address{reach.Node, reach.Record}, desc, off, length, write)
	if e != rmem.OK {
		return int64(e)
	}
	m, err := c.Space.Map(v.of.shared, off, length, write)
	if !n.commons.made(v, m) {
		if m != nil {
			c.Space.Unmap(m)
		}
		n.commons.end(v)
		return int64(rmem.ESTALE)
	}
	if err != nil {
		n.commons.end(v)
		e := mapError(err)
		if !errors.Is(err, trap.ErrGone) { // nobody is left to be told
			n.log.Warn("map refused", "node", reach.Node, "pid", c.Thread.PID(), "reason", err, "result", e.Name())
		}
		return int64(e)
	}
	sp.views = append(sp.views, v)
	return int64(m.Addr())
}

// mapError is what a guest is told when memory cannot be mapped into it.
func mapError(err error) rmem.Error {
	switch {
	case errors.Is(err, trap.ErrAlign):
		return rmem.EALIGN
	case errors.Is(err, trap.ErrNoSpace):
		return rmem.ENOSPC
	case errors.Is(err, trap.ErrGone):
		return rmem.EFAULT
	default: // its process is not fit for it
		return rmem.EINVAL
	}
}

// unmap ends the mapping at an address.
func (n *node) unmap(c *trap.Call, sp *space) int64 {
	for _, v := range sp.views {
		if v.mapping.Addr() == c.V {
			c.Space.Unmap(v.mapping)
			n.commons.end(v)
			sp.views = without(sp.views, v)
			return 0
		}
	}
	return int64(rmem.EINVAL)
}

// blank ends the mappings that were made by a descriptor that is no more. Their addresses stay taken until the guest unmaps them.
func (n *node) blank(c *trap.Call, sp *space, desc rmem.Desc) {
	for _, v := range sp.views {
		if v.desc == desc {
			c.Space.Blank(v.mapping)
			n.commons.end(v)
		}
	}
}

// A revocation is a revoke that waits until nobody can reach the segment by a mapping any more.
type revocation struct {
	seg  rmem.Seg
	done atomic.Bool
}

// revoke ends a segment. It returns false if somebody has mapped it: then the thread is woken when nobody has any more.
//
// The mappings are revoked before the descriptors are: who has been told ESTALE, or EDOWN, finds none.
func (n *node) revoke(c *trap.Call, sp *space, x *execution, seg rmem.Seg) (result int64, done bool) {
	p, ok := n.address(sp, seg)
	if !ok {
		return int64(rmem.EDESC), true
	}
	r := &revocation{seg: seg}
	none := n.commons.revoke(p, func() {
		r.done.Store(true)
		c.Thread.Wake()
	})
	if e := sp.Revoke(seg); e != rmem.OK {
		return int64(e), true // another thread's is under way
	}
	if none {
		return n.revoked(c, sp, seg), true
	}
	x.revocation = r
	return 0, false
}

// revoked gives the memory of a segment that has ended back to the guest alone.
func (n *node) revoked(c *trap.Call, sp *space, seg rmem.Seg) int64 {
	c.Space.Unshare(sp.shared[seg])
	delete(sp.shared, seg)
	if sp.party != nil {
		sp.party.tellShared()
	}
	delete(sp.undelivered, seg)
	return 0
}

// endMappings ends what an address space that has ended has mapped, and what others have mapped of it. The memory of an
// address space that has ended is nobody's any more; it is gone when the last one who has it mapped has lost it.
func (n *node) endMappings(sp *space) {
	for _, v := range sp.views {
		n.commons.end(v)
	}
	sp.views = nil
	for seg := range sp.shared {
		if p, ok := n.address(sp, seg); ok {
			n.commons.revoke(p, nil)
		}
	}
}
