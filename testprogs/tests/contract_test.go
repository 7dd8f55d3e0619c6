package tests

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"rmemrun/runtime"
)

// policed is a star whose nodes send more than their contracts allow.
const policed = `
nodes: 4
switches: 1
defaults: {delay: 20us, rate: OC-3, queue: {clp: 4, weights: {cbr: 8}}}
links: [{ends: [n0, s0]}, {ends: [n1, s0]}, {ends: [n2, s0]}, {ends: [n3, s0]}]
contracts:
`

// TestContracts runs programs that check their own results over networks whose switches discard what exceeds the contracts of circuits, or
// tag it, and whose sources wait until they conform.
func TestContracts(t *testing.T) {
	const nodes = 4
	rounds := map[string]string{"counter.c": "20", "alltoall.c": "60"}
	if testing.Short() {
		rounds = map[string]string{"counter.c": "4", "alltoall.c": "10"}
	}
	for _, c := range []struct {
		name, contracts string
		discards        bool // blocks are longer than the burst that the contract allows
	}{
		{"CBR.1", "  - {police: CBR.1, pcr: 1000, cdvt: 5ms}", true},
		{"VBR.2", "  - {police: VBR.2, pcr: 2000, scr: 400, mbs: 8, cdvt: 5ms}", true},
		{"VBR.1 from one node", "  - {from: n1, police: VBR.1, pcr: 2000, scr: 400, mbs: 8, cdvt: 5ms}\n  - {class: cbr}", true},
		{"VBR.3", "  - {police: VBR.3, pcr: 2000, scr: 400, mbs: 8, cdvt: 5ms}", true},
		{"shaped and policed", "  - {police: VBR.2, pcr: 5000, scr: 2000, mbs: 8, cdvt: 1s, shape: 4096}", false},
	} {
		top, err := runtime.ParseTopology(c.name, []byte(policed+c.contracts))
		if err != nil {
			t.Fatal(err)
		}
		for source, args := range rounds {
			t.Run(c.name+"/"+source, func(t *testing.T) {
				t.Parallel()
				var discarded atomic.Int64
				program := compile(t, source, static)
				status, stdout, stderr := runOver(t, top, 1, func(e *runtime.Event) {
					if e.Kind == runtime.OnLink && e.Link.What == runtime.LinkDropped && e.Link.Drop.String() == "policed" {
						discarded.Add(1)
					}
				}, program, nodes, strings.Fields(args)...)
				if status != 0 || stderr != "" || !right(source, args, lines(stdout)) {
					t.Errorf("status %d\n%s%s", status, stdout, stderr)
				}
				if n := discarded.Load(); n > 0 && !c.discards || n == 0 && c.discards && source == "alltoall.c" {
					t.Errorf("%d cells were discarded by policing", n)
				}
			})
		}
	}
}

// right reports whether a program that checks itself says that all is well.
func right(source, args string, said []string) bool {
	var rounds int
	fmt.Sscan(args, &rounds)
	switch source {
	case "counter.c":
		n := 4 * rounds
		return len(said) == 1 && said[0] == fmt.Sprintf("locked %d, swapped %d, added %d, of %d", n, n, n, n)
	default:
		for _, line := range said {
			if !strings.Contains(line, fmt.Sprintf("4 actors x %d operations, all right; ", rounds)) {
				return false
			}
		}
		return len(said) == 4
	}
}

// TestSilentLink: a link of the ring falls silent in one direction, without anybody being told. Loss of continuity is found, the circuits are led
// around, and the programs end as if nothing had been.
func TestSilentLink(t *testing.T) {
	top, err := runtime.BuiltinTopology("ring", 4)
	if err != nil {
		t.Fatal(err)
	}
	if err := top.EachWay(func(w *runtime.Way) error { return runtime.ParseWay("delay=20us", w) }); err != nil {
		t.Fatal(err)
	}
	for i := range top.Links {
		if l := &top.Links[i]; l.Name == "s0-s1" {
			if err := runtime.ParseWay("silent=0s..", &l.Ways[1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	var failed, moved atomic.Int64
	program := compile(t, "counter.c", static)
	status, stdout, stderr := runOver(t, top, 1, func(e *runtime.Event) {
		if e.Kind != runtime.OnLink {
			return
		}
		switch e.Link.What {
		case runtime.LinkFailed:
			if e.Link.Link == "s0-s1" && e.Link.From == "s1" && e.Link.Defect == runtime.NoContinuity {
				failed.Add(1)
			}
		case runtime.LinkRerouted:
			moved.Add(int64(e.Link.Moved))
		}
	}, program, 4, "20")
	if status != 0 || stderr != "" || !right("counter.c", "20", lines(stdout)) {
		t.Errorf("status %d\n%s%s", status, stdout, stderr)
	}
	if failed.Load() != 1 || moved.Load() == 0 {
		t.Errorf("the silent link has failed %d times, and %d circuits were moved", failed.Load(), moved.Load())
	}
}
