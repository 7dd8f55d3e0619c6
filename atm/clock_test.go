package atm

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestSimClockOrder(t *testing.T) {
	s := NewSimClock()
	var got []string
	at := func(d time.Duration, name string) func() bool {
		return s.AfterFunc(d, func() { got = append(got, fmt.Sprintf("%s@%v", name, s.Now())) })
	}
	at(3, "c")
	at(1, "a")
	stop := at(2, "never")
	at(1, "b")
	s.AfterFunc(2, func() {
		at(0, "nested")
		at(5, "late")
		at(-1, "past")
	})
	if !stop() || stop() {
		t.Error("the first stop prevents the call, the second finds nothing to prevent")
	}
	if n := s.Run(6); n != 6 {
		t.Errorf("Run called %d functions, want 6", n)
	}
	if got, want := fmt.Sprint(got), "[a@1ns b@1ns nested@2ns past@2ns c@3ns]"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if n := s.Run(Forever); n != 1 || s.Now() != 7 {
		t.Errorf("Run called %d functions up to %v, want 1 up to 7ns", n, s.Now())
	}
	if stop := at(1, "x"); s.Run(Forever) != 1 || stop() {
		t.Error("stop after the call has prevented it")
	}
}

func TestRealClock(t *testing.T) {
	c := NewRealClock()
	before := c.Now()
	done := make(chan time.Duration)
	c.AfterFunc(time.Millisecond, func() { done <- c.Now() })
	if at := <-done; at-before < time.Millisecond {
		t.Errorf("called %v after AfterFunc, want at least 1ms", at-before)
	}
	if stop := c.AfterFunc(time.Hour, func() { t.Error("called") }); !stop() || stop() {
		t.Error("the first stop prevents the call, the second finds nothing to prevent")
	}
}

// Alarms set and stopped by many goroutines: each is called, not early, or stopped, never both, and nothing remains.
func TestRealClockConcurrent(t *testing.T) {
	defer goleak.VerifyNone(t)
	c := NewRealClock()
	var calls, stopped, early atomic.Int64
	var wg sync.WaitGroup
	const each = 300
	for g := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(g)))
			for range each {
				d := time.Duration(rng.IntN(2000)) * time.Microsecond
				due := c.Now() + d
				wg.Add(1)
				stop := c.AfterFunc(d, func() {
					calls.Add(1)
					if c.Now() < due {
						early.Add(1)
					}
					wg.Done()
				})
				if rng.IntN(2) == 0 && stop() {
					stopped.Add(1)
					wg.Done()
				}
			}
		})
	}
	wg.Wait()
	if calls.Load()+stopped.Load() != 4*each || calls.Load() == 0 || stopped.Load() == 0 || early.Load() != 0 {
		t.Errorf("%d called, %d of them early, %d stopped, of %d", calls.Load(), early.Load(), stopped.Load(), 4*each)
	}
	for range 3 { // a clock without alarms begins anew
		done := make(chan bool)
		c.AfterFunc(-1, func() { close(done) })
		<-done
	}
}

// A stamp is an integer of picoseconds.
func TestStamp(t *testing.T) {
	value := func(s stamp) *big.Int {
		v := new(big.Int).Mul(big.NewInt(int64(s.ns)), big.NewInt(1000))
		return v.Add(v, big.NewInt(int64(s.ps)))
	}
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) stamp {
			return stamp{time.Duration(rapid.Int64Range(-1<<62, 1<<62).Draw(t, name)), int32(rapid.IntRange(0, 999).Draw(t, name+".ps"))}
		}
		a, b := draw("a"), draw("b")
		if rapid.Bool().Draw(t, "near") {
			b.ns = a.ns
		}
		d := rapid.Int64Range(-1<<61, 1<<61).Draw(t, "d")
		sum := a.add(d)
		if want := new(big.Int).Add(value(a), big.NewInt(d)); value(sum).Cmp(want) != 0 || sum.ps < 0 || sum.ps > 999 {
			t.Fatalf("%v + %d ps = %v, want %v ps", a, d, sum, want)
		}
		if got, want := a.before(b), value(a).Cmp(value(b)) < 0; got != want {
			t.Fatalf("%v before %v: %v", a, b, got)
		}
		if up := (stamp{ns: a.up()}); up.before(a) || !(stamp{ns: a.up() - 1}).before(a) {
			t.Fatalf("%v up is %v", a, up)
		}
	})
}

// The rates and cell times of the research this package is built on: C-4 payloads of 260 x 9 octets, 8000 times a second.
func TestRates(t *testing.T) {
	for _, k := range []struct {
		name  string
		mbit  float64
		cells string
		ps    int64
	}{
		{"OC-3", 149.76, "353207.55", 2831197},
		{"oc-12", 599.04, "1412830.19", 707799},
		{"OC-48", 2396.16, "5651320.75", 176950},
		{"oc-192", 9584.64, "22605283.02", 44237},
		{"Unlimited", 0, "0.00", 0},
	} {
		rate, err := RateByName(k.name)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%.2f", rate); got != k.cells {
			t.Errorf("%s is %s cells/s, want %s", k.name, got, k.cells)
		}
		if got, want := fmt.Sprintf("%.6f", rate*CellSize*8/1e6), fmt.Sprintf("%.6f", k.mbit); got != want {
			t.Errorf("%s is %s Mb/s, want %s", k.name, got, want)
		}
		if ps, err := cellTime(rate); err != nil || ps != k.ps {
			t.Errorf("%s: a cell takes %d ps, %v, want %d", k.name, ps, err, k.ps)
		}
	}
	if _, err := RateByName("OC-5"); err == nil || err.Error() != `no rate is called "OC-5", known are OC-3, OC-12, OC-48, OC-192, unlimited` {
		t.Error(err)
	}
	for _, rate := range []float64{-1, 1e-9, 1e13, math.NaN()} {
		if _, err := cellTime(rate); err == nil {
			t.Errorf("a rate of %v is accepted", rate)
		}
	}
}
