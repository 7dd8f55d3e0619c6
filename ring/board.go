package ring

import "sync/atomic"

// A Board is what rmemrun tells the stubs of one address space: which circuits have rings, and how to wait. The guest cannot write it.
type Board struct {
	file  *file
	board *board
}

// NewBoard makes a board with no circuits.
func NewBoard() (*Board, error) {
	f, err := newFile("board", boardSize)
	if err != nil {
		return nil, err
	}
	return &Board{file: f, board: boardAt(f.memory)}, nil
}

// File is the file to be mapped into the guest, read-only, and its length.
func (b *Board) File() (fd int, length uint64) { return b.file.fd, uint64(len(b.file.memory)) }

// Out is the place of a circuit that the guest has imported, by the low 16 bits of its descriptor, which must be less than MaxOuts.
func (b *Board) Out(i int) *Out { return &b.board.outs[i] }

// In is the place of a circuit that leads to the guest's memory.
func (b *Board) In(i int) *In { return &b.board.ins[i] }

// SetIns says how many of the places for circuits to the guest's memory are to be looked at.
func (b *Board) SetIns(n int) { atomic.StoreUint32(&b.board.insCount, uint32(n)) }

// SetBell says where the bell is, in the guest. It is not rung before.
func (b *Board) SetBell(addr uint64) { atomic.StoreUint64(&b.board.bell, addr) }

// SetThreaded says that more than one thread uses the board.
func (b *Board) SetThreaded() { atomic.StoreUint32(&b.board.threaded, 1) }

// SetPatience says how stubs wait. One that waits for an answer looks for it spin times before it gives the processor away between looks; one in wait, to which
// anything may come at any time or nothing, dwell times. Either then gives it away so many times before it traps: for help, or to sleep.
func (b *Board) SetPatience(spin, dwell, yields uint32) {
	atomic.StoreUint32(&b.board.spin, spin)
	atomic.StoreUint32(&b.board.dwell, dwell)
	atomic.StoreUint32(&b.board.patience, spin+yields)
}

// SetFenced says that stubs have to fence before they look whether somebody attends to their rings; see [Barrier].
func (b *Board) SetFenced() { atomic.StoreUint32(&b.board.fenced, 1) }

// SetNews says whether the guest has to trap when it looks for requests the next time, so that rings can be mapped or unmapped.
func (b *Board) SetNews(yes bool) {
	n := uint32(0)
	if yes {
		n = 1
	}
	atomic.StoreUint32(&b.board.news, n)
}

// SetStaging says where the guest has its staging memory; 0: nowhere.
func (b *Board) SetStaging(addr uint64) { atomic.StoreUint64(&b.board.staging, addr) }

// SetMapped says which memory of the guest is mapped here, too: sources in there are not staged. i is less than MaxRanges.
func (b *Board) SetMapped(i int, start, end uint64) {
	m := &b.board.mapped[i]
	atomic.StoreUint64(&m.end, 0) // empty, until both are there
	atomic.StoreUint64(&m.start, start)
	atomic.StoreUint64(&m.end, end)
}

// Close gives up the board here. The guest may go on to look at it.
func (b *Board) Close() { b.file.close() }

// SetState sets the state of a circuit, at last when all else is set.
func (o *Out) SetState(s uint32) { atomic.StoreUint32(&o.State, s) }

// SetErrors says whether an error waits for a fence.
func (o *Out) SetErrors(waits bool) { atomic.StoreUint32(&o.Errors, word(waits)) }

// Attend says whether the ring is looked at without the bell being rung.
func (o *Out) Attend(yes bool) { atomic.StoreUint32(&o.Attended, word(yes)) }

// SetState sets the state of a circuit, at last when all else is set.
func (i *In) SetState(s uint32) { atomic.StoreUint32(&i.State, s) }

// SetInhibited says whether the segment is inhibited.
func (i *In) SetInhibited(on bool) { atomic.StoreUint32(&i.Inhibited, word(on)) }

// SetEvents says whether notifications of the segment wait in the node.
func (i *In) SetEvents(wait bool) { atomic.StoreUint32(&i.Events, word(wait)) }

func word(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}
