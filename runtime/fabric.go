package runtime

import (
	"fmt"
	"sync"

	"rmemrun/atm"
	"rmemrun/rmem"
)

// A fabric is the network of a job: each node has a port, and the ports are joined by links in memory, two back to back, more
// by a switch.
//
//	           ┌── loop ──┐                              1 node:  the loop is all there is
//	           │  VCI ≥   │
//	node ── port  loopVCI └─ back to the same node       2 nodes: port ── crossover ── port
//	           │
//	           └── line ── the other nodes               n nodes: port ── link ── switch ── link ── port
//
// A circuit from a node to itself is looped within its port, by a switch of one port, so that it has two ends with
// a VC each as any other.
type fabric struct {
	ports  []*port
	middle *atm.Switch // nil unless there are more than two nodes

	mu sync.Mutex // over circuits and free VCs of all ports
}

// A port is what joins one node to the network: its rmem.Network.
type port struct {
	fabric  *fabric
	id      int
	node    atm.Receiver
	control atm.VC       // of the node's control circuit to itself
	line    atm.Receiver // to the other nodes; nil if there are none
	loop    *atm.Switch  // to itself

	circuits map[atm.VC]end // by the VC here: the other end. Guarded by fabric.mu
	lines    *vcis          // free on the line; shared by both ports where they are back to back
	loops    *vcis          // free in the loop
}

// An end is one end of a circuit.
type end struct {
	port *port
	vc   atm.VC
}

// loopVCI is the lowest VCI of circuits that are looped within their port.
const loopVCI = 0xc000

// newFabric makes the network of a number of nodes, with the control circuits between all of them.
func newFabric(nodes int) (*fabric, error) {
	f := &fabric{}
	user := (atm.FirstUserVCI + nodes + 1) &^ 1
	for id := range nodes {
		p := &port{
			fabric: f, id: id, control: controlVC(id), circuits: map[atm.VC]end{},
			loop: atm.NewSwitch(1), lines: newVCIs(user, loopVCI), loops: newVCIs(loopVCI, 1<<16),
		}
		if err := p.loop.Attach(0, p); err != nil {
			return nil, err
		}
		if err := p.loop.Connect(0, p.control, 0, p.control); err != nil {
			return nil, err
		}
		f.ports = append(f.ports, p)
	}
	switch {
	case nodes == 2:
		a, b := f.ports[0], f.ports[1]
		b.lines = a.lines
		a.line = atm.NewLink(&crossover{to: b, sent: controlVC(b.id), received: controlVC(a.id)})
		b.line = atm.NewLink(&crossover{to: a, sent: controlVC(a.id), received: controlVC(b.id)})
	case nodes > 2:
		f.middle = atm.NewSwitch(nodes)
		for id, p := range f.ports {
			p.line = atm.NewLink(f.middle.Port(id))
			if err := f.middle.Attach(id, atm.NewLink(p)); err != nil {
				return nil, err
			}
		}
		for from := range nodes {
			for to := range nodes {
				if from == to {
					continue
				}
				if err := f.middle.Connect(from, controlVC(to), to, controlVC(from)); err != nil {
					return nil, err
				}
			}
		}
	}
	return f, nil
}

// controlVC is the VC of the control circuit to a node.
func controlVC(node int) atm.VC { return atm.VC{VCI: rmem.ControlVCI(node)} }

// attach attaches a node to its port, before any cell is sent.
func (f *fabric) attach(id int, node atm.Receiver) { f.ports[id].node = node }

// Send carries a cell to the other end of its circuit.
func (p *port) Send(c *atm.Cell) {
	if vc := c.VC(); vc.VCI >= loopVCI || vc == p.control {
		p.loop.Port(0).Receive(c)
		return
	}
	p.line.Receive(c)
}

// Receive gives the node a cell that has come to the port.
func (p *port) Receive(c *atm.Cell) { p.node.Receive(c) }

// Open sets up a circuit to the node peer, in two VCs with consecutive VCIs at either end.
func (p *port) Open(peer int) (local, remote atm.VC, err error) {
	f := p.fabric
	if peer < 0 || peer >= len(f.ports) {
		return local, remote, fmt.Errorf("open a circuit from node %d to node %d: there are %d nodes", p.id, peer, len(f.ports))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	to := f.ports[peer]
	here, there := p.lines, to.lines
	if to == p {
		here, there = p.loops, p.loops
	}
	a, okay := here.take()
	b := a
	if okay && !p.shares(to) {
		if b, okay = there.take(); !okay {
			here.give(a)
		}
	}
	if !okay {
		return local, remote, fmt.Errorf("open a circuit from node %d to node %d: all VCs are in use", p.id, peer)
	}
	local, remote = atm.VC{VCI: a}, atm.VC{VCI: b}
	if err := p.connect(to, local, remote); err != nil {
		return atm.VC{}, atm.VC{}, err
	}
	p.circuits[local], to.circuits[remote] = end{to, remote}, end{p, local}
	return local, remote, nil
}

// shares reports whether a circuit to another port has the same VCs at both ends, because nothing in between translates
// them.
func (p *port) shares(to *port) bool { return p != to && p.fabric.middle == nil }

// path returns the switch that a circuit to another port goes through, with the numbers of its ports; nil if there is none.
func (p *port) path(to *port) (sw *atm.Switch, in, out int) {
	if to == p {
		return p.loop, 0, 0
	}
	return p.fabric.middle, p.id, to.id
}

// connect makes the way for the cells of a circuit, in both directions.
func (p *port) connect(to *port, local, remote atm.VC) error {
	sw, in, out := p.path(to)
	if sw == nil {
		return nil
	}
	for range 2 {
		if err := sw.Connect(in, local, out, remote); err != nil {
			return err
		}
		if err := sw.Connect(out, remote, in, local); err != nil {
			return err
		}
		local.VCI++
		remote.VCI++
	}
	return nil
}

// Close takes down the circuit whose VC at this end is local. It does nothing if there is none.
func (p *port) Close(local atm.VC) {
	f := p.fabric
	f.mu.Lock()
	defer f.mu.Unlock()
	other, ok := p.circuits[local]
	if !ok {
		return
	}
	to, remote := other.port, other.vc
	delete(p.circuits, local)
	delete(to.circuits, remote)
	if sw, in, out := p.path(to); sw != nil {
		for i := range uint16(2) {
			sw.Disconnect(in, atm.VC{VCI: local.VCI + i})
			sw.Disconnect(out, atm.VC{VCI: remote.VCI + i})
		}
	}
	here, there := p.lines, to.lines
	if to == p {
		here, there = p.loops, p.loops
	}
	here.give(local.VCI)
	if !p.shares(to) {
		there.give(remote.VCI)
	}
}

// Peer returns the node at the other end of the circuit whose VC at this end is local.
func (p *port) Peer(local atm.VC) (node int, ok bool) {
	p.fabric.mu.Lock()
	defer p.fabric.mu.Unlock()
	other, ok := p.circuits[local]
	if !ok {
		return 0, false
	}
	return other.port.id, true
}

// A crossover is the cable between two ports that are back to back. Nothing on the way translates a cell's VC, and a
// circuit has the same at both ends; only the control circuit, which each node names after the other, is renamed here.
type crossover struct {
	to             atm.Receiver
	sent, received atm.VC // of the control circuit, as the one end sends it and the other receives it
}

// Receive carries a cell across.
func (x *crossover) Receive(c *atm.Cell) {
	if c.VC() == x.sent {
		if h, ok := c.Header(); ok { // a damaged header is the receiver's to find
			h.VC = x.received
			c.SetHeader(h)
		}
	}
	x.to.Receive(c)
}

// vcis are the free pairs of VCIs of a range: an even one, which stands for the pair, and the next. They are given out round
// the range, so that one that is given back rests as long as can be: cells of its last circuit may still be under way.
type vcis struct {
	first, next, count int
	used               []bool // by pair
}

// newVCIs makes the pairs from the even VCI first up to end, which is not one of them.
func newVCIs(first, end int) *vcis {
	return &vcis{first: first, used: make([]bool, (end-first)/2)}
}

// take takes a pair; false if all are in use.
func (v *vcis) take() (uint16, bool) {
	if v.count == len(v.used) {
		return 0, false
	}
	for v.used[v.next] {
		v.next = (v.next + 1) % len(v.used)
	}
	i := v.next
	v.used[i] = true
	v.count++
	v.next = (i + 1) % len(v.used)
	return uint16(v.first + 2*i), true
}

// give gives a pair back.
func (v *vcis) give(vci uint16) {
	v.used[(int(vci)-v.first)/2] = false
	v.count--
}
