package atm

import "encoding/binary"

// A Frame is an AAL5 CPCS-PDU on a way on which nothing looks at its cells, and which its sender and its receiver therefore may pass on in one piece, as
// network interfaces do that leave segmentation to the last who can do it. It is complete: payload, padding, and the trailer
// with Length and CRC-32, which Make makes of the octets and Open checks against them. What it does not have is the 5 octets in
// front of each cell, which differ in the last cell's PT only; they are made by Cut, for who takes nothing but cells.
//
//	|<------ Head ------>|<---------------- Body ---------------->|<- tail: PAD, UU, CPI, Length, CRC-32 ->|
//	+----------+---------+- - -                       - - - ------+----------+
//	|  cell 0  |  cell 1 |                                        | last cell|   48 octets each
//	+----------+---------+- - -                       - - - ------+----------+
//
// The zero value is ready. It is not safe for concurrent use.
type Frame struct {
	VC         VC     // of the cells
	Head, Body []byte // the payload, in two pieces. Must not change until the frame was received

	tail [maxPad + trailerSize]byte
	used int // octets of tail

	cell Cell // for Cut and Last
}

// A FrameReceiver takes frames beside cells. That a frame is valid, and may be changed, only during the call holds as for a cell.
type FrameReceiver interface {
	Receiver
	ReceiveFrame(f *Frame)
}

// Make makes f the PDU with the payload head followed by body, either of which may be empty, and the user-to-user octet uu, on the circuit vc; the CPI is 0.
// The error is ErrSDULength.
func (f *Frame) Make(vc VC, uu uint8, head, body []byte) error {
	n := len(head) + len(body)
	if n < 1 || n > MaxPDU {
		return ErrSDULength
	}
	f.VC, f.Head, f.Body = vc, head, body
	pad := (PayloadSize - (n+trailerSize)%PayloadSize) % PayloadSize
	f.used = pad + trailerSize
	clear(f.tail[:pad])
	t := f.tail[pad:f.used]
	binary.BigEndian.PutUint64(t, uint64(uu)<<56|uint64(n)<<32)
	binary.BigEndian.PutUint32(t[4:], ^f.sum(f.used-4))
	return nil
}

// sum is the register of the CRC-32 over the payload and so many octets of the tail.
func (f *Frame) sum(tail int) uint32 {
	return crc32Update(crc32Update(crc32Update(^uint32(0), f.Head), f.Body), f.tail[:tail])
}

// Cells is in how many cells the frame goes.
func (f *Frame) Cells() int { return (len(f.Head) + len(f.Body) + f.used) / PayloadSize }

// Open checks the frame as a Reassembler for payloads of up to max octets does, and returns the user-to-user octet or the same errors. If Length is not that of
// the payload in front of it the error is ErrPDULength, also where cells alone could be a PDU of that length.
func (f *Frame) Open(max int) (uu uint8, err error) {
	n := len(f.Head) + len(f.Body)
	if n+f.used > (max+trailerSize+maxPad)/PayloadSize*PayloadSize {
		return 0, ErrOversize
	}
	if f.sum(f.used) != crc32Residue {
		return 0, ErrCRC32
	}
	t := f.tail[f.used-trailerSize:]
	length := int(binary.BigEndian.Uint16(t[2:]))
	switch {
	case length == 0:
		return 0, ErrAborted
	case length != n || f.used-trailerSize > maxPad:
		return 0, ErrPDULength
	case n > max:
		return 0, ErrOversize
	case t[1] != 0:
		return 0, ErrCPI
	}
	return t[0], nil
}

// Cut gives the frame's cells to to.
func (f *Frame) Cut(to Receiver) {
	user := Header{VC: f.VC, PT: PTUser}.Octets()
	pieces := [3][]byte{f.Head, f.Body, f.tail[:f.used]}
	left := f.Cells()
	for i := 0; left > 0; left-- {
		p := f.cell.Payload()[:]
		for len(p) > 0 {
			n := copy(p, pieces[i])
			p, pieces[i] = p[n:], pieces[i][n:]
			if len(pieces[i]) == 0 && i < len(pieces)-1 {
				i++
			}
		}
		f.cell.SetOctets(user)
		if left == 1 {
			f.setEnd()
		}
		to.Receive(&f.cell)
	}
}

func (f *Frame) setEnd() {
	f.cell.SetOctets(Header{VC: f.VC, PT: PTUserEnd}.Octets())
}

// Last is the frame's last cell, until the frame's next method.
func (f *Frame) Last() *Cell {
	p := f.cell.Payload()[:]
	for _, piece := range [3][]byte{f.tail[:f.used], f.Body, f.Head} { // from the end
		n := min(len(piece), len(p))
		copy(p[len(p)-n:], piece[len(piece)-n:])
		p = p[:len(p)-n]
	}
	f.setEnd()
	return &f.cell
}

// Deliver gives the frame to to, whole if that takes frames, else cell by cell.
func (f *Frame) Deliver(to Receiver) {
	if r, ok := to.(FrameReceiver); ok {
		r.ReceiveFrame(f)
		return
	}
	f.Cut(to)
}

// ReceiveFrame carries a frame to the far end.
func (l *Link) ReceiveFrame(f *Frame) {
	l.cells.Add(uint64(f.Cells()))
	f.Deliver(l.to)
}

// ReceiveFrame passes a frame on that came in at the port, as Receive does with its cells. Where each cell is looked at, by policing or shaping, or discarded,
// the frame is cut.
func (p *port) ReceiveFrame(f *Frame) {
	r := p.lookup(f.VC)
	if r == nil || r.police != nil || r.shaper != nil || f.VC == (VC{}) {
		f.Cut(p)
		return
	}
	f.VC = r.channel(f.VC)
	p.switched.Add(uint64(f.Cells()))
	f.Deliver(r.out)
}

// channel is the VC on which a cell of vc leaves.
func (r *route) channel(vc VC) VC {
	w := r.vc | vc.word()&r.keep
	return VC{VPI: uint8(w >> vpiShift), VCI: uint16(w >> vciShift)}
}
