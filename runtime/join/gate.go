package join

import (
	"sync"

	"rmemrun/atm"
)

// heldCells is how many cells wait in a gate; more are dropped.
const heldCells = 4096

// A gate lets cells through to the link, but holds those of control circuits back while an OPEN has not been acknowledged, since what
// they say may rely on it.
type gate struct {
	link atm.Receiver

	mu      sync.Mutex
	closing int    // OPENs that have no number yet
	last    uint32 // the number of the last OPEN
	base    uint32 // messages before this one have been acknowledged
	waiting bool   // the last OPEN is not acknowledged
	held    []atm.Cell
	dropped uint64
}

// Receive lets a cell through, or holds it.
func (g *gate) Receive(c *atm.Cell) {
	if c.VC().VPI < trunkControl {
		g.link.Receive(c)
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closing == 0 && !g.waiting:
		g.link.Receive(c)
	case len(g.held) < heldCells:
		g.held = append(g.held, *c)
	default:
		g.dropped++
	}
}

// discarded is how many cells were dropped because too many waited.
func (g *gate) discarded() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.dropped
}

// close closes the gate: an OPEN is about to be sent.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closing++
}

// until opens the gate when the message of that number is acknowledged. ok false: it was not sent, as the channel has ended.
func (g *gate) until(number uint32, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closing--
	if ok {
		g.last, g.waiting = number, true
	}
	g.look()
}

// acknowledged is told that messages before base have been acknowledged.
func (g *gate) acknowledged(base uint32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.base = base
	g.look()
}

// look opens the gate if it can be. g.mu is held.
func (g *gate) look() {
	if g.waiting && int32(g.base-g.last) > 0 {
		g.waiting = false
	}
	if g.waiting || g.closing > 0 {
		return
	}
	for i := range g.held {
		g.link.Receive(&g.held[i])
	}
	g.held = nil
}
