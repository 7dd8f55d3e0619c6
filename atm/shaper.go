package atm

import (
	"fmt"
	"sync/atomic"
)

// ShaperConfig describes a shaper.
type ShaperConfig struct {
	Clock   Clock
	Traffic Traffic // what may come out; the CDVT is not used: cells come out as evenly as the clock allows
	Size    int     // how many cells may wait; 0: DefaultQueue

	// OnDrop, if not nil, is called for every cell for which there is no room, except those dropped by Close. It must not keep c, nor call the
	// shaper, which is locked.
	OnDrop func(c *Cell, why DropReason)
}

// A Shaper delays the cells of a circuit until they conform to a Traffic (ITU-T I.371, traffic shaping): at the times at which they come out a
// [Policer] with the same Traffic passes all of them, whatever its CDVT. Bursts of up to MBS cells come out at the PCR, more at the SCR. Times are
// rounded up to nanoseconds. Order is kept. A Shaper is safe for concurrent use.
//
// Receive keeps a copy of the cell and returns at once; the cells come out from a goroutine of the clock. In real time they come
// out late by what the machine needs to wake up, and what is late comes out at once, closer together than it should be.
type Shaper struct {
	belt            conveyor
	peak, sustained *GCRA
	transparent     bool
	onDrop          func(c *Cell, why DropReason)
	offered         atomic.Uint64
	dropped         [DropReasons]atomic.Uint64
}

// NewShaper makes a shaper whose cells go to to.
func NewShaper(to Receiver, c ShaperConfig) (*Shaper, error) {
	if c.Size == 0 {
		c.Size = DefaultQueue
	}
	if c.Size < 1 || c.Size > maxQueue {
		return nil, fmt.Errorf("a shaper for %d cells is not possible, give 1 to %d", c.Size, maxQueue)
	}
	if c.Clock == nil {
		return nil, fmt.Errorf("a shaper needs a clock")
	}
	peak, sustained, err := c.Traffic.buckets(0)
	if err != nil {
		return nil, err
	}
	s := &Shaper{peak: peak, sustained: sustained, transparent: c.Traffic.Transparent, onDrop: c.OnDrop}
	s.belt.init(c.Clock, to, c.Size)
	return s, nil
}

// Receive lets c out when it conforms.
func (s *Shaper) Receive(c *Cell) {
	s.offered.Add(1)
	s.belt.mu.Lock()
	defer s.belt.mu.Unlock()
	switch {
	case s.belt.closed:
		s.drop(c, DropCut)
		return
	case s.belt.len() == s.belt.limit:
		s.drop(c, DropQueueFull)
		return
	}
	now := s.belt.clock.Now()
	out := stamp{ns: now}
	sustained := s.sustained
	if c.CLP() && !s.transparent {
		sustained = nil
	}
	for _, g := range []*GCRA{s.peak, sustained} {
		if g != nil && out.before(g.earliest()) {
			out = g.earliest()
		}
	}
	due := out.up()
	s.peak.Count(due)
	if sustained != nil {
		sustained.Count(due)
	}
	s.belt.put(c, due)
	s.belt.arm(now)
}

func (s *Shaper) drop(c *Cell, why DropReason) {
	s.dropped[why].Add(1)
	if s.onDrop != nil {
		s.onDrop(c, why)
	}
}

// Close ends the shaper: cells that wait are dropped, counted as cut, and so are all that come later; no alarm of the clock remains. A cell
// that is being passed on in another goroutine may still come out after Close has returned.
func (s *Shaper) Close() {
	s.belt.mu.Lock()
	defer s.belt.mu.Unlock()
	s.dropped[DropCut].Add(uint64(s.belt.close()))
}

// ShaperCounters are what happened to the cells of a shaper.
type ShaperCounters struct {
	Offered   uint64              // cells that came in
	Delivered uint64              // cells that came out, or are just coming out
	Dropped   [DropReasons]uint64 // cells discarded, by reason
	Queued    int                 // cells that wait
}

// Counters reads the counters. Offered cells are delivered, dropped or queued.
func (s *Shaper) Counters() (n ShaperCounters) {
	s.belt.mu.Lock()
	defer s.belt.mu.Unlock()
	n.Offered, n.Delivered, n.Queued = s.offered.Load(), s.belt.delivered, s.belt.len()
	for i := range n.Dropped {
		n.Dropped[i] = s.dropped[i].Load()
	}
	return n
}
