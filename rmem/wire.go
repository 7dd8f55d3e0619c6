package rmem

import (
	"encoding/binary"

	"rmemrun/atm"
)

// The operation word begins every message, big endian.
//
//	 31   28 27  26                                                     0
//	+-------+---+--------------------------------------------------------+
//	|  op   | N |                        offset                          |  request, one cell
//	+-------+---+-----------------------------------+--------------------+
//	|  op   | N |                 0                 |      sequence      |  request, block
//	+-------+---+------------------+----------------+--------------------+
//	|  op   | 0 |      status      |       0        |      sequence      |  reply
//	+-------+---+------------------+----------------+--------------------+
//	|  op   | 0 |      status      |       0        |      version       |  control
//	+-------+---+------------------+----------------+--------------------+
//	    4     1          8                 5                 14
//
// N asks for a notification. A reply's sequence is that of the request it answers.
const (
	opShift     = 28
	notifyBit   = 1 << 27
	offsetMask  = 1<<27 - 1
	statusShift = 19
	replyZero   = 0x1f << seqBits

	seqBits = 14
	seqMask = 1<<seqBits - 1
)

// An Op is what a message is, the highest four bits of its first word. 0 and 15 are reserved.
type Op uint8

// Operations. In one cell the data behind the operation word are as given; "number" is big endian.
const (
	OpWrite      Op = iota + 1 // the bytes, 4 to 40
	OpWriteShort               // how many bytes, 1 to 3; these, padded with 0 to 3
	OpRead                     // how many bytes, a number of 4 bytes
	OpCAS                      // expected, desired: numbers of 4 or 8 bytes each
	OpFAdd                     // addend, a number of 4 or 8 bytes
	OpSwap                     // value, a number of 4 or 8 bytes
	OpNotify                   // 4 bytes 0
	OpAck                      // reply to writes and OpNotify: 4 bytes, a credit
	OpData                     // reply to OpRead: the bytes, padded with 0 to 4
	OpOld                      // reply to atomics: a number of 4 or 8 bytes

	// On control circuits.
	OpConnect
	OpReply
	OpDisconnect

	OpHave // in both directions of a circuit: what has come, without being a reply or a request
	opCount
)

var opNames = [opCount]string{
	OpWrite: "write", OpWriteShort: "write", OpRead: "read", OpCAS: "cas", OpFAdd: "fadd", OpSwap: "swap",
	OpNotify: "notify", OpAck: "ack", OpData: "data", OpOld: "old",
	OpConnect: "connect", OpReply: "reply", OpDisconnect: "disconnect", OpHave: "have",
}

// String is the operation in a word, "write".
func (op Op) String() string {
	if op > 0 && op < opCount {
		return opNames[op]
	}
	return "invalid"
}

// reply is the operation that answers op.
func (op Op) reply() Op {
	switch op {
	case OpRead:
		return OpData
	case OpCAS, OpFAdd, OpSwap:
		return OpOld
	}
	return OpAck
}

const (
	wordSize = 4

	// MaxCell is how many bytes one cell carries: what the operation word leaves
	// of an AAL3/4 single segment message.
	MaxCell = atm.MaxSSM - wordSize

	minData = atm.MinSSM - wordSize

	// maxCellOffset is the highest offset that fits the operation word.
	maxCellOffset = offsetMask
)

// The header of a block, an AAL5 CPCS-PDU, big endian; data follow.
//
//	 0           4                    10                    16
//	+-----------+--------------------+---------------------+------ - -
//	| operation |       length       |       offset        | data
//	|   word    |    48 bits         |    48 bits          |
//	+-----------+--------------------+---------------------+------ - -
const (
	blockHeader = 16

	// MaxBlock is how many bytes one PDU carries. Header, data and trailer
	// fill 1364 cells to the last byte. It is a multiple of all words, so that none
	// lies in two PDUs.
	MaxBlock = 65448

	maxPDU = blockHeader + MaxBlock

	// MaxSegment is the largest segment, in bytes: block offsets have 48 bits.
	MaxSegment = 1 << 47
)

// A header is what stands in front of a block's data.
type header struct {
	op     Op
	notify bool
	low    uint32 // the low 27 bits of the operation word
	length uint64
	offset uint64
}

// position is the first byte of the block that the PDU carries; its unit on the wire is 8 bytes.
func (h *header) position() int { return int(h.low>>seqBits) * 8 }

func opWord(op Op, notify bool, low uint32) uint32 {
	w := uint32(op)<<opShift | low
	if notify {
		w |= notifyBit
	}
	return w
}

func replyWord(op Op, e Error, seq uint64) uint32 {
	return uint32(op)<<opShift | uint32(e.status())<<statusShift | uint32(seq)&seqMask
}

func (h header) put(b *[blockHeader]byte) {
	binary.BigEndian.PutUint32(b[0:], opWord(h.op, h.notify, h.low))
	binary.BigEndian.PutUint16(b[4:], uint16(h.length>>32))
	binary.BigEndian.PutUint32(b[6:], uint32(h.length))
	binary.BigEndian.PutUint16(b[10:], uint16(h.offset>>32))
	binary.BigEndian.PutUint32(b[12:], uint32(h.offset))
}

func parseHeader(b []byte) (h header, ok bool) {
	if len(b) < blockHeader {
		return h, false
	}
	w := binary.BigEndian.Uint32(b)
	return header{
		op:     Op(w >> opShift),
		notify: w&notifyBit != 0,
		low:    w & offsetMask,
		length: uint64(binary.BigEndian.Uint16(b[4:]))<<32 | uint64(binary.BigEndian.Uint32(b[6:])),
		offset: uint64(binary.BigEndian.Uint16(b[10:]))<<32 | uint64(binary.BigEndian.Uint32(b[12:])),
	}, true
}
