package link

import (
	"encoding/binary"
	"errors"
	"fmt"

	"rmemrun/atm"
)

// MPLSPort is the UDP port that MPLS packets are sent to (RFC 7510, clause 3).
const MPLSPort = 6635

// A pseudowire packet begins with one entry of an MPLS label stack (RFC 3032, clause 2.1), that of the pseudowire itself, and the
// control word (RFC 4717, "The Control Word"; RFC 4385, clause 3).
//
//	 31                              12 11  9  8  7             0
//	+----------------------------------+-----+---+---------------+
//	|              label               | TC  | S |      TTL      |
//	+---------+---------+----+---------+-----+---+---------------+
//	| 0 0 0 0 |  flags  | 00 | length  |     sequence number     |
//	+---------+---------+----+---------+-------------------------+
//	 31     28 27     24      21     16 15                       0
//
// S is 1 at the bottom of the stack. A control word whose first four bits are 0001 is that of an associated channel: not data. In N-to-one cell mode
// the flags and the length are not used and sent as 0, whatever the length of the packet.
const (
	labelSize       = 4
	controlWordSize = 4
	mplsHeaderSize  = labelSize + controlWordSize

	labelShift  = 12
	labelBottom = 1 << 8
	labelTTL    = 255

	controlWordData = 0 // bits 31 to 28
	lengthMask      = 0x3f
)

// MPLS labels: 20 bits, of which 0 to 15 are reserved (RFC 3032, clause 2.1).
const (
	MinLabel = 16
	MaxLabel = 1<<20 - 1
	// DefaultLabel is used where both ends are set up by this program.
	DefaultLabel = 1000
)

// mplsCellSize is the size of a cell without its HEC (RFC 4717, "ATM N-to-One Service Encapsulation").
const mplsCellSize = atm.CellSize - 1

// putMPLSHeader writes the label and the control word.
func putMPLSHeader(b []byte, label uint32, seq uint16) {
	binary.BigEndian.PutUint32(b, label<<labelShift|labelBottom|labelTTL)
	binary.BigEndian.PutUint32(b[labelSize:], uint32(seq))
}

// putMPLSCell writes c without its HEC.
func putMPLSCell(b []byte, c *atm.Cell) {
	copy(b[:4], c[:4])
	copy(b[4:mplsCellSize], c[atm.HeaderSize:])
}

// getMPLSCell reads a cell and computes its HEC.
func getMPLSCell(c *atm.Cell, b []byte) {
	copy(c[:4], b)
	c[4] = atm.HEC([4]byte(b[:4]))
	copy(c[atm.HeaderSize:], b[4:mplsCellSize])
}

// Why a datagram is not a packet of the pseudowire.
var (
	errShort   = errors.New("too short for a label and a control word")
	errStack   = errors.New("the label is not the last of its stack")
	errLabel   = errors.New("another label")
	errExpired = errors.New("the label's TTL is 0")
	errChannel = errors.New("not data: the control word does not begin with 0000")
	errLength  = errors.New("the length in the control word is not that of the packet")
	errCells   = errors.New("not a whole number of cells, or none")
)

// parseMPLS takes a packet of the pseudowire apart: its sequence number, 0 if it has none, and its cells of mplsCellSize octets
// each.
func parseMPLS(b []byte, label uint32) (seq uint16, cells []byte, err error) {
	if len(b) < mplsHeaderSize {
		return 0, nil, errShort
	}
	entry, word := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[labelSize:])
	cells = b[mplsHeaderSize:]
	switch {
	case entry&labelBottom == 0:
		return 0, nil, errStack
	case entry>>labelShift != label:
		return 0, nil, errLabel
	case entry&0xff == 0:
		return 0, nil, errExpired
	case word>>28 != controlWordData:
		return 0, nil, errChannel
	}
	// Some senders fill in the length of a single cell, as other modes want it.
	if n := int(word >> 16 & lengthMask); n != 0 && n != len(b)-labelSize {
		return 0, nil, errLength
	}
	if len(cells) == 0 || len(cells)%mplsCellSize != 0 {
		return 0, nil, errCells
	}
	return uint16(word), cells, nil
}

// checkLabel says what is wrong with a label.
func checkLabel(label uint32) error {
	if label < MinLabel || label > MaxLabel {
		return fmt.Errorf("MPLS label %d: labels are %d to %d", label, MinLabel, MaxLabel)
	}
	return nil
}

// Sequence numbers count packets from 1 to 65535 and from there to 1 again; 0 says that the sender does not count (RFC 4385, clause
// 4, with erratum 1743).

// nextSequence is the number after seq.
func nextSequence(seq uint16) uint16 {
	if seq++; seq == 0 {
		return 1
	}
	return seq
}

// An order is a receiver's idea of the sender's numbers (RFC 4385, clause 4.2).
type order struct {
	expected uint16 // 0 stands for 1, with which counting begins
}

// take looks at the number of a packet that has come, and reports whether it is in order, and how many are missing in front of it.
// One that is not in order is behind the expected one by less than half the circle.
func (o *order) take(seq uint16) (inOrder bool, missing int) {
	if seq == 0 {
		return true, 0
	}
	expected := max(o.expected, 1)
	if seq >= expected {
		missing = int(seq - expected)
		inOrder = missing < 1<<15
	} else { // perhaps the count has begun anew, and no packet has the number 0
		missing = 1<<16 - int(expected-seq) - 1
		inOrder = expected-seq >= 1<<15
	}
	if !inOrder {
		return false, 0
	}
	o.expected = nextSequence(seq)
	return true, missing
}
