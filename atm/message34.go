package atm

import (
	"encoding/binary"
	"errors"
	"time"
)

// Messages of more than one cell in AAL type 3/4 (I.363.3, clause 9). A message is made a CPCS-PDU, of which each cell takes 44
// octets; messages of a circuit with different MIDs may be under way at a time, their cells mixed.
//
//	octets   1      1       2       1 - 65535   0 - 3    1     1      2
//	+-----+------+--------+--------------------+-----+----+------+--------+
//	| CPI | BTag | BASize |  CPCS-PDU payload  | PAD | AL | ETag | Length |
//	+-----+------+--------+--------------------+-----+----+------+--------+
//	├── BOM, 44 octets ──┼── COM, 44 ──┼ … ┼── EOM, 4 to 44 ──┤     or one SSM, 8 to 44
const (
	cpcsHeader  = 4
	cpcsTrailer = 4
	maxPad34    = 3

	stCOM = 0b00
	stEOM = 0b01
	stBOM = 0b10

	minEOM  = 4
	abortLI = 63 // of an EOM
	maxMID  = 1<<10 - 1
)

// Reasons why a cell or a PDU of AAL3/4 was discarded, besides ErrCRC10, ErrCPI, ErrAborted, ErrOversize, ErrPDULength and
// ErrNotUser.
var (
	ErrSegmentLength = errors.New("atm: AAL3/4 SAR-PDU refused: length (LI) not allowed for its segment type (BOM, COM 44; EOM 4..44; SSM 8..44)")
	ErrNoBeginning   = errors.New("atm: AAL3/4 SAR-PDU refused: it continues a message of which there is no beginning")
	ErrSequence      = errors.New("atm: AAL3/4 CPCS-PDU refused: a gap in the sequence numbers (SN), a cell was lost or added")
	ErrTags          = errors.New("atm: AAL3/4 CPCS-PDU refused: BTag and ETag differ, parts of two messages were joined")
	ErrAL            = errors.New("atm: AAL3/4 CPCS-PDU refused: AL is not 0, which is reserved")
	ErrMIDs          = errors.New("atm: AAL3/4 CPCS-PDU refused: as many messages as its receiver allows are under way already")
)

// A Segmenter34 cuts one message at a time into AAL3/4 cells of one MID, as a [Segmenter] does for AAL5. The zero value is
// ready. It must not be copied while a message is open, and is not safe for concurrent use.
type Segmenter34 struct {
	header Header
	mid    uint16
	sn     uint8 // of the next cell; goes on from message to message
	tag    uint8 // of the next message
	begun  bool  // cells of the open message were made
	open   bool
	left   int       // octets of the CPCS-PDU to be sent
	parts  [4][]byte // they: header, head, body, padding and trailer
	front  [cpcsHeader]byte
	back   [maxPad34 + cpcsTrailer]byte
}

// Begin starts a message with the payload head followed by body, either of which may be empty, on the MID mid, of which the low ten bits
// count. All cells get the header h, with the payload type PTUser. The slices are read by Next and must not change until it has returned
// false. The error is ErrSDULength.
//
// A message that is still open is forgotten; its receiver discards it when the next one begins.
func (s *Segmenter34) Begin(h Header, mid uint16, head, body []byte) error {
	n := len(head) + len(body)
	if n < 1 || n > MaxPDU {
		return ErrSDULength
	}
	h.PT = PTUser
	pad := -n & maxPad34
	s.header, s.mid, s.begun, s.open = h, mid&maxMID, false, true
	s.left = cpcsHeader + n + pad + cpcsTrailer
	s.front = [cpcsHeader]byte{0, s.tag, byte(n >> 8), byte(n)}
	s.back = [maxPad34 + cpcsTrailer]byte{}
	copy(s.back[pad:], []byte{0, s.tag, byte(n >> 8), byte(n)})
	s.parts = [4][]byte{s.front[:], head, body, s.back[:pad+cpcsTrailer]}
	s.tag++
	return nil
}

// Next makes the next cell of the message in c; false means that there is none and c is unchanged.
func (s *Segmenter34) Next(c *Cell) bool {
	if !s.open {
		return false
	}
	n := min(s.left, MaxSSM)
	s.left -= n
	st := uint16(stCOM)
	if !s.begun {
		st |= stBOM
	}
	if s.left == 0 {
		st |= stEOM // of a BOM it makes an SSM
	}
	data := c[sarPayload : sarPayload+n]
	for i := range s.parts {
		k := copy(data, s.parts[i])
		data, s.parts[i] = data[k:], s.parts[i][k:]
	}
	clear(c[sarPayload+n : sarTrailer])
	s.begun = true
	s.seal(c, st, n)
	return true
}

// seal writes what is around the SAR-PDU payload.
func (s *Segmenter34) seal(c *Cell, st uint16, li int) {
	binary.BigEndian.PutUint16(c[HeaderSize:], st<<stShift|uint16(s.sn)<<snShift|s.mid)
	binary.BigEndian.PutUint16(c[sarTrailer:], uint16(li)<<liShift)
	binary.BigEndian.PutUint16(c[sarTrailer:], uint16(li)<<liShift|crc10Remainder(c.Payload()))
	c.SetHeader(s.header)
	s.sn = (s.sn + 1) & 0xf
	if st&stEOM != 0 {
		s.open, s.parts = false, [4][]byte{}
	}
}

// Abort makes in c the cell that tells the receiver to discard the message (an EOM with LI 63). It returns false, and c is unchanged,
// if no cell of an open message was made.
func (s *Segmenter34) Abort(c *Cell) bool {
	if !s.open {
		return false
	}
	if !s.begun {
		s.open, s.parts = false, [4][]byte{}
		return false
	}
	clear(c.Payload()[:])
	s.seal(c, stEOM, abortLI)
	return true
}

// A Message is a received message of AAL3/4.
type Message struct {
	MID     uint16
	CLP     bool   // one of its cells at least may have been discarded before others
	EFCI    bool   // its last cell has met congestion
	Payload []byte // within a buffer of the Reassembler34, until its next Add, Expire or Reset
}

// Limits34 bounds what a [Reassembler34] keeps: about MIDs times PDU octets.
type Limits34 struct {
	PDU     int           // longest payload, 1 to MaxPDU
	MIDs    int           // messages under way at a time, 1 to 1024
	Clock   Clock         // for the time-out; nil: there is none
	Timeout time.Duration // for a message to be complete, from its first cell
}

// A Reassembler34 puts the cells of one circuit together to messages, those of each MID by themselves. A buffer is made when a message
// needs one and there is none left from others, never more than the limits allow. It is not safe for concurrent use.
type Reassembler34 struct {
	limits   Limits34
	partial  map[uint16]*partial34 // under way, by MID
	free     []*partial34
	whole    *partial34 // the buffer of the message that was given out last
	made     int
	unended  uint64
	timeouts uint64
}

// A partial34 is a message that is under way.
type partial34 struct {
	buf   []byte // its CPCS-PDU so far
	most  int    // octets that BASize allows
	sn    uint8  // of the next cell
	clp   bool
	began time.Duration
}

// NewReassembler34 makes one; limits outside their ranges are brought into them.
func NewReassembler34(limits Limits34) *Reassembler34 {
	limits.PDU = min(max(limits.PDU, 1), MaxPDU)
	limits.MIDs = min(max(limits.MIDs, 1), maxMID+1)
	return &Reassembler34{limits: limits, partial: map[uint16]*partial34{}}
}

// Add takes the next cell of the circuit. With the last cell of a message it returns the message and true. An error says why the cell,
// and with it the message of its MID, was discarded; others go on. ErrCRC10 and ErrNotUser discard the one cell only, since nothing
// says which message it was of.
//
// A message whose MID begins another before it has ended is discarded without an error (see Unended).
func (r *Reassembler34) Add(c *Cell) (Message, bool, error) {
	if !c.PT().User() {
		return Message{}, false, ErrNotUser
	}
	if !crc10Right(c.Payload()) {
		return Message{}, false, ErrCRC10
	}
	b := c[HeaderSize:]
	st, sn, mid := b[0]>>6, b[0]>>2&0xf, uint16(b[0]&3)<<8|uint16(b[1])
	li := int(b[46] >> 2)
	data := b[2:46]

	r.recycle()
	p := r.partial[mid]
	var now time.Duration
	if r.limits.Clock != nil {
		now = r.limits.Clock.Now()
		if p != nil && now-p.began > r.limits.Timeout {
			r.timeouts++
			r.drop(mid)
			p = nil
		}
	}
	if st&stBOM != 0 {
		if p != nil {
			r.unended++
			r.drop(mid)
		}
		var err error
		if p, err = r.begin(mid, st, li, data, now); err != nil {
			return Message{}, false, err
		}
		p.sn = sn
	}
	if p == nil {
		return Message{}, false, ErrNoBeginning
	}
	p.clp = p.clp || c.CLP()
	whole, err := p.add(st, sn, li, data)
	if err != nil || whole {
		delete(r.partial, mid)
		r.whole = p
	}
	if err != nil || !whole {
		return Message{}, false, err
	}
	payload, err := p.check()
	if err != nil {
		return Message{}, false, err
	}
	return Message{MID: mid, CLP: p.clp, EFCI: c.EFCI(), Payload: payload}, true, nil
}

// begin makes room for a message whose first cell has come.
func (r *Reassembler34) begin(mid uint16, st byte, li int, data []byte, now time.Duration) (*partial34, error) {
	switch {
	case st == stBOM && li != MaxSSM || st == stSSM && (li < MinSSM || li > MaxSSM):
		return nil, ErrSegmentLength
	case data[0] != 0:
		return nil, ErrCPI
	}
	size := int(binary.BigEndian.Uint16(data[2:]))
	if size > r.limits.PDU {
		return nil, ErrOversize
	}
	if len(r.partial) == r.limits.MIDs && r.sweep(now) == 0 {
		return nil, ErrMIDs
	}
	var p *partial34
	if n := len(r.free); n > 0 {
		p, r.free = r.free[n-1], r.free[:n-1]
	} else {
		p = &partial34{buf: make([]byte, 0, cpcsHeader+r.limits.PDU+maxPad34+cpcsTrailer)}
		r.made++
	}
	p.buf, p.most, p.clp, p.began = p.buf[:0], cpcsHeader+size+(-size&maxPad34)+cpcsTrailer, false, now
	r.partial[mid] = p
	return p, nil
}

// add takes one cell, and reports whether it was the last.
func (p *partial34) add(st, sn byte, li int, data []byte) (whole bool, err error) {
	switch {
	case sn != p.sn:
		return false, ErrSequence
	case st == stEOM && li == abortLI:
		return false, ErrAborted
	case st&stEOM == 0 && li != MaxSSM || st == stEOM && (li < minEOM || li > MaxSSM):
		return false, ErrSegmentLength
	case len(p.buf)+li > p.most:
		return false, ErrPDULength
	}
	p.buf = append(p.buf, data[:li]...)
	p.sn = (p.sn + 1) & 0xf
	return st&stEOM != 0, nil
}

// check verifies a whole CPCS-PDU (I.363.3, clause 9.2.1) and returns its payload.
func (p *partial34) check() ([]byte, error) {
	b := p.buf
	tail := b[len(b)-cpcsTrailer:]
	n := int(tail[2])<<8 | int(tail[3])
	pad := len(b) - cpcsHeader - n - cpcsTrailer
	switch {
	case tail[0] != 0:
		return nil, ErrAL
	case tail[1] != b[1]:
		return nil, ErrTags
	case n == 0 || pad < 0 || pad > maxPad34 || n > int(b[2])<<8|int(b[3]):
		return nil, ErrPDULength
	}
	return b[cpcsHeader : cpcsHeader+n : cpcsHeader+n], nil
}

// recycle takes the buffer of the message given out last for others.
func (r *Reassembler34) recycle() {
	if r.whole != nil {
		r.free, r.whole = append(r.free, r.whole), nil
	}
}

func (r *Reassembler34) drop(mid uint16) {
	r.free = append(r.free, r.partial[mid])
	delete(r.partial, mid)
}

// sweep discards messages whose time is up.
func (r *Reassembler34) sweep(now time.Duration) (n int) {
	if r.limits.Clock == nil {
		return 0
	}
	for mid, p := range r.partial {
		if now-p.began > r.limits.Timeout {
			r.drop(mid)
			n++
		}
	}
	r.timeouts += uint64(n)
	return n
}

// Expire discards the messages whose time is up, and returns how many they were. No timer runs: without Expire that is found when the next
// cell of the MID comes, or all MIDs are taken.
func (r *Reassembler34) Expire() int {
	if r.limits.Clock == nil {
		return 0
	}
	r.recycle()
	return r.sweep(r.limits.Clock.Now())
}

// Reset forgets all messages that are under way, and returns how many they were.
func (r *Reassembler34) Reset() int {
	r.recycle()
	n := len(r.partial)
	for mid := range r.partial {
		r.drop(mid)
	}
	return n
}

// Partial is how many messages are under way.
func (r *Reassembler34) Partial() int { return len(r.partial) }

// Unended is how many messages were discarded because their MID began another one.
func (r *Reassembler34) Unended() uint64 { return r.unended }

// Timeouts is how many messages were discarded because they were not complete in time.
func (r *Reassembler34) Timeouts() uint64 { return r.timeouts }
