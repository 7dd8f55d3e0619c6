package rmem

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"rmemrun/atm"
)

// Version is the version of the protocol that this package speaks. Every control message names it.
const Version = 2

// Messages on control circuits, each an AAL5 PDU of one cell, big endian. VC is VPI<<16 | VCI.
//
//	            0         4    8         12           16       20       24       28     30   32    36      40
//	           +---------+----+---------+------------+--------+--------+--------+------+----+-----+-------+
//	CONNECT    |operation| id | segment | generation | rights | VC at  | VC at  | from | to | key | first |
//	           |  word   |    |         |            | wanted |exporter|importer|      |    |     |       |
//	           +---------+----+---------+------------+--------+--------+--------+------+----+-----+-------+
//	REPLY      |operation| id |    length of the     | rights |        0        | from | to | key | first |
//	           | w,status|    |       segment        |granted |                 |      |    |     |       |
//	           +---------+----+---------+------------+--------+--------+--------+------+----+-----+-------+
//	DISCONNECT |operation| id | id of   |          0          | VC at  |   0    | from | to |     0       |
//	           |  word   |    | CONNECT |                     |exporter|        |      |    |             |
//	           +---------+----+---------+---------------------+--------+--------+------+----+-------------+
//
// The id is the importer's; REPLY answers CONNECT and DISCONNECT. A message that comes again has the same id. From and to are the
// numbers of the nodes: a message on a circuit between others was misinserted. Key and first, of 14 bits, are the mark of what its sender will send
// on the circuit.
const controlSize = 40

// A message is one of them, its fields as in the diagram.
type message struct {
	op         Op
	status     uint8
	version    uint16 // of the protocol that its sender speaks, 14 bits
	id         uint32
	segment    uint32
	generation uint32
	length     uint64 // REPLY, in place of the two before
	rights     Rights
	remote     atm.VC
	origin     atm.VC
	from, to   uint16
	mark       mark
}

func vcNumber(v atm.VC) uint32 { return uint32(v.VPI)<<16 | uint32(v.VCI) }

func (m *message) put(b *[controlSize]byte) {
	e := binary.BigEndian
	e.PutUint32(b[0:], uint32(m.op)<<opShift|uint32(m.status)<<statusShift|uint32(m.version)&seqMask)
	e.PutUint32(b[4:], m.id)
	e.PutUint32(b[8:], m.segment)
	e.PutUint32(b[12:], m.generation)
	if m.op == OpReply {
		e.PutUint64(b[8:], m.length)
	}
	e.PutUint32(b[16:], uint32(m.rights))
	e.PutUint32(b[20:], vcNumber(m.remote))
	e.PutUint32(b[24:], vcNumber(m.origin))
	e.PutUint16(b[28:], m.from)
	e.PutUint16(b[30:], m.to)
	e.PutUint32(b[32:], m.mark.key)
	e.PutUint32(b[36:], m.mark.first)
}

// versionMessage is the size of what is the same in all versions: the operation word and the id.
const versionMessage = 8

func parseMessage(b []byte) (m message, ok bool) {
	if len(b) < versionMessage {
		return m, false
	}
	e := binary.BigEndian
	word := e.Uint32(b)
	m = message{
		op:      Op(word >> opShift),
		status:  uint8(word >> statusShift),
		version: uint16(word & seqMask),
		id:      e.Uint32(b[4:]),
	}
	if m.version != Version && m.op >= OpConnect && m.op <= OpDisconnect {
		return m, true // of the rest nothing is known
	}
	if len(b) != controlSize {
		return m, false
	}
	m.segment, m.generation = e.Uint32(b[8:]), e.Uint32(b[12:])
	m.rights = Rights(e.Uint32(b[16:]))
	m.remote = atm.VC{VPI: b[21], VCI: e.Uint16(b[22:])}
	m.origin = atm.VC{VPI: b[25], VCI: e.Uint16(b[26:])}
	m.from, m.to = e.Uint16(b[28:]), e.Uint16(b[30:])
	m.mark = mark{key: e.Uint32(b[32:]), first: e.Uint32(b[36:]) & seqMask}
	if m.op == OpReply {
		m.length, m.segment, m.generation = e.Uint64(b[8:]), 0, 0
	}
	// Bits without a meaning are 0: what is put back is what was read.
	var again [controlSize]byte
	m.put(&again)
	return m, m.op >= OpConnect && m.op <= OpDisconnect && again == [controlSize]byte(b)
}

// maxOutbox is how many messages wait for a peer at most. Only a flood of
// CONNECTs, faster than their replies are taken, fills it; what comes then is not answered.
const maxOutbox = 1024

// maxPartial is how many buffers of 64 KiB there may be at once for one peer, on all circuits from and to it: for blocks of which
// something is missing, or in front of which something is, and for what was read until it is known to have arrived.
const maxPartial = 256

// A peer is what a node has for another node, itself included: the control circuit to it.
type peer struct {
	node    *Node
	number  int
	vc      atm.VC
	partial atomic.Int32 // buffers of 64 KiB for blocks from it, or kept for it
	path    path

	recv      sync.Mutex // held while a cell is added
	assembler *atm.Reassembler

	out    sync.Mutex // guards outbox; never held while a cell is sent
	outbox []message

	send   sync.Mutex // held while messages leave
	cell   atm.Cell
	bytes  [controlSize]byte
	cutter atm.Segmenter
}

func newPeer(n *Node, number int) *peer {
	return &peer{
		node: n, number: number,
		vc:        atm.VC{VCI: ControlVCI(number)},
		assembler: atm.NewReassembler(controlSize),
	}
}

// post sends m, now or, if somebody is sending, as soon as he has done. So
// a message can be answered from within its reception, in whatever is going on.
func (p *peer) post(m message) {
	m.version, m.from, m.to = Version, uint16(p.node.id), uint16(p.number)
	p.out.Lock()
	full := len(p.outbox) >= maxOutbox
	if !full {
		p.outbox = append(p.outbox, m)
	}
	p.out.Unlock()
	if full {
		p.node.drop(Event{Peer: p.number, Op: m.op, Reason: Overflow})
		return
	}
	for p.waiting() && p.send.TryLock() {
		for p.next(&m) {
			p.transmit(&m)
		}
		p.send.Unlock()
	}
}

func (p *peer) waiting() bool {
	p.out.Lock()
	defer p.out.Unlock()
	return len(p.outbox) > 0
}

// next takes the oldest message out of the outbox.
func (p *peer) next(m *message) bool {
	p.out.Lock()
	defer p.out.Unlock()
	if len(p.outbox) == 0 {
		return false
	}
	*m = p.outbox[0]
	p.outbox = append(p.outbox[:0], p.outbox[1:]...)
	return true
}

// transmit sends m. p.send is held.
func (p *peer) transmit(m *message) {
	m.put(&p.bytes)
	if p.cutter.Begin(atm.Header{VC: p.vc}, 0, p.bytes[:], nil) != nil {
		return // a message is never too long
	}
	for p.cutter.Next(&p.cell) {
		if p.node.observer != nil {
			p.observe(Sent, &p.cell, m)
		}
		p.node.network.Send(&p.cell)
	}
}

// receive takes a cell of the control circuit.
func (p *peer) receive(cell *atm.Cell) {
	p.recv.Lock()
	pdu, whole, err := p.assembler.Add(cell)
	var m message
	ok := false
	if whole {
		m, ok = parseMessage(pdu.Payload)
	}
	p.recv.Unlock()
	switch {
	case err != nil:
		p.drop(cell, BadPDU)
		return
	case !whole:
		p.took(cell, &message{}) // no message is that long, the end of this one will be dropped
		return
	case !ok:
		p.drop(cell, Malformed)
		return
	case m.version == Version && (int(m.from) != p.number || int(m.to) != p.node.id):
		p.drop(cell, Misinserted)
		return
	}
	switch m.op {
	case OpConnect:
		p.node.connected(p, cell, &m)
	case OpDisconnect:
		p.node.disconnected(p, cell, &m)
	case OpReply:
		p.node.replied(p, cell, &m)
	}
}

func (p *peer) drop(cell *atm.Cell, why Reason) {
	p.node.drop(Event{Peer: p.number, Cell: cell, Reason: why})
}

// took tells the observer of a cell that is not dropped.
func (p *peer) took(cell *atm.Cell, m *message) {
	if p.node.observer != nil {
		p.observe(Received, cell, m)
	}
}

func (p *peer) observe(k Kind, cell *atm.Cell, m *message) {
	importer := p.node.id // whose id it is
	if (k == Sent) == (m.op == OpReply) {
		importer = p.number
	}
	p.node.observer.Observe(&Event{
		Kind: k, Node: p.node.id, Peer: p.number, Cell: cell,
		ID: OpID{Node: uint16(importer), Seq: uint64(m.id)}, Op: m.op, Status: statusError(m.status),
	})
}
