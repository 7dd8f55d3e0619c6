package ring

import "structs"

// The layout of stub/layout.h, where each field is explained.

const (
	line = 64

	// Slots is how many requests of a ring may be unacknowledged; a power of two.
	Slots = 256

	// MaxOuts is how many descriptors can have a ring: those whose low 16 bits are less.
	MaxOuts = 4096

	// MaxIns is how many rings an exporter can serve by itself.
	MaxIns = 256

	// MaxRanges is how many ranges of exported memory a board names.
	MaxRanges = 8

	// MaxStaged is the length of the longest source that is staged, and MinStaged of the shortest, in bytes.
	MaxStaged = 1 << 20
	MinStaged = 41

	page = 4096
)

// States of an Out and an In.
const (
	Free uint32 = iota
	Live
)

// Who holds the lock of a ring.
const (
	unlocked uint32 = iota
	byAgent
)

// A slot is one cell, at cellAt, and what makes it visible: the low 32 bits of its index + 1.
type slot struct {
	_    structs.HostLayout
	seq  uint32
	cell [60]byte // 1 octet of 0, the cell, 6 of 0
}

// requests is what the initiator's guest writes.
type requests struct {
	_     structs.HostLayout
	tail  uint64
	_     [line - 8]byte
	seen  uint64
	_     [line - 8]byte
	busy  [Slots]uint8
	_     [page - 2*line - Slots]byte
	slots [Slots]slot
}

// replies is what the exporter's side writes.
type replies struct {
	_       structs.HostLayout
	head    uint64
	polling uint32
	_       [line - 12]byte
	lock    uint32
	polled  uint32
	left    uint64
	_       [line - 16]byte
	_       [page - 2*line]byte
	slots   [Slots]slot
}

// Out is a circuit as its initiator's stubs see it.
type Out struct {
	_                structs.HostLayout
	Handle           uint32
	State            uint32 // atomic
	Rights           uint32
	Errors           uint32 // atomic
	Limit            uint64
	Header0, Header1 uint64
	Reply0, Reply1   uint64
	Key              uint32
	Node             uint32
	Requests         uint64 // addresses in the guest
	Replies          uint64
	Index            uint32
	ReplyKey         uint32
	_                [2*line - 88]byte
	Attended         uint32 // atomic
	_                [line - 4]byte
}

// In is a circuit as its exporter's stubs see it.
type In struct {
	_                structs.HostLayout
	State            uint32 // atomic
	Rights           uint32
	Inhibited        uint32 // atomic
	Segment          uint32
	Events           uint32 // atomic
	Node             uint32
	Base             uint64 // address in the guest
	Length           uint64
	Header0, Header1 uint64
	Reply0, Reply1   uint64
	Key              uint32
	ReplyKey         uint32
	Requests         uint64 // addresses in the guest
	Replies          uint64
	_                [2*line - 96]byte
}

// staging is what the guest's stubs copy sources to.
type staging struct {
	_         structs.HostLayout
	owner     uint64 // atomic
	processor uint32 // atomic
	_         [page - 12]byte
	bytes     [MaxStaged]byte
}

// mapped is memory of the guest that is mapped here, too.
type mapped struct {
	_          structs.HostLayout
	start, end uint64 // atomic
}

// board is what rmemrun tells the stubs of one address space.
type board struct {
	_        structs.HostLayout
	bell     uint64 // address in the guest
	threaded uint32
	spin     uint32
	patience uint32
	insCount uint32
	fenced   uint32
	news     uint32
	dwell    uint32
	_        uint32
	staging  uint64 // atomic; address in the guest
	mapped   [MaxRanges]mapped
	_        [page - 48 - 16*MaxRanges]byte
	ins      [MaxIns]In
	outs     [MaxOuts]Out
}
