package runtime

import (
	"time"

	rings "rmemrun/ring"
	"rmemrun/trap"
)

// The node as a trap.Patcher: it gives guests the boards that their stubs look at.

// Board gives a guest a board, unless the run has no rings.
func (n *node) Board(s *trap.Space) (fd int, length uint64) {
	g := n.party(s)
	if g == nil {
		return -1, 0
	}
	if err := n.bypasses.provide(g); err != nil {
		n.log.Debug("a program keeps to traps", "pid", s.PID(), "reason", err)
		return -1, 0
	}
	return g.board.File()
}

// party is what an address space has of rings; nil: the run has none.
func (n *node) party(s *trap.Space) *party {
	sp, _ := s.User.(*space)
	if sp == nil {
		return nil
	}
	return sp.party
}

// Placed takes note that the guest has its board. A guest that has no part in the agent's barrier has fences of its own.
func (n *node) Placed(s *trap.Space, _ uint64, expedited bool) {
	if g := n.party(s); g != nil && !expedited {
		g.board.SetFenced()
	}
}

// Threaded takes note that the guest has more than one thread.
func (n *node) Threaded(s *trap.Space) {
	if g := n.party(s); g != nil && g.board != nil {
		g.board.SetThreaded()
	}
}

// helpLimit is how long a thread waits for help that its exporter's guest serves at the moment, or that is carried elsewhere. It asks again.
const helpLimit = 10 * time.Millisecond

// Help serves a ring on behalf of a thread that waits for it.
func (n *node) Help(s *trap.Space, index uint32) {
	g := n.party(s)
	if g == nil {
		return
	}
	b := g.places[index]
	if b == nil {
		return
	}
	// Once in any case: where the exporter's guest has overwritten the head, nothing may look ready.
	h := hold{ring: b.ring()}
	for began := time.Now(); ; {
		done, err := b.ring().Serve(rings.Slots)
		switch {
		case err != nil:
			b.broken()
			return
		case !b.ring().Ready() && !b.ring().Underway(), time.Since(began) >= helpLimit:
			return
		case done == 0:
			h.nap()
		}
	}
}

// Retire has the stubs of a guest leave everything to the trap.
func (n *node) Retire(s *trap.Space) {
	if g := n.party(s); g != nil {
		n.bypasses.retire(g)
	}
}
