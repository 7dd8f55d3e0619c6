package atm

// Cells that carry nothing for anybody keep a link of constant rate filled. All
// have VPI and VCI 0 (I.361, clause 2.2.1); CLP says who made them.
//
//	 octets   1  2  3  4    HEC   payload
//	idle      00 00 00 01   52    48 times 6a      by the physical layer, I.432.1
//	unassigned  0 0 00 0x   any   any              by the ATM layer: CLP is 0, GFC and PT are any
//
// The physical layer may use other cells of its own, such as 00 00 00 09 for its
// OAM; with CLP 1 none of them is for the layers above.

// idleOctet fills what is not used in idle and OAM cells.
const idleOctet = 0x6a

// SetIdle makes c an idle cell.
func (c *Cell) SetIdle() {
	c.setWord(clpBit)
	p := c.Payload()
	for i := range p {
		p[i] = idleOctet
	}
}

// SetUnassigned makes c an unassigned cell, with a payload of 0.
func (c *Cell) SetUnassigned() {
	*c = Cell{4: hecCoset}
}

// Unassigned reports whether c is an unassigned cell; the HEC is not looked at.
func (c *Cell) Unassigned() bool { return c.empty() && !c.CLP() }

// Physical reports whether c is of the physical layer, such as an idle cell; the HEC
// is not looked at.
func (c *Cell) Physical() bool { return c.empty() && c.CLP() }

// empty reports whether the cell carries nothing for anybody: an unassigned
// cell, or one for the physical layer.
func (c *Cell) empty() bool { return c.word()&vcMask == 0 }
