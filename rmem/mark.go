package rmem

import (
	"crypto/rand"
	"encoding/binary"
)

// A mark is what one direction of a circuit is told from all others by: who sends in that direction has drawn it, and named it in CONNECT
// or in the REPLY. A cell that the network delivers on a wrong circuit does not have that circuit's key, or, if there is no room for a key in it, hardly a
// number that is expected there.
type mark struct {
	key   uint32
	first uint32 // the number of request 0, or of the reply to it; 14 bits
}

// newMark draws one. n.mu is held.
func (n *Node) newMark() mark {
	v := n.random.Uint64()
	return mark{key: uint32(v >> 32), first: uint32(v) & seqMask}
}

// number is what stands on the wire for request seq.
func (m mark) number(seq uint64) uint32 { return (m.first + uint32(seq)) & seqMask }

// seq is the low 14 bits of the request that a number on the wire stands for.
func (m mark) seq(number uint32) uint32 { return (number - m.first) & seqMask }

// put writes what stands before the data of a message in one cell: its operation word, and the key if there is room for it.
func (m mark) put(message []byte, op Op, word uint32) {
	if op.lead() == wordSize {
		binary.BigEndian.PutUint32(message, word)
	} else {
		binary.BigEndian.PutUint64(message, uint64(word)<<32|uint64(m.key))
	}
}

// on reports whether a single segment message bears the mark, as far as it has room for one.
func (m mark) on(message []byte) bool {
	word := binary.BigEndian.Uint32(message)
	switch Op(word >> opShift) {
	case OpWrite:
		return true
	case OpData:
		return word&dataKeyMask == m.dataKey()
	}
	return binary.BigEndian.Uint32(message[wordSize:]) == m.key
}

// dataKey is what a DATA cell has of the key.
func (m mark) dataKey() uint32 { return m.key & dataKeyMask }

// system is the source of marks if there is no other.
type system struct{}

// Uint64 is a rand.Source's.
func (system) Uint64() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails
	return binary.NativeEndian.Uint64(b[:])
}
