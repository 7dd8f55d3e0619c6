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
//	|  op   | N |            position / 8           |       number       |  block
//	+-------+---+------------------+----------------+--------------------+
//	|  op   | 0 |      status      |       0        |       number       |  reply, one cell
//	+-------+---+------------------+----------------+--------------------+
//	|  op   |                           key                              |  DATA, one cell
//	+-------+---+------------------+----------------+--------------------+
//	|  op   | 0 |      status      |       0        |      version       |  control
//	+-------+---+------------------+----------------+--------------------+
//	    4     1          8                 5                 14
//
// N asks for a notification. The number is the sequence number as its direction counts it, see mark; in a cell it is also SN and MID.
const (
	opShift     = 28
	notifyBit   = 1 << 27
	offsetMask  = 1<<27 - 1
	statusShift = 19
	replyZero   = 0x1f << seqBits

	seqBits = 14
	seqMask = 1<<seqBits - 1

	dataKeyMask = 1<<opShift - 1 // what a DATA cell carries of the key
)

// An Op is what a message is, the highest four bits of its first word. 0 and 15 are reserved.
type Op uint8

// Operations. In one cell the data are as given, behind the operation word and, save in OpWrite and OpData, the key; "number"
// is big endian.
const (
	OpWrite      Op = iota + 1 // the bytes, 37 to 40; in a block, any number
	OpWriteShort               // the bytes, 1 to 36
	OpRead                     // how many bytes, a number of 4 bytes
	OpCAS                      // expected, desired: numbers of 4 or 8 bytes each
	OpFAdd                     // addend, a number of 4 or 8 bytes
	OpSwap                     // value, a number of 4 or 8 bytes
	OpNotify                   // none
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

// lead is how many octets stand before the data in a cell: the operation word, and the key if there is room for it.
func (op Op) lead() int {
	if op == OpWrite || op == OpData {
		return wordSize
	}
	return wordSize + keySize
}

const (
	wordSize = 4
	keySize  = 4

	// MaxCell is how many bytes one cell carries: what the operation word leaves
	// of an AAL3/4 single segment message.
	MaxCell = atm.MaxSSM - wordSize

	// maxShort is how many bytes of a write leave room for the key.
	maxShort = MaxCell - keySize

	// minData is how many bytes a DATA cell has at least.
	minData = atm.MinSSM - wordSize

	// maxCellOffset is the highest offset that fits the operation word.
	maxCellOffset = offsetMask
)

// The header of a block, an AAL5 CPCS-PDU, big endian; data follow.
//
//	 0           4          8                    16                    24
//	+-----------+----------+--------------------+---------------------+------ - -
//	| operation |   key    |       length       |       offset        | data
//	|   word    |          |                    |                     |
//	+-----------+----------+--------------------+---------------------+------ - -
const (
	blockHeader = 24

	// MaxBlock is how many bytes one PDU carries. Header, data and trailer
	// fill 1364 cells to the last byte. It is a multiple of all words, so that none
	// lies in two PDUs.
	MaxBlock = 65440

	maxPDU = blockHeader + MaxBlock

	// MaxSegment is the largest segment, in bytes: what a process can have.
	MaxSegment = 1 << 47
)

// A header is what stands in front of a block's data.
type header struct {
	op     Op
	notify bool
	low    uint32 // the low 27 bits of the operation word
	key    uint32
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

func replyWord(op Op, e Error, number uint32) uint32 {
	return uint32(op)<<opShift | uint32(e.status())<<statusShift | number
}

func (h header) put(b *[blockHeader]byte) {
	binary.BigEndian.PutUint32(b[0:], opWord(h.op, h.notify, h.low))
	binary.BigEndian.PutUint32(b[4:], h.key)
	binary.BigEndian.PutUint64(b[8:], h.length)
	binary.BigEndian.PutUint64(b[16:], h.offset)
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
		key:    binary.BigEndian.Uint32(b[4:]),
		length: binary.BigEndian.Uint64(b[8:]),
		offset: binary.BigEndian.Uint64(b[16:]),
	}, true
}
