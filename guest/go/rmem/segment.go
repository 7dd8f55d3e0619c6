package rmem

import (
	"sync"
	"time"
	"unsafe"
)

// Segment is memory of this process that other nodes may reach.
type Segment int32

// exported refers to the memory of every segment, so that it is not freed.
var exported = struct {
	sync.Mutex
	memory map[Segment][]byte
}{memory: make(map[Segment][]byte)}

// Export makes mem a segment that other nodes import by name (1 to 255 bytes) and
// by the number of this node. rights, at least one, bounds what any importer may
// do. mem stays the program's own; it must not be on a goroutine's stack, which it
// never is, since passing it here moves it to the heap.
// Errors: EINVAL (name, rights, empty mem, kind of memory), EFAULT, EEXIST, ENOSPC.
func Export(name string, mem []byte, rights Rights) (Segment, error) {
	guard()
	exported.Lock()
	defer exported.Unlock()
	result := insnExport(unsafe.Pointer(unsafe.SliceData(mem)), uint64(len(mem)),
		unsafe.Pointer(unsafe.StringData(name)), uint64(len(name)), uint32(rights))
	if result < 0 {
		return 0, Error(result)
	}
	exported.memory[Segment(result)] = mem
	return Segment(result), nil
}

// Revoke ends the segment: when it has returned, nothing touches the memory any
// more, every descriptor of it answers ESTALE, and the name is free.
// Errors: EDESC.
func (s Segment) Revoke() error {
	guard()
	exported.Lock()
	defer exported.Unlock()
	result := insnRevoke(int32(s))
	if result >= 0 {
		delete(exported.memory, s)
	}
	return failure(result)
}

// Inhibit refuses writes and atomics to the segment from now on with EINHIBIT, or,
// if on is false, accepts them again; reads pass. Errors: EDESC.
func (s Segment) Inhibit(on bool) error {
	guard()
	var v int32
	if on {
		v = 1
	}
	return failure(insnInhibit(v, int32(s)))
}

// Op is the operation that an Event tells of.
type Op uint32

// The operations that notify, with the numbers of rmem.h.
const (
	OpWrite  Op = 6
	OpCAS    Op = 8
	OpFAdd   Op = 9
	OpSwap   Op = 10
	OpNotify Op = 12
)

// Event is the notifications that came through one descriptor since the last Wait,
// joined to one. Those of different descriptors stay apart and come in the order of
// their first arrival.
type Event struct {
	Node   uint32 // who notified
	Op     Op     // by what, last
	Offset uint64 // first byte touched, from the start of the segment
	Len    uint64 // bytes from there to the end of the last byte touched
	Count  uint64 // how many notifications this event stands for, at least 1
}

// Wait takes the oldest event of the segment, and sleeps until there is one. A
// timeout of 0 does not sleep. No notification is lost: what arrived before the
// call is returned by it.
// Errors: EDESC, ETIMEDOUT, ESTALE (revoked meanwhile), EDOWN (no event, and every
// other node is gone).
func (s Segment) Wait(timeout time.Duration) (Event, error) {
	guard()
	var event Event
	result := insnWait(unsafe.Pointer(&event), milliseconds(timeout), int32(s))
	return event, failure(result)
}
