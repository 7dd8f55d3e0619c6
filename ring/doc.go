// Package ring is how cells pass between a guest and rmemrun, or between two guests, without a trap: through memory that
// they share. It knows neither segments nor rights: who carries a request out is a [Server].
//
// A [Ring] carries one circuit from end to end. The initiator's guest writes requests, as cells, into its slots; the exporter's side
// acknowledges them by moving the head, and writes replies into slots of its own. Either side maps the other's half read-only:
//
//	guest A                       rmemrun                        guest B
//	requests  rw ───cells───▶ Ring.Serve ──▶ Server ──▶ memory of B   requests  ro
//	replies   ro ◀─head, cells─────┘                                  replies   rw
//
// Guest B may serve the ring too, while it waits for something; a lock in the replies says who does. What goes on in the guests is
// machine code, in package stub, whose layout.h is the contract that this package is the other party of.
//
// A block write traps, and a [Staging] is where its stub has put the source by then.
//
// # Trust
//
// Guests write whatever they like, at any moment. A slot is copied, and the copy is looked at. The head is believed only as long as
// it does not fall behind what was acknowledged, and does not overtake the tail; else the ring is broken, for good. A broken ring harms
// the two guests it is between: the one acknowledges what it has not done, or the other asks for what it has not written.
//
// # Order
//
// What one side stores before it publishes an index, the other side sees when it has seen the index: stores become visible in their
// order, and loads are done in theirs, on x86-64 by themselves. There is a fence in two places only, where somebody goes to sleep:
// see [Bell].
//
// # Locks
//
// Server.Begin takes the locks of the circuit, see package rmem, and is called before the lock of the ring is tried for.
package ring
