package runtime

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"time"

	"rmemrun/atm"
)

// A Topology says what the network of a job is made of: nodes and switches, and the links that join them. It is loaded from a file
// ([LoadTopology]) or made from a word ([BuiltinTopology]).
type Topology struct {
	// Nodes and Switches are the names of the places. Node i of the job is called Nodes[i].
	Nodes, Switches []string
	Links           []Link
	// Contracts are those of the circuits between nodes: the first that matches is that of a circuit in one direction.
	Contracts []Contract
	// Tree promises that there is one way only between any two places: a cycle is then an error.
	Tree bool
}

// A Link joins two places by one line in each direction.
type Link struct {
	Name string
	Ends [2]string // names of nodes or switches
	Ways [2]Way    // from Ends[0] to Ends[1], and back
}

// A Way is one direction of a link. The zero value is a link in memory: it takes no time and loses nothing.
type Way struct {
	Rate       float64       // cells/s; 0: unlimited
	Delay      time.Duration // propagation delay
	Queueing   atm.Queueing
	Impairment atm.Impairment
	Cuts       []atm.Outage // when it is cut, since the job began, and its far end sees that by the signal; Impairment.Outages nobody sees
}

// leastDelay is the propagation delay of a link that is unreliable and has none of its own: that of 2 km of fibre. The time-outs of
// assured delivery follow the round trip that they measure. On a network that delivers at once, or not at all, there is none.
const leastDelay = 10 * time.Microsecond

// unreliable reports whether cells may not arrive as they were sent.
func (w *Way) unreliable() bool {
	return len(w.Cuts) > 0 || !reflect.DeepEqual(w.Impairment, atm.Impairment{})
}

// config is what the line is made with.
func (w *Way) config(name string, clock atm.Clock, seed uint64) atm.LineConfig {
	return atm.LineConfig{
		Name: name, Clock: clock, Rate: w.Rate, Delay: w.Delay, Queueing: w.Queueing, Impairment: w.Impairment, Seed: seed,
	}
}

// validName is what a place or link may be called.
var validName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,63}$`)

// Bounds of a topology.
const (
	maxSwitches  = 4096
	maxLinks     = 16384
	maxContracts = 1024
)

// A part names a piece of a topology, so that an error can say where in a file it is.
type part struct {
	list  string // "nodes", "switches", "links", "contracts"
	index int
	end   int // of a link: -1 the link itself, else one of its ends
}

// wholeTopology is the part that is everything.
var wholeTopology = part{}

// check finds what is wrong with the topology; fail is told of each, with the part that it is about.
func (t *Topology) check(fail func(p part, format string, args ...any)) {
	if len(t.Nodes) == 0 {
		fail(wholeTopology, "there is no node")
		return
	}
	if len(t.Nodes) > MaxNodes {
		fail(wholeTopology, "there are %d nodes, at most %d are possible", len(t.Nodes), MaxNodes)
		return
	}
	if len(t.Switches) > maxSwitches || len(t.Links) > maxLinks || len(t.Contracts) > maxContracts {
		fail(wholeTopology, "there are %d switches, %d links and %d contracts, at most %d, %d and %d are possible",
			len(t.Switches), len(t.Links), len(t.Contracts), maxSwitches, maxLinks, maxContracts)
		return
	}
	sound := true
	bad := func(p part, format string, args ...any) {
		sound = false
		fail(p, format, args...)
	}
	places := map[string]int{}
	for _, l := range []struct {
		list  string
		names []string
	}{{"nodes", t.Nodes}, {"switches", t.Switches}} {
		for i, name := range l.names {
			p := part{l.list, i, -1}
			if !validName.MatchString(name) {
				bad(p, "%q is not a name: a letter, then up to 63 letters, digits, _ . -", name)
			} else if _, taken := places[name]; taken {
				bad(p, "the name %s is given twice", name)
			}
			places[name] = len(places)
		}
	}
	links := map[string]bool{}
	for i := range t.Links {
		l := &t.Links[i]
		p := part{"links", i, -1}
		if !validName.MatchString(l.Name) {
			bad(p, "%q is not a name of a link: a letter, then up to 63 letters, digits, _ . -", l.Name)
		} else if links[l.Name] {
			bad(p, "there are two links %s; give one another name", l.Name)
		}
		links[l.Name] = true
		for end, name := range l.Ends {
			if _, ok := places[name]; !ok {
				bad(part{"links", i, end}, "link %s leads to %q, which is neither a node nor a switch", l.Name, name)
			}
		}
		if l.Ends[0] == l.Ends[1] {
			bad(p, "link %s leads from %s to itself", l.Name, l.Ends[0])
		}
		for _, w := range l.Ways {
			if _, err := atm.NewLine(nowhere{}, w.config(l.Name, atm.NewSimClock(), 0)); err != nil {
				bad(p, "%w", err)
				break
			}
			for _, c := range w.Cuts {
				if c.From < 0 || c.To <= c.From {
					bad(p, "link %s: a cut from %v to %v does not end after it begins", l.Name, c.From, c.To)
				}
			}
		}
	}
	for i := range t.Contracts {
		if err := t.Contracts[i].check(t.Nodes); err != nil {
			bad(part{"contracts", i, -1}, "%w", err)
		}
	}
	if sound {
		t.checkShape(places, bad)
	}
}

// checkShape finds places that cannot be reached, and cycles where there may be none.
func (t *Topology) checkShape(places map[string]int, bad func(p part, format string, args ...any)) {
	joined := newForest(len(places))
	for i, l := range t.Links {
		if !joined.join(places[l.Ends[0]], places[l.Ends[1]]) && t.Tree {
			bad(part{"links", i, -1}, "link %s closes a cycle, and the topology is said to be a tree", l.Name)
		}
	}
	// Cells do not pass through nodes, so a node that holds two halves together does not join them.
	through := newForest(len(places))
	nodes := len(t.Nodes)
	for _, l := range t.Links {
		if a, b := places[l.Ends[0]], places[l.Ends[1]]; a >= nodes && b >= nodes {
			through.join(a, b)
		}
	}
	first := t.Nodes[0]
	for i, name := range t.Nodes[1:] {
		if joined.root(i+1) != joined.root(0) {
			bad(part{"nodes", i + 1, -1}, "node %s cannot be reached from node %s: no way joins them", name, first)
		}
	}
	for i, name := range t.Switches {
		if joined.root(nodes+i) != joined.root(0) {
			bad(part{"switches", i, -1}, "switch %s cannot be reached from node %s: no way joins them", name, first)
		}
	}
	t.checkTransit(places, through, joined, bad)
}

// checkTransit finds pairs of nodes that are joined only by way of a third node.
func (t *Topology) checkTransit(places map[string]int, through, joined *forest, bad func(p part, format string, args ...any)) {
	nodes := len(t.Nodes)
	reach := make([][]int, nodes) // the parts of the network of switches that a node is linked to
	linked := map[[2]int]bool{}   // nodes that are linked to each other
	for _, l := range t.Links {
		a, b := places[l.Ends[0]], places[l.Ends[1]]
		switch {
		case a < nodes && b < nodes:
			linked[[2]int{min(a, b), max(a, b)}] = true
		case a < nodes:
			reach[a] = append(reach[a], through.root(b))
		case b < nodes:
			reach[b] = append(reach[b], through.root(a))
		}
	}
	for i := range reach {
		slices.Sort(reach[i])
		reach[i] = slices.Compact(reach[i])
	}
	for b := 1; b < nodes; b++ {
		for a := range b {
			if joined.root(a) == joined.root(b) && !meet(reach[a], reach[b]) && !linked[[2]int{a, b}] {
				bad(part{"nodes", b, -1}, "node %s can be reached from node %s only through another node, and nodes pass nothing on", t.Nodes[b], t.Nodes[a])
				return
			}
		}
	}
}

// meet reports whether two sorted lists have an element in common.
func meet(a, b []int) bool {
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] == b[0]:
			return true
		case a[0] < b[0]:
			a = a[1:]
		default:
			b = b[1:]
		}
	}
	return false
}

// Check returns what is wrong with the topology, nil if it can be built.
func (t *Topology) Check() error {
	var first error
	t.check(func(_ part, format string, args ...any) {
		if first == nil {
			first = fmt.Errorf(format, args...)
		}
	})
	return first
}

// A forest keeps sets of numbers that are joined one by one (R. E. Tarjan's disjoint sets).
type forest struct{ parents []int }

func newForest(n int) *forest {
	f := &forest{make([]int, n)}
	for i := range f.parents {
		f.parents[i] = i
	}
	return f
}

// root is the same for all that are joined.
func (f *forest) root(i int) int {
	for f.parents[i] != i {
		f.parents[i] = f.parents[f.parents[i]]
		i = f.parents[i]
	}
	return i
}

// join joins two sets; false means that they were one.
func (f *forest) join(a, b int) bool {
	a, b = f.root(a), f.root(b)
	f.parents[max(a, b)] = min(a, b)
	return a != b
}

// nowhere is where cells end that nobody wants.
type nowhere struct{}

func (nowhere) Receive(*atm.Cell) {}
