package rmem

import "rmemrun/atm"

// A Network is what a node is attached to: it carries cells to the peer at the
// other end of their circuit, by calling the peer's Node.Receive. Its methods
// are called by several goroutines at once.
//
// From the start there is a duplex circuit to every node, the own one included:
// VPI 0, VCI ControlVCI(peer), with the same rule at the peer's end. The
// control circuit to itself is one VC: what a node sends on it, it receives on it.
type Network interface {
	// Open sets up a duplex circuit to peer, in two VCs: VCI v for single
	// cells and v+1 for blocks, at both ends. Local is the lower VC at this
	// node, on which it sends and receives; remote is the peer's. Until
	// Close, no other Open at either end gives out these VCs, and Peer at
	// the peer's end knows whose remote is. An error means that there are no VCs left.
	Open(peer int) (local, remote atm.VC, err error)

	// Close takes down what Open has set up; cells of it may still arrive.
	Close(local atm.VC)

	// Peer says which node the circuit local, the lower VC of the two, leads
	// to; false: it is the end of no circuit that was set up by Open here or at the peer.
	Peer(local atm.VC) (node int, ok bool)

	// Send carries a cell towards the peer of the circuit that its header
	// names. Cells of one circuit arrive in the order in which they were
	// sent. Send may change the cell; it does not keep it. It may return
	// after the peer, and the peer's reply to this node, have been received.
	Send(c *atm.Cell)
}

// ControlVCI is the VCI of the control circuit to a peer.
func ControlVCI(peer int) uint16 { return uint16(atm.FirstUserVCI + peer) }

// A Directory finds the segments of all nodes by node and name. A name is 1 to 255 bytes
// of any value. Its methods are called by several goroutines at once.
type Directory interface {
	// Publish makes a segment known. EEXIST: the node has one of that name; EDOWN: the node has left.
	Publish(node int, name string, r Record) Error

	// Withdraw makes it unknown. It changes nothing for those who imported it.
	Withdraw(node int, name string)

	// Lookup finds a segment. ENOENT: there is none; EDOWN: the node has left.
	Lookup(node int, name string) (Record, Error)

	// Watch calls wake once, from any goroutine, as soon as Lookup would not
	// return ENOENT: perhaps before Watch returns.
	Watch(node int, name string, wake func()) (cancel func())
}

// A Record is what is known of a segment: its number at its node, and how many
// segments have had that number before.
type Record struct {
	Segment    uint32
	Generation uint32
}
