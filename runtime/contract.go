package runtime

import (
	"fmt"
	"path"

	"rmemrun/atm"
)

// A Contract says what the circuits between some nodes may send, in one direction, and how their cells are served. It is that of each of
// the two VCs of a circuit by itself. Control circuits have none: they are UBR.
type Contract struct {
	From, To string    // patterns of the names of nodes, as of path.Match; "": all nodes
	Class    atm.Class // the queues in which the cells wait for links
	Traffic  atm.Traffic
	Police   Conformance // what the first switch does with cells beyond Traffic
	Shape    int         // how many cells beyond Traffic may wait at their source; 0: it does not look at Traffic
}

// A Conformance is a conformance definition of ATM Forum TM 4.1 (af-tm-0121): by which rates a circuit is policed, and what is done with
// cells that do not conform.
//
//	        PCR of    SCR of    beyond the SCR       beyond the PCR
//	CBR.1   CLP 0+1   –         –                    discarded
//	VBR.1   CLP 0+1   CLP 0+1   discarded            discarded
//	VBR.2   CLP 0+1   CLP 0     discarded            discarded
//	VBR.3   CLP 0+1   CLP 0     tagged with CLP 1    discarded
//	UBR.1   CLP 0+1   –         –                    discarded
//	UBR.2   CLP 0+1   –         –                    tagged with CLP 1, discarded if they have it
type Conformance uint8

// Conformance definitions.
const (
	Unpoliced Conformance = iota
	CBR1
	VBR1
	VBR2
	VBR3
	UBR1
	UBR2
)

// conformances are the definitions, with what a switch is told.
var conformances = [...]struct {
	name        string
	class       atm.Class
	transparent bool // the SCR is of CLP 0+1
	policing    atm.Policing
}{
	CBR1: {"CBR.1", atm.CBR, false, atm.PoliceDiscard},
	VBR1: {"VBR.1", atm.VBR, true, atm.PoliceDiscard},
	VBR2: {"VBR.2", atm.VBR, false, atm.PoliceDiscard},
	VBR3: {"VBR.3", atm.VBR, false, atm.PoliceTag},
	UBR1: {"UBR.1", atm.UBR, false, atm.PoliceDiscard},
	UBR2: {"UBR.2", atm.UBR, false, atm.PoliceTag},
}

// String is the name of the definition, "VBR.3"; "" if there is none.
func (c Conformance) String() string {
	if int(c) < len(conformances) {
		return conformances[c].name
	}
	return fmt.Sprintf("Conformance(%d)", uint8(c))
}

// check finds what cannot be, by itself and among nodes with these names.
func (k *Contract) check(nodes []string) error {
	for _, pattern := range []string{k.From, k.To} {
		if pattern == "" {
			continue
		}
		found := false
		for _, name := range nodes {
			match, err := path.Match(pattern, name)
			if err != nil {
				return fmt.Errorf("%q is no pattern of names: * and ? stand for letters, [a-c] for one of some", pattern)
			}
			found = found || match
		}
		if !found {
			return fmt.Errorf("a contract of %q is that of no node", pattern)
		}
	}
	if k.Police == Unpoliced && k.Shape == 0 {
		if k.Traffic != (atm.Traffic{}) {
			return fmt.Errorf("a contract has rates, and nothing looks at them: say how it is policed, or let it be shaped")
		}
		return nil
	}
	if k.Police != Unpoliced {
		d := conformances[k.Police]
		switch {
		case k.Class != d.class:
			return fmt.Errorf("a contract of the class %v cannot be policed by %v", k.Class, k.Police)
		case d.class == atm.VBR && k.Traffic.SCR == 0:
			return fmt.Errorf("%v needs a sustainable cell rate, scr, and a maximum burst size, mbs", k.Police)
		}
	}
	if k.Class != atm.VBR && (k.Traffic.SCR != 0 || k.Traffic.MBS != 0) {
		return fmt.Errorf("a contract of the class %v has no scr and mbs; those are for vbr", k.Class)
	}
	if _, err := atm.NewPolicer(k.Traffic, k.policing() == atm.PoliceTag); err != nil {
		return err
	}
	if k.Shape != 0 {
		_, err := atm.NewShaper(nowhere{}, atm.ShaperConfig{Clock: atm.NewSimClock(), Traffic: k.Traffic, Size: k.Shape})
		return err
	}
	return nil
}

func (k *Contract) policing() atm.Policing { return conformances[k.Police].policing }

// lossy reports whether a topology has contracts by which cells are lost or wait.
func (t *Topology) lossy() bool {
	for _, k := range t.Contracts {
		if k.Police != Unpoliced || k.Shape != 0 {
			return true
		}
	}
	return false
}

// A terms is a contract in a network, with what became of its cells.
type terms struct {
	Contract
	police atm.PolicerCounters // of circuits that are gone. Guarded by fabric.mu
	shape  atm.ShaperCounters  // likewise
}

// add adds up the counters of policers.
func add(to *atm.PolicerCounters, n atm.PolicerCounters) {
	to.Passed += n.Passed
	to.Tagged += n.Tagged
	to.Discarded += n.Discarded
}

// terms is the first contract for circuits from one node to another; nil: there is none.
func (f *fabric) terms(from, to *port) *terms {
	for _, k := range f.contracts {
		if k.matches(f.topology.Nodes[from.id], f.topology.Nodes[to.id]) {
			return k
		}
	}
	return nil
}

func (k *Contract) matches(from, to string) bool {
	is := func(pattern, name string) bool {
		match, err := path.Match(pattern, name)
		return pattern == "" || err == nil && match
	}
	return is(k.From, from) && is(k.To, to)
}

// contract is what the switch at joint i of a circuit is told of VC n in the direction from end: the class at each, the rates at the first
// that is not a node's own.
func (f *fabric) contract(c *circuit, end, i int, n uint16) atm.Contract {
	to := atm.Contract{FrameDiscard: c.control || n == 1} // both carry AAL5
	k := c.terms[end]
	if k == nil {
		return to
	}
	to.Class = k.Class
	if k.Police != Unpoliced && i == f.entrance(c, end) {
		to.Traffic, to.Policing = k.Traffic, k.policing()
	}
	return to
}

// entrance is the joint at which cells of a circuit from end come into the network; -1 if there is no switch in between.
func (f *fabric) entrance(c *circuit, end int) int {
	own := func(i int) bool {
		x := c.hops[i].cable.ends[1-c.hops[i].near].x
		return f.graph.places[x.place].nodesOnly
	}
	last := len(c.hops) - 2
	if end == 0 {
		for i := 0; i <= last; i++ {
			if !own(i) {
				return i
			}
		}
		return -1
	}
	for i := last; i >= 0; i-- {
		if !own(i) {
			return i
		}
	}
	return -1
}

// policed adds what policing made of the cells of a circuit from end, since it was led this way.
func (f *fabric) policed(c *circuit, end int) (n atm.PolicerCounters) {
	if k := c.terms[end]; k == nil || k.Police == Unpoliced {
		return n
	}
	i := f.entrance(c, end)
	if i < 0 {
		return n
	}
	a, b := c.hops[i], c.hops[i+1]
	in, vc := a.cable.ends[1-a.near], a.vc
	if end == 1 {
		in, vc = b.cable.ends[b.near], b.vc
	}
	for k := range c.number() {
		if of, ok := in.x.sw.Policed(in.number, atm.VC{VPI: vc.VPI, VCI: vc.VCI + k}); ok {
			add(&n, of)
		}
	}
	return n
}

// A source is where the cells of a VC with a contract leave their node.
type source struct {
	in     atm.Receiver
	shaper *atm.Shaper // nil: not shaped
}

// A queuer is a link that has queues by class.
type queuer interface {
	Flow(class atm.Class, frames bool) atm.Receiver
}

// addSources makes the sources of a circuit that has contracts. f.mu is held.
func (f *fabric) addSources(c *circuit) error {
	for end, k := range c.terms {
		if k == nil || k.Class == atm.UBR && k.Shape == 0 {
			continue
		}
		p := c.ends[end]
		for n := range c.number() {
			s := &source{in: p.line}
			if q, ok := p.line.(queuer); ok {
				s.in = q.Flow(k.Class, n == 1)
			}
			if k.Shape > 0 {
				var err error
				s.shaper, err = atm.NewShaper(s.in, atm.ShaperConfig{
					Clock: f.clock, Traffic: k.Traffic, Size: k.Shape,
					OnDrop: func(c *atm.Cell, why atm.DropReason) { f.dropped(p.cable, p.cable.side(p), c, why) },
				})
				if err != nil {
					return err
				}
				s.in = s.shaper
			}
			p.setSource(atm.VC{VPI: c.vcs[end].VPI, VCI: c.vcs[end].VCI + n}, s)
		}
	}
	return nil
}

// endSources ends what addSources began. Cells that wait are dropped. f.mu is held.
func (f *fabric) endSources(c *circuit) {
	for end, k := range c.terms {
		if k == nil {
			continue
		}
		p := c.ends[end]
		for n := range c.number() {
			vc := atm.VC{VPI: c.vcs[end].VPI, VCI: c.vcs[end].VCI + n}
			s := p.source(vc)
			if s == nil {
				continue
			}
			p.setSource(vc, nil)
			if s.shaper != nil {
				s.shaper.Close()
				shaped := s.shaper.Counters()
				k.shape.Offered += shaped.Offered
				k.shape.Delivered += shaped.Delivered
				for i, dropped := range shaped.Dropped {
					k.shape.Dropped[i] += dropped
				}
			}
		}
	}
}

// source is where the cells of a VC leave the node if it has a contract; else nil. It takes no lock.
func (p *port) source(vc atm.VC) *source {
	if all := p.sources.Load(); all != nil {
		return (*all)[vc]
	}
	return nil
}

// setSource changes that. f.mu is held.
func (p *port) setSource(vc atm.VC, s *source) {
	all := map[atm.VC]*source{}
	if old := p.sources.Load(); old != nil {
		for k, v := range *old {
			all[k] = v
		}
	}
	if delete(all, vc); s != nil {
		all[vc] = s
	}
	p.sources.Store(&all)
}
