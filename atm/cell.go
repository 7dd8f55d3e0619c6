package atm

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// Sizes of a cell in octets (I.361, clause 2.1).
const (
	CellSize    = 53
	HeaderSize  = 5
	PayloadSize = CellSize - HeaderSize
)

// A Cell is one ATM cell as it is on the wire, header first.
type Cell [CellSize]byte

// A Receiver takes cells: the far end of a link, a port of a switch, a node.
//
// The cell belongs to the receiver during the call only, which may change it (a
// switch translates the header in place) but not keep it; when Receive
// returns, the caller has its memory back, with any content. Receive may be
// called by several goroutines at once; the cells of one circuit arrive in the
// order in which they were sent, since their sender sends them one by one.
type Receiver interface {
	Receive(c *Cell)
}

// A VC is a virtual channel on one link: a virtual path and a channel in it.
// It means something on that link only; a switch translates it.
type VC struct {
	VPI uint8  // virtual path identifier at the UNI
	VCI uint16 // virtual channel identifier
}

// FirstUserVCI is the lowest VCI for user circuits. In every virtual path, 0
// to 15 are assigned by the ITU (I.361) and 16 to 31 by the ATM Forum
// (UNI 3.1).
const FirstUserVCI = 32

// String gives the VC as it is commonly written, VPI/VCI.
func (v VC) String() string { return fmt.Sprintf("%d/%d", v.VPI, v.VCI) }

// PT is the payload type of a cell, three bits (I.361, clause 2.2.4).
//
//	  2     1      0
//	+---+------+-------+
//	| 0 | EFCI |  AUU  |   user data
//	+---+------+-------+
//	| 1 |  management  |   100 segment OAM, 101 end-to-end OAM,
//	+---+--------------+   110 resource management, 111 reserved
//
// AUU (ATM-user-to-ATM-user) is 1 in the last cell of an AAL5 CPCS-PDU. EFCI
// says that the cell met congestion; a network may set it and never clears it.
type PT uint8

// Payload types.
const (
	PTUser       PT = 0b000 // user data, no congestion
	PTUserEnd    PT = 0b001 // user data, the last cell of an AAL5 CPCS-PDU
	PTSegmentOAM PT = 0b100 // F5 OAM, one segment
	PTEndOAM     PT = 0b101 // F5 OAM, end to end
	PTResource   PT = 0b110 // resource management
)

// User reports whether the payload is user data.
func (p PT) User() bool { return p&0b100 == 0 }

// End reports whether the cell is the last of an AAL5 CPCS-PDU.
func (p PT) End() bool { return p&0b101 == 0b001 }

// A Header is what the first four octets of a cell say (I.361, clause 2.2).
//
//	  31    28 27           20 19                              4 3    1  0
//	+---------+---------------+---------------------------------+------+---+
//	|   GFC   |      VPI      |               VCI               |  PT  |CLP|
//	+---------+---------------+---------------------------------+------+---+
//	followed by the HEC, 8 bits
type Header struct {
	GFC uint8 // generic flow control, 4 bits; a transmitter sends 0
	VC  VC
	PT  PT   // 3 bits
	CLP bool // cell loss priority: discard this cell before others
}

const (
	gfcShift = 28
	vpiShift = 20
	vciShift = 4
	ptShift  = 1
	clpBit   = 1

	// vcMask covers VPI and VCI in the header word.
	vcMask = 0xffffff << vciShift
)

func (v VC) word() uint32 { return uint32(v.VPI)<<vpiShift | uint32(v.VCI)<<vciShift }

// SetHeader writes the header of c and its HEC. GFC and PT have 4 and 3 bits;
// higher ones are not sent.
func (c *Cell) SetHeader(h Header) { c.setWord(h.word()) }

func (h Header) word() uint32 {
	w := h.VC.word() | uint32(h.GFC)<<gfcShift | uint32(h.PT&7)<<ptShift
	if h.CLP {
		w |= clpBit
	}
	return w
}

// HeaderOctets are the five octets of a header, its HEC included, as they are on the wire: the first one is the lowest byte. Made once for a
// circuit by [Header.Octets], they spare each of its cells the making. The zero value is no header, as its HEC is wrong.
type HeaderOctets uint64

// Octets is what SetHeader writes.
func (h Header) Octets() HeaderOctets {
	w := h.word()
	return HeaderOctets(bits.ReverseBytes32(w)) | HeaderOctets(hec(w))<<32
}

// SetOctets writes the header of c.
func (c *Cell) SetOctets(h HeaderOctets) {
	binary.LittleEndian.PutUint32(c[:4], uint32(h))
	c[4] = byte(h >> 32)
}

// octets reads the header of c as it is.
func (c *Cell) octets() HeaderOctets {
	return HeaderOctets(binary.LittleEndian.Uint32(c[:4])) | HeaderOctets(c[4])<<32
}

func (c *Cell) setWord(w uint32) {
	binary.BigEndian.PutUint32(c[:4], w)
	c[4] = hec(w)
}

func (c *Cell) word() uint32 { return binary.BigEndian.Uint32(c[:4]) }

// Header reads the header of c and reports whether its HEC is right. If it
// is not, nothing in the header can be relied upon.
func (c *Cell) Header() (h Header, ok bool) {
	w := c.word()
	h = Header{
		GFC: uint8(w >> gfcShift),
		VC:  c.VC(),
		PT:  c.PT(),
		CLP: w&clpBit != 0,
	}
	return h, c.checkHEC()
}

// VC reads the virtual channel of c; the HEC is not looked at.
func (c *Cell) VC() VC {
	w := c.word()
	return VC{VPI: uint8(w >> vpiShift), VCI: uint16(w >> vciShift)}
}

// PT reads the payload type of c; the HEC is not looked at.
func (c *Cell) PT() PT { return PT(c[3]>>ptShift) & 7 }

// Payload is the 48 octets behind the header.
func (c *Cell) Payload() *[PayloadSize]byte { return (*[PayloadSize]byte)(c[HeaderSize:]) }
