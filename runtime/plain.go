package runtime

import "rmemrun/atm"

// plain reports whether nothing happens to cells on the way of the circuit whose VC at this end is local, now or later, but that they arrive: no
// rate, no delay, no fault, no contract, and no cable that can fail. Then they need not go that way.
func (p *port) plain(local atm.VC) bool {
	f := p.fabric
	if f.events != nil || f.taps {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok := p.circuits[local]
	if !ok || c.terms[0] != nil || c.terms[1] != nil {
		return false
	}
	for _, h := range c.hops {
		if !h.cable.memory() {
			return false
		}
	}
	return true
}

// memory reports whether the cable is a link in memory, which cannot fail.
func (c *cable) memory() bool { return c.ways[0].link != nil && c.ways[1].link != nil }
