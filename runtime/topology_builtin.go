package runtime

import (
	"fmt"
	"slices"
	"strings"
)

// builtins are the topologies that have a name; each makes that of n nodes.
var builtins = []struct {
	name string
	most int // nodes
	make func(t *Topology, n int)
}{
	{"star", MaxNodes, star},
	{"ring", MaxNodes, ring},
	{"line", MaxNodes, line},
	{"mesh", 128, mesh},
	{"fattree", MaxNodes, fatTree},
}

// Builtins are the words that BuiltinTopology takes.
func Builtins() []string {
	var names []string
	for _, b := range builtins {
		names = append(names, b.name)
	}
	return names
}

// BuiltinTopology makes a topology of n nodes, called n0, n1, ..., and switches, called s0, s1, ...:
//
//	star      one switch
//	ring      a switch for each node, in a ring
//	line      a switch for each node, in a line
//	mesh      a switch for each node, each linked to all others
//	fattree   the smallest k-ary fat tree for them (M. Al-Fares, A. Loukissas, A. Vahdat, SIGCOMM 2008): k pods of k/2 edge and k/2
//	          aggregation switches, (k/2)² core switches, k³/4 places for nodes
//
// The links take no time and lose nothing; [Topology.EachWay] can change that.
func BuiltinTopology(word string, n int) (*Topology, error) {
	for _, b := range builtins {
		if b.name != word {
			continue
		}
		if n < 1 || n > b.most {
			return nil, fmt.Errorf("a %s of %d nodes is not possible, 1 to %d are", word, n, b.most)
		}
		t := &Topology{}
		for i := range n {
			t.Nodes = append(t.Nodes, fmt.Sprint("n", i))
		}
		b.make(t, n)
		return t, nil
	}
	return nil, fmt.Errorf("no topology is called %q; there is %s", word, strings.Join(Builtins(), ", "))
}

// DefaultTopology is the network of a job that names none: two nodes are back to back, more are on one switch.
func DefaultTopology(n int) *Topology {
	t := &Topology{}
	for i := range n {
		t.Nodes = append(t.Nodes, fmt.Sprint("n", i))
	}
	switch {
	case n == 2:
		t.link("n0", "n1")
	case n > 2:
		star(t, n)
	}
	return t
}

// EachWay calls do for both directions of all links, until there is an error, which it returns.
func (t *Topology) EachWay(do func(*Way) error) error {
	for i := range t.Links {
		for w := range t.Links[i].Ways {
			if err := do(&t.Links[i].Ways[w]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *Topology) addSwitch() string {
	name := fmt.Sprint("s", len(t.Switches))
	t.Switches = append(t.Switches, name)
	return name
}

func (t *Topology) link(a, b string) {
	t.Links = append(t.Links, Link{Name: linkName(a, b), Ends: [2]string{a, b}})
}

// linkName is what a link is called that was given no name.
func linkName(a, b string) string { return a + "-" + b }

func star(t *Topology, _ int) {
	s := t.addSwitch()
	for _, node := range t.Nodes {
		t.link(node, s)
	}
}

// each gives every node a switch of its own.
func each(t *Topology) {
	for _, node := range t.Nodes {
		t.link(node, t.addSwitch())
	}
}

func line(t *Topology, n int) {
	each(t)
	for i := range n - 1 {
		t.link(t.Switches[i], t.Switches[i+1])
	}
}

func ring(t *Topology, n int) {
	line(t, n)
	if n > 2 { // two are a ring already, with one link
		t.link(t.Switches[n-1], t.Switches[0])
	}
}

func mesh(t *Topology, n int) {
	each(t)
	for i := range n {
		for j := range i {
			t.link(t.Switches[j], t.Switches[i])
		}
	}
}

func fatTree(t *Topology, n int) {
	k := 2
	for k*k*k/4 < n {
		k += 2
	}
	half := k / 2
	nodes := slices.Clone(t.Nodes)
	var core []string
	for range half * half {
		core = append(core, t.addSwitch())
	}
	for range k {
		var edge, aggregation []string
		for range half {
			edge = append(edge, t.addSwitch())
		}
		for i := range half {
			a := t.addSwitch()
			aggregation = append(aggregation, a)
			for j := range half {
				t.link(a, core[i*half+j])
			}
		}
		for _, e := range edge {
			for _, a := range aggregation {
				t.link(e, a)
			}
			for range min(half, len(nodes)) {
				t.link(nodes[0], e)
				nodes = nodes[1:]
			}
		}
	}
}
