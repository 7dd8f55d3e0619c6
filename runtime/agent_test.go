package runtime

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rmemrun/atm"
	rings "rmemrun/ring"
)

// A tally serves requests by counting them.
type tally struct {
	mu   sync.Mutex
	done uint64
}

func (s *tally) Begin() { s.mu.Lock() }
func (s *tally) End()   { s.mu.Unlock() }

func (s *tally) Serve(uint64, *atm.Cell, *atm.Cell) bool {
	s.done++
	return false
}

func (s *tally) Refuse(uint64, *atm.Cell) {}

func (s *tally) count() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done
}

// An agentTest is an agent with rings, and what stubs do with them.
type agentTest struct {
	agent *agent
	bell  *rings.Bell
	word  *uint32 // the bell's, as guests have it
	board *rings.Board
	stubs []*stub
}

// newAgentTest has guests fence, as what they are played by is not registered for the agent's barrier.
func newAgentTest(t *testing.T, n int, p Poll) *agentTest {
	t.Helper()
	bell, err := rings.NewBell()
	if err != nil {
		t.Fatal(err)
	}
	a := &agentTest{bell: bell}
	a.agent = newAgent(bell, newProcessors(2, p, 1, func(uint32, uint32) {}), nil)
	fd, length := bell.File()
	a.word = wordOf(mapped(t, fd, length), 0)
	if a.board, err = rings.NewBoard(); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		a.stubs = append(a.stubs, newStub(t, a, i))
	}
	t.Cleanup(func() {
		a.agent.stop()
		for _, s := range a.stubs {
			s.pair.Close()
		}
		a.board.Close()
		bell.Close()
	})
	return a
}

// A stub does what a guest's stubs do with one ring.
type stub struct {
	test   *agentTest
	pair   *rings.Pair
	server tally
	charge charge

	tail, head, left *uint64
	polling, lock    *uint32
	slots            []byte
	posted           uint64
}

func newStub(t *testing.T, a *agentTest, i int) *stub {
	t.Helper()
	p, err := rings.NewPair()
	if err != nil {
		t.Fatal(err)
	}
	s := &stub{test: a, pair: p}
	fd, length := p.Requests()
	requests := mapped(t, fd, length)
	fd, length = p.Replies()
	replies := mapped(t, fd, length)
	const page, line = 4096, 64 // see ring/stub/layout.h
	s.tail, s.slots = longOf(requests, 0), requests[page:]
	s.head, s.polling, s.lock, s.left = longOf(replies, 0), wordOf(replies, 8), wordOf(replies, line), longOf(replies, line+8)
	p.Ring(0).Reset(&s.server)
	s.charge = charge{ring: p.Ring(0), out: a.board.Out(i), broken: func() { t.Error("a ring is broken") }}
	return s
}

// post publishes a request, and announces it.
func (s *stub) post() {
	s.publish()
	for atomic.LoadUint32(&s.charge.out.Attended) == 0 && atomic.LoadUint32(s.polling) == 0 && atomic.LoadUint64(s.head) < s.posted {
		if s.wakeAgent() {
			return
		}
	}
}

// publish publishes a request. It is a fence.
func (s *stub) publish() {
	for s.posted-atomic.LoadUint64(s.head) >= rings.Slots {
		time.Sleep(10 * time.Microsecond)
	}
	atomic.AddUint64(s.tail, 1)
	slot := s.slots[s.posted%rings.Slots*64:][:64]
	s.posted++
	atomic.StoreUint32(wordOf(slot, 0), uint32(s.posted))
}

// wakeAgent reports whether the agent will look at all rings.
func (s *stub) wakeAgent() bool {
	const sleeps = 1
	return atomic.LoadUint32(s.test.word)&sleeps == 0 || futexWoke(s.test.word) > 0
}

// served waits until all is served that was posted.
func (s *stub) served(t *testing.T) {
	t.Helper()
	for began := time.Now(); atomic.LoadUint64(s.head) < s.posted; {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("the agent has not seen a request: %d of %d served, attended %d, asleep %v",
				atomic.LoadUint64(s.head), s.posted, s.charge.out.Attended, s.test.agent.asleep.Load())
		}
		if time.Since(began) > 100*time.Microsecond {
			time.Sleep(10 * time.Microsecond)
		}
	}
}

func polls(t *testing.T, test func(*testing.T, Poll)) {
	for name, p := range map[string]Poll{"auto": PollAuto, "yes": PollYes, "no": PollNo} {
		t.Run(name, func(t *testing.T) { test(t, p) })
	}
}

// TestNoRequestIsOverlooked has requests posted at random times, so that many come just when the agent goes to sleep.
func TestNoRequestIsOverlooked(t *testing.T) {
	polls(t, func(t *testing.T, p Poll) {
		a := newAgentTest(t, 3, p)
		rounds := 1500
		if testing.Short() {
			rounds = 300
		}
		var all sync.WaitGroup
		for i, s := range a.stubs {
			a.agent.add(&s.charge)
			all.Go(func() {
				random := rand.New(rand.NewPCG(uint64(i), uint64(p)))
				for range rounds {
					for range 1 + random.IntN(3)*random.IntN(40) {
						s.post()
					}
					s.served(t)
					if random.IntN(3) == 0 {
						time.Sleep(time.Duration(random.IntN(300)) * time.Microsecond)
					}
				}
			})
		}
		all.Wait()
		for _, s := range a.stubs {
			if n := s.server.count(); n != s.posted {
				t.Errorf("%d requests were served, %d posted", n, s.posted)
			}
		}
	})
}

// TestIdleAgentSleeps looks at how often the agent goes round while nothing is there: not at all.
func TestIdleAgentSleeps(t *testing.T) {
	polls(t, func(t *testing.T, p Poll) {
		a := newAgentTest(t, 2, p)
		for _, s := range a.stubs {
			a.agent.add(&s.charge)
			for range 100 {
				s.post()
			}
			s.served(t)
		}
		asleep := func() bool { return a.agent.asleep.Load() }
		for began := time.Now(); !asleep(); time.Sleep(time.Millisecond) {
			if time.Since(began) > 20*time.Second {
				t.Fatal("an idle agent does not go to sleep")
			}
		}
		turns := a.agent.turns.Load()
		time.Sleep(100 * time.Millisecond)
		if n := a.agent.turns.Load() - turns; n != 0 || !asleep() {
			t.Errorf("an idle agent went round %d times", n)
		}
		for _, s := range a.stubs {
			if s.charge.out.Attended != 0 {
				t.Error("a ring is said to be attended, and the agent sleeps")
			}
			s.post()
			s.served(t)
		}
	})
}

// TestRemovedRings has rings come and go while others are used: of what is removed the agent touches nothing.
func TestRemovedRings(t *testing.T) {
	polls(t, func(t *testing.T, p Poll) {
		a := newAgentTest(t, 2, p)
		busy, other := a.stubs[0], a.stubs[1]
		a.agent.add(&busy.charge)
		stop := make(chan struct{})
		var traffic sync.WaitGroup
		traffic.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					busy.post()
					busy.served(t)
				}
			}
		})
		for range 200 {
			a.agent.add(&other.charge)
			other.post()
			other.served(t)
			a.agent.remove(&other.charge)
			other.publish()
			if n := other.server.count(); n != other.posted-1 {
				t.Fatalf("%d requests were served before the ring was removed, of %d", n, other.posted-1)
			}
			if n, err := other.charge.ring.Serve(rings.Slots); n != 1 || err != nil {
				t.Fatalf("after the ring was removed, %d requests were left to be served, %v", n, err)
			}
		}
		close(stop)
		traffic.Wait()
	})
}

// TestExporterLooksByItself leaves a ring to the exporter's guest, but for what that leaves to the agent.
func TestExporterLooksByItself(t *testing.T) {
	polls(t, func(t *testing.T, p Poll) {
		a := newAgentTest(t, 2, p)
		s, other := a.stubs[0], a.stubs[1]
		a.agent.add(&s.charge)
		a.agent.add(&other.charge)
		for range 50 {
			atomic.StoreUint32(s.polling, 1)
			s.post()
			other.post() // while it is served, the agent looks at both
			other.served(t)
			if n := s.server.count(); n != s.posted-1 {
				t.Fatalf("the agent has served a ring that is looked at by the exporter's guest: %d of %d", n, s.posted)
			}
			if s.posted%2 == 0 {
				atomic.StoreUint64(s.left, s.posted) // the guest leaves it to the agent
			} else {
				atomic.StoreUint32(s.polling, 0) // the guest looks no more
			}
			for !s.wakeAgent() {
			}
			s.served(t)
			atomic.StoreUint32(s.polling, 0)
		}
	})
}

func TestAgentDoesNotAllocate(t *testing.T) {
	a := newAgentTest(t, 2, PollYes)
	charges := []*charge{&a.stubs[0].charge, &a.stubs[1].charge}
	if n := testing.AllocsPerRun(200, func() {
		for _, s := range a.stubs {
			s.publish()
		}
		now := a.agent.now()
		a.agent.look(charges, now)
		a.agent.hover(charges[:1])
		a.agent.processors.sampled = 0
		a.agent.processors.consider(sampling)
		a.stubs[1].publish() // so that it does not sleep
		a.agent.rest(charges)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestWhoSpins has guests use processors, and looks who may spin.
func TestWhoSpins(t *testing.T) {
	for _, c := range []struct {
		cpus, running int
		poll          Poll
		crowded       bool
		hover         bool
		spin          uint32
	}{
		{cpus: 2, running: 0, hover: true, spin: manyTurns},
		{cpus: 2, running: 1, hover: true, spin: manyTurns},
		{cpus: 2, running: 2, hover: false, spin: fewTurns},
		{cpus: 2, running: 3, hover: false, spin: 0},
		{cpus: 1, running: 1, hover: false, spin: 0},
		{cpus: 1, running: 0, hover: false, spin: 0},
		{cpus: 1, running: 0, poll: PollYes, hover: true, spin: manyTurns},
		{cpus: 64, running: 63, hover: true, spin: manyTurns},
		{cpus: 2, running: 1, crowded: true},
		{cpus: 2, running: 3, poll: PollYes, hover: true, spin: 0},
		{cpus: 2, running: 0, poll: PollNo, hover: false, spin: fewTurns},
	} {
		var told uint32
		p := newProcessors(c.cpus, c.poll, 1, func(turns, _ uint32) { told = turns })
		told = p.spin.Load() // as a guest is that comes now
		if c.crowded {
			p.crowded = 1
		}
		p.decide(c.running)
		if p.hover != c.hover || p.spin.Load() != c.spin || told != c.spin {
			t.Errorf("%+v: hover %v, spin %v, guests were told %d", c, p.hover, p.spin.Load(), told)
		}
	}
}

// TestWhoSpinsJoined counts the agent, which looks at the link, and that of the other rmemrun, if it is on this machine.
func TestWhoSpinsJoined(t *testing.T) {
	for _, c := range []struct {
		cpus, running, beside int
		poll                  Poll
		hover, shared         bool
		spin                  uint32
	}{
		{cpus: 2, running: 1, hover: true, spin: manyTurns},
		{cpus: 2, running: 2, spin: fewTurns},
		{cpus: 2, running: 1, beside: 1, spin: fewTurns},
		{cpus: 2, running: 0, beside: 1, spin: fewTurns},
		{cpus: 2, running: 0, beside: 1, poll: PollYes, hover: true, shared: true},
		{cpus: 3, running: 1, beside: 1, hover: true, spin: manyTurns},
		{cpus: 2, running: 1, beside: 1, poll: PollYes, hover: true, shared: true},
		{cpus: 1, running: 1, poll: PollYes, hover: true, shared: true},
	} {
		p := newProcessors(c.cpus, c.poll, 1, func(uint32, uint32) {})
		p.linked, p.beside = true, c.beside
		p.decide(c.running)
		yields := uint32(yieldTurns)
		if c.shared {
			yields = sharedTurns
		}
		if p.hover != c.hover || p.shared != c.shared || p.spin.Load() != c.spin || p.yields.Load() != yields {
			t.Errorf("%+v: hover %v, shared %v, spin %d, yields %d", c, p.hover, p.shared, p.spin.Load(), p.yields.Load())
		}
	}
}

func TestUsage(t *testing.T) {
	const ms = time.Millisecond
	u := &usage{}
	for i, c := range []struct {
		used time.Duration // since the process began
		want int
	}{
		{100 * ms, 1}, // of these nobody knows when
		{104 * ms, 1}, {104 * ms, 1}, {104 * ms, 1}, {104 * ms, 1},
		{104 * ms, 0},                               // it has done nothing for as long as is remembered
		{105 * ms, 1}, {113 * ms, 2}, {113 * ms, 2}, // two threads
		{1 * ms, 2}, {1 * ms, 2}, {1 * ms, 0}, // another process, that does nothing
	} {
		if n := u.sample(c.used, 4*ms); n != c.want {
			t.Errorf("sample %d: %d processors, want %d", i, n, c.want)
		}
	}
}

func TestCrowd(t *testing.T) {
	p := newProcessors(2, PollAuto, 1, func(uint32, uint32) {})
	p.hover = true
	p.crowd(sampling, 0, sampling)
	if p.crowded != 0 {
		t.Error("an agent that has a processor finds it crowded")
	}
	p.rested = true
	p.crowd(0, 0, sampling)
	if p.crowded != 0 {
		t.Error("an agent that slept finds it crowded")
	}
	p.rested = false
	p.crowd(sampling/2, 0, sampling)
	if p.crowded != crowdedFor {
		t.Error("an agent that got half a processor does not find it crowded")
	}
	for range crowdedFor {
		p.crowd(sampling, 0, sampling)
	}
	if p.crowded != 0 {
		t.Error("it is crowded for ever")
	}
	p.crowd(sampling, sampling, sampling)
	if p.crowded != crowdedFor {
		t.Error("an agent does not find it crowded while guests wait for a processor")
	}
}

func TestWaits(t *testing.T) {
	if n := second([]byte("12 345 6\n")); n != 345 {
		t.Errorf("the second of the numbers is %d", n)
	}
	u := &usage{pid: selfPID, stat: -1, place: -1}
	defer u.close()
	if u.waits() != 0 {
		t.Error("what was waited for before is counted")
	}
	if u.stat < 0 {
		t.Skip("there is no schedstat here")
	}
	if n := testing.AllocsPerRun(10, func() { u.waits() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	gone := &usage{pid: func() int { return 1 << 22 }, stat: -1, place: -1}
	if gone.waits() != 0 || gone.stat != -1 {
		t.Error("a process that does not exist has waited")
	}
}

func TestProcessTimeIsThatOfTheProcess(t *testing.T) {
	before := processTime(selfPID())
	for began := time.Now(); processTime(selfPID()) == before; {
		if time.Since(began) > 10*time.Second {
			t.Fatal("the clock of a process that runs stands still")
		}
	}
	const most = 1 << 22 // pids are less, see proc(5)
	for _, pid := range []int{-1, 0, most} {
		if d := processTime(pid); d != 0 {
			t.Errorf("process %d, which does not exist, has run for %v", pid, d)
		}
	}
	if n := available(); n < 1 {
		t.Errorf("%d processors", n)
	}
}

// TestRingsNobodyCanServe has guests do what an agent could go round for, for ever: keep the lock of a ring, and have requests in one that is
// broken. It sleeps, and serves others when it is rung.
func TestRingsNobodyCanServe(t *testing.T) {
	for name, spoil := range map[string]func(s *stub){
		"the exporter keeps the lock": func(s *stub) {
			atomic.StoreUint32(s.lock, 2)
			s.publish()
		},
		"requests in a broken ring": func(s *stub) {
			s.publish()
			atomic.StoreUint64(s.head, 1<<40-1) // its slot is the last
			atomic.StoreUint32(wordOf(s.slots[(rings.Slots-1)*64:], 0), 1<<40&0xffffffff)
			for atomic.LoadUint64(s.head) != 1 {
				s.wakeAgent()
			}
			s.publish()
			atomic.StoreUint64(s.tail, 1) // where the head is then, there is a request
		},
	} {
		t.Run(name, func(t *testing.T) {
			polls(t, func(t *testing.T, p Poll) {
				a := newAgentTest(t, 2, p)
				s, other := a.stubs[0], a.stubs[1]
				if s.charge.broken = func() {}; name == "the exporter keeps the lock" {
					s.charge.broken = func() { t.Error("the agent has gone round until it gave the ring up") }
				}
				a.agent.add(&s.charge)
				a.agent.add(&other.charge)
				other.post()
				other.served(t)
				spoil(s)
				s.wakeAgent()
				naps := 0
				for began := time.Now(); naps < 5; {
					if time.Since(began) > 20*time.Second {
						t.Fatal("the agent does not sleep")
					}
					turns := a.agent.turns.Load()
					time.Sleep(10 * time.Millisecond)
					// One that sleeps goes round once in half a millisecond, at most.
					if a.agent.turns.Load()-turns < 200 {
						naps++
					}
				}
				other.post()
				other.served(t)
			})
		})
	}
}
