//go:build linux && amd64

package runtime

import (
	"fmt"
	"slices"
	"testing"

	"rmemrun/rmem"
)

// TestWitness: whoever carries out what a guest asks for, the witness is told the same, in the same order. What traps and what goes by
// the ring are mixed in it.
func TestWitness(t *testing.T) {
	for _, guest := range []struct {
		name  string
		nodes int
	}{{"order", 1}, {"order", 3}} {
		t.Run(fmt.Sprint(guest.name, guest.nodes), func(t *testing.T) {
			var right map[int][]string // by importer; each has one circuit
			for _, way := range []struct {
				engine      string
				agentServes bool
				hand        rmem.Hand // that carries out some
				not         rmem.Hand // that carries out nothing
			}{{"ptrace", false, rmem.ByNode, rmem.ByAgent}, {patchEngine, true, rmem.ByAgent, rmem.ByGuest}, {patchEngine, false, rmem.ByAgent, 0xff}} {
				got := map[int][]string{}
				by := map[rmem.Hand]int{}
				succeed(t, guest.name, guest.nodes, func(j *Job) {
					j.Engine = way.engine
					j.Witness = &Witness{AgentServes: way.agentServes, Tell: func(e *rmem.Effect) {
						by[e.By]++
						line := fmt.Sprintf("%v %d+%d %v %x %d %d %d %v", e.Op, e.Offset, e.Len, e.Notify, e.Data, e.Expected, e.Operand, e.Old, e.Status)
						got[e.Circuit.Importer] = append(got[e.Circuit.Importer], line)
					}}
				})
				if by[way.hand] == 0 || by[way.not] != 0 {
					t.Errorf("%s, served by the agent alone: %v: by node, agent and guest were carried out %v", way.engine, way.agentServes, by)
				}
				if right == nil {
					right = got
				}
				for importer, want := range right {
					have := got[importer]
					if slices.Equal(have, want) {
						continue
					}
					n := 0
					for n < min(len(have), len(want)) && have[n] == want[n] {
						n++
					}
					t.Errorf("%s, served by the agent alone: %v: node %d: %d operations, not %d, and they differ from number %d on: %q, not %q",
						way.engine, way.agentServes, importer, len(have), len(want), n, have[n:min(n+2, len(have))], want[n:min(n+2, len(want))])
				}
			}
		})
	}
}
