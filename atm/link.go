package atm

import "sync/atomic"

// A Link is one direction of a link in memory: what is sent into it is
// received at the far end before Receive returns. It has no rate, no delay and
// loses nothing.
type Link struct {
	to    Receiver
	cells atomic.Uint64
}

// NewLink makes a link that ends at to.
func NewLink(to Receiver) *Link { return &Link{to: to} }

// Receive carries c to the far end.
func (l *Link) Receive(c *Cell) {
	l.cells.Add(1)
	l.to.Receive(c)
}

// Cells is how many cells were sent into the link.
func (l *Link) Cells() uint64 { return l.cells.Load() }
