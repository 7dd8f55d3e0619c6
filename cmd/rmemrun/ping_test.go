package main

import (
	"strings"
	"testing"

	"rmemrun/runtime"
)

// What is dead is behind the last hop that has answered; cells that were lost before it make nothing dead.
func TestPingVerdict(t *testing.T) {
	hop := func(name string, answered bool, lost int) runtime.Hop {
		return runtime.Hop{Name: name, Link: "to-" + name, Answered: answered, Lost: lost}
	}
	for _, c := range []struct {
		name string
		hops []runtime.Hop
		want string // "": nothing is dead
	}{
		{"all answer", []runtime.Hop{hop("a", true, 0), hop("b", true, 0)}, ""},
		{"the first loses all", []runtime.Hop{hop("a", false, 10), hop("b", true, 2)}, ""},
		{"all are dead", []runtime.Hop{hop("a", false, 10), hop("b", false, 10)}, "b does not answer: hop 1 is dead, a or the link to-a to it"},
		{"the last is dead", []runtime.Hop{hop("a", true, 0), hop("b", false, 10)}, "b does not answer: hop 2 is dead, b or the link to-b to it"},
		{"lossy, then dead", []runtime.Hop{hop("a", false, 10), hop("b", true, 1), hop("c", false, 10), hop("d", false, 10)},
			"d does not answer: hop 3 is dead, c or the link to-c to it; or it loses too much, as the way before it is lossy: 11 of 12 requests were lost"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := verdict(c.hops); got != c.want {
				t.Errorf("it says %q, want %q", got, c.want)
			}
		})
	}
}

// Who does not answer is asked again, and what was lost is counted.
func TestPingLossy(t *testing.T) {
	top, err := runtime.BuiltinTopology("ring", 4)
	if err != nil {
		t.Fatal(err)
	}
	// The first cells from node 0, which are the first requests to s0 and s1.
	if err := runtime.ParseWay("drop=[1,2]", &top.Links[linkOf(t, top, "n0-s0")].Ways[0]); err != nil {
		t.Fatal(err)
	}
	m, err := runtime.PlanNetwork(top, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	answer := answerFrom(m, liveRequest{Version: liveVersion, Command: "ping", From: "0", To: "n2", Timeout: 5e9})
	if answer.Error != "" {
		t.Fatal(answer.Error)
	}
	var got []string
	for _, h := range answer.Hops {
		if !h.Answered {
			t.Errorf("hop %s has not answered", h.Name)
		}
		got = append(got, strings.Repeat("x", h.Lost)+h.Name)
	}
	if lost, asked := lostOf(answer.Hops); lost != 2 || asked != len(got)+2 || !strings.HasPrefix(got[0]+got[1], "xs0x") {
		t.Errorf("lost are %d of %d requests: %q, want 2, those to the first two hops", lost, asked, got)
	}
}

// linkOf is the index of the link with a name.
func linkOf(t *testing.T, top *runtime.Topology, name string) int {
	t.Helper()
	for i, l := range top.Links {
		if l.Name == name {
			return i
		}
	}
	t.Fatalf("there is no link %s", name)
	return -1
}
