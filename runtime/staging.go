package runtime

import (
	"maps"
	"slices"

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
	all := slices.SortedFunc(maps.Values(g.space.User.(*space).shared), func(a, b *trap.Shared) int { return len(b.Bytes) - len(a.Bytes) })
	for i := range rings.MaxRanges {
		var start, end uint64
		if i < len(all) {
			start = all[i].Addr()
			end = start + uint64(len(all[i].Bytes))
		}
		g.board.SetMapped(i, start, end)
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
