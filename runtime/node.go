package runtime

import (
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"rmemrun/rmem"
	"rmemrun/runtime/join"
	"rmemrun/trap"
)

// A node is one emulated workstation: a guest, run by an engine; its segments and descriptors; its network interface. It is
// the engine's trap.Handler and, if events are wanted, the rmem.Observer of its own memory.
type node struct {
	id, nodes int
	engine    trap.Engine
	rmem      *rmem.Node
	commons   *commons  // that its segments, and those that it can map, are in
	events    *stream   // nil: nobody observes
	bypasses  *bypasses // nil: all goes by traps
	log       hclog.Logger

	// slow: cells take time to the peers and may be lost on the way, so that what is under way has to be waited for at the end.
	slow bool

	instructions uint64 // executed so far; the engine's thread counts

	stopped, ended bool // the root process of the guest is; run.mu
}

// newNode makes node id of a job of the given number of nodes, without its engine, and attaches it to the network.
func newNode(id, nodes int, network *fabric, d *directory, events *stream, testimony *testimony, log hclog.Logger) *node {
	n := makeNode(id, nodes, network.ports[id], d, events, testimony, log)
	n.slow = !network.memory
	network.attach(id, n.rmem)
	return n
}

// newJoinedNode makes the node with a number within this process of a job that another rmemrun runs, too.
func newJoinedNode(local int, t *join.Trunk, network *fabric, d *directory, events *stream, testimony *testimony, log hclog.Logger) (*node, error) {
	id := t.First() + local
	port, err := t.Port(id, network.ports[local])
	if err != nil {
		return nil, err
	}
	n := makeNode(id, t.Total(), port, t.Directory(d), events, testimony, log)
	n.slow = true
	port.Attach(n.rmem)
	network.attach(local, port)
	network.ports[local].inform = n.rmem // port stands before the node
	return n, nil
}

// makeNode makes a node that sends to its network and does not receive yet.
func makeNode(id, nodes int, network rmem.Network, d rmem.Directory, events *stream, testimony *testimony, log hclog.Logger) *node {
	n := &node{id: id, nodes: nodes, events: events, log: log.With("node", id), commons: newCommons()}
	n.commons.join(id)
	config := rmem.Config{
		ID: id, Nodes: nodes, Network: network, Directory: d, Log: n.log.Named("rmem"),
	}
	if events != nil {
		config.Observer = n
	}
	if testimony != nil {
		config.Witness = testimony.tell
	}
	n.rmem = rmem.New(config)
	return n
}

// engineConfig is what the node's engine is made with.
func (n *node) engineConfig(r *run) trap.Config {
	config := trap.Config{
		Handler: n,
		Log:     n.log.Named("trap"),
		Exited: func(ws syscall.WaitStatus) {
			r.guestEnded(n)
			if status := exitStatus(ws); status != 0 { // before the rest of its tree has ended
				r.fail(n.id, status, endingSignal(ws), nil)
			}
		},
		Stopped: func(yes bool) { r.guestStopped(n, yes) },
	}
	if n.events != nil {
		config.Resumed, config.Patched = n.resumed, n.patched
	}
	return config
}

// report gives an event of the node itself to the observer, if there is one.
func (n *node) report(e *Event) {
	if n.events == nil {
		return
	}
	e.Node, e.Time = n.id, time.Since(n.events.start)
	n.events.emit(e)
}
