package capture

import (
	"encoding/binary"
	"time"

	"rmemrun/atm"
)

// Parts of an ERF record; doc.go has the picture.
const (
	erfATM  = 3
	erfAAL5 = 4

	erfVarying   = 1 << 2 // records have different lengths
	erfTruncated = 1 << 3
	erfRxError   = 1 << 4

	erfHeaderSize = 16
	atmHeaderSize = atm.HeaderSize - 1 // the HEC is left out
	erfLengthMax  = 1<<16 - 1          // of a record, and on the wire: fields of 16 bits

	// pduMax is how much of a PDU fits a record, in whole cells.
	pduMax    = (erfLengthMax - erfHeaderSize - atmHeaderSize) / atm.PayloadSize * atm.PayloadSize
	recordMax = erfHeaderSize + atmHeaderSize + pduMax
)

// erf makes a record of a type, with the ATM header of c and a body, within w.record.
func (w *Writer) erf(kind byte, p *packet, c *atm.Cell, body []byte) []byte {
	r := w.record[:erfHeaderSize+atmHeaderSize+len(body)]
	binary.LittleEndian.PutUint64(r, erfTime(p.time))
	flags := byte(p.dir) | erfVarying
	if !p.sound {
		flags |= erfRxError
	}
	if p.truncated {
		flags |= erfTruncated
	}
	r[8], r[9] = kind, flags
	binary.BigEndian.PutUint16(r[10:], uint16(len(r)))
	binary.BigEndian.PutUint16(r[12:], 0)
	binary.BigEndian.PutUint16(r[14:], uint16(len(r)-erfHeaderSize))
	copy(r[erfHeaderSize:], c[:atmHeaderSize])
	copy(r[erfHeaderSize+atmHeaderSize:], body)
	return r
}

// erfTime is a time as ERF has it: seconds since 1970 and their fraction, 32 bits each.
func erfTime(t time.Time) uint64 {
	return uint64(t.Unix())<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second)
}
