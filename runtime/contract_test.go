package runtime

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rmemrun/atm"
)

// contractLab has two ways between two nodes, one of them with a switch of its own (its interface), and contracts.
const contractLab = `
nodes: [alice, bob, carol]
switches: [west, north, south, east]
links:
  - ends: [alice, west]
  - {ends: [west, north], rate: OC-3}
  - {ends: [west, south], rate: OC-3, delay: 1ms}
  - ends: [north, east]
  - ends: [south, east]
  - ends: [bob, east]
  - {name: bob-second, ends: [bob, east]}
  - ends: [carol, west]
contracts:
  - {from: alice, to: bob, police: VBR.3, pcr: 10000, scr: 1000, mbs: 3}
  - {from: bob, to: "*", police: CBR.1, pcr: 10000, cdvt: 1us}
  - {to: alice, class: vbr, pcr: 1000, scr: 100, mbs: 2, shape: 8}
`

func contractNetwork(t *testing.T) *simulation {
	t.Helper()
	top, err := ParseTopology("t", []byte(contractLab))
	if err != nil {
		t.Fatal(err)
	}
	return simulate(t, top, 0, nil)
}

// burst sends cells one after the other on a VC from a node, and returns the CLP bits of those that arrive at another.
func (s *simulation) burst(from, to int, vc atm.VC, cells int, apart time.Duration) string {
	start := s.clock.Now()
	for k := range cells {
		s.clock.AfterFunc(time.Duration(k)*apart, func() { s.ports[from].Send(cell(vc, byte(k))) })
	}
	s.clock.AfterFunc(time.Duration(cells)*apart+time.Second, func() {}) // until when the clock goes on
	s.clock.Run(start + time.Duration(cells)*apart + time.Second)
	var clp strings.Builder
	for _, c := range s.nodes[to].cells {
		h, _ := c.Header()
		fmt.Fprint(&clp, map[bool]int{false: 0, true: 1}[h.CLP])
	}
	s.nodes[to].cells = nil
	return clp.String()
}

// The first switch tags or discards what is too much, in each direction by its own contract and in each VC; control circuits are left
// alone. What it did is reported, and stays so when circuits are moved and closed.
func TestContractsArePoliced(t *testing.T) {
	s := contractNetwork(t)
	defer s.close()
	local, remote, err := s.ports[0].Open(1)
	if err != nil {
		t.Fatal(err)
	}
	const apart = 100 * time.Microsecond // the PCR
	second := func(vc atm.VC) atm.VC { vc.VCI++; return vc }
	for _, c := range []struct {
		from, to int
		vc       atm.VC
		want     string
	}{
		{0, 1, local, "000111"}, // VBR.3: a burst of 3, and the rest tagged
		{0, 1, second(local), "000111"},
		{0, 1, controlVC(1), "000000"},
		{1, 0, remote, "000000"}, // CBR.1: the PCR is kept
	} {
		if got := s.burst(c.from, c.to, c.vc, 6, apart); got != c.want {
			t.Errorf("of 6 cells at the PCR from node %d on VC %v arrive, by their CLP, %q, want %q", c.from, c.vc, got, c.want)
		}
	}
	if got, want := s.burst(1, 0, remote, 6, apart/2), "000"; got != want { // every second is too early
		t.Errorf("of 6 cells at twice the PCR under CBR.1 arrive, by their CLP, %q, want %q", got, want)
	}
	report := func() string {
		var all []string
		for _, k := range (&NetworkMonitor{fabric: s.fabric}).Report(false).Contracts {
			all = append(all, fmt.Sprintf("%s>%s %d: %d %d %d", k.From, k.To, k.Circuits, k.Passed, k.Tagged, k.Discarded))
		}
		return strings.Join(all, ", ")
	}
	if got, want := report(), "alice>bob 1: 6 6 0, bob>* 1: 9 0 3, *>alice 0: 0 0 0"; got != want {
		t.Errorf("reported is %s, want %s", got, want)
	}
	if err := s.setLink("west-north", true); err != nil { // the circuit is moved
		t.Fatal(err)
	}
	s.clock.Run(s.clock.Now() + time.Second)
	if got, want := s.burst(0, 1, local, 4, apart), "0001"; got != want {
		t.Errorf("when the circuit has been moved, of 4 cells arrive, by their CLP, %q, want %q", got, want)
	}
	s.ports[0].Close(local)
	s.clock.Run(s.clock.Now() + 2*rest)
	// Two of the cells from alice were RDI.
	if got, want := report(), "alice>bob 0: 11 7 0, bob>* 0: 9 0 3, *>alice 0: 0 0 0"; got != want {
		t.Errorf("when the circuit is closed, reported is %s, want %s", got, want)
	}
}

// A source that is shaped keeps its contract: cells wait, as many as may.
func TestContractsAreShaped(t *testing.T) {
	s := contractNetwork(t)
	defer s.close()
	local, _, err := s.ports[2].Open(0) // carol
	if err != nil {
		t.Fatal(err)
	}
	start := s.clock.Now()
	for range 12 {
		s.ports[2].Send(cell(local, 0))
	}
	s.clock.Run(start) // the first goes at once
	k := (&NetworkMonitor{fabric: s.fabric}).Report(false).Contracts[2]
	if k.Circuits != 1 || k.Waiting != 7 || k.Overflown != 4 {
		t.Errorf("of 12 cells at once, with room for 8, %d wait and %d were discarded, want 7 and 4 (%+v)", k.Waiting, k.Overflown, k)
	}
	// A burst of 2 at the PCR, 1 ms apart, then one every 10 ms.
	for _, c := range []struct {
		until time.Duration
		cells int
	}{{500 * time.Microsecond, 1}, {2 * time.Millisecond, 2}, {12 * time.Millisecond, 3}, {22 * time.Millisecond, 4}, {time.Second, 8}} {
		s.clock.Run(start + c.until)
		if got := len(s.nodes[0].cells); got != c.cells {
			t.Errorf("after %v %d cells have arrived, want %d", c.until, got, c.cells)
		}
	}
	s.ports[2].Close(local)
	s.clock.Run(s.clock.Now() + 2*rest)
	if all := s.ports[2].sources.Load(); len(*all) != 0 {
		t.Errorf("the circuit is closed, and %d sources are left", len(*all))
	}
}

// The class of a contract chooses the queue in which cells wait, on every link, also while it is captured.
func TestContractsHaveClasses(t *testing.T) {
	for _, captured := range []bool{false, true} {
		top, err := ParseTopology("t", []byte(`
nodes: [a, b, c]
switches: [x, y]
defaults: {rate: 1000, queue: {weights: {cbr: 3}}}
links: [{ends: [a, x]}, {ends: [b, x]}, {ends: [x, y]}, {ends: [c, y]}]
contracts: [{from: b, class: cbr}]
`))
		if err != nil {
			t.Fatal(err)
		}
		var events *stream
		if captured {
			events = &stream{observer: func(*Event) {}}
		}
		s := simulate(t, top, 0, events)
		var vcs [2]atm.VC
		for i := range vcs {
			if vcs[i], _, err = s.ports[i].Open(2); err != nil {
				t.Fatal(err)
			}
		}
		for k := range 40 {
			for i, vc := range vcs {
				s.clock.AfterFunc(time.Duration(k)*time.Millisecond, func() { s.ports[i].Send(cell(vc, byte(i))) })
			}
		}
		s.clock.Run(45 * time.Millisecond) // the trunk carries half of it
		var from [2]int
		for _, c := range s.nodes[2].cells {
			from[c.Payload()[47]]++
		}
		if total := from[0] + from[1]; from[1] < 3*total/4-1 || from[1] > 3*total/4+1 {
			t.Errorf("captured %v: of %d cells %d are of the class CBR, whose weight is 3 to 1", captured, total, from[1])
		}
		s.close()
	}
}

// Without contracts that lose cells, links without impairments are as before: at once, and nothing looks at a cell's circuit at its source.
func TestContractsCostNothingElsewhere(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, "contracts: [{class: cbr}]": false, "contracts: [{police: CBR.1, pcr: 5}]": true, "contracts: [{class: vbr, pcr: 5, shape: 1}]": true,
	} {
		top, err := ParseTopology("t", []byte("nodes: 2\nswitches: 1\nlinks: [{ends: [n0, s0]}, {ends: [n1, s0]}]\n"+text))
		if err != nil {
			t.Fatal(err)
		}
		s := simulate(t, top, 0, nil)
		if got := s.cables[0].ways[0].Delay > 0; got != want {
			t.Errorf("%q: links take time: %v, want %v", text, got, want)
		}
		s.close()
	}
}

func TestParseContracts(t *testing.T) {
	got, err := ParseTopology("t", []byte(contractLab))
	if err != nil {
		t.Fatal(err)
	}
	want := []Contract{
		{From: "alice", To: "bob", Class: atm.VBR, Police: VBR3, Traffic: atm.Traffic{PCR: 10000, SCR: 1000, MBS: 3}},
		{From: "bob", To: "*", Class: atm.CBR, Police: CBR1, Traffic: atm.Traffic{PCR: 10000, CDVT: time.Microsecond}},
		{To: "alice", Class: atm.VBR, Traffic: atm.Traffic{PCR: 1000, SCR: 100, MBS: 2}, Shape: 8},
	}
	if !slices.Equal(got.Contracts, want) {
		t.Errorf("got %+v\nwant %+v", got.Contracts, want)
	}
}

func TestParseContractsRefuses(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"{}", "t:2:12: contracts is a list, and this is a mapping"},
		{"[alice]", `t:2:13: a contract is a mapping, and this is "alice"`},
		{"[{speed: 1}]", `t:2:14: a contract has no key "speed"; there is cdvt, class, from, mbs, pcr, police, scr, shape, to`},
		{"[{from: alice}]", `t:2:13: a contract of "alice" is that of no node`},
		{"[{to: '['}]", `t:2:13: "[" is no pattern of names`},
		{"[{class: abr}]", `t:2:21: "abr" is not a class; there is ubr, vbr, cbr`},
		{"[{class: 1}]", `t:2:21: a class is expected, and this is the number 1`},
		{"[{police: CBR.2}]", `t:2:22: "CBR.2" is not a conformance definition; there is CBR.1, VBR.1, VBR.2, VBR.3, UBR.1, UBR.2`},
		{"[{police: CBR.1}]", "t:2:13: traffic has no peak cell rate"},
		{"[{police: CBR.1, pcr: 0}]", "t:2:34: a rate of 0 would let no cell conform"},
		{"[{police: CBR.1, pcr: 5, cdvt: 2}]", `t:2:43: "2" is not a time`},
		{"[{police: CBR.1, pcr: 5, cdvt: 2h}]", "t:2:13: traffic has the CDVT 2h0m0s"},
		{"[{police: VBR.2, pcr: 5}]", "t:2:13: VBR.2 needs a sustainable cell rate"},
		{"[{police: VBR.2, pcr: 5, scr: 6, mbs: 1}]", "t:2:13: traffic has the SCR 6 above its PCR 5"},
		{"[{police: VBR.2, pcr: 5, scr: 1}]", "t:2:13: traffic with an SCR has the MBS 0"},
		{"[{police: VBR.2, pcr: 5, scr: 1, mbs: 0}]", `t:2:50: the number 0 is not a number of cells`},
		{"[{police: UBR.1, pcr: 5, scr: 1, mbs: 1}]", "t:2:13: a contract of the class ubr has no scr and mbs"},
		{"[{class: cbr, police: VBR.1, pcr: 5, scr: 1, mbs: 1}]", "t:2:13: a contract of the class cbr cannot be policed by VBR.1"},
		{"[{class: cbr, pcr: 5}]", "t:2:13: a contract has rates, and nothing looks at them"},
		{"[{shape: 5}]", "t:2:13: traffic has no peak cell rate"},
		{"[{pcr: 5, shape: 100000000}]", "t:2:13: a shaper for 100000000 cells is not possible"},
	} {
		_, err := ParseTopology("t", []byte("nodes: 1\ncontracts: "+c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s:\n%v\nwant %s", c.text, err, c.want)
		}
	}
}

func TestConformanceString(t *testing.T) {
	if got := fmt.Sprint(Unpoliced, CBR1, VBR3, UBR2, Conformance(9)); got != " CBR.1 VBR.3 UBR.2 Conformance(9)" {
		t.Errorf("%q", got)
	}
}
