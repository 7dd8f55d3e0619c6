package atm

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// A DropReason says why a switch or a line discarded a cell.
type DropReason uint8

// Reasons, in the order in which a cell on its way may meet them.
const (
	DropHEC       DropReason = iota // switch: the HEC does not match the header
	DropEmpty                       // switch: an idle or unassigned cell: VPI and VCI are 0
	DropNoRoute                     // switch: no circuit is connected at this VPI/VCI
	DropPoliced                     // switch: more than the circuit's contract allows
	DropQueueFull                   // line, shaper: no room to wait
	DropCLP                         // line: CLP is 1, and the queue is longer than the threshold for that
	DropEPD                         // line: of a PDU that was not begun because of the length of the queue
	DropPPD                         // line: of a PDU that has lost a cell in the queue
	DropCut                         // line: it is cut, or closed
	DropLoss                        // line: lost by an impairment
	DropReasons                     // how many reasons there are
)

var dropNames = [DropReasons]string{
	"hec", "empty", "no-route", "policed", "queue-full", "clp", "epd", "ppd", "cut", "loss",
}

// String is the reason in a word: "hec", "empty", "no-route", "policed", "queue-full", "clp", "epd", "ppd", "cut", "loss".
func (r DropReason) String() string {
	if r < DropReasons {
		return dropNames[r]
	}
	return fmt.Sprintf("DropReason(%d)", uint8(r))
}

// A Switch passes cells from port to port and translates their VPI/VCI, or the
// VPI alone of whole paths. Circuits and paths are connected one
// direction at a time.
//
// It has no queues of its own: cells wait, if they have to, for the [Line] that is
// attached to their output port. Through a port without one a cell has left the switch when
// [Receiver.Receive] returns.
type Switch struct {
	// OnDrop, if not nil, is called for every cell discarded. It must be
	// set before the first cell and must not keep c.
	OnDrop func(port int, c *Cell, why DropReason)

	// Clock is the time for policing and shaping. It must be set before
	// circuits with such a contract are connected.
	Clock Clock

	mu    sync.Mutex // changes of ports' tables and outputs
	ports []port
}

// A port is where a link meets the switch; as a Receiver it takes the cells
// that come in.
type port struct {
	sw       *Switch
	number   int
	out      Receiver // guarded by sw.mu; routes have copies
	vps      [256]atomic.Pointer[vpTable]
	switched atomic.Uint64
	tagged   atomic.Uint64
	dropped  [DropReasons]atomic.Uint64
}

// A vpTable finds the routes of one VPI: that of the whole path, or those of its channels by
// the high and the low octet of the VCI. Tables are added and never taken away
// while cells may walk through them.
type (
	vpTable struct {
		path     atomic.Pointer[route]
		vcs      [256]atomic.Pointer[vcTable]
		channels int // how many are connected, guarded by sw.mu
	}
	vcTable [256]atomic.Pointer[route]
)

// A route is where the cells of a circuit or a path go. It never changes.
type route struct {
	out    Receiver
	vc     uint32   // VPI and VCI at their places in the header word
	keep   uint32   // bits of the header word that pass unchanged
	police *Policer // nil: not policed
	shaper *Shaper  // nil: not shaped; out otherwise
}

// What passes unchanged through a channel and a path connection.
const (
	keepChannel = 7<<ptShift | clpBit
	keepPath    = keepChannel | 0xffff<<vciShift
)

// NewSwitch makes a switch with the ports 0 to ports-1, none attached.
func NewSwitch(ports int) *Switch {
	s := &Switch{ports: make([]port, max(ports, 0))}
	for i := range s.ports {
		s.ports[i].sw, s.ports[i].number = s, i
	}
	return s
}

// Ports is the number of ports.
func (s *Switch) Ports() int { return len(s.ports) }

func (s *Switch) port(n int) (*port, error) {
	if n < 0 || n >= len(s.ports) {
		return nil, fmt.Errorf("switch has no port %d, its ports are 0 to %d", n, len(s.ports)-1)
	}
	return &s.ports[n], nil
}

// Attach says where cells that leave by a port go. A port is attached once,
// before circuits are connected to it.
func (s *Switch) Attach(n int, out Receiver) error {
	p, err := s.port(n)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.out != nil {
		return fmt.Errorf("port %d of the switch is attached already", n)
	}
	p.out = out
	return nil
}

// Port is the receiver of cells that come in at port n, nil if there is no such port.
func (s *Switch) Port(n int) Receiver {
	p, err := s.port(n)
	if err != nil {
		return nil
	}
	return p
}

// A Contract says what a circuit may send and how it is served. The zero value is
// an unpoliced circuit of the class UBR.
type Contract struct {
	Class Class // the queue in which its cells wait for the line at the output port

	// FrameDiscard says that the circuit carries AAL5 PDUs, which queues may
	// discard whole (see Queueing).
	FrameDiscard bool

	Traffic  Traffic  // for Policing and Shape
	Policing Policing // what happens to cells beyond Traffic as they come in
	Shape    int      // if not 0, cells beyond Traffic wait, so many at most, before they go to their queue
}

// Policing says what is done with cells that do not conform.
type Policing uint8

// Kinds of policing.
const (
	Unpoliced     Policing = iota // they are not looked for
	PoliceDiscard                 // they are discarded
	PoliceTag                     // they are tagged, if there is nothing against it (see Policer)
)

// Connect makes cells that come in at port in on inVC leave at port out on
// outVC. It is an error if a port does not exist, nothing is attached to port
// out, inVC is connected already, by its path maybe, or a VC is 0/0, which is no circuit.
func (s *Switch) Connect(in int, inVC VC, out int, outVC VC) error {
	return s.ConnectContract(in, inVC, out, outVC, Contract{})
}

// ConnectContract is Connect of a circuit with a contract. It is also an error if
// the contract cannot be kept.
func (s *Switch) ConnectContract(in int, inVC VC, out int, outVC VC, k Contract) error {
	fail := func(why error) error {
		return fmt.Errorf("connecting %v at port %d to %v at port %d: %w", inVC, in, outVC, out, why)
	}
	if inVC == (VC{}) || outVC == (VC{}) {
		return fail(fmt.Errorf("0/0 is no circuit"))
	}
	err := s.connect(in, out, route{vc: outVC.word(), keep: keepChannel}, k, func(from *port) (*atomic.Pointer[route], error) {
		vp := from.path(inVC.VPI)
		if vp.path.Load() != nil {
			return nil, fmt.Errorf("path %d is in use at port %d, disconnect it first", inVC.VPI, in)
		}
		slot := vp.channel(inVC.VCI)
		if slot.Load() != nil {
			return nil, fmt.Errorf("%v is in use at port %d, disconnect it first", inVC, in)
		}
		vp.channels++
		return slot, nil
	})
	if err != nil {
		return fail(err)
	}
	return nil
}

// ConnectPath makes cells that come in at port in in the virtual path inVPI leave at port out
// in the path outVPI, with their VCI unchanged. Cells with VPI and VCI 0 are still
// discarded. It is an error if a port does not exist, nothing is attached to port out, or inVPI is
// connected already, or a circuit in it.
func (s *Switch) ConnectPath(in int, inVPI uint8, out int, outVPI uint8, k Contract) error {
	err := s.connect(in, out, route{vc: VC{VPI: outVPI}.word(), keep: keepPath}, k, func(from *port) (*atomic.Pointer[route], error) {
		vp := from.path(inVPI)
		if vp.path.Load() != nil || vp.channels > 0 {
			return nil, fmt.Errorf("path %d is in use at port %d, disconnect it first", inVPI, in)
		}
		return &vp.path, nil
	})
	if err != nil {
		return fmt.Errorf("connecting path %d at port %d to path %d at port %d: %w", inVPI, in, outVPI, out, err)
	}
	return nil
}

// connect puts the route r, completed by what port out and the contract ask for, into the place that find finds in port in.
func (s *Switch) connect(in, out int, r route, k Contract, find func(*port) (*atomic.Pointer[route], error)) error {
	from, err := s.port(in)
	if err != nil {
		return err
	}
	to, err := s.port(out)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if to.out == nil {
		return fmt.Errorf("nothing is attached to port %d", out)
	}
	if err := s.keep(&r, from, to.out, k); err != nil {
		return err
	}
	slot, err := find(from)
	if err != nil {
		return err
	}
	slot.Store(&r)
	return nil
}

// A queuer has queues for circuits of different classes, such as a [Line].
type queuer interface {
	Flow(class Class, frames bool) Receiver
}

// keep completes the route r from a port to what out leads to by the contract.
func (s *Switch) keep(r *route, from *port, out Receiver, k Contract) error {
	if k.Class >= Classes {
		return fmt.Errorf("there is no class %d", k.Class)
	}
	if (k.Policing != Unpoliced || k.Shape != 0) && s.Clock == nil {
		return fmt.Errorf("the switch has no clock to police or shape by")
	}
	r.out = out
	if q, ok := out.(queuer); ok && (k.Class != UBR || k.FrameDiscard) {
		r.out = q.Flow(k.Class, k.FrameDiscard)
	}
	var err error
	switch k.Policing {
	case Unpoliced:
	case PoliceDiscard, PoliceTag:
		if r.police, err = NewPolicer(k.Traffic, k.Policing == PoliceTag); err != nil {
			return err
		}
	default:
		return fmt.Errorf("there is no policing %d", k.Policing)
	}
	if k.Shape != 0 {
		r.shaper, err = NewShaper(r.out, ShaperConfig{Clock: s.Clock, Traffic: k.Traffic, Size: k.Shape, OnDrop: from.drop})
		r.out = r.shaper
	}
	return err
}

// Policed tells what policing made of the cells of the circuit inVC at port in since it was connected; false: it is not policed, or there is
// none.
func (s *Switch) Policed(in int, inVC VC) (PolicerCounters, bool) {
	p, err := s.port(in)
	if err != nil {
		return PolicerCounters{}, false
	}
	r := p.lookup(inVC)
	if r == nil || r.police == nil {
		return PolicerCounters{}, false
	}
	return r.police.Counters(), true
}

// Disconnect ends what Connect began for inVC at port in, and reports whether
// there was anything. Cells that wait in its shaper are dropped, counted as cut. A cell that is inside the switch in another goroutine may
// still come out after it returned.
func (s *Switch) Disconnect(in int, inVC VC) bool {
	p, err := s.port(in)
	if err != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	vp := p.path(inVC.VPI)
	if !p.end(vp.channel(inVC.VCI).Swap(nil)) {
		return false
	}
	vp.channels--
	return true
}

// DisconnectPath is what Disconnect is, for ConnectPath.
func (s *Switch) DisconnectPath(in int, inVPI uint8) bool {
	p, err := s.port(in)
	if err != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return p.end(p.path(inVPI).path.Swap(nil))
}

// end ends a route that is no longer in any table, and reports whether it was one.
func (p *port) end(r *route) bool {
	if r == nil {
		return false
	}
	if r.shaper != nil {
		r.shaper.Close()
		p.dropped[DropCut].Add(r.shaper.Counters().Dropped[DropCut])
	}
	return true
}

// path is the table of a VPI, made if need be. s.mu is held.
func (p *port) path(vpi uint8) *vpTable {
	vp := p.vps[vpi].Load()
	if vp == nil {
		vp = new(vpTable)
		p.vps[vpi].Store(vp)
	}
	return vp
}

// channel is the place of the route of a VCI, made if need be. s.mu is held.
func (vp *vpTable) channel(vci uint16) *atomic.Pointer[route] {
	t := vp.vcs[vci>>8].Load()
	if t == nil {
		t = new(vcTable)
		vp.vcs[vci>>8].Store(t)
	}
	return &t[vci&0xff]
}

// lookup is the route of vc or nil. It takes no lock.
func (p *port) lookup(vc VC) *route {
	vp := p.vps[vc.VPI].Load()
	if vp == nil {
		return nil
	}
	if t := vp.vcs[vc.VCI>>8].Load(); t != nil {
		if r := t[vc.VCI&0xff].Load(); r != nil {
			return r
		}
	}
	return vp.path.Load()
}

// Receive passes a cell on that came in at the port: PT, payload and, unless it
// is tagged, CLP as they are, VPI and VCI translated, GFC 0, a new HEC.
func (p *port) Receive(c *Cell) {
	w := c.word()
	if syndrome(w, c[4]) != 0 {
		p.drop(c, DropHEC)
		return
	}
	if c.empty() {
		p.drop(c, DropEmpty)
		return
	}
	r := p.lookup(c.VC())
	if r == nil {
		p.drop(c, DropNoRoute)
		return
	}
	if r.police != nil {
		switch r.police.Cell(p.sw.Clock.Now(), w&clpBit != 0) {
		case Discard:
			p.drop(c, DropPoliced)
			return
		case Tag:
			w |= clpBit
			p.tagged.Add(1)
		}
	}
	c.setWord(r.vc | w&r.keep)
	p.switched.Add(1)
	r.out.Receive(c)
}

func (p *port) drop(c *Cell, why DropReason) {
	p.dropped[why].Add(1)
	if f := p.sw.OnDrop; f != nil {
		f(p.number, c, why)
	}
}

// PortCounters is what happened to the cells that came in at a port.
type PortCounters struct {
	Switched uint64              // passed on
	Tagged   uint64              // of those, with CLP 1 because of policing
	Dropped  [DropReasons]uint64 // discarded, by reason; those for which a shaper had no room were passed on before
}

// Counters reads the counters of port n; they are 0 if there is no such port.
func (s *Switch) Counters(n int) (pc PortCounters) {
	p, err := s.port(n)
	if err != nil {
		return pc
	}
	pc.Switched, pc.Tagged = p.switched.Load(), p.tagged.Load()
	for i := range pc.Dropped {
		pc.Dropped[i] = p.dropped[i].Load()
	}
	return pc
}
