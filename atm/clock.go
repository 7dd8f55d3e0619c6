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

// A SimClock is emulated time: a list of what is to happen, which [SimClock.Run] makes happen one by one. The time stands still
// while a function runs and leaps to the next when it is done. Functions due at the same time run in the order of their AfterFunc.
type SimClock struct {
	mu     sync.Mutex
	now    time.Duration
	agenda agenda
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
	e := s.agenda.add(s.now+max(d, 0), f)
	return func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.agenda.remove(e)
	}
}

// Run lets the time pass until nothing is left to happen, or nothing up to and including the time until, and returns how many
// functions it called. The clock then shows the time of the last one. Run must not be called from within such a function.
func (s *SimClock) Run(until time.Duration) (calls int) {
	for {
		s.mu.Lock()
		e := s.agenda.due(until)
		if e == nil {
			s.mu.Unlock()
			return calls
		}
		s.now = e.at
		s.mu.Unlock()
		e.f()
		calls++
	}
}

// Forever is no limit for [SimClock.Run]; it returns when nothing is left to happen.
const Forever = time.Duration(1<<63 - 1)

// An agenda is what is to happen, in the order of time and then of being added. It is not safe for concurrent use.
type agenda struct {
	events events
	count  uint64
}

// add makes f due at a time.
func (a *agenda) add(at time.Duration, f func()) *event {
	a.count++
	e := &event{at: at, order: a.count, f: f}
	heap.Push(&a.events, e)
	return e
}

// remove takes e away, and reports whether it was still there.
func (a *agenda) remove(e *event) bool {
	if e.index < 0 {
		return false
	}
	heap.Remove(&a.events, e.index)
	return true
}

// due takes the next event away if it is due by now; else it is nil.
func (a *agenda) due(now time.Duration) *event {
	if len(a.events) == 0 || a.events[0].at > now {
		return nil
	}
	return heap.Pop(&a.events).(*event)
}

// An event is a function that is due at a time.
type event struct {
	at    time.Duration
	order uint64 // among those due at the same time
	index int    // in the heap, -1 outside
	f     func()
}

// events is a heap, the next on top.
type events []*event

func (h events) Len() int { return len(h) }

func (h events) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].order < h[j].order
}

func (h events) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push adds the event x.
func (h *events) Push(x any) {
	e := x.(*event)
	e.index = len(*h)
	*h = append(*h, e)
}

// Pop takes the last away.
func (h *events) Pop() any {
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
