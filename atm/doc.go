// Package atm is the network under the remote memory instructions: cells of
// 53 octets, the adaptation layers that put data into them, virtual circuits,
// links and a switch.
//
// # Cells
//
// A [Cell] has a header of 5 octets and a payload of 48 (ITU-T I.361, clause
// 2.1). The header names the virtual circuit ([VC]: VPI and VCI), says what the
// payload is ([PT]) and whether it may be discarded first (CLP); its fifth
// octet, the HEC, protects the other four (ITU-T I.432.1). Nodes and switches use the
// header of the user-network interface (UNI); a transmitter sets its
// GFC to 0 and a receiver ignores it. That of the NNI is an [NNIHeader].
//
// All cells of a circuit have the same header, or two: it can be made once ([Header.Octets]) and be written before each payload.
//
// Whoever takes a cell from a link verifies the HEC before believing the
// header ([Cell.Header]). A switch does so at its ingress and computes a new
// HEC for the translated header at its egress.
//
// On a stream of octets cells are found by their HEC: a [Transmitter] makes the stream, scrambled and
// filled with idle cells, a [Delineator] finds the cells in it and corrects their headers as a [HECReceiver] may.
//
// # Adaptation layers
//
// Up to 44 octets travel in one cell as a single segment message of AAL
// type 3/4 (ITU-T I.363.3, clause 9.1.2): [EncodeSSM] and [DecodeSSM]. The SAR-PDU has a
// sequence number, a multiplexing identifier, a length and a CRC-10.
//
//	        +----+------+---------+---------------------------+----+--------+
//	SAR-PDU | ST |  SN  |   MID   |  SAR-PDU payload          | LI | CRC-10 |
//	        +----+------+---------+---------------------------+----+--------+
//	bits      2     4       10       352 (44 octets)            6     10
//
// Up to 65535 octets travel in as many cells as they need as one CPCS-PDU of
// AAL type 5 (ITU-T I.363.5, clause 9.2.1): [Segmenter] and [Reassembler]. The PDU is padded
// to a multiple of 48 octets; its last cell is marked by the lowest bit of PT.
//
//	         +---------------------+---------+----+-----+--------+--------+
//	CPCS-PDU | CPCS-PDU payload    |   PAD   | UU | CPI | Length | CRC-32 |
//	         +---------------------+---------+----+-----+--------+--------+
//	octets     1 - 65535             0 - 47    1     1      2        4
//
// AAL type 3/4 carries messages of that length, too ([Segmenter34], [Reassembler34]), those of several
// multiplexing identifiers mixed cell by cell.
//
// The layers do not read the cell header's HEC and do not look at each
// other's fields; which layer a circuit carries is agreed when it is set up.
//
// # OAM
//
// An [OAMEnd] at either end of a circuit and a [LoopbackPoint] at each port on its way
// exchange OAM cells (ITU-T I.610, [OAM]): loopback requests, by which the dead hop is found, continuity checks, and alarms, which an [AISSource] raises. Their times
// are kept by a [Clock].
//
// # Links and the switch
//
// A cell moves by a call: the sender calls [Receiver.Receive], which returns
// when the cell has been taken in. A memory [Link] and a [Switch] keep no queue
// and start no goroutine; a cell that goes through a switch has
// arrived when Receive returns. One call may lead to others: a node that
// receives a request may send the reply from within Receive.
//
// A [Line] is a link that takes time or goes wrong: it has queues for the service
// classes, a rate, a delay and an [Impairment]. A [Shaper] delays the cells of a
// circuit. Both keep copies of cells and pass them on later, from goroutines of
// their [Clock], so that what they lead to is called by several goroutines at once.
// A [Policer] tells the switch which cells a circuit may send. The
// [RealClock] is for jobs, the [SimClock] for experiments.
//
// # Locks
//
// [Switch] has one mutex, held only while circuits are connected,
// disconnected and ports attached, never while a cell is passed on. The way
// of a cell takes no lock. A [Segmenter] and a [Reassembler] belong to one
// circuit and are not safe for concurrent use; their owner has a lock for
// that circuit anyway, since the order of cells on it matters.
//
// A [Line] and a [Shaper] have one mutex each, held while a cell is put into them, and while
// due ones are taken out, but not while these are passed on: a
// receiver may send into the line that it receives from. The hook for dropped cells is called with it.
// A policed circuit has one for its [Policer]. The mutexes nest in the order Switch,
// Line or Shaper, Clock.
//
// An [OAMEnd] and an [AISSource] have one mutex each, held while their state changes and the Clock is asked, but not while they send or
// call a function of their user.
package atm
