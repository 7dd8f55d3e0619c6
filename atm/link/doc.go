// Package link carries cells between processes: over UDP and over TCP. Links within a process are calls (package atm).
//
// A [Link] is one end. What is sent into it, by [Link.Receive], comes out of the other end into the [atm.Receiver] given there, in the
// order in which it was sent, as far as it arrives: UDP may lose it, and a link whose sender is too slow drops it. Both are
// counted.
//
// # UDP: cells on a pseudowire
//
// [MPLS] puts as many cells into a datagram as fit the MTU, as an ATM pseudowire in N-to-one cell mode with the control word (RFC
// 4717) over MPLS in UDP (RFC 7510, port 6635):
//
//	            4            4          4    48      4    48
//	        +-------+--------------+--------+----+--------+----+- - -
//	UDP     | label | control word | header |    | header |    |
//	        +-------+--------------+--------+----+--------+----+- - -
//	octets                           cell 1        cell 2
//
// A cell's HEC is not carried: a cell whose header is wrong is not sent, and the receiving end computes the HEC anew. Nor are idle
// and unassigned cells. The sequence number in the control word shows the receiver what the network has lost or reordered; what comes too
// late is dropped, as the order of cells is what ATM promises.
//
// # UDP: bare cells
//
// [Bare] puts one cell of 53 octets, HEC included, into a datagram and nothing else. So do the ATM switches of Dynamips and GNS3. The
// HEC is carried as it is, right or wrong.
//
// # TCP: a line
//
// [TCP] is a stream of octets with nothing but cells in it, as on a physical line: payloads scrambled, cells found by their HEC
// ([atm.Transmitter], [atm.Delineator]).
//
// # Strangers
//
// An end knows its peer's address. A datagram from any other is counted and not looked into. An end that waits for its peer
// ([Listener]) shows each datagram's cells to a function that admits or rejects, remembers nothing about the rejected, and
// takes the address of the first admitted for its peer's. An address can be forged by whoever is on the path; nothing here keeps what is sent secret or
// whole.
//
// # Batches
//
// Sending a datagram costs a system call, or with several of them at once a part of one. A cell that is sent goes into a batch; the batch is
// written when it is full, by the caller, or as soon as the link's flusher comes to it: at once if the link was idle, else when the
// last batch has been written, so that batches grow by themselves when there is much to send, and a lone cell waits for nothing but a
// goroutine's waking. A batch is of fixed size, memory is bounded, and sending a cell allocates nothing.
//
// # Locks
//
// UDP.writing, held while a batch is written, is taken before UDP.mu, under which batches are filled and changed. TCP.mu is held while a cell is
// appended. None is held while a received cell is handed on; one goroutine does that for each link.
package link
