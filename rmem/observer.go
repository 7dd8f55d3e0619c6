package rmem

import "rmemrun/atm"

// An Observer is told what happens in a node. Observe is called on whatever
// goroutine it happens on, with locks of the node held: it must be quick, must
// not call the node, and must not keep the event or its cell. Sent is observed
// before the cell leaves, so that on a network that delivers at once, events are in the
// order of what they tell.
type Observer interface {
	Observe(*Event)
}

// A Kind says what an Event tells.
type Kind uint8

// Kinds. The life of a write, at the importer (left) and the exporter (right):
//
//	Sent ----cell----> Received
//	                   Deposited, Notified      or Refused
//	Received <--cell-- Sent
//	Completed
//
// Every cell that comes is told of once: it is Received or Dropped, and Dropped stands
// in place of all that would have come after it. Of a request that overtook another one
// this is told when its turn has come.
const (
	Sent      Kind = iota + 1 // a cell is about to leave
	Received                  // a cell has come, and is what it should be as far as it goes
	Deposited                 // a request has taken effect on the segment: data written or read, an atomic made
	Notified                  // the segment's owner has been notified
	Refused                   // a request was refused, Status says why; no byte was changed
	Dropped                   // a cell or PDU was discarded, Reason says why
	Completed                 // the reply has come: at the importer, Status is the outcome
)

var kindNames = [...]string{
	Sent: "sent", Received: "received", Deposited: "deposited", Notified: "notified",
	Refused: "refused", Dropped: "dropped", Completed: "completed",
}

// String is the kind in a word, "sent".
func (k Kind) String() string {
	if int(k) < len(kindNames) && k > 0 {
		return kindNames[k]
	}
	return "invalid"
}

// An OpID names one request on the wire, equally at both ends.
type OpID struct {
	Node uint16 // the importer
	VCI  uint16 // of the circuit, the lower of the two, at the importer
	Seq  uint64 // how many requests the circuit carried before; on the wire, each direction begins to count at a number of its own
}

// An Event is something that happened in a node. Fields that say nothing for
// the kind, or cannot be known yet, are 0: of a block that is being received, no
// cell but the last says which operation it belongs to.
type Event struct {
	Kind   Kind
	Node   int       // where it happened
	Peer   int       // the node at the other end of the circuit; -1 if the circuit is unknown
	ID     OpID      // the request; control messages have the circuit's VCI 0
	Tag    uint64    // Operation.Tag, at the initiator
	Cell   *atm.Cell // Sent, Received, and Dropped where it was a cell
	Op     Op        // what is done: the request's operation, also in events of its reply
	Offset uint64    // in the segment
	Len    uint64    // bytes of the segment concerned
	Status Error     // Refused, Completed, and replies
	Reason Reason    // Dropped
}

// A Reason says why a cell or PDU was discarded.
type Reason uint8

// Reasons. What is dropped has no effect; if it was sent by an honest peer, it is sent again.
const (
	BadHEC      Reason = iota + 1 // the HEC does not match: the header cannot be believed
	NoCircuit                     // no circuit of this node
	NotUser                       // OAM, resource management or reserved payload type
	BadCRC10                      // AAL3/4: the CRC-10 does not match
	BadSegment                    // AAL3/4: not a single segment message, or of a wrong length
	BadPDU                        // AAL5: wrong CRC-32, wrong length, aborted, too long
	Gap                           // a sequence number outside of the window
	Duplicate                     // a sequence number that was there before: the reply is sent again, if it may have been lost
	Malformed                     // fields that contradict each other, or an operation there is none of
	Unasked                       // a reply nobody waits for
	Stranger                      // a control message from one who may not send it, or about a circuit of somebody else
	Overflow                      // no memory is set aside for more
	Misinserted                   // it bears the mark of another circuit, on which it should have come
	ReasonCount = iota + 1
)

var reasonNames = [ReasonCount]string{
	BadHEC: "bad-hec", NoCircuit: "no-circuit", NotUser: "not-user-data", BadCRC10: "bad-crc10",
	BadSegment: "bad-segment", BadPDU: "bad-pdu", Gap: "gap", Duplicate: "duplicate", Malformed: "malformed",
	Unasked: "unasked", Stranger: "stranger", Overflow: "overflow",
	Misinserted: "misinserted",
}

// String is the reason in a word, "bad-crc10".
func (r Reason) String() string {
	if r > 0 && r < ReasonCount {
		return reasonNames[r]
	}
	return "invalid"
}
