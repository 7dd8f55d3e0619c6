package tests

import (
	"fmt"
	"maps"
	"regexp"
	"strings"
	"sync"
	"testing"

	"rmemrun/rmem"
	"rmemrun/runtime"
)

// A network is one on which much goes wrong.
type network struct {
	name  string
	word  string // of the topology
	ways  string // of all links
	cut   string // the one link that is cut, if that is not empty; all others stay
	fault string // what drops cells, on a link or at a node, with at least one seed of each program
	long  bool   // it takes many cells to meet one that is lost

	// What goes wrong besides, in words of faults: in some of all runs, and in every one.
	faults, every []string
}

// networks are what programs have to get the right result over. Each link has a delay, so that cells are under way.
//
// Two of them misinsert cells: they come out on another circuit. A program is safe from that if it writes no 37 to 40 bytes at once: all other messages bear
// the key of their circuit, and one of another circuit is dropped, but for a chance of 2⁻²⁸. A write of 37 to 40 bytes has no room for a key, and is believed once in 256
// times (docs/protocol.md, "What is not repaired"): a program that makes some runs without misinsertion.
var networks = []network{
	{name: "no loss", word: "star", ways: "delay=20us"},
	{name: "loss 1e-4", word: "star", ways: "delay=20us,loss=1e-4", fault: "loss", long: true},
	{name: "loss 1e-2", word: "star", ways: "delay=20us,loss=1e-2", fault: "loss"},
	{name: "loss 1e-1", word: "star", ways: "delay=20us,loss=1e-1", fault: "loss"},
	{name: "bursts", word: "star", ways: "delay=20us,burst={enter=1e-3,leave=0.2,loss=1}", fault: "loss"},
	{name: "bit errors", word: "line", ways: "delay=20us,header-errors=1e-5,payload-errors=1e-5", faults: []string{"line header", "line payload"}},
	{name: "duplication", word: "ring", ways: "delay=20us,duplicate=0.05", faults: []string{"line duplicate"}},
	{name: "reordering", word: "mesh", ways: "delay=20us,reorder=0.05,reorder-delay=300us", faults: []string{"line reorder"}},
	{name: "misinsertion", word: "star", ways: "delay=20us,misinsert=0.02", fault: "misinserted"},
	{name: "rate", word: "fattree", ways: "rate=OC-3,delay=10us,queue={size=4}", faults: []string{"queue-full"}}, // a link without a rate has no queue
	{name: "2 s cut", word: "star", ways: "delay=20us,cut=3ms..2003ms", fault: "cut", every: []string{"failed", "cut"}},
	{name: "cut and led around", word: "ring", ways: "delay=20us", cut: "s0-s1", faults: []string{"rerouted"}},
	{name: "everything", word: "ring", cut: "s1-s2",
		fault: "loss", faults: []string{"line duplicate", "line reorder", "rerouted"},
		ways: "rate=OC-12,delay=20us,jitter=10us,loss=0.005,header-errors=1e-6,payload-errors=1e-6,misinsert=0.001,duplicate=0.01,reorder=0.01,reorder-delay=200us"},
}

// faults count what went wrong in runs, by kind.
type faults struct {
	mu    sync.Mutex
	count map[string]uint64
	runs  int
}

// observe counts drops of cells, by the reason, on a link or at a node; as "failed" the failures of links, and as "rerouted" the circuits that
// were led on another way.
func (f *faults) observe(e *runtime.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case e.Kind == runtime.OnLink && e.Link.What == runtime.LinkDropped:
		f.count[e.Link.Drop.String()]++
	case e.Kind == runtime.OnLink && e.Link.What == runtime.LinkFailed:
		f.count["failed"]++
	case e.Kind == runtime.OnLink && e.Link.What == runtime.LinkRerouted:
		f.count["rerouted"] += uint64(e.Link.Moved)
	case e.Kind == runtime.Network && e.Net.Kind == rmem.Dropped:
		f.count[e.Net.Reason.String()]++
	}
}

// add counts another run: what was observed, and the cells that its links have damaged and not lost, as "line" and the fault.
func (f *faults) add(run *faults, links []runtime.LinkReport) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.runs++
	for kind, n := range run.counted() {
		f.count[kind] += n
	}
	for _, l := range links {
		for _, w := range l.Ways {
			for kind, n := range w.Faults {
				f.count["line "+kind] += n
			}
		}
	}
}

// counted is what was counted so far: the last cells of a run may still be on their way when its guests have ended.
func (f *faults) counted() map[string]uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.count)
}

// newFaults counts nothing yet.
func newFaults() *faults { return &faults{count: map[string]uint64{}} }

// misinsert is the fault that a program which writes 37 to 40 bytes is not safe from.
var misinsert = regexp.MustCompile(`,misinsert=[^,]*`)

func (n network) topology(t *testing.T, nodes int) *runtime.Topology {
	t.Helper()
	top, err := runtime.BuiltinTopology(n.word, nodes)
	if err != nil {
		t.Fatal(err)
	}
	if err := top.EachWay(func(w *runtime.Way) error { return runtime.ParseWay(n.ways, w) }); err != nil {
		t.Fatal(err)
	}
	for i := range top.Links {
		if l := &top.Links[i]; l.Name == n.cut {
			for w := range l.Ways {
				if err := runtime.ParseWay("cut=3ms..2003ms", &l.Ways[w]); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return top
}

// TestNetworks runs programs that check their own results on four nodes, over networks that lose, damage, repeat and reorder
// cells, and whose links are cut. With -short it is one seed of some networks, else ten of all.
func TestNetworks(t *testing.T) {
	const nodes = 4
	programs := []struct {
		source, args, long string
		right              string // what each line of the output looks like
		lines              int    // how many there are
		bare               bool   // it writes 37 to 40 bytes at once
	}{
		{"jacobi.c", "16 6", "16 200", `^16 x 16 points, \d+ steps, 4 nodes: equal to one node alone, to the bit; `, 1, false},
		{"counter.c", "8", "80", `^(locked 32, swapped 32, added 32, of 32|locked 320, swapped 320, added 320, of 320)$`, 1, false},
		{"names.c", "16", "200", `^node \d: home of \d+ names, found all (16|200)$`, nodes, false},
		{"alltoall.c", "15", "300", `^node \d: 4 actors x (15|300) operations, all right; `, nodes, true},
	}
	seeds := uint64(10)
	if testing.Short() {
		seeds = 1
	}
	all := map[string]*faults{} // by the network
	for _, n := range networks {
		f := newFaults()
		all[n.name] = f
		t.Cleanup(func() {
			most := int(seeds) * len(programs)
			if n.fault == "misinserted" {
				most -= int(seeds) // without the program that is bare
			}
			for _, kind := range n.faults {
				if f.count[kind] == 0 && f.runs == most {
					t.Errorf("%s: nothing went wrong of the kind %q, but %v: it was not tested", n.name, kind, f.count)
				}
			}
		})
	}
	for _, p := range programs {
		right := regexp.MustCompile(p.right)
		program := compile(t, p.source, static)
		for _, n := range networks {
			if p.bare {
				if n.ways = misinsert.ReplaceAllString(n.ways, ""); n.fault == "misinserted" {
					continue
				}
			}
			if testing.Short() && n.name != "loss 1e-2" && n.name != "misinsertion" && n.name != "cut and led around" && n.name != "everything" {
				continue
			}
			args := p.args
			if n.long {
				args = p.long
			}
			total := newFaults() // with all seeds
			t.Cleanup(func() {
				if n.fault != "" && total.count[n.fault] == 0 && total.runs == int(seeds) && !t.Failed() {
					t.Errorf("%s, %s: no cell was dropped because of %s: nothing was tested", p.source, n.name, n.fault)
				}
			})
			for seed := range seeds {
				t.Run(fmt.Sprintf("%s/%s/seed %d", p.source, n.name, seed+1), func(t *testing.T) {
					t.Parallel()
					run := newFaults()
					var monitor *runtime.NetworkMonitor
					status, stdout, stderr := runJob(t, runtime.Job{
						Topology: n.topology(t, nodes), Seed: seed + 1, Observer: run.observe,
						Monitor: func(m *runtime.NetworkMonitor) { monitor = m },
					}, program, nodes, strings.Fields(args)...)
					links := monitor.Report(false).Links
					total.add(run, links)
					all[n.name].add(run, links)
					for _, kind := range n.every {
						if got := run.counted(); got[kind] == 0 {
							t.Errorf("nothing went wrong of the kind %q, but %v: it was not tested", kind, got)
						}
					}
					said := lines(stdout)
					for _, line := range said {
						if !right.MatchString(line) {
							t.Errorf("it says %q", line)
						}
					}
					if status != 0 || len(said) != p.lines || stderr != "" {
						t.Errorf("status %d, %d lines, want %d; on standard error:\n%s", status, len(said), p.lines, stderr)
					}
				})
			}
		}
	}
}

// TestAdders counts with fetch-and-add over a network that loses every hundredth cell: each request takes effect once.
func TestAdders(t *testing.T) {
	const nodes = 4
	each := 25000 // 10^5 in all
	if testing.Short() {
		each = 500
	}
	n := network{word: "star", ways: "delay=20us,loss=0.01"}
	program := compile(t, "fixtures/adders.c", static)
	status, stdout, stderr := runOver(t, n.topology(t, nodes), 1, nil, program, nodes, fmt.Sprint(each))
	if want := fmt.Sprintln(nodes * each); status != 0 || stdout != want || stderr != "" {
		t.Errorf("status %d, the word is %q, want %q\n%s", status, stdout, want, stderr)
	}
}
