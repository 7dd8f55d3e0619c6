package atm

import (
	"fmt"
	"io"
	"sync/atomic"
)

// Cells on a stream of octets are found by their HEC alone (I.432.1, clause
// 4.3.3): where five octets in a row are a right header, and again 53 octets further on, and so
// on, there cells begin.
//
//	             one right HEC                δ right HECs in a row
//	┌──────┐ ────────────────────> ┌─────────┐ ─────────────> ┌──────┐
//	│ HUNT │                       │ PRESYNC │                │ SYNC │
//	└──────┘ <──────────────────── └─────────┘                └──────┘
//	octet by octet  one wrong HEC  cell by cell                  │
//	    ^                                                        │
//	    └────────────────────────────────────────────────────────┘
//	                      α wrong HECs in a row
const (
	// Alpha is how many wrong headers in a row end synchronism.
	Alpha = 7
	// Delta is how many right headers in a row confirm it.
	Delta = 6
)

// A SyncState is where a [Delineator] is in its search.
type SyncState uint32

// States.
const (
	Hunt SyncState = iota
	Presync
	Sync
)

var syncStates = [...]string{"hunt", "presync", "sync"}

// String is the state in a word: "hunt", "presync", "sync".
func (s SyncState) String() string {
	if int(s) < len(syncStates) {
		return syncStates[s]
	}
	return fmt.Sprintf("SyncState(%d)", uint32(s))
}

// A Delineator finds the cells in a stream of octets, descrambles their payloads and hands
// them to a [Receiver]. Octets are given to it by Write in pieces of any size, or by ReadFrom.
//
// Cells are handed on in state Sync only, after the header has been verified and, as a
// [HECReceiver] does, corrected. The first 1+Delta cells of a stream confirm its
// boundaries and are not handed on, so that a sender begins with idle ones ([Transmitter]
// does). Idle and unassigned cells are not handed on either.
//
// Nothing is allocated for a cell. Write and ReadFrom are not safe for concurrent use; State and
// Counters are.
type Delineator struct {
	to     Receiver
	cell   Cell
	n      int // octets in cell
	count  int // headers in a row: right ones in Presync, wrong ones in Sync
	header HECReceiver
	drop   bool // the payload that is coming is not handed on
	line   Descrambler
	state  atomic.Uint32
	counts delineatorCounts
}

type delineatorCounts struct {
	cells, corrected, discarded, idle, unassigned, confirming, lost, skipped atomic.Uint64
}

// DelineatorCounters is what has become of the octets given to a Delineator: each is in one
// of the cells counted (except as Corrected), or Skipped, or still to be judged.
type DelineatorCounters struct {
	Cells      uint64 // handed on
	Corrected  uint64 // of them, those with a corrected header; idle cells too
	Discarded  uint64 // cells with a wrong header, while in Sync; where the last one ends it, hunting goes on behind it
	Idle       uint64 // cells of the physical layer
	Unassigned uint64 // unassigned cells
	Confirming uint64 // cells passed over in Presync
	Lost       uint64 // how often synchronism was lost
	Skipped    uint64 // octets passed over in Hunt
}

// NewDelineator makes a Delineator that hands the cells to to.
func NewDelineator(to Receiver) *Delineator { return &Delineator{to: to} }

// State is where the search is.
func (d *Delineator) State() SyncState { return SyncState(d.state.Load()) }

// Counters reads the counters.
func (d *Delineator) Counters() DelineatorCounters {
	c := &d.counts
	return DelineatorCounters{
		Cells: c.cells.Load(), Corrected: c.corrected.Load(), Discarded: c.discarded.Load(), Idle: c.idle.Load(),
		Unassigned: c.unassigned.Load(), Confirming: c.confirming.Load(), Lost: c.lost.Load(), Skipped: c.skipped.Load(),
	}
}

// Write takes the next octets of the stream. It takes all of them, and the
// error is nil.
func (d *Delineator) Write(p []byte) (int, error) {
	taken := len(p)
	for len(p) > 0 {
		if d.State() == Hunt {
			p = d.hunt(p)
			continue
		}
		if d.n < HeaderSize {
			k := copy(d.cell[d.n:HeaderSize], p)
			d.n += k
			p = p[k:]
			if d.n == HeaderSize {
				d.check()
			}
			continue
		}
		k := copy(d.cell[d.n:], p)
		d.n += k
		p = p[k:]
		if d.n == CellSize {
			d.end()
		}
	}
	return taken, nil
}

// hunt looks for a right header octet by octet, and returns what is
// behind it.
func (d *Delineator) hunt(p []byte) []byte {
	for i, b := range p {
		if d.n == HeaderSize {
			copy(d.cell[:], d.cell[1:HeaderSize])
			d.n--
			d.counts.skipped.Add(1)
		}
		d.cell[d.n] = b
		d.n++
		if d.n == HeaderSize && d.cell.checkHEC() {
			d.count, d.drop = 0, true
			d.state.Store(uint32(Presync))
			return p[i+1:]
		}
	}
	return nil
}

// check judges the header that has come, in Presync and Sync.
func (d *Delineator) check() {
	if d.State() == Presync {
		if !d.cell.checkHEC() {
			d.lose()
			return
		}
		if d.count++; d.count < Delta {
			return
		}
		d.count, d.header = 0, HECReceiver{}
		d.state.Store(uint32(Sync))
		return // this cell, too, has only confirmed
	}
	switch d.header.Check(&d.cell) {
	case HECValid:
		d.count, d.drop = 0, false
		return
	case HECCorrected:
		d.counts.corrected.Add(1)
		d.drop = false
	case HECDiscarded:
		d.drop = true
	}
	if d.count++; d.count == Alpha {
		d.counts.lost.Add(1)
		d.lose()
	}
}

// lose begins the search anew behind the wrong header, whose last four octets
// may begin a right one.
func (d *Delineator) lose() {
	d.state.Store(uint32(Hunt))
}

// end deals with a cell that has come whole.
func (d *Delineator) end() {
	d.n = 0
	d.line.Descramble(d.cell.Payload())
	switch {
	case d.drop:
		if d.State() == Presync || d.count == 0 {
			d.counts.confirming.Add(1)
		} else {
			d.counts.discarded.Add(1)
		}
	case d.cell.Physical():
		d.counts.idle.Add(1)
	case d.cell.Unassigned():
		d.counts.unassigned.Add(1)
	default:
		d.counts.cells.Add(1)
		d.to.Receive(&d.cell)
	}
}

// readSize is how much ReadFrom asks for at once.
const readSize = 512 * CellSize

// ReadFrom takes octets from r until it ends. The error is what r gave, nil
// at its end.
func (d *Delineator) ReadFrom(r io.Reader) (n int64, err error) {
	buf := make([]byte, readSize)
	for {
		k, err := r.Read(buf)
		_, _ = d.Write(buf[:k]) // takes everything
		n += int64(k)
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}
