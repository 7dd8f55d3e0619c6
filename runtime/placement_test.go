package runtime

import (
	"fmt"
	goruntime "runtime"
	"testing"

	"golang.org/x/sys/unix"
)

func TestProcessorOf(t *testing.T) {
	line := func(command, rest string) string { return "4711 (" + command + ") " + rest }
	const fields = "R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 %d 37 38"
	for _, c := range []struct {
		line string
		want int
	}{
		{line("guest", fmt.Sprintf(fields, 0)), 0},
		{line("guest", fmt.Sprintf(fields, 127)), 127},
		{line("a ) 9 (b) ", fmt.Sprintf(fields, 3)), 3},
		{line("guest", "R 1 2 3"), -1},
		{"", -1},
		{"no parenthesis", -1},
	} {
		if got := processorOf([]byte(c.line)); got != c.want {
			t.Errorf("processor of %q: %d, want %d", c.line, got, c.want)
		}
	}
}

// TestAvoid: the agent leaves a processor that is taken if there is another, and may go anywhere afterwards.
func TestAvoid(t *testing.T) {
	goruntime.LockOSThread() // not unlocked: the thread ends with the test
	var before, taken, after unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	if before.Count() < 2 {
		t.Skip("one processor: there is nowhere to go")
	}
	var p placement
	defer p.close()
	for cpu := range maxProcessors {
		if !before.IsSet(cpu) {
			continue
		}
		var here unix.CPUSet
		here.Set(cpu)
		if err := unix.SchedSetaffinity(0, &before); err != nil {
			t.Fatal(err)
		}
		p.avoid(&taken) // learns what is allowed
		if err := unix.SchedSetaffinity(0, &here); err != nil {
			t.Fatal(err)
		}
		p.avoid(&here)
		if got := p.here(); got == cpu || got < 0 {
			t.Errorf("on processor %d, which is taken: then on %d", cpu, got)
		}
		p.release()
		if err := unix.SchedGetaffinity(0, &after); err != nil || after != before {
			t.Errorf("released, it may run on %v (%v), not on %v", after, err, before)
		}
	}
}
