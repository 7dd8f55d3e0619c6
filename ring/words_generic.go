//go:build !amd64

package ring

import (
	"sync/atomic"

	"rmemrun/atm"
)

// cellAt is where the cell is in a slot.
const cellAt = 5

// store64 stores v, after all that was stored before.
func store64(p *uint64, v uint64) { atomic.StoreUint64(p, v) }

// store32 is store64 of 32 bits.
func store32(p *uint32, v uint32) { atomic.StoreUint32(p, v) }

// take copies the cell in s, and returns true, if its number is seq.
func take(c *atm.Cell, s *slot, seq uint32) bool {
	if atomic.LoadUint32(&s.seq) != seq {
		return false
	}
	copy(c[:], s.cell[cellAt-4:])
	return true
}

// put copies a cell into s, and then its number.
func put(s *slot, c *atm.Cell, seq uint32) {
	copy(s.cell[cellAt-4:], c[:])
	atomic.StoreUint32(&s.seq, seq)
}
