package runtime

import (
	"sync"
	"time"

	"rmemrun/atm"
	rings "rmemrun/ring"
	"rmemrun/rmem"
)

// A Witness is told what becomes of each operation on a segment of the job's own nodes, whatever way it came: by a trap and the network, by a ring that the agent
// serves, or by one that the segment's guest serves by itself. Operations of one circuit come in the order in which they took effect. Between
// circuits there is no order.
//
// Guests are delayed: each request in a ring is looked at before its initiator hears that it was carried out.
//
// In a joined job all that a segment is asked for comes by the network, for there rings lead to it. So what is told is always the node's doing, and a witness hears
// nothing of what its guests ask of the other rmemrun's nodes: that one's does.
type Witness struct {
	// Tell is given one effect at a time, from whatever goroutine it happened on, and must not call into the job. It is valid only during the call.
	Tell func(*rmem.Effect)
	// AgentServes has the agent alone serve rings, and no guest.
	AgentServes bool
}

// A testimony is what a witness of a run has to look after: the rings. A nil *testimony is nobody's.
//
// testimony.mu is taken with locks of rmem held, and is the last.
type testimony struct {
	witness Witness

	mu      sync.Mutex
	rings   map[rmem.CircuitID]*witnessed
	looking chan struct{} // closed to end look; nil: it does not run
	ended   chan struct{} // closed when it has
}

// newTestimony makes that of a witness; nil: there is none.
func newTestimony(w *Witness) *testimony {
	if w == nil {
		return nil
	}
	return &testimony{witness: *w, rings: map[rmem.CircuitID]*witnessed{}}
}

// agentServes reports whether guests serve no rings.
func (k *testimony) agentServes() bool { return k != nil && k.witness.AgentServes }

// tell tells of what was done by the node. What the circuit has posted into its ring was done before.
func (k *testimony) tell(e *rmem.Effect) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if t := k.rings[e.Circuit]; t != nil {
		t.catchUp()
	}
	k.witness.Tell(e)
}

// stop ends it. There is no guest any more.
func (k *testimony) stop() {
	if k == nil {
		return
	}
	k.mu.Lock()
	looking := k.looking
	k.mu.Unlock()
	if looking != nil {
		close(looking)
		<-k.ended
	}
}

// lookEvery is how long a request that a guest has carried out may go unseen. Who waits for it for longer than its patience has it looked at, too.
const lookEvery = 50 * time.Microsecond

// look looks what guests have carried out.
func (k *testimony) look() {
	defer close(k.ended)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-k.looking:
			return
		case <-tick.C:
		}
		k.mu.Lock()
		for _, t := range k.rings {
			t.show()
		}
		k.mu.Unlock()
	}
}

// A witnessed is the server of one ring, so that it sees what the agent carries out, when that is done; what it has not seen done when the head is past it,
// the exporter's guest has carried out. All but of and ring are guarded by testimony.mu.
type witnessed struct {
	*rmem.Direct
	of             *testimony
	ring           *rings.Ring
	told           uint64 // the first request that was not told of
	request, reply atm.Cell
}

// server makes the server of a ring that leads to x.
func (k *testimony) server(x *rmem.Direct) *witnessed { return &witnessed{Direct: x, of: k} }

// begin begins with an empty ring.
func (t *witnessed) begin(r *rings.Ring) {
	k := t.of
	t.ring, t.told = r, r.Acknowledged()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.rings[t.ID()] = t
	if k.looking == nil {
		k.looking, k.ended = make(chan struct{}), make(chan struct{})
		go k.look()
	}
}

// Close is a server's. The ring was served dry.
func (t *witnessed) Close() {
	t.of.mu.Lock()
	if t.ring != nil {
		t.show()
		delete(t.of.rings, t.ID())
	}
	t.of.mu.Unlock()
	t.Direct.Close()
}

// End is a rings.Server's: what the agent has carried out can be seen.
func (t *witnessed) End() {
	t.Direct.End()
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	t.show()
}

// Serve is a rings.Server's.
func (t *witnessed) Serve(index uint64, request, reply *atm.Cell) bool {
	answered := t.Direct.Serve(index, request, reply)
	t.served(index, request, reply, answered)
	return answered
}

// Take is a rings.Taker's.
func (t *witnessed) Take(index uint64, word uint32, data []byte, reply *atm.Cell) (taken, answered bool) {
	taken, answered = t.Direct.Take(index, word, data, reply)
	if taken {
		t.served(index, nil, reply, answered)
	}
	return taken, answered
}

// Refuse is a rings.Server's.
func (t *witnessed) Refuse(index uint64, reply *atm.Cell) {
	t.Direct.Refuse(index, reply)
	t.served(index, nil, reply, true)
}

// served tells that rmemrun has just dealt with a request; nil: it is in the ring.
func (t *witnessed) served(index uint64, request, reply *atm.Cell, answered bool) {
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	t.catchUp()
	if request == nil {
		request = t.find(index)
	}
	if !answered {
		reply = nil
	}
	e := t.Effect(rmem.ByAgent, request, reply)
	t.of.witness.Tell(&e)
	t.told = index + 1
}

// find is a request in the ring.
func (t *witnessed) find(index uint64) *atm.Cell {
	if !t.ring.Request(index, &t.request) {
		t.request = atm.Cell{} // which is none
	}
	return &t.request
}

// catchUp tells of what the exporter's guest has carried out, and returns where the head is.
func (t *witnessed) catchUp() (head uint64) {
	head = t.ring.Acknowledged()
	if int64(head-t.told) > rings.Slots {
		t.told = head // a guest has put it where it cannot be, and the ring will be found broken
	}
	for ; int64(head-t.told) > 0; t.told++ {
		reply := &t.reply
		if !t.ring.Reply(t.told, reply) {
			reply = nil
		}
		e := t.Effect(rmem.ByGuest, t.find(t.told), reply)
		t.of.witness.Tell(&e)
	}
	return head
}

// show has the initiator see what was told of.
func (t *witnessed) show() { t.ring.Show(t.catchUp()) }
