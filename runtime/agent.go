package runtime

import (
	goruntime "runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	rings "rmemrun/ring"
)

// An agent serves the rings of a run, on a thread of its own.
//
//	               nothing came for a while: attended = 0, barrier, nothing is there
//	   ┌─────────────────────────────────────────────────────────────────────────────┐
//	   │                                                                             ▼
//	hovering ◀── a processor is free for it ── looking at all rings ◀── rung ── asleep, on the bell
//	   ▲  │                                       ▲            │                     ▲
//	   └──┘ a ring that it attends to:            └────────────┴─────────────────────┘
//	        something is there, nothing           something is there       nothing
//
// Whether it hovers is for its processors to say; if it does not, it gives its processor away some times before it sleeps. A ring is attended if
// its initiator need not ring the bell. One that is served once in a while is not: that nobody rings for it costs the barrier, when the agent goes to sleep.
//
// A ring whose exporter's guest looks at it by itself is left to that guest, but for what that leaves to the agent.
//
// The loop allocates nothing, takes no lock but those of a ring that it serves, and sleeps with the scheduler knowing.
type agent struct {
	bell       *rings.Bell
	processors *processors
	barrier    func() error // nil: guests fence
	start      time.Time
	fresh      bool // it has just been woken

	charges  atomic.Pointer[[]*charge]
	turns    atomic.Uint64
	asleep   atomic.Bool
	stopping atomic.Bool
	ended    chan struct{}

	mu      sync.Mutex // over changes of charges
	running bool

	wire    wire // to the other rmemrun; nil: there is none, or none that can be looked at
	attends bool // it is the agent's at present
	vain    int  // turns since something was there
	owes    bool // something was served, and who has waited for it may wait for the processor
}

// A charge is a ring that the agent has to serve.
type charge struct {
	ring   *rings.Ring
	out    *rings.Out
	broken func() // called once, when the ring is broken; it may take locks of the circuit

	// The agent's.
	attended bool
	watched  bool          // the exporter's guest looks at it, again and again, and serves it
	polls    uint32        // how often it had begun to look, when that was looked at last
	head     uint64        // what was acknowledged then
	since    time.Duration // and when that was
	held     bool          // its guest has the lock, and nothing could be served
	failed   bool
}

const (
	// hoverTurns is how often the rings that are attended are looked at, before the others and the time are.
	hoverTurns = 64

	// The agent hovers for so long after the last request. It learns how long is right: a sleep that was short should not have been one.
	leastHover = 50 * time.Microsecond
	mostHover  = 2 * time.Millisecond

	// An agent that may not hover gives its processor away so often, before it sleeps: who waits for a reply may be about to ask for the next, and
	// who has filled his ring to fill it again.
	lingerTurns = 8

	// nap is for how long a guest is believed to go on looking at its rings by itself that has begun to twice within that time.
	nap = 500 * time.Microsecond
)

func newAgent(bell *rings.Bell, p *processors, barrier func() error) *agent {
	a := &agent{bell: bell, processors: p, barrier: barrier, start: time.Now(), ended: make(chan struct{})}
	a.charges.Store(&[]*charge{})
	return a
}

// add has a ring served from now on.
func (a *agent) add(c *charge) {
	a.mu.Lock()
	defer a.mu.Unlock()
	charges := append(slices.Clone(*a.charges.Load()), c)
	a.charges.Store(&charges)
	if !a.running {
		a.running = true
		go a.run()
	}
	a.bell.Ring()
}

// remove has a ring served no more. When it returns, the agent does not look at it any more.
func (a *agent) remove(c *charge) {
	a.mu.Lock()
	charges := slices.DeleteFunc(slices.Clone(*a.charges.Load()), func(d *charge) bool { return d == c })
	a.charges.Store(&charges)
	running, turn := a.running, a.turns.Load()
	a.mu.Unlock()
	for n := 0; running && a.turns.Load() == turn && !a.asleep.Load(); n++ {
		if n > 1000 {
			time.Sleep(20 * time.Microsecond)
		} else {
			goruntime.Gosched()
		}
	}
}

// stop ends the agent.
func (a *agent) stop() {
	a.mu.Lock()
	running := a.running
	a.mu.Unlock()
	if !running {
		return
	}
	a.stopping.Store(true)
	a.bell.Ring()
	<-a.ended
}

// run is the agent's loop.
func (a *agent) run() {
	goruntime.LockOSThread() // for good: the thread ends with the agent
	defer close(a.ended)
	defer a.processors.place.close()
	defer a.leaveWire()
	patience := mostHover
	last := a.now() // when something was there
	lingered := lingerTurns
	for {
		a.turns.Add(1) // what was removed before is not in charges
		charges := *a.charges.Load()
		if a.stopping.Load() {
			return
		}
		now := a.now()
		a.processors.consider(now)
		hover := a.processors.hover
		a.attendWire(hover)
		switch {
		case a.look(charges, now), hover && a.hover(charges):
			if a.fresh && hover {
				a.processors.giveWay()
			}
			last, lingered = now, 0
			a.fresh = false
		case hover && now-last < patience && (a.attends || slices.ContainsFunc(charges, (*charge).hovered)):
		case !hover && lingered < lingerTurns:
			lingered++
			yield()
		default:
			a.rest(charges)
			a.fresh, lingered = true, lingerTurns
			last = a.now()
			if last-now < patience {
				patience = min(2*patience, mostHover)
			} else {
				patience = max(patience/2, leastHover)
			}
		}
	}
}

func (a *agent) now() time.Duration { return time.Since(a.start) }

// look serves all rings, and reports whether there was something to do.
func (a *agent) look(charges []*charge, now time.Duration) (busy bool) {
	for _, c := range charges {
		c.watch(now)
		c.held = false
		if c.due() && a.serve(c) {
			busy = true
		}
	}
	a.flushWire()
	return busy
}

// hover looks at the rings that are attended until something has been there, or for some turns.
func (a *agent) hover(charges []*charge) (busy bool) {
	for range hoverTurns {
		served := a.serveHovered(charges)
		a.flushWire()
		if a.pollWire() {
			served, a.owes = true, true
			a.serveHovered(charges)
			a.flushWire()
		}
		if served {
			busy, a.vain = true, 0
		}
		switch {
		case a.attends:
			a.share(charges)
		case busy:
			return true
		}
		pause()
	}
	return busy
}

// serveHovered serves the rings that are attended, and reports whether there was something to do.
func (a *agent) serveHovered(charges []*charge) (busy bool) {
	for _, c := range charges {
		if c.hovered() && c.due() && a.serve(c) {
			busy = true
		}
	}
	return busy
}

// hovered reports whether requests of the ring are expected that the agent is to serve.
func (c *charge) hovered() bool { return c.attended && !c.watched }

// due reports whether a request waits for the agent. In a ring that is broken, what a guest writes is no request any more.
func (c *charge) due() bool {
	return !c.failed && c.ring.Ready() && (!c.watched && !c.ring.Polled() || c.ring.Left())
}

// waits reports whether a request waits that the agent can serve.
func (c *charge) waits() bool { return c.due() && !c.held }

// watch looks whether the exporter's guest looks at the ring by itself, again and again, so that it can be left to it between times. It has
// to serve it, too: for what it does not, nobody rings.
func (c *charge) watch(now time.Duration) {
	if c.watched && now-c.since < nap {
		return
	}
	p, head := c.ring.Polls(), c.ring.Acknowledged()
	if p != c.polls {
		c.watched = (c.watched || now-c.since < nap) && head != c.head
		c.polls, c.head, c.since = p, head, now
		if c.watched {
			c.attend()
		}
		return
	}
	c.watched = false
}

// attend has nobody ring for the ring.
func (c *charge) attend() {
	if !c.attended {
		c.attended = true
		c.out.Attend(true)
	}
}

// serve serves a ring, and reports whether it could: not if the exporter's guest has the lock. That is no reason to go round: it may keep it.
func (a *agent) serve(c *charge) bool {
	n, err := c.ring.Serve(rings.Slots)
	c.held = n == 0 && err == nil && c.ring.Held()
	if c.held {
		return false
	}
	a.owes = true
	if err != nil && !c.failed {
		c.failed = true
		c.broken()
	}
	if n > 1 || !a.fresh || a.processors.hover {
		c.attend()
	}
	return true
}

// called reports whether there is something else to do than to serve these rings: the bell was rung for it, perhaps before the agent dozed.
func (a *agent) called(charges []*charge) bool {
	return a.stopping.Load() || !slices.Equal(*a.charges.Load(), charges)
}

// rest sleeps until the bell is rung, unless a request waits. Rings are attended no more, but those that are left to a guest. Nobody rings when a guest lets go of
// a ring, so that one that is held is looked at once in a while.
func (a *agent) rest(charges []*charge) {
	a.attendWire(false)
	parked := false
	var limit time.Duration
	for _, c := range charges {
		if c.watched || c.held {
			limit = nap
		}
		if c.attended && !c.watched {
			c.attended = false
			c.out.Attend(false)
			parked = true
		}
	}
	dozed := a.bell.Doze()
	if parked && a.barrier != nil {
		_ = a.barrier() // it worked when the run began
	}
	if !slices.ContainsFunc(charges, (*charge).waits) && !a.called(charges) {
		a.processors.rested = true
		a.processors.place.release() // who rings wakes it where he runs, which is fastest
		a.asleep.Store(true)
		a.bell.Sleep(dozed, limit)
		a.asleep.Store(false)
	}
	a.bell.Wake()
}
