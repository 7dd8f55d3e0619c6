package runtime

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"rmemrun/decode"
	"rmemrun/rmem"
	"rmemrun/trap"
)

// A stream gives the events of all nodes to the job's observer. Where there is no observer there is no stream.
type stream struct {
	start    time.Time
	tags     atomic.Uint64
	mu       sync.Mutex // held while the observer runs
	observer func(*Event)
}

// emit gives the observer one event.
func (s *stream) emit(e *Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.observer(e)
}

// since returns the time of t in the stream.
func (s *stream) since(t time.Time) time.Duration { return t.Sub(s.start) }

// Observe takes an event of the network or the memory of the node.
func (n *node) Observe(e *rmem.Event) {
	n.events.emit(&Event{Time: time.Since(n.events.start), Kind: Network, Node: n.id, Tag: e.Tag, Net: e})
}

// trapped gives x its tag and reports the instruction that c has begun with.
func (n *node) trapped(c *trap.Call, x *execution) {
	x.tag = n.events.tags.Add(1)
	x.op.Tag = x.tag
	x.name = ""
	if c.Inst.Op == decode.Export || c.Inst.Op == decode.Import {
		x.name, _ = readName(c) // the instruction itself reports what is wrong with it
	}
	e := n.guestEvent(Decode, c, c.Stopped)
	trap := Event{Time: e.Time, Kind: Trap, Node: e.Node, PID: e.PID, TID: e.TID, Tag: e.Tag, PC: e.PC, Code: e.Code}
	n.events.emit(&trap)
	e.Time = n.events.since(c.Decoded)
	n.events.emit(e)
}

// patched reports that an instruction was replaced, or why it was not.
func (n *node) patched(c *trap.Call, why error) {
	if errors.Is(why, trap.ErrNoStub) {
		return // so it is everywhere
	}
	e := n.guestEvent(Patch, c, time.Now())
	e.Why = why
	n.events.emit(e)
}

// resumed reports that the thread goes on behind the instruction.
func (n *node) resumed(c *trap.Call) {
	now := time.Now()
	e := n.guestEvent(Resume, c, now)
	e.Result, e.Old, e.Took = c.Result, c.Old, now.Sub(c.Stopped)
	n.events.emit(e)
}

// guestEvent makes an event of the instruction that c executes.
func (n *node) guestEvent(kind Kind, c *trap.Call, t time.Time) *Event {
	x := c.State.(*execution)
	return &Event{
		Time: n.events.since(t), Kind: kind, Node: n.id,
		PID: c.Thread.PID(), TID: c.Thread.TID(), Tag: x.tag, Name: x.name,
		Inst: c.Inst, PC: c.PC, Code: c.Code, V: c.V, A: c.A, P: c.P, C: c.C, D: c.D,
	}
}
