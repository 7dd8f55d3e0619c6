package atm

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// microcell is the cell time of the tables below.
const microcell = time.Microsecond

// Bursts that conform, at cells back to back (cell time d): N = floor(1 + L/(I-d)). I = 4.5 d and the values of L are the example of
// ATM Forum UNI 3.1.
func TestGCRAConformingBurst(t *testing.T) {
	const increment = 4500 * time.Nanosecond
	for _, k := range []struct {
		tolerance time.Duration
		burst     int
	}{{500 * time.Nanosecond, 1}, {2 * microcell, 1}, {3500 * time.Nanosecond, 2}, {7 * microcell, 3}} {
		g, err := NewGCRA(1/increment.Seconds(), k.tolerance)
		if err != nil {
			t.Fatal(err)
		}
		n, at := 0, 12345*time.Nanosecond
		for g.Cell(at) {
			n++
			at += microcell
		}
		formula := int(math.Floor(1 + float64(k.tolerance)/float64(increment-microcell)))
		if n != k.burst || n != formula {
			t.Errorf("GCRA(4.5 µs, %v): %d cells of 1 µs conform, want %d; the formula says %d", k.tolerance, n, k.burst, formula)
		}
	}
}

// A leakyBucket is GCRA(I, L) in its other form, the continuous-state leaky bucket (ITU-T I.371, annex A): the bucket loses 1 a unit of time, a cell
// fills in I, and does not conform if there is more than L in it. In picoseconds.
type leakyBucket struct {
	increment, limit int64
	level, last      int64 // the level at the last conforming cell, and its time
	begun            bool
}

func (b *leakyBucket) cell(t int64) bool {
	level := max(b.level-(t-b.last), 0)
	if !b.begun {
		level = 0
	}
	if level > b.limit {
		return false
	}
	b.level, b.last, b.begun = level+b.increment, t, true
	return true
}

// Virtual scheduling and the leaky bucket give the same verdicts.
func TestGCRALeakyBucket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Float64Range(1e3, 1e8).Draw(t, "rate")
		limit := time.Duration(rapid.IntRange(0, 100000).Draw(t, "limit"))
		g, err := NewGCRA(rate, limit)
		if err != nil {
			t.Fatal(err)
		}
		b := leakyBucket{increment: int64(math.Round(1e12 / rate)), limit: int64(limit) * 1000}
		at := time.Duration(rapid.Int64Range(0, 1e9).Draw(t, "begin"))
		mean := b.increment / 1000
		for range rapid.IntRange(1, 60).Draw(t, "cells") {
			at += time.Duration(rapid.Int64Range(0, 2*mean+2).Draw(t, "gap"))
			if got, want := g.Cell(at), b.cell(int64(at)*1000); got != want {
				t.Fatalf("at %v virtual scheduling says %v, the leaky bucket %v", at, got, want)
			}
		}
	})
}

// A saturating source gets through what the formula says: N back to back, then the rate.
func TestGCRALongRun(t *testing.T) {
	const cells = 1 << 20
	g, err := NewGCRA(OC3/3, 50*time.Microsecond)
	if err != nil {
		t.Fatal(err)
	}
	ps, _ := cellTime(OC3)
	passed := 0
	for k := range int64(cells) {
		if g.Cell(time.Duration(k * ps / 1000)) {
			passed++
		}
	}
	// In the time T, with T the time of the last cell: 1 + (T+L)/I, cells come only at multiples of the cell time.
	want := 1 + int(((cells-1)*ps+50e6)/(3*ps))
	if passed < want-1 || passed > want {
		t.Errorf("%d cells passed, want %d or one less", passed, want)
	}
}

func TestGCRACount(t *testing.T) {
	g, err := NewGCRA(1e6, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if !g.Conforms(5000) {
			t.Error("Conforms counts")
		}
	}
	g.Count(5000)
	if g.Conforms(5999) || !g.Conforms(6000) {
		t.Error("the cell that was counted has no effect")
	}
	if g.Cell(5999) || !g.Cell(6000) {
		t.Error("a cell that does not conform was counted, or a conforming one refused")
	}
}

// step is a cell and what has to become of it.
type step struct {
	at   time.Duration
	clp  bool
	want Verdict
}

func TestPolicer(t *testing.T) {
	const us = time.Microsecond
	peak := Traffic{PCR: 1e5}                    // one in 10 µs
	burst := Traffic{PCR: 1e5, SCR: 1e4, MBS: 3} // 3 at the PCR, then one in 100 µs
	loose := Traffic{PCR: 1e5, CDVT: 5 * us}     // up to 5 µs early
	both := Traffic{PCR: 1e5, SCR: 1e4, MBS: 1}  // no burst
	whole := Traffic{PCR: 1e5, SCR: 1e4, MBS: 1, Transparent: true}
	for _, tt := range []struct {
		name    string
		traffic Traffic
		tag     bool
		steps   []step
	}{
		{"peak", peak, false, []step{{0, false, Pass}, {9 * us, false, Discard}, {10 * us, true, Pass}, {11 * us, true, Discard}, {20 * us, false, Pass}}},
		{"peak, tagging", peak, true, []step{{0, false, Pass}, {9 * us, false, Tag}, {9 * us, true, Discard}, {10 * us, false, Pass}}},
		{"tolerance", loose, false, []step{{0, false, Pass}, {5 * us, false, Pass}, {14 * us, false, Discard}, {15 * us, false, Pass}}},
		{"burst", burst, false, []step{
			{0, false, Pass}, {10 * us, false, Pass}, {20 * us, false, Pass}, {30 * us, false, Discard},
			{119 * us, false, Discard}, {120 * us, false, Pass},
		}},
		{"tolerance of the SCR", Traffic{PCR: 1e5, CDVT: 5 * us, SCR: 1e4, MBS: 1}, false, []step{{0, false, Pass}, {94 * us, false, Discard}, {95 * us, false, Pass}}},
		{"CLP 1 is not tested against the SCR", both, false, []step{{0, false, Pass}, {10 * us, true, Pass}, {20 * us, true, Pass}, {30 * us, false, Discard}, {100 * us, false, Pass}}},
		{"a discarded cell counts for neither", both, false, []step{
			{0, false, Pass}, {95 * us, false, Discard}, // not by the PCR, or the next would not pass
			{100 * us, false, Pass}, {105 * us, false, Discard}, // by the PCR: counts not by the SCR either
			{200 * us, false, Pass},
		}},
		{"CLP 1 is, if the SCR is of both", whole, false, []step{{0, true, Pass}, {10 * us, false, Discard}, {20 * us, true, Discard}, {100 * us, true, Pass}}},
		{"a tagged cell counts for the PCR", both, true, []step{{0, false, Pass}, {95 * us, false, Tag}, {100 * us, false, Discard}, {105 * us, false, Pass}}},
	} {
		p, err := NewPolicer(tt.traffic, tt.tag)
		if err != nil {
			t.Fatal(err)
		}
		var count [3]uint64
		for i, s := range tt.steps {
			got := p.Cell(s.at, s.clp)
			if got != s.want {
				t.Errorf("%s: cell %d at %v, CLP %v: %d, want %d", tt.name, i, s.at, s.clp, got, s.want)
			}
			count[got]++
		}
		if got, want := p.Counters(), (PolicerCounters{count[Pass], count[Tag], count[Discard]}); got != want {
			t.Errorf("%s: the counters are %+v, want %+v", tt.name, got, want)
		}
	}
}

// The burst that a dual GCRA lets pass at the PCR is MBS cells long (BT = (MBS-1)(1/SCR-1/PCR)).
func TestPolicerMBS(t *testing.T) {
	for _, mbs := range []int{1, 2, 10, 1000} {
		p, err := NewPolicer(Traffic{PCR: 1e6, SCR: 1e5, MBS: mbs}, false)
		if err != nil {
			t.Fatal(err)
		}
		n, at := 0, time.Duration(0)
		for p.Cell(at, false) == Pass {
			n++
			at += microcell
		}
		if n != mbs {
			t.Errorf("MBS %d: a burst of %d cells passed", mbs, n)
		}
	}
}

func TestTrafficErrors(t *testing.T) {
	for _, tt := range []struct {
		traffic Traffic
		want    string
	}{
		{Traffic{}, "no peak cell rate"},
		{Traffic{PCR: -5}, "a rate of -5 cells/s"},
		{Traffic{PCR: math.NaN()}, "a rate of NaN"},
		{Traffic{PCR: 1, CDVT: -1}, "CDVT -1ns"},
		{Traffic{PCR: 1, SCR: 2, MBS: 1}, "SCR 2 above its PCR 1"},
		{Traffic{PCR: 1, SCR: math.NaN(), MBS: 1}, "SCR NaN"},
		{Traffic{PCR: 1, SCR: -1, MBS: 1}, "a rate of -1"},
		{Traffic{PCR: 2, SCR: 1}, "MBS 0"},
		{Traffic{PCR: 1e5, SCR: 1e-3, MBS: 1 << 24}, "burst tolerance"},
	} {
		_, err := NewPolicer(tt.traffic, false)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.traffic, err, tt.want)
		}
	}
	for _, tolerance := range []time.Duration{-1, 2 * time.Hour} {
		if _, err := NewGCRA(1, tolerance); err == nil {
			t.Errorf("a tolerance of %v is accepted", tolerance)
		}
	}
	if _, err := NewGCRA(0, 0); err == nil {
		t.Error("a GCRA without a rate is accepted")
	}
}

// A shaper that is fed with anything lets out what the policer passes, and as much of it as is possible.
func TestShaperConforms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		traffic := Traffic{PCR: rapid.Float64Range(1e4, 1e7).Draw(t, "pcr")}
		if rapid.Bool().Draw(t, "dual") {
			traffic.SCR = traffic.PCR / rapid.Float64Range(1, 50).Draw(t, "ratio")
			traffic.MBS = rapid.IntRange(1, 20).Draw(t, "mbs")
		}
		clock := NewSimClock()
		police, err := NewPolicer(traffic, false)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		s, err := NewShaper(receiverFunc(func(c *Cell) {
			if int(c[5]) != n {
				t.Fatalf("cell %d came out as the %dth", c[5], n)
			}
			n++
			if v := police.Cell(clock.Now(), c.CLP()); v != Pass {
				t.Fatalf("cell %d at %v: verdict %d", n, clock.Now(), v)
			}
		}), ShaperConfig{Clock: clock, Traffic: traffic})
		if err != nil {
			t.Fatal(err)
		}
		cells := rapid.IntRange(1, 100).Draw(t, "cells")
		var at time.Duration
		for k := range cells {
			at += time.Duration(rapid.IntRange(0, int(2e9/traffic.PCR)).Draw(t, "gap"))
			clp := rapid.Bool().Draw(t, "clp")
			clock.AfterFunc(at, func() {
				var c Cell
				c.SetHeader(Header{VC: VC{0, 32}, CLP: clp})
				c[5] = byte(k)
				s.Receive(&c)
			})
		}
		clock.Run(Forever)
		if n != cells {
			t.Fatalf("%d cells came out, want %d", n, cells)
		}
		if c := s.Counters(); c != (ShaperCounters{Offered: uint64(cells), Delivered: uint64(cells)}) {
			t.Fatalf("counters %+v", c)
		}
	})
}

// A CLP-transparent SCR holds cells with CLP 1 back, too.
func TestShaperTransparent(t *testing.T) {
	clock := NewSimClock()
	var at []string
	s, err := NewShaper(receiverFunc(func(*Cell) { at = append(at, clock.Now().String()) }),
		ShaperConfig{Clock: clock, Traffic: Traffic{PCR: 1e5, SCR: 1e4, MBS: 1, Transparent: true}})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s.Receive(&Cell{3: clpBit})
	}
	clock.Run(Forever)
	if got, want := fmt.Sprint(at), "[0s 100µs 200µs]"; got != want {
		t.Errorf("cells came out at %s, want %s", got, want)
	}
}

// The times at which a shaper lets a burst out: MBS cells at the PCR, then the SCR.
func TestShaperTimes(t *testing.T) {
	clock := NewSimClock()
	var at []string
	s, err := NewShaper(receiverFunc(func(*Cell) { at = append(at, clock.Now().String()) }),
		ShaperConfig{Clock: clock, Traffic: Traffic{PCR: 1e5, SCR: 1e4, MBS: 3}, Size: 6})
	if err != nil {
		t.Fatal(err)
	}
	drops := 0
	s.onDrop = func(_ *Cell, why DropReason) {
		if why == DropQueueFull {
			drops++
		}
	}
	for range 8 {
		s.Receive(&Cell{})
	}
	clock.Run(Forever)
	if got, want := fmt.Sprint(at), "[0s 10µs 20µs 120µs 220µs 320µs]"; got != want || drops != 2 {
		t.Errorf("cells came out at %s, want %s; %d dropped, want 2", got, want, drops)
	}
	at = nil
	for range 3 { // cells with CLP 1 come at the PCR
		s.Receive(&Cell{3: clpBit})
	}
	clock.Run(Forever)
	if got, want := fmt.Sprint(at), "[330µs 340µs 350µs]"; got != want {
		t.Errorf("cells with CLP 1 came out at %s, want %s", got, want)
	}
	s.Receive(&Cell{})
	s.Close()
	s.Receive(&Cell{})
	clock.Run(Forever)
	want := ShaperCounters{Offered: 13, Delivered: 9}
	want.Dropped[DropQueueFull], want.Dropped[DropCut] = 2, 2
	if got := s.Counters(); got != want {
		t.Errorf("counters %+v, want %+v", got, want)
	}
}

func TestShaperErrors(t *testing.T) {
	clock := NewSimClock()
	for _, c := range []ShaperConfig{
		{Traffic: Traffic{PCR: 1}},
		{Clock: clock},
		{Clock: clock, Traffic: Traffic{PCR: 1}, Size: -1},
		{Clock: clock, Traffic: Traffic{PCR: 1}, Size: maxQueue + 1},
	} {
		if _, err := NewShaper(nil, c); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

// receiverFunc is a function as a Receiver.
type receiverFunc func(*Cell)

func (f receiverFunc) Receive(c *Cell) { f(c) }
