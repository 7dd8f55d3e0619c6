package capture

import "rmemrun/atm"

const (
	// unfinishedMax is how much memory unfinished PDUs have in all.
	unfinishedMax = 64 << 20
	// pduOverhead is about what one takes beside its octets.
	pduOverhead = 256
)

// A circuit is one direction of a circuit at one port.
type circuit struct {
	port int
	dir  Direction
	vc   atm.VC
}

// A pdu is what has come of an AAL5 CPCS-PDU. It is not checked: a capture shows
// the damaged ones too.
type pdu struct {
	octets []byte // up to pduMax of them
	length int    // all there were
}

func (p *pdu) memory() int { return pduOverhead + cap(p.octets) }

// An assembly puts the cells of circuits together to PDUs.
type assembly struct {
	open map[circuit]*pdu
	held int  // memory of those in open
	off  bool // there were too many, for good: a PDU of which the beginning is missing would look damaged
	idle *pdu // to be used again
}

// add adds a user cell to its circuit's PDU, and returns this if it is complete.
// The caller frees it.
func (a *assembly) add(k circuit, c *atm.Cell) *pdu {
	p := a.open[k]
	if p == nil {
		if p, a.idle = a.idle, nil; p == nil {
			p = new(pdu)
		}
		a.open[k] = p
		a.held += p.memory()
	}
	p.length += atm.PayloadSize
	if len(p.octets) < pduMax {
		a.held -= p.memory()
		p.octets = append(p.octets, c.Payload()[:]...)
		a.held += p.memory()
	}
	if c.PT().End() {
		delete(a.open, k)
		a.held -= p.memory()
		return p
	}
	if a.held > unfinishedMax {
		*a = assembly{off: true}
	}
	return nil
}

// free takes a PDU back.
func (a *assembly) free(p *pdu) {
	p.octets, p.length = p.octets[:0], 0
	a.idle = p
}
