package join

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"rmemrun/atm"
	"rmemrun/rmem"
)

// loopbacks are the OAM of the control circuits that go over the trunk, at the nodes' ports here. Each is made when the first OAM cell
// comes, or has to be sent.
type loopbacks struct {
	mu     sync.Mutex
	ends   map[portVC]*atm.OAMEnd
	closed bool
}

// oamEnd is the OAM of a circuit at a port; nil if it is not a control circuit over the trunk, or the trunk is closed.
func (t *Trunk) oamEnd(p *Port, vc atm.VC) *atm.OAMEnd {
	if vc.VPI != 0 || !t.carries(vc) {
		return nil
	}
	t.oam.mu.Lock()
	defer t.oam.mu.Unlock()
	at := portVC{p.id, vc}
	e := t.oam.ends[at]
	if e == nil && !t.oam.closed {
		var id atm.LocationID
		copy(id[:], fmt.Sprint("node ", p.id))
		e = atm.NewOAMEnd(atm.OAMEndConfig{Clock: t.clock, VC: vc, ID: id, Send: p.in})
		if t.oam.ends == nil {
			t.oam.ends = map[portVC]*atm.OAMEnd{}
		}
		t.oam.ends[at] = e
	}
	return e
}

// closeOAM ends all of it.
func (t *Trunk) closeOAM() {
	t.oam.mu.Lock()
	ends := t.oam.ends
	t.oam.ends, t.oam.closed = nil, true
	t.oam.mu.Unlock()
	for _, e := range ends {
		e.Close()
	}
}

// manage reports whether a cell that has come over the trunk was OAM, which it has dealt with: it is for the network, and not for the node.
func (p *Port) manage(c *atm.Cell) bool {
	h, ok := c.Header()
	if !ok {
		return false // the node counts it
	}
	if _, oam := c.OAMFlow(); !oam {
		return false
	}
	if e := p.trunk.oamEnd(p, h.VC); e != nil {
		e.Receive(c)
	}
	return true
}

// ErrEnded is that there is no trunk any more.
var ErrEnded = errors.New("the other rmemrun has ended")

// pings is how often Ping asks who does not answer: cells may be lost.
const pings = 20

// Ping asks the end of the control circuit from a node here to a node there for an OAM loopback, and again if there is no answer, and says after
// the timeout at the latest what has come of it, and how many requests before the one that was answered were not. vc is that of the circuit
// at the port there.
func (t *Trunk) Ping(here, there int, timeout time.Duration) (vc atm.VC, result atm.LoopbackResult, lost int, err error) {
	vc = atm.VC{VCI: rmem.ControlVCI(here)}
	t.mu.Lock()
	p := t.joined[here-t.first]
	t.mu.Unlock()
	if p == nil {
		return vc, result, 0, fmt.Errorf("node %d is not joined to the network yet", here)
	}
	e := t.oamEnd(p, atm.VC{VCI: rmem.ControlVCI(there)})
	if e == nil || t.over() {
		return vc, result, 0, ErrEnded
	}
	type answer struct {
		round int
		atm.LoopbackResult
	}
	answers := make(chan answer, pings) // so that late ones wait for nobody
	for round := range pings {
		err := e.Loopback(atm.EndPoint, false, func(r atm.LoopbackResult) {
			if r.Answered {
				answers <- answer{round, r}
			}
		})
		if err != nil {
			return vc, result, round, err
		}
		over := make(chan struct{})
		stop := t.clock.AfterFunc(timeout/pings, func() { close(over) })
		select {
		case a := <-answers:
			stop()
			return vc, a.LoopbackResult, a.round, nil
		case <-over:
		}
	}
	return vc, result, pings, nil
}
