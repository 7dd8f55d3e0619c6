package atm

// A LoopbackPoint is a point on a circuit that answers loopback requests which ask for it: a port of a switch, or an end. Along a
// segment, a request finds these points one by one, and each hop that still answers is alive (I.610, clause 9.2.1.1.3):
//
//	            request, target B
//	end ─────────> A ─────────> B ───── ✗ ───── C
//	    <───────── A <───────── B
//	             reply from B
type LoopbackPoint struct {
	ID LocationID

	// SegmentEnd means that segment flows end here: their cells go no further, and requests for EndPoint are answered.
	SegmentEnd bool
	// End is the same for end-to-end flows.
	End bool
}

// Answer looks at an OAM cell that has come to the point. If the cell is a request that the point must answer, the answer is
// written to reply, to be sent back the way c came, on the same link and circuit. pass means that c, unchanged, goes on its way.
//
// A cell that is damaged, or means nothing here, is not answered; it passes unless its flow ends here. c and reply may be the same
// cell at an end; elsewhere, both may be needed.
func (p *LoopbackPoint) Answer(c, reply *Cell) (answered, pass bool) {
	flow, ok := c.OAMFlow()
	if !ok {
		return false, true
	}
	ends := p.End
	if flow.Segment() {
		ends = p.SegmentEnd
	}
	o, err := DecodeOAM(c)
	if err != nil || o.Kind != OAMLoopback || o.Reply || !p.meant(flow, ends, o.Target) {
		return false, !ends
	}
	every := o.Target == EveryPoint
	o.Reply, o.Target = true, p.ID
	h := flow.Header(c.VC())
	_ = EncodeOAM(reply, o) // the kind is known
	reply.SetHeader(h)
	return true, every && !ends
}

// meant reports whether a request is for this point.
func (p *LoopbackPoint) meant(flow OAMFlow, ends bool, target LocationID) bool {
	switch target {
	case NoPoint:
		return false
	case EndPoint:
		return ends
	case EveryPoint:
		return flow.Segment()
	}
	// A request from end to end passes the connecting points, whatever its target.
	return target == p.ID && (flow.Segment() || ends)
}

// A LoopbackPort is a [LoopbackPoint] where a link meets a switch: it takes the cells that come in, answers requests
// back on the link, and passes everything else on to the port.
//
//	link ──────> LoopbackPort ──> Switch.Port(n)
//	link <── reply ──┘
type LoopbackPort struct {
	Point LoopbackPoint
	In    Receiver // the port of the switch
	Back  Receiver // the link out of the same port
}

// Receive takes a cell that has come in. The HEC is looked at only of cells that may be requests; that of others is the port's
// matter.
func (p *LoopbackPort) Receive(c *Cell) {
	if _, ok := c.OAMFlow(); ok && c.checkHEC() {
		p.oam(c)
		return
	}
	p.In.Receive(c)
}

func (p *LoopbackPort) oam(c *Cell) {
	var reply Cell
	answered, pass := p.Point.Answer(c, &reply)
	if pass {
		p.In.Receive(c)
	}
	if answered {
		p.Back.Receive(&reply)
	}
}
