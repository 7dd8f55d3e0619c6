package atm

import (
	"container/heap"
	"sync"
	"time"
)

// A conveyor keeps cells until they are due and then gives them to a receiver, one after the other. It keeps one alarm of its
// clock for the next of them, and none while it is empty; whoever the alarm calls gives out all that is due. Its owner locks mu for
// every method but deliver.
//
// Cells come in the order in which they were put on, except those put aside, which may be overtaken.
type conveyor struct {
	clock Clock
	to    Receiver
	// feed, if not nil, puts on what has become ready by now, and says when the conveyor has to look again if nothing was due
	// earlier.
	feed func(now time.Duration) (next time.Duration, more bool)

	mu      sync.Mutex
	inOrder ring[held]
	aside   heldHeap
	count   uint64
	limit   int // cells on the conveyor

	alarm   func() // deliver, bound once
	stop    func() bool
	alarmAt time.Duration
	armed   bool // the alarm is set, for alarmAt
	busy    bool // deliver gives out cells
	closed  bool

	delivered uint64
	batch     [32]Cell // those being given out; deliver's while busy
}

// A held cell is on its way and arrives when it is due.
type held struct {
	due   time.Duration
	order uint64 // among those due at the same time
	cell  Cell
}

func (v *conveyor) init(clock Clock, to Receiver, limit int) {
	v.clock, v.to, v.limit = clock, to, limit
	v.alarm = v.deliver
}

// len is how many cells are on the conveyor.
func (v *conveyor) len() int { return v.inOrder.n + len(v.aside) }

// put puts c on, behind all that were put on before: it comes when it is due or, if that is later, right behind them. It returns false if there
// is no room.
func (v *conveyor) put(c *Cell, due time.Duration) bool {
	if v.len() >= v.limit {
		return false
	}
	v.count++
	h := v.inOrder.push()
	h.due, h.order, h.cell = due, v.count, *c
	return true
}

// putAside puts c on without regard to others. It returns false if there is no room.
func (v *conveyor) putAside(c *Cell, due time.Duration) bool {
	if v.len() >= v.limit {
		return false
	}
	v.count++
	heap.Push(&v.aside, held{due: due, order: v.count, cell: *c})
	return true
}

// next is when the next cell is due.
func (v *conveyor) next() (due time.Duration, any bool) {
	if v.inOrder.n > 0 {
		due, any = v.inOrder.at(0).due, true
	}
	if len(v.aside) > 0 && (!any || v.aside[0].due < due) {
		due, any = v.aside[0].due, true
	}
	return due, any
}

// take takes the next cell that is due by now.
func (v *conveyor) take(now time.Duration, c *Cell) bool {
	due, any := v.next()
	if !any || due > now {
		return false
	}
	v.delivered++
	if v.inOrder.n > 0 {
		if first := v.inOrder.at(0); first.due == due && (len(v.aside) == 0 || v.aside[0].due > due || v.aside[0].order > first.order) {
			*c = v.inOrder.pop().cell
			return true
		}
	}
	*c = heap.Pop(&v.aside).(held).cell
	return true
}

// look lets feed put on what is ready, and says when there will be something to do.
func (v *conveyor) look(now time.Duration) (at time.Duration, any bool) {
	var next time.Duration
	var more bool
	if v.feed != nil {
		next, more = v.feed(now)
	}
	at, any = v.next()
	if more && (!any || next < at) {
		return next, true
	}
	return at, any
}

// arm sets the alarm for when there will be something to do, unless it is set for no later than that.
func (v *conveyor) arm(now time.Duration) {
	if v.busy || v.closed {
		return
	}
	at, any := v.look(now)
	if !any || v.armed && v.alarmAt <= at {
		return
	}
	if v.stop != nil {
		v.stop()
	}
	v.armed, v.alarmAt = true, at
	v.stop = v.clock.AfterFunc(at-now, v.alarm)
}

// deliver gives out what is due. It is called without mu, by the alarm.
func (v *conveyor) deliver() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.busy {
		return // of an alarm that could not be stopped; whoever is at it sets the next
	}
	v.armed = false
	for !v.closed {
		now := v.clock.Now()
		v.look(now)
		n := 0
		for n < len(v.batch) && v.take(now, &v.batch[n]) {
			n++
		}
		if n == 0 {
			v.arm(now)
			return
		}
		v.busy = true
		v.mu.Unlock()
		for i := range n {
			v.to.Receive(&v.batch[i])
		}
		v.mu.Lock()
		v.busy = false
	}
}

// close drops what is on the conveyor and stops its alarm, and returns how many cells that were.
func (v *conveyor) close() (dropped int) {
	dropped = v.len()
	v.closed, v.armed = true, false
	if v.stop != nil {
		v.stop()
		v.stop = nil
	}
	v.inOrder, v.aside = ring[held]{}, nil
	return dropped
}

// heldHeap is a heap, the next cell due on top.
type heldHeap []held

func (h heldHeap) Len() int { return len(h) }

func (h heldHeap) Less(i, j int) bool {
	return h[i].due < h[j].due || h[i].due == h[j].due && h[i].order < h[j].order
}

func (h heldHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push adds the held cell x.
func (h *heldHeap) Push(x any) { *h = append(*h, x.(held)) }

// Pop takes the last away.
func (h *heldHeap) Pop() any {
	n := len(*h) - 1
	last := (*h)[n]
	*h = (*h)[:n]
	return last
}
