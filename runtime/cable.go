package runtime

import (
	"crypto/sha256"

	"rmemrun/atm"
)

// A cable is a link as it is built: a line in each direction, and the VCs that circuits have on it. Both lines of a circuit use the same VC.
type cable struct {
	name  string
	ends  [2]plug
	ways  [2]way // ways[i] leaves ends[i]
	vcs   *vcs
	paths [2]*pathEnd // by end; nil: its continuity is not checked
	inner bool        // within a node, between it and its interface: no link of the topology
}

// A plug is where a cable ends: in a port of a switch, or at a node.
type plug struct {
	name   string
	x      *exchange // nil at a node
	number int       // of the port of x
	port   *port     // nil at a switch
}

// A way is one direction of a cable.
type way struct {
	Way
	in     atm.Receiver // takes the cells
	line   *atm.Line    // nil: it is a link in memory
	link   *atm.Link
	defect Defect         // that the far end has noticed. Guarded by fabric.mu
	ais    *atm.AISSource // tells the ends of the circuits so
}

// down reports whether the cable has failed in one direction at least. fabric.mu is held.
func (c *cable) down() bool { return c.ways[0].defect|c.ways[1].defect != 0 }

// Receive puts a cell into the way.
func (w *way) Receive(c *atm.Cell) { w.in.Receive(c) }

// slow reports whether cells need time for the way.
func (w *way) slow() bool {
	m := &w.Impairment
	return w.Rate != atm.Unlimited || w.Delay > 0 || m.Jitter > 0 || m.Reorder > 0
}

// An exchange is a switch in the network, or the interface of a node that has several links, which is one too.
type exchange struct {
	name  string
	place int // in the graph
	sw    *atm.Switch
	plugs []*cable // by port
}

// An ingress is where cells come into an exchange. Loopback requests that ask for the exchange are answered here (see
// atm.LoopbackPoint); all else goes to the switch.
type ingress struct {
	point atm.LoopbackPoint
	port  atm.Receiver
	back  *way // to where the cells came from
}

// Receive takes a cell that has come in.
func (g *ingress) Receive(c *atm.Cell) {
	if c.PT() == atm.PTSegmentOAM {
		g.manage(c)
		return
	}
	g.port.Receive(c)
}

func (g *ingress) manage(c *atm.Cell) {
	pass := true
	if _, ok := c.Header(); ok { // a damaged header is the switch's to find
		var reply atm.Cell
		var answered bool
		if answered, pass = g.point.Answer(c, &reply); answered {
			g.back.in.Receive(&reply)
		}
	}
	if pass {
		g.port.Receive(c)
	}
}

// A tap shows the cells that pass a place in a cable.
type tap struct {
	to   atm.Receiver
	show func(c *atm.Cell)
}

// Receive shows a cell and passes it on.
func (t *tap) Receive(c *atm.Cell) {
	t.show(c)
	t.to.Receive(c)
}

// Flow is that of the line behind the tap.
func (t *tap) Flow(class atm.Class, frames bool) atm.Receiver {
	if q, ok := t.to.(queuer); ok {
		return &tap{q.Flow(class, frames), t.show}
	}
	return t
}

// locationID is how a place or a link is called in OAM cells: by its name, or, if that is too long for them, by a digest of it.
func locationID(name string) (id atm.LocationID) {
	if len(name) <= len(id) {
		copy(id[:], name)
		return id
	}
	digest := sha256.Sum256([]byte(name))
	copy(id[:], digest[:])
	return id
}

// vcs are the free pairs of VCs of a cable, or of the loop of a node: an even VCI, which stands for the pair, and the next, in a range of VCIs of
// some paths. They are given out round the range, so that one that is given back rests as long as can be: cells of its last
// circuit may still be under way.
type vcs struct {
	first, perPath int // VCIs, pairs
	next, count    int
	pairs          int
	used           []bool // by pair; grows
}

// newVCs makes the pairs from the even VCI first up to end, which is not one of them, of the paths from 0.
func newVCs(first, end, paths int) *vcs {
	per := (end - first) / 2
	return &vcs{first: first, perPath: per, pairs: per * paths}
}

// take takes a pair; false if all are in use.
func (v *vcs) take() (atm.VC, bool) {
	if v.count == v.pairs {
		return atm.VC{}, false
	}
	for v.next < len(v.used) && v.used[v.next] {
		v.next = (v.next + 1) % v.pairs
	}
	i := v.next
	if i == len(v.used) {
		v.used = append(v.used, false)
	}
	v.used[i] = true
	v.count++
	v.next = (i + 1) % v.pairs
	return atm.VC{VPI: uint8(i / v.perPath), VCI: uint16(v.first + 2*(i%v.perPath))}, true
}

// give gives a pair back.
func (v *vcs) give(vc atm.VC) {
	v.used[int(vc.VPI)*v.perPath+(int(vc.VCI)-v.first)/2] = false
	v.count--
}
