package join

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"rmemrun/atm"
	"rmemrun/atm/link"
	"rmemrun/rmem"
)

// A Site is what the peer's messages are about: the directory of this process and its nodes.
type Site interface {
	// Publish makes a segment of one of the peer's nodes known, Withdraw unknown.
	Publish(node int, name string, r rmem.Record) rmem.Error
	Withdraw(node int, name string)
	// Ended says that the guest of a node of the peer's has ended, once. The node goes on to answer until Left.
	Ended(node int)
	// Left says that a node of the peer's is gone, once, after Ended.
	Left(node int)
}

// Virtual paths of the trunk.
const (
	trunkListener = 0 // circuits that the listener has opened
	trunkCaller   = 1 // those of the caller
	trunkControl  = 2 // from here on: control circuits, which need no message
)

// maxRecords is how many segments a peer may have published at once.
const maxRecords = 1 << 16

// A Trunk is the link to the other process, with everything that goes over it. [Listen] and [Dial] make it.
type Trunk struct {
	log     hclog.Logger
	clock   atm.Clock
	secret  []byte
	session uint64
	caller  bool
	first   int // of the nodes here
	count   int
	peers   int // nodes there

	form string // of the link: "udp", "bare", "tcp"
	link link.Link
	sw   *atm.Switch // port 0 is the gate to the link, port 1+i that of node first+i
	gate gate
	site Site

	sending   sync.Mutex // the signalling VC's cells are sent PDU by PDU
	segmenter atm.Segmenter
	cell      atm.Cell

	incoming *atm.Reassembler // the link's goroutine's
	damaged  atomic.Uint64    // see Report
	foreign  atomic.Uint64
	channel  *channel
	started  atomic.Bool
	records  map[record]struct{} // published by the peer; the link's goroutine's
	ended    sync.Once           // the site has been told
	closing  chan struct{}       // closed by Close
	alone    chan struct{}       // closed when all nodes of the peer have left
	watching sync.WaitGroup

	oam loopbacks

	mu       sync.Mutex
	joined   []*Port // by node here
	finished []bool  // by the peer's node: its guest has ended
	gone     []bool  // by the peer's node
	circuits map[uint32]*circuit
	byPort   map[portVC]*circuit
	lastID   uint32
	trunkVCs *vcis   // free on the trunk, of the circuits that this process opens
	ports    []*vcis // by node here: free at its port
	remotes  []*vcis // by node there: free at its port
}

// A record is what a segment is known by.
type record struct {
	node int
	name string
}

// A circuit leads from a node here to a node there, or the other way round.
type circuit struct {
	id     uint32
	here   int    // node
	there  int    // node
	local  atm.VC // lower VC at the port of the node here
	trunk  atm.VC // lower VC on the trunk
	mine   bool   // opened by this process
	remote atm.VC // at the port of the node there, if mine
}

// A portVC is a VC at a node's port.
type portVC struct {
	node int
	vc   atm.VC
}

// newTrunk makes a trunk for which the greeting is over, but for its link.
func newTrunk(cfg *Config, caller bool, mine, peers int, session uint64) *Trunk {
	t := &Trunk{
		log: cfg.Log, clock: cfg.Clock, secret: cfg.Secret, session: session, caller: caller, count: mine, peers: peers,
		incoming: atm.NewReassembler(maxFrame), closing: make(chan struct{}), alone: make(chan struct{}),
		finished: make([]bool, peers), gone: make([]bool, peers), circuits: make(map[uint32]*circuit), byPort: make(map[portVC]*circuit),
		joined: make([]*Port, mine), trunkVCs: newVCIs(), records: make(map[record]struct{}),
	}
	if caller {
		t.first = peers
	}
	for range mine {
		t.ports = append(t.ports, newVCIs())
	}
	for range peers {
		t.remotes = append(t.remotes, newVCIs())
	}
	t.sw = atm.NewSwitch(1 + mine)
	_ = t.sw.Attach(0, &t.gate) // of a port that exists, once: no error
	t.channel = &channel{
		session: session, clock: cfg.Clock, transmit: t.transmit, deliver: t.deliver,
		acked: t.gate.acknowledged, down: t.lose,
	}
	return t
}

// First is the number of the first node of this process, Total how many nodes the job has.
func (t *Trunk) First() int { return t.first }

// Total is how many nodes there are in both processes.
func (t *Trunk) Total() int { return t.count + t.peers }

// peerFirst is the number of the peer's first node.
func (t *Trunk) peerFirst() int {
	if t.caller {
		return 0
	}
	return t.count
}

// isPeers reports whether a node is one of the peer's.
func (t *Trunk) isPeers(node int) bool { return node >= t.peerFirst() && node < t.peerFirst()+t.peers }

// Link is the link that the trunk goes over.
func (t *Trunk) Link() link.Link { return t.link }

// goOver makes l, a link of that form, the link that the trunk goes over, before anything else.
func (t *Trunk) goOver(form string, l link.Link) { t.form, t.link, t.gate.link = form, l, l }

// Switch is the switch between the link, its port 0, and the nodes of this process in their order.
func (t *Trunk) Switch() *atm.Switch { return t.sw }

// Start connects the nodes of this process to those of the other; all have their ports by now. From then on the peer's messages are
// taken. If the peer is lost, all its nodes have left.
func (t *Trunk) Start(site Site) error {
	t.site = site
	for i := range t.count {
		for j := range t.peers {
			here, there := t.first+i, t.peerFirst()+j
			if err := t.connect(1+i, atm.VC{VCI: rmem.ControlVCI(there)}, t.controlVC(here, there)); err != nil {
				return err
			}
		}
	}
	t.started.Store(true)
	t.channel.start()
	t.watching.Go(func() {
		select {
		case <-t.link.Done():
			err := t.link.Err()
			if err == nil {
				err = errors.New("the link has been closed")
			}
			t.channel.end(fmt.Errorf("the link to the peer has ended: %w", err))
		case <-t.closing:
		}
	})
	return nil
}

// connect connects a VC of a port of the switch with one of the trunk, in both directions or not at all.
func (t *Trunk) connect(port int, local, trunk atm.VC) error {
	if err := t.sw.Connect(port, local, 0, trunk); err != nil {
		return err
	}
	if err := t.sw.Connect(0, trunk, port, local); err != nil {
		t.sw.Disconnect(port, local)
		return err
	}
	return nil
}

// controlVC is the VC on the trunk of the control circuit between two nodes. Every pair has one, in the order of the nodes.
func (t *Trunk) controlVC(here, there int) atm.VC {
	n := (here-t.first)*t.peers + there - t.peerFirst()
	if t.caller {
		n = (there-t.peerFirst())*t.count + here - t.first
	}
	const channels = 1<<16 - atm.FirstUserVCI
	return atm.VC{VPI: uint8(trunkControl + n/channels), VCI: uint16(atm.FirstUserVCI + n%channels)}
}

// over reports whether the other process has ended, or is lost.
func (t *Trunk) over() bool {
	select {
	case <-t.alone:
		return true
	default:
		return t.channel.over()
	}
}

// Receive takes a cell from the link.
func (t *Trunk) Receive(c *atm.Cell) {
	if c.VC() == signallingVC {
		t.signalling(c)
		return
	}
	if t.started.Load() {
		t.sw.Port(0).Receive(c)
	}
}

// signalling takes a cell of the signalling VC.
func (t *Trunk) signalling(c *atm.Cell) {
	if _, ok := c.Header(); !ok {
		t.damaged.Add(1)
		return
	}
	pdu, ok, err := t.incoming.Add(c)
	switch {
	case err != nil:
		t.damaged.Add(1) // it will be sent again
	case !ok:
	case isFrame(pdu.Payload, t.session):
		if t.started.Load() {
			t.channel.receive(pdu.Payload)
		}
	default:
		g, ok, authentic := parseGreeting(pdu.Payload, t.secret)
		if !ok || !authentic || g.cookie != t.session {
			t.foreign.Add(1)
		} else if !t.caller && g.kind == confirm { // the WELCOME was lost
			t.welcome(g.nonce)
		}
	}
}

// welcome tells the caller that he is in.
func (t *Trunk) welcome(nonce uint64) {
	g := greeting{version: Version, kind: welcome, nodes: uint16(t.count), nonce: nonce, cookie: t.session}
	c := g.cell(t.secret)
	t.sending.Lock()
	defer t.sending.Unlock()
	t.link.Receive(c)
}

// transmit sends a frame.
func (t *Trunk) transmit(frame []byte) {
	t.sending.Lock()
	defer t.sending.Unlock()
	if err := t.segmenter.Begin(atm.Header{VC: signallingVC}, 0, nil, frame); err != nil {
		return // no frame is that long
	}
	for t.segmenter.Next(&t.cell) {
		t.link.Receive(&t.cell)
	}
}

// tell sends a message to the peer.
func (t *Trunk) tell(m message) (number uint32, ok bool) { return t.channel.send(m.append(nil)) }

// deliver does what a message says. An error says that no peer that keeps to the protocol sends it.
func (t *Trunk) deliver(b []byte) error {
	m, err := parseMessage(b)
	if err != nil {
		return err
	}
	if m.kind == closeCircuit {
		t.closed(m.id)
		return nil
	}
	node := int(m.node)
	if !t.isPeers(node) {
		return fmt.Errorf("a message about node %d, which is not its own", node)
	}
	if t.hasLeft(node) { // what was under way within it
		return nil
	}
	switch r := (record{node, m.name}); m.kind {
	case publish:
		if len(t.records) == maxRecords {
			return fmt.Errorf("more than %d segments published", maxRecords)
		}
		if e := t.site.Publish(node, m.name, m.record); e != rmem.OK {
			return fmt.Errorf("segment %q of node %d published: %w", m.name, node, e)
		}
		t.records[r] = struct{}{}
	case withdraw:
		delete(t.records, r)
		t.site.Withdraw(node, m.name)
	case leave:
		for r := range t.records {
			if r.node == node {
				delete(t.records, r)
			}
		}
		t.left(node)
	case ended:
		t.finish(node)
	case open:
		return t.accept(m)
	}
	return nil
}

// hasLeft reports whether a node of the peer's has left.
func (t *Trunk) hasLeft(node int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.gone[node-t.peerFirst()]
}

// finish notes that the guest of a node of the peer's has ended, and tells the site.
func (t *Trunk) finish(node int) {
	t.mu.Lock()
	was := t.finished[node-t.peerFirst()]
	t.finished[node-t.peerFirst()] = true
	t.mu.Unlock()
	if !was {
		t.site.Ended(node)
	}
}

// left notes that a node of the peer's has left, and tells the site. Circuits that it has opened are gone; those to it end when
// those who have opened them close them.
func (t *Trunk) left(node int) {
	t.mu.Lock()
	was := t.gone[node-t.peerFirst()]
	t.gone[node-t.peerFirst()] = true
	for _, c := range t.circuits {
		if c.there == node && !c.mine {
			t.remove(c)
		}
	}
	if !was && !slices.Contains(t.gone, false) {
		close(t.alone)
	}
	t.mu.Unlock()
	if !was {
		t.finish(node)
		t.site.Left(node)
	}
}

// lose ends everything, because the peer is lost.
func (t *Trunk) lose(why error) {
	t.ended.Do(func() {
		alive := false
		for node := t.peerFirst(); node < t.peerFirst()+t.peers; node++ {
			alive = alive || !t.hasLeft(node)
		}
		if alive {
			t.log.Error("the other rmemrun is lost, its nodes are down", "error", why)
		} else {
			t.log.Debug("the other rmemrun has ended", "error", why)
		}
		for node := t.peerFirst(); node < t.peerFirst()+t.peers; node++ {
			t.left(node)
		}
	})
}

// Ended tells the peer that the guest of a node of this process has ended, and that the node answers for a while.
func (t *Trunk) Ended(node int) { t.tell(message{kind: ended, node: uint16(node)}) }

// Leave tells the peer that a node of this process has left.
func (t *Trunk) Leave(node int) { t.tell(message{kind: leave, node: uint16(node)}) }

// goodbye is how long Close waits for the peer to acknowledge what it has been told last, unless none of its nodes is left to care.
const goodbye = 2 * time.Second

// Close ends the trunk, after all nodes of this process have left.
func (t *Trunk) Close() error {
	if t.started.Load() {
		if err := t.channel.drain(goodbye, t.alone); err != nil {
			t.log.Warn("the other rmemrun may not have heard that this one has ended", "error", err)
		}
		t.channel.close()
	}
	close(t.closing)
	t.watching.Wait()
	t.closeOAM()
	err := t.link.Close()
	t.log.Info("the link to the other rmemrun has ended", t.Report().log()...)
	if n := t.link.Counters().Strangers; n > 0 {
		t.log.Warn("datagrams of strangers came to the link to the other rmemrun, and were dropped", "datagrams", n, "at", t.link.Local())
	}
	return err
}
