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

// A Switch passes cells from port to port and translates their VPI/VCI. It
// has no queues: a cell has left it when [Receiver.Receive] of the port
// returns. Circuits are connected by Connect, one direction at a time.
type Switch struct {
	// OnDrop, if not nil, is called for every cell discarded. It must be
	// set before the first cell and must not keep c.
	OnDrop func(port int, c *Cell, why DropReason)

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
	dropped  [DropReasons]atomic.Uint64
}

// A vpTable finds the routes of one VPI by the high and the low octet of the
// VCI. Tables are added and never taken away while cells may walk through them.
type (
	vpTable [256]atomic.Pointer[vcTable]
	vcTable [256]atomic.Pointer[route]
)

// A route is where the cells of a circuit go. It never changes.
type route struct {
	out Receiver
	vc  uint32 // VPI and VCI at their places in the header word
}

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
		return nil, fmt.Errorf("atm: switch has no port %d, its ports are 0 to %d", n, len(s.ports)-1)
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
		return fmt.Errorf("atm: port %d of the switch is attached already", n)
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

// Connect makes cells that come in at port in on inVC leave at port out on
// outVC. It is an error if a port does not exist, nothing is attached to port
// out, inVC is connected already, or a VC is 0/0, which is no circuit.
func (s *Switch) Connect(in int, inVC VC, out int, outVC VC) error {
	fail := func(why error) error {
		return fmt.Errorf("atm: connecting %v at port %d to %v at port %d: %w", inVC, in, outVC, out, why)
	}
	from, err := s.port(in)
	if err != nil {
		return fail(err)
	}
	to, err := s.port(out)
	if err != nil {
		return fail(err)
	}
	if inVC == (VC{}) || outVC == (VC{}) {
		return fail(fmt.Errorf("0/0 is no circuit"))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if to.out == nil {
		return fail(fmt.Errorf("nothing is attached to port %d", out))
	}
	slot := from.slot(inVC)
	if slot.Load() != nil {
		return fail(fmt.Errorf("%v is in use at port %d, disconnect it first", inVC, in))
	}
	slot.Store(&route{out: to.out, vc: outVC.word()})
	return nil
}

// Disconnect ends what Connect began for inVC at port in, and reports whether
// there was anything. A cell that is inside the switch in another goroutine may
// still come out after it returned.
func (s *Switch) Disconnect(in int, inVC VC) bool {
	p, err := s.port(in)
	if err != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return p.slot(inVC).Swap(nil) != nil
}

// slot is the place of the route of vc, made if need be. s.mu is held.
func (p *port) slot(vc VC) *atomic.Pointer[route] {
	vp := p.vps[vc.VPI].Load()
	if vp == nil {
		vp = new(vpTable)
		p.vps[vc.VPI].Store(vp)
	}
	t := vp[vc.VCI>>8].Load()
	if t == nil {
		t = new(vcTable)
		vp[vc.VCI>>8].Store(t)
	}
	return &t[vc.VCI&0xff]
}

// lookup is the route of vc or nil. It takes no lock.
func (p *port) lookup(vc VC) *route {
	if vp := p.vps[vc.VPI].Load(); vp != nil {
		if t := vp[vc.VCI>>8].Load(); t != nil {
			return t[vc.VCI&0xff].Load()
		}
	}
	return nil
}

// Receive passes a cell on that came in at the port: PT, CLP and payload as
// they are, VPI and VCI translated, GFC 0, a new HEC.
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
	c.setWord(r.vc | w&(7<<ptShift|clpBit))
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
	Dropped  [DropReasons]uint64 // discarded, by reason
}

// Counters reads the counters of port n; they are 0 if there is no such port.
func (s *Switch) Counters(n int) (pc PortCounters) {
	p, err := s.port(n)
	if err != nil {
		return pc
	}
	pc.Switched = p.switched.Load()
	for i := range pc.Dropped {
		pc.Dropped[i] = p.dropped[i].Load()
	}
	return pc
}
