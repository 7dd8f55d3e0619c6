package join

import (
	"rmemrun/atm"
	"rmemrun/rmem"
)

// Virtual paths of a node's port, as the node sees it.
//
//	0         control circuits, to all nodes of the job
//	1         circuits that this process has opened over the trunk
//	2         circuits that the other process has opened over the trunk
//	3 + v     virtual path v of the network within this process
//
// That network knows its own nodes only, and numbers them from 0: its control circuits are renamed.
const (
	openedHere  = 1
	openedThere = 2
	localPaths  = 3
)

// A Port joins a node to both networks, the one within its process and the trunk. It is the node's rmem.Network.
type Port struct {
	trunk *Trunk
	id    int
	local rmem.Network
	node  atm.Receiver
	in    atm.Receiver // the port of the trunk's switch
}

// Port makes the port of a node, whose network within the process is local. The node is attached to it before the trunk is started.
func (t *Trunk) Port(id int, local rmem.Network) (*Port, error) {
	p := &Port{trunk: t, id: id, local: local, in: t.sw.Port(1 + id - t.first)}
	t.mu.Lock()
	t.joined[id-t.first] = p
	t.mu.Unlock()
	return p, t.sw.Attach(1+id-t.first, trunkSide{p})
}

// Attach attaches the node.
func (p *Port) Attach(node atm.Receiver) { p.node = node }

// trunkSide takes the cells for the node that come over the trunk.
type trunkSide struct{ p *Port }

// Receive gives the node a cell, unless it is for the network's own management.
func (s trunkSide) Receive(c *atm.Cell) {
	if !c.PT().User() && s.p.manage(c) {
		return
	}
	s.p.node.Receive(c)
}

// Receive takes a cell for the node that comes from the network within the process.
func (p *Port) Receive(c *atm.Cell) {
	if h, ok := c.Header(); ok { // a damaged header is the node's to find
		h.VC = p.outward(h.VC)
		c.SetHeader(h)
	}
	p.node.Receive(c)
}

// outward is a VC of the network within the process as the node sees it.
func (p *Port) outward(vc atm.VC) atm.VC {
	if node := int(vc.VCI) - atm.FirstUserVCI; vc.VPI == 0 && node >= 0 && node < p.trunk.count {
		return atm.VC{VCI: rmem.ControlVCI(p.trunk.first + node)}
	}
	return atm.VC{VPI: vc.VPI + localPaths, VCI: vc.VCI}
}

// inward is a VC that the node sees as the network within the process knows it.
func (p *Port) inward(vc atm.VC) atm.VC {
	if vc.VPI == 0 {
		return atm.VC{VCI: vc.VCI - uint16(p.trunk.first)}
	}
	return atm.VC{VPI: vc.VPI - localPaths, VCI: vc.VCI}
}

// carries reports whether a VC of a node's port leads over the trunk.
func (t *Trunk) carries(vc atm.VC) bool {
	if vc.VPI == 0 {
		return t.isPeers(int(vc.VCI) - atm.FirstUserVCI)
	}
	return vc.VPI < localPaths
}

// Send carries a cell to the other end of its circuit.
func (p *Port) Send(c *atm.Cell) {
	vc := c.VC()
	if p.trunk.carries(vc) {
		p.in.Receive(c)
		return
	}
	if h, ok := c.Header(); ok {
		h.VC = p.inward(vc)
		c.SetHeader(h)
	}
	p.local.Send(c)
}

// Open sets up a circuit.
func (p *Port) Open(peer int) (local, remote atm.VC, err error) {
	if p.trunk.isPeers(peer) {
		return p.trunk.open(p.id, peer)
	}
	local, remote, err = p.local.Open(peer - p.trunk.first)
	if err != nil {
		return atm.VC{}, atm.VC{}, err
	}
	return p.outward(local), p.outward(remote), nil
}

// Close takes a circuit down.
func (p *Port) Close(local atm.VC) {
	if p.trunk.carries(local) {
		p.trunk.close(portVC{p.id, local})
		return
	}
	p.local.Close(p.inward(local))
}

// Peer is the node at the other end of a circuit.
func (p *Port) Peer(local atm.VC) (node int, ok bool) {
	if p.trunk.carries(local) {
		p.trunk.mu.Lock()
		defer p.trunk.mu.Unlock()
		c, ok := p.trunk.byPort[portVC{p.id, local}]
		if !ok {
			return 0, false
		}
		return c.there, true
	}
	node, ok = p.local.Peer(p.inward(local))
	return node + p.trunk.first, ok
}
