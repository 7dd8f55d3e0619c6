package rmem

import "rmemrun/atm"

// Blocks that stay whole. Where the network offers it, a PDU goes over in one piece, as the octets that its cells would have, CRC-32
// included, and is checked as they are. Everything else of the protocol is the same: numbers, order, replies, what is kept and what is sent again.
// What the receiver is given lies in a buffer of the sender's node, in this process, that does not change meanwhile: no guest can reach it.

// A FrameNetwork is a Network that can carry PDUs whole.
type FrameNetwork interface {
	Network

	// Frames reports whether it does so on the circuit whose lower VC at this end is local, which Open has set up: nothing on the way
	// looks at cells. It is so for as long as the circuit is there.
	Frames(local atm.VC) bool

	// SendFrame carries a PDU as Send would carry its cells, one by one.
	SendFrame(f *atm.Frame)
}

// frames is the network for whole PDUs on a circuit, nil if cells have to be sent.
func (n *Node) frames(local atm.VC) FrameNetwork {
	network, ok := n.network.(FrameNetwork)
	if !ok || n.observer != nil || !network.Frames(local) { // an observer sees all cells
		return nil
	}
	return network
}

// ReceiveFrame takes a whole PDU from the network, as Receive would take its cells.
func (n *Node) ReceiveFrame(f *atm.Frame) {
	if n.observer == nil && !n.shut.Load() && len(f.Head) == blockHeader {
		if a := n.circuits.lookup(f.VC); a != nil && a.block && a.receiveFrame(f) {
			return
		}
	}
	f.Cut(n)
}

// receiveFrame is an end's.
func (t *target) receiveFrame(f *atm.Frame) bool {
	t.recv.Lock()
	if t.assembler != nil { // cells came before, and this PDU is joined to them if their last was lost
		t.recv.Unlock()
		return false
	}
	if t.gone.Load() {
		t.drop(f.Last(), NoCircuit)
	} else if uu, err := f.Open(maxPDU); err != nil {
		t.drop(f.Last(), BadPDU)
	} else {
		t.takeBlock(f.Last(), uu, f.Head, f.Body)
	}
	t.recv.Unlock()
	if t.gone.Load() {
		t.tidy()
	}
	return true
}

// receiveFrame is an end's.
func (c *initiator) receiveFrame(f *atm.Frame) bool {
	c.replies.Lock()
	if c.assembler != nil || !c.takesAsIs(f) {
		c.replies.Unlock()
		return false
	}
	if uu, err := f.Open(maxPDU); err != nil {
		c.drop(f.Last(), BadPDU)
	} else {
		c.takeBlock(f.Last(), uu, f.Head, f.Body)
	}
	c.received()
	return true
}

// takesAsIs reports whether the data of a reply are not changed here: they are the target's, who may have to send them
// again. c.replies is held.
func (c *initiator) takesAsIs(f *atm.Frame) bool {
	h, _ := parseHeader(f.Head)
	w := c.awaited(c.theirs.seq(h.low))
	return w == nil || w.swab <= 1
}
