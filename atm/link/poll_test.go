package link

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rmemrun/atm"
)

// A row checks that cells come in their order.
type row struct {
	next atomic.Uint64
	bad  atomic.Bool
}

func (r *row) Receive(c *atm.Cell) {
	if binary.BigEndian.Uint64(c[atm.HeaderSize:]) != r.next.Load() {
		r.bad.Store(true)
	}
	r.next.Add(1)
}

// polledPair is two ends of a link over the loopback, of which who wants to can look at the first.
func polledPair(t *testing.T, form Form, to atm.Receiver, came func()) (*Polled, *UDP, *UDP) {
	t.Helper()
	home := netip.MustParseAddrPort("127.0.0.1:0")
	reserve, err := ListenUDP(UDPConfig{Local: home, Form: form})
	if err != nil {
		t.Fatal(err)
	}
	at := reserve.Local()
	_ = reserve.Close()
	far, err := DialUDP(UDPConfig{Local: home, Peer: at, Form: form}, &row{})
	if err != nil {
		t.Fatal(err)
	}
	near, err := DialUDP(UDPConfig{Local: at, Peer: far.Local(), Form: form}, to)
	if err != nil {
		t.Fatal(err)
	}
	p, err := near.Polled(came)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = near.Close()
		_ = far.Close()
	})
	return p, near, far
}

// TestPolledChangesHands has a socket change hands again and again, while cells come and go: none is overlooked, none comes twice, none waits for ever to be sent.
func TestPolledChangesHands(t *testing.T) {
	for _, form := range []Form{MPLS, Bare} {
		t.Run(form.String(), func(t *testing.T) {
			var got row
			var rung atomic.Uint64
			p, near, far := polledPair(t, form, &got, func() { rung.Add(1) })
			back := far.to.(*row)
			random := rand.New(rand.NewPCG(1, uint64(form)))
			var c atm.Cell
			c.SetHeader(atm.Header{VC: atm.VC{VCI: 50}})
			sent := uint64(0)
			arrived := func(r *row, attended bool) {
				t.Helper()
				for began := time.Now(); r.next.Load() < sent; {
					if attended {
						p.Poll()
						p.Flush()
					} else {
						time.Sleep(10 * time.Microsecond)
					}
					if time.Since(began) > 20*time.Second {
						t.Fatalf("%d of %d cells have come", r.next.Load(), sent)
					}
				}
			}
			for range 300 {
				attended := random.IntN(2) == 0
				n := uint64(1 + random.IntN(40))
				for i := range n {
					binary.BigEndian.PutUint64(c[atm.HeaderSize:], sent+i)
					far.Receive(&c)
					near.Receive(&c)
					if i == n/2 {
						p.Attend(attended)
					}
				}
				sent += n
				arrived(&got, attended)
				arrived(back, attended)
			}
			if got.bad.Load() || back.bad.Load() || got.next.Load() != sent || back.next.Load() != sent {
				t.Errorf("%d and %d cells have come, of %d each; in order: %v, %v", got.next.Load(), back.next.Load(), sent, !got.bad.Load(), !back.bad.Load())
			}
			if rung.Load() == 0 {
				t.Error("nobody was told that something came while nobody looked")
			}
			p.Leave()
			told := rung.Load()
			far.Receive(&c)
			sent++
			arrived(&got, false)
			if rung.Load() != told {
				t.Error("who has left is told that something has come")
			}
		})
	}
}

func TestPolledDoesNotAllocate(t *testing.T) {
	p, near, far := polledPair(t, MPLS, &row{}, func() {})
	p.Attend(true)
	back := far.to.(*row)
	var c atm.Cell
	c.SetHeader(atm.Header{VC: atm.VC{VCI: 50}})
	if n := testing.AllocsPerRun(100, func() {
		near.Receive(&c)
		p.Flush()
		p.Poll()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	for began := time.Now(); back.next.Load() == 0; time.Sleep(time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatal("nothing has come")
		}
	}
}

func TestPolledNeedsAPort(t *testing.T) {
	l, err := DialUDP(UDPConfig{Local: netip.MustParseAddrPort("127.0.0.1:0"), Peer: netip.MustParseAddrPort("127.0.0.1:0"), Form: MPLS}, &row{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := l.Polled(func() {}); err != ErrNotPolled {
		t.Errorf("a link to any port can be looked at: %v", err)
	}
}

// TestPolledProcessor: over the loopback, what comes was sent from the processor that the socket tells.
func TestPolledProcessor(t *testing.T) {
	if spread, err := os.ReadFile("/sys/class/net/lo/queues/rx-0/rps_cpus"); err == nil && strings.Trim(string(spread), "0,\n") != "" {
		t.Skip("the kernel is told to spread what comes over processors")
	}
	var got row
	near, _, far := polledPair(t, Bare, &got, func() {})
	from, err := far.Polled(func() {})
	if err != nil {
		t.Fatal(err)
	}
	near.Attend(true)
	from.Attend(true)
	runtime.LockOSThread() // not unlocked: the thread ends with the test
	var allowed, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		t.Fatal(err)
	}
	var c atm.Cell
	c.SetHeader(atm.Header{VC: atm.VC{VCI: 50}})
	for cpu := range 1024 {
		if !allowed.IsSet(cpu) {
			continue
		}
		one.Zero()
		one.Set(cpu)
		if err := unix.SchedSetaffinity(0, &one); err != nil {
			t.Fatal(err)
		}
		before := got.next.Load()
		far.Receive(&c)
		from.Flush()
		for began := time.Now(); got.next.Load() == before; {
			if near.Poll(); time.Since(began) > 20*time.Second {
				t.Fatal("nothing has come")
			}
		}
		if from := near.Processor(); from != cpu {
			t.Errorf("sent from processor %d, the socket says %d", cpu, from)
		}
	}
}
