package atm

// An NNIHeader is what the first four octets of a cell say at the network-node
// interface, between switches: there is no GFC, and the VPI has its four bits too (I.361,
// clause 2.3).
//
//	  31                    20 19                              4 3    1  0
//	+-------------------------+---------------------------------+------+---+
//	|           VPI           |               VCI               |  PT  |CLP|
//	+-------------------------+---------------------------------+------+---+
//	followed by the HEC, 8 bits
//
// A cell does not say at which interface it is: that is known of the link. With
// a VPI below 256 the two headers are the same, a GFC of 0 provided.
type NNIHeader struct {
	VPI uint16 // 12 bits
	VCI uint16
	PT  PT // 3 bits
	CLP bool
}

// MaxNNIVPI is the highest VPI at the NNI.
const MaxNNIVPI = 1<<12 - 1

// SetNNIHeader writes the header of c in the form of the NNI, and its HEC. VPI
// and PT have 12 and 3 bits; higher ones are not sent.
func (c *Cell) SetNNIHeader(h NNIHeader) {
	w := uint32(h.VPI&MaxNNIVPI)<<vpiShift | uint32(h.VCI)<<vciShift | uint32(h.PT&7)<<ptShift
	if h.CLP {
		w |= clpBit
	}
	c.setWord(w)
}

// NNIHeader reads the header of c in the form of the NNI and reports whether
// its HEC is right. If it is not, nothing in the header can be relied
// upon.
func (c *Cell) NNIHeader() (h NNIHeader, ok bool) {
	return NNIHeader{
		VPI: uint16(c[0])<<4 | uint16(c[1])>>4,
		VCI: uint16(c[1])<<12 | uint16(c[2])<<4 | uint16(c[3])>>4,
		PT:  PT(c[3] >> ptShift & 7),
		CLP: c[3]&clpBit != 0,
	}, c.checkHEC()
}
