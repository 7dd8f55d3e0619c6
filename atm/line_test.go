package atm

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func newLine(t testing.TB, to Receiver, c LineConfig) *Line {
	t.Helper()
	l, err := NewLine(to, c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// arrivals notes the first octet of each payload and when it came.
type arrivals struct {
	clock Clock
	got   []string
}

func (a *arrivals) Receive(c *Cell) {
	a.got = append(a.got, fmt.Sprintf("%c@%v", c[5], a.clock.Now()))
}

// A cell arrives when its last bit does: its turn, the cell time, the propagation delay.
func TestLineTimes(t *testing.T) {
	const us = time.Microsecond
	for _, tt := range []struct {
		name  string
		rate  float64
		delay time.Duration
		want  string
	}{
		{"rate", 1e5, 0, "a@10µs b@20µs c@30µs d@60µs"},
		{"delay", 0, 7 * us, "a@7µs b@7µs c@8µs d@57µs"},
		{"both", 1e5, 7 * us, "a@17µs b@27µs c@37µs d@67µs"},
		{"rounded up", 3e6, 0, "a@334ns b@667ns c@1.334µs d@50.334µs"},
		{"OC-3", OC3, 0, "a@2.832µs b@5.663µs c@8.494µs d@52.832µs"},
	} {
		clock := NewSimClock()
		a := &arrivals{clock: clock}
		l := newLine(t, a, LineConfig{Clock: clock, Rate: tt.rate, Delay: tt.delay})
		cells(l, "ab")
		clock.AfterFunc(us, func() { cells(l, "c") })
		clock.AfterFunc(50*us, func() { cells(l, "d") })
		clock.Run(Forever)
		if got := strings.Join(a.got, " "); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// A cell finds the queue as it is then, although the line has had no reason to look at it since; and it comes in time although all
// before it are lost.
func TestLineLooks(t *testing.T) {
	const us = time.Microsecond
	for _, tt := range []struct {
		name string
		c    LineConfig
		d    time.Duration // when cell d comes
		want string
	}{
		{"long delay", LineConfig{Delay: 100 * us, Queueing: Queueing{Size: 2}}, 15 * us, "a@110µs b@120µs c@130µs d@140µs"},
		{"a loss", LineConfig{Impairment: Impairment{Drop: []uint64{1}}}, 50 * us, "b@20µs c@30µs d@60µs"},
		{"losses", LineConfig{Impairment: Impairment{Drop: []uint64{1, 2, 3}}}, 15 * us, "d@40µs"},
	} {
		clock := NewSimClock()
		a := &arrivals{clock: clock}
		tt.c.Clock, tt.c.Rate = clock, 1e5
		l := newLine(t, a, tt.c)
		cells(l, "abc")
		clock.AfterFunc(tt.d, func() { cells(l, "d") })
		clock.Run(Forever)
		if got := strings.Join(a.got, " "); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// A cell that is due before all others moves the alarm, and one alarm is all there is.
func TestConveyorAlarm(t *testing.T) {
	clock := NewSimClock()
	a := &arrivals{clock: clock}
	var v conveyor
	v.init(clock, a, 3)
	v.mu.Lock()
	if !v.putAside(&Cell{5: 'a'}, 10) {
		t.Error("there is room for three")
	}
	v.arm(0)
	if !v.put(&Cell{5: 'b'}, 5) || !v.put(&Cell{5: 'c'}, 10) || v.put(&Cell{}, 5) || v.putAside(&Cell{}, 5) {
		t.Error("there is room for three, no more")
	}
	v.arm(0)
	v.mu.Unlock()
	calls := clock.Run(Forever)
	if got := strings.Join(a.got, " "); got != "b@5ns a@10ns c@10ns" || calls != 2 {
		t.Errorf("%s, by %d alarms, want b@5ns a@10ns c@10ns by 2", got, calls)
	}
}

// An alarm that could not be stopped, and rings while cells are being given out, does nothing.
func TestConveyorStaleAlarm(t *testing.T) {
	clock := NewSimClock()
	var v conveyor
	var got []byte
	v.init(clock, receiverFunc(func(c *Cell) {
		v.deliver()
		got = append(got, c[5])
	}), 100)
	v.mu.Lock()
	for k := range byte(100) {
		v.put(&Cell{5: k}, 5)
	}
	v.arm(0)
	v.mu.Unlock()
	clock.Run(Forever)
	for k := range byte(100) {
		if len(got) != 100 || got[k] != k {
			t.Fatalf("cells came as %v", got)
		}
	}
}

// Many cells at OC-192 take as long as they should: nothing is lost by rounding.
func TestLineRate(t *testing.T) {
	const n = 1 << 14
	clock := NewSimClock()
	var far counter
	l := newLine(t, &far, LineConfig{Clock: clock, Rate: OC192, Queueing: Queueing{Size: n}})
	for range n {
		l.Receive(&Cell{})
	}
	clock.Run(Forever)
	ps, _ := cellTime(OC192)
	if got, want := clock.Now(), time.Duration((n*ps+999)/1000); far.Cells() != n || got != want {
		t.Errorf("%d cells came until %v, want %d until %v", far.Cells(), got, n, want)
	}
}

// Without a rate, a delay or faults the cell itself has arrived when Receive returns; so it has with faults that take no time.
func TestLineSynchronous(t *testing.T) {
	var got []*Cell
	to := receiverFunc(func(c *Cell) { got = append(got, c) })
	for _, m := range []Impairment{{}, {Loss: 1e-300}} {
		got = nil
		l := newLine(t, to, LineConfig{Clock: NewSimClock(), Impairment: m})
		var c Cell
		l.Receive(&c)
		l.Flow(CBR, true).Receive(&c)
		if len(got) != 2 || got[0] != &c || got[1] != &c {
			t.Errorf("%+v: the cell was not passed on itself: %v", m, got)
		}
		l.Cut()
		l.Receive(&c)
		n := l.Counters()
		want := LineCounters{Offered: 3, Delivered: 2, Cut: true}
		want.Dropped[DropCut] = 1
		if n != want {
			t.Errorf("%+v: counters %+v, want %+v", m, n, want)
		}
		l.Repair()
		l.Receive(&c)
		l.Close()
		l.Receive(&c)
		if len(got) != 3 {
			t.Errorf("%+v: %d cells came, want 3", m, len(got))
		}
	}
}

// What is on the way when the line is cut arrives; what begins later is lost.
func TestLineCut(t *testing.T) {
	const us = time.Microsecond
	run := func(c LineConfig, events func(clock *SimClock, l *Line)) (string, LineCounters) {
		clock := NewSimClock()
		a := &arrivals{clock: clock}
		var lost []string
		c.Clock, c.Rate, c.Delay = clock, 1e5, 100*us
		c.OnDrop = func(c *Cell, why DropReason) { lost = append(lost, fmt.Sprintf("%c %v", c[5], why)) }
		l := newLine(t, a, c)
		cells(l, "abcdef") // they begin at 0, 10, 20, 30, 40, 50 µs
		events(clock, l)
		clock.Run(Forever)
		return strings.Join(a.got, " ") + ", lost " + strings.Join(lost, " "), l.Counters()
	}
	const want = "a@110µs b@120µs e@150µs f@160µs, lost c cut d cut"
	got, n := run(LineConfig{}, func(clock *SimClock, l *Line) {
		clock.AfterFunc(19*us, l.Cut)
		clock.AfterFunc(35*us, l.Repair)
	})
	if got != want || n.Cut || n.Dropped[DropCut] != 2 {
		t.Errorf("cut by hand: %s, want %s; counters %+v", got, want, n)
	}
	got, n = run(LineConfig{Impairment: Impairment{Outages: []Outage{{From: 1000 * us, To: 2000 * us}, {From: 20 * us, To: 40 * us}}}},
		func(clock *SimClock, l *Line) {
			clock.AfterFunc(1000*us, func() {
				if !l.Counters().Cut {
					t.Error("at the beginning of an outage the counters say that the line is not cut")
				}
			})
			clock.AfterFunc(2000*us, func() {})
		})
	if got != want || n.Cut || n.Dropped[DropCut] != 2 {
		t.Errorf("outage: %s, want %s; counters %+v", got, want, n)
	}
	got, n = run(LineConfig{}, func(clock *SimClock, l *Line) {
		clock.AfterFunc(115*us, l.Close)
	})
	if got != "a@110µs, lost " || n.Dropped[DropCut] != 5 || !n.Cut || n.InFlight != 0 {
		t.Errorf("closed: %s; counters %+v", got, n)
	}
}

// A line that closes with cells that wait for transmission drops them, too.
func TestLineClose(t *testing.T) {
	b := newBottleneck(t, Queueing{})
	cells(b, "abc")
	if n := b.Counters(); n.Queued[UBR] != 2 || n.InFlight != 1 {
		t.Errorf("counters %+v, want 2 queued and 1 in flight", n)
	}
	b.Close()
	b.Close()
	cells(b, "d")
	if calls := b.clock.Run(Forever); calls != 0 {
		t.Errorf("%d alarms were left", calls)
	}
	want := LineCounters{Offered: 4, Cut: true}
	want.Dropped[DropCut] = 4
	if n := b.Counters(); n != want {
		t.Errorf("counters %+v, want %+v", n, want)
	}
}

// A receiver may send into the line that it receives from.
func TestLineLoop(t *testing.T) {
	clock := NewSimClock()
	var l *Line
	n := 0
	l = newLine(t, receiverFunc(func(c *Cell) {
		if n++; n < 10 {
			l.Receive(c)
		}
	}), LineConfig{Clock: clock, Rate: 1e6, Delay: time.Microsecond})
	l.Receive(&Cell{})
	clock.Run(Forever)
	if n != 10 || clock.Now() != 20*time.Microsecond {
		t.Errorf("the cell came %d times until %v, want 10 times until 20µs", n, clock.Now())
	}
}

// No cell is created or lost uncounted, none overtakes another unless it may, and every run is the same.
func TestLineConservation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := func(name string) float64 { return rapid.SampledFrom([]float64{0, 0.1, 0.5}).Draw(t, name) }
		c := LineConfig{
			Rate:  rapid.SampledFrom([]float64{0, 1e6, OC192}).Draw(t, "rate"),
			Delay: rapid.SampledFrom([]time.Duration{0, 1, time.Microsecond}).Draw(t, "delay"),
			Queueing: Queueing{
				Size: 8, CLP: rapid.IntRange(0, 8).Draw(t, "clp"), EPD: rapid.IntRange(0, 8).Draw(t, "epd"), PPD: rapid.Bool().Draw(t, "ppd"),
			},
			Impairment: Impairment{
				Loss: p("loss"), Burst: Burst{p("enter"), p("leave"), p("burst")}, Drop: []uint64{3, 7}, PayloadErrors: p("errors") / 1000,
				Duplicate: p("twice"), Reorder: p("reorder"), ReorderDelay: 3 * time.Microsecond,
				Jitter:  rapid.SampledFrom([]time.Duration{0, time.Microsecond}).Draw(t, "jitter"),
				Outages: []Outage{{From: 20 * time.Microsecond, To: 30 * time.Microsecond}},
			},
			Seed: rapid.Uint64().Draw(t, "seed"),
		}
		gaps := rapid.SliceOfN(rapid.IntRange(0, 2000), 1, 200).Draw(t, "gaps")
		run := func() (order []byte, n LineCounters) {
			clock := NewSimClock()
			c.Clock = clock
			drops := uint64(0)
			c.OnDrop = func(*Cell, DropReason) { drops++ }
			l, err := NewLine(receiverFunc(func(c *Cell) { order = append(order, c[4]) }), c)
			if err != nil {
				t.Fatal(err)
			}
			flow := l.Flow(VBR, true)
			var at time.Duration
			for k, gap := range gaps {
				at += time.Duration(gap)
				clock.AfterFunc(at, func() {
					var cell Cell
					cell.SetHeader(Header{VC: VC{0, 32}, PT: PT(k % 5 / 4), CLP: k%3 == 0})
					cell[4] = byte(k) // header errors are off, nobody looks
					flow.Receive(&cell)
					n := l.Counters()
					checkConservation(t, n)
				})
			}
			clock.Run(Forever)
			n = l.Counters()
			checkConservation(t, n)
			var sum uint64
			for _, d := range n.Dropped {
				sum += d
			}
			if n.Offered != uint64(len(gaps)) || n.Queued != [Classes]int{} || n.InFlight != 0 || uint64(len(order)) != n.Delivered || sum != drops {
				t.Fatalf("%d cells sent, %d came, %d drops seen; counters %+v", len(gaps), len(order), drops, n)
			}
			return order, n
		}
		order, n := run()
		if c.Impairment.Reorder == 0 {
			for i := 1; i < len(order); i++ {
				if order[i] < order[i-1] || order[i] == order[i-1] && c.Impairment.Duplicate == 0 {
					t.Fatalf("order %v", order)
				}
			}
		}
		again, m := run()
		if string(again) != string(order) || m != n {
			t.Fatalf("the second run differs: %v, %+v\nthe first: %v, %+v", again, m, order, n)
		}
	})
}

func checkConservation(t *rapid.T, n LineCounters) {
	in := n.Offered + n.Faults[FaultDuplicate]
	out := n.Delivered + uint64(n.InFlight)
	for _, d := range n.Dropped {
		out += d
	}
	for _, q := range n.Queued {
		out += uint64(q)
	}
	if in != out {
		t.Fatalf("%d cells came in, %d are accounted for: %+v", in, out, n)
	}
}

// In real time: several goroutines send, each sees its cells arrive in order and none lost, and nothing remains after Close.
func TestLineRealTime(t *testing.T) {
	defer goleak.VerifyNone(t)
	const senders, each = 4, 2000
	clock := NewRealClock()
	var next [senders]atomic.Int64
	var left sync.WaitGroup
	left.Add(senders * each)
	to := receiverFunc(func(c *Cell) {
		sender, k := c[5], int64(c[6])<<8|int64(c[7])
		if want := next[sender].Add(1) - 1; k != want {
			t.Errorf("sender %d: cell %d came, want %d", sender, k, want)
		}
		left.Done()
	})
	l := newLine(t, to, LineConfig{Clock: clock, Rate: OC48, Delay: 200 * time.Microsecond, Queueing: Queueing{Size: senders * each}, Impairment: Impairment{Jitter: 100 * time.Microsecond}})
	began := time.Now()
	for s := range senders {
		go func() {
			for k := range each {
				l.Receive(&Cell{5: byte(s), 6: byte(k >> 8), 7: byte(k)})
			}
		}()
	}
	left.Wait()
	if took, least := time.Since(began), 200*time.Microsecond+senders*each*176*time.Nanosecond; took < least {
		t.Errorf("%d cells took %v, the line needs %v", senders*each, took, least)
	}
	l.Receive(&Cell{})
	l.Close()
}

// Many lines that deliver at once into one switch, which polices and sends on into timed lines.
func TestLinesConcurrent(t *testing.T) {
	defer goleak.VerifyNone(t)
	const ports, each = 4, 1000
	clock := NewRealClock()
	s := NewSwitch(ports)
	s.Clock = clock
	var left sync.WaitGroup
	left.Add(ports * each)
	var in, out []*Line
	for i := range ports {
		out = append(out, newLine(t, receiverFunc(func(*Cell) { left.Done() }), LineConfig{Clock: clock, Rate: OC192, Queueing: Queueing{Size: ports * each}}))
		if err := s.Attach(i, out[i]); err != nil {
			t.Fatal(err)
		}
		in = append(in, newLine(t, s.Port(i), LineConfig{Clock: clock, Delay: 10 * time.Microsecond}))
	}
	for i := range ports {
		contract := Contract{Class: Class(i % int(Classes)), FrameDiscard: true, Traffic: Traffic{PCR: 1, CDVT: time.Hour}, Policing: PoliceDiscard}
		if i%2 == 0 {
			contract.Traffic.PCR, contract.Shape = 1e7, each
		}
		if err := s.ConnectContract(i, VC{0, 32}, (i+1)%ports, VC{0, 33}, contract); err != nil {
			t.Fatal(err)
		}
		go func() {
			var c Cell
			for range each {
				c.SetHeader(Header{VC: VC{0, 32}})
				in[i].Receive(&c)
			}
		}()
	}
	left.Wait()
	for i := range ports {
		if got, want := s.Counters(i), (PortCounters{Switched: each}); got != want {
			t.Errorf("port %d: %+v, want %+v", i, got, want)
		}
		s.Disconnect(i, VC{0, 32})
		in[i].Close()
		out[i].Close()
	}
}

func TestLineErrors(t *testing.T) {
	for _, tt := range []struct {
		c    LineConfig
		want string
	}{
		{LineConfig{Rate: -1}, "a rate of -1"},
		{LineConfig{Delay: -1}, "the delay -1ns"},
		{LineConfig{Delay: 2 * time.Hour}, "the delay 2h0m0s"},
		{LineConfig{Rate: OC192, Delay: time.Second}, "would hold 22605283 cells"},
		{LineConfig{Rate: 1}, "needs a clock"},
		{LineConfig{Impairment: Impairment{Loss: 0.1}}, "needs a clock"},
	} {
		if _, err := NewLine(nil, tt.c); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.c, err, tt.want)
		}
	}
}

// An alarmClock has one alarm, which costs nothing.
type alarmClock struct {
	now, at time.Duration
	f       func()
}

func (a *alarmClock) Now() time.Duration { return a.now }

func (a *alarmClock) AfterFunc(d time.Duration, f func()) func() bool {
	a.at, a.f = a.now+d, f
	return func() bool { return true } // the next alarm takes its place
}

func (a *alarmClock) run() {
	for a.f != nil {
		f := a.f
		a.now, a.f = a.at, nil
		f()
	}
}

// A cell costs no allocation, neither on a line that is a call nor on a timed one, except what the clock needs for alarms.
func TestLineNoAllocation(t *testing.T) {
	var far counter
	var c Cell
	l := newLine(t, &far, LineConfig{})
	if n := testing.AllocsPerRun(100, func() { l.Receive(&c) }); n != 0 {
		t.Errorf("a line in memory: %v allocations a cell", n)
	}
	clock := new(alarmClock)
	l = newLine(t, &far, LineConfig{Clock: clock, Rate: OC3, Delay: time.Millisecond, Impairment: Impairment{
		Loss: 0.1, HeaderErrors: 1e-3, Misinsert: 0.1, Duplicate: 0.1, Jitter: time.Microsecond,
	}})
	flow := l.Flow(CBR, true)
	was := far.Cells()
	if n := testing.AllocsPerRun(100, func() {
		for range 50 {
			l.Receive(&c)
			flow.Receive(&c)
		}
		clock.run()
	}); n != 0 || far.Cells() == was {
		t.Errorf("a timed line: %v allocations for 100 cells; %d came", n, far.Cells()-was)
	}
}

// A line in memory, in place of a Link.
func BenchmarkLine(b *testing.B) {
	l := newLine(b, new(counter), LineConfig{})
	var c Cell
	b.ReportAllocs()
	for b.Loop() {
		l.Receive(&c)
	}
}

// What a cell costs on a timed line, in emulated time.
func BenchmarkLineTimed(b *testing.B) {
	clock := NewSimClock()
	var far counter
	l := newLine(b, &far, LineConfig{Clock: clock, Rate: OC3, Delay: time.Millisecond, Impairment: Impairment{Loss: 1e-3, Burst: Burst{1e-3, 0.1, 1}, HeaderErrors: 1e-6, PayloadErrors: 1e-6, Duplicate: 1e-3}})
	var c Cell
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		l.Receive(&c)
		if n++; n%256 == 0 {
			clock.Run(Forever)
		}
	}
}

// The same in real time, cells as fast as one goroutine makes them.
func BenchmarkLineRealTime(b *testing.B) {
	var far counter
	l := newLine(b, &far, LineConfig{Clock: NewRealClock(), Delay: time.Millisecond, Impairment: Impairment{Loss: 1e-3}})
	defer l.Close()
	var c Cell
	b.ReportAllocs()
	for b.Loop() {
		l.Receive(&c)
	}
	b.ReportMetric(float64(l.Counters().Dropped[DropQueueFull])/float64(b.N), "overflow/op")
}
