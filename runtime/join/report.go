package join

import (
	"cmp"
	"net/netip"
	"slices"

	"rmemrun/atm"
)

// A Report is the state of a trunk at one time.
type Report struct {
	Form          string // of the link: "udp", "bare", "tcp"
	Local, Remote netip.AddrPort
	First, Nodes  int  // the number of the other process's first node, and how many it has
	Down          bool // the other process has ended, or is lost

	Sent, Received                   uint64 // cells
	SentDatagrams, ReceivedDatagrams uint64 // over UDP
	Lost                             uint64 // datagrams that are missing in the peer's numbers

	// Dropped is what was discarded at this end, by reason; reasons that have not occurred are left out:
	//
	//	hec                  cells whose header was wrong, to be sent or at the switch behind the link
	//	empty                cells to be sent, idle and unassigned ones
	//	overflow             cells to be sent, too many of which waited, or after the end
	//	unsent               cells that the system refused to send
	//	gate                 cells of control circuits that waited for an OPEN, too many
	//	header               cells that came with a wrong header (TCP)
	//	strangers            datagrams that were not the peer's
	//	malformed            datagrams of the peer's that are not of the link's form
	//	late                 datagrams that came behind a later one, or twice
	//	damaged-signalling   cells and PDUs of signalling
	//	foreign-signalling   PDUs of signalling that are not of this session
	//
	// and the other reasons of [atm.DropReason], for what that switch has dropped.
	Dropped map[string]uint64
}

// Report looks at the trunk. It can be called by any goroutine, also after the end.
func (t *Trunk) Report() Report {
	k := t.link.Counters()
	r := Report{
		Form: t.form, Local: t.link.Local(), Remote: t.link.Peer(), First: t.peerFirst(), Nodes: t.peers, Down: t.over(),
		Sent: k.Sent, Received: k.Received, SentDatagrams: k.SentDatagrams, ReceivedDatagrams: k.ReceivedDatagrams, Lost: k.Lost,
		Dropped: map[string]uint64{},
	}
	for name, n := range map[string]uint64{
		"hec": k.BadHEC, "empty": k.Empty, "overflow": k.Overflow, "unsent": k.Unsent, "gate": t.gate.discarded(), "header": k.Discarded,
		"strangers": k.Strangers, "malformed": k.Malformed, "late": k.Late,
		"damaged-signalling": t.damaged.Load(), "foreign-signalling": t.foreign.Load(),
	} {
		if n > 0 {
			r.Dropped[name] = n
		}
	}
	for p := range t.sw.Ports() {
		for why, n := range t.sw.Counters(p).Dropped {
			if n > 0 {
				r.Dropped[atm.DropReason(why).String()] += n
			}
		}
	}
	return r
}

// log is the report in words for the log.
func (r Report) log() []any {
	words := []any{
		"form", r.Form, "local", r.Local, "remote", r.Remote, "sent", r.Sent, "received", r.Received,
		"sent datagrams", r.SentDatagrams, "received datagrams", r.ReceivedDatagrams, "lost datagrams", r.Lost,
	}
	var names []string
	for name := range r.Dropped {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		words = append(words, "dropped "+name, r.Dropped[name])
	}
	return words
}

// A Circuit is a circuit that goes over the trunk.
type Circuit struct {
	Here, There int    // nodes
	VC          atm.VC // on the link
	Control     bool
}

// Circuits are the circuits that go over the trunk: control circuits, in the order of their nodes, then those that were opened, in the order of their
// VCs.
func (t *Trunk) Circuits() []Circuit {
	var all []Circuit
	for here := t.first; here < t.first+t.count; here++ {
		for there := t.peerFirst(); there < t.peerFirst()+t.peers; there++ {
			all = append(all, Circuit{Here: here, There: there, VC: t.controlVC(here, there), Control: true})
		}
	}
	control := len(all)
	t.mu.Lock()
	for _, c := range t.circuits {
		all = append(all, Circuit{Here: c.here, There: c.there, VC: c.trunk})
	}
	t.mu.Unlock()
	slices.SortFunc(all[control:], func(a, b Circuit) int {
		return cmp.Or(cmp.Compare(a.VC.VPI, b.VC.VPI), cmp.Compare(a.VC.VCI, b.VC.VCI))
	})
	return all
}
