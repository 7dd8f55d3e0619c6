package rmem

import (
	"testing"
	"time"

	"rmemrun/atm"
)

// Who waits for a notification is told when no other node could be reached for the time of silence, and not before; when one can be
// reached again, the next wait waits.
func TestWaitEndsWhenNobodyCanBeReached(t *testing.T) {
	clock := atm.NewSimClock()
	f := newFabric(t, 4, func(_ *fabric, c *Config) { c.Clock, c.Silence = clock, 10*time.Second })
	n := f.nodes[0]
	s := n.NewSpace()
	seg := mustExport(t, s, "seg", make([]byte, 64), access)
	own := mustImport(t, s, "seg", 0, access)
	wait := func() *op {
		o := newOp()
		s.Wait(&o.Operation, seg)
		return o
	}
	check := func(o *op, want bool, when string) {
		t.Helper()
		if o.Done() != want || want && o.Result() != EDOWN {
			t.Fatalf("%s: done: %v, want %v; the result is %v", when, o.Done(), want, o.Result())
		}
	}
	run := func(until time.Duration) {
		clock.AfterFunc(until-clock.Now(), func() {}) // the clock shows the time of what happened last
		clock.Run(until)
	}
	f.down(3)
	o := wait()
	n.PeerReachable(1, false)
	n.PeerReachable(0, false) // itself: of no account
	n.PeerReachable(9, false)
	run(15 * time.Second)
	check(o, false, "node 2 can be reached")
	n.PeerReachable(2, false)
	run(20 * time.Second)
	n.PeerReachable(2, true)
	run(30 * time.Second)
	check(o, false, "node 2 was away for 5 s")
	n.PeerReachable(2, false)
	n.PeerReachable(2, false) // known
	run(40*time.Second - 1)
	check(o, false, "node 2 is away for less than 10 s")
	run(40 * time.Second)
	check(o, true, "all are silent")
	check(wait(), true, "all are silent still")
	if e, _ := do(func(o *Operation) { s.Notify(o, own, 1) }); e != OK {
		t.Fatal(e)
	}
	if e, o := do(func(o *Operation) { s.Wait(o, seg) }); e != OK || o.Event().Offset != 1 {
		t.Fatalf("%v, %+v: what is there already is lost", e, o.Event())
	}
	n.PeerReachable(1, true)
	o = wait()
	run(100 * time.Second)
	check(o, false, "node 1 can be reached again")
	f.down(2) // which is silent: it counts once
	check(o, false, "node 1 is still there")
	n.PeerReachable(2, false)
	n.PeerReachable(2, true)
	check(o, false, "a node that is down is not to be reached again")
	f.down(1)
	check(o, true, "all are down")
}
