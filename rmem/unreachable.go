package rmem

import "time"

// Who asks a node for something notices that it is silent. Who waits for a notification asks nothing, and would wait for ever for a node
// that the network has no way to. So the network says which nodes it cannot reach:
//
//	            no way                  for Config.Silence
//	reachable ─────────▶ unreachable ─────────────────────▶ silent
//	    ▲                     │                                │
//	    └──── a way ──────────┴────────────────────────────────┘
//
// A node whose peers are all silent, or down, is alone: its waits end.

// An unreachable is a node that the network has no way to.
type unreachable struct {
	since  time.Duration
	silent bool // for longer than Config.Silence: counted in Node.gone
}

// PeerReachable tells that the network has a way to a node, or has none. At first it has. When there has been none to any other node for
// Config.Silence, down ones aside, who waits for a notification is told EDOWN, until there is one again. What waits for the answer of a node
// has its own time: an answer may have come on the last of the way.
func (n *Node) PeerReachable(number int, yes bool) {
	if number < 0 || number >= len(n.down) || number == n.id {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	u, was := n.unreachable[number]
	switch {
	case yes && was:
		n.forgetUnreachable(number, u)
	case !yes && !was && !n.down[number] && !n.shut.Load():
		now := n.clock.Now()
		n.unreachable[number] = unreachable{since: now}
		n.patience.set(now, now+n.silence)
	}
}

// forgetUnreachable takes a node out of those that cannot be reached. n.mu is held.
func (n *Node) forgetUnreachable(number int, u unreachable) {
	delete(n.unreachable, number)
	if u.silent {
		n.gone.Add(-1)
	}
	if len(n.unreachable) == 0 {
		n.patience.stop()
	}
}

// losePatience is called by the timer: it finds the nodes that were unreachable for long enough to count as silent.
func (n *Node) losePatience() {
	n.mu.Lock()
	n.patience.cancel = nil
	now := n.clock.Now()
	for number, u := range n.unreachable {
		switch due := u.since + n.silence; {
		case u.silent:
		case due > now:
			n.patience.set(now, due)
		default:
			u.silent = true
			n.unreachable[number] = u
			n.gone.Add(1)
		}
	}
	segments := n.live()
	n.mu.Unlock()
	if n.alone() {
		n.log.Warn("no other node can be reached any more: waits have ended", "silent for", n.silence)
		desert(segments)
	}
}

// desert finishes all who wait at segments of a node that is alone.
func desert(segments []*segment) {
	for _, s := range segments {
		s.deserted()
	}
}
