package rmem

import (
	"math"
	"time"
)

// Rights are what an exporter grants to importers, and what an importer asks for.
type Rights uint32

// The rights.
const (
	Read   Rights = 1 << iota // Desc.Read and Desc.ReadAsync
	Write                     // Desc.Write
	Atomic                    // Desc.CAS, Desc.FAdd, Desc.Swap and their 32-bit forms
	Quiet                     // for Export alone: the segment refuses every notification
)

// Flags modify a read or a write. At most one Swab, else EINVAL.
type Flags uint32

// The flags, with the numbers of rmem.h.
const (
	Notify Flags = 0x01 // write: when the data is there, wake the exporter's Segment.Wait
	Swab16 Flags = 0x10 // reverse the bytes of each 2-byte word on the way
	Swab32 Flags = 0x20 // reverse the bytes of each 4-byte word on the way
	Swab64 Flags = 0x30 // reverse the bytes of each 8-byte word on the way
)

// Forever, as a timeout, means without end; so does every negative duration.
const Forever time.Duration = -1

// milliseconds returns a timeout as the instructions take it: rounded up, so that
// a positive one never becomes a poll.
func milliseconds(timeout time.Duration) int32 {
	switch {
	case timeout < 0:
		return -1
	case timeout > math.MaxInt32*time.Millisecond:
		return math.MaxInt32
	}
	return int32((timeout + time.Millisecond - 1) / time.Millisecond)
}

// Node returns the number of this node, from 0.
func Node() int {
	guard()
	return int(insnNode())
}

// Nodes returns how many nodes there are.
func Nodes() int {
	guard()
	return int(insnNodes())
}

// Poll takes in the operations of other nodes on this node's segments that have
// arrived, and lets other threads and nodes go on: for a loop that waits for memory
// to change. It returns how many operations it took in; under an engine that takes
// everything in by itself, 0. No operation needs it to take effect.
func Poll() int {
	guard()
	return int(insnPoll())
}
