package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"rmemrun/atm"
)

// A UDPConfig says what a link over UDP is like.
type UDPConfig struct {
	// Local is where this end receives. Its address may be unspecified, and its port 0 for one that the system chooses.
	Local netip.AddrPort
	// Peer is where the other end receives, and the only source that this end listens to. Its port may be 0: then MPLS
	// packets go to MPLSPort and may come from any port, since a router chooses their source port by the flow (RFC 7510,
	// clause 3). A Listener takes no Peer.
	Peer netip.AddrPort
	// Form is how cells lie in datagrams.
	Form Form
	// Label is that of the pseudowire in both directions; 0: DefaultLabel. Only for MPLS.
	Label uint32
	// MTU is the size of the largest IP packet sent; 0: 1500. What is received may be larger.
	MTU int
}

const (
	defaultMTU = 1500
	udpHeader  = 8
	ipv4Header = 20
	ipv6Header = 40
	maxUDP     = 1<<16 - 1 - udpHeader - ipv4Header

	sendBatch    = 32 // datagrams written at once
	receiveBatch = 32 // datagrams read at once

	// receiveBuffer is asked of the system for datagrams that have not been read.
	receiveBuffer = 4 << 20
)

// setup checks the configuration, fills it up, and opens the socket.
func (cfg *UDPConfig) setup() (*net.UDPConn, error) {
	if cfg.Form > Bare {
		return nil, fmt.Errorf("%v is no form of cells in datagrams", cfg.Form)
	}
	if cfg.Label == 0 {
		cfg.Label = DefaultLabel
	}
	if cfg.Form == MPLS {
		if err := checkLabel(cfg.Label); err != nil {
			return nil, err
		}
	}
	if cfg.MTU == 0 {
		cfg.MTU = defaultMTU
	}
	if n := cfg.payload(); n > maxUDP || cfg.Form.capacity(n) < 1 {
		return nil, fmt.Errorf("MTU %d: a datagram must take a cell, and has at most %d octets", cfg.MTU, maxUDP)
	}
	cfg.Local = netip.AddrPortFrom(cfg.Local.Addr().Unmap(), cfg.Local.Port())
	cfg.Peer = netip.AddrPortFrom(cfg.Peer.Addr().Unmap(), cfg.Peer.Port())
	network := "udp4"
	if cfg.ip6() {
		network = "udp6"
	}
	var local *net.UDPAddr
	if cfg.Local.Addr().IsValid() {
		local = net.UDPAddrFromAddrPort(cfg.Local)
	} else {
		local = &net.UDPAddr{Port: int(cfg.Local.Port())}
	}
	conn, err := net.ListenUDP(network, local)
	if err != nil {
		return nil, err
	}
	enlarge(conn)
	return conn, nil
}

// ip6 reports whether the link goes over IPv6.
func (cfg *UDPConfig) ip6() bool {
	if cfg.Peer.Addr().IsValid() {
		return cfg.Peer.Addr().Is6()
	}
	return cfg.Local.Addr().Is6()
}

// payload is how many octets a datagram has room for.
func (cfg *UDPConfig) payload() int {
	if cfg.ip6() {
		return cfg.MTU - ipv6Header - udpHeader
	}
	return cfg.MTU - ipv4Header - udpHeader
}

// enlarge enlarges the receive buffer as far as the system lets us: beyond its limit only the administrator.
func enlarge(conn *net.UDPConn) {
	forced := errors.New("not tried")
	if raw, err := conn.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			forced = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer)
		})
	}
	if forced != nil {
		_ = conn.SetReadBuffer(receiveBuffer) // the link works with less
	}
}

// A batchConn reads and writes several datagrams by one system call.
type batchConn interface {
	ReadBatch(ms []ipv4.Message, flags int) (int, error)
	WriteBatch(ms []ipv4.Message, flags int) (int, error)
}

// UDP is a [Link] over UDP.
type UDP struct {
	cfg   UDPConfig
	conn  *net.UDPConn
	batch batchConn
	to    atm.Receiver
	order order // of what is received; the reader's
	local netip.AddrPort

	polled    atomic.Pointer[Polled] // who looks at the socket by himself; nil: nobody can
	pending   atomic.Bool            // something is in the batch
	readEnded chan struct{}

	writing sync.Mutex // held while a batch is written
	spare   *batch
	seq     uint16 // of the last datagram sent

	mu     sync.Mutex // taken after writing
	fill   *batch
	closed bool
	wake   chan struct{} // something has been put into an empty batch

	end   ending
	wg    sync.WaitGroup
	count counts
}

// A batch is datagrams being filled or written. The last may not be full.
type batch struct {
	datagrams []ipv4.Message
	n         int // begun
	cells     int
	capacity  int // cells a datagram takes
}

func newBatch(cfg *UDPConfig, to *net.UDPAddr) *batch {
	b := &batch{datagrams: make([]ipv4.Message, sendBatch), capacity: cfg.Form.capacity(cfg.payload())}
	for i := range b.datagrams {
		b.datagrams[i] = ipv4.Message{Buffers: [][]byte{make([]byte, 0, cfg.payload())}, Addr: to}
	}
	return b
}

// add adds a cell; false if there is no room.
func (b *batch) add(cfg *UDPConfig, c *atm.Cell) bool {
	if b.cells == b.n*b.capacity {
		if b.n == len(b.datagrams) {
			return false
		}
		d := &b.datagrams[b.n]
		d.Buffers[0] = d.Buffers[0][:0]
		b.n++
	}
	d := &b.datagrams[b.n-1]
	d.Buffers[0] = cfg.Form.append(d.Buffers[0], cfg.Label, c)
	b.cells++
	return true
}

// DialUDP makes the end of a link whose peer's address is known. Nothing is sent until a cell is.
func DialUDP(cfg UDPConfig, to atm.Receiver) (*UDP, error) {
	if !cfg.Peer.Addr().IsValid() || cfg.Peer.Port() == 0 && cfg.Form != MPLS {
		return nil, fmt.Errorf("link to %v over UDP: the peer's address and port must be given", cfg.Peer)
	}
	conn, err := cfg.setup()
	if err != nil {
		return nil, fmt.Errorf("link to %v over UDP: %w", cfg.Peer, err)
	}
	return newUDP(cfg, conn, to, order{}), nil
}

// newUDP makes a link of a socket that is open.
func newUDP(cfg UDPConfig, conn *net.UDPConn, to atm.Receiver, o order) *UDP {
	l := &UDP{cfg: cfg, conn: conn, to: to, order: o, wake: make(chan struct{}, 1), end: newEnding(), readEnded: make(chan struct{})}
	l.local = conn.LocalAddr().(*net.UDPAddr).AddrPort()
	if cfg.ip6() {
		l.batch = ipv6.NewPacketConn(conn)
	} else {
		l.batch = ipv4.NewPacketConn(conn)
	}
	dest := cfg.Peer
	if dest.Port() == 0 {
		dest = netip.AddrPortFrom(dest.Addr(), MPLSPort)
	}
	addr := net.UDPAddrFromAddrPort(dest)
	l.fill, l.spare = newBatch(&cfg, addr), newBatch(&cfg, addr)
	l.wg.Go(l.read)
	l.wg.Go(l.flusher)
	return l
}

// Receive sends a cell.
func (l *UDP) Receive(c *atm.Cell) {
	if l.cfg.Form == MPLS && !l.count.sendable(c) {
		return
	}
	l.mu.Lock()
	for !l.closed && !l.fill.add(&l.cfg, c) {
		l.mu.Unlock()
		l.flush()
		l.mu.Lock()
	}
	first, closed := l.fill.cells == 1, l.closed
	l.pending.Store(true)
	l.mu.Unlock()
	if closed {
		l.count.overflow.Add(1)
		return
	}
	if p := l.polled.Load(); p != nil && p.attended.Load() {
		return // who looks sends it; if he has just stopped, he looks for it
	}
	if first {
		select {
		case l.wake <- struct{}{}:
		default: // it has been told, and not looked yet
		}
	}
}

// flusher writes what is in the batch whenever something is.
func (l *UDP) flusher() {
	for {
		select {
		case <-l.wake:
			l.flush()
		case <-l.end.done:
			return
		}
	}
}

// flush writes what is in the batch. Meanwhile the next is being filled.
func (l *UDP) flush() {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	l.pending.Store(false)
	full := l.fill
	l.fill, l.spare = l.spare, full
	l.mu.Unlock()
	if l.cfg.Form == MPLS {
		for i := range full.datagrams[:full.n] {
			l.seq = nextSequence(l.seq)
			putMPLSHeader(full.datagrams[i].Buffers[0], l.cfg.Label, l.seq)
		}
	}
	left := full.datagrams[:full.n]
	for len(left) > 0 {
		n, err := l.write(left)
		if err != nil { // nothing was sent; the first is why
			l.count.unsent.Add(l.cells(left[:1]))
			n = 1
		} else {
			l.count.sent.Add(l.cells(left[:n]))
			l.count.sentDatagrams.Add(uint64(n))
		}
		left = left[n:]
	}
	full.n, full.cells = 0, 0
}

// write sends some datagrams, and returns how many.
func (l *UDP) write(ms []ipv4.Message) (int, error) {
	p := l.polled.Load()
	if p == nil {
		return l.batch.WriteBatch(ms, 0)
	}
	return 1, p.send(ms[0].Buffers[0])
}

// cells counts the cells in datagrams to be sent.
func (l *UDP) cells(ms []ipv4.Message) (n uint64) {
	for i := range ms {
		size := len(ms[i].Buffers[0])
		if l.cfg.Form == Bare {
			n += uint64(size / atm.CellSize)
		} else {
			n += uint64((size - mplsHeaderSize) / mplsCellSize)
		}
	}
	return n
}

// read hands on what arrives, until the link is closed.
func (l *UDP) read() {
	defer close(l.readEnded)
	ms := make([]ipv4.Message, receiveBatch)
	for i := range ms {
		ms[i].Buffers = [][]byte{make([]byte, maxUDP)}
	}
	var c atm.Cell
	for {
		n, err := l.batch.ReadBatch(ms, 0)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		// Other errors are of one datagram, such as a message that nobody listens at the peer's port.
		for i := range ms[:max(n, 0)] {
			from, ok := ms[i].Addr.(*net.UDPAddr)
			if !ok || !l.fromPeer(from.AddrPort()) {
				l.count.strangers.Add(1)
				continue
			}
			l.take(ms[i].Buffers[0][:ms[i].N], &c)
		}
	}
}

// fromPeer reports whether an address is the peer's.
func (l *UDP) fromPeer(a netip.AddrPort) bool {
	return a.Addr() == l.cfg.Peer.Addr() && (a.Port() == l.cfg.Peer.Port() || l.cfg.Peer.Port() == 0)
}

// take takes a datagram of the peer's, and hands its cells on, each in c.
func (l *UDP) take(b []byte, c *atm.Cell) {
	l.count.receivedDatagrams.Add(1)
	seq, cells, err := l.cfg.Form.parse(b, l.cfg.Label)
	if err != nil {
		l.count.malformed.Add(1)
		return
	}
	inOrder, missing := l.order.take(seq)
	if !inOrder {
		l.count.late.Add(1)
		return
	}
	if missing > 0 {
		l.count.lost.Add(uint64(missing))
	}
	for len(cells) > 0 {
		cells = l.cfg.Form.next(c, cells)
		l.count.received.Add(1)
		l.to.Receive(c)
	}
}

// Close ends the link.
func (l *UDP) Close() error {
	l.mu.Lock()
	was := l.closed
	l.closed = true
	l.mu.Unlock()
	if !was {
		l.flush()
		l.end.end(nil)
		_ = l.conn.Close() // a socket that cannot be closed has no remedy
		if p := l.polled.Load(); p != nil {
			p.close()
		}
	}
	l.wg.Wait()
	if p := l.polled.Load(); p != nil && !was {
		p.finish()
	}
	return nil
}

// Local is the address at which this end receives.
func (l *UDP) Local() netip.AddrPort { return l.local }

// Peer is the address of the other end.
func (l *UDP) Peer() netip.AddrPort { return l.cfg.Peer }

// Counters reads the counters.
func (l *UDP) Counters() Counters { return l.count.read() }

// Done is closed when the link has ended.
func (l *UDP) Done() <-chan struct{} { return l.end.done }

// Err is why the link has ended, nil if it was closed.
func (l *UDP) Err() error { return l.end.err() }
