package rmem

import (
	"sync"
	"sync/atomic"
)

// Handles gives out small numbers for things, as a kernel gives out file
// descriptors, but never the same number twice in a row: a number that was
// taken back is not mistaken for what has its place now.
//
//	 31 30             16 15              0
//	+--+-----------------+-----------------+
//	| 0| uses before     | place in table  |
//	+--+-----------------+-----------------+
//
// Looking up takes no lock.
type handles[T any] struct {
	mu     sync.Mutex
	places atomic.Pointer[[]*place[T]]
	free   []int // indices
	closed bool
}

type place[T any] struct {
	holds atomic.Pointer[held[T]] // nil: free
	uses  int32                   // guarded by mu
}

type held[T any] struct {
	handle int32
	thing  *T
}

const (
	placeBits = 16
	maxPlaces = 1<<placeBits - 1 // one less than there could be: 0x7fffffff stays free for Every
	usesMask  = 1<<15 - 1
)

// add gives t a number; false: the table is full or closed.
func (h *handles[T]) add(t *T) (int32, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return 0, false
	}
	var index int
	if n := len(h.free); n > 0 {
		index, h.free = h.free[n-1], h.free[:n-1]
	} else {
		var old []*place[T]
		if p := h.places.Load(); p != nil {
			old = *p
		}
		index = len(old)
		if index == maxPlaces {
			return 0, false
		}
		grown := append(old, new(place[T])) // perhaps in the same array, behind what others look at
		h.places.Store(&grown)
	}
	p := (*h.places.Load())[index]
	n := p.uses<<placeBits | int32(index)
	p.holds.Store(&held[T]{n, t})
	return n, true
}

// get is what n was given to, nil if it was not or was taken back.
func (h *handles[T]) get(n int32) *T {
	places := h.places.Load()
	if places == nil || n < 0 {
		return nil
	}
	index := int(n & maxPlaces)
	if index >= len(*places) {
		return nil
	}
	if e := (*places)[index].holds.Load(); e != nil && e.handle == n {
		return e.thing
	}
	return nil
}

// remove takes n back. Of several who try, one gets what it was given to, the others nil.
func (h *handles[T]) remove(n int32) *T {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.get(n)
	if t == nil {
		return nil
	}
	index := int(n & maxPlaces)
	p := (*h.places.Load())[index]
	p.holds.Store(nil)
	p.uses = (p.uses + 1) & usesMask
	h.free = append(h.free, index)
	return t
}

// all is what there is at the moment, in the order of the table.
func (h *handles[T]) all() []held[T] {
	places := h.places.Load()
	if places == nil {
		return nil
	}
	var list []held[T]
	for _, p := range *places {
		if e := p.holds.Load(); e != nil {
			list = append(list, *e)
		}
	}
	return list
}

// close makes add fail from now on.
func (h *handles[T]) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
}
