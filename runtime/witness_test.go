//go:build linux && amd64

package runtime

import (
	"fmt"
	"os"
	"path/filepath"
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

// TestJoinedWitness: the witness of each of two joined jobs is told of what its own node is asked for, all of which the network brings, and of nothing else.
func TestJoinedWitness(t *testing.T) {
	of := func(e *rmem.Effect) string {
		return fmt.Sprintf("%v %d+%d %v %x %d %d %d %v", e.Op, e.Offset, e.Len, e.Notify, e.Data, e.Expected, e.Operand, e.Old, e.Status)
	}
	block := func(e *rmem.Effect) bool { return e.Len > rmem.MaxCell } // it comes in parts if its answer is late
	right := map[int][]string{}                                        // by exporter
	succeed(t, "order", 2, func(j *Job) {
		j.Engine = "ptrace"
		j.Witness = &Witness{Tell: func(e *rmem.Effect) {
			if !block(e) {
				right[e.Circuit.Exporter] = append(right[e.Circuit.Exporter], of(e))
			}
		}}
	})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	said, err := os.Create(filepath.Join(t.TempDir(), "said"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	var got [2][]string // by job, each of one node
	var stray [2]int    // effects on other segments, or by others than the node
	results := make(chan error, 2)
	begin := func(number int, join *Join) {
		job := Job{
			Programs: []Program{{Path: self, Nodes: 1}},
			Env:      append(os.Environ(), guestVariable+"=order", "GORACE=atexit_sleep_ms=0"),
			Stderr:   said, Engine: patchEngine, Join: join,
			Witness: &Witness{Tell: func(e *rmem.Effect) {
				if !block(e) {
					got[number] = append(got[number], of(e))
				}
				if e.Circuit.Exporter != number || e.By != rmem.ByNode {
					stray[number]++
				}
			}},
		}
		go func() {
			result, err := job.Run()
			if err == nil && result.Status != 0 {
				err = fmt.Errorf("job %d: status %d", number, result.Status)
			}
			results <- err
		}()
	}
	listening := make(chan string, 1)
	secret := []byte("of the two")
	begin(0, &Join{Listen: "udp://127.0.0.1:0", Secret: secret, Listening: func(addr string) { listening <- addr }})
	begin(1, &Join{Peer: <-listening, Secret: secret})
	for range 2 {
		if err := <-results; err != nil {
			text, _ := os.ReadFile(said.Name())
			t.Errorf("%v\n%s", err, text)
		}
	}
	for number := range got {
		if stray[number] > 0 || len(right[number]) == 0 || !slices.Equal(got[number], right[number]) {
			t.Errorf("job %d was told of %d operations, not of %d, or of others than with one rmemrun; %d are not its own node's", number, len(got[number]), len(right[number]), stray[number])
		}
	}
}
