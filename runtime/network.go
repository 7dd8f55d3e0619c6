package runtime

import (
	"fmt"
	"slices"
	"time"

	"rmemrun/atm"
	"rmemrun/runtime/join"
)

// A NetworkMonitor is the network of a job, to be looked at from outside. Its methods can be called by any goroutine, also when the job is over.
type NetworkMonitor struct {
	fabric *fabric
	trunk  *join.Trunk // to the other rmemrun; nil: there is none
}

// PlanNetwork builds a network that has no guests, to look at a topology. Cuts happen as planned, from now on. It must be closed.
func PlanNetwork(t *Topology, seed uint64) (*NetworkMonitor, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	f, err := newFabric(fabricConfig{topology: t, seed: seed})
	if err != nil {
		return nil, err
	}
	for id := range f.ports {
		f.attach(id, nowhere{})
	}
	f.start()
	return &NetworkMonitor{fabric: f}, nil
}

// Close ends a network made by PlanNetwork.
func (n *NetworkMonitor) Close() { n.fabric.close() }

// SetLink cuts a link, or repairs it, in both directions. Links in memory cannot be cut.
func (n *NetworkMonitor) SetLink(name string, down bool) error {
	err := n.fabric.setLink(name, down)
	if err != nil && n.trunk != nil && name == PeerLink {
		return fmt.Errorf("the link %q to the other rmemrun is a real one, which cannot be cut here", PeerLink)
	}
	return err
}

// nodes are the numbers that nodes have in the job: the first of this process, how many there are in it, and in the whole job.
func (n *NetworkMonitor) nodes() (first, here, total int) {
	here = len(n.fabric.ports)
	if n.trunk == nil {
		return 0, here, here
	}
	return n.trunk.First(), here, n.trunk.Total()
}

// First is the number of the first node of this process: 0, but in a job that another rmemrun runs, too.
func (n *NetworkMonitor) First() int {
	first, _, _ := n.nodes()
	return first
}

// Node returns the number of the node that is called name, or has that number. Nodes of another rmemrun have numbers only.
func (n *NetworkMonitor) Node(name string) (int, error) {
	first, here, total := n.nodes()
	if i := slices.Index(n.fabric.topology.Nodes, name); i >= 0 {
		return first + i, nil
	}
	var i int
	if _, err := fmt.Sscanf(name, "%d", &i); err == nil && fmt.Sprint(i) == name && i >= 0 && i < total {
		return i, nil
	}
	if total > here {
		return 0, fmt.Errorf("there is no node %q; a node has a number, 0 to %d, and those of this process, %d to %d, have names", name, total-1, first, first+here-1)
	}
	return 0, fmt.Errorf("there is no node %q; a node has a name or a number, 0 to %d", name, total-1)
}

// Ping asks every place on the way from one node to another for an OAM loopback, and returns them in order, with what came of
// it, when all have answered or after the timeout, atm.LoopbackWait at most. The first that has not answered is dead, or the link to
// it is. Nodes are named by their numbers in the job; from is one of this process. To a node of another rmemrun there is one hop, the link to
// that.
func (n *NetworkMonitor) Ping(from, to int, timeout time.Duration) ([]Hop, error) {
	first, here, total := n.nodes()
	isHere := func(node int) bool { return node >= first && node < first+here }
	isThere := func(node int) bool { return node >= 0 && node < total && !isHere(node) }
	switch {
	case isThere(from):
		return nil, fmt.Errorf("node %d belongs to the other rmemrun, at the far end of the link %q to %v: ask that, or ping from node %s",
			from, PeerLink, n.trunk.Report().Remote, numbers(first, here))
	case isHere(from) && isThere(to):
		vc, r, lost, err := n.trunk.Ping(from, to, timeout)
		if err != nil {
			return nil, fmt.Errorf("ping node %d over the link %q to %v: %w", to, PeerLink, n.trunk.Report().Remote, err)
		}
		return []Hop{{Name: fmt.Sprint("node ", to), Link: PeerLink, VPI: vc.VPI, VCI: vc.VCI, Answered: r.Answered, Took: r.Took, Lost: lost}}, nil
	case !isHere(from) || !isHere(to):
		return nil, fmt.Errorf("there is no way from node %d to node %d, the nodes are %s", from, to, numbers(0, total))
	}
	return n.fabric.ping(from-first, to-first, timeout)
}

// numbers are so many numbers from the first on, in words.
func numbers(first, count int) string {
	if count == 1 {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d to %d", first, first+count-1)
}

// A NetworkReport is the state of a network at one time.
type NetworkReport struct {
	Time      time.Duration    `json:"time_ns"` // since the job began
	First     int              `json:"first"`   // the number of the first of the nodes: not 0 in a job that another rmemrun runs, too
	Nodes     []string         `json:"nodes"`   // names of those of this process
	Switches  []SwitchReport   `json:"switches"`
	Links     []LinkReport     `json:"links"`
	Peer      *PeerReport      `json:"peer,omitempty"`     // the link to the other rmemrun, if there is one
	Contracts []ContractReport `json:"contracts,omitzero"` // of the topology, in its order; nil: it has none
	Circuits  []CircuitReport  `json:"circuits,omitzero"`  // between two nodes, control circuits included; nil: not asked for
}

// A PeerReport is the link to the other rmemrun, as this end of it sees it. In the path of a circuit it is called [PeerLink].
type PeerReport struct {
	Kind     string `json:"kind"`     // "udp", "bare", "tcp"
	Local    string `json:"local"`    // the address of this end
	Remote   string `json:"remote"`   // that of the other
	First    int    `json:"first"`    // the number of the other's first node
	Nodes    int    `json:"nodes"`    // how many it has
	Circuits int    `json:"circuits"` // that go through the link
	Down     bool   `json:"down"`     // the other has ended, or is lost

	Sent              uint64            `json:"sent"` // cells
	Received          uint64            `json:"received"`
	SentDatagrams     uint64            `json:"sent_datagrams"` // 0 over TCP
	ReceivedDatagrams uint64            `json:"received_datagrams"`
	LostDatagrams     uint64            `json:"lost_datagrams"` // missing in the other's numbers
	Dropped           map[string]uint64 `json:"dropped"`        // by reason, as in join.Report
}

// PeerLink is what the link to the other rmemrun is called.
const PeerLink = "peer"

// A SwitchReport is one switch. Interfaces of nodes with several links are among them.
type SwitchReport struct {
	Name     string            `json:"name"`
	Ports    int               `json:"ports"`
	Switched uint64            `json:"switched"`
	Dropped  map[string]uint64 `json:"dropped"` // by reason; those that are 0 are left out
}

// A LinkReport is one link.
type LinkReport struct {
	Name     string       `json:"name"`
	Ends     [2]string    `json:"ends"`
	Circuits int          `json:"circuits"` // that go through it
	Ways     [2]WayReport `json:"directions"`
}

// A WayReport is one direction of a link.
type WayReport struct {
	From      string            `json:"from"`
	To        string            `json:"to"`
	Rate      float64           `json:"rate"` // cells/s; 0: unlimited
	Delay     time.Duration     `json:"delay_ns"`
	Impaired  string            `json:"impaired,omitempty"` // the impairments, in words
	Down      bool              `json:"down"`               // it loses everything
	Defect    string            `json:"defect,omitempty"`   // what its far end has noticed: "no signal", "loss of continuity"
	Offered   uint64            `json:"offered"`            // cells
	Delivered uint64            `json:"delivered"`
	Use       float64           `json:"use"`       // share of the rate that was used since the job began; 0 if there is none
	Queued    int               `json:"queued"`    // cells that wait
	InFlight  int               `json:"in_flight"` // cells on their way
	Marked    uint64            `json:"marked"`    // cells marked with EFCI
	Dropped   map[string]uint64 `json:"dropped"`   // by reason
	Faults    map[string]uint64 `json:"faults"`    // cells that were damaged and not lost, by fault
}

// A ContractReport is one contract, and what became of the cells of the circuits that have it, those that are gone included.
type ContractReport struct {
	From   string        `json:"from"` // patterns of names of nodes
	To     string        `json:"to"`
	Class  string        `json:"class"`
	Police string        `json:"police,omitempty"` // the conformance definition, such as "VBR.3"
	PCR    float64       `json:"pcr,omitempty"`    // cells/s
	CDVT   time.Duration `json:"cdvt_ns,omitempty"`
	SCR    float64       `json:"scr,omitempty"`
	MBS    int           `json:"mbs,omitempty"`
	Shape  int           `json:"shape,omitempty"`

	Circuits  int    `json:"circuits"`  // that there are now, one direction of each
	Passed    uint64 `json:"passed"`    // by policing
	Tagged    uint64 `json:"tagged"`    // and passed on
	Discarded uint64 `json:"discarded"` // by policing
	Waiting   int    `json:"waiting"`   // for shaping
	Overflown uint64 `json:"overflown"` // discarded, as too many waited for shaping
}

// A CircuitReport is one circuit.
type CircuitReport struct {
	From    int        `json:"from"` // node, by its number in the job
	To      int        `json:"to"`
	Control bool       `json:"control"`
	Broken  bool       `json:"broken"` // a link on its way has failed
	Path    []OnLinkVC `json:"path"`
}

// An OnLinkVC is the VC that a circuit has on a link.
type OnLinkVC struct {
	Link string `json:"link"`
	VPI  uint8  `json:"vpi"`
	VCI  uint16 `json:"vci"`
}

// Report looks at the network; with circuits, at every circuit too.
func (n *NetworkMonitor) Report(circuits bool) NetworkReport {
	f := n.fabric
	first := n.First()
	r := NetworkReport{Time: f.clock.Now(), First: first, Nodes: f.topology.Nodes, Switches: []SwitchReport{}, Links: []LinkReport{}}
	if circuits {
		r.Circuits = []CircuitReport{}
	}
	for _, x := range f.exchanges {
		s := SwitchReport{Name: x.name, Ports: x.sw.Ports(), Dropped: map[string]uint64{}}
		for p := range x.sw.Ports() {
			k := x.sw.Counters(p)
			s.Switched += k.Switched
			count(s.Dropped, k.Dropped[:], func(i int) string { return atm.DropReason(i).String() })
		}
		r.Switches = append(r.Switches, s)
	}
	through := map[*cable]int{}
	reports := map[*terms]*ContractReport{}
	defects := map[*cable][2]Defect{}
	f.mu.Lock()
	for _, k := range f.contracts {
		reports[k] = k.report()
	}
	for _, c := range f.cables {
		defects[c] = [2]Defect{c.ways[0].defect, c.ways[1].defect}
	}
	f.all(func(c *circuit) {
		f.countContracts(c, reports)
		k := CircuitReport{From: first + c.ends[0].id, To: first + c.ends[1].id, Control: c.control, Broken: c.broken(), Path: []OnLinkVC{}}
		for _, h := range c.hops {
			through[h.cable]++
			if circuits {
				k.Path = append(k.Path, OnLinkVC{h.cable.name, h.vc.VPI, h.vc.VCI})
			}
		}
		if circuits {
			r.Circuits = append(r.Circuits, k)
		}
	})
	f.mu.Unlock()
	for _, k := range f.contracts {
		r.Contracts = append(r.Contracts, *reports[k])
	}
	for _, c := range f.cables {
		if c.inner {
			continue
		}
		l := LinkReport{Name: c.name, Ends: [2]string{c.ends[0].name, c.ends[1].name}, Circuits: through[c]}
		for i := range c.ways {
			l.Ways[i] = c.ways[i].report(c.ends[i].name, c.ends[1-i].name, r.Time)
			l.Ways[i].Defect = defects[c][i].String()
		}
		r.Links = append(r.Links, l)
	}
	if n.trunk != nil {
		n.reportPeer(&r, circuits)
	}
	return r
}

// reportPeer adds the link to the other rmemrun, and the circuits that go over it if they are wanted.
func (n *NetworkMonitor) reportPeer(r *NetworkReport, circuits bool) {
	k, across := n.trunk.Report(), n.trunk.Circuits()
	r.Peer = &PeerReport{
		Kind: k.Form, Local: k.Local.String(), Remote: k.Remote.String(), First: k.First, Nodes: k.Nodes, Circuits: len(across), Down: k.Down,
		Sent: k.Sent, Received: k.Received, SentDatagrams: k.SentDatagrams, ReceivedDatagrams: k.ReceivedDatagrams,
		LostDatagrams: k.Lost, Dropped: k.Dropped,
	}
	if !circuits {
		return
	}
	for _, c := range across {
		r.Circuits = append(r.Circuits, CircuitReport{
			From: c.Here, To: c.There, Control: c.Control, Broken: k.Down, Path: []OnLinkVC{{PeerLink, c.VC.VPI, c.VC.VCI}},
		})
	}
}

// report is a contract with the counters of the circuits that are gone. fabric.mu is held.
func (k *terms) report() *ContractReport {
	all := func(pattern string) string {
		if pattern == "" {
			return "*"
		}
		return pattern
	}
	return &ContractReport{
		From: all(k.From), To: all(k.To), Class: k.Class.String(), Police: k.Police.String(), PCR: k.Traffic.PCR, CDVT: k.Traffic.CDVT,
		SCR: k.Traffic.SCR, MBS: k.Traffic.MBS, Shape: k.Shape,
		Passed: k.police.Passed, Tagged: k.police.Tagged, Discarded: k.police.Discarded, Overflown: k.shape.Dropped[atm.DropQueueFull],
	}
}

// countContracts adds the counters of a circuit to those of its contracts. f.mu is held.
func (f *fabric) countContracts(c *circuit, reports map[*terms]*ContractReport) {
	for end, k := range c.terms {
		if k == nil {
			continue
		}
		r := reports[k]
		r.Circuits++
		police := f.policed(c, end)
		r.Passed += police.Passed
		r.Tagged += police.Tagged
		r.Discarded += police.Discarded
		for n := range c.number() {
			if s := c.ends[end].source(atm.VC{VPI: c.vcs[end].VPI, VCI: c.vcs[end].VCI + n}); s != nil && s.shaper != nil {
				shaped := s.shaper.Counters()
				r.Waiting += shaped.Queued
				r.Overflown += shaped.Dropped[atm.DropQueueFull]
			}
		}
	}
}

// report is one direction at a time.
func (w *way) report(from, to string, now time.Duration) WayReport {
	r := WayReport{From: from, To: to, Rate: w.Rate, Delay: w.Delay, Impaired: w.describe(), Dropped: map[string]uint64{}, Faults: map[string]uint64{}}
	if w.line == nil {
		r.Offered = w.link.Cells()
		r.Delivered = r.Offered
		return r
	}
	k := w.line.Counters()
	r.Down, r.Offered, r.Delivered, r.InFlight, r.Marked = k.Cut, k.Offered, k.Delivered, k.InFlight, k.Marked
	for _, q := range k.Queued {
		r.Queued += q
	}
	if w.Rate > 0 && now > 0 {
		r.Use = float64(k.Delivered) / (w.Rate * now.Seconds())
	}
	count(r.Dropped, k.Dropped[:], func(i int) string { return atm.DropReason(i).String() })
	count(r.Faults, k.Faults[:], func(i int) string { return atm.Fault(i).String() })
	return r
}

// count adds the counters that are not 0, by name.
func count(to map[string]uint64, counters []uint64, name func(int) string) {
	for i, n := range counters {
		if n > 0 {
			to[name(i)] += n
		}
	}
}

// describe gives the impairments in the words of a topology file.
func (w *Way) describe() (text string) {
	add := func(format string, args ...any) {
		if text != "" {
			text += ","
		}
		text += fmt.Sprintf(format, args...)
	}
	m := &w.Impairment
	for _, p := range []struct {
		name  string
		value float64
	}{
		{"loss", m.Loss}, {"header-errors", m.HeaderErrors}, {"payload-errors", m.PayloadErrors},
		{"misinsert", m.Misinsert}, {"duplicate", m.Duplicate}, {"reorder", m.Reorder},
	} {
		if p.value > 0 {
			add("%s=%g", p.name, p.value)
		}
	}
	if m.Burst != (atm.Burst{}) {
		add("burst={enter=%g,leave=%g,loss=%g}", m.Burst.Enter, m.Burst.Leave, m.Burst.Loss)
	}
	if len(m.Drop) > 0 {
		add("drop=%d cells", len(m.Drop))
	}
	if m.Jitter > 0 {
		add("jitter=%v", m.Jitter)
	}
	if m.Reorder > 0 {
		add("reorder-delay=%v", m.ReorderDelay)
	}
	for _, times := range []struct {
		key string
		all []atm.Outage
	}{{"cut", w.Cuts}, {"silent", m.Outages}} {
		for _, o := range times.all {
			if o.To == atm.Forever {
				add("%s=%v..", times.key, o.From)
			} else {
				add("%s=%v..%v", times.key, o.From, o.To)
			}
		}
	}
	return text
}
