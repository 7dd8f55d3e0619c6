package runtime

import (
	"fmt"
	"sync"
	"testing"

	"rmemrun/atm"
	"rmemrun/rmem"
)

var _ rmem.Network = (*port)(nil)

// A recorder keeps the cells that a node receives.
type recorder struct {
	mu    sync.Mutex
	cells []atm.Cell
}

func (r *recorder) Receive(c *atm.Cell) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cells = append(r.cells, *c)
}

// newTestFabric makes a network whose nodes record what they receive.
func newTestFabric(t *testing.T, nodes int) (*fabric, []*recorder) {
	t.Helper()
	f, err := newFabric(fabricConfig{topology: DefaultTopology(nodes), memory: true})
	if err != nil {
		t.Fatal(err)
	}
	recorders := make([]*recorder, nodes)
	for i := range recorders {
		recorders[i] = new(recorder)
		f.attach(i, recorders[i])
	}
	return f, recorders
}

// cell makes a cell of a circuit with some payload.
func cell(vc atm.VC, payload byte) *atm.Cell {
	c := new(atm.Cell)
	c.SetHeader(atm.Header{VC: vc, PT: atm.PTUserEnd})
	c.Payload()[47] = payload
	return c
}

// expect checks that the one cell that has arrived anywhere is that of vc at node.
func expect(t *testing.T, recorders []*recorder, node int, vc atm.VC, payload byte) {
	t.Helper()
	for i, r := range recorders {
		want := 0
		if i == node {
			want = 1
		}
		if len(r.cells) != want {
			t.Errorf("node %d got %d cells, want %d", i, len(r.cells), want)
			r.cells = nil
			continue
		}
		for _, c := range r.cells {
			h, ok := c.Header()
			if !ok || h.VC != vc || h.PT != atm.PTUserEnd || c.Payload()[47] != payload {
				t.Errorf("node %d got a cell with the header %+v (HEC right: %v), want VC %v", i, h, ok, vc)
			}
		}
		r.cells = nil
	}
}

func TestFabric(t *testing.T) {
	for _, nodes := range []int{1, 2, 3, 8} {
		t.Run(fmt.Sprint(nodes, " nodes"), func(t *testing.T) {
			f, recorders := newTestFabric(t, nodes)
			for a, p := range f.ports {
				for b, q := range f.ports {
					p.Send(cell(controlVC(b), 1))
					expect(t, recorders, b, controlVC(a), 1)

					local, remote, err := p.Open(b)
					if err != nil {
						t.Fatal(err)
					}
					if a == b && local == remote {
						t.Errorf("both ends of the circuit from node %d to itself are %v", a, local)
					}
					if node, ok := p.Peer(local); !ok || node != b {
						t.Errorf("circuit %v of node %d leads to %d, %v, want %d", local, a, node, ok, b)
					}
					if node, ok := q.Peer(remote); !ok || node != a {
						t.Errorf("circuit %v of node %d leads to %d, %v, want %d", remote, b, node, ok, a)
					}
					for i := range uint16(2) {
						l, r := atm.VC{VCI: local.VCI + i}, atm.VC{VCI: remote.VCI + i}
						p.Send(cell(l, 2))
						expect(t, recorders, b, r, 2)
						q.Send(cell(r, 3))
						expect(t, recorders, a, l, 3)
					}
				}
			}
		})
	}
}

func TestFabricClose(t *testing.T) {
	for _, nodes := range []int{1, 2, 3} {
		for peer := range nodes {
			for _, opener := range []bool{true, false} {
				t.Run(fmt.Sprintf("%d nodes, from 0 to %d, closed by the opener %v", nodes, peer, opener), func(t *testing.T) {
					f, _ := newTestFabric(t, nodes)
					p, q := f.ports[0], f.ports[peer]
					local, remote, err := p.Open(peer)
					if err != nil {
						t.Fatal(err)
					}
					kept, _, err := p.Open(peer)
					if err != nil {
						t.Fatal(err)
					}
					for range 2 { // the second time nothing is left to close
						if opener {
							p.Close(local)
						} else {
							q.Close(remote)
						}
					}
					_, here := p.Peer(local)
					_, there := q.Peer(remote)
					if here || there {
						t.Errorf("the circuit is still known: here %v, there %v", here, there)
					}
					if node, ok := p.Peer(kept); !ok || node != peer {
						t.Errorf("another circuit is gone too")
					}
				})
			}
		}
	}
}

// A port has room for a great many circuits, says so when they are all in use, and has as many again when they are closed.
func TestFabricFull(t *testing.T) {
	for _, test := range []struct{ nodes, peer int }{{1, 0}, {2, 0}, {2, 1}, {3, 1}} {
		t.Run(fmt.Sprintf("%d nodes, to node %d", test.nodes, test.peer), func(t *testing.T) {
			f, _ := newTestFabric(t, test.nodes)
			p := f.ports[0]
			var counts [2]int
			for round := range counts {
				var open []atm.VC
				seen := map[atm.VC]bool{}
				for {
					local, _, err := p.Open(test.peer)
					if err != nil {
						break
					}
					if seen[local] || local.VCI < atm.FirstUserVCI+uint16(test.nodes) {
						t.Fatalf("VC %v was given out twice, or is a control circuit", local)
					}
					seen[local] = true
					open = append(open, local)
				}
				counts[round] = len(open)
				for _, vc := range open {
					p.Close(vc)
				}
			}
			if counts[0] < 4096 || counts[0] != counts[1] {
				t.Errorf("there was room for %d circuits, and then for %d", counts[0], counts[1])
			}
		})
	}
}

func TestFabricOpenNowhere(t *testing.T) {
	f, _ := newTestFabric(t, 2)
	for _, peer := range []int{-1, 2} {
		if _, _, err := f.ports[0].Open(peer); err == nil {
			t.Errorf("a circuit to node %d was set up; there are 2 nodes", peer)
		}
	}
	if _, ok := f.ports[0].Peer(atm.VC{VCI: 999}); ok {
		t.Error("a circuit that was never set up leads somewhere")
	}
	f.ports[0].Close(atm.VC{VCI: 999})
}

// A VC that was given back rests: the next circuits have others.
func TestVCsRest(t *testing.T) {
	v := newVCs(100, 110, 2)
	first, _ := v.take()
	v.give(first)
	for range 9 {
		next, ok := v.take()
		if !ok || next == first || next.VCI%2 != 0 || next.VCI < 100 || next.VCI >= 110 || next.VPI > 1 {
			t.Fatalf("after %v came %v, %v", first, next, ok)
		}
		v.give(next)
	}
}

// A cell costs the network no allocation.
func TestFabricAllocations(t *testing.T) {
	for _, nodes := range []int{1, 2, 3} {
		f, err := newFabric(fabricConfig{topology: DefaultTopology(nodes), memory: true})
		if err != nil {
			t.Fatal(err)
		}
		for i := range nodes {
			f.attach(i, discard{})
		}
		local, _, err := f.ports[0].Open(nodes - 1)
		if err != nil {
			t.Fatal(err)
		}
		c := new(atm.Cell)
		if n := testing.AllocsPerRun(100, func() {
			c.SetHeader(atm.Header{VC: local})
			f.ports[0].Send(c)
		}); n != 0 {
			t.Errorf("%d nodes: a cell costs %v allocations", nodes, n)
		}
	}
}

type discard struct{}

func (discard) Receive(*atm.Cell) {}

// BenchmarkFabric is a cell from a node to the last one: over memory links, and over the lines of a star that
// are no slower.
func BenchmarkFabric(b *testing.B) {
	for _, nodes := range []int{1, 2, 3} {
		for _, memory := range []bool{true, false} {
			b.Run(fmt.Sprintf("nodes=%d/memory=%v", nodes, memory), func(b *testing.B) {
				f, err := newFabric(fabricConfig{topology: DefaultTopology(nodes), memory: memory})
				if err != nil {
					b.Fatal(err)
				}
				defer f.close()
				for i := range nodes {
					f.attach(i, discard{})
				}
				local, _, err := f.ports[0].Open(nodes - 1)
				if err != nil {
					b.Fatal(err)
				}
				c := new(atm.Cell)
				b.ReportAllocs()
				for b.Loop() {
					c.SetHeader(atm.Header{VC: local})
					f.ports[0].Send(c)
				}
			})
		}
	}
}
