package join

import (
	"encoding/binary"
	"errors"

	"rmemrun/atm"
	"rmemrun/rmem"
)

// Messages of the signalling, big endian. Nodes are numbered through both processes; node is one of the sender's.
//
//	           0      1      3         7            11
//	          +------+------+---------+------------+------------- - -
//	PUBLISH   |  1   | node | segment | generation | name, 1 to 255
//	          +------+------+---------+------------+
//	          +------+------+------------ - -
//	WITHDRAW  |  2   | node | name
//	          +------+------+
//	LEAVE     |  3   | node |      no guest, and no answers any more
//	          +------+------+----+-------+-------+-------+
//	OPEN      |  4   | node | to |  id   | trunk |  vci  |
//	          +------+------+----+-------+-------+-------+
//	          +------+-------+
//	CLOSE     |  5   |  id   |
//	          +------+-------+
//	           0      1   3   5   9       11      13
//	          +------+------+
//	ENDED     |  6   | node |      no guest any more, and answers until LEAVE
//	          +------+------+
//
// OPEN sets up a circuit from node to node to: trunk is the lower VCI of its two on the trunk, vci the lower of its two at node to. Their
// virtual paths follow from who opens. The id is the opener's: numbers of circuits that the listener opened are even, the caller's odd. Either may
// CLOSE.
const (
	maxName    = 255
	maxMessage = 11 + maxName
)

type messageKind uint8

const (
	publish messageKind = iota + 1
	withdraw
	leave
	open
	closeCircuit
	ended
)

// A message is one of them, its fields as in the diagrams.
type message struct {
	kind   messageKind
	node   uint16
	record rmem.Record
	name   string
	to     uint16
	id     uint32
	trunk  uint16
	vci    uint16
}

// append appends m to b.
func (m *message) append(b []byte) []byte {
	e := binary.BigEndian
	b = append(b, byte(m.kind))
	if m.kind == closeCircuit {
		return e.AppendUint32(b, m.id)
	}
	b = e.AppendUint16(b, m.node)
	switch m.kind {
	case publish:
		b = e.AppendUint32(b, m.record.Segment)
		b = e.AppendUint32(b, m.record.Generation)
		b = append(b, m.name...)
	case withdraw:
		b = append(b, m.name...)
	case open:
		b = e.AppendUint16(b, m.to)
		b = e.AppendUint32(b, m.id)
		b = e.AppendUint16(b, m.trunk)
		b = e.AppendUint16(b, m.vci)
	}
	return b
}

var (
	errKind = errors.New("a message of an unknown kind")
	errSize = errors.New("a message of a wrong size")
	errVCI  = errors.New("an OPEN with a VCI that is reserved or odd")
)

// parseMessage reads a message.
func parseMessage(b []byte) (m message, err error) {
	if len(b) == 0 {
		return m, errSize
	}
	e := binary.BigEndian
	m.kind = messageKind(b[0])
	b = b[1:]
	switch m.kind {
	case publish, withdraw, leave, open, ended:
		if len(b) < 2 {
			return m, errSize
		}
		m.node = e.Uint16(b)
		b = b[2:]
	case closeCircuit:
		if len(b) != 4 {
			return m, errSize
		}
		m.id = e.Uint32(b)
		return m, nil
	default:
		return m, errKind
	}
	switch m.kind {
	case publish:
		if len(b) < 8 {
			return m, errSize
		}
		m.record = rmem.Record{Segment: e.Uint32(b), Generation: e.Uint32(b[4:])}
		b = b[8:]
		fallthrough
	case withdraw:
		if len(b) < 1 || len(b) > maxName {
			return m, errSize
		}
		m.name = string(b)
	case leave, ended:
		if len(b) != 0 {
			return m, errSize
		}
	case open:
		if len(b) != 10 {
			return m, errSize
		}
		m.to, m.id, m.trunk, m.vci = e.Uint16(b), e.Uint32(b[2:]), e.Uint16(b[6:]), e.Uint16(b[8:])
		if m.trunk < atm.FirstUserVCI || m.vci < atm.FirstUserVCI || m.trunk%2 != 0 || m.vci%2 != 0 {
			return m, errVCI
		}
	}
	return m, nil
}
