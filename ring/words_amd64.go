package ring

import "rmemrun/atm"

// These are in assembly because Go's atomic stores are locked instructions, which buy nothing where stores become visible in their
// order (Intel SDM, volume 3, "Memory Ordering"), and because a cell is moved in vectors, which are what its checksum is
// computed of: read back in other pieces, they would have to wait for the stores.

// store64 stores v, after all that was stored before.
//
//go:noescape
func store64(p *uint64, v uint64)

// store32 is store64 of 32 bits.
//
//go:noescape
func store32(p *uint32, v uint32)

// take copies the cell in s, and returns true, if its number is seq: the cell is what was there when the number was seen, or later, if
// its writer does not keep to the rules. Each octet is read once.
//
//go:noescape
func take(c *atm.Cell, s *slot, seq uint32) bool

// put copies a cell into s, and then its number.
//
//go:noescape
func put(s *slot, c *atm.Cell, seq uint32)
