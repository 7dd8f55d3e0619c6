package runtime

import (
	goruntime "runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestShare: the agent goes where guests run, stays there as long as they do, and may go anywhere afterwards.
func TestShare(t *testing.T) {
	goruntime.LockOSThread() // not unlocked: the thread ends with the test
	var before, now unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	var p placement
	defer p.close()
	for cpu := range maxProcessors {
		if !before.IsSet(cpu) {
			continue
		}
		var guests, none unix.CPUSet
		guests.Set(cpu)
		for _, taken := range []*unix.CPUSet{&guests, &guests, &none} {
			p.share(taken)
			if got := p.here(); got != cpu {
				t.Errorf("guests run on processor %d, and the agent on %d", cpu, got)
			}
			if err := unix.SchedGetaffinity(0, &now); err != nil || now != guests {
				t.Errorf("guests run on processor %d, and the agent may run on %v (%v)", cpu, now, err)
			}
		}
	}
	p.release()
	if err := unix.SchedGetaffinity(0, &now); err != nil || now != before {
		t.Errorf("released, it may run on %v (%v), not on %v", now, err, before)
	}
}
