package tests

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"rmemrun/rmem"
	"rmemrun/runtime"
)

// replay is the seed of the one random guest to be run.
var replay = flag.Uint64("seed", 0, "the seed with which TestRandomGuests runs a guest; 0: several")

// A leg is a way to run a guest. All must come to the same.
type leg struct {
	name   string
	engine string
	// witnessed: the sequence of operations is compared, too. A run that is not goes as users have it.
	witnessed   bool
	agentServes bool
}

// legs are all of them, the one that is right by definition first.
var legs = []leg{
	{name: "ptrace", engine: "ptrace", witnessed: true},
	{name: "patch", engine: "patch"},
	{name: "patch, rings served by the agent", engine: "patch", witnessed: true, agentServes: true},
	{name: "patch, rings served by guests", engine: "patch", witnessed: true},
}

// A course is how a guest is run, and what became of it.
type course struct {
	program string
	nodes   int
	args    []string
	views   views
	again   string                           // how to run it again
	by      map[string][rmem.ByGuest + 1]int // of each leg: how many operations were carried out, by whom
}

// TestEnginesAgree runs programs in all ways: what they print is the same, and so is, on each circuit, the sequence of operations that took effect.
func TestEnginesAgree(t *testing.T) {
	needEngines(t)
	contended := views{"counters": {values: true}}
	for _, test := range []struct {
		source string
		style  style
		nodes  []int
		args   string
		views  views
	}{
		{"hello.c", pie, []int{1, 3}, "", nil},
		{"hello.S", asm, []int{2}, "", nil},
		{"go/hello", golang, []int{2}, "", nil},
		{"pingpong.c", static, []int{2}, "300 40", nil},
		{"pingpong.c", pie, []int{2}, "20 4096", nil},
		{"pingpong.S", asm, []int{2}, "", nil},
		{"pingpong.S", asmPIE, []int{2}, "", nil},
		{"go/pingpong", golang, []int{2}, "50 40", nil},
		{"producer.c", pie, []int{2, 4}, "200 7", nil},
		{"counter.c", pie, []int{1}, "50", nil},
		{"counter.c", pie, []int{3}, "50", contended},
		{"counter.c", static, []int{2}, "20 4", views{"counters": {values: true, order: true}}},
		{"jacobi.c", pie, []int{1, 3, 4}, "24 30", nil},
		{"names.c", pie, []int{1}, "60", nil},
		{"names.c", pie, []int{2}, "60", views{"names": {values: true, repeats: true}}},
		{"alltoall.c", pie, []int{3}, "150 1 1", nil},
		{"alltoall.c", pie, []int{2}, "60 1 4", views{"regions": {part: 1024}}},
		{"fixtures/adders.c", pie, []int{1}, "300", nil},
		{"fixtures/adders.c", pie, []int{3}, "300", views{"word": {values: true}}},
		{"fixtures/every.c", pie, []int{1, 2}, "", nil},
		{"../guest/go/rmem/testdata/every", golang, []int{2}, "", nil},
	} {
		t.Run(test.source+"/"+test.style.name, func(t *testing.T) {
			program := compile(t, test.source, test.style)
			for _, nodes := range test.nodes {
				agree(t, &course{program: program, nodes: nodes, args: strings.Fields(test.args), views: test.views})
			}
		})
	}
}

// TestRandomGuests runs random operations in all ways, and compares all results, what is in the memory at the end, and the sequences of operations.
func TestRandomGuests(t *testing.T) {
	needEngines(t)
	program := compile(t, "fixtures/random.c", pie)
	first, last := uint64(1), uint64(150)
	switch {
	case *replay != 0:
		first, last = *replay, *replay
	case testing.Short():
		last = 9
	}
	by := map[string][rmem.ByGuest + 1]int{}
	for seed := first; seed <= last; seed++ {
		c := &course{
			program: program, nodes: int(1 + seed%3), args: []string{fmt.Sprint(seed), "600"},
			again: fmt.Sprintf("; again with: go test ./testprogs/tests -run TestRandomGuests -seed %d", seed), by: by,
		}
		agree(t, c)
	}
	for _, l := range legs {
		if !l.witnessed {
			continue
		}
		n := by[l.name]
		t.Logf("%s: of the operations that a cell holds, %d were carried out by nodes, %d by the agent, %d by guests", l.name, n[rmem.ByNode], n[rmem.ByAgent], n[rmem.ByGuest])
		rings, guests := l.engine == "patch", !l.agentServes
		if *replay == 0 && (rings != (n[rmem.ByAgent] > 0) || (rings && guests) != (n[rmem.ByGuest] > 0)) {
			t.Errorf("%s: rings were not served by whom they should be", l.name)
		}
	}
}

// agree runs a program in all ways, and compares.
func agree(t *testing.T, c *course) {
	t.Helper()
	var right []string
	var sequences map[circuit][]string
	for i, l := range legs {
		job := runtime.Job{Engine: l.engine}
		r := newRecording(c.views)
		if l.witnessed {
			job.Witness = &runtime.Witness{Tell: r.tell, AgentServes: l.agentServes}
		}
		status, stdout, stderr := runJob(t, job, c.program, c.nodes, c.args...)
		got, happened := lines(stdout), r.sequences()
		if i == 0 {
			right, sequences = got, happened
		}
		what := fmt.Sprintf("%v on %d nodes, %s", c.args, c.nodes, l.name)
		if status != 0 || len(got) == 0 {
			t.Errorf("%s: status %d%s\n%s%s", what, status, c.again, stdout, stderr)
		}
		if !slices.Equal(got, right) {
			t.Errorf("%s differs from %s%s:\n%s", what, legs[0].name, c.again, difference(right, got))
		}
		if d := deviation(sequences, happened); l.witnessed && d != "" {
			t.Errorf("%s: other operations took effect than with %s%s:\n%s", what, legs[0].name, c.again, d)
		}
		if c.by != nil {
			n := c.by[l.name]
			for i := range n {
				n[i] += r.by[i]
			}
			c.by[l.name] = n
		}
	}
}

// difference is what one list of lines has and another has not, in part.
func difference(a, b []string) string {
	var all []string
	for _, line := range a {
		if !slices.Contains(b, line) {
			all = append(all, "- "+line)
		}
	}
	for _, line := range b {
		if !slices.Contains(a, line) {
			all = append(all, "+ "+line)
		}
	}
	return strings.Join(all[:min(len(all), 20)], "\n")
}
