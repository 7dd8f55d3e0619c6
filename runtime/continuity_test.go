package runtime

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rmemrun/atm"
	"rmemrun/rmem"
)

// silentTrunk is a topology in which the link s0-s1 is silent towards s1 at a time.
func silentTrunk(t *testing.T, word string, nodes int, times atm.Outage) *Topology {
	t.Helper()
	top, err := BuiltinTopology(word, nodes)
	if err != nil {
		t.Fatal(err)
	}
	setWays(top, Way{Delay: time.Millisecond})
	for i := range top.Links {
		if l := &top.Links[i]; l.Name == "s0-s1" {
			l.Ways[0].Impairment.Outages = []atm.Outage{times}
		}
	}
	return top
}

// A link that loses everything in one direction, while its signal stays, is found by loss of continuity 3.5 s after its last cell, half a
// second more or less. AIS and RDI then say which it is, circuits are led around, and its first cell after that ends the failure.
func TestSilentLink(t *testing.T) {
	for _, c := range []struct {
		word   string
		moved  bool
		events []string
	}{
		{"ring", true, []string{
			"5s failed s0-s1 s0>s1 loss of continuity moved 0 stranded 0",
			"5s rerouted s0-s1 s0>s1  moved 2 stranded 0",
			"10.001s repaired s0-s1 s0>s1  moved 0 stranded 0",
		}},
		{"line", false, []string{
			"5s failed s0-s1 s0>s1 loss of continuity moved 0 stranded 0",
			"5s rerouted s0-s1 s0>s1  moved 0 stranded 3",
			"10.001s repaired s0-s1 s0>s1  moved 0 stranded 0",
		}},
	} {
		t.Run(c.word, func(t *testing.T) {
			top := silentTrunk(t, c.word, 3, atm.Outage{From: 1500 * time.Millisecond, To: 9500 * time.Millisecond})
			var s *simulation
			var events []string
			alarms := map[string]bool{}
			s = simulate(t, top, 0, &stream{observer: func(e *Event) {
				switch l := e.Link; l.What {
				case LinkFailed, LinkRepaired, LinkRerouted:
					events = append(events, fmt.Sprintf("%v %v %s %s>%s %v moved %d stranded %d", s.clock.Now(), l.What, l.Link, l.From, l.To, l.Defect, l.Moved, l.Stranded))
				case LinkAlarm:
					alarms[fmt.Sprintf("node %d circuit from %d: %v %s", e.Node, l.Peer, l.Alarms, l.Link)] = true
				}
			}})
			defer s.close()
			local, remote, err := s.ports[0].Open(1)
			if err != nil {
				t.Fatal(err)
			}
			s.clock.Run(2 * time.Second)
			if got := s.deliver(0, local, 10*time.Millisecond); got != "" {
				t.Errorf("a cell has passed the silent link, to %q", got)
			}
			s.clock.Run(6 * time.Second)
			want := ""
			if c.moved {
				want = at(1, remote)
			}
			if got := s.deliver(0, local, 10*time.Millisecond); got != want {
				t.Errorf("when the failure is known, a cell arrives at %q, want %q", got, want)
			}
			for _, l := range (&NetworkMonitor{fabric: s.fabric}).Report(false).Links {
				for i, w := range l.Ways {
					want := ""
					if l.Name == "s0-s1" && i == 0 {
						want = "loss of continuity"
					}
					if w.Defect != want {
						t.Errorf("the report says of %s from %s to %s: %q, want %q", l.Name, w.From, w.To, w.Defect, want)
					}
				}
			}
			s.clock.Run(15 * time.Second)
			if got, want := s.deliver(0, local, 10*time.Millisecond), at(1, remote); got != want {
				t.Errorf("when all is well again, a cell arrives at %q, want %q", got, want)
			}
			if !slices.Equal(events, c.events) {
				t.Errorf("the events are\n%s\nwant\n%s", strings.Join(events, "\n"), strings.Join(c.events, "\n"))
			}
			// Node 1 hears of it from s1, and tells node 0.
			for _, want := range []string{"node 1 circuit from 0: AIS s0-s1", "node 0 circuit from 1: RDI "} {
				if !alarms[want] {
					t.Errorf("nobody heard %q; the alarms were %v", want, alarms)
				}
			}
		})
	}
}

// Remote memory over a link that falls silent: where another way leads around it, nothing is lost but time; where none does, the peer is
// down when it has been silent for too long, and the report names the link.
func TestSilentLinkUnderRemoteMemory(t *testing.T) {
	for _, c := range []struct {
		word string
		want rmem.Error
	}{{"ring", rmem.OK}, {"line", rmem.EDOWN}} {
		t.Run(c.word, func(t *testing.T) {
			s := simulate(t, silentTrunk(t, c.word, 3, atm.Outage{From: 1500 * time.Millisecond, To: atm.Forever}), 0, nil)
			defer s.close()
			d := newDirectory(3)
			var spaces [2]*rmem.Space
			for i := range spaces {
				n := rmem.New(rmem.Config{ID: i, Nodes: 3, Network: s.ports[i], Directory: d, Clock: s.clock})
				s.attach(i, n)
				spaces[i] = n.NewSpace()
			}
			target := make([]byte, 4096)
			if _, err := spaces[1].Export("target", target, rmem.Read|rmem.Write); err != rmem.OK {
				t.Fatal(err)
			}
			var o rmem.Operation
			do := func(begin func(), patience time.Duration) rmem.Error {
				t.Helper()
				begin()
				for until, end := s.clock.Now(), s.clock.Now()+patience; !o.Done() && until < end; {
					until += 100 * time.Millisecond
					s.clock.Run(until)
				}
				if !o.Done() {
					t.Fatalf("it is not over after %v", patience)
				}
				return o.Result()
			}
			if err := do(func() { spaces[0].Import(&o, "target", 1, rmem.Write, true) }, time.Second); err != rmem.OK {
				t.Fatal(err)
			}
			desc := rmem.Desc(o.Handle())
			o.Reset()
			s.clock.Run(2 * time.Second)
			source := bytes.Repeat([]byte("remote"), 600)
			if err := do(func() { spaces[0].Write(&o, desc, 0, bytes.NewReader(source), uint64(len(source)), 1, false) }, 20*time.Second); err != rmem.OK {
				t.Fatal(err)
			}
			o.Reset()
			if err := do(func() { spaces[0].Fence(&o, desc) }, 20*time.Second); err != c.want {
				t.Errorf("the fence gives %v at %v, want %v", err, s.clock.Now(), c.want)
			}
			if arrived := bytes.Equal(target[:len(source)], source); arrived != (c.want == rmem.OK) {
				t.Errorf("the write has arrived: %v", arrived)
			}
			var dead []string
			for _, l := range (&NetworkMonitor{fabric: s.fabric}).Report(false).Links {
				for _, w := range l.Ways {
					if w.Defect != "" {
						dead = append(dead, fmt.Sprintf("%s>%s %s", w.From, w.To, w.Defect))
					}
				}
			}
			if want := []string{"s0>s1 loss of continuity"}; !slices.Equal(dead, want) {
				t.Errorf("dead are %q, want %q", dead, want)
			}
		})
	}
}

// The checks cost nothing where nothing can be lost unseen.
func TestContinuityIsCheckedWhereCellsMayBeLost(t *testing.T) {
	for _, c := range []struct {
		change func(*Way)
		want   bool
	}{
		{func(*Way) {}, false},
		{func(w *Way) { w.Rate, w.Delay = atm.OC3, time.Millisecond }, false},
		{func(w *Way) { w.Impairment.Loss = 0.1 }, true},
		{func(w *Way) { w.Cuts = []atm.Outage{{From: 0, To: time.Second}} }, true},
	} {
		top, err := BuiltinTopology("star", 3)
		if err != nil {
			t.Fatal(err)
		}
		c.change(&top.Links[0].Ways[1])
		s := simulate(t, top, 0, nil)
		for i, cable := range s.cables {
			for end, e := range cable.paths {
				if got, want := e != nil, c.want && i == 0; got != want {
					t.Errorf("%+v: continuity is checked at end %d of link %d: %v, want %v", top.Links[0].Ways[1], end, i, got, want)
				}
			}
		}
		if got := s.clock.Run(10*time.Second) > 0; got != c.want {
			t.Errorf("%+v: the clock has something to do: %v, want %v", top.Links[0].Ways[1], got, c.want)
		}
		s.close()
	}
}

// Loss that is not total is no failure as long as something comes.
func TestContinuityWithLoss(t *testing.T) {
	top, err := BuiltinTopology("line", 2)
	if err != nil {
		t.Fatal(err)
	}
	setWays(top, Way{Impairment: atm.Impairment{Loss: 0.5}})
	failed := 0
	s := simulate(t, top, 1, &stream{observer: func(e *Event) {
		if e.Link.What == LinkFailed {
			failed++
		}
	}})
	defer s.close()
	for range 600 { // a minute of traffic both ways
		for node := range 2 {
			for range 10 {
				s.ports[node].Send(cell(controlVC(1-node), 0))
			}
		}
		s.clock.Run(s.clock.Now() + 100*time.Millisecond)
	}
	if failed > 0 {
		t.Errorf("links that lose half the cells, and carry 100 a second, have failed %d times", failed)
	}
}

// A cell of a path's management whose header was damaged is none: the switch discards it and says so.
func TestPathEndDamagedHeader(t *testing.T) {
	var r recorder
	e := &pathEnd{oam: atm.NewOAMEnd(atm.OAMEndConfig{Clock: atm.NewSimClock(), Path: true, Send: nowhere{}}), to: &r}
	var c atm.Cell
	if err := atm.EncodeOAM(&c, atm.OAM{Kind: atm.OAMCC}); err != nil {
		t.Fatal(err)
	}
	c.SetHeader(atm.F4End.Header(atm.VC{}))
	e.Receive(&c)
	if len(r.cells) != 0 {
		t.Errorf("a continuity check was passed on")
	}
	c[4] ^= 1
	e.Receive(&c)
	if len(r.cells) != 1 {
		t.Errorf("a cell with a damaged header was not passed on")
	}
}

// Who waits for a notification has no traffic to notice silence by: it is told EDOWN when the network has had no way to any other node for
// the time of silence, and not where there is another way, where the link is repaired in time, or to a third node.
func TestWaitOverDeadLink(t *testing.T) {
	const failed = 1500 * time.Millisecond
	for _, c := range []struct {
		name, word string
		nodes      int
		cut        []atm.Outage
		silent     []atm.Outage
		from, to   time.Duration // the wait ends between; 0: it does not
	}{
		{"cut for ever", "line", 2, []atm.Outage{{From: failed, To: atm.Forever}}, nil, failed + rmem.DefaultSilence, failed + rmem.DefaultSilence + time.Second},
		{"silent for ever", "line", 2, nil, []atm.Outage{{From: failed, To: atm.Forever}}, failed + rmem.DefaultSilence, failed + rmem.DefaultSilence + 5*time.Second},
		{"cut for 9 s", "line", 2, []atm.Outage{{From: failed, To: failed + 9*time.Second}}, nil, 0, 0},
		{"another way", "ring", 3, []atm.Outage{{From: failed, To: atm.Forever}}, nil, 0, 0},
		{"a third node", "line", 3, []atm.Outage{{From: failed, To: atm.Forever}}, nil, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			top, err := BuiltinTopology(c.word, c.nodes)
			if err != nil {
				t.Fatal(err)
			}
			for i := range top.Links {
				if l := &top.Links[i]; l.Name == "s0-s1" {
					l.Ways[0].Cuts, l.Ways[0].Impairment.Outages = c.cut, c.silent
				}
			}
			s := simulate(t, top, 0, nil)
			defer s.close()
			n := rmem.New(rmem.Config{ID: 1, Nodes: c.nodes, Network: s.ports[1], Directory: newDirectory(c.nodes), Clock: s.clock})
			s.attach(1, n)
			space := n.NewSpace()
			seg, e := space.Export("seg", make([]byte, 64), rmem.Write)
			if e != rmem.OK {
				t.Fatal(e)
			}
			var o rmem.Operation
			space.Wait(&o, seg)
			for now := time.Duration(0); !o.Done() && now < time.Minute; now += 100 * time.Millisecond {
				s.clock.Run(now)
			}
			now := s.clock.Now()
			switch {
			case c.to == 0 && o.Done():
				t.Errorf("it has ended with %v at %v", o.Result(), now)
			case c.to > 0 && (!o.Done() || o.Result() != rmem.EDOWN || now < c.from || now > c.to):
				t.Errorf("done: %v, %v at %v, want EDOWN from %v to %v", o.Done(), o.Result(), now, c.from, c.to)
			}
		})
	}
}

// reaches notes what a node is told of others.
type reaches []string

func (r *reaches) PeerReachable(node int, yes bool) { *r = append(*r, fmt.Sprint(node, yes)) }

// Nodes are told of each other by their numbers in the job, once when there is no way and once when there is one again.
func TestNodesAreToldWhoCanBeReached(t *testing.T) {
	top, err := BuiltinTopology("line", 3)
	if err != nil {
		t.Fatal(err)
	}
	for i := range top.Links {
		if l := &top.Links[i]; l.Name == "n2-s2" {
			l.Ways[1].Cuts = []atm.Outage{{From: time.Second, To: 2 * time.Second}, {From: 3 * time.Second, To: 4 * time.Second}}
		}
	}
	s := simulate(t, top, 0, nil)
	defer s.close()
	s.first = 4
	told := make([]reaches, 3)
	for i := range told {
		s.ports[i].inform = &told[i]
	}
	s.clock.Run(10 * time.Second)
	for i, want := range []string{"[6 false 6 true 6 false 6 true]", "[6 false 6 true 6 false 6 true]", ""} {
		got := fmt.Sprint(told[i])
		if i == 2 { // of two at a time, in any order
			slices.Sort(told[i])
			got, want = fmt.Sprint(told[i]), "[4 false 4 false 4 true 4 true 5 false 5 false 5 true 5 true]"
		}
		if got != want {
			t.Errorf("node %d was told %s, want %s", i+4, got, want)
		}
	}
}
