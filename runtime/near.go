package runtime

import "golang.org/x/sys/unix"

// share moves the agent to a processor on which guests run, if some do. One that has to share a processor should share that of the guest that waits for it: the two give
// it to each other at once, while whoever else needs a processor, the other rmemrun's agent above all, has another one to itself. The kernel
// does not know this. To be called on the agent's thread.
func (p *placement) share(taken *unix.CPUSet) {
	if taken.Count() == 0 {
		return // nobody waits, and who did may do so again
	}
	if cpu := p.here(); p.pinned && cpu >= 0 && taken.IsSet(cpu) {
		return
	}
	for cpu := range maxProcessors {
		if p.allowed.IsSet(cpu) && taken.IsSet(cpu) {
			p.one.Zero()
			p.one.Set(cpu)
			p.pinned = unix.SchedSetaffinity(0, &p.one) == nil || p.pinned
			return
		}
	}
}
