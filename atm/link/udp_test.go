package link

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rmemrun/atm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// loopback is any free port of 127.0.0.1.
var loopback = netip.MustParseAddrPort("127.0.0.1:0")

// A sink keeps the cells that it receives.
type sink struct {
	mu    sync.Mutex
	cells []atm.Cell
	came  chan struct{}
}

func newSink() *sink { return &sink{came: make(chan struct{}, 1)} }

func (s *sink) Receive(c *atm.Cell) {
	s.mu.Lock()
	s.cells = append(s.cells, *c)
	s.mu.Unlock()
	select {
	case s.came <- struct{}{}:
	default:
	}
}

func (s *sink) get() []atm.Cell {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cells
}

// wait waits until n cells have come, and returns them.
func (s *sink) wait(t testing.TB, n int) []atm.Cell {
	t.Helper()
	end := time.After(10 * time.Second)
	for {
		if got := s.get(); len(got) >= n {
			return got
		}
		select {
		case <-s.came:
		case <-end:
			t.Fatalf("%d cells of %d came within 10 s", len(s.get()), n)
		}
	}
}

// until waits until f is true.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// udpPair makes the two ends of a link over 127.0.0.1.
func udpPair(t testing.TB, cfg UDPConfig, toA, toB atm.Receiver) (a, b *UDP) {
	t.Helper()
	// Which port the system gives to the second is known only when it has: hold it, and let go.
	hold, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(cfg.Local))
	if err != nil {
		t.Fatal(err)
	}
	addrB := hold.LocalAddr().(*net.UDPAddr).AddrPort()
	addrB = netip.AddrPortFrom(addrB.Addr().Unmap(), addrB.Port())
	cfgA := cfg
	cfgA.Peer = addrB
	if a, err = DialUDP(cfgA, toA); err != nil {
		t.Fatal(err)
	}
	if err := hold.Close(); err != nil {
		t.Fatal(err)
	}
	cfgB := cfg
	cfgB.Local, cfgB.Peer = addrB, a.Local()
	if b, err = DialUDP(cfgB, toB); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, l := range []Link{a, b} {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return a, b
}

// numbered is a cell with a number in it.
func numbered(n int) *atm.Cell {
	var c atm.Cell
	c.SetHeader(atm.Header{VC: atm.VC{VPI: uint8(n >> 4), VCI: uint16(32 + n)}, PT: atm.PT(n & 1), CLP: n&2 != 0})
	binary.BigEndian.PutUint64(c[atm.HeaderSize:], uint64(n))
	return &c
}

// testNumbered sends cells in both directions, and looks that all arrive as they were, in order.
func testNumbered(t *testing.T, a, b Link, atA, atB *sink, window, total int) {
	t.Helper()
	for _, way := range []struct {
		from Link
		to   *sink
	}{{a, atB}, {b, atA}} {
		for n := range total {
			if n >= window {
				way.to.wait(t, n-window)
			}
			way.from.Receive(numbered(n))
		}
		for n, got := range way.to.wait(t, total) {
			if got != *numbered(n) {
				t.Fatalf("cell %d is %x, want %x", n, got, *numbered(n))
			}
		}
	}
}

func TestUDP(t *testing.T) {
	for _, test := range []struct {
		name string
		cfg  UDPConfig
	}{
		{"mpls", UDPConfig{Local: loopback}},
		{"mpls, jumbo packets", UDPConfig{Local: loopback, MTU: 9000}},
		{"mpls, one cell a packet", UDPConfig{Local: loopback, MTU: 90}},
		{"mpls over IPv6", UDPConfig{Local: netip.MustParseAddrPort("[::1]:0")}},
		{"bare", UDPConfig{Local: loopback, Form: Bare}},
		{"bare over IPv6", UDPConfig{Local: netip.MustParseAddrPort("[::1]:0"), Form: Bare}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.cfg.Local.Addr().Is6() {
				c, err := net.ListenUDP("udp6", net.UDPAddrFromAddrPort(test.cfg.Local))
				if err != nil {
					t.Skipf("no IPv6 here: %v", err)
				}
				_ = c.Close()
			}
			atA, atB := newSink(), newSink()
			a, b := udpPair(t, test.cfg, atA, atB)
			const total = 5000
			testNumbered(t, a, b, atA, atB, 100, total) // few enough for the smallest receive buffer
			for _, l := range []*UDP{a, b} {
				until(t, "all cells counted as sent", func() bool { return l.Counters().Sent == total }) // after they were
				c := l.Counters()
				if c.Received != total || c.SentDatagrams == 0 {
					t.Errorf("%+v", c)
				}
				if c.Lost+c.Late+c.Malformed+c.Strangers+c.Unsent+c.BadHEC+c.Empty+c.Overflow != 0 {
					t.Errorf("%+v", c)
				}
				if test.cfg.Form == Bare && c.SentDatagrams != total {
					t.Errorf("%d datagrams for %d bare cells", c.SentDatagrams, total)
				}
			}
		})
	}
}

// A datagram has as many cells as fit, at most.
func TestCapacity(t *testing.T) {
	for _, test := range []struct {
		cfg  UDPConfig
		want int
	}{
		{UDPConfig{Local: loopback, MTU: 1500}, 28}, // 20 + 8 + 4 + 4 + 28 * 52 = 1492
		{UDPConfig{Local: netip.MustParseAddrPort("[::1]:0"), MTU: 1500}, 27},
		{UDPConfig{Local: loopback, MTU: 88}, 1},
		{UDPConfig{Local: loopback, MTU: 87}, 0},
		{UDPConfig{Local: loopback, MTU: 1500, Form: Bare}, 1},
		{UDPConfig{Local: loopback, MTU: 80, Form: Bare}, 0},
	} {
		if got := test.cfg.Form.capacity(test.cfg.payload()); got != test.want {
			t.Errorf("%v, MTU %d: %d cells, want %d", test.cfg.Form, test.cfg.MTU, got, test.want)
		}
	}
}

// What is sent while a batch is being written goes together in the next: cells a caller sends in a row are not a datagram each.
func TestBatches(t *testing.T) {
	at := newSink()
	a, b := udpPair(t, UDPConfig{Local: loopback}, newSink(), at)
	a.writing.Lock() // as if a batch were being written
	const total = 28*3 + 1
	for n := range total {
		a.Receive(numbered(n))
	}
	a.writing.Unlock()
	at.wait(t, total)
	if c := b.Counters(); c.ReceivedDatagrams != 4 {
		t.Errorf("%d cells came in %d datagrams, want 4", total, c.ReceivedDatagrams)
	}
}

// rawPeer is a link and a bare socket which is its peer.
func rawPeer(t *testing.T, form Form, to atm.Receiver) (l *UDP, peer *net.UDPConn) {
	t.Helper()
	peer, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(loopback))
	if err != nil {
		t.Fatal(err)
	}
	l, err = DialUDP(UDPConfig{Local: loopback, Peer: peer.LocalAddr().(*net.UDPAddr).AddrPort(), Form: form}, to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close(); _ = peer.Close() })
	return l, peer
}

func send(t *testing.T, from *net.UDPConn, b []byte, to netip.AddrPort) {
	t.Helper()
	if _, err := from.WriteToUDPAddrPort(b, to); err != nil {
		t.Fatal(err)
	}
}

// packet is an MPLS packet of numbered cells.
func packet(seq uint16, numbers ...int) []byte {
	b := make([]byte, 0, maxUDP)
	for _, n := range numbers {
		b = MPLS.append(b, DefaultLabel, numbered(n))
	}
	putMPLSHeader(b, DefaultLabel, seq)
	return b
}

// Datagrams from a stranger, right in all else, do nothing but count: neither their cells nor their numbers.
func TestStrangers(t *testing.T) {
	at := newSink()
	l, peer := rawPeer(t, MPLS, at)
	stranger, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(loopback))
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	send(t, peer, packet(1, 0), l.Local())
	for seq := range uint16(10) {
		send(t, stranger, packet(100+seq, 1000), l.Local())
		send(t, stranger, nil, l.Local())
	}
	until(t, "20 strangers", func() bool { return l.Counters().Strangers == 20 })
	send(t, peer, packet(2, 1, 2), l.Local())
	for n, got := range at.wait(t, 3) {
		if got != *numbered(n) {
			t.Errorf("cell %d is %x", n, got)
		}
	}
	want := Counters{Received: 3, ReceivedDatagrams: 2, Strangers: 20}
	if c := l.Counters(); c != want {
		t.Errorf("%+v, want %+v", c, want)
	}
}

func TestLostLateMalformed(t *testing.T) {
	at := newSink()
	l, peer := rawPeer(t, MPLS, at)
	for _, b := range [][]byte{
		packet(1, 0), packet(3, 1), packet(2, 9), packet(3, 9), packet(0, 2), // 2 lost, then late; 3 twice; one without a number
		packet(4, 3)[:50], make([]byte, 65000), nil, bytes.Repeat([]byte{0xff}, 60), // malformed
		packet(6, 3, 4), // 4 was malformed, 5 is lost
	} {
		send(t, peer, b, l.Local())
	}
	for n, got := range at.wait(t, 5) {
		if got != *numbered(n) {
			t.Errorf("cell %d is %x", n, got)
		}
	}
	want := Counters{Received: 5, ReceivedDatagrams: 10, Late: 2, Lost: 3, Malformed: 4}
	if c := l.Counters(); c != want {
		t.Errorf("%+v, want %+v", c, want)
	}
}

func TestBareWrongSizes(t *testing.T) {
	at := newSink()
	l, peer := rawPeer(t, Bare, at)
	for _, n := range []int{0, 52, 54, 106} {
		send(t, peer, make([]byte, n), l.Local())
	}
	wrong := *numbered(1)
	wrong[4] ^= 1
	send(t, peer, wrong[:], l.Local())
	if got := at.wait(t, 1); got[0] != wrong {
		t.Errorf("a bare cell with a wrong HEC came as %x, sent was %x", got[0], wrong)
	}
	want := Counters{Received: 1, ReceivedDatagrams: 5, Malformed: 4}
	if c := l.Counters(); c != want {
		t.Errorf("%+v, want %+v", c, want)
	}
}

// A cell whose header is wrong would come out of the other end with a right HEC: it is not sent. Nor are cells for nobody.
func TestUnsendable(t *testing.T) {
	at := newSink()
	a, _ := udpPair(t, UDPConfig{Local: loopback}, newSink(), at)
	wrong := *numbered(1)
	wrong[2] ^= 0x10
	a.Receive(&wrong)
	var idle, unassigned atm.Cell
	idle.SetIdle()
	unassigned.SetUnassigned()
	a.Receive(&idle)
	a.Receive(&unassigned)
	a.Receive(numbered(0))
	at.wait(t, 1)
	until(t, "the cell counted as sent", func() bool { return a.Counters().Sent == 1 })
	if c := a.Counters(); c.BadHEC != 1 || c.Empty != 2 {
		t.Errorf("%+v", c)
	}
}

// A peer without a port may send from any port, but from no other address.
func TestAnyPort(t *testing.T) {
	at := newSink()
	l, err := DialUDP(UDPConfig{Local: loopback, Peer: netip.MustParseAddrPort("127.0.0.2:0")}, at)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for i, source := range []string{"127.0.0.2", "127.0.0.2", "127.0.0.3"} {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(source)})
		if err != nil {
			t.Skipf("no address %s here: %v", source, err)
		}
		send(t, conn, packet(uint16(i+1), i), l.Local())
		_ = conn.Close()
	}
	at.wait(t, 2)
	until(t, "a stranger", func() bool { return l.Counters().Strangers == 1 })
	if n := len(at.get()); n != 2 {
		t.Errorf("%d cells", n)
	}
}

func TestUDPConfigErrors(t *testing.T) {
	peer := netip.MustParseAddrPort("127.0.0.1:9")
	for name, cfg := range map[string]UDPConfig{
		"no peer":                  {Local: loopback},
		"bare without a port":      {Local: loopback, Peer: netip.MustParseAddrPort("127.0.0.1:0"), Form: Bare},
		"a reserved label":         {Local: loopback, Peer: peer, Label: 15},
		"a label of 21 bits":       {Local: loopback, Peer: peer, Label: 1 << 20},
		"an MTU for less than one": {Local: loopback, Peer: peer, MTU: 87},
		"an MTU no packet has":     {Local: loopback, Peer: peer, MTU: 1 << 16},
		"an unknown form":          {Local: loopback, Peer: peer, Form: 2},
		"another's address":        {Local: netip.MustParseAddrPort("192.0.2.1:0"), Peer: peer},
	} {
		if l, err := DialUDP(cfg, newSink()); err == nil {
			_ = l.Close()
			t.Errorf("%s: no error", name)
		} else {
			t.Log(err)
		}
	}
}

func TestListener(t *testing.T) {
	for _, form := range []Form{MPLS, Bare} {
		t.Run(form.String(), func(t *testing.T) {
			listener, err := ListenUDP(UDPConfig{Local: loopback, Form: form})
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			atDialer, atListener := newSink(), newSink()
			dialer, err := DialUDP(UDPConfig{Local: loopback, Peer: listener.Local(), Form: form}, atDialer)
			if err != nil {
				t.Fatal(err)
			}
			defer dialer.Close()
			stranger, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(loopback))
			if err != nil {
				t.Fatal(err)
			}
			defer stranger.Close()
			send(t, stranger, []byte("GET / HTTP/1.1\r\n\r\n"), listener.Local())
			send(t, stranger, form.append(make([]byte, 0, 100), DefaultLabel, numbered(7)), listener.Local())

			door := func(from netip.AddrPort, c *atm.Cell) Verdict {
				switch *c {
				case *numbered(1):
					*c = *numbered(101)
					return Answer
				case *numbered(2):
					return Admit
				}
				return Reject
			}
			dialer.Receive(numbered(1))
			type result struct {
				l   *UDP
				err error
			}
			accepted := make(chan result)
			go func() {
				l, err := listener.Accept(t.Context(), door, atListener)
				accepted <- result{l, err}
			}()
			if got := atDialer.wait(t, 1); got[0] != *numbered(101) {
				t.Fatalf("answer %x", got[0])
			}
			dialer.Receive(numbered(2))
			r := <-accepted
			if r.err != nil {
				t.Fatal(r.err)
			}
			defer r.l.Close()
			if r.l.Peer() != dialer.Local() {
				t.Errorf("admitted %v, want %v", r.l.Peer(), dialer.Local())
			}
			if c := listener.Counters(); c.Strangers != 2 || c.Malformed != 1 {
				t.Errorf("%+v", c)
			}
			if err := listener.Close(); err != nil { // the socket is the link's
				t.Error(err)
			}
			dialer.Receive(numbered(3))
			r.l.Receive(numbered(4))
			if got := atListener.wait(t, 1); got[0] != *numbered(3) {
				t.Errorf("%x", got[0])
			}
			if got := atDialer.wait(t, 2); got[1] != *numbered(4) {
				t.Errorf("%x", got[1])
			}
			if c := r.l.Counters(); c.Lost+c.Late != 0 {
				t.Errorf("%+v", c)
			}
		})
	}
}

func TestListenerEnds(t *testing.T) {
	reject := func(netip.AddrPort, *atm.Cell) Verdict { return Reject }
	listener, err := ListenUDP(UDPConfig{Local: loopback})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := listener.Accept(ctx, reject, newSink()); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := listener.Close(); err != nil {
		t.Error(err)
	}
	if _, err := listener.Accept(t.Context(), reject, newSink()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// After Close nothing is sent or received, and a second Close does nothing. Senders on other goroutines come to no harm.
func TestUDPClose(t *testing.T) {
	a, b := udpPair(t, UDPConfig{Local: loopback}, newSink(), newSink())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for n := range 1000 {
				a.Receive(numbered(n))
			}
		})
	}
	for _, l := range []*UDP{a, b, a} {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		<-l.Done()
		if l.Err() != nil {
			t.Error(l.Err())
		}
	}
	wg.Wait()
	before := a.Counters()
	a.Receive(numbered(0))
	if c := a.Counters(); c.Overflow != before.Overflow+1 || c.Sent+c.Overflow+c.Unsent != 4001 {
		t.Errorf("%+v", c)
	}
}

// Nothing is allocated for a cell: neither when it is sent nor when it is read out of a datagram. (x/net allocates the address of each
// datagram that it reads.)
func TestUDPAllocs(t *testing.T) {
	for _, form := range []Form{MPLS, Bare} {
		l, _ := rawPeer(t, form, discard{})
		c := numbered(1)
		if n := testing.AllocsPerRun(5000, func() { l.Receive(c) }); n != 0 {
			t.Errorf("%v: %v allocations a cell sent", form, n)
		}
		_ = l.Close()
		b := packet(0, 1, 2, 3)
		if form == Bare {
			b = c[:]
		}
		var room atm.Cell
		if n := testing.AllocsPerRun(1000, func() { l.take(b, &room) }); n != 0 {
			t.Errorf("%v: %v allocations a datagram taken", form, n)
		}
	}
}

// A discard takes cells and does nothing.
type discard struct{}

func (discard) Receive(*atm.Cell) {}
