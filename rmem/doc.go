// Package rmem is remote memory: segments that a node exports, descriptors by
// which others reach them, and the operations through these, carried by ATM
// cells. It knows no guest, no trap and no socket: memory is a slice of bytes,
// a guest's buffer an io.ReaderAt or io.WriterAt, the network a function
// that takes cells. docs/protocol.md has the messages bit by bit.
//
// # Segments and circuits
//
// [Space.Export] makes memory a segment, under a name and with rights.
// [Space.Import] looks the name up in the [Directory], opens a circuit to the
// exporting node and asks, in a CONNECT message on the control circuit of the two
// nodes, for the segment to be put behind it. The exporter's node decides; the
// REPLY says how long the segment is and what was granted. A descriptor is
// nothing but the importer's end of that circuit, the initiator; at the other
// end there is the target, which can touch nothing but its segment, with the
// rights that were granted, inside its bounds. [Space.Revoke] takes the memory away
// under the lock under which every single access is checked: when it has
// returned, nothing touches the memory any more, and all circuits answer ESTALE.
//
// # Operations
//
// An operation of up to 40 bytes is one cell, an AAL3/4 single segment message: an
// operation word of 4 bytes, a key of 4, and the data; more than 36 bytes leave no room for the key. Longer ones, and those at offsets of
// 128 MiB and more, are AAL5 PDUs of up to 65440 bytes each. As AAL3/4 and AAL5 cannot
// share a virtual channel, a circuit is two: VCI v for single cells and v+1 for blocks.
//
// Each request has the next sequence number of its circuit, on whichever of the two it
// travels, and is answered by exactly one reply with the same number. Requests take
// effect in that order, a request whose number is not the next one waits, so a
// flag that was written after data is never seen before them. The target keeps its replies for a window of requests: one that comes
// again gets the same reply, and has no effect. The initiator keeps its requests until they are answered, and sends them again when
// a time-out has passed that is adapted to the measured round trip, or when later ones were dealt with. A circuit fails only if the
// peer is silent for longer than [Config].Silence. docs/protocol.md has the rules, under "Loss".
//
// Each direction of a circuit has a key, and begins to count at a number, which its sender draws at random and names when the circuit is set up. A cell
// that the network delivers on another circuit is known by them, and dropped, save a write of 37 to 40 bytes once in 256 times.
//
// A write is done when it is sent. If it was refused, the reply leaves an error with
// the descriptor, which the next [Space.Fence] reports; the first error stays until
// then. Reads and atomics are done when the reply has come.
//
// Refused means untouched. What the importer's node can see, it refuses before anything is
// sent, for the whole length; whether the source can be read is tried first.
// The exporter's node checks all of it again, as if it came from an enemy.
//
// # Notification
//
// No code of the segment's owner runs, unless an operation says notify: then, after
// the data were deposited, [Space.Wait] returns. Notifications of one circuit that nobody has waited for are merged,
// and never lost; they are waited for in the order in which the first of each came.
// A wait ends with EDOWN when all other nodes are down, or could not be reached for [Config].Silence ([Node.PeerReachable]).
//
// # Blocks
//
// A write of more than one block is read from its source in stages of about 1 MiB, once, before the first block is sent; blocks are sent from
// there, and the stage is kept until they are answered. Where the network is a [FrameNetwork] and nobody observes, the PDU of a
// block goes to the other end in one piece, and is checked there as its cells would be. All else is as in cells.
//
// # Past the network
//
// If both nodes are in this process and nothing between them takes time, a guest may leave its requests, as the same cells, in memory that it
// shares with us, and go on without a trap. Whoever takes them out, which no package below knows, has them carried out by a [Direct], the two ends of the
// circuit in one. Its locks are those of a request that came, and it takes segment.mu for many requests at once.
//
// # Locks
//
// The network may deliver a request, and the reply to it, before Send returns. So
// sending holds locks while receiving takes others, always along one circuit and in this order:
//
//	initiator.send ─> target.recv ─┬> segment.mu                 (a request: checked and deposited)
//	                               ├> segment.bell ─> Operation.mu (its notification)
//	                               └> initiator.replies ─> Operation.mu (its reply)
//
// Node.mu is taken, for control messages, before a clock's lock and segment.bell; path.mu and the locks of the clock are the last.
// segment.mu is released before segment.bell is taken, both before the reply is sent. No
// goroutine that holds locks of one circuit waits for initiator.send or
// target.recv of another one, or again of the same: whoever, while receiving a reply,
// finds a request to send only tries initiator.send; if somebody has it, that one sends it
// before he goes (initiator.resume), if not, the clock is asked to, on another goroutine (initiator.pump): on a network that
// delivers some cells at once and others later, the receiver may hold the target.recv that the request would end at.
// A timer holds no lock when it takes initiator.send. The same holds for control messages, which are
// put into an outbox (peer.out) and sent by whoever has peer.send. Hence any number of nodes
// can send to each other and to themselves at once, from any number of threads, and never wait in a circle.
// Node.mu, handles.mu, importing.mu and peer.recv are held for short, and not while a cell is sent.
package rmem
