package atm

// What a network does to cells in passing: it marks congestion, and tags cells
// that break the contract. The HEC is linear, so that turning one bit of the
// header turns always the same bits of the HEC; marking keeps a right HEC right
// and a wrong one wrong.

const efciBit = 0b010 << ptShift

var (
	efciHEC = hec(efciBit) ^ hecCoset
	clpHEC  = hec(clpBit) ^ hecCoset
)

// EFCI reports whether the cell is of user data and has met congestion
// (explicit forward congestion indication, I.361, clause 2.2.4).
func (p PT) EFCI() bool { return p&0b110 == 0b010 }

// EFCI reports whether c is of user data and has met congestion; the HEC is not
// looked at.
func (c *Cell) EFCI() bool { return c.PT().EFCI() }

// CLP reports whether c may be discarded before others; the HEC is not looked
// at.
func (c *Cell) CLP() bool { return c[3]&clpBit != 0 }

// MarkEFCI says in the header of c that it has met congestion. Other cells than
// those of user data have no such mark and stay as they are.
func (c *Cell) MarkEFCI() {
	if c.PT().User() && c[3]&efciBit == 0 {
		c[3] |= efciBit
		c[4] ^= efciHEC
	}
}

// TagCLP makes c one that may be discarded before others: it was more than
// its contract allows (I.371).
func (c *Cell) TagCLP() {
	if c[3]&clpBit == 0 {
		c[3] |= clpBit
		c[4] ^= clpHEC
	}
}
