package runtime

import "rmemrun/atm"

// PDUs that stay whole. In a job whose links are all links in memory, and which nobody observes, nothing between two nodes looks at the cells of a block, and
// it goes the same way as an atm.Frame: through the same links and switches, which count its cells.

// Frames is an rmem.FrameNetwork's.
func (p *port) Frames(local atm.VC) bool {
	f := p.fabric
	return f.memory && !f.taps && f.events == nil && p.source(local) == nil // of the two VCs either both have a contract or neither
}

// SendFrame carries a PDU towards the other end of its circuit.
func (p *port) SendFrame(f *atm.Frame) {
	if f.VC.VCI >= loopVCI {
		f.Deliver(p.loop.Port(0))
		return
	}
	f.Deliver(p.line)
}

// ReceiveFrame gives the node a PDU that has come to the port. If an alarm may be ended by user cells, it is cut, so that they are seen.
func (p *port) ReceiveFrame(f *atm.Frame) {
	if p.alarmed.Load() > 0 {
		f.Cut(p)
		return
	}
	f.Deliver(p.node)
}

// ReceiveFrame takes a PDU that has come in.
func (g *ingress) ReceiveFrame(f *atm.Frame) { f.Deliver(g.port) }

// ReceiveFrame carries a PDU across.
func (x *crossover) ReceiveFrame(f *atm.Frame) {
	if f.VC == x.sent {
		f.Cut(x)
		return
	}
	f.Deliver(x.to)
}
