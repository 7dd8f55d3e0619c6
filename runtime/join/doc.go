// Package join joins the nodes of two rmemrun processes into one job. One listens, the other one calls; they greet each other over an
// [link.Link], and from then on a [Trunk] carries cells between nodes here and nodes there.
//
//	node 0 ─ Port ┐                                                ┌ Port ─ node 2
//	              ├─ switch ─ gate ─ link ~~~~~~~ link ─ switch ──┤
//	node 1 ─ Port ┘    └─ signalling ════════════ signalling ─┘    └ Port ─ node 3
//
// The listener's nodes have the lower numbers, the caller's those behind. Each process keeps a directory of the segments of all nodes; what one
// publishes it tells the other.
//
// # Greeting
//
// Greetings are AAL5 PDUs of a single cell, so that a listener decides about a stranger without remembering anything of him. Every one
// but a refusal is authenticated by a secret that both processes know.
//
//	caller                            listener
//	  │── HELLO  nodes, nonce ──────────>│   again until there is an answer
//	  │<───────── CHALLENGE nonce, cookie│   the cookie is made of address and nonce, and not kept
//	  │── CONFIRM nodes, nonce, cookie ─>│   again until there is an answer; the listener keeps the address
//	  │<──────────── WELCOME nodes, cookie│
//
// A listener of another version answers REFUSE with its own, and so does one that would have too many nodes.
//
// # Signalling
//
// Behind the greeting the same VC carries frames: AAL5 PDUs with a number, an acknowledgement and at most one message. Frames that are
// lost are sent again, all from the first that is not acknowledged; messages are taken once and in order. A process that says nothing
// for [Silence] is given up, and all its nodes are down.
//
// # Circuits
//
// Who opens a circuit chooses its VCs, at the peer's node too: the two processes choose from different virtual paths. So opening is
// one message, OPEN, and needs no answer. It must be there before the first cell that relies on it, which is the CONNECT
// of the importing node, on a control circuit: cells of control circuits wait in the gate while an OPEN is not acknowledged.
//
// # Loopback
//
// OAM cells (I.610) go over the control circuits as any others, and a node's port takes them out: it answers loopback requests, so that
// [Trunk.Ping] finds out whether the way to a node there is alive.
//
// # Locks
//
// rmem's locks, then Trunk.mu, then gate.mu or channel.mu, then Trunk.sending, then those of the link. Messages of the peer are handled on the
// goroutine of the link, or of a timer, with none of them held.
package join
