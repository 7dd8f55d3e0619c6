package runtime

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"rmemrun/atm"
	"rmemrun/rmem"
)

// A fabric is the network of a job, as its topology has it: each node has a port, which is joined to the others by cables and
// switches.
//
//	           ┌── loop ──┐
//	           │  VCI ≥   │
//	node ── port  loopVCI └─ back to the same node
//	           │
//	           └── line ── cable ── switch ── cable ── … ── port ── node
//	               oam
//
// A circuit from a node to itself is looped within its port, by a switch of one port, so that it has two ends with
// a VC each as any other. A node that has several links gets a switch of its own, its interface, between its port and them.
//
// Where links take no time, a cell that is sent has been received when Send returns.
type fabric struct {
	topology *Topology
	clock    atm.Clock
	log      hclog.Logger
	first    int     // the number in the job of the first of its nodes
	events   *stream // nil: nobody observes
	taps     bool    // every cell on every link is an event
	memory   bool    // all links are links in memory
	names    map[atm.LocationID]string

	ports     []*port
	exchanges []*exchange // those of the topology's switches first
	cables    []*cable    // those of the topology's links first

	contracts []*terms // those of the topology

	mu       sync.Mutex // over what follows, circuits and free VCs of all ports and cables, failures
	graph    graph
	controls map[[2]int]*circuit // by nodes, the lower first; those that pass more than one switch
	moved    int                 // the version of graph that broken circuits were moved for
	timers   map[*timer]struct{}
	closed   bool

	telling sync.Mutex      // over what follows: what nodes are told is in the order in which it happened. Before mu and the nodes' locks
	apart   map[[2]int]bool // pairs of nodes, the lower number first, that have no way to each other
}

// A timer is something that the fabric has to do later.
type timer struct{ stop func() bool }

// A port is what joins one node to the network: its rmem.Network.
type port struct {
	fabric  *fabric
	id      int
	node    atm.Receiver
	inform  informed     // nil: nobody wants to know
	control atm.VC       // of the node's control circuit to itself
	line    atm.Receiver // to the other nodes; nil if there are none
	loop    *atm.Switch  // to itself
	cable   *cable       // of line
	at      *exchange    // at its far end; nil if that is another node

	circuits map[atm.VC]*circuit // by the VC here. Guarded by fabric.mu
	loops    *vcs                // free in the loop

	sources atomic.Pointer[map[atm.VC]*source] // of VCs with a contract; changed with fabric.mu held

	alarmed atomic.Int32 // circuits that end here and have an alarm which user cells may end
	oam     oamEnds
}

// loopVCI is the lowest VCI of circuits that are looped within their port.
const loopVCI = 0xc000

// innerPaths is how many virtual paths are used between switches, where the circuits of many nodes meet.
const innerPaths = 16

// A fabricConfig is what a fabric is made of.
type fabricConfig struct {
	topology *Topology
	memory   bool      // links are memory links: they take no time, lose nothing, and cannot be cut
	first    int       // the number in the job of the first node
	clock    atm.Clock // nil: the real one
	seed     uint64    // of the faults
	events   *stream
	taps     bool
	log      hclog.Logger // nil: none
}

// newFabric makes the network of a job, with the control circuits between all nodes. Nothing happens to links before start.
func newFabric(config fabricConfig) (*fabric, error) {
	t := config.topology
	f := &fabric{
		topology: t, first: config.first, clock: config.clock, events: config.events, taps: config.taps, memory: config.memory, log: config.log,
		names: map[atm.LocationID]string{}, controls: map[[2]int]*circuit{}, timers: map[*timer]struct{}{},
	}
	if f.clock == nil {
		f.clock = atm.NewRealClock()
	}
	if f.log == nil {
		f.log = hclog.NewNullLogger()
	}
	for _, k := range f.topology.Contracts {
		if k.Police != Unpoliced {
			k.Traffic.Transparent = conformances[k.Police].transparent
		}
		f.contracts = append(f.contracts, &terms{Contract: k})
	}
	f.graph.changed()
	if err := f.addPorts(); err != nil {
		return nil, err
	}
	if err := f.addLinks(config); err != nil {
		return nil, err
	}
	return f, f.connectControl()
}

// addPorts makes the nodes' ports.
func (f *fabric) addPorts() error {
	for id, name := range f.topology.Nodes {
		p := &port{
			fabric: f, id: id, control: controlVC(id), circuits: map[atm.VC]*circuit{},
			loop: atm.NewSwitch(1), loops: newVCs(loopVCI, 1<<16, 1),
		}
		if err := p.loop.Attach(0, p); err != nil {
			return err
		}
		if err := p.loop.Connect(0, p.control, 0, p.control); err != nil {
			return err
		}
		f.ports = append(f.ports, p)
		f.names[locationID(name)] = name
	}
	return nil
}

// addLinks makes switches, interfaces and cables.
func (f *fabric) addLinks(config fabricConfig) error {
	t := f.topology
	degrees := map[string]int{}
	for _, l := range t.Links {
		degrees[l.Ends[0]]++
		degrees[l.Ends[1]]++
	}
	places := map[string]func() plug{} // each call is for the next link there
	inner := len(t.Links)              // cables of the topology come first
	f.cables = make([]*cable, inner)
	for _, name := range t.Switches {
		places[name] = f.addExchange(name, degrees[name], false).plug
	}
	for id, name := range t.Nodes {
		p := f.ports[id]
		places[name] = func() plug { return plug{name: name, port: p} }
		if degrees[name] < 2 {
			continue
		}
		x := f.addExchange(name+".interface", degrees[name]+1, true)
		c, err := f.join(Link{Name: name + "-" + x.name}, places[name](), x.plug(), fabricConfig{memory: true})
		if err != nil {
			return err
		}
		c.inner = true
		f.cables = append(f.cables, c)
		places[name] = x.plug
	}
	for i, l := range t.Links {
		c, err := f.join(l, places[l.Ends[0]](), places[l.Ends[1]](), config)
		if err != nil {
			return err
		}
		f.cables[i] = c
		f.names[locationID(l.Name)] = l.Name
	}
	return nil
}

// addExchange makes a switch with a number of ports.
func (f *fabric) addExchange(name string, ports int, nodesOnly bool) *exchange {
	x := &exchange{name: name, place: len(f.graph.places), sw: atm.NewSwitch(ports)}
	x.sw.OnDrop = func(port int, c *atm.Cell, why atm.DropReason) {
		cable := x.plugs[port]
		f.dropped(cable, 1-cable.sideOf(x), c, why)
	}
	x.sw.Clock = f.clock
	f.graph.places = append(f.graph.places, place{nodesOnly: nodesOnly})
	f.exchanges = append(f.exchanges, x)
	f.names[locationID(name)] = name
	return x
}

// plug is the next free port.
func (x *exchange) plug() plug {
	x.plugs = append(x.plugs, nil)
	return plug{name: x.name, x: x, number: len(x.plugs) - 1}
}

// join makes the cable of a link between two plugs.
func (f *fabric) join(l Link, a, b plug, config fabricConfig) (*cable, error) {
	c := &cable{name: l.Name, ends: [2]plug{a, b}}
	user := (atm.FirstUserVCI + len(f.ports) + 1) &^ 1
	c.vcs = newVCs(atm.FirstUserVCI, 1<<16, innerPaths)
	if a.port != nil || b.port != nil {
		c.vcs = newVCs(user, loopVCI, 1)
	}
	for i := range c.ways {
		w := &c.ways[i]
		w.Way = l.Ways[i]
		if w.Delay == 0 && (w.unreliable() || !config.memory && config.topology.lossy()) {
			w.Delay = leastDelay
		}
		to, err := f.far(c, i)
		if err != nil {
			return nil, err
		}
		if l.Ways[0].unreliable() || l.Ways[1].unreliable() {
			to = f.watch(c, i, to)
		}
		if f.taps && !config.memory {
			to = &tap{to, func(cell *atm.Cell) { f.passed(c, i, LinkReceived, cell) }}
		}
		if config.memory {
			w.link = atm.NewLink(to)
			w.in = w.link
		} else {
			line := w.config(c.name+">"+c.ends[1-i].name, f.clock, config.seed)
			line.OnDrop = func(cell *atm.Cell, why atm.DropReason) { f.dropped(c, i, cell, why) }
			if w.line, err = atm.NewLine(to, line); err != nil {
				return nil, err
			}
			w.in = w.line
		}
		if f.taps && !config.memory {
			w.in = &tap{w.in, func(cell *atm.Cell) { f.passed(c, i, LinkSent, cell) }}
		}
		w.ais = atm.NewAISSource(f.clock, locationID(c.name), f.behind(c, i))
	}
	for i, end := range c.ends {
		far := c.ends[1-i]
		switch {
		case end.port != nil:
			end.port.line, end.port.cable, end.port.at = c.ways[i].in, c, far.x
		default:
			end.x.plugs[end.number] = c
			if err := end.x.sw.Attach(end.number, c.ways[i].in); err != nil {
				return nil, err
			}
			if far.x != nil {
				p := &f.graph.places[end.x.place]
				p.edges = append(p.edges, edge{far.x.place, c})
			}
		}
	}
	return c, nil
}

// far is what takes the cells that come out of a cable in direction i.
func (f *fabric) far(c *cable, i int) (atm.Receiver, error) {
	near, far := c.ends[i], c.ends[1-i]
	switch {
	case far.x != nil:
		point := atm.LoopbackPoint{ID: locationID(far.x.name)}
		return &ingress{point: point, port: far.x.sw.Port(far.number), back: &c.ways[1-i]}, nil
	case near.port != nil:
		return &crossover{to: far.port, sent: controlVC(far.port.id), received: controlVC(near.port.id)}, nil
	}
	return far.port, nil
}

// controlVC is the VC of the control circuit to a node.
func controlVC(node int) atm.VC { return atm.VC{VCI: rmem.ControlVCI(node)} }

// attach attaches a node to its port, before any cell is sent.
func (f *fabric) attach(id int, node atm.Receiver) {
	p := f.ports[id]
	p.node = node
	p.inform, _ = node.(informed)
}

// later calls do after a time, unless the fabric is closed before.
func (f *fabric) later(d time.Duration, do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.laterLocked(d, do)
}

// laterLocked is later with f.mu held.
func (f *fabric) laterLocked(d time.Duration, do func()) {
	if f.closed {
		return
	}
	t := &timer{}
	f.timers[t] = struct{}{}
	t.stop = f.clock.AfterFunc(d, func() {
		f.mu.Lock()
		_, pending := f.timers[t]
		delete(f.timers, t)
		f.mu.Unlock()
		if pending {
			do()
		}
	})
}

// close ends everything that takes time. Cells that are under way are lost.
func (f *fabric) close() {
	f.mu.Lock()
	f.closed = true
	for t := range f.timers {
		t.stop()
	}
	clear(f.timers)
	f.mu.Unlock()
	for _, c := range f.cables {
		for i := range c.ways {
			c.ways[i].ais.Stop()
			if e := c.paths[i]; e != nil {
				e.oam.Close()
			}
			if l := c.ways[i].line; l != nil {
				l.Close()
			}
		}
	}
	for _, p := range f.ports {
		p.oam.close()
	}
}

// Send carries a cell towards the other end of its circuit.
func (p *port) Send(c *atm.Cell) {
	vc := c.VC()
	if vc.VCI >= loopVCI || vc == p.control {
		p.loop.Port(0).Receive(c)
		return
	}
	if s := p.source(vc); s != nil {
		s.in.Receive(c)
		return
	}
	p.line.Receive(c)
}

// Receive gives the node a cell that has come to the port, unless it is for the network's own management.
func (p *port) Receive(c *atm.Cell) {
	if (!c.PT().User() || p.alarmed.Load() > 0) && p.manage(c) {
		return
	}
	p.node.Receive(c)
}

// Open sets up a circuit to the node peer, in two VCs with consecutive VCIs at either end.
func (p *port) Open(peer int) (local, remote atm.VC, err error) {
	f := p.fabric
	if peer < 0 || peer >= len(f.ports) {
		return local, remote, fmt.Errorf("open a circuit from node %d to node %d: there are %d nodes", p.id, peer, len(f.ports))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	to := f.ports[peer]
	here, there := p.free(to), to.free(p)
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
	c := &circuit{ends: [2]*port{p, to}, vcs: [2]atm.VC{a, b}}
	if p != to {
		c.terms = [2]*terms{f.terms(p, to), f.terms(to, p)}
	}
	if err := f.open(c); err != nil {
		f.release(c)
		return atm.VC{}, atm.VC{}, fmt.Errorf("open a circuit from node %d to node %d: %w", p.id, peer, err)
	}
	p.circuits[a], to.circuits[b] = c, c
	return a, b, nil
}

// free are the VCs for circuits to another port.
func (p *port) free(to *port) *vcs {
	if p == to {
		return p.loops
	}
	return p.cable.vcs
}

// shares reports whether a circuit to another port has the same VCs at both ends, because nothing in between translates
// them.
func (p *port) shares(to *port) bool { return p != to && p.cable == to.cable }

// open makes the way for the cells of a circuit: where all is well; if nothing is, where all would be well.
func (f *fabric) open(c *circuit) error {
	p, to := c.ends[0], c.ends[1]
	if p == to {
		for i := range uint16(2) {
			u, v := atm.VC{VCI: c.vcs[0].VCI + i}, atm.VC{VCI: c.vcs[1].VCI + i}
			if err := p.loop.Connect(0, u, 0, v); err != nil {
				return err
			}
			if err := p.loop.Connect(0, v, 0, u); err != nil {
				return err
			}
		}
		return nil
	}
	cables, ok := f.way(p, to, false)
	if !ok {
		cables, _ = f.way(p, to, true)
	}
	if err := f.lay(c, cables); err != nil {
		return err
	}
	if err := f.addSources(c); err != nil {
		f.endSources(c)
		f.disconnect(c)
		return err
	}
	return nil
}

// rest is how long a circuit that is closed stays connected, for the cells that are under way.
const rest = time.Second

// Close takes down the circuit whose VC at this end is local. It does nothing if there is none.
func (p *port) Close(local atm.VC) {
	f := p.fabric
	f.mu.Lock()
	c, ok := p.circuits[local]
	if !ok {
		f.mu.Unlock()
		return
	}
	for i, end := range c.ends {
		delete(end.circuits, c.vcs[i])
	}
	down := func() {
		switch {
		case c.ends[0] == c.ends[1]:
			for i := range uint16(2) {
				p.loop.Disconnect(0, atm.VC{VCI: c.vcs[0].VCI + i})
				p.loop.Disconnect(0, atm.VC{VCI: c.vcs[1].VCI + i})
			}
		default:
			f.endSources(c)
			f.disconnect(c)
		}
		f.release(c)
	}
	if c.slow() {
		f.laterLocked(rest, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			down()
		})
	} else {
		down()
	}
	f.mu.Unlock()
	for i, end := range c.ends {
		end.oam.end(c.vcs[i])
	}
}

// release gives the VCs at the ends of a circuit back.
func (f *fabric) release(c *circuit) {
	a, b := c.ends[0], c.ends[1]
	a.free(b).give(c.vcs[0])
	if !a.shares(b) {
		b.free(a).give(c.vcs[1])
	}
}

// Peer returns the node at the other end of the circuit whose VC at this end is local.
func (p *port) Peer(local atm.VC) (node int, ok bool) {
	p.fabric.mu.Lock()
	defer p.fabric.mu.Unlock()
	c, ok := p.circuits[local]
	if !ok {
		return 0, false
	}
	return c.ends[c.other(p, local)].id, true
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
