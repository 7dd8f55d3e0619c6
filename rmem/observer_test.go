package rmem

import (
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"rmemrun/atm"
)

type atmCell = atm.Cell

// A recorder keeps all events, with copies of their cells.
type recorder struct {
	mu     sync.Mutex
	events []Event
}

func (r *recorder) Observe(e *Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := *e
	if e.Cell != nil {
		cell := *e.Cell
		c.Cell = &cell
	}
	r.events = append(r.events, c)
}

func (r *recorder) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = nil
}

func (r *recorder) count(f func(*Event) bool) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.events {
		if f(&r.events[i]) {
			n++
		}
	}
	return n
}

// anonymous is memory outside of Go's heap, as a guest's is.
func anonymous(t testing.TB, size int) []byte {
	t.Helper()
	m, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(m); err != nil {
			t.Error(err)
		}
	})
	return m
}
