package runtime

import (
	rings "rmemrun/ring"
	"rmemrun/trap"
)

// Staging is what an address space has for the sources of its block writes: its stubs copy them there, before they trap. It belongs to the space's engine thread.
type staging struct {
	memory *rings.Staging // nil: there is none
	longs  int            // block writes that trapped with a source that has to be read in the guest
}

// long takes note of a block write that has trapped, and gives the guest staging memory in time.
func (k *bypasses) long(c *trap.Call, n *node, sp *space) {
	g := sp.party
	if g.memory != nil || g.longs >= usesBefore || c.C > rings.MaxStaged || c.Memory(c.V).Readable(c.C) {
		return
	}
	if g.longs++; g.longs < usesBefore {
		return
	}
	if err := k.stage(c, g); err != nil {
		k.log.Debug("sources of blocks are not staged", "node", n.id, "pid", c.Thread.PID(), "reason", err)
	}
}

// stage maps staging memory into the guest.
func (k *bypasses) stage(c *trap.Call, g *party) error {
	k.mu.Lock()
	retired := g.retired
	k.mu.Unlock()
	if retired {
		return errRetired
	}
	if err := k.provide(g); err != nil {
		return err
	}
	m, err := rings.NewStaging()
	if err != nil {
		return err
	}
	fd, length := m.File()
	addr, err := c.Space.MapFile(fd, 0, length, true)
	if err != nil {
		m.Close()
		return err
	}
	g.memory = m
	g.board.SetStaging(addr)
	return nil
}

// tellShared tells the guest's stubs which memory is mapped here, too: of more segments than the board has room for, the longest.
func (g *party) tellShared() {
	if g.board == nil {
		return
	}
	var longest extents
	for _, m := range g.space.User.(*space).shared {
		longest.add(extent{m.Addr(), uint64(len(m.Bytes))})
	}
	for i, e := range longest {
		g.board.SetMapped(i, e.addr, e.addr+e.length)
	}
}

// An extent is a range of a guest's memory; of no length: none.
type extent struct{ addr, length uint64 }

// before reports whether e comes first: it is longer, or as long and at a lower address.
func (e extent) before(o extent) bool {
	return e.length > o.length || e.length == o.length && e.addr < o.addr
}

// extents are the first of those that were added, in order.
type extents [rings.MaxRanges]extent

// add adds one. It takes no time to speak of, whatever was added before: a guest may have any number.
func (all *extents) add(e extent) {
	for i := range all {
		if e.before(all[i]) {
			e, all[i] = all[i], e
		}
	}
}

// Staged is the source of a write that a stub has copied.
func (n *node) Staged(s *trap.Space, frame, length uint64) (source []byte, processor int) {
	if g := n.party(s); g != nil && g.memory != nil {
		return g.memory.Source(frame, length), g.memory.Processor()
	}
	return nil, -1
}

// Unstage lets others use what a stub has copied a source to.
func (n *node) Unstage(s *trap.Space, frame uint64) {
	if g := n.party(s); g != nil && g.memory != nil {
		g.memory.Release(frame)
	}
}
