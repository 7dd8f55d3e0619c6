package rmem

import (
	"sync/atomic"

	"rmemrun/atm"
)

// An end is this node's end of a circuit.
type end interface {
	// receive takes a cell that came on the lower VC of the circuit, or,
	// block being true, on the upper one. Its HEC is right and it carries user data.
	receive(c *atm.Cell, block bool)

	// receiveFrame takes a PDU that came whole on the upper VC; false: it has to come in cells.
	receiveFrame(f *atm.Frame) bool
}

// An attachment is what a VC leads to.
type attachment struct {
	end
	block bool // the upper VC of the two
}

// Circuits finds the end of a circuit by its VC. Tables are added and never
// taken away, so that looking up takes no lock. Changes are made under Node.mu.
type circuits [256]atomic.Pointer[[256]atomic.Pointer[[256]atomic.Pointer[attachment]]]

func (t *circuits) lookup(vc atm.VC) *attachment {
	if path := t[vc.VPI].Load(); path != nil {
		if part := path[vc.VCI>>8].Load(); part != nil {
			return part[vc.VCI&0xff].Load()
		}
	}
	return nil
}

func (t *circuits) set(vc atm.VC, a *attachment) {
	path := t[vc.VPI].Load()
	if path == nil {
		path = new([256]atomic.Pointer[[256]atomic.Pointer[attachment]])
		t[vc.VPI].Store(path)
	}
	part := path[vc.VCI>>8].Load()
	if part == nil {
		part = new([256]atomic.Pointer[attachment])
		path[vc.VCI>>8].Store(part)
	}
	part[vc.VCI&0xff].Store(a)
}

// attach makes e the end of the circuit vc and the VC above it. It returns
// false if one of the two has an end already or is none.
func (t *circuits) attach(vc atm.VC, e end) bool {
	upper := upperVC(vc)
	if vc.VCI < atm.FirstUserVCI || upper.VCI < vc.VCI || t.lookup(vc) != nil || t.lookup(upper) != nil {
		return false
	}
	t.set(vc, &attachment{e, false})
	t.set(upper, &attachment{e, true})
	return true
}

// detach undoes attach.
func (t *circuits) detach(vc atm.VC) {
	t.set(vc, nil)
	t.set(upperVC(vc), nil)
}

// upperVC carries the blocks of the circuit vc.
func upperVC(vc atm.VC) atm.VC { return atm.VC{VPI: vc.VPI, VCI: vc.VCI + 1} }
