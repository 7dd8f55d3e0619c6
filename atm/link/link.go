package link

import (
	"net/netip"
	"sync/atomic"

	"rmemrun/atm"
)

// A Link is one end of a link to another process. Its methods may be called by several goroutines at once.
type Link interface {
	// Receive sends a cell to the other end. It keeps nothing of c. It does not wait for the other end.
	atm.Receiver

	// Counters reads the counters.
	Counters() Counters

	// Local is the address of this end, Peer that of the other; of a stream that has none they are not valid.
	Local() netip.AddrPort
	Peer() netip.AddrPort

	// Done is closed when the link has ended: by Close, or because its connection has. Err is then why, nil after Close.
	Done() <-chan struct{}
	Err() error

	// Close ends the link and its goroutines; cells sent before have been given to the system, or are dropped. When it returns, the receiver is not
	// called any more. It must not be called from within the receiver.
	Close() error
}

// Counters is what has happened at one end of a link. Datagrams are those of UDP.
type Counters struct {
	Sent     uint64 // cells given to the system
	Received uint64 // cells handed to the receiver

	SentDatagrams     uint64
	ReceivedDatagrams uint64 // from the peer, whatever was in them

	BadHEC   uint64 // cells not sent, since their header is wrong and would get a right HEC at the other end
	Empty    uint64 // cells not sent: idle and unassigned ones
	Overflow uint64 // cells not sent, since too many are waiting (TCP), or since the link has ended
	Unsent   uint64 // cells that the system refused to send

	Strangers uint64 // datagrams, or connections, from somebody else
	Malformed uint64 // datagrams from the peer that are not of the link's form: of a wrong size, another label, no control word
	Late      uint64 // datagrams from the peer that came after one sent later, or twice
	Lost      uint64 // datagrams missing in the peer's numbers so far
	Discarded uint64 // cells whose header was wrong when they came (TCP)
}

// counts are Counters in the making.
type counts struct {
	sent, received, sentDatagrams, receivedDatagrams atomic.Uint64
	badHEC, empty, overflow, unsent                  atomic.Uint64
	strangers, malformed, late, lost                 atomic.Uint64
}

func (c *counts) read() Counters {
	return Counters{
		Sent: c.sent.Load(), Received: c.received.Load(),
		SentDatagrams: c.sentDatagrams.Load(), ReceivedDatagrams: c.receivedDatagrams.Load(),
		BadHEC: c.badHEC.Load(), Empty: c.empty.Load(), Overflow: c.overflow.Load(), Unsent: c.unsent.Load(),
		Strangers: c.strangers.Load(), Malformed: c.malformed.Load(), Late: c.late.Load(), Lost: c.lost.Load(),
	}
}

// sendable reports whether a cell can go on a link whose other end computes the HEC, and counts it if not.
func (c *counts) sendable(cell *atm.Cell) bool {
	if _, ok := cell.Header(); !ok {
		c.badHEC.Add(1)
		return false
	}
	if cell.Unassigned() || cell.Physical() {
		c.empty.Add(1)
		return false
	}
	return true
}
