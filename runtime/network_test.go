package runtime

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"rmemrun/atm"
)

// A simulation is a network in emulated time, whose nodes record what they receive.
type simulation struct {
	*fabric
	clock *atm.SimClock
	nodes []*recorder
}

func simulate(t interface{ Fatal(...any) }, top *Topology, seed uint64, events *stream) *simulation {
	s := &simulation{clock: atm.NewSimClock()}
	if err := top.Check(); err != nil {
		t.Fatal(err)
	}
	var err error
	s.fabric, err = newFabric(fabricConfig{topology: top, clock: s.clock, seed: seed, events: events, taps: events != nil})
	if err != nil {
		t.Fatal(err)
	}
	for i := range top.Nodes {
		s.nodes = append(s.nodes, new(recorder))
		s.attach(i, s.nodes[i])
	}
	s.start()
	return s
}

// deliver sends a cell from a node and returns where it comes out after a time: which node, and on which VC.
func (s *simulation) deliver(from int, vc atm.VC, wait time.Duration) string {
	c := cell(vc, 7)
	s.ports[from].Send(c)
	s.clock.Run(s.clock.Now() + wait)
	var got []string
	for i, n := range s.nodes {
		for _, c := range n.cells {
			h, ok := c.Header()
			if !ok || c.Payload()[47] != 7 {
				got = append(got, "damaged")
			}
			got = append(got, fmt.Sprintf("node %d VC %v", i, h.VC))
		}
		n.cells = nil
	}
	return strings.Join(got, ", ")
}

// setWays makes all links alike.
func setWays(top *Topology, w Way) {
	_ = top.EachWay(func(to *Way) error { *to = w; return nil }) // which never fails
}

func at(node int, vc atm.VC) string { return fmt.Sprintf("node %d VC %v", node, vc) }

// Whatever the topology: all pairs of nodes are joined, by control circuits and by those that are opened, in both directions; and circuits
// that are closed leave nothing behind.
func TestNetworkJoinsAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		top := randomTopology(t)
		if rapid.Bool().Draw(t, "with delay") {
			setWays(top, Way{Delay: time.Millisecond, Rate: atm.OC3})
		}
		const wait = 50 * time.Millisecond
		s := simulate(t, top, 0, nil)
		defer s.close()
		before := connections(s.fabric)
		for a, p := range s.ports {
			for b, q := range s.ports {
				if got, want := s.deliver(a, controlVC(b), wait), at(b, controlVC(a)); got != want {
					t.Fatalf("on the control circuit from node %d to %d: %s, want %s", a, b, got, want)
				}
				local, remote, err := p.Open(b)
				if err != nil {
					t.Fatal(err)
				}
				for i := range uint16(2) {
					u, v := atm.VC{VPI: local.VPI, VCI: local.VCI + i}, atm.VC{VPI: remote.VPI, VCI: remote.VCI + i}
					if got, want := s.deliver(a, u, wait), at(b, v); got != want {
						t.Fatalf("from node %d: %s, want %s", a, got, want)
					}
					if got, want := s.deliver(b, v, wait), at(a, u); got != want {
						t.Fatalf("from node %d: %s, want %s", b, got, want)
					}
				}
				if rapid.Bool().Draw(t, "closed by the peer") {
					q.Close(remote)
				} else {
					p.Close(local)
				}
				s.clock.Run(s.clock.Now() + 2*rest)
				if got := s.deliver(a, local, wait); got != "" {
					t.Fatalf("a cell of a closed circuit came out: %s", got)
				}
			}
		}
		if after := connections(s.fabric); after != before {
			t.Errorf("circuits were opened and closed; of VCs in use were %s, and are %s", before, after)
		}
	})
}

// connections counts the VCs in use on all cables and in all loops.
func connections(f *fabric) string {
	var counts []int
	for _, c := range f.cables {
		counts = append(counts, c.vcs.count)
	}
	for _, p := range f.ports {
		counts = append(counts, p.loops.count)
	}
	return fmt.Sprint(counts)
}

// Whatever links fail and come back: two nodes between which a way is left, over switches that are joined by links that work, are joined;
// others are not; and when all is repaired all are.
func TestNetworkFailures(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		top := randomTopology(t)
		s := simulate(t, top, 0, nil)
		defer s.close()
		local := map[[2]int]atm.VC{}
		remote := map[[2]int]atm.VC{}
		for a := range s.ports {
			for b := range a {
				l, r, err := s.ports[a].Open(b)
				if err != nil {
					t.Fatal(err)
				}
				local[[2]int{a, b}], remote[[2]int{a, b}] = l, r
			}
		}
		down := map[int]bool{}
		check := func() {
			for pair, vc := range local {
				a, b := pair[0], pair[1]
				want := [2]string{}
				if joined(top, down, a, b) {
					want = [2]string{at(b, remote[pair]), at(b, controlVC(a))}
				}
				if got := s.deliver(a, vc, 0); got != want[0] {
					t.Fatalf("links %v are down. From node %d to node %d: %q, want %q", down, a, b, got, want[0])
				}
				if got := s.deliver(a, controlVC(b), 0); got != want[1] {
					t.Fatalf("links %v are down. On the control circuit from node %d to node %d: %q, want %q", down, a, b, got, want[1])
				}
			}
		}
		check()
		for range rapid.IntRange(1, 6).Draw(t, "steps") {
			i := rapid.IntRange(0, len(top.Links)-1).Draw(t, "link")
			down[i] = !down[i]
			if err := s.setLink(top.Links[i].Name, down[i]); err != nil {
				t.Fatal(err)
			}
			s.clock.Run(s.clock.Now())
			check()
		}
		for i, l := range top.Links {
			if down[i] {
				down[i] = false
				if err := s.setLink(l.Name, false); err != nil {
					t.Fatal(err)
				}
			}
		}
		s.clock.Run(s.clock.Now())
		check()
	})
}

// joined finds by search whether a way from one node to another is left.
func joined(top *Topology, down map[int]bool, a, b int) bool {
	reached := []string{top.Nodes[a]}
	for i := 0; i < len(reached); i++ {
		if reached[i] == top.Nodes[b] {
			return true
		}
		if i > 0 && slices.Contains(top.Nodes, reached[i]) {
			continue
		}
		for k, l := range top.Links {
			for end := range 2 {
				if !down[k] && l.Ends[end] == reached[i] && !slices.Contains(reached, l.Ends[1-end]) {
					reached = append(reached, l.Ends[1-end])
				}
			}
		}
	}
	return false
}

// Ways are the shortest: by links, then by delay.
func TestRoutes(t *testing.T) {
	square := `
nodes: [a, b]
switches: [w, n, s, s2, e]
links:
  - ends: [a, w]
  - ends: [b, e]
  - {ends: [w, n], delay: 2ms}
  - {ends: [n, e], delay: 2ms}
  - {ends: [w, s], delay: 1ms}
  - {ends: [s, e], delay: 2ms}
  - {ends: [w, s2]}
  - {ends: [s2, s]}
`
	top, err := ParseTopology("t", []byte(square))
	if err != nil {
		t.Fatal(err)
	}
	s := simulate(t, top, 0, nil)
	defer s.close()
	way := func() string {
		var names []string
		for _, h := range s.controlCircuit(s.ports[0], s.ports[1]).hops {
			names = append(names, h.cable.name)
		}
		return strings.Join(names, " ")
	}
	for _, step := range []struct {
		cut  string
		want string
	}{
		{"", "a-w w-s s-e b-e"},
		{"w-s", "a-w w-n n-e b-e"},
		{"n-e", "a-w w-s2 s2-s s-e b-e"},
		{"s-e", "a-w w-s2 s2-s s-e b-e"}, // no way is left: it stays
	} {
		if step.cut != "" {
			if err := s.setLink(step.cut, true); err != nil {
				t.Fatal(err)
			}
		}
		s.clock.Run(s.clock.Now() + 10*time.Millisecond)
		if got := way(); got != step.want {
			t.Errorf("after the cut of %q the way is %s, want %s", step.cut, got, step.want)
		}
	}
}

// Circuits between different nodes are spread over ways that cost the same.
func TestRoutesSpread(t *testing.T) {
	top, err := BuiltinTopology("fattree", 16)
	if err != nil {
		t.Fatal(err)
	}
	s := simulate(t, top, 0, nil)
	defer s.close()
	used := map[string]bool{}
	for _, c := range s.controls {
		for _, h := range c.hops {
			for _, end := range h.cable.ends {
				used[end.name] = true
			}
		}
	}
	for _, core := range top.Switches[:4] {
		if !used[core] {
			t.Errorf("no circuit goes through the core switch %s", core)
		}
	}
}

// A link that is cut at a planned time: the far end notices after its delay; the ends of the circuits hear of it by AIS, and their other ends
// by RDI; those that can be are moved, and have no alarm after that.
func TestCut(t *testing.T) {
	for _, c := range []struct {
		word   string
		moved  bool
		events []string
	}{
		{"ring", true, []string{
			"2.001s failed s0-s1 s0>s1 moved 0 stranded 0",
			"2.001s failed s0-s1 s1>s0 moved 0 stranded 0",
			"2.001s rerouted s0-s1 s0>s1 moved 2 stranded 0",
			"4.001s repaired s0-s1 s0>s1 moved 0 stranded 0",
			"4.001s repaired s0-s1 s1>s0 moved 0 stranded 0",
		}},
		{"line", false, []string{
			"2.001s failed s0-s1 s0>s1 moved 0 stranded 0",
			"2.001s failed s0-s1 s1>s0 moved 0 stranded 0",
			"2.001s rerouted s0-s1 s0>s1 moved 0 stranded 3",
			"4.001s repaired s0-s1 s0>s1 moved 0 stranded 0",
			"4.001s repaired s0-s1 s1>s0 moved 0 stranded 0",
		}},
	} {
		top, err := BuiltinTopology(c.word, 3)
		if err != nil {
			t.Fatal(err)
		}
		setWays(top, Way{Delay: time.Millisecond})
		for i := range top.Links {
			if l := &top.Links[i]; l.Name == "s0-s1" {
				for w := range l.Ways {
					l.Ways[w].Cuts = []atm.Outage{{From: 2 * time.Second, To: 4 * time.Second}}
				}
			}
		}
		var s *simulation
		var events []string
		alarms := map[string]bool{}
		s = simulate(t, top, 0, &stream{observer: func(e *Event) {
			switch l := e.Link; l.What {
			case LinkFailed, LinkRepaired, LinkRerouted:
				events = append(events, fmt.Sprintf("%v %v %s %s>%s moved %d stranded %d", s.clock.Now(), l.What, l.Link, l.From, l.To, l.Moved, l.Stranded))
			case LinkAlarm:
				alarms[fmt.Sprintf("node %d circuit from %d: %v %s", e.Node, l.Peer, l.Alarms, l.Link)] = true
			}
		}})
		s.fabric.first = 7 // as if another rmemrun had the seven before
		local, remote, err := s.ports[0].Open(1)
		if err != nil {
			t.Fatal(err)
		}
		s.clock.Run(2500 * time.Millisecond)
		want := ""
		if c.moved {
			want = at(1, remote)
		}
		if got := s.deliver(0, local, 10*time.Millisecond); got != want {
			t.Errorf("%s: while the link is cut, a cell arrives at %q, want %q", c.word, got, want)
		}
		s.clock.Run(3900 * time.Millisecond)
		end := s.ports[1].oamEnd(remote, false)
		if end == nil {
			t.Fatalf("%s: no OAM cell came to node 1", c.word)
		}
		if got, want := end.Alarms()&atm.AlarmAIS != 0, !c.moved; got != want { // user cells have ended it
			t.Errorf("%s: while the link is cut, the circuit's alarms are %v", c.word, end.Alarms())
		}
		s.clock.Run(10 * time.Second)
		if got := end.Alarms(); got != 0 {
			t.Errorf("%s: when all is well again the alarms are %v", c.word, got)
		}
		if got, want := s.deliver(0, local, 10*time.Millisecond), at(1, remote); got != want {
			t.Errorf("%s: when all is well again, a cell arrives at %q, want %q", c.word, got, want)
		}
		if !slices.Equal(events, c.events) {
			t.Errorf("%s: the events are\n%s\nwant\n%s", c.word, strings.Join(events, "\n"), strings.Join(c.events, "\n"))
		}
		for _, want := range []string{"node 8 circuit from 7: AIS s0-s1", "node 7 circuit from 8: AIS s0-s1"} {
			if !alarms[want] {
				t.Errorf("%s: nobody heard %q; the alarms were %v", c.word, want, alarms)
			}
		}
		s.close()
	}
}

// One direction only is cut: the end that still receives hears of it by RDI.
func TestCutOneWay(t *testing.T) {
	top, err := BuiltinTopology("line", 2)
	if err != nil {
		t.Fatal(err)
	}
	for i := range top.Links {
		if l := &top.Links[i]; l.Name == "s0-s1" {
			l.Ways[0].Cuts = []atm.Outage{{From: time.Second, To: atm.Forever}}
		}
	}
	s := simulate(t, top, 0, nil)
	defer s.close()
	s.clock.Run(1500 * time.Millisecond)
	near, far := s.ports[0].oamEnd(controlVC(1), false), s.ports[1].oamEnd(controlVC(0), false)
	if near == nil || near.Alarms() != atm.AlarmRDI {
		t.Errorf("node 0, which is not heard, has the alarms %v, want RDI", near)
	}
	if far == nil || far.Alarms() != atm.AlarmAIS {
		t.Errorf("node 1, which hears nothing, has the alarms %v, want AIS", far)
	}
}

// A loopback finds every hop, and the first that is dead.
func TestPing(t *testing.T) {
	for _, c := range []struct {
		top      string
		from, to int
		cut      string
		want     string
	}{
		{"default 2", 0, 1, "", "n1:0/32"},
		{"default 2", 1, 0, "", "n0:0/33"},
		{"star 3", 0, 2, "", "s0:0/34 n2:0/32"},
		{"line 3", 2, 0, "", "s2:0/32 s1:0/33 s0:0/35 n0:0/34"},
		{"line 3", 2, 0, "s0-s1", "s2:0/32 s1:0/33 s0:dead n0:dead"},
		{"line 3", 0, 2, "s0-s1", "s0:0/34 s1:dead s2:dead n2:dead"},
		{"line 3", 0, 2, "n0-s0", "s0:dead s1:dead s2:dead n2:dead"},
	} {
		word, count, _ := strings.Cut(c.top, " ")
		n := int(count[0] - '0')
		top, err := DefaultTopology(n), error(nil)
		if word != "default" {
			top, err = BuiltinTopology(word, n)
		}
		if err != nil {
			t.Fatal(err)
		}
		m, err := PlanNetwork(top, 0)
		if err != nil {
			t.Fatal(err)
		}
		if c.cut != "" {
			if err := m.SetLink(c.cut, true); err != nil {
				t.Fatal(err)
			}
		}
		hops, err := m.Ping(c.from, c.to, 50*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, h := range hops {
			if h.Answered {
				got = append(got, fmt.Sprintf("%s:%d/%d", h.Name, h.VPI, h.VCI))
			} else {
				got = append(got, h.Name+":dead")
			}
		}
		if got := strings.Join(got, " "); got != c.want {
			t.Errorf("%s, from %d to %d, %q cut: %s, want %s", c.top, c.from, c.to, c.cut, got, c.want)
		}
		for _, pair := range [][2]int{{0, 0}, {0, n}, {-1, 0}} {
			if _, err := m.Ping(pair[0], pair[1], time.Second); err == nil {
				t.Errorf("a loopback from node %d to node %d was made", pair[0], pair[1])
			}
		}
		m.Close()
		if _, err := m.Ping(c.from, c.to, time.Second); err == nil {
			t.Error("a loopback was made on a network that is closed")
		}
	}
}

// What is lost is told with the link and the reason, and counted; the same seed loses the same cells.
func TestDropsAreTold(t *testing.T) {
	lose := func(seed uint64) (told []int) {
		top, err := BuiltinTopology("line", 2)
		if err != nil {
			t.Fatal(err)
		}
		for i := range top.Links {
			if top.Links[i].Name == "s0-s1" {
				top.Links[i].Ways[0].Impairment.Loss = 0.1
			}
		}
		sent, received, n := 0, 0, 0
		s := simulate(t, top, seed, &stream{observer: func(e *Event) {
			l := e.Link
			if e.Kind != OnLink || l.Link != "s0-s1" {
				return
			}
			if l.From != "s0" || l.To != "s1" || l.Cell.VC().VCI&1 == 0 {
				t.Errorf("a cell of the control circuit from node 0 to 1 passes from %s to %s on VC %v", l.From, l.To, l.Cell.VC())
			}
			switch l.What {
			case LinkSent:
				sent++
			case LinkReceived:
				received++
			case LinkDropped:
				if told = append(told, n); l.Drop != atm.DropLoss {
					t.Errorf("a cell was dropped because of %v, want loss", l.Drop)
				}
			}
		}})
		defer s.close()
		const cells = 1000
		for n = range cells {
			s.ports[0].Send(cell(controlVC(1), 0))
			s.clock.Run(s.clock.Now() + leastDelay) // a lost cell is told of when it would have arrived
		}
		r := (&NetworkMonitor{fabric: s.fabric}).Report(true)
		for _, l := range r.Links {
			if l.Name != "s0-s1" {
				continue
			}
			w := l.Ways[0]
			if w.Offered != cells || w.Delivered != cells-uint64(len(told)) || w.Dropped["loss"] != uint64(len(told)) {
				t.Errorf("the report says %+v; %d cells were lost of %d", w, len(told), cells)
			}
		}
		if len(told) < 60 || len(told) > 140 || sent != cells || received != cells-len(told) {
			t.Errorf("of %d cells with a loss of 0.1, %d were seen to be sent, %d to arrive, %d to be lost", cells, sent, received, len(told))
		}
		return told
	}
	first, again, other := lose(1), lose(1), lose(2)
	if !slices.Equal(first, again) {
		t.Error("the same seed lost other cells")
	}
	if slices.Equal(first, other) {
		t.Error("another seed lost the same cells")
	}
}

// A cell that a switch cannot use is told of, too.
func TestSwitchDropsAreTold(t *testing.T) {
	top, err := BuiltinTopology("star", 3)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	s := simulate(t, top, 0, &stream{observer: func(e *Event) {
		if e.Link.What == LinkDropped {
			told = append(told, fmt.Sprintf("%s %s>%s %v", e.Link.Link, e.Link.From, e.Link.To, e.Link.Drop))
		}
	}})
	defer s.close()
	s.ports[1].Send(cell(atm.VC{VCI: 999}, 0))
	c := cell(controlVC(0), 0)
	c[0] ^= 1
	s.ports[2].Send(c)
	want := []string{"n1-s0 n1>s0 no-route", "n2-s0 n2>s0 hec"}
	if !slices.Equal(told, want) {
		t.Errorf("dropped: %q, want %q", told, want)
	}
}

// What is too large is refused, not begun.
func TestNetworkTooLarge(t *testing.T) {
	top, err := BuiltinTopology("line", 400)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newFabric(fabricConfig{topology: top, clock: atm.NewSimClock()}); err == nil || !strings.Contains(err.Error(), "too many") {
		t.Errorf("a line of 400 nodes: %v", err)
	}
}
