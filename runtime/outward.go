package runtime

import (
	goruntime "runtime"
	"time"

	"rmemrun/atm/link"
	rings "rmemrun/ring"
	"rmemrun/rmem"
)

// A server is what a ring leads to: an rmem.Direct, or in a joined run an rmem.Outward.
type server interface {
	rings.Server
	Circuit() rmem.Circuit
	Close()
	Fail()
}

// serve gives b a server: the segment is of node peer.
func (k *bypasses) serve(n *node, sp *space, b *bypass, peer int) error {
	if k.joined {
		x, e := sp.Outward(b.desc, b, k.bell.Call)
		if e != rmem.OK {
			return e
		}
		b.server, b.circuit = x, x.Circuit()
		return nil
	}
	if peer >= len(k.nodes) {
		return errElsewhere
	}
	x, e := sp.Direct(b.desc, k.nodes[peer].rmem, b)
	if e != rmem.OK {
		return e
	}
	b.server, b.circuit = x, x.Circuit()
	if !k.network.ports[n.id].plain(b.circuit.Local) {
		x.Close()
		return errNotPlain
	}
	if k.testimony != nil {
		b.server = k.testimony.server(x)
	}
	return nil
}

// napBeyond is how long a thread sleeps between looks at a ring that waits for the other rmemrun.
const napBeyond = 20 * time.Microsecond

// waitBeyond is wait of a ring whose requests are carried over the network. What is under way ends in any case, as rmem gives up a peer that is silent
// for too long.
func (h *hold) waitBeyond(held bool) bool {
	if !h.ring.Underway() {
		return h.wait(held)
	}
	h.nap()
	return true
}

// nap lets others go on for a while.
func (h *hold) nap() {
	if h.turns++; h.turns < holdTurns {
		goruntime.Gosched()
		return
	}
	time.Sleep(napBeyond)
}

// join has the agent look at the link to the other rmemrun, while it looks at rings.
func (k *bypasses) join(l link.Link) error {
	if k.processors.poll == PollNo {
		return nil
	}
	u, ok := l.(*link.UDP)
	if !ok {
		return nil
	}
	k.processors.linked = true
	if a := u.Peer().Addr(); a.IsLoopback() || a == u.Local().Addr() {
		k.processors.beside = 1
	}
	return k.agent.wired(u)
}
