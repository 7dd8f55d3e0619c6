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
// The zero value is ready. It is not safe for concurrent use.
type Segmenter struct {
	header     Header
	head, body []byte // what is still to be sent, head first
	length     int    // of the whole payload
	uu         uint8
	crc        uint32 // register over what was sent
	open       bool   // a PDU was begun and its last cell not yet made
}

// Begin starts a PDU with the payload head followed by body, either of which may
// be empty, and the user-to-user octet uu; the CPI is 0. All cells get the
// header h, with the payload type PTUser or, the last, PTUserEnd. The slices are
// read by Next and must not change until it has returned false. The error is ErrSDULength.
//
// A PDU that is still open is forgotten; its receiver will take what comes for
// its continuation and discard both, unless Abort is called first.
func (s *Segmenter) Begin(h Header, uu uint8, head, body []byte) error {
	n := len(head) + len(body)
	if n < 1 || n > MaxPDU {
		return ErrSDULength
	}
	*s = Segmenter{header: h, head: head, body: body, length: n, uu: uu, crc: ^uint32(0), open: true}
	return nil
}

// Next makes the next cell of the PDU in c; false means that there is none
// and c is unchanged.
func (s *Segmenter) Next(c *Cell) bool {
	if !s.open {
		return false
	}
	p := c.Payload()
	n := copy(p[:], s.head)
	s.head = s.head[n:]
	m := copy(p[n:], s.body)
	s.body = s.body[m:]
	n += m
	clear(p[n:])
	if n > PayloadSize-trailerSize || len(s.head)+len(s.body) > 0 {
		s.header.PT = PTUser
		s.crc = crc32Update(s.crc, p[:])
	} else {
		s.end(p)
	}
	c.SetHeader(s.header)
	return true
}

// end writes the trailer of the last cell.
func (s *Segmenter) end(p *[PayloadSize]byte) {
	t := p[PayloadSize-trailerSize:]
	t[0], t[1] = s.uu, 0
	binary.BigEndian.PutUint16(t[2:], uint16(s.length))
	s.crc = crc32Update(s.crc, p[:PayloadSize-4])
	binary.BigEndian.PutUint32(t[4:], ^s.crc)
	s.header.PT = PTUserEnd
	*s = Segmenter{header: s.header}
}

// Abort makes in c the cell that ends the PDU before its time, with the Length
// 0 that tells the receiver to discard it (I.363.5, clause 9.2.1). It
// returns false, and c is unchanged, if no PDU is open.
func (s *Segmenter) Abort(c *Cell) bool {
	if !s.open {
		return false
	}
	p := c.Payload()
	clear(p[:])
	s.length = 0
	s.end(p)
	c.SetHeader(s.header)
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
	oversize bool   // the PDU is longer than max; cells are skipped up to its end
	clp      bool   // one of its cells had CLP

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
	return &Reassembler{max: max, buf: make([]byte, 0, cells*PayloadSize)}
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
	if r.clock != nil {
		now := r.clock.Now()
		r.expire(now)
		if len(r.buf) == 0 {
			r.began = now
		}
	}
	r.clp = r.clp || c.CLP()
	if len(r.buf) == cap(r.buf) {
		r.oversize = true
	} else {
		r.buf = append(r.buf, c.Payload()[:]...)
	}
	if !pt.End() {
		return PDU{}, false, nil
	}
	pdu, err := r.check()
	if err == nil {
		pdu.CLP, pdu.EFCI = r.clp, pt.EFCI()
	}
	r.Reset()
	return pdu, err == nil, err
}

// check verifies a whole CPCS-PDU (I.363.5, clause 9.2.1).
func (r *Reassembler) check() (PDU, error) {
	if r.oversize {
		return PDU{}, ErrOversize
	}
	if crc32Update(^uint32(0), r.buf) != crc32Residue {
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
	r.buf, r.oversize, r.clp = r.buf[:0], false, false
	return n
}
