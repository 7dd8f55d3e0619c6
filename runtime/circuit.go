package runtime

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"

	"rmemrun/atm"
)

// A circuit joins two nodes, in both directions: by two VCs with consecutive VCIs, or, if it is a control circuit, by one.
type circuit struct {
	ends    [2]*port
	vcs     [2]atm.VC // at the ends; of two VCs, the lower
	control bool
	hops    []hop     // from ends[0] to ends[1]; none if the circuit is looped in a port
	terms   [2]*terms // by the end that sends; nil: no contract
}

// A hop is a cable that a circuit goes through.
type hop struct {
	cable *cable
	near  int    // the end of the cable on the side of ends[0]
	vc    atm.VC // there
}

// maxHops bounds the cables that the control circuits of a job go through in all, which are memory and time to set up.
const maxHops = 1 << 20

// number is how many VCs the circuit has.
func (c *circuit) number() uint16 {
	if c.control {
		return 1
	}
	return 2
}

// other is the index of the end that is not p's, and of p's.
func (c *circuit) other(p *port, vc atm.VC) int {
	if c.ends[0] == p && c.vcs[0] == vc {
		return 1
	}
	return 0
}

// broken reports whether a cable on its way is down.
func (c *circuit) broken() bool {
	return slices.ContainsFunc(c.hops, func(h hop) bool { return h.cable.down() })
}

// slow reports whether cells of the circuit may be under way.
func (c *circuit) slow() bool {
	return slices.ContainsFunc(c.hops, func(h hop) bool { return h.cable.ways[0].slow() || h.cable.ways[1].slow() })
}

// way finds the cables from one port to another. With all, those that are down are as good as others.
func (f *fabric) way(a, b *port, all bool) ([]*cable, bool) {
	first, last := a.cable, b.cable
	switch {
	case first == nil || last == nil:
		return nil, false
	case !all && (first.down() || last.down()):
		return nil, false
	case first == last: // back to back
		return []*cable{first}, true
	}
	between, ok := f.graph.route(a.at.place, b.at.place, all, spread(a.id, b.id))
	if !ok {
		return nil, false
	}
	return slices.Concat([]*cable{first}, between, []*cable{last}), true
}

// spread is a number that chooses among ways of the same cost: one for all circuits between two nodes, so that they are in step.
func spread(a, b int) uint64 {
	h := fnv.New64a()
	h.Write(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(min(a, b))), uint32(max(a, b))))
	return h.Sum64()
}

// lay leads a circuit through cables, with new VCs on those in between, and connects it in all switches. f.mu is held.
func (f *fabric) lay(c *circuit, cables []*cable) error {
	c.hops = make([]hop, len(cables))
	here := c.ends[0].cable.side(c.ends[0])
	for i, cable := range cables {
		h := hop{cable: cable, near: here}
		switch i {
		case 0:
			h.vc = c.vcs[0]
		case len(cables) - 1:
			h.vc = c.vcs[1]
		default:
			pair, ok := cable.vcs.take()
			if !ok {
				f.free(c.hops[:i])
				return fmt.Errorf("link %s: all VCs are in use", cable.name)
			}
			if h.vc = pair; c.control {
				h.vc.VCI++ // odd VCIs carry AAL5 everywhere but at the nodes
			}
		}
		c.hops[i] = h
		if i+1 < len(cables) {
			here = cables[i+1].sideOf(cable.ends[1-here].x)
		}
	}
	if err := f.connect(c); err != nil {
		f.disconnect(c)
		return err
	}
	return nil
}

// side is the end of the cable that is at a port, sideOf that at an exchange.
func (c *cable) side(p *port) int {
	if c.ends[0].port == p {
		return 0
	}
	return 1
}

func (c *cable) sideOf(x *exchange) int {
	if c.ends[0].x == x {
		return 0
	}
	return 1
}

// connect connects the circuit in the switches on its way.
func (f *fabric) connect(c *circuit) error {
	return f.joints(c, func(sw *atm.Switch, in int, inVC atm.VC, out int, outVC atm.VC, contract atm.Contract) error {
		return sw.ConnectContract(in, inVC, out, outVC, contract)
	})
}

// disconnect ends what connect did, and frees the VCs.
func (f *fabric) disconnect(c *circuit) {
	for end, k := range c.terms {
		if k != nil {
			add(&k.police, f.policed(c, end))
		}
	}
	_ = f.joints(c, func(sw *atm.Switch, in int, inVC atm.VC, _ int, _ atm.VC, _ atm.Contract) error {
		sw.Disconnect(in, inVC)
		return nil
	})
	f.free(c.hops)
}

// joints calls do for every VC and direction of the circuit at every switch on its way.
func (f *fabric) joints(c *circuit, do func(sw *atm.Switch, in int, inVC atm.VC, out int, outVC atm.VC, contract atm.Contract) error) error {
	for i := range len(c.hops) - 1 {
		a, b := c.hops[i], c.hops[i+1]
		from, to := a.cable.ends[1-a.near], b.cable.ends[b.near]
		for n := range c.number() {
			u, v := atm.VC{VPI: a.vc.VPI, VCI: a.vc.VCI + n}, atm.VC{VPI: b.vc.VPI, VCI: b.vc.VCI + n}
			if err := do(from.x.sw, from.number, u, to.number, v, f.contract(c, 0, i, n)); err != nil {
				return err
			}
			if err := do(from.x.sw, to.number, v, from.number, u, f.contract(c, 1, i, n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// free gives the VCs back that the circuit has on cables between switches; those at its ends are the ports' to give.
func (f *fabric) free(hops []hop) {
	for _, h := range hops {
		if h.cable.ends[0].port == nil && h.cable.ends[1].port == nil {
			h.cable.vcs.give(atm.VC{VPI: h.vc.VPI, VCI: h.vc.VCI &^ 1})
		}
	}
}

// controlCircuit is the control circuit between two nodes. That of two nodes at the same switch is not kept, as it can only
// be what it is.
func (f *fabric) controlCircuit(a, b *port) *circuit {
	if a.id > b.id {
		a, b = b, a
	}
	if c := f.controls[[2]int{a.id, b.id}]; c != nil {
		return c
	}
	c := &circuit{ends: [2]*port{a, b}, vcs: [2]atm.VC{controlVC(b.id), controlVC(a.id)}, control: true}
	if a != b {
		c.hops = []hop{{a.cable, a.cable.side(a), c.vcs[0]}}
		if b.cable != a.cable {
			c.hops = append(c.hops, hop{b.cable, 1 - b.cable.side(b), c.vcs[1]})
		}
	}
	return c
}

// connectControl sets up the control circuits between all nodes.
func (f *fabric) connectControl() error {
	pairs := func(do func(a, b *port, cables []*cable) error) error {
		for i, a := range f.ports {
			for _, b := range f.ports[i+1:] {
				cables, ok := f.way(a, b, true)
				if !ok {
					return fmt.Errorf("no way leads from node %s to node %s", f.topology.Nodes[a.id], f.topology.Nodes[b.id])
				}
				if err := do(a, b, cables); err != nil {
					return err
				}
			}
		}
		return nil
	}
	hops := 0
	err := pairs(func(_, _ *port, cables []*cable) error { // before the first takes memory
		if len(cables) > 2 {
			hops += len(cables)
		}
		if hops > maxHops {
			return fmt.Errorf("the control circuits between %d nodes pass more than %d links in all, which is too many; take fewer nodes or a topology with shorter ways", len(f.ports), maxHops)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return pairs(func(a, b *port, cables []*cable) error {
		c := &circuit{ends: [2]*port{a, b}, vcs: [2]atm.VC{controlVC(b.id), controlVC(a.id)}, control: true}
		if len(cables) > 2 {
			f.controls[[2]int{a.id, b.id}] = c
		}
		return f.lay(c, cables)
	})
}

// all calls do for every circuit between two nodes, in an order of its own. f.mu is held.
func (f *fabric) all(do func(*circuit)) {
	for i, a := range f.ports {
		for _, b := range f.ports[i+1:] {
			do(f.controlCircuit(a, b))
		}
	}
	for _, p := range f.ports {
		for vc, c := range p.circuits {
			if c.ends[0] == p && c.vcs[0] == vc && len(c.hops) > 0 {
				do(c)
			}
		}
	}
}

// move leads circuits that are broken on another way, if there is one, and says how many it moved, how many stay broken, and which nodes can
// therefore not talk to each other: the pairs, the lower number first. f.mu is held.
func (f *fabric) move() (moved, stranded int, apart map[[2]int]bool) {
	apart = map[[2]int]bool{}
	strand := func(c *circuit) {
		stranded++
		if c.control {
			apart[[2]int{c.ends[0].id, c.ends[1].id}] = true
		}
	}
	f.all(func(c *circuit) {
		if !c.broken() {
			return
		}
		cables, ok := f.way(c.ends[0], c.ends[1], false)
		if !ok {
			strand(c)
			return
		}
		old := c.hops
		f.disconnect(c)
		if err := f.lay(c, cables); err == nil {
			moved++
			return
		}
		strand(c)
		cables = cables[:0] // back where it was: there were VCs for it, and there are
		for _, h := range old {
			cables = append(cables, h.cable)
		}
		if err := f.lay(c, cables); err != nil {
			f.log.Error("a circuit is lost", "from", c.ends[0].id, "to", c.ends[1].id, "error", err)
		}
	})
	return moved, stranded, apart
}
