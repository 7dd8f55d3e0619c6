//go:build linux && amd64

package trap

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFollow: the engine goes where it is told, and may run where it could before. It goes nowhere if it may not run there.
func TestFollow(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var may, after unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		t.Fatal(err)
	}
	if may.Count() < 2 {
		t.Skip("there is one processor")
	}
	var e engine
	for cpu := range 1024 {
		if !may.IsSet(cpu) {
			continue
		}
		e.follow(cpu)
		// The scheduler may have moved it since, but not mostly.
		for tries := 0; currentProcessor() != cpu; tries++ {
			if tries == 100 {
				t.Errorf("told to go to processor %d, it is on %d", cpu, currentProcessor())
				break
			}
			e.follow(cpu)
		}
	}
	for _, cpu := range []int{-1, 1 << 12, 1<<31 - 1} {
		e.follow(cpu)
	}
	if err := unix.SchedGetaffinity(0, &after); err != nil || after != may {
		t.Errorf("it may run on %v, and could on %v; %v", after, may, err)
	}
}
