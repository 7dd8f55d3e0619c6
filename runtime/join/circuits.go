package join

import (
	"errors"
	"fmt"

	"rmemrun/atm"
)

var errVCs = errors.New("all VCs are in use")

// paths are the virtual paths of a circuit: at the port here, on the trunk, at the port there.
func (t *Trunk) paths(mine bool) (here, trunk, there uint8) {
	trunk = trunkListener
	if mine == t.caller {
		trunk = trunkCaller
	}
	if mine {
		return openedHere, trunk, openedThere
	}
	return openedThere, trunk, openedHere
}

// open opens a circuit from a node here to a node there.
func (t *Trunk) open(here, there int) (local, remote atm.VC, err error) {
	fail := func(err error) (atm.VC, atm.VC, error) {
		return atm.VC{}, atm.VC{}, fmt.Errorf("open a circuit from node %d to node %d: %w", here, there, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	pools := []*vcis{t.ports[here-t.first], t.trunkVCs, t.remotes[there-t.peerFirst()]}
	var taken [3]uint16
	for i, p := range pools {
		vci, ok := p.take()
		if !ok {
			for k := range i {
				pools[k].give(taken[k])
			}
			return fail(errVCs)
		}
		taken[i] = vci
	}
	pathHere, pathTrunk, pathThere := t.paths(true)
	c := &circuit{
		id: t.nextID(), here: here, there: there, mine: true,
		local: atm.VC{VPI: pathHere, VCI: taken[0]}, trunk: atm.VC{VPI: pathTrunk, VCI: taken[1]}, remote: atm.VC{VPI: pathThere, VCI: taken[2]},
	}
	if err := t.add(c); err != nil {
		t.free(c)
		return fail(err)
	}
	t.gate.close()
	number, ok := t.tell(message{kind: open, node: uint16(here), to: uint16(there), id: c.id, trunk: c.trunk.VCI, vci: c.remote.VCI})
	t.gate.until(number, ok)
	return c.local, c.remote, nil
}

// nextID is the id of the next circuit that this process opens: those of the listener are even, the caller's odd. t.mu is held.
func (t *Trunk) nextID() uint32 {
	for {
		t.lastID += 2
		id := t.lastID
		if t.caller {
			id |= 1
		}
		if t.circuits[id] == nil {
			return id
		}
	}
}

// accept does what an OPEN of the peer's says.
func (t *Trunk) accept(m message) error {
	here, there := int(m.to), int(m.node)
	if here < t.first || here >= t.first+t.count {
		return fmt.Errorf("a circuit to node %d, which is not here", here)
	}
	if (m.id&1 == 1) == t.caller {
		return fmt.Errorf("circuit %d, a number for this side to give", m.id)
	}
	path, trunk, _ := t.paths(false)
	c := &circuit{
		id: m.id, here: here, there: there,
		local: atm.VC{VPI: path, VCI: m.vci}, trunk: atm.VC{VPI: trunk, VCI: m.trunk},
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.circuits[c.id] != nil {
		return fmt.Errorf("circuit %d opened twice", c.id)
	}
	return t.add(c)
}

// add connects a circuit. t.mu is held.
func (t *Trunk) add(c *circuit) error {
	port := 1 + c.here - t.first
	for i := range uint16(2) {
		if err := t.connect(port, next(c.local, i), next(c.trunk, i)); err != nil {
			for k := range i {
				t.disconnect(port, next(c.local, k), next(c.trunk, k))
			}
			return err
		}
	}
	t.circuits[c.id] = c
	t.byPort[portVC{c.here, c.local}] = c
	return nil
}

// next is the VC i channels behind vc.
func next(vc atm.VC, i uint16) atm.VC { return atm.VC{VPI: vc.VPI, VCI: vc.VCI + i} }

func (t *Trunk) disconnect(port int, local, trunk atm.VC) {
	t.sw.Disconnect(port, local)
	t.sw.Disconnect(0, trunk)
}

// remove takes a circuit away. t.mu is held.
func (t *Trunk) remove(c *circuit) {
	for i := range uint16(2) {
		t.disconnect(1+c.here-t.first, next(c.local, i), next(c.trunk, i))
	}
	delete(t.circuits, c.id)
	delete(t.byPort, portVC{c.here, c.local})
	if c.mine {
		t.free(c)
	}
}

// free gives the VCs of a circuit back that this process has opened. t.mu is held.
func (t *Trunk) free(c *circuit) {
	t.ports[c.here-t.first].give(c.local.VCI)
	t.trunkVCs.give(c.trunk.VCI)
	t.remotes[c.there-t.peerFirst()].give(c.remote.VCI)
}

// close takes down the circuit at a port, and tells the peer.
func (t *Trunk) close(at portVC) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c, ok := t.byPort[at]; ok {
		t.remove(c)
		t.tell(message{kind: closeCircuit, id: c.id})
	}
}

// closed takes down a circuit that the peer has closed; it may have been closed here, too.
func (t *Trunk) closed(id uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c, ok := t.circuits[id]; ok {
		t.remove(c)
	}
}

// vcis are the free pairs of VCIs of a virtual path: an even one, which stands for the pair, and the next. They are given out round the
// range, so that one that is given back rests as long as can be: cells of its last circuit may still be under way.
type vcis struct {
	used  map[uint16]struct{}
	after uint16
}

func newVCIs() *vcis { return &vcis{used: make(map[uint16]struct{})} }

// take takes a pair; false if all are in use.
func (v *vcis) take() (uint16, bool) {
	if len(v.used) == (1<<16-atm.FirstUserVCI)/2 {
		return 0, false
	}
	for {
		v.after += 2
		if v.after < atm.FirstUserVCI {
			v.after = atm.FirstUserVCI
		}
		if _, ok := v.used[v.after]; !ok {
			v.used[v.after] = struct{}{}
			return v.after, true
		}
	}
}

// give gives a pair back.
func (v *vcis) give(vci uint16) { delete(v.used, vci) }
