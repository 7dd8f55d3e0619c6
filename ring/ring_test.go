package ring

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	goruntime "runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"rmemrun/atm"
)

// A recorder serves requests by noting them. It answers those whose first octet is odd.
type recorder struct {
	mu      sync.Mutex
	indices []uint64
	numbers []uint64
	refused int
}

func (s *recorder) Begin() { s.mu.Lock() }
func (s *recorder) End()   { s.mu.Unlock() }

func (s *recorder) Serve(index uint64, request, reply *atm.Cell) bool {
	s.indices = append(s.indices, index)
	s.numbers = append(s.numbers, binary.LittleEndian.Uint64(request[11:]))
	if request[0]&1 == 0 {
		return false
	}
	*reply = *request
	reply[52] = ^reply[52]
	return true
}

func (s *recorder) Refuse(index uint64, reply *atm.Cell) {
	s.refused++
	binary.LittleEndian.PutUint64(reply[:], ^index)
}

// An initiator does what a guest's stubs do.
type initiator struct{ *Ring }

func (g initiator) claim() uint64 { return atomic.AddUint64(&g.requests.tail, 1) - 1 }

func (g initiator) publish(index uint64, c *atm.Cell) {
	put(&g.requests.slots[index%Slots], c, uint32(index+1))
}

func (g initiator) head() uint64 { return atomic.LoadUint64(&g.replies.head) }

func (g initiator) reply(index uint64) (c atm.Cell, ok bool) {
	return c, take(&c, &g.replies.slots[index%Slots], uint32(index+1))
}

// cellOf is a request with a number; one in four is to be answered.
func cellOf(n uint64) *atm.Cell {
	var c atm.Cell
	for i := range c {
		c[i] = byte(n) + byte(i)
	}
	c[0] = 0
	if n%4 == 3 {
		c[0] = 1
	}
	binary.LittleEndian.PutUint64(c[11:], n)
	return &c
}

func newRing(t testing.TB, s Server, start uint64) *Ring {
	t.Helper()
	p, err := NewPair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	r := p.Ring(Batch - 1)
	r.reset(s, start)
	return r
}

// starts are indices at which a number of some width is about to wrap, or is not.
var starts = []uint64{0, 5, Slots - 1, 1<<32 - Slots - 3, 1<<32 - 1, 1<<63 - 2, 1<<64 - Slots - 7, 1<<64 - 1}

func TestRequestsAreServedInOrderAcrossWrap(t *testing.T) {
	for _, start := range starts {
		t.Run(fmt.Sprintf("%#x", start), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				s := &recorder{}
				p, err := NewPair()
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				r := p.Ring(0)
				r.reset(s, start)
				g := initiator{r}
				var posted, served uint64
				for range rapid.IntRange(1, 40).Draw(t, "rounds") {
					n := rapid.IntRange(0, int(Slots-(posted-served))).Draw(t, "posted")
					for range n {
						g.publish(g.claim(), cellOf(posted))
						posted++
					}
					if r.Ready() != (posted > served) {
						t.Fatalf("ready %v with %d posted and %d served", r.Ready(), posted, served)
					}
					most := rapid.IntRange(0, Slots).Draw(t, "most")
					n, err := r.Serve(most)
					if want := min(most, int(posted-served)); n != want || err != nil {
						t.Fatalf("served %d of at most %d, %v; want %d", n, most, err, want)
					}
					for left := n; left > 0; left-- {
						if got := s.numbers[served]; got != served {
							t.Fatalf("request %d was served as number %d", got, served)
						}
						if got := s.indices[served]; got != start+served {
							t.Fatalf("request %d has index %#x, want %#x", served, got, start+served)
						}
						reply, said := g.reply(start + served)
						want := cellOf(served)
						answered := want[0] == 1
						if said != (answered || left == 1) || answered && !bytes.Equal(reply[:52], want[:52]) {
							t.Fatalf("the reply to request %d, with %d behind it, is %v % x", served, left-1, said, reply)
						}
						served++
					}
					if g.head() != start+served {
						t.Fatalf("head is %#x, want %#x", g.head(), start+served)
					}
				}
				if r.Head() != start+served {
					t.Fatalf("the head is said to be at %#x, want %#x", r.Head(), start+served)
				}
			})
		})
	}
}

func TestFullRing(t *testing.T) {
	for _, start := range starts {
		s := &recorder{}
		r := newRing(t, s, start)
		g := initiator{r}
		for i := range uint64(Slots) {
			g.publish(g.claim(), cellOf(i))
		}
		if n, err := r.Serve(2 * Slots); n != Slots || err != nil {
			t.Fatalf("start %#x: served %d of a full ring, %v", start, n, err)
		}
		if n, err := r.Serve(1); n != 0 || err != nil || r.Ready() {
			t.Fatalf("start %#x: served %d of an empty ring, %v", start, n, err)
		}
	}
}

func TestWhatIsClaimedAndNotPublishedIsWaitedFor(t *testing.T) {
	s := &recorder{}
	r := newRing(t, s, 0)
	g := initiator{r}
	first, second := g.claim(), g.claim()
	g.publish(second, cellOf(1))
	if r.Ready() {
		t.Fatal("a ring whose first slot is empty is ready")
	}
	waits := 0
	err := r.Drain(func(held bool) bool {
		if held {
			t.Error("nobody has the ring, and it is said to be held")
		}
		if waits++; waits == 3 {
			g.publish(first, cellOf(0))
		}
		return true
	})
	if err != nil || waits != 3 || len(s.numbers) != 2 || s.numbers[0] != 0 || s.numbers[1] != 1 {
		t.Fatalf("drained %v after %d waits, %v", s.numbers, waits, err)
	}
	g.claim()
	if err := r.Drain(func(bool) bool { return false }); !errors.Is(err, ErrStuck) {
		t.Fatalf("a ring that is held up: %v", err)
	}
}

// TestDrainWaitsForTheExporter: while the exporter's guest has the ring, it may have come further than we know by more than a ring
// holds.
func TestDrainWaitsForTheExporter(t *testing.T) {
	for _, start := range starts {
		r := newRing(t, &recorder{}, start)
		const served = 3 * Slots // by the exporter, of whom we have not heard since
		atomic.StoreUint64(&r.requests.tail, start+served)
		atomic.StoreUint64(&r.replies.head, start+served-1)
		atomic.StoreUint32(&r.replies.lock, 2)
		waits := 0
		err := r.Drain(func(held bool) bool {
			if !held {
				t.Error("the exporter has the ring, and it is not said to be held")
			}
			if waits++; waits == 2 {
				atomic.StoreUint64(&r.replies.head, start+served)
				atomic.StoreUint32(&r.replies.lock, unlocked)
			}
			return waits < 5
		})
		if err != nil || waits != 2 {
			t.Errorf("start %#x: drained after %d waits: %v", start, waits, err)
		}
	}
}

func TestDrainServesWhatWasPostedBefore(t *testing.T) {
	for _, start := range starts {
		s := &recorder{}
		r := newRing(t, s, start)
		g := initiator{r}
		for i := range uint64(100) {
			g.publish(g.claim(), cellOf(i))
		}
		if err := r.Drain(func(bool) bool { t.Error("waited"); return false }); err != nil || len(s.numbers) != 100 {
			t.Fatalf("drained %d, %v", len(s.numbers), err)
		}
	}
}

func TestExporterServesByItself(t *testing.T) {
	s := &recorder{}
	r := newRing(t, s, 1<<32-3)
	g := initiator{r}
	for i := range uint64(8) {
		g.publish(g.claim(), cellOf(i))
	}
	atomic.StoreUint32(&r.replies.lock, 2)
	if n, err := r.Serve(Slots); n != 0 || err != nil {
		t.Fatalf("served %d of a ring that the exporter serves, %v", n, err)
	}
	store64(&r.replies.head, g.head()+5) // it did five
	atomic.StoreUint32(&r.replies.lock, 0)
	if n, err := r.Serve(Slots); n != 3 || err != nil || s.numbers[0] != 5 {
		t.Fatalf("served %d, %v, after five that the exporter did: %v", n, err, s.numbers)
	}
	g.publish(g.claim(), cellOf(8))
	atomic.StoreUint32(&r.replies.lock, 2)
	waits := 0
	if err := r.Drain(func(bool) bool { waits++; return waits < 4 }); !errors.Is(err, ErrStuck) || waits != 4 {
		t.Fatalf("drained a ring whose lock is held: %v after %d waits", err, waits)
	}
	r.Orphan()
	if n, err := r.Serve(Slots); n != 1 || err != nil {
		t.Fatalf("served %d of an orphan, %v", n, err)
	}
}

func TestBrokenRing(t *testing.T) {
	for name, damage := range map[string]func(r *Ring){
		"head falls back":     func(r *Ring) { store64(&r.replies.head, r.replies.head-1) },
		"head overtakes tail": func(r *Ring) { store64(&r.replies.head, r.requests.tail+1) },
		"head far ahead":      func(r *Ring) { store64(&r.replies.head, r.replies.head+1<<40) },
		"tail far ahead": func(r *Ring) {
			atomic.AddUint64(&r.requests.tail, 2*Slots)
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, start := range starts {
				s := &recorder{}
				r := newRing(t, s, start)
				g := initiator{r}
				for i := range uint64(4) {
					g.publish(g.claim(), cellOf(i))
				}
				if n, err := r.Serve(2); n != 2 || err != nil {
					t.Fatalf("served %d, %v", n, err)
				}
				damage(r)
				if err := r.Drain(func(bool) bool { return false }); !errors.Is(err, ErrBroken) {
					t.Fatalf("start %#x: drained: %v", start, err)
				}
				if g.head() != r.requests.tail || s.refused == 0 {
					t.Fatalf("start %#x: who waits was not refused: head %#x, tail %#x, %d refusals", start, g.head(), r.requests.tail, s.refused)
				}
				last := r.requests.tail - 1
				if reply, ok := g.reply(last); !ok || binary.LittleEndian.Uint64(reply[:]) != ^last {
					t.Fatalf("start %#x: the last request was not refused", start)
				}
				g.publish(g.claim(), cellOf(9))
				if n, err := r.Serve(Slots); n != 0 || !errors.Is(err, ErrBroken) || g.head() != last+2 {
					t.Fatalf("start %#x: afterwards: served %d, %v, head %#x", start, n, err, g.head())
				}
				r.Reset(s)
				g.publish(g.claim(), cellOf(10))
				if n, err := r.Serve(Slots); n != 1 || err != nil {
					t.Fatalf("start %#x: after Reset: served %d, %v", start, n, err)
				}
			}
		})
	}
}

// FuzzHostileGuests lets both guests write anything anywhere, between calls: no call fails but with ErrBroken or ErrStuck, none serves more than there are
// slots, and after Reset all is well.
func FuzzHostileGuests(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, uint64(0))
	f.Add(bytes.Repeat([]byte{1, 0xff, 3, 0, 5, 0xff, 7, 8, 9}, 20), uint64(1<<64-5))
	f.Add(bytes.Repeat([]byte{7, 1, 2, 0xff, 6, 0xff, 0}, 30), uint64(1<<32-2))
	pair, err := NewPair()
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(pair.Close)
	f.Fuzz(func(t *testing.T, script []byte, start uint64) {
		s := &recorder{}
		r := pair.Ring(1)
		r.reset(s, start)
		g := initiator{r}
		random := rand.New(rand.NewPCG(start, uint64(len(script))))
		files := [][]byte{pair.requests.memory, pair.replies.memory}
		for i, b := range script {
			switch b % 8 {
			case 0, 1:
				g.publish(g.claim(), cellOf(uint64(i)))
			case 2:
				m := files[int(b>>3)%2]
				m[random.IntN(len(m))] = byte(random.Uint32())
			case 3:
				store64(&r.replies.head, r.replies.head+uint64(int8(b))>>3)
			case 4:
				store64(&r.requests.tail, r.requests.tail+uint64(int8(b)))
			case 5:
				store64(&r.replies.head, random.Uint64()>>(b>>3))
			case 6:
				atomic.StoreUint32(&r.replies.lock, uint32(b>>3))
			case 7:
				before := len(s.indices)
				n, err := r.Serve(Slots)
				if n < 0 || n > Slots || len(s.indices)-before != n || err != nil && !errors.Is(err, ErrBroken) {
					t.Fatalf("served %d, %v", n, err)
				}
				waits := 0
				err = r.Drain(func(bool) bool { waits++; return waits < 3 })
				if err != nil && !errors.Is(err, ErrBroken) && !errors.Is(err, ErrStuck) {
					t.Fatalf("drained: %v", err)
				}
				r.Ready()
			}
		}
		r.Reset(s)
		before := len(s.indices)
		for i := range uint64(Slots) {
			g.publish(g.claim(), cellOf(i))
		}
		if n, err := r.Serve(2 * Slots); n != Slots || err != nil {
			t.Fatalf("after Reset: served %d, %v", n, err)
		}
		for i, n := range s.numbers[before:] {
			if n != uint64(i) {
				t.Fatalf("after Reset: number %d was served as %d", n, i)
			}
		}
	})
}

// TestManyServers has requests posted by one, and served by several at once, one of which is the exporter's guest: each is served once, in order.
func TestManyServers(t *testing.T) {
	const requests = 100_000
	s := &recorder{}
	r := newRing(t, s, 1<<32-1000)
	g := initiator{r}
	var all sync.WaitGroup
	var stop atomic.Bool
	for range 2 {
		all.Go(func() {
			for !stop.Load() {
				if _, err := r.Serve(Slots); err != nil {
					t.Error(err)
					return
				}
				goruntime.Gosched()
			}
		})
	}
	all.Go(func() { // the guest
		var c atm.Cell
		for !stop.Load() {
			if !atomic.CompareAndSwapUint32(&r.replies.lock, 0, 2) {
				goruntime.Gosched()
				continue
			}
			head := g.head()
			for take(&c, &r.requests.slots[head%Slots], uint32(head+1)) {
				s.Begin() // guards the record here, as the lock of the ring does
				s.Serve(head, &c, new(atm.Cell))
				s.End()
				head++
				store64(&r.replies.head, head)
			}
			store32(&r.replies.lock, 0)
			goruntime.Gosched()
		}
	})
	start := g.head()
	for i := range uint64(requests) {
		for start+i-g.head() >= Slots {
			goruntime.Gosched()
		}
		g.publish(g.claim(), cellOf(i))
	}
	if err := r.Drain(func(bool) bool { goruntime.Gosched(); return true }); err != nil {
		t.Fatal(err)
	}
	for g.head() != start+requests {
		goruntime.Gosched()
	}
	stop.Store(true)
	all.Wait()
	if len(s.numbers) != requests {
		t.Fatalf("%d were served, want %d", len(s.numbers), requests)
	}
	for i, n := range s.numbers {
		if n != uint64(i) {
			t.Fatalf("number %d was served as %d", n, i)
		}
	}
}

// A taker takes requests whose word is even, and answers those of which it is 2.
type taker struct {
	recorder
	header atm.HeaderOctets
	log    []string
}

func (s *taker) Header() atm.HeaderOctets { return s.header }

func (s *taker) Take(index uint64, word uint32, data []byte, reply *atm.Cell) (taken, answered bool) {
	if word%2 != 0 {
		return false, false
	}
	s.log = append(s.log, fmt.Sprintf("take %d: %d % x", index, word, data))
	binary.LittleEndian.PutUint64(reply[:], ^index)
	return true, word == 2
}

func (s *taker) Serve(index uint64, request, reply *atm.Cell) bool {
	s.log = append(s.log, fmt.Sprintf("serve %d % x", index, *request))
	return false
}

// All requests are carried out once and in order: those that are right are taken, if the server does, and all others are served as cells.
func TestRequestsAreTakenWithoutTheirCells(t *testing.T) {
	header := atm.Header{VC: atm.VC{VPI: 3, VCI: 700}}.Octets()
	for _, start := range starts {
		rapid.Check(t, func(t *rapid.T) {
			p, err := NewPair()
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			s := &taker{header: header}
			r := p.Ring(0)
			r.reset(s, start)
			g := initiator{r}
			var want []string
			var answers []uint64
			for range rapid.IntRange(1, Slots).Draw(t, "requests") {
				index := g.claim()
				var c atm.Cell
				word := uint32(rapid.IntRange(0, 3).Draw(t, "word"))
				data := rapid.SliceOfN(rapid.Byte(), 4, 40).Draw(t, "data")
				if err := header.EncodeSSM(&c, uint8(index&0xf), uint16(index>>4)&0x3ff, word, data); err != nil {
					t.Fatal(err)
				}
				damaged := rapid.IntRange(0, 3).Draw(t, "damaged") == 0
				if damaged {
					c[rapid.IntRange(0, len(c)-1).Draw(t, "octet")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
				}
				if damaged || word%2 != 0 {
					want = append(want, fmt.Sprintf("serve %d % x", index, c))
				} else {
					want = append(want, fmt.Sprintf("take %d: %d % x", index, word, data))
					if word == 2 {
						answers = append(answers, index)
					}
				}
				g.publish(index, &c)
			}
			if n, err := r.Serve(Slots); n != len(want) || err != nil {
				t.Fatalf("served %d, %v; want %d", n, err, len(want))
			}
			if fast(header) {
				if diff := cmp.Diff(want, s.log); diff != "" {
					t.Fatalf("served (-want +got):\n%s", diff)
				}
				for index := start; index != start+uint64(len(want)); index++ {
					c, said := g.reply(index)
					answered, last := slices.Contains(answers, index), index+1 == start+uint64(len(want))
					if said != (answered || last) || answered && binary.LittleEndian.Uint64(c[:]) != ^index {
						t.Fatalf("request %d, the last: %v, has the reply % x: %v", index, last, c, said)
					}
				}
			} else if len(s.log) != len(want) {
				t.Fatalf("served %q, want %d", s.log, len(want))
			}
		})
	}
}

// fast reports whether there is a fast way to read cells.
func fast(h atm.HeaderOctets) bool {
	var c atm.Cell
	_ = h.EncodeSSM(&c, 0, 0, 0, make([]byte, 4))
	var s slot
	put(&s, &c, 1)
	var data atm.AlignedData
	_, n := atm.OpenSSM(&data, s.aligned(), 1, h, 0)
	return n != 0
}

// A discarder serves requests by doing nothing.
type discarder struct{}

func (discarder) Begin()                               {}
func (discarder) End()                                 {}
func (discarder) Serve(_ uint64, _, _ *atm.Cell) bool  { return true }
func (discarder) Refuse(index uint64, reply *atm.Cell) {}

func TestServingDoesNotAllocate(t *testing.T) {
	r := newRing(t, discarder{}, 0)
	g := initiator{r}
	c := cellOf(3)
	if n := testing.AllocsPerRun(100, func() {
		g.publish(g.claim(), c)
		g.publish(g.claim(), c)
		if n, err := r.Serve(Slots); n != 2 || err != nil {
			t.Errorf("served %d, %v", n, err)
		}
		if err := r.Drain(func(bool) bool { return false }); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkServe(b *testing.B) {
	r := newRing(b, discarder{}, 0)
	g := initiator{r}
	c := cellOf(4)
	for b.Loop() {
		for range 64 {
			g.publish(g.claim(), c)
		}
		if n, err := r.Serve(Slots); n != 64 || err != nil {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/64, "ns/cell")
}
