package ring

import (
	"sync/atomic"

	"rmemrun/atm"
)

// A tapped ring is one of which each request is looked at when it has been dealt with, whoever did that. Its initiator maps a copy of the
// replies in place of these: since the head that it sees is the copy's, it cannot use a slot again before Show has brought the copy up to date.
//
//	requests ──────────────────────────▶ agent, exporter's guest
//	   ▲   └──▶ Request, Reply              │
//	   │                                    ▼
//	initiator ◀── copy ◀──── Show ────── replies
//
// What the exporter says of itself, that it polls, is not copied: the initiator rings for the agent, who knows better.

// NewTappedPair makes the memory of Batch rings that are tapped.
func NewTappedPair() (*Pair, error) {
	p, err := NewPair()
	if err != nil {
		return nil, err
	}
	if p.shown, err = newFile("ring replies shown", Batch*repliesSize); err != nil {
		p.Close()
		return nil, err
	}
	for i := range p.rings {
		p.rings[i].shown = repliesAt(p.shown.memory, i)
	}
	return p, nil
}

// Shown is the file that the initiator has to map, read-only, to see the replies, and its length: a copy of them if the rings are tapped.
func (p *Pair) Shown() (fd int, length uint64) {
	if p.shown == nil {
		return p.Replies()
	}
	return p.shown.fd, uint64(len(p.shown.memory))
}

// Request copies request number index, and reports whether it is there.
func (r *Ring) Request(index uint64, c *atm.Cell) bool {
	return take(c, &r.asked[index%Slots], uint32(index+1))
}

// Reply copies the answer to request number index, which has one, and reports whether it is there.
func (r *Ring) Reply(index uint64, c *atm.Cell) bool {
	return take(c, &r.answered[index%Slots], uint32(index+1))
}

// Show has the initiator of a tapped ring see what was said to the requests before head, which must be where Acknowledged has found it. It is not to be
// called by two at once.
func (r *Ring) Show(head uint64) {
	next := atomic.LoadUint64(&r.shown.head)
	if head-next > Slots {
		next = head - Slots
	}
	var c atm.Cell
	for ; next != head; next++ {
		if r.Reply(next, &c) {
			put(&r.shown.slots[next%Slots], &c, uint32(next+1))
		}
	}
	store64(&r.shown.head, head)
}
