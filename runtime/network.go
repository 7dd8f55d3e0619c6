package runtime

import (
	"fmt"
	"slices"
	"time"

	"rmemrun/atm"
)

// A NetworkMonitor is the network of a job, to be looked at from outside. Its methods can be called by any goroutine, also when the job is over.
type NetworkMonitor struct{ fabric *fabric }

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
	return &NetworkMonitor{f}, nil
}

// Close ends a network made by PlanNetwork.
func (n *NetworkMonitor) Close() { n.fabric.close() }

// SetLink cuts a link, or repairs it, in both directions. Links in memory cannot be cut.
func (n *NetworkMonitor) SetLink(name string, down bool) error { return n.fabric.setLink(name, down) }

// Node returns the number of the node that is called name, or has that number.
func (n *NetworkMonitor) Node(name string) (int, error) {
	if i := slices.Index(n.fabric.topology.Nodes, name); i >= 0 {
		return i, nil
	}
	var i int
	if _, err := fmt.Sscanf(name, "%d", &i); err == nil && fmt.Sprint(i) == name && i >= 0 && i < len(n.fabric.ports) {
		return i, nil
	}
	return 0, fmt.Errorf("there is no node %q; a node has a name or a number, 0 to %d", name, len(n.fabric.ports)-1)
}

// Ping asks every place on the way from one node to another for an OAM loopback, and returns them in order, with what came of
// it, when all have answered or after the timeout, atm.LoopbackWait at most. The first that has not answered is dead, or the link to
// it is.
func (n *NetworkMonitor) Ping(from, to int, timeout time.Duration) ([]Hop, error) {
	return n.fabric.ping(from, to, timeout)
}

// A NetworkReport is the state of a network at one time.
type NetworkReport struct {
	Time      time.Duration    `json:"time_ns"` // since the job began
	Nodes     []string         `json:"nodes"`
	Switches  []SwitchReport   `json:"switches"`
	Links     []LinkReport     `json:"links"`
	Contracts []ContractReport `json:"contracts,omitempty"` // of the topology, in its order
	Circuits  []CircuitReport  `json:"circuits,omitempty"`  // between two nodes, control circuits included
}

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
	From    int        `json:"from"` // node
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
	r := NetworkReport{Time: f.clock.Now(), Nodes: f.topology.Nodes}
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
		k := CircuitReport{From: c.ends[0].id, To: c.ends[1].id, Control: c.control, Broken: c.broken()}
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
	return r
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
