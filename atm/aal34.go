package atm

import (
	"encoding/binary"
	"errors"
	"math/bits"
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
	var m [MaxSSM]byte
	first, rest := m[:4], m[4:n]
	switch {
	case len(parts) == 1:
		first, rest = parts[0][:4], parts[0][4:]
	case len(parts) == 2 && len(parts[0]) == 4:
		first, rest = parts[0], parts[1]
	default:
		at := 0
		for _, p := range parts {
			at += copy(m[at:], p)
		}
	}
	writeSSM(c, uint64(c.octets()), ssmFront(sn, mid, binary.BigEndian.Uint32(first)), rest)
	return nil
}

// EncodeSSM writes all of c: the header h, and one single segment message of the word, its highest octet first, and the data, of which there
// are 4 to 40 octets. It is the short way for a circuit's cells, and otherwise as the function of the same name. The data may change
// meanwhile: the CRC-10 is that of what is sent.
func (h HeaderOctets) EncodeSSM(c *Cell, sn uint8, mid uint16, word uint32, data []byte) error {
	if len(data) < MinSSM-4 || len(data) > MaxSSM-4 {
		return ErrSSMLength
	}
	writeSSM(c, uint64(h), ssmFront(sn, mid, word), data)
	return nil
}

// ssmFront is the first six octets of the payload, the first in the lowest byte: ST, SN, MID and a word of the message.
func ssmFront(sn uint8, mid uint16, word uint32) uint64 {
	head := stSSM<<stShift | uint16(sn&0xf)<<snShift | mid&0x3ff
	return uint64(bits.ReverseBytes16(head)) | uint64(bits.ReverseBytes32(word))<<16
}

// writeSSMTables is writeSSM by tables.
func writeSSMTables(c *Cell, header, front uint64, data []byte) {
	li := uint16(4+len(data)) << liShift
	binary.LittleEndian.PutUint64(c[:], header|front<<40)
	binary.LittleEndian.PutUint32(c[sarPayload:], uint32(front>>16))
	n := sarPayload + 4 + copy(c[sarPayload+4:sarTrailer], data)
	clear(c[n:sarTrailer])
	binary.BigEndian.PutUint16(c[sarTrailer:], li)
	crc := crc10RemainderTables(c.Payload())
	binary.BigEndian.PutUint16(c[sarTrailer:], li|crc)
}

// DecodeSSM reads the single segment message in the payload of c. The header of c
// is not looked at. The error is ErrCRC10, ErrSegmentType or ErrSSMLength, checked
// in this order.
func DecodeSSM(c *Cell) (SSM, error) {
	if !crc10Right(c.Payload()) {
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
