package rmem

import (
	"encoding/binary"

	"rmemrun/atm"
)

// Answers make the cells that answer requests of a ring, as they would come by the network.
type answers struct {
	header atm.HeaderOctets
	mark   mark
}

// data answers a read. What was read is padded to minData.
func (a *answers) data(index uint64, data []byte, reply *atm.Cell) {
	a.seal(reply, a.mark.number(index), uint32(OpData)<<opShift|a.mark.dataKey(), data)
}

// old answers an atomic on so many bytes.
func (a *answers) old(index uint64, width int, old uint64, reply *atm.Cell) {
	number := a.mark.number(index)
	var data [MaxCell]byte
	binary.BigEndian.PutUint32(data[:], a.mark.key)
	putNumber(data[keySize:keySize], uint8(width), old)
	a.seal(reply, number, replyWord(OpOld, OK, number), data[:keySize+width])
}

// refusal says what was the matter with a request.
func (a *answers) refusal(index uint64, e Error, credit uint32, reply *atm.Cell) {
	number := a.mark.number(index)
	var data [keySize + creditSize]byte
	binary.BigEndian.PutUint32(data[:], a.mark.key)
	binary.BigEndian.PutUint32(data[keySize:], credit)
	a.seal(reply, number, replyWord(OpAck, e, number), data[:])
}

func (a *answers) seal(reply *atm.Cell, number, word uint32, data []byte) {
	// The only error is a length that no message has.
	_ = a.header.EncodeSSM(reply, uint8(number&0xf), uint16(number>>4)&0x3ff, word, data)
}
