package runtime

import (
	"errors"
	"fmt"
	goruntime "runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	rings "rmemrun/ring"
	"rmemrun/rmem"
	"rmemrun/trap"
)

// Bypasses are the circuits of a run that have rings: both nodes are in this process, and nothing happens to cells between them. Instructions that
// do not trap go by the ring; those that trap go the ordinary way, after the ring has been served dry.
//
// A bypass is made when a descriptor has been used some times, on the importer's thread. The exporter's guest gets its half when it traps next, on its own
// engine's thread, for memory can be mapped into a guest only then; until it does, and if that cannot be done, the agent alone serves the ring.
//
//	                   exporter traps                        revoked
//	absent, arriving ──────────────────▶ installing ──▶ installed ──▶ absent
//	   │                                     │              │
//	   │ closed: its place is free           │ closed       │ closed
//	   └─────────────────────────────────────┴──────────────┴──▶ leaving, until the exporter's stubs are known to be out of it
//
// # Locks
//
// bypasses.mu guards lists, stages and who has which place, and is held for assignments only; bypass.mu is taken with it held, or with locks of
// rmem, and is the last. What belongs to a guest's own half is its engine's thread's.
type bypasses struct {
	log        hclog.Logger
	network    *fabric
	nodes      []*node
	bell       *rings.Bell
	processors *processors
	agent      *agent
	testimony  *testimony // nil: nobody is told what becomes of requests
	fenced     bool       // there is no barrier
	joined     bool       // another rmemrun runs a part of the job
	beyond     party      // has the segments that circuits of a joined run lead to

	mu      sync.Mutex
	parties map[*rmem.Space]*party
}

// A party is what an address space has of rings.
type party struct {
	space  *trap.Space
	usage  *usage
	board  *rings.Board // nil: it has none yet
	belled bool         // the bell is mapped
	outs   map[rmem.Desc]*bypass
	places map[uint32]*bypass // the same, by place in the board
	loops  int                // how many of outs lead to segments of this address space
	uses   map[rmem.Desc]int  // of descriptors that have none, by instructions that trapped
	staging
	ins   [rings.MaxIns]*bypass
	count int // of ins that were ever used

	inhibited map[rmem.Seg]bool
	kept      map[rmem.Seg]bool // an event waits in the node that could not be delivered

	changed atomic.Bool // something is arriving or leaving

	// Guarded by bypasses.mu.
	dead     bool
	retired  bool
	pairs    []*pair // as importer
	inward   map[*bypass]struct{}
	arriving []*bypass
	leaving  []*bypass
	doomed   []*pair // that are to be unmapped
}

// A pair is the memory of some rings between two guests, and where it is in them; 0: nowhere.
type pair struct {
	*rings.Pair
	importer, exporter *party
	used               [rings.Batch]bool // guarded by bypasses.mu

	requests, replies     uint64 // in the importer
	requestsTo, repliesTo uint64 // in the exporter
}

// A bypass is one circuit with a ring.
type bypass struct {
	of       *bypasses
	desc     rmem.Desc
	importer *party
	exporter *party
	circuit  rmem.Circuit
	server   server
	out      *rings.Out
	pair     *pair
	place    int // in the pair
	start    uint64
	charge   charge
	failing  sync.Once // as the ring is broken

	// Guarded by bypasses.mu.
	stage  stage
	closed bool

	mu     sync.Mutex
	failed bool
	rung   bool // notifications of the segment wait in the node
	kept   bool // so does one that could not be delivered
	in     *rings.In
	index  int // of in
}

// A stage is how far a bypass has come in the exporter.
type stage uint8

const (
	absent stage = iota
	arriving
	installing
	installed
)

// newBypasses makes the place for the rings of a run. It has to be closed.
func newBypasses(j *Job, nodes int, network *fabric, testimony *testimony, log hclog.Logger) (*bypasses, error) {
	bell, err := rings.NewBell()
	if err != nil {
		return nil, err
	}
	k := &bypasses{log: log, network: network, bell: bell, testimony: testimony, parties: map[*rmem.Space]*party{}, joined: j.Join != nil}
	k.beyond = party{retired: true, inward: map[*bypass]struct{}{}}
	k.processors = newProcessors(j.CPUs, j.Poll, nodes, k.wait)
	barrier := rings.Barrier
	if err := barrier(); err != nil {
		log.Debug("no membarrier(2), so guests fence", "error", err)
		k.fenced, barrier = true, nil
	}
	k.agent = newAgent(bell, k.processors, barrier)
	return k, nil
}

// close ends the agent. No guest runs any more.
func (k *bypasses) close() {
	k.agent.stop()
	k.testimony.stop()
	k.bell.Close()
}

// wait tells all guests how to wait.
func (k *bypasses) wait(turns, yields uint32) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, g := range k.parties {
		if g.board != nil {
			g.setPatience(turns, yields)
		}
	}
}

func (g *party) setPatience(turns, yields uint32) {
	dwell := uint32(0)
	if turns > 0 { // it may spin
		dwell = dwellTurns
	}
	g.board.SetPatience(turns, dwell, yields)
}

// begin makes a party of a new address space.
func (k *bypasses) begin(s *trap.Space, sp *space) {
	g := &party{
		space: s, usage: k.processors.add(s.PID),
		outs: map[rmem.Desc]*bypass{}, uses: map[rmem.Desc]int{}, places: map[uint32]*bypass{}, inward: map[*bypass]struct{}{},
		inhibited: map[rmem.Seg]bool{}, kept: map[rmem.Seg]bool{},
	}
	sp.party = g
	k.mu.Lock()
	defer k.mu.Unlock()
	k.parties[sp.Space] = g
}

// provide gives the guest a board, if it has none.
func (k *bypasses) provide(g *party) error {
	if g.board != nil {
		return nil
	}
	b, err := rings.NewBoard()
	if err != nil {
		return err
	}
	if k.fenced {
		b.SetFenced()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	g.board = b
	g.board.SetNews(g.changed.Load())
	g.tellShared()
	g.setPatience(k.processors.spin.Load(), k.processors.yields.Load())
	return nil
}

// Reasons why a descriptor has no ring.
var (
	errNotPlain  = errors.New("something happens to cells on the way, or somebody watches them")
	errElsewhere = errors.New("the segment is in no address space that can have rings")
	errPlace     = errors.New("the descriptor's number is too high")
	errRetired   = errors.New("the program keeps to traps")
)

// usesBefore is how often a descriptor is used by instructions that trap before it gets a ring: memory has to be mapped into two guests for
// one, which takes as long as some traps.
const usesBefore = 3

// used takes note that a descriptor without a ring is used, and gives it one in time.
func (k *bypasses) used(c *trap.Call, n *node, sp *space, d rmem.Desc) {
	uses := sp.party.uses
	if _, known := uses[d]; !known {
		if _, e := sp.Reach(d); e != rmem.OK {
			return // there is no such descriptor
		}
	}
	if uses[d]++; uses[d] == usesBefore {
		k.open(c, n, sp, d)
	}
}

// open gives a descriptor a ring, if that can be.
func (k *bypasses) open(c *trap.Call, n *node, sp *space, d rmem.Desc) {
	if err := k.tryOpen(c, n, sp, d); err != nil {
		k.log.Debug("a descriptor has no ring", "node", n.id, "pid", c.Thread.PID(), "descriptor", int32(d), "reason", err)
	}
}

func (k *bypasses) tryOpen(c *trap.Call, n *node, sp *space, d rmem.Desc) error {
	g, place := sp.party, uint32(d)&0xffff
	if place >= rings.MaxOuts {
		return errPlace
	}
	reach, e := sp.Reach(d)
	if e != rmem.OK {
		return errElsewhere
	}
	if err := k.provide(g); err != nil {
		return err
	}
	b := &bypass{of: k, desc: d, importer: g, out: g.board.Out(int(place))}
	if e := k.serve(n, sp, b, reach.Node); e != nil {
		return e
	}
	if err := k.attach(c, b); err != nil {
		b.server.Close()
		return err
	}
	g.outs[d], g.places[place] = b, b
	if b.loop() {
		g.loops++
	}
	b.start = b.ring().Head()
	b.goLive()
	k.agent.add(&b.charge)
	return nil
}

func (b *bypass) ring() *rings.Ring { return b.pair.Ring(b.place) }

// attach finds a ring for b, maps it into the importer, and has the exporter map it.
func (k *bypasses) attach(c *trap.Call, b *bypass) error {
	if err := k.mapBell(c, b.importer); err != nil {
		return err
	}
	k.mu.Lock()
	if b.exporter = k.parties[b.circuit.Space]; k.joined {
		b.exporter = &k.beyond
	}
	switch {
	case b.exporter == nil || b.exporter.dead || b.circuit.Segment < 0 && !k.joined:
		k.mu.Unlock()
		return errElsewhere
	case b.importer.retired:
		k.mu.Unlock()
		return errRetired
	}
	found := k.takePlace(b)
	k.mu.Unlock()
	witness, _ := b.server.(*witnessed)
	if !found {
		p, err := k.newPair(c, b.importer, b.exporter, witness != nil)
		if err != nil {
			return err
		}
		k.mu.Lock()
		b.importer.pairs = append(b.importer.pairs, p)
		k.takePlace(b)
		k.mu.Unlock()
	}
	b.ring().Reset(b.server)
	b.charge = charge{ring: b.ring(), out: b.out, broken: b.broken}
	k.mu.Lock()
	defer k.mu.Unlock()
	x := b.exporter
	if x.dead { // meanwhile
		if p := k.releasePlace(b); p != nil {
			p.doom()
		}
		return errElsewhere
	}
	if witness != nil {
		witness.begin(b.ring())
	}
	x.inward[b] = struct{}{}
	if !x.retired && !k.testimony.agentServes() {
		b.stage = arriving
		x.arriving = append(x.arriving, b)
		x.tell(true)
	}
	return nil
}

// takePlace takes a free ring between the two guests; false: there is none. k.mu is held.
func (k *bypasses) takePlace(b *bypass) bool {
	for _, p := range b.importer.pairs {
		if i := slices.Index(p.used[:], false); i >= 0 && p.exporter == b.exporter {
			p.used[i] = true
			b.pair, b.place = p, i
			return true
		}
	}
	return false
}

// releasePlace gives the ring back. If one of the guests is gone and this was the last one, it returns the pair, which has to be doomed. k.mu is held.
func (k *bypasses) releasePlace(b *bypass) *pair {
	p := b.pair
	p.used[b.place] = false
	if !p.importer.dead && !p.exporter.dead || slices.Contains(p.used[:], true) {
		return nil
	}
	p.importer.pairs = slices.DeleteFunc(p.importer.pairs, func(q *pair) bool { return q == p })
	return p
}

// newPair makes rings between two guests and maps them into the importer. If they are tapped, their servers have to show what was replied.
func (k *bypasses) newPair(c *trap.Call, importer, exporter *party, tapped bool) (*pair, error) {
	newMemory := rings.NewPair
	if tapped {
		newMemory = rings.NewTappedPair
	}
	memory, err := newMemory()
	if err != nil {
		return nil, err
	}
	p := &pair{Pair: memory, importer: importer, exporter: exporter}
	fd, length := p.Requests()
	if p.requests, err = c.Space.MapFile(fd, 0, length, true); err != nil {
		p.Close()
		return nil, err
	}
	fd, length = p.Shown()
	if p.replies, err = c.Space.MapFile(fd, 0, length, false); err != nil {
		c.Space.UnmapFile(p.requests, length)
		p.Close()
		return nil, err
	}
	return p, nil
}

// unmap takes the rings away from one of the two guests, whose instruction c is.
func (p *pair) unmap(c *trap.Call) {
	requests, replies := p.requests, p.replies
	if c.Space == p.exporter.space {
		requests, replies = p.requestsTo, p.repliesTo
	}
	for _, m := range []struct{ addr, length uint64 }{{requests, rings.RequestsLength}, {replies, rings.RepliesLength}} {
		if m.addr != 0 {
			c.Space.UnmapFile(m.addr, m.length)
		}
	}
}

// mapBell maps the bell into a guest.
func (k *bypasses) mapBell(c *trap.Call, g *party) error {
	if g.belled {
		return nil
	}
	fd, length := k.bell.File()
	addr, err := c.Space.MapFile(fd, 0, length, false)
	if err != nil {
		return err
	}
	g.belled = true
	g.board.SetBell(addr)
	return nil
}

// goLive lets the importer's stubs use the ring.
func (b *bypass) goLive() {
	o, c := b.out, &b.circuit
	o.Handle, o.Rights, o.Limit = uint32(b.desc), uint32(c.Rights), c.Limit
	o.Header0, o.Header1 = words(uint64(c.Requests))
	o.Reply0, o.Reply1 = words(uint64(c.Replies))
	o.Key, o.ReplyKey, o.Node = c.RequestKey, c.ReplyKey, uint32(c.Exporter)
	o.Requests = b.pair.requests + rings.RequestsOffset(b.place)
	o.Replies = b.pair.replies + rings.RepliesOffset(b.place)
	o.Index = uint32(b.desc) & 0xffff
	o.Attend(false)
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.failed {
		o.SetState(rings.Live)
	}
}

// words are the header of a cell as words 0 and 1 of a slot have it.
func words(octets uint64) (uint64, uint64) { return octets << 40, octets >> 24 }

// Refused is an rmem.Watcher's.
func (b *bypass) Refused(waits bool) { b.out.SetErrors(waits) }

// Rung is an rmem.Watcher's.
func (b *bypass) Rung(wait bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rung = wait
	b.tellEvents()
}

// tellEvents tells the exporter's stubs whether notifications wait that come before others. b.mu is held.
func (b *bypass) tellEvents() {
	if b.in != nil {
		b.in.SetEvents(b.rung || b.kept)
	}
}

// Failed is an rmem.Watcher's.
func (b *bypass) Failed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed = true
	b.out.SetState(rings.Free)
}

// broken fails the circuit, as a guest has overwritten what is not its own. Of several who find that, each for itself, the first does, and the others wait until
// it has: a fence that comes next has to find the error.
func (b *bypass) broken() {
	b.failing.Do(func() {
		b.server.Fail()
		b.of.log.Warn("a ring is broken: its circuit fails", "from", b.circuit.Importer, "to", b.circuit.Exporter, "descriptor", int32(b.desc))
	})
}

// tell says that something has arrived or left, or that all of it is dealt with: a guest that looks for requests, and so has no other reason to
// trap, traps once. k.mu is held.
func (g *party) tell(news bool) {
	g.changed.Store(news)
	if g.board != nil && !g.dead {
		g.board.SetNews(news)
	}
}

// update puts into the exporter's board what has arrived, and frees what has left. It is the exporter that has trapped.
func (k *bypasses) update(c *trap.Call, sp *space) {
	g := sp.party
	k.mu.Lock()
	g.tell(false)
	come, gone, doomed := g.arriving, g.leaving, g.doomed
	g.arriving, g.leaving, g.doomed = nil, nil, nil
	for _, b := range come {
		b.stage = installing
	}
	k.mu.Unlock()
	if len(gone) > 0 || len(doomed) > 0 {
		c.Space.Settle()
	}
	for _, b := range gone {
		g.vacate(b)
		k.finish(b)
	}
	for _, p := range doomed {
		p.unmap(c)
	}
	for _, b := range come {
		if err := k.install(c, g, b); err != nil {
			k.log.Debug("a guest does not serve a ring by itself", "node", b.circuit.Exporter, "pid", c.Thread.PID(), "from", b.circuit.Importer, "reason", err)
		}
	}
}

// finish gives back the place of a bypass that is closed.
func (k *bypasses) finish(b *bypass) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.releasePlace(b); p != nil {
		p.doom()
	}
}

// doom closes rings that nobody will use, as one of the guests is gone. The other one has them unmapped when it traps. k.mu is held.
func (p *pair) doom() {
	for _, g := range []*party{p.importer, p.exporter} {
		if !g.dead && g.space != nil {
			g.doomed = append(g.doomed, p)
			g.tell(true)
		}
	}
	p.Close()
}

// vacate frees the place of b in the board. No stub looks at it.
func (g *party) vacate(b *bypass) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.in != nil {
		g.ins[b.index] = nil
		b.in = nil
	}
}

// install puts b into the board of the exporter, that has trapped.
func (k *bypasses) install(c *trap.Call, g *party, b *bypass) error {
	err := k.prepare(c, g, b)
	k.mu.Lock()
	if !b.closed && err == nil && !g.retired {
		b.stage = installed
		b.mu.Lock()
		b.tellEvents()
		b.in.SetState(rings.Live)
		b.mu.Unlock()
		k.mu.Unlock()
		return nil
	}
	b.stage = absent
	closed := b.closed
	k.mu.Unlock()
	g.vacate(b)
	if closed {
		k.finish(b)
	}
	return err
}

func (k *bypasses) prepare(c *trap.Call, g *party, b *bypass) error {
	i := slices.Index(g.ins[:], nil)
	if i < 0 {
		return fmt.Errorf("it serves %d rings already", rings.MaxIns)
	}
	if err := k.provide(g); err != nil {
		return err
	}
	if err := k.mapBell(c, g); err != nil {
		return err
	}
	p := b.pair
	if p.repliesTo == 0 {
		fd, length := p.Requests()
		requests, err := c.Space.MapFile(fd, 0, length, false)
		if err != nil {
			return err
		}
		fd, length = p.Replies()
		replies, err := c.Space.MapFile(fd, 0, length, true)
		if err != nil {
			_, length = p.Requests()
			c.Space.UnmapFile(requests, length)
			return err
		}
		p.requestsTo, p.repliesTo = requests, replies
	}
	shared := c.Space.User.(*space).shared[b.circuit.Segment]
	if shared == nil {
		return rmem.ESTALE
	}
	in, m := g.board.In(i), &b.circuit
	in.Rights, in.Segment, in.Node = uint32(m.Rights), uint32(m.Segment), uint32(m.Importer)
	in.Base, in.Length = shared.Addr(), m.Length
	in.Header0, in.Header1 = words(uint64(m.Requests))
	in.Reply0, in.Reply1 = words(uint64(m.Replies))
	in.Key, in.ReplyKey = m.RequestKey, m.ReplyKey
	in.Requests = p.requestsTo + rings.RequestsOffset(b.place)
	in.Replies = p.repliesTo + rings.RepliesOffset(b.place)
	in.SetInhibited(g.inhibited[m.Segment])
	g.ins[i] = b
	if i >= g.count {
		g.count = i + 1
		g.board.SetIns(g.count)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.in, b.index, b.kept = in, i, g.kept[m.Segment]
	return nil
}

// A hold is how long a ring has been held up by one of its guests.
type hold struct {
	space   *trap.Space // the importer's, on whose thread this is; nil: it has ended
	ring    *rings.Ring
	turns   int
	settled int
	since   time.Time
}

const (
	// holdTurns is for how many turns a guest is given the processor before its importer's threads are looked for.
	holdTurns = 100

	// mostSettled is how often the importer's threads are taken out of their stubs, by when each has filled what it had claimed. Once should do.
	mostSettled = 3
)

// wait is Drain's. The exporter's guest has LongestHold to let go of the ring. A thread of the importer that has claimed a slot may be stopped, and waits for
// us: it is let go on until it has filled it. If it has not then, it has not claimed it as stubs do.
func (h *hold) wait(held bool) bool {
	if h.turns++; h.turns < holdTurns {
		goruntime.Gosched()
		return true
	}
	switch {
	case held:
		if h.since.IsZero() {
			h.since = time.Now()
		}
		time.Sleep(50 * time.Microsecond)
		return time.Since(h.since) <= rings.LongestHold
	case h.space == nil:
		return h.ring.Ready() // else: who had claimed it is gone
	case h.settled == mostSettled:
		return false
	}
	h.settled++
	h.space.Settle()
	return true
}

// drain has everything carried out that the guest has posted through a descriptor, and reports whether that has a ring.
func (k *bypasses) drain(c *trap.Call, sp *space, d rmem.Desc) bool {
	if d == rmem.Every {
		for _, b := range sp.party.outs {
			b.drain(c.Space)
		}
		return true
	}
	b := sp.party.outs[d]
	if b != nil {
		b.drain(c.Space)
	}
	return b != nil
}

// drainTo has everything carried out that the guest has posted to a segment of its own: what it waits for may be among that, and nobody else be left
// who could send anything.
func (k *bypasses) drainTo(c *trap.Call, sp *space, seg rmem.Seg) {
	if sp.party.loops == 0 {
		return
	}
	for _, b := range sp.party.outs {
		if b.loop() && b.circuit.Segment == seg {
			b.drain(c.Space)
		}
	}
}

// loop reports whether the circuit leads back to where it comes from.
func (b *bypass) loop() bool { return b.exporter == b.importer }

// drain has everything carried out that was posted; s is the importer's space, nil if it has ended.
func (b *bypass) drain(s *trap.Space) {
	r := b.ring()
	h := hold{space: s, ring: r}
	wait := h.wait
	if b.of.joined {
		wait = h.waitBeyond
	}
	err := r.Drain(wait)
	if errors.Is(err, rings.ErrStuck) && s != nil {
		err = r.Break()
	}
	if errors.Is(err, rings.ErrBroken) {
		b.broken()
		b.breakHeld()
	}
}

// shortHold is for how long a guest keeps the lock of a ring that has kept another one's for LongestHold, until it is not believed to be about to let go.
const shortHold = 20 * time.Millisecond

// breakHeld gives up the other rings between the same guests whose locks the exporter's keeps, now that one is broken: who has waited for one of them is not to wait
// as long for each.
func (b *bypass) breakHeld() {
	for _, o := range b.importer.outs {
		if o != b && o.exporter == b.exporter && o.ring().HeldFor(shortHold) {
			_ = o.ring().Break()
			o.broken()
		}
	}
}

// shut closes the bypass of a descriptor that is about to be released, if it has one, and returns how many requests it carried.
func (k *bypasses) shut(c *trap.Call, sp *space, d rmem.Desc) uint64 {
	delete(sp.party.uses, d)
	b := sp.party.outs[d]
	if b == nil {
		return 0
	}
	b.out.SetState(rings.Free)
	c.Space.Settle()
	b.drain(c.Space)
	return k.end(b)
}

// end ends a bypass that its importer uses no more.
func (k *bypasses) end(b *bypass) (carried uint64) {
	k.agent.remove(&b.charge)
	b.server.Close()
	carried = b.ring().Head() - b.start
	delete(b.importer.outs, b.desc)
	if b.loop() {
		b.importer.loops--
	}
	delete(b.importer.places, uint32(b.desc)&0xffff)
	x := b.exporter
	k.mu.Lock()
	b.closed = true
	delete(x.inward, b)
	over := false
	switch b.stage {
	case installed:
		b.in.SetState(rings.Free)
		x.leaving = append(x.leaving, b)
		x.tell(true)
	case arriving:
		x.arriving = slices.DeleteFunc(x.arriving, func(y *bypass) bool { return y == b })
		over = true
	case absent:
		over = true
	}
	k.mu.Unlock()
	if over {
		k.finish(b)
	}
	return carried
}

// withdraw takes the rings that lead to a segment away from the guest's stubs: it is about to be revoked. When it has returned, no stub touches the segment.
func (k *bypasses) withdraw(c *trap.Call, sp *space, seg rmem.Seg) {
	g := sp.party
	all := k.leading(g, seg)
	for _, b := range all {
		b.in.SetState(rings.Free)
	}
	if len(all) > 0 {
		c.Space.Settle()
	}
	for _, b := range all {
		k.mu.Lock()
		if b.stage == installed && !b.closed { // else it is leaving
			b.stage = absent
			k.mu.Unlock()
			g.vacate(b)
			continue
		}
		k.mu.Unlock()
	}
	delete(g.inhibited, seg)
	delete(g.kept, seg)
}

// leading are the bypasses in the guest's board that lead to a segment. They stay there as long as its engine's thread does nothing else.
func (k *bypasses) leading(g *party, seg rmem.Seg) (list []*bypass) {
	for _, b := range g.ins[:g.count] {
		if b != nil && b.circuit.Segment == seg {
			list = append(list, b)
		}
	}
	return list
}

// inhibit has the guest's stubs refuse writes and atomics on a segment. When it has returned, none that was permitted is under way.
func (k *bypasses) inhibit(c *trap.Call, sp *space, seg rmem.Seg, on bool) {
	if sp.shared[seg] == nil {
		return
	}
	sp.party.inhibited[seg] = on
	all := k.leading(sp.party, seg)
	for _, b := range all {
		b.in.SetInhibited(on)
	}
	if on && len(all) > 0 {
		c.Space.Settle()
	}
}

// keep says that an event of a segment waits in the node that could not be delivered, or does no more.
func (k *bypasses) keep(sp *space, seg rmem.Seg, waits bool) {
	sp.party.kept[seg] = waits
	for _, b := range k.leading(sp.party, seg) {
		b.mu.Lock()
		b.kept = waits
		b.tellEvents()
		b.mu.Unlock()
	}
}

// retire has the stubs of a guest leave everything to the trap.
func (k *bypasses) retire(g *party) {
	for _, b := range g.outs {
		b.Failed()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	g.retired = true
	for _, b := range g.arriving {
		b.stage = absent
	}
	g.arriving = nil
	for _, b := range g.ins[:g.count] {
		if b != nil {
			b.in.SetState(rings.Free)
		}
	}
}

// leave ends what an address space has of rings, when the last of its threads is gone, and returns how many requests it has made by
// them. What it has posted is carried out: a write needs no fence to arrive.
func (k *bypasses) leave(sp *space) (carried uint64) {
	g := sp.party
	k.mu.Lock()
	g.dead = true
	delete(k.parties, sp.Space)
	for _, b := range g.arriving {
		b.stage = absent
	}
	g.arriving = nil
	gone := g.leaving
	g.leaving = nil
	orphans := make([]*bypass, 0, len(g.inward))
	for b := range g.inward {
		if b.stage == installed {
			b.stage = absent
		}
		orphans = append(orphans, b)
	}
	k.mu.Unlock()
	for _, b := range orphans {
		b.ring().Orphan()
		g.vacate(b)
	}
	for _, b := range gone {
		k.finish(b)
	}
	for _, b := range g.outs {
		b.drain(nil)
		carried += k.end(b)
	}
	k.processors.remove(g.usage)
	k.closeEmpty(g)
	if g.board != nil {
		g.board.Close()
	}
	if g.memory != nil {
		g.memory.Close()
	}
	return carried
}

// closeEmpty closes the memory of rings that nobody uses, between a guest that is gone and others.
func (k *bypasses) closeEmpty(g *party) {
	k.mu.Lock()
	defer k.mu.Unlock()
	g.pairs = slices.DeleteFunc(g.pairs, func(p *pair) bool {
		if slices.Contains(p.used[:], true) {
			return false
		}
		p.doom()
		return true
	})
}
