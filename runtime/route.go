package runtime

import (
	"container/heap"
	"math/bits"
	"time"
)

// A graph is what circuits find their way in: switches, and the interfaces of nodes that have several links, joined by cables. Nodes
// themselves are no part of it: each hangs on one of its places.
type graph struct {
	places  []place
	found   map[search]distances // as long as no cable changes
	version int                  // how often cables have changed
}

// A place is a switch or an interface.
type place struct {
	edges     []edge
	nodesOnly bool // an interface: only the circuits of its node pass through it
}

// A search is for ways to a place, over cables that work or over all.
type search struct {
	to  int
	all bool
}

// An edge is a cable as seen from one of its ends.
type edge struct {
	to    int
	cable *cable
}

// distances are the costs of the ways from all places to one. far: there is none.
type distances []uint64

const far = 1<<64 - 1

// cost is that of passing a cable: one of two ways is shorter if it has fewer cables, or else less delay.
func (c *cable) cost() uint64 {
	const hop = 1 << 52 // an hour, the longest delay, is less than 2^42 ns, and there are fewer than 2^10 of these
	delay := time.Duration(0)
	for i := range c.ways {
		delay = max(delay, c.ways[i].Delay)
	}
	return hop + uint64(delay)
}

// changed forgets what was found: a cable has failed or has come back.
func (g *graph) changed() {
	g.found = map[search]distances{}
	g.version++
}

// distances are the costs from all places to one, through switches only (E. W. Dijkstra, 1959).
func (g *graph) distances(s search) distances {
	if d := g.found[s]; d != nil {
		return d
	}
	d := make(distances, len(g.places))
	for i := range d {
		d[i] = far
	}
	d[s.to] = 0
	open := frontier{{s.to, 0}}
	for len(open) > 0 {
		next := heap.Pop(&open).(reached)
		if next.cost > d[next.place] || next.place != s.to && g.places[next.place].nodesOnly {
			continue // reached before on a shorter way, or an interface, which passes nothing on
		}
		for _, e := range g.places[next.place].edges {
			if e.cable.down() && !s.all {
				continue
			}
			if cost := next.cost + e.cable.cost(); cost < d[e.to] {
				d[e.to] = cost
				heap.Push(&open, reached{e.to, cost})
			}
		}
	}
	g.found[s] = d
	return d
}

// route finds the cables of the shortest way from place a to b. With all, cables that are down are as good as others. Of ways that cost the same,
// spread chooses one. False: there is none.
func (g *graph) route(a, b int, all bool, spread uint64) (cables []*cable, ok bool) {
	d := g.distances(search{b, all})
	if d[a] == far {
		return nil, false
	}
	var best []edge
	for a != b {
		best = best[:0]
		for _, e := range g.places[a].edges {
			if e.to != b && g.places[e.to].nodesOnly || e.cable.down() && !all || d[e.to] == far {
				continue
			}
			if d[e.to]+e.cable.cost() == d[a] {
				best = append(best, e)
			}
		}
		e := best[spread%uint64(len(best))] // there is one: d[a] was found through it
		spread = bits.RotateLeft64(spread, 17)
		cables = append(cables, e.cable)
		a = e.to
	}
	return cables, true
}

// frontier is a heap of the places reached, the nearest on top.
type (
	frontier []reached
	reached  struct {
		place int
		cost  uint64
	}
)

func (f frontier) Len() int           { return len(f) }
func (f frontier) Less(i, j int) bool { return f[i].cost < f[j].cost }
func (f frontier) Swap(i, j int)      { f[i], f[j] = f[j], f[i] }

// Push adds the reached place x.
func (f *frontier) Push(x any) { *f = append(*f, x.(reached)) }

// Pop takes the last away.
func (f *frontier) Pop() any {
	n := len(*f) - 1
	last := (*f)[n]
	*f = (*f)[:n]
	return last
}
