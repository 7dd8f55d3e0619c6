package runtime

import (
	"fmt"
	"iter"
	"strings"
	"time"

	"rmemrun/atm"
	"rmemrun/rmem"
)

// start begins with what is planned to happen to links. The fabric's clock is at the beginning of the job.
func (f *fabric) start() {
	for _, c := range f.cables {
		f.checkContinuity(c)
		for i := range c.ways {
			for _, cut := range c.ways[i].Cuts {
				now := f.clock.Now()
				if cut.From == 0 { // before the first cell
					f.cut(c, i, true)
				} else {
					f.later(cut.From-now, func() { f.cut(c, i, true) })
				}
				if cut.To != atm.Forever {
					f.later(cut.To-now, func() { f.cut(c, i, false) })
				}
			}
		}
	}
}

// cut cuts or repairs one direction of a cable.
func (f *fabric) cut(c *cable, i int, down bool) {
	w := &c.ways[i]
	if w.line == nil {
		return
	}
	if down {
		w.line.Cut()
	} else {
		w.line.Repair()
	}
	// The far end notices when what was sent before has arrived.
	if w.Delay == 0 {
		f.look(c, i)
		return
	}
	f.later(w.Delay, func() { f.look(c, i) })
}

// look lets the far end of direction i of a cable see whether a signal comes, and cells. If not, it tells the ends of all circuits
// that come from there (AIS).
func (f *fabric) look(c *cable, i int) {
	w := &c.ways[i]
	f.mu.Lock()
	var defect Defect
	if w.line.Down() {
		defect |= NoSignal
	}
	if !c.continuous(i) {
		defect |= NoContinuity
	}
	dead, was := defect != 0, w.defect != 0
	if !f.closed {
		w.defect = defect
	}
	if f.closed || was == dead {
		f.mu.Unlock()
		return
	}
	f.graph.changed()
	f.mu.Unlock()
	from, to := c.ends[i].name, c.ends[1-i].name
	if dead {
		f.log.Warn("link failed: "+to+" receives nothing from "+from, "link", c.name, "defect", defect)
		f.emit(c, i, &LinkEvent{What: LinkFailed, Defect: defect})
		w.ais.Start()
	} else {
		w.ais.Stop()
		f.log.Warn("link repaired: "+to+" receives from "+from+" again", "link", c.name)
		f.emit(c, i, &LinkEvent{What: LinkRepaired})
	}
	// When whatever fails at this time has failed: the ends hear of each link before their circuits are moved, and none is moved twice.
	f.later(0, func() { f.reroute(c, i) })
}

// reroute moves the circuits that are broken and need not be, because of a change in direction i of a cable.
func (f *fabric) reroute(c *cable, i int) {
	f.telling.Lock()
	defer f.telling.Unlock()
	f.mu.Lock()
	if f.moved == f.graph.version {
		f.mu.Unlock()
		return
	}
	f.moved = f.graph.version
	moved, stranded, apart := f.move()
	f.mu.Unlock()
	f.tell(apart)
	if moved == 0 && stranded == 0 {
		return
	}
	if moved > 0 {
		f.log.Warn(fmt.Sprintf("%d circuits were led on another way", moved))
	}
	if stranded > 0 {
		f.log.Warn(fmt.Sprintf("%d circuits are broken: there is no other way for them", stranded))
	}
	f.emit(c, i, &LinkEvent{What: LinkRerouted, Moved: moved, Stranded: stranded})
}

// An informed one wants to know which nodes the network can reach: a node.
type informed interface {
	// PeerReachable tells that there is a way to a node, by its number in the job, or none.
	PeerReachable(node int, yes bool)
}

var _ informed = (*rmem.Node)(nil)

// tell tells nodes what has changed, given the pairs that have no way to each other now. f.telling is held.
func (f *fabric) tell(apart map[[2]int]bool) {
	change := func(pair [2]int, reachable bool) {
		for end, id := range pair {
			if n := f.ports[id].inform; n != nil {
				n.PeerReachable(f.first+pair[1-end], reachable)
			}
		}
	}
	for pair := range f.apart {
		if !apart[pair] {
			change(pair, true)
		}
	}
	for pair := range apart {
		if !f.apart[pair] {
			change(pair, false)
		}
	}
	f.apart = apart
}

// behind gives the circuits whose cells come out of a cable in direction i, each with its VC behind that end and what takes cells there.
func (f *fabric) behind(c *cable, i int) iter.Seq2[atm.VC, atm.Receiver] {
	type next struct {
		vc atm.VC
		to atm.Receiver
	}
	return func(yield func(atm.VC, atm.Receiver) bool) {
		var all []next
		f.mu.Lock()
		f.all(func(circuit *circuit) {
			for k, h := range circuit.hops {
				if h.cable != c {
					continue
				}
				step, end := 1, 1 // the circuit's cells go from ends[0] to ends[1] here
				if h.near != i {
					step, end = -1, 0
				}
				if k+step < 0 || k+step == len(circuit.hops) {
					all = append(all, next{circuit.vcs[end], circuit.ends[end]})
					continue
				}
				n := circuit.hops[k+step]
				leaves := n.near
				if step < 0 {
					leaves = 1 - n.near
				}
				all = append(all, next{n.vc, n.cable.ways[leaves].in})
			}
		})
		f.mu.Unlock()
		for _, n := range all {
			if !yield(n.vc, n.to) {
				return
			}
		}
	}
}

// setLink cuts or repairs a link, in both directions.
func (f *fabric) setLink(name string, down bool) error {
	for _, c := range f.cables {
		if c.name != name || c.inner {
			continue
		}
		if c.ways[0].line == nil {
			return fmt.Errorf("link %s is a link in memory, which cannot be cut; a run with --topology has others", name)
		}
		f.cut(c, 0, down)
		f.cut(c, 1, down)
		return nil
	}
	return fmt.Errorf("there is no link %s; %s", name, f.linkNames())
}

// linkNames says which links there are, in words; not all of very many.
func (f *fabric) linkNames() string {
	const most = 16
	var names []string
	for _, l := range f.topology.Links {
		names = append(names, l.Name)
	}
	switch more := len(names) - most; {
	case len(names) == 0:
		return "there are none"
	case more > 0:
		return fmt.Sprintf("there are %s and %d more", strings.Join(names[:most], ", "), more)
	}
	return "there is " + strings.Join(names, ", ")
}

// A LinkChange says what a LinkEvent tells.
type LinkChange uint8

const (
	// LinkSent: a cell is put into the link. Told only with Job.LinkCells.
	LinkSent LinkChange = iota + 1
	// LinkReceived: a cell has come out of the link. Told only with Job.LinkCells.
	LinkReceived
	// LinkDropped: a cell was discarded, on the link or, where Drop says so, by the switch that it came to from the link.
	LinkDropped
	// LinkFailed: the far end of the link receives nothing any more.
	LinkFailed
	// LinkRepaired: the far end receives again.
	LinkRepaired
	// LinkRerouted: because of what happened to the link, circuits were led on other ways, or would have to be.
	LinkRerouted
	// LinkAlarm: the end of a circuit, at Event.Node, has learnt by OAM cells that the circuit is broken, or that it is no longer.
	LinkAlarm
)

var linkChangeNames = [...]string{
	LinkSent: "sent", LinkReceived: "received", LinkDropped: "dropped",
	LinkFailed: "failed", LinkRepaired: "repaired", LinkRerouted: "rerouted", LinkAlarm: "alarm",
}

// String is the change in a word, "sent".
func (c LinkChange) String() string {
	if int(c) < len(linkChangeNames) && c > 0 {
		return linkChangeNames[c]
	}
	return fmt.Sprintf("link change %d", uint8(c))
}

// A LinkEvent is what happened on a link, in one direction.
type LinkEvent struct {
	What     LinkChange
	Link     string         // its name. LinkAlarm: the link that is broken, if the OAM cell said so
	From, To string         // the places that the direction leads from and to
	Cell     *atm.Cell      // LinkSent, LinkReceived, LinkDropped
	Drop     atm.DropReason // LinkDropped

	Defect Defect // LinkFailed: how the far end has noticed

	Moved    int // LinkRerouted: circuits that were led on another way
	Stranded int // LinkRerouted: broken circuits for which there is none

	Peer   int        // LinkAlarm: the node at the other end of the circuit
	VC     atm.VC     // LinkAlarm: the circuit at Event.Node
	Alarms atm.Alarms // LinkAlarm: what is wrong now; 0: nothing
}

// emit gives the observer an event of direction i of a cable.
func (f *fabric) emit(c *cable, i int, e *LinkEvent) {
	if f.events == nil {
		return
	}
	e.Link, e.From, e.To = c.name, c.ends[i].name, c.ends[1-i].name
	f.events.emit(&Event{Time: time.Since(f.events.start), Kind: OnLink, Node: -1, Link: e})
}

// passed tells of a cell at an end of a link.
func (f *fabric) passed(c *cable, i int, what LinkChange, cell *atm.Cell) {
	if f.events != nil {
		f.emit(c, i, &LinkEvent{What: what, Cell: cell})
	}
}

// dropped tells of a cell that direction i of a link, or the switch behind it, has discarded.
func (f *fabric) dropped(c *cable, i int, cell *atm.Cell, why atm.DropReason) {
	if f.events != nil {
		f.emit(c, i, &LinkEvent{What: LinkDropped, Cell: cell, Drop: why})
	}
}
