package atm

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// An OAMFlow says what an OAM cell looks after (I.610, clause 6): a virtual path (F4) or a virtual channel
// (F5), from end to end or within one segment of it.
//
//	flow          where its cells are           PT
//	F4 segment    VCI 3 of the virtual path     0x0
//	F4 end        VCI 4 of the virtual path     0x0
//	F5 segment    the virtual channel itself    100
//	F5 end        the virtual channel itself    101
type OAMFlow uint8

// Flows.
const (
	F4Segment OAMFlow = iota
	F4End
	F5Segment
	F5End
)

// VCIs of the F4 flows in every virtual path (I.361, clause 2.2.3).
const (
	vciF4Segment = 3
	vciF4End     = 4
)

var oamFlows = [...]string{"F4 segment", "F4 end-to-end", "F5 segment", "F5 end-to-end"}

// String names the flow: "F4 segment", "F4 end-to-end", "F5 segment", "F5 end-to-end".
func (f OAMFlow) String() string {
	if int(f) < len(oamFlows) {
		return oamFlows[f]
	}
	return fmt.Sprintf("OAMFlow(%d)", uint8(f))
}

// Segment reports whether the flow ends with the segment.
func (f OAMFlow) Segment() bool { return f == F4Segment || f == F5Segment }

// F4 reports whether the flow looks after a virtual path.
func (f OAMFlow) F4() bool { return f <= F4End }

// Header is the header of the flow's cells on the circuit vc, of which F4 looks at the VPI only.
func (f OAMFlow) Header(vc VC) Header {
	switch f {
	case F4Segment:
		return Header{VC: VC{vc.VPI, vciF4Segment}}
	case F4End:
		return Header{VC: VC{vc.VPI, vciF4End}}
	case F5Segment:
		return Header{VC: vc, PT: PTSegmentOAM}
	default:
		return Header{VC: vc, PT: PTEndOAM}
	}
}

// OAMFlow is the flow that c belongs to; false means that it is no OAM cell. The HEC is not
// looked at.
func (c *Cell) OAMFlow() (OAMFlow, bool) {
	pt := c.PT()
	switch vci := c.VC().VCI; {
	case vci == vciF4Segment || vci == vciF4End:
		return F4Segment + OAMFlow(vci-vciF4Segment), pt&0b101 == 0
	case pt == PTSegmentOAM || pt == PTEndOAM:
		return F5Segment + OAMFlow(pt-PTSegmentOAM), vci != 0
	}
	return 0, false
}

// An OAMKind is the type and the function of an OAM cell, four bits each (I.610, clause 10.1).
type OAMKind uint8

// Functions of fault management, which are those that this package takes part in.
const (
	OAMAIS      OAMKind = 0x10 // alarm indication signal: the circuit is broken upstream
	OAMRDI      OAMKind = 0x11 // remote defect indication: the far end receives nothing
	OAMCC       OAMKind = 0x14 // continuity check
	OAMLoopback OAMKind = 0x18
)

// String is the kind as it is called in I.610: "AIS", "RDI", "CC", "loopback".
func (k OAMKind) String() string {
	switch k {
	case OAMAIS:
		return "AIS"
	case OAMRDI:
		return "RDI"
	case OAMCC:
		return "CC"
	case OAMLoopback:
		return "loopback"
	}
	return fmt.Sprintf("OAM type %d function %d", k>>4, k&0xf)
}

// A LocationID names a point of the network in OAM cells, 16 octets that its operator chooses, except for these three.
type LocationID [16]byte

// Location identifiers with a meaning of their own (I.610, clause 10.2.3).
var (
	// EndPoint, in a loopback request, is the end of the circuit or of the segment, whatever its name.
	EndPoint = allOctets(0xff)
	// EveryPoint, in a loopback request of a segment, is each connecting point on the way, and the segment's end.
	EveryPoint = allOctets(0x00)
	// NoPoint means that nothing is said; a loopback request with it is answered by nobody.
	NoPoint = allOctets(idleOctet)
)

func allOctets(b byte) (id LocationID) {
	for i := range id {
		id[i] = b
	}
	return id
}

// NoDefect is the defect type of an AIS or RDI cell that does not say what is wrong.
const NoDefect = idleOctet

// An OAM is what an OAM cell of fault management says. Which fields are used depends on the kind.
type OAM struct {
	Kind OAMKind

	// Of AIS and RDI.
	Defect   uint8      // what is wrong, or NoDefect
	Location LocationID // where, or NoPoint

	// Of loopback.
	Reply  bool       // the cell was looped and is on its way back
	Tag    uint32     // correlation tag: comes back as it was sent
	Target LocationID // who is to loop the cell; in a reply, who did
	Source LocationID // who sent the request, or NoPoint
}

// The payload of an OAM cell of fault management (I.610, clause 10.2). What is not used is 6a hex.
//
//	octets   1        1                                                 44      2
//	+------+------+-----------------------------------------------------+--------+
//	| type |func- | AIS, RDI:  defect type 1, location 16, 28 unused     | 6 bits |
//	|      | tion | CC:        45 unused                                 | 0,     |
//	|      |      | loopback:  indication 1, tag 4, target 16, source 16,| CRC-10 |
//	|      |      |            8 unused                                  |        |
//	+------+------+-----------------------------------------------------+--------+
//	 4 bits 4 bits            45 octets
const (
	oamIndication = HeaderSize + 1  // loopback: bit 0 is 1 until the cell is looped
	oamTag        = HeaderSize + 2  // loopback
	oamTarget     = HeaderSize + 6  // loopback
	oamSource     = HeaderSize + 22 // loopback
	oamDefect     = HeaderSize + 1  // AIS, RDI
	oamLocation   = HeaderSize + 2  // AIS, RDI
	oamTrailer    = HeaderSize + 46
)

// Reasons why a cell says nothing as an OAM cell.
var (
	ErrOAMCRC  = errors.New("atm: OAM cell refused: CRC-10 does not match, the cell was damaged")
	ErrOAMKind = errors.New("atm: OAM cell refused: its type and function are none of AIS, RDI, continuity check and loopback")
)

// EncodeOAM fills the payload of c and leaves the header alone. If the kind is unknown, c is unchanged and the error is
// ErrOAMKind.
func EncodeOAM(c *Cell, o OAM) error {
	switch o.Kind {
	case OAMAIS, OAMRDI, OAMCC, OAMLoopback:
	default:
		return ErrOAMKind
	}
	p := c.Payload()
	for i := range p {
		p[i] = idleOctet
	}
	p[0] = byte(o.Kind)
	switch o.Kind {
	case OAMAIS, OAMRDI:
		c[oamDefect] = o.Defect
		copy(c[oamLocation:], o.Location[:])
	case OAMLoopback:
		c[oamIndication] = 1
		if o.Reply {
			c[oamIndication] = 0
		}
		binary.BigEndian.PutUint32(c[oamTag:], o.Tag)
		copy(c[oamTarget:], o.Target[:])
		copy(c[oamSource:], o.Source[:])
	}
	binary.BigEndian.PutUint16(c[oamTrailer:], 0)
	binary.BigEndian.PutUint16(c[oamTrailer:], crc10Remainder(p))
	return nil
}

// DecodeOAM reads the payload of c; the header is not looked at. The error is ErrOAMCRC or ErrOAMKind, checked in
// this order; with the latter, the kind is there all the same.
func DecodeOAM(c *Cell) (OAM, error) {
	if !crc10Right(c.Payload()) {
		return OAM{}, ErrOAMCRC
	}
	b := c[HeaderSize:]
	o := OAM{Kind: OAMKind(b[0])}
	b = b[1:]
	switch o.Kind {
	case OAMCC:
	case OAMAIS, OAMRDI:
		o.Defect = b[0]
		o.Location = LocationID(b[1:17])
	case OAMLoopback:
		o.Reply = b[0]&1 == 0
		o.Tag = uint32(b[1])<<24 | uint32(b[2])<<16 | uint32(b[3])<<8 | uint32(b[4])
		o.Target = LocationID(b[5:21])
		o.Source = LocationID(b[21:37])
	default:
		return o, ErrOAMKind
	}
	return o, nil
}
