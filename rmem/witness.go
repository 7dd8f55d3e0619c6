package rmem

import (
	"encoding/binary"

	"rmemrun/atm"
)

// A CircuitID names a circuit.
type CircuitID struct {
	Importer, Exporter int    // nodes
	Number             uint32 // by which the importer tells its circuits apart; those that it makes later have greater ones, modulo 2^32
}

// An Effect is what became of one request that asks for something of a segment. The effects of a circuit are told in the order in which
// they took place, and that is the order in which the operations were begun. Unlike an Observer, who is to see each cell, who wants to hear of effects alone leaves circuits the
// ways that go past the network. What Data points to is valid only during the call.
type Effect struct {
	Circuit CircuitID
	Segment string // its name
	By      Hand   // whose code carried it out

	Op                Op     // 0: it could not be read
	Notify            bool   // it asks for the segment's owner to be notified
	Offset, Len       uint64 // bytes of the segment concerned
	Data              []byte // what was to be written; or what was read
	Expected, Operand uint64 // of an atomic
	Old               uint64 // what the atomic found
	Status            Error  // OK; or why it was refused, and changed nothing
}

// A Hand is who carries out a request at its segment.
type Hand uint8

// Hands.
const (
	ByNode  Hand = iota // the exporter's node, which had it from the network
	ByAgent             // rmemrun, which found it in a ring
	ByGuest             // the exporter's guest, which found it in a ring
)

// effect is what they all have in common.
func (t *target) effect(by Hand) Effect {
	return Effect{Circuit: CircuitID{t.peer.number, t.node.id, t.connect}, Segment: t.segment.name, By: by}
}

// testify tells the witness what became of a request that the network has brought; recv is held.
func (t *target) testify(d *demand, old uint64, status Error) {
	e := t.effect(ByNode)
	e.request(d)
	e.Old, e.Status = old, status
	if d.op == OpRead && status == OK {
		e.Data = d.data
	}
	t.node.witness(&e)
}

// request sets what the request says.
func (e *Effect) request(d *demand) {
	e.Op, e.Notify, e.Offset, e.Len = d.op, d.notify, d.offset, d.n
	switch d.op {
	case OpRead:
	case OpWrite:
		e.Data = d.data
	default:
		e.Expected, e.Operand = d.expected, d.operand
	}
}

// ID names the circuit.
func (x *Direct) ID() CircuitID { return x.t.effect(ByAgent).Circuit }

// Effect is what became of a request: of its cell, and the cell that answers it; nil: there is none, as nobody waits for it and it was not
// refused.
func (x *Direct) Effect(by Hand, request, reply *atm.Cell) Effect {
	e := x.t.effect(by)
	var d demand
	if m, err := atm.DecodeSSM(request); err == nil && d.read(m.Payload) {
		e.request(&d)
	} else {
		e.Status = EINVAL
	}
	if by == ByGuest && d.op.reply() == OpAck {
		reply = nil // guests refuse nothing: it is older
	}
	if reply == nil {
		if d.op.reply() != OpAck {
			e.Status = EDOWN
		}
		return e
	}
	m, err := atm.DecodeSSM(reply)
	if err != nil {
		e.Status = EDOWN
		return e
	}
	word := binary.BigEndian.Uint32(m.Payload)
	op := Op(word >> opShift)
	data := m.Payload[min(op.lead(), len(m.Payload)):]
	switch {
	case op == OpAck:
		e.Status = statusError(uint8(word >> statusShift))
	case op != d.op.reply() || uint64(len(data)) < d.n:
		e.Status = EDOWN
	case op == OpData:
		e.Data = data[:d.n]
	default:
		e.Old = number(data[:d.n])
	}
	return e
}
