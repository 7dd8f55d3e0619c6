package runtime

import (
	"fmt"
	"sync"
	"time"

	"rmemrun/atm"
)

// oamEnds are the OAM of the circuits that end at a port. Each is made when the first OAM cell comes, or has to be sent.
type oamEnds struct {
	mu     sync.Mutex
	ends   map[atm.VC]*oamEnd
	closed bool
}

// An oamEnd is the OAM of one circuit at one of its ends.
type oamEnd struct {
	*atm.OAMEnd
	was   atm.Alarms // that the observer knows of. Guarded by oamEnds.mu
	where string     // the link that the last AIS cell named. Guarded by oamEnds.mu
}

// sender sends cells from a port.
type sender struct{ *port }

// Receive sends c.
func (s sender) Receive(c *atm.Cell) { s.Send(c) }

// manage looks at a cell that came to the port, and reports whether it was OAM and has been dealt with.
func (p *port) manage(c *atm.Cell) bool {
	h, ok := c.Header()
	if !ok {
		return false // the node counts it
	}
	_, oam := c.OAMFlow()
	e := p.oamEnd(h.VC, oam)
	if e == nil {
		return oam // of a circuit that was closed meanwhile
	}
	if oam {
		if o, err := atm.DecodeOAM(c); err == nil && o.Kind == atm.OAMAIS {
			name := p.fabric.names[o.Location]
			p.oam.mu.Lock()
			e.where = name
			p.oam.mu.Unlock()
		}
	}
	return e.Receive(c)
}

// oamEnd is the OAM of the circuit vc, made if there is none and it is wanted; nil if there is no such circuit.
func (p *port) oamEnd(vc atm.VC, wanted bool) *oamEnd {
	p.oam.mu.Lock()
	e := p.oam.ends[vc]
	p.oam.mu.Unlock()
	if e != nil || !wanted {
		return e
	}
	peer, ok := p.peer(vc)
	if !ok {
		return nil
	}
	p.oam.mu.Lock()
	defer p.oam.mu.Unlock()
	if e = p.oam.ends[vc]; e != nil || p.oam.closed {
		return e
	}
	e = &oamEnd{}
	e.OAMEnd = atm.NewOAMEnd(atm.OAMEndConfig{
		Clock: p.fabric.clock, VC: vc, ID: locationID(p.fabric.topology.Nodes[p.id]), Send: sender{p},
		OnChange: func() { p.alarm(e, vc, peer) },
	})
	if p.oam.ends == nil {
		p.oam.ends = map[atm.VC]*oamEnd{}
	}
	p.oam.ends[vc] = e
	return e
}

// peer is the node at the other end of a circuit, control circuits included.
func (p *port) peer(vc atm.VC) (node int, ok bool) {
	if vc.VPI == 0 && vc.VCI >= atm.FirstUserVCI && int(vc.VCI) < atm.FirstUserVCI+len(p.fabric.ports) {
		return int(vc.VCI) - atm.FirstUserVCI, true
	}
	return p.Peer(vc)
}

// alarm tells that the alarms of a circuit have changed.
func (p *port) alarm(e *oamEnd, vc atm.VC, peer int) {
	const ended = atm.AlarmAIS | atm.AlarmLOC // by user cells
	p.oam.mu.Lock()
	was, now := e.was, e.Alarms()
	e.was = now
	switch before, after := was&ended != 0, now&ended != 0; {
	case !before && after:
		p.alarmed.Add(1)
	case before && !after:
		p.alarmed.Add(-1)
	}
	link := e.where
	p.oam.mu.Unlock()
	f := p.fabric
	if was == now {
		return
	}
	f.log.Info("OAM: "+now.String(), "node", f.topology.Nodes[p.id], "circuit", vc, "from", f.topology.Nodes[peer], "link", link)
	if f.events != nil {
		f.events.emit(&Event{Time: time.Since(f.events.start), Kind: OnLink, Node: f.first + p.id, Link: &LinkEvent{
			What: LinkAlarm, Link: link, From: f.topology.Nodes[peer], To: f.topology.Nodes[p.id], Peer: f.first + peer, VC: vc, Alarms: now,
		}})
	}
}

// end forgets a circuit.
func (o *oamEnds) end(vc atm.VC) {
	o.mu.Lock()
	e := o.ends[vc]
	delete(o.ends, vc)
	o.mu.Unlock()
	if e != nil {
		e.Close()
	}
}

// close ends the OAM of all circuits.
func (o *oamEnds) close() {
	o.mu.Lock()
	ends := o.ends
	o.ends, o.closed = nil, true
	o.mu.Unlock()
	for _, e := range ends {
		e.Close()
	}
}

// A Hop is a place on the way of a circuit, and what has come of loopbacks to it.
type Hop struct {
	Name     string        `json:"name"` // of a switch or a node
	Link     string        `json:"link"` // by which cells come to it
	VPI      uint8         `json:"vpi"`  // there
	VCI      uint16        `json:"vci"`
	Answered bool          `json:"answered"` // false: no answer came in time, or the loopback was not asked for
	Took     time.Duration `json:"took_ns"`  // from the request to the answer
	Lost     int           `json:"lost"`     // requests before that without an answer
}

// hops are the places on the control circuit from one node to another.
func (f *fabric) hops(from, to int) ([]Hop, error) {
	for _, node := range []int{from, to} {
		if node < 0 || node >= len(f.ports) {
			return nil, fmt.Errorf("there is no node %d, the nodes are 0 to %d", node, len(f.ports)-1)
		}
	}
	if from == to {
		return nil, fmt.Errorf("node %s reaches itself without a network", f.topology.Nodes[from])
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.controlCircuit(f.ports[from], f.ports[to])
	var hops []Hop
	for k := range c.hops {
		h, far := c.hops[k], 1
		if from > to { // ends[0] is the node with the lower number
			h = c.hops[len(c.hops)-1-k]
			far = 0
		}
		end := h.cable.ends[h.near]
		if far == 1 {
			end = h.cable.ends[1-h.near]
		}
		vc := h.vc
		if len(c.hops) == 1 {
			vc = c.vcs[far] // back to back, each end has its own
		}
		hops = append(hops, Hop{Name: end.name, Link: h.cable.name, VPI: vc.VPI, VCI: vc.VCI})
	}
	return hops, nil
}

// loopbacks is how often ping asks a place that does not answer, within its timeout: cells may be lost.
const loopbacks = 20

// ping asks every place on the way from one node to another for a loopback, and those that have not answered again and again. It returns when
// all have answered, or after the timeout, LoopbackWait at most.
func (f *fabric) ping(from, to int, timeout time.Duration) ([]Hop, error) {
	hops, err := f.hops(from, to)
	if err != nil {
		return nil, err
	}
	end := f.ports[from].oamEnd(controlVC(to), true)
	if end == nil {
		return nil, fmt.Errorf("the network is closed")
	}
	type answer struct {
		hop, lost int
		atm.LoopbackResult
	}
	answers := make(chan answer, loopbacks*len(hops)) // so that late ones wait for nobody
	ask := func(round int) error {
		for i := range hops {
			h := &hops[i]
			if h.Answered {
				continue
			}
			lost := h.Lost
			err := end.Loopback(locationID(h.Name), true, func(r atm.LoopbackResult) { answers <- answer{i, lost, r} })
			switch {
			case err == nil:
				h.Lost++ // until it answers
			case round == 0:
				return err
			}
		}
		return nil
	}
	rounds := make(chan int, loopbacks)
	for round := range loopbacks {
		stop := f.clock.AfterFunc(time.Duration(round+1)*timeout/loopbacks, func() { rounds <- round + 1 })
		defer stop()
	}
	if err := ask(0); err != nil {
		return nil, err
	}
	for waiting := len(hops); waiting > 0; {
		select {
		case a := <-answers:
			if h := &hops[a.hop]; a.Answered && !h.Answered {
				h.Answered, h.Took, h.Lost = true, a.Took, a.lost
				waiting--
			}
		case round := <-rounds:
			if round == loopbacks {
				return hops, nil
			}
			_ = ask(round) // what cannot be asked now is asked later
		}
	}
	return hops, nil
}
