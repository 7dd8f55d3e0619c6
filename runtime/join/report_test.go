package join

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"rmemrun/atm"
	"rmemrun/rmem"
)

// What has happened on the link is in the report of either end, and in the log of one that has ended.
func TestReport(t *testing.T) {
	for _, form := range []string{"udp", "bare", "tcp"} {
		t.Run(form, func(t *testing.T) {
			var log bytes.Buffer
			a, b := joinLogged(t, form, 2, 3, func(addr string) string { return addr }, hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Info}))
			exchange(t, a, b, 1, 2, 40)
			exchange(t, b, a, 2, 1, 3000)

			// One circuit stays, from the last node to the first.
			if _, e := a.space[0].Export("stays", make([]byte, 8), rmem.Read); e != rmem.OK {
				t.Fatal(e)
			}
			if e, _ := do(t, func(o *rmem.Operation) { b.space[2].Import(o, "stays", 0, rmem.Read, true) }); e != rmem.OK {
				t.Fatal(e)
			}
			opened := map[atm.VC]bool{}
			for _, p := range []*process{a, b} {
				eventually(t, "one circuit is left", func() bool { return len(p.trunk.Circuits()) == 2*3+1 })
				control := map[atm.VC]bool{}
				for _, c := range p.trunk.Circuits() {
					if p == b {
						c.Here, c.There = c.There, c.Here
					}
					if c.Here < 0 || c.Here > 1 || c.There < 2 || c.There > 4 {
						t.Errorf("a circuit between nodes %d and %d", c.Here, c.There)
					}
					if c.Control {
						control[c.VC] = true
					} else if opened[c.VC] = true; c.Here != 0 || c.There != 4 {
						t.Errorf("the circuit is between nodes %d and %d", c.Here, c.There)
					}
				}
				if len(control) != 2*3 {
					t.Errorf("%d control circuits", len(control))
				}
			}
			if len(opened) != 1 {
				t.Errorf("the ends call the circuit by %v", opened)
			}

			if form != "tcp" {
				stranger, err := net.Dial("udp", a.trunk.Link().Local().String())
				if err != nil {
					t.Fatal(err)
				}
				defer stranger.Close()
				if _, err := stranger.Write([]byte("whoever reads this")); err != nil {
					t.Fatal(err)
				}
				eventually(t, "a stranger is counted", func() bool { return a.trunk.Report().Dropped["strangers"] == 1 })
			}
			ra, rb := a.trunk.Report(), b.trunk.Report()
			// A caller over UDP has bound a port only.
			if ra.Form != form || ra.Local != rb.Remote || ra.Remote.Port() != rb.Local.Port() || !ra.Remote.Addr().IsLoopback() || ra.Local == rb.Local {
				t.Errorf("the listener's link is %s from %v to %v, the caller's %s from %v to %v", ra.Form, ra.Local, ra.Remote, rb.Form, rb.Local, rb.Remote)
			}
			if ra.First != 2 || ra.Nodes != 3 || rb.First != 0 || rb.Nodes != 2 || ra.Down || rb.Down {
				t.Errorf("the listener says %+v, the caller %+v", ra, rb)
			}
			if ra.Sent < 70 || rb.Received < 70 || (ra.SentDatagrams > 0) != (form != "tcp") || len(rb.Dropped) != 0 {
				t.Errorf("the listener says %+v, the caller %+v", ra, rb)
			}
			b.end(t)
			a.end(t)
			if !a.trunk.Report().Down {
				t.Error("the link is not said to be down when it has ended")
			}
			text := log.String()
			if !strings.Contains(text, "[INFO]  the link to the other rmemrun has ended: form="+form+" local=127.0.0.1:") {
				t.Errorf("the log: %s", text)
			}
			if strings.Contains(text, "[WARN]  datagrams of strangers came") != (form != "tcp") {
				t.Errorf("of strangers the log says: %s", text)
			}
		})
	}
}

// A node there answers loopbacks on its control circuit, whoever asks; one that is cut off does not.
func TestPing(t *testing.T) {
	for _, form := range []string{"udp", "bare", "tcp"} {
		t.Run(form, func(t *testing.T) {
			a, b := join(t, form, 2, 3)
			for i := range 2 {
				for j := range 3 {
					here, there := i, 2+j
					for _, k := range []struct {
						trunk    *Trunk
						from, to int
					}{{a.trunk, here, there}, {b.trunk, there, here}} {
						vc, r, lost, err := k.trunk.Ping(k.from, k.to, 5*time.Second)
						if err != nil || !r.Answered || lost != 0 || vc != (atm.VC{VCI: rmem.ControlVCI(k.from)}) {
							t.Fatalf("node %d from node %d: %v, %d lost, %+v, %v", k.to, k.from, vc, lost, r, err)
						}
						if got, want := string(bytes.TrimRight(r.By[:], "\x00")), fmt.Sprint("node ", k.to); got != want {
							t.Errorf("node %d from node %d: %q answers", k.to, k.from, got)
						}
					}
				}
			}
			for _, p := range []*process{a, b} {
				for i, n := range p.nodes {
					for why, k := range n.Drops() {
						if k != 0 {
							t.Errorf("node %d has dropped %d cells: %v", p.trunk.First()+i, k, rmem.Reason(why))
						}
					}
				}
			}
			b.end(t)
			eventually(t, "the trunk is over", a.trunk.over)
			if _, _, _, err := a.trunk.Ping(0, 2, time.Second); !errors.Is(err, ErrEnded) {
				t.Errorf("a ping after the end: %v", err)
			}
			a.end(t)
		})
	}
}

// Who answers nothing is asked again and again.
func TestPingUnanswered(t *testing.T) {
	a, b := join(t, "udp", 1, 1)
	defer b.end(t)
	defer a.end(t)
	b.trunk.sw.Disconnect(0, b.trunk.controlVC(1, 0))
	if _, r, lost, err := a.trunk.Ping(0, 1, 50*time.Millisecond); err != nil || r.Answered || lost != pings {
		t.Errorf("%+v, %d lost, %v", r, lost, err)
	}
}

// What the gate drops is counted.
func TestGateReport(t *testing.T) {
	a, b := join(t, "udp", 1, 1)
	defer b.end(t)
	defer a.end(t)
	var c atm.Cell
	c.SetHeader(atm.Header{VC: atm.VC{VPI: trunkControl, VCI: 32}})
	a.trunk.gate.close()
	for range heldCells + 3 {
		a.trunk.gate.Receive(&c)
	}
	if n := a.trunk.Report().Dropped["gate"]; n < 3 { // the nodes may have sent something
		t.Errorf("%d cells were dropped, want 3", n)
	}
	a.trunk.gate.mu.Lock()
	a.trunk.gate.held = nil
	a.trunk.gate.mu.Unlock()
	a.trunk.gate.until(0, false)
}
