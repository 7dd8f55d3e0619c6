package atm

import "encoding/binary"

// The payload of a cell is scrambled on the line by x^43 + 1, so that it cannot
// be mistaken for headers for long nor keep the line at one level (I.432.1,
// clause 4.3.4). Each bit sent is the sum of the bit of the payload and the bit sent
// 43 bits before; the receiver adds the same two received bits. It needs no start
// value: after 43 bits both sides agree. One wrong bit on the line makes
// two in the payload. Headers are neither scrambled nor counted.
//
//	payload ──(+)──┬── line ──┬──(+)── payload
//	           │   │          │   │
//	         [ 43 bits ]    [ 43 bits ]
//
// Both work on 64 bits at once: the bits 43 before those of a word are the lower 43
// of the word before and the upper 21 of the word itself.
const (
	scramblerTap   = 43
	scramblerCarry = 64 - scramblerTap
)

// A Scrambler scrambles payloads one behind the other. The zero value is ready. It is
// not safe for concurrent use.
type Scrambler struct {
	last uint64 // the last 64 bits sent
}

// Scramble scrambles the payload p in place.
func (s *Scrambler) Scramble(p *[PayloadSize]byte) {
	for i := 0; i < PayloadSize; i += 8 {
		w := binary.BigEndian.Uint64(p[i:]) ^ s.last<<scramblerCarry
		// The upper 21 bits are sent by now; they are what the lower 21 need.
		w ^= w >> scramblerTap
		binary.BigEndian.PutUint64(p[i:], w)
		s.last = w
	}
}

// A Descrambler undoes what a Scrambler does. The zero value is ready; it
// agrees with the sender after the first 43 bits. It is not safe for concurrent
// use.
type Descrambler struct {
	last uint64 // the last 64 bits received
}

// Descramble descrambles the payload p in place.
func (d *Descrambler) Descramble(p *[PayloadSize]byte) {
	for i := 0; i < PayloadSize; i += 8 {
		w := binary.BigEndian.Uint64(p[i:])
		binary.BigEndian.PutUint64(p[i:], w^d.last<<scramblerCarry^w>>scramblerTap)
		d.last = w
	}
}
