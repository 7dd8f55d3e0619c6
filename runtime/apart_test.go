package runtime

import (
	goruntime "runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestApart is where an agent goes that has to share a processor.
func TestApart(t *testing.T) {
	set := func(cpus ...int) *unix.CPUSet {
		var s unix.CPUSet
		for _, cpu := range cpus {
			s.Set(cpu)
		}
		return &s
	}
	for _, c := range []struct {
		name            string
		allowed, guests *unix.CPUSet
		other, here     int
		want            int
	}{
		{"off its guest", set(0, 1), set(0), -1, 0, 1},
		{"off its guest, to the other agent", set(0, 1), set(0), 1, 0, 1},
		{"its guests are idle: off the other agent", set(0, 1), set(), 1, 1, 0},
		{"where it should be", set(0, 1), set(0), 0, 1, 1},
		{"off both", set(0, 1, 2), set(0), 1, 0, 2},
		{"guests are everywhere: off the other agent", set(0, 1), set(0, 1), 1, 1, 0},
		{"nothing is known", set(0, 1), set(), -1, 1, 1},
		{"nowhere else to go", set(1), set(1), 1, 1, 1},
		{"another it may not use", set(0, 2), set(0), -1, 0, 2},
		{"it cannot be told where it is", set(0, 1), set(0), -1, -1, 1},
		{"nothing is allowed", set(), set(), -1, 0, -1},
	} {
		if got := apart(c.allowed, c.guests, c.other, c.here); got != c.want {
			t.Errorf("%s: processor %d, want %d", c.name, got, c.want)
		}
	}
}

// TestShare: the agent goes where its guests do not run, stays there, and may go anywhere afterwards.
func TestShare(t *testing.T) {
	goruntime.LockOSThread() // not unlocked: the thread ends with the test
	var before, now, none unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	var p placement
	defer p.close()
	for cpu := range maxProcessors {
		if !before.IsSet(cpu) {
			continue
		}
		guests := before
		guests.Clear(cpu)
		p.share(&guests, -1)
		for range 2 {
			if got := p.here(); got != cpu {
				t.Errorf("guests run on all processors but %d, and the agent on %d", cpu, got)
			}
			if err := unix.SchedGetaffinity(0, &now); err != nil || now.Count() != 1 || !now.IsSet(cpu) {
				t.Errorf("guests run on all processors but %d, and the agent may run on %v (%v)", cpu, now, err)
			}
			p.share(&none, -1) // it stays
		}
		if before.Count() > 1 {
			if p.share(&none, cpu); p.here() == cpu {
				t.Errorf("the other agent is on processor %d, too", cpu)
			}
		}
	}
	p.release()
	if err := unix.SchedGetaffinity(0, &now); err != nil || now != before {
		t.Errorf("released, it may run on %v (%v), not on %v", now, err, before)
	}
}
