package atm

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A faulty is a line that takes no time, and what came out of it: the cells are numbered in their payload.
type faulty struct {
	line *Line
	got  []Cell
	lost []uint64
	n    uint64
}

func newFaulty(t testing.TB, m Impairment, seed uint64) *faulty {
	t.Helper()
	f := &faulty{}
	f.line = newLine(t, receiverFunc(func(c *Cell) { f.got = append(f.got, *c) }), LineConfig{
		Name: "a-b", Clock: NewSimClock(), Impairment: m, Seed: seed,
		OnDrop: func(c *Cell, why DropReason) {
			if why != DropLoss {
				t.Errorf("cell %d was dropped: %v", f.n, why)
			}
			f.lost = append(f.lost, f.n)
		},
	})
	return f
}

// send sends n cells, of two circuits in turn.
func (f *faulty) send(n int) {
	for range n {
		f.n++
		c := numbered(f.n)
		f.line.Receive(&c)
	}
}

func numbered(k uint64) (c Cell) {
	c.SetHeader(Header{VC: VC{0, uint16(40 + k%2)}, PT: PTUser})
	for i := range 8 {
		c[5+i] = byte(k >> (8 * i))
	}
	return c
}

// within fails unless got is within 4 standard deviations of what n chances of probability p give.
func within(t *testing.T, what string, got uint64, n, p float64) {
	t.Helper()
	if dev := math.Abs(float64(got) - n*p); dev > 4*math.Sqrt(n*p*(1-p))+1 {
		t.Errorf("%s: %d of %.0f, want about %.0f", what, got, n, n*p)
	}
}

func TestImpairRates(t *testing.T) {
	const n = 40000
	for _, p := range []float64{0, 1e-4, 0.01, 0.5, 1} {
		f := newFaulty(t, Impairment{Loss: p}, 1)
		f.send(n)
		within(t, "lost", uint64(len(f.lost)), n, p)
		f = newFaulty(t, Impairment{Duplicate: p, Misinsert: p}, 1)
		f.send(n)
		c := f.line.Counters()
		within(t, "duplicates", c.Faults[FaultDuplicate], n, p)
		within(t, "misinsertions", c.Faults[FaultMisinsert], n, p)
		if uint64(len(f.got)) != n+c.Faults[FaultDuplicate] {
			t.Errorf("%d cells came, %d were doubled", len(f.got), c.Faults[FaultDuplicate])
		}
	}
}

// The share of bits that are turned, and that cells with turned bits are counted.
func TestImpairErrors(t *testing.T) {
	const n = 20000
	f := newFaulty(t, Impairment{HeaderErrors: 1e-3, PayloadErrors: 2e-4}, 2)
	f.send(n)
	var header, payload, headers, payloads uint64
	for k, c := range f.got {
		want := numbered(uint64(k + 1))
		var h, p int
		for i := range c {
			d := bits.OnesCount8(c[i] ^ want[i])
			if i < HeaderSize {
				h += d
			} else {
				p += d
			}
		}
		header, payload = header+uint64(h), payload+uint64(p)
		headers, payloads = headers+uint64(min(h, 1)), payloads+uint64(min(p, 1))
	}
	within(t, "header bits", header, n*40, 1e-3)
	within(t, "payload bits", payload, n*384, 2e-4)
	if c := f.line.Counters(); c.Faults[FaultHeader] != headers || c.Faults[FaultPayload] != payloads {
		t.Errorf("the line counted %d and %d damaged cells, %d and %d came", c.Faults[FaultHeader], c.Faults[FaultPayload], headers, payloads)
	}
	if header == headers || payload == payloads {
		t.Error("no cell had two errors, which is most unlikely")
	}
}

// With the probability 1 every bit is turned.
func TestImpairAllErrors(t *testing.T) {
	f := newFaulty(t, Impairment{HeaderErrors: 1, PayloadErrors: 1}, 0)
	f.send(2)
	for k, c := range f.got {
		for i, b := range numbered(uint64(k + 1)) {
			if c[i] != ^b {
				t.Fatalf("octet %d of cell %d is %02x, was %02x", i, k+1, c[i], b)
			}
		}
	}
}

// The bursts of the Gilbert-Elliott model: share of the bad state, mean length of bursts, loss within them.
func TestImpairBurst(t *testing.T) {
	const n = 100000
	f := newFaulty(t, Impairment{Burst: Burst{Enter: 0.02, Leave: 0.1, Loss: 1}}, 3)
	f.send(n)
	runs := 0
	for i, k := range f.lost {
		if i == 0 || f.lost[i-1] != k-1 {
			runs++
		}
	}
	// About 1700 bursts whose lengths vary by as much as they are long: a standard deviation of 3.5 % of the cells.
	if share, want := float64(len(f.lost))/n, 0.02/0.12; math.Abs(share-want) > 0.1*want {
		t.Errorf("%.4f of cells were lost, want about %.4f", share, want)
	}
	if mean := float64(len(f.lost)) / float64(runs); math.Abs(mean-10) > 1 {
		t.Errorf("bursts have %.2f cells, want about 10", mean)
	}
	half := newFaulty(t, Impairment{Burst: Burst{Enter: 0.02, Leave: 0.1, Loss: 0.5}}, 3)
	half.send(n)
	in := map[uint64]bool{}
	for _, k := range f.lost {
		in[k] = true
	}
	for _, k := range half.lost {
		if !in[k] {
			t.Fatalf("cell %d was lost outside of the bursts", k)
		}
	}
	always := newFaulty(t, Impairment{Burst: Burst{Enter: 1, Loss: 0.5}}, 3)
	always.send(n)
	in = map[uint64]bool{}
	for _, k := range always.lost {
		in[k] = true
	}
	for _, k := range half.lost {
		if !in[k] {
			t.Fatalf("cell %d is lost in a burst, but not if all is one burst", k)
		}
	}
	if share := float64(len(half.lost)) / float64(len(f.lost)); math.Abs(share-0.5) > 0.05 {
		t.Errorf("%.3f of the cells in bursts were lost, want about 0.5", share)
	}
}

func TestImpairDrop(t *testing.T) {
	f := newFaulty(t, Impairment{Drop: []uint64{5, 2, 9}}, 0)
	f.send(10)
	if got := fmt.Sprint(f.lost); got != "[2 5 9]" || len(f.got) != 7 {
		t.Errorf("cells %s were lost, want 2, 5 and 9", got)
	}
}

// A misinserted cell has the VC of the other circuit and a right HEC.
func TestImpairMisinsert(t *testing.T) {
	f := newFaulty(t, Impairment{Misinsert: 1}, 0)
	f.send(4)
	var vcis []uint16
	for _, c := range f.got {
		h, ok := c.Header()
		if !ok {
			t.Error("wrong HEC")
		}
		vcis = append(vcis, h.VC.VCI)
	}
	if got := fmt.Sprint(vcis); got != "[41 41 40 41]" { // sent: 41 40 41 40; the first knows of no other circuit
		t.Errorf("VCIs %s, want [41 41 40 41]", got)
	}
}

// A duplicate is the same cell, whatever the receiver makes of the first.
func TestImpairDuplicate(t *testing.T) {
	n := 0
	l := newLine(t, receiverFunc(func(c *Cell) {
		if *c != numbered(7) {
			t.Errorf("%x came", *c)
		}
		*c = Cell{}
		n++
	}), LineConfig{Clock: NewSimClock(), Impairment: Impairment{Duplicate: 1}})
	c := numbered(7)
	l.Receive(&c)
	if n != 2 {
		t.Errorf("%d cells came, want 2", n)
	}
}

// A cell that is held up comes when its time is over, and later ones have overtaken it.
func TestImpairReorder(t *testing.T) {
	clock := NewSimClock()
	var at []time.Duration
	var order []byte
	l := newLine(t, receiverFunc(func(c *Cell) {
		order, at = append(order, c[5]), append(at, clock.Now())
	}), LineConfig{Clock: clock, Rate: 1e6, Delay: 5 * time.Microsecond, Seed: 4, Impairment: Impairment{Reorder: 0.1, ReorderDelay: 3500 * time.Nanosecond}})
	for k := range byte(100) {
		l.Receive(&Cell{5: k})
	}
	clock.Run(Forever)
	held := 0
	for i, k := range order {
		switch due := time.Duration(k)*time.Microsecond + 6*time.Microsecond; at[i] {
		case due:
		case due + 3500*time.Nanosecond:
			held++
		default:
			t.Errorf("cell %d came at %v", k, at[i])
		}
	}
	if slices.IsSorted(order) || !slices.IsSorted(at) {
		t.Errorf("cells came in the order %v at %v", order, at)
	}
	if n := l.Counters().Faults[FaultReorder]; len(order) != 100 || held == 0 || uint64(held) != n {
		t.Errorf("%d cells came, %d of them held up, the line counted %d", len(order), held, n)
	}
}

// Jitter is spread over its whole range and changes no order.
func TestImpairJitter(t *testing.T) {
	const jitter = 900 * time.Nanosecond
	clock := NewSimClock()
	var late []time.Duration
	l := newLine(t, receiverFunc(func(c *Cell) {
		late = append(late, clock.Now()-time.Duration(len(late))*time.Microsecond)
	}), LineConfig{Clock: clock, Impairment: Impairment{Jitter: jitter}})
	for k := range 2000 {
		clock.AfterFunc(time.Duration(k)*time.Microsecond, func() { l.Receive(&Cell{}) })
	}
	clock.Run(Forever)
	least, most, sum := late[0], late[0], time.Duration(0)
	for _, d := range late {
		least, most, sum = min(least, d), max(most, d), sum+d
	}
	if mean := sum / 2000; least < 0 || least > jitter/50 || most > jitter || most < jitter-jitter/50 || (mean-jitter/2).Abs() > jitter/20 {
		t.Errorf("delays from %v to %v, mean %v, want 0 to %v, evenly", least, most, mean, jitter)
	}
}

// The same seed gives the same faults; another seed or another line gives others; and a kind of fault strikes the same cells
// whatever other kinds there are.
func TestImpairSeed(t *testing.T) {
	const n = 3000
	base := Impairment{Loss: 0.05, HeaderErrors: 1e-3}
	replay := func(m Impairment, seed uint64) *faulty {
		f := newFaulty(t, m, seed)
		f.send(n)
		return f
	}
	a, b := replay(base, 7), replay(base, 7)
	if fmt.Sprint(a.lost) != fmt.Sprint(b.lost) || fmt.Sprint(a.got) != fmt.Sprint(b.got) {
		t.Error("the same seed gave other faults")
	}
	if fmt.Sprint(a.lost) == fmt.Sprint(replay(base, 8).lost) {
		t.Error("another seed gave the same losses")
	}
	other := &faulty{}
	other.line = newLine(t, new(sink), LineConfig{Name: "b-a", Clock: NewSimClock(), Impairment: base, Seed: 7,
		OnDrop: func(*Cell, DropReason) { other.lost = append(other.lost, other.n) }})
	other.send(n)
	if fmt.Sprint(a.lost) == fmt.Sprint(other.lost) {
		t.Error("another line has the same losses")
	}
	more := base
	more.PayloadErrors, more.Duplicate, more.Misinsert = 1e-3, 0.2, 0.2
	more.Burst = Burst{Enter: 0.1, Leave: 0.5}
	if c := replay(more, 7); fmt.Sprint(a.lost) != fmt.Sprint(c.lost) {
		t.Error("other kinds of faults have moved the losses")
	}
	// A header is damaged at the same places although other cells are lost.
	damaged := func(f *faulty) (ks []uint64) {
		for _, c := range f.got {
			if !c.checkHEC() {
				ks = append(ks, uint64(c[5])|uint64(c[6])<<8)
			}
		}
		return ks
	}
	lossless := base
	lossless.Loss = 0
	all := damaged(replay(lossless, 7))
	for _, k := range damaged(a) {
		if !slices.Contains(all, k) {
			t.Errorf("cell %d is damaged only if others are lost", k)
		}
	}
}

// The gaps between strikes have the same distribution as chances taken one by one.
func TestStrikes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SampledFrom([]float64{1e-300, 1e-9, 0.3, 0.999999, 1}).Draw(t, "p")
		f := newImpairer(Impairment{Loss: p}, rapid.Uint64().Draw(t, "seed"), "")
		hits := 0
		for range 1000 {
			if f.loss.hit() {
				hits++
			}
		}
		switch {
		case p == 1 && hits != 1000, p < 1e-8 && hits > 1, p == 0.3 && (hits < 200 || hits > 400):
			t.Fatalf("%d of 1000 chances of probability %v", hits, p)
		}
	})
}

func TestImpairmentErrors(t *testing.T) {
	for _, tt := range []struct {
		m    Impairment
		want string
	}{
		{Impairment{Loss: -0.1}, "the loss probability -0.1"},
		{Impairment{Loss: math.NaN()}, "the loss probability NaN"},
		{Impairment{Duplicate: 1.5}, "the duplication probability 1.5"},
		{Impairment{Burst: Burst{Leave: 2}}, "the burst leave probability 2"},
		{Impairment{Drop: []uint64{0}}, "cell 0"},
		{Impairment{Outages: []Outage{{From: 2, To: 2}}}, "an outage of a line from 2ns to 2ns"},
		{Impairment{Outages: []Outage{{From: -1, To: 2}}}, "an outage of a line from -1ns"},
		{Impairment{Jitter: -1}, "the jitter -1ns"},
		{Impairment{ReorderDelay: 2 * time.Hour}, "the reordering delay 2h0m0s"},
		{Impairment{Reorder: 0.1}, "reordering needs the delay"},
	} {
		if _, err := NewLine(nil, LineConfig{Clock: NewSimClock(), Impairment: tt.m}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.m, err, tt.want)
		}
	}
}

func TestFaultString(t *testing.T) {
	if got := fmt.Sprint(FaultHeader, FaultPayload, FaultMisinsert, FaultDuplicate, FaultReorder, Faults); got != "header payload misinsert duplicate reorder Fault(5)" {
		t.Error(got)
	}
}
