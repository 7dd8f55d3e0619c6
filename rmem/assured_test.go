package rmem

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"rmemrun/atm"
)

// faults is what an impaired network does to each cell, and when it carries none at all.
type faults struct {
	loss, bits, twice, late float64       // probabilities: lost, damaged in one to three bits, delivered twice, overtaken
	astray                  float64       // probability: comes out on another circuit
	cut                     time.Duration // when all is lost, for two seconds; 0: never
	delay                   time.Duration // of one direction; 0: 100 µs
}

// impaired makes the network of a fabric one that takes time, emulated, and does what the faults say. Same seed, same faults.
func impaired(clock *atm.SimClock, x faults, seed uint64) func(*fabric, *Config) {
	if x.delay == 0 {
		x.delay = 100 * time.Microsecond
	}
	return func(f *fabric, c *Config) {
		c.Clock = clock
		r := rand.New(rand.NewPCG(seed, uint64(c.ID)))
		p := f.ports[c.ID]
		a := astray{probability: x.astray, random: rand.New(rand.NewPCG(seed, 1000+uint64(c.ID)))}
		p.carry = func(cell *atm.Cell) {
			a.lead(cell)
			if now := clock.Now(); x.cut != 0 && now >= x.cut && now < x.cut+2*time.Second || r.Float64() < x.loss {
				return
			}
			copies := 1
			if r.Float64() < x.twice {
				copies = 2
			}
			for i := range copies {
				moved := *cell
				if r.Float64() < x.bits {
					for range 1 + r.IntN(3) {
						bit := 32 + r.IntN(8*(len(moved)-4))
						moved[bit/8] ^= 0x80 >> (bit % 8)
					}
				}
				d := x.delay + time.Duration(i)*time.Millisecond
				if r.Float64() < x.late {
					d += time.Duration(r.IntN(1000)) * time.Microsecond
				}
				clock.AfterFunc(d, func() { p.deliver(&moved) })
			}
		}
	}
}

var impairments = []struct {
	name   string
	faults faults
}{
	{"lossless", faults{}},
	{"loss of 1 in 10000", faults{loss: 1e-4}},
	{"loss of 1 in 100", faults{loss: 1e-2}},
	{"loss of 1 in 10", faults{loss: 1e-1}},
	{"bit errors", faults{bits: 1e-2}},
	{"duplication", faults{twice: 5e-2}},
	{"reordering", faults{late: 5e-2}},
	{"misinsertion", faults{astray: 5e-2}},
	{"a cut of two seconds", faults{cut: 300 * time.Millisecond}},
	{"everything", faults{loss: 1e-2, bits: 1e-2, twice: 1e-2, late: 1e-2, astray: 1e-2, cut: 500 * time.Millisecond}},
}

// impairedPair is a pair in emulated time.
func impairedPair(t testing.TB, size int, x faults, seed uint64, options ...func(*fabric, *Config)) (*pair, *atm.SimClock) {
	t.Helper()
	clock := atm.NewSimClock()
	f := newFabric(t, 2, append(options, impaired(clock, x, seed))...)
	p := &pair{f: f, a: f.nodes[0].NewSpace(), b: f.nodes[1].NewSpace(), mem: make([]byte, size)}
	p.seg = mustExport(t, p.b, "seg", p.mem, access)
	e, o := emulated(clock, func(o *Operation) { p.a.Import(o, "seg", 1, access, true) })
	if e != OK {
		t.Fatalf("import: %v", e)
	}
	p.d = Desc(o.Handle())
	return p, clock
}

// emulated runs an operation to its end and the network to its rest.
func emulated(clock *atm.SimClock, begin func(*Operation)) (Error, *Operation) {
	o := new(Operation)
	begin(o)
	clock.Run(atm.Forever)
	return o.Result(), o
}

// script has operations begun one after the other, each when the one before it is done, in emulated time. step begins the
// n-th and returns false when there is none.
func script(clock *atm.SimClock, step func(n int, o *Operation) bool) {
	o := new(Operation)
	n := 0
	goOn := func() {
		for step(n, o) {
			n++
			if !o.Done() {
				return
			}
		}
	}
	o.Wake = func() { clock.AfterFunc(0, goOn) }
	goOn()
	clock.Run(atm.Forever)
}

// A counter is incremented by two nodes at once, and each old value is seen once.
func TestExactlyOnce(t *testing.T) {
	const times = 50000
	for _, x := range impairments {
		t.Run(x.name, func(t *testing.T) {
			n := times
			if x.faults.loss != 1e-2 || x.faults.cut != 0 {
				n = 2000 // the round number is for the loss of 1 %
			}
			clock := atm.NewSimClock()
			f := newFabric(t, 3, impaired(clock, x.faults, 1))
			owner := f.nodes[2].NewSpace()
			counter := make([]byte, 8)
			mustExport(t, owner, "counter", counter, access)
			seen := make([]bool, 2*n)
			for i := range 2 {
				s := f.nodes[i].NewSpace()
				var d Desc
				o := new(Operation)
				done := -1 // how many increments
				goOn := func() {
					if e := o.Result(); e != OK {
						t.Errorf("node %d, increment %d: %v", i, done, e)
						return
					}
					if done < 0 {
						d = Desc(o.Handle())
					} else if old := o.Old(); old >= uint64(len(seen)) || seen[old] {
						t.Errorf("node %d: the counter was %d twice", i, old)
						return
					} else {
						seen[old] = true
					}
					if done++; done < n {
						s.FAdd(o, d, 0, 8, 1, false)
					}
				}
				o.Wake = func() { clock.AfterFunc(0, goOn) }
				s.Import(o, "counter", 2, Atomic, true)
			}
			clock.Run(atm.Forever)
			if got := number64(counter); got != uint64(2*n) {
				t.Errorf("the counter is %d, want %d", got, 2*n)
			}
		})
	}
}

func number64(b []byte) (v uint64) {
	for i := range 8 {
		v |= uint64(b[i]) << (8 * i)
	}
	return v
}

// Whatever the network does, what is read is what was there in the order of the requests, and in the end the memory is what was written.
func TestImpaired(t *testing.T) {
	for _, x := range impairments {
		t.Run(x.name, func(t *testing.T) {
			for seed := range uint64(10) {
				t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { testImpaired(t, x.faults, seed) })
			}
		})
	}
}

func testImpaired(t *testing.T, x faults, seed uint64) {
	const size = 300000
	p, clock := impairedPair(t, size, x, seed)
	r := rand.New(rand.NewPCG(seed, 99))
	want := make([]byte, size)
	type reading struct{ got, want []byte }
	var readings []reading
	var last reading
	check := func(l reading) {
		if !bytes.Equal(l.got, l.want) {
			t.Errorf("a read of %d bytes returned something else than was there", len(l.got))
		}
	}
	sizes := []int{1, 3, 4, 8, 40, 41, 100, 500, 3000, 20000, 200000}
	weights := []int{3, 3, 3, 10, 20, 6, 6, 4, 2, 1, 1}
	length := func() int {
		n := r.IntN(59)
		for i, w := range weights {
			if n -= w; n < 0 {
				return sizes[i]
			}
		}
		panic("the weights are 59 in all")
	}
	var sum uint64 // what the last atomic should have found
	atomic := false
	var events Notification
	script(clock, func(n int, o *Operation) bool {
		if n > 0 && o.Result() != OK {
			t.Errorf("operation %d: %v", n-1, o.Result())
			return false
		}
		if last.got != nil {
			check(last)
			last = reading{}
		}
		if atomic && o.Old() != sum {
			t.Errorf("operation %d found %d, want %d", n-1, o.Old(), sum)
		}
		atomic = false
		if n == 300 {
			p.a.Fence(o, p.d)
			return true
		} else if n > 300 {
			return false
		}
		l := length()
		off := r.IntN(size - l)
		switch k := r.IntN(20); {
		case k < 10:
			data := make([]byte, l)
			for i := range data {
				data[i] = byte(r.Uint32())
			}
			copy(want[off:], data)
			notify := r.IntN(4) == 0
			if notify {
				events.Count++
			}
			p.a.Write(o, p.d, uint64(off), mem(data), uint64(l), 1, notify)
			spoil(data, o.Done()) // the source can be used again
		case k < 14:
			last = reading{make([]byte, l), bytes.Clone(want[off : off+l])}
			p.a.Read(o, p.d, uint64(off), mem(last.got), uint64(l), 1, false)
		case k < 17:
			a := reading{make([]byte, l), bytes.Clone(want[off : off+l])}
			readings = append(readings, a)
			p.a.Read(o, p.d, uint64(off), mem(a.got), uint64(l), 1, true)
		case k < 19:
			off &^= 7
			sum, atomic = number64(want[off:]), true
			add := r.Uint64()
			for i := range 8 {
				want[off+i] = byte((sum + add) >> (8 * i))
			}
			p.a.FAdd(o, p.d, uint64(off), 8, add, false)
		default:
			p.a.Fence(o, p.d)
		}
		return true
	})
	for _, l := range readings {
		check(l)
	}
	if !bytes.Equal(p.mem, want) {
		t.Error("the memory is not what was written")
	}
	var o Operation
	var got uint64
	for p.b.Wait(&o, p.seg); o.Done(); p.b.Wait(&o, p.seg) {
		got += o.Event().Count
	}
	o.Cancel(ETIMEDOUT)
	if got != events.Count {
		t.Errorf("%d notifications, want %d", got, events.Count)
	}
	e, _ := emulated(clock, func(o *Operation) { p.a.Release(o, p.d) })
	if e != OK {
		t.Errorf("release: %v", e)
	}
	for i, n := range p.f.nodes {
		if len(n.calls) != 0 || len(n.initiators) != 0 || len(n.targets) != 0 {
			t.Errorf("node %d has %d calls, %d initiators, %d targets left", i, len(n.calls), len(n.initiators), len(n.targets))
		}
		if k := n.peer(1 - i).partial.Load(); k != 0 {
			t.Errorf("node %d has %d buffers left", i, k)
		}
	}
}

// spoil overwrites the source of a write that is done.
func spoil(b []byte, done bool) {
	if done {
		for i := range b {
			b[i] = 0xee
		}
	}
}

// A node that stays silent is given up, after the limit and not before: all that waits for it ends with EDOWN.
func TestSilence(t *testing.T) {
	p, clock := impairedPair(t, 1<<20, faults{}, 1)
	began := clock.Now()
	p.f.ports[1].tamper = func(*atmCell) bool { return false }
	ops := map[string]*Operation{}
	ended := map[string]time.Duration{}
	begin := func(name string, f func(*Operation)) {
		o := new(Operation)
		o.Wake = func() { ended[name] = clock.Now() }
		ops[name] = o
		f(o)
	}
	dst := make(mem, 1<<20)
	if e := written(p.a, p.d, 0, pattern(8)); e != OK { // posted: the fence reports what becomes of it
		t.Fatal(e)
	}
	begin("fadd", func(o *Operation) { p.a.FAdd(o, p.d, 0, 8, 1, false) })
	begin("read", func(o *Operation) { p.a.Read(o, p.d, 0, dst, 8, 1, false) })
	begin("block", func(o *Operation) { p.a.Read(o, p.d, 0, dst, 1<<20, 1, false) })
	begin("write", func(o *Operation) { p.a.Write(o, p.d, 0, dst, 1<<20, 1, false) })
	begin("fence", func(o *Operation) { p.a.Fence(o, p.d) })
	begin("import", func(o *Operation) { p.a.Import(o, "seg", 1, Read, true) })
	clock.Run(began + DefaultSilence - time.Millisecond)
	for name, o := range ops {
		if o.Done() {
			t.Errorf("%s: %v before the limit", name, o.Result())
		}
	}
	clock.Run(atm.Forever)
	for name, o := range ops {
		if !o.Done() || o.Result() != EDOWN {
			t.Errorf("%s: done %v, %v, want EDOWN", name, o.Done(), o.Result())
		}
		if d := ended[name] - began; d > DefaultSilence+maxTimeout {
			t.Errorf("%s ended after %v", name, d)
		}
	}
	if e, _ := emulated(clock, func(o *Operation) { p.a.Release(o, p.d) }); e != OK && e != EDOWN {
		t.Errorf("release: %v", e)
	}
	if n := p.f.nodes[0]; len(n.calls) != 0 || len(n.initiators) != 0 {
		t.Errorf("%d calls and %d initiators are left", len(n.calls), len(n.initiators))
	}
}

// Circuits are set up and taken down through loss, duplication and reordering, and no end of one is left when its VC has another.
func TestCircuitsThroughLosses(t *testing.T) {
	for seed := range uint64(10) {
		p, clock := impairedPair(t, 64, faults{loss: 0.2, twice: 0.2, late: 0.2}, seed)
		for _, port := range p.f.ports {
			port.limit = 40 // few VCs, so that they are used again at once
		}
		for i := range 100 {
			e, o := emulated(clock, func(o *Operation) { p.a.Import(o, "seg", 1, access, true) })
			if e != OK {
				t.Fatalf("seed %d, import %d: %v", seed, i, e)
			}
			d := Desc(o.Handle())
			if e, o := emulated(clock, func(o *Operation) { p.a.FAdd(o, d, 0, 8, 1, false) }); e != OK || o.Old() != uint64(i) {
				t.Fatalf("seed %d, fadd %d: %v, old %d", seed, i, e, o.Old())
			}
			if e, _ := emulated(clock, func(o *Operation) { p.a.Release(o, d) }); e != OK {
				t.Fatalf("seed %d, release %d: %v", seed, i, e)
			}
		}
		if n, m := len(p.f.nodes[0].initiators), len(p.f.nodes[1].targets); n != 1 || m != 1 {
			t.Errorf("seed %d: %d and %d ends of circuits are left, want 1 and 1", seed, n, m)
		}
	}
}

// A target of another version is not talked to, and the import says so.
func TestVersions(t *testing.T) {
	p := newPair(t, 64, access)
	p.f.ports[1].tamper = func(c *atmCell) bool { // all that node 1 says is of another version
		if c.VC().VCI == ControlVCI(0) {
			var a atm.Segmenter
			m, ok := parseMessage(c.Payload()[:controlSize])
			var b [controlSize]byte
			m.version++
			m.put(&b)
			if ok && a.Begin(atm.Header{VC: c.VC()}, 0, b[:], nil) == nil {
				a.Next(c)
			}
		}
		return true
	}
	if e, _ := do(func(o *Operation) { p.a.Import(o, "seg", 1, Read, true) }); e != EDOWN {
		t.Errorf("%v, want EDOWN", e)
	}
}

// bottleneck makes the network a line at OC-3's rate, behind a queue of so many cells that drops what does not fit.
func bottleneck(clock *atm.SimClock, queue int) func(*fabric, *Config) {
	const cell = 2831 * time.Nanosecond
	return func(f *fabric, c *Config) {
		c.Clock = clock
		p := f.ports[c.ID]
		var free time.Duration // when the line has nothing to send
		p.carry = func(moved *atm.Cell) {
			now := clock.Now()
			free = max(free, now)
			if free-now > time.Duration(queue)*cell {
				return
			}
			free += cell
			m := *moved
			clock.AfterFunc(free-now+100*time.Microsecond, func() { p.deliver(&m) })
		}
	}
}

// A block gets through a queue that holds a hundredth of its cells.
func TestShortQueues(t *testing.T) {
	const size = 4 * MaxBlock
	for _, queue := range []int{10, 50, 200, 1000} {
		clock := atm.NewSimClock()
		f := newFabric(t, 2, bottleneck(clock, queue))
		a, b := f.nodes[0].NewSpace(), f.nodes[1].NewSpace()
		m := make([]byte, size)
		mustExport(t, b, "seg", m, access)
		_, o := emulated(clock, func(o *Operation) { a.Import(o, "seg", 1, access, true) })
		d := Desc(o.Handle())
		data, back := pattern(size), make([]byte, size)
		emulated(clock, func(o *Operation) { a.Write(o, d, 0, mem(data), size, 1, false) })
		if e, _ := emulated(clock, func(o *Operation) { a.Fence(o, d) }); e != OK || !bytes.Equal(m, data) {
			t.Errorf("a queue of %d cells: write: %v", queue, e)
		}
		if e, _ := emulated(clock, func(o *Operation) { a.Read(o, d, 0, mem(back), size, 1, false) }); e != OK || !bytes.Equal(back, data) {
			t.Errorf("a queue of %d cells: read: %v", queue, e)
		}
		if n := f.nodes[1].Drops()[BadPDU]; queue < 1000 && n == 0 {
			t.Errorf("a queue of %d cells has lost nothing", queue)
		}
	}
}
