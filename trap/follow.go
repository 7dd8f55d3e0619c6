//go:build linux && amd64

package trap

import "golang.org/x/sys/unix"

// follow moves the engine to the processor that a stub has staged a source on, if it is on another: the source is in that one's cache, and the guest's thread, which
// has stopped, does not need it. The scheduler wakes an engine where it ran last, if that is idle, and so would leave it elsewhere for long. It stays free to move it
// again, as the engine may run where it could before: that it goes on to wake it there was found, not promised.
func (e *engine) follow(processor int) {
	if processor < 0 || processor == currentProcessor() {
		return
	}
	var may, one unix.CPUSet
	if unix.SchedGetaffinity(0, &may) != nil || !may.IsSet(processor) {
		return
	}
	one.Set(processor)
	if unix.SchedSetaffinity(0, &one) == nil {
		_ = unix.SchedSetaffinity(0, &may) // as it was set before, it can be
	}
}
