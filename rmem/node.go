package rmem

import (
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"rmemrun/atm"
)

// Config is what a node is made of.
type Config struct {
	ID, Nodes int          // this node's number, 0 to Nodes-1, and how many there are: 1 to 65504
	Network   Network      // must not be nil
	Directory Directory    // must not be nil
	Observer  Observer     // nil: off
	Log       hclog.Logger // nil: none
}

// A Node is the network interface of one node: its segments and what may
// reach them, its circuits, and the operations of its guest.
type Node struct {
	id        int
	network   Network
	directory Directory
	observer  Observer
	log       hclog.Logger
	circuits  circuits
	peers     []atomic.Pointer[peer] // made when first needed
	dropped   [ReasonCount]atomic.Uint64
	shut      atomic.Bool
	gone      atomic.Int64 // how many other nodes are down

	mu         sync.Mutex // guards what follows; never held while the network or the directory is called
	down       []bool
	segments   []export // by their number
	free       []uint32 // numbers
	initiators map[*initiator]struct{}
	targets    map[*target]struct{}
	spaces     map[*Space]struct{}
	calls      map[uint32]call // by id: control messages that are not answered
	lastCall   uint32
}

// An export is a number for a segment, and how often it was used.
type export struct {
	segment    *segment // nil: free
	generation uint32
}

// A call is who waits for the REPLY to a control message.
type call interface {
	to() int
	// replied is called once: with the reply, or without when the peer is down.
	replied(m *message, e Error)
}

// New makes a node. The network may deliver cells to it from now on.
func New(cfg Config) *Node {
	n := &Node{
		id: cfg.ID, network: cfg.Network, directory: cfg.Directory, observer: cfg.Observer, log: cfg.Log,
		peers:      make([]atomic.Pointer[peer], cfg.Nodes),
		down:       make([]bool, cfg.Nodes),
		initiators: make(map[*initiator]struct{}),
		targets:    make(map[*target]struct{}),
		spaces:     make(map[*Space]struct{}),
		calls:      make(map[uint32]call),
	}
	if n.log == nil {
		n.log = hclog.NewNullLogger()
	}
	return n
}

// Receive takes a cell from the network. It may be called by several
// goroutines at once, but not for the same circuit.
func (n *Node) Receive(c *atm.Cell) {
	if n.shut.Load() {
		return
	}
	h, ok := c.Header()
	if !ok {
		n.drop(Event{Peer: -1, Cell: c, Reason: BadHEC})
		return
	}
	if !h.PT.User() {
		n.drop(Event{Peer: -1, Cell: c, Reason: NotUser})
		return
	}
	if a := n.circuits.lookup(h.VC); a != nil {
		a.receive(c, a.block)
		return
	}
	if p := int(h.VC.VCI) - atm.FirstUserVCI; h.VC.VPI == 0 && p >= 0 && p < len(n.peers) {
		n.peer(p).receive(c)
		return
	}
	n.drop(Event{Peer: -1, Cell: c, Reason: NoCircuit})
}

// PeerDown says that a node is gone for good: what waits for it ends with
// EDOWN, what it has imported is taken from it, and who waits for notifications though nobody is left
// to notify is told. The directory must know of it before.
func (n *Node) PeerDown(number int) {
	if number < 0 || number >= len(n.down) || number == n.id {
		return
	}
	n.mu.Lock()
	if n.down[number] {
		n.mu.Unlock()
		return
	}
	n.down[number] = true
	n.gone.Add(1)
	var initiators []*initiator
	for c := range n.initiators {
		if c.peer == number {
			initiators = append(initiators, c)
		}
	}
	var targets []*target
	for t := range n.targets {
		if t.peer == number {
			targets = append(targets, t)
			delete(n.targets, t)
			n.circuits.detach(t.vc)
		}
	}
	var calls []call
	for id, c := range n.calls {
		if c.to() == number {
			calls = append(calls, c)
			delete(n.calls, id)
		}
	}
	segments := n.live()
	n.mu.Unlock()

	for _, t := range targets {
		t.close()
	}
	for _, c := range initiators {
		c.shut(EDOWN, failed)
	}
	for _, c := range calls {
		c.replied(nil, EDOWN)
	}
	if n.alone() {
		for _, s := range segments {
			s.deserted()
		}
	}
}

// alone reports whether all other nodes are down. A node that never had others is
// not alone: its threads have each other.
func (n *Node) alone() bool {
	return len(n.down) > 1 && int(n.gone.Load()) == len(n.down)-1
}

// NewSpace makes an address space without segments and descriptors.
func (n *Node) NewSpace() *Space {
	s := &Space{node: n}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.spaces[s] = struct{}{}
	return s
}

// Close closes all spaces and receives no more. When it has returned, every request
// that had begun to take effect has been answered, so that none is reported as failed
// when the peers are told that the node is gone. It must not be called from within
// Receive.
func (n *Node) Close() {
	n.mu.Lock()
	spaces := make([]*Space, 0, len(n.spaces))
	for s := range n.spaces {
		spaces = append(spaces, s)
	}
	n.mu.Unlock()
	for _, s := range spaces {
		s.Close()
	}
	n.mu.Lock()
	n.shut.Store(true)
	calls := n.calls
	n.calls = make(map[uint32]call)
	targets := n.targets
	n.targets = make(map[*target]struct{})
	n.mu.Unlock()
	for _, c := range calls {
		c.replied(nil, EDOWN)
	}
	for t := range targets {
		t.finish()
	}
}

// Drops is how many cells and PDUs were discarded, by reason.
func (n *Node) Drops() (counts [ReasonCount]uint64) {
	for i := range counts {
		counts[i] = n.dropped[i].Load()
	}
	return counts
}

func (n *Node) drop(e Event) {
	n.dropped[e.Reason].Add(1)
	if n.observer != nil {
		observed := e
		observed.Kind, observed.Node = Dropped, n.id
		n.observer.Observe(&observed)
	}
}

// peer is what is known of a node, which is one of those there are.
func (n *Node) peer(number int) *peer {
	if p := n.peers[number].Load(); p != nil {
		return p
	}
	n.peers[number].CompareAndSwap(nil, newPeer(n, number))
	return n.peers[number].Load()
}

// assemblers holds buffers for blocks that are being received.
var assemblers = sync.Pool{New: func() any { return atm.NewReassembler(maxPDU) }}

// assemble adds a cell to the block at *a, and returns the block once it is whole. Its bytes
// are valid until recycle.
func (n *Node) assemble(a **atm.Reassembler, number int, c *atm.Cell) ([]byte, Reason) {
	if *a == nil {
		if n.peer(number).partial.Add(1) > maxPartial {
			n.peer(number).partial.Add(-1)
			return nil, Overflow
		}
		*a = assemblers.Get().(*atm.Reassembler)
	}
	pdu, whole, err := (*a).Add(c)
	if err != nil {
		return nil, BadPDU
	}
	if !whole {
		return nil, 0
	}
	return pdu.Payload, 0
}

// recycle gives back the buffer at *a, if there is one.
func (n *Node) recycle(a **atm.Reassembler, number int) {
	if *a == nil {
		return
	}
	(*a).Reset()
	assemblers.Put(*a)
	*a = nil
	n.peer(number).partial.Add(-1)
}

// enroll gives a segment a number and a generation.
func (n *Node) enroll(s *segment) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if k := len(n.free); k > 0 {
		s.record.Segment, n.free = n.free[k-1], n.free[:k-1]
	} else {
		s.record.Segment = uint32(len(n.segments))
		n.segments = append(n.segments, export{})
	}
	e := &n.segments[s.record.Segment]
	e.segment = s
	e.generation++
	s.record.Generation = e.generation
}

// retire ends a segment.
func (n *Node) retire(s *segment) {
	n.strike(s)
	s.revoke()
}

// strike takes the number away again.
func (n *Node) strike(s *segment) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.segments[s.record.Segment].segment = nil
	n.free = append(n.free, s.record.Segment)
}

// live is the segments there are. n.mu is held.
func (n *Node) live() (list []*segment) {
	for _, e := range n.segments {
		if e.segment != nil {
			list = append(list, e.segment)
		}
	}
	return list
}

// find is the segment r, or why there is none. n.mu is held.
func (n *Node) find(r Record) (*segment, Error) {
	if uint64(r.Segment) >= uint64(len(n.segments)) {
		return nil, ESTALE
	}
	e := n.segments[r.Segment]
	if e.segment == nil || e.generation != r.Generation {
		return nil, ESTALE
	}
	return e.segment, OK
}

// connected answers CONNECT: it believes nothing that p says of its rights or its circuit.
func (n *Node) connected(p *peer, cell *atm.Cell, m *message) {
	t, e := n.admit(p, m)
	if e == EINVAL {
		p.drop(cell, Stranger)
	} else {
		p.took(cell, m)
	}
	answer := message{op: OpReply, id: m.id, status: e.status()}
	if e == OK {
		answer.length, answer.rights = t.segment.size, t.rights
	}
	p.post(answer)
}

func (n *Node) admit(p *peer, m *message) (*target, Error) {
	if owner, ok := n.network.Peer(m.remote); !ok || owner != p.number {
		return nil, EINVAL
	}
	if m.remote.VPI == 0 && int(m.remote.VCI) < atm.FirstUserVCI+len(n.peers) {
		return nil, EINVAL // a control circuit, whatever the network says
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down[p.number] {
		return nil, EDOWN
	}
	s, e := n.find(Record{m.segment, m.generation})
	if e != OK {
		return nil, e
	}
	granted, e := s.rights.grant(m.rights)
	if e != OK {
		return nil, e
	}
	t := &target{node: n, peer: p.number, vc: m.remote, origin: m.origin.VCI, segment: s, rights: granted}
	if !n.circuits.attach(m.remote, t) {
		return nil, EINVAL
	}
	n.targets[t] = struct{}{}
	return t, OK
}

// disconnected answers DISCONNECT.
func (n *Node) disconnected(p *peer, cell *atm.Cell, m *message) {
	n.mu.Lock()
	var t *target
	if a := n.circuits.lookup(m.remote); a != nil && !a.block {
		t, _ = a.end.(*target)
	}
	if t == nil || t.peer != p.number {
		n.mu.Unlock()
		p.drop(cell, Stranger)
		return
	}
	delete(n.targets, t)
	n.circuits.detach(t.vc)
	n.mu.Unlock()
	p.took(cell, m)
	t.close()
	p.post(message{op: OpReply, id: m.id})
}

// replied takes REPLY to whoever waits for it.
func (n *Node) replied(p *peer, cell *atm.Cell, m *message) {
	n.mu.Lock()
	c := n.calls[m.id]
	if c == nil || c.to() != p.number {
		n.mu.Unlock()
		p.drop(cell, Unasked)
		return
	}
	delete(n.calls, m.id)
	n.mu.Unlock()
	p.took(cell, m)
	c.replied(m, statusError(m.status))
}

// call sends m, whose reply c gets; at once, without sending, if there can be none.
func (n *Node) call(c call, m message) {
	n.mu.Lock()
	if n.down[c.to()] || n.shut.Load() {
		n.mu.Unlock()
		c.replied(nil, EDOWN)
		return
	}
	for n.lastCall++; n.calls[n.lastCall] != nil; n.lastCall++ {
	}
	m.id = n.lastCall
	n.calls[m.id] = c
	n.mu.Unlock()
	n.peer(c.to()).post(m)
}

// adopt makes c the end of its circuit.
func (n *Node) adopt(c *initiator) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.circuits.attach(c.vc, c) {
		return false
	}
	n.initiators[c] = struct{}{}
	return true
}

// hangUp gives up a circuit: first here, then at the peer, then in the
// network, so that no cell of it comes to whoever gets its VCs next.
func (n *Node) hangUp(c *initiator) {
	n.mu.Lock()
	delete(n.initiators, c)
	n.circuits.detach(c.vc)
	n.mu.Unlock()
	n.call((*farewell)(c), message{op: OpDisconnect, remote: c.remote})
}

// forgo gives up a circuit that the peer does not know of.
func (n *Node) forgo(c *initiator) {
	n.mu.Lock()
	delete(n.initiators, c)
	n.circuits.detach(c.vc)
	n.mu.Unlock()
	n.network.Close(c.vc)
}

// A farewell is an initiator that waits for DISCONNECT to be answered.
type farewell initiator

func (f *farewell) to() int { return f.peer }

func (f *farewell) replied(*message, Error) { f.node.network.Close(f.vc) }
