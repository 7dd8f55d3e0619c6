package atm

import (
	"encoding/binary"
	"errors"
	"time"
)

// MaxPDU is the longest payload of a CPCS-PDU in octets: Length has 16 bits
// (I.363.5, clause 9.2.1).
const MaxPDU = 65535

// The CPCS-PDU trailer: the last 8 octets of the last cell.
//
//	+--------+--------+-----------------+-----------------------------------+
//	|   UU   |  CPI   |     Length      |              CRC-32               |
//	+--------+--------+-----------------+-----------------------------------+
//	    8        8            16                         32
const (
	trailerSize = 8
	maxPad      = PayloadSize - 1
)

// Reasons why AAL5 or AAL3/4 refuses to send or has discarded a PDU.
var (
	ErrPDULength = errors.New("atm: CPCS-PDU refused: its Length does not fit the cells it came in, a cell was lost or added")
	ErrCRC32     = errors.New("atm: AAL5 CPCS-PDU refused: CRC-32 does not match, a cell was lost, added or damaged")
	ErrCPI       = errors.New("atm: CPCS-PDU refused: CPI is not 0, which is reserved")
	ErrAborted   = errors.New("atm: CPCS-PDU aborted by its sender")
	ErrOversize  = errors.New("atm: CPCS-PDU refused: longer than its receiver allows")
	ErrNotUser   = errors.New("atm: an adaptation layer takes user cells only: the cell's payload type is OAM or reserved")
	ErrSDULength = errors.New("atm: CPCS cannot send this: a payload has 1 to 65535 octets")
)

// A Segmenter cuts one AAL5 CPCS-PDU at a time into cells, which the caller
// asks for one by one:
//
//	if err := s.Begin(header, 0, head, body); err != nil { … }
//	for s.Next(&cell) {
//		link.Receive(&cell)
//	}
//
// The checksum runs ahead of the cells by a few kilobytes, which it brings into the cache for them. The zero value is ready. It is not safe for
// concurrent use.
type Segmenter struct {
	user, end  HeaderOctets // of all cells but the last, and of it
	head, body []byte       // head: what is still to be sent of it
	at         int          // octets of body that were sent
	length     int          // of the whole payload
	uu         uint8
	open       bool // a PDU was begun and its last cell not yet made

	crc    uint32 // register over head as far as it was sent, and body[:summed]
	summed int    // not below at
	before uint32 // if summed is above at: register over head and body[:from], for Abort
	from   int    // not above at
}

// stride is how many octets of a PDU the checksum takes in at a time: enough for the time that it takes to begin and end to be
// short against the rest, and few enough for all to stay in the first-level cache until they are copied.
const stride = 170 * PayloadSize

// Begin starts a PDU with the payload head followed by body, either of which may
// be empty, and the user-to-user octet uu; the CPI is 0. All cells get the
// header h, with the payload type PTUser or, the last, PTUserEnd. The slices are
// read by Next and must not change until it has returned false, or the receiver refuses the PDU. The error is ErrSDULength.
//
// A PDU that is still open is forgotten; its receiver will take what comes for
// its continuation and discard both, unless Abort is called first.
func (s *Segmenter) Begin(h Header, uu uint8, head, body []byte) error {
	n := len(head) + len(body)
	if n < 1 || n > MaxPDU {
		return ErrSDULength
	}
	*s = Segmenter{head: head, body: body, length: n, uu: uu, crc: ^uint32(0), open: true}
	h.PT = PTUser
	s.user = h.Octets()
	h.PT = PTUserEnd
	s.end = h.Octets()
	return nil
}

// Next makes the next cell of the PDU in c; false means that there is none
// and c is unchanged.
func (s *Segmenter) Next(c *Cell) bool {
	at := s.at
	if s.summed-at < PayloadSize {
		if !s.open {
			return false
		}
		n := (len(s.body) - at) / PayloadSize * PayloadSize
		if len(s.head) > 0 || n == 0 {
			s.gather(c)
			return true
		}
		s.sum(at + min(n, stride))
	}
	copyPayload(c.Payload(), (*[PayloadSize]byte)(s.body[at:]))
	c.SetOctets(s.user)
	s.at = at + PayloadSize
	return true
}

// sum takes the body up to to into the register.
func (s *Segmenter) sum(to int) {
	s.before, s.from = s.crc, s.summed
	s.crc = crc32Update(s.crc, s.body[s.summed:to])
	s.summed = to
}

// gather makes a cell of what there is, and the last.
func (s *Segmenter) gather(c *Cell) {
	p := c.Payload()
	n := copy(p[:], s.head)
	s.head = s.head[n:]
	m := copy(p[n:], s.body[s.at:])
	s.at += m
	n += m
	clear(p[n:])
	if n > PayloadSize-trailerSize || len(s.head)+len(s.body)-s.at > 0 {
		s.crc, s.summed = crc32Update(s.crc, p[:]), s.at
		c.SetOctets(s.user)
		return
	}
	s.finish(c)
}

// finish writes the trailer of the last cell, and its header.
func (s *Segmenter) finish(c *Cell) {
	p := c.Payload()
	t := p[PayloadSize-trailerSize:]
	binary.BigEndian.PutUint64(t, uint64(s.uu)<<56|uint64(s.length)<<32)
	binary.BigEndian.PutUint32(t[4:], ^crc32Finish(s.crc, p))
	c.SetOctets(s.end)
	*s = Segmenter{}
}

// copyPayload is *to = *from in pieces so small that the compiler moves them itself. A whole payload it leaves to memmove, since the two might overlap.
func copyPayload(to, from *[PayloadSize]byte) {
	*(*[16]byte)(to[0:]) = [16]byte(from[0:])
	*(*[16]byte)(to[16:]) = [16]byte(from[16:])
	*(*[16]byte)(to[32:]) = [16]byte(from[32:])
}

// Abort makes in c the cell that ends the PDU before its time, with the Length
// 0 that tells the receiver to discard it (I.363.5, clause 9.2.1). It
// returns false, and c is unchanged, if no PDU is open.
func (s *Segmenter) Abort(c *Cell) bool {
	if !s.open {
		return false
	}
	if s.summed > s.at {
		s.crc = crc32Update(s.before, s.body[s.from:s.at])
	}
	clear(c.Payload()[:])
	s.length = 0
	s.finish(c)
	return true
}

// A PDU is a received AAL5 CPCS-PDU.
type PDU struct {
	UU      uint8  // user-to-user octet
	CLP     bool   // one of its cells at least may have been discarded before others (CPCS-LP)
	EFCI    bool   // its last cell has met congestion (CPCS-CI)
	Payload []byte // within the buffer of the Reassembler, until its next Add or Reset
}

// A Reassembler puts the cells of one circuit together to AAL5 CPCS-PDUs. It
// has one buffer, made once and never grown. It is not safe for
// concurrent use.
type Reassembler struct {
	max      int
	buf      []byte // octets of the PDU so far
	summed   int    // how many of them crc has taken in
	crc      uint32
	oversize bool  // the PDU is longer than max; cells are skipped up to its end
	clp      uint8 // the CLP of its cells, or'ed

	clock    Clock // nil: no time-out
	limit    time.Duration
	began    time.Duration // when the first cell of the PDU came
	timeouts uint64
}

// NewReassembler makes one for payloads of up to max octets; a max outside 1
// to MaxPDU is brought into it.
func NewReassembler(max int) *Reassembler {
	if max < 1 {
		max = 1
	}
	if max > MaxPDU {
		max = MaxPDU
	}
	cells := (max + trailerSize + maxPad) / PayloadSize
	return &Reassembler{max: max, buf: make([]byte, 0, cells*PayloadSize), crc: ^uint32(0)}
}

// SetTimeout makes r discard a PDU that is not complete within limit after its first cell (the reassembly timer of I.363.5), so that a
// lost last cell costs the PDU it belongs to and, if it comes later than that, not the next. No timer runs: that the time is up is found
// by the next Add or Expire.
func (r *Reassembler) SetTimeout(clock Clock, limit time.Duration) { r.clock, r.limit = clock, limit }

// Expire discards the PDU that is being received if its time is up, and reports whether it was.
func (r *Reassembler) Expire() bool { return r.clock != nil && r.expire(r.clock.Now()) }

func (r *Reassembler) expire(now time.Duration) bool {
	if len(r.buf) == 0 || now-r.began <= r.limit {
		return false
	}
	r.timeouts++
	r.Reset()
	return true
}

// Timeouts is how many PDUs were discarded because they were not complete in time.
func (r *Reassembler) Timeouts() uint64 { return r.timeouts }

// Add takes the next cell of the circuit. With the last cell of a PDU it
// returns the PDU and true, or the reason why that PDU was discarded:
// ErrOversize, ErrCRC32, ErrAborted, ErrPDULength or ErrCPI, checked in this
// order. Before that it returns false and no error. ErrNotUser refuses the
// one cell and changes nothing else. After an error the next PDU can come.
func (r *Reassembler) Add(c *Cell) (PDU, bool, error) {
	pt := c.PT()
	if !pt.User() {
		return PDU{}, false, ErrNotUser
	}
	n := len(r.buf)
	if r.clock != nil {
		n = r.tick()
	}
	r.clp |= c[3] & clpBit
	if n == cap(r.buf) {
		r.oversize = true
	} else {
		r.buf = r.buf[:n+PayloadSize]
		copyPayload((*[PayloadSize]byte)(r.buf[n:]), c.Payload())
	}
	if !pt.End() {
		if len(r.buf)-r.summed >= stride {
			r.sum()
		}
		return PDU{}, false, nil
	}
	pdu, err := r.check()
	if err == nil {
		pdu.CLP, pdu.EFCI = r.clp != 0, pt.EFCI()
	}
	r.Reset()
	return pdu, err == nil, err
}

// tick looks at the time, and returns how many octets there are still.
func (r *Reassembler) tick() int {
	now := r.clock.Now()
	r.expire(now)
	if len(r.buf) == 0 {
		r.began = now
	}
	return len(r.buf)
}

// sum takes the octets into the register that are not in it.
func (r *Reassembler) sum() {
	r.crc = crc32Update(r.crc, r.buf[r.summed:])
	r.summed = len(r.buf)
}

// check verifies a whole CPCS-PDU (I.363.5, clause 9.2.1).
func (r *Reassembler) check() (PDU, error) {
	if r.oversize {
		return PDU{}, ErrOversize
	}
	if r.sum(); r.crc != crc32Residue {
		return PDU{}, ErrCRC32
	}
	t := r.buf[len(r.buf)-trailerSize:]
	n := int(binary.BigEndian.Uint16(t[2:]))
	pad := len(r.buf) - trailerSize - n
	switch {
	case n == 0:
		return PDU{}, ErrAborted
	case pad < 0 || pad > maxPad:
		return PDU{}, ErrPDULength
	case n > r.max:
		return PDU{}, ErrOversize
	case t[1] != 0:
		return PDU{}, ErrCPI
	}
	return PDU{UU: t[0], Payload: r.buf[:n:n]}, nil
}

// Reset forgets the cells of an unfinished PDU, and reports how many octets
// of payload they were.
func (r *Reassembler) Reset() int {
	n := len(r.buf)
	r.buf, r.oversize, r.clp = r.buf[:0], false, 0
	r.crc, r.summed = ^uint32(0), 0
	return n
}
