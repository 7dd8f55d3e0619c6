package runtime

import "golang.org/x/sys/unix"

// Where three wait by looking and there are two processors, a guest shares one with the agent of the other rmemrun, and its own agent has the other:
//
//	processor 0   guest   posts, gives way                                  looks: it is done
//	              other         └▶ looks .............. receives, answers, gives way ┘
//	processor 1   agent      carries the request ───────┘               └─▶ moves the head
//
// The guest gives its processor to the other agent while its own carries the request, so that of the two switches only the way back takes time, and a part of that while its
// own agent takes the answer in. Each agent sees to it for itself: it keeps off the processors of its own guests, and off that of the other agent.

// share moves the agent to the processor that it is to share, if there are too few, and keeps it there: the kernel does not know who waits for whom. Other is where the other
// rmemrun's agent is; -1: nobody knows. To be called on the agent's thread.
func (p *placement) share(guests *unix.CPUSet, other int) {
	here := p.here()
	cpu := apart(&p.allowed, guests, other, here)
	if cpu < 0 || cpu == here && p.pinned {
		return
	}
	p.one.Zero()
	p.one.Set(cpu)
	p.pinned = unix.SchedSetaffinity(0, &p.one) == nil || p.pinned
}

// apart is the best of the processors that are allowed: on which none of the guests is, then on which the other agent is not, then where the agent is already. -1: none is allowed.
func apart(allowed, guests *unix.CPUSet, other, here int) (best int) {
	best = -1
	least := 0
	for cpu := range maxProcessors {
		if !allowed.IsSet(cpu) {
			continue
		}
		cost := 0
		if guests.IsSet(cpu) {
			cost = 4
		}
		if cpu == other {
			cost += 2
		}
		if cpu != here {
			cost++
		}
		if best < 0 || cost < least {
			best, least = cpu, cost
		}
	}
	return best
}
