package atm

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"
)

// LineConfig describes one direction of a link. The zero value is a link in memory: unlimited, at once, unimpaired.
type LineConfig struct {
	Name       string        // tells the line apart from others, which have other faults by the same seed
	Clock      Clock         // needed unless Rate, Delay and Impairment are zero
	Rate       float64       // cells/s; 0: Unlimited
	Delay      time.Duration // propagation delay
	Queueing   Queueing      // how cells wait for transmission; of no effect if Rate is 0
	Impairment Impairment    // what goes wrong
	Seed       uint64        // of the faults

	// OnDrop, if not nil, is called for every cell that does not arrive, with the reason, except those dropped by Close. It must not keep c, nor call
	// the line, which may be locked. A cell that is lost on the way is reported when the line next looks at its cells, at the latest when the
	// cell would have arrived.
	OnDrop func(c *Cell, why DropReason)
}

// A Line is one direction of a link between two places: queues, one for each class, a transmitter that takes its time for
// each cell, faults, and the way to the far end.
//
//	                  ┌─ CBR ─┐
//	Receive, flows ──▶├─ VBR ─┼─▶ transmitter ──▶ impairment ──▶ propagation ──▶ far end
//	                  └─ UBR ─┘   1/Rate          loss, errors   Delay, jitter
//
// If it has neither rate nor delay, and no jitter and no reordering, then Receive returns when the cell has arrived, as that of [Link]
// does. Else Receive keeps a copy and returns at once; the cells arrive, in order, from a goroutine of the clock that runs while there is something to
// give out. A Line is safe for concurrent use.
type Line struct {
	to      Receiver
	onDrop  func(c *Cell, why DropReason)
	clock   Clock
	timed   bool      // cells are kept
	impair  *impairer // nil: none. Guarded by belt.mu
	down    atomic.Bool
	offered atomic.Uint64
	arrived atomic.Uint64 // of a line that is not timed
	dropped [DropReasons]atomic.Uint64

	// What follows is of timed lines, guarded by belt.mu.
	cellTime int64 // ps
	delay    time.Duration
	free     stamp // when the transmitter has finished its last cell
	queues   queues
	plain    flow     // of cells that come by Receive
	belt     conveyor // propagation
}

// slack is how many cells more than fit between the ends a line holds: what has arrived while the receiver is busy or the
// machine has not given it time.
const slack = 1 << 16

// NewLine makes a line that ends at to.
func NewLine(to Receiver, c LineConfig) (*Line, error) {
	fail := func(err error) (*Line, error) { return nil, fmt.Errorf("line %q: %w", c.Name, err) }
	cellTime, err := cellTime(c.Rate)
	if err != nil {
		return fail(err)
	}
	if err := c.Queueing.check(); err != nil {
		return fail(err)
	}
	if err := c.Impairment.check(); err != nil {
		return fail(err)
	}
	if c.Delay < 0 || c.Delay > time.Hour {
		return fail(fmt.Errorf("the delay %v is not between 0 and an hour", c.Delay))
	}
	on := c.Rate * (c.Delay + c.Impairment.Jitter + c.Impairment.ReorderDelay).Seconds()
	if on > maxQueue {
		return fail(fmt.Errorf("at this rate and delay the line would hold %.0f cells, at most %d are possible", on, maxQueue))
	}
	l := &Line{
		to: to, onDrop: c.OnDrop, clock: c.Clock,
		timed:    c.Rate != Unlimited || c.Delay > 0 || c.Impairment.timed(),
		cellTime: cellTime, delay: c.Delay,
	}
	if !c.Impairment.none() {
		l.impair = newImpairer(c.Impairment, c.Seed, c.Name)
	}
	if c.Clock == nil && (l.timed || l.impair != nil) {
		return fail(fmt.Errorf("what takes time or is impaired needs a clock"))
	}
	l.queues.Queueing = c.Queueing
	l.plain.line = l
	l.belt.init(c.Clock, to, slack+int(math.Ceil(on)))
	l.belt.feed = l.transmit
	return l, nil
}

// Receive sends c to the far end, as a cell of a UBR circuit.
func (l *Line) Receive(c *Cell) {
	if l.timed {
		l.receive(c, &l.plain)
		return
	}
	l.offered.Add(1)
	if l.down.Load() {
		l.drop(c, DropCut)
		return
	}
	if l.impair == nil {
		l.arrived.Add(1)
		l.to.Receive(c)
		return
	}
	l.receiveImpaired(c)
}

// receiveImpaired is Receive of a line that has faults but takes no time.
func (l *Line) receiveImpaired(c *Cell) {
	l.belt.mu.Lock()
	f := l.impair.next(c, l.clock.Now())
	l.belt.mu.Unlock()
	if f.lost {
		l.drop(c, f.why)
		return
	}
	if f.twice {
		twin := *c
		defer func() {
			l.arrived.Add(1)
			l.to.Receive(&twin)
		}()
	}
	l.arrived.Add(1)
	l.to.Receive(c)
}

// Flow is where the cells of a circuit of a class come in; those of the circuit may then wait apart from others. With frames the circuit carries AAL5
// PDUs, which EPD and PPD may discard whole. Without a rate there is nothing to wait for, and Flow is the line itself.
func (l *Line) Flow(class Class, frames bool) Receiver {
	if !l.timed || class >= Classes {
		return l
	}
	return &flow{line: l, class: class, frames: frames}
}

// receive puts a cell of the circuit f into its queue.
func (l *Line) receive(c *Cell, f *flow) {
	l.offered.Add(1)
	l.belt.mu.Lock()
	defer l.belt.mu.Unlock()
	if l.belt.closed {
		l.drop(c, DropCut)
		return
	}
	now := l.clock.Now()
	l.transmit(now)
	if why, ok := l.queues.add(c, f); !ok {
		l.drop(c, why)
		return
	}
	if t := (stamp{ns: now}); l.queues.total == 1 && l.free.before(t) {
		l.free = t // the transmitter has been idle
	}
	l.belt.arm(now)
}

// transmit begins with the transmission of all cells whose turn has come by now, and says when the next of those that wait could arrive.
// belt.mu is held.
func (l *Line) transmit(now time.Duration) (next time.Duration, more bool) {
	for l.queues.total > 0 && !(stamp{ns: now}).before(l.free) {
		c := l.queues.take()
		begun := l.free.up()
		l.free = l.free.add(l.cellTime)
		l.send(c, begun)
	}
	return l.free.add(l.cellTime).up() + l.delay, l.queues.total > 0
}

// send sends c, whose transmission began at the time begun and has ended at l.free, to the far end.
func (l *Line) send(c *Cell, begun time.Duration) {
	if l.down.Load() {
		l.drop(c, DropCut)
		return
	}
	var f fate
	if l.impair != nil {
		f = l.impair.next(c, begun)
		if f.lost {
			l.drop(c, f.why)
			return
		}
	}
	put := l.belt.put
	if f.aside {
		put = l.belt.putAside
	}
	due := l.free.up() + l.delay + f.delay
	if !put(c, due) {
		l.drop(c, DropQueueFull)
		return
	}
	if f.twice && !put(c, due) {
		l.drop(c, DropQueueFull)
	}
}

func (l *Line) drop(c *Cell, why DropReason) {
	l.dropped[why].Add(1)
	if l.onDrop != nil {
		l.onDrop(c, why)
	}
}

// Cut cuts the line: cells whose transmission begins from now on are lost, up to [Line.Repair]. Those under way arrive.
func (l *Line) Cut() { l.switchTo(true) }

// Repair ends what Cut began.
func (l *Line) Repair() { l.switchTo(false) }

func (l *Line) switchTo(down bool) {
	l.belt.mu.Lock()
	defer l.belt.mu.Unlock()
	if l.timed && !l.belt.closed {
		l.transmit(l.clock.Now())
	}
	l.down.Store(down)
}

// Down reports whether the line is cut or closed, which the far end sees since no signal comes. An outage of its Impairment nobody sees.
func (l *Line) Down() bool { return l.down.Load() }

// Close ends the line: cells under way are dropped, counted as cut, and so are all that come later; no alarm of the clock remains. A cell
// that is being delivered in another goroutine may still arrive after Close has returned.
func (l *Line) Close() {
	l.belt.mu.Lock()
	defer l.belt.mu.Unlock()
	l.down.Store(true)
	l.dropped[DropCut].Add(uint64(l.queues.drop() + l.belt.close()))
}

// LineCounters are what happened on a line.
type LineCounters struct {
	Offered   uint64              // cells given to the line
	Delivered uint64              // cells that have arrived, or are just being received
	Dropped   [DropReasons]uint64 // cells that have not arrived, by reason
	Faults    [Faults]uint64      // cells that suffered something else
	Marked    uint64              // cells marked with EFCI
	Queued    [Classes]int        // cells that wait for transmission
	InFlight  int                 // cells on the way
	Cut       bool                // the line is cut, or closed
}

// Counters reads the counters. Offered cells and those of FaultDuplicate are delivered, dropped, queued or in flight.
func (l *Line) Counters() (n LineCounters) {
	l.belt.mu.Lock()
	defer l.belt.mu.Unlock()
	var now time.Duration
	if l.clock != nil {
		now = l.clock.Now()
	}
	n.Cut = l.down.Load()
	if l.timed && !l.belt.closed {
		l.transmit(now)
	}
	n.Delivered = l.arrived.Load() + l.belt.delivered
	n.Offered = l.offered.Load()
	for i := range n.Dropped {
		n.Dropped[i] = l.dropped[i].Load()
	}
	if l.impair != nil {
		n.Faults = l.impair.faults
		for _, o := range l.impair.Outages {
			n.Cut = n.Cut || o.From <= now && now < o.To
		}
	}
	n.Marked = l.queues.marked
	for i := range n.Queued {
		n.Queued[i] = l.queues.cells[i].n
	}
	n.InFlight = l.belt.len()
	return n
}
