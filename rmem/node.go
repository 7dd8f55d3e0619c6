package rmem

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"rmemrun/atm"
)

// Config is what a node is made of.
type Config struct {
	ID, Nodes int           // this node's number, 0 to Nodes-1, and how many there are: 1 to 65504
	Network   Network       // must not be nil
	Directory Directory     // must not be nil
	Observer  Observer      // nil: off
	Witness   func(*Effect) // is told what becomes of requests to this node's segments, with locks held, and must not call the node; nil: off
	Log       hclog.Logger  // nil: none
	Clock     atm.Clock     // nil: the real time

	// Silence is how long a node may leave what it is asked unanswered, however often it is asked, until all that waits for the
	// answer ends with EDOWN; and how long the network may have no way to any other node, until all that waits for a notification does.
	// 0: DefaultSilence.
	Silence time.Duration

	// Random is where the keys and the first sequence numbers of circuits are drawn from, by one goroutine at a time. nil: the operating system.
	Random rand.Source
}

// DefaultSilence is longer than any interruption that a network is expected to repair by itself (rerouting, a cable that is
// plugged in again), and short enough for a program to be told that its peer is gone.
const DefaultSilence = 10 * time.Second

// A Node is the network interface of one node: its segments and what may
// reach them, its circuits, and the operations of its guest.
type Node struct {
	id        int
	network   Network
	directory Directory
	observer  Observer
	witness   func(*Effect)
	log       hclog.Logger
	clock     atm.Clock
	silence   time.Duration
	random    rand.Source // guarded by mu
	circuits  circuits
	peers     []atomic.Pointer[peer] // made when first needed
	dropped   [ReasonCount]atomic.Uint64
	shut      atomic.Bool
	gone      atomic.Int64 // how many other nodes are down, or silent

	mu         sync.Mutex // guards what follows; never held while the network or the directory is called
	down       []bool
	segments   []export // by their number
	free       []uint32 // numbers
	initiators map[*initiator]struct{}
	targets    map[*target]struct{}
	spaces     map[*Space]struct{}
	calls      map[uint32]*calling // by id: control messages that are not answered
	lastCall   uint32

	unreachable map[int]unreachable // nodes that are not down
	patience    timer               // until one of them counts as silent
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
		id: cfg.ID, network: cfg.Network, directory: cfg.Directory, observer: cfg.Observer, witness: cfg.Witness, log: cfg.Log,
		clock: cfg.Clock, silence: cfg.Silence, random: cfg.Random,
		peers:      make([]atomic.Pointer[peer], cfg.Nodes),
		down:       make([]bool, cfg.Nodes),
		initiators: make(map[*initiator]struct{}),
		targets:    make(map[*target]struct{}),
		spaces:     make(map[*Space]struct{}),
		calls:      make(map[uint32]*calling),

		unreachable: make(map[int]unreachable),
	}
	if n.log == nil {
		n.log = hclog.NewNullLogger()
	}
	if n.clock == nil {
		n.clock = atm.NewRealClock()
	}
	if n.random == nil {
		n.random = system{}
	}
	if n.silence == 0 {
		n.silence = DefaultSilence
	}
	n.patience = timer{clock: n.clock, expire: n.losePatience}
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
	if u, ok := n.unreachable[number]; ok {
		n.forgetUnreachable(number, u)
	}
	n.down[number] = true
	n.gone.Add(1)
	var initiators []*initiator
	for c := range n.initiators {
		if c.peer.number == number {
			initiators = append(initiators, c)
		}
	}
	var targets []*target
	for t := range n.targets {
		if t.peer.number == number {
			targets = append(targets, t)
			delete(n.targets, t)
			n.circuits.detach(t.vc)
		}
	}
	var calls []*calling
	for id, c := range n.calls {
		if c.to() == number {
			calls = append(calls, c)
			delete(n.calls, id)
			c.timer.stop()
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
		desert(segments)
	}
}

// alone reports whether all other nodes are down, or silent. A node that never had others is
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
	n.calls = make(map[uint32]*calling)
	targets := n.targets
	n.targets = make(map[*target]struct{})
	for _, c := range calls {
		c.timer.stop()
	}
	clear(n.unreachable)
	n.patience.stop()
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

// assemble adds a cell of p to the block at *a, and returns the block once it is whole; its payload, nil before,
// is valid until recycle.
func (n *Node) assemble(a **atm.Reassembler, p *peer, c *atm.Cell) (atm.PDU, Reason) {
	if *a == nil {
		if !p.reserve() {
			return atm.PDU{}, Overflow
		}
		*a = assemblers.Get().(*atm.Reassembler)
	}
	pdu, whole, err := (*a).Add(c)
	switch {
	case err != nil:
		n.recycle(a, p)
		return atm.PDU{}, BadPDU
	case !whole:
		return atm.PDU{}, 0
	}
	return pdu, 0
}

// recycle gives back the buffer at *a, if there is one.
func (n *Node) recycle(a **atm.Reassembler, p *peer) {
	if *a == nil {
		return
	}
	(*a).Reset()
	assemblers.Put(*a)
	*a = nil
	p.partial.Add(-1)
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
		answer.length, answer.rights, answer.mark = t.segment.size, t.rights, t.mine
	}
	p.post(answer)
}

func (n *Node) admit(p *peer, m *message) (*target, Error) {
	if m.version != Version {
		n.log.Warn("a node of another protocol version was refused", "node", n.id, "peer", p.number, "its version", m.version, "ours", Version)
		return nil, EINVAL
	}
	if owner, ok := n.network.Peer(m.remote); !ok || owner != p.number {
		return nil, EINVAL
	}
	if m.remote.VPI == 0 && int(m.remote.VCI) < atm.FirstUserVCI+len(n.peers) {
		return nil, EINVAL // a control circuit, whatever the network says
	}
	whole := n.frames(m.remote)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down[p.number] {
		return nil, EDOWN
	}
	if a := n.circuits.lookup(m.remote); a != nil && !a.block {
		t, ok := a.end.(*target)
		if ok && t.peer == p && t.connect == m.id {
			return t, OK // the REPLY was lost
		}
		if ok && t.peer == p && int32(m.id-t.connect) > 0 { // the DISCONNECT was lost: the VC is the peer's, who uses it again
			delete(n.targets, t)
			n.circuits.detach(t.vc)
			defer t.close() // before n.mu is released: it takes neither that nor, as nothing is under way, others for long
		}
	}
	s, e := n.find(Record{m.segment, m.generation})
	if e != OK {
		return nil, e
	}
	granted, e := s.rights.grant(m.rights)
	if e != OK {
		return nil, e
	}
	t := &target{
		node: n, peer: p, vc: m.remote, origin: m.origin.VCI, connect: m.id, segment: s, rights: granted,
		mine: n.newMark(), theirs: m.mark, parts: parts{whole: whole},
	}
	if !n.circuits.attach(m.remote, t) {
		return nil, EINVAL
	}
	n.targets[t] = struct{}{}
	return t, OK
}

// disconnected answers DISCONNECT, again if it comes again.
func (n *Node) disconnected(p *peer, cell *atm.Cell, m *message) {
	owner, ok := n.network.Peer(m.remote)
	n.mu.Lock()
	var t *target
	if a := n.circuits.lookup(m.remote); a != nil {
		t, _ = a.end.(*target)
		ok = !a.block && t != nil && t.peer == p
	} else {
		ok = ok && owner == p.number
	}
	if !ok {
		n.mu.Unlock()
		p.drop(cell, Stranger)
		return
	}
	if t != nil && t.connect == m.segment {
		delete(n.targets, t)
		n.circuits.detach(t.vc)
	} else {
		t = nil // it is gone, and the VC perhaps somebody else's
	}
	n.mu.Unlock()
	p.took(cell, m)
	if t != nil {
		t.close()
	}
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
	if c.timed && c.tries == 0 {
		p.path.measure(n.clock.Now() - c.began)
	}
	c.timer.stop()
	n.mu.Unlock()
	p.took(cell, m)
	if m.version != Version {
		n.log.Error("a node of another protocol version was not understood",
			"node", n.id, "peer", p.number, "its version", m.version, "ours", Version)
		c.replied(m, EDOWN)
		return
	}
	c.replied(m, statusError(m.status))
}

// A calling is a control message that is sent again until it is answered.
//
//	        time-out: sent again
//	           +------+
//	           v      |
//	sent ----> waiting ------> answered: REPLY
//	              |
//	              +----------> given up: silent for too long, or the peer is down
type calling struct {
	call
	node    *Node
	message message
	began   time.Duration
	timed   bool // began is known: the REPLY did not come at once
	tries   int
	timer   timer
}

// call sends m until it is answered, and gives the reply to c; at once, without sending, if there can be none.
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
	if i, ok := c.(*importing); ok {
		i.circuit.connect = m.id
	}
	k := &calling{call: c, node: n, message: m}
	k.timer = timer{clock: n.clock, expire: k.expire}
	n.calls[m.id] = k
	n.mu.Unlock()

	p := n.peer(c.to())
	p.post(m)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.calls[m.id] == k && k.timer.cancel == nil {
		k.began, k.timed = n.clock.Now(), true
		k.timer.set(k.began, k.began+p.path.timeout(0))
	}
}

// expire is called by the timer.
func (k *calling) expire() {
	n := k.node
	n.mu.Lock()
	k.timer.cancel = nil
	if n.calls[k.message.id] != k {
		n.mu.Unlock()
		return
	}
	now := n.clock.Now()
	if now-k.began >= n.silence {
		delete(n.calls, k.message.id)
		n.mu.Unlock()
		n.log.Warn("a node does not answer", "node", n.id, "peer", k.to(), "asked to", k.message.op.String(), "silent for", n.silence)
		k.replied(nil, EDOWN)
		return
	}
	k.tries++
	p := n.peer(k.to())
	k.timer.set(now, min(now+p.path.timeout(k.tries), k.began+n.silence))
	n.mu.Unlock()
	p.post(k.message)
}

// adopt makes c the end of its circuit, and draws its mark.
func (n *Node) adopt(c *initiator) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	c.mine = n.newMark()
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
	n.call(farewell{c}, message{op: OpDisconnect, segment: c.connect, remote: c.remote})
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
type farewell struct{ circuit *initiator }

func (f farewell) to() int { return f.circuit.peer.number }

func (f farewell) replied(*message, Error) { f.circuit.node.network.Close(f.circuit.vc) }
