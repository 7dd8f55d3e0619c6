package atm

import (
	"container/heap"
	"sync"
	"time"
)

// A Clock is the time by which everything timed in this package goes: the real one while a job runs, an emulated one in
// experiments, where a second may take a millisecond and every run is the same.
type Clock interface {
	// Now is the time since the clock began. It never goes back.
	Now() time.Duration

	// AfterFunc calls f once when d has passed, not before AfterFunc has returned. stop keeps that from happening and
	// reports whether it did: false means that f was called, or is about to be, or was stopped before.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

// A RealClock is the machine's monotonic clock. Its functions run in goroutines of their own.
type RealClock struct {
	began time.Time
}

// NewRealClock makes a clock that begins now.
func NewRealClock() *RealClock { return &RealClock{began: time.Now()} }

// Now is the time since the clock was made.
func (r *RealClock) Now() time.Duration { return time.Since(r.began) }

// AfterFunc is that of [Clock].
func (r *RealClock) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	return time.AfterFunc(d, f).Stop
}

// A SimClock is emulated time: a list of what is to happen, which [SimClock.Run] makes happen one by one. The time stands still
// while a function runs and leaps to the next when it is done. Functions due at the same time run in the order of their AfterFunc.
type SimClock struct {
	mu     sync.Mutex
	now    time.Duration
	events simEvents
	count  uint64
}

// NewSimClock makes a clock that shows 0.
func NewSimClock() *SimClock { return &SimClock{} }

// Now is the emulated time.
func (s *SimClock) Now() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// AfterFunc is that of [Clock]; f runs within Run, in its caller's goroutine.
func (s *SimClock) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	e := &simEvent{at: s.now + max(d, 0), order: s.count, f: f}
	heap.Push(&s.events, e)
	return func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if e.index < 0 {
			return false
		}
		heap.Remove(&s.events, e.index)
		return true
	}
}

// Run lets the time pass until nothing is left to happen, or nothing up to and including the time until, and returns how many
// functions it called. The clock then shows the time of the last one. Run must not be called from within such a function.
func (s *SimClock) Run(until time.Duration) (calls int) {
	for {
		s.mu.Lock()
		if len(s.events) == 0 || s.events[0].at > until {
			s.mu.Unlock()
			return calls
		}
		e := heap.Pop(&s.events).(*simEvent)
		s.now = e.at
		s.mu.Unlock()
		e.f()
		calls++
	}
}

// Forever is no limit for [SimClock.Run]; it returns when nothing is left to happen.
const Forever = time.Duration(1<<63 - 1)

// A simEvent is a function that is due at a time.
type simEvent struct {
	at    time.Duration
	order uint64 // among those due at the same time
	index int    // in the heap, -1 outside
	f     func()
}

// simEvents is a heap, the next event on top.
type simEvents []*simEvent

func (h simEvents) Len() int { return len(h) }

func (h simEvents) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].order < h[j].order
}

func (h simEvents) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push adds the event x.
func (h *simEvents) Push(x any) {
	e := x.(*simEvent)
	e.index = len(*h)
	*h = append(*h, e)
}

// Pop takes the last away.
func (h *simEvents) Pop() any {
	n := len(*h) - 1
	e := (*h)[n]
	(*h)[n], *h = nil, (*h)[:n]
	e.index = -1
	return e
}

// A stamp is a time to the picosecond: at OC-192 a cell takes 44.24 ns, and rounding that to nanoseconds would be half a percent.
type stamp struct {
	ns time.Duration
	ps int32 // 0 to 999
}

// add is the stamp ps picoseconds later, or earlier if ps is negative.
func (s stamp) add(ps int64) stamp {
	ps += int64(s.ps)
	ns := ps / 1000
	if ps %= 1000; ps < 0 {
		ns, ps = ns-1, ps+1000
	}
	return stamp{s.ns + time.Duration(ns), int32(ps)}
}

func (s stamp) before(t stamp) bool { return s.ns < t.ns || s.ns == t.ns && s.ps < t.ps }

// up is the first nanosecond not before s.
func (s stamp) up() time.Duration {
	if s.ps > 0 {
		return s.ns + 1
	}
	return s.ns
}
