package atm

import (
	"encoding/binary"
	"errors"
)

// Limits of the payload of a single segment message, in octets (I.363.3,
// clause 9.1.2: LI of an SSM is 8 to 44).
const (
	MinSSM = 8
	MaxSSM = 44
)

// The SAR-PDU of AAL type 3/4 within the payload of a cell (I.363.3, clause
// 9.1.2). ST, SN and MID are its first two octets, LI and CRC its last two.
//
//	 15  14 13     10 9                 0        15       10 9              0
//	+------+---------+-------------------+ 44   +-----------+----------------+
//	|  ST  |   SN    |        MID        | .... |    LI     |     CRC-10     |
//	+------+---------+-------------------+      +-----------+----------------+
const (
	stShift = 14
	snShift = 10
	liShift = 10

	// stSSM marks a single segment message; the others are BOM 10, COM 00
	// and EOM 01.
	stSSM = 0b11

	sarPayload = HeaderSize + 2
	sarTrailer = sarPayload + MaxSSM
)

// Reasons why a cell holds no single segment message.
var (
	ErrCRC10       = errors.New("atm: AAL3/4 SAR-PDU refused: CRC-10 does not match, the cell was damaged")
	ErrSegmentType = errors.New("atm: AAL3/4 SAR-PDU refused: not a single segment message (ST is not 11)")
	ErrSSMLength   = errors.New("atm: AAL3/4 single segment message refused: length (LI) not within 8..44")
)

// An SSM is a single segment message of AAL type 3/4: a whole message in one cell.
type SSM struct {
	SN      uint8  // sequence number, 4 bits
	MID     uint16 // multiplexing identifier, 10 bits
	Payload []byte // 8 to 44 octets, within the cell
}

// EncodeSSM fills the payload of c with one single segment message that is made
// of the parts, one behind the other, and leaves the header alone. The low four bits
// of sn and the low ten of mid are sent; octets behind the message are 0. If
// the message is not 8 to 44 octets long, c is unchanged and the
// error is ErrSSMLength.
func EncodeSSM(c *Cell, sn uint8, mid uint16, parts ...[]byte) error {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	if n < MinSSM || n > MaxSSM {
		return ErrSSMLength
	}
	binary.BigEndian.PutUint16(c[HeaderSize:], stSSM<<stShift|uint16(sn&0xf)<<snShift|mid&0x3ff)
	at := sarPayload
	for _, p := range parts {
		at += copy(c[at:sarTrailer], p)
	}
	clear(c[at:sarTrailer])
	binary.BigEndian.PutUint16(c[sarTrailer:], uint16(n)<<liShift)
	crc := crc10Remainder(c.Payload())
	binary.BigEndian.PutUint16(c[sarTrailer:], uint16(n)<<liShift|crc)
	return nil
}

// DecodeSSM reads the single segment message in the payload of c. The header of c
// is not looked at. The error is ErrCRC10, ErrSegmentType or ErrSSMLength, checked
// in this order.
func DecodeSSM(c *Cell) (SSM, error) {
	if crc10Remainder(c.Payload()) != 0 {
		return SSM{}, ErrCRC10
	}
	head := binary.BigEndian.Uint16(c[HeaderSize:])
	if head>>stShift != stSSM {
		return SSM{}, ErrSegmentType
	}
	n := int(c[sarTrailer] >> 2)
	if n < MinSSM || n > MaxSSM {
		return SSM{}, ErrSSMLength
	}
	return SSM{
		SN:      uint8(head>>snShift) & 0xf,
		MID:     head & 0x3ff,
		Payload: c[sarPayload : sarPayload+n : sarPayload+n],
	}, nil
}
