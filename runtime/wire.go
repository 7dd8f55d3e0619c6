package runtime

import (
	"slices"

	"rmemrun/atm/link"
)

// A wire is the link to the other rmemrun, as the agent looks at it. While the agent hovers, the link is its; else the link's own reader sleeps until
// something comes, deals with that, and wakes the agent, as more may follow.
type wire interface {
	Attend(yes bool) // the caller looks at it, or does no more
	Poll() bool      // deals with something that has come, if there is something
	Flush()          // sends what waits to be sent
	Processor() int  // on which something was last taken in, -1: it is not known
	Leave()          // nobody is to be told any more that something has come
}

// wired makes the link the agent's. The agent runs from now on.
func (a *agent) wired(u *link.UDP) error {
	p, err := u.Polled(a.bell.Ring)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wire, a.running, a.processors.from = p, true, p.Processor
	go a.run()
	return nil
}

// attendWire has the agent look at the link itself, or not.
func (a *agent) attendWire(yes bool) {
	if a.wire != nil && a.attends != yes {
		a.attends = yes
		a.wire.Attend(yes)
	}
}

// pollWire deals with what has come.
func (a *agent) pollWire() bool { return a.attends && a.wire.Poll() }

// flushWire sends what is to be sent. Who does not look at the link sends at once.
func (a *agent) flushWire() {
	if a.wire != nil {
		a.wire.Flush()
	}
}

// answerTurns is for how many turns, of some hundred nanoseconds each, the agent keeps a processor to itself that it shares, when it has sent something for
// a guest: the answer may take that long.
const answerTurns = 16

// freeTurns is how often an agent that shares a processor looks, when it has nothing for a guest, before it gives the processor away. Who has given it away to the agent, to wait for an
// answer, has its request carried meanwhile by the other agent: that takes fewer turns.
const freeTurns = 8

// share gives the processor away, if others may need it: who waits for what the agent has done, of whichever rmemrun he is.
func (a *agent) share(charges []*charge) {
	if !a.attends || !a.processors.shared {
		return
	}
	a.vain++
	switch {
	case a.vain <= answerTurns && slices.ContainsFunc(charges, (*charge).underway):
	case a.owes, a.vain%freeTurns == 0:
		a.owes = false
		yield()
	}
}

// underway reports whether requests of the ring are on their way over the link.
func (c *charge) underway() bool { return c.ring.Underway() }

// leaveWire leaves the link to its reader for good.
func (a *agent) leaveWire() {
	if a.wire != nil {
		a.wire.Leave()
	}
}
